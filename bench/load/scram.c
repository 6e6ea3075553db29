/* SPDX-License-Identifier: Apache-2.0 */
#include "scram.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <search.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/base/check.h"

#define SALT_MAX       128
#define ITERATIONS_MAX 10000000

/* What RFC 5802, section 3 derives from password, salt and iterations; the first part is the key
 * that it is kept under. */
struct keys {
    enum scram_hash hash;
    int iterations;
    int salt_len;
    unsigned char salt[SALT_MAX];
    char *password;

    unsigned char client_key[SCRAM_DIGEST_MAX];
    unsigned char stored_key[SCRAM_DIGEST_MAX];
    unsigned char server_key[SCRAM_DIGEST_MAX];
};

static void *cache; /* a tsearch tree of struct keys */

static const EVP_MD *digest_of(enum scram_hash hash)
{
    return hash == SCRAM_SHA_1 ? EVP_sha1() : EVP_sha256();
}

static int digest_len(enum scram_hash hash)
{
    return EVP_MD_get_size(digest_of(hash));
}

static void mac(enum scram_hash hash, const unsigned char *key, const void *text, size_t len,
                unsigned char out[SCRAM_DIGEST_MAX])
{
    unsigned out_len = 0;
    check(HMAC(digest_of(hash), key, digest_len(hash), text, len, out, &out_len) != NULL);
}

static int compare_keys(const void *left, const void *right)
{
    const struct keys *a = left, *b = right;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    if (a->iterations != b->iterations)
        return a->iterations < b->iterations ? -1 : 1;
    if (a->salt_len != b->salt_len)
        return a->salt_len < b->salt_len ? -1 : 1;
    int order = memcmp(a->salt, b->salt, (size_t)a->salt_len);
    return order ? order : strcmp(a->password, b->password);
}

static void derive(struct keys *k)
{
    unsigned char salted[SCRAM_DIGEST_MAX];
    int len = digest_len(k->hash);
    check(PKCS5_PBKDF2_HMAC(k->password, (int)strlen(k->password), k->salt, k->salt_len,
                            k->iterations, digest_of(k->hash), len, salted) == 1);
    mac(k->hash, salted, "Client Key", 10, k->client_key);
    mac(k->hash, salted, "Server Key", 10, k->server_key);
    check(EVP_Digest(k->client_key, (size_t)len, k->stored_key, NULL, digest_of(k->hash), NULL) ==
          1);
    OPENSSL_cleanse(salted, sizeof(salted));
}

static const struct keys *keys_for(const struct keys *wanted)
{
    struct keys *const *found = tfind(wanted, &cache, compare_keys);
    if (found)
        return *found;
    struct keys *k = malloc(sizeof(*k));
    check(k != NULL);
    *k = *wanted;
    k->password = strdup(wanted->password);
    check(k->password != NULL);
    derive(k);
    check(tsearch(k, &cache, compare_keys) != NULL);
    return k;
}

static void free_keys(void *node)
{
    struct keys *k = node;
    free(k->password);
    free(k);
}

void scram_cache_free(void)
{
    tdestroy(cache, free_keys);
    cache = NULL;
}

/* RFC 5802, section 5.1: "," and "=" do not stand in a name. */
static void append_name(struct buffer *out, const char *name)
{
    for (; *name; name++) {
        if (*name == '=')
            buffer_text(out, "=3D");
        else if (*name == ',')
            buffer_text(out, "=2C");
        else
            buffer_append(out, name, 1);
    }
}

void scram_begin(struct scram *s, enum scram_hash hash, const char *user, const char *nonce)
{
    *s = (struct scram){.hash = hash};
    buffer_text(&s->first_bare, "n=");
    append_name(&s->first_bare, user);
    buffer_text(&s->first_bare, ",r=");
    s->nonce_at = buffer_len(&s->first_bare);
    buffer_text(&s->first_bare, nonce);
}

void scram_first(struct scram *s, struct buffer *out)
{
    buffer_text(out, "n,,");
    buffer_append(out, buffer_head(&s->first_bare), buffer_len(&s->first_bare));
}

/* The value of attribute `name` at *at, which moves behind it; its length in *len. */
static const char *attribute(const char **at, char name, size_t *len)
{
    const char *p = *at;
    if (p[0] != name || p[1] != '=')
        return NULL;
    *len = strcspn(p + 2, ",");
    *at = p + 2 + *len;
    if (**at == ',')
        ++*at;
    return p + 2;
}

/* Base64 of len characters into out; its length or -EPROTO. */
static int decode(const char *text, size_t len, unsigned char *out, size_t room)
{
    if (len == 0 || len % 4 != 0 || len / 4 * 3 > room)
        return -EPROTO;
    int decoded = EVP_DecodeBlock(out, (const unsigned char *)text, (int)len);
    if (decoded < 0)
        return -EPROTO;
    /* EVP_DecodeBlock counts the padding as zero bytes. */
    decoded -= text[len - 1] == '=';
    decoded -= text[len - 2] == '=';
    return decoded;
}

int scram_final(struct scram *s, const char *server_first, const char *password, struct buffer *out)
{
    const char *at = server_first;
    size_t nonce_len, salt_len, count_len;
    const char *nonce = attribute(&at, 'r', &nonce_len);
    const char *salt = nonce ? attribute(&at, 's', &salt_len) : NULL;
    const char *count = salt ? attribute(&at, 'i', &count_len) : NULL;
    if (!count)
        return -EPROTO;
    const char *bare = buffer_cstr(&s->first_bare);
    const char *ours = bare + s->nonce_at;
    if (nonce_len <= strlen(ours) || strncmp(nonce, ours, strlen(ours)) != 0)
        return -EACCES;
    long iterations = strtol(count, NULL, 10);
    if (iterations < 1 || iterations > ITERATIONS_MAX)
        return -EPROTO;

    struct keys wanted = {
        .hash = s->hash, .iterations = (int)iterations, .password = (char *)(uintptr_t)password};
    wanted.salt_len = decode(salt, salt_len, wanted.salt, sizeof(wanted.salt));
    if (wanted.salt_len < 0)
        return -EPROTO;
    const struct keys *k = keys_for(&wanted);

    struct buffer final = {0}, message = {0};
    buffer_printf(&final, "c=biws,r=%.*s", (int)nonce_len, nonce);
    buffer_printf(&message, "%s,%s,", bare, server_first);
    buffer_append(&message, buffer_head(&final), buffer_len(&final));
    unsigned char proof[SCRAM_DIGEST_MAX];
    mac(s->hash, k->stored_key, buffer_head(&message), buffer_len(&message), proof);
    mac(s->hash, k->server_key, buffer_head(&message), buffer_len(&message), s->server_signature);
    s->signed_by_us = true;
    for (int i = 0; i < digest_len(s->hash); i++)
        proof[i] ^= k->client_key[i];

    buffer_append(out, buffer_head(&final), buffer_len(&final));
    buffer_text(out, ",p=");
    buffer_base64(out, proof, (size_t)digest_len(s->hash));
    buffer_free(&final);
    buffer_free(&message);
    return 0;
}

int scram_verify(const struct scram *s, const char *server_final)
{
    const char *at = server_final;
    size_t len;
    unsigned char signature[SALT_MAX];
    const char *text = attribute(&at, 'v', &len);
    if (!s->signed_by_us || !text)
        return -EACCES;
    int wanted = digest_len(s->hash);
    if (decode(text, len, signature, sizeof(signature)) != wanted)
        return -EACCES;
    return CRYPTO_memcmp(signature, s->server_signature, (size_t)wanted) == 0 ? 0 : -EACCES;
}

void scram_end(struct scram *s)
{
    buffer_free(&s->first_bare);
    OPENSSL_cleanse(s, sizeof(*s));
}
