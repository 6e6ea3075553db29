/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The account record: what the server keeps instead of a password.
 *
 * One small record in GW_NS_ACCOUNT, key = bare JID, sealed by gw_small_seal. SCRAM keys as RFC 5802
 * section 3 defines them, one set a mechanism; their text form is RFC 5803's.
 */
#ifndef GW_STORAGE_ACCOUNT_H
#define GW_STORAGE_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../dataplane/base/bytes.h"

#define GW_SCRAM_SALT_BYTES_MAX 64
#define GW_SCRAM_KEY_BYTES_MAX  64
/* RFC 7677 section 4: at least 4096; an upper bound keeps a forged import from stalling clients. */
#define GW_SCRAM_ITERATIONS_MIN 4096u
#define GW_SCRAM_ITERATIONS_MAX 10000000u

/* X(upper, hash name, key bytes) in the order of preference, weakest first */
#define GW_SCRAM_HASHES(X)                                                                         \
    X(SHA_1, "SHA-1", 20)                                                                          \
    X(SHA_256, "SHA-256", 32)

enum gw_scram_hash {
#define X(upper, name, bytes) GW_SCRAM_##upper,
    GW_SCRAM_HASHES(X)
#undef X
        GW_SCRAM_HASH_COUNT
};

const char *gw_scram_hash_name(enum gw_scram_hash h);
size_t gw_scram_key_bytes(enum gw_scram_hash h);

struct gw_scram_keys {
    uint32_t iterations; /* 0: this account has no keys for this mechanism */
    uint8_t salt_len;
    uint8_t salt[GW_SCRAM_SALT_BYTES_MAX];
    uint8_t stored_key[GW_SCRAM_KEY_BYTES_MAX];
    uint8_t server_key[GW_SCRAM_KEY_BYTES_MAX];
};

struct gw_account {
    uint8_t identity_key[32]; /* random, immutable */
    uint64_t created_us;      /* wall clock */
    uint64_t bytes_max;       /* that may wait for it; 0: as configured */
    uint32_t messages_max;    /* likewise */
    struct gw_scram_keys scram[GW_SCRAM_HASH_COUNT];
};

#define GW_ACCOUNT_PACKED_BYTES_MAX 640

size_t gw_account_pack(const struct gw_account *a, uint8_t out[GW_ACCOUNT_PACKED_BYTES_MAX]);
/* 0 or -EBADMSG. */
int gw_account_unpack(const uint8_t *p, size_t len, struct gw_account *out);

/* Parse one RFC 5803 value, "SCRAM-SHA-256$4096:base64salt$base64stored:base64server".
 * 0 and *hash, *keys; -EINVAL with *err a constant message. */
int gw_scram_keys_parse(struct gw_bytes text, enum gw_scram_hash *hash, struct gw_scram_keys *keys,
                        const char **err);

/* PBKDF2 and the HMACs of RFC 5802 section 3 (OpenSSL; costs `iterations` hashes; never on a
 * dataplane lcore). The password is SASLprep'ed UTF-8. keys->salt and iterations are given. */
int gw_scram_keys_derive(enum gw_scram_hash hash, struct gw_bytes password,
                         struct gw_scram_keys *keys);

#endif
