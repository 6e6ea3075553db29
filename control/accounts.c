/* SPDX-License-Identifier: Apache-2.0 */
#include "accounts.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <sys/random.h>

#include "../dataplane/base/check.h"
#include "clock.h"

#define SALT_BYTES 16

void accounts_init(struct accounts *a, struct store_ops *ops, const struct gw_keyring *keys,
                   struct gw_sealer *sealer, uint32_t iterations)
{
    *a = (struct accounts){.ops = ops, .keys = keys, .sealer = sealer, .iterations = iterations};
    check(pthread_mutex_init(&a->lock, NULL) == 0);
}

void accounts_close(struct accounts *a)
{
    check(a->deletions == NULL);
    pthread_mutex_destroy(&a->lock);
}

/* ---- an account in memory ---- */

static void draw(void *out, size_t len)
{
    /* Up to 256 bytes are never cut short once the generator is seeded. */
    check(getrandom(out, len, 0) == (ssize_t)len);
}

void account_init(struct gw_account *out)
{
    memset(out, 0, sizeof(*out));
    draw(out->identity_key, sizeof(out->identity_key));
    out->created_us = clock_wall_us();
}

int accounts_derive(struct accounts *a, struct gw_account *account, const struct password *p)
{
    int rc = 0;
    for (unsigned h = 0; h < GW_SCRAM_HASH_COUNT && rc == 0; h++) {
        struct gw_scram_keys *k = &account->scram[h];
        memset(k, 0, sizeof(*k));
        k->iterations = a->iterations;
        k->salt_len = SALT_BYTES;
        draw(k->salt, SALT_BYTES);
        rc = gw_scram_keys_derive(h, gw_bytes(p->text, p->len), k);
    }
    return rc;
}

void account_wipe(struct gw_account *account)
{
    OPENSSL_cleanse(account, sizeof(*account));
}

/* ---- sealed ---- */

size_t accounts_seal(struct accounts *a, struct gw_bytes jid, const struct gw_account *account,
                     uint8_t *out)
{
    uint8_t packed[GW_ACCOUNT_PACKED_BYTES_MAX];
    size_t len = gw_account_pack(account, packed);
    gw_small_seal(a->keys, a->sealer, GW_NS_ACCOUNT, jid, gw_bytes(packed, len), out);
    OPENSSL_cleanse(packed, sizeof(packed));
    return len + GW_SMALL_OVERHEAD_BYTES;
}

int accounts_open_sealed(struct accounts *a, struct gw_bytes jid, uint8_t *sealed, size_t len,
                         struct gw_account *out)
{
    struct gw_bytes plain;
    int rc = gw_small_open(a->keys, a->sealer, GW_NS_ACCOUNT, jid, sealed, len, &plain);
    if (rc == 0)
        rc = gw_account_unpack(plain.p, plain.len, out);
    OPENSSL_cleanse(sealed, len);
    return rc;
}

/* ---- small records ---- */

/* Delete, whatever its version is. */
static int remove_small(struct accounts *a, enum gw_store_ns ns, struct gw_bytes key)
{
    struct gw_store_completion done;
    uint8_t byte;
    for (;;) {
        int rc = store_ops_get(a->ops, ns, key, &byte, sizeof(byte), &done);
        if (rc == -ENOENT)
            return 0;
        if (rc != 0 && rc != -EMSGSIZE)
            return rc;
        rc = store_ops_cas(a->ops, ns, key, NULL, 0, done.seq, NULL);
        if (rc != -ESTALE)
            return rc;
    }
}

int accounts_read(struct accounts *a, struct gw_bytes jid, struct gw_account *out,
                  uint64_t *version)
{
    uint8_t sealed[ACCOUNT_SEALED_BYTES_MAX];
    struct gw_store_completion done;
    int rc = store_ops_get(a->ops, GW_NS_ACCOUNT, jid, sealed, sizeof(sealed), &done);
    if (rc == -EMSGSIZE)
        rc = -EBADMSG;
    *version = done.seq;
    return rc == 0 ? accounts_open_sealed(a, jid, sealed, done.len, out) : rc;
}

int accounts_write(struct accounts *a, struct gw_bytes jid, const struct gw_account *account,
                   uint64_t expect)
{
    uint8_t sealed[ACCOUNT_SEALED_BYTES_MAX];
    struct gw_identity identity = gw_identity_of(account->identity_key);
    struct store_op op = {.rq = {.op = GW_STORE_CAS, .ns = GW_NS_ACCOUNT, .key = jid.p,
                                 .key_len = (uint16_t)jid.len, .data = sealed,
                                 .data_len = (uint32_t)accounts_seal(a, jid, account, sealed),
                                 .from = expect, .identity = &identity}};
    return store_ops_call(a->ops, &op);
}

/* ---- deleting ---- */

#define TOMBSTONE_PREFIX    "delete/"
#define TOMBSTONE_BYTES     (1 + GW_SMALL_OVERHEAD_BYTES)
#define TOMBSTONE_KEY_BYTES (sizeof(TOMBSTONE_PREFIX) - 1 + 2 * 16 + 1 + 2 * GW_JID_PART_BYTES_MAX + 2)

static struct account_deletion *find_deletion(struct accounts *a, struct gw_bytes jid)
{
    for (struct account_deletion *d = a->deletions; d != NULL; d = d->next)
        if (gw_bytes_eq(gw_jid_bare(&d->jid), jid))
            return d;
    return NULL;
}

bool accounts_delete_reserve(struct accounts *a, struct account_deletion *d)
{
    pthread_mutex_lock(&a->lock);
    bool fresh = find_deletion(a, gw_jid_bare(&d->jid)) == NULL;
    if (fresh) {
        d->next = a->deletions;
        a->deletions = d;
    }
    pthread_mutex_unlock(&a->lock);
    return fresh;
}

void accounts_delete_forget(struct accounts *a, struct account_deletion *d)
{
    pthread_mutex_lock(&a->lock);
    struct account_deletion **at = &a->deletions;
    while (*at != d) {
        check(*at != NULL);
        at = &(*at)->next;
    }
    *at = d->next;
    pthread_mutex_unlock(&a->lock);
}

bool accounts_is_being_deleted(struct accounts *a, struct gw_bytes jid)
{
    pthread_mutex_lock(&a->lock);
    bool found = find_deletion(a, jid) != NULL;
    pthread_mutex_unlock(&a->lock);
    return found;
}

/* Prefix, mailbox in hex, slash, bare JID: what is needed to finish stands in the key. */
static struct gw_bytes tombstone_key(const struct account_deletion *d, char *out)
{
    size_t len = sizeof(TOMBSTONE_PREFIX) - 1;
    memcpy(out, TOMBSTONE_PREFIX, len);
    for (int i = 0; i < 16; i++, len += 2)
        snprintf(out + len, 3, "%02x", d->mailbox.b[i]);
    out[len++] = '/';
    memcpy(out + len, d->jid.text, d->jid.bare_len);
    return gw_bytes(out, len + d->jid.bare_len);
}

/* Sealed, so that nobody who can only write to the disk has a mailbox deleted. */
static int bury(struct accounts *a, struct account_deletion *d)
{
    char buf[TOMBSTONE_KEY_BYTES];
    uint8_t value = d->has_mailbox, sealed[TOMBSTONE_BYTES];
    struct gw_bytes key = tombstone_key(d, buf);
    gw_small_seal(a->keys, a->sealer, GW_NS_META, key, gw_bytes(&value, 1), sealed);
    return store_ops_cas(a->ops, GW_NS_META, key, sealed, sizeof(sealed), 0, &d->tombstone_version);
}

static int unbury(struct accounts *a, struct account_deletion *d)
{
    char key[TOMBSTONE_KEY_BYTES];
    return store_ops_cas(a->ops, GW_NS_META, tombstone_key(d, key), NULL, 0, d->tombstone_version, NULL);
}

int accounts_delete_begin(struct accounts *a, struct account_deletion *d)
{
    struct gw_account account;
    uint64_t version;
    struct gw_bytes jid = gw_jid_bare(&d->jid);
    int rc = accounts_read(a, jid, &account, &version);
    if (rc != 0 && rc != -EBADMSG)
        return rc;
    d->has_mailbox = rc == 0;
    if (d->has_mailbox) {
        struct gw_identity identity = gw_identity_of(account.identity_key);
        d->mailbox = gw_identity_mailbox(&identity);
        account_wipe(&account);
    }
    rc = bury(a, d);
    if (rc != 0)
        return rc;
    rc = store_ops_cas(a->ops, GW_NS_ACCOUNT, jid, NULL, 0, version, NULL);
    if (rc != 0) {
        int unburied = unbury(a, d);
        if (unburied != 0)
            return unburied;
    }
    return rc;
}

static int drop_mailbox(struct accounts *a, const struct account_deletion *d)
{
    struct store_op op = {.rq = {.op = GW_STORE_DROP_MAILBOX, .mailbox = d->mailbox}};
    return d->has_mailbox ? store_ops_call(a->ops, &op) : 0;
}

/* ---- what is still to leave the disk ---- */

#define ERASURE GW_LIT("erase")

int accounts_erasure_noted(struct accounts *a, uint64_t *version)
{
    uint8_t sealed[TOMBSTONE_BYTES];
    struct gw_store_completion done;
    int rc = store_ops_get(a->ops, GW_NS_META, ERASURE, sealed, sizeof(sealed), &done);
    *version = rc == -ENOENT ? 0 : done.seq;
    return rc == -EMSGSIZE ? 0 : rc;
}

int accounts_erasure_done(struct accounts *a, uint64_t version)
{
    return store_ops_cas(a->ops, GW_NS_META, ERASURE, NULL, 0, version, NULL);
}

/* A new version each time: an erasure that is under way does not stand for what comes now. */
static int note_erasure(struct accounts *a)
{
    uint8_t one = 1, sealed[TOMBSTONE_BYTES];
    uint64_t version;
    int rc;
    do {
        rc = accounts_erasure_noted(a, &version);
        if (rc != 0 && rc != -ENOENT)
            return rc;
        gw_small_seal(a->keys, a->sealer, GW_NS_META, ERASURE, gw_bytes(&one, 1), sealed);
        rc = store_ops_cas(a->ops, GW_NS_META, ERASURE, sealed, sizeof(sealed), version, NULL);
    } while (rc == -ESTALE || rc == -EEXIST);
    return rc;
}

int accounts_delete_end(struct accounts *a, struct account_deletion *d)
{
    static const enum gw_store_ns own[] = {GW_NS_ROSTER, GW_NS_VCARD, GW_NS_PRIVATE};
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < sizeof(own) / sizeof(own[0]); i++)
        rc = remove_small(a, own[i], gw_jid_bare(&d->jid));
    if (rc == 0)
        rc = drop_mailbox(a, d);
    if (rc == 0)
        rc = note_erasure(a);
    return rc == 0 ? unbury(a, d) : rc;
}

/* ---- after a crash ---- */

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_tombstone(struct accounts *a, struct gw_scan_entry *e, struct account_deletion *d)
{
    uint8_t *key = (uint8_t *)(e + 1);
    const uint8_t *hex = key + sizeof(TOMBSTONE_PREFIX) - 1;
    struct gw_bytes plain;
    size_t head = sizeof(TOMBSTONE_PREFIX) - 1 + 33;
    *d = (struct account_deletion){.tombstone_version = e->version};
    if (e->key_len <= head || e->key_len >= TOMBSTONE_KEY_BYTES ||
        e->len != sizeof(*e) + e->key_len + TOMBSTONE_BYTES ||
        gw_small_open(a->keys, a->sealer, GW_NS_META, gw_bytes(key, e->key_len), key + e->key_len,
                      TOMBSTONE_BYTES, &plain) != 0)
        return false;
    for (int i = 0; i < 16; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        d->mailbox.b[i] = (uint8_t)(high << 4 | low);
    }
    d->has_mailbox = plain.p[0] != 0;
    d->jid.bare_len = (uint16_t)(e->key_len - head);
    memcpy(d->jid.text, key + head, d->jid.bare_len);
    return true;
}

static bool same_mailbox(struct gw_account *account, const struct account_deletion *d)
{
    struct gw_identity identity = gw_identity_of(account->identity_key);
    struct gw_mailbox_id mailbox = gw_identity_mailbox(&identity);
    account_wipe(account);
    return d->has_mailbox && memcmp(&mailbox, &d->mailbox, sizeof(mailbox)) == 0;
}

static int resume_one(struct accounts *a, struct account_deletion *d)
{
    struct gw_account account;
    uint64_t version;
    int rc = accounts_read(a, gw_jid_bare(&d->jid), &account, &version);
    if (rc == -ENOENT)
        return accounts_delete_end(a, d);
    if (rc != 0 && rc != -EBADMSG)
        return rc;
    /* When it is the same account still, its deletion never took effect nor was acknowledged. */
    if (rc == 0 && !same_mailbox(&account, d)) {
        rc = drop_mailbox(a, d);
        if (rc == 0)
            rc = note_erasure(a);
    } else {
        rc = 0;
    }
    return rc == 0 ? unbury(a, d) : rc;
}

/* One that does not open is not ours: nothing is deleted because of it. */
static int resume_if_ours(struct accounts *a, struct gw_scan_entry *e, int *resumed)
{
    struct account_deletion d;
    if (!parse_tombstone(a, e, &d)) {
        fprintf(stderr, "accounts: the note of a deletion does not open and is left alone\n");
        return 0;
    }
    ++*resumed;
    return resume_one(a, &d);
}

int accounts_delete_resume(struct accounts *a)
{
    /* The byte before the slash: nothing lies between. Then the last that was looked at. */
    uint8_t after[TOMBSTONE_KEY_BYTES] = "delete.";
    uint16_t after_len = sizeof(TOMBSTONE_PREFIX) - 1;
    _Alignas(8) uint8_t run[4096];
    int resumed = 0;
    for (;;) {
        struct store_op op = {.rq = {.op = GW_STORE_SCAN, .ns = GW_NS_META, .key = after,
                                     .key_len = after_len, .data = run,
                                     .data_len = sizeof(run)}};
        int rc = store_ops_call(a->ops, &op);
        if (rc != 0)
            return rc;
        struct gw_scan_entry *e = (void *)run;
        if (op.done.len == 0 || e->key_len < sizeof(TOMBSTONE_PREFIX) - 1 ||
            e->key_len > sizeof(after) ||
            memcmp(e + 1, TOMBSTONE_PREFIX, sizeof(TOMBSTONE_PREFIX) - 1) != 0)
            return resumed;
        after_len = e->key_len;
        memcpy(after, e + 1, after_len);
        rc = resume_if_ours(a, e, &resumed);
        if (rc != 0)
            return rc;
    }
}
