/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 5681 congestion control with appropriate byte counting (RFC 3465, L = 2 segments). */
#include "stack.h"

static uint32_t half_of_flight(const struct gw_tcp *t, const struct conn *c)
{
    uint32_t half = (c->snd_nxt - c->snd_una) / 2;
    return half > 2u * c->mss ? half : 2u * c->mss;
}

static void newreno_begin(struct gw_tcp *t, struct conn *c)
{
    cold_of(t, c)->cc[0] = 0;
}

/* cc[0] collects acknowledged bytes until they make a window's worth. */
static void newreno_acked(struct gw_tcp *t, struct conn *c, uint32_t bytes)
{
    struct cold *k = cold_of(t, c);
    if (c->cwnd < k->ssthresh) {
        uint32_t most = 2u * c->mss;
        c->cwnd += bytes < most ? bytes : most;
        return;
    }
    k->cc[0] += bytes;
    if (k->cc[0] >= c->cwnd) {
        k->cc[0] -= c->cwnd;
        c->cwnd += c->mss;
    }
}

static void newreno_lost(struct gw_tcp *t, struct conn *c)
{
    struct cold *k = cold_of(t, c);
    k->ssthresh = half_of_flight(t, c);
    k->cc[0] = 0;
    c->cwnd = k->ssthresh;
}

static void newreno_timed_out(struct gw_tcp *t, struct conn *c)
{
    struct cold *k = cold_of(t, c);
    k->ssthresh = half_of_flight(t, c);
    k->cc[0] = 0;
}

const struct tcp_cc tcp_cc_newreno = {
    .name = "newreno",
    .begin = newreno_begin,
    .acked = newreno_acked,
    .lost = newreno_lost,
    .timed_out = newreno_timed_out,
    .idle = newreno_begin,
};
