/* SPDX-License-Identifier: Apache-2.0 */
/* Segments out: the way to the neighbour, the headers before the segment, the checksum. */
#include "internal.h"

#define TCP_HEADER_BYTES_USUAL 32u /* with a timestamp */
#define FRAME_HEADER_BYTES_MAX (ETH_HEADER_BYTES + IP_HEADER_BYTES_MAX + TCP_HEADER_BYTES_MAX)

/* RFC 6437: the same for all packets of a connection, evenly spread, not to be guessed from outside,
 * and with nothing in it of our other keys. One multiplication each for addresses and ports. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t flow_label(const struct gw_net *n, const struct gw_tcp_tuple *t)
{
    uint64_t ports = (uint64_t)t->local_port << 16 | t->remote_port;
    uint64_t h = mix(load_raw64(t->remote.b) ^ n->flow_key[0],
                     load_raw64(t->remote.b + 8) ^ n->flow_key[1]);
    h ^= mix(load_raw64(t->local.b) ^ n->flow_key[2], load_raw64(t->local.b + 8) ^ n->flow_key[3]);
    h = mix(h ^ n->flow_key[1], ports ^ n->flow_key[2]);
    uint32_t label = (uint32_t)(h >> 44);
    return label != 0 ? label : 1; /* 0 says that there is none */
}

static void write_tcp_checksum(const struct gw_net *n, uint8_t *tcp, uint64_t sum,
                               const struct gw_tcp_segment *s)
{
    uint16_t field = checksum_fold(sum);
    if (!n->port->tx_csum_tcp) {
        /* The header is a multiple of four bytes long, so the payload starts at an even offset. */
        sum = checksum_add(sum, tcp, s->header_len);
        field = checksum_finish(checksum_add_pieces(sum, s->payload, s->payload_count));
    }
    memcpy(tcp + TCP_CHECKSUM_OFFSET, &field, 2);
}

/* A copy of a length that is known is no call. */
static void put_tcp_header(uint8_t *tcp, const struct gw_tcp_segment *s)
{
    if (s->header_len == TCP_HEADER_BYTES_USUAL)
        memcpy(tcp, s->header, TCP_HEADER_BYTES_USUAL);
    else
        memcpy(tcp, s->header, s->header_len);
}

/* Everything before the payload but the destination MAC, which is left to the caller. Returns its
 * length. */
static uint32_t write_headers(const struct gw_net *n, uint8_t *h, const struct gw_tcp_segment *s)
{
    const struct gw_tcp_tuple *t = s->tuple;
    uint8_t *ip = h + ETH_HEADER_BYTES, *tcp;
    uint32_t len = s->header_len + s->payload_len;
    uint64_t sum;
    memcpy(h + 6, n->port->mac, 6);
    if (gw_ip_is_v4(&t->remote)) {
        gw_put_be16(h + 12, ETH_TYPE_IP4);
        ip4_write_header(n, ip, IP4_HEADER_BYTES + len, IP_PROTOCOL_TCP, t->local.b + 12,
                         t->remote.b + 12);
        sum = ip4_pseudo_sum(ip, IP_PROTOCOL_TCP, len);
        tcp = ip + IP4_HEADER_BYTES;
    } else {
        gw_put_be16(h + 12, ETH_TYPE_IP6);
        ip6_write_header(ip, len, IP_PROTOCOL_TCP, IP_HOP_LIMIT, flow_label(n, t), t->local.b,
                         t->remote.b);
        sum = ip6_pseudo_sum(ip, IP_PROTOCOL_TCP, len);
        tcp = ip + IP6_HEADER_BYTES;
    }
    put_tcp_header(tcp, s);
    write_tcp_checksum(n, tcp, sum, s);
    return (uint32_t)(tcp - h) + s->header_len;
}

/* The neighbour is being asked: the segment waits for the answer, or TCP will send it again. */
static void park(struct gw_net *n, const struct gw_tcp_segment *s, uint32_t len, uint32_t entry)
{
    uint8_t *f = neighbour_park(n, entry, ETH_HEADER_BYTES + len);
    if (f == NULL) {
        GW_COUNT(n->counters.drop_tx_parking_full);
        return;
    }
    uint8_t *p = f + write_headers(n, f, s);
    for (uint32_t i = 0; i < s->payload_count; p += s->payload[i++].len)
        memcpy(p, s->payload[i].p, s->payload[i].len);
    GW_COUNT(n->counters.tx_parked);
}

static uint32_t packet_len(const struct gw_tcp_segment *s)
{
    bool v4 = gw_ip_is_v4(&s->tuple->remote);
    return (v4 ? IP4_HEADER_BYTES : IP6_HEADER_BYTES) + s->header_len + s->payload_len;
}

/* One packet, or with gso_bytes one that the port cuts. */
static bool emit_packet(struct gw_net *n, const struct gw_tcp_segment *s)
{
    uint32_t len = packet_len(s);
    uint32_t gso_bytes = net_is_to_be_cut(s) ? s->segment_bytes : 0;
    check(s->header_len >= TCP_HEADER_BYTES && s->header_len <= TCP_HEADER_BYTES_MAX);
    check(s->header_len % 4 == 0);
    check(len <= (gso_bytes != 0 ? n->port->tso_bytes_max : n->port->mtu));
    const struct gw_ip *hop = net_hop(n, &s->tuple->remote);
    if (hop == NULL) {
        GW_COUNT(n->counters.drop_tx_no_route);
        return true;
    }
    uint32_t entry;
    const uint8_t *mac = neighbour_use(n, n->now_us, hop, &entry);
    if (mac == NULL && gso_bytes != 0)
        return gso_emit(n, s, emit_packet);
    if (mac == NULL) {
        park(n, s, len, entry);
        return true;
    }
    uint8_t header[FRAME_HEADER_BYTES_MAX];
    memcpy(header, mac, 6);
    uint32_t header_len = write_headers(n, header, s);
    if (net_transmit(n, header, header_len, s->payload, s->payload_count, s->payload_len,
                     gso_bytes))
        return true;
    GW_COUNT(n->counters.tx_port_full);
    return false;
}

static bool port_cuts(const struct gw_net *n, const struct gw_tcp_segment *s)
{
    return packet_len(s) <= n->port->tso_bytes_max &&
           s->payload_len <= GW_PORT_PIECES_MAX * s->segment_bytes &&
           (gw_ip_is_v4(&s->tuple->remote) || n->port->tso_v6);
}

bool gw_net_emit(void *net, const struct gw_tcp_segment *s)
{
    struct gw_net *n = net;
    if (net_is_to_be_cut(s) && !port_cuts(n, s))
        return gso_emit(n, s, emit_packet);
    return emit_packet(n, s);
}
