/* SPDX-License-Identifier: Apache-2.0 */
#include "mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../dataplane/base/check.h"
#include "engine.h"
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

struct gw_mem_disk {
    pthread_mutex_t lock;
    struct ordered now[GW_SPACE_COUNT];    /* what the running process sees */
    struct ordered synced[GW_SPACE_COUNT]; /* what a power loss leaves */
    struct unsynced *unsynced;
    size_t unsynced_count, unsynced_cap;
    struct gw_engine *open_by;
    struct gw_mem_faults faults;
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

static void change_add(struct change_list *l, enum change_kind kind, enum gw_space space,
                       struct gw_bytes key, struct gw_bytes value)
{
    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 16 : l->cap * 2;
        l->v = realloc(l->v, l->cap * sizeof(*l->v));
        check(l->v != NULL);
    }
    l->v[l->count++] = (struct change){kind, space, ordered_blob_new(key), ordered_blob_new(value)};
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

struct gw_mem_disk *gw_mem_disk_new(uint64_t seed)
{
    struct gw_mem_disk *d = calloc(1, sizeof(*d));
    check(d != NULL && pthread_mutex_init(&d->lock, NULL) == 0);
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

void gw_mem_disk_free(struct gw_mem_disk **dp)
{
    struct gw_mem_disk *d = *dp;
    if (d == NULL)
        return;
    check(d->open_by == NULL);
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
    sync_all(d, survivors(d, how));
    reread(d);
    d->open_by = NULL;
    d->faults = (struct gw_mem_faults){0};
    pthread_mutex_unlock(&d->lock);
}

void gw_mem_set_faults(struct gw_mem_disk *d, const struct gw_mem_faults *f)
{
    pthread_mutex_lock(&d->lock);
    d->faults = *f;
    pthread_mutex_unlock(&d->lock);
}

uint64_t gw_mem_writes(struct gw_mem_disk *d)
{
    pthread_mutex_lock(&d->lock);
    uint64_t n = d->writes;
    pthread_mutex_unlock(&d->lock);
    return n;
}

/* ---- engine: life ---- */

static bool refused_before(const struct gw_mem_disk *d)
{
    return d->unsynced_count > 0 && d->unsynced[d->unsynced_count - 1].refused;
}

/* Opened again without a crash: a write that failed may have reached the disk all the same. */
static void settle_refused(struct gw_mem_disk *d)
{
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

static int mem_open(struct gw_engine **out, const struct gw_engine_options *o, char err[256])
{
    struct gw_mem_disk *d = o->disk != NULL ? o->disk : gw_mem_disk_new(0);
    if (d->open_by != NULL) {
        snprintf(err, 256, "the disk in memory is open already");
        return -EBUSY;
    }
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
    return -EIO;
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

static int write_locked(struct gw_engine *e, struct gw_batch *b, bool sync)
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
    if (sync && !d->faults.sync_ignored)
        sync_all(d, d->unsynced_count);
    return 0;
}

static int mem_write(struct gw_engine *e, struct gw_batch *b, bool sync)
{
    pthread_mutex_lock(&e->disk->lock);
    int err = write_locked(e, b, sync);
    pthread_mutex_unlock(&e->disk->lock);
    return err;
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
    .batch_new = mem_batch_new,
    .batch_free = mem_batch_free,
    .batch_clear = mem_batch_clear,
    .put = mem_put,
    .del = mem_del,
    .del_once = mem_del,
    .del_range = mem_del_range,
    .write = mem_write,
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
