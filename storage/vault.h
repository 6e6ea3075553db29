/* SPDX-License-Identifier: Apache-2.0 */
/* The store's keys: where they lie in the space KEYS, and what the store's threads do with them. */
#ifndef GW_STORAGE_VAULT_H
#define GW_STORAGE_VAULT_H

#include "account_key.h"
#include "engine.h"

struct gw_store;

#define VAULT_NONCE_BYTES 12

/* What a thread of the store needs to seal and open. */
struct vault_hand {
    struct gw_sealer *sealer;
    uint8_t random[256 * VAULT_NONCE_BYTES];
    size_t random_left;
};

/* nonce_thread: see gw_sealer_open. */
int vault_hand_open(struct vault_hand *h, uint32_t nonce_thread);
void vault_hand_close(struct vault_hand *h);
/* Twelve random bytes as a nonce: for keys that outlive this process. */
struct gw_nonce vault_nonce(struct vault_hand *h);

/* ---- the key ring's own keys (storage thread; at open its caller) ---- */

/* Loads those that the ring does not have yet; the first time in a store's life makes the root. */
int vault_load(struct gw_store *s, char err[256]);
/* A fresh incarnation, durable, in use. 0 or negative errno with a message in err. */
int vault_begin_incarnation(struct gw_store *s, char err[256]);

/* ---- keys of accounts ---- */

#define VAULT_ACCOUNT_KEY_BYTES (1 + sizeof(struct gw_mailbox_id))
struct gw_bytes vault_account_key(uint8_t buf[VAULT_ACCOUNT_KEY_BYTES],
                                  const struct gw_mailbox_id *mailbox);

/* Into the batch: a fresh key for an account. Storage thread. 0 or -EIO. */
int vault_put_fresh(struct gw_store *s, struct gw_batch *b, const struct gw_identity *id);
/* Opens the key of a mailbox. 0; -ENOENT: there is none; -EBADMSG, -EKEYREJECTED: it does not open;
 * -EIO. Any thread of the store, with a hand of its own; the caller wipes *out. */
int vault_fetch(struct gw_store *s, struct vault_hand *h, const struct gw_mailbox_id *mailbox,
                struct account_keys *out);
/* A value of the space KEYS as it is stored, version in front. */
int vault_open_value(struct gw_store *s, struct vault_hand *h, const struct gw_mailbox_id *mailbox,
                     struct gw_bytes value, struct account_keys *out);

#endif
