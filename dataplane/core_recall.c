/* SPDX-License-Identifier: Apache-2.0 */
/* After a start the homes remember again what was stored lately: from the ledger's events, the newest
 * segments first, until they are older than the window or all tables would be full. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../storage/mutant.h"
#include "base/check.h"
#include "core_int.h"
#include "xmpp/counts.h"

#define RECALL_BYTES      (2u * GW_SEGMENT_BYTES_MAX) /* a segment's events are never more */
#define RECALL_STEP_FIRST 256u /* segments; then twice as many, while they hold little */
#define RECALL_STEP_SMALL 4096u

struct recalled {
    uint64_t segment, order; /* among those read */
    struct gw_fingerprint fingerprint;
    uint64_t time_us;
    unsigned home;
};

/* A count of a session, or the newest of one. */
struct recalled_count {
    struct gw_counted c;
    uint64_t segment, order;
};

struct recall {
    struct gw_cores *cores;
    struct gw_store_client *client;
    struct gw_sealer *sealer;
    const struct gw_keyring *keys;
    uint8_t *buf;
    struct recalled *all;
    size_t count, cap, wanted;
    uint64_t since_us;
    bool old; /* what was read reaches back behind the window */
    struct recalled_count *counts;
    size_t counts_len, counts_cap;
    bool any_event;                /* something was read, */
    uint64_t floor, floor_segment; /* and the newest floor stands there; 0: none */
};

static const struct gw_lcore *any_lcore(const struct recall *r)
{
    return &gw_cores_at(r->cores, 0)->l;
}

static void remember(struct recall *r, const struct gw_event *e, uint64_t segment)
{
    if (r->count == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 4096;
        r->all = realloc(r->all, r->cap * sizeof(*r->all));
        check(r->all != NULL);
    }
    r->all[r->count] = (struct recalled){.segment = segment,
                                         .order = r->count,
                                         .fingerprint = e->fingerprint,
                                         .time_us = e->time_us,
                                         .home = gw_home_of(any_lcore(r), e->to)};
    r->count++;
}

static void remember_count(struct recall *r, const struct gw_event *e, uint64_t segment)
{
    if (r->counts_len == r->counts_cap) {
        r->counts_cap = r->counts_cap ? 2 * r->counts_cap : 4096;
        r->counts = realloc(r->counts, r->counts_cap * sizeof(*r->counts));
        check(r->counts != NULL);
    }
    struct recalled_count *c = &r->counts[r->counts_len];
    *c = (struct recalled_count){.c.h = (uint32_t)e->position, .segment = segment,
                                 .order = r->counts_len};
    memcpy(c->c.name.b, e->mailbox.b, sizeof(c->c.name.b));
    r->counts_len++;
}

static void take_event(struct recall *r, const struct gw_event *e, uint64_t segment)
{
    r->any_event = true;
    if (e->kind == GW_EVENT_STORED && gw_fingerprint_is_set(&e->fingerprint) &&
        e->time_us >= r->since_us) {
        remember(r, e, segment);
    } else if (e->kind == GW_EVENT_COUNTED) {
        remember_count(r, e, segment);
    } else if (e->kind == GW_EVENT_FLOOR && segment >= r->floor_segment) {
        r->floor = e->position;
        r->floor_segment = segment;
    }
}

/* One that does not open is the ledger's to report: what it names may come twice. */
static void read_record(struct recall *r, struct gw_record_head *h, uint64_t segment)
{
    uint8_t aad[GW_RECORD_AAD_BYTES];
    struct gw_event e;
    gw_record_aad(aad, NULL, h->position, GW_RECORD_EVENTS, false);
    struct gw_seal_op op = gw_record_op(h, gw_keyring_key(r->keys, h->incarnation), aad);
    if (op.key == NULL || gw_open_burst(r->sealer, &op, 1) != 0)
        return;
    struct gw_event_reader events = gw_event_reader(op.out, op.len);
    while (gw_event_unpack(&events, &e) == 1)
        take_event(r, &e, segment);
}

/* Segments from `first` up to, not including, `end`. */
static int read_segments(struct recall *r, uint64_t first, uint64_t end)
{
    struct gw_store_completion done = {.more = true, .next = first};
    while (done.more && done.next < end) {
        struct gw_store_request rq = {.op = GW_STORE_SCAN_EVENTS, .from = done.next,
                                      .data = r->buf, .data_len = RECALL_BYTES};
        int rc = gw_store_call(r->client, &rq, &done);
        if (rc != 0)
            return rc;
        for (uint32_t off = 0; off < done.len;) {
            struct gw_events_entry *e = (void *)(r->buf + off);
            off += (uint32_t)gw_record_padded(e->len);
            if (e->segment >= end)
                return 0;
            r->old = r->old || e->durable_us < r->since_us;
            read_record(r, (struct gw_record_head *)(e + 1), e->segment);
        }
    }
    return 0;
}

/* By name, the newest first. */
static int by_name(const void *a, const void *b)
{
    const struct recalled_count *x = a, *y = b;
    int order = gw_counted_order(&x->c, &y->c);
    if (order != 0)
        return order;
    if (x->segment != y->segment)
        return x->segment > y->segment ? -1 : 1;
    return x->order > y->order ? -1 : x->order < y->order;
}

static int keep_counts(struct recall *r)
{
    struct gw_counts *all = any_lcore(r)->counts;
    if (r->counts_len > 0)
        qsort(r->counts, r->counts_len, sizeof(*r->counts), by_name);
    if (GW_IS_MUTANT(forget_counts))
        r->counts_len = 0;
    all->found_floor = r->floor_segment != 0 ? r->floor : UINT64_MAX;
    all->found = calloc(r->counts_len > 0 ? r->counts_len : 1, sizeof(*all->found));
    if (all->found == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < r->counts_len; i++)
        if (i == 0 || gw_counted_order(&r->counts[i].c, &r->counts[i - 1].c) != 0)
            all->found[all->found_count++] = r->counts[i].c;
    return 0;
}

static int by_age(const void *a, const void *b)
{
    const struct recalled *x = a, *y = b;
    if (x->segment != y->segment)
        return x->segment < y->segment ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void fill_tables(struct recall *r)
{
    if (r->count > 0)
        qsort(r->all, r->count, sizeof(*r->all), by_age);
    for (size_t i = 0; r->wanted > 0 && i < r->count; i++) {
        struct gw_lcore *l = &gw_cores_at(r->cores, r->all[i].home)->l;
        gw_repeats_add(&l->home->repeats, &r->all[i].fingerprint, 0, r->all[i].time_us);
    }
}

/* Stored messages back to the window's beginning, as many as are remembered; counts back to the floor
 * that the newest segment names. A store from before there were any has no floors. */
static bool is_more_wanted(const struct recall *r, uint64_t end)
{
    bool counts = r->floor_segment != 0 ? end > r->floor : !r->any_event;
    return counts || (!r->old && r->count < r->wanted);
}

static int read_backwards(struct recall *r, uint64_t end)
{
    uint64_t step = RECALL_STEP_FIRST;
    int rc = 0;
    while (rc == 0 && end > 0 && is_more_wanted(r, end)) {
        size_t before = r->count;
        uint64_t first = end > step ? end - step : 0;
        rc = read_segments(r, first, end);
        end = first;
        if (r->count - before < RECALL_STEP_SMALL)
            step *= 2;
    }
    return rc;
}

int gw_cores_recall(struct gw_cores *cores, struct gw_store_client *client,
                    struct gw_sealer *sealer, uint64_t segment_next, uint64_t wall_us)
{
    struct recall r = {.cores = cores, .client = client, .sealer = sealer};
    const struct gw_lcore *l = any_lcore(&r);
    r.keys = l->keys;
    r.wanted = (size_t)l->count * l->cfg->repeats_limit;
    r.since_us = wall_us > l->cfg->repeat_window_us ? wall_us - l->cfg->repeat_window_us : 0;
    if (GW_IS_MUTANT(forget_repeats))
        r.wanted = 0;
    r.buf = malloc(RECALL_BYTES);
    if (r.buf == NULL)
        return -ENOMEM;
    int rc = read_backwards(&r, segment_next);
    fill_tables(&r);
    if (rc == 0)
        rc = keep_counts(&r);
    free(r.counts);
    free(r.buf);
    free(r.all);
    return rc;
}
