/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local port of a connect that names none (RFC 6056, algorithm 3): one row of ports, entered for
 * each destination at a place that nobody outside can tell, and gone along from connect to connect.
 * So a port comes again as late as it can, while its connection may still be in TIME-WAIT. When none is
 * free, one whose TIME-WAIT a connect may end (RFC 6191) is as good.
 */
#include "stack.h"

/* For each connect. With 64 cores on one port all but one in 3,000 find their core among so many. */
#define DRAWS_MAX 512u

static uint32_t place_of(const struct gw_tcp *t, const struct gw_tcp_tuple *tuple)
{
    struct {
        struct gw_ip local, remote;
        uint8_t port[2];
    } to = {.local = tuple->local, .remote = tuple->remote};
    gw_put_be16(to.port, tuple->remote_port);
    return (uint32_t)(gw_siphash(&t->port_key, &to, sizeof(to)) % GW_TCP_DRAWN_PORTS);
}

bool tcp_draw_port(struct gw_tcp *t, struct gw_tcp_tuple *tuple)
{
    uint32_t place = place_of(t, tuple);
    uint16_t waiting = 0; /* in TIME-WAIT, which a connect may end */
    for (unsigned i = 0; i < DRAWS_MAX; i++) {
        uint32_t n = (place + t->ports_drawn) % GW_TCP_DRAWN_PORTS;
        t->ports_drawn = (t->ports_drawn + 1) % GW_TCP_DRAWN_PORTS;
        tuple->local_port = (uint16_t)(GW_TCP_DRAWN_PORT_FIRST + n);
        if (t->cfg.lands_here != NULL && !t->cfg.lands_here(t->cfg.lands_here_ctx, tuple))
            continue;
        uint32_t ref = tcp_table_find(t, tuple);
        if (ref == 0)
            return true;
        if ((ref & TCP_REF_TIME_WAIT) && tcp_time_wait_may_end(t, ref & ~TCP_REF_TIME_WAIT))
            waiting = tuple->local_port;
    }
    tuple->local_port = waiting;
    if (waiting != 0)
        return true;
    COUNT(t, connect_no_port);
    return false;
}
