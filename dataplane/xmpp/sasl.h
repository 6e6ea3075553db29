/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCRAM's messages (RFC 5802 section 7, RFC 7677): pure functions on text and keys.
 * The server side, without channel binding: that comes with TLS.
 */
#ifndef GW_XMPP_SASL_H
#define GW_XMPP_SASL_H

#include "../../storage/account.h"
#include "../crypto/hash.h"

#define GW_SCRAM_NONCE_BYTES_MAX 256 /* the client's */
#define GW_SCRAM_NAME_BYTES_MAX  1023

/* X(upper, RFC 6120 section 6.5 condition) */
#define GW_SASL_FAILURES(X)                                                                        \
    X(ABORTED, "aborted")                                                                          \
    X(INCORRECT_ENCODING, "incorrect-encoding")                                                    \
    X(INVALID_AUTHZID, "invalid-authzid")                                                          \
    X(INVALID_MECHANISM, "invalid-mechanism")                                                      \
    X(MALFORMED_REQUEST, "malformed-request")                                                      \
    X(NOT_AUTHORIZED, "not-authorized")                                                            \
    X(TEMPORARY_AUTH_FAILURE, "temporary-auth-failure")

enum gw_sasl_failure {
    GW_SASL_OK,
#define X(upper, name) GW_SASL_##upper,
    GW_SASL_FAILURES(X)
#undef X
};

const char *gw_sasl_failure_name(enum gw_sasl_failure f);

struct gw_scram_first {
    struct gw_bytes gs2_header; /* up to and with the second comma */
    struct gw_bytes bare;       /* the rest: client-first-message-bare */
    struct gw_bytes authzid;    /* encoded as saslname */
    struct gw_bytes name;       /* encoded as saslname */
    struct gw_bytes nonce;
};

/* Parse client-first-message. */
enum gw_sasl_failure gw_scram_parse_first(struct gw_bytes m, struct gw_scram_first *out);
/* Decode =2C and =3D. Length or -1. */
int gw_scram_saslname(struct gw_bytes in, char *out, size_t cap);

struct gw_scram_final {
    struct gw_bytes binding; /* base64 */
    struct gw_bytes nonce;
    struct gw_bytes without_proof; /* client-final-message-without-proof */
    struct gw_bytes proof;         /* base64 */
};

enum gw_sasl_failure gw_scram_parse_final(struct gw_bytes m, struct gw_scram_final *out);

/* Whether proof (key bytes) fits keys and the auth message (its pieces in order); when it does, the
 * server's signature is written. RFC 5802 section 3. */
bool gw_scram_verify(struct gw_hasher *h, enum gw_scram_hash hash, const struct gw_scram_keys *keys,
                     const struct gw_bytes *auth_message, unsigned piece_count,
                     const uint8_t *proof, uint8_t *signature);

/* Base64 with padding, strict. Decoding returns the length or -1. */
int gw_base64_decode(struct gw_bytes in, uint8_t *out, size_t cap);
size_t gw_base64_encode(struct gw_bytes in, char *out); /* 4 * ((len + 2) / 3) + 1 bytes */

#endif
