/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A DPDK ethdev as ports (port.h): one gw_port for each queue pair, each owned by one lcore.
 *
 * Needs gw_eal_init with the same device. Each queue has a pool of packet buffers of its own, with
 * one producer and one consumer.
 */
#ifndef GW_PORT_DPDK_H
#define GW_PORT_DPDK_H

#include "../base/counters.h"
#include "port.h"

struct gw_dpdk;

struct gw_dpdk_config {
    const char *device; /* as given to gw_eal_init */
    unsigned queue_count;
    uint16_t mtu; /* IP packet bytes */
};

/* What gw_eal_init has to be given for it. */
uint32_t gw_dpdk_memory_mib(const struct gw_dpdk_config *cfg);

/* 0, or negative errno after a message on standard error: -ENODEV (no such device), -ENOTSUP (it
 * has fewer queues, or cannot do the MTU), -ENOMEM, or what the driver gave. Start only. */
int gw_dpdk_open(struct gw_dpdk **out, const struct gw_dpdk_config *cfg);
/* When no lcore uses its ports any more. */
void gw_dpdk_free(struct gw_dpdk **d);

struct gw_port *gw_dpdk_port(struct gw_dpdk *d, unsigned queue);
struct gw_counter_set gw_dpdk_counter_set(const struct gw_dpdk *d, unsigned queue);
/* The driver's name, for the log. */
const char *gw_dpdk_driver(const struct gw_dpdk *d);

#define GW_DPDK_COUNTERS(X)                                                    \
    X(rx_frames, "frames taken from the device")                               \
    X(rx_linearised, "frames that the device gave in pieces")                  \
    X(drop_rx_pieces, "frames in pieces that do not fit into one buffer")      \
    X(tx_frames, "frames that the device has taken")                           \
    X(tx_refused, "times that the device took fewer frames than it was given") \
    X(tx_queue_full, "frames refused because the device takes none")           \
    X(tx_no_buffer, "frames refused because there was no packet buffer")

#endif
