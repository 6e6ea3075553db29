/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removals of spilled messages, gathered, so that their tombstones are written thousands at a time.
 *
 * Each write of a range tombstone makes RocksDB sort all those of its memtable anew for the next reader,
 * and what one client confirms comes in several pieces, which are one range in the end. Nothing is lost
 * by waiting: a REMOVE stays in the log until its segment is spilled, and before a spill begins they are
 * written. Who wants to read one of these mailboxes has them written first, too.
 *
 * Of the storage thread.
 */
#ifndef GW_STORAGE_REMOVALS_H
#define GW_STORAGE_REMOVALS_H

#include <stdbool.h>
#include <stdint.h>

#include "segment.h"

struct gw_store;

/* As many are written within some milliseconds. */
#define REMOVALS_MAX 4096u

struct removal {
    struct gw_mailbox_id mailbox;
    uint64_t first, last;
};

struct removals {
    struct removal all[REMOVALS_MAX];
    uint16_t slots[2 * REMOVALS_MAX]; /* by mailbox, open addressing: index + 1 into all */
    unsigned count;
};

/* Positions first .. last of a mailbox; last is not UINT64_MAX. False: it is full, write them first. */
bool removals_add(struct removals *x, const struct gw_mailbox_id *mailbox, uint64_t first,
                  uint64_t last);
bool removals_has(const struct removals *x, const struct gw_mailbox_id *mailbox);
void removals_forget(struct removals *x);
/* All of them are written, in the order of keys. After an error the store has failed. */
void removals_flush(struct gw_store *s);

/* Into the batch of the store: one tombstone for positions first .. last, last not UINT64_MAX. */
void removals_put_range(struct gw_store *s, const struct gw_mailbox_id *mailbox, uint64_t first,
                        uint64_t last);

#endif
