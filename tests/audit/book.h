/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The auditor's book: what the clients say of each message, what the ledger says, and what waits in
 * the store; and whether the three agree.
 *
 * Clients' logs have a line an event, words divided by one space:
 *
 *   MICROSECONDS EVENT FROM TO NUMBER DETAIL
 *
 * FROM and TO name users, NUMBER counts the messages of that flow from 1 in the order sent. Events:
 * sent, resent (DETAIL: the message's id), acknowledged, refused; received (DETAIL: its stanza-id,
 * or
 * -), settled (the recipient's acknowledgement of it was answered); and what a client has found
 * wrong itself: duplicated, reordered, altered, forged, misdelivered. Other lines are left alone.
 *
 * No I/O but the logs' and the report's; one thread's.
 */
#ifndef GW_AUDIT_BOOK_H
#define GW_AUDIT_BOOK_H

#include <stdint.h>
#include <stdio.h>

#include "../../storage/event.h"

/* X(name, what is wrong with each message that is counted) */
#define BOOK_FAULTS(X)                                                            \
    X(lost, "acknowledged, never received, not expired, and not waiting")         \
    X(unrecorded, "acknowledged, and not in the ledger")                          \
    X(vanished, "stored by the ledger, neither delivered nor expired, not waiting") \
    X(risen, "delivered or expired by the ledger, and waiting all the same")      \
    X(unknown, "waiting, and not in the ledger")                                  \
    X(refused, "refused, and stored or received all the same")                    \
    X(unsent, "in the ledger under an id of the logs' flows that was never sent") \
    X(twice, "stored or received twice, though sent once")                        \
    X(disorder, "received, stored or waiting before one that was sent before it") \
    X(complained, "found wrong by the client itself")                             \
    X(malformed, "lines of a log that cannot be read")

struct book_faults {
#define X(name, meaning) uint64_t name;
    BOOK_FAULTS(X)
#undef X
};

/* What was looked at. */
struct book_counts {
    uint64_t sent, acknowledged, refused, received, stored, delivered, expired, waiting;
};

struct book;

/* Where one '%' stands in `users`, a log's name of a user is put to get their bare JID: u%@host.
 * Each fault is described on `report` as it is found, at most `lines` times. */
struct book *book_new(const char *users, FILE *report, unsigned lines);
void book_free(struct book **b);

/* First all logs. A line without its newline at the very end, of a client that was killed, is left
 * alone. 0 or negative errno. */
int book_read_log(struct book *b, FILE *log);
/* Then the ledger's events in their order. */
void book_add_event(struct book *b, const struct gw_event *e);
/* Then what waits, of each mailbox by rising position. */
void book_add_waiting(struct book *b, const struct gw_mailbox_id *mailbox, uint64_t position);
/* Mailboxes that the ledger has named, i from 0; NULL behind the last. */
const struct gw_mailbox_id *book_mailbox(const struct book *b, size_t i);

/* How many faults there are in all. */
uint64_t book_judge(struct book *b);
const struct book_faults *book_faults(const struct book *b);
const struct book_counts *book_counts(const struct book *b);

#endif
