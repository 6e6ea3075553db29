/* SPDX-License-Identifier: Apache-2.0 */
#include "packet.h"

#include <errno.h>

#include "../net/checksum.h"

enum { PROTOCOL_TCP = 6, HOPS = 64, CHECKSUM_AT = 16 };

/* RFC 9293 section 3.1: addresses as they lie in the IP header, protocol and length. */
static uint64_t pseudo_header_sum(const uint8_t *addresses, size_t addresses_len, size_t len)
{
    uint8_t rest[8] = {0};
    gw_put_be32(rest, (uint32_t)len);
    rest[7] = PROTOCOL_TCP;
    return checksum_add(checksum_add(0, addresses, addresses_len), rest, sizeof(rest));
}

static int check_segment(const uint8_t *addresses, size_t addresses_len, const struct packet *k)
{
    uint64_t sum = pseudo_header_sum(addresses, addresses_len, k->len);
    return checksum_finish(checksum_add(sum, k->segment, k->len)) == 0 ? 0 : -EBADMSG;
}

static int read_v4(struct packet *out, const uint8_t *p, size_t len)
{
    size_t header_len = (p[0] & 15u) * 4;
    if (len < PACKET_HEADER_BYTES_V4 || header_len < PACKET_HEADER_BYTES_V4)
        return -EBADMSG;
    size_t total = gw_be16(p + 2);
    if (total < header_len || total > len || checksum_finish(checksum_add(0, p, header_len)) != 0)
        return -EBADMSG;
    bool fragment = (gw_be16(p + 6) & 0x3fff) != 0;
    if (fragment || p[9] != PROTOCOL_TCP)
        return -EPROTONOSUPPORT;
    *out = (struct packet){gw_ip_from_v4(p + 12), gw_ip_from_v4(p + 16), p + header_len,
                           total - header_len};
    return check_segment(p + 12, 8, out);
}

static int read_v6(struct packet *out, const uint8_t *p, size_t len)
{
    if (len < PACKET_HEADER_BYTES_V6)
        return -EBADMSG;
    size_t payload = gw_be16(p + 4);
    if (payload > len - PACKET_HEADER_BYTES_V6)
        return -EBADMSG;
    if (p[6] != PROTOCOL_TCP)
        return -EPROTONOSUPPORT;
    out->segment = p + PACKET_HEADER_BYTES_V6;
    out->len = payload;
    memcpy(&out->src, p + 8, 16);
    memcpy(&out->dst, p + 24, 16);
    /* A mapped address has no business on the wire: it would be taken for IPv4. */
    if (gw_ip_is_v4(&out->src) || gw_ip_is_v4(&out->dst))
        return -EBADMSG;
    return check_segment(p + 8, 32, out);
}

int packet_read(struct packet *out, const uint8_t *p, size_t len)
{
    if (len == 0)
        return -EBADMSG;
    switch (p[0] >> 4) {
    case 4:
        return read_v4(out, p, len);
    case 6:
        return read_v6(out, p, len);
    default:
        return -EBADMSG;
    }
}

static size_t write_v4(uint8_t *p, const struct gw_tcp_tuple *t, size_t segment_len)
{
    memset(p, 0, PACKET_HEADER_BYTES_V4);
    p[0] = 0x45;
    gw_put_be16(p + 2, (uint16_t)(PACKET_HEADER_BYTES_V4 + segment_len));
    gw_put_be16(p + 6, 0x4000); /* do not fragment */
    p[8] = HOPS;
    p[9] = PROTOCOL_TCP;
    memcpy(p + 12, t->local.b + 12, 4);
    memcpy(p + 16, t->remote.b + 12, 4);
    uint16_t sum = checksum_finish(checksum_add(0, p, PACKET_HEADER_BYTES_V4));
    memcpy(p + 10, &sum, sizeof(sum));
    return PACKET_HEADER_BYTES_V4;
}

static size_t write_v6(uint8_t *p, const struct gw_tcp_tuple *t, size_t segment_len)
{
    memset(p, 0, PACKET_HEADER_BYTES_V6);
    p[0] = 0x60;
    gw_put_be16(p + 4, (uint16_t)segment_len);
    p[6] = PROTOCOL_TCP;
    p[7] = HOPS;
    memcpy(p + 8, t->local.b, 16);
    memcpy(p + 24, t->remote.b, 16);
    return PACKET_HEADER_BYTES_V6;
}

size_t packet_write(uint8_t out[PACKET_BYTES_MAX], const struct gw_tcp_segment *s)
{
    size_t len = s->header_len + s->payload_len;
    bool v4 = gw_ip_is_v4(&s->tuple->remote);
    size_t at = v4 ? write_v4(out, s->tuple, len) : write_v6(out, s->tuple, len);
    uint8_t *tcp = out + at, *p = tcp + s->header_len;
    memcpy(tcp, s->header, s->header_len);
    for (uint32_t i = 0; i < s->payload_count; p += s->payload[i++].len)
        memcpy(p, s->payload[i].p, s->payload[i].len);
    const uint8_t *addresses = v4 ? out + 12 : out + 8;
    uint64_t sum = pseudo_header_sum(addresses, v4 ? 8 : 32, len);
    uint16_t field = checksum_finish(checksum_add(sum, tcp, len));
    memcpy(tcp + CHECKSUM_AT, &field, sizeof(field));
    return at + len;
}
