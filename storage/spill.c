/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spill: what still waits after a while leaves the log for a key of its own, and its segment goes.
 *
 * One atomic batch, not synced: when it is lost, the segment is still in the log, and recovery and
 * the next spill do the same again. A message that was delivered in the meantime costs nothing
 * here.
 */
#include "store_int.h"

static void spill_message(struct gw_store *s, const struct gw_record_head *r)
{
    uint8_t key[MAILBOX_KEY_BYTES];
    mailbox_key(key, &r->mailbox, r->position);
    s->ops->put(s->batch, GW_SPACE_MAILBOX, gw_bytes(key, sizeof(key)), gw_bytes(r, r->len));
}

/* An event's key holds when its segment became durable, before the record. */
static void spill_event(struct gw_store *s, const struct window_segment *seg, uint32_t index,
                        const struct gw_record_head *r)
{
    if (seg->number < s->state.events_trim)
        return;
    uint8_t key[EVENTS_KEY_BYTES];
    events_key(key, seg->number, index);
    uint8_t *value = store_scratch(s, sizeof(seg->durable_us) + r->len);
    memcpy(value, &seg->durable_us, sizeof(seg->durable_us));
    memcpy(value + sizeof(seg->durable_us), r, r->len);
    s->ops->put(s->batch, GW_SPACE_EVENTS, gw_bytes(key, sizeof(key)),
                gw_bytes(value, sizeof(seg->durable_us) + r->len));
}

/* Returns how many messages became keys. */
static unsigned spill_segment(struct gw_store *s, const struct window_segment *seg)
{
    const uint8_t *base = window_at(&s->window, seg->off);
    size_t off = gw_segment_first_off();
    const struct gw_record_head *r;
    unsigned messages = 0;
    uint32_t events = 0;
    while ((r = gw_record_next(base, seg->len, &off)) != NULL) {
        if (r->kind == GW_RECORD_MESSAGE) {
            spill_message(s, r);
            messages++;
        } else if (r->kind == GW_RECORD_EVENTS) {
            spill_event(s, seg, events++, r);
        }
    }
    return messages;
}

/* The batch is written: its messages are read from their keys from now on. */
static void forget_segment(struct gw_store *s, const struct window_segment *seg)
{
    const uint8_t *base = window_at(&s->window, seg->off);
    size_t off = gw_segment_first_off();
    const struct gw_record_head *r;
    while ((r = gw_record_next(base, seg->len, &off)) != NULL)
        if (r->kind == GW_RECORD_MESSAGE)
            window_forget(&s->window, &r->mailbox, r->position);
    window_release(&s->window);
}

/* A dropped mailbox needs no mark when none of its messages can be in the log. */
static void clear_dropped(struct gw_store *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->dropped_count; i++) {
        if (s->dropped[i].segment <= s->state.segment_oldest)
            meta_del_dropped(s, s->batch, &s->dropped[i]);
        else
            s->dropped[kept++] = s->dropped[i];
    }
    s->dropped_count = kept;
}

/* Spills the oldest segments, at most `limit` of them and as many as a pass may. Returns how many.
 */
static size_t spill_oldest(struct gw_store *s, size_t limit)
{
    size_t n = 0;
    unsigned messages = 0;
    uint64_t bytes = 0;
    s->ops->batch_clear(s->batch);
    while (n < limit && messages < PASS_SPILL_RECORDS_MAX && bytes < PASS_SPILL_BYTES_MAX) {
        const struct window_segment *seg = &window_held_at(&s->window, n)->s;
        messages += spill_segment(s, seg);
        bytes += seg->len;
        s->state.segment_oldest = seg->number + 1;
        n++;
    }
    if (s->state.segment_next < s->state.segment_oldest)
        s->state.segment_next = s->state.segment_oldest;
    clear_dropped(s);
    meta_put_state(s, s->batch);
    int err = s->ops->write(s->engine, s->batch, false);
    if (err) {
        GW_COUNT(s->storage_counters.errors);
        store_fail(s, "spill", err);
        return 0;
    }
    for (size_t i = 0; i < n; i++)
        forget_segment(s, &window_held_at(&s->window, 0)->s);
    atomic_store_explicit(&s->segment_oldest, s->state.segment_oldest, memory_order_relaxed);
    GW_COUNT_ADD(s->storage_counters.spilled, messages);
    GW_COUNT_ADD(s->storage_counters.spilled_segments, n);
    wake_up(&s->commit_wake);
    return n;
}

void spill_trim_log(struct gw_store *s)
{
    uint64_t below = s->state.segment_oldest;
    if (!s->ops->log_trim_frees(s->engine, below))
        return;
    s->ops->batch_clear(s->batch);
    meta_put_state(s, s->batch);
    int err = s->ops->write(s->engine, s->batch, true);
    if (err) {
        GW_COUNT(s->storage_counters.errors);
        store_fail(s, "making spilled messages durable", err);
        return;
    }
    s->ops->log_trim(s->engine, below);
    wake_up(&s->commit_wake);
}

bool spill_step(struct gw_store *s)
{
    if (s->window.held_count == 0 || atomic_load(&s->failed) || spill_oldest(s, 1) == 0)
        return false;
    spill_trim_log(s);
    return true;
}

uint64_t spill_due_us(const struct gw_store *s, uint64_t now_us)
{
    if (s->window.held_count == 0 || atomic_load(&s->failed))
        return UINT64_MAX;
    if (window_bytes(&s->window) > s->cfg.window_bytes_max || s->ops->log_pressed(s->engine))
        return 0;
    uint64_t since_us = window_held_at(&s->window, 0)->indexed_us;
    /* The wall clock may step back: then the wait begins anew rather than for ever. */
    uint64_t age_us = now_us > since_us ? now_us - since_us : 0;
    return age_us >= s->cfg.spill_after_us ? 0 : s->cfg.spill_after_us - age_us;
}

static size_t due_count(const struct gw_store *s, uint64_t now_us)
{
    uint64_t over = window_bytes(&s->window);
    over = over > s->cfg.window_bytes_max ? over - s->cfg.window_bytes_max : 0;
    bool pressed = s->ops->log_pressed(s->engine);
    size_t n = 0;
    uint64_t bytes = 0;
    for (; n < s->window.held_count && bytes < PASS_SPILL_BYTES_MAX; n++) {
        const struct window_held *h = window_held_at(&s->window, n);
        bool old = now_us >= h->indexed_us && now_us - h->indexed_us >= s->cfg.spill_after_us;
        if (!old && !pressed && bytes >= over)
            break;
        bytes += h->s.len;
    }
    return n;
}

unsigned spill_pass(struct gw_store *s, uint64_t now_us)
{
    if (atomic_load_explicit(&s->failed, memory_order_relaxed))
        return 0;
    size_t n = due_count(s, now_us);
    if (n == 0)
        return 0;
    n = spill_oldest(s, n);
    if (n > 0)
        spill_trim_log(s);
    return (unsigned)n;
}
