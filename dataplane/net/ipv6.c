/* SPDX-License-Identifier: Apache-2.0 */
/* IPv6 in, and its header: RFC 8200. */
#include <arpa/inet.h>

#include "internal.h"

#define EXTENSION_HOP_BY_HOP  0
#define EXTENSION_ROUTING     43
#define EXTENSION_FRAGMENT    44
#define EXTENSION_DESTINATION 60
#define EXTENSION_UNIT_BYTES  8u
/* What a packet may carry before its payload; nobody needs more, and each costs time. */
#define EXTENSIONS_MAX      4u
#define EXTENSION_BYTES_MAX 128u

bool ip6_source_is_bad(const struct gw_net *n, const uint8_t source[16])
{
    static const struct gw_ip loopback = {{[15] = 1}}, none;
    struct gw_ip ip = ip_from_v6(source);
    /* A mapped one (RFC 4291 section 2.5.5.2) would be taken for an IPv4 address above. */
    return source[0] == 0xff || gw_ip_is_v4(&ip) || gw_ip_eq(&ip, &none) ||
           gw_ip_eq(&ip, &loopback) || is_ours6(n, source);
}

/* ---- in ---- */

uint64_t ip6_pseudo_sum(const uint8_t *ip, uint8_t protocol, uint32_t len)
{
    uint64_t sum = checksum_add64(load_raw64(ip + IP6_SOURCE), load_raw64(ip + IP6_SOURCE + 8));
    sum = checksum_add64(sum, load_raw64(ip + IP6_DESTINATION));
    sum = checksum_add64(sum, load_raw64(ip + IP6_DESTINATION + 8));
    return checksum_add64(sum, (uint64_t)htonl(len) + htonl(protocol));
}

/* Neighbours ask for our addresses by groups that we listen to, and routers ask all nodes. */
static bool is_our_group(const struct gw_net *n, const uint8_t group[16])
{
    static const struct gw_ip all_nodes = {{0xff, 0x02, [15] = 1}};
    static const uint8_t solicited[13] = {0xff, 0x02, [11] = 1, [12] = 0xff};
    struct gw_ip ip = ip_from_v6(group);
    if (gw_ip_eq(&ip, &all_nodes))
        return true;
    /* Which of our addresses is meant, if any, is in the message. */
    return n->local6_count > 0 && memcmp(group, solicited, sizeof(solicited)) == 0;
}

static bool is_for_us(const struct gw_net *n, const uint8_t *frame, const uint8_t *ip)
{
    const uint8_t *to = ip + IP6_DESTINATION;
    /* A multicast frame holds a multicast packet and no other does. */
    if (frame[0] & 1)
        return is_our_group(n, to);
    return is_ours6(n, to);
}

/* To a group one speaks also without an address, to ask for it (RFC 4862 section 5.4.2), and another
 * station that has ours says so there. */
static bool may_be_heard(const struct gw_net *n, const uint8_t *frame, const uint8_t *source)
{
    static const uint8_t none[16];
    return (frame[0] & 1) && (memcmp(source, none, 16) == 0 || is_ours6(n, source));
}

static uint64_t *header_fault(struct gw_net *n, const uint8_t *frame, uint32_t len)
{
    struct gw_net_counters *c = &n->counters;
    const uint8_t *ip = frame + ETH_HEADER_BYTES;
    if (len < IP6_HEADER_BYTES)
        return &c->drop_ip6_short;
    if (ip[0] >> 4 != 6)
        return &c->drop_ip6_version;
    if (gw_be16(ip + IP6_PAYLOAD_LENGTH) > len - IP6_HEADER_BYTES)
        return &c->drop_ip6_payload_length;
    if (!is_for_us(n, frame, ip))
        return &c->drop_ip6_not_for_us;
    if (ip6_source_is_bad(n, ip + IP6_SOURCE) && !may_be_heard(n, frame, ip + IP6_SOURCE))
        return &c->drop_ip6_source;
    return NULL;
}

/* Whether options may be passed over that we do not know, which is all but padding (RFC 8200 section
 * 4.2): the two upper bits of their type say so. */
static bool options_may_be_skipped(const uint8_t *p, const uint8_t *end)
{
    while (p < end) {
        if (p[0] == 0) { /* Pad1 has no length */
            p++;
            continue;
        }
        if (p[0] >> 6 != 0 || end - p < 2 || end - p - 2 < p[1])
            return false;
        p += 2 + p[1];
    }
    return true;
}

struct upper {
    uint8_t protocol;
    uint8_t *payload;
    uint32_t len;
};

/* The extension header at u->payload is passed over: NULL, or the counter of why it cannot be. */
static uint64_t *skip_extension(struct gw_net *n, struct upper *u)
{
    struct gw_net_counters *c = &n->counters;
    const uint8_t *p = u->payload;
    if (u->len < EXTENSION_UNIT_BYTES)
        return &c->drop_ip6_extension;
    if (u->protocol == EXTENSION_FRAGMENT)
        return &c->drop_ip6_fragment;
    uint32_t bytes = (p[1] + 1u) * EXTENSION_UNIT_BYTES;
    if (bytes > u->len)
        return &c->drop_ip6_extension;
    /* Section 4.4: with no segments left the packet has arrived, whatever the type. */
    if (u->protocol == EXTENSION_ROUTING ? p[3] != 0 : !options_may_be_skipped(p + 2, p + bytes))
        return &c->drop_ip6_option;
    u->protocol = p[0];
    u->payload += bytes;
    u->len -= bytes;
    return NULL;
}

/* To the payload. Hop-by-hop options come first or not at all. */
static uint64_t *skip_extensions(struct gw_net *n, struct upper *u)
{
    const uint8_t *start = u->payload;
    for (unsigned i = 0;; i++) {
        uint8_t p = u->protocol;
        bool extension = (p == EXTENSION_HOP_BY_HOP && i == 0) || p == EXTENSION_ROUTING ||
                         p == EXTENSION_FRAGMENT || p == EXTENSION_DESTINATION;
        if (!extension)
            return NULL;
        uint64_t *fault = i == EXTENSIONS_MAX ? &n->counters.drop_ip6_extension
                                              : skip_extension(n, u);
        if (fault != NULL)
            return fault;
        if (u->payload - start > (ptrdiff_t)EXTENSION_BYTES_MAX)
            return &n->counters.drop_ip6_extension;
    }
}

static void upper_input(struct gw_net *n, const struct gw_frame *f, const struct upper *u,
                        bool shared)
{
    const uint8_t *ip = f->data + ETH_HEADER_BYTES;
    if (u->protocol == IP_PROTOCOL_ICMP6) {
        icmp6_input(n, &(struct icmp6){f->data, f->len, ip, u->payload, u->len, shared});
    } else if (f->data[0] & 1) {
        GW_COUNT(n->counters.drop_ip6_not_for_us);
    } else if (u->protocol == IP_PROTOCOL_TCP) {
        struct gw_ip src = ip_from_v6(ip + IP6_SOURCE), dst = ip_from_v6(ip + IP6_DESTINATION);
        net_segment(n, &src, &dst, u->payload, u->len,
                    ip6_pseudo_sum(ip, IP_PROTOCOL_TCP, u->len), f->csum_ok);
    } else {
        GW_COUNT(n->counters.drop_ip6_protocol);
    }
}

void ip6_input(struct gw_net *n, const struct gw_frame *f, bool shared)
{
    uint8_t *ip = f->data + ETH_HEADER_BYTES;
    uint64_t *fault = header_fault(n, f->data, f->len - ETH_HEADER_BYTES);
    if (fault == NULL) {
        struct upper u = {ip[IP6_NEXT_HEADER], ip + IP6_HEADER_BYTES,
                          gw_be16(ip + IP6_PAYLOAD_LENGTH)};
        fault = skip_extensions(n, &u);
        if (fault == NULL) {
            upper_input(n, f, &u, shared);
            return;
        }
    }
    GW_COUNT(*fault);
}

/* ---- out ---- */

void ip6_write_header(uint8_t *h, uint32_t len, uint8_t next_header, uint8_t hop_limit,
                      uint32_t flow_label, const uint8_t from[16], const uint8_t to[16])
{
    gw_put_be32(h, 0x60000000u | flow_label);
    gw_put_be16(h + IP6_PAYLOAD_LENGTH, (uint16_t)len);
    h[IP6_NEXT_HEADER] = next_header;
    h[IP6_HOP_LIMIT] = hop_limit;
    memcpy(h + IP6_SOURCE, from, 16);
    memcpy(h + IP6_DESTINATION, to, 16);
}
