/* SPDX-License-Identifier: Apache-2.0 */
#include "expiry.h"

#include <errno.h>
#include <stdlib.h>

#include "../dataplane/base/check.h"
#include "clock.h"
#include "control_int.h"

#define MARK          GW_LIT("clock")
#define MARK_BYTES    (sizeof(uint64_t) + GW_SMALL_OVERHEAD_BYTES)
#define MARK_EVERY_US 3600000000u
#define RETRY_US      10000000u

struct mark_task {
    struct control *control;
    uint64_t mark_us; /* read, or to be written */
    bool write;
    int rc;
};

static int read_mark(struct control *c, uint64_t *mark_us, uint64_t *version)
{
    uint8_t sealed[MARK_BYTES];
    struct gw_store_completion done;
    struct gw_bytes plain;
    int rc = store_ops_get(&c->job_ops, GW_NS_META, MARK, sealed, sizeof(sealed), &done);
    *mark_us = 0;
    *version = rc == -ENOENT ? 0 : done.seq;
    if (rc != 0)
        return rc;
    rc = gw_small_open(c->env->keys, c->env->job_sealer, GW_NS_META, MARK, sealed, done.len, &plain);
    if (rc == 0 && plain.len == sizeof(*mark_us))
        memcpy(mark_us, plain.p, sizeof(*mark_us));
    return rc;
}

static int write_mark(struct control *c, uint64_t mark_us)
{
    uint8_t sealed[MARK_BYTES];
    uint64_t before_us, version;
    int rc = read_mark(c, &before_us, &version);
    if (rc != 0 && rc != -ENOENT && rc != -EBADMSG)
        return rc;
    gw_small_seal(c->env->keys, c->env->job_sealer, GW_NS_META, MARK,
                  gw_bytes(&mark_us, sizeof(mark_us)), sealed);
    return store_ops_cas(&c->job_ops, GW_NS_META, MARK, sealed, sizeof(sealed), version, NULL);
}

static enum job_step mark_step(struct job *job, void *ctx)
{
    struct mark_task *t = ctx;
    uint64_t version;
    t->rc = t->write ? write_mark(t->control, t->mark_us)
                     : read_mark(t->control, &t->mark_us, &version);
    return JOB_DONE;
}

/* One that cannot be opened is as good as none; the store's own failures are tried again. */
static void mark_finished(struct job *job, void *ctx)
{
    struct mark_task *t = ctx;
    struct expiry *x = &t->control->expiry;
    bool failed = t->rc != 0 && t->rc != -ENOENT && t->rc != -EBADMSG;
    if (!failed && !t->write) {
        trusted_clock_start(&x->clock, t->mark_us, clock_wall_us(), clock_steady_us());
        x->runs = true;
    }
    uint64_t pause_us = failed ? RETRY_US : t->write ? MARK_EVERY_US : 0;
    x->mark_at_us = clock_steady_us() + pause_us;
}

static const struct job_type mark_type = {
    .step = mark_step, .finished = mark_finished, .free = free};

static void start_mark(struct control *c, bool write)
{
    struct mark_task *t = calloc(1, sizeof(*t));
    check(t != NULL);
    *t = (struct mark_task){.control = c, .write = write, .mark_us = c->expiry.clock.now_us};
    c->expiry.mark_at_us = UINT64_MAX;
    jobs_start(&c->jobs, &mark_type, t);
}

void expiry_open(struct control *c)
{
    bool wanted = c->env->config->mailbox_age_s > 0 && c->env->expire_before_us != NULL;
    c->expiry.mark_at_us = UINT64_MAX;
    if (wanted)
        start_mark(c, false);
}

static void publish(struct control *c)
{
    struct expiry *x = &c->expiry;
    uint64_t wall_us = clock_wall_us(), now_us = trusted_clock_tick(&x->clock, wall_us, c->now_us);
    uint64_t age_us = (uint64_t)c->env->config->mailbox_age_s * 1000000;
    x->behind_us = wall_us - now_us;
    x->before_us = now_us > age_us ? now_us - age_us : 0;
    atomic_store_explicit(c->env->expire_before_us, x->before_us, memory_order_relaxed);
}

void expiry_work(struct control *c)
{
    if (c->expiry.runs)
        publish(c);
    if (c->now_us >= c->expiry.mark_at_us)
        start_mark(c, c->expiry.runs);
}
