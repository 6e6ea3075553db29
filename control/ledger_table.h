/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receipts in memory: the events of each message joined, a bounded number of messages, the oldest
 * dropped first. A leaf: no store, no thread, no clock.
 */
#ifndef GW_CONTROL_LEDGER_TABLE_H
#define GW_CONTROL_LEDGER_TABLE_H

#include "../dataplane/base/siphash.h"
#include "../storage/event.h"

/* Where an event stands in the ledger: segment, and its number among the segment's events. */
struct ledger_place {
    uint64_t segment;
    uint32_t ordinal;
};

static inline int ledger_place_cmp(const struct ledger_place *a, const struct ledger_place *b)
{
    if (a->segment != b->segment)
        return a->segment < b->segment ? -1 : 1;
    return a->ordinal == b->ordinal ? 0 : a->ordinal < b->ordinal ? -1 : 1;
}

/* The steps of a message, in their order; the ledger's "stored" event brings the first two. One that
 * expired may have reached its recipient all the same, whose confirmation came later. */
#define RECEIPT_STEPS(X) X(accepted) X(stored) X(expired) X(delivered) X(received) X(displayed)

enum receipt_step {
#define X(name) RECEIPT_##name,
    RECEIPT_STEPS(X)
#undef X
        RECEIPT_STEP_COUNT
};

struct receipt {
    struct gw_mailbox_id mailbox;
    uint64_t position;
    uint32_t by_place_next, by_id_next;   /* the table's: where older ones of the same hash lie */
    uint64_t time_us[RECEIPT_STEP_COUNT]; /* wall clock; 0: not yet */
    struct ledger_place place;            /* of its stored event */
    uint32_t bytes, older_bytes;          /* the table's: to the newer and to the older receipt */
    uint16_t from_len, to_len, id_len;
    uint8_t text[]; /* from, to, id */
};

static inline struct gw_bytes receipt_from(const struct receipt *r)
{
    return gw_bytes(r->text, r->from_len);
}

static inline struct gw_bytes receipt_to(const struct receipt *r)
{
    return gw_bytes(r->text + r->from_len, r->to_len);
}

static inline struct gw_bytes receipt_id(const struct receipt *r)
{
    return gw_bytes(r->text + r->from_len + r->to_len, r->id_len);
}

struct ledger_table;

/* Where an event's receipt is looked for. */
struct ledger_key {
    uint64_t place, id; /* hashes */
};

/* At most receipts_max messages and about bytes_max bytes. */
struct ledger_table *ledger_table_new(uint32_t receipts_max, size_t bytes_max);
void ledger_table_free(struct ledger_table **t);

/* Joins one event. The receipt that it belongs to, or NULL when that is not (or no longer) known; it
 * is where it is until it is dropped. durable_us: when the event's segment was. A step that has a time
 * already keeps it. */
const struct receipt *ledger_table_apply(struct ledger_table *t, const struct gw_event *e,
                                         struct ledger_place place, uint64_t durable_us);

/* The same in two steps, for a handful of events: first all are looked at, which fetches what they will
 * touch (with many messages in memory that is most of what an event costs), then each is joined. */
void ledger_table_expect(struct ledger_table *t, const struct gw_event *e, struct ledger_key *key);
void ledger_table_fetch(const struct ledger_table *t, const struct ledger_key *key);
const struct receipt *ledger_table_join(struct ledger_table *t, const struct gw_event *e,
                                        const struct ledger_key *key, struct ledger_place place,
                                        uint64_t durable_us);

/* By the message; NULL when it is not here. */
const struct receipt *ledger_table_find(struct ledger_table *t, const struct gw_mailbox_id *mailbox,
                                        uint64_t position);
/* The receipt that an event belongs to, which was joined before; NULL when it is not here, or when a later
 * message has the same names. place: the event's. */
const struct receipt *ledger_table_look(struct ledger_table *t, const struct gw_event *e,
                                        const struct ledger_place *place);
const struct receipt *ledger_table_newest(const struct ledger_table *t);
const struct receipt *ledger_table_oldest(const struct ledger_table *t);
/* The one before r, or NULL. */
const struct receipt *ledger_table_older(const struct ledger_table *t, const struct receipt *r);
uint32_t ledger_table_count(const struct ledger_table *t);
/* Messages dropped for room, and when the last of them was stored: whatever was stored later is here. */
uint64_t ledger_table_dropped(const struct ledger_table *t);
uint64_t ledger_table_dropped_until_us(const struct ledger_table *t);

const char *receipt_step_name(enum receipt_step s);
/* Whether an event of this message, which was joined, is the first that says so: a message that goes to
 * several devices may be confirmed by each, and one that expires may be delivered meanwhile. */
bool receipt_is_news(const struct receipt *r, const struct gw_event *e);
/* The furthest step that it has come to. */
enum receipt_step receipt_state(const struct receipt *r);

#endif
