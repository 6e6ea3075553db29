/* SPDX-License-Identifier: Apache-2.0 */
#include "watch.h"

#include <inttypes.h>

#include "mix.h"
#include "trace.h"

enum { EVENTS_MAX = 64 };

static uint64_t digest_bytes(uint64_t digest, struct gw_bytes b)
{
    for (size_t i = 0; i < b.len; i++)
        digest = mix(digest, b.p[i]);
    return mix(digest, b.len);
}

/* Without mailboxes' names and stanza-ids, which hang on keys that nobody seeds. */
static uint64_t digest_event(uint64_t digest, const struct ledger_event *e)
{
    digest = mix(mix(digest, e->event.kind), e->event.position);
    digest = mix(mix(digest, e->place.segment), e->place.ordinal);
    digest = digest_bytes(digest, e->event.from);
    digest = digest_bytes(digest, e->event.to);
    return digest_bytes(digest, e->event.id);
}

static bool take(void *ctx, const struct ledger_event *e)
{
    struct watch *w = ctx;
    w->digest = digest_event(w->digest, e);
    w->events++;
    trace(world_now_us(w->world), "ledger: %s %.*s at %" PRIu64 ", segment %" PRIu64,
          gw_event_name(e->event.kind), (int)e->event.id.len, (const char *)e->event.id.p,
          e->event.position, e->place.segment);
    promises_event(w->promises, &e->event, e->durable_us);
    return true;
}

void watch_init(struct watch *w, struct world *world, struct promises *p)
{
    *w = (struct watch){.promises = p, .world = world};
}

void watch_attach(struct watch *w, struct broker *b)
{
    struct gw_store_client *client =
        gw_store_client(b->store, b->cfg.lcores + BROKER_LEDGER_CLIENT);
    store_ops_init(&w->ops, client);
    gw_store_follow(client);
    w->at_end = false;
    ledger_reader_init(&w->reader, &w->ops, b->keys, b->sealer, w->next);
    w->runs = true;
}

/* What is under way ends with the process. */
void watch_detach(struct watch *w)
{
    if (!w->runs)
        return;
    w->next = w->reader.next;
    w->reader.op.pending = false;
    ledger_reader_free(&w->reader);
    w->runs = false;
}

unsigned watch_pass(struct watch *w)
{
    if (!w->runs)
        return 0;
    unsigned n = store_ops_poll(&w->ops);
    if (w->at_end && !w->ops.noted)
        return n;
    uint64_t before = w->events;
    enum ledger_read how = ledger_reader_step(&w->reader, EVENTS_MAX, take, w);
    w->at_end = false;
    if (how == LEDGER_READ_END) { /* of what was there when the scan began */
        w->at_end = !w->ops.noted;
        w->ops.noted = false;
    }
    return n + (how == LEDGER_READ_MORE) + (unsigned)(w->events - before);
}

/* ---- once more ---- */

static bool take_again(void *ctx, const struct ledger_event *e)
{
    uint64_t *digest = ctx;
    *digest = digest_event(*digest, e);
    return true;
}

bool watch_reads_the_same(struct watch *w, struct broker *b)
{
    struct store_ops ops;
    struct ledger_reader r;
    uint64_t digest = 0;
    store_ops_init(&ops, gw_store_client(b->store, b->cfg.lcores + BROKER_OWN_CLIENT));
    ledger_reader_init(&r, &ops, b->keys, b->sealer, (struct ledger_place){0});
    enum ledger_read how;
    do {
        gw_store_storage_poll(b->store);
        store_ops_poll(&ops);
        how = ledger_reader_step(&r, EVENTS_MAX, take_again, &digest);
    } while (how == LEDGER_READ_MORE || how == LEDGER_READ_WAIT);
    bool same = how == LEDGER_READ_END && r.damaged == 0 && digest == w->digest;
    ledger_reader_free(&r);
    return same;
}
