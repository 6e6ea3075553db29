/* SPDX-License-Identifier: Apache-2.0 */
#include "hash.h"

#include <errno.h>
#include <stdlib.h>

#include <intel-ipsec-mb.h>

#include "../base/check.h"

#define BLOCK_BYTES 64 /* of both hashes */

struct gw_hasher {
    IMB_MGR *mgr;
    uint8_t work[BLOCK_BYTES + GW_HMAC_MESSAGE_BYTES_MAX];
};

int gw_hasher_open(struct gw_hasher **out)
{
    struct gw_hasher *h = calloc(1, sizeof(*h));
    if (h == NULL)
        return -ENOMEM;
    h->mgr = alloc_mb_mgr(0);
    if (h->mgr == NULL) {
        free(h);
        return -ENOMEM;
    }
    init_mb_mgr_auto(h->mgr, NULL);
    *out = h;
    return 0;
}

void gw_hasher_free(struct gw_hasher **h)
{
    if (*h == NULL)
        return;
    free_mb_mgr((*h)->mgr);
    explicit_bzero((*h)->work, sizeof((*h)->work));
    free(*h);
    *h = NULL;
}

void gw_hash(struct gw_hasher *h, enum gw_hash alg, struct gw_bytes data,
             uint8_t out[GW_HASH_BYTES_MAX])
{
    /* The library refuses a null pointer even for no bytes. */
    const uint8_t *p = data.p ? data.p : h->work;
    if (alg == GW_HASH_SHA_1)
        IMB_SHA1(h->mgr, p, data.len, out);
    else
        IMB_SHA256(h->mgr, p, data.len, out);
}

static void xor_pad(uint8_t pad[BLOCK_BYTES], const uint8_t key[BLOCK_BYTES], uint8_t with)
{
    for (int i = 0; i < BLOCK_BYTES; i++)
        pad[i] = key[i] ^ with;
}

void gw_hmac(struct gw_hasher *h, enum gw_hash alg, struct gw_bytes key,
             const struct gw_bytes *pieces, unsigned piece_count, uint8_t out[GW_HASH_BYTES_MAX])
{
    uint8_t k[BLOCK_BYTES] = {0};
    if (key.len > BLOCK_BYTES)
        gw_hash(h, alg, key, k);
    else
        memcpy(k, key.p, key.len);

    size_t len = BLOCK_BYTES;
    xor_pad(h->work, k, 0x36);
    for (unsigned i = 0; i < piece_count; i++) {
        check(pieces[i].len <= sizeof(h->work) - len);
        if (pieces[i].len)
            memcpy(h->work + len, pieces[i].p, pieces[i].len);
        len += pieces[i].len;
    }
    uint8_t inner[GW_HASH_BYTES_MAX];
    gw_hash(h, alg, gw_bytes(h->work, len), inner);

    xor_pad(h->work, k, 0x5c);
    memcpy(h->work + BLOCK_BYTES, inner, gw_hash_bytes(alg));
    gw_hash(h, alg, gw_bytes(h->work, BLOCK_BYTES + gw_hash_bytes(alg)), out);
    explicit_bzero(k, sizeof(k));
}
