/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the control thread share. */
#ifndef GW_CONTROL_CONTROL_INT_H
#define GW_CONTROL_CONTROL_INT_H

#include "accounts.h"
#include "capture_job.h"
#include "control.h"
#include "expiry.h"
#include "jobs.h"
#include "lcore_calls.h"
#include "rpc.h"
#include "store_jobs.h"
#include "store_ops.h"

struct ledger;
struct metrics;
struct receipts_query;
struct job_follower;
struct pcap;

/* What other threads may look at: written by the control thread, once an iteration. */
#define CONTROL_GAUGES(X)                                                                          \
    X(control_slice_us_max, "longest slice of the control thread, in microseconds of CPU time")    \
    X(control_jobs_running, "jobs under way")                                                      \
    X(ledger_in_memory, "messages whose receipts are in memory")                                   \
    X(ledger_followers, "receipt streams open")                                                    \
    X(ledger_next_segment, "segment that the ledger reads next")                                   \
    X(keys_incarnation, "number of the incarnation key in use")                                    \
    X(keys_incarnations, "incarnation keys kept")                                                  \
    X(keys_erasures_pending, "1 while keys of deleted accounts are still on the disk")             \
    X(backup_last_us, "when the last backup was made, in microseconds since 1970")                 \
    X(backup_failures, "backups that failed since the start")                                      \
    X(verify_last_us, "when the store was last verified, in microseconds since 1970")              \
    X(expire_before_us, "messages accepted before this are too old; 0: none is")                   \
    X(expiry_clock_behind_us, "how far the clock that expiry goes by is behind the wall clock")    \
    X(rotate_failures, "key rotations that failed since the start")

struct control_gauges {
    CONTROL_GAUGES(GW_COUNTER_FIELD)
};

struct control {
    const struct gw_control_env *env;
    struct poller poller;
    struct rpc_server *rpc;
    struct poll_source store_source;
    struct store_ops ops;     /* of the control thread */
    struct store_ops job_ops; /* of the job thread */
    struct accounts accounts; /* of the job thread */
    struct jobs jobs;
    struct lcore_calls calls;
    struct ledger *ledger;
    struct metrics *metrics;
    struct receipts_query *queries;      /* that look in memory */
    struct job_follower *job_followers;
    struct pcap *pcap;                   /* the capture that there is */
    uint32_t pcap_last;                  /* its job, or the last one's; 0: none */
    struct capture_counters capture_counters;
    uint64_t trim_at_us;                 /* steady clock */
    struct store_job_record store_jobs[STORE_JOB_COUNT];
    uint64_t erase_at_us;                /* steady clock; UINT64_MAX: nothing is to be erased */
    uint64_t incarnation_at_us;          /* steady clock: a new incarnation key is due */
    struct expiry expiry;
    uint64_t slice_us_max;
    uint64_t started_us; /* wall clock */
    uint64_t now_us;     /* steady clock, read once an iteration */
    struct control_gauges gauges;
    bool stopping;       /* nothing further is started */
};

/* Each registers the methods of one group. */
void commands_broker_register(struct control *c);
void commands_user_register(struct control *c);
void commands_mailbox_register(struct control *c);
void commands_neighbour_register(struct control *c);
void commands_session_register(struct control *c);
void commands_conn_register(struct control *c);
void commands_receipts_register(struct control *c);
void commands_job_register(struct control *c);
void commands_key_register(struct control *c);
void commands_store_register(struct control *c);
void commands_pcap_register(struct control *c);

/* A slice of the questions that look in memory. Returns whether more can be done at once. */
bool commands_receipts_work(struct control *c);
void commands_receipts_close(struct control *c);

/* job.follow's streams: sends what has changed. Once an iteration; returns ms until it wants to be
 * called again, -1 when nobody follows. */
int commands_job_work(struct control *c);
void commands_job_close(struct control *c);

/* Ends captures whose time has come. Once an iteration; returns ms until it wants to be called again,
 * -1 when there is none. */
int commands_pcap_work(struct control *c);
/* While jobs and lcores still run. */
void commands_pcap_close(struct control *c);

/* The account that a request names, prepared; false when it cannot be (rq has been answered). */
bool control_account_param(struct control *c, struct rpc_request **rq, const char *name,
                           struct gw_jid_text *out);
/* The address as text; new reference. */
json_t *control_address_json(const struct gw_ip *ip);
/* Answers with what a failed store operation means. */
void control_fail_store(struct rpc_request **rq, int rc, const char *what);
/* Starts one over the store and answers with its number, or says why not. */
void control_start_store_job(struct control *c, struct rpc_request *rq, enum store_job_kind kind);
/* Starts a job for rq; NULL when too many run (rq has been answered, ctx stays the caller's). */
struct job *control_start_job(struct control *c, struct rpc_request **rq, const struct job_type *type,
                       void *ctx);
/* Answers rq with the job's number and a stream of its progress; when the client goes, the job ends. */
void control_follow_job(struct control *c, struct rpc_request **rq, struct job *job);

#endif
