/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which Ethernet address a neighbour on the link has: one bounded table for ARP and NDP, with the
 * states of RFC 4861 section 7.3.2.
 *
 * What peers send can confirm an entry that we have asked for, or add one while there is room for it.
 * It can neither push one out, nor change an address in use: a claim makes us ask everybody, and
 * meanwhile the old address is used. The hash is keyed.
 *
 * A resolving entry keeps the latest frame for its neighbour (RFC 1122 section 2.3.2.2).
 */
#ifndef GW_NET_NEIGHBOUR_H
#define GW_NET_NEIGHBOUR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/ip.h"
#include "../base/siphash.h"
#include "net.h"
#include "rate.h"

/* Confirmed for this long; the time is drawn at start between these, so that hosts do not ask in step
 * (RFC 4861 section 6.3.2). */
#define NEIGHBOUR_REACHABLE_US_MIN 15000000ull
#define NEIGHBOUR_REACHABLE_US_MAX 45000000ull
/* What was heard of and not confirmed is used for this long before it is asked: who talks to us mostly
 * has our answers confirmed by then (DELAY_FIRST_PROBE_TIME). */
#define NEIGHBOUR_DELAY_US 5000000ull
/* Not used at all without confirmation after this long. */
#define NEIGHBOUR_STALE_US 600000000ull
/* How often one neighbour is asked, and how long the first answer is waited for; doubles each time.
 * One second is the shortest that RFC 1122 section 2.3.2.1 allows. */
#define NEIGHBOUR_ATTEMPTS      3
#define NEIGHBOUR_FIRST_WAIT_US 1000000ull
/* For all neighbours together: a request beyond it is left out, the next attempt may be sent. */
#define NEIGHBOUR_ASK_PER_SECOND 1000
#define NEIGHBOUR_ASK_BURST      256
#define NEIGHBOUR_PARKED_MAX     64

enum neighbour_state {
#define X(name, text) NEIGHBOUR_##name,
    GW_NET_NEIGHBOUR_STATES(X)
#undef X
};

/* Entries that wait for something are in one list for each length of waiting. */
#define NEIGHBOUR_WAIT_DELAY NEIGHBOUR_ATTEMPTS
#define NEIGHBOUR_WAITS      (NEIGHBOUR_ATTEMPTS + 1)

struct neighbour {
    struct gw_ip ip;
    uint8_t mac[6];
    uint8_t state;
    uint8_t wait;        /* attempt, from 0, or NEIGHBOUR_WAIT_DELAY */
    bool used;           /* since the eviction hand last passed */
    uint8_t parked;      /* slot + 1 */
    uint32_t chain;      /* next of the same bucket */
    uint32_t prev, next; /* of the same wait, earliest first */
    uint64_t heard_us;   /* confirmed, or while stale heard of */
    uint64_t due_us;
};

struct neighbour_parked {
    uint32_t len; /* 0: the slot is free */
    uint8_t *frame;
};

struct neighbours {
    struct neighbour *entries; /* 1 .. limit */
    uint32_t *buckets;
    uint32_t bucket_mask;
    uint32_t limit;
    uint32_t count;
    uint32_t free_head; /* chained by `chain` */
    uint32_t hand;      /* of the eviction clock */
    uint32_t recent;    /* the last one found, or 0 */
    uint32_t first[NEIGHBOUR_WAITS], last[NEIGHBOUR_WAITS];
    uint64_t reachable_us;
    struct gw_sipkey key;
    struct rate asks;
    struct neighbour_parked parked[NEIGHBOUR_PARKED_MAX];
    uint8_t *parked_bytes;
    uint32_t parked_frame_bytes;
};

int neighbours_open(struct neighbours *t, uint32_t limit, const struct gw_sipkey *key,
                    uint32_t frame_bytes, uint64_t now_us);
void neighbours_close(struct neighbours *t);

/* The Ethernet address of a neighbour that a frame is to be sent to, valid until the next call; or
 * NULL when it is not known yet: then it is being asked for, and *entry is for neighbour_park. */
const uint8_t *neighbour_use(struct gw_net *n, uint64_t now_us, const struct gw_ip *ip,
                             uint32_t *entry);
/* Room for a frame of `len` bytes (at most frame_bytes) that leaves when the entry is resolved, its
 * destination address filled in then. Takes the place of an earlier one. NULL: no room. */
uint8_t *neighbour_park(struct gw_net *n, uint32_t entry, uint32_t len);

/* An answer to us. `mac` may be NULL where the answer names none (RFC 4861 section 7.2.4): then the
 * address that was asked is confirmed. Without `override` it does not replace another address (section
 * 7.2.5). False when it was not asked for: then nothing changes. */
bool neighbour_answered(struct gw_net *n, uint64_t now_us, const struct gw_ip *ip,
                        const uint8_t *mac, bool override);
/* What a neighbour has said of itself when it asked for us. */
void neighbour_heard(struct gw_net *n, uint64_t now_us, const struct gw_ip *ip,
                     const uint8_t mac[6]);
/* Somebody says, unasked, that a neighbour has this address: ask, if we know another one. */
void neighbour_doubt(struct gw_net *n, uint64_t now_us, const struct gw_ip *ip,
                     const uint8_t mac[6]);

void neighbours_advance(struct gw_net *n, uint64_t now_us);
uint64_t neighbours_next_deadline_us(const struct neighbours *t);

#endif
