/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tail loss probe (RFC 8985 section 7): when the last segments of a burst are lost, nothing follows
 * that would show it. After two round-trip times one more segment is sent, new or repeated; its
 * answer tells RACK what is missing, long before the timeout.
 */
#include "stack.h"

#define PROBE_SLACK_US 2000u

static bool may_probe(const struct conn *c)
{
    uint32_t busy = CONN_RECOVERY | CONN_LOSS | CONN_SACKED | CONN_LOST | CONN_TAIL_PROBE |
                    CONN_TAIL_SENT;
    return (c->flags & CONN_SACK) && (c->flags & busy) == 0 && c->srtt_us != 0 &&
           c->snd_wnd != 0 && c->state >= STATE_ESTABLISHED;
}

/* A single segment may wait for the peer's delayed ACK. */
static uint32_t probe_after_us(const struct conn *c)
{
    return 2 * c->srtt_us + (c->pipe <= c->mss ? TCP_PEER_DELAY_US : PROBE_SLACK_US);
}

void tcp_tail_arm(struct gw_tcp *t, struct conn *c)
{
    uint32_t rto_us = tcp_rto_us(c), probe_us = probe_after_us(c);
    if (c->flight_tail == 0)
        tcp_rexmit_clear(c);
    else if (may_probe(c) && probe_us < rto_us)
        tcp_rexmit_set(t, c, REXMIT_TAIL, probe_us);
    else
        tcp_rexmit_set(t, c, REXMIT_RTO, rto_us);
}

void tcp_tail_after_sending(struct gw_tcp *t, struct conn *c)
{
    if (c->rexmit == REXMIT_OFF || c->rexmit == REXMIT_PERSIST) {
        tcp_tail_arm(t, c);
    } else if (c->rexmit != REXMIT_REORDER && may_probe(c)) {
        /* Each new segment puts the probe off, but not beyond the timeout of the first. */
        uint32_t gone_us = (uint32_t)t->now_us - tcp_flight_oldest_us(t, c);
        if (gone_us + probe_after_us(c) < tcp_rto_us(c))
            tcp_rexmit_set(t, c, REXMIT_TAIL, probe_after_us(c));
    }
}

void tcp_tail_fire(struct gw_tcp *t, struct conn *c)
{
    c->flags |= CONN_TAIL_PROBE;
    tcp_dirty(t, c);
    tcp_rexmit_set(t, c, REXMIT_RTO, tcp_rto_us(c));
}

void tcp_tail_sent(struct gw_tcp *t, struct conn *c, bool resent)
{
    COUNT(t, tail_probes_sent);
    cold_of(t, c)->tail_end = c->snd_nxt;
    c->flags &= ~(uint32_t)(CONN_TAIL_PROBE | CONN_TAIL_RESENT);
    c->flags |= CONN_TAIL_SENT | (resent ? CONN_TAIL_RESENT : 0);
}

/*
 * RFC 8985 section 7.4.2: a probe that repeated a segment was not needed when the peer reports it as a
 * duplicate or acknowledges nothing new; when neither comes before the next acknowledgement it has
 * repaired a loss, of which the congestion control must hear.
 */
void tcp_tail_input(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s, bool moved,
                    const struct tcp_delivered *d)
{
    uint32_t tail_end = cold_of(t, c)->tail_end;
    if ((c->flags & CONN_TAIL_SENT) == 0 || seq_lt(s->ack, tail_end))
        return;
    bool resent = (c->flags & CONN_TAIL_RESENT) != 0;
    bool beyond = seq_lt(tail_end, s->ack);
    bool duplicate = d->duplicate ||
                     (!moved && tcp_segment_span(s) == 0 && s->opt.sack_count == 0);
    if (resent && !duplicate && !beyond)
        return;
    c->flags &= ~(uint32_t)(CONN_TAIL_SENT | CONN_TAIL_RESENT);
    if (resent && !duplicate && (c->flags & (CONN_RECOVERY | CONN_LOSS)) == 0)
        t->cc->lost(t, c);
}
