/* SPDX-License-Identifier: Apache-2.0 */
/* The insides of a core: for core.c (the pass), core_open.c and core_command.c. */
#ifndef GW_DATAPLANE_CORE_INT_H
#define GW_DATAPLANE_CORE_INT_H

#include "core.h"
#include "xmpp/edge.h"
#include "xmpp/home.h"

/* ARP answers come to one queue and are meant for all lcores. */
struct core_arp {
    uint32_t len;
    uint8_t frame[GW_NET_SHARED_BYTES_MAX];
};

struct gw_core {
    struct gw_lcore l;
    struct gw_port *port;
    struct gw_net *net;
    struct gw_deriver_port *deriver;
    bool poll;
    struct gw_lcore_state state;
    uint64_t stage_start;
    struct gw_command_port command;
    atomic_uint *leaving; /* of all lcores: those that have not said goodbye yet */
    struct gw_ring *arp_in[GW_LCORES_MAX], *arp_out[GW_LCORES_MAX];
    uint8_t random[4096];
    size_t random_left;
};

/* core_command.c: commands of the control thread, a bounded part a pass. */
unsigned core_commands(struct gw_core *c);

/* core_connections.c: GW_COMMAND_CONNECTIONS. */
void core_connections(struct gw_core *c, const struct gw_command *q, struct gw_command_reply *r);

#endif
