/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key ring: the master key's file, and the incarnation keys that it wraps.
 *
 * Each process start draws a fresh random 256-bit incarnation key, wrapped by the master key and
 * durable in the store before its first use; nonces are (thread, counter) in memory, so nothing that
 * is read from disk ever feeds a nonce. The ring is built at start and only read afterwards, by any
 * thread. Its memory is locked where allowed, left out of core dumps, and wiped when freed.
 */
#ifndef GW_STORAGE_KEYS_H
#define GW_STORAGE_KEYS_H

#include "../dataplane/base/bytes.h"
#include "../dataplane/crypto/seal.h"
#include "segment.h"
#include "store.h"

struct gw_keyring;

/* Read the master key (32 raw bytes or 64 hex digits, file mode 0600 or stricter), unwrap every
 * incarnation key in the store, add and persist a new one. Blocks; start only. On error a message
 * for the operator is in err. */
int gw_keyring_open(struct gw_keyring **out, struct gw_store_client *client,
                    const char *master_key_path, char err[256]);
void gw_keyring_free(struct gw_keyring **k);

uint32_t gw_keyring_current(const struct gw_keyring *k);
/* Raw 32 bytes, or NULL for an incarnation that is not known. */
const uint8_t *gw_keyring_key(const struct gw_keyring *k, uint32_t incarnation);
/* Key of keyed hashes that must be the same after a restart (stanza-id permutation, fake salts):
 * derived from the master key by HMAC-SHA-256 with a label. Writes 32 bytes. */
void gw_keyring_derive(const struct gw_keyring *k, const char *label, uint8_t out[32]);

/* ---- accounts' identity ---- */

/* SHA-256 of an account's identity key: bound into every sealed record of the account. */
struct gw_identity {
    uint8_t hash[32];
};
struct gw_identity gw_identity_of(const uint8_t identity_key[32]);
struct gw_mailbox_id gw_identity_mailbox(const struct gw_identity *id);

/* ---- associated data of a record ---- */

#define GW_RECORD_AAD_BYTES 48
/* identity (zero for EVENTS), position, kind. */
void gw_record_aad(uint8_t aad[GW_RECORD_AAD_BYTES], const struct gw_identity *id,
                   uint64_t position, enum gw_record_kind kind);

/* ---- small records ---- */

#define GW_SMALL_OVERHEAD_BYTES 32
/* out gets len + GW_SMALL_OVERHEAD_BYTES bytes. Bound to namespace and key. Caller's thread owns s. */
void gw_small_seal(const struct gw_keyring *k, struct gw_sealer *s, enum gw_store_ns ns,
                   struct gw_bytes key, struct gw_bytes plain, uint8_t *out);
/* In place: returns the plain bytes inside sealed, or -EBADMSG. */
int gw_small_open(const struct gw_keyring *k, struct gw_sealer *s, enum gw_store_ns ns,
                  struct gw_bytes key, uint8_t *sealed, size_t len, struct gw_bytes *plain);

#endif
