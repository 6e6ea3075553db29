/* SPDX-License-Identifier: Apache-2.0 */
/* Carbon copies at the edge: asked for, decided on for each message, sent to the sender's home. */
#include "carbons.h"

#include "../base/check.h"
#include "../base/text.h"
#include "iq.h"

#define NS_CARBONS    GW_LIT("urn:xmpp:carbons:2")
#define NS_HINTS      GW_LIT("urn:xmpp:hints")
#define NS_RECEIPTS   GW_LIT("urn:xmpp:receipts")
#define NS_MARKERS    GW_LIT("urn:xmpp:chat-markers:0")
#define NS_CHATSTATES GW_LIT("http://jabber.org/protocol/chatstates")
#define NS_INVITES    GW_LIT("jabber:x:conference")
#define NS_MUC_USER   GW_LIT("http://jabber.org/protocol/muc#user")

/* ---- asked for ---- */

enum gw_handled gw_iq_carbons(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (!gw_edge_has_credit(l, c, e->session.lcore) || !gw_edge_number(l, c))
        return GW_HANDLE_LATER;
    struct gw_post p = {
        .op = GW_POST_CARBONS,
        .conn = gw_edge_ref(l, c),
        .session = e->session,
        .seq = e->seq,
        .n = gw_bytes_eq(l->xml->nodes[q->child].name, GW_LIT("enable")),
        .owner = (uint8_t)l->index,
    };
    gw_post_up(l, e->session.lcore, &p);
    gw_edge_result_when_settled(l, c, gw_bytes(NULL, 0));
    return GW_HANDLED;
}

/* ---- which messages ---- */

/* Section 8 and XEP-0334 section 4.4: not to be copied, whatever else it is. */
static bool is_private(const struct gw_xml *x, gw_xml_node n)
{
    return gw_xml_is(x, n, GW_LIT("private"), NS_CARBONS) ||
           gw_xml_is(x, n, GW_LIT("no-copy"), NS_HINTS);
}

/* What makes a message of type normal one of instant messaging. */
static bool is_talk(const struct gw_xml *x, gw_xml_node n)
{
    struct gw_bytes ns = x->nodes[n].ns;
    return gw_xml_is(x, n, GW_LIT("body"), GW_LIT("jabber:client")) ||
           gw_bytes_eq(ns, NS_RECEIPTS) || gw_bytes_eq(ns, NS_MARKERS) ||
           gw_bytes_eq(ns, NS_CHATSTATES) || gw_xml_is(x, n, GW_LIT("x"), NS_INVITES) ||
           (gw_xml_is(x, n, GW_LIT("x"), NS_MUC_USER) &&
            gw_xml_find(x, n, GW_LIT("invite"), NS_MUC_USER) != GW_XML_NONE);
}

bool gw_edge_is_copied(const struct gw_lcore *l, enum gw_stanza_type type)
{
    const struct gw_xml *x = l->xml;
    bool talks = type == GW_TYPE_CHAT;
    if (atomic_load_explicit(&l->carbons->sessions, memory_order_relaxed) == 0 ||
        (type != GW_TYPE_CHAT && type != GW_TYPE_NORMAL))
        return false;
    for (gw_xml_node n = gw_xml_child(x, 0); n != GW_XML_NONE; n = gw_xml_next(x, n)) {
        if (is_private(x, n))
            return false;
        talks = talks || is_talk(x, n);
    }
    return talks;
}

/* ---- sent ---- */

static bool is_wanted(const struct gw_lcore *l, struct gw_bytes bare)
{
    uint64_t hash = gw_home_hash(l, bare);
    return atomic_load_explicit(&l->carbons->slots[hash % GW_CARBON_SLOTS],
                                memory_order_relaxed) > 0;
}

/* The message as it was sent: without the id that it has in its recipient's mailbox. */
static size_t sent_bytes(const struct gw_stanza *s)
{
    static const size_t close = sizeof("</message>") - 1;
    const char *at = (const char *)s;
    size_t end = s->xml_off + s->xml_len - close;
    if (s->stanza_id_off != 0)
        for (end = s->stanza_id_off; at[end] != '<'; end--) /* escaped in what is between */
            ;
    return end - s->xml_off;
}

static gw_block build(struct gw_lcore *l, const struct gw_stanza *s)
{
    size_t xml_len = sent_bytes(s);
    size_t need = sizeof(*s) + s->from_len + xml_len + sizeof("</message>");
    gw_block b = need <= GW_ARENA_BLOCK_BYTES_MAX ? gw_arena_get(l->arena, need) : 0;
    if (b == 0)
        return 0;
    struct gw_stanza *copy = gw_arena_ptr(l->arena, b);
    *copy = (struct gw_stanza){.kind = s->kind, .type = s->type, .lcore = (uint8_t)l->index,
                               .from_len = s->from_len, .from_bare_len = s->from_bare_len,
                               .xml_off = (uint32_t)(sizeof(*s) + s->from_len)};
    struct gw_text t = gw_text(copy->text, need - sizeof(*s));
    gw_text_put(&t, gw_stanza_from(s));
    gw_text_put(&t, gw_bytes((const char *)s + s->xml_off, xml_len));
    gw_text_str(&t, "</message>");
    check(!t.full);
    copy->xml_len = (uint32_t)(t.len - s->from_len);
    return b;
}

void gw_edge_copy_sent(struct gw_lcore *l, const struct gw_stanza *s)
{
    struct gw_edge *g = l->edge;
    /* Of what goes to the own account every session has its copy, or the message, as a recipient. */
    if ((s->flags & GW_STANZA_COPIED) == 0 || !is_wanted(l, gw_stanza_from_bare(s)) ||
        gw_bytes_eq(gw_stanza_from_bare(s), gw_stanza_to_bare(s)))
        return;
    gw_block b = g->copies_count < GW_CARBONS_WAITING_MAX ? build(l, s) : 0;
    if (b == 0) {
        GW_COUNT(l->edge_count.copies_dropped);
        return;
    }
    gw_block *link = g->copies_tail != 0
                         ? &((struct gw_stanza *)gw_arena_ptr(l->arena, g->copies_tail))->next
                         : &g->copies_head;
    *link = b;
    g->copies_tail = b;
    g->copies_count++;
}

unsigned gw_edge_send_copies(struct gw_lcore *l)
{
    struct gw_edge *g = l->edge;
    unsigned n = 0;
    for (; g->copies_head != 0; n++) {
        gw_block b = g->copies_head;
        const struct gw_stanza *s = gw_arena_ptr(l->arena, b);
        unsigned home = gw_home_of(l, gw_stanza_from_bare(s));
        if (gw_post_up_room(l, home) == 0)
            break;
        g->copies_head = s->next;
        g->copies_count--;
        struct gw_post p = {.op = GW_POST_COPY, .block = b, .owner = (uint8_t)l->index};
        gw_post_up(l, home, &p);
    }
    if (g->copies_head == 0)
        g->copies_tail = 0;
    return n;
}
