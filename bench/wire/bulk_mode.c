/* SPDX-License-Identifier: Apache-2.0 */
/* As many bytes as go: every connection always has its send buffer full. */
#include <string.h>

#include "wire.h"

static bool established(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    wire_opened(ctx, c);
    return true;
}

static size_t data(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    struct wire *w = ctx;
    w->result.altered += len; /* nothing was asked for */
    return len;
}

/* Blocks go down as they are: nothing is copied before the port. */
static void fill(struct wire *w, gw_conn c)
{
    for (;;) {
        gw_block b = gw_arena_get(w->stack.arena, w->o.bytes);
        if (b == 0)
            return;
        if (gw_tcp_send(w->stack.tcp, c, (struct gw_slice){b, 0, w->o.bytes}) != 0) {
            gw_arena_put(w->stack.arena, b);
            return;
        }
    }
}

static void acked(void *ctx, gw_conn c, uint64_t position)
{
    struct wire *w = ctx;
    uint64_t *last = &((uint64_t *)w->peers.base)[c];
    if (w->measuring) {
        w->result.bytes += position - *last;
        w->result.done++;
    }
    *last = position;
    fill(w, c);
}

static bool turn(struct wire *w)
{
    if (w->measure_from_us != 0 || !wire_open_all(w))
        return true;
    w->measure_from_us = w->stack.now_us + (uint64_t)w->o.warmup_ms * 1000;
    for (uint32_t i = 0; i < w->open; i++)
        fill(w, w->conns[i]);
    return true;
}

const struct wire_mode wire_bulk = {
    .upcalls = {.established = established,
                .data = data,
                .peer_closed = stack_close_too,
                .acked = acked,
                .closed = wire_lost,
                .deadline = stack_ignore_deadline},
    .turn = turn,
};
