/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine in which every write of keys stands still, with the store's threads as they run in a broker:
 * who reads, appends or asks how the store is does not wait for it, and what was to be written is written
 * when it goes on.
 */
#include "store_rig.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { APPENDER, SPILLER, CHANGER, READER, CLIENTS };

/* Threads that write keys stop at it. */
static struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed, spill_waits, writer_waits;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct stall {
    struct rig rig;
    pthread_t commit;
    atomic_bool stop;
    struct rig_segment segment;
} stall;

static void pass_gate(void *arg, uint64_t us)
{
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof(name));
    bool *waits = strcmp(name, "gw-spill") == 0    ? &gate.spill_waits
                  : strcmp(name, "gw-writer") == 0 ? &gate.writer_waits
                                                   : NULL;
    if (waits == NULL)
        return;
    pthread_mutex_lock(&gate.lock);
    *waits = true;
    pthread_cond_broadcast(&gate.changed);
    while (gate.closed)
        pthread_cond_wait(&gate.changed, &gate.lock);
    *waits = false;
    pthread_mutex_unlock(&gate.lock);
}

static void set_gate(bool closed)
{
    pthread_mutex_lock(&gate.lock);
    gate.closed = closed;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void await_at_gate(const bool *waits)
{
    pthread_mutex_lock(&gate.lock);
    while (!*waits)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void *commit_main(void *arg)
{
    while (!atomic_load(&stall.stop))
        if (gw_store_commit_poll(stall.rig.store) == 0)
            gw_store_commit_wait(stall.rig.store, 10000);
    return NULL;
}

static void begin(void)
{
    struct rig *rig = &stall.rig;
    rig_begin(rig, "mem");
    rig->cfg.own_thread = true;
    rig->cfg.clock_us = NULL;
    rig->cfg.client_count = CLIENTS;
    rig->cfg.spill_after_us = 3600000000u;
    rig->cfg.window_bytes_max = 1 << 20;
    gw_mem_set_wait(rig->disk, pass_gate, NULL);
    rig_open(rig);
    gw_mem_set_faults(rig->disk, &(struct gw_mem_faults){.slow_us_max = 1});
    atomic_store(&stall.stop, false);
    cr_assert_eq(pthread_create(&stall.commit, NULL, commit_main, NULL), 0);
}

static void end(void)
{
    set_gate(false);
    atomic_store(&stall.stop, true);
    pthread_join(stall.commit, NULL);
    rig_end(&stall.rig);
}

TestSuite(store_stall, .init = begin, .fini = end, .timeout = 60);

static struct gw_store_client *client(unsigned n)
{
    return gw_store_client(stall.rig.store, n);
}

static void submit(unsigned n, struct gw_store_request r)
{
    cr_assert_eq(gw_store_submit(client(n), &r), 0);
}

static unsigned poll_once(unsigned n, struct gw_store_completion *done)
{
    return gw_store_poll(client(n), done, 1);
}

static void await(unsigned n, int status)
{
    struct gw_store_completion done;
    while (poll_once(n, &done) == 0)
        sched_yield();
    cr_assert_eq(done.status, status);
}

/* By a client of its own, so that it may be asked while others wait. */
static void assert_reads(const char *expected)
{
    static uint8_t buf[65536];
    char got[1024] = "";
    size_t used = 0, off = 0;
    struct gw_store_request r = {.op = GW_STORE_READ, .mailbox = rig_mailbox(1), .data = buf,
                                 .data_len = sizeof(buf)};
    struct gw_store_completion done;
    cr_assert_eq(gw_store_call(client(READER), &r, &done), 0);
    const struct gw_record_head *rec;
    while ((rec = gw_record_next(buf, done.len, &off)) != NULL)
        used += (size_t)snprintf(got + used, sizeof(got) - used, "%" PRIu64 " ", rec->position);
    cr_assert_str_eq(got, expected);
    struct gw_mailbox_count count = {0};
    r = (struct gw_store_request){.op = GW_STORE_COUNT, .mailbox = rig_mailbox(1), .data = &count,
                                  .data_len = sizeof(count)};
    cr_assert_eq(gw_store_call(client(READER), &r, &done), 0);
    unsigned messages = 0;
    for (const char *p = expected; *p != '\0'; p++)
        messages += *p == ' ';
    cr_assert_eq(count.messages, messages);
}

static struct gw_store_stats stats(void)
{
    struct gw_store_stats out;
    struct gw_store_request r = {.op = GW_STORE_STATS, .data = &out, .data_len = sizeof(out)};
    struct gw_store_completion done;
    cr_assert_eq(gw_store_call(client(READER), &r, &done), 0);
    return out;
}

static void put(uint64_t first, uint64_t last)
{
    for (uint64_t position = first; position <= last; position++)
        rig_put(&stall.rig, 1, position, "x");
}

static void cas(const char *value, uint64_t expect)
{
    submit(CHANGER, (struct gw_store_request){.op = GW_STORE_CAS, .ns = GW_NS_META, .key = "k",
                                              .key_len = 1, .data = (void *)(uintptr_t)value,
                                              .data_len = 1, .from = expect});
}

static void submit_filler(uint64_t position)
{
    static char text[60000];
    memset(text, 'f', sizeof(text) - 1);
    rig_segment_begin(&stall.segment);
    rig_message(&stall.segment, 2, position, text);
    submit(APPENDER, (struct gw_store_request){
                         .op = GW_STORE_APPEND, .data = stall.segment.buf,
                         .data_len = gw_segment_end(&stall.segment.w, 0)});
}

static uint64_t waits(void)
{
    return rig_counter(gw_store_counters_commit(stall.rig.store), "waits");
}

/* One after another, until one finds no room. */
static void fill_window(void)
{
    uint64_t before = waits();
    struct gw_store_completion done;
    for (uint64_t position = 1;; position++) {
        cr_assert_lt(position, 1000);
        submit_filler(position);
        unsigned n;
        while ((n = poll_once(APPENDER, &done)) == 0 && waits() == before)
            sched_yield();
        if (n == 0)
            return;
        cr_assert_eq(done.status, 0);
    }
}

Test(store_stall, who_reads_or_appends_does_not_wait_for_a_write)
{
    struct gw_store_completion done;
    put(1, 6);
    submit(SPILLER, (struct gw_store_request){.op = GW_STORE_SPILL});
    await(SPILLER, 0);
    put(7, 12);
    set_gate(true);
    submit(SPILLER, (struct gw_store_request){.op = GW_STORE_SPILL});
    await_at_gate(&gate.spill_waits);
    assert_reads("1 2 3 4 5 6 7 8 9 10 11 12 ");

    cas("1", 0);
    await_at_gate(&gate.writer_waits);
    rig_take(&stall.rig, 1, 2, 4);  /* these have keys, */
    rig_take(&stall.rig, 1, 8, 8);  /* this one is in the file that is being taken over, */
    put(13, 14);
    rig_take(&stall.rig, 1, 13, 13); /* and this one came later */
    assert_reads("1 5 6 7 9 10 11 12 14 ");
    struct gw_store_stats now = stats();
    cr_assert_geq(now.writes_waiting, 1);
    cr_assert_eq(now.window_messages, 6);

    fill_window(); /* the back-pressure that senders feel */
    assert_reads("1 5 6 7 9 10 11 12 14 ");
    cr_assert_eq(poll_once(CHANGER, &done), 0, "what is not written is not complete");
    cr_assert_eq(poll_once(SPILLER, &done), 0);
    cr_assert_eq(poll_once(APPENDER, &done), 0);

    set_gate(false);
    await(CHANGER, 0);
    await(APPENDER, 0);
    await(SPILLER, 0);
    assert_reads("1 5 6 7 9 10 11 12 14 ");
    cr_assert_gt(rig_counter(gw_store_counters_storage(stall.rig.store), "key_writes"), 0);
}

static void restart(void)
{
    atomic_store(&stall.stop, true);
    pthread_join(stall.commit, NULL);
    rig_reopen(&stall.rig);
    atomic_store(&stall.stop, false);
    cr_assert_eq(pthread_create(&stall.commit, NULL, commit_main, NULL), 0);
}

/* More removals than are written at once: they gather, and nobody waits. */
Test(store_stall, removals_gather_while_the_writer_stands_still)
{
    enum { COUNT = 10000 };
    for (unsigned first = 1; first <= COUNT; first += 500) {
        rig_segment_begin(&stall.segment);
        for (unsigned i = 0; i < 500; i++)
            rig_message(&stall.segment, 1, first + i, "x");
        cr_assert_eq(rig_append(&stall.rig, &stall.segment, NULL), 0);
    }
    submit(SPILLER, (struct gw_store_request){.op = GW_STORE_SPILL});
    await(SPILLER, 0);
    set_gate(true);
    cas("1", 0);
    await_at_gate(&gate.writer_waits);
    /* Every other one, so that each is a range of its own. */
    for (unsigned first = 1; first < COUNT - 10; first += 1000) {
        rig_segment_begin(&stall.segment);
        for (unsigned i = first; i < first + 1000 && i < COUNT - 10; i += 2)
            rig_remove(&stall.segment, 1, i, i);
        cr_assert_eq(rig_append(&stall.rig, &stall.segment, NULL), 0);
    }
    rig_take(&stall.rig, 1, 1, COUNT - 3);
    assert_reads("9998 9999 10000 ");
    set_gate(false);
    await(CHANGER, 0);
    restart();
    assert_reads("9998 9999 10000 ");
}
