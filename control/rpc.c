/* SPDX-License-Identifier: Apache-2.0 */
/* JSON-RPC 2.0: requests, batches, answers, notifications. */
#include "rpc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../dataplane/base/check.h"
#include "json_wipe.h"
#include "rpc_socket.h"

struct rpc_batch {
    struct rpc_conn *conn;
    json_t *answers;
    unsigned pending; /* requests, and one while the batch is being read */
};

/* ---- out ---- */

static void send_json(struct rpc_conn *c, const json_t *message)
{
    char *text = json_dumps(message, JSON_COMPACT | JSON_ENSURE_ASCII);
    check(text != NULL);
    rpc_socket_send(c, text, strlen(text));
    json_wipe_free(text);
}

static json_t *error_object(enum rpc_error code, const char *message, const char *hint)
{
    json_t *e = json_pack("{s:i, s:s%}", "code", code, "message", message, strlen(message));
    /* A message may quote what a client sent, cut anywhere: not always UTF-8. */
    if (e == NULL)
        e = json_pack("{s:i, s:s}", "code", code, "message", "(the message is not UTF-8)");
    if (hint != NULL)
        json_object_set_new(e, "data", json_pack("{s:s}", "hint", hint));
    return e;
}

static json_t *answer_object(json_t *id, const char *key, json_t *value)
{
    return json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id, key, value);
}

static json_t *null_id_error(enum rpc_error code, const char *message, const char *hint)
{
    json_t *null = json_null();
    return answer_object(null, "error", error_object(code, message, hint));
}

char *rpc_refusal(enum rpc_error code, const char *message, const char *hint)
{
    json_t *e = null_id_error(code, message, hint);
    char *text = json_dumps(e, JSON_COMPACT);
    json_decref(e);
    check(text != NULL);
    return text;
}

static void batch_put(struct rpc_batch *b)
{
    if (--b->pending > 0)
        return;
    if (b->conn != NULL && json_array_size(b->answers) > 0)
        send_json(b->conn, b->answers);
    json_decref(b->answers);
    free(b);
}

/* Steals message; NULL when nothing is to be said (a notification). */
static void deliver(struct rpc_conn *c, struct rpc_batch *b, json_t *message)
{
    if (b == NULL && c != NULL && message != NULL)
        send_json(c, message);
    if (b != NULL && message != NULL)
        json_array_append(b->answers, message);
    json_decref(message);
}

static void request_end(struct rpc_request **rqp, const char *key, json_t *value)
{
    struct rpc_request *rq = *rqp;
    *rqp = NULL;
    if (rq->conn != NULL) {
        rq->conn->in_flight--;
        *rq->link = rq->next;
        if (rq->next != NULL)
            rq->next->link = rq->link;
    } else if (rq->batch != NULL) {
        rq->batch->conn = NULL;
    }
    json_t *message = rq->id != NULL ? answer_object(rq->id, key, value) : NULL;
    if (rq->id == NULL)
        json_decref(value);
    deliver(rq->conn, rq->batch, message);
    if (rq->batch != NULL)
        batch_put(rq->batch);
    if (rq->fd >= 0)
        close(rq->fd);
    json_decref(rq->id);
    json_decref(rq->params);
    free(rq);
}

void rpc_reply(struct rpc_request **rq, json_t *result)
{
    check(result != NULL);
    request_end(rq, "result", result);
}

void rpc_fail(struct rpc_request **rq, enum rpc_error code, const char *hint, const char *fmt, ...)
{
    char message[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    if ((*rq)->conn != NULL)
        GW_COUNT((*rq)->conn->server->counters.errors);
    request_end(rq, "error", error_object(code, message, hint));
}

/* ---- in ---- */

/* JSON-RPC 2.0 section 4.2: parameters by position or by name. By position in the schema's order. */
static json_t *params_by_name(const struct schema_command *c, json_t *params)
{
    if (params == NULL)
        return json_object();
    if (json_is_object(params))
        return json_incref(params);
    if (json_array_size(params) > schema_param_count(c))
        return NULL;
    json_t *named = json_object();
    for (size_t i = 0; i < json_array_size(params); i++)
        json_object_set(named, c->params[i].name, json_array_get(params, i));
    return named;
}

static bool check_params(const struct schema_command *c, json_t *params, char *err, size_t cap)
{
    const char *name;
    json_t *value;
    json_object_foreach(params, name, value) {
        const struct schema_param *p = schema_find_param(c, name);
        if (p == NULL) {
            snprintf(err, cap, "%s has no parameter %.64s", c->method, name);
            return false;
        }
        if (!schema_check_value(p, value, err, cap))
            return false;
    }
    for (unsigned i = 0; i < schema_param_count(c); i++) {
        const struct schema_param *p = &c->params[i];
        if (!p->required || json_object_get(params, p->name) != NULL)
            continue;
        snprintf(err, cap, "%s needs the parameter %s", c->method, p->name);
        return false;
    }
    return true;
}

static bool wants_file(const struct schema_command *c, const json_t *params)
{
    for (unsigned i = 0; i < schema_param_count(c); i++)
        if (schema_is_file(&c->params[i]) && json_is_true(json_object_get(params, c->params[i].name)))
            return true;
    return false;
}

static int take_fd(struct rpc_conn *c)
{
    if (c->fd_count == 0)
        return -1;
    int fd = c->fds[0];
    c->fd_count--;
    memmove(c->fds, c->fds + 1, c->fd_count * sizeof(c->fds[0]));
    return fd;
}

static struct rpc_request *request_new(struct rpc_conn *c, struct rpc_batch *b, json_t *id)
{
    struct rpc_request *rq = calloc(1, sizeof(*rq));
    check(rq != NULL);
    *rq = (struct rpc_request){.conn = c, .batch = b, .fd = -1, .next = c->requests,
                               .link = &c->requests};
    rq->id = json_incref(id);
    if (rq->next != NULL)
        rq->next->link = &rq->next;
    c->requests = rq;
    c->in_flight++;
    if (b != NULL)
        b->pending++;
    GW_COUNT(c->server->counters.requests);
    return rq;
}

static void dispatch(struct rpc_request *rq, json_t *params)
{
    struct rpc_server *s = rq->conn->server;
    const struct schema_command *c = rq->command;
    char err[512];
    rq->params = params_by_name(c, params);
    if (rq->params == NULL) {
        rpc_fail(&rq, RPC_PARAMS, "rpc.discover describes every method", "%s takes at most %u",
                 c->method, schema_param_count(c));
        return;
    }
    /* First of all: a request that is refused must not leave its descriptor to the next one. */
    bool file = wants_file(c, rq->params);
    if (file)
        rq->fd = take_fd(rq->conn);
    if (!check_params(c, rq->params, err, sizeof(err))) {
        rpc_fail(&rq, RPC_PARAMS, "rpc.discover describes every method", "%s", err);
    } else if (file && rq->fd < 0) {
        rpc_fail(&rq, RPC_PARAMS, "send the open file along with the request (SCM_RIGHTS)",
                 "%s came without a file descriptor", c->method);
    } else {
        size_t place = (size_t)(c - schema_commands);
        s->handlers[place](rq, s->handler_ctx[place]);
    }
}

static bool is_request(const json_t *m)
{
    const json_t *id = json_object_get(m, "id"), *params = json_object_get(m, "params");
    const char *version = json_string_value(json_object_get(m, "jsonrpc"));
    return version != NULL && strcmp(version, "2.0") == 0 &&
           json_is_string(json_object_get(m, "method")) &&
           (id == NULL || json_is_string(id) || json_is_number(id) || json_is_null(id)) &&
           (params == NULL || json_is_object(params) || json_is_array(params));
}

static void take_message(struct rpc_conn *c, struct rpc_batch *b, json_t *m)
{
    if (!is_request(m)) {
        GW_COUNT(c->server->counters.errors);
        deliver(c, b, null_id_error(RPC_INVALID, "not a JSON-RPC 2.0 request",
                                    "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"status\"}"));
        return;
    }
    const char *method = json_string_value(json_object_get(m, "method"));
    struct rpc_request *rq = request_new(c, b, json_object_get(m, "id"));
    rq->command = schema_find(method);
    if (rq->command == NULL)
        rpc_fail(&rq, RPC_NO_METHOD, "rpc.discover lists the methods", "there is no method %.64s",
                 method);
    else
        dispatch(rq, json_object_get(m, "params"));
}

static void take_batch(struct rpc_conn *c, json_t *messages)
{
    size_t n = json_array_size(messages);
    if (n == 0 || n > RPC_BATCH_MAX) {
        GW_COUNT(c->server->counters.errors);
        deliver(c, NULL, null_id_error(RPC_INVALID, "a batch has 1 to 64 requests", NULL));
        return;
    }
    struct rpc_batch *b = calloc(1, sizeof(*b));
    check(b != NULL);
    *b = (struct rpc_batch){.conn = c, .answers = json_array(), .pending = 1};
    for (size_t i = 0; i < n; i++)
        take_message(c, b, json_array_get(messages, i));
    batch_put(b);
}

void rpc_input(struct rpc_conn *c, const char *text, size_t len)
{
    json_error_t e;
    json_t *m = text != NULL ? json_loadb(text, len, JSON_REJECT_DUPLICATES, &e) : NULL;
    if (m == NULL) {
        GW_COUNT(c->server->counters.not_json);
        deliver(c, NULL, null_id_error(RPC_PARSE, text != NULL ? e.text : "not JSON", NULL));
        return;
    }
    if (json_is_array(m))
        take_batch(c, m);
    else
        take_message(c, NULL, m);
    json_decref(m);
}

/* ---- parameters ---- */

const char *rpc_string(const struct rpc_request *rq, const char *name)
{
    return json_string_value(json_object_get(rq->params, name));
}

int64_t rpc_number(const struct rpc_request *rq, const char *name, int64_t absent)
{
    const json_t *v = json_object_get(rq->params, name);
    return v != NULL ? json_integer_value(v) : absent;
}

bool rpc_flag(const struct rpc_request *rq, const char *name)
{
    return json_is_true(json_object_get(rq->params, name));
}

/* ---- streams ---- */

bool rpc_stream_open(struct rpc_stream *s, struct rpc_request **rq)
{
    struct rpc_conn *c = (*rq)->conn;
    check(c != NULL);
    if (c->stream_count >= RPC_STREAMS_MAX) {
        rpc_fail(rq, RPC_BUSY, "open another connection", "this connection has %d streams already",
                 RPC_STREAMS_MAX);
        return false;
    }
    *s = (struct rpc_stream){.conn = c, .id = ++c->server->stream_next, .next = c->streams,
                             .link = &c->streams};
    if (s->next != NULL)
        s->next->link = &s->next;
    c->streams = s;
    c->stream_count++;
    return true;
}

bool rpc_stream_ready(const struct rpc_stream *s)
{
    return s->conn != NULL && !s->conn->dead && rpc_socket_queued(s->conn) < RPC_OUT_BYTES_READY;
}

void rpc_stream_send(struct rpc_stream *s, const char *method, json_t *params)
{
    check(params != NULL);
    if (s->conn != NULL) {
        json_object_set_new(params, "stream", json_integer((json_int_t)s->id));
        json_t *m = json_pack("{s:s, s:s, s:O}", "jsonrpc", "2.0", "method", method, "params", params);
        GW_COUNT(s->conn->server->counters.notifications);
        send_json(s->conn, m);
        json_decref(m);
    }
    json_decref(params);
}

void rpc_stream_close(struct rpc_stream *s)
{
    if (s->conn == NULL)
        return;
    *s->link = s->next;
    if (s->next != NULL)
        s->next->link = s->link;
    s->conn->stream_count--;
    s->conn = NULL;
}

/* ---- the server ---- */

static const struct gw_counter_desc counter_descs[] = {RPC_COUNTERS(GW_COUNTER_DESC)};

struct gw_counter_set rpc_server_counters(const struct rpc_server *s)
{
    return (struct gw_counter_set){.prefix = "control",
                                   .descs = counter_descs,
                                   .values = (const uint64_t *)&s->counters,
                                   .count = sizeof(counter_descs) / sizeof(counter_descs[0])};
}

int rpc_server_open(struct rpc_server **out, const struct rpc_server_config *cfg,
                    struct poller *poller, char err[256])
{
    struct rpc_server *s = calloc(1, sizeof(*s));
    check(s != NULL);
    s->poller = poller;
    s->own_uid = cfg->own_uid;
    s->uids = cfg->uids;
    s->uid_count = cfg->uid_count;
    s->path = strdup(cfg->path);
    s->handlers = calloc(schema_command_count, sizeof(*s->handlers));
    s->handler_ctx = calloc(schema_command_count, sizeof(*s->handler_ctx));
    check(s->path != NULL && s->handlers != NULL && s->handler_ctx != NULL);
    int rc = rpc_socket_listen(s, cfg->path, err);
    if (rc == 0) {
        *out = s;
        return 0;
    }
    free(s->path);
    free(s->handlers);
    free(s->handler_ctx);
    free(s);
    return rc;
}

void rpc_server_free(struct rpc_server **sp)
{
    struct rpc_server *s = *sp;
    if (s == NULL)
        return;
    rpc_socket_close(s);
    free(s->path);
    free(s->handlers);
    free(s->handler_ctx);
    free(s);
    *sp = NULL;
}

bool rpc_server_work(struct rpc_server *s)
{
    return rpc_socket_work(s);
}

void rpc_register(struct rpc_server *s, const char *method, rpc_handler handler, void *ctx)
{
    const struct schema_command *c = schema_find(method);
    check(c != NULL);
    size_t place = (size_t)(c - schema_commands);
    check(s->handlers[place] == NULL);
    s->handlers[place] = handler;
    s->handler_ctx[place] = ctx;
}

void rpc_check_complete(const struct rpc_server *s)
{
    for (unsigned i = 0; i < schema_command_count; i++)
        check(s->handlers[i] != NULL);
}
