/* SPDX-License-Identifier: Apache-2.0 */
/* Messages in, and what all stanzas have in common on their way to a home. */
#include "edge.h"
#include "roster.h"

#include <errno.h>

#include "../base/check.h"
#include "carbons.h"

#define NS_RECEIPTS   GW_LIT("urn:xmpp:receipts")
#define NS_MARKERS    GW_LIT("urn:xmpp:chat-markers:0")
#define NS_DELAY      GW_LIT("urn:xmpp:delay")
#define NS_SID        GW_LIT("urn:xmpp:sid:0")
#define NS_CHATSTATES GW_LIT("http://jabber.org/protocol/chatstates")
#define NS_HINTS      GW_LIT("urn:xmpp:hints")

/* ---- common ---- */

bool gw_edge_check_stanza(struct gw_lcore *l, gw_conn c)
{
    char raw[GW_JID_BYTES_MAX];
    struct gw_jid_text from;
    const struct gw_xml_attr *id = gw_xml_attr(l->xml, 0, GW_LIT("id"));
    if (id != NULL && id->value.len > GW_STANZA_ID_BYTES_MAX) {
        gw_edge_stream_error(l, c, GW_STREAM_POLICY_VIOLATION, "stanza id too long");
        return false;
    }
    if (gw_xml_attr(l->xml, 0, GW_LIT("from")) == NULL)
        return true;
    int n = gw_xml_attr_text(l->xml, 0, GW_LIT("from"), raw, sizeof(raw));
    if (n < 0 || gw_jid_prep(gw_bytes(raw, (size_t)n), &from) != 0 ||
        (!gw_bytes_eq(gw_jid_full(&from), gw_edge_full(l, c)) &&
         !gw_bytes_eq(gw_jid_full(&from), gw_edge_bare(l, c)))) {
        gw_edge_stream_error(l, c, GW_STREAM_INVALID_FROM, NULL); /* RFC 6120 section 8.1.2.1 */
        return false;
    }
    return true;
}

int gw_edge_read_to(struct gw_lcore *l, gw_conn c, struct gw_jid_text *to)
{
    char raw[GW_JID_BYTES_MAX];
    if (gw_xml_attr(l->xml, 0, GW_LIT("to")) == NULL)
        return gw_jid_prep(gw_edge_bare(l, c), to);
    int n = gw_xml_attr_text(l->xml, 0, GW_LIT("to"), raw, sizeof(raw));
    if (n < 0)
        return -EINVAL;
    return gw_jid_prep(gw_bytes(raw, (size_t)n), to) == 0 ? 1 : -EINVAL;
}

enum gw_stanza_type gw_edge_type(const struct gw_lcore *l, enum gw_stanza_kind kind)
{
    static const struct {
        enum gw_stanza_kind kind;
        const char *name;
        enum gw_stanza_type type;
    } types[] = {
        {GW_STANZA_MESSAGE, "chat", GW_TYPE_CHAT},
        {GW_STANZA_MESSAGE, "normal", GW_TYPE_NORMAL},
        {GW_STANZA_MESSAGE, "headline", GW_TYPE_HEADLINE},
        {GW_STANZA_MESSAGE, "groupchat", GW_TYPE_GROUPCHAT},
        {GW_STANZA_MESSAGE, "error", GW_TYPE_ERROR},
        {GW_STANZA_PRESENCE, "unavailable", GW_TYPE_UNAVAILABLE},
        {GW_STANZA_PRESENCE, "subscribe", GW_TYPE_SUBSCRIBE},
        {GW_STANZA_PRESENCE, "subscribed", GW_TYPE_SUBSCRIBED},
        {GW_STANZA_PRESENCE, "unsubscribe", GW_TYPE_UNSUBSCRIBE},
        {GW_STANZA_PRESENCE, "unsubscribed", GW_TYPE_UNSUBSCRIBED},
        {GW_STANZA_PRESENCE, "probe", GW_TYPE_PROBE},
        {GW_STANZA_PRESENCE, "error", GW_TYPE_ERROR},
        {GW_STANZA_IQ, "get", GW_TYPE_GET},
        {GW_STANZA_IQ, "set", GW_TYPE_SET},
        {GW_STANZA_IQ, "result", GW_TYPE_RESULT},
        {GW_STANZA_IQ, "error", GW_TYPE_ERROR},
    };
    const struct gw_xml_attr *a = gw_xml_attr(l->xml, 0, GW_LIT("type"));
    if (a == NULL)
        return kind == GW_STANZA_MESSAGE    ? GW_TYPE_NORMAL
               : kind == GW_STANZA_PRESENCE ? GW_TYPE_AVAILABLE
                                            : GW_TYPE_UNKNOWN;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (types[i].kind == kind && gw_bytes_eq(a->value, gw_bytes_str(types[i].name)))
            return types[i].type;
    /* RFC 6121 section 5.2.2: an unknown message type is to be treated as normal. */
    return kind == GW_STANZA_MESSAGE ? GW_TYPE_NORMAL : GW_TYPE_UNKNOWN;
}

enum gw_handled gw_edge_settle_here(struct gw_lcore *l, gw_conn c, enum gw_condition why)
{
    if (!gw_edge_number(l, c))
        return GW_HANDLE_LATER;
    if (why != GW_CONDITION_NONE)
        gw_edge_refuse(l, c, why);
    gw_edge_settle(l, c, gw_edge_conn(l, c)->seq);
    return GW_HANDLED;
}

/* XEP-0191 section 3.3: nothing goes to who is blocked. The user's own resources never are. */
static bool is_blocked(struct gw_lcore *l, gw_conn c, const struct gw_jid_text *to)
{
    gw_block b = gw_edge_conn(l, c)->blocks_block;
    if (b == 0)
        return false;
    const struct gw_home_text *t = gw_arena_ptr(l->arena, b);
    return !gw_bytes_eq(gw_jid_bare(to), gw_edge_bare(l, c)) &&
           gw_roster_blocks(gw_bytes(t->text, t->len), gw_jid_full(to), gw_jid_bare(to));
}

enum gw_handled gw_edge_route(struct gw_lcore *l, gw_conn c, const struct gw_jid_text *to,
                              struct gw_stanza_form *f)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    char id[GW_STANZA_ID_BYTES_MAX];
    if (is_blocked(l, c, to))
        return gw_edge_settle_here(l, c, GW_CONDITION_BLOCKED);
    f->to_hash = gw_home_hash(l, gw_jid_bare(to));
    unsigned home = gw_home_of_hash(l, f->to_hash);
    if (!gw_edge_has_credit(l, c, home) || !gw_edge_number(l, c))
        return GW_HANDLE_LATER;
    int id_len = gw_xml_attr_text(l->xml, 0, GW_LIT("id"), id, sizeof(id));
    f->id = gw_bytes(id, id_len > 0 ? (size_t)id_len : 0);
    f->to = gw_jid_full(to);
    f->to_bare = gw_jid_bare(to);
    f->from = gw_edge_full(l, c);
    f->from_bare = gw_edge_bare(l, c);
    f->lang = gw_edge_lang(l, c);
    f->conn = gw_edge_ref(l, c);
    f->seq = e->seq;
    gw_block b = gw_stanza_build(l, f);
    if (b == 0) {
        GW_COUNT(l->edge_count.out_of_memory);
        gw_edge_refuse(l, c, GW_CONDITION_RESOURCE_CONSTRAINT);
        gw_edge_settle(l, c, e->seq);
        return GW_HANDLED;
    }
    struct gw_post p = {.op = GW_POST_STANZA, .conn = f->conn, .seq = f->seq, .block = b,
                        .owner = (uint8_t)l->index};
    gw_post_up(l, home, &p);
    return GW_HANDLED;
}

/* ---- messages ---- */

static bool is_marker(const struct gw_lcore *l, gw_xml_node n, const char *name)
{
    return gw_xml_is(l->xml, n, gw_bytes_str(name), NS_MARKERS);
}

/* Receipts and markers name a message of the other side. */
static uint8_t answer_flag(const struct gw_lcore *l, gw_xml_node n)
{
    if (gw_xml_is(l->xml, n, GW_LIT("received"), NS_RECEIPTS) || is_marker(l, n, "received"))
        return GW_STANZA_RECEIVED;
    if (is_marker(l, n, "displayed") || is_marker(l, n, "acknowledged"))
        return GW_STANZA_DISPLAYED;
    return 0;
}

static void look_for_answer(const struct gw_lcore *l, gw_xml_node n, struct gw_stanza_form *f,
                            char *ref, size_t cap)
{
    uint8_t flag = answer_flag(l, n);
    if (flag == 0 || (f->flags & (GW_STANZA_RECEIVED | GW_STANZA_DISPLAYED)) != 0)
        return;
    int len = gw_xml_attr_text(l->xml, n, GW_LIT("id"), ref, cap);
    if (len > 0) {
        f->ref = gw_bytes(ref, (size_t)len);
        f->flags |= flag;
    }
}

/* XEP-0334: no-store is obeyed, store makes even a chat state wait. no-permanent-store is about an archive,
 * which there is none of: a mailbox keeps a message until it is delivered. */
static void obey_hints(struct gw_stanza_form *f, bool store, bool no_store)
{
    if (store)
        f->flags |= GW_STANZA_STORE;
    if (no_store && (f->flags & GW_STANZA_STORE) != 0)
        f->flags = (uint8_t)((f->flags & ~GW_STANZA_STORE) | GW_STANZA_NOT_KEPT);
}

/* Everything but chat states is kept, and nothing but chat and normal messages. */
static void look_inside(const struct gw_lcore *l, struct gw_stanza_form *f, char *ref, size_t cap)
{
    bool store = false, no_store = false;
    if (f->type != GW_TYPE_CHAT && f->type != GW_TYPE_NORMAL)
        return;
    for (gw_xml_node n = gw_xml_child(l->xml, 0); n != GW_XML_NONE; n = gw_xml_next(l->xml, n)) {
        struct gw_bytes ns = l->xml->nodes[n].ns, name = l->xml->nodes[n].name;
        look_for_answer(l, n, f, ref, cap);
        store |= gw_xml_is(l->xml, n, GW_LIT("store"), NS_HINTS);
        no_store |= gw_xml_is(l->xml, n, GW_LIT("no-store"), NS_HINTS);
        if (!gw_bytes_eq(ns, NS_CHATSTATES) && !gw_bytes_eq(ns, NS_HINTS) &&
            !gw_bytes_eq(name, GW_LIT("thread")))
            f->flags |= GW_STANZA_STORE;
    }
    obey_hints(f, store, no_store);
}

/* One hash after the other: the key of each has what came before in it. */
static uint64_t hash_on(const struct gw_sipkey *key, uint64_t before, struct gw_bytes b)
{
    struct gw_sipkey k = {key->k0 ^ before, key->k1 ^ b.len};
    return gw_siphash_1_3(&k, b.p, b.len);
}

/* What a repeat of it would have as well (repeats.h); none when it has no id of any kind. */
static struct gw_fingerprint fingerprint(const struct gw_lcore *l, gw_conn c,
                                         const struct gw_jid_text *to)
{
    const struct gw_xml *x = l->xml;
    const struct gw_xml_attr *id = gw_xml_attr(x, 0, GW_LIT("id"));
    struct gw_fingerprint f;
    bool has_id = id != NULL;
    f.name = hash_on(&l->cfg->name_key, 0, gw_edge_bare(l, c));
    f.name = hash_on(&l->cfg->name_key, f.name, gw_jid_full(to));
    if (id != NULL)
        f.name = hash_on(&l->cfg->name_key, f.name, id->value);
    f.content = f.name;
    for (gw_xml_node n = gw_xml_child(x, 0); n != GW_XML_NONE; n = gw_xml_next(x, n)) {
        has_id = has_id || gw_xml_is(x, n, GW_LIT("origin-id"), NS_SID);
        if (!gw_xml_is(x, n, GW_LIT("delay"), NS_DELAY))
            f.content = hash_on(&l->cfg->content_key, f.content, x->nodes[n].raw);
    }
    return has_id ? f : (struct gw_fingerprint){0};
}

static enum gw_condition check_message(struct gw_lcore *l, const struct gw_jid_text *to, int has_to,
                                       enum gw_stanza_type type)
{
    if (has_to < 0)
        return GW_CONDITION_JID_MALFORMED;
    if (!gw_domain_is_served(l->cfg, gw_jid_domain(to)))
        return GW_CONDITION_REMOTE_SERVER_NOT_FOUND;
    bool is_full = to->resource_len != 0;
    if (to->local_len == 0 || (type == GW_TYPE_GROUPCHAT && !is_full)) /* RFC 6121 section 8.5.2.1.1 */
        return GW_CONDITION_SERVICE_UNAVAILABLE;
    return GW_CONDITION_NONE;
}

enum gw_handled gw_edge_message(struct gw_lcore *l, gw_conn c)
{
    struct gw_jid_text to;
    char ref[GW_STANZA_ID_BYTES_MAX];
    if (!gw_edge_check_stanza(l, c))
        return GW_HANDLED;
    enum gw_stanza_type type = gw_edge_type(l, GW_STANZA_MESSAGE);
    int has_to = gw_edge_read_to(l, c, &to);
    enum gw_condition why = check_message(l, &to, has_to, type);
    if (why != GW_CONDITION_NONE)
        return gw_edge_settle_here(l, c, why);
    struct gw_stanza_form f = {.kind = GW_STANZA_MESSAGE, .type = type};
    look_inside(l, &f, ref, sizeof(ref));
    if (gw_edge_is_copied(l, type))
        f.flags |= GW_STANZA_COPIED;
    if (f.flags & GW_STANZA_STORE && l->cfg->repeats_limit > 0)
        f.fingerprint = fingerprint(l, c, &to);
    return gw_edge_route(l, c, &to, &f);
}
