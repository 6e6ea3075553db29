/* SPDX-License-Identifier: Apache-2.0 */
#include "login.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../../dataplane/xmpp/sasl.h"

void login_init(struct login *l, struct gw_hasher *h, const uint8_t client_key[32])
{
    memcpy(l->client_key, client_key, sizeof(l->client_key));
    gw_hash(h, GW_HASH_SHA_256, gw_bytes(client_key, 32), l->stored_key);
}

void login_first(struct login *l, unsigned user, uint64_t nonce, char out[128])
{
    char first[80];
    snprintf(l->first_bare, sizeof(l->first_bare), "n=u%u,r=%016" PRIx64, user, nonce);
    int n = snprintf(first, sizeof(first), "n,,%s", l->first_bare);
    gw_base64_encode(gw_bytes(first, (size_t)n), out);
}

bool login_final(struct login *l, struct gw_hasher *h, struct gw_bytes challenge, char out[1024])
{
    int n = gw_base64_decode(challenge, (uint8_t *)l->server_first, sizeof(l->server_first) - 1);
    if (n < 0)
        return false;
    l->server_first[n] = '\0';
    char *end = strstr(l->server_first, ",s=");
    if (end == NULL || strncmp(l->server_first, "r=", 2) != 0)
        return false;
    char without_proof[300], final[512];
    int len = snprintf(without_proof, sizeof(without_proof), "c=biws,%.*s",
                       (int)(end - l->server_first), l->server_first);
    struct gw_bytes message[5] = {gw_bytes_str(l->first_bare), GW_LIT(","),
                                  gw_bytes(l->server_first, (size_t)n), GW_LIT(","),
                                  gw_bytes(without_proof, (size_t)len)};
    uint8_t proof[32];
    gw_hmac(h, GW_HASH_SHA_256, gw_bytes(l->stored_key, 32), message, 5, proof);
    for (unsigned i = 0; i < sizeof(proof); i++)
        proof[i] ^= l->client_key[i];
    len = snprintf(final, sizeof(final), "%s,p=", without_proof);
    len += (int)gw_base64_encode(gw_bytes(proof, sizeof(proof)), final + len);
    gw_base64_encode(gw_bytes(final, (size_t)len), out);
    return true;
}
