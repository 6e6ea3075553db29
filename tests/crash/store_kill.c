/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill -9 of a process that writes to the store, at random moments of its work, again and again on
 * the same files: what it was told is durable is there, in order; what it removed is not.
 *
 * store_kill [ROUNDS [SEED]]. The writer tells of its acknowledgements through shared memory, so
 * that none is lost with it; it is killed when it has made a random number of them. After each kill
 * a second process opens the store and compares.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../dataplane/base/check.h"
#include "../../storage/store.h"

#define MAILBOXES  64
#define DEPTH      16
#define ACCOUNTS   16
#define ROUNDS_MAX 1024

/* After a start a mailbox may go on at a higher position than the one after its last. */
struct jump {
    uint64_t from, to;
};

/* What the writer has promised; written after each completion, read when it is dead. */
struct ledger {
    atomic_uint_fast64_t durable[MAILBOXES]; /* positions up to here were acknowledged */
    atomic_uint_fast64_t asked[MAILBOXES];   /* removals up to here were asked for */
    atomic_uint_fast64_t removed[MAILBOXES]; /* and up to here acknowledged */
    atomic_uint_fast64_t versions[ACCOUNTS]; /* of small records, acknowledged */
    atomic_uint_fast64_t acknowledged;       /* segments */
    struct jump jumps[MAILBOXES][ROUNDS_MAX];
    unsigned jump_count[MAILBOXES];
};

struct slot {
    struct gw_segment_writer w;
    uint64_t top[MAILBOXES], removed[MAILBOXES];
    _Alignas(8) uint8_t buf[16384];
};

struct writer {
    struct ledger *ledger;
    struct gw_store *store;
    struct gw_store_client *client;
    int progress; /* a byte for each segment acknowledged */
    uint64_t random;
    uint64_t next[MAILBOXES];
    struct slot slots[DEPTH];
};

static uint32_t below(uint64_t *random, uint32_t limit)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*random >> 33) % limit);
}

static struct gw_mailbox_id mailbox_id(unsigned m)
{
    struct gw_mailbox_id id = {{0}};
    uint64_t h = (m + 1) * 0x9e3779b97f4a7c15u;
    memcpy(id.b, &h, sizeof(h));
    return id;
}

static struct gw_store *open_store(const char *path)
{
    struct gw_store_config cfg = {
        .engine = "rocksdb",
        .path = path,
        .durability = GW_DURABILITY_SYNC,
        .client_count = 2,
        .requests_max = 64,
        .window_bytes_max = 1 << 20,
        .spill_after_us = 20000, /* kills meet spills as often as commits */
        .spill_file_min = 300,
        .own_thread = true,
        .storage_cpu = -1,
    };
    struct gw_store *s;
    char err[256];
    if (gw_store_open(&s, &cfg, err) != 0) {
        fprintf(stderr, "store_kill: %s\n", err);
        exit(1);
    }
    return s;
}

static void *commit_main(void *arg)
{
    struct gw_store *s = arg;
    for (;;)
        if (gw_store_commit_poll(s) == 0)
            gw_store_commit_wait(s, 100000);
    return NULL;
}

/* ---- the writer ---- */

static size_t body_of(char out[128], unsigned mailbox, uint64_t position)
{
    return (size_t)snprintf(
        out, 128, "%u:%" PRIu64 ":%.*s", mailbox, position, (int)(position * 7 % 90),
        "the quick brown fox jumps over the lazy dog; the quick brown fox jumps "
        "over the lazy dog");
}

static void add_messages(struct writer *w, struct slot *s)
{
    for (unsigned n = 1 + below(&w->random, 60); n > 0; n--) {
        unsigned m = below(&w->random, MAILBOXES);
        struct gw_mailbox_id id = mailbox_id(m);
        char body[128];
        size_t len = body_of(body, m, w->next[m]);
        struct gw_record_head *r =
            gw_segment_add(&s->w, GW_RECORD_MESSAGE, &id, w->next[m], (uint32_t)len);
        check(r != NULL);
        memcpy(r + 1, body, len);
        w->next[m]++;
    }
}

static void add_removals(struct writer *w, struct slot *s)
{
    for (unsigned n = below(&w->random, 6); n > 0; n--) {
        unsigned m = below(&w->random, MAILBOXES);
        uint64_t asked = w->ledger->asked[m], durable = w->ledger->durable[m];
        if (asked >= durable)
            continue;
        uint64_t last = asked + 1 + below(&w->random, (uint32_t)(durable - asked));
        struct gw_position_range range = {asked + 1, last};
        struct gw_mailbox_id id = mailbox_id(m);
        struct gw_record_head *r = gw_segment_add(&s->w, GW_RECORD_REMOVE, &id, 0, sizeof(range));
        check(r != NULL);
        memcpy(r + 1, &range, sizeof(range));
        w->ledger->asked[m] = last;
    }
}

static void submit(struct writer *w, uint64_t number)
{
    struct slot *s = &w->slots[number % DEPTH];
    gw_segment_begin(&s->w, s->buf, sizeof(s->buf), 0);
    add_messages(w, s);
    add_removals(w, s);
    for (unsigned m = 0; m < MAILBOXES; m++) {
        s->top[m] = w->next[m] - 1;
        s->removed[m] = w->ledger->asked[m];
    }
    struct gw_store_request r = {.op = GW_STORE_APPEND, .tag = number, .data = s->buf};
    r.data_len = gw_segment_end(&s->w, 1);
    check(gw_store_submit(w->client, &r) == 0);
}

static void acknowledged(struct writer *w, const struct gw_store_completion *done)
{
    check(done->status == 0);
    const struct slot *s = &w->slots[done->tag % DEPTH];
    for (unsigned m = 0; m < MAILBOXES; m++) {
        w->ledger->durable[m] = s->top[m];
        w->ledger->removed[m] = s->removed[m];
    }
    w->ledger->acknowledged++;
    check(write(w->progress, "", 1) == 1);
}

static void *small_main(void *arg)
{
    struct writer *w = arg;
    struct gw_store_client *c = gw_store_client(w->store, 1);
    for (unsigned i = 0;; i = (i + 1) % ACCOUNTS) {
        uint64_t value = i;
        struct gw_store_request get = {.op = GW_STORE_GET,
                                       .ns = GW_NS_ACCOUNT,
                                       .key = &i,
                                       .key_len = sizeof(i),
                                       .data = &value,
                                       .data_len = sizeof(value)};
        struct gw_store_completion done;
        int status = gw_store_call(c, &get, &done);
        check(status == 0 || status == -ENOENT);
        struct gw_store_request cas = get;
        cas.op = GW_STORE_CAS;
        cas.from = status == 0 ? done.seq : 0;
        check(gw_store_call(c, &cas, &done) == 0);
        w->ledger->versions[i] = done.seq;
    }
    return NULL;
}

_Noreturn static void writer_main(struct ledger *ledger, const char *path, int progress,
                                  uint64_t seed)
{
    static struct writer w;
    w.ledger = ledger;
    w.progress = progress;
    w.random = seed;
    w.store = open_store(path);
    w.client = gw_store_client(w.store, 0);
    for (unsigned m = 0; m < MAILBOXES; m++) {
        struct gw_store_request r = {.op = GW_STORE_MAILBOX, .mailbox = mailbox_id(m)};
        struct gw_store_completion done;
        check(gw_store_call(w.client, &r, &done) == 0);
        w.next[m] = done.next;
        if (done.next > ledger->durable[m] + 1)
            ledger->jumps[m][ledger->jump_count[m]++] =
                (struct jump){ledger->durable[m], done.next};
    }
    pthread_t commit, small;
    check(pthread_create(&commit, NULL, commit_main, w.store) == 0);
    check(pthread_create(&small, NULL, small_main, &w) == 0);
    for (uint64_t submitted = 0, completed = 0;;) {
        while (submitted - completed < DEPTH)
            submit(&w, submitted++);
        struct gw_store_completion done[DEPTH];
        unsigned n = gw_store_poll(w.client, done, DEPTH);
        for (unsigned i = 0; i < n; i++)
            acknowledged(&w, &done[i]);
        completed += n;
        if (n == 0)
            sched_yield();
    }
}

/* ---- the judge ---- */

static int wrong;

#define expect(cond, ...)                 \
    do {                                  \
        if (!(cond)) {                    \
            fprintf(stderr, __VA_ARGS__); \
            wrong++;                      \
        }                                 \
    } while (0)

/* The position that was used after this one. */
static uint64_t successor(const struct ledger *l, unsigned m, uint64_t position)
{
    for (unsigned i = 0; i < l->jump_count[m]; i++)
        if (position >= l->jumps[m][i].from && position < l->jumps[m][i].to)
            return l->jumps[m][i].to;
    return position + 1;
}

static void judge_record(const struct ledger *l, unsigned m, const struct gw_record_head *r,
                         uint64_t last)
{
    char body[128];
    size_t len = body_of(body, m, r->position);
    expect(gw_record_body_len(r) == len && memcmp(gw_record_body(r), body, len) == 0,
           "mailbox %u: position %" PRIu64 " is not what was stored\n", m, r->position);
    expect(r->position > l->removed[m], "mailbox %u: removed position %" PRIu64 " is back\n", m,
           r->position);
    if (last == 0)
        expect(r->position <= successor(l, m, l->asked[m]),
               "mailbox %u: starts at %" PRIu64 ", removed was up to %" PRIu64 "\n", m, r->position,
               (uint64_t)l->asked[m]);
    else
        expect(r->position == successor(l, m, last),
               "mailbox %u: from %" PRIu64 " to %" PRIu64 "\n", m, last, r->position);
}

/* What is seen now counts as promised from here on, acknowledged before the kill or not. */
static void adopt(struct ledger *l, unsigned m, uint64_t first, uint64_t last)
{
    uint64_t tail = l->durable[m] > l->asked[m] ? l->durable[m] : l->asked[m];
    l->durable[m] = last > tail ? last : tail;
    l->removed[m] = l->asked[m] = first > 0 ? first - 1 : l->durable[m];
}

static void judge_mailbox(struct ledger *l, struct gw_store_client *c, unsigned m)
{
    static uint8_t buf[1 << 20];
    uint64_t first = 0, last = 0, from = 0;
    struct gw_store_completion done;
    do {
        struct gw_store_request r = {.op = GW_STORE_READ,
                                     .mailbox = mailbox_id(m),
                                     .from = from,
                                     .data = buf,
                                     .data_len = sizeof(buf)};
        check(gw_store_call(c, &r, &done) == 0);
        size_t off = 0;
        const struct gw_record_head *rec;
        while ((rec = gw_record_next(buf, done.len, &off)) != NULL) {
            judge_record(l, m, rec, last);
            first = first == 0 ? rec->position : first;
            last = rec->position;
        }
        from = done.next;
    } while (done.more);
    if (l->durable[m] > l->asked[m])
        expect(last >= l->durable[m],
               "mailbox %u: acknowledged up to %" PRIu64 ", there is only up to %" PRIu64 "\n", m,
               (uint64_t)l->durable[m], last);
    adopt(l, m, first, last);
    struct gw_store_request state = {.op = GW_STORE_MAILBOX, .mailbox = mailbox_id(m)};
    check(gw_store_call(c, &state, &done) == 0);
    expect(done.next > l->durable[m], "mailbox %u: next is %" PRIu64 ", used was %" PRIu64 "\n", m,
           done.next, (uint64_t)l->durable[m]);
    expect(done.seq == (first > 0 ? first : done.next), "mailbox %u: lowest is %" PRIu64 "\n", m,
           done.seq);
}

static void judge_small(struct ledger *l, struct gw_store_client *c)
{
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        uint64_t value;
        struct gw_store_request get = {.op = GW_STORE_GET,
                                       .ns = GW_NS_ACCOUNT,
                                       .key = &i,
                                       .key_len = sizeof(i),
                                       .data = &value,
                                       .data_len = sizeof(value)};
        struct gw_store_completion done;
        int status = gw_store_call(c, &get, &done);
        if (l->versions[i] > 0)
            expect(status == 0 && done.seq >= l->versions[i],
                   "account %u is at version %" PRIu64 ", acknowledged was %" PRIu64 "\n", i,
                   done.seq, (uint64_t)l->versions[i]);
    }
}

_Noreturn static void judge_main(struct ledger *l, const char *path)
{
    struct gw_store *s = open_store(path);
    struct gw_store_client *c = gw_store_client(s, 0);
    for (unsigned m = 0; m < MAILBOXES; m++)
        judge_mailbox(l, c, m);
    judge_small(l, c);
    struct gw_counter_set set = gw_store_counters_storage(s);
    for (unsigned i = 0; i < set.count; i++)
        if (strcmp(set.descs[i].name, "damaged") == 0)
            expect(set.values[i] == 0, "%" PRIu64 " damaged segments\n", set.values[i]);
    /* Killed in its turn, in the middle of a spill perhaps: nobody closes this store. */
    _exit(wrong > 0);
}

/* ---- rounds ---- */

static bool round_main(struct ledger *l, const char *path, uint64_t *random)
{
    int progress[2];
    check(pipe(progress) == 0);
    uint64_t seed = *random;
    pid_t writer = fork();
    check(writer >= 0);
    if (writer == 0) {
        close(progress[0]);
        writer_main(l, path, progress[1], seed);
    }
    close(progress[1]);
    char byte;
    ssize_t n = 1;
    for (unsigned wanted = 1 + below(random, 3000); wanted > 0 && n == 1; wanted--)
        n = read(progress[0], &byte, 1);
    kill(writer, SIGKILL);
    int status;
    check(waitpid(writer, &status, 0) == writer);
    close(progress[0]);
    if (n != 1 || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        fprintf(stderr, "the writer ended by itself\n");
        return false;
    }
    pid_t judge = fork();
    check(judge >= 0);
    if (judge == 0)
        judge_main(l, path);
    check(waitpid(judge, &status, 0) == judge);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 20;
    check(rounds <= ROUNDS_MAX);
    uint64_t random = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    char dir[] = "/tmp/gw-store-kill-XXXXXX", path[64], command[64];
    check(mkdtemp(dir) != NULL);
    snprintf(path, sizeof(path), "%s/store", dir);
    struct ledger *l =
        mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(l != MAP_FAILED);
    unsigned i = 0;
    while (i < rounds && round_main(l, path, &random))
        i++;
    printf("%u kills, %" PRIu64 " segments acknowledged: %s\n", i, (uint64_t)l->acknowledged,
           i == rounds ? "nothing lost, nothing out of order" : "FAILED");
    if (i < rounds) {
        printf("the store is kept in %s\n", path);
        return 1;
    }
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command) == 0 ? 0 : 1;
}
