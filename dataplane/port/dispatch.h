/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports over ports (port.h): one for each lcore, whatever the device has.
 *
 * The lcores from 0 on own a queue each, as many as there are. They receive, and hand the frames of
 * other lcores (steer.h) over to them. A lcore without a queue receives only what is handed to it,
 * and its frames leave by the lcore that receives for it: lcore modulo queues. Lcores with a queue
 * send by it.
 *
 * - Order: all frames of a connection come by one queue and go by one handover, so they stay in
 *   order as long as the device keeps them on one queue.
 * - Frames that are nobody's (ARP) stay with the lcore whose queue brought them.
 * - Full, on the way in: the frame is dropped, counted; TCP repairs it. On the way out: tx says that
 *   there is no room, and TCP offers it again. Nobody waits for anybody.
 */
#ifndef GW_PORT_DISPATCH_H
#define GW_PORT_DISPATCH_H

#include "../base/counters.h"
#include "port.h"
#include "steer.h"

/* Between two lcores, one way: at a million small frames a second two milliseconds' worth. */
#define GW_DISPATCH_BYTES (512u << 10)

struct gw_dispatch;

struct gw_dispatch_config {
    unsigned lcore_count; /* that of steer */
    unsigned queue_count; /* 1 .. lcore_count */
    struct gw_port *const *queues;
    const struct gw_steer *steer; /* the caller's; outlives the dispatch */
};

/* 0 or -ENOMEM. Start only. The queues outlive it. */
int gw_dispatch_open(struct gw_dispatch **out, const struct gw_dispatch_config *cfg);
/* When no lcore uses its ports any more. */
void gw_dispatch_free(struct gw_dispatch **d);

struct gw_port *gw_dispatch_port(struct gw_dispatch *d, unsigned lcore);
struct gw_counter_set gw_dispatch_counter_set(const struct gw_dispatch *d, unsigned lcore);

#define GW_DISPATCH_COUNTERS(X)                                                                \
    X(rx_kept, "frames that the device brought to the right lcore")                            \
    X(rx_handed_over, "frames handed to the lcore that they belong to")                        \
    X(rx_taken, "frames taken from the lcore that received them")                              \
    X(drop_rx_full, "frames dropped because their lcore had not taken the earlier ones")       \
    X(tx_handed_over, "frames handed to the lcore that sends for this one")                    \
    X(tx_taken, "frames sent for lcores without a queue")                                      \
    X(tx_full, "frames refused because the lcore that sends had not taken the earlier ones")

#endif
