/* SPDX-License-Identifier: Apache-2.0 */
/* Service discovery (XEP-0030 version 2.5rc3): of the server and of the user's own account. */
#include "iq.h"

#include "../base/text.h"

#define NS_INFO "http://jabber.org/protocol/disco#info"

struct feature {
    uint8_t whom;
    const char *name;
};

static const struct feature features[] = {
    {GW_IQ_OWN | GW_IQ_SERVER, NS_INFO},
    {GW_IQ_OWN | GW_IQ_SERVER, "http://jabber.org/protocol/disco#items"},
    {GW_IQ_SERVER, "jabber:iq:version"},
    {GW_IQ_SERVER, "msgoffline"},
    {GW_IQ_SERVER, "urn:xmpp:ping"},
    {GW_IQ_OWN | GW_IQ_SERVER, "urn:xmpp:carbons:2"},
    {GW_IQ_OWN | GW_IQ_SERVER, "vcard-temp"},
    {GW_IQ_OWN | GW_IQ_SERVER, "jabber:iq:private"},
    {GW_IQ_OWN, "urn:xmpp:sid:0"},
};

/* There are no nodes: every one is unknown (XEP-0030 section 3.2). */
static bool asks_node(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    if (gw_xml_attr(l->xml, q->child, GW_LIT("node")) == NULL)
        return false;
    gw_edge_refuse(l, c, GW_CONDITION_ITEM_NOT_FOUND);
    return true;
}

/* Of whom: without `to` it is the account (RFC 6120 section 10.3.3). */
static uint8_t subject(const struct gw_iq *q)
{
    return q->whom & GW_IQ_OWN ? GW_IQ_OWN : GW_IQ_SERVER;
}

void gw_iq_disco_info(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    char buf[2048];
    struct gw_text t = gw_text(buf, sizeof(buf));
    uint8_t of = subject(q);
    if (asks_node(l, c, q))
        return;
    gw_text_str(&t, "<query xmlns='" NS_INFO "'>");
    gw_text_str(&t, of == GW_IQ_OWN ? "<identity category='account' type='registered'/>"
                                    : "<identity category='server' type='im' name='Godwit'/>");
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
        if (features[i].whom & of) {
            gw_text_str(&t, "<feature var='");
            gw_text_str(&t, features[i].name);
            gw_text_str(&t, "'/>");
        }
    gw_text_str(&t, "</query>");
    gw_edge_result(l, c, gw_text_bytes(&t));
}

void gw_iq_disco_items(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    if (!asks_node(l, c, q))
        gw_edge_result(l, c, GW_LIT("<query xmlns='http://jabber.org/protocol/disco#items'/>"));
}
