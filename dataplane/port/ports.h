/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device as one port for each lcore: its queues alone where they bring each lcore what is its own,
 * a dispatch (dispatch.h) over them where they do not or where there are fewer.
 *
 * Needs gw_eal_init with the same device.
 */
#ifndef GW_PORT_PORTS_H
#define GW_PORT_PORTS_H

#include "dpdk.h"

enum gw_dispatch_mode {
    GW_DISPATCH_AUTO,     /* by the device when it spreads by our key over a queue for each lcore */
    GW_DISPATCH_PORT,     /* a lcore gets what its queue brings, however the device spreads */
    GW_DISPATCH_SOFTWARE, /* every frame's hash is looked at */
};

#define GW_PORTS_COUNTER_SETS 2 /* of a lcore, at most */

struct gw_ports;

struct gw_ports_config {
    const char *device; /* as given to gw_eal_init */
    uint16_t mtu;       /* IP packet bytes */
    unsigned lcore_count;
    unsigned queue_count; /* at most lcore_count; 0: one for each lcore where the device can */
    enum gw_dispatch_mode mode;
    uint8_t key[GW_STEER_KEY_BYTES]; /* random */
};

/* What gw_eal_init is to be given for it. */
uint32_t gw_ports_memory_mib(const struct gw_ports_config *cfg);
unsigned gw_ports_queues_wanted(const struct gw_ports_config *cfg);

/* 0, or negative errno after a message on standard error, as gw_dpdk_open. -ENOTSUP, too, when the
 * mode is GW_DISPATCH_PORT and there is not a queue for each lcore. Start only. */
int gw_ports_open(struct gw_ports **out, const struct gw_ports_config *cfg);
/* When no lcore uses its ports any more. */
void gw_ports_free(struct gw_ports **p);

struct gw_port *gw_ports_at(struct gw_ports *p, unsigned lcore);
/* Returns how many sets there are. */
unsigned gw_ports_counter_sets(const struct gw_ports *p, unsigned lcore,
                               struct gw_counter_set out[GW_PORTS_COUNTER_SETS]);

unsigned gw_ports_queue_count(const struct gw_ports *p);
bool gw_ports_dispatches(const struct gw_ports *p); /* in software */
const char *gw_ports_driver(const struct gw_ports *p);
/* Where a connection's segments arrive (gw_steer_lcore_of_tcp); NULL when only the device knows. */
const struct gw_steer *gw_ports_steer(const struct gw_ports *p);

#endif
