/* SPDX-License-Identifier: Apache-2.0 */
#include "store_int.h"

#define DELETE_EACH_MAX 16u

static void raise_floor(struct gw_store *s, uint64_t removed)
{
    if (removed >= s->state.position_floor)
        s->state.position_floor = removed + 1;
}

static bool was_dropped(const struct gw_store *s, const struct gw_mailbox_id *id, uint64_t segment)
{
    for (size_t i = 0; i < s->dropped_count; i++)
        if (segment < s->dropped[i].segment && memcmp(&s->dropped[i].mailbox, id, sizeof(*id)) == 0)
            return true;
    return false;
}

static void index_message(struct gw_store *s, const struct window_segment *seg,
                          struct gw_record_head *r)
{
    if (was_dropped(s, &r->mailbox, seg->number)) {
        raise_floor(s, r->position);
        r->kind = 0;
        return;
    }
    uint64_t off = seg->off + (uint64_t)((uint8_t *)r - (uint8_t *)window_at(&s->window, seg->off));
    window_add(&s->window, &r->mailbox, r->position, off);
    GW_COUNT(s->storage_counters.records);
}

static void begin_deletes(struct gw_store *s)
{
    if (!s->index_dirty)
        s->ops->batch_clear(s->batch);
    s->index_dirty = true;
}

/* Into the batch: one tombstone for all of them, so that a reader who comes by later need not step over
 * each. */
static void delete_range(struct gw_store *s, const struct gw_mailbox_id *id, uint64_t first,
                         uint64_t last)
{
    begin_deletes(s);
    removals_put_range(s, id, first, last);
}

/* Whatever there is of a range, without a look: to find out which of them are there costs one into every
 * sorted run, which is what a reader of the mailbox has paid just before. Returns how many positions it
 * names. */
static uint64_t remove_unseen(struct gw_store *s, const struct gw_mailbox_id *id,
                              const struct gw_position_range *range)
{
    if (!removals_add(s->removals, id, range->first, range->last)) {
        removals_flush(s);
        if (atomic_load(&s->failed))
            return 0; /* the REMOVE is in the log */
        check(removals_add(s->removals, id, range->first, range->last));
    }
    raise_floor(s, range->last);
    return range->last - range->first + 1;
}

static void remove_range(struct gw_store *s, const struct gw_mailbox_id *id,
                         const struct gw_position_range *range)
{
    uint64_t top;
    uint64_t removed = window_remove(&s->window, id, range->first, range->last, &top);
    raise_floor(s, top);
    /* The usual case ends here: all of them were delivered before they were spilled. But what came
     * from the log at start may have a key as well, of a spill that did not come to its end. */
    bool all = removed > 0 && removed - 1 == range->last - range->first;
    if (all && s->window.begin >= s->recovered_end)
        ;
    else if (all || range->last == UINT64_MAX) /* few have one; one without end would leave no position */
        removed += mailbox_delete_spilled(s, id, range->first, range->last);
    else
        removed = remove_unseen(s, id, range);
    GW_COUNT_ADD(s->storage_counters.removed, removed);
}

const uint8_t *index_open_removal(struct gw_store *s, const struct gw_record_head *r)
{
    if (s->cfg.keys == NULL)
        return r->incarnation == 0 ? gw_record_body(r) : NULL;
    uint8_t aad[GW_RECORD_AAD_BYTES], tag[GW_SEAL_TAG_BYTES];
    size_t len = gw_record_body_len(r);
    struct gw_seal_op op = {.key = gw_keyring_key(s->cfg.keys, r->incarnation),
                            .nonce = {r->nonce_thread, r->nonce_counter},
                            .aad = aad,
                            .aad_len = sizeof(aad),
                            .len = (uint32_t)len,
                            .in = gw_record_body(r),
                            .out = store_scratch(s, len),
                            .tag = tag};
    gw_removal_aad(aad, &r->mailbox, r->position);
    memcpy(tag, r->tag, sizeof(tag));
    bool ok = op.key != NULL && gw_open_burst(s->hand.sealer, &op, 1) == 0 &&
              gw_removal_ok(op.out, r->aux);
    return ok ? op.out : NULL;
}

/* One that does not open removes nothing: better twice than never. */
static void index_remove(struct gw_store *s, const struct gw_record_head *r)
{
    const uint8_t *ranges = index_open_removal(s, r);
    if (ranges == NULL) {
        char name[MAILBOX_TEXT_BYTES];
        mailbox_text(&r->mailbox, name);
        GW_COUNT(s->storage_counters.damaged);
        store_report(s, "a removal from mailbox %s does not open and is not done", name);
        return;
    }
    for (unsigned i = 0; i < r->aux; i++) {
        struct gw_position_range range;
        memcpy(&range, ranges + i * sizeof(range), sizeof(range));
        remove_range(s, &r->mailbox, &range);
    }
}

void index_segment(struct gw_store *s, const struct window_segment *seg, uint64_t now_us)
{
    struct window_held *held = window_hold(&s->window, seg, now_us);
    uint8_t *base = window_at(&s->window, seg->off);
    size_t off = gw_segment_first_off(), at = off;
    const struct gw_record_head *r;
    for (; (r = gw_record_next(base, seg->len, &off)) != NULL; at = off) {
        if (r->kind == GW_RECORD_MESSAGE) {
            index_message(s, seg, (struct gw_record_head *)(void *)(base + at));
        } else if (r->kind == GW_RECORD_REMOVE) {
            index_remove(s, r);
        } else if (held->events_count++ == 0) {
            held->events_off = (uint32_t)at;
        }
    }
    check(off == seg->len);
    s->segment_indexed = seg->number;
}

void index_flush(struct gw_store *s)
{
    if (!s->index_dirty)
        return;
    s->index_dirty = false;
    meta_put_state(s, s->batch);
    /* Not synced: when it is lost, the REMOVE is still in the log and is done again. */
    int err = s->ops->write(s->engine, s->batch, false);
    if (err)
        store_fail(s, "removing spilled messages", err);
}

unsigned index_handover(struct gw_store *s, uint64_t now_us)
{
    struct window_segment seg[64];
    unsigned waiting = gw_ring_count(s->handover), done = 0, n;
    while (done < waiting && (n = gw_ring_pop(s->handover, seg, 64)) > 0) {
        for (unsigned i = 0; i < n; i++)
            index_segment(s, &seg[i], now_us);
        done += n;
    }
    index_flush(s);
    if (done > 0)
        wake_up(&s->commit_wake); /* it may have waited for room in the ring */
    return done;
}

/* Into the batch. */
static void delete_run(struct gw_store *s, const struct gw_mailbox_id *id, const uint64_t *positions,
                       unsigned n, uint64_t last)
{
    uint8_t key[MAILBOX_KEY_BYTES];
    if (n > DELETE_EACH_MAX) {
        delete_range(s, id, positions[0], last);
        return;
    }
    if (n > 0)
        begin_deletes(s);
    for (unsigned i = 0; i < n; i++) {
        mailbox_key(key, id, positions[i]);
        s->ops->del(s->batch, GW_SPACE_MAILBOX, gw_bytes(key, sizeof(key)));
    }
}

uint64_t mailbox_delete_spilled(struct gw_store *s, const struct gw_mailbox_id *id, uint64_t first,
                                uint64_t last)
{
    uint8_t key[MAILBOX_KEY_BYTES];
    mailbox_key(key, id, first);
    const struct window_mailbox *m = window_find(&s->window, id);
    uint64_t positions[DELETE_EACH_MAX], count = 0, position = 0;
    unsigned n = 0;
    struct gw_iter *it = s->ops->iter_new(s->engine, GW_SPACE_MAILBOX, gw_bytes(id, sizeof(*id)));
    for (s->ops->seek(it, gw_bytes(key, sizeof(key))); s->ops->valid(it); s->ops->next(it)) {
        struct gw_bytes k = s->ops->key(it);
        if (k.len != MAILBOX_KEY_BYTES || gw_be64(k.p + sizeof(*id)) > last)
            break;
        position = gw_be64(k.p + sizeof(*id));
        if (n < DELETE_EACH_MAX)
            positions[n] = position;
        n++;
        count += m == NULL || !window_decides(m, position);
    }
    s->ops->iter_free(&it);
    if (n > 0)
        raise_floor(s, position);
    delete_run(s, id, positions, n, position);
    return count;
}
