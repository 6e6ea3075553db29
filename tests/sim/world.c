/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <stdlib.h>
#include <string.h>

#include "../../dataplane/base/check.h"

enum { LINKS_MAX = 16, SMALL_BYTES = 150 };

struct packet {
    uint64_t at_us;
    uint64_t order; /* ties are broken by the order of sending */
    unsigned link;
    size_t len;
    uint8_t bytes[];
};

struct link_state {
    struct world_link cfg;
    world_deliver_fn deliver;
    void *ctx;
    uint64_t free_at_us; /* when the bottleneck has sent all that is queued */
    uint32_t burst_left;
};

struct world {
    uint64_t rng;
    uint64_t now_us;
    uint64_t order;
    struct link_state links[LINKS_MAX];
    unsigned link_count;
    struct packet **heap;
    size_t heap_count, heap_room;
};

struct world *world_open(uint64_t seed, uint64_t now_us)
{
    struct world *w = calloc(1, sizeof(*w));
    check(w != NULL);
    w->rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    w->now_us = now_us;
    return w;
}

void world_close(struct world **w)
{
    if (*w == NULL)
        return;
    for (size_t i = 0; i < (*w)->heap_count; i++)
        free((*w)->heap[i]);
    free((*w)->heap);
    free(*w);
    *w = NULL;
}

/* splitmix64 */
static uint64_t next_random(struct world *w)
{
    uint64_t z = w->rng += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t world_random(struct world *w, uint64_t below)
{
    return below == 0 ? 0 : next_random(w) % below;
}

bool world_chance(struct world *w, uint32_t ppm)
{
    return ppm != 0 && world_random(w, 1000000) < ppm;
}

unsigned world_add_link(struct world *w, const struct world_link *link, world_deliver_fn deliver,
                        void *ctx)
{
    check(w->link_count < LINKS_MAX);
    w->links[w->link_count] = (struct link_state){.cfg = *link, .deliver = deliver, .ctx = ctx};
    return w->link_count++;
}

void world_heal(struct world *w, unsigned link)
{
    check(link < w->link_count);
    w->links[link].cfg.faults = (struct world_faults){0};
    w->links[link].burst_left = 0;
}

static bool earlier(const struct packet *a, const struct packet *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_push(struct world *w, struct packet *p)
{
    if (w->heap_count == w->heap_room) {
        w->heap_room = w->heap_room ? 2 * w->heap_room : 256;
        w->heap = realloc(w->heap, w->heap_room * sizeof(*w->heap));
        check(w->heap != NULL);
    }
    size_t i = w->heap_count++;
    for (; i > 0 && earlier(p, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = p;
}

static struct packet *heap_pop(struct world *w)
{
    struct packet *top = w->heap[0], *last = w->heap[--w->heap_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->heap_count; i = child) {
        if (child + 1 < w->heap_count && earlier(w->heap[child + 1], w->heap[child]))
            child++;
        if (!earlier(w->heap[child], last))
            break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return top;
}

/* The time at which a packet leaves the bottleneck; false when its queue is full. */
static bool pass_bottleneck(struct world *w, struct link_state *l, size_t len, uint64_t *at_us)
{
    *at_us = w->now_us;
    if (l->cfg.rate_bytes_per_s == 0)
        return true;
    if (l->free_at_us < w->now_us)
        l->free_at_us = w->now_us;
    uint64_t queued = (l->free_at_us - w->now_us) * l->cfg.rate_bytes_per_s / 1000000;
    if (queued + len > l->cfg.queue_bytes)
        return false;
    l->free_at_us += (uint64_t)len * 1000000 / l->cfg.rate_bytes_per_s + 1;
    *at_us = l->free_at_us;
    return true;
}

static bool is_lost(struct world *w, struct link_state *l, size_t len)
{
    const struct world_faults *f = &l->cfg.faults;
    if (l->burst_left > 0) {
        l->burst_left--;
        return true;
    }
    if (world_chance(w, f->burst_ppm))
        l->burst_left = (uint32_t)world_random(w, 2 * f->burst_packets);
    if (len < SMALL_BYTES && world_chance(w, f->small_loss_ppm))
        return true;
    return world_chance(w, f->loss_ppm);
}

static void put_under_way(struct world *w, unsigned link, const uint8_t *bytes, size_t len,
                          uint64_t at_us)
{
    const struct world_faults *f = &w->links[link].cfg.faults;
    struct packet *p = malloc(sizeof(*p) + len);
    check(p != NULL);
    *p = (struct packet){.order = w->order++, .link = link, .len = len};
    p->at_us = at_us + w->links[link].cfg.delay_us + world_random(w, f->jitter_us_max + 1);
    if (world_chance(w, f->reorder_ppm))
        p->at_us += world_random(w, f->reorder_us_max + 1);
    memcpy(p->bytes, bytes, len);
    if (world_chance(w, f->corrupt_ppm))
        for (uint64_t bits = 1 + world_random(w, 3); bits > 0; bits--)
            p->bytes[world_random(w, len)] ^= (uint8_t)(1u << world_random(w, 8));
    heap_push(w, p);
}

void world_send(struct world *w, unsigned link, const uint8_t *packet, size_t len)
{
    struct link_state *l = &w->links[link];
    uint64_t at_us;
    check(link < w->link_count);
    if (is_lost(w, l, len) || !pass_bottleneck(w, l, len, &at_us))
        return;
    put_under_way(w, link, packet, len, at_us);
    if (world_chance(w, l->cfg.faults.duplicate_ppm))
        put_under_way(w, link, packet, len, at_us);
}

uint64_t world_now_us(const struct world *w)
{
    return w->now_us;
}

uint64_t world_next_us(const struct world *w)
{
    return w->heap_count == 0 ? UINT64_MAX : w->heap[0]->at_us;
}

void world_run_to(struct world *w, uint64_t now_us)
{
    check(now_us >= w->now_us);
    w->now_us = now_us;
    while (w->heap_count > 0 && w->heap[0]->at_us <= now_us) {
        struct packet *p = heap_pop(w);
        const struct link_state *l = &w->links[p->link];
        l->deliver(l->ctx, p->bytes, p->len);
        free(p);
    }
}

size_t world_in_flight(const struct world *w)
{
    return w->heap_count;
}
