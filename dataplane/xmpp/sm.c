/* SPDX-License-Identifier: Apache-2.0 */
/* Stream management (XEP-0198 version 1.6): acks, and streams that go on over another connection. */
#include "edge.h"

#include <stdio.h>

#include "../base/text.h"

#define NAME_BYTES sizeof(struct gw_stream_name)

static void fail(struct gw_lcore *l, gw_conn c, const char *condition)
{
    char buf[160];
    int n = snprintf(buf, sizeof(buf),
                     "<failed xmlns='urn:xmpp:sm:3'>"
                     "<%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>",
                     condition);
    gw_edge_answer_nonza(l, c, GW_ANSWER_NONZA, gw_bytes(buf, (size_t)n));
}

/* Whether the <enable/> in l->xml wants a stream that can be resumed (an xs:boolean). */
static bool asks_resume(const struct gw_lcore *l)
{
    const struct gw_xml_attr *a = gw_xml_attr(l->xml, 0, GW_LIT("resume"));
    return l->cfg->resume_timeout_us > 0 && a != NULL &&
           (gw_bytes_eq(a->value, GW_LIT("true")) || gw_bytes_eq(a->value, GW_LIT("1")));
}

static enum gw_handled enable(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (e->sm_in) { /* XEP-0198 section 3 */
        gw_edge_stream_error(l, c, GW_STREAM_POLICY_VIOLATION, "stream management is enabled already");
        return GW_HANDLED;
    }
    if (e->state != GW_EDGE_BOUND) {
        fail(l, c, "unexpected-request");
        return GW_HANDLED;
    }
    if (!gw_edge_has_credit(l, c, e->session.lcore))
        return GW_HANDLE_LATER;
    struct gw_post p = {.op = GW_POST_SM, .conn = gw_edge_ref(l, c), .session = e->session,
                        .n = asks_resume(l), .seq = l->cfg->count_first};
    gw_post_up(l, e->session.lcore, &p);
    e->sm_in = e->enabling = true;
    e->sm_base = e->seq - l->cfg->count_first;
    e->h_durable = l->cfg->count_first;
    return GW_HANDLED;
}

static bool is_here(const struct gw_lcore *l, const struct gw_post *p, enum gw_edge_state state)
{
    const struct gw_edge_conn *e = gw_edge_conn(l, p->conn.index);
    return e->generation == p->conn.generation && e->state == state;
}

void gw_edge_enabled(struct gw_lcore *l, struct gw_post *p)
{
    gw_conn c = p->conn.index;
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    char buf[160];
    struct gw_text t = gw_text(buf, sizeof(buf));
    if (!is_here(l, p, GW_EDGE_BOUND))
        return;
    gw_text_str(&t, "<enabled xmlns='urn:xmpp:sm:3'");
    if (p->n != 0) {
        gw_text_str(&t, " resume='true' id='");
        gw_text_hex(&t, p->name.b, NAME_BYTES);
        gw_text_str(&t, "' max='");
        gw_text_uint(&t, l->cfg->resume_timeout_us / 1000000);
        gw_text_str(&t, "'");
    }
    gw_text_str(&t, "/>");
    e->enabling = false;
    e->resumable = p->n != 0;
    gw_edge_answer_nonza(l, c, GW_ANSWER_ENABLED, gw_text_bytes(&t));
}

void gw_edge_counted(struct gw_lcore *l, struct gw_post *p)
{
    struct gw_edge_conn *e = gw_edge_conn(l, p->conn.index);
    if (!is_here(l, p, GW_EDGE_BOUND))
        return;
    e->counting = false;
    e->h_durable = p->seq;
    gw_edge_write_ack(l, p->conn.index, p->seq);
    gw_edge_mark_dirty(l, p->conn.index);
}

/* h of an <a/>: a decimal number that wraps at 2^32. */
static bool read_h(const struct gw_lcore *l, uint32_t *h)
{
    char text[16];
    uint64_t v = 0;
    int n = gw_xml_attr_text(l->xml, 0, GW_LIT("h"), text, sizeof(text));
    for (int i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    *h = (uint32_t)v;
    return n > 0 && v <= UINT32_MAX;
}

/* XEP-0198 section 4. */
static void refuse_ack(struct gw_lcore *l, gw_conn c, uint32_t h, uint32_t sent)
{
    char condition[128];
    snprintf(condition, sizeof(condition),
             "<handled-count-too-high xmlns='urn:xmpp:sm:3' h='%u' send-count='%u'/>", h,
             sent);
    gw_edge_stream_error_with(l, c, GW_STREAM_UNDEFINED_CONDITION,
                              "acknowledged more stanzas than were sent", condition);
}

static void take_ack(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    uint32_t h;
    if (!e->sm || !read_h(l, &h)) {
        gw_edge_stream_error(l, c, GW_STREAM_POLICY_VIOLATION, "malformed stream management ack");
        return;
    }
    GW_COUNT(l->edge_count.acks_in);
    e->r_outstanding = false;
    if (!gw_edge_confirm_stanzas(l, c, h))
        refuse_ack(l, c, h, e->out_count);
}

/* ---- resumption (XEP-0198 section 5) ---- */

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_name(const struct gw_lcore *l, struct gw_stream_name *out)
{
    const struct gw_xml_attr *a = gw_xml_attr(l->xml, 0, GW_LIT("previd"));
    if (a == NULL || a->value.len != 2 * NAME_BYTES)
        return false;
    for (size_t i = 0; i < NAME_BYTES; i++) {
        int high = hex_digit(a->value.p[2 * i]), low = hex_digit(a->value.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out->b[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static enum gw_handled resume(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    struct gw_stream_name name;
    uint32_t h;
    if (e->state != GW_EDGE_READY) {
        fail(l, c, "unexpected-request");
        return GW_HANDLED;
    }
    if (!read_h(l, &h) || !read_name(l, &name)) {
        GW_COUNT(l->edge_count.resumes_failed);
        fail(l, c, "item-not-found");
        return GW_HANDLED;
    }
    unsigned home = gw_home_of(l, gw_edge_bare(l, c));
    if (!gw_edge_has_credit(l, c, home))
        return GW_HANDLE_LATER;
    gw_block b = gw_edge_bind_request(l, c, 1 + GW_JID_PART_BYTES_MAX); /* the home fills in which */
    if (b == 0) {
        GW_COUNT(l->edge_count.resumes_failed);
        fail(l, c, "resource-constraint");
        return GW_HANDLED;
    }
    struct gw_bind *r = gw_arena_ptr(l->arena, b);
    r->out_count = h;
    r->name = name;
    gw_edge_bind_ask(l, c, home, GW_POST_RESUME, b);
    return GW_HANDLED;
}

static void write_resumed(struct gw_lcore *l, gw_conn c, const struct gw_stream_name *name, uint32_t h)
{
    char buf[160];
    struct gw_text t = gw_text(buf, sizeof(buf));
    gw_text_str(&t, "<resumed xmlns='urn:xmpp:sm:3' previd='");
    gw_text_hex(&t, name->b, NAME_BYTES);
    gw_text_str(&t, "' h='");
    gw_text_uint(&t, h);
    gw_text_str(&t, "'/>");
    gw_edge_answer_nonza(l, c, GW_ANSWER_NONZA, gw_text_bytes(&t));
}

/* The stream goes on here, behind what the client has handled. False: no memory. */
static bool go_on(struct gw_lcore *l, gw_conn c, const struct gw_post *p, const struct gw_bind *r)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    size_t skip = r->bare_len + 1u;
    if (!gw_edge_extend_jid(l, c, gw_bytes(r->text + skip, r->len - skip)))
        return false;
    e->session = p->session;
    e->state = GW_EDGE_BOUND;
    e->sm_in = e->sm = e->resumable = true;
    e->sm_base = e->seq - p->seq;
    e->h_durable = p->seq;
    e->out_count = r->out_count;
    GW_COUNT(l->edge_count.resumed);
    write_resumed(l, c, &r->name, p->seq);
    return true;
}

static void answer_resume(struct gw_lcore *l, gw_conn c, const struct gw_post *p, uint32_t asked_h)
{
    const struct gw_bind *r = gw_arena_ptr(l->arena, p->block);
    if (p->status != GW_RESUMED_OK)
        GW_COUNT(l->edge_count.resumes_failed);
    switch ((enum gw_resumed)p->status) {
    case GW_RESUMED_OK:
        break;
    case GW_RESUMED_NOT_FOUND:
        fail(l, c, "item-not-found");
        break;
    case GW_RESUMED_BUSY:
        fail(l, c, "resource-constraint");
        break;
    case GW_RESUMED_TOO_HIGH:
        refuse_ack(l, c, asked_h, r->out_count);
        break;
    }
}

void gw_edge_resumed(struct gw_lcore *l, struct gw_post *p)
{
    gw_conn c = p->conn.index;
    const struct gw_bind *r = gw_arena_ptr(l->arena, p->block);
    bool here = is_here(l, p, GW_EDGE_READY);
    bool on = p->status == GW_RESUMED_OK && here && go_on(l, c, p, r);
    if (p->status != GW_RESUMED_OK) {
        l->edge->bound_count--;
    } else if (!on) { /* gone meanwhile: it may come back once more */
        gw_edge_unbind(l, &(struct gw_edge_leave){.session = p->session, .keep = true, .h = p->seq,
                                                  .out_count = r->out_count});
        if (here)
            gw_edge_stream_error(l, c, GW_STREAM_RESOURCE_CONSTRAINT, NULL);
    }
    if (here && gw_edge_conn(l, c)->state != GW_EDGE_CLOSING) {
        answer_resume(l, c, p, p->seq);
        gw_edge_conn(l, c)->waits_us = l->now_us;
        gw_edge_set_deadline(l, c);
        gw_edge_resume(l, c, GW_PAUSE_BIND);
    }
    gw_arena_put(l->arena, p->block);
}

/* ---- what comes in ---- */

enum gw_handled gw_edge_sm(struct gw_lcore *l, gw_conn c)
{
    struct gw_bytes name = l->xml->nodes[0].name;
    if (gw_bytes_eq(name, GW_LIT("r")) && gw_edge_conn(l, c)->sm_in)
        gw_edge_answer_nonza(l, c, GW_ANSWER_ACK, gw_bytes(NULL, 0));
    else if (gw_bytes_eq(name, GW_LIT("a")))
        take_ack(l, c);
    else if (gw_bytes_eq(name, GW_LIT("enable")))
        return enable(l, c);
    else if (gw_bytes_eq(name, GW_LIT("resume")))
        return resume(l, c);
    else
        gw_edge_stream_error(l, c, GW_STREAM_UNSUPPORTED_STANZA_TYPE, NULL);
    return GW_HANDLED;
}
