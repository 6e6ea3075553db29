/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at connections without touching them. */
#include "info.h"

#include "stack.h"

_Static_assert(TCP_RANGES_MAX < 1u << 9, "cold range_count has nine bits");

uint32_t gw_tcp_info_next(const struct gw_tcp *t, uint32_t position)
{
    uint32_t next = position + 1;
    if (next < t->conns.fresh)
        return next;
    if (next <= t->cfg.conn_limit)
        next = t->cfg.conn_limit + 1;
    return next - t->cfg.conn_limit < t->time_waits.fresh ? next : 0;
}

static bool fits(const struct gw_tcp_filter *f, uint8_t state, const struct gw_tcp_tuple *tuple)
{
    return (f->states == 0 || (f->states >> state & 1)) &&
           (f->local_port == 0 || f->local_port == tuple->local_port) &&
           (f->remote_port == 0 || f->remote_port == tuple->remote_port) &&
           gw_ip_in(&f->remote, &tuple->remote);
}

static bool is_retransmitting(const struct conn *c)
{
    return c->backoff > 0 || (c->flags & (CONN_LOST | CONN_RECOVERY | CONN_LOSS));
}

static bool conn_fits(const struct gw_tcp *t, const struct conn *c, const struct gw_tcp_filter *f)
{
    if (!fits(f, c->state, &c->tuple) || (f->retransmitting && !is_retransmitting(c)))
        return false;
    return c->queue_bytes >= f->queued_min || tcp_kept_unread(t, c) >= f->queued_min;
}

static int32_t in_us(uint32_t tick, uint32_t now_tick)
{
    int64_t us = (int64_t)(int32_t)(tick - now_tick) * (1 << GW_TICK_SHIFT);
    return us > INT32_MAX ? INT32_MAX : us <= INT32_MIN ? INT32_MIN + 1 : (int32_t)us;
}

static void take_timers(const struct gw_tcp *t, const struct conn *c, struct gw_tcp_info *out)
{
    out->rexmit = c->rexmit;
    out->backoff = c->backoff;
    out->rexmit_in_us =
        c->rexmit == REXMIT_OFF ? GW_TCP_TIMER_OFF : in_us(c->rexmit_at, t->now_tick);
    for (enum tcp_timer i = 0; i < TIMER_COUNT; i++)
        out->timer_in_us[i] =
            c->timers >> i & 1 ? in_us(cold_of(t, c)->at[i], t->now_tick) : GW_TCP_TIMER_OFF;
}

static uint32_t unsent(const struct conn *c)
{
    if (!conn_is_synchronized(c) || c->state == STATE_SYN_RECEIVED)
        return c->queue_bytes;
    int32_t left = (int32_t)(c->snd_una + c->queue_bytes - c->snd_nxt);
    return left > 0 ? (uint32_t)left : 0; /* a FIN that was sent lies behind the text */
}

static void take_queues(const struct gw_tcp *t, const struct conn *c, struct gw_tcp_info *out)
{
    const struct cold *k = cold_of(t, c);
    out->acked_bytes = c->acked;
    out->in_flight = c->snd_nxt - c->snd_una;
    out->pipe = tcp_recovery_pipe(t, c);
    out->resent = k->resent;
    out->send_bytes = c->queue_bytes;
    out->unsent = unsent(c);
    if ((c->flags & CONN_KEPT) == 0)
        return;
    const struct tcp_piece *last = piece_at(t, k->kept_tail);
    out->unread = tcp_kept_unread(t, c);
    out->pieces = k->kept_count;
    if (tcp_kept_behind_gap(t, c))
        out->ahead = last->seq + last->len - c->rcv_nxt;
}

static uint8_t mode_of(const struct conn *c)
{
    if (c->flags & CONN_LOSS)
        return GW_TCP_MODE_LOSS;
    return c->flags & CONN_RECOVERY ? GW_TCP_MODE_RECOVERY : GW_TCP_MODE_OPEN;
}

static void take_conn(const struct gw_tcp *t, const struct conn *c, struct gw_tcp_info *out)
{
    const struct cold *k = cold_of(t, c);
    *out = (struct gw_tcp_info){
        .tuple = c->tuple,
        .state = c->state,
        .mode = mode_of(c),
        .snd_scale = c->snd_scale,
        .rcv_scale = c->rcv_scale,
        .sack = (c->flags & CONN_SACK) != 0,
        .timestamps = (c->flags & CONN_TIMESTAMPS) != 0,
        .scale = (c->flags & CONN_SCALE) != 0,
        .active = (c->flags & CONN_ACTIVE) != 0,
        .paused = (c->flags & CONN_PAUSED) != 0,
        .cwnd_limited = (c->flags & CONN_CWND_LIMITED) != 0,
        .snd_wnd = c->snd_wnd,
        .rcv_wnd = c->rcv_edge - c->rcv_nxt,
        .mss = c->mss,
        .srtt_us = c->srtt_us,
        .rttvar_us = c->srtt_us != 0 ? c->rttvar_us : 0,
        .rto_us = tcp_rto_us(c),
        .rtt_us_min = k->rtt_us_min,
        .cwnd = c->cwnd,
        .ssthresh = k->ssthresh != UINT32_MAX ? k->ssthresh : 0,
        .heard_s = (uint32_t)(((uint64_t)(t->now_coarse - c->heard) << 20) / 1000000),
    };
    strncpy(out->congestion_control, t->cc->name, sizeof(out->congestion_control) - 1);
    take_queues(t, c, out);
    take_timers(t, c, out);
}

static void take_time_wait(const struct gw_tcp *t, const struct tcp_time_wait *w,
                           struct gw_tcp_info *out)
{
    *out = (struct gw_tcp_info){.tuple = w->tuple,
                                .state = STATE_TIME_WAIT,
                                .timestamps = w->has_timestamp,
                                .rcv_wnd = w->window,
                                .rexmit_in_us = GW_TCP_TIMER_OFF};
    for (enum tcp_timer i = 0; i < TIMER_COUNT; i++)
        out->timer_in_us[i] = GW_TCP_TIMER_OFF;
    out->timer_in_us[TIMER_USER] = in_us(gw_tick_at(w->until_us), t->now_tick);
}

static bool time_wait_info(const struct gw_tcp *t, uint32_t i, const struct gw_tcp_filter *f,
                           struct gw_tcp_info *out)
{
    const struct tcp_time_wait *w = gw_slab_at(&t->time_waits, i);
    if (w->until_us == 0)
        return false;
    if (f != NULL && (!fits(f, STATE_TIME_WAIT, &w->tuple) || f->retransmitting || f->queued_min > 0))
        return false;
    take_time_wait(t, w, out);
    return true;
}

bool gw_tcp_info(const struct gw_tcp *t, uint32_t position, const struct gw_tcp_filter *f,
                 struct gw_tcp_info *out)
{
    if (position == 0)
        return false;
    if (position > t->cfg.conn_limit) {
        uint32_t i = position - t->cfg.conn_limit;
        return i < t->time_waits.fresh && time_wait_info(t, i, f, out);
    }
    const struct conn *c = conn_at(t, position);
    if (position >= t->conns.fresh || conn_is_dead(c) || (f != NULL && !conn_fits(t, c, f)))
        return false;
    take_conn(t, c, out);
    return true;
}

struct gw_tcp_totals gw_tcp_totals(const struct gw_tcp *t)
{
    return (struct gw_tcp_totals){.connections = t->conns.used_count,
                                  .half_open = t->half_open_count,
                                  .time_wait = t->time_waits.used_count};
}
