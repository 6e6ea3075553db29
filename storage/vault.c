/* SPDX-License-Identifier: Apache-2.0 */
#include "vault.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#include "store_int.h"

#define VERSION_BYTES sizeof(uint64_t)

int vault_hand_open(struct vault_hand *h, uint32_t nonce_thread)
{
    return gw_sealer_open(&h->sealer, GW_SEAL_IPSEC_MB, nonce_thread);
}

void vault_hand_close(struct vault_hand *h)
{
    gw_sealer_free(&h->sealer);
    explicit_bzero(h->random, sizeof(h->random));
}

struct gw_nonce vault_nonce(struct vault_hand *h)
{
    if (h->random_left == 0) {
        for (size_t at = 0; at < sizeof(h->random); at += 256)
            check(getrandom(h->random + at, 256, 0) == 256);
        h->random_left = sizeof(h->random);
    }
    const uint8_t *p = h->random + sizeof(h->random) - h->random_left;
    h->random_left -= VAULT_NONCE_BYTES;
    struct gw_nonce n;
    memcpy(&n.thread, p, sizeof(n.thread));
    memcpy(&n.counter, p + sizeof(n.thread), sizeof(n.counter));
    return n;
}

/* ---- the key ring's own keys ---- */

static struct gw_bytes number_key(uint8_t buf[5], uint32_t number)
{
    buf[0] = GW_NS_KEY;
    gw_put_be32(buf + 1, number);
    return gw_bytes(buf, 5);
}

static int load_one(struct gw_store *s, struct gw_bytes key, struct gw_bytes value, char err[256])
{
    struct gw_wrapped_key w;
    if (key.len != 5 || value.len != VERSION_BYTES + sizeof(w)) {
        snprintf(err, 256, "store: malformed key record");
        return -EBADMSG;
    }
    uint32_t number = gw_be32(key.p + 1);
    if (gw_keyring_has(s->cfg.keys, number))
        return 0;
    memcpy(&w, value.p + VERSION_BYTES, sizeof(w));
    int status = gw_keyring_load(s->cfg.keys, s->hand.sealer, number, &w);
    if (status == -EKEYREJECTED)
        snprintf(err, 256, "store: its keys are wrapped by another master key");
    else if (status)
        snprintf(err, 256, "store: key %" PRIu32 " does not open: it is damaged", number);
    return status;
}

static int put_number(struct gw_store *s, uint32_t number)
{
    uint8_t buf[5];
    struct gw_wrapped_key w;
    int status = gw_keyring_draw(s->cfg.keys, s->hand.sealer, number, &w);
    if (status)
        return status;
    s->ops->batch_clear(s->batch);
    small_put(s, s->batch, number_key(buf, number), gw_bytes(&w, sizeof(w)));
    return s->ops->write(s->engine, s->batch, true);
}

int vault_load(struct gw_store *s, char err[256])
{
    if (s->cfg.keys == NULL)
        return 0;
    static const uint8_t ns = GW_NS_KEY;
    int status = 0;
    struct gw_iter *it = s->ops->iter_new(s->engine, GW_SPACE_KEYS, gw_bytes(&ns, 1));
    /* The root comes first: it says which master key wraps. */
    for (s->ops->seek(it, gw_bytes(&ns, 1)); s->ops->valid(it) && !status; s->ops->next(it))
        status = load_one(s, s->ops->key(it), s->ops->value(it), err);
    if (!status && (status = s->ops->status(it)) != 0)
        snprintf(err, 256, "store: its keys cannot be read: %s", strerror(-status));
    s->ops->iter_free(&it);
    if (!status && !gw_keyring_has(s->cfg.keys, GW_KEY_ROOT)) {
        if (gw_keyring_current(s->cfg.keys) != 0) {
            snprintf(err, 256, "store: its root key is missing");
            return -EBADMSG;
        }
        status = put_number(s, GW_KEY_ROOT);
        if (status)
            snprintf(err, 256, "store: cannot keep a root key: %s", strerror(-status));
    }
    return status;
}

int vault_begin_incarnation(struct gw_store *s, char err[256])
{
    if (s->cfg.keys == NULL)
        return 0;
    uint32_t number = gw_keyring_current(s->cfg.keys) + 1;
    /* One that could not be written is passed over: whether the disk has it nobody knows. */
    while (number <= GW_INCARNATION_MAX && gw_keyring_has(s->cfg.keys, number))
        number++;
    if (number > GW_INCARNATION_MAX) {
        snprintf(err, 256, "store: no incarnation number is left");
        return -EOVERFLOW;
    }
    int status = put_number(s, number);
    if (status)
        snprintf(err, 256, "store: cannot keep a new incarnation key: %s", strerror(-status));
    else
        gw_keyring_use(s->cfg.keys, number);
    return status;
}

/* ---- keys of accounts ---- */

struct gw_bytes vault_account_key(uint8_t buf[VAULT_ACCOUNT_KEY_BYTES],
                                  const struct gw_mailbox_id *mailbox)
{
    buf[0] = GW_NS_ACCOUNT_KEY;
    memcpy(buf + 1, mailbox, sizeof(*mailbox));
    return gw_bytes(buf, VAULT_ACCOUNT_KEY_BYTES);
}

int vault_put_fresh(struct gw_store *s, struct gw_batch *b, const struct gw_identity *id)
{
    uint8_t buf[VAULT_ACCOUNT_KEY_BYTES];
    struct account_key_record r;
    struct gw_mailbox_id mailbox = gw_identity_mailbox(id);
    int err = account_key_make(s->cfg.keys, s->hand.sealer, id, &r);
    if (!err)
        small_put(s, b, vault_account_key(buf, &mailbox), gw_bytes(&r, account_key_len(&r)));
    return err;
}

int vault_open_value(struct gw_store *s, struct vault_hand *h, const struct gw_mailbox_id *mailbox,
                     struct gw_bytes value, struct account_keys *out)
{
    struct account_key_record r;
    if (value.len < VERSION_BYTES ||
        !account_key_parse(mailbox,
                           gw_bytes(value.p + VERSION_BYTES, value.len - VERSION_BYTES), &r))
        return -EBADMSG;
    return account_key_open(s->cfg.keys, h->sealer, &r, out);
}

int vault_fetch(struct gw_store *s, struct vault_hand *h, const struct gw_mailbox_id *mailbox,
                struct account_keys *out)
{
    uint8_t buf[VAULT_ACCOUNT_KEY_BYTES];
    uint8_t value[VERSION_BYTES + sizeof(struct account_key_record)];
    size_t len;
    int err = s->ops->get(s->engine, GW_SPACE_KEYS, vault_account_key(buf, mailbox), value,
                          sizeof(value), &len);
    if (err)
        return err;
    return len > sizeof(value) ? -EBADMSG
                               : vault_open_value(s, h, mailbox, gw_bytes(value, len), out);
}
