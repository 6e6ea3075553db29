/* SPDX-License-Identifier: Apache-2.0 */
/* IQs (RFC 6120 section 8.2.3): those for the server or the user's own account are answered here. */
#include "edge.h"

#include <stdlib.h>

#include "../base/text.h"
#include "ping.h"

#define NS_BIND GW_LIT("urn:ietf:params:xml:ns:xmpp-bind")

typedef void (*answer_fn)(struct gw_lcore *l, gw_conn c);

static void answer_empty(struct gw_lcore *l, gw_conn c)
{
    gw_edge_result(l, c, gw_bytes(NULL, 0));
}

static void answer_roster(struct gw_lcore *l, gw_conn c)
{
    gw_edge_result(l, c, GW_LIT("<query xmlns='jabber:iq:roster'/>"));
}

static void answer_server_info(struct gw_lcore *l, gw_conn c)
{
    gw_edge_result(l, c,
                   GW_LIT("<query xmlns='http://jabber.org/protocol/disco#info'>"
                          "<identity category='server' type='im' name='Godwit'/>"
                          "<feature var='http://jabber.org/protocol/disco#info'/>"
                          "<feature var='http://jabber.org/protocol/disco#items'/>"
                          "<feature var='jabber:iq:version'/>"
                          "<feature var='msgoffline'/>"
                          "<feature var='urn:xmpp:ping'/></query>"));
}

static void answer_account_info(struct gw_lcore *l, gw_conn c)
{
    gw_edge_result(l, c,
                   GW_LIT("<query xmlns='http://jabber.org/protocol/disco#info'>"
                          "<identity category='account' type='registered'/>"
                          "<feature var='http://jabber.org/protocol/disco#info'/>"
                          "<feature var='urn:xmpp:sid:0'/></query>"));
}

static void answer_items(struct gw_lcore *l, gw_conn c)
{
    gw_edge_result(l, c, GW_LIT("<query xmlns='http://jabber.org/protocol/disco#items'/>"));
}

static void answer_version(struct gw_lcore *l, gw_conn c)
{
    gw_edge_result(l, c,
                   GW_LIT("<query xmlns='jabber:iq:version'><name>Godwit</name>"
                          "<version>" GW_VERSION "</version></query>"));
}

static void answer_not_found(struct gw_lcore *l, gw_conn c)
{
    gw_edge_refuse(l, c, GW_CONDITION_ITEM_NOT_FOUND);
}

/* What is asked of whom: `type` is get or set; own: of the user's own account, else of the server.
 * An absent `to` means the account (RFC 6120 section 10.3.3) but server questions are taken too. */
static const struct {
    bool own, server;
    enum gw_stanza_type type;
    struct gw_bytes name, ns;
    answer_fn answer;
} handlers[] = {
#define H(own, server, type, name, ns, fn)                                                         \
    {own, server, type, {(const uint8_t *)name, sizeof(name) - 1}, {(const uint8_t *)ns, sizeof(ns) - 1}, fn}
    H(true, true, GW_TYPE_GET, "ping", "urn:xmpp:ping", answer_empty),
    H(true, false, GW_TYPE_GET, "query", "jabber:iq:roster", answer_roster),
    H(false, true, GW_TYPE_GET, "query", "http://jabber.org/protocol/disco#info", answer_server_info),
    H(true, false, GW_TYPE_GET, "query", "http://jabber.org/protocol/disco#info", answer_account_info),
    H(true, true, GW_TYPE_GET, "query", "http://jabber.org/protocol/disco#items", answer_items),
    H(true, true, GW_TYPE_GET, "query", "jabber:iq:version", answer_version),
    H(true, true, GW_TYPE_SET, "session", "urn:ietf:params:xml:ns:xmpp-session", answer_empty),
    H(true, false, GW_TYPE_GET, "vCard", "vcard-temp", answer_not_found),
#undef H
};

static void answer_here(struct gw_lcore *l, gw_conn c, enum gw_stanza_type type, bool own,
                        bool server)
{
    gw_xml_node child = gw_xml_child(l->xml, 0);
    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
        if (handlers[i].type == type &&
            ((own && handlers[i].own) || (server && handlers[i].server)) &&
            gw_xml_is(l->xml, child, handlers[i].name, handlers[i].ns)) {
            handlers[i].answer(l, c);
            return;
        }
    gw_edge_refuse(l, c, GW_CONDITION_SERVICE_UNAVAILABLE);
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

enum gw_handled gw_edge_iq(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    struct gw_jid_text to;
    if (!gw_edge_check_stanza(l, c))
        return GW_HANDLED;
    enum gw_stanza_type type = gw_edge_type(l, GW_STANZA_IQ);
    if (e->state == GW_EDGE_READY) {
        gw_xml_node bind = gw_xml_find(l->xml, 0, GW_LIT("bind"), NS_BIND);
        if (type == GW_TYPE_SET && bind != GW_XML_NONE && is_proper(l, type))
            return gw_edge_bind(l, c, bind);
        gw_edge_stream_error(l, c, GW_STREAM_NOT_AUTHORIZED, NULL);
        return GW_HANDLED;
    }
    int has_to = gw_edge_read_to(l, c, &to);
    bool own = has_to >= 0 && gw_bytes_eq(gw_jid_full(&to), gw_edge_bare(l, c));
    bool server = has_to == 0 || (has_to > 0 && gw_bytes_eq(gw_jid_full(&to), l->cfg->domain));
    bool good = is_proper(l, type);
    if (good && has_to > 0 && !own && !server && gw_bytes_eq(gw_jid_domain(&to), l->cfg->domain) &&
        to.resource_len != 0)
        return gw_edge_route(l, c, &to,
                             &(struct gw_stanza_form){.kind = GW_STANZA_IQ, .type = type});

    if (!gw_edge_number(l, c))
        return GW_HANDLE_LATER;
    if (has_to < 0)
        gw_edge_refuse(l, c, GW_CONDITION_JID_MALFORMED);
    else if (!good)
        gw_edge_refuse(l, c, GW_CONDITION_BAD_REQUEST);
    else if (type == GW_TYPE_RESULT || type == GW_TYPE_ERROR)
        take_answer(l, c);
    else if (own || server)
        answer_here(l, c, type, own, server);
    else if (!gw_bytes_eq(gw_jid_domain(&to), l->cfg->domain))
        gw_edge_refuse(l, c, GW_CONDITION_REMOTE_SERVER_NOT_FOUND);
    else /* of another's account: nothing is answered on its behalf */
        gw_edge_refuse(l, c, GW_CONDITION_SERVICE_UNAVAILABLE);
    gw_edge_settle(l, c, e->seq);
    return GW_HANDLED;
}
