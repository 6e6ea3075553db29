/* SPDX-License-Identifier: Apache-2.0 */
/* Backups of a store that is in use, and stores made from them. */
#include "keys_rig.h"

struct backup_rig {
    struct keys_rig *k;
    const char *dir; /* outlives the store */
};

static struct backup_rig open_with_backups(struct keys_rig *rig)
{
    static char dir[128];
    struct backup_rig b = {.k = rig, .dir = dir};
    snprintf(dir, sizeof(dir), "%s/backup", rig->store.dir);
    gw_store_free(&rig->store.store);
    rig->store.cfg.backup_path = b.dir;
    rig_open(&rig->store);
    return b;
}

static struct gw_store_completion back_up(struct backup_rig *b, unsigned keep)
{
    struct gw_store_completion done;
    cr_assert_eq(keys_upkeep(b->k, GW_STORE_BACKUP, keep, &done), 0);
    return done;
}

/* The store goes, and one made from a backup takes its place. */
static void restore(struct backup_rig *b, uint32_t id)
{
    struct keys_rig *rig = b->k;
    char err[256] = "";
    gw_store_free(&rig->store.store);
    gw_keyring_free(&rig->store.cfg.keys);
    rig_new_path(&rig->store);
    cr_assert_eq(gw_store_restore("rocksdb", b->dir, id, rig->store.path, err), 0, "%s", err);
    keys_open_ring(rig);
    rig_open(&rig->store);
}

static void rocks_run(void (*test)(struct keys_rig *))
{
    keys_run("rocksdb", test);
}

static void whole_store(struct keys_rig *rig)
{
    struct backup_rig b = open_with_backups(rig);
    uint8_t root[32], again[32];
    keys_add_account(rig, 1);
    keys_add_account(rig, 2);
    keys_put(rig, 1, 1, "one");
    rig_spill(&rig->store);
    keys_put(rig, 1, 2, "in the log");
    keys_put(rig, 2, 1, "gone before");
    keys_take(rig, 2, 1, 1);
    gw_keyring_derive(keys_of(rig), "label", root);
    struct gw_store_completion first = back_up(&b, 5);
    cr_assert_gt(first.seq, 0);
    cr_assert_eq(first.len, 1);
    cr_assert_gt(first.durable_us, 0);
    keys_put(rig, 1, 3, "later");
    keys_add_account(rig, 3);
    uint64_t segments = gw_store_state(rig->store.store).segment_next;
    restore(&b, (uint32_t)first.seq);
    keys_assert_mailbox(rig, 1, 2, "1:one 2:in the log ");
    keys_assert_mailbox(rig, 2, 0, "");
    uint8_t record[256];
    cr_assert_eq(keys_get_record(rig, 3, record), -ENOENT);
    gw_keyring_derive(keys_of(rig), "label", again);
    cr_assert_eq(memcmp(root, again, sizeof(root)), 0);
    /* Nothing that was given out after the backup is given out again. */
    struct gw_store_request r = {.op = GW_STORE_MAILBOX, .mailbox = keys_mailbox(1)};
    struct gw_store_completion done;
    cr_assert_eq(rig_call(&rig->store, &r, &done), 0);
    cr_assert_gt(done.next, 3);
    cr_assert_gt(gw_store_state(rig->store.store).segment_next, segments);
    keys_put(rig, 1, done.next, "new");
    keys_kill(rig);
    char expected[128];
    snprintf(expected, sizeof(expected), "1:one 2:in the log %" PRIu64 ":new ", done.next);
    keys_assert_mailbox(rig, 1, 2, expected);
    /* It steps once, not at each start. */
    uint64_t next = gw_store_state(rig->store.store).segment_next;
    keys_restart(rig);
    cr_assert_eq(gw_store_state(rig->store.store).segment_next, next);
}

Test(backup, a_store_comes_back_as_it_was)
{
    rocks_run(whole_store);
}

static void several(struct keys_rig *rig)
{
    struct backup_rig b = open_with_backups(rig);
    struct gw_store_backup found[8];
    char err[256] = "";
    uint32_t ids[5];
    keys_add_account(rig, 1);
    for (unsigned i = 0; i < 5; i++) {
        keys_put(rig, 1, i + 1, "m");
        ids[i] = (uint32_t)back_up(&b, 3).seq;
    }
    cr_assert_eq(gw_store_backups("rocksdb", b.dir, found, 8, err), 3, "%s", err);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(found[i].id, ids[i + 2]);
        cr_assert_gt(found[i].bytes, 0);
        cr_assert_gt(found[i].made_at, 0);
    }
    cr_assert_eq(gw_store_backups("rocksdb", b.dir, found, 2, err), 2);
    cr_assert_eq(found[1].id, ids[4]);
    restore(&b, ids[2]);
    keys_assert_mailbox(rig, 1, 3, "1:m 2:m 3:m ");
    restore(&b, ids[4]);
    keys_assert_mailbox(rig, 1, 5, "1:m 2:m 3:m 4:m 5:m ");
    rig_new_path(&rig->store);
    cr_assert_neq(gw_store_restore("rocksdb", b.dir, ids[0], rig->store.path, err), 0);
    cr_assert_str_not_empty(err);
}

Test(backup, the_newest_are_kept_and_each_can_be_restored)
{
    rocks_run(several);
}

/* What lies in a mailbox is not copied again. */
static void incremental(struct keys_rig *rig)
{
    static struct rig_segment g;
    struct backup_rig b = open_with_backups(rig);
    char command[256];
    keys_add_account(rig, 1);
    for (uint64_t p = 1; p <= 50; p++) {
        static char text[20001];
        memset(text, 'a' + (int)(p % 26), sizeof(text) - 1);
        rig_segment_begin(&g);
        keys_message(rig, &g, 1, p, text);
        cr_assert_eq(rig_append(&rig->store, &g, NULL), 0);
    }
    back_up(&b, 5);
    back_up(&b, 5);
    back_up(&b, 5);
    /* A million bytes of messages, three backups. */
    snprintf(command, sizeof(command), "[ $(du -sb '%s' | cut -f1) -lt 2000000 ]", b.dir);
    cr_assert_eq(system(command), 0);
}

Test(backup, what_has_not_changed_is_shared)
{
    rocks_run(incremental);
}

/* The master key's bytes are nowhere in a backup. */
static void no_master(struct keys_rig *rig)
{
    struct backup_rig b = open_with_backups(rig);
    uint8_t master[32];
    char path[96];
    memset(master, 7, sizeof(master));
    keys_add_account(rig, 1);
    keys_put(rig, 1, 1, "one");
    back_up(&b, 5);
    memcpy(path, rig->store.path, sizeof(path));
    snprintf(rig->store.path, sizeof(rig->store.path), "%.90s", b.dir);
    uint8_t record[256];
    int len = keys_get_record(rig, 1, record);
    cr_assert(keys_on_disk(rig, record + len - 32, 32), "the search finds what is there");
    cr_assert_not(keys_on_disk(rig, master, sizeof(master)));
    memcpy(rig->store.path, path, sizeof(path));
}

Test(backup, the_master_key_is_not_in_it)
{
    rocks_run(no_master);
}

static void damaged(struct keys_rig *rig)
{
    struct backup_rig b = open_with_backups(rig);
    char command[512], err[256] = "";
    keys_add_account(rig, 1);
    keys_put(rig, 1, 1, "one");
    uint32_t id = (uint32_t)back_up(&b, 5).seq;
    /* A byte less of one of its tables. */
    snprintf(command, sizeof(command),
             "f=$(find '%s' -name '*.sst' | head -n1) && [ -n \"$f\" ] && truncate -s -1 \"$f\"",
             b.dir);
    cr_assert_eq(system(command), 0);
    gw_store_free(&rig->store.store);
    rig_new_path(&rig->store);
    cr_assert_neq(gw_store_restore("rocksdb", b.dir, id, rig->store.path, err), 0);
    cr_assert_str_not_empty(err);
}

Test(backup, a_damaged_backup_is_refused)
{
    rocks_run(damaged);
}

static void never_over(struct keys_rig *rig)
{
    struct backup_rig b = open_with_backups(rig);
    char err[256] = "", absent[128];
    snprintf(absent, sizeof(absent), "%s/absent", rig->store.dir);
    keys_add_account(rig, 1);
    keys_put(rig, 1, 1, "one");
    uint32_t id = (uint32_t)back_up(&b, 5).seq;
    keys_put(rig, 1, 2, "two");
    cr_assert_eq(gw_store_restore("rocksdb", b.dir, id, rig->store.path, err), -ENOTEMPTY);
    cr_assert_not_null(strstr(err, "not empty"), "%s", err);
    keys_restart(rig);
    keys_assert_mailbox(rig, 1, 1, "1:one 2:two ");
    cr_assert_eq(gw_store_restore("rocksdb", "/nowhere", id, absent, err), -ENOENT);
    cr_assert_eq(gw_store_backups("mem", b.dir, NULL, 0, err), -ENOTSUP);
}

Test(backup, nothing_is_restored_over_a_store)
{
    rocks_run(never_over);
}

KEYS_TEST(without_a_place_there_is_no_backup)
{
    struct gw_store_completion done;
    cr_assert_eq(keys_upkeep(rig, GW_STORE_BACKUP, 3, &done), -ENOTSUP);
}
