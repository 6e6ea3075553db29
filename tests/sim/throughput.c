/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one bulk transfer reaches, by congestion control, round-trip time and loss: two stacks of ours
 * with a bottleneck between them, in virtual time. The same code gives the same figures, to the last
 * digit, so the table is kept beside this file and any difference to it is a change of behaviour.
 *
 *   throughput                the table
 *   throughput --check FILE   compares; each line that differs is shown as it was and as it is
 *
 * Both also hold the figures against what they have to be, whatever the table says.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/base/check.h"
#include "../../dataplane/tcp/counters.h"
#include "nic_tcp.h"

#define RATE_BYTES_PER_S UINT64_C(6250000) /* 50 Mbit/s */
#define QUEUE_BYTES_MIN  65536u
#define TRANSFER_BYTES   UINT64_C(150000000)
/* Not measured: the slow start and its end. */
#define WARM_UP_BYTES (TRANSFER_BYTES / 10)
#define WINDOW_BYTES  (8u << 20) /* never the limit */
#define WRITE_BYTES   65536u
#define ARENA_BYTES   (64u << 20)
#define LIMIT_US      UINT64_C(100000000000)
#define LINE_MAX_BYTES 128

enum { MSS = 1460, PORT = 5222, CCS = 2, RTTS = 4, LOSSES = 5, CELLS = CCS * RTTS * LOSSES };

static const char *const cc_names[CCS] = {"cubic", "newreno"};
static const uint64_t rtts_us[RTTS] = {1000, 10000, 50000, 200000};
static const uint32_t losses_ppm[LOSSES] = {0, 100, 1000, 10000, 30000};

struct cell {
    unsigned cc;
    uint64_t rtt_us;
    uint32_t loss_ppm;
    double mbit_per_s;
    uint64_t resent, timeouts;
};

struct side {
    struct nic_tcp nic;
    struct gw_arena *arena;
    gw_conn conn;
    uint64_t received;
    uint64_t warm_us; /* when WARM_UP_BYTES had arrived */
};

struct pair {
    struct world *world;
    struct side sender, receiver;
};

/* ---- the users ---- */

static void fill(struct side *s)
{
    static const uint8_t text[WRITE_BYTES];
    while (gw_tcp_send_copy(s->nic.tcp, s->conn, text, sizeof(text)) == 0)
        continue;
}

static bool on_established(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    struct side *s = ctx;
    s->conn = c;
    if (t->remote_port == PORT)
        fill(s);
    return true;
}

static size_t on_data(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    struct side *s = ctx;
    s->received += len;
    if (s->warm_us == 0 && s->received >= WARM_UP_BYTES)
        s->warm_us = world_now_us(s->nic.world);
    return len;
}

static void on_acked(void *ctx, gw_conn c, uint64_t acked)
{
    fill(ctx);
}

static void on_peer_closed(void *ctx, gw_conn c)
{
    check(!"nobody closes");
}

static void on_closed(void *ctx, gw_conn c, enum gw_tcp_close_reason why)
{
    check(!"nobody closes");
}

static void on_deadline(void *ctx, gw_conn c)
{
}

static const struct gw_tcp_upcalls upcalls = {.established = on_established,
                                              .data = on_data,
                                              .peer_closed = on_peer_closed,
                                              .acked = on_acked,
                                              .closed = on_closed,
                                              .deadline = on_deadline};

/* ---- one cell ---- */

static void open_side(struct side *s, struct world *w, unsigned cc, uint64_t number)
{
    *s = (struct side){.nic = {.world = w}};
    check(gw_arena_open(&s->arena, "throughput", ARENA_BYTES, GW_PAGES_SMALL) == 0);
    struct gw_tcp_config cfg = {
        .conn_limit = 4,
        .half_open_limit = 4,
        .time_wait_limit = 4,
        .recv_window_bytes = WINDOW_BYTES,
        .send_buffer_bytes = WINDOW_BYTES,
        .send_node_limit = 4 * WINDOW_BYTES / MSS,
        .recv_piece_limit = 4 * WINDOW_BYTES / MSS,
        .gso_bytes_max = GW_TCP_GSO_BYTES_MAX,
        .mss_v4 = MSS,
        .mss_v6 = MSS,
        .key = {number, number},
        .arena = s->arena,
        .pages = GW_PAGES_SMALL,
        .name = "throughput",
        .congestion_control = cc == 0 ? GW_TCP_CC_CUBIC : GW_TCP_CC_NEWRENO,
    };
    check(gw_tcp_open(&s->nic.tcp, &cfg, &upcalls, s, nic_tcp_emit, &s->nic, world_now_us(w)) == 0);
}

static void close_side(struct side *s)
{
    gw_tcp_free(&s->nic.tcp);
    gw_arena_free(&s->arena);
}

static void open_pair(struct pair *p, const struct cell *cell)
{
    *p = (struct pair){.world = world_open(1, 1000000)};
    open_side(&p->sender, p->world, cell->cc, 1);
    open_side(&p->receiver, p->world, cell->cc, 2);
    uint64_t bdp = RATE_BYTES_PER_S * cell->rtt_us / 1000000;
    struct world_link there = {
        .delay_us = cell->rtt_us / 2,
        .rate_bytes_per_s = RATE_BYTES_PER_S,
        .queue_bytes = bdp > QUEUE_BYTES_MIN ? (uint32_t)bdp : QUEUE_BYTES_MIN,
        .faults = {.loss_ppm = cell->loss_ppm},
    };
    struct world_link back = {.delay_us = cell->rtt_us / 2};
    p->sender.nic.link_out = world_add_link(p->world, &there, nic_tcp_deliver, &p->receiver.nic);
    p->receiver.nic.link_out = world_add_link(p->world, &back, nic_tcp_deliver, &p->sender.nic);
    struct gw_tcp_tuple t = {.local = gw_ip_from_v4((const uint8_t[]){10, 0, 0, 1}),
                             .remote = gw_ip_from_v4((const uint8_t[]){10, 0, 0, 2}),
                             .local_port = 10000,
                             .remote_port = PORT};
    check(gw_tcp_listen(p->receiver.nic.tcp, PORT) == 0);
    check(gw_tcp_connect(p->sender.nic.tcp, world_now_us(p->world), &t, &p->sender.conn) == 0);
}

static void close_pair(struct pair *p)
{
    close_side(&p->sender);
    close_side(&p->receiver);
    world_close(&p->world);
}

static void pass(struct side *s)
{
    uint64_t now = world_now_us(s->nic.world);
    gw_tcp_advance(s->nic.tcp, now);
    gw_tcp_flush(s->nic.tcp, now);
}

static void run_pair(struct pair *p)
{
    uint64_t limit_us = world_now_us(p->world) + LIMIT_US;
    while (p->receiver.received < TRANSFER_BYTES) {
        pass(&p->sender);
        pass(&p->receiver);
        uint64_t next = world_next_us(p->world);
        uint64_t timers[] = {gw_tcp_next_deadline_us(p->sender.nic.tcp),
                             gw_tcp_next_deadline_us(p->receiver.nic.tcp)};
        for (unsigned i = 0; i < 2; i++)
            next = timers[i] < next ? timers[i] : next;
        check(next < limit_us);
        if (next < world_now_us(p->world))
            next = world_now_us(p->world);
        world_run_to(p->world, next);
    }
}

static void measure(struct cell *cell)
{
    struct pair p;
    open_pair(&p, cell);
    run_pair(&p);
    const struct gw_tcp_counters *c = gw_tcp_counters(p.sender.nic.tcp);
    uint64_t us = world_now_us(p.world) - p.receiver.warm_us;
    cell->mbit_per_s = (double)(p.receiver.received - WARM_UP_BYTES) * 8 / (double)us;
    cell->resent = c->retransmits;
    cell->timeouts = c->rto_fired;
    close_pair(&p);
}

/* ---- what the figures have to be ---- */

static unsigned violations;

static void require(bool good, const struct cell *c, const char *what)
{
    if (good)
        return;
    violations++;
    fprintf(stderr, "%s, %" PRIu64 " ms, loss %g %%: %.3f Mbit/s: %s\n", cc_names[c->cc],
            c->rtt_us / 1000, c->loss_ppm / 1e4, c->mbit_per_s, what);
}

/* What Reno gets where each loss halves the window: Mathis et al. 1997, every second segment being
 * acknowledged. */
static double mathis_mbit_per_s(const struct cell *c)
{
    double rtt_s = (double)c->rtt_us / 1e6, loss = c->loss_ppm / 1e6;
    return MSS * 8 / 1e6 / rtt_s * sqrt(0.75 / loss);
}

static void require_sane(const struct cell cells[CELLS])
{
    double link = (double)RATE_BYTES_PER_S * 8 / 1e6;
    for (unsigned i = 0; i < CELLS; i++) {
        const struct cell *c = &cells[i];
        require(c->mbit_per_s <= link, c, "more than the link carries");
        if (c->loss_ppm == 0) {
            require(c->mbit_per_s >= 0.85 * link, c, "without loss it does not fill the link");
            continue;
        }
        /* A window of few segments finds losses by timeout: there the formula promises too much. */
        double most = mathis_mbit_per_s(c), factor = c->loss_ppm < 10000 ? 0.7 : 0.4;
        double bound = factor * (most < link ? most : link);
        require(c->mbit_per_s >= bound, c, "below the bound by Mathis");
        require(c->mbit_per_s <= c[-1].mbit_per_s * 1.01, c, "more than with less loss");
    }
    for (unsigned i = 0; i < CELLS / CCS; i++)
        require(cells[i].mbit_per_s >= 0.95 * cells[i + CELLS / CCS].mbit_per_s, &cells[i],
                "CUBIC below NewReno");
}

/* ---- the table ---- */

static const char *const head[] = {
    "# What one bulk transfer reaches: two stacks of ours, a bottleneck of 50 Mbit/s whose queue",
    "# holds what is under way in a round trip (at least 64 KiB), random loss one way. 150 MB each,",
    "# the first tenth not measured. Made by build/tests/sim/throughput, see docs/TCP.md.",
    "#",
    "# control  RTT ms  loss %     Mbit/s    resent  timeouts",
};

enum { HEAD_LINES = sizeof(head) / sizeof(*head), LINES = HEAD_LINES + CELLS };

static void make_line(char line[LINE_MAX_BYTES], const struct cell *c)
{
    snprintf(line, LINE_MAX_BYTES, "%-9s %7" PRIu64 " %7.2f %10.3f %9" PRIu64 " %9" PRIu64,
             cc_names[c->cc], c->rtt_us / 1000, c->loss_ppm / 1e4, c->mbit_per_s, c->resent,
             c->timeouts);
}

static void make_table(char lines[LINES][LINE_MAX_BYTES], struct cell cells[CELLS])
{
    for (unsigned i = 0; i < HEAD_LINES; i++)
        snprintf(lines[i], LINE_MAX_BYTES, "%s", head[i]);
    for (unsigned i = 0; i < CELLS; i++) {
        cells[i] = (struct cell){.cc = i / (RTTS * LOSSES),
                                 .rtt_us = rtts_us[i / LOSSES % RTTS],
                                 .loss_ppm = losses_ppm[i % LOSSES]};
        measure(&cells[i]);
        make_line(lines[HEAD_LINES + i], &cells[i]);
    }
}

/* The number of lines that differ; negative errno when the file cannot be read. */
static int compare(const char *path, char lines[LINES][LINE_MAX_BYTES])
{
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return -errno;
    char was[LINE_MAX_BYTES];
    int differ = 0;
    for (unsigned i = 0; i < LINES; i++) {
        if (fgets(was, sizeof(was), f) == NULL)
            was[0] = '\0';
        was[strcspn(was, "\n")] = '\0';
        if (strcmp(was, lines[i]) == 0)
            continue;
        if (differ++ == 0)
            printf("    %s\n", head[HEAD_LINES - 1]);
        printf("was %s\nis  %s\n", was, lines[i]);
    }
    differ += fgets(was, sizeof(was), f) != NULL; /* it has more lines */
    fclose(f);
    return differ;
}

int main(int argc, char **argv)
{
    static char lines[LINES][LINE_MAX_BYTES];
    static struct cell cells[CELLS];
    bool checks = argc == 3 && strcmp(argv[1], "--check") == 0;
    if (argc != 1 && !checks) {
        fprintf(stderr, "usage: throughput [--check FILE]\n");
        return 2;
    }
    make_table(lines, cells);
    require_sane(cells);
    int differ = 0;
    for (unsigned i = 0; i < LINES && !checks; i++)
        puts(lines[i]);
    if (checks)
        differ = compare(argv[2], lines);
    if (differ < 0)
        fprintf(stderr, "%s: %s\n", argv[2], strerror(-differ));
    else if (differ > 0)
        printf("%d lines of %s differ. When that is meant: build/tests/sim/throughput >FILE\n", differ,
               argv[2]);
    return differ != 0 || violations > 0;
}
