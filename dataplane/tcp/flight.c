/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is under way: ranges of sequence space in order, each with the time it was last sent and
 * whether it is lost, SACKed or sent more than once. SYN and FIN are in them like any byte, so one
 * mechanism repeats everything. What left in one pass is one range, so a connection that answers
 * requests has one, in the connection itself (TCP_OWN), and an idle one none. It moves to the node that
 * it was promised when it stops being the only one of which nothing else is known.
 *
 * Nodes may run out, and one connection may not have many. Then precision is lost, never progress:
 * new bytes join the last range without a round-trip sample, a range that cannot be split is treated
 * as a whole, and a SACK block that would need a split counts from the next whole range on.
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

static bool is_own(const struct conn *c)
{
    return c->flight_tail == TCP_OWN;
}

/* The first that has a node, or 0. */
static uint32_t range_first(const struct gw_tcp *t, const struct conn *c)
{
    return c->flight_tail == 0 || is_own(c) ? 0 : range_at(t, c->flight_tail)->next;
}

/* The last nodes are for connections that have few ranges: peers that report what they have in many
 * small parts must not keep others from sending. */
static bool can_add(const struct gw_tcp *t, const struct conn *c)
{
    uint32_t count = cold_of(t, c)->range_count;
    uint32_t kept = count < TCP_RANGES_FEW ? 0 : t->nodes.limit / 8;
    return count < TCP_RANGES_MAX && t->nodes.used_count < t->nodes.limit - kept;
}

/* Put a fresh node behind `prev`, or first when that is 0. */
static void link_after(struct gw_tcp *t, struct conn *c, uint32_t prev, uint32_t i)
{
    cold_of(t, c)->range_count++;
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
    if (i == prev) {
        c->flight_tail = 0;
    } else {
        range_at(t, prev)->next = range_at(t, i)->next;
        if (i == c->flight_tail)
            c->flight_tail = prev;
    }
    cold_of(t, c)->range_count--;
    gw_slab_free(&t->nodes, i);
}

static struct tcp_range own_range(const struct conn *c)
{
    return (struct tcp_range){.start = c->snd_una, .end = c->snd_nxt, .sent_us = c->sent_us};
}

/* Every range has a node from here on. */
static void unfold(struct gw_tcp *t, struct conn *c)
{
    if (!is_own(c))
        return;
    uint32_t i = gw_slab_redeem(&t->nodes);
    *range_at(t, i) = own_range(c);
    range_at(t, i)->next = i;
    c->flight_tail = i;
}

/* Cut range i in two at `at`. False without a node. */
static bool split(struct gw_tcp *t, struct conn *c, uint32_t i, uint32_t at)
{
    if (!can_add(t, c)) {
        COUNT(t, ranges_not_split);
        return false;
    }
    uint32_t rest = gw_slab_alloc(&t->nodes);
    struct tcp_range *r = range_at(t, i);
    check(seq_lt(r->start, at) && seq_lt(at, r->end));
    *range_at(t, rest) = (struct tcp_range){
        .start = at, .end = r->end, .sent_us = r->sent_us, .flags = r->flags};
    r->end = at;
    link_after(t, c, i, rest);
    return true;
}

static void pipe_sub(struct conn *c, uint32_t bytes)
{
    check(c->pipe >= bytes);
    c->pipe -= bytes;
}

/* What the counters say is what a walk finds. */
static void check_walk(const struct gw_tcp *t, const struct conn *c)
{
#ifdef GW_CHECK_SLOW
    if (is_own(c)) {
        check(c->pipe == c->snd_nxt - c->snd_una && c->pipe > 0);
        check(cold_of(t, c)->range_count == 1 && (c->flags & CONN_LOST) == 0);
        return;
    }
    uint32_t pipe = 0, count = 0, at = c->snd_una;
    bool lost = false;
    for (uint32_t i = range_first(t, c); i != 0; i = range_after(t, c, i), count++) {
        const struct tcp_range *r = range_at(t, i);
        check(r->start == at && seq_lt(r->start, r->end));
        at = r->end;
        lost |= (r->flags & RANGE_LOST) != 0;
        if (in_pipe(r))
            pipe += range_len(r);
    }
    check(at == c->snd_nxt && pipe == c->pipe && count == cold_of(t, c)->range_count);
    check(lost == ((c->flags & CONN_LOST) != 0));
#else
    (void)t;
    (void)c;
#endif
}

bool tcp_flight_has_room(const struct gw_tcp *t, const struct conn *c)
{
    return can_add(t, c) || is_own(c) ||
           (c->flight_tail != 0 && in_pipe(range_at(t, c->flight_tail)));
}

static void extend(struct gw_tcp *t, struct conn *c, uint32_t len)
{
    uint32_t now = (uint32_t)t->now_us;
    struct tcp_range *last = c->flight_tail != 0 ? range_at(t, c->flight_tail) : NULL;
    bool same = last != NULL && last->flags == 0 && last->sent_us == now;
    if (same || !can_add(t, c)) {
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
}

void tcp_flight_sent(struct gw_tcp *t, struct conn *c, uint32_t len)
{
    if (c->flight_tail == 0 && can_add(t, c)) {
        tcp_flight_own_begin(t, c);
    } else if (!is_own(c) || c->sent_us != (uint32_t)t->now_us) {
        unfold(t, c);
        extend(t, c, len);
    }
    c->snd_nxt += len;
    c->pipe += len;
    check_walk(t, c);
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

/* After ranges have stopped being lost. */
static void look_for_lost(const struct gw_tcp *t, struct conn *c)
{
    uint32_t prev;
    if (find_lost(t, c, &prev) == 0)
        c->flags &= ~(uint32_t)CONN_LOST;
}

uint32_t tcp_flight_first_lost(const struct gw_tcp *t, const struct conn *c, uint32_t *seq)
{
    uint32_t prev, i = find_lost(t, c, &prev);
    if (i == 0)
        return 0;
    *seq = range_at(t, i)->start;
    return range_len(range_at(t, i));
}

/* Neighbours of which nothing differs become one. */
static bool join(struct gw_tcp *t, struct conn *c, uint32_t prev)
{
    if (prev == 0 || prev == c->flight_tail)
        return false;
    struct tcp_range *a = range_at(t, prev), *b = range_at(t, a->next);
    bool sacked = (a->flags & RANGE_SACKED) && (b->flags & RANGE_SACKED);
    if (!sacked && (a->flags != b->flags || a->sent_us != b->sent_us))
        return false;
    a->flags |= b->flags;
    a->end = b->end;
    drop_after(t, c, prev);
    return true;
}

void tcp_flight_resent(struct gw_tcp *t, struct conn *c, uint32_t len)
{
    uint32_t prev, i = find_lost(t, c, &prev);
    check(i != 0);
    struct tcp_range *r = range_at(t, i);
    if (len < range_len(r))
        split(t, c, i, r->start + len);
    c->pipe += range_len(r);
    r->flags = RANGE_RESENT;
    r->sent_us = (uint32_t)t->now_us;
    join(t, c, prev);
    look_for_lost(t, c);
    check_walk(t, c);
}

void tcp_flight_resend_last(struct gw_tcp *t, struct conn *c, uint32_t len)
{
    unfold(t, c);
    uint32_t i = c->flight_tail;
    struct tcp_range *r = range_at(t, i);
    if (len < range_len(r) && split(t, c, i, r->end - len))
        r = range_at(t, c->flight_tail);
    r->flags |= RANGE_RESENT;
    r->sent_us = (uint32_t)t->now_us;
}

/* Part of a range is known to have arrived. */
static void note_arrival(struct gw_tcp *t, const struct tcp_range *r, uint32_t end,
                         struct tcp_delivered *d)
{
    if (r->flags & RANGE_SACKED)
        return;
    bool resent = (r->flags & RANGE_RESENT) != 0;
    d->bytes += end - r->start;
    d->resent |= resent;
    if (r->flags == 0) {
        uint32_t rtt_us = (uint32_t)t->now_us - r->sent_us;
        d->rtt_us = rtt_us > 0 ? rtt_us : 1;
    }
    if (!resent && seq_lt(end, d->highest))
        d->reordered = true;
    bool newer = seq_lt(d->sent_us, r->sent_us) ||
                 (d->sent_us == r->sent_us && seq_lt(d->end, end));
    if (!d->any || newer) {
        d->any = true;
        d->sent_us = r->sent_us;
        d->end = end;
        d->newest_resent = resent;
    }
}

static void own_acked(struct gw_tcp *t, struct conn *c, uint32_t ack, struct tcp_delivered *d)
{
    struct tcp_range r = own_range(c);
    if (!seq_lt(r.start, ack))
        return;
    uint32_t end = seq_min(r.end, ack);
    note_arrival(t, &r, end, d);
    pipe_sub(c, end - r.start);
    if (end == r.end)
        tcp_flight_own_end(t, c);
}

void tcp_flight_acked(struct gw_tcp *t, struct conn *c, uint32_t ack, struct tcp_delivered *d)
{
    if (is_own(c)) {
        own_acked(t, c, ack, d);
        return;
    }
    bool was_lost = false;
    while (c->flight_tail != 0) {
        struct tcp_range *r = range_at(t, range_first(t, c));
        if (!seq_lt(r->start, ack))
            break;
        uint32_t end = seq_min(r->end, ack);
        note_arrival(t, r, end, d);
        if (in_pipe(r))
            pipe_sub(c, end - r->start);
        was_lost |= (r->flags & RANGE_LOST) != 0;
        if (seq_lt(ack, r->end)) {
            r->start = ack;
            break;
        }
        drop_after(t, c, c->flight_tail);
    }
    if (was_lost)
        look_for_lost(t, c);
}

uint32_t tcp_flight_highest_sacked(const struct gw_tcp *t, const struct conn *c)
{
    uint32_t highest = c->snd_una;
    for (uint32_t i = range_first(t, c); i != 0; i = range_after(t, c, i))
        if (range_at(t, i)->flags & RANGE_SACKED)
            highest = range_at(t, i)->end;
    return highest;
}

uint32_t tcp_flight_sacked_bytes(const struct gw_tcp *t, const struct conn *c)
{
    uint32_t bytes = 0;
    for (uint32_t i = range_first(t, c); i != 0; i = range_after(t, c, i))
        if (range_at(t, i)->flags & RANGE_SACKED)
            bytes += range_len(range_at(t, i));
    return bytes;
}

void tcp_flight_sack(struct gw_tcp *t, struct conn *c, struct tcp_sack block,
                     struct tcp_delivered *d)
{
    uint32_t prev = 0;
    bool was_lost = false;
    unfold(t, c);
    for (uint32_t i = range_first(t, c); i != 0; prev = i, i = range_after(t, c, i)) {
        struct tcp_range *r = range_at(t, i);
        if (seq_leq(block.end, r->start))
            break;
        if (seq_leq(r->end, block.start) || (r->flags & RANGE_SACKED))
            continue;
        /* Of a range that begins before the block the rest comes next. */
        if (seq_lt(r->start, block.start)) {
            split(t, c, i, block.start);
            continue;
        }
        if (seq_lt(block.end, r->end) && !split(t, c, i, block.end))
            break;
        note_arrival(t, r, r->end, d);
        if (in_pipe(r))
            pipe_sub(c, range_len(r));
        was_lost |= (r->flags & RANGE_LOST) != 0;
        r->flags = (r->flags | RANGE_SACKED) & ~(uint32_t)RANGE_LOST;
        if (join(t, c, prev))
            i = prev;
        /* What follows may be SACKed already. */
        while (join(t, c, i))
            ;
    }
    if (was_lost)
        look_for_lost(t, c);
    check_walk(t, c);
}

static void lose(struct conn *c, struct tcp_range *r)
{
    if (!in_pipe(r))
        return;
    pipe_sub(c, range_len(r));
    r->flags |= RANGE_LOST;
    c->flags |= CONN_LOST;
}

void tcp_flight_lose_first(struct gw_tcp *t, struct conn *c, uint32_t len)
{
    unfold(t, c);
    uint32_t i = range_first(t, c);
    if (i == 0)
        return;
    struct tcp_range *r = range_at(t, i);
    if (in_pipe(r) && len < range_len(r))
        split(t, c, i, r->start + len);
    lose(c, r);
    check_walk(t, c);
}

void tcp_flight_lose_all(struct gw_tcp *t, struct conn *c)
{
    unfold(t, c);
    uint32_t i = range_first(t, c), prev = 0;
    /* The next byte that the peer expects cannot have been SACKed: it has thrown away what it had. */
    bool reneged = i != 0 && (range_at(t, i)->flags & RANGE_SACKED);
    while (i != 0) {
        struct tcp_range *r = range_at(t, i);
        if (reneged && (r->flags & RANGE_SACKED)) {
            r->flags &= ~(uint32_t)RANGE_SACKED;
            c->pipe += range_len(r);
        }
        lose(c, r);
        if (prev != 0 && (r->flags & RANGE_LOST) && (range_at(t, prev)->flags & RANGE_LOST)) {
            range_at(t, prev)->flags |= r->flags;
            range_at(t, prev)->end = r->end;
            drop_after(t, c, prev);
        } else {
            prev = i;
        }
        i = range_after(t, c, prev);
    }
    check_walk(t, c);
}

uint32_t tcp_flight_lose_older(struct gw_tcp *t, struct conn *c, uint32_t sent_us, uint32_t end,
                               uint32_t patience_us)
{
    uint32_t now = (uint32_t)t->now_us, wait_us = 0;
    unfold(t, c);
    for (uint32_t i = range_first(t, c); i != 0; i = range_after(t, c, i)) {
        struct tcp_range *r = range_at(t, i);
        bool older = seq_lt(r->sent_us, sent_us) || (r->sent_us == sent_us && seq_lt(r->end, end));
        if (!in_pipe(r) || !older)
            continue;
        uint32_t since = now - r->sent_us;
        if (since >= patience_us)
            lose(c, r);
        else if (patience_us - since > wait_us)
            wait_us = patience_us - since;
    }
    check_walk(t, c);
    return wait_us;
}

uint32_t tcp_flight_oldest_us(const struct gw_tcp *t, const struct conn *c)
{
    return is_own(c) ? c->sent_us : range_at(t, range_first(t, c))->sent_us;
}

void tcp_flight_clear(struct gw_tcp *t, struct conn *c)
{
    if (is_own(c))
        tcp_flight_own_end(t, c);
    while (c->flight_tail != 0)
        drop_after(t, c, c->flight_tail);
    c->pipe = 0;
    c->flags &= ~(uint32_t)CONN_LOST;
}
