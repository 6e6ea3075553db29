/* SPDX-License-Identifier: Apache-2.0 */
#include "metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>

#include "../dataplane/base/check.h"

#define CONNECTIONS_MAX 16
#define TIMEOUT_S       10

struct metrics {
    struct MHD_Daemon *daemon;
    const struct control *control;
};

static enum MHD_Result respond(struct MHD_Connection *conn, unsigned code, const char *type,
                               char *text)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (r == NULL) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(r, "Content-Type", type);
    enum MHD_Result queued = MHD_queue_response(conn, code, r);
    MHD_destroy_response(r);
    return queued;
}

static enum MHD_Result refuse(struct MHD_Connection *conn, unsigned code, const char *why)
{
    char *text = strdup(why);
    check(text != NULL);
    return respond(conn, code, "text/plain", text);
}

static enum MHD_Result handle(void *ctx, struct MHD_Connection *conn, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_len, void **state)
{
    const struct metrics *m = ctx;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return refuse(conn, MHD_HTTP_METHOD_NOT_ALLOWED, "GET only\n");
    if (strcmp(url, "/metrics") != 0)
        return refuse(conn, MHD_HTTP_NOT_FOUND, "the figures are at /metrics\n");
    return respond(conn, MHD_HTTP_OK, "text/plain; version=0.0.4", metrics_text(m->control));
}

int metrics_open(struct metrics **out, const struct control *c, uint16_t port, char err[256])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct metrics *m = calloc(1, sizeof(*m));
    check(m != NULL);
    m->control = c;
    errno = 0;
    m->daemon = MHD_start_daemon(MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, port, NULL, NULL,
                                 handle, m, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&a,
                                 MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                                 MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S, MHD_OPTION_END);
    if (m->daemon == NULL) {
        int rc = errno != 0 ? -errno : -EIO;
        snprintf(err, 256, "metrics on 127.0.0.1:%u: %s (metrics_port in the configuration)", port,
                 strerror(-rc));
        free(m);
        return rc;
    }
    *out = m;
    return 0;
}

uint16_t metrics_port(const struct metrics *m)
{
    return MHD_get_daemon_info(m->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
}

void metrics_free(struct metrics **m)
{
    if (*m == NULL)
        return;
    MHD_stop_daemon((*m)->daemon);
    free(*m);
    *m = NULL;
}
