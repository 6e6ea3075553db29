/* SPDX-License-Identifier: Apache-2.0 */
/* A queue of 64-bit tags: what was sent and waits for an acknowledgement, in order. */
#ifndef LOAD_TAGS_H
#define LOAD_TAGS_H

#include <stdint.h>
#include <stdlib.h>

#include "../../dataplane/base/check.h"

struct tags {
    uint64_t *ring;
    uint32_t head; /* free-running */
    uint32_t tail;
    uint32_t capacity; /* a power of two, or 0 */
};

static inline uint32_t tags_count(const struct tags *t)
{
    return t->tail - t->head;
}

static inline void tags_push(struct tags *t, uint64_t tag)
{
    if (tags_count(t) == t->capacity) {
        uint32_t capacity = t->capacity ? t->capacity * 2 : 16;
        uint64_t *ring = malloc(capacity * sizeof(*ring));
        check(ring != NULL);
        uint32_t count = tags_count(t);
        for (uint32_t i = 0; i < count; i++)
            ring[i] = t->ring[(t->head + i) & (t->capacity - 1)];
        free(t->ring);
        *t = (struct tags){.ring = ring, .tail = count, .capacity = capacity};
    }
    t->ring[t->tail++ & (t->capacity - 1)] = tag;
}

static inline uint64_t tags_pop(struct tags *t)
{
    check(tags_count(t) > 0);
    return t->ring[t->head++ & (t->capacity - 1)];
}

/* Moves everything of `from` behind what `to` has. */
static inline void tags_move(struct tags *to, struct tags *from)
{
    while (tags_count(from) > 0)
        tags_push(to, tags_pop(from));
}

static inline void tags_free(struct tags *t)
{
    free(t->ring);
    *t = (struct tags){0};
}

#endif
