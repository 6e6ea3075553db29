/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "../dataplane/base/check.h"
#include "event.h"

/*
 * A record: one byte for the format, then its events, each told from the one before it, so that what a home
 * writes in one go costs little: messages of one mailbox that are delivered together take a byte each.
 *
 * One event: a byte of kind and flags; unless its flag says that it is the same, the time as the difference to
 * the one before (zigzag); for those that name a place the mailbox (16), unless it is the same, and the
 * position, unless it is the next one; the fingerprint (16), if there is one; for those with names the lengths
 * of from, to and id, then these. Numbers have seven bits a byte, the low ones first; the high bit says that
 * more follow.
 */
#define FORMAT            3
#define KIND_MASK         0x0f
#define SAME_TIME         0x10
#define SAME_MAILBOX      0x20
#define NEXT_POSITION     0x40
#define HAS_FINGERPRINT   0x80
#define NUMBER_BYTES_MAX  10
#define LENGTH_BYTES_MAX  3
#define MAILBOX_BYTES     sizeof(struct gw_mailbox_id)
#define FINGERPRINT_BYTES sizeof(struct gw_fingerprint)

_Static_assert(GW_EVENT_COUNT <= KIND_MASK + 1, "a kind has four bits");

const char *gw_event_name(enum gw_event_kind k)
{
    static const char *const names[] = {
#define X(upper, lower) #lower,
        GW_EVENTS(X)
#undef X
            "counted", "floor",
    };
    check((unsigned)k < GW_EVENT_COUNT);
    return names[k];
}

static bool names_mailbox(enum gw_event_kind k)
{
    return k == GW_EVENT_STORED || gw_event_ends(k) || k == GW_EVENT_COUNTED;
}

static bool names_place(enum gw_event_kind k)
{
    return names_mailbox(k) || k == GW_EVENT_FLOOR;
}

static bool has_names(enum gw_event_kind k)
{
    return gw_event_is_receipt(k) && !gw_event_ends(k);
}

static bool is_same_mailbox(const struct gw_event_before *before, const struct gw_event *e)
{
    return memcmp(&before->mailbox, &e->mailbox, MAILBOX_BYTES) == 0;
}

/* ---- packing ---- */

size_t gw_event_bytes_max(const struct gw_event *e)
{
    size_t bytes = 2 + NUMBER_BYTES_MAX; /* the format, too */
    if (names_place(e->kind))
        bytes += MAILBOX_BYTES + NUMBER_BYTES_MAX;
    if (gw_fingerprint_is_set(&e->fingerprint))
        bytes += FINGERPRINT_BYTES;
    if (has_names(e->kind))
        bytes += 3 * LENGTH_BYTES_MAX + e->from.len + e->to.len + e->id.len;
    return bytes;
}

static uint8_t *put_number(uint8_t *p, uint64_t n)
{
    for (; n >= 0x80; n >>= 7)
        *p++ = (uint8_t)(n | 0x80);
    *p++ = (uint8_t)n;
    return p;
}

static uint8_t *put_bytes(uint8_t *p, const void *from, size_t len)
{
    if (len > 0)
        memcpy(p, from, len);
    return p + len;
}

static uint8_t *put_names(uint8_t *p, const struct gw_event *e)
{
    p = put_number(p, e->from.len);
    p = put_number(p, e->to.len);
    p = put_number(p, e->id.len);
    p = put_bytes(p, e->from.p, e->from.len);
    p = put_bytes(p, e->to.p, e->to.len);
    return put_bytes(p, e->id.p, e->id.len);
}

/* Small either way. */
static uint64_t zigzag(uint64_t difference)
{
    return difference << 1 ^ (uint64_t)((int64_t)difference >> 63);
}

static uint8_t *put_place(uint8_t *p, uint8_t flags, const struct gw_event *e,
                          struct gw_event_before *before)
{
    if (names_mailbox(e->kind) && (flags & SAME_MAILBOX) == 0) {
        p = put_bytes(p, &e->mailbox, MAILBOX_BYTES);
        before->mailbox = e->mailbox;
    }
    if ((flags & NEXT_POSITION) == 0)
        p = put_number(p, e->position);
    before->position = e->position;
    return p;
}

static uint8_t flags_of(const struct gw_event *e, const struct gw_event_before *before)
{
    uint8_t flags = e->time_us == before->time_us ? SAME_TIME : 0;
    if (names_mailbox(e->kind) && is_same_mailbox(before, e))
        flags |= SAME_MAILBOX;
    if (names_place(e->kind) && e->position == before->position + 1)
        flags |= NEXT_POSITION;
    if (gw_fingerprint_is_set(&e->fingerprint))
        flags |= HAS_FINGERPRINT;
    return flags;
}

static void check_event(const struct gw_event *e)
{
    check((unsigned)e->kind < GW_EVENT_COUNT);
    check(e->from.len <= UINT16_MAX && e->to.len <= UINT16_MAX && e->id.len <= UINT16_MAX);
    check(has_names(e->kind) || e->from.len + e->to.len + e->id.len == 0);
}

bool gw_event_pack(struct gw_event_writer *w, const struct gw_event *e)
{
    check_event(e);
    check(w->len <= w->cap);
    if (gw_event_bytes_max(e) > w->cap - w->len)
        return false;

    struct gw_event_before *before = &w->before;
    uint8_t *p = w->buf + w->len, flags = flags_of(e, before);
    if (w->len == 0)
        *p++ = FORMAT;
    *p++ = (uint8_t)e->kind | flags;
    if ((flags & SAME_TIME) == 0)
        p = put_number(p, zigzag(e->time_us - before->time_us));
    before->time_us = e->time_us;
    if (names_place(e->kind))
        p = put_place(p, flags, e, before);
    if ((flags & HAS_FINGERPRINT) != 0)
        p = put_bytes(p, &e->fingerprint, FINGERPRINT_BYTES);
    if (has_names(e->kind))
        p = put_names(p, e);
    w->len = (size_t)(p - w->buf);
    return true;
}

/* ---- unpacking ---- */

/* What is left of a record: p is NULL when more was asked for than there is. */
struct rest {
    const uint8_t *p, *end;
};

static const uint8_t *take_bytes(struct rest *r, size_t len)
{
    const uint8_t *p = r->p;
    if (p == NULL || (size_t)(r->end - p) < len) {
        r->p = NULL;
        return NULL;
    }
    r->p = p + len;
    return p;
}

static uint64_t take_number(struct rest *r)
{
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 7 * NUMBER_BYTES_MAX; shift += 7) {
        const uint8_t *p = take_bytes(r, 1);
        if (p == NULL)
            return 0;
        n |= (uint64_t)(*p & 0x7f) << shift;
        if (*p < 0x80)
            return n;
    }
    r->p = NULL;
    return 0;
}

static void take_exactly(struct rest *r, void *out, size_t len)
{
    const uint8_t *p = take_bytes(r, len);
    if (p != NULL)
        memcpy(out, p, len);
}

static void take_place(struct rest *r, uint8_t flags, struct gw_event *e,
                       const struct gw_event_before *before)
{
    if (names_mailbox(e->kind) && (flags & SAME_MAILBOX) != 0)
        e->mailbox = before->mailbox;
    else if (names_mailbox(e->kind))
        take_exactly(r, &e->mailbox, MAILBOX_BYTES);
    e->position = (flags & NEXT_POSITION) != 0 ? before->position + 1 : take_number(r);
}

static struct gw_bytes take_name(struct rest *r, uint64_t len)
{
    const uint8_t *p = take_bytes(r, len);
    return gw_bytes(p, p != NULL ? len : 0);
}

static void take_names(struct rest *r, struct gw_event *e)
{
    uint64_t from = take_number(r), to = take_number(r), id = take_number(r);
    if (from > UINT16_MAX || to > UINT16_MAX || id > UINT16_MAX)
        r->p = NULL;
    e->from = take_name(r, from);
    e->to = take_name(r, to);
    e->id = take_name(r, id);
}

static uint64_t take_time(struct rest *r, uint64_t before_us)
{
    uint64_t n = take_number(r);
    return before_us + (n >> 1 ^ (0 - (n & 1)));
}

int gw_event_unpack(struct gw_event_reader *r, struct gw_event *out)
{
    struct gw_event_before *before = &r->before;
    struct rest rest = {r->buf + r->off, r->buf + r->len};
    if (r->off == r->len)
        return 0;
    const uint8_t *format = r->off == 0 ? take_bytes(&rest, 1) : NULL;
    const uint8_t *head = take_bytes(&rest, 1);
    if ((format != NULL && *format != FORMAT) || head == NULL ||
        (*head & KIND_MASK) >= GW_EVENT_COUNT)
        return -EBADMSG;

    uint8_t flags = *head & (uint8_t)~KIND_MASK;
    *out = (struct gw_event){.kind = *head & KIND_MASK};
    out->time_us = (flags & SAME_TIME) != 0 ? before->time_us : take_time(&rest, before->time_us);
    if (names_place(out->kind))
        take_place(&rest, flags, out, before);
    if ((flags & HAS_FINGERPRINT) != 0)
        take_exactly(&rest, &out->fingerprint, FINGERPRINT_BYTES);
    if (has_names(out->kind))
        take_names(&rest, out);
    if (rest.p == NULL)
        return -EBADMSG;
    before->time_us = out->time_us;
    if (names_place(out->kind))
        before->position = out->position;
    if (names_mailbox(out->kind))
        before->mailbox = out->mailbox;
    r->off = (size_t)(rest.p - r->buf);
    return 1;
}
