/* SPDX-License-Identifier: Apache-2.0 */
#include "ring.h"

#include <errno.h>
#include <stdlib.h>

/* With C11 atomics: the same instructions on x86, and ThreadSanitizer understands them. */
#define RTE_USE_C11_MEM_MODEL
#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "check.h"

struct gw_ring {
    uint32_t elem_bytes;
    struct rte_ring *ring;
};

int gw_ring_open(struct gw_ring **out, const char *name, uint32_t elem_bytes, uint32_t count)
{
    check(elem_bytes % 4 == 0 && count > 0);
    uint32_t slots = 1;
    while (slots <= count) /* rte_ring keeps one slot empty */
        slots <<= 1;
    ssize_t bytes = rte_ring_get_memsize_elem(elem_bytes, slots);
    if (bytes < 0)
        return (int)bytes;
    struct gw_ring *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return -ENOMEM;
    r->elem_bytes = elem_bytes;
    r->ring = aligned_alloc(64, ((size_t)bytes + 63) & ~(size_t)63);
    int err = r->ring == NULL ? -ENOMEM
                              : rte_ring_init(r->ring, name, slots, RING_F_SP_ENQ | RING_F_SC_DEQ);
    if (err) {
        gw_ring_free(&r);
        return err;
    }
    *out = r;
    return 0;
}

void gw_ring_free(struct gw_ring **r)
{
    if (*r == NULL)
        return;
    free((*r)->ring);
    free(*r);
    *r = NULL;
}

bool gw_ring_push(struct gw_ring *r, const void *elem)
{
    return rte_ring_sp_enqueue_bulk_elem(r->ring, elem, r->elem_bytes, 1, NULL) == 1;
}

unsigned gw_ring_pop(struct gw_ring *r, void *elems, unsigned max)
{
    return rte_ring_sc_dequeue_burst_elem(r->ring, elems, r->elem_bytes, max, NULL);
}

/* As rte_ring_count, which reads the two ends without saying so to the compiler. */
uint32_t gw_ring_count(const struct gw_ring *r)
{
    uint32_t put = __atomic_load_n(&r->ring->prod.tail, __ATOMIC_ACQUIRE);
    uint32_t taken = __atomic_load_n(&r->ring->cons.tail, __ATOMIC_ACQUIRE);
    uint32_t count = (put - taken) & r->ring->mask;
    return count < r->ring->capacity ? count : r->ring->capacity;
}

uint32_t gw_ring_room(const struct gw_ring *r)
{
    return r->ring->capacity - gw_ring_count(r);
}
