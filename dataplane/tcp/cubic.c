/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CUBIC (RFC 9438): after a loss the window returns to where it was along a cubic curve of time, not
 * of round trips, lingers there, and then probes further. Never slower than Reno would be.
 *
 * Constants of the RFC: C = 0.4, beta = 0.7. Windows in bytes, time in milliseconds.
 */
#include "stack.h"

enum {
    W_MAX,  /* the window before the last loss, or less: fast convergence */
    EPOCH,  /* tick at which this growth began, odd; 0: not begun */
    K,      /* above FRACTION_BITS the milliseconds after which the curve reaches W_MAX, below them .. */
    W_RENO, /* the window that Reno would have, whose fraction of a byte is there */
};

/* An acknowledged segment lets Reno's window grow by less than a byte once it has some 766 of them: what
 * is left over is carried on. K is less than nine minutes, with any window. */
#define FRACTION_BITS 13u
#define FRACTION_MASK ((1u << FRACTION_BITS) - 1)
#define K_MS_MAX      (UINT32_MAX >> FRACTION_BITS)

/* Farther from K than this the curve is not followed: 25,600 segments. */
#define MS_FROM_K_MAX 40000

static uint32_t beta_of(uint32_t bytes)
{
    return (uint32_t)((uint64_t)bytes * 7 / 10);
}

static uint32_t cube_root(uint64_t x)
{
    uint64_t root = 0;
    for (uint64_t bit = UINT64_C(1) << 20; bit != 0; bit >>= 1)
        if ((root + bit) * (root + bit) * (root + bit) <= x)
            root += bit;
    return (uint32_t)root;
}

/* K = cube root of (W_max - cwnd) / C, of segments and seconds. */
static uint32_t k_ms(const struct conn *c, uint32_t w_max)
{
    uint64_t missing = w_max > c->cwnd ? (w_max - c->cwnd) / c->mss : 0;
    uint32_t ms = cube_root(missing * UINT64_C(2500000000));
    return ms < K_MS_MAX ? ms : K_MS_MAX;
}

static void begin_epoch(const struct gw_tcp *t, struct conn *c, uint32_t *cc)
{
    cc[EPOCH] = t->now_tick | 1;
    cc[W_RENO] = c->cwnd;
    if (cc[W_MAX] < c->cwnd)
        cc[W_MAX] = c->cwnd;
    cc[K] = k_ms(c, cc[W_MAX]) << FRACTION_BITS;
}

/* The curve, this long after the epoch began. */
static uint32_t w_cubic(const struct conn *c, const uint32_t *cc, uint32_t since_ms)
{
    int64_t d = (int64_t)since_ms - (cc[K] >> FRACTION_BITS);
    if (d > MS_FROM_K_MAX)
        d = MS_FROM_K_MAX;
    if (d < -MS_FROM_K_MAX)
        d = -MS_FROM_K_MAX;
    int64_t w = (int64_t)cc[W_MAX] + d * d * d * c->mss / INT64_C(2500000000);
    return w > c->mss ? (uint32_t)w : c->mss;
}

/* Milliseconds since this growth began. No more than where the curve ends: there the beginning is moved
 * along, since the ticks come round after 76 hours. */
static uint32_t since_ms(const struct gw_tcp *t, uint32_t *cc)
{
    uint32_t ticks = t->now_tick - cc[EPOCH] + 1;
    uint32_t ticks_max = ((cc[K] >> FRACTION_BITS) + MS_FROM_K_MAX) * 16;
    if (ticks > ticks_max) {
        ticks = ticks_max;
        cc[EPOCH] = (t->now_tick - ticks) | 1;
    }
    return (uint32_t)((uint64_t)ticks * 64 / 1000);
}

/* RFC 9438 section 4.3: alpha = 3 (1 - beta) / (1 + beta), and 1 once the window before the loss is
 * reached, which is what the threshold was made of. */
static void grow_reno(const struct conn *c, const struct cold *k, uint32_t *cc, uint32_t bytes)
{
    uint64_t before_loss = (uint64_t)k->ssthresh * 10 / 7;
    uint32_t alpha_per_mille = cc[W_RENO] < before_loss ? 529 : 1000;
    uint64_t product = (uint64_t)bytes * c->mss * alpha_per_mille / 1000;
    uint64_t more = (product << FRACTION_BITS) / c->cwnd + (cc[K] & FRACTION_MASK);
    cc[W_RENO] += (uint32_t)(more >> FRACTION_BITS);
    cc[K] = (cc[K] & ~FRACTION_MASK) | (more & FRACTION_MASK);
}

static void cubic_begin(struct gw_tcp *t, struct conn *c)
{
    memset(cold_of(t, c)->cc, 0, sizeof(cold_of(t, c)->cc));
}

static void cubic_acked(struct gw_tcp *t, struct conn *c, uint32_t bytes)
{
    struct cold *k = cold_of(t, c);
    if (c->cwnd < k->ssthresh) {
        uint32_t most = 2u * c->mss;
        c->cwnd += bytes < most ? bytes : most;
        return;
    }
    uint32_t *cc = k->cc;
    if (cc[EPOCH] == 0)
        begin_epoch(t, c, cc);
    grow_reno(c, k, cc, bytes);
    uint32_t target = w_cubic(c, cc, since_ms(t, cc) + c->srtt_us / 1000);
    if (target > c->cwnd + c->cwnd / 2)
        target = c->cwnd + c->cwnd / 2;
    if (target > c->cwnd)
        c->cwnd += (uint32_t)((uint64_t)(target - c->cwnd) * bytes / c->cwnd);
    if (c->cwnd < cc[W_RENO])
        c->cwnd = cc[W_RENO];
}

static void reduce(struct gw_tcp *t, struct conn *c)
{
    struct cold *k = cold_of(t, c);
    /* Fast convergence: a window that did not come back to where it was leaves room for others. */
    k->cc[W_MAX] = c->cwnd < k->cc[W_MAX] ? (uint32_t)((uint64_t)c->cwnd * 17 / 20) : c->cwnd;
    k->cc[EPOCH] = 0;
    uint32_t least = 2u * c->mss;
    k->ssthresh = beta_of(c->cwnd) > least ? beta_of(c->cwnd) : least;
}

static void cubic_lost(struct gw_tcp *t, struct conn *c)
{
    reduce(t, c);
    c->cwnd = cold_of(t, c)->ssthresh;
}

static void cubic_idle(struct gw_tcp *t, struct conn *c)
{
    cold_of(t, c)->cc[EPOCH] = 0;
}

const struct tcp_cc tcp_cc_cubic = {
    .name = "cubic",
    .begin = cubic_begin,
    .acked = cubic_acked,
    .lost = cubic_lost,
    .timed_out = reduce,
    .idle = cubic_idle,
};
