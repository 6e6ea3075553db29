/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger.h"

#include <stdlib.h>

#include "../dataplane/base/check.h"
#include "clock.h"
#include "ledger_cursor.h"

/* Events before a look at the clock, and the time for them in one iteration of the loop. */
#define STEP_EVENTS     64
#define SLICE_US        400
#define CATCH_UP_EVENTS 16 /* of each follower that is behind, in one iteration */
/* A follower that reads old events needs the messages that they are about. */
#define FOLLOWER_RECEIPTS_MAX 20000
#define FOLLOWER_BYTES_MAX    (16u << 20)
#define RETRY_US              1000000
/* Between two looks for what is new while nobody follows: a commit comes every few hundred us, and to be
 * woken, to ask the store and to be woken by its answer costs more than what one commit brings. */
#define PAUSE_US 10000

const struct ledger_config ledger_config_default = {
    .receipts_max = 200000, .bytes_max = 64u << 20, .lookback_segments = 200000,
    .cursor_every_us = 10000000};

/* Live: fed with what the ledger reads. Else it reads by itself until it has caught up. */
struct follower {
    struct rpc_stream stream;
    struct ledger *ledger;
    struct ledger_filter filter;
    bool live;
    bool ahead; /* it came to an event that the ledger has not read yet */
    struct ledger_reader reader; /* its `next` is kept when live, too */
    uint64_t gaps_told, damaged_told;
    struct ledger_table *table;
    struct follower *next;
};

struct ledger {
    struct store_ops *ops;
    const struct gw_keyring *keys;
    struct gw_sealer *sealer;
    struct ledger_reader reader;
    struct ledger_table *table;
    struct ledger_event taken[STEP_EVENTS]; /* read, and not applied yet: within a step only */
    struct ledger_key keys_of[STEP_EVENTS];
    unsigned taken_count;
    struct follower *followers;
    struct ledger_counters counters;
    struct ledger_cursor cursor;
    uint64_t cursor_every_us, cursor_at_us; /* the next time that it is kept */
    uint64_t start_segment, start_end;      /* read at start */
    uint64_t retry_us; /* after a failed read: not before */
    uint64_t look_us;  /* for what is new: not before, while nobody follows */
    uint64_t damaged_told, gaps_told;
    bool at_end, caught_up;
};

/* ---- reading ---- */

struct ledger *ledger_new(const struct ledger_config *cfg, struct store_ops *ops,
                          const struct gw_keyring *keys, struct gw_sealer *sealer,
                          uint64_t segment_next, uint64_t cursor)
{
    struct ledger *l = calloc(1, sizeof(*l));
    check(l != NULL);
    uint64_t back = cfg->lookback_segments;
    *l = (struct ledger){.ops = ops, .keys = keys, .sealer = sealer, .start_end = segment_next,
                         .cursor_every_us = cfg->cursor_every_us};
    if (cursor != 0 && cursor <= segment_next)
        l->start_segment = cursor;
    else
        l->start_segment = segment_next > back ? segment_next - back : 0;
    ledger_cursor_init(&l->cursor, ops, keys, sealer);
    l->cursor.saved = cursor;
    l->table = ledger_table_new(cfg->receipts_max, cfg->bytes_max);
    ledger_reader_init(&l->reader, ops, keys, sealer,
                       (struct ledger_place){.segment = l->start_segment});
    gw_store_follow(ops->client);
    return l;
}

static void tell_follower(struct follower *f, const char *why, const struct ledger_place *from)
{
    rpc_stream_send(&f->stream, "receipts.event", ledger_gap_json(why, from, &f->reader.next));
}

/* Who is not live meets it in its own reading. */
static void tell_live(struct ledger *l, const char *why, const struct ledger_place *from)
{
    for (struct follower *f = l->followers; f != NULL; f = f->next)
        if (f->live && rpc_stream_ready(&f->stream))
            tell_follower(f, why, from);
}

static void tell_gaps(struct ledger *l)
{
    if (l->reader.gaps == l->gaps_told)
        return;
    /* A start may look back to before the oldest event: nobody knew that. */
    if (l->caught_up) {
        GW_COUNT_ADD(l->counters.gaps, l->reader.gaps - l->gaps_told);
        tell_live(l, "trimmed", &l->reader.gap_from);
    }
    l->gaps_told = l->reader.gaps;
}

static void tell_damaged(struct ledger *l)
{
    if (l->reader.damaged == l->damaged_told)
        return;
    tell_live(l, "damaged", &(struct ledger_place){.segment = l->reader.damaged_segment});
    GW_COUNT_ADD(l->counters.damaged, l->reader.damaged - l->damaged_told);
    l->damaged_told = l->reader.damaged;
    fprintf(stderr,
            "ledger: the events of segment %llu cannot be read and are left out (%llu so far)\n",
            (unsigned long long)l->reader.damaged_segment, (unsigned long long)l->damaged_told);
}

static bool is_wanted(const struct follower *f, const struct ledger_event *e,
                      const struct receipt *r)
{
    if (r != NULL)
        return ledger_filter_names(&f->filter, receipt_from(r), receipt_to(r), receipt_id(r));
    if (gw_event_ends(e->event.kind))
        return f->filter.account.len == 0 && f->filter.peer.len == 0 && f->filter.id == NULL;
    return ledger_filter_names(&f->filter, e->event.from, e->event.to, e->event.id);
}

static void send_event(struct follower *f, const struct ledger_event *e, const struct receipt *r)
{
    if (is_wanted(f, e, r) && (r == NULL || receipt_is_news(r, &e->event)))
        rpc_stream_send(&f->stream, "receipts.event", ledger_event_json(e, r));
}

static void feed_live(struct follower *f, const struct ledger_event *e, const struct receipt *r)
{
    if (!f->live || ledger_place_cmp(&e->place, &f->reader.next) < 0)
        return;
    if (!rpc_stream_ready(&f->stream)) {
        /* It reads too slowly to be fed: it goes on by itself, from this event, when it can. */
        f->live = false;
        f->gaps_told = f->damaged_told = 0;
        ledger_reader_init(&f->reader, f->ledger->ops, f->ledger->keys, f->ledger->sealer, e->place);
        return;
    }
    if (r == NULL && f->table != NULL)
        r = ledger_table_apply(f->table, &e->event, e->place, e->durable_us);
    send_event(f, e, r);
    f->reader.next = (struct ledger_place){e->place.segment, e->place.ordinal + 1};
}

static void apply_event(struct ledger *l, const struct ledger_event *e, const struct ledger_key *key)
{
    const struct receipt *r = ledger_table_join(l->table, &e->event, key, e->place, e->durable_us);
    GW_COUNT(l->counters.events);
    if (r == NULL)
        GW_COUNT(l->counters.unmatched);
    for (struct follower *f = l->followers; f != NULL; f = f->next)
        feed_live(f, e, r);
}

static bool take_event(void *ctx, const struct ledger_event *e)
{
    struct ledger *l = ctx;
    check(l->taken_count < STEP_EVENTS);
    l->taken[l->taken_count] = *e;
    ledger_table_expect(l->table, &e->event, &l->keys_of[l->taken_count]);
    l->taken_count++;
    return true;
}

static void apply_taken(struct ledger *l)
{
    for (unsigned i = 0; i < l->taken_count; i++)
        ledger_table_fetch(l->table, &l->keys_of[i]);
    for (unsigned i = 0; i < l->taken_count; i++)
        apply_event(l, &l->taken[i], &l->keys_of[i]);
    l->taken_count = 0;
}

static enum ledger_read read_slice(struct ledger *l)
{
    uint64_t until_us = clock_steady_us() + SLICE_US;
    enum ledger_read rc;
    do {
        rc = ledger_reader_step(&l->reader, STEP_EVENTS, take_event, l);
        apply_taken(l);
    } while (rc == LEDGER_READ_MORE && clock_steady_us() < until_us);
    return rc;
}

int ledger_wait_ms(const struct ledger *l)
{
    if (!l->at_end || !l->ops->noted)
        return -1;
    uint64_t now_us = clock_steady_us();
    return l->followers == NULL && now_us < l->look_us ? (int)((l->look_us - now_us) / 1000 + 1) : 0;
}

static bool read_new(struct ledger *l)
{
    if (l->at_end && (!l->ops->noted || ledger_wait_ms(l) > 0))
        return false;
    if (l->retry_us != 0 && clock_steady_us() < l->retry_us)
        return false;
    /* A note that comes while a scan is under way stays: that scan may have been too early for it. */
    if (l->at_end) {
        l->ops->noted = false;
        l->look_us = clock_steady_us() + PAUSE_US;
    }
    l->at_end = false;
    l->retry_us = 0;
    enum ledger_read rc = read_slice(l);
    l->counters.dropped = ledger_table_dropped(l->table);
    tell_gaps(l);
    tell_damaged(l);
    if (rc == LEDGER_READ_FAILED) {
        GW_COUNT(l->counters.read_errors);
        l->retry_us = clock_steady_us() + RETRY_US;
    }
    l->at_end = rc == LEDGER_READ_END;
    l->caught_up |= l->at_end;
    return rc == LEDGER_READ_MORE;
}

/* ---- following ---- */

static bool take_old_event(void *ctx, const struct ledger_event *e)
{
    struct follower *f = ctx;
    struct ledger_table *memory = f->ledger->table;
    f->ahead = ledger_place_cmp(&e->place, &f->ledger->reader.next) >= 0;
    if (f->ahead || !rpc_stream_ready(&f->stream))
        return false;
    const struct receipt *own = ledger_table_apply(f->table, &e->event, e->place, e->durable_us);
    const struct receipt *known = own != NULL
                                      ? ledger_table_find(memory, &own->mailbox, own->position)
                                      : ledger_table_look(memory, &e->event, &e->place);
    send_event(f, e, known != NULL ? known : own);
    return true;
}

static void tell_of_reading(struct follower *f)
{
    struct ledger_place damaged = {.segment = f->reader.damaged_segment};
    if (f->reader.gaps != f->gaps_told)
        tell_follower(f, "trimmed", &f->reader.gap_from);
    if (f->reader.damaged != f->damaged_told)
        tell_follower(f, "damaged", &damaged);
    f->gaps_told = f->reader.gaps;
    f->damaged_told = f->reader.damaged;
}

/* What memory holds of a message says whether an event is news: so it is not read past what memory has. */
static bool catch_up(struct follower *f)
{
    struct ledger *l = f->ledger;
    if (f->live || !l->caught_up || !rpc_stream_ready(&f->stream))
        return false;
    if (f->table == NULL)
        f->table = ledger_table_new(FOLLOWER_RECEIPTS_MAX, FOLLOWER_BYTES_MAX);
    f->ahead = false;
    enum ledger_read rc = ledger_reader_step(&f->reader, CATCH_UP_EVENTS, take_old_event, f);
    tell_of_reading(f);
    /* Never live while a scan is under way: its buffer would be the store's still. */
    if (rc == LEDGER_READ_END && ledger_place_cmp(&f->reader.next, &l->reader.next) >= 0) {
        ledger_reader_free(&f->reader);
        f->live = true;
    }
    return (rc == LEDGER_READ_MORE && !f->ahead) || (rc == LEDGER_READ_END && !f->live);
}

static bool follower_has_ended(const struct follower *f)
{
    return rpc_stream_gone(&f->stream) && !f->reader.op.pending;
}

static void follower_free(struct follower *f)
{
    rpc_stream_close(&f->stream);
    ledger_reader_free(&f->reader);
    ledger_table_free(&f->table);
    ledger_filter_free(&f->filter);
    free(f);
}

static bool work_followers(struct ledger *l)
{
    bool more = false;
    for (struct follower **at = &l->followers; *at != NULL;) {
        struct follower *f = *at;
        more |= catch_up(f);
        if (follower_has_ended(f)) {
            *at = f->next;
            follower_free(f);
        } else {
            at = &f->next;
        }
    }
    return more;
}

/* Until something is dropped, all that was read at start is still there. */
static void keep_cursor(struct ledger *l)
{
    const struct receipt *oldest = ledger_table_oldest(l->table);
    l->counters.cursor_errors = l->cursor.errors;
    if (ledger_table_dropped(l->table) == 0 || oldest == NULL ||
        oldest->place.segment == l->cursor.saved)
        return;
    uint64_t now_us = clock_steady_us();
    if (now_us < l->cursor_at_us)
        return;
    l->cursor_at_us = now_us + l->cursor_every_us;
    ledger_cursor_save(&l->cursor, oldest->place.segment);
}

bool ledger_work(struct ledger *l)
{
    bool more = read_new(l);
    keep_cursor(l);
    return work_followers(l) || more;
}

void ledger_follow(struct ledger *l, struct rpc_request **rq, struct ledger_filter *filter,
                   const struct ledger_place *from)
{
    char cursor[LEDGER_PLACE_TEXT_BYTES];
    struct follower *f = calloc(1, sizeof(*f));
    check(f != NULL);
    f->ledger = l;
    f->filter = *filter;
    ledger_reader_init(&f->reader, l->ops, l->keys, l->sealer, from != NULL ? *from : l->reader.next);
    if (!rpc_stream_open(&f->stream, rq)) {
        ledger_filter_free(&f->filter);
        free(f);
        return;
    }
    f->live = from == NULL;
    f->next = l->followers;
    l->followers = f;
    GW_COUNT(l->counters.streams);
    ledger_place_format(&f->reader.next, cursor);
    rpc_reply(rq, json_pack("{s:I, s:s}", "stream", (json_int_t)f->stream.id, "cursor", cursor));
}

/* ---- the rest ---- */

void ledger_free(struct ledger **lp)
{
    struct ledger *l = *lp;
    if (l == NULL)
        return;
    while (l->followers != NULL) {
        struct follower *f = l->followers;
        l->followers = f->next;
        follower_free(f);
    }
    check(!l->cursor.busy);
    ledger_reader_free(&l->reader);
    ledger_table_free(&l->table);
    free(l);
    *lp = NULL;
}

const struct ledger_table *ledger_memory(const struct ledger *l)
{
    return l->table;
}

uint64_t ledger_memory_since_us(const struct ledger *l)
{
    if (!l->caught_up)
        return UINT64_MAX;
    uint64_t dropped_us = ledger_table_dropped_until_us(l->table);
    if (dropped_us != 0)
        return dropped_us + 1;
    return l->start_segment > 0 ? l->reader.first_us : 0;
}

unsigned ledger_start_percent(const struct ledger *l)
{
    uint64_t at = l->reader.next.segment, first = l->start_segment, end = l->start_end;
    if (l->caught_up || end <= first)
        return 100;
    at = at < first ? first : at > end ? end : at;
    return (unsigned)(99 * (at - first) / (end - first));
}

struct ledger_place ledger_place_now(const struct ledger *l)
{
    return l->reader.next;
}

static const struct gw_counter_desc counter_descs[] = {LEDGER_COUNTERS(GW_COUNTER_DESC)};

struct gw_counter_set ledger_counters(const struct ledger *l)
{
    return (struct gw_counter_set){.prefix = "ledger",
                                   .descs = counter_descs,
                                   .values = (const uint64_t *)&l->counters,
                                   .count = sizeof(counter_descs) / sizeof(counter_descs[0])};
}

unsigned ledger_follower_count(const struct ledger *l)
{
    unsigned n = 0;
    for (const struct follower *f = l->followers; f != NULL; f = f->next)
        n++;
    return n;
}
