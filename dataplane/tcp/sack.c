/* SPDX-License-Identifier: Apache-2.0 */
/* Selective acknowledgements, read and written (RFC 2018), and reports of duplicates (RFC 2883). */
#include "stack.h"

/* The first block reports a duplicate when it lies before the acknowledgement or inside of the next
 * block (RFC 2883 section 4). */
static bool reports_duplicate(const struct tcp_segment *s)
{
    const struct tcp_sack *b = s->opt.sacks;
    if (seq_leq(b[0].end, s->ack))
        return true;
    return s->opt.sack_count > 1 && seq_leq(b[1].start, b[0].start) && seq_leq(b[0].end, b[1].end);
}

void tcp_sack_input(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s,
                    struct tcp_delivered *d)
{
    if (s->opt.sack_count == 0)
        return;
    d->duplicate = reports_duplicate(s);
    if (d->duplicate)
        COUNT(t, duplicates_reported);
    for (unsigned i = 0; i < s->opt.sack_count; i++) {
        struct tcp_sack b = s->opt.sacks[i];
        bool inside = seq_lt(b.start, b.end) && seq_leq(s->ack, b.start) &&
                      seq_leq(b.end, c->snd_nxt);
        if (!inside)
            continue;
        c->flags |= CONN_SACKED;
        tcp_flight_sack(t, c, b, d);
    }
}

void tcp_sack_note_duplicate(struct gw_tcp *t, struct conn *c, uint32_t start, uint32_t end)
{
    if ((c->flags & CONN_SACK) == 0 || start == end)
        return;
    struct cold *k = cold_of(t, c);
    c->flags |= CONN_DUPLICATE;
    k->dsack_start = start;
    k->dsack_len = (uint16_t)(end - start < UINT16_MAX ? end - start : UINT16_MAX);
}

void tcp_sack_write(struct gw_tcp *t, struct conn *c, struct tcp_options *o)
{
    const struct cold *k = cold_of(t, c);
    /* Beside a timestamp there is room for three. */
    unsigned room = c->flags & CONN_TIMESTAMPS ? TCP_SACKS_MAX - 1 : TCP_SACKS_MAX, n = 0;
    if (c->flags & CONN_DUPLICATE)
        o->sacks[n++] = (struct tcp_sack){k->dsack_start, k->dsack_start + k->dsack_len};
    if (c->flags & CONN_KEPT)
        n += tcp_kept_blocks(t, c, k->sack_recent, o->sacks + n, room - n);
    o->sack_count = (uint8_t)n;
}
