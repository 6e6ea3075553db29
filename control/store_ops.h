/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Store requests of a thread that sleeps: many under way, each with its own continuation, some waited
 * for. One struct store_ops a store client, for that client's thread alone.
 */
#ifndef GW_CONTROL_STORE_OPS_H
#define GW_CONTROL_STORE_OPS_H

#include "../storage/store.h"

struct store_op {
    struct gw_store_request rq;     /* set by the caller, except tag */
    struct gw_store_completion done;
    void (*finished)(struct store_op *op); /* NULL: it is waited for, or looked at */
    bool pending;
    struct store_op *next;          /* while the client's ring is full */
};

struct store_ops {
    struct gw_store_client *client;
    struct store_op *waiting, **waiting_tail;
    unsigned pending; /* handed to the store */
    uint64_t finished_count;
    bool noted;       /* a NOTE has come; the owner clears it */
    int fd;           /* readable when store_ops_poll has something to do */
};

void store_ops_init(struct store_ops *s, struct gw_store_client *client);
/* The operation and what it points to stay the caller's and valid until it has finished. */
void store_ops_start(struct store_ops *s, struct store_op *op);
/* Takes what is complete; returns how many finished. */
unsigned store_ops_poll(struct store_ops *s);
/* Blocks until it has finished; other operations of this client go on. Returns its status. */
int store_ops_wait(struct store_ops *s, struct store_op *op);
int store_ops_call(struct store_ops *s, struct store_op *op);
/* Blocking, of small records. *done is set whatever comes back. */
int store_ops_get(struct store_ops *s, enum gw_store_ns ns, struct gw_bytes key, void *data,
                  size_t cap, struct gw_store_completion *done);
/* len 0 deletes. On success *version, when wanted, is the new one. */
int store_ops_cas(struct store_ops *s, enum gw_store_ns ns, struct gw_bytes key, void *data,
                  size_t len, uint64_t expect, uint64_t *version);
/* Blocks until everything has finished. */
void store_ops_drain(struct store_ops *s);

#endif
