/* SPDX-License-Identifier: Apache-2.0 */
#include "segment.h"

enum {
    OPT_END = 0,
    OPT_NOP = 1,
    OPT_MSS = 2,
    OPT_SCALE = 3,
    OPT_SACK_PERMITTED = 4,
    OPT_SACK = 5,
    OPT_TIMESTAMP = 8,
};

static void read_sacks(struct tcp_options *o, const uint8_t *p, size_t len)
{
    for (; len >= 8 && o->sack_count < TCP_SACKS_MAX; p += 8, len -= 8)
        o->sacks[o->sack_count++] = (struct tcp_sack){gw_be32(p), gw_be32(p + 4)};
}

/* One option of a kind that has a length. A known kind with a wrong length counts as unknown. */
static void read_option(struct tcp_options *o, const uint8_t *p, uint8_t len)
{
    if (p[0] == OPT_MSS && len == 4) {
        o->has_mss = true;
        o->mss = gw_be16(p + 2);
    } else if (p[0] == OPT_SCALE && len == 3) {
        o->has_scale = true;
        o->scale = p[2] > TCP_SCALE_MAX ? TCP_SCALE_MAX : p[2];
    } else if (p[0] == OPT_SACK_PERMITTED && len == 2) {
        o->sack_permitted = true;
    } else if (p[0] == OPT_TIMESTAMP && len == 10) {
        o->has_timestamp = true;
        o->ts_val = gw_be32(p + 2);
        o->ts_ecr = gw_be32(p + 6);
    } else if (p[0] == OPT_SACK) {
        read_sacks(o, p + 2, len - 2u);
    }
}

/* As nearly all segments have it, and as we write it ourselves. */
static bool is_timestamp_alone(const uint8_t *p, size_t len)
{
    return len == TCP_TIMESTAMP_BYTES &&
           gw_be32(p) == (OPT_NOP << 24 | OPT_NOP << 16 | OPT_TIMESTAMP << 8 | 10);
}

static bool read_options(struct tcp_options *o, const uint8_t *p, size_t len)
{
    if (is_timestamp_alone(p, len)) {
        read_option(o, p + 2, 10);
        return true;
    }
    while (len > 0 && p[0] != OPT_END) {
        if (p[0] == OPT_NOP) {
            p++;
            len--;
            continue;
        }
        if (len < 2 || p[1] < 2 || p[1] > len)
            return false;
        read_option(o, p, p[1]);
        len -= p[1];
        p += p[1];
    }
    return true;
}

enum tcp_parse tcp_segment_parse(struct tcp_segment *out, const struct gw_ip *src,
                                 const struct gw_ip *dst, const uint8_t *p, size_t len)
{
    if (len < TCP_HEADER_BYTES)
        return TCP_PARSE_SHORT;
    size_t off = (size_t)(p[12] >> 4) * 4;
    if (off < TCP_HEADER_BYTES || off > len)
        return TCP_PARSE_OFFSET;
    out->tuple.local = *dst;
    out->tuple.remote = *src;
    out->tuple.remote_port = gw_be16(p);
    out->tuple.local_port = gw_be16(p + 2);
    out->seq = gw_be32(p + 4);
    out->ack = gw_be32(p + 8);
    out->flags = p[13] & (TCP_FIN | TCP_SYN | TCP_RST | TCP_PSH | TCP_ACK);
    out->window = gw_be16(p + 14);
    out->text = p + off;
    out->len = (uint32_t)(len - off);
    memset(&out->opt, 0, sizeof(out->opt));
    if ((out->flags & TCP_SYN) && (out->flags & (TCP_FIN | TCP_RST)))
        return TCP_PARSE_FLAGS;
    if (!read_options(&out->opt, p + TCP_HEADER_BYTES, off - TCP_HEADER_BYTES))
        return TCP_PARSE_OPTIONS;
    return TCP_PARSE_OK;
}

static uint8_t *put_pair(uint8_t *p, uint8_t kind, uint8_t len)
{
    p[0] = kind;
    p[1] = len;
    return p + 2;
}

static uint8_t *put_timestamp(uint8_t *p, const struct tcp_options *o)
{
    p[0] = OPT_NOP;
    p[1] = OPT_NOP;
    p = put_pair(p + 2, OPT_TIMESTAMP, 10);
    gw_put_be32(p, o->ts_val);
    gw_put_be32(p + 4, o->ts_ecr);
    return p + 8;
}

/* Few segments have them. */
static __attribute__((cold, noinline)) uint8_t *put_sacks(uint8_t *p, const struct tcp_options *o, size_t room)
{
    unsigned n = o->sack_count;
    while (n > 0 && 4 + n * 8 > room)
        n--;
    if (n == 0)
        return p;
    p[0] = OPT_NOP;
    p[1] = OPT_NOP;
    p = put_pair(p + 2, OPT_SACK, (uint8_t)(2 + n * 8));
    for (unsigned i = 0; i < n; i++, p += 8) {
        gw_put_be32(p, o->sacks[i].start);
        gw_put_be32(p + 4, o->sacks[i].end);
    }
    return p;
}

static uint8_t *put_syn_options(uint8_t *p, const struct tcp_options *o)
{
    if (o->has_mss) {
        p = put_pair(p, OPT_MSS, 4);
        gw_put_be16(p, o->mss);
        p += 2;
    }
    if (o->has_scale) {
        *p++ = OPT_NOP;
        p = put_pair(p, OPT_SCALE, 3);
        *p++ = o->scale;
    }
    if (o->sack_permitted) {
        *p++ = OPT_NOP;
        *p++ = OPT_NOP;
        p = put_pair(p, OPT_SACK_PERMITTED, 2);
    }
    return p;
}

uint32_t tcp_header_write(uint8_t out[TCP_HEADER_BYTES_MAX], const struct tcp_header *h)
{
    uint8_t *p = put_syn_options(out + TCP_HEADER_BYTES, &h->opt);
    if (h->opt.has_timestamp)
        p = put_timestamp(p, &h->opt);
    if (h->opt.sack_count > 0)
        p = put_sacks(p, &h->opt, (size_t)(out + TCP_HEADER_BYTES_MAX - p));
    uint32_t len = (uint32_t)(p - out);
    gw_put_be16(out, h->local_port);
    gw_put_be16(out + 2, h->remote_port);
    gw_put_be32(out + 4, h->seq);
    gw_put_be32(out + 8, h->ack);
    out[12] = (uint8_t)(len / 4 << 4);
    out[13] = h->flags;
    gw_put_be16(out + 14, h->window);
    memset(out + 16, 0, 4); /* checksum and urgent pointer */
    return len;
}
