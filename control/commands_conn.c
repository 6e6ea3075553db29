/* SPDX-License-Identifier: Apache-2.0 */
/* Connections as TCP sees them: conn.list and conn.show. */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../dataplane/base/check.h"
#include "commands_conn_filter.h"
#include "control_int.h"
#include "lcore_list.h"

struct conn_list {
    struct lcore_list list; /* first */
    struct gw_connection_query query;
    char wanted[64]; /* conn.show: what was asked for */
};

/* ---- a row ---- */

static const char *const states[] = {
#define X(upper, text, word) word,
    GW_TCP_STATES(X)
#undef X
};
static const char *const rexmits[] = {
#define X(upper, text) text,
    GW_TCP_REXMITS(X)
#undef X
};
static const char *const timers[] = {
#define X(upper, text) text,
    GW_TCP_TIMERS(X)
#undef X
};
static const char *const modes[] = {
#define X(upper, text) text,
    GW_TCP_MODES(X)
#undef X
};
#define STATES     (sizeof(states) / sizeof(states[0]))
#define TIME_WAIT  (STATES - 1)

static void add_timer(json_t *all, const char *name, int32_t in_us)
{
    if (in_us != GW_TCP_TIMER_OFF)
        json_array_append_new(all, json_pack("{s:s, s:i}", "timer", name, "in_ms", in_us / 1000));
}

static json_t *describe_timers(const struct gw_tcp_info *i)
{
    json_t *all = json_array();
    if (i->state == TIME_WAIT) {
        add_timer(all, "time-wait", i->timer_in_us[GW_TCP_TIMER_USER]);
        return all;
    }
    add_timer(all, rexmits[i->rexmit], i->rexmit_in_us);
    for (unsigned t = 0; t < GW_TCP_TIMER_COUNT; t++)
        add_timer(all, timers[t], i->timer_in_us[t]);
    return all;
}

static json_t *describe_options(const struct gw_tcp_info *i)
{
    json_t *all = json_array();
    if (i->sack)
        json_array_append_new(all, json_string("sack"));
    if (i->timestamps)
        json_array_append_new(all, json_string("timestamps"));
    if (i->scale)
        json_array_append_new(all, json_string("window-scale"));
    return all;
}

static json_t *describe_send(const struct gw_tcp_info *i)
{
    return json_pack("{s:I, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "window",
                     (json_int_t)i->snd_wnd, "scale", i->snd_scale, "queued",
                     (json_int_t)i->send_bytes, "unsent", (json_int_t)i->unsent, "in_flight",
                     (json_int_t)i->in_flight, "pipe", (json_int_t)i->pipe, "acked",
                     (json_int_t)i->acked_bytes, "resent", (json_int_t)i->resent, "backoff",
                     i->backoff);
}

static json_t *describe_receive(const struct gw_tcp_info *i)
{
    return json_pack("{s:I, s:i, s:I, s:I, s:I, s:b}", "window", (json_int_t)i->rcv_wnd, "scale",
                     i->rcv_scale, "unread", (json_int_t)i->unread, "pieces", (json_int_t)i->pieces,
                     "ahead", (json_int_t)i->ahead, "paused", i->paused);
}

static json_t *describe_rtt(const struct gw_tcp_info *i)
{
    return json_pack("{s:I, s:I, s:I, s:I}", "smoothed_us", (json_int_t)i->srtt_us, "variation_us",
                     (json_int_t)i->rttvar_us, "least_us", (json_int_t)i->rtt_us_min, "timeout_us",
                     (json_int_t)i->rto_us);
}

static json_t *describe_congestion(const struct gw_tcp_info *i)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:b}", "control", i->congestion_control, "state",
                     modes[i->mode], "window", (json_int_t)i->cwnd, "threshold",
                     (json_int_t)i->ssthresh, "limits", i->cwnd_limited);
}

static json_t *describe(const struct gw_connection_row *row, const char *jid, unsigned lcore)
{
    const struct gw_tcp_info *i = &row->info;
    check(i->state < STATES);
    json_t *d = json_pack("{s:o, s:i, s:s, s:o, s:i, s:o, s:i, s:o}", "conn",
                          json_sprintf("%u:%" PRIu32, lcore, row->position), "lcore", (int)lcore,
                          "state", states[i->state], "local", control_address_json(&i->tuple.local),
                          "local_port", i->tuple.local_port, "remote",
                          control_address_json(&i->tuple.remote), "remote_port",
                          i->tuple.remote_port, "timers", describe_timers(i));
    check(d != NULL);
    if (row->jid_len > 0)
        json_object_set_new(d, "jid", json_stringn(jid, row->jid_len));
    if (i->state == TIME_WAIT)
        return d;
    json_object_set_new(d, "opened_by_us", json_boolean(i->active));
    json_object_set_new(d, "mss", json_integer(i->mss));
    json_object_set_new(d, "silent_s", json_integer(i->heard_s));
    json_object_set_new(d, "options", describe_options(i));
    json_object_set_new(d, "send", describe_send(i));
    json_object_set_new(d, "receive", describe_receive(i));
    json_object_set_new(d, "rtt", describe_rtt(i));
    json_object_set_new(d, "congestion", describe_congestion(i));
    return d;
}

/* ---- asking lcores ---- */

static void ask_connections(struct lcore_list *l, struct lcore_call *call)
{
    struct conn_list *c = (struct conn_list *)l;
    c->query.rows_max = l->limit - (unsigned)json_array_size(l->rows);
    call->command.op = GW_COMMAND_CONNECTIONS;
    memcpy(call->data, &c->query, sizeof(c->query));
}

static bool take_connections(struct lcore_list *l, const struct lcore_call *call)
{
    for (uint32_t off = 0; off < call->reply.len;) {
        const struct gw_connection_row *row = (const void *)(call->data + off);
        check(call->reply.len - off >= sizeof(*row) && row->len == sizeof(*row) + row->jid_len);
        json_array_append_new(l->rows, describe(row, (const char *)(row + 1), l->lcore));
        off += (row->len + 7) & ~7u;
    }
    check(json_array_size(l->rows) <= l->limit);
    return true;
}

static void conn_list_free(struct lcore_list *l)
{
    free(l);
}

static struct conn_list *conn_list_new(void)
{
    struct conn_list *l = calloc(1, sizeof(*l));
    check(l != NULL);
    l->list = (struct lcore_list){.rows_name = "connections",
                                  .what = "which connections it has",
                                  .ask = ask_connections,
                                  .take = take_connections,
                                  .free = conn_list_free};
    l->query.scan_max = UINT32_MAX;
    return l;
}

/* ---- conn.list ---- */

static uint32_t states_asked_for(const struct rpc_request *rq)
{
    const char *name = rpc_string(rq, "state");
    for (unsigned i = 0; name != NULL && i < STATES; i++)
        if (strcmp(states[i], name) == 0)
            return 1u << i;
    return 0;
}

static bool take_filters(struct control *c, struct rpc_request **rq, struct gw_connection_query *q)
{
    const char *remote = rpc_string(*rq, "remote");
    struct gw_jid_text account;
    q->filter.states = states_asked_for(*rq);
    q->filter.local_port = (uint16_t)rpc_number(*rq, "local_port", 0);
    q->filter.retransmitting = rpc_flag(*rq, "retransmitting");
    q->filter.queued_min = (uint32_t)rpc_number(*rq, "queued", 0);
    if (remote != NULL && !conn_filter_parse_remote(remote, &q->filter)) {
        rpc_fail(rq, RPC_PARAMS, "as 10.1.2.3, 10.0.0.0/8, 10.1.2.3:4567, fd00::/16 or [fd00::1]:4567",
                 "remote is no address: %.64s", remote);
        return false;
    }
    if (rpc_string(*rq, "account") == NULL)
        return true;
    if (!control_account_param(c, rq, "account", &account))
        return false;
    q->account_len = account.bare_len;
    memcpy(q->account, account.text, account.bare_len);
    return true;
}

static void conn_list(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    struct conn_list *l = conn_list_new();
    if (!take_filters(c, &rq, &l->query) || !lcore_list_init(&l->list, c, &rq)) {
        free(l);
        return;
    }
    l->list.rq = rq;
    lcore_list_start(&l->list);
}

/* ---- conn.show ---- */

/* By its id: that position alone. By its peer: all are looked through, one bounded piece a pass. */
static bool take_wanted(struct conn_list *l, struct control *c, const char *text)
{
    uint32_t position;
    l->list.limit = 1;
    if (conn_parse_id(text, &l->list.lcore, &position)) {
        l->list.rounds_left = 1;
        l->list.cursor = position - 1;
        l->query.scan_max = 1;
        return l->list.lcore < c->env->lcore_count;
    }
    l->list.rounds_left = UINT_MAX;
    return conn_filter_parse_remote(text, &l->query.filter) && l->query.filter.remote_port != 0;
}

static bool is_wanted(const struct conn_list *l, const json_t *row)
{
    return row != NULL && (l->query.scan_max != 1 ||
                           strcmp(json_string_value(json_object_get(row, "conn")), l->wanted) == 0);
}

static void show_answer(struct lcore_list *list)
{
    struct conn_list *l = (struct conn_list *)list;
    json_t *row = json_array_get(list->rows, 0);
    if (is_wanted(l, row))
        rpc_reply(&list->rq, json_incref(row));
    else
        rpc_fail(&list->rq, RPC_NOT_FOUND, "it may have ended: godwitctl conn list shows all",
                 "there is no connection %s", l->wanted);
}

static void conn_show(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    const char *wanted = rpc_string(rq, "conn");
    struct conn_list *l = conn_list_new();
    l->list.control = c;
    l->list.answer = show_answer;
    snprintf(l->wanted, sizeof(l->wanted), "%s", wanted);
    if (!take_wanted(l, c, wanted)) {
        rpc_fail(&rq, RPC_PARAMS, "its id as conn list shows it, as 0:17, or its peer, as "
                 "10.1.2.3:4567 or [fd00::1]:4567", "conn is no connection: %.64s", wanted);
        free(l);
        return;
    }
    l->list.rq = rq;
    lcore_list_start(&l->list);
}

void commands_conn_register(struct control *c)
{
    rpc_register(c->rpc, "conn.list", conn_list, c);
    rpc_register(c->rpc, "conn.show", conn_show, c);
}
