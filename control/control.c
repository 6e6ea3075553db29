/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread: one loop over everything that operators touch, a slice of each in turn. */
#include "control.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "../dataplane/base/check.h"
#include "clock.h"
#include "control_int.h"
#include "json_wipe.h"
#include "ledger.h"
#include "ledger_cursor.h"
#include "ledger_jobs.h"
#include "metrics.h"
#include "priority.h"

#define CONTROL_THREAD_NICE 5   /* behind commit and storage where they share a CPU */
#define IDLE_WAIT_MS        100 /* how soon *stop is seen */
#define LCORE_WAIT_MS       1   /* lcores answer by ring, without waking anybody */
#define REQUEST_JOBS_MAX    64  /* under way for requests; more are refused */
#define TRIM_US_MIN         1000000u
#define TRIM_US_MAX         600000000u

/* ---- for the commands ---- */

bool control_account_param(struct control *c, struct rpc_request **rq, const char *name,
                           struct gw_jid_text *out)
{
    const char *text = rpc_string(*rq, name), *domain = c->env->config->domain;
    if (gw_jid_prep_bare(gw_bytes_str(text), domain, out) != 0) {
        rpc_fail(rq, RPC_PARAMS, "an address as alice@example.org, or the part before the @",
                 "%s is not an account: %.64s", name, text);
        return false;
    }
    if (!gw_config_serves(c->env->config, gw_jid_domain(out))) {
        rpc_fail(rq, RPC_PARAMS, "accounts are of the broker's own domains",
                 "%.100s is not of the domain %.100s%s", out->text, domain,
                 c->env->config->further_domain_count > 0 ? ", nor of a further one" : "");
        return false;
    }
    return true;
}

json_t *control_address_json(const struct gw_ip *ip)
{
    char text[GW_IP_TEXT_BYTES];
    gw_ip_format(ip, text);
    return json_string(text);
}

void control_fail_store(struct rpc_request **rq, int rc, const char *what)
{
    if (rc == -EBADMSG)
        rpc_fail(rq, RPC_STORE, "it is damaged, or was sealed under another master key",
                 "could not %s: its record cannot be opened", what);
    else
        rpc_fail(rq, RPC_STORE, "godwitctl status shows the store; the broker's log says more",
                 "could not %s: %s", what, strerror(-rc));
}

struct job *control_start_job(struct control *c, struct rpc_request **rq, const struct job_type *type,
                              void *ctx)
{
    if (!c->stopping && c->jobs.running_count < REQUEST_JOBS_MAX)
        return jobs_start(&c->jobs, type, ctx);
    rpc_fail(rq, RPC_BUSY, "try again when some have ended: godwitctl job list",
             c->stopping ? "the broker is stopping" : "too many jobs are under way");
    return NULL;
}

/* ---- what the job thread does unasked ---- */

struct upkeep {
    struct control *control;
    int rc;
    bool erase; /* something that was deleted earlier is still on the disk */
};

static enum job_step resume_step(struct job *job, void *ctx)
{
    struct upkeep *u = ctx;
    uint64_t version;
    u->rc = accounts_delete_resume(&u->control->accounts);
    u->erase = accounts_erasure_noted(&u->control->accounts, &version) == 0;
    return JOB_DONE;
}

static void resume_finished(struct job *job, void *ctx)
{
    struct upkeep *u = ctx;
    if (u->rc < 0)
        fprintf(stderr, "accounts: deletions begun earlier could not be finished: %s\n",
                strerror(-u->rc));
    else if (u->rc > 0)
        fprintf(stderr, "accounts: finished %d deletions begun earlier\n", u->rc);
    if (u->erase)
        store_jobs_erase_soon(u->control);
}

static const struct job_type resume_type = {
    .step = resume_step, .finished = resume_finished, .free = free};

static enum job_step trim_step(struct job *job, void *ctx)
{
    struct upkeep *u = ctx;
    const struct gw_control_env *env = u->control->env;
    uint64_t below, age_us = (uint64_t)env->config->ledger_age_s * 1000000;
    u->rc = ledger_trim(u->control->accounts.ops, gw_store_state(env->store).segment_next,
                        clock_wall_us() - age_us, &below);
    return JOB_DONE;
}

static void trim_finished(struct job *job, void *ctx)
{
    struct upkeep *u = ctx;
    struct control *c = u->control;
    uint64_t age_us = (uint64_t)c->env->config->ledger_age_s * 1000000, pause_us = age_us / 20;
    if (u->rc != 0)
        fprintf(stderr, "ledger: old events could not be forgotten: %s\n", strerror(-u->rc));
    if (pause_us < TRIM_US_MIN)
        pause_us = TRIM_US_MIN;
    c->trim_at_us = clock_steady_us() + (pause_us < TRIM_US_MAX ? pause_us : TRIM_US_MAX);
}

static const struct job_type trim_type = {
    .step = trim_step, .finished = trim_finished, .free = free};

static void start_upkeep(struct control *c, const struct job_type *type)
{
    struct upkeep *u = calloc(1, sizeof(*u));
    check(u != NULL);
    u->control = c;
    jobs_start(&c->jobs, type, u);
}

static void trim_when_due(struct control *c)
{
    if (c->now_us < c->trim_at_us)
        return;
    c->trim_at_us = UINT64_MAX;
    start_upkeep(c, &trim_type);
}

/* ---- the loop ---- */

static void store_ready(struct poll_source *source, uint32_t events)
{
    struct control *c = (struct control *)((char *)source - offsetof(struct control, store_source));
    store_ops_poll(&c->ops);
}

static void set_gauges(struct control *c)
{
    struct control_gauges g = {
        .control_slice_us_max = c->slice_us_max,
        .control_jobs_running = c->jobs.running_count,
        .ledger_in_memory = ledger_table_count(ledger_memory(c->ledger)),
        .ledger_followers = ledger_follower_count(c->ledger),
        .ledger_next_segment = ledger_place_now(c->ledger).segment,
        .keys_incarnation = gw_keyring_current(c->env->keys),
        .keys_incarnations = gw_keyring_incarnations(c->env->keys),
        .keys_erasures_pending = c->erase_at_us != UINT64_MAX,
        .backup_last_us = c->store_jobs[STORE_JOB_BACKUP].ended_us,
        .backup_failures = c->store_jobs[STORE_JOB_BACKUP].failures,
        .expire_before_us = c->expiry.before_us,
        .expiry_clock_behind_us = c->expiry.behind_us,
        .verify_last_us = c->store_jobs[STORE_JOB_VERIFY].ended_us,
        .rotate_failures = c->store_jobs[STORE_JOB_MASTER].failures +
                           c->store_jobs[STORE_JOB_ACCOUNTS].failures +
                           c->store_jobs[STORE_JOB_INCARNATION].failures,
    };
#define X(name, help) __atomic_store_n(&c->gauges.name, g.name, __ATOMIC_RELAXED);
    CONTROL_GAUGES(X)
#undef X
}

static int shorter(int a_ms, int b_ms)
{
    return b_ms >= 0 && b_ms < a_ms ? b_ms : a_ms;
}

/* One slice of everything; returns how long the next wait may be. */
static int work(struct control *c)
{
    c->now_us = clock_steady_us();
    lcore_calls_work(&c->calls, c->now_us);
    bool more = ledger_work(c->ledger);
    more |= commands_receipts_work(c);
    int wait_ms = shorter(IDLE_WAIT_MS, commands_job_work(c));
    wait_ms = shorter(wait_ms, commands_pcap_work(c));
    wait_ms = shorter(wait_ms, ledger_wait_ms(c->ledger));
    trim_when_due(c);
    expiry_work(c);
    store_jobs_work(c);
    more |= rpc_server_work(c->rpc);
    set_gauges(c);
    if (more)
        return 0;
    return lcore_calls_pending(&c->calls) ? LCORE_WAIT_MS : wait_ms;
}

static void run(struct control *c)
{
    int wait_ms = 0;
    uint64_t before_us = clock_us(CLOCK_THREAD_CPUTIME_ID);
    while (!atomic_load(c->env->stop)) {
        poller_wait(&c->poller, wait_ms);
        wait_ms = work(c);
        uint64_t after_us = clock_us(CLOCK_THREAD_CPUTIME_ID);
        if (after_us - before_us > c->slice_us_max)
            c->slice_us_max = after_us - before_us;
        before_us = after_us;
    }
}

/* ---- begin and end ---- */

static void register_all(struct control *c)
{
    commands_broker_register(c);
    commands_user_register(c);
    commands_mailbox_register(c);
    commands_neighbour_register(c);
    commands_session_register(c);
    commands_conn_register(c);
    commands_receipts_register(c);
    commands_job_register(c);
    commands_key_register(c);
    commands_store_register(c);
    commands_pcap_register(c);
    rpc_check_complete(c->rpc);
}

static int open_sockets(struct control *c, char err[256])
{
    const struct gw_config *cfg = c->env->config;
    struct rpc_server_config rpc = {.path = cfg->control_socket, .own_uid = geteuid(), .uids = cfg->control_uids,
                                    .uid_count = cfg->control_uid_count};
    int rc = rpc_server_open(&c->rpc, &rpc, &c->poller, err);
    if (rc != 0)
        return rc;
    if (cfg->metrics_port != 0)
        rc = metrics_open(&c->metrics, c, cfg->metrics_port, err);
    if (rc != 0)
        rpc_server_free(&c->rpc);
    return rc;
}

/* Without one, or with one that does not open, the ledger reads more than it has to. */
static uint64_t load_cursor(struct control *c)
{
    struct ledger_cursor cursor;
    uint64_t segment = 0;
    ledger_cursor_init(&cursor, &c->ops, c->env->keys, c->env->sealer);
    int rc = ledger_cursor_load(&cursor, &segment);
    if (rc != 0 && rc != -ENOENT)
        fprintf(stderr, "ledger: where it was cannot be read: %s\n", strerror(-rc));
    return rc == 0 ? segment : 0;
}

/* What does not depend on the outside: cannot fail, but for resources that every start needs. */
static void open_inside(struct control *c)
{
    const struct gw_control_env *env = c->env;
    store_ops_init(&c->ops, env->client);
    store_ops_init(&c->job_ops, env->job_client);
    c->store_source = (struct poll_source){.fd = c->ops.fd, .ready = store_ready};
    check(poller_open(&c->poller) == 0);
    check(poller_add(&c->poller, &c->store_source, EPOLLIN) == 0);
    accounts_init(&c->accounts, &c->job_ops, env->keys, env->job_sealer,
                  env->config->scram_iterations);
    lcore_calls_init(&c->calls, env->lcores, env->lcore_count);
    c->ledger = ledger_new(&ledger_config_default, &c->ops, env->keys, env->sealer,
                           gw_store_state(env->store).segment_next, load_cursor(c));
    check(jobs_open(&c->jobs, &c->poller, &c->job_ops) == 0);
    start_upkeep(c, &resume_type);
    expiry_open(c);
}

/* Whoever waits is answered before the socket goes. */
static void close_inside(struct control *c)
{
    c->stopping = true;
    commands_pcap_close(c);
    jobs_close(&c->jobs);
    lcore_calls_close(&c->calls);
    commands_receipts_close(c);
    commands_job_close(c);
    store_ops_drain(&c->ops);
    ledger_free(&c->ledger);
    accounts_close(&c->accounts);
    poller_remove(&c->poller, &c->store_source);
}

int gw_control_run(const struct gw_control_env *env)
{
    char err[256] = "";
    struct control *c = calloc(1, sizeof(*c));
    check(c != NULL);
    c->env = env;
    c->started_us = clock_wall_us();
    c->erase_at_us = UINT64_MAX;
    c->incarnation_at_us = clock_steady_us() + (uint64_t)env->config->incarnation_age_s * 1000000;
    json_wipe_on_free();
    lower_priority(CONTROL_THREAD_NICE);
    open_inside(c);
    int rc = open_sockets(c, err);
    if (rc == 0) {
        register_all(c);
        run(c);
        metrics_free(&c->metrics);
    } else {
        fprintf(stderr, "godwitd: %s\n", err);
    }
    close_inside(c);
    rpc_server_free(&c->rpc);
    poller_close(&c->poller);
    free(c);
    return rc;
}
