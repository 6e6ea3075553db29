/* SPDX-License-Identifier: Apache-2.0 */
#include "stack.h"

#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "../../dataplane/base/check.h"

#define NEIGHBOUR_LIMIT 1024u
#define HEARD_MAX       64u
/* Small, so that two sides that wait for each other both have something to do. */
#define BURST 16u
#define V4_HEADER_BYTES 40u /* IP and TCP, without options */
#define V6_HEADER_BYTES 60u

#define ADDRESSES_MAX 65536u
#define PLACES_TRIED  4u

uint64_t stack_clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint32_t stack_number(const char *program, const char *option, const char *text, uint32_t min,
                      uint32_t max)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || value < min || value > max) {
        fprintf(stderr, "%s: --%s %s: a number from %u to %u is accepted\n", program, option, text,
                min, max);
        exit(2);
    }
    return (uint32_t)value;
}

void stack_ignore_acked(void *ctx, gw_conn c, uint64_t position)
{
}

void stack_ignore_deadline(void *ctx, gw_conn c)
{
}

void stack_close_too(void *ctx, gw_conn c)
{
    struct stack *s = ctx;
    gw_tcp_shutdown(s->tcp, c);
}

/* ---- start and end ---- */

static int open_device(struct stack *s, const struct stack_config *cfg)
{
    int last_cpu = (int)sysconf(_SC_NPROCESSORS_ONLN) - 1;
    int cpus[STACK_LCORES_MAX];
    for (unsigned i = 0; i < s->lcore_count; i++)
        cpus[i] = (cfg->cpu + (int)i) % (last_cpu + 1);
    struct gw_ports_config ports = {.device = cfg->device,
                                    .mtu = cfg->mtu,
                                    .lcore_count = s->lcore_count,
                                    .queue_count = cfg->queue_count,
                                    .mode = GW_DISPATCH_AUTO};
    struct gw_eal_config eal = {
        .name = cfg->name,
        .lcore_cpus = cpus,
        .lcore_count = s->lcore_count,
        .commit_cpu = last_cpu,
        .main_cpu = last_cpu,
        .huge_pages = cfg->huge_pages,
        .memory_mib = gw_ports_memory_mib(&ports),
        .device = cfg->device,
        .queue_count = gw_ports_queues_wanted(&ports),
        .mtu = cfg->mtu,
    };
    if (getrandom(ports.key, sizeof(ports.key), 0) != sizeof(ports.key))
        return -EIO;
    int err = gw_eal_init(&s->eal, &eal);
    return err == 0 ? gw_ports_open(&s->ports, &ports) : err;
}

/* ---- between lcores ---- */

struct heard_frame {
    uint32_t len;
    uint8_t bytes[GW_NET_SHARED_BYTES_MAX];
};

static void tell_others(void *ctx, const uint8_t *frame, uint32_t len)
{
    struct stack *s = ctx;
    struct heard_frame f = {.len = len};
    memcpy(f.bytes, frame, len);
    for (unsigned i = 0; i < s->lcore_count; i++)
        if (i != s->lcore)
            (void)gw_ring_push(s->all[i]->heard[s->lcore], &f); /* a lost one is asked for again */
}

static unsigned hear_others(struct stack *s)
{
    struct heard_frame f;
    unsigned n = 0;
    for (unsigned i = 0; i < s->lcore_count; i++)
        while (s->heard[i] != NULL && gw_ring_pop(s->heard[i], &f, 1) == 1) {
            gw_net_input_shared(s->net, s->now_us, f.bytes, f.len);
            n++;
        }
    return n;
}

static int open_ears(struct stack *s)
{
    int err = 0;
    for (unsigned i = 0; i < s->lcore_count && err == 0; i++)
        if (i != s->lcore)
            err = gw_ring_open(&s->heard[i], "stack-heard", sizeof(struct heard_frame), HEARD_MAX);
    return err;
}

static bool lands_here(void *ctx, const struct gw_tcp_tuple *t)
{
    const struct stack *s = ctx;
    return gw_steer_lcore_of_tcp(gw_ports_steer(s->ports), &t->remote, &t->local, t->remote_port,
                                 t->local_port) == s->lcore;
}

/* ---- start and end of a lcore ---- */

static int open_layers(struct stack *s, const struct stack_config *cfg,
                       const struct gw_tcp_upcalls *up, void *ctx)
{
    enum gw_region_pages pages = cfg->huge_pages ? GW_PAGES_HUGE_OR_SMALL : GW_PAGES_SMALL;
    struct gw_net_config net = {.addresses = &cfg->network,
                                .address_count = 1,
                                .ranges = &cfg->range,
                                .range_count = cfg->range.bits != 0,
                                .neighbour_limit = NEIGHBOUR_LIMIT,
                                .announce = s->lcore == 0};
    struct gw_tcp_config tcp = {
        .conn_limit = cfg->conn_limit,
        .half_open_limit = cfg->conn_limit / 4 + 1,
        .time_wait_limit = cfg->time_wait_limit,
        .recv_window_bytes = cfg->window_bytes,
        .send_buffer_bytes = cfg->window_bytes,
        .gso_bytes_max = GW_TCP_GSO_BYTES_MAX,
        .mss_v4 = (uint16_t)(cfg->mtu - V4_HEADER_BYTES),
        .mss_v6 = (uint16_t)(cfg->mtu - V6_HEADER_BYTES),
        .pages = pages,
        .name = cfg->name,
        .lands_here = s->lcore_count > 1 ? lands_here : NULL,
        .lands_here_ctx = s,
    };
    if (getrandom(&net.key, sizeof(net.key), 0) != sizeof(net.key) ||
        getrandom(&tcp.key, sizeof(tcp.key), 0) != sizeof(tcp.key))
        return -EIO;
    /* Not where who was here before began, whose connections the server may remember. */
    if (getrandom(&s->place, sizeof(uint16_t), 0) != sizeof(uint16_t))
        return -EIO;
    s->now_us = stack_clock_us();
    int err = gw_arena_open(&s->arena, cfg->name, (size_t)cfg->arena_mib << 20, pages);
    if (err == 0)
        err = gw_net_open(&s->net, &net, s->port, s->now_us);
    tcp.arena = s->arena;
    if (err == 0)
        err = gw_tcp_open(&s->tcp, &tcp, up, ctx, gw_net_emit, s->net, s->now_us);
    if (err != 0)
        return err;
    gw_net_attach(s->net, s->tcp);
    if (s->lcore_count > 1)
        gw_net_set_share(s->net, tell_others, s);
    return open_ears(s);
}

static int open_lcore(struct stack *s, const struct stack_config *cfg,
                      const struct gw_tcp_upcalls *up, void *ctx)
{
    s->network = cfg->network;
    s->range = cfg->range;
    s->port = gw_ports_at(s->ports, s->lcore);
    int err = open_layers(s, cfg, up, ctx);
    if (err != 0)
        fprintf(stderr, "%s: %s\n", cfg->name, strerror(-err));
    return err;
}

int stack_open(struct stack *s, const struct stack_config *cfg, const struct gw_tcp_upcalls *up,
               void *ctx)
{
    *s = (struct stack){.lcore_count = cfg->lcore_count != 0 ? cfg->lcore_count : 1};
    s->all = calloc(s->lcore_count, sizeof(*s->all));
    if (s->all == NULL)
        return -ENOMEM;
    s->all[0] = s;
    int err = open_device(s, cfg);
    return err == 0 ? open_lcore(s, cfg, up, ctx) : err; /* said by who failed */
}

int stack_open_next(struct stack *s, struct stack *first, const struct stack_config *cfg,
                    const struct gw_tcp_upcalls *up, void *ctx)
{
    *s = (struct stack){
        .ports = first->ports, .lcore_count = first->lcore_count, .all = first->all};
    while (first->all[s->lcore] != NULL)
        s->lcore++;
    s->all[s->lcore] = s;
    return open_lcore(s, cfg, up, ctx);
}

void stack_close(struct stack *s)
{
    gw_tcp_free(&s->tcp);
    gw_net_free(&s->net);
    gw_arena_free(&s->arena);
    for (unsigned i = 0; i < s->lcore_count; i++)
        gw_ring_free(&s->heard[i]);
    if (s->lcore != 0)
        return;
    gw_ports_free(&s->ports);
    gw_eal_free(&s->eal);
    free(s->all);
    s->all = NULL;
}

/* ---- connections ---- */

/* Of ours, to connect from. */
static uint32_t address_count(const struct stack *s)
{
    if (s->range.bits == 0)
        return 1;
    return s->range.bits < 112 ? ADDRESSES_MAX : 1u << (128 - s->range.bits);
}

static struct gw_ip address_at(const struct stack *s, uint32_t n)
{
    if (s->range.bits == 0)
        return s->network.ip;
    struct gw_ip a = s->range.ip;
    gw_put_be32(a.b + 12, gw_be32(a.b + 12) | n);
    return a;
}

static struct gw_tcp_tuple tuple_at_place(const struct stack *s, const struct gw_ip *server,
                                         uint16_t port, uint16_t port_count)
{
    return (struct gw_tcp_tuple){
        .local = address_at(s, s->place / port_count % address_count(s)),
        .remote = *server,
        .remote_port = (uint16_t)(port + s->place % port_count),
    };
}

int stack_connect(struct stack *s, const struct gw_ip *server, uint16_t port, uint16_t port_count,
                  gw_conn *out)
{
    int err = -EADDRNOTAVAIL;
    for (unsigned i = 0; i < PLACES_TRIED && err == -EADDRNOTAVAIL; i++) {
        struct gw_tcp_tuple t = tuple_at_place(s, server, port, port_count);
        err = gw_tcp_connect(s->tcp, s->now_us, &t, out);
        s->at_place += err == 0;
        if (err == -EADDRNOTAVAIL || s->at_place == GW_TCP_DRAWN_PORTS) {
            s->place++;
            s->at_place = 0;
        }
    }
    return err;
}

/* ---- the loop ---- */

unsigned stack_pass(struct stack *s)
{
    struct gw_frame frames[BURST];
    uint64_t now_us = stack_clock_us();
    if (s->last_work > 0)
        s->busy_us += now_us - s->now_us;
    s->now_us = now_us;
    unsigned n = s->port->ops->rx(s->port, frames, BURST);
    if (n > 0) {
        gw_net_input(s->net, s->now_us, frames, n);
        s->port->ops->rx_release(s->port, frames, n);
    }
    n += hear_others(s);
    gw_net_advance(s->net, s->now_us);
    gw_tcp_advance(s->tcp, s->now_us);
    n += gw_tcp_flush(s->tcp, s->now_us);
    n += s->port->ops->tx_flush(s->port);
    s->passes++;
    s->busy_passes += n > 0;
    s->last_work = n;
    return n;
}

struct runner {
    struct stack *stack;
    stack_turn_fn turn;
    void *ctx;
    atomic_uint *running; /* lcores whose turns are not over */
    sem_t *done; /* EAL would wait in a loop, on a CPU that may be the other side's */
};

/* A lcore that is done goes on passing: it may have the queue by which another one sends. */
static int run(void *arg)
{
    struct runner *r = arg;
    unsigned work;
    while (r->turn(r->ctx, &work))
        if (work == 0)
            sched_yield();
    atomic_fetch_sub(r->running, 1);
    while (atomic_load_explicit(r->running, memory_order_relaxed) > 0)
        if (stack_pass(r->stack) == 0)
            sched_yield();
    int status = getrusage(RUSAGE_THREAD, &r->stack->usage);
    sem_post(r->done);
    return status;
}

int stack_run(struct stack *first, stack_turn_fn turn, void *const *ctxs)
{
    struct runner runners[STACK_LCORES_MAX];
    atomic_uint running = first->lcore_count;
    sem_t done;
    int err = 0;
    if (sem_init(&done, 0, 0) != 0)
        return -errno;
    for (unsigned i = 0; i < first->lcore_count; i++) {
        runners[i] = (struct runner){first->all[i], turn, ctxs[i], &running, &done};
        check(gw_eal_launch(first->eal, i, run, &runners[i]) == 0); /* each is idle */
    }
    for (unsigned i = 0; i < first->lcore_count; i++)
        while (sem_wait(&done) != 0)
            continue; /* a signal */
    for (unsigned i = 0; i < first->lcore_count; i++) {
        int status = gw_eal_wait(first->eal, i);
        err = err == 0 ? status : err;
    }
    sem_destroy(&done);
    return err;
}

/* ---- figures ---- */

static void print_set(struct gw_counter_set set)
{
    for (unsigned i = 0; i < set.count; i++)
        if (set.values[i] != 0)
            printf("%-4s %12lu  %s\n", set.prefix, set.values[i], set.descs[i].help);
}

uint64_t stack_handed_over(const struct stack *first)
{
    struct gw_counter_set sets[GW_PORTS_COUNTER_SETS];
    uint64_t sum = 0;
    for (unsigned l = 0; l < first->lcore_count; l++)
        for (unsigned n = gw_ports_counter_sets(first->ports, l, sets); n-- > 0;)
            for (unsigned i = 0; i < sets[n].count; i++)
                if (strcmp(sets[n].descs[i].name, "rx_handed_over") == 0)
                    sum += sets[n].values[i];
    return sum;
}

void stack_print(const struct stack *s)
{
    struct gw_counter_set sets[GW_PORTS_COUNTER_SETS];
    unsigned n = gw_ports_counter_sets(s->ports, s->lcore, sets);
    for (unsigned i = 0; i < n; i++)
        print_set(sets[i]);
    print_set(gw_net_counter_set(s->net));
    print_set((struct gw_counter_set){"tcp", gw_tcp_counter_descs,
                                      (const uint64_t *)gw_tcp_counters(s->tcp),
                                      gw_tcp_counter_count});
    printf("cpu  %12ld  voluntary context switches\n", s->usage.ru_nvcsw);
    printf("cpu  %12ld  involuntary context switches\n", s->usage.ru_nivcsw);
    printf("cpu  %10ld.%01ld  seconds in the kernel\n", (long)s->usage.ru_stime.tv_sec,
           (long)s->usage.ru_stime.tv_usec / 100000);
    printf("cpu  %12lu  passes, of them %lu with work\n", s->passes, s->busy_passes);
}
