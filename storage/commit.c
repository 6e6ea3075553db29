/* SPDX-License-Identifier: Apache-2.0 */
/* Group commit: what all clients have appended becomes one durable append to the log. */
#include "store_int.h"

#include <errno.h>

static void complete_append(struct gw_store_client *c, uint64_t tag, int status, uint64_t number,
                            uint64_t durable_us)
{
    struct gw_store_completion done = {.op = GW_STORE_APPEND,
                                       .status = status,
                                       .tag = tag,
                                       .seq = number,
                                       .durable_us = durable_us};
    check(gw_ring_push(c->append_done, &done));
    c->append_completed = true;
}

static void wake_appenders(struct gw_store *s)
{
    for (unsigned i = 0; i < s->cfg.client_count; i++) {
        struct gw_store_client *c = &s->clients[i];
        if (c->append_completed || atomic_load_explicit(&c->follows, memory_order_relaxed))
            wake_up(&c->wake);
        c->append_completed = false;
    }
}

/* The next append of a client; one that found no room is tried again first. */
static bool take_append(struct gw_store_client *c, struct gw_store_request *r)
{
    if (!c->holds)
        return gw_ring_pop(c->append_requests, r, 1) == 1;
    *r = c->held;
    c->holds = false;
    return true;
}

static unsigned refuse_all(struct gw_store *s)
{
    unsigned n = 0;
    struct gw_store_request r;
    for (unsigned i = 0; i < s->cfg.client_count; i++)
        for (; take_append(&s->clients[i], &r); n++)
            complete_append(&s->clients[i], r.tag, -EIO, 0, 0);
    wake_appenders(s);
    return n;
}

static void check_segment(const struct gw_store_request *r)
{
    struct gw_segment_head head;
    check(r->data_len >= sizeof(head) && r->data_len <= GW_SEGMENT_BYTES_MAX);
    memcpy(&head, r->data, sizeof(head));
    check(head.magic == GW_SEGMENT_MAGIC && head.version == GW_SEGMENT_VERSION &&
          head.len == r->data_len);
    check_slow(gw_segment_check(r->data, r->data_len) == 0);
}

/* Copies one segment into the window, as the n-th of this commit. False when there is no room. */
static bool add_segment(struct gw_store *s, struct gw_store_client *c,
                        const struct gw_store_request *r, unsigned n)
{
    check_segment(r);
    struct append *a = &s->appends[n];
    uint64_t off;
    void *copy = window_reserve(&s->window, r->data_len, &off);
    if (copy == NULL)
        return false;
    memcpy(copy, r->data, r->data_len);
    *a = (struct append){
        .client = c,
        .tag = r->tag,
        .segment = {.number = atomic_load_explicit(&s->segment_next, memory_order_relaxed),
                    .off = off,
                    .len = r->data_len}};
    atomic_store_explicit(&s->segment_next, a->segment.number + 1, memory_order_relaxed);
    s->log_entries[n] = (struct gw_log_entry){a->segment.number, gw_bytes(copy, r->data_len)};
    GW_COUNT(s->commit_counters.segments);
    GW_COUNT_ADD(s->commit_counters.segment_bytes, r->data_len);
    return true;
}

/* One append from each client in turn, so that a busy one does not fill the commit alone. */
static unsigned gather(struct gw_store *s)
{
    unsigned n = 0, idle = 0, room = gw_ring_room(s->handover);
    unsigned limit = room < COMMIT_SEGMENTS_MAX ? room : COMMIT_SEGMENTS_MAX;
    if (!s->ops->log_room(s->engine))
        limit = 0;
    uint64_t bytes = 0;
    bool blocked = limit == 0;
    for (unsigned i = s->next_client; n < limit && bytes < COMMIT_BYTES_MAX; i++) {
        struct gw_store_client *c = &s->clients[i % s->cfg.client_count];
        struct gw_store_request r;
        if (!take_append(c, &r)) {
            if (++idle == s->cfg.client_count)
                break;
            continue;
        }
        idle = 0;
        if (!add_segment(s, c, &r, n)) {
            c->held = r;
            c->holds = true;
            blocked = true;
            break;
        }
        bytes += r.data_len;
        n++;
    }
    s->next_client = (s->next_client + 1) % s->cfg.client_count;
    if (blocked)
        GW_COUNT(s->commit_counters.waits);
    return n;
}

/* The storage thread gets a segment before its client hears of it: see store_storage_pass. */
static void hand_over(struct gw_store *s, unsigned n, uint64_t durable_us)
{
    window_commit(&s->window);
    for (unsigned i = 0; i < n; i++) {
        s->appends[i].segment.durable_us = durable_us;
        check(gw_ring_push(s->handover, &s->appends[i].segment));
    }
    uint64_t last = s->appends[n - 1].segment.number;
    for (unsigned i = 0; i < s->cfg.client_count; i++)
        atomic_store_explicit(&s->clients[i].note, last, memory_order_release);
    GW_COUNT(s->commit_counters.commits);
}

/* Nothing of these is durable. */
static void give_up(struct gw_store *s, int err)
{
    window_cancel(&s->window);
    GW_COUNT(s->commit_counters.errors);
    if (err == -ENOSPC)
        /* Nor was anything written: the numbers are free again. */
        atomic_store_explicit(&s->segment_next, s->appends[0].segment.number, memory_order_relaxed);
    else
        /* Whether it is on disk nobody knows: nothing may follow it there. */
        store_fail(s, "group commit", err);
}

unsigned gw_store_commit_poll(struct gw_store *s)
{
    if (upkeep_roll(s))
        return 1;
    if (atomic_load_explicit(&s->failed, memory_order_relaxed))
        return refuse_all(s);
    unsigned n = gather(s);
    if (n == 0)
        return 0;
    int err =
        s->ops->log_append(s->engine, s->log_entries, n, s->cfg.durability == GW_DURABILITY_SYNC);
    uint64_t durable_us = store_now_us(s);
    if (err)
        give_up(s, err);
    else
        hand_over(s, n, durable_us);
    int status = err && err != -ENOSPC ? -EIO : err;
    for (unsigned i = 0; i < n; i++)
        complete_append(s->appends[i].client, s->appends[i].tag, status,
                        err ? 0 : s->appends[i].segment.number, durable_us);
    wake_up(&s->storage_wake);
    wake_appenders(s);
    return n;
}

/* What can be done now; while it waits for room, new appends are no reason to look. */
static bool commit_has_work(const struct gw_store *s)
{
    if (atomic_load(&s->upkeep.roll_asked))
        return true;
    if (gw_ring_room(s->handover) == 0 || !s->ops->log_room(s->engine))
        return false;
    bool waiting = false, asked = false;
    for (unsigned i = 0; i < s->cfg.client_count; i++) {
        const struct gw_store_client *c = &s->clients[i];
        if (c->holds && window_fits(&s->window, c->held.data_len))
            return true;
        waiting |= c->holds;
        asked |= gw_ring_count(c->append_requests) > 0;
    }
    return asked && !waiting;
}

void gw_store_commit_wait(struct gw_store *s, uint64_t timeout_us)
{
    wake_arm(&s->commit_wake);
    if (commit_has_work(s))
        wake_disarm(&s->commit_wake);
    else
        wake_sleep(&s->commit_wake, timeout_us);
}
