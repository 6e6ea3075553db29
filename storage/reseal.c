/* SPDX-License-Identifier: Apache-2.0 */
#include "reseal.h"

#include <errno.h>

#include "store_int.h"

static bool is_under_account_key(const struct gw_record_head *r)
{
    return (r->flags & GW_RECORD_ACCOUNT_KEY) != 0;
}

static struct gw_mailbox_id mailbox_of(const struct gw_pair *p)
{
    struct gw_mailbox_id id;
    memcpy(&id, p->key.p, sizeof(id));
    return id;
}

bool reseal_open(struct gw_store *s, struct vault_hand *hand, const struct gw_identity *id,
                 const struct account_keys *keys, struct gw_record_head *r)
{
    uint8_t aad[GW_RECORD_AAD_BYTES];
    const uint8_t *key = !is_under_account_key(r) ? gw_keyring_key(s->cfg.keys, r->incarnation)
                         : keys != NULL           ? account_keys_find(keys, r->incarnation)
                                                  : NULL;
    if (key == NULL)
        return false;
    gw_record_aad(aad, id, r->position, r->kind, is_under_account_key(r));
    struct gw_seal_op op = gw_record_op(r, key, aad);
    return gw_open_burst(hand->sealer, &op, 1) == 0;
}

static void turn_to_account_key(struct vault_hand *hand, const struct account_keys *keys,
                                struct gw_record_head *r)
{
    struct gw_nonce nonce = vault_nonce(hand);
    r->flags = GW_RECORD_ACCOUNT_KEY;
    r->incarnation = keys->generation[0];
    r->nonce_thread = nonce.thread;
    r->nonce_counter = nonce.counter;
}

void reseal_seal(struct vault_hand *hand, const struct account_keys *keys,
                 struct gw_record_head *r)
{
    uint8_t aad[GW_RECORD_AAD_BYTES];
    turn_to_account_key(hand, keys, r);
    gw_record_aad(aad, &keys->identity, r->position, r->kind, true);
    struct gw_seal_op op = gw_record_op(r, keys->key[0], aad);
    gw_seal_burst(hand->sealer, &op, 1);
}

/* ---- a spill's messages ---- */

/* Steps before a seek is cheaper than walking on. */
#define STEPS_MAX 8

/* The key of a mailbox that is not before the one asked for last. */
static int walk_to(struct reseal *x, const struct gw_mailbox_id *mailbox, struct account_keys *out)
{
    const struct gw_engine_ops *ops = x->s->ops;
    uint8_t buf[VAULT_ACCOUNT_KEY_BYTES];
    struct gw_bytes key = vault_account_key(buf, mailbox);
    int order = -1;
    for (unsigned i = 0; i < STEPS_MAX && ops->valid(x->keys); i++) {
        struct gw_bytes at = ops->key(x->keys);
        order = at.len == key.len ? memcmp(at.p, key.p, key.len) : 1;
        if (order >= 0)
            break;
        ops->next(x->keys);
    }
    if (order < 0)
        ops->seek(x->keys, key);
    if (!ops->valid(x->keys))
        return ops->status(x->keys) ? ops->status(x->keys) : -ENOENT;
    if (!gw_bytes_eq(ops->key(x->keys), key))
        return -ENOENT;
    return vault_open_value(x->s, x->hand, mailbox, ops->value(x->keys), out);
}

/* The keys for a message, or NULL: there are none that open. */
static int keys_for(struct reseal *x, const struct gw_mailbox_id *mailbox,
                    const struct account_keys **out)
{
    struct account_keys *last = x->account_count > 0 ? &x->account[x->account_count - 1] : NULL;
    if (last != NULL && memcmp(last->identity.hash, mailbox->b, sizeof(mailbox->b)) == 0) {
        *out = last->count > 0 ? last : NULL;
        return 0;
    }
    struct account_keys *fresh = &x->account[x->account_count++];
    int err = walk_to(x, mailbox, fresh);
    if (err) {
        *fresh = (struct account_keys){0};
        memcpy(fresh->identity.hash, mailbox->b, sizeof(mailbox->b));
    }
    *out = fresh->count > 0 ? fresh : NULL;
    return err == -EIO ? err : 0;
}

#define FETCH_AHEAD 8u
#define LINE_BYTES  64u

/* The records lie all over the window. */
static void fetch_ahead(const struct reseal *x)
{
    if (x->count - x->at <= FETCH_AHEAD)
        return;
    struct gw_bytes value = x->in[x->at + FETCH_AHEAD].value;
    for (size_t i = 0; i < value.len && i < FETCH_AHEAD * LINE_BYTES; i += LINE_BYTES)
        __builtin_prefetch(value.p + i);
}

/* The next messages as copies in the buffer, each with the keys that it gets. */
static int gather(struct reseal *x, const struct account_keys *keys[RESEAL_BURST])
{
    size_t used = 0;
    int err = 0;
    x->account_count = 0;
    for (x->out_count = 0; x->out_count < RESEAL_BURST && x->at < x->count && !err; x->at++) {
        const struct gw_pair *p = &x->in[x->at];
        struct gw_mailbox_id mailbox = mailbox_of(p);
        size_t padded = gw_record_padded(p->value.len);
        if (used + padded > RESEAL_BUF_BYTES)
            break;
        fetch_ahead(x);
        memcpy(x->buf + used, p->value.p, p->value.len);
        x->out[x->out_count] = (struct gw_pair){p->key, gw_bytes(x->buf + used, p->value.len)};
        err = keys_for(x, &mailbox, &keys[x->out_count++]);
        used += padded;
    }
    return err;
}

static struct gw_record_head *copy_of(const struct reseal *x, unsigned i)
{
    return (struct gw_record_head *)(uintptr_t)x->out[i].value.p;
}

/* Opens what has both keys; returns how many operations, `which` says of whom. */
static unsigned open_copies(struct reseal *x, const struct account_keys *const *keys,
                            struct gw_seal_op *ops, uint8_t (*aads)[GW_RECORD_AAD_BYTES],
                            unsigned *which)
{
    unsigned n = 0;
    for (unsigned i = 0; i < x->out_count; i++) {
        struct gw_record_head *r = copy_of(x, i);
        const uint8_t *key = gw_keyring_key(x->s->cfg.keys, r->incarnation);
        if (keys[i] == NULL || key == NULL)
            continue;
        gw_record_aad(aads[n], &keys[i]->identity, r->position, r->kind, false);
        ops[n] = gw_record_op(r, key, aads[n]);
        which[n++] = i;
    }
    gw_open_burst(x->hand->sealer, ops, n);
    return n;
}

static void seal_copies(struct reseal *x, const struct account_keys *const *keys,
                        struct gw_seal_op *ops, uint8_t (*aads)[GW_RECORD_AAD_BYTES],
                        const unsigned *which, unsigned n)
{
    unsigned sealed = 0;
    for (unsigned k = 0; k < n; k++) {
        unsigned i = which[k];
        struct gw_record_head *r = copy_of(x, i);
        if (!ops[k].ok) {
            /* Its body was wiped: as it lies in the window again. */
            memcpy(r, x->in[x->at - x->out_count + i].value.p, r->len);
            continue;
        }
        turn_to_account_key(x->hand, keys[i], r);
        gw_record_aad(aads[sealed], &keys[i]->identity, r->position, r->kind, true);
        ops[sealed] = gw_record_op(r, keys[i]->key[0], aads[sealed]);
        sealed++;
    }
    gw_seal_burst(x->hand->sealer, ops, sealed);
    x->resealed += sealed;
    x->unkeyed += x->out_count - sealed;
}

static int next_burst(struct reseal *x)
{
    const struct account_keys *keys[RESEAL_BURST];
    struct gw_seal_op ops[RESEAL_BURST];
    uint8_t aads[RESEAL_BURST][GW_RECORD_AAD_BYTES];
    unsigned which[RESEAL_BURST];
    x->out_at = 0;
    int err = gather(x, keys);
    if (!err)
        seal_copies(x, keys, ops, aads, which, open_copies(x, keys, ops, aads, which));
    return err;
}

static int next_sealed(struct gw_pair_source *from, struct gw_pair *out)
{
    struct reseal *x = (struct reseal *)from;
    if (x->out_at == x->out_count) {
        if (x->at == x->count)
            return 0;
        int err = next_burst(x);
        if (err)
            return err;
    }
    *out = x->out[x->out_at++];
    return 1;
}

static int next_as_it_is(struct gw_pair_source *from, struct gw_pair *out)
{
    struct reseal *x = (struct reseal *)from;
    if (x->at == x->count)
        return 0;
    *out = x->in[x->at++];
    return 1;
}

void reseal_begin(struct reseal *x, struct gw_store *s, struct vault_hand *hand, uint8_t *buf,
                  const struct gw_pair *in, size_t count)
{
    static const uint8_t ns = GW_NS_ACCOUNT_KEY;
    bool sealed = s->cfg.keys != NULL;
    x->source.next = sealed ? next_sealed : next_as_it_is;
    x->s = s;
    x->hand = hand;
    x->buf = buf;
    x->in = in;
    x->count = count;
    x->at = x->out_count = x->out_at = x->account_count = 0;
    x->resealed = x->unkeyed = 0;
    x->keys = sealed ? s->ops->iter_new(s->engine, GW_SPACE_KEYS, gw_bytes(&ns, 1)) : NULL;
    if (sealed && count > 0) {
        uint8_t key[VAULT_ACCOUNT_KEY_BYTES];
        struct gw_mailbox_id first = mailbox_of(&in[0]);
        s->ops->seek(x->keys, vault_account_key(key, &first));
    }
}

void reseal_end(struct reseal *x)
{
    if (x->keys == NULL)
        return;
    x->s->ops->iter_free(&x->keys);
    explicit_bzero(x->account, sizeof(x->account));
}

/* ---- what a reader gets ---- */

/* Opens up to a burst of records from *off on; `ok` says which may stay. */
static unsigned open_some(struct gw_store *s, const struct gw_identity *id,
                          const struct account_keys *keys, uint8_t *run, uint32_t len, size_t *off,
                          struct gw_record_head **records, bool *ok)
{
    struct gw_seal_op ops[RESEAL_BURST];
    uint8_t aads[RESEAL_BURST][GW_RECORD_AAD_BYTES];
    unsigned which[RESEAL_BURST], n = 0, count = 0;
    const struct gw_record_head *r;
    while (count < RESEAL_BURST && (r = gw_record_next(run, len, off)) != NULL) {
        struct gw_record_head *mine = records[count] = (struct gw_record_head *)(uintptr_t)r;
        mine->flags &= (uint8_t)~GW_RECORD_OPENED;
        ok[count] = !is_under_account_key(r);
        const uint8_t *key = ok[count] ? NULL : account_keys_find(keys, r->incarnation);
        if (key != NULL) {
            gw_record_aad(aads[n], id, r->position, r->kind, true);
            ops[n] = gw_record_op(mine, key, aads[n]);
            which[n++] = count;
        }
        count++;
    }
    gw_open_burst(s->hand.sealer, ops, n);
    for (unsigned k = 0; k < n; k++) {
        ok[which[k]] = ops[k].ok;
        if (ops[k].ok)
            records[which[k]]->flags |= GW_RECORD_OPENED;
    }
    return count;
}

static bool any_under_account_key(const uint8_t *run, uint32_t len)
{
    size_t off = 0;
    const struct gw_record_head *r;
    while ((r = gw_record_next(run, len, &off)) != NULL)
        if (is_under_account_key(r))
            return true;
    return false;
}

unsigned reseal_open_run(struct gw_store *s, const struct gw_identity *id, uint8_t *run,
                         uint32_t *len)
{
    struct account_keys keys = {0};
    struct gw_record_head *records[RESEAL_BURST];
    bool ok[RESEAL_BURST];
    struct gw_mailbox_id mailbox = gw_identity_mailbox(id);
    size_t off = 0;
    uint32_t kept = 0;
    unsigned n, lost = 0;
    if (any_under_account_key(run, *len)) {
        int err = vault_fetch(s, &s->hand, &mailbox, &keys);
        if (err)
            store_report(s, "the key of a mailbox does not open: %s", strerror(-err));
    }
    while ((n = open_some(s, id, &keys, run, *len, &off, records, ok)) > 0) {
        for (unsigned i = 0; i < n; i++) {
            size_t padded = gw_record_padded(records[i]->len);
            if (!ok[i]) {
                lost++;
                continue;
            }
            memmove(run + kept, records[i], padded);
            kept += (uint32_t)padded;
        }
    }
    *len = kept;
    account_keys_wipe(&keys);
    return lost;
}
