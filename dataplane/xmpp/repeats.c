/* SPDX-License-Identifier: Apache-2.0 */
#include "repeats.h"

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

/* NULL: it has been written over. After 2^32 others a number may seem to be a younger one's; then the
 * fingerprint does not fit, or it does and is no less a repeat. */
static const struct gw_repeat *numbered(const struct gw_repeats *r, uint32_t number)
{
    uint32_t age = r->newest - number;
    if (age >= r->count)
        return NULL;
    return &r->ring[r->head > age ? r->head - 1 - age : r->head + r->limit - 1 - age];
}

void gw_repeats_expect_newest(const struct gw_repeats *r, const struct gw_fingerprint *f)
{
    if (r->limit != 0)
        __builtin_prefetch(numbered(r, *bucket_of(r, f)));
}

bool gw_repeats_has(const struct gw_repeats *r, const struct gw_fingerprint *f, uint32_t stream,
                    uint64_t since_us)
{
    if (r->limit == 0)
        return false;
    uint32_t number = *bucket_of(r, f), age;
    const struct gw_repeat *e;
    while ((e = numbered(r, number)) != NULL) {
        if (e->fingerprint.name == f->name && e->fingerprint.content == f->content)
            return e->stream != stream && e->time_s * UINT64_C(1000000) >= since_us;
        age = r->newest - number;
        number = e->next;
        if (r->newest - number <= age) /* not older: it has outlived 2^32 others */
            return false;
    }
    return false;
}

void gw_repeats_add(struct gw_repeats *r, const struct gw_fingerprint *f, uint32_t stream,
                    uint64_t time_us)
{
    if (r->limit == 0)
        return;
    uint32_t *bucket = bucket_of(r, f);
    r->ring[r->head] = (struct gw_repeat){.fingerprint = *f,
                                          .stream = stream,
                                          .time_s = (uint32_t)(time_us / 1000000),
                                          .next = *bucket};
    *bucket = ++r->newest;
    r->head = r->head + 1 == r->limit ? 0 : r->head + 1;
    if (r->count < r->limit)
        r->count++;
}
