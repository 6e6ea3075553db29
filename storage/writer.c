/* SPDX-License-Identifier: Apache-2.0 */
#include "writer.h"

#include <errno.h>

#include "store_int.h"

static struct write *write_at(struct writer *x, uint64_t n)
{
    return &x->writes[n % WRITES_MAX];
}

/* ---- the writer ---- */

static int write_batch(struct gw_store *s, const struct write *w)
{
    /* What was filled before a failure rests on what failed. */
    if (atomic_load(&s->failed))
        return -EIO;
    int err = s->ops->write(s->engine, w->batch, w->sync);
    if (err) {
        store_fail(s, w->what, err);
        return err;
    }
    if (w->scrub)
        s->ops->log_scrub(s->engine, w->log_below);
    else if (w->log_below > 0)
        s->ops->log_trim(s->engine, w->log_below);
    if (w->log_below > 0)
        wake_up(&s->commit_wake);
    return 0;
}

static void write_next(struct gw_store *s)
{
    struct writer *x = &s->writer;
    uint64_t n = atomic_load_explicit(&x->written, memory_order_relaxed);
    struct write *w = write_at(x, n);
    w->begun_us = store_now_us(s);
    atomic_store_explicit(&x->begun_us, w->begun_us, memory_order_relaxed);
    w->err = write_batch(s, w);
    w->ended_us = store_now_us(s);
    atomic_store_explicit(&x->begun_us, 0, memory_order_relaxed);
    atomic_store_explicit(&x->written, n + 1, memory_order_release);
    wake_up(&s->storage_wake);
}

static void prepare(struct gw_store *s)
{
    if (!atomic_load(&s->failed) && s->ops->log_prepare(s->engine))
        wake_up(&s->commit_wake); /* an append may wait for room */
    atomic_store(&s->writer.prepare_asked, false);
}

static bool has_asked(struct writer *x)
{
    return atomic_load_explicit(&x->written, memory_order_relaxed) !=
           atomic_load_explicit(&x->asked, memory_order_acquire);
}

static void *writer_main(void *arg)
{
    struct gw_store *s = arg;
    struct writer *x = &s->writer;
    for (;;) {
        wake_arm(&x->wake);
        if (!has_asked(x) && !atomic_load(&x->prepare_asked) && !atomic_load(&x->stop))
            wake_sleep(&x->wake, UINT32_MAX);
        else
            wake_disarm(&x->wake);
        bool asked = has_asked(x);
        if (atomic_load(&x->prepare_asked))
            prepare(s);
        if (asked)
            write_next(s);
        else if (atomic_load(&x->stop))
            return NULL;
    }
}

/* ---- the storage thread ---- */

static uint64_t under_way(const struct gw_store *s)
{
    return atomic_load_explicit(&s->writer.asked, memory_order_relaxed) - s->writer.finished;
}

unsigned writer_room(const struct gw_store *s)
{
    return WRITES_MAX - (unsigned)under_way(s);
}

struct write *writer_begin(struct gw_store *s, const char *what)
{
    check(writer_room(s) > 0);
    struct writer *x = &s->writer;
    struct write *w = write_at(x, atomic_load_explicit(&x->asked, memory_order_relaxed));
    *w = (struct write){.batch = w->batch, .what = what};
    s->ops->batch_clear(w->batch);
    return w;
}

void writer_submit(struct gw_store *s, struct write *w)
{
    struct writer *x = &s->writer;
    uint64_t n = atomic_load_explicit(&x->asked, memory_order_relaxed);
    check(w == write_at(x, n));
    w->asked_us = store_now_us(s);
    atomic_store_explicit(&x->asked, n + 1, memory_order_release);
    wake_up(&x->wake);
}

/* The wall clock may step back. */
static uint64_t since(uint64_t from_us, uint64_t to_us)
{
    return to_us > from_us ? to_us - from_us : 0;
}

static void count(struct gw_store *s, const struct write *w)
{
    struct gw_store_counters *c = &s->storage_counters;
    GW_COUNT(c->key_writes);
    GW_COUNT_ADD(c->key_write_us, since(w->begun_us, w->ended_us));
    GW_COUNT_ADD(c->key_write_wait_us, since(w->asked_us, w->begun_us));
    GW_COUNT_ADD(c->errors, w->err != 0);
}

static void complete(const struct write *w)
{
    struct gw_store_completion done = {
        .op = w->request.op, .tag = w->request.tag, .status = w->err ? -EIO : 0};
    store_complete(w->client, &done);
}

unsigned writer_finish(struct gw_store *s)
{
    struct writer *x = &s->writer;
    uint64_t written = atomic_load_explicit(&x->written, memory_order_acquire);
    unsigned n = 0;
    for (; x->finished < written; n++) {
        const struct write *w = write_at(x, x->finished);
        count(s, w);
        if (w->done != NULL)
            w->done(s, w);
        if (w->client != NULL)
            complete(w);
        x->finished++;
    }
    return n;
}

bool writer_has_work(const struct gw_store *s)
{
    return atomic_load_explicit(&s->writer.written, memory_order_acquire) != s->writer.finished;
}

bool writer_is_idle(const struct gw_store *s)
{
    return under_way(s) == 0;
}

bool writer_is_back(const struct gw_store *s)
{
    return atomic_load_explicit(&s->writer.written, memory_order_acquire) ==
               atomic_load_explicit(&s->writer.asked, memory_order_relaxed) &&
           !atomic_load(&s->writer.prepare_asked);
}

bool writer_forget(struct gw_store *s)
{
    if (!s->cfg.own_thread)
        (void)writer_write_until(s, atomic_load(&s->writer.asked)); /* none is: the store has failed */
    (void)writer_finish(s);
    return writer_is_idle(s) && !atomic_load(&s->writer.prepare_asked);
}

void writer_prepare_log(struct gw_store *s)
{
    if (atomic_load_explicit(&s->writer.prepare_asked, memory_order_relaxed) ||
        !s->ops->log_wants_file(s->engine))
        return;
    atomic_store(&s->writer.prepare_asked, true);
    wake_up(&s->writer.wake);
}

unsigned writer_write_until(struct gw_store *s, uint64_t asked)
{
    unsigned n = 0;
    if (atomic_load(&s->writer.prepare_asked))
        prepare(s);
    for (; atomic_load(&s->writer.written) < asked; n++)
        write_next(s);
    return n;
}

unsigned writer_waiting(const struct gw_store *s)
{
    return (unsigned)(atomic_load_explicit(&s->writer.asked, memory_order_relaxed) -
                      atomic_load_explicit(&s->writer.written, memory_order_relaxed));
}

uint64_t writer_waits_us(const struct gw_store *s)
{
    uint64_t begun_us = atomic_load_explicit(&s->writer.begun_us, memory_order_relaxed);
    return begun_us == 0 ? 0 : since(begun_us, store_now_us(s));
}

/* ---- life ---- */

void writer_open_batches(struct gw_store *s)
{
    for (unsigned i = 0; i < WRITES_MAX; i++)
        s->writer.writes[i].batch = s->ops->batch_new(s->engine);
}

void writer_close_batches(struct gw_store *s)
{
    for (unsigned i = 0; i < WRITES_MAX; i++)
        if (s->writer.writes[i].batch != NULL)
            s->ops->batch_free(&s->writer.writes[i].batch);
}

int writer_open(struct gw_store *s)
{
    return wake_open(&s->writer.wake);
}

int writer_start(struct gw_store *s)
{
    struct writer *x = &s->writer;
    int e = pthread_create(&x->thread, NULL, writer_main, s);
    x->thread_runs = e == 0;
    if (x->thread_runs)
        pthread_setname_np(x->thread, "gw-writer");
    return -e;
}

void writer_close(struct gw_store *s)
{
    struct writer *x = &s->writer;
    if (x->thread_runs) {
        atomic_store(&x->stop, true);
        wake_up(&x->wake);
        pthread_join(x->thread, NULL);
        x->thread_runs = false;
    }
    wake_close(&x->wake);
}
