/* SPDX-License-Identifier: Apache-2.0 */
/* A token bucket: how often something may be done for strangers. */
#ifndef GW_NET_RATE_H
#define GW_NET_RATE_H

#include <stdbool.h>
#include <stdint.h>

struct rate {
    uint32_t per_second;
    uint32_t burst;
    uint64_t credit_millionths; /* of one turn */
    uint64_t last_us;
};

static inline struct rate rate_full(uint32_t per_second, uint32_t burst, uint64_t now_us)
{
    return (struct rate){per_second, burst, (uint64_t)burst * 1000000, now_us};
}

/* True when one more is allowed now. */
static inline bool rate_take(struct rate *r, uint64_t now_us)
{
    uint64_t limit = (uint64_t)r->burst * 1000000;
    uint64_t passed_us = now_us - r->last_us;
    r->last_us = now_us;
    if (passed_us >= limit / r->per_second)
        r->credit_millionths = limit;
    else
        r->credit_millionths += passed_us * r->per_second;
    if (r->credit_millionths > limit)
        r->credit_millionths = limit;
    if (r->credit_millionths < 1000000)
        return false;
    r->credit_millionths -= 1000000;
    return true;
}

#endif
