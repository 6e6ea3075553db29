/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCRAM-SHA-256 (RFC 5802, RFC 7677) as a client, whose keys are known: no password is ever derived,
 * so that a log-in costs three hashes.
 */
#ifndef SIM_LOGIN_H
#define SIM_LOGIN_H

#include "../../dataplane/crypto/hash.h"

struct login {
    uint8_t client_key[32], stored_key[32];
    char first_bare[64], server_first[512];
};

/* The account's keys of a random client key. */
void login_init(struct login *l, struct gw_hasher *h, const uint8_t client_key[32]);
/* The client's first message as base64, for <auth/>. */
void login_first(struct login *l, unsigned user, uint64_t nonce, char out[128]);
/* The answer to a challenge, both as base64. False: this is no challenge to our message. */
bool login_final(struct login *l, struct gw_hasher *h, struct gw_bytes challenge, char out[1024]);

#endif
