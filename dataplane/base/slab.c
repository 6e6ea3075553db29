/* SPDX-License-Identifier: Apache-2.0 */
#include "slab.h"

int gw_slab_open(struct gw_slab *out, const char *name, uint32_t elem_bytes, uint32_t limit,
                 enum gw_region_pages pages)
{
    check(elem_bytes >= sizeof(uint32_t) && limit > 0 && limit < UINT32_MAX);
    struct gw_region region;
    int err = gw_region_open(&region, name, (size_t)elem_bytes * ((size_t)limit + 1), pages);
    if (err)
        return err;
    *out = (struct gw_slab){
        .base = region.base,
        .elem_bytes = elem_bytes,
        .limit = limit,
        .fresh = 1,
        .region = region,
    };
    return 0;
}

void gw_slab_close(struct gw_slab *s)
{
    gw_region_close(&s->region);
    s->base = NULL;
}
