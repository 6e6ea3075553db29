/* SPDX-License-Identifier: Apache-2.0 */
/* A keyed permutation of 16-byte blocks (AES-128): turns (mailbox, position) into a stanza-id. */
#ifndef GW_CRYPTO_PERMUTE_H
#define GW_CRYPTO_PERMUTE_H

#include <stdint.h>

struct gw_permuter;

/* One a thread; key is 16 bytes. */
int gw_permuter_open(struct gw_permuter **out, const uint8_t key[16]);
void gw_permuter_free(struct gw_permuter **p);
void gw_permute(struct gw_permuter *p, const uint8_t in[16], uint8_t out[16]);

#endif
