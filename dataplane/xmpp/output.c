/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes out: answers in the order of the stanzas that they answer, never before those are settled. */
#include "edge.h"

#include <errno.h>

#include "../base/check.h"
#include "../base/text.h"
#include "csi.h"

static struct gw_held *held_at(struct gw_lcore *l, gw_block b)
{
    return gw_arena_ptr(l->arena, b);
}

void gw_edge_give_up(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    GW_COUNT(l->edge_count.out_of_memory);
    e->abort_due = true;
    e->state = GW_EDGE_CLOSING;
    gw_edge_mark_dirty(l, c);
}

void gw_edge_write(struct gw_lcore *l, gw_conn c, struct gw_bytes b)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (e->abort_due)
        return;
    if (gw_tcp_send_copy(l->tcp, c, b.p, b.len) == -ENOBUFS)
        gw_edge_give_up(l, c);
    struct gw_tcp_queue q = gw_tcp_queue(l->tcp, c);
    if (q.sent_end - q.acked > GW_EDGE_OUTPUT_BYTES_MAX && !(e->paused & GW_PAUSE_OUTPUT)) {
        GW_COUNT(l->edge_count.paused_output);
        gw_edge_pause(l, c, GW_PAUSE_OUTPUT);
    }
}

/* A refusal is written, or there was no memory for it and it never arrives. */
static void note_refusal(struct gw_lcore *l, gw_conn c, uint32_t seq)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    uint32_t enabled = e->sm_base + l->cfg->count_first; /* with <enabled/> all before it are settled */
    bool counts = e->sm || (e->enabling && (int32_t)(seq - enabled) > 0);
    if ((!e->resumable && !e->enabling) || !counts)
        return;
    struct gw_edge_refusals *r = &e->refusals[e->refusals[0].out];
    if (!r->out)
        r->first_seq = seq;
    r->out = true;
    r->number = e->out_count + e->abort_due;
    gw_edge_mark_dirty(l, c); /* its client is asked for an ack */
}

/* ---- numbering and settling ---- */

bool gw_edge_number(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (e->seq - e->settled >= GW_EDGE_WINDOW || e->held_bytes > GW_EDGE_HELD_BYTES_MAX) {
        if (!(e->paused & GW_PAUSE_WINDOW))
            GW_COUNT(l->edge_count.paused_window);
        gw_edge_pause(l, c, GW_PAUSE_WINDOW);
        return false;
    }
    e->seq++;
    return true;
}

/* ---- what waits ---- */

uint32_t gw_edge_acknowledged(struct gw_lcore *l, const struct gw_edge_conn *e)
{
    uint32_t upto = e->settled;
    if (e->held_head != 0 && (int32_t)(upto - held_at(l, e->held_head)->seq) > 0)
        upto = held_at(l, e->held_head)->seq;
    if (e->refusals[0].out && (int32_t)(upto - e->refusals[0].first_seq) >= 0)
        upto = e->refusals[0].first_seq - 1;
    return upto - e->sm_base;
}

void gw_edge_write_ack(struct gw_lcore *l, gw_conn c, uint32_t h)
{
    char buf[64];
    struct gw_text t = gw_text(buf, sizeof(buf));
    gw_text_str(&t, "<a xmlns='urn:xmpp:sm:3' h='");
    gw_text_uint(&t, h);
    gw_text_str(&t, "'/>");
    GW_COUNT(l->edge_count.acks_out);
    gw_edge_write(l, c, gw_text_bytes(&t));
}

void gw_edge_confirm_refusals(struct gw_lcore *l, gw_conn c, uint32_t out_count)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    struct gw_edge_refusals *r = e->refusals;
    while (r[0].out && (int32_t)(out_count - r[0].number) >= 0) {
        r[0] = r[1];
        r[1].out = false;
        e->ack_due |= e->ack_short;
        e->ack_short = false;
        gw_edge_mark_dirty(l, c);
    }
}

/* XEP-0198 section 4: counting begins with <enabled/>, and who acknowledges anything has that. */
static void count_from_here(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    e->out_count = l->cfg->count_first;
    e->refusals[0].number = e->refusals[1].number = e->out_count;
    gw_edge_handed_before(l, c);
}

void gw_edge_ack_on(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (!e->ack_due || !e->sm || e->state != GW_EDGE_BOUND)
        return;
    uint32_t h = gw_edge_acknowledged(l, e);
    e->ack_short = e->refusals[0].out;
    if (!e->resumable || h == e->h_durable) {
        e->ack_due = false;
        gw_edge_write_ack(l, c, h);
        return;
    }
    if (e->counting || !gw_edge_has_credit(l, c, e->session.lcore))
        return;
    struct gw_post p = {.op = GW_POST_COUNT, .conn = gw_edge_ref(l, c), .session = e->session,
                        .seq = h};
    gw_post_up(l, e->session.lcore, &p);
    e->counting = true;
    e->ack_due = false; /* until it is asked for again */
}

static bool is_due(const struct gw_edge_conn *e, const struct gw_held *h)
{
    return (int32_t)(e->settled - h->seq) >= 0;
}

static void write_answer(struct gw_lcore *l, gw_conn c, uint32_t seq, enum gw_answer what,
                         struct gw_bytes b)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    switch (what) {
    case GW_ANSWER_ACK:
        e->ack_due = true;
        gw_edge_mark_dirty(l, c);
        return;
    case GW_ANSWER_STANZA:
    case GW_ANSWER_RESULT:
    case GW_ANSWER_REFUSAL:
        gw_edge_send_held_back(l, c);
        e->out_count++;
        GW_COUNT(l->edge_count.stanzas_out);
        break;
    case GW_ANSWER_ENABLED:
        e->sm = true;
        count_from_here(l, c);
        break;
    case GW_ANSWER_NONZA:
    case GW_ANSWER_LAST:
        break;
    }
    if (b.len)
        gw_edge_write(l, c, b);
    if (what == GW_ANSWER_REFUSAL)
        note_refusal(l, c, seq + 1);
    if (what == GW_ANSWER_LAST)
        gw_tcp_shutdown(l->tcp, c);
}

void gw_edge_release(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    while (e->held_head != 0 && is_due(e, held_at(l, e->held_head))) {
        gw_block b = e->held_head;
        struct gw_held *h = held_at(l, b);
        e->held_head = h->next;
        e->held_bytes -= (uint32_t)sizeof(*h) + h->len;
        write_answer(l, c, h->seq, h->what, gw_bytes(h->text, h->len));
        gw_arena_put(l->arena, b);
    }
    if (e->held_head == 0)
        e->held_tail = 0;
}

/* By the stanza that each waits for: the refusal of an earlier stanza, which its home sends when it
 * likes, must not come behind the answer to a later one, which acknowledges it. */
static void insert(struct gw_lcore *l, struct gw_edge_conn *e, gw_block at)
{
    struct gw_held *h = held_at(l, at);
    gw_block *link = &e->held_head;
    if (e->held_tail != 0 && (int32_t)(h->seq - held_at(l, e->held_tail)->seq) >= 0)
        link = &held_at(l, e->held_tail)->next; /* as a rule */
    while (*link != 0 && (int32_t)(h->seq - held_at(l, *link)->seq) >= 0)
        link = &held_at(l, *link)->next;
    h->next = *link;
    *link = at;
    if (h->next == 0)
        e->held_tail = at;
}

static void hold(struct gw_lcore *l, gw_conn c, uint32_t seq, enum gw_answer what, struct gw_bytes b)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    gw_block at = gw_arena_get(l->arena, sizeof(struct gw_held) + b.len);
    if (at == 0) {
        gw_edge_give_up(l, c);
        if (what == GW_ANSWER_REFUSAL)
            note_refusal(l, c, seq + 1);
        return;
    }
    struct gw_held *h = held_at(l, at);
    *h = (struct gw_held){.seq = seq, .len = (uint32_t)b.len, .what = (uint8_t)what};
    if (b.len)
        memcpy(h->text, b.p, b.len);
    insert(l, e, at);
    e->held_bytes += (uint32_t)(sizeof(*h) + b.len);
}

void gw_edge_answer_after(struct gw_lcore *l, gw_conn c, uint32_t seq, enum gw_answer what,
                          struct gw_bytes b)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    /* Acks are written at the end of the pass, one for all that were asked for in it. */
    if (e->held_head == 0 && (int32_t)(e->settled - seq) >= 0 && what != GW_ANSWER_ACK)
        write_answer(l, c, seq, what, b);
    else
        hold(l, c, seq, what, b);
}

void gw_edge_answer(struct gw_lcore *l, gw_conn c, struct gw_bytes b)
{
    gw_edge_answer_after(l, c, gw_edge_conn(l, c)->seq - 1, GW_ANSWER_STANZA, b);
}

void gw_edge_answer_nonza(struct gw_lcore *l, gw_conn c, enum gw_answer what, struct gw_bytes b)
{
    gw_edge_answer_after(l, c, gw_edge_conn(l, c)->seq, what, b);
    gw_edge_mark_dirty(l, c);
}

void gw_settle_in(uint64_t ahead_bits[GW_EDGE_WINDOW / 64], uint32_t *settled, uint32_t seq)
{
    uint32_t ahead = seq - *settled;
    check(ahead >= 1 && ahead <= GW_EDGE_WINDOW);
    uint64_t bit = 1ull << seq % 64;
    check((ahead_bits[seq % GW_EDGE_WINDOW / 64] & bit) == 0);
    ahead_bits[seq % GW_EDGE_WINDOW / 64] |= bit;
    for (;;) {
        uint32_t next = *settled + 1;
        uint64_t *word = &ahead_bits[next % GW_EDGE_WINDOW / 64];
        if (!(*word & 1ull << next % 64))
            break;
        *word &= ~(1ull << next % 64);
        *settled = next;
    }
}

void gw_edge_settle(struct gw_lcore *l, gw_conn c, uint32_t seq)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    gw_settle_in(e->settled_ahead, &e->settled, seq);
    if (e->held_head != 0 || (e->paused & GW_PAUSE_WINDOW))
        gw_edge_mark_dirty(l, c);
}

void gw_edge_drop_held(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    while (e->held_head != 0) {
        gw_block b = e->held_head;
        e->held_head = held_at(l, b)->next;
        gw_arena_put(l->arena, b);
    }
    e->held_tail = 0;
    e->held_bytes = 0;
}
