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

struct transport {
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

static int resolve(struct transport *t, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    int err = getaddrinfo(host, port, &hints, &found);
    if (err) {
        fprintf(stderr, "godwit-load: %s port %s: %s\n", host, port, gai_strerror(err));
        return -EADDRNOTAVAIL;
    }
    memcpy(&t->address, found->ai_addr, found->ai_addrlen);
    t->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

int transport_open(struct transport **out, const char *host, const char *port,
                   uint32_t connection_limit, const struct transport_events *events, void *ctx)
{
    struct transport *t = calloc(1, sizeof(*t));
    check(t != NULL);
    t->epoll = -1;
    t->connection_limit = connection_limit;
    t->events = events;
    t->ctx = ctx;
    t->connections = calloc(connection_limit, sizeof(*t->connections));
    check(t->connections != NULL);
    for (uint32_t i = 0; i < connection_limit; i++)
        t->connections[i].fd = -1;
    int err = resolve(t, host, port);
    if (err)
        goto out;
    raise_file_limit(connection_limit + SPARE_FILES);
    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (t->epoll < 0)
        err = -errno;
out:
    if (err)
        transport_close(&t);
    *out = t;
    return err;
}

void transport_close(struct transport **transport)
{
    struct transport *t = *transport;
    if (!t)
        return;
    for (uint32_t i = 0; i < t->connection_limit; i++)
        if (t->connections[i].fd >= 0)
            close(t->connections[i].fd);
    if (t->epoll >= 0)
        close(t->epoll);
    free(t->connections);
    free(t);
    *transport = NULL;
}

static int watch(struct transport *t, uint32_t conn, int op, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.u32 = conn};
    return epoll_ctl(t->epoll, op, t->connections[conn].fd, &e) < 0 ? -errno : 0;
}

int transport_connect(struct transport *t, uint32_t conn)
{
    struct connection *c = &t->connections[conn];
    check(conn < t->connection_limit && c->fd < 0);
    int on = 1;
    c->fd = socket(t->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return -errno;
    *c = (struct connection){.fd = c->fd, .connecting = true};
    int err = 0;
    if (setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
        (connect(c->fd, (struct sockaddr *)&t->address, t->address_len) < 0 &&
         errno != EINPROGRESS))
        err = -errno;
    if (!err)
        err = watch(t, conn, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
    if (err)
        transport_hang_up(t, conn, false);
    return err;
}

void transport_hang_up(struct transport *t, uint32_t conn, bool reset)
{
    struct connection *c = &t->connections[conn];
    if (c->fd < 0)
        return;
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (reset && setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) < 0)
        fprintf(stderr, "godwit-load: SO_LINGER: %m\n");
    close(c->fd);
    c->fd = -1;
}

static void closed(struct transport *t, uint32_t conn, int error)
{
    transport_hang_up(t, conn, false);
    t->events->closed(t->ctx, conn, error);
}

void transport_send(struct transport *t, uint32_t conn, struct buffer *bytes)
{
    struct connection *c = &t->connections[conn];
    if (c->fd < 0 || c->full)
        return;
    while (buffer_len(bytes) > 0) {
        ssize_t n = send(c->fd, buffer_head(bytes), buffer_len(bytes), MSG_NOSIGNAL);
        if (n >= 0) {
            buffer_consume(bytes, (size_t)n);
        } else if (errno == EAGAIN) {
            c->full = true;
            int err = watch(t, conn, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            if (err)
                closed(t, conn, -err);
            return;
        } else if (errno != EINTR) {
            closed(t, conn, errno);
            return;
        }
    }
}

static void receive(struct transport *t, uint32_t conn)
{
    struct connection *c = &t->connections[conn];
    ssize_t n = recv(c->fd, t->input, sizeof(t->input), 0);
    if (n > 0)
        t->events->input(t->ctx, conn, t->input, (size_t)n);
    else if (n == 0)
        closed(t, conn, 0);
    else if (errno != EAGAIN && errno != EINTR)
        closed(t, conn, errno);
}

/* The socket takes bytes, for the first time or again. */
static void on_writable(struct transport *t, uint32_t conn)
{
    struct connection *c = &t->connections[conn];
    int error = 0;
    socklen_t len = sizeof(error);
    if (c->connecting && getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (!error)
        error = -watch(t, conn, EPOLL_CTL_MOD, EPOLLIN);
    if (error) {
        closed(t, conn, error);
        return;
    }
    bool first = c->connecting;
    c->connecting = c->full = false;
    if (first)
        t->events->connected(t->ctx, conn);
    else
        t->events->writable(t->ctx, conn);
}

int transport_poll(struct transport *t, int wait_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(t->epoll, events, EVENTS_MAX, wait_ms);
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < count; i++) {
        uint32_t conn = events[i].data.u32;
        /* An event earlier in this round may have closed it. */
        if (t->connections[conn].fd >= 0 &&
            (events[i].events & EPOLLOUT || t->connections[conn].connecting))
            on_writable(t, conn);
        if (t->connections[conn].fd >= 0 && !t->connections[conn].connecting &&
            events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            receive(t, conn);
    }
    return 0;
}
