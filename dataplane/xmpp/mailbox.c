/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivery is a cursor over the mailbox. A new message is handed over at once only to sessions whose
 * cursor stands at its position; the others read, in order, from the store, as their window allows.
 */
#include "home.h"

#include <errno.h>

#include "../base/check.h"

#define OPEN_BURST 32u

/* ---- to whom ---- */

static bool is_own(const struct gw_lcore *l, const struct gw_home_session *s, struct gw_bytes resource)
{
    return gw_bytes_eq(gw_session_resource(l, s), resource);
}

/* Whether a session of that resource is there that a message at this position is for. */
static bool is_claimed(const struct gw_lcore *l, const struct gw_home_account *a,
                       struct gw_bytes resource, uint64_t position)
{
    for (uint32_t i = a->sessions; i != 0; i = gw_home_session(l, i)->next) {
        const struct gw_home_session *t = gw_home_session(l, i);
        if (gw_session_claims(t, position) && is_own(l, t, resource))
            return true;
    }
    return false;
}

static bool is_inherited(const struct gw_lcore *l, const struct gw_home_session *s,
                         struct gw_bytes resource, uint64_t position)
{
    const struct gw_inherited *n = gw_home_inherited(l, s);
    return position < n->to && gw_bytes_eq(gw_bytes(n->resource, n->len), resource);
}

bool gw_home_wants(const struct gw_lcore *l, const struct gw_home_session *s, struct gw_bytes resource,
                   uint64_t position)
{
    bool reads = gw_session_reads(s);
    if (s->follows == GW_FOLLOWS_INHERITED)
        return reads && is_inherited(l, s, resource, position);
    if (resource.len == 0)
        return reads;
    if (is_own(l, s, resource))
        return s->available && (position < s->own_from || position >= s->own_cursor);
    /* RFC 6121 section 8.5.3.2.1: when that resource is not there, as if to the bare JID. */
    return reads && !is_claimed(l, gw_home_account(l, s->account), resource, position);
}

static uint64_t *cursor_of(const struct gw_lcore *l, struct gw_home_session *s)
{
    if (s->follows == GW_FOLLOWS_INHERITED)
        return &gw_home_inherited(l, s)->from;
    return s->follows == GW_FOLLOWS_OWN ? &s->own_cursor : &s->cursor;
}

static enum gw_follows next_followed(const struct gw_home_session *s)
{
    if (!gw_session_reads(s))
        return GW_FOLLOWS_OWN;
    return s->inherited != 0 ? GW_FOLLOWS_INHERITED : GW_FOLLOWS_MAILBOX;
}

/* It turns to what it is to follow. False: not yet. */
static bool turn(struct gw_lcore *l, struct gw_home_session *s)
{
    if (s->untaken == 0) {
        gw_home_inherited_drop_done(l, s);
        s->follows = (uint8_t)next_followed(s);
        return true;
    }
    if (s->follows != next_followed(s))
        return false;
    return s->follows != GW_FOLLOWS_INHERITED ||
           gw_home_inherited(l, s)->from < gw_home_inherited(l, s)->to;
}

static bool may_hand_over(const struct gw_lcore *l, const struct gw_home_session *s)
{
    return !s->stalled && s->in_flight < GW_DELIVERY_WINDOW &&
           gw_post_down_room(l, s->conn.lcore) > 0;
}

static void deliver(struct gw_lcore *l, uint32_t i, struct gw_post *p)
{
    struct gw_home_session *s = gw_home_session(l, i);
    p->op = GW_POST_DELIVER;
    p->conn = s->conn;
    p->session = (struct gw_ref){i, s->generation, (uint16_t)l->index};
    p->epoch = s->epoch;
    s->in_flight++;
    s->untaken++;
    *cursor_of(l, s) = p->deliver.position + 1;
    gw_post_down(l, s->conn.lcore, p);
}

/* ---- as it comes ---- */

static void fall_behind(struct gw_lcore *l, uint32_t i, uint64_t position)
{
    struct gw_home_session *s = gw_home_session(l, i);
    s->behind = true;
    *cursor_of(l, s) = position;
    gw_home_read_on(l, i); /* or the next confirmation starts it */
}

void gw_home_push(struct gw_lcore *l, uint32_t account, struct gw_post *post)
{
    struct gw_stanza *s = gw_post_stanza(l, post);
    struct gw_bytes resource = gw_stanza_to_resource(s);
    for (uint32_t i = gw_home_account(l, account)->sessions; i != 0;
         i = gw_home_session(l, i)->next) {
        struct gw_home_session *t = gw_home_session(l, i);
        if (t->behind || s->position < *cursor_of(l, t) ||
            !gw_home_wants(l, t, resource, s->position))
            continue;
        if (!may_hand_over(l, t)) {
            fall_behind(l, i, s->position);
            continue;
        }
        struct gw_post p = {
            .block = post->block,
            .owner = post->owner,
            .deliver = {.position = s->position, .off = s->xml_off, .len = s->xml_len,
                        .lent = GW_LENT_STANZA, .own = is_own(l, t, resource)},
        };
        s->lent++;
        GW_COUNT(l->home_count.pushed);
        deliver(l, i, &p);
    }
}

/* ---- refused for want of room, and room again ---- */

void gw_home_refused(struct gw_lcore *l, uint32_t i, const struct gw_post *p)
{
    struct gw_home_session *s = gw_home_session(l, i);
    const struct gw_resumption *r = gw_home_resumption(l, s);
    bool detached = r != NULL && r->detached;
    if (!detached) {
        check(s->in_flight > 0);
        s->in_flight--;
    }
    /* Of an earlier epoch: one before it was refused first, and where to go on is known from that. When
     * its connection has gone all are refused, and whoever resumes its stream is given them. */
    if (p->n != GW_TAKEN_GONE && !detached && p->epoch != s->epoch)
        return;
    s->behind = s->available;
    s->stalled = true;
    if (s->follows == GW_FOLLOWS_INHERITED)
        gw_home_inherited_rewind(l, s, p->deliver.position);
    else
        gw_home_rewind(l, s, p->deliver.position, p->deliver.own);
}

void gw_home_rewind(struct gw_lcore *l, struct gw_home_session *s, uint64_t position, bool own)
{
    if (own && position < s->own_cursor)
        s->own_cursor = position;
    if ((!own || gw_session_reads(s)) && position < s->cursor) {
        s->cursor = position;
        gw_home_inherited_clip(l, s);
    }
}

void gw_home_begin_reading(struct gw_lcore *l, uint32_t i)
{
    struct gw_home_session *s = gw_home_session(l, i);
    s->available_wall_us = l->wall_us;
    s->behind = true;
    gw_home_read_later(l, i, gw_home_last_number(l));
}

/* Once it has begun it goes on where it has been, also when it was away or has read all meanwhile. */
void gw_home_begin_own(struct gw_lcore *l, uint32_t i, bool was_reading)
{
    struct gw_home_session *s = gw_home_session(l, i);
    uint64_t end = gw_home_account(l, s->account)->durable_end;
    if (s->own_from == 0)
        s->own_from = s->own_cursor = was_reading ? s->cursor : end;
    else if (was_reading && s->own_cursor < s->cursor)
        s->own_cursor = s->cursor;
    if (!was_reading)
        s->available_wall_us = l->wall_us;
    s->behind = !turn(l, s) || s->own_cursor < end;
    if (s->behind)
        gw_home_read_later(l, i, 0);
    else
        gw_home_flush_transients(l, i);
}

void gw_home_room(struct gw_lcore *l, struct gw_post *p)
{
    uint32_t i = gw_home_session_find(l, p->session);
    if (i == 0)
        return;
    struct gw_home_session *s = gw_home_session(l, i);
    if (p->epoch != s->epoch)
        return;
    s->epoch++;
    s->stalled = false;
    if (s->behind)
        gw_home_read_later(l, i, 0);
}

/* ---- reading ---- */

void gw_home_read_later(struct gw_lcore *l, uint32_t i, uint64_t after_segment)
{
    struct gw_home *h = l->home;
    struct gw_home_session *s = gw_home_session(l, i);
    if (s->read_after < after_segment)
        s->read_after = after_segment;
    if (s->queued || s->reading)
        return;
    s->queued = true;
    s->read_next = 0;
    if (h->read_tail != 0)
        gw_home_session(l, h->read_tail)->read_next = i;
    else
        h->read_head = i;
    h->read_tail = i;
}

void gw_home_read_on(struct gw_lcore *l, uint32_t i)
{
    const struct gw_home_session *s = gw_home_session(l, i);
    if (s->behind && !s->stalled && s->in_flight <= GW_DELIVERY_WINDOW / 2)
        gw_home_read_later(l, i, 0);
}

static struct gw_read_slot *free_slot(struct gw_home *h)
{
    for (unsigned i = 0; i < GW_READS_UNDER_WAY; i++)
        if (!h->reads[i].used)
            return &h->reads[i];
    return NULL;
}

static bool submit_read(struct gw_lcore *l, struct gw_read_slot *r, uint32_t session, size_t bytes)
{
    struct gw_home_session *s = gw_home_session(l, session);
    struct gw_home_account *a = gw_home_account(l, s->account);
    gw_block b = gw_arena_get(l->arena, bytes);
    if (b == 0)
        return false;
    struct gw_home_read *read = gw_arena_ptr(l->arena, b);
    *read = (struct gw_home_read){.identity = a->identity};
    uint32_t cap = (uint32_t)(gw_arena_block_bytes(l->arena, b) - offsetof(struct gw_home_read, run));
    struct gw_store_request rq = {
        .op = GW_STORE_READ,
        .mailbox = gw_identity_mailbox(&a->identity),
        .identity = &read->identity,
        .from = *cursor_of(l, s),
        .data = read->run,
        .data_len = cap,
        .tag = gw_home_tag(GW_HOME_TAG_READ, (uint32_t)(r - l->home->reads)),
    };
    if (gw_store_submit(l->store, &rq) != 0) {
        gw_arena_put(l->arena, b);
        return false;
    }
    *r = (struct gw_read_slot){.session = session, .generation = s->generation, .used = true,
                               .block = b, .cap = cap, .from = rq.from,
                               .after = s->read_after, .end = a->durable_end};
    s->reading = true;
    return true;
}

/* The session at the head of the list, if it is still there. False: not now. */
static bool start_first(struct gw_lcore *l)
{
    struct gw_home *h = l->home;
    uint32_t i = h->read_head;
    struct gw_home_session *s = gw_home_session(l, i);
    if (s->account != 0 && s->behind && turn(l, s)) {
        struct gw_read_slot *r = free_slot(h);
        if (s->read_after > h->durable_number || r == NULL ||
            !submit_read(l, r, i, GW_READ_BYTES))
            return false;
    }
    h->read_head = s->read_next;
    if (h->read_head == 0)
        h->read_tail = 0;
    s->queued = false;
    if (s->account == 0) /* unbound meanwhile: see gw_home_unbind */
        gw_slab_free(&h->sessions, i);
    return true;
}

unsigned gw_home_start_reads(struct gw_lcore *l)
{
    unsigned n = 0;
    while (l->home->read_head != 0 && start_first(l))
        n++;
    return n;
}

/* ---- what has been read ---- */

/* A walk over one run of records for one session. */
struct walk {
    struct gw_lcore *l;
    uint32_t session;
    gw_block block;
    struct gw_home_read *read;
    bool stopped; /* window or credits used up before the end */
};

/* It is too old. When it cannot be removed now, the next round over all mailboxes finds it. */
static void expire(struct gw_lcore *l, uint32_t account, uint64_t position)
{
    GW_COUNT(l->home_count.expired_unread);
    if (gw_home_can_append_removal(l, 1))
        gw_home_append_account_removal(l, account, GW_EVENT_EXPIRED, &position, 1);
}

static void hand_over_record(struct walk *w, const struct gw_record_head *r)
{
    struct gw_lcore *l = w->l;
    struct gw_home_session *s = gw_home_session(l, w->session);
    struct gw_stored_meta meta;
    const uint8_t *body = gw_record_body(r);
    size_t len = gw_record_body_len(r);
    memcpy(&meta, body, len < sizeof(meta) ? len : sizeof(meta));
    if (len < sizeof(meta) + meta.resource_len || meta.version != GW_STORED_VERSION ||
        meta.delay_off >= len - sizeof(meta) - meta.resource_len) {
        GW_COUNT(l->home_count.records_damaged);
        return;
    }
    if (meta.accepted_us < gw_expire_before_us(l)) {
        expire(l, s->account, r->position);
        return;
    }
    struct gw_bytes resource = gw_bytes(body + sizeof(meta), meta.resource_len);
    if (!gw_home_wants(l, s, resource, r->position))
        return;
    const uint8_t *xml = body + sizeof(meta) + meta.resource_len;
    bool own = is_own(l, s, resource);
    bool waited = meta.accepted_us < s->available_wall_us || (resource.len != 0 && !own);
    struct gw_post p = {
        .block = w->block,
        .owner = (uint8_t)l->index,
        .deliver = {.position = r->position,
                    .off = (uint32_t)(xml - (const uint8_t *)w->read),
                    .len = (uint32_t)(body + len - xml),
                    .delay_off = waited ? meta.delay_off : 0,
                    .delay_us = meta.accepted_us,
                    .lent = GW_LENT_READ,
                    .own = own},
    };
    w->read->lent++;
    GW_COUNT(l->home_count.read_back);
    deliver(l, w->session, &p);
}

/* Opens in place what the store has not opened: messages that were still in the log. */
static void open_burst(struct walk *w, const struct gw_record_head **records, unsigned n, bool *ok)
{
    struct gw_lcore *l = w->l;
    const struct gw_home_session *s = gw_home_session(l, w->session);
    const struct gw_identity *id = &gw_home_account(l, s->account)->identity;
    struct gw_seal_op ops[OPEN_BURST];
    uint8_t aads[OPEN_BURST][GW_RECORD_AAD_BYTES];
    unsigned which[OPEN_BURST], count = 0;
    for (unsigned i = 0; i < n; i++) {
        const struct gw_record_head *r = records[i];
        const uint8_t *key = gw_keyring_key(l->keys, r->incarnation);
        uint8_t *body = (uint8_t *)(uintptr_t)gw_record_body(r); /* in our own read block */
        ok[i] = (r->flags & GW_RECORD_OPENED) != 0;
        if (ok[i] || key == NULL)
            continue;
        gw_record_aad(aads[count], id, r->position, r->kind, false);
        ops[count] = (struct gw_seal_op){
            .key = key,
            .nonce = {r->nonce_thread, r->nonce_counter},
            .aad = aads[count],
            .aad_len = GW_RECORD_AAD_BYTES,
            .len = (uint32_t)gw_record_body_len(r),
            .in = body,
            .out = body,
            .tag = (uint8_t *)(uintptr_t)r->tag,
        };
        which[count++] = i;
    }
    gw_open_burst(l->sealer, ops, count);
    for (unsigned k = 0; k < count; k++)
        ok[which[k]] = ops[k].ok;
}

static void hand_over_burst(struct walk *w, const struct gw_record_head **records, unsigned n)
{
    struct gw_lcore *l = w->l;
    struct gw_home_session *s = gw_home_session(l, w->session);
    bool ok[OPEN_BURST];
    open_burst(w, records, n, ok);
    for (unsigned i = 0; i < n; i++) {
        if (s->follows != GW_FOLLOWS_INHERITED && may_hand_over(l, s))
            gw_home_transients_before(l, w->session, records[i]->position);
        if (!may_hand_over(l, s)) {
            w->stopped = true;
            *cursor_of(l, s) = records[i]->position;
            return;
        }
        *cursor_of(l, s) = records[i]->position + 1;
        if (ok[i])
            hand_over_record(w, records[i]);
        else
            GW_COUNT(l->home_count.records_damaged);
    }
}

static void hand_over_run(struct walk *w, size_t len)
{
    const struct gw_record_head *burst[OPEN_BURST], *r;
    size_t off = 0;
    unsigned n = 0;
    while (!w->stopped && (r = gw_record_next(w->read->run, len, &off)) != NULL) {
        burst[n++] = r;
        if (n == OPEN_BURST) {
            hand_over_burst(w, burst, n);
            n = 0;
        }
    }
    if (n > 0 && !w->stopped)
        hand_over_burst(w, burst, n);
}

/* The run is dealt with: is the cursor at the end now, or is there more to read? */
static void move_on(struct gw_lcore *l, uint32_t session, const struct gw_read_slot *slot,
                    const struct gw_store_completion *c, bool stopped)
{
    struct gw_home_session *s = gw_home_session(l, session);
    struct gw_home_account *a = gw_home_account(l, s->account);
    uint64_t *at = cursor_of(l, s);
    if (stopped) {
        gw_home_read_on(l, session); /* it was the credits: try again */
        return;
    }
    if (c->more) {
        if (c->next > *at)
            *at = c->next;
        gw_home_read_later(l, session, 0);
        return;
    }
    if (s->follows == GW_FOLLOWS_INHERITED) { /* all that there is of it has been seen */
        *at = gw_home_inherited(l, s)->to;
        gw_home_read_later(l, session, 0);
        return;
    }
    /* All that was durable when the read was submitted has been seen. */
    if (*at < slot->end)
        *at = slot->end;
    if (*at < a->durable_end) {
        gw_home_read_later(l, session, 0);
        return;
    }
    s->behind = false;
    gw_home_flush_transients(l, session);
}

static void read_failed(struct gw_lcore *l, uint32_t session, const struct gw_store_completion *c)
{
    size_t need = offsetof(struct gw_home_read, run) + c->len;
    struct gw_read_slot *r = free_slot(l->home);
    /* One record larger than a usual read gets a block of its own. */
    if (c->status == -EMSGSIZE && r != NULL && need <= GW_ARENA_BLOCK_BYTES_MAX &&
        submit_read(l, r, session, need))
        return;
    GW_COUNT(l->home_count.reads_failed);
    gw_home_read_later(l, session, 0);
}

/* It was moved back meanwhile, by a refusal, or has inherited something: what was read is not what it
 * is to follow now. */
static bool is_overtaken(const struct gw_lcore *l, struct gw_home_session *s,
                         const struct gw_read_slot *slot)
{
    return s->follows != next_followed(s) || *cursor_of(l, s) != slot->from ||
           s->read_after != slot->after;
}

void gw_home_read_done(struct gw_lcore *l, uint32_t index, const struct gw_store_completion *c)
{
    struct gw_read_slot slot = l->home->reads[index];
    l->home->reads[index].used = false;
    struct gw_ref ref = {slot.session, slot.generation, (uint16_t)l->index};
    uint32_t session = gw_home_session_find(l, ref);
    struct gw_home_read *read = gw_arena_ptr(l->arena, slot.block);
    if (session != 0) {
        struct gw_home_session *s = gw_home_session(l, session);
        s->reading = false;
        if (!s->behind || s->stalled) { /* unavailable, or without room or a connection, meanwhile */
        } else if (is_overtaken(l, s, &slot)) {
            gw_home_read_later(l, session, 0);
        } else if (c->status != 0) {
            read_failed(l, session, c);
        } else {
            struct walk w = {.l = l, .session = session, .block = slot.block, .read = read};
            hand_over_run(&w, c->len);
            move_on(l, session, &slot, c, w.stopped);
        }
    }
    read->done = true;
    if (read->lent == 0)
        gw_arena_put(l->arena, slot.block);
}
