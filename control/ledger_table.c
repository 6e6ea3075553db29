/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_table.h"

#include <stdlib.h>
#include <sys/random.h>

#include "../dataplane/base/check.h"

#define KEY_BYTES_MAX (3 * (UINT16_MAX + 1))

struct ledger_table {
    struct gw_sipkey key; /* message ids are chosen by clients */
    uint32_t receipts_max, count, bucket_count;
    size_t bytes_max, bytes;
    struct receipt **by_place, **by_id;
    struct receipt *newest, *oldest;
    uint64_t dropped, dropped_until_us;
    uint8_t scratch[KEY_BYTES_MAX];
};

static uint32_t power_of_two(uint32_t n)
{
    uint32_t p = 16;
    while (p < n)
        p *= 2;
    return p;
}

struct ledger_table *ledger_table_new(uint32_t receipts_max, size_t bytes_max)
{
    struct ledger_table *t = calloc(1, sizeof(*t));
    check(t != NULL && receipts_max > 0);
    t->receipts_max = receipts_max;
    t->bytes_max = bytes_max;
    t->bucket_count = 2 * power_of_two(receipts_max);
    t->by_place = calloc(t->bucket_count, sizeof(struct receipt *));
    t->by_id = calloc(t->bucket_count, sizeof(struct receipt *));
    check(t->by_place != NULL && t->by_id != NULL);
    check(getrandom(&t->key, sizeof(t->key), 0) == sizeof(t->key));
    return t;
}

void ledger_table_free(struct ledger_table **tp)
{
    struct ledger_table *t = *tp;
    if (t == NULL)
        return;
    while (t->newest != NULL) {
        struct receipt *r = t->newest;
        t->newest = r->older;
        free(r);
    }
    free(t->by_place);
    free(t->by_id);
    free(t);
    *tp = NULL;
}

/* ---- the two indices ---- */

static struct receipt **bucket_at(const struct ledger_table *t, struct receipt **buckets,
                                  uint32_t hash)
{
    return &buckets[hash & (t->bucket_count - 1)];
}

static uint32_t place_hash(const struct ledger_table *t, const struct gw_mailbox_id *mailbox,
                           uint64_t position)
{
    uint8_t key[24];
    memcpy(key, mailbox->b, 16);
    memcpy(key + 16, &position, 8);
    return (uint32_t)gw_siphash(&t->key, key, sizeof(key));
}

/* Lengths and texts: no two triples have the same bytes. */
static uint32_t id_hash(struct ledger_table *t, struct gw_bytes from, struct gw_bytes to,
                        struct gw_bytes id)
{
    const struct gw_bytes parts[3] = {from, to, id};
    size_t off = 0;
    for (int i = 0; i < 3; i++) {
        uint16_t len = (uint16_t)parts[i].len;
        memcpy(t->scratch + off, &len, sizeof(len));
        off += sizeof(len);
        if (len > 0)
            memcpy(t->scratch + off, parts[i].p, len);
        off += len;
    }
    return (uint32_t)gw_siphash(&t->key, t->scratch, off);
}

static struct receipt *find_place(struct ledger_table *t, const struct gw_mailbox_id *mailbox,
                                  uint64_t position)
{
    uint32_t hash = place_hash(t, mailbox, position);
    for (struct receipt *r = *bucket_at(t, t->by_place, hash); r != NULL; r = r->by_place_next)
        if (r->position == position && memcmp(&r->mailbox, mailbox, sizeof(*mailbox)) == 0)
            return r;
    return NULL;
}

/* New ones stand first in their chain: when a client uses an id twice, the later message is found. */
static struct receipt *find_id(struct ledger_table *t, struct gw_bytes from, struct gw_bytes to,
                               struct gw_bytes id)
{
    uint32_t hash = id_hash(t, from, to, id);
    for (struct receipt *r = *bucket_at(t, t->by_id, hash); r != NULL; r = r->by_id_next)
        if (gw_bytes_eq(r->id, id) && gw_bytes_eq(r->from, from) && gw_bytes_eq(r->to, to))
            return r;
    return NULL;
}

/* ---- adding and dropping ---- */

/* The oldest is the last of its chains: nothing else has to be looked at, which would be cold. */
static void unlink_oldest(struct receipt *r)
{
    check(r->by_place_next == NULL && r->by_id_next == NULL);
    *r->by_place_at = NULL;
    *r->by_id_at = NULL;
}

static void drop_oldest(struct ledger_table *t)
{
    struct receipt *r = t->oldest;
    check(r != NULL);
    unlink_oldest(r);
    t->oldest = r->newer;
    if (t->oldest != NULL) {
        t->oldest->older = NULL;
        __builtin_prefetch(t->oldest->newer);
        __builtin_prefetch((const char *)t->oldest->newer + sizeof(*r) - 1);
    } else {
        t->newest = NULL;
    }
    t->count--;
    t->bytes -= r->bytes;
    t->dropped++;
    if (r->time_us[RECEIPT_stored] > t->dropped_until_us)
        t->dropped_until_us = r->time_us[RECEIPT_stored];
    free(r);
}

static struct gw_bytes keep_text(uint8_t **at, struct gw_bytes s)
{
    uint8_t *p = *at;
    if (s.len > 0)
        memcpy(p, s.p, s.len);
    *at += s.len;
    return gw_bytes(p, s.len);
}

static struct receipt *receipt_new(const struct gw_event *e)
{
    size_t bytes = sizeof(struct receipt) + e->from.len + e->to.len + e->id.len;
    struct receipt *r = calloc(1, bytes);
    check(r != NULL);
    uint8_t *text = (uint8_t *)(r + 1);
    r->bytes = bytes;
    r->mailbox = e->mailbox;
    r->position = e->position;
    r->from = keep_text(&text, e->from);
    r->to = keep_text(&text, e->to);
    r->id = keep_text(&text, e->id);
    return r;
}

static void link_receipt(struct ledger_table *t, struct receipt *r)
{
    r->by_place_at = bucket_at(t, t->by_place, place_hash(t, &r->mailbox, r->position));
    r->by_id_at = bucket_at(t, t->by_id, id_hash(t, r->from, r->to, r->id));
    r->by_place_next = *r->by_place_at;
    r->by_id_next = *r->by_id_at;
    if (r->by_place_next != NULL)
        r->by_place_next->by_place_at = &r->by_place_next;
    if (r->by_id_next != NULL)
        r->by_id_next->by_id_at = &r->by_id_next;
    *r->by_place_at = r;
    *r->by_id_at = r;
    r->older = t->newest;
    if (t->newest != NULL)
        t->newest->newer = r;
    else
        t->oldest = r;
    t->newest = r;
    t->count++;
    t->bytes += r->bytes;
}

static struct receipt *apply_stored(struct ledger_table *t, const struct gw_event *e,
                                    struct ledger_place place, uint64_t durable_us)
{
    struct receipt *r = find_place(t, &e->mailbox, e->position);
    if (r != NULL)
        return r; /* the same event again */
    while (t->count > 0 && (t->count == t->receipts_max || t->bytes >= t->bytes_max))
        drop_oldest(t);
    r = receipt_new(e);
    r->place = place;
    r->time_us[RECEIPT_accepted] = e->time_us;
    r->time_us[RECEIPT_stored] = durable_us;
    link_receipt(t, r);
    return r;
}

static void set_time(struct receipt *r, enum receipt_step step, uint64_t time_us)
{
    if (r != NULL && r->time_us[step] == 0)
        r->time_us[step] = time_us;
}

const struct receipt *ledger_table_apply(struct ledger_table *t, const struct gw_event *e,
                                         struct ledger_place place, uint64_t durable_us)
{
    struct receipt *r = NULL;
    switch (e->kind) {
    case GW_EVENT_STORED:
        r = apply_stored(t, e, place, durable_us);
        break;
    case GW_EVENT_DELIVERED:
        r = find_place(t, &e->mailbox, e->position);
        set_time(r, RECEIPT_delivered, e->time_us);
        break;
    case GW_EVENT_EXPIRED:
        r = find_place(t, &e->mailbox, e->position);
        set_time(r, RECEIPT_expired, e->time_us);
        break;
    case GW_EVENT_RECEIVED:
        r = find_id(t, e->from, e->to, e->id);
        set_time(r, RECEIPT_received, e->time_us);
        break;
    case GW_EVENT_DISPLAYED:
        r = find_id(t, e->from, e->to, e->id);
        set_time(r, RECEIPT_displayed, e->time_us);
        break;
    case GW_EVENT_REPEATED:
        r = find_id(t, e->from, e->to, e->id);
        break;
    case GW_EVENT_COUNT:
        check(!"an event of no kind");
    }
    return r;
}

void ledger_table_expect(struct ledger_table *t, const struct gw_event *e, unsigned round)
{
    bool by_place = e->kind == GW_EVENT_STORED || e->kind == GW_EVENT_DELIVERED;
    if (by_place) {
        struct receipt **at = bucket_at(t, t->by_place, place_hash(t, &e->mailbox, e->position));
        __builtin_prefetch(round == 0 ? (void *)at : (void *)*at);
    }
    if (e->kind != GW_EVENT_DELIVERED) {
        struct receipt **at = bucket_at(t, t->by_id, id_hash(t, e->from, e->to, e->id));
        __builtin_prefetch(round == 0 ? (void *)at : (void *)*at);
    }
}

/* ---- looking ---- */

const struct receipt *ledger_table_find(struct ledger_table *t, const struct gw_mailbox_id *mailbox,
                                        uint64_t position)
{
    return find_place(t, mailbox, position);
}

const struct receipt *ledger_table_newest(const struct ledger_table *t)
{
    return t->newest;
}

const struct receipt *ledger_table_oldest(const struct ledger_table *t)
{
    return t->oldest;
}

uint32_t ledger_table_count(const struct ledger_table *t)
{
    return t->count;
}

uint64_t ledger_table_dropped(const struct ledger_table *t)
{
    return t->dropped;
}

uint64_t ledger_table_dropped_until_us(const struct ledger_table *t)
{
    return t->dropped_until_us;
}

const char *receipt_step_name(enum receipt_step s)
{
    static const char *const names[] = {
#define X(name) #name,
        RECEIPT_STEPS(X)
#undef X
    };
    check((unsigned)s < RECEIPT_STEP_COUNT);
    return names[s];
}

enum receipt_step receipt_state(const struct receipt *r)
{
    enum receipt_step s = RECEIPT_displayed;
    while (s > RECEIPT_accepted && r->time_us[s] == 0)
        s--;
    return s;
}
