/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the ledger from a place on: scans the store for events records, opens and unpacks them, and
 * hands the events on in order. Works in slices and never waits; one thread's, with its store client.
 */
#ifndef GW_CONTROL_LEDGER_READER_H
#define GW_CONTROL_LEDGER_READER_H

#include "../storage/keys.h"
#include "ledger_table.h"
#include "store_ops.h"

struct ledger_event {
    struct gw_event event;
    struct ledger_place place;
    uint64_t durable_us;
};

enum ledger_read {
    LEDGER_READ_MORE, /* call again */
    LEDGER_READ_WAIT, /* call again when a store operation has finished */
    LEDGER_READ_END,  /* all that is durable has been read */
    LEDGER_READ_FAILED,
};

struct ledger_reader {
    struct store_ops *ops;
    const struct gw_keyring *keys;
    struct gw_sealer *sealer;
    struct ledger_place next; /* the first event that has not been handed on */
    uint64_t damaged;         /* records that could not be opened or read, and were left out */
    uint64_t damaged_segment; /* of the last one */
    uint64_t gaps;            /* times that events were forgotten before it came to them */
    struct ledger_place gap_from; /* of the last one; it ended at `next` as it was then */
    uint64_t first_us;        /* when the first event that it came across was durable; 0: none yet */
    int rc;                   /* why it failed */
    /* what is being read */
    struct store_op op;
    uint8_t *buf;
    size_t cap, len, off;
    uint64_t scan_next;
    bool scanned;
    struct gw_event_reader events; /* of the record that is open, in buf */
    struct ledger_event event;     /* unpacked, and wanted by nobody yet: see `unpacked` */
    bool unpacked;
    uint64_t segment, durable_us;
    uint32_t ordinal; /* of the next event in the record */
};

void ledger_reader_init(struct ledger_reader *r, struct store_ops *ops,
                        const struct gw_keyring *keys, struct gw_sealer *sealer,
                        struct ledger_place from);
/* No operation of it may be under way. */
void ledger_reader_free(struct ledger_reader *r);

/* Up to max events to `take`, which returns false to stop before an event (it comes again). What they
 * point to is alive until the next call. After LEDGER_READ_END, a further call looks for what has been added. */
enum ledger_read ledger_reader_step(struct ledger_reader *r, unsigned max,
                                    bool (*take)(void *ctx, const struct ledger_event *e),
                                    void *ctx);

#endif
