/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single producer, single consumer ring of fixed-size messages between one ordered pair of threads.
 *
 * A thin face on rte_ring's element interface, in memory of our own: it needs no EAL. Messages are
 * copied in and out. The producer publishes with release order, the consumer sees with acquire.
 */
#ifndef GW_BASE_RING_H
#define GW_BASE_RING_H

#include <stdbool.h>
#include <stdint.h>

struct gw_ring;

/* `count` slots (rounded up to a power of two) of `elem_bytes` (a multiple of 4). Start only. */
int gw_ring_open(struct gw_ring **out, const char *name, uint32_t elem_bytes, uint32_t count);
void gw_ring_free(struct gw_ring **r);

/* False when full. Producer only. */
bool gw_ring_push(struct gw_ring *r, const void *elem);
/* Takes up to max messages; returns how many. Consumer only. */
unsigned gw_ring_pop(struct gw_ring *r, void *elems, unsigned max);
/* Free slots: exact for the producer, a lower bound for nobody else. */
uint32_t gw_ring_room(const struct gw_ring *r);
uint32_t gw_ring_count(const struct gw_ring *r);

#endif
