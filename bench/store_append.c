/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast the store makes records durable, beside what the disk alone can do.
 *
 * store_append [DIR [SECONDS [MAILBOXES]]]. One client keeps one commit's worth of segments in
 * flight; a commit thread and the storage thread run as in godwitd, with no dataplane beside them.
 * `online` removes each message in the next commit but one, so that nothing is spilled; `offline`
 * removes nothing. The ceiling is an append of the same bytes and fdatasync on the same file
 * system.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../dataplane/base/check.h"
#include "../storage/store.h"

#define RECORD_BYTES 316
#define BODY_BYTES   (RECORD_BYTES - sizeof(struct gw_record_head))
#define SEGMENT_MAX  1024 /* records; larger commits are several segments */
#define SEGMENTS_MAX 4
#define BUFFER_BYTES (768 << 10)

struct bench {
    struct gw_store *store;
    struct gw_store_client *client;
    unsigned mailbox_count;
    uint64_t *next, *removed; /* by mailbox: position to append, removed up to here */
    uint64_t random;
    uint32_t *last_mailboxes; /* of the commit before */
    unsigned last_count;
    uint8_t *buffers[SEGMENTS_MAX];
};

static atomic_bool stop;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static uint32_t below(uint64_t *random, uint32_t limit)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*random >> 33) % limit);
}

static void *commit_main(void *arg)
{
    struct gw_store *s = arg;
    while (!atomic_load(&stop))
        if (gw_store_commit_poll(s) == 0)
            gw_store_commit_wait(s, 100000);
    return NULL;
}

static struct gw_mailbox_id mailbox_id(uint32_t m)
{
    struct gw_mailbox_id id = {{0}};
    uint64_t h = (m + 1) * 0x9e3779b97f4a7c15u;
    memcpy(id.b, &h, sizeof(h));
    memcpy(id.b + 8, &m, sizeof(m));
    return id;
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
static void commit_once(struct bench *b, unsigned records, bool online)
{
    unsigned segments = (records + SEGMENT_MAX - 1) / SEGMENT_MAX, each = records / segments;
    uint32_t *mailboxes = b->last_mailboxes;
    for (unsigned s = 0; s < segments; s++) {
        struct gw_segment_writer w;
        gw_segment_begin(&w, b->buffers[s], BUFFER_BYTES, 0);
        /* Delivered: what the commit before made durable. */
        for (unsigned i = s * each; online && i < (s + 1) * each && i < b->last_count; i++)
            add_removal(b, &w, mailboxes[i], b->next[mailboxes[i]] - 1);
        for (unsigned i = 0; i < each; i++) {
            mailboxes[s * each + i] = below(&b->random, b->mailbox_count);
            add_message(b, &w, mailboxes[s * each + i]);
        }
        struct gw_store_request r = {.op = GW_STORE_APPEND, .data = b->buffers[s]};
        r.data_len = gw_segment_end(&w, 1);
        check(gw_store_submit(b->client, &r) == 0);
    }
    b->last_count = segments * each;
    for (unsigned done = 0; done < segments;) {
        struct gw_store_completion c[SEGMENTS_MAX];
        unsigned n = gw_store_poll(b->client, c, SEGMENTS_MAX);
        for (unsigned i = 0; i < n; i++)
            check(c[i].status == 0);
        done += n;
        if (n == 0)
            sched_yield();
    }
}

static uint64_t counter(struct gw_counter_set set, const char *name)
{
    for (unsigned i = 0; i < set.count; i++)
        if (strcmp(set.descs[i].name, name) == 0)
            return set.values[i];
    return 0;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts. */
static double percentile(double *v, size_t n, double p)
{
    qsort(v, n, sizeof(*v), compare);
    return v[(size_t)((double)(n - 1) * p)];
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
    struct gw_store_config cfg = {.engine = "rocksdb",
                                  .path = path,
                                  .durability = GW_DURABILITY_SYNC,
                                  .client_count = 1,
                                  .requests_max = 64,
                                  .window_bytes_max = 64 << 20,
                                  .spill_after_us = 2000000,
                                  .own_thread = true,
                                  .storage_cpu = -1};
    struct bench b = {.mailbox_count = mailboxes, .random = 1};
    if (gw_store_open(&b.store, &cfg, err) != 0) {
        fprintf(stderr, "store_append: %s\n", err);
        exit(1);
    }
    b.client = gw_store_client(b.store, 0);
    b.next = calloc(mailboxes, sizeof(*b.next));
    b.removed = calloc(mailboxes, sizeof(*b.removed));
    b.last_mailboxes = calloc(SEGMENTS_MAX * SEGMENT_MAX, sizeof(*b.last_mailboxes));
    for (unsigned i = 0; i < mailboxes; i++)
        b.next[i] = 1;
    for (unsigned i = 0; i < SEGMENTS_MAX; i++)
        b.buffers[i] = aligned_alloc(64, BUFFER_BYTES);
    atomic_store(&stop, false);
    pthread_t commit;
    check(pthread_create(&commit, NULL, commit_main, b.store) == 0);

    size_t n = 0;
    double begin = now_s(), last = begin, now = begin, cpu = cpu_s(), worst = 0;
    for (; now - begin < seconds && n < LATENCIES_MAX; n++) {
        commit_once(&b, records, online);
        now = now_s();
        latencies[n] = now - last;
        worst = latencies[n] > worst ? latencies[n] : worst;
        last = now;
    }
    double rate = (double)n * records / (now - begin);
    struct gw_counter_set set = gw_store_counters_storage(b.store);
    printf(
        "  store, %-8s %9.0f records/s  commit p50 %5.0f us  p99 %6.0f us  max %6.1f ms  %4.2f us "
        "CPU/record  %3.0f %% of the disk  spilled %" PRIu64 "\n",
        online ? "online" : "offline", rate, percentile(latencies, n, 0.5) * 1e6,
        percentile(latencies, n, 0.99) * 1e6, worst * 1e3,
        (cpu_s() - cpu) / ((double)n * records) * 1e6, rate / disk * 100, counter(set, "spilled"));
    struct gw_store_state state = gw_store_state(b.store);
    printf("                  unspilled at the end: %.1f MiB, %" PRIu64 " messages\n",
           (double)state.window_bytes / (1 << 20), state.window_messages);
    atomic_store(&stop, true);
    pthread_join(commit, NULL);
    gw_store_free(&b.store);
    for (unsigned i = 0; i < SEGMENTS_MAX; i++)
        free(b.buffers[i]);
    free(b.next);
    free(b.removed);
    free(b.last_mailboxes);
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
