/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nearly all segments are: the next text, or nothing but an acknowledgement, on a connection on
 * which nothing is lost, kept or closing, of everything that was under way or of nothing new ("header
 * prediction"). Each of the questions that in.c, ack.c and text.c ask of a segment has its usual answer
 * then: it is asked for all of them at once, and what is left to do is done here in the same order, with
 * the same result (tests/unit/test_tcp_usual.c compares).
 */
#include "stack.h"

/* With one of these there is more to look at. */
#define UNUSUAL                                                                                    \
    (CONN_FIN_WANTED | CONN_FIN_SENT | CONN_FIN_ACKED | CONN_PAUSED | CONN_KEPT | CONN_PEER_FIN |  \
     CONN_FIN_KEPT | CONN_LOST | CONN_RECOVERY | CONN_LOSS | CONN_SACKED | CONN_TAIL_SENT)

/* Timestamps where they were agreed on, no older than the last (RFC 7323 section 5.3), and no SACK. */
static bool has_usual_options(const struct conn *c, const struct tcp_segment *s)
{
    if (s->opt.sack_count != 0)
        return false;
    return (c->flags & CONN_TIMESTAMPS) == 0 ||
           (s->opt.has_timestamp && (int32_t)(s->opt.ts_val - c->ts_recent) >= 0);
}

static bool is_usual(const struct conn *c, const struct tcp_segment *s)
{
    uint32_t acked = s->ack - c->snd_una;
    if (c->state != STATE_ESTABLISHED || (c->flags & UNUSUAL) || c->dup_acks != 0)
        return false;
    if ((s->flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)) != TCP_ACK || s->seq != c->rcv_nxt)
        return false;
    if (s->len > c->rcv_edge - c->rcv_nxt || !has_usual_options(c, s))
        return false;
    /* Of what was sent all or nothing, and the window has stayed open. */
    if (acked == 0)
        return s->len > 0 && c->snd_wnd != 0;
    return c->flight_tail == TCP_OWN && s->ack == c->snd_nxt && c->snd_wnd > acked;
}

/* All that was under way has arrived. */
static void all_acked(struct gw_tcp *t, struct conn *c, uint32_t bytes)
{
    uint32_t rtt_us = (uint32_t)t->now_us - c->sent_us;
    tcp_rtt_sample(c, rtt_us > 0 ? rtt_us : 1);
    tcp_flight_own_end(t, c);
    c->pipe = 0;
    tcp_sendq_release(t, c, bytes);
    c->snd_wnd -= bytes;
    c->snd_una = c->snd_nxt;
    c->acked += bytes;
    c->backoff = 0;
    tcp_rexmit_clear(c);
    check_slow(cold_of(t, c)->rack_rtt_us == 0); /* what RACK has seen of a flight is in nodes */
    if (c->flags & CONN_CWND_LIMITED)
        t->cc->acked(t, c, bytes);
}

static void take_window(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s, bool moved)
{
    uint32_t window = (uint32_t)s->window << c->snd_scale;
    bool grew = window > c->snd_wnd;
    c->snd_wnd = window;
    if (grew)
        tcp_note_largest_window(t, c);
    if ((grew || moved) && c->snd_nxt != c->snd_una + c->queue_bytes)
        tcp_dirty(t, c);
}

static void take_text(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s)
{
    size_t n = t->up.data(t->up_ctx, conn_index(t, c), s->text, s->len);
    check(n <= s->len);
    if (conn_is_dead(c))
        return;
    c->rcv_nxt += (uint32_t)n;
    GW_COUNT_ADD(t->counters.text_bytes_in, n);
    if (n < s->len) {
        c->flags |= CONN_PAUSED;
        tcp_kept_receive(t, c, c->rcv_nxt, s->text + n, s->len - (uint32_t)n);
    }
    tcp_ack_later(t, c);
    if (c->rcv_edge - c->rcv_nxt < t->cfg.recv_window_bytes / 2)
        tcp_text_consumed(t, c);
}

bool tcp_usual_input(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s)
{
    if (!is_usual(c, s))
        return false;
    /* RFC 7323 section 4.3 */
    if ((c->flags & CONN_TIMESTAMPS) && seq_leq(s->seq, c->rcv_acked))
        c->ts_recent = s->opt.ts_val;
    c->heard = t->now_coarse;
    c->unanswered = 0;
    uint32_t acked = s->ack - c->snd_una;
    if (acked != 0)
        all_acked(t, c, acked);
    take_window(t, c, s, acked != 0);
    if (acked != 0 && s->len == 0)
        tcp_timer_rest(t, c);
    if (acked != 0)
        t->up.acked(t->up_ctx, conn_index(t, c), c->acked);
    if (s->len > 0 && !conn_is_dead(c))
        take_text(t, c, s);
    return true;
}
