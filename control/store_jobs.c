/* SPDX-License-Identifier: Apache-2.0 */
#include "store_jobs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../dataplane/base/check.h"
#include "clock.h"
#include "control_int.h"

#define DAMAGES_MAX       10000 /* kept by name; further ones are counted */
#define DAMAGES_A_REPLY   500
#define SCAN_BYTES        (64u << 10)
#define ERASE_DELAY_US    1000000u /* several deletions at once are one erasure */
#define ERASE_RETRY_US    60000000u

/* ---- stages ---- */

struct store_job;

struct stage {
    const char *note;
    uint8_t op;    /* of the store; 0: only `before` */
    uint64_t from; /* of the request */
    bool walk;     /* data is the walk, slice after slice */
    bool heads_only;
    /* Job thread, before it: false when the job has failed (job_fail was called). */
    bool (*before)(struct store_job *j);
    /* After it has succeeded. False when the stage must be done again. */
    bool (*after)(struct store_job *j);
};

#define STAGES_MAX 9

struct damage {
    struct gw_damage found;
    char *account;
};

struct store_job {
    struct control *control;
    struct job *job;
    enum store_job_kind kind;
    const struct stage *stages; /* ends with one whose note is NULL */
    unsigned stage;
    bool submitted;
    struct store_op op;
    struct gw_walk walk;
    struct gw_store_stats stats;
    uint64_t earlier; /* looked at in the stages before */
    uint64_t note_version; /* ERASE: of the note when it began */
    bool note_there;
    int rc;
    bool succeeded;
    /* names of damaged mailboxes */
    uint8_t *scan;
    uint8_t scan_after[GW_STORE_KEY_BYTES_MAX];
    uint16_t scan_after_len;
    /* under jobs->lock */
    uint64_t looked_at, changed, damaged;
    struct damage *damages;
    size_t damage_count, damage_cap;
    uint64_t backup_id, backup_bytes, backup_count;
};

static struct jobs *jobs_of(struct store_job *j)
{
    return &j->control->jobs;
}

/* ---- what was found ---- */

static void keep_damage(struct store_job *j, const struct gw_damage *d)
{
    if (j->damage_count == DAMAGES_MAX)
        return;
    if (j->damage_count == j->damage_cap) {
        j->damage_cap = j->damage_cap == 0 ? 64 : 2 * j->damage_cap;
        j->damages = realloc(j->damages, j->damage_cap * sizeof(*j->damages));
        check(j->damages != NULL);
    }
    j->damages[j->damage_count++] = (struct damage){.found = *d};
}

static void take_slice(struct store_job *j)
{
    const struct gw_walk *w = &j->walk;
    struct jobs *jobs = jobs_of(j);
    pthread_mutex_lock(&jobs->lock);
    j->looked_at = j->earlier + w->looked_at;
    j->changed = w->changed;
    j->damaged += w->damage_count;
    for (unsigned i = 0; i < w->damage_count; i++)
        keep_damage(j, &w->damages[i]);
    pthread_mutex_unlock(&jobs->lock);
    uint64_t total = atomic_load(&j->job->total);
    atomic_store(&j->job->done, j->looked_at < total ? j->looked_at : total);
}

static bool is_mailbox(const struct gw_mailbox_id *id)
{
    static const struct gw_mailbox_id none;
    return memcmp(id, &none, sizeof(none)) != 0;
}

/* ---- the names of damaged mailboxes ---- */

static void name_mailbox(struct store_job *j, const struct gw_mailbox_id *id, struct gw_bytes jid)
{
    struct jobs *jobs = jobs_of(j);
    pthread_mutex_lock(&jobs->lock);
    for (size_t i = 0; i < j->damage_count; i++) {
        struct damage *d = &j->damages[i];
        if (d->account == NULL && memcmp(&d->found.mailbox, id, sizeof(*id)) == 0)
            d->account = strndup((const char *)jid.p, jid.len);
    }
    pthread_mutex_unlock(&jobs->lock);
}

static void name_account(struct store_job *j, struct gw_scan_entry *e)
{
    struct accounts *a = &j->control->accounts;
    uint8_t *key = (uint8_t *)(e + 1);
    struct gw_account account;
    size_t value_len = e->len - sizeof(*e) - e->key_len;
    if (accounts_open_sealed(a, gw_bytes(key, e->key_len), key + e->key_len, value_len, &account))
        return;
    struct gw_identity identity = gw_identity_of(account.identity_key);
    struct gw_mailbox_id mailbox = gw_identity_mailbox(&identity);
    account_wipe(&account);
    name_mailbox(j, &mailbox, gw_bytes(key, e->key_len));
}

static bool before_names(struct store_job *j)
{
    j->scan = aligned_alloc(8, SCAN_BYTES);
    check(j->scan != NULL);
    j->op.rq = (struct gw_store_request){.op = GW_STORE_SCAN, .ns = GW_NS_ACCOUNT,
                                         .key = j->scan_after, .key_len = j->scan_after_len,
                                         .data = j->scan, .data_len = SCAN_BYTES};
    return true;
}

static bool after_names(struct store_job *j)
{
    for (size_t off = 0; off < j->op.done.len;) {
        struct gw_scan_entry *e = (void *)(j->scan + off);
        j->scan_after_len = e->key_len;
        memcpy(j->scan_after, e + 1, e->key_len);
        off += gw_record_padded(e->len);
        name_account(j, e);
    }
    bool more = j->op.done.more && !job_is_cancelled(j->job);
    free(j->scan);
    j->scan = NULL;
    return !more;
}

/* ---- single stages ---- */

static uint64_t space_keys(const struct gw_store_stats *s, const char *name)
{
    for (unsigned i = 0; i < s->space_count; i++)
        if (strcmp(s->spaces[i].name, name) == 0)
            return s->spaces[i].keys;
    return 0;
}

static bool before_stats(struct store_job *j)
{
    j->op.rq = (struct gw_store_request){
        .op = GW_STORE_STATS, .data = &j->stats, .data_len = sizeof(j->stats)};
    return true;
}

/* Estimates, but good enough for a percentage. */
static bool after_stats(struct store_job *j)
{
    const struct gw_store_stats *s = &j->stats;
    uint64_t keys = space_keys(s, "keys"), small = space_keys(s, "small");
    uint64_t all = keys + small + space_keys(s, "mailbox") + space_keys(s, "events") +
                   s->window_messages;
    uint64_t total = j->kind == STORE_JOB_MASTER || j->kind == STORE_JOB_ACCOUNTS ? keys
                     : j->kind == STORE_JOB_INCARNATION                           ? small + all
                                                                                  : all;
    atomic_store(&j->job->total, total > 0 ? total : 1);
    return true;
}

static bool before_master(struct store_job *j)
{
    char err[256] = "";
    int rc = gw_keyring_master_next(j->control->env->keys, err);
    if (rc == 0 || rc == -EEXIST)
        return true;
    job_fail(jobs_of(j), j->job, "no next master key: %.200s", err);
    return false;
}

/* As long as anything is wrapped by the old one it must not be forgotten. */
static bool before_master_end(struct store_job *j)
{
    if (j->damaged == 0)
        return true;
    job_fail(jobs_of(j), j->job,
             "%" PRIu64 " keys do not open and were left as they are: the old master key is kept; "
             "see job show %u",
             j->damaged, j->job->id);
    return false;
}

static bool after_master_end(struct store_job *j)
{
    gw_keyring_master_settle(j->control->env->keys);
    return true;
}

/* Another account may have been deleted meanwhile: then its note stays for the next erasure. */
static bool after_erase(struct store_job *j)
{
    if (j->note_there &&
        accounts_erasure_done(&j->control->accounts, j->note_version) == 0)
        j->note_there = false;
    return true;
}

static bool before_erase(struct store_job *j)
{
    int rc = accounts_erasure_noted(&j->control->accounts, &j->note_version);
    j->note_there = rc == 0;
    if (rc == 0 || rc == -ENOENT)
        return true;
    job_fail(jobs_of(j), j->job, "the store failed: %s", strerror(-rc));
    return false;
}

static bool after_backup(struct store_job *j)
{
    struct jobs *jobs = jobs_of(j);
    pthread_mutex_lock(&jobs->lock);
    j->backup_id = j->op.done.seq;
    j->backup_bytes = j->op.done.durable_us;
    j->backup_count = j->op.done.len;
    pthread_mutex_unlock(&jobs->lock);
    return true;
}

static bool begin_walk(struct store_job *j)
{
    uint32_t incarnation = j->walk.incarnation;
    j->earlier = j->looked_at;
    j->walk = (struct gw_walk){.incarnation = incarnation};
    return true;
}

/* What the walk has seen in use stays. */
static bool keep_walk(struct store_job *j)
{
    j->walk.ended = false;
    return true;
}

#define COUNT_STAGE {.note = "counting", .before = before_stats, .after = after_stats}

static const struct stage master_stages[] = {
    COUNT_STAGE,
    {.note = "wrapping keys", .op = GW_STORE_ROTATE, .from = GW_ROTATE_MASTER, .walk = true,
     .before = before_master},
    {.note = "destroying what the old one wrapped", .op = GW_STORE_ERASE,
     .before = before_master_end, .after = after_master_end},
    {0},
};

static const struct stage accounts_stages[] = {
    COUNT_STAGE,
    {.note = "sealing messages under new keys", .op = GW_STORE_ROTATE,
     .from = GW_ROTATE_ACCOUNTS, .walk = true},
    {.note = "destroying the old keys", .op = GW_STORE_ERASE},
    {0},
};

static const struct stage incarnation_stages[] = {
    COUNT_STAGE,
    {.note = "drawing a key", .op = GW_STORE_ROTATE, .from = GW_ROTATE_INCARNATION, .walk = true},
    {.note = "sealing small records under it", .op = GW_STORE_ROTATE, .from = GW_ROTATE_SMALL,
     .walk = true, .before = begin_walk},
    {.note = "waiting for the log to be spilled", .op = GW_STORE_SPILL},
    /* Once more: what was sealed under the old key and on its way when the log was turned over is on
     * the disk by the next time that is done, however slow the disk is, and is then looked at. */
    {.note = "waiting for what was on its way", .op = GW_STORE_SPILL},
    {.note = "looking for keys in use", .op = GW_STORE_VERIFY, .walk = true, .heads_only = true,
     .before = begin_walk},
    {.note = "retiring the others", .op = GW_STORE_ROTATE, .from = GW_ROTATE_RETIRE, .walk = true,
     .before = keep_walk},
    {.note = "destroying them", .op = GW_STORE_ERASE},
    {0},
};

static const struct stage verify_stages[] = {
    COUNT_STAGE,
    {.note = "opening records", .op = GW_STORE_VERIFY, .walk = true},
    {.note = "naming the accounts of damaged mailboxes", .before = before_names,
     .after = after_names},
    {0},
};

static const struct stage backup_stages[] = {
    {.note = "spilling the log, copying what has changed", .op = GW_STORE_BACKUP,
     .after = after_backup},
    {0},
};

static const struct stage erase_stages[] = {
    {.note = "spilling the log, compacting keys", .op = GW_STORE_ERASE, .before = before_erase,
     .after = after_erase},
    {0},
};

_Static_assert(sizeof(incarnation_stages) / sizeof(struct stage) <= STAGES_MAX, "stages");

static const struct stage *const stages_of[] = {
    [STORE_JOB_MASTER] = master_stages,           [STORE_JOB_ACCOUNTS] = accounts_stages,
    [STORE_JOB_INCARNATION] = incarnation_stages, [STORE_JOB_VERIFY] = verify_stages,
    [STORE_JOB_BACKUP] = backup_stages,           [STORE_JOB_ERASE] = erase_stages,
};

/* ---- stepping ---- */

static const struct stage *current(const struct store_job *j)
{
    return &j->stages[j->stage];
}

/* Nothing is damaged: nothing is to be named. */
static bool is_needless(const struct store_job *j, const struct stage *s)
{
    return s->before == before_names && j->damaged == 0;
}

/* False when the job has ended. */
static bool enter_stage(struct store_job *j)
{
    const struct stage *s = current(j);
    job_note(jobs_of(j), j->job, "%s", s->note);
    if (s->op != 0)
        j->op.rq = (struct gw_store_request){.op = s->op, .from = s->from};
    if (s->before != NULL && !s->before(j))
        return false;
    if (s->walk) {
        j->walk.heads_only = s->heads_only;
        j->op.rq.data = &j->walk;
        j->op.rq.data_len = sizeof(j->walk);
    }
    if (s->op == GW_STORE_BACKUP)
        j->op.rq.from = j->control->env->config->backup_keep;
    return true;
}

static void submit(struct store_job *j)
{
    j->submitted = true;
    store_ops_start(j->control->accounts.ops, &j->op);
}

static void finish_note(struct store_job *j)
{
    struct jobs *jobs = jobs_of(j);
    j->succeeded = true;
    atomic_store(&j->job->total, atomic_load(&j->job->total) > 0 ? atomic_load(&j->job->total) : 1);
    atomic_store(&j->job->done, atomic_load(&j->job->total));
    if (j->kind == STORE_JOB_BACKUP)
        job_note(jobs, j->job,
                 "backup %" PRIu64 " has %" PRIu64 " bytes with what it shares; %" PRIu64
                 " are kept", j->backup_id, j->backup_bytes, j->backup_count);
    else if (j->kind == STORE_JOB_ERASE)
        job_note(jobs, j->job, "the keys of deleted accounts are gone from the disk");
    else if (j->kind == STORE_JOB_VERIFY)
        job_note(jobs, j->job, "%" PRIu64 " records looked at, %" PRIu64 " do not open",
                 j->looked_at, j->damaged);
    else
        job_note(jobs, j->job, "%" PRIu64 " keys or records changed, %" PRIu64 " do not open",
                 j->changed, j->damaged);
}

static enum job_step next_stage(struct store_job *j)
{
    do
        j->stage++;
    while (current(j)->note != NULL && is_needless(j, current(j)));
    if (current(j)->note == NULL) {
        finish_note(j);
        return JOB_DONE;
    }
    if (!enter_stage(j))
        return JOB_DONE;
    submit(j);
    return JOB_WAIT;
}

static enum job_step failed(struct store_job *j, int rc)
{
    j->rc = rc;
    if (rc == -ENOTSUP)
        job_fail(jobs_of(j), j->job, "this store has none: store.backup_path is not set, or its "
                                     "engine keeps nothing");
    else
        job_fail(jobs_of(j), j->job, "%s: the store failed: %s", current(j)->note, strerror(-rc));
    return JOB_DONE;
}

/* The request has come back. */
static enum job_step take_result(struct store_job *j)
{
    const struct stage *s = current(j);
    int rc = j->op.done.status;
    j->submitted = false;
    if (s->walk && rc == 0)
        take_slice(j);
    if (rc == -EBUSY) { /* another job's: when that is done something finishes */
        submit(j);
        return JOB_WAIT;
    }
    if (rc != 0)
        return failed(j, rc);
    if (job_is_cancelled(j->job))
        return JOB_DONE;
    if (s->walk && !j->walk.ended) {
        submit(j);
        return JOB_WAIT;
    }
    if (s->after != NULL && !s->after(j)) {
        if (!enter_stage(j))
            return JOB_DONE;
        submit(j);
        return JOB_WAIT;
    }
    return next_stage(j);
}

static enum job_step store_job_step(struct job *job, void *ctx)
{
    struct store_job *j = ctx;
    j->job = job;
    if (j->submitted)
        return j->op.pending ? JOB_WAIT : take_result(j);
    if (job_is_cancelled(job) || !enter_stage(j))
        return JOB_DONE;
    submit(j);
    return JOB_WAIT;
}

/* ---- what operators see ---- */

static void store_job_finished(struct job *job, void *ctx)
{
    struct store_job *j = ctx;
    struct control *c = j->control;
    struct store_job_record *r = &c->store_jobs[j->kind];
    r->running = false;
    if (j->succeeded)
        r->ended_us = clock_wall_us();
    r->failures += job->failed;
    if (j->kind == STORE_JOB_ERASE)
        c->erase_at_us = j->succeeded && !j->note_there ? UINT64_MAX
                         : j->succeeded                 ? c->now_us + ERASE_DELAY_US
                                                        : c->now_us + ERASE_RETRY_US;
}

static void store_job_describe(struct job *job, void *ctx, json_t *into)
{
    struct store_job *j = ctx;
    struct jobs *jobs = jobs_of(j);
    pthread_mutex_lock(&jobs->lock);
    json_object_set_new(into, "errors", json_integer((json_int_t)j->damaged));
    if (j->kind == STORE_JOB_BACKUP) {
        json_object_set_new(into, "backup", json_integer((json_int_t)j->backup_id));
        json_object_set_new(into, "bytes", json_integer((json_int_t)j->backup_bytes));
        json_object_set_new(into, "backups", json_integer((json_int_t)j->backup_count));
    } else {
        json_object_set_new(into, "looked_at", json_integer((json_int_t)j->looked_at));
        json_object_set_new(into, "changed", json_integer((json_int_t)j->changed));
    }
    pthread_mutex_unlock(&jobs->lock);
}

static json_t *describe_damage(const struct damage *d)
{
    json_t *o = json_pack("{s:s, s:I}", "error", d->found.what, "position",
                          (json_int_t)d->found.position);
    if (o == NULL) /* a name that is no UTF-8 */
        o = json_pack("{s:s}", "error", "a record whose name cannot be shown does not open");
    if (d->account != NULL)
        json_object_set_new(o, "account", json_string(d->account));
    if (is_mailbox(&d->found.mailbox)) {
        char text[33];
        for (unsigned i = 0; i < 16; i++)
            snprintf(text + 2 * i, 3, "%02x", d->found.mailbox.b[i]);
        json_object_set_new(o, "mailbox", json_string(text));
    }
    return o;
}

static json_t *store_job_complaints(struct job *job, uint64_t from)
{
    struct store_job *j = job->ctx;
    struct jobs *jobs = jobs_of(j);
    json_t *all = json_array();
    pthread_mutex_lock(&jobs->lock);
    for (uint64_t i = from; i < j->damage_count && i < from + DAMAGES_A_REPLY; i++)
        json_array_append_new(all, describe_damage(&j->damages[i]));
    pthread_mutex_unlock(&jobs->lock);
    return all;
}

static void store_job_free(void *ctx)
{
    struct store_job *j = ctx;
    for (size_t i = 0; i < j->damage_count; i++)
        free(j->damages[i].account);
    free(j->damages);
    free(j->scan);
    free(j);
}

#define JOB_TYPE(name_)                                                                            \
    {.name = name_, .step = store_job_step, .finished = store_job_finished,                        \
     .describe = store_job_describe, .complaints = store_job_complaints, .free = store_job_free}

static const struct job_type types[] = {
#define X(upper, name, what) JOB_TYPE(name),
    STORE_JOBS(X)
#undef X
};

const char *store_job_name(enum store_job_kind kind)
{
    return types[kind].name;
}

struct job *store_job_start(struct control *c, enum store_job_kind kind)
{
    struct store_job_record *r = &c->store_jobs[kind];
    if (r->running)
        return NULL;
    struct store_job *j = calloc(1, sizeof(*j));
    check(j != NULL);
    j->control = c;
    j->kind = kind;
    j->stages = stages_of[kind];
    r->running = true;
    return jobs_start(&c->jobs, &types[kind], j);
}

/* ---- deleted accounts ---- */

void store_jobs_erase_soon(struct control *c)
{
    if (c->erase_at_us == UINT64_MAX)
        c->erase_at_us = clock_steady_us() + ERASE_DELAY_US;
}

void store_jobs_work(struct control *c)
{
    if (c->stopping)
        return;
    if (c->now_us >= c->erase_at_us)
        store_job_start(c, STORE_JOB_ERASE);
    if (c->now_us >= c->incarnation_at_us) {
        c->incarnation_at_us = c->now_us + (uint64_t)c->env->config->incarnation_age_s * 1000000;
        store_job_start(c, STORE_JOB_INCARNATION);
    }
}
