/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's half of SCRAM (RFC 5802, RFC 7677), without channel binding and without I/O.
 *
 * Keys are kept for each (password, salt, iterations), so that only the first of many logins pays
 * for the key derivation. User names and passwords are taken as they are: SASLprep is the identity
 * on the ASCII ones that a load generator makes.
 */
#ifndef LOAD_SCRAM_H
#define LOAD_SCRAM_H

#include <stdbool.h>

#include "buffer.h"

enum scram_hash { SCRAM_SHA_1, SCRAM_SHA_256 };

#define SCRAM_DIGEST_MAX 32

struct scram {
    enum scram_hash hash;
    struct buffer first_bare; /* client-first-message-bare */
    size_t nonce_at;          /* of our nonce in it */
    unsigned char server_signature[SCRAM_DIGEST_MAX];
    bool signed_by_us; /* the final message was made, so that the server's can be checked */
};

void scram_begin(struct scram *s, enum scram_hash hash, const char *user, const char *nonce);
/* Appends the client-first-message. */
void scram_first(struct scram *s, struct buffer *out);
/* Appends the client-final-message that answers server_first (NUL-terminated). 0, -EPROTO when the
 * server's message is not one, -EACCES when it does not carry our nonce on. */
int scram_final(struct scram *s, const char *server_first, const char *password,
                struct buffer *out);
/* 0 when the server proved that it knows the account's keys, else -EACCES. */
int scram_verify(const struct scram *s, const char *server_final);
void scram_end(struct scram *s);

/* Forgets all kept keys. */
void scram_cache_free(void);

#endif
