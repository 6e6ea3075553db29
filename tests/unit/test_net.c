/* SPDX-License-Identifier: Apache-2.0 */
/* The network layer between a port of arrays and a TCP that only takes notes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "../../dataplane/net/checksum.h"
#include "../../dataplane/net/counters.h"
#include "../../dataplane/net/neighbour.h"
#include "../../dataplane/net/net.h"
#include "../../dataplane/net/rate.h"

#define SECOND        1000000ull
#define FRAME_BYTES   2048
#define FRAMES_MAX    128
#define MTU           1500
#define NEIGHBOURS    8
#define ETH_BYTES     14
#define IP_BYTES      20
#define TCP_BYTES     20
#define ARP_OPERATION (ETH_BYTES + 6)

/* ---- the world around it ---- */

struct sent {
    uint8_t b[FRAME_BYTES];
    uint32_t len;
};

static struct world {
    struct gw_port port;
    struct sent out[FRAMES_MAX];
    unsigned out_count, out_room;

    unsigned segments_in;
    uint8_t segment[FRAME_BYTES];
    size_t segment_len;
    struct gw_ip src, dst;

    struct gw_net *net;
    uint64_t now_us;
} w;

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t other_mac[6] = {2, 0, 0, 0, 0, 3};
static const uint8_t broadcast_mac[6] = {255, 255, 255, 255, 255, 255};
static const uint8_t our_ip[4] = {10, 77, 0, 1};
static const uint8_t peer_ip[4] = {10, 77, 0, 2};
static const uint8_t gateway_ip[4] = {10, 77, 0, 254};
static const uint8_t far_ip[4] = {192, 0, 2, 7};

static bool port_tx(struct gw_port *p, const void *header, uint32_t header_len,
                    const struct gw_bytes *payload, unsigned payload_count, uint32_t gso_bytes)
{
    cr_assert_eq(gso_bytes, 0, "this port cannot cut");
    if (w.out_count == w.out_room)
        return false;
    struct sent *s = &w.out[w.out_count++];
    memcpy(s->b, header, header_len);
    s->len = header_len;
    for (unsigned i = 0; i < payload_count; i++) {
        memcpy(s->b + s->len, payload[i].p, payload[i].len);
        s->len += (uint32_t)payload[i].len;
    }
    return true;
}

static const struct gw_port_ops port_ops = {.tx = port_tx};

void gw_tcp_input_burst(struct gw_tcp *t, uint64_t now_us, const struct gw_tcp_arrival *a,
                        unsigned count)
{
    w.segments_in += count;
    w.src = a[count - 1].src;
    w.dst = a[count - 1].dst;
    w.segment_len = a[count - 1].len;
    memcpy(w.segment, a[count - 1].segment, a[count - 1].len);
}

static void open_with(uint8_t prefix_len, bool gateway, uint32_t neighbour_limit)
{
    gw_net_free(&w.net);
    memset(&w, 0, sizeof(w));
    w.now_us = 5 * SECOND;
    w.out_room = FRAMES_MAX;
    w.port = (struct gw_port){.ops = &port_ops, .mtu = MTU};
    memcpy(w.port.mac, our_mac, 6);
    struct gw_net_config cfg = {
        .address = gw_ip_from_v4(our_ip),
        .prefix_len = prefix_len,
        .neighbour_limit = neighbour_limit,
        .key = {1, 2},
    };
    if (gateway)
        cfg.gateway = gw_ip_from_v4(gateway_ip);
    cr_assert_eq(gw_net_open(&w.net, &cfg, &w.port, w.now_us), 0);
    w.out_count = 0; /* the announcement has a test of its own */
}

static void setup(void)
{
    open_with(24, true, NEIGHBOURS);
}

static void teardown(void)
{
    gw_net_free(&w.net);
}

#define COUNT(name) (gw_net_counters(w.net)->name)

/* ---- frames ---- */

struct packet {
    uint8_t b[FRAME_BYTES];
    uint32_t len;
};

static void put16(uint8_t *p, uint16_t raw)
{
    memcpy(p, &raw, 2);
}

static void seal_ip(struct packet *p)
{
    uint8_t *ip = p->b + ETH_BYTES;
    put16(ip + 10, 0);
    put16(ip + 10, checksum_finish(checksum_add(0, ip, (ip[0] & 15u) * 4)));
}

static uint16_t tcp_sum(const uint8_t *ip, size_t header_len, size_t tcp_len)
{
    uint8_t pseudo[12];
    memcpy(pseudo, ip + 12, 8);
    pseudo[8] = 0;
    pseudo[9] = 6;
    gw_put_be16(pseudo + 10, (uint16_t)tcp_len);
    uint64_t sum = checksum_add(0, pseudo, sizeof(pseudo));
    return checksum_finish(checksum_add(sum, ip + header_len, tcp_len));
}

static void seal_tcp(struct packet *p)
{
    uint8_t *ip = p->b + ETH_BYTES;
    size_t header_len = (ip[0] & 15u) * 4;
    size_t tcp_len = gw_be16(ip + 2) - header_len;
    put16(ip + header_len + 16, 0);
    put16(ip + header_len + 16, tcp_sum(ip, header_len, tcp_len));
}

static struct packet ip_packet(const uint8_t src[4], const uint8_t dst[4], uint8_t protocol,
                               const void *payload, size_t payload_len)
{
    struct packet p = {.len = (uint32_t)(ETH_BYTES + IP_BYTES + payload_len)};
    memcpy(p.b, our_mac, 6);
    memcpy(p.b + 6, peer_mac, 6);
    gw_put_be16(p.b + 12, 0x0800);
    uint8_t *ip = p.b + ETH_BYTES;
    ip[0] = 0x45;
    gw_put_be16(ip + 2, (uint16_t)(IP_BYTES + payload_len));
    ip[8] = 64;
    ip[9] = protocol;
    memcpy(ip + 12, src, 4);
    memcpy(ip + 16, dst, 4);
    memcpy(ip + IP_BYTES, payload, payload_len);
    seal_ip(&p);
    return p;
}

static struct packet tcp_packet(const uint8_t src[4])
{
    uint8_t segment[TCP_BYTES + 5] = {
        0x30, 0x39, 0x14, 0x66, [12] = 0x50, [20] = 'h', 'e', 'l', 'l', 'o'};
    struct packet p = ip_packet(src, our_ip, 6, segment, sizeof(segment));
    seal_tcp(&p);
    return p;
}

static struct packet echo_packet(size_t data_len)
{
    uint8_t message[FRAME_BYTES] = {8, 0, 0, 0, 0x12, 0x34, 0, 1};
    for (size_t i = 0; i < data_len; i++)
        message[8 + i] = (uint8_t)(i * 7);
    put16(message + 2, checksum_finish(checksum_add(0, message, 8 + data_len)));
    return ip_packet(peer_ip, our_ip, 1, message, 8 + data_len);
}

static struct packet arp_packet(uint16_t operation, const uint8_t sender_mac[6],
                                const uint8_t sender_ip[4], const uint8_t target_ip[4])
{
    static const uint8_t fixed[] = {0, 1, 8, 0, 6, 4};
    struct packet p = {.len = 60}; /* padded, as on a wire */
    memcpy(p.b, operation == 1 ? broadcast_mac : our_mac, 6);
    memcpy(p.b + 6, sender_mac, 6);
    gw_put_be16(p.b + 12, 0x0806);
    memcpy(p.b + ETH_BYTES, fixed, sizeof(fixed));
    gw_put_be16(p.b + ARP_OPERATION, operation);
    memcpy(p.b + ETH_BYTES + 8, sender_mac, 6);
    memcpy(p.b + ETH_BYTES + 14, sender_ip, 4);
    memcpy(p.b + ETH_BYTES + 24, target_ip, 4);
    return p;
}

/* The frame ends where an unreadable byte would show a read beyond it in sanitizer builds. */
static void receive(const struct packet *p)
{
    uint8_t *exact = malloc(p->len ? p->len : 1);
    memcpy(exact, p->b, p->len);
    struct gw_frame f = {.data = exact, .len = p->len};
    gw_net_input(w.net, w.now_us, &f, 1);
    free(exact);
}

static void receive_ok_by_port(const struct packet *p)
{
    struct packet copy = *p;
    struct gw_frame f = {.data = copy.b, .len = copy.len, .csum_ok = true};
    gw_net_input(w.net, w.now_us, &f, 1);
}

static void hear_request_from(const uint8_t mac[6], const uint8_t ip[4])
{
    struct packet p = arp_packet(1, mac, ip, our_ip);
    receive(&p);
}

static void hear_reply_from(const uint8_t mac[6], const uint8_t ip[4])
{
    struct packet p = arp_packet(2, mac, ip, our_ip);
    receive(&p);
}

static void pass_time(uint64_t us)
{
    w.now_us += us;
    gw_net_advance(w.net, w.now_us);
}

static bool emit_pieces(const uint8_t to[4], const struct gw_bytes *pieces, unsigned count)
{
    static const uint8_t header[24] = {0x14, 0x66, 0x30, 0x39, [12] = 0x60, [20] = 2, 4, 5, 0xb4};
    struct gw_tcp_tuple tuple = {gw_ip_from_v4(our_ip), gw_ip_from_v4(to), 5222, 12345};
    struct gw_tcp_segment s = {&tuple, header, sizeof(header), pieces, count, 0};
    for (unsigned i = 0; i < count; i++)
        s.payload_len += (uint32_t)pieces[i].len;
    return gw_net_emit(w.net, &s);
}

/* Text of TCP that is cut into segments of segment_bytes; *taken of it had room. */
static bool emit_cut(const struct gw_bytes *pieces, unsigned count, uint8_t flags,
                     uint32_t segment_bytes, uint32_t *taken)
{
    uint8_t header[20] = {0x14, 0x66, 0x30, 0x39, [7] = 100, [12] = 0x50, flags};
    struct gw_tcp_tuple tuple = {gw_ip_from_v4(our_ip), gw_ip_from_v4(peer_ip), 5222, 12345};
    *taken = 0;
    for (unsigned i = 0; i < count; i++)
        *taken += (uint32_t)pieces[i].len;
    struct gw_tcp_segment s = {&tuple, header, sizeof(header), pieces, count, *taken,
                               segment_bytes, taken};
    return gw_net_emit(w.net, &s);
}

static bool emit(const uint8_t to[4])
{
    return emit_pieces(to, NULL, 0);
}

/* All that a receiver would check of a segment of ours. */
static void cr_assert_good_segment(const struct sent *s, const uint8_t mac[6], const uint8_t to[4])
{
    const uint8_t *ip = s->b + ETH_BYTES;
    cr_assert_arr_eq(s->b, mac, 6);
    cr_assert_arr_eq(s->b + 6, our_mac, 6);
    cr_assert_eq(gw_be16(s->b + 12), 0x0800);
    cr_assert_eq(ip[0], 0x45);
    cr_assert_eq(gw_be16(ip + 2), s->len - ETH_BYTES);
    cr_assert_eq(gw_be16(ip + 6), 0x4000, "don't fragment");
    cr_assert_eq(ip[8], 64);
    cr_assert_eq(ip[9], 6);
    cr_assert_eq(checksum_finish(checksum_add(0, ip, IP_BYTES)), 0);
    cr_assert_arr_eq(ip + 12, our_ip, 4);
    cr_assert_arr_eq(ip + 16, to, 4);
    cr_assert_eq(tcp_sum(ip, IP_BYTES, s->len - ETH_BYTES - IP_BYTES), 0);
}

static bool is_request_for(const struct sent *s, const uint8_t ip[4])
{
    return memcmp(s->b, broadcast_mac, 6) == 0 && gw_be16(s->b + 12) == 0x0806 &&
           gw_be16(s->b + ARP_OPERATION) == 1 && memcmp(s->b + ETH_BYTES + 24, ip, 4) == 0;
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

Test(net, refuses_addresses_that_it_cannot_have)
{
    struct gw_net *n = NULL;
    struct gw_net_config cfg = {.address = {{0x20}}, .prefix_len = 64, .neighbour_limit = 1};
    cr_assert_eq(gw_net_open(&n, &cfg, &w.port, 0), -EINVAL);
    cfg.address = gw_ip_from_v4(our_ip);
    cr_assert_eq(gw_net_open(&n, &cfg, &w.port, 0), -EINVAL, "prefix");
    cfg.prefix_len = 24;
    cfg.neighbour_limit = 0;
    cr_assert_eq(gw_net_open(&n, &cfg, &w.port, 0), -EINVAL, "no neighbours");
    cfg.neighbour_limit = 1;
    cfg.gateway = (struct gw_ip){{0x20}};
    cr_assert_eq(gw_net_open(&n, &cfg, &w.port, 0), -EINVAL, "gateway");
}

Test(net, announces_itself_when_it_opens)
{
    struct gw_net_config cfg = {gw_ip_from_v4(our_ip), 24, {{0}}, 1, {0, 0}};
    memset(&w, 0, sizeof(w));
    w.out_room = 1;
    w.port = (struct gw_port){.ops = &port_ops, .mtu = MTU};
    memcpy(w.port.mac, our_mac, 6);
    cr_assert_eq(gw_net_open(&w.net, &cfg, &w.port, 1), 0);
    cr_assert_eq(w.out_count, 1);
    cr_assert(is_request_for(&w.out[0], our_ip));
    cr_assert_arr_eq(w.out[0].b + ETH_BYTES + 14, our_ip, 4);
    gw_net_free(&w.net);
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

#define COUNTER(name) offsetof(struct gw_net_counters, name)
#define IP(offset)    (ETH_BYTES + (offset))

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
        const uint64_t *counter =
            (const uint64_t *)((const char *)gw_net_counters(w.net) + f->counter);
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
    cr_assert_eq(gw_net_next_deadline_us(w.net), UINT64_MAX);
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

Test(arp, refreshes_what_is_in_use, .init = setup, .fini = teardown)
{
    hear_request_from(peer_mac, peer_ip);
    pass_time(NEIGHBOUR_REACHABLE_US);
    w.out_count = 0;
    cr_assert(emit(peer_ip));
    cr_assert_eq(w.out_count, 1, "still fresh");
    pass_time(1);
    w.out_count = 0;
    cr_assert(emit(peer_ip));
    cr_assert_eq(w.out_count, 2, "asked, and used meanwhile");
    cr_assert(is_request_for(&w.out[0], peer_ip));
    cr_assert_good_segment(&w.out[1], peer_mac, peer_ip);
    hear_reply_from(other_mac, peer_ip);
    cr_assert_eq(COUNT(neighbours_moved), 1);
    cr_assert(emit(peer_ip));
    cr_assert_eq(w.out_count, 3);
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
        receive(&claims[i]);
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
    pass_time(SECOND);
    pass_time(2 * SECOND);
    pass_time(4 * SECOND);
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
