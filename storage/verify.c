/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk over all that is stored, which opens every record: spilled messages, events, small records,
 * wrapped keys, and then what the log still holds. In slices, so that readers do not wait for it.
 *
 * What is removed while the walk goes on may be looked at or not. The log's records are looked at as
 * they lie in memory; its files are checked when they are read, at start.
 */
#include <errno.h>
#include <stdio.h>

#include "reseal.h"
#include "store_int.h"
#include "walk.h"

#define VERSION_BYTES sizeof(uint64_t)
#define WINDOW_AT     12 /* bytes of the walk's key: segment, offset */

enum stage { STAGE_MAILBOX, STAGE_EVENTS, STAGE_SMALL, STAGE_KEYS, STAGE_WINDOW, STAGE_COUNT };

/* One slice. */
struct slice {
    struct gw_store *s;
    struct gw_walk *w;
    /* the keys of the mailbox that was looked at last */
    bool known;
    struct gw_mailbox_id mailbox;
    struct account_keys keys;
    int keys_err;
};

static void mark_used(struct gw_walk *w, uint32_t incarnation)
{
    if (incarnation <= GW_INCARNATION_MAX)
        w->used[incarnation / 8] |= (uint8_t)(1u << incarnation % 8);
}

static const struct account_keys *keys_of(struct slice *x, const struct gw_mailbox_id *mailbox)
{
    if (!x->known || memcmp(&x->mailbox, mailbox, sizeof(*mailbox)) != 0) {
        x->known = true;
        x->mailbox = *mailbox;
        x->keys_err = vault_fetch(x->s, &x->s->hand, mailbox, &x->keys);
    }
    return x->keys_err == 0 ? &x->keys : NULL;
}

/* ---- single records ---- */

static void look_at_message(struct slice *x, const struct gw_record_head *stored, size_t len)
{
    struct gw_record_head *r = (void *)store_scratch(x->s, len);
    memcpy(r, stored, len);
    if ((r->flags & GW_RECORD_ACCOUNT_KEY) == 0)
        mark_used(x->w, r->incarnation);
    if (x->w->heads_only)
        return;
    struct gw_mailbox_id mailbox = r->mailbox;
    const struct account_keys *keys = keys_of(x, &mailbox);
    if (keys == NULL)
        walk_damage(x->w, &mailbox, r->position, "the account's key is missing or does not open");
    else if (!reseal_open(x->s, &x->s->hand, &keys->identity, keys, r))
        walk_damage(x->w, &mailbox, r->position, "the message does not open");
}

static void look_at_events(struct slice *x, const struct gw_record_head *stored, size_t len,
                           uint64_t segment)
{
    struct gw_record_head *r = (void *)store_scratch(x->s, len);
    memcpy(r, stored, len);
    mark_used(x->w, r->incarnation);
    if (!x->w->heads_only &&
        (r->len != len || r->kind != GW_RECORD_EVENTS || (r->flags & GW_RECORD_ACCOUNT_KEY) != 0 ||
         !reseal_open(x->s, &x->s->hand, NULL, NULL, r)))
        walk_damage(x->w, NULL, segment, "the events of a segment do not open");
}

static void spilled_message(struct slice *x, struct gw_bytes key, struct gw_bytes value)
{
    struct gw_mailbox_id mailbox = {{0}};
    if (key.len >= sizeof(mailbox))
        memcpy(&mailbox, key.p, sizeof(mailbox));
    bool same = x->w->key_len >= sizeof(mailbox) &&
                memcmp(x->w->key, &mailbox, sizeof(mailbox)) == 0;
    x->w->mailboxes += !same;
    if (key.len == MAILBOX_KEY_BYTES &&
        removals_have(x->s, &mailbox, gw_be64(key.p + sizeof(mailbox))))
        return; /* it is being removed */
    x->w->messages++;
    if (mailbox_value_ok(&mailbox, key, value))
        look_at_message(x, (const void *)value.p, value.len);
    else
        walk_damage(x->w, &mailbox,
                    key.len == MAILBOX_KEY_BYTES ? gw_be64(key.p + sizeof(mailbox)) : 0,
                    "the message is malformed");
}

static void spilled_events(struct slice *x, struct gw_bytes key, struct gw_bytes value)
{
    size_t head = sizeof(uint64_t); /* when it became durable */
    if (key.len == EVENTS_KEY_BYTES && gw_be64(key.p) >= events_spilled_below(x->s))
        return; /* looked at where it is read */
    x->w->events++;
    if (key.len == EVENTS_KEY_BYTES && value.len >= head + sizeof(struct gw_record_head))
        look_at_events(x, (const void *)(value.p + head), value.len - head, gw_be64(key.p));
    else
        walk_damage(x->w, NULL, 0, "the events of a segment are malformed");
}

static void small_record(struct slice *x, struct gw_bytes key, struct gw_bytes value)
{
    struct gw_store *s = x->s;
    struct gw_bytes plain, name = gw_bytes(key.p + 1, key.len - 1);
    x->w->small++;
    size_t len = value.len < VERSION_BYTES ? 0 : value.len - VERSION_BYTES;
    const uint8_t *stored = value.p + value.len - len;
    mark_used(x->w, gw_small_incarnation(stored, len));
    if (x->w->heads_only)
        return;
    uint8_t *sealed = store_scratch(s, len + 1);
    memcpy(sealed, stored, len);
    if (gw_small_open(s->cfg.keys, s->hand.sealer, key.p[0], name, sealed, len, &plain) != 0)
        walk_damage(x->w, NULL, 0, "small record of kind %u, %.*s", key.p[0],
                    (int)(name.len < 64 ? name.len : 64), (const char *)name.p);
    explicit_bzero(sealed, len);
}

static void wrapped_key(struct slice *x, struct gw_bytes key, struct gw_bytes value)
{
    x->w->keys++;
    if (x->w->heads_only || key.p[0] != GW_NS_ACCOUNT_KEY)
        return; /* those of incarnations were opened at start */
    struct gw_mailbox_id mailbox = {{0}};
    struct account_keys keys;
    if (key.len == VAULT_ACCOUNT_KEY_BYTES)
        memcpy(&mailbox, key.p + 1, sizeof(mailbox));
    if (vault_open_value(x->s, &x->s->hand, &mailbox, value, &keys) != 0)
        walk_damage(x->w, &mailbox, 0, "the account's key does not open");
    account_keys_wipe(&keys);
}

/* ---- spaces ---- */

static int slice_of(struct slice *x, enum gw_space space,
                    void (*each)(struct slice *x, struct gw_bytes key, struct gw_bytes value))
{
    struct gw_store *s = x->s;
    struct gw_walk *w = x->w;
    unsigned n = 0;
    size_t bytes = 0;
    struct gw_iter *it = walk_seek(s, w, space, gw_bytes(NULL, 0));
    for (; s->ops->valid(it) && n < WALK_SLICE_RECORDS && bytes < WALK_SLICE_BYTES &&
           w->damage_count < GW_WALK_DAMAGES_MAX;
         s->ops->next(it), n++) {
        struct gw_bytes key = s->ops->key(it), value = s->ops->value(it);
        bytes += value.len;
        if (key.len > 0)
            each(x, key, value);
        walk_stand(w, key);
    }
    bool at_end = !s->ops->valid(it);
    int err = at_end ? s->ops->status(it) : 0;
    s->ops->iter_free(&it);
    w->looked_at += n;
    w->bytes += bytes;
    if (err == -EBADMSG) {
        /* A block of a table: there is no going on behind it. */
        walk_damage(w, NULL, 0, "a file of the space %s cannot be read to its end",
                    gw_space_name(space));
        err = 0;
    }
    if (at_end && !err)
        walk_next_stage(w, STAGE_COUNT);
    return err;
}

/* ---- the log's records in memory ---- */

static void held_record(struct slice *x, const struct gw_record_head *r, uint64_t segment)
{
    if (r->kind == GW_RECORD_MESSAGE) {
        x->w->messages++;
        look_at_message(x, r, r->len);
    } else if (r->kind == GW_RECORD_EVENTS) {
        x->w->events++;
        look_at_events(x, r, r->len, segment);
    } else if (r->kind == GW_RECORD_REMOVE) {
        mark_used(x->w, r->incarnation);
        if (!x->w->heads_only && index_open_removal(x->s, r) == NULL)
            walk_damage(x->w, &r->mailbox, r->position, "a removal does not open");
    }
}

static void window_slice(struct slice *x)
{
    struct gw_store *s = x->s;
    struct gw_walk *w = x->w;
    uint64_t from = w->key_len == WINDOW_AT ? gw_be64(w->key) : 0;
    size_t off = w->key_len == WINDOW_AT ? gw_be32(w->key + 8) : 0;
    size_t i = events_held_from(s, from);
    if (i == s->window.held_count) {
        walk_next_stage(w, STAGE_COUNT);
        return;
    }
    const struct window_segment *seg = &window_held_at(&s->window, i)->s;
    if (seg->number != from || off == 0)
        off = gw_segment_first_off();
    const uint8_t *base = window_at(&s->window, seg->off);
    const struct gw_record_head *r = NULL;
    unsigned n = 0;
    size_t begin = off;
    while (n < WALK_SLICE_RECORDS && off - begin < WALK_SLICE_BYTES &&
           w->damage_count < GW_WALK_DAMAGES_MAX &&
           (r = gw_record_next(base, seg->len, &off)) != NULL) {
        held_record(x, r, seg->number);
        n++;
    }
    bool through = off >= seg->len;
    w->looked_at += n;
    w->bytes += off - begin;
    w->key_len = WINDOW_AT;
    gw_put_be64(w->key, seg->number + through);
    gw_put_be32(w->key + 8, through ? 0 : (uint32_t)off);
}

void verify_some(struct gw_store *s, const struct gw_store_request *r,
                 struct gw_store_completion *done)
{
    struct gw_walk *w = r->data;
    struct slice x = {.s = s, .w = w};
    check(r->data_len == sizeof(*w));
    w->damage_count = 0;
    if (s->cfg.keys == NULL) {
        done->status = -ENOTSUP;
        return;
    }
    switch ((enum stage)w->stage) {
    case STAGE_MAILBOX:
        done->status = slice_of(&x, GW_SPACE_MAILBOX, spilled_message);
        break;
    case STAGE_EVENTS:
        done->status = slice_of(&x, GW_SPACE_EVENTS, spilled_events);
        break;
    case STAGE_SMALL:
        done->status = slice_of(&x, GW_SPACE_SMALL, small_record);
        break;
    case STAGE_KEYS:
        done->status = slice_of(&x, GW_SPACE_KEYS, wrapped_key);
        break;
    case STAGE_WINDOW:
        window_slice(&x);
        break;
    case STAGE_COUNT:
        break;
    }
    account_keys_wipe(&x.keys);
    done->more = !done->status && !w->ended;
}
