/* SPDX-License-Identifier: Apache-2.0 */
/* IPv4 in and out: RFC 791, RFC 1122 section 3.2. */
#include <arpa/inet.h>

#include "internal.h"

/* Offsets in the header */
#define IP4_TOTAL_LENGTH 2
#define IP4_FRAGMENT     6
#define IP4_PROTOCOL     9
#define IP4_CHECKSUM     10
#define IP4_SOURCE       12
#define IP4_DESTINATION  16

#define FRAME_HEADER_BYTES (ETH_HEADER_BYTES + IP4_HEADER_BYTES)

static uint32_t mask_of(uint8_t prefix_len)
{
    return prefix_len == 0 ? 0 : htonl(UINT32_MAX << (32 - prefix_len));
}

void ip4_open(struct gw_net *n, const struct gw_net_config *cfg)
{
    static const struct gw_ip none;
    n->ip4_address = load_raw32(cfg->address.b + 12);
    n->ip4_mask = mask_of(cfg->prefix_len);
    n->ip4_gateway = gw_ip_eq(&cfg->gateway, &none) ? 0 : load_raw32(cfg->gateway.b + 12);
    n->gateway = cfg->gateway;
}

bool ip4_is_on_link(const struct gw_net *n, uint32_t address)
{
    return ((address ^ n->ip4_address) & n->ip4_mask) == 0;
}

bool ip4_source_is_bad(const struct gw_net *n, uint32_t source)
{
    uint32_t host = ntohl(source);
    uint32_t top = host >> 24;
    /* This network, loopback, and multicast and all above it with the limited broadcast. */
    if (top == 0 || top == 127 || top >= 224)
        return true;
    if (source == n->ip4_address)
        return true;
    /* The network itself and its broadcast; a /31 (RFC 3021) and a /32 have none. */
    uint32_t host_part = ~n->ip4_mask;
    return ip4_is_on_link(n, source) && ntohl(host_part) > 1 &&
           ((source & host_part) == 0 || (source & host_part) == host_part);
}

/* ---- in ---- */

static uint64_t pseudo_header_sum(const uint8_t *source_and_destination, uint8_t protocol,
                                  uint32_t len)
{
    uint64_t sum =
        (uint64_t)load_raw32(source_and_destination) + load_raw32(source_and_destination + 4);
    return sum + htons((uint16_t)len) + htons(protocol);
}

static void tcp_input(struct gw_net *n, const uint8_t *ip, const uint8_t *segment, uint32_t len,
                      bool csum_ok)
{
    if (len < TCP_HEADER_BYTES) {
        GW_COUNT(n->counters.drop_tcp_short);
        return;
    }
    if (!csum_ok) {
        uint64_t sum = pseudo_header_sum(ip + IP4_SOURCE, IP_PROTOCOL_TCP, len);
        if (checksum_finish(checksum_add(sum, segment, len)) != 0) {
            GW_COUNT(n->counters.drop_tcp_checksum);
            return;
        }
    }
    GW_COUNT(n->counters.rx_tcp);
    n->arrivals[n->arrival_count++] = (struct gw_tcp_arrival){
        .src = gw_ip_from_v4(ip + IP4_SOURCE), .dst = n->address, .segment = segment, .len = len};
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
    if (!csum_ok && checksum_finish(checksum_add(0, ip, header_len)) != 0)
        return &c->drop_ip4_checksum;
    if (load_raw32(ip + IP4_DESTINATION) != n->ip4_address)
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
    switch (ip[IP4_PROTOCOL]) {
    case IP_PROTOCOL_TCP:
        tcp_input(n, ip, payload, len, f->csum_ok);
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
                      uint32_t to)
{
    h[0] = 0x45;
    h[1] = 0;
    gw_put_be16(h + IP4_TOTAL_LENGTH, (uint16_t)total_len);
    /* What cannot be fragmented needs no identification (RFC 6864 section 4.1): nothing leaks. */
    gw_put_be16(h + 4, 0);
    gw_put_be16(h + IP4_FRAGMENT, IP4_DONT_FRAGMENT);
    h[8] = IP4_TTL;
    h[IP4_PROTOCOL] = protocol;
    gw_put_be16(h + IP4_CHECKSUM, 0);
    memcpy(h + IP4_SOURCE, &n->ip4_address, 4);
    memcpy(h + IP4_DESTINATION, &to, 4);
    if (!n->port->tx_csum_ip) {
        uint16_t sum = checksum_finish(checksum_add(0, h, IP4_HEADER_BYTES));
        memcpy(h + IP4_CHECKSUM, &sum, 2);
    }
}

static void write_tcp_checksum(const struct gw_net *n, uint8_t *ip, const struct gw_tcp_segment *s)
{
    uint8_t *tcp = ip + IP4_HEADER_BYTES;
    uint64_t sum =
        pseudo_header_sum(ip + IP4_SOURCE, IP_PROTOCOL_TCP, s->header_len + s->payload_len);
    uint16_t field = checksum_fold(sum);
    if (!n->port->tx_csum_tcp) {
        /* The header is a multiple of four bytes long, so the payload starts at an even offset. */
        sum = checksum_add(sum, tcp, s->header_len);
        field = checksum_finish(checksum_add_pieces(sum, s->payload, s->payload_count));
    }
    memcpy(tcp + TCP_CHECKSUM_OFFSET, &field, 2);
}

/* Everything before the payload. The destination MAC is left to the caller. */
static void write_headers(const struct gw_net *n, uint8_t *h, const struct gw_tcp_segment *s,
                          uint32_t to)
{
    uint8_t *ip = h + ETH_HEADER_BYTES;
    memcpy(h + 6, n->port->mac, 6);
    gw_put_be16(h + 12, ETH_TYPE_IP4);
    ip4_write_header(n, ip, IP4_HEADER_BYTES + s->header_len + s->payload_len, IP_PROTOCOL_TCP, to);
    memcpy(ip + IP4_HEADER_BYTES, s->header, s->header_len);
    write_tcp_checksum(n, ip, s);
}

/* The neighbour is being asked: the segment waits for the answer, or TCP will send it again. */
static void park(struct gw_net *n, const struct gw_tcp_segment *s, uint32_t to, uint32_t entry)
{
    uint32_t len = FRAME_HEADER_BYTES + s->header_len + s->payload_len;
    uint8_t *f = neighbour_park(n, entry, len);
    if (f == NULL) {
        GW_COUNT(n->counters.drop_tx_parking_full);
        return;
    }
    write_headers(n, f, s, to);
    uint8_t *p = f + FRAME_HEADER_BYTES + s->header_len;
    for (uint32_t i = 0; i < s->payload_count; p += s->payload[i++].len)
        memcpy(p, s->payload[i].p, s->payload[i].len);
    GW_COUNT(n->counters.tx_parked);
}

bool ip4_emit(struct gw_net *n, const struct gw_tcp_segment *s)
{
    uint32_t to = load_raw32(s->tuple->remote.b + 12);
    check(s->header_len >= TCP_HEADER_BYTES && s->header_len <= TCP_HEADER_BYTES_MAX);
    check(s->header_len % 4 == 0);
    uint32_t gso_bytes = net_is_to_be_cut(s) ? s->segment_bytes : 0;
    check(IP4_HEADER_BYTES + s->header_len + s->payload_len <=
          (gso_bytes != 0 ? n->port->tso_bytes_max : n->port->mtu));
    const struct gw_ip *hop = &s->tuple->remote;
    if (!ip4_is_on_link(n, to)) {
        if (n->ip4_gateway == 0) {
            GW_COUNT(n->counters.drop_tx_no_route);
            return true;
        }
        hop = &n->gateway;
    }
    uint32_t entry;
    const uint8_t *mac = neighbour_use(n, n->now_us, hop, &entry);
    if (mac == NULL && gso_bytes != 0)
        return gso_emit(n, s, ip4_emit);
    if (mac == NULL) {
        park(n, s, to, entry);
        return true;
    }
    uint8_t header[FRAME_HEADER_BYTES + TCP_HEADER_BYTES_MAX];
    memcpy(header, mac, 6);
    write_headers(n, header, s, to);
    if (net_transmit(n, header, FRAME_HEADER_BYTES + s->header_len, s->payload, s->payload_count,
                     gso_bytes))
        return true;
    GW_COUNT(n->counters.tx_port_full);
    return false;
}
