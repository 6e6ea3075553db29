/* SPDX-License-Identifier: Apache-2.0 */
/* The acknowledgement and window of an acceptable segment (RFC 9293 section 3.10.7.4, fifth). */
#include "stack.h"

static bool has_something_to_send(const struct conn *c)
{
    uint32_t text_end = c->snd_una + c->queue_bytes;
    if (c->flags & CONN_LOST)
        return true;
    if (c->flags & CONN_FIN_SENT)
        return false;
    return c->snd_nxt != text_end || (c->flags & CONN_FIN_WANTED);
}

/* What was refused by a closed window is not lost in the net: send it again as soon as it opens. */
static void window_opened(struct gw_tcp *t, struct conn *c)
{
    c->backoff = 0;
    tcp_flight_lose_all(t, c);
    if (c->rexmit == REXMIT_PERSIST)
        tcp_rexmit_clear(c);
    tcp_dirty(t, c);
}

/*
 * Take the peer's window unless the segment is an old one: RFC 9293 keeps SND.WL1 and SND.WL2 for
 * that. An ACK that moves snd_una is the newest there is. Of the others those that begin at rcv_nxt
 * are as new as anything, and a window's edge that moves forward is never wrong.
 */
static void window_update(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s, bool moved)
{
    uint32_t window = (uint32_t)s->window << c->snd_scale;
    if (!moved && s->seq != c->rcv_nxt && window <= c->snd_wnd)
        return;
    bool grew = window > c->snd_wnd, was_closed = c->snd_wnd == 0;
    c->snd_wnd = window;
    if (!grew)
        return;
    tcp_note_largest_window(t, c);
    if (was_closed)
        window_opened(t, c);
    else if (has_something_to_send(c))
        tcp_dirty(t, c);
}

static void take_sample(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s,
                        const struct tcp_delivered *d)
{
    /* After a repetition only the echoed timestamp tells which copy was answered. */
    uint32_t rtt_us = d->resent ? 0 : d->rtt_us;
    if (rtt_us == 0 && (c->flags & CONN_TIMESTAMPS) && s->opt.has_timestamp && s->opt.ts_ecr != 0) {
        uint32_t ticks = t->now_ts - s->opt.ts_ecr;
        if (ticks < TCP_RTO_MAX_US >> 10)
            rtt_us = (ticks << 10) + 1;
    }
    if (rtt_us != 0)
        tcp_rtt_sample(c, rtt_us);
}

static void new_ack(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s,
                    struct tcp_delivered *d)
{
    uint32_t old_una = c->snd_una;
    uint32_t bytes = s->ack - old_una;
    if (c->state == STATE_SYN_RECEIVED)
        bytes--;
    if ((c->flags & CONN_FIN_SENT) && s->ack == c->snd_nxt) {
        c->flags |= CONN_FIN_ACKED;
        bytes--;
    }
    tcp_flight_acked(t, c, s->ack, d);
    take_sample(t, c, s, d);
    tcp_sendq_release(t, c, bytes);
    /* The peer's window reaches to the same place, seen from the new snd_una, until it says more. */
    uint32_t moved = s->ack - old_una;
    c->snd_wnd = c->snd_wnd > moved ? c->snd_wnd - moved : 0;
    c->snd_una = s->ack;
    c->acked += bytes;
    if (c->state != STATE_SYN_RECEIVED) {
        c->backoff = 0;
        tcp_recovery_new_ack(t, c, bytes);
    }
    tcp_tail_arm(t, c);
    if (has_something_to_send(c))
        tcp_dirty(t, c);
}

/* RFC 5681 section 2. */
static bool is_duplicate(const struct conn *c, const struct tcp_segment *s)
{
    return s->ack == c->snd_una && c->flight_tail != 0 && tcp_segment_span(s) == 0 &&
           (uint32_t)s->window << c->snd_scale == c->snd_wnd && c->snd_wnd != 0;
}

/* RFC 5961 section 5: what was acknowledged before, at most a window back, or newly. */
static bool is_acceptable(const struct conn *c, uint32_t ack)
{
    uint32_t back = UINT32_C(0xffff) << c->snd_scale;
    return seq_leq(ack, c->snd_nxt) && seq_leq(c->snd_una - back, ack);
}

bool tcp_ack_input(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s)
{
    if (c->state == STATE_SYN_RECEIVED) {
        if (!seq_lt(c->snd_una, s->ack) || !seq_leq(s->ack, c->snd_nxt)) {
            COUNT(t, drop_ack);
            tcp_reply_reset(t, s);
            return false;
        }
    } else if (!is_acceptable(c, s->ack)) {
        COUNT(t, drop_ack);
        tcp_challenge_ack(t, c);
        return false;
    }
    c->unanswered = 0;
    bool moved = seq_lt(c->snd_una, s->ack), current = seq_leq(c->snd_una, s->ack);
    uint64_t acked = c->acked;
    struct tcp_delivered d = {.highest = c->snd_una};
    if (c->flags & CONN_SACKED)
        d.highest = tcp_flight_highest_sacked(t, c);
    if ((c->flags & CONN_SACK) && current)
        tcp_sack_input(t, c, s, &d);
    if (!moved && is_duplicate(c, s))
        tcp_recovery_duplicate_ack(t, c);
    if (moved)
        new_ack(t, c, s, &d);
    if ((c->flags & CONN_SACK) && current && c->state != STATE_SYN_RECEIVED) {
        tcp_rack_input(t, c, &d);
        tcp_tail_input(t, c, s, moved, &d);
        /* What is SACKed makes room in the congestion window. */
        if (d.any && has_something_to_send(c))
            tcp_dirty(t, c);
    }
    if (c->state == STATE_SYN_RECEIVED) {
        c->snd_wnd = (uint32_t)s->window << c->snd_scale;
        tcp_note_largest_window(t, c);
        tcp_established(t, c);
    } else if (s->ack == c->snd_una) {
        window_update(t, c, s, moved);
    }
    if (moved && s->len == 0 && !conn_is_dead(c))
        tcp_timer_rest(t, c);
    if (!conn_is_dead(c) && c->acked != acked)
        t->up.acked(t->up_ctx, conn_index(t, c), c->acked);
    return !conn_is_dead(c);
}
