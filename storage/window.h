/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The window: the tail of the commit log in memory, durable but not yet spilled.
 *
 * Segments lie in a ring of bytes that is reserved at start. The commit thread reserves room and
 * copies in, the storage thread indexes what became durable and gives room back from the other end:
 * a full ring is the back-pressure on commits. The index maps a mailbox to its messages by
 * position.
 */
#ifndef GW_STORAGE_WINDOW_H
#define GW_STORAGE_WINDOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../dataplane/base/region.h"
#include "segment.h"

/* A durable segment, as the commit thread hands it to the storage thread. */
struct window_segment {
    uint64_t number;
    uint64_t off; /* in the endless stream of bytes that the ring shows a part of */
    uint64_t durable_us;
    uint32_t len;
    uint32_t reserved;
};

struct window_entry {
    uint64_t position;
    uint64_t off; /* of the record, with flags in its three low bits */
};

#define WINDOW_ENTRIES_INLINE 2

/* One mailbox's messages in the window, by rising position. One cache line; a few lie within it. */
struct window_mailbox {
    struct gw_mailbox_id id;
    uint32_t count; /* 0: the slot is free */
    uint32_t first;
    uint32_t cap;
    uint32_t reserved;
    union {
        struct window_entry few[WINDOW_ENTRIES_INLINE];
        struct window_entry *many;
    };
};
_Static_assert(sizeof(struct window_mailbox) == 64, "one cache line");

/* A segment that the storage thread has indexed. */
struct window_held {
    struct window_segment s;
    uint64_t indexed_us;
    uint32_t events_off; /* of its first EVENTS record */
    uint32_t events_count;
};

struct window {
    struct gw_region region;
    uint64_t cap;

    /* commit thread */
    uint64_t reserved_end;

    /* both; each written by one */
    _Alignas(64) _Atomic uint64_t end;   /* commit: of the last durable segment */
    _Alignas(64) _Atomic uint64_t begin; /* storage: of the oldest segment not yet spilled */

    /* storage thread */
    struct window_held *held; /* a ring, oldest at held_first */
    size_t held_first, held_count, held_cap;
    struct window_mailbox *mailboxes; /* open addressing, a power of two */
    size_t mailbox_count, mailbox_slots;
    uint64_t message_count; /* not removed */
    /* Records before this are being spilled: their bytes are read by another thread, and what is
     * removed of them meanwhile stays in the index until it is settled. 0: none. */
    uint64_t frozen_end;
};

/* Room for bytes_max of segments, and at least for a few of the largest. */
int window_open(struct window *w, uint64_t bytes_max);
void window_close(struct window *w);
/* As it was when it was opened. Neither thread may use it meanwhile. */
void window_forget(struct window *w);

/* ---- commit thread ---- */

/* Room for len bytes behind what is reserved already; NULL when the ring is full. */
void *window_reserve(struct window *w, uint32_t len, uint64_t *off);
/* Whether window_reserve would find room. */
bool window_fits(const struct window *w, uint32_t len);
/* What was reserved is durable and will be handed over, or is given up. */
void window_commit(struct window *w);
void window_cancel(struct window *w);

/* ---- storage thread ---- */

/* Bytes between the oldest segment that is held and the newest. */
uint64_t window_bytes(const struct window *w);

static inline void *window_at(const struct window *w, uint64_t off)
{
    return (uint8_t *)w->region.base + off % w->cap;
}

/* The caller fills in what it finds about events. */
struct window_held *window_hold(struct window *w, const struct window_segment *s, uint64_t now_us);
/* i-th oldest; i < held_count. */
const struct window_held *window_held_at(const struct window *w, size_t i);
/* Gives back the oldest; none of its messages may still be indexed. */
void window_release(struct window *w);

/* A message becomes known. One of the same position that came earlier is replaced: its append was
 * never acknowledged, or it would not have been sent again. */
void window_add(struct window *w, const struct gw_mailbox_id *id, uint64_t position, uint64_t off);
/* Removes positions first .. last; returns how many were there, *top the highest of them. */
uint64_t window_remove(struct window *w, const struct gw_mailbox_id *id, uint64_t first,
                       uint64_t last, uint64_t *top);
/* The message of a record is spilled and leaves the index. Whether it was removed since it was
 * frozen, so that its key must go too. */
bool window_settle(struct window *w, const struct gw_mailbox_id *id, uint64_t position,
                   uint64_t off);
/* Whether the window decides about this position: its key, if there is one, does not count. */
bool window_decides(const struct window_mailbox *m, uint64_t position);
/* Removes everything of a mailbox; returns how many, *top the highest position. */
uint64_t window_drop(struct window *w, const struct gw_mailbox_id *id, uint64_t *top);

/* Whoever walks over messages of many mailboxes asks for what the next ones touch: two cold lines each, of
 * which the second is known when the first is there. */
void window_prefetch(const struct window *w, const struct gw_mailbox_id *id);
void window_prefetch_entries(const struct window *w, const struct gw_mailbox_id *id);
#define WINDOW_PREFETCH_AHEAD 8u /* messages, */
#define WINDOW_ENTRIES_AHEAD  4u /* and for the second line */

struct window_mailbox *window_find(const struct window *w, const struct gw_mailbox_id *id);
/* First message of m with position >= from; NULL when there is none. *i goes to window_next. */
const struct gw_record_head *window_seek(const struct window *w, const struct window_mailbox *m,
                                         uint64_t from, uint32_t *i);
const struct gw_record_head *window_next(const struct window *w, const struct window_mailbox *m,
                                         uint32_t *i);
/* The highest position in the window. */
uint64_t window_last_position(const struct window_mailbox *m);

/* A message of the window that is removed or replaced: skipped by who walks the segment. */
static inline bool window_record_dead(const struct gw_record_head *r)
{
    return r->kind == 0;
}

#endif
