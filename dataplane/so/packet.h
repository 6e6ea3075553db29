/* SPDX-License-Identifier: Apache-2.0 */
/* IP packets around TCP segments, both families, checksums in software. */
#ifndef GW_SO_PACKET_H
#define GW_SO_PACKET_H

#include "../tcp/tcp.h"

#define PACKET_HEADER_BYTES_V4 20u
#define PACKET_HEADER_BYTES_V6 40u
#define PACKET_BYTES_MAX       65535u

struct packet {
    struct gw_ip src, dst;
    const uint8_t *segment; /* borrowed */
    size_t len;
};

/* 0, or -EBADMSG, -EPROTONOSUPPORT as gw_stack_push says. IPv4 options are stepped over; IPv6
 * extension headers are not supported. */
int packet_read(struct packet *out, const uint8_t *p, size_t len);
/* Writes a whole packet; returns its length. */
size_t packet_write(uint8_t out[PACKET_BYTES_MAX], const struct gw_tcp_segment *s);

#endif
