/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast the store makes records durable, beside what the disk alone can do.
 *
 * store_append [DIR [SECONDS [MAILBOXES]]]. One client keeps one commit's worth of segments in
 * flight; a commit thread and the storage thread run as in godwitd, with no dataplane beside them.
 * `online` removes each message in the next commit but one, so that nothing is spilled; `offline`
 * removes nothing. The ceiling is an append of the same bytes and fdatasync on the same file
 * system. In the end the store is opened again, and each mailbox must hold what is in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../dataplane/base/check.h"
#include "../storage/store.h"
#include "measure.h"
#include "store_drive.h"

#define RECORD_BYTES 316
#define BODY_BYTES   (RECORD_BYTES - sizeof(struct gw_record_head))
#define SEGMENT_MAX  1024 /* records; larger commits are several segments */
#define SEGMENTS_MAX 4
#define BUFFER_BYTES (768 << 10)
#define IN_FLIGHT    3 /* one on disk, one waiting, one being built */

/* Of one commit that is in flight or was just before. */
struct batch {
    uint32_t mailboxes[SEGMENTS_MAX * SEGMENT_MAX];
    uint64_t positions[SEGMENTS_MAX * SEGMENT_MAX];
    double submitted_s;
    _Alignas(64) uint8_t buffers[SEGMENTS_MAX][BUFFER_BYTES];
};

struct bench {
    struct gw_store *store;
    struct gw_store_client *client;
    int fd;
    unsigned mailbox_count;
    uint64_t *next, *removed; /* by mailbox: position to append, removed up to here */
    uint64_t random;
    size_t submitted, completed; /* commits */
    struct batch batches[IN_FLIGHT];
};

static unsigned segment_count(unsigned records)
{
    return (records + SEGMENT_MAX - 1) / SEGMENT_MAX;
}

static void add_message(struct bench *b, struct gw_segment_writer *w, uint32_t m)
{
    struct gw_mailbox_id id = mailbox_id(m);
    struct gw_record_head *r =
        gw_segment_add(w, GW_RECORD_MESSAGE, &id, b->next[m]++, (uint32_t)BODY_BYTES);
    check(r != NULL);
    memset(r + 1, (int)m, BODY_BYTES);
}

static void add_removal(struct bench *b, struct gw_segment_writer *w, uint32_t m, uint64_t last)
{
    if (b->removed[m] >= last)
        return;
    struct gw_mailbox_id id = mailbox_id(m);
    struct gw_position_range range = {b->removed[m] + 1, last};
    struct gw_record_head *r = gw_segment_add(w, GW_RECORD_REMOVE, &id, 0, sizeof(range));
    check(r != NULL);
    memcpy(r + 1, &range, sizeof(range));
    b->removed[m] = last;
}

/* One commit: its segments are submitted together, so that the commit thread finds them together.
 */
static void submit_commit(struct bench *b, unsigned records, bool online)
{
    struct batch *now = &b->batches[b->submitted % IN_FLIGHT];
    const struct batch *old = &b->batches[(b->submitted + 1) % IN_FLIGHT];
    unsigned segments = segment_count(records), each = records / segments;
    for (unsigned s = 0; s < segments; s++) {
        struct gw_segment_writer w;
        gw_segment_begin(&w, now->buffers[s], BUFFER_BYTES, 0);
        /* Delivered: what the oldest commit made durable. */
        for (unsigned i = s * each; online && b->submitted >= IN_FLIGHT && i < (s + 1) * each; i++)
            add_removal(b, &w, old->mailboxes[i], old->positions[i]);
        for (unsigned i = s * each; i < (s + 1) * each; i++) {
            uint32_t m = below(&b->random, b->mailbox_count);
            now->mailboxes[i] = m;
            now->positions[i] = b->next[m];
            add_message(b, &w, m);
        }
        struct gw_store_request r = {.op = GW_STORE_APPEND, .data = now->buffers[s]};
        r.data_len = gw_segment_end(&w, 1);
        check(gw_store_submit(b->client, &r) == 0);
    }
    now->submitted_s = now_s();
    b->submitted++;
}

/* Waits until the oldest commit in flight is durable; returns what it took. */
static double await_commit(struct bench *b, unsigned records)
{
    for (unsigned done = 0; done < segment_count(records);) {
        struct gw_store_completion c[SEGMENTS_MAX];
        unsigned n = gw_store_poll(b->client, c, segment_count(records) - done);
        for (unsigned i = 0; i < n; i++)
            check(c[i].status == 0);
        done += n;
        if (n == 0) {
            struct pollfd p = {.fd = b->fd, .events = POLLIN};
            check(poll(&p, 1, -1) >= 0);
        }
    }
    return now_s() - b->batches[b->completed++ % IN_FLIGHT].submitted_s;
}

/* Opened again, every mailbox holds what was appended to it and not removed. */
static void verify(struct bench *b, const struct gw_store_config *cfg)
{
    char err[256];
    check(gw_store_open(&b->store, cfg, err) == 0);
    b->client = gw_store_client(b->store, 0);
    for (uint32_t m = 0; m < b->mailbox_count; m++) {
        struct gw_mailbox_id id = mailbox_id(m);
        check(count_waiting(b->client, &id) == b->next[m] - 1 - b->removed[m]);
    }
    gw_store_free(&b->store);
}

static uint64_t counter(struct gw_counter_set set, const char *name)
{
    for (unsigned i = 0; i < set.count; i++)
        if (strcmp(set.descs[i].name, name) == 0)
            return set.values[i];
    return 0;
}

#define LATENCIES_MAX 1000000

/* The disk alone: the same bytes appended to a file, and fdatasync. Records a second. */
static double ceiling(const char *dir, unsigned records, double seconds, double *latencies)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/ceiling", dir);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    check(fd >= 0);
    size_t bytes = (size_t)records * 320;
    void *buf = calloc(1, bytes);
    size_t n = 0;
    double begin = now_s(), last = begin, now = begin;
    for (; now - begin < seconds && n < LATENCIES_MAX; n++) {
        check(write(fd, buf, bytes) == (ssize_t)bytes && fdatasync(fd) == 0);
        now = now_s();
        latencies[n] = now - last;
        last = now;
    }
    free(buf);
    close(fd);
    unlink(path);
    printf("  disk alone      %9.0f records/s  commit p50 %5.0f us  p99 %6.0f us\n",
           (double)n * records / (now - begin), percentile(latencies, n, 0.5) * 1e6,
           percentile(latencies, n, 0.99) * 1e6);
    return (double)n * records / (now - begin);
}

static void run(const char *dir, unsigned records, bool online, double seconds, unsigned mailboxes,
                double disk, double *latencies)
{
    char path[256], command[300], err[256];
    snprintf(path, sizeof(path), "%s/store", dir);
    struct gw_store_config cfg = store_config(path);
    static struct bench b;
    memset(&b, 0, sizeof(b));
    b.mailbox_count = mailboxes;
    b.random = 1;
    if (gw_store_open(&b.store, &cfg, err) != 0) {
        fprintf(stderr, "store_append: %s\n", err);
        exit(1);
    }
    b.client = gw_store_client(b.store, 0);
    b.fd = gw_store_client_fd(b.client);
    b.next = calloc(mailboxes, sizeof(*b.next));
    b.removed = calloc(mailboxes, sizeof(*b.removed));
    for (unsigned i = 0; i < mailboxes; i++)
        b.next[i] = 1;
    atomic_store(&stop, false);
    pthread_t commit;
    check(pthread_create(&commit, NULL, commit_main, b.store) == 0);
    pthread_setname_np(commit, "commit");
    struct cpu_times before = cpu_read();

    size_t n = 0;
    double begin = now_s(), now = begin, worst = 0;
    for (; now - begin < seconds && n < LATENCIES_MAX; now = now_s()) {
        submit_commit(&b, records, online);
        if (b.submitted - b.completed < IN_FLIGHT - 1)
            continue;
        latencies[n] = await_commit(&b, records);
        worst = latencies[n] > worst ? latencies[n] : worst;
        n++;
    }
    double rate = (double)n * records / (now - begin);
    struct gw_counter_set set = gw_store_counters_storage(b.store);
    printf("  store, %-8s %9.0f records/s  commit p50 %5.0f us  p99 %6.0f us  max %5.1f ms  %3.0f "
           "%% of "
           "the disk\n",
           online ? "online" : "offline", rate, percentile(latencies, n, 0.5) * 1e6,
           percentile(latencies, n, 0.99) * 1e6, worst * 1e3, rate / disk * 100);
    printf("    CPU us/record:");
    cpu_print(&before, n * records);
    struct gw_store_state state = gw_store_state(b.store);
    printf("    spilled %" PRIu64 ", waits for room %" PRIu64
           ", unspilled at the end %.1f MiB, %" PRIu64 " messages\n",
           counter(set, "spilled"), counter(gw_store_counters_commit(b.store), "waits"),
           (double)state.window_bytes / (1 << 20), state.window_messages);
    while (b.completed < b.submitted)
        await_commit(&b, records);
    atomic_store(&stop, true);
    pthread_join(commit, NULL);
    gw_store_free(&b.store);
    verify(&b, &cfg);
    free(b.next);
    free(b.removed);
    snprintf(command, sizeof(command), "rm -rf %s", path);
    check(system(command) == 0);
}

int main(int argc, char **argv)
{
    const char *base = argc > 1 ? argv[1] : "/var/tmp";
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 5;
    unsigned mailboxes = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 100000;
    char dir[200];
    snprintf(dir, sizeof(dir), "%s/gw-store-append-XXXXXX", base);
    if (mkdtemp(dir) == NULL) {
        fprintf(stderr, "store_append: %s: %s\n", dir, strerror(errno));
        return 1;
    }
    double *latencies = calloc(LATENCIES_MAX, sizeof(*latencies));
    static const unsigned sizes[] = {256, 1024, 4096};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        printf("%u records of %u bytes a commit, %u mailboxes\n", sizes[i], RECORD_BYTES,
               mailboxes);
        double disk = ceiling(dir, sizes[i], seconds < 2 ? seconds : 2, latencies);
        run(dir, sizes[i], true, seconds, mailboxes, disk, latencies);
        run(dir, sizes[i], false, seconds, mailboxes, disk, latencies);
        fflush(stdout);
    }
    free(latencies);
    return rmdir(dir) == 0 ? 0 : 1;
}
