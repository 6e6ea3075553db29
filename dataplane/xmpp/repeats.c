/* SPDX-License-Identifier: Apache-2.0 */
#include "repeats.h"

#include "../base/check.h"

int gw_repeats_open(struct gw_repeats *r, uint32_t limit, enum gw_region_pages pages)
{
    *r = (struct gw_repeats){.limit = limit};
    if (limit == 0)
        return 0;
    uint32_t buckets = 1;
    while (buckets < limit)
        buckets <<= 1;
    size_t ring_bytes = (size_t)limit * sizeof(struct gw_repeat);
    int err = gw_region_open(&r->region, "repeats", ring_bytes + buckets * sizeof(uint32_t), pages);
    if (err)
        return err;
    r->ring = r->region.base;
    r->buckets = (uint32_t *)(void *)((uint8_t *)r->region.base + ring_bytes);
    r->bucket_mask = buckets - 1;
    return 0;
}

void gw_repeats_close(struct gw_repeats *r)
{
    if (r->ring != NULL)
        gw_region_close(&r->region);
    *r = (struct gw_repeats){0};
}

/* A fingerprint is a keyed hash: uniform, and nobody's to choose. */
static uint32_t *bucket_of(const struct gw_repeats *r, const struct gw_fingerprint *f)
{
    return &r->buckets[f->name & r->bucket_mask];
}

bool gw_repeats_has(const struct gw_repeats *r, const struct gw_fingerprint *f, uint32_t stream,
                    uint64_t since_us)
{
    if (r->limit == 0)
        return false;
    for (uint32_t i = *bucket_of(r, f); i != 0; i = r->ring[i - 1].next) {
        const struct gw_repeat *e = &r->ring[i - 1];
        if (e->fingerprint.name == f->name && e->fingerprint.content == f->content)
            return e->stream != stream && e->time_s * UINT64_C(1000000) >= since_us;
    }
    return false;
}

static void forget_oldest(struct gw_repeats *r)
{
    uint32_t oldest = r->head + 1;
    uint32_t *at = bucket_of(r, &r->ring[r->head].fingerprint);
    while (*at != oldest)
        at = &r->ring[*at - 1].next;
    *at = r->ring[r->head].next;
    r->count--;
}

void gw_repeats_add(struct gw_repeats *r, const struct gw_fingerprint *f, uint32_t stream,
                    uint64_t time_us)
{
    if (r->limit == 0)
        return;
    if (r->count == r->limit)
        forget_oldest(r);
    uint32_t *bucket = bucket_of(r, f);
    r->ring[r->head] = (struct gw_repeat){.fingerprint = *f,
                                          .stream = stream,
                                          .time_s = (uint32_t)(time_us / 1000000),
                                          .next = *bucket};
    *bucket = r->head + 1;
    r->head = r->head + 1 == r->limit ? 0 : r->head + 1;
    r->count++;
    if (r->count == r->limit) /* what will leave next */
        __builtin_prefetch(bucket_of(r, &r->ring[r->head].fingerprint), 1);
    check_slow(r->count <= r->limit);
}
