/* SPDX-License-Identifier: Apache-2.0 */
#include "upkeep.h"

#include <errno.h>
#include <stdlib.h>

#include "store_int.h"

static bool needs_engine(uint8_t op)
{
    return op == GW_STORE_ERASE || op == GW_STORE_BACKUP;
}

static void complete(struct gw_store *s, int status)
{
    struct upkeep *u = &s->upkeep;
    struct gw_store_completion done = {
        .op = u->request.op, .tag = u->request.tag, .status = status, .next = u->until};
    if (status == 0 && u->request.op == GW_STORE_BACKUP) {
        done.seq = u->backup.id;
        done.len = u->backup.count;
        done.durable_us = u->backup.bytes;
    }
    if (status)
        GW_COUNT(s->storage_counters.errors);
    u->phase = UPKEEP_IDLE;
    store_complete(u->client, &done);
}

static void refuse(struct gw_store_client *client, const struct gw_store_request *r, int status)
{
    struct gw_store_completion done = {.op = r->op, .tag = r->tag, .status = status};
    store_complete(client, &done);
}

void upkeep_begin(struct gw_store *s, struct gw_store_client *client,
                  const struct gw_store_request *r)
{
    struct upkeep *u = &s->upkeep;
    bool cannot = r->op == GW_STORE_BACKUP && (s->ops->backup == NULL || s->cfg.backup_path == NULL);
    if (u->phase != UPKEEP_IDLE || cannot || atomic_load(&s->failed)) {
        refuse(client, r, cannot ? -ENOTSUP : u->phase != UPKEEP_IDLE ? -EBUSY : -EIO);
        return;
    }
    u->client = client;
    u->request = *r;
    u->phase = UPKEEP_ROLL;
    atomic_store(&u->roll_asked, true);
    wake_up(&s->commit_wake);
}

/* ---- the commit thread ---- */

bool upkeep_roll(struct gw_store *s)
{
    struct upkeep *u = &s->upkeep;
    if (!atomic_load_explicit(&u->roll_asked, memory_order_acquire))
        return false;
    u->roll_number = atomic_load_explicit(&s->segment_next, memory_order_relaxed);
    u->roll_err =
        atomic_load(&s->failed) ? -EIO : s->ops->log_roll(s->engine, u->roll_number);
    if (u->roll_err && u->roll_err != -ENOSPC)
        store_fail(s, "beginning a new log file", u->roll_err);
    atomic_store(&u->roll_asked, false);
    atomic_store(&u->roll_done, true);
    wake_up(&s->storage_wake);
    return true;
}

/* ---- the upkeep thread ---- */

static void do_work(struct gw_store *s)
{
    struct upkeep *u = &s->upkeep;
    if (u->request.op == GW_STORE_BACKUP)
        u->err = s->ops->backup(s->engine, s->cfg.backup_path, (unsigned)u->request.from,
                                &u->backup);
    else
        u->err = s->ops->erase(s->engine, GW_SPACE_KEYS);
    atomic_store(&u->asked, false);
    atomic_store(&u->done, true);
    wake_up(&s->storage_wake);
}

static void *upkeep_main(void *arg)
{
    struct gw_store *s = arg;
    struct upkeep *u = &s->upkeep;
    for (;;) {
        wake_arm(&u->wake);
        if (!atomic_load(&u->asked) && !atomic_load(&u->stop))
            wake_sleep(&u->wake, UINT32_MAX);
        else
            wake_disarm(&u->wake);
        if (atomic_load(&u->asked))
            do_work(s);
        else if (atomic_load(&u->stop))
            return NULL;
    }
}

/* ---- the storage thread ---- */

static bool is_spilled(const struct gw_store *s, uint64_t until)
{
    return s->segment_indexed + 1 >= until &&
           (s->window.held_count == 0 || window_held_at(&s->window, 0)->s.number >= until);
}

/* All is durable, and the log has given it up. */
static void synced(struct gw_store *s, const struct write *w)
{
    struct upkeep *u = &s->upkeep;
    if (w->err || !needs_engine(u->request.op)) {
        complete(s, w->err);
        return;
    }
    u->phase = UPKEEP_WORK;
    atomic_store(&u->asked, true);
    wake_up(&u->wake);
}

static void sync_spilled(struct gw_store *s)
{
    struct upkeep *u = &s->upkeep;
    struct write *w = writer_begin(s, "making spilled messages durable");
    /* META is touched, so that flushing it leaves RocksDB's old log behind. */
    meta_put_state(s, w->batch);
    w->sync = true;
    if (u->request.op != GW_STORE_BACKUP) {
        w->log_below = s->state.segment_oldest;
        w->scrub = true;
    }
    w->done = synced;
    u->phase = UPKEEP_SYNC;
    writer_submit(s, w);
}

static unsigned after_roll(struct gw_store *s)
{
    struct upkeep *u = &s->upkeep;
    if (!atomic_load(&u->roll_done))
        return 0;
    atomic_store(&u->roll_done, false);
    u->until = u->roll_number;
    if (u->roll_err)
        complete(s, u->roll_err);
    else
        u->phase = UPKEEP_SPILL;
    return 1;
}

static unsigned after_spill(struct gw_store *s)
{
    struct upkeep *u = &s->upkeep;
    if (!is_spilled(s, u->until) || s->spill.phase != SPILL_IDLE || writer_room(s) == 0)
        return 0;
    sync_spilled(s);
    return 1;
}

static unsigned after_work(struct gw_store *s)
{
    struct upkeep *u = &s->upkeep;
    /* Without threads it is done here, in a pass after the one that asked. */
    if (!s->cfg.own_thread && atomic_load(&u->asked))
        do_work(s);
    if (!atomic_load(&u->done))
        return 0;
    atomic_store(&u->done, false);
    complete(s, u->err);
    return 1;
}

unsigned upkeep_pass(struct gw_store *s)
{
    struct upkeep *u = &s->upkeep;
    if (u->phase == UPKEEP_IDLE)
        return 0;
    if (atomic_load(&s->failed) && u->phase == UPKEEP_SPILL) {
        complete(s, -EIO);
        return 1;
    }
    return u->phase == UPKEEP_ROLL    ? after_roll(s)
           : u->phase == UPKEEP_SPILL ? after_spill(s)
           : u->phase == UPKEEP_WORK  ? after_work(s)
                                      : 0;
}

bool upkeep_forget(struct gw_store *s)
{
    struct upkeep *u = &s->upkeep;
    if (u->phase == UPKEEP_WORK && s->cfg.own_thread && !atomic_load(&u->done))
        return false;
    atomic_store(&u->asked, false);
    atomic_store(&u->done, false);
    atomic_store(&u->roll_asked, false);
    atomic_store(&u->roll_done, false);
    if (u->phase != UPKEEP_IDLE)
        complete(s, -EIO);
    return true;
}

bool upkeep_has_work(const struct gw_store *s)
{
    return atomic_load(&s->upkeep.roll_done) || atomic_load(&s->upkeep.done);
}

uint64_t upkeep_spill_below(const struct gw_store *s)
{
    return s->upkeep.phase == UPKEEP_SPILL ? s->upkeep.until : 0;
}

/* ---- life ---- */

int upkeep_open(struct gw_store *s)
{
    return wake_open(&s->upkeep.wake);
}

int upkeep_start(struct gw_store *s)
{
    struct upkeep *u = &s->upkeep;
    int e = pthread_create(&u->thread, NULL, upkeep_main, s);
    u->thread_runs = e == 0;
    if (u->thread_runs)
        pthread_setname_np(u->thread, "gw-upkeep");
    return -e;
}

void upkeep_close(struct gw_store *s)
{
    struct upkeep *u = &s->upkeep;
    if (u->thread_runs) {
        atomic_store(&u->stop, true);
        wake_up(&u->wake);
        pthread_join(u->thread, NULL);
        u->thread_runs = false;
    }
    wake_close(&u->wake);
}
