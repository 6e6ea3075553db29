/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as it runs: a commit thread, its own storage thread, and clients that poll or sleep.
 * What is tested is what no single thread can show: visibility, wake-ups, order under concurrency.
 * A program of its own, because Criterion does not run under ThreadSanitizer.
 */
#define GW_TEST_PLAIN
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "store_rig.h"

#ifdef __SANITIZE_THREAD__
/* RocksDB from the distribution is not instrumented: its own locks are not seen. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:librocksdb.so\n";
}
#endif

#define WRITERS      2
#define MAILBOXES    8 /* of each writer */
#define SEGMENTS     400
#define DEPTH        8
#define COUNTER_ADDS 40

struct world {
    struct gw_store *store;
    atomic_bool stop;
    atomic_uint writers_done;
};

struct writer {
    struct world *world;
    struct gw_store_client *client;
    unsigned index;
    bool sleeps;
    int fd;
    uint64_t random;
    uint64_t next[MAILBOXES];     /* position to be appended */
    uint64_t durable[MAILBOXES];  /* all up to here are */
    uint64_t removed[MAILBOXES];  /* all up to here are removed, durably */
    uint64_t removing[MAILBOXES]; /* asked for */
    struct rig_segment segment[DEPTH];
    struct {
        uint64_t top[MAILBOXES], removed[MAILBOXES];
    } claim[DEPTH];
    uint8_t read_buf[65536];
};

static uint32_t below(uint64_t *random, uint32_t limit)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*random >> 33) % limit);
}

static unsigned mailbox_of(const struct writer *w, unsigned m)
{
    return w->index * MAILBOXES + m;
}

/* Waits for the next completion in the writer's own manner. */
static void wait_one(struct writer *w, struct gw_store_completion *done)
{
    while (gw_store_poll(w->client, done, 1) == 0) {
        if (w->sleeps) {
            struct pollfd p = {.fd = w->fd, .events = POLLIN};
            cr_assert_geq(poll(&p, 1, -1), 0);
        } else {
            sched_yield();
        }
    }
}

static void submit_segment(struct writer *w, uint64_t number)
{
    unsigned slot = number % DEPTH;
    struct rig_segment *g = &w->segment[slot];
    rig_segment_begin(g);
    for (unsigned n = 1 + below(&w->random, 12); n > 0; n--) {
        unsigned m = below(&w->random, MAILBOXES);
        char text[32];
        snprintf(text, sizeof(text), "%" PRIu64, w->next[m]);
        rig_message(g, mailbox_of(w, m), w->next[m]++, text);
    }
    unsigned m = below(&w->random, MAILBOXES);
    if (w->removing[m] < w->durable[m]) {
        uint64_t last =
            w->removing[m] + 1 + below(&w->random, (uint32_t)(w->durable[m] - w->removing[m]));
        rig_remove(g, mailbox_of(w, m), w->removing[m] + 1, last);
        w->removing[m] = last;
    }
    rig_events(g, "e");
    for (unsigned i = 0; i < MAILBOXES; i++) {
        w->claim[slot].top[i] = w->next[i] - 1;
        w->claim[slot].removed[i] = w->removing[i];
    }
    struct gw_store_request r = {.op = GW_STORE_APPEND, .tag = number, .data = g->buf};
    r.data_len = gw_segment_end(&g->w, 1);
    cr_assert_eq(gw_store_submit(w->client, &r), 0);
}

static void submit_read(struct writer *w, unsigned m)
{
    struct gw_store_request r = {.op = GW_STORE_READ,
                                 .tag = m,
                                 .mailbox = rig_mailbox(mailbox_of(w, m)),
                                 .from = 1,
                                 .data = w->read_buf,
                                 .data_len = sizeof(w->read_buf)};
    cr_assert_eq(gw_store_submit(w->client, &r), 0);
}

/* Everything that was durable when the READ was submitted is in it, nothing whose removal was. What
 * was in flight may be there or not, but without gaps. */
static void check_read(struct writer *w, unsigned m, const struct gw_store_completion *done,
                       uint64_t durable, uint64_t removed)
{
    cr_assert_eq(done->status, 0);
    size_t off = 0;
    const struct gw_record_head *r;
    uint64_t last = 0;
    while ((r = gw_record_next(w->read_buf, done->len, &off)) != NULL) {
        cr_assert_gt(r->position, removed, "a removed message came back");
        if (last == 0)
            cr_assert_leq(r->position, w->removing[m] + 1, "the first is missing");
        else
            cr_assert_eq(r->position, last + 1, "a gap");
        last = r->position;
        char text[32];
        snprintf(text, sizeof(text), "%" PRIu64, last);
        cr_assert_eq(gw_record_body_len(r), strlen(text));
        cr_assert_arr_eq(gw_record_body(r), text, strlen(text));
    }
    if (!done->more && durable > w->removing[m])
        cr_assert_geq(last, durable, "a durable message is not seen");
}

static void *write_all(void *arg)
{
    struct writer *w = arg;
    uint64_t submitted = 0, completed = 0;
    bool reading = false;
    uint64_t read_durable = 0, read_removed = 0;
    while (completed < SEGMENTS || reading) {
        while (submitted < SEGMENTS && submitted - completed < DEPTH)
            submit_segment(w, submitted++);
        struct gw_store_completion done;
        wait_one(w, &done);
        if (done.op == GW_STORE_READ) {
            check_read(w, (unsigned)done.tag, &done, read_durable, read_removed);
            reading = false;
            continue;
        }
        cr_assert_eq(done.op, GW_STORE_APPEND);
        cr_assert_eq(done.status, 0);
        cr_assert_eq(done.tag, completed, "appends complete in order");
        for (unsigned i = 0; i < MAILBOXES; i++) {
            w->durable[i] = w->claim[completed % DEPTH].top[i];
            w->removed[i] = w->claim[completed % DEPTH].removed[i];
        }
        completed++;
        if (!reading) {
            unsigned m = below(&w->random, MAILBOXES);
            read_durable = w->durable[m];
            read_removed = w->removed[m];
            submit_read(w, m);
            reading = true;
        }
    }
    return NULL;
}

/* A counter that several writers raise by compare-and-set: no addition may be lost. */
static void raise_counter(struct gw_store_client *c)
{
    for (unsigned n = 0; n < COUNTER_ADDS;) {
        uint64_t value = 0;
        struct gw_store_request get = {.op = GW_STORE_GET,
                                       .ns = GW_NS_META,
                                       .key = "counter",
                                       .key_len = 7,
                                       .data = &value,
                                       .data_len = sizeof(value)};
        struct gw_store_completion done;
        int status = gw_store_call(c, &get, &done);
        cr_assert(status == 0 || status == -ENOENT);
        uint64_t version = status == 0 ? done.seq : 0;
        value++;
        struct gw_store_request cas = get;
        cas.op = GW_STORE_CAS;
        cas.from = version;
        status = gw_store_call(c, &cas, &done);
        cr_assert(status == 0 || status == -ESTALE || status == -EEXIST, "%d", status);
        n += status == 0;
    }
}

static void *writer_main(void *arg)
{
    struct writer *w = arg;
    write_all(w);
    raise_counter(w->client);
    atomic_fetch_add(&w->world->writers_done, 1);
    return NULL;
}

/* Sees the events of every segment, in order, scanning only when a note has told of something. */
struct follower {
    struct gw_store_client *client;
    uint64_t next, seen;
    bool scanning, told;
    uint8_t buf[4096];
};

static void follow_one(struct follower *f, const struct gw_store_completion *done)
{
    if (done->op == GW_STORE_NOTE) {
        f->told = true;
        return;
    }
    cr_assert_eq(done->status, 0);
    for (uint32_t off = 0; off < done->len; f->seen++) {
        struct gw_events_entry e;
        memcpy(&e, f->buf + off, sizeof(e));
        cr_assert_geq(e.segment, f->next);
        f->next = e.segment + 1;
        off += (uint32_t)gw_record_padded(e.len);
    }
    f->next = done->next;
    f->told |= done->more;
    f->scanning = false;
}

static void *follower_main(void *arg)
{
    struct world *world = arg;
    static struct follower f;
    memset(&f, 0, sizeof(f));
    f.client = gw_store_client(world->store, WRITERS);
    gw_store_follow(f.client);
    int fd = gw_store_client_fd(f.client);
    while (f.seen < WRITERS * SEGMENTS) {
        struct gw_store_completion done;
        while (gw_store_poll(f.client, &done, 1) == 1)
            follow_one(&f, &done);
        if (f.told && !f.scanning) {
            struct gw_store_request r = {.op = GW_STORE_SCAN_EVENTS,
                                         .from = f.next,
                                         .data = f.buf,
                                         .data_len = sizeof(f.buf)};
            cr_assert_eq(gw_store_submit(f.client, &r), 0);
            f.scanning = true;
            f.told = false;
        } else if (f.seen < WRITERS * SEGMENTS) {
            struct pollfd p = {.fd = fd, .events = POLLIN};
            cr_assert_geq(poll(&p, 1, -1), 0);
        }
    }
    return NULL;
}

static void *commit_main(void *arg)
{
    struct world *world = arg;
    while (!atomic_load(&world->stop))
        if (gw_store_commit_poll(world->store) == 0)
            gw_store_commit_wait(world->store, 100000);
    return NULL;
}

static void check_all(struct rig *rig, const struct writer *w)
{
    for (unsigned m = 0; m < MAILBOXES; m++) {
        uint64_t lowest, next;
        rig_state(rig, mailbox_of(w, m), &lowest, &next);
        cr_assert_geq(next, w->next[m]);
        if (w->removed[m] + 1 < w->next[m])
            cr_assert_eq(lowest, w->removed[m] + 1);
    }
}

static void run(const char *engine)
{
    static struct rig rig;
    static struct world world;
    static struct writer writers[WRITERS];
    world = (struct world){0};
    memset(writers, 0, sizeof(writers));
    rig_begin(&rig, engine);
    rig.cfg.own_thread = true;
    rig.cfg.clock_us = NULL;
    rig.cfg.spill_after_us = 2000; /* so that reads meet both sides of the border */
    rig.cfg.window_bytes_max = 128 << 10;
    rig.cfg.spill_file_min = 100;
    rig_open(&rig);
    world.store = rig.store;
    pthread_t threads[WRITERS], commit, follower;
    cr_assert_eq(pthread_create(&commit, NULL, commit_main, &world), 0);
    cr_assert_eq(pthread_create(&follower, NULL, follower_main, &world), 0);
    for (unsigned i = 0; i < WRITERS; i++) {
        struct writer *w = &writers[i];
        w->world = &world;
        w->client = rig.client[i];
        w->index = i;
        w->random = i + 1;
        w->sleeps = i == 1;
        if (w->sleeps)
            w->fd = gw_store_client_fd(w->client);
        for (unsigned m = 0; m < MAILBOXES; m++)
            w->next[m] = 1;
        cr_assert_eq(pthread_create(&threads[i], NULL, writer_main, w), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    pthread_join(follower, NULL);
    atomic_store(&world.stop, true);
    pthread_join(commit, NULL);

    for (unsigned i = 0; i < WRITERS; i++)
        check_all(&rig, &writers[i]);
    rig_reopen(&rig);
    uint64_t value;
    struct gw_store_request r = {.op = GW_STORE_GET,
                                 .ns = GW_NS_META,
                                 .key = "counter",
                                 .key_len = 7,
                                 .data = &value,
                                 .data_len = sizeof(value)};
    struct gw_store_completion done;
    cr_assert_eq(rig_call(&rig, &r, &done), 0);
    cr_assert_eq(value, WRITERS * COUNTER_ADDS);
    for (unsigned i = 0; i < WRITERS; i++)
        check_all(&rig, &writers[i]);
    cr_assert_eq(rig.reports, 0, "%s", rig.last_report);
    rig_end(&rig);
}

int main(void)
{
    run("mem");
    run("rocksdb");
    return 0;
}
