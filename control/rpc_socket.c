/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "../dataplane/base/check.h"
#include "json_wipe.h"

#define READ_BYTES     16384
#define PEER_GROUPS_MAX 256 /* who is in more is known by the primary group alone */
#define OUT_BYTES_KEPT (1u << 20) /* of an empty queue: streams fill it again and again */

/* ---- clients ---- */

static bool may_control(const struct rpc_server *s, uid_t uid)
{
    if (uid == 0 || uid == s->own_uid)
        return true;
    for (unsigned i = 0; i < s->uid_count; i++)
        if (s->uids[i] == uid)
            return true;
    return false;
}

static bool is_listed(gid_t gid, const uint32_t *gids, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (gids[i] == gid)
            return true;
    return false;
}

static bool has_group(int fd, const uint32_t *gids, unsigned count)
{
    gid_t own[PEER_GROUPS_MAX];
    struct ucred peer;
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    bool found = is_listed(peer.gid, gids, count);
    len = sizeof(own);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, own, &len) != 0)
        return found;
    for (size_t i = 0; i < len / sizeof(own[0]); i++)
        found |= is_listed(own[i], gids, count);
    return found;
}

bool rpc_client_is_in(const struct rpc_request *rq, const uint32_t *gids, unsigned count)
{
    const struct rpc_conn *c = rq->conn;
    if (c == NULL)
        return false;
    return c->uid == 0 || c->uid == c->server->own_uid || has_group(c->source.fd, gids, count);
}

/* One line into an empty socket buffer: it fits, or the client is not told. */
static void refuse(int fd, enum rpc_error code, const char *message, const char *hint)
{
    char *text = rpc_refusal(code, message, hint), newline[] = "\n";
    struct iovec v[2] = {{.iov_base = text, .iov_len = strlen(text)},
                         {.iov_base = newline, .iov_len = 1}};
    struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
    (void)sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    json_wipe_free(text);
    close(fd);
}

static void conn_ready(struct poll_source *source, uint32_t events);

static void admit(struct rpc_server *s, int fd, uid_t uid)
{
    struct rpc_conn *c = calloc(1, sizeof(*c));
    check(c != NULL);
    c->source = (struct poll_source){.fd = fd, .ready = conn_ready};
    c->server = s;
    c->uid = uid;
    if (poller_add(s->poller, &c->source, EPOLLIN) != 0) {
        refuse(fd, RPC_BUSY, "the broker is out of resources", "try again later");
        free(c);
        return;
    }
    c->next = s->conns;
    s->conns = c;
    s->conn_count++;
    GW_COUNT(s->counters.clients);
}

static void listener_ready(struct poll_source *source, uint32_t events)
{
    struct rpc_server *s = (struct rpc_server *)source;
    struct ucred peer;
    socklen_t len = sizeof(peer);
    int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return; /* it has gone again, or no descriptor is free: the next iteration tries again */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || !may_control(s, peer.uid)) {
        GW_COUNT(s->counters.clients_denied);
        refuse(fd, RPC_DENIED, "this user may not control the broker",
               "use sudo, or add the user's numeric id to control_uids in the configuration");
    } else if (s->conn_count >= RPC_CLIENTS_MAX) {
        GW_COUNT(s->counters.clients_too_many);
        refuse(fd, RPC_BUSY, "too many control clients are connected", "end one of them");
    } else {
        admit(s, fd, peer.uid);
    }
}

/* ---- input ---- */

static void keep_fd(struct rpc_conn *c, int fd)
{
    if (c->fd_count < RPC_FDS_MAX)
        c->fds[c->fd_count++] = fd;
    else
        close(fd);
}

static void keep_fds(struct rpc_conn *c, struct msghdr *m)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h != NULL; h = CMSG_NXTHDR(m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < (h->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
            keep_fd(c, fd);
        }
    }
}

/* realloc would leave a copy of what may hold a password. */
static void grow_in(struct rpc_conn *c)
{
    size_t cap = c->in_cap == 0 ? READ_BYTES : 2 * c->in_cap;
    char *in = malloc(cap);
    check(in != NULL);
    if (c->in_len > 0)
        memcpy(in, c->in, c->in_len);
    if (c->in_cap > 0)
        OPENSSL_cleanse(c->in, c->in_cap);
    free(c->in);
    c->in = in;
    c->in_cap = cap;
}

static bool in_has_room(const struct rpc_conn *c)
{
    return c->in_len < c->in_cap || c->in_cap <= RPC_REQUEST_BYTES_MAX;
}

static void receive(struct rpc_conn *c)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(RPC_FDS_MAX * sizeof(int))];
    } control;
    if (c->in_len == c->in_cap)
        grow_in(c);
    struct iovec v = {.iov_base = c->in + c->in_len, .iov_len = c->in_cap - c->in_len};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(c->source.fd, &m, MSG_CMSG_CLOEXEC);
    if (n > 0) {
        keep_fds(c, &m);
        c->in_len += (size_t)n;
    } else if (n == 0) {
        c->eof = true;
    } else if (errno != EAGAIN && errno != EINTR) {
        c->dead = true;
    }
}

static void conn_ready(struct poll_source *source, uint32_t events)
{
    struct rpc_conn *c = (struct rpc_conn *)source;
    if (c->dead)
        return;
    if ((events & EPOLLIN) != 0 && !c->eof && !c->ending && in_has_room(c))
        receive(c);
    else if ((events & (EPOLLHUP | EPOLLERR)) != 0)
        c->dead = true;
}

static void take_off(struct rpc_conn *c, size_t len)
{
    size_t left = c->in_len - len;
    memmove(c->in, c->in + len, left);
    OPENSSL_cleanse(c->in + left, len);
    c->in_len = left;
}

static bool may_answer(const struct rpc_conn *c)
{
    return !c->dead && !c->ending && c->in_flight < RPC_IN_FLIGHT_MAX &&
           rpc_socket_queued(c) < RPC_OUT_BYTES_READY;
}

static bool answer_one(struct rpc_conn *c)
{
    size_t end;
    int rc = rpc_frame_next(&c->frame, c->in, c->in_len, &end);
    if (rc == 1)
        rpc_input(c, c->in, end);
    else if (rc < 0)
        rpc_input(c, NULL, 0);
    take_off(c, end);
    return rc != 0;
}

static void refuse_long(struct rpc_conn *c)
{
    char *line = rpc_refusal(RPC_INVALID, "the request is too long", "the limit is 256 KiB");
    GW_COUNT(c->server->counters.too_long);
    rpc_socket_send(c, line, strlen(line));
    json_wipe_free(line);
    c->ending = true;
}

static void answer(struct rpc_conn *c)
{
    unsigned n = 0;
    while (c->in_len > 0 && may_answer(c) && n < RPC_SLICE_REQUESTS && answer_one(c))
        n++;
    if (c->in_len > RPC_REQUEST_BYTES_MAX && n == 0 && may_answer(c))
        refuse_long(c);
    c->more = n == RPC_SLICE_REQUESTS;
}

/* ---- output ---- */

static void make_out_room(struct rpc_conn *c, size_t len)
{
    if (c->out_off > 0) {
        memmove(c->out, c->out + c->out_off, rpc_socket_queued(c));
        c->out_len -= c->out_off;
        c->out_off = 0;
    }
    if (c->out_cap - c->out_len >= len)
        return;
    c->out_cap = 2 * (c->out_len + len);
    c->out = realloc(c->out, c->out_cap);
    check(c->out != NULL);
}

void rpc_socket_send(struct rpc_conn *c, const char *text, size_t len)
{
    if (c->dead)
        return;
    if (rpc_socket_queued(c) + len + 1 > RPC_OUT_BYTES_MAX) {
        GW_COUNT(c->server->counters.clients_slow);
        c->dead = true;
        return;
    }
    if (c->out_cap - c->out_len < len + 1)
        make_out_room(c, len + 1);
    memcpy(c->out + c->out_len, text, len);
    c->out[c->out_len + len] = '\n';
    c->out_len += len + 1;
}

static void flush(struct rpc_conn *c)
{
    while (!c->dead && c->out_off < c->out_len) {
        ssize_t n = send(c->source.fd, c->out + c->out_off, rpc_socket_queued(c), MSG_NOSIGNAL);
        if (n > 0)
            c->out_off += (size_t)n;
        else if (errno == EAGAIN)
            return;
        else if (errno != EINTR)
            c->dead = true;
    }
    c->out_off = c->out_len = 0;
    if (c->out_cap > OUT_BYTES_KEPT) {
        free(c->out);
        c->out = NULL;
        c->out_cap = 0;
    }
}

/* ---- the loop's share ---- */

static void watch(struct rpc_conn *c)
{
    uint32_t events = 0;
    if (!c->eof && may_answer(c) && in_has_room(c))
        events |= EPOLLIN;
    if (rpc_socket_queued(c) > 0)
        events |= EPOLLOUT;
    poller_change(c->server->poller, &c->source, events);
}

static bool has_ended(const struct rpc_conn *c)
{
    bool finished = c->eof && !c->more && c->in_flight == 0 && c->stream_count == 0;
    return c->dead || ((finished || c->ending) && rpc_socket_queued(c) == 0);
}

static void conn_free(struct rpc_conn *c)
{
    while (c->requests != NULL) {
        struct rpc_request *rq = c->requests;
        c->requests = rq->next;
        rq->conn = NULL;
        rq->next = NULL;
        rq->link = NULL;
    }
    while (c->streams != NULL)
        rpc_stream_close(c->streams);
    for (unsigned i = 0; i < c->fd_count; i++)
        close(c->fds[i]);
    if (c->in_cap > 0)
        OPENSSL_cleanse(c->in, c->in_cap);
    free(c->in);
    free(c->out);
    poller_remove(c->server->poller, &c->source);
    close(c->source.fd);
    free(c);
}

static void reap(struct rpc_server *s)
{
    for (struct rpc_conn **at = &s->conns; *at != NULL;) {
        struct rpc_conn *c = *at;
        if (!has_ended(c)) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        s->conn_count--;
        conn_free(c);
    }
}

bool rpc_socket_work(struct rpc_server *s)
{
    bool more = false;
    for (struct rpc_conn *c = s->conns; c != NULL; c = c->next) {
        bool full = rpc_socket_queued(c) >= RPC_OUT_BYTES_READY;
        flush(c);
        /* Whoever waited for room gets another iteration. */
        more |= full && rpc_socket_queued(c) < RPC_OUT_BYTES_READY;
        answer(c);
        flush(c);
        more |= c->more;
        if (!c->dead)
            watch(c);
    }
    reap(s);
    return more;
}

/* ---- the socket ---- */

static void make_directory(const char *path)
{
    char *dir = strdup(path), *slash;
    check(dir != NULL);
    slash = strrchr(dir, '/');
    if (slash != NULL && slash != dir) {
        *slash = '\0';
        /* When this fails bind says why. */
        (void)mkdir(dir, 0755);
    }
    free(dir);
}

/* What a broker left that was killed is in the way; what a living one listens at is not ours. */
static int remove_stale(const struct sockaddr_un *a)
{
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return -errno;
    int rc = connect(probe, (const struct sockaddr *)a, sizeof(*a)) == 0 ? 0 : -errno;
    close(probe);
    if (rc == -ECONNREFUSED)
        return unlink(a->sun_path) == 0 ? 0 : -errno;
    return rc == 0 || rc == -EAGAIN ? -EADDRINUSE : 0;
}

static int bind_and_listen(struct rpc_server *s, const struct sockaddr_un *a)
{
    /* Whom we would refuse cannot even connect, unless other users are allowed by the configuration. */
    mode_t mode = s->uid_count > 0 ? 0666 : 0600;
    int fd = s->listener.fd;
    if (bind(fd, (const struct sockaddr *)a, sizeof(*a)) != 0)
        return -errno;
    if (chmod(a->sun_path, mode) != 0 || listen(fd, RPC_CLIENTS_MAX) != 0) {
        int rc = -errno;
        unlink(a->sun_path);
        return rc;
    }
    return poller_add(s->poller, &s->listener, EPOLLIN);
}

int rpc_socket_listen(struct rpc_server *s, const char *path, char err[256])
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    check(strlen(path) < sizeof(a.sun_path));
    memcpy(a.sun_path, path, strlen(path) + 1);
    make_directory(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = fd >= 0 ? remove_stale(&a) : -errno;
    s->listener = (struct poll_source){.fd = fd, .ready = listener_ready};
    if (rc == 0)
        rc = bind_and_listen(s, &a);
    if (rc == -EADDRINUSE)
        snprintf(err, 256, "control socket %.150s: another broker listens there", path);
    else if (rc != 0)
        snprintf(err, 256, "control socket %.150s: %s", path, strerror(-rc));
    if (rc != 0 && fd >= 0)
        close(fd);
    return rc;
}

void rpc_socket_close(struct rpc_server *s)
{
    for (struct rpc_conn *c = s->conns; c != NULL; c = c->next) {
        flush(c);
        c->dead = true;
    }
    reap(s);
    poller_remove(s->poller, &s->listener);
    close(s->listener.fd);
    unlink(s->path);
}
