/* SPDX-License-Identifier: Apache-2.0 */
/* Text and FIN of a segment inside of the window (RFC 9293 section 3.10.7.4, seventh and eighth). */
#include "stack.h"

void tcp_ack_now(struct gw_tcp *t, struct conn *c)
{
    if (c->acks_owed < TCP_ACKS_OWED_MAX)
        c->acks_owed++;
    tcp_dirty(t, c);
}

/* An ACK at once, but no second one when one is due anyway: it would look like a duplicate. */
static void ack_at_once(struct gw_tcp *t, struct conn *c)
{
    if (c->acks_owed == 0)
        tcp_ack_now(t, c);
}

/* How far the window's edge could move if an ACK left now. */
static uint32_t window_gain(const struct gw_tcp *t, const struct conn *c)
{
    uint32_t edge = c->rcv_nxt + tcp_kept_space(t, c);
    return seq_lt(c->rcv_edge, edge) ? edge - c->rcv_edge : 0;
}

void tcp_ack_later(struct gw_tcp *t, struct conn *c)
{
    uint32_t segment = tcp_our_mss(t, &c->tuple);
    if (c->flags & CONN_TIMESTAMPS)
        segment -= TCP_TIMESTAMP_BYTES;
    /* RFC 9293 section 3.8.6.3: at least every second full-sized segment. */
    if (c->rcv_nxt - c->rcv_acked >= 2 * segment) {
        ack_at_once(t, c);
        return;
    }
    c->flags |= CONN_ACK_OWED;
    tcp_dirty(t, c);
}

static void peer_fin(struct gw_tcp *t, struct conn *c)
{
    c->flags |= CONN_PEER_FIN;
    c->rcv_nxt++;
    ack_at_once(t, c);
    switch (c->state) {
    case STATE_ESTABLISHED:
        tcp_state_set(t, c, STATE_CLOSE_WAIT);
        break;
    case STATE_FIN_WAIT_1:
        /* The ACK in the same segment was looked at before: it did not cover our FIN. */
        tcp_state_set(t, c, STATE_CLOSING);
        break;
    case STATE_FIN_WAIT_2:
        tcp_timer_clear(c, TIMER_KEEP);
        tcp_state_set(t, c, STATE_TIME_WAIT);
        break;
    default:
        check(false);
    }
}

void tcp_text_consumed(struct gw_tcp *t, struct conn *c)
{
    if (tcp_kept_unread(t, c) == 0 && (c->flags & CONN_PEER_FIN) && (c->flags & CONN_EOF_TOLD) == 0) {
        c->flags |= CONN_EOF_TOLD;
        t->up.peer_closed(t->up_ctx, conn_index(t, c));
        if (conn_is_dead(c))
            return;
    }
    tcp_conn_end_if_done(t, c);
    if (conn_is_dead(c) || (c->flags & CONN_PEER_FIN))
        return;
    /* The peer may be waiting for room: tell it when there is enough to be worth a segment. */
    uint32_t window = c->rcv_edge - c->rcv_nxt, half = t->cfg.recv_window_bytes / 2;
    uint32_t worth = 2u * tcp_our_mss(t, &c->tuple);
    if (worth > half)
        worth = half;
    if (window < half && window_gain(t, c) >= worth)
        ack_at_once(t, c);
}

void tcp_text_check_fin(struct gw_tcp *t, struct conn *c)
{
    if ((c->flags & CONN_FIN_KEPT) && cold_of(t, c)->fin_seq == c->rcv_nxt) {
        c->flags &= ~(uint32_t)CONN_FIN_KEPT;
        peer_fin(t, c);
    }
}

/* The part of a segment that is new and wanted. */
struct text {
    uint32_t seq, len;
    const uint8_t *p;
    bool fin;
};

static struct text cut_to_window(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s)
{
    struct text x = {s->seq, s->len, s->text, (s->flags & TCP_FIN) != 0};
    if (seq_lt(x.seq, c->rcv_nxt)) {
        uint32_t old = c->rcv_nxt - x.seq;
        if (x.len > 0)
            COUNT(t, drop_text_duplicate);
        old = old < x.len ? old : x.len;
        tcp_sack_note_duplicate(t, c, x.seq, x.seq + old);
        x.seq += old;
        x.p += old;
        x.len -= old;
    }
    uint32_t edge = c->rcv_edge;
    if (c->flags & CONN_FIN_KEPT)
        edge = seq_min(edge, cold_of(t, c)->fin_seq);
    if (seq_lt(edge, x.seq + x.len + x.fin)) {
        uint32_t room = seq_lt(x.seq, edge) ? edge - x.seq : 0;
        if (room < x.len) {
            COUNT(t, drop_text_window);
            x.len = room;
        }
        /* A FIN that is known already is not noted twice. */
        x.fin = false;
    }
    return x;
}

void tcp_text_input(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s)
{
    if (s->len == 0 && (s->flags & TCP_FIN) == 0)
        return;
    if (c->flags & CONN_PEER_FIN) {
        COUNT(t, drop_text_after_fin);
        tcp_ack_now(t, c);
        return;
    }
    struct text x = cut_to_window(t, c, s);
    bool gap = tcp_kept_behind_gap(t, c) || (c->flags & CONN_FIN_KEPT), early = x.seq != c->rcv_nxt;
    if (early) {
        COUNT(t, out_of_order_in);
        cold_of(t, c)->sack_recent = x.seq;
    }
    if (x.fin) {
        c->flags |= CONN_FIN_KEPT;
        cold_of(t, c)->fin_seq = x.seq + x.len;
    }
    if (x.len > 0) {
        tcp_kept_receive(t, c, x.seq, x.p, x.len);
        if (conn_is_dead(c))
            return;
        if (c->state == STATE_FIN_WAIT_2)
            tcp_fin_wait_start(t, c);
    }
    /* RFC 5681 section 4.2: gaps, filled or not, and repetitions are acknowledged at once. */
    if (early || gap || x.len < s->len)
        tcp_ack_now(t, c);
    else if (x.len > 0)
        tcp_ack_later(t, c);
    tcp_text_check_fin(t, c);
    tcp_text_consumed(t, c);
}
