/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include "../../dataplane/base/check.h"
#include "../../dataplane/tcp/counters.h"
#include "../wire/stack.h"
#include "transport.h"

#define CLOSING_MAX   1024u /* connections that wait for the server's last word */
#define WINDOW_BYTES  (256u << 10)
#define YIELDS        16u   /* it may share its CPU with what it waits for.. */
#define IDLE_NS       20000 /* ..and a pause costs much where timers are virtual */
#define TIMER_SLACK   1ul   /* ns, of such a pause */
#define NO_USER       UINT32_MAX
#define FAREWELL_US   200000u

struct transport_stack {
    struct transport t; /* first: a transport is its implementation */
    struct stack stack;
    struct gw_ip server;
    uint16_t port;
    uint32_t connection_limit;
    const struct transport_events *events;
    void *ctx;
    gw_conn *conns;  /* by user; 0: closed */
    uint32_t *users; /* by connection; NO_USER: let go, its end does not matter */
    bool *full;      /* by user: `writable` is due when something was acknowledged */
};

/* Of a connection that still belongs to a user. */
static bool user_of(const struct transport_stack *s, gw_conn c, uint32_t *user)
{
    *user = s->users[c];
    return *user != NO_USER;
}

static void let_go(struct transport_stack *s, uint32_t user)
{
    s->users[s->conns[user]] = NO_USER;
    s->conns[user] = 0;
}

/* ---- upcalls ---- */

static bool on_established(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    struct transport_stack *s = ctx;
    uint32_t user;
    if (user_of(s, c, &user))
        s->events->connected(s->ctx, user);
    return true;
}

static size_t on_data(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    struct transport_stack *s = ctx;
    uint32_t user;
    if (user_of(s, c, &user))
        s->events->input(s->ctx, user, p, len);
    return len;
}

static void on_peer_closed(void *ctx, gw_conn c)
{
    struct transport_stack *s = ctx;
    uint32_t user;
    gw_tcp_shutdown(s->stack.tcp, c);
    if (!user_of(s, c, &user))
        return;
    let_go(s, user);
    s->events->closed(s->ctx, user, 0);
}

static void on_acked(void *ctx, gw_conn c, uint64_t position)
{
    struct transport_stack *s = ctx;
    uint32_t user;
    if (!user_of(s, c, &user) || !s->full[user])
        return;
    s->full[user] = false;
    s->events->writable(s->ctx, user);
}

static void on_closed(void *ctx, gw_conn c, enum gw_tcp_close_reason why)
{
    static const int errors[] = {
        [GW_TCP_CLOSED_RESET] = ECONNRESET,        [GW_TCP_CLOSED_TIMEOUT] = ETIMEDOUT,
        [GW_TCP_CLOSED_ABORTED] = ECONNABORTED,    [GW_TCP_CLOSED_REFUSED] = ECONNREFUSED,
        [GW_TCP_CLOSED_UNREACHABLE] = EHOSTUNREACH,
    };
    struct transport_stack *s = ctx;
    uint32_t user;
    if (!user_of(s, c, &user))
        return;
    let_go(s, user);
    s->events->closed(s->ctx, user, errors[why]);
}

/* ---- what its owner asks for ---- */

static int stack_transport_connect(struct transport *t, uint32_t conn)
{
    struct transport_stack *s = (struct transport_stack *)t;
    gw_conn c;
    check(s->conns[conn] == 0);
    int err = stack_connect(&s->stack, &s->server, s->port, 1, &c);
    if (err)
        return err;
    s->conns[conn] = c;
    s->users[c] = conn;
    s->full[conn] = false;
    return 0;
}

static void stack_transport_send(struct transport *t, uint32_t conn, struct buffer *bytes)
{
    struct transport_stack *s = (struct transport_stack *)t;
    gw_conn c = s->conns[conn];
    if (c == 0 || s->full[conn] || buffer_len(bytes) == 0)
        return;
    struct gw_tcp_queue q = gw_tcp_queue(s->stack.tcp, c);
    size_t room = WINDOW_BYTES - (size_t)(q.sent_end - q.acked);
    size_t len = buffer_len(bytes) < room ? buffer_len(bytes) : room;
    int err = len > 0 ? gw_tcp_send_copy(s->stack.tcp, c, buffer_head(bytes), len) : 0;
    if (err == 0)
        buffer_consume(bytes, len);
    if (err == 0 || (err == -ENOBUFS && q.sent_end != q.acked)) {
        s->full[conn] = buffer_len(bytes) > 0;
        return;
    }
    gw_tcp_abort(s->stack.tcp, c);
    let_go(s, conn);
    s->events->closed(s->ctx, conn, -err);
}

static void stack_transport_hang_up(struct transport *t, uint32_t conn, bool reset)
{
    struct transport_stack *s = (struct transport_stack *)t;
    gw_conn c = s->conns[conn];
    if (c == 0)
        return;
    let_go(s, conn);
    if (reset)
        gw_tcp_abort(s->stack.tcp, c);
    else
        gw_tcp_shutdown(s->stack.tcp, c);
}

static int stack_transport_poll(struct transport *t, uint32_t wait_us)
{
    struct transport_stack *s = (struct transport_stack *)t;
    static const struct timespec pause = {.tv_nsec = IDLE_NS};
    uint64_t began_us = stack_clock_us();
    for (unsigned idle = 0;
         stack_pass(&s->stack) == 0 && s->stack.now_us - began_us < wait_us; idle++)
        if (idle < YIELDS)
            sched_yield();
        else
            nanosleep(&pause, NULL);
    return 0;
}

/* As the kernel does for a process that ends: the server is told. */
static void end_all(struct transport_stack *s)
{
    const uint64_t *resets = &gw_tcp_counters(s->stack.tcp)->rst_out;
    uint64_t until_us = stack_clock_us() + FAREWELL_US, wanted = *resets;
    for (uint32_t i = 0; i < s->connection_limit; i++) {
        wanted += s->conns[i] != 0;
        stack_transport_hang_up(&s->t, i, true);
    }
    do
        stack_pass(&s->stack);
    while (*resets < wanted && s->stack.now_us < until_us);
}

static void stack_transport_close(struct transport *t)
{
    struct transport_stack *s = (struct transport_stack *)t;
    if (s->stack.tcp != NULL)
        end_all(s);
    stack_close(&s->stack);
    free(s->conns);
    free(s->users);
    free(s->full);
    free(s);
}

/* ---- start ---- */

static int read_server(struct transport_stack *s, const struct transport_config *config)
{
    char *end;
    unsigned long port = strtoul(config->port, &end, 10);
    if (!gw_ip_parse(config->host, &s->server) || *end != '\0' || port == 0 || port > UINT16_MAX ||
        gw_ip_is_v4(&s->server) != gw_ip_is_v4(&config->address.ip) ||
        (config->range.bits != 0 &&
         gw_ip_is_v4(&config->range.ip) != gw_ip_is_v4(&config->address.ip))) {
        fprintf(stderr, "godwit-load: with --device, --host and --port are numbers, and --host, "
                        "--address and --range of one family\n");
        return -EINVAL;
    }
    s->port = (uint16_t)port;
    return 0;
}

int transport_open_stack(struct transport **out, const struct transport_config *config,
                         const struct transport_events *events, void *ctx)
{
    static const struct gw_tcp_upcalls upcalls = {.established = on_established,
                                                  .data = on_data,
                                                  .peer_closed = on_peer_closed,
                                                  .acked = on_acked,
                                                  .closed = on_closed,
                                                  .deadline = stack_ignore_deadline};
    static const struct transport_ops ops = {.connect = stack_transport_connect,
                                             .send = stack_transport_send,
                                             .hang_up = stack_transport_hang_up,
                                             .poll = stack_transport_poll,
                                             .close = stack_transport_close};
    struct stack_config stack = {.name = "godwit-load",
                                 .device = config->device,
                                 .network = config->address,
                                 .range = config->range,
                                 .mtu = config->mtu,
                                 .huge_pages = config->huge_pages,
                                 .conn_limit = config->connection_limit + CLOSING_MAX,
                                 .time_wait_limit = config->connection_limit + CLOSING_MAX,
                                 .window_bytes = WINDOW_BYTES,
                                 .arena_mib = config->arena_mib};
    struct transport_stack *s = calloc(1, sizeof(*s));
    check(s != NULL);
    s->t.ops = &ops;
    s->events = events;
    s->ctx = ctx;
    s->connection_limit = config->connection_limit;
    s->conns = calloc(config->connection_limit, sizeof(*s->conns));
    s->users = malloc((stack.conn_limit + 1) * sizeof(*s->users));
    s->full = calloc(config->connection_limit, sizeof(*s->full));
    check(s->conns && s->users && s->full);
    for (uint32_t c = 0; c <= stack.conn_limit; c++)
        s->users[c] = NO_USER;
    int err = read_server(s, config);
    if (!err)
        err = stack_open(&s->stack, &stack, &upcalls, s);
    if (!err)
        err = prctl(PR_SET_TIMERSLACK, TIMER_SLACK) < 0 ? -errno : 0;
    *out = &s->t;
    if (err)
        transport_close(out);
    return err;
}
