/* SPDX-License-Identifier: Apache-2.0 */
#include "mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../dataplane/base/check.h"
#include "engine.h"
#include "mutant.h"
#include "ordered.h"

enum change_kind { CHANGE_PUT, CHANGE_DEL, CHANGE_DEL_RANGE };

struct change {
    enum change_kind kind;
    enum gw_space space;
    struct ordered_blob *key;
    struct ordered_blob *value; /* PUT: the value; DEL_RANGE: the end */
};

struct change_list {
    struct change *v;
    size_t count, cap;
};

struct gw_batch {
    struct gw_engine *engine;
    struct change_list changes;
};

/* A batch that is written but not synced. */
struct unsynced {
    struct change_list changes;
    bool refused; /* it failed: whether it is there after a crash is anybody's guess */
};

/* A segment in the log. */
struct logged {
    uint64_t number;
    uint64_t append; /* which one it came with */
    struct ordered_blob *segment;
    bool synced, refused;
};

struct gw_mem_disk {
    pthread_mutex_t lock;
    struct logged *log;
    size_t log_count, log_cap;
    uint64_t appends;
    struct ordered now[GW_SPACE_COUNT];    /* what the running process sees */
    struct ordered synced[GW_SPACE_COUNT]; /* what a power loss leaves */
    struct unsynced *unsynced;
    size_t unsynced_count, unsynced_cap;
    struct gw_engine *open_by;
    bool crashed; /* and not opened since */
    struct gw_mem_faults faults;
    void (*wait)(void *arg, uint64_t us);
    void *wait_arg;
    uint64_t writes;
    uint64_t random;
};

struct gw_engine {
    struct gw_mem_disk *disk;
    bool own_disk;
};

struct gw_iter {
    struct gw_engine *engine;
    enum gw_space space;
    struct ordered_blob *prefix;
    /* Copies: the map may change under the iterator. NULL key: not valid. */
    struct ordered_blob *key, *value;
    int status;
};

static struct gw_bytes blob_bytes(const struct ordered_blob *b)
{
    return gw_bytes(b->data, b->len);
}

/* ---- lists of changes ---- */

/* The list takes over the change's blobs. */
static void change_take(struct change_list *l, const struct change *c)
{
    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 16 : l->cap * 2;
        l->v = realloc(l->v, l->cap * sizeof(*l->v));
        check(l->v != NULL);
    }
    l->v[l->count++] = *c;
}

static void change_add(struct change_list *l, enum change_kind kind, enum gw_space space,
                       struct gw_bytes key, struct gw_bytes value)
{
    struct change c = {kind, space, ordered_blob_new(key), ordered_blob_new(value)};
    change_take(l, &c);
}

static void changes_clear(struct change_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        ordered_blob_put(l->v[i].key);
        ordered_blob_put(l->v[i].value);
    }
    l->count = 0;
}

static void changes_free(struct change_list *l)
{
    changes_clear(l);
    free(l->v);
    *l = (struct change_list){0};
}

static void unset_range(struct ordered *o, struct gw_bytes first, struct gw_bytes end)
{
    struct ordered_node *n;
    while ((n = ordered_from(o, first, false)) != NULL) {
        struct gw_bytes key = ordered_key(n);
        size_t common = key.len < end.len ? key.len : end.len;
        int c = memcmp(key.p, end.p, common);
        if (c > 0 || (c == 0 && key.len >= end.len))
            return;
        ordered_unset(o, key);
    }
}

static void changes_apply(const struct change_list *l, struct ordered maps[GW_SPACE_COUNT])
{
    for (size_t i = 0; i < l->count; i++) {
        const struct change *c = &l->v[i];
        struct ordered *o = &maps[c->space];
        if (c->kind == CHANGE_PUT)
            ordered_set(o, blob_bytes(c->key), c->value);
        else if (c->kind == CHANGE_DEL)
            ordered_unset(o, blob_bytes(c->key));
        else
            unset_range(o, blob_bytes(c->key), blob_bytes(c->value));
    }
}

/* ---- the disk ---- */

static void sleep_us(void *arg, uint64_t us)
{
    struct timespec t = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};
    while (nanosleep(&t, &t) != 0)
        ;
}

struct gw_mem_disk *gw_mem_disk_new(uint64_t seed)
{
    struct gw_mem_disk *d = calloc(1, sizeof(*d));
    check(d != NULL && pthread_mutex_init(&d->lock, NULL) == 0);
    d->wait = sleep_us;
    d->random = seed * 2 + 1;
    for (int i = 0; i < GW_SPACE_COUNT; i++) {
        ordered_init(&d->now[i]);
        ordered_init(&d->synced[i]);
    }
    return d;
}

static void unsynced_forget(struct gw_mem_disk *d)
{
    for (size_t i = 0; i < d->unsynced_count; i++)
        changes_free(&d->unsynced[i].changes);
    d->unsynced_count = 0;
}

/* Only the first `count` segments of the log stay. */
static void log_cut(struct gw_mem_disk *d, size_t count)
{
    while (d->log_count > count)
        ordered_blob_put(d->log[--d->log_count].segment);
}

void gw_mem_disk_free(struct gw_mem_disk **dp)
{
    struct gw_mem_disk *d = *dp;
    if (d == NULL)
        return;
    check(d->open_by == NULL);
    log_cut(d, 0);
    free(d->log);
    unsynced_forget(d);
    free(d->unsynced);
    for (int i = 0; i < GW_SPACE_COUNT; i++) {
        ordered_clear(&d->now[i]);
        ordered_clear(&d->synced[i]);
    }
    pthread_mutex_destroy(&d->lock);
    free(d);
    *dp = NULL;
}

/* A 64-bit linear congruential step; the high bits are good enough to choose with. */
static uint32_t random_below(struct gw_mem_disk *d, uint32_t limit)
{
    d->random = d->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((d->random >> 33) % limit);
}

/* How many of the unsynced batches survive. */
static size_t survivors(struct gw_mem_disk *d, enum gw_mem_crash how)
{
    if (how == GW_MEM_POWER_LOSS)
        return 0;
    size_t whole = d->unsynced_count;
    if (how == GW_MEM_KILL)
        return whole > 0 && d->unsynced[whole - 1].refused ? whole - 1 : whole;
    return random_below(d, (uint32_t)whole + 1);
}

/* How many segments of the log survive: an append does so whole or not at all. */
static size_t log_survivors(struct gw_mem_disk *d, enum gw_mem_crash how)
{
    size_t n = d->log_count;
    while (n > 0 && (how == GW_MEM_KILL ? d->log[n - 1].refused : !d->log[n - 1].synced))
        n--;
    if (how != GW_MEM_TORN)
        return n;
    n += random_below(d, (uint32_t)(d->log_count - n) + 1);
    while (n < d->log_count && n > 0 && d->log[n].append == d->log[n - 1].append)
        n++;
    return n;
}

static void sync_all(struct gw_mem_disk *d, size_t count)
{
    for (size_t i = 0; i < count; i++)
        changes_apply(&d->unsynced[i].changes, d->synced);
    unsynced_forget(d);
}

/* `now` becomes what is synced: values are shared, so this copies keys only. */
static void reread(struct gw_mem_disk *d)
{
    for (int i = 0; i < GW_SPACE_COUNT; i++) {
        ordered_clear(&d->now[i]);
        for (struct ordered_node *n = d->synced[i].head[0]; n != NULL; n = n->next[0])
            ordered_set(&d->now[i], ordered_key(n), n->value);
    }
}

void gw_mem_crash(struct gw_mem_disk *d, enum gw_mem_crash how)
{
    pthread_mutex_lock(&d->lock);
    log_cut(d, log_survivors(d, how));
    for (size_t i = 0; i < d->log_count; i++)
        d->log[i].synced = true;
    sync_all(d, survivors(d, how));
    reread(d);
    d->open_by = NULL;
    d->crashed = true;
    d->faults = (struct gw_mem_faults){0};
    pthread_mutex_unlock(&d->lock);
}

void gw_mem_set_faults(struct gw_mem_disk *d, const struct gw_mem_faults *f)
{
    pthread_mutex_lock(&d->lock);
    d->faults = *f;
    pthread_mutex_unlock(&d->lock);
}

void gw_mem_set_wait(struct gw_mem_disk *d, void (*wait)(void *arg, uint64_t us), void *arg)
{
    check(d->open_by == NULL);
    d->wait = wait != NULL ? wait : sleep_us;
    d->wait_arg = arg;
}

uint64_t gw_mem_writes(struct gw_mem_disk *d)
{
    pthread_mutex_lock(&d->lock);
    uint64_t n = d->writes;
    pthread_mutex_unlock(&d->lock);
    return n;
}

static bool blob_holds(const struct ordered_blob *b, const void *bytes, size_t len)
{
    return memmem(b->data, b->len, bytes, len) != NULL;
}

static bool map_holds(const struct ordered *o, const void *bytes, size_t len)
{
    for (const struct ordered_node *n = o->head[0]; n != NULL; n = n->next[0])
        if (blob_holds(n->value, bytes, len))
            return true;
    return false;
}

bool gw_mem_holds(struct gw_mem_disk *d, const void *bytes, size_t len)
{
    bool found = false;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->log_count; i++)
        found |= blob_holds(d->log[i].segment, bytes, len);
    for (int i = 0; i < GW_SPACE_COUNT; i++)
        found |= map_holds(&d->now[i], bytes, len) || map_holds(&d->synced[i], bytes, len);
    for (size_t i = 0; i < d->unsynced_count; i++) {
        const struct change_list *l = &d->unsynced[i].changes;
        for (size_t k = 0; k < l->count; k++)
            found |= blob_holds(l->v[k].value, bytes, len);
    }
    pthread_mutex_unlock(&d->lock);
    return found;
}

/* ---- engine: life ---- */

/* After one refused write there are no others until the disk is opened anew. */
static bool refused_before(const struct gw_mem_disk *d)
{
    return (d->unsynced_count > 0 && d->unsynced[d->unsynced_count - 1].refused) ||
           (d->log_count > 0 && d->log[d->log_count - 1].refused);
}

static void settle_refused_log(struct gw_mem_disk *d)
{
    bool there = random_below(d, 2) == 0;
    if (d->log_count == 0 || !d->log[d->log_count - 1].refused)
        return;
    size_t n = d->log_count;
    for (; n > 0 && d->log[n - 1].refused; n--)
        d->log[n - 1].refused = false;
    if (!there)
        log_cut(d, n);
}

/* Opened again without a crash: a write that failed may have reached the disk all the same. */
static void settle_refused(struct gw_mem_disk *d)
{
    settle_refused_log(d);
    if (!refused_before(d))
        return;
    struct unsynced *last = &d->unsynced[d->unsynced_count - 1];
    if (random_below(d, 2) == 0) {
        changes_free(&last->changes);
        d->unsynced_count--;
    } else {
        changes_apply(&last->changes, d->now);
        last->refused = false;
    }
}

static int fault(struct gw_mem_disk *d)
{
    if (d->faults.full)
        return -ENOSPC;
    if (d->faults.fail_at == 0)
        return 0;
    if (d->faults.fail_at > 1) {
        d->faults.fail_at--;
        return 0;
    }
    if (d->faults.fail_count > 0 && --d->faults.fail_count == 0)
        d->faults.fail_at = 0;
    return -EIO;
}

/* A write is under way. */
static void be_slow(struct gw_mem_disk *d)
{
    pthread_mutex_lock(&d->lock);
    uint64_t max = d->faults.slow_us_max;
    uint64_t us = max > 0 ? 1 + random_below(d, (uint32_t)max) : 0;
    pthread_mutex_unlock(&d->lock);
    if (us > 0)
        d->wait(d->wait_arg, us);
}

static int mem_open(struct gw_engine **out, const struct gw_engine_options *o, char err[256])
{
    struct gw_mem_disk *d = o->disk != NULL ? o->disk : gw_mem_disk_new(0);
    int status;
    if (d->open_by != NULL) {
        snprintf(err, 256, "the disk in memory is open already");
        return -EBUSY;
    }
    if (o->again && d->crashed) {
        snprintf(err, 256, "the process that wrote the disk in memory has ended");
        return -ENODEV;
    }
    if (o->again && (status = fault(d)) != 0) {
        snprintf(err, 256, "the disk in memory takes no writes");
        return status;
    }
    d->crashed = false;
    struct gw_engine *e = calloc(1, sizeof(*e));
    check(e != NULL);
    e->disk = d;
    e->own_disk = o->disk == NULL;
    d->open_by = e;
    settle_refused(d);
    *out = e;
    return 0;
}

static void mem_free(struct gw_engine **ep)
{
    struct gw_engine *e = *ep;
    if (e->disk->open_by == e)
        e->disk->open_by = NULL;
    if (e->own_disk)
        gw_mem_disk_free(&e->disk);
    free(e);
    *ep = NULL;
}

/* ---- engine: log ---- */

static void log_cut_from(struct gw_mem_disk *d, uint64_t number)
{
    size_t n = d->log_count;
    while (n > 0 && d->log[n - 1].number >= number)
        n--;
    log_cut(d, n);
}

static int mem_log_read(struct gw_engine *e, uint64_t from,
                        int (*each)(void *arg, uint64_t number, struct gw_bytes segment), void *arg)
{
    struct gw_mem_disk *d = e->disk;
    /* No lock: nobody appends yet, and it is `each` that trims. */
    for (;;) {
        size_t i = 0;
        while (i < d->log_count && d->log[i].number < from)
            i++;
        if (i == d->log_count)
            return 0;
        from = d->log[i].number + 1;
        struct ordered_blob *segment = d->log[i].segment;
        segment->refs++;
        int err = each(arg, from - 1, blob_bytes(segment));
        ordered_blob_put(segment);
        if (err == -ECANCELED)
            log_cut_from(d, from - 1);
        if (err)
            return err;
    }
}

static bool mem_log_room(struct gw_engine *e)
{
    return true;
}

static bool mem_log_wants_file(struct gw_engine *e)
{
    return false;
}

static bool mem_log_prepare(struct gw_engine *e)
{
    return false;
}

static void log_add(struct gw_mem_disk *d, const struct gw_log_entry *v, bool refused)
{
    if (d->log_count == d->log_cap) {
        d->log_cap = d->log_cap == 0 ? 16 : d->log_cap * 2;
        d->log = realloc(d->log, d->log_cap * sizeof(*d->log));
        check(d->log != NULL);
    }
    check(d->log_count == 0 || d->log[d->log_count - 1].number < v->number);
    d->log[d->log_count++] = (struct logged){.number = v->number,
                                             .append = d->appends,
                                             .segment = ordered_blob_new(v->segment),
                                             .refused = refused};
}

static int log_append_locked(struct gw_engine *e, const struct gw_log_entry *v, unsigned n)
{
    struct gw_mem_disk *d = e->disk;
    if (d->open_by != e || refused_before(d))
        return -EIO;
    d->writes++;
    int err = fault(d);
    if (err == -ENOSPC)
        return err;
    d->appends++;
    for (unsigned i = 0; i < n; i++)
        log_add(d, &v[i], err != 0);
    return err;
}

/* The log has one writer, so what is not synced is what it has just appended. */
static int log_sync_locked(struct gw_engine *e)
{
    struct gw_mem_disk *d = e->disk;
    if (d->open_by != e)
        return -EIO;
    for (size_t i = 0; !d->faults.sync_ignored && i < d->log_count; i++)
        d->log[i].synced = true;
    return 0;
}

static int mem_log_append(struct gw_engine *e, const struct gw_log_entry *v, unsigned n, bool sync)
{
    pthread_mutex_lock(&e->disk->lock);
    int err = log_append_locked(e, v, n);
    pthread_mutex_unlock(&e->disk->lock);
    if (err)
        return err;
    be_slow(e->disk);
    pthread_mutex_lock(&e->disk->lock);
    err = sync && !GW_IS_MUTANT(skip_sync) ? log_sync_locked(e) : 0;
    pthread_mutex_unlock(&e->disk->lock);
    return err;
}

static bool mem_log_pressed(struct gw_engine *e)
{
    return false;
}

/* As files do it, in pieces. */
#define TRIM_SEGMENTS 16

static size_t count_below(const struct gw_mem_disk *d, uint64_t below)
{
    size_t n = 0;
    while (n < d->log_count && d->log[n].number < below)
        n++;
    return n - n % TRIM_SEGMENTS;
}

static bool mem_log_trim_frees(struct gw_engine *e, uint64_t below)
{
    pthread_mutex_lock(&e->disk->lock);
    bool frees = count_below(e->disk, below) > 0;
    pthread_mutex_unlock(&e->disk->lock);
    return frees;
}

static void log_cut_below(struct gw_mem_disk *d, size_t n)
{
    if (n == 0)
        return; /* an empty log has no array yet */
    for (size_t i = 0; i < n; i++)
        ordered_blob_put(d->log[i].segment);
    memmove(d->log, d->log + n, (d->log_count - n) * sizeof(*d->log));
    d->log_count -= n;
}

static void mem_log_trim(struct gw_engine *e, uint64_t below)
{
    struct gw_mem_disk *d = e->disk;
    pthread_mutex_lock(&d->lock);
    if (d->open_by == e) {
        /* What the log still held must have reached the keys by now. */
        check(d->unsynced_count == 0 || d->faults.sync_ignored);
        log_cut_below(d, count_below(d, below));
    }
    pthread_mutex_unlock(&d->lock);
}

static int mem_log_roll(struct gw_engine *e, uint64_t number)
{
    return 0;
}

static void mem_log_scrub(struct gw_engine *e, uint64_t below)
{
    struct gw_mem_disk *d = e->disk;
    pthread_mutex_lock(&d->lock);
    size_t n = 0;
    while (d->open_by == e && n < d->log_count && d->log[n].number < below)
        n++;
    log_cut_below(d, n);
    pthread_mutex_unlock(&d->lock);
}

static uint64_t mem_free_bytes(struct gw_engine *e)
{
    pthread_mutex_lock(&e->disk->lock);
    const struct gw_mem_faults *f = &e->disk->faults;
    uint64_t bytes = f->full ? 0 : f->free_bytes > 0 ? f->free_bytes : UINT64_MAX;
    pthread_mutex_unlock(&e->disk->lock);
    return bytes;
}

static bool mem_damaged(const struct gw_engine *e)
{
    return false;
}

/* ---- engine: batches ---- */

static struct gw_batch *mem_batch_new(struct gw_engine *e)
{
    struct gw_batch *b = calloc(1, sizeof(*b));
    check(b != NULL);
    b->engine = e;
    return b;
}

/* Blobs are shared with the disk's maps, so their counts change under its lock only. */
static void mem_batch_clear(struct gw_batch *b)
{
    pthread_mutex_lock(&b->engine->disk->lock);
    changes_clear(&b->changes);
    pthread_mutex_unlock(&b->engine->disk->lock);
}

static void mem_batch_free(struct gw_batch **b)
{
    mem_batch_clear(*b);
    changes_free(&(*b)->changes);
    free(*b);
    *b = NULL;
}

static void mem_put(struct gw_batch *b, enum gw_space space, struct gw_bytes key,
                    struct gw_bytes value)
{
    change_add(&b->changes, CHANGE_PUT, space, key, value);
}

static void mem_del(struct gw_batch *b, enum gw_space space, struct gw_bytes key)
{
    change_add(&b->changes, CHANGE_DEL, space, key, gw_bytes(NULL, 0));
}

static void mem_del_range(struct gw_batch *b, enum gw_space space, struct gw_bytes first,
                          struct gw_bytes end)
{
    change_add(&b->changes, CHANGE_DEL_RANGE, space, first, end);
}

static void remember_unsynced(struct gw_mem_disk *d, const struct change_list *l, bool refused)
{
    if (d->unsynced_count == d->unsynced_cap) {
        d->unsynced_cap = d->unsynced_cap == 0 ? 16 : d->unsynced_cap * 2;
        d->unsynced = realloc(d->unsynced, d->unsynced_cap * sizeof(*d->unsynced));
        check(d->unsynced != NULL);
    }
    struct unsynced *u = &d->unsynced[d->unsynced_count++];
    *u = (struct unsynced){.refused = refused, .changes = {.count = l->count, .cap = l->count}};
    u->changes.v = malloc(l->count * sizeof(*l->v) + 1);
    check(u->changes.v != NULL);
    for (size_t i = 0; i < l->count; i++) {
        u->changes.v[i] = l->v[i];
        l->v[i].key->refs++;
        l->v[i].value->refs++;
    }
}

static int write_locked(struct gw_engine *e, struct gw_batch *b)
{
    struct gw_mem_disk *d = e->disk;
    if (d->open_by != e || refused_before(d))
        return -EIO;
    d->writes++;
    int err = fault(d);
    remember_unsynced(d, &b->changes, err != 0);
    if (err)
        return err;
    changes_apply(&b->changes, d->now);
    return 0;
}

static int sync_locked(struct gw_engine *e)
{
    struct gw_mem_disk *d = e->disk;
    if (d->open_by != e)
        return -EIO;
    if (!d->faults.sync_ignored)
        sync_all(d, d->unsynced_count);
    return 0;
}

static int mem_write(struct gw_engine *e, struct gw_batch *b, bool sync)
{
    pthread_mutex_lock(&e->disk->lock);
    int err = write_locked(e, b);
    pthread_mutex_unlock(&e->disk->lock);
    if (err)
        return err;
    be_slow(e->disk);
    pthread_mutex_lock(&e->disk->lock);
    err = sync ? sync_locked(e) : 0;
    pthread_mutex_unlock(&e->disk->lock);
    return err;
}

/* What was written to a space before a file is taken over reaches the disk before it, as in the
 * other engine, where it is flushed. */
static void sync_space(struct gw_mem_disk *d, enum gw_space space)
{
    for (size_t i = 0; i < d->unsynced_count; i++) {
        struct change_list *l = &d->unsynced[i].changes, of_space = {0};
        size_t kept = 0;
        for (size_t k = 0; k < l->count; k++) {
            if (l->v[k].space == space)
                change_take(&of_space, &l->v[k]);
            else
                l->v[kept++] = l->v[k];
        }
        l->count = kept;
        changes_apply(&of_space, d->synced);
        changes_free(&of_space);
    }
}

static int ingest_locked(struct gw_engine *e, enum gw_space space, const struct change_list *l)
{
    struct gw_mem_disk *d = e->disk;
    int err = d->open_by != e || refused_before(d) ? -EIO : fault(d);
    if (err)
        return err;
    d->writes++;
    changes_apply(l, d->now);
    if (!d->faults.sync_ignored)
        sync_space(d, space);
    if (!d->faults.sync_ignored)
        changes_apply(l, d->synced);
    return 0;
}

/* The source may read from the disk, so it is asked without its lock. */
static int mem_ingest(struct gw_engine *e, enum gw_space space, struct gw_pair_source *from)
{
    struct change_list l = {0};
    struct gw_pair pair;
    int more;
    while ((more = from->next(from, &pair)) > 0)
        change_add(&l, CHANGE_PUT, space, pair.key, pair.value);
    be_slow(e->disk);
    pthread_mutex_lock(&e->disk->lock);
    int err = more < 0 ? more : ingest_locked(e, space, &l);
    changes_free(&l);
    pthread_mutex_unlock(&e->disk->lock);
    return err;
}

/* What was deleted is gone from memory at once. */
static int mem_erase(struct gw_engine *e, enum gw_space space)
{
    return 0;
}

static void mem_stats(struct gw_engine *e, struct gw_engine_stats *out)
{
    struct gw_mem_disk *d = e->disk;
    *out = (struct gw_engine_stats){.log_files = 1};
    pthread_mutex_lock(&d->lock);
    for (int i = 0; i < GW_SPACE_COUNT; i++) {
        for (const struct ordered_node *n = d->now[i].head[0]; n != NULL; n = n->next[0]) {
            out->spaces[i].keys++;
            out->spaces[i].disk_bytes += n->key_len + n->value->len;
        }
    }
    for (size_t i = 0; i < d->log_count; i++)
        out->log_file_bytes += d->log[i].segment->len;
    pthread_mutex_unlock(&d->lock);
}

static bool mem_busy(struct gw_engine *e)
{
    return false;
}

/* ---- engine: reads ---- */

static int mem_get(struct gw_engine *e, enum gw_space space, struct gw_bytes key, void *buf,
                   size_t cap, size_t *len)
{
    struct gw_mem_disk *d = e->disk;
    int err = 0;
    pthread_mutex_lock(&d->lock);
    struct ordered_node *n = d->open_by == e ? ordered_get(&d->now[space], key) : NULL;
    if (d->open_by != e) {
        err = -EIO;
    } else if (n == NULL) {
        err = -ENOENT;
    } else {
        *len = n->value->len;
        if (cap > 0)
            memcpy(buf, n->value->data, *len < cap ? *len : cap);
    }
    pthread_mutex_unlock(&d->lock);
    return err;
}

static struct gw_iter *mem_iter_new(struct gw_engine *e, enum gw_space space,
                                    struct gw_bytes prefix)
{
    struct gw_iter *it = calloc(1, sizeof(*it));
    check(it != NULL);
    it->engine = e;
    it->space = space;
    it->prefix = ordered_blob_new(prefix);
    return it;
}

static void iter_leave(struct gw_iter *it)
{
    if (it->key == NULL)
        return;
    ordered_blob_put(it->key);
    ordered_blob_put(it->value);
    it->key = it->value = NULL;
}

static void mem_iter_free(struct gw_iter **itp)
{
    struct gw_iter *it = *itp;
    pthread_mutex_lock(&it->engine->disk->lock);
    iter_leave(it);
    pthread_mutex_unlock(&it->engine->disk->lock);
    ordered_blob_put(it->prefix);
    free(it);
    *itp = NULL;
}

static void iter_stand_on(struct gw_iter *it, const struct ordered_node *n)
{
    iter_leave(it);
    if (n == NULL)
        return;
    struct gw_bytes key = ordered_key(n);
    if (key.len < it->prefix->len || memcmp(key.p, it->prefix->data, it->prefix->len) != 0)
        return;
    it->key = ordered_blob_new(key);
    it->value = n->value;
    it->value->refs++;
}

enum iter_move { MOVE_FROM, MOVE_AFTER, MOVE_UNTIL };

static void iter_move(struct gw_iter *it, struct gw_bytes key, enum iter_move how)
{
    struct gw_mem_disk *d = it->engine->disk;
    pthread_mutex_lock(&d->lock);
    if (d->open_by != it->engine) {
        iter_leave(it);
        it->status = -EIO;
    } else {
        struct ordered *o = &d->now[it->space];
        iter_stand_on(it, how == MOVE_UNTIL ? ordered_until(o, key)
                                            : ordered_from(o, key, how == MOVE_AFTER));
    }
    pthread_mutex_unlock(&d->lock);
}

static void mem_seek(struct gw_iter *it, struct gw_bytes key)
{
    iter_move(it, key, MOVE_FROM);
}

static void mem_seek_for_prev(struct gw_iter *it, struct gw_bytes key)
{
    iter_move(it, key, MOVE_UNTIL);
}

static void mem_next(struct gw_iter *it)
{
    check(it->key != NULL);
    iter_move(it, blob_bytes(it->key), MOVE_AFTER);
}

static bool mem_valid(const struct gw_iter *it)
{
    return it->key != NULL;
}

static struct gw_bytes mem_key(const struct gw_iter *it)
{
    return blob_bytes(it->key);
}

static struct gw_bytes mem_value(const struct gw_iter *it)
{
    return blob_bytes(it->value);
}

static int mem_status(const struct gw_iter *it)
{
    return it->status;
}

const struct gw_engine_ops gw_engine_mem = {
    .name = "mem",
    .open = mem_open,
    .free = mem_free,
    .log_read = mem_log_read,
    .log_room = mem_log_room,
    .log_wants_file = mem_log_wants_file,
    .log_prepare = mem_log_prepare,
    .log_append = mem_log_append,
    .log_pressed = mem_log_pressed,
    .log_trim_frees = mem_log_trim_frees,
    .log_trim = mem_log_trim,
    .log_roll = mem_log_roll,
    .log_scrub = mem_log_scrub,
    .free_bytes = mem_free_bytes,
    .damaged = mem_damaged,
    .batch_new = mem_batch_new,
    .batch_free = mem_batch_free,
    .batch_clear = mem_batch_clear,
    .put = mem_put,
    .del = mem_del,
    .del_range = mem_del_range,
    .write = mem_write,
    .ingest = mem_ingest,
    .erase = mem_erase,
    .stats = mem_stats,
    .busy = mem_busy,
    .get = mem_get,
    .iter_new = mem_iter_new,
    .iter_free = mem_iter_free,
    .seek = mem_seek,
    .seek_for_prev = mem_seek_for_prev,
    .next = mem_next,
    .valid = mem_valid,
    .key = mem_key,
    .value = mem_value,
    .status = mem_status,
};
