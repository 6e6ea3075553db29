/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is under way: ranges of sequence space in order, each with the time it was last sent and
 * whether it is lost, SACKed or sent more than once. SYN and FIN are in them like any byte, so one
 * mechanism repeats everything. What left in one pass is one range, so a connection that answers
 * requests has one, and an idle one none.
 *
 * Nodes may run out. Then precision is lost, never progress: new bytes join the last range without
 * a round-trip sample, and a range that cannot be split is treated as a whole.
 */
#include "stack.h"

static struct tcp_range *range_at(const struct gw_tcp *t, uint32_t i)
{
    return &node_at(t, i)->range;
}

static bool in_pipe(const struct tcp_range *r)
{
    return (r->flags & (RANGE_LOST | RANGE_SACKED)) == 0;
}

static uint32_t range_len(const struct tcp_range *r)
{
    return r->end - r->start;
}

/* The range after i, or 0 behind the last. */
static uint32_t range_after(const struct gw_tcp *t, const struct conn *c, uint32_t i)
{
    return i == c->flight_tail ? 0 : range_at(t, i)->next;
}

static uint32_t range_first(const struct gw_tcp *t, const struct conn *c)
{
    return c->flight_tail == 0 ? 0 : range_at(t, c->flight_tail)->next;
}

/* Put a fresh node behind `prev`, or first when that is 0. */
static void link_after(struct gw_tcp *t, struct conn *c, uint32_t prev, uint32_t i)
{
    if (c->flight_tail == 0) {
        range_at(t, i)->next = i;
        c->flight_tail = i;
        return;
    }
    struct tcp_range *before = range_at(t, prev != 0 ? prev : c->flight_tail);
    range_at(t, i)->next = before->next;
    before->next = i;
    if (prev == c->flight_tail)
        c->flight_tail = i;
}

/* Take out the node behind `prev` (the tail when it is the first). */
static void drop_after(struct gw_tcp *t, struct conn *c, uint32_t prev)
{
    uint32_t i = range_at(t, prev)->next;
    if (i == prev)
        c->flight_tail = 0;
    else {
        range_at(t, prev)->next = range_at(t, i)->next;
        if (i == c->flight_tail)
            c->flight_tail = prev;
    }
    gw_slab_free(&t->nodes, i);
}

/* Cut range i in two at `at`. False without a node. */
static bool split(struct gw_tcp *t, struct conn *c, uint32_t i, uint32_t at)
{
    uint32_t rest = gw_slab_alloc(&t->nodes);
    if (rest == 0)
        return false;
    struct tcp_range *r = range_at(t, i);
    check(seq_lt(r->start, at) && seq_lt(at, r->end));
    *range_at(t, rest) = (struct tcp_range){
        .start = at, .end = r->end, .sent_us = r->sent_us, .flags = r->flags};
    r->end = at;
    link_after(t, c, i, rest);
    return true;
}

static void lost_add(struct gw_tcp *t, struct conn *c, uint32_t bytes)
{
    cold_of(t, c)->lost_bytes += bytes;
    c->flags |= CONN_LOST;
}

static void lost_sub(struct gw_tcp *t, struct conn *c, uint32_t bytes)
{
    struct cold *k = cold_of(t, c);
    check(k->lost_bytes >= bytes);
    k->lost_bytes -= bytes;
    if (k->lost_bytes == 0)
        c->flags &= ~(uint32_t)CONN_LOST;
}

static void pipe_sub(struct conn *c, uint32_t bytes)
{
    check(c->pipe >= bytes);
    c->pipe -= bytes;
}

static bool nodes_left(const struct gw_tcp *t)
{
    return t->nodes.used_count < t->nodes.limit;
}

bool tcp_flight_has_room(const struct gw_tcp *t, const struct conn *c)
{
    return nodes_left(t) || (c->flight_tail != 0 && in_pipe(range_at(t, c->flight_tail)));
}

void tcp_flight_sent(struct gw_tcp *t, struct conn *c, uint32_t len)
{
    uint32_t now = (uint32_t)t->now_us;
    struct tcp_range *last = c->flight_tail != 0 ? range_at(t, c->flight_tail) : NULL;
    bool same = last != NULL && last->flags == 0 && last->sent_us == now;
    if (same || !nodes_left(t)) {
        check(last != NULL && in_pipe(last));
        if (!same)
            last->flags |= RANGE_RESENT;
        last->end += len;
    } else {
        uint32_t i = gw_slab_alloc(&t->nodes);
        *range_at(t, i) =
            (struct tcp_range){.start = c->snd_nxt, .end = c->snd_nxt + len, .sent_us = now};
        link_after(t, c, c->flight_tail, i);
    }
    c->snd_nxt += len;
    c->pipe += len;
}

/* The first lost range and the one before it (0: none), or 0. */
static uint32_t find_lost(const struct gw_tcp *t, const struct conn *c, uint32_t *prev)
{
    *prev = 0;
    if ((c->flags & CONN_LOST) == 0)
        return 0;
    for (uint32_t i = range_first(t, c); i != 0; *prev = i, i = range_after(t, c, i))
        if (range_at(t, i)->flags & RANGE_LOST)
            return i;
    return 0;
}

uint32_t tcp_flight_first_lost(const struct gw_tcp *t, const struct conn *c, uint32_t *seq)
{
    uint32_t prev, i = find_lost(t, c, &prev);
    if (i == 0)
        return 0;
    *seq = range_at(t, i)->start;
    return range_len(range_at(t, i));
}

/* Ranges sent again in one pass become one. */
static void join_resent(struct gw_tcp *t, struct conn *c, uint32_t prev, uint32_t i)
{
    struct tcp_range *a = range_at(t, prev), *b = range_at(t, i);
    if (a->flags != b->flags || a->sent_us != b->sent_us)
        return;
    a->end = b->end;
    drop_after(t, c, prev);
}

void tcp_flight_resent(struct gw_tcp *t, struct conn *c, uint32_t len)
{
    uint32_t prev, i = find_lost(t, c, &prev);
    check(i != 0);
    struct tcp_range *r = range_at(t, i);
    if (len < range_len(r))
        split(t, c, i, r->start + len);
    lost_sub(t, c, range_len(r));
    c->pipe += range_len(r);
    r->flags = RANGE_RESENT;
    r->sent_us = (uint32_t)t->now_us;
    if (prev != 0)
        join_resent(t, c, prev, i);
}

uint32_t tcp_flight_acked(struct gw_tcp *t, struct conn *c, uint32_t ack)
{
    bool ambiguous = false, sampled = false;
    uint32_t sent_us = 0;
    while (c->flight_tail != 0) {
        struct tcp_range *r = range_at(t, range_first(t, c));
        if (!seq_lt(r->start, ack))
            break;
        uint32_t part = seq_min(r->end, ack) - r->start;
        if (r->flags & RANGE_LOST)
            lost_sub(t, c, part);
        else if (in_pipe(r))
            pipe_sub(c, part);
        ambiguous |= (r->flags & RANGE_RESENT) != 0;
        if (r->flags == 0) {
            sampled = true;
            sent_us = r->sent_us;
        }
        if (seq_lt(ack, r->end)) {
            r->start = ack;
            break;
        }
        drop_after(t, c, c->flight_tail);
    }
    if (ambiguous || !sampled)
        return 0;
    uint32_t rtt = (uint32_t)t->now_us - sent_us;
    return rtt > 0 ? rtt : 1;
}

static void lose(struct gw_tcp *t, struct conn *c, struct tcp_range *r)
{
    if (!in_pipe(r))
        return;
    pipe_sub(c, range_len(r));
    lost_add(t, c, range_len(r));
    r->flags |= RANGE_LOST;
}

void tcp_flight_lose_first(struct gw_tcp *t, struct conn *c, uint32_t len)
{
    uint32_t i = range_first(t, c);
    if (i == 0)
        return;
    struct tcp_range *r = range_at(t, i);
    if (in_pipe(r) && len < range_len(r))
        split(t, c, i, r->start + len);
    lose(t, c, r);
}

void tcp_flight_lose_all(struct gw_tcp *t, struct conn *c)
{
    uint32_t prev = 0;
    uint32_t i = range_first(t, c);
    while (i != 0) {
        struct tcp_range *r = range_at(t, i);
        lose(t, c, r);
        if (prev != 0 && (r->flags & RANGE_LOST) && (range_at(t, prev)->flags & RANGE_LOST)) {
            range_at(t, prev)->flags |= r->flags;
            range_at(t, prev)->end = r->end;
            drop_after(t, c, prev);
        } else {
            prev = i;
        }
        i = range_after(t, c, prev);
    }
}

void tcp_flight_clear(struct gw_tcp *t, struct conn *c)
{
    while (c->flight_tail != 0)
        drop_after(t, c, c->flight_tail);
    c->pipe = 0;
    cold_of(t, c)->lost_bytes = 0;
    c->flags &= ~(uint32_t)CONN_LOST;
}
