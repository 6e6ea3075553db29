/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thousands of TCP connections to one server, by kernel sockets and epoll. Connections are
 * numbered by their user, from 0; each is closed or open. All events come from transport_poll.
 */
#ifndef LOAD_TRANSPORT_H
#define LOAD_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "buffer.h"

struct transport;

struct transport_events {
    void (*connected)(void *ctx, uint32_t conn);
    /* Bytes came; alive during the call. */
    void (*input)(void *ctx, uint32_t conn, const void *bytes, size_t len);
    /* What waited because the socket was full can go on: call transport_send. */
    void (*writable)(void *ctx, uint32_t conn);
    /* The connection is closed; error is 0 after a FIN, else a positive errno. */
    void (*closed)(void *ctx, uint32_t conn, int error);
};

/* host is an address or a name. 0 or negative errno. */
int transport_open(struct transport **out, const char *host, const char *port,
                   uint32_t connection_limit, const struct transport_events *events, void *ctx);
void transport_close(struct transport **t);
/* Begins to connect. 0, then `connected` or `closed` comes; or negative errno. */
int transport_connect(struct transport *t, uint32_t conn);
/* Sends what the socket takes and consumes it; `writable` comes when the rest can go. An error
 * comes as `closed`. */
void transport_send(struct transport *t, uint32_t conn, struct buffer *bytes);
/* Closes now, with FIN or with RST. No event follows. */
void transport_hang_up(struct transport *t, uint32_t conn, bool reset);
/* Waits at most wait_ms for events and reports them. 0 or negative errno. */
int transport_poll(struct transport *t, int wait_ms);

#endif
