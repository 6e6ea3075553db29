/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sealing costs by the broker's way, beside a bare loop of ipsec-mb's direct calls over the same
 * bytes with the same changes of key.
 *
 * seal [SECONDS]. Sizes of payloads; one key for all, as the log has it, and one for each record, as
 * mailboxes have it. Each pair runs in turns, so that both see the same machine.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <intel-ipsec-mb.h>

#include "../dataplane/base/check.h"
#include "../dataplane/crypto/seal.h"
#include "measure.h"

#define BURST     64u
#define AAD_BYTES 64u
#define LEN_MAX   4096u
#define ROUNDS    200u /* bursts before a look at the clock */
#define WANTED    0.85

struct bench {
    struct gw_sealer *sealer;
    IMB_MGR *mgr;
    struct gcm_key_data key;
    uint8_t keys[BURST][GW_SEAL_KEY_BYTES];
    uint8_t aads[BURST][AAD_BYTES];
    uint8_t tags[BURST][GW_SEAL_TAG_BYTES];
    _Alignas(64) uint8_t in[BURST][LEN_MAX], out[BURST][LEN_MAX];
};

static void seal_as_broker(struct bench *b, uint32_t len, bool one_key)
{
    struct gw_seal_op ops[BURST];
    for (unsigned i = 0; i < BURST; i++)
        ops[i] = (struct gw_seal_op){.key = b->keys[one_key ? 0 : i],
                                     .nonce = gw_sealer_nonce(b->sealer),
                                     .aad = b->aads[i],
                                     .aad_len = AAD_BYTES,
                                     .len = len,
                                     .in = b->in[i],
                                     .out = b->out[i],
                                     .tag = b->tags[i]};
    gw_seal_burst(b->sealer, ops, BURST);
}

static void seal_barely(struct bench *b, uint32_t len, bool one_key)
{
    static uint64_t iv[2];
    struct gcm_context_data ctx;
    for (unsigned i = 0; i < BURST; i++) {
        if (i == 0 || !one_key)
            IMB_AES256_GCM_PRE(b->mgr, b->keys[i], &b->key);
        iv[0]++;
        IMB_AES256_GCM_ENC(b->mgr, &b->key, &ctx, b->out[i], b->in[i], len, (uint8_t *)iv,
                           b->aads[i], AAD_BYTES, b->tags[i], GW_SEAL_TAG_BYTES);
    }
}

typedef void (*seal_fn)(struct bench *b, uint32_t len, bool one_key);

/* Nanoseconds a record, over some milliseconds. */
static double measure(struct bench *b, seal_fn seal, uint32_t len, bool one_key, double seconds)
{
    double begin = now_s(), now = begin;
    uint64_t records = 0;
    for (; now - begin < seconds; now = now_s()) {
        for (unsigned i = 0; i < ROUNDS; i++)
            seal(b, len, one_key);
        records += (uint64_t)ROUNDS * BURST;
    }
    return (now - begin) * 1e9 / (double)records;
}

#define TURNS 9

static bool compare(struct bench *b, uint32_t len, bool one_key, double seconds)
{
    double ours[TURNS], bare[TURNS];
    for (unsigned i = 0; i < TURNS; i++) {
        ours[i] = measure(b, seal_as_broker, len, one_key, seconds / TURNS / 2);
        bare[i] = measure(b, seal_barely, len, one_key, seconds / TURNS / 2);
    }
    double our = percentile(ours, TURNS, 0.5), its = percentile(bare, TURNS, 0.5);
    bool good = its / our >= WANTED;
    printf("%4u bytes, %s: %6.1f ns, bare calls %6.1f ns; ratio %.3f, wanted at least %.2f: %s\n",
           len, one_key ? "one key for all    " : "a key for each one ", our, its, its / our, WANTED,
           good ? "reached" : "MISSED");
    return good;
}

int main(int argc, char **argv)
{
    static const uint32_t sizes[] = {256, 1024, 4096};
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 2;
    struct bench *b = calloc(1, sizeof(*b));
    check(b != NULL);
    b->mgr = alloc_mb_mgr(0);
    check(b->mgr != NULL && gw_sealer_open(&b->sealer, GW_SEAL_IPSEC_MB, 1) == 0);
    init_mb_mgr_auto(b->mgr, NULL);
    for (unsigned i = 0; i < BURST; i++)
        memset(b->keys[i], (int)i + 1, GW_SEAL_KEY_BYTES);
    bool good = true;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        good &= compare(b, sizes[i], true, seconds);
        good &= compare(b, sizes[i], false, seconds);
    }
    free_mb_mgr(b->mgr);
    gw_sealer_free(&b->sealer);
    free(b);
    return good ? 0 : 1;
}
