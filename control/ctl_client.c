/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "../dataplane/base/check.h"
#include "ctl.h"
#include "json_wipe.h"

/* ---- connecting ---- */

static int unreachable(const char *path, int err)
{
    fprintf(stderr, "godwitctl: no broker answers at %s: %s\n", path, strerror(err));
    switch (err) {
    case ENOENT:
        fprintf(stderr, "  Is it running? It is started by godwitd --config FILE. A broker with another "
                        "control_socket\n  is named by --socket PATH or $GODWIT_SOCKET.\n");
        break;
    case ECONNREFUSED:
        fprintf(stderr, "  The broker that listened there has ended; start it again: godwitd --config "
                        "FILE.\n");
        break;
    case EACCES:
    case EPERM:
        fprintf(stderr, "  Use sudo, or have this user's numeric id (%ld) added to control_uids in the "
                        "broker's\n  configuration.\n", (long)geteuid());
        break;
    default:
        break;
    }
    return CTL_UNREACHABLE;
}

int ctl_connect(struct ctl_client *c, const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    *c = (struct ctl_client){.fd = -1};
    if (strlen(path) >= sizeof(a.sun_path))
        return unreachable(path, ENAMETOOLONG);
    memcpy(a.sun_path, path, strlen(path) + 1);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd >= 0 && connect(c->fd, (const struct sockaddr *)&a, sizeof(a)) == 0)
        return CTL_OK;
    int err = errno;
    ctl_disconnect(c);
    return unreachable(path, err);
}

void ctl_disconnect(struct ctl_client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    free(c->buf);
    c->buf = NULL;
}

/* ---- sending ---- */

/* The descriptor goes with the first bytes. */
static bool send_all(struct ctl_client *c, char *text, size_t len, int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    while (len > 0) {
        struct iovec v = {.iov_base = text, .iov_len = len};
        struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
        if (fd >= 0) {
            m.msg_control = control.bytes;
            m.msg_controllen = sizeof(control.bytes);
            struct cmsghdr *h = CMSG_FIRSTHDR(&m);
            h->cmsg_level = SOL_SOCKET;
            h->cmsg_type = SCM_RIGHTS;
            h->cmsg_len = CMSG_LEN(sizeof(int));
            memcpy(CMSG_DATA(h), &fd, sizeof(int));
        }
        ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        fd = -1;
        text += n;
        len -= (size_t)n;
    }
    return true;
}

static bool send_request(struct ctl_client *c, const char *method, const json_t *params, int fd)
{
    json_t *rq = json_pack("{s:s, s:i, s:s, s:O}", "jsonrpc", "2.0", "id", ++c->id, "method", method,
                           "params", params);
    char *text = json_dumps(rq, JSON_COMPACT);
    check(text != NULL);
    bool sent = send_all(c, text, strlen(text), fd);
    json_wipe_free(text);
    json_decref(rq);
    char newline[] = "\n";
    return sent && send_all(c, newline, 1, -1);
}

/* ---- receiving ---- */

static int lost(void)
{
    fprintf(stderr, "godwitctl: the broker has closed the connection\n");
    return CTL_UNREACHABLE;
}

static bool receive_more(struct ctl_client *c)
{
    if (c->len == c->cap) {
        c->cap = c->cap == 0 ? 65536 : 2 * c->cap;
        c->buf = realloc(c->buf, c->cap);
        check(c->buf != NULL);
    }
    ssize_t n;
    do
        n = recv(c->fd, c->buf + c->len, c->cap - c->len, 0);
    while (n < 0 && errno == EINTR);
    c->len += n > 0 ? (size_t)n : 0;
    return n > 0;
}

static json_t *receive(struct ctl_client *c)
{
    const char *newline = NULL;
    size_t seen = 0;
    while (seen == c->len || (newline = memchr(c->buf + seen, '\n', c->len - seen)) == NULL) {
        seen = c->len;
        if (!receive_more(c))
            return NULL;
    }
    size_t len = (size_t)(newline - c->buf) + 1;
    json_t *m = json_loadb(c->buf, len, 0, NULL);
    memmove(c->buf, c->buf + len, c->len - len);
    c->len -= len;
    return m;
}

static int show_error(const struct ctl_client *c, json_t *error)
{
    const char *message = json_string_value(json_object_get(error, "message"));
    const char *hint = json_string_value(json_object_get(json_object_get(error, "data"), "hint"));
    fprintf(stderr, "godwitctl: %s\n", message != NULL ? message : "the broker failed");
    if (hint != NULL)
        fprintf(stderr, "  %s\n", hint);
    if (c->json) {
        json_t *whole = json_pack("{s:O}", "error", error);
        json_dumpf(whole, stdout, JSON_INDENT(2));
        fputc('\n', stdout);
        json_decref(whole);
    }
    return CTL_REFUSED;
}

int ctl_call(struct ctl_client *c, const char *method, const json_t *params, int fd, json_t **result)
{
    if (!send_request(c, method, params, fd) && c->len == 0 && !receive_more(c))
        return lost();
    json_t *m;
    while ((m = receive(c)) != NULL) {
        json_t *error = json_object_get(m, "error"), *answer = json_object_get(m, "result");
        int status = error != NULL ? show_error(c, error) : CTL_OK;
        *result = json_incref(answer);
        bool other = error == NULL && answer == NULL; /* a notification of an earlier stream */
        json_decref(m);
        if (!other)
            return status;
    }
    return lost();
}

bool ctl_has_next(const struct ctl_client *c)
{
    return c->len > 0 && memchr(c->buf, '\n', c->len) != NULL;
}

int ctl_next(struct ctl_client *c, json_t **params)
{
    json_t *m = receive(c);
    if (m == NULL)
        return lost();
    json_t *error = json_object_get(m, "error");
    int status = error != NULL ? show_error(c, error) : CTL_OK;
    *params = json_incref(json_object_get(m, "params"));
    json_decref(m);
    return status;
}
