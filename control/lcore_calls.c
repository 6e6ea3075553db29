/* SPDX-License-Identifier: Apache-2.0 */
#include "lcore_calls.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>

#include "../dataplane/base/check.h"
#include "clock.h"

#define BATCH         16
#define CLOSE_WAIT_US 200000

void lcore_calls_init(struct lcore_calls *c, struct gw_lcore_view *lcores, unsigned count)
{
    *c = (struct lcore_calls){.lcores = lcores, .lcore_count = count};
}

struct lcore_call *lcore_call_new(void (*answered)(struct lcore_call *, void *), void *ctx)
{
    struct lcore_call *call = malloc(sizeof(*call));
    check(call != NULL);
    memset(call, 0, offsetof(struct lcore_call, data));
    call->answered = answered;
    call->ctx = ctx;
    return call;
}

static void try_send(struct lcore_calls *c, struct lcore_call *call)
{
    if (!call->sent && !call->abandoned)
        call->sent = gw_ring_push(c->lcores[call->lcore].command.requests, &call->command);
}

void lcore_call_send(struct lcore_calls *c, struct lcore_call *call, unsigned lcore,
                     uint64_t deadline_us)
{
    check(lcore < c->lcore_count);
    call->lcore = lcore;
    call->deadline_us = deadline_us;
    call->command.tag = (uint64_t)(uintptr_t)call;
    call->next = c->calls;
    c->calls = call;
    try_send(c, call);
}

static void unlink_call(struct lcore_calls *c, struct lcore_call *call)
{
    struct lcore_call **at = &c->calls;
    while (*at != call) {
        check(*at != NULL);
        at = &(*at)->next;
    }
    *at = call->next;
}

static void take_answers(struct lcore_calls *c, unsigned lcore)
{
    struct gw_command_reply replies[BATCH];
    unsigned n = gw_ring_pop(c->lcores[lcore].command.replies, replies, BATCH);
    for (unsigned i = 0; i < n; i++) {
        struct lcore_call *call = (struct lcore_call *)(uintptr_t)replies[i].tag;
        unlink_call(c, call);
        check(call->sent && call->lcore == lcore);
        call->reply = replies[i];
        if (!call->abandoned)
            call->answered(call, call->ctx);
        free(call);
    }
}

/* The callback may start further calls, so the list is looked at anew after each. */
static bool give_up_one(struct lcore_calls *c, uint64_t now_us, int status)
{
    for (struct lcore_call *call = c->calls; call != NULL; call = call->next) {
        if (call->abandoned || now_us < call->deadline_us)
            continue;
        call->reply = (struct gw_command_reply){.status = status};
        call->abandoned = true;
        call->answered(call, call->ctx);
        if (!call->sent) {
            unlink_call(c, call);
            free(call);
        }
        return true;
    }
    return false;
}

void lcore_calls_work(struct lcore_calls *c, uint64_t now_us)
{
    if (c->calls == NULL)
        return;
    for (struct lcore_call *call = c->calls; call != NULL; call = call->next)
        try_send(c, call);
    for (unsigned i = 0; i < c->lcore_count; i++)
        take_answers(c, i);
    while (give_up_one(c, now_us, -ETIMEDOUT))
        ;
}

bool lcore_calls_pending(const struct lcore_calls *c)
{
    for (const struct lcore_call *call = c->calls; call != NULL; call = call->next)
        if (!call->abandoned)
            return true;
    return false;
}

/* For a lcore that may still write there. The list is only for leak checkers to see. */
static struct lcore_call *volatile left_behind;

void lcore_calls_close(struct lcore_calls *c)
{
    uint64_t until_us = clock_steady_us() + CLOSE_WAIT_US;
    while (give_up_one(c, UINT64_MAX, -ESHUTDOWN))
        ;
    while (c->calls != NULL && clock_steady_us() < until_us) {
        for (unsigned i = 0; i < c->lcore_count; i++)
            take_answers(c, i);
        sched_yield();
    }
    left_behind = c->calls;
}
