/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the receipt ledger costs: the same messages through a store without their events, and through
 * another with them packed, sealed, stored, read and joined. One thread drives it all, so nothing hides
 * on another.
 *
 * ledger [DIR [MESSAGES [TOGETHER]]]. TOGETHER: messages of one mailbox that are delivered at once.
 * Ends with the time that a ledger takes to be there again after a start.
 */
#include <fcntl.h>
#include <poll.h>

#include "../control/ledger.h"
#include "../storage/event.h"
#include "measure.h"
#include "store_drive.h"

#define BODY_BYTES 252 /* with its head 316, as elsewhere */
#define EACH       64  /* messages of a segment, and removals of those of the one before */
#define SEGMENTS   32  /* made, appended, and read before the next are made */
#define MAILBOXES  1000
#define SEGMENT_BYTES (64u << 10)
/* Until the ledger's memory is full and every page of it in use, as in a broker that has run for a while. */
#define WARM_MESSAGES 500000
#define TURN_MESSAGES 50000
#define BAR_US     0.3

struct bench {
    const char *dir;
    bool with; /* events */
    unsigned together;
    struct gw_store *store;
    struct gw_store_client *client;
    struct gw_keyring *keys;
    struct gw_sealer *sealer, *reader_sealer;
    struct store_ops ops;
    struct ledger *ledger;
    struct gw_segment_writer writers[SEGMENTS];
    uint64_t written; /* messages */
    uint64_t cursor;  /* as the store would have it */
    _Alignas(64) uint8_t segments[SEGMENTS][SEGMENT_BYTES];
};

/* Seconds of CPU time. */
struct cost {
    double all, pack, read;
};

static double cpu_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double thread_s(void)
{
    return cpu_s(CLOCK_THREAD_CPUTIME_ID);
}

/* ---- what a home appends ---- */

/* Message i: runs of `together` go to one mailbox. */
static struct gw_mailbox_id mailbox_of(const struct bench *b, uint64_t i)
{
    return mailbox_id((uint32_t)(i / b->together % MAILBOXES));
}

static uint64_t position_of(const struct bench *b, uint64_t i)
{
    uint64_t round = i / b->together / MAILBOXES;
    return 1 + round * b->together + i % b->together;
}

static void add_message(struct bench *b, struct gw_segment_writer *w, uint64_t i)
{
    struct gw_mailbox_id id = mailbox_of(b, i);
    struct gw_record_head *r =
        gw_segment_add(w, GW_RECORD_MESSAGE, &id, position_of(b, i), BODY_BYTES);
    check(r != NULL);
    memset(r + 1, (int)i, BODY_BYTES);
}

static void add_removal(struct bench *b, struct gw_segment_writer *w, uint64_t i)
{
    struct gw_mailbox_id id = mailbox_of(b, i);
    uint64_t position = position_of(b, i);
    struct gw_position_range range = {position, position + b->together - 1};
    struct gw_record_head *r = gw_segment_add(w, GW_RECORD_REMOVE, &id, position, sizeof(range));
    uint8_t aad[GW_RECORD_AAD_BYTES];
    check(r != NULL);
    r->aux = 1;
    memcpy(r + 1, &range, sizeof(range));
    gw_removal_aad(aad, &id, r->position);
    struct gw_seal_op op;
    gw_record_seal_op(&op, b->keys, b->sealer, r, aad);
    gw_seal_burst(b->sealer, &op, 1);
}

static void make_segment(struct bench *b, unsigned n)
{
    struct gw_segment_writer *w = &b->writers[n];
    uint64_t first = b->written + (uint64_t)n * EACH;
    gw_segment_begin(w, b->segments[n], SEGMENT_BYTES, 0);
    for (unsigned k = 0; k < EACH; k++)
        add_message(b, w, first + k);
    for (unsigned k = 0; k < EACH && first > 0; k += b->together)
        add_removal(b, w, first - EACH + k);
}

static void add_events(struct bench *b, unsigned n)
{
    static const struct gw_mailbox_id none;
    static uint8_t events[SEGMENT_BYTES];
    char from[32], to[32], message_id[32];
    uint64_t first = b->written + (uint64_t)n * EACH;
    uint8_t aad[GW_RECORD_AAD_BYTES];
    struct gw_event_writer w = gw_event_writer(events, SEGMENT_BYTES);
    memcpy(from, "u000000@bench.test", 18);
    memcpy(to, "u000000@bench.test", 18);
    memcpy(message_id, "m0000000000000", 14);
    for (unsigned k = 0; k < EACH; k++) {
        uint64_t i = first + k;
        memcpy(to + 1, &(uint32_t){(uint32_t)(i / b->together % MAILBOXES) | 0x40404040}, 4);
        memcpy(message_id + 1, &(uint64_t){i | 0x4040404040404040}, 8);
        struct gw_event e = {.kind = GW_EVENT_STORED, .time_us = i + 1, .mailbox = mailbox_of(b, i),
                             .position = position_of(b, i), .fingerprint = {i + 1, i},
                             .from = gw_bytes(from, 18), .to = gw_bytes(to, 18),
                             .id = gw_bytes(message_id, 14)};
        check(gw_event_pack(&w, &e));
    }
    for (unsigned k = 0; k < EACH && first > 0; k++) {
        uint64_t i = first - EACH + k;
        struct gw_event e = {.kind = GW_EVENT_DELIVERED, .time_us = i + 2,
                             .mailbox = mailbox_of(b, i), .position = position_of(b, i)};
        check(gw_event_pack(&w, &e));
    }
    struct gw_record_head *r =
        gw_segment_add(&b->writers[n], GW_RECORD_EVENTS, &none, 0, (uint32_t)w.len);
    check(r != NULL);
    gw_record_aad(aad, NULL, r->position, GW_RECORD_EVENTS, false);
    struct gw_seal_op op;
    gw_record_seal_op(&op, b->keys, b->sealer, r, aad);
    op.in = events;
    gw_seal_burst(b->sealer, &op, 1);
}

/* ---- the store and its reader ---- */

static void append_all(struct bench *b)
{
    struct gw_store_completion done[SEGMENTS];
    for (unsigned n = 0; n < SEGMENTS; n++) {
        struct gw_store_request r = {.op = GW_STORE_APPEND, .data = b->segments[n]};
        r.data_len = gw_segment_end(&b->writers[n], b->written + n + 1);
        check(gw_store_submit(b->client, &r) == 0);
    }
    for (unsigned n = 0; n < SEGMENTS;) {
        gw_store_commit_poll(b->store);
        gw_store_storage_poll(b->store);
        n += gw_store_poll(b->client, done, SEGMENTS);
    }
    b->written += SEGMENTS * EACH;
}

/* All that the ledger wants to read now: as in the broker, it lets some gather. Returns its own part of
 * it; the store's is what it costs to hand out what it has. */
static double read_some(struct bench *b)
{
    uint64_t next = gw_store_state(b->store).segment_next;
    double spent_s = 0;
    while (ledger_place_now(b->ledger).segment < next && ledger_wait_ms(b->ledger) <= 0) {
        double begin = thread_s();
        store_ops_poll(&b->ops);
        ledger_work(b->ledger);
        spent_s += thread_s() - begin;
        gw_store_storage_poll(b->store);
    }
    return spent_s;
}

static double read_rest(struct bench *b)
{
    double spent_s = 0;
    while (ledger_place_now(b->ledger).segment < gw_store_state(b->store).segment_next) {
        (void)poll(NULL, 0, ledger_wait_ms(b->ledger) > 0 ? ledger_wait_ms(b->ledger) : 0);
        spent_s += read_some(b);
    }
    return spent_s;
}

static void open_ledger(struct bench *b)
{
    store_ops_init(&b->ops, gw_store_client(b->store, 1));
    b->ledger = ledger_new(&ledger_config_default, &b->ops, b->keys, b->reader_sealer,
                           gw_store_state(b->store).segment_next, b->cursor);
}

static void close_ledger(struct bench *b)
{
    const struct receipt *oldest = ledger_table_oldest(ledger_memory(b->ledger));
    b->cursor = oldest != NULL ? oldest->place.segment : 0;
    while (b->ops.pending > 0) {
        gw_store_storage_poll(b->store);
        store_ops_poll(&b->ops);
    }
    ledger_free(&b->ledger);
}

static void open_store(struct bench *b)
{
    char path[256], err[256];
    snprintf(path, sizeof(path), "%s/%s", b->dir, b->with ? "with" : "without");
    struct gw_store_config cfg = store_config(path);
    cfg.durability = GW_DURABILITY_ASYNC; /* CPU time is measured, not the disk */
    cfg.client_count = 2;
    cfg.own_thread = false;
    cfg.keys = b->keys;
    if (gw_store_open(&b->store, &cfg, err) != 0) {
        fprintf(stderr, "%s: %s\n", path, err);
        exit(1);
    }
    b->client = gw_store_client(b->store, 0);
}

static struct cost write_some(struct bench *b, uint64_t messages)
{
    uint64_t until = b->written + messages;
    bool with = b->with;
    struct cost c = {0};
    double begin = cpu_s(CLOCK_PROCESS_CPUTIME_ID);
    while (b->written < until) {
        for (unsigned n = 0; n < SEGMENTS; n++)
            make_segment(b, n);
        double t0 = thread_s();
        for (unsigned n = 0; n < SEGMENTS && with; n++)
            add_events(b, n);
        double t1 = thread_s();
        append_all(b);
        if (with)
            c.read += read_some(b);
        c.pack += t1 - t0;
    }
    if (with)
        c.read += read_rest(b);
    c.all = cpu_s(CLOCK_PROCESS_CPUTIME_ID) - begin;
    return c;
}

static void restart(struct bench *b)
{
    open_store(b);
    double begin = now_s();
    open_ledger(b);
    (void)read_rest(b);
    printf("  at start there again after %.0f ms with %u messages in memory, of %" PRIu64
           " in the store\n", 1e3 * (now_s() - begin), ledger_table_count(ledger_memory(b->ledger)),
           b->written);
    close_ledger(b);
    gw_store_free(&b->store);
}

/* ---- life ---- */

static void open_keys(struct bench *b)
{
    char path[256], err[256] = "";
    uint8_t key[32] = {1};
    snprintf(path, sizeof(path), "%s/master.key", b->dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    check(fd >= 0 && write(fd, key, sizeof(key)) == sizeof(key) && close(fd) == 0);
    if (gw_keyring_open(&b->keys, path, err) != 0) {
        fprintf(stderr, "%s: %s\n", path, err);
        exit(1);
    }
}

static struct bench *bench_new(const char *dir, bool with, unsigned together)
{
    struct bench *b = aligned_alloc(64, (sizeof(*b) + 63) / 64 * 64);
    check(b != NULL);
    *b = (struct bench){.dir = dir, .with = with, .together = together};
    check(gw_sealer_open(&b->sealer, GW_SEAL_IPSEC_MB, 1) == 0);
    check(gw_sealer_open(&b->reader_sealer, GW_SEAL_IPSEC_MB, 2) == 0);
    open_keys(b);
    open_store(b);
    open_ledger(b);
    return b;
}

static void bench_close(struct bench *b)
{
    close_ledger(b);
    gw_store_free(&b->store);
}

static void bench_free(struct bench *b)
{
    gw_sealer_free(&b->sealer);
    gw_sealer_free(&b->reader_sealer);
    gw_keyring_free(&b->keys);
    free(b);
}

static void add(struct cost *sum, struct cost c)
{
    sum->all += c.all;
    sum->pack += c.pack;
    sum->read += c.read;
}

/* In turns: what the machine does besides, and how fast it runs, is then the same for both. */
static uint64_t measure(struct bench *const b[2], uint64_t messages, struct cost sum[2])
{
    for (int i = 0; i < 2; i++)
        (void)write_some(b[i], WARM_MESSAGES);
    uint64_t begun = b[1]->written;
    while (b[1]->written - begun < messages)
        for (int i = 0; i < 2; i++)
            add(&sum[i], write_some(b[i], TURN_MESSAGES));
    return b[1]->written - begun;
}

static bool print(uint64_t messages, const struct cost sum[2])
{
    double us = 1e6 / (double)messages;
    double all = us * (sum[1].all - sum[0].all), pack = us * (sum[1].pack - sum[0].pack);
    double read = us * (sum[1].read - sum[0].read);
    bool good = all <= BAR_US;
    printf("  us a message: packed and sealed %.3f, stored %.3f, read and joined %.3f; in all %.3f, "
           "at most %.1f: %s\n", pack, all - pack - read, read, all, BAR_US, good ? "ok" : "MISSED");
    fflush(stdout);
    return good;
}

int main(int argc, char **argv)
{
    const char *base = argc > 1 ? argv[1] : "/var/tmp";
    uint64_t messages = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000000;
    unsigned together = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 1;
    char dir[200], command[300];
    struct cost sum[2] = {{0}, {0}};
    check(together > 0 && EACH % together == 0);
    snprintf(dir, sizeof(dir), "%s/gw-ledger-XXXXXX", base);
    check(mkdtemp(dir) != NULL);
    struct bench *b[2] = {bench_new(dir, false, together), bench_new(dir, true, together)};
    messages = measure(b, messages, sum);
    bool good = print(messages, sum);
    for (int i = 0; i < 2; i++)
        bench_close(b[i]);
    gw_keyring_free(&b[1]->keys);
    open_keys(b[1]);
    restart(b[1]);
    for (int i = 0; i < 2; i++)
        bench_free(b[i]);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    check(system(command) == 0);
    return good ? 0 : 1;
}
