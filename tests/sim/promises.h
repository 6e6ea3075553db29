/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the simulated clients were promised, and whether it was kept: every acknowledged message
 * arrives, unless it becomes too old before; once, or once more with the same stanza-id in a later session, or once for each time that
 * it was sent; in order; and the ledger says the same. What was broken is found by words.
 *
 * An account may have two clients. What is for one of them alone comes to the other when that one is gone,
 * and keeps its order among its like only.
 */
#ifndef SIM_PROMISES_H
#define SIM_PROMISES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../storage/event.h"

#define PERSONS_MAX 8
/* Of one account; the others than the first send nothing. */
#define CLIENTS_MAX 2

/* To whom a message is sent, of an account. */
enum promises_address { TO_ACCOUNT, TO_CLIENT_0, TO_CLIENT_1 };

struct promises;

/* may_refuse: the broker can come to refuse messages. When the refusal is lost with the connection,
 * the message is sent again and can be stored behind later ones. */
struct promises *promises_new(unsigned persons, bool may_refuse,
                              void (*found)(void *arg, const char *what), void *arg);
void promises_free(struct promises **p);

/* What the broker may do with what waits, and must not exceed, by what the ledger says. */
struct promises_limits {
    uint64_t age_us;       /* a message that is older may expire; 0: none may */
    uint32_t messages_max; /* in a mailbox */
    uint32_t share_max;    /* of these, of one sender that is not its owner */
};
void promises_limits(struct promises *p, const struct promises_limits *limits);

/* A second client is there for this account. */
void promises_add_client(struct promises *p, unsigned account);

/* A message to be sent; its number here. */
uint32_t promises_add(struct promises *p, unsigned from, unsigned to, enum promises_address address,
                      uint32_t body_len);
/* "m-FROM-TO-NUMBER", as it goes into the stanza. */
#define PROMISES_ID_BYTES 40
void promises_id(const struct promises *p, uint32_t m, char out[PROMISES_ID_BYTES]);
/* The message of this id, or UINT32_MAX. */
uint32_t promises_find(const struct promises *p, const char *id);
unsigned promises_to(const struct promises *p, uint32_t m);
enum promises_address promises_address(const struct promises *p, uint32_t m);
uint32_t promises_body_len(const struct promises *p, uint32_t m);

/* Its stanza goes out: the first time or once more. */
void promises_sent(struct promises *p, uint32_t m);
uint32_t promises_times_sent(const struct promises *p, uint32_t m);
void promises_acked(struct promises *p, uint32_t m);
void promises_refused(struct promises *p, uint32_t m);

/* It came to a client of `by`, whose session, one of a rising number, began at wall clock session_us. */
struct promises_arrival {
    unsigned by, client, from;
    uint32_t session, body_len;
    uint64_t session_us;
    const char *id, *stanza_id;
};
void promises_arrived(struct promises *p, const struct promises_arrival *a);

/* A stanza that is not stored, "t-FROM-TO-NUMBER", came to a client of `by`: it was sent behind the message
 * of that number, and must not arrive before it, if that was for this client. */
void promises_fleeting_id(const struct promises *p, unsigned from, unsigned to,
                          char out[PROMISES_ID_BYTES]);
void promises_fleeting_arrived(struct promises *p, unsigned by, unsigned client, const char *id);

/* Whose mailbox this is, as the ledger names it. */
void promises_mailbox(struct promises *p, unsigned person, const struct gw_mailbox_id *id);
/* What the ledger says, in its order. */
void promises_event(struct promises *p, const struct gw_event *e, uint64_t durable_us);

/* All that was sent is answered, and what was acknowledged has come, and the ledger has it. */
bool promises_are_settled(const struct promises *p);
/* For a run that does not come to that: which message, and what of it is missing. */
void promises_explain(const struct promises *p, char *out, size_t cap);
/* What can only be judged when all is over. */
void promises_judge(struct promises *p);

struct promises_counts {
    uint32_t messages, sent, acked, refused, received, redelivered, repeated, stored, delivered;
    uint32_t fleeting, expired;
};
struct promises_counts promises_counts(const struct promises *p);

#endif
