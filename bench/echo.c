/* SPDX-License-Identifier: Apache-2.0 */
/*
 * godwit-echo: port, net and TCP on one lcore, and nothing above them: sends back what it gets.
 * To try a port or a driver, and to measure the stack apart from XMPP. Prints its counters at the
 * end (SIGINT, SIGTERM). It always polls.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../dataplane/net/net.h"
#include "../dataplane/port/dpdk.h"
#include "../dataplane/port/eal.h"
#include "../dataplane/tcp/counters.h"
#include "../dataplane/tcp/tcp.h"

#define ARENA_BYTES      ((size_t)512 << 20)
#define CONN_LIMIT       20000u
#define WINDOW_BYTES     (256u << 10)
#define NEIGHBOUR_LIMIT  1024u
#define IP_AND_TCP_BYTES 40u

struct options {
    const char *device;
    struct gw_ip_prefix address;
    uint16_t port;
    uint16_t mtu;
    int cpu;
    bool huge_pages;
};

struct echo {
    struct gw_port *port;
    struct gw_net *net;
    struct gw_tcp *tcp;
    struct gw_arena *arena;
    uint64_t stalls; /* times that data was not taken because the way back was full */
    struct rusage usage;
};

static atomic_bool stopping;

static void on_signal(int number)
{
    atomic_store(&stopping, true);
}

static uint64_t monotonic_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- upcalls ---- */

static bool established(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    return true;
}

static size_t data(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    struct echo *e = ctx;
    if (gw_tcp_send_copy(e->tcp, c, p, len) == 0)
        return len;
    e->stalls++;
    return 0;
}

static void peer_closed(void *ctx, gw_conn c)
{
    gw_tcp_shutdown(((struct echo *)ctx)->tcp, c);
}

static void acked(void *ctx, gw_conn c, uint64_t position)
{
    struct echo *e = ctx;
    if (gw_tcp_queue(e->tcp, c).kept_bytes != 0)
        gw_tcp_read_resume(e->tcp, c);
}

static void closed(void *ctx, gw_conn c, enum gw_tcp_close_reason why)
{
}

static void deadline(void *ctx, gw_conn c)
{
}

/* ---- the loop ---- */

static int run(void *arg)
{
    struct echo *e = arg;
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        struct gw_frame frames[GW_PORT_BURST_MAX];
        uint64_t now_us = monotonic_us();
        unsigned n = e->port->ops->rx(e->port, frames, GW_PORT_BURST_MAX);
        gw_net_input(e->net, now_us, frames, n);
        e->port->ops->rx_release(e->port, frames, n);
        gw_net_advance(e->net, now_us);
        gw_tcp_advance(e->tcp, now_us);
        gw_tcp_flush(e->tcp, now_us);
        e->port->ops->tx_flush(e->port);
    }
    return getrusage(RUSAGE_THREAD, &e->usage);
}

/* ---- start and end ---- */

static int parse_address(struct options *o, char *text)
{
    char *slash = strchr(text, '/');
    uint8_t v4[4];
    if (slash == NULL)
        return -EINVAL;
    *slash = '\0';
    bool is_v4 = inet_pton(AF_INET, text, v4) == 1;
    if (is_v4)
        o->address.ip = gw_ip_from_v4(v4);
    else if (inet_pton(AF_INET6, text, o->address.ip.b) != 1)
        return -EINVAL;
    int bits = atoi(slash + 1);
    if (bits < 0 || bits > (is_v4 ? 32 : 128))
        return -EINVAL;
    o->address.bits = (uint8_t)(bits + (is_v4 ? 96 : 0));
    return 0;
}

static const char usage[] =
    "usage: godwit-echo [options]\n"
    "Sends back what it receives by TCP on a port of its own, until SIGINT.\n"
    "  --device DEVICE       DPDK device (net_af_packet0,iface=gw1)\n"
    "  --address ADDR/BITS   our address and the link's prefix (10.77.0.1/24)\n"
    "  --port N              TCP port (7)\n"
    "  --mtu N               IP packet bytes (1500)\n"
    "  --cpu N               CPU of the lcore; all else runs on the last one (0)\n"
    "  --no-huge             on 4 KiB pages\n";

static int parse(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {
        {"device", required_argument, NULL, 'd'}, {"address", required_argument, NULL, 'a'},
        {"port", required_argument, NULL, 'p'},   {"mtu", required_argument, NULL, 'm'},
        {"cpu", required_argument, NULL, 'c'},    {"no-huge", no_argument, NULL, 'n'},
        {"help", no_argument, NULL, 'h'},         {0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (c) {
        case 'd':
            o->device = optarg;
            break;
        case 'a':
            if (parse_address(o, optarg) != 0) {
                fprintf(stderr, "godwit-echo: --address takes ADDR/BITS\n");
                return 2;
            }
            break;
        case 'p':
            o->port = (uint16_t)atoi(optarg);
            break;
        case 'm':
            o->mtu = (uint16_t)atoi(optarg);
            break;
        case 'c':
            o->cpu = atoi(optarg);
            break;
        case 'n':
            o->huge_pages = false;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    return 0;
}

static int open_stack(struct echo *e, const struct options *o, uint64_t now_us)
{
    static const struct gw_tcp_upcalls upcalls = {established, data,   peer_closed,
                                                  acked,       closed, deadline};
    struct gw_net_config net = {
        .addresses = &o->address,
        .address_count = 1,
        .neighbour_limit = NEIGHBOUR_LIMIT,
        .announce = true,
    };
    struct gw_tcp_config tcp = {
        .conn_limit = CONN_LIMIT,
        .half_open_limit = CONN_LIMIT / 4,
        .time_wait_limit = CONN_LIMIT,
        .recv_window_bytes = WINDOW_BYTES,
        .send_buffer_bytes = WINDOW_BYTES,
        .gso_bytes_max = GW_TCP_GSO_BYTES_MAX,
        .mss_v4 = (uint16_t)(o->mtu - IP_AND_TCP_BYTES),
        .mss_v6 = (uint16_t)(o->mtu - IP_AND_TCP_BYTES - 20),
        .name = "godwit-echo",
    };
    if (getrandom(&net.key, sizeof(net.key), 0) != sizeof(net.key) ||
        getrandom(&tcp.key, sizeof(tcp.key), 0) != sizeof(tcp.key))
        return -EIO;
    enum gw_region_pages pages = o->huge_pages ? GW_PAGES_HUGE_OR_SMALL : GW_PAGES_SMALL;
    int err = gw_arena_open(&e->arena, "godwit-echo", ARENA_BYTES, pages);
    if (err != 0)
        return err;
    tcp.arena = e->arena;
    tcp.pages = pages;
    err = gw_net_open(&e->net, &net, e->port, now_us);
    if (err != 0)
        return err;
    err = gw_tcp_open(&e->tcp, &tcp, &upcalls, e, gw_net_emit, e->net, now_us);
    if (err != 0)
        return err;
    gw_net_attach(e->net, e->tcp);
    return gw_tcp_listen(e->tcp, o->port);
}

static void print_set(struct gw_counter_set s)
{
    for (unsigned i = 0; i < s.count; i++)
        if (s.values[i] != 0)
            printf("%-4s %12lu  %s\n", s.prefix, s.values[i], s.descs[i].help);
}

static void print_end(const struct echo *e, struct gw_counter_set port)
{
    print_set(port);
    print_set(gw_net_counter_set(e->net));
    print_set((struct gw_counter_set){"tcp", gw_tcp_counter_descs,
                                      (const uint64_t *)gw_tcp_counters(e->tcp),
                                      gw_tcp_counter_count});
    printf("echo %12lu  times the way back was full\n", e->stalls);
    printf("cpu  %12ld  voluntary context switches\n", e->usage.ru_nvcsw);
    printf("cpu  %12ld  involuntary context switches\n", e->usage.ru_nivcsw);
    printf("cpu  %10ld.%01ld  seconds in the kernel\n", (long)e->usage.ru_stime.tv_sec,
           (long)e->usage.ru_stime.tv_usec / 100000);
}

int main(int argc, char **argv)
{
    struct options o = {
        .device = "net_af_packet0,iface=gw1",
        .address = {gw_ip_from_v4((const uint8_t[4]){10, 77, 0, 1}), 96 + 24},
        .port = 7,
        .mtu = 1500,
        .huge_pages = true,
    };
    int status = parse(&o, argc, argv);
    if (status != 0)
        return status;
    int last_cpu = (int)sysconf(_SC_NPROCESSORS_ONLN) - 1;
    struct gw_dpdk_config device = {o.device, 1, o.mtu};
    struct gw_eal_config eal_config = {
        .name = "godwit-echo",
        .lcore_cpus = &o.cpu,
        .lcore_count = 1,
        .commit_cpu = last_cpu,
        .main_cpu = last_cpu,
        .huge_pages = o.huge_pages,
        .memory_mib = gw_dpdk_memory_mib(&device),
        .device = o.device,
        .mtu = o.mtu,
    };
    struct gw_eal *eal = NULL;
    struct gw_dpdk *dpdk = NULL;
    struct echo e = {0};
    int err = gw_eal_init(&eal, &eal_config);
    if (err == 0)
        err = gw_dpdk_open(&dpdk, &device);
    if (err != 0)
        goto out;
    e.port = gw_dpdk_port(dpdk, 0);
    err = open_stack(&e, &o, monotonic_us());
    if (err != 0) {
        fprintf(stderr, "godwit-echo: %s\n", strerror(-err));
        goto out;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    printf("%s, %s pages, listening on port %u\n", gw_dpdk_driver(dpdk),
           gw_eal_has_huge_pages(eal) ? "huge" : "4 KiB", o.port);
    fflush(stdout);
    err = gw_eal_launch(eal, 0, run, &e);
    if (err == 0)
        err = gw_eal_wait(eal, 0);
    if (err == 0)
        print_end(&e, gw_dpdk_counter_set(dpdk, 0));
out:
    gw_tcp_free(&e.tcp);
    gw_net_free(&e.net);
    gw_arena_free(&e.arena);
    gw_dpdk_free(&dpdk);
    gw_eal_free(&eal);
    return err == 0 ? 0 : 1;
}
