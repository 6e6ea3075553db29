/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "../dataplane/base/check.h"
#include "control_int.h"
#include "import.h"

#define LIST_BYTES (256u << 10)

/* One request about one account, on its way through the job thread. */
struct user_task {
    struct control *control;
    struct rpc_request *rq;
    struct gw_jid_text jid;
    struct password password;
    struct account_deletion deletion;
    unsigned answers_left; /* of lcores */
    unsigned sessions_ended;
    int rc;
};

static struct user_task *task_new(struct control *c, struct rpc_request *rq,
                                  const struct gw_jid_text *jid)
{
    struct user_task *t = calloc(1, sizeof(*t));
    check(t != NULL);
    t->control = c;
    t->rq = rq;
    t->jid = *jid;
    return t;
}

static void task_free(void *ctx)
{
    struct user_task *t = ctx;
    password_wipe(&t->password);
    free(t);
}

static void start(struct control *c, struct user_task *t, const struct job_type *type)
{
    if (!control_start_job(c, &t->rq, type, t))
        task_free(t);
}

static void reply_account(struct user_task *t)
{
    rpc_reply(&t->rq, json_pack("{s:s}", "account", t->jid.text));
}

static void fail_unknown(struct user_task *t)
{
    rpc_fail(&t->rq, RPC_NOT_FOUND, "godwitctl user list shows all accounts",
             "there is no account %s", t->jid.text);
}

/* ---- user.add, user.passwd ---- */

static bool take_password(struct user_task *t)
{
    const char *err, *text = rpc_string(t->rq, "password");
    if (password_prepare(gw_bytes_str(text), &t->password, &err) == 0)
        return true;
    rpc_fail(&t->rq, RPC_PARAMS, NULL, "%s", err);
    task_free(t);
    return false;
}

static enum job_step add_step(struct job *job, void *ctx)
{
    struct user_task *t = ctx;
    struct accounts *a = &t->control->accounts;
    struct gw_account account;
    account_init(&account);
    t->rc = accounts_derive(a, &account, &t->password);
    if (t->rc == 0)
        t->rc = accounts_write(a, gw_jid_bare(&t->jid), &account, 0);
    account_wipe(&account);
    return JOB_DONE;
}

static void add_finished(struct job *job, void *ctx)
{
    struct user_task *t = ctx;
    if (t->rc == 0)
        reply_account(t);
    else if (t->rc == -EEXIST)
        rpc_fail(&t->rq, RPC_EXISTS, "godwitctl user passwd changes its password",
                 "the account %s exists already", t->jid.text);
    else
        control_fail_store(&t->rq, t->rc, "create the account");
}

static const struct job_type add_type = {
    .step = add_step, .finished = add_finished, .free = task_free};

static void user_add(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    struct gw_jid_text jid;
    if (!control_account_param(c, &rq, "account", &jid))
        return;
    if (accounts_is_being_deleted(&c->accounts, gw_jid_bare(&jid))) {
        rpc_fail(&rq, RPC_BUSY, "try again in a moment", "an account %s is being deleted", jid.text);
        return;
    }
    struct user_task *t = task_new(c, rq, &jid);
    if (take_password(t))
        start(c, t, &add_type);
}

static enum job_step passwd_step(struct job *job, void *ctx)
{
    struct user_task *t = ctx;
    struct accounts *a = &t->control->accounts;
    struct gw_account account;
    uint64_t version;
    do {
        t->rc = accounts_read(a, gw_jid_bare(&t->jid), &account, &version);
        if (t->rc == 0)
            t->rc = accounts_derive(a, &account, &t->password);
        if (t->rc == 0)
            t->rc = accounts_write(a, gw_jid_bare(&t->jid), &account, version);
    } while (t->rc == -ESTALE && !job_is_cancelled(job));
    account_wipe(&account);
    return JOB_DONE;
}

static void passwd_finished(struct job *job, void *ctx)
{
    struct user_task *t = ctx;
    if (t->rc == 0)
        reply_account(t);
    else if (t->rc == -ENOENT)
        fail_unknown(t);
    else
        control_fail_store(&t->rq, t->rc, "change the password");
}

static const struct job_type passwd_type = {
    .step = passwd_step, .finished = passwd_finished, .free = task_free};

static void user_passwd(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    struct gw_jid_text jid;
    if (!control_account_param(c, &rq, "account", &jid))
        return;
    struct user_task *t = task_new(c, rq, &jid);
    if (take_password(t))
        start(c, t, &passwd_type);
}

/* ---- user.del: the record, then the sessions, then the rest ---- */

static void del_forget(struct user_task *t)
{
    accounts_delete_forget(&t->control->accounts, &t->deletion);
}

static enum job_step del_end_step(struct job *job, void *ctx)
{
    struct user_task *t = ctx;
    t->rc = accounts_delete_end(&t->control->accounts, &t->deletion);
    return JOB_DONE;
}

static void del_ended(struct job *job, void *ctx)
{
    struct user_task *t = ctx;
    del_forget(t);
    store_jobs_erase_soon(t->control);
    if (t->rc == 0)
        rpc_reply(&t->rq, json_pack("{s:s, s:i}", "account", t->jid.text, "sessions_ended",
                                    (int)t->sessions_ended));
    else
        control_fail_store(&t->rq, t->rc, "delete what waited for the account");
}

static const struct job_type del_end_type = {
    .step = del_end_step, .finished = del_ended, .free = task_free};

/* What is left to do stands in the tombstone: a restart does it. */
static void del_stop(struct user_task *t)
{
    del_forget(t);
    task_free(t);
}

static void del_sessions_ended(struct user_task *t)
{
    struct control *c = t->control;
    if (t->rc == 0) {
        jobs_start(&c->jobs, &del_end_type, t);
        return;
    }
    rpc_fail(&t->rq, RPC_BUSY, "the next start finishes the deletion", "the broker is stopping");
    del_stop(t);
}

static void del_answered(struct lcore_call *call, void *ctx)
{
    struct user_task *t = ctx;
    if (call->reply.status == 0)
        t->sessions_ended += call->reply.count;
    else if (call->reply.status != -ENOENT)
        t->rc = call->reply.status;
    if (--t->answers_left == 0)
        del_sessions_ended(t);
}

/* Every core must have said that the sessions are gone before what waited for them goes and a later
 * account may take the name, however long that takes. */
static void del_end_sessions(struct control *c, struct user_task *t)
{
    t->answers_left = c->env->lcore_count;
    for (unsigned i = 0; i < c->env->lcore_count; i++) {
        struct lcore_call *call = lcore_call_new(del_answered, t);
        call->command = (struct gw_command){.op = GW_COMMAND_END_SESSIONS,
                                            .account_gone = true,
                                            .data = call->data,
                                            .data_len = t->jid.bare_len};
        memcpy(call->data, t->jid.text, t->jid.bare_len);
        lcore_call_send(&c->calls, call, i, LCORE_CALL_NO_DEADLINE);
    }
}

static enum job_step del_begin_step(struct job *job, void *ctx)
{
    struct user_task *t = *(struct user_task **)ctx;
    t->rc = accounts_delete_begin(&t->control->accounts, &t->deletion);
    return JOB_DONE;
}

static void del_begun(struct job *job, void *ctx)
{
    struct user_task *t = *(struct user_task **)ctx;
    struct control *c = t->control;
    if (t->rc == 0) {
        del_end_sessions(c, t);
        return;
    }
    if (t->rc == -ENOENT)
        fail_unknown(t);
    else
        control_fail_store(&t->rq, t->rc, "delete the account");
    del_stop(t);
}

/* The task outlives this job: its context is only a pointer to it. */
static const struct job_type del_begin_type = {
    .step = del_begin_step, .finished = del_begun, .free = free};

static void user_del(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    struct gw_jid_text jid;
    if (!control_account_param(c, &rq, "account", &jid))
        return;
    struct user_task *t = task_new(c, rq, &jid);
    t->deletion.jid = jid;
    if (!accounts_delete_reserve(&c->accounts, &t->deletion)) {
        rpc_fail(&t->rq, RPC_BUSY, "try again in a moment", "%s is being deleted already", jid.text);
        task_free(t);
        return;
    }
    struct user_task **pointer = malloc(sizeof(struct user_task *));
    check(pointer != NULL);
    *pointer = t;
    if (!control_start_job(c, &t->rq, &del_begin_type, pointer)) {
        free(pointer);
        del_stop(t);
    }
}

/* ---- user.list ---- */

struct list_task {
    struct control *control;
    struct rpc_request *rq;
    const char *prefix; /* in rq's parameters */
    unsigned limit;
    struct gw_bytes after;
    uint8_t start[GW_STORE_KEY_BYTES_MAX];
    _Alignas(8) uint8_t run[LIST_BYTES];
    json_t *rows;
    bool more;
    int rc;
};

static void list_free(void *ctx)
{
    struct list_task *t = ctx;
    json_decref(t->rows);
    OPENSSL_cleanse(t->run, sizeof(t->run));
    free(t);
}

static json_t *describe_mechanisms(const struct gw_account *account)
{
    json_t *all = json_array();
    for (unsigned h = 0; h < GW_SCRAM_HASH_COUNT; h++) {
        char name[32];
        if (account->scram[h].iterations == 0)
            continue;
        snprintf(name, sizeof(name), "SCRAM-%s", gw_scram_hash_name(h));
        json_array_append_new(all, json_pack("{s:s, s:i}", "name", name, "iterations",
                                             (int)account->scram[h].iterations));
    }
    return all;
}

static json_t *describe_account(struct accounts *a, struct gw_scan_entry *e)
{
    struct gw_account account;
    uint8_t *key = (uint8_t *)(e + 1), *sealed = key + e->key_len;
    size_t sealed_len = e->len - sizeof(*e) - e->key_len;
    json_t *row = json_pack("{s:s%}", "account", key, (size_t)e->key_len);
    if (row == NULL)
        return NULL;
    if (accounts_open_sealed(a, gw_bytes(key, e->key_len), sealed, sealed_len,
                             &account) != 0) {
        json_object_set_new(row, "unreadable", json_true());
        return row;
    }
    json_object_set_new(row, "created_us", json_integer((json_int_t)account.created_us));
    json_object_set_new(row, "mechanisms", describe_mechanisms(&account));
    account_wipe(&account);
    return row;
}

static bool has_prefix(const struct gw_scan_entry *e, const char *prefix)
{
    size_t len = strlen(prefix);
    return e->key_len >= len && memcmp(e + 1, prefix, len) == 0;
}

static void list_run(struct list_task *t, const struct gw_store_completion *done)
{
    t->more = done->more;
    for (uint32_t off = 0; off < done->len;) {
        struct gw_scan_entry *e = (void *)(t->run + off);
        if (!has_prefix(e, t->prefix)) {
            t->more = false;
            return;
        }
        if (json_array_size(t->rows) == t->limit) {
            t->more = true;
            return;
        }
        json_t *row = describe_account(&t->control->accounts, e);
        if (row != NULL)
            json_array_append_new(t->rows, row);
        memcpy(t->start, e + 1, e->key_len);
        t->after = gw_bytes(t->start, e->key_len);
        off += (uint32_t)gw_record_padded(e->len);
    }
}

static enum job_step list_step(struct job *job, void *ctx)
{
    struct list_task *t = ctx;
    struct store_op op = {.rq = {.op = GW_STORE_SCAN, .ns = GW_NS_ACCOUNT, .key = t->after.p,
                                 .key_len = (uint16_t)t->after.len, .data = t->run,
                                 .data_len = sizeof(t->run)}};
    t->rc = store_ops_call(t->control->accounts.ops, &op);
    if (t->rc == 0)
        list_run(t, &op.done);
    bool again = t->rc == 0 && t->more && json_array_size(t->rows) < t->limit;
    return again && !job_is_cancelled(job) ? JOB_MORE : JOB_DONE;
}

static void list_finished(struct job *job, void *ctx)
{
    struct list_task *t = ctx;
    if (t->rc != 0) {
        control_fail_store(&t->rq, t->rc, "list the accounts");
        return;
    }
    json_t *result = json_pack("{s:O}", "accounts", t->rows);
    if (t->more)
        json_object_set_new(result, "next", json_stringn((const char *)t->start, t->after.len));
    rpc_reply(&t->rq, result);
}

static const struct job_type list_type = {
    .step = list_step, .finished = list_finished, .free = list_free};

/* The scan goes on behind a key: behind one that sorts just before everything with the prefix. No
 * UTF-8 holds the byte 0xff. */
static void start_before_prefix(struct list_task *t)
{
    size_t len = strlen(t->prefix);
    if (len == 0)
        return;
    memcpy(t->start, t->prefix, len);
    t->start[len - 1]--;
    t->start[len] = 0xff;
    t->after = gw_bytes(t->start, len + 1);
}

static void user_list(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    const char *cursor = rpc_string(rq, "cursor"), *prefix = rpc_string(rq, "prefix");
    if (cursor != NULL && strlen(cursor) > GW_STORE_KEY_BYTES_MAX) {
        rpc_fail(&rq, RPC_PARAMS, "use `next` of an earlier answer", "cursor is too long");
        return;
    }
    struct list_task *t = calloc(1, sizeof(*t));
    check(t != NULL);
    t->control = c;
    t->rq = rq;
    t->prefix = prefix != NULL ? prefix : "";
    t->limit = (unsigned)rpc_number(rq, "limit", SCHEMA_PAGE_ROWS_MAX);
    t->rows = json_array();
    start_before_prefix(t);
    if (cursor != NULL && cursor[0] != '\0') {
        t->after = gw_bytes(t->start, strlen(cursor));
        memcpy(t->start, cursor, t->after.len);
    }
    if (!control_start_job(c, &t->rq, &list_type, t))
        list_free(t);
}

/* ---- user.import ---- */

static void user_import(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    const char *err;
    struct import *import = import_new(&c->accounts, c->env->config, &c->jobs, rq->fd,
                                       rpc_flag(rq, "replace"), &err);
    if (import == NULL) {
        rpc_fail(&rq, RPC_PARAMS, "give a regular file, or - for standard input", "%s", err);
        return;
    }
    rq->fd = -1;
    struct job *job = control_start_job(c, &rq, &import_job_type, import);
    if (job == NULL)
        import_job_type.free(import);
    else
        rpc_reply(&rq, json_pack("{s:I}", "job", (json_int_t)job->id));
}

void commands_user_register(struct control *c)
{
    rpc_register(c->rpc, "user.add", user_add, c);
    rpc_register(c->rpc, "user.del", user_del, c);
    rpc_register(c->rpc, "user.list", user_list, c);
    rpc_register(c->rpc, "user.passwd", user_passwd, c);
    rpc_register(c->rpc, "user.import", user_import, c);
}
