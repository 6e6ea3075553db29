/* SPDX-License-Identifier: Apache-2.0 */
/* conn.list and conn.show: filters, pages, rows. */
#include "control_rig.h"

#include "../../control/commands_conn_filter.h"
#include "../../control/schema.h"

enum { ESTABLISHED = 3, TIME_WAIT = 9 }; /* indices into GW_TCP_STATES */

/* ---- the other end, as operators write it ---- */

static void expect_remote(const char *text, const uint8_t last[4], unsigned bits, unsigned port)
{
    struct gw_tcp_filter f = {0};
    cr_assert(conn_filter_parse_remote(text, &f), "%s", text);
    cr_assert_eq(memcmp(f.remote.ip.b + 12, last, 4), 0, "%s", text);
    cr_assert_eq(f.remote.bits, bits, "%s: %u", text, f.remote.bits);
    cr_assert_eq(f.remote_port, port, "%s: %u", text, f.remote_port);
}

Test(conn_filter, addresses_prefixes_and_ports)
{
    static const uint8_t v4[] = {10, 1, 2, 3}, one[] = {0, 0, 0, 1}, none[4];
    expect_remote("10.1.2.3", v4, 128, 0);
    expect_remote("10.1.2.3/32", v4, 128, 0);
    expect_remote("10.1.2.3/8", v4, 104, 0);
    expect_remote("0.0.0.0/0", none, 96, 0);
    expect_remote("10.1.2.3:65535", v4, 128, 65535);
    expect_remote("fd00::1", one, 128, 0);
    expect_remote("[fd00::1]", one, 128, 0);
    expect_remote("[fd00::1]:5222", one, 128, 5222);
    expect_remote("fd00::/16", none, 16, 0);
    expect_remote("::/0", none, 0, 0);
    expect_remote("::ffff:10.1.2.3", v4, 128, 0);
}

Test(conn_filter, what_is_no_address)
{
    static const char *const wrong[] = {
        "", "x", "10.1.2", "10.1.2.3.4", "10.1.2.3/33", "10.1.2.3/", "10.1.2.3/-1", "10.1.2.3/8x",
        "10.1.2.3:", "10.1.2.3:0", "10.1.2.3:65536", "10.1.2.3: 5", "fd00::1/129", "[fd00::1",
        "[fd00::1]x", "[fd00::1]:", "fd00::1]:5", "[]", "[", "]", ":", "/", "[fd00::1]/64",
        "10.1.2.3:5222/8",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct gw_tcp_filter f = {0};
        cr_assert_not(conn_filter_parse_remote(wrong[i], &f), "%s", wrong[i]);
    }
}

Test(conn_filter, ids)
{
    unsigned lcore;
    uint32_t position;
    cr_assert(conn_parse_id("3:17", &lcore, &position) && lcore == 3 && position == 17);
    cr_assert(conn_parse_id("0:4294967295", &lcore, &position) && position == UINT32_MAX);
    static const char *const wrong[] = {"", ":", "1", "1:", ":1", "1:0", "1:4294967296", "-1:1",
                                        "1:1:1", "a:1", "1:a", "99999:1"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_not(conn_parse_id(wrong[i], &lcore, &position), "%s", wrong[i]);
}

/* ---- the commands ---- */

static json_int_t number(const json_t *o, const char *part, const char *name)
{
    const json_t *v = json_object_get(json_object_get(o, part), name);
    cr_assert(json_is_integer(v), "%s.%s", part, name);
    return json_integer_value(v);
}

static const char *text(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

CONTROL_TEST(conn, a_row_says_all)
{
    int fd = rig_connect(rig);
    rig_add_connection(rig, "alice@example.org/x", 1, ESTABLISHED);
    json_t *r = rig_call(fd, "conn.list", NULL), *rows = json_object_get(r, "connections");
    cr_assert_eq(json_array_size(rows), 1);
    cr_assert_null(json_object_get(r, "next"));
    const json_t *c = json_array_get(rows, 0);
    cr_assert_str_eq(text(c, "conn"), "1:1");
    cr_assert_str_eq(text(c, "state"), "established");
    cr_assert_str_eq(text(c, "local"), "10.0.0.9");
    cr_assert_str_eq(text(c, "remote"), "fd00::1");
    cr_assert_str_eq(text(c, "jid"), "alice@example.org/x");
    static const struct {
        const char *part, *name;
        json_int_t value;
    } expected[] = {{"send", "acked", 11}, {"send", "window", 12}, {"receive", "window", 13},
                    {"rtt", "smoothed_us", 15000}, {"rtt", "variation_us", 16000},
                    {"rtt", "timeout_us", 217000}, {"rtt", "least_us", 18000},
                    {"congestion", "window", 19}, {"congestion", "threshold", 20},
                    {"send", "in_flight", 21}, {"send", "pipe", 22}, {"send", "resent", 23},
                    {"send", "queued", 24}, {"send", "unsent", 25}, {"receive", "unread", 26},
                    {"receive", "pieces", 27}, {"receive", "ahead", 28}, {"send", "scale", 7},
                    {"receive", "scale", 5}, {"send", "backoff", 2}};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        cr_assert_eq(number(c, expected[i].part, expected[i].name), expected[i].value, "%s.%s",
                     expected[i].part, expected[i].name);
    cr_assert_str_eq(text(json_object_get(c, "congestion"), "control"), "cubic");
    cr_assert_str_eq(text(json_object_get(c, "congestion"), "state"), "recovery");
    const json_t *timers = json_object_get(c, "timers"), *options = json_object_get(c, "options");
    cr_assert_eq(json_array_size(timers), 2);
    cr_assert_str_eq(text(json_array_get(timers, 0), "timer"), "retransmit");
    cr_assert_eq(json_integer_value(json_object_get(json_array_get(timers, 0), "in_ms")), 30);
    cr_assert_str_eq(text(json_array_get(timers, 1), "timer"), "user");
    cr_assert_eq(json_array_size(options), 2);
    cr_assert_eq(json_integer_value(json_object_get(c, "mss")), 14);
    cr_assert_eq(json_integer_value(json_object_get(c, "silent_s")), 29);
    json_decref(r);
    close(fd);
}

/* What waits in TIME-WAIT has no queues and no round trips. */
CONTROL_TEST(conn, time_wait_is_shown_as_what_it_is)
{
    int fd = rig_connect(rig);
    rig_add_connection(rig, "", 0, TIME_WAIT);
    rig_add_connection(rig, "", 0, ESTABLISHED);
    json_t *r = rig_call(fd, "conn.list", json_pack("{s:s}", "state", "time-wait"));
    const json_t *rows = json_object_get(r, "connections"), *c = json_array_get(rows, 0);
    cr_assert_eq(json_array_size(rows), 1);
    cr_assert_str_eq(text(c, "state"), "time-wait");
    cr_assert_null(json_object_get(c, "send"));
    cr_assert_null(json_object_get(c, "jid"));
    cr_assert_str_eq(text(json_array_get(json_object_get(c, "timers"), 0), "timer"), "time-wait");
    json_decref(r);
    close(fd);
}

CONTROL_TEST(conn, filters_reach_the_core)
{
    int fd = rig_connect(rig);
    json_decref(rig_call(fd, "conn.list",
                         json_pack("{s:s, s:s, s:i, s:s, s:b, s:i, s:i}", "state", "syn-received",
                                   "remote", "10.0.0.0/8", "local_port", 5222, "account", "Bob",
                                   "retransmitting", 1, "queued", 65536, "limit", 9)));
    pthread_mutex_lock(&rig->lock);
    const struct gw_connection_query *q = &rig->query;
    cr_assert_eq(q->filter.states, 1u << 2);
    cr_assert_eq(q->filter.remote.bits, 104);
    cr_assert_eq(q->filter.local_port, 5222);
    cr_assert_eq(q->filter.queued_min, 65536);
    cr_assert(q->filter.retransmitting);
    cr_assert_eq(q->rows_max, 9);
    cr_assert_eq(q->account_len, strlen("bob@example.org"));
    cr_assert_eq(memcmp(q->account, "bob@example.org", q->account_len), 0);
    pthread_mutex_unlock(&rig->lock);
    close(fd);
}

CONTROL_TEST(conn, pages_hold_each_connection_once)
{
    int fd = rig_connect(rig);
    for (unsigned i = 0; i < 950; i++)
        rig_add_connection(rig, "", i % 3 == 0, ESTABLISHED);
    bool seen[RIG_SESSIONS_MAX] = {false};
    unsigned count = 0, pages = 0;
    json_t *cursor = json_string("");
    while (cursor != NULL) {
        json_t *r = rig_call(fd, "conn.list", json_pack("{s:o, s:i}", "cursor", cursor, "limit", 61));
        json_t *rows = json_object_get(r, "connections"), *row;
        size_t i;
        json_array_foreach(rows, i, row) {
            unsigned lcore, at;
            cr_assert_eq(sscanf(text(row, "conn"), "%u:%u", &lcore, &at), 2);
            cr_assert_not(seen[at], "%s twice", text(row, "conn"));
            seen[at] = true;
            count++;
        }
        cr_assert_leq(json_array_size(rows), 61);
        cursor = json_incref(json_object_get(r, "next"));
        json_decref(r);
        cr_assert_lt(pages++, 40);
    }
    cr_assert_eq(count, 950);
    close(fd);
}

/* Nothing fits: an answer comes after a bounded number of questions all the same, with the place to
 * go on, and in the end there is none. */
CONTROL_TEST(conn, a_search_that_finds_nothing_ends_early)
{
    int fd = rig_connect(rig);
    rig->scan_max = 5;
    for (unsigned i = 0; i < 1000; i++)
        rig_add_connection(rig, "", 1, ESTABLISHED);
    json_t *r = rig_call(fd, "conn.list", json_pack("{s:s}", "state", "closing"));
    cr_assert_eq(json_array_size(json_object_get(r, "connections")), 0);
    cr_assert_not_null(json_object_get(r, "next"));
    for (unsigned n = 0; json_object_get(r, "next") != NULL; n++) {
        json_t *next = json_incref(json_object_get(r, "next"));
        json_decref(r);
        r = rig_call(fd, "conn.list", json_pack("{s:s, s:o}", "state", "closing", "cursor", next));
        cr_assert_lt(n, 20);
    }
    json_decref(r);
    close(fd);
}

CONTROL_TEST(conn, one_is_shown_by_id_or_by_peer)
{
    int fd = rig_connect(rig);
    for (unsigned i = 0; i < 300; i++)
        rig_add_connection(rig, "", i % 2, ESTABLISHED);
    json_t *r = rig_call(fd, "conn.show", json_pack("{s:s}", "conn", "1:222"));
    cr_assert_str_eq(text(r, "conn"), "1:222");
    json_decref(r);
    r = rig_call(fd, "conn.show", json_pack("{s:s}", "conn", "[fd00::1]:1222"));
    cr_assert_not_null(text(r, "conn"));
    pthread_mutex_lock(&rig->lock);
    cr_assert_eq(rig->query.filter.remote_port, 1222);
    cr_assert_eq(rig->query.filter.remote.bits, 128);
    pthread_mutex_unlock(&rig->lock);
    json_decref(r);
    rig_expect_error(fd, "conn.show", json_pack("{s:s}", "conn", "0:222"), RPC_NOT_FOUND);
    rig_expect_error(fd, "conn.show", json_pack("{s:s}", "conn", "0:5000"), RPC_NOT_FOUND);
    rig_expect_error(fd, "conn.show", json_pack("{s:s}", "conn", "7:1"), RPC_PARAMS);
    rig_expect_error(fd, "conn.show", json_pack("{s:s}", "conn", "10.0.0.1"), RPC_PARAMS);
    close(fd);
}

CONTROL_TEST(conn, what_is_wrong_is_said)
{
    int fd = rig_connect(rig);
    rig_expect_error(fd, "conn.list", json_pack("{s:s}", "remote", "10.0.0"), RPC_PARAMS);
    rig_expect_error(fd, "conn.list", json_pack("{s:s}", "state", "closed"), RPC_PARAMS);
    rig_expect_error(fd, "conn.list", json_pack("{s:s}", "cursor", "9:0:0"), RPC_PARAMS);
    rig_expect_error(fd, "conn.list", json_pack("{s:s}", "account", "a@elsewhere.org"), RPC_PARAMS);
    rig_expect_error(fd, "conn.list", json_pack("{s:i}", "local_port", 65536), RPC_PARAMS);
    close(fd);
}
