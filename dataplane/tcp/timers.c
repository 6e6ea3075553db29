/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection has several deadlines and one wheel node, armed for the earliest of them or for a
 * time before it: a deadline that moves to later leaves the node where it is, and the node looks
 * again when it fires. Only a connection that comes to rest takes its node out.
 */
#include "stack.h"

static void arm(struct gw_tcp *t, struct conn *c, uint32_t tick)
{
    if ((c->flags & CONN_ARMED) && !gw_tick_before(tick, cold_of(t, c)->node.tick))
        return;
    c->flags |= CONN_ARMED;
    gw_wheel_set(&t->wheel, conn_index(t, c), tick);
}

void tcp_timer_set(struct gw_tcp *t, struct conn *c, enum tcp_timer timer, uint32_t tick)
{
    c->timers = (uint8_t)(c->timers | 1u << timer) & 0xf;
    cold_of(t, c)->at[timer] = tick;
    arm(t, c, tick);
}

void tcp_timer_clear(struct conn *c, enum tcp_timer timer)
{
    c->timers = (uint8_t)(c->timers & ~(1u << timer)) & 0xf;
}

void tcp_rexmit_set(struct gw_tcp *t, struct conn *c, enum tcp_rexmit what, uint32_t after_us)
{
    c->rexmit = what & 0xf;
    c->rexmit_at = gw_tick_at(t->now_us + after_us);
    arm(t, c, c->rexmit_at);
}

void tcp_rexmit_clear(struct conn *c)
{
    c->rexmit = REXMIT_OFF;
}

void tcp_timer_rest(struct gw_tcp *t, struct conn *c)
{
    if ((c->flags & CONN_ARMED) == 0 || (c->flags & (CONN_DIRTY | CONN_RESUME)))
        return;
    if (c->rexmit != REXMIT_OFF || c->timers != 0)
        return;
    c->flags &= ~(uint32_t)CONN_ARMED;
    gw_wheel_cancel(&t->wheel, conn_index(t, c));
}

void tcp_timer_soon(struct gw_tcp *t, struct conn *c)
{
    arm(t, c, t->now_tick);
}

static bool timer_due(const struct gw_tcp *t, const struct conn *c, enum tcp_timer timer)
{
    return (c->timers & 1u << timer) && !gw_tick_before(t->now_tick, cold_of(t, c)->at[timer]);
}

static unsigned timeouts_max(const struct conn *c)
{
    if (c->state == STATE_SYN_SENT)
        return TCP_SYN_TIMEOUTS_MAX;
    return c->state == STATE_SYN_RECEIVED ? TCP_SYNACK_TIMEOUTS_MAX : TCP_TIMEOUTS_MAX;
}

/* The peer's window is closed: ask it. As long as it answers, the connection stays (RFC 9293
 * section 3.8.6.1), with ever longer pauses. */
static void probe(struct gw_tcp *t, struct conn *c)
{
    if (c->unanswered >= TCP_UNANSWERED_MAX) {
        tcp_conn_end(t, c, GW_TCP_CLOSED_TIMEOUT);
        return;
    }
    c->unanswered++;
    if (c->backoff < TCP_TIMEOUTS_MAX)
        c->backoff++;
    c->flags |= CONN_PROBE;
    tcp_dirty(t, c);
    tcp_rexmit_set(t, c, c->flight_tail != 0 ? REXMIT_RTO : REXMIT_PERSIST, tcp_rto_us(c));
}

static void retransmit(struct gw_tcp *t, struct conn *c)
{
    COUNT(t, rto_fired);
    if (c->backoff >= timeouts_max(c)) {
        if (c->state == STATE_SYN_RECEIVED)
            COUNT(t, half_open_expired);
        tcp_conn_end(t, c, GW_TCP_CLOSED_TIMEOUT);
        return;
    }
    tcp_recovery_timeout(t, c);
    c->backoff++;
    tcp_dirty(t, c);
    tcp_rexmit_set(t, c, REXMIT_RTO, tcp_rto_us(c));
}

static void rexmit_fire(struct gw_tcp *t, struct conn *c)
{
    bool window_closed = c->snd_wnd == 0 && c->state >= STATE_ESTABLISHED;
    if (window_closed) {
        probe(t, c);
    } else if (c->rexmit == REXMIT_REORDER) {
        tcp_rexmit_clear(c);
        tcp_rack_fire(t, c);
    } else if (c->rexmit == REXMIT_TAIL) {
        tcp_tail_fire(t, c);
    } else if (c->rexmit == REXMIT_PERSIST) {
        c->flags |= CONN_FORCE;
        tcp_rexmit_clear(c);
        tcp_dirty(t, c);
    } else {
        retransmit(t, c);
    }
}

/* Text puts the end off; acknowledgements alone, which any kernel sends for a program that hangs, do
 * not. */
void tcp_fin_wait_start(struct gw_tcp *t, struct conn *c)
{
    tcp_timer_set(t, c, TIMER_KEEP, gw_tick_at(t->now_us + t->cfg.fin_wait_2_us));
}

/* A peer that owes us its FIN and has nothing to say, unless it waits for our user to read. */
static void fin_wait_fire(struct gw_tcp *t, struct conn *c)
{
    if (tcp_kept_unread(t, c) > 0) {
        tcp_fin_wait_start(t, c);
        return;
    }
    COUNT(t, fin_wait_2_expired);
    tcp_conn_end(t, c, GW_TCP_CLOSED_TIMEOUT);
}

static bool keepalive_applies(const struct conn *c)
{
    return c->state == STATE_ESTABLISHED || c->state == STATE_CLOSE_WAIT;
}

/* What is under way, or waits for a window, has a deadline of its own that tells a dead peer. */
static bool is_watched(const struct conn *c)
{
    return c->flight_tail != 0 || c->rexmit != REXMIT_OFF;
}

static void keepalive_fire(struct gw_tcp *t, struct conn *c)
{
    if (!keepalive_applies(c))
        return;
    /* `heard` is coarse: the latest time that it can mean, so that no probe is early. */
    uint64_t units = (t->now_us >> 20) - (uint32_t)(t->now_coarse - c->heard) + 1;
    uint64_t due_us = (units << 20) + t->cfg.keepalive_us;
    if (is_watched(c))
        due_us = t->now_us + t->cfg.keepalive_us;
    if (due_us <= t->now_us) {
        if (c->unanswered >= t->cfg.keepalive_probes) {
            COUNT(t, keepalives_expired);
            tcp_conn_end(t, c, GW_TCP_CLOSED_TIMEOUT);
            return;
        }
        c->unanswered++;
        c->flags |= CONN_PROBE;
        tcp_dirty(t, c);
        due_us = t->now_us + t->cfg.keepalive_next_us;
    }
    tcp_timer_set(t, c, TIMER_KEEP, gw_tick_at(due_us));
}

void tcp_keepalive_start(struct gw_tcp *t, struct conn *c)
{
    tcp_timer_set(t, c, TIMER_KEEP, gw_tick_at(t->now_us + t->cfg.keepalive_us));
}

static void timer_fire(struct gw_tcp *t, struct conn *c, enum tcp_timer timer)
{
    tcp_timer_clear(c, timer);
    switch (timer) {
    case TIMER_ACK:
        tcp_ack_now(t, c);
        break;
    case TIMER_KEEP:
        if (c->state == STATE_FIN_WAIT_2)
            fin_wait_fire(t, c);
        else
            keepalive_fire(t, c);
        break;
    case TIMER_USER:
        t->up.deadline(t->up_ctx, conn_index(t, c));
        break;
    case TIMER_COUNT:
        break;
    }
}

static void rearm(struct gw_tcp *t, struct conn *c)
{
    if (c->rexmit != REXMIT_OFF)
        arm(t, c, c->rexmit_at);
    for (enum tcp_timer timer = 0; timer < TIMER_COUNT; timer++)
        if (c->timers & 1u << timer)
            arm(t, c, cold_of(t, c)->at[timer]);
}

void tcp_timer_fire(struct gw_tcp *t, struct conn *c)
{
    if (conn_is_dead(c)) /* by one that fired before it */
        return;
    c->flags &= ~(uint32_t)CONN_ARMED;
    if (c->flags & CONN_RESUME) {
        c->flags &= ~(uint32_t)(CONN_RESUME | CONN_PAUSED);
        tcp_kept_deliver(t, c);
        if (!conn_is_dead(c))
            tcp_text_consumed(t, c);
    }
    if (!conn_is_dead(c) && c->rexmit != REXMIT_OFF &&
        !gw_tick_before(t->now_tick, c->rexmit_at))
        rexmit_fire(t, c);
    for (enum tcp_timer timer = 0; timer < TIMER_COUNT && !conn_is_dead(c); timer++)
        if (timer_due(t, c, timer))
            timer_fire(t, c, timer);
    if (!conn_is_dead(c))
        rearm(t, c);
}
