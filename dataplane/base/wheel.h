/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hierarchical timer wheel: arm, move, cancel and expire in constant time, whatever is armed.
 *
 * Nodes live inside the owner's slab elements and are named by the same 32-bit index (never 0, below
 * 2^31). One node an owner: it is armed for the earliest of the owner's deadlines, and may be left
 * armed for one that was since moved to later or cancelled (the owner looks again when it is handed
 * out: cheaper than moving it each time). One thread owns a wheel.
 *
 * Time is counted in ticks of 64 microseconds, kept as 32 bits and compared modulo 2^32: a deadline
 * may be at most 2^31 ticks (38 hours) ahead, and gw_wheel_pop must run at least that often.
 */
#ifndef GW_BASE_WHEEL_H
#define GW_BASE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#define GW_TICK_SHIFT       6
#define GW_WHEEL_LEVELS     4
#define GW_WHEEL_SLOTS      256
#define GW_TICKS_AHEAD_MAX  (UINT32_C(1) << 30)
#define GW_WHEEL_AHEAD_US   ((uint64_t)GW_TICKS_AHEAD_MAX << GW_TICK_SHIFT)

/* The tick that has come when the clock shows now_us. */
static inline uint32_t gw_tick_now(uint64_t now_us)
{
    return (uint32_t)(now_us >> GW_TICK_SHIFT);
}

/* The first tick that is not before at_us: a timer never fires early. */
static inline uint32_t gw_tick_at(uint64_t at_us)
{
    return (uint32_t)((at_us + (1u << GW_TICK_SHIFT) - 1) >> GW_TICK_SHIFT);
}

static inline bool gw_tick_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

struct gw_wheel_node {
    uint32_t next;
    uint32_t prev; /* 0: not armed; else the node before, or the slot whose head this is */
    uint32_t tick;
};

struct gw_wheel {
    uint8_t *nodes; /* node i is at nodes + i * stride */
    uint32_t stride;
    uint32_t armed_count;
    uint64_t tick; /* all before it has been handed out */
    uint64_t next; /* nothing is handed out before this tick */
    uint64_t occupied[GW_WHEEL_LEVELS][GW_WHEEL_SLOTS / 64];
    uint32_t heads[GW_WHEEL_LEVELS][GW_WHEEL_SLOTS];
};

/* `nodes` is where the node of index 0 would be. Zeroed nodes are not armed. */
void gw_wheel_init(struct gw_wheel *w, void *nodes, uint32_t stride, uint64_t now_us);
/* Arm node i, or move it. A tick that has passed fires at the next pop. */
void gw_wheel_set(struct gw_wheel *w, uint32_t i, uint32_t tick);
/* Disarm node i; nothing happens when it is not armed. */
void gw_wheel_cancel(struct gw_wheel *w, uint32_t i);
/* Take one node whose time may have come, disarmed, or 0. Never late, but early by up to a slot of the
 * level on which it lay: the owner looks, and arms it again when it is not due. Each step taken costs
 * one of *work; 0 is also returned when that is used up (gw_wheel_next_us then says at once). */
uint32_t gw_wheel_pop(struct gw_wheel *w, uint64_t now_us, unsigned *work);
/* No node is due before this time; UINT64_MAX when none is armed. May be too early, never late. */
uint64_t gw_wheel_next_us(const struct gw_wheel *w);

#endif
