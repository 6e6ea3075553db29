/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk in memory for the engine `mem`: it outlives the store that writes it, remembers what was
 * synced, and fails on request. For tests and the simulation.
 */
#ifndef GW_STORAGE_MEM_H
#define GW_STORAGE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gw_mem_disk;

/* The seed decides what survives of unsynced writes. */
struct gw_mem_disk *gw_mem_disk_new(uint64_t seed);
/* No store may be open on it. */
void gw_mem_disk_free(struct gw_mem_disk **d);

enum gw_mem_crash {
    GW_MEM_KILL,       /* the process died: everything written is there */
    GW_MEM_POWER_LOSS, /* everything not synced is gone */
    GW_MEM_TORN,       /* of what was not synced a random prefix is there, at times up to the write
                          that was refused */
};

/* The machine or process stops now. The store that is open on the disk loses it: all its calls fail
 * from here on, and it can only be freed. */
void gw_mem_crash(struct gw_mem_disk *d, enum gw_mem_crash how);

struct gw_mem_faults {
    uint32_t fail_at;  /* the n-th write from now fails with -EIO, as do all later ones; 0: never */
    uint32_t fail_count; /* but no more than so many; 0: all */
    bool full;         /* writes fail with -ENOSPC */
    bool sync_ignored; /* a disk that lies: sync does nothing */
    uint64_t slow_us_max; /* each write takes a random time of at most so long; 0: none */
    uint64_t free_bytes;  /* what the disk says is free while it is not full; 0: without end */
};

void gw_mem_set_faults(struct gw_mem_disk *d, const struct gw_mem_faults *f);
uint64_t gw_mem_writes(struct gw_mem_disk *d);

/* How a slow write passes its time, called by the thread that writes and without a lock: the bytes
 * are there and are not synced, and the disk may crash meanwhile. NULL: it sleeps. A simulation lets
 * its clock run on and steps the store's other threads. Set while no store is open on the disk. */
void gw_mem_set_wait(struct gw_mem_disk *d, void (*wait)(void *arg, uint64_t us), void *arg);

/* Whether these bytes are anywhere on it: in the log, in a space, or in what is not yet synced. */
bool gw_mem_holds(struct gw_mem_disk *d, const void *bytes, size_t len);

#endif
