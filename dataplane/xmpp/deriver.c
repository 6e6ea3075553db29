/* SPDX-License-Identifier: Apache-2.0 */
#include "deriver.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../base/check.h"
#include "../base/ring.h"

#define JOBS_MAX 256

struct gw_deriver_port {
    struct gw_deriver *deriver;
    struct gw_ring *todo, *done; /* struct gw_derive_job * */
    unsigned under_way;          /* lcore's own count: what the rings hold room for */
};

struct gw_deriver {
    pthread_t thread;
    bool started;
    int wake_fd;
    atomic_bool stop;
    unsigned port_count;
    struct gw_deriver_port ports[];
};

static unsigned run_port(struct gw_deriver_port *p)
{
    struct gw_derive_job *job;
    unsigned n = 0;
    while (n < 4 && gw_ring_pop(p->todo, &job, 1) == 1) {
        job->status = gw_scram_keys_derive(job->hash, gw_bytes(job->password, job->password_len),
                                           &job->keys);
        explicit_bzero(job->password, sizeof(job->password));
        check(gw_ring_push(p->done, &job));
        n++;
    }
    return n;
}

static void *run(void *arg)
{
    struct gw_deriver *d = arg;
    /* A thread's nice value of its own is a Linux extension; failing to lower it is harmless. */
    (void)setpriority(PRIO_PROCESS, 0, 10);
    while (!atomic_load(&d->stop)) {
        unsigned n = 0;
        for (unsigned i = 0; i < d->port_count; i++)
            n += run_port(&d->ports[i]);
        uint64_t count;
        if (n == 0 && read(d->wake_fd, &count, sizeof(count)) < 0 && errno != EINTR)
            break;
    }
    return NULL;
}

static int open_port(struct gw_deriver *d, struct gw_deriver_port *p)
{
    p->deriver = d;
    int err = gw_ring_open(&p->todo, "derive", sizeof(void *), JOBS_MAX);
    return err ? err : gw_ring_open(&p->done, "derived", sizeof(void *), JOBS_MAX);
}

int gw_deriver_open(struct gw_deriver **out, unsigned lcore_count)
{
    struct gw_deriver *d = calloc(1, sizeof(*d) + lcore_count * sizeof(d->ports[0]));
    if (d == NULL)
        return -ENOMEM;
    d->port_count = lcore_count;
    d->wake_fd = eventfd(0, EFD_CLOEXEC);
    int err = d->wake_fd < 0 ? -errno : 0;
    for (unsigned i = 0; err == 0 && i < lcore_count; i++)
        err = open_port(d, &d->ports[i]);
    if (err == 0)
        err = -pthread_create(&d->thread, NULL, run, d);
    d->started = err == 0;
    if (err)
        gw_deriver_free(&d);
    else
        *out = d;
    return err;
}

static void wake(struct gw_deriver *d)
{
    uint64_t one = 1;
    /* Fails only when the counter is full, and then the worker is awake. */
    (void)!write(d->wake_fd, &one, sizeof(one));
}

void gw_deriver_free(struct gw_deriver **out)
{
    struct gw_deriver *d = *out;
    if (d == NULL)
        return;
    if (d->started) {
        atomic_store(&d->stop, true);
        wake(d);
        pthread_join(d->thread, NULL);
    }
    for (unsigned i = 0; i < d->port_count; i++) {
        gw_ring_free(&d->ports[i].todo);
        gw_ring_free(&d->ports[i].done);
    }
    close(d->wake_fd);
    free(d);
    *out = NULL;
}

struct gw_deriver_port *gw_deriver_port(struct gw_deriver *d, unsigned lcore)
{
    check(lcore < d->port_count);
    return &d->ports[lcore];
}

bool gw_deriver_submit(struct gw_deriver_port *p, struct gw_derive_job *job)
{
    if (p->under_way == JOBS_MAX)
        return false;
    check(gw_ring_push(p->todo, &job));
    p->under_way++;
    wake(p->deriver);
    return true;
}

unsigned gw_deriver_poll(struct gw_deriver_port *p, struct gw_derive_job **out, unsigned max)
{
    if (p->under_way == 0)
        return 0;
    unsigned n = gw_ring_pop(p->done, out, max);
    check(n <= p->under_way);
    p->under_way -= n;
    return n;
}
