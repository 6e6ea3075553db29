/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole broker, its clients and the network between them, in one thread under a virtual clock. Its
 * process dies at any moment, and another one goes on with what the disk still holds; the disk is
 * slow, fails, tears, or is full; the network loses, repeats and delays. Then the faults end, and
 * whatever happened, every promise that was made is kept, and nothing is left behind.
 *
 *   sim_broker [--seed N] [--seeds COUNT] [--twice] [--find] [--verbose]
 *
 * The same seed gives the same run: --twice runs each seed two times and compares. A failure prints
 * the command that runs the same again. --find is for brokers with a deliberate mistake: it is a
 * failure when no seed finds anything.
 */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../dataplane/base/check.h"
#include "../../dataplane/core_int.h"
#include "leaks.h"
#include "mix.h"
#include "operator.h"
#include "person.h"
#include "trace.h"
#include "watch.h"

#define SECOND_US    UINT64_C(1000000)
#define SETTLE_US    (900 * SECOND_US) /* all is settled so long after the faults */
#define GO_US        (600 * SECOND_US) /* and all are gone, TIME-WAIT and all */
#define MUCH_MEMORY  ((size_t)256 << 20)
#define BYTES_ENOUGH (UINT64_C(1) << 30) /* for a mailbox */
#define STOP_US      (3 * SECOND_US)    /* for goodbyes, as in core.c */
#define IDLE_POLL_US 100000            /* the storage thread looks so often by itself */

enum { STEPS_MAX = 20000000, LOOK_EVERY = 256, SEEDS_TELLING = 100 };

/* X(upper, pace: the most time between two passes of it that have work) */
#define ACTORS(X) \
    X(CORE_0, 40) X(CORE_1, 40) X(COMMIT, 60) X(STORAGE, 300) X(WATCH, 20000) X(OPERATOR, 5000) X(PEOPLE, 50)

enum actor_number {
#define X(upper, pace) upper,
    ACTORS(X)
#undef X
    ACTOR_COUNT
};

struct actor {
    uint64_t at_us, pace_us;
    bool busy; /* in a call that passes its time */
};

/* What this seed has in store. */
struct plan {
    uint64_t heal_us, next_us;
    uint64_t gap_us_max; /* between two faults */
    unsigned crashes_left, stops_left;
    uint64_t slow_us_max;
    bool fails, fills;
};

struct sim {
    uint64_t seed;
    struct world *world;
    struct nic *nics[2]; /* the broker's and the people's */
    unsigned links[2];
    struct broker broker;
    struct promises *promises;
    struct people *people;
    struct watch watch;
    struct operator operator;
    struct actor actors[ACTOR_COUNT];
    struct plan plan;
    bool up;   /* a process runs */
    bool dead; /* it has just died, somewhere below a call of its own */
    bool stopping; /* it was asked to end, and says goodbye */
    uint64_t stop_us; /* when it ends in any case */
    uint64_t restart_us;
    uint64_t steps, crashes;
    uint64_t digest;
};

/* X(name, what happened in all seeds): each must have happened, or these runs show little. */
#define TOTALS(X)                                                     \
    X(crashes, "processes that died")                                 \
    X(crashes_in_write, "in the middle of a write")                   \
    X(stops, "processes that ended in order")                         \
    X(reopens, "engines that failed and were opened anew")            \
    X(spilled, "messages that were spilled")                          \
    X(jobs, "operators' jobs that came to their end")                 \
    X(two_lcores, "runs with two lcores")                             \
    X(messages, "messages")                                           \
    X(refused, "messages that were refused")                          \
    X(shares, "because their sender had its share of a mailbox")      \
    X(recounts, "mailboxes that were counted again")                  \
    X(aged, "messages that became too old and were removed")          \
    X(aged_unread, "or left out when they were read")                 \
    X(redelivered, "deliveries repeated with the same stanza-id")     \
    X(repeated, "messages sent twice and stored once")                \
    X(fleeting, "stanzas that arrived and are not stored")            \
    X(vanished, "clients that went without a word")                   \
    X(deferred, "deliveries put off: the client did not read")        \
    X(conflicts, "sessions replaced by a newer one")                  \
    X(resumed, "streams that went on over another connection")         \
    X(restored, "of a process before")                                 \
    X(wrapped, "counts of stanzas that began anew behind 2^32")           \
    X(expired, "sessions that nobody came back for")                   \
    X(swept, "of a process before")                                     \
    X(inherited, "sessions that got what another one had left")

struct totals {
#define X(name, meaning) uint64_t name;
    TOTALS(X)
#undef X
};

static struct totals totals;
static struct sim *current; /* for what a failure prints */
static bool find;

/* ---- findings ---- */

static void explain(const struct sim *s)
{
    char text[300];
    promises_explain(s->promises, text, sizeof(text));
    fprintf(stderr, "at %.6f s, %" PRIu64 " crashes, store said: %s\n%s\n",
            (double)world_now_us(s->world) / 1e6, s->crashes, s->broker.last_report, text);
    people_explain(s->people);
}

static void finding(void *arg, const char *what)
{
    fprintf(stderr, "seed %" PRIu64 ": found: %s\n", current->seed, what);
    if (find) {
        fprintf(stderr, "seed %" PRIu64 " finds the mistake\n", current->seed);
        _exit(0); /* in the middle of it all: nothing is freed */
    }
    explain(current);
    fprintf(stderr, "again: sim_broker --seed %" PRIu64 " --verbose\n", current->seed);
    exit(1);
}

/* An assertion of the production's code: a finding, too. */
static void on_abort(int sig)
{
    char line[100];
    int n = snprintf(line, sizeof(line), "again: sim_broker --seed %" PRIu64 " --verbose\n",
                     current != NULL ? current->seed : 0);
    (void)!write(STDERR_FILENO, line, (size_t)n);
    if (find)
        _exit(0);
    signal(SIGABRT, SIG_DFL);
}

static void expect(bool good, const char *what)
{
    if (!good)
        finding(NULL, what);
}

/* ---- totals ---- */

static uint64_t counter(struct gw_counter_set set, const char *name)
{
    for (unsigned i = 0; i < set.count; i++)
        if (strcmp(set.descs[i].name, name) == 0)
            return set.values[i];
    check(false);
    return 0;
}

/* What the process that ends has counted. */
static void add_process(const struct sim *s)
{
    struct gw_counter_set store = gw_store_counters_storage(s->broker.store);
    totals.reopens += counter(store, "reopens");
    totals.spilled += counter(store, "spilled");
    for (unsigned i = 0; i < s->broker.cfg.lcores; i++) {
        const struct gw_lcore *l = &broker_core(&s->broker, i)->l;
        totals.deferred += l->edge_count.deliveries_deferred;
        totals.conflicts += l->home_count.conflicts;
        totals.resumed += l->edge_count.resumed;
        totals.restored += l->home_count.restored;
        totals.expired += l->home_count.detached_expired;
        totals.swept += l->home_count.sessions_swept;
        totals.aged += l->home_count.expired;
        totals.aged_unread += l->home_count.expired_unread;
        totals.inherited += l->home_count.inherited;
        totals.shares += l->home_count.refused_share;
        totals.recounts += l->home_count.recounts;
    }
}

static void add_run(const struct sim *s)
{
    struct promises_counts p = promises_counts(s->promises);
    totals.crashes += s->crashes;
    totals.jobs += s->operator.done;
    totals.two_lcores += s->broker.cfg.lcores == 2;
    totals.messages += p.messages;
    totals.refused += p.refused;
    totals.redelivered += p.redelivered;
    totals.repeated += p.repeated;
    totals.fleeting += p.fleeting;
    totals.vanished += people_counts(s->people).vanished;
    totals.wrapped += people_counts(s->people).wrapped;
}

/* Whether all of it has happened. */
static bool print_totals(void)
{
    bool all = true;
#define X(name, meaning)                                     \
    printf("%10" PRIu64 " " meaning "\n", totals.name);      \
    all &= totals.name > 0;
    TOTALS(X)
#undef X
    return all;
}

/* ---- actors ---- */

static uint64_t now_us(const struct sim *s)
{
    return world_now_us(s->world);
}

static void wake(struct sim *s, enum actor_number n)
{
    struct actor *a = &s->actors[n];
    uint64_t at = now_us(s) + 1 + world_random(s->world, a->pace_us);
    if (at < a->at_us)
        a->at_us = at;
}

static void wake_all(struct sim *s)
{
    for (unsigned i = 0; i < ACTOR_COUNT; i++)
        if (i != CORE_1 || s->broker.cfg.lcores > 1)
            wake(s, i);
}

static unsigned run_actor(struct sim *s, enum actor_number n)
{
    switch (n) {
    case CORE_0:
    case CORE_1:
        if (s->stopping)
            (void)gw_edge_shutdown(&broker_core(&s->broker, n - CORE_0)->l);
        broker_tell_age(&s->broker);
        return gw_core_pass(broker_core(&s->broker, n - CORE_0), now_us(s),
                            broker_wall_us(&s->broker));
    case COMMIT:
        return gw_store_commit_poll(s->broker.store);
    case STORAGE:
        return gw_store_storage_poll(s->broker.store);
    case WATCH:
        return watch_pass(&s->watch);
    case OPERATOR:
        return operator_pass(&s->operator);
    case PEOPLE:
        return people_pass(s->people);
    case ACTOR_COUNT:
        break;
    }
    return 0;
}

static uint64_t min_us(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When it has something to do though nothing happens to it. */
static uint64_t idle_until(struct sim *s, enum actor_number n)
{
    switch (n) {
    case CORE_0:
    case CORE_1: {
        const struct gw_core *c = broker_core(&s->broker, n - CORE_0);
        uint64_t tcp = gw_tcp_next_deadline_us(c->l.tcp), net = gw_net_next_deadline_us(c->net);
        /* It polls all the time, and what is due at its home, as sessions that nobody resumes, is
         * found by looking. */
        return min_us(now_us(s) + SECOND_US, min_us(tcp, net));
    }
    case PEOPLE:
        return people_next_us(s->people);
    case OPERATOR:
        return operator_next_us(&s->operator);
    case STORAGE:
    case COMMIT:
    case WATCH:
        return now_us(s) + IDLE_POLL_US;
    case ACTOR_COUNT:
        break;
    }
    return UINT64_MAX;
}

static bool can_run(const struct sim *s, enum actor_number n)
{
    return !s->actors[n].busy && (n == PEOPLE || (s->up && !s->dead));
}

static void act(struct sim *s, enum actor_number n)
{
    struct actor *a = &s->actors[n];
    a->busy = true;
    a->at_us = UINT64_MAX;
    unsigned work = run_actor(s, n);
    a->busy = false;
    if (!can_run(s, n))
        return;
    uint64_t idle = idle_until(s, n), soon = now_us(s) + 1;
    if (work > 0)
        wake_all(s);
    else if (a->at_us == UINT64_MAX)
        a->at_us = idle > soon ? idle : soon;
}

/* ---- faults ---- */

static struct gw_mem_faults draw_disk_faults(struct sim *s)
{
    struct world *w = s->world;
    struct gw_mem_faults f = {0};
    if (s->plan.slow_us_max > 0 && world_random(w, 2) == 0)
        f.slow_us_max = 10 + world_random(w, s->plan.slow_us_max);
    if (s->plan.fails && world_random(w, 3) == 0) {
        f.fail_at = 1 + (uint32_t)world_random(w, 10);
        f.fail_count = 1 + (uint32_t)world_random(w, 4);
    }
    if (s->plan.fills && world_random(w, 3) == 0)
        f.full = true;
    else if (s->plan.fills && world_random(w, 3) == 0)
        f.free_bytes = s->broker.cfg.reserve_bytes / 2;
    return f;
}

static void crash(struct sim *s)
{
    static const enum gw_mem_crash how[] = {GW_MEM_KILL, GW_MEM_POWER_LOSS, GW_MEM_TORN};
    static const char *const words[] = {"the process is killed", "power is lost",
                                        "power is lost, and what was being written is torn"};
    uint64_t kind = world_random(s->world, 3);
    trace(now_us(s), "%s", words[kind]);
    gw_mem_crash(s->broker.disk, how[kind]);
    s->dead = true;
    totals.crashes_in_write += s->actors[COMMIT].busy || s->actors[STORAGE].busy;
    s->crashes++;
    s->plan.crashes_left--;
    s->restart_us = now_us(s) + 1 + world_random(s->world, 3 * SECOND_US);
}

static void ask_to_stop(struct sim *s)
{
    trace(now_us(s), "the process is asked to end");
    s->stopping = true;
    s->stop_us = now_us(s) + STOP_US;
    s->restart_us = s->stop_us + 1 + world_random(s->world, 3 * SECOND_US);
    wake(s, CORE_0);
    if (s->broker.cfg.lcores > 1)
        wake(s, CORE_1);
}

static void set_disk_faults(struct sim *s, struct gw_mem_faults f)
{
    trace(now_us(s), "disk: slow %" PRIu64 ", fails at %u for %u, %s, free %" PRIu64, f.slow_us_max,
          f.fail_at, f.fail_count, f.full ? "full" : "not full", f.free_bytes);
    gw_mem_set_faults(s->broker.disk, &f);
}

static void heal(struct sim *s)
{
    trace(now_us(s), "the faults end");
    s->plan.next_us = s->plan.heal_us = UINT64_MAX;
    set_disk_faults(s, (struct gw_mem_faults){0});
    for (unsigned i = 0; i < 2; i++) {
        world_heal(s->world, s->links[i]);
        nic_set_refusal(s->nics[i], 0);
    }
    operator_calm(&s->operator);
    people_calm(s->people);
    wake(s, PEOPLE);
}

static void do_fault(struct sim *s)
{
    s->plan.next_us = now_us(s) + 1 + world_random(s->world, s->plan.gap_us_max);
    if (!s->up || s->dead || s->stopping)
        return;
    if (s->plan.stops_left > 0 && world_random(s->world, 4) == 0) {
        s->plan.stops_left--;
        totals.stops++;
        ask_to_stop(s);
    } else if (s->plan.crashes_left > 0 && world_random(s->world, 3) == 0)
        crash(s);
    else
        set_disk_faults(s, draw_disk_faults(s));
}

/* ---- processes ---- */

static void start_process(struct sim *s)
{
    trace(now_us(s), "a process starts");
    gw_mem_set_faults(s->broker.disk, &(struct gw_mem_faults){0});
    broker_start(&s->broker);
    watch_attach(&s->watch, &s->broker);
    operator_attach(&s->operator, &s->broker);
    s->restart_us = UINT64_MAX;
    s->up = true;
    wake_all(s);
}

static void bury_process(struct sim *s)
{
    s->up = s->dead = s->stopping = false;
    add_process(s);
    broker_bury(&s->broker);
    operator_detach(&s->operator);
    watch_detach(&s->watch); /* the store may have written into its buffer until now */
    for (unsigned i = 0; i < PEOPLE; i++)
        s->actors[i].at_us = UINT64_MAX;
}

/* As an lcore decides it: all goodbyes are said, and what was accepted is durable. */
static bool has_stopped(struct sim *s)
{
    bool busy = false;
    for (unsigned i = 0; i < s->broker.cfg.lcores; i++) {
        struct gw_lcore *l = &broker_core(&s->broker, i)->l;
        busy |= gw_edge_shutdown(l) > 0 || gw_home_is_busy(l);
    }
    return !busy || now_us(s) >= s->stop_us;
}

/* ---- time ---- */

static uint64_t next_event(const struct sim *s)
{
    uint64_t next = min_us(world_next_us(s->world), min_us(s->plan.next_us, s->plan.heal_us));
    for (unsigned i = 0; i < ACTOR_COUNT; i++)
        if (can_run(s, i))
            next = min_us(next, s->actors[i].at_us);
    return s->up ? next : min_us(next, s->restart_us);
}

static void receive_frames(struct sim *s)
{
    for (unsigned i = 0; i < s->broker.cfg.lcores; i++)
        if (nic_has_frames(s->nics[0], i))
            wake(s, CORE_0 + i);
    if (nic_has_frames(s->nics[1], 0))
        wake(s, PEOPLE);
}

/* On to the next event, or to limit_us. */
static void step(struct sim *s, uint64_t limit_us)
{
    uint64_t next = min_us(next_event(s), limit_us);
    expect(++s->steps < STEPS_MAX, "it does not come to an end");
    world_run_to(s->world, next > now_us(s) ? next : now_us(s));
    receive_frames(s);
    if (now_us(s) >= s->plan.heal_us)
        heal(s);
    else if (now_us(s) >= s->plan.next_us)
        do_fault(s);
    unsigned first = (unsigned)world_random(s->world, ACTOR_COUNT);
    for (unsigned i = 0; i < ACTOR_COUNT; i++) {
        enum actor_number n = (first + i) % ACTOR_COUNT;
        if (can_run(s, n) && s->actors[n].at_us <= now_us(s))
            act(s, n);
    }
}

/* Below a call into the store that writes: the others go on meanwhile. */
static void pass_time(void *arg, uint64_t us)
{
    struct sim *s = arg;
    uint64_t until = now_us(s) + us;
    if (!s->up)
        world_run_to(s->world, until);
    while (s->up && !s->dead && now_us(s) < until)
        step(s, until);
}

static void run_until(struct sim *s, bool (*over)(struct sim *), uint64_t limit_us,
                      const char *what)
{
    for (uint64_t n = 0;; n++) {
        if (s->dead || (s->stopping && has_stopped(s)))
            bury_process(s);
        if (!s->up && now_us(s) >= s->restart_us)
            start_process(s);
        if (n % LOOK_EVERY == 0 && over(s))
            return;
        expect(now_us(s) < limit_us, what);
        step(s, limit_us);
    }
}

/* ---- a run ---- */

static bool faults_are_over(struct sim *s)
{
    return s->plan.heal_us == UINT64_MAX && s->up;
}

static bool is_settled(struct sim *s)
{
    return !s->stopping && operator_is_idle(&s->operator) && people_are_settled(s->people) &&
           promises_are_settled(s->promises);
}

static bool all_are_gone(struct sim *s)
{
    return people_are_gone(s->people) && leaks_find(&s->broker) == NULL;
}

static bool nothing_waits(struct sim *s)
{
    return leaks_find_stored(&s->broker) == NULL;
}

static uint64_t pick(struct world *w, const uint64_t *from, size_t count)
{
    return from[world_random(w, count)];
}
#define PICK(w, ...)                                                                               \
    pick(w, (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 8)

static struct world_link random_link(struct world *w)
{
    return (struct world_link){
        .delay_us = PICK(w, 20, 500, 5000, 30000),
        .rate_bytes_per_s = PICK(w, 0, 0, 200000, 20000000),
        .queue_bytes = (uint32_t)PICK(w, 60000, 1000000),
        .faults = {.loss_ppm = (uint32_t)PICK(w, 0, 0, 1000, 20000, 80000),
                   .burst_ppm = (uint32_t)PICK(w, 0, 0, 1000),
                   .burst_packets = 10,
                   .duplicate_ppm = (uint32_t)PICK(w, 0, 0, 10000),
                   .corrupt_ppm = (uint32_t)PICK(w, 0, 0, 10000),
                   .reorder_ppm = (uint32_t)PICK(w, 0, 0, 10000, 100000),
                   .reorder_us_max = PICK(w, 100, 10000, 100000),
                   .jitter_us_max = PICK(w, 0, 50, 2000)},
    };
}

static void open_network(struct sim *s, unsigned lcores, uint16_t mtu)
{
    struct world_link links[2] = {random_link(s->world), random_link(s->world)};
    s->nics[0] = nic_new(s->world, 1, lcores, mtu, &s->digest);
    s->nics[1] = nic_new(s->world, 2, 1, mtu, &s->digest);
    nic_join(s->nics[0], s->nics[1], links, s->links);
    for (unsigned i = 0; i < 2; i++)
        nic_set_refusal(s->nics[i], (uint32_t)PICK(s->world, 0, 0, 10000, 200000));
}

static unsigned min_u(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static void open_people(struct sim *s, const struct broker_config *b)
{
    struct world *w = s->world;
    struct people_config cfg = {
        .seed = world_random(w, UINT64_MAX),
        .count = 2 + (unsigned)world_random(w, PERSONS_MAX - 1),
        .mtu = b->mtu,
        .pause_us_max = PICK(w, 20000, 200000, 2000000),
        .burst_max = (uint32_t)PICK(w, 1, 8, 60, 350),
        .body_bytes_max = (uint32_t)PICK(w, 100, 2000, 6000, 32000),
        .long_ppm = (uint32_t)PICK(w, 100000, 100000, 800000),
        .fleeting_ppm = (uint32_t)PICK(w, 0, 100000, 500000),
        .messages_max = 50 + (uint32_t)world_random(w, 400),
        .vanish_ppm = (uint32_t)PICK(w, 0, 20000, 100000),
        .abort_ppm = (uint32_t)PICK(w, 0, 20000, 100000),
        .leave_ppm = (uint32_t)PICK(w, 0, 50000, 200000),
        .stop_reading_ppm = (uint32_t)PICK(w, 0, 50000),
        .plain_ppm = (uint32_t)PICK(w, 0, 250000, 1000000),
        .count_first = b->count_first,
    };
    cfg.accounts = cfg.count - min_u(cfg.count / 2, (unsigned)PICK(w, 0, 0, 1, 3));
    bool may_refuse = b->mailbox_messages_max < cfg.messages_max ||
                      b->mailbox_bytes_max < BYTES_ENOUGH || b->arena_bytes < MUCH_MEMORY ||
                      s->plan.fails || s->plan.fills;
    s->promises = promises_new(cfg.accounts, may_refuse, finding, s);
    promises_limits(s->promises, &(struct promises_limits){
        .age_us = b->mailbox_age_us,
        .messages_max = b->mailbox_messages_max,
        .share_max = b->mailbox_messages_max * (b->mailbox_share_percent ? b->mailbox_share_percent : 100) / 100,
    });
    s->people = people_new(w, s->nics[1], s->promises, &cfg);
    people_on_fault(s->people, finding, s);
}

static void make_plan(struct sim *s)
{
    struct world *w = s->world;
    s->plan = (struct plan){
        .heal_us = now_us(s) + 2 * SECOND_US + world_random(w, 20 * SECOND_US),
        .gap_us_max = PICK(w, 100000, 1000000, 4000000),
        .stops_left = (unsigned)PICK(w, 0, 1, 2),
        .crashes_left = (unsigned)PICK(w, 0, 1, 3, 10),
        .slow_us_max = PICK(w, 0, 300, 10000, 200000, 1000000),
        .fails = world_random(w, 3) == 0,
        .fills = world_random(w, 4) == 0,
    };
    s->plan.next_us = now_us(s) + world_random(w, s->plan.gap_us_max);
}

static void open_sim(struct sim *s, uint64_t seed)
{
    static const uint64_t paces[] = {
#define X(upper, pace) pace,
        ACTORS(X)
#undef X
    };
    *s = (struct sim){.seed = seed, .restart_us = UINT64_MAX};
    s->world = world_open(seed, SECOND_US * (1 + seed % 1000));
    struct world *w = s->world;
    for (unsigned i = 0; i < ACTOR_COUNT; i++)
        s->actors[i] = (struct actor){.at_us = UINT64_MAX, .pace_us = paces[i]};
    struct broker_config cfg = {
        .seed = world_random(w, UINT64_MAX),
        .lcores = 1 + (unsigned)world_random(w, BROKER_LCORES_MAX),
        .mtu = (uint16_t)PICK(w, 576, 1500, 1500, 9000),
        .arena_bytes = PICK(w, 32 << 20, MUCH_MEMORY, MUCH_MEMORY, MUCH_MEMORY),
        .spill_after_us = PICK(w, 10000, 200000, 2000000, 30000000),
        .window_bytes_max = PICK(w, 1, 8) << 20,
        .spill_file_min = (uint32_t)PICK(w, 1, 8, 2048),
        .ping_after_us = PICK(w, 5, 30) * SECOND_US,
        .ping_timeout_us = 15 * SECOND_US,
        .count_first = (uint32_t)PICK(w, 0, 0, UINT32_MAX - 20),
        .mailbox_messages_max = (uint32_t)PICK(w, 20, 100000, 100000),
        .mailbox_bytes_max = PICK(w, 60000, BYTES_ENOUGH, BYTES_ENOUGH),
        .mailbox_age_us = PICK(w, 0, 0, 1, 5, 60) * SECOND_US,
        .mailbox_share_percent = (unsigned)PICK(w, 0, 10, 50),
        .reserve_bytes = 1 << 20,
    };
    make_plan(s);
    open_network(s, cfg.lcores, cfg.mtu);
    open_people(s, &cfg);
    broker_init(&s->broker, &cfg, w, s->nics[0], pass_time, s);
    watch_init(&s->watch, w, s->promises);
    operator_init(&s->operator, w, PICK(w, 0, 0, 100000, 2000000), finding, s);
    start_process(s);
    people_register(s->people, &s->broker);
}

static void close_sim(struct sim *s)
{
    bury_process(s);
    broker_free(&s->broker);
    people_free(&s->people);
    promises_free(&s->promises);
    for (unsigned i = 0; i < 2; i++)
        nic_free(&s->nics[i]);
    world_close(&s->world);
}

static void print_counts(const struct sim *s)
{
    struct promises_counts p = promises_counts(s->promises);
    struct people_counts c = people_counts(s->people);
    printf("seed %" PRIu64 ": %.3f s, %" PRIu64 " steps, %u lcore(s), %" PRIu64 " crashes; %u "
           "messages, %u sent, %u acknowledged, %u refused, %u received, %u redelivered, %u "
           "repeated, %u stored; %u log-ins, %u failed, %u resumed, %u lost, %u vanished, %u stream "
           "errors; digest %016" PRIx64 "\n",
           s->seed, (double)now_us(s) / 1e6, s->steps, s->broker.cfg.lcores, s->crashes, p.messages,
           p.sent, p.acked, p.refused, p.received, p.redelivered, p.repeated, p.stored, c.logins,
           c.logins_failed, c.resumed, c.conns_lost, c.vanished, c.stream_errors, s->digest);
}

static uint64_t run_seed(uint64_t seed)
{
    struct sim s;
    current = &s;
    open_sim(&s, seed);
    run_until(&s, faults_are_over, UINT64_MAX, "");
    run_until(&s, is_settled, now_us(&s) + SETTLE_US, "not settled in time");
    people_go(s.people);
    wake(&s, PEOPLE);
    uint64_t limit_us = now_us(&s) + GO_US;
    while (!all_are_gone(&s)) {
        expect(now_us(&s) < limit_us, leaks_find(&s.broker) != NULL ? leaks_find(&s.broker)
                                                                    : "somebody does not go");
        step(&s, now_us(&s) + SECOND_US);
    }
    run_until(&s, nothing_waits, now_us(&s) + GO_US, "something waits in the store");
    expect(watch_reads_the_same(&s.watch, &s.broker), "the ledger is not what it was");
    promises_judge(s.promises);
    s.digest = mix(s.digest, s.watch.digest);
    if (trace_on)
        print_counts(&s);
    uint64_t digest = s.digest;
    add_run(&s);
    close_sim(&s);
    current = NULL;
    return digest;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"seeds", required_argument, NULL, 'n'},
                                            {"twice", no_argument, NULL, 't'},
                                            {"find", no_argument, NULL, 'f'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    uint64_t seed = 1, seeds = 1;
    bool twice = false;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 's')
            seed = strtoull(optarg, NULL, 0);
        else if (o == 'n')
            seeds = strtoull(optarg, NULL, 0);
        else if (o == 't')
            twice = true;
        else if (o == 'f')
            find = true;
        else if (o == 'v')
            trace_on = true;
        else
            return 2;
    }
    signal(SIGABRT, on_abort);
    for (uint64_t i = 0; i < seeds; i++) {
        uint64_t digest = run_seed(seed + i);
        if (twice && run_seed(seed + i) != digest) {
            fprintf(stderr, "seed %" PRIu64 " does not give the same run twice\n", seed + i);
            return 1;
        }
    }
    if (!print_totals() && seeds >= SEEDS_TELLING) {
        fprintf(stderr, "something never happens in these runs\n");
        return 1;
    }
    printf("%" PRIu64 " seeds from %" PRIu64 ": %s\n", seeds, seed,
           find ? "nothing was found" : "every promise kept, nothing left behind");
    return find ? 1 : 0;
}
