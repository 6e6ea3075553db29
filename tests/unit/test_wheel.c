/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "../../dataplane/base/wheel.h"

enum { NODES = 1000 };

static struct {
    uint32_t owner_state;
    struct gw_wheel_node node;
} owners[NODES + 1];
static struct gw_wheel wheel;

static void open_wheel(uint64_t now_us)
{
    memset(owners, 0, sizeof(owners));
    gw_wheel_init(&wheel, &owners[0].node, sizeof(owners[0]), now_us);
}

/* As an owner does: what came early is armed again. */
static uint32_t pop(uint64_t now_us)
{
    unsigned work = 100000;
    uint32_t i;
    while ((i = gw_wheel_pop(&wheel, now_us, &work)) != 0) {
        uint32_t tick = owners[i].node.tick;
        if (!gw_tick_before(gw_tick_now(now_us), tick))
            break;
        gw_wheel_set(&wheel, i, tick);
    }
    return i;
}

Test(wheel, fires_at_its_tick_and_not_before)
{
    open_wheel(1000000);
    cr_assert_eq(gw_wheel_next_us(&wheel), UINT64_MAX);
    static const uint64_t ahead_us[] = {1,       63,        64,         1000,          16383,
                                        16384,   16385,     500000,     4194304,       60000000,
                                        7200000000, 86400000000};
    uint64_t now = 1000000;
    for (size_t i = 0; i < sizeof(ahead_us) / sizeof(ahead_us[0]); i++) {
        uint64_t at = now + ahead_us[i];
        gw_wheel_set(&wheel, 7, gw_tick_at(at));
        cr_assert_eq(pop(at - 1), 0, "%zu: not early", i);
        cr_assert_leq(gw_wheel_next_us(&wheel), at + 63);
        now = (at + 63) & ~UINT64_C(63);
        cr_assert_eq(pop(now), 7, "%zu: when its tick has come", i);
        cr_assert_eq(pop(now), 0);
        cr_assert_eq(gw_wheel_next_us(&wheel), UINT64_MAX);
    }
}

Test(wheel, a_deadline_in_the_past_fires_at_once)
{
    open_wheel(5000000);
    gw_wheel_set(&wheel, 1, gw_tick_at(1000));
    cr_assert_eq(pop(5000000), 1);
}

Test(wheel, set_moves_and_cancel_disarms)
{
    open_wheel(0);
    gw_wheel_set(&wheel, 1, 100);
    gw_wheel_set(&wheel, 2, 100);
    gw_wheel_set(&wheel, 3, 100);
    gw_wheel_set(&wheel, 2, 300);
    gw_wheel_cancel(&wheel, 3);
    gw_wheel_cancel(&wheel, 3);
    cr_assert_eq(wheel.armed_count, 2);
    cr_assert_eq(pop(100 << GW_TICK_SHIFT), 1);
    cr_assert_eq(pop(299 << GW_TICK_SHIFT), 0);
    cr_assert_eq(pop(300 << GW_TICK_SHIFT), 2);
    cr_assert_eq(wheel.armed_count, 0);
}

Test(wheel, work_is_bounded_and_goes_on_where_it_stopped)
{
    open_wheel(0);
    for (uint32_t i = 1; i <= NODES; i++)
        gw_wheel_set(&wheel, i, 100000);
    uint64_t now = (uint64_t)100000 << GW_TICK_SHIFT;
    unsigned fired = 0, calls = 0;
    while (fired < NODES) {
        unsigned work = 10;
        while (gw_wheel_pop(&wheel, now, &work) != 0)
            fired++;
        cr_assert_leq(gw_wheel_next_us(&wheel) <= now || fired == NODES, true);
        cr_assert_lt(++calls, NODES, "each call makes progress");
    }
    cr_assert_geq(calls, NODES / 10);
}

/* Against a plain array: random arming, moving, cancelling and steps of time of all sizes. */
Test(wheel, agrees_with_a_plain_list)
{
    uint64_t now = UINT64_C(0xfffffff0) << GW_TICK_SHIFT; /* the 32-bit tick wraps on the way */
    open_wheel(now);
    static uint64_t at_tick[NODES + 1];
    unsigned seed = 3;
    unsigned fired = 0;
    for (int step = 0; step < 300000; step++) {
        uint32_t i = 1 + (uint32_t)rand_r(&seed) % NODES;
        if (rand_r(&seed) % 4 != 0) {
            uint64_t ahead = (uint64_t)rand_r(&seed) >> (rand_r(&seed) % 31);
            at_tick[i] = (now >> GW_TICK_SHIFT) + ahead / 4;
            gw_wheel_set(&wheel, i, (uint32_t)at_tick[i]);
        } else {
            at_tick[i] = 0;
            gw_wheel_cancel(&wheel, i);
        }
        if (step % 50 != 0)
            continue;
        now += (uint64_t)rand_r(&seed) >> (rand_r(&seed) % 31);
        uint32_t due;
        while ((due = pop(now)) != 0) {
            cr_assert_neq(at_tick[due], 0, "only what is armed");
            cr_assert_leq(at_tick[due], now >> GW_TICK_SHIFT, "never early");
            at_tick[due] = 0;
            fired++;
        }
        uint64_t least = UINT64_MAX;
        for (uint32_t k = 1; k <= NODES; k++)
            if (at_tick[k] != 0 && at_tick[k] < least)
                least = at_tick[k];
        cr_assert_gt(least, now >> GW_TICK_SHIFT, "nothing due is left");
        if (least != UINT64_MAX)
            cr_assert_leq(gw_wheel_next_us(&wheel), least << GW_TICK_SHIFT);
        cr_assert_gt(gw_wheel_next_us(&wheel), now & ~UINT64_C(63));
    }
    cr_assert_gt(fired, 1000);
}
