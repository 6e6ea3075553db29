/* SPDX-License-Identifier: Apache-2.0 */
#include "handover.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "../base/check.h"

#define LINE_BYTES      64u
#define FRAME_BYTES_MAX 65600u
#define BYTES_MIN       (128u << 10)

/* Positions count bytes and run on; their low bits are the place. A record begins on a cache line of
 * its own, so that reader and writer never meet in one. */
struct handover {
    /* producer's */
    uint32_t written;    /* end of what was put */
    uint32_t given_seen; /* `given` when it was last looked at */
    _Alignas(LINE_BYTES) _Atomic uint32_t shown; /* end of what was published */
    /* consumer's */
    _Alignas(LINE_BYTES) uint32_t taken;
    uint32_t shown_seen;
    _Alignas(LINE_BYTES) _Atomic uint32_t given; /* start of what the producer may not touch */
    _Alignas(LINE_BYTES) uint32_t mask;
    uint8_t *data;
};

static uint32_t record_bytes(uint32_t len)
{
    return ((uint32_t)sizeof(struct handover_frame) + len + LINE_BYTES - 1) & ~(LINE_BYTES - 1);
}

static struct handover_frame *record_at(const struct handover *h, uint32_t position)
{
    return (struct handover_frame *)(h->data + (position & h->mask));
}

int handover_open(struct handover **out, uint32_t bytes)
{
    check(bytes >= BYTES_MIN && (bytes & (bytes - 1)) == 0);
    struct handover *h = aligned_alloc(_Alignof(struct handover), sizeof(*h));
    uint8_t *data = aligned_alloc(LINE_BYTES, bytes);
    if (h == NULL || data == NULL) {
        free(h);
        free(data);
        return -ENOMEM;
    }
    *h = (struct handover){.mask = bytes - 1, .data = data};
    *out = h;
    return 0;
}

void handover_free(struct handover **h)
{
    if (*h == NULL)
        return;
    free((*h)->data);
    free(*h);
    *h = NULL;
}

/* ---- producer ---- */

static bool has_room(struct handover *h, uint32_t bytes)
{
    if (h->written + bytes - h->given_seen <= h->mask + 1)
        return true;
    h->given_seen = atomic_load_explicit(&h->given, memory_order_acquire);
    return h->written + bytes - h->given_seen <= h->mask + 1;
}

struct handover_frame *handover_put(struct handover *h, uint32_t len)
{
    check(len <= FRAME_BYTES_MAX);
    uint32_t bytes = record_bytes(len);
    uint32_t to_end = h->mask + 1 - (h->written & h->mask);
    uint32_t filler = bytes > to_end ? to_end : 0;
    if (!has_room(h, filler + bytes))
        return NULL;
    if (filler > 0) {
        *record_at(h, h->written) =
            (struct handover_frame){.len = filler - (uint32_t)sizeof(struct handover_frame),
                                    .is_filler = true};
        h->written += filler;
    }
    struct handover_frame *f = record_at(h, h->written);
    *f = (struct handover_frame){.len = len};
    h->written += bytes;
    return f;
}

void handover_publish(struct handover *h)
{
    if (atomic_load_explicit(&h->shown, memory_order_relaxed) != h->written)
        atomic_store_explicit(&h->shown, h->written, memory_order_release);
}

/* ---- consumer ---- */

const struct handover_frame *handover_next(struct handover *h)
{
    for (;;) {
        if (h->taken == h->shown_seen)
            h->shown_seen = atomic_load_explicit(&h->shown, memory_order_acquire);
        if (h->taken == h->shown_seen)
            return NULL;
        const struct handover_frame *f = record_at(h, h->taken);
        if (!f->is_filler)
            return f;
        h->taken += record_bytes(f->len);
    }
}

void handover_take(struct handover *h)
{
    check(h->taken != h->shown_seen);
    h->taken += record_bytes(record_at(h, h->taken)->len);
}

void handover_release(struct handover *h)
{
    if (atomic_load_explicit(&h->given, memory_order_relaxed) != h->taken)
        atomic_store_explicit(&h->given, h->taken, memory_order_release);
}
