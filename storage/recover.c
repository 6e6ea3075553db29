/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery: what the log holds and the keys do not becomes the window again.
 *
 * Segments are numbered without gaps, so that one that is missing is seen, whatever the engine made
 * of its files: it is reported, and what follows it is used.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "store_int.h"

/* How often a start that takes long says how far it is. */
#define PROGRESS_US 2000000u

struct recovery {
    struct gw_store *s;
    uint64_t now_us;
    uint64_t expected; /* number of the next segment; 0: any */
    uint64_t until;    /* from here on they do not count; 0: all do */
    uint64_t segments, bytes, told_us;
};

/* A copy in the window; NULL when there is no room and none can be made. */
static void *copy_segment(struct gw_store *s, struct gw_bytes segment, uint64_t *off)
{
    void *copy;
    /* The window may be smaller than the log that an earlier configuration left. */
    while ((copy = window_reserve(&s->window, (uint32_t)segment.len, off)) == NULL)
        if (!spill_oldest(s))
            return NULL;
    memcpy(copy, segment.p, segment.len);
    window_commit(&s->window);
    return copy;
}

static void note_gap(struct recovery *r, uint64_t number)
{
    uint64_t missing = r->expected != 0 && number > r->expected ? number - r->expected : 0;
    if (missing == 0)
        return;
    GW_COUNT_ADD(r->s->storage_counters.damaged, missing);
    store_report(r->s, "segments %" PRIu64 " to %" PRIu64 " are missing from the log", r->expected,
                 number - 1);
}

static void note_progress(struct recovery *r, uint64_t number, size_t bytes)
{
    uint64_t now_us = store_now_us(r->s);
    r->segments++;
    r->bytes += bytes;
    if (now_us - r->told_us < PROGRESS_US)
        return;
    r->told_us = now_us;
    store_report(r->s,
                 "reading the log: %" PRIu64 " segments so far, up to number %" PRIu64 ", %" PRIu64
                 " MiB; %" PRIu64 " messages wait in it",
                 r->segments, number, r->bytes >> 20, r->s->window.message_count);
}

static int load_segment(void *arg, uint64_t number, struct gw_bytes segment)
{
    struct recovery *r = arg;
    struct gw_store *s = r->s;
    if (r->until != 0 && number >= r->until)
        return -ECANCELED;
    note_gap(r, number);
    r->expected = number + 1;
    uint64_t off;
    const void *copy = copy_segment(s, segment, &off);
    if (copy == NULL)
        return -EIO;
    struct gw_segment_head head;
    memcpy(&head, copy, sizeof(head));
    struct window_segment seg = {
        .number = number, .off = off, .durable_us = head.created_us, .len = (uint32_t)segment.len};
    s->recovered_end = UINT64_MAX; /* until all of it is there */
    index_segment(s, &seg, r->now_us);
    if (removals_are_many(s) && removals_write_now(s) != 0)
        return -EIO;
    note_progress(r, number, segment.len);
    return atomic_load(&s->failed) ? -EIO : 0;
}

/* When batches of keys may be missing from the middle, their segments are used again where the log
 * still has them: better twice than never. */
static int recover_log(struct gw_store *s, uint64_t until)
{
    bool damaged = s->ops->damaged(s->engine);
    uint64_t from = damaged ? 0 : s->state.segment_oldest;
    struct recovery r = {.s = s, .now_us = store_now_us(s), .expected = from, .until = until};
    r.told_us = r.now_us;
    int err = s->ops->log_read(s->engine, from, load_segment, &r);
    err = err == -ECANCELED ? 0 : err;
    if (s->state.segment_next < r.expected)
        s->state.segment_next = r.expected;
    s->segment_indexed = s->state.segment_next - 1;
    s->recovered_end = s->window.end;
    /* This process wrote more than that, durably: to go on without it would be to lose it. */
    if (!err && s->state.segment_next < until)
        err = -EBADMSG;
    return err;
}

/* A spill that was under way when a mailbox was dropped may have brought keys back. */
static int drop_again(struct gw_store *s)
{
    if (s->dropped_count == 0)
        return 0;
    s->ops->batch_clear(s->batch);
    for (size_t i = 0; i < s->dropped_count; i++)
        mailbox_delete_all(s, s->batch, &s->dropped[i].mailbox);
    return s->ops->write(s->engine, s->batch, false);
}

int store_recover(struct gw_store *s, uint64_t until, char err[256])
{
    int status = meta_load(s, err);
    if (!status)
        status = vault_load(s, err);
    if (status)
        return status;
    status = drop_again(s);
    if (!status)
        status = recover_log(s, until);
    if (status) {
        snprintf(err, 256, "the commit log cannot be read: %s", strerror(-status));
        return status;
    }
    /* The log's files do not say which of them were free. */
    status = spill_trim_now(s);
    if (status) {
        GW_COUNT(s->storage_counters.errors);
        snprintf(err, 256, "it cannot be written to: %s", strerror(-status));
        return status;
    }
    atomic_store(&s->segment_next, s->state.segment_next);
    atomic_store(&s->segment_oldest, s->state.segment_oldest);
    atomic_store(&s->window_messages, s->window.message_count);
    return 0;
}
