/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control thread: control socket, accounts, ledger, metrics. Works in slices of at most 1 ms;
 * long jobs run on a job thread with a store client of its own. No lcore ever waits for it.
 */
#ifndef GW_CONTROL_CONTROL_H
#define GW_CONTROL_CONTROL_H

#include <stdatomic.h>

#include "../dataplane/command.h"
#include "../storage/keys.h"
#include "../storage/store.h"
#include "config.h"

/* What godwitd's main gives it. All of it outlives the call of gw_control_run. */
struct gw_control_env {
    const struct gw_config *config;
    struct gw_store *store;
    struct gw_store_client *client;     /* the control thread's */
    struct gw_store_client *job_client; /* the job thread's */
    struct gw_keyring *keys;
    struct gw_sealer *sealer;     /* the control thread's */
    struct gw_sealer *job_sealer; /* the job thread's */
    struct gw_lcore_view *lcores;
    unsigned lcore_count;
    bool huge_pages;              /* what was really got */
    unsigned port_queues;
    bool software_dispatch; /* lcores hand frames to each other */
    /* Where lcores look for what is too old; NULL: nothing expires. */
    _Atomic uint64_t *expire_before_us;
    atomic_bool *stop;            /* set by a signal; gw_control_run returns soon after */
};

/* Runs the control loop in the calling thread until *stop. 0 or negative errno (socket, port in use)
 * with a message on standard error. */
int gw_control_run(const struct gw_control_env *env);

#endif
