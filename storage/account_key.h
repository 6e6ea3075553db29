/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Account keys: what seals an account's messages once they are spilled to its mailbox.
 *
 * A random 256-bit key, wrapped by the master key and bound to the account's identity, in a record
 * of the store named by its mailbox. While a new key replaces an old one the record holds both, and
 * a message says by its generation which it needs. Nonces under it are random: it outlives
 * processes, and no counter on disk is trusted. One key may seal 2^32 messages before that is a
 * risk worth a thought; key rotation draws a new one.
 */
#ifndef GW_STORAGE_ACCOUNT_KEY_H
#define GW_STORAGE_ACCOUNT_KEY_H

#include "keys.h"

#define ACCOUNT_KEY_GENERATIONS 2

/* As it lies in the store; the newest key first, and only `count` of them. */
struct account_key_record {
    uint8_t format;
    uint8_t count;
    uint8_t reserved[2];
    uint8_t identity[32];
    struct {
        uint32_t generation;
        struct gw_wrapped_key wrapped;
    } keys[ACCOUNT_KEY_GENERATIONS];
};

/* Opened: wipe it after use. */
struct account_keys {
    unsigned count;
    uint32_t generation[ACCOUNT_KEY_GENERATIONS];
    uint8_t key[ACCOUNT_KEY_GENERATIONS][32];
    struct gw_identity identity;
};

size_t account_key_len(const struct account_key_record *r);
/* A fresh key of generation 1. 0 or -EIO. */
int account_key_make(struct gw_keyring *k, struct gw_sealer *s, const struct gw_identity *id,
                     struct account_key_record *out);
/* The bytes as a record, of this mailbox. False: they are none. */
bool account_key_parse(const struct gw_mailbox_id *mailbox, struct gw_bytes value,
                       struct account_key_record *out);
/* 0, -EKEYREJECTED, -EBADMSG. */
int account_key_open(struct gw_keyring *k, struct gw_sealer *s, const struct account_key_record *r,
                     struct account_keys *out);
void account_keys_wipe(struct account_keys *keys);
/* The key of a generation, or NULL. */
const uint8_t *account_keys_find(const struct account_keys *keys, uint32_t generation);
/* A fresh key in front; the newest so far stays behind it. 0 or -EIO. */
int account_key_renew(struct gw_keyring *k, struct gw_sealer *s, struct account_key_record *r);
/* Only the newest stays. */
void account_key_settle(struct account_key_record *r);
/* Every key in it wrapped by the master key that wraps now. *changed: whether any was not. */
int account_key_rewrap(struct gw_keyring *k, struct gw_sealer *s, struct account_key_record *r,
                       bool *changed);

#endif
