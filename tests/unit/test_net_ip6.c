/* SPDX-License-Identifier: Apache-2.0 */
/* IPv6, its neighbours and groups: valid, malformed and hostile. */
#include "net_rig.h"

#define MLD_REPORT 143

static void open_tentative(void)
{
    reset_world();
    struct gw_ip_prefix addresses[] = {prefix6(our_ip6, 64), prefix4(our_ip, 24)};
    struct gw_ip_route route = {{{{0}}, 0}, ip6(gateway_ip6)};
    struct gw_net_config cfg = {
        .addresses = addresses,
        .address_count = 2,
        .routes = &route,
        .route_count = 1,
        .neighbour_limit = NEIGHBOURS,
        .key = {1, 2},
        .announce = true,
    };
    cr_assert_eq(gw_net_open(&w.net, &cfg, &w.port, w.now_us), 0);
}

/* As it is when it has said all that it says at start. */
static void setup(void)
{
    open_tentative();
    for (int i = 0; i < 3; i++)
        pass_time(SECOND);
    cr_assert_eq(gw_net_next_deadline_us(w.net), UINT64_MAX);
    w.out_count = 0;
}

static void teardown(void)
{
    close_world();
}

static void make_reachable(const uint8_t mac[6], const uint8_t ip[16])
{
    cr_assert(emit6(ip));
    hear_advertisement(mac, ip);
    w.out_count = 0;
}

static struct packet tcp6_packet(void)
{
    return tcp6_packet_to(peer_ip6, our_ip6);
}

static struct packet echo6_packet(const uint8_t dst[16], size_t data_len)
{
    uint8_t m[FRAME_BYTES] = {128, 0, 0, 0, 0x12, 0x34, 0, 1};
    for (size_t i = 0; i < data_len; i++)
        m[8 + i] = (uint8_t)(i * 7);
    return icmp6_packet(peer_ip6, dst, 64, m, 8 + data_len);
}

/* ---- IPv6 ---- */

Test(ip6, hands_up_a_segment, .init = setup, .fini = teardown)
{
    struct packet p = tcp6_packet();
    p.len += 7; /* padding */
    receive(&p);
    cr_assert_eq(w.segments_in, 1);
    cr_assert_eq(w.segment_len, sizeof(hello));
    cr_assert_arr_eq(w.segment, p.b + IP(IP6_BYTES), sizeof(hello));
    cr_assert_arr_eq(w.src.b, peer_ip6, 16);
    cr_assert_arr_eq(w.dst.b, our_ip6, 16);
}

Test(ip6, believes_a_port_that_has_checked_the_checksums, .init = setup, .fini = teardown)
{
    struct packet p = tcp6_packet();
    put16(p.b + IP(IP6_BYTES + 16), 0);
    receive(&p);
    cr_assert_eq(COUNT(drop_tcp_checksum), 1);
    receive_ok_by_port(&p);
    cr_assert_eq(w.segments_in, 1);
}

struct fault {
    const char *what;
    size_t at;
    uint8_t value;
    size_t counter;
    uint32_t cut_to; /* 0: not cut */
};

Test(ip6, drops_and_counts_by_reason, .init = setup, .fini = teardown)
{
    static const struct fault faults[] = {
        {"no header", 0, 2, COUNTER(drop_ip6_short), ETH_BYTES},
        {"cut in the header", 0, 2, COUNTER(drop_ip6_short), ETH_BYTES + 39},
        {"version 4", IP(0), 0x45, COUNTER(drop_ip6_version), 0},
        {"longer than the frame", IP(4), 1, COUNTER(drop_ip6_payload_length), 0},
        {"cut behind the header", 0, 2, COUNTER(drop_ip6_payload_length), ETH_BYTES + 41},
        {"to another address", IP(39), 9, COUNTER(drop_ip6_not_for_us), 0},
        {"to a group in a frame to us", IP(24), 0xff, COUNTER(drop_ip6_not_for_us), 0},
        {"to us in a frame to a group", 0, 0x33, COUNTER(drop_ip6_not_for_us), 0},
        {"to another station", 5, 9, COUNTER(drop_eth_not_for_us), 0},
        {"from a group", IP(8), 0xff, COUNTER(drop_ip6_source), 0},
        {"from ourselves", IP(23), 1, COUNTER(drop_ip6_source), 0},
        {"UDP", IP(6), 17, COUNTER(drop_ip6_protocol), 0},
        {"no next header", IP(6), 59, COUNTER(drop_ip6_protocol), 0},
        {"no whole TCP header", IP(5), 19, COUNTER(drop_tcp_short), 0},
        {"wrong TCP checksum", IP(IP6_BYTES + 21), 'E', COUNTER(drop_tcp_checksum), 0},
    };
    unsigned n = sizeof(faults) / sizeof(faults[0]);
    for (unsigned i = 0; i < n; i++) {
        const struct fault *f = &faults[i];
        struct packet p = tcp6_packet();
        p.b[f->at] = f->value;
        if (f->cut_to)
            p.len = f->cut_to;
        uint64_t before = *counter_at(f->counter);
        receive(&p);
        cr_assert_eq(*counter_at(f->counter), before + 1, "%s", f->what);
    }
    cr_assert_eq(w.segments_in, 0);
    cr_assert_eq(w.out_count, 0, "none of them is answered");
}

Test(ip6, impossible_sources_are_dropped, .init = setup, .fini = teardown)
{
    static const uint8_t sources[][16] = {
        {0},
        {[15] = 1},                                     /* loopback */
        {[10] = 0xff, [11] = 0xff, 10, 77, 0, 2},       /* mapped: would be taken for IPv4 */
        {0xfe, 0x80, [8] = 0x19, 0x35, 0x3e, 0xd8, 0x63, 0x82, 0x20, 0xfb}, /* ours on the link */
    };
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        struct packet p = tcp6_packet_to(sources[i], our_ip6);
        receive(&p);
        cr_assert_eq(COUNT(drop_ip6_source), i + 1);
    }
    cr_assert_eq(w.segments_in, 0);
}

Test(ip6, a_host_with_ipv4_alone_takes_none, .fini = teardown)
{
    reset_world();
    struct gw_ip_prefix address = prefix4(our_ip, 24);
    struct gw_net_config cfg = {.addresses = &address, .address_count = 1, .neighbour_limit = 1};
    cr_assert_eq(gw_net_open(&w.net, &cfg, &w.port, w.now_us), 0);
    struct packet packets[] = {tcp6_packet(), solicitation(peer_mac, peer_ip6, our_ip6)};
    for (size_t i = 0; i < 2; i++)
        receive(&packets[i]);
    cr_assert_eq(COUNT(drop_ip6_not_for_us), 2);
    cr_assert_eq(w.out_count, 0);
}

/* ---- extension headers ---- */

#define HOP_BY_HOP  0
#define ROUTING     43
#define FRAGMENT    44
#define DESTINATION 60

/* `headers`: a row of them, each with the type of the next in its first byte already. */
static void receive_with(uint8_t first, const uint8_t *headers, size_t len)
{
    struct packet p = ip6_packet(peer_ip6, our_ip6, first, 64);
    append(&p, headers, len);
    ip6_append(&p, 6, hello, sizeof(hello), 16);
    receive(&p);
}

Test(ip6, extension_headers_are_passed_over, .init = setup, .fini = teardown)
{
    static const uint8_t headers[] = {
        DESTINATION, 0, 1, 4, 0, 0, 0, 0, /* hop-by-hop: padding */
        ROUTING, 1, 0, 0x1e, 2, 7, 7, 1,  /* destination: an option to be skipped, padding */
        6, 0, 0, 0, 0, 0, 0, 0,           /* and more of it */
        6, 0, 0, 0, 0, 0, 0, 0,           /* routing, no segments left */
    };
    receive_with(HOP_BY_HOP, headers, sizeof(headers));
    cr_assert_eq(w.segments_in, 1);
    cr_assert_arr_eq(w.segment + TCP_BYTES, "hello", 5);
}

Test(ip6, extension_headers_that_forbid_it_are_not, .init = setup, .fini = teardown)
{
    static const struct {
        const char *what;
        uint8_t first;
        uint8_t header[8];
        size_t counter;
    } cases[] = {
        {"an option to be known", DESTINATION, {6, 0, 0x41, 4}, COUNTER(drop_ip6_option)},
        {"an option beyond its header", DESTINATION, {6, 0, 0x1e, 5}, COUNTER(drop_ip6_option)},
        {"an option without a length", DESTINATION, {6, 0, 0, 0, 0, 0, 0, 0x1e},
         COUNTER(drop_ip6_option)},
        {"segments left", ROUTING, {6, 0, 4, 1}, COUNTER(drop_ip6_option)},
        {"a header beyond the packet", DESTINATION, {6, 200}, COUNTER(drop_ip6_extension)},
        {"hop-by-hop not first", DESTINATION, {HOP_BY_HOP, 0, 1, 4}, COUNTER(drop_ip6_protocol)},
        {"a fragment", FRAGMENT, {6, 0, 0, 1}, COUNTER(drop_ip6_fragment)},
        {"a fragment that is all", FRAGMENT, {6, 0, 0, 0}, COUNTER(drop_ip6_fragment)},
        {"authentication", 51, {6, 0}, COUNTER(drop_ip6_protocol)},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t before = *counter_at(cases[i].counter);
        receive_with(cases[i].first, cases[i].header, 8);
        cr_assert_eq(*counter_at(cases[i].counter), before + 1, "%s", cases[i].what);
    }
    cr_assert_eq(w.segments_in, 0);
}

Test(ip6, extension_headers_are_bounded, .init = setup, .fini = teardown)
{
    uint8_t row[5 * 8] = {0};
    for (int i = 0; i < 5; i++) {
        row[8 * i] = i == 4 ? 6 : DESTINATION;
        row[8 * i + 2] = 1;
        row[8 * i + 3] = 4;
    }
    receive_with(DESTINATION, row + 8, 4 * 8);
    cr_assert_eq(w.segments_in, 1);
    receive_with(DESTINATION, row, 5 * 8);
    cr_assert_eq(COUNT(drop_ip6_extension), 1);
    uint8_t large[136] = {6, 16};
    receive_with(DESTINATION, large, 136);
    cr_assert_eq(COUNT(drop_ip6_extension), 2);
    struct packet p = ip6_packet(peer_ip6, our_ip6, DESTINATION, 64);
    append(&p, row, 7);
    ip6_set_length(&p);
    receive(&p);
    cr_assert_eq(COUNT(drop_ip6_extension), 3, "cut short");
}

/* Whatever the bytes are, one frame is one frame, nothing is read beyond it, nothing trips. */
Test(ip6, random_frames_do_no_harm, .init = setup, .fini = teardown)
{
    unsigned seed = 13;
    for (int i = 0; i < 200000; i++) {
        uint8_t flags = (uint8_t)(rand_r(&seed) & 0xe0);
        struct packet p = i % 4 == 0   ? echo6_packet(our_ip6, (size_t)rand_r(&seed) % 64)
                          : i % 4 == 1 ? tcp6_packet()
                          : i % 4 == 2 ? solicitation(peer_mac, peer_ip6, our_ip6)
                                       : advertisement(peer_mac, peer_ip6, flags);
        unsigned changes = (unsigned)rand_r(&seed) % 4;
        for (unsigned c = 0; c < changes; c++)
            p.b[(unsigned)rand_r(&seed) % p.len] = (uint8_t)rand_r(&seed);
        if (rand_r(&seed) % 2) {
            uint8_t *m = p.b + IP(IP6_BYTES);
            size_t at = p.b[IP(6)] == 6 ? 16 : 2, len = p.len - IP(IP6_BYTES);
            put16(m + at, 0);
            put16(m + at, ip6_sum(p.b + ETH_BYTES, p.b[IP(6)], m, len));
        }
        if (rand_r(&seed) % 4 == 0)
            p.len = (unsigned)rand_r(&seed) % p.len;
        receive(&p);
        if (rand_r(&seed) % 8 == 0)
            emit6(peer_ip6);
        w.out_count = 0;
        pass_time((unsigned)rand_r(&seed) % 100000);
    }
    cr_assert_eq(COUNT(rx_frames), 200000);
    cr_assert_gt(COUNT(rx_tcp), 1000);
    cr_assert_gt(COUNT(icmp_echo_replies), 1000);
    cr_assert_gt(COUNT(nd_solicitations_in), 1000);
    cr_assert_gt(COUNT(nd_advertisements_in), 10);
}

/* ---- echo ---- */

Test(icmp6, answers_an_echo, .init = setup, .fini = teardown)
{
    for (size_t len = 0; len < 70; len++) {
        struct packet p = echo6_packet(our_ip6, len);
        w.out_count = 0;
        receive(&p);
        cr_assert_eq(w.out_count, 1);
        const uint8_t *f = w.out[0].b, *ip = f + ETH_BYTES, *m = ip + IP6_BYTES;
        cr_assert_eq(w.out[0].len, p.len);
        cr_assert_arr_eq(f, peer_mac, 6);
        cr_assert_arr_eq(ip + 8, our_ip6, 16);
        cr_assert_arr_eq(ip + 24, peer_ip6, 16);
        cr_assert_eq(m[0], 129);
        cr_assert_eq(ip6_sum(ip, 58, m, 8 + len), 0);
        cr_assert_arr_eq(m + 4, p.b + IP(IP6_BYTES + 4), 4 + len);
    }
}

Test(icmp6, a_group_is_not_answered_for, .init = setup, .fini = teardown)
{
    struct packet p = echo6_packet(all_nodes_ip6, 8);
    receive(&p);
    cr_assert_eq(COUNT(drop_icmp_type), 1);
    cr_assert_eq(w.out_count, 0);
}

Test(icmp6, faults_are_counted, .init = setup, .fini = teardown)
{
    struct packet p = echo6_packet(our_ip6, 8);
    p.b[IP(IP6_BYTES + 12)] ^= 1;
    receive(&p);
    cr_assert_eq(COUNT(drop_icmp_checksum), 1);
    static const uint8_t tiny[7] = {128}, redirect[40] = {137}, router[16] = {134};
    p = icmp6_packet(peer_ip6, our_ip6, 64, tiny, sizeof(tiny));
    receive(&p);
    cr_assert_eq(COUNT(drop_icmp_short), 1);
    /* Routes are configured: nobody changes them from outside. */
    p = icmp6_packet(peer_local_ip6, our_ip6, 255, redirect, sizeof(redirect));
    receive(&p);
    p = icmp6_packet(peer_local_ip6, all_nodes_ip6, 255, router, sizeof(router));
    receive(&p);
    cr_assert_eq(COUNT(drop_icmp_type), 2);
    p = echo6_packet(our_ip6, MTU - IP6_BYTES - 8 + 1);
    receive(&p);
    cr_assert_eq(COUNT(drop_icmp_size), 1);
    p = echo6_packet(our_ip6, 8);
    while (COUNT(drop_icmp_rate) == 0) {
        cr_assert_lt(COUNT(rx_frames), 1000000);
        w.out_count = 0;
        receive(&p);
    }
    cr_assert_gt(COUNT(icmp_echo_replies), 100);
}

/* ---- at start ---- */

static unsigned count_announcements(const uint8_t ip[16])
{
    unsigned count = 0;
    for (unsigned i = 0; i < w.out_count; i++) {
        const uint8_t *m = w.out[i].b + IP(IP6_BYTES);
        count += is_good_nd(&w.out[i], 136) && memcmp(m + 8, ip, 16) == 0 &&
                 memcmp(w.out[i].b, all_nodes_mac, 6) == 0 && m[4] == ND_OVERRIDE;
    }
    return count;
}

Test(start, asks_for_its_addresses_then_announces_them, .init = open_tentative, .fini = teardown)
{
    static const uint8_t none[16];
    cr_assert_eq(w.out_count, 4, "ARP, groups, two addresses");
    cr_assert(is_request_for(&w.out[0], our_ip));
    cr_assert(is_solicitation_for(&w.out[2], our_local_ip6));
    cr_assert(is_solicitation_for(&w.out[3], our_ip6));
    for (int i = 2; i < 4; i++) {
        cr_assert_arr_eq(w.out[i].b + IP(8), none, 16);
        cr_assert_eq(w.out[i].len, IP(IP6_BYTES + 24), "no Ethernet address of one that has none");
    }
    cr_assert_eq(gw_net_next_deadline_us(w.net), w.now_us + SECOND);
    for (unsigned i = 1; i <= 3; i++) {
        pass_time(SECOND);
        cr_assert_eq(count_announcements(our_ip6), i);
        cr_assert_eq(count_announcements(our_local_ip6), i);
    }
    pass_time(100 * SECOND);
    cr_assert_eq(count_announcements(our_ip6), 3);
}

/* RFC 4429: in that second we are there, and change nobody's mind. */
Test(start, is_used_at_once_without_overriding, .init = open_tentative, .fini = teardown)
{
    w.out_count = 0;
    struct packet p = tcp6_packet();
    receive(&p);
    cr_assert_eq(w.segments_in, 1);
    hear_solicitation(peer_mac, peer_ip6);
    cr_assert_eq(w.out_count, 1);
    cr_assert(is_good_nd(&w.out[0], 136));
    cr_assert_eq(w.out[0].b[IP(IP6_BYTES + 4)], ND_SOLICITED);
    cr_assert(emit6(gateway_ip6));
    cr_assert(is_solicitation_for(&w.out[1], gateway_ip6));
    cr_assert_eq(w.out[1].len, IP(IP6_BYTES + 24));
}

static void assert_contested(const struct packet *claim)
{
    open_tentative();
    receive(claim);
    cr_assert_eq(COUNT(drop_nd_conflict), 1);
    w.out_count = 0;
    for (int i = 0; i < 3; i++)
        pass_time(SECOND);
    cr_assert_eq(count_announcements(our_ip6), 0, "the other keeps what it has");
    cr_assert_eq(count_announcements(our_local_ip6), 3);
    struct packet p = tcp6_packet();
    receive(&p);
    cr_assert_eq(w.segments_in, 1, "a forged message does not silence us");
    w.out_count = 0;
    hear_solicitation(peer_mac, peer_ip6);
    cr_assert_eq(w.out[0].b[IP(IP6_BYTES + 4)], ND_SOLICITED);
}

Test(start, an_address_that_another_has_is_not_taken_from_it, .fini = teardown)
{
    static const uint8_t none[16];
    struct packet taken = advertisement(other_mac, our_ip6, ND_OVERRIDE);
    assert_contested(&taken);
    struct packet wanted = solicitation(NULL, none, our_ip6); /* it asks as we do */
    assert_contested(&wanted);
}

Test(start, an_echo_of_our_own_question_is_no_conflict, .init = open_tentative, .fini = teardown)
{
    struct packet back = {.len = w.out[3].len};
    memcpy(back.b, w.out[3].b, back.len);
    receive(&back);
    cr_assert_eq(COUNT(drop_nd_own), 1);
    pass_time(SECOND);
    cr_assert_eq(count_announcements(our_ip6), 1);
}

/* Both ends of a TAP have the same Ethernet address. */
Test(start, the_other_end_may_have_our_ethernet_address, .init = open_tentative, .fini = teardown)
{
    w.out_count = 0;
    hear_solicitation(our_mac, peer_ip6);
    cr_assert_eq(w.out_count, 1);
    cr_assert(is_good_nd(&w.out[0], 136));
    cr_assert(emit6(peer_ip6));
    cr_assert_good_segment6(&w.out[1], our_mac, peer_ip6);
    cr_assert_eq(COUNT(drop_nd_own), 0);
}

Test(start, a_second_lcore_says_nothing, .fini = teardown)
{
    reset_world();
    struct gw_ip_prefix addresses[] = {prefix6(our_ip6, 64), prefix4(our_ip, 24)};
    struct gw_net_config cfg = {.addresses = addresses, .address_count = 2, .neighbour_limit = 1};
    cr_assert_eq(gw_net_open(&w.net, &cfg, &w.port, w.now_us), 0);
    for (int i = 0; i < 4; i++)
        pass_time(SECOND);
    cr_assert_eq(w.out_count, 0);
    hear_solicitation(peer_mac, peer_ip6);
    cr_assert_eq(w.out[0].b[IP(IP6_BYTES + 4)], ND_SOLICITED | ND_OVERRIDE, "the second is over");
}

/* ---- neighbours ---- */

Test(nd, answers_and_learns_from_who_asks_for_us, .init = setup, .fini = teardown)
{
    hear_solicitation(peer_mac, peer_ip6);
    cr_assert_eq(w.out_count, 1);
    const uint8_t *f = w.out[0].b, *m = f + IP(IP6_BYTES);
    cr_assert(is_good_nd(&w.out[0], 136));
    cr_assert_eq(w.out[0].len, IP(IP6_BYTES + 32));
    cr_assert_arr_eq(f, peer_mac, 6);
    cr_assert_arr_eq(f + IP(8), our_ip6, 16);
    cr_assert_arr_eq(f + IP(24), peer_ip6, 16);
    cr_assert_eq(m[4], ND_SOLICITED | ND_OVERRIDE, "and no router");
    cr_assert_arr_eq(m + 8, our_ip6, 16);
    cr_assert_eq(m[24], 2);
    cr_assert_eq(m[25], 1);
    cr_assert_arr_eq(m + 26, our_mac, 6);
    cr_assert_eq(COUNT(nd_solicitations_in), 1);
    cr_assert_eq(COUNT(neighbours_learned), 1);

    cr_assert(emit6(peer_ip6));
    cr_assert_eq(w.out_count, 2);
    cr_assert_good_segment6(&w.out[1], peer_mac, peer_ip6);
    /* Heard of, not confirmed: asked by unicast, soon (RFC 4861 section 7.3.3). */
    pass_time(NEIGHBOUR_DELAY_US);
    cr_assert_eq(w.out_count, 3);
    cr_assert(is_good_nd(&w.out[2], 135));
    cr_assert_arr_eq(w.out[2].b, peer_mac, 6);
    cr_assert_arr_eq(w.out[2].b + IP(24), peer_ip6, 16);
}

Test(nd, answers_one_that_asks_us_alone, .init = setup, .fini = teardown)
{
    struct packet p = nd_packet(135, 0, peer_ip6, our_ip6, our_ip6, NULL);
    receive(&p);
    cr_assert_eq(w.out_count, 1);
    cr_assert_arr_eq(w.out[0].b, peer_mac, 6, "where the frame came from");
    cr_assert_eq(COUNT(neighbours_learned), 0);
    p = nd_packet(135, 0, peer_local_ip6, our_local_ip6, our_local_ip6, NULL);
    receive(&p);
    cr_assert_eq(w.out_count, 2);
    cr_assert_arr_eq(w.out[1].b + IP(8), our_local_ip6, 16);
}

/* Somebody else wants our address: all nodes hear that it is taken (RFC 4861 section 7.2.4). */
Test(nd, defends_its_address, .init = setup, .fini = teardown)
{
    static const uint8_t none[16];
    struct packet p = solicitation(NULL, none, our_ip6);
    receive(&p);
    cr_assert_eq(count_announcements(our_ip6), 1);
    p = advertisement(other_mac, our_ip6, ND_OVERRIDE);
    receive(&p);
    cr_assert_eq(COUNT(drop_nd_conflict), 1);
    p = solicitation(other_mac, our_ip6, our_local_ip6);
    receive(&p);
    cr_assert_eq(COUNT(drop_nd_conflict), 2);
    cr_assert_eq(COUNT(neighbours_learned), 0);
    hear_solicitation(peer_mac, peer_ip6);
    cr_assert_eq(w.out[1].b[IP(IP6_BYTES + 4)], ND_SOLICITED | ND_OVERRIDE, "nothing changes");
}

Test(nd, malformed_packets_are_counted, .init = setup, .fini = teardown)
{
    static const uint8_t none[16], group_mac[6] = {1}, zero_mac[6];
    const struct packet good = solicitation(peer_mac, peer_ip6, our_ip6);
    struct {
        const char *what;
        struct packet p;
    } bad[] = {
        {"through a router", good},
        {"code", good},
        {"an option of length 0", good},
        {"an option beyond the packet", good},
        {"an Ethernet address of 14 bytes", good},
        {"about a group", nd_packet(135, 0, peer_ip6, our_ip6, all_nodes_ip6, peer_mac)},
        {"a group's Ethernet address", solicitation(group_mac, peer_ip6, our_ip6)},
        {"no Ethernet address", solicitation(zero_mac, peer_ip6, our_ip6)},
        {"of none, with an Ethernet address", solicitation(peer_mac, none, our_ip6)},
        {"of none, to all nodes", nd_packet(135, 0, none, all_nodes_ip6, our_ip6, NULL)},
        {"solicited, to all", nd_packet(136, ND_SOLICITED, peer_ip6, all_nodes_ip6, peer_ip6, peer_mac)},
        {"an advertisement about a group", nd_packet(136, 0, peer_ip6, our_ip6, all_nodes_ip6, peer_mac)},
    };
    unsigned n = sizeof(bad) / sizeof(bad[0]);
    for (unsigned i = 0; i < n; i++) {
        struct packet *p = &bad[i].p;
        memcpy(p->b + 6, peer_mac, 6); /* of the frame itself */
        uint8_t *m = p->b + IP(IP6_BYTES);
        if (i == 0)
            p->b[IP(7)] = 254;
        else if (i == 1)
            m[1] = 1;
        else if (i == 2)
            m[25] = 0;
        else if (i == 3)
            m[25] = 2;
        else if (i == 4) {
            m[25] = 2;
            p->len += 8;
            ip6_set_length(p);
        }
        put16(m + 2, 0);
        put16(m + 2, ip6_sum(p->b + ETH_BYTES, 58, m, p->len - IP(IP6_BYTES)));
        receive(p);
        cr_assert_eq(COUNT(drop_nd_format), i + 1, "%s", bad[i].what);
    }
    uint8_t few[23] = {135};
    struct packet p = icmp6_packet(peer_ip6, our_ip6, 255, few, sizeof(few));
    receive(&p);
    cr_assert_eq(COUNT(drop_nd_format), n + 1);
    cr_assert_eq(w.out_count, 0, "none of them is answered");
    cr_assert_eq(COUNT(neighbours_learned), 0);
}

Test(nd, strangers_and_others_are_not_answered, .init = setup, .fini = teardown)
{
    struct packet p = solicitation(peer_mac, far_ip6, our_ip6);
    receive(&p);
    cr_assert_eq(COUNT(drop_nd_source), 1, "not on the link");
    p = solicitation(peer_mac, peer_ip6, gateway_ip6);
    receive(&p);
    cr_assert_eq(COUNT(drop_nd_not_for_us), 1);
    p = advertisement(peer_mac, far_ip6, ND_OVERRIDE);
    receive(&p);
    cr_assert_eq(COUNT(drop_nd_source), 2);
    cr_assert_eq(w.out_count, 0);
    cr_assert_eq(COUNT(neighbours_learned), 0);
}

Test(nd, unknown_options_are_passed_over, .init = setup, .fini = teardown)
{
    uint8_t m[48] = {135, [24] = 14, 2, [40] = 1, 1, 2, 0, 0, 0, 0, 2};
    memcpy(m + 8, our_ip6, 16);
    uint8_t group[16];
    group_of(group, our_ip6);
    struct packet p = icmp6_packet(peer_ip6, group, 255, m, sizeof(m));
    receive(&p);
    cr_assert_eq(w.out_count, 1);
    cr_assert_eq(COUNT(neighbours_learned), 1);
}

Test(nd, keeps_the_latest_segment_until_the_answer, .init = setup, .fini = teardown)
{
    struct gw_bytes first[] = {GW_LIT("first")}, second[] = {GW_LIT("the "), GW_LIT("second")};
    cr_assert(emit6_pieces(peer_ip6, first, 1));
    cr_assert_eq(w.out_count, 1);
    cr_assert(is_solicitation_for(&w.out[0], peer_ip6));
    cr_assert_arr_eq(w.out[0].b + IP(8), our_ip6, 16);
    cr_assert_arr_eq(w.out[0].b + IP(IP6_BYTES + 26), our_mac, 6);
    cr_assert(emit6_pieces(peer_ip6, second, 2));
    cr_assert_eq(w.out_count, 1, "one question for both");
    hear_advertisement(peer_mac, peer_ip6);
    cr_assert_eq(COUNT(nd_advertisements_in), 1);
    cr_assert_eq(w.out_count, 2);
    cr_assert_good_segment6(&w.out[1], peer_mac, peer_ip6);
    cr_assert_arr_eq(w.out[1].b + IP(IP6_BYTES + 24), "the second", 10);
    hear_advertisement(peer_mac, peer_ip6);
    cr_assert_eq(COUNT(drop_nd_unsolicited), 1);
}

/* RFC 4861 appendix C, as far as claims do not matter to us. */
Test(nd, what_an_answer_does_depends_on_its_flags, .init = setup, .fini = teardown)
{
    /* Not solicited: no answer. */
    cr_assert(emit6(peer_ip6));
    struct packet p = advertisement(other_mac, peer_ip6, ND_OVERRIDE);
    receive(&p);
    cr_assert_eq(COUNT(neighbours_learned), 0);
    /* The first answer is taken without override as well, but not without an address. */
    p = nd_packet(136, ND_SOLICITED, peer_ip6, our_ip6, peer_ip6, NULL);
    receive(&p);
    cr_assert_eq(COUNT(neighbours_learned), 0);
    p = advertisement(peer_mac, peer_ip6, ND_SOLICITED);
    receive(&p);
    cr_assert_eq(COUNT(neighbours_learned), 1);
    /* A claim makes us ask; the one that does not override changes nothing. */
    p = advertisement(other_mac, peer_ip6, ND_OVERRIDE);
    w.out_count = 0;
    receive(&p);
    cr_assert(is_solicitation_for(&w.out[0], peer_ip6));
    p = advertisement(other_mac, peer_ip6, ND_SOLICITED);
    receive(&p);
    cr_assert_eq(COUNT(neighbours_moved), 0);
    hear_advertisement(other_mac, peer_ip6);
    cr_assert_eq(COUNT(neighbours_moved), 1);
    w.out_count = 0;
    cr_assert(emit6(peer_ip6));
    cr_assert_good_segment6(&w.out[0], other_mac, peer_ip6);
}

Test(nd, confirms_by_unicast_without_an_address_in_the_answer, .init = setup, .fini = teardown)
{
    make_reachable(peer_mac, peer_ip6);
    pass_time(NEIGHBOUR_REACHABLE_US_MAX);
    cr_assert(emit6(peer_ip6));
    pass_time(NEIGHBOUR_DELAY_US);
    cr_assert_eq(COUNT(nd_advertisements_in), 1);
    struct packet p = nd_packet(136, ND_SOLICITED, peer_ip6, our_ip6, peer_ip6, NULL);
    receive(&p);
    cr_assert_eq(COUNT(nd_advertisements_in), 2);
    cr_assert_eq(gw_net_next_deadline_us(w.net), UINT64_MAX, "reachable");
}

Test(nd, a_neighbour_that_is_silent_is_given_up_and_looked_for, .init = setup, .fini = teardown)
{
    make_reachable(peer_mac, peer_ip6);
    pass_time(NEIGHBOUR_REACHABLE_US_MAX);
    cr_assert(emit6(peer_ip6));
    pass_time(NEIGHBOUR_DELAY_US);
    for (unsigned s = 1; s <= 4; s *= 2)
        pass_time(s * SECOND);
    cr_assert_eq(COUNT(neighbours_failed), 1);
    w.out_count = 0;
    cr_assert(emit6(peer_ip6));
    cr_assert(is_solicitation_for(&w.out[0], peer_ip6));
}

Test(nd, one_table_serves_both_families, .init = setup, .fini = teardown)
{
    uint8_t ip[16] = NET6(0), v4[4] = {10, 77, 0, 100};
    for (int i = 0; i < NEIGHBOURS; i++) {
        ip[15] = (uint8_t)(100 + i);
        hear_solicitation(peer_mac, ip);
    }
    hear_request_from(peer_mac, v4);
    cr_assert_eq(COUNT(neighbours_learned), NEIGHBOURS);
    cr_assert_eq(COUNT(neighbours_not_learned), 1);
    cr_assert(emit(v4));
    cr_assert_eq(COUNT(neighbours_evicted), 1, "our own need makes room");
}

Test(nd, operators_see_the_table, .init = setup, .fini = teardown)
{
    struct gw_net_neighbour rows[NEIGHBOURS];
    uint32_t at = 0;
    cr_assert_eq(gw_net_neighbours(w.net, &at, rows, NEIGHBOURS), 0);
    cr_assert_eq(at, 0);
    hear_request_from(peer_mac, peer_ip);
    cr_assert(emit6(gateway_ip6));
    make_reachable(other_mac, peer_ip6);
    pass_time(SECOND / 2);
    /* One at a time, as a small buffer has it. */
    cr_assert_eq(gw_net_neighbours(w.net, &at, rows, 1), 1);
    cr_assert_eq(at, 1);
    cr_assert_eq(rows[0].state, NEIGHBOUR_STALE);
    cr_assert_arr_eq(rows[0].ip.b + 12, peer_ip, 4);
    cr_assert_arr_eq(rows[0].mac, peer_mac, 6);
    cr_assert_eq(rows[0].heard_us, SECOND / 2);
    cr_assert_eq(gw_net_neighbours(w.net, &at, rows, NEIGHBOURS), 2);
    cr_assert_eq(at, 0, "all seen");
    cr_assert_eq(rows[0].state, NEIGHBOUR_RESOLVING);
    cr_assert_arr_eq(rows[0].ip.b, gateway_ip6, 16);
    cr_assert_eq(rows[1].state, NEIGHBOUR_REACHABLE);
    cr_assert_arr_eq(rows[1].mac, other_mac, 6);
}

static unsigned shared_count;
static struct packet shared_packet;
static void keep_shared(void *ctx, const uint8_t *frame, uint32_t len)
{
    cr_assert_leq(len, GW_NET_SHARED_BYTES_MAX);
    memcpy(shared_packet.b, frame, len);
    shared_packet.len = len;
    shared_count++;
}

Test(nd, what_is_for_us_is_shared_with_other_lcores, .init = setup, .fini = teardown)
{
    gw_net_set_share(w.net, keep_shared, NULL);
    hear_solicitation(peer_mac, peer_ip6);
    hear_advertisement(peer_mac, gateway_ip6);
    cr_assert_eq(shared_count, 2);
    struct packet p = solicitation(peer_mac, far_ip6, our_ip6);
    receive(&p);
    p = solicitation(peer_mac, peer_ip6, gateway_ip6);
    receive(&p);
    p = echo6_packet(our_ip6, 8);
    receive(&p);
    cr_assert_eq(shared_count, 2);
    p = solicitation(peer_mac, peer_ip6, our_ip6);
    gw_net_input_shared(w.net, w.now_us, p.b, p.len);
    cr_assert_eq(shared_count, 2, "not what was shared");
}

Test(nd, a_shared_packet_teaches_and_is_not_answered, .init = setup, .fini = teardown)
{
    struct packet p = solicitation(peer_mac, peer_ip6, our_ip6);
    gw_net_input_shared(w.net, w.now_us, p.b, p.len);
    cr_assert_eq(w.out_count, 0);
    cr_assert_eq(COUNT(neighbours_learned), 1);
    cr_assert(emit6(gateway_ip6));
    p = advertisement(other_mac, gateway_ip6, ND_SOLICITED | ND_OVERRIDE);
    gw_net_input_shared(w.net, w.now_us, p.b, p.len);
    cr_assert_eq(w.out_count, 2, "question, then the kept segment");
    cr_assert_good_segment6(&w.out[1], other_mac, gateway_ip6);
    gw_net_input_shared(w.net, w.now_us, p.b, p.len);
    cr_assert_eq(COUNT(drop_nd_unsolicited), 0, "others may have asked");
}

/* ---- groups ---- */

/* Which groups a report of ours names, as the addresses that they stand for. */
static void cr_assert_report(const struct sent *s, uint8_t kind, const uint8_t *const *ips,
                             unsigned count)
{
    static const uint8_t to[16] = {0xff, 2, [15] = 0x16}, to_mac[6] = {0x33, 0x33, 0, 0, 0, 0x16};
    static const uint8_t alert[8] = {58, 0, 5, 2, 0, 0, 1, 0};
    const uint8_t *ip = s->b + ETH_BYTES, *m = ip + IP6_BYTES + 8;
    cr_assert_arr_eq(s->b, to_mac, 6);
    cr_assert_arr_eq(ip + 8, our_local_ip6, 16);
    cr_assert_arr_eq(ip + 24, to, 16);
    cr_assert_eq(ip[6], 0, "hop-by-hop");
    cr_assert_eq(ip[7], 1, "stays on the link");
    cr_assert_arr_eq(ip + IP6_BYTES, alert, 8);
    cr_assert_eq(m[0], MLD_REPORT);
    cr_assert_eq(s->len, IP(IP6_BYTES) + 16 + 20 * count);
    cr_assert_eq(gw_be16(ip + 4), s->len - IP(IP6_BYTES));
    cr_assert_eq(ip6_sum(ip, 58, m, 8 + 20 * count), 0);
    cr_assert_eq(gw_be16(m + 6), count);
    for (unsigned i = 0; i < count; i++) {
        uint8_t group[16];
        group_of(group, ips[i]);
        cr_assert_eq(m[8 + 20 * i], kind);
        cr_assert_arr_eq(m + 8 + 20 * i + 4, group, 16);
    }
}

static const uint8_t *const our_ips[] = {our_local_ip6, our_ip6};

Test(mld, says_at_start_which_groups_it_listens_to, .init = open_tentative, .fini = teardown)
{
    cr_assert_report(&w.out[1], 4, our_ips, 2);
    w.out_count = 0;
    pass_time(SECOND);
    cr_assert_report(&w.out[0], 4, our_ips, 2);
    cr_assert_eq(COUNT(mld_reports_out), 2);
}

static struct packet query(uint16_t delay, const uint8_t source[16], const uint8_t dst[16],
                           const uint8_t *group)
{
    uint8_t m[28] = {130};
    static const uint8_t alert[8] = {58, 0, 5, 2, 0, 0, 1, 0};
    gw_put_be16(m + 4, delay);
    if (group != NULL)
        memcpy(m + 8, group, 16);
    struct packet p = ip6_packet(source, dst, 0, 1);
    append(&p, alert, 8);
    ip6_append(&p, 58, m, sizeof(m), 2);
    return p;
}

Test(mld, answers_a_router_within_the_time_given, .init = setup, .fini = teardown)
{
    struct packet p = query(2000, peer_local_ip6, all_nodes_ip6, NULL);
    receive(&p);
    cr_assert_eq(w.out_count, 0);
    cr_assert_lt(gw_net_next_deadline_us(w.net), w.now_us + 2 * SECOND);
    receive(&p);
    pass_time(2 * SECOND);
    cr_assert_eq(w.out_count, 1, "one answer for both");
    cr_assert_report(&w.out[0], 2, our_ips, 2);
    cr_assert_eq(COUNT(mld_queries_in), 2);
    cr_assert_eq(gw_net_next_deadline_us(w.net), UINT64_MAX);

    uint8_t group[16];
    group_of(group, our_ip6);
    p = query(0xffff, peer_local_ip6, group, group); /* more than two hours: not waited for */
    receive(&p);
    pass_time(10 * SECOND);
    cr_assert_eq(w.out_count, 2);
}

Test(mld, queries_that_are_not_of_the_link_are_dropped, .init = setup, .fini = teardown)
{
    uint8_t group[16];
    group_of(group, our_ip6);
    struct packet bad[] = {
        query(1000, peer_ip6, all_nodes_ip6, NULL),
        query(1000, peer_local_ip6, all_nodes_ip6, group),
        query(1000, peer_local_ip6, all_nodes_ip6, NULL),
    };
    bad[2].b[IP(7)] = 2;
    for (unsigned i = 0; i < 3; i++)
        receive(&bad[i]);
    cr_assert_eq(COUNT(drop_mld_format), 3);
    cr_assert_eq(gw_net_next_deadline_us(w.net), UINT64_MAX);
}

/* ---- segments out ---- */

Test(emit6, sums_pieces_of_any_length, .init = setup, .fini = teardown)
{
    uint8_t bytes[MTU];
    unsigned seed = 5;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)rand_r(&seed);
    make_reachable(peer_mac, peer_ip6);
    for (int round = 0; round < 3000; round++) {
        struct gw_bytes pieces[GW_TCP_PAYLOAD_PIECES_MAX];
        size_t at = 0;
        for (int i = 0; i < GW_TCP_PAYLOAD_PIECES_MAX; i++) {
            pieces[i] = gw_bytes(bytes + at, (size_t)rand_r(&seed) % 89);
            at += pieces[i].len;
        }
        w.out_count = 0;
        cr_assert(emit6_pieces(peer_ip6, pieces, GW_TCP_PAYLOAD_PIECES_MAX));
        cr_assert_eq(w.out_count, 1);
        cr_assert_good_segment6(&w.out[0], peer_mac, peer_ip6);
        cr_assert_arr_eq(w.out[0].b + IP(IP6_BYTES + 24), bytes, at);
    }
}

Test(emit6, off_link_goes_to_the_router, .init = setup, .fini = teardown)
{
    make_reachable(other_mac, gateway_ip6);
    cr_assert(emit6(far_ip6));
    cr_assert_eq(w.out_count, 1);
    cr_assert_good_segment6(&w.out[0], other_mac, far_ip6);
}

Test(emit6, leaves_the_checksum_to_a_port_that_makes_it, .init = setup, .fini = teardown)
{
    make_reachable(peer_mac, peer_ip6);
    w.port.tx_csum_ip = w.port.tx_csum_tcp = true;
    cr_assert(emit6(peer_ip6));
    const uint8_t *ip = w.out[0].b + ETH_BYTES;
    /* The pseudo header's sum alone: what hardware adds the rest to. */
    uint8_t pseudo[40] = {[35] = 24, [39] = 6};
    memcpy(pseudo, ip + 8, 32);
    uint16_t sum = checksum_fold(checksum_add(0, pseudo, sizeof(pseudo)));
    cr_assert_arr_eq(ip + IP6_BYTES + 16, (uint8_t *)&sum, 2);
}

/* RFC 6437: one label a connection, and others for others. */
Test(emit6, flow_labels_tell_connections_apart, .init = setup, .fini = teardown)
{
    static const uint8_t header[24] = {0x14, 0x66, 0x30, 0x39, [12] = 0x60};
    uint32_t labels[64];
    make_reachable(peer_mac, peer_ip6);
    for (unsigned i = 0; i < 64; i++) {
        struct gw_tcp_tuple t = {ip6(our_ip6), ip6(peer_ip6), 5222, (uint16_t)(40000 + i)};
        struct gw_tcp_segment s = {&t, header, sizeof(header), NULL, 0, 0, 0, NULL};
        w.out_count = 0;
        cr_assert(gw_net_emit(w.net, &s) && gw_net_emit(w.net, &s));
        labels[i] = gw_be32(w.out[0].b + IP(0)) & 0xfffff;
        cr_assert_eq(gw_be32(w.out[1].b + IP(0)) & 0xfffff, labels[i]);
        cr_assert_neq(labels[i], 0);
        for (unsigned j = 0; j < i; j++)
            cr_assert_neq(labels[i], labels[j]);
    }
}

Test(emit6, text_of_many_segments_is_cut, .init = setup, .fini = teardown)
{
    uint8_t text[1000];
    for (unsigned i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)(i * 7);
    struct gw_bytes pieces[] = {gw_bytes(text, 499), gw_bytes(text + 499, 501)};
    struct gw_ip from = ip6(our_ip6), to = ip6(peer_ip6);
    uint32_t taken;
    make_reachable(peer_mac, peer_ip6);
    cr_assert(emit_cut_from(&from, &to, pieces, 2, 0x18, 300, &taken));
    cr_assert_eq(taken, 1000);
    cr_assert_eq(w.out_count, 4);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_good_segment6(&w.out[i], peer_mac, peer_ip6);
        cr_assert_eq(gw_be32(w.out[i].b + IP(IP6_BYTES + 4)), 100 + 300 * i);
        cr_assert_arr_eq(w.out[i].b + IP(IP6_BYTES + TCP_BYTES), text + 300 * i, i < 3 ? 300 : 100);
    }
}
