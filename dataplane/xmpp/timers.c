/* SPDX-License-Identifier: Apache-2.0 */
/* One deadline a connection: authentication, silence, an answer that is due, the end. */
#include "edge.h"

#define CLOSING_US 10000000ull /* for our last bytes to be acknowledged and the peer's FIN to come */

static bool is_asked(const struct gw_edge_conn *e)
{
    return e->ping_outstanding || e->r_outstanding;
}

/* An answer comes behind what its client is still sending: while bytes arrive it may take longer, up to
 * this many times. */
#define SLOW_ANSWERS 8u

static uint64_t answer_deadline(const struct gw_lcore *l, const struct gw_edge_conn *e)
{
    uint64_t us = l->cfg->ping_timeout_us;
    bool decides = e->ping_outstanding && l->cfg->delivered_when_handed_over; /* unanswered() does */
    uint64_t since = !decides && e->heard_us > e->waits_us ? e->heard_us : e->waits_us;
    uint64_t last = e->waits_us + (SLOW_ANSWERS - 1) * us;
    return (since < last ? since : last) + us;
}

static uint64_t deadline_of(const struct gw_lcore *l, const struct gw_edge_conn *e)
{
    switch ((enum gw_edge_state)e->state) {
    case GW_EDGE_CLOSING:
        return e->waits_us + CLOSING_US;
    case GW_EDGE_BOUND:
        return is_asked(e) ? answer_deadline(l, e)
                           : e->heard_us + l->cfg->ping_after_us;
    case GW_EDGE_HEADER:
    case GW_EDGE_FEATURES:
    case GW_EDGE_READY:
        break;
    }
    return e->waits_us + l->cfg->auth_timeout_us;
}

void gw_edge_set_deadline(struct gw_lcore *l, gw_conn c)
{
    gw_tcp_set_deadline(l->tcp, c, deadline_of(l, gw_edge_conn(l, c)));
}

/* The client has not answered what it was asked. */
static void unanswered(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    bool alive = e->heard_us > e->waits_us;
    if (e->ping_outstanding && alive && l->cfg->delivered_when_handed_over) {
        e->ping_outstanding = false;
        e->no_ping = true;
        gw_edge_confirm_handed_over(l, c);
        gw_edge_set_deadline(l, c);
        return;
    }
    gw_edge_stream_error(l, c, GW_STREAM_CONNECTION_TIMEOUT, NULL);
}

/* Nothing has come from the client for long. */
static void silent(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (e->sm) {
        gw_edge_send_r(l, c);
    } else if (!e->no_ping) {
        gw_edge_send_ping(l, c);
    } else { /* it answers nothing: let TCP find out whether it is there */
        e->heard_us = l->now_us;
        gw_edge_write(l, c, GW_LIT(" "));
        gw_edge_set_deadline(l, c);
    }
}

void gw_edge_deadline(void *ctx, gw_conn c)
{
    struct gw_lcore *l = ctx;
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (l->now_us < deadline_of(l, e)) { /* it has moved since: lazily re-armed */
        gw_edge_set_deadline(l, c);
        return;
    }
    if (e->state == GW_EDGE_CLOSING) {
        e->abort_due = true;
        gw_edge_mark_dirty(l, c);
    } else if (e->state != GW_EDGE_BOUND) {
        gw_edge_stream_error(l, c, GW_STREAM_CONNECTION_TIMEOUT, "authentication took too long");
    } else if (is_asked(e)) {
        unanswered(l, c);
    } else {
        silent(l, c);
    }
}
