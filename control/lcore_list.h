/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page of what lcores have, for one request: one lcore after the other, a bufferful at a time, up to
 * a limit of rows. A search that finds little ends after some rounds, with `next`, and goes on there
 * when it comes back as `cursor`: so no answer takes long, however much there is to look through.
 */
#ifndef GW_CONTROL_LCORE_LIST_H
#define GW_CONTROL_LCORE_LIST_H

#include "control_int.h"

/* Questions to lcores for one answer. */
#define LCORE_LIST_ROUNDS_MAX 64

struct lcore_list {
    struct control *control;
    struct rpc_request *rq;
    const char *rows_name; /* in the answer */
    const char *what;      /* for errors: "which sessions it has" */
    /* Fills in call->command: op and, in call->data, what it asks; the rest is there. */
    void (*ask)(struct lcore_list *l, struct lcore_call *call);
    /* Takes the reply's rows, up to the limit: false when some are left, `skip` being how many of the
     * reply are done with. */
    bool (*take)(struct lcore_list *l, const struct lcore_call *call);
    /* Answers rq with the rows; NULL: as a page. */
    void (*answer)(struct lcore_list *l);
    void (*free)(struct lcore_list *l);
    unsigned limit, rounds_left;
    unsigned lcore;
    uint64_t cursor; /* of that lcore */
    unsigned skip;   /* rows behind it that an earlier answer had */
    json_t *rows;
};

/* Takes the limit and the cursor from rq's parameters. False when the cursor is none: rq has been
 * answered, the list stays the caller's. */
bool lcore_list_init(struct lcore_list *l, struct control *c, struct rpc_request **rq);
/* rq is answered in the end, the list freed. */
void lcore_list_start(struct lcore_list *l);

#endif
