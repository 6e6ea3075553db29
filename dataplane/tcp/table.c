/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing with linear probing, at most three quarters full. A slot is tag and reference in
 * eight bytes: the tag is the hash itself, so that most probes end without touching a connection,
 * and removal can shift later entries back without hashing anything again.
 */
#include <errno.h>

#include "stack.h"

int tcp_table_open(struct tcp_table *tb, const char *name, uint32_t entry_limit,
                   enum gw_region_pages pages)
{
    uint64_t slots = (uint64_t)entry_limit * 4 / 3 + 8;
    check(slots < UINT32_MAX);
    int err = gw_region_open(&tb->region, name, slots * sizeof(uint64_t), pages);
    if (err)
        return err;
    tb->slots = tb->region.base;
    tb->slot_count = (uint32_t)slots;
    return 0;
}

void tcp_table_close(struct tcp_table *tb)
{
    gw_region_close(&tb->region);
    tb->slots = NULL;
}

/* What is hashed of a tuple: IPv4 has less to say. */
static inline bool is_v4(const struct gw_tcp_tuple *t)
{
    return gw_ip_is_v4(&t->remote) && gw_ip_is_v4(&t->local);
}

static inline void v4_of(const struct gw_tcp_tuple *t, uint8_t v4[12])
{
    memcpy(v4, t->local.b + 12, 4);
    memcpy(v4 + 4, t->remote.b + 12, 4);
    memcpy(v4 + 8, &t->local_port, 2);
    memcpy(v4 + 10, &t->remote_port, 2);
}
_Static_assert(sizeof(struct gw_tcp_tuple) == 36, "hashed as it lies: no padding");

static uint32_t slot_home(const struct tcp_table *tb, uint32_t tag)
{
    return (uint32_t)((uint64_t)tag * tb->slot_count >> 32);
}

static uint32_t slot_next(const struct tcp_table *tb, uint32_t slot)
{
    return slot + 1 == tb->slot_count ? 0 : slot + 1;
}

static const struct gw_tcp_tuple *ref_tuple(const struct gw_tcp *t, uint32_t ref)
{
    if (ref & TCP_REF_TIME_WAIT) {
        const struct tcp_time_wait *w = gw_slab_at(&t->time_waits, ref & ~TCP_REF_TIME_WAIT);
        return &w->tuple;
    }
    return &conn_at(t, ref)->tuple;
}

uint32_t tcp_table_tag(const struct gw_tcp *t, const struct gw_tcp_tuple *tuple)
{
    uint8_t v4[12];
    if (!is_v4(tuple))
        return (uint32_t)gw_siphash_1_3(&t->cfg.key, tuple, sizeof(*tuple));
    v4_of(tuple, v4);
    return (uint32_t)gw_siphash_1_3_of_12(&t->cfg.key, v4);
}

void tcp_table_prefetch(const struct gw_tcp *t, uint32_t tag)
{
    __builtin_prefetch(&t->table.slots[slot_home(&t->table, tag)]);
}

uint32_t tcp_table_peek(const struct gw_tcp *t, uint32_t tag)
{
    const struct tcp_table *tb = &t->table;
    for (uint32_t i = slot_home(tb, tag); tb->slots[i] != 0; i = slot_next(tb, i))
        if (tb->slots[i] >> 32 == tag)
            return (uint32_t)tb->slots[i];
    return 0;
}

uint32_t tcp_table_find_tagged(const struct gw_tcp *t, const struct gw_tcp_tuple *tuple,
                               uint32_t tag)
{
    const struct tcp_table *tb = &t->table;
    for (uint32_t i = slot_home(tb, tag); tb->slots[i] != 0; i = slot_next(tb, i)) {
        uint32_t ref = (uint32_t)tb->slots[i];
        if (tb->slots[i] >> 32 == tag && memcmp(ref_tuple(t, ref), tuple, sizeof(*tuple)) == 0)
            return ref;
    }
    return 0;
}

uint32_t tcp_table_find(const struct gw_tcp *t, const struct gw_tcp_tuple *tuple)
{
    return tcp_table_find_tagged(t, tuple, tcp_table_tag(t, tuple));
}

void tcp_table_insert(struct gw_tcp *t, const struct gw_tcp_tuple *tuple, uint32_t ref)
{
    struct tcp_table *tb = &t->table;
    uint32_t tag = tcp_table_tag(t, tuple);
    uint32_t i = slot_home(tb, tag);
    while (tb->slots[i] != 0)
        i = slot_next(tb, i);
    tb->slots[i] = (uint64_t)tag << 32 | ref;
}

/* Whether an entry in `slot` has its home after `hole`: it would not be found in the hole. */
static bool home_is_past(uint32_t home, uint32_t hole, uint32_t slot)
{
    return hole <= slot ? hole < home && home <= slot : hole < home || home <= slot;
}

void tcp_table_remove(struct gw_tcp *t, const struct gw_tcp_tuple *tuple, uint32_t ref)
{
    struct tcp_table *tb = &t->table;
    uint32_t tag = tcp_table_tag(t, tuple);
    uint64_t entry = (uint64_t)tag << 32 | ref;
    uint32_t hole = slot_home(tb, tag);
    while (tb->slots[hole] != entry) {
        check(tb->slots[hole] != 0);
        hole = slot_next(tb, hole);
    }
    for (uint32_t i = slot_next(tb, hole); tb->slots[i] != 0; i = slot_next(tb, i)) {
        if (home_is_past(slot_home(tb, (uint32_t)(tb->slots[i] >> 32)), hole, i))
            continue;
        tb->slots[hole] = tb->slots[i];
        hole = i;
    }
    tb->slots[hole] = 0;
}

uint32_t tcp_initial_sequence(const struct gw_tcp *t, const struct gw_tcp_tuple *tuple)
{
    uint8_t v4[12];
    uint32_t clock = (uint32_t)(t->now_us >> 2);
    if (!is_v4(tuple))
        return clock + (uint32_t)gw_siphash(&t->iss_key, tuple, sizeof(*tuple));
    v4_of(tuple, v4);
    return clock + (uint32_t)gw_siphash(&t->iss_key, v4, sizeof(v4));
}
