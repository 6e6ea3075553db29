/* SPDX-License-Identifier: Apache-2.0 */
/* Several addresses, ranges of them, routes, and ICMP errors about what we sent. */
#include <errno.h>

#include "net_rig.h"

static const uint8_t second_ip[4] = {192, 168, 5, 1}, second_peer[4] = {192, 168, 5, 9};
static const uint8_t range_ip[4] = {10, 77, 1, 0}, in_range[4] = {10, 77, 1, 255};
static const uint8_t range_ip6[16] = {0xfd, 0, 0, 0x77, 0, 0, 0, 1};
static const uint8_t in_range6[16] = {0xfd, 0, 0, 0x77, 0, 0, 0, 1, 0xde, 0xad, [15] = 7};
static const uint8_t other_router[4] = {10, 77, 0, 253};
static const uint8_t local_router6[16] = {0xfe, 0x80, [15] = 9};

static struct gw_net_config config(void)
{
    static struct gw_ip_prefix addresses[3], ranges[2];
    static struct gw_ip_route routes[4];
    static const uint8_t any[4], net10[4] = {10}, far[4] = {192, 0, 2, 0};
    addresses[0] = prefix4(our_ip, 24);
    addresses[1] = prefix6(our_ip6, 64);
    addresses[2] = prefix4(second_ip, 16);
    ranges[0] = prefix4(range_ip, 24);
    ranges[1] = prefix6(range_ip6, 64);
    routes[0] = (struct gw_ip_route){prefix4(any, 0), gw_ip_from_v4(gateway_ip)};
    routes[1] = (struct gw_ip_route){prefix4(far, 24), gw_ip_from_v4(other_router)};
    routes[2] = (struct gw_ip_route){prefix4(net10, 8), gw_ip_from_v4(second_peer)};
    routes[3] = (struct gw_ip_route){{{{0}}, 0}, ip6(local_router6)};
    return (struct gw_net_config){
        .addresses = addresses,
        .address_count = 3,
        .ranges = ranges,
        .range_count = 2,
        .routes = routes,
        .route_count = 4,
        .neighbour_limit = NEIGHBOURS,
        .key = {1, 2},
    };
}

static void setup(void)
{
    reset_world();
    struct gw_net_config cfg = config();
    cr_assert_eq(gw_net_open(&w.net, &cfg, &w.port, w.now_us), 0);
    for (int i = 0; i < 3; i++)
        pass_time(SECOND);
    w.out_count = 0;
}

static void teardown(void)
{
    close_world();
}

/* ---- opening ---- */

static int open_result(struct gw_net_config cfg)
{
    struct gw_net *n = NULL;
    int err = gw_net_open(&n, &cfg, &w.port, w.now_us);
    gw_net_free(&n);
    return err;
}

static struct gw_ip_prefix with_bits(struct gw_ip_prefix p, uint8_t bits)
{
    p.bits = bits;
    return p;
}

Test(open, refuses_what_cannot_be)
{
    static const uint8_t any[4], group[4] = {224, 0, 0, 1}, loop[4] = {127, 0, 0, 1};
    static const uint8_t edge[4] = {10, 77, 0, 128}, mapped[16] = {0}, group6[16] = {0xff, 2};
    reset_world();
    cr_assert_eq(open_result(config()), 0);
    struct gw_net_config cfg = config();
    cfg.address_count = 0;
    cr_assert_eq(open_result(cfg), -EINVAL, "no address");
    cfg = config();
    cfg.neighbour_limit = 0;
    cr_assert_eq(open_result(cfg), -EINVAL, "no neighbours");

    const struct gw_ip_prefix bad_addresses[] = {
        prefix4(any, 24), prefix4(group, 24), prefix4(loop, 8), prefix6(group6, 64),
        with_bits(prefix4(our_ip, 24), 64), with_bits(prefix6(our_ip6, 64), 129)};
    for (size_t i = 0; i < sizeof(bad_addresses) / sizeof(bad_addresses[0]); i++) {
        cfg = config();
        cfg.addresses = &bad_addresses[i];
        cfg.address_count = 1;
        cfg.range_count = cfg.route_count = 0;
        cr_assert_eq(open_result(cfg), -EINVAL, "address %zu", i);
    }
    const struct gw_ip_prefix bad_ranges[] = {
        prefix4(edge, 25), prefix4(gateway_ip, 32), prefix4(any, 0), prefix6(mapped, 80),
        prefix6(local_router6, 128), prefix4(group, 24)};
    for (size_t i = 0; i < sizeof(bad_ranges) / sizeof(bad_ranges[0]); i++) {
        cfg = config();
        cfg.ranges = &bad_ranges[i];
        cfg.range_count = 1;
        cr_assert_eq(open_result(cfg), -EINVAL, "range %zu", i);
    }
    const struct gw_ip_route bad_routes[] = {
        {prefix4(any, 0), gw_ip_from_v4(far_ip)},
        {prefix4(any, 0), gw_ip_from_v4(our_ip)},
        {prefix4(any, 0), ip6(gateway_ip6)},
        {{{{0}}, 0}, gw_ip_from_v4(gateway_ip)},
        {{{{0}}, 0}, ip6(group6)}};
    for (size_t i = 0; i < sizeof(bad_routes) / sizeof(bad_routes[0]); i++) {
        cfg = config();
        cfg.routes = &bad_routes[i];
        cfg.route_count = 1;
        cr_assert_eq(open_result(cfg), -EINVAL, "route %zu", i);
    }
    struct gw_ip_prefix v4 = prefix4(our_ip, 24), v6_range = prefix6(range_ip6, 64);
    cfg = config();
    cfg.addresses = &v4;
    cfg.address_count = 1;
    cfg.ranges = &v6_range;
    cfg.range_count = 1;
    cfg.route_count = 0;
    cr_assert_eq(open_result(cfg), -EINVAL, "a range of a family without an address");
    w.port.mtu = 1279;
    cr_assert_eq(open_result(config()), -EINVAL, "IPv6 needs 1280 bytes");
}

Test(open, limits_hold)
{
    static struct gw_ip_prefix many[GW_NET_ADDRESSES_MAX + 1];
    static struct gw_ip_route routes[GW_NET_ROUTES_MAX + 1];
    reset_world();
    for (uint8_t i = 0; i <= GW_NET_ADDRESSES_MAX; i++)
        many[i] = prefix4((const uint8_t[4]){10, 77, i, 1}, 24);
    for (uint8_t i = 0; i <= GW_NET_ROUTES_MAX; i++)
        routes[i] = (struct gw_ip_route){prefix4((const uint8_t[4]){10, 78, i, 0}, 24),
                                         gw_ip_from_v4(gateway_ip)};
    struct gw_net_config cfg = {.addresses = many,
                                .address_count = GW_NET_ADDRESSES_MAX,
                                .routes = routes,
                                .route_count = GW_NET_ROUTES_MAX,
                                .neighbour_limit = 1};
    cr_assert_eq(open_result(cfg), 0);
    cfg.address_count++;
    cr_assert_eq(open_result(cfg), -EINVAL);
    cfg.address_count--;
    cfg.route_count++;
    cr_assert_eq(open_result(cfg), -EINVAL);
    cfg.route_count = 0;
    cfg.ranges = many;
    cfg.address_count = 1;
    for (uint8_t i = 0; i <= GW_NET_RANGES_MAX; i++)
        many[i] = prefix4((const uint8_t[4]){10, 80, i, 0}, 32);
    struct gw_ip_prefix address = prefix4(our_ip, 24);
    cfg.addresses = &address;
    cfg.range_count = GW_NET_RANGES_MAX;
    cr_assert_eq(open_result(cfg), 0);
    cfg.range_count++;
    cr_assert_eq(open_result(cfg), -EINVAL);
}

Test(open, announces_every_address_and_no_range, .fini = teardown)
{
    reset_world();
    struct gw_net_config cfg = config();
    cfg.announce = true;
    cr_assert_eq(gw_net_open(&w.net, &cfg, &w.port, w.now_us), 0);
    cr_assert_eq(w.out_count, 5, "two of IPv4, groups, two of IPv6");
    cr_assert(is_request_for(&w.out[0], our_ip));
    cr_assert(is_request_for(&w.out[1], second_ip));
    cr_assert_arr_eq(w.out[1].b + ETH_BYTES + 14, second_ip, 4);
    cr_assert(is_solicitation_for(&w.out[3], our_local_ip6));
    cr_assert(is_solicitation_for(&w.out[4], our_ip6));
}

/* Groups of a small range can be named to switches; those of a large one could not be listed. */
Test(open, small_ranges_are_reported_as_groups, .fini = teardown)
{
    reset_world();
    struct gw_net_config cfg = config();
    struct gw_ip_prefix ranges[] = {prefix6(range_ip6, 122), prefix6(in_range6, 121)};
    ranges[1].ip.b[15] = 0;
    cfg.ranges = ranges;
    cfg.announce = true;
    cr_assert_eq(gw_net_open(&w.net, &cfg, &w.port, w.now_us), 0);
    cr_assert_eq(COUNT(mld_reports_out), 2, "66 groups, 61 a report");
    const uint8_t *m = w.out[2].b + IP(IP6_BYTES + 8);
    cr_assert_eq(gw_be16(m + 6), 61);
    m = w.out[3].b + IP(IP6_BYTES + 8);
    cr_assert_eq(gw_be16(m + 6), 5);
    cr_assert_eq(m[8 + 20 * 4 + 19], 63, "the last of the range");
}

/* ---- ranges ---- */

Test(range, every_address_is_answered_for_and_taken, .init = setup, .fini = teardown)
{
    uint8_t ip[4] = {10, 77, 1, 0};
    for (unsigned i = 0; i < 256; i++) {
        ip[3] = (uint8_t)i;
        w.out_count = 0;
        struct packet p = arp_packet(1, peer_mac, peer_ip, ip);
        receive(&p);
        cr_assert_eq(w.out_count, 1);
        cr_assert_arr_eq(w.out[0].b + ETH_BYTES + 14, ip, 4, "the one that was asked for");
        p = tcp_packet_to(peer_ip, ip);
        receive(&p);
        cr_assert_arr_eq(w.dst.b + 12, ip, 4, "TCP is told which");
    }
    cr_assert_eq(w.segments_in, 256);
    struct packet p = solicitation(peer_mac, peer_ip6, in_range6);
    w.out_count = 0;
    receive(&p);
    cr_assert_eq(w.out_count, 1);
    cr_assert(is_good_nd(&w.out[0], 136));
    cr_assert_arr_eq(w.out[0].b + IP(8), in_range6, 16);
    cr_assert_arr_eq(w.out[0].b + IP(IP6_BYTES + 8), in_range6, 16);
    p = tcp6_packet_to(peer_ip6, in_range6);
    receive(&p);
    cr_assert_arr_eq(w.dst.b, in_range6, 16);
}

Test(range, what_is_beside_it_is_not_ours, .init = setup, .fini = teardown)
{
    static const uint8_t before[4] = {10, 77, 0, 255}, after[4] = {10, 77, 2, 0};
    static const uint8_t beside6[16] = {0xfd, 0, 0, 0x77, 0, 0, 0, 2};
    struct packet p = tcp_packet_to(peer_ip, before);
    receive(&p);
    p = tcp_packet_to(peer_ip, after);
    receive(&p);
    cr_assert_eq(COUNT(drop_ip4_not_for_us), 2);
    p = arp_packet(1, peer_mac, peer_ip, after);
    receive(&p);
    cr_assert_eq(COUNT(drop_arp_not_for_us), 1);
    p = tcp6_packet_to(peer_ip6, beside6);
    receive(&p);
    cr_assert_eq(COUNT(drop_ip6_not_for_us), 1);
    cr_assert_eq(w.out_count, 0);
}

Test(range, nobody_else_speaks_from_it, .init = setup, .fini = teardown)
{
    struct packet p = tcp_packet_to(in_range, our_ip);
    receive(&p);
    cr_assert_eq(COUNT(drop_ip4_source), 1);
    p = tcp6_packet_to(in_range6, our_ip6);
    receive(&p);
    cr_assert_eq(COUNT(drop_ip6_source), 1);
    p = arp_packet(1, other_mac, in_range, our_ip);
    receive(&p);
    cr_assert_eq(COUNT(drop_arp_conflict), 1);
    p = advertisement(other_mac, in_range6, ND_OVERRIDE);
    receive(&p);
    cr_assert_eq(COUNT(drop_nd_conflict), 1);
}

Test(range, echo_and_segments_leave_from_the_address_they_came_to, .init = setup, .fini = teardown)
{
    uint8_t ping[8] = {8};
    put16(ping + 2, checksum_finish(checksum_add(0, ping, 8)));
    struct packet p = ip_packet(peer_ip, in_range, 1, ping, sizeof(ping));
    receive(&p);
    cr_assert_eq(w.out_count, 1);
    cr_assert_arr_eq(w.out[0].b + IP(12), in_range, 4);
    hear_request_from(peer_mac, peer_ip);
    w.out_count = 0;
    struct gw_ip from = gw_ip_from_v4(in_range), to = gw_ip_from_v4(peer_ip);
    cr_assert(emit_from(&from, &to, NULL, 0));
    cr_assert_arr_eq(w.out[0].b + IP(12), in_range, 4);
    from = ip6(in_range6);
    to = ip6(peer_ip6);
    cr_assert(emit_from(&from, &to, NULL, 0));
    cr_assert(is_solicitation_for(&w.out[1], peer_ip6));
    cr_assert_arr_eq(w.out[1].b + IP(8), our_ip6, 16, "asked by the address on that link");
}

/* ---- routes ---- */

static void cr_assert_hop(const uint8_t to[4], const uint8_t hop[4], const uint8_t from[4])
{
    w.out_count = 0;
    cr_assert(emit(to));
    cr_assert_eq(w.out_count, 1);
    cr_assert(is_request_for(&w.out[0], hop));
    cr_assert_arr_eq(w.out[0].b + ETH_BYTES + 14, from, 4, "asked by our address there");
}

Test(route, the_longest_prefix_counts, .init = setup, .fini = teardown)
{
    static const uint8_t in_ten[4] = {10, 200, 0, 1}, else_where[4] = {198, 51, 100, 1};
    static const uint8_t on_link[4] = {10, 77, 0, 99}, second_link[4] = {192, 168, 200, 200};
    cr_assert_hop(on_link, on_link, our_ip);
    cr_assert_hop(second_link, second_link, second_ip);
    cr_assert_hop(far_ip, other_router, our_ip);
    cr_assert_hop(in_ten, second_peer, second_ip);
    cr_assert_hop(else_where, gateway_ip, our_ip);
}

Test(route, a_router_may_be_known_by_its_link_local_address, .init = setup, .fini = teardown)
{
    cr_assert(emit6(far_ip6));
    cr_assert(is_solicitation_for(&w.out[0], local_router6));
    struct packet p = advertisement(other_mac, local_router6, ND_SOLICITED | ND_OVERRIDE);
    receive(&p);
    cr_assert_good_segment6(&w.out[1], other_mac, far_ip6);
}

Test(route, without_one_it_is_dropped, .fini = teardown)
{
    reset_world();
    struct gw_net_config cfg = config();
    cfg.route_count = 0;
    cr_assert_eq(gw_net_open(&w.net, &cfg, &w.port, w.now_us), 0);
    w.out_count = 0;
    cr_assert(emit(far_ip) && emit6(far_ip6));
    cr_assert_eq(w.out_count, 0);
    cr_assert_eq(COUNT(drop_tx_no_route), 2);
}

/* ---- ICMP errors ---- */

/* What our own segment looked like to a router. */
static const uint8_t quoted_tcp[8] = {0x14, 0x66, 0x30, 0x39, 1, 2, 3, 4};

static struct packet error4(uint8_t code, const uint8_t quoted_from[4], uint8_t protocol,
                            size_t quoted_len)
{
    uint8_t m[8 + 28] = {3, code, [8] = 0x45, [17] = protocol};
    memcpy(m + 8 + 12, quoted_from, 4);
    memcpy(m + 8 + 16, far_ip, 4);
    memcpy(m + 8 + 20, quoted_tcp, 8);
    put16(m + 2, checksum_finish(checksum_add(0, m, 8 + quoted_len)));
    return ip_packet(gateway_ip, our_ip, 1, m, 8 + quoted_len);
}

static struct packet error6(uint8_t type, uint8_t code, const uint8_t quoted_from[16],
                            uint8_t next_header, size_t quoted_len)
{
    uint8_t m[8 + 48] = {type, code, [8] = 0x60, [14] = next_header};
    memcpy(m + 8 + 8, quoted_from, 16);
    memcpy(m + 8 + 24, far_ip6, 16);
    memcpy(m + 8 + 40, quoted_tcp, 8);
    return icmp6_packet(gateway_ip6, our_ip6, 64, m, 8 + quoted_len);
}

static void cr_assert_told(const struct packet *p, enum gw_tcp_icmp what, const uint8_t *local,
                           const uint8_t *remote, size_t ip_bytes)
{
    unsigned before = w.icmp_in;
    receive(p);
    cr_assert_eq(w.icmp_in, before + 1);
    cr_assert_eq(w.icmp_what, what);
    cr_assert_arr_eq(w.icmp_tuple.local.b + 16 - ip_bytes, local, ip_bytes);
    cr_assert_arr_eq(w.icmp_tuple.remote.b + 16 - ip_bytes, remote, ip_bytes);
    cr_assert_eq(w.icmp_tuple.local_port, 5222);
    cr_assert_eq(w.icmp_tuple.remote_port, 12345);
    cr_assert_eq(w.icmp_seq, 0x01020304);
}

Test(icmp_error, tcp_is_told_what_it_means, .init = setup, .fini = teardown)
{
    static const struct {
        uint8_t code;
        enum gw_tcp_icmp what;
    } v4[] = {{0, GW_TCP_ICMP_SOFT}, {1, GW_TCP_ICMP_SOFT}, {2, GW_TCP_ICMP_HARD},
              {3, GW_TCP_ICMP_HARD}, {4, GW_TCP_ICMP_TOO_BIG}, {13, GW_TCP_ICMP_SOFT}};
    for (size_t i = 0; i < sizeof(v4) / sizeof(v4[0]); i++) {
        struct packet p = error4(v4[i].code, our_ip, 6, 28);
        cr_assert_told(&p, v4[i].what, our_ip, far_ip, 4);
    }
    static const struct {
        uint8_t type, code;
        enum gw_tcp_icmp what;
    } v6[] = {{1, 0, GW_TCP_ICMP_SOFT}, {1, 1, GW_TCP_ICMP_HARD}, {1, 4, GW_TCP_ICMP_HARD},
              {2, 0, GW_TCP_ICMP_TOO_BIG}, {3, 0, GW_TCP_ICMP_SOFT}, {4, 1, GW_TCP_ICMP_HARD},
              {4, 0, GW_TCP_ICMP_SOFT}};
    for (size_t i = 0; i < sizeof(v6) / sizeof(v6[0]); i++) {
        struct packet p = error6(v6[i].type, v6[i].code, our_ip6, 6, 48);
        cr_assert_told(&p, v6[i].what, our_ip6, far_ip6, 16);
    }
}

Test(icmp_error, what_we_cannot_have_sent_is_dropped, .init = setup, .fini = teardown)
{
    static const uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff, 10, 77, 0, 2};
    struct packet bad[] = {
        error4(3, peer_ip, 6, 28),  error4(3, in_range, 6, 28), error4(3, our_ip, 17, 28),
        error4(3, our_ip, 6, 27),   error4(3, our_ip, 6, 0),    error6(1, 4, peer_ip6, 6, 48),
        error6(1, 4, in_range6, 6, 48), error6(1, 4, our_ip6, 17, 48), error6(1, 4, our_ip6, 6, 47),
        error6(1, 4, our_ip6, 6, 0), error6(1, 4, our_ip6, 6, 48),
    };
    unsigned n = sizeof(bad) / sizeof(bad[0]);
    uint8_t *m = bad[n - 1].b + IP(IP6_BYTES); /* IPv6 about an IPv4 connection */
    memcpy(m + 8 + 24, mapped, 16);
    put16(m + 2, 0);
    put16(m + 2, ip6_sum(bad[n - 1].b + ETH_BYTES, 58, m, 56));
    for (unsigned i = 0; i < n; i++) {
        receive(&bad[i]);
        cr_assert_eq(COUNT(drop_icmp_quoted), i + 1, "%u", i);
    }
    cr_assert_eq(w.icmp_in, 0);
}

Test(icmp_error, a_storm_is_cut, .init = setup, .fini = teardown)
{
    struct packet p = error4(3, our_ip, 6, 28);
    for (int i = 0; i < 10000; i++)
        receive(&p);
    cr_assert_lt(w.icmp_in, 1000);
    cr_assert_gt(w.icmp_in, 0);
    cr_assert_eq(COUNT(icmp_errors_in), w.icmp_in);
    cr_assert_eq(COUNT(drop_icmp_error_rate), 10000 - w.icmp_in);
    cr_assert_eq(w.out_count, 0);
}
