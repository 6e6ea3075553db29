/* SPDX-License-Identifier: Apache-2.0 */
/* The pass: a row of stages, each over the whole burst. */
#include <sched.h>
#include <time.h>

#include <rte_cycles.h>

#include "core_int.h"

#define POSTS_BURST       256u
#define POST_ROUNDS       4  /* a post's answer is dealt with in the same pass, as a rule */
#define POSTS_AHEAD       5u /* a post takes some 50 to 500 ns, what it touches a hundred to come */
#define COMPLETIONS_BURST 64u

/* ---- stages ---- */

/* Functions of their own in every build, so that a profile tells them apart (bench/broker stages). */
#define STAGE __attribute__((noinline))

static void stage_done(struct gw_core *c, enum gw_stage s)
{
    uint64_t now = rte_rdtsc(), parse = c->l.parse_cycles;
    GW_COUNT_ADD(c->state.stage_cycles[s], now - c->stage_start - parse);
    GW_COUNT_ADD(c->state.stage_cycles[GW_STAGE_parse], parse);
    c->l.parse_cycles = 0;
    c->stage_start = now;
}

static unsigned take_arp(struct gw_core *c)
{
    struct core_arp a;
    unsigned n = 0;
    for (unsigned i = 0; i < c->l.count; i++)
        while (c->arp_in[i] != NULL && gw_ring_pop(c->arp_in[i], &a, 1) == 1) {
            gw_net_input_shared(c->net, c->l.now_us, a.frame, a.len);
            n++;
        }
    return n;
}

STAGE static unsigned receive(struct gw_core *c)
{
    struct gw_frame frames[GW_PORT_BURST_MAX];
    unsigned n = c->port->ops->rx(c->port, frames, GW_PORT_BURST_MAX);
    stage_done(c, GW_STAGE_receive);
    if (n > 0) {
        gw_net_input(c->net, c->l.now_us, frames, n);
        c->port->ops->rx_release(c->port, frames, n);
    }
    return n + take_arp(c);
}

static bool is_for_home(const struct gw_post *p)
{
    return p->op <= GW_POST_UNBIND || p->op == GW_POST_TAKEN;
}

/* What those ahead of the i-th will touch is fetched, step by step. */
static void expect_posts(const struct gw_core *c, const struct gw_post *posts, unsigned n,
                         unsigned i)
{
    for (unsigned step = 0; step < GW_EXPECT_STEPS; step++) {
        unsigned ahead = i + (GW_EXPECT_STEPS - step) * POSTS_AHEAD;
        if (ahead >= n)
            continue;
        if (is_for_home(&posts[ahead]))
            gw_home_expect(&c->l, &posts[ahead], step);
        else if (step == 0)
            gw_edge_expect(&c->l, &posts[ahead]);
    }
}

static unsigned take_posts(struct gw_core *c)
{
    struct gw_post posts[POSTS_BURST];
    unsigned done = 0;
    for (unsigned from = 0; from < c->l.count; from++) {
        unsigned n = gw_post_take(&c->l, from, posts, POSTS_BURST);
        for (unsigned i = 0; i < n; i++) {
            expect_posts(c, posts, n, i);
            if (is_for_home(&posts[i]))
                gw_home_post(&c->l, &posts[i]);
            else
                gw_edge_post(&c->l, &posts[i]);
        }
        done += n;
    }
    return done;
}

static unsigned take_completions(struct gw_core *c)
{
    struct gw_store_completion done[COMPLETIONS_BURST];
    unsigned n = gw_store_poll(c->l.store, done, COMPLETIONS_BURST);
    for (unsigned i = 0; i < n; i++) {
        if (done[i].tag & GW_TAG_EDGE)
            gw_edge_store_done(&c->l, &done[i]);
        else
            gw_home_store_done(&c->l, &done[i]);
    }
    return n;
}

STAGE static unsigned route(struct gw_core *c)
{
    unsigned n = take_completions(c), posts;
    n += gw_edge_poll_deriver(&c->l);
    for (int round = 0; round < POST_ROUNDS && (posts = take_posts(c)) > 0; round++)
        n += posts;
    return n + gw_home_work(&c->l);
}

STAGE static unsigned seal(struct gw_core *c)
{
    return gw_home_seal(&c->l);
}

STAGE static unsigned append(struct gw_core *c)
{
    return gw_home_append(&c->l);
}

STAGE static unsigned deliver(struct gw_core *c)
{
    return gw_edge_finish(&c->l);
}

STAGE static unsigned send(struct gw_core *c)
{
    gw_net_advance(c->net, c->l.now_us);
    unsigned n = gw_tcp_flush(c->l.tcp, c->l.now_us);
    return n + c->port->ops->tx_flush(c->port);
}

/* Connections that were paused are read on here as well. */
STAGE static unsigned timers(struct gw_core *c)
{
    gw_tcp_advance(c->l.tcp, c->l.now_us);
    return core_commands(c);
}

unsigned gw_core_pass(struct gw_core *c, uint64_t now_us, uint64_t wall_us)
{
    unsigned work = 0;
    c->l.now_us = now_us;
    c->l.wall_us = wall_us;
    c->stage_start = rte_rdtsc();

    work += receive(c);
    stage_done(c, GW_STAGE_tcp);
    work += route(c);
    stage_done(c, GW_STAGE_route);
    work += seal(c);
    stage_done(c, GW_STAGE_seal);
    work += append(c);
    stage_done(c, GW_STAGE_append);
    work += deliver(c);
    stage_done(c, GW_STAGE_deliver);
    work += send(c);
    stage_done(c, GW_STAGE_send);
    work += timers(c);
    stage_done(c, GW_STAGE_timers);

    GW_COUNT(c->state.passes);
    GW_COUNT_ADD(c->state.busy_passes, work > 0);
    return work;
}

/* ---- running ---- */

static uint64_t clock_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* For laptops and CI: after some idle passes give the CPU away, then sleep in small pieces. */
static void rest(struct gw_core *c, unsigned idle_passes)
{
    if (c->poll || idle_passes < 64)
        return;
    if (idle_passes < 256) {
        sched_yield();
    } else {
        long ns = idle_passes < 4096 ? 20000 : 200000;
        nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
    }
    stage_done(c, GW_STAGE_idle);
}

static void publish(struct gw_core *c)
{
    struct gw_tcp_totals tcp = gw_tcp_totals(c->l.tcp);
    __atomic_store_n(&c->state.half_open, tcp.half_open, __ATOMIC_RELAXED);
    __atomic_store_n(&c->state.time_wait, tcp.time_wait, __ATOMIC_RELAXED);
    __atomic_store_n(&c->state.connections,
                     c->l.edge_count.connections - c->l.edge_count.connections_ended,
                     __ATOMIC_RELAXED);
    __atomic_store_n(&c->state.sessions, c->l.home->sessions.used_count, __ATOMIC_RELAXED);
    __atomic_store_n(&c->state.accounts, c->l.home->accounts.used_count, __ATOMIC_RELAXED);
    __atomic_store_n(&c->state.arena_used_bytes, gw_arena_used_bytes(c->l.arena), __ATOMIC_RELAXED);
}

/* Time is read once a loop; the wall clock's offset now and then. */
static unsigned timed_pass(struct gw_core *c, uint64_t *wall_offset_us)
{
    uint64_t now = clock_us(CLOCK_MONOTONIC);
    if (c->state.passes % 1024 == 0) {
        *wall_offset_us = clock_us(CLOCK_REALTIME) - now;
        publish(c);
    }
    return gw_core_pass(c, now, now + *wall_offset_us);
}

#define GOODBYE_US 3000000u

/* Streams are told; what was accepted becomes durable; a client that does not go is left behind. */
static void say_goodbye(struct gw_core *c, uint64_t *wall_offset_us, uint64_t until_us)
{
    unsigned idle = 0;
    while (gw_edge_shutdown(&c->l) > 0 || gw_home_is_busy(&c->l) || idle < 1000) {
        if (timed_pass(c, wall_offset_us) > 0)
            idle = 0;
        else
            idle++;
        if (c->l.now_us > until_us)
            return;
    }
}

/* Who is done works on for those that are not: as the home of their accounts, and as the lcore by
 * whose queue they send. */
static void leave(struct gw_core *c, uint64_t *wall_offset_us)
{
    uint64_t until_us = clock_us(CLOCK_MONOTONIC) + GOODBYE_US;
    say_goodbye(c, wall_offset_us, until_us);
    atomic_fetch_sub(c->leaving, 1);
    while (atomic_load(c->leaving) > 0 && c->l.now_us <= until_us)
        if (timed_pass(c, wall_offset_us) == 0)
            sched_yield();
    timed_pass(c, wall_offset_us); /* their last frames */
}

int gw_core_run(struct gw_core *c, const atomic_bool *stop)
{
    uint64_t wall_offset_us = 0;
    unsigned idle_passes = 0;
    while (!atomic_load_explicit(stop, memory_order_relaxed)) {
        idle_passes = timed_pass(c, &wall_offset_us) > 0 ? 0 : idle_passes + 1;
        rest(c, idle_passes);
    }
    leave(c, &wall_offset_us);
    return 0;
}
