/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "../../dataplane/crypto/hash.h"
#include "../../dataplane/crypto/permute.h"
#include "../../dataplane/crypto/seal.h"

static struct gw_sealer *fast, *plain;

static void open_both(void)
{
    cr_assert_eq(gw_sealer_open(&fast, GW_SEAL_IPSEC_MB, 7), 0);
    cr_assert_eq(gw_sealer_open(&plain, GW_SEAL_REFERENCE, 7), 0);
}

static void free_both(void)
{
    gw_sealer_free(&fast);
    gw_sealer_free(&plain);
    cr_assert_null(fast);
}

static void fill(uint8_t *p, size_t n, unsigned *seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)rand_r(seed);
}

enum { BATCH = 32, LEN_MAX = 9000 };
static uint8_t in[BATCH][LEN_MAX], out_fast[BATCH][LEN_MAX], out_plain[BATCH][LEN_MAX];
static uint8_t tag_fast[BATCH][16], tag_plain[BATCH][16], aad[BATCH][64], keys[4][32];

Test(seal, agrees_with_the_reference, .init = open_both, .fini = free_both)
{
    unsigned seed = 42;
    for (int round = 0; round < 50; round++) {
        struct gw_seal_op a[BATCH], b[BATCH];
        fill(keys[0], sizeof(keys), &seed);
        for (int i = 0; i < BATCH; i++) {
            uint32_t len = (uint32_t)rand_r(&seed) % (i < 28 ? 600 : LEN_MAX);
            fill(in[i], len, &seed);
            fill(aad[i], 64, &seed);
            a[i] = (struct gw_seal_op){.key = keys[rand_r(&seed) % 4],
                                       .nonce = gw_sealer_nonce(fast),
                                       .aad = aad[i],
                                       .aad_len = (uint32_t)rand_r(&seed) % 65,
                                       .len = len,
                                       .in = in[i],
                                       .out = out_fast[i],
                                       .tag = tag_fast[i]};
            b[i] = a[i];
            b[i].out = out_plain[i];
            b[i].tag = tag_plain[i];
        }
        gw_seal_burst(fast, a, BATCH);
        gw_seal_burst(plain, b, BATCH);
        for (int i = 0; i < BATCH; i++) {
            cr_assert_eq(memcmp(out_fast[i], out_plain[i], a[i].len), 0, "round %d op %d", round, i);
            cr_assert_eq(memcmp(tag_fast[i], tag_plain[i], 16), 0);
            a[i].in = out_fast[i]; /* open in place */
            b[i].in = out_plain[i];
        }
        int hurt = rand_r(&seed) % BATCH;
        tag_fast[hurt][rand_r(&seed) % 16] ^= 1;
        cr_assert_eq(gw_open_burst(fast, a, BATCH), 1);
        cr_assert_eq(gw_open_burst(plain, b, BATCH), 0);
        for (int i = 0; i < BATCH; i++) {
            cr_assert_eq(a[i].ok, i != hurt);
            cr_assert(b[i].ok);
            if (i != hurt)
                cr_assert_eq(memcmp(out_fast[i], in[i], a[i].len), 0);
            else
                for (uint32_t k = 0; k < a[i].len; k++)
                    cr_assert_eq(out_fast[i][k], 0, "what failed to open must not be seen");
        }
    }
}

Test(seal, every_bound_part_is_checked, .init = open_both, .fini = free_both)
{
    uint8_t key[32] = {1}, other[32] = {2}, ad[4] = "abc", body[5] = "body", sealed[5], opened[5];
    uint8_t tag[16];
    struct gw_seal_op op = {.key = key, .nonce = {7, 1}, .aad = ad, .aad_len = 4, .len = 5,
                            .in = body, .out = sealed, .tag = tag};
    gw_seal_burst(fast, &op, 1);
    op.in = sealed;
    op.out = opened;
    cr_assert_eq(gw_open_burst(fast, &op, 1), 0);
    cr_assert_eq(memcmp(opened, body, 5), 0);
    struct gw_seal_op t = op;
    t.key = other;
    cr_assert_eq(gw_open_burst(fast, &t, 1), 1);
    t = op;
    t.nonce.counter = 2;
    cr_assert_eq(gw_open_burst(fast, &t, 1), 1);
    t = op;
    t.nonce.thread = 8;
    cr_assert_eq(gw_open_burst(fast, &t, 1), 1);
    t = op;
    t.aad_len = 3;
    cr_assert_eq(gw_open_burst(fast, &t, 1), 1);
    t = op;
    t.len = 4;
    cr_assert_eq(gw_open_burst(fast, &t, 1), 1);
}

Test(seal, nonces_never_repeat, .init = open_both, .fini = free_both)
{
    struct gw_nonce last = gw_sealer_nonce(fast);
    for (int i = 0; i < 1000; i++) {
        struct gw_nonce n = gw_sealer_nonce(fast);
        cr_assert_eq(n.thread, 7);
        cr_assert_eq(n.counter, last.counter + 1);
        last = n;
    }
}

Test(hash, agrees_with_openssl)
{
    struct gw_hasher *h;
    cr_assert_eq(gw_hasher_open(&h), 0);
    unsigned seed = 3;
    static uint8_t msg[3000], key[200];
    for (int i = 0; i < 300; i++) {
        enum gw_hash alg = i % 2 ? GW_HASH_SHA_1 : GW_HASH_SHA_256;
        const EVP_MD *md = i % 2 ? EVP_sha1() : EVP_sha256();
        size_t len = (size_t)rand_r(&seed) % sizeof(msg), key_len = (size_t)rand_r(&seed) % 200;
        fill(msg, len, &seed);
        fill(key, key_len, &seed);
        uint8_t got[32], want[32];
        unsigned want_len;
        gw_hash(h, alg, gw_bytes(msg, len), got);
        EVP_Digest(msg, len, want, &want_len, md, NULL);
        cr_assert_eq(want_len, gw_hash_bytes(alg));
        cr_assert_eq(memcmp(got, want, want_len), 0);
        size_t cut = len ? (size_t)rand_r(&seed) % len : 0;
        struct gw_bytes pieces[3] = {{msg, cut}, {NULL, 0}, {msg + cut, len - cut}};
        gw_hmac(h, alg, gw_bytes(key, key_len), pieces, 3, got);
        HMAC(md, key, (int)key_len, msg, len, want, &want_len);
        cr_assert_eq(memcmp(got, want, want_len), 0, "len %zu key %zu", len, key_len);
    }
    gw_hasher_free(&h);
}

/* FIPS 197 appendix C.1. */
Test(permute, is_aes_128)
{
    static const uint8_t want[16] = {0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30,
                                     0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5, 0x5a};
    uint8_t key[16], text[16], got[16];
    for (int i = 0; i < 16; i++) {
        key[i] = (uint8_t)i;
        text[i] = (uint8_t)(i * 0x11);
    }
    struct gw_permuter *p;
    cr_assert_eq(gw_permuter_open(&p, key), 0);
    gw_permute(p, text, got);
    cr_assert_eq(memcmp(got, want, 16), 0);
    gw_permuter_free(&p);
}
