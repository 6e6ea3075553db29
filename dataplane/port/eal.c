/* SPDX-License-Identifier: Apache-2.0 */
#include "eal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_pci.h>

#include "../base/check.h"
#include "device.h"

/* Ours, the program's name and the closing NULL. */
#define OUR_ARGS_MAX 24
#define ARG_BYTES    2048

struct gw_eal {
    char *argv[OUR_ARGS_MAX + GW_EAL_ARGS_MAX]; /* EAL keeps pointers into it */
    int argc;
    bool huge_pages;
};

__attribute__((format(printf, 2, 3))) static void add(struct gw_eal *e, const char *fmt, ...)
{
    check(e->argc < OUR_ARGS_MAX + GW_EAL_ARGS_MAX - 1);
    va_list ap;
    va_start(ap, fmt);
    int len = vasprintf(&e->argv[e->argc], fmt, ap);
    va_end(ap);
    check(len >= 0); /* at start, a few bytes */
    e->argc++;
}

static unsigned long free_huge_pages_mib(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%lu", &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * 2;
}

static void add_memory(struct gw_eal *e, const struct gw_eal_config *cfg)
{
    e->huge_pages = cfg->huge_pages && free_huge_pages_mib() >= cfg->memory_mib;
    /* No files: two brokers cannot meet, and a killed one leaves nothing behind. */
    if (e->huge_pages) {
        add(e, "--in-memory");
    } else {
        add(e, "--no-huge");
        add(e, "--no-shconf");
    }
    add(e, "-m");
    add(e, "%u", cfg->memory_mib);
}

static void add_lcores(struct gw_eal *e, const struct gw_eal_config *cfg)
{
    char map[ARG_BYTES];
    unsigned commit = cfg->lcore_count;
    int len = 0;
    for (unsigned i = 0; i < cfg->lcore_count; i++)
        len += snprintf(map + len, sizeof(map) - (size_t)len, "%u@%d,", i, cfg->lcore_cpus[i]);
    len += snprintf(map + len, sizeof(map) - (size_t)len, "%u@%d,%u@%d", commit, cfg->commit_cpu,
                    commit + 1, cfg->main_cpu);
    check((size_t)len < sizeof(map));
    add(e, "--lcores");
    add(e, "%s", map);
    add(e, "--main-lcore");
    add(e, "%u", commit + 1);
}

static void add_device(struct gw_eal *e, const struct gw_eal_config *cfg)
{
    if (device_is_pci(cfg->device)) {
        add(e, "--allow");
        add(e, "%s", cfg->device);
        return;
    }
    char args[DEVICE_ARGS_BYTES];
    device_complete(args, cfg->device, cfg->queue_count, cfg->mtu);
    add(e, "--no-pci");
    add(e, "--vdev");
    add(e, "%s", args);
}

static void free_args(struct gw_eal *e)
{
    for (int i = 0; i < e->argc; i++)
        free(e->argv[i]);
    free(e);
}

int gw_eal_init(struct gw_eal **out, const struct gw_eal_config *cfg)
{
    check(cfg->lcore_count >= 1 && cfg->lcore_count <= GW_EAL_LCORES_MAX);
    check(cfg->extra_arg_count <= GW_EAL_ARGS_MAX);
    if (strlen(cfg->device) > DEVICE_NAME_BYTES_MAX) {
        fprintf(stderr, "port: the device's name is too long: %s\n", cfg->device);
        return -EINVAL;
    }
    if (device_may_wait(cfg->device)) {
        fprintf(stderr, "port: %s: with qdisc_bypass=0 the driver waits for the kernel's queue, and "
                "a polled core must not: leave it out\n", cfg->device);
        return -EINVAL;
    }
    struct gw_eal *e = calloc(1, sizeof(*e));
    if (e == NULL)
        return -ENOMEM;
    add(e, "%s", program_invocation_short_name);
    add_memory(e, cfg);
    add_lcores(e, cfg);
    add(e, "--file-prefix");
    add(e, "%s", cfg->name);
    add(e, "--log-level=warning");
    add(e, "--log-level=lib.telemetry:error"); /* it warns of a socket that nobody needs */
    add_device(e, cfg);
    for (unsigned i = 0; i < cfg->extra_arg_count; i++)
        add(e, "%s", cfg->extra_args[i]);
    /* EAL reorders what it is given, so it gets a copy of the row. */
    char *argv[OUR_ARGS_MAX + GW_EAL_ARGS_MAX];
    memcpy(argv, e->argv, sizeof(argv));
    if (rte_eal_init(e->argc, argv) < 0) {
        int err = rte_errno ? rte_errno : EINVAL;
        fprintf(stderr, "port: DPDK does not start: %s; its arguments:", rte_strerror(err));
        for (int i = 1; i < e->argc; i++)
            fprintf(stderr, " %s", e->argv[i]);
        fputc('\n', stderr);
        free_args(e);
        return -err;
    }
    *out = e;
    return 0;
}

void gw_eal_free(struct gw_eal **e)
{
    if (*e == NULL)
        return;
    rte_eal_cleanup();
    free_args(*e);
    *e = NULL;
}

bool gw_eal_has_huge_pages(const struct gw_eal *e)
{
    return e->huge_pages;
}

int gw_eal_launch(struct gw_eal *e, unsigned lcore, int (*fn)(void *arg), void *arg)
{
    return rte_eal_remote_launch(fn, arg, lcore);
}

int gw_eal_wait(struct gw_eal *e, unsigned lcore)
{
    return rte_eal_wait_lcore(lcore);
}
