/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The curve of CUBIC (RFC 9438) at virtual time, against the RFC's equations in floating point: windows in
 * segments, time in seconds. The code under test counts in bytes, milliseconds and whole numbers.
 */
#include <criterion/criterion.h>
#include <math.h>

#include "../../dataplane/tcp/stack.h"

enum { MSS = 1448 };

static const double C = 0.4, BETA = 0.7;

/* One connection of a stack that has nothing else, and what the RFC says of it. */
struct rig {
    struct conn conns[2] __attribute__((aligned(64)));
    struct cold colds[2];
    struct gw_tcp tcp;
    struct conn *c;
    struct cold *k;
    uint64_t now_us;
    double rtt;
    double cwnd, w_max, w_est, prior, epoch, epoch_cwnd; /* epoch < 0: not begun */
};

static double segments(uint32_t bytes)
{
    return (double)bytes / MSS;
}

static void at(struct rig *r, uint64_t now_us)
{
    r->now_us = now_us;
    tcp_set_now(&r->tcp, now_us);
}

static struct rig *rig(uint32_t cwnd_segments, uint32_t rtt_us)
{
    static struct rig r;
    memset(&r, 0, sizeof(r));
    r.tcp.conns.base = (void *)r.conns;
    r.tcp.colds.base = (void *)r.colds;
    r.tcp.cc = &tcp_cc_cubic;
    r.c = conn_at(&r.tcp, 1);
    r.k = cold_of(&r.tcp, r.c);
    r.c->mss = MSS;
    r.c->cwnd = cwnd_segments * MSS;
    r.c->srtt_us = rtt_us;
    r.k->ssthresh = UINT32_MAX;
    r.rtt = rtt_us / 1e6;
    r.cwnd = cwnd_segments;
    r.epoch = -1;
    at(&r, 1000000);
    tcp_cc_cubic.begin(&r.tcp, r.c);
    return &r;
}

/* Section 4.6, and 4.7: fast convergence. */
static void lose(struct rig *r)
{
    tcp_cc_cubic.lost(&r->tcp, r->c);
    r->prior = r->cwnd;
    r->w_max = r->cwnd < r->w_max ? r->cwnd * (1 + BETA) / 2 : r->cwnd;
    r->cwnd = fmax(r->cwnd * BETA, 2);
    r->epoch = -1;
}

static double w_cubic(const struct rig *r, double t)
{
    double k = cbrt((r->w_max - r->epoch_cwnd) / C);
    return C * pow(t - k, 3) + r->w_max;
}

/* Sections 4.2 to 4.5 for one acknowledged segment. */
static void oracle_acked(struct rig *r)
{
    double now = (double)r->now_us / 1e6;
    if (r->epoch < 0) {
        r->epoch = now;
        r->epoch_cwnd = r->w_est = r->cwnd;
        r->w_max = fmax(r->w_max, r->cwnd);
    }
    double alpha = r->w_est < r->prior ? 3 * (1 - BETA) / (1 + BETA) : 1;
    double target = fmin(fmax(w_cubic(r, now - r->epoch + r->rtt), r->cwnd), 1.5 * r->cwnd);
    r->w_est += alpha / r->cwnd;
    r->cwnd = fmax(r->cwnd + (target - r->cwnd) / r->cwnd, r->w_est);
}

/* A window's worth of segments is acknowledged, evenly over one round trip. */
static void round_trip(struct rig *r)
{
    uint32_t count = r->c->cwnd / MSS;
    uint64_t start = r->now_us, rtt_us = r->c->srtt_us;
    for (uint32_t i = 1; i <= count; i++) {
        at(r, start + rtt_us * i / count);
        tcp_cc_cubic.acked(&r->tcp, r->c, MSS);
        oracle_acked(r);
    }
}

static void check_near(const struct rig *r, double want, double tolerance)
{
    double got = segments(r->c->cwnd);
    cr_assert(fabs(got - want) <= tolerance * want, "at %.3f s: %.2f segments, and %.2f by the RFC",
              (double)r->now_us / 1e6, got, want);
}

Test(tcp_cubic, a_loss_leaves_seven_tenths)
{
    struct rig *r = rig(1000, 100000);
    lose(r);
    cr_assert_eq(r->c->cwnd, 1000u * MSS * 7 / 10);
    cr_assert_eq(r->k->ssthresh, r->c->cwnd);
}

Test(tcp_cubic, never_fewer_than_two_segments)
{
    struct rig *r = rig(2, 100000);
    lose(r);
    cr_assert_eq(r->c->cwnd, 2u * MSS);
    cr_assert_eq(r->k->ssthresh, 2u * MSS);
}

Test(tcp_cubic, a_timeout_sets_the_threshold_alone)
{
    struct rig *r = rig(1000, 100000);
    tcp_cc_cubic.timed_out(&r->tcp, r->c);
    cr_assert_eq(r->k->ssthresh, 1000u * MSS * 7 / 10);
    cr_assert_eq(r->c->cwnd, 1000u * MSS);
}

Test(tcp_cubic, below_the_threshold_it_is_slow_start)
{
    struct rig *r = rig(10, 100000);
    tcp_cc_cubic.acked(&r->tcp, r->c, MSS);
    cr_assert_eq(r->c->cwnd, 11u * MSS);
    tcp_cc_cubic.acked(&r->tcp, r->c, 8 * MSS);
    cr_assert_eq(r->c->cwnd, 13u * MSS, "RFC 3465: no more than two segments an acknowledgement");
}

/* K is 9.086 s here. Steep at first, flat where the loss was, steep again beyond. */
Test(tcp_cubic, follows_the_curve)
{
    struct rig *r = rig(1000, 100000);
    lose(r);
    double k = cbrt(300 / C), begin = (double)r->now_us / 1e6, half = 0, there = 0, twice = 0;
    for (int i = 0; i < 250; i++) {
        round_trip(r);
        check_near(r, r->cwnd, 0.01);
        double t = (double)r->now_us / 1e6 - begin;
        half = t <= k / 2 ? segments(r->c->cwnd) : half;
        there = t <= k ? segments(r->c->cwnd) : there;
        twice = t <= 2 * k ? segments(r->c->cwnd) : twice;
    }
    cr_assert_float_eq(half, 1000 - 300 / 8.0, 10);
    cr_assert_float_eq(there, 1000, 10);
    cr_assert_float_eq(twice, 1300, 30);
}

Test(tcp_cubic, fast_convergence_aims_lower)
{
    struct rig *r = rig(1000, 100000);
    lose(r);
    for (int i = 0; i < 10; i++)
        round_trip(r);
    double before = segments(r->c->cwnd);
    cr_assert_lt(before, 1000);
    lose(r);
    cr_assert_float_eq(r->w_max, before * 0.85, 10);
    double k = cbrt((r->w_max - r->cwnd) / C);
    for (double t = 0; t < k; t += 0.1) {
        round_trip(r);
        check_near(r, r->cwnd, 0.01);
    }
    cr_assert_float_eq(segments(r->c->cwnd), before * 0.85, 10, "that is where the curve is flat");
}

/* On a short way the curve is slower than Reno, which adds 0.529 segments a round trip up to where the
 * loss was, and then one. */
Test(tcp_cubic, is_not_slower_than_reno)
{
    struct rig *r = rig(40, 10000);
    lose(r);
    double after = segments(r->c->cwnd);
    for (int i = 0; i < 20; i++) {
        round_trip(r);
        check_near(r, r->cwnd, 0.02);
    }
    cr_assert_float_eq(segments(r->c->cwnd), after + 20 * 0.529, 0.6);
    for (int i = 0; i < 20; i++) {
        round_trip(r);
        check_near(r, r->cwnd, 0.02);
    }
    cr_assert_gt(segments(r->c->cwnd), 40 + 12);
}

/* A large window on a very short way is Reno's for a long time: of each acknowledged segment it grows by
 * less than a byte. */
Test(tcp_cubic, is_not_slower_than_reno_with_a_large_window)
{
    struct rig *r = rig(2000, 1000);
    lose(r);
    for (int i = 0; i < 300; i++)
        round_trip(r);
    check_near(r, r->cwnd, 0.01);
    cr_assert_float_eq(segments(r->c->cwnd), 1400 + 300 * 0.529, 5);
}

/* Fast convergence lowers what the curve aims at, not where Reno's window begins to grow faster. */
Test(tcp_cubic, fast_convergence_leaves_reno_as_it_is)
{
    struct rig *r = rig(80, 10000);
    lose(r);
    for (int i = 0; i < 4; i++)
        round_trip(r);
    double before = segments(r->c->cwnd);
    cr_assert_lt(before, 80);
    lose(r);
    double after = segments(r->c->cwnd);
    cr_assert_lt(r->w_max, before - 5);
    for (int i = 0; i < 34; i++) {
        round_trip(r);
        check_near(r, r->cwnd, 0.01);
    }
    cr_assert_float_eq(segments(r->c->cwnd), after + 34 * 0.529, 0.6);
}

static void grows_as_fast_as_it_may(struct rig *r)
{
    uint32_t before = r->c->cwnd;
    tcp_cc_cubic.acked(&r->tcp, r->c, MSS);
    cr_assert_float_eq(r->c->cwnd - before, MSS / 2, 1, "at %.0f s", (double)r->now_us / 1e6);
}

/* Far behind the loss the window grows as fast as it may, however long that goes on: also when the ticks
 * have come round, after 76 hours, and for the time that the curve took in its beginning. */
Test(tcp_cubic, time_does_not_come_round)
{
    struct rig *r = rig(1000, 100000);
    lose(r);
    uint64_t begin = r->now_us;
    round_trip(r);
    for (uint64_t hour = 1; hour <= 76; hour++) {
        at(r, begin + hour * UINT64_C(3600000000));
        grows_as_fast_as_it_may(r);
    }
    for (uint64_t second = 0; second < 20; second++) {
        at(r, begin + (UINT64_C(64) << 32) + second * 1000000);
        grows_as_fast_as_it_may(r);
    }
}

Test(tcp_cubic, one_round_trip_adds_at_most_half)
{
    struct rig *r = rig(1000, 100000);
    lose(r);
    round_trip(r);
    uint32_t before = r->c->cwnd;
    at(r, r->now_us + 60000000);
    for (uint32_t i = 0; i < before / MSS; i++)
        tcp_cc_cubic.acked(&r->tcp, r->c, MSS);
    cr_assert_gt(r->c->cwnd, before + before / 4);
    cr_assert_leq(r->c->cwnd, (uint64_t)before * 5 / 3, "each acknowledgement adds half of its share");
}

/* Time without anything to send does not count as time of the curve (RFC 9438 section 5.8). */
Test(tcp_cubic, after_a_pause_the_curve_begins_anew)
{
    struct rig *r = rig(1000, 100000);
    lose(r);
    round_trip(r);
    at(r, r->now_us + 60000000);
    tcp_cc_cubic.idle(&r->tcp, r->c);
    r->epoch = -1;
    for (int i = 0; i < 50; i++) {
        round_trip(r);
        check_near(r, r->cwnd, 0.01);
    }
}
