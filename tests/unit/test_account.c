/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "../../storage/account.h"

#define SHA1_KEYS                                                                                  \
    "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE="

static struct gw_scram_keys derive(enum gw_scram_hash h, const char *salt_base64)
{
    struct gw_scram_keys k = {.iterations = 4096};
    uint8_t salt[66];
    int len = EVP_DecodeBlock(salt, (const uint8_t *)salt_base64, (int)strlen(salt_base64));
    for (size_t i = strlen(salt_base64); salt_base64[i - 1] == '='; i--)
        len--;
    memcpy(k.salt, salt, (size_t)len);
    k.salt_len = (uint8_t)len;
    cr_assert_eq(gw_scram_keys_derive(h, GW_LIT("pencil"), &k), 0);
    return k;
}

/* The server's signature in an RFC's example proves ServerKey; the client's proof, StoredKey. */
static void assert_example(enum gw_scram_hash h, const EVP_MD *md, const struct gw_scram_keys *k,
                           const char *auth_message, const char *proof, const char *signature)
{
    size_t n = gw_scram_key_bytes(h);
    uint8_t mac[64], want[66], client_key[64], stored[64];
    HMAC(md, k->server_key, (int)n, (const uint8_t *)auth_message, strlen(auth_message), mac, NULL);
    EVP_DecodeBlock(want, (const uint8_t *)signature, (int)strlen(signature));
    cr_assert_eq(memcmp(mac, want, n), 0, "server signature");

    HMAC(md, k->stored_key, (int)n, (const uint8_t *)auth_message, strlen(auth_message), mac, NULL);
    EVP_DecodeBlock(want, (const uint8_t *)proof, (int)strlen(proof));
    for (size_t i = 0; i < n; i++)
        client_key[i] = mac[i] ^ want[i];
    EVP_Digest(client_key, n, stored, NULL, md, NULL);
    cr_assert_eq(memcmp(stored, k->stored_key, n), 0, "client proof");
}

Test(account, derives_the_keys_of_rfc_5802_section_5)
{
    struct gw_scram_keys k = derive(GW_SCRAM_SHA_1, "QSXCR+Q6sek8bf92");
    assert_example(GW_SCRAM_SHA_1, EVP_sha1(), &k,
                   "n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,"
                   "s=QSXCR+Q6sek8bf92,i=4096,c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
                   "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ=");
}

Test(account, derives_the_keys_of_rfc_7677_section_3)
{
    struct gw_scram_keys k = derive(GW_SCRAM_SHA_256, "W22ZaJ0SNY7soEsUEjb6gQ==");
    assert_example(GW_SCRAM_SHA_256, EVP_sha256(), &k,
                   "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                   "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,"
                   "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
                   "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                   "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

Test(account, text_of_derived_keys_parses_to_them)
{
    struct gw_scram_keys derived = derive(GW_SCRAM_SHA_1, "QSXCR+Q6sek8bf92"), parsed;
    enum gw_scram_hash h;
    const char *err;
    cr_assert_eq(gw_scram_keys_parse(GW_LIT(SHA1_KEYS), &h, &parsed, &err), 0, "%s", err);
    cr_assert_null(err);
    cr_assert_eq(h, GW_SCRAM_SHA_1);
    cr_assert_eq(memcmp(&parsed, &derived, sizeof(parsed)), 0);
}

Test(account, bad_key_texts_are_refused_with_a_reason)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "is not"},
        {"SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92", "is not"},
        {"SCRAM-MD5$4096:QSXC$QSXC:QSXC", "mechanism"},
        {"SHA-1$4096:QSXC$QSXC:QSXC", "mechanism"},
        {"SCRAM-SHA-1$:QSXC$QSXC:QSXC", "iteration"},
        {"SCRAM-SHA-1$4095:QSXC$QSXC:QSXC", "iteration"},
        {"SCRAM-SHA-1$-4096:QSXC$QSXC:QSXC", "iteration"},
        {"SCRAM-SHA-1$99999999:QSXC$QSXC:QSXC", "iteration"},
        {"SCRAM-SHA-1$18446744073709555712:QSXC$QSXC:QSXC", "iteration"},
        {"SCRAM-SHA-1$4096:$QSXC:QSXC", "salt"},
        {"SCRAM-SHA-1$4096:QSX$QSXC:QSXC", "salt"},
        {"SCRAM-SHA-1$4096:====$QSXC:QSXC", "salt"},
        {"SCRAM-SHA-1$4096:Q=XC$QSXC:QSXC", "salt"},
        {"SCRAM-SHA-1$4096: SXC$QSXC:QSXC", "salt"},
        {"SCRAM-SHA-1$4096:QSXC$QSXC:QSXC", "StoredKey"},
        {"SCRAM-SHA-1$4096:QSXC$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:QSXC", "ServerKey"},
        {SHA1_KEYS "AAAA", "ServerKey"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct gw_scram_keys k;
        enum gw_scram_hash h;
        const char *err = NULL;
        cr_assert_eq(gw_scram_keys_parse(gw_bytes_str(cases[i].text), &h, &k, &err), -EINVAL, "%s",
                     cases[i].text);
        cr_assert_not_null(strstr(err, cases[i].why), "%s: %s", cases[i].text, err);
    }
}

static struct gw_account full_account(void)
{
    struct gw_account a = {
        .created_us = 1234567890123, .messages_max = 17, .bytes_max = UINT64_C(1) << 40};
    memset(a.identity_key, 9, sizeof(a.identity_key));
    for (unsigned h = 0; h < GW_SCRAM_HASH_COUNT; h++) {
        a.scram[h].iterations = GW_SCRAM_ITERATIONS_MAX - h;
        a.scram[h].salt_len = GW_SCRAM_SALT_BYTES_MAX;
        memset(a.scram[h].salt, 1, sizeof(a.scram[h].salt));
        memset(a.scram[h].stored_key, 2, gw_scram_key_bytes(h));
        memset(a.scram[h].server_key, 3, gw_scram_key_bytes(h));
    }
    return a;
}

Test(account, comes_back_as_it_was_packed)
{
    struct gw_account in = full_account(), out;
    uint8_t packed[GW_ACCOUNT_PACKED_BYTES_MAX];
    for (unsigned left_out = 0; left_out <= GW_SCRAM_HASH_COUNT; left_out++) {
        in = full_account();
        if (left_out < GW_SCRAM_HASH_COUNT)
            memset(&in.scram[left_out], 0, sizeof(in.scram[left_out]));
        size_t len = gw_account_pack(&in, packed);
        cr_assert_eq(gw_account_unpack(packed, len, &out), 0);
        cr_assert_eq(memcmp(&in, &out, sizeof(in)), 0);
    }
}

/* Written before accounts had limits. */
Test(account, the_first_version_has_the_configured_limits)
{
    struct gw_account in = full_account(), out;
    uint8_t packed[GW_ACCOUNT_PACKED_BYTES_MAX];
    size_t len = gw_account_pack(&in, packed) - sizeof(uint32_t) - sizeof(uint64_t);
    packed[0] = 1;
    cr_assert_eq(gw_account_unpack(packed, len, &out), 0);
    in.messages_max = 0;
    in.bytes_max = 0;
    cr_assert_eq(memcmp(&in, &out, sizeof(in)), 0);
}

Test(account, anything_but_the_whole_packed_form_is_refused)
{
    struct gw_account in = full_account(), out;
    uint8_t packed[GW_ACCOUNT_PACKED_BYTES_MAX + 1] = {0};
    size_t len = gw_account_pack(&in, packed);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *copy = malloc(cut > 0 ? cut : 1);
        memcpy(copy, packed, cut);
        cr_assert_eq(gw_account_unpack(copy, cut, &out), -EBADMSG);
        free(copy);
    }
    cr_assert_eq(gw_account_unpack(packed, len + 1, &out), -EBADMSG);
    packed[0]++;
    cr_assert_eq(gw_account_unpack(packed, len, &out), -EBADMSG);
}
