/* SPDX-License-Identifier: Apache-2.0 */
#include "expiry.h"
#include "store.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "store_int.h"
#include "walk.h"

/* How long the storage thread sleeps at most: it also looks for segments to spill. */
#define IDLE_SLEEP_US_MAX 100000

uint64_t store_now_us(const struct gw_store *s)
{
    if (s->cfg.clock_us != NULL)
        return s->cfg.clock_us(s->cfg.clock_arg);
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void report_to_stderr(void *arg, const char *line)
{
    fprintf(stderr, "store: %s\n", line);
}

void store_report(const struct gw_store *s, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    s->cfg.report(s->cfg.report_arg, line);
}

void store_fail(struct gw_store *s, const char *what, int err)
{
    atomic_store(&s->closed, true);
    if (atomic_exchange(&s->failed, true))
        return;
    atomic_store(&s->error, err);
    store_report(s, "%s failed: %s; the store takes nothing more until it is opened anew", what,
                 strerror(-err));
}

uint8_t *store_scratch(struct gw_store *s, size_t len)
{
    if (len > s->scratch_cap) {
        free(s->scratch);
        s->scratch_cap = len * 2;
        s->scratch = malloc(s->scratch_cap);
        check(s->scratch != NULL);
    }
    return s->scratch;
}

/* ---- the storage thread ---- */

void store_complete(struct gw_store_client *c, const struct gw_store_completion *done)
{
    /* The client's credit for the request is its room for the completion. */
    check(gw_ring_push(c->storage_done, done));
    c->completed = true;
}

/* What is to be written, by the writer. */
static bool is_change(const struct gw_store_request *r)
{
    return r->op == GW_STORE_CAS || r->op == GW_STORE_DROP_MAILBOX || r->op == GW_STORE_TRIM_EVENTS;
}

/* Some of what a client asks for. */
static unsigned pop_some(struct gw_store *s, struct gw_store_client *c)
{
    struct gw_store_request r[PASS_TURN];
    unsigned room = PASS_READS_MAX - s->popped_count;
    unsigned n = gw_ring_pop(c->storage_requests, r, room < PASS_TURN ? room : PASS_TURN);
    for (unsigned i = 0; i < n; i++) {
        if (is_change(&r[i]))
            s->changes[s->changes_count++] = (struct popped){c, r[i]};
        else
            s->popped[s->popped_count++] = (struct popped){c, r[i]};
    }
    return n;
}

/* Each client in turn, and few reads in a pass: who asks for little waits for so many at most, however
 * much others ask for. What is to be written is taken as it comes, for it shares one sync. */
static void pop_requests(struct gw_store *s)
{
    unsigned n;
    do {
        n = 0;
        for (unsigned i = 0; i < s->cfg.client_count; i++)
            n += pop_some(s, &s->clients[i]);
    } while (n > 0 && s->popped_count < PASS_READS_MAX);
}

/* ---- requests to write ---- */

bool rotate_waits(const struct gw_store *s)
{
    return s->rotate_held.client != NULL;
}

static void complete_change(const struct popped *p, int status)
{
    struct gw_store_completion done = {.op = p->r.op, .tag = p->r.tag, .status = status};
    store_complete(p->client, &done);
}

/* False: there is no room for it now. */
static bool begin_change(struct gw_store *s, const struct popped *p)
{
    if (writer_room(s) <= WRITES_OWN)
        return false;
    bool drop = p->r.op == GW_STORE_DROP_MAILBOX;
    struct write *w = writer_begin(s, drop ? "dropping a mailbox" : "trimming events");
    w->client = p->client;
    w->request = p->r;
    int rc = drop ? mailbox_drop(s, w) : events_trim(s, w);
    if (rc == 1)
        writer_submit(s, w);
    else
        complete_change(p, rc);
    return true;
}

/* What waits to be written: all CAS that there are, when the group before them is written; the others
 * one by one. A rotation that only waits for the writer goes first. */
static unsigned begin_changes(struct gw_store *s)
{
    if (s->changes_count == 0 || (rotate_waits(s) && s->spill.phase == SPILL_IDLE))
        return 0;
    struct cas_group *g = &s->cas_group;
    bool may_cas = small_may_begin(s);
    unsigned kept = 0, all = s->changes_count;
    for (unsigned i = 0; i < all; i++) {
        struct popped *p = &s->changes[i];
        bool taken;
        if (p->r.op != GW_STORE_CAS)
            taken = begin_change(s, p);
        else if ((taken = may_cas && g->count < PASS_REQUESTS_MAX))
            g->asked[g->count++] = *p;
        if (!taken)
            s->changes[kept++] = *p;
    }
    s->changes_count = kept;
    if (may_cas && g->count > 0)
        small_begin(s);
    return all - kept;
}

unsigned store_refuse_changes(struct gw_store *s)
{
    unsigned kept = 0, all = s->changes_count;
    for (unsigned i = 0; i < all; i++) {
        struct popped *p = &s->changes[i];
        if (atomic_load(&p->client->patient))
            s->changes[kept++] = *p;
        else
            complete_change(p, -EIO);
    }
    s->changes_count = kept;
    return all - kept;
}

/* ---- rotation ---- */

/* One request at a time waits for its turn. */
static void rotate_later(struct gw_store *s, const struct popped *p)
{
    if (!rotate_waits(s))
        s->rotate_held = *p;
    else
        complete_change(p, -EBUSY);
}

static unsigned rotate_waiting(struct gw_store *s)
{
    struct popped p = s->rotate_held;
    if (p.client == NULL || rotate_must_wait(s))
        return 0;
    struct gw_store_completion done = {.op = p.r.op, .tag = p.r.tag};
    s->rotate_held.client = NULL;
    rotate_some(s, &p.r, &done);
    store_complete(p.client, &done);
    return 1;
}

static void serve_one(struct gw_store *s, const struct popped *p)
{
    struct gw_store_completion done = {.op = p->r.op, .tag = p->r.tag};
    switch (p->r.op) {
    case GW_STORE_READ:
        mailbox_read(s, &p->r, &done);
        break;
    case GW_STORE_MAILBOX:
        mailbox_state(s, &p->r, &done);
        break;
    case GW_STORE_COUNT:
        mailbox_count(s, &p->r, &done);
        break;
    case GW_STORE_EXPIRED:
        expiry_some(s, &p->r, &done);
        break;
    case GW_STORE_GET:
        small_get(s, &p->r, &done);
        break;
    case GW_STORE_SCAN:
        small_scan(s, &p->r, &done);
        break;
    case GW_STORE_SCAN_EVENTS:
        events_scan(s, &p->r, &done);
        break;
    case GW_STORE_STATS:
        store_stats(s, &p->r, &done);
        break;
    case GW_STORE_ROTATE:
        if (rotate_must_wait(s)) {
            rotate_later(s, p);
            return;
        }
        rotate_some(s, &p->r, &done);
        break;
    case GW_STORE_VERIFY:
        verify_some(s, &p->r, &done);
        break;
    case GW_STORE_SPILL:
    case GW_STORE_ERASE:
    case GW_STORE_BACKUP:
        upkeep_begin(s, p->client, &p->r);
        return;
    default:
        check(false);
    }
    store_complete(p->client, &done);
}

void store_wake_completed(struct gw_store *s)
{
    for (unsigned i = 0; i < s->cfg.client_count; i++) {
        if (!s->clients[i].completed)
            continue;
        s->clients[i].completed = false;
        wake_up(&s->clients[i].wake);
    }
}

static void serve_popped(struct gw_store *s)
{
    for (unsigned i = 0; i < s->popped_count; i++)
        serve_one(s, &s->popped[i]);
    s->popped_count = 0;
}

/* Requests are taken before segments are indexed: a client submits a READ only after its APPEND was
 * complete, and the segment was handed over before that. So every READ finds what it must see. Nothing
 * here waits for a write, but for a slice of a rotation. */
unsigned store_storage_pass(struct gw_store *s)
{
    uint64_t now_us = store_now_us(s);
    if (atomic_load_explicit(&s->closed, memory_order_acquire))
        return reopen_pass(s, now_us);
    uint64_t asked = atomic_load_explicit(&s->writer.asked, memory_order_relaxed);
    unsigned work = writer_finish(s);
    reserve_check(s, now_us);
    pop_requests(s);
    work += s->popped_count + index_handover(s, now_us);
    if (atomic_load(&s->failed))
        return 1;
    writer_prepare_log(s);
    serve_popped(s);
    work += rotate_waiting(s);
    work += begin_changes(s);
    work += upkeep_pass(s);
    store_wake_completed(s);
    work += spill_pass(s, now_us);
    if (!s->cfg.own_thread)
        work += writer_write_until(s, asked);
    atomic_store_explicit(&s->window_messages, s->window.message_count, memory_order_relaxed);
    return work;
}

static bool storage_has_work(const struct gw_store *s)
{
    if (atomic_load(&s->closed))
        return atomic_load(&s->stop) || reopen_has_work(s);
    if (gw_ring_count(s->handover) > 0 || atomic_load(&s->spill.done) || atomic_load(&s->stop) ||
        writer_has_work(s) || upkeep_has_work(s))
        return true;
    for (unsigned i = 0; i < s->cfg.client_count; i++)
        if (gw_ring_count(s->clients[i].storage_requests) > 0)
            return true;
    return false;
}

static void storage_sleep(struct gw_store *s)
{
    wake_arm(&s->storage_wake);
    if (storage_has_work(s)) {
        wake_disarm(&s->storage_wake);
        return;
    }
    uint64_t now_us = store_now_us(s);
    uint64_t us = atomic_load(&s->closed) ? reopen_due_us(s, now_us) : spill_due_us(s, now_us);
    wake_sleep(&s->storage_wake, us < IDLE_SLEEP_US_MAX ? us : IDLE_SLEEP_US_MAX);
}

static void *storage_main(void *arg)
{
    struct gw_store *s = arg;
    while (!atomic_load(&s->stop))
        if (store_storage_pass(s) == 0)
            storage_sleep(s);
    return NULL;
}

unsigned gw_store_storage_poll(struct gw_store *s)
{
    check(!s->thread_runs);
    return store_storage_pass(s);
}

/* ---- clients ---- */

struct gw_store_client *gw_store_client(struct gw_store *s, unsigned index)
{
    check(index < s->cfg.client_count);
    return &s->clients[index];
}

int gw_store_submit(struct gw_store_client *c, const struct gw_store_request *r)
{
    struct gw_store *s = c->store;
    check(r->key_len <= GW_STORE_KEY_BYTES_MAX && r->op != 0 && r->op < GW_STORE_NOTE);
    bool append = r->op == GW_STORE_APPEND;
    uint32_t *out = append ? &c->appends_out : &c->requests_out;
    if (*out == s->cfg.requests_max)
        return -EAGAIN;
    check(gw_ring_push(append ? c->append_requests : c->storage_requests, r));
    (*out)++;
    wake_up(append ? &s->commit_wake : &s->storage_wake);
    return 0;
}

static bool take_note(struct gw_store_client *c, struct gw_store_completion *out)
{
    if (!atomic_load_explicit(&c->follows, memory_order_relaxed))
        return false;
    uint64_t note = atomic_load_explicit(&c->note, memory_order_acquire);
    if (note == c->note_seen)
        return false;
    c->note_seen = note;
    *out = (struct gw_store_completion){.op = GW_STORE_NOTE, .seq = note};
    return true;
}

static unsigned pop_completions(struct gw_store_client *c, struct gw_store_completion *out,
                                unsigned max)
{
    unsigned n = gw_ring_pop(c->append_done, out, max);
    c->appends_out -= n;
    if (n < max) {
        unsigned k = gw_ring_pop(c->storage_done, out + n, max - n);
        c->requests_out -= k;
        n += k;
    }
    if (n < max && take_note(c, out + n))
        n++;
    return n;
}

unsigned gw_store_poll(struct gw_store_client *c, struct gw_store_completion *out, unsigned max)
{
    if (!c->sleeps)
        return pop_completions(c, out, max);
    /* While completions are left the fd stays readable; when none are, it is armed again. */
    unsigned n = pop_completions(c, out, max);
    if (n == max)
        return n;
    wake_disarm(&c->wake);
    wake_arm(&c->wake);
    n += pop_completions(c, out + n, max - n);
    if (n == max)
        wake_up(&c->wake);
    return n;
}

static unsigned call_poll(struct gw_store_client *c, const struct gw_store_request *r,
                          struct gw_store_completion *out)
{
    unsigned n;
    /* Notes are only wake-ups: the next event scan finds what they told of. */
    do
        n = gw_store_poll(c, out, 1);
    while (n == 1 && out->op == GW_STORE_NOTE);
    check(n == 0 || (out->op == r->op && out->tag == r->tag));
    return n;
}

int gw_store_call(struct gw_store_client *c, struct gw_store_request *r,
                  struct gw_store_completion *out)
{
    struct gw_store *s = c->store;
    check(c->appends_out == 0 && c->requests_out == 0);
    check(gw_store_submit(c, r) == 0);
    while (call_poll(c, r, out) == 0) {
        if (!s->cfg.own_thread) {
            gw_store_commit_poll(s);
            gw_store_storage_poll(s);
            continue;
        }
        wake_arm(&c->wake);
        if (gw_ring_count(c->append_done) + gw_ring_count(c->storage_done) > 0)
            wake_disarm(&c->wake);
        else
            wake_sleep(&c->wake, IDLE_SLEEP_US_MAX);
    }
    return out->status;
}

int gw_store_client_fd(struct gw_store_client *c)
{
    c->sleeps = true;
    wake_arm(&c->wake);
    /* What is complete already was told to nobody. */
    if (gw_ring_count(c->append_done) + gw_ring_count(c->storage_done) > 0)
        wake_up(&c->wake);
    return c->wake.fd;
}

void gw_store_follow(struct gw_store_client *c)
{
    c->note_seen = atomic_load_explicit(&c->note, memory_order_acquire);
    atomic_store(&c->follows, true);
}

void gw_store_be_patient(struct gw_store_client *c)
{
    atomic_store(&c->patient, true);
}

uint64_t gw_store_number_floor(const struct gw_store_client *c)
{
    uint64_t next = atomic_load_explicit(&c->store->segment_next, memory_order_relaxed);
    /* A commit that fails gives its numbers back. */
    return next > COMMIT_SEGMENTS_MAX ? next - COMMIT_SEGMENTS_MAX : 0;
}

bool gw_store_accepts(const struct gw_store_client *c)
{
    const struct gw_store *s = c->store;
    return !atomic_load_explicit(&s->closed, memory_order_relaxed) &&
           !atomic_load_explicit(&s->low, memory_order_relaxed);
}

/* ---- life ---- */

static void close_client(struct gw_store_client *c)
{
    gw_ring_free(&c->append_requests);
    gw_ring_free(&c->append_done);
    gw_ring_free(&c->storage_requests);
    gw_ring_free(&c->storage_done);
    wake_close(&c->wake);
}

static int open_client(struct gw_store *s, unsigned index)
{
    struct gw_store_client *c = &s->clients[index];
    c->store = s;
    c->index = index;
    uint32_t slots = s->cfg.requests_max;
    int err;
    if ((err = wake_open(&c->wake)) ||
        (err = gw_ring_open(&c->append_requests, "store-append", sizeof(struct gw_store_request),
                            slots)) ||
        (err = gw_ring_open(&c->append_done, "store-appended", sizeof(struct gw_store_completion),
                            slots)) ||
        (err = gw_ring_open(&c->storage_requests, "store-request", sizeof(struct gw_store_request),
                            slots)))
        return err;
    return gw_ring_open(&c->storage_done, "store-done", sizeof(struct gw_store_completion), slots);
}

static int open_rings(struct gw_store *s)
{
    int err =
        gw_ring_open(&s->handover, "store-handover", sizeof(struct window_segment), HANDOVER_SLOTS);
    if (!err)
        err = wake_open(&s->commit_wake);
    if (!err)
        err = wake_open(&s->storage_wake);
    for (unsigned i = 0; i < s->cfg.client_count && !err; i++)
        err = open_client(s, i);
    if (!err && s->cfg.keys != NULL)
        err = vault_hand_open(&s->hand, STORAGE_NONCE_THREAD);
    if (!err)
        err = spill_open(s);
    if (!err)
        err = writer_open(s);
    if (!err)
        err = upkeep_open(s);
    if (!err)
        err = window_open(&s->window, 2 * s->cfg.window_bytes_max);
    return err;
}

static void close_engine(struct gw_store *s)
{
    if (s->batch != NULL) {
        s->ops->batch_free(&s->batch);
        s->ops->batch_free(&s->spill.batch);
        writer_close_batches(s);
    }
    if (s->engine != NULL)
        s->ops->free(&s->engine);
}

static void close_all(struct gw_store *s)
{
    upkeep_close(s);
    spill_close(s);
    writer_close(s);
    close_engine(s);
    for (unsigned i = 0; i < s->cfg.client_count; i++)
        close_client(&s->clients[i]);
    gw_ring_free(&s->handover);
    wake_close(&s->commit_wake);
    wake_close(&s->storage_wake);
    window_close(&s->window);
    vault_hand_close(&s->hand);
    free(s->clients);
    free(s->dropped);
    removals_close(&s->removals);
    free(s->changes);
    free(s->scratch);
    free(s);
}

/* What this thread knows beside the files is forgotten, and learnt from them. */
static void forget_all(struct gw_store *s)
{
    struct window_segment seg;
    while (gw_ring_pop(s->handover, &seg, 1) == 1)
        ; /* it is in the log */
    window_forget(&s->window);
    s->dropped_count = 0;
    removals_forget(&s->removals);
}

int store_open_engine(struct gw_store *s, char err[256])
{
    bool again = s->engine != NULL || atomic_load(&s->closed);
    uint64_t until = again ? atomic_load(&s->segment_next) : 0;
    if (again) {
        close_engine(s);
        forget_all(s);
        atomic_store(&s->failed, false);
    }
    struct gw_engine_options o = {.path = s->cfg.path,
                                  .disk = s->cfg.disk,
                                  .sync = s->cfg.durability == GW_DURABILITY_SYNC,
                                  .again = again,
                                  .window_bytes_max = s->cfg.window_bytes_max,
                                  .report = s->cfg.report,
                                  .report_arg = s->cfg.report_arg};
    int status = s->ops->open(&s->engine, &o, err);
    if (status)
        return status;
    s->batch = s->ops->batch_new(s->engine);
    s->spill.batch = s->ops->batch_new(s->engine);
    writer_open_batches(s);
    status = store_recover(s, until, err);
    if (!status && !again) /* an incarnation is of the process, not of the files */
        status = vault_begin_incarnation(s, err);
    if (status)
        close_engine(s);
    return status;
}

static int start_thread(struct gw_store *s)
{
    if (!s->cfg.own_thread)
        return 0;
    int err = spill_start(s);
    if (!err)
        err = writer_start(s);
    if (!err)
        err = upkeep_start(s);
    if (err)
        return err;
    int e = pthread_create(&s->thread, NULL, storage_main, s);
    s->thread_runs = e == 0;
    if (s->thread_runs)
        pthread_setname_np(s->thread, "gw-storage");
    return -e;
}

/* Threads inherit the affinity of their creator: while the store opens, this thread stands where
 * the storage thread and the engine's own are to run. */
static int open_there(struct gw_store *s, char err[256])
{
    cpu_set_t before, there;
    if (s->cfg.storage_cpu >= 0) {
        CPU_ZERO(&there);
        CPU_SET((unsigned)s->cfg.storage_cpu, &there);
        if (sched_getaffinity(0, sizeof(before), &before) != 0 ||
            sched_setaffinity(0, sizeof(there), &there) != 0) {
            snprintf(err, 256, "cannot run on CPU %d: %s", s->cfg.storage_cpu, strerror(errno));
            return -errno;
        }
    }
    int status = store_open_engine(s, err);
    if (!status) {
        status = start_thread(s);
        if (status)
            snprintf(err, 256, "cannot start the storage thread: %s", strerror(-status));
    }
    if (s->cfg.storage_cpu >= 0)
        check(sched_setaffinity(0, sizeof(before), &before) == 0);
    return status;
}

int gw_store_open(struct gw_store **out, const struct gw_store_config *cfg, char err[256])
{
    check(cfg->client_count > 0 && cfg->requests_max > 0);
    const struct gw_engine_ops *ops = gw_engine_by_name(cfg->engine);
    if (ops == NULL) {
        snprintf(err, 256, "no storage engine is called \"%s\"", cfg->engine);
        return -EINVAL;
    }
    struct gw_store *s = aligned_alloc(64, (sizeof(*s) + 63) & ~(size_t)63);
    check(s != NULL);
    *s = (struct gw_store){.cfg = *cfg,
                           .ops = ops,
                           .commit_wake = {.fd = -1},
                           .storage_wake = {.fd = -1},
                           .spill = {.wake = {.fd = -1}},
                           .writer = {.wake = {.fd = -1}},
                           .upkeep = {.wake = {.fd = -1}},
                           .window = {.region = {.fd = -1}}};
    if (s->cfg.spill_file_min == 0)
        s->cfg.spill_file_min = SPILL_FILE_MIN;
    if (s->cfg.spill_events_min == 0)
        s->cfg.spill_events_min = SPILL_EVENTS_MIN;
    if (s->cfg.report == NULL)
        s->cfg.report = report_to_stderr;
    check(getrandom(&s->cas_key, sizeof(s->cas_key), 0) == sizeof(s->cas_key));
    s->clients = calloc(cfg->client_count, sizeof(*s->clients));
    s->changes = calloc((size_t)cfg->client_count * cfg->requests_max, sizeof(*s->changes));
    check(s->clients != NULL && s->changes != NULL);
    removals_open(&s->removals);
    for (unsigned i = 0; i < cfg->client_count; i++)
        s->clients[i].wake.fd = -1;
    int status = open_rings(s);
    if (status)
        snprintf(err, 256, "cannot reserve the store's memory: %s", strerror(-status));
    else
        status = open_there(s, err);
    if (status) {
        close_all(s);
        return status;
    }
    *out = s;
    return 0;
}

/* No other thread but those that this one hands work to: what was submitted is done, and a spill that
 * was begun.
 * What an engine that failed holds was never acknowledged. */
static void finish_all(struct gw_store *s)
{
    while (!atomic_load(&s->closed)) {
        unsigned work = store_storage_pass(s) + gw_store_commit_poll(s);
        bool waits = s->spill.phase != SPILL_IDLE || s->upkeep.phase != UPKEEP_IDLE ||
                     !writer_is_idle(s);
        if (work == 0 && !waits)
            return;
        wake_arm(&s->storage_wake);
        if (work > 0 || atomic_load(&s->spill.done) || writer_has_work(s) || upkeep_has_work(s))
            wake_disarm(&s->storage_wake);
        else
            wake_sleep(&s->storage_wake, IDLE_SLEEP_US_MAX);
    }
}

void gw_store_free(struct gw_store **sp)
{
    struct gw_store *s = *sp;
    if (s == NULL)
        return;
    if (s->thread_runs) {
        atomic_store(&s->stop, true);
        wake_up(&s->storage_wake);
        pthread_join(s->thread, NULL);
        s->thread_runs = false;
    }
    finish_all(s);
    close_all(s);
    *sp = NULL;
}

/* ---- state for operators ---- */

static const struct gw_counter_desc counter_descs[] = {GW_STORE_COUNTERS(GW_COUNTER_DESC)};

static struct gw_counter_set counter_set(const char *prefix, const struct gw_store_counters *c)
{
    return (struct gw_counter_set){.prefix = prefix,
                                   .descs = counter_descs,
                                   .values = (const uint64_t *)c,
                                   .count = sizeof(*c) / sizeof(uint64_t)};
}

struct gw_counter_set gw_store_counters_commit(const struct gw_store *s)
{
    return counter_set("store_commit", &s->commit_counters);
}

struct gw_counter_set gw_store_counters_storage(const struct gw_store *s)
{
    return counter_set("store", &s->storage_counters);
}

static enum gw_store_condition condition(const struct gw_store *s)
{
    if (atomic_load(&s->closed))
        return atomic_load(&s->broken) ? GW_STORE_BROKEN : GW_STORE_CLOSED;
    return atomic_load(&s->low) ? GW_STORE_RESERVE : GW_STORE_OPEN;
}

struct gw_store_state gw_store_state(const struct gw_store *s)
{
    return (struct gw_store_state){
        .window_bytes = window_bytes(&s->window),
        .window_messages = atomic_load_explicit(&s->window_messages, memory_order_relaxed),
        .segment_next = atomic_load_explicit(&s->segment_next, memory_order_relaxed),
        .segment_oldest = atomic_load_explicit(&s->segment_oldest, memory_order_relaxed),
        .writes_waiting = writer_waiting(s),
        .write_waits_us = writer_waits_us(s),
        .free_bytes = atomic_load_explicit(&s->free_bytes, memory_order_relaxed),
        .reserve_bytes = s->cfg.reserve_bytes,
        .condition = condition(s),
        .error = atomic_load_explicit(&s->error, memory_order_relaxed),
    };
}

const char *gw_store_condition_name(enum gw_store_condition c)
{
    static const char *const names[] = {
#define X(upper, lower) #lower,
        GW_STORE_CONDITIONS(X)
#undef X
    };
    return names[c];
}
