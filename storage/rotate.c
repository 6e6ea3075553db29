/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key rotation in slices, on the storage thread, which writes a slice itself, while the writer and the
 * spill thread have nothing to do: so no message is removed, no key replaced and no mailbox spilled
 * between the reading of something and the writing of it under another key. A read that comes
 * meanwhile waits for one slice, not for a file that is taken over.
 *
 * A slice is one batch. An account's record holds its old and its new key from the first batch of
 * its mailbox to the last, so that whatever a crash leaves opens.
 */
#include <errno.h>

#include "reseal.h"
#include "store_int.h"
#include "walk.h"

#define VERSION_BYTES sizeof(uint64_t)

static struct gw_bytes without_version(struct gw_bytes value)
{
    return value.len < VERSION_BYTES
               ? gw_bytes(value.p, 0)
               : gw_bytes(value.p + VERSION_BYTES, value.len - VERSION_BYTES);
}

/* ---- the master key ---- */

static void rewrap_number(struct gw_store *s, struct gw_walk *w, struct gw_bytes key,
                          struct gw_bytes value)
{
    struct gw_wrapped_key wrapped;
    bool ok = key.len == 5 && value.len == sizeof(wrapped);
    if (ok) {
        memcpy(&wrapped, value.p, sizeof(wrapped));
        if (gw_keyring_is_current(s->cfg.keys, &wrapped))
            return;
        ok = gw_keyring_rewrap_number(s->cfg.keys, s->hand.sealer, gw_be32(key.p + 1),
                                      &wrapped) == 0;
    }
    if (!ok) {
        walk_damage(w, NULL, 0, "an incarnation key does not open");
        return;
    }
    small_put(s, s->batch, key, gw_bytes(&wrapped, sizeof(wrapped)));
    w->changed++;
}

static bool parse_account(struct gw_walk *w, struct gw_bytes key, struct gw_bytes value,
                          struct gw_mailbox_id *mailbox, struct account_key_record *r)
{
    *mailbox = (struct gw_mailbox_id){{0}};
    if (key.len == VAULT_ACCOUNT_KEY_BYTES)
        memcpy(mailbox, key.p + 1, sizeof(*mailbox));
    if (key.len == VAULT_ACCOUNT_KEY_BYTES && account_key_parse(mailbox, value, r))
        return true;
    walk_damage(w, mailbox, 0, "an account's key is malformed");
    return false;
}

static void rewrap_account(struct gw_store *s, struct gw_walk *w, struct gw_bytes key,
                           struct gw_bytes value)
{
    struct gw_mailbox_id mailbox;
    struct account_key_record r;
    bool changed;
    if (!parse_account(w, key, value, &mailbox, &r))
        return;
    if (account_key_rewrap(s->cfg.keys, s->hand.sealer, &r, &changed) != 0) {
        walk_damage(w, &mailbox, 0, "an account's key does not open");
    } else if (changed) {
        small_put(s, s->batch, key, gw_bytes(&r, account_key_len(&r)));
        w->changed++;
    }
}

static void rewrap(struct gw_store *s, struct gw_walk *w, struct gw_bytes key,
                   struct gw_bytes value)
{
    if (key.p[0] == GW_NS_KEY)
        rewrap_number(s, w, key, without_version(value));
    else
        rewrap_account(s, w, key, without_version(value));
}

/* ---- small records ---- */

/* Version and sealed bytes as they were, but under the incarnation of now: whoever holds the version
 * sees no change. */
static void reseal_small(struct gw_store *s, struct gw_walk *w, struct gw_bytes key,
                         struct gw_bytes value)
{
    struct gw_bytes sealed = without_version(value), plain;
    struct gw_bytes name = gw_bytes(key.p + 1, key.len - 1);
    if (gw_small_incarnation(sealed.p, sealed.len) == gw_keyring_current(s->cfg.keys))
        return;
    uint8_t *out = store_scratch(s, value.len + sealed.len), *copy = out + value.len;
    memcpy(out, value.p, value.len - sealed.len);
    memcpy(copy, sealed.p, sealed.len);
    if (gw_small_open(s->cfg.keys, s->hand.sealer, key.p[0], name, copy, sealed.len, &plain) != 0) {
        walk_damage(w, NULL, 0, "small record of kind %u, %.*s", key.p[0],
                    (int)(name.len < 64 ? name.len : 64), (const char *)name.p);
        return;
    }
    gw_small_seal(s->cfg.keys, s->hand.sealer, key.p[0], name, plain, out + VERSION_BYTES);
    s->ops->put(s->batch, GW_SPACE_SMALL, key, gw_bytes(out, value.len));
    explicit_bzero(copy, sealed.len);
    w->changed++;
}

/* ---- a slice of a space ---- */

static int write_slice(struct gw_store *s)
{
    int err = s->ops->write(s->engine, s->batch, true);
    if (err) {
        GW_COUNT(s->storage_counters.errors);
        store_fail(s, "rotating keys", err);
    }
    return err;
}

static int slice_of(struct gw_store *s, struct gw_walk *w, enum gw_space space,
                    void (*each)(struct gw_store *s, struct gw_walk *w, struct gw_bytes key,
                                 struct gw_bytes value))
{
    uint64_t before = w->changed;
    unsigned n = 0;
    size_t bytes = 0;
    struct gw_iter *it = walk_seek(s, w, space, gw_bytes(NULL, 0));
    s->ops->batch_clear(s->batch);
    for (; s->ops->valid(it) && n < WALK_SLICE_RECORDS && bytes < WALK_SLICE_BYTES;
         s->ops->next(it), n++) {
        struct gw_bytes key = s->ops->key(it), value = s->ops->value(it);
        walk_stand(w, key);
        bytes += value.len;
        if (key.len > 0)
            each(s, w, key, value);
    }
    bool at_end = !s->ops->valid(it);
    int err = at_end ? s->ops->status(it) : 0;
    s->ops->iter_free(&it);
    w->looked_at += n;
    w->ended = at_end;
    return err ? err : w->changed > before ? write_slice(s) : 0;
}

/* ---- incarnations ---- */

static int draw_incarnation(struct gw_store *s, struct gw_walk *w)
{
    char err[256] = "";
    int status = vault_begin_incarnation(s, err);
    w->ended = true;
    w->incarnation = gw_keyring_current(s->cfg.keys);
    if (status)
        store_report(s, "%s", err);
    if (status && status != -EOVERFLOW)
        store_fail(s, "writing a key", status);
    return status;
}

static bool is_used(const struct gw_walk *w, uint32_t n)
{
    return (w->used[n / 8] & 1u << n % 8) != 0;
}

static int retire_unused(struct gw_store *s, struct gw_walk *w)
{
    uint32_t below = w->incarnation, current = gw_keyring_current(s->cfg.keys);
    gw_keyring_wipe_retired(s->cfg.keys);
    s->ops->batch_clear(s->batch);
    w->ended = true;
    for (uint32_t n = 1; n < below && n < current; n++) {
        if (!gw_keyring_has(s->cfg.keys, n) || is_used(w, n))
            continue;
        uint8_t key[5] = {GW_NS_KEY};
        gw_put_be32(key + 1, n);
        s->ops->del(s->batch, GW_SPACE_KEYS, gw_bytes(key, sizeof(key)));
        gw_keyring_retire(s->cfg.keys, n);
        w->changed++;
    }
    return w->changed > 0 ? write_slice(s) : 0;
}

/* ---- accounts ---- */

/* One account within a slice. */
struct rekey {
    struct gw_store *s;
    struct gw_walk *w;
    struct gw_mailbox_id mailbox;
    struct account_key_record record;
    struct account_keys keys;
    unsigned records_left;
    size_t bytes_left;
};

/* One spilled message, under the newest key if it is not yet. */
static void rekey_message(struct rekey *x, struct gw_bytes key, struct gw_bytes value)
{
    struct gw_store *s = x->s;
    uint64_t position = gw_be64(key.p + sizeof(x->mailbox));
    if (!mailbox_value_ok(&x->mailbox, key, value)) {
        walk_damage(x->w, &x->mailbox, position, "a message is malformed");
        return;
    }
    struct gw_record_head *r = (void *)store_scratch(s, value.len);
    memcpy(r, value.p, value.len);
    if ((r->flags & GW_RECORD_ACCOUNT_KEY) != 0 && r->incarnation == x->keys.generation[0])
        return;
    if (!reseal_open(s, &s->hand, &x->keys.identity, &x->keys, r)) {
        walk_damage(x->w, &x->mailbox, position, "a message does not open");
        return;
    }
    reseal_seal(&s->hand, &x->keys, r);
    s->ops->put(s->batch, GW_SPACE_MAILBOX, key, gw_bytes(r, r->len));
    x->w->messages++;
}

/* Messages from a position on, as many as the slice has room for. Whether the mailbox is through;
 * *next is where to go on otherwise. */
static bool rekey_messages(struct rekey *x, uint64_t from, uint64_t *next, int *err)
{
    struct gw_store *s = x->s;
    uint8_t first[MAILBOX_KEY_BYTES];
    mailbox_key(first, &x->mailbox, from);
    struct gw_iter *it =
        s->ops->iter_new(s->engine, GW_SPACE_MAILBOX, gw_bytes(&x->mailbox, sizeof(x->mailbox)));
    for (s->ops->seek(it, gw_bytes(first, sizeof(first)));
         s->ops->valid(it) && x->records_left > 0 && x->bytes_left > 0; s->ops->next(it)) {
        struct gw_bytes key = s->ops->key(it), value = s->ops->value(it);
        x->records_left--;
        x->bytes_left -= value.len < x->bytes_left ? value.len : x->bytes_left;
        if (key.len != MAILBOX_KEY_BYTES)
            continue;
        rekey_message(x, key, value);
        *next = gw_be64(key.p + sizeof(x->mailbox)) + 1;
    }
    bool through = !s->ops->valid(it);
    *err = through ? s->ops->status(it) : 0;
    s->ops->iter_free(&it);
    return through;
}

static void put_record(struct rekey *x)
{
    uint8_t key[VAULT_ACCOUNT_KEY_BYTES];
    small_put(x->s, x->s->batch, vault_account_key(key, &x->mailbox),
              gw_bytes(&x->record, account_key_len(&x->record)));
}

/* Where the walk stands within a mailbox: its key, and a position behind it. Stage 1. */
static void stand_within(struct gw_walk *w, struct gw_bytes key, uint64_t position)
{
    walk_stand(w, key);
    gw_put_be64(w->key + w->key_len, position);
    w->stage = 1;
}

static uint64_t leave_within(struct gw_walk *w)
{
    w->stage = 0;
    return gw_be64(w->key + w->key_len);
}

/* 0 or -EIO. The account is through, or the walk stands within it. */
static int rekey_account(struct rekey *x, struct gw_bytes key, struct gw_bytes value, uint64_t from)
{
    struct gw_store *s = x->s;
    int err = 0;
    uint64_t next = from;
    walk_stand(x->w, key);
    x->w->looked_at += from == 0;
    if (!parse_account(x->w, key, value, &x->mailbox, &x->record))
        return 0;
    /* Two keys at the beginning are what a rotation that was cut short left: it goes on. */
    if (x->record.count == 1 && account_key_renew(s->cfg.keys, s->hand.sealer, &x->record) != 0)
        return -EIO;
    if (account_key_open(s->cfg.keys, s->hand.sealer, &x->record, &x->keys) != 0) {
        walk_damage(x->w, &x->mailbox, 0, "an account's key does not open");
        return 0;
    }
    bool through = rekey_messages(x, from, &next, &err);
    if (through) {
        account_key_settle(&x->record);
        x->w->changed++;
    } else {
        stand_within(x->w, key, next);
    }
    put_record(x);
    account_keys_wipe(&x->keys);
    return err;
}

static int rekey_slice(struct gw_store *s, struct gw_walk *w)
{
    static const uint8_t ns = GW_NS_ACCOUNT_KEY;
    struct rekey x = {.s = s, .w = w, .records_left = WALK_SLICE_RECORDS,
                      .bytes_left = WALK_SLICE_BYTES};
    bool within = w->stage == 1;
    struct gw_iter *it;
    int err = 0;
    uint64_t from = within ? leave_within(w) : 0;
    if (within) {
        it = s->ops->iter_new(s->engine, GW_SPACE_KEYS, gw_bytes(&ns, 1));
        s->ops->seek(it, gw_bytes(w->key, w->key_len));
        /* It was deleted meanwhile: then this is the next one. */
        if (!s->ops->valid(it) || !gw_bytes_eq(s->ops->key(it), gw_bytes(w->key, w->key_len)))
            from = 0;
    } else {
        it = walk_seek(s, w, GW_SPACE_KEYS, gw_bytes(&ns, 1));
    }
    s->ops->batch_clear(s->batch);
    for (; !err && s->ops->valid(it) && x.records_left > 0 && x.bytes_left > 0;
         from = 0, s->ops->next(it)) {
        x.records_left--;
        err = rekey_account(&x, s->ops->key(it), without_version(s->ops->value(it)), from);
        if (w->stage == 1)
            break;
    }
    w->ended = !err && w->stage == 0 && !s->ops->valid(it);
    if (w->ended)
        err = s->ops->status(it);
    s->ops->iter_free(&it);
    return err ? err : write_slice(s);
}

/* ---- the request ---- */

bool rotate_must_wait(const struct gw_store *s)
{
    return (s->spill.phase != SPILL_IDLE || !writer_is_idle(s)) && !atomic_load(&s->failed);
}

static int rotate(struct gw_store *s, const struct gw_store_request *r, struct gw_walk *w)
{
    switch ((enum gw_rotate)r->from) {
    case GW_ROTATE_INCARNATION:
        return draw_incarnation(s, w);
    case GW_ROTATE_SMALL:
        return slice_of(s, w, GW_SPACE_SMALL, reseal_small);
    case GW_ROTATE_RETIRE:
        return retire_unused(s, w);
    case GW_ROTATE_MASTER:
        return slice_of(s, w, GW_SPACE_KEYS, rewrap);
    case GW_ROTATE_ACCOUNTS:
        return rekey_slice(s, w);
    }
    return -EINVAL;
}

void rotate_some(struct gw_store *s, const struct gw_store_request *r,
                 struct gw_store_completion *done)
{
    struct gw_walk *w = r->data;
    check(r->data_len == sizeof(*w));
    w->damage_count = 0;
    done->status = s->cfg.keys == NULL          ? -ENOTSUP
                   : atomic_load(&s->failed)    ? -EIO
                                                : rotate(s, r, w);
    done->more = !done->status && !w->ended;
}
