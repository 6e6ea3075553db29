/* SPDX-License-Identifier: Apache-2.0 */
/* Local ports of connects that name none: drawn so that answers come to the stack that asks. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "../../dataplane/port/steer.h"
#include "../../dataplane/tcp/counters.h"
#include "../../dataplane/tcp/info.h"
#include "../../dataplane/tcp/tcp.h"

enum { LCORES = 2, SERVER_PORT = 5222, START_US = 1000000 };

/* One stack on one lcore; what it emits waits in its own row until it is carried. */
enum { SENT_MAX = 4096, SEGMENT_MAX = 100 };
struct end {
    struct gw_tcp *tcp;
    struct gw_arena *arena;
    const struct gw_steer *steer;
    unsigned lcore;
    unsigned established;
    struct {
        struct gw_tcp_tuple tuple;
        uint8_t bytes[SEGMENT_MAX];
        uint32_t len;
    } sent[SENT_MAX];
    unsigned sent_count;
};

static struct end clients[LCORES], server;
static struct gw_steer steer;

static bool on_established(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    ((struct end *)ctx)->established++;
    return true;
}

static size_t on_data(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    return len;
}

static void on_acked(void *ctx, gw_conn c, uint64_t acked)
{
}

static void on_event(void *ctx, gw_conn c)
{
}

static void on_closed(void *ctx, gw_conn c, enum gw_tcp_close_reason why)
{
}

static const struct gw_tcp_upcalls upcalls = {.established = on_established,
                                              .data = on_data,
                                              .peer_closed = on_event,
                                              .acked = on_acked,
                                              .closed = on_closed,
                                              .deadline = on_event};

static bool on_emit(void *ctx, const struct gw_tcp_segment *seg)
{
    struct end *e = ctx;
    if (e->sent_count == SENT_MAX)
        return false;
    cr_assert_eq(seg->payload_len, 0);
    cr_assert_leq(seg->header_len, SEGMENT_MAX);
    e->sent[e->sent_count].tuple = *seg->tuple;
    e->sent[e->sent_count].len = seg->header_len;
    memcpy(e->sent[e->sent_count++].bytes, seg->header, seg->header_len);
    return true;
}

static bool lands_here(void *ctx, const struct gw_tcp_tuple *t)
{
    const struct end *e = ctx;
    return gw_steer_lcore_of_tcp(e->steer, &t->remote, &t->local, t->remote_port,
                                 t->local_port) == e->lcore;
}

static bool lands_nowhere(void *ctx, const struct gw_tcp_tuple *t)
{
    return false;
}

static void open_end(struct end *e, uint32_t conn_limit, uint64_t key,
                     bool (*lands)(void *, const struct gw_tcp_tuple *))
{
    cr_assert_eq(gw_arena_open(&e->arena, "ports", 4 << 20, GW_PAGES_SMALL), 0);
    struct gw_tcp_config cfg = {.conn_limit = conn_limit,
                                .half_open_limit = conn_limit,
                                .time_wait_limit = 16,
                                .recv_window_bytes = 65536,
                                .send_buffer_bytes = 65536,
                                .mss_v4 = 1460,
                                .mss_v6 = 1440,
                                .key = {key, key},
                                .arena = e->arena,
                                .pages = GW_PAGES_SMALL,
                                .name = "ports",
                                .lands_here = lands,
                                .lands_here_ctx = e};
    cr_assert_eq(gw_tcp_open(&e->tcp, &cfg, &upcalls, e, on_emit, e, START_US), 0);
}

static void close_end(struct end *e)
{
    gw_tcp_free(&e->tcp);
    gw_arena_free(&e->arena);
    memset(e, 0, sizeof(*e));
}

static void close_all(void)
{
    for (unsigned l = 0; l < LCORES; l++)
        close_end(&clients[l]);
    close_end(&server);
}

static struct gw_ip address(bool v6, uint8_t last)
{
    if (!v6)
        return gw_ip_from_v4((const uint8_t[]){10, 0, 0, last});
    return (struct gw_ip){{0xfd, [15] = last}};
}

static int connect_from(struct end *e, bool v6, uint8_t last, struct gw_tcp_tuple *out)
{
    struct gw_tcp_tuple t = {
        .local = address(v6, last), .remote = address(v6, 1), .remote_port = SERVER_PORT};
    gw_conn c = 0;
    int err = gw_tcp_connect(e->tcp, START_US, &t, &c);
    cr_assert_eq(err == 0, c != 0);
    if (err == 0)
        *out = gw_tcp_tuple(e->tcp, c);
    return err;
}

Test(tcp_ports, differ_and_cannot_be_told_from_outside, .fini = close_all)
{
    struct gw_tcp_tuple t;
    uint16_t first[LCORES][2];
    for (unsigned i = 0; i < LCORES; i++) {
        static bool used[65536];
        memset(used, 0, sizeof(used));
        open_end(&clients[i], 2000, i + 1, NULL);
        for (unsigned n = 0; n < 1000; n++) {
            cr_assert_eq(connect_from(&clients[i], false, 2, &t), 0);
            cr_assert_geq(t.local_port, GW_TCP_DRAWN_PORT_FIRST);
            cr_assert_not(used[t.local_port]);
            used[t.local_port] = true;
            if (n == 0)
                first[i][0] = t.local_port;
        }
        cr_assert_eq(connect_from(&clients[i], false, 3, &t), 0);
        first[i][1] = t.local_port;
    }
    cr_assert_neq(first[0][0], first[1][0], "by the key");
    cr_assert_neq((uint16_t)(first[0][1] - first[0][0]), 1000, "by the addresses");
}

/* All ports between two addresses can be had, each once; then it says so, and others are not touched. */
Test(tcp_ports, run_out_with_an_error_of_their_own, .fini = close_all)
{
    static bool used[65536];
    struct gw_tcp_tuple t;
    open_end(&server, GW_TCP_DRAWN_PORTS + 10, 1, NULL);
    for (unsigned n = 0; n < GW_TCP_DRAWN_PORTS; n++) {
        cr_assert_eq(connect_from(&server, false, 2, &t), 0, "%u", n);
        cr_assert_not(used[t.local_port]);
        used[t.local_port] = true;
    }
    const struct gw_tcp_counters *c = gw_tcp_counters(server.tcp);
    cr_assert_eq(c->connect_no_port, 0);
    cr_assert_eq(connect_from(&server, false, 2, &t), -EADDRNOTAVAIL);
    cr_assert_eq(c->connect_no_port, 1);
    cr_assert_eq(c->opened_active, GW_TCP_DRAWN_PORTS);
    cr_assert_eq(gw_tcp_totals(server.tcp).connections, GW_TCP_DRAWN_PORTS);
    cr_assert_eq(connect_from(&server, false, 3, &t), 0, "from another address");
    /* One that names its port is refused in the other way. */
    gw_conn conn;
    cr_assert_eq(gw_tcp_connect(server.tcp, START_US, &t, &conn), -EADDRINUSE);
    cr_assert_eq(c->connect_no_port, 1);
}

Test(tcp_ports, none_may_land_here, .fini = close_all)
{
    struct gw_tcp_tuple t;
    open_end(&server, 10, 1, lands_nowhere);
    cr_assert_eq(connect_from(&server, true, 2, &t), -EADDRNOTAVAIL);
    cr_assert_eq(gw_tcp_counters(server.tcp)->connect_no_port, 1);
    cr_assert_eq(gw_tcp_totals(server.tcp).connections, 0);
}

/* What the client of each lcore has sent goes to the server, and its answers where the hash says. */
static unsigned carry(void)
{
    unsigned carried = 0;
    for (unsigned l = 0; l < LCORES; l++) {
        gw_tcp_flush(clients[l].tcp, START_US);
        carried += clients[l].sent_count;
        for (unsigned i = 0; i < clients[l].sent_count; i++)
            gw_tcp_input(server.tcp, START_US, &clients[l].sent[i].tuple.local,
                         &clients[l].sent[i].tuple.remote, clients[l].sent[i].bytes,
                         clients[l].sent[i].len);
        clients[l].sent_count = 0;
    }
    gw_tcp_flush(server.tcp, START_US);
    carried += server.sent_count;
    for (unsigned i = 0; i < server.sent_count; i++) {
        const struct gw_tcp_tuple *t = &server.sent[i].tuple;
        unsigned l = gw_steer_lcore_of_tcp(&steer, &t->local, &t->remote, t->local_port,
                                           t->remote_port);
        gw_tcp_input(clients[l].tcp, START_US, &t->local, &t->remote, server.sent[i].bytes,
                     server.sent[i].len);
    }
    server.sent_count = 0;
    return carried;
}

/* No answer comes to a lcore that does not know the connection, from whatever address it was opened. */
static void answers_come_to_who_asked(bool v6)
{
    enum { ADDRESSES = 50, EACH = 8 };
    static const uint8_t key[GW_STEER_KEY_BYTES] =
        "a key of fifty-two bytes, whatever they may be: 1234";
    gw_steer_init(&steer, key, LCORES, GW_STEER_SLOTS_MAX);
    open_end(&server, 4000, 9, NULL);
    cr_assert_eq(gw_tcp_listen(server.tcp, SERVER_PORT), 0);
    for (unsigned l = 0; l < LCORES; l++) {
        clients[l].steer = &steer;
        clients[l].lcore = l;
        open_end(&clients[l], 2000, l, lands_here);
    }
    struct gw_tcp_tuple t;
    for (unsigned n = 0; n < ADDRESSES * EACH; n++)
        for (unsigned l = 0; l < LCORES; l++) {
            cr_assert_eq(connect_from(&clients[l], v6, (uint8_t)(2 + n % ADDRESSES), &t), 0);
            cr_assert(lands_here(&clients[l], &t));
        }
    unsigned rounds = 0;
    while (carry() > 0)
        cr_assert_lt(rounds++, 10);
    for (unsigned l = 0; l < LCORES; l++) {
        cr_assert_eq(clients[l].established, ADDRESSES * EACH);
        cr_assert_eq(gw_tcp_counters(clients[l].tcp)->drop_no_connection, 0);
        cr_assert_eq(gw_tcp_counters(clients[l].tcp)->rst_out, 0);
    }
    cr_assert_eq(server.established, LCORES * ADDRESSES * EACH);
}

Test(tcp_ports, answers_come_to_who_asked_v4, .fini = close_all)
{
    answers_come_to_who_asked(false);
}

Test(tcp_ports, answers_come_to_who_asked_v6, .fini = close_all)
{
    answers_come_to_who_asked(true);
}
