/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job thread: whatever takes longer than the control thread may (key derivation, imports, scans
 * of the store), in steps, all jobs in turn, so that a short one does not wait for a long one.
 *
 * A job is made by the control thread, stepped by the job thread, and finished by the control thread.
 */
#ifndef GW_CONTROL_JOBS_H
#define GW_CONTROL_JOBS_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "poller.h"
#include "store_ops.h"

#define JOBS_PAUSE_MS 5
#define JOBS_KEPT 32 /* ended ones that operators may still look at */

struct job;

enum job_step {
    JOB_DONE,
    JOB_MORE, /* call again, after the others */
    JOB_WAIT, /* call again when a store operation has finished */
    JOB_PAUSE, /* call again in JOBS_PAUSE_MS: it looks for what nobody announces */
};

struct job_type {
    const char *name; /* shown to operators; NULL: a detail of some request, not shown */
    /* Job thread. A step takes a few milliseconds at most. */
    enum job_step (*step)(struct job *j, void *ctx);
    /* Control thread, once, after the last step. */
    void (*finished)(struct job *j, void *ctx);
    /* Control thread: further members of what operators see. NULL: none. Must not touch what step
     * changes, except under jobs->lock. */
    void (*describe)(struct job *j, void *ctx, json_t *into);
    /* Control thread: what it found wrong, from number `from` on, as much as an answer holds; any time
     * while it runs or is kept. NULL: it does not complain. */
    json_t *(*complaints)(struct job *j, uint64_t from);
    /* Control thread, when nobody can look at it any more. */
    void (*free)(void *ctx);
};

struct job {
    const struct job_type *type;
    void *ctx;
    uint32_t id; /* 0 for those that are not shown */
    uint64_t started_us, ended_us; /* wall clock */
    _Atomic uint64_t done, total; /* progress, in the job's own unit; total 0: not known */
    atomic_bool cancelled;
    bool ended;  /* control thread's */
    bool failed; /* job thread's until it has ended */
    bool waiting;
    uint64_t waiting_at; /* store operations finished when it began to wait */
    uint64_t again_us;   /* steady clock: not before this; 0: any time */
    char note[256]; /* what it is doing, or why it failed; under jobs->lock */
    struct job *next;         /* in a queue */
    struct job *started_next;
};

struct jobs {
    pthread_t thread;
    pthread_mutex_t lock;
    struct poll_source finished_source; /* control thread's wake-up */
    struct poller *poller;
    int wake_fd; /* job thread's wake-up */
    atomic_bool stop;
    struct store_ops *ops;
    /* under lock */
    struct job *queued, **queued_tail, *finished, **finished_tail;
    /* job thread's */
    struct job *running;
    /* control thread's */
    struct job *started; /* and not finished */
    struct job *kept;
    unsigned running_count, kept_count;
    uint32_t id_next;
};

/* The thread uses `ops` alone from now on. */
int jobs_open(struct jobs *j, struct poller *poller, struct store_ops *ops);
/* Cancels and finishes everything. */
void jobs_close(struct jobs *j);

/* The job owns ctx. */
struct job *jobs_start(struct jobs *j, const struct job_type *type, void *ctx);
/* Running or kept; NULL when unknown. */
struct job *jobs_find(struct jobs *j, uint32_t id);
/* Asks it to end early. */
void jobs_cancel(struct jobs *j, struct job *job);
json_t *jobs_describe(struct jobs *j, struct job *job);
json_t *jobs_describe_all(struct jobs *j);

/* What it is doing. Either thread. */
void job_note(struct jobs *j, struct job *job, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Why it failed: the step then returns JOB_DONE. Job thread. */
void job_fail(struct jobs *j, struct job *job, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static inline bool job_is_cancelled(const struct job *job)
{
    return atomic_load_explicit(&job->cancelled, memory_order_relaxed);
}

#endif
