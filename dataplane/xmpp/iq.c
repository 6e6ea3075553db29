/* SPDX-License-Identifier: Apache-2.0 */
/* IQs (RFC 6120 section 8.2.3): those for the server or the user's own account are answered here. */
#include "iq.h"

#include <stdlib.h>

#include "ping.h"

#define NS_BIND GW_LIT("urn:ietf:params:xml:ns:xmpp-bind")

/* The first row that fits takes it. */
static const struct gw_iq_handler handlers[] = {
#define BYTES(s)              {(const uint8_t *)(s), sizeof(s) - 1}
#define ROW(who, what, n, ns) .whom = who, .type = GW_TYPE_##what, BYTES(n), BYTES(ns)
#define EITHER                (GW_IQ_OWN | GW_IQ_SERVER)
    {ROW(EITHER, GET, "ping", "urn:xmpp:ping"), .answer = gw_iq_empty},
    {ROW(GW_IQ_OWN, GET, "query", "jabber:iq:roster"), .begin = gw_iq_roster_get},
    {ROW(GW_IQ_OWN, SET, "query", "jabber:iq:roster"), .begin = gw_iq_roster_set},
    {ROW(GW_IQ_OWN, GET, "blocklist", "urn:xmpp:blocking"), .begin = gw_iq_block_get},
    {ROW(GW_IQ_OWN, SET, "block", "urn:xmpp:blocking"), .begin = gw_iq_block},
    {ROW(GW_IQ_OWN, SET, "unblock", "urn:xmpp:blocking"), .begin = gw_iq_unblock},
    {ROW(EITHER, GET, "query", "http://jabber.org/protocol/disco#info"), .answer = gw_iq_disco_info},
    {ROW(EITHER, GET, "query", "http://jabber.org/protocol/disco#items"),
     .answer = gw_iq_disco_items},
    {ROW(EITHER, GET, "query", "jabber:iq:version"), .answer = gw_iq_version},
    {ROW(EITHER, SET, "session", "urn:ietf:params:xml:ns:xmpp-session"), .answer = gw_iq_empty},
    {ROW(GW_IQ_OWN | GW_IQ_OTHER, GET, "vCard", "vcard-temp"), .begin = gw_iq_vcard},
    {ROW(GW_IQ_OWN, SET, "vCard", "vcard-temp"), .begin = gw_iq_vcard},
    {ROW(GW_IQ_OTHER, SET, "vCard", "vcard-temp"), .answer = gw_iq_forbidden},
    {ROW(GW_IQ_OWN, GET, "query", "jabber:iq:private"), .begin = gw_iq_private},
    {ROW(GW_IQ_OWN, SET, "query", "jabber:iq:private"), .begin = gw_iq_private},
    {ROW(GW_IQ_OTHER, GET, "query", "jabber:iq:private"), .answer = gw_iq_forbidden},
    {ROW(GW_IQ_OTHER, SET, "query", "jabber:iq:private"), .answer = gw_iq_forbidden},
    {ROW(GW_IQ_OWN, SET, "enable", "urn:xmpp:carbons:2"), .begin = gw_iq_carbons},
    {ROW(GW_IQ_OWN, SET, "disable", "urn:xmpp:carbons:2"), .begin = gw_iq_carbons},
    {ROW(GW_IQ_OTHER, SET, "enable", "urn:xmpp:carbons:2"), .answer = gw_iq_not_allowed},
    {ROW(GW_IQ_OTHER, SET, "disable", "urn:xmpp:carbons:2"), .answer = gw_iq_not_allowed},
    {ROW(EITHER, GET, "time", "urn:xmpp:time"), .answer = gw_iq_time},
    {ROW(EITHER, GET, "query", "jabber:iq:last"), .answer = gw_iq_last},
    {ROW(GW_IQ_OTHER, GET, "query", "jabber:iq:last"), .answer = gw_iq_forbidden},
#undef EITHER
#undef ROW
#undef BYTES
};

static const struct gw_iq_handler *find(const struct gw_lcore *l, const struct gw_iq *q)
{
    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
        if (handlers[i].type == q->type && (handlers[i].whom & q->whom) != 0 &&
            gw_xml_is(l->xml, q->child, handlers[i].name, handlers[i].ns))
            return &handlers[i];
    return NULL;
}

/* get and set need an id and exactly one child; result at most one. */
static bool is_proper(const struct gw_lcore *l, enum gw_stanza_type type)
{
    if (type == GW_TYPE_UNKNOWN || gw_xml_attr(l->xml, 0, GW_LIT("id")) == NULL)
        return false;
    if (type != GW_TYPE_GET && type != GW_TYPE_SET)
        return true;
    gw_xml_node child = gw_xml_child(l->xml, 0);
    return child != GW_XML_NONE && gw_xml_next(l->xml, child) == GW_XML_NONE;
}

/* Answers to the server's own questions: pings. */
static void take_answer(struct gw_lcore *l, gw_conn c)
{
    char id[GW_PING_ID_BYTES_MAX + 1];
    uint32_t number;
    int n = gw_xml_attr_text(l->xml, 0, GW_LIT("id"), id, sizeof(id) - 1);
    if (n > 0 && gw_ping_number(gw_bytes(id, (size_t)n), &number))
        gw_edge_confirm_ping(l, c, number);
}

/* Whom it asks; 0: another server. */
static uint8_t whom(const struct gw_lcore *l, gw_conn c, const struct gw_jid_text *to, bool has_to)
{
    if (!has_to)
        return GW_IQ_OWN | GW_IQ_SERVER;
    if (gw_bytes_eq(gw_jid_full(to), gw_edge_bare(l, c)))
        return GW_IQ_OWN;
    if (!gw_domain_is_served(l->cfg, gw_jid_domain(to)))
        return 0;
    return to->local_len == 0 ? GW_IQ_SERVER : GW_IQ_OTHER;
}

/* Ours to answer, or to refuse. */
static enum gw_handled take(struct gw_lcore *l, gw_conn c, struct gw_iq *q, int has_to)
{
    bool is_answer = q->type == GW_TYPE_RESULT || q->type == GW_TYPE_ERROR;
    const struct gw_iq_handler *h = NULL;
    if (has_to < 0)
        return gw_edge_settle_here(l, c, GW_CONDITION_JID_MALFORMED);
    if (!is_proper(l, q->type))
        return gw_edge_settle_here(l, c, GW_CONDITION_BAD_REQUEST);
    if (!is_answer) {
        q->whom = whom(l, c, q->to, has_to > 0);
        q->child = gw_xml_child(l->xml, 0);
        h = find(l, q);
        if (q->whom == 0)
            return gw_edge_settle_here(l, c, GW_CONDITION_REMOTE_SERVER_NOT_FOUND);
        if (h == NULL) /* of another's account as well: nothing else is answered on its behalf */
            return gw_edge_settle_here(l, c, GW_CONDITION_SERVICE_UNAVAILABLE);
        if (h->begin != NULL)
            return h->begin(l, c, q);
    }
    if (!gw_edge_number(l, c))
        return GW_HANDLE_LATER;
    if (is_answer)
        take_answer(l, c);
    else
        h->answer(l, c, q);
    gw_edge_settle(l, c, gw_edge_conn(l, c)->seq);
    return GW_HANDLED;
}

enum gw_handled gw_edge_iq(struct gw_lcore *l, gw_conn c)
{
    struct gw_jid_text to;
    if (!gw_edge_check_stanza(l, c))
        return GW_HANDLED;
    enum gw_stanza_type type = gw_edge_type(l, GW_STANZA_IQ);
    if (gw_edge_conn(l, c)->state == GW_EDGE_READY) {
        gw_xml_node bind = gw_xml_find(l->xml, 0, GW_LIT("bind"), NS_BIND);
        if (type == GW_TYPE_SET && bind != GW_XML_NONE && is_proper(l, type))
            return gw_edge_bind(l, c, bind);
        gw_edge_stream_error(l, c, GW_STREAM_NOT_AUTHORIZED, NULL);
        return GW_HANDLED;
    }
    int has_to = gw_edge_read_to(l, c, &to);
    if (has_to > 0 && to.resource_len != 0 && is_proper(l, type) &&
        gw_domain_is_served(l->cfg, gw_jid_domain(&to)))
        return gw_edge_route(l, c, &to,
                             &(struct gw_stanza_form){.kind = GW_STANZA_IQ, .type = type});
    return take(l, c, &(struct gw_iq){.type = type, .to = &to}, has_to);
}
