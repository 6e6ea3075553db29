/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key ring: the master key, and what it wraps.
 *
 * The master key comes from a file and never enters the store. It wraps, each bound to its name by
 * associated data:
 *   - the root key, drawn once in a store's life, from which keyed hashes derive;
 *   - incarnation keys, one drawn at each start and at each rotation, which seal the log and small
 *     records; nonces are (thread, counter) in memory, so nothing read from disk ever feeds a nonce;
 *   - account keys, see storage/account_key.h.
 *
 * The ring's memory is locked where allowed, left out of core dumps, and wiped when freed. Lcores
 * only read incarnation keys, without a lock; what touches the master key takes one.
 */
#ifndef GW_STORAGE_KEYS_H
#define GW_STORAGE_KEYS_H

#include "../dataplane/base/bytes.h"
#include "../dataplane/crypto/seal.h"
#include "segment.h"

struct gw_keyring;

#define GW_INCARNATION_MAX 65535u
#define GW_KEY_ROOT        0u /* in the place of an incarnation's number */

/* Reads the master key: 32 raw bytes or 64 hex digits. `where` is a path of a file of mode 0600 or
 * stricter, or "credential:NAME" for a file of that name in $CREDENTIALS_DIRECTORY (systemd). While
 * the master key is being replaced the next one lies beside it, its name ending in ".next": both
 * are read, and each key is unwrapped by the one that wrapped it. Blocks. On error a message for
 * the operator is in err. */
int gw_keyring_open(struct gw_keyring **out, const char *where, char err[256]);
void gw_keyring_free(struct gw_keyring **k);

/* ---- for those who seal and open (any thread, no lock) ---- */

/* 0: none yet. */
uint32_t gw_keyring_current(const struct gw_keyring *k);
/* Raw 32 bytes, or NULL for an incarnation that is not known. */
const uint8_t *gw_keyring_key(const struct gw_keyring *k, uint32_t incarnation);
/* Key of keyed hashes that must be the same after a restart (stanza-id permutation, fake salts):
 * derived from the root key by HMAC-SHA-256 with a label. Writes 32 bytes. */
void gw_keyring_derive(const struct gw_keyring *k, const char *label, uint8_t out[32]);

/* ---- wrapping (not on lcores: takes a lock, draws random bytes) ---- */

#define GW_MASTER_ID_BYTES 8

/* As it lies in the store. */
struct gw_wrapped_key {
    uint8_t format;
    uint8_t reserved[3];
    uint8_t master_id[GW_MASTER_ID_BYTES]; /* which master key */
    uint8_t iv[12];
    uint8_t tag[16];
    uint8_t key[32];
};
_Static_assert(sizeof(struct gw_wrapped_key) == 72, "wrapped key");

/* `name` is bound to it: the same must be given to unwrap. 0 or -EIO. The caller's thread owns s. */
int gw_keyring_wrap(struct gw_keyring *k, struct gw_sealer *s, struct gw_bytes name,
                    const uint8_t key[32], struct gw_wrapped_key *out);
/* 0; -EKEYREJECTED: another master key wrapped it; -EBADMSG: it does not open. */
int gw_keyring_unwrap(struct gw_keyring *k, struct gw_sealer *s, struct gw_bytes name,
                      const struct gw_wrapped_key *w, uint8_t key[32]);
/* Whether it is wrapped by the master key that wraps now. */
bool gw_keyring_is_current(struct gw_keyring *k, const struct gw_wrapped_key *w);
/* Wrapped anew by the master key that wraps now. 0, -EKEYREJECTED, -EBADMSG, -EIO. */
int gw_keyring_rewrap(struct gw_keyring *k, struct gw_sealer *s, struct gw_bytes name,
                      struct gw_wrapped_key *w);

/* ---- the master key's rotation ---- */

/* Reads the next master key from beside the first; from now on it wraps. 0; -ENOENT: there is none;
 * -EEXIST: it is the one that wraps already; other errors with a message in err. */
int gw_keyring_master_next(struct gw_keyring *k, char err[256]);
/* Nothing is wrapped by any other any more: they are wiped. */
void gw_keyring_master_settle(struct gw_keyring *k);
/* How many master keys are in memory, and which one wraps. */
unsigned gw_keyring_masters(struct gw_keyring *k, uint8_t current_id[GW_MASTER_ID_BYTES]);

/* ---- incarnations and the root key: the store keeps them, see vault.c ---- */

/* Whether a number's key is in the ring. */
bool gw_keyring_has(const struct gw_keyring *k, uint32_t number);
/* A wrapped key from the store. 0, -EKEYREJECTED, -EBADMSG. The highest number becomes current. */
int gw_keyring_load(struct gw_keyring *k, struct gw_sealer *s, uint32_t number,
                    const struct gw_wrapped_key *w);
/* A fresh key under this number: usable for opening at once, for sealing after gw_keyring_use, when
 * the wrapped form is durable. */
int gw_keyring_draw(struct gw_keyring *k, struct gw_sealer *s, uint32_t number,
                    struct gw_wrapped_key *out);
void gw_keyring_use(struct gw_keyring *k, uint32_t number);
/* The key is gone from the store. It stays in the ring until gw_keyring_wipe_retired, which the next
 * rotation calls first: so what was read under it just now still opens. */
void gw_keyring_retire(struct gw_keyring *k, uint32_t number);
void gw_keyring_wipe_retired(struct gw_keyring *k);
/* How many keys of incarnations are in the ring, retired ones left out. */
unsigned gw_keyring_incarnations(const struct gw_keyring *k);
int gw_keyring_rewrap_number(struct gw_keyring *k, struct gw_sealer *s, uint32_t number,
                             struct gw_wrapped_key *w);

/* ---- accounts' identity ---- */

/* SHA-256 of an account's identity key: bound into every sealed record of the account. */
struct gw_identity {
    uint8_t hash[32];
};
struct gw_identity gw_identity_of(const uint8_t identity_key[32]);
struct gw_mailbox_id gw_identity_mailbox(const struct gw_identity *id);

/* ---- associated data of a record ---- */

#define GW_RECORD_AAD_BYTES 48
/* Identity (zero for EVENTS), position, kind, and whether it is under the account's key. */
void gw_record_aad(uint8_t aad[GW_RECORD_AAD_BYTES], const struct gw_identity *id,
                   uint64_t position, enum gw_record_kind kind, bool account_key);
/* Of a REMOVE: the store opens it for a mailbox whose identity it knows by its first half only. */
void gw_removal_aad(uint8_t aad[GW_RECORD_AAD_BYTES], const struct gw_mailbox_id *mailbox,
                    uint64_t position);

/* ---- small records ---- */

#define GW_SMALL_OVERHEAD_BYTES 32
#define GW_SMALL_KEY_BYTES_MAX  3071 /* the longest bare JID fits, RFC 7622 section 3.1 */
/* out gets len + GW_SMALL_OVERHEAD_BYTES bytes. Bound to namespace and key. Caller's thread owns s. */
void gw_small_seal(const struct gw_keyring *k, struct gw_sealer *s, uint8_t ns, struct gw_bytes key,
                   struct gw_bytes plain, uint8_t *out);
/* In place: returns the plain bytes inside sealed, or -EBADMSG. */
int gw_small_open(const struct gw_keyring *k, struct gw_sealer *s, uint8_t ns, struct gw_bytes key,
                  uint8_t *sealed, size_t len, struct gw_bytes *plain);
/* The incarnation under which a small record is sealed; 0 when it is too short to be one. */
uint32_t gw_small_incarnation(const uint8_t *sealed, size_t len);

/* ---- records ---- */

/* The operation that seals or opens a record in place, under the nonce in its head. aad
 * (GW_RECORD_AAD_BYTES) lives until the burst. */
static inline struct gw_seal_op gw_record_op(struct gw_record_head *r, const uint8_t *key,
                                             const uint8_t *aad)
{
    return (struct gw_seal_op){.key = key,
                               .nonce = {r->nonce_thread, r->nonce_counter},
                               .aad = aad,
                               .aad_len = GW_RECORD_AAD_BYTES,
                               .len = (uint32_t)gw_record_body_len(r),
                               .in = (uint8_t *)(r + 1),
                               .out = (uint8_t *)(r + 1),
                               .tag = r->tag};
}

/* The same into *op for a record that is to be sealed now: under the incarnation in use and a fresh
 * nonce, both noted in its head. (What was just stored there by parts is not read again as a whole: the
 * CPU would wait until all earlier stores are done.) */
static inline void gw_record_seal_op(struct gw_seal_op *op, const struct gw_keyring *k,
                                     struct gw_sealer *s, struct gw_record_head *r,
                                     const uint8_t *aad)
{
    uint32_t incarnation = gw_keyring_current(k);
    op->nonce = gw_sealer_nonce(s);
    op->key = gw_keyring_key(k, incarnation);
    op->aad = aad;
    op->aad_len = GW_RECORD_AAD_BYTES;
    op->len = (uint32_t)gw_record_body_len(r);
    op->in = op->out = (uint8_t *)(r + 1);
    op->tag = r->tag;
    op->ok = false;
    r->incarnation = incarnation;
    r->nonce_thread = op->nonce.thread;
    r->nonce_counter = op->nonce.counter;
}

#endif
