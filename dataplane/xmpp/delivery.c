/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stanzas out to the client, and learning that stored ones have arrived.
 *
 * Handed over: TCP has acknowledged the bytes. Delivered: the client's stream management ack covers
 * the stanza, or it has answered a ping that was sent after it (stanzas are handled in order); a
 * client that answers neither counts as delivered when handed over, if the configuration says so.
 */
#include "edge.h"

#include <time.h>

#include "../base/check.h"
#include "../base/text.h"
#include "csi.h"
#include "ping.h"

/* ---- the ring of what is handed over ---- */

static struct gw_handed *handed(struct gw_lcore *l, struct gw_edge_conn *e, unsigned i)
{
    struct gw_handed *ring = gw_arena_ptr(l->arena, e->handed_block);
    return &ring[(e->handed_head + i) % e->handed_cap];
}

static bool grow_ring(struct gw_lcore *l, struct gw_edge_conn *e)
{
    uint16_t cap = e->handed_cap ? (uint16_t)(2 * e->handed_cap) : 8;
    gw_block b = gw_arena_get(l->arena, cap * sizeof(struct gw_handed));
    if (b == 0)
        return false;
    struct gw_handed *ring = gw_arena_ptr(l->arena, b);
    for (unsigned i = 0; i < e->handed_count; i++)
        ring[i] = *handed(l, e, i);
    gw_arena_put(l->arena, e->handed_block);
    e->handed_block = b;
    e->handed_cap = cap;
    e->handed_head = 0;
    return true;
}

static bool remember(struct gw_lcore *l, gw_conn c, uint64_t position)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    check(e->handed_count < GW_DELIVERY_WINDOW);
    if (e->handed_count == e->handed_cap && !grow_ring(l, e))
        return false;
    *handed(l, e, e->handed_count) = (struct gw_handed){
        .position = position,
        .stanza_number = e->out_count,
        .stream_end = (uint32_t)gw_tcp_queue(l->tcp, c).sent_end,
    };
    e->handed_count++;
    return true;
}

void gw_edge_handed_before(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    for (unsigned i = 0; i < e->handed_count; i++)
        handed(l, e, i)->stanza_number = e->out_count;
}

/* ---- out ---- */

static void write_delay(struct gw_lcore *l, gw_conn c, uint64_t stamp_us)
{
    char buf[160], stamp[32];
    time_t s = (time_t)(stamp_us / 1000000);
    struct tm tm;
    gmtime_r(&s, &tm);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
    struct gw_text t = gw_text(buf, sizeof(buf));
    gw_text_str(&t, "<delay xmlns='urn:xmpp:delay' stamp='");
    gw_text_str(&t, stamp);
    gw_text_str(&t, ".");
    uint64_t ms = stamp_us / 1000 % 1000;
    char digits[3] = {(char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10)};
    gw_text_put(&t, gw_bytes(digits, 3));
    gw_text_str(&t, "Z'/>");
    gw_edge_write(l, c, gw_text_bytes(&t));
}

static const uint8_t *stanza_of(const struct gw_lcore *l, const struct gw_post *p)
{
    return (const uint8_t *)gw_arena_ptr(l->arenas[p->owner], p->block) + p->deliver.off;
}

static void write_stanza(struct gw_lcore *l, gw_conn c, const struct gw_post *p)
{
    const uint8_t *xml = stanza_of(l, p);
    uint32_t cut = p->deliver.delay_off;
    if (cut != 0) {
        gw_edge_write(l, c, gw_bytes(xml, cut));
        write_delay(l, c, p->deliver.delay_us);
    }
    gw_edge_write(l, c, gw_bytes(xml + cut, p->deliver.len - cut));
    gw_edge_conn(l, c)->out_count++;
    GW_COUNT(l->edge_count.stanzas_out);
}

static bool has_room(struct gw_lcore *l, gw_conn c, uint32_t len)
{
    struct gw_tcp_queue q = gw_tcp_queue(l->tcp, c);
    uint64_t queued = q.sent_end - q.acked;
    return queued == 0 || queued + len <= GW_EDGE_OUTPUT_BYTES_MAX;
}

/* Whom the user blocks from now on. Without memory for it the connection ends: what the user does not
 * want said must not be said. */
static enum gw_taken take_blocks(struct gw_lcore *l, gw_conn c, const struct gw_post *p)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    gw_arena_put(l->arena, e->blocks_block);
    e->blocks_block = 0;
    if (p->deliver.len == 0)
        return GW_TAKEN_OK;
    size_t len = sizeof(struct gw_home_text) + p->deliver.len;
    e->blocks_block = gw_arena_get(l->arena, len);
    if (e->blocks_block == 0)
        gw_edge_give_up(l, c);
    else
        memcpy(gw_arena_ptr(l->arena, e->blocks_block), gw_arena_ptr(l->arenas[p->owner], p->block),
               len);
    return GW_TAKEN_OK;
}

static enum gw_taken take(struct gw_lcore *l, gw_conn c, const struct gw_post *p)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (p->deliver.lent == GW_LENT_BLOCKS) /* also while it is being bound */
        return e->generation == p->conn.generation ? take_blocks(l, c, p) : GW_TAKEN_GONE;
    if (e->generation != p->conn.generation || e->state != GW_EDGE_BOUND)
        return GW_TAKEN_GONE;
    bool stored = p->deliver.position != 0;
    if (p->deliver.lent == GW_LENT_ANSWER) { /* in its place among the answers */
        const uint8_t *xml = gw_arena_ptr(l->arenas[p->owner], p->block);
        gw_edge_answer_after(l, c, p->seq - 1, GW_ANSWER_STANZA,
                             gw_bytes(xml + p->deliver.off, p->deliver.len));
        gw_edge_mark_dirty(l, c);
        return GW_TAKEN_OK;
    }
    if (e->refusing && p->epoch == e->refused_epoch) /* nothing overtakes what was refused */
        return GW_TAKEN_NO_ROOM;
    if (e->inactive && !stored &&
        gw_edge_hold_back(l, c, gw_bytes(stanza_of(l, p), p->deliver.len)))
        return GW_TAKEN_OK;
    if (!has_room(l, c, p->deliver.len)) {
        GW_COUNT(l->edge_count.deliveries_deferred);
        if (stored) { /* what follows in this epoch must not overtake it */
            e->refusing = e->want_room = true;
            e->refused_epoch = p->epoch;
        }
        return GW_TAKEN_NO_ROOM;
    }
    e->refusing = false;
    gw_edge_send_held_back(l, c);
    write_stanza(l, c, p);
    if (stored && !remember(l, c, p->deliver.position))
        gw_edge_give_up(l, c);
    gw_edge_mark_dirty(l, c);
    return GW_TAKEN_OK;
}

void gw_edge_deliver(struct gw_lcore *l, struct gw_post *p)
{
    struct gw_post answer = {
        .op = GW_POST_TAKEN,
        .n = (uint8_t)take(l, p->conn.index, p),
        .conn = p->conn,
        .session = p->session,
        .block = p->block,
        .owner = p->owner,
        .epoch = p->epoch,
        .deliver = p->deliver,
    };
    gw_post_answer(l, p->from, &answer);
}

/* ---- confirmation ---- */

static void confirm(struct gw_lcore *l, gw_conn c, unsigned upto)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (upto > e->handed_confirmed) {
        GW_COUNT_ADD(l->edge_count.delivered, upto - e->handed_confirmed);
        e->handed_confirmed = (uint16_t)upto;
        gw_edge_mark_dirty(l, c);
    }
}

bool gw_edge_confirm_stanzas(struct gw_lcore *l, gw_conn c, uint32_t out_count)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if ((int32_t)(e->out_count - out_count) < 0)
        return false;
    unsigned n = e->handed_confirmed;
    while (n < e->handed_count && (int32_t)(out_count - handed(l, e, n)->stanza_number) >= 0)
        n++;
    confirm(l, c, n);
    gw_edge_confirm_refusals(l, c, out_count);
    return true;
}

void gw_edge_confirm_ping(struct gw_lcore *l, gw_conn c, uint32_t number)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (!e->ping_outstanding || number != e->ping_number)
        return;
    e->ping_outstanding = false;
    e->no_ping = false;
    confirm(l, c, e->handed_asked);
    gw_edge_mark_dirty(l, c);
    gw_edge_set_deadline(l, c);
}

void gw_edge_confirm_handed_over(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    uint32_t acked = (uint32_t)gw_tcp_queue(l->tcp, c).acked;
    unsigned n = e->handed_confirmed;
    while (n < e->handed_count && (int32_t)(acked - handed(l, e, n)->stream_end) >= 0)
        n++;
    confirm(l, c, n);
}

static void drop_confirmed(struct gw_lcore *l, struct gw_edge_conn *e, unsigned n)
{
    e->handed_head = (uint16_t)((e->handed_head + n) % e->handed_cap);
    e->handed_count -= (uint16_t)n;
    e->handed_confirmed -= (uint16_t)n;
    e->handed_asked = e->handed_asked > n ? (uint16_t)(e->handed_asked - n) : 0;
    if (e->handed_count == 0) { /* no buffer at idle */
        gw_arena_put(l->arena, e->handed_block);
        e->handed_block = 0;
        e->handed_cap = 0;
        e->handed_head = 0;
    }
}

bool gw_edge_flush_confirmed(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    unsigned home = e->session.lcore;
    while (e->handed_confirmed > 0) {
        if (gw_post_up_room(l, home) == 0)
            return false;
        struct gw_post p = {.op = GW_POST_DELIVERED, .session = e->session};
        while (p.n < GW_POST_POSITIONS_MAX && p.n < e->handed_confirmed) {
            p.positions[p.n] = handed(l, e, p.n)->position;
            p.n++;
        }
        drop_confirmed(l, e, p.n);
        gw_post_up(l, home, &p);
    }
    return true;
}

/* ---- asking ---- */

void gw_edge_send_ping(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    struct gw_text t = gw_text(l->scratch, GW_SCRATCH_BYTES);
    gw_text_str(&t, "<iq type='get' id='" GW_PING_ID_PREFIX);
    gw_text_uint(&t, ++e->ping_number);
    gw_text_str(&t, "' from='");
    gw_text_escaped(&t, gw_edge_domain(l, c));
    gw_text_str(&t, "' to='");
    gw_text_escaped(&t, gw_edge_full(l, c));
    gw_text_str(&t, "'><ping xmlns='urn:xmpp:ping'/></iq>");
    gw_edge_send_held_back(l, c);
    gw_edge_write(l, c, gw_text_bytes(&t));
    e->out_count++;
    e->ping_outstanding = true;
    e->handed_asked = e->handed_count;
    e->waits_us = l->now_us;
    GW_COUNT(l->edge_count.pings_out);
    gw_edge_set_deadline(l, c);
}

void gw_edge_send_r(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    e->r_outstanding = true;
    e->waits_us = l->now_us;
    gw_edge_write(l, c, GW_LIT("<r xmlns='urn:xmpp:sm:3'/>"));
    gw_edge_set_deadline(l, c);
}

void gw_edge_ask(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    bool waits = e->handed_count > e->handed_confirmed || e->refusals[0].out;
    if (!waits || e->state != GW_EDGE_BOUND)
        return;
    if (e->sm) {
        if (!e->r_outstanding)
            gw_edge_send_r(l, c);
    } else if (!e->no_ping && !e->ping_outstanding) {
        gw_edge_send_ping(l, c);
    }
}

void gw_edge_acked(void *ctx, gw_conn c, uint64_t acked)
{
    struct gw_lcore *l = ctx;
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    uint64_t queued = gw_tcp_queue(l->tcp, c).sent_end - acked;
    if (e->no_ping)
        gw_edge_confirm_handed_over(l, c);
    if (queued <= GW_EDGE_OUTPUT_BYTES_MAX / 2) {
        gw_edge_resume(l, c, GW_PAUSE_OUTPUT);
        if (e->want_room)
            gw_edge_mark_dirty(l, c);
    }
}
