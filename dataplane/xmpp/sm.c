/* SPDX-License-Identifier: Apache-2.0 */
/* Stream management (XEP-0198 version 1.6): acks. Resumption is not offered. */
#include "edge.h"

#include <stdio.h>

static void fail(struct gw_lcore *l, gw_conn c, const char *condition)
{
    char buf[160];
    int n = snprintf(buf, sizeof(buf),
                     "<failed xmlns='urn:xmpp:sm:3'>"
                     "<%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>",
                     condition);
    gw_edge_answer_nonza(l, c, GW_ANSWER_NONZA, gw_bytes(buf, (size_t)n));
}

static enum gw_handled enable(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (e->state != GW_EDGE_BOUND || e->sm_in) {
        fail(l, c, "unexpected-request");
        return GW_HANDLED;
    }
    if (!gw_edge_has_credit(l, c, e->session.lcore))
        return GW_HANDLE_LATER;
    struct gw_post p = {.op = GW_POST_SM, .session = e->session};
    gw_post_up(l, e->session.lcore, &p);
    e->sm_in = true;
    e->sm_base = e->seq;
    gw_edge_answer_nonza(l, c, GW_ANSWER_ENABLED, GW_LIT("<enabled xmlns='urn:xmpp:sm:3'/>"));
    return GW_HANDLED;
}

/* h of an <a/>: a decimal number that wraps at 2^32. */
static bool read_h(const struct gw_lcore *l, uint32_t *h)
{
    char text[16];
    uint64_t v = 0;
    int n = gw_xml_attr_text(l->xml, 0, GW_LIT("h"), text, sizeof(text));
    for (int i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    *h = (uint32_t)v;
    return n > 0 && v <= UINT32_MAX;
}

/* XEP-0198 section 4. */
static void refuse_ack(struct gw_lcore *l, gw_conn c, uint32_t h)
{
    char condition[128];
    snprintf(condition, sizeof(condition),
             "<handled-count-too-high xmlns='urn:xmpp:sm:3' h='%u' send-count='%u'/>", h,
             gw_edge_conn(l, c)->out_count);
    gw_edge_stream_error_with(l, c, GW_STREAM_UNDEFINED_CONDITION,
                              "acknowledged more stanzas than were sent", condition);
}

static void take_ack(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    uint32_t h;
    if (!e->sm || !read_h(l, &h)) {
        gw_edge_stream_error(l, c, GW_STREAM_POLICY_VIOLATION, "malformed stream management ack");
        return;
    }
    GW_COUNT(l->edge_count.acks_in);
    e->r_outstanding = false;
    if (!gw_edge_confirm_stanzas(l, c, h))
        refuse_ack(l, c, h);
}

enum gw_handled gw_edge_sm(struct gw_lcore *l, gw_conn c)
{
    struct gw_bytes name = l->xml->nodes[0].name;
    if (gw_bytes_eq(name, GW_LIT("r")) && gw_edge_conn(l, c)->sm_in)
        gw_edge_answer_nonza(l, c, GW_ANSWER_ACK, gw_bytes(NULL, 0));
    else if (gw_bytes_eq(name, GW_LIT("a")))
        take_ack(l, c);
    else if (gw_bytes_eq(name, GW_LIT("enable")))
        return enable(l, c);
    else if (gw_bytes_eq(name, GW_LIT("resume")))
        fail(l, c, gw_edge_conn(l, c)->state == GW_EDGE_READY ? "item-not-found" : "unexpected-request");
    else
        gw_edge_stream_error(l, c, GW_STREAM_UNSUPPORTED_STANZA_TYPE, NULL);
    return GW_HANDLED;
}
