/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store to test with, driven by the test's own thread, its clock in the test's hand. The same
 * tests run over every engine: STORE_TEST(name) makes one Criterion test an engine.
 */
#ifndef GW_TEST_STORE_RIG_H
#define GW_TEST_STORE_RIG_H

#ifdef GW_TEST_PLAIN
#include "plain.h"
#else
#include <criterion/criterion.h>
#endif
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../storage/mem.h"
#include "../../storage/store.h"

#define RIG_CLIENTS  3
#define RIG_REQUESTS 64

struct rig {
    const char *engine;
    struct gw_mem_disk *disk;
    char dir[64];  /* everything of this rig */
    char path[96]; /* the store's directory; another one after each crash */
    unsigned path_count;
    struct gw_store_config cfg;
    struct gw_store *store;
    struct gw_store_client *client[RIG_CLIENTS];
    uint64_t now_us;
    char last_report[512];
    unsigned reports;
};

#define STORE_TEST(test)               \
    static void test(struct rig *rig); \
    Test(store_mem, test)              \
    {                                  \
        rig_run("mem", test);          \
    }                                  \
    Test(store_rocksdb, test)          \
    {                                  \
        rig_run("rocksdb", test);      \
    }                                  \
    static void test(struct rig *rig)

static inline uint64_t rig_clock(void *arg)
{
    return ((struct rig *)arg)->now_us;
}

static inline void rig_report(void *arg, const char *line)
{
    struct rig *rig = arg;
    snprintf(rig->last_report, sizeof(rig->last_report), "%s", line);
    rig->reports++;
}

static inline int rig_try_open(struct rig *rig, char err[256])
{
    rig->cfg.path = rig->path;
    int status = gw_store_open(&rig->store, &rig->cfg, err);
    for (unsigned i = 0; status == 0 && i < RIG_CLIENTS; i++)
        rig->client[i] = gw_store_client(rig->store, i);
    return status;
}

static inline void rig_open(struct rig *rig)
{
    char err[256] = "";
    cr_assert_eq(rig_try_open(rig, err), 0, "%s", err);
}

static inline void rig_new_path(struct rig *rig)
{
    snprintf(rig->path, sizeof(rig->path), "%s/%u", rig->dir, rig->path_count++);
}

static inline void rig_begin(struct rig *rig, const char *engine)
{
    *rig =
        (struct rig){.engine = engine, .now_us = 1700000000000000, .dir = "/tmp/gw-store-XXXXXX"};
    cr_assert_not_null(mkdtemp(rig->dir));
    rig_new_path(rig);
    rig->disk = gw_mem_disk_new(1);
    rig->cfg = (struct gw_store_config){.engine = engine,
                                        .durability = GW_DURABILITY_SYNC,
                                        .client_count = RIG_CLIENTS,
                                        .requests_max = RIG_REQUESTS,
                                        .window_bytes_max = 8 << 20,
                                        .spill_after_us = 1000000,
                                        .storage_cpu = -1,
                                        .spill_file_min = 2,
                                        .spill_events_min = 512,
                                        .disk = rig->disk,
                                        .clock_us = rig_clock,
                                        .clock_arg = rig,
                                        .report = rig_report,
                                        .report_arg = rig};
}

static inline void rig_shell(const char *command, const char *a, const char *b)
{
    char line[640];
    snprintf(line, sizeof(line), "%s %s %s", command, a, b);
    cr_assert_eq(system(line), 0, "%s", line);
}

/* The files of an open store as they are at one moment: RocksDB's own threads may be at work, so the
 * copy counts only when nothing has changed under it. */
static inline void rig_copy(const char *from, const char *to)
{
    static const char script[] =
        "now() { find \"$1\" -printf '%%P %%s %%T@\\n' | sort; }; i=0; "
        "until before=$(now '%s') && rm -rf '%s' && cp -a '%s' '%s' 2>/dev/null && "
        "[ \"$before\" = \"$(now '%s')\" ]; do i=$((i + 1)); [ $i -lt 1000 ] || exit 1; done";
    char line[1024];
    snprintf(line, sizeof(line), script, from, to, from, to, from);
    cr_assert_eq(system(line), 0, "%s", line);
}

static inline void rig_end(struct rig *rig)
{
    gw_store_free(&rig->store);
    gw_mem_disk_free(&rig->disk);
    rig_shell("rm -rf", rig->dir, "");
}

static inline void rig_run(const char *engine, void (*test)(struct rig *))
{
    struct rig rig;
    rig_begin(&rig, engine);
    rig_open(&rig);
    test(&rig);
    rig_end(&rig);
}

static inline void rig_reopen(struct rig *rig)
{
    gw_store_free(&rig->store);
    rig_open(rig);
}

/* What kill -9 leaves: of a store on disk, its files as they are while it is open. */
static inline void rig_kill(struct rig *rig)
{
    if (strcmp(rig->engine, "mem") == 0) {
        gw_mem_crash(rig->disk, GW_MEM_KILL);
    } else {
        char from[96];
        memcpy(from, rig->path, sizeof(from));
        rig_new_path(rig);
        rig_copy(from, rig->path);
    }
    rig_reopen(rig);
}

static inline void rig_step(struct rig *rig)
{
    gw_store_commit_poll(rig->store);
    gw_store_storage_poll(rig->store);
}

/* Until nothing is left to do at this time. */
static inline void rig_settle(struct rig *rig)
{
    while (gw_store_commit_poll(rig->store) + gw_store_storage_poll(rig->store) > 0)
        ;
}

/* Everything in the window becomes keys. */
static inline void rig_spill(struct rig *rig)
{
    rig->now_us += rig->cfg.spill_after_us;
    rig_settle(rig);
    cr_assert_eq(gw_store_state(rig->store).window_bytes, 0);
}

static inline struct gw_mailbox_id rig_mailbox(unsigned n)
{
    struct gw_mailbox_id id = {{0}};
    /* Spread as the real ones are. */
    uint64_t h = (n + 1) * 0x9e3779b97f4a7c15u;
    memcpy(id.b, &h, sizeof(h));
    memcpy(id.b + 8, &n, sizeof(n));
    return id;
}

/* ---- segments ---- */

struct rig_segment {
    struct gw_segment_writer w;
    _Alignas(8) uint8_t buf[65536];
};

static inline void rig_segment_begin(struct rig_segment *g)
{
    gw_segment_begin(&g->w, g->buf, sizeof(g->buf), 0);
}

static inline void rig_message(struct rig_segment *g, unsigned mailbox, uint64_t position,
                               const char *text)
{
    struct gw_mailbox_id id = rig_mailbox(mailbox);
    struct gw_record_head *r =
        gw_segment_add(&g->w, GW_RECORD_MESSAGE, &id, position, (uint32_t)strlen(text));
    cr_assert_not_null(r);
    memcpy(r + 1, text, strlen(text));
}

static inline void rig_remove(struct rig_segment *g, unsigned mailbox, uint64_t first,
                              uint64_t last)
{
    struct gw_mailbox_id id = rig_mailbox(mailbox);
    struct gw_position_range range = {first, last};
    struct gw_record_head *r = gw_segment_add(&g->w, GW_RECORD_REMOVE, &id, 0, sizeof(range));
    cr_assert_not_null(r);
    memcpy(r + 1, &range, sizeof(range));
}

static inline void rig_events(struct rig_segment *g, const char *text)
{
    struct gw_mailbox_id none = {{0}};
    struct gw_record_head *r =
        gw_segment_add(&g->w, GW_RECORD_EVENTS, &none, 0, (uint32_t)strlen(text));
    cr_assert_not_null(r);
    memcpy(r + 1, text, strlen(text));
}

static inline int rig_call(struct rig *rig, struct gw_store_request *r,
                           struct gw_store_completion *done)
{
    return gw_store_call(rig->client[0], r, done);
}

static inline int rig_append(struct rig *rig, struct rig_segment *g, uint64_t *number)
{
    struct gw_store_request r = {.op = GW_STORE_APPEND, .data = g->buf, .tag = 77};
    r.data_len = gw_segment_end(&g->w, rig->now_us);
    struct gw_store_completion done;
    int status = rig_call(rig, &r, &done);
    if (number != NULL)
        *number = done.seq;
    return status;
}

static inline void rig_put(struct rig *rig, unsigned mailbox, uint64_t position, const char *text)
{
    struct rig_segment *g = malloc(sizeof(*g));
    rig_segment_begin(g);
    rig_message(g, mailbox, position, text);
    cr_assert_eq(rig_append(rig, g, NULL), 0);
    free(g);
}

static inline void rig_take(struct rig *rig, unsigned mailbox, uint64_t first, uint64_t last)
{
    struct rig_segment *g = malloc(sizeof(*g));
    rig_segment_begin(g);
    rig_remove(g, mailbox, first, last);
    cr_assert_eq(rig_append(rig, g, NULL), 0);
    free(g);
}

/* ---- reading ---- */

/* "position:text position:text " of a mailbox from a position on, read in pieces of `piece` bytes.
 */
static inline void rig_read_in(struct rig *rig, unsigned mailbox, uint64_t from, uint32_t piece,
                               char *out, size_t out_cap)
{
    uint8_t *buf = malloc(piece);
    struct gw_store_completion done;
    size_t used = 0;
    out[0] = '\0';
    do {
        struct gw_store_request r = {.op = GW_STORE_READ,
                                     .mailbox = rig_mailbox(mailbox),
                                     .from = from,
                                     .data = buf,
                                     .data_len = piece};
        cr_assert_eq(rig_call(rig, &r, &done), 0, "%d", done.status);
        size_t off = 0;
        const struct gw_record_head *rec;
        while ((rec = gw_record_next(buf, done.len, &off)) != NULL)
            used += (size_t)snprintf(out + used, out_cap - used, "%" PRIu64 ":%.*s ", rec->position,
                                     (int)gw_record_body_len(rec), gw_record_body(rec));
        cr_assert_eq(off, done.len);
        cr_assert_lt(used, out_cap);
        from = done.next;
    } while (done.more);
    free(buf);
}

#define rig_assert_mailbox(rig, mailbox, from, expected)               \
    do {                                                               \
        char got_[8192];                                               \
        rig_read_in(rig, mailbox, from, 65536, got_, sizeof(got_));    \
        cr_assert_str_eq(got_, expected);                              \
        rig_read_in(rig, mailbox, from, 128, got_, sizeof(got_));      \
        cr_assert_str_eq(got_, expected, "in small pieces: %s", got_); \
    } while (0)

static inline struct gw_mailbox_count rig_count(struct rig *rig, unsigned mailbox)
{
    struct gw_mailbox_count count = {0};
    struct gw_store_request r = {.op = GW_STORE_COUNT, .mailbox = rig_mailbox(mailbox),
                                 .data = &count, .data_len = sizeof(count)};
    struct gw_store_completion done;
    do {
        cr_assert_eq(rig_call(rig, &r, &done), 0);
        cr_assert(!done.more || done.next > r.from);
        r.from = done.next;
    } while (done.more);
    return count;
}

static inline void rig_state(struct rig *rig, unsigned mailbox, uint64_t *lowest, uint64_t *next)
{
    struct gw_store_request r = {.op = GW_STORE_MAILBOX, .mailbox = rig_mailbox(mailbox)};
    struct gw_store_completion done;
    cr_assert_eq(rig_call(rig, &r, &done), 0);
    *lowest = done.seq;
    *next = done.next;
}

static inline uint64_t rig_next(struct rig *rig, unsigned mailbox)
{
    uint64_t lowest, next;
    rig_state(rig, mailbox, &lowest, &next);
    return next;
}

static inline uint64_t rig_lowest(struct rig *rig, unsigned mailbox)
{
    uint64_t lowest, next;
    rig_state(rig, mailbox, &lowest, &next);
    return lowest;
}

static inline uint64_t rig_counter(struct gw_counter_set set, const char *name)
{
    for (unsigned i = 0; i < set.count; i++)
        if (strcmp(set.descs[i].name, name) == 0)
            return set.values[i];
    cr_assert_fail("no counter %s", name);
    return 0;
}

/* ---- small records ---- */

static inline int rig_cas(struct rig *rig, enum gw_store_ns ns, const char *key, uint64_t expect,
                          const char *value, uint64_t *version)
{
    struct gw_store_request r = {.op = GW_STORE_CAS,
                                 .ns = (uint8_t)ns,
                                 .key = key,
                                 .key_len = (uint16_t)strlen(key),
                                 .from = expect,
                                 .data = (void *)(uintptr_t)value,
                                 .data_len = (uint32_t)strlen(value)};
    struct gw_store_completion done;
    int status = rig_call(rig, &r, &done);
    if (version != NULL)
        *version = done.seq;
    return status;
}

static inline int rig_get(struct rig *rig, enum gw_store_ns ns, const char *key, char *out,
                          size_t cap, uint64_t *version)
{
    struct gw_store_request r = {.op = GW_STORE_GET,
                                 .ns = (uint8_t)ns,
                                 .key = key,
                                 .key_len = (uint16_t)strlen(key),
                                 .data = out,
                                 .data_len = (uint32_t)cap - 1};
    struct gw_store_completion done;
    int status = rig_call(rig, &r, &done);
    if (status == 0)
        out[done.len] = '\0';
    if (version != NULL)
        *version = done.seq;
    return status;
}

#endif
