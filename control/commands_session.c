/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "../dataplane/base/check.h"
#include "control_int.h"
#include "lcore_list.h"

/* ---- session.list ---- */

struct session_list {
    struct lcore_list list; /* first */
    struct gw_jid_text account; /* len 0: any */
};

static bool is_of(const struct gw_jid_text *account, const char *jid, size_t len)
{
    return account->bare_len == 0 ||
           (len > account->bare_len && jid[account->bare_len] == '/' &&
            memcmp(jid, account->text, account->bare_len) == 0);
}

static json_t *describe(const struct gw_session_row *row, const char *jid, unsigned lcore)
{
    return json_pack("{s:s%, s:o, s:i, s:I, s:i, s:b, s:b, s:b, s:b, s:b, s:I, s:i}", "jid", jid,
                     (size_t)row->jid_len, "address", control_address_json(&row->ip), "port",
                     row->port, "since_us", (json_int_t)row->since_us, "priority", row->priority,
                     "available", row->available, "stream_management", row->sm, "catching_up",
                     row->behind, "resumable", row->resumable, "detached", row->detached, "unacked", (json_int_t)row->unacked, "lcore", (int)lcore);
}

static bool take_sessions(struct lcore_list *l, const struct lcore_call *call)
{
    const struct session_list *s = (const struct session_list *)l;
    unsigned n = 0;
    for (uint32_t off = 0; off < call->reply.len; n++) {
        const struct gw_session_row *row = (const void *)(call->data + off);
        const char *jid = (const char *)(row + 1);
        check(call->reply.len - off >= sizeof(*row) && row->len == sizeof(*row) + row->jid_len);
        off += (row->len + 7) & ~7u;
        if (n < l->skip || !is_of(&s->account, jid, row->jid_len))
            continue;
        if (json_array_size(l->rows) == l->limit) {
            l->skip = n;
            return false;
        }
        json_array_append_new(l->rows, describe(row, jid, l->lcore));
    }
    return true;
}

static void ask_sessions(struct lcore_list *l, struct lcore_call *call)
{
    call->command.op = GW_COMMAND_SESSIONS;
}

static void list_free(struct lcore_list *l)
{
    free(l);
}

static void session_list(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    struct session_list *s = calloc(1, sizeof(*s));
    check(s != NULL);
    s->list = (struct lcore_list){.rows_name = "sessions", .what = "which sessions it has",
                                  .ask = ask_sessions, .take = take_sessions, .free = list_free};
    if ((rpc_string(rq, "account") != NULL &&
         !control_account_param(c, &rq, "account", &s->account)) ||
        !lcore_list_init(&s->list, c, &rq)) {
        free(s);
        return;
    }
    s->list.rq = rq;
    lcore_list_start(&s->list);
}

/* ---- session.end ---- */

struct session_end {
    struct rpc_request *rq;
    struct gw_jid_text account;
    unsigned answers_left, ended;
    int rc;
};

static void end_answered(struct lcore_call *call, void *ctx)
{
    struct session_end *e = ctx;
    if (call->reply.status == 0)
        e->ended += call->reply.count;
    else if (call->reply.status != -ENOENT)
        e->rc = call->reply.status;
    if (--e->answers_left > 0)
        return;
    if (e->rc != 0)
        rpc_fail(&e->rq, RPC_TIMEOUT, "godwitctl lcore stat shows whether it runs",
                 "a core did not say that the sessions have ended: %s", strerror(-e->rc));
    else if (e->ended == 0)
        rpc_fail(&e->rq, RPC_NOT_FOUND, "godwitctl session list shows all", "%s has no sessions",
                 e->account.text);
    else
        rpc_reply(&e->rq, json_pack("{s:s, s:i}", "account", e->account.text, "sessions_ended",
                                    (int)e->ended));
    free(e);
}

static void session_end(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    struct session_end *e = calloc(1, sizeof(*e));
    check(e != NULL);
    if (!control_account_param(c, &rq, "account", &e->account)) {
        free(e);
        return;
    }
    e->rq = rq;
    e->answers_left = c->env->lcore_count;
    for (unsigned i = 0; i < c->env->lcore_count; i++) {
        struct lcore_call *call = lcore_call_new(end_answered, e);
        call->command = (struct gw_command){.op = GW_COMMAND_END_SESSIONS, .data = call->data,
                                            .data_len = e->account.bare_len};
        memcpy(call->data, e->account.text, e->account.bare_len);
        lcore_call_send(&c->calls, call, i, c->now_us + LCORE_CALL_TIMEOUT_US);
    }
}

void commands_session_register(struct control *c)
{
    rpc_register(c->rpc, "session.list", session_list, c);
    rpc_register(c->rpc, "session.end", session_end, c);
}
