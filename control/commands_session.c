/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "../dataplane/base/check.h"
#include "control_int.h"

/* Questions to lcores for one answer: a search for a rare account ends early, with `next`. */
#define ROUNDS_MAX 64

/* ---- session.list: one lcore after the other, a bufferful at a time ---- */

struct session_list {
    struct control *control;
    struct rpc_request *rq;
    struct gw_jid_text account; /* len 0: any */
    unsigned limit, rounds;
    unsigned lcore;
    uint64_t cursor; /* of that lcore */
    unsigned skip;   /* rows behind it that an earlier answer had */
    json_t *rows;
};

static void list_free(struct session_list *l)
{
    json_decref(l->rows);
    free(l);
}

static void list_answer(struct session_list *l)
{
    char next[64];
    json_t *result = json_pack("{s:O}", "sessions", l->rows);
    snprintf(next, sizeof(next), "%u:%" PRIu64 ":%u", l->lcore, l->cursor, l->skip);
    if (l->lcore < l->control->env->lcore_count)
        json_object_set_new(result, "next", json_string(next));
    rpc_reply(&l->rq, result);
    list_free(l);
}

static bool is_of(const struct gw_jid_text *account, const char *jid, size_t len)
{
    return account->bare_len == 0 ||
           (len > account->bare_len && jid[account->bare_len] == '/' &&
            memcmp(jid, account->text, account->bare_len) == 0);
}

static json_t *describe(const struct gw_session_row *row, const char *jid, unsigned lcore)
{
    char address[INET6_ADDRSTRLEN];
    bool v4 = gw_ip_is_v4(&row->ip);
    check(inet_ntop(v4 ? AF_INET : AF_INET6, row->ip.b + (v4 ? 12 : 0), address, sizeof(address)));
    return json_pack("{s:s%, s:s, s:i, s:I, s:i, s:b, s:b, s:b, s:I, s:i}", "jid", jid,
                     (size_t)row->jid_len, "address", address, "port", row->port, "since_us",
                     (json_int_t)row->since_us, "priority", row->priority, "available",
                     row->available, "stream_management", row->sm, "catching_up", row->behind,
                     "unacked", (json_int_t)row->unacked, "lcore", (int)lcore);
}

/* Rows of one reply, up to the limit. Returns whether all of them were taken. */
static bool take_rows(struct session_list *l, const struct lcore_call *call)
{
    unsigned n = 0;
    for (uint32_t off = 0; off < call->reply.len; n++) {
        const struct gw_session_row *row = (const void *)(call->data + off);
        const char *jid = (const char *)(row + 1);
        check(call->reply.len - off >= sizeof(*row) && row->len == sizeof(*row) + row->jid_len);
        off += (row->len + 7) & ~7u;
        if (n < l->skip || !is_of(&l->account, jid, row->jid_len))
            continue;
        if (json_array_size(l->rows) == l->limit) {
            l->skip = n;
            return false;
        }
        json_array_append_new(l->rows, describe(row, jid, l->lcore));
    }
    return true;
}

static void ask(struct session_list *l);

static void list_answered(struct lcore_call *call, void *ctx)
{
    struct session_list *l = ctx;
    if (call->reply.status != 0) {
        rpc_fail(&l->rq, RPC_TIMEOUT, "godwitctl lcore stat shows whether it runs",
                 "core %u did not say which sessions it has: %s", l->lcore,
                 strerror(-call->reply.status));
        list_free(l);
        return;
    }
    if (!take_rows(l, call)) {
        list_answer(l);
        return;
    }
    l->skip = 0;
    l->cursor = call->reply.more ? call->reply.next : 0;
    l->lcore += !call->reply.more;
    if (l->lcore == l->control->env->lcore_count || ++l->rounds == ROUNDS_MAX)
        list_answer(l);
    else
        ask(l);
}

static void ask(struct session_list *l)
{
    struct control *c = l->control;
    struct lcore_call *call = lcore_call_new(list_answered, l);
    call->command = (struct gw_command){.op = GW_COMMAND_SESSIONS, .data = call->data,
                                        .data_len = sizeof(call->data), .cursor = l->cursor};
    lcore_call_send(&c->calls, call, l->lcore, c->now_us + LCORE_CALL_TIMEOUT_US);
}

static bool parse_cursor(const char *text, struct session_list *l)
{
    char rest;
    return sscanf(text, "%9u:%19" SCNu64 ":%9u%c", &l->lcore, &l->cursor, &l->skip, &rest) == 3 &&
           l->lcore < l->control->env->lcore_count;
}

static void session_list(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    const char *cursor = rpc_string(rq, "cursor");
    struct session_list *l = calloc(1, sizeof(*l));
    check(l != NULL);
    *l = (struct session_list){.control = c, .limit = (unsigned)rpc_number(rq, "limit", SCHEMA_PAGE_ROWS_MAX)};
    if (rpc_string(rq, "account") != NULL && !control_account_param(c, &rq, "account", &l->account)) {
        free(l);
        return;
    }
    if (cursor != NULL && cursor[0] != '\0' && !parse_cursor(cursor, l)) {
        rpc_fail(&rq, RPC_PARAMS, "use `next` of an earlier answer", "cursor is not a cursor");
        free(l);
        return;
    }
    l->rq = rq;
    l->rows = json_array();
    ask(l);
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
