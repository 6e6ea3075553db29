/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that lose their connection and go on over another one: see resume.h. */
#include "resume.h"

#include <errno.h>

#include "../base/check.h"
#include "counts.h"
#include "home.h"

/* Of a list, looked at in a pass. */
#define LOOKED_AT_MAX 64

struct gw_resumption *gw_home_resumption(const struct gw_lcore *l, const struct gw_home_session *s)
{
    return s->resume_block != 0 ? gw_arena_ptr(l->arena, s->resume_block) : NULL;
}

static struct gw_resumption *at(const struct gw_lcore *l, gw_block b)
{
    return gw_arena_ptr(l->arena, b);
}

static uint32_t take_wait(struct gw_lcore *l, const struct gw_post *p)
{
    uint32_t w = gw_slab_alloc(&l->home->waits);
    check(w != 0); /* as many as there are credits */
    *(struct gw_home_wait *)gw_slab_at(&l->home->waits, w) = (struct gw_home_wait){.post = *p};
    return w;
}

static struct gw_post end_wait(struct gw_lcore *l, uint32_t *w)
{
    struct gw_post p = ((struct gw_home_wait *)gw_slab_at(&l->home->waits, *w))->post;
    gw_slab_free(&l->home->waits, *w);
    *w = 0;
    return p;
}

/* ---- the lists ---- */

void gw_home_count_unlink(struct gw_lcore *l, gw_block b)
{
    struct gw_home_resume *h = &l->home->resume;
    struct gw_resumption *r = at(l, b);
    if (!r->counted)
        return;
    *(r->count_prev != 0 ? &at(l, r->count_prev)->count_next : &h->count_head) = r->count_next;
    *(r->count_next != 0 ? &at(l, r->count_next)->count_prev : &h->count_tail) = r->count_prev;
    r->counted = false;
}

static void count_append(struct gw_lcore *l, gw_block b)
{
    struct gw_home_resume *h = &l->home->resume;
    struct gw_resumption *r = at(l, b);
    gw_home_count_unlink(l, b);
    r->count_prev = h->count_tail;
    r->count_next = 0;
    *(h->count_tail != 0 ? &at(l, h->count_tail)->count_next : &h->count_head) = b;
    h->count_tail = b;
    r->counted = true;
    r->count_floor = h->last_number + 1;
    r->count_bytes = h->events_bytes;
    r->count_us = l->now_us;
}

static void detached_unlink(struct gw_lcore *l, gw_block b)
{
    struct gw_home_resume *h = &l->home->resume;
    struct gw_resumption *r = at(l, b);
    *(r->detached_prev != 0 ? &at(l, r->detached_prev)->detached_next : &h->detached_head) =
        r->detached_next;
    *(r->detached_next != 0 ? &at(l, r->detached_next)->detached_prev : &h->detached_tail) =
        r->detached_prev;
}

static void detached_append(struct gw_lcore *l, gw_block b)
{
    struct gw_home_resume *h = &l->home->resume;
    struct gw_resumption *r = at(l, b);
    r->detached = true;
    r->detached_us = l->now_us;
    r->detached_prev = h->detached_tail;
    r->detached_next = 0;
    *(h->detached_tail != 0 ? &at(l, h->detached_tail)->detached_next : &h->detached_head) = b;
    h->detached_tail = b;
}

/* ---- made, and gone ---- */

gw_block gw_home_resumption_make(struct gw_lcore *l, uint32_t session)
{
    gw_block b = gw_arena_get(l->arena, sizeof(struct gw_resumption));
    if (b == 0)
        return 0;
    *at(l, b) = (struct gw_resumption){.session = session};
    gw_home_session(l, session)->resume_block = b;
    return b;
}

static void answer_enabled(struct gw_lcore *l, const struct gw_post *p, const struct gw_resumption *r)
{
    struct gw_post answer = {.op = GW_POST_ENABLED, .conn = p->conn, .n = r != NULL};
    if (r != NULL)
        answer.name = r->name;
    gw_post_answer(l, p->from, &answer);
}

void gw_home_sm(struct gw_lcore *l, struct gw_post *p)
{
    uint32_t i = gw_home_session_find(l, p->session);
    gw_block b = 0;
    if (i != 0) {
        struct gw_home_session *s = gw_home_session(l, i);
        s->sm = true;
        if (p->n != 0 && s->resume_block == 0)
            b = gw_home_resumption_make(l, i);
    }
    if (b == 0) {
        answer_enabled(l, p, NULL);
        return;
    }
    struct gw_resumption *r = at(l, b);
    l->random(l->random_ctx, r->name.b, sizeof(r->name.b));
    r->h = p->seq;
    r->kept_wait = take_wait(l, p);
    gw_home_keep_later(l, b);
}

static void answer_resume(struct gw_lcore *l, const struct gw_post *p, enum gw_resumed status,
                          uint32_t h)
{
    struct gw_post answer = {
        .op = GW_POST_RESUMED,
        .conn = p->conn,
        .session = p->session,
        .block = p->block,
        .owner = p->owner,
        .status = (uint8_t)status,
        .seq = h,
    };
    gw_post_answer(l, p->owner, &answer);
}

void gw_home_counted(struct gw_lcore *l, const struct gw_post *p)
{
    struct gw_post answer = {.op = GW_POST_COUNTED, .conn = p->conn, .seq = p->seq};
    gw_post_answer(l, p->from, &answer);
}

static gw_block *ended_bucket(struct gw_lcore *l, const struct gw_stream_name *name)
{
    uint32_t hash;
    memcpy(&hash, name->b, sizeof(hash));
    return &l->home->resume.ended[hash % GW_ENDED_BUCKETS];
}

static void ended_link(struct gw_lcore *l, gw_block b)
{
    gw_block *bucket = ended_bucket(l, &at(l, b)->name);
    at(l, b)->detached_next = *bucket;
    *bucket = b;
}

bool gw_home_resumption_ended(struct gw_lcore *l, const struct gw_stream_name *name)
{
    gw_block b = *ended_bucket(l, name);
    while (b != 0 && memcmp(&at(l, b)->name, name, sizeof(*name)) != 0)
        b = at(l, b)->detached_next;
    return b != 0;
}

void gw_home_resumption_free(struct gw_lcore *l, gw_block b)
{
    gw_block *link = ended_bucket(l, &at(l, b)->name);
    while (*link != b)
        link = &at(l, *link)->detached_next;
    *link = at(l, b)->detached_next;
    gw_arena_put(l->arena, b);
}

/* Who waits for its record has it now, or waits in vain. */
static void end_kept_wait(struct gw_lcore *l, struct gw_resumption *r, bool kept)
{
    if (r->kept_wait == 0)
        return;
    struct gw_post p = end_wait(l, &r->kept_wait);
    if (p.op == GW_POST_SM)
        answer_enabled(l, &p, kept ? r : NULL);
    else if (kept)
        gw_home_post(l, &p);
    else
        gw_home_counted(l, &p);
}

void gw_home_resumption_gone(struct gw_lcore *l, uint32_t i)
{
    struct gw_home_session *s = gw_home_session(l, i);
    gw_block b = s->resume_block;
    if (b == 0)
        return;
    struct gw_resumption *r = at(l, b);
    gw_home_count_unlink(l, b);
    if (r->detached && !r->resuming)
        detached_unlink(l, b);
    end_kept_wait(l, r, false);
    if (r->resume_wait != 0) {
        struct gw_post p = end_wait(l, &r->resume_wait);
        answer_resume(l, &p, GW_RESUMED_NOT_FOUND, 0);
    }
    gw_arena_put(l->arena, r->handed_block);
    r->handed_block = 0;
    r->session = 0;
    s->resume_block = 0;
    ended_link(l, b);
    gw_home_keep_later(l, b);
}

void gw_home_resumption_kept(struct gw_lcore *l, gw_block b)
{
    end_kept_wait(l, at(l, b), true);
}

/* ---- counts ---- */

static struct gw_event counted_event(const struct gw_resumption *r, uint32_t h)
{
    struct gw_event e = {.kind = GW_EVENT_COUNTED, .position = h};
    memcpy(e.mailbox.b, r->name.b, sizeof(e.mailbox.b));
    return e;
}

/* Its count goes into the segment that fills. False: there is no room in it now. */
static bool append_count(struct gw_lcore *l, uint32_t i, uint32_t h)
{
    struct gw_home_session *s = gw_home_session(l, i);
    struct gw_resumption *r = gw_home_resumption(l, s);
    struct gw_event e = counted_event(r, h);
    if (!gw_home_can_append(l, 0, gw_event_bytes_max(&e)))
        return false;
    gw_home_append_event(l, &e);
    r->h = h;
    count_append(l, s->resume_block);
    GW_COUNT(l->home_count.counts);
    return true;
}

bool gw_home_count(struct gw_lcore *l, struct gw_post *p)
{
    uint32_t i = gw_home_session_find(l, p->session);
    struct gw_resumption *r = i != 0 ? gw_home_resumption(l, gw_home_session(l, i)) : NULL;
    if (r == NULL) { /* it has ended, and its client is being told */
        gw_home_counted(l, p);
        return true;
    }
    /* What the count covers may have changed the record: a presence. */
    if (r->due || r->keeping) {
        /* One that waits already is of a connection that has gone, before the stream was resumed. */
        end_kept_wait(l, r, false);
        r->kept_wait = take_wait(l, p);
        return true;
    }
    /* One that has waited for the record while its connection went, and the stream went on: what a
     * client has been told since is not taken back. */
    uint32_t h = (int32_t)(r->h - p->seq) > 0 ? r->h : p->seq;
    if (!append_count(l, i, h))
        return false;
    gw_home_enqueue(l, gw_home_session(l, i)->account, p);
    return true;
}

static void keep_old_counts(struct gw_lcore *l)
{
    struct gw_home_resume *h = &l->home->resume;
    gw_block b = h->count_head;
    for (unsigned n = 0; n < LOOKED_AT_MAX && b != 0; n++) {
        const struct gw_resumption *r = at(l, b);
        if (h->events_bytes - r->count_bytes < GW_COUNTS_BEHIND_BYTES &&
            l->now_us - r->count_us < GW_COUNTS_BEHIND_US)
            return;
        if (!r->due && !r->keeping)
            gw_home_keep_later(l, b);
        b = r->count_next;
    }
}

/* Behind which segment no count of this lcore's sessions matters. */
static void publish_floor(struct gw_lcore *l)
{
    const struct gw_home *h = l->home;
    uint64_t floor = h->resume.last_number + 1;
    if (h->resume.count_head != 0)
        floor = at(l, h->resume.count_head)->count_floor;
    else if (h->segment_block == 0 && h->under_way_count == 0 &&
             gw_store_number_floor(l->store) > floor)
        floor = gw_store_number_floor(l->store);
    /* Those of the start before are in the log only, until they are resumed or swept. */
    if (h->resume.sweep.phase != GW_SWEEP_ENDED && l->counts->found_floor < floor)
        floor = l->counts->found_floor;
    atomic_store_explicit(&l->counts->floor[l->index], floor, memory_order_relaxed);
}

/* ---- the connection is gone ---- */

/* What it was handed and has not confirmed, as a run. False: no memory. */
static bool take_handed(struct gw_lcore *l, struct gw_resumption *r, const struct gw_post *p)
{
    unsigned n = p->leave.handed_count;
    r->handed_block = 0;
    r->handed_first = 0;
    r->handed_count = (uint16_t)n;
    if (n == 0)
        return true;
    r->handed_block = gw_arena_get(l->arena, n * sizeof(struct gw_handed));
    if (r->handed_block == 0)
        return false;
    const struct gw_handed *ring = gw_arena_ptr(l->arenas[p->owner], p->block);
    struct gw_handed *run = gw_arena_ptr(l->arena, r->handed_block);
    for (unsigned i = 0; i < n; i++)
        run[i] = ring[(p->leave.handed_head + i) % p->leave.handed_cap];
    return true;
}

static void detach(struct gw_lcore *l, uint32_t i, const struct gw_post *p)
{
    struct gw_home_session *s = gw_home_session(l, i);
    struct gw_resumption *r = gw_home_resumption(l, s);
    r->h = p->seq;
    r->out_count = p->leave.out_count;
    s->behind = s->stalled = true;
    s->epoch++;
    detached_append(l, s->resume_block);
    GW_COUNT(l->home_count.detached);
    if (!take_handed(l, r, p))
        gw_home_unbind(l, i);
    else
        gw_home_resume_waiting(l, i);
}

void gw_home_leave(struct gw_lcore *l, struct gw_post *p)
{
    uint32_t i = gw_home_session_find(l, p->session);
    if (i != 0 && p->n != 0 && gw_home_session(l, i)->resume_block != 0)
        detach(l, i, p);
    else if (i != 0)
        gw_home_unbind(l, i);
    struct gw_post answer = {.op = GW_POST_DONE, .block = p->block, .owner = p->owner};
    gw_post_answer(l, p->from, &answer);
}

bool gw_home_expire_detached(struct gw_lcore *l)
{
    struct gw_home_resume *h = &l->home->resume;
    if (h->detached_head == 0)
        return false;
    GW_COUNT(l->home_count.detached_expired);
    gw_home_unbind(l, at(l, h->detached_head)->session);
    return true;
}

/* ---- and comes back ---- */

/* What its client has handled leaves the mailbox. False: no room in a segment now. */
static bool remove_handled(struct gw_lcore *l, uint32_t i, uint32_t h)
{
    struct gw_home_session *s = gw_home_session(l, i);
    struct gw_resumption *r = gw_home_resumption(l, s);
    uint64_t positions[GW_REMOVAL_POSITIONS_MAX];
    while (r->handed_count > 0) {
        const struct gw_handed *run = gw_arena_ptr(l->arena, r->handed_block);
        unsigned n = 0;
        while (n < r->handed_count && n < GW_REMOVAL_POSITIONS_MAX &&
               (int32_t)(h - run[r->handed_first + n].stanza_number) >= 0) {
            positions[n] = run[r->handed_first + n].position;
            n++;
        }
        if (n == 0)
            return true;
        if (!gw_home_can_append_removal(l, n))
            return false;
        gw_home_append_account_removal(l, s->account, GW_EVENT_DELIVERED, positions, n);
        GW_COUNT_ADD(l->home_count.removed, n);
        r->handed_first = (uint16_t)(r->handed_first + n);
        r->handed_count = (uint16_t)(r->handed_count - n);
    }
    return true;
}

/* A detached session whose old connection has nothing under way any more. False: no room now. */
static bool begin(struct gw_lcore *l, uint32_t i, struct gw_post *p)
{
    struct gw_home_session *s = gw_home_session(l, i);
    struct gw_resumption *r = gw_home_resumption(l, s);
    struct gw_bind *b = gw_arena_ptr(l->arenas[p->owner], p->block);
    uint32_t handled = b->out_count;
    if ((int32_t)(r->out_count - handled) < 0) {
        b->out_count = r->out_count;
        answer_resume(l, p, GW_RESUMED_TOO_HIGH, handled);
        return true;
    }
    if (!remove_handled(l, i, handled) || !append_count(l, i, r->h))
        return false;
    detached_unlink(l, s->resume_block);
    r->resuming = true;
    p->session = (struct gw_ref){i, s->generation, (uint16_t)l->index};
    gw_home_enqueue(l, s->account, p);
    return true;
}

/* Reading starts at the first that its client has not confirmed. */
static void rewind_cursor(struct gw_lcore *l, struct gw_home_session *s, struct gw_resumption *r)
{
    const struct gw_handed *run = r->handed_count > 0 ? gw_arena_ptr(l->arena, r->handed_block) : NULL;
    for (unsigned i = 0; i < r->handed_count; i++)
        for (unsigned own = 0; own < 2; own++) /* which of them it was, nobody remembers */
            gw_home_rewind(l, s, run[r->handed_first + i].position, own);
    gw_arena_put(l->arena, r->handed_block);
    r->handed_block = 0;
    r->handed_count = 0;
}

void gw_home_resume_durable(struct gw_lcore *l, struct gw_post *p)
{
    uint32_t i = gw_home_session_find(l, p->session);
    if (i == 0) { /* ended meanwhile */
        answer_resume(l, p, GW_RESUMED_NOT_FOUND, 0);
        return;
    }
    struct gw_home_session *s = gw_home_session(l, i);
    struct gw_resumption *r = gw_home_resumption(l, s);
    struct gw_bind *b = gw_arena_ptr(l->arenas[p->owner], p->block);
    struct gw_bytes jid = gw_session_jid(l, s);
    if (gw_home_account(l, s->account)->blocks &&
        !gw_home_tell_blocks(l, gw_home_account(l, s->account), p->conn)) {
        r->resuming = false;
        detached_append(l, s->resume_block);
        answer_resume(l, p, GW_RESUMED_BUSY, 0);
        return;
    }
    memcpy(b->text, jid.p, jid.len);
    b->len = (uint16_t)jid.len;
    s->conn = p->conn;
    s->tuple = b->tuple;
    s->in_flight = 0;
    s->stalled = false;
    rewind_cursor(l, s, r);
    r->detached = r->resuming = false;
    answer_resume(l, p, GW_RESUMED_OK, r->h);
    s->behind = s->available;
    if (s->behind)
        gw_home_read_later(l, i, gw_home_last_number(l));
    else
        gw_home_flush_transients(l, i);
    gw_home_resume_waiting(l, i);
}

static uint32_t find_by_name(struct gw_lcore *l, const struct gw_home_account *a,
                             const struct gw_stream_name *name)
{
    uint32_t i = a->sessions;
    for (; i != 0; i = gw_home_session(l, i)->next) {
        const struct gw_resumption *r = gw_home_resumption(l, gw_home_session(l, i));
        if (r != NULL && memcmp(&r->name, name, sizeof(*name)) == 0)
            break;
    }
    return i;
}

bool gw_home_is_resumable(struct gw_lcore *l, const struct gw_home_account *a,
                          const struct gw_stream_name *name)
{
    return find_by_name(l, a, name) != 0;
}

/* The session is here. False: no room now. */
static bool resume_here(struct gw_lcore *l, uint32_t i, struct gw_post *p)
{
    const struct gw_home_session *s = gw_home_session(l, i);
    struct gw_resumption *r = gw_home_resumption(l, s);
    if (r->detached && !r->resuming && s->untaken == 0)
        return begin(l, i, p);
    /* It waits for the old connection to go; when that looks alive, it is told to. */
    bool busy = r->resume_wait != 0 ||
                (!r->detached && !gw_home_end_connection(l, i, GW_STREAM_CONFLICT));
    if (busy)
        answer_resume(l, p, GW_RESUMED_BUSY, 0);
    else
        r->resume_wait = take_wait(l, p);
    return true;
}

void gw_home_resume_waiting(struct gw_lcore *l, uint32_t i)
{
    const struct gw_home_session *s = gw_home_session(l, i);
    struct gw_resumption *r = gw_home_resumption(l, s);
    if (r == NULL || r->resume_wait == 0)
        return;
    if (!r->detached) { /* it went to another, who has to give it up now */
        if (gw_home_end_connection(l, i, GW_STREAM_CONFLICT))
            return;
        struct gw_post p = end_wait(l, &r->resume_wait);
        answer_resume(l, &p, GW_RESUMED_BUSY, 0);
    } else if (!r->resuming && s->untaken == 0) {
        struct gw_post p = end_wait(l, &r->resume_wait);
        gw_home_post(l, &p);
    }
}

bool gw_home_resume(struct gw_lcore *l, uint32_t account, struct gw_post *p)
{
    const struct gw_bind *b = gw_arena_ptr(l->arenas[p->owner], p->block);
    const struct gw_home_account *a = account ? gw_home_account(l, account) : NULL;
    if (a == NULL || a->state != GW_ACCOUNT_READY ||
        memcmp(a->identity.hash, b->identity.hash, sizeof(a->identity.hash)) != 0) {
        answer_resume(l, p, a == NULL ? GW_RESUMED_BUSY : GW_RESUMED_NOT_FOUND, 0);
        return true;
    }
    uint32_t i = find_by_name(l, a, &b->name);
    if (i != 0)
        return resume_here(l, i, p);
    if (gw_home_resumption_ended(l, &b->name))
        answer_resume(l, p, GW_RESUMED_NOT_FOUND, 0);
    else if (!gw_home_read_record(l, account, p))
        answer_resume(l, p, GW_RESUMED_BUSY, 0);
    return true;
}

void gw_home_resume_refuse(struct gw_lcore *l, const struct gw_post *p, int err)
{
    answer_resume(l, p, err == -ENOENT ? GW_RESUMED_NOT_FOUND : GW_RESUMED_BUSY, 0);
}

/* Made anew from its record: as if its connection had gone just now. */
void gw_home_resumption_restore(struct gw_lcore *l, uint32_t i, const struct gw_stream_name *name,
                                uint32_t h, uint32_t out_count, uint64_t version)
{
    struct gw_home_session *s = gw_home_session(l, i);
    struct gw_resumption *r = gw_home_resumption(l, s);
    const struct gw_counted *c = gw_counts_find(l->counts, name);
    r->name = *name;
    r->version = version;
    r->h = c != NULL && (int32_t)(c->h - h) > 0 ? c->h : h;
    r->h_kept = h;
    r->out_count = out_count;
    s->sm = s->behind = s->stalled = true;
    detached_append(l, s->resume_block);
}

/* ---- each pass ---- */

unsigned gw_home_resume_work(struct gw_lcore *l)
{
    struct gw_home_resume *h = &l->home->resume;
    unsigned n = 0;
    while (n < LOOKED_AT_MAX && h->detached_head != 0 &&
           l->now_us - at(l, h->detached_head)->detached_us >= l->cfg->resume_timeout_us) {
        (void)gw_home_expire_detached(l);
        n++;
    }
    keep_old_counts(l);
    n += gw_home_keep_some(l);
    n += gw_home_read_records(l);
    n += gw_home_sweep(l);
    publish_floor(l);
    return n;
}
