/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DPDK's environment layer: memory, lcores on their CPUs, devices. Once in a process, at start.
 *
 * Lcores are numbered: the dataplane's from 0, then the commit lcore. The thread that calls
 * gw_eal_init becomes EAL's main lcore on main_cpu, and every thread that it starts later stays
 * there: none inherits the CPU of a polled core. Lcores may share a CPU.
 */
#ifndef GW_PORT_EAL_H
#define GW_PORT_EAL_H

#include <stdbool.h>
#include <stdint.h>

#define GW_EAL_LCORES_MAX 64
#define GW_EAL_ARGS_MAX   64

struct gw_eal;

struct gw_eal_config {
    const char *name;      /* of DPDK's run-time directory, where its telemetry socket is */
    const int *lcore_cpus; /* of the dataplane lcores */
    unsigned lcore_count;
    int commit_cpu;
    int main_cpu;
    bool huge_pages;         /* use them when enough are free */
    uint32_t memory_mib;     /* for EAL: see gw_dpdk_memory_mib */
    const char *device;      /* "net_af_packet0,iface=gw1" and the like, or a PCI address */
    unsigned queue_count;    /* that it is asked for, at most */
    uint16_t mtu;            /* IP packet bytes that the device will carry */
    char *const *extra_args; /* for EAL, after ours */
    unsigned extra_arg_count;
};

/* 0, or negative errno after a message on standard error: -EINVAL (device, arguments), -EPERM,
 * -ENOMEM, or what EAL gave. EAL can be initialised once in the life of a process. */
int gw_eal_init(struct gw_eal **out, const struct gw_eal_config *cfg);
/* The main lcore, when the others have returned. */
void gw_eal_free(struct gw_eal **e);

/* False: on 4 KiB pages, which is slower. */
bool gw_eal_has_huge_pages(const struct gw_eal *e);

/* Run fn(arg) on a lcore that is idle; 0 or -EBUSY. gw_eal_wait returns what fn returned. */
int gw_eal_launch(struct gw_eal *e, unsigned lcore, int (*fn)(void *arg), void *arg);
int gw_eal_wait(struct gw_eal *e, unsigned lcore);

#endif
