/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"

#include <errno.h>
#include <string.h>

#include "check.h"

#define CHUNK_BYTES ((size_t)2 << 20)
#define CLASS_COUNT 15 /* 64 B << 0 .. 64 B << 14 = 1 MiB */
_Static_assert(CHUNK_BYTES * CLASS_COUNT == GW_ARENA_FAIR_BYTES, "a chunk for each class");
#define CLASS_NONE  0xff
#define NIL         UINT32_MAX

/* Free blocks of a chunk are chained through their first bytes; `canary` marks them as free. */
struct free_block {
    gw_block next;
    uint32_t canary;
};
#define CANARY 0x60d51f2eu

struct chunk {
    uint32_t prev, next; /* in its class's list of chunks with room, or in the pool's list */
    gw_block free_head;
    uint32_t used_count;
    uint32_t fresh_count; /* blocks handed out at least once */
    uint8_t class;
};

struct gw_arena {
    struct gw_arena_view view; /* first: see gw_arena_ptr */
    struct gw_region region;
    uint32_t chunk_count;
    uint32_t pool_head, pool_count;
    uint32_t owed_count; /* of the pool's: one for each class that has none, see chunk_claim */
    uint32_t room_head[CLASS_COUNT];
    uint32_t class_chunks[CLASS_COUNT];
    size_t used_bytes;
    struct chunk chunks[];
};

static size_t class_bytes(unsigned class)
{
    return (size_t)GW_ARENA_BLOCK_BYTES_MIN << class;
}

static unsigned class_of(size_t bytes)
{
    if (bytes <= GW_ARENA_BLOCK_BYTES_MIN)
        return 0;
    return 64 - (unsigned)__builtin_clzll((bytes - 1) / GW_ARENA_BLOCK_BYTES_MIN);
}

static uint32_t class_block_count(unsigned class)
{
    return (uint32_t)(CHUNK_BYTES / class_bytes(class));
}

static gw_block chunk_block(uint32_t chunk, unsigned class, uint32_t i)
{
    size_t off = chunk * CHUNK_BYTES + i * class_bytes(class);
    return (gw_block)(off / GW_ARENA_BLOCK_BYTES_MIN);
}

static uint32_t chunk_of(gw_block b)
{
    return (uint32_t)((size_t)b * GW_ARENA_BLOCK_BYTES_MIN / CHUNK_BYTES);
}

static void list_push(struct gw_arena *a, uint32_t *head, uint32_t c)
{
    a->chunks[c].prev = NIL;
    a->chunks[c].next = *head;
    if (*head != NIL)
        a->chunks[*head].prev = c;
    *head = c;
}

static void list_drop(struct gw_arena *a, uint32_t *head, uint32_t c)
{
    struct chunk *ch = &a->chunks[c];
    if (ch->prev != NIL)
        a->chunks[ch->prev].next = ch->next;
    else
        *head = ch->next;
    if (ch->next != NIL)
        a->chunks[ch->next].prev = ch->prev;
}

/* Chunk 0 is none. */
static bool is_fair(const struct gw_arena *a)
{
    return a->chunk_count > CLASS_COUNT;
}

int gw_arena_open(struct gw_arena **out, const char *name, size_t bytes, enum gw_region_pages pages)
{
    /* Chunk 0 is left out, so that block index 0 can mean "none". */
    size_t count = (bytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
    check(count > 0 && (count + 1) * CHUNK_BYTES / GW_ARENA_BLOCK_BYTES_MIN <= UINT32_MAX);
    struct gw_arena *a = calloc(1, sizeof(*a) + (count + 1) * sizeof(struct chunk));
    if (a == NULL)
        return -ENOMEM;
    int err = gw_region_open(&a->region, name, count * CHUNK_BYTES, pages);
    if (err) {
        free(a);
        return err;
    }
    a->view.base = (uint8_t *)a->region.base - CHUNK_BYTES;
    a->chunk_count = (uint32_t)count + 1;
    a->pool_head = NIL;
    a->pool_count = (uint32_t)count;
    a->owed_count = is_fair(a) ? CLASS_COUNT : 0;
    for (unsigned i = 0; i < CLASS_COUNT; i++)
        a->room_head[i] = NIL;
    for (uint32_t c = a->chunk_count - 1; c >= 1; c--) {
        a->chunks[c].class = CLASS_NONE;
        list_push(a, &a->pool_head, c);
    }
    *out = a;
    return 0;
}

void gw_arena_free(struct gw_arena **a)
{
    if (*a == NULL)
        return;
    gw_region_close(&(*a)->region);
    free(*a);
    *a = NULL;
}

/* Take a chunk from the pool for this class; NIL when there is none for it. Each class gets its first,
 * whatever the others have taken: else some blocks that stay, one in each chunk, starve all sizes that
 * nobody happened to use before. */
static uint32_t chunk_claim(struct gw_arena *a, unsigned class)
{
    uint32_t c = a->pool_head;
    bool first = a->class_chunks[class] == 0;
    if (c == NIL || (!first && a->pool_count <= a->owed_count))
        return NIL;
    list_drop(a, &a->pool_head, c);
    a->pool_count--;
    a->class_chunks[class]++;
    if (first && is_fair(a))
        a->owed_count--;
    a->chunks[c] = (struct chunk){.class = (uint8_t)class};
    list_push(a, &a->room_head[class], c);
    return c;
}

static void chunk_return(struct gw_arena *a, uint32_t c)
{
    struct chunk *ch = &a->chunks[c];
    list_drop(a, &a->room_head[ch->class], c);
    if (--a->class_chunks[ch->class] == 0 && is_fair(a))
        a->owed_count++;
    a->pool_count++;
    ch->class = CLASS_NONE;
    list_push(a, &a->pool_head, c);
}

static gw_block chunk_take(struct gw_arena *a, uint32_t c)
{
    struct chunk *ch = &a->chunks[c];
    gw_block b = ch->free_head;
    if (b != 0) {
        struct free_block *f = gw_arena_ptr(a, b);
        check(f->canary == CANARY);
        ch->free_head = f->next;
        f->canary = 0;
        if (f->next != 0) /* out of the cache by now, and as a rule wanted soon */
            __builtin_prefetch(gw_arena_ptr(a, f->next), 1);
    } else {
        b = chunk_block(c, ch->class, ch->fresh_count++);
        ((struct free_block *)gw_arena_ptr(a, b))->canary = 0;
    }
    ch->used_count++;
    if (ch->used_count == class_block_count(ch->class))
        list_drop(a, &a->room_head[ch->class], c);
    return b;
}

gw_block gw_arena_get(struct gw_arena *a, size_t bytes)
{
    check(bytes <= GW_ARENA_BLOCK_BYTES_MAX);
    unsigned class = class_of(bytes);
    uint32_t c = a->room_head[class];
    if (c == NIL && (c = chunk_claim(a, class)) == NIL)
        return 0;
    a->used_bytes += class_bytes(class);
    return chunk_take(a, c);
}

/* The next block is taken where this one was given back: it is in the cache. Not from a chunk that is
 * less than half used: that is to become free. */
static void favour(struct gw_arena *a, uint32_t c)
{
    struct chunk *ch = &a->chunks[c];
    uint32_t *head = &a->room_head[ch->class];
    if (*head == c || ch->used_count < class_block_count(ch->class) / 2)
        return;
    list_drop(a, head, c);
    list_push(a, head, c);
}

void gw_arena_put(struct gw_arena *a, gw_block b)
{
    if (b == 0)
        return;
    uint32_t c = chunk_of(b);
    check(c >= 1 && c < a->chunk_count);
    struct chunk *ch = &a->chunks[c];
    check(ch->class != CLASS_NONE && ch->used_count > 0);
    struct free_block *f = gw_arena_ptr(a, b);
    /* A canary could also be a user's bytes: only then is the chain walked to tell. */
    if (__builtin_expect(f->canary == CANARY, 0))
        for (gw_block i = ch->free_head; i != 0; i = ((struct free_block *)gw_arena_ptr(a, i))->next)
            check(i != b);
    *f = (struct free_block){.next = ch->free_head, .canary = CANARY};
    ch->free_head = b;
    if (ch->used_count == class_block_count(ch->class))
        list_push(a, &a->room_head[ch->class], c);
    ch->used_count--;
    a->used_bytes -= class_bytes(ch->class);
    favour(a, c);
    if (ch->used_count == 0)
        chunk_return(a, c);
}

size_t gw_arena_block_bytes(const struct gw_arena *a, gw_block b)
{
    uint32_t c = chunk_of(b);
    check(c >= 1 && c < a->chunk_count && a->chunks[c].class != CLASS_NONE);
    return class_bytes(a->chunks[c].class);
}

size_t gw_arena_used_bytes(const struct gw_arena *a)
{
    return a->used_bytes;
}

size_t gw_arena_limit_bytes(const struct gw_arena *a)
{
    return a->region.bytes;
}

const struct gw_region *gw_arena_region(const struct gw_arena *a)
{
    return &a->region;
}
