/* SPDX-License-Identifier: Apache-2.0 */
/* A segment for a connection, a TIME-WAIT entry, a listening port or nobody (RFC 9293, 3.10.7). */
#include "stack.h"

void tcp_challenge_ack(struct gw_tcp *t, struct conn *c)
{
    struct cold *k = cold_of(t, c);
    uint16_t now = (uint16_t)(t->now_tick >> TCP_CHALLENGE_SHIFT);
    if ((uint16_t)(now - k->challenge_at) < TCP_CHALLENGE_UNITS) {
        COUNT(t, challenge_acks_held);
        return;
    }
    k->challenge_at = now;
    COUNT(t, challenge_acks);
    tcp_ack_now(t, c);
}

uint32_t tcp_initial_window(const struct conn *c)
{
    if (c->flags & CONN_LOSS)
        return c->mss;
    uint32_t two = 2u * c->mss, ten = 10u * c->mss;
    uint32_t floor = two > 14600 ? two : 14600;
    return ten < floor ? ten : floor;
}

void tcp_established(struct gw_tcp *t, struct conn *c)
{
    tcp_state_set(t, c, STATE_ESTABLISHED);
    COUNT(t, established);
    c->cwnd = tcp_initial_window(c);
    cold_of(t, c)->ssthresh = UINT32_MAX;
    cold_of(t, c)->rtt_us_min = c->srtt_us;
    if ((c->flags & CONN_LOSS) && c->srtt_us == 0)
        c->rttvar_us = TCP_RTO_AFTER_SYN_US / 4;
    c->flags &= ~(uint32_t)(CONN_LOSS | CONN_SEND_LOST);
    c->backoff = 0;
    t->cc->begin(t, c);
    bool passive = (c->flags & CONN_ACTIVE) == 0;
    if (passive && t->cfg.keepalive)
        tcp_keepalive_start(t, c);
    c->flags |= CONN_KNOWN;
    bool wanted = t->up.established(t->up_ctx, conn_index(t, c), &c->tuple);
    if (passive && !wanted) {
        COUNT(t, refused_by_user);
        c->flags &= ~(uint32_t)CONN_KNOWN;
        if (!conn_is_dead(c))
            tcp_conn_abort(t, c, GW_TCP_CLOSED_ABORTED);
        return;
    }
    /* shutdown was called while a simultaneous open was under way */
    if (c->state == STATE_ESTABLISHED && (c->flags & CONN_FIN_WANTED))
        tcp_state_set(t, c, STATE_FIN_WAIT_1);
}

void tcp_listen_input(struct gw_tcp *t, const struct tcp_segment *s, uint32_t iss)
{
    if (t->half_open_count >= t->cfg.half_open_limit) {
        tcp_cookie_answer(t, s);
        return;
    }
    struct conn *c = tcp_conn_begin(t, &s->tuple, STATE_SYN_RECEIVED, iss);
    if (c == NULL) {
        COUNT(t, drop_conn_full);
        return;
    }
    COUNT(t, opened_passive);
    tcp_conn_negotiate(t, c, s);
}

/* SYN-SENT (RFC 9293 section 3.10.7.3). */
static void syn_sent_input(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s)
{
    bool acks = (s->flags & TCP_ACK) != 0;
    if (acks && (s->ack != c->snd_nxt || c->snd_nxt == c->snd_una)) {
        COUNT(t, drop_ack);
        tcp_reply_reset(t, s);
        return;
    }
    if (s->flags & TCP_RST) {
        if (!acks) {
            COUNT(t, drop_rst_sequence);
            return;
        }
        COUNT(t, rst_in);
        tcp_conn_end(t, c, GW_TCP_CLOSED_REFUSED);
        return;
    }
    if ((s->flags & TCP_SYN) == 0) {
        COUNT(t, drop_no_ack);
        return;
    }
    tcp_conn_negotiate(t, c, s);
    if (!acks) {
        /* Both sides have sent a SYN: ours goes out again, with the acknowledgement. */
        tcp_state_set(t, c, STATE_SYN_RECEIVED);
        tcp_flight_lose_all(t, c);
        c->flags |= CONN_SEND_LOST;
        tcp_dirty(t, c);
        return;
    }
    struct tcp_delivered d = {.any = false};
    tcp_flight_acked(t, c, s->ack, &d);
    if (d.rtt_us != 0)
        tcp_rtt_sample(c, d.rtt_us);
    c->snd_una = s->ack;
    tcp_rexmit_clear(c);
    tcp_ack_now(t, c);
    tcp_established(t, c);
}

/* RFC 7323 section 5.3, R1. */
static bool is_old(const struct conn *c, const struct tcp_segment *s)
{
    return (int32_t)(s->opt.ts_val - c->ts_recent) < 0;
}

/* After 24 days without a segment the last timestamp says nothing (section 5.5): a clock of milliseconds
 * has by then nearly come to where a later time looks like an earlier one. */
static bool is_outdated(const struct gw_tcp *t, const struct conn *c)
{
    return t->now_coarse - c->heard >= TCP_TIMESTAMP_AGE_MAX;
}

static bool timestamp_ok(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s)
{
    if ((c->flags & CONN_TIMESTAMPS) == 0 || (s->flags & TCP_RST))
        return true;
    if (!s->opt.has_timestamp) {
        COUNT(t, drop_no_timestamp);
        return false;
    }
    if (!is_old(c, s) || is_outdated(t, c))
        return true;
    COUNT(t, drop_paws);
    /* As outside of the window: two ends that both think so must not answer each other for ever. */
    if (tcp_segment_span(s) > 0)
        tcp_ack_now(t, c);
    else
        tcp_challenge_ack(t, c);
    return false;
}

/* RFC 9293 section 3.10.7.4, first: something of it lies in the window. */
static bool in_window(const struct conn *c, const struct tcp_segment *s)
{
    uint32_t end = s->seq + tcp_segment_span(s);
    if (end != s->seq)
        return seq_lt(s->seq, c->rcv_edge) && seq_lt(c->rcv_nxt, end);
    if (c->rcv_edge == c->rcv_nxt)
        return s->seq == c->rcv_nxt;
    return s->seq - c->rcv_nxt < c->rcv_edge - c->rcv_nxt;
}

/*
 * What does not fit the window is answered by an ACK, unless it is RST. An ACK that carries nothing
 * is answered at a limited rate only: two confused ends must not answer each other for ever.
 */
static void out_of_window(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s)
{
    COUNT(t, drop_sequence);
    if (s->flags & TCP_RST)
        return;
    if (s->len > 0 && seq_lt(s->seq, c->rcv_nxt))
        tcp_sack_note_duplicate(t, c, s->seq, seq_min(s->seq + s->len, c->rcv_nxt));
    if ((s->flags & TCP_SYN) && c->state == STATE_SYN_RECEIVED && s->seq + 1 == c->rcv_nxt) {
        /* The peer repeats its SYN: our answer was lost. */
        tcp_flight_lose_all(t, c);
        c->flags |= CONN_SEND_LOST;
        tcp_dirty(t, c);
    } else if (tcp_segment_span(s) > 0 && (s->flags & TCP_SYN) == 0) {
        tcp_ack_now(t, c);
    } else {
        tcp_challenge_ack(t, c);
    }
}

/* RFC 5961 section 3.2. */
static void reset_input(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s)
{
    /* Both directions are complete: only the user has still to read. RFC 1337 applies. */
    if ((c->flags & CONN_PEER_FIN) && (c->flags & CONN_FIN_ACKED)) {
        COUNT(t, drop_rst_sequence);
        return;
    }
    if (s->seq != c->rcv_nxt) {
        COUNT(t, drop_rst_sequence);
        tcp_challenge_ack(t, c);
        return;
    }
    COUNT(t, rst_in);
    bool refused = c->state == STATE_SYN_RECEIVED && (c->flags & CONN_ACTIVE);
    tcp_conn_end(t, c, refused ? GW_TCP_CLOSED_REFUSED : GW_TCP_CLOSED_RESET);
}

/* Text does not fit a closed window, but its acknowledgement counts (RFC 9293, MUST-66). */
static bool only_ack_counts(const struct conn *c, const struct tcp_segment *s)
{
    return c->rcv_edge == c->rcv_nxt && s->seq == c->rcv_nxt && (s->flags & TCP_ACK) &&
           (s->flags & (TCP_RST | TCP_SYN)) == 0;
}

static void after_ack(struct gw_tcp *t, struct conn *c)
{
    if ((c->flags & CONN_FIN_ACKED) == 0)
        return;
    if (c->state == STATE_FIN_WAIT_1) {
        tcp_state_set(t, c, STATE_FIN_WAIT_2);
        tcp_fin_wait_start(t, c);
    } else if (c->state == STATE_CLOSING) {
        tcp_state_set(t, c, STATE_TIME_WAIT);
    }
    tcp_conn_end_if_done(t, c);
}

static void note_timestamp(const struct gw_tcp *t, struct conn *c, const struct tcp_segment *s)
{
    /* RFC 7323 section 4.3: of what the last acknowledgement asked for, the newest. */
    if ((c->flags & CONN_TIMESTAMPS) && s->opt.has_timestamp && seq_leq(s->seq, c->rcv_acked) &&
        (!is_old(c, s) || is_outdated(t, c)))
        c->ts_recent = s->opt.ts_val;
}

static void synchronized_input(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s)
{
    if (!timestamp_ok(t, c, s))
        return;
    bool inside = in_window(c, s);
    if (!inside && !only_ack_counts(c, s)) {
        out_of_window(t, c, s);
        return;
    }
    if (s->flags & TCP_RST) {
        reset_input(t, c, s);
        return;
    }
    if (s->flags & TCP_SYN) {
        COUNT(t, drop_syn);
        tcp_challenge_ack(t, c);
        return;
    }
    if ((s->flags & TCP_ACK) == 0) {
        COUNT(t, drop_no_ack);
        return;
    }
    note_timestamp(t, c, s);
    c->heard = t->now_coarse;
    if (!tcp_ack_input(t, c, s))
        return;
    after_ack(t, c);
    if (conn_is_dead(c))
        return;
    if (!inside) {
        COUNT(t, drop_text_window);
        tcp_ack_now(t, c);
        return;
    }
    tcp_text_input(t, c, s);
}

/* In a simultaneous open the peer's SYN comes again, now with the acknowledgement: RFC 9293 figure 8
 * goes on from there, though the number lies before the window. */
static bool completes_simultaneous_open(const struct conn *c, const struct tcp_segment *s)
{
    return c->state == STATE_SYN_RECEIVED && (c->flags & CONN_ACTIVE) &&
           (s->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == (TCP_SYN | TCP_ACK) &&
           s->seq + 1 == c->rcv_nxt && s->ack == c->snd_nxt;
}

void tcp_conn_input(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s)
{
    if (c->state == STATE_SYN_SENT) {
        syn_sent_input(t, c, s);
    } else if (completes_simultaneous_open(c, s)) {
        struct tcp_segment rest = *s;
        rest.seq++;
        rest.flags &= (uint8_t)~TCP_SYN;
        synchronized_input(t, c, &rest);
    } else {
        synchronized_input(t, c, s);
    }
}

/* The peer's SYN came twice, and the first was answered by a cookie: that is what it acknowledges. */
static bool prefers_cookie(const struct gw_tcp *t, const struct conn *c,
                           const struct tcp_segment *s)
{
    return c->state == STATE_SYN_RECEIVED && (c->flags & CONN_ACTIVE) == 0 &&
           s->ack != c->snd_nxt && tcp_cookie_may_be(t, s);
}

static void known_input(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s)
{
    if (prefers_cookie(t, c, s)) {
        /* When it is no cookie it is not reset: it may have overtaken the segment that is. */
        if (!tcp_cookie_is_valid(t, s)) {
            COUNT(t, cookies_bad);
            return;
        }
        tcp_conn_end(t, c, GW_TCP_CLOSED_ABORTED);
        c = tcp_cookie_redeem(t, s);
    }
    if (c != NULL)
        tcp_conn_input(t, c, s);
}

static bool parse(struct gw_tcp *t, struct tcp_segment *s, const struct gw_ip *src,
                  const struct gw_ip *dst, const uint8_t *segment, size_t len)
{
    switch (tcp_segment_parse(s, src, dst, segment, len)) {
    case TCP_PARSE_OK:
        return true;
    case TCP_PARSE_SHORT:
        COUNT(t, drop_header_short);
        break;
    case TCP_PARSE_OFFSET:
        COUNT(t, drop_header_offset);
        break;
    case TCP_PARSE_OPTIONS:
        COUNT(t, drop_options);
        break;
    case TCP_PARSE_FLAGS:
        COUNT(t, drop_flags);
        break;
    }
    return false;
}

static void listener_input(struct gw_tcp *t, const struct tcp_segment *s)
{
    if ((s->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN) {
        tcp_listen_input(t, s, tcp_initial_sequence(t, &s->tuple));
        return;
    }
    if (tcp_cookie_may_be(t, s)) {
        /* When it is no cookie it is not reset: it may have overtaken the segment that is. */
        struct conn *c = tcp_cookie_redeem(t, s);
        if (c != NULL)
            tcp_conn_input(t, c, s);
        return;
    }
    COUNT(t, drop_no_connection);
    /* RFC 9293 section 3.10.7.2, fourth: what is neither SYN nor ACK is not answered. */
    if (s->flags & TCP_ACK)
        tcp_reply_reset(t, s);
}

static void segment_input(struct gw_tcp *t, const struct tcp_segment *s, uint32_t tag)
{
    uint32_t ref = tcp_table_find_tagged(t, &s->tuple, tag);
    if (ref & TCP_REF_TIME_WAIT) {
        tcp_time_wait_input(t, ref & ~TCP_REF_TIME_WAIT, s);
    } else if (ref != 0) {
        if (!tcp_usual_input(t, conn_at(t, ref), s))
            known_input(t, conn_at(t, ref), s);
    } else if (tcp_listens(t, &s->tuple)) {
        listener_input(t, s);
    } else {
        COUNT(t, drop_no_connection);
        tcp_reply_reset(t, s);
    }
}

/*
 * What a burst touches is fetched in rounds, each of which needs what the one before it has fetched:
 * the table, the connections, what they have under way, and the bytes behind that. A round does little
 * for each segment, so that its loads wait together. The first of a page is a load and not a prefetch:
 * processors drop prefetches whose page they have to look up, and with a million connections that is
 * every one.
 */
static unsigned expect_refs(const struct gw_tcp *t, const uint32_t *tags, unsigned count,
                            uint32_t *refs)
{
    unsigned n = 0;
    for (unsigned i = 0; i < count; i++) {
        refs[n] = tcp_table_peek(t, tags[i]);
        n += refs[n] != 0 && (refs[n] & TCP_REF_TIME_WAIT) == 0;
    }
    return n;
}

static void expect_conns(const struct gw_tcp *t, const uint32_t *refs, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        gw_touch(gw_slab_at(&t->conns, refs[i]));
        gw_touch(gw_slab_at(&t->colds, refs[i]));
        tcp_conn_expect(t, refs[i]);
    }
    for (unsigned i = 0; i < count && t->up.expect != NULL; i++)
        t->up.expect(t->up_ctx, refs[i]);
}

static gw_block last_block(const struct gw_tcp *t, const struct conn *c)
{
    if (c->queue_tail & TCP_OWN)
        return c->queue_tail & ~TCP_OWN;
    return node_at(t, c->queue_tail)->slice.block;
}

static void expect_nodes(const struct gw_tcp *t, const uint32_t *refs, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct conn *c = conn_at(t, refs[i]);
        if (c->flight_tail != 0 && c->flight_tail != TCP_OWN)
            gw_touch(node_at(t, c->flight_tail));
        if (c->queue_tail != 0 && (c->queue_tail & TCP_OWN) == 0)
            gw_touch(node_at(t, c->queue_tail));
    }
    for (unsigned i = 0; i < count; i++) {
        const struct conn *c = conn_at(t, refs[i]);
        if (c->queue_tail != 0)
            gw_touch(gw_arena_ptr(t->cfg.arena, last_block(t, c)));
    }
}

static void expect_burst(const struct gw_tcp *t, const uint32_t *tags, unsigned count)
{
    uint32_t refs[GW_TCP_INPUT_BURST_MAX];
    unsigned n = expect_refs(t, tags, count, refs);
    expect_conns(t, refs, n);
    expect_nodes(t, refs, n);
}

void gw_tcp_input_burst(struct gw_tcp *t, uint64_t now_us, const struct gw_tcp_arrival *a,
                        unsigned count)
{
    struct tcp_segment s[GW_TCP_INPUT_BURST_MAX];
    uint32_t tags[GW_TCP_INPUT_BURST_MAX];
    unsigned n = 0;
    check(count <= GW_TCP_INPUT_BURST_MAX);
    tcp_set_now(t, now_us);
    GW_COUNT_ADD(t->counters.segments_in, count);
    for (unsigned i = 0; i < count; i++) {
        if (!parse(t, &s[n], &a[i].src, &a[i].dst, a[i].segment, a[i].len))
            continue;
        tags[n] = tcp_table_tag(t, &s[n].tuple);
        tcp_table_prefetch(t, tags[n++]);
    }
    if (n == 0)
        return;
    expect_burst(t, tags, n);
    for (unsigned i = 0; i < n; i++)
        segment_input(t, &s[i], tags[i]);
}

void gw_tcp_input(struct gw_tcp *t, uint64_t now_us, const struct gw_ip *src,
                  const struct gw_ip *dst, const uint8_t *segment, size_t len)
{
    check(len <= UINT32_MAX);
    struct gw_tcp_arrival a = {*src, *dst, segment, (uint32_t)len};
    gw_tcp_input_burst(t, now_us, &a, 1);
}
