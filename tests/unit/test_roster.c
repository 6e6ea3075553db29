/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "../../dataplane/xmpp/roster.h"

static const uint8_t identity[32] = {7};
static const struct gw_sipkey key = {1, 2};
static uint8_t bufs[2][65536];
static unsigned which;

/* The roster with this entry, in the buffer that it is not in. */
static struct gw_bytes with(struct gw_bytes roster, struct gw_roster_entry e)
{
    uint8_t *out = bufs[which ^= 1];
    size_t most = gw_roster_size_with(roster, &e);
    size_t len = gw_roster_with(roster, identity, &e, out);
    cr_assert_leq(len, most);
    cr_assert_eq(gw_roster_check(gw_bytes(out, len)), 0);
    return gw_bytes(out, len);
}

static struct gw_roster_entry contact(const char *jid, uint8_t state, const char *name)
{
    return (struct gw_roster_entry){.flags = (uint8_t)(GW_ROSTER_LISTED | state),
                                    .jid = gw_bytes_str(jid), .name = gw_bytes_str(name)};
}

static struct gw_roster_entry blocked(const char *jid)
{
    return (struct gw_roster_entry){.flags = GW_ROSTER_BLOCKED, .jid = gw_bytes_str(jid)};
}

static struct gw_bytes ver(struct gw_bytes roster)
{
    static char text[4][GW_ROSTER_VER_DIGITS];
    static unsigned n;
    char *out = text[n++ % 4];
    gw_roster_ver(roster, &key, out);
    return gw_bytes(out, GW_ROSTER_VER_DIGITS);
}

static const struct gw_bytes none;

Test(roster, what_is_put_is_found_replaced_and_removed)
{
    struct gw_roster_entry e;
    struct gw_bytes r = with(none, contact("a@x", 0, "A"));
    r = with(r, contact("b@x", GW_SUB_TO, "B"));
    r = with(r, contact("a@x", GW_SUB_FROM, "longer"));
    cr_assert_eq(gw_roster_count(r).listed, 2);
    cr_assert(gw_roster_find(r, GW_LIT("a@x"), false, &e));
    cr_assert_eq(e.flags, GW_ROSTER_LISTED | GW_SUB_FROM);
    cr_assert(gw_bytes_eq(e.name, GW_LIT("longer")));
    cr_assert(!gw_roster_find(r, GW_LIT("c@x"), false, &e));
    cr_assert(gw_bytes_eq(e.jid, GW_LIT("c@x")));
    r = with(r, (struct gw_roster_entry){.jid = GW_LIT("a@x")});
    cr_assert(!gw_roster_find(r, GW_LIT("a@x"), false, &e));
    r = with(r, (struct gw_roster_entry){.jid = GW_LIT("b@x")});
    cr_assert_eq(r.len, 0, "nothing is left of an empty one");
}

Test(roster, contacts_and_blocked_are_apart)
{
    struct gw_roster_entry e;
    struct gw_bytes r = with(with(none, contact("a@x", 0, "")), blocked("a@x"));
    cr_assert_eq(gw_roster_count(r).listed, 1);
    cr_assert_eq(gw_roster_count(r).blocked, 1);
    cr_assert(gw_roster_find(r, GW_LIT("a@x"), true, &e));
    cr_assert_eq(e.flags, GW_ROSTER_BLOCKED);
    uint8_t *out = bufs[which ^ 1];
    cr_assert_eq(gw_roster_count(gw_bytes(out, gw_roster_unblock(r, GW_LIT("b@x"), out))).blocked, 1);
    cr_assert_eq(gw_roster_count(gw_bytes(out, gw_roster_unblock(r, GW_LIT("a@x"), out))).blocked, 0);
    r = gw_bytes(out, gw_roster_unblocked(r, out));
    cr_assert_eq(gw_roster_count(r).blocked, 0);
    cr_assert_eq(gw_roster_count(r).listed, 1);
}

/* XEP-0191 section 3: user@domain/resource, user@domain, domain/resource, domain. */
Test(roster, a_block_names_one_or_many)
{
    static const struct {
        const char *blocked, *full;
        bool yes;
    } cases[] = {
        {"a@x/1", "a@x/1", true}, {"a@x/1", "a@x/2", false}, {"a@x/1", "a@x", false},
        {"a@x", "a@x/1", true},   {"a@x", "a@x", true},      {"a@x", "b@x/1", false},
        {"x/1", "a@x/1", true},   {"x/1", "a@x/2", false},   {"x", "a@x/1", true},
        {"x", "a@x", true},       {"x", "x", true},          {"x", "a@y/x", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct gw_bytes r = with(none, blocked(cases[i].blocked));
        struct gw_bytes full = gw_bytes_str(cases[i].full);
        const uint8_t *slash = memchr(full.p, '/', full.len);
        struct gw_bytes bare = gw_bytes(full.p, slash ? (size_t)(slash - full.p) : full.len);
        cr_expect_eq(gw_roster_blocks(r, full, bare), cases[i].yes, "%s by %s", cases[i].full,
                     cases[i].blocked);
    }
}

Test(roster, the_version_is_of_what_a_client_sees)
{
    struct gw_bytes r = with(none, contact("a@x", 0, "A"));
    struct gw_bytes first = ver(r);
    struct gw_roster_entry asks = {.flags = GW_SUB_IN, .jid = GW_LIT("s@x"), .request = GW_LIT("<a/>")};
    r = with(r, asks);
    cr_assert_eq(gw_roster_count(r).pending, 1);
    cr_assert(gw_bytes_eq(ver(r), first), "a request that waits is not of the roster");
    r = with(r, blocked("b@x"));
    cr_assert(gw_bytes_eq(ver(r), first));
    r = with(r, contact("a@x", GW_SUB_OUT, "A"));
    cr_assert(!gw_bytes_eq(ver(r), first));
    r = with(r, contact("a@x", 0, "A"));
    cr_assert(gw_bytes_eq(ver(r), first), "what is the same again has the same version");
    cr_assert(!gw_bytes_eq(ver(with(r, contact("a@x", 0, "B"))), first));
}

Test(roster, an_item_is_written)
{
    char buf[512];
    static const uint8_t groups[] = "\1\0G\3\0Two";
    struct gw_roster_entry e = contact("a@x", GW_SUB_TO, "A &amp; B");
    e.groups = gw_bytes(groups, sizeof(groups) - 1);
    e.group_count = 2;
    struct gw_text t = gw_text(buf, sizeof(buf));
    gw_roster_put_item(&t, &e);
    cr_assert_leq(t.len, gw_roster_item_bytes(&e));
    cr_assert(gw_bytes_eq(gw_text_bytes(&t),
                          GW_LIT("<item jid='a@x' name='A &amp; B' subscription='to'>"
                                 "<group>G</group><group>Two</group></item>")));
    t.len = 0;
    e.flags = 0;
    gw_roster_put_item(&t, &e);
    cr_assert(gw_bytes_eq(gw_text_bytes(&t), GW_LIT("<item jid='a@x' subscription='remove'/>")));
}

/* From disk comes what was sealed there; but a check that never fails is none. */
Test(roster, other_bytes_are_no_roster)
{
    struct gw_bytes r = with(with(none, contact("a@x", 0, "A")), contact("b@x", 0, "B"));
    static uint8_t copy[256];
    for (size_t len = 1; len < r.len; len++)
        cr_expect_neq(gw_roster_check(gw_bytes(r.p, len)), 0, "cut at %zu", len);
    memcpy(copy, r.p, r.len);
    copy[sizeof(struct gw_roster_head)] = GW_SUB_TO | GW_SUB_OUT;
    cr_expect_neq(gw_roster_check(gw_bytes(copy, r.len)), 0, "no such state");
    memcpy(copy, r.p, r.len);
    copy[0] = 2;
    cr_expect_neq(gw_roster_check(gw_bytes(copy, r.len)), 0, "another format");
    cr_expect_eq(gw_roster_check(r), 0);
}
