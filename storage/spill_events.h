/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The EVENTS records of one spill. Many go into a sorted file of their own, by the spill thread: past
 * RocksDB's log and memtable, which would copy and write each byte three times. That file becomes
 * readable before the progress is noted, and after a crash in between the same records are also in the
 * log: so what is in the window is read there only, and the same keys are written again.
 */
#ifndef GW_STORAGE_SPILL_EVENTS_H
#define GW_STORAGE_SPILL_EVENTS_H

#include <stdbool.h>

#include "engine.h"

struct gw_store;
struct window_segment;
struct gw_record_head;

/* Where a record lies in the window, and whose it is. */
struct spill_event {
    uint64_t segment, durable_us, off;
    uint32_t index; /* among the segment's */
};

struct spill_events {
    struct spill_event *v;
    size_t count, cap;
    uint64_t bytes;
    bool filed; /* this spill's are in a file */
    uint8_t *buf;
};

void spill_events_open(struct spill_events *e);
void spill_events_close(struct spill_events *e);
void spill_events_clear(struct spill_events *e);

/* Storage thread: the next record of a segment, which lies at `off` of the window. */
void spill_events_add(struct spill_events *e, const struct window_segment *seg,
                      const struct gw_record_head *r, uint64_t off);
/* Whether a file is cheaper than a batch for them. Storage thread. */
bool spill_events_are_many(const struct gw_store *s);
/* The thread that prepares this spill: all into a sorted file. 0 or negative errno. */
int spill_events_write_file(struct gw_store *s);
/* The same, into a batch. */
void spill_events_put(struct gw_store *s, struct gw_batch *b);
/* Storage thread: into the batch that lets their segments go, those that were trimmed before or
 * meanwhile are forgotten. `end`: the first segment that stays. */
void spill_events_forget_trimmed(struct gw_store *s, struct gw_batch *b, uint64_t end);

#endif
