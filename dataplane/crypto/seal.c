/* SPDX-License-Identifier: Apache-2.0 */
#include "seal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "../base/check.h"

struct gw_sealer {
    uint32_t nonce_thread;
    uint64_t nonce_counter;
    const uint8_t *expanded_from; /* the raw key that `key` was expanded from; bursts only */
    IMB_MGR *mgr;                 /* ipsec-mb; NULL for the reference */
    EVP_CIPHER_CTX *evp;          /* reference; NULL for ipsec-mb */
    struct gcm_key_data key;
};

#define MAPPED_BYTES ((sizeof(struct gw_sealer) + 4095) & ~(size_t)4095)

static int open_ipsec_mb(struct gw_sealer *s)
{
    s->mgr = alloc_mb_mgr(0);
    if (s->mgr == NULL)
        return -ENOMEM;
    init_mb_mgr_auto(s->mgr, NULL); /* picks the widest instruction set of this CPU */
    return imb_get_errno(s->mgr) == 0 ? 0 : -ENOTSUP;
}

static int open_reference(struct gw_sealer *s)
{
    s->evp = EVP_CIPHER_CTX_new();
    return s->evp != NULL ? 0 : -ENOMEM;
}

int gw_sealer_open(struct gw_sealer **out, enum gw_seal_engine engine, uint32_t nonce_thread)
{
    struct gw_sealer *s = mmap(NULL, MAPPED_BYTES, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return -ENOMEM;
    madvise(s, MAPPED_BYTES, MADV_DONTDUMP);
    (void)mlock(s, MAPPED_BYTES); /* as with the key ring: see docs/OPERATING.md */
    s->nonce_thread = nonce_thread;
    int err = engine == GW_SEAL_IPSEC_MB ? open_ipsec_mb(s) : open_reference(s);
    if (err) {
        gw_sealer_free(&s);
        return err;
    }
    *out = s;
    return 0;
}

void gw_sealer_free(struct gw_sealer **s)
{
    if (*s == NULL)
        return;
    if ((*s)->mgr)
        free_mb_mgr((*s)->mgr);
    EVP_CIPHER_CTX_free((*s)->evp);
    OPENSSL_cleanse(*s, sizeof(**s));
    munmap(*s, MAPPED_BYTES);
    *s = NULL;
}

struct gw_nonce gw_sealer_nonce(struct gw_sealer *s)
{
    check(s->nonce_counter < UINT64_MAX);
    return (struct gw_nonce){s->nonce_thread, ++s->nonce_counter};
}

uint32_t gw_sealer_thread(const struct gw_sealer *s)
{
    return s->nonce_thread;
}

static void nonce_iv(struct gw_nonce n, uint8_t iv[GW_SEAL_IV_BYTES])
{
    memcpy(iv, &n.thread, 4);
    memcpy(iv + 4, &n.counter, 8);
}

/* Equal pointers in a row are the same key: within one burst callers do not change key bytes. */
static void expand(struct gw_sealer *s, const uint8_t *key)
{
    if (s->expanded_from == key)
        return;
    IMB_AES256_GCM_PRE(s->mgr, key, &s->key);
    s->expanded_from = key;
}

static void reference_seal(struct gw_sealer *s, const struct gw_seal_op *op)
{
    uint8_t iv[GW_SEAL_IV_BYTES];
    int n;
    nonce_iv(op->nonce, iv);
    check(EVP_EncryptInit_ex(s->evp, EVP_aes_256_gcm(), NULL, op->key, iv) == 1);
    check(EVP_EncryptUpdate(s->evp, NULL, &n, op->aad, (int)op->aad_len) == 1);
    check(EVP_EncryptUpdate(s->evp, op->out, &n, op->in, (int)op->len) == 1);
    check(EVP_EncryptFinal_ex(s->evp, op->out + op->len, &n) == 1);
    check(EVP_CIPHER_CTX_ctrl(s->evp, EVP_CTRL_GCM_GET_TAG, GW_SEAL_TAG_BYTES, op->tag) == 1);
}

static bool reference_open(struct gw_sealer *s, const struct gw_seal_op *op)
{
    uint8_t iv[GW_SEAL_IV_BYTES];
    int n;
    nonce_iv(op->nonce, iv);
    check(EVP_DecryptInit_ex(s->evp, EVP_aes_256_gcm(), NULL, op->key, iv) == 1);
    check(EVP_DecryptUpdate(s->evp, NULL, &n, op->aad, (int)op->aad_len) == 1);
    check(EVP_DecryptUpdate(s->evp, op->out, &n, op->in, (int)op->len) == 1);
    check(EVP_CIPHER_CTX_ctrl(s->evp, EVP_CTRL_GCM_SET_TAG, GW_SEAL_TAG_BYTES, op->tag) == 1);
    return EVP_DecryptFinal_ex(s->evp, op->out + op->len, &n) == 1;
}

static bool ipsec_mb_open(struct gw_sealer *s, const struct gw_seal_op *op)
{
    uint8_t iv[GW_SEAL_IV_BYTES], tag[GW_SEAL_TAG_BYTES];
    nonce_iv(op->nonce, iv);
    expand(s, op->key);
    struct gcm_context_data ctx;
    IMB_AES256_GCM_DEC(s->mgr, &s->key, &ctx, op->out, op->in, op->len, iv, op->aad, op->aad_len,
                       tag, GW_SEAL_TAG_BYTES);
    return CRYPTO_memcmp(tag, op->tag, GW_SEAL_TAG_BYTES) == 0;
}

static void ipsec_mb_seal(struct gw_sealer *s, const struct gw_seal_op *op)
{
    uint8_t iv[GW_SEAL_IV_BYTES];
    nonce_iv(op->nonce, iv);
    expand(s, op->key);
    struct gcm_context_data ctx;
    IMB_AES256_GCM_ENC(s->mgr, &s->key, &ctx, op->out, op->in, op->len, iv, op->aad, op->aad_len,
                       op->tag, GW_SEAL_TAG_BYTES);
}

void gw_seal_burst(struct gw_sealer *s, struct gw_seal_op *ops, unsigned n)
{
    s->expanded_from = NULL;
    for (unsigned i = 0; i < n; i++) {
        if (s->mgr)
            ipsec_mb_seal(s, &ops[i]);
        else
            reference_seal(s, &ops[i]);
    }
}

unsigned gw_open_burst(struct gw_sealer *s, struct gw_seal_op *ops, unsigned n)
{
    unsigned bad = 0;
    s->expanded_from = NULL;
    for (unsigned i = 0; i < n; i++) {
        ops[i].ok = s->mgr ? ipsec_mb_open(s, &ops[i]) : reference_open(s, &ops[i]);
        if (!ops[i].ok) {
            memset(ops[i].out, 0, ops[i].len);
            bad++;
        }
    }
    return bad;
}
