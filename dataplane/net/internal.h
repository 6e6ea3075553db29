/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef GW_NET_INTERNAL_H
#define GW_NET_INTERNAL_H

#include "../base/check.h"
#include "checksum.h"
#include "counters.h"
#include "neighbour.h"
#include "net.h"
#include "rate.h"

#define ETH_HEADER_BYTES 14u
#define ETH_TYPE_IP4     0x0800
#define ETH_TYPE_ARP     0x0806

#define IP4_HEADER_BYTES     20u
#define IP4_TTL              64
#define IP4_DONT_FRAGMENT    0x4000
#define IP4_FRAGMENT_MASK    0x3fff /* more fragments, and the offset */
#define IP_PROTOCOL_ICMP     1
#define IP_PROTOCOL_TCP      6
#define TCP_HEADER_BYTES     20u
#define TCP_HEADER_BYTES_MAX 60u
#define TCP_SEQUENCE_OFFSET  4u
#define TCP_FLAGS_OFFSET     13u
#define TCP_CHECKSUM_OFFSET  16u
#define TCP_FIN_AND_PSH      0x09u

/* Answered for anybody; a flood of more would eat the time of the sessions. */
#define ICMP_ECHO_PER_SECOND 100000
#define ICMP_ECHO_BURST      1000

_Static_assert(GW_PORT_BURST_MAX <= GW_TCP_INPUT_BURST_MAX, "a burst of the port is one of TCP");

struct gw_net {
    struct gw_port *port;
    struct gw_tcp *tcp;
    uint64_t now_us; /* of the last call that passed it */

    /* IPv4, addresses as they lie in memory */
    struct gw_ip address, gateway;
    uint32_t ip4_address, ip4_mask, ip4_gateway; /* gateway 0: none */
    struct rate echo;

    /* TCP segments of the burst in hand */
    unsigned arrival_count;
    struct gw_tcp_arrival arrivals[GW_TCP_INPUT_BURST_MAX];

    gw_net_share_fn share;
    void *share_ctx;

    struct neighbours neighbours;
    struct gw_net_counters counters;
};

/* net.c */
bool net_transmit(struct gw_net *n, const void *header, uint32_t header_len,
                  const struct gw_bytes *payload, unsigned payload_count, uint32_t gso_bytes);
/* A whole frame of ours that nobody offers again: without room at the port it is lost, counted. */
bool net_answer(struct gw_net *n, const void *frame, uint32_t len);

/* arp.c */
void arp_input(struct gw_net *n, const uint8_t *frame, uint32_t len, bool shared);
void arp_request(struct gw_net *n, const struct gw_ip *ip);
/* Tells the link which address is ours now (RFC 5227 section 3). */
void arp_announce(struct gw_net *n);

/* ipv4.c */
void ip4_open(struct gw_net *n, const struct gw_net_config *cfg);
void ip4_input(struct gw_net *n, const struct gw_frame *f);
bool ip4_emit(struct gw_net *n, const struct gw_tcp_segment *s);
/* True for sources that a packet to us cannot have (RFC 1122 section 3.2.1.3). */
bool ip4_source_is_bad(const struct gw_net *n, uint32_t source);
bool ip4_is_on_link(const struct gw_net *n, uint32_t address);
/* Writes a header for `total_len` bytes at `h`, checksum included. */
void ip4_write_header(const struct gw_net *n, uint8_t *h, uint32_t total_len, uint8_t protocol,
                      uint32_t to);

/* Its text is too much for one packet. */
static inline bool net_is_to_be_cut(const struct gw_tcp_segment *s)
{
    return s->segment_bytes != 0 && s->payload_len > s->segment_bytes;
}

/* gso.c: a segment of TCP whose text is too much for one packet, cut into packets. */
typedef bool (*gso_emit_fn)(struct gw_net *n, const struct gw_tcp_segment *s);
bool gso_emit(struct gw_net *n, const struct gw_tcp_segment *s, gso_emit_fn emit_one);

/* icmp.c: an ICMP message that lies in a frame, `message` after its Ethernet and IPv4 headers. */
void icmp4_input(struct gw_net *n, uint8_t *frame, uint8_t *message, uint32_t len);

static inline uint32_t load_raw32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

#endif
