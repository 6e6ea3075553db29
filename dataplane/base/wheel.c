/* SPDX-License-Identifier: Apache-2.0 */
#include "wheel.h"

#include <string.h>

#include "check.h"

/*
 * Level k has slots of 256^k ticks. A node sits at the lowest level on which its slot is less than
 * one turn ahead, so a slot never mixes turns, and on levels above 0 the slot of the present moment
 * takes nothing in and is emptied. Its nodes are not moved to the levels below but handed out: most
 * are armed for something that has been done by then, and their owners only have to look.
 */

#define SLOT_BIT  UINT32_C(0x80000000)
#define SLOT_BITS 8
#define SLOT_MASK (GW_WHEEL_SLOTS - 1)

static struct gw_wheel_node *node_at(const struct gw_wheel *w, uint32_t i)
{
    return (struct gw_wheel_node *)(void *)(w->nodes + (size_t)i * w->stride);
}

static uint64_t full_tick(const struct gw_wheel *w, uint32_t tick)
{
    int32_t ahead = (int32_t)(tick - (uint32_t)w->tick);
    return ahead < 0 ? w->tick : w->tick + (uint32_t)ahead;
}

static bool slot_used(const struct gw_wheel *w, unsigned level, unsigned slot)
{
    return w->occupied[level][slot / 64] >> (slot % 64) & 1;
}

static unsigned slot_now(const struct gw_wheel *w, unsigned level)
{
    return (unsigned)(w->tick >> (SLOT_BITS * level)) & SLOT_MASK;
}

static void link_node(struct gw_wheel *w, uint32_t i)
{
    struct gw_wheel_node *n = node_at(w, i);
    uint64_t at = full_tick(w, n->tick);
    unsigned level = 0;
    while ((at >> (SLOT_BITS * level)) - (w->tick >> (SLOT_BITS * level)) > SLOT_MASK)
        level++;
    check(level < GW_WHEEL_LEVELS);
    uint64_t turn = at >> (SLOT_BITS * level);
    unsigned slot = (unsigned)turn & SLOT_MASK;
    if (turn << (SLOT_BITS * level) < w->next)
        w->next = turn << (SLOT_BITS * level);
    uint32_t *head = &w->heads[level][slot];
    n->next = *head;
    n->prev = SLOT_BIT | level << SLOT_BITS | slot;
    if (*head != 0)
        node_at(w, *head)->prev = i;
    *head = i;
    w->occupied[level][slot / 64] |= UINT64_C(1) << (slot % 64);
}

/* Node i is about to be taken off its list and the next one touched: by then the one behind that
 * should be on its way. */
static void expect_after(const struct gw_wheel *w, uint32_t i)
{
    uint32_t next = node_at(w, i)->next;
    if (next == 0 || node_at(w, next)->next == 0)
        return;
    __builtin_prefetch(node_at(w, node_at(w, next)->next));
}

static void unlink_node(struct gw_wheel *w, uint32_t i)
{
    struct gw_wheel_node *n = node_at(w, i);
    if (n->prev & SLOT_BIT) {
        unsigned level = (n->prev & ~SLOT_BIT) >> SLOT_BITS, slot = n->prev & SLOT_MASK;
        check(w->heads[level][slot] == i);
        w->heads[level][slot] = n->next;
        if (n->next == 0)
            w->occupied[level][slot / 64] &= ~(UINT64_C(1) << (slot % 64));
    } else {
        node_at(w, n->prev)->next = n->next;
    }
    if (n->next != 0)
        node_at(w, n->next)->prev = n->prev;
    n->prev = 0;
}

void gw_wheel_init(struct gw_wheel *w, void *nodes, uint32_t stride, uint64_t now_us)
{
    check(stride >= sizeof(struct gw_wheel_node));
    *w = (struct gw_wheel){.nodes = nodes,
                           .stride = stride,
                           .tick = now_us >> GW_TICK_SHIFT,
                           .next = UINT64_MAX};
}

void gw_wheel_set(struct gw_wheel *w, uint32_t i, uint32_t tick)
{
    check(i != 0 && i < SLOT_BIT);
    struct gw_wheel_node *n = node_at(w, i);
    if (n->prev != 0)
        unlink_node(w, i);
    else
        w->armed_count++;
    n->tick = tick;
    link_node(w, i);
}

void gw_wheel_cancel(struct gw_wheel *w, uint32_t i)
{
    if (node_at(w, i)->prev == 0)
        return;
    unlink_node(w, i);
    w->armed_count--;
}

/* How far ahead of `from` the first occupied slot of a level is, in slots; -1 when it is empty. */
static int slots_ahead(const uint64_t occupied[GW_WHEEL_SLOTS / 64], unsigned from)
{
    for (unsigned step = 0; step <= GW_WHEEL_SLOTS / 64; step++) {
        unsigned word = (from / 64 + step) % (GW_WHEEL_SLOTS / 64);
        uint64_t bits = occupied[word];
        if (step == 0)
            bits &= UINT64_MAX << (from % 64);
        if (step == GW_WHEEL_SLOTS / 64)
            bits &= ~(UINT64_MAX << (from % 64));
        if (bits != 0)
            return (int)((word * 64 + (unsigned)__builtin_ctzll(bits) - from) & SLOT_MASK);
    }
    return -1;
}

/* The first tick at which a node is handed out. */
static uint64_t next_tick(const struct gw_wheel *w)
{
    uint64_t best = UINT64_MAX;
    for (unsigned level = 0; level < GW_WHEEL_LEVELS; level++) {
        int ahead = slots_ahead(w->occupied[level], slot_now(w, level));
        if (ahead < 0)
            continue;
        uint64_t at = ((w->tick >> (SLOT_BITS * level)) + (unsigned)ahead) << (SLOT_BITS * level);
        if (at < w->tick)
            at = w->tick;
        if (at < best)
            best = at;
    }
    return best;
}

/* A node of a slot that the present moment has reached, on whatever level. */
static uint32_t reached(const struct gw_wheel *w)
{
    for (unsigned level = 0; level < GW_WHEEL_LEVELS; level++) {
        unsigned slot = slot_now(w, level);
        if (slot_used(w, level, slot))
            return w->heads[level][slot];
    }
    return 0;
}

uint32_t gw_wheel_pop(struct gw_wheel *w, uint64_t now_us, unsigned *work)
{
    uint64_t now = now_us >> GW_TICK_SHIFT;
    if (now < w->next) {
        if (w->tick < now)
            w->tick = now;
        return 0;
    }
    while (*work > 0 && w->tick <= now) {
        (*work)--;
        uint32_t i = reached(w);
        if (i != 0) {
            expect_after(w, i);
            gw_wheel_cancel(w, i);
            return i;
        }
        w->next = next_tick(w);
        if (w->next > now) {
            w->tick = now;
            return 0;
        }
        w->tick = w->next;
    }
    return 0;
}

uint64_t gw_wheel_next_us(const struct gw_wheel *w)
{
    return w->armed_count == 0 ? UINT64_MAX : next_tick(w) << GW_TICK_SHIFT;
}
