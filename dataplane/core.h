/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One dataplane lcore: it owns its port queue, TCP, connections and home accounts, and runs them in
 * passes. Everything is reserved by gw_core_open; a pass neither allocates nor blocks.
 */
#ifndef GW_DATAPLANE_CORE_H
#define GW_DATAPLANE_CORE_H

#include <stdatomic.h>

#include "command.h"
#include "net/net.h"
#include "port/port.h"
#include "xmpp/deriver.h"
#include "xmpp/lcore.h"
#include "xmpp/post.h"

struct gw_core;

/* What the lcores of one process share: rings between them, and the view into each other's arenas. */
struct gw_cores;

struct gw_core_config {
    unsigned count;
    uint64_t now_us;    /* monotonic: the clock that the passes will be given */
    size_t arena_bytes; /* of each lcore */
    enum gw_region_pages pages;
    bool poll;          /* never sleep; else adaptive */
    struct gw_net_config net;
    uint16_t mtu;
    const struct gw_ip_port *listen; /* an address that is all zero: every one */
    unsigned listen_count;
    /* As in struct gw_tcp_config, of every client's connection. */
    bool keepalive;
    uint64_t keepalive_us, keepalive_next_us;
    uint32_t keepalive_probes;
    struct gw_xmpp_config xmpp; /* limits are of one lcore */
    const struct gw_keyring *keys;
    struct gw_deriver *deriver;
    /* By lcore: */
    struct gw_port *const *ports;
    struct gw_store_client *const *clients;
    /* Unpredictable bytes, for start and for passes; never blocks. NULL: the kernel's. The
     * simulation's are seeded. */
    void (*random)(void *ctx, void *out, size_t len);
    void *random_ctx;
};

/* Start only. 0 or negative errno with a message in err. */
int gw_cores_open(struct gw_cores **out, const struct gw_core_config *cfg, char err[256]);
/* When no lcore runs any more. */
void gw_cores_free(struct gw_cores **c);

/* The messages that were stored lately are known again, so that their repeats are: from the events of
 * the segments below segment_next. Before the first pass; blocks, for as long as reading them takes:
 * at most repeats_limit messages a lcore, and none behind the window. So are the counts of sessions that
 * may be resumed. 0 or the store's error. */
int gw_cores_recall(struct gw_cores *c, struct gw_store_client *client, struct gw_sealer *sealer,
                    uint64_t segment_next, uint64_t wall_us);

struct gw_core *gw_cores_at(struct gw_cores *c, unsigned index);
/* Its counters with those of the port left out: they are the port's maker's to add. */
void gw_core_view(struct gw_core *c, struct gw_lcore_view *out);

/* One pass at this time (monotonic and wall clock, microseconds). Returns the work done. */
unsigned gw_core_pass(struct gw_core *c, uint64_t now_us, uint64_t wall_us);
/* Passes until *stop, then says goodbye to every stream and makes durable what was accepted. */
int gw_core_run(struct gw_core *c, const atomic_bool *stop);

#endif
