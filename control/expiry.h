/* SPDX-License-Identifier: Apache-2.0 */
/* What is too old to be delivered: the age that is configured, by a clock that does not jump. */
#ifndef GW_CONTROL_EXPIRY_H
#define GW_CONTROL_EXPIRY_H

#include <stdbool.h>

#include "trusted_clock.h"

struct control;

struct expiry {
    struct trusted_clock clock;
    bool runs;         /* the clock does: its mark has been read */
    uint64_t mark_at_us; /* steady clock: it is to be kept then; UINT64_MAX: it is being */
    uint64_t before_us, behind_us; /* for the gauges */
};

/* Once: nothing expires until the clock's mark has been read. Control thread, as is what follows. */
void expiry_open(struct control *c);
/* Once an iteration. */
void expiry_work(struct control *c);

#endif
