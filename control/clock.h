/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks of the control threads; the dataplane is handed its time. */
#ifndef GW_CONTROL_CLOCK_H
#define GW_CONTROL_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_us(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static inline uint64_t clock_wall_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

static inline uint64_t clock_steady_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

#endif
