/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests and answers on connections that stay. Each request is its connection's number and its
 * own, spread over all its bytes, so that an answer can be checked wherever it is cut.
 */
#include <string.h>

#include "wire.h"

#define BYTES_MAX 65536u

struct peer {
    uint32_t sent;     /* requests */
    uint32_t received; /* bytes, modulo 2^32 */
};

static struct peer *peer_of(struct wire *w, gw_conn c)
{
    return (struct peer *)w->peers.base + c;
}

static uint64_t word_of(gw_conn c, uint32_t request, uint32_t word)
{
    return ((uint64_t)c << 32 | request) + word * UINT64_C(0x9e3779b97f4a7c15);
}

static void request(struct wire *w, gw_conn c)
{
    uint64_t words[BYTES_MAX / 8 + 1];
    struct peer *p = peer_of(w, c);
    for (uint32_t i = 0; i * 8 < w->o.bytes; i++)
        words[i] = word_of(c, p->sent, i);
    p->sent++;
    if (gw_tcp_send_copy(w->stack.tcp, c, words, w->o.bytes) != 0)
        w->failed = true;
}

/* The byte at this place of the stream that comes back; requests are of one length. */
static uint8_t byte_at(const struct wire *w, gw_conn c, uint32_t position)
{
    uint64_t word = word_of(c, position / w->o.bytes, position % w->o.bytes / 8);
    uint8_t b[8];
    memcpy(b, &word, 8);
    return b[position % w->o.bytes % 8];
}

static uint64_t altered_bytes(const struct wire *w, gw_conn c, uint32_t position, const uint8_t *p,
                              size_t len)
{
    uint64_t altered = 0;
    size_t i = 0;
    uint32_t number = position / w->o.bytes;
    if (len == w->o.bytes && number * w->o.bytes == position)
        for (; i + 8 <= len; i += 8) {
            uint64_t word;
            memcpy(&word, p + i, 8);
            altered += word != word_of(c, number, (uint32_t)(i / 8));
        }
    for (; i < len; i++)
        altered += p[i] != byte_at(w, c, position + (uint32_t)i);
    return altered;
}

static gw_conn draw(struct wire *w)
{
    gw_conn c = w->conns[(uint32_t)((wire_random(w) >> 32) * w->open >> 32)];
    gw_tcp_expect_send(w->stack.tcp, c);
    __builtin_prefetch(peer_of(w, c));
    return c;
}

static gw_conn next_connection(struct wire *w, gw_conn last)
{
    if (!w->o.uniform)
        return last;
    gw_conn *place = &w->drawn[w->drawn_count++ % WIRE_DRAWN], next = *place;
    *place = draw(w);
    return next;
}

/* ---- upcalls ---- */

static bool established(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    struct wire *w = ctx;
    *peer_of(w, c) = (struct peer){0};
    wire_opened(w, c);
    return true;
}

static size_t data(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    struct wire *w = ctx;
    struct peer *e = peer_of(w, c);
    w->result.altered += altered_bytes(w, c, e->received, p, len);
    uint32_t before = e->received / w->o.bytes;
    e->received += (uint32_t)len;
    uint32_t answers = e->received / w->o.bytes - before;
    if (w->measuring)
        w->result.done += answers;
    for (; answers > 0; answers--)
        request(w, next_connection(w, c));
    return len;
}

static void expect(void *ctx, gw_conn c)
{
    __builtin_prefetch(peer_of(ctx, c));
}

/* ---- the run ---- */

static bool turn(struct wire *w)
{
    if (w->measure_from_us != 0 || !wire_open_all(w))
        return true;
    w->measure_from_us = w->stack.now_us + (uint64_t)w->o.warmup_ms * 1000;
    for (unsigned i = 0; i < WIRE_DRAWN; i++)
        w->drawn[i] = draw(w);
    for (uint32_t i = 0; i < w->o.outstanding; i++)
        request(w, w->o.uniform ? next_connection(w, 0) : w->conns[i % w->o.busy]);
    return true;
}

const struct wire_mode wire_echo = {
    .upcalls = {.established = established,
                .data = data,
                .peer_closed = stack_close_too,
                .acked = stack_ignore_acked,
                .closed = wire_lost,
                .deadline = stack_ignore_deadline,
                .expect = expect},
    .turn = turn,
};
