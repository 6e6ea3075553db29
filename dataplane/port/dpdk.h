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
#include "steer.h"

struct gw_dpdk;

struct gw_dpdk_config {
    const char *device; /* as given to gw_eal_init */
    unsigned queue_count;
    bool fewer_queues; /* take fewer when the device has fewer */
    uint16_t mtu;      /* IP packet bytes */
    /* Who the frames are for, and the key to spread them by (GW_STEER_KEY_BYTES; not looked at with
     * one lcore). */
    unsigned lcore_count;
    const uint8_t *rss_key;
};

/* What gw_eal_init has to be given for it. */
uint32_t gw_dpdk_memory_mib(const struct gw_dpdk_config *cfg);

/* 0, or negative errno after a message on standard error: -ENODEV (no such device), -ENOTSUP (it
 * has fewer queues, or cannot do the MTU), -ENOMEM, or what the driver gave. Start only. */
int gw_dpdk_open(struct gw_dpdk **out, const struct gw_dpdk_config *cfg);
/* When no lcore uses its ports any more. */
void gw_dpdk_free(struct gw_dpdk **d);

unsigned gw_dpdk_queue_count(const struct gw_dpdk *d);
/* Length of the device's table from hash to queue (for gw_steer_init) when it spreads TCP by our key
 * and has taken the table in which the queue of lcore i is i modulo queues; else 0: which frame comes
 * to which queue is then not known, and frames carry no hash. */
unsigned gw_dpdk_rss_slots(const struct gw_dpdk *d);

struct gw_port *gw_dpdk_port(struct gw_dpdk *d, unsigned queue);
struct gw_counter_set gw_dpdk_counter_set(const struct gw_dpdk *d, unsigned queue);
/* The driver's name, for the log. */
const char *gw_dpdk_driver(const struct gw_dpdk *d);

#define GW_DPDK_COUNTERS(X)                                                    \
    X(rx_frames, "frames taken from the device")                               \
    X(rx_linearised, "frames that the device gave in pieces")                  \
    X(drop_rx_pieces, "frames in pieces that do not fit into one buffer")      \
    X(tx_frames, "frames that the device has taken")                           \
    X(tx_cut, "segments given to the device to be cut into frames")            \
    X(tx_refused, "times that the device took fewer frames than it was given") \
    X(tx_queue_full, "frames refused because the device takes none")           \
    X(tx_no_buffer, "frames refused because there was no packet buffer")

#endif
