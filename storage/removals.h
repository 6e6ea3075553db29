/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removals of spilled messages, gathered, so that their tombstones are written thousands at a time.
 *
 * Each write of a range tombstone makes RocksDB sort all those of its memtable anew for the next reader,
 * and what one client confirms comes in several pieces, which are one range in the end. Nothing is lost
 * by waiting: a REMOVE stays in the log until its segment is spilled, and before a spill begins they are
 * handed to the writer. Who reads a mailbox leaves out what is gathered and what is being written: no
 * reader waits for a write. Each range takes more bytes of the window than here, so there are never more
 * than the window has room for.
 *
 * Of the storage thread.
 */
#ifndef GW_STORAGE_REMOVALS_H
#define GW_STORAGE_REMOVALS_H

#include <stdbool.h>
#include <stdint.h>

#include "segment.h"

struct gw_batch;
struct gw_store;

/* From so many on they are written, which takes some milliseconds. */
#define REMOVALS_MANY 4096u

struct removal {
    struct gw_mailbox_id mailbox;
    uint64_t first, last;
};

struct removal_set {
    struct removal *all;
    uint32_t *slots; /* two for each of cap; by mailbox, open addressing: index + 1 into all */
    unsigned count, cap;
};

struct removals {
    struct removal_set sets[2];
    unsigned filling; /* which of them; the other is being written or empty */
    struct gw_position_range *sorted; /* of the view that was taken last */
    unsigned sorted_cap;
};

/* What is not yet gone of one mailbox, in order. Valid until the next is taken. */
struct removals_view {
    const struct gw_position_range *ranges;
    unsigned count, at;
};

void removals_open(struct removals *x);
void removals_close(struct removals *x);
void removals_forget(struct removals *x);

/* Positions first .. last of a mailbox; last is not UINT64_MAX. */
void removals_add(struct gw_store *s, const struct gw_mailbox_id *mailbox, uint64_t first,
                  uint64_t last);
bool removals_are_many(const struct gw_store *s);

/* What was gathered goes to the writer, if what went before it is back and there is room. Whether
 * nothing is left. */
bool removals_flush(struct gw_store *s);
/* The same by the caller, who is alone with the engine. 0 or negative errno. */
int removals_write_now(struct gw_store *s);

/* Whether this one is not to be seen. */
bool removals_have(const struct gw_store *s, const struct gw_mailbox_id *mailbox, uint64_t position);
void removals_view(struct gw_store *s, const struct gw_mailbox_id *mailbox, struct removals_view *out);
/* The same, of positions that rise from call to call. *last: up to where. */
bool removals_view_has(struct removals_view *v, uint64_t position, uint64_t *last);

#endif
