/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that belong to no connection: a bounded queue until the next flush. */
#include "stack.h"

void tcp_reply_add(struct gw_tcp *t, const struct tcp_reply *r)
{
    if (t->reply_count == TCP_REPLIES_MAX) {
        COUNT(t, drop_reply_full);
        return;
    }
    t->replies[(t->reply_head + t->reply_count++) % TCP_REPLIES_MAX] = *r;
}

void tcp_reply_reset(struct gw_tcp *t, const struct tcp_segment *s)
{
    if (s->flags & TCP_RST)
        return;
    struct tcp_reply r = {.tuple = s->tuple, .flags = TCP_RST};
    if (s->flags & TCP_ACK) {
        r.seq = s->ack;
    } else {
        r.ack = s->seq + tcp_segment_span(s);
        r.flags |= TCP_ACK;
    }
    tcp_reply_add(t, &r);
}

static bool send_reply(struct gw_tcp *t, const struct tcp_reply *r)
{
    struct tcp_header h = {
        .local_port = r->tuple.local_port,
        .remote_port = r->tuple.remote_port,
        .seq = r->seq,
        .ack = r->ack,
        .flags = r->flags,
        .window = r->window,
        .opt = {.has_timestamp = r->has_timestamp,
                .ts_val = r->ts_val != 0 ? r->ts_val : t->now_ts,
                .ts_ecr = r->ts_ecr,
                .has_mss = r->mss != 0,
                .mss = r->mss,
                .has_scale = r->has_scale,
                .scale = t->rcv_scale,
                .sack_permitted = r->sack_permitted},
    };
    uint32_t none = 0;
    if (!tcp_emit(t, &r->tuple, &h, NULL, 0, 0, &none))
        return false;
    if (r->flags & TCP_RST)
        COUNT(t, rst_out);
    return true;
}

bool tcp_reply_flush(struct gw_tcp *t, unsigned most, unsigned *sent)
{
    /* A refused one goes to the end: it may be the only one whose way is closed. */
    unsigned refused = 0;
    for (unsigned n = t->reply_count < most ? t->reply_count : most;
         n > 0 && refused < TCP_REFUSALS_MAX; n--) {
        struct tcp_reply r = t->replies[t->reply_head];
        t->reply_head = (t->reply_head + 1) % TCP_REPLIES_MAX;
        t->reply_count--;
        if (send_reply(t, &r)) {
            (*sent)++;
        } else {
            tcp_reply_add(t, &r);
            refused++;
        }
    }
    return refused == 0;
}
