/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "../../dataplane/xmpp/jid.h"

static struct gw_jid_text j;

static void good(const char *in, const char *want)
{
    cr_assert_eq(gw_jid_prep(gw_bytes_str(in), &j), 0, "%s", in);
    cr_assert_str_eq(j.text, want);
    cr_assert_eq(j.len, strlen(want));
}

Test(jid, parts)
{
    good("Juliet@Example.COM/Balcony", "juliet@example.com/Balcony");
    cr_assert(gw_bytes_eq(gw_jid_local(&j), GW_LIT("juliet")));
    cr_assert(gw_bytes_eq(gw_jid_domain(&j), GW_LIT("example.com")));
    cr_assert(gw_bytes_eq(gw_jid_resource(&j), GW_LIT("Balcony")));
    cr_assert(gw_bytes_eq(gw_jid_bare(&j), GW_LIT("juliet@example.com")));
    good("example.com", "example.com");
    cr_assert_eq(j.local_len, 0);
    good("example.com./x", "example.com/x");
    good("a@b/c@d/e", "a@b/c@d/e");
    cr_assert(gw_bytes_eq(gw_jid_resource(&j), GW_LIT("c@d/e")));
    good("b/c@d", "b/c@d");
    cr_assert_eq(j.local_len, 0);
}

Test(jid, wide_characters_are_prepared)
{
    good("\xc3\x9cmlaut@example.com", "\xc3\xbcmlaut@example.com");
    good("stra\xc3\x9f" "e@example.com", "strasse@example.com");
    good("x@example.com/\xe2\x84\xab", "x@example.com/\xc3\x85"); /* angstrom sign, NFKC */
}

Test(jid, refused)
{
    static const char *const bad[] = {
        "", "@", "a@", "@b", "a@b/", "/r", "a b@c", "a\"@c", "a&@c", "a'@c", "a:@c", "a<@c", "a>@c",
        "a@b@c", "a@b c", "a@b/\x01", "a\x7f@b", "\xff@b", "a@\xc0\xaf",
        "\xef\xbc\xa0@b" /* full-width @ becomes @ */,
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(gw_jid_prep(gw_bytes_str(bad[i]), &j), -22, "%zu: %s", i, bad[i]);
}

Test(jid, length_limits)
{
    char in[GW_JID_BYTES_MAX + 8];
    memset(in, 'a', sizeof(in));
    memcpy(in + 1023, "@b", 2);
    cr_assert_eq(gw_jid_prep(gw_bytes(in, 1025), &j), 0);
    memset(in, 'a', 1024);
    memcpy(in + 1024, "@b", 2);
    cr_assert_eq(gw_jid_prep(gw_bytes(in, 1026), &j), -22);
}

Test(jid, bare_from_an_operator)
{
    cr_assert_eq(gw_jid_prep_bare(gw_bytes_str("Alice"), "example.org", &j), 0);
    cr_assert_str_eq(j.text, "alice@example.org");
    cr_assert_eq(gw_jid_prep_bare(gw_bytes_str("bob@other.net"), "example.org", &j), 0);
    cr_assert_str_eq(j.text, "bob@other.net");
    cr_assert_eq(gw_jid_prep_bare(gw_bytes_str("bob@other.net/x"), "example.org", &j), -22);
    cr_assert_eq(gw_jid_prep_bare(gw_bytes_str("a/b"), "example.org", &j), -22);
}
