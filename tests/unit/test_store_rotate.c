/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that are replaced while the store is open, destroyed, and every record verified. */
#include "keys_rig.h"


static struct gw_walk walk;

static struct gw_walk *fresh_walk(void)
{
    memset(&walk, 0, sizeof(walk));
    return &walk;
}

/* The wrapped key's own bytes, at the end of the record. */
static void wrapped_bytes(struct keys_rig *rig, unsigned n, uint8_t out[32])
{
    uint8_t record[256];
    int len = keys_get_record(rig, n, record);
    cr_assert_gt(len, 32);
    memcpy(out, record + len - 32, 32);
}

static void verify_is_clean(struct keys_rig *rig, uint64_t messages)
{
    struct gw_walk *w = fresh_walk();
    keys_walk(rig, GW_STORE_VERIFY, 0, w);
    cr_assert_eq(w->damaged, 0, "%s", w->damages[0].what);
    cr_assert_eq(w->messages, messages, "%lu", (unsigned long)w->messages);
}

static void fill(struct keys_rig *rig, unsigned accounts, unsigned each)
{
    static struct rig_segment g;
    for (unsigned n = 0; n < accounts; n++)
        keys_add_account(rig, n);
    for (uint64_t p = 1; p <= each; p++) {
        rig_segment_begin(&g);
        for (unsigned n = 0; n < accounts; n++)
            keys_message(rig, &g, n, p, "message");
        cr_assert_eq(rig_append(&rig->store, &g, NULL), 0);
    }
}

static void expect(struct keys_rig *rig, unsigned accounts, unsigned each)
{
    static char expected[65536];
    size_t used = 0;
    for (uint64_t p = 1; p <= each; p++)
        used += (size_t)snprintf(expected + used, sizeof(expected) - used, "%" PRIu64 ":message ",
                                 p);
    for (unsigned n = 0; n < accounts; n++)
        keys_assert_mailbox(rig, n, each, expected);
}

/* ---- the master key ---- */

static void put_next(struct keys_rig *rig, uint8_t fill_byte)
{
    char next[128];
    snprintf(next, sizeof(next), "%s.next", rig->master);
    keys_write_file(next, fill_byte, 0600);
}

static void move_next(struct keys_rig *rig)
{
    char next[128];
    snprintf(next, sizeof(next), "%s.next", rig->master);
    cr_assert_eq(rename(next, rig->master), 0);
}

static void rotate_master(struct keys_rig *rig)
{
    char err[256] = "";
    struct gw_store_completion done;
    cr_assert_eq(gw_keyring_master_next(keys_of(rig), err), 0, "%s", err);
    keys_walk(rig, GW_STORE_ROTATE, GW_ROTATE_MASTER, fresh_walk());
    cr_assert_eq(walk.damaged, 0);
    cr_assert_eq(keys_upkeep(rig, GW_STORE_ERASE, 0, &done), 0);
    gw_keyring_master_settle(keys_of(rig));
}

KEYS_TEST(the_old_master_key_opens_nothing_after_its_rotation)
{
    uint8_t before[32], root[32], again[32], id[GW_MASTER_ID_BYTES], new_id[GW_MASTER_ID_BYTES];
    fill(rig, 200, 2);
    rig_spill(&rig->store);
    wrapped_bytes(rig, 5, before);
    gw_keyring_derive(keys_of(rig), "label", root);
    gw_keyring_masters(keys_of(rig), id);
    struct gw_store_completion done;
    cr_assert_eq(keys_upkeep(rig, GW_STORE_ERASE, 0, &done), 0);
    cr_assert(keys_on_disk(rig, before, sizeof(before)));
    put_next(rig, 9);
    rotate_master(rig);
    /* 200 accounts, the root and an incarnation. */
    cr_assert_eq(walk.changed, 202);
    cr_assert_eq(gw_keyring_masters(keys_of(rig), new_id), 1);
    cr_assert_neq(memcmp(id, new_id, sizeof(id)), 0);
    cr_assert_not(keys_on_disk(rig, before, sizeof(before)), "wrapped by the old one");
    gw_keyring_derive(keys_of(rig), "label", again);
    cr_assert_eq(memcmp(root, again, sizeof(root)), 0, "what is derived stays");
    keys_add_account(rig, 500);
    keys_put(rig, 500, 1, "new");
    expect(rig, 200, 2);

    /* The old file alone: nothing opens. */
    gw_store_free(&rig->store.store);
    gw_keyring_free(&rig->store.cfg.keys);
    char next[128], away[128], err[256] = "";
    snprintf(next, sizeof(next), "%s.next", rig->master);
    snprintf(away, sizeof(away), "%s.away", rig->master);
    cr_assert_eq(rename(next, away), 0);
    keys_open_ring(rig);
    cr_assert_eq(rig_try_open(&rig->store, err), -EKEYREJECTED, "%s", err);
    gw_keyring_free(&rig->store.cfg.keys);
    /* Both, and the new one in the old one's place. */
    cr_assert_eq(rename(away, next), 0);
    keys_open_ring(rig);
    rig_open(&rig->store);
    expect(rig, 200, 2);
    keys_assert_mailbox(rig, 500, 0, "1:new ");
    move_next(rig);
    keys_restart(rig);
    expect(rig, 200, 2);
    verify_is_clean(rig, 401);
}

/* Killed in the middle: both files are there, everything opens, and the rest is done later. */
KEYS_TEST(a_rotation_of_the_master_key_that_was_cut_short_goes_on)
{
    char err[256] = "";
    fill(rig, 300, 1);
    rig_spill(&rig->store);
    put_next(rig, 9);
    cr_assert_eq(gw_keyring_master_next(keys_of(rig), err), 0, "%s", err);
    struct gw_walk *w = fresh_walk();
    cr_assert_eq(keys_slice(rig, GW_STORE_ROTATE, GW_ROTATE_MASTER, w), 0);
    cr_assert_not(w->ended);
    keys_kill(rig);
    expect(rig, 300, 1);
    keys_add_account(rig, 999); /* by the new one: the root says so */
    cr_assert_eq(gw_keyring_master_next(keys_of(rig), err), -EEXIST);
    keys_walk(rig, GW_STORE_ROTATE, GW_ROTATE_MASTER, fresh_walk());
    cr_assert_gt(walk.changed, 0);
    cr_assert_lt(walk.changed, 300);
    move_next(rig);
    keys_restart(rig);
    expect(rig, 300, 1);
    verify_is_clean(rig, 300);
}

KEYS_TEST(without_a_next_master_key_there_is_no_rotation)
{
    char err[256] = "";
    cr_assert_eq(gw_keyring_master_next(keys_of(rig), err), -ENOENT);
    cr_assert_str_not_empty(err);
    put_next(rig, 7); /* the same one */
    cr_assert_eq(gw_keyring_master_next(keys_of(rig), err), -EEXIST);
}

/* ---- account keys ---- */

KEYS_TEST(account_keys_are_replaced_under_their_messages)
{
    uint8_t before[32], after[32];
    struct gw_store_completion done;
    fill(rig, 50, 10);
    rig_spill(&rig->store);
    wrapped_bytes(rig, 5, before);
    keys_walk(rig, GW_STORE_ROTATE, GW_ROTATE_ACCOUNTS, fresh_walk());
    cr_assert_eq(walk.changed, 50);
    cr_assert_eq(walk.messages, 500);
    cr_assert_eq(walk.damaged, 0);
    wrapped_bytes(rig, 5, after);
    cr_assert_neq(memcmp(before, after, sizeof(before)), 0);
    expect(rig, 50, 10);
    cr_assert_eq(keys_upkeep(rig, GW_STORE_ERASE, 0, &done), 0);
    cr_assert_not(keys_on_disk(rig, before, sizeof(before)));
    cr_assert(keys_on_disk(rig, after, sizeof(after)));
    keys_kill(rig);
    expect(rig, 50, 10);
    verify_is_clean(rig, 500);
}

/* One mailbox that takes several slices; killed after each of them. */
KEYS_TEST(a_rotation_of_account_keys_that_was_cut_short_goes_on)
{
    fill(rig, 3, 300);
    rig_spill(&rig->store);
    for (unsigned cut = 1; cut <= 4; cut++) {
        struct gw_walk *w = fresh_walk();
        for (unsigned i = 0; i < cut && !w->ended; i++)
            cr_assert_eq(keys_slice(rig, GW_STORE_ROTATE, GW_ROTATE_ACCOUNTS, w), 0);
        cr_assert_not(w->ended);
        keys_kill(rig);
        expect(rig, 3, 300);
        verify_is_clean(rig, 900);
    }
    keys_walk(rig, GW_STORE_ROTATE, GW_ROTATE_ACCOUNTS, fresh_walk());
    expect(rig, 3, 300);
}

/* What comes, goes and is spilled between two slices. */
KEYS_TEST(mailboxes_live_while_their_keys_are_replaced)
{
    fill(rig, 2, 300);
    rig_spill(&rig->store);
    struct gw_walk *w = fresh_walk();
    for (unsigned i = 0; !w->ended; i++) {
        cr_assert_eq(keys_slice(rig, GW_STORE_ROTATE, GW_ROTATE_ACCOUNTS, w), 0);
        if (i == 0) {
            keys_take(rig, 0, 1, 299);
            keys_take(rig, 1, 1, 299);
            keys_put(rig, 0, 301, "late");
            keys_put(rig, 1, 301, "late");
            rig_spill(&rig->store);
        }
        cr_assert_lt(i, 100u);
    }
    keys_assert_mailbox(rig, 0, 2, "300:message 301:late ");
    keys_assert_mailbox(rig, 1, 2, "300:message 301:late ");
    keys_restart(rig);
    keys_assert_mailbox(rig, 0, 2, "300:message 301:late ");
    verify_is_clean(rig, 4);
}

/* An account that goes in the middle of its own rotation does not come back. */
KEYS_TEST(an_account_that_is_deleted_while_its_key_is_replaced_is_gone)
{
    uint8_t record[256];
    fill(rig, 2, 300);
    rig_spill(&rig->store);
    struct gw_walk *w = fresh_walk();
    cr_assert_eq(keys_slice(rig, GW_STORE_ROTATE, GW_ROTATE_ACCOUNTS, w), 0);
    keys_drop_account(rig, 0);
    keys_drop_account(rig, 1);
    keys_walk(rig, GW_STORE_ROTATE, GW_ROTATE_ACCOUNTS, w);
    cr_assert_eq(keys_get_record(rig, 0, record), -ENOENT);
    cr_assert_eq(keys_get_record(rig, 1, record), -ENOENT);
    verify_is_clean(rig, 0);
}

/* What was spilled without a key gets one with the next rotation. */
KEYS_TEST(messages_under_an_incarnation_come_under_the_account_key)
{
    keys_put(rig, 1, 1, "one");
    rig_spill(&rig->store);
    keys_add_account(rig, 1);
    keys_assert_mailbox(rig, 1, 0, "1:one ");
    keys_walk(rig, GW_STORE_ROTATE, GW_ROTATE_ACCOUNTS, fresh_walk());
    keys_assert_mailbox(rig, 1, 1, "1:one ");
}

/* ---- incarnations ---- */

KEYS_TEST(an_incarnation_is_replaced_and_the_old_one_destroyed)
{
    struct gw_store_completion done;
    uint8_t old[sizeof(struct gw_wrapped_key)];
    uint8_t number[4] = {0, 0, 0, 1};
    struct gw_store_request get = {.op = GW_STORE_GET, .ns = GW_NS_KEY, .key = number,
                                   .key_len = 4, .data = old, .data_len = sizeof(old)};
    cr_assert_eq(gw_keyring_current(keys_of(rig)), 1);
    cr_assert_eq(rig_call(&rig->store, &get, &done), 0);
    fill(rig, 5, 3);
    keys_walk(rig, GW_STORE_ROTATE, GW_ROTATE_INCARNATION, fresh_walk());
    cr_assert_eq(walk.incarnation, 2);
    cr_assert_eq(gw_keyring_current(keys_of(rig)), 2);
    /* What is in the log opens, and what comes is under the new one. */
    keys_put(rig, 0, 4, "late");
    keys_assert_mailbox(rig, 0, 0, "1:message 2:message 3:message 4:late ");
    keys_walk(rig, GW_STORE_ROTATE, GW_ROTATE_SMALL, fresh_walk());
    cr_assert_eq(walk.changed, 5);
    cr_assert_eq(keys_upkeep(rig, GW_STORE_SPILL, 0, &done), 0);
    cr_assert_eq(gw_store_state(rig->store.store).window_bytes, 0);
    fresh_walk()->heads_only = true;
    keys_walk(rig, GW_STORE_VERIFY, 0, &walk);
    cr_assert_eq(walk.used[0] & 6, 4, "only the second is in use");
    walk.incarnation = 2;
    keys_walk(rig, GW_STORE_ROTATE, GW_ROTATE_RETIRE, &walk);
    cr_assert_eq(gw_keyring_incarnations(keys_of(rig)), 1);
    cr_assert_eq(rig_call(&rig->store, &get, &done), -ENOENT);
    cr_assert_eq(keys_upkeep(rig, GW_STORE_ERASE, 0, &done), 0);
    cr_assert_not(keys_on_disk(rig, old + sizeof(old) - 32, 32));
    /* A reader that got something under it just now can still open it, until the next one goes. */
    cr_assert_not_null(gw_keyring_key(keys_of(rig), 1));
    keys_walk(rig, GW_STORE_ROTATE, GW_ROTATE_RETIRE, fresh_walk());
    cr_assert_null(gw_keyring_key(keys_of(rig), 1));
    keys_restart(rig);
    cr_assert_null(gw_keyring_key(keys_of(rig), 1));
    cr_assert_eq(gw_keyring_current(keys_of(rig)), 3);
    keys_assert_mailbox(rig, 0, 4, "1:message 2:message 3:message 4:late ");
    verify_is_clean(rig, 16);
}

static int draw_incarnation(struct keys_rig *rig)
{
    struct gw_store_request r = {.op = GW_STORE_ROTATE, .from = GW_ROTATE_INCARNATION,
                                 .data = fresh_walk(), .data_len = sizeof(walk)};
    struct gw_store_completion done;
    return rig_call(&rig->store, &r, &done);
}

static void draw_on_a_bad_disk(struct keys_rig *rig)
{
    for (int i = 0; i < 3; i++) {
        gw_mem_set_faults(rig->store.disk, &(struct gw_mem_faults){.fail_at = 1, .fail_count = 1});
        cr_assert_eq(draw_incarnation(rig), -EIO);
        cr_assert_eq(gw_keyring_current(keys_of(rig)), 1);
        cr_assert_eq(gw_store_state(rig->store.store).condition, GW_STORE_CLOSED);
        for (int k = 0; k < 10; k++, rig->store.now_us += 1000000)
            rig_step(&rig->store);
        cr_assert_eq(gw_store_state(rig->store.store).condition, GW_STORE_OPEN);
    }
    int status = draw_incarnation(rig);
    cr_assert_eq(status, 0, "%d: %s", status, rig->store.last_report);
    cr_assert_eq(walk.incarnation, gw_keyring_current(keys_of(rig)));
    cr_assert_gt(walk.incarnation, 1);
    keys_put(rig, 0, 1, "late");
    keys_kill(rig);
    keys_assert_mailbox(rig, 0, 0, "1:late ");
}

/* Nobody knows whether the disk has the key, so its number is not given again. */
Test(keys_mem, an_incarnation_that_could_not_be_written_is_passed_over)
{
    keys_run("mem", draw_on_a_bad_disk);
}

KEYS_TEST(an_incarnation_that_events_need_stays)
{
    struct gw_store_completion done;
    static struct rig_segment g;
    uint8_t aad[GW_RECORD_AAD_BYTES];
    struct gw_mailbox_id none = {{0}};
    rig_segment_begin(&g);
    struct gw_record_head *r = gw_segment_add(&g.w, GW_RECORD_EVENTS, &none, 0, 6);
    memcpy(r + 1, "events", 6);
    gw_record_aad(aad, NULL, 0, GW_RECORD_EVENTS, false);
    keys_seal(rig, r, aad);
    cr_assert_eq(rig_append(&rig->store, &g, NULL), 0);
    keys_walk(rig, GW_STORE_ROTATE, GW_ROTATE_INCARNATION, fresh_walk());
    cr_assert_eq(keys_upkeep(rig, GW_STORE_SPILL, 0, &done), 0);
    keys_walk(rig, GW_STORE_VERIFY, 0, fresh_walk());
    cr_assert_eq(walk.events, 1);
    cr_assert_eq(walk.damaged, 0);
    walk.incarnation = 2;
    keys_walk(rig, GW_STORE_ROTATE, GW_ROTATE_RETIRE, &walk);
    cr_assert_eq(walk.changed, 0);
    cr_assert_eq(gw_keyring_incarnations(keys_of(rig)), 2);
}

/* ---- deletion ---- */

/* The promise: nothing on the disk leads to the messages of an account that was deleted. */
KEYS_TEST(the_key_of_a_deleted_account_leaves_the_disk)
{
    struct gw_store_completion done;
    static struct rig_segment g;
    uint8_t key[32], other[32], sealed[64];
    fill(rig, 20, 2);
    rig_spill(&rig->store);
    /* The key lies in a table: deleting it only writes a mark into another. */
    cr_assert_eq(keys_upkeep(rig, GW_STORE_ERASE, 0, &done), 0);
    /* One more, in the log only. */
    rig_segment_begin(&g);
    struct gw_record_head *r = keys_message(rig, &g, 7, 3, "a message that is long enough to find");
    memcpy(sealed, r + 1, 32);
    cr_assert_eq(rig_append(&rig->store, &g, NULL), 0);
    wrapped_bytes(rig, 7, key);
    wrapped_bytes(rig, 8, other);
    cr_assert(keys_on_disk(rig, key, sizeof(key)));
    cr_assert(keys_on_disk(rig, sealed, 32));
    keys_drop_account(rig, 7);
    cr_assert_eq(keys_upkeep(rig, GW_STORE_ERASE, 0, &done), 0);
    cr_assert_not(keys_on_disk(rig, key, sizeof(key)), "its wrapped key");
    cr_assert_not(keys_on_disk(rig, sealed, 32), "its message in the log");
    cr_assert(keys_on_disk(rig, other, sizeof(other)), "the others' keys stay");
    keys_assert_mailbox(rig, 8, 2, "1:message 2:message ");
    keys_kill(rig);
    cr_assert_not(keys_on_disk(rig, key, sizeof(key)));
    keys_assert_mailbox(rig, 7, 0, "");
    verify_is_clean(rig, 38);
}

KEYS_TEST(spilling_on_demand_empties_the_log)
{
    struct gw_store_completion done;
    fill(rig, 3, 5);
    uint64_t next = gw_store_state(rig->store.store).segment_next;
    cr_assert_eq(keys_upkeep(rig, GW_STORE_SPILL, 0, &done), 0);
    cr_assert_eq(done.next, next);
    cr_assert_eq(gw_store_state(rig->store.store).segment_oldest, next);
    expect(rig, 3, 5);
    cr_assert_eq(keys_upkeep(rig, GW_STORE_SPILL, 0, &done), 0, "with nothing to do, too");
    keys_put(rig, 0, 6, "more");
    keys_kill(rig);
    keys_assert_mailbox(rig, 0, 5, "1:message 2:message 3:message 4:message 5:message 6:more ");
}

/* ---- verification ---- */

KEYS_TEST(verification_looks_at_everything)
{
    fill(rig, 200, 3);
    rig_spill(&rig->store);
    keys_put(rig, 3, 4, "late");
    keys_take(rig, 4, 1, 1);
    rig_settle(&rig->store);
    keys_walk(rig, GW_STORE_VERIFY, 0, fresh_walk());
    cr_assert_eq(walk.damaged, 0, "%s", walk.damages[0].what);
    cr_assert_eq(walk.messages, 600);
    cr_assert_eq(walk.mailboxes, 200);
    cr_assert_eq(walk.small, 200);
    cr_assert_eq(walk.keys, 202);
}

KEYS_TEST(verification_of_an_empty_store_ends)
{
    keys_walk(rig, GW_STORE_VERIFY, 0, fresh_walk());
    cr_assert_eq(walk.damaged, 0);
    cr_assert_eq(walk.messages, 0);
}

/* In the log as in the mailbox, more of it than one slice has room for. */
KEYS_TEST(verification_names_what_does_not_open)
{
    static struct rig_segment g;
    keys_add_account(rig, 1);
    keys_add_account(rig, 2);
    for (uint64_t p = 1; p <= 100; p++) {
        rig_segment_begin(&g);
        keys_message(rig, &g, 1, p, "good");
        ((uint8_t *)(keys_message(rig, &g, 2, p, "bad") + 1))[0] ^= 1;
        cr_assert_eq(rig_append(&rig->store, &g, NULL), 0);
    }
    for (int spilled = 0; spilled < 2; spilled++) {
        struct gw_walk *w = fresh_walk();
        struct gw_mailbox_id bad = keys_mailbox(2);
        uint64_t named = 0;
        while (!w->ended) {
            cr_assert_eq(keys_slice(rig, GW_STORE_VERIFY, 0, w), 0);
            for (unsigned i = 0; i < w->damage_count; i++, named++) {
                cr_assert_eq(memcmp(&w->damages[i].mailbox, &bad, sizeof(bad)), 0);
                cr_assert_eq(w->damages[i].position, named + 1);
            }
        }
        cr_assert_eq(named, 100);
        cr_assert_eq(w->damaged, 100);
        cr_assert_eq(w->messages, 200);
        if (!spilled)
            rig_spill(&rig->store);
    }
}

/* ---- sizes ---- */

KEYS_TEST(sizes_add_up)
{
    struct gw_store_stats s;
    struct gw_store_request r = {.op = GW_STORE_STATS, .data = &s, .data_len = sizeof(s)};
    struct gw_store_completion done;
    fill(rig, 10, 2);
    cr_assert_eq(rig_call(&rig->store, &r, &done), 0);
    cr_assert_eq(s.window_messages, 20);
    cr_assert_eq(s.window_mailboxes, 10);
    cr_assert_gt(s.window_bytes, 20u * sizeof(struct gw_record_head));
    cr_assert_gt(s.log_files, 0);
    rig_spill(&rig->store);
    cr_assert_eq(rig_call(&rig->store, &r, &done), 0);
    cr_assert_eq(s.window_messages, 0);
    cr_assert_eq(s.segment_oldest, s.segment_next);
    uint64_t messages = 0, keys = 0;
    for (unsigned i = 0; i < s.space_count; i++) {
        if (strcmp(s.spaces[i].name, "mailbox") == 0)
            messages = s.spaces[i].keys;
        if (strcmp(s.spaces[i].name, "keys") == 0)
            keys = s.spaces[i].keys;
    }
    cr_assert_eq(messages, 20);
    cr_assert_eq(keys, 12);
}
