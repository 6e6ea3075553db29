/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fixed-size elements addressed by 32-bit index, all reserved at start. One thread owns a slab.
 *
 * Index 0 is never handed out and means "none". A free element's first four bytes hold the next
 * free index, so the slab costs nothing beyond its elements. Parallel slabs (hot, cold) share the
 * indices of one: the others are plain arrays made with gw_slab_open and gw_slab_at alone.
 */
#ifndef GW_BASE_SLAB_H
#define GW_BASE_SLAB_H

#include <stdint.h>

#include "check.h"
#include "region.h"

struct gw_slab {
    uint8_t *base;
    uint32_t elem_bytes;
    uint32_t limit; /* indices 1 .. limit */
    uint32_t used_count;
    uint32_t fresh; /* the lowest index never handed out */
    uint32_t free_head;
    struct gw_region region;
};

/* 0 or negative errno. elem_bytes is at least 4. Start only. */
int gw_slab_open(struct gw_slab *out, const char *name, uint32_t elem_bytes, uint32_t limit,
                 enum gw_region_pages pages);
void gw_slab_close(struct gw_slab *s);

/* 0 when full. The element's bytes are what its last owner left (zero when fresh). */
static inline uint32_t gw_slab_alloc(struct gw_slab *s)
{
    uint32_t i = s->free_head;
    if (i != 0) {
        __builtin_memcpy(&s->free_head, s->base + (size_t)i * s->elem_bytes, sizeof(uint32_t));
        __builtin_prefetch(s->base + (size_t)s->free_head * s->elem_bytes, 1);
    } else if (s->fresh <= s->limit) {
        i = s->fresh++;
    } else {
        return 0;
    }
    s->used_count++;
    return i;
}

static inline void *gw_slab_at(const struct gw_slab *s, uint32_t i)
{
    check(i != 0 && i <= s->limit);
    return s->base + (size_t)i * s->elem_bytes;
}

static inline void gw_slab_free(struct gw_slab *s, uint32_t i)
{
    void *p = gw_slab_at(s, i);
    check(s->used_count > 0);
    __builtin_memcpy(p, &s->free_head, sizeof(uint32_t));
    s->free_head = i;
    s->used_count--;
}

/* Counts an element as used that is not taken yet, for who may need one later and must not fail then.
 * Precondition: one is free. */
static inline void gw_slab_promise(struct gw_slab *s)
{
    check(s->used_count < s->limit);
    s->used_count++;
}

/* Takes the element that was promised; never 0. */
static inline uint32_t gw_slab_redeem(struct gw_slab *s)
{
    check(s->used_count > 0);
    s->used_count--;
    uint32_t i = gw_slab_alloc(s);
    check(i != 0);
    return i;
}

/* What was promised is not needed. */
static inline void gw_slab_release(struct gw_slab *s)
{
    check(s->used_count > 0);
    s->used_count--;
}

#endif
