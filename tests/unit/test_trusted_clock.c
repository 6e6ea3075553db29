/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "../../control/trusted_clock.h"

#define SECOND UINT64_C(1000000)
#define DAY    (86400 * SECOND)
#define NOW    (UINT64_C(1700000000) * SECOND)

Test(trusted_clock, goes_with_a_good_wall_clock)
{
    struct trusted_clock c;
    trusted_clock_start(&c, NOW - 3600 * SECOND, NOW, 0);
    cr_assert_eq(c.now_us, NOW);
    for (uint64_t s = 1; s < 100; s++)
        cr_assert_eq(trusted_clock_tick(&c, NOW + s * SECOND, s * SECOND), NOW + s * SECOND);
}

Test(trusted_clock, a_jump_ahead_makes_it_twice_as_fast_and_no_more)
{
    struct trusted_clock c;
    trusted_clock_start(&c, 0, NOW, 0);
    uint64_t jump = 365 * DAY;
    for (uint64_t s = 1; s <= 3600; s++)
        cr_assert_eq(trusted_clock_tick(&c, NOW + jump + s * SECOND, s * SECOND), NOW + 2 * s * SECOND);
    /* Set right again: it waits nowhere. */
    cr_assert_eq(trusted_clock_tick(&c, NOW + 3601 * SECOND, 3601 * SECOND), NOW + 3601 * SECOND);
}

Test(trusted_clock, a_jump_back_is_followed_at_once)
{
    struct trusted_clock c;
    trusted_clock_start(&c, 0, NOW, 0);
    cr_assert_eq(trusted_clock_tick(&c, NOW - DAY, SECOND), NOW - DAY);
}

Test(trusted_clock, a_start_goes_on_a_day_ahead_at_most)
{
    struct trusted_clock c;
    trusted_clock_start(&c, NOW, NOW + 365 * DAY, 5);
    cr_assert_eq(c.now_us, NOW + DAY);
    cr_assert_eq(trusted_clock_tick(&c, NOW + 365 * DAY, 5 + SECOND), NOW + DAY + 2 * SECOND);
    trusted_clock_start(&c, NOW, NOW - DAY, 5);
    cr_assert_eq(c.now_us, NOW - DAY, "never ahead of the wall clock");
    trusted_clock_start(&c, 0, NOW, 5);
    cr_assert_eq(c.now_us, NOW, "nothing is known of a fresh store");
}
