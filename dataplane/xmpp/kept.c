/* SPDX-License-Identifier: Apache-2.0 */
/* The records of sessions that can be resumed: written, read back after a crash, removed, swept. */
#include <errno.h>

#include "../base/check.h"
#include "../base/text.h"
#include "counts.h"
#include "home.h"

#define RECORD_VERSION 1
#define RECORD_BYTES_MAX                                                                           \
    (sizeof(struct record) + GW_JID_BYTES_MAX + GW_RECORD_PRESENCE_MAX + GW_SMALL_OVERHEAD_BYTES)
#define SWEEP_BYTES (64u << 10)

/* On disk, sealed, under the stream's name; little-endian. Behind it the full JID and the presence. */
struct record {
    uint8_t version;
    uint8_t available;
    int8_t priority;
    uint8_t carbons;
    uint32_t h;
    uint64_t since_us, available_us; /* wall clock */
    struct gw_identity identity;
    uint16_t bare_len, jid_len;
    uint32_t presence_len;
};
_Static_assert(sizeof(struct record) == 64, "on disk");

static struct gw_resumption *at(const struct gw_lcore *l, gw_block b)
{
    return gw_arena_ptr(l->arena, b);
}

static struct gw_bytes key_of(const struct gw_stream_name *n)
{
    return gw_bytes(n->b, sizeof(n->b));
}

/* ---- written ---- */

void gw_home_keep_later(struct gw_lcore *l, gw_block b)
{
    struct gw_home_resume *h = &l->home->resume;
    struct gw_resumption *r = at(l, b);
    if (r->keeping) {
        r->again = true;
        return;
    }
    if (r->due)
        return;
    r->due = true;
    r->due_next = 0;
    *(h->due_tail != 0 ? &at(l, h->due_tail)->due_next : &h->due_head) = b;
    h->due_tail = b;
}

static struct gw_bytes presence_of(const struct gw_lcore *l, const struct gw_home_session *s)
{
    const struct gw_home_text *t = s->presence != 0 ? gw_arena_ptr(l->arena, s->presence) : NULL;
    return t != NULL && t->len <= GW_RECORD_PRESENCE_MAX ? gw_bytes(t->text, t->len)
                                                         : gw_bytes(NULL, 0);
}

/* The record, sealed, in a block of its own. Bytes of it, or 0: no memory. */
static uint32_t seal_record(struct gw_lcore *l, struct gw_resumption *r)
{
    const struct gw_home_session *s = gw_home_session(l, r->session);
    struct gw_bytes jid = gw_session_jid(l, s), presence = presence_of(l, s);
    struct record head = {
        .version = RECORD_VERSION,
        .available = s->available,
        .priority = s->priority,
        .carbons = s->carbons,
        .h = r->h,
        .since_us = s->since_wall_us,
        .available_us = s->available_wall_us,
        .identity = gw_home_account(l, s->account)->identity,
        .bare_len = s->bare_len,
        .jid_len = s->jid_len,
        .presence_len = (uint32_t)presence.len,
    };
    struct gw_text t = gw_text(l->scratch, GW_SCRATCH_BYTES);
    gw_text_put(&t, gw_bytes(&head, sizeof(head)));
    gw_text_put(&t, jid);
    gw_text_put(&t, presence);
    r->record = gw_arena_get(l->arena, t.len + GW_SMALL_OVERHEAD_BYTES);
    if (r->record == 0)
        return 0;
    gw_small_seal(l->keys, l->sealer, GW_NS_SESSION, key_of(&r->name), gw_text_bytes(&t),
                  gw_arena_ptr(l->arena, r->record));
    r->h_kept = r->h;
    return (uint32_t)(t.len + GW_SMALL_OVERHEAD_BYTES);
}

/* False: not now. */
static bool submit_keep(struct gw_lcore *l, gw_block b)
{
    struct gw_resumption *r = at(l, b);
    struct gw_store_request rq = {
        .op = r->unsure ? GW_STORE_GET : GW_STORE_CAS,
        .ns = GW_NS_SESSION,
        .key = r->name.b,
        .key_len = sizeof(r->name.b),
        .from = r->version,
        .tag = gw_home_tag(GW_HOME_TAG_KEEP, b),
    };
    r->removing = !r->unsure && r->session == 0;
    if (!r->unsure && !r->removing) {
        rq.data_len = seal_record(l, r);
        if (rq.data_len == 0)
            return false;
        rq.data = gw_arena_ptr(l->arena, r->record);
    }
    if (gw_store_submit(l->store, &rq) == 0)
        return true;
    gw_arena_put(l->arena, r->record);
    r->record = 0;
    return false;
}

static bool is_nothing_left(const struct gw_resumption *r)
{
    return r->session == 0 && !r->unsure && r->version == 0;
}

unsigned gw_home_keep_some(struct gw_lcore *l)
{
    struct gw_home_resume *h = &l->home->resume;
    unsigned n = 0;
    for (; h->due_head != 0 && h->keeping < GW_KEEPS_UNDER_WAY; n++) {
        gw_block b = h->due_head;
        struct gw_resumption *r = at(l, b);
        bool nothing = is_nothing_left(r);
        if (!nothing && !submit_keep(l, b))
            break;
        h->due_head = r->due_next;
        if (h->due_head == 0)
            h->due_tail = 0;
        r->due = false;
        if (nothing) {
            gw_home_resumption_free(l, b);
            continue;
        }
        r->keeping = true;
        h->keeping++;
    }
    return n;
}

/* What the store says of a version that we were not sure of. */
static void learn_version(struct gw_resumption *r, const struct gw_store_completion *c)
{
    if (c->status != 0 && c->status != -EMSGSIZE && c->status != -ENOENT)
        return;
    r->version = c->status == -ENOENT ? 0 : c->seq;
    r->unsure = false;
}

static void written(struct gw_lcore *l, gw_block b, const struct gw_store_completion *c)
{
    struct gw_resumption *r = at(l, b);
    if (c->status != 0) {
        GW_COUNT(l->home_count.session_write_errors);
        r->unsure = true;
        return;
    }
    r->version = r->removing ? 0 : c->seq;
    if (!r->removing) {
        GW_COUNT(l->home_count.session_writes);
        if (r->h == r->h_kept)
            gw_home_count_unlink(l, b);
    }
}

void gw_home_kept(struct gw_lcore *l, gw_block b, const struct gw_store_completion *c)
{
    struct gw_resumption *r = at(l, b);
    bool asked = r->unsure;
    gw_arena_put(l->arena, r->record);
    r->record = 0;
    r->keeping = false;
    l->home->resume.keeping--;
    if (asked)
        learn_version(r, c);
    else
        written(l, b, c);
    bool again = r->again || asked || r->unsure || r->session == 0;
    r->again = false;
    if (is_nothing_left(r))
        gw_home_resumption_free(l, b);
    else if (again)
        gw_home_keep_later(l, b);
    else
        gw_home_resumption_kept(l, b);
}

/* ---- read back ---- */

static bool submit_read(struct gw_lcore *l, gw_block b)
{
    struct gw_resume_read *rr = gw_arena_ptr(l->arena, b);
    const struct gw_bind *bind = gw_arena_ptr(l->arenas[rr->post.owner], rr->post.block);
    struct gw_store_request rq = {
        .op = GW_STORE_GET,
        .ns = GW_NS_SESSION,
        .key = bind->name.b,
        .key_len = sizeof(bind->name.b),
        .data = rr->value,
        .data_len = RECORD_BYTES_MAX,
        .tag = gw_home_tag(GW_HOME_TAG_RESUME, b),
    };
    return gw_store_submit(l->store, &rq) == 0;
}

static void read_or_wait(struct gw_lcore *l, gw_block b)
{
    if (submit_read(l, b))
        return;
    ((struct gw_resume_read *)gw_arena_ptr(l->arena, b))->due_next = l->home->resume.read_due;
    l->home->resume.read_due = b;
}

unsigned gw_home_read_records(struct gw_lcore *l)
{
    unsigned n = 0;
    gw_block b = l->home->resume.read_due;
    l->home->resume.read_due = 0;
    for (gw_block next; b != 0; b = next, n++) {
        next = ((struct gw_resume_read *)gw_arena_ptr(l->arena, b))->due_next;
        read_or_wait(l, b);
    }
    return n;
}

bool gw_home_read_record(struct gw_lcore *l, uint32_t account, const struct gw_post *p)
{
    gw_block b = gw_arena_get(l->arena, sizeof(struct gw_resume_read) + RECORD_BYTES_MAX);
    if (b == 0)
        return false;
    struct gw_resume_read *rr = gw_arena_ptr(l->arena, b);
    rr->post = *p;
    rr->account = account;
    gw_home_account_hold(l, account);
    read_or_wait(l, b);
    return true;
}

/* A record that opens and makes sense: its head, and what is behind it. 0, or negative errno. */
static int open_record(struct gw_lcore *l, const struct gw_stream_name *name, uint8_t *value,
                       size_t len, struct record *head, const uint8_t **behind)
{
    struct gw_bytes plain;
    int rc = gw_small_open(l->keys, l->sealer, GW_NS_SESSION, key_of(name), value, len, &plain);
    if (rc != 0)
        return rc;
    if (plain.len < sizeof(*head))
        return -EBADMSG;
    memcpy(head, plain.p, sizeof(*head));
    *behind = plain.p + sizeof(*head);
    bool ok = head->version == RECORD_VERSION && head->jid_len <= GW_JID_BYTES_MAX &&
              head->bare_len + 1 < head->jid_len &&
              head->jid_len - head->bare_len - 1 <= GW_JID_PART_BYTES_MAX &&
              plain.len == sizeof(*head) + head->jid_len + (size_t)head->presence_len;
    return ok ? 0 : -EBADMSG;
}

/* The session of a record, detached. 0, or negative errno. */
static int restore(struct gw_lcore *l, struct gw_resume_read *rr, const struct gw_store_completion *c)
{
    const struct gw_bind *b = gw_arena_ptr(l->arenas[rr->post.owner], rr->post.block);
    struct gw_home_account *a = gw_home_account(l, rr->account);
    struct record head;
    const uint8_t *text;
    int rc = c->status != 0 ? c->status : open_record(l, &b->name, rr->value, c->len, &head, &text);
    if (rc != 0)
        return rc;
    struct gw_bytes jid = gw_bytes(text, head.jid_len);
    if (memcmp(&head.identity, &a->identity, sizeof(head.identity)) != 0 ||
        gw_home_has_session(l, a, jid)) /* a newer one has its resource */
        return -ENOENT;
    struct gw_presence_form f = {
        .available = head.available != 0,
        .priority = head.priority,
        .carbons = head.carbons != 0,
        .available_us = head.available_us,
        .xml = gw_bytes(text + head.jid_len, head.presence_len),
    };
    uint32_t i = gw_home_session_restore(l, rr->account, jid, head.bare_len, head.since_us, &f);
    if (i == 0)
        return -ENOMEM;
    gw_home_resumption_restore(l, i, &b->name, head.h, b->out_count, c->seq);
    GW_COUNT(l->home_count.restored);
    return 0;
}

void gw_home_record_read(struct gw_lcore *l, gw_block block, const struct gw_store_completion *c)
{
    struct gw_resume_read *rr = gw_arena_ptr(l->arena, block);
    const struct gw_bind *b = gw_arena_ptr(l->arenas[rr->post.owner], rr->post.block);
    struct gw_home_account *a = gw_home_account(l, rr->account);
    uint32_t account = rr->account;
    bool ready = gw_home_account_is_known(a);
    int rc = ready && !gw_home_resumption_ended(l, &b->name) ? 0 : -ENOENT;
    if (rc == 0 && !gw_home_is_resumable(l, a, &b->name)) /* it may have come back twice */
        rc = restore(l, rr, c);
    if (rc == -EBADMSG)
        GW_COUNT(l->home_count.records_damaged);
    if (rc == 0)
        gw_home_post(l, &rr->post);
    else
        gw_home_resume_refuse(l, &rr->post, rc == -EBADMSG ? -ENOENT : rc);
    gw_arena_put(l->arena, block);
    a->pending--;
    gw_home_account_relax(l, account);
}

/* ---- what a start before has left ---- */

static unsigned sweep_read(struct gw_lcore *l)
{
    struct gw_sweep *w = &l->home->resume.sweep;
    static const struct gw_stream_name none;
    if (w->due_us == 0)
        w->due_us = l->now_us + 2 * l->cfg->resume_timeout_us;
    if (l->now_us < w->due_us)
        return 0;
    if (w->block == 0)
        w->block = gw_arena_get(l->arena, SWEEP_BYTES);
    if (w->block == 0)
        return 0;
    struct gw_store_request rq = {
        .op = GW_STORE_SCAN,
        .ns = GW_NS_SESSION,
        .key = w->after.b,
        .key_len = memcmp(&w->after, &none, sizeof(none)) != 0 ? sizeof(w->after.b) : 0,
        .data = gw_arena_ptr(l->arena, w->block),
        .data_len = SWEEP_BYTES,
        .tag = gw_home_tag(GW_HOME_TAG_SWEEP, 0),
    };
    if (gw_store_submit(l->store, &rq) != 0)
        return 0;
    w->phase = GW_SWEEP_READS;
    return 1;
}

static void sweep_ends(struct gw_lcore *l)
{
    struct gw_sweep *w = &l->home->resume.sweep;
    gw_arena_put(l->arena, w->block);
    w->block = 0;
    w->phase = GW_SWEEP_ENDED;
}

/* Whether it is of an account that is homed here, and nobody has come back for it. */
static bool is_left_over(struct gw_lcore *l, const struct gw_stream_name *name,
                         struct gw_scan_entry *e)
{
    struct record head;
    const uint8_t *text;
    uint8_t *value = (uint8_t *)(e + 1) + e->key_len;
    if (open_record(l, name, value, e->len - sizeof(*e) - e->key_len, &head, &text) != 0)
        return false;
    struct gw_bytes bare = gw_bytes(text, head.bare_len);
    uint32_t account = gw_home_of(l, bare) == l->index ? gw_home_account_find(l, bare) : 0;
    return gw_home_of(l, bare) == l->index &&
           (account == 0 || !gw_home_is_resumable(l, gw_home_account(l, account), name));
}

/* The next left-over record of the slice is removed; behind the last one, another slice is read. */
static unsigned sweep_look(struct gw_lcore *l)
{
    struct gw_sweep *w = &l->home->resume.sweep;
    uint8_t *slice = gw_arena_ptr(l->arena, w->block);
    while (w->off < w->len) {
        struct gw_scan_entry *e = (void *)(slice + w->off);
        struct gw_store_request rq = {
            .op = GW_STORE_CAS,
            .ns = GW_NS_SESSION,
            .key = e + 1,
            .key_len = e->key_len,
            .from = e->version,
            .tag = gw_home_tag(GW_HOME_TAG_SWEEP, 0),
        };
        if (e->key_len == sizeof(w->after.b)) {
            memcpy(w->after.b, e + 1, sizeof(w->after.b));
            if (is_left_over(l, &w->after, e)) {
                if (gw_store_submit(l->store, &rq) != 0)
                    return 0;
                w->phase = GW_SWEEP_REMOVES;
                return 1;
            }
        }
        w->off += (uint32_t)gw_record_padded(e->len);
    }
    if (w->more)
        w->phase = GW_SWEEP_WAITS;
    else
        sweep_ends(l);
    return 1;
}

void gw_home_swept(struct gw_lcore *l, const struct gw_store_completion *c)
{
    struct gw_sweep *w = &l->home->resume.sweep;
    if (w->phase == GW_SWEEP_REMOVES) {
        const struct gw_scan_entry *e =
            (const void *)((uint8_t *)gw_arena_ptr(l->arena, w->block) + w->off);
        GW_COUNT_ADD(l->home_count.sessions_swept, c->status == 0);
        w->off += (uint32_t)gw_record_padded(e->len);
    } else if (c->status == 0) {
        w->off = 0;
        w->len = c->len;
        w->more = c->more;
    } else { /* tried again later */
        w->due_us = 0;
        w->phase = GW_SWEEP_WAITS;
        return;
    }
    w->phase = GW_SWEEP_LOOKS;
}

unsigned gw_home_sweep(struct gw_lcore *l)
{
    switch ((enum gw_sweep_phase)l->home->resume.sweep.phase) {
    case GW_SWEEP_WAITS:
        return sweep_read(l);
    case GW_SWEEP_LOOKS:
        return sweep_look(l);
    case GW_SWEEP_READS:
    case GW_SWEEP_REMOVES:
    case GW_SWEEP_ENDED:
        break;
    }
    return 0;
}
