/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of the control socket: who they are, what came from them, what waits to go to them. */
#ifndef GW_CONTROL_RPC_SOCKET_H
#define GW_CONTROL_RPC_SOCKET_H

#include "rpc.h"
#include "rpc_frame.h"

#define RPC_CLIENTS_MAX       64
#define RPC_REQUEST_BYTES_MAX (256u << 10)
#define RPC_OUT_BYTES_MAX     (8u << 20)   /* queued for a client that does not read: it is ended */
#define RPC_OUT_BYTES_READY   (256u << 10) /* above this nothing more is read from it or streamed */
#define RPC_IN_FLIGHT_MAX     16
#define RPC_STREAMS_MAX       4
#define RPC_BATCH_MAX         64
#define RPC_FDS_MAX           4
#define RPC_SLICE_REQUESTS    16 /* of one client in one iteration of the loop */

struct rpc_conn {
    struct poll_source source;
    struct rpc_server *server;
    struct rpc_conn *next;
    uid_t uid;
    char *in;
    size_t in_len, in_cap;
    struct rpc_frame frame;
    int fds[RPC_FDS_MAX];
    unsigned fd_count;
    char *out;
    size_t out_off, out_len, out_cap;
    struct rpc_request *requests;
    struct rpc_stream *streams;
    unsigned in_flight, stream_count;
    bool eof;      /* it sends nothing more */
    bool more;     /* of its input could be answered at once */
    bool ending;   /* nothing more is read; ends when all is sent */
    bool dead;     /* to be reaped at the end of the iteration */
};

struct rpc_server {
    struct poll_source listener;
    struct poller *poller;
    char *path;
    uid_t own_uid;
    const uint32_t *uids;
    unsigned uid_count;
    struct rpc_conn *conns;
    unsigned conn_count;
    uint64_t stream_next;
    struct rpc_counters counters;
    rpc_handler *handlers; /* by place in the schema */
    void **handler_ctx;
};

int rpc_socket_listen(struct rpc_server *s, const char *path, char err[256]);
void rpc_socket_close(struct rpc_server *s);
bool rpc_socket_work(struct rpc_server *s);
/* Queue bytes and a newline. A client whose queue is full is ended. */
void rpc_socket_send(struct rpc_conn *c, const char *text, size_t len);
static inline size_t rpc_socket_queued(const struct rpc_conn *c)
{
    return c->out_len - c->out_off;
}

/* rpc.c's: one whole value, or (text NULL) something that was none. */
void rpc_input(struct rpc_conn *c, const char *text, size_t len);
/* rpc.c's: a line for a client that is refused before it asks anything. To be freed by json_wipe_free. */
char *rpc_refusal(enum rpc_error code, const char *message, const char *hint);

#endif
