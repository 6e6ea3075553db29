/* SPDX-License-Identifier: Apache-2.0 */
/* What every engine under the store must give: see storage/store.h. */
#include "store_rig.h"

/* ---- append, read, remove ---- */

STORE_TEST(a_fresh_mailbox_is_empty)
{
    rig_assert_mailbox(rig, 1, 0, "");
    uint64_t lowest, next;
    rig_state(rig, 1, &lowest, &next);
    cr_assert_eq(next, 1);
    cr_assert_eq(lowest, 1);
}

STORE_TEST(what_is_appended_is_read_in_order)
{
    rig_put(rig, 1, 1, "one");
    rig_put(rig, 2, 1, "other");
    rig_put(rig, 1, 2, "two");
    rig_put(rig, 1, 5, "five");
    rig_assert_mailbox(rig, 1, 0, "1:one 2:two 5:five ");
    rig_assert_mailbox(rig, 1, 2, "2:two 5:five ");
    rig_assert_mailbox(rig, 1, 3, "5:five ");
    rig_assert_mailbox(rig, 1, 6, "");
    rig_assert_mailbox(rig, 2, 0, "1:other ");
    cr_assert_eq(rig_next(rig, 1), 6);
    cr_assert_eq(rig_lowest(rig, 1), 1);
}

STORE_TEST(spilled_and_not_yet_spilled_are_read_as_one)
{
    rig_put(rig, 1, 1, "one");
    rig_put(rig, 1, 2, "two");
    rig_spill(rig);
    rig_assert_mailbox(rig, 1, 0, "1:one 2:two ");
    rig_put(rig, 1, 3, "three");
    rig_assert_mailbox(rig, 1, 0, "1:one 2:two 3:three ");
    rig_assert_mailbox(rig, 1, 2, "2:two 3:three ");
    cr_assert_eq(rig_next(rig, 1), 4);
    rig_spill(rig);
    rig_assert_mailbox(rig, 1, 0, "1:one 2:two 3:three ");
    cr_assert_eq(rig_next(rig, 1), 4);
    cr_assert_eq(rig_counter(gw_store_counters_storage(rig->store), "spilled"), 3);
}

STORE_TEST(removed_before_spill_never_becomes_a_key)
{
    rig_put(rig, 1, 1, "one");
    rig_put(rig, 1, 2, "two");
    rig_put(rig, 1, 3, "three");
    rig_take(rig, 1, 2, 2);
    rig_assert_mailbox(rig, 1, 0, "1:one 3:three ");
    rig_take(rig, 1, 1, 1);
    rig_assert_mailbox(rig, 1, 0, "3:three ");
    cr_assert_eq(rig_lowest(rig, 1), 3);
    rig_spill(rig);
    rig_assert_mailbox(rig, 1, 0, "3:three ");
    struct gw_counter_set c = gw_store_counters_storage(rig->store);
    cr_assert_eq(rig_counter(c, "spilled"), 1);
    cr_assert_eq(rig_counter(c, "removed"), 2);
}

STORE_TEST(removed_after_spill_is_gone)
{
    for (unsigned i = 1; i <= 5; i++)
        rig_put(rig, 1, i, "x");
    rig_spill(rig);
    rig_put(rig, 1, 6, "y");
    rig_take(rig, 1, 2, 3);
    rig_assert_mailbox(rig, 1, 0, "1:x 4:x 5:x 6:y ");
    /* Over the border between the two. */
    rig_take(rig, 1, 5, 6);
    rig_assert_mailbox(rig, 1, 0, "1:x 4:x ");
    cr_assert_eq(rig_counter(gw_store_counters_storage(rig->store), "removed"), 4);
    rig_reopen(rig);
    rig_assert_mailbox(rig, 1, 0, "1:x 4:x ");
    rig_spill(rig);
    rig_assert_mailbox(rig, 1, 0, "1:x 4:x ");
    rig_take(rig, 1, 1, UINT64_MAX);
    rig_assert_mailbox(rig, 1, 0, "");
}

/* Nobody looks which of so many are there; the rest of the mailbox and its neighbours stay. */
STORE_TEST(a_long_removal_takes_what_there_is)
{
    for (unsigned m = 0; m < 3; m++)
        for (unsigned i = 1; i <= 40; i += 3)
            rig_put(rig, m, i, "x");
    rig_spill(rig);
    rig_put(rig, 1, 43, "y");
    rig_take(rig, 1, 2, 39);
    rig_assert_mailbox(rig, 1, 0, "1:x 40:x 43:y ");
    rig_take(rig, 1, 5, 50);
    cr_assert_gt(rig_next(rig, 1), 50, "a position that was removed is not given again");
    rig_reopen(rig);
    rig_assert_mailbox(rig, 1, 0, "1:x ");
    rig_assert_mailbox(rig, 0, 30, "31:x 34:x 37:x 40:x ");
    rig_assert_mailbox(rig, 2, 30, "31:x 34:x 37:x 40:x ");
}

STORE_TEST(a_removal_of_nothing_does_nothing)
{
    rig_take(rig, 1, 1, 10);
    rig_put(rig, 1, 1, "one");
    rig_take(rig, 1, 2, UINT64_MAX);
    rig_take(rig, 2, 1, 1);
    rig_assert_mailbox(rig, 1, 0, "1:one ");
    cr_assert_geq(rig_next(rig, 1), 2);
    rig_spill(rig);
    rig_assert_mailbox(rig, 1, 0, "1:one ");
}

/* Removals wait for each other: what is read, spilled and opened anew meanwhile does not differ. */
STORE_TEST(removals_that_wait_are_seen_by_all)
{
    for (unsigned m = 1; m <= 3; m++)
        for (unsigned p = 1; p <= 30; p++)
            rig_put(rig, m, p, "x");
    rig_spill(rig);
    rig_take(rig, 1, 1, 7);
    rig_take(rig, 1, 8, 29); /* one range with the one before */
    rig_take(rig, 2, 2, 4);
    rig_take(rig, 2, 29, 30);
    cr_assert_eq(rig_count(rig, 1).messages, 1);
    rig_assert_mailbox(rig, 1, 0, "30:x ");
    rig_assert_mailbox(rig, 2, 28, "28:x ");
    rig_take(rig, 3, 1, 29);
    rig_reopen(rig); /* before anybody has read it: it is done again from the log */
    rig_assert_mailbox(rig, 3, 0, "30:x ");
    rig_take(rig, 3, 30, 30);
    rig_put(rig, 1, 31, "y");
    rig_spill(rig);
    rig_reopen(rig); /* not from the log any more */
    rig_assert_mailbox(rig, 3, 0, "");
    rig_assert_mailbox(rig, 1, 0, "30:x 31:y ");
    cr_assert_gt(rig_next(rig, 3), 30);
}

STORE_TEST(several_ranges_and_mailboxes_in_one_segment)
{
    static struct rig_segment g;
    rig_segment_begin(&g);
    for (unsigned p = 1; p <= 6; p++)
        for (unsigned m = 1; m <= 3; m++)
            rig_message(&g, m, p, "x");
    struct gw_mailbox_id id = rig_mailbox(2);
    struct gw_position_range ranges[] = {{1, 2}, {4, 4}, {6, 9}};
    struct gw_record_head *r = gw_segment_add(&g.w, GW_RECORD_REMOVE, &id, 0, sizeof(ranges));
    memcpy(r + 1, ranges, sizeof(ranges));
    cr_assert_eq(rig_append(rig, &g, NULL), 0);
    for (int pass = 0; pass < 3; pass++) {
        rig_assert_mailbox(rig, 1, 0, "1:x 2:x 3:x 4:x 5:x 6:x ");
        rig_assert_mailbox(rig, 2, 0, "3:x 5:x ");
        rig_assert_mailbox(rig, 3, 4, "4:x 5:x 6:x ");
        if (pass == 0)
            rig_kill(rig);
        else
            rig_spill(rig);
    }
}

STORE_TEST(a_record_that_alone_is_too_large_says_so)
{
    rig_put(rig, 1, 1, "0123456789");
    rig_put(rig, 1, 2, "b");
    for (int spilled = 0; spilled < 2; spilled++) {
        uint8_t buf[79];
        struct gw_store_request r = {
            .op = GW_STORE_READ, .mailbox = rig_mailbox(1), .data = buf, .data_len = sizeof(buf)};
        struct gw_store_completion done;
        cr_assert_eq(rig_call(rig, &r, &done), -EMSGSIZE);
        cr_assert_eq(done.len, 80);
        rig_spill(rig);
    }
}

/* ---- positions never go back ---- */

STORE_TEST(next_position_stays_above_what_was_removed)
{
    rig_put(rig, 1, 1, "one");
    rig_put(rig, 1, 2, "two");
    rig_take(rig, 1, 1, 2);
    uint64_t lowest, next;
    rig_state(rig, 1, &lowest, &next);
    cr_assert_geq(next, 3);
    cr_assert_eq(lowest, next);
    rig_kill(rig);
    cr_assert_geq(rig_next(rig, 1), 3);
    rig_spill(rig);
    cr_assert_geq(rig_next(rig, 1), 3);
    rig_kill(rig);
    cr_assert_geq(rig_next(rig, 1), 3);
}

STORE_TEST(next_position_stays_above_what_was_removed_after_spill)
{
    rig_put(rig, 1, 41, "x");
    rig_spill(rig);
    rig_take(rig, 1, 41, 41);
    cr_assert_geq(rig_next(rig, 1), 42);
    rig_kill(rig);
    cr_assert_geq(rig_next(rig, 1), 42);
    rig_spill(rig);
    rig_kill(rig);
    cr_assert_geq(rig_next(rig, 1), 42);
    rig_assert_mailbox(rig, 1, 0, "");
}

STORE_TEST(an_append_that_is_repeated_replaces_what_failed)
{
    rig_put(rig, 1, 1, "first");
    rig_put(rig, 1, 2, "second");
    rig_put(rig, 1, 1, "again");
    rig_assert_mailbox(rig, 1, 0, "1:again 2:second ");
    rig_kill(rig);
    rig_assert_mailbox(rig, 1, 0, "1:again 2:second ");
    rig_spill(rig);
    rig_put(rig, 1, 2, "late");
    rig_assert_mailbox(rig, 1, 0, "1:again 2:late ");
    rig_spill(rig);
    rig_assert_mailbox(rig, 1, 0, "1:again 2:late ");
}

/* ---- life after death ---- */

STORE_TEST(all_is_there_after_a_clean_end)
{
    rig_put(rig, 1, 1, "one");
    rig_spill(rig);
    rig_put(rig, 1, 2, "two");
    uint64_t next = gw_store_state(rig->store).segment_next;
    rig_reopen(rig);
    rig_assert_mailbox(rig, 1, 0, "1:one 2:two ");
    cr_assert_eq(gw_store_state(rig->store).segment_next, next);
    cr_assert_eq(rig->reports, 0, "%s", rig->last_report);
}

STORE_TEST(all_is_there_after_kill)
{
    rig_put(rig, 1, 1, "one");
    rig_spill(rig);
    rig_put(rig, 1, 2, "two");
    rig_take(rig, 1, 1, 1);
    uint64_t version;
    cr_assert_eq(rig_cas(rig, GW_NS_ACCOUNT, "alice@x", 0, "keys", &version), 0);
    rig_kill(rig);
    rig_assert_mailbox(rig, 1, 0, "2:two ");
    char value[16];
    uint64_t again;
    cr_assert_eq(rig_get(rig, GW_NS_ACCOUNT, "alice@x", value, sizeof(value), &again), 0);
    cr_assert_str_eq(value, "keys");
    cr_assert_eq(again, version);
    cr_assert_eq(rig->reports, 0, "%s", rig->last_report);
}

STORE_TEST(segment_numbers_never_repeat)
{
    uint64_t last = 0;
    for (int i = 0; i < 6; i++) {
        static struct rig_segment g;
        rig_segment_begin(&g);
        rig_message(&g, 1, (uint64_t)i + 1, "x");
        uint64_t number;
        cr_assert_eq(rig_append(rig, &g, &number), 0);
        cr_assert_gt(number, last);
        last = number;
        if (i % 3 != 0)
            rig_spill(rig);
        rig_kill(rig);
    }
}


/* Positions are not dense: what others have removed raises them. */
STORE_TEST(what_waits_is_counted)
{
    static struct rig_segment g;
    struct gw_mailbox_count c = rig_count(rig, 1);
    cr_assert_eq(c.messages, 0);
    cr_assert_eq(c.bytes, 0);
    rig_put(rig, 1, 3, "a");
    rig_put(rig, 1, 5000, "bb");
    rig_spill(rig);
    rig_put(rig, 1, 90000, "ccc");
    c = rig_count(rig, 1);
    cr_assert_eq(c.messages, 3, "spilled and not");
    cr_assert_eq(c.bytes, 3 * sizeof(struct gw_record_head) + 6);
    rig_segment_begin(&g);
    rig_remove(&g, 1, 5000, 5000);
    cr_assert_eq(rig_append(rig, &g, NULL), 0);
    for (int i = 0; i < 3; i++) {
        c = rig_count(rig, 1);
        cr_assert_eq(c.messages, 2);
        cr_assert_eq(c.bytes, 2 * sizeof(struct gw_record_head) + 4);
        if (i == 0)
            rig_spill(rig);
        else
            rig_kill(rig);
    }
    cr_assert_eq(rig_count(rig, 2).messages, 0);
}

STORE_TEST(counting_goes_on_where_a_slice_has_ended)
{
    enum { SEGMENTS = 10, EACH = 500 };
    static struct rig_segment g;
    for (unsigned i = 0; i < SEGMENTS; i++) {
        rig_segment_begin(&g);
        for (unsigned k = 0; k < EACH; k++)
            rig_message(&g, 1, 2 * (i * EACH + k) + 1, "x");
        cr_assert_eq(rig_append(rig, &g, NULL), 0);
        if (i == SEGMENTS / 2)
            rig_spill(rig);
    }
    struct gw_mailbox_count c = {0};
    struct gw_store_request r = {.op = GW_STORE_COUNT, .mailbox = rig_mailbox(1), .data = &c,
                                 .data_len = sizeof(c)};
    struct gw_store_completion done;
    cr_assert_eq(rig_call(rig, &r, &done), 0);
    cr_assert(done.more, "not all of so many in one go");
    cr_assert_lt(c.messages, SEGMENTS * EACH);
    c = rig_count(rig, 1);
    cr_assert_eq(c.messages, SEGMENTS * EACH);
    cr_assert_eq(c.bytes, SEGMENTS * EACH * (sizeof(struct gw_record_head) + 1));
}

STORE_TEST(a_log_larger_than_the_window_is_recovered)
{
    static struct rig_segment g;
    for (unsigned i = 0; i < 150; i++) {
        rig_segment_begin(&g);
        for (unsigned k = 0; k < 800; k++)
            rig_message(&g, k, i + 1, "x");
        cr_assert_eq(rig_append(rig, &g, NULL), 0);
    }
    rig->cfg.window_bytes_max = 1 << 20;
    rig_kill(rig);
    char got[8192];
    for (unsigned k = 0; k < 800; k += 37) {
        rig_read_in(rig, k, 0, 65536, got, sizeof(got));
        unsigned count = 0;
        for (const char *p = got; *p != '\0'; p++)
            count += *p == ' ';
        cr_assert_eq(count, 150);
        cr_assert_eq(rig_next(rig, k), 151);
    }
}

/* ---- group commit and back-pressure ---- */

STORE_TEST(one_pass_makes_all_of_all_clients_durable_in_order)
{
    enum { EACH = 5 };
    static struct rig_segment g[RIG_CLIENTS][EACH];
    for (unsigned c = 0; c < RIG_CLIENTS; c++)
        for (unsigned i = 0; i < EACH; i++) {
            rig_segment_begin(&g[c][i]);
            rig_message(&g[c][i], c, i + 1, "x");
            struct gw_store_request r = {.op = GW_STORE_APPEND, .tag = i, .data = g[c][i].buf};
            r.data_len = gw_segment_end(&g[c][i].w, 1);
            cr_assert_eq(gw_store_submit(rig->client[c], &r), 0);
        }
    struct gw_store_completion done[EACH + 1];
    cr_assert_eq(gw_store_poll(rig->client[0], done, EACH + 1), 0);
    cr_assert_eq(gw_store_commit_poll(rig->store), RIG_CLIENTS * EACH);
    cr_assert_eq(rig_counter(gw_store_counters_commit(rig->store), "commits"), 1);
    for (unsigned c = 0; c < RIG_CLIENTS; c++) {
        cr_assert_eq(gw_store_poll(rig->client[c], done, EACH + 1), EACH);
        for (unsigned i = 0; i < EACH; i++) {
            cr_assert_eq(done[i].status, 0);
            cr_assert_eq(done[i].tag, i);
            cr_assert(i == 0 || done[i].seq > done[i - 1].seq);
            cr_assert_eq(done[i].durable_us, rig->now_us);
        }
        rig_assert_mailbox(rig, c, 0, "1:x 2:x 3:x 4:x 5:x ");
    }
}

STORE_TEST(a_full_client_is_told_to_come_again)
{
    struct gw_store_request r = {.op = GW_STORE_MAILBOX, .mailbox = rig_mailbox(1)};
    for (unsigned i = 0; i < RIG_REQUESTS; i++)
        cr_assert_eq(gw_store_submit(rig->client[1], &r), 0);
    cr_assert_eq(gw_store_submit(rig->client[1], &r), -EAGAIN);
    rig_settle(rig);
    /* Its completions are its credit: room only when it has polled them. */
    cr_assert_eq(gw_store_submit(rig->client[1], &r), -EAGAIN);
    struct gw_store_completion done;
    cr_assert_eq(gw_store_poll(rig->client[1], &done, 1), 1);
    cr_assert_eq(gw_store_submit(rig->client[1], &r), 0);
    cr_assert_eq(gw_store_submit(rig->client[1], &r), -EAGAIN);
}

STORE_TEST(a_full_window_makes_commits_wait_and_loses_nothing)
{
    gw_store_free(&rig->store);
    rig->cfg.window_bytes_max = 65536; /* the ring holds 4 MiB all the same */
    rig_open(rig);
    static struct rig_segment g;
    rig_segment_begin(&g);
    struct gw_mailbox_id id = rig_mailbox(1);
    struct gw_record_head *big = gw_segment_add(&g.w, GW_RECORD_MESSAGE, &id, 1, 65000);
    memset(big + 1, 'x', 65000);
    struct gw_store_request r = {.op = GW_STORE_APPEND, .data = g.buf};
    unsigned sent = 0, done_count = 0, blocked = 0;
    struct gw_store_completion done[RIG_REQUESTS];
    while (done_count < 200) {
        while (sent < 200 && sent - done_count < RIG_REQUESTS) {
            big->position = sent + 1;
            r.data_len = gw_segment_end(&g.w, 1);
            cr_assert_eq(gw_store_submit(rig->client[0], &r), 0);
            sent++;
            /* Memory is the caller's until completion, so each goes alone. */
            if (gw_store_commit_poll(rig->store) == 0) {
                blocked++;
                do
                    cr_assert_gt(gw_store_storage_poll(rig->store), 0);
                while (gw_store_commit_poll(rig->store) == 0);
            }
        }
        done_count += gw_store_poll(rig->client[0], done, RIG_REQUESTS);
    }
    cr_assert_gt(blocked, 0);
    rig_settle(rig);
    cr_assert_leq(gw_store_state(rig->store).window_bytes, 2 * 65536);
    uint64_t lowest, next;
    rig_state(rig, 1, &lowest, &next);
    cr_assert_eq(lowest, 1);
    cr_assert_eq(next, 201);
}

/* ---- small records ---- */

STORE_TEST(cas_writes_only_what_it_knows)
{
    uint64_t v1, v2, v;
    char value[32];
    cr_assert_eq(rig_get(rig, GW_NS_ROSTER, "a", value, sizeof(value), &v), -ENOENT);
    cr_assert_eq(rig_cas(rig, GW_NS_ROSTER, "a", 5, "no", NULL), -ESTALE);
    cr_assert_eq(rig_cas(rig, GW_NS_ROSTER, "a", 0, "one", &v1), 0);
    cr_assert_neq(v1, 0);
    cr_assert_eq(rig_cas(rig, GW_NS_ROSTER, "a", 0, "no", NULL), -EEXIST);
    cr_assert_eq(rig_cas(rig, GW_NS_ROSTER, "a", v1 + 1, "no", NULL), -ESTALE);
    cr_assert_eq(rig_cas(rig, GW_NS_ROSTER, "a", v1, "two", &v2), 0);
    cr_assert_neq(v2, v1);
    cr_assert_eq(rig_cas(rig, GW_NS_ROSTER, "a", v1, "no", NULL), -ESTALE);
    cr_assert_eq(rig_get(rig, GW_NS_ROSTER, "a", value, sizeof(value), &v), 0);
    cr_assert_str_eq(value, "two");
    cr_assert_eq(v, v2);
    /* The same key in another namespace is another record. */
    cr_assert_eq(rig_get(rig, GW_NS_SESSION, "a", value, sizeof(value), NULL), -ENOENT);
    /* Deleted and made again, no old version fits. */
    cr_assert_eq(rig_cas(rig, GW_NS_ROSTER, "a", v2, "", NULL), 0);
    cr_assert_eq(rig_get(rig, GW_NS_ROSTER, "a", value, sizeof(value), NULL), -ENOENT);
    cr_assert_eq(rig_cas(rig, GW_NS_ROSTER, "a", v2, "no", NULL), -ESTALE);
    rig_kill(rig);
    cr_assert_eq(rig_cas(rig, GW_NS_ROSTER, "a", 0, "three", &v), 0);
    cr_assert(v != v1 && v != v2);
}

STORE_TEST(cas_of_one_pass_see_each_other)
{
    struct gw_store_request r = {.op = GW_STORE_CAS,
                                 .ns = GW_NS_META,
                                 .key = "k",
                                 .key_len = 1,
                                 .data = (void *)(uintptr_t) "v",
                                 .data_len = 1};
    for (uint64_t i = 0; i < 2; i++) {
        r.tag = i;
        cr_assert_eq(gw_store_submit(rig->client[i], &r), 0);
    }
    rig_settle(rig);
    struct gw_store_completion done[2];
    cr_assert_eq(gw_store_poll(rig->client[0], &done[0], 1), 1);
    cr_assert_eq(gw_store_poll(rig->client[1], &done[1], 1), 1);
    cr_assert_eq(done[0].status, 0);
    cr_assert_eq(done[1].status, -EEXIST);
    /* Delete, then make anew: three in one pass. */
    struct {
        uint64_t expect;
        uint32_t len;
        int status;
    } steps[] = {{done[0].seq, 0, 0}, {done[0].seq, 1, -ESTALE}, {0, 1, 0}, {0, 1, -EEXIST}};
    for (size_t i = 0; i < 4; i++) {
        r.from = steps[i].expect;
        r.data_len = steps[i].len;
        cr_assert_eq(gw_store_submit(rig->client[0], &r), 0);
    }
    rig_settle(rig);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(gw_store_poll(rig->client[0], done, 1), 1);
        cr_assert_eq(done[0].status, steps[i].status, "step %zu: %d", i, done[0].status);
    }
    cr_assert_eq(rig_counter(gw_store_counters_storage(rig->store), "small_writes"), 3);
}

STORE_TEST(a_value_too_large_for_the_buffer_says_how_large)
{
    char large[9001];
    memset(large, 'x', 9000);
    large[9000] = '\0';
    cr_assert_eq(rig_cas(rig, GW_NS_META, "k", 0, large, NULL), 0);
    char out[16];
    struct gw_store_request r = {.op = GW_STORE_GET,
                                 .ns = GW_NS_META,
                                 .key = "k",
                                 .key_len = 1,
                                 .data = out,
                                 .data_len = sizeof(out)};
    struct gw_store_completion done;
    cr_assert_eq(rig_call(rig, &r, &done), -EMSGSIZE);
    cr_assert_eq(done.len, 9000);
    char whole[9001];
    cr_assert_eq(rig_get(rig, GW_NS_META, "k", whole, sizeof(whole), NULL), 0);
    cr_assert_str_eq(whole, large);
}

STORE_TEST(scan_gives_all_in_order_in_pieces_of_any_size)
{
    char key[16], value[16];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "k%02u", (i * 37) % 100);
        snprintf(value, sizeof(value), "v%02u", (i * 37) % 100);
        cr_assert_eq(rig_cas(rig, GW_NS_ACCOUNT, key, 0, value, NULL), 0);
    }
    cr_assert_eq(rig_cas(rig, GW_NS_KEY, "k00x", 0, "foreign", NULL), 0);
    for (uint32_t piece = 24; piece < 4096; piece *= 2) {
        uint8_t buf[4096];
        char last[16] = "";
        unsigned count = 0;
        struct gw_store_completion done;
        do {
            struct gw_store_request r = {.op = GW_STORE_SCAN,
                                         .ns = GW_NS_ACCOUNT,
                                         .key = last,
                                         .key_len = (uint16_t)strlen(last),
                                         .data = buf,
                                         .data_len = piece};
            cr_assert_eq(rig_call(rig, &r, &done), 0);
            for (uint32_t off = 0; off < done.len;) {
                struct gw_scan_entry e;
                memcpy(&e, buf + off, sizeof(e));
                snprintf(key, sizeof(key), "k%02u", count);
                snprintf(value, sizeof(value), "v%02u", count);
                cr_assert_eq(e.key_len, 3);
                cr_assert_eq(e.len, sizeof(e) + 6);
                cr_assert_arr_eq(buf + off + sizeof(e), key, 3);
                cr_assert_arr_eq(buf + off + sizeof(e) + 3, value, 3);
                cr_assert_neq(e.version, 0);
                memcpy(last, key, sizeof(last));
                off += (uint32_t)gw_record_padded(e.len);
                count++;
            }
        } while (done.more);
        cr_assert_eq(count, 100);
    }
    uint8_t tiny[16];
    struct gw_store_request r = {
        .op = GW_STORE_SCAN, .ns = GW_NS_ACCOUNT, .data = tiny, .data_len = sizeof(tiny)};
    struct gw_store_completion done;
    cr_assert_eq(rig_call(rig, &r, &done), -EMSGSIZE);
    cr_assert_eq(done.len, 24);
}

/* ---- events ---- */

static uint64_t append_events(struct rig *rig, const char *a, const char *b)
{
    static struct rig_segment g;
    rig_segment_begin(&g);
    rig_message(&g, 1, rig_next(rig, 1), "x");
    rig_events(&g, a);
    if (b != NULL)
        rig_events(&g, b);
    uint64_t number;
    cr_assert_eq(rig_append(rig, &g, &number), 0);
    return number;
}

/* "segment:text segment:text " */
static void scan_events(struct rig *rig, uint64_t from, uint32_t piece, char *out, size_t cap,
                        uint64_t *next)
{
    uint8_t buf[4096];
    struct gw_store_completion done;
    size_t used = 0;
    out[0] = '\0';
    do {
        struct gw_store_request r = {
            .op = GW_STORE_SCAN_EVENTS, .from = from, .data = buf, .data_len = piece};
        cr_assert_eq(rig_call(rig, &r, &done), 0);
        for (uint32_t off = 0; off < done.len;) {
            struct gw_events_entry e;
            memcpy(&e, buf + off, sizeof(e));
            struct gw_record_head head;
            memcpy(&head, buf + off + sizeof(e), sizeof(head));
            cr_assert_eq(head.kind, GW_RECORD_EVENTS);
            cr_assert_eq(e.len, sizeof(e) + head.len);
            cr_assert_neq(e.durable_us, 0);
            used += (size_t)snprintf(out + used, cap - used, "%" PRIu64 ":%.*s ", e.segment,
                                     (int)(head.len - sizeof(head)),
                                     (const char *)buf + off + sizeof(e) + sizeof(head));
            off += (uint32_t)gw_record_padded(e.len);
        }
        from = done.next;
    } while (done.more);
    *next = done.next;
}

STORE_TEST(events_are_scanned_by_segment_spilled_or_not)
{
    uint64_t a = append_events(rig, "a", NULL);
    uint64_t b = append_events(rig, "b", "bb");
    rig_spill(rig);
    rig_put(rig, 1, rig_next(rig, 1), "a segment without events");
    uint64_t c = append_events(rig, "c", "cc");
    uint64_t d = append_events(rig, "d", NULL);
    char expected[256], got[256];
    for (int pass = 0; pass < 3; pass++) {
        for (uint32_t piece = 320; piece <= 4096; piece *= 2) {
            uint64_t next;
            snprintf(expected, sizeof(expected),
                     "%" PRIu64 ":a %" PRIu64 ":b %" PRIu64 ":bb %" PRIu64 ":c %" PRIu64
                     ":cc %" PRIu64 ":d ",
                     a, b, b, c, c, d);
            scan_events(rig, 0, piece, got, sizeof(got), &next);
            cr_assert_str_eq(got, expected);
            cr_assert_eq(next, d + 1);
            snprintf(expected, sizeof(expected), "%" PRIu64 ":cc ", c);
            scan_events(rig, c, piece, got, sizeof(got), &next);
            cr_assert_neq(strstr(got, expected), NULL);
            cr_assert_eq(strstr(got, "b"), NULL);
            scan_events(rig, d + 1, piece, got, sizeof(got), &next);
            cr_assert_str_empty(got);
            cr_assert_eq(next, d + 1);
        }
        if (pass == 0)
            rig_kill(rig);
        else
            rig_spill(rig);
    }
}

STORE_TEST(trimmed_events_are_forgotten_for_good)
{
    uint64_t a = append_events(rig, "a", NULL);
    append_events(rig, "b", NULL);
    rig_spill(rig);
    append_events(rig, "c", NULL);
    uint64_t d = append_events(rig, "d", NULL);
    char got[256];
    uint64_t next;
    struct gw_store_completion done;
    struct gw_store_request r = {.op = GW_STORE_TRIM_EVENTS, .from = a + 1};
    cr_assert_eq(rig_call(rig, &r, &done), 0);
    scan_events(rig, 0, 4096, got, sizeof(got), &next);
    cr_assert_eq(strstr(got, ":a"), NULL);
    cr_assert_neq(strstr(got, ":b"), NULL);
    /* Also those that are not spilled yet, and those to come are not touched. */
    r.from = UINT64_MAX;
    cr_assert_eq(rig_call(rig, &r, &done), 0);
    uint64_t e = append_events(rig, "e", NULL);
    char expected[64];
    snprintf(expected, sizeof(expected), "%" PRIu64 ":e ", e);
    for (int pass = 0; pass < 3; pass++) {
        scan_events(rig, 0, 4096, got, sizeof(got), &next);
        cr_assert_str_eq(got, expected);
        if (pass == 0)
            rig_spill(rig);
        else
            rig_kill(rig);
    }
    cr_assert_gt(e, d);
}

/* So many that they become a file, beside one of their messages. */
#define MANY_EVENTS 8

static void append_many_events(struct rig *rig, char *expected, size_t cap)
{
    size_t used = strlen(expected);
    for (unsigned i = 0; i < MANY_EVENTS; i++) {
        uint64_t number = append_events(rig, "first", i % 2 == 0 ? "second" : NULL);
        used += (size_t)snprintf(expected + used, cap - used, "%" PRIu64 ":first ", number);
        if (i % 2 == 0)
            used += (size_t)snprintf(expected + used, cap - used, "%" PRIu64 ":second ", number);
        cr_assert_lt(used, cap);
    }
}

static void assert_events(struct rig *rig, const char *expected, unsigned step)
{
    char got[4096];
    uint64_t next;
    scan_events(rig, 0, 512, got, sizeof(got), &next);
    cr_assert_str_eq(got, expected, "after %u steps of a spill: %s", step, got);
}

/* Their file is there before their segments go. */
STORE_TEST(events_are_there_once_at_every_step_of_a_spill)
{
    char expected[4096] = "";
    bool ended = false;
    for (unsigned steps = 0; !ended; steps++) {
        append_many_events(rig, expected, sizeof(expected));
        rig->now_us += rig->cfg.spill_after_us;
        for (unsigned i = 0; i < steps; i++) {
            gw_store_storage_poll(rig->store);
            assert_events(rig, expected, i);
        }
        ended = gw_store_state(rig->store).window_bytes == 0;
        rig_kill(rig);
        assert_events(rig, expected, steps);
        rig_spill(rig);
        assert_events(rig, expected, steps);
        cr_assert_lt(steps, 10);
    }
    rig_kill(rig);
    assert_events(rig, expected, 0);
    append_many_events(rig, expected, sizeof(expected));
    rig_spill(rig);
    cr_assert_eq(rig_counter(gw_store_counters_storage(rig->store), "event_files"), 1);
}

static uint64_t spilled_events(struct rig *rig)
{
    struct gw_store_stats stats;
    struct gw_store_request r = {.op = GW_STORE_STATS, .data = &stats, .data_len = sizeof(stats)};
    struct gw_store_completion done;
    cr_assert_eq(rig_call(rig, &r, &done), 0);
    unsigned i = 0;
    while (strcmp(stats.spaces[i].name, "events") != 0)
        cr_assert_lt(++i, stats.space_count);
    return stats.spaces[i].keys;
}

/* Their keys come after the trim, and go with their segments. */
STORE_TEST(events_trimmed_at_any_step_of_a_spill_leave_nothing)
{
    struct gw_store_completion done;
    bool ended = false;
    for (unsigned steps = 0; !ended; steps++) {
        char unused[4096] = "";
        append_many_events(rig, unused, sizeof(unused));
        rig->now_us += rig->cfg.spill_after_us;
        for (unsigned i = 0; i < steps; i++)
            gw_store_storage_poll(rig->store);
        ended = gw_store_state(rig->store).window_bytes == 0;
        struct gw_store_request r = {.op = GW_STORE_TRIM_EVENTS, .from = UINT64_MAX};
        cr_assert_eq(rig_call(rig, &r, &done), 0);
        assert_events(rig, "", steps);
        if (steps % 2 == 0)
            rig_kill(rig);
        rig_spill(rig);
        assert_events(rig, "", steps);
        /* The other engine only estimates. */
        if (strcmp(rig->engine, "mem") == 0)
            cr_assert_eq(spilled_events(rig), 0, "after %u steps", steps);
        cr_assert_lt(steps, 10);
    }
}

/* ---- a spill of thousands ---- */

#define MANY       4000u
#define TWO_ALIKE  3000u    /* of them are of two mailboxes, whose ids begin with the same two bytes, */
#define ALIKE(n)   ((n) % 2 * 65536)
#define OTHERS     500u     /* and the rest of so many others */

static unsigned mailbox_of_many(unsigned i)
{
    return i < TWO_ALIKE ? ALIKE(i) : 1 + i % OTHERS;
}

static void append_many_messages(struct rig *rig)
{
    static struct rig_segment g;
    for (unsigned i = 0; i < MANY;) {
        rig_segment_begin(&g);
        for (unsigned end = i + 200; i < end; i++)
            rig_message(&g, mailbox_of_many(i), i + 1, "one of many");
        cr_assert_eq(rig_append(rig, &g, NULL), 0);
    }
}

/* How many there are; each at a higher position than the one before. */
static unsigned count_in_order(struct rig *rig, unsigned mailbox)
{
    static uint8_t run[512 << 10];
    struct gw_store_request r = {
        .op = GW_STORE_READ, .mailbox = rig_mailbox(mailbox), .data = run, .data_len = sizeof(run)};
    struct gw_store_completion done;
    cr_assert_eq(rig_call(rig, &r, &done), 0);
    cr_assert_not(done.more);
    uint64_t last = 0;
    size_t off = 0;
    unsigned n = 0;
    const struct gw_record_head *record;
    for (; (record = gw_record_next(run, done.len, &off)) != NULL; n++) {
        cr_assert_gt(record->position, last);
        last = record->position;
        cr_assert_eq(mailbox_of_many((unsigned)last - 1), mailbox);
    }
    return n;
}

STORE_TEST(thousands_of_messages_are_spilled_in_order)
{
    append_many_messages(rig);
    rig_spill(rig);
    cr_assert_eq(rig_counter(gw_store_counters_storage(rig->store), "spilled"), MANY);
    rig_kill(rig);
    cr_assert_eq(count_in_order(rig, ALIKE(0)), TWO_ALIKE / 2);
    cr_assert_eq(count_in_order(rig, ALIKE(1)), TWO_ALIKE / 2);
    for (unsigned m = 1; m <= OTHERS; m++)
        cr_assert_eq(count_in_order(rig, m), (MANY - TWO_ALIKE) / OTHERS);
}

STORE_TEST(a_follower_is_told_of_what_is_durable)
{
    struct gw_store_completion done[4];
    rig_put(rig, 1, 1, "before");
    gw_store_follow(rig->client[2]);
    cr_assert_eq(gw_store_poll(rig->client[2], done, 4), 0);
    static struct rig_segment g;
    rig_segment_begin(&g);
    rig_message(&g, 1, 2, "x");
    uint64_t number;
    cr_assert_eq(rig_append(rig, &g, &number), 0);
    cr_assert_eq(gw_store_poll(rig->client[2], done, 4), 1);
    cr_assert_eq(done[0].op, GW_STORE_NOTE);
    cr_assert_eq(done[0].seq, number);
    cr_assert_eq(gw_store_poll(rig->client[2], done, 4), 0);
}

/* ---- dropped mailboxes ---- */

STORE_TEST(a_dropped_mailbox_is_gone_for_good)
{
    rig_put(rig, 1, 1, "spilled");
    rig_put(rig, 2, 1, "kept");
    rig_spill(rig);
    rig_put(rig, 1, 2, "in the log");
    rig_put(rig, 2, 2, "kept too");
    struct gw_store_request r = {.op = GW_STORE_DROP_MAILBOX, .mailbox = rig_mailbox(1)};
    struct gw_store_completion done;
    cr_assert_eq(rig_call(rig, &r, &done), 0);
    for (int pass = 0; pass < 4; pass++) {
        rig_assert_mailbox(rig, 1, 0, "");
        rig_assert_mailbox(rig, 2, 0, "1:kept 2:kept too ");
        cr_assert_geq(rig_next(rig, 1), 3);
        if (pass == 1)
            rig_spill(rig);
        else
            rig_kill(rig);
    }
    rig_put(rig, 1, rig_next(rig, 1), "anew");
    rig_kill(rig);
    char got[64];
    rig_read_in(rig, 1, 0, 4096, got, sizeof(got));
    cr_assert_neq(strstr(got, ":anew "), NULL);
}

/* ---- refusals ---- */

STORE_TEST(a_store_is_opened_once)
{
    struct gw_store *second;
    char err[256] = "";
    cr_assert_eq(gw_store_open(&second, &rig->cfg, err), -EBUSY, "%s", err);
    cr_assert_str_not_empty(err);
}

Test(store, an_engine_that_is_not_there_is_named)
{
    struct rig rig;
    rig_begin(&rig, "punched-cards");
    char err[256];
    cr_assert_eq(rig_try_open(&rig, err), -EINVAL);
    cr_assert_not_null(strstr(err, "punched-cards"));
    rig_end(&rig);
}
