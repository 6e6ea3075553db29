/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket for those who serve commands: a request comes in checked against the schema, an
 * answer goes out, now or later. Everything here belongs to the control thread.
 *
 * Layers: rpc_frame (bytes to values), rpc_socket (clients, credentials, queues), rpc (JSON-RPC 2.0).
 */
#ifndef GW_CONTROL_RPC_H
#define GW_CONTROL_RPC_H

#include <jansson.h>
#include <sys/types.h>

#include "../dataplane/base/counters.h"
#include "poller.h"
#include "schema.h"

#define RPC_COUNTERS(X)                                                                            \
    X(clients, "control clients accepted")                                                         \
    X(clients_denied, "control clients refused for who they are")                                  \
    X(clients_too_many, "control clients refused because there were too many")                     \
    X(clients_slow, "control clients ended because they did not read")                             \
    X(requests, "control requests")                                                                \
    X(notifications, "events sent to control clients")                                             \
    X(errors, "control requests answered with an error")                                           \
    X(not_json, "control input that was no JSON")                                                  \
    X(too_long, "control requests over the size limit")

struct rpc_counters {
    RPC_COUNTERS(GW_COUNTER_FIELD)
};

struct rpc_server;
struct rpc_conn;
struct rpc_batch;

struct rpc_request {
    struct rpc_conn *conn; /* NULL once the client is gone: the answer goes nowhere */
    struct rpc_batch *batch;
    const struct schema_command *command;
    json_t *id;     /* NULL: a notification, its answer goes nowhere either */
    json_t *params; /* always an object, checked */
    int fd;         /* of a SCHEMA_FILE or SCHEMA_OUTPUT parameter, else -1; the handler may take it and set -1 */
    struct rpc_request *next, **link;
};

/* Must end in rpc_reply or rpc_fail, soon or later. */
typedef void (*rpc_handler)(struct rpc_request *rq, void *ctx);

struct rpc_server_config {
    const char *path;
    uid_t own_uid;        /* this process's user: it and root may connect */
    const uint32_t *uids; /* and these */
    unsigned uid_count;
};

/* 0 or negative errno with a message for the operator in err. */
int rpc_server_open(struct rpc_server **out, const struct rpc_server_config *cfg,
                    struct poller *poller, char err[256]);
/* Ends all clients; requests that wait must have been answered. Removes the socket. */
void rpc_server_free(struct rpc_server **s);
/* Answers a slice of what has come in, sends what is queued. Once an iteration of the loop. Returns
 * whether anything is left to do at once. */
bool rpc_server_work(struct rpc_server *s);
struct gw_counter_set rpc_server_counters(const struct rpc_server *s);

/* The method must be in the schema and have no handler yet. */
void rpc_register(struct rpc_server *s, const char *method, rpc_handler handler, void *ctx);
/* Every method of the schema has one: check this before the first client. */
void rpc_check_complete(const struct rpc_server *s);

/* ---- answering: takes rq, sets it to NULL ---- */

/* Steals the result's reference. */
void rpc_reply(struct rpc_request **rq, json_t *result);
/* hint: what the operator can do about it, or NULL. */
__attribute__((format(printf, 4, 5))) void rpc_fail(struct rpc_request **rq, enum rpc_error code,
                                                    const char *hint, const char *fmt, ...);

/* ---- parameters ---- */

/* NULL, 0 or false when the parameter is absent. */
const char *rpc_string(const struct rpc_request *rq, const char *name);
int64_t rpc_number(const struct rpc_request *rq, const char *name, int64_t absent);
bool rpc_flag(const struct rpc_request *rq, const char *name);

/* Whether the client is root, the broker's own user, or belongs to one of these groups. As the kernel
 * knew it when it connected; false once it is gone. */
bool rpc_client_is_in(const struct rpc_request *rq, const uint32_t *gids, unsigned count);

/* ---- streams of notifications ---- */

struct rpc_stream {
    struct rpc_conn *conn; /* NULL once the client is gone */
    uint64_t id;           /* in the answer and in every notification as "stream" */
    struct rpc_stream *next, **link;
};

/* Bind to the client of rq. False when it has too many (rq has been answered then). */
bool rpc_stream_open(struct rpc_stream *s, struct rpc_request **rq);
/* Whether the client lives and has taken nearly all that was sent to it. */
bool rpc_stream_ready(const struct rpc_stream *s);
static inline bool rpc_stream_gone(const struct rpc_stream *s)
{
    return s->conn == NULL;
}
/* Steals params, an object. */
void rpc_stream_send(struct rpc_stream *s, const char *method, json_t *params);
void rpc_stream_close(struct rpc_stream *s);

#endif
