/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who reads the ledger as the control thread does, by the same reader, from a cursor that outlives
 * the broker's process.
 */
#ifndef SIM_WATCH_H
#define SIM_WATCH_H

#include "../../control/ledger_reader.h"
#include "broker.h"
#include "promises.h"

struct watch {
    struct world *world;
    struct promises *promises;
    struct store_ops ops;
    struct ledger_reader reader;
    struct ledger_place next; /* the cursor, while no broker runs */
    bool runs;
    bool at_end; /* all that it was told of has been read */
    uint64_t digest; /* of all events, in their order */
    uint64_t events;
};

void watch_init(struct watch *w, struct world *world, struct promises *p);
/* A broker's process has started, or has ended. */
void watch_attach(struct watch *w, struct broker *b);
void watch_detach(struct watch *w);
/* Reads some of what is new; the work that it did. */
unsigned watch_pass(struct watch *w);

/* The whole ledger read once more from its beginning, by a broker that is idle: the same digest. */
bool watch_reads_the_same(struct watch *w, struct broker *b);

#endif
