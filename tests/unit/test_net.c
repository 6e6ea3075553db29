/* SPDX-License-Identifier: Apache-2.0 */
/* Ethernet, IPv4, ICMP and ARP, and segments out. */
#include <errno.h>
#include <signal.h>

#include "../../dataplane/net/rate.h"
#include "net_rig.h"

static void open_with(uint8_t prefix_len, bool gateway, uint32_t neighbour_limit)
{
    reset_world();
    struct gw_ip_prefix address = prefix4(our_ip, prefix_len);
    struct gw_ip_route route = {prefix4((const uint8_t[4]){0}, 0), gw_ip_from_v4(gateway_ip)};
    struct gw_net_config cfg = {
        .addresses = &address,
        .address_count = 1,
        .routes = &route,
        .route_count = gateway,
        .neighbour_limit = neighbour_limit,
        .key = {1, 2},
        .announce = true,
    };
    cr_assert_eq(gw_net_open(&w.net, &cfg, &w.port, w.now_us), 0);
    w.out_count = 0; /* the announcement has a test of its own */
}

static void setup(void)
{
    open_with(24, true, NEIGHBOURS);
}

static void teardown(void)
{
    close_world();
}

/* The first question after what was heard of somebody is whether it is there: not before. */
static void make_reachable(const uint8_t mac[6], const uint8_t ip[4])
{
    cr_assert(emit(ip));
    hear_reply_from(mac, ip);
    w.out_count = 0;
}

/* ---- checksum ---- */

/* RFC 1071 section 4.1, word by word. */
static uint16_t plain_sum(const uint8_t *p, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += (uint32_t)p[i] << 8 | p[i + 1];
    if (len & 1)
        sum += (uint32_t)p[len - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static uint16_t as_number(uint16_t raw)
{
    return gw_be16(&raw);
}

Test(checksum, equals_the_plain_one_at_every_length_and_alignment)
{
    uint8_t bytes[4096];
    unsigned seed = 7;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)rand_r(&seed);
    for (size_t len = 0; len < 200; len++)
        for (size_t at = 0; at < 9; at++)
            cr_assert_eq(as_number(checksum_finish(checksum_add(0, bytes + at, len))),
                         plain_sum(bytes + at, len), "%zu at %zu", len, at);
    for (size_t len = 0; len < sizeof(bytes); len += 13)
        cr_assert_eq(as_number(checksum_finish(checksum_add(0, bytes, len))),
                     plain_sum(bytes, len));
}

Test(checksum, carries_are_not_lost)
{
    uint8_t ones[1500];
    memset(ones, 0xff, sizeof(ones));
    cr_assert_eq(checksum_finish(checksum_add(0, ones, sizeof(ones))), 0);
    ones[1499] = 0xfe;
    cr_assert_eq(as_number(checksum_finish(checksum_add(0, ones, sizeof(ones)))),
                 plain_sum(ones, sizeof(ones)));
}

Test(checksum, pieces_of_odd_length_add_up)
{
    uint8_t bytes[600];
    unsigned seed = 3;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)rand_r(&seed);
    for (int round = 0; round < 2000; round++) {
        struct gw_bytes pieces[8];
        size_t at = 0;
        for (int i = 0; i < 8; i++) {
            size_t len = (size_t)rand_r(&seed) % 75;
            pieces[i] = gw_bytes(bytes + at, len);
            at += len;
        }
        cr_assert_eq(as_number(checksum_finish(checksum_add_pieces(0, pieces, 8))),
                     plain_sum(bytes, at));
    }
}

Test(rate, refills_with_time_up_to_its_burst)
{
    struct rate r = rate_full(10, 3, 1000);
    for (int i = 0; i < 3; i++)
        cr_assert(rate_take(&r, 1000));
    cr_assert_not(rate_take(&r, 1000));
    cr_assert_not(rate_take(&r, 1000 + 99999));
    cr_assert(rate_take(&r, 1000 + 100000));
    cr_assert_not(rate_take(&r, 1000 + 100000));
    for (int i = 0; i < 3; i++)
        cr_assert(rate_take(&r, UINT64_MAX / 2));
    cr_assert_not(rate_take(&r, UINT64_MAX / 2));
}

/* ---- Ethernet ---- */

Test(net, announces_itself_when_it_opens)
{
    open_with(24, false, 1);
    w.out_count = 1; /* the frame is still there */
    cr_assert(is_request_for(&w.out[0], our_ip));
    cr_assert_arr_eq(w.out[0].b + ETH_BYTES + 14, our_ip, 4);
    cr_assert_eq(COUNT(arp_requests_out), 1);
    cr_assert_eq(gw_net_next_deadline_us(w.net), UINT64_MAX);
    close_world();
    cr_assert_null(w.net);
}

Test(net, hands_up_a_segment, .init = setup, .fini = teardown)
{
    struct packet p = tcp_packet(peer_ip);
    p.len += 7; /* padding after the IP packet is not part of it */
    receive(&p);
    cr_assert_eq(w.segments_in, 1);
    cr_assert_eq(w.segment_len, TCP_BYTES + 5);
    cr_assert_arr_eq(w.segment + TCP_BYTES, "hello", 5);
    struct gw_ip peer = gw_ip_from_v4(peer_ip), us = gw_ip_from_v4(our_ip);
    cr_assert(gw_ip_eq(&w.src, &peer));
    cr_assert(gw_ip_eq(&w.dst, &us));
    cr_assert_eq(COUNT(rx_frames), 1);
    cr_assert_eq(COUNT(rx_bytes), p.len);
    cr_assert_eq(COUNT(rx_tcp), 1);
}

Test(net, steps_over_ip_options, .init = setup, .fini = teardown)
{
    struct packet plain = tcp_packet(peer_ip), p = plain;
    uint8_t *ip = p.b + ETH_BYTES;
    memmove(ip + 32, plain.b + ETH_BYTES + IP_BYTES, TCP_BYTES + 5);
    memset(ip + IP_BYTES, 1, 12); /* no operation */
    ip[0] = 0x48;
    gw_put_be16(ip + 2, 32 + TCP_BYTES + 5);
    p.len += 12;
    seal_ip(&p);
    receive(&p);
    cr_assert_eq(w.segments_in, 1);
    cr_assert_arr_eq(w.segment + TCP_BYTES, "hello", 5);
}

/* One fault each in a good segment, and the counter that must name it. */
struct fault {
    const char *what;
    size_t at;
    uint8_t value;
    bool reseal;
    size_t counter;
    uint32_t cut_to; /* 0: not cut */
};

Test(net, drops_and_counts_by_reason, .init = setup, .fini = teardown)
{
    static const struct fault faults[] = {
        {"empty", 0, 2, false, COUNTER(drop_eth_short), 1},
        {"no whole Ethernet header", 0, 2, false, COUNTER(drop_eth_short), 13},
        {"multicast source", 6, 3, false, COUNTER(drop_eth_source), 0},
        {"to another station", 5, 9, false, COUNTER(drop_eth_not_for_us), 0},
        {"a unicast packet in a multicast frame", 0, 3, false, COUNTER(drop_eth_not_for_us), 0},
        {"unknown type", 12, 0x88, false, COUNTER(drop_eth_type), 0},
        {"length instead of a type", 12, 0x00, false, COUNTER(drop_eth_type), 0},
        {"no IP header", 0, 2, false, COUNTER(drop_ip4_short), ETH_BYTES},
        {"cut in the IP header", 0, 2, false, COUNTER(drop_ip4_short), ETH_BYTES + 19},
        {"version 6", IP(0), 0x65, true, COUNTER(drop_ip4_version), 0},
        {"header length 4", IP(0), 0x44, false, COUNTER(drop_ip4_header_length), 0},
        {"header longer than the frame", IP(0), 0x4f, false, COUNTER(drop_ip4_header_length), 0},
        {"total length less than the header", IP(3), 19, true, COUNTER(drop_ip4_total_length), 0},
        {"total length beyond the frame", IP(2), 1, true, COUNTER(drop_ip4_total_length), 0},
        {"cut behind the IP header", 0, 2, false, COUNTER(drop_ip4_total_length), 40},
        {"wrong header checksum", IP(8), 63, false, COUNTER(drop_ip4_checksum), 0},
        {"to another address", IP(19), 9, true, COUNTER(drop_ip4_not_for_us), 0},
        {"to the broadcast address", IP(19), 255, true, COUNTER(drop_ip4_not_for_us), 0},
        {"from multicast", IP(12), 224, true, COUNTER(drop_ip4_source), 0},
        {"from class E", IP(12), 250, true, COUNTER(drop_ip4_source), 0},
        {"from loopback", IP(12), 127, true, COUNTER(drop_ip4_source), 0},
        {"from this network", IP(12), 0, true, COUNTER(drop_ip4_source), 0},
        {"from ourselves", IP(15), 1, true, COUNTER(drop_ip4_source), 0},
        {"from the link's broadcast", IP(15), 255, true, COUNTER(drop_ip4_source), 0},
        {"from the link itself", IP(15), 0, true, COUNTER(drop_ip4_source), 0},
        {"first fragment", IP(6), 0x20, true, COUNTER(drop_ip4_fragment), 0},
        {"later fragment", IP(7), 1, true, COUNTER(drop_ip4_fragment), 0},
        {"UDP", IP(9), 17, true, COUNTER(drop_ip4_protocol), 0},
        {"no whole TCP header", IP(3), IP_BYTES + 19, true, COUNTER(drop_tcp_short), 0},
        {"wrong TCP checksum", IP(IP_BYTES + 21), 'E', false, COUNTER(drop_tcp_checksum), 0},
    };
    unsigned n = sizeof(faults) / sizeof(faults[0]);
    for (unsigned i = 0; i < n; i++) {
        const struct fault *f = &faults[i];
        struct packet p = tcp_packet(peer_ip);
        p.b[f->at] = f->value;
        if (f->reseal)
            seal_ip(&p);
        if (f->cut_to)
            p.len = f->cut_to;
        const uint64_t *counter = counter_at(f->counter);
        uint64_t before = *counter;
        receive(&p);
        cr_assert_eq(*counter, before + 1, "%s", f->what);
    }
    cr_assert_eq(COUNT(rx_frames), n);
    cr_assert_eq(w.segments_in, 0);
    cr_assert_eq(w.out_count, 0, "none of them is answered");
}

Test(net, a_zero_source_address_is_dropped, .init = setup, .fini = teardown)
{
    struct packet p = tcp_packet(peer_ip);
    memset(p.b + 6, 0, 6);
    receive(&p);
    cr_assert_eq(COUNT(drop_eth_source), 1);
}

Test(net, believes_a_port_that_has_checked_the_checksums, .init = setup, .fini = teardown)
{
    struct packet p = tcp_packet(peer_ip);
    put16(p.b + IP(10), 0);
    put16(p.b + IP(IP_BYTES + 16), 0);
    receive(&p);
    cr_assert_eq(COUNT(drop_ip4_checksum), 1);
    receive_ok_by_port(&p);
    cr_assert_eq(w.segments_in, 1);
}

Test(net, edge_addresses_are_hosts_where_the_prefix_is_31, .init = setup, .fini = teardown)
{
    static const uint8_t twin[4] = {10, 77, 0, 0};
    open_with(31, false, NEIGHBOURS);
    struct packet p = tcp_packet(twin);
    receive(&p);
    cr_assert_eq(w.segments_in, 1);
}

/* Whatever the bytes are, one frame is one frame, nothing is read beyond it, nothing trips. */
Test(net, random_frames_do_no_harm, .init = setup, .fini = teardown)
{
    unsigned seed = 11;
    for (int i = 0; i < 200000; i++) {
        struct packet p = i % 3 == 0   ? echo_packet((size_t)rand_r(&seed) % 64)
                          : i % 3 == 1 ? tcp_packet(peer_ip)
                                       : arp_packet(1 + i / 3 % 2, peer_mac, peer_ip, our_ip);
        unsigned changes = (unsigned)rand_r(&seed) % 4;
        for (unsigned c = 0; c < changes; c++)
            p.b[(unsigned)rand_r(&seed) % p.len] = (uint8_t)rand_r(&seed);
        if (rand_r(&seed) % 2 && p.len > 34)
            seal_ip(&p);
        if (rand_r(&seed) % 4 == 0)
            p.len = (unsigned)rand_r(&seed) % p.len;
        receive(&p);
        w.out_count = 0;
        pass_time((unsigned)rand_r(&seed) % 1000);
    }
    cr_assert_eq(COUNT(rx_frames), 200000);
    cr_assert_gt(COUNT(rx_tcp), 1000);
    cr_assert_gt(COUNT(icmp_echo_replies), 1000);
}

/* ---- ICMP ---- */

Test(net, answers_an_echo, .init = setup, .fini = teardown)
{
    for (size_t len = 0; len < 70; len++) {
        struct packet p = echo_packet(len);
        w.out_count = 0;
        receive(&p);
        cr_assert_eq(w.out_count, 1);
        const uint8_t *f = w.out[0].b, *ip = f + ETH_BYTES, *icmp = ip + IP_BYTES;
        cr_assert_eq(w.out[0].len, p.len);
        cr_assert_arr_eq(f, peer_mac, 6);
        cr_assert_arr_eq(f + 6, our_mac, 6);
        cr_assert_eq(checksum_finish(checksum_add(0, ip, IP_BYTES)), 0);
        cr_assert_arr_eq(ip + 12, our_ip, 4);
        cr_assert_arr_eq(ip + 16, peer_ip, 4);
        cr_assert_eq(icmp[0], 0);
        cr_assert_eq(checksum_finish(checksum_add(0, icmp, 8 + len)), 0);
        cr_assert_arr_eq(icmp + 4, p.b + IP(IP_BYTES + 4), 4 + len);
    }
}

Test(net, answers_an_echo_with_options_without_them, .init = setup, .fini = teardown)
{
    struct packet plain = echo_packet(10), p = plain;
    uint8_t *ip = p.b + ETH_BYTES;
    memmove(ip + 24, plain.b + ETH_BYTES + IP_BYTES, 18);
    memset(ip + IP_BYTES, 1, 4);
    ip[0] = 0x46;
    gw_put_be16(ip + 2, 24 + 18);
    p.len += 4;
    seal_ip(&p);
    receive(&p);
    cr_assert_eq(w.out_count, 1);
    cr_assert_eq(w.out[0].len, plain.len);
    cr_assert_arr_eq(w.out[0].b, peer_mac, 6);
    cr_assert_eq(w.out[0].b[ETH_BYTES], 0x45);
    cr_assert_eq(checksum_finish(checksum_add(0, w.out[0].b + IP(IP_BYTES), 18)), 0);
}

Test(net, echo_faults_are_counted, .init = setup, .fini = teardown)
{
    struct packet p = echo_packet(8);
    p.b[IP(IP_BYTES + 12)] ^= 1;
    receive(&p);
    cr_assert_eq(COUNT(drop_icmp_checksum), 1);

    uint8_t tiny[7] = {8};
    p = ip_packet(peer_ip, our_ip, 1, tiny, sizeof(tiny));
    receive(&p);
    cr_assert_eq(COUNT(drop_icmp_short), 1);

    uint8_t unreachable[8] = {3, 3};
    put16(unreachable + 2, checksum_finish(checksum_add(0, unreachable, 8)));
    p = ip_packet(peer_ip, our_ip, 1, unreachable, sizeof(unreachable));
    receive(&p);
    cr_assert_eq(COUNT(drop_icmp_quoted), 1);

    uint8_t redirect[8] = {5, 1};
    put16(redirect + 2, checksum_finish(checksum_add(0, redirect, 8)));
    p = ip_packet(peer_ip, our_ip, 1, redirect, sizeof(redirect));
    receive(&p);
    cr_assert_eq(COUNT(drop_icmp_type), 1);

    p = echo_packet(MTU - IP_BYTES - 8 + 1);
    receive(&p);
    cr_assert_eq(COUNT(drop_icmp_size), 1);

    w.out_room = 0;
    p = echo_packet(8);
    receive(&p);
    cr_assert_eq(COUNT(drop_tx_no_room), 1);
    cr_assert_eq(COUNT(icmp_echo_replies), 0);
}

Test(net, a_flood_of_echoes_is_cut, .init = setup, .fini = teardown)
{
    struct packet p = echo_packet(8);
    while (COUNT(drop_icmp_rate) == 0) {
        cr_assert_lt(COUNT(rx_frames), 1000000);
        w.out_count = 0;
        receive(&p);
    }
    uint64_t answered = COUNT(icmp_echo_replies);
    cr_assert_gt(answered, 100);
    pass_time(SECOND);
    receive(&p);
    cr_assert_eq(COUNT(icmp_echo_replies), answered + 1);
}

/* ---- ARP ---- */

Test(arp, answers_and_learns_from_who_asks_for_us, .init = setup, .fini = teardown)
{
    hear_request_from(peer_mac, peer_ip);
    cr_assert_eq(w.out_count, 1);
    const uint8_t *f = w.out[0].b, *a = f + ETH_BYTES;
    cr_assert_eq(w.out[0].len, 42);
    cr_assert_arr_eq(f, peer_mac, 6);
    cr_assert_arr_eq(f + 6, our_mac, 6);
    cr_assert_eq(gw_be16(a + 6), 2);
    cr_assert_arr_eq(a + 8, our_mac, 6);
    cr_assert_arr_eq(a + 14, our_ip, 4);
    cr_assert_arr_eq(a + 18, peer_mac, 6);
    cr_assert_arr_eq(a + 24, peer_ip, 4);
    cr_assert_eq(COUNT(arp_requests_in), 1);
    cr_assert_eq(COUNT(arp_replies_out), 1);

    cr_assert(emit(peer_ip));
    cr_assert_eq(w.out_count, 2);
    cr_assert_good_segment(&w.out[1], peer_mac, peer_ip);
    cr_assert_eq(COUNT(neighbours_learned), 1);
    cr_assert_eq(gw_net_next_deadline_us(w.net), w.now_us + NEIGHBOUR_DELAY_US);
}

Test(arp, a_probe_is_answered_and_teaches_nothing, .init = setup, .fini = teardown)
{
    static const uint8_t none[4] = {0};
    hear_request_from(peer_mac, none);
    cr_assert_eq(w.out_count, 1);
    cr_assert_eq(COUNT(arp_replies_out), 1);
    cr_assert_eq(COUNT(neighbours_learned), 0);
}

Test(arp, bad_packets_are_counted, .init = setup, .fini = teardown)
{
    struct packet good = arp_packet(1, peer_mac, peer_ip, our_ip), p = good;
    p.len = 41;
    receive(&p);
    cr_assert_eq(COUNT(drop_arp_short), 1);
    static const struct {
        size_t at;
        uint8_t value;
    } formats[] = {{0, 1}, {1, 6}, {2, 0x86}, {4, 8}, {5, 16}, {6, 1}, {7, 0}, {7, 3}};
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        p = good;
        p.b[ETH_BYTES + formats[i].at] = formats[i].value;
        receive(&p);
        cr_assert_eq(COUNT(drop_arp_format), i + 1);
    }
    static const uint8_t loopback[4] = {127, 0, 0, 1}, broadcast[4] = {10, 77, 0, 255};
    static const uint8_t zero_mac[6] = {0}, group_mac[6] = {1, 0, 0x5e, 0, 0, 1};
    const struct packet senders[] = {
        arp_packet(1, peer_mac, far_ip, our_ip),
        arp_packet(1, peer_mac, loopback, our_ip),
        arp_packet(1, peer_mac, broadcast, our_ip),
    };
    for (size_t i = 0; i < 3; i++)
        receive(&senders[i]);
    cr_assert_eq(COUNT(drop_arp_sender), 3);
    p = good;
    memcpy(p.b + ETH_BYTES + 8, zero_mac, 6);
    receive(&p);
    memcpy(p.b + ETH_BYTES + 8, group_mac, 6);
    receive(&p);
    cr_assert_eq(COUNT(drop_arp_sender), 5);
    hear_request_from(other_mac, our_ip);
    cr_assert_eq(COUNT(drop_arp_conflict), 1);
    p = arp_packet(1, peer_mac, peer_ip, gateway_ip);
    receive(&p);
    cr_assert_eq(COUNT(drop_arp_not_for_us), 1);
    cr_assert_eq(w.out_count, 0, "none of them is answered");
    cr_assert_eq(COUNT(neighbours_learned), 0);
}

Test(arp, a_reply_that_nobody_asked_for_teaches_nothing, .init = setup, .fini = teardown)
{
    hear_reply_from(other_mac, peer_ip);
    cr_assert_eq(COUNT(drop_arp_unsolicited), 1);
    cr_assert_eq(COUNT(neighbours_learned), 0);
    cr_assert_eq(w.out_count, 0);
}

Test(arp, keeps_the_latest_segment_until_the_answer, .init = setup, .fini = teardown)
{
    struct gw_bytes first[] = {GW_LIT("first")}, second[] = {GW_LIT("the "), GW_LIT("second")};
    cr_assert(emit_pieces(peer_ip, first, 1));
    cr_assert_eq(w.out_count, 1);
    cr_assert(is_request_for(&w.out[0], peer_ip));
    cr_assert(emit_pieces(peer_ip, second, 2));
    cr_assert_eq(w.out_count, 1, "one request for both");
    cr_assert_eq(COUNT(tx_parked), 2);
    cr_assert_eq(COUNT(drop_tx_unresolved), 1);

    hear_reply_from(peer_mac, peer_ip);
    cr_assert_eq(COUNT(arp_replies_in), 1);
    cr_assert_eq(w.out_count, 2);
    cr_assert_good_segment(&w.out[1], peer_mac, peer_ip);
    cr_assert_arr_eq(w.out[1].b + IP(IP_BYTES + 24), "the second", 10);
    hear_reply_from(peer_mac, peer_ip);
    cr_assert_eq(w.out_count, 2, "sent once");
    cr_assert_eq(COUNT(drop_arp_unsolicited), 1);
}

Test(arp, a_request_for_us_answers_our_own, .init = setup, .fini = teardown)
{
    cr_assert(emit(peer_ip));
    hear_request_from(peer_mac, peer_ip);
    cr_assert_eq(w.out_count, 3, "request, segment, reply");
    cr_assert_good_segment(&w.out[1], peer_mac, peer_ip);
}

Test(arp, a_full_port_is_no_reason_to_give_up, .init = setup, .fini = teardown)
{
    cr_assert(emit(peer_ip));
    w.out_room = w.out_count;
    for (int i = 0; i < 20; i++)
        pass_time(4 * SECOND);
    cr_assert_eq(COUNT(neighbours_failed), 0);
    w.out_room = w.out_count + 1;
    pass_time(4 * SECOND);
    cr_assert_eq(w.out_count, 2, "asked again");
    w.out_room++;
    hear_reply_from(peer_mac, peer_ip);
    cr_assert_good_segment(&w.out[2], peer_mac, peer_ip);
}

Test(arp, asks_three_times_backing_off_then_gives_up, .init = setup, .fini = teardown)
{
    uint64_t start = w.now_us;
    cr_assert(emit(peer_ip));
    cr_assert_eq(gw_net_next_deadline_us(w.net), start + SECOND);
    pass_time(SECOND - 1);
    cr_assert_eq(w.out_count, 1);
    pass_time(1);
    cr_assert_eq(w.out_count, 2);
    cr_assert_eq(gw_net_next_deadline_us(w.net), start + 3 * SECOND);
    pass_time(2 * SECOND);
    cr_assert_eq(w.out_count, 3);
    cr_assert_eq(gw_net_next_deadline_us(w.net), start + 7 * SECOND);
    pass_time(4 * SECOND);
    cr_assert_eq(w.out_count, 3);
    cr_assert_eq(gw_net_next_deadline_us(w.net), UINT64_MAX);
    cr_assert_eq(COUNT(neighbours_failed), 1);
    cr_assert_eq(COUNT(drop_tx_unresolved), 1);
    hear_reply_from(peer_mac, peer_ip);
    cr_assert_eq(COUNT(drop_arp_unsolicited), 1, "too late");
}

Test(arp, what_was_only_heard_of_is_soon_asked, .init = setup, .fini = teardown)
{
    hear_request_from(peer_mac, peer_ip);
    pass_time(100 * SECOND);
    cr_assert_eq(w.out_count, 1, "nobody uses it");
    w.out_count = 0;
    cr_assert(emit(peer_ip));
    pass_time(NEIGHBOUR_DELAY_US - 1);
    cr_assert_eq(w.out_count, 1, "there may be news without a question");
    pass_time(1);
    cr_assert_eq(w.out_count, 2);
    cr_assert(is_request_to(&w.out[1], peer_mac, peer_ip), "asked alone");
    cr_assert(emit(peer_ip));
    cr_assert_good_segment(&w.out[2], peer_mac, peer_ip);
    hear_reply_from(peer_mac, peer_ip);
    cr_assert_eq(COUNT(arp_replies_in), 1);
    cr_assert_eq(gw_net_next_deadline_us(w.net), UINT64_MAX);
}

Test(arp, refreshes_what_is_in_use, .init = setup, .fini = teardown)
{
    make_reachable(peer_mac, peer_ip);
    pass_time(NEIGHBOUR_REACHABLE_US_MIN);
    cr_assert(emit(peer_ip));
    cr_assert_eq(gw_net_next_deadline_us(w.net), UINT64_MAX, "still fresh");
    pass_time(NEIGHBOUR_REACHABLE_US_MAX - NEIGHBOUR_REACHABLE_US_MIN);
    cr_assert(emit(peer_ip));
    w.out_count = 0;
    pass_time(NEIGHBOUR_DELAY_US);
    cr_assert_eq(w.out_count, 1);
    cr_assert(is_request_to(&w.out[0], peer_mac, peer_ip));
    cr_assert(emit(peer_ip), "used meanwhile");
    cr_assert_good_segment(&w.out[1], peer_mac, peer_ip);
    hear_reply_from(peer_mac, peer_ip);
    cr_assert_eq(gw_net_next_deadline_us(w.net), UINT64_MAX);
}

/* A neighbour that has got another Ethernet address is found again by asking everybody. */
Test(arp, who_does_not_answer_is_looked_for, .init = setup, .fini = teardown)
{
    hear_request_from(peer_mac, peer_ip);
    cr_assert(emit(peer_ip));
    w.out_count = 0;
    pass_time(NEIGHBOUR_DELAY_US);
    pass_time(SECOND);
    pass_time(2 * SECOND);
    cr_assert_eq(w.out_count, 3);
    for (int i = 0; i < 3; i++)
        cr_assert(is_request_to(&w.out[i], peer_mac, peer_ip));
    pass_time(4 * SECOND);
    cr_assert_eq(COUNT(neighbours_failed), 1);
    w.out_count = 0;
    cr_assert(emit(peer_ip));
    cr_assert(is_request_for(&w.out[0], peer_ip));
    hear_reply_from(other_mac, peer_ip);
    cr_assert_good_segment(&w.out[1], other_mac, peer_ip);
}

/* Another's answer to a question that only the neighbour got is a claim like any other. */
Test(arp, an_answer_from_elsewhere_makes_us_ask_all, .init = setup, .fini = teardown)
{
    hear_request_from(peer_mac, peer_ip);
    cr_assert(emit(peer_ip));
    pass_time(NEIGHBOUR_DELAY_US);
    w.out_count = 0;
    hear_reply_from(other_mac, peer_ip);
    cr_assert_eq(w.out_count, 1);
    cr_assert(is_request_for(&w.out[0], peer_ip));
    cr_assert(emit(peer_ip));
    cr_assert_good_segment(&w.out[1], peer_mac, peer_ip);
    cr_assert_eq(COUNT(neighbours_moved), 0);
    hear_reply_from(other_mac, peer_ip);
    cr_assert_eq(COUNT(neighbours_moved), 1);
    cr_assert(emit(peer_ip));
    cr_assert_good_segment(&w.out[2], other_mac, peer_ip);
}

Test(arp, does_not_use_what_is_stale, .init = setup, .fini = teardown)
{
    hear_request_from(peer_mac, peer_ip);
    pass_time(NEIGHBOUR_STALE_US + 1);
    w.out_count = 0;
    cr_assert(emit(peer_ip));
    cr_assert_eq(w.out_count, 1);
    cr_assert(is_request_for(&w.out[0], peer_ip));
    hear_reply_from(peer_mac, peer_ip);
    cr_assert_eq(w.out_count, 2);
    cr_assert_good_segment(&w.out[1], peer_mac, peer_ip);
}

/* A station that claims a neighbour's address cannot take its traffic by saying so. */
Test(arp, a_claim_makes_us_ask_and_changes_nothing, .init = setup, .fini = teardown)
{
    hear_request_from(peer_mac, peer_ip);
    const struct packet claims[] = {
        arp_packet(1, other_mac, peer_ip, our_ip),
        arp_packet(1, other_mac, peer_ip, peer_ip), /* gratuitous */
        arp_packet(2, other_mac, peer_ip, our_ip),
    };
    for (size_t i = 0; i < 3; i++) {
        uint64_t asked = COUNT(arp_requests_out);
        w.out_count = 0;
        receive(&claims[i]);
        cr_assert(is_request_for(&w.out[0], peer_ip));
        cr_assert_eq(COUNT(arp_requests_out), asked + 1);
        w.out_count = 0;
        cr_assert(emit(peer_ip));
        cr_assert_good_segment(&w.out[0], peer_mac, peer_ip);
        hear_reply_from(peer_mac, peer_ip);
    }
    cr_assert_eq(COUNT(neighbours_moved), 0);
    struct packet same = arp_packet(1, peer_mac, peer_ip, peer_ip);
    uint64_t asked = COUNT(arp_requests_out);
    receive(&same);
    cr_assert_eq(COUNT(arp_requests_out), asked, "nothing new");
}

Test(arp, a_full_table_learns_no_strangers, .init = setup, .fini = teardown)
{
    uint8_t ip[4] = {10, 77, 0, 100};
    for (int i = 0; i < NEIGHBOURS + 5; i++, ip[3]++)
        hear_request_from(peer_mac, ip);
    cr_assert_eq(COUNT(neighbours_learned), NEIGHBOURS);
    cr_assert_eq(COUNT(neighbours_not_learned), 5);
    cr_assert_eq(COUNT(neighbours_evicted), 0);
    cr_assert_eq(COUNT(arp_replies_out), NEIGHBOURS + 5, "answered all the same");
}

Test(arp, our_own_need_evicts_what_is_not_used, .init = setup, .fini = teardown)
{
    uint8_t ip[4] = {10, 77, 0, 100};
    for (int i = 0; i < NEIGHBOURS; i++, ip[3]++)
        hear_request_from(peer_mac, ip);
    /* Keep using one while more neighbours than there is room for are needed. */
    static const uint8_t kept[4] = {10, 77, 0, 103};
    ip[3] = 200;
    for (int i = 0; i < 3 * NEIGHBOURS; i++, ip[3]++) {
        w.out_count = 0;
        cr_assert(emit(kept));
        cr_assert_eq(w.out_count, 1);
        cr_assert_good_segment(&w.out[0], peer_mac, kept);
        cr_assert(emit(ip));
    }
    cr_assert_eq(COUNT(neighbours_evicted), 3 * NEIGHBOURS);
}

Test(arp, a_table_where_all_are_used_still_makes_room, .init = setup, .fini = teardown)
{
    open_with(16, false, 3 * 64);
    uint8_t ip[4] = {10, 77, 1, 0};
    for (int i = 0; i < 3 * 64 + 1; i++, ip[3]++)
        cr_assert(emit(ip));
    cr_assert_eq(COUNT(neighbours_evicted), 1);
}

Test(arp, parking_is_bounded, .init = setup, .fini = teardown)
{
    open_with(16, false, 2 * NEIGHBOUR_PARKED_MAX);
    uint8_t ip[4] = {10, 77, 1, 0};
    for (int i = 0; i < NEIGHBOUR_PARKED_MAX + 3; i++, ip[3]++) {
        cr_assert(emit(ip));
        w.out_count = 0;
    }
    cr_assert_eq(COUNT(tx_parked), NEIGHBOUR_PARKED_MAX);
    cr_assert_eq(COUNT(drop_tx_parking_full), 3);
    /* All time out, and the places are free again. */
    for (int attempt = 0; attempt < 3; attempt++) {
        pass_time(SECOND << attempt);
        w.out_count = 0;
    }
    cr_assert_eq(COUNT(neighbours_failed), NEIGHBOUR_PARKED_MAX + 3);
    cr_assert_eq(COUNT(drop_tx_unresolved), NEIGHBOUR_PARKED_MAX);
    cr_assert(emit(ip));
    cr_assert_eq(COUNT(tx_parked), NEIGHBOUR_PARKED_MAX + 1);
}

Test(arp, requests_are_limited_in_all, .init = setup, .fini = teardown)
{
    open_with(16, false, 1024);
    uint8_t ip[4] = {10, 77, 1, 0};
    for (int i = 0; i < 1000; i++) {
        ip[2] = (uint8_t)(1 + i / 256);
        ip[3] = (uint8_t)i;
        w.out_count = 0;
        cr_assert(emit(ip));
    }
    /* One more was the announcement. */
    cr_assert_eq(COUNT(arp_requests_out), NEIGHBOUR_ASK_BURST + 1);
    w.out_count = 0;
    hear_reply_from(peer_mac, ip);
    cr_assert_eq(COUNT(arp_replies_in), 1, "the entry is there, whether asked for or not");
}

Test(arp, a_shared_packet_teaches_and_is_not_answered, .init = setup, .fini = teardown)
{
    struct packet request = arp_packet(1, peer_mac, peer_ip, our_ip);
    gw_net_input_shared(w.net, w.now_us, request.b, request.len);
    cr_assert_eq(w.out_count, 0);
    cr_assert_eq(COUNT(neighbours_learned), 1);
    cr_assert(emit(peer_ip));
    cr_assert_eq(w.out_count, 1);
    cr_assert_good_segment(&w.out[0], peer_mac, peer_ip);

    cr_assert(emit(gateway_ip));
    struct packet reply = arp_packet(2, other_mac, gateway_ip, our_ip);
    gw_net_input_shared(w.net, w.now_us, reply.b, reply.len);
    cr_assert_eq(w.out_count, 3, "request, then the kept segment");
    cr_assert_good_segment(&w.out[2], other_mac, gateway_ip);
    gw_net_input_shared(w.net, w.now_us, reply.b, reply.len);
    cr_assert_eq(COUNT(drop_arp_unsolicited), 0, "others may have asked");
}

static unsigned shared_count;
static void count_shared(void *ctx, const uint8_t *frame, uint32_t len)
{
    cr_assert_leq(len, GW_NET_SHARED_BYTES_MAX);
    cr_assert_eq(gw_be16(frame + 12), 0x0806);
    shared_count++;
}

Test(arp, what_is_for_us_is_shared_with_other_lcores, .init = setup, .fini = teardown)
{
    gw_net_set_share(w.net, count_shared, NULL);
    hear_request_from(peer_mac, peer_ip);
    hear_reply_from(peer_mac, peer_ip);
    cr_assert_eq(shared_count, 2);
    struct packet p = arp_packet(1, peer_mac, peer_ip, gateway_ip);
    receive(&p);
    p = arp_packet(1, peer_mac, far_ip, our_ip);
    receive(&p);
    cr_assert_eq(shared_count, 2, "not what is dropped");
    p = arp_packet(1, peer_mac, peer_ip, our_ip);
    gw_net_input_shared(w.net, w.now_us, p.b, p.len);
    cr_assert_eq(shared_count, 2, "not what was shared");
}

/* ---- segments out ---- */

Test(emit, sums_pieces_of_any_length, .init = setup, .fini = teardown)
{
    uint8_t bytes[MTU];
    unsigned seed = 5;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)rand_r(&seed);
    hear_request_from(peer_mac, peer_ip);
    for (int round = 0; round < 3000; round++) {
        struct gw_bytes pieces[GW_TCP_PAYLOAD_PIECES_MAX];
        size_t at = 0;
        for (int i = 0; i < GW_TCP_PAYLOAD_PIECES_MAX; i++) {
            pieces[i] = gw_bytes(bytes + at, (size_t)rand_r(&seed) % 90);
            at += pieces[i].len;
        }
        w.out_count = 0;
        cr_assert(emit_pieces(peer_ip, pieces, GW_TCP_PAYLOAD_PIECES_MAX));
        cr_assert_eq(w.out_count, 1);
        cr_assert_good_segment(&w.out[0], peer_mac, peer_ip);
        cr_assert_arr_eq(w.out[0].b + IP(IP_BYTES + 24), bytes, at);
    }
}

Test(emit, off_link_goes_to_the_gateway, .init = setup, .fini = teardown)
{
    hear_request_from(other_mac, gateway_ip);
    w.out_count = 0;
    cr_assert(emit(far_ip));
    cr_assert_eq(w.out_count, 1);
    cr_assert_good_segment(&w.out[0], other_mac, far_ip);
}

Test(emit, off_link_without_a_gateway_is_dropped, .init = setup, .fini = teardown)
{
    open_with(24, false, NEIGHBOURS);
    cr_assert(emit(far_ip));
    cr_assert_eq(w.out_count, 0);
    cr_assert_eq(COUNT(drop_tx_no_route), 1);
}

Test(emit, every_address_is_on_link_with_prefix_0, .init = setup, .fini = teardown)
{
    open_with(0, false, NEIGHBOURS);
    cr_assert(emit(far_ip));
    cr_assert(is_request_for(&w.out[0], far_ip));
}

Test(emit, a_full_port_gives_the_segment_back, .init = setup, .fini = teardown)
{
    hear_request_from(peer_mac, peer_ip);
    w.out_room = w.out_count;
    cr_assert_not(emit(peer_ip));
    cr_assert_eq(COUNT(tx_port_full), 1);
    w.out_room++;
    cr_assert(emit(peer_ip));
    cr_assert_eq(COUNT(tx_frames), 3, "announcement, reply, segment");
}

Test(emit, leaves_checksums_to_a_port_that_makes_them, .init = setup, .fini = teardown)
{
    hear_request_from(peer_mac, peer_ip);
    w.port.tx_csum_ip = w.port.tx_csum_tcp = true;
    w.out_count = 0;
    cr_assert(emit(peer_ip));
    const uint8_t *ip = w.out[0].b + ETH_BYTES;
    cr_assert_eq(gw_be16(ip + 10), 0);
    /* The pseudo header's sum alone: what hardware adds the rest to. */
    uint8_t pseudo[12] = {10, 77, 0, 1, 10, 77, 0, 2, 0, 6, 0, 24};
    cr_assert_eq(gw_be16(ip + IP_BYTES + 16), (uint16_t)~plain_sum(pseudo, 12));
}

Test(emit, a_segment_beyond_the_mtu_is_our_own_fault, .init = setup, .signal = SIGABRT)
{
    static const uint8_t bytes[MTU];
    struct gw_bytes piece = gw_bytes(bytes, MTU - IP_BYTES - 24 + 1);
    emit_pieces(peer_ip, &piece, 1);
}

Test(net, counters_have_names, .init = setup, .fini = teardown)
{
    struct gw_counter_set set = gw_net_counter_set(w.net);
    cr_assert_str_eq(set.prefix, "net");
    cr_assert_eq(set.count * sizeof(uint64_t), sizeof(struct gw_net_counters));
    cr_assert_str_eq(set.descs[0].name, "rx_frames");
    cr_assert_eq(set.values, (const uint64_t *)gw_net_counters(w.net));
}

/* ---- segmentation ---- */

#define FIN_PSH_ACK 0x19
#define PSH_ACK     0x18
#define ACK_ONLY    0x10

static void cr_assert_segment_is(const struct sent *s, uint32_t seq, uint8_t flags,
                                 const uint8_t *text, uint32_t len)
{
    const uint8_t *tcp = s->b + ETH_BYTES + IP_BYTES;
    cr_assert_good_segment(s, peer_mac, peer_ip);
    cr_assert_eq(gw_be32(tcp + 4), seq);
    cr_assert_eq(tcp[13], flags);
    cr_assert_eq(s->len, ETH_BYTES + IP_BYTES + TCP_BYTES + len);
    cr_assert_arr_eq(tcp + TCP_BYTES, text, len);
}

Test(gso, text_of_many_pieces_becomes_segments, .init = setup, .fini = teardown)
{
    uint8_t text[1000];
    for (unsigned i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)(i * 7 + i / 256);
    struct gw_bytes pieces[] = {gw_bytes(text, 1), gw_bytes(text + 1, 499),
                                gw_bytes(text + 500, 100), gw_bytes(text + 600, 400)};
    uint32_t taken;
    hear_request_from(peer_mac, peer_ip);
    w.out_count = 0;
    cr_assert(emit_cut(pieces, 4, FIN_PSH_ACK, 300, &taken));
    cr_assert_eq(taken, 1000);
    cr_assert_eq(w.out_count, 4);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_segment_is(&w.out[i], 100 + 300 * i, i < 3 ? ACK_ONLY : FIN_PSH_ACK,
                             text + 300 * i, i < 3 ? 300 : 100);
}

Test(gso, what_the_port_has_no_room_for_is_left, .init = setup, .fini = teardown)
{
    uint8_t text[1000] = {0};
    struct gw_bytes piece = gw_bytes(text, sizeof(text));
    uint32_t taken;
    hear_request_from(peer_mac, peer_ip);
    w.out_count = 0;
    w.out_room = 2;
    cr_assert(emit_cut(&piece, 1, PSH_ACK, 300, &taken));
    cr_assert_eq(taken, 600);
    cr_assert_segment_is(&w.out[1], 400, ACK_ONLY, text, 300);
    cr_assert_not(emit_cut(&piece, 1, PSH_ACK, 300, &taken), "none had room");
}
