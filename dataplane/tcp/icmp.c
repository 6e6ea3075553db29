/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ICMP may do to a connection (RFC 1122 section 4.2.3.9 as RFC 5927 tightens it): end one that is
 * still being asked for, when the error is hard and quotes our SYN. Whoever can guess a sequence number
 * cannot end or slow down one that is established.
 */
#include "stack.h"

static bool is_in_flight(const struct conn *c, uint32_t seq)
{
    return seq - c->snd_una < c->snd_nxt - c->snd_una;
}

void gw_tcp_icmp(struct gw_tcp *t, uint64_t now_us, enum gw_tcp_icmp what,
                 const struct gw_tcp_tuple *tuple, uint32_t seq)
{
    tcp_set_now(t, now_us);
    uint32_t ref = tcp_table_find(t, tuple);
    if (ref == 0 || (ref & TCP_REF_TIME_WAIT)) {
        COUNT(t, drop_icmp_no_connection);
        return;
    }
    struct conn *c = conn_at(t, ref);
    if (!is_in_flight(c, seq)) {
        COUNT(t, drop_icmp_sequence);
        return;
    }
    if (what == GW_TCP_ICMP_TOO_BIG)
        COUNT(t, icmp_too_big);
    else if (what == GW_TCP_ICMP_HARD && c->state == STATE_SYN_SENT)
        tcp_conn_end(t, c, GW_TCP_CLOSED_UNREACHABLE);
    else
        COUNT(t, icmp_ignored);
}
