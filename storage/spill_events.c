/* SPDX-License-Identifier: Apache-2.0 */
#include "spill_events.h"

#include <stdlib.h>

#include "store_int.h"

#define VALUE_BYTES_MAX (sizeof(uint64_t) + GW_SEGMENT_BYTES_MAX)

void spill_events_open(struct spill_events *e)
{
    e->buf = malloc(VALUE_BYTES_MAX);
    check(e->buf != NULL);
}

void spill_events_close(struct spill_events *e)
{
    free(e->v);
    free(e->buf);
    *e = (struct spill_events){0};
}

void spill_events_clear(struct spill_events *e)
{
    e->count = 0;
    e->bytes = 0;
    e->filed = false;
}

/* At most as many as heads fit into one spill. */
static void grow(struct spill_events *e)
{
    e->cap = e->cap == 0 ? 1024 : e->cap * 2;
    e->v = realloc(e->v, e->cap * sizeof(*e->v));
    check(e->v != NULL);
}

void spill_events_add(struct spill_events *e, const struct window_segment *seg,
                      const struct gw_record_head *r, uint64_t off)
{
    if (e->count == e->cap)
        grow(e);
    const struct spill_event *before = e->count > 0 ? &e->v[e->count - 1] : NULL;
    bool first = before == NULL || before->segment != seg->number;
    e->v[e->count++] = (struct spill_event){.segment = seg->number, .durable_us = seg->durable_us,
                                            .off = off, .index = first ? 0 : before->index + 1};
    e->bytes += r->len;
}

bool spill_events_are_many(const struct gw_store *s)
{
    return s->spill.events.bytes >= s->cfg.spill_events_min;
}

/* A value holds when its segment became durable, before the record. In the buffer, until the next. */
static struct gw_pair pair_of(struct gw_store *s, const struct spill_event *v,
                              uint8_t key[EVENTS_KEY_BYTES])
{
    struct spill_events *e = &s->spill.events;
    const struct gw_record_head *r = window_at(&s->window, v->off);
    check(r->kind == GW_RECORD_EVENTS && sizeof(v->durable_us) + r->len <= VALUE_BYTES_MAX);
    events_key(key, v->segment, v->index);
    memcpy(e->buf, &v->durable_us, sizeof(v->durable_us));
    memcpy(e->buf + sizeof(v->durable_us), r, r->len);
    return (struct gw_pair){gw_bytes(key, EVENTS_KEY_BYTES),
                            gw_bytes(e->buf, sizeof(v->durable_us) + r->len)};
}

/* They lie in the order of their keys. */
struct source {
    struct gw_pair_source source;
    struct gw_store *s;
    size_t at;
    uint8_t key[EVENTS_KEY_BYTES];
};

static int source_next(struct gw_pair_source *from, struct gw_pair *out)
{
    struct source *x = (struct source *)from;
    const struct spill_events *e = &x->s->spill.events;
    if (x->at == e->count)
        return 0;
    *out = pair_of(x->s, &e->v[x->at++], x->key);
    return 1;
}

int spill_events_write_file(struct gw_store *s)
{
    struct source x = {.source = {.next = source_next}, .s = s};
    return s->ops->ingest(s->engine, GW_SPACE_EVENTS, &x.source);
}

void spill_events_put(struct gw_store *s, struct gw_batch *b)
{
    const struct spill_events *e = &s->spill.events;
    for (size_t i = 0; i < e->count; i++) {
        uint8_t key[EVENTS_KEY_BYTES];
        struct gw_pair pair = pair_of(s, &e->v[i], key);
        s->ops->put(b, GW_SPACE_EVENTS, pair.key, pair.value);
    }
}

void spill_events_forget_trimmed(struct gw_store *s, struct gw_batch *b, uint64_t end)
{
    const struct spill_events *e = &s->spill.events;
    uint8_t first[EVENTS_KEY_BYTES], below[EVENTS_KEY_BYTES];
    if (e->count == 0 || e->v[0].segment >= s->state.events_trim)
        return;
    events_key(first, e->v[0].segment, 0);
    events_key(below, end < s->state.events_trim ? end : s->state.events_trim, 0);
    s->ops->del_range(b, GW_SPACE_EVENTS, gw_bytes(first, sizeof(first)),
                      gw_bytes(below, sizeof(below)));
}
