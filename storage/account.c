/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "../dataplane/base/check.h"
#include "account.h"

/*
 * Packed: version u8, identity key, created u64, number of key sets u8, and for each set: hash u8,
 * salt length u8, iterations u32, salt, StoredKey, ServerKey; then the limits of its mailbox, messages
 * u32, bytes u64, which version 1 does not have. Little-endian. The numbers of the hashes are part of
 * the format: new ones are added at the end of GW_SCRAM_HASHES.
 */
#define ACCOUNT_VERSION  2
#define HEAD_BYTES       (1 + 32 + 8 + 1)
#define KEYS_HEAD_BYTES  6
#define LIMITS_BYTES     (4 + 8)

_Static_assert(HEAD_BYTES + LIMITS_BYTES + GW_SCRAM_HASH_COUNT * (KEYS_HEAD_BYTES + GW_SCRAM_SALT_BYTES_MAX +
                                                   2 * GW_SCRAM_KEY_BYTES_MAX) <=
                   GW_ACCOUNT_PACKED_BYTES_MAX,
               "every account fits its packed form");

static const struct {
    const char *name;
    size_t key_bytes;
} hashes[] = {
#define X(upper, hash_name, bytes) {hash_name, bytes},
    GW_SCRAM_HASHES(X)
#undef X
};

const char *gw_scram_hash_name(enum gw_scram_hash h)
{
    check((unsigned)h < GW_SCRAM_HASH_COUNT);
    return hashes[h].name;
}

size_t gw_scram_key_bytes(enum gw_scram_hash h)
{
    check((unsigned)h < GW_SCRAM_HASH_COUNT);
    return hashes[h].key_bytes;
}

/* ---- packed form ---- */

static void put(uint8_t **p, const void *from, size_t len)
{
    memcpy(*p, from, len);
    *p += len;
}

static void take(const uint8_t **p, void *to, size_t len)
{
    memcpy(to, *p, len);
    *p += len;
}

static void pack_keys(uint8_t **p, enum gw_scram_hash h, const struct gw_scram_keys *k)
{
    check(k->salt_len <= GW_SCRAM_SALT_BYTES_MAX);
    uint8_t head[2] = {(uint8_t)h, k->salt_len};
    put(p, head, sizeof(head));
    put(p, &k->iterations, 4);
    put(p, k->salt, k->salt_len);
    put(p, k->stored_key, hashes[h].key_bytes);
    put(p, k->server_key, hashes[h].key_bytes);
}

size_t gw_account_pack(const struct gw_account *a, uint8_t out[GW_ACCOUNT_PACKED_BYTES_MAX])
{
    uint8_t *p = out;
    *p++ = ACCOUNT_VERSION;
    put(&p, a->identity_key, sizeof(a->identity_key));
    put(&p, &a->created_us, 8);
    uint8_t *count = p++;
    *count = 0;
    for (unsigned h = 0; h < GW_SCRAM_HASH_COUNT; h++) {
        if (a->scram[h].iterations == 0)
            continue;
        pack_keys(&p, h, &a->scram[h]);
        (*count)++;
    }
    put(&p, &a->messages_max, 4);
    put(&p, &a->bytes_max, 8);
    return (size_t)(p - out);
}

static int unpack_keys(const uint8_t **p, const uint8_t *end, struct gw_account *out)
{
    if (end - *p < KEYS_HEAD_BYTES)
        return -EBADMSG;
    uint8_t h = (*p)[0], salt_len = (*p)[1];
    if (h >= GW_SCRAM_HASH_COUNT || salt_len > GW_SCRAM_SALT_BYTES_MAX)
        return -EBADMSG;
    struct gw_scram_keys *k = &out->scram[h];
    size_t key_bytes = hashes[h].key_bytes;
    if (k->iterations != 0 || (size_t)(end - *p) < KEYS_HEAD_BYTES + salt_len + 2 * key_bytes)
        return -EBADMSG;
    *p += 2;
    take(p, &k->iterations, 4);
    if (k->iterations == 0)
        return -EBADMSG;
    k->salt_len = salt_len;
    take(p, k->salt, salt_len);
    take(p, k->stored_key, key_bytes);
    take(p, k->server_key, key_bytes);
    return 0;
}

static int unpack_limits(const uint8_t **p, const uint8_t *end, struct gw_account *out)
{
    if (end - *p < LIMITS_BYTES)
        return -EBADMSG;
    take(p, &out->messages_max, 4);
    take(p, &out->bytes_max, 8);
    return 0;
}

int gw_account_unpack(const uint8_t *p, size_t len, struct gw_account *out)
{
    memset(out, 0, sizeof(*out));
    if (len < HEAD_BYTES || p[0] < 1 || p[0] > ACCOUNT_VERSION)
        return -EBADMSG;
    const uint8_t *end = p + len;
    uint8_t version = *p++;
    take(&p, out->identity_key, sizeof(out->identity_key));
    take(&p, &out->created_us, 8);
    int rc = 0;
    for (unsigned left = *p++; left > 0 && rc == 0; left--)
        rc = unpack_keys(&p, end, out);
    if (rc == 0 && version > 1)
        rc = unpack_limits(&p, end, out);
    if (rc == 0 && p != end)
        rc = -EBADMSG;
    if (rc < 0)
        OPENSSL_cleanse(out, sizeof(*out));
    return rc;
}

/* ---- RFC 5803 text ---- */

static bool is_base64(struct gw_bytes s)
{
    if (s.len == 0 || s.len % 4 != 0)
        return false;
    size_t digits = s.len;
    while (digits > s.len - 2 && s.p[digits - 1] == '=')
        digits--;
    for (size_t i = 0; i < digits; i++) {
        uint8_t c = s.p[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!letter && !(c >= '0' && c <= '9') && c != '+' && c != '/')
            return false;
    }
    return true;
}

/* OpenSSL's decoder is lenient about blanks and rubbish and keeps the padding: check before, cut
 * after. Returns the length or -EINVAL. */
static int decode_base64(struct gw_bytes text, uint8_t *out, size_t cap)
{
    uint8_t raw[96];
    if (!is_base64(text) || text.len / 4 * 3 > sizeof(raw))
        return -EINVAL;
    int len = EVP_DecodeBlock(raw, text.p, (int)text.len);
    if (len < 0)
        return -EINVAL;
    for (size_t i = text.len; text.p[i - 1] == '='; i--)
        len--;
    if ((size_t)len > cap)
        len = -EINVAL;
    else
        memcpy(out, raw, (size_t)len);
    OPENSSL_cleanse(raw, sizeof(raw));
    return len;
}

/* Cut `text` at the first `at`: what is before goes to *before, what is behind stays. */
static bool cut(struct gw_bytes *text, char at, struct gw_bytes *before)
{
    const uint8_t *hit = text->len > 0 ? memchr(text->p, at, text->len) : NULL;
    if (hit == NULL)
        return false;
    size_t n = (size_t)(hit - text->p);
    *before = gw_bytes(text->p, n);
    *text = gw_bytes(hit + 1, text->len - n - 1);
    return true;
}

static bool parse_hash(struct gw_bytes scheme, enum gw_scram_hash *hash)
{
    static const char prefix[] = "SCRAM-";
    size_t skip = sizeof(prefix) - 1;
    if (scheme.len < skip || memcmp(scheme.p, prefix, skip) != 0)
        return false;
    struct gw_bytes name = gw_bytes(scheme.p + skip, scheme.len - skip);
    for (unsigned h = 0; h < GW_SCRAM_HASH_COUNT; h++) {
        if (gw_bytes_eq(name, gw_bytes_str(hashes[h].name))) {
            *hash = h;
            return true;
        }
    }
    return false;
}

static bool parse_iterations(struct gw_bytes text, uint32_t *out)
{
    uint64_t n = 0;
    if (text.len == 0 || text.len > 8)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        n = n * 10 + (text.p[i] - '0');
    }
    *out = (uint32_t)n;
    return n >= GW_SCRAM_ITERATIONS_MIN && n <= GW_SCRAM_ITERATIONS_MAX;
}

int gw_scram_keys_parse(struct gw_bytes text, enum gw_scram_hash *hash, struct gw_scram_keys *keys,
                        const char **err)
{
    struct gw_bytes scheme, iterations, salt, stored;
    memset(keys, 0, sizeof(*keys));
    *err = "is not SCRAM-HASH$ITERATIONS:SALT$STOREDKEY:SERVERKEY";
    if (!cut(&text, '$', &scheme) || !cut(&text, ':', &iterations) || !cut(&text, '$', &salt) ||
        !cut(&text, ':', &stored))
        return -EINVAL;
    *err = "has an unknown mechanism: SCRAM-SHA-1 and SCRAM-SHA-256 are known";
    if (!parse_hash(scheme, hash))
        return -EINVAL;
    *err = "has an iteration count outside 4096 .. 10000000";
    if (!parse_iterations(iterations, &keys->iterations))
        return -EINVAL;

    *err = "has a salt that is not base64 of 1 to 64 bytes";
    int salt_len = decode_base64(salt, keys->salt, sizeof(keys->salt));
    if (salt_len <= 0)
        return -EINVAL;
    keys->salt_len = (uint8_t)salt_len;
    int key_bytes = (int)hashes[*hash].key_bytes;
    *err = "has a StoredKey that is not base64 of the hash's length";
    if (decode_base64(stored, keys->stored_key, sizeof(keys->stored_key)) != key_bytes)
        return -EINVAL;
    *err = "has a ServerKey that is not base64 of the hash's length";
    if (decode_base64(text, keys->server_key, sizeof(keys->server_key)) != key_bytes)
        return -EINVAL;
    *err = NULL;
    return 0;
}

/* ---- derivation ---- */

static const EVP_MD *digest_of(enum gw_scram_hash h)
{
    return h == GW_SCRAM_SHA_1 ? EVP_sha1() : EVP_sha256();
}

/* RFC 5802 section 3: ClientKey := HMAC(SaltedPassword, "Client Key"), StoredKey := H(ClientKey),
 * ServerKey := HMAC(SaltedPassword, "Server Key"). */
int gw_scram_keys_derive(enum gw_scram_hash hash, struct gw_bytes password,
                         struct gw_scram_keys *keys)
{
    check((unsigned)hash < GW_SCRAM_HASH_COUNT);
    check(keys->iterations > 0 && keys->salt_len > 0);
    if (password.len > INT32_MAX)
        return -EINVAL;

    const EVP_MD *md = digest_of(hash);
    int bytes = (int)hashes[hash].key_bytes;
    uint8_t salted[GW_SCRAM_KEY_BYTES_MAX], client_key[GW_SCRAM_KEY_BYTES_MAX];
    struct gw_bytes client = GW_LIT("Client Key"), server = GW_LIT("Server Key");
    /* OpenSSL takes a length of -1 or a null pointer as "none given": an empty password is "". */
    const char *pass = password.len > 0 ? (const char *)password.p : "";
    bool ok = PKCS5_PBKDF2_HMAC(pass, (int)password.len, keys->salt, keys->salt_len,
                                (int)keys->iterations, md, bytes, salted) == 1 &&
              HMAC(md, salted, bytes, client.p, client.len, client_key, NULL) != NULL &&
              HMAC(md, salted, bytes, server.p, server.len, keys->server_key, NULL) != NULL &&
              EVP_Digest(client_key, (size_t)bytes, keys->stored_key, NULL, md, NULL) == 1;
    OPENSSL_cleanse(salted, sizeof(salted));
    OPENSSL_cleanse(client_key, sizeof(client_key));
    return ok ? 0 : -EIO;
}
