/* SPDX-License-Identifier: Apache-2.0 */
#include "keys.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "../dataplane/base/check.h"

/* One a process start: a restart every ten minutes for a year. Account keys will end this growth. */
#define INCARNATIONS_MAX 65535u

#define WRAP_FORMAT 1
struct wrapped_key {
    uint8_t format;
    uint8_t iv[12];
    uint8_t tag[16];
    uint8_t key[32];
};

struct gw_keyring {
    size_t mapped_bytes;
    uint32_t current;
    uint8_t master[32];
    uint8_t present[INCARNATIONS_MAX + 1];
    uint8_t keys[INCARNATIONS_MAX + 1][32];
};

/* ---- the master key's file ---- */

static int hex_value(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = tolower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool decode_hex(const uint8_t *in, uint8_t out[32])
{
    for (int i = 0; i < 32; i++) {
        int hi = hex_value(in[2 * i]), lo = hex_value(in[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        out[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

static int decode_master(const uint8_t *in, size_t len, uint8_t out[32])
{
    if (len == 32) {
        memcpy(out, in, 32);
        return 0;
    }
    if (len == 65 && in[64] == '\n')
        len = 64;
    return len == 64 && decode_hex(in, out) ? 0 : -EINVAL;
}

static int read_master(const char *path, uint8_t out[32], char err[256])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int e = errno;
        snprintf(err, 256, "master key %s: %s", path, strerror(e));
        return -e;
    }
    struct stat st;
    uint8_t text[66];
    ssize_t n = -1;
    int rc = -EPERM;
    if (fstat(fd, &st) != 0 || (st.st_mode & 077) != 0)
        snprintf(err, 256, "master key %s: must be readable by its owner alone (chmod 600)", path);
    else if ((n = read(fd, text, sizeof(text))) < 0)
        rc = -errno, snprintf(err, 256, "master key %s: %s", path, strerror(errno));
    else if ((rc = decode_master(text, (size_t)n, out)) != 0)
        snprintf(err, 256, "master key %s: holds neither 32 bytes nor 64 hex digits", path);
    OPENSSL_cleanse(text, sizeof(text));
    close(fd);
    return rc;
}

/* ---- wrapping ---- */

static size_t wrap_aad(uint8_t aad[32], uint32_t incarnation)
{
    static const char label[] = "godwit incarnation key";
    memcpy(aad, label, sizeof(label) - 1);
    gw_put_be32(aad + sizeof(label) - 1, incarnation);
    return sizeof(label) - 1 + 4;
}

/* Start-up only: OpenSSL, with a nonce drawn for this key alone. */
static int wrap(const struct gw_keyring *k, uint32_t incarnation, struct wrapped_key *w)
{
    uint8_t aad[32];
    int n, aad_len = (int)wrap_aad(aad, incarnation);
    w->format = WRAP_FORMAT;
    if (getrandom(w->iv, sizeof(w->iv), 0) != sizeof(w->iv))
        return -errno;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool ok = c != NULL && EVP_EncryptInit_ex(c, EVP_aes_256_gcm(), NULL, k->master, w->iv) == 1 &&
              EVP_EncryptUpdate(c, NULL, &n, aad, aad_len) == 1 &&
              EVP_EncryptUpdate(c, w->key, &n, k->keys[incarnation], 32) == 1 &&
              EVP_EncryptFinal_ex(c, w->key + 32, &n) == 1 &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, 16, w->tag) == 1;
    EVP_CIPHER_CTX_free(c);
    return ok ? 0 : -EIO;
}

static bool unwrap(struct gw_keyring *k, uint32_t incarnation, const struct wrapped_key *w)
{
    uint8_t aad[32], tag[16], last[16];
    int n, aad_len = (int)wrap_aad(aad, incarnation);
    memcpy(tag, w->tag, 16);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool ok = c != NULL && w->format == WRAP_FORMAT &&
              EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), NULL, k->master, w->iv) == 1 &&
              EVP_DecryptUpdate(c, NULL, &n, aad, aad_len) == 1 &&
              EVP_DecryptUpdate(c, k->keys[incarnation], &n, w->key, 32) == 1 &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, 16, tag) == 1 &&
              EVP_DecryptFinal_ex(c, last, &n) == 1;
    EVP_CIPHER_CTX_free(c);
    k->present[incarnation] = ok;
    return ok;
}

/* ---- loading and adding ---- */

static int load_entry(struct gw_keyring *k, const struct gw_scan_entry *e, char err[256])
{
    const uint8_t *key = (const uint8_t *)(e + 1);
    const uint8_t *value = key + e->key_len;
    size_t value_len = e->len - sizeof(*e) - e->key_len;
    uint32_t id = e->key_len == 4 ? gw_be32(key) : 0;
    struct wrapped_key w;
    if (id == 0 || id > INCARNATIONS_MAX || value_len != sizeof(w)) {
        snprintf(err, 256, "store: malformed incarnation key record");
        return -EBADMSG;
    }
    memcpy(&w, value, sizeof(w));
    if (!unwrap(k, id, &w)) {
        snprintf(err, 256, "store: incarnation key %u does not open: wrong master key?", id);
        return -EKEYREJECTED;
    }
    if (id > k->current)
        k->current = id;
    return 0;
}

static int load_all(struct gw_keyring *k, struct gw_store_client *client, char err[256])
{
    uint8_t last[4];
    static uint8_t run[16384];
    struct gw_store_request rq = {
        .op = GW_STORE_SCAN, .ns = GW_NS_KEY, .key = last, .data = run, .data_len = sizeof(run)};
    struct gw_store_completion done = {.more = true};
    while (done.more) {
        int rc = gw_store_call(client, &rq, &done);
        if (rc != 0) {
            snprintf(err, 256, "store: cannot read incarnation keys: %s", strerror(-rc));
            return rc;
        }
        for (size_t off = 0; off < done.len;) {
            const struct gw_scan_entry *e = (const void *)(run + off);
            if ((rc = load_entry(k, e, err)) != 0)
                return rc;
            memcpy(last, e + 1, 4);
            rq.key_len = 4;
            off += gw_record_padded(e->len);
        }
    }
    OPENSSL_cleanse(run, sizeof(run));
    return 0;
}

static int add_fresh(struct gw_keyring *k, struct gw_store_client *client, char err[256])
{
    uint32_t id = k->current + 1;
    if (id > INCARNATIONS_MAX) {
        snprintf(err, 256, "store: no incarnation number is left");
        return -EOVERFLOW;
    }
    if (getrandom(k->keys[id], 32, 0) != 32)
        return -errno;
    struct wrapped_key w;
    int rc = wrap(k, id, &w);
    if (rc == 0) {
        uint8_t key[4];
        gw_put_be32(key, id);
        struct gw_store_request rq = {.op = GW_STORE_CAS, .ns = GW_NS_KEY, .key = key, .key_len = 4,
                                      .data = &w, .data_len = sizeof(w), .from = 0};
        struct gw_store_completion done;
        rc = gw_store_call(client, &rq, &done);
    }
    if (rc != 0) {
        snprintf(err, 256, "store: cannot keep a new incarnation key: %s", strerror(-rc));
        return rc;
    }
    k->present[id] = 1;
    k->current = id;
    return 0;
}

int gw_keyring_open(struct gw_keyring **out, struct gw_store_client *client,
                    const char *master_key_path, char err[256])
{
    size_t bytes = (sizeof(struct gw_keyring) + 4095) & ~(size_t)4095;
    struct gw_keyring *k =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (k == MAP_FAILED)
        return -ENOMEM;
    k->mapped_bytes = bytes;
    madvise(k, bytes, MADV_DONTDUMP);
    /* Where RLIMIT_MEMLOCK forbids it the keys may reach swap: said in docs/OPERATING.md. */
    (void)mlock(k, bytes);
    int rc = read_master(master_key_path, k->master, err);
    if (rc == 0)
        rc = load_all(k, client, err);
    if (rc == 0)
        rc = add_fresh(k, client, err);
    if (rc != 0)
        gw_keyring_free(&k);
    else
        *out = k;
    return rc;
}

void gw_keyring_free(struct gw_keyring **k)
{
    if (*k == NULL)
        return;
    size_t bytes = (*k)->mapped_bytes;
    OPENSSL_cleanse(*k, bytes);
    munmap(*k, bytes);
    *k = NULL;
}

uint32_t gw_keyring_current(const struct gw_keyring *k)
{
    return k->current;
}

const uint8_t *gw_keyring_key(const struct gw_keyring *k, uint32_t incarnation)
{
    return incarnation <= INCARNATIONS_MAX && k->present[incarnation] ? k->keys[incarnation] : NULL;
}

void gw_keyring_derive(const struct gw_keyring *k, const char *label, uint8_t out[32])
{
    check(HMAC(EVP_sha256(), k->master, 32, (const uint8_t *)label, strlen(label), out, NULL));
}

/* ---- identity and associated data ---- */

struct gw_identity gw_identity_of(const uint8_t identity_key[32])
{
    struct gw_identity id;
    check(EVP_Digest(identity_key, 32, id.hash, NULL, EVP_sha256(), NULL) == 1);
    return id;
}

struct gw_mailbox_id gw_identity_mailbox(const struct gw_identity *id)
{
    struct gw_mailbox_id m;
    memcpy(m.b, id->hash, sizeof(m.b));
    return m;
}

void gw_record_aad(uint8_t aad[GW_RECORD_AAD_BYTES], const struct gw_identity *id,
                   uint64_t position, enum gw_record_kind kind)
{
    memset(aad, 0, GW_RECORD_AAD_BYTES);
    if (id)
        memcpy(aad, id->hash, 32);
    memcpy(aad + 32, &position, 8);
    aad[40] = (uint8_t)kind;
}

/* ---- small records: incarnation, nonce, tag, sealed bytes ---- */

struct small_head {
    uint32_t incarnation;
    uint32_t nonce_thread;
    uint64_t nonce_counter;
    uint8_t tag[16];
};
_Static_assert(sizeof(struct small_head) == GW_SMALL_OVERHEAD_BYTES, "small record head");

static uint32_t small_aad(uint8_t *aad, enum gw_store_ns ns, struct gw_bytes key)
{
    check(key.len <= GW_STORE_KEY_BYTES_MAX);
    aad[0] = (uint8_t)ns;
    memcpy(aad + 1, key.p, key.len);
    return (uint32_t)key.len + 1;
}

void gw_small_seal(const struct gw_keyring *k, struct gw_sealer *s, enum gw_store_ns ns,
                   struct gw_bytes key, struct gw_bytes plain, uint8_t *out)
{
    uint8_t aad[1 + GW_STORE_KEY_BYTES_MAX];
    struct gw_nonce nonce = gw_sealer_nonce(s);
    struct small_head h = {gw_keyring_current(k), nonce.thread, nonce.counter, {0}};
    struct gw_seal_op op = {
        .key = gw_keyring_key(k, h.incarnation),
        .nonce = nonce,
        .aad = aad,
        .aad_len = small_aad(aad, ns, key),
        .len = (uint32_t)plain.len,
        .in = plain.p,
        .out = out + sizeof(h),
        .tag = h.tag,
    };
    gw_seal_burst(s, &op, 1);
    memcpy(out, &h, sizeof(h));
}

int gw_small_open(const struct gw_keyring *k, struct gw_sealer *s, enum gw_store_ns ns,
                  struct gw_bytes key, uint8_t *sealed, size_t len, struct gw_bytes *plain)
{
    uint8_t aad[1 + GW_STORE_KEY_BYTES_MAX];
    struct small_head h;
    if (len < sizeof(h))
        return -EBADMSG;
    memcpy(&h, sealed, sizeof(h));
    struct gw_seal_op op = {
        .key = gw_keyring_key(k, h.incarnation),
        .nonce = {h.nonce_thread, h.nonce_counter},
        .aad = aad,
        .aad_len = small_aad(aad, ns, key),
        .len = (uint32_t)(len - sizeof(h)),
        .in = sealed + sizeof(h),
        .out = sealed + sizeof(h),
        .tag = h.tag,
    };
    if (op.key == NULL || gw_open_burst(s, &op, 1) != 0)
        return -EBADMSG;
    *plain = gw_bytes(sealed + sizeof(h), len - sizeof(h));
    return 0;
}
