/* SPDX-License-Identifier: Apache-2.0 */
/* What dpdk.c (frames in and out) and dpdk_open.c (start) share. */
#ifndef GW_PORT_DPDK_INT_H
#define GW_PORT_DPDK_INT_H

#include <rte_mbuf.h>

#include "dpdk.h"

#define TX_QUEUE_FRAMES 256u
#define ETHERNET_BYTES  14u
#define SPARE_BUFFERS   16u

struct queue_counters {
    GW_DPDK_COUNTERS(GW_COUNTER_FIELD)
};

struct queue {
    struct gw_port port; /* first: the port handed out is the queue */
    uint16_t device;
    uint16_t index;
    uint16_t room; /* data bytes of a buffer */
    bool hash_is_ours;
    uint64_t tx_csum_flags;
    struct rte_mempool *pool;
    struct queue_counters counters;
    unsigned spare_count;
    struct rte_mbuf *spare[SPARE_BUFFERS]; /* empty, for frames to come */
    unsigned tx_count;
    struct rte_mbuf *tx[TX_QUEUE_FRAMES];
} __attribute__((aligned(64))); /* no two lcores in one cache line */

extern const struct gw_port_ops dpdk_ops;

#endif
