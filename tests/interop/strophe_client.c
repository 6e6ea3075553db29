/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small XMPP client over libstrophe, driven line by line, for tests and the demonstration.
 *
 * usage: strophe-client HOST PORT JID [--receipts] [--markers] [--no-sm] [--no-presence]
 *
 * The password is in the environment (GODWIT_PASSWORD). Standard input takes commands:
 *   send TO ID BODY..   a chat message, with a receipt asked for and markable
 *   presence            initial presence, after --no-presence
 *   quit                ends the stream in order
 * Standard output gives one JSON object a line: online, message, receipt, marker, error, failed,
 * disconnected. --receipts answers receipt requests, --markers marks messages as displayed.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strophe.h>
#include <unistd.h>

#define NS_RECEIPTS "urn:xmpp:receipts"
#define NS_MARKERS  "urn:xmpp:chat-markers:0"
#define NS_DELAY    "urn:xmpp:delay"
#define NS_STANZAID "urn:xmpp:sid:0"
#define TURN_MS     10
#define LINE_BYTES  65536

struct app {
    xmpp_ctx_t *ctx;
    xmpp_conn_t *conn;
    bool receipts, markers, no_presence;
    bool online;
    bool over; /* the connection ended */
    bool quitting;
    int status;
    char line[LINE_BYTES]; /* what of a command has come */
    size_t line_len;
};

/* Prints an event and frees it. */
static void tell(json_t *event)
{
    json_dumpf(event, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(event);
}

static void set_text(json_t *event, const char *name, const char *text)
{
    if (text)
        json_object_set_new(event, name, json_string(text));
}

static void send_stanza(struct app *app, xmpp_stanza_t *stanza)
{
    xmpp_send(app->conn, stanza);
    xmpp_stanza_release(stanza);
}

/* Adds an empty child element, with an id when there is one. */
static void add_child(struct app *app, xmpp_stanza_t *parent, const char *name, const char *space,
                      const char *id)
{
    xmpp_stanza_t *child = xmpp_stanza_new(app->ctx);
    xmpp_stanza_set_name(child, name);
    xmpp_stanza_set_ns(child, space);
    if (id)
        xmpp_stanza_set_id(child, id);
    xmpp_stanza_add_child(parent, child);
    xmpp_stanza_release(child);
}

static void send_presence(struct app *app)
{
    send_stanza(app, xmpp_presence_new(app->ctx));
}

static void send_message(struct app *app, const char *to, const char *id, const char *body)
{
    xmpp_stanza_t *message = xmpp_message_new(app->ctx, "chat", to, id);
    xmpp_message_set_body(message, body);
    add_child(app, message, "request", NS_RECEIPTS, NULL);
    add_child(app, message, "markable", NS_MARKERS, NULL);
    send_stanza(app, message);
}

/* A message that only says something about another one. */
static void send_notice(struct app *app, const char *to, const char *name, const char *space,
                        const char *about)
{
    char *id = xmpp_uuid_gen(app->ctx);
    xmpp_stanza_t *message = xmpp_message_new(app->ctx, "chat", to, id);
    add_child(app, message, name, space, about);
    send_stanza(app, message);
    xmpp_free(app->ctx, id);
}

static xmpp_stanza_t *child_of(xmpp_stanza_t *stanza, const char *name, const char *space)
{
    xmpp_stanza_t *child = xmpp_stanza_get_child_by_name(stanza, name);
    const char *found = child ? xmpp_stanza_get_ns(child) : NULL;
    return found && strcmp(found, space) == 0 ? child : NULL;
}

static void on_text(struct app *app, xmpp_stanza_t *message, const char *body)
{
    const char *id = xmpp_stanza_get_id(message);
    const char *from = xmpp_stanza_get_from(message);
    xmpp_stanza_t *delay = child_of(message, "delay", NS_DELAY);
    xmpp_stanza_t *stanza_id = child_of(message, "stanza-id", NS_STANZAID);
    json_t *event = json_pack("{s:s}", "event", "message");
    set_text(event, "from", from);
    set_text(event, "id", id);
    set_text(event, "body", body);
    set_text(event, "delay", delay ? xmpp_stanza_get_attribute(delay, "stamp") : NULL);
    set_text(event, "stanza_id", stanza_id ? xmpp_stanza_get_id(stanza_id) : NULL);
    tell(event);
    if (!id || !from)
        return;
    if (app->receipts && child_of(message, "request", NS_RECEIPTS))
        send_notice(app, from, "received", NS_RECEIPTS, id);
    if (app->markers && child_of(message, "markable", NS_MARKERS))
        send_notice(app, from, "displayed", NS_MARKERS, id);
}

/* An event about an earlier message of ours, if the child is there. */
static void on_notice(xmpp_stanza_t *message, const char *name, const char *space,
                      const char *event_name)
{
    xmpp_stanza_t *child = child_of(message, name, space);
    if (!child)
        return;
    json_t *event = json_pack("{s:s, s:s}", "event", event_name, "kind", name);
    set_text(event, "from", xmpp_stanza_get_from(message));
    set_text(event, "about", xmpp_stanza_get_id(child));
    tell(event);
}

static void on_error(xmpp_stanza_t *message)
{
    xmpp_stanza_t *error = xmpp_stanza_get_child_by_name(message, "error");
    xmpp_stanza_t *condition = error ? xmpp_stanza_get_children(error) : NULL;
    json_t *event = json_pack("{s:s}", "event", "error");
    set_text(event, "id", xmpp_stanza_get_id(message));
    set_text(event, "condition", condition ? xmpp_stanza_get_name(condition) : NULL);
    tell(event);
}

static int on_message(xmpp_conn_t *conn, xmpp_stanza_t *message, void *userdata)
{
    struct app *app = userdata;
    const char *type = xmpp_stanza_get_type(message);
    (void)conn;
    if (type && strcmp(type, "error") == 0) {
        on_error(message);
        return 1;
    }
    char *body = xmpp_message_get_body(message);
    if (body)
        on_text(app, message, body);
    xmpp_free(app->ctx, body);
    on_notice(message, "received", NS_RECEIPTS, "receipt");
    on_notice(message, "received", NS_MARKERS, "marker");
    on_notice(message, "displayed", NS_MARKERS, "marker");
    return 1;
}

/* XEP-0199: the server asks whether we are there. */
static int on_ping(xmpp_conn_t *conn, xmpp_stanza_t *ping, void *userdata)
{
    struct app *app = userdata;
    xmpp_stanza_t *answer = xmpp_stanza_reply(ping);
    (void)conn;
    xmpp_stanza_set_type(answer, "result");
    send_stanza(app, answer);
    return 1;
}

static void tell_online(struct app *app)
{
    if (app->online)
        return;
    app->online = true;
    tell(json_pack("{s:s, s:s}", "event", "online", "jid", xmpp_conn_get_bound_jid(app->conn)));
}

/* The server shows us our own presence (RFC 6121, section 4.2.2): it knows now that we are here. */
static int on_presence(xmpp_conn_t *conn, xmpp_stanza_t *presence, void *userdata)
{
    const char *from = xmpp_stanza_get_from(presence);
    if (from && strcmp(from, xmpp_conn_get_bound_jid(conn)) == 0)
        tell_online(userdata);
    return 1;
}

static void on_connection(xmpp_conn_t *conn, xmpp_conn_event_t status, int error,
                          xmpp_stream_error_t *stream_error, void *userdata)
{
    struct app *app = userdata;
    if (status == XMPP_CONN_CONNECT) {
        xmpp_handler_add(conn, on_message, NULL, "message", NULL, app);
        xmpp_handler_add(conn, on_ping, "urn:xmpp:ping", "iq", "get", app);
        xmpp_handler_add(conn, on_presence, NULL, "presence", NULL, app);
        if (app->no_presence)
            tell_online(app);
        else
            send_presence(app);
        return;
    }
    app->over = true;
    app->status = app->quitting ? 0 : 1;
    json_t *event = json_pack("{s:s, s:i}", "event",
                              status == XMPP_CONN_FAIL ? "failed" : "disconnected", "errno", error);
    if (stream_error)
        json_object_set_new(event, "stream_error", json_integer(stream_error->type));
    tell(event);
}

static void handle_command(struct app *app, char *line)
{
    char *rest = line;
    const char *command = strsep(&rest, " ");
    if (strcmp(command, "send") == 0 && rest) {
        const char *to = strsep(&rest, " ");
        const char *id = rest ? strsep(&rest, " ") : NULL;
        if (id && rest)
            send_message(app, to, id, rest);
    } else if (strcmp(command, "presence") == 0) {
        send_presence(app);
    } else if (strcmp(command, "quit") == 0) {
        app->quitting = true;
        xmpp_disconnect(app->conn);
    } else {
        fprintf(stderr, "strophe-client: unknown command '%s'\n", command);
    }
}

/* Reads what standard input has, and handles the whole lines of it. The end of it is a quit. */
static void read_commands(struct app *app)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    while (!app->quitting && poll(&in, 1, 0) > 0) {
        ssize_t n = read(STDIN_FILENO, app->line + app->line_len, LINE_BYTES - app->line_len - 1);
        if (n <= 0) {
            char quit[] = "quit";
            handle_command(app, quit);
            return;
        }
        app->line_len += (size_t)n;
        char *end;
        while ((end = memchr(app->line, '\n', app->line_len))) {
            *end = '\0';
            handle_command(app, app->line);
            app->line_len -= (size_t)(end + 1 - app->line);
            memmove(app->line, end + 1, app->line_len);
        }
        if (app->line_len == LINE_BYTES - 1) {
            fprintf(stderr, "strophe-client: command too long\n");
            app->line_len = 0;
        }
    }
}

static int usage(void)
{
    fprintf(stderr, "usage: strophe-client HOST PORT JID [--receipts] [--markers] [--no-sm] "
                    "[--no-presence]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static struct app app;
    const char *password = getenv("GODWIT_PASSWORD");
    long flags = XMPP_CONN_FLAG_DISABLE_TLS;
    if (argc < 4 || !password)
        return usage();
    for (int i = 4; i < argc; i++) {
        if (strcmp(argv[i], "--receipts") == 0)
            app.receipts = true;
        else if (strcmp(argv[i], "--markers") == 0)
            app.markers = true;
        else if (strcmp(argv[i], "--no-presence") == 0)
            app.no_presence = true;
        else if (strcmp(argv[i], "--no-sm") == 0)
            flags |= XMPP_CONN_FLAG_DISABLE_SM;
        else
            return usage();
    }

    xmpp_initialize();
    app.ctx = xmpp_ctx_new(NULL, xmpp_get_default_logger(XMPP_LEVEL_ERROR));
    app.conn = xmpp_conn_new(app.ctx);
    xmpp_conn_set_flags(app.conn, flags);
    xmpp_conn_set_jid(app.conn, argv[3]);
    xmpp_conn_set_pass(app.conn, password);
    if (xmpp_connect_client(app.conn, argv[1], (unsigned short)atoi(argv[2]), on_connection,
                            &app) != XMPP_EOK) {
        tell(json_pack("{s:s}", "event", "failed"));
        app.over = true;
        app.status = 1;
    }
    while (!app.over) {
        xmpp_run_once(app.ctx, TURN_MS);
        if (app.online)
            read_commands(&app);
    }
    xmpp_conn_release(app.conn);
    xmpp_ctx_free(app.ctx);
    xmpp_shutdown();
    return app.status;
}
