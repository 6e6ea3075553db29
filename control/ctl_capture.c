/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A capture: this program makes the file, so that it is its user's, and the broker writes to it. To
 * standard output it comes by a socket and is passed on here: the broker never waits for a reader.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl_values.h"

struct target {
    const char *path; /* NULL: standard output */
    int fd;           /* the broker's end; -1 once it has it */
    int from;         /* ours of the socket, -1 without one */
    bool unread;      /* nobody reads standard output any more */
};

/* ---- where to ---- */

static bool complain(const char *path, const char *why)
{
    fprintf(stderr, "godwitctl: %s: %s\n", path, why);
    return false;
}

static bool open_socket(struct target *t)
{
    int ends[2];
    if (isatty(STDOUT_FILENO))
        return complain("standard output", "is a terminal: name a file, or pipe it to tcpdump -r -");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return complain("socket", strerror(errno));
    shutdown(ends[0], SHUT_WR);
    t->from = ends[0];
    t->fd = ends[1];
    return true;
}

static bool target_open(struct target *t, const char *path)
{
    *t = (struct target){.path = path, .fd = -1, .from = -1};
    if (strcmp(path, "-") == 0) {
        t->path = NULL;
        return open_socket(t);
    }
    t->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return t->fd >= 0 || complain(path, strerror(errno));
}

static void target_handed_over(struct target *t, bool accepted)
{
    close(t->fd);
    t->fd = -1;
    if (!accepted && t->path != NULL)
        unlink(t->path);
}

/* Some of what has come. False at its end, or when nobody reads it. */
static bool pass_on(struct target *t)
{
    char buf[65536];
    ssize_t n = recv(t->from, buf, sizeof(buf), MSG_DONTWAIT), done = 0;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    while (done < n) {
        ssize_t w = write(STDOUT_FILENO, buf + done, (size_t)(n - done));
        if (w < 0 && errno != EINTR) {
            t->unread = true;
            return false;
        }
        done += w > 0 ? w : 0;
    }
    return n > 0;
}

static void target_end(struct target *t)
{
    if (t->from >= 0)
        close(t->from);
    t->from = -1;
}

/* ---- until it ends ---- */

static int catch_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* On a connection of its own: on ours progress comes. */
static void ask_to_stop(const struct ctl_args *a)
{
    struct ctl_client c;
    json_t *none = json_object(), *answer = NULL;
    if (ctl_connect(&c, a->socket) == CTL_OK)
        (void)ctl_call(&c, "pcap.stop", none, -1, &answer);
    ctl_disconnect(&c);
    json_decref(none);
    json_decref(answer);
}

/* A notification; the last one stays in *job. */
static int take_progress(struct ctl_client *c, json_t **job)
{
    json_t *next = NULL;
    int status = ctl_next(c, &next);
    if (next == NULL)
        return status;
    json_decref(*job);
    *job = next;
    if (!flag(next, "ended"))
        ctl_job_show_progress(next);
    return status;
}

/* Passes on what there is, if anything. Whether the capture is to end for want of a reader. */
static bool pass_on_or_end(struct target *t)
{
    if (pass_on(t))
        return false;
    target_end(t);
    return t->unread;
}

static int wait_for_end(struct ctl_client *c, const struct ctl_args *a, struct target *t, json_t **job)
{
    int status = CTL_OK, signals = catch_signals();
    while (status == CTL_OK && (!flag(*job, "ended") || t->from >= 0)) {
        struct pollfd p[3] = {{.fd = flag(*job, "ended") ? -1 : c->fd, .events = POLLIN},
                              {.fd = signals, .events = POLLIN},
                              {.fd = t->from, .events = POLLIN}};
        if (!ctl_has_next(c) && poll(p, 3, -1) < 0 && errno != EINTR)
            status = CTL_UNREACHABLE;
        if (p[2].revents != 0 && pass_on_or_end(t))
            ask_to_stop(a);
        if (p[1].revents != 0) {
            struct signalfd_siginfo info;
            (void)!read(signals, &info, sizeof(info));
            ask_to_stop(a);
        }
        if (p[0].revents != 0 || ctl_has_next(c))
            status = take_progress(c, job);
    }
    close(signals);
    ctl_job_end_progress();
    return status;
}

static int show_end(const struct ctl_args *a, const struct target *t, const json_t *job)
{
    FILE *out = t->path != NULL ? stdout : stderr;
    if (a->json)
        json_dumpf(job, out, JSON_INDENT(2));
    else
        fprintf(out, "%s: %s", text(job, "state"), text(job, "note"));
    fputc('\n', out);
    return t->unread || strcmp(text(job, "state"), "failed") == 0 ? CTL_REFUSED : CTL_OK;
}

int ctl_capture(struct ctl_client *c, const struct ctl_args *a)
{
    struct target t;
    json_t *answer = NULL, *job = NULL;
    if (!target_open(&t, a->file))
        return CTL_USAGE;
    int status = ctl_call(c, a->command->method, a->params, t.fd, &answer);
    target_handed_over(&t, status == CTL_OK);
    json_decref(answer);
    if (status == CTL_OK)
        status = wait_for_end(c, a, &t, &job);
    if (status == CTL_OK)
        status = show_end(a, &t, job);
    target_end(&t);
    json_decref(job);
    return status;
}
