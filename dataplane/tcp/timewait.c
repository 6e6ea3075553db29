/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TIME-WAIT in a slab of its own: a connection's last minute needs little. All wait equally long, so
 * a list in the order of entry is the order of expiry, and no timer node is needed.
 */
#include "stack.h"

/* A connection that replaces this one begins beyond all that its segments could still be taken for. */
#define NEXT_LIFE_GAP 65536u
/* After the last segment of a connection until we may connect over its addresses and ports again. */
#define REUSE_AFTER_US UINT64_C(1000000)

static struct tcp_time_wait *entry_at(const struct gw_tcp *t, uint32_t i)
{
    return gw_slab_at(&t->time_waits, i);
}

static void list_append(struct gw_tcp *t, uint32_t i)
{
    struct tcp_time_wait *w = entry_at(t, i);
    w->until_us = t->now_us + TCP_TIME_WAIT_US;
    w->newer = 0;
    w->older = t->time_wait_newest;
    if (w->older != 0)
        entry_at(t, w->older)->newer = i;
    else
        t->time_wait_oldest = i;
    t->time_wait_newest = i;
}

static void list_remove(struct gw_tcp *t, uint32_t i)
{
    struct tcp_time_wait *w = entry_at(t, i);
    if (w->older != 0)
        entry_at(t, w->older)->newer = w->newer;
    else
        t->time_wait_oldest = w->newer;
    if (w->newer != 0)
        entry_at(t, w->newer)->older = w->older;
    else
        t->time_wait_newest = w->older;
}

static void forget(struct gw_tcp *t, uint32_t i)
{
    list_remove(t, i);
    tcp_table_remove(t, &entry_at(t, i)->tuple, i | TCP_REF_TIME_WAIT);
    entry_at(t, i)->until_us = 0; /* unused: for info.c */
    gw_slab_free(&t->time_waits, i);
}

static void answer(struct gw_tcp *t, const struct tcp_time_wait *w)
{
    tcp_reply_add(t, &(struct tcp_reply){
                         .tuple = w->tuple,
                         .seq = w->snd_nxt,
                         .ack = w->rcv_nxt,
                         .flags = TCP_ACK,
                         .window = w->window,
                         .has_timestamp = w->has_timestamp,
                         .ts_ecr = w->ts_recent,
                     });
}

void tcp_time_wait_add(struct gw_tcp *t, const struct conn *c)
{
    COUNT(t, time_wait_entered);
    uint32_t i = gw_slab_alloc(&t->time_waits);
    if (i == 0) {
        COUNT(t, time_wait_forgotten);
        forget(t, t->time_wait_oldest);
        i = gw_slab_alloc(&t->time_waits);
    }
    struct tcp_time_wait *w = entry_at(t, i);
    *w = (struct tcp_time_wait){
        .tuple = c->tuple,
        .snd_nxt = c->snd_nxt,
        .rcv_nxt = c->rcv_nxt,
        .ts_recent = c->ts_recent,
        .has_timestamp = (c->flags & CONN_TIMESTAMPS) != 0,
        .window = (uint16_t)((c->rcv_edge - c->rcv_nxt) >> c->rcv_scale),
    };
    list_append(t, i);
    tcp_table_insert(t, &w->tuple, i | TCP_REF_TIME_WAIT);
    if (c->acks_owed > 0 || (c->flags & CONN_ACK_OWED))
        answer(t, w);
}

/* RFC 9293 section 3.10.7.4: a SYN beyond everything of the old connection begins a new one, where
 * timestamps have to prove it when there are any (RFC 6191). */
static bool may_reuse(const struct gw_tcp *t, const struct tcp_time_wait *w,
                      const struct tcp_segment *s)
{
    if ((s->flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN ||
        !tcp_listens(t, &s->tuple))
        return false;
    if (w->has_timestamp && s->opt.has_timestamp && s->opt.ts_val != w->ts_recent)
        return (int32_t)(s->opt.ts_val - w->ts_recent) > 0;
    return seq_lt(w->rcv_nxt, s->seq);
}

static uint32_t next_life_iss(const struct gw_tcp *t, const struct tcp_time_wait *w)
{
    return seq_max(tcp_initial_sequence(t, &w->tuple), w->snd_nxt + NEXT_LIFE_GAP);
}

/* RFC 6191 from our side: once our clock of timestamps, of about a millisecond, has moved on for sure, the
 * peer can tell the new connection's segments from the old one's, and we, by its own timestamps, too. */
bool tcp_time_wait_may_end(const struct gw_tcp *t, uint32_t i)
{
    const struct tcp_time_wait *w = entry_at(t, i);
    return w->has_timestamp && w->until_us - TCP_TIME_WAIT_US + REUSE_AFTER_US <= t->now_us;
}

uint32_t tcp_time_wait_end(struct gw_tcp *t, uint32_t i)
{
    uint32_t iss = next_life_iss(t, entry_at(t, i));
    COUNT(t, time_wait_reused);
    forget(t, i);
    return iss;
}

void tcp_time_wait_input(struct gw_tcp *t, uint32_t i, const struct tcp_segment *s)
{
    struct tcp_time_wait *w = entry_at(t, i);
    /* RFC 1337: an RST does not end TIME-WAIT. */
    if (s->flags & TCP_RST) {
        COUNT(t, drop_rst_sequence);
        return;
    }
    if (may_reuse(t, w, s)) {
        tcp_listen_input(t, s, tcp_time_wait_end(t, i));
        return;
    }
    COUNT(t, drop_sequence);
    /* The peer repeats its FIN: our ACK was lost, the wait begins again. */
    if ((s->flags & TCP_FIN) && s->seq + s->len + 1 == w->rcv_nxt) {
        list_remove(t, i);
        list_append(t, i);
    }
    if (tcp_segment_span(s) > 0)
        answer(t, w);
}

void tcp_time_wait_advance(struct gw_tcp *t)
{
    for (unsigned work = TCP_ADVANCE_WORK; work > 0 && t->time_wait_oldest != 0; work--) {
        if (entry_at(t, t->time_wait_oldest)->until_us > t->now_us)
            return;
        forget(t, t->time_wait_oldest);
    }
}

uint64_t tcp_time_wait_next_us(const struct gw_tcp *t)
{
    return t->time_wait_oldest == 0 ? UINT64_MAX : entry_at(t, t->time_wait_oldest)->until_us;
}
