/* SPDX-License-Identifier: Apache-2.0 */
/* A mailbox is what was spilled of it and what the window holds, read as one. */
#include <errno.h>
#include <stdlib.h>
#include <stdio.h>

#include "reseal.h"
#include "mutant.h"
#include "store_int.h"

void mailbox_key(uint8_t key[MAILBOX_KEY_BYTES], const struct gw_mailbox_id *id, uint64_t position)
{
    memcpy(key, id, sizeof(*id));
    gw_put_be64(key + sizeof(*id), position);
}

void mailbox_text(const struct gw_mailbox_id *id, char out[MAILBOX_TEXT_BYTES])
{
    for (size_t i = 0; i < sizeof(id->b); i++)
        snprintf(out + 2 * i, 3, "%02x", id->b[i]);
}

/* Both sources, each standing at its next message or at NULL. */
struct merge {
    struct gw_store *s;
    struct gw_mailbox_id id;
    struct gw_iter *it;
    const struct gw_record_head *spilled;
    uint64_t top; /* the highest position of a key that was passed, whatever its value */
    struct removals_view removed;
    const struct window_mailbox *m;
    uint32_t window_index;
    const struct gw_record_head *held;
    int err;
};

/* What is none was not written by us. */
bool mailbox_value_ok(const struct gw_mailbox_id *id, struct gw_bytes key, struct gw_bytes value)
{
    struct gw_record_head r;
    if (key.len != MAILBOX_KEY_BYTES || value.len < sizeof(r))
        return false;
    memcpy(&r, value.p, sizeof(r));
    return r.len == value.len && r.kind == GW_RECORD_MESSAGE &&
           r.position == gw_be64(key.p + sizeof(*id)) && memcmp(&r.mailbox, id, sizeof(*id)) == 0;
}

/* Steps over what is removed, though its key is still there. Whether there was any. */
static bool skip_removed(struct merge *x, uint64_t position)
{
    uint8_t key[MAILBOX_KEY_BYTES];
    uint64_t last;
    if (!removals_view_has(&x->removed, position, &last))
        return false;
    if (last == position) {
        x->s->ops->next(x->it);
    } else {
        mailbox_key(key, &x->id, last + 1);
        x->s->ops->seek(x->it, gw_bytes(key, sizeof(key)));
    }
    return true;
}

static void spilled_settle(struct merge *x)
{
    struct gw_store *s = x->s;
    x->spilled = NULL;
    while (s->ops->valid(x->it)) {
        struct gw_bytes key = s->ops->key(x->it), value = s->ops->value(x->it);
        if (key.len == MAILBOX_KEY_BYTES && skip_removed(x, gw_be64(key.p + sizeof(x->id))))
            continue;
        if (key.len == MAILBOX_KEY_BYTES)
            x->top = gw_be64(key.p + sizeof(x->id));
        if (x->m != NULL && key.len == MAILBOX_KEY_BYTES &&
            window_decides(x->m, gw_be64(key.p + sizeof(x->id)))) {
            s->ops->next(x->it);
            continue;
        }
        if (mailbox_value_ok(&x->id, key, value)) {
            x->spilled = (const void *)value.p;
            return;
        }
        char name[MAILBOX_TEXT_BYTES];
        mailbox_text(&x->id, name);
        GW_COUNT(s->storage_counters.damaged);
        store_report(s, "a stored message of mailbox %s is damaged and left out", name);
        s->ops->next(x->it);
    }
    x->err = s->ops->status(x->it);
}

static void merge_open(struct merge *x, struct gw_store *s, const struct gw_mailbox_id *id,
                       uint64_t from)
{
    *x = (struct merge){.s = s, .id = *id, .m = window_find(&s->window, id)};
    uint8_t key[MAILBOX_KEY_BYTES];
    removals_view(s, id, &x->removed);
    mailbox_key(key, id, from);
    x->it = s->ops->iter_new(s->engine, GW_SPACE_MAILBOX, gw_bytes(id, sizeof(*id)));
    s->ops->seek(x->it, gw_bytes(key, sizeof(key)));
    spilled_settle(x);
    if (x->m != NULL)
        x->held = window_seek(&s->window, x->m, from, &x->window_index);
}

/* The engine's memory need not be aligned for a head. */
static uint64_t head_position(const struct gw_record_head *r)
{
    uint64_t position;
    memcpy(&position, (const uint8_t *)r + offsetof(struct gw_record_head, position),
           sizeof(position));
    return position;
}

static uint32_t head_len(const struct gw_record_head *r)
{
    uint32_t len;
    memcpy(&len, (const uint8_t *)r + offsetof(struct gw_record_head, len), sizeof(len));
    return len;
}

/* The next message, or NULL. No position is in both. */
static const struct gw_record_head *merge_peek(const struct merge *x)
{
    if (x->spilled == NULL || x->held == NULL)
        return x->spilled != NULL ? x->spilled : x->held;
    return head_position(x->spilled) < x->held->position ? x->spilled : x->held;
}

static void merge_next(struct merge *x)
{
    if (merge_peek(x) == x->held) {
        x->held = window_next(&x->s->window, x->m, &x->window_index);
    } else {
        x->s->ops->next(x->it);
        spilled_settle(x);
    }
}

static void merge_close(struct merge *x)
{
    x->s->ops->iter_free(&x->it);
}

static void open_what_was_read(struct gw_store *s, const struct gw_store_request *r,
                               struct gw_store_completion *done)
{
    unsigned lost = reseal_open_run(s, r->identity, r->data, &done->len);
    if (lost == 0)
        return;
    GW_COUNT_ADD(s->storage_counters.damaged, lost);
    char name[MAILBOX_TEXT_BYTES];
    mailbox_text(&r->mailbox, name);
    store_report(s, "%u messages of mailbox %s do not open and are left out", lost, name);
}

/* A mutant's mistake: see mutant.h. */
static void swap_first_two(uint8_t *run, uint32_t len)
{
    size_t first = gw_record_padded(head_len((const void *)run));
    if (first >= len)
        return;
    size_t second = gw_record_padded(head_len((const void *)(run + first)));
    uint8_t *copy = malloc(first);
    check(copy != NULL);
    memcpy(copy, run, first);
    memmove(run, run + first, second);
    memcpy(run + second, copy, first);
    free(copy);
}

void mailbox_read(struct gw_store *s, const struct gw_store_request *r,
                  struct gw_store_completion *done)
{
    struct merge x;
    merge_open(&x, s, &r->mailbox, r->from);
    uint8_t *out = r->data;
    const struct gw_record_head *record;
    done->next = r->from;
    unsigned count = 0;
    while (!x.err && (record = merge_peek(&x)) != NULL) {
        uint32_t len = head_len(record);
        size_t padded = gw_record_padded(len);
        if (done->len + padded > r->data_len) {
            done->more = true;
            if (count == 0) {
                done->status = -EMSGSIZE;
                done->len = (uint32_t)padded;
            }
            break;
        }
        memcpy(out + done->len, record, len);
        memset(out + done->len + len, 0, padded - len);
        done->len += (uint32_t)padded;
        done->next = head_position(record) + 1;
        count++;
        merge_next(&x);
    }
    if (x.err) {
        /* What was read before the damage is good; the next READ meets the damage first. */
        GW_COUNT(s->storage_counters.errors);
        done->more = true;
        done->status = count == 0 ? x.err : 0;
    }
    if (GW_IS_MUTANT(swap_two) && count > 1)
        swap_first_two(out, done->len);
    merge_close(&x);
    if (!done->status && r->identity != NULL && s->cfg.keys != NULL)
        open_what_was_read(s, r, done);
    GW_COUNT(s->storage_counters.reads);
    GW_COUNT_ADD(s->storage_counters.read_records, count);
}

/* Records that are counted in one go: about half a millisecond of the storage thread. */
#define COUNT_SLICE 1024u

int mailbox_last_spilled(struct gw_store *s, const struct gw_mailbox_id *id, uint64_t *position)
{
    uint8_t key[MAILBOX_KEY_BYTES];
    mailbox_key(key, id, UINT64_MAX);
    struct gw_iter *it = s->ops->iter_new(s->engine, GW_SPACE_MAILBOX, gw_bytes(id, sizeof(*id)));
    s->ops->seek_for_prev(it, gw_bytes(key, sizeof(key)));
    *position = 0;
    if (s->ops->valid(it) && s->ops->key(it).len == MAILBOX_KEY_BYTES)
        *position = gw_be64(s->ops->key(it).p + sizeof(*id));
    int err = s->ops->valid(it) ? 0 : s->ops->status(it);
    s->ops->iter_free(&it);
    return err;
}

static void count_record(struct gw_mailbox_count *count, const struct gw_record_head *r)
{
    uint32_t len = head_len(r);
    uint64_t cost = len > count->cost_min ? len : count->cost_min;
    uint16_t mark;
    memcpy(&mark, (const uint8_t *)r + offsetof(struct gw_record_head, aux), sizeof(mark));
    count->messages++;
    count->bytes += len;
    count->of_mark += mark != 0 && mark == count->mark ? cost : 0;
    gw_marks_add(&count->marks, mark, cost);
}

/* A slice; true when there is more. *next: behind the last that was counted, if any was. */
static bool count_some(struct merge *x, struct gw_mailbox_count *count, uint64_t *next)
{
    const struct gw_record_head *record = NULL;
    for (unsigned n = 0; n < COUNT_SLICE && !x->err && (record = merge_peek(x)) != NULL; n++) {
        count_record(count, record);
        *next = head_position(record) + 1;
        merge_next(x);
    }
    return record != NULL && merge_peek(x) != NULL;
}

void mailbox_state(struct gw_store *s, const struct gw_store_request *r,
                   struct gw_store_completion *done)
{
    struct merge x;
    uint64_t last, behind = 0;
    check(r->data == NULL || r->data_len == sizeof(struct gw_mailbox_count));
    merge_open(&x, s, &r->mailbox, 0);
    const struct gw_record_head *first = merge_peek(&x);
    uint64_t lowest = first != NULL ? head_position(first) : 0;
    done->more = first != NULL && (r->data == NULL || count_some(&x, r->data, &behind));
    last = x.top; /* of all its keys, when it has been walked to its end */
    done->status = x.err ? x.err : done->more ? mailbox_last_spilled(s, &r->mailbox, &last) : 0;
    if (!done->status) {
        done->next = s->state.position_floor;
        if (last >= done->next)
            done->next = last + 1;
        if (x.m != NULL && window_last_position(x.m) >= done->next)
            done->next = window_last_position(x.m) + 1;
        done->seq = first != NULL ? lowest : done->next;
    }
    merge_close(&x);
}

void mailbox_count(struct gw_store *s, const struct gw_store_request *r,
                   struct gw_store_completion *done)
{
    struct merge x;
    check(r->data_len == sizeof(struct gw_mailbox_count));
    merge_open(&x, s, &r->mailbox, r->from);
    done->next = r->from;
    done->more = count_some(&x, r->data, &done->next);
    done->status = x.err;
    merge_close(&x);
}

void mailbox_delete_all(struct gw_store *s, struct gw_batch *b, const struct gw_mailbox_id *id)
{
    uint8_t first[MAILBOX_KEY_BYTES], end[MAILBOX_KEY_BYTES];
    mailbox_key(first, id, 0);
    mailbox_key(end, id, UINT64_MAX);
    s->ops->del_range(b, GW_SPACE_MAILBOX, gw_bytes(first, sizeof(first)),
                      gw_bytes(end, sizeof(end)));
}

static struct dropped *note_dropped(struct gw_store *s, const struct gw_mailbox_id *id)
{
    s->dropped = realloc(s->dropped, (s->dropped_count + 1) * sizeof(*s->dropped));
    check(s->dropped != NULL);
    struct dropped *d = &s->dropped[s->dropped_count++];
    *d = (struct dropped){.mailbox = *id, .segment = s->segment_indexed + 1};
    return d;
}

static void put_drop(struct gw_store *s, struct gw_batch *b, const struct dropped *d)
{
    uint8_t key[VAULT_ACCOUNT_KEY_BYTES];
    mailbox_delete_all(s, b, &d->mailbox);
    s->ops->del(b, GW_SPACE_KEYS, vault_account_key(key, &d->mailbox));
    meta_put_dropped(s, b, d);
    meta_put_state(s, b);
}

int mailbox_drop(struct gw_store *s, struct write *w)
{
    const struct gw_mailbox_id *id = &w->request.mailbox;
    uint64_t top, held_top;
    int err = mailbox_last_spilled(s, id, &top);
    if (err)
        return err;
    GW_COUNT_ADD(s->storage_counters.removed, window_drop(&s->window, id, &held_top));
    top = held_top > top ? held_top : top;
    if (top >= s->state.position_floor)
        s->state.position_floor = top + 1;
    put_drop(s, w->batch, note_dropped(s, id));
    w->sync = s->cfg.durability == GW_DURABILITY_SYNC;
    return 1;
}
