/* SPDX-License-Identifier: Apache-2.0 */
#include "window.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "../dataplane/base/check.h"

/* Records are 8-byte aligned, so an offset has three bits to spare. */
#define ENTRY_DEAD  1u /* removed */
#define ENTRY_GONE  2u /* and settled: the entry is only waiting for its neighbours to leave */
#define ENTRY_FLAGS 7u

#define SLOTS_MIN          1024
#define SLOTS_MAX_AT_START (1u << 20)

int window_open(struct window *w, uint64_t bytes_max)
{
    *w = (struct window){.region = {.fd = -1}};
    uint64_t floor = 4 * (uint64_t)GW_SEGMENT_BYTES_MAX;
    int err = gw_region_open(&w->region, "store-window", bytes_max > floor ? bytes_max : floor,
                             GW_PAGES_SMALL);
    if (err)
        return err;
    w->cap = w->region.bytes;
    /* Touched now: a page fault later would be the commit thread's. */
    (void)madvise(w->region.base, w->region.bytes, MADV_POPULATE_WRITE);
    /* Sized for messages of half a KiB, so that it seldom grows while it serves. */
    w->mailbox_slots = SLOTS_MIN;
    while (w->mailbox_slots < SLOTS_MAX_AT_START && w->mailbox_slots < bytes_max / 512)
        w->mailbox_slots *= 2;
    w->mailboxes = calloc(w->mailbox_slots, sizeof(*w->mailboxes));
    if (w->mailboxes == NULL) {
        window_close(w);
        return -ENOMEM;
    }
    return 0;
}

static void free_entries(struct window *w)
{
    for (size_t i = 0; i < w->mailbox_slots && w->mailboxes != NULL; i++)
        if (w->mailboxes[i].count > 0 && w->mailboxes[i].cap > WINDOW_ENTRIES_INLINE)
            free(w->mailboxes[i].many);
}

void window_forget(struct window *w)
{
    free_entries(w);
    memset(w->mailboxes, 0, w->mailbox_slots * sizeof(*w->mailboxes));
    w->mailbox_count = w->held_first = w->held_count = 0;
    w->message_count = w->frozen_end = w->reserved_end = 0;
    atomic_store(&w->end, 0);
    atomic_store(&w->begin, 0);
}

void window_close(struct window *w)
{
    free_entries(w);
    free(w->mailboxes);
    free(w->held);
    gw_region_close(&w->region);
    w->mailboxes = NULL;
    w->held = NULL;
}

/* ---- the ring of bytes ---- */

/* Where a segment of len would start: it never wraps, what is left before the end is skipped. */
static uint64_t next_off(const struct window *w, uint32_t len)
{
    uint64_t at = w->reserved_end;
    return at % w->cap + len > w->cap ? at + w->cap - at % w->cap : at;
}

bool window_fits(const struct window *w, uint32_t len)
{
    uint64_t begin = atomic_load_explicit(&w->begin, memory_order_acquire);
    return next_off(w, len) + len - begin <= w->cap;
}

void *window_reserve(struct window *w, uint32_t len, uint64_t *off)
{
    check(len <= GW_SEGMENT_BYTES_MAX && len % 8 == 0);
    if (!window_fits(w, len))
        return NULL;
    *off = next_off(w, len);
    w->reserved_end = *off + len;
    return window_at(w, *off);
}

void window_commit(struct window *w)
{
    atomic_store_explicit(&w->end, w->reserved_end, memory_order_relaxed);
}

void window_cancel(struct window *w)
{
    w->reserved_end = atomic_load_explicit(&w->end, memory_order_relaxed);
}

uint64_t window_bytes(const struct window *w)
{
    uint64_t begin = atomic_load_explicit(&w->begin, memory_order_relaxed);
    uint64_t end = atomic_load_explicit(&w->end, memory_order_relaxed);
    return end > begin ? end - begin : 0;
}

/* ---- segments held ---- */

struct window_held *window_hold(struct window *w, const struct window_segment *s, uint64_t now_us)
{
    if (w->held_count == w->held_cap) {
        size_t cap = w->held_cap == 0 ? 64 : w->held_cap * 2;
        struct window_held *held = malloc(cap * sizeof(*held));
        check(held != NULL);
        for (size_t i = 0; i < w->held_count; i++)
            held[i] = *window_held_at(w, i);
        free(w->held);
        w->held = held;
        w->held_cap = cap;
        w->held_first = 0;
    }
    size_t i = (w->held_first + w->held_count) & (w->held_cap - 1);
    w->held[i] = (struct window_held){.s = *s, .indexed_us = now_us};
    w->held_count++;
    return &w->held[i];
}

const struct window_held *window_held_at(const struct window *w, size_t i)
{
    check(i < w->held_count);
    return &w->held[(w->held_first + i) & (w->held_cap - 1)];
}

void window_release(struct window *w)
{
    const struct window_held *h = window_held_at(w, 0);
    uint64_t begin = h->s.off + h->s.len;
    w->held_first = (w->held_first + 1) & (w->held_cap - 1);
    w->held_count--;
    atomic_store_explicit(&w->begin, begin, memory_order_release);
}

/* ---- the index: mailboxes ---- */

/* A mailbox id is a part of a SHA-256 of a secret: uniform, and nobody's to choose. */
static size_t slot_of(const struct window *w, const struct gw_mailbox_id *id)
{
    uint64_t h;
    memcpy(&h, id->b, sizeof(h));
    return (size_t)h & (w->mailbox_slots - 1);
}

static size_t probe(const struct window *w, const struct gw_mailbox_id *id)
{
    size_t i = slot_of(w, id);
    while (w->mailboxes[i].count > 0 && memcmp(&w->mailboxes[i].id, id, sizeof(*id)) != 0)
        i = (i + 1) & (w->mailbox_slots - 1);
    return i;
}

struct window_mailbox *window_find(const struct window *w, const struct gw_mailbox_id *id)
{
    struct window_mailbox *m = &w->mailboxes[probe(w, id)];
    return m->count > 0 ? m : NULL;
}

void window_prefetch(const struct window *w, const struct gw_mailbox_id *id)
{
    __builtin_prefetch(&w->mailboxes[slot_of(w, id)], 1);
}

/* Of the mailbox at its own slot: one that was pushed on is not worth the search. */
void window_prefetch_entries(const struct window *w, const struct gw_mailbox_id *id)
{
    const struct window_mailbox *m = &w->mailboxes[slot_of(w, id)];
    if (m->count > 0 && m->cap > WINDOW_ENTRIES_INLINE)
        __builtin_prefetch(&m->many[m->first], 1);
}

static void grow(struct window *w)
{
    struct window_mailbox *old = w->mailboxes;
    size_t old_slots = w->mailbox_slots;
    w->mailbox_slots *= 2;
    w->mailboxes = calloc(w->mailbox_slots, sizeof(*w->mailboxes));
    check(w->mailboxes != NULL);
    for (size_t i = 0; i < old_slots; i++)
        if (old[i].count > 0)
            w->mailboxes[probe(w, &old[i].id)] = old[i];
    free(old);
}

static struct window_mailbox *find_or_make(struct window *w, const struct gw_mailbox_id *id)
{
    size_t i = probe(w, id);
    if (w->mailboxes[i].count > 0)
        return &w->mailboxes[i];
    if ((w->mailbox_count + 1) * 4 > w->mailbox_slots * 3) {
        grow(w);
        i = probe(w, id);
    }
    w->mailboxes[i] = (struct window_mailbox){.id = *id, .cap = WINDOW_ENTRIES_INLINE};
    w->mailbox_count++;
    return &w->mailboxes[i];
}

/* An empty mailbox leaves; those behind it that it had pushed on move back. */
static void leave(struct window *w, struct window_mailbox *m)
{
    if (m->cap > WINDOW_ENTRIES_INLINE)
        free(m->many);
    m->count = 0;
    w->mailbox_count--;
    size_t mask = w->mailbox_slots - 1;
    size_t hole = (size_t)(m - w->mailboxes);
    for (size_t i = (hole + 1) & mask; w->mailboxes[i].count > 0; i = (i + 1) & mask) {
        size_t home = slot_of(w, &w->mailboxes[i].id);
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        w->mailboxes[hole] = w->mailboxes[i];
        w->mailboxes[i].count = 0;
        hole = i;
    }
}

/* ---- the index: messages of a mailbox ---- */

static struct window_entry *entries(const struct window_mailbox *m)
{
    struct window_entry *base =
        m->cap > WINDOW_ENTRIES_INLINE ? m->many : (struct window_entry *)(uintptr_t)m->few;
    return base + m->first;
}

static bool entry_dead(const struct window_entry *e)
{
    return (e->off & ENTRY_DEAD) != 0;
}

/* Index of the first entry with position >= from; count when there is none. */
static uint32_t lower_bound(const struct window_mailbox *m, uint64_t from)
{
    const struct window_entry *e = entries(m);
    uint32_t low = 0, high = m->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (e[mid].position < from)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Room for one more at the end. */
static void make_room(struct window_mailbox *m)
{
    if (m->first + m->count < m->cap)
        return;
    struct window_entry *e = entries(m);
    if (m->first > 0 && m->count <= m->cap / 2) {
        memmove(e - m->first, e, m->count * sizeof(*e));
        m->first = 0;
        return;
    }
    uint32_t cap = m->cap * 2;
    struct window_entry *many = malloc(cap * sizeof(*many));
    check(many != NULL);
    memcpy(many, e, m->count * sizeof(*e));
    if (m->cap > WINDOW_ENTRIES_INLINE)
        free(m->many);
    m->many = many;
    m->first = 0;
    m->cap = cap;
}

static uint64_t entry_off(const struct window_entry *e)
{
    return e->off & ~(uint64_t)ENTRY_FLAGS;
}

static bool entry_frozen(const struct window *w, const struct window_entry *e)
{
    return entry_off(e) < w->frozen_end;
}

static void kill_entry(struct window *w, struct window_entry *e)
{
    struct gw_record_head *r = window_at(w, entry_off(e));
    check(r->position == e->position && r->kind == GW_RECORD_MESSAGE);
    if (!entry_frozen(w, e))
        r->kind = 0;
    e->off |= ENTRY_DEAD;
    w->message_count--;
}

void window_add(struct window *w, const struct gw_mailbox_id *id, uint64_t position, uint64_t off)
{
    struct window_mailbox *m = find_or_make(w, id);
    /* Positions rise, but for an append that is repeated after it failed. */
    uint32_t i = m->count;
    if (i > 0 && entries(m)[i - 1].position >= position)
        i = lower_bound(m, position);
    w->message_count++;
    if (i < m->count && entries(m)[i].position == position) {
        if (!entry_dead(&entries(m)[i]))
            kill_entry(w, &entries(m)[i]);
        entries(m)[i].off = off;
        return;
    }
    make_room(m);
    struct window_entry *e = entries(m);
    memmove(e + i + 1, e + i, (m->count - i) * sizeof(*e));
    e[i] = (struct window_entry){.position = position, .off = off};
    m->count++;
}

/* Nothing depends on it any more. */
static bool entry_idle(const struct window *w, const struct window_entry *e)
{
    return (e->off & ENTRY_GONE) != 0 || (entry_dead(e) && !entry_frozen(w, e));
}

/* Drops idle entries from both ends; the mailbox leaves with its last one. */
static void trim(struct window *w, struct window_mailbox *m)
{
    while (m->count > 0 && entry_idle(w, &entries(m)[0])) {
        m->count--;
        m->first++;
    }
    while (m->count > 0 && entry_idle(w, &entries(m)[m->count - 1]))
        m->count--;
    if (m->count == 0)
        leave(w, m);
}

uint64_t window_remove(struct window *w, const struct gw_mailbox_id *id, uint64_t first,
                       uint64_t last, uint64_t *top)
{
    struct window_mailbox *m = window_find(w, id);
    *top = 0;
    if (m == NULL)
        return 0;
    uint64_t removed = 0;
    struct window_entry *e = entries(m);
    for (uint32_t i = lower_bound(m, first); i < m->count && e[i].position <= last; i++) {
        if (entry_dead(&e[i]))
            continue;
        kill_entry(w, &e[i]);
        removed++;
        *top = e[i].position;
    }
    trim(w, m);
    return removed;
}

bool window_settle(struct window *w, const struct gw_mailbox_id *id, uint64_t position,
                   uint64_t off)
{
    struct window_mailbox *m = window_find(w, id);
    uint32_t i = m == NULL ? 0 : lower_bound(m, position);
    struct window_entry *e = m == NULL || i == m->count ? NULL : &entries(m)[i];
    /* A later append of the same position has taken its place. */
    if (e == NULL || e->position != position || entry_off(e) != off)
        return false;
    bool removed = entry_dead(e);
    if (!removed)
        w->message_count--;
    e->off |= ENTRY_DEAD | ENTRY_GONE;
    trim(w, m);
    return removed;
}

bool window_decides(const struct window_mailbox *m, uint64_t position)
{
    uint32_t i = lower_bound(m, position);
    const struct window_entry *e = &entries(m)[i];
    return i < m->count && e->position == position && (e->off & ENTRY_GONE) == 0;
}

uint64_t window_drop(struct window *w, const struct gw_mailbox_id *id, uint64_t *top)
{
    return window_remove(w, id, 0, UINT64_MAX, top);
}

const struct gw_record_head *window_next(const struct window *w, const struct window_mailbox *m,
                                         uint32_t *i)
{
    const struct window_entry *e = entries(m);
    while (*i < m->count && entry_dead(&e[*i]))
        (*i)++;
    if (*i == m->count)
        return NULL;
    const struct gw_record_head *r = window_at(w, entry_off(&e[*i]));
    check(r->position == e[*i].position && r->kind == GW_RECORD_MESSAGE);
    (*i)++;
    return r;
}

const struct gw_record_head *window_seek(const struct window *w, const struct window_mailbox *m,
                                         uint64_t from, uint32_t *i)
{
    *i = lower_bound(m, from);
    return window_next(w, m, i);
}

uint64_t window_last_position(const struct window_mailbox *m)
{
    return entries(m)[m->count - 1].position;
}
