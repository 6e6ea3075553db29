/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions of the control thread to lcores, answered within a few passes. What is asked, and the
 * memory for the answer, stay here until the answer has come: a caller that waits no longer is told
 * so, and the memory is kept for the lcore.
 */
#ifndef GW_CONTROL_LCORE_CALLS_H
#define GW_CONTROL_LCORE_CALLS_H

#include "../dataplane/command.h"

#define LCORE_CALL_DATA_BYTES 65536
#define LCORE_CALL_TIMEOUT_US 5000000
#define LCORE_CALL_NO_DEADLINE UINT64_MAX

struct lcore_call {
    struct gw_command command;
    struct gw_command_reply reply; /* status -ETIMEDOUT when none has come */
    /* Control thread; the call is freed after it has returned. */
    void (*answered)(struct lcore_call *call, void *ctx);
    void *ctx;
    unsigned lcore;
    bool sent, abandoned;
    uint64_t deadline_us;
    struct lcore_call *next;
    uint8_t data[LCORE_CALL_DATA_BYTES];
};

struct lcore_calls {
    struct gw_lcore_view *lcores;
    unsigned lcore_count;
    struct lcore_call *calls; /* those that have not been answered */
};

void lcore_calls_init(struct lcore_calls *c, struct gw_lcore_view *lcores, unsigned count);
/* Every caller is told -ESHUTDOWN. What a lcore has and does not answer soon is left to it for ever: it may
 * still write there. */
void lcore_calls_close(struct lcore_calls *c);

/* A call whose command is to be filled in; its data is NULL or call->data. */
struct lcore_call *lcore_call_new(void (*answered)(struct lcore_call *, void *), void *ctx);
void lcore_call_send(struct lcore_calls *c, struct lcore_call *call, unsigned lcore,
                     uint64_t deadline_us);
/* Sends what waits, takes answers, gives up late ones. Once an iteration of the loop. */
void lcore_calls_work(struct lcore_calls *c, uint64_t now_us);
/* Whether answers are expected: the loop then looks often. */
bool lcore_calls_pending(const struct lcore_calls *c);

#endif
