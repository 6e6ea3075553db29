/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of a link of the world for one TCP stack: what it emits becomes packets, cut as a port with
 * segmentation would cut them, and packets become its input. A packet is both addresses, the segment,
 * and a checksum that no damage survives.
 */
#ifndef SIM_NIC_TCP_H
#define SIM_NIC_TCP_H

#include "../../dataplane/tcp/tcp.h"
#include "capture.h"
#include "world.h"

struct nic_tcp {
    struct world *world;
    unsigned link_out;
    struct gw_tcp *tcp;
    struct capture *capture; /* of what is sent; NULL: none */
    uint32_t refuse_ppm;     /* chance that there is no room for a segment */
};

/* gw_tcp_emit_fn; ctx is the nic_tcp. */
bool nic_tcp_emit(void *ctx, const struct gw_tcp_segment *seg);
/* world_deliver_fn of the link that comes in; ctx is the nic_tcp. */
void nic_tcp_deliver(void *ctx, const uint8_t *packet, size_t len);

#endif
