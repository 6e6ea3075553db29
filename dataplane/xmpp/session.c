/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions of an account, at its home: bound, available, told of each other, gone. */
#include "home.h"

#include <errno.h>

#include "../base/check.h"
#include "../base/text.h"
#include "carbons.h"

static struct gw_ref ref_of(const struct gw_lcore *l, uint32_t i)
{
    return (struct gw_ref){i, gw_home_session(l, i)->generation, (uint16_t)l->index};
}

uint32_t gw_home_session_find(struct gw_lcore *l, struct gw_ref ref)
{
    if (ref.index == 0 || ref.index > l->home->sessions.limit)
        return 0;
    const struct gw_home_session *s = gw_home_session(l, ref.index);
    return s->account != 0 && s->generation == ref.generation ? ref.index : 0;
}

/* ---- blocks of the home's own ---- */

static struct gw_home_text *text_at(struct gw_lcore *l, gw_block b)
{
    return gw_arena_ptr(l->arena, b);
}

/* Some pieces as one; 0: no memory. */
static gw_block text_of(struct gw_lcore *l, const struct gw_bytes *parts, unsigned n)
{
    size_t len = 0;
    for (unsigned i = 0; i < n; i++)
        len += parts[i].len;
    size_t need = sizeof(struct gw_home_text) + len;
    gw_block at = need <= GW_ARENA_BLOCK_BYTES_MAX ? gw_arena_get(l->arena, need) : 0;
    if (at == 0)
        return 0;
    struct gw_home_text *h = text_at(l, at);
    *h = (struct gw_home_text){.len = (uint32_t)len};
    struct gw_text t = gw_text(h->text, len);
    for (unsigned i = 0; i < n; i++)
        gw_text_put(&t, parts[i]);
    return at;
}

/* Two of them; either may be empty. */
static gw_block text_new(struct gw_lcore *l, struct gw_bytes a, struct gw_bytes b)
{
    const struct gw_bytes parts[] = {a, b};
    return text_of(l, parts, 2);
}

/* ---- what is not stored ---- */

static bool deliver_text(struct gw_lcore *l, uint32_t i, gw_block b)
{
    struct gw_home_session *s = gw_home_session(l, i);
    if (gw_post_down_room(l, s->conn.lcore) == 0)
        return false;
    struct gw_post p = {
        .op = GW_POST_DELIVER,
        .conn = s->conn,
        .session = ref_of(l, i),
        .block = b,
        .owner = (uint8_t)l->index,
        .epoch = s->epoch,
        .deliver = {.off = offsetof(struct gw_home_text, text),
                    .len = text_at(l, b)->len,
                    .lent = GW_LENT_TEXT},
    };
    gw_post_down(l, s->conn.lcore, &p);
    return true;
}

static void drop_text(struct gw_lcore *l, gw_block b)
{
    gw_arena_put(l->arena, b);
    GW_COUNT(l->home_count.transient_dropped);
}

static void deliver_or_queue(struct gw_lcore *l, uint32_t i, gw_block b)
{
    struct gw_home_session *s = gw_home_session(l, i);
    if (!s->behind && s->transient_head == 0) {
        if (!deliver_text(l, i, b))
            drop_text(l, b);
        return;
    }
    if (s->transient_count == GW_TRANSIENTS_MAX) {
        drop_text(l, b);
        return;
    }
    text_at(l, b)->behind = gw_home_account(l, s->account)->durable_end;
    if (s->transient_tail != 0)
        text_at(l, s->transient_tail)->next = b;
    else
        s->transient_head = b;
    s->transient_tail = b;
    s->transient_count++;
}

void gw_home_transient_parts(struct gw_lcore *l, uint32_t i, const struct gw_bytes *parts, unsigned n)
{
    gw_block b = text_of(l, parts, n);
    if (b == 0)
        GW_COUNT(l->home_count.transient_dropped);
    else
        deliver_or_queue(l, i, b);
}

void gw_home_transient(struct gw_lcore *l, uint32_t i, struct gw_bytes xml)
{
    gw_home_transient_parts(l, i, &xml, 1);
}

static gw_block take_transient(struct gw_lcore *l, struct gw_home_session *s)
{
    gw_block b = s->transient_head;
    s->transient_head = text_at(l, b)->next;
    s->transient_count--;
    if (s->transient_head == 0)
        s->transient_tail = 0;
    return b;
}

void gw_home_flush_transients(struct gw_lcore *l, uint32_t i)
{
    struct gw_home_session *s = gw_home_session(l, i);
    while (s->transient_head != 0) {
        gw_block b = take_transient(l, s);
        if (!deliver_text(l, i, b))
            drop_text(l, b);
    }
}

void gw_home_transients_before(struct gw_lcore *l, uint32_t i, uint64_t position)
{
    struct gw_home_session *s = gw_home_session(l, i);
    while (s->transient_head != 0 && text_at(l, s->transient_head)->behind <= position &&
           gw_post_down_room(l, s->conn.lcore) > 0)
        check(deliver_text(l, i, take_transient(l, s)));
}

/* ---- presence ---- */

/* The presence in `xml` ("<presence" and more) to one session, with `to` stamped. */
static void send_presence(struct gw_lcore *l, uint32_t i, struct gw_bytes xml)
{
    static const size_t skip = sizeof("<presence") - 1;
    char head[16 + 6 * GW_JID_BYTES_MAX];
    struct gw_text t = gw_text(head, sizeof(head));
    gw_text_str(&t, "<presence to='");
    gw_text_escaped(&t, gw_session_jid(l, gw_home_session(l, i)));
    gw_text_str(&t, "'");
    gw_block b = text_new(l, gw_text_bytes(&t), gw_bytes(xml.p + skip, xml.len - skip));
    if (b == 0)
        GW_COUNT(l->home_count.transient_dropped);
    else
        deliver_or_queue(l, i, b);
}

/* RFC 6121 section 4.2.2: also to the user's own resources, the one that sent it among them. */
static void broadcast(struct gw_lcore *l, const struct gw_home_account *a, struct gw_bytes xml)
{
    for (uint32_t i = a->sessions; i != 0; i = gw_home_session(l, i)->next)
        if (gw_home_session(l, i)->available)
            send_presence(l, i, xml);
}

static void tell_of_others(struct gw_lcore *l, const struct gw_home_account *a, uint32_t newcomer)
{
    for (uint32_t i = a->sessions; i != 0; i = gw_home_session(l, i)->next) {
        struct gw_home_session *s = gw_home_session(l, i);
        if (i != newcomer && s->available && s->presence != 0)
            send_presence(l, newcomer,
                          gw_bytes(text_at(l, s->presence)->text, text_at(l, s->presence)->len));
    }
}

static void keep_presence(struct gw_lcore *l, struct gw_home_session *s, struct gw_bytes xml)
{
    gw_arena_put(l->arena, s->presence);
    s->presence = xml.len ? text_new(l, xml, gw_bytes(NULL, 0)) : 0;
}

/* What is in its record has. */
static void presence_changed(struct gw_lcore *l, struct gw_home_session *s)
{
    if (s->resume_block != 0)
        gw_home_keep_later(l, s->resume_block);
}

static void count_carbons(struct gw_lcore *l, struct gw_home_session *s, bool on)
{
    if (on && !s->carbons)
        atomic_fetch_add_explicit(&l->carbons->sessions, 1, memory_order_relaxed);
    else if (!on && s->carbons)
        check(atomic_fetch_sub_explicit(&l->carbons->sessions, 1, memory_order_relaxed) > 0);
    s->carbons = on;
}

/* An ack that covers the request waits for the record, as for one of presence. */
void gw_home_session_carbons(struct gw_lcore *l, uint32_t i, bool on)
{
    struct gw_home_session *s = gw_home_session(l, i);
    if (s->carbons == on)
        return;
    count_carbons(l, s, on);
    gw_home_carbons_changed(l, s->account);
    presence_changed(l, s);
}

static void become_available(struct gw_lcore *l, uint32_t i, int8_t priority, struct gw_bytes xml)
{
    struct gw_home_session *s = gw_home_session(l, i);
    struct gw_home_account *a = gw_home_account(l, s->account);
    bool was_available = s->available, was_reading = gw_session_reads(s);
    if (!was_available)
        s->claims_from = a->next_position;
    s->available = true;
    s->priority = priority;
    keep_presence(l, s, xml);
    broadcast(l, a, xml);
    if (!was_available)
        tell_of_others(l, a, i);
    gw_home_announce(l, i, xml, !was_available);
    bool reads = gw_session_reads(s);
    if (reads && !was_reading)
        gw_home_begin_reading(l, i);
    else if (!reads && (was_reading || !was_available))
        gw_home_begin_own(l, i, was_reading);
    presence_changed(l, s);
}

static void become_unavailable(struct gw_lcore *l, uint32_t i, struct gw_bytes xml)
{
    struct gw_home_session *s = gw_home_session(l, i);
    if (!s->available)
        return;
    broadcast(l, gw_home_account(l, s->account), xml);
    gw_home_claims_end(l, i);
    s->available = false;
    gw_home_announce(l, i, xml, false);
    gw_home_directed_end(l, i, xml);
    s->behind = false; /* what it was still to read waits for the next that is available */
    keep_presence(l, s, gw_bytes(NULL, 0));
    gw_home_flush_transients(l, i);
    presence_changed(l, s);
}

void gw_home_presence(struct gw_lcore *l, struct gw_post *p)
{
    uint32_t i = gw_home_session_find(l, p->session);
    const struct gw_stanza *s = gw_post_stanza(l, p);
    struct gw_bytes xml = gw_bytes((const char *)s + s->xml_off, s->xml_len);
    if (i != 0 && s->type == GW_TYPE_AVAILABLE)
        become_available(l, i, (int8_t)p->status, xml);
    else if (i != 0)
        become_unavailable(l, i, xml);
    gw_home_return(l, p, true, GW_CONDITION_NONE);
}

/* ---- bound and gone ---- */

static void answer_bind(struct gw_lcore *l, struct gw_post *p, uint32_t session,
                        enum gw_condition status)
{
    struct gw_post answer = {
        .op = GW_POST_BOUND,
        .conn = p->conn,
        .session = session ? ref_of(l, session) : (struct gw_ref){0},
        .block = p->block,
        .owner = p->owner,
        .status = (uint8_t)status,
    };
    gw_post_answer(l, p->owner, &answer);
}

bool gw_home_end_connection(struct gw_lcore *l, uint32_t i, enum gw_stream_error why)
{
    struct gw_home_session *s = gw_home_session(l, i);
    const struct gw_resumption *r = gw_home_resumption(l, s);
    if (r != NULL && r->detached) /* it has none */
        return true;
    if (gw_post_down_room(l, s->conn.lcore) == 0)
        return false;
    struct gw_post p = {.op = GW_POST_END, .conn = s->conn, .session = ref_of(l, i),
                        .status = (uint8_t)why};
    gw_post_down(l, s->conn.lcore, &p);
    return true;
}

/* RFC 6120 section 7.7.2.2: the newer session wins. */
static void end_same_resource(struct gw_lcore *l, struct gw_home_account *a, struct gw_bytes full)
{
    for (uint32_t i = a->sessions; i != 0; i = gw_home_session(l, i)->next)
        if (gw_bytes_eq(gw_session_jid(l, gw_home_session(l, i)), full)) {
            GW_COUNT(l->home_count.conflicts);
            (void)gw_home_end_connection(l, i, GW_STREAM_CONFLICT); /* without a credit it dies with its next ping */
            gw_home_unbind(l, i);
            return;
        }
}

static uint32_t make(struct gw_lcore *l, uint32_t account, struct gw_bytes full, uint16_t bare_len,
                     uint64_t since_us)
{
    uint32_t i = gw_slab_alloc(&l->home->sessions);
    if (i == 0 && gw_home_expire_detached(l)) /* who is here comes before who may come back */
        i = gw_slab_alloc(&l->home->sessions);
    gw_block jid = i != 0 ? gw_arena_get(l->arena, full.len) : 0;
    if (jid == 0) {
        if (i != 0)
            gw_slab_free(&l->home->sessions, i);
        return 0;
    }
    struct gw_home_session *s = gw_home_session(l, i);
    struct gw_home_account *a = gw_home_account(l, account);
    *s = (struct gw_home_session){
        .generation = (uint16_t)(s->generation + 1),
        .account = account,
        .next = a->sessions,
        .jid_block = jid,
        .jid_len = (uint16_t)full.len,
        .bare_len = bare_len,
        .since_wall_us = since_us,
    };
    memcpy(gw_arena_ptr(l->arena, jid), full.p, full.len);
    a->sessions = i;
    gw_home_carbons_changed(l, account);
    return i;
}

bool gw_home_has_session(const struct gw_lcore *l, const struct gw_home_account *a,
                         struct gw_bytes full)
{
    uint32_t i = a->sessions;
    while (i != 0 && !gw_bytes_eq(gw_session_jid(l, gw_home_session(l, i)), full))
        i = gw_home_session(l, i)->next;
    return i != 0;
}

/* A presence that was too large for its record. */
static struct gw_bytes plain_presence(struct gw_lcore *l, struct gw_bytes full, int8_t priority)
{
    struct gw_text t = gw_text(l->scratch, GW_SCRATCH_BYTES);
    gw_text_str(&t, "<presence from='");
    gw_text_escaped(&t, full);
    gw_text_str(&t, priority < 0 ? "'><priority>-" : "'><priority>");
    gw_text_uint(&t, (uint64_t)(priority < 0 ? -priority : priority));
    gw_text_str(&t, "</priority></presence>");
    return gw_text_bytes(&t);
}

uint32_t gw_home_session_restore(struct gw_lcore *l, uint32_t account, struct gw_bytes jid,
                                 uint16_t bare_len, uint64_t since_us,
                                 const struct gw_presence_form *f)
{
    uint32_t i = make(l, account, jid, bare_len, since_us);
    if (i == 0)
        return 0;
    if (gw_home_resumption_make(l, i) == 0) {
        gw_home_unbind(l, i);
        return 0;
    }
    struct gw_home_session *s = gw_home_session(l, i);
    s->available_wall_us = f->available_us;
    count_carbons(l, s, f->carbons);
    gw_home_carbons_changed(l, account);
    if (f->available) { /* the others hear of it; itself it knows */
        struct gw_bytes xml = f->xml.len > 0 ? f->xml : plain_presence(l, jid, f->priority);
        broadcast(l, gw_home_account(l, account), xml);
        s->available = true;
        s->claims_from = gw_home_account(l, account)->next_position;
        s->priority = f->priority;
        keep_presence(l, s, xml);
        gw_home_announce(l, i, xml, false);
    }
    return i;
}

void gw_home_bind(struct gw_lcore *l, uint32_t account, struct gw_post *p)
{
    const struct gw_bind *b = gw_arena_ptr(l->arenas[p->owner], p->block);
    struct gw_home_account *a = account ? gw_home_account(l, account) : NULL;
    if (a == NULL) {
        answer_bind(l, p, 0, GW_CONDITION_RESOURCE_CONSTRAINT);
        return;
    }
    /* Deleted, or deleted and made anew, since it has authenticated. */
    if (a->state != GW_ACCOUNT_READY ||
        memcmp(a->identity.hash, b->identity.hash, sizeof(a->identity.hash)) != 0) {
        answer_bind(l, p, 0, GW_CONDITION_NOT_ALLOWED);
        return;
    }
    if (a->blocks && !gw_home_tell_blocks(l, a, p->conn)) {
        answer_bind(l, p, 0, GW_CONDITION_RESOURCE_CONSTRAINT);
        return;
    }
    gw_home_account_hold(l, account);
    end_same_resource(l, a, gw_bytes(b->text, b->len));
    uint32_t i = make(l, account, gw_bytes(b->text, b->len), b->bare_len, b->since_wall_us);
    if (i != 0) {
        gw_home_session(l, i)->conn = p->conn;
        gw_home_session(l, i)->tuple = b->tuple;
    }
    answer_bind(l, p, i, i ? GW_CONDITION_NONE : GW_CONDITION_RESOURCE_CONSTRAINT);
    a->pending--;
    gw_home_account_relax(l, account);
}

static void unlink_session(struct gw_lcore *l, struct gw_home_account *a, uint32_t i)
{
    uint32_t *at = &a->sessions;
    while (*at != i)
        at = &gw_home_session(l, *at)->next;
    *at = gw_home_session(l, i)->next;
}

/* To the user's other sessions, to contacts, and to who has had directed presence of a session that was
 * not available as well (RFC 6121 section 4.6.3). */
static void announce_gone(struct gw_lcore *l, uint32_t i)
{
    char buf[64 + 6 * GW_JID_BYTES_MAX];
    struct gw_text t = gw_text(buf, sizeof(buf));
    struct gw_home_session *s = gw_home_session(l, i);
    gw_text_str(&t, "<presence type='unavailable' from='");
    gw_text_escaped(&t, gw_session_jid(l, s));
    gw_text_str(&t, "'/>");
    if (s->available) {
        s->available = false;
        broadcast(l, gw_home_account(l, s->account), gw_text_bytes(&t));
        gw_home_announce(l, i, gw_text_bytes(&t), false);
    }
    gw_home_directed_end(l, i, gw_text_bytes(&t));
    gw_home_announce_ended(l, i);
}

void gw_home_unbind(struct gw_lcore *l, uint32_t i)
{
    if (i == 0)
        return;
    struct gw_home_session *s = gw_home_session(l, i);
    uint32_t account = s->account;
    struct gw_home_account *a = gw_home_account(l, account);
    gw_home_claims_end(l, i);
    unlink_session(l, a, i);
    count_carbons(l, s, false);
    gw_home_carbons_changed(l, account);
    gw_home_resumption_gone(l, i);
    gw_home_inherited_free(l, s);
    announce_gone(l, i);
    while (s->transient_head != 0)
        drop_text(l, take_transient(l, s));
    gw_arena_put(l->arena, s->presence);
    gw_arena_put(l->arena, s->jid_block);
    s->presence = s->jid_block = 0;
    s->account = 0;
    /* While it is on the list of reads its index must not be used anew. */
    if (!s->queued)
        gw_slab_free(&l->home->sessions, i);
    gw_home_account_relax(l, account);
}

/* ---- what the edge has taken ---- */

void gw_home_taken(struct gw_lcore *l, struct gw_post *p)
{
    uint32_t i = p->block ? gw_home_session_find(l, p->session) : 0;
    if (i != 0 && p->deliver.position != 0) {
        gw_home_session(l, i)->untaken--;
        if (p->n != 0)
            gw_home_refused(l, i, p);
        if (gw_home_session(l, i)->untaken == 0)
            gw_home_read_on(l, i); /* it may have waited to turn to something else */
        gw_home_resume_waiting(l, i);
    }
    if (p->block == 0)
        return;
    switch ((enum gw_lent)p->deliver.lent) {
    case GW_LENT_ANSWER:
    case GW_LENT_BLOCKS:
        gw_arena_put(l->arena, p->block);
        break;
    case GW_LENT_TEXT:
        if (p->n != 0)
            GW_COUNT(l->home_count.transient_dropped);
        gw_arena_put(l->arena, p->block);
        break;
    case GW_LENT_READ: {
        struct gw_home_read *r = gw_arena_ptr(l->arena, p->block);
        check(r->lent > 0);
        if (--r->lent == 0 && r->done)
            gw_arena_put(l->arena, p->block);
        break;
    }
    case GW_LENT_STANZA: {
        struct gw_stanza *s = gw_post_stanza(l, p);
        check(s->lent > 0);
        if (--s->lent == 0) {
            struct gw_post back = {.conn = s->conn, .seq = s->seq, .block = p->block,
                                   .owner = p->owner};
            gw_home_return(l, &back, false, GW_CONDITION_NONE);
        }
        break;
    }
    }
}

int gw_home_end_sessions(struct gw_lcore *l, struct gw_bytes bare, bool account_gone)
{
    uint32_t account = gw_home_account_find(l, bare);
    if (account == 0)
        return -ENOENT;
    struct gw_home_account *a = gw_home_account(l, account);
    int n = 0;
    gw_home_account_hold(l, account);
    while (a->sessions != 0) {
        uint32_t i = a->sessions;
        (void)gw_home_end_connection(l, i, account_gone ? GW_STREAM_NOT_AUTHORIZED : GW_STREAM_POLICY_VIOLATION);
        gw_home_unbind(l, i);
        n++;
    }
    if (account_gone)
        gw_home_account_gone(l, account);
    a->pending--;
    gw_home_account_relax(l, account);
    return n > 0 ? n : -ENOENT;
}
