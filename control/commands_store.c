/* SPDX-License-Identifier: Apache-2.0 */
/* store.stats, store.verify, store.backup. */
#include <stdlib.h>

#include "../dataplane/base/check.h"
#include "control_int.h"

void control_start_store_job(struct control *c, struct rpc_request *rq, enum store_job_kind kind)
{
    if (c->stopping) {
        rpc_fail(&rq, RPC_BUSY, NULL, "the broker is stopping");
        return;
    }
    struct job *job = store_job_start(c, kind);
    if (job == NULL)
        rpc_fail(&rq, RPC_BUSY, "godwitctl job list shows it", "a job %s is under way already",
                 store_job_name(kind));
    else
        rpc_reply(&rq, json_pack("{s:I}", "job", (json_int_t)job->id));
}

/* ---- store.stats ---- */

struct stats_question {
    struct store_op op; /* first */
    struct control *control;
    struct rpc_request *rq;
    struct gw_store_stats stats;
};

static json_t *describe_space(const struct gw_store_space *s)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:I}", "name", s->name, "keys", (json_int_t)s->keys,
                     "disk_bytes", (json_int_t)s->disk_bytes, "memory_bytes",
                     (json_int_t)s->memory_bytes, "pending_bytes", (json_int_t)s->pending_bytes);
}

static json_t *describe_expiry(const struct control *c)
{
    return json_pack("{s:I, s:I, s:I}", "age_s", (json_int_t)c->env->config->mailbox_age_s,
                     "before_us", (json_int_t)c->expiry.before_us, "clock_behind_us",
                     (json_int_t)c->expiry.behind_us);
}

static json_t *describe_stats(const struct control *c, const struct gw_store_stats *s)
{
    json_t *spaces = json_array();
    for (unsigned i = 0; i < s->space_count; i++)
        json_array_append_new(spaces, describe_space(&s->spaces[i]));
    json_t *log = json_pack("{s:I, s:I, s:I, s:I, s:I}", "files", (json_int_t)s->log_files,
                            "free_files", (json_int_t)s->log_free_files, "file_bytes",
                            (json_int_t)s->log_file_bytes, "segment_oldest",
                            (json_int_t)s->segment_oldest, "segment_next",
                            (json_int_t)s->segment_next);
    json_t *window = json_pack("{s:I, s:I, s:I}", "bytes", (json_int_t)s->window_bytes, "messages",
                               (json_int_t)s->window_messages, "mailboxes",
                               (json_int_t)s->window_mailboxes);
    json_t *writes = json_pack("{s:b, s:I, s:I, s:I}", "stopped", s->write_stopped, "rate_max",
                               (json_int_t)s->write_rate_max, "waiting",
                               (json_int_t)s->writes_waiting, "waits_us",
                               (json_int_t)s->write_waits_us);
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "log", log, "unspilled", window, "writes", writes,
                     "expiry", describe_expiry(c), "spaces", spaces);
}

static void stats_finished(struct store_op *op)
{
    struct stats_question *q = (struct stats_question *)op;
    if (op->done.status == 0)
        rpc_reply(&q->rq, describe_stats(q->control, &q->stats));
    else
        control_fail_store(&q->rq, op->done.status, "ask for its sizes");
    free(q);
}

static void store_stats(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    struct stats_question *q = calloc(1, sizeof(*q));
    check(q != NULL);
    q->control = c;
    q->rq = rq;
    q->op = (struct store_op){.rq = {.op = GW_STORE_STATS, .data = &q->stats,
                                     .data_len = sizeof(q->stats)},
                              .finished = stats_finished};
    store_ops_start(&c->ops, &q->op);
}

/* ---- jobs ---- */

static void store_verify(struct rpc_request *rq, void *ctx)
{
    control_start_store_job(ctx, rq, STORE_JOB_VERIFY);
}

static void store_backup(struct rpc_request *rq, void *ctx)
{
    control_start_store_job(ctx, rq, STORE_JOB_BACKUP);
}

void commands_store_register(struct control *c)
{
    rpc_register(c->rpc, "store.stats", store_stats, c);
    rpc_register(c->rpc, "store.verify", store_verify, c);
    rpc_register(c->rpc, "store.backup", store_backup, c);
}
