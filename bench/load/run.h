/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run of godwit-load: a fleet, an audit, and a mode that says who talks when. A mode is a row
 * of phases; each turn its step is asked whether the run is done.
 */
#ifndef LOAD_RUN_H
#define LOAD_RUN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "audit.h"
#include "fleet.h"
#include "options.h"

struct run;

struct mode {
    const char *name;
    bool recipients_away; /* the window counts what is not acknowledged, rather than not complete */
    /* Makes flows and says who should be online. */
    void (*start)(struct run *run);
    /* A turn is over. True when the mode has done all it wanted. */
    bool (*step)(struct run *run);
    /* Adds what only this mode measures. */
    void (*report)(const struct run *run, json_t *result);
    /* Whether what only this mode demands was met. */
    bool (*passed)(const struct run *run);
};

extern const struct mode mode_chat, mode_offline, mode_login, mode_idle;

/* The flows that a user sends, one message of each in turn. */
struct sender {
    uint32_t first, count;
    uint32_t next; /* of them */
};

struct run {
    const struct options *options;
    const struct mode *mode;
    struct fleet fleet;
    struct audit *audit;
    FILE *log;
    struct sender *senders; /* by user */
    uint64_t *quota;        /* flow: messages to send */
    uint32_t flow_limit;
    bool sending;           /* new messages may go out */
    bool stopped;           /* by a signal: no more new messages */
    uint64_t start_us;      /* of the run */
    uint64_t send_start_us; /* first message */
    uint64_t done_us;       /* last progress */
    uint64_t progress;      /* value of the sum that shows progress */
    uint64_t next_churn_us;
    uint32_t phase;
    uint64_t phase_us;  /* when it began */
    uint64_t store_us, drain_us; /* offline: how long that took */
    struct tags visiting;        /* offline, in waves: flows whose recipients are online */
    uint32_t next_visitor;
    uint32_t crowd_begin, crowd_end; /* offline, with --hold: recipients that log in together */
    bool crowd_drains;               /* all of them have */
    uint64_t crowd_us;               /* since when */
    struct tags ready; /* users whose flow may have room for new messages */
    bool *is_ready;    /* by user: it is among them */
    uint64_t random;
};


/* Makes flow `from` to `to` and gives it a quota of messages. All flows of one user in a row. */
void run_add_flow(struct run *run, uint32_t from, uint32_t to, uint64_t quota);
/* The flow may send so many more. */
void run_add_quota(struct run *run, uint32_t flow, uint64_t quota);
/* Sends what window, quota and rate allow, for all users. */
void run_send(struct run *run);
/* A line for who measures: the phase that begins. Only with --phases. */
void run_say(const struct run *run, const char *phase);
/* All that was to be sent is sent, and complete. */
bool run_complete(const struct run *run);
uint64_t run_random(struct run *run);

#endif
