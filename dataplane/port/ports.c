/* SPDX-License-Identifier: Apache-2.0 */
#include "ports.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/check.h"
#include "dispatch.h"

struct gw_ports {
    unsigned lcore_count;
    struct gw_dpdk *dpdk;
    struct gw_dispatch *dispatch; /* NULL: the device alone */
    struct gw_steer steer;
};

unsigned gw_ports_queues_wanted(const struct gw_ports_config *cfg)
{
    return cfg->queue_count != 0 ? cfg->queue_count : cfg->lcore_count;
}

static struct gw_dpdk_config dpdk_config(const struct gw_ports_config *cfg)
{
    return (struct gw_dpdk_config){
        .device = cfg->device,
        .queue_count = gw_ports_queues_wanted(cfg),
        .fewer_queues = cfg->queue_count == 0 && cfg->mode != GW_DISPATCH_PORT,
        .mtu = cfg->mtu,
        .lcore_count = cfg->lcore_count,
        .rss_key = cfg->key,
    };
}

uint32_t gw_ports_memory_mib(const struct gw_ports_config *cfg)
{
    struct gw_dpdk_config dpdk = dpdk_config(cfg);
    return gw_dpdk_memory_mib(&dpdk);
}

static bool device_suffices(const struct gw_ports *p, enum gw_dispatch_mode mode)
{
    if (gw_dpdk_queue_count(p->dpdk) < p->lcore_count)
        return false;
    switch (mode) {
    case GW_DISPATCH_PORT:
        return true;
    case GW_DISPATCH_SOFTWARE:
        return p->lcore_count == 1;
    case GW_DISPATCH_AUTO:
        return p->lcore_count == 1 || gw_dpdk_rss_slots(p->dpdk) != 0;
    }
    return false;
}

static int open_dispatch(struct gw_ports *p)
{
    struct gw_port *queues[GW_STEER_LCORES_MAX];
    struct gw_dispatch_config cfg = {
        .lcore_count = p->lcore_count,
        .queue_count = gw_dpdk_queue_count(p->dpdk),
        .queues = queues,
        .steer = &p->steer,
    };
    for (unsigned i = 0; i < cfg.queue_count; i++)
        queues[i] = gw_dpdk_port(p->dpdk, i);
    return gw_dispatch_open(&p->dispatch, &cfg);
}

static int put_together(struct gw_ports *p, const struct gw_ports_config *cfg)
{
    struct gw_dpdk_config dpdk = dpdk_config(cfg);
    int err = gw_dpdk_open(&p->dpdk, &dpdk);
    if (err != 0)
        return err;
    unsigned slots = gw_dpdk_rss_slots(p->dpdk);
    gw_steer_init(&p->steer, cfg->key, cfg->lcore_count, slots != 0 ? slots : GW_STEER_SLOTS_MAX);
    if (device_suffices(p, cfg->mode))
        return 0;
    if (cfg->mode == GW_DISPATCH_PORT) {
        fprintf(stderr, "port: %s: %u queues for %u dataplane lcores, which dispatch by the port "
                "does not allow\n", cfg->device, gw_dpdk_queue_count(p->dpdk), cfg->lcore_count);
        return -ENOTSUP;
    }
    return open_dispatch(p);
}

int gw_ports_open(struct gw_ports **out, const struct gw_ports_config *cfg)
{
    check(cfg->queue_count <= cfg->lcore_count && cfg->lcore_count <= GW_STEER_LCORES_MAX);
    struct gw_ports *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return -ENOMEM;
    p->lcore_count = cfg->lcore_count;
    int err = put_together(p, cfg);
    if (err != 0)
        gw_ports_free(&p);
    else
        *out = p;
    return err;
}

void gw_ports_free(struct gw_ports **p)
{
    if (*p == NULL)
        return;
    gw_dispatch_free(&(*p)->dispatch);
    gw_dpdk_free(&(*p)->dpdk);
    free(*p);
    *p = NULL;
}

struct gw_port *gw_ports_at(struct gw_ports *p, unsigned lcore)
{
    check(lcore < p->lcore_count);
    return p->dispatch != NULL ? gw_dispatch_port(p->dispatch, lcore)
                               : gw_dpdk_port(p->dpdk, lcore);
}

unsigned gw_ports_counter_sets(const struct gw_ports *p, unsigned lcore,
                               struct gw_counter_set out[GW_PORTS_COUNTER_SETS])
{
    unsigned n = 0;
    check(lcore < p->lcore_count);
    if (lcore < gw_dpdk_queue_count(p->dpdk))
        out[n++] = gw_dpdk_counter_set(p->dpdk, lcore);
    if (p->dispatch != NULL)
        out[n++] = gw_dispatch_counter_set(p->dispatch, lcore);
    return n;
}

unsigned gw_ports_queue_count(const struct gw_ports *p)
{
    return gw_dpdk_queue_count(p->dpdk);
}

bool gw_ports_dispatches(const struct gw_ports *p)
{
    return p->dispatch != NULL;
}

const char *gw_ports_driver(const struct gw_ports *p)
{
    return gw_dpdk_driver(p->dpdk);
}

const struct gw_steer *gw_ports_steer(const struct gw_ports *p)
{
    bool known = p->lcore_count == 1 || p->dispatch != NULL || gw_dpdk_rss_slots(p->dpdk) != 0;
    return known ? &p->steer : NULL;
}
