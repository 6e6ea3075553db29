/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Service discovery (XEP-0030 version 2.5rc3) of the server and of the user's own account, with the
 * operator's addresses (XEP-0157 version 1.1.1), and the server's capabilities in short (XEP-0115
 * version 1.6.0): a hash over what it answers, by which a client knows the answer without asking.
 */
#include "iq.h"

#include "../base/check.h"
#include "../base/text.h"
#include "sasl.h"

#define NS_INFO   "http://jabber.org/protocol/disco#info"
#define NODE      "urn:godwit:server"
#define FORM_TYPE "http://jabber.org/network/serverinfo"

struct feature {
    uint8_t whom;
    const char *name;
};

static const struct feature features[] = {
    {GW_IQ_OWN | GW_IQ_SERVER, NS_INFO},
    {GW_IQ_OWN | GW_IQ_SERVER, "http://jabber.org/protocol/disco#items"},
    {GW_IQ_SERVER, "jabber:iq:version"},
    {GW_IQ_SERVER, "msgoffline"},
    {GW_IQ_SERVER, "urn:xmpp:blocking"},
    {GW_IQ_SERVER, "urn:xmpp:ping"},
    {GW_IQ_SERVER, "jabber:iq:last"},
    {GW_IQ_SERVER, "urn:xmpp:time"},
    {GW_IQ_OWN | GW_IQ_SERVER, "urn:xmpp:carbons:2"},
    {GW_IQ_OWN | GW_IQ_SERVER, "vcard-temp"},
    {GW_IQ_OWN | GW_IQ_SERVER, "jabber:iq:private"},
    {GW_IQ_OWN, "urn:xmpp:sid:0"},
};
#define FEATURE_COUNT (sizeof(features) / sizeof(features[0]))

/* ---- the server's capabilities ---- */

/* Those of the server in the order of their bytes: how many. */
static unsigned sorted_features(const char *out[FEATURE_COUNT])
{
    unsigned n = 0;
    for (size_t i = 0; i < FEATURE_COUNT; i++) {
        if (!(features[i].whom & GW_IQ_SERVER))
            continue;
        unsigned k = n++;
        for (; k > 0 && strcmp(out[k - 1], features[i].name) > 0; k--)
            out[k] = out[k - 1];
        out[k] = features[i].name;
    }
    return n;
}

/* A contact is "KIND=ADDRESS", as configured: sorted, so those of a kind are together. */
static struct gw_bytes kind_of(struct gw_bytes contact)
{
    const uint8_t *end = memchr(contact.p, '=', contact.len);
    return gw_bytes(contact.p, (size_t)(end - contact.p));
}

static struct gw_bytes address_of(struct gw_bytes contact)
{
    size_t skip = kind_of(contact).len + 1;
    return gw_bytes(contact.p + skip, contact.len - skip);
}

static bool begins_kind(const struct gw_xmpp_config *cfg, unsigned i)
{
    return i == 0 || !gw_bytes_eq(kind_of(cfg->contacts[i]), kind_of(cfg->contacts[i - 1]));
}

/* XEP-0115 section 5.1: what is hashed. */
static void put_hashed(const struct gw_lcore *l, struct gw_text *t)
{
    const struct gw_xmpp_config *cfg = l->cfg;
    const char *sorted[FEATURE_COUNT];
    gw_text_str(t, "server/im//Godwit<");
    unsigned n = sorted_features(sorted);
    for (unsigned i = 0; i < n; i++) {
        gw_text_str(t, sorted[i]);
        gw_text_str(t, "<");
    }
    if (cfg->contact_count > 0)
        gw_text_str(t, FORM_TYPE "<");
    for (unsigned i = 0; i < cfg->contact_count; i++) {
        if (begins_kind(cfg, i)) {
            gw_text_put(t, kind_of(cfg->contacts[i]));
            gw_text_str(t, "-addresses<");
        }
        gw_text_put(t, address_of(cfg->contacts[i]));
        gw_text_str(t, "<");
    }
    check(!t->full);
}

void gw_edge_open_caps(struct gw_lcore *l)
{
    uint8_t hash[GW_HASH_BYTES_MAX];
    struct gw_text t = gw_text(l->scratch, GW_SCRATCH_BYTES);
    put_hashed(l, &t);
    gw_hash(l->hasher, GW_HASH_SHA_1, gw_text_bytes(&t), hash);
    l->edge->caps_ver_len = (uint8_t)gw_base64_encode(gw_bytes(hash, 20), l->edge->caps_ver);
}

static struct gw_bytes caps_ver(const struct gw_lcore *l)
{
    return gw_bytes(l->edge->caps_ver, l->edge->caps_ver_len);
}

void gw_edge_put_caps(const struct gw_lcore *l, struct gw_text *t)
{
    gw_text_str(t, "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='" NODE "' ver='");
    gw_text_put(t, caps_ver(l));
    gw_text_str(t, "'/>");
}

/* ---- answers ---- */

/* Of whom: without `to` it is the account (RFC 6120 section 10.3.3). */
static uint8_t subject(const struct gw_iq *q)
{
    return q->whom & GW_IQ_OWN ? GW_IQ_OWN : GW_IQ_SERVER;
}

/* The server's node is what its capabilities say; there are no others (XEP-0030 section 3.2). */
static bool is_caps_node(const struct gw_lcore *l, struct gw_bytes node)
{
    const size_t skip = sizeof(NODE "#") - 1;
    return node.len > skip && memcmp(node.p, NODE "#", skip) == 0 &&
           gw_bytes_eq(gw_bytes(node.p + skip, node.len - skip), caps_ver(l));
}

static void put_contacts(const struct gw_xmpp_config *cfg, struct gw_text *t)
{
    gw_text_str(t, "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'>"
                   "<value>" FORM_TYPE "</value></field>");
    for (unsigned i = 0; i < cfg->contact_count; i++) {
        if (begins_kind(cfg, i)) {
            gw_text_str(t, i > 0 ? "</field><field var='" : "<field var='");
            gw_text_put(t, kind_of(cfg->contacts[i]));
            gw_text_str(t, "-addresses' type='list-multi'>");
        }
        gw_text_str(t, "<value>");
        gw_text_escaped(t, address_of(cfg->contacts[i]));
        gw_text_str(t, "</value>");
    }
    gw_text_str(t, "</field></x>");
}

void gw_iq_disco_info(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    char buf[GW_CONTACTS_BYTES_MAX + 8192];
    struct gw_text t = gw_text(buf, sizeof(buf));
    uint8_t of = subject(q);
    const struct gw_xml_attr *node = gw_xml_attr(l->xml, q->child, GW_LIT("node"));
    if (node != NULL && (of != GW_IQ_SERVER || !is_caps_node(l, node->value))) {
        gw_edge_refuse(l, c, GW_CONDITION_ITEM_NOT_FOUND);
        return;
    }
    gw_text_str(&t, "<query xmlns='" NS_INFO "'");
    if (node != NULL) {
        gw_text_str(&t, " node='");
        gw_text_put(&t, node->value);
        gw_text_str(&t, "'");
    }
    gw_text_str(&t, of == GW_IQ_OWN ? "><identity category='account' type='registered'/>"
                                    : "><identity category='server' type='im' name='Godwit'/>");
    for (size_t i = 0; i < FEATURE_COUNT; i++)
        if (features[i].whom & of) {
            gw_text_str(&t, "<feature var='");
            gw_text_str(&t, features[i].name);
            gw_text_str(&t, "'/>");
        }
    if (of == GW_IQ_SERVER && l->cfg->contact_count > 0)
        put_contacts(l->cfg, &t);
    gw_text_str(&t, "</query>");
    check(!t.full);
    gw_edge_result(l, c, gw_text_bytes(&t));
}

void gw_iq_disco_items(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    if (gw_xml_attr(l->xml, q->child, GW_LIT("node")) != NULL)
        gw_edge_refuse(l, c, GW_CONDITION_ITEM_NOT_FOUND);
    else
        gw_edge_result(l, c, GW_LIT("<query xmlns='http://jabber.org/protocol/disco#items'/>"));
}
