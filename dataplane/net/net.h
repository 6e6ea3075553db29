/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ethernet, ARP (RFC 826), IPv4 (RFC 791, 1122) and ICMP echo (RFC 792) between a port and TCP.
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

struct gw_net_config {
    struct gw_ip address; /* ours; later steps add ranges and IPv6 */
    uint8_t prefix_len;   /* of the on-link network, counted in the address's own family */
    struct gw_ip gateway; /* all zero: none */
    uint32_t neighbour_limit;
    struct gw_sipkey key; /* of the neighbour table; random at start */
};

/* Announces the address to the link: the frame waits at the port for its first flush.
 * 0, -EINVAL (addresses, limit) or -ENOMEM. The port outlives the net. */
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

/* A port with several queues brings an ARP answer to any of them. With `share` set, every ARP
 * packet to us is passed to it (at most GW_NET_SHARED_BYTES_MAX, valid during the call only), and
 * the caller gives it to the other lcores, which call gw_net_input_shared. */
#define GW_NET_SHARED_BYTES_MAX 128
typedef void (*gw_net_share_fn)(void *ctx, const uint8_t *frame, uint32_t len);
void gw_net_set_share(struct gw_net *n, gw_net_share_fn share, void *ctx);
void gw_net_input_shared(struct gw_net *n, uint64_t now_us, const uint8_t *frame, uint32_t len);

/* See net/counters.h for the list (X-macro GW_NET_COUNTERS). */
struct gw_net_counters;
const struct gw_net_counters *gw_net_counters(const struct gw_net *n);
struct gw_counter_set gw_net_counter_set(const struct gw_net *n);

#endif
