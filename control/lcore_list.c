/* SPDX-License-Identifier: Apache-2.0 */
#include "lcore_list.h"

#include <inttypes.h>
#include <string.h>

#include "../dataplane/base/check.h"

static void list_end(struct lcore_list *l)
{
    json_decref(l->rows);
    l->free(l);
}

static void answer_page(struct lcore_list *l)
{
    char next[64];
    json_t *result = json_pack("{s:O}", l->rows_name, l->rows);
    snprintf(next, sizeof(next), "%u:%" PRIu64 ":%u", l->lcore, l->cursor, l->skip);
    if (l->lcore < l->control->env->lcore_count)
        json_object_set_new(result, "next", json_string(next));
    rpc_reply(&l->rq, result);
}

static void list_answer(struct lcore_list *l)
{
    if (l->answer != NULL)
        l->answer(l);
    else
        answer_page(l);
    list_end(l);
}

static void ask(struct lcore_list *l);

static void answered(struct lcore_call *call, void *ctx)
{
    struct lcore_list *l = ctx;
    if (call->reply.status != 0) {
        rpc_fail(&l->rq, RPC_TIMEOUT, "godwitctl lcore stat shows whether it runs",
                 "core %u did not say %s: %s", l->lcore, l->what, strerror(-call->reply.status));
        list_end(l);
        return;
    }
    if (!l->take(l, call)) {
        list_answer(l);
        return;
    }
    l->skip = 0;
    l->cursor = call->reply.more ? call->reply.next : 0;
    l->lcore += !call->reply.more;
    if (l->lcore == l->control->env->lcore_count || --l->rounds_left == 0 ||
        json_array_size(l->rows) == l->limit)
        list_answer(l);
    else
        ask(l);
}

static void ask(struct lcore_list *l)
{
    struct control *c = l->control;
    struct lcore_call *call = lcore_call_new(answered, l);
    call->command = (struct gw_command){.data = call->data, .data_len = sizeof(call->data),
                                        .cursor = l->cursor};
    l->ask(l, call);
    lcore_call_send(&c->calls, call, l->lcore, c->now_us + LCORE_CALL_TIMEOUT_US);
}

static bool parse_cursor(const char *text, struct lcore_list *l)
{
    char rest;
    return sscanf(text, "%9u:%19" SCNu64 ":%9u%c", &l->lcore, &l->cursor, &l->skip, &rest) == 3 &&
           l->lcore < l->control->env->lcore_count;
}

bool lcore_list_init(struct lcore_list *l, struct control *c, struct rpc_request **rq)
{
    const char *cursor = rpc_string(*rq, "cursor");
    l->control = c;
    l->limit = (unsigned)rpc_number(*rq, "limit", SCHEMA_PAGE_ROWS_MAX);
    l->rounds_left = LCORE_LIST_ROUNDS_MAX;
    if (cursor == NULL || cursor[0] == '\0' || parse_cursor(cursor, l))
        return true;
    rpc_fail(rq, RPC_PARAMS, "use `next` of an earlier answer", "cursor is not a cursor");
    return false;
}

void lcore_list_start(struct lcore_list *l)
{
    check(l->limit > 0 && l->rounds_left > 0 && l->rq != NULL);
    l->rows = json_array();
    ask(l);
}
