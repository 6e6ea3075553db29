/* SPDX-License-Identifier: Apache-2.0 */
#include "removals.h"

#include <stdlib.h>

#include "store_int.h"

/* A range of more positions is one tombstone, so that a reader who comes by later need not step over
 * each. */
#define DELETE_EACH_MAX 4u

static unsigned slot_count(const struct removal_set *x)
{
    return 2 * x->cap;
}

/* A mailbox id is a part of a SHA-256 of a secret: uniform, and nobody's to choose. */
static uint32_t slot_of(const struct removal_set *x, const struct gw_mailbox_id *id)
{
    uint32_t h;
    memcpy(&h, id->b, sizeof(h));
    return h & (slot_count(x) - 1);
}

static uint32_t slot_after(const struct removal_set *x, uint32_t i)
{
    return (i + 1) & (slot_count(x) - 1);
}

static bool is_of(const struct removal *r, const struct gw_mailbox_id *id)
{
    return memcmp(&r->mailbox, id, sizeof(*id)) == 0;
}

/* ---- one set ---- */

static void enter(struct removal_set *x, unsigned index)
{
    uint32_t i = slot_of(x, &x->all[index].mailbox);
    while (x->slots[i] != 0)
        i = slot_after(x, i);
    x->slots[i] = index + 1;
}

static void set_reserve(struct removal_set *x, unsigned cap)
{
    x->cap = cap;
    x->all = realloc(x->all, cap * sizeof(*x->all));
    free(x->slots);
    x->slots = calloc(slot_count(x), sizeof(*x->slots));
    check(x->all != NULL && x->slots != NULL);
    for (unsigned i = 0; i < x->count; i++)
        enter(x, i);
}

static void set_clear(struct removal_set *x)
{
    if (x->count > 0)
        memset(x->slots, 0, slot_count(x) * sizeof(*x->slots));
    x->count = 0;
}

static void set_add(struct removal_set *x, const struct gw_mailbox_id *mailbox, uint64_t first,
                    uint64_t last)
{
    for (uint32_t i = slot_of(x, mailbox); x->slots[i] != 0; i = slot_after(x, i)) {
        struct removal *r = &x->all[x->slots[i] - 1];
        if (is_of(r, mailbox) && r->last + 1 == first) {
            r->last = last;
            return;
        }
    }
    if (x->count == x->cap)
        set_reserve(x, 2 * x->cap);
    x->all[x->count++] = (struct removal){.mailbox = *mailbox, .first = first, .last = last};
    enter(x, x->count - 1);
}

static bool set_has(const struct removal_set *x, const struct gw_mailbox_id *mailbox,
                    uint64_t position)
{
    for (uint32_t i = slot_of(x, mailbox); x->slots[i] != 0; i = slot_after(x, i)) {
        const struct removal *r = &x->all[x->slots[i] - 1];
        if (is_of(r, mailbox) && position >= r->first && position <= r->last)
            return true;
    }
    return false;
}

/* ---- both ---- */

void removals_open(struct removals *x)
{
    for (unsigned i = 0; i < 2; i++)
        set_reserve(&x->sets[i], REMOVALS_MANY);
}

void removals_close(struct removals *x)
{
    for (unsigned i = 0; i < 2; i++) {
        free(x->sets[i].all);
        free(x->sets[i].slots);
    }
    free(x->sorted);
    *x = (struct removals){0};
}

void removals_forget(struct removals *x)
{
    set_clear(&x->sets[0]);
    set_clear(&x->sets[1]);
}

static struct removal_set *filling(struct gw_store *s)
{
    return &s->removals.sets[s->removals.filling];
}

static struct removal_set *being_written(struct gw_store *s)
{
    return &s->removals.sets[1 - s->removals.filling];
}

void removals_add(struct gw_store *s, const struct gw_mailbox_id *mailbox, uint64_t first,
                  uint64_t last)
{
    check(last != UINT64_MAX && first <= last);
    set_add(filling(s), mailbox, first, last);
}

bool removals_are_many(const struct gw_store *s)
{
    return s->removals.sets[s->removals.filling].count >= REMOVALS_MANY;
}

/* ---- seen by who reads ---- */

bool removals_have(const struct gw_store *s, const struct gw_mailbox_id *mailbox, uint64_t position)
{
    return set_has(&s->removals.sets[0], mailbox, position) ||
           set_has(&s->removals.sets[1], mailbox, position);
}

static void sorted_add(struct removals *x, unsigned count, const struct removal *r)
{
    if (count == x->sorted_cap) {
        x->sorted_cap = x->sorted_cap == 0 ? 64 : 2 * x->sorted_cap;
        x->sorted = realloc(x->sorted, x->sorted_cap * sizeof(*x->sorted));
        check(x->sorted != NULL);
    }
    x->sorted[count] = (struct gw_position_range){r->first, r->last};
}

static int by_first(const void *a, const void *b)
{
    const struct gw_position_range *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

void removals_view(struct gw_store *s, const struct gw_mailbox_id *mailbox, struct removals_view *out)
{
    struct removals *x = &s->removals;
    unsigned n = 0;
    for (unsigned k = 0; k < 2; k++) {
        const struct removal_set *set = &x->sets[k];
        if (set->count == 0)
            continue;
        for (uint32_t i = slot_of(set, mailbox); set->slots[i] != 0; i = slot_after(set, i))
            if (is_of(&set->all[set->slots[i] - 1], mailbox))
                sorted_add(x, n++, &set->all[set->slots[i] - 1]);
    }
    if (n > 1)
        qsort(x->sorted, n, sizeof(*x->sorted), by_first);
    *out = (struct removals_view){.ranges = x->sorted, .count = n};
}

bool removals_view_has(struct removals_view *v, uint64_t position, uint64_t *last)
{
    while (v->at < v->count && v->ranges[v->at].last < position)
        v->at++;
    if (v->at == v->count || v->ranges[v->at].first > position)
        return false;
    *last = v->ranges[v->at].last;
    return true;
}

/* ---- written ---- */

static int by_mailbox(const void *a, const void *b)
{
    const struct removal *x = a, *y = b;
    int order = memcmp(&x->mailbox, &y->mailbox, sizeof(x->mailbox));
    return order != 0 ? order : (x->first > y->first) - (x->first < y->first);
}

static void put_one(struct gw_store *s, struct gw_batch *b, const struct removal *r)
{
    uint8_t key[MAILBOX_KEY_BYTES], end[MAILBOX_KEY_BYTES];
    if (r->last - r->first >= DELETE_EACH_MAX) {
        mailbox_key(key, &r->mailbox, r->first);
        mailbox_key(end, &r->mailbox, r->last + 1);
        s->ops->del_range(b, GW_SPACE_MAILBOX, gw_bytes(key, sizeof(key)),
                          gw_bytes(end, sizeof(end)));
        return;
    }
    for (uint64_t position = r->first; position <= r->last; position++) {
        mailbox_key(key, &r->mailbox, position);
        s->ops->del(b, GW_SPACE_MAILBOX, gw_bytes(key, sizeof(key)));
    }
}

/* In the order of keys: a copy is sorted, for the set is found by its slots until all is written. */
static void put_all(struct gw_store *s, struct gw_batch *b, const struct removal_set *x)
{
    struct removal *sorted = malloc(x->count * sizeof(*sorted));
    check(sorted != NULL);
    memcpy(sorted, x->all, x->count * sizeof(*sorted));
    qsort(sorted, x->count, sizeof(*sorted), by_mailbox);
    for (unsigned i = 0; i < x->count; i++)
        put_one(s, b, &sorted[i]);
    free(sorted);
    meta_put_state(s, b);
}

static void written(struct gw_store *s, const struct write *w)
{
    if (w->err == 0) /* else all is read anew */
        set_clear(being_written(s));
}

bool removals_flush(struct gw_store *s)
{
    if (filling(s)->count == 0)
        return true;
    if (being_written(s)->count > 0 || writer_room(s) == 0 || atomic_load(&s->failed))
        return false;
    /* Not synced: when it is lost, the REMOVEs are still in the log and are done again. */
    struct write *w = writer_begin(s, "removing spilled messages");
    put_all(s, w->batch, filling(s));
    w->done = written;
    s->removals.filling = 1 - s->removals.filling;
    writer_submit(s, w);
    return true;
}

int removals_write_now(struct gw_store *s)
{
    struct removal_set *x = filling(s);
    if (x->count == 0)
        return 0;
    s->ops->batch_clear(s->batch);
    put_all(s, s->batch, x);
    int err = s->ops->write(s->engine, s->batch, false);
    if (err)
        store_fail(s, "removing spilled messages", err);
    else
        set_clear(x);
    return err;
}
