/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inbound counts of sessions (XEP-0198's h), durable.
 *
 * A home writes a count into the events of the segment that fills (GW_EVENT_COUNTED), and the ack that
 * states it leaves when that segment is durable. Now and then, before it lies too far back in the log, a
 * count also goes into its session's record. Each segment says behind which one no count matters any more
 * (GW_EVENT_FLOOR): a start reads the events back to there, and finds the newest count of each session.
 */
#ifndef GW_XMPP_COUNTS_H
#define GW_XMPP_COUNTS_H

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "post.h"

struct gw_counted {
    struct gw_stream_name name;
    uint32_t h;
};

/* Of all lcores. */
struct gw_counts {
    /* By lcore: no count below this segment is of one of its sessions and in no record yet. Each is
     * written by its own; one that is read late is too low, and only makes a start read more. */
    _Atomic uint64_t floor[GW_LCORES_MAX];
    unsigned lcores;
    uint64_t found_floor; /* of the start before */
    /* What was found at start, by name; constant since. Owned. */
    struct gw_counted *found;
    size_t found_count;
};

/* By name: memcmp. */
static inline int gw_counted_order(const void *a, const void *b)
{
    return memcmp(((const struct gw_counted *)a)->name.b, ((const struct gw_counted *)b)->name.b,
                  sizeof(struct gw_stream_name));
}

/* What the log says of a session of the start before, or NULL. */
static inline const struct gw_counted *gw_counts_find(const struct gw_counts *c,
                                                      const struct gw_stream_name *name)
{
    struct gw_counted key = {.name = *name};
    return c->found_count == 0 ? NULL
                               : bsearch(&key, c->found, c->found_count, sizeof(key),
                                         gw_counted_order);
}

static inline uint64_t gw_counts_floor(const struct gw_counts *c)
{
    uint64_t low = UINT64_MAX;
    for (unsigned i = 0; i < c->lcores; i++) {
        uint64_t f = atomic_load_explicit(&c->floor[i], memory_order_relaxed);
        low = f < low ? f : low;
    }
    return low;
}

#endif
