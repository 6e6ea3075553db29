/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a write has failed: the engine is closed, opened anew, and what it should hold is read back,
 * by the code that does it after a crash. Sessions live on: their appends and reads wait. And
 * before it comes to that: the reserve of free space, below which new messages are refused.
 *
 * After a failed write or fdatasync nobody knows what is on the disk, and asking the kernel again
 * gives the wrong answer: pages that it could not write count as clean. So nothing is tried again
 * in the same place. The log goes on in a new file, whose header says where the one before it ends,
 * and so cuts off what failed; RocksDB replays its own log into new tables.
 *
 * The commit thread parks before the engine is closed; nobody waits for it, nor it for anybody.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "store_int.h"

#define WAIT_US_MIN 100000
#define WAIT_US_MAX 2000000
/* Often enough that a disk at full speed does not use up a reserve in between. */
#define SPACE_CHECK_US 100000

/* ---- opening anew ---- */

static void begin(struct gw_store *s, uint64_t now_us)
{
    s->reopen.begun = true;
    s->reopen.attempts = 0;
    s->reopen.began_us = s->reopen.next_us = now_us;
    s->reopen.wait_us = WAIT_US_MIN;
    s->reopen.said[0] = '\0';
    GW_COUNT(s->storage_counters.failures);
}

static bool due(const struct reopen *r, uint64_t now_us)
{
    /* The wall clock may step back: then it is time. */
    return now_us >= r->next_us || r->next_us - now_us > WAIT_US_MAX;
}

/* Nobody else uses the engine. When one thread does the parts of all, a commit can be under way
 * only below this call: see gw_store_storage_poll. */
static bool is_quiet(struct gw_store *s)
{
    bool parked = s->cfg.own_thread ? atomic_load(&s->parked) : !s->committing;
    bool written = writer_forget(s); /* whose requests hear of it now */
    return parked && written && spill_forget(s) && upkeep_forget(s);
}

static void failed_again(struct gw_store *s, uint64_t now_us, const char *why)
{
    struct reopen *r = &s->reopen;
    GW_COUNT(s->storage_counters.reopen_errors);
    atomic_store(&s->failed, true);
    atomic_store(&s->broken, true);
    r->attempts++;
    if (strcmp(r->said, why) != 0) {
        snprintf(r->said, sizeof(r->said), "%s", why);
        store_report(s, "the store cannot be opened anew, and is tried again and again: %s", why);
    }
    r->next_us = now_us + r->wait_us;
    r->wait_us = r->wait_us * 2 < WAIT_US_MAX ? r->wait_us * 2 : WAIT_US_MAX;
}

static void resume(struct gw_store *s, uint64_t now_us)
{
    struct reopen *r = &s->reopen;
    GW_COUNT(s->storage_counters.reopens);
    store_report(
        s,
        "the store is open again after %" PRIu64 " ms and %u failed attempts; segments that "
        "the failure held up: %u",
        (now_us > r->began_us ? now_us - r->began_us : 0) / 1000, r->attempts, s->again_count);
    r->begun = false;
    atomic_store(&s->broken, false);
    /* In this order: the commit thread parks anew only when it is told so anew. */
    atomic_store(&s->closed, false);
    atomic_store(&s->parked, false);
    wake_up(&s->commit_wake);
}

static void fail_request(struct gw_store_client *c, const struct gw_store_request *r)
{
    struct gw_store_completion done = {.op = r->op, .status = -EIO, .tag = r->tag};
    store_complete(c, &done);
}

/* While it is broken: those that do not wait are told. */
static unsigned refuse(struct gw_store *s)
{
    unsigned n = 0, kept = 0;
    for (unsigned i = 0; i < s->popped_count; i++) {
        struct popped *p = &s->popped[i];
        if (atomic_load(&p->client->patient))
            s->popped[kept++] = *p;
        else
            fail_request(p->client, &p->r);
    }
    n += s->popped_count - kept;
    s->popped_count = kept;
    n += store_refuse_changes(s);
    struct gw_store_request r;
    for (unsigned i = 0; i < s->cfg.client_count; i++) {
        struct gw_store_client *c = &s->clients[i];
        while (!atomic_load(&c->patient) && gw_ring_pop(c->storage_requests, &r, 1) == 1) {
            fail_request(c, &r);
            n++;
        }
    }
    return n;
}

unsigned reopen_pass(struct gw_store *s, uint64_t now_us)
{
    char why[256] = "";
    if (!s->reopen.begun)
        begin(s, now_us);
    unsigned n = atomic_load(&s->broken) ? refuse(s) : 0;
    bool ready = is_quiet(s) && due(&s->reopen, now_us);
    store_wake_completed(s);
    if (!ready)
        return n;
    if (store_open_engine(s, why) != 0)
        failed_again(s, store_now_us(s), why);
    else
        resume(s, store_now_us(s));
    return n + 1;
}

bool reopen_has_work(const struct gw_store *s)
{
    if (!s->reopen.begun)
        return true;
    for (unsigned i = 0; atomic_load(&s->broken) && i < s->cfg.client_count; i++)
        if (!atomic_load(&s->clients[i].patient) &&
            gw_ring_count(s->clients[i].storage_requests) > 0)
            return true;
    return due(&s->reopen, store_now_us(s)) && atomic_load(&s->parked) &&
           writer_is_back(s) && (s->spill.phase != SPILL_PREPARE || atomic_load(&s->spill.done)) &&
           (s->upkeep.phase != UPKEEP_WORK || atomic_load(&s->upkeep.done));
}

uint64_t reopen_due_us(const struct gw_store *s, uint64_t now_us)
{
    return due(&s->reopen, now_us) ? WAIT_US_MIN : s->reopen.next_us - now_us;
}

/* ---- the reserve ---- */

/* It ends only with some room to spare, so that it does not come and go with every message. */
static bool is_low(const struct gw_store *s, uint64_t free_bytes)
{
    uint64_t reserve = s->cfg.reserve_bytes;
    return free_bytes < (atomic_load(&s->low) ? reserve + reserve / 8 : reserve);
}

void reserve_check(struct gw_store *s, uint64_t now_us)
{
    uint64_t since_us = now_us - s->reopen.space_checked_us;
    if (since_us < SPACE_CHECK_US)
        return;
    s->reopen.space_checked_us = now_us;
    uint64_t free_bytes = s->ops->free_bytes(s->engine);
    atomic_store_explicit(&s->free_bytes, free_bytes, memory_order_relaxed);
    bool low = is_low(s, free_bytes);
    if (low == atomic_load(&s->low))
        return;
    atomic_store(&s->low, low);
    GW_COUNT_ADD(s->storage_counters.reserve_reached, low);
    if (low)
        store_report(s,
                     "%" PRIu64 " MiB are free, less than the reserve of %" PRIu64
                     " MiB: new messages are refused",
                     free_bytes >> 20, s->cfg.reserve_bytes >> 20);
    else
        store_report(s, "%" PRIu64 " MiB are free: new messages are accepted again",
                     free_bytes >> 20);
}
