/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thousands of TCP connections to one server: by kernel sockets and epoll (transport_kernel.c), or
 * by our own stack on a DPDK port (transport_stack.c). Connections are numbered by their user, from
 * 0; each is closed or open. All events come from transport_poll, which the thread that opened the
 * transport calls, as all else here.
 */
#ifndef LOAD_TRANSPORT_H
#define LOAD_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "../../dataplane/base/ip.h"
#include "buffer.h"

#define TRANSPORT_WAIT_US_MAX 900000u

struct transport_config {
    const char *host, *port; /* of the server; over our own stack an address and a number */
    uint32_t connection_limit;
    const char *device;          /* DPDK device; NULL: kernel sockets. What follows is for it: */
    struct gw_ip_prefix address; /* ours, and what is on the link */
    struct gw_ip_prefix range;   /* to connect from; bits 0: from `address` */
    uint16_t mtu;
    uint32_t arena_mib; /* for bytes on their way */
    bool huge_pages;
};

struct transport_events {
    void (*connected)(void *ctx, uint32_t conn);
    /* Bytes came; alive during the call. */
    void (*input)(void *ctx, uint32_t conn, const void *bytes, size_t len);
    /* What waited because the connection was full can go on: call transport_send. */
    void (*writable)(void *ctx, uint32_t conn);
    /* The connection is closed; error is 0 after a FIN, else a positive errno. */
    void (*closed)(void *ctx, uint32_t conn, int error);
};

struct transport;

struct transport_ops {
    int (*connect)(struct transport *t, uint32_t conn);
    void (*send)(struct transport *t, uint32_t conn, struct buffer *bytes);
    void (*hang_up)(struct transport *t, uint32_t conn, bool reset);
    int (*poll)(struct transport *t, uint32_t wait_us);
    void (*close)(struct transport *t);
};

struct transport {
    const struct transport_ops *ops;
};

/* 0 or negative errno. The config need not outlive the call; its strings must. */
int transport_open_kernel(struct transport **out, const struct transport_config *config,
                          const struct transport_events *events, void *ctx);
/* Once in the life of a process. */
int transport_open_stack(struct transport **out, const struct transport_config *config,
                         const struct transport_events *events, void *ctx);

static inline int transport_open(struct transport **out, const struct transport_config *config,
                                 const struct transport_events *events, void *ctx)
{
    return (config->device ? transport_open_stack : transport_open_kernel)(out, config, events,
                                                                           ctx);
}

/* Closes what is open, and sets *t to NULL. */
static inline void transport_close(struct transport **t)
{
    if (*t)
        (*t)->ops->close(*t);
    *t = NULL;
}

/* Begins to connect. 0, then `connected` or `closed` comes; or negative errno. */
static inline int transport_connect(struct transport *t, uint32_t conn)
{
    return t->ops->connect(t, conn);
}

/* Sends what there is room for and consumes it; `writable` comes when the rest can go. An error
 * comes as `closed`. */
static inline void transport_send(struct transport *t, uint32_t conn, struct buffer *bytes)
{
    t->ops->send(t, conn, bytes);
}

/* Closes now, with FIN or with RST. No event follows. */
static inline void transport_hang_up(struct transport *t, uint32_t conn, bool reset)
{
    t->ops->hang_up(t, conn, reset);
}

/* Waits at most wait_us (up to TRANSPORT_WAIT_US_MAX) for events and reports them. 0 or negative
 * errno. */
static inline int transport_poll(struct transport *t, uint32_t wait_us)
{
    return t->ops->poll(t, wait_us);
}

#endif
