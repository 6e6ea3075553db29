/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Received bytes that wait, copied into arena blocks: in order ones that the user did not take yet
 * (before rcv_nxt, `unread`), then those behind a gap. One ring of pieces in sequence order without
 * overlaps; what came first stays. Their number and, by the window, their bytes are limited.
 */
#include "stack.h"

static uint32_t piece_end(const struct tcp_piece *p)
{
    return p->seq + p->len;
}

static uint32_t piece_first(const struct gw_tcp *t, const struct cold *k)
{
    return k->kept_tail == 0 ? 0 : piece_at(t, k->kept_tail)->next;
}

static uint32_t piece_after(const struct gw_tcp *t, const struct cold *k, uint32_t i)
{
    return i == k->kept_tail ? 0 : piece_at(t, i)->next;
}

/* Where the bytes in order end: rcv_nxt counts the peer's FIN too. */
static uint32_t text_edge(const struct conn *c)
{
    return c->flags & CONN_PEER_FIN ? c->rcv_nxt - 1 : c->rcv_nxt;
}

uint32_t tcp_kept_unread_bytes(const struct gw_tcp *t, const struct conn *c)
{
    uint32_t first = piece_at(t, piece_first(t, cold_of(t, c)))->seq, edge = text_edge(c);
    return seq_lt(first, edge) ? edge - first : 0;
}

bool tcp_kept_behind_gap(const struct gw_tcp *t, const struct conn *c)
{
    return (c->flags & CONN_KEPT) &&
           seq_lt(text_edge(c), piece_end(piece_at(t, cold_of(t, c)->kept_tail)));
}

/* The blocks seen so far: the one that holds `recent` apart, of the others the last few. */
struct block_list {
    struct tcp_sack recent, others[TCP_SACKS_MAX];
    bool has_recent;
    unsigned other_count;
};

static void block_done(struct block_list *l, struct tcp_sack b, uint32_t recent)
{
    if (seq_leq(b.start, recent) && seq_lt(recent, b.end)) {
        l->recent = b;
        l->has_recent = true;
    } else {
        l->others[l->other_count++ % TCP_SACKS_MAX] = b;
    }
}

unsigned tcp_kept_blocks(const struct gw_tcp *t, const struct conn *c, uint32_t recent,
                         struct tcp_sack *blocks, unsigned room)
{
    const struct cold *k = cold_of(t, c);
    struct block_list l = {.has_recent = false};
    struct tcp_sack b = {c->rcv_nxt, c->rcv_nxt};
    for (uint32_t i = piece_first(t, k); i != 0; i = piece_after(t, k, i)) {
        const struct tcp_piece *p = piece_at(t, i);
        if (seq_lt(p->seq, c->rcv_nxt))
            continue;
        if (p->seq != b.end) {
            if (b.start != b.end)
                block_done(&l, b, recent);
            b.start = p->seq;
        }
        b.end = piece_end(p);
    }
    if (b.start != b.end)
        block_done(&l, b, recent);
    unsigned n = 0;
    if (l.has_recent && room > 0)
        blocks[n++] = l.recent;
    unsigned left = l.other_count < TCP_SACKS_MAX ? l.other_count : TCP_SACKS_MAX;
    for (; left > 0 && n < room; left--)
        blocks[n++] = l.others[--l.other_count % TCP_SACKS_MAX];
    return n;
}

uint32_t tcp_kept_bytes(const struct gw_tcp *t, const struct conn *c)
{
    if ((c->flags & CONN_KEPT) == 0)
        return 0;
    const struct cold *k = cold_of(t, c);
    uint32_t bytes = 0;
    for (uint32_t i = piece_first(t, k); i != 0; i = piece_after(t, k, i))
        bytes += piece_at(t, i)->len;
    return bytes;
}

static void link_after(struct gw_tcp *t, struct cold *k, uint32_t prev, uint32_t i)
{
    k->kept_count++;
    if (k->kept_tail == 0) {
        piece_at(t, i)->next = i;
        k->kept_tail = i;
        return;
    }
    struct tcp_piece *before = piece_at(t, prev != 0 ? prev : k->kept_tail);
    piece_at(t, i)->next = before->next;
    before->next = i;
    if (prev == k->kept_tail)
        k->kept_tail = i;
}

static void drop_first(struct gw_tcp *t, struct conn *c)
{
    struct cold *k = cold_of(t, c);
    struct tcp_piece *last = piece_at(t, k->kept_tail);
    uint32_t i = last->next;
    gw_arena_put(t->cfg.arena, piece_at(t, i)->block);
    last->next = piece_at(t, i)->next;
    if (i == k->kept_tail) {
        k->kept_tail = 0;
        c->flags &= ~(uint32_t)CONN_KEPT;
    }
    gw_slab_free(&t->pieces, i);
    k->kept_count--;
}

/* Append to piece i what fits into its block. */
static uint32_t fill(struct gw_tcp *t, uint32_t i, const uint8_t *p, uint32_t len)
{
    struct tcp_piece *piece = piece_at(t, i);
    size_t room = gw_arena_block_bytes(t->cfg.arena, piece->block) - piece->off - piece->len;
    uint32_t n = len < room ? len : (uint32_t)room;
    memcpy((uint8_t *)gw_arena_ptr(t->cfg.arena, piece->block) + piece->off + piece->len, p, n);
    piece->len += n;
    return n;
}

/* The last quarter of the memory is not for text that its sender keeps as well: it is for what is to be
 * sent. */
static bool memory_for_piece(const struct gw_tcp *t)
{
    size_t limit = gw_arena_limit_bytes(t->cfg.arena);
    return gw_arena_used_bytes(t->cfg.arena) < limit - limit / 4;
}

/* The last quarter of the pieces is for connections that keep few: those with many gaps must not take
 * from others what lets them repair one. */
static bool may_keep_piece(const struct gw_tcp *t, const struct cold *k)
{
    bool scarce = t->pieces.used_count >= t->pieces.limit - t->pieces.limit / 4;
    return k->kept_count < (scarce ? TCP_PIECES_FEW : t->kept_count_max);
}

static uint32_t new_piece(struct gw_tcp *t, struct conn *c, uint32_t prev, uint32_t seq,
                          uint32_t len)
{
    struct cold *k = cold_of(t, c);
    if (!may_keep_piece(t, k)) {
        COUNT(t, drop_text_pieces);
        return 0;
    }
    gw_block b = memory_for_piece(t) ? gw_arena_get(t->cfg.arena, len) : 0;
    uint32_t i = b != 0 ? gw_slab_alloc(&t->pieces) : 0;
    if (i == 0) {
        gw_arena_put(t->cfg.arena, b);
        COUNT(t, drop_text_memory);
        return 0;
    }
    *piece_at(t, i) = (struct tcp_piece){.seq = seq, .block = b};
    link_after(t, k, prev, i);
    c->flags |= CONN_KEPT;
    return i;
}

/* Keep some of len bytes behind piece prev, where nothing is kept yet. Returns how many; *prev then
 * is the piece they are in. */
static uint32_t store(struct gw_tcp *t, struct conn *c, uint32_t *prev, uint32_t seq,
                      const uint8_t *p, uint32_t len)
{
    uint32_t n = 0;
    if (*prev != 0 && piece_end(piece_at(t, *prev)) == seq)
        n = fill(t, *prev, p, len);
    if (n == 0) {
        uint32_t i = new_piece(t, c, *prev, seq, len);
        if (i == 0)
            return 0;
        *prev = i;
        n = fill(t, i, p, len);
    }
    return n;
}

/* Keep what is new of [seq, seq + len). */
static void keep(struct gw_tcp *t, struct conn *c, uint32_t seq, const uint8_t *p, uint32_t len)
{
    struct cold *k = cold_of(t, c);
    uint32_t prev = 0, next = piece_first(t, k);
    if (next != 0 && seq_leq(piece_end(piece_at(t, k->kept_tail)), seq)) {
        prev = k->kept_tail;
        next = 0;
    }
    while (len > 0) {
        for (; next != 0 && seq_leq(piece_end(piece_at(t, next)), seq);
             next = piece_after(t, k, prev))
            prev = next;
        uint32_t n = len;
        if (next != 0) {
            const struct tcp_piece *q = piece_at(t, next);
            uint32_t edge = seq_leq(q->seq, seq) ? piece_end(q) : q->seq;
            n = edge - seq < len ? edge - seq : len;
        }
        if (next != 0 && seq_leq(piece_at(t, next)->seq, seq)) {
            COUNT(t, drop_text_duplicate);
            tcp_sack_note_duplicate(t, c, seq, seq + n);
        } else if ((n = store(t, c, &prev, seq, p, n)) == 0)
            return;
        seq += n;
        p += n;
        len -= n;
    }
}

/* Move rcv_nxt over the pieces that are no longer behind a gap. */
static void close_gap(struct gw_tcp *t, struct conn *c)
{
    struct cold *k = cold_of(t, c);
    for (uint32_t i = piece_first(t, k); i != 0; i = piece_after(t, k, i)) {
        const struct tcp_piece *p = piece_at(t, i);
        if (seq_lt(c->rcv_nxt, p->seq))
            return;
        if (seq_lt(c->rcv_nxt, piece_end(p))) {
            uint32_t n = piece_end(p) - c->rcv_nxt;
            c->rcv_nxt += n;
            GW_COUNT_ADD(t->counters.text_bytes_in, n);
        }
    }
}

/* Straight from the segment to the user; returns what the user took. */
static uint32_t pass_through(struct gw_tcp *t, struct conn *c, const uint8_t *p, uint32_t len)
{
    size_t n = t->up.data(t->up_ctx, conn_index(t, c), p, len);
    check(n <= len);
    if (conn_is_dead(c))
        return 0;
    c->rcv_nxt += (uint32_t)n;
    GW_COUNT_ADD(t->counters.text_bytes_in, n);
    if (n < len)
        c->flags |= CONN_PAUSED;
    return (uint32_t)n;
}

/* Drop what is kept of bytes that the user has got by another way. */
static void drop_covered(struct gw_tcp *t, struct conn *c)
{
    struct cold *k = cold_of(t, c);
    while (k->kept_tail != 0) {
        struct tcp_piece *p = piece_at(t, piece_first(t, k));
        if (!seq_lt(p->seq, c->rcv_nxt))
            return;
        uint32_t covered = seq_min(piece_end(p), c->rcv_nxt) - p->seq;
        p->seq += covered;
        p->off += covered;
        p->len -= covered;
        if (p->len > 0)
            return;
        drop_first(t, c);
    }
}

static bool user_is_waiting(const struct gw_tcp *t, const struct conn *c)
{
    if (c->flags & CONN_PAUSED)
        return false;
    return tcp_kept_unread(t, c) == 0;
}

/*
 * The next bytes never need memory when the user waits for them: else a limit filled by what is
 * behind a gap would keep the gap from being closed.
 */
void tcp_kept_receive(struct gw_tcp *t, struct conn *c, uint32_t seq, const uint8_t *p,
                      uint32_t len)
{
    if (seq == c->rcv_nxt && user_is_waiting(t, c)) {
        uint32_t n = pass_through(t, c, p, len);
        if (conn_is_dead(c))
            return;
        if (c->flags & CONN_KEPT)
            drop_covered(t, c);
        seq += n;
        p += n;
        len -= n;
    }
    if (len > 0)
        keep(t, c, seq, p, len);
    if (c->flags & CONN_KEPT) {
        close_gap(t, c);
        tcp_kept_deliver(t, c);
    }
}

void tcp_kept_deliver(struct gw_tcp *t, struct conn *c)
{
    struct cold *k = cold_of(t, c);
    while (tcp_kept_unread(t, c) > 0 && (c->flags & CONN_PAUSED) == 0) {
        struct tcp_piece *p = piece_at(t, piece_first(t, k));
        const uint8_t *block = gw_arena_ptr(t->cfg.arena, p->block);
        size_t n = t->up.data(t->up_ctx, conn_index(t, c), block + p->off, p->len);
        check(n <= p->len);
        if (conn_is_dead(c))
            return;
        if (n < p->len)
            c->flags |= CONN_PAUSED;
        p->seq += (uint32_t)n;
        p->off += (uint32_t)n;
        p->len -= (uint32_t)n;
        if (p->len == 0)
            drop_first(t, c);
    }
}

void tcp_kept_clear(struct gw_tcp *t, struct conn *c)
{
    struct cold *k = cold_of(t, c);
    while (k->kept_tail != 0)
        drop_first(t, c);
}
