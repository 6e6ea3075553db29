/* SPDX-License-Identifier: Apache-2.0 */
#include "leaks.h"

#include <string.h>

#include "../../dataplane/base/check.h"
#include "../../dataplane/core_int.h"
#include "../../dataplane/tcp/stack.h"

/* Every index that was ever handed out can be again: it stands once in the list of free ones. */
static bool is_whole(const struct gw_slab *slab)
{
    uint32_t free_count = 0;
    for (uint32_t i = slab->free_head; i != 0 && free_count < slab->fresh; free_count++) {
        if (i >= slab->fresh)
            return false;
        memcpy(&i, gw_slab_at(slab, i), sizeof(i));
    }
    return free_count + slab->used_count == slab->fresh - 1;
}

/* What idle accounts are remembered by. */
static size_t bytes_of_accounts(const struct gw_lcore *l, uint32_t *count)
{
    const struct gw_home *h = l->home;
    size_t bytes = 0;
    *count = 0;
    for (uint32_t i = h->idle_head; i != 0; i = gw_home_account(l, i)->idle_next, (*count)++) {
        const struct gw_home_account *a = gw_home_account(l, i);
        if (a->jid_len > GW_HOME_JID_BYTES)
            bytes += gw_arena_block_bytes(l->arena, a->jid_block);
        if (a->share_block != 0)
            bytes += gw_arena_block_bytes(l->arena, a->share_block);
    }
    return bytes;
}

static const char *find_in_tcp(const struct gw_tcp *t)
{
    const struct gw_slab *slabs[] = {&t->conns, &t->nodes, &t->pieces, &t->time_waits};
    for (unsigned i = 0; i < sizeof(slabs) / sizeof(slabs[0]); i++)
        if (slabs[i]->used_count > 0 || !is_whole(slabs[i]))
            return "an index of TCP";
    return t->dirty_count > 0 || t->reply_count > 0 ? "something that TCP is to send" : NULL;
}

static const char *find_in_edge(const struct gw_lcore *l)
{
    const struct gw_edge *g = l->edge;
    if (g->bound_count > 0 || g->unbind_count > 0 || g->drains.used_count > 0 ||
        !is_whole(&g->drains))
        return "a bound session at the edge";
    if (g->dirty_head != 0 || g->waiting_head != 0)
        return "a connection on a list of the edge";
    for (uint32_t i = 1; i <= l->cfg->conn_limit; i++) {
        const struct gw_edge_conn *e = gw_edge_conn(l, i);
        if (e->in_block || e->sasl_block || e->jid_block || e->held_head || e->handed_block)
            return "a block of a connection";
    }
    return NULL;
}

static const char *find_in_home(const struct gw_lcore *l)
{
    const struct gw_home *h = l->home;
    uint32_t idle;
    size_t bytes = bytes_of_accounts(l, &idle);
    if (h->sessions.used_count > 0 || !is_whole(&h->sessions))
        return "a session";
    if (h->waits.used_count > 0 || !is_whole(&h->waits))
        return "a post that waits for its account";
    if (h->accounts.used_count != idle || !is_whole(&h->accounts))
        return "an account that is not idle";
    if (h->pending_count > 0 || h->backlog_count > 0)
        return "an entry of the home's queue";
    if (h->segment_block != 0 || h->under_way_count > 0 || h->seal_count > 0)
        return "a segment";
    for (unsigned i = 0; i < GW_READS_UNDER_WAY; i++)
        if (h->reads[i].used)
            return "a read slot";
    if (gw_arena_used_bytes(l->arena) != bytes)
        return "a block of the arena";
    return NULL;
}

static const char *find_in_mesh(const struct gw_lcore *l)
{
    for (unsigned i = 0; i < l->count; i++)
        if (l->mesh->up_used[i] > 0 || l->mesh->down_used[i] > 0)
            return "a credit";
    return NULL;
}

const char *leaks_find(const struct broker *b)
{
    for (unsigned i = 0; i < b->cfg.lcores; i++) {
        const struct gw_lcore *l = &broker_core(b, i)->l;
        const char *what = find_in_tcp(l->tcp);
        what = what != NULL ? what : find_in_edge(l);
        what = what != NULL ? what : find_in_home(l);
        what = what != NULL ? what : find_in_mesh(l);
        if (what != NULL)
            return what;
    }
    return NULL;
}

const char *leaks_find_stored(struct broker *b)
{
    struct gw_store_stats stats;
    struct gw_store_request rq = {.op = GW_STORE_STATS, .data = &stats, .data_len = sizeof(stats)};
    struct gw_store_completion done;
    check(gw_store_call(gw_store_client(b->store, b->cfg.lcores + BROKER_OWN_CLIENT), &rq, &done) ==
          0);
    if (stats.window_messages > 0 || stats.window_mailboxes > 0)
        return "a message in the store's window";
    for (unsigned i = 0; i < stats.space_count; i++)
        if (strcmp(stats.spaces[i].name, "mailbox") == 0 && stats.spaces[i].keys > 0)
            return "a spilled message";
    return NULL;
}
