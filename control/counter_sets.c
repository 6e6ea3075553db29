/* SPDX-License-Identifier: Apache-2.0 */
#include "counter_sets.h"

#include "ledger.h"

static const struct gw_counter_desc capture_descs[] = {CAPTURE_COUNTERS(GW_COUNTER_DESC)};

void counter_sets_walk(const struct control *c, counter_sets_visit visit, void *ctx)
{
    for (unsigned i = 0; i < c->env->lcore_count; i++)
        for (unsigned k = 0; k < c->env->lcores[i].set_count; k++)
            visit(ctx, &c->env->lcores[i].sets[k], (int)c->env->lcores[i].index);
    struct gw_counter_set process[] = {
        gw_store_counters_commit(c->env->store), gw_store_counters_storage(c->env->store),
        ledger_counters(c->ledger), rpc_server_counters(c->rpc),
        {"capture", capture_descs, (const uint64_t *)&c->capture_counters,
         sizeof(capture_descs) / sizeof(capture_descs[0])}};
    for (size_t i = 0; i < sizeof(process) / sizeof(process[0]); i++)
        visit(ctx, &process[i], -1);
}
