/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receipts lie in a ring of bytes in the order in which they were stored, and are addressed by how far
 * they lie in the endless stream of which the ring shows the end. The two indices are chains of such
 * offsets, newest first: so a chain ends where it comes to what has been dropped, dropping looks at
 * nothing but the receipt itself, and nothing is allocated or freed for a message.
 *
 * An index is looked into at random, once or twice an event: what it costs is its size. So it holds the
 * low 32 bits of offsets counted in units of eight bytes (links), and what they leave open is settled by
 * where the ring is now. A link that nobody replaces would come to mean another receipt when the stream has
 * gone on by 32 GiB: long before that those to dropped receipts are set to none.
 */
#include "ledger_table.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "../dataplane/base/check.h"

#define NAMES_BYTES_MAX   (3 * UINT16_MAX)
#define RECEIPT_BYTES_MAX (sizeof(struct receipt) + NAMES_BYTES_MAX + 8)
#define UNIT              8u
#define FIRST_OFF         64 /* 0 is no receipt's */
#define CAP_MAX           ((uint64_t)1 << 31)
/* Rounds of the ring between two cleanings of the indices. */
#define CLEAN_ROUNDS 4

struct ledger_table {
    struct gw_sipkey key; /* message ids are chosen by clients */
    uint32_t receipts_max, count;
    uint64_t bytes_max;
    uint8_t *ring;
    uint64_t cap;                 /* of the ring, a power of two */
    uint64_t oldest, newest, end; /* in the stream; no receipt: oldest == end */
    uint64_t bucket_mask;
    uint32_t *by_place, *by_id; /* links to the newest of each chain; what is not live is no receipt's */
    uint64_t clean_at;          /* in the stream */
    uint64_t dropped, dropped_until_us;
    uint8_t scratch[NAMES_BYTES_MAX];
};

static uint64_t power_of_two(uint64_t n)
{
    uint64_t p = 16;
    while (p < n)
        p *= 2;
    return p;
}

/* Zeroed, and taken from the system as it is used. On large pages where there are: what is looked for
 * lies anywhere. */
static void *reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(p != MAP_FAILED);
    (void)madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

static size_t index_bytes(const struct ledger_table *t)
{
    return (size_t)(t->bucket_mask + 1) * sizeof(uint32_t);
}

struct ledger_table *ledger_table_new(uint32_t receipts_max, size_t bytes_max)
{
    struct ledger_table *t = calloc(1, sizeof(*t));
    check(t != NULL && receipts_max > 0);
    t->receipts_max = receipts_max;
    t->bytes_max = bytes_max;
    t->cap = power_of_two(bytes_max > 2 * RECEIPT_BYTES_MAX ? bytes_max : 2 * RECEIPT_BYTES_MAX);
    check(t->cap <= CAP_MAX);
    t->bucket_mask = 2 * power_of_two(receipts_max) - 1;
    t->oldest = t->newest = t->end = FIRST_OFF;
    t->clean_at = t->end + CLEAN_ROUNDS * t->cap;
    t->ring = reserve(t->cap);
    t->by_place = reserve(index_bytes(t));
    t->by_id = reserve(index_bytes(t));
    check(getrandom(&t->key, sizeof(t->key), 0) == sizeof(t->key));
    return t;
}

void ledger_table_free(struct ledger_table **tp)
{
    struct ledger_table *t = *tp;
    if (t == NULL)
        return;
    check(munmap(t->ring, t->cap) == 0);
    check(munmap(t->by_place, index_bytes(t)) == 0 && munmap(t->by_id, index_bytes(t)) == 0);
    free(t);
    *tp = NULL;
}

static struct receipt *at(const struct ledger_table *t, uint64_t off)
{
    return (struct receipt *)(t->ring + (off & (t->cap - 1)));
}

static uint32_t link_of(uint64_t off)
{
    return (uint32_t)(off / UNIT);
}

/* Where it leads in the stream; what lies before the oldest receipt is none. */
static uint64_t link_off(const struct ledger_table *t, uint32_t link)
{
    uint64_t back = (uint32_t)(link_of(t->end) - link);
    return back != 0 && back <= (t->end - t->oldest) / UNIT ? t->end - back * UNIT : 0;
}

static bool is_live(const struct ledger_table *t, uint64_t off)
{
    return off >= t->oldest && off < t->end;
}

/* ---- hashes ---- */

/* A mailbox's name is a part of a hash of a secret: uniform, and nobody's to choose. */
static uint64_t place_hash(const struct ledger_table *t, const struct gw_mailbox_id *mailbox,
                           uint64_t position)
{
    uint64_t h;
    memcpy(&h, mailbox->b, sizeof(h));
    h = (h ^ t->key.k0 ^ position) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}

/* From, to and id in one run: so they lie in what was unpacked. */
static const uint8_t *names_of(struct ledger_table *t, const struct gw_event *e)
{
    if (e->from.p + e->from.len == e->to.p && e->to.p + e->to.len == e->id.p)
        return e->from.p;
    const struct gw_bytes parts[3] = {e->from, e->to, e->id};
    size_t off = 0;
    for (int i = 0; i < 3; i++) {
        if (parts[i].len > 0)
            memcpy(t->scratch + off, parts[i].p, parts[i].len);
        off += parts[i].len;
    }
    return t->scratch;
}

static size_t names_len(const struct gw_event *e)
{
    return e->from.len + e->to.len + e->id.len;
}

static struct ledger_key key_of(struct ledger_table *t, const struct gw_event *e)
{
    struct ledger_key k = {0};
    if (gw_event_ends(e->kind) || e->kind == GW_EVENT_STORED)
        k.place = place_hash(t, &e->mailbox, e->position);
    if (!gw_event_ends(e->kind))
        k.id = gw_siphash_1_3(&t->key, names_of(t, e), names_len(e));
    return k;
}

static struct receipt *find_place(const struct ledger_table *t, uint64_t hash,
                                  const struct gw_mailbox_id *mailbox, uint64_t position)
{
    uint64_t off = link_off(t, t->by_place[hash & t->bucket_mask]);
    while (off != 0) {
        struct receipt *r = at(t, off);
        if (r->position == position && memcmp(&r->mailbox, mailbox, sizeof(*mailbox)) == 0)
            return r;
        off = link_off(t, r->by_place_next);
    }
    return NULL;
}

static bool has_names(const struct receipt *r, const struct gw_event *e, const uint8_t *names)
{
    return r->from_len == e->from.len && r->to_len == e->to.len && r->id_len == e->id.len &&
           memcmp(r->text, names, names_len(e)) == 0;
}

/* New ones stand first in their chain: when a client uses an id twice, the later message is found. */
static struct receipt *find_id(struct ledger_table *t, uint64_t hash, const struct gw_event *e)
{
    const uint8_t *names = names_of(t, e);
    uint64_t off = link_off(t, t->by_id[hash & t->bucket_mask]);
    while (off != 0) {
        struct receipt *r = at(t, off);
        if (has_names(r, e, names))
            return r;
        off = link_off(t, r->by_id_next);
    }
    return NULL;
}

/* ---- adding and dropping ---- */

static void drop_oldest(struct ledger_table *t)
{
    const struct receipt *r = at(t, t->oldest);
    check(t->count > 0);
    if (r->time_us[RECEIPT_stored] > t->dropped_until_us)
        t->dropped_until_us = r->time_us[RECEIPT_stored];
    t->count--;
    t->dropped++;
    t->oldest += r->bytes;
}

/* A receipt never wraps: what is left before the end of the ring belongs to the one before it. */
static void skip_to_room(struct ledger_table *t, size_t bytes)
{
    uint64_t left = t->cap - (t->end & (t->cap - 1));
    if (left >= bytes)
        return;
    if (t->count > 0)
        at(t, t->newest)->bytes += (uint32_t)left;
    else
        t->oldest += left;
    t->end += left;
}

/* bytes include what may have to be skipped. */
static bool is_full(const struct ledger_table *t, size_t bytes)
{
    uint64_t used = t->end - t->oldest;
    return t->count == t->receipts_max || used >= t->bytes_max || used + bytes > t->cap;
}

/* Links to what was dropped become links to just before what is there: nobody's for a long time. */
static void clean_index(const struct ledger_table *t, uint32_t *index)
{
    uint32_t none = link_of(t->oldest - UNIT);
    for (uint64_t i = 0; i <= t->bucket_mask; i++)
        if (link_off(t, index[i]) == 0)
            index[i] = none;
}

static void clean(struct ledger_table *t)
{
    if (t->end < t->clean_at)
        return;
    t->clean_at = t->end + CLEAN_ROUNDS * t->cap;
    clean_index(t, t->by_place);
    clean_index(t, t->by_id);
}

static struct receipt *receipt_new(struct ledger_table *t, const struct gw_event *e)
{
    size_t bytes = (sizeof(struct receipt) + names_len(e) + UNIT - 1) & ~(size_t)(UNIT - 1);
    clean(t);
    while (t->count > 0 && is_full(t, 2 * bytes))
        drop_oldest(t);
    skip_to_room(t, bytes);
    struct receipt *r = at(t, t->end);
    *r = (struct receipt){.mailbox = e->mailbox, .position = e->position, .bytes = (uint32_t)bytes,
                          .older_bytes = (uint32_t)(t->end - t->newest),
                          .from_len = (uint16_t)e->from.len, .to_len = (uint16_t)e->to.len,
                          .id_len = (uint16_t)e->id.len};
    memcpy(r->text, names_of(t, e), names_len(e));
    return r;
}

static void link_receipt(struct ledger_table *t, struct receipt *r, const struct ledger_key *key)
{
    uint32_t *place = &t->by_place[key->place & t->bucket_mask];
    uint32_t *id = &t->by_id[key->id & t->bucket_mask];
    r->by_place_next = *place;
    r->by_id_next = *id;
    *place = *id = link_of(t->end);
    t->newest = t->end;
    t->end += r->bytes;
    t->count++;
}

static struct receipt *join_stored(struct ledger_table *t, const struct gw_event *e,
                                   const struct ledger_key *key, struct ledger_place place,
                                   uint64_t durable_us)
{
    struct receipt *r = NULL;
    /* Places rise, so one that is not new is the same event again. */
    if (t->count > 0 && ledger_place_cmp(&place, &at(t, t->newest)->place) <= 0)
        r = find_place(t, key->place, &e->mailbox, e->position);
    if (r != NULL)
        return r;
    r = receipt_new(t, e);
    r->place = place;
    r->time_us[RECEIPT_accepted] = e->time_us;
    r->time_us[RECEIPT_stored] = durable_us;
    link_receipt(t, r, key);
    return r;
}

static struct receipt *set_time(struct receipt *r, enum receipt_step step, uint64_t time_us)
{
    if (r != NULL && r->time_us[step] == 0)
        r->time_us[step] = time_us;
    return r;
}

const struct receipt *ledger_table_join(struct ledger_table *t, const struct gw_event *e,
                                        const struct ledger_key *key, struct ledger_place place,
                                        uint64_t durable_us)
{
    switch (e->kind) {
    case GW_EVENT_STORED:
        return join_stored(t, e, key, place, durable_us);
    case GW_EVENT_DELIVERED:
        return set_time(find_place(t, key->place, &e->mailbox, e->position), RECEIPT_delivered,
                        e->time_us);
    case GW_EVENT_EXPIRED:
        return set_time(find_place(t, key->place, &e->mailbox, e->position), RECEIPT_expired,
                        e->time_us);
    case GW_EVENT_RECEIVED:
        return set_time(find_id(t, key->id, e), RECEIPT_received, e->time_us);
    case GW_EVENT_DISPLAYED:
        return set_time(find_id(t, key->id, e), RECEIPT_displayed, e->time_us);
    case GW_EVENT_REPEATED:
        return find_id(t, key->id, e);
    case GW_EVENT_COUNTED:
    case GW_EVENT_FLOOR:
    case GW_EVENT_COUNT:
        break;
    }
    check(!"an event of no kind");
    return NULL;
}

const struct receipt *ledger_table_apply(struct ledger_table *t, const struct gw_event *e,
                                         struct ledger_place place, uint64_t durable_us)
{
    struct ledger_key key = key_of(t, e);
    return ledger_table_join(t, e, &key, place, durable_us);
}

void ledger_table_expect(struct ledger_table *t, const struct gw_event *e, struct ledger_key *key)
{
    *key = key_of(t, e);
    __builtin_prefetch(&t->by_place[key->place & t->bucket_mask]);
    __builtin_prefetch(&t->by_id[key->id & t->bucket_mask]);
}

void ledger_table_fetch(const struct ledger_table *t, const struct ledger_key *key)
{
    uint64_t place = link_off(t, t->by_place[key->place & t->bucket_mask]);
    uint64_t id = link_off(t, t->by_id[key->id & t->bucket_mask]);
    if (place != 0) {
        __builtin_prefetch(at(t, place));
        __builtin_prefetch(&at(t, place)->time_us[RECEIPT_delivered]);
    }
    if (id != 0)
        __builtin_prefetch(at(t, id)->text);
}

/* ---- looking ---- */

const struct receipt *ledger_table_find(struct ledger_table *t, const struct gw_mailbox_id *mailbox,
                                        uint64_t position)
{
    return find_place(t, place_hash(t, mailbox, position), mailbox, position);
}

const struct receipt *ledger_table_look(struct ledger_table *t, const struct gw_event *e,
                                        const struct ledger_place *place)
{
    struct ledger_key key = key_of(t, e);
    if (key.place != 0)
        return find_place(t, key.place, &e->mailbox, e->position);
    const struct receipt *r = find_id(t, key.id, e);
    return r != NULL && ledger_place_cmp(&r->place, place) < 0 ? r : NULL;
}

const struct receipt *ledger_table_newest(const struct ledger_table *t)
{
    return t->count > 0 ? at(t, t->newest) : NULL;
}

const struct receipt *ledger_table_oldest(const struct ledger_table *t)
{
    return t->count > 0 ? at(t, t->oldest) : NULL;
}

const struct receipt *ledger_table_older(const struct ledger_table *t, const struct receipt *r)
{
    uint64_t index = (uint64_t)((const uint8_t *)r - t->ring), off = (t->end & ~(t->cap - 1)) + index;
    if (off >= t->end)
        off -= t->cap;
    check(is_live(t, off));
    return off > t->oldest ? at(t, off - r->older_bytes) : NULL;
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

bool receipt_is_news(const struct receipt *r, const struct gw_event *e)
{
    uint64_t delivered_us = r->time_us[RECEIPT_delivered];
    switch (e->kind) {
    case GW_EVENT_DELIVERED:
        return delivered_us == e->time_us;
    case GW_EVENT_EXPIRED:
        return r->time_us[RECEIPT_expired] == e->time_us &&
               (delivered_us == 0 || delivered_us >= e->time_us);
    case GW_EVENT_RECEIVED:
        return r->time_us[RECEIPT_received] == e->time_us;
    case GW_EVENT_DISPLAYED:
        return r->time_us[RECEIPT_displayed] == e->time_us;
    default:
        return true;
    }
}

enum receipt_step receipt_state(const struct receipt *r)
{
    enum receipt_step s = RECEIPT_displayed;
    while (s > RECEIPT_accepted && r->time_us[s] == 0)
        s--;
    return s;
}
