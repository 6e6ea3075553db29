/* SPDX-License-Identifier: Apache-2.0 */
#include "stack.h"

#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define NEIGHBOUR_LIMIT 1024u
/* Small, so that two sides that wait for each other both have something to do. */
#define BURST 32u
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

static int open_port(struct stack *s, const struct stack_config *cfg)
{
    int last_cpu = (int)sysconf(_SC_NPROCESSORS_ONLN) - 1;
    struct gw_dpdk_config device = {
        .device = cfg->device, .queue_count = 1, .mtu = cfg->mtu, .lcore_count = 1};
    struct gw_eal_config eal = {
        .name = cfg->name,
        .lcore_cpus = &cfg->cpu,
        .lcore_count = 1,
        .commit_cpu = last_cpu,
        .main_cpu = last_cpu,
        .huge_pages = cfg->huge_pages,
        .memory_mib = gw_dpdk_memory_mib(&device),
        .device = cfg->device,
        .queue_count = 1,
        .mtu = cfg->mtu,
    };
    int err = gw_eal_init(&s->eal, &eal);
    if (err == 0)
        err = gw_dpdk_open(&s->dpdk, &device);
    if (err == 0)
        s->port = gw_dpdk_port(s->dpdk, 0);
    return err;
}

static int open_layers(struct stack *s, const struct stack_config *cfg,
                       const struct gw_tcp_upcalls *up, void *ctx)
{
    enum gw_region_pages pages = cfg->huge_pages ? GW_PAGES_HUGE_OR_SMALL : GW_PAGES_SMALL;
    struct gw_net_config net = {.addresses = &cfg->network,
                                .address_count = 1,
                                .ranges = &cfg->range,
                                .range_count = cfg->range.bits != 0,
                                .neighbour_limit = NEIGHBOUR_LIMIT,
                                .announce = true};
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
    };
    if (getrandom(&net.key, sizeof(net.key), 0) != sizeof(net.key) ||
        getrandom(&tcp.key, sizeof(tcp.key), 0) != sizeof(tcp.key))
        return -EIO;
    s->now_us = stack_clock_us();
    int err = gw_arena_open(&s->arena, cfg->name, (size_t)cfg->arena_mib << 20, pages);
    if (err == 0)
        err = gw_net_open(&s->net, &net, s->port, s->now_us);
    tcp.arena = s->arena;
    if (err == 0)
        err = gw_tcp_open(&s->tcp, &tcp, up, ctx, gw_net_emit, s->net, s->now_us);
    if (err == 0)
        gw_net_attach(s->net, s->tcp);
    return err;
}

int stack_open(struct stack *s, const struct stack_config *cfg, const struct gw_tcp_upcalls *up,
               void *ctx)
{
    *s = (struct stack){.network = cfg->network, .range = cfg->range};
    int err = open_port(s, cfg);
    if (err != 0)
        return err; /* said by who failed */
    err = open_layers(s, cfg, up, ctx);
    if (err != 0)
        fprintf(stderr, "%s: %s\n", cfg->name, strerror(-err));
    return err;
}

void stack_close(struct stack *s)
{
    gw_tcp_free(&s->tcp);
    gw_net_free(&s->net);
    gw_arena_free(&s->arena);
    gw_dpdk_free(&s->dpdk);
    gw_eal_free(&s->eal);
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
    sem_t done; /* EAL would wait in a loop, on a CPU that may be the other side's */
};

static int run(void *arg)
{
    struct runner *r = arg;
    unsigned work;
    while (r->turn(r->ctx, &work))
        if (work == 0)
            sched_yield();
    int status = getrusage(RUSAGE_THREAD, &r->stack->usage);
    sem_post(&r->done);
    return status;
}

int stack_run(struct stack *s, stack_turn_fn turn, void *ctx)
{
    struct runner r = {.stack = s, .turn = turn, .ctx = ctx};
    if (sem_init(&r.done, 0, 0) != 0)
        return -errno;
    int err = gw_eal_launch(s->eal, 0, run, &r);
    if (err == 0) {
        while (sem_wait(&r.done) != 0)
            continue; /* a signal */
        err = gw_eal_wait(s->eal, 0);
    }
    sem_destroy(&r.done);
    return err;
}

/* ---- figures ---- */

static void print_set(struct gw_counter_set set)
{
    for (unsigned i = 0; i < set.count; i++)
        if (set.values[i] != 0)
            printf("%-4s %12lu  %s\n", set.prefix, set.values[i], set.descs[i].help);
}

void stack_print(const struct stack *s)
{
    print_set(gw_dpdk_counter_set(s->dpdk, 0));
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
