/* SPDX-License-Identifier: Apache-2.0 */
/* receipts.list: from memory in slices, or from the whole ledger by a job; receipts.follow. */
#include <errno.h>
#include <stdlib.h>

#include "../dataplane/base/check.h"
#include "clock.h"
#include "control_int.h"
#include "ledger.h"
#include "ledger_cover.h"
#include "ledger_jobs.h"

#define SLICE_RECEIPTS 2000 /* looked at in one iteration of the loop */
#define SLICE_ROWS     50   /* and found */

struct receipts_query {
    struct control *control;
    struct rpc_request *rq;
    struct ledger_filter filter;
    unsigned limit;
    json_t *rows; /* newest first */
    bool more;
    struct ledger_place last; /* of the oldest row */
    const struct receipt *at; /* in memory: the next to look at */
    struct ledger_place at_place;
    bool started;
    struct ledger_cover *cover; /* of the walk that is under way */
    struct ledger_search *search;
    struct receipts_query *next;
};

static void query_free(void *ctx)
{
    struct receipts_query *q = ctx;
    json_decref(q->rows);
    ledger_filter_free(&q->filter);
    ledger_search_free(&q->search);
    ledger_cover_free(&q->cover);
    free(q);
}

/* ---- what is asked ---- */

static bool optional_account(struct control *c, struct rpc_request **rq, const char *name,
                             struct gw_jid_text *out)
{
    return rpc_string(*rq, name) == NULL || control_account_param(c, rq, name, out);
}

static int state_of(const char *name)
{
    for (int s = 0; name != NULL && s < RECEIPT_STEP_COUNT; s++)
        if (strcmp(receipt_step_name((enum receipt_step)s), name) == 0)
            return s;
    return -1;
}

static uint64_t ago_us(const struct rpc_request *rq, const char *name)
{
    int64_t s = rpc_number(rq, name, -1);
    uint64_t now_us = clock_wall_us();
    return s < 0 ? 0 : now_us - (uint64_t)s * 1000000;
}

/* False when rq has been answered. */
static bool read_filter(struct control *c, struct rpc_request **rq, struct ledger_filter *f)
{
    const char *id = rpc_string(*rq, "id"), *before = rpc_string(*rq, "cursor");
    memset(f, 0, sizeof(*f));
    f->state = state_of(rpc_string(*rq, "state"));
    f->undelivered_before_us = ago_us(*rq, "undelivered_for");
    f->accepted_after_us = ago_us(*rq, "age");
    if (!optional_account(c, rq, "account", &f->account) ||
        !optional_account(c, rq, "peer", &f->peer))
        return false;
    if (before != NULL && !ledger_place_parse(before, &f->before)) {
        rpc_fail(rq, RPC_PARAMS, "use `next` of an earlier answer", "cursor is not a cursor");
        return false;
    }
    f->id = id != NULL ? strdup(id) : NULL;
    return true;
}

/* ---- the answer ---- */

/* For each message, from the newest on. False when enough rows are there. */
static bool add_row(struct receipts_query *q, const struct receipt *r)
{
    uint64_t covered_us = ledger_cover_look(q->cover, r);
    if (!ledger_filter_receipt(&q->filter, r, covered_us))
        return true;
    if (json_array_size(q->rows) == q->limit) {
        q->more = true;
        return false;
    }
    json_array_append_new(q->rows, receipt_json(r, covered_us));
    q->last = r->place;
    return true;
}

static void answer(struct receipts_query *q, uint64_t left_out)
{
    char cursor[LEDGER_PLACE_TEXT_BYTES];
    json_t *oldest_first = json_array();
    for (size_t i = json_array_size(q->rows); i > 0; i--)
        json_array_append(oldest_first, json_array_get(q->rows, i - 1));
    json_t *result = json_pack("{s:o, s:I}", "receipts", oldest_first, "left_out",
                               (json_int_t)left_out);
    ledger_place_format(&q->last, cursor);
    if (q->more)
        json_object_set_new(result, "next", json_string(cursor));
    rpc_reply(&q->rq, result);
}

/* ---- the whole ledger, on the job thread ---- */

static enum job_step search_step(struct job *job, void *ctx)
{
    struct receipts_query *q = ctx;
    enum job_step step = ledger_search_step(job, q->search);
    if (step != JOB_DONE || q->search->rc != 0)
        return step;
    const struct receipt *r = ledger_table_newest(q->search->table);
    while (r != NULL && add_row(q, r))
        r = ledger_table_older(q->search->table, r);
    return JOB_DONE;
}

static void search_finished(struct job *job, void *ctx)
{
    struct receipts_query *q = ctx;
    if (q->search->rc == 0)
        answer(q, ledger_table_dropped(q->search->table));
    else if (q->search->rc == -ECANCELED)
        rpc_fail(&q->rq, RPC_BUSY, NULL, "the broker is stopping");
    else
        control_fail_store(&q->rq, q->search->rc, "read the ledger");
}

static const struct job_type search_type = {
    .step = search_step, .finished = search_finished, .free = query_free};

static void search_store(struct receipts_query *q)
{
    struct control *c = q->control;
    q->search = ledger_search_new(&c->job_ops, c->env->keys, c->env->job_sealer);
    q->search->filter.account = q->filter.account;
    q->search->filter.peer = q->filter.peer;
    q->search->filter.id = q->filter.id != NULL ? strdup(q->filter.id) : NULL;
    json_array_clear(q->rows);
    q->more = false;
    ledger_cover_free(&q->cover);
    q->cover = ledger_cover_new();
    if (control_start_job(c, &q->rq, &search_type, q) == NULL)
        query_free(q);
}

/* ---- memory, a slice at a time ---- */

/* Only the oldest are ever dropped: when the place to go on is older than all, the end is reached. */
static const struct receipt *go_on(const struct receipts_query *q, const struct ledger_table *t)
{
    const struct receipt *oldest = ledger_table_oldest(t);
    if (!q->started)
        return ledger_table_newest(t);
    if (q->at == NULL || oldest == NULL || ledger_place_cmp(&q->at_place, &oldest->place) < 0)
        return NULL;
    return q->at;
}

/* True when all of memory that matters has been looked at. */
static bool look_in_memory(struct receipts_query *q, const struct ledger_table *t)
{
    const struct receipt *r = go_on(q, t);
    size_t rows_max = json_array_size(q->rows) + SLICE_ROWS;
    unsigned n = 0;
    q->started = true;
    while (r != NULL && n++ < SLICE_RECEIPTS && json_array_size(q->rows) < rows_max) {
        if (!add_row(q, r))
            return true;
        r = ledger_table_older(t, r);
    }
    q->at = r;
    if (r != NULL)
        q->at_place = r->place;
    return r == NULL;
}

static void query_end(struct receipts_query *q)
{
    uint64_t since_us = ledger_memory_since_us(q->control->ledger);
    if (q->more || q->filter.accepted_after_us >= since_us) {
        answer(q, 0);
        query_free(q);
    } else {
        search_store(q);
    }
}

bool commands_receipts_work(struct control *c)
{
    const struct ledger_table *t = ledger_memory(c->ledger);
    for (struct receipts_query **at = &c->queries; *at != NULL;) {
        struct receipts_query *q = *at;
        if (!look_in_memory(q, t)) {
            at = &q->next;
            continue;
        }
        *at = q->next;
        query_end(q);
    }
    return c->queries != NULL;
}

void commands_receipts_close(struct control *c)
{
    while (c->queries != NULL) {
        struct receipts_query *q = c->queries;
        c->queries = q->next;
        rpc_fail(&q->rq, RPC_BUSY, NULL, "the broker is stopping");
        query_free(q);
    }
}

static void receipts_list(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    struct ledger_filter filter;
    if (!read_filter(c, &rq, &filter))
        return;
    struct receipts_query *q = calloc(1, sizeof(*q));
    check(q != NULL);
    *q = (struct receipts_query){.control = c, .rq = rq, .filter = filter, .rows = json_array(),
                                 .cover = ledger_cover_new(), .next = c->queries};
    q->limit = (unsigned)rpc_number(rq, "limit", SCHEMA_PAGE_ROWS_MAX);
    c->queries = q;
}

static void receipts_follow(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    struct ledger_filter filter;
    struct ledger_place from;
    const char *since = rpc_string(rq, "since");
    if (since != NULL && !ledger_place_parse(since, &from)) {
        rpc_fail(&rq, RPC_PARAMS, "use `cursor` of an event, or 0", "since is not a cursor");
        return;
    }
    if (since != NULL && from.segment > gw_store_state(c->env->store).segment_next) {
        rpc_fail(&rq, RPC_PARAMS, "is it of another store? 0 starts at the oldest event",
                 "the cursor %s lies ahead of the ledger", since);
        return;
    }
    if (read_filter(c, &rq, &filter))
        ledger_follow(c->ledger, &rq, &filter, since != NULL ? &from : NULL);
}

void commands_receipts_register(struct control *c)
{
    rpc_register(c->rpc, "receipts.list", receipts_list, c);
    rpc_register(c->rpc, "receipts.follow", receipts_follow, c);
}
