/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How to use libgodwit-tcp.so: two stacks in one process, each packet of the one pushed into the
 * other 5 ms later, all by dlopen. A client sends 100,000 bytes, the server reads them when it
 * likes and says how many, both close.
 *
 *   so_example LIBRARY
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "godwit_tcp.h"

#define MUST(cond)                                                     \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
            exit(1);                                                   \
        }                                                              \
    } while (0)

enum { TOTAL = 100000, DELAY_US = 5000, PACKETS_MAX = 4096, STEPS_MAX = 100000 };

static struct {
    __typeof__(&gw_stack_open) open;
    __typeof__(&gw_stack_close) close;
    __typeof__(&gw_stack_add_address) add_address;
    __typeof__(&gw_stack_set_time) set_time;
    __typeof__(&gw_stack_push) push;
    __typeof__(&gw_stack_run) run;
    __typeof__(&gw_stack_next_us) next_us;
    __typeof__(&gw_stack_listen) listen;
    __typeof__(&gw_stack_connect) connect;
    __typeof__(&gw_stack_send) send;
    __typeof__(&gw_stack_recv) recv;
    __typeof__(&gw_stack_shutdown) shutdown;
    __typeof__(&gw_stack_info) info;
    __typeof__(&gw_stack_usage) usage;
} so;

struct packet {
    uint64_t at_us;
    size_t len;
    uint8_t bytes[1500];
};

struct host {
    struct gw_stack *stack;
    uint32_t conn;
    bool peer_closed, closed;
    enum gw_stack_end why;
    struct packet under_way[PACKETS_MAX]; /* from this host to the other */
    unsigned head, tail;
};

static uint64_t now_us = 1000000;
static struct host client, server;

static bool on_emit(void *ctx, const uint8_t *packet, size_t len)
{
    struct host *h = ctx;
    MUST(len <= sizeof(h->under_way[0].bytes));
    if ((h->tail + 1) % PACKETS_MAX == h->head)
        return false;
    struct packet *p = &h->under_way[h->tail];
    h->tail = (h->tail + 1) % PACKETS_MAX;
    p->at_us = now_us + DELAY_US;
    p->len = len;
    memcpy(p->bytes, packet, len);
    return true;
}

static uint8_t byte_at(unsigned pos)
{
    return (uint8_t)(pos * 31 + pos / 256);
}

static void client_sends(void)
{
    static uint8_t bytes[TOTAL];
    for (unsigned i = 0; i < TOTAL; i++)
        bytes[i] = byte_at(i);
    MUST(so.send(client.stack, client.conn, bytes, TOTAL) == 0);
    MUST(so.send(client.stack, client.conn + 1, bytes, 1) == -EBADF);
    MUST(so.shutdown(client.stack, client.conn) == 0);
    MUST(so.send(client.stack, client.conn, bytes, 1) == -EPIPE);
}

static bool on_established(void *ctx, uint32_t conn, const struct gw_stack_endpoint *local,
                           const struct gw_stack_endpoint *remote, bool active)
{
    struct host *h = ctx;
    MUST(active == (h == &client));
    MUST(strcmp(remote->address, active ? "fd00::2" : "fd00::1") == 0 && local->port != 0);
    h->conn = conn;
    if (active)
        client_sends();
    return true;
}

static void on_peer_closed(void *ctx, uint32_t conn)
{
    ((struct host *)ctx)->peer_closed = true;
}

static void on_closed(void *ctx, uint32_t conn, enum gw_stack_end why)
{
    struct host *h = ctx;
    h->closed = true;
    h->why = why;
}

static void open_host(struct host *h, const char *address, uint64_t seed)
{
    /* Without `data` everything waits for gw_stack_recv. */
    struct gw_stack_config cfg = {.bytes = sizeof(cfg), .seed = seed};
    struct gw_stack_upcalls up = {.bytes = sizeof(up),
                                  .emit = on_emit,
                                  .established = on_established,
                                  .peer_closed = on_peer_closed,
                                  .closed = on_closed};
    MUST(so.open(&h->stack, &cfg, &up, h, now_us) == 0);
    MUST(so.add_address(h->stack, "no address") == -EINVAL);
    MUST(so.add_address(h->stack, address) == 0);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_packet_us(const struct host *h)
{
    return h->head == h->tail ? UINT64_MAX : h->under_way[h->head].at_us;
}

static void deliver(struct host *from, struct host *to)
{
    for (; next_packet_us(from) <= now_us; from->head = (from->head + 1) % PACKETS_MAX) {
        const struct packet *p = &from->under_way[from->head];
        MUST(so.push(to->stack, p->bytes, p->len) == 0);
    }
}

/* One moment: time, packets, timers. */
static bool step(void)
{
    uint64_t next = earlier(so.next_us(client.stack), so.next_us(server.stack));
    next = earlier(next, earlier(next_packet_us(&client), next_packet_us(&server)));
    if (next == UINT64_MAX)
        return false;
    now_us = next > now_us ? next : now_us;
    MUST(so.set_time(client.stack, now_us) == 0 && so.set_time(server.stack, now_us) == 0);
    deliver(&client, &server);
    deliver(&server, &client);
    so.run(client.stack);
    so.run(server.stack);
    return true;
}

static void load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    MUST(library != NULL);
#define LOAD(name) MUST((*(void **)&so.name = dlsym(library, "gw_stack_" #name)) != NULL)
    LOAD(open);
    LOAD(close);
    LOAD(add_address);
    LOAD(set_time);
    LOAD(push);
    LOAD(run);
    LOAD(next_us);
    LOAD(listen);
    LOAD(connect);
    LOAD(send);
    LOAD(recv);
    LOAD(shutdown);
    LOAD(info);
    LOAD(usage);
}

int main(int argc, char **argv)
{
    MUST(argc == 2);
    load(argv[1]);
    open_host(&client, "fd00::1", 1);
    open_host(&server, "fd00::2", 2);
    struct gw_stack_endpoint from = {"fd00::1", 40000}, to = {"fd00::2", 5222},
                             group = {"ff02::1", 1};
    MUST(so.listen(server.stack, to.port) == 0);
    MUST(so.connect(client.stack, &from, &group, &client.conn) == -EINVAL);
    MUST(so.connect(client.stack, &from, &to, &client.conn) == 0);

    unsigned received = 0, steps = 0;
    bool answered = false;
    while (step() && ++steps < STEPS_MAX) {
        static uint8_t bytes[10000];
        long n = server.conn != 0 && !answered ? so.recv(server.stack, server.conn, bytes, 10000)
                                               : -EAGAIN;
        MUST(n >= 0 || n == -EAGAIN);
        for (long i = 0; i < n; i++)
            MUST(bytes[i] == byte_at(received + (unsigned)i));
        received += n > 0 ? (unsigned)n : 0;
        if (n == 0) {
            char answer[40];
            int len = snprintf(answer, sizeof(answer), "%u bytes", received);
            MUST(so.send(server.stack, server.conn, answer, (size_t)len) == 0);
            MUST(so.shutdown(server.stack, server.conn) == 0);
            answered = true;
        }
        char answer[40] = "";
        if (!client.closed && so.recv(client.stack, client.conn, answer, sizeof(answer) - 1) > 0)
            MUST(strcmp(answer, "100000 bytes") == 0);
    }
    MUST(received == TOTAL && client.closed && server.closed);
    MUST(client.why == GW_STACK_END_DONE && server.why == GW_STACK_END_DONE);
    struct gw_stack_usage u = {.bytes = sizeof(u)};
    MUST(so.usage(client.stack, &u) == 0 && u.connections + u.time_waits + u.nodes == 0);
    MUST(so.usage(server.stack, &u) == 0 && u.connections + u.pieces == 0 && u.memory_bytes == 0);
    so.close(&client.stack);
    so.close(&server.stack);
    printf("%u bytes in %u steps\n", received, steps);
    return 0;
}
