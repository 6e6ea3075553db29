/* SPDX-License-Identifier: Apache-2.0 */
#include "poller.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "../dataplane/base/check.h"

#define BATCH 32

int poller_open(struct poller *p)
{
    p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return p->epoll_fd < 0 ? -errno : 0;
}

void poller_close(struct poller *p)
{
    close(p->epoll_fd);
    p->epoll_fd = -1;
}

int poller_add(struct poller *p, struct poll_source *s, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = s};
    s->events = events;
    return epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, s->fd, &e) == 0 ? 0 : -errno;
}

void poller_change(struct poller *p, struct poll_source *s, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = s};
    if (s->events == events)
        return;
    s->events = events;
    check(epoll_ctl(p->epoll_fd, EPOLL_CTL_MOD, s->fd, &e) == 0);
}

void poller_remove(struct poller *p, struct poll_source *s)
{
    check(epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL) == 0);
    s->events = 0;
}

void poller_wait(struct poller *p, int timeout_ms)
{
    struct epoll_event events[BATCH];
    int n = epoll_wait(p->epoll_fd, events, BATCH, timeout_ms);
    check(n >= 0 || errno == EINTR);
    for (int i = 0; i < n; i++) {
        struct poll_source *s = events[i].data.ptr;
        s->ready(s, events[i].events);
    }
}
