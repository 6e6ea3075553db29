/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "../../dataplane/xmpp/repeats.h"

#define SECOND_US UINT64_C(1000000)

static struct gw_fingerprint print(uint64_t name, uint64_t content)
{
    return (struct gw_fingerprint){name, content};
}

static bool has(const struct gw_repeats *r, uint64_t name, uint64_t content)
{
    return gw_repeats_has(r, &(struct gw_fingerprint){name, content}, 99, 0);
}

Test(repeats, known_by_another_stream_within_the_window)
{
    struct gw_repeats r;
    struct gw_fingerprint f = print(1, 2);
    cr_assert_eq(gw_repeats_open(&r, 8, GW_PAGES_SMALL), 0);
    cr_assert_not(gw_repeats_has(&r, &f, 1, 0));
    gw_repeats_add(&r, &f, 7, 100 * SECOND_US);
    cr_assert(gw_repeats_has(&r, &f, 8, 0));
    cr_assert_not(gw_repeats_has(&r, &f, 7, 0), "the same stream says it twice on purpose");
    cr_assert(gw_repeats_has(&r, &f, 8, 100 * SECOND_US));
    cr_assert_not(gw_repeats_has(&r, &f, 8, 100 * SECOND_US + 1), "it is too old");
    gw_repeats_close(&r);
}

Test(repeats, another_content_under_the_same_id_is_another_message)
{
    struct gw_repeats r;
    cr_assert_eq(gw_repeats_open(&r, 8, GW_PAGES_SMALL), 0);
    gw_repeats_add(&r, &(struct gw_fingerprint){1, 2}, 7, SECOND_US);
    cr_assert_not(has(&r, 1, 3));
    cr_assert_not(has(&r, 2, 2));
    cr_assert(has(&r, 1, 2));
    gw_repeats_close(&r);
}

/* Against a plain list, with few names, so that buckets are long and the oldest leave. */
static void check_against_a_list(uint32_t newest)
{
    enum { LIMIT = 37, ADDED = 5000 };
    struct gw_repeats r;
    uint64_t seed = 11;
    static struct gw_fingerprint all[ADDED];
    cr_assert_eq(gw_repeats_open(&r, LIMIT, GW_PAGES_SMALL), 0);
    r.newest = newest;
    for (unsigned i = 0; i < ADDED; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        all[i] = print(seed >> 60, i);
        gw_repeats_add(&r, &all[i], 1, SECOND_US);
        unsigned oldest = i + 1 > LIMIT ? i + 1 - LIMIT : 0;
        cr_assert(has(&r, all[oldest].name, all[oldest].content));
        cr_assert(has(&r, all[i].name, all[i].content));
        if (oldest > 0)
            cr_assert_not(has(&r, all[oldest - 1].name, all[oldest - 1].content));
        cr_assert_eq(r.count, i + 1 - oldest);
    }
    gw_repeats_close(&r);
}

Test(repeats, remembers_the_newest_and_no_others)
{
    check_against_a_list(0);
}

Test(repeats, numbers_begin_again_after_2_32)
{
    check_against_a_list(UINT32_MAX - 1000);
}

Test(repeats, none_are_remembered_without_room)
{
    struct gw_repeats r;
    cr_assert_eq(gw_repeats_open(&r, 0, GW_PAGES_SMALL), 0);
    gw_repeats_add(&r, &(struct gw_fingerprint){1, 2}, 7, SECOND_US);
    cr_assert_not(has(&r, 1, 2));
    gw_repeats_close(&r);
}
