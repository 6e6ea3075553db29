/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between a port and TCP: Ethernet; ARP (RFC 826), IPv4 (RFC 791, 1122) and ICMP (RFC 792);
 * neighbour discovery (RFC 4861), IPv6 (RFC 8200), ICMPv6 (RFC 4443) and MLDv2 (RFC 9777).
 *
 * One `struct gw_net` is one lcore's view of one port queue. Frames come in by gw_net_input;
 * gw_net_emit is the emit callback that is given to gw_tcp_open. Same thread rules as tcp.h.
 */
#ifndef GW_NET_NET_H
#define GW_NET_NET_H

#include "../base/counters.h"
#include "../base/ip.h"
#include "../base/siphash.h"
#include "../port/port.h"
#include "../tcp/tcp.h"

struct gw_net;

#define GW_NET_ADDRESSES_MAX 8
#define GW_NET_RANGES_MAX    8
#define GW_NET_ROUTES_MAX    32

/* Everything configured is static: nothing is learned from router advertisements or redirects. The
 * arrays are read by gw_net_open only. */
struct gw_net_config {
    /* Ours, each with the prefix of the network that it is on: what is in it is on the link. With an
     * IPv6 one among them a link-local one (RFC 4291 section 2.5.6) is ours as well. */
    const struct gw_ip_prefix *addresses;
    unsigned address_count; /* 1 .. GW_NET_ADDRESSES_MAX */
    /* Every address in these is ours, too, and answered for on the link. None may hold the network or
     * broadcast address of an IPv4 network above, nor a router. */
    const struct gw_ip_prefix *ranges;
    unsigned range_count; /* at most GW_NET_RANGES_MAX */
    /* Where what is not on the link goes; the longest prefix counts. The routers are on the link and
     * of the prefix's family. */
    const struct gw_ip_route *routes;
    unsigned route_count; /* at most GW_NET_ROUTES_MAX */
    uint32_t neighbour_limit;
    struct gw_sipkey key; /* of the neighbour table and all that must not be guessed; random at start */
    /* Tell the link about the addresses at start. Of several lcores on one port one does. */
    bool announce;
};

/* What is announced waits at the port for its first flush. 0, -EINVAL (addresses, limits) or -ENOMEM.
 * The port outlives the net. */
int gw_net_open(struct gw_net **out, const struct gw_net_config *cfg, struct gw_port *port,
                uint64_t now_us);
void gw_net_free(struct gw_net **n);
/* The TCP that segments are handed to: set once, before the first input. */
void gw_net_attach(struct gw_net *n, struct gw_tcp *tcp);

/* A burst of received frames, at most GW_PORT_BURST_MAX: each is checked, answered or handed up; a
 * bad one is dropped and counted by reason. TCP gets its segments together, after the rest. */
void gw_net_input(struct gw_net *n, uint64_t now_us, const struct gw_frame *frames,
                  unsigned count);
/* Once a pass, before TCP's flush: neighbour timers, and the time for gw_net_emit. */
void gw_net_advance(struct gw_net *n, uint64_t now_us);
uint64_t gw_net_next_deadline_us(const struct gw_net *n);
/* gw_tcp_emit_fn with ctx = struct gw_net *. False only when the port has no room. A segment to an
 * unresolved neighbour starts a request and is kept (the latest one a neighbour) until the answer
 * is there; so one dead neighbour never holds up what goes to the others, and TCP sends again what
 * was lost. */
bool gw_net_emit(void *net, const struct gw_tcp_segment *s);

/* A port with several queues brings an ARP or NDP answer to any of them. With `share` set, every such
 * packet to us is passed to it (at most GW_NET_SHARED_BYTES_MAX, valid during the call only), and
 * the caller gives it to the other lcores, which call gw_net_input_shared. */
#define GW_NET_SHARED_BYTES_MAX 128
typedef void (*gw_net_share_fn)(void *ctx, const uint8_t *frame, uint32_t len);
void gw_net_set_share(struct gw_net *n, gw_net_share_fn share, void *ctx);
void gw_net_input_shared(struct gw_net *n, uint64_t now_us, const uint8_t *frame, uint32_t len);

/* ---- for operators ---- */

/* RFC 4861 section 7.3.2, and one more: docs/NET.md. */
#define GW_NET_NEIGHBOUR_STATES(X)                                                                 \
    X(FREE, "free")                                                                                \
    X(RESOLVING, "resolving") /* everybody is asked; there is no address yet */                    \
    X(REACHABLE, "reachable") /* confirmed lately */                                               \
    X(STALE, "stale")         /* not confirmed lately, and not used since */                       \
    X(DELAY, "delay")         /* used, and soon to be asked */                                     \
    X(PROBING, "probing")     /* it is asked, by the address that it has */                        \
    X(DOUBTED, "doubted")     /* everybody is asked: somebody claims another address for it */

struct gw_net_neighbour {
    struct gw_ip ip;
    uint8_t mac[6]; /* unless it is resolving */
    uint8_t state;  /* index into GW_NET_NEIGHBOUR_STATES */
    uint8_t reserved;
    uint64_t heard_us; /* ago: confirmed or, while stale or delayed, heard of */
};

/* Up to `max` neighbours behind position *at (0 starts), of a bounded part of the table. *at becomes
 * the position reached, 0 at the end. Returns how many. */
unsigned gw_net_neighbours(const struct gw_net *n, uint32_t *at, struct gw_net_neighbour *out,
                           unsigned max);

/* See net/counters.h for the list (X-macro GW_NET_COUNTERS). */
struct gw_net_counters;
const struct gw_net_counters *gw_net_counters(const struct gw_net *n);
struct gw_counter_set gw_net_counter_set(const struct gw_net *n);

#endif
