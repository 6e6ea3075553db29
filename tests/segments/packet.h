/* SPDX-License-Identifier: Apache-2.0 */
/* TCP in IP as the peer sees it, written apart from the code under test. */
#ifndef SEGMENTS_PACKET_H
#define SEGMENTS_PACKET_H

#include "../../dataplane/base/bytes.h"

enum { PACKET_BYTES_MAX = 65536, PACKET_SYN = 0x02, PACKET_RST = 0x04, PACKET_ACK = 0x10 };

struct packet_view {
    bool v6;
    const char *src, *dst; /* text; only for packet_make */
    uint16_t src_port, dst_port;
    uint32_t seq, ack;
    uint8_t flags;
    uint16_t window, urgent;
    const uint8_t *options, *text; /* borrowed */
    size_t options_len, text_len;
};

/* Options are filled up to a multiple of four. Returns the length. */
size_t packet_make(uint8_t out[PACKET_BYTES_MAX], const struct packet_view *v);
/* False when a length or checksum is wrong; what could be read is in *out. */
bool packet_view(struct packet_view *out, const uint8_t *p, size_t len);
/* The timestamp's value, when there is one. */
void packet_timestamp(const struct packet_view *v, uint32_t *val);

#endif
