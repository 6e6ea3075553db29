/* SPDX-License-Identifier: Apache-2.0 */
/* Group commit: what all clients have appended becomes one durable append to the log. */
#include "mutant.h"
#include "store_int.h"

#include <errno.h>

static void complete_append(const struct append *a)
{
    struct gw_store_completion done = {.op = GW_STORE_APPEND,
                                       .tag = a->r.tag,
                                       .seq = a->segment.number,
                                       .durable_us = a->segment.durable_us};
    check(gw_ring_push(a->client->append_done, &done));
    a->client->append_completed = true;
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
        .r = *r,
        .segment = {.number = atomic_load_explicit(&s->segment_next, memory_order_relaxed),
                    .off = off,
                    .len = r->data_len}};
    atomic_store_explicit(&s->segment_next, a->segment.number + 1, memory_order_relaxed);
    s->log_entries[n] = (struct gw_log_entry){a->segment.number, gw_bytes(copy, r->data_len)};
    return true;
}

/* How many segments a commit may have now. */
static unsigned segments_max(const struct gw_store *s)
{
    unsigned room = gw_ring_room(s->handover);
    if (!s->ops->log_room(s->engine))
        return 0;
    return room < COMMIT_SEGMENTS_MAX ? room : COMMIT_SEGMENTS_MAX;
}

/* What a commit that failed has left comes before anything else, in its order. */
static unsigned gather_again(struct gw_store *s)
{
    unsigned n = 0, limit = segments_max(s);
    for (; n < limit && n < s->again_count; n++) {
        const struct popped *p = &s->again[s->again_first + n];
        if (!add_segment(s, p->client, &p->r, n))
            break;
    }
    if (n == 0)
        GW_COUNT(s->commit_counters.waits);
    return n;
}

/* One append from each client in turn, so that a busy one does not fill the commit alone. */
static unsigned gather(struct gw_store *s)
{
    unsigned n = 0, idle = 0, limit = segments_max(s);
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
        GW_COUNT(s->commit_counters.segments);
        GW_COUNT_ADD(s->commit_counters.segment_bytes, s->appends[i].segment.len);
    }
    uint64_t last = s->appends[n - 1].segment.number;
    for (unsigned i = 0; i < s->cfg.client_count; i++)
        atomic_store_explicit(&s->clients[i].note, last, memory_order_release);
    GW_COUNT(s->commit_counters.commits);
}

/* Whether these are on disk nobody knows: they are held, and their clients hear nothing, until they
 * have been written once more elsewhere. Their numbers are free again. */
static void hold(struct gw_store *s, unsigned n, int err)
{
    window_cancel(&s->window);
    GW_COUNT(s->commit_counters.errors);
    atomic_store_explicit(&s->segment_next, s->appends[0].segment.number, memory_order_relaxed);
    if (s->again_count == 0) {
        for (unsigned i = 0; i < n; i++)
            s->again[i] = (struct popped){s->appends[i].client, s->appends[i].r};
        s->again_first = 0;
        s->again_count = n;
    }
    store_fail(s, "group commit", err);
}

static void complete_all(struct gw_store *s, unsigned n)
{
    if (s->again_count > 0) {
        s->again_first += n;
        s->again_count -= n;
    }
    for (unsigned i = 0; i < n; i++)
        complete_append(&s->appends[i]);
    wake_appenders(s);
}

/* Tells the storage thread that nothing of this thread's is under way. */
static unsigned park(struct gw_store *s)
{
    if (!atomic_exchange(&s->parked, true))
        wake_up(&s->storage_wake);
    return 0;
}

unsigned gw_store_commit_poll(struct gw_store *s)
{
    if (atomic_load_explicit(&s->closed, memory_order_acquire))
        return park(s);
    if (upkeep_roll(s))
        return 1;
    unsigned n = s->again_count > 0 ? gather_again(s) : gather(s);
    if (n == 0)
        return 0;
    if (GW_IS_MUTANT(early_ack))
        complete_all(s, n);
    s->committing = true;
    int err =
        s->ops->log_append(s->engine, s->log_entries, n, s->cfg.durability == GW_DURABILITY_SYNC);
    s->committing = false;
    if (err) {
        hold(s, n, err);
    } else {
        hand_over(s, n, store_now_us(s));
        if (!GW_IS_MUTANT(early_ack))
            complete_all(s, n);
    }
    wake_up(&s->storage_wake);
    return err ? 0 : n;
}

/* What can be done now; while it waits for room, new appends are no reason to look. */
static bool commit_has_work(struct gw_store *s)
{
    if (atomic_load_explicit(&s->closed, memory_order_acquire))
        return !atomic_load(&s->parked);
    if (atomic_load(&s->upkeep.roll_asked))
        return true;
    if (segments_max(s) == 0) {
        wake_up(&s->storage_wake); /* it makes room in the log */
        return false;
    }
    if (s->again_count > 0)
        return window_fits(&s->window, s->again[s->again_first].r.data_len);
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
