/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/tcp/info.h"

#define OPENING_MAX    512u
#define TIME_WAITS_MAX 1000000u

static const struct wire_mode *const modes[] = {&wire_echo, &wire_connect, &wire_bulk};
static const char *const mode_names[] = {"echo", "connect", "bulk", NULL};

static atomic_bool stopping;

static void on_signal(int number)
{
    atomic_store(&stopping, true);
}

/* ---- connections ---- */

int wire_open_next(struct wire *w, gw_conn *out)
{
    return stack_connect(&w->stack, &w->o.server, w->o.port, w->o.port_count, out);
}

bool wire_open_all(struct wire *w)
{
    while (w->opening < OPENING_MAX && w->open + w->opening < w->o.connections) {
        gw_conn c;
        if (wire_open_next(w, &c) != 0)
            return false;
        w->opening++;
    }
    return w->open == w->o.connections;
}

void wire_opened(struct wire *w, gw_conn c)
{
    w->opening--;
    w->conns[w->open++] = c;
    w->result.opened++;
    if (w->open == w->o.connections)
        w->result.opened_us = w->stack.now_us - w->start_us;
}

void wire_lost(void *ctx, gw_conn c, enum gw_tcp_close_reason why)
{
    struct wire *w = ctx;
    w->result.lost++;
    w->failed = true;
}

/* ---- the run ---- */

static void keep_time(struct wire *w)
{
    uint64_t now = w->stack.now_us;
    if (!w->measuring && w->measure_from_us != 0 && now >= w->measure_from_us) {
        w->measuring = true;
        w->measure_from_us = now;
        w->measure_until_us = now + (uint64_t)w->o.measure_ms * 1000;
        w->result.busy_us = w->stack.busy_us;
        if (w->stack.lcore == 0) {
            puts("measuring");
            fflush(stdout);
        }
    }
}

static bool turn(void *ctx, unsigned *work)
{
    struct wire *w = ctx;
    bool goes_on = modes[w->o.mode]->turn(w);
    *work = stack_pass(&w->stack);
    keep_time(w);
    if (w->measuring && (!goes_on || w->stack.now_us >= w->measure_until_us)) {
        w->result.measured_us = w->stack.now_us - w->measure_from_us;
        w->result.busy_us = w->stack.busy_us - w->result.busy_us;
        return false;
    }
    if (w->stack.now_us > w->start_us + (uint64_t)w->o.deadline_s * 1000000) {
        fprintf(stderr, "godwit-load: not over in %u s: %u open, %u opening, %lu requests\n",
                w->o.deadline_s, w->open, w->opening, w->result.done);
        w->failed = true;
    }
    return goes_on && !w->failed && !atomic_load_explicit(&stopping, memory_order_relaxed);
}

/* Of what is given for all lcores. */
static uint32_t share_of(uint32_t all, unsigned lcore, unsigned lcore_count)
{
    return all / lcore_count + (lcore < all % lcore_count);
}

static struct wire_options options_of(const struct wire_options *all, unsigned lcore)
{
    struct wire_options o = *all;
    unsigned count = all->stack.lcore_count;
    o.connections = share_of(all->connections, lcore, count);
    o.busy = share_of(all->busy, lcore, count);
    o.outstanding = share_of(all->outstanding, lcore, count);
    o.total = share_of(all->total, lcore, count);
    o.stack.conn_limit = o.connections + OPENING_MAX;
    o.stack.time_wait_limit = o.mode == WIRE_CONNECT ? TIME_WAITS_MAX / count : o.connections;
    return o;
}

static int open_wire(struct wire *w, unsigned lcore)
{
    struct wire *first = w - lcore;
    const struct wire_options *o = &w->o;
    w->random = 88172645463325252u + lcore;
    w->conns = calloc((size_t)o->connections + 1, sizeof(*w->conns));
    if (w->conns == NULL)
        return -ENOMEM;
    int err = gw_region_open(&w->peers, "godwit-load-peers",
                             ((size_t)o->stack.conn_limit + 1) * sizeof(uint64_t),
                             o->stack.huge_pages ? GW_PAGES_HUGE_OR_SMALL : GW_PAGES_SMALL);
    if (err == 0 && lcore == 0)
        err = stack_open(&w->stack, &o->stack, &modes[o->mode]->upcalls, w);
    else if (err == 0)
        err = stack_open_next(&w->stack, &first->stack, &o->stack, &modes[o->mode]->upcalls, w);
    w->start_us = w->stack.now_us;
    return err;
}

static void close_wire(struct wire *w)
{
    stack_close(&w->stack);
    gw_region_close(&w->peers);
    free(w->conns);
}

/* ---- the result ---- */

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Over all lcores: sums, and the longest times. */
static struct wire_result result_of(const struct wire *w)
{
    struct wire_result sum = {0};
    for (unsigned i = 0; i < w->stack.lcore_count; i++) {
        const struct wire_result *r = &w[i].result;
        sum.measured_us = larger(sum.measured_us, r->measured_us);
        sum.opened_us = larger(sum.opened_us, r->opened_us);
        sum.done += r->done;
        sum.bytes += r->bytes;
        sum.busy_us += r->busy_us;
        sum.altered += r->altered;
        sum.lost += r->lost;
        sum.opened += r->opened;
    }
    return sum;
}

static int write_json(const struct wire *w, const struct wire_result *r)
{
    double s = (double)r->measured_us / 1e6;
    uint64_t resent = 0, connections = 0;
    for (unsigned i = 0; i < w->stack.lcore_count; i++) {
        resent += gw_tcp_counters(w[i].stack.tcp)->retransmits;
        connections += gw_tcp_totals(w[i].stack.tcp).connections;
    }
    json_t *j = json_pack(
        "{s:s, s:f, s:I, s:f, s:f, s:f, s:I, s:I, s:I, s:f, s:I, s:I, s:I}", "mode",
        mode_names[w->o.mode], "seconds", s, "done", (json_int_t)r->done, "per_second",
        s > 0 ? (double)r->done / s : 0, "gbit_per_second",
        s > 0 ? (double)r->bytes * 8 / s / 1e9 : 0, "cpu_share",
        s > 0 ? (double)r->busy_us / (double)r->measured_us : 0, "altered", (json_int_t)r->altered,
        "lost", (json_int_t)r->lost, "opened", (json_int_t)r->opened, "opened_seconds",
        (double)r->opened_us / 1e6, "resent", (json_int_t)resent, "connections",
        (json_int_t)connections, "handed_over", (json_int_t)stack_handed_over(&w->stack));
    int err = j == NULL ? -1 : 0;
    if (err == 0 && strcmp(w->o.json, "-") == 0)
        err = json_dumpf(j, stdout, JSON_COMPACT) == 0 ? puts("") : -1;
    else if (err == 0)
        err = json_dump_file(j, w->o.json, JSON_COMPACT);
    json_decref(j);
    if (err < 0)
        fprintf(stderr, "godwit-load: %s: the result could not be written\n", w->o.json);
    return err < 0 ? -1 : 0;
}

static void print_result(const struct wire *w, const struct wire_result *r)
{
    double s = (double)r->measured_us / 1e6;
    if (s <= 0)
        return;
    printf("%s: %.0f a second", mode_names[w->o.mode], (double)r->done / s);
    if (w->o.mode == WIRE_BULK)
        printf(", %.2f Gbit/s", (double)r->bytes * 8 / s / 1e9);
    printf(", over %.2f s; this side busy %.0f %%; %lu connections opened in %.2f s\n", s,
           100.0 * (double)r->busy_us / (double)r->measured_us, r->opened,
           (double)r->opened_us / 1e6);
}

/* ---- the command line ---- */

static const char usage[] =
    "usage: godwit-load echo|connect|bulk --device DEVICE --server ADDR [options]\n"
    "TCP from our own stack on a DPDK port, against godwit-echo.\n"
    "  echo      requests and their answers on connections that stay\n"
    "  connect   connections with one request each\n"
    "  bulk      as many bytes as go, against godwit-echo --discard\n"
    "  --device DEVICE       DPDK device\n"
    "  --address ADDR/BITS   our first IP address and the link's prefix (10.77.0.2/24)\n"
    "  --range ADDR/BITS     connect from the addresses in it, which are ours as well\n"
    "  --server ADDR         (10.77.0.1)\n"
    "  --port N, --ports N   of the server: the first one, and how many (7, 1)\n"
    "  --connections N       open at once (64)\n"
    "  --busy N              of them, with requests under way (all)\n"
    "  --outstanding N       requests under way in all (one for each busy one)\n"
    "  --uniform             draw a connection from all of them for each request\n"
    "  --server-closes       mode connect: the server closes first (godwit-echo --close-first)\n"
    "  --total N             mode connect: end when so many connections have ended\n"
    "  --bytes N             of a request (64)\n"
    "  --warmup MS, --measure MS    (500, 3000)\n"
    "  --deadline S          for everything (120)\n"
    "  --mtu N, --cpu N, --window N, --arena N, --no-huge   as godwit-echo's (cpu: 1)\n"
    "  --counters            print the stack's counters at the end\n"
    "  --lcores N            on CPUs from --cpu on, sharing what is given above (1)\n"
    "  --queues N            of the device (one for each lcore where it can)\n"
    "  --json FILE           the result as JSON, - for standard output\n"
    "Status 0 when no byte was altered, no connection lost and all ended in time.\n";

enum { OPT_ADDRESS = 256, OPT_RANGE, OPT_SERVER, OPT_DEVICE, OPT_JSON, OPT_HELP, OPT_FLAGS, OPT_NUMBERS };

struct number_option {
    const char *name;
    uint32_t min, max;
    uint32_t *field;
};

static void refuse(const char *what)
{
    fprintf(stderr, "godwit-load: %s\n", what);
    exit(2);
}

static void take_number(const struct number_option *n, const char *text)
{
    *n->field = stack_number("godwit-load", n->name, text, n->min, n->max);
}

static void parse_text(struct wire_options *o, int option, const char *text)
{
    if (option == OPT_DEVICE)
        o->stack.device = text;
    else if (option == OPT_JSON)
        o->json = text;
    else if (option == OPT_SERVER && !gw_ip_parse(text, &o->server))
        refuse("--server takes an IP address");
    else if (option == OPT_ADDRESS && !gw_ip_parse_prefix(text, &o->stack.network))
        refuse("--address takes ADDR/BITS");
    else if (option == OPT_RANGE && !gw_ip_parse_prefix(text, &o->stack.range))
        refuse("--range takes ADDR/BITS");
}

static void finish(struct wire_options *o)
{
    if (o->busy == 0 || o->busy > o->connections)
        o->busy = o->connections;
    if (o->outstanding == 0)
        o->outstanding = o->busy;
    if (o->total != 0) {
        o->warmup_ms = 0;
        o->measure_ms = o->deadline_s * 1000;
    }
    if (o->stack.device == NULL)
        refuse("--device is needed");
    if (gw_ip_is_v4(&o->server) != gw_ip_is_v4(&o->stack.network.ip))
        refuse("--server and --address are not of one family");
    if (o->stack.range.bits != 0 &&
        gw_ip_is_v4(&o->stack.range.ip) != gw_ip_is_v4(&o->stack.network.ip))
        refuse("--range and --address are not of one family");
    if (o->outstanding < o->stack.lcore_count || o->busy < o->stack.lcore_count ||
        (o->total != 0 && o->total < o->stack.lcore_count))
        refuse("each lcore needs a connection with a request under way");
    if (o->stack.queue_count > o->stack.lcore_count)
        refuse("--queues is more than --lcores");
}

static void parse(struct wire_options *o, bool *counters, int argc, char **argv)
{
    uint32_t port = 7, ports = 1, mtu = 1500, cpu = 1, lcores = 1, queues = 0;
    int no_huge = 0, uniform = 0, server_closes = 0, with_counters = 0;
    const struct number_option numbers[] = {
        {"port", 1, 65535, &port},
        {"ports", 1, 1024, &ports},
        {"mtu", 576, 9000, &mtu},
        {"cpu", 0, 1023, &cpu},
        {"connections", 1, 8000000, &o->connections},
        {"busy", 1, 8000000, &o->busy},
        {"outstanding", 1, 1000000, &o->outstanding},
        {"total", 1, 1u << 31, &o->total},
        {"bytes", 8, 65536, &o->bytes},
        {"warmup", 0, 600000, &o->warmup_ms},
        {"measure", 1, 600000, &o->measure_ms},
        {"deadline", 1, 86400, &o->deadline_s},
        {"window", 16384, 1 << 28, &o->stack.window_bytes},
        {"arena", 1, 65536, &o->stack.arena_mib},
        {"lcores", 1, STACK_LCORES_MAX, &lcores},
        {"queues", 1, STACK_LCORES_MAX, &queues},
    };
    enum { COUNT = sizeof(numbers) / sizeof(*numbers) };
    struct option longs[COUNT + 11] = {
        {"address", required_argument, NULL, OPT_ADDRESS},
        {"range", required_argument, NULL, OPT_RANGE},
        {"server", required_argument, NULL, OPT_SERVER},
        {"device", required_argument, NULL, OPT_DEVICE},
        {"json", required_argument, NULL, OPT_JSON},
        {"help", no_argument, NULL, OPT_HELP},
        {"no-huge", no_argument, &no_huge, 1},
        {"uniform", no_argument, &uniform, 1},
        {"server-closes", no_argument, &server_closes, 1},
        {"counters", no_argument, &with_counters, 1},
    };
    for (int i = 0; i < COUNT; i++)
        longs[10 + i] = (struct option){numbers[i].name, required_argument, NULL, OPT_NUMBERS + i};
    int c;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (c == '?')
            exit(2);
        if (c == OPT_HELP) {
            fputs(usage, stdout);
            exit(0);
        }
        if (c >= OPT_NUMBERS)
            take_number(&numbers[c - OPT_NUMBERS], optarg);
        else if (c != 0)
            parse_text(o, c, optarg);
    }
    o->port = (uint16_t)port;
    o->port_count = (uint16_t)ports;
    o->stack.mtu = (uint16_t)mtu;
    o->stack.cpu = (int)cpu;
    o->stack.lcore_count = lcores;
    o->stack.queue_count = queues;
    o->stack.huge_pages = !no_huge;
    o->uniform = uniform != 0;
    o->server_closes = server_closes != 0;
    *counters = with_counters != 0;
    finish(o);
}

bool wire_is_mode(const char *word)
{
    for (unsigned i = 0; mode_names[i] != NULL; i++)
        if (strcmp(mode_names[i], word) == 0)
            return true;
    return false;
}

/* The exit status. */
static int report(const struct wire *w, bool counters)
{
    struct wire_result r = result_of(w);
    int err = 0;
    print_result(w, &r);
    for (unsigned i = 0; counters && i < w->stack.lcore_count; i++)
        stack_print(&w[i].stack);
    if (w->o.json != NULL)
        err = write_json(w, &r);
    if (r.altered + r.lost > 0)
        fprintf(stderr, "godwit-load: %lu bytes altered, %lu connections lost\n", r.altered, r.lost);
    bool good = err == 0 && r.altered + r.lost == 0;
    for (unsigned i = 0; i < w->stack.lcore_count; i++)
        good &= !w[i].failed && w[i].result.measured_us > 0;
    return good ? 0 : 1;
}

int wire_main(int argc, char **argv)
{
    static struct wire wires[STACK_LCORES_MAX];
    void *ctxs[STACK_LCORES_MAX];
    struct wire_options o = {
        .stack = {.name = "godwit-load",
                  .network = {gw_ip_from_v4((const uint8_t[]){10, 77, 0, 2}), GW_IP_V4_BITS + 24},
                  .window_bytes = 256 << 10,
                  .arena_mib = 512},
        .server = gw_ip_from_v4((const uint8_t[]){10, 77, 0, 1}),
        .connections = 64,
        .bytes = 64,
        .warmup_ms = 500,
        .measure_ms = 3000,
        .deadline_s = 120,
    };
    bool counters;
    while (mode_names[o.mode] != NULL && strcmp(mode_names[o.mode], argv[0]) != 0)
        o.mode++;
    parse(&o, &counters, argc, argv);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    int err = 0, status = 1;
    for (unsigned i = 0; i < o.stack.lcore_count && err == 0; i++) {
        wires[i].o = options_of(&o, i);
        ctxs[i] = &wires[i];
        err = open_wire(&wires[i], i);
    }
    if (err == 0)
        err = stack_run(&wires[0].stack, turn, ctxs);
    if (err == 0)
        status = report(wires, counters);
    for (unsigned i = o.stack.lcore_count; i-- > 0;)
        close_wire(&wires[i]);
    return status;
}
