/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery: the log is read in order and becomes the window again.
 *
 * Segments are numbered without gaps, so that one that is missing is seen whatever the engine made
 * of its files. A segment that cannot be read is reported and set aside, never dropped, and what
 * follows it is used.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "store_int.h"

/* Moves a bad segment out of the log. */
static int set_aside(struct gw_store *s, uint64_t number, struct gw_bytes key,
                     struct gw_bytes value)
{
    store_report(s,
                 "segment %" PRIu64 " (%zu bytes) cannot be read; it is set aside, what follows is"
                 " used",
                 number, value.len);
    GW_COUNT(s->storage_counters.damaged);
    s->ops->batch_clear(s->batch);
    s->ops->put(s->batch, GW_SPACE_ASIDE, key, value);
    s->ops->del(s->batch, GW_SPACE_LOG, key);
    return s->ops->write(s->engine, s->batch, true);
}

/* A copy in the window, where it is aligned; NULL when it cannot be a segment or *err. */
static void *copy_segment(struct gw_store *s, struct gw_bytes value, uint64_t *off, int *err)
{
    *err = 0;
    if (value.len > GW_SEGMENT_BYTES_MAX || value.len % 8 != 0)
        return NULL;
    void *copy;
    /* The window may be smaller than the log that an earlier configuration left. */
    while ((copy = window_reserve(&s->window, (uint32_t)value.len, off)) == NULL) {
        if (!spill_step(s)) {
            *err = -EIO;
            return NULL;
        }
    }
    memcpy(copy, value.p, value.len);
    return copy;
}

static int load_segment(struct gw_store *s, struct gw_bytes key, struct gw_bytes value,
                        uint64_t now_us)
{
    uint64_t off, number = gw_be64(key.p);
    int err;
    const void *copy = copy_segment(s, value, &off, &err);
    if (err)
        return err;
    if (copy == NULL || gw_segment_check(copy, value.len) != 0) {
        window_cancel(&s->window);
        return set_aside(s, number, key, value);
    }
    window_commit(&s->window);
    struct gw_segment_head head;
    memcpy(&head, copy, sizeof(head));
    struct window_segment seg = {
        .number = number, .off = off, .durable_us = head.created_us, .len = (uint32_t)value.len};
    index_segment(s, &seg, now_us);
    index_flush(s);
    return atomic_load(&s->failed) ? -EIO : 0;
}

static void report_gap(struct gw_store *s, uint64_t expected, uint64_t number)
{
    GW_COUNT_ADD(s->storage_counters.damaged, number - expected);
    store_report(s, "segments %" PRIu64 " to %" PRIu64 " are missing from the log", expected,
                 number - 1);
}

static int recover_log(struct gw_store *s)
{
    uint64_t now_us = store_now_us(s), expected = s->state.segment_oldest;
    /* From the very beginning: a spill that an engine lost to damage leaves its segments behind. */
    uint8_t from[8] = {0};
    struct gw_iter *it = s->ops->iter_new(s->engine, GW_SPACE_LOG, gw_bytes(NULL, 0));
    int err = 0;
    for (s->ops->seek(it, gw_bytes(from, sizeof(from))); !err && s->ops->valid(it);
         s->ops->next(it)) {
        struct gw_bytes key = s->ops->key(it), value = s->ops->value(it);
        if (key.len != sizeof(from)) {
            err = -EBADMSG;
            break;
        }
        uint64_t number = gw_be64(key.p);
        if (number > expected)
            report_gap(s, expected, number);
        err = load_segment(s, key, value, now_us);
        expected = number + 1;
    }
    if (!err)
        err = s->ops->status(it);
    s->ops->iter_free(&it);
    if (s->state.segment_next < expected)
        s->state.segment_next = expected;
    s->segment_indexed = s->state.segment_next - 1;
    return err;
}

int store_recover(struct gw_store *s, char err[256])
{
    int status = meta_load(s, err);
    if (status)
        return status;
    status = recover_log(s);
    if (status) {
        snprintf(err, 256, "the commit log cannot be read: %s", strerror(-status));
        return status;
    }
    atomic_store(&s->segment_next, s->state.segment_next);
    atomic_store(&s->segment_oldest, s->state.segment_oldest);
    atomic_store(&s->window_messages, s->window.message_count);
    return 0;
}
