/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes in: units found, kept when they arrive in pieces, handled one by one, or paused. */
#include "edge.h"

#include <x86intrin.h>

#include "../base/check.h"

static uint32_t unit_bytes_max(const struct gw_lcore *l, const struct gw_edge_conn *e)
{
    return e->authenticated ? l->cfg->stanza_bytes_max : l->cfg->auth_stanza_bytes_max;
}

static void drop_input(struct gw_lcore *l, struct gw_edge_conn *e)
{
    gw_arena_put(l->arena, e->in_block);
    e->in_block = 0;
    e->in_len = 0;
    e->in_whole = false;
}

static void xml_error(struct gw_lcore *l, gw_conn c)
{
    static const enum gw_stream_error answers[] = {
        [GW_XML_NOT_WELL_FORMED] = GW_STREAM_NOT_WELL_FORMED,
        [GW_XML_RESTRICTED] = GW_STREAM_RESTRICTED_XML,
        [GW_XML_BAD_PREFIX] = GW_STREAM_BAD_NAMESPACE_PREFIX,
        [GW_XML_LIMIT] = GW_STREAM_POLICY_VIOLATION,
        [GW_XML_BAD_FORMAT] = GW_STREAM_BAD_FORMAT,
        [GW_XML_ENCODING] = GW_STREAM_UNSUPPORTED_ENCODING,
    };
    gw_edge_stream_error(l, c, answers[l->xml->error], NULL);
}

/* Of the unit in l->xml; false when they are too many for somebody who has not said who it is. */
static bool count_elements(const struct gw_lcore *l, struct gw_edge_conn *e)
{
    if (l->xml->node_count > GW_EDGE_AUTH_ELEMENTS_MAX - e->elements)
        return false;
    e->elements += l->xml->node_count & 63;
    return true;
}

/* The unit in l->xml is whole. */
static enum gw_handled handle(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (l->xml->consumed > unit_bytes_max(l, e)) {
        gw_edge_stream_error(l, c, GW_STREAM_POLICY_VIOLATION, "stanza too big");
        return GW_HANDLED;
    }
    if (!e->authenticated && !count_elements(l, e)) {
        gw_edge_stream_error(l, c, GW_STREAM_POLICY_VIOLATION, "too many elements before login");
        return GW_HANDLED;
    }
    return e->header_seen ? gw_edge_unit(l, c) : gw_edge_stream_open(l, c);
}

/* Parse and handle the unit that has been kept. */
static void handle_kept(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    int rc = gw_xml_parse(l->xml, gw_arena_ptr(l->arena, e->in_block), e->in_len, e->header_seen);
    if (rc < 0)
        xml_error(l, c);
    else if (rc == 0) /* the framer has found an end that is none */
        gw_edge_stream_error(l, c, GW_STREAM_NOT_WELL_FORMED, NULL);
    else if (handle(l, c) == GW_HANDLE_LATER)
        return;
    drop_input(l, e);
}

/* Room for `more` bytes behind what is kept. */
static bool grow_kept(struct gw_lcore *l, struct gw_edge_conn *e, size_t more)
{
    size_t need = e->in_len + more;
    if (e->in_block != 0 && need <= gw_arena_block_bytes(l->arena, e->in_block))
        return true;
    gw_block b = gw_arena_get(l->arena, need < 256 ? 256 : need + need / 2);
    if (b == 0)
        return false;
    if (e->in_block != 0)
        memcpy(gw_arena_ptr(l->arena, b), gw_arena_ptr(l->arena, e->in_block), e->in_len);
    gw_arena_put(l->arena, e->in_block);
    e->in_block = b;
    return true;
}

/* Add bytes to the unit that is being kept; handle it when it is whole. Returns bytes taken. */
static size_t keep(struct gw_lcore *l, gw_conn c, const uint8_t *p, size_t len)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    bool whole;
    size_t used = gw_xml_frame_feed(&e->frame, p, len, e->header_seen, &whole);
    if (e->in_len + used > unit_bytes_max(l, e)) {
        gw_edge_stream_error(l, c, GW_STREAM_POLICY_VIOLATION, "stanza too big");
        return len;
    }
    if (!grow_kept(l, e, used)) {
        GW_COUNT(l->edge_count.out_of_memory);
        gw_edge_stream_error(l, c, GW_STREAM_RESOURCE_CONSTRAINT, NULL);
        return len;
    }
    memcpy((uint8_t *)gw_arena_ptr(l->arena, e->in_block) + e->in_len, p, used);
    e->in_len += (uint32_t)used;
    e->in_whole = whole;
    if (whole)
        handle_kept(l, c);
    return used;
}

/* One unit, or a part of one, from the front of p. Returns bytes taken. */
static size_t take(struct gw_lcore *l, gw_conn c, const uint8_t *p, size_t len)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (e->in_block != 0)
        return keep(l, c, p, len);
    int rc = gw_xml_parse(l->xml, p, len, e->header_seen);
    if (rc < 0) {
        xml_error(l, c);
        return len;
    }
    if (rc == 0) {
        e->frame = (struct gw_xml_frame){0};
        return keep(l, c, p, len);
    }
    size_t used = l->xml->consumed;
    return handle(l, c) == GW_HANDLED ? used : 0;
}

static size_t take_all(struct gw_lcore *l, gw_conn c, const uint8_t *p, size_t len)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    size_t used = 0;
    e->heard_us = l->now_us;
    while (used < len && !e->paused && e->state != GW_EDGE_CLOSING)
        used += take(l, c, p + used, len - used);
    if (e->state != GW_EDGE_CLOSING)
        return used;
    drop_input(l, e);
    return len;
}

/* A function of its own in every build: a profile shows it as a stage of the pass. */
__attribute__((noinline)) size_t gw_edge_data(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    struct gw_lcore *l = ctx;
    uint64_t start = __rdtsc();
    size_t used = take_all(l, c, p, len);
    l->parse_cycles += __rdtsc() - start;
    return used;
}

void gw_edge_pause(struct gw_lcore *l, gw_conn c, uint8_t why)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    e->paused |= why;
    if (why == GW_PAUSE_CREDIT && !e->waiting) {
        e->waiting = true;
        e->next_waiting = 0;
        if (l->edge->waiting_head == 0)
            l->edge->waiting_head = c;
        else
            gw_edge_conn(l, l->edge->waiting_tail)->next_waiting = c;
        l->edge->waiting_tail = c;
    }
}

bool gw_edge_has_credit(struct gw_lcore *l, gw_conn c, unsigned home)
{
    if (gw_post_up_room(l, home) > 0)
        return true;
    GW_COUNT(l->edge_count.paused_credit);
    gw_edge_pause(l, c, GW_PAUSE_CREDIT);
    return false;
}

void gw_edge_resume(struct gw_lcore *l, gw_conn c, uint8_t why)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if ((e->paused & why) == 0)
        return;
    e->paused &= (uint8_t)~why;
    if (e->paused == 0)
        gw_edge_mark_dirty(l, c);
}

/* What a resumed connection does when the pass ends. */
void gw_edge_read_on(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (e->in_whole && e->state != GW_EDGE_CLOSING)
        handle_kept(l, c);
    if (e->state == GW_EDGE_CLOSING)
        drop_input(l, e);
    if (!e->paused)
        gw_tcp_read_resume(l->tcp, c);
}

void gw_edge_mark_dirty(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (e->dirty)
        return;
    e->dirty = true;
    e->next_dirty = l->edge->dirty_head;
    l->edge->dirty_head = c;
}
