/* SPDX-License-Identifier: Apache-2.0 */
/* Who is on the link, as each core knows it: neighbour.list. */
#include <stdlib.h>

#include "../dataplane/base/check.h"
#include "../dataplane/net/net.h"
#include "control_int.h"
#include "lcore_list.h"

static const char *const states[] = {
#define X(name, text) text,
    GW_NET_NEIGHBOUR_STATES(X)
#undef X
};
#define STATES (sizeof(states) / sizeof(states[0]))

/* One that is still looked for has none. */
static json_t *mac_json(const uint8_t mac[6])
{
    static const uint8_t none[6];
    if (memcmp(mac, none, sizeof(none)) == 0)
        return json_null();
    return json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
                        mac[5]);
}

static json_t *describe(const struct gw_net_neighbour *n, unsigned lcore)
{
    check(n->state < STATES);
    return json_pack("{s:o, s:o, s:s, s:I, s:i}", "address", control_address_json(&n->ip), "ethernet",
                     mac_json(n->mac), "state", states[n->state], "heard_ms",
                     (json_int_t)(n->heard_us / 1000), "lcore", (int)lcore);
}

static bool take(struct lcore_list *l, const struct lcore_call *call)
{
    const struct gw_net_neighbour *rows = (const void *)call->data;
    unsigned count = call->reply.len / sizeof(*rows);
    for (unsigned i = l->skip; i < count; i++) {
        if (json_array_size(l->rows) == l->limit) {
            l->skip = i;
            return false;
        }
        json_array_append_new(l->rows, describe(&rows[i], l->lcore));
    }
    return true;
}

static void ask(struct lcore_list *l, struct lcore_call *call)
{
    call->command.op = GW_COMMAND_NEIGHBOURS;
}

static void list_free(struct lcore_list *l)
{
    free(l);
}

static void neighbour_list(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    struct lcore_list *l = calloc(1, sizeof(*l));
    check(l != NULL);
    *l = (struct lcore_list){.rows_name = "neighbours", .what = "which neighbours it knows",
                             .ask = ask, .take = take, .free = list_free};
    if (!lcore_list_init(l, c, &rq)) {
        free(l);
        return;
    }
    l->rq = rq;
    lcore_list_start(l);
}

void commands_neighbour_register(struct control *c)
{
    rpc_register(c->rpc, "neighbour.list", neighbour_list, c);
}
