/* SPDX-License-Identifier: Apache-2.0 */
/* What TCP takes from the layer below beside segments: ICMP errors, and which local address. */
#include <criterion/criterion.h>
#include <errno.h>

#include "tcp_script.h"

static void tell(struct script *s, enum gw_tcp_icmp what, const struct gw_tcp_tuple *t, uint32_t seq)
{
    gw_tcp_icmp(script_tcp(s), script_now_us(s), what, t, script_our_iss(s) + seq);
}

#define COUNTED(s, name) (gw_tcp_counters(script_tcp(s))->name)

/* ---- ICMP, RFC 5927 ---- */

Test(tcp_icmp, a_hard_error_about_the_syn_ends_a_connect)
{
    for (int v6 = 0; v6 < 2; v6++) {
        struct script *s = script_open(&(struct script_config){.v6 = v6});
        script_run(s, "! connect", "> S seq 0");
        tell(s, GW_TCP_ICMP_HARD, &script_conn(s)->tuple, 0);
        script_run(s, "! flush", "= closed unreachable");
        cr_assert_eq(COUNTED(s, closed_unreachable), 1);
        script_close(&s);
    }
}

Test(tcp_icmp, a_soft_error_leaves_it_trying)
{
    struct script *s = script_open(NULL);
    script_run(s, "! connect", "> S seq 0");
    tell(s, GW_TCP_ICMP_SOFT, &script_conn(s)->tuple, 0);
    tell(s, GW_TCP_ICMP_TOO_BIG, &script_conn(s)->tuple, 0);
    script_run(s, "+ 1s", "> S seq 0", "< SA seq 0 ack 1 win 2000", "> A seq 1 ack 1",
               "= established");
    cr_assert_eq(COUNTED(s, icmp_ignored), 1);
    cr_assert_eq(COUNTED(s, icmp_too_big), 1);
    script_drop(&s);
}

Test(tcp_icmp, a_number_that_is_not_under_way_is_a_guess)
{
    struct script *s = script_open(NULL);
    script_run(s, "! connect", "> S seq 0");
    tell(s, GW_TCP_ICMP_HARD, &script_conn(s)->tuple, 1);
    tell(s, GW_TCP_ICMP_HARD, &script_conn(s)->tuple, UINT32_MAX);
    cr_assert_eq(COUNTED(s, drop_icmp_sequence), 2);
    script_run(s, "< SA seq 0 ack 1 win 2000", "> A seq 1 ack 1", "= established");
    script_drop(&s);
}

/* Whatever is said of it, and however well it is guessed. */
Test(tcp_icmp, ends_and_slows_down_no_established_connection)
{
    struct script *s = script_open(NULL);
    script_run(s, "< S seq 0 win 65535 mss 1000", "> SA seq 0 ack 1", "< A seq 1 ack 1 win 65535",
               "= established", "! send 100", "> PA seq 1 ack 1 len 100");
    uint32_t cwnd = script_conn(s)->cwnd, pipe = script_conn(s)->pipe;
    uint16_t mss = script_conn(s)->mss;
    for (uint32_t seq = 0; seq < 200; seq++)
        for (enum gw_tcp_icmp what = GW_TCP_ICMP_SOFT; what <= GW_TCP_ICMP_TOO_BIG; what++)
            tell(s, what, &script_conn(s)->tuple, seq);
    cr_assert_eq(COUNTED(s, icmp_ignored), 200, "100 bytes are under way");
    cr_assert_eq(COUNTED(s, icmp_too_big), 100);
    cr_assert_eq(COUNTED(s, drop_icmp_sequence), 300);
    cr_assert_eq(script_conn(s)->cwnd, cwnd);
    cr_assert_eq(script_conn(s)->pipe, pipe);
    cr_assert_eq(script_conn(s)->mss, mss);
    script_run(s, "< A seq 1 ack 101 win 65535", "= acked 100");
    script_drop(&s);
}

Test(tcp_icmp, an_opening_connection_of_a_peer_is_not_ended)
{
    struct script *s = script_open(NULL);
    script_run(s, "< S seq 0 win 65535 mss 1000", "> SA seq 0 ack 1");
    struct gw_tcp_tuple t = script_peer_conn(s)->tuple;
    tell(s, GW_TCP_ICMP_HARD, &t, 0);
    cr_assert_eq(COUNTED(s, icmp_ignored), 1);
    script_run(s, "< A seq 1 ack 1 win 65535", "= established");
    t.remote_port++;
    tell(s, GW_TCP_ICMP_HARD, &t, 0);
    cr_assert_eq(COUNTED(s, drop_icmp_no_connection), 1);
    script_drop(&s);
}

/* ---- listening on one address ---- */

static void syn(struct script *s, const struct gw_ip *to, uint16_t port)
{
    uint8_t segment[20] = {0x30, 0x39, [12] = 0x50, TCP_SYN, 0x40};
    struct gw_ip from = gw_ip_from_v4((const uint8_t[4]){192, 0, 2, 9});
    gw_put_be16(segment + 2, port);
    gw_tcp_input(script_tcp(s), script_now_us(s), &from, to, segment, sizeof(segment));
}

Test(tcp_listen, on_one_address_only)
{
    struct gw_ip one = gw_ip_from_v4((const uint8_t[4]){10, 77, 1, 1});
    struct gw_ip other = gw_ip_from_v4((const uint8_t[4]){10, 77, 1, 2});
    struct script *s = script_open(NULL);
    cr_assert_eq(gw_tcp_listen_at(script_tcp(s), &one, 7777), 0);
    syn(s, &other, 7777);
    cr_assert_eq(COUNTED(s, drop_no_connection), 1);
    syn(s, &one, 7778);
    cr_assert_eq(COUNTED(s, drop_no_connection), 2);
    syn(s, &one, 7777);
    cr_assert_eq(COUNTED(s, drop_no_connection), 2);
    cr_assert_eq(script_tcp(s)->half_open_count, 1);
    cr_assert_eq(gw_tcp_listen(script_tcp(s), 7778), 0);
    syn(s, &other, 7778);
    cr_assert_eq(script_tcp(s)->half_open_count, 2, "a port on all addresses");
    script_drop(&s);
}

Test(tcp_listen, on_so_many_addresses)
{
    struct script *s = script_open(NULL);
    for (uint8_t i = 0; i < GW_TCP_LISTEN_AT_MAX; i++) {
        struct gw_ip ip = gw_ip_from_v4((const uint8_t[4]){10, 77, 1, i});
        cr_assert_eq(gw_tcp_listen_at(script_tcp(s), &ip, 7777), 0);
    }
    struct gw_ip more = gw_ip_from_v4((const uint8_t[4]){10, 77, 2, 1});
    cr_assert_eq(gw_tcp_listen_at(script_tcp(s), &more, 7777), -ENOSPC);
    script_drop(&s);
}
