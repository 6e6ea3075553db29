/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store with a key ring, and accounts in it whose messages are sealed as a home lcore does it.
 * KEYS_TEST(name) makes one Criterion test an engine.
 */
#ifndef GW_TEST_KEYS_RIG_H
#define GW_TEST_KEYS_RIG_H

#include <fcntl.h>
#include <sys/stat.h>

#include "store_rig.h"

#define KEYS_SEALER 7

struct keys_rig {
    struct rig store;
    char master[96]; /* the file */
    struct gw_sealer *sealer;
};

static inline void keys_write_file(const char *path, uint8_t fill, mode_t mode)
{
    uint8_t key[32];
    memset(key, fill, sizeof(key));
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, mode);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, key, sizeof(key)), (ssize_t)sizeof(key));
    close(fd);
}

static inline struct gw_keyring *keys_of(struct keys_rig *k)
{
    return k->store.cfg.keys;
}

static inline void keys_open_ring(struct keys_rig *k)
{
    char err[256] = "";
    cr_assert_eq(gw_keyring_open(&k->store.cfg.keys, k->master, err), 0, "%s", err);
}

/* A process ends in order, and another one starts. */
static inline void keys_restart(struct keys_rig *k)
{
    gw_store_free(&k->store.store);
    gw_keyring_free(&k->store.cfg.keys);
    keys_open_ring(k);
    rig_open(&k->store);
}

/* kill -9, and another process starts. */
static inline void keys_kill(struct keys_rig *k)
{
    struct gw_keyring *old = k->store.cfg.keys;
    char from[96];
    if (strcmp(k->store.engine, "mem") == 0) {
        gw_mem_crash(k->store.disk, GW_MEM_KILL);
    } else {
        memcpy(from, k->store.path, sizeof(from));
        rig_new_path(&k->store);
        rig_copy(from, k->store.path);
    }
    gw_store_free(&k->store.store);
    gw_keyring_free(&old);
    keys_open_ring(k);
    rig_open(&k->store);
}

static inline void keys_run(const char *engine, void (*test)(struct keys_rig *))
{
    struct keys_rig k = {.sealer = NULL};
    rig_begin(&k.store, engine);
    snprintf(k.master, sizeof(k.master), "%s/master.key", k.store.dir);
    keys_write_file(k.master, 7, 0600);
    keys_open_ring(&k);
    cr_assert_eq(gw_sealer_open(&k.sealer, GW_SEAL_IPSEC_MB, KEYS_SEALER), 0);
    rig_open(&k.store);
    test(&k);
    gw_sealer_free(&k.sealer);
    struct gw_keyring *ring = k.store.cfg.keys;
    rig_end(&k.store);
    gw_keyring_free(&ring);
}

#define KEYS_TEST(test)                     \
    static void test(struct keys_rig *rig); \
    Test(keys_mem, test)                    \
    {                                       \
        keys_run("mem", test);              \
    }                                       \
    Test(keys_rocksdb, test)                \
    {                                       \
        keys_run("rocksdb", test);          \
    }                                       \
    static void test(struct keys_rig *rig)

/* ---- accounts ---- */

static inline struct gw_identity keys_identity(unsigned n)
{
    uint8_t key[32] = {1};
    memcpy(key + 4, &n, sizeof(n));
    return gw_identity_of(key);
}

static inline struct gw_mailbox_id keys_mailbox(unsigned n)
{
    struct gw_identity id = keys_identity(n);
    return gw_identity_mailbox(&id);
}

/* The account's record, sealed; with it comes its key. */
static inline void keys_add_account(struct keys_rig *k, unsigned n)
{
    struct gw_identity id = keys_identity(n);
    char name[32];
    snprintf(name, sizeof(name), "u%u@example.org", n);
    uint8_t sealed[8 + GW_SMALL_OVERHEAD_BYTES];
    gw_small_seal(keys_of(k), k->sealer, GW_NS_ACCOUNT, gw_bytes_str(name), GW_LIT("account."),
                  sealed);
    struct gw_store_request r = {.op = GW_STORE_CAS, .ns = GW_NS_ACCOUNT, .key = name,
                                 .key_len = (uint16_t)strlen(name), .data = sealed,
                                 .data_len = sizeof(sealed), .identity = &id};
    struct gw_store_completion done;
    cr_assert_eq(rig_call(&k->store, &r, &done), 0);
}

static inline void keys_drop_account(struct keys_rig *k, unsigned n)
{
    struct gw_store_request r = {.op = GW_STORE_DROP_MAILBOX, .mailbox = keys_mailbox(n)};
    struct gw_store_completion done;
    cr_assert_eq(rig_call(&k->store, &r, &done), 0);
}

/* The account's key record; its length, or negative errno. */
static inline int keys_get_record(struct keys_rig *k, unsigned n, uint8_t out[256])
{
    struct gw_mailbox_id id = keys_mailbox(n);
    struct gw_store_request r = {.op = GW_STORE_GET, .ns = GW_NS_ACCOUNT_KEY, .key = &id,
                                 .key_len = sizeof(id), .data = out, .data_len = 256};
    struct gw_store_completion done;
    int status = rig_call(&k->store, &r, &done);
    return status ? status : (int)done.len;
}

/* ---- messages and removals ---- */

static inline void keys_seal(struct keys_rig *k, struct gw_record_head *r, const uint8_t *aad)
{
    struct gw_seal_op op;
    gw_record_seal_op(&op, keys_of(k), k->sealer, r, aad);
    gw_seal_burst(k->sealer, &op, 1);
}

/* The record in the segment; a test may change it before it is appended. */
static inline struct gw_record_head *keys_message(struct keys_rig *k, struct rig_segment *g,
                                                  unsigned n, uint64_t position, const char *text)
{
    struct gw_identity id = keys_identity(n);
    struct gw_mailbox_id mailbox = gw_identity_mailbox(&id);
    uint8_t aad[GW_RECORD_AAD_BYTES];
    struct gw_record_head *r =
        gw_segment_add(&g->w, GW_RECORD_MESSAGE, &mailbox, position, (uint32_t)strlen(text));
    cr_assert_not_null(r);
    memcpy(r + 1, text, strlen(text));
    gw_record_aad(aad, &id, position, GW_RECORD_MESSAGE, false);
    keys_seal(k, r, aad);
    return r;
}

static inline struct gw_record_head *keys_removal(struct keys_rig *k, struct rig_segment *g,
                                                  unsigned n, uint64_t first, uint64_t last)
{
    struct gw_mailbox_id mailbox = keys_mailbox(n);
    struct gw_position_range range = {first, last};
    uint8_t aad[GW_RECORD_AAD_BYTES];
    struct gw_record_head *r =
        gw_segment_add(&g->w, GW_RECORD_REMOVE, &mailbox, first, sizeof(range));
    cr_assert_not_null(r);
    memcpy(r + 1, &range, sizeof(range));
    gw_removal_aad(aad, &mailbox, first);
    keys_seal(k, r, aad);
    return r;
}

static inline void keys_put(struct keys_rig *k, unsigned n, uint64_t position, const char *text)
{
    static struct rig_segment g;
    rig_segment_begin(&g);
    keys_message(k, &g, n, position, text);
    cr_assert_eq(rig_append(&k->store, &g, NULL), 0);
}

static inline void keys_take(struct keys_rig *k, unsigned n, uint64_t first, uint64_t last)
{
    static struct rig_segment g;
    rig_segment_begin(&g);
    keys_removal(k, &g, n, first, last);
    cr_assert_eq(rig_append(&k->store, &g, NULL), 0);
}

/* Opens what the store has left sealed, as a lcore does. */
static inline bool keys_open_record(struct keys_rig *k, unsigned n, struct gw_record_head *r)
{
    if (r->flags & GW_RECORD_OPENED)
        return true;
    struct gw_identity id = keys_identity(n);
    uint8_t aad[GW_RECORD_AAD_BYTES];
    gw_record_aad(aad, &id, r->position, r->kind, false);
    struct gw_seal_op op = gw_record_op(r, gw_keyring_key(keys_of(k), r->incarnation), aad);
    return op.key != NULL && gw_open_burst(k->sealer, &op, 1) == 0;
}

/* "position:text position:text "; one that does not open shows as "position:? ". `spilled` counts
 * those that the store opened. */
static inline void keys_read_as(struct keys_rig *k, unsigned n, const struct gw_identity *reader,
                                uint32_t piece, char *out, size_t cap, unsigned *spilled)
{
    uint8_t *buf = malloc(piece);
    struct gw_store_completion done;
    uint64_t from = 0;
    size_t used = 0;
    out[0] = '\0';
    *spilled = 0;
    do {
        struct gw_store_request r = {.op = GW_STORE_READ, .mailbox = keys_mailbox(n),
                                     .identity = reader, .from = from, .data = buf,
                                     .data_len = piece};
        cr_assert_eq(rig_call(&k->store, &r, &done), 0, "%d", done.status);
        size_t off = 0;
        const struct gw_record_head *next;
        while ((next = gw_record_next(buf, done.len, &off)) != NULL) {
            struct gw_record_head *rec = (struct gw_record_head *)(uintptr_t)next;
            bool by_store = (rec->flags & GW_RECORD_OPENED) != 0;
            bool ok = keys_open_record(k, n, rec);
            *spilled += by_store;
            used += (size_t)snprintf(out + used, cap - used, "%" PRIu64 ":%.*s ", rec->position,
                                     ok ? (int)gw_record_body_len(rec) : 1,
                                     ok ? (const char *)gw_record_body(rec) : "?");
        }
        cr_assert_lt(used, cap);
        from = done.next;
    } while (done.more);
    free(buf);
}

#define keys_assert_mailbox(k, n, expected_spilled, expected)                            \
    do {                                                                                 \
        static char got_[65536];                                                         \
        unsigned spilled_;                                                               \
        struct gw_identity reader_ = keys_identity(n);                                   \
        keys_read_as(k, n, &reader_, 65536, got_, sizeof(got_), &spilled_);              \
        cr_assert_str_eq(got_, expected);                                                \
        cr_assert_eq(spilled_, (unsigned)(expected_spilled), "%u opened", spilled_);     \
        keys_read_as(k, n, &reader_, 128, got_, sizeof(got_), &spilled_);                \
        cr_assert_str_eq(got_, expected, "in small pieces: %s", got_);                   \
    } while (0)

static inline uint64_t keys_counter(struct keys_rig *k, const char *name)
{
    return rig_counter(gw_store_counters_storage(k->store.store), name);
}

/* ---- walks ---- */

/* One slice; its status. */
static inline int keys_slice(struct keys_rig *k, enum gw_store_op op, enum gw_rotate what,
                             struct gw_walk *w)
{
    struct gw_store_request r = {
        .op = (uint8_t)op, .from = what, .data = w, .data_len = sizeof(*w)};
    struct gw_store_completion done;
    return rig_call(&k->store, &r, &done);
}

/* To its end. */
static inline void keys_walk(struct keys_rig *k, enum gw_store_op op, enum gw_rotate what,
                             struct gw_walk *w)
{
    do
        cr_assert_eq(keys_slice(k, op, what, w), 0);
    while (!w->ended);
}

/* SPILL, ERASE, BACKUP. */
static inline int keys_upkeep(struct keys_rig *k, enum gw_store_op op, uint64_t from,
                              struct gw_store_completion *done)
{
    struct gw_store_request r = {.op = (uint8_t)op, .from = from};
    return rig_call(&k->store, &r, done);
}

/* Whether any file below the store's directory, or the disk in memory, holds these bytes. */
static inline bool keys_on_disk(struct keys_rig *k, const void *bytes, size_t len)
{
    if (strcmp(k->store.engine, "mem") == 0)
        return gw_mem_holds(k->store.disk, bytes, len);
    char list[200], path[512];
    snprintf(list, sizeof(list), "find '%s' -type f", k->store.path);
    FILE *files = popen(list, "r");
    cr_assert_not_null(files);
    bool found = false;
    unsigned count = 0;
    while (fgets(path, sizeof(path), files) != NULL) {
        path[strcspn(path, "\n")] = '\0';
        int fd = open(path, O_RDONLY);
        if (fd < 0)
            continue; /* RocksDB removes files at its own time */
        off_t size = lseek(fd, 0, SEEK_END);
        char *all = malloc((size_t)size + 1);
        cr_assert_eq(pread(fd, all, (size_t)size, 0), size);
        found |= memmem(all, (size_t)size, bytes, len) != NULL;
        free(all);
        close(fd);
        count++;
    }
    pclose(files);
    cr_assert_gt(count, 3);
    return found;
}

#endif
