/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was sent, acknowledged and received, and whether that keeps the broker's promises.
 *
 * A flow is an ordered row of messages from one user to one other. Each message says in its body
 * who sent it to whom, under which number, in which run, has a checksum of that, and a filler that
 * follows from it, byte by byte; so that a message that is lost, comes twice, too late, altered or to
 * somebody else is seen for what it is.
 *
 * What may come twice, and is counted apart:
 *   redelivered  the same stored message (its stanza-id, XEP-0359, says so) in a later session of
 *                its recipient, whose acknowledgement of it the broker need not have seen;
 *   repeated     a message that its sender repeated, because the session ended before its
 *                acknowledgement came: two stored messages as far as the broker can know.
 * Everything else that comes twice is `duplicated`. `late_redelivered` are those redelivered
 * although the broker had answered something that the recipient sent after acknowledging it.
 */
#ifndef LOAD_AUDIT_H
#define LOAD_AUDIT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "../../dataplane/base/bytes.h"
#include "buffer.h"
#include "histogram.h"

/* name, meaning */
#define AUDIT_COUNTS(X)                                                          \
    X(sent, "messages, each counted once")                                       \
    X(resent, "sent again, after a session ended without their acknowledgement") \
    X(acknowledged, "messages that the broker took responsibility for")          \
    X(received, "messages, each counted once")                                   \
    X(receipts, "receipts that came back (XEP-0184)")                            \
    X(refused, "answered by a stanza error")                                     \
    X(redelivered, "came again in a later session, unsettled")                   \
    X(late_redelivered, "came again in a later session, settled")                \
    X(repeated, "came again because they were sent again")                       \
    X(foreign, "messages of somebody else's or of another run")                  \
    X(duplicated, "came again without an excuse")                                \
    X(reordered, "came behind one that was sent after them")                     \
    X(altered, "with a wrong content or sender")                                 \
    X(misdelivered, "came to somebody else than their recipient")

struct audit_counts {
#define X(name, meaning) uint64_t name;
    AUDIT_COUNTS(X)
#undef X
};

struct audit;

struct audit_config {
    uint32_t run;        /* tells this run's messages from those of others */
    uint32_t body_bytes; /* of filler in each body */
    bool plain;          /* the filler is letters only, nothing that XML must escape */
    bool receipts;       /* a message is complete when its receipt came, too */
    uint32_t first_user; /* number of the first one in the log */
    FILE *log;           /* NULL: none */
    /* A message of the flow was acknowledged, received or refused, or its receipt came; may be
     * NULL. */
    void (*moved)(void *ctx, uint32_t flow);
    void *ctx;
};

struct audit *audit_new(const struct audit_config *config);
void audit_free(struct audit **a);

/* A new flow between two users. Its number. */
uint32_t audit_add_flow(struct audit *a, uint32_t from, uint32_t to);
uint32_t audit_flow_count(const struct audit *a);
uint32_t audit_flow_from(const struct audit *a, uint32_t flow);
uint32_t audit_flow_to(const struct audit *a, uint32_t flow);
/* Messages of the flow that are sent and not complete: neither acknowledged and received (and
 * their receipt back) nor refused. */
uint32_t audit_outstanding(const struct audit *a, uint32_t flow);
uint32_t audit_sent(const struct audit *a, uint32_t flow);
/* Messages of all flows that are sent and not complete. */
uint64_t audit_incomplete(const struct audit *a);
/* Of all flows that are acknowledged and never came. */
uint64_t audit_lost(const struct audit *a);

/* The next message of the flow: its number (from 1). */
uint32_t audit_send(struct audit *a, uint32_t flow, uint64_t now_us);
/* It is to be sent once more, since no acknowledgement came. False: it need not, it was refused, and its
 * sender knows. */
bool audit_resend(struct audit *a, uint32_t flow, uint32_t number, uint64_t now_us);
void audit_acked(struct audit *a, uint32_t flow, uint32_t number, uint64_t now_us);
void audit_settled(struct audit *a, uint32_t flow, uint32_t number, uint64_t now_us);
void audit_refused(struct audit *a, uint32_t flow, uint32_t number, uint64_t now_us);
void audit_receipt(struct audit *a, uint32_t flow, uint32_t number, uint64_t now_us);

/* The id attribute of that message. */
#define AUDIT_ID_BYTES 48
void audit_id(const struct audit *a, uint32_t flow, uint32_t number, char out[AUDIT_ID_BYTES]);
/* The body of that message. */
void audit_body(const struct audit *a, uint32_t flow, uint32_t number, struct buffer *out);

/* A message that user `to` received in their `session`th session, with the sender that the server
 * stated (UINT32_MAX: none of our users) and its stanza-id (empty: none). 1 with flow and number when it is one of this run and
 * unharmed, else 0. */
int audit_receive(struct audit *a, uint32_t to, uint32_t session, uint32_t from,
                  struct gw_bytes body, struct gw_bytes stanza_id, uint64_t now_us, uint32_t *flow, uint32_t *number);

/* A line in the log that is about a session rather than a message. */
void audit_note(struct audit *a, uint64_t now_us, const char *what, uint32_t user,
                const char *detail);

const struct audit_counts *audit_totals(const struct audit *a);
const struct histogram *audit_ack_times(const struct audit *a);
const struct histogram *audit_way_times(const struct audit *a);

#endif
