/* SPDX-License-Identifier: Apache-2.0 */
#include "transport.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../dataplane/base/check.h"

#define EVENTS_MAX  512
#define INPUT_BYTES 65536
#define SPARE_FILES 64

struct connection {
    int fd; /* -1: closed */
    bool connecting;
    bool full; /* EPOLLOUT is watched */
};

struct kernel {
    struct transport t; /* first: a transport is its implementation */
    int epoll;
    struct sockaddr_storage address;
    socklen_t address_len;
    uint32_t connection_limit;
    struct connection *connections;
    const struct transport_events *events;
    void *ctx;
    char input[INPUT_BYTES];
};

static void raise_file_limit(uint32_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted;
    if (limit.rlim_max < wanted)
        limit.rlim_max = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        fprintf(stderr, "godwit-load: cannot open %u files: %m\n", wanted);
}

static int resolve(struct kernel *k, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    int err = getaddrinfo(host, port, &hints, &found);
    if (err) {
        fprintf(stderr, "godwit-load: %s port %s: %s\n", host, port, gai_strerror(err));
        return -EADDRNOTAVAIL;
    }
    memcpy(&k->address, found->ai_addr, found->ai_addrlen);
    k->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static const struct transport_ops ops;

int transport_open_kernel(struct transport **out, const struct transport_config *config,
                          const struct transport_events *events, void *ctx)
{
    uint32_t connection_limit = config->connection_limit;
    struct kernel *k = calloc(1, sizeof(*k));
    check(k != NULL);
    k->t.ops = &ops;
    k->epoll = -1;
    k->connection_limit = connection_limit;
    k->events = events;
    k->ctx = ctx;
    k->connections = calloc(connection_limit, sizeof(*k->connections));
    check(k->connections != NULL);
    for (uint32_t i = 0; i < connection_limit; i++)
        k->connections[i].fd = -1;
    int err = resolve(k, config->host, config->port);
    if (err)
        goto out;
    raise_file_limit(connection_limit + SPARE_FILES);
    k->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (k->epoll < 0)
        err = -errno;
out:
    *out = &k->t;
    if (err)
        transport_close(out);
    return err;
}

static void kernel_close(struct transport *t)
{
    struct kernel *k = (struct kernel *)t;
    for (uint32_t i = 0; i < k->connection_limit; i++)
        if (k->connections[i].fd >= 0)
            close(k->connections[i].fd);
    if (k->epoll >= 0)
        close(k->epoll);
    free(k->connections);
    free(k);
}

static int watch(struct kernel *k, uint32_t conn, int op, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.u32 = conn};
    return epoll_ctl(k->epoll, op, k->connections[conn].fd, &e) < 0 ? -errno : 0;
}

static void hang_up(struct kernel *k, uint32_t conn)
{
    close(k->connections[conn].fd);
    k->connections[conn].fd = -1;
}

static int kernel_connect(struct transport *t, uint32_t conn)
{
    struct kernel *k = (struct kernel *)t;
    struct connection *c = &k->connections[conn];
    check(conn < k->connection_limit && c->fd < 0);
    int on = 1;
    c->fd = socket(k->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return -errno;
    *c = (struct connection){.fd = c->fd, .connecting = true};
    int err = 0;
    if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
        (connect(c->fd, (struct sockaddr *)&k->address, k->address_len) < 0 &&
         errno != EINPROGRESS))
        err = -errno;
    if (!err)
        err = watch(k, conn, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
    if (err)
        hang_up(k, conn);
    return err;
}

static void kernel_hang_up(struct transport *t, uint32_t conn, bool reset)
{
    struct kernel *k = (struct kernel *)t;
    struct connection *c = &k->connections[conn];
    if (c->fd < 0)
        return;
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (reset && setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) < 0)
        fprintf(stderr, "godwit-load: SO_LINGER: %m\n");
    hang_up(k, conn);
}

static void closed(struct kernel *k, uint32_t conn, int error)
{
    hang_up(k, conn);
    k->events->closed(k->ctx, conn, error);
}

static void kernel_send(struct transport *t, uint32_t conn, struct buffer *bytes)
{
    struct kernel *k = (struct kernel *)t;
    struct connection *c = &k->connections[conn];
    if (c->fd < 0 || c->full)
        return;
    while (buffer_len(bytes) > 0) {
        ssize_t n = send(c->fd, buffer_head(bytes), buffer_len(bytes), MSG_NOSIGNAL);
        if (n >= 0) {
            buffer_consume(bytes, (size_t)n);
        } else if (errno == EAGAIN) {
            c->full = true;
            int err = watch(k, conn, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            if (err)
                closed(k, conn, -err);
            return;
        } else if (errno != EINTR) {
            closed(k, conn, errno);
            return;
        }
    }
}

static void receive(struct kernel *k, uint32_t conn)
{
    struct connection *c = &k->connections[conn];
    ssize_t n = recv(c->fd, k->input, sizeof(k->input), 0);
    if (n > 0)
        k->events->input(k->ctx, conn, k->input, (size_t)n);
    else if (n == 0)
        closed(k, conn, 0);
    else if (errno != EAGAIN && errno != EINTR)
        closed(k, conn, errno);
}

/* The socket takes bytes, for the first time or again. */
static void on_writable(struct kernel *k, uint32_t conn)
{
    struct connection *c = &k->connections[conn];
    int error = 0;
    socklen_t len = sizeof(error);
    if (c->connecting && getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (!error)
        error = -watch(k, conn, EPOLL_CTL_MOD, EPOLLIN);
    if (error) {
        closed(k, conn, error);
        return;
    }
    bool first = c->connecting;
    c->connecting = c->full = false;
    if (first)
        k->events->connected(k->ctx, conn);
    else
        k->events->writable(k->ctx, conn);
}

static int kernel_poll(struct transport *t, uint32_t wait_us)
{
    struct kernel *k = (struct kernel *)t;
    struct epoll_event events[EVENTS_MAX];
    struct timespec wait = {.tv_nsec = (long)wait_us * 1000};
    int count = epoll_pwait2(k->epoll, events, EVENTS_MAX, &wait, NULL);
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < count; i++) {
        uint32_t conn = events[i].data.u32;
        /* An event earlier in this round may have closed it. */
        if (k->connections[conn].fd >= 0 &&
            (events[i].events & EPOLLOUT || k->connections[conn].connecting))
            on_writable(k, conn);
        if (k->connections[conn].fd >= 0 && !k->connections[conn].connecting &&
            events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            receive(k, conn);
    }
    return 0;
}

static const struct transport_ops ops = {.connect = kernel_connect,
                                         .send = kernel_send,
                                         .hang_up = kernel_hang_up,
                                         .poll = kernel_poll,
                                         .close = kernel_close};
