/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of 64 B to 1 MiB in powers of two, addressed by 32-bit index: the memory of everything
 * that is not idle (bytes to send, stanzas on their way, segments being filled).
 *
 * The arena is cut into 2 MiB chunks; a chunk belongs to one size class while any of its blocks is
 * used and returns to the common pool when the last is freed, so that a burst of one size does not
 * starve another for ever. In an arena of GW_ARENA_FAIR_BYTES or more each class can have a chunk at any
 * time, however much the others use. One thread owns an arena: only it allocates and frees. Other threads may
 * read or write a block that they were handed and give the index back by a message.
 */
#ifndef GW_BASE_ARENA_H
#define GW_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "region.h"

#define GW_ARENA_BLOCK_BYTES_MIN 64u
#define GW_ARENA_BLOCK_BYTES_MAX (1u << 20)
#define GW_ARENA_FAIR_BYTES      (30u << 20)

/* Index of a block, in units of 64 bytes from the arena's base. 0 is none. */
typedef uint32_t gw_block;

/* Some bytes of one block: owned or borrowed as the function that takes it says. */
struct gw_slice {
    gw_block block;
    uint32_t off;
    uint32_t len;
};

struct gw_arena;

/* `bytes` is rounded up to whole chunks. Start only; 0 or negative errno. */
int gw_arena_open(struct gw_arena **out, const char *name, size_t bytes,
                  enum gw_region_pages pages);
void gw_arena_free(struct gw_arena **a);

/* A block of at least `bytes` (at most 1 MiB), or 0 when the arena is full. Contents undefined. */
gw_block gw_arena_get(struct gw_arena *a, size_t bytes);
/* Give a block back. 0 is allowed. A double free trips a check. */
void gw_arena_put(struct gw_arena *a, gw_block b);
/* The size class of a block in bytes. */
size_t gw_arena_block_bytes(const struct gw_arena *a, gw_block b);

size_t gw_arena_used_bytes(const struct gw_arena *a);
size_t gw_arena_limit_bytes(const struct gw_arena *a);
/* For registering the whole arena with a port (rte_extmem). */
const struct gw_region *gw_arena_region(const struct gw_arena *a);

struct gw_arena_view {
    uint8_t *base;
};

/* The opaque struct begins with its view, so that this inlines in every caller. */
static inline void *gw_arena_ptr(const struct gw_arena *a, gw_block b)
{
    return ((const struct gw_arena_view *)a)->base + (size_t)b * GW_ARENA_BLOCK_BYTES_MIN;
}

#endif
