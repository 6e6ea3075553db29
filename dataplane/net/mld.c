/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Multicast listener discovery, version 2 (RFC 9777), for the solicited-node groups of our addresses:
 * a switch that snoops passes on only what somebody says to listen to. Ranges of more than
 * GROUP_RANGE_MAX addresses are left out: their groups would be too many to list. Routers that speak
 * version 1 alone are not answered in it.
 */
#include "internal.h"

#define MLD_QUERY          130
#define MLD_REPORT         143
#define MLD_HEADER_BYTES   8u
#define MLD_RECORD_BYTES   20u
#define MLD_QUERY_BYTES    24u
#define MLD_QUERY_DELAY    4
#define MLD_QUERY_GROUP    8
#define MODE_IS_EXCLUDE    2 /* from nobody: all that is sent to the group */
#define CHANGE_TO_EXCLUDE  4
#define ROUTER_ALERT_BYTES 8u
#define GROUP_RANGE_MAX    64u
#define DELAY_US_MAX       10000000u
#define RECORDS_MAX                                                                                \
    ((IP6_MTU_MIN - IP6_HEADER_BYTES - ROUTER_ALERT_BYTES - MLD_HEADER_BYTES) / MLD_RECORD_BYTES)

/* One report that fills. */
struct report {
    uint8_t frame[ETH_HEADER_BYTES + IP6_MTU_MIN];
    unsigned count;
    uint8_t kind;
};

static uint8_t *message_of(struct report *r)
{
    return r->frame + ETH_HEADER_BYTES + IP6_HEADER_BYTES + ROUTER_ALERT_BYTES;
}

static void send(struct gw_net *n, struct report *r)
{
    static const uint8_t to_mac[6] = {0x33, 0x33, 0, 0, 0, 0x16};
    static const uint8_t to[16] = {0xff, 0x02, [15] = 0x16};
    static const uint8_t alert[ROUTER_ALERT_BYTES] = {IP_PROTOCOL_ICMP6, 0, 5, 2, 0, 0, 1, 0};
    uint8_t *ip = r->frame + ETH_HEADER_BYTES, *p = message_of(r);
    uint32_t len = MLD_HEADER_BYTES + r->count * MLD_RECORD_BYTES;
    memcpy(r->frame, to_mac, 6);
    memcpy(r->frame + 6, n->port->mac, 6);
    gw_put_be16(r->frame + 12, ETH_TYPE_IP6);
    ip6_write_header(ip, ROUTER_ALERT_BYTES + len, 0, 1, 0, n->links6[0].ip.b, to);
    memcpy(ip + IP6_HEADER_BYTES, alert, sizeof(alert));
    memset(p, 0, MLD_HEADER_BYTES);
    p[0] = MLD_REPORT;
    gw_put_be16(p + 6, (uint16_t)r->count);
    uint16_t sum =
        checksum_finish(checksum_add(ip6_pseudo_sum(ip, IP_PROTOCOL_ICMP6, len), p, len));
    memcpy(p + 2, &sum, 2);
    if (net_answer(n, r->frame, (uint32_t)(p - r->frame) + len))
        GW_COUNT(n->counters.mld_reports_out);
    r->count = 0;
}

static void add(struct gw_net *n, struct report *r, const uint8_t ip[16])
{
    uint8_t *record = message_of(r) + MLD_HEADER_BYTES + r->count * MLD_RECORD_BYTES;
    memset(record, 0, 4);
    record[0] = r->kind;
    nd_group_of(record + 4, ip);
    if (++r->count == RECORDS_MAX)
        send(n, r);
}

void mld_report(struct gw_net *n, bool news)
{
    struct report r = {.kind = news ? CHANGE_TO_EXCLUDE : MODE_IS_EXCLUDE};
    for (unsigned i = 0; i < n->local6_count; i++) {
        const struct prefix6 *p = &n->locals6[i];
        uint64_t last = ~gw_be64(&p->mask[1]);
        if (p->mask[0] != UINT64_MAX || last >= GROUP_RANGE_MAX)
            continue;
        uint8_t ip[16];
        memcpy(ip, p->ip, sizeof(ip));
        for (uint64_t host = 0; host <= last; host++) {
            gw_put_be64(ip + 8, gw_be64(&p->ip[1]) | host);
            add(n, &r, ip);
        }
    }
    if (r.count > 0)
        send(n, &r);
}

/* Section 5.1.3: milliseconds, or a floating-point form of them. */
static uint32_t delay_us_max(uint16_t code)
{
    uint32_t ms = code < 0x8000 ? code : ((code & 0xfffu) | 0x1000u) << ((code >> 12 & 7u) + 3);
    return ms < DELAY_US_MAX / 1000 ? ms * 1000 : DELAY_US_MAX;
}

void mld_query_input(struct gw_net *n, const struct icmp6 *m)
{
    static const uint8_t none[16];
    const uint8_t *source = m->ip + IP6_SOURCE, *group = m->message + MLD_QUERY_GROUP;
    /* Section 5.1.14: from the link, by who speaks for it. About all groups, or one and sent to it. */
    if (m->ip[IP6_HOP_LIMIT] != 1 || source[0] != 0xfe || (source[1] & 0xc0) != 0x80 ||
        m->len < MLD_QUERY_BYTES ||
        (memcmp(group, none, 16) != 0 && memcmp(group, m->ip + IP6_DESTINATION, 16) != 0)) {
        GW_COUNT(n->counters.drop_mld_format);
        return;
    }
    if (m->shared || n->link6_count == 0)
        return;
    GW_COUNT(n->counters.mld_queries_in);
    /* At a moment of our choice within the delay, so that not all answer at once. A question about
     * one group is answered with all of them. */
    uint32_t most_us = delay_us_max(gw_be16(m->message + MLD_QUERY_DELAY));
    uint64_t random = gw_siphash(&n->neighbours.key, &n->now_us, sizeof(n->now_us));
    uint64_t at_us = n->now_us + (most_us == 0 ? 0 : random % most_us);
    if (at_us < n->mld_us)
        n->mld_us = at_us;
}

void mld_advance(struct gw_net *n)
{
    n->mld_us = UINT64_MAX;
    mld_report(n, false);
}
