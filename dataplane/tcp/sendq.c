/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes from snd_una on: a ring of slices of arena blocks. The first slice always begins at
 * snd_una; what is acknowledged goes back to the arena block by block. A slice that is the only one is
 * in the connection itself (TCP_OWN).
 */
#include <errno.h>

#include "stack.h"

/* A block made for a short copy has room for more of them: as much as waits before it, so that a
 * queue that grows takes few blocks, and few nodes. */
#define COPY_BLOCK_BYTES     256u
#define COPY_BLOCK_BYTES_MAX 8192u
#define QUEUE_BYTES_SHORT    8192u
/* Walks longer than this leave a cursor, so that a long queue is not walked for every segment. */
#define CURSOR_AFTER 4u

/* The last quarter of the nodes is for ranges in flight: what is queued can only leave with one. The
 * quarter before it is for connections that have little queued: those with long queues, whose peers do
 * not read or are gone, must not silence the others. */
static bool node_for_slice(const struct gw_tcp *t, const struct conn *c)
{
    uint32_t quarter = t->nodes.limit / 4;
    uint32_t kept = c->queue_bytes < QUEUE_BYTES_SHORT ? quarter : 2 * quarter;
    return t->nodes.used_count < t->nodes.limit - kept;
}

/* Once half of the memory is used, what is queued on one connection may grow to a sixteenth of what is
 * free, so that something stays free however many there are that do not read; and whatever waits of
 * others, one with an empty queue may try. */
static bool memory_for(const struct gw_tcp *t, const struct conn *c, size_t len)
{
    const struct gw_arena *a = t->cfg.arena;
    size_t limit = gw_arena_limit_bytes(a), used = gw_arena_used_bytes(a);
    return used < limit / 2 || c->queue_tail == 0 || c->queue_bytes + len <= (limit - used) / 16;
}

static struct tcp_slice *slice_at(const struct gw_tcp *t, uint32_t i)
{
    return &node_at(t, i)->slice;
}

static void cursor_drop(struct gw_tcp *t, struct conn *c, uint32_t i)
{
    struct cold *k = cold_of(t, c);
    if (k->cursor == i)
        k->cursor = 0;
}

static bool is_own(const struct conn *c)
{
    return (c->queue_tail & TCP_OWN) != 0;
}

static struct tcp_slice own_slice(const struct gw_tcp *t, const struct conn *c)
{
    return (struct tcp_slice){
        .block = c->queue_tail & ~TCP_OWN, .off = cold_of(t, c)->queue_off, .len = c->queue_bytes};
}

/* The queue is empty, and there is a node: node_for_slice. */
static void own_begin(struct gw_tcp *t, struct conn *c, struct gw_slice s)
{
    gw_slab_promise(&t->nodes);
    c->queue_tail = TCP_OWN | s.block;
    c->queue_bytes = s.len;
    cold_of(t, c)->queue_off = s.off;
}

static void own_drop(struct gw_tcp *t, struct conn *c)
{
    gw_slab_release(&t->nodes);
    gw_arena_put(t->cfg.arena, c->queue_tail & ~TCP_OWN);
    c->queue_tail = 0;
    cold_of(t, c)->cursor = 0;
}

/* Every slice has a node from here on. */
static void unfold(struct gw_tcp *t, struct conn *c)
{
    if (!is_own(c))
        return;
    uint32_t i = gw_slab_redeem(&t->nodes);
    *slice_at(t, i) = own_slice(t, c);
    slice_at(t, i)->next = i;
    c->queue_tail = i;
    cold_of(t, c)->cursor = 0;
}

static void pop_first(struct gw_tcp *t, struct conn *c)
{
    struct tcp_slice *last = slice_at(t, c->queue_tail);
    uint32_t i = last->next;
    struct tcp_slice *first = slice_at(t, i);
    cursor_drop(t, c, i);
    gw_arena_put(t->cfg.arena, first->block);
    last->next = first->next;
    if (i == c->queue_tail)
        c->queue_tail = 0;
    gw_slab_free(&t->nodes, i);
}

/* There is a node: node_for_slice. */
static void link_slice(struct gw_tcp *t, struct conn *c, struct gw_slice s)
{
    if (c->queue_tail == 0) {
        own_begin(t, c, s);
        return;
    }
    unfold(t, c);
    uint32_t i = gw_slab_alloc(&t->nodes);
    struct tcp_slice *n = slice_at(t, i);
    struct tcp_slice *last = slice_at(t, c->queue_tail);
    *n = (struct tcp_slice){.next = last->next, .block = s.block, .off = s.off, .len = s.len};
    last->next = i;
    c->queue_tail = i;
    c->queue_bytes += s.len;
}

int tcp_sendq_append(struct gw_tcp *t, struct conn *c, struct gw_slice s)
{
    if (!node_for_slice(t, c) || !memory_for(t, c, s.len))
        return -ENOBUFS;
    link_slice(t, c, s);
    return 0;
}

static struct tcp_slice last_slice(const struct gw_tcp *t, const struct conn *c)
{
    return is_own(c) ? own_slice(t, c) : *slice_at(t, c->queue_tail);
}

/* Bytes that still fit behind the last slice, in its own block. */
static uint32_t tail_room(const struct gw_tcp *t, const struct conn *c)
{
    if (c->queue_tail == 0)
        return 0;
    struct tcp_slice last = last_slice(t, c);
    return (uint32_t)gw_arena_block_bytes(t->cfg.arena, last.block) - last.off - last.len;
}

static void tail_fill(struct gw_tcp *t, struct conn *c, const uint8_t *p, uint32_t len)
{
    if (len == 0)
        return;
    struct tcp_slice last = last_slice(t, c);
    uint8_t *block = gw_arena_ptr(t->cfg.arena, last.block);
    memcpy(block + last.off + last.len, p, len);
    if (!is_own(c))
        slice_at(t, c->queue_tail)->len += len;
    c->queue_bytes += len;
}

static size_t copy_block_bytes(const struct conn *c, size_t wanted)
{
    size_t room = c->queue_bytes < COPY_BLOCK_BYTES_MAX ? c->queue_bytes : COPY_BLOCK_BYTES_MAX;
    if (room < COPY_BLOCK_BYTES)
        room = COPY_BLOCK_BYTES;
    return wanted < room ? room : wanted;
}

int tcp_sendq_copy(struct gw_tcp *t, struct conn *c, const uint8_t *p, size_t len)
{
    uint32_t fill = tail_room(t, c);
    if (fill > len)
        fill = (uint32_t)len;
    size_t rest = len - fill;
    if (rest == 0) {
        tail_fill(t, c, p, fill);
        return 0;
    }
    if (rest > GW_ARENA_BLOCK_BYTES_MAX || !memory_for(t, c, len))
        return -ENOBUFS;
    gw_block b = 0;
    if (node_for_slice(t, c))
        b = gw_arena_get(t->cfg.arena, copy_block_bytes(c, rest));
    /* Where memory is short a smaller block may still be there. */
    if (b == 0 && node_for_slice(t, c))
        b = gw_arena_get(t->cfg.arena, rest);
    if (b == 0)
        return -ENOBUFS;
    memcpy(gw_arena_ptr(t->cfg.arena, b), p + fill, rest);
    tail_fill(t, c, p, fill);
    link_slice(t, c, (struct gw_slice){.block = b, .off = 0, .len = (uint32_t)rest});
    return 0;
}

void tcp_sendq_release(struct gw_tcp *t, struct conn *c, uint32_t bytes)
{
    check(bytes <= c->queue_bytes);
    c->queue_bytes -= bytes;
    if (is_own(c)) {
        cold_of(t, c)->queue_off += bytes;
        if (c->queue_bytes == 0)
            own_drop(t, c);
        return;
    }
    while (bytes > 0) {
        uint32_t i = slice_at(t, c->queue_tail)->next;
        struct tcp_slice *first = slice_at(t, i);
        if (bytes < first->len) {
            cursor_drop(t, c, i);
            first->off += bytes;
            first->len -= bytes;
            return;
        }
        bytes -= first->len;
        pop_first(t, c);
    }
}

/* The slice with a node that holds sequence number seq; *start is its first byte's. */
static uint32_t find(struct gw_tcp *t, struct conn *c, uint32_t seq, uint32_t *start)
{
    uint32_t i = slice_at(t, c->queue_tail)->next;
    *start = c->snd_una;
    if (seq == c->snd_una)
        return i;
    struct cold *k = cold_of(t, c);
    if (k->cursor != 0 && seq_leq(k->cursor_seq, seq)) {
        i = k->cursor;
        *start = k->cursor_seq;
    }
    unsigned steps = 0;
    for (; seq - *start >= slice_at(t, i)->len; steps++) {
        check(i != c->queue_tail);
        *start += slice_at(t, i)->len;
        i = slice_at(t, i)->next;
    }
    if (steps > CURSOR_AFTER || k->cursor != 0) {
        k->cursor = i;
        k->cursor_seq = *start;
    }
    return i;
}

uint32_t tcp_sendq_gather(struct gw_tcp *t, struct conn *c, uint32_t seq, uint32_t len,
                          struct gw_bytes pieces[GW_TCP_PAYLOAD_PIECES_MAX], uint32_t *count)
{
    *count = 0;
    if (len == 0)
        return 0;
    check(seq - c->snd_una + len <= c->queue_bytes);
    if (is_own(c)) {
        struct tcp_slice s = own_slice(t, c);
        const uint8_t *block = gw_arena_ptr(t->cfg.arena, s.block);
        pieces[(*count)++] = gw_bytes(block + s.off + (seq - c->snd_una), len);
        return len;
    }
    uint32_t start;
    uint32_t i = find(t, c, seq, &start);
    uint32_t skip = seq - start, got = 0;
    while (got < len && *count < GW_TCP_PAYLOAD_PIECES_MAX) {
        const struct tcp_slice *s = slice_at(t, i);
        uint32_t n = s->len - skip < len - got ? s->len - skip : len - got;
        const uint8_t *block = gw_arena_ptr(t->cfg.arena, s->block);
        pieces[(*count)++] = gw_bytes(block + s->off + skip, n);
        got += n;
        skip = 0;
        i = s->next;
    }
    return got;
}

void tcp_sendq_clear(struct gw_tcp *t, struct conn *c)
{
    if (is_own(c))
        own_drop(t, c);
    while (c->queue_tail != 0)
        pop_first(t, c);
    c->queue_bytes = 0;
}
