/* SPDX-License-Identifier: Apache-2.0 */
/* Files that somebody or something has changed: what is lost is said, the rest is used. */
#include <dirent.h>
#include <fcntl.h>
#include <rocksdb/c.h>

#include "below_rig.h"

static int nothing(void *arg, uint64_t number, struct gw_bytes segment)
{
    return 0;
}

STORE_TEST(an_unknown_format_is_refused)
{
    uint32_t format = 99;
    gw_store_free(&rig->store);
    put_below(rig, GW_SPACE_META, GW_LIT("format"), gw_bytes(&format, sizeof(format)));
    char err[256] = "";
    cr_assert_eq(rig_try_open(rig, err), -ENOTSUP);
    cr_assert_not_null(strstr(err, "99"), "%s", err);
}

STORE_TEST(a_state_that_makes_no_sense_is_refused)
{
    gw_store_free(&rig->store);
    put_below(rig, GW_SPACE_META, GW_LIT("state"), GW_LIT("?"));
    char err[256] = "";
    cr_assert_eq(rig_try_open(rig, err), -EBADMSG);
    cr_assert_str_not_empty(err);
}

STORE_TEST(a_gap_in_the_log_is_reported_and_what_follows_is_used)
{
    rig_put(rig, 1, 1, "one");
    gw_store_free(&rig->store);
    /* As if segments 2 to 4 had been lost. */
    const struct gw_engine_ops *ops;
    struct gw_engine *e = open_below(rig, &ops);
    cr_assert_eq(ops->log_read(e, 0, nothing, NULL), 0);
    static struct rig_segment g;
    rig_segment_begin(&g);
    rig_message(&g, 1, 5, "five");
    struct gw_log_entry entry = {.number = 5};
    entry.segment = gw_bytes(g.buf, gw_segment_end(&g.w, 1));
    cr_assert_eq(ops->log_append(e, &entry, 1, true), 0);
    ops->free(&e);
    rig_open(rig);
    cr_assert_not_null(strstr(rig->last_report, "2 to 4"), "%s", rig->last_report);
    cr_assert_eq(rig_counter(gw_store_counters_storage(rig->store), "damaged"), 3);
    rig_assert_mailbox(rig, 1, 0, "1:one 5:five ");
    cr_assert_eq(gw_store_state(rig->store).segment_next, 6);
}

STORE_TEST(a_damaged_message_is_reported_and_the_rest_of_the_mailbox_is_read)
{
    rig_put(rig, 1, 1, "one");
    rig_put(rig, 1, 2, "two");
    rig_put(rig, 1, 3, "three");
    rig_spill(rig);
    struct gw_mailbox_id id = rig_mailbox(1);
    uint8_t key[24];
    memcpy(key, &id, sizeof(id));
    gw_put_be64(key + 16, 2);
    gw_store_free(&rig->store);
    put_below(rig, GW_SPACE_MAILBOX, gw_bytes(key, sizeof(key)), GW_LIT("no record"));
    rig_open(rig);
    char got[256];
    rig_read_in(rig, 1, 0, 4096, got, sizeof(got));
    cr_assert_str_eq(got, "1:one 3:three ");
    cr_assert_gt(rig_counter(gw_store_counters_storage(rig->store), "damaged"), 0);
    cr_assert_gt(rig->reports, 0);
}

/* One message in another's place, or in another mailbox: never given out as what it is not. */
STORE_TEST(a_moved_message_is_reported)
{
    rig_put(rig, 1, 1, "one");
    rig_put(rig, 2, 1, "other");
    rig_spill(rig);
    gw_store_free(&rig->store);
    const struct gw_engine_ops *ops;
    struct gw_engine *e = open_below(rig, &ops);
    struct gw_mailbox_id id = rig_mailbox(1);
    uint8_t key[24], value[256];
    size_t len;
    memcpy(key, &id, sizeof(id));
    gw_put_be64(key + 16, 1);
    cr_assert_eq(ops->get(e, GW_SPACE_MAILBOX, gw_bytes(key, 24), value, sizeof(value), &len), 0);
    ops->free(&e);
    id = rig_mailbox(2);
    memcpy(key, &id, sizeof(id));
    gw_put_be64(key + 16, 2);
    put_below(rig, GW_SPACE_MAILBOX, gw_bytes(key, 24), gw_bytes(value, len));
    rig_open(rig);
    char got[256];
    rig_read_in(rig, 2, 0, 4096, got, sizeof(got));
    cr_assert_str_eq(got, "1:other ");
    cr_assert_gt(rig->reports, 0);
}

/* A clock that runs two seconds at each look: the start takes long. */
static uint64_t hurried_clock(void *arg)
{
    struct rig *rig = arg;
    return rig->now_us += 2000000;
}

STORE_TEST(a_long_start_says_how_far_it_is)
{
    for (unsigned i = 1; i <= 3; i++)
        rig_put(rig, 1, i, "message");
    gw_store_free(&rig->store);
    cr_assert_eq(rig->reports, 0);
    rig->cfg.clock_us = hurried_clock;
    rig_open(rig);
    cr_assert_eq(rig->reports, 3);
    cr_assert_not_null(strstr(rig->last_report, "3 segments so far, up to number 3"), "%s",
                       rig->last_report);
    cr_assert_not_null(strstr(rig->last_report, "3 messages wait"), "%s", rig->last_report);
    rig->cfg.clock_us = rig_clock;
}

/* ---- the files of RocksDB ---- */

static void rocks_run(void (*test)(struct rig *))
{
    rig_run("rocksdb", test);
}

/* The newest file in the store's keys with this ending. */
static void find_file(const struct rig *rig, const char *ending, char out[400])
{
    char dir[128], best[256] = "";
    snprintf(dir, sizeof(dir), "%s/keys", rig->path);
    DIR *d = opendir(dir);
    cr_assert_not_null(d);
    struct dirent *f;
    while ((f = readdir(d)) != NULL) {
        size_t n = strlen(f->d_name), m = strlen(ending);
        if (n > m && strcmp(f->d_name + n - m, ending) == 0 && strcmp(f->d_name, best) > 0)
            snprintf(best, sizeof(best), "%s", f->d_name);
    }
    closedir(d);
    cr_assert_str_not_empty(best);
    snprintf(out, 400, "%s/%s", dir, best);
}

static void damaged_wal(struct rig *rig)
{
    /* Spills leave keys in RocksDB's own log; the commit log still has the segments. */
    for (unsigned i = 1; i <= 40; i++) {
        rig_put(rig, i % 4, (i + 3) / 4, "message");
        if (i % 5 == 0)
            rig_spill(rig);
    }
    char from[96], wal[400];
    memcpy(from, rig->path, sizeof(from));
    rig_new_path(rig);
    rig_copy(from, rig->path);
    gw_store_free(&rig->store);
    find_file(rig, ".log", wal);
    int fd = open(wal, O_RDWR);
    cr_assert_geq(fd, 0);
    /* In the middle of what was written after the store's own records. */
    off_t used = lseek(fd, 0, SEEK_END) / 2;
    uint8_t byte;
    cr_assert_eq(pread(fd, &byte, 1, used), 1);
    byte ^= 0xff;
    cr_assert_eq(pwrite(fd, &byte, 1, used), 1);
    close(fd);
    rig_open(rig);
    cr_assert_gt(rig->reports, 0);
    for (unsigned m = 0; m < 4; m++) {
        char got[1024];
        rig_read_in(rig, m, 0, 4096, got, sizeof(got));
        unsigned count = 0;
        for (const char *p = got; *p != '\0'; p++)
            count += *p == ' ';
        cr_assert_eq(count, 10, "mailbox %u: %s", m, got);
    }
    char damaged[300];
    snprintf(damaged, sizeof(damaged), "%s/keys/damaged-*/*.log", rig->path);
    rig_shell("ls >/dev/null", damaged, "");
}

Test(store_damage, a_damaged_write_ahead_log_is_made_good_from_the_commit_log)
{
    rocks_run(damaged_wal);
}

static void add_family(const char *path, const char *name)
{
    rocksdb_options_t *o = rocksdb_options_create();
    size_t count;
    char *err = NULL;
    char **names = rocksdb_list_column_families(o, path, &count, &err);
    cr_assert_null(err);
    rocksdb_column_family_handle_t *cf[16], *fresh;
    const rocksdb_options_t *options[16];
    for (size_t i = 0; i < count; i++)
        options[i] = o;
    rocksdb_t *db = rocksdb_open_column_families(o, path, (int)count, (const char *const *)names,
                                                 options, cf, &err);
    cr_assert_null(err);
    fresh = rocksdb_create_column_family(db, o, name, &err);
    cr_assert_null(err);
    rocksdb_column_family_handle_destroy(fresh);
    for (size_t i = 0; i < count; i++)
        rocksdb_column_family_handle_destroy(cf[i]);
    rocksdb_close(db);
    rocksdb_list_column_families_destroy(names, count);
    rocksdb_options_destroy(o);
}

static void foreign_family(struct rig *rig)
{
    gw_store_free(&rig->store);
    char keys[128];
    snprintf(keys, sizeof(keys), "%s/keys", rig->path);
    add_family(keys, "from-the-future");
    char err[256] = "";
    cr_assert_eq(rig_try_open(rig, err), -ENOTSUP);
    cr_assert_not_null(strstr(err, "from-the-future"), "%s", err);
}

Test(store_damage, keys_of_a_later_program_are_refused)
{
    rocks_run(foreign_family);
}
