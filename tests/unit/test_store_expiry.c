/* SPDX-License-Identifier: Apache-2.0 */
/* Finding spilled messages that are too old, and what becomes of their keys. */
#include "keys_rig.h"

/* A body that begins with the time of this letter. */
static void put_aged(struct keys_rig *k, unsigned n, uint64_t position, char letter)
{
    char text[12] = {0};
    memset(text, letter, sizeof(text) - 1);
    keys_put(k, n, position, text);
}

static uint64_t time_of(char letter)
{
    return 0x0101010101010101u * (uint64_t)letter;
}

static bool slice(struct keys_rig *k, struct gw_expiry *x, uint64_t before_us)
{
    struct gw_store_request r = {.op = GW_STORE_EXPIRED, .from = before_us, .data = x,
                                 .data_len = sizeof(*x)};
    struct gw_store_completion done;
    cr_assert_eq(rig_call(&k->store, &r, &done), 0);
    cr_assert_leq(x->count, GW_EXPIRED_MAX);
    return !x->ended;
}

/* All that one round finds, removed as it is found when `take`. */
static unsigned round_of(struct keys_rig *k, uint64_t before_us, bool take)
{
    static struct gw_expiry x;
    static struct rig_segment g;
    unsigned found = 0, slices = 0;
    bool more;
    x = (struct gw_expiry){0};
    do {
        more = slice(k, &x, before_us);
        cr_assert_lt(slices++, 1000, "a round ends");
        found += x.count;
        for (unsigned i = 0; take && i < x.count; i++) {
            uint8_t aad[GW_RECORD_AAD_BYTES];
            struct gw_position_range range = {x.found[i].position, x.found[i].position};
            rig_segment_begin(&g);
            struct gw_record_head *r = gw_segment_add(&g.w, GW_RECORD_REMOVE, &x.found[i].mailbox,
                                                      range.first, sizeof(range));
            memcpy(r + 1, &range, sizeof(range));
            gw_removal_aad(aad, &r->mailbox, r->position);
            keys_seal(k, r, aad);
            cr_assert_eq(rig_append(&k->store, &g, NULL), 0);
        }
    } while (more);
    return found;
}

KEYS_TEST(the_oldest_are_found_and_no_others)
{
    for (unsigned n = 1; n <= 3; n++) {
        keys_add_account(rig, n);
        put_aged(rig, n, 1, 'a');
        put_aged(rig, n, 2, n == 2 ? 'a' : 'm');
        put_aged(rig, n, 3, 'm');
    }
    cr_assert_eq(round_of(rig, time_of('z'), false), 0, "the log is young");
    rig_spill(&rig->store);
    cr_assert_eq(round_of(rig, time_of('a'), false), 0);
    cr_assert_eq(round_of(rig, time_of('b'), false), 4);
    cr_assert_eq(round_of(rig, time_of('z'), false), 9);
    cr_assert_eq(round_of(rig, time_of('b'), true), 4);
    cr_assert_eq(round_of(rig, time_of('b'), true), 0);
    for (int i = 0; i < 2; i++) {
        keys_assert_mailbox(rig, 1, 2, "2:mmmmmmmmmmm 3:mmmmmmmmmmm ");
        keys_assert_mailbox(rig, 2, 1, "3:mmmmmmmmmmm ");
        keys_kill(rig);
    }
    cr_assert_eq(round_of(rig, time_of('b'), false), 0);
}

/* Many mailboxes and many messages of one: more than a slice looks at. */
KEYS_TEST(a_round_comes_to_every_mailbox)
{
    enum { ACCOUNTS = 300, DEEP = 400 };
    for (unsigned n = 1; n <= ACCOUNTS; n++) {
        keys_add_account(rig, n);
        put_aged(rig, n, 1, n % 3 == 0 ? 'a' : 'm');
    }
    for (uint64_t p = 2; p <= DEEP; p++)
        put_aged(rig, 3, p, 'a');
    rig_spill(&rig->store);
    cr_assert_eq(round_of(rig, time_of('b'), false), ACCOUNTS / 3 + DEEP - 1);
    cr_assert_eq(round_of(rig, time_of('b'), true), ACCOUNTS / 3 + DEEP - 1);
    keys_kill(rig);
    cr_assert_eq(round_of(rig, time_of('z'), false), ACCOUNTS - ACCOUNTS / 3);
}

/* One that does not open says nothing of its age: what is behind it is found. */
KEYS_TEST(what_does_not_open_is_passed_over)
{
    static struct rig_segment g;
    keys_add_account(rig, 1);
    rig_segment_begin(&g);
    keys_message(rig, &g, 1, 1, "aaaaaaaaaa")->tag[0] ^= 1;
    cr_assert_eq(rig_append(&rig->store, &g, NULL), 0);
    put_aged(rig, 1, 2, 'a');
    rig_spill(&rig->store);
    cr_assert_eq(round_of(rig, time_of('b'), true), 1);
    struct gw_mailbox_count count = {0};
    struct gw_store_request r = {.op = GW_STORE_COUNT, .mailbox = keys_mailbox(1), .data = &count,
                                 .data_len = sizeof(count)};
    struct gw_store_completion done;
    cr_assert_eq(rig_call(&rig->store, &r, &done), 0);
    cr_assert_eq(count.messages, 1);
}

KEYS_TEST(many_in_a_row_are_removed_at_once)
{
    enum { ALL = 500 };
    keys_add_account(rig, 1);
    keys_add_account(rig, 2);
    for (uint64_t p = 1; p <= ALL; p++)
        put_aged(rig, 1, p, 'a');
    put_aged(rig, 2, 1, 'm');
    rig_spill(&rig->store);
    keys_take(rig, 1, 1, ALL - 1);
    for (int i = 0; i < 2; i++) {
        keys_assert_mailbox(rig, 1, 1, "500:aaaaaaaaaaa ");
        keys_assert_mailbox(rig, 2, 1, "1:mmmmmmmmmmm ");
        keys_kill(rig);
    }
}
