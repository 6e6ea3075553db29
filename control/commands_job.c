/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "../dataplane/base/check.h"
#include "control_int.h"

#define PROGRESS_US 200000

struct job_follower {
    struct rpc_stream stream;
    uint32_t id;
    bool ends_job; /* the job does not go on without this client */
    uint64_t next_us; /* when to tell again; the end is told at once */
    struct job_follower *next;
};

static struct job *find(struct control *c, struct rpc_request **rq)
{
    struct job *job = jobs_find(&c->jobs, (uint32_t)rpc_number(*rq, "job", 0));
    if (job == NULL)
        rpc_fail(rq, RPC_NOT_FOUND, "godwitctl job list shows those that run and the last that ended",
                 "there is no job %lld", (long long)rpc_number(*rq, "job", 0));
    return job;
}

static void job_list(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    rpc_reply(&rq, json_pack("{s:o}", "jobs", jobs_describe_all(&c->jobs)));
}

static void job_show(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    struct job *job = find(c, &rq);
    if (job == NULL)
        return;
    json_t *d = jobs_describe(&c->jobs, job);
    uint64_t from = (uint64_t)rpc_number(rq, "errors_from", 0);
    if (job->type->complaints != NULL)
        json_object_set_new(d, "complaints", job->type->complaints(job, from));
    rpc_reply(&rq, d);
}

static void job_cancel(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    struct job *job = find(c, &rq);
    if (job == NULL)
        return;
    if (!job->ended)
        jobs_cancel(&c->jobs, job);
    rpc_reply(&rq, jobs_describe(&c->jobs, job));
}

/* ---- following ---- */

static bool follow(struct control *c, struct rpc_request **rq, struct job *job, bool ends_job)
{
    struct job_follower *f = calloc(1, sizeof(*f));
    check(f != NULL);
    if (!rpc_stream_open(&f->stream, rq)) {
        free(f);
        return false;
    }
    f->id = job->id;
    f->ends_job = ends_job;
    f->next = c->job_followers;
    c->job_followers = f;
    rpc_reply(rq, json_pack("{s:I, s:I}", "stream", (json_int_t)f->stream.id, "job",
                            (json_int_t)job->id));
    return true;
}

static void job_follow(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    struct job *job = find(c, &rq);
    if (job != NULL)
        follow(c, &rq, job, false);
}

void control_follow_job(struct control *c, struct rpc_request **rq, struct job *job)
{
    if ((*rq)->conn == NULL) {
        jobs_cancel(&c->jobs, job);
        rpc_reply(rq, json_object()); /* to nobody */
    } else if (!follow(c, rq, job, true)) {
        jobs_cancel(&c->jobs, job);
    }
}

/* Returns whether that was the last. */
static bool tell(struct control *c, struct job_follower *f)
{
    struct job *job = jobs_find(&c->jobs, f->id);
    bool ended = job == NULL || job->ended;
    if (!rpc_stream_ready(&f->stream))
        return rpc_stream_gone(&f->stream);
    if (!ended && c->now_us < f->next_us)
        return false;
    f->next_us = c->now_us + PROGRESS_US;
    json_t *d = job != NULL ? jobs_describe(&c->jobs, job)
                            : json_pack("{s:I, s:s, s:b, s:s}", "job", (json_int_t)f->id, "state",
                                        "forgotten", "ended", true, "note", "");
    rpc_stream_send(&f->stream, "job.progress", d);
    return ended;
}

static void end_with_client(struct control *c, const struct job_follower *f)
{
    struct job *job = jobs_find(&c->jobs, f->id);
    if (f->ends_job && rpc_stream_gone(&f->stream) && job != NULL && !job->ended)
        jobs_cancel(&c->jobs, job);
}

int commands_job_work(struct control *c)
{
    for (struct job_follower **at = &c->job_followers; *at != NULL;) {
        struct job_follower *f = *at;
        if (!tell(c, f)) {
            at = &f->next;
            continue;
        }
        *at = f->next;
        end_with_client(c, f);
        rpc_stream_close(&f->stream);
        free(f);
    }
    return c->job_followers != NULL ? PROGRESS_US / 1000 : -1;
}

void commands_job_close(struct control *c)
{
    while (c->job_followers != NULL) {
        struct job_follower *f = c->job_followers;
        c->job_followers = f->next;
        rpc_stream_close(&f->stream);
        free(f);
    }
}

void commands_job_register(struct control *c)
{
    rpc_register(c->rpc, "job.list", job_list, c);
    rpc_register(c->rpc, "job.show", job_show, c);
    rpc_register(c->rpc, "job.cancel", job_cancel, c);
    rpc_register(c->rpc, "job.follow", job_follow, c);
}
