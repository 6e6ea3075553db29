/* SPDX-License-Identifier: Apache-2.0 */
#include "packet.h"

#include <arpa/inet.h>

/* RFC 1071, word by word: the code under test has a faster one. */
static uint32_t add_words(uint32_t sum, const uint8_t *p, size_t len)
{
    for (; len > 1; p += 2, len -= 2)
        sum += gw_be16(p);
    if (len == 1)
        sum += (uint32_t)p[0] << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static uint32_t segment_sum(bool v6, const uint8_t *ip, const uint8_t *tcp, size_t len)
{
    uint32_t sum = v6 ? add_words(0, ip + 8, 32) : add_words(0, ip + 12, 8);
    sum = add_words(sum, (const uint8_t[]){0, 6, (uint8_t)(len >> 8), (uint8_t)len}, 4);
    return add_words(sum, tcp, len);
}

static size_t make_v4(uint8_t *p, const struct packet_view *v, size_t len)
{
    memset(p, 0, 20);
    p[0] = 0x45;
    gw_put_be16(p + 2, (uint16_t)(20 + len));
    p[8] = 64;
    p[9] = 6;
    inet_pton(AF_INET, v->src, p + 12);
    inet_pton(AF_INET, v->dst, p + 16);
    gw_put_be16(p + 10, (uint16_t)~add_words(0, p, 20));
    return 20;
}

static size_t make_v6(uint8_t *p, const struct packet_view *v, size_t len)
{
    memset(p, 0, 40);
    p[0] = 0x60;
    gw_put_be16(p + 4, (uint16_t)len);
    p[6] = 6;
    p[7] = 64;
    inet_pton(AF_INET6, v->src, p + 8);
    inet_pton(AF_INET6, v->dst, p + 24);
    return 40;
}

size_t packet_make(uint8_t out[PACKET_BYTES_MAX], const struct packet_view *v)
{
    size_t options = (v->options_len + 3) / 4 * 4, len = 20 + options + v->text_len;
    size_t at = v->v6 ? make_v6(out, v, len) : make_v4(out, v, len);
    uint8_t *p = out + at;
    memset(p, 0, 20 + options);
    gw_put_be16(p, v->src_port);
    gw_put_be16(p + 2, v->dst_port);
    gw_put_be32(p + 4, v->seq);
    gw_put_be32(p + 8, v->ack);
    p[12] = (uint8_t)((20 + options) / 4 << 4);
    p[13] = v->flags;
    gw_put_be16(p + 14, v->window);
    gw_put_be16(p + 18, v->urgent);
    memcpy(p + 20, v->options, v->options_len);
    memcpy(p + 20 + options, v->text, v->text_len);
    gw_put_be16(p + 16, (uint16_t)~segment_sum(v->v6, out, p, len));
    return at + len;
}

bool packet_view(struct packet_view *out, const uint8_t *p, size_t len)
{
    *out = (struct packet_view){.v6 = p[0] >> 4 == 6};
    size_t header = out->v6 ? 40 : 20;
    if (len < header + 20)
        return false;
    size_t said = out->v6 ? gw_be16(p + 4) + header : gw_be16(p + 2);
    bool good = said == len && p[0] == (out->v6 ? 0x60 : 0x45) && p[out->v6 ? 6 : 9] == 6;
    good = good && (out->v6 || add_words(0, p, 20) == 0xffff);
    const uint8_t *t = p + header;
    size_t off = (size_t)(t[12] >> 4) * 4;
    len -= header;
    if (off < 20 || off > len)
        return false;
    out->src_port = gw_be16(t);
    out->dst_port = gw_be16(t + 2);
    out->seq = gw_be32(t + 4);
    out->ack = gw_be32(t + 8);
    out->flags = t[13];
    out->window = gw_be16(t + 14);
    out->urgent = gw_be16(t + 18);
    out->options = t + 20;
    out->options_len = off - 20;
    out->text = t + off;
    out->text_len = len - off;
    return good && segment_sum(out->v6, p, t, len) == 0xffff;
}

void packet_timestamp(const struct packet_view *v, uint32_t *val)
{
    for (size_t i = 0; i + 1 < v->options_len; i += v->options[i] <= 1 ? 1 : v->options[i + 1])
        if (v->options[i] == 8)
            *val = gw_be32(v->options + i + 2);
}
