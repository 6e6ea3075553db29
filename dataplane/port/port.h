/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam to a network port: one queue pair of one port, as one lcore sees it.
 *
 * Implementations: port/dpdk.c (a queue of any DPDK ethdev), port/dispatch.c (one for each lcore over
 * queues that are fewer, or that bring other lcores' frames) and those of the tests. The choice is made
 * at start. All calls come from the owning lcore and never block.
 */
#ifndef GW_PORT_PORT_H
#define GW_PORT_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/bytes.h"

#define GW_PORT_BURST_MAX  64
#define GW_PORT_PIECES_MAX 48 /* of a segment that the port cuts */

struct gw_port;
struct gw_capture;

/* A received frame. The bytes stay valid until rx_release; they may be changed in place. */
struct gw_frame {
    uint8_t *data; /* contiguous, starts at the Ethernet header */
    uint32_t len;
    uint32_t rss_hash; /* of steer.h with the port's key; 0 when the port gave none */
    bool csum_ok;      /* the port has checked IP and TCP checksums and found them good */
    void *owner;       /* the port's own */
};

struct gw_port_ops {
    /* Take up to max (2 .. GW_PORT_BURST_MAX) frames. */
    unsigned (*rx)(struct gw_port *p, struct gw_frame *frames, unsigned max);
    /* Give frames of the last rx back, in one call or in several; all before the next rx. */
    void (*rx_release)(struct gw_port *p, struct gw_frame *frames, unsigned n);
    /* Queue one frame: header bytes (Ethernet to TCP, copied) followed by payload pieces (copied,
     * or attached where the port can; either way the caller keeps them unchanged until
     * acknowledged). False when there is no room: nothing was queued, try again in a later pass.
     *
     * gso_bytes 0: one frame, whose packet fits into the MTU. Else a TCP segment whose payload the
     * device cuts into pieces of gso_bytes, GW_PORT_PIECES_MAX at most, each with these headers
     * (lengths, sequence number, flags and checksums put right): only where tso_bytes_max allows it.
     * The checksum fields hold what tx_csum_ip and tx_csum_tcp ask for, of the segment as given. */
    bool (*tx)(struct gw_port *p, const void *header, uint32_t header_len,
               const struct gw_bytes *payload, unsigned payload_count, uint32_t gso_bytes);
    /* Hand what was queued to the device. Returns frames sent. */
    unsigned (*tx_flush)(struct gw_port *p);
};

struct gw_port {
    const struct gw_port_ops *ops;
    struct gw_capture *tap; /* NULL, or what has put its own ops in front (capture.h) */
    uint8_t mac[6];
    uint16_t mtu;     /* IP packet bytes */
    bool tx_csum_ip;  /* the port fills in the IPv4 header checksum */
    bool tx_csum_tcp; /* the port fills in the TCP checksum (the pseudo header's sum is there) */
    bool tso_v6;      /* tso_bytes_max holds for IPv6 too, not only for IPv4 */
    /* The largest IP packet (headers and payload) that tx cuts; 0: it cuts none. Never without both
     * checksums. */
    uint32_t tso_bytes_max;
};

#endif
