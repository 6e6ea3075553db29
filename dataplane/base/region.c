/* SPDX-License-Identifier: Apache-2.0 */
#include "region.h"

#include <errno.h>
#include <stdint.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_BYTES ((size_t)2 << 20)

/* Map fd at a 2 MiB boundary: reserve too much address space, then place the file inside it. */
static void *map_aligned(int fd, size_t bytes)
{
    void *room = mmap(NULL, bytes + HUGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        return NULL;
    uintptr_t start = (uintptr_t)room;
    uintptr_t at = (start + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);
    void *p = mmap((void *)at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
    if (p == MAP_FAILED) {
        munmap(room, bytes + HUGE_BYTES);
        return NULL;
    }
    if (at > start)
        munmap(room, at - start);
    if (start + HUGE_BYTES > at)
        munmap((void *)(at + bytes), start + HUGE_BYTES - at);
    return p;
}

static int try_open(struct gw_region *out, const char *name, size_t bytes, bool huge)
{
    int fd = memfd_create(name, MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0));
    if (fd < 0)
        return -errno;
    int err = 0;
    void *p = NULL;
    if (ftruncate(fd, (off_t)bytes) != 0)
        err = -errno;
    /* Huge pages are taken now: a missing one later would be SIGBUS in the poll loop. */
    else if (huge && fallocate(fd, 0, 0, (off_t)bytes) != 0)
        err = -errno;
    else if ((p = map_aligned(fd, bytes)) == NULL)
        err = -ENOMEM;
    if (err) {
        close(fd);
        return err;
    }
    madvise(p, bytes, MADV_DONTDUMP);
    *out = (struct gw_region){.base = p, .bytes = bytes, .fd = fd, .huge = huge};
    return 0;
}

int gw_region_open(struct gw_region *out, const char *name, size_t bytes,
                   enum gw_region_pages pages)
{
    bytes = (bytes + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);
    if (pages == GW_PAGES_HUGE_OR_SMALL && try_open(out, name, bytes, true) == 0)
        return 0;
    return try_open(out, name, bytes, false);
}

void gw_region_close(struct gw_region *r)
{
    if (r->base == NULL)
        return;
    munmap(r->base, r->bytes);
    close(r->fd);
    *r = (struct gw_region){.fd = -1};
}
