/* SPDX-License-Identifier: Apache-2.0 */
/* Blocking (XEP-0191): read here, kept at the user's home beside the roster. */
#include "iq.h"

#include "../base/text.h"
#include "roster.h"

#define NS_BLOCKING GW_LIT("urn:xmpp:blocking")

#define LIST_BYTES_MAX 16384u /* of one request */

enum gw_handled gw_iq_block_get(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    return gw_iq_ask(l, c, q, GW_ASK_BLOCK_GET, gw_bytes("", 0));
}

static enum gw_condition read_item(struct gw_lcore *l, gw_conn c, gw_xml_node item,
                                   struct gw_jid_text *jid)
{
    char raw[GW_JID_BYTES_MAX];
    if (!gw_xml_is(l->xml, item, GW_LIT("item"), NS_BLOCKING) ||
        gw_xml_attr(l->xml, item, GW_LIT("jid")) == NULL)
        return GW_CONDITION_BAD_REQUEST;
    int n = gw_xml_attr_text(l->xml, item, GW_LIT("jid"), raw, sizeof(raw));
    if (n < 0 || gw_jid_prep(gw_bytes(raw, (size_t)n), jid) != 0)
        return GW_CONDITION_JID_MALFORMED;
    return gw_bytes_eq(gw_jid_bare(jid), gw_edge_bare(l, c)) ? GW_CONDITION_NOT_ALLOWED
                                                             : GW_CONDITION_NONE;
}

/* The items as a roster of blocked ones, in one of the two buffers. */
static enum gw_condition read_items(struct gw_lcore *l, gw_conn c, gw_xml_node list,
                                    uint8_t bufs[2][LIST_BYTES_MAX], struct gw_bytes *out)
{
    static const uint8_t nobody[32];
    struct gw_jid_text jid;
    unsigned which = 0;
    *out = gw_bytes("", 0);
    for (gw_xml_node n = gw_xml_child(l->xml, list); n != GW_XML_NONE;
         n = gw_xml_next(l->xml, n), which ^= 1) {
        enum gw_condition why = read_item(l, c, n, &jid);
        struct gw_roster_entry e = {.flags = GW_ROSTER_BLOCKED, .jid = gw_jid_full(&jid)};
        if (why != GW_CONDITION_NONE)
            return why;
        if (gw_roster_size_with(*out, &e) > LIST_BYTES_MAX)
            return GW_CONDITION_POLICY_VIOLATION;
        *out = gw_bytes(bufs[which], gw_roster_with(*out, nobody, &e, bufs[which]));
    }
    return GW_CONDITION_NONE;
}

static enum gw_handled change(struct gw_lcore *l, gw_conn c, const struct gw_iq *q,
                              enum gw_ask what)
{
    uint8_t bufs[2][LIST_BYTES_MAX];
    struct gw_bytes items;
    enum gw_condition why = read_items(l, c, q->child, bufs, &items);
    if (why == GW_CONDITION_NONE && items.len == 0 && what == GW_ASK_BLOCK)
        why = GW_CONDITION_BAD_REQUEST;
    if (why != GW_CONDITION_NONE)
        return gw_edge_settle_here(l, c, why);
    return gw_iq_ask(l, c, q, what, items);
}

enum gw_handled gw_iq_block(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    return change(l, c, q, GW_ASK_BLOCK);
}

/* Without an item: all. */
enum gw_handled gw_iq_unblock(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    return change(l, c, q, GW_ASK_UNBLOCK);
}
