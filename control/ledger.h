/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receipt ledger as the control thread keeps it: the store holds every event, durable with the
 * message that it is about; here the latest are joined in memory for questions, and sent on to those
 * who follow. Nothing is lost by not keeping up: what was not read yet is read later.
 */
#ifndef GW_CONTROL_LEDGER_H
#define GW_CONTROL_LEDGER_H

#include "ledger_filter.h"
#include "rpc.h"

#define LEDGER_COUNTERS(X)                                                                         \
    X(events, "receipt events read")                                                               \
    X(damaged, "events records that could not be opened, left out")                                \
    X(gaps, "times that events were forgotten by age before they were read")                        \
    X(unmatched, "events of messages older than what is kept in memory")                           \
    X(dropped, "messages dropped from memory for room (the store keeps them)")                     \
    X(read_errors, "reads of the ledger that the store failed")                                    \
    X(cursor_errors, "times that the ledger's place could not be kept in the store")               \
    X(streams, "receipt streams opened")

struct ledger_counters {
    LEDGER_COUNTERS(GW_COUNTER_FIELD)
};

struct ledger_config {
    uint32_t receipts_max;
    size_t bytes_max;
    uint32_t lookback_segments; /* read at start when there is no cursor */
    uint64_t cursor_every_us;   /* how often it is kept at most */
};
extern const struct ledger_config ledger_config_default;

struct ledger;

/* segment_next: of the store at start. cursor: what ledger_cursor_load gave (memory will hold again
 * what it held); 0, or one that lies ahead: there is none. */
struct ledger *ledger_new(const struct ledger_config *cfg, struct store_ops *ops,
                          const struct gw_keyring *keys, struct gw_sealer *sealer,
                          uint64_t segment_next, uint64_t cursor);
/* Ends all streams. Store operations must have been drained. */
void ledger_free(struct ledger **l);

/* A slice: reads what is new, feeds those who follow. Returns whether more can be done at once. */
bool ledger_work(struct ledger *l);

/* ms until it wants to be called again for what it knows to be new; -1: it knows of nothing. */
int ledger_wait_ms(const struct ledger *l);

const struct ledger_table *ledger_memory(const struct ledger *l);
/* What is missing in memory but may be in the store: messages stored before this; 0: nothing. */
uint64_t ledger_memory_since_us(const struct ledger *l);
/* Of what had to be read at start; 100 when that is done, and memory holds all that it can. */
unsigned ledger_start_percent(const struct ledger *l);
/* Behind the last event read. */
struct ledger_place ledger_place_now(const struct ledger *l);
struct gw_counter_set ledger_counters(const struct ledger *l);
unsigned ledger_follower_count(const struct ledger *l);

/* Sends receipts.event to the client of rq from `from` on (NULL: from now), answers rq. Takes filter. */
void ledger_follow(struct ledger *l, struct rpc_request **rq, struct ledger_filter *filter,
                   const struct ledger_place *from);

#endif
