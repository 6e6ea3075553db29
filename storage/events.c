/* SPDX-License-Identifier: Apache-2.0 */
/* EVENTS records by segment: first those spilled, then those in the window. */
#include <errno.h>

#include "store_int.h"

void events_key(uint8_t key[EVENTS_KEY_BYTES], uint64_t segment, uint32_t index)
{
    gw_put_be64(key, segment);
    gw_put_be32(key + 8, index);
}

/* The caller's buffer. Segments are handed out whole: what does not fit is taken back. */
struct out {
    uint8_t *p;
    size_t cap, used;
    uint64_t segment;     /* whose events are being added */
    size_t segment_start; /* where they begin */
    size_t needed;        /* > 0: the buffer is full */
};

/* False when it does not fit; then only whole segments are left. */
static bool out_add(struct out *o, uint64_t segment, uint64_t durable_us, const void *record,
                    uint32_t len)
{
    if (segment != o->segment) {
        o->segment = segment;
        o->segment_start = o->used;
    }
    struct gw_events_entry entry = {
        .len = (uint32_t)sizeof(entry) + len, .segment = segment, .durable_us = durable_us};
    size_t padded = gw_record_padded(entry.len);
    if (o->used + padded > o->cap) {
        o->needed = o->used - o->segment_start + padded;
        o->used = o->segment_start;
        return false;
    }
    memcpy(o->p + o->used, &entry, sizeof(entry));
    memcpy(o->p + o->used + sizeof(entry), record, len);
    memset(o->p + o->used + entry.len, 0, padded - entry.len);
    o->used += padded;
    return true;
}

/* What a file has of segments that the window still holds comes from there, and not twice. */
uint64_t events_spilled_below(const struct gw_store *s)
{
    return s->window.held_count > 0 ? window_held_at(&s->window, 0)->s.number : UINT64_MAX;
}

static int scan_spilled(struct gw_store *s, uint64_t from, struct out *o)
{
    uint64_t below = events_spilled_below(s);
    uint8_t key[EVENTS_KEY_BYTES];
    events_key(key, from, 0);
    struct gw_iter *it = s->ops->iter_new(s->engine, GW_SPACE_EVENTS, gw_bytes(NULL, 0));
    bool room = true;
    for (s->ops->seek(it, gw_bytes(key, sizeof(key))); room && s->ops->valid(it);
         s->ops->next(it)) {
        struct gw_bytes k = s->ops->key(it), v = s->ops->value(it);
        uint64_t durable_us;
        if (k.len != EVENTS_KEY_BYTES ||
            v.len < sizeof(durable_us) + sizeof(struct gw_record_head)) {
            GW_COUNT(s->storage_counters.damaged);
            store_report(s, "an event record is damaged and left out");
            continue;
        }
        if (gw_be64(k.p) >= below)
            break;
        memcpy(&durable_us, v.p, sizeof(durable_us));
        room = out_add(o, gw_be64(k.p), durable_us, v.p + sizeof(durable_us),
                       (uint32_t)(v.len - sizeof(durable_us)));
    }
    int err = room ? s->ops->status(it) : 0;
    s->ops->iter_free(&it);
    return err;
}

size_t events_held_from(const struct gw_store *s, uint64_t from)
{
    size_t low = 0, high = s->window.held_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (window_held_at(&s->window, mid)->s.number < from)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static bool scan_held(struct gw_store *s, const struct window_held *h, struct out *o)
{
    const uint8_t *base = window_at(&s->window, h->s.off);
    size_t off = h->events_off;
    for (uint32_t found = 0; found < h->events_count;) {
        const struct gw_record_head *r = gw_record_next(base, h->s.len, &off);
        check(r != NULL);
        if (r->kind != GW_RECORD_EVENTS)
            continue;
        if (!out_add(o, h->s.number, h->s.durable_us, r, r->len))
            return false;
        found++;
    }
    return true;
}

void events_scan(struct gw_store *s, const struct gw_store_request *r,
                 struct gw_store_completion *done)
{
    uint64_t from = r->from > s->state.events_trim ? r->from : s->state.events_trim;
    struct out o = {.p = r->data, .cap = r->data_len};
    size_t i = events_held_from(s, from);
    done->seq = from;
    /* Spilled segments are older than any that is held. */
    if (i == 0)
        done->status = scan_spilled(s, from, &o);
    while (!done->status && o.needed == 0 && i < s->window.held_count)
        scan_held(s, window_held_at(&s->window, i++), &o);
    if (done->status) {
        GW_COUNT(s->storage_counters.errors);
        return;
    }
    done->len = (uint32_t)o.used;
    done->more = o.needed > 0;
    if (done->more) {
        done->next = o.segment;
        if (o.used == 0) {
            done->status = -EMSGSIZE;
            done->len = (uint32_t)o.needed;
        }
    } else {
        done->next = s->segment_indexed >= from ? s->segment_indexed + 1 : from;
    }
}

int events_trim(struct gw_store *s, struct write *w)
{
    uint64_t from = w->request.from;
    uint64_t below = from <= s->segment_indexed + 1 ? from : s->segment_indexed + 1;
    if (below <= s->state.events_trim)
        return 0;
    uint8_t first[EVENTS_KEY_BYTES], end[EVENTS_KEY_BYTES];
    events_key(first, s->state.events_trim, 0);
    events_key(end, below, 0);
    s->state.events_trim = below;
    s->ops->del_range(w->batch, GW_SPACE_EVENTS, gw_bytes(first, sizeof(first)),
                      gw_bytes(end, sizeof(end)));
    meta_put_state(s, w->batch);
    return 1;
}
