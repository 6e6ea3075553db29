/* SPDX-License-Identifier: Apache-2.0 */
/* A gw_net between a port of arrays and a TCP that only takes notes, and frames to feed it with. */
#ifndef NET_RIG_H
#define NET_RIG_H

#include <criterion/criterion.h>
#include <stdlib.h>

#include "../../dataplane/net/checksum.h"
#include "../../dataplane/net/counters.h"
#include "../../dataplane/net/neighbour.h"
#include "../../dataplane/net/net.h"

#define SECOND        1000000ull
#define FRAME_BYTES   2048
#define FRAMES_MAX    128
#define MTU           1500
#define NEIGHBOURS    8
#define ETH_BYTES     14
#define IP_BYTES      20
#define IP6_BYTES     40
#define TCP_BYTES     20
#define ARP_OPERATION (ETH_BYTES + 6)
#define IP(offset)    (ETH_BYTES + (offset))

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

    unsigned icmp_in;
    enum gw_tcp_icmp icmp_what;
    struct gw_tcp_tuple icmp_tuple;
    uint32_t icmp_seq;

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

/* fd00:77::1, ::2, and a router ::fe; ours on the link, made of our Ethernet address */
#define NET6(last) {0xfd, 0, 0, 0x77, [15] = (last)}
static const uint8_t our_ip6[16] = NET6(1);
static const uint8_t peer_ip6[16] = NET6(2);
static const uint8_t gateway_ip6[16] = NET6(0xfe);
static const uint8_t far_ip6[16] = {0x20, 1, 0x0d, 0xb8, [15] = 7};
static const uint8_t our_local_ip6[16] = {0xfe, 0x80, [8] = 0x19, 0x35, 0x3e, 0xd8, 0x63, 0x82,
                                          0x20, 0xfb};
static const uint8_t peer_local_ip6[16] = {0xfe, 0x80, [15] = 2};
static const uint8_t all_nodes_ip6[16] = {0xff, 2, [15] = 1};
static const uint8_t all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};

static bool port_tx(struct gw_port *p, const void *header, uint32_t header_len,
                    const struct gw_bytes *payload, unsigned payload_count, uint32_t gso_bytes)
{
    cr_assert_eq(gso_bytes, 0);
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

void gw_tcp_icmp(struct gw_tcp *t, uint64_t now_us, enum gw_tcp_icmp what,
                 const struct gw_tcp_tuple *tuple, uint32_t seq)
{
    w.icmp_in++;
    w.icmp_what = what;
    w.icmp_tuple = *tuple;
    w.icmp_seq = seq;
}

static inline struct gw_ip ip6(const uint8_t b[16])
{
    struct gw_ip ip;
    memcpy(ip.b, b, 16);
    return ip;
}

static inline struct gw_ip_prefix prefix4(const uint8_t b[4], uint8_t bits)
{
    return (struct gw_ip_prefix){gw_ip_from_v4(b), (uint8_t)(96 + bits)};
}

static inline struct gw_ip_prefix prefix6(const uint8_t b[16], uint8_t bits)
{
    return (struct gw_ip_prefix){ip6(b), bits};
}

/* A port that forgets all, at 5 seconds. */
static inline void reset_world(void)
{
    gw_net_free(&w.net);
    memset(&w, 0, sizeof(w));
    w.now_us = 5 * SECOND;
    w.out_room = FRAMES_MAX;
    w.port = (struct gw_port){.ops = &port_ops, .mtu = MTU};
    memcpy(w.port.mac, our_mac, 6);
}

static inline void close_world(void)
{
    gw_net_free(&w.net);
}

#define COUNT(name)   (gw_net_counters(w.net)->name)
#define COUNTER(name) offsetof(struct gw_net_counters, name)

static inline const uint64_t *counter_at(size_t offset)
{
    return (const uint64_t *)((const char *)gw_net_counters(w.net) + offset);
}

static inline void pass_time(uint64_t us)
{
    w.now_us += us;
    gw_net_advance(w.net, w.now_us);
}

/* ---- frames ---- */

struct packet {
    uint8_t b[FRAME_BYTES];
    uint32_t len;
};

static inline void put16(uint8_t *p, uint16_t raw)
{
    memcpy(p, &raw, 2);
}

/* The frame ends where an unreadable byte would show a read beyond it in sanitizer builds. */
static inline void receive(const struct packet *p)
{
    uint8_t *exact = malloc(p->len ? p->len : 1);
    memcpy(exact, p->b, p->len);
    struct gw_frame f = {.data = exact, .len = p->len};
    gw_net_input(w.net, w.now_us, &f, 1);
    free(exact);
}

static inline void receive_ok_by_port(const struct packet *p)
{
    struct packet copy = *p;
    struct gw_frame f = {.data = copy.b, .len = copy.len, .csum_ok = true};
    gw_net_input(w.net, w.now_us, &f, 1);
}

static inline struct packet eth_packet(uint16_t type)
{
    struct packet p = {.len = ETH_BYTES};
    memcpy(p.b, our_mac, 6);
    memcpy(p.b + 6, peer_mac, 6);
    gw_put_be16(p.b + 12, type);
    return p;
}

static inline void append(struct packet *p, const void *bytes, size_t len)
{
    memcpy(p->b + p->len, bytes, len);
    p->len += (uint32_t)len;
}

/* ---- IPv4 ---- */

static inline void seal_ip(struct packet *p)
{
    uint8_t *ip = p->b + ETH_BYTES;
    put16(ip + 10, 0);
    put16(ip + 10, checksum_finish(checksum_add(0, ip, (ip[0] & 15u) * 4)));
}

static inline uint16_t tcp_sum(const uint8_t *ip, size_t header_len, size_t tcp_len)
{
    uint8_t pseudo[12];
    memcpy(pseudo, ip + 12, 8);
    pseudo[8] = 0;
    pseudo[9] = 6;
    gw_put_be16(pseudo + 10, (uint16_t)tcp_len);
    uint64_t sum = checksum_add(0, pseudo, sizeof(pseudo));
    return checksum_finish(checksum_add(sum, ip + header_len, tcp_len));
}

static inline void seal_tcp(struct packet *p)
{
    uint8_t *ip = p->b + ETH_BYTES;
    size_t header_len = (ip[0] & 15u) * 4;
    size_t tcp_len = gw_be16(ip + 2) - header_len;
    put16(ip + header_len + 16, 0);
    put16(ip + header_len + 16, tcp_sum(ip, header_len, tcp_len));
}

static inline struct packet ip_packet(const uint8_t src[4], const uint8_t dst[4], uint8_t protocol,
                                      const void *payload, size_t payload_len)
{
    struct packet p = eth_packet(0x0800);
    uint8_t ip[IP_BYTES] = {0x45, [8] = 64, [9] = protocol};
    gw_put_be16(ip + 2, (uint16_t)(IP_BYTES + payload_len));
    memcpy(ip + 12, src, 4);
    memcpy(ip + 16, dst, 4);
    append(&p, ip, sizeof(ip));
    append(&p, payload, payload_len);
    seal_ip(&p);
    return p;
}

/* "hello" from port 12345 to 5222 */
static const uint8_t hello[TCP_BYTES + 5] = {
    0x30, 0x39, 0x14, 0x66, [12] = 0x50, [20] = 'h', 'e', 'l', 'l', 'o'};

static inline struct packet tcp_packet_to(const uint8_t src[4], const uint8_t dst[4])
{
    struct packet p = ip_packet(src, dst, 6, hello, sizeof(hello));
    seal_tcp(&p);
    return p;
}

static inline struct packet tcp_packet(const uint8_t src[4])
{
    return tcp_packet_to(src, our_ip);
}

static inline struct packet echo_packet(size_t data_len)
{
    uint8_t message[FRAME_BYTES] = {8, 0, 0, 0, 0x12, 0x34, 0, 1};
    for (size_t i = 0; i < data_len; i++)
        message[8 + i] = (uint8_t)(i * 7);
    put16(message + 2, checksum_finish(checksum_add(0, message, 8 + data_len)));
    return ip_packet(peer_ip, our_ip, 1, message, 8 + data_len);
}

static inline struct packet arp_packet(uint16_t operation, const uint8_t sender_mac[6],
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

static inline void hear_request_from(const uint8_t mac[6], const uint8_t ip[4])
{
    struct packet p = arp_packet(1, mac, ip, our_ip);
    receive(&p);
}

static inline void hear_reply_from(const uint8_t mac[6], const uint8_t ip[4])
{
    struct packet p = arp_packet(2, mac, ip, our_ip);
    receive(&p);
}

/* To whom is in the frame: everybody, or one that is asked whether it is still there. */
static inline bool is_request_to(const struct sent *s, const uint8_t mac[6], const uint8_t ip[4])
{
    return memcmp(s->b, mac, 6) == 0 && gw_be16(s->b + 12) == 0x0806 &&
           gw_be16(s->b + ARP_OPERATION) == 1 && memcmp(s->b + ETH_BYTES + 24, ip, 4) == 0;
}

static inline bool is_request_for(const struct sent *s, const uint8_t ip[4])
{
    return is_request_to(s, broadcast_mac, ip);
}

/* ---- IPv6 ---- */

static inline uint16_t ip6_sum(const uint8_t *ip, uint8_t protocol, const uint8_t *payload,
                               size_t len)
{
    uint8_t pseudo[40] = {[39] = protocol};
    memcpy(pseudo, ip + 8, 32);
    gw_put_be32(pseudo + 32, (uint32_t)len);
    uint64_t sum = checksum_add(0, pseudo, sizeof(pseudo));
    return checksum_finish(checksum_add(sum, payload, len));
}

static inline struct packet ip6_packet(const uint8_t src[16], const uint8_t dst[16],
                                       uint8_t next_header, uint8_t hop_limit)
{
    struct packet p = eth_packet(0x86dd);
    if (dst[0] == 0xff) {
        p.b[0] = p.b[1] = 0x33;
        memcpy(p.b + 2, dst + 12, 4);
    }
    uint8_t ip[IP6_BYTES] = {0x60, [6] = next_header, [7] = hop_limit};
    memcpy(ip + 8, src, 16);
    memcpy(ip + 24, dst, 16);
    append(&p, ip, sizeof(ip));
    return p;
}

static inline void ip6_set_length(struct packet *p)
{
    gw_put_be16(p->b + IP(4), (uint16_t)(p->len - ETH_BYTES - IP6_BYTES));
}

/* Appends what is carried, with its checksum at this offset put right, and sets the length. */
static inline void ip6_append(struct packet *p, uint8_t protocol, const void *payload, size_t len,
                              size_t checksum_at)
{
    uint8_t *at = p->b + p->len;
    append(p, payload, len);
    put16(at + checksum_at, 0);
    put16(at + checksum_at, ip6_sum(p->b + ETH_BYTES, protocol, at, len));
    ip6_set_length(p);
}

static inline struct packet tcp6_packet_to(const uint8_t src[16], const uint8_t dst[16])
{
    struct packet p = ip6_packet(src, dst, 6, 64);
    ip6_append(&p, 6, hello, sizeof(hello), 16);
    return p;
}

static inline struct packet icmp6_packet(const uint8_t src[16], const uint8_t dst[16],
                                         uint8_t hop_limit, const void *message, size_t len)
{
    struct packet p = ip6_packet(src, dst, 58, hop_limit);
    ip6_append(&p, 58, message, len, 2);
    return p;
}

static inline void group_of(uint8_t group[16], const uint8_t ip[16])
{
    static const uint8_t solicited[13] = {0xff, 2, [11] = 1, [12] = 0xff};
    memcpy(group, solicited, 13);
    memcpy(group + 13, ip + 13, 3);
}

#define ND_SOLICITED 0x40
#define ND_OVERRIDE  0x20

/* A solicitation (135) or advertisement (136); `mac` NULL: without an option. */
static inline struct packet nd_packet(uint8_t type, uint8_t flags, const uint8_t src[16],
                                      const uint8_t dst[16], const uint8_t target[16],
                                      const uint8_t *mac)
{
    uint8_t m[32] = {type, [4] = flags, [24] = type - 134, [25] = 1};
    memcpy(m + 8, target, 16);
    if (mac != NULL)
        memcpy(m + 26, mac, 6);
    struct packet p = icmp6_packet(src, dst, 255, m, mac != NULL ? 32 : 24);
    if (mac != NULL)
        memcpy(p.b + 6, mac, 6);
    return p;
}

static inline struct packet solicitation(const uint8_t mac[6], const uint8_t src[16],
                                         const uint8_t target[16])
{
    uint8_t group[16];
    group_of(group, target);
    return nd_packet(135, 0, src, group, target, mac);
}

static inline struct packet advertisement(const uint8_t mac[6], const uint8_t target[16],
                                          uint8_t flags)
{
    return nd_packet(136, flags, target, flags & ND_SOLICITED ? our_ip6 : all_nodes_ip6, target, mac);
}

static inline void hear_solicitation(const uint8_t mac[6], const uint8_t src[16])
{
    struct packet p = solicitation(mac, src, our_ip6);
    receive(&p);
}

static inline void hear_advertisement(const uint8_t mac[6], const uint8_t target[16])
{
    struct packet p = advertisement(mac, target, ND_SOLICITED | ND_OVERRIDE);
    receive(&p);
}

/* All that a receiver would check of a neighbour discovery packet of ours. */
static inline bool is_good_nd(const struct sent *s, uint8_t type)
{
    const uint8_t *ip = s->b + ETH_BYTES, *m = ip + IP6_BYTES;
    return gw_be16(s->b + 12) == 0x86dd && memcmp(s->b + 6, our_mac, 6) == 0 && ip[6] == 58 &&
           ip[7] == 255 && gw_be16(ip + 4) == s->len - ETH_BYTES - IP6_BYTES && m[0] == type &&
           m[1] == 0 && ip6_sum(ip, 58, m, gw_be16(ip + 4)) == 0;
}

/* A question of ours to everybody who may have the address. */
static inline bool is_solicitation_for(const struct sent *s, const uint8_t ip[16])
{
    uint8_t group[16];
    group_of(group, ip);
    return is_good_nd(s, 135) && s->b[0] == 0x33 && s->b[1] == 0x33 &&
           memcmp(s->b + 2, group + 12, 4) == 0 && memcmp(s->b + IP(24), group, 16) == 0 &&
           memcmp(s->b + IP(IP6_BYTES + 8), ip, 16) == 0;
}

/* ---- segments out ---- */

static inline bool emit_from(const struct gw_ip *from, const struct gw_ip *to,
                             const struct gw_bytes *pieces, unsigned count)
{
    static const uint8_t header[24] = {0x14, 0x66, 0x30, 0x39, [12] = 0x60, [20] = 2, 4, 5, 0xb4};
    struct gw_tcp_tuple tuple = {*from, *to, 5222, 12345};
    struct gw_tcp_segment s = {&tuple, header, sizeof(header), pieces, count, 0, 0, NULL};
    for (unsigned i = 0; i < count; i++)
        s.payload_len += (uint32_t)pieces[i].len;
    return gw_net_emit(w.net, &s);
}

/* Text of TCP that is cut into segments of segment_bytes; *taken of it had room. */
static inline bool emit_cut_from(const struct gw_ip *from, const struct gw_ip *to,
                                 const struct gw_bytes *pieces, unsigned count, uint8_t flags,
                                 uint32_t segment_bytes, uint32_t *taken)
{
    uint8_t header[20] = {0x14, 0x66, 0x30, 0x39, [7] = 100, [12] = 0x50, flags};
    struct gw_tcp_tuple tuple = {*from, *to, 5222, 12345};
    *taken = 0;
    for (unsigned i = 0; i < count; i++)
        *taken += (uint32_t)pieces[i].len;
    struct gw_tcp_segment s = {&tuple, header, sizeof(header), pieces, count, *taken,
                               segment_bytes, taken};
    return gw_net_emit(w.net, &s);
}

static inline bool emit_cut(const struct gw_bytes *pieces, unsigned count, uint8_t flags,
                            uint32_t segment_bytes, uint32_t *taken)
{
    struct gw_ip from = gw_ip_from_v4(our_ip), to = gw_ip_from_v4(peer_ip);
    return emit_cut_from(&from, &to, pieces, count, flags, segment_bytes, taken);
}

static inline bool emit_pieces(const uint8_t to[4], const struct gw_bytes *pieces, unsigned count)
{
    struct gw_ip from = gw_ip_from_v4(our_ip), ip = gw_ip_from_v4(to);
    return emit_from(&from, &ip, pieces, count);
}

static inline bool emit(const uint8_t to[4])
{
    return emit_pieces(to, NULL, 0);
}

static inline bool emit6_pieces(const uint8_t to[16], const struct gw_bytes *pieces, unsigned count)
{
    struct gw_ip from = ip6(our_ip6), ip = ip6(to);
    return emit_from(&from, &ip, pieces, count);
}

static inline bool emit6(const uint8_t to[16])
{
    return emit6_pieces(to, NULL, 0);
}

/* All that a receiver would check of a segment of ours. */
static inline void cr_assert_good_segment(const struct sent *s, const uint8_t mac[6],
                                          const uint8_t to[4])
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

static inline void cr_assert_good_segment6(const struct sent *s, const uint8_t mac[6],
                                           const uint8_t to[16])
{
    const uint8_t *ip = s->b + ETH_BYTES;
    size_t len = s->len - ETH_BYTES - IP6_BYTES;
    cr_assert_arr_eq(s->b, mac, 6);
    cr_assert_arr_eq(s->b + 6, our_mac, 6);
    cr_assert_eq(gw_be16(s->b + 12), 0x86dd);
    cr_assert_eq(ip[0] >> 4, 6);
    cr_assert_eq(gw_be16(ip + 4), len);
    cr_assert_eq(ip[6], 6);
    cr_assert_eq(ip[7], 64);
    cr_assert_arr_eq(ip + 24, to, 16);
    cr_assert_eq(ip6_sum(ip, 6, ip + IP6_BYTES, len), 0);
}

#endif
