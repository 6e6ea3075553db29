/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_reader.h"

#include <errno.h>
#include <stdlib.h>

#include "../dataplane/base/check.h"

#define BUF_BYTES_FIRST (64u << 10)
/* A segment's events and their heads are never more than this. */
#define BUF_BYTES_MAX (2 * GW_SEGMENT_BYTES_MAX)

void ledger_reader_init(struct ledger_reader *r, struct store_ops *ops,
                        const struct gw_keyring *keys, struct gw_sealer *sealer,
                        struct ledger_place from)
{
    *r = (struct ledger_reader){.ops = ops, .keys = keys, .sealer = sealer, .next = from,
                                .scan_next = from.segment};
}

void ledger_reader_free(struct ledger_reader *r)
{
    check(!r->op.pending);
    free(r->buf);
    r->buf = NULL;
}

/* ---- scanning ---- */

static void grow(struct ledger_reader *r, size_t cap)
{
    free(r->buf);
    r->cap = cap;
    r->buf = malloc(cap);
    check(r->buf != NULL);
}

static void start_scan(struct ledger_reader *r)
{
    if (r->buf == NULL)
        grow(r, BUF_BYTES_FIRST);
    r->op.rq = (struct gw_store_request){.op = GW_STORE_SCAN_EVENTS, .data = r->buf,
                                         .data_len = (uint32_t)r->cap, .from = r->scan_next};
    r->len = r->off = 0;
    r->scanned = true;
    store_ops_start(r->ops, &r->op);
}

/* What lay between has been trimmed. Whoever starts at 0 wants the oldest that there is. */
static void note_gap(struct ledger_reader *r, uint64_t first)
{
    struct ledger_place begin = {.segment = first};
    if (r->op.rq.from == 0 || ledger_place_cmp(&r->next, &begin) >= 0)
        return;
    r->gaps++;
    r->gap_from = r->next;
    r->next = begin;
}

/* The next step of reading when nothing is left in the buffer. */
static enum ledger_read next_buffer(struct ledger_reader *r)
{
    if (r->op.pending)
        return LEDGER_READ_WAIT;
    if (!r->scanned) {
        start_scan(r);
        return LEDGER_READ_WAIT;
    }
    const struct gw_store_completion *done = &r->op.done;
    r->scanned = false;
    if (done->status == -EMSGSIZE && done->len > r->cap && done->len <= BUF_BYTES_MAX) {
        grow(r, done->len);
        return LEDGER_READ_MORE;
    }
    if (done->status != 0) {
        r->rc = done->status;
        return LEDGER_READ_FAILED;
    }
    r->len = done->len;
    r->scan_next = done->next;
    if (done->seq > r->op.rq.from)
        note_gap(r, done->seq);
    if (done->len > 0)
        return LEDGER_READ_MORE;
    /* Segments without events lie behind: later events stand at or after scan_next. */
    struct ledger_place end = {.segment = r->scan_next};
    if (!done->more && ledger_place_cmp(&r->next, &end) < 0)
        r->next = end;
    return done->more ? LEDGER_READ_MORE : LEDGER_READ_END;
}

/* ---- one record ---- */

static bool open_record(struct ledger_reader *r, struct gw_record_head *h)
{
    uint8_t aad[GW_RECORD_AAD_BYTES];
    gw_record_aad(aad, NULL, h->position, GW_RECORD_EVENTS, false);
    struct gw_seal_op op = gw_record_op(h, gw_keyring_key(r->keys, h->incarnation), aad);
    if (op.key == NULL || gw_open_burst(r->sealer, &op, 1) != 0)
        return false;
    r->events = gw_event_reader(op.out, op.len);
    return true;
}

static void damaged(struct ledger_reader *r)
{
    r->damaged++;
    r->damaged_segment = r->segment;
    r->events = gw_event_reader(NULL, 0);
}

/* Takes the next entry off the buffer. */
static void next_record(struct ledger_reader *r)
{
    struct gw_events_entry *e = (void *)(r->buf + r->off);
    struct gw_record_head *h = (struct gw_record_head *)(e + 1);
    check(r->len - r->off >= sizeof(*e) && e->len >= sizeof(*e) && e->len <= r->len - r->off);
    if (e->segment != r->segment)
        r->ordinal = 0;
    r->segment = e->segment;
    r->durable_us = e->durable_us;
    if (r->first_us == 0)
        r->first_us = e->durable_us;
    r->off += gw_record_padded(e->len);
    if (e->len < sizeof(*e) + sizeof(*h) || h->len != e->len - sizeof(*e) ||
        h->kind != GW_RECORD_EVENTS || !open_record(r, h))
        damaged(r);
}

/* ---- handing on ---- */

static bool is_done(const struct ledger_reader *r)
{
    return r->next.segment > r->segment ||
           (r->next.segment == r->segment && r->next.ordinal > r->ordinal);
}

static bool unpack(struct ledger_reader *r)
{
    r->unpacked = gw_event_unpack(&r->events, &r->event.event) == 1;
    r->event.durable_us = r->durable_us;
    r->event.place = (struct ledger_place){r->segment, r->ordinal};
    if (!r->unpacked)
        damaged(r);
    return r->unpacked;
}

/* Returns events handed on (0 or 1), or -1 when `take` does not want it now. */
static int next_event(struct ledger_reader *r, bool (*take)(void *, const struct ledger_event *),
                      void *ctx)
{
    if (!r->unpacked && !unpack(r))
        return 0;
    bool fresh = gw_event_is_receipt(r->event.event.kind) && !is_done(r);
    if (fresh && !take(ctx, &r->event))
        return -1;
    r->unpacked = false;
    r->ordinal++;
    if (fresh)
        r->next = (struct ledger_place){.segment = r->segment, .ordinal = r->ordinal};
    return fresh;
}

enum ledger_read ledger_reader_step(struct ledger_reader *r, unsigned max,
                                    bool (*take)(void *ctx, const struct ledger_event *e),
                                    void *ctx)
{
    for (unsigned n = 0; n < max;) {
        if (r->unpacked || r->events.off < r->events.len) {
            int taken = next_event(r, take, ctx);
            if (taken < 0)
                return LEDGER_READ_MORE;
            n += (unsigned)taken;
        } else if (r->off < r->len) {
            next_record(r);
            n++;
        } else if (n > 0) {
            break; /* the caller may hold on to what it got until the next call */
        } else {
            return next_buffer(r);
        }
    }
    return LEDGER_READ_MORE;
}
