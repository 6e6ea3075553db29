/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An operator who now and then has the store do a job, in the steps that the control plane makes of
 * it: spill, erase, verify, new account keys, a new incarnation. A job ends with its process.
 */
#ifndef SIM_OPERATOR_H
#define SIM_OPERATOR_H

#include "broker.h"

struct operator_step;

struct operator {
    struct world *world;
    struct gw_store_client *client; /* NULL: no broker runs */
    const struct operator_step *step; /* NULL: no job is under way */
    bool waits;                     /* for the store's answer */
    uint64_t next_us, gap_us_max;
    struct gw_walk walk;
    uint64_t done; /* jobs that came to their end */
    void (*found)(void *arg, const char *what);
    void *found_arg;
};

/* gap_us_max: between two jobs; 0: this one never does anything. */
void operator_init(struct operator *o, struct world *w, uint64_t gap_us_max,
                   void (*found)(void *arg, const char *what), void *arg);
void operator_attach(struct operator *o, struct broker *b);
void operator_detach(struct operator *o);
/* The work that it did. */
unsigned operator_pass(struct operator *o);
uint64_t operator_next_us(const struct operator *o);
/* No more jobs. */
void operator_calm(struct operator *o);
bool operator_is_idle(const struct operator *o);

#endif
