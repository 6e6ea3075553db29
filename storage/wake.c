/* SPDX-License-Identifier: Apache-2.0 */
#include "wake.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "../dataplane/base/check.h"

int wake_open(struct wake *w)
{
    atomic_init(&w->armed, 0);
    w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return w->fd < 0 ? -errno : 0;
}

void wake_close(struct wake *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

void wake_arm(struct wake *w)
{
    atomic_exchange(&w->armed, 1);
}

void wake_disarm(struct wake *w)
{
    if (atomic_exchange(&w->armed, 0) == 1)
        return;
    /* Somebody took the arming: the eventfd is written, or will be in a moment. In the second case
     * the next sleep ends at once, which is harmless. */
    uint64_t count;
    check(read(w->fd, &count, sizeof(count)) == sizeof(count) || errno == EAGAIN);
}

void wake_sleep(struct wake *w, uint64_t timeout_us)
{
    struct pollfd p = {.fd = w->fd, .events = POLLIN};
    struct timespec t = {.tv_sec = (time_t)(timeout_us / 1000000),
                         .tv_nsec = (long)(timeout_us % 1000000) * 1000};
    check(ppoll(&p, 1, &t, NULL) >= 0 || errno == EINTR);
    wake_disarm(w);
}

void wake_up(struct wake *w)
{
    if (atomic_fetch_or(&w->armed, 0) == 0 || atomic_exchange(&w->armed, 0) == 0)
        return;
    uint64_t one = 1;
    check(write(w->fd, &one, sizeof(one)) == sizeof(one));
}
