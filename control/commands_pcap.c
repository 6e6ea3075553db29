/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Captures: who may have one, and what the lcores are told. One at a time.
 *
 * pcap.start: the job thread prepares it, every lcore attaches its tap, the job begins. At its end, or
 * when a lcore did not answer, every lcore is told to let go, and only what a lcore has let go of is
 * freed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../dataplane/base/check.h"
#include "capture_job.h"
#include "clock.h"
#include "control_int.h"

#define STOPS_MAX     16 /* that wait for the end of the capture */
#define LOOK_MS       10
#define CLOSE_WAIT_US 200000

/* The capture that there is. */
struct pcap {
    struct control *control;
    struct capture *capture; /* NULL when the job has ended: it is the job's */
    struct rpc_request *rq;  /* pcap.start, until it is answered */
    struct job *job;         /* NULL before it runs */
    bool held[GW_CONFIG_LCORES_MAX]; /* a lcore was given its tap and has not let go of it */
    bool letting_go;
    unsigned answers_left;
    int rc;
    char err[256];
    struct rpc_request *stops[STOPS_MAX];
    unsigned stop_count;
};

static bool may_capture(const struct control *c, const struct rpc_request *rq)
{
    const struct gw_config *cfg = c->env->config;
    return cfg->capture && rpc_client_is_in(rq, cfg->capture_gids, cfg->capture_gid_count);
}

/* ---- the end ---- */

/* For a lcore that may still write there. The list is only for leak checkers to see. */
static struct gw_capture *volatile left_behind[GW_CONFIG_LCORES_MAX];

static void pcap_free(struct pcap *p)
{
    check(p->rq == NULL && p->stop_count == 0 && p->answers_left == 0);
    p->control->pcap = NULL;
    if (p->capture != NULL)
        capture_free(p->capture);
    free(p);
}

/* What a lcore holds is not the capture's to free any more. */
static void leave_taps(struct pcap *p, struct capture *capture)
{
    for (unsigned i = 0; i < capture->tap_count; i++) {
        if (!p->held[i])
            continue;
        left_behind[i] = capture->taps[i];
        capture->taps[i] = NULL;
    }
}

static void all_let_go(struct pcap *p)
{
    if (p->job == NULL || p->capture == NULL) { /* it did not begin, or could not wait for this */
        if (p->capture != NULL)
            leave_taps(p, p->capture);
        pcap_free(p);
        return;
    }
    bool held = false;
    for (unsigned i = 0; i < p->capture->tap_count; i++)
        held |= p->held[i];
    atomic_store(&p->capture->phase, held ? CAPTURE_ABANDONED : CAPTURE_LET_GO);
}

static void stop_answered(struct lcore_call *call, void *ctx)
{
    struct pcap *p = ctx;
    if (call->reply.status == 0)
        p->held[call->lcore] = false;
    if (--p->answers_left == 0)
        all_let_go(p);
}

/* Without a deadline: a tap that a lcore may still have cannot be freed. */
static void let_go(struct pcap *p)
{
    struct control *c = p->control;
    p->letting_go = true;
    p->answers_left = c->env->lcore_count;
    for (unsigned i = 0; i < c->env->lcore_count; i++) {
        struct lcore_call *call = lcore_call_new(stop_answered, p);
        call->command = (struct gw_command){.op = GW_COMMAND_CAPTURE_STOP,
                                            .data = p->capture->taps[i]};
        lcore_call_send(&c->calls, call, i, LCORE_CALL_NO_DEADLINE);
    }
}

static void capture_has_finished(struct capture *capture, struct job *job)
{
    struct pcap *p = capture->owner;
    struct control *c = p->control;
    leave_taps(p, capture);
    /* The rest of it stays with the job, which may be looked at for a while. */
    for (unsigned i = 0; i < capture->tap_count; i++)
        gw_capture_free(&capture->taps[i]);
    close(capture->fd);
    capture->fd = -1;
    free(capture->out);
    capture->out = NULL;
    while (p->stop_count > 0) {
        struct rpc_request *rq = p->stops[--p->stop_count];
        rpc_reply(&rq, jobs_describe(&c->jobs, job));
    }
    p->capture = NULL;
    if (p->answers_left == 0)
        pcap_free(p);
}

/* ---- the beginning ---- */

static void begin(struct pcap *p)
{
    struct control *c = p->control;
    GW_COUNT(c->capture_counters.started);
    p->capture->owner = p;
    p->capture->finished = capture_has_finished;
    p->job = jobs_start(&c->jobs, &capture_job_type, p->capture);
    c->pcap_last = p->job->id;
    control_follow_job(c, &p->rq, p->job);
}

static void start_answered(struct lcore_call *call, void *ctx)
{
    struct pcap *p = ctx;
    if (call->reply.status != 0)
        p->rc = call->reply.status;
    if (--p->answers_left > 0)
        return;
    if (p->rc == 0 && !p->control->stopping) {
        begin(p);
        return;
    }
    rpc_fail(&p->rq, RPC_TIMEOUT, "godwitctl lcore stat shows whether it runs",
             "a core did not begin to capture: %s", strerror(p->rc != 0 ? -p->rc : ESHUTDOWN));
    let_go(p);
}

static void attach(struct pcap *p)
{
    struct control *c = p->control;
    p->answers_left = c->env->lcore_count;
    for (unsigned i = 0; i < c->env->lcore_count; i++) {
        struct lcore_call *call = lcore_call_new(start_answered, p);
        call->command = (struct gw_command){.op = GW_COMMAND_CAPTURE_START,
                                            .data = p->capture->taps[i]};
        p->held[i] = true;
        lcore_call_send(&c->calls, call, i, c->now_us + LCORE_CALL_TIMEOUT_US);
    }
}

/* The capture outlives this job: its context is only a pointer to it. */
static enum job_step prepare_step(struct job *job, void *ctx)
{
    struct pcap *p = *(struct pcap **)ctx;
    p->rc = capture_prepare(p->capture, p->err);
    return JOB_DONE;
}

static void prepared(struct job *job, void *ctx)
{
    struct pcap *p = *(struct pcap **)ctx;
    if (p->rc == 0 && !p->control->stopping) {
        attach(p);
        return;
    }
    if (p->rc == 0)
        rpc_fail(&p->rq, RPC_BUSY, NULL, "the broker is stopping");
    else
        rpc_fail(&p->rq, p->rc == -ENOMEM ? RPC_BUSY : RPC_PARAMS,
                 "godwitctl pcap start --help; the filter's language is in pcap-filter(7)", "%s",
                 p->err);
    pcap_free(p);
}

static const struct job_type prepare_type = {
    .step = prepare_step, .finished = prepared, .free = free};

static bool check_client(struct control *c, struct rpc_request **rq)
{
    if (may_capture(c, *rq))
        return true;
    GW_COUNT(c->capture_counters.denied);
    if (!c->env->config->capture)
        rpc_fail(rq, RPC_DENIED, "capture = true in group control of the configuration allows it",
                 "this broker's configuration allows no captures");
    else
        rpc_fail(rq, RPC_DENIED, "use sudo, or be in a group of capture_gids in the configuration",
                 "this user may not capture");
    return false;
}

static struct capture_request read_request(const struct rpc_request *rq)
{
    struct capture_request r = {
        .bytes_max = (uint64_t)rpc_number(rq, "bytes", CAPTURE_BYTES_DEFAULT),
        .seconds = (uint32_t)rpc_number(rq, "seconds", CAPTURE_SECONDS_DEFAULT),
        .snap_bytes = (uint32_t)rpc_number(rq, "snaplen", CAPTURE_SNAP_BYTES)};
    const char *filter = rpc_string(rq, "filter");
    snprintf(r.filter, sizeof(r.filter), "%s", filter != NULL ? filter : "");
    return r;
}

static struct pcap *pcap_new(struct control *c, struct rpc_request *rq, bool is_socket)
{
    struct capture_request asked = read_request(rq);
    struct pcap *p = calloc(1, sizeof(*p));
    check(p != NULL);
    p->control = c;
    p->capture = capture_new(&asked, rq->fd, is_socket, c->env->lcore_count);
    p->capture->jobs = &c->jobs;
    p->capture->counters = &c->capture_counters;
    rq->fd = -1;
    p->rq = rq;
    c->pcap = p;
    return p;
}

static void pcap_start(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    bool is_socket;
    const char *why;
    if (!check_client(c, &rq))
        return;
    if (c->pcap != NULL) {
        rpc_fail(&rq, RPC_BUSY, "godwitctl pcap stop ends it", "a capture is under way: one at a time");
        return;
    }
    if (!capture_can_write(rq->fd, &is_socket, &why)) {
        rpc_fail(&rq, RPC_PARAMS, "send along a new file, open for writing, or one end of a socket pair",
                 "no capture can be written there: %s", why);
        return;
    }
    struct pcap *p = pcap_new(c, rq, is_socket), **pointer = malloc(sizeof(struct pcap *));
    check(pointer != NULL);
    *pointer = p;
    if (control_start_job(c, &p->rq, &prepare_type, pointer) == NULL) {
        free(pointer);
        pcap_free(p);
    }
}

/* ---- pcap.stop, pcap.status ---- */

static void pcap_stop(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    struct pcap *p = c->pcap;
    if (p == NULL || p->job == NULL) {
        rpc_fail(&rq, RPC_NOT_FOUND, "godwitctl pcap status shows the last one",
                 "no capture is under way");
        return;
    }
    if (p->stop_count == STOPS_MAX) {
        rpc_fail(&rq, RPC_BUSY, NULL, "it is being ended");
        return;
    }
    p->stops[p->stop_count++] = rq;
    jobs_cancel(&c->jobs, p->job);
}

static void pcap_status(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    bool beginning = c->pcap != NULL && c->pcap->job == NULL;
    struct job *last = c->pcap_last != 0 && !beginning ? jobs_find(&c->jobs, c->pcap_last) : NULL;
    json_t *s = json_pack("{s:b, s:b, s:b}", "enabled", c->env->config->capture, "allowed",
                          may_capture(c, rq), "running", c->pcap != NULL);
    if (last != NULL)
        json_object_set_new(s, "capture", jobs_describe(&c->jobs, last));
    rpc_reply(&rq, s);
}

/* ---- the loop's share ---- */

int commands_pcap_work(struct control *c)
{
    struct pcap *p = c->pcap;
    if (p == NULL || p->job == NULL || p->capture == NULL)
        return -1;
    if (!p->letting_go && atomic_load(&p->capture->phase) == CAPTURE_ENDING)
        let_go(p);
    return LOOK_MS;
}

/* In order, when the lcores still run; else the file ends as it is, and the rings are left to them. */
void commands_pcap_close(struct control *c)
{
    uint64_t until_us = clock_steady_us() + CLOSE_WAIT_US;
    if (c->pcap != NULL && c->pcap->job != NULL && c->pcap->capture != NULL)
        jobs_cancel(&c->jobs, c->pcap->job);
    while (c->pcap != NULL && clock_steady_us() < until_us) {
        poller_wait(&c->poller, 1);
        c->now_us = clock_steady_us();
        lcore_calls_work(&c->calls, c->now_us);
        commands_pcap_work(c);
    }
    if (c->pcap != NULL && c->pcap->job != NULL && c->pcap->capture != NULL)
        atomic_store(&c->pcap->capture->phase, CAPTURE_ABANDONED);
}

void commands_pcap_register(struct control *c)
{
    rpc_register(c->rpc, "pcap.start", pcap_start, c);
    rpc_register(c->rpc, "pcap.stop", pcap_stop, c);
    rpc_register(c->rpc, "pcap.status", pcap_status, c);
}
