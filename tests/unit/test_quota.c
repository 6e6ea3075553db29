/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "../../dataplane/xmpp/quota.h"

static const struct gw_quota_limits limits = {.messages = 100, .bytes = 1000};

static void fill(struct gw_quota *q, unsigned messages, uint32_t bytes)
{
    for (unsigned i = 0; i < messages; i++)
        gw_quota_added(q, bytes);
}

Test(quota, an_empty_mailbox_takes_as_much_as_the_limit_says)
{
    struct gw_quota q = {0};
    fill(&q, 99, 1);
    cr_assert_eq(gw_quota_ask(&q, &limits, 1, 1), GW_QUOTA_ROOM);
    fill(&q, 1, 1);
    cr_assert_eq(gw_quota_ask(&q, &limits, 1, 1), GW_QUOTA_MESSAGES);
}

Test(quota, bytes_count_to_the_last_one)
{
    struct gw_quota q = {0};
    fill(&q, 9, 100);
    cr_assert_eq(gw_quota_ask(&q, &limits, 100, 1), GW_QUOTA_ROOM);
    cr_assert_eq(gw_quota_ask(&q, &limits, 101, 1), GW_QUOTA_BYTES);
    cr_assert_eq(gw_quota_ask(&q, &limits, UINT32_MAX, 1), GW_QUOTA_BYTES);
}

/* What expires leaves without a word. */
Test(quota, a_full_mailbox_is_counted_again_after_a_while)
{
    struct gw_quota q = {0};
    gw_quota_count_begins(&q, 1000);
    gw_quota_counted(&q, 100, 100);
    uint32_t until_s = 1000 + GW_QUOTA_RECOUNT_S;
    cr_assert_eq(gw_quota_ask(&q, &limits, 1, until_s - 1), GW_QUOTA_MESSAGES);
    cr_assert_eq(gw_quota_ask(&q, &limits, 1, until_s), GW_QUOTA_UNSURE);
    gw_quota_count_begins(&q, until_s);
    gw_quota_counted(&q, 99, 99);
    cr_assert_eq(gw_quota_ask(&q, &limits, 1, until_s), GW_QUOTA_ROOM);
}

/* What clients confirm may have left before: it makes no room, only doubt. */
Test(quota, a_removal_makes_nobody_sure)
{
    struct gw_quota q = {0};
    fill(&q, 100, 1);
    gw_quota_removed(&q, 1);
    cr_assert_eq(gw_quota_ask(&q, &limits, 1, 1), GW_QUOTA_UNSURE);
    gw_quota_count_begins(&q, 1);
    gw_quota_counted(&q, 100, 100);
    cr_assert_eq(gw_quota_ask(&q, &limits, 1, 1), GW_QUOTA_MESSAGES);
    gw_quota_removed(&q, 1);
    gw_quota_count_begins(&q, 1);
    gw_quota_counted(&q, 40, 40);
    cr_assert_eq(gw_quota_ask(&q, &limits, 1, 1), GW_QUOTA_ROOM);
}

Test(quota, a_full_mailbox_is_counted_again_when_a_sixteenth_has_left)
{
    struct gw_quota q = {0};
    gw_quota_counted(&q, 100, 100);
    gw_quota_removed(&q, 5);
    cr_assert_eq(gw_quota_ask(&q, &limits, 1, 1), GW_QUOTA_MESSAGES);
    gw_quota_removed(&q, 1);
    cr_assert_eq(gw_quota_ask(&q, &limits, 1, 1), GW_QUOTA_UNSURE);
}

Test(quota, what_leaves_while_it_is_counted_is_not_forgotten)
{
    struct gw_quota q = {0};
    gw_quota_counted(&q, 100, 100);
    gw_quota_removed(&q, 50);
    gw_quota_count_begins(&q, 1);
    gw_quota_removed(&q, 10);
    gw_quota_counted(&q, 100, 100);
    cr_assert_eq(gw_quota_ask(&q, &limits, 1, 1), GW_QUOTA_UNSURE);
}

Test(quota, new_limits_are_held_against_a_new_count)
{
    struct gw_quota q = {0};
    gw_quota_counted(&q, 100, 100);
    gw_quota_doubt(&q);
    gw_quota_removed(&q, UINT32_MAX);
    cr_assert_eq(gw_quota_ask(&q, &limits, 1, 1), GW_QUOTA_UNSURE);
}
