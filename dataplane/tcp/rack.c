/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RACK (RFC 8985): what was sent before something that has arrived, and is not there after that long
 * and a little more, is lost. It takes the place of counting duplicates on connections with SACK, and
 * finds lost repetitions too, since each repetition has its own time.
 */
#include "stack.h"

#define QUARTERS_MAX  15u
#define KEEP_ROUNDS   16u

/* Step 1 and 2: the least round-trip time, and what was sent last of all that has arrived. */
static void update(struct gw_tcp *t, struct conn *c, const struct tcp_delivered *d)
{
    struct cold *k = cold_of(t, c);
    if (d->rtt_us != 0 && (k->rtt_us_min == 0 || d->rtt_us < k->rtt_us_min))
        k->rtt_us_min = d->rtt_us;
    uint32_t rtt_us = (uint32_t)t->now_us - d->sent_us;
    /* An answer too early for the repetition is to the first copy, and says nothing of the second. */
    if (d->newest_resent && rtt_us < k->rtt_us_min)
        return;
    bool newer = k->rack_rtt_us == 0 || seq_lt(k->rack_sent_us, d->sent_us) ||
                 (k->rack_sent_us == d->sent_us && seq_lt(k->rack_end, d->end));
    if (!newer)
        return;
    k->rack_sent_us = d->sent_us;
    k->rack_end = d->end;
    k->rack_rtt_us = rtt_us > 0 ? rtt_us : 1;
}

/* Step 3 and 4. A reported duplicate says that patience was too short: once a round it grows. */
static void adapt(struct gw_tcp *t, struct conn *c, const struct tcp_delivered *d)
{
    struct cold *k = cold_of(t, c);
    if (d->reordered)
        c->flags |= CONN_REORDERED;
    if (!d->duplicate || (k->rack_keep > 0 && seq_lt(c->snd_una, k->rack_round)))
        return;
    k->rack_round = c->snd_nxt;
    k->rack_keep = KEEP_ROUNDS;
    if (k->rack_quarters < QUARTERS_MAX)
        k->rack_quarters++;
}

void tcp_rack_recovered(struct gw_tcp *t, struct conn *c)
{
    struct cold *k = cold_of(t, c);
    if (k->rack_keep > 0 && --k->rack_keep == 0)
        k->rack_quarters = 0;
}

static uint32_t reorder_window_us(const struct gw_tcp *t, const struct conn *c)
{
    const struct cold *k = cold_of(t, c);
    if ((c->flags & CONN_REORDERED) == 0) {
        bool enough = c->dup_acks >= TCP_DUP_ACKS ||
                      tcp_flight_sacked_bytes(t, c) >= TCP_DUP_ACKS * c->mss;
        if (enough || (c->flags & (CONN_RECOVERY | CONN_LOSS)))
            return 0;
    }
    uint32_t window = k->rtt_us_min / 4 * (k->rack_quarters + 1u);
    return window < c->srtt_us ? window : c->srtt_us;
}

/* Step 5. */
static void detect(struct gw_tcp *t, struct conn *c)
{
    struct cold *k = cold_of(t, c);
    bool had_lost = (c->flags & CONN_LOST) != 0;
    uint32_t wait_us = tcp_flight_lose_older(t, c, k->rack_sent_us, k->rack_end,
                                             k->rack_rtt_us + reorder_window_us(t, c));
    if (!had_lost && (c->flags & CONN_LOST))
        tcp_recovery_begin(t, c);
    if (wait_us != 0)
        tcp_rexmit_set(t, c, REXMIT_REORDER, wait_us);
    else if (c->rexmit == REXMIT_REORDER)
        tcp_rexmit_set(t, c, REXMIT_RTO, tcp_rto_us(c));
}

void tcp_rack_input(struct gw_tcp *t, struct conn *c, const struct tcp_delivered *d)
{
    if (c->flight_tail == 0) {
        cold_of(t, c)->rack_rtt_us = 0;
        c->flags &= ~(uint32_t)CONN_SACKED;
        return;
    }
    adapt(t, c, d);
    if (!d->any)
        return;
    update(t, c, d);
    if ((c->flags & CONN_SACKED) && tcp_flight_highest_sacked(t, c) == c->snd_una)
        c->flags &= ~(uint32_t)CONN_SACKED;
    if (cold_of(t, c)->rack_rtt_us != 0)
        detect(t, c);
}

void tcp_rack_fire(struct gw_tcp *t, struct conn *c)
{
    detect(t, c);
    if (c->flight_tail != 0 && c->rexmit == REXMIT_OFF)
        tcp_rexmit_set(t, c, REXMIT_RTO, tcp_rto_us(c));
}
