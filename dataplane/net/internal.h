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
#define ETH_TYPE_IP6     0x86dd

#define IP4_HEADER_BYTES     20u
#define IP6_HEADER_BYTES     40u
#define IP_HEADER_BYTES_MAX  IP6_HEADER_BYTES
#define IP_HOP_LIMIT         64
#define IP_PROTOCOL_ICMP     1
#define IP_PROTOCOL_TCP      6
#define IP_PROTOCOL_ICMP6    58
#define TCP_HEADER_BYTES     20u
#define TCP_HEADER_BYTES_MAX 60u
#define TCP_SEQUENCE_OFFSET  4u
#define TCP_FLAGS_OFFSET     13u
#define TCP_CHECKSUM_OFFSET  16u
#define TCP_FIN_AND_PSH      0x09u
#define IP6_MTU_MIN          1280u /* RFC 8200 section 5 */

/* Offsets in the headers */
#define IP4_TOTAL_LENGTH    2
#define IP4_FRAGMENT        6
#define IP4_PROTOCOL        9
#define IP4_CHECKSUM        10
#define IP4_SOURCE          12
#define IP4_DESTINATION     16
#define IP4_FRAGMENT_MASK   0x3fff /* more fragments, and the offset */
#define IP4_FRAGMENT_OFFSET 0x1fff
#define IP6_PAYLOAD_LENGTH  4
#define IP6_NEXT_HEADER     6
#define IP6_HOP_LIMIT       7
#define IP6_SOURCE          8
#define IP6_DESTINATION     24

/* Answered for anybody; a flood of more would eat the time of the sessions. */
#define ICMP_ECHO_PER_SECOND 100000
#define ICMP_ECHO_BURST      1000
/* Errors about segments of ours that TCP is told. */
#define ICMP_ERRORS_PER_SECOND 1000
#define ICMP_ERRORS_BURST      200

/* Addresses of ours, IPv6's link-local one with them, and the ways out. */
#define LINKS_MAX  (GW_NET_ADDRESSES_MAX + 1)
#define LOCALS_MAX (LINKS_MAX + GW_NET_RANGES_MAX)
#define HOPS_MAX   (LINKS_MAX + GW_NET_ROUTES_MAX)

_Static_assert(GW_PORT_BURST_MAX <= GW_TCP_INPUT_BURST_MAX, "a burst of the port is one of TCP");

/* Prefixes in a form that is compared quickly; as the addresses lie in memory. */
struct prefix4 {
    uint32_t ip, mask;
};
struct prefix6 {
    uint64_t ip[2], mask[2];
};

/* One of our addresses and the network that it is on. */
struct link4 {
    struct prefix4 net;
    uint32_t ip;
};
struct link6 {
    struct prefix6 net;
    struct gw_ip ip;
    bool contested; /* another station has it as well: RFC 4862 section 5.4, see nd.c */
};

/* A way out: to a neighbour itself, or to a router. */
struct hop4 {
    struct prefix4 to;
    bool on_link;
    struct gw_ip via;
};
struct hop6 {
    struct prefix6 to;
    bool on_link;
    struct gw_ip via;
};

struct gw_net {
    struct gw_port *port;
    struct gw_tcp *tcp;
    uint64_t now_us; /* of the last call that passed it */
    struct rate echo, errors;

    /* address.c. Few of each, so they are compared in a row; hops by falling prefix length. */
    struct prefix4 locals4[LOCALS_MAX];
    struct prefix6 locals6[LOCALS_MAX];
    struct link4 links4[LINKS_MAX];
    struct link6 links6[LINKS_MAX]; /* the first is the link-local one */
    struct hop4 hops4[HOPS_MAX];
    struct hop6 hops6[HOPS_MAX];
    unsigned local4_count, local6_count, link4_count, link6_count, hop4_count, hop6_count;
    uint64_t flow_key[4];

    /* nd.c, mld.c: what is still to be said at start and in answer to routers; UINT64_MAX: nothing */
    bool announce;
    unsigned greeting;
    uint64_t greet_us, mld_us;

    /* TCP segments of the burst in hand */
    unsigned arrival_count;
    struct gw_tcp_arrival arrivals[GW_TCP_INPUT_BURST_MAX];

    gw_net_share_fn share;
    void *share_ctx;

    struct neighbours neighbours;
    struct gw_net_counters counters;
};

/* net.c. The payload is payload_len bytes in all its pieces. */
bool net_transmit(struct gw_net *n, const void *header, uint32_t header_len,
                  const struct gw_bytes *payload, unsigned payload_count, uint32_t payload_len,
                  uint32_t gso_bytes);
/* A whole frame of ours that nobody offers again: without room at the port it is lost, counted. */
bool net_answer(struct gw_net *n, const void *frame, uint32_t len);
/* A TCP segment whose packet was in order, with the checksum sum of its pseudo header. */
void net_segment(struct gw_net *n, const struct gw_ip *src, const struct gw_ip *dst,
                 const uint8_t *segment, uint32_t len, uint64_t pseudo_sum, bool csum_ok);

/* address.c */
int addresses_open(struct gw_net *n, const struct gw_net_config *cfg);
/* Our link in whose network the neighbour is, or NULL. */
const struct link4 *link4_of(const struct gw_net *n, uint32_t ip);
struct link6 *link6_of(struct gw_net *n, const uint8_t ip[16]);
/* Whom a packet to this address is given to, or NULL: there is no way. */
const struct gw_ip *net_hop(const struct gw_net *n, const struct gw_ip *to);

/* arp.c */
void arp_input(struct gw_net *n, const uint8_t *frame, uint32_t len, bool shared);
/* Asks the neighbour at `mac`, or everybody (NULL). False: the port had no room. */
bool arp_request(struct gw_net *n, const struct gw_ip *ip, const uint8_t *mac);
/* Tells the link which addresses are ours now (RFC 5227 section 3). */
void arp_announce(struct gw_net *n);

/* ipv4.c */
void ip4_input(struct gw_net *n, const struct gw_frame *f);
/* True for sources that a packet to us cannot have (RFC 1122 section 3.2.1.3). */
bool ip4_source_is_bad(const struct gw_net *n, uint32_t source);
/* Writes a header for `total_len` bytes at `h`, checksum included. */
void ip4_write_header(const struct gw_net *n, uint8_t *h, uint32_t total_len, uint8_t protocol,
                      const uint8_t from[4], const uint8_t to[4]);
/* Of the header at `ip` and `len` bytes behind it. */
uint64_t ip4_pseudo_sum(const uint8_t *ip, uint8_t protocol, uint32_t len);

/* ipv6.c */
void ip6_input(struct gw_net *n, const struct gw_frame *f, bool shared);
bool ip6_source_is_bad(const struct gw_net *n, const uint8_t source[16]);
/* Writes a header for `len` bytes behind it at `h`. */
void ip6_write_header(uint8_t *h, uint32_t len, uint8_t next_header, uint8_t hop_limit,
                      uint32_t flow_label, const uint8_t from[16], const uint8_t to[16]);
/* Of the header at `ip` and `len` bytes of the protocol behind it and its extensions. */
uint64_t ip6_pseudo_sum(const uint8_t *ip, uint8_t protocol, uint32_t len);

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

/* icmp6.c */
struct icmp6 {
    uint8_t *frame;
    uint32_t frame_len;
    const uint8_t *ip; /* its IPv6 header */
    uint8_t *message;  /* behind it and its extensions */
    uint32_t len;      /* of the message */
    bool shared;       /* another lcore has answered it */
};
void icmp6_input(struct gw_net *n, const struct icmp6 *m);
/* Sends the message that lies at frame + ETH_HEADER_BYTES + IP6_HEADER_BYTES: fills in the headers
 * before it and its checksum. */
bool icmp6_send(struct gw_net *n, uint8_t *frame, uint32_t len, uint8_t hop_limit,
                const uint8_t from[16], const uint8_t to[16], const uint8_t to_mac[6]);

/* icmp_quoted.c: what a router or host says about a packet of ours. `quoted`: the IP packet that the
 * message holds; `to`: the address that the message came to. */
void icmp4_error_input(struct gw_net *n, uint8_t code, const uint8_t *quoted, uint32_t len,
                       const uint8_t to[4]);
void icmp6_error_input(struct gw_net *n, uint8_t type, uint8_t code, const uint8_t *quoted,
                       uint32_t len, const uint8_t to[16]);

/* nd.c */
void nd_open(struct gw_net *n, const struct gw_net_config *cfg);
void nd_input(struct gw_net *n, const struct icmp6 *m);
void nd_advance(struct gw_net *n);
/* Asks the neighbour at `mac`, or everybody who may have the address (NULL). False: the port had no
 * room. */
bool nd_solicit(struct gw_net *n, const struct gw_ip *ip, const uint8_t *mac);
/* RFC 4291 section 2.7.1 */
void nd_group_of(uint8_t group[16], const uint8_t ip[16]);

/* mld.c */
void mld_query_input(struct gw_net *n, const struct icmp6 *m);
/* Says which groups we listen to: again (answering a router), or as news. */
void mld_report(struct gw_net *n, bool news);
void mld_advance(struct gw_net *n);

static inline uint32_t load_raw32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint64_t load_raw64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline bool in_prefix4(const struct prefix4 *p, uint32_t ip)
{
    return ((ip ^ p->ip) & p->mask) == 0;
}

static inline bool in_prefix6(const struct prefix6 *p, uint64_t ip0, uint64_t ip1)
{
    return (((ip0 ^ p->ip[0]) & p->mask[0]) | ((ip1 ^ p->ip[1]) & p->mask[1])) == 0;
}

static inline bool is_ours4(const struct gw_net *n, uint32_t ip)
{
    for (unsigned i = 0; i < n->local4_count; i++)
        if (in_prefix4(&n->locals4[i], ip))
            return true;
    return false;
}

static inline bool is_ours6(const struct gw_net *n, const uint8_t ip[16])
{
    uint64_t ip0 = load_raw64(ip), ip1 = load_raw64(ip + 8);
    for (unsigned i = 0; i < n->local6_count; i++)
        if (in_prefix6(&n->locals6[i], ip0, ip1))
            return true;
    return false;
}

static inline bool mac_is_possible(const uint8_t mac[6])
{
    static const uint8_t nobody[6];
    return !(mac[0] & 1) && memcmp(mac, nobody, 6) != 0;
}

static inline struct gw_ip ip_from_v6(const uint8_t v6[16])
{
    struct gw_ip ip;
    memcpy(ip.b, v6, sizeof(ip.b));
    return ip;
}

#endif
