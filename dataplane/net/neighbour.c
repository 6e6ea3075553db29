/* SPDX-License-Identifier: Apache-2.0 */
#include "neighbour.h"

#include <errno.h>
#include <stdlib.h>

#include "internal.h"

/* Bounds of one call. */
#define EVICT_STEPS_MAX   64
#define ADVANCE_STEPS_MAX 256
#define LIST_STEPS_MAX    512

static uint64_t reachable_us(const struct gw_sipkey *key)
{
    uint64_t random = gw_siphash(key, "reachable", 9);
    return NEIGHBOUR_REACHABLE_US_MIN +
           random % (NEIGHBOUR_REACHABLE_US_MAX - NEIGHBOUR_REACHABLE_US_MIN);
}

int neighbours_open(struct neighbours *t, uint32_t limit, const struct gw_sipkey *key,
                    uint32_t frame_bytes, uint64_t now_us)
{
    if (limit == 0 || limit > 1u << 20)
        return -EINVAL;
    uint32_t buckets = 1;
    while (buckets < limit)
        buckets *= 2;
    *t = (struct neighbours){
        .entries = calloc(limit + 1, sizeof(*t->entries)),
        .buckets = calloc(buckets, sizeof(*t->buckets)),
        .bucket_mask = buckets - 1,
        .limit = limit,
        .hand = 1,
        .key = *key,
        .reachable_us = reachable_us(key),
        .asks = rate_full(NEIGHBOUR_ASK_PER_SECOND, NEIGHBOUR_ASK_BURST, now_us),
        .parked_bytes = malloc((size_t)NEIGHBOUR_PARKED_MAX * frame_bytes),
        .parked_frame_bytes = frame_bytes,
    };
    if (t->entries == NULL || t->buckets == NULL || t->parked_bytes == NULL) {
        neighbours_close(t);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < NEIGHBOUR_PARKED_MAX; i++)
        t->parked[i].frame = t->parked_bytes + (size_t)i * frame_bytes;
    for (uint32_t i = limit; i >= 1; i--) {
        t->entries[i].chain = t->free_head;
        t->free_head = i;
    }
    return 0;
}

void neighbours_close(struct neighbours *t)
{
    free(t->entries);
    free(t->buckets);
    free(t->parked_bytes);
    *t = (struct neighbours){0};
}

/* ---- the table ---- */

static uint32_t *bucket_of(const struct neighbours *t, const struct gw_ip *ip)
{
    return &t->buckets[gw_siphash(&t->key, ip->b, sizeof(ip->b)) & t->bucket_mask];
}

static uint32_t find(struct neighbours *t, const struct gw_ip *ip)
{
    /* Most segments go where the one before went: all of them behind a gateway. */
    if (t->recent != 0 && gw_ip_eq(&t->entries[t->recent].ip, ip))
        return t->recent;
    uint32_t i = *bucket_of(t, ip);
    while (i != 0 && !gw_ip_eq(&t->entries[i].ip, ip))
        i = t->entries[i].chain;
    if (i != 0)
        t->recent = i;
    return i;
}

/* Asked, and not answered yet. */
static bool is_asked(const struct neighbour *e)
{
    return e->state == NEIGHBOUR_RESOLVING || e->state == NEIGHBOUR_PROBING ||
           e->state == NEIGHBOUR_DOUBTED;
}

static void wait_begin(struct neighbours *t, uint64_t now_us, uint32_t i, uint8_t wait)
{
    struct neighbour *e = &t->entries[i];
    e->wait = wait;
    e->due_us = now_us + (wait == NEIGHBOUR_WAIT_DELAY ? NEIGHBOUR_DELAY_US
                                                       : NEIGHBOUR_FIRST_WAIT_US << wait);
    e->next = 0;
    e->prev = t->last[wait];
    *(e->prev ? &t->entries[e->prev].next : &t->first[wait]) = i;
    t->last[wait] = i;
}

static void wait_end(struct neighbours *t, uint32_t i)
{
    struct neighbour *e = &t->entries[i];
    if (!is_asked(e) && e->state != NEIGHBOUR_DELAY)
        return;
    *(e->prev ? &t->entries[e->prev].next : &t->first[e->wait]) = e->next;
    *(e->next ? &t->entries[e->next].prev : &t->last[e->wait]) = e->prev;
}

static void unpark(struct neighbours *t, struct neighbour *e)
{
    t->parked[e->parked - 1].len = 0;
    e->parked = 0;
}

static void remove_entry(struct gw_net *n, uint32_t i)
{
    struct neighbours *t = &n->neighbours;
    struct neighbour *e = &t->entries[i];
    check(e->state != NEIGHBOUR_FREE && t->count > 0);
    wait_end(t, i);
    if (e->parked) {
        unpark(t, e);
        GW_COUNT(n->counters.drop_tx_unresolved);
    }
    uint32_t *at = bucket_of(t, &e->ip);
    while (*at != i)
        at = &t->entries[*at].chain;
    *at = e->chain;
    if (t->recent == i)
        t->recent = 0;
    *e = (struct neighbour){.chain = t->free_head};
    t->free_head = i;
    t->count--;
}

/* The first entry that was not used since the hand last came by; after a bounded search, any. */
static void evict(struct gw_net *n)
{
    struct neighbours *t = &n->neighbours;
    uint32_t victim = t->hand;
    for (int step = 0; step < EVICT_STEPS_MAX; step++) {
        victim = t->hand;
        t->hand = t->hand == t->limit ? 1 : t->hand + 1;
        if (!t->entries[victim].used)
            break;
        t->entries[victim].used = false;
    }
    remove_entry(n, victim);
    GW_COUNT(n->counters.neighbours_evicted);
}

static uint32_t add_entry(struct neighbours *t, const struct gw_ip *ip)
{
    uint32_t i = t->free_head;
    check(i != 0);
    struct neighbour *e = &t->entries[i];
    t->free_head = e->chain;
    uint32_t *bucket = bucket_of(t, ip);
    *e = (struct neighbour){.ip = *ip, .chain = *bucket};
    *bucket = i;
    t->count++;
    return i;
}

/* ---- asking ---- */

static bool solicit(struct gw_net *n, const struct neighbour *e)
{
    const uint8_t *mac = e->state == NEIGHBOUR_PROBING ? e->mac : NULL;
    if (gw_ip_is_v4(&e->ip))
        return arp_request(n, &e->ip, mac);
    return nd_solicit(n, &e->ip, mac);
}

/* Each attempt waits equally long for all, so each attempt's list is in order of its deadlines. One
 * that our own port had no room for says nothing about the neighbour, and is made again. */
static void ask(struct gw_net *n, uint64_t now_us, uint32_t i, enum neighbour_state state,
                uint8_t attempt)
{
    struct neighbours *t = &n->neighbours;
    wait_end(t, i);
    t->entries[i].state = state;
    bool made = !rate_take(&t->asks, now_us) || solicit(n, &t->entries[i]);
    wait_begin(t, now_us, i, made || attempt == 0 ? attempt : attempt - 1);
}

static void use_stale(struct gw_net *n, uint64_t now_us, uint32_t i)
{
    struct neighbours *t = &n->neighbours;
    struct neighbour *e = &t->entries[i];
    if (now_us - e->heard_us > NEIGHBOUR_STALE_US) {
        ask(n, now_us, i, NEIGHBOUR_RESOLVING, 0);
        return;
    }
    e->state = NEIGHBOUR_DELAY;
    wait_begin(t, now_us, i, NEIGHBOUR_WAIT_DELAY);
}

const uint8_t *neighbour_use(struct gw_net *n, uint64_t now_us, const struct gw_ip *ip,
                             uint32_t *entry)
{
    struct neighbours *t = &n->neighbours;
    uint32_t i = find(t, ip);
    if (i == 0) {
        if (t->count == t->limit)
            evict(n);
        i = add_entry(t, ip);
        ask(n, now_us, i, NEIGHBOUR_RESOLVING, 0);
    }
    struct neighbour *e = &t->entries[i];
    e->used = true;
    if (e->state == NEIGHBOUR_STALE ||
        (e->state == NEIGHBOUR_REACHABLE && now_us - e->heard_us > t->reachable_us))
        use_stale(n, now_us, i);
    *entry = i;
    return e->state == NEIGHBOUR_RESOLVING ? NULL : e->mac;
}

uint8_t *neighbour_park(struct gw_net *n, uint32_t entry, uint32_t len)
{
    struct neighbours *t = &n->neighbours;
    struct neighbour *e = &t->entries[entry];
    check(e->state == NEIGHBOUR_RESOLVING && len <= t->parked_frame_bytes);
    if (e->parked) {
        unpark(t, e);
        GW_COUNT(n->counters.drop_tx_unresolved);
    }
    for (uint8_t slot = 0; slot < NEIGHBOUR_PARKED_MAX; slot++) {
        if (t->parked[slot].len != 0)
            continue;
        t->parked[slot].len = len;
        e->parked = slot + 1;
        return t->parked[slot].frame;
    }
    return NULL;
}

/* ---- what is heard ---- */

static bool has_mac(const struct neighbour *e, const uint8_t mac[6])
{
    return memcmp(e->mac, mac, sizeof(e->mac)) == 0;
}

static void send_parked(struct gw_net *n, uint64_t now_us, uint32_t i)
{
    struct neighbours *t = &n->neighbours;
    struct neighbour *e = &t->entries[i];
    if (e->parked == 0)
        return;
    struct neighbour_parked *p = &t->parked[e->parked - 1];
    memcpy(p->frame, e->mac, sizeof(e->mac));
    net_answer(n, p->frame, p->len);
    unpark(t, e);
    if (e->state == NEIGHBOUR_STALE)
        use_stale(n, now_us, i);
}

/* It has this address from now on, confirmed or only heard of. */
static void settle(struct gw_net *n, uint64_t now_us, uint32_t i, const uint8_t mac[6],
                   enum neighbour_state state)
{
    struct neighbours *t = &n->neighbours;
    struct neighbour *e = &t->entries[i];
    if (e->state == NEIGHBOUR_FREE || e->state == NEIGHBOUR_RESOLVING)
        GW_COUNT(n->counters.neighbours_learned);
    else if (!has_mac(e, mac))
        GW_COUNT(n->counters.neighbours_moved);
    wait_end(t, i);
    e->state = (uint8_t)state;
    e->heard_us = now_us;
    memcpy(e->mac, mac, sizeof(e->mac));
    send_parked(n, now_us, i);
}

bool neighbour_answered(struct gw_net *n, uint64_t now_us, const struct gw_ip *ip,
                        const uint8_t *mac, bool override)
{
    struct neighbours *t = &n->neighbours;
    uint32_t i = find(t, ip);
    if (i == 0 || !is_asked(&t->entries[i]))
        return false;
    struct neighbour *e = &t->entries[i];
    if (mac == NULL && e->state != NEIGHBOUR_PROBING)
        return false; /* whose it is, is what was asked */
    bool moves = mac != NULL && e->state != NEIGHBOUR_RESOLVING && !has_mac(e, mac);
    if (moves && e->state == NEIGHBOUR_PROBING)
        neighbour_doubt(n, now_us, ip, mac); /* only the one that has the address was asked */
    else if (!moves || override)
        settle(n, now_us, i, mac != NULL ? mac : e->mac, NEIGHBOUR_REACHABLE);
    return true;
}

void neighbour_heard(struct gw_net *n, uint64_t now_us, const struct gw_ip *ip,
                     const uint8_t mac[6])
{
    struct neighbours *t = &n->neighbours;
    uint32_t i = find(t, ip);
    if (i == 0) {
        if (t->count == t->limit) {
            GW_COUNT(n->counters.neighbours_not_learned);
            return;
        }
        i = add_entry(t, ip);
    } else if (t->entries[i].state != NEIGHBOUR_RESOLVING) {
        neighbour_doubt(n, now_us, ip, mac);
        return;
    }
    settle(n, now_us, i, mac, NEIGHBOUR_STALE);
}

void neighbour_doubt(struct gw_net *n, uint64_t now_us, const struct gw_ip *ip,
                     const uint8_t mac[6])
{
    uint32_t i = find(&n->neighbours, ip);
    if (i == 0)
        return;
    const struct neighbour *e = &n->neighbours.entries[i];
    if (e->state == NEIGHBOUR_RESOLVING || e->state == NEIGHBOUR_DOUBTED || has_mac(e, mac))
        return;
    ask(n, now_us, i, NEIGHBOUR_DOUBTED, 0);
}

/* ---- time ---- */

static void time_out(struct gw_net *n, uint64_t now_us, uint32_t i)
{
    const struct neighbour *e = &n->neighbours.entries[i];
    if (e->state == NEIGHBOUR_DELAY) {
        ask(n, now_us, i, NEIGHBOUR_PROBING, 0);
    } else if (e->wait + 1 < NEIGHBOUR_ATTEMPTS) {
        ask(n, now_us, i, e->state, (uint8_t)(e->wait + 1));
    } else {
        remove_entry(n, i);
        GW_COUNT(n->counters.neighbours_failed);
    }
}

void neighbours_advance(struct gw_net *n, uint64_t now_us)
{
    struct neighbours *t = &n->neighbours;
    unsigned steps = 0;
    for (int a = 0; a < NEIGHBOUR_WAITS; a++)
        for (uint32_t i; (i = t->first[a]) != 0 && t->entries[i].due_us <= now_us; steps++) {
            if (steps == ADVANCE_STEPS_MAX)
                return;
            time_out(n, now_us, i);
        }
}

uint64_t neighbours_next_deadline_us(const struct neighbours *t)
{
    uint64_t next = UINT64_MAX;
    for (int a = 0; a < NEIGHBOUR_WAITS; a++)
        if (t->first[a] != 0 && t->entries[t->first[a]].due_us < next)
            next = t->entries[t->first[a]].due_us;
    return next;
}

/* ---- for operators ---- */

unsigned gw_net_neighbours(const struct gw_net *n, uint32_t *at, struct gw_net_neighbour *out,
                           unsigned max)
{
    const struct neighbours *t = &n->neighbours;
    unsigned count = 0;
    for (unsigned step = 0; step < LIST_STEPS_MAX && count < max && *at < t->limit; step++) {
        const struct neighbour *e = &t->entries[++*at];
        if (e->state == NEIGHBOUR_FREE)
            continue;
        out[count] = (struct gw_net_neighbour){
            .ip = e->ip, .state = e->state, .heard_us = n->now_us - e->heard_us};
        memcpy(out[count].mac, e->mac, sizeof(e->mac));
        count++;
    }
    if (*at >= t->limit)
        *at = 0;
    return count;
}
