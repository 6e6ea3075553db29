/* SPDX-License-Identifier: Apache-2.0 */
#include "sasl.h"

#include <openssl/evp.h>

const char *gw_sasl_failure_name(enum gw_sasl_failure f)
{
    switch (f) {
#define X(upper, name)                                                                             \
    case GW_SASL_##upper:                                                                          \
        return name;
        GW_SASL_FAILURES(X)
#undef X
    case GW_SASL_OK:
        break;
    }
    return "not-authorized";
}

/* Cut the text up to the next comma off the front of *m; false at the end. */
static bool take_field(struct gw_bytes *m, struct gw_bytes *field)
{
    if (m->p == NULL)
        return false;
    const uint8_t *comma = m->len ? memchr(m->p, ',', m->len) : NULL;
    field->p = m->p;
    field->len = comma ? (size_t)(comma - m->p) : m->len;
    if (comma)
        *m = gw_bytes(comma + 1, m->len - field->len - 1);
    else
        *m = gw_bytes(NULL, 0);
    return true;
}

/* "k=value" with the letter asked for. */
static bool take_attr(struct gw_bytes *m, char letter, struct gw_bytes *value)
{
    struct gw_bytes f;
    if (!take_field(m, &f) || f.len < 2 || f.p[0] != (uint8_t)letter || f.p[1] != '=')
        return false;
    *value = gw_bytes(f.p + 2, f.len - 2);
    return true;
}

static bool is_nonce(struct gw_bytes n)
{
    for (size_t i = 0; i < n.len; i++)
        if (n.p[i] < 0x21 || n.p[i] > 0x7e || n.p[i] == ',')
            return false;
    return n.len > 0;
}

enum gw_sasl_failure gw_scram_parse_first(struct gw_bytes m, struct gw_scram_first *out)
{
    struct gw_bytes all = m, flag, authzid;
    *out = (struct gw_scram_first){0};
    if (!take_field(&m, &flag) || flag.len == 0 || !take_field(&m, &authzid) || m.p == NULL)
        return GW_SASL_MALFORMED_REQUEST;
    /* 'p' asks for channel binding, which only the -PLUS mechanisms have. */
    if (flag.len != 1 || (flag.p[0] != 'n' && flag.p[0] != 'y'))
        return GW_SASL_MALFORMED_REQUEST;
    if (authzid.len != 0) {
        if (authzid.len < 3 || authzid.p[0] != 'a' || authzid.p[1] != '=')
            return GW_SASL_MALFORMED_REQUEST;
        out->authzid = gw_bytes(authzid.p + 2, authzid.len - 2);
    }
    out->gs2_header = gw_bytes(all.p, (size_t)(m.p - all.p));
    out->bare = m;
    /* "m=" would be a mandatory extension: refused by not being "n=". */
    if (!take_attr(&m, 'n', &out->name) || out->name.len == 0 || !take_attr(&m, 'r', &out->nonce) ||
        !is_nonce(out->nonce) || out->nonce.len > GW_SCRAM_NONCE_BYTES_MAX)
        return GW_SASL_MALFORMED_REQUEST;
    return GW_SASL_OK;
}

int gw_scram_saslname(struct gw_bytes in, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < in.len; i++) {
        char c = (char)in.p[i];
        if (c == '=') {
            if (in.len - i < 3)
                return -1;
            if (memcmp(in.p + i, "=2C", 3) == 0)
                c = ',';
            else if (memcmp(in.p + i, "=3D", 3) != 0)
                return -1;
            i += 2;
        }
        if (n == cap || c == '\0')
            return -1;
        out[n++] = c;
    }
    return (int)n;
}

enum gw_sasl_failure gw_scram_parse_final(struct gw_bytes m, struct gw_scram_final *out)
{
    struct gw_bytes all = m;
    *out = (struct gw_scram_final){0};
    if (!take_attr(&m, 'c', &out->binding) || !take_attr(&m, 'r', &out->nonce))
        return GW_SASL_MALFORMED_REQUEST;
    /* Extensions may stand between nonce and proof; the proof is the last. */
    struct gw_bytes f;
    while (take_field(&m, &f)) {
        if (f.len < 2 || f.p[0] != 'p' || f.p[1] != '=')
            continue;
        if (m.p != NULL)
            return GW_SASL_MALFORMED_REQUEST;
        out->without_proof = gw_bytes(all.p, (size_t)(f.p - all.p - 1));
        out->proof = gw_bytes(f.p + 2, f.len - 2);
        return GW_SASL_OK;
    }
    return GW_SASL_MALFORMED_REQUEST;
}

bool gw_scram_verify(struct gw_hasher *h, enum gw_scram_hash hash, const struct gw_scram_keys *keys,
                     const struct gw_bytes *auth_message, unsigned piece_count,
                     const uint8_t *proof, uint8_t *signature)
{
    enum gw_hash alg = hash == GW_SCRAM_SHA_1 ? GW_HASH_SHA_1 : GW_HASH_SHA_256;
    size_t len = gw_scram_key_bytes(hash);
    uint8_t client_key[GW_HASH_BYTES_MAX], stored[GW_HASH_BYTES_MAX];
    gw_hmac(h, alg, gw_bytes(keys->stored_key, len), auth_message, piece_count, client_key);
    for (size_t i = 0; i < len; i++)
        client_key[i] ^= proof[i];
    gw_hash(h, alg, gw_bytes(client_key, len), stored);
    gw_hmac(h, alg, gw_bytes(keys->server_key, len), auth_message, piece_count, signature);
    bool ok = gw_equal_secret(stored, keys->stored_key, len);
    explicit_bzero(client_key, sizeof(client_key));
    return ok;
}

int gw_base64_decode(struct gw_bytes in, uint8_t *out, size_t cap)
{
    if (in.len % 4 != 0 || in.len / 4 * 3 > cap)
        return -1;
    size_t pad = 0;
    while (pad < 2 && pad < in.len && in.p[in.len - 1 - pad] == '=')
        pad++;
    for (size_t i = 0; i < in.len - pad; i++) {
        uint8_t c = in.p[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '+' || c == '/'))
            return -1;
    }
    if (in.len == 0)
        return 0;
    int n = EVP_DecodeBlock(out, in.p, (int)in.len);
    return n < 0 ? -1 : n - (int)pad;
}

size_t gw_base64_encode(struct gw_bytes in, char *out)
{
    return (size_t)EVP_EncodeBlock((unsigned char *)out, in.p, (int)in.len);
}
