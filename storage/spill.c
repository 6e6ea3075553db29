/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spill: what still waits after a while gets a key of its own, and its segment leaves the window.
 *
 * The oldest segments are taken together, as many as there are, and prepared by the spill thread, while
 * they are still read from the window: few messages become one batch, for the writer; many are sorted,
 * and written as a file. So do their events (spill_events.h), each by its own number. The storage
 * thread waits for none of this: it looks in each pass how far it has come.
 * Only when they can be read from their keys do they leave it, and the note of how far spill has
 * come is written last. A crash in between finds them in the log, and the same is done again; the
 * log gives up what was spilled only after the keys were synced. A message that was delivered
 * before it came to this costs nothing.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "reseal.h"
#include "mutant.h"
#include "store_int.h"

/* ---- gathering ---- */

static void gather_segment(struct gw_store *s, const struct window_segment *seg)
{
    struct spill *p = &s->spill;
    const uint8_t *base = window_at(&s->window, seg->off);
    size_t off = gw_segment_first_off(), at = off;
    const struct gw_record_head *r;
    for (; (r = gw_record_next(base, seg->len, &off)) != NULL; at = off) {
        if (r->kind == GW_RECORD_EVENTS)
            spill_events_add(&p->events, seg, r, seg->off + at);
        if (r->kind != GW_RECORD_MESSAGE)
            continue;
        struct spill_message *m = &p->messages[p->message_count++];
        mailbox_key(m->key, &r->mailbox, r->position);
        m->off = seg->off + at;
    }
    p->segment_count++;
    p->bytes += seg->len;
}

/* Whether another segment belongs to this spill. */
static bool more_to_gather(const struct gw_store *s)
{
    const struct spill *p = &s->spill;
    return p->segment_count < s->window.held_count && p->bytes < SPILL_BYTES_MAX &&
           p->message_count < SPILL_MESSAGES_MAX &&
           window_held_at(&s->window, p->segment_count)->s.number < p->until;
}

/* What was removed since it was gathered does not come along. From now on the rest is frozen. */
static void freeze(struct gw_store *s)
{
    struct spill *p = &s->spill;
    size_t kept = 0;
    for (size_t i = 0; i < p->message_count; i++) {
        const struct gw_record_head *r = window_at(&s->window, p->messages[i].off);
        if (r->kind == GW_RECORD_MESSAGE)
            p->messages[kept++] = p->messages[i];
    }
    p->message_count = kept;
    const struct window_segment *last = &window_held_at(&s->window, p->segment_count - 1)->s;
    s->window.frozen_end = last->off + last->len;
}

/* ---- writing ---- */

#define SPILL_FEW 64u

static struct gw_pair pair_of(const struct gw_store *s, const struct spill_message *m)
{
    const struct gw_record_head *r = window_at(&s->window, m->off);
    return (struct gw_pair){gw_bytes(m->key, sizeof(m->key)), gw_bytes(r, r->len)};
}

static int by_key(const void *a, const void *b)
{
    const struct gw_pair *x = a, *y = b;
    return memcmp(x->key.p, y->key.p, MAILBOX_KEY_BYTES);
}

static unsigned bucket_of(const struct spill_message *m)
{
    return (unsigned)m->key[0] << 8 | m->key[1];
}

/* Few, or in order nearly: what one mailbox has comes by rising position. */
static void sort_few(struct gw_pair *v, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct gw_pair x = v[i];
        size_t k = i;
        for (; k > 0 && by_key(&v[k - 1], &x) > 0; k--)
            v[k] = v[k - 1];
        v[k] = x;
    }
}

/* Mailboxes are hashes, so their first two bytes spread them evenly: each bucket has a few messages, which
 * is several times as fast as to sort all of them by comparing. */
static void sort_by_bucket(struct gw_store *s)
{
    struct spill *p = &s->spill;
    size_t *ends = p->bucket_ends;
    memset(ends, 0, SPILL_BUCKETS * sizeof(*ends));
    for (size_t i = 0; i < p->message_count; i++)
        ends[bucket_of(&p->messages[i])]++;
    for (size_t b = 0, sum = 0; b < SPILL_BUCKETS; b++) {
        size_t n = ends[b];
        ends[b] = sum; /* its begin, until all are placed */
        sum += n;
    }
    for (size_t i = 0; i < p->message_count; i++)
        p->pairs[ends[bucket_of(&p->messages[i])]++] = pair_of(s, &p->messages[i]);
    for (size_t b = 0, begin = 0; b < SPILL_BUCKETS; begin = ends[b++]) {
        if (ends[b] - begin <= SPILL_FEW)
            sort_few(p->pairs + begin, ends[b] - begin);
        else
            qsort(p->pairs + begin, ends[b] - begin, sizeof(*p->pairs), by_key);
    }
}

static void sort_pairs(struct gw_store *s)
{
    struct spill *p = &s->spill;
    if (p->message_count >= SPILL_FILE_MIN) {
        sort_by_bucket(s);
        return;
    }
    for (size_t i = 0; i < p->message_count; i++)
        p->pairs[i] = pair_of(s, &p->messages[i]);
    qsort(p->pairs, p->message_count, sizeof(*p->pairs), by_key);
}

static void reseal_pairs(struct gw_store *s, struct reseal *x)
{
    struct spill *p = &s->spill;
    reseal_begin(x, s, &p->hand, p->reseal_buf, p->pairs, p->message_count);
}

static void reseal_done(struct gw_store *s, struct reseal *x)
{
    reseal_end(x);
    s->spill.resealed = x->resealed;
    s->spill.unkeyed = x->unkeyed;
}

static int write_messages_file(struct gw_store *s)
{
    struct reseal x;
    sort_pairs(s);
    reseal_pairs(s, &x);
    int err = s->ops->ingest(s->engine, GW_SPACE_MAILBOX, &x.source);
    reseal_done(s, &x);
    return err;
}

/* Into a batch. */
static int put_messages(struct gw_store *s, struct gw_batch *batch)
{
    struct reseal x;
    struct gw_pair pair;
    int more;
    sort_pairs(s);
    reseal_pairs(s, &x);
    if (GW_IS_MUTANT(drop_spill))
        (void)x.source.next(&x.source, &pair);
    while ((more = x.source.next(&x.source, &pair)) > 0)
        s->ops->put(batch, GW_SPACE_MAILBOX, pair.key, pair.value);
    reseal_done(s, &x);
    return more;
}

static int prepare(struct gw_store *s)
{
    struct spill *p = &s->spill;
    int err = p->filed ? write_messages_file(s) : put_messages(s, p->batch);
    if (err)
        return err;
    if (p->events.filed)
        return spill_events_write_file(s);
    spill_events_put(s, p->batch);
    return 0;
}

/* The spill thread's work. Nobody writes to frozen records, to p->messages or p->events meanwhile. */
static void prepare_asked(struct gw_store *s)
{
    struct spill *p = &s->spill;
    p->err = prepare(s);
    atomic_store(&p->asked, false);
    atomic_store(&p->done, true);
    wake_up(&s->storage_wake);
}

static void *spill_main(void *arg)
{
    struct gw_store *s = arg;
    struct spill *p = &s->spill;
    for (;;) {
        wake_arm(&p->wake);
        if (!atomic_load(&p->asked) && !atomic_load(&p->stop))
            wake_sleep(&p->wake, UINT32_MAX);
        else
            wake_disarm(&p->wake);
        if (atomic_load(&p->asked))
            prepare_asked(s);
        else if (atomic_load(&p->stop))
            return NULL;
    }
}

/* ---- settling ---- */

static const struct gw_mailbox_id *mailbox_at(const struct spill *p, size_t i)
{
    return (const void *)p->messages[i < p->message_count ? i : p->message_count - 1].key;
}

/* Some messages leave the window for their keys; those removed meanwhile are to lose the keys as well. */
static void settle(struct gw_store *s, size_t count)
{
    struct spill *p = &s->spill;
    for (size_t end = p->settled + count; p->settled < end; p->settled++) {
        const struct spill_message *m = &p->messages[p->settled];
        window_prefetch(&s->window, mailbox_at(p, p->settled + WINDOW_PREFETCH_AHEAD));
        window_prefetch_entries(&s->window, mailbox_at(p, p->settled + WINDOW_ENTRIES_AHEAD));
        struct gw_mailbox_id id;
        memcpy(&id, m->key, sizeof(id));
        uint64_t position = gw_be64(m->key + sizeof(id));
        if (window_settle(&s->window, &id, position, m->off))
            removals_add(s, &id, position, position);
    }
}

/* A dropped mailbox needs no mark when none of its messages can be in the log. */
static void clear_dropped(struct gw_store *s, struct gw_batch *batch)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->dropped_count; i++) {
        if (s->dropped[i].segment <= s->state.segment_oldest)
            meta_del_dropped(s, batch, &s->dropped[i]);
        else
            s->dropped[kept++] = s->dropped[i];
    }
    s->dropped_count = kept;
}

/* Into the batch: that these segments are spilled. */
static void put_progress(struct gw_store *s, struct gw_batch *batch)
{
    struct spill *p = &s->spill;
    s->state.segment_oldest = window_held_at(&s->window, p->segment_count - 1)->s.number + 1;
    spill_events_forget_trimmed(s, batch, s->state.segment_oldest);
    if (s->state.segment_next < s->state.segment_oldest)
        s->state.segment_next = s->state.segment_oldest;
    clear_dropped(s, batch);
    meta_put_state(s, batch);
}

static void count_resealed(struct gw_store *s)
{
    struct spill *p = &s->spill;
    GW_COUNT_ADD(s->storage_counters.resealed, p->resealed);
    GW_COUNT_ADD(s->storage_counters.unkeyed, p->unkeyed);
    if (p->unkeyed > 0)
        store_report(s,
                     "%" PRIu64 " messages are spilled as they were: they do not open, or their "
                     "accounts' keys do not",
                     p->unkeyed);
}

/* All is written: the segments leave the window. */
static void finish(struct gw_store *s)
{
    struct spill *p = &s->spill;
    for (size_t i = 0; i < p->segment_count; i++)
        window_release(&s->window);
    s->window.frozen_end = 0;
    atomic_store_explicit(&s->segment_oldest, s->state.segment_oldest, memory_order_relaxed);
    GW_COUNT_ADD(s->storage_counters.spilled, p->message_count);
    GW_COUNT_ADD(s->storage_counters.spilled_segments, p->segment_count);
    GW_COUNT_ADD(s->storage_counters.event_files, p->events.filed);
    count_resealed(s);
    p->phase = SPILL_IDLE;
    wake_up(&s->commit_wake);
}

static void fail(struct gw_store *s, int err)
{
    GW_COUNT(s->storage_counters.errors);
    store_fail(s, "spill", err);
}

static void put_written(struct gw_store *s, const struct write *w)
{
    if (w->err == 0)
        s->spill.phase = SPILL_SETTLE;
}

/* What did not go into files. */
static void write_put(struct gw_store *s)
{
    struct spill *p = &s->spill;
    struct write *w = writer_begin(s, "spill");
    struct gw_batch *empty = w->batch;
    w->batch = p->batch;
    p->batch = empty;
    w->done = put_written;
    p->phase = SPILL_AWAIT;
    writer_submit(s, w);
}

static void progress_written(struct gw_store *s, const struct write *w)
{
    if (w->err == 0)
        finish(s);
}

static void write_progress(struct gw_store *s)
{
    struct write *w = writer_begin(s, "spill");
    put_progress(s, w->batch);
    w->done = progress_written;
    s->spill.phase = SPILL_AWAIT;
    writer_submit(s, w);
}

/* Until files of the log are free. */
static void trimmed(struct gw_store *s, const struct write *w)
{
    s->spill.trims = false;
}

static void trim_log(struct gw_store *s)
{
    uint64_t below = s->state.segment_oldest;
    if (s->spill.trims || writer_room(s) == 0 || !s->ops->log_trim_frees(s->engine, below))
        return;
    struct write *w = writer_begin(s, "making spilled messages durable");
    meta_put_state(s, w->batch);
    w->sync = true;
    w->log_below = below;
    w->done = trimmed;
    s->spill.trims = true;
    writer_submit(s, w);
}

/* ---- when ---- */

static bool pressed(const struct gw_store *s)
{
    return window_bytes(&s->window) > s->cfg.window_bytes_max || s->ops->log_pressed(s->engine);
}

static bool older_than(const struct window_held *h, uint64_t now_us, uint64_t age_us)
{
    /* The wall clock may step back: then the wait begins anew rather than for ever. */
    return now_us >= h->indexed_us && now_us - h->indexed_us >= age_us;
}

/* Upkeep waits for it. */
static bool is_wanted(const struct gw_store *s, const struct window_held *h)
{
    return h->s.number < upkeep_spill_below(s);
}

uint64_t spill_due_us(const struct gw_store *s, uint64_t now_us)
{
    if (s->spill.phase == SPILL_GATHER || s->spill.phase == SPILL_SETTLE)
        return 0;
    /* Else it waits for the spill thread or the writer, who wake this one; so does a rotation, whose
     * turn comes first. */
    if (s->spill.phase != SPILL_IDLE || rotate_waits(s))
        return UINT64_MAX;
    if (s->window.held_count == 0 || atomic_load(&s->failed) || s->ops->busy(s->engine))
        return UINT64_MAX;
    if (pressed(s) || is_wanted(s, window_held_at(&s->window, 0)))
        return 0;
    uint64_t since_us = window_held_at(&s->window, 0)->indexed_us;
    uint64_t age_us = now_us > since_us ? now_us - since_us : 0;
    return age_us >= s->cfg.spill_after_us ? 0 : s->cfg.spill_after_us - age_us;
}

/* Once the oldest is due, all that is half as old goes with it; under pressure half of the window.
 */
static uint64_t choose_until(const struct gw_store *s, uint64_t now_us)
{
    bool hurry = pressed(s);
    uint64_t left = window_bytes(&s->window);
    size_t i = 0;
    for (; i < s->window.held_count; i++) {
        const struct window_held *h = window_held_at(&s->window, i);
        if (!older_than(h, now_us, s->cfg.spill_after_us / 2) && !is_wanted(s, h) &&
            !(hurry && left > s->cfg.window_bytes_max / 2))
            break;
        left -= h->s.len < left ? h->s.len : left;
    }
    return i == 0 ? 0 : window_held_at(&s->window, i - 1)->s.number + 1;
}

static void begin(struct gw_store *s, uint64_t until)
{
    struct spill *p = &s->spill;
    p->phase = SPILL_REMOVE;
    p->until = until;
    p->segment_count = p->message_count = p->settled = 0;
    p->bytes = 0;
    spill_events_clear(&p->events);
    s->ops->batch_clear(p->batch);
}

static void gather_some(struct gw_store *s)
{
    struct spill *p = &s->spill;
    uint64_t stop = p->bytes + PASS_GATHER_BYTES_MAX;
    while (more_to_gather(s) && p->bytes < stop)
        gather_segment(s, &window_held_at(&s->window, p->segment_count)->s);
    if (more_to_gather(s))
        return;
    freeze(s);
    p->filed = p->message_count >= s->cfg.spill_file_min;
    p->events.filed = spill_events_are_many(s);
    p->phase = SPILL_PREPARE;
    atomic_store(&p->asked, true);
    wake_up(&p->wake);
}

/* Whether it is prepared. */
static bool await_prepared(struct gw_store *s)
{
    struct spill *p = &s->spill;
    /* Without threads it is done here, in a pass after the one that asked. */
    if (!s->cfg.own_thread && atomic_load(&p->asked))
        prepare_asked(s);
    if (!atomic_load(&p->done))
        return false;
    atomic_store(&p->done, false);
    bool put = !p->filed && p->message_count > 0;
    put |= !p->events.filed && p->events.count > 0;
    if (p->err)
        fail(s, p->err);
    else
        p->phase = put ? SPILL_PUT : SPILL_SETTLE;
    return true;
}

static void settle_some(struct gw_store *s)
{
    struct spill *p = &s->spill;
    size_t left = p->message_count - p->settled;
    settle(s, left < PASS_SETTLE_MAX ? left : PASS_SETTLE_MAX);
    if (p->settled == p->message_count)
        p->phase = SPILL_PROGRESS;
}

/* Whether the writer took it. */
static bool hand_over(struct gw_store *s, void (*write)(struct gw_store *s))
{
    if (writer_room(s) == 0)
        return false;
    write(s);
    return true;
}

static bool begin_if_due(struct gw_store *s, uint64_t now_us)
{
    uint64_t until = spill_due_us(s, now_us) == 0 ? choose_until(s, now_us) : 0;
    if (until != 0)
        begin(s, until);
    return until != 0;
}

unsigned spill_pass(struct gw_store *s, uint64_t now_us)
{
    struct spill *p = &s->spill;
    if (atomic_load_explicit(&s->failed, memory_order_relaxed))
        return 0;
    switch (p->phase) {
    case SPILL_IDLE:
        trim_log(s);
        return begin_if_due(s, now_us);
    case SPILL_REMOVE:
        /* The removals of the segments that leave are in memory alone: the writer has them before
         * it has the note that they have left. */
        if (!removals_flush(s))
            return 0;
        p->phase = SPILL_GATHER;
        break;
    case SPILL_GATHER:
        gather_some(s);
        break;
    case SPILL_PREPARE:
        return await_prepared(s);
    case SPILL_PUT:
        return hand_over(s, write_put);
    case SPILL_SETTLE:
        settle_some(s);
        break;
    case SPILL_PROGRESS:
        return hand_over(s, write_progress);
    case SPILL_AWAIT:
        return 0;
    }
    return 1;
}

/* ---- alone with the engine ---- */

/* At start, by the thread that opens: one batch, and no other thread. */
bool spill_oldest(struct gw_store *s)
{
    struct spill *p = &s->spill;
    if (s->window.held_count == 0 || removals_write_now(s) != 0)
        return false;
    begin(s, window_held_at(&s->window, 0)->s.number + 1);
    gather_segment(s, &window_held_at(&s->window, 0)->s);
    freeze(s);
    p->filed = p->events.filed = false;
    int err = prepare(s);
    if (!err) {
        put_progress(s, p->batch);
        err = s->ops->write(s->engine, p->batch, false);
    }
    if (err) {
        fail(s, err);
        return false;
    }
    settle(s, p->message_count);
    finish(s);
    return true;
}

int spill_trim_now(struct gw_store *s)
{
    uint64_t below = s->state.segment_oldest;
    if (!s->ops->log_trim_frees(s->engine, below))
        return 0;
    s->ops->batch_clear(s->batch);
    meta_put_state(s, s->batch);
    int err = s->ops->write(s->engine, s->batch, true);
    if (!err)
        s->ops->log_trim(s->engine, below);
    return err;
}

bool spill_forget(struct gw_store *s)
{
    struct spill *p = &s->spill;
    if (p->phase == SPILL_PREPARE && s->cfg.own_thread && !atomic_load(&p->done))
        return false;
    atomic_store(&p->asked, false);
    atomic_store(&p->done, false);
    p->phase = SPILL_IDLE;
    p->trims = false;
    return true;
}

/* ---- life ---- */

/* A segment of nothing but the smallest messages. */
#define SEGMENT_MESSAGES_MAX (GW_SEGMENT_BYTES_MAX / sizeof(struct gw_record_head))
#define MESSAGES_MAX         (SPILL_MESSAGES_MAX + SEGMENT_MESSAGES_MAX)

/* For the largest spill; a store that has only small ones uses no more memory than those need. */
static void *reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    check(p != MAP_FAILED);
    return p;
}

static void give_back(void *p, size_t bytes)
{
    if (p != NULL)
        check(munmap(p, bytes) == 0);
}

int spill_open(struct gw_store *s)
{
    struct spill *p = &s->spill;
    p->messages = reserve(MESSAGES_MAX * sizeof(*p->messages));
    p->pairs = reserve(MESSAGES_MAX * sizeof(*p->pairs));
    p->bucket_ends = reserve(SPILL_BUCKETS * sizeof(*p->bucket_ends));
    spill_events_open(&p->events);
    if (s->cfg.keys != NULL) {
        p->reseal_buf = malloc(RESEAL_BUF_BYTES);
        check(p->reseal_buf != NULL);
        int err = vault_hand_open(&p->hand, SPILL_NONCE_THREAD);
        if (err)
            return err;
    }
    return wake_open(&p->wake);
}

int spill_start(struct gw_store *s)
{
    struct spill *p = &s->spill;
    int e = pthread_create(&p->thread, NULL, spill_main, s);
    p->thread_runs = e == 0;
    if (p->thread_runs)
        pthread_setname_np(p->thread, "gw-spill");
    return -e;
}

void spill_close(struct gw_store *s)
{
    struct spill *p = &s->spill;
    if (p->thread_runs) {
        atomic_store(&p->stop, true);
        wake_up(&p->wake);
        pthread_join(p->thread, NULL);
        p->thread_runs = false;
    }
    wake_close(&p->wake);
    vault_hand_close(&p->hand);
    free(p->reseal_buf);
    spill_events_close(&p->events);
    give_back(p->messages, MESSAGES_MAX * sizeof(*p->messages));
    give_back(p->pairs, MESSAGES_MAX * sizeof(*p->pairs));
    give_back(p->bucket_ends, SPILL_BUCKETS * sizeof(*p->bucket_ends));
    p->messages = NULL;
    p->pairs = NULL;
    p->bucket_ends = NULL;
}
