/* SPDX-License-Identifier: Apache-2.0 */
/* user.show and user.set_limit: what waits for an account, and how much may. */
#include <errno.h>
#include <stdlib.h>

#include "../dataplane/base/check.h"
#include "control_int.h"

struct mailbox_task {
    struct control *control;
    struct rpc_request *rq;
    struct gw_jid_text jid;
    struct gw_account account;
    struct gw_mailbox_count count;
    uint64_t from;          /* where counting goes on; 0: it has not begun */
    unsigned answers_left;  /* of lcores */
    int rc;
};

static void task_free(void *ctx)
{
    struct mailbox_task *t = ctx;
    account_wipe(&t->account);
    free(t);
}

static void fail(struct mailbox_task *t, const char *what)
{
    if (t->rc == -ENOENT)
        rpc_fail(&t->rq, RPC_NOT_FOUND, "godwitctl user list shows all accounts",
                 "there is no account %s", t->jid.text);
    else
        control_fail_store(&t->rq, t->rc, what);
}

/* The task that a request is for; NULL: it has been answered. */
static struct mailbox_task *task_new(struct control *c, struct rpc_request *rq)
{
    struct gw_jid_text jid;
    if (!control_account_param(c, &rq, "account", &jid))
        return NULL;
    struct mailbox_task *t = calloc(1, sizeof(*t));
    check(t != NULL);
    t->control = c;
    t->rq = rq;
    t->jid = jid;
    return t;
}

/* ---- user.show ---- */

/* One slice of the count. */
static enum job_step count_step(struct mailbox_task *t)
{
    struct gw_identity identity = gw_identity_of(t->account.identity_key);
    struct store_op op = {.rq = {.op = GW_STORE_COUNT,
                                 .mailbox = gw_identity_mailbox(&identity),
                                 .from = t->from,
                                 .data = &t->count,
                                 .data_len = sizeof(t->count)}};
    t->rc = store_ops_call(t->control->accounts.ops, &op);
    t->from = op.done.next;
    return t->rc == 0 && op.done.more ? JOB_MORE : JOB_DONE;
}

static enum job_step show_step(struct job *job, void *ctx)
{
    struct mailbox_task *t = ctx;
    uint64_t version;
    if (t->from == 0)
        t->rc = accounts_read(&t->control->accounts, gw_jid_bare(&t->jid), &t->account, &version);
    if (t->rc == 0 && job_is_cancelled(job))
        t->rc = -ECANCELED;
    return t->rc == 0 ? count_step(t) : JOB_DONE;
}

static json_t *describe_limit(uint64_t own, uint64_t configured)
{
    return json_pack("{s:I, s:b}", "max", (json_int_t)(own != 0 ? own : configured), "own", own != 0);
}

static void show_finished(struct job *job, void *ctx)
{
    struct mailbox_task *t = ctx;
    const struct gw_config *c = t->control->env->config;
    if (t->rc != 0) {
        fail(t, "count what waits for the account");
        return;
    }
    json_t *messages = describe_limit(t->account.messages_max, c->mailbox_messages_max);
    json_t *bytes = describe_limit(t->account.bytes_max, c->mailbox_bytes_max);
    json_object_set_new(messages, "waiting", json_integer((json_int_t)t->count.messages));
    json_object_set_new(bytes, "waiting", json_integer((json_int_t)t->count.bytes));
    rpc_reply(&t->rq, json_pack("{s:s, s:I, s:o, s:o}", "account", t->jid.text, "created_us",
                                (json_int_t)t->account.created_us, "messages", messages, "bytes",
                                bytes));
}

static const struct job_type show_type = {
    .step = show_step, .finished = show_finished, .free = task_free};

static void user_show(struct rpc_request *rq, void *ctx)
{
    struct mailbox_task *t = task_new(ctx, rq);
    if (t != NULL && !control_start_job(ctx, &t->rq, &show_type, t))
        task_free(t);
}

/* ---- user.set_limit: the record, then the lcores ---- */

static enum job_step limit_step(struct job *job, void *ctx)
{
    struct mailbox_task *t = *(struct mailbox_task **)ctx;
    struct accounts *a = &t->control->accounts;
    uint64_t version;
    do {
        t->rc = accounts_read(a, gw_jid_bare(&t->jid), &t->account, &version);
        if (t->rc != 0)
            return JOB_DONE;
        t->account.messages_max =
            (uint32_t)rpc_number(t->rq, "messages", t->account.messages_max);
        t->account.bytes_max = (uint64_t)rpc_number(t->rq, "bytes", (int64_t)t->account.bytes_max);
        t->rc = accounts_write(a, gw_jid_bare(&t->jid), &t->account, version);
    } while (t->rc == -ESTALE && !job_is_cancelled(job));
    return JOB_DONE;
}

static void limit_answered(struct lcore_call *call, void *ctx)
{
    struct mailbox_task *t = ctx;
    if (call->reply.status != 0 && call->reply.status != -ENOENT)
        t->rc = call->reply.status;
    if (--t->answers_left > 0)
        return;
    if (t->rc == 0)
        rpc_reply(&t->rq, json_pack("{s:s}", "account", t->jid.text));
    else
        rpc_fail(&t->rq, RPC_TIMEOUT, "log the account out and give the command again",
                 "the limit is stored, but not every core has answered");
    task_free(t);
}

/* All cores are told: its home acts. */
static void limit_tell(struct mailbox_task *t)
{
    struct control *c = t->control;
    struct gw_limits_command limits = {.messages_max = t->account.messages_max,
                                       .bytes_max = t->account.bytes_max,
                                       .account_len = t->jid.bare_len};
    memcpy(limits.account, t->jid.text, t->jid.bare_len);
    t->answers_left = c->env->lcore_count;
    for (unsigned i = 0; i < c->env->lcore_count; i++) {
        struct lcore_call *call = lcore_call_new(limit_answered, t);
        memcpy(call->data, &limits, sizeof(limits));
        call->command = (struct gw_command){
            .op = GW_COMMAND_LIMITS, .data = call->data, .data_len = sizeof(limits)};
        lcore_call_send(&c->calls, call, i, c->now_us + LCORE_CALL_TIMEOUT_US);
    }
}

static void limit_written(struct job *job, void *ctx)
{
    struct mailbox_task *t = *(struct mailbox_task **)ctx;
    if (t->rc == 0) {
        limit_tell(t);
        return;
    }
    fail(t, "change the limits");
    task_free(t);
}

/* The task outlives this job: its context is only a pointer to it. */
static const struct job_type limit_type = {
    .step = limit_step, .finished = limit_written, .free = free};

static void user_set_limit(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    if (rpc_number(rq, "messages", -1) < 0 && rpc_number(rq, "bytes", -1) < 0) {
        rpc_fail(&rq, RPC_PARAMS, "give messages, bytes or both; 0 is the configured one",
                 "no limit was given");
        return;
    }
    struct mailbox_task *t = task_new(c, rq), **pointer;
    if (t == NULL)
        return;
    pointer = malloc(sizeof(struct mailbox_task *));
    check(pointer != NULL);
    *pointer = t;
    if (!control_start_job(c, &t->rq, &limit_type, pointer)) {
        free(pointer);
        task_free(t);
    }
}

void commands_mailbox_register(struct control *c)
{
    rpc_register(c->rpc, "user.show", user_show, c);
    rpc_register(c->rpc, "user.set_limit", user_set_limit, c);
}
