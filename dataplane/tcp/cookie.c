/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SYN cookies (RFC 4987 section 3.6): while half_open_limit connections are opening, a SYN is answered
 * without keeping anything. What must be known later is in our initial sequence number, and for peers
 * with timestamps in the low bits of ours, which the peer echoes:
 *
 *   sequence number: minute 2 bits, MSS 3 bits, keyed hash 27 bits
 *   timestamp:       window scale 4 bits (15: none), SACK permitted 1 bit, 1 bit unused
 *
 * The hash covers addresses, ports, the peer's number, the minute, the MSS and the timestamp's bits.
 */
#include "stack.h"

#define MINUTE_US    UINT64_C(64000000)
/* Of the four that can be told apart: at least 128 s, for a peer whose first text is lost again and again. */
#define MINUTES_KEPT 3u
#define HASH_BITS    27u
#define TS_BITS      6u
#define TS_MASK      ((1u << TS_BITS) - 1)
#define NO_SCALE     15u
#define NO_TIMESTAMP 0xffu

static const uint16_t mss_table[8] = {536, 1220, 1300, 1400, 1440, 1460, 4312, 8960};

static uint32_t minute_now(const struct gw_tcp *t)
{
    return (uint32_t)(t->now_us / MINUTE_US);
}

static uint32_t cookie(const struct gw_tcp *t, const struct gw_tcp_tuple *tuple, uint32_t peer_iss,
                       uint32_t minute, uint32_t mss_index, uint32_t options)
{
    struct {
        struct gw_tcp_tuple tuple;
        uint32_t peer_iss, minute, mss_index, options;
    } what = {*tuple, peer_iss, minute, mss_index, options};
    _Static_assert(sizeof(what) == sizeof(struct gw_tcp_tuple) + 16, "hashed as it lies");
    uint32_t hash = (uint32_t)gw_siphash(&t->cookie_key, &what, sizeof(what));
    return (minute & 3) << 30 | mss_index << HASH_BITS | (hash & ((1u << HASH_BITS) - 1));
}

static uint32_t mss_index(uint16_t mss)
{
    uint32_t i = sizeof(mss_table) / sizeof(mss_table[0]) - 1;
    while (i > 0 && mss_table[i] > mss)
        i--;
    return i;
}

static uint32_t option_bits(const struct tcp_options *o)
{
    if (!o->has_timestamp)
        return NO_TIMESTAMP;
    /* A scale of 14 is the largest that is legal, so 15 is free to mean none. */
    return (o->has_scale ? o->scale : NO_SCALE) | (o->sack_permitted ? 1u << 4 : 0);
}

/* The latest timestamp not after now that ends in these bits. */
static uint32_t timestamp_with(uint32_t now, uint32_t bits)
{
    uint32_t ts = (now & ~TS_MASK) | bits;
    return (int32_t)(ts - now) > 0 ? ts - (TS_MASK + 1) : ts;
}

void tcp_cookie_answer(struct gw_tcp *t, const struct tcp_segment *s)
{
    uint16_t peer_mss = s->opt.has_mss ? s->opt.mss : 0;
    uint32_t index = mss_index(peer_mss), bits = option_bits(&s->opt);
    bool stamped = s->opt.has_timestamp;
    t->cookie_last_us = t->now_us;
    t->cookies_used = true;
    COUNT(t, cookies_sent);
    uint16_t window = (uint16_t)(t->cfg.recv_window_bytes < UINT16_MAX ? t->cfg.recv_window_bytes
                                                                       : UINT16_MAX);
    tcp_reply_add(t, &(struct tcp_reply){
                         .tuple = s->tuple,
                         .seq = cookie(t, &s->tuple, s->seq, minute_now(t), index, bits),
                         .ack = s->seq + 1,
                         .flags = TCP_SYN | TCP_ACK,
                         .window = window,
                         .has_timestamp = stamped,
                         .ts_val = stamped ? timestamp_with(t->now_ts, bits) : 0,
                         .ts_ecr = s->opt.ts_val,
                         .mss = tcp_our_mss(t, &s->tuple),
                         /* Without a timestamp there is no place to remember these. */
                         .has_scale = stamped && s->opt.has_scale,
                         .sack_permitted = stamped && s->opt.sack_permitted,
                     });
}

/* The SYN that this acknowledgement's cookie stands for. False when it is not one of ours. */
static bool recall(const struct gw_tcp *t, const struct tcp_segment *s, struct tcp_segment *syn)
{
    uint32_t value = s->ack - 1, now = minute_now(t);
    uint32_t minute = now - ((now - (value >> 30)) & 3);
    uint32_t index = value >> HASH_BITS & 7;
    uint32_t bits = s->opt.has_timestamp ? s->opt.ts_ecr & TS_MASK : NO_TIMESTAMP;
    if (now - minute >= MINUTES_KEPT ||
        cookie(t, &s->tuple, s->seq - 1, minute, index, bits) != value)
        return false;
    *syn = (struct tcp_segment){
        .tuple = s->tuple,
        .seq = s->seq - 1,
        .flags = TCP_SYN,
        .opt = {.has_mss = true, .mss = mss_table[index]},
    };
    if (s->opt.has_timestamp) {
        syn->opt.has_timestamp = true;
        syn->opt.ts_val = s->opt.ts_val;
        syn->opt.sack_permitted = bits >> 4 & 1;
        syn->opt.has_scale = (bits & 15) != NO_SCALE;
        syn->opt.scale = syn->opt.has_scale ? bits & 15 : 0;
    }
    return true;
}

bool tcp_cookie_may_be(const struct gw_tcp *t, const struct tcp_segment *s)
{
    bool recent = t->cookies_used && t->now_us - t->cookie_last_us < MINUTES_KEPT * MINUTE_US;
    return recent && (s->flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_ACK;
}

bool tcp_cookie_is_valid(const struct gw_tcp *t, const struct tcp_segment *s)
{
    struct tcp_segment syn;
    return tcp_cookie_may_be(t, s) && recall(t, s, &syn);
}

struct conn *tcp_cookie_redeem(struct gw_tcp *t, const struct tcp_segment *s)
{
    struct tcp_segment syn;
    if (!tcp_cookie_may_be(t, s))
        return NULL;
    if (!recall(t, s, &syn)) {
        COUNT(t, cookies_bad);
        return NULL;
    }
    struct conn *c = tcp_conn_begin(t, &s->tuple, STATE_SYN_RECEIVED, s->ack - 1);
    if (c == NULL) {
        COUNT(t, drop_conn_full);
        return NULL;
    }
    COUNT(t, cookies_redeemed);
    COUNT(t, opened_passive);
    tcp_conn_negotiate(t, c, &syn);
    /* The SYN has been sent, and is acknowledged by what redeems it. */
    c->snd_nxt = s->ack;
    c->rcv_edge = c->rcv_nxt + (t->cfg.recv_window_bytes < UINT16_MAX ? t->cfg.recv_window_bytes
                                                                      : UINT16_MAX);
    return c;
}
