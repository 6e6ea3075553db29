/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ethernet, ARP (RFC 826), IPv4 (RFC 791, 1122) and ICMP echo (RFC 792) between a port and TCP.
 *
 * One `struct gw_net` is one lcore's view of one port queue. Frames come in by gw_net_input;
 * gw_net_emit is the emit callback that is given to gw_tcp_open. Same thread rules as tcp.h.
 */
#ifndef GW_NET_NET_H
#define GW_NET_NET_H

#include "../base/ip.h"
#include "../port/port.h"
#include "../tcp/tcp.h"

struct gw_net;

struct gw_net_config {
    struct gw_ip address; /* ours; later steps add ranges and IPv6 */
    uint8_t prefix_len;   /* of the on-link network, counted in the address's own family */
    struct gw_ip gateway; /* all zero: none */
    uint32_t neighbour_limit;
};

int gw_net_open(struct gw_net **out, const struct gw_net_config *cfg, struct gw_port *port,
                uint64_t now_us);
void gw_net_free(struct gw_net **n);
/* The TCP that segments are handed to: set once, before the first input. */
void gw_net_attach(struct gw_net *n, struct gw_tcp *tcp);

/* One received frame: checked, answered or handed up; a bad one is dropped and counted by reason. */
void gw_net_input(struct gw_net *n, uint64_t now_us, const struct gw_frame *f);
/* Neighbour timers. */
void gw_net_advance(struct gw_net *n, uint64_t now_us);
uint64_t gw_net_next_deadline_us(const struct gw_net *n);
/* gw_tcp_emit_fn with ctx = struct gw_net *. An unresolved neighbour starts an ARP request, and the
 * segment counts as not sent until the answer is there. */
bool gw_net_emit(void *net, const struct gw_tcp_segment *s);

struct gw_net_counters;
const struct gw_net_counters *gw_net_counters(const struct gw_net *n);

#endif
