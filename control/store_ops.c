/* SPDX-License-Identifier: Apache-2.0 */
#include "store_ops.h"

#include <errno.h>
#include <poll.h>

#include "../dataplane/base/check.h"

#define BATCH 64

void store_ops_init(struct store_ops *s, struct gw_store_client *client)
{
    *s = (struct store_ops){.client = client, .fd = gw_store_client_fd(client)};
    s->waiting_tail = &s->waiting;
}

static bool submit(struct store_ops *s, struct store_op *op)
{
    op->rq.tag = (uint64_t)(uintptr_t)op;
    int rc = gw_store_submit(s->client, &op->rq);
    check(rc == 0 || rc == -EAGAIN);
    s->pending += rc == 0;
    return rc == 0;
}

void store_ops_start(struct store_ops *s, struct store_op *op)
{
    check(!op->pending);
    op->pending = true;
    op->next = NULL;
    if (s->waiting == NULL && submit(s, op))
        return;
    *s->waiting_tail = op;
    s->waiting_tail = &op->next;
}

static void submit_waiting(struct store_ops *s)
{
    while (s->waiting != NULL && submit(s, s->waiting)) {
        s->waiting = s->waiting->next;
        if (s->waiting == NULL)
            s->waiting_tail = &s->waiting;
    }
}

static void finish(struct store_ops *s, const struct gw_store_completion *c)
{
    if (c->op == GW_STORE_NOTE) {
        s->noted = true;
        return;
    }
    struct store_op *op = (struct store_op *)(uintptr_t)c->tag;
    check(s->pending > 0 && op->pending && op->rq.op == c->op);
    s->pending--;
    s->finished_count++;
    op->pending = false;
    op->done = *c;
    if (op->finished != NULL)
        op->finished(op);
}

unsigned store_ops_poll(struct store_ops *s)
{
    struct gw_store_completion done[BATCH];
    unsigned n, total = 0;
    do {
        n = gw_store_poll(s->client, done, BATCH);
        for (unsigned i = 0; i < n; i++)
            finish(s, &done[i]);
        total += n;
        submit_waiting(s);
    } while (n == BATCH);
    return total;
}

static void sleep_until_ready(struct store_ops *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};
    check(poll(&p, 1, -1) >= 0 || errno == EINTR);
}

int store_ops_wait(struct store_ops *s, struct store_op *op)
{
    while (op->pending)
        if (store_ops_poll(s) == 0)
            sleep_until_ready(s);
    return op->done.status;
}

int store_ops_call(struct store_ops *s, struct store_op *op)
{
    store_ops_start(s, op);
    return store_ops_wait(s, op);
}

int store_ops_get(struct store_ops *s, enum gw_store_ns ns, struct gw_bytes key, void *data,
                  size_t cap, struct gw_store_completion *done)
{
    struct store_op op = {.rq = {.op = GW_STORE_GET, .ns = (uint8_t)ns, .key = key.p,
                                 .key_len = (uint16_t)key.len, .data = data,
                                 .data_len = (uint32_t)cap}};
    int rc = store_ops_call(s, &op);
    *done = op.done;
    return rc;
}

int store_ops_cas(struct store_ops *s, enum gw_store_ns ns, struct gw_bytes key, void *data,
                  size_t len, uint64_t expect, uint64_t *version)
{
    struct store_op op = {.rq = {.op = GW_STORE_CAS, .ns = (uint8_t)ns, .key = key.p,
                                 .key_len = (uint16_t)key.len, .data = data,
                                 .data_len = (uint32_t)len, .from = expect}};
    int rc = store_ops_call(s, &op);
    if (rc == 0 && version != NULL)
        *version = op.done.seq;
    return rc;
}

void store_ops_drain(struct store_ops *s)
{
    while (s->pending > 0 || s->waiting != NULL)
        if (store_ops_poll(s) == 0)
            sleep_until_ready(s);
}
