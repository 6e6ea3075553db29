/* SPDX-License-Identifier: Apache-2.0 */
/* A segment's header and options, read and written (RFC 9293 section 3.1). */
#ifndef GW_TCP_SEGMENT_H
#define GW_TCP_SEGMENT_H

#include "tcp.h"

#define TCP_HEADER_BYTES     20u
#define TCP_HEADER_BYTES_MAX 60u
#define TCP_SACKS_MAX        4u
#define TCP_SCALE_MAX        14u /* RFC 7323 section 2.3 */
/* A negotiated timestamp takes this much of every segment. */
#define TCP_TIMESTAMP_BYTES  12u

enum tcp_flag {
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
};

struct tcp_sack {
    uint32_t start, end;
};

struct tcp_options {
    bool has_mss, has_scale, has_timestamp, sack_permitted;
    uint8_t scale;
    uint8_t sack_count;
    uint16_t mss;
    uint32_t ts_val, ts_ecr;
    struct tcp_sack sacks[TCP_SACKS_MAX];
};

struct tcp_segment {
    struct gw_tcp_tuple tuple; /* seen from us: the sender is the remote */
    uint32_t seq, ack;
    uint16_t window; /* as in the header, not scaled */
    uint8_t flags;
    const uint8_t *text;
    uint32_t len;
    struct tcp_options opt;
};

enum tcp_parse { TCP_PARSE_OK, TCP_PARSE_SHORT, TCP_PARSE_OFFSET, TCP_PARSE_OPTIONS, TCP_PARSE_FLAGS };

/* Reads a segment; what it points to is borrowed from `p`. */
enum tcp_parse tcp_segment_parse(struct tcp_segment *out, const struct gw_ip *src,
                                 const struct gw_ip *dst, const uint8_t *p, size_t len);

/* Length in sequence space: SYN and FIN count one each (RFC 9293 section 3.4). */
static inline uint32_t tcp_segment_span(const struct tcp_segment *s)
{
    return s->len + ((s->flags & TCP_SYN) != 0) + ((s->flags & TCP_FIN) != 0);
}

struct tcp_header {
    uint16_t local_port, remote_port;
    uint32_t seq, ack;
    uint8_t flags;
    uint16_t window;
    struct tcp_options opt;
};

/* Writes header and options, checksum zero; returns its length, a multiple of four. SACK blocks that
 * do not fit are left out. */
uint32_t tcp_header_write(uint8_t out[TCP_HEADER_BYTES_MAX], const struct tcp_header *h);

#endif
