/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that live for one request: o.connections of them are opening or closing at a time. */
#include <string.h>

#include "wire.h"

static bool established(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    struct wire *w = ctx;
    static const uint8_t text[65536];
    w->result.opened += w->measuring;
    if (gw_tcp_send_copy(w->stack.tcp, c, text, w->o.bytes) != 0)
        w->failed = true;
    ((uint64_t *)w->peers.base)[c] = 0;
    return true;
}

static size_t data(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    struct wire *w = ctx;
    uint64_t *received = &((uint64_t *)w->peers.base)[c];
    for (size_t i = 0; i < len; i++)
        w->result.altered += p[i] != 0;
    *received += len;
    if (*received >= w->o.bytes && !w->o.server_closes)
        gw_tcp_shutdown(w->stack.tcp, c);
    return len;
}

static void closed(void *ctx, gw_conn c, enum gw_tcp_close_reason why)
{
    struct wire *w = ctx;
    w->open--;
    bool whole = why == GW_TCP_CLOSED_DONE && ((uint64_t *)w->peers.base)[c] == w->o.bytes;
    w->result.lost += !whole;
    if (w->measuring)
        w->result.done += whole;
}

static void expect(void *ctx, gw_conn c)
{
    struct wire *w = ctx;
    __builtin_prefetch((uint64_t *)w->peers.base + c);
}

static bool turn(struct wire *w)
{
    gw_conn c;
    if (w->measure_from_us == 0)
        w->measure_from_us = w->stack.now_us + (uint64_t)w->o.warmup_ms * 1000;
    while (w->open < w->o.connections && (w->o.total == 0 || w->begun < w->o.total) &&
           wire_open_next(w, &c) == 0) {
        w->open++;
        w->begun++;
    }
    return w->o.total == 0 || w->open > 0 || w->begun < w->o.total;
}

const struct wire_mode wire_connect = {
    .upcalls = {.established = established,
                .data = data,
                .peer_closed = stack_close_too,
                .acked = stack_ignore_acked,
                .closed = closed,
                .deadline = stack_ignore_deadline,
                .expect = expect},
    .turn = turn,
};
