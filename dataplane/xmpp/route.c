/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of a home: what came in is numbered by segment, and dealt with when that segment is
 * durable, in the order in which it came. A stanza that is not stored waits behind those that are.
 */
#include "home.h"

#include "../base/check.h"
#include "carbons.h"

void gw_home_return(struct gw_lcore *l, struct gw_post *p, bool settle, enum gw_condition why)
{
    struct gw_post answer = {
        .op = GW_POST_RETURN,
        .conn = p->conn,
        .seq = p->seq,
        .block = p->block,
        .owner = p->owner,
        .settle = settle,
        .status = (uint8_t)why,
    };
    gw_post_answer(l, p->owner, &answer);
}

/* ---- what is about to be touched: with many stanzas under way, out of the cache by then ---- */

/* Its head and addresses; what is sealed and sent behind them is read in a row. */
static void expect_stanza(const struct gw_lcore *l, const struct gw_post *p)
{
    const char *s = (const char *)gw_post_stanza(l, p);
    for (unsigned line = 0; line < 4; line++)
        __builtin_prefetch(s + 64 * line, 1);
}

static void expect_session(const struct gw_lcore *l, uint32_t i)
{
    const char *s = (const char *)gw_home_session(l, i);
    __builtin_prefetch(s, 1);
    __builtin_prefetch(s + 64, 1);
}

static void expect_account(const struct gw_lcore *l, uint32_t i)
{
    if (i == 0) /* of a session that has ended */
        return;
    const char *a = (const char *)gw_home_account(l, i);
    for (unsigned line = 0; line < (sizeof(struct gw_home_account) + 63) / 64; line++)
        __builtin_prefetch(a + 64 * line, 1);
}

/* Of its account, and of what it may repeat. */
static void expect_places(const struct gw_lcore *l, const struct gw_stanza *s)
{
    gw_home_account_expect(l, s->to_hash);
    gw_repeats_expect(&l->home->repeats, &s->fingerprint);
}

static void expect_what_is_there(const struct gw_lcore *l, const struct gw_stanza *s)
{
    gw_home_account_expect_first(l, s->to_hash);
    gw_repeats_expect_newest(&l->home->repeats, &s->fingerprint);
}

static void expect_first(const struct gw_lcore *l, const struct gw_post *p)
{
    if (p->op == GW_POST_STANZA)
        expect_stanza(l, p);
    else if (p->op == GW_POST_DELIVERED)
        expect_session(l, p->session.index);
    else if (p->op == GW_POST_TAKEN)
        __builtin_prefetch(gw_arena_ptr(l->arenas[p->owner], p->block), 1);
}

void gw_home_expect(const struct gw_lcore *l, const struct gw_post *p, unsigned step)
{
    if (step == 0)
        expect_first(l, p);
    else if (p->op == GW_POST_DELIVERED && step == 1)
        expect_account(l, gw_home_session(l, p->session.index)->account);
    else if (p->op == GW_POST_STANZA && step == 1)
        expect_places(l, gw_post_stanza(l, p));
    else if (p->op == GW_POST_STANZA)
        expect_what_is_there(l, gw_post_stanza(l, p));
}

/* ---- in ---- */

static struct gw_pending *pending_at(struct gw_home *h, uint32_t i)
{
    return &h->pending[(h->pending_head + i) & h->pending_mask];
}

struct gw_pending *gw_home_enqueue(struct gw_lcore *l, uint32_t account, const struct gw_post *p)
{
    struct gw_home *h = l->home;
    check(h->pending_count <= h->pending_mask);
    struct gw_pending *e = pending_at(h, h->pending_count++);
    *e = (struct gw_pending){.post = *p, .account = account, .segment = gw_home_last_number(l)};
    gw_home_account_hold(l, account);
    return e;
}

static void set_aside(struct gw_lcore *l, const struct gw_post *p)
{
    struct gw_home *h = l->home;
    check(h->backlog_count <= h->backlog_mask);
    h->backlog[(h->backlog_head + h->backlog_count++) & h->backlog_mask] = *p;
}

uint16_t gw_home_sender_mark(const struct gw_lcore *l, const struct gw_mailbox_id *mailbox,
                             const struct gw_stanza *s)
{
    struct gw_sipkey key = l->cfg->mark_key;
    struct gw_bytes from = gw_stanza_from_bare(s);
    uint64_t half[2];
    memcpy(half, mailbox, sizeof(half));
    key.k0 ^= half[0];
    key.k1 ^= half[1];
    uint16_t mark = (uint16_t)gw_siphash(&key, from.p, from.len);
    return mark != 0 ? mark : 1;
}

/* What a mailbox says of another message; RECOUNT: it must be counted first, and is. */
enum room { ROOM, RECOUNT, FULL, SHARE };

static bool recount(struct gw_lcore *l, uint32_t account, const struct gw_stanza *s)
{
    struct gw_mailbox_id mailbox = gw_identity_mailbox(&gw_home_account(l, account)->identity);
    uint16_t mark = gw_home_sender_mark(l, &mailbox, s);
    return gw_home_account_recount(l, account, mark, gw_home_record_bytes(s));
}

static enum room ask_share(struct gw_lcore *l, uint32_t account, const struct gw_stanza *s)
{
    struct gw_home_account *a = gw_home_account(l, account);
    unsigned percent = l->cfg->mailbox_share_percent;
    struct gw_share_limit max = gw_share_limit(&a->limits, percent);
    uint32_t bytes = gw_home_record_bytes(s);
    /* What people send to themselves is their own affair. */
    if (!gw_share_is_limited(percent) ||
        gw_share_is_idle(&max, a->quota.messages + UINT64_C(1), a->quota.bytes + bytes) ||
        gw_bytes_eq(gw_stanza_from_bare(s), gw_stanza_to_bare(s)))
        return ROOM;
    struct gw_mailbox_id mailbox = gw_identity_mailbox(&a->identity);
    uint16_t mark = gw_home_sender_mark(l, &mailbox, s);
    enum gw_share_verdict v =
        gw_share_ask(gw_home_share(l, a), &max, mark, bytes, gw_home_now_s(l));
    if (v == GW_SHARE_ROOM)
        return ROOM;
    return v == GW_SHARE_UNSURE && recount(l, account, s) ? RECOUNT : SHARE;
}

static enum room ask_mailbox(struct gw_lcore *l, uint32_t account, const struct gw_stanza *s)
{
    struct gw_home_account *a = gw_home_account(l, account);
    uint32_t bytes = gw_home_record_bytes(s);
    switch (gw_quota_ask(&a->quota, &a->limits, bytes, gw_home_now_s(l))) {
    case GW_QUOTA_ROOM:
        return ask_share(l, account, s);
    case GW_QUOTA_BYTES:
        GW_COUNT(l->home_count.refused_full_bytes);
        return FULL;
    case GW_QUOTA_UNSURE:
        if (recount(l, account, s))
            return RECOUNT;
        break;
    case GW_QUOTA_MESSAGES:
        break;
    }
    GW_COUNT(l->home_count.refused_full);
    return FULL;
}

/* Whether its mailbox takes another message; when it does not, the post is answered. *again: its
 * mailbox must be counted first.
 *
 * Of a full one XEP-0160 section 2 names the condition, as RFC 6121 section 8.5.2.2.1 does for what
 * is not stored. It is also what a name without an account gets: a full mailbox is nobody else's to
 * know of. A sender that has used up its share may try again when its recipient has read: RFC 6120
 * section 8.3.3.18, of type `wait`. */
static bool has_room(struct gw_lcore *l, uint32_t account, struct gw_post *p, bool *again)
{
    enum room room = ask_mailbox(l, account, gw_post_stanza(l, p));
    *again = room == RECOUNT;
    if (room == SHARE)
        GW_COUNT(l->home_count.refused_share);
    if (room == SHARE || room == FULL)
        gw_home_return(l, p, true,
                       room == FULL ? GW_CONDITION_SERVICE_UNAVAILABLE
                                    : GW_CONDITION_RESOURCE_CONSTRAINT);
    return room == ROOM;
}

/* A stream's name in the table of repeats; never 0. */
static uint32_t stream_of(const struct gw_ref *conn)
{
    uint64_t name = (uint64_t)conn->lcore << 48 | (uint64_t)conn->index << 16 | conn->generation;
    return (uint32_t)(name * UINT64_C(0x9e3779b97f4a7c15) >> 32) | 1;
}

static bool is_repeated(const struct gw_lcore *l, const struct gw_stanza *s)
{
    uint64_t window_us = l->cfg->repeat_window_us;
    uint64_t since_us = l->wall_us > window_us ? l->wall_us - window_us : 0;
    return (s->flags & GW_STANZA_STORE) != 0 && gw_fingerprint_is_set(&s->fingerprint) &&
           gw_repeats_has(&l->home->repeats, &s->fingerprint, stream_of(&s->conn), since_us);
}

/* It is settled when the first one is durable, which was appended before. False: no room. */
static bool accept_repeated(struct gw_lcore *l, uint32_t account, const struct gw_post *p)
{
    struct gw_stanza *s = gw_post_stanza(l, p);
    if (!gw_home_can_append(l, 0, gw_home_repeated_event_len(s)))
        return false;
    gw_home_append_repeated(l, s);
    s->flags &= (uint8_t)~GW_STANZA_COPIED; /* of the first there were copies */
    GW_COUNT(l->home_count.repeated);
    gw_home_enqueue(l, account, p)->repeated = true;
    return true;
}

/* A receipt or marker that is not to be stored: the ledger keeps what it says all the same. False: no
 * room. */
static bool accept_answer(struct gw_lcore *l, const struct gw_stanza *s)
{
    size_t len = gw_home_answer_event_len(s);
    if (len == 0)
        return true;
    if (!gw_home_can_append(l, 0, len))
        return false;
    gw_home_append_answer(l, s);
    return true;
}

/* RFC 6121 section 8.5.3.2.1: a message of type normal for a resource that is not there; it could be
 * dropped in silence as well. One of type chat is treated as if for the bare JID, and so is what says
 * of another message that it has arrived, or was read (XEP-0184, XEP-0333). */
static bool is_for_nobody(const struct gw_lcore *l, const struct gw_home_account *a,
                          const struct gw_stanza *s)
{
    struct gw_bytes resource = gw_stanza_to_resource(s);
    return s->kind == GW_STANZA_MESSAGE && s->type == GW_TYPE_NORMAL && resource.len != 0 &&
           (s->flags & (GW_STANZA_RECEIVED | GW_STANZA_DISPLAYED)) == 0 &&
           !gw_home_has_session(l, a, gw_stanza_to(s));
}

/* False: it must wait for room in a segment, or for its account. */
static bool accept_stanza(struct gw_lcore *l, uint32_t account, struct gw_post *p)
{
    struct gw_stanza *s = gw_post_stanza(l, p);
    struct gw_home_account *a = gw_home_account(l, account);
    s->lent = 0;
    if (a->blocks && gw_home_blocks(l, a, s)) {
        GW_COUNT(l->home_count.refused_blocked);
        gw_home_return(l, p, true, s->kind == GW_STANZA_PRESENCE ? GW_CONDITION_NONE
                                                                 : GW_CONDITION_SERVICE_UNAVAILABLE);
        return true;
    }
    if (s->type >= GW_TYPE_SUBSCRIBE && s->type <= GW_TYPE_PROBE) {
        gw_home_asked(l, account, p);
        return true;
    }
    if (a->state == GW_ACCOUNT_MISSING) {
        GW_COUNT(l->home_count.refused_unknown);
        bool silent = s->kind == GW_STANZA_PRESENCE; /* RFC 6121 section 8.5.1 */
        gw_home_return(l, p, true, silent ? GW_CONDITION_NONE : GW_CONDITION_SERVICE_UNAVAILABLE);
        return true;
    }
    if (is_repeated(l, s))
        return accept_repeated(l, account, p);
    if (is_for_nobody(l, a, s)) {
        GW_COUNT(l->home_count.refused_resource);
        gw_home_return(l, p, true, GW_CONDITION_SERVICE_UNAVAILABLE);
        return true;
    }
    bool store = (s->flags & GW_STANZA_STORE) != 0;
    if (store && !gw_store_accepts(l->store)) {
        GW_COUNT(l->home_count.refused_closed);
        gw_home_return(l, p, true, GW_CONDITION_RESOURCE_CONSTRAINT);
        return true;
    }
    bool again;
    if (store && !has_room(l, account, p, &again))
        return !again;
    if (store) {
        if (!gw_home_can_append(l, s->sealed_len, gw_home_message_event_len(s)))
            return false;
        gw_home_append_message(l, account, s);
        if (gw_fingerprint_is_set(&s->fingerprint))
            gw_repeats_add(&l->home->repeats, &s->fingerprint, stream_of(&s->conn), l->wall_us);
    }
    if (!store && !accept_answer(l, s))
        return false;
    gw_home_enqueue(l, account, p)->stored = store;
    return true;
}

bool gw_home_accept(struct gw_lcore *l, uint32_t account, struct gw_post *p)
{
    if (p->op == GW_POST_RESUME)
        return gw_home_resume(l, account, p);
    if (p->op == GW_POST_PRESENCE) {
        (void)gw_home_enqueue(l, account, p);
        return true;
    }
    if (p->op == GW_POST_ASK) {
        gw_home_ask(l, account, p);
        return true;
    }
    if (p->op != GW_POST_BIND)
        return accept_stanza(l, account, p);
    gw_home_bind(l, account, p);
    return true;
}

static uint32_t account_of(struct gw_lcore *l, const struct gw_post *p)
{
    if (p->op == GW_POST_STANZA) {
        const struct gw_stanza *s = gw_post_stanza(l, p);
        return gw_home_account_get(l, gw_stanza_to_bare(s), s->to_hash);
    }
    if (p->op == GW_POST_ASK) {
        struct gw_bytes from = gw_stanza_from_bare(gw_post_stanza(l, p));
        return gw_home_account_get(l, from, gw_home_hash(l, from));
    }
    const struct gw_bind *b = gw_arena_ptr(l->arenas[p->owner], p->block);
    struct gw_bytes bare = gw_bytes(b->text, b->bare_len);
    return gw_home_account_get(l, bare, gw_home_hash(l, bare));
}

/* A bind, a resumption or a stanza: find its account first. False: it must wait for room in a segment. */
static bool with_account(struct gw_lcore *l, struct gw_post *p)
{
    uint32_t i = account_of(l, p);
    if (i == 0) {
        GW_COUNT(l->home_count.refused_memory);
        if (p->op == GW_POST_BIND)
            gw_home_bind(l, 0, p);
        else if (p->op == GW_POST_RESUME)
            (void)gw_home_resume(l, 0, p);
        else
            gw_home_return(l, p, true, GW_CONDITION_RESOURCE_CONSTRAINT);
        return true;
    }
    struct gw_home_account *a = gw_home_account(l, i);
    if (gw_home_account_is_ready(a) && a->wait_head == 0) {
        if (gw_home_accept(l, i, p))
            return true;
        if (a->state != GW_ACCOUNT_COUNTING)
            return false;
    }
    gw_home_account_wait(l, i, p);
    return true;
}

static void answer_done(struct gw_lcore *l, const struct gw_post *p)
{
    struct gw_post answer = {.op = GW_POST_DONE};
    gw_post_answer(l, p->from, &answer);
}

static bool delivered(struct gw_lcore *l, struct gw_post *p)
{
    uint32_t i = gw_home_session_find(l, p->session);
    if (i != 0) {
        struct gw_home_session *s = gw_home_session(l, i);
        if (!gw_home_can_append_removal(l, p->n))
            return false;
        gw_home_append_account_removal(l, s->account, GW_EVENT_DELIVERED, p->positions, p->n);
        GW_COUNT_ADD(l->home_count.removed, p->n);
        check(s->in_flight >= p->n);
        s->in_flight -= p->n;
        gw_home_read_on(l, i);
    }
    answer_done(l, p);
    return true;
}

/* Of a session: in its turn, behind what came before. */
static void of_own(struct gw_lcore *l, struct gw_post *p)
{
    uint32_t i = gw_home_session_find(l, p->session);
    uint32_t account = i != 0 ? gw_home_session(l, i)->account : 0;
    const struct gw_home_account *a = account != 0 ? gw_home_account(l, account) : NULL;
    if (a == NULL)
        gw_home_return(l, p, true, GW_CONDITION_NONE);
    else if (gw_home_account_is_ready(a) && a->wait_head == 0)
        (void)gw_home_enqueue(l, account, p);
    else /* behind what the user has asked before */
        gw_home_account_wait(l, account, p);
}

static void copy_of_own(struct gw_lcore *l, struct gw_post *p)
{
    uint32_t account = gw_home_account_find(l, gw_stanza_from_bare(gw_post_stanza(l, p)));
    if (account == 0)
        gw_home_return(l, p, false, GW_CONDITION_NONE);
    else
        (void)gw_home_enqueue(l, account, p);
}

/* False: it must wait for room in a segment. */
static bool deal_with(struct gw_lcore *l, struct gw_post *p)
{
    switch ((enum gw_post_op)p->op) {
    case GW_POST_BIND:
    case GW_POST_RESUME:
    case GW_POST_STANZA:
    case GW_POST_ASK:
        return with_account(l, p);
    case GW_POST_DELIVERED:
        return delivered(l, p);
    case GW_POST_PRESENCE:
    case GW_POST_CARBONS:
        of_own(l, p);
        return true;
    case GW_POST_COPY:
        copy_of_own(l, p);
        return true;
    case GW_POST_ROOM:
        gw_home_room(l, p);
        answer_done(l, p);
        return true;
    case GW_POST_DIRECTED:
        gw_home_directed(l, p);
        return true;
    case GW_POST_SM:
        gw_home_sm(l, p);
        return true;
    case GW_POST_COUNT:
        return gw_home_count(l, p);
    case GW_POST_UNBIND:
        gw_home_leave(l, p);
        return true;
    default:
        return true;
    }
}

static unsigned work_off_backlog(struct gw_lcore *l)
{
    struct gw_home *h = l->home;
    unsigned n = 0;
    for (uint32_t left = h->backlog_count; left > 0; left--, n++) {
        struct gw_post p = h->backlog[h->backlog_head & h->backlog_mask];
        if (!deal_with(l, &p))
            break;
        h->backlog_head++;
        h->backlog_count--;
    }
    return n;
}

void gw_home_post(struct gw_lcore *l, struct gw_post *p)
{
    if (p->op == GW_POST_TAKEN)
        gw_home_taken(l, p);
    else if (l->home->backlog_count > 0 || !deal_with(l, p))
        set_aside(l, p);
}

unsigned gw_home_work(struct gw_lcore *l)
{
    unsigned n = work_off_backlog(l);
    n += gw_home_account_retry(l);
    n += gw_home_start_reads(l);
    n += gw_home_expire(l);
    n += gw_home_resume_work(l);
    n += gw_home_fan_out(l);
    n += gw_home_send_out(l);
    return n + gw_home_drain(l);
}

/* ---- out ---- */

/* RFC 6121 section 8.5.2.1: presence to the bare JID is for all that are available, a headline for
 * those that take messages. An error ends here: the account has asked nothing that it could answer. */
static bool takes_for_all(const struct gw_home_session *t, const struct gw_stanza *s)
{
    if (s->type == GW_TYPE_ERROR)
        return false;
    return s->kind == GW_STANZA_PRESENCE ? t->available : gw_session_reads(t);
}

/* RFC 6121 section 8.5: to a full JID, that session; to a bare one, those that are there for it. */
static unsigned hand_out(struct gw_lcore *l, struct gw_home_account *a, const struct gw_stanza *s)
{
    struct gw_bytes resource = gw_stanza_to_resource(s);
    struct gw_bytes xml = gw_bytes((const char *)s + s->xml_off, s->xml_len);
    unsigned n = 0;
    for (uint32_t i = a->sessions, next; i != 0; i = next) {
        struct gw_home_session *t = gw_home_session(l, i);
        next = t->next;
        bool is_for = resource.len != 0 ? gw_bytes_eq(gw_session_resource(l, t), resource)
                                        : takes_for_all(t, s);
        if (is_for) {
            gw_home_transient(l, i, xml);
            n++;
        } else if (s->flags & GW_STANZA_COPIED) {
            gw_home_copy_received(l, i, s);
        }
    }
    return n;
}

/* Its sender did not want it kept (XEP-0334), so nobody will ever read it. That a receipt or a marker did
 * not arrive its sender need not know. */
static bool is_lost(const struct gw_stanza *s)
{
    return (s->flags & GW_STANZA_NOT_KEPT) != 0 &&
           (s->flags & (GW_STANZA_RECEIVED | GW_STANZA_DISPLAYED)) == 0;
}

static void transient(struct gw_lcore *l, struct gw_home_account *a, struct gw_post *p)
{
    struct gw_stanza *s = gw_post_stanza(l, p);
    enum gw_condition why = GW_CONDITION_NONE;
    if (hand_out(l, a, s) > 0)
        GW_COUNT(l->home_count.transient);
    else if (s->kind == GW_STANZA_IQ || s->type == GW_TYPE_GROUPCHAT || is_lost(s))
        why = GW_CONDITION_SERVICE_UNAVAILABLE;
    else
        GW_COUNT(l->home_count.transient_dropped);
    gw_home_return(l, p, true, why);
}

static void stored(struct gw_lcore *l, uint32_t account, struct gw_post *p)
{
    struct gw_home_account *a = gw_home_account(l, account);
    struct gw_stanza *s = gw_post_stanza(l, p);
    a->durable_end = s->position + 1;
    if (l->home->failed) {
        GW_COUNT(l->home_count.refused_store);
        gw_quota_removed(&a->quota, 1);
        gw_home_return(l, p, true, GW_CONDITION_INTERNAL_SERVER_ERROR);
        return;
    }
    GW_COUNT(l->home_count.stored);
    if (s->flags & GW_STANZA_COPIED)
        gw_home_copy_stored(l, account, s);
    gw_home_push(l, account, p);
    if (s->lent == 0) {
        gw_home_return(l, p, true, GW_CONDITION_NONE);
        return;
    }
    struct gw_post settled = {.op = GW_POST_SETTLED, .conn = p->conn, .seq = p->seq,
                              .block = p->block, .owner = p->owner};
    gw_post_answer(l, p->owner, &settled);
}

/* Of what comes after the first: how many entries ahead. */
#define DRAIN_FAR  12u
#define DRAIN_NEAR 6u

static void expect_pending(struct gw_lcore *l)
{
    struct gw_home *h = l->home;
    if (h->pending_count > DRAIN_FAR) {
        const struct gw_pending *e = pending_at(h, DRAIN_FAR);
        expect_stanza(l, &e->post);
        expect_account(l, e->account);
    }
    if (h->pending_count > DRAIN_NEAR) {
        uint32_t session = gw_home_account(l, pending_at(h, DRAIN_NEAR)->account)->sessions;
        if (session != 0)
            expect_session(l, session);
    }
}

unsigned gw_home_drain(struct gw_lcore *l)
{
    struct gw_home *h = l->home;
    unsigned n = 0;
    while (h->pending_count > 0) {
        expect_pending(l);
        struct gw_pending e = *pending_at(h, 0);
        if (e.segment > h->durable_number)
            break;
        h->pending_head++;
        h->pending_count--;
        n++;
        if (e.repeated)
            gw_home_return(l, &e.post, true, GW_CONDITION_NONE);
        else if (e.stored)
            stored(l, e.account, &e.post);
        else if (e.post.op == GW_POST_PRESENCE)
            gw_home_presence(l, &e.post);
        else if (e.post.op == GW_POST_CARBONS)
            gw_home_carbons_set(l, &e.post);
        else if (e.post.op == GW_POST_COPY)
            gw_home_carbons_sent(l, &e.post);
        else if (e.post.op == GW_POST_COUNT)
            gw_home_counted(l, &e.post);
        else if (e.post.op == GW_POST_RESUME)
            gw_home_resume_durable(l, &e.post);
        else
            transient(l, gw_home_account(l, e.account), &e.post);
        gw_home_account(l, e.account)->pending--;
        gw_home_account_relax(l, e.account);
    }
    return n;
}
