/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters: each module lists its own once in an X-macro X(name, help); from the list come a struct
 * of uint64_t and a table of descriptions, so that metrics and dumps print every one.
 *
 * One thread writes a set with GW_COUNT; any thread may read it (relaxed, possibly a moment old).
 */
#ifndef GW_BASE_COUNTERS_H
#define GW_BASE_COUNTERS_H

#include <stdint.h>

struct gw_counter_desc {
    const char *name; /* snake_case; exported as godwit_<prefix>_<name>_total */
    const char *help;
};

/* A set as its readers see it. */
struct gw_counter_set {
    const char *prefix;
    const struct gw_counter_desc *descs;
    const uint64_t *values;
    unsigned count;
};

#define GW_COUNTER_FIELD(name, help) uint64_t name;
#define GW_COUNTER_DESC(name, help)  {#name, help},

#define GW_COUNT_ADD(field, n)                                                                     \
    __atomic_store_n(&(field), __atomic_load_n(&(field), __ATOMIC_RELAXED) + (uint64_t)(n),        \
                     __ATOMIC_RELAXED)
#define GW_COUNT(field) GW_COUNT_ADD(field, 1)

#endif
