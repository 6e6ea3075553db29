/* SPDX-License-Identifier: Apache-2.0 */
/* A store whose writes fail goes on by itself when they no longer do, and loses nothing. */
#include "../crash/io_faults.h"
#include "store_rig.h"

/* ---- faults, on either engine ---- */

#define ALL UINT32_MAX

/* The next `count` writes and syncs fail, of the log and of keys alike. */
static void break_writes(struct rig *rig, uint32_t calls, uint32_t count)
{
    uint32_t mem_count = count == ALL ? 0 : count;
    gw_mem_set_faults(rig->disk, &(struct gw_mem_faults){.fail_at = 1, .fail_count = mem_count});
    snprintf(io_faults->under, sizeof(io_faults->under), "%s", rig->path);
    snprintf(io_faults->once, sizeof(io_faults->once), "%s/log/", rig->path);
    io_faults->calls = calls;
    io_faults->error = EIO;
    atomic_store(&io_faults->after, 0);
    atomic_store(&io_faults->left, count);
    atomic_store(&io_faults->on, 1);
}

static void heal(struct rig *rig)
{
    gw_mem_set_faults(rig->disk, &(struct gw_mem_faults){0});
    atomic_store(&io_faults->on, 0);
}

static void check_nothing_repeated(void)
{
    cr_assert_eq(atomic_load(&io_faults->repeated), 0,
                 "a log file was written after it had failed");
}

/* ---- what the tests do ---- */

static enum gw_store_condition condition(const struct rig *rig)
{
    return gw_store_state(rig->store).condition;
}

static bool accepts(const struct rig *rig)
{
    return gw_store_accepts(rig->client[0]);
}

struct held_append {
    struct rig_segment g;
    struct gw_store_request r;
};

static struct held_append *submit_message(struct rig *rig, unsigned client, unsigned mailbox,
                                          uint64_t position, const char *text)
{
    struct held_append *a = malloc(sizeof(*a));
    rig_segment_begin(&a->g);
    rig_message(&a->g, mailbox, position, text);
    a->r = (struct gw_store_request){.op = GW_STORE_APPEND, .tag = position, .data = a->g.buf};
    a->r.data_len = gw_segment_end(&a->g.w, rig->now_us);
    cr_assert_eq(gw_store_submit(rig->client[client], &a->r), 0);
    return a;
}

static void expect_done(struct rig *rig, unsigned client, struct held_append *a)
{
    struct gw_store_completion done;
    cr_assert_eq(gw_store_poll(rig->client[client], &done, 1), 1);
    cr_assert_eq(done.status, 0);
    cr_assert_eq(done.tag, a->r.tag);
    free(a);
}

static void expect_nothing(struct rig *rig, unsigned client)
{
    struct gw_store_completion done;
    cr_assert_eq(gw_store_poll(rig->client[client], &done, 1), 0);
}

static void pass_time(struct rig *rig, unsigned tenths)
{
    for (; tenths > 0; tenths--) {
        rig->now_us += 100000;
        for (int i = 0; i < 4; i++)
            rig_step(rig);
    }
}

/* ---- the log ---- */

static void commit_fails_once(struct rig *rig, uint32_t calls)
{
    rig_put(rig, 1, 1, "one");
    break_writes(rig, calls, 1);
    struct held_append *a = submit_message(rig, 0, 1, 2, "two");
    struct held_append *b = submit_message(rig, 0, 1, 3, "three");
    gw_store_commit_poll(rig->store);
    cr_assert_eq(condition(rig), GW_STORE_CLOSED);
    cr_assert_not(accepts(rig));
    expect_nothing(rig, 0);
    rig_settle(rig);
    cr_assert_eq(condition(rig), GW_STORE_OPEN);
    cr_assert(accepts(rig));
    expect_done(rig, 0, a);
    expect_done(rig, 0, b);
    rig_assert_mailbox(rig, 1, 0, "1:one 2:two 3:three ");
    rig_put(rig, 1, 4, "four");
    heal(rig);
    rig_kill(rig);
    rig_assert_mailbox(rig, 1, 0, "1:one 2:two 3:three 4:four ");
    check_nothing_repeated();
}

STORE_TEST(a_failed_write_of_the_log_is_made_elsewhere)
{
    commit_fails_once(rig, IO_FAULTS_WRITE);
}

STORE_TEST(a_failed_sync_of_the_log_is_made_elsewhere)
{
    commit_fails_once(rig, IO_FAULTS_SYNC);
}

STORE_TEST(a_log_that_fails_again_and_again_keeps_its_order)
{
    struct held_append *a[9];
    for (unsigned i = 0; i < 3; i++) {
        break_writes(rig, IO_FAULTS_SYNC, 2);
        for (unsigned k = 0; k < 3; k++)
            a[3 * i + k] = submit_message(rig, k, k, i + 1, "x");
        pass_time(rig, 20);
    }
    heal(rig);
    pass_time(rig, 30);
    for (unsigned i = 0; i < 9; i++)
        expect_done(rig, i % 3, a[i]);
    for (unsigned k = 0; k < 3; k++)
        rig_assert_mailbox(rig, k, 0, "1:x 2:x 3:x ");
    rig_kill(rig);
    for (unsigned k = 0; k < 3; k++)
        rig_assert_mailbox(rig, k, 0, "1:x 2:x 3:x ");
    check_nothing_repeated();
}

STORE_TEST(removals_and_events_survive_a_failure)
{
    rig_put(rig, 1, 1, "one");
    rig_put(rig, 1, 2, "two");
    rig_spill(rig);
    rig_put(rig, 1, 3, "three");
    rig_take(rig, 1, 1, 1);
    break_writes(rig, IO_FAULTS_WRITE, 1);
    struct held_append *a = submit_message(rig, 0, 1, 4, "four");
    rig_settle(rig);
    expect_done(rig, 0, a);
    rig_assert_mailbox(rig, 1, 0, "2:two 3:three 4:four ");
    rig_spill(rig);
    rig_assert_mailbox(rig, 1, 0, "2:two 3:three 4:four ");
    cr_assert_eq(rig_counter(gw_store_counters_storage(rig->store), "failures"), 1);
    cr_assert_eq(rig_counter(gw_store_counters_storage(rig->store), "reopens"), 1);
    heal(rig);
}

/* It waits instead for the store to be opened anew. */
STORE_TEST(a_reader_is_not_shown_what_could_not_be_removed)
{
    for (unsigned p = 1; p <= 3; p++)
        rig_put(rig, 1, p, "x");
    rig_spill(rig);
    rig_take(rig, 1, 2, 2);
    break_writes(rig, IO_FAULTS_WRITE, 1);
    rig_assert_mailbox(rig, 1, 0, "1:x 3:x ");
    heal(rig);
    rig_kill(rig);
    rig_assert_mailbox(rig, 1, 0, "1:x 3:x ");
}

/* ---- a disk that stays broken ---- */

static void submit_get(struct rig *rig, unsigned client, char *out)
{
    struct gw_store_request r = {.op = GW_STORE_GET,
                                 .ns = GW_NS_SESSION,
                                 .key = "k",
                                 .key_len = 1,
                                 .data = out,
                                 .data_len = 8};
    cr_assert_eq(gw_store_submit(rig->client[client], &r), 0);
}

static int status_of(struct rig *rig, unsigned client)
{
    struct gw_store_completion done;
    cr_assert_eq(gw_store_poll(rig->client[client], &done, 1), 1);
    return done.status;
}

STORE_TEST(a_broken_disk_is_tried_until_it_is_well)
{
    char out[8], other[8];
    uint64_t version;
    gw_store_be_patient(rig->client[2]);
    cr_assert_eq(rig_cas(rig, GW_NS_SESSION, "k", 0, "v", &version), 0);
    rig_put(rig, 1, 1, "one");
    break_writes(rig, IO_FAULTS_WRITE | IO_FAULTS_SYNC, ALL);
    struct held_append *a = submit_message(rig, 0, 1, 2, "two");
    for (unsigned i = 0; i < 50; i++) {
        pass_time(rig, 1);
        cr_assert_not(accepts(rig));
        expect_nothing(rig, 0);
    }
    cr_assert_eq(condition(rig), GW_STORE_BROKEN);
    submit_get(rig, 1, out);
    submit_get(rig, 2, other);
    pass_time(rig, 1);
    cr_assert_eq(status_of(rig, 1), -EIO);
    expect_nothing(rig, 2);
    heal(rig);
    pass_time(rig, 40);
    cr_assert_eq(condition(rig), GW_STORE_OPEN);
    cr_assert_eq(status_of(rig, 2), 0);
    cr_assert_eq(other[0], 'v');
    expect_done(rig, 0, a);
    rig_assert_mailbox(rig, 1, 0, "1:one 2:two ");
    check_nothing_repeated();
}

STORE_TEST(a_broken_store_can_be_freed)
{
    rig_put(rig, 1, 1, "one");
    break_writes(rig, IO_FAULTS_WRITE | IO_FAULTS_SYNC, ALL);
    struct held_append *a = submit_message(rig, 0, 1, 2, "two");
    pass_time(rig, 10);
    gw_store_free(&rig->store);
    heal(rig);
    rig_open(rig);
    char got[64];
    rig_read_in(rig, 1, 0, 65536, got, sizeof(got));
    /* It was never acknowledged. */
    cr_assert(strcmp(got, "1:one ") == 0 || strcmp(got, "1:one 2:two ") == 0, "%s", got);
    free(a);
}

/* ---- the keys ---- */

STORE_TEST(a_spill_that_fails_loses_nothing)
{
    for (unsigned i = 1; i <= 20; i++)
        rig_put(rig, i % 3, i, "x");
    rig_spill(rig); /* perhaps not yet synced */
    for (unsigned i = 21; i <= 40; i++)
        rig_put(rig, i % 3, i, "x");
    for (uint32_t n = 1; n < 6; n++) {
        break_writes(rig, IO_FAULTS_WRITE | IO_FAULTS_SYNC, n);
        pass_time(rig, 40);
        heal(rig);
        pass_time(rig, 40);
        cr_assert_eq(condition(rig), GW_STORE_OPEN);
        rig_assert_mailbox(rig, 0, 0,
                           "3:x 6:x 9:x 12:x 15:x 18:x 21:x 24:x 27:x 30:x 33:x 36:x 39:x ");
    }
    rig_kill(rig);
    rig_assert_mailbox(rig, 1, 0,
                       "1:x 4:x 7:x 10:x 13:x 16:x 19:x 22:x 25:x 28:x 31:x 34:x 37:x 40:x ");
}

STORE_TEST(a_small_record_that_fails_says_so)
{
    uint64_t version = 0, again;
    cr_assert_eq(rig_cas(rig, GW_NS_SESSION, "k", 0, "v", &version), 0);
    break_writes(rig, IO_FAULTS_WRITE, 1);
    cr_assert_eq(rig_cas(rig, GW_NS_SESSION, "k", version, "w", NULL), -EIO);
    heal(rig);
    pass_time(rig, 5);
    char out[8];
    cr_assert_eq(rig_get(rig, GW_NS_SESSION, "k", out, sizeof(out), &version), 0);
    cr_assert(out[0] == 'v' || out[0] == 'w');
    cr_assert_eq(rig_cas(rig, GW_NS_SESSION, "k", version, "x", &again), 0);
    cr_assert_neq(again, version);
}

/* ---- the reserve ---- */

static void fill_disk(struct rig *rig, bool full)
{
    gw_mem_set_faults(rig->disk, &(struct gw_mem_faults){.full = full});
    if (strcmp(rig->engine, "mem") == 0)
        return;
    /* The real one is not filled; its reserve is more than there is of it. */
    rig->cfg.reserve_bytes = full ? UINT64_MAX / 16 : 0;
    rig_reopen(rig);
}

STORE_TEST(below_the_reserve_only_removals_are_asked_for)
{
    rig->cfg.reserve_bytes = 1;
    rig_reopen(rig);
    rig_put(rig, 1, 1, "one");
    rig_put(rig, 1, 2, "two");
    fill_disk(rig, true);
    pass_time(rig, 2);
    cr_assert_eq(condition(rig), GW_STORE_RESERVE);
    cr_assert_not(accepts(rig));
    if (strcmp(rig->engine, "mem") != 0) {
        rig_take(rig, 1, 1, 1);
        rig_assert_mailbox(rig, 1, 0, "2:two ");
    }
    fill_disk(rig, false);
    pass_time(rig, 2);
    cr_assert_eq(condition(rig), GW_STORE_OPEN);
    cr_assert(accepts(rig));
    rig_put(rig, 1, 3, "three");
}

/* A log without room waits for some, and no message is refused or lost for it. */
Test(store_rocksdb, a_log_that_cannot_grow_waits)
{
    struct rig rig;
    rig_begin(&rig, "rocksdb");
    rig_open(&rig);
    break_writes(&rig, IO_FAULTS_ALLOCATE, ALL);
    io_faults->error = ENOSPC;
    struct held_append *a[RIG_REQUESTS];
    static uint8_t body[60000];
    memset(body, 'x', sizeof(body) - 1);
    uint64_t submitted = 0, done_count = 0;
    struct gw_store_completion done;
    /* More than the file that it has and the one that it holds ready. */
    while (submitted < 200) {
        a[submitted % RIG_REQUESTS] = submit_message(&rig, 0, 1, submitted + 1, (const char *)body);
        submitted++;
        for (int i = 0; i < 3; i++)
            rig_step(&rig);
        while (gw_store_poll(rig.client[0], &done, 1) == 1)
            free(a[done_count++ % RIG_REQUESTS]);
        if (submitted - done_count == RIG_REQUESTS)
            break;
    }
    cr_assert_lt(done_count, submitted);
    cr_assert_eq(condition(&rig), GW_STORE_OPEN);
    heal(&rig);
    pass_time(&rig, 10);
    while (gw_store_poll(rig.client[0], &done, 1) == 1) {
        cr_assert_eq(done.status, 0);
        free(a[done_count++ % RIG_REQUESTS]);
    }
    cr_assert_eq(done_count, submitted);
    rig_end(&rig);
}

/* With the store's threads as they run in a broker. */
Test(store_rocksdb, a_log_that_cannot_grow_does_not_hold_up_the_end, .timeout = 60)
{
    struct rig rig;
    static char body[60000];
    memset(body, 'x', sizeof(body) - 1);
    rig_begin(&rig, "rocksdb");
    rig.cfg.own_thread = true;
    rig_open(&rig);
    break_writes(&rig, IO_FAULTS_ALLOCATE, ALL);
    io_faults->error = ENOSPC;
    /* The first takes the file that it holds ready. */
    for (unsigned i = 1; i <= 3; i++) {
        struct held_append *a = submit_message(&rig, 0, 1, i, body);
        struct gw_store_completion done;
        while (gw_store_commit_poll(rig.store) == 0)
            ;
        cr_assert_eq(gw_store_poll(rig.client[0], &done, 1), 1);
        free(a);
    }
    struct gw_store_stats stats;
    struct gw_store_request r = {.op = GW_STORE_STATS, .data = &stats, .data_len = sizeof(stats)};
    struct gw_store_completion done;
    cr_assert_eq(rig_call(&rig, &r, &done), 0);
    cr_assert_eq(stats.log_free_files, 0);
    rig_end(&rig);
}

/* Also when something else fails before that file is given up. */
Test(store_rocksdb, a_log_file_that_failed_is_never_written_again)
{
    struct rig rig;
    static char body[60000];
    memset(body, 'x', sizeof(body) - 1);
    rig_begin(&rig, "rocksdb");
    rig_open(&rig);
    rig_put(&rig, 1, 1, "one");
    break_writes(&rig, IO_FAULTS_WRITE, 1);
    struct held_append *a = submit_message(&rig, 0, 1, 2, "two");
    pass_time(&rig, 2);
    expect_done(&rig, 0, a);
    rig_put(&rig, 1, 3, "three");
    break_writes(&rig, IO_FAULTS_WRITE, 1);
    cr_assert_eq(rig_cas(&rig, GW_NS_SESSION, "k", 0, "v", NULL), -EIO);
    heal(&rig);
    pass_time(&rig, 2);
    cr_assert_eq(rig_counter(gw_store_counters_storage(rig.store), "failures"), 2);
    /* Enough for every file to have its turn. */
    for (unsigned i = 4; i < 500; i++) {
        rig_put(&rig, 1, i, body);
        rig_take(&rig, 1, i, i);
        if (i % 20 == 0)
            pass_time(&rig, 12);
    }
    check_nothing_repeated();
    rig_assert_mailbox(&rig, 1, 0, "1:one 2:two 3:three ");
    rig_end(&rig);
}
