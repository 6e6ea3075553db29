/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wall clock that nobody can make jump ahead: what may destroy messages goes by it.
 *
 * It is never ahead of the wall clock, and moves at most twice as fast as the monotonic clock. Its time
 * is kept in the store, and a start goes on at most a day ahead of that. So a wall clock that is set a
 * year ahead does not expire all mail at once: mail lives half as long as it should while that lasts,
 * which is time for an operator to notice. A broker that was away for long only keeps mail longer.
 *
 * Pure functions; microseconds.
 */
#ifndef GW_CONTROL_TRUSTED_CLOCK_H
#define GW_CONTROL_TRUSTED_CLOCK_H

#include <stdint.h>

#define TRUSTED_CLOCK_AWAY_US 86400000000u

struct trusted_clock {
    uint64_t now_us;
    uint64_t steady_us; /* when it was set last */
};

/* mark_us: its time as it was kept; 0: none is known, and the wall clock is believed. */
void trusted_clock_start(struct trusted_clock *c, uint64_t mark_us, uint64_t wall_us,
                         uint64_t steady_us);
/* Returns its time. */
uint64_t trusted_clock_tick(struct trusted_clock *c, uint64_t wall_us, uint64_t steady_us);

#endif
