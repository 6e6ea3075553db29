/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-1, SHA-256 and HMAC (RFC 2104) without heap or locks, for SCRAM on a polled core.
 *
 * ipsec-mb has the hashes as direct calls; HMAC over them is written here, as OpenSSL's allocates.
 */
#ifndef GW_CRYPTO_HASH_H
#define GW_CRYPTO_HASH_H

#include <stdint.h>

#include "../base/bytes.h"

#define GW_HASH_BYTES_MAX 32

enum gw_hash { GW_HASH_SHA_1, GW_HASH_SHA_256 };

static inline size_t gw_hash_bytes(enum gw_hash h)
{
    return h == GW_HASH_SHA_1 ? 20 : 32;
}

struct gw_hasher;

/* One a thread. */
int gw_hasher_open(struct gw_hasher **out);
void gw_hasher_free(struct gw_hasher **h);

void gw_hash(struct gw_hasher *h, enum gw_hash alg, struct gw_bytes data,
             uint8_t out[GW_HASH_BYTES_MAX]);

/* The pieces, one after the other, are the message; together at most GW_HMAC_MESSAGE_BYTES_MAX. */
#define GW_HMAC_MESSAGE_BYTES_MAX 8192
void gw_hmac(struct gw_hasher *h, enum gw_hash alg, struct gw_bytes key,
             const struct gw_bytes *pieces, unsigned piece_count, uint8_t out[GW_HASH_BYTES_MAX]);

/* Without a data-dependent branch: for proofs and tags. */
static inline bool gw_equal_secret(const uint8_t *a, const uint8_t *b, size_t len)
{
    uint8_t d = 0;
    for (size_t i = 0; i < len; i++)
        d |= a[i] ^ b[i];
    return d == 0;
}

#endif
