/* SPDX-License-Identifier: Apache-2.0 */
/* Every set of counters in the process, for those who show them. Any thread. */
#ifndef GW_CONTROL_COUNTER_SETS_H
#define GW_CONTROL_COUNTER_SETS_H

#include "control_int.h"

/* lcore: whose, or -1 when the set is the process's. Sets with equal prefix have equal counters. */
typedef void (*counter_sets_visit)(void *ctx, const struct gw_counter_set *set, int lcore);

void counter_sets_walk(const struct control *c, counter_sets_visit visit, void *ctx);

#endif
