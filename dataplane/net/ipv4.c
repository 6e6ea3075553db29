/* SPDX-License-Identifier: Apache-2.0 */
/* IPv4 in, and its header: RFC 791, RFC 1122 section 3.2. */
#include <arpa/inet.h>

#include "internal.h"

#define IP4_DONT_FRAGMENT 0x4000

bool ip4_source_is_bad(const struct gw_net *n, uint32_t source)
{
    uint32_t top = ntohl(source) >> 24;
    /* This network, loopback, and multicast and all above it with the limited broadcast. */
    if (top == 0 || top == 127 || top >= 224)
        return true;
    if (is_ours4(n, source))
        return true;
    /* A network itself and its broadcast; a /31 (RFC 3021) and a /32 have none. */
    const struct link4 *l = link4_of(n, source);
    if (l == NULL || ntohl(~l->net.mask) <= 1)
        return false;
    uint32_t host = source & ~l->net.mask;
    return host == 0 || host == ~l->net.mask;
}

/* ---- in ---- */

uint64_t ip4_pseudo_sum(const uint8_t *ip, uint8_t protocol, uint32_t len)
{
    uint64_t sum = (uint64_t)load_raw32(ip + IP4_SOURCE) + load_raw32(ip + IP4_DESTINATION);
    return sum + htons((uint16_t)len) + htons(protocol);
}

static bool checksum_is_good(const uint8_t *ip, uint32_t header_len)
{
    uint64_t sum = header_len == IP4_HEADER_BYTES ? checksum_of_20(ip)
                                                  : checksum_add(0, ip, header_len);
    return checksum_finish(sum) == 0;
}

/* The counter of the reason to drop a packet, or NULL when its header is in order. */
static uint64_t *header_fault(struct gw_net *n, const uint8_t *ip, uint32_t len, bool csum_ok)
{
    struct gw_net_counters *c = &n->counters;
    if (len < IP4_HEADER_BYTES)
        return &c->drop_ip4_short;
    if (ip[0] >> 4 != 4)
        return &c->drop_ip4_version;
    uint32_t header_len = (ip[0] & 15u) * 4;
    if (header_len < IP4_HEADER_BYTES || header_len > len)
        return &c->drop_ip4_header_length;
    uint32_t total_len = gw_be16(ip + IP4_TOTAL_LENGTH);
    if (total_len < header_len || total_len > len)
        return &c->drop_ip4_total_length;
    if (!csum_ok && !checksum_is_good(ip, header_len))
        return &c->drop_ip4_checksum;
    if (!is_ours4(n, load_raw32(ip + IP4_DESTINATION)))
        return &c->drop_ip4_not_for_us;
    if (ip4_source_is_bad(n, load_raw32(ip + IP4_SOURCE)))
        return &c->drop_ip4_source;
    if (gw_be16(ip + IP4_FRAGMENT) & IP4_FRAGMENT_MASK)
        return &c->drop_ip4_fragment;
    return NULL;
}

void ip4_input(struct gw_net *n, const struct gw_frame *f)
{
    uint8_t *ip = f->data + ETH_HEADER_BYTES;
    uint64_t *fault = header_fault(n, ip, f->len - ETH_HEADER_BYTES, f->csum_ok);
    if (fault != NULL) {
        GW_COUNT(*fault);
        return;
    }
    /* Options are stepped over (RFC 1122 section 3.2.1.8 lets a host ignore them); what follows the
     * total length is padding. */
    uint32_t header_len = (ip[0] & 15u) * 4;
    uint8_t *payload = ip + header_len;
    uint32_t len = gw_be16(ip + IP4_TOTAL_LENGTH) - header_len;
    struct gw_ip src, dst;
    switch (ip[IP4_PROTOCOL]) {
    case IP_PROTOCOL_TCP:
        src = gw_ip_from_v4(ip + IP4_SOURCE);
        dst = gw_ip_from_v4(ip + IP4_DESTINATION);
        net_segment(n, &src, &dst, payload, len, ip4_pseudo_sum(ip, IP_PROTOCOL_TCP, len),
                    f->csum_ok);
        break;
    case IP_PROTOCOL_ICMP:
        icmp4_input(n, f->data, payload, len);
        break;
    default:
        GW_COUNT(n->counters.drop_ip4_protocol);
    }
}

/* ---- out ---- */

void ip4_write_header(const struct gw_net *n, uint8_t *h, uint32_t total_len, uint8_t protocol,
                      const uint8_t from[4], const uint8_t to[4])
{
    h[0] = 0x45;
    h[1] = 0;
    gw_put_be16(h + IP4_TOTAL_LENGTH, (uint16_t)total_len);
    /* What cannot be fragmented needs no identification (RFC 6864 section 4.1): nothing leaks. */
    gw_put_be16(h + 4, 0);
    gw_put_be16(h + IP4_FRAGMENT, IP4_DONT_FRAGMENT);
    h[8] = IP_HOP_LIMIT;
    h[IP4_PROTOCOL] = protocol;
    gw_put_be16(h + IP4_CHECKSUM, 0);
    memcpy(h + IP4_SOURCE, from, 4);
    memcpy(h + IP4_DESTINATION, to, 4);
    if (!n->port->tx_csum_ip) {
        uint16_t sum = checksum_finish(checksum_of_20(h));
        memcpy(h + IP4_CHECKSUM, &sum, 2);
    }
}
