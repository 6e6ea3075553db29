/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "../../dataplane/xmpp/share.h"

static const struct gw_quota_limits limits = {.messages = 100, .bytes = 10000};
#define HALF gw_share_limit(&limits, 50)

/* What the store says of these senders: mark 1 has most[0] messages, ... */
static struct gw_share counted(const unsigned *most, unsigned n, uint16_t mark,
                               const struct gw_share *before, uint32_t now_s)
{
    struct gw_share_limit max = HALF;
    struct gw_share s = {.count = {.cost_min = max.cost_min, .mark = mark}};
    for (uint16_t m = 1; m <= n; m++)
        for (unsigned i = 0; i < most[m - 1]; i++) {
            gw_marks_add(&s.count.marks, m, max.cost_min);
            s.count.messages++;
            s.count.of_mark += m == mark ? max.cost_min : 0;
        }
    gw_share_counted(&s, before, now_s);
    return s;
}

Test(share, less_than_a_share_in_all_is_nobodys_too_much)
{
    struct gw_share_limit max = HALF;
    cr_assert(gw_share_is_idle(&max, 49, 49));
    cr_assert(!gw_share_is_idle(&max, 50, 0));
    cr_assert(!gw_share_is_idle(&max, 1, 5000));
}

Test(share, a_sender_has_its_share_and_no_more)
{
    struct gw_share_limit max = HALF;
    cr_assert_eq(gw_share_ask(NULL, &max, 1, 10, 0), GW_SHARE_UNSURE);
    struct gw_share s = counted((unsigned[]){49}, 1, 1, NULL, 0);
    cr_assert_eq(gw_share_ask(&s, &max, 1, 10, 0), GW_SHARE_ROOM);
    gw_share_added(&s, &max, 1, 10);
    cr_assert_eq(gw_share_ask(&s, &max, 1, 10, 0), GW_SHARE_OVER);
    cr_assert_eq(gw_share_ask(&s, &max, 2, 10, 0), GW_SHARE_ROOM, "others are not harmed");
}

Test(share, large_messages_cost_what_they_take)
{
    struct gw_share_limit max = HALF;
    struct gw_share s = counted((unsigned[]){10}, 1, 1, NULL, 0);
    cr_assert_eq(gw_share_ask(&s, &max, 1, 4000, 0), GW_SHARE_ROOM);
    cr_assert_eq(gw_share_ask(&s, &max, 1, 4001, 0), GW_SHARE_OVER);
    cr_assert_eq(gw_share_ask(&s, &max, 2, 5001, 0), GW_SHARE_OVER, "more than any share");
}

/* Who was over stays so, whoever else is counted for, until enough has left. */
Test(share, a_flood_is_counted_for_once)
{
    struct gw_share_limit max = HALF;
    unsigned most[] = {50, 50};
    struct gw_share a = counted(most, 2, 1, NULL, 0);
    cr_assert_eq(gw_share_ask(&a, &max, 1, 1, 0), GW_SHARE_OVER);
    cr_assert_eq(gw_share_ask(&a, &max, 2, 1, 0), GW_SHARE_UNSURE);
    struct gw_share b = counted(most, 2, 2, &a, 0);
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(gw_share_ask(&b, &max, 1, 1, 0), GW_SHARE_OVER);
        cr_assert_eq(gw_share_ask(&b, &max, 2, 1, 0), GW_SHARE_OVER);
    }
    b.left = 5;
    cr_assert_eq(gw_share_ask(&b, &max, 1, 1, 0), GW_SHARE_OVER);
    b.left = 6;
    cr_assert_eq(gw_share_ask(&b, &max, 1, 1, 0), GW_SHARE_UNSURE);
}

Test(share, and_again_after_a_while)
{
    struct gw_share_limit max = HALF;
    struct gw_share s = counted((unsigned[]){50}, 1, 1, NULL, 100);
    uint32_t until_s = 100 + GW_QUOTA_RECOUNT_S;
    cr_assert_eq(gw_share_ask(&s, &max, 1, 1, until_s - 1), GW_SHARE_OVER);
    cr_assert_eq(gw_share_ask(&s, &max, 1, 1, until_s), GW_SHARE_UNSURE);
}

/* ---- marks ---- */

Test(marks, few_senders_are_known_exactly)
{
    struct gw_marks m = {0};
    for (uint16_t mark = 1; mark <= GW_MARKS_MAX; mark++)
        for (unsigned i = 0; i < mark; i++)
            gw_marks_add(&m, mark, 10);
    for (uint16_t mark = 1; mark <= GW_MARKS_MAX; mark++)
        cr_assert_eq(gw_marks_of(&m, mark), mark * 10u);
}

Test(marks, never_too_low_and_not_far_too_high)
{
    struct gw_marks m = {0};
    static uint64_t truth[1000];
    uint64_t random = 7, total = 0;
    gw_marks_add(&m, 0, 5);
    for (unsigned i = 0; i < 20000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint16_t mark = (uint16_t)(1 + (random >> 33) % (random >> 62 ? 999 : 5));
        uint64_t cost = 1 + (random >> 40) % 100;
        truth[mark] += cost;
        total += cost;
        gw_marks_add(&m, mark, cost);
    }
    for (uint16_t mark = 1; mark < 1000; mark++) {
        cr_assert_geq(gw_marks_of(&m, mark), truth[mark]);
        cr_assert_leq(gw_marks_of(&m, mark), truth[mark] + total / GW_MARKS_MAX);
    }
}
