/* SPDX-License-Identifier: Apache-2.0 */
#include "import.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "../dataplane/base/check.h"
#include "clock.h"
#include "import_line.h"

#define WRITES_MAX      512    /* under way at once */
#define STEP_US         4000   /* other jobs come in between */
#define ERRORS_MAX      100000 /* kept with line and reason; further ones are counted */
#define ERRORS_A_REPLY  500
#define READ_BYTES      (64u << 10)

/* One account on its way into the store: a write that expects none; when there is one and it is to be
 * replaced, a read and a write that expects what was read. */
struct slot {
    struct store_op op;
    struct import *import;
    uint32_t line;
    char *jid;
    uint16_t jid_len;
    struct gw_account account;
    struct gw_identity identity;
    uint8_t sealed[ACCOUNT_SEALED_BYTES_MAX];
    struct slot *next;
};

struct complaint {
    uint32_t line;
    char *text;
};

struct import {
    struct accounts *accounts;
    struct jobs *jobs;
    struct job *job;
    const struct gw_config *config;
    int fd;
    bool replace, at_end, read_failed;
    char *buf;
    size_t buf_off, buf_len;
    bool skipping; /* a line that is too long, up to its end */
    uint32_t line;
    struct import_line parsed;
    struct slot *slots, *idle;
    unsigned busy_count;
    uint64_t started_us, noted_us, derived, derive_us;
    int store_rc; /* the store's first failure: nothing further is tried */
    /* under jobs->lock */
    uint64_t created, replaced, skipped, failed;
    struct complaint *complaints;
    uint64_t complaint_count, complaint_cap;
};

struct import *import_new(struct accounts *a, const struct gw_config *config,
                          struct jobs *jobs, int fd, bool replace, const char **err)
{
    struct stat st;
    *err = "the descriptor is not a regular file";
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return NULL;
    *err = "the file cannot be read";
    if (lseek(fd, 0, SEEK_SET) != 0)
        return NULL;
    struct import *im = calloc(1, sizeof(*im));
    check(im != NULL);
    *im = (struct import){.accounts = a, .jobs = jobs, .config = config, .fd = fd,
                          .replace = replace};
    return im;
}

static void import_free(void *ctx)
{
    struct import *im = ctx;
    check(im->slots == NULL);
    for (uint64_t i = 0; i < im->complaint_count; i++)
        free(im->complaints[i].text);
    free(im->complaints);
    close(im->fd);
    free(im);
}

/* ---- counting and complaining ---- */

static void count(struct import *im, uint64_t *field)
{
    pthread_mutex_lock(&im->jobs->lock);
    (*field)++;
    pthread_mutex_unlock(&im->jobs->lock);
}

static void grow_complaints(struct import *im)
{
    if (im->complaint_count < im->complaint_cap)
        return;
    im->complaint_cap = im->complaint_cap == 0 ? 64 : 2 * im->complaint_cap;
    im->complaints = realloc(im->complaints, im->complaint_cap * sizeof(*im->complaints));
    check(im->complaints != NULL);
}

static void complain(struct import *im, uint32_t line, const char *what)
{
    pthread_mutex_lock(&im->jobs->lock);
    im->failed++;
    if (im->complaint_count < ERRORS_MAX) {
        grow_complaints(im);
        char *text = strdup(what);
        check(text != NULL);
        im->complaints[im->complaint_count++] = (struct complaint){.line = line, .text = text};
    }
    pthread_mutex_unlock(&im->jobs->lock);
}

static json_t *import_complaints(struct job *job, uint64_t from)
{
    struct import *im = job->ctx;
    json_t *all = json_array();
    pthread_mutex_lock(&im->jobs->lock);
    for (uint64_t i = from; i < im->complaint_count && i < from + ERRORS_A_REPLY; i++)
        json_array_append_new(all, json_pack("{s:I, s:s}", "line",
                                             (json_int_t)im->complaints[i].line, "error",
                                             im->complaints[i].text));
    pthread_mutex_unlock(&im->jobs->lock);
    return all;
}

static void import_describe(struct job *job, void *ctx, json_t *into)
{
    struct import *im = ctx;
    pthread_mutex_lock(&im->jobs->lock);
    json_t *counts = json_pack("{s:I, s:I, s:I, s:I}", "created", (json_int_t)im->created, "replaced",
                               (json_int_t)im->replaced, "skipped", (json_int_t)im->skipped,
                               "errors", (json_int_t)im->failed);
    pthread_mutex_unlock(&im->jobs->lock);
    json_object_update_new(into, counts);
}

/* ---- writing ---- */

static struct gw_bytes key_of(const struct slot *s)
{
    return gw_bytes(s->jid, s->jid_len);
}

static void slot_end(struct slot *s)
{
    struct import *im = s->import;
    account_wipe(&s->account);
    free(s->jid);
    s->jid = NULL;
    s->next = im->idle;
    im->idle = s;
    im->busy_count--;
}

static void store_failed(struct slot *s, int rc)
{
    struct import *im = s->import;
    char what[128];
    if (im->store_rc == 0)
        im->store_rc = rc;
    snprintf(what, sizeof(what), "the store failed: %s", strerror(-rc));
    complain(im, s->line, what);
    slot_end(s);
}

static void write_account(struct slot *s, uint64_t expect, void (*finished)(struct store_op *))
{
    struct gw_bytes jid = key_of(s);
    size_t len = accounts_seal(s->import->accounts, jid, &s->account, s->sealed);
    s->identity = gw_identity_of(s->account.identity_key);
    s->op = (struct store_op){.rq = {.op = GW_STORE_CAS, .ns = GW_NS_ACCOUNT, .key = jid.p,
                                     .key_len = (uint16_t)jid.len, .data = s->sealed,
                                     .data_len = (uint32_t)len, .from = expect,
                                     .identity = &s->identity},
                              .finished = finished};
    store_ops_start(s->import->accounts->ops, &s->op);
}

static void read_old(struct slot *s);

static void replaced(struct store_op *op)
{
    struct slot *s = (struct slot *)op;
    if (op->done.status == 0) {
        count(s->import, &s->import->replaced);
        slot_end(s);
    } else if (op->done.status == -ESTALE) {
        read_old(s); /* somebody else was faster: ours is the later one */
    } else {
        store_failed(s, op->done.status);
    }
}

static void old_read(struct store_op *op)
{
    struct slot *s = (struct slot *)op;
    struct gw_account old;
    if (op->done.status == 0 &&
        accounts_open_sealed(s->import->accounts, key_of(s), s->sealed, op->done.len,
                             &old) != 0) {
        complain(s->import, s->line, "the account that exists cannot be read: delete it first");
        slot_end(s);
    } else if (op->done.status == 0) {
        /* Who it is stays: only what it logs in with changes. */
        memcpy(s->account.identity_key, old.identity_key, sizeof(old.identity_key));
        s->account.created_us = old.created_us;
        s->account.messages_max = old.messages_max;
        s->account.bytes_max = old.bytes_max;
        account_wipe(&old);
        write_account(s, op->done.seq, replaced);
    } else if (op->done.status == -ENOENT) {
        complain(s->import, s->line, "the account was deleted while it was being replaced");
        slot_end(s);
    } else {
        store_failed(s, op->done.status);
    }
}

static void read_old(struct slot *s)
{
    struct gw_bytes jid = key_of(s);
    s->op = (struct store_op){.rq = {.op = GW_STORE_GET, .ns = GW_NS_ACCOUNT, .key = jid.p,
                                     .key_len = (uint16_t)jid.len, .data = s->sealed,
                                     .data_len = sizeof(s->sealed)},
                              .finished = old_read};
    store_ops_start(s->import->accounts->ops, &s->op);
}

static void created(struct store_op *op)
{
    struct slot *s = (struct slot *)op;
    struct import *im = s->import;
    if (op->done.status == -EEXIST && im->replace) {
        read_old(s);
        return;
    }
    if (op->done.status == 0 || op->done.status == -EEXIST) {
        count(im, op->done.status == 0 ? &im->created : &im->skipped);
        slot_end(s);
    } else {
        store_failed(s, op->done.status);
    }
}

static int fill_keys(struct import *im, struct gw_account *account)
{
    if (!im->parsed.has_password) {
        memcpy(account->scram, im->parsed.scram, sizeof(account->scram));
        return 0;
    }
    uint64_t start_us = clock_steady_us();
    int rc = accounts_derive(im->accounts, account, &im->parsed.password);
    password_wipe(&im->parsed.password);
    im->derive_us += clock_steady_us() - start_us;
    im->derived++;
    return rc;
}

static void take_account(struct import *im)
{
    struct slot *s = im->idle;
    check(s != NULL);
    if (accounts_is_being_deleted(im->accounts, gw_jid_bare(&im->parsed.jid))) {
        complain(im, im->line, "an account of this name is being deleted");
        return;
    }
    account_init(&s->account);
    if (fill_keys(im, &s->account) != 0) {
        complain(im, im->line, "its keys could not be derived");
        return;
    }
    im->idle = s->next;
    im->busy_count++;
    s->jid = strndup(im->parsed.jid.text, im->parsed.jid.bare_len);
    s->jid_len = im->parsed.jid.bare_len;
    check(s->jid != NULL);
    s->line = im->line;
    write_account(s, 0, created);
}

/* ---- reading ---- */

static void refill(struct import *im)
{
    size_t left = im->buf_len - im->buf_off;
    memmove(im->buf, im->buf + im->buf_off, left);
    im->buf_off = 0;
    im->buf_len = left;
    ssize_t n;
    do
        n = read(im->fd, im->buf + left, READ_BYTES - left);
    while (n < 0 && errno == EINTR);
    im->read_failed = n < 0;
    im->at_end = n <= 0;
    if (n > 0) {
        im->buf_len += (size_t)n;
        atomic_fetch_add(&im->job->done, (uint64_t)n);
    }
}

static void take_line(struct import *im, struct gw_bytes text)
{
    char err[160];
    im->line++;
    if (text.len > 0 && text.p[text.len - 1] == '\r')
        text.len--;
    if (im->skipping || text.len > IMPORT_LINE_BYTES_MAX) {
        complain(im, im->line, "the line is longer than 8192 bytes");
        im->skipping = false;
        return;
    }
    int rc = import_line_parse(text, im->config, &im->parsed, err);
    if (rc < 0)
        complain(im, im->line, err);
    else if (rc == 1)
        take_account(im);
}

/* False when the file is at its end. */
static bool next_line(struct import *im)
{
    char *start = im->buf + im->buf_off, *newline;
    size_t left = im->buf_len - im->buf_off;
    newline = left > 0 ? memchr(start, '\n', left) : NULL;
    if (newline == NULL && !im->at_end) {
        if (left > IMPORT_LINE_BYTES_MAX + 1) {
            im->skipping = true;
            im->buf_off = im->buf_len;
        }
        refill(im);
        return true;
    }
    if (left == 0 && !im->skipping)
        return false;
    size_t len = newline != NULL ? (size_t)(newline - start) : left;
    im->buf_off += len + (newline != NULL);
    take_line(im, gw_bytes(start, len));
    return true;
}

/* ---- the job ---- */

static void note_progress(struct import *im, uint64_t now_us)
{
    double seconds = (double)(now_us - im->started_us) / 1e6;
    double rate = seconds > 0 ? im->line / seconds : 0;
    im->noted_us = now_us;
    if (im->derived == 0)
        job_note(im->jobs, im->job, "line %u, %.0f lines/s", im->line, rate);
    else
        job_note(im->jobs, im->job, "line %u, %.0f lines/s; a password's keys take %.2f ms (%.0f/s)",
                 im->line, rate, (double)im->derive_us / 1e3 / (double)im->derived,
                 im->derive_us > 0 ? 1e6 * (double)im->derived / (double)im->derive_us : 0);
}

static void begin(struct import *im, struct job *job)
{
    struct stat st;
    im->job = job;
    im->started_us = clock_steady_us();
    im->buf = malloc(READ_BYTES);
    im->slots = calloc(WRITES_MAX, sizeof(*im->slots));
    check(im->buf != NULL && im->slots != NULL);
    for (unsigned i = 0; i < WRITES_MAX; i++) {
        im->slots[i].import = im;
        im->slots[i].next = im->idle;
        im->idle = &im->slots[i];
    }
    if (fstat(im->fd, &st) == 0)
        atomic_store(&job->total, (uint64_t)st.st_size);
}

/* All that passed through it but the complaints. Here, on the job thread: it takes its time. */
static void wipe(struct import *im)
{
    OPENSSL_cleanse(im->buf, READ_BYTES);
    OPENSSL_cleanse(&im->parsed, sizeof(im->parsed));
    OPENSSL_cleanse(im->slots, WRITES_MAX * sizeof(*im->slots));
    free(im->buf);
    free(im->slots);
    im->buf = NULL;
    im->slots = im->idle = NULL;
}

static enum job_step end(struct import *im)
{
    if (im->busy_count > 0)
        return JOB_WAIT;
    note_progress(im, clock_steady_us());
    if (im->store_rc != 0)
        job_fail(im->jobs, im->job, "the store failed: %s", strerror(-im->store_rc));
    else if (im->read_failed)
        job_fail(im->jobs, im->job, "the file could not be read to its end, only to line %u",
                 im->line);
    wipe(im);
    return JOB_DONE;
}

static enum job_step import_step(struct job *job, void *ctx)
{
    struct import *im = ctx;
    if (im->job == NULL)
        begin(im, job);
    uint64_t now_us = clock_steady_us(), until_us = now_us + STEP_US;
    if (now_us - im->noted_us > 100000)
        note_progress(im, now_us);
    bool more = true;
    while (more && im->idle != NULL && now_us < until_us) {
        if (im->store_rc != 0 || job_is_cancelled(job))
            return end(im);
        more = next_line(im);
        now_us = clock_steady_us();
    }
    if (!more)
        return end(im);
    return im->idle == NULL ? JOB_WAIT : JOB_MORE;
}

const struct job_type import_job_type = {
    .name = "user.import", .step = import_step, .describe = import_describe,
    .complaints = import_complaints, .free = import_free};
