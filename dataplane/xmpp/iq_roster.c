/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user asks of its own account (RFC 6121 sections 2 and 3): its roster and its subscriptions.
 * Read here, decided and made durable at its home.
 */
#include "iq.h"

#include "../base/text.h"
#include "roster.h"

#define NS_ROSTER GW_LIT("jabber:iq:roster")

/* ---- on the way ---- */

/* The stanza in l->xml, with these bytes in the place of its own, or as it is when there are none. */
static enum gw_handled ask(struct gw_lcore *l, gw_conn c, struct gw_stanza_form *f,
                           struct gw_bytes xml)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    char id[GW_STANZA_ID_BYTES_MAX];
    unsigned home = e->session.lcore;
    if (!gw_edge_has_credit(l, c, home) || !gw_edge_number(l, c))
        return GW_HANDLE_LATER;
    int id_len = gw_xml_attr_text(l->xml, 0, GW_LIT("id"), id, sizeof(id));
    f->id = gw_bytes(id, id_len > 0 ? (size_t)id_len : 0);
    f->from_bare = gw_edge_bare(l, c);
    f->conn = gw_edge_ref(l, c);
    f->seq = e->seq;
    gw_block b = xml.p != NULL ? gw_stanza_build_text(l, f, xml, gw_bytes(NULL, 0))
                               : gw_stanza_build(l, f);
    if (b == 0) {
        GW_COUNT(l->edge_count.out_of_memory);
        gw_edge_refuse(l, c, GW_CONDITION_RESOURCE_CONSTRAINT);
        gw_edge_settle(l, c, e->seq);
        return GW_HANDLED;
    }
    struct gw_post p = {.op = GW_POST_ASK, .conn = f->conn, .session = e->session, .seq = f->seq,
                        .block = b, .owner = (uint8_t)l->index};
    gw_post_up(l, home, &p);
    return GW_HANDLED;
}

enum gw_handled gw_iq_ask(struct gw_lcore *l, gw_conn c, const struct gw_iq *q, enum gw_ask what,
                          struct gw_bytes payload)
{
    struct gw_stanza_form f = {
        .kind = GW_STANZA_IQ, .type = q->type, .flags = (uint8_t)what, .from = gw_edge_full(l, c)};
    if (gw_xml_attr(l->xml, 0, GW_LIT("to")) != NULL)
        f.to = f.to_bare = gw_edge_bare(l, c);
    return ask(l, c, &f, payload);
}

/* ---- roster ---- */

enum gw_handled gw_iq_roster_get(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    char ver[1 + GW_STANZA_ID_BYTES_MAX] = "=";
    bool asked = gw_xml_attr(l->xml, q->child, GW_LIT("ver")) != NULL;
    int n = gw_xml_attr_text(l->xml, q->child, GW_LIT("ver"), ver + 1, sizeof(ver) - 1);
    return gw_iq_ask(l, c, q, GW_ASK_ROSTER_GET,
                     gw_bytes(ver, asked ? 1 + (n > 0 ? (size_t)n : 0) : 0));
}

/* A name or a group, unescaped; then behind *t, escaped. RFC 6121 section 2.3.3. */
static enum gw_condition put_label(struct gw_text *t, int len, const char *text, bool may_be_empty)
{
    if (len < 0 || len > (int)GW_ROSTER_NAME_BYTES_MAX || (len == 0 && !may_be_empty))
        return GW_CONDITION_NOT_ACCEPTABLE;
    gw_text_escaped(t, gw_bytes(text, (size_t)len));
    return t->full ? GW_CONDITION_NOT_ACCEPTABLE : GW_CONDITION_NONE;
}

static bool has_group(struct gw_bytes groups, struct gw_bytes group)
{
    uint16_t len;
    for (size_t at = 0; at < groups.len; at += sizeof(len) + len) {
        memcpy(&len, groups.p + at, sizeof(len));
        if (gw_bytes_eq(gw_bytes(groups.p + at + sizeof(len), len), group))
            return true;
    }
    return false;
}

static enum gw_condition read_groups(struct gw_lcore *l, gw_xml_node item, struct gw_text *t,
                                     struct gw_roster_entry *e)
{
    char text[GW_ROSTER_NAME_BYTES_MAX + 2];
    size_t start = t->len;
    for (gw_xml_node n = gw_xml_child(l->xml, item); n != GW_XML_NONE; n = gw_xml_next(l->xml, n)) {
        if (!gw_xml_is(l->xml, n, GW_LIT("group"), NS_ROSTER))
            continue;
        size_t at = t->len;
        uint16_t len = 0;
        if (e->group_count == GW_ROSTER_GROUPS_MAX)
            return GW_CONDITION_NOT_ACCEPTABLE;
        gw_text_put(t, gw_bytes(&len, sizeof(len)));
        enum gw_condition why =
            put_label(t, gw_xml_text(l->xml, n, text, sizeof(text)), text, false);
        if (why != GW_CONDITION_NONE)
            return why;
        len = (uint16_t)(t->len - at - sizeof(len));
        if (has_group(gw_bytes(t->p + start, at - start),
                      gw_bytes(t->p + at + sizeof(len), len)))
            return GW_CONDITION_BAD_REQUEST;
        memcpy(t->p + at, &len, sizeof(len));
        e->group_count++;
    }
    e->groups = gw_bytes(t->p + start, t->len - start);
    return GW_CONDITION_NONE;
}

static enum gw_condition read_jid(struct gw_lcore *l, gw_conn c, gw_xml_node item,
                                  struct gw_jid_text *jid)
{
    char raw[GW_JID_BYTES_MAX];
    if (gw_xml_attr(l->xml, item, GW_LIT("jid")) == NULL)
        return GW_CONDITION_BAD_REQUEST;
    int n = gw_xml_attr_text(l->xml, item, GW_LIT("jid"), raw, sizeof(raw));
    if (n < 0 || gw_jid_prep(gw_bytes(raw, (size_t)n), jid) != 0 || jid->resource_len != 0)
        return GW_CONDITION_JID_MALFORMED;
    return gw_bytes_eq(gw_jid_bare(jid), gw_edge_bare(l, c)) ? GW_CONDITION_NOT_ALLOWED
                                                             : GW_CONDITION_NONE;
}

/* The one item of a set, its texts behind each other in *t. */
static enum gw_condition read_item(struct gw_lcore *l, gw_conn c, gw_xml_node query,
                                   struct gw_jid_text *jid, struct gw_text *t,
                                   struct gw_roster_entry *e, bool *remove)
{
    char name[GW_ROSTER_NAME_BYTES_MAX + 2] = "", sub[16] = "";
    gw_xml_node item = gw_xml_child(l->xml, query);
    if (item == GW_XML_NONE || gw_xml_next(l->xml, item) != GW_XML_NONE ||
        !gw_xml_is(l->xml, item, GW_LIT("item"), NS_ROSTER))
        return GW_CONDITION_BAD_REQUEST;
    enum gw_condition why = read_jid(l, c, item, jid);
    if (why != GW_CONDITION_NONE)
        return why;
    int n = gw_xml_attr_text(l->xml, item, GW_LIT("subscription"), sub, sizeof(sub));
    *remove = n > 0 && gw_bytes_eq(gw_bytes(sub, (size_t)n), GW_LIT("remove"));
    *e = (struct gw_roster_entry){.flags = GW_ROSTER_LISTED, .jid = gw_jid_bare(jid)};
    if (*remove)
        return GW_CONDITION_NONE;
    if (gw_xml_attr(l->xml, item, GW_LIT("name")) != NULL) {
        why = put_label(t, gw_xml_attr_text(l->xml, item, GW_LIT("name"), name, sizeof(name)), name,
                        true);
        if (why != GW_CONDITION_NONE)
            return why;
    }
    e->name = gw_bytes(t->p, t->len);
    return read_groups(l, item, t, e);
}

#define LABELS_BYTES_MAX 16384u /* of an item: its name and groups, escaped */

enum gw_handled gw_iq_roster_set(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    static const uint8_t nobody[32];
    char labels[LABELS_BYTES_MAX];
    uint8_t packed[LABELS_BYTES_MAX + GW_JID_BYTES_MAX + 64];
    struct gw_text t = gw_text(labels, sizeof(labels));
    struct gw_jid_text jid;
    struct gw_roster_entry e;
    bool remove;
    enum gw_condition why = read_item(l, c, q->child, &jid, &t, &e, &remove);
    if (why != GW_CONDITION_NONE)
        return gw_edge_settle_here(l, c, why);
    size_t len = gw_roster_with(gw_bytes(NULL, 0), nobody, &e, packed);
    return gw_iq_ask(l, c, q, remove ? GW_ASK_ROSTER_REMOVE : GW_ASK_ROSTER_SET,
                     gw_bytes(packed, len));
}

/* ---- subscriptions ---- */

/* RFC 6121 section 3.1.2: both addresses are stamped bare. */
enum gw_handled gw_edge_ask_subscription(struct gw_lcore *l, gw_conn c, enum gw_stanza_type type,
                                         const struct gw_jid_text *to)
{
    if (gw_bytes_eq(gw_jid_bare(to), gw_edge_bare(l, c))) /* everybody hears of himself */
        return gw_edge_settle_here(l, c, GW_CONDITION_NONE);
    struct gw_stanza_form f = {
        .kind = GW_STANZA_PRESENCE,
        .type = type,
        .flags = GW_ASK_SUBSCRIPTION,
        .to = gw_jid_bare(to),
        .to_bare = gw_jid_bare(to),
        .from = gw_edge_bare(l, c),
    };
    return ask(l, c, &f, gw_bytes(NULL, 0));
}
