/* SPDX-License-Identifier: Apache-2.0 */
#include "engine.h"

static const struct gw_engine_ops *const engines[] = {&gw_engine_rocksdb, &gw_engine_mem};

const struct gw_engine_ops *gw_engine_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
        if (strcmp(engines[i]->name, name) == 0)
            return engines[i];
    return NULL;
}

const char *gw_space_name(enum gw_space space)
{
    static const char *const names[] = {
#define X(upper, lower) #lower,
        GW_SPACES(X)
#undef X
    };
    return names[space];
}
