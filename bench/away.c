/* SPDX-License-Identifier: Apache-2.0 */
#include "away.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include "measure.h"
#include "store_drive.h"

#define BODY_BYTES   (AWAY_RECORD_BYTES - sizeof(struct gw_record_head))
#define BATCH        256 /* records of a segment */
#define IN_FLIGHT    8
#define READS        16 /* mailboxes being read at once */
#define READ_BYTES   (64 << 10)

struct away {
    struct gw_store *store;
    struct gw_store_client *client;
    pthread_t commit;
    int fd;
    uint32_t mailbox_count;
    uint64_t *next;
    uint64_t random;
    struct gw_keyring *keys; /* NULL: plain */
    struct gw_sealer *sealer;
    struct gw_identity *identities;
    _Alignas(64) uint8_t segments[IN_FLIGHT][BATCH * 320 + 64];
    uint8_t reads[READS][READ_BYTES];
};

static void submit(struct away *b, const struct gw_store_request *r)
{
    check(gw_store_submit(b->client, r) == 0);
}

static unsigned wait_for(struct away *b, struct gw_store_completion *done, unsigned max,
                         int timeout_ms)
{
    unsigned n = gw_store_poll(b->client, done, max);
    if (n > 0 || timeout_ms == 0)
        return n;
    struct pollfd p = {.fd = b->fd, .events = POLLIN};
    check(poll(&p, 1, timeout_ms) >= 0);
    return gw_store_poll(b->client, done, max);
}

static struct gw_mailbox_id mailbox_of(const struct away *b, uint32_t m)
{
    return b->keys != NULL ? gw_identity_mailbox(&b->identities[m]) : mailbox_id(m);
}

static void submit_segment(struct away *b, unsigned slot)
{
    struct gw_segment_writer w;
    struct gw_seal_op ops[BATCH];
    uint8_t aads[BATCH][GW_RECORD_AAD_BYTES];
    gw_segment_begin(&w, b->segments[slot], sizeof(b->segments[slot]), 0);
    for (unsigned i = 0; i < BATCH; i++) {
        uint32_t m = below(&b->random, b->mailbox_count);
        struct gw_mailbox_id id = mailbox_of(b, m);
        struct gw_record_head *r =
            gw_segment_add(&w, GW_RECORD_MESSAGE, &id, b->next[m]++, (uint32_t)BODY_BYTES);
        check(r != NULL);
        memset(r + 1, (int)m, BODY_BYTES);
        if (b->keys == NULL)
            continue;
        gw_record_aad(aads[i], &b->identities[m], r->position, GW_RECORD_MESSAGE, false);
        gw_record_seal_op(&ops[i], b->keys, b->sealer, r, aads[i]);
    }
    if (b->keys != NULL)
        gw_seal_burst(b->sealer, ops, BATCH);
    struct gw_store_request r = {.op = GW_STORE_APPEND, .tag = slot, .data = b->segments[slot]};
    r.data_len = gw_segment_end(&w, 1);
    submit(b, &r);
}

static uint64_t counter(struct gw_counter_set set, const char *name)
{
    for (unsigned i = 0; i < set.count; i++)
        if (strcmp(set.descs[i].name, name) == 0)
            return set.values[i];
    return 0;
}

void away_print(struct away *b, double t, uint64_t stored)
{
    struct gw_store_state s = gw_store_state(b->store);
    printf("  %5.1f s  %9" PRIu64 " stored  %9.0f/s  unspilled %6.1f MiB  spilled %9" PRIu64 "\n",
           t, stored, (double)stored / t, (double)s.window_bytes / (1 << 20),
           counter(gw_store_counters_storage(b->store), "spilled"));
    fflush(stdout);
}

static bool goes_on(double t, double seconds, uint64_t submitted, uint64_t limit)
{
    return t < seconds && submitted < limit;
}

uint64_t away_store(struct away *b, double seconds, double rate, uint64_t limit)
{
    unsigned free_slots[IN_FLIGHT], free_count = IN_FLIGHT;
    for (unsigned i = 0; i < IN_FLIGHT; i++)
        free_slots[i] = i;
    uint64_t submitted = 0, stored = 0;
    double begin = now_s(), t = 0, shown = 0;
    while (goes_on(t, seconds, submitted, limit) || free_count < IN_FLIGHT) {
        while (goes_on(t, seconds, submitted, limit) && free_count > 0 &&
               (rate == 0 || (double)submitted < t * rate)) {
            submit_segment(b, free_slots[--free_count]);
            submitted += BATCH;
        }
        struct gw_store_completion done[IN_FLIGHT];
        unsigned n = wait_for(b, done, IN_FLIGHT, 1);
        for (unsigned i = 0; i < n; i++) {
            check(done[i].status == 0);
            free_slots[free_count++] = (unsigned)done[i].tag;
        }
        stored += n * BATCH;
        t = now_s() - begin;
        if (t - shown >= seconds / 6) {
            shown = t;
            away_print(b, t, stored);
        }
    }
    return stored;
}

/* ---- reading back ---- */

struct reader {
    uint32_t mailbox;
    uint64_t from;
};

static void submit_read(struct away *b, unsigned slot, const struct reader *r)
{
    struct gw_store_request q = {.op = GW_STORE_READ,
                                 .tag = slot,
                                 .mailbox = mailbox_of(b, r->mailbox),
                                 .identity = b->keys != NULL ? &b->identities[r->mailbox] : NULL,
                                 .from = r->from,
                                 .data = b->reads[slot],
                                 .data_len = READ_BYTES};
    submit(b, &q);
}

/* Removals of what was read, a segment of many mailboxes at a time. */
#define REMOVALS 400

struct remover {
    struct reader *waiting; /* mailboxes to be emptied, up to `from` */
    size_t first, count;
    bool in_flight;
    _Alignas(64) uint8_t buf[REMOVALS * 80 + 64];
};

/* One segment at a time, when there is enough for it or at the end. */
static void remove_some(struct away *b, struct remover *m, bool all)
{
    size_t n = m->count - m->first;
    if (m->in_flight || n == 0 || (n < REMOVALS && !all))
        return;
    struct gw_segment_writer w;
    struct gw_seal_op ops[REMOVALS];
    uint8_t aads[REMOVALS][GW_RECORD_AAD_BYTES];
    unsigned sealed = 0;
    gw_segment_begin(&w, m->buf, sizeof(m->buf), 0);
    for (size_t i = 0; i < n && i < REMOVALS; i++) {
        struct reader *r = &m->waiting[m->first++];
        struct gw_mailbox_id id = mailbox_of(b, r->mailbox);
        struct gw_position_range range = {1, r->from - 1};
        struct gw_record_head *rec = gw_segment_add(&w, GW_RECORD_REMOVE, &id, 0, sizeof(range));
        check(rec != NULL);
        memcpy(rec + 1, &range, sizeof(range));
        if (b->keys == NULL)
            continue;
        gw_removal_aad(aads[sealed], &id, rec->position);
        gw_record_seal_op(&ops[sealed], b->keys, b->sealer, rec, aads[sealed]);
        sealed++;
    }
    if (sealed > 0)
        gw_seal_burst(b->sealer, ops, sealed);
    struct gw_store_request r = {.op = GW_STORE_APPEND, .data = m->buf};
    r.data_len = gw_segment_end(&w, 1);
    submit(b, &r);
    m->in_flight = true;
}

static uint64_t count_records(const struct away *b, unsigned slot, uint32_t len, uint64_t *last)
{
    size_t off = 0;
    uint64_t n = 0;
    const struct gw_record_head *r;
    while ((r = gw_record_next(b->reads[slot], len, &off)) != NULL) {
        check(r->position > *last);
        *last = r->position;
        n++;
    }
    return n;
}

static uint32_t *random_order(struct away *b)
{
    uint32_t *order = calloc(b->mailbox_count, sizeof(*order));
    check(order != NULL);
    for (uint32_t i = 0; i < b->mailbox_count; i++) {
        uint32_t k = below(&b->random, i + 1);
        order[i] = order[k];
        order[k] = i;
    }
    return order;
}

uint64_t away_read(struct away *b)
{
    static struct remover remover;
    uint32_t *order = random_order(b);
    remover.waiting = calloc(b->mailbox_count, sizeof(*remover.waiting));
    struct reader readers[READS];
    uint32_t begun = 0, ended = 0;
    uint64_t records = 0;
    for (; begun < READS && begun < b->mailbox_count; begun++) {
        readers[begun] = (struct reader){order[begun], 1};
        submit_read(b, begun, &readers[begun]);
    }
    while (ended < b->mailbox_count || remover.in_flight || remover.first < remover.count) {
        struct gw_store_completion done[READS];
        unsigned n = wait_for(b, done, READS, 100);
        for (unsigned i = 0; i < n; i++) {
            check(done[i].status == 0);
            if (done[i].op == GW_STORE_APPEND) {
                remover.in_flight = false;
                continue;
            }
            unsigned slot = (unsigned)done[i].tag;
            struct reader *r = &readers[slot];
            uint64_t last = r->from - 1;
            records += count_records(b, slot, done[i].len, &last);
            r->from = last + 1;
            if (!done[i].more) {
                if (last > 0)
                    remover.waiting[remover.count++] = *r;
                ended++;
                if (begun == b->mailbox_count)
                    continue;
                *r = (struct reader){order[begun++], 1};
            }
            submit_read(b, slot, r);
        }
        remove_some(b, &remover, ended == b->mailbox_count);
    }
    free(order);
    free(remover.waiting);
    return records;
}

uint64_t away_waiting(struct away *b)
{
    uint64_t waiting = 0;
    for (uint32_t m = 0; m < b->mailbox_count; m++) {
        struct gw_mailbox_id id = mailbox_of(b, m);
        waiting += count_waiting(b->client, &id);
    }
    return waiting;
}

/* ---- keys ---- */

/* The key ring of a master key that is the same each time. */
static void open_keys(struct away *b, const char *dir)
{
    char path[256], err[256] = "";
    uint8_t key[32] = {1};
    snprintf(path, sizeof(path), "%s/master.key", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    check(fd >= 0 && write(fd, key, sizeof(key)) == sizeof(key) && close(fd) == 0);
    check(gw_keyring_open(&b->keys, path, err) == 0);
    check(gw_sealer_open(&b->sealer, GW_SEAL_IPSEC_MB, 1) == 0);
    b->identities = calloc(b->mailbox_count, sizeof(*b->identities));
    check(b->identities != NULL);
    for (uint32_t i = 0; i < b->mailbox_count; i++) {
        memcpy(key + 4, &i, sizeof(i));
        b->identities[i] = gw_identity_of(key);
    }
}

/* Accounts: the record does not matter, the key comes with it. */
void away_make_accounts(struct away *b)
{
    if (b->keys == NULL)
        return;
    uint32_t names[32], begun = 0, ended = 0;
    struct gw_store_completion done[32];
    while (ended < b->mailbox_count) {
        for (; begun < b->mailbox_count && begun - ended < 32; begun++) {
            names[begun % 32] = begun;
            struct gw_store_request r = {.op = GW_STORE_CAS,
                                         .ns = GW_NS_ACCOUNT,
                                         .key = &names[begun % 32],
                                         .key_len = 4,
                                         .data = b->reads[0],
                                         .data_len = 200,
                                         .identity = &b->identities[begun]};
            submit(b, &r);
        }
        unsigned n = wait_for(b, done, 32, 100);
        for (unsigned i = 0; i < n; i++)
            check(done[i].status == 0);
        ended += n;
    }
}

/* ---- life ---- */

static void report(void *arg, const char *line)
{
    printf("  %s\n", line);
    fflush(stdout);
}

static void open_store(struct away *b, const char *path)
{
    char err[256];
    struct gw_store_config cfg = store_config(path);
    cfg.report = report;
    cfg.keys = b->keys;
    if (gw_store_open(&b->store, &cfg, err) != 0) {
        fprintf(stderr, "%s: %s\n", path, err);
        exit(1);
    }
}

struct away *away_open(const char *dir, uint32_t mailbox_count, bool sealed)
{
    char path[256];
    struct away *b = aligned_alloc(64, (sizeof(*b) + 63) / 64 * 64);
    check(b != NULL);
    memset(b, 0, sizeof(*b));
    b->mailbox_count = mailbox_count;
    b->random = 1;
    if (sealed)
        open_keys(b, dir);
    snprintf(path, sizeof(path), "%s/store", dir);
    open_store(b, path);
    b->client = gw_store_client(b->store, 0);
    b->fd = gw_store_client_fd(b->client);
    b->next = calloc(mailbox_count, sizeof(*b->next));
    check(b->next != NULL);
    for (uint32_t i = 0; i < mailbox_count; i++)
        b->next[i] = 1;
    check(pthread_create(&b->commit, NULL, commit_main, b->store) == 0);
    pthread_setname_np(b->commit, "commit");
    return b;
}

void away_close(struct away *b)
{
    atomic_store(&stop, true);
    pthread_join(b->commit, NULL);
    gw_store_free(&b->store);
    gw_sealer_free(&b->sealer);
    gw_keyring_free(&b->keys);
    free(b->identities);
    free(b->next);
    free(b);
}

void away_die(struct away *b)
{
    for (unsigned i = 0; i < IN_FLIGHT; i++)
        submit_segment(b, i);
    kill(getpid(), SIGKILL);
}
