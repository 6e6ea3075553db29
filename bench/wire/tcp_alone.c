/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stack alone, without a port: a client and a server in one thread, joined by rings of frames in
 * memory, exchange requests of 64 bytes and their answers. What a pass of each costs is timed apart. To
 * compare two builds, and for callgrind, which counts the same instructions each time (--virtual).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../dataplane/base/arena.h"
#include "../../dataplane/net/net.h"
#include "../../dataplane/tcp/counters.h"
#include "../measure.h"

#define FRAMES        256u /* of a ring */
#define FRAME_BYTES   2048u
#define BURST_DEFAULT 16u
#define REQUEST_BYTES 64u
#define OPENING_MAX   256u
#define CONNS_A_PORT  50000u
#define DRAWN         32u /* connections that are fetched ahead of their turn */
#define PORT_FIRST    7u
#define VIRTUAL_US    8u /* that a pass takes, with --virtual */

struct ring {
    unsigned head, tail, queued;
    uint32_t len[FRAMES];
    uint8_t bytes[FRAMES][FRAME_BYTES];
};

struct side {
    struct gw_port port; /* first: the port's functions get it */
    struct ring *in, *out;
    struct gw_arena *arena;
    struct gw_net *net;
    struct gw_tcp *tcp;
    uint64_t spent_ns;
};

static struct ring rings[2];
static struct side server, client;
static unsigned burst = BURST_DEFAULT;
static bool uniform, is_virtual;
static uint64_t virtual_ns = UINT64_C(1000000000), done, randomness = 88172645463325252u;
static gw_conn *conns, drawn[DRAWN];
static uint32_t open_count;
static unsigned drawn_count;

/* ---- the port ---- */

static unsigned rx(struct gw_port *port, struct gw_frame *frames, unsigned max)
{
    struct ring *r = ((struct side *)port)->in;
    unsigned n = 0;
    for (; n < max && r->head + n != r->tail; n++)
        frames[n] = (struct gw_frame){.data = r->bytes[(r->head + n) % FRAMES],
                                      .len = r->len[(r->head + n) % FRAMES]};
    return n;
}

static void rx_release(struct gw_port *port, struct gw_frame *frames, unsigned n)
{
    ((struct side *)port)->in->head += n;
}

static bool tx(struct gw_port *port, const void *header, uint32_t header_len,
               const struct gw_bytes *payload, unsigned payload_count, uint32_t gso_bytes)
{
    struct ring *r = ((struct side *)port)->out;
    if (r->tail + r->queued - r->head == FRAMES)
        return false;
    unsigned at = (r->tail + r->queued++) % FRAMES;
    memcpy(r->bytes[at], header, header_len);
    r->len[at] = header_len;
    for (unsigned i = 0; i < payload_count; i++) {
        memcpy(r->bytes[at] + r->len[at], payload[i].p, payload[i].len);
        r->len[at] += (uint32_t)payload[i].len;
    }
    return true;
}

static unsigned tx_flush(struct gw_port *port)
{
    struct ring *r = ((struct side *)port)->out;
    unsigned n = r->queued;
    r->tail += n;
    r->queued = 0;
    return n;
}

static const struct gw_port_ops ops = {
    .rx = rx, .rx_release = rx_release, .tx = tx, .tx_flush = tx_flush};

/* ---- upcalls ---- */

static bool accept_all(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    return true;
}

static bool opened(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    conns[open_count++] = c;
    return true;
}

static void send(struct side *s, gw_conn c, const uint8_t *p, size_t len)
{
    check(gw_tcp_send_copy(s->tcp, c, p, len) == 0);
}

static size_t answer(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    send(&server, c, p, len);
    return len;
}

static gw_conn draw(void)
{
    gw_conn c = conns[below(&randomness, open_count)];
    gw_tcp_expect_send(client.tcp, c);
    return c;
}

static void request(gw_conn last)
{
    static const uint8_t bytes[REQUEST_BYTES];
    gw_conn c = last;
    if (uniform) {
        gw_conn *place = &drawn[drawn_count++ % DRAWN];
        c = *place;
        *place = draw();
    }
    send(&client, c, bytes, sizeof(bytes));
}

static size_t answered(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    done++;
    request(c);
    return len;
}

static void ignore(void *ctx, gw_conn c)
{
}

static void ignore_acked(void *ctx, gw_conn c, uint64_t position)
{
}

static void lost(void *ctx, gw_conn c, enum gw_tcp_close_reason why)
{
    fprintf(stderr, "tcp_alone: a connection was lost\n");
    exit(1);
}

/* ---- passes ---- */

static uint64_t clock_ns(void)
{
    struct timespec t;
    if (is_virtual)
        return virtual_ns;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void pass(struct side *s)
{
    struct gw_frame frames[GW_PORT_BURST_MAX];
    virtual_ns += VIRTUAL_US * 1000;
    uint64_t began_ns = clock_ns(), now_us = began_ns / 1000;
    unsigned n = s->port.ops->rx(&s->port, frames, burst);
    if (n > 0) {
        gw_net_input(s->net, now_us, frames, n);
        s->port.ops->rx_release(&s->port, frames, n);
    }
    gw_net_advance(s->net, now_us);
    gw_tcp_advance(s->tcp, now_us);
    gw_tcp_flush(s->tcp, now_us);
    s->port.ops->tx_flush(&s->port);
    s->spent_ns += clock_ns() - began_ns;
}

static void pass_both(void)
{
    pass(&client);
    pass(&server);
}

/* ---- start ---- */

static struct gw_ip address_of(const struct side *s)
{
    return gw_ip_from_v4((const uint8_t[]){10, 77, 0, s == &server ? 1 : 2});
}

static void open_side(struct side *s, uint32_t count, const struct gw_tcp_upcalls *up)
{
    bool serves = s == &server;
    const char *name = serves ? "alone-server" : "alone-client";
    s->port = (struct gw_port){.ops = &ops, .mac = {2, 0, 0, 0, 0, serves ? 1 : 2}, .mtu = 1500};
    s->in = &rings[serves];
    s->out = &rings[!serves];
    struct gw_ip_prefix network = {address_of(s), GW_IP_V4_BITS + 24};
    struct gw_net_config net = {.addresses = &network,
                                .address_count = 1,
                                .neighbour_limit = 1024,
                                .announce = true,
                                .key = {1, 2}};
    struct gw_tcp_config tcp = {.conn_limit = count,
                                .half_open_limit = 2 * OPENING_MAX,
                                .time_wait_limit = 1000,
                                .recv_window_bytes = 256 << 10,
                                .send_buffer_bytes = 256 << 10,
                                .gso_bytes_max = GW_TCP_GSO_BYTES_MAX,
                                .mss_v4 = 1460,
                                .mss_v6 = 1440,
                                .key = {3, 4},
                                .pages = GW_PAGES_HUGE_OR_SMALL,
                                .name = name};
    uint64_t now_us = clock_ns() / 1000;
    check(gw_arena_open(&s->arena, name, 64 << 20, tcp.pages) == 0);
    tcp.arena = s->arena;
    check(gw_net_open(&s->net, &net, &s->port, now_us) == 0);
    check(gw_tcp_open(&s->tcp, &tcp, up, NULL, gw_net_emit, s->net, now_us) == 0);
    gw_net_attach(s->net, s->tcp);
}

static void close_side(struct side *s)
{
    gw_tcp_free(&s->tcp);
    gw_net_free(&s->net);
    gw_arena_free(&s->arena);
}

static void connect_all(uint32_t count)
{
    uint32_t begun = 0;
    while (open_count < count) {
        for (; begun < count && begun - open_count < OPENING_MAX; begun++) {
            struct gw_tcp_tuple t = {.local = address_of(&client),
                                     .remote = address_of(&server),
                                     .remote_port = (uint16_t)(PORT_FIRST + begun / CONNS_A_PORT)};
            gw_conn c;
            check(gw_tcp_connect(client.tcp, clock_ns() / 1000, &t, &c) == 0);
        }
        pass_both();
    }
}

static void run(uint32_t busy, uint64_t requests)
{
    for (unsigned i = 0; i < DRAWN; i++)
        drawn[i] = draw();
    for (uint32_t i = 0; i < busy; i++)
        request(conns[i % open_count]);
    while (done < requests / 4) /* until every cache holds what it will */
        pass_both();
    uint64_t segments = gw_tcp_counters(server.tcp)->segments_in;
    done = server.spent_ns = client.spent_ns = 0;
    while (done < requests)
        pass_both();
    segments = gw_tcp_counters(server.tcp)->segments_in - segments;
    printf("server %.1f ns a request, %.1f a segment; client %.1f a request; %.2f segments each\n",
           (double)server.spent_ns / (double)done, (double)server.spent_ns / (double)segments,
           (double)client.spent_ns / (double)done, (double)segments / (double)done);
}

int main(int argc, char **argv)
{
    static const struct gw_tcp_upcalls serves = {.established = accept_all,
                                                 .data = answer,
                                                 .peer_closed = ignore,
                                                 .acked = ignore_acked,
                                                 .closed = lost,
                                                 .deadline = ignore},
                                       asks = {.established = opened,
                                               .data = answered,
                                               .peer_closed = ignore,
                                               .acked = ignore_acked,
                                               .closed = lost,
                                               .deadline = ignore};
    uint32_t numbers[4] = {1000000, 1000, 3000000, BURST_DEFAULT};
    unsigned given = 0;
    for (int i = 1; i < argc; i++) {
        char *end = argv[i];
        unsigned long n = strtoul(argv[i], &end, 10);
        if (strcmp(argv[i], "--uniform") == 0) {
            uniform = true;
        } else if (strcmp(argv[i], "--virtual") == 0) {
            is_virtual = true;
        } else if (*end == '\0' && end != argv[i] && given < 4 && n > 0 && n <= 16000000) {
            numbers[given++] = (uint32_t)n;
        } else {
            fprintf(stderr, "usage: tcp_alone [--uniform] [--virtual] [CONNECTIONS [BUSY [REQUESTS "
                            "[BURST]]]]\n");
            return 2;
        }
    }
    burst = numbers[3] < GW_PORT_BURST_MAX ? numbers[3] : GW_PORT_BURST_MAX;
    conns = calloc(numbers[0], sizeof(*conns));
    check(conns != NULL);
    open_side(&server, numbers[0], &serves);
    open_side(&client, numbers[0], &asks);
    for (uint32_t p = 0; p <= numbers[0] / CONNS_A_PORT; p++)
        check(gw_tcp_listen(server.tcp, (uint16_t)(PORT_FIRST + p)) == 0);
    connect_all(numbers[0]);
    run(numbers[1], numbers[2]);
    close_side(&client);
    close_side(&server);
    free(conns);
    return 0;
}
