/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that are too old are never delivered, and leave their mailboxes in the background.
 *
 * The first lcore asks the store for them, a slice at a time, and appends their removal with an event
 * for each, as for messages that were delivered: durable, in the ledger, done again after a crash. The
 * next slice is asked for when these are durable, so that none is found twice. What is too old is the
 * control thread's to say (cfg->expire_before_us), which minds a clock that jumps.
 */
#ifndef GW_XMPP_EXPIRY_H
#define GW_XMPP_EXPIRY_H

#include <stdbool.h>
#include <stdint.h>

#include "../../storage/store.h"

/* Slices of GW_EXPIRED_MAX records: 3,200 a second at most, mailboxes that are looked at included. */
#define GW_EXPIRY_SLICE_US 40000u
/* From the end of one round over all mailboxes to the next; less when messages live shorter. */
#define GW_EXPIRY_ROUND_US      3600000000u
#define GW_EXPIRY_ROUND_US_MIN  1000000u
#define GW_EXPIRY_ROUNDS_AN_AGE 64u

enum gw_expiry_phase {
    GW_EXPIRY_IDLE,
    GW_EXPIRY_ASKED,    /* the store looks for a slice */
    GW_EXPIRY_REMOVING, /* what it found is being appended */
    GW_EXPIRY_SETTLING, /* until that is durable */
};

struct gw_lcore;

struct gw_home_expiry {
    uint8_t phase;
    uint32_t at;        /* of what was found: the next to append */
    uint64_t next_us;   /* monotonic */
    uint64_t segment;   /* the last that anything was appended to */
    struct gw_expiry slice;
};

/* Before which a message was accepted that is too old now; 0: none is. */
uint64_t gw_expire_before_us(const struct gw_lcore *l);

/* One step; once a pass. Returns the work done. */
unsigned gw_home_expire(struct gw_lcore *l);
void gw_home_expiry_found(struct gw_lcore *l, const struct gw_store_completion *c);

#endif
