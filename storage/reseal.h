/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the two keys of a message: sealed under the incarnation's in the log, under its account's
 * in its mailbox. What cannot be sealed anew (no key, or it does not open) stays as it is: it is for
 * the reader to say that it is damaged.
 */
#ifndef GW_STORAGE_RESEAL_H
#define GW_STORAGE_RESEAL_H

#include "vault.h"

#define RESEAL_BURST 64u

/* A walk over messages of the window in the order of mailboxes, as pairs for the engine, sealed
 * under their accounts' keys on the way. Without a key ring the messages as they are. */
struct reseal {
    struct gw_pair_source source;
    struct gw_store *s;
    struct vault_hand *hand;
    const struct gw_pair *in; /* key, and the record in the window */
    size_t count, at;
    struct gw_iter *keys; /* walked along: mailboxes and keys have the same order */
    struct gw_pair out[RESEAL_BURST];
    unsigned out_count, out_at;
    struct account_keys account[RESEAL_BURST];
    unsigned account_count;
    uint64_t resealed, unkeyed; /* for the counters, which another thread owns */
    uint8_t *buf;
};

/* buf: RESEAL_BUF_BYTES, which nobody else uses meanwhile. */
#define RESEAL_BUF_BYTES (2u * GW_SEGMENT_BYTES_MAX)
void reseal_begin(struct reseal *x, struct gw_store *s, struct vault_hand *hand, uint8_t *buf,
                  const struct gw_pair *in, size_t count);
/* Wipes; the counts stay. */
void reseal_end(struct reseal *x);

/* A record of a mailbox as it is stored, under the incarnation's key or the account's: opened in
 * place. `keys` may be NULL. Whether it opened. */
bool reseal_open(struct gw_store *s, struct vault_hand *hand, const struct gw_identity *id,
                 const struct account_keys *keys, struct gw_record_head *r);
/* One that is open, under the newest of the keys. */
void reseal_seal(struct vault_hand *hand, const struct account_keys *keys,
                 struct gw_record_head *r);

/* Opens in place what a reader of this identity gets: records under the account's key are opened, or
 * left out when they do not. *len shrinks. Storage thread. Returns how many were left out. */
unsigned reseal_open_run(struct gw_store *s, const struct gw_identity *id, uint8_t *run,
                         uint32_t *len);

#endif
