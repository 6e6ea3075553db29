/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A deterministic world for whole-system tests: one virtual clock, one seeded random source, and
 * links that delay, lose, repeat, reorder, damage and queue packets. Nothing in it knows what a
 * packet is. The same seed and the same calls give the same run, to the byte.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct world;

struct world_faults {
    uint32_t loss_ppm;
    uint32_t small_loss_ppm;  /* more of packets below 150 bytes: acknowledgements */
    uint32_t burst_ppm;       /* chance that a packet begins a burst of losses */
    uint32_t burst_packets;   /* mean length of a burst */
    uint32_t duplicate_ppm;
    uint32_t corrupt_ppm;     /* one to three bits flipped */
    uint32_t reorder_ppm;     /* chance of a long extra delay: later packets overtake */
    uint64_t reorder_us_max;
    uint64_t jitter_us_max;   /* small extra delay of every packet; overtaking happens too */
};

struct world_link {
    uint64_t delay_us;
    uint64_t rate_bytes_per_s; /* bottleneck; 0: none */
    uint32_t queue_bytes;      /* in front of it: what does not fit is lost */
    struct world_faults faults;
};

typedef void (*world_deliver_fn)(void *ctx, const uint8_t *packet, size_t len);

struct world *world_open(uint64_t seed, uint64_t now_us);
void world_close(struct world **w);

/* A number in 0 .. below-1. */
uint64_t world_random(struct world *w, uint64_t below);
bool world_chance(struct world *w, uint32_t ppm);

/* A one-way link; returns its number. */
unsigned world_add_link(struct world *w, const struct world_link *link, world_deliver_fn deliver,
                        void *ctx);
/* No more faults from now on; delay and bottleneck stay. */
void world_heal(struct world *w, unsigned link);
/* Copies the packet. */
void world_send(struct world *w, unsigned link, const uint8_t *packet, size_t len);

uint64_t world_now_us(const struct world *w);
/* When the next packet arrives; UINT64_MAX when none is under way. */
uint64_t world_next_us(const struct world *w);
/* Set the clock forward and deliver what has arrived by then, in order of arrival. */
void world_run_to(struct world *w, uint64_t now_us);
/* Packets under way. */
size_t world_in_flight(const struct world *w);

#endif
