/* SPDX-License-Identifier: Apache-2.0 */
#include "edge.h"

#include <errno.h>
#include <stdlib.h>

#include "../base/check.h"
#include "carbons.h"
#include "csi.h"

/* Connections that wait for a credit and are tried again in one pass. */
#define RETRIES_MAX 64

uint64_t gw_home_hash(const struct gw_lcore *l, struct gw_bytes bare)
{
    return gw_siphash_1_3(&l->cfg->home_key, bare.p, bare.len);
}

/* Of the upper half: the lower is the place in the home's table. */
unsigned gw_home_of_hash(const struct gw_lcore *l, uint64_t hash)
{
    return (unsigned)((hash >> 32) * l->count >> 32);
}

unsigned gw_home_of(const struct gw_lcore *l, struct gw_bytes bare)
{
    return l->count == 1 ? 0 : gw_home_of_hash(l, gw_home_hash(l, bare));
}

int gw_edge_open(struct gw_lcore *l, enum gw_region_pages pages)
{
    struct gw_edge *g = calloc(1, sizeof(*g));
    if (g == NULL)
        return -ENOMEM;
    size_t slots = (size_t)l->cfg->conn_limit + 1;
    int err = gw_region_open(&g->region, "edge", slots * sizeof(struct gw_edge_conn), pages);
    if (err == 0)
        err = gw_region_open(&g->unbind_region, "unbind", slots * sizeof(*g->unbind), pages);
    g->conns = g->region.base;
    g->unbind = g->unbind_region.base;
    l->edge = g;
    if (err == 0)
        err = gw_edge_leave_open(l, pages);
    if (err)
        gw_edge_free(l);
    else
        gw_edge_open_caps(l);
    return err;
}

void gw_edge_free(struct gw_lcore *l)
{
    if (l->edge == NULL)
        return;
    gw_edge_leave_free(l);
    gw_region_close(&l->edge->region);
    gw_region_close(&l->edge->unbind_region);
    free(l->edge);
    l->edge = NULL;
}

/* ---- a connection's life ---- */

static bool established(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    struct gw_lcore *l = ctx;
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    (void)t;
    /* What survives: the generation, and the memberships of lists that may still name the index. */
    struct gw_edge_conn fresh = {
        .generation = (uint16_t)(e->generation + 1),
        .dirty = e->dirty,
        .next_dirty = e->next_dirty,
        .waiting = e->waiting,
        .next_waiting = e->next_waiting,
        .drains = e->drains,
        .state = GW_EDGE_HEADER,
        .waits_us = l->now_us,
        .heard_us = l->now_us,
    };
    *e = fresh;
    GW_COUNT(l->edge_count.connections);
    gw_edge_set_deadline(l, c);
    return true;
}

static void peer_closed(void *ctx, gw_conn c)
{
    struct gw_lcore *l = ctx;
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (e->state == GW_EDGE_CLOSING)
        gw_edge_mark_dirty(l, c);
    else
        gw_edge_stream_lost(l, c);
}

static void closed(void *ctx, gw_conn c, enum gw_tcp_close_reason why)
{
    struct gw_lcore *l = ctx;
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    (void)why;
    GW_COUNT(l->edge_count.connections_ended);
    gw_edge_detach(l, c, true);
    gw_edge_drop_held(l, c);
    gw_edge_drop_held_back(l, c);
    gw_edge_sasl_free(l, c);
    gw_arena_put(l->arena, e->in_block);
    gw_arena_put(l->arena, e->jid_block);
    gw_arena_put(l->arena, e->blocks_block);
    e->in_block = e->jid_block = e->blocks_block = 0;
    e->in_whole = e->abort_due = false;
    e->state = GW_EDGE_CLOSING;
    e->generation++; /* posts and completions under way are for nobody now */
}

const struct gw_tcp_upcalls gw_edge_upcalls = {
    .established = established,
    .data = gw_edge_data,
    .peer_closed = peer_closed,
    .acked = gw_edge_acked,
    .closed = closed,
    .deadline = gw_edge_deadline,
};

/* ---- posts ---- */

static bool is_here(struct gw_lcore *l, const struct gw_post *p)
{
    return gw_edge_conn(l, p->conn.index)->generation == p->conn.generation;
}

/* The stanza's block comes back, with a refusal or not. */
static void take_back(struct gw_lcore *l, const struct gw_post *p)
{
    if (p->conn.index == 0) { /* our home has sent it */
        gw_arena_put(l->arena, p->block);
        return;
    }
    if (p->settle && p->block != 0 && p->status == GW_CONDITION_NONE)
        gw_edge_copy_sent(l, gw_arena_ptr(l->arena, p->block));
    if (p->settle && is_here(l, p)) {
        if (p->n != 0)
            gw_edge_result_block(l, p->conn.index, gw_arena_ptr(l->arena, p->block));
        if (p->status != GW_CONDITION_NONE)
            gw_edge_refuse_block(l, p->conn.index, gw_arena_ptr(l->arena, p->block), p->status);
        gw_edge_settle(l, p->conn.index, p->seq);
    } else if (p->settle) {
        gw_edge_drain_settle(l, p->conn, p->seq, p->status != GW_CONDITION_NONE);
    }
    gw_arena_put(l->arena, p->block);
}

static void end_session(struct gw_lcore *l, struct gw_post *p)
{
    struct gw_edge_conn *e = gw_edge_conn(l, p->conn.index);
    if (is_here(l, p) && e->state == GW_EDGE_BOUND)
        gw_edge_stream_error(l, p->conn.index, p->status, NULL);
    struct gw_post answer = {.op = GW_POST_TAKEN, .n = 0, .session = p->session};
    gw_post_answer(l, p->from, &answer);
}

void gw_edge_expect(const struct gw_lcore *l, const struct gw_post *p)
{
    if (p->op == GW_POST_DONE)
        return;
    __builtin_prefetch(gw_edge_conn(l, p->conn.index), 1);
    __builtin_prefetch((const char *)gw_edge_conn(l, p->conn.index) + 64, 1);
    if (p->op == GW_POST_DELIVER) {
        gw_tcp_expect_send(l->tcp, p->conn.index);
        __builtin_prefetch((const char *)gw_arena_ptr(l->arenas[p->owner], p->block) +
                           p->deliver.off);
    } else if (p->op == GW_POST_RETURN) {
        __builtin_prefetch(gw_arena_ptr(l->arenas[p->owner], p->block), 1);
    }
}

void gw_edge_post(struct gw_lcore *l, struct gw_post *p)
{
    switch ((enum gw_post_op)p->op) {
    case GW_POST_BOUND:
        gw_edge_bound(l, p);
        break;
    case GW_POST_ENABLED:
        gw_edge_enabled(l, p);
        break;
    case GW_POST_COUNTED:
        gw_edge_counted(l, p);
        break;
    case GW_POST_RESUMED:
        gw_edge_resumed(l, p);
        break;
    case GW_POST_SETTLED:
        gw_edge_copy_sent(l, gw_arena_ptr(l->arena, p->block));
        if (is_here(l, p))
            gw_edge_settle(l, p->conn.index, p->seq);
        else
            gw_edge_drain_settle(l, p->conn, p->seq, false);
        break;
    case GW_POST_RETURN:
        take_back(l, p);
        break;
    case GW_POST_DELIVER:
        gw_edge_deliver(l, p);
        break;
    case GW_POST_END:
        end_session(l, p);
        break;
    case GW_POST_DONE:
        gw_arena_put(l->arena, p->block);
        break;
    default:
        break;
    }
}

/* ---- the end of the pass ---- */

static void tell_room(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (e->state != GW_EDGE_BOUND || gw_post_up_room(l, e->session.lcore) == 0)
        return; /* asked again at the next acknowledgement */
    struct gw_post p = {.op = GW_POST_ROOM, .session = e->session, .epoch = e->refused_epoch};
    gw_post_up(l, e->session.lcore, &p);
    e->want_room = false;
}

static bool output_is_low(struct gw_lcore *l, gw_conn c)
{
    struct gw_tcp_queue q = gw_tcp_queue(l->tcp, c);
    return q.sent_end - q.acked <= GW_EDGE_OUTPUT_BYTES_MAX / 2;
}

static void finish(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (e->abort_due) {
        gw_tcp_abort(l->tcp, c);
        return;
    }
    gw_edge_release(l, c);
    gw_edge_ack_on(l, c);
    if (e->seq - e->settled <= GW_EDGE_WINDOW / 2 && e->held_bytes <= GW_EDGE_HELD_BYTES_MAX / 2)
        e->paused &= (uint8_t)~GW_PAUSE_WINDOW;
    if (!gw_edge_flush_confirmed(l, c))
        gw_edge_pause(l, c, GW_PAUSE_CREDIT);
    if (e->want_room && output_is_low(l, c))
        tell_room(l, c);
    gw_edge_ask(l, c);
    if (!e->paused)
        gw_edge_read_on(l, c);
}

static unsigned finish_dirty(struct gw_lcore *l)
{
    unsigned n = 0;
    gw_conn c = l->edge->dirty_head;
    l->edge->dirty_head = 0;
    for (gw_conn next; c != 0; c = next, n++) {
        struct gw_edge_conn *e = gw_edge_conn(l, c);
        next = e->next_dirty;
        e->dirty = false;
        if (e->generation & 1) /* in use: see established and closed */
            finish(l, c);
    }
    return n;
}

static unsigned credits(const struct gw_lcore *l)
{
    unsigned room = 0;
    for (unsigned home = 0; home < l->count; home++)
        room += gw_post_up_room(l, home);
    return room;
}

/* In turn, and no more than may get one: who comes away empty-handed waits behind the others. */
static unsigned retry_waiting(struct gw_lcore *l)
{
    unsigned n = 0, max = credits(l);
    if (max > RETRIES_MAX)
        max = RETRIES_MAX;
    for (; n < max && l->edge->waiting_head != 0; n++) {
        gw_conn c = l->edge->waiting_head;
        struct gw_edge_conn *e = gw_edge_conn(l, c);
        l->edge->waiting_head = e->next_waiting;
        e->waiting = false;
        gw_edge_resume(l, c, GW_PAUSE_CREDIT);
    }
    return n;
}

unsigned gw_edge_finish(struct gw_lcore *l)
{
    unsigned n = gw_edge_send_unbinds(l);
    n += gw_edge_send_copies(l);
    n += retry_waiting(l);
    return n + finish_dirty(l);
}

unsigned gw_edge_shutdown(struct gw_lcore *l)
{
    struct gw_edge *g = l->edge;
    for (unsigned n = 0; n < 256 && g->shutdown_next <= l->cfg->conn_limit; n++) {
        gw_conn c = g->shutdown_next++;
        struct gw_edge_conn *e = gw_edge_conn(l, c);
        if (c != 0 && (e->generation & 1) && e->state != GW_EDGE_CLOSING)
            gw_edge_stream_error(l, c, GW_STREAM_SYSTEM_SHUTDOWN, NULL);
    }
    return g->shutdown_next <= l->cfg->conn_limit;
}
