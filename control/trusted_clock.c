/* SPDX-License-Identifier: Apache-2.0 */
#include "trusted_clock.h"

void trusted_clock_start(struct trusted_clock *c, uint64_t mark_us, uint64_t wall_us,
                         uint64_t steady_us)
{
    uint64_t most_us = mark_us + TRUSTED_CLOCK_AWAY_US;
    c->now_us = mark_us == 0 || wall_us < most_us ? wall_us : most_us;
    c->steady_us = steady_us;
}

uint64_t trusted_clock_tick(struct trusted_clock *c, uint64_t wall_us, uint64_t steady_us)
{
    uint64_t most_us = c->now_us + 2 * (steady_us - c->steady_us);
    c->now_us = wall_us < most_us ? wall_us : most_us;
    c->steady_us = steady_us;
    return c->now_us;
}
