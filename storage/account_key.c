/* SPDX-License-Identifier: Apache-2.0 */
#include "account_key.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define FORMAT     1
#define NAME_BYTES 64

static struct gw_bytes name_of(uint8_t buf[NAME_BYTES], const struct account_key_record *r,
                               uint32_t generation)
{
    static const char label[] = "godwit account key";
    size_t len = sizeof(label) - 1;
    memcpy(buf, label, len);
    memcpy(buf + len, r->identity, sizeof(r->identity));
    len += sizeof(r->identity);
    gw_put_be32(buf + len, generation);
    return gw_bytes(buf, len + 4);
}

size_t account_key_len(const struct account_key_record *r)
{
    return offsetof(struct account_key_record, keys) + r->count * sizeof(r->keys[0]);
}

static int draw(struct gw_keyring *k, struct gw_sealer *s, struct account_key_record *r,
                uint32_t generation)
{
    uint8_t buf[NAME_BYTES], key[32];
    r->keys[0].generation = generation;
    int rc = getrandom(key, sizeof(key), 0) == sizeof(key) ? 0 : -EIO;
    if (rc == 0)
        rc = gw_keyring_wrap(k, s, name_of(buf, r, generation), key, &r->keys[0].wrapped);
    explicit_bzero(key, sizeof(key));
    return rc;
}

int account_key_make(struct gw_keyring *k, struct gw_sealer *s, const struct gw_identity *id,
                     struct account_key_record *out)
{
    *out = (struct account_key_record){.format = FORMAT, .count = 1};
    memcpy(out->identity, id->hash, sizeof(out->identity));
    return draw(k, s, out, 1);
}

bool account_key_parse(const struct gw_mailbox_id *mailbox, struct gw_bytes value,
                       struct account_key_record *out)
{
    size_t head = offsetof(struct account_key_record, keys);
    *out = (struct account_key_record){0};
    if (value.len < head || value.len > sizeof(*out))
        return false;
    memcpy(out, value.p, value.len);
    return out->format == FORMAT && out->count > 0 && out->count <= ACCOUNT_KEY_GENERATIONS &&
           value.len == account_key_len(out) &&
           memcmp(out->identity, mailbox->b, sizeof(mailbox->b)) == 0;
}

int account_key_open(struct gw_keyring *k, struct gw_sealer *s, const struct account_key_record *r,
                     struct account_keys *out)
{
    uint8_t buf[NAME_BYTES];
    int rc = 0;
    out->count = r->count;
    memcpy(out->identity.hash, r->identity, sizeof(r->identity));
    for (unsigned i = 0; i < r->count && rc == 0; i++) {
        out->generation[i] = r->keys[i].generation;
        rc = gw_keyring_unwrap(k, s, name_of(buf, r, out->generation[i]), &r->keys[i].wrapped,
                               out->key[i]);
    }
    if (rc)
        account_keys_wipe(out);
    return rc;
}

void account_keys_wipe(struct account_keys *keys)
{
    explicit_bzero(keys, sizeof(*keys));
}

const uint8_t *account_keys_find(const struct account_keys *keys, uint32_t generation)
{
    for (unsigned i = 0; i < keys->count; i++)
        if (keys->generation[i] == generation)
            return keys->key[i];
    return NULL;
}

int account_key_renew(struct gw_keyring *k, struct gw_sealer *s, struct account_key_record *r)
{
    uint32_t generation = r->keys[0].generation + 1;
    r->keys[1] = r->keys[0];
    r->count = 2;
    return draw(k, s, r, generation);
}

void account_key_settle(struct account_key_record *r)
{
    r->count = 1;
    memset(&r->keys[1], 0, sizeof(r->keys[1]));
}

int account_key_rewrap(struct gw_keyring *k, struct gw_sealer *s, struct account_key_record *r,
                       bool *changed)
{
    uint8_t buf[NAME_BYTES];
    int rc = 0;
    *changed = false;
    for (unsigned i = 0; i < r->count && rc == 0; i++) {
        if (gw_keyring_is_current(k, &r->keys[i].wrapped))
            continue;
        *changed = true;
        rc = gw_keyring_rewrap(k, s, name_of(buf, r, r->keys[i].generation), &r->keys[i].wrapped);
    }
    return rc;
}
