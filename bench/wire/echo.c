/* SPDX-License-Identifier: Apache-2.0 */
/*
 * godwit-echo: port, net and TCP on one lcore, and nothing above them: sends back what it gets.
 * To try a port or a driver, and to measure the stack apart from XMPP. Prints its counters at the
 * end (SIGINT, SIGTERM), and what it has done so far as a line of JSON on SIGUSR1.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/tcp/info.h"
#include "stack.h"

#define NAME "godwit-echo"

struct options {
    struct stack_config stack;
    uint16_t port, port_count;
    bool close_first, discard;
};

struct echo {
    struct stack stack; /* first: upcalls that need no more get it */
    bool close_first, discard;
    uint64_t stalls; /* times that data was not taken because the way back was full */
};

static atomic_bool stopping, sample_wanted;

static void on_signal(int number)
{
    atomic_store(number == SIGUSR1 ? &sample_wanted : &stopping, true);
}

/* What has been done so far, for who wants to know what a request costs. */
static void print_sample(const struct echo *e)
{
    const struct gw_tcp_counters *c = gw_tcp_counters(e->stack.tcp);
    struct gw_tcp_totals now = gw_tcp_totals(e->stack.tcp);
    printf("{\"us\":%lu,\"busy_us\":%lu,\"busy_passes\":%lu,\"segments_in\":%lu,\"segments_out\":%lu,"
           "\"bytes_in\":%lu,\"accepted\":%lu,",
           e->stack.now_us, e->stack.busy_us, e->stack.busy_passes, c->segments_in, c->segments_out,
           c->text_bytes_in, c->opened_passive);
    printf("\"resent\":%lu,\"out_of_order\":%lu,\"connections\":%u,\"time_wait\":%u,"
           "\"arena_bytes\":%zu}\n",
           c->retransmits, c->out_of_order_in, now.connections, now.time_wait,
           gw_arena_used_bytes(e->stack.arena));
    fflush(stdout);
}

/* ---- upcalls ---- */

static bool established(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    return true;
}

static size_t data(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    struct echo *e = ctx;
    if (e->discard)
        return len;
    int err = gw_tcp_send_copy(e->stack.tcp, c, p, len);
    if (err == -EPIPE)
        return len; /* we have closed: what still comes is read, and not answered */
    if (err != 0) {
        e->stalls++;
        return 0;
    }
    if (e->close_first)
        gw_tcp_shutdown(e->stack.tcp, c);
    return len;
}

static void acked(void *ctx, gw_conn c, uint64_t position)
{
    struct echo *e = ctx;
    if (e->stalls != 0 && gw_tcp_queue(e->stack.tcp, c).kept_bytes != 0)
        gw_tcp_read_resume(e->stack.tcp, c);
}

static void closed(void *ctx, gw_conn c, enum gw_tcp_close_reason why)
{
}

static bool turn(void *ctx, unsigned *work)
{
    struct echo *e = ctx;
    *work = stack_pass(&e->stack);
    if (atomic_load_explicit(&sample_wanted, memory_order_relaxed)) {
        atomic_store(&sample_wanted, false);
        print_sample(e);
    }
    return !atomic_load_explicit(&stopping, memory_order_relaxed);
}

/* ---- start and end ---- */

static const char usage[] =
    "usage: godwit-echo [options]\n"
    "Sends back what it receives by TCP on a port of its own, until SIGINT.\n"
    "  --device DEVICE       DPDK device (net_af_packet0,iface=gw1)\n"
    "  --address ADDR/BITS   our IP address and the link's prefix (10.77.0.1/24)\n"
    "  --port N              TCP port (7)\n"
    "  --ports N             as many ports, from that on (1)\n"
    "  --mtu N               IP packet bytes (1500)\n"
    "  --cpu N               CPU of the lcore; all else runs on the last one (0)\n"
    "  --connections N       at most (20000)\n"
    "  --window N            bytes each way, of one connection (262144)\n"
    "  --time-wait N         closed connections remembered (as many as --connections)\n"
    "  --arena N             MiB for bytes on their way (512)\n"
    "  --close-first         after the first answer of a connection\n"
    "  --discard             answer nothing\n"
    "  --no-huge             on 4 KiB pages\n";

static const struct option known[] = {
    {"device", required_argument, NULL, 'd'},  {"address", required_argument, NULL, 'a'},
    {"port", required_argument, NULL, 'p'},    {"ports", required_argument, NULL, 'P'},
    {"mtu", required_argument, NULL, 'm'},     {"cpu", required_argument, NULL, 'c'},
    {"connections", required_argument, NULL, 'n'},
    {"time-wait", required_argument, NULL, 't'},
    {"window", required_argument, NULL, 'w'},  {"arena", required_argument, NULL, 'A'},
    {"close-first", no_argument, NULL, 'f'},   {"discard", no_argument, NULL, 'D'},
    {"no-huge", no_argument, NULL, 'h'},       {"help", no_argument, NULL, '?'},
    {0},
};

static void parse(struct options *o, int argc, char **argv)
{
    int c;
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (c == 'd') {
            o->stack.device = optarg;
        } else if (c == 'a') {
            if (!gw_ip_parse_prefix(optarg, &o->stack.network)) {
                fprintf(stderr, "godwit-echo: --address takes ADDR/BITS\n");
                exit(2);
            }
        } else if (c == 'p') {
            o->port = (uint16_t)stack_number(NAME, "port", optarg, 1, UINT16_MAX);
        } else if (c == 'P') {
            o->port_count = (uint16_t)stack_number(NAME, "ports", optarg, 1, 1024);
        } else if (c == 'm') {
            o->stack.mtu = (uint16_t)stack_number(NAME, "mtu", optarg, 576, 9000);
        } else if (c == 'c') {
            o->stack.cpu = (int)stack_number(NAME, "cpu", optarg, 0, 1023);
        } else if (c == 'n') {
            o->stack.conn_limit = stack_number(NAME, "connections", optarg, 1, 16000000);
        } else if (c == 't') {
            o->stack.time_wait_limit = stack_number(NAME, "time-wait", optarg, 1, 16000000);
        } else if (c == 'w') {
            o->stack.window_bytes = stack_number(NAME, "window", optarg, 16384, 1 << 28);
        } else if (c == 'A') {
            o->stack.arena_mib = stack_number(NAME, "arena", optarg, 1, 65536);
        } else if (c == 'f') {
            o->close_first = true;
        } else if (c == 'D') {
            o->discard = true;
        } else if (c == 'h') {
            o->stack.huge_pages = false;
        } else {
            fputs(usage, optopt != 0 ? stderr : stdout);
            exit(optopt != 0 ? 2 : 0);
        }
    }
}

static int listen_on(struct echo *e, const struct options *o)
{
    int err = 0;
    for (unsigned i = 0; i < o->port_count && err == 0; i++)
        err = gw_tcp_listen(e->stack.tcp, (uint16_t)(o->port + i));
    return err;
}

int main(int argc, char **argv)
{
    static const struct gw_tcp_upcalls upcalls = {.established = established,
                                                  .data = data,
                                                  .peer_closed = stack_close_too,
                                                  .acked = acked,
                                                  .closed = closed,
                                                  .deadline = stack_ignore_deadline};
    struct options o = {
        .stack = {.name = NAME,
                  .device = "net_af_packet0,iface=gw1",
                  .network = {gw_ip_from_v4((const uint8_t[]){10, 77, 0, 1}), GW_IP_V4_BITS + 24},
                  .mtu = 1500,
                  .huge_pages = true,
                  .conn_limit = 20000,
                  .window_bytes = 256 << 10,
                  .arena_mib = 512},
        .port = 7,
        .port_count = 1,
    };
    parse(&o, argc, argv);
    if (o.stack.time_wait_limit == 0)
        o.stack.time_wait_limit = o.stack.conn_limit;
    struct echo e = {.close_first = o.close_first, .discard = o.discard};
    int err = stack_open(&e.stack, &o.stack, &upcalls, &e);
    if (err == 0)
        err = listen_on(&e, &o);
    if (err == 0) {
        signal(SIGINT, on_signal);
        signal(SIGTERM, on_signal);
        signal(SIGUSR1, on_signal);
        printf("%s, %s pages, listening on port %u\n", gw_ports_driver(e.stack.ports),
               gw_eal_has_huge_pages(e.stack.eal) ? "huge" : "4 KiB", o.port);
        fflush(stdout);
        err = stack_run(&e.stack, turn, (void *[]){&e});
    }
    if (err == 0) {
        stack_print(&e.stack);
        printf("echo %12lu  times the way back was full\n", e.stalls);
    }
    stack_close(&e.stack);
    return err == 0 ? 0 : 1;
}
