/* SPDX-License-Identifier: Apache-2.0 */
#include "store_int.h"

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

/* Whatever there is of a range, without a look: to find out which of them are there costs one into every
 * sorted run, which is what a reader of the mailbox has paid just before. Returns how many positions it
 * names. */
static uint64_t remove_unseen(struct gw_store *s, const struct gw_mailbox_id *id, uint64_t first,
                              uint64_t last)
{
    removals_add(s, id, first, last);
    raise_floor(s, last);
    return last - first + 1;
}

/* All from a position on. As far as there are keys: a range without end would leave no position. */
static uint64_t remove_to_end(struct gw_store *s, const struct gw_mailbox_id *id, uint64_t first)
{
    uint64_t top;
    int err = mailbox_last_spilled(s, id, &top);
    if (err) {
        GW_COUNT(s->storage_counters.errors);
        store_report(s, "what is to be removed from a mailbox cannot be read: %s", strerror(-err));
    }
    return err || top < first ? 0 : remove_unseen(s, id, first, top);
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
    if (!all && range->last == UINT64_MAX)
        removed += remove_to_end(s, id, range->first);
    else if (!all)
        removed = remove_unseen(s, id, range->first, range->last);
    else if (s->window.begin < s->recovered_end)
        (void)remove_unseen(s, id, range->first, range->last);
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

/* Runs some messages ahead of who indexes a segment. */
struct scout {
    const struct window *w;
    const uint8_t *base;
    size_t len, off;
    void (*prefetch)(const struct window *w, const struct gw_mailbox_id *id);
};

static void scout_on(struct scout *x)
{
    const struct gw_record_head *r = gw_record_next(x->base, x->len, &x->off);
    if (r != NULL && r->kind != GW_RECORD_EVENTS)
        x->prefetch(x->w, &r->mailbox);
}

static struct scout scout_send(const struct gw_store *s, const struct window_segment *seg,
                               unsigned ahead,
                               void (*prefetch)(const struct window *w, const struct gw_mailbox_id *id))
{
    struct scout x = {.w = &s->window, .base = window_at(&s->window, seg->off), .len = seg->len,
                      .off = gw_segment_first_off(), .prefetch = prefetch};
    while (ahead-- > 0)
        scout_on(&x);
    return x;
}

void index_segment(struct gw_store *s, const struct window_segment *seg, uint64_t now_us)
{
    struct window_held *held = window_hold(&s->window, seg, now_us);
    uint8_t *base = window_at(&s->window, seg->off);
    size_t off = gw_segment_first_off(), at = off;
    const struct gw_record_head *r;
    struct scout far = scout_send(s, seg, WINDOW_PREFETCH_AHEAD, window_prefetch);
    struct scout near = scout_send(s, seg, WINDOW_ENTRIES_AHEAD, window_prefetch_entries);
    for (; (r = gw_record_next(base, seg->len, &off)) != NULL; at = off) {
        scout_on(&far);
        scout_on(&near);
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

unsigned index_handover(struct gw_store *s, uint64_t now_us)
{
    struct window_segment seg[64];
    unsigned waiting = gw_ring_count(s->handover), done = 0, n;
    while (done < waiting && (n = gw_ring_pop(s->handover, seg, 64)) > 0) {
        for (unsigned i = 0; i < n; i++)
            index_segment(s, &seg[i], now_us);
        done += n;
    }
    if (removals_are_many(s))
        (void)removals_flush(s);
    if (done > 0)
        wake_up(&s->commit_wake); /* it may have waited for room in the ring */
    return done;
}
