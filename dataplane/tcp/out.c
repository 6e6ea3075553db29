/* SPDX-License-Identifier: Apache-2.0 */
/* What one connection may send now: repetitions, new text, FIN, acknowledgements, probes. */
#include "stack.h"

bool tcp_emit(struct gw_tcp *t, const struct gw_tcp_tuple *tuple, const struct tcp_header *h,
              const struct gw_bytes *pieces, uint32_t piece_count, uint32_t mss, uint32_t *len)
{
    uint8_t header[TCP_HEADER_BYTES_MAX];
    struct gw_tcp_segment s = {
        .tuple = tuple,
        .header = header,
        .header_len = tcp_header_write(header, h),
        .payload = pieces,
        .payload_count = piece_count,
        .payload_len = *len,
        .segment_bytes = mss,
        .payload_taken = len,
    };
    if (!t->emit(t->emit_ctx, &s)) {
        COUNT(t, emit_refused);
        return false;
    }
    GW_COUNT_ADD(t->counters.segments_out, *len <= mss ? 1 : (*len + mss - 1) / mss);
    GW_COUNT_ADD(t->counters.text_bytes_out, *len);
    return true;
}

/* The window to offer, as the header says it, and where that lets its edge be. The edge moves only
 * in steps worth a segment (RFC 9293 section 3.8.6.2.2), and never back. */
static uint16_t offer_window(const struct gw_tcp *t, const struct conn *c, bool syn, uint32_t *edge)
{
    uint32_t step = tcp_our_mss(t, &c->tuple), half = t->cfg.recv_window_bytes / 2;
    if (step > half)
        step = half;
    uint32_t open = c->rcv_nxt + tcp_kept_space(t, c);
    uint32_t window = c->rcv_edge - c->rcv_nxt;
    if ((int32_t)(open - c->rcv_edge) >= (int32_t)step)
        window = open - c->rcv_nxt;
    unsigned scale = syn ? 0 : c->rcv_scale;
    /* Rounded up: rounding down would move the edge back. */
    uint32_t field = (window + (1u << scale) - 1) >> scale;
    if (field > UINT16_MAX)
        field = UINT16_MAX;
    *edge = seq_max(c->rcv_edge, c->rcv_nxt + (field << scale));
    return (uint16_t)field;
}

static void syn_options(const struct gw_tcp *t, const struct conn *c, struct tcp_options *o)
{
    bool answer = c->state == STATE_SYN_RECEIVED;
    o->has_mss = true;
    o->mss = tcp_our_mss(t, &c->tuple);
    o->sack_permitted = !answer || (c->flags & CONN_SACK);
    o->has_scale = !answer || (c->flags & CONN_SCALE);
    o->scale = t->rcv_scale;
    o->has_timestamp = !answer || (c->flags & CONN_TIMESTAMPS);
}

/* After a segment with an ACK has left. */
static void acknowledged(struct conn *c, uint32_t edge)
{
    c->rcv_acked = c->rcv_nxt;
    c->rcv_edge = edge;
    c->flags &= ~(uint32_t)CONN_ACK_OWED;
    tcp_timer_clear(c, TIMER_ACK);
}

static void put_timestamp(const struct gw_tcp *t, const struct conn *c, struct tcp_options *o)
{
    o->has_timestamp = (c->flags & CONN_TIMESTAMPS) != 0;
    o->ts_val = t->now_ts;
    o->ts_ecr = c->ts_recent;
}

/* Send [seq, seq + len) of the text with these flags. *len may come back smaller. */
static bool send_segment(struct gw_tcp *t, struct conn *c, uint32_t seq, uint8_t flags,
                         uint32_t *len)
{
    struct gw_bytes pieces[GW_TCP_PAYLOAD_PIECES_MAX];
    uint32_t count, edge = c->rcv_edge;
    uint32_t asked = *len;
    bool pure_ack = asked == 0 && flags == TCP_ACK;
    *len = tcp_sendq_gather(t, c, seq, asked, pieces, &count);
    /* Cut short by its number of pieces: whole segments leave. */
    if (*len > c->mss && *len < asked && *len % c->mss != 0)
        *len = tcp_sendq_gather(t, c, seq, *len - *len % c->mss, pieces, &count);
    if (*len < asked)
        flags &= (uint8_t)~TCP_FIN;
    if (*len > 0 && seq + *len == c->snd_una + c->queue_bytes)
        flags |= TCP_PSH;
    struct tcp_header h = {
        .local_port = c->tuple.local_port,
        .remote_port = c->tuple.remote_port,
        .seq = seq,
        .flags = flags,
    };
    put_timestamp(t, c, &h.opt);
    if (flags & TCP_SYN)
        syn_options(t, c, &h.opt);
    /* With text they would not fit: the text is a full segment. */
    if (pure_ack && (c->flags & CONN_SACK))
        tcp_sack_write(t, c, &h.opt);
    if (flags & TCP_ACK) {
        h.ack = c->rcv_nxt;
        h.window = offer_window(t, c, flags & TCP_SYN, &edge);
    } else {
        h.window = (uint16_t)(t->cfg.recv_window_bytes < UINT16_MAX ? t->cfg.recv_window_bytes
                                                                    : UINT16_MAX);
    }
    if (!tcp_emit(t, &c->tuple, &h, pieces, count, c->mss, len))
        return false;
    if (flags & TCP_ACK)
        acknowledged(c, edge);
    if (pure_ack)
        c->flags &= ~(uint32_t)CONN_DUPLICATE;
    return true;
}

static void after_sending(struct gw_tcp *t, struct conn *c)
{
    c->flags &= ~(uint32_t)(CONN_SEND_LOST | CONN_FORCE);
    /* What carries text is no duplicate ACK, and has no SACK blocks. */
    if ((c->flags & (CONN_KEPT | CONN_DUPLICATE)) == 0)
        c->acks_owed = 0;
    tcp_tail_after_sending(t, c);
}

enum sent { SENT_NOTHING, SENT_ONE, SENT_REFUSED };

static uint8_t syn_flags(const struct conn *c)
{
    return c->state == STATE_SYN_SENT ? TCP_SYN : TCP_SYN | TCP_ACK;
}

static bool is_opening(const struct conn *c)
{
    return c->state == STATE_SYN_SENT || c->state == STATE_SYN_RECEIVED;
}

static enum sent send_syn(struct gw_tcp *t, struct conn *c)
{
    if (c->snd_nxt != c->snd_una)
        return SENT_NOTHING;
    uint32_t len = 0;
    if (!tcp_flight_has_room(t, c) || !send_segment(t, c, c->snd_nxt, syn_flags(c), &len))
        return SENT_REFUSED;
    tcp_flight_sent(t, c, 1);
    after_sending(t, c);
    return SENT_ONE;
}

/* Send [seq, seq + span) of what was sent before, FIN included; returns how much of it left, 0 when
 * the port refused. */
static uint32_t send_again(struct gw_tcp *t, struct conn *c, uint32_t seq, uint32_t span)
{
    uint8_t flags = TCP_ACK;
    uint32_t len = span;
    if (is_opening(c)) {
        flags = syn_flags(c);
        len = 0;
    } else if ((c->flags & CONN_FIN_SENT) && seq + span == c->snd_nxt) {
        flags |= TCP_FIN;
        len--;
    }
    uint32_t asked = len;
    if (!send_segment(t, c, seq, flags, &len))
        return 0;
    COUNT(t, retransmits);
    struct cold *k = cold_of(t, c);
    if (k->resent < GW_TCP_RESENT_MAX)
        k->resent++;
    return len == asked ? span : len;
}

static enum sent send_lost(struct gw_tcp *t, struct conn *c)
{
    uint32_t seq, span = tcp_flight_first_lost(t, c, &seq);
    if (span == 0)
        return SENT_NOTHING;
    uint32_t limit = span < c->mss ? span : c->mss;
    if ((c->flags & CONN_SEND_LOST) == 0 && !is_opening(c) &&
        tcp_recovery_pipe(t, c) + limit > c->cwnd)
        return SENT_NOTHING;
    uint32_t left = send_again(t, c, seq, limit);
    if (left == 0)
        return SENT_REFUSED;
    tcp_flight_resent(t, c, left);
    after_sending(t, c);
    return SENT_ONE;
}

/* Text that one call of emit may take: whole segments, or all that there is. */
static uint32_t emit_limit(const struct gw_tcp *t, const struct conn *c, uint32_t unsent)
{
    uint32_t most = t->cfg.gso_bytes_max > c->mss ? t->cfg.gso_bytes_max : c->mss;
    return unsent <= most ? unsent : most - most % c->mss;
}

/* RFC 9293 section 3.7.4: what does not fill a segment waits while other text is under way. What a FIN
 * follows is the last there is: nothing will join it. */
static uint32_t nagle(const struct conn *c, uint32_t want)
{
    bool alone = c->flight_tail == 0 && want <= c->mss;
    if ((c->flags & CONN_NAGLE) == 0 || alone || (c->flags & (CONN_FIN_WANTED | CONN_TAIL_PROBE)))
        return want;
    return want - want % c->mss;
}

/* How much new text may leave in one call of emit now; *held when the congestion window is the
 * limit. */
static uint32_t new_text(struct gw_tcp *t, struct conn *c, bool *held)
{
    uint32_t text_end = c->snd_una + c->queue_bytes;
    uint32_t unsent = text_end - c->snd_nxt;
    uint32_t under_way = c->snd_nxt - c->snd_una;
    uint32_t window = c->snd_wnd > under_way ? c->snd_wnd - under_way : 0;
    uint32_t pipe = tcp_recovery_pipe(t, c);
    uint32_t room = c->cwnd > pipe ? c->cwnd - pipe : 0;
    uint32_t want = nagle(c, emit_limit(t, c, unsent));
    uint32_t one = want < c->mss ? want : c->mss;
    *held = false;
    if (one > room && (c->flags & CONN_TAIL_PROBE) == 0) {
        *held = true;
        return 0;
    }
    if (want > one) {
        uint32_t fits = room < window ? room : window;
        if (want > fits)
            want = fits > one ? fits - fits % c->mss : one;
    }
    if (want <= window)
        return want;
    /* RFC 9293 section 3.8.6.2.1: no silly small segments, unless the peer's window is never larger,
     * or nothing moves otherwise. */
    if (window > 0 && ((c->flags & CONN_FORCE) || window >= 1u << cold_of(t, c)->window_log2 >> 1))
        return window;
    return 0;
}

/* After a pause nothing is known of the network any more (RFC 5681 section 4.1). */
static void restart_after_idle(struct gw_tcp *t, struct conn *c)
{
    uint64_t pause_us = (uint64_t)(t->now_coarse - c->heard) << 20;
    uint32_t window = tcp_initial_window(c);
    if (pause_us <= UINT64_C(1) << 20 || pause_us <= tcp_rto_us(c))
        return;
    if (c->cwnd > window)
        c->cwnd = window;
    t->cc->idle(t, c);
}

static enum sent send_new(struct gw_tcp *t, struct conn *c)
{
    uint32_t text_end = c->snd_una + c->queue_bytes;
    if (is_opening(c) || (c->flags & CONN_FIN_SENT))
        return SENT_NOTHING;
    bool fin = (c->flags & CONN_FIN_WANTED) != 0, held = false;
    uint32_t len = 0;
    if (c->snd_nxt != text_end) {
        if (c->flight_tail == 0)
            restart_after_idle(t, c);
        len = new_text(t, c, &held);
        if (held)
            c->flags |= CONN_CWND_LIMITED;
        if (len == 0)
            return SENT_NOTHING;
    } else if (!fin) {
        return SENT_NOTHING;
    }
    if (!tcp_flight_has_room(t, c))
        return SENT_REFUSED;
    fin = fin && c->snd_nxt + len == text_end;
    uint32_t asked = len;
    if (!send_segment(t, c, c->snd_nxt, (uint8_t)(TCP_ACK | (fin ? TCP_FIN : 0)), &len))
        return SENT_REFUSED;
    fin = fin && len == asked;
    if (fin)
        c->flags |= CONN_FIN_SENT;
    tcp_flight_sent(t, c, len + fin);
    after_sending(t, c);
    return SENT_ONE;
}

/* New text if there is any and the peer has room for it, whatever the congestion window says; else
 * the last segment again. */
static enum sent send_tail_probe(struct gw_tcp *t, struct conn *c)
{
    if ((c->flags & CONN_TAIL_PROBE) == 0)
        return SENT_NOTHING;
    /* What has happened since the timer may have made it pointless. */
    if (c->flight_tail == 0 || (c->flags & (CONN_LOST | CONN_SACKED))) {
        c->flags &= ~(uint32_t)CONN_TAIL_PROBE;
        return SENT_NOTHING;
    }
    enum sent s = send_new(t, c);
    if (s == SENT_NOTHING) {
        uint32_t span = c->snd_nxt - c->snd_una < c->mss ? c->snd_nxt - c->snd_una : c->mss;
        uint32_t left = send_again(t, c, c->snd_nxt - span, span);
        /* Cut short by its number of pieces, it would not be the last: it stays as it was. */
        if (left == span)
            tcp_flight_resend_last(t, c, span);
        if (left != 0)
            tcp_tail_sent(t, c, true);
        return left != 0 ? SENT_ONE : SENT_REFUSED;
    }
    if (s == SENT_ONE)
        tcp_tail_sent(t, c, false);
    return s;
}

static enum sent send_one(struct gw_tcp *t, struct conn *c)
{
    enum sent s = is_opening(c) ? send_syn(t, c) : SENT_NOTHING;
    if (s == SENT_NOTHING)
        s = send_tail_probe(t, c);
    if (s == SENT_NOTHING)
        s = send_lost(t, c);
    /* What is lost goes before what is new. */
    if (s == SENT_NOTHING && (c->flags & CONN_LOST) == 0)
        s = send_new(t, c);
    return s;
}

/* Acknowledgements without text. Each out-of-order segment is owed one of its own where the peer
 * has nothing but their number to go by (RFC 5681 section 4.2); SACK says all in one. */
static bool send_acks(struct gw_tcp *t, struct conn *c, unsigned *sent)
{
    if (c->flags & CONN_SACK && c->acks_owed > 1)
        c->acks_owed = 1;
    for (; c->acks_owed > 0; c->acks_owed--, (*sent)++) {
        uint32_t len = 0;
        if (!send_segment(t, c, c->snd_nxt, TCP_ACK, &len))
            return false;
    }
    return true;
}

/* A probe repeats the number before the first unacknowledged one: never acceptable, so the peer has
 * to answer with its window (RFC 9293 section 3.10.7.4, first). */
static bool send_probe(struct gw_tcp *t, struct conn *c, unsigned *sent)
{
    uint32_t len = 0;
    if (!send_segment(t, c, c->snd_una - 1, TCP_ACK, &len))
        return false;
    c->flags &= ~(uint32_t)CONN_PROBE;
    if (c->snd_wnd == 0)
        COUNT(t, probes_sent);
    else
        COUNT(t, keepalives_sent);
    (*sent)++;
    return true;
}

/* The timers that belong to what has not been sent. */
static void wait_for_more(struct gw_tcp *t, struct conn *c)
{
    if ((c->flags & CONN_ACK_OWED) && (c->timers & 1u << TIMER_ACK) == 0) {
        COUNT(t, acks_delayed);
        tcp_timer_set(t, c, TIMER_ACK, gw_tick_at(t->now_us + TCP_DELAYED_ACK_US));
    }
    bool unsent = c->snd_nxt != c->snd_una + c->queue_bytes && (c->flags & CONN_FIN_SENT) == 0;
    if (unsent && c->flight_tail == 0 && c->rexmit == REXMIT_OFF && !is_opening(c))
        tcp_rexmit_set(t, c, REXMIT_PERSIST, tcp_rto_us(c));
    if (c->pipe + c->mss > c->cwnd)
        c->flags |= CONN_CWND_LIMITED;
}

/*
 * What most connections have to send: one short text, with nothing else under way, owed or closing. Each
 * question that is asked below has its usual answer then (tests/unit/test_tcp_usual.c compares).
 */
static bool is_usual(const struct gw_tcp *t, const struct conn *c)
{
    const uint32_t unusual = CONN_FIN_WANTED | CONN_LOST | CONN_RECOVERY | CONN_LOSS |
                             CONN_SEND_LOST | CONN_PROBE | CONN_FORCE | CONN_TAIL_PROBE |
                             CONN_TAIL_SENT | CONN_KEPT | CONN_DUPLICATE;
    uint32_t len = c->queue_bytes;
    if (c->state != STATE_ESTABLISHED || (c->flags & unusual) || c->flight_tail != 0)
        return false;
    if ((c->queue_tail & TCP_OWN) == 0 || c->rexmit != REXMIT_OFF || c->dup_acks != 0)
        return false;
    return len <= c->mss && len <= c->snd_wnd && len <= c->cwnd &&
           t->now_coarse - c->heard <= 1 && t->nodes.used_count < t->nodes.limit;
}

static enum tcp_flushed flush_usual(struct gw_tcp *t, struct conn *c, unsigned *sent)
{
    uint32_t len = c->queue_bytes, edge;
    const uint8_t *block = gw_arena_ptr(t->cfg.arena, c->queue_tail & ~TCP_OWN);
    struct gw_bytes text = gw_bytes(block + cold_of(t, c)->queue_off, len);
    struct tcp_header h = {
        .local_port = c->tuple.local_port,
        .remote_port = c->tuple.remote_port,
        .seq = c->snd_nxt,
        .ack = c->rcv_nxt,
        .flags = TCP_ACK | TCP_PSH,
        .window = offer_window(t, c, false, &edge),
    };
    put_timestamp(t, c, &h.opt);
    if (!tcp_emit(t, &c->tuple, &h, &text, 1, c->mss, &len))
        return TCP_FLUSHED_REFUSED;
    acknowledged(c, edge);
    tcp_flight_own_begin(t, c);
    c->snd_nxt += len;
    c->pipe = len;
    c->acks_owed = 0;
    tcp_tail_arm(t, c);
    if (c->pipe + c->mss > c->cwnd)
        c->flags |= CONN_CWND_LIMITED;
    (*sent)++;
    return TCP_FLUSHED_DONE;
}

enum tcp_flushed tcp_conn_flush(struct gw_tcp *t, struct conn *c, unsigned *sent)
{
    c->flags &= ~(uint32_t)CONN_CWND_LIMITED;
    if (is_usual(t, c))
        return flush_usual(t, c, sent);
    uint32_t from = c->snd_nxt;
    for (unsigned n = 0;; n++, (*sent)++) {
        if (n == TCP_BURST_SEGMENTS || c->snd_nxt - from >= TCP_BURST_SEGMENTS * c->mss)
            return TCP_FLUSHED_MORE;
        enum sent s = send_one(t, c);
        if (s == SENT_REFUSED)
            return TCP_FLUSHED_REFUSED;
        if (s == SENT_NOTHING)
            break;
    }
    if (c->state != STATE_SYN_SENT && !send_acks(t, c, sent))
        return TCP_FLUSHED_REFUSED;
    if ((c->flags & CONN_PROBE) && !send_probe(t, c, sent))
        return TCP_FLUSHED_REFUSED;
    wait_for_more(t, c);
    return TCP_FLUSHED_DONE;
}
