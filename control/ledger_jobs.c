/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_jobs.h"

#include <errno.h>
#include <stdlib.h>

#include "../dataplane/base/check.h"

#define SEARCH_RECEIPTS_MAX 200000
#define SEARCH_BYTES_MAX    (64u << 20)
#define SEARCH_STEP_EVENTS  2000

/* ---- searching ---- */

struct ledger_search *ledger_search_new(struct store_ops *ops, const struct gw_keyring *keys,
                                        struct gw_sealer *sealer)
{
    struct ledger_search *s = calloc(1, sizeof(*s));
    check(s != NULL);
    s->table = ledger_table_new(SEARCH_RECEIPTS_MAX, SEARCH_BYTES_MAX);
    ledger_reader_init(&s->reader, ops, keys, sealer, (struct ledger_place){0});
    return s;
}

void ledger_search_free(struct ledger_search **sp)
{
    struct ledger_search *s = *sp;
    if (s == NULL)
        return;
    ledger_reader_free(&s->reader);
    ledger_table_free(&s->table);
    ledger_filter_free(&s->filter);
    free(s);
    *sp = NULL;
}

static bool take(void *ctx, const struct ledger_event *e)
{
    struct ledger_search *s = ctx;
    if (e->event.kind != GW_EVENT_STORED ||
        ledger_filter_names(&s->filter, e->event.from, e->event.to, e->event.id))
        ledger_table_apply(s->table, &e->event, e->place, e->durable_us);
    return true;
}

enum job_step ledger_search_step(struct job *job, struct ledger_search *s)
{
    if (job_is_cancelled(job) && !s->reader.op.pending) {
        s->rc = -ECANCELED;
        return JOB_DONE;
    }
    switch (ledger_reader_step(&s->reader, SEARCH_STEP_EVENTS, take, s)) {
    case LEDGER_READ_MORE:
        return JOB_MORE;
    case LEDGER_READ_WAIT:
        return JOB_WAIT;
    case LEDGER_READ_END:
        return JOB_DONE;
    case LEDGER_READ_FAILED:
        break;
    }
    s->rc = s->reader.rc;
    return JOB_DONE;
}

/* ---- retention ---- */

struct first_events {
    bool any;
    uint64_t segment, durable_us;
};

/* The first events at or behind a segment. */
static int find_first(struct store_ops *ops, uint64_t from, uint8_t **buf, uint32_t *cap,
                      struct first_events *out)
{
    struct store_op op = {.rq = {.op = GW_STORE_SCAN_EVENTS, .from = from, .data = *buf,
                                 .data_len = *cap}};
    int rc = store_ops_call(ops, &op);
    if (rc == -EMSGSIZE && op.done.len > *cap) {
        *cap = op.done.len;
        *buf = realloc(*buf, *cap);
        check(*buf != NULL);
        return find_first(ops, from, buf, cap, out);
    }
    *out = (struct first_events){.any = rc == 0 && op.done.len > 0};
    if (out->any) {
        const struct gw_events_entry *e = (const void *)*buf;
        out->segment = e->segment;
        out->durable_us = e->durable_us;
    }
    return rc;
}

/* Times rise with segment numbers: halve until the first segment that is young enough is found. */
static int find_cut(struct store_ops *ops, uint64_t high, uint64_t older_than_us, uint64_t *cut)
{
    uint32_t cap = 4096;
    uint8_t *buf = malloc(cap);
    uint64_t low = 0;
    int rc = 0;
    check(buf != NULL);
    while (low < high && rc == 0) {
        uint64_t middle = low + (high - low) / 2;
        struct first_events first;
        rc = find_first(ops, middle, &buf, &cap, &first);
        if (!first.any || first.durable_us >= older_than_us)
            high = middle;
        else
            low = first.segment + 1;
    }
    free(buf);
    *cut = low;
    return rc;
}

int ledger_trim(struct store_ops *ops, uint64_t segment_next, uint64_t older_than_us,
                uint64_t *trimmed_below)
{
    int rc = find_cut(ops, segment_next, older_than_us, trimmed_below);
    if (rc != 0 || *trimmed_below == 0)
        return rc;
    struct store_op op = {.rq = {.op = GW_STORE_TRIM_EVENTS, .from = *trimmed_below}};
    return store_ops_call(ops, &op);
}
