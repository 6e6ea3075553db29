/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../dataplane/base/check.h"
#include "clock.h"
#include "priority.h"

/* Besides what it inherits from the control thread. */
#define JOB_THREAD_NICE 5

static void signal_fd(int fd)
{
    uint64_t one = 1;
    check(write(fd, &one, sizeof(one)) == sizeof(one));
}

static void drain_fd(int fd)
{
    uint64_t count;
    check(read(fd, &count, sizeof(count)) == sizeof(count) || errno == EAGAIN);
}

static void push(struct job ***tail, struct job *job)
{
    job->next = NULL;
    **tail = job;
    *tail = &job->next;
}

static struct job *take_all(struct job **head, struct job ***tail)
{
    struct job *all = *head;
    *head = NULL;
    *tail = head;
    return all;
}

/* ---- the job thread ---- */

static void take_queued(struct jobs *j)
{
    pthread_mutex_lock(&j->lock);
    struct job *fresh = take_all(&j->queued, &j->queued_tail);
    pthread_mutex_unlock(&j->lock);
    struct job **end = &j->running;
    while (*end != NULL)
        end = &(*end)->next;
    *end = fresh;
    for (struct job *job = j->running; job != NULL && atomic_load(&j->stop); job = job->next)
        atomic_store(&job->cancelled, true);
}

static void hand_back(struct jobs *j, struct job *job)
{
    pthread_mutex_lock(&j->lock);
    push(&j->finished_tail, job);
    pthread_mutex_unlock(&j->lock);
    signal_fd(j->finished_source.fd);
}

static bool is_ready(const struct jobs *j, const struct job *job)
{
    if (job->again_us != 0)
        return clock_steady_us() >= job->again_us;
    return !job->waiting || job->waiting_at != j->ops->finished_count;
}

static bool any_is_ready(const struct jobs *j)
{
    for (const struct job *job = j->running; job != NULL; job = job->next)
        if (is_ready(j, job))
            return true;
    return false;
}

static void step_all(struct jobs *j)
{
    for (struct job **at = &j->running; *at != NULL;) {
        struct job *job = *at;
        if (!is_ready(j, job) && !job_is_cancelled(job)) {
            at = &job->next;
            continue;
        }
        job->waiting_at = j->ops->finished_count;
        enum job_step step = job->type->step(job, job->ctx);
        job->waiting = step == JOB_WAIT;
        job->again_us = step == JOB_PAUSE ? clock_steady_us() + JOBS_PAUSE_MS * 1000 : 0;
        if (step == JOB_DONE) {
            *at = job->next;
            hand_back(j, job);
        } else {
            at = &job->next;
        }
    }
}

static int wait_ms(const struct jobs *j)
{
    for (const struct job *job = j->running; job != NULL; job = job->next)
        if (job->again_us != 0)
            return JOBS_PAUSE_MS;
    return -1;
}

static void sleep_until_needed(struct jobs *j)
{
    struct pollfd p[2] = {{.fd = j->wake_fd, .events = POLLIN}, {.fd = j->ops->fd, .events = POLLIN}};
    check(poll(p, 2, wait_ms(j)) >= 0 || errno == EINTR);
    if (p[0].revents != 0)
        drain_fd(j->wake_fd);
}

static void *job_main(void *arg)
{
    struct jobs *j = arg;
    pthread_setname_np(pthread_self(), "gw-job");
    lower_priority(JOB_THREAD_NICE);
    for (;;) {
        /* Read before the queue: whatever was started before the stop is then seen, too. */
        bool stopping = atomic_load(&j->stop);
        take_queued(j);
        step_all(j);
        store_ops_poll(j->ops);
        if (stopping && j->running == NULL)
            return NULL;
        if (!any_is_ready(j))
            sleep_until_needed(j);
    }
}

void job_note(struct jobs *j, struct job *job, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    pthread_mutex_lock(&j->lock);
    vsnprintf(job->note, sizeof(job->note), fmt, ap);
    pthread_mutex_unlock(&j->lock);
    va_end(ap);
}

void job_fail(struct jobs *j, struct job *job, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    pthread_mutex_lock(&j->lock);
    vsnprintf(job->note, sizeof(job->note), fmt, ap);
    job->failed = true;
    pthread_mutex_unlock(&j->lock);
    va_end(ap);
}

/* ---- the control thread ---- */

static void job_free(struct job *job)
{
    if (job->type->free != NULL)
        job->type->free(job->ctx);
    free(job);
}

/* Newest first; the oldest goes. */
static void keep(struct jobs *j, struct job *job)
{
    job->next = j->kept;
    j->kept = job;
    if (++j->kept_count <= JOBS_KEPT)
        return;
    struct job **at = &j->kept;
    while ((*at)->next != NULL)
        at = &(*at)->next;
    job_free(*at);
    *at = NULL;
    j->kept_count--;
}

static void forget_started(struct jobs *j, struct job *job)
{
    struct job **at = &j->started;
    while (*at != job) {
        check(*at != NULL);
        at = &(*at)->started_next;
    }
    *at = job->started_next;
    j->running_count--;
}

static void finish(struct jobs *j, struct job *job)
{
    forget_started(j, job);
    job->ended = true;
    job->ended_us = clock_wall_us();
    if (job->type->finished != NULL)
        job->type->finished(job, job->ctx);
    if (job->type->name != NULL)
        keep(j, job);
    else
        job_free(job);
}

static void finish_all(struct jobs *j)
{
    pthread_mutex_lock(&j->lock);
    struct job *job = take_all(&j->finished, &j->finished_tail), *next;
    pthread_mutex_unlock(&j->lock);
    for (; job != NULL; job = next) {
        next = job->next;
        finish(j, job);
    }
}

static void finished_ready(struct poll_source *source, uint32_t events)
{
    struct jobs *j = (struct jobs *)((char *)source - offsetof(struct jobs, finished_source));
    drain_fd(source->fd);
    finish_all(j);
}

int jobs_open(struct jobs *j, struct poller *poller, struct store_ops *ops)
{
    *j = (struct jobs){.poller = poller, .ops = ops, .id_next = 1};
    j->queued_tail = &j->queued;
    j->finished_tail = &j->finished;
    check(pthread_mutex_init(&j->lock, NULL) == 0);
    j->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    j->finished_source =
        (struct poll_source){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), .ready = finished_ready};
    if (j->wake_fd < 0 || j->finished_source.fd < 0)
        return -errno;
    int rc = poller_add(poller, &j->finished_source, EPOLLIN);
    return rc != 0 ? rc : -pthread_create(&j->thread, NULL, job_main, j);
}

void jobs_close(struct jobs *j)
{
    atomic_store(&j->stop, true);
    signal_fd(j->wake_fd);
    check(pthread_join(j->thread, NULL) == 0);
    finish_all(j);
    check(j->running_count == 0);
    while (j->kept != NULL) {
        struct job *job = j->kept;
        j->kept = job->next;
        job_free(job);
    }
    poller_remove(j->poller, &j->finished_source);
    close(j->finished_source.fd);
    close(j->wake_fd);
    pthread_mutex_destroy(&j->lock);
}

struct job *jobs_start(struct jobs *j, const struct job_type *type, void *ctx)
{
    struct job *job = calloc(1, sizeof(*job));
    check(job != NULL);
    job->type = type;
    job->ctx = ctx;
    job->id = type->name != NULL ? j->id_next++ : 0;
    job->started_us = clock_wall_us();
    job->started_next = j->started;
    j->started = job;
    j->running_count++;
    pthread_mutex_lock(&j->lock);
    push(&j->queued_tail, job);
    pthread_mutex_unlock(&j->lock);
    signal_fd(j->wake_fd);
    return job;
}

struct job *jobs_find(struct jobs *j, uint32_t id)
{
    for (struct job *job = j->started; job != NULL; job = job->started_next)
        if (job->id == id)
            return job;
    for (struct job *job = j->kept; job != NULL; job = job->next)
        if (job->id == id)
            return job;
    return NULL;
}

void jobs_cancel(struct jobs *j, struct job *job)
{
    atomic_store(&job->cancelled, true);
    signal_fd(j->wake_fd);
}

static const char *state_of(const struct job *job)
{
    if (!job->ended)
        return job_is_cancelled(job) ? "ending" : "running";
    return job->failed ? "failed" : job_is_cancelled(job) ? "cancelled" : "done";
}

json_t *jobs_describe(struct jobs *j, struct job *job)
{
    char note[sizeof(job->note)];
    pthread_mutex_lock(&j->lock);
    memcpy(note, job->note, sizeof(note));
    pthread_mutex_unlock(&j->lock);
    json_t *d = json_pack("{s:I, s:s, s:s, s:b, s:I, s:I, s:I, s:s}", "job", (json_int_t)job->id,
                          "kind", job->type->name, "state", state_of(job), "ended", job->ended,
                          "started_us", (json_int_t)job->started_us, "done",
                          (json_int_t)atomic_load(&job->done), "total",
                          (json_int_t)atomic_load(&job->total), "note", note);
    check(d != NULL);
    if (job->ended)
        json_object_set_new(d, "ended_us", json_integer((json_int_t)job->ended_us));
    if (job->type->describe != NULL)
        job->type->describe(job, job->ctx, d);
    return d;
}

json_t *jobs_describe_all(struct jobs *j)
{
    json_t *all = json_array();
    for (struct job *job = j->started; job != NULL; job = job->started_next)
        if (job->type->name != NULL)
            json_array_append_new(all, jobs_describe(j, job));
    for (struct job *job = j->kept; job != NULL; job = job->next)
        json_array_append_new(all, jobs_describe(j, job));
    return all;
}
