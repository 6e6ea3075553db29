/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes out: answers in the order of the stanzas that they answer, never before those are settled. */
#include "edge.h"

#include <errno.h>

#include "../base/check.h"
#include "../base/text.h"

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

/* What is settled, but nothing whose answer is still to be written behind this ack: a stanza's
 * refusal must not come after what acknowledges it. */
static uint32_t acknowledged(struct gw_lcore *l, const struct gw_edge_conn *e)
{
    uint32_t upto = e->settled;
    if (e->held_head != 0 && (int32_t)(upto - held_at(l, e->held_head)->seq) > 0)
        upto = held_at(l, e->held_head)->seq;
    return upto - e->sm_base;
}

static void write_ack(struct gw_lcore *l, gw_conn c)
{
    char buf[64];
    struct gw_text t = gw_text(buf, sizeof(buf));
    gw_text_str(&t, "<a xmlns='urn:xmpp:sm:3' h='");
    gw_text_uint(&t, acknowledged(l, gw_edge_conn(l, c)));
    gw_text_str(&t, "'/>");
    GW_COUNT(l->edge_count.acks_out);
    gw_edge_write(l, c, gw_text_bytes(&t));
}

static bool is_due(const struct gw_edge_conn *e, const struct gw_held *h)
{
    return (int32_t)(e->settled - h->seq) >= 0;
}

/* Requests for an ack that came together get one: it states more than each of them asked for. */
static bool next_is_due_ack(struct gw_lcore *l, const struct gw_edge_conn *e)
{
    if (e->held_head == 0)
        return false;
    const struct gw_held *h = held_at(l, e->held_head);
    return h->what == GW_ANSWER_ACK && is_due(e, h);
}

static void write_answer(struct gw_lcore *l, gw_conn c, enum gw_answer what, struct gw_bytes b)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    switch (what) {
    case GW_ANSWER_ACK:
        if (!next_is_due_ack(l, e))
            write_ack(l, c);
        return;
    case GW_ANSWER_STANZA:
        e->out_count++;
        GW_COUNT(l->edge_count.stanzas_out);
        break;
    case GW_ANSWER_ENABLED:
        e->sm = true;
        e->out_count = 0;
        break;
    case GW_ANSWER_NONZA:
    case GW_ANSWER_LAST:
        break;
    }
    if (b.len)
        gw_edge_write(l, c, b);
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
        write_answer(l, c, h->what, gw_bytes(h->text, h->len));
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
        write_answer(l, c, what, b);
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

void gw_edge_settle(struct gw_lcore *l, gw_conn c, uint32_t seq)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    uint32_t ahead = seq - e->settled;
    check(ahead >= 1 && ahead <= GW_EDGE_WINDOW);
    uint64_t bit = 1ull << seq % 64;
    check((e->settled_ahead[seq % GW_EDGE_WINDOW / 64] & bit) == 0);
    e->settled_ahead[seq % GW_EDGE_WINDOW / 64] |= bit;
    for (;;) {
        uint32_t next = e->settled + 1;
        uint64_t *word = &e->settled_ahead[next % GW_EDGE_WINDOW / 64];
        if (!(*word & 1ull << next % 64))
            break;
        *word &= ~(1ull << next % 64);
        e->settled = next;
    }
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
