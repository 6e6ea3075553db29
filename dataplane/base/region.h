/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A named piece of memory, reserved once at start: the ground under slabs and arenas.
 *
 * Backed by a memfd so that a later process can be handed it, on huge pages where there are any.
 * Not EAL memory on purpose: its life must not depend on DPDK's.
 */
#ifndef GW_BASE_REGION_H
#define GW_BASE_REGION_H

#include <stdbool.h>
#include <stddef.h>

struct gw_region {
    void *base;   /* 2 MiB aligned */
    size_t bytes; /* a multiple of 2 MiB */
    int fd;
    bool huge; /* on huge pages; false means 4 KiB pages: slower, and said so at start */
};

enum gw_region_pages { GW_PAGES_HUGE_OR_SMALL, GW_PAGES_SMALL };

/* Reserve `bytes` (rounded up to 2 MiB), zeroed. Any thread, may block, start only.
 * 0 or negative errno (-ENOMEM). */
int gw_region_open(struct gw_region *out, const char *name, size_t bytes,
                   enum gw_region_pages pages);
void gw_region_close(struct gw_region *r);

#endif
