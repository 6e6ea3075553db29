/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From acknowledgements and timeouts to "this is lost". Marked ranges are sent again by out.c as the
 * congestion window allows; here nothing is sent.
 *
 * With SACK, rack.c finds what is lost. Without, this is RFC 6582 (NewReno), written with a pipe: a duplicate ACK says that one
 * segment has left the network, so it makes room for one, where the RFC inflates the window.
 */
#include "stack.h"

uint32_t tcp_recovery_pipe(const struct gw_tcp *t, const struct conn *c)
{
    if ((c->flags & CONN_SACK) || (c->dup_acks == 0 && (c->flags & CONN_RECOVERY) == 0))
        return c->pipe;
    uint32_t gone = cold_of(t, c)->dup_bytes;
    return c->pipe > gone ? c->pipe - gone : 0;
}

void tcp_recovery_begin(struct gw_tcp *t, struct conn *c)
{
    tcp_dirty(t, c);
    if (c->flags & (CONN_RECOVERY | CONN_LOSS))
        return;
    COUNT(t, recoveries);
    cold_of(t, c)->recover = c->snd_nxt;
    c->flags |= CONN_RECOVERY | CONN_SEND_LOST;
    t->cc->lost(t, c);
}

/* Everything that was under way when loss was found has arrived. */
static void leave_recovery(struct gw_tcp *t, struct conn *c)
{
    struct cold *k = cold_of(t, c);
    if (c->flags & CONN_RECOVERY) {
        /* RFC 6582 section 3.2 step 3 (1): no burst when little is under way. */
        uint32_t little = (c->pipe > c->mss ? c->pipe : c->mss) + c->mss;
        c->cwnd = k->ssthresh < little ? k->ssthresh : little;
    }
    c->flags &= ~(uint32_t)(CONN_RECOVERY | CONN_LOSS | CONN_SEND_LOST);
    c->dup_acks = 0;
    if (c->flags & CONN_SACK)
        tcp_rack_recovered(t, c);
    else
        k->dup_bytes = 0;
}

/* The next gap: the segment after what a partial acknowledgement covers is lost too. */
static void partial_ack(struct gw_tcp *t, struct conn *c, uint32_t bytes)
{
    struct cold *k = cold_of(t, c);
    /* The repeated segment itself was not counted by a duplicate ACK. */
    uint32_t counted = bytes > c->mss ? bytes - c->mss : 0;
    k->dup_bytes = k->dup_bytes > counted ? k->dup_bytes - counted : 0;
    if ((c->flags & CONN_LOST) == 0) {
        tcp_flight_lose_first(t, c, c->mss);
        c->flags |= CONN_SEND_LOST;
    }
}

void tcp_recovery_new_ack(struct gw_tcp *t, struct conn *c, uint32_t bytes)
{
    if (c->flags & (CONN_RECOVERY | CONN_LOSS)) {
        struct cold *k = cold_of(t, c);
        bool growing = (c->flags & CONN_RECOVERY) == 0;
        if (seq_leq(k->recover, c->snd_una))
            leave_recovery(t, c);
        else if ((c->flags & (CONN_RECOVERY | CONN_SACK)) == CONN_RECOVERY)
            partial_ack(t, c, bytes);
        if (growing)
            t->cc->acked(t, c, bytes);
        return;
    }
    if (c->dup_acks > 0) {
        c->dup_acks = 0;
        if ((c->flags & CONN_SACK) == 0)
            cold_of(t, c)->dup_bytes = 0;
    }
    if (c->flags & CONN_CWND_LIMITED)
        t->cc->acked(t, c, bytes);
}

void tcp_recovery_duplicate_ack(struct gw_tcp *t, struct conn *c)
{
    COUNT(t, duplicate_acks_in);
    /* After a timeout they are echoes of what is being repeated: to send more for each of them would
     * keep a storm going. */
    if (c->flags & CONN_LOSS)
        return;
    struct cold *k = cold_of(t, c);
    if (c->dup_acks < UINT8_MAX)
        c->dup_acks++;
    /* What SACK says is looked at by RACK. */
    if (c->flags & CONN_SACK)
        return;
    /* A peer cannot make more leave the network than is in it. */
    if (k->dup_bytes < c->pipe)
        k->dup_bytes += c->mss;
    tcp_dirty(t, c);
    if (c->dup_acks == TCP_DUP_ACKS && (c->flags & CONN_RECOVERY) == 0) {
        tcp_flight_lose_first(t, c, c->mss);
        tcp_recovery_begin(t, c);
    }
}

void tcp_recovery_timeout(struct gw_tcp *t, struct conn *c)
{
    struct cold *k = cold_of(t, c);
    if (c->backoff == 0)
        t->cc->timed_out(t, c);
    k->recover = c->snd_nxt;
    if ((c->flags & CONN_SACK) == 0)
        k->dup_bytes = 0;
    c->dup_acks = 0;
    c->cwnd = c->mss;
    c->flags &= ~(uint32_t)CONN_RECOVERY;
    c->flags |= CONN_LOSS | CONN_SEND_LOST;
    tcp_flight_lose_all(t, c);
}
