/* SPDX-License-Identifier: Apache-2.0 */
#include "operator.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "../../dataplane/base/check.h"
#include "trace.h"

enum walk { NO_WALK, NEW_WALK, KEPT_WALK };

struct operator_step {
    const char *name;
    uint8_t op;
    uint8_t from; /* enum gw_rotate */
    enum walk walk;
    bool heads_only;
};

/* A job is a row of these up to one without a name. */
static const struct operator_step spill[] = {{"spill", GW_STORE_SPILL, 0, NO_WALK, false}, {0}};
static const struct operator_step erase[] = {{"erase", GW_STORE_ERASE, 0, NO_WALK, false}, {0}};
static const struct operator_step verify[] = {{"verify", GW_STORE_VERIFY, 0, NEW_WALK, false}, {0}};
static const struct operator_step accounts[] = {
    {"new account keys", GW_STORE_ROTATE, GW_ROTATE_ACCOUNTS, NEW_WALK, false},
    {"erase the old ones", GW_STORE_ERASE, 0, NO_WALK, false},
    {0},
};
static const struct operator_step incarnation[] = {
    {"a new incarnation", GW_STORE_ROTATE, GW_ROTATE_INCARNATION, NEW_WALK, false},
    {"small records under it", GW_STORE_ROTATE, GW_ROTATE_SMALL, NEW_WALK, false},
    {"spill the log", GW_STORE_SPILL, 0, NO_WALK, false},
    {"spill what was on its way", GW_STORE_SPILL, 0, NO_WALK, false},
    {"look for keys in use", GW_STORE_VERIFY, 0, NEW_WALK, true},
    {"retire the others", GW_STORE_ROTATE, GW_ROTATE_RETIRE, KEPT_WALK, false},
    {"erase them", GW_STORE_ERASE, 0, NO_WALK, false},
    {0},
};
static const struct operator_step *const jobs[] = {spill, erase, verify, accounts, incarnation};

static uint64_t pause_us(struct operator *o)
{
    return o->gap_us_max == 0 ? UINT64_MAX
                              : world_now_us(o->world) + 1 + world_random(o->world, o->gap_us_max);
}

static void end_job(struct operator *o)
{
    o->step = NULL;
    o->next_us = pause_us(o);
}

static void begin_step(struct operator *o)
{
    uint32_t incarnation_number = o->walk.incarnation;
    trace(world_now_us(o->world), "operator: %s", o->step->name);
    if (o->step->walk == NEW_WALK)
        o->walk = (struct gw_walk){.incarnation = incarnation_number};
    o->walk.ended = false;
    o->walk.heads_only = o->step->heads_only;
}

static bool submit(struct operator *o)
{
    struct gw_store_request rq = {.op = o->step->op, .from = o->step->from};
    if (o->step->walk != NO_WALK) {
        rq.data = &o->walk;
        rq.data_len = sizeof(o->walk);
    }
    o->waits = gw_store_submit(o->client, &rq) == 0;
    return o->waits;
}

static void next_step(struct operator *o)
{
    o->step++;
    if (o->step->name != NULL) {
        begin_step(o);
        return;
    }
    o->done++;
    end_job(o);
}

static void take(struct operator *o, const struct gw_store_completion *done)
{
    o->waits = false;
    if (done->status != 0) {
        trace(world_now_us(o->world), "operator: %s: error %d", o->step->name, -done->status);
        end_job(o);
        return;
    }
    if (o->step->walk != NO_WALK && o->walk.damaged > 0) {
        char what[200];
        snprintf(what, sizeof(what), "%s: %" PRIu64 " records are damaged, first position %" PRIu64
                 ": %.90s", o->step->name, o->walk.damaged, o->walk.damages[0].position,
                 o->walk.damages[0].what);
        o->found(o->found_arg, what);
    }
    if (o->step->walk == NO_WALK || o->walk.ended)
        next_step(o);
}

unsigned operator_pass(struct operator *o)
{
    struct gw_store_completion done;
    if (o->client == NULL)
        return 0;
    if (o->waits) {
        if (gw_store_poll(o->client, &done, 1) == 0)
            return 0;
        take(o, &done);
        return 1;
    }
    if (o->step != NULL)
        return submit(o);
    if (world_now_us(o->world) < o->next_us)
        return 0;
    o->step = jobs[world_random(o->world, sizeof(jobs) / sizeof(jobs[0]))];
    begin_step(o);
    return 1;
}

uint64_t operator_next_us(const struct operator *o)
{
    return o->step == NULL ? o->next_us : UINT64_MAX;
}

void operator_calm(struct operator *o)
{
    o->gap_us_max = 0;
    o->next_us = UINT64_MAX;
}

bool operator_is_idle(const struct operator *o)
{
    return o->step == NULL;
}

void operator_attach(struct operator *o, struct broker *b)
{
    o->client = gw_store_client(b->store, b->cfg.lcores + BROKER_JOB_CLIENT);
    end_job(o);
}

void operator_detach(struct operator *o)
{
    o->client = NULL;
    o->step = NULL;
    o->waits = false;
}

void operator_init(struct operator *o, struct world *w, uint64_t gap_us_max,
                   void (*found)(void *arg, const char *what), void *arg)
{
    *o = (struct operator){.world = w, .gap_us_max = gap_us_max, .found = found, .found_arg = arg};
}
