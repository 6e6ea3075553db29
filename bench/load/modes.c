/* SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

static bool all_online(const struct run *run)
{
    return run->fleet.online == run->fleet.config.count;
}

static void want_all(struct run *run)
{
    for (uint32_t i = 0; i < run->fleet.config.count; i++)
        fleet_want(&run->fleet, i, true);
}

static void enter(struct run *run, uint32_t phase)
{
    run->phase = phase;
    run->phase_us = run->fleet.now_us;
}

static double seconds_since(const struct run *run, uint64_t then_us)
{
    return (double)(run->fleet.now_us - then_us) / 1e6;
}

/* The i-th of `parts` nearly equal parts of a total. */
static uint64_t part_of(uint64_t total, uint32_t parts, uint32_t i)
{
    return total / parts + (i < total % parts);
}

/* ---- chat: all log in, then each pair talks, both ways ---- */

enum { CHAT_LOGIN, CHAT_TALK };

static void chat_start(struct run *run)
{
    const struct options *o = run->options;
    for (uint32_t i = 0; i < 2 * o->pairs; i++)
        run_add_flow(run, i, i ^ 1,
                     o->messages ? part_of(o->messages, 2 * o->pairs, i) : UINT32_MAX);
    want_all(run);
}

static bool chat_step(struct run *run)
{
    if (run->phase == CHAT_LOGIN && all_online(run)) {
        enter(run, CHAT_TALK);
        run->sending = true;
        run_say(run, "talking");
    }
    return run->phase == CHAT_TALK && run_complete(run);
}

const struct mode mode_chat = {.name = "chat", .start = chat_start, .step = chat_step};

/* ---- offline: store for absent users, then they come and drain, and come again ---- */

/* In the second visit each recipient gets one more message, which must be the first to come: the
 * mailbox was empty. With waves there is none: who has drained leaves, and the next one comes. */
enum { OFFLINE_LOGIN, OFFLINE_STORE, OFFLINE_DRAIN, OFFLINE_LEAVE, OFFLINE_AGAIN };

static uint32_t recipient_count(const struct run *run)
{
    return run->options->pairs * run->options->fan;
}

static void offline_start(struct run *run)
{
    const struct options *o = run->options;
    uint32_t recipients = recipient_count(run);
    for (uint32_t i = 0; i < recipients; i++)
        run_add_flow(run, i / o->fan, o->pairs + i, part_of(o->messages, recipients, i));
    for (uint32_t i = 0; i < o->pairs; i++)
        fleet_want(&run->fleet, i, true);
}

static void want_recipients(struct run *run, bool online)
{
    for (uint32_t i = 0; i < recipient_count(run); i++)
        fleet_want(&run->fleet, run->options->pairs + i, online);
}

static bool stored_all(const struct run *run)
{
    const struct audit_counts *c = audit_totals(run->audit);
    uint64_t wanted = run->options->messages;
    return c->acknowledged + c->refused == wanted;
}

/* One of a crowd is there already, and stays until all of it may go. */
static void visit(struct run *run, uint32_t flow)
{
    uint32_t user = run->options->pairs + flow;
    if (run->options->hold > 0)
        fleet_announce(&run->fleet, user);
    else
        fleet_want(&run->fleet, user, true);
}

static void end_visit(struct run *run, uint32_t flow)
{
    if (run->options->hold == 0)
        fleet_want(&run->fleet, run->options->pairs + flow, false);
}

/* Flows and their recipients have the same order. `end`: the first that does not come now. */
static void next_visitors(struct run *run, uint32_t end)
{
    uint32_t visiting = tags_count(&run->visiting);
    for (uint32_t i = 0; i < visiting; i++) {
        uint32_t flow = (uint32_t)tags_pop(&run->visiting);
        if (audit_outstanding(run->audit, flow) > 0)
            tags_push(&run->visiting, flow);
        else
            end_visit(run, flow);
    }
    while (tags_count(&run->visiting) < run->options->wave && run->next_visitor < end) {
        tags_push(&run->visiting, run->next_visitor);
        visit(run, run->next_visitor++);
    }
}

static void crowd_comes(struct run *run)
{
    uint32_t left = recipient_count(run) - run->crowd_end, hold = run->options->hold;
    run->crowd_begin = run->crowd_end;
    run->crowd_end += left < hold ? left : hold;
    for (uint32_t flow = run->crowd_begin; flow < run->crowd_end; flow++) {
        fleet_silence(&run->fleet, run->options->pairs + flow);
        fleet_want(&run->fleet, run->options->pairs + flow, true);
    }
}

static void crowd_goes(struct run *run)
{
    run->drain_us += run->fleet.now_us - run->crowd_us;
    run->crowd_drains = false;
    for (uint32_t flow = run->crowd_begin; flow < run->crowd_end; flow++)
        fleet_want(&run->fleet, run->options->pairs + flow, false);
}

/* The next crowd comes when the one before has gone; only while a whole one is there does time count. */
static void drain_in_crowds(struct run *run)
{
    uint32_t there = run->fleet.online - run->options->pairs;
    if (run->crowd_drains) {
        next_visitors(run, run->crowd_end);
        if (run->next_visitor == run->crowd_end && tags_count(&run->visiting) == 0)
            crowd_goes(run);
    } else if (run->next_visitor == run->crowd_end) {
        if (there == 0 && run->crowd_end < recipient_count(run))
            crowd_comes(run);
    } else if (there == run->crowd_end - run->crowd_begin) {
        run->crowd_drains = true;
        run->crowd_us = run->fleet.now_us;
    }
}

static void end_drain(struct run *run)
{
    if (run->options->hold == 0)
        run->drain_us = run->fleet.now_us - run->phase_us;
    else if (run->crowd_drains)
        crowd_goes(run);
    enter(run, OFFLINE_LEAVE);
    want_recipients(run, false);
}

static bool offline_step(struct run *run)
{
    uint32_t pairs = run->options->pairs, wave = run->options->wave;
    switch (run->phase) {
    case OFFLINE_LOGIN:
        if (run->fleet.online == pairs) {
            run->sending = true;
            enter(run, OFFLINE_STORE);
            run_say(run, "storing");
        }
        break;
    case OFFLINE_STORE:
        if (stored_all(run)) {
            run->store_us = run->fleet.now_us - run->phase_us;
            enter(run, OFFLINE_DRAIN);
            if (wave == 0)
                want_recipients(run, true);
            run_say(run, "stored");
        }
        break;
    case OFFLINE_DRAIN:
        if (run->options->hold > 0)
            drain_in_crowds(run);
        else if (wave > 0)
            next_visitors(run, recipient_count(run));
        if (run_complete(run)) {
            end_drain(run);
            return wave > 0;
        }
        break;
    case OFFLINE_LEAVE:
        if (run->fleet.online == pairs) {
            for (uint32_t flow = 0; flow < recipient_count(run); flow++)
                run_add_quota(run, flow, 1);
            want_recipients(run, true);
            enter(run, OFFLINE_AGAIN);
        }
        break;
    default:
        return run_complete(run);
    }
    return false;
}

static void report_rate(json_t *result, const char *seconds_name, const char *rate_name,
                        uint64_t count, uint64_t us)
{
    double seconds = (double)us / 1e6;
    json_object_set_new(result, seconds_name, json_real(seconds));
    json_object_set_new(result, rate_name,
                        json_real(seconds > 0 ? (double)count / seconds : 0));
}

static void offline_report(const struct run *run, json_t *result)
{
    uint64_t count = run->options->messages;
    report_rate(result, "store_seconds", "stored_per_second", count, run->store_us);
    report_rate(result, "drain_seconds", "drained_per_second", count, run->drain_us);
}

const struct mode mode_offline = {
    .name = "offline",
    .recipients_away = true,
    .start = offline_start,
    .step = offline_step,
    .report = offline_report,
};

/* ---- login: how fast all get in ---- */

static bool login_step(struct run *run)
{
    if (!all_online(run))
        return false;
    run->phase_us = run->fleet.now_us;
    return true;
}

static void report_logins(const struct run *run, json_t *result)
{
    double seconds = (double)(run->phase_us - run->start_us) / 1e6;
    json_object_set_new(result, "login_seconds", json_real(seconds));
    json_object_set_new(result, "logins_per_second",
                        json_real(seconds > 0 ? run->fleet.online / seconds : 0));
}

const struct mode mode_login = {
    .name = "login", .start = want_all, .step = login_step, .report = report_logins};

/* ---- idle: all stay, and the keepalives ask each for a sign of life ---- */

enum { IDLE_LOGIN, IDLE_STAY };

static bool idle_step(struct run *run)
{
    if (run->phase == IDLE_LOGIN && all_online(run))
        enter(run, IDLE_STAY);
    return run->phase == IDLE_STAY &&
           (run->stopped || seconds_since(run, run->phase_us) >= run->options->seconds);
}

static bool idle_passed(const struct run *run)
{
    return all_online(run);
}

const struct mode mode_idle = {.name = "idle",
                               .start = want_all,
                               .step = idle_step,
                               .report = report_logins,
                               .passed = idle_passed};
