/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a ledger in memory begins, kept in the store: the segment of the oldest message that it holds.
 *
 * What is in memory follows from the events behind that place alone, so nothing else has to be kept, and
 * no crash can make the two disagree: a cursor that is older than it could be only means reading more. It
 * is a sealed small record, read before it is written, since a rotation of keys may have written it anew.
 */
#ifndef GW_CONTROL_LEDGER_CURSOR_H
#define GW_CONTROL_LEDGER_CURSOR_H

#include "store_ops.h"

#define LEDGER_CURSOR_BYTES (sizeof(uint64_t) + GW_SMALL_OVERHEAD_BYTES)

struct ledger_cursor {
    struct store_op op; /* first */
    struct store_ops *ops;
    const struct gw_keyring *keys;
    struct gw_sealer *sealer;
    uint64_t segment, saved; /* under way, and durable */
    uint64_t errors;
    bool busy;
    uint8_t sealed[LEDGER_CURSOR_BYTES];
};

void ledger_cursor_init(struct ledger_cursor *c, struct store_ops *ops, const struct gw_keyring *keys,
                        struct gw_sealer *sealer);
/* Blocks. 0 and *segment, -ENOENT, or the store's error; -EBADMSG: it does not open. */
int ledger_cursor_load(struct ledger_cursor *c, uint64_t *segment);
/* Begins to make it durable; nothing while the last is under way. One that fails is counted, and the
 * caller comes again. Does not block. */
void ledger_cursor_save(struct ledger_cursor *c, uint64_t segment);

#endif
