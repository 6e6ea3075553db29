/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection leaves its session. One whose stream can be resumed leaves its count behind, and which
 * stored messages it was handed and has not confirmed; its home is told when all its stanzas are dealt
 * with, so that nothing of the old connection comes behind the new one's.
 */
#include "../base/check.h"
#include "edge.h"

int gw_edge_leave_open(struct gw_lcore *l, enum gw_region_pages pages)
{
    return gw_slab_open(&l->edge->drains, "drains", sizeof(struct gw_edge_drain),
                        l->count * GW_CREDITS, pages);
}

void gw_edge_leave_free(struct gw_lcore *l)
{
    gw_slab_close(&l->edge->drains);
}

static struct gw_edge_drain *drain_at(const struct gw_lcore *l, uint32_t i)
{
    return gw_slab_at(&l->edge->drains, i);
}

void gw_edge_unbind(struct gw_lcore *l, const struct gw_edge_leave *leave)
{
    struct gw_edge *g = l->edge;
    check(g->unbind_count <= l->cfg->conn_limit);
    g->unbind[(g->unbind_head + g->unbind_count++) % (l->cfg->conn_limit + 1)] = *leave;
}

unsigned gw_edge_send_unbinds(struct gw_lcore *l)
{
    struct gw_edge *g = l->edge;
    unsigned n = 0;
    for (; g->unbind_count > 0; n++) {
        const struct gw_edge_leave *v = &g->unbind[g->unbind_head];
        if (gw_post_up_room(l, v->session.lcore) == 0)
            break;
        struct gw_post p = {
            .op = GW_POST_UNBIND,
            .session = v->session,
            .n = v->keep,
            .seq = v->h,
            .block = v->handed_block,
            .owner = (uint8_t)l->index,
            .leave = {.out_count = v->out_count, .handed_head = v->handed_head,
                      .handed_count = v->handed_count, .handed_cap = v->handed_cap},
        };
        gw_post_up(l, v->session.lcore, &p);
        g->unbind_head = (g->unbind_head + 1) % (l->cfg->conn_limit + 1);
        g->unbind_count--;
        g->bound_count--;
    }
    return n;
}

/* ---- what is still being dealt with ---- */

static uint32_t earlier(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0 ? a : b;
}

/* Refusals that were still to be written, or are not known to have arrived, are lost with the connection: their stanzas, and all behind
 * them, are to come again. */
static uint32_t stop_of(struct gw_lcore *l, gw_conn c)
{
    const struct gw_edge_conn *e = gw_edge_conn(l, c);
    uint32_t stop = e->seq;
    if (e->refusals[0].out)
        stop = e->refusals[0].first_seq - 1;
    for (gw_block b = e->held_head; b != 0;) {
        const struct gw_held *h = gw_arena_ptr(l->arena, b);
        bool stanza = h->what == GW_ANSWER_STANZA || h->what == GW_ANSWER_REFUSAL;
        if (stanza)
            stop = earlier(stop, h->seq);
        else if (h->what == GW_ANSWER_RESULT)
            stop = earlier(stop, h->seq - 1);
        b = h->next;
    }
    return stop;
}

static void drain_ends(struct gw_lcore *l, uint32_t *link)
{
    uint32_t i = *link;
    struct gw_edge_drain *d = drain_at(l, i);
    d->leave.h = earlier(d->settled, d->stop) - d->sm_base;
    gw_edge_unbind(l, &d->leave);
    *link = d->next;
    gw_slab_free(&l->edge->drains, i);
}

void gw_edge_drain_settle(struct gw_lcore *l, struct gw_ref conn, uint32_t seq, bool refused)
{
    uint32_t *link = &gw_edge_conn(l, conn.index)->drains;
    while (*link != 0 && drain_at(l, *link)->generation != conn.generation)
        link = &drain_at(l, *link)->next;
    if (*link == 0) /* it was of a session that ended */
        return;
    struct gw_edge_drain *d = drain_at(l, *link);
    if (refused)
        d->stop = earlier(d->stop, seq - 1);
    gw_settle_in(d->settled_ahead, &d->settled, seq);
    if (d->settled == d->seq)
        drain_ends(l, link);
}

static void drain(struct gw_lcore *l, gw_conn c, const struct gw_edge_leave *leave)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    uint32_t i = gw_slab_alloc(&l->edge->drains);
    check(i != 0); /* as many as there are credits */
    struct gw_edge_drain *d = drain_at(l, i);
    *d = (struct gw_edge_drain){
        .next = e->drains,
        .generation = e->generation,
        .seq = e->seq,
        .settled = e->settled,
        .sm_base = e->sm_base,
        .stop = stop_of(l, c),
        .leave = *leave,
    };
    memcpy(d->settled_ahead, e->settled_ahead, sizeof(d->settled_ahead));
    e->drains = i;
    /* What comes back is for the drain from now on; the connection may go on for its last bytes. */
    e->generation = (uint16_t)(e->generation + 2);
    e->settled = e->seq;
    memset(e->settled_ahead, 0, sizeof(e->settled_ahead));
}

/* ---- leaving ---- */

static struct gw_edge_leave leave_of(struct gw_lcore *l, gw_conn c, bool keep)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    struct gw_edge_leave v = {.session = e->session, .keep = keep && e->resumable};
    /* What is confirmed and not told is told now, if it can be; else it comes again: never lost. */
    (void)gw_edge_flush_confirmed(l, c);
    if (!v.keep) {
        gw_arena_put(l->arena, e->handed_block);
        return v;
    }
    v.h = earlier(e->settled, stop_of(l, c)) - e->sm_base;
    v.out_count = e->out_count;
    v.handed_block = e->handed_block;
    v.handed_head = e->handed_head;
    v.handed_count = e->handed_count;
    v.handed_cap = e->handed_cap;
    return v;
}

void gw_edge_detach(struct gw_lcore *l, gw_conn c, bool keep)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (e->session.index == 0)
        return;
    struct gw_edge_leave leave = leave_of(l, c, keep);
    if (leave.keep && e->settled != e->seq)
        drain(l, c, &leave);
    else
        gw_edge_unbind(l, &leave);
    e->handed_block = 0;
    e->handed_count = e->handed_confirmed = e->handed_asked = e->handed_cap = 0;
    e->session = (struct gw_ref){0};
    e->ping_outstanding = e->r_outstanding = e->want_room = e->ack_due = e->resumable = false;
    e->state = GW_EDGE_READY;
}
