/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs over the whole store: key rotation, verification, backup, erasing what was deleted. Each is a
 * row of stages; a stage is a store request, or a walk of many small ones.
 */
#ifndef GW_CONTROL_STORE_JOBS_H
#define GW_CONTROL_STORE_JOBS_H

#include "jobs.h"

struct control;

/* X(upper, name, what) */
#define STORE_JOBS(X)                                                                              \
    X(MASTER, "key.rotate.master", "wrap every key by the next master key")                        \
    X(ACCOUNTS, "key.rotate.accounts", "draw new account keys")                                    \
    X(INCARNATION, "key.rotate.incarnation", "draw a new incarnation key, retire old ones")        \
    X(VERIFY, "store.verify", "open every record")                                                 \
    X(BACKUP, "store.backup", "back up")                                                           \
    X(ERASE, "account.erase", "destroy the keys of deleted accounts")

enum store_job_kind {
#define X(upper, name, what) STORE_JOB_##upper,
    STORE_JOBS(X)
#undef X
        STORE_JOB_COUNT
};

/* What operators see of the last of a kind, and metrics. Control thread. */
struct store_job_record {
    bool running;
    uint64_t ended_us; /* wall clock of the last that did what it was for; 0: none yet */
    uint64_t failures;
};

/* Starts one; NULL when one of its kind is under way. Control thread. */
struct job *store_job_start(struct control *c, enum store_job_kind kind);
const char *store_job_name(enum store_job_kind kind);

/* ---- deleted accounts ---- */

/* Control thread, once an iteration: starts what is due. */
void store_jobs_work(struct control *c);
/* An account was deleted, or one may have been before the last start: its key is to be erased. */
void store_jobs_erase_soon(struct control *c);

#endif
