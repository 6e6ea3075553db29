/* SPDX-License-Identifier: Apache-2.0 */
/* What the control thread waits for: a descriptor and who looks after it. */
#ifndef GW_CONTROL_POLLER_H
#define GW_CONTROL_POLLER_H

#include <stdint.h>

struct poll_source {
    int fd;
    uint32_t events; /* EPOLLIN, EPOLLOUT; 0 while it is not watched */
    void (*ready)(struct poll_source *s, uint32_t events);
};

struct poller {
    int epoll_fd;
};

int poller_open(struct poller *p);
void poller_close(struct poller *p);
int poller_add(struct poller *p, struct poll_source *s, uint32_t events);
void poller_change(struct poller *p, struct poll_source *s, uint32_t events);
/* Before its fd is closed. */
void poller_remove(struct poller *p, struct poll_source *s);
/* Waits up to timeout_ms and calls every ready source once. A source must stay valid until this has
 * returned, even when another one wants to be rid of it. */
void poller_wait(struct poller *p, int timeout_ms);

#endif
