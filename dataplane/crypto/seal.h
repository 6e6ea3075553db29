/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AES-256-GCM in bursts: the seal of everything that is stored, later of TLS records.
 *
 * The real implementation calls Intel ipsec-mb's direct GCM interface; the reference one, OpenSSL,
 * is its oracle in tests. A sealer belongs to one thread and never allocates after open.
 */
#ifndef GW_CRYPTO_SEAL_H
#define GW_CRYPTO_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GW_SEAL_KEY_BYTES 32
#define GW_SEAL_IV_BYTES  12
#define GW_SEAL_TAG_BYTES 16

struct gw_sealer;

enum gw_seal_engine { GW_SEAL_IPSEC_MB, GW_SEAL_REFERENCE };

/* nonce_thread: a number that no other sealer of this process has; it is part of every nonce. */
int gw_sealer_open(struct gw_sealer **out, enum gw_seal_engine engine, uint32_t nonce_thread);
/* Wipes keys. A sealer's memory is left out of core dumps, and locked where allowed. */
void gw_sealer_free(struct gw_sealer **s);

/* A nonce that this process has never used: (thread, counter), little-endian. */
struct gw_nonce {
    uint32_t thread;
    uint64_t counter;
};
struct gw_nonce gw_sealer_nonce(struct gw_sealer *s);
uint32_t gw_sealer_thread(const struct gw_sealer *s);

struct gw_seal_op {
    const uint8_t *key;   /* raw, 32 bytes; expanded once a run of equal pointers */
    struct gw_nonce nonce;
    const uint8_t *aad;
    uint32_t aad_len;
    uint32_t len;         /* of in and out */
    const uint8_t *in;
    uint8_t *out;         /* may be in */
    uint8_t *tag;         /* 16 bytes: written by seal, read by open */
    bool ok;              /* set by open: the tag was right. Otherwise out is zeroed. */
};

void gw_seal_burst(struct gw_sealer *s, struct gw_seal_op *ops, unsigned n);
/* Returns how many were not ok. */
unsigned gw_open_burst(struct gw_sealer *s, struct gw_seal_op *ops, unsigned n);

#endif
