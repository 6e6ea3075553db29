/* SPDX-License-Identifier: Apache-2.0 */
/*
 * People with clients: they log in, send each other numbered messages, acknowledge what they get,
 * read slowly at times, leave in order or without a word, come back and send again what was not
 * acknowledged. All of them are connections of one host with our own TCP and IP below.
 */
#ifndef SIM_PERSON_H
#define SIM_PERSON_H

#include "broker.h"
#include "promises.h"

struct people;

struct people_config {
    uint64_t seed; /* of what they choose to do */
    unsigned count; /* clients */
    unsigned accounts; /* of the first clients; the others are second ones of the first accounts */
    uint16_t mtu;
    uint64_t pause_us_max;       /* between two things that one does */
    uint32_t burst_max;          /* messages sent at once */
    uint32_t body_bytes_max;     /* of long messages, at most 32,000 */
    uint32_t long_ppm;           /* of messages; the others are short */
    uint32_t fleeting_ppm;       /* chat states: a stanza that is not stored, behind a message */
    uint32_t messages_max;       /* all in all */
    uint32_t vanish_ppm, abort_ppm, leave_ppm, stop_reading_ppm; /* of what they do */
    uint32_t plain_ppm; /* who is without stream management */
    uint32_t count_first; /* as the broker counts */
};

struct people *people_new(struct world *w, struct nic *nic, struct promises *p,
                          const struct people_config *cfg);
void people_free(struct people **p);

/* The accounts, as each client knows its keys. */
void people_register(struct people *p, struct broker *b);

/* One pass at the world's time; the work that it did. */
unsigned people_pass(struct people *p);
/* When it has something to do without a frame coming in. */
uint64_t people_next_us(const struct people *p);

/* Faults are over: from now on all come online, stay, and send nothing new; but the second clients of an
 * account go for good, and what they leave is for the first ones. */
void people_calm(struct people *p);
/* All are online, and nobody waits for an answer. */
bool people_are_settled(struct people *p);
/* All log off in order. */
void people_go(struct people *p);
bool people_are_gone(const struct people *p);

/* What a client has found wrong in the stream itself. */
void people_on_fault(struct people *p, void (*found)(void *arg, const char *what), void *arg);
/* Where each of them stands. */
void people_explain(const struct people *p);

struct people_counts {
    uint32_t logins, logins_failed, resumed, conns_lost, stream_errors, vanished;
    uint32_t wrapped; /* an ack of a lower number than the one before */
};
struct people_counts people_counts(const struct people *p);

#endif
