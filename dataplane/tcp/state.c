/* SPDX-License-Identifier: Apache-2.0 */
/* Birth, state changes and death of a connection. */
#include "stack.h"

#define TO(state) (1u << STATE_##state)

/* RFC 9293 figure 5; any state may end. */
static const uint16_t legal[STATE_COUNT] = {
    [STATE_CLOSED] = TO(SYN_SENT) | TO(SYN_RECEIVED),
    [STATE_SYN_SENT] = TO(SYN_RECEIVED) | TO(ESTABLISHED) | TO(CLOSED),
    [STATE_SYN_RECEIVED] = TO(ESTABLISHED) | TO(CLOSED),
    [STATE_ESTABLISHED] = TO(FIN_WAIT_1) | TO(CLOSE_WAIT) | TO(CLOSED),
    [STATE_FIN_WAIT_1] = TO(FIN_WAIT_2) | TO(CLOSING) | TO(TIME_WAIT) | TO(CLOSED),
    [STATE_FIN_WAIT_2] = TO(TIME_WAIT) | TO(CLOSED),
    [STATE_CLOSE_WAIT] = TO(LAST_ACK) | TO(CLOSED),
    [STATE_CLOSING] = TO(TIME_WAIT) | TO(CLOSED),
    [STATE_LAST_ACK] = TO(CLOSED),
    [STATE_TIME_WAIT] = TO(CLOSED),
};

void tcp_state_set(struct gw_tcp *t, struct conn *c, enum tcp_state to)
{
    check(legal[c->state] & 1u << to);
    if (c->state == STATE_SYN_RECEIVED) {
        check(t->half_open_count > 0);
        t->half_open_count--;
    }
    if (to == STATE_SYN_RECEIVED)
        t->half_open_count++;
    c->state = (uint8_t)to;
}

void tcp_dirty(struct gw_tcp *t, struct conn *c)
{
    if (c->flags & CONN_DIRTY)
        return;
    gw_conn i = conn_index(t, c);
    c->flags |= CONN_DIRTY;
    c->dirty_next = 0;
    if (t->dirty_tail != 0)
        conn_at(t, t->dirty_tail)->dirty_next = i;
    else
        t->dirty_head = i;
    t->dirty_tail = i;
    t->dirty_count++;
    t->dirty_refused = false;
}

struct conn *tcp_conn_begin(struct gw_tcp *t, const struct gw_tcp_tuple *tuple,
                            enum tcp_state state, uint32_t iss)
{
    gw_conn i = gw_slab_alloc(&t->conns);
    if (i == 0)
        return NULL;
    struct conn *c = conn_at(t, i);
    *c = (struct conn){
        .tuple = *tuple,
        .snd_una = iss,
        .snd_nxt = iss,
        .state = STATE_CLOSED,
        .mss = TCP_MSS_DEFAULT_V4,
        .heard = t->now_coarse,
        .flags = t->cfg.nagle ? CONN_NAGLE : 0,
    };
    *cold_of(t, c) = (struct cold){
        .challenge_at = (uint16_t)((t->now_tick >> TCP_CHALLENGE_SHIFT) - TCP_CHALLENGE_UNITS)};
    tcp_rtt_init(c);
    tcp_state_set(t, c, state);
    tcp_table_insert(t, tuple, i);
    tcp_dirty(t, c); /* the SYN */
    return c;
}

static uint16_t negotiated_mss(const struct gw_tcp *t, const struct conn *c,
                               const struct tcp_options *o)
{
    uint32_t ours = tcp_our_mss(t, &c->tuple);
    uint32_t mss = gw_ip_is_v4(&c->tuple.remote) ? TCP_MSS_DEFAULT_V4 : TCP_MSS_DEFAULT_V6;
    if (o->has_mss)
        mss = o->mss;
    if (mss < TCP_MSS_MIN)
        mss = TCP_MSS_MIN;
    if (mss > ours)
        mss = ours;
    /* RFC 6691: options come off the segment, not off the option's value. */
    return (uint16_t)(c->flags & CONN_TIMESTAMPS ? mss - TCP_TIMESTAMP_BYTES : mss);
}

void tcp_conn_negotiate(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s)
{
    const struct tcp_options *o = &s->opt;
    c->rcv_nxt = s->seq + 1;
    c->rcv_acked = c->rcv_nxt;
    c->rcv_edge = c->rcv_nxt;
    c->snd_wnd = s->window; /* never scaled in a SYN */
    if (o->has_timestamp) {
        c->flags |= CONN_TIMESTAMPS;
        c->ts_recent = o->ts_val;
    }
    if (o->sack_permitted)
        c->flags |= CONN_SACK;
    if (o->has_scale) {
        c->flags |= CONN_SCALE;
        c->snd_scale = o->scale & 0xf;
        c->rcv_scale = t->rcv_scale & 0xf;
    }
    c->mss = negotiated_mss(t, c, o);
}

static void count_end(struct gw_tcp *t, enum gw_tcp_close_reason why)
{
    switch (why) {
    case GW_TCP_CLOSED_DONE:
        COUNT(t, closed_done);
        break;
    case GW_TCP_CLOSED_RESET:
        COUNT(t, closed_reset);
        break;
    case GW_TCP_CLOSED_TIMEOUT:
        COUNT(t, closed_timeout);
        break;
    case GW_TCP_CLOSED_ABORTED:
        COUNT(t, closed_aborted);
        break;
    case GW_TCP_CLOSED_REFUSED:
        COUNT(t, closed_refused);
        break;
    case GW_TCP_CLOSED_UNREACHABLE:
        COUNT(t, closed_unreachable);
        break;
    }
}

void tcp_conn_end(struct gw_tcp *t, struct conn *c, enum gw_tcp_close_reason why)
{
    gw_conn i = conn_index(t, c);
    tcp_state_set(t, c, STATE_CLOSED);
    tcp_table_remove(t, &c->tuple, i);
    gw_wheel_cancel(&t->wheel, i);
    c->flags &= ~(uint32_t)CONN_ARMED;
    cold_of(t, c)->close_reason = why & 7u;
    count_end(t, why);
    tcp_dirty(t, c);
}

void tcp_conn_abort(struct gw_tcp *t, struct conn *c, enum gw_tcp_close_reason why)
{
    if (conn_is_synchronized(c)) {
        tcp_reply_add(t, &(struct tcp_reply){
                             .tuple = c->tuple,
                             .seq = c->snd_nxt,
                             .ack = c->rcv_nxt,
                             .flags = TCP_RST | TCP_ACK,
                         });
    }
    tcp_conn_end(t, c, why);
}

void tcp_conn_bury(struct gw_tcp *t, struct conn *c)
{
    if (c->flags & CONN_KNOWN)
        t->up.closed(t->up_ctx, conn_index(t, c), cold_of(t, c)->close_reason);
    tcp_sendq_clear(t, c);
    tcp_flight_clear(t, c);
    tcp_kept_clear(t, c);
    c->flags = 0;
    gw_slab_free(&t->conns, conn_index(t, c));
}

void tcp_conn_end_if_done(struct gw_tcp *t, struct conn *c)
{
    if (tcp_kept_unread(t, c) > 0)
        return;
    if (c->state == STATE_TIME_WAIT) {
        tcp_conn_end(t, c, GW_TCP_CLOSED_DONE);
        tcp_time_wait_add(t, c);
    } else if (c->state == STATE_LAST_ACK && (c->flags & CONN_FIN_ACKED)) {
        tcp_conn_end(t, c, GW_TCP_CLOSED_DONE);
    }
}
