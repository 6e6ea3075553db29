/* SPDX-License-Identifier: Apache-2.0 */
#include "fanout.h"

#include "../base/check.h"
#include "../base/text.h"
#include "home.h"
#include "roster.h"

/* One session's presence on its way to its contacts. */
struct gw_fanout {
    gw_block next;
    gw_block xml;     /* struct gw_home_text: its presence */
    uint32_t account; /* held */
    uint32_t session; /* 0: it has ended */
    uint64_t version; /* of the roster that `at` is in */
    size_t at;        /* the next entry */
    uint32_t left, initial_left; /* entries that are still to hear of it; to be asked */
    uint16_t jid_len, bare_len;
    char jid[];
};

static struct gw_fanout *at(const struct gw_lcore *l, gw_block b)
{
    return gw_arena_ptr(l->arena, b);
}

static void enqueue(struct gw_lcore *l, gw_block b)
{
    struct gw_fanout_queue *q = &l->home->fanout;
    at(l, b)->next = 0;
    *(q->tail != 0 ? &at(l, q->tail)->next : &q->head) = b;
    q->tail = b;
}

static gw_block dequeue(struct gw_lcore *l)
{
    struct gw_fanout_queue *q = &l->home->fanout;
    gw_block b = q->head;
    q->head = at(l, b)->next;
    if (q->head == 0)
        q->tail = 0;
    return b;
}

static struct gw_bytes xml_of(const struct gw_lcore *l, gw_block b)
{
    const struct gw_home_text *t = gw_arena_ptr(l->arena, b);
    return gw_bytes(t->text, t->len);
}

static uint32_t entries_of(struct gw_bytes roster)
{
    struct gw_roster_head h = {0};
    if (roster.len > 0)
        memcpy(&h, roster.p, sizeof(h));
    return h.entries;
}

static uint64_t version_of(const struct gw_lcore *l, const struct gw_home_account *a)
{
    return a->roster_block != 0
               ? ((struct gw_home_roster *)gw_arena_ptr(l->arena, a->roster_block))->version
               : 0;
}

/* ---- queued ---- */

/* 0: no memory. */
static gw_block make(struct gw_lcore *l, uint32_t session)
{
    struct gw_home_session *s = gw_home_session(l, session);
    struct gw_bytes jid = gw_session_jid(l, s);
    gw_block b = gw_arena_get(l->arena, sizeof(struct gw_fanout) + jid.len);
    if (b == 0)
        return 0;
    struct gw_fanout *f = at(l, b);
    *f = (struct gw_fanout){.account = s->account, .session = session, .jid_len = s->jid_len,
                            .bare_len = s->bare_len};
    memcpy(f->jid, jid.p, jid.len);
    gw_home_account_hold(l, s->account);
    s->fanout = b;
    enqueue(l, b);
    GW_COUNT(l->home_count.fanouts);
    return b;
}

static gw_block copy_of(struct gw_lcore *l, struct gw_bytes xml)
{
    gw_block b = gw_arena_get(l->arena, sizeof(struct gw_home_text) + xml.len);
    if (b == 0)
        return 0;
    struct gw_home_text *t = gw_arena_ptr(l->arena, b);
    *t = (struct gw_home_text){.len = (uint32_t)xml.len};
    memcpy(t->text, xml.p, xml.len);
    return b;
}

void gw_home_announce(struct gw_lcore *l, uint32_t i, struct gw_bytes xml, bool initial)
{
    struct gw_home_session *s = gw_home_session(l, i);
    struct gw_bytes roster = gw_home_roster(l, gw_home_account(l, s->account));
    uint32_t n = entries_of(roster);
    if (n == 0)
        return;
    gw_block copy = copy_of(l, xml);
    gw_block b = copy == 0 ? 0 : s->fanout != 0 ? s->fanout : make(l, i);
    if (b == 0) {
        gw_arena_put(l->arena, copy);
        GW_COUNT(l->home_count.fanouts_dropped);
        return;
    }
    struct gw_fanout *f = at(l, b);
    GW_COUNT_ADD(l->home_count.fanouts_replaced, f->xml != 0);
    gw_arena_put(l->arena, f->xml);
    f->xml = copy;
    f->left = n;
    f->initial_left = initial ? n : s->available ? f->initial_left : 0;
}

void gw_home_announce_ended(struct gw_lcore *l, uint32_t i)
{
    struct gw_home_session *s = gw_home_session(l, i);
    if (s->fanout == 0)
        return;
    at(l, s->fanout)->session = 0;
    at(l, s->fanout)->initial_left = 0;
    s->fanout = 0;
}

/* ---- worked off ---- */

static void send_probe(struct gw_lcore *l, const struct gw_fanout *f, struct gw_bytes contact)
{
    char buf[64 + 12 * GW_JID_BYTES_MAX];
    struct gw_text t = gw_text(buf, sizeof(buf));
    struct gw_stanza_form form = {
        .kind = GW_STANZA_PRESENCE,
        .type = GW_TYPE_PROBE,
        .to = contact, .to_bare = contact,
        .from = gw_bytes(f->jid, f->jid_len), .from_bare = gw_bytes(f->jid, f->bare_len),
    };
    gw_text_str(&t, "<presence type='probe' from='");
    gw_text_escaped(&t, form.from);
    gw_text_str(&t, "' to='");
    gw_text_escaped(&t, contact);
    gw_text_str(&t, "'/>");
    (void)gw_home_send(l, &form, gw_text_bytes(&t), gw_bytes(NULL, 0));
    GW_COUNT(l->home_count.probes);
}

/* RFC 6121 section 3.1.3: again at each login, until it is answered. */
static void give_request(struct gw_lcore *l, const struct gw_fanout *f,
                         const struct gw_roster_entry *e)
{
    char buf[64 + 12 * GW_JID_BYTES_MAX];
    struct gw_text t = gw_text(buf, sizeof(buf));
    gw_text_str(&t, "<presence type='subscribe' from='");
    gw_text_escaped(&t, e->jid);
    gw_text_str(&t, "' to='");
    gw_text_escaped(&t, gw_bytes(f->jid, f->bare_len));
    gw_text_str(&t, "'/>");
    gw_home_transient(l, f->session, e->request.len > 0 ? e->request : gw_text_bytes(&t));
}

/* Sections 4.3.1 and 3.1.2. */
static void ask(struct gw_lcore *l, const struct gw_fanout *f, const struct gw_home_account *a,
                const struct gw_roster_entry *e)
{
    if (e->flags & GW_SUB_TO)
        send_probe(l, f, e->jid);
    if (e->flags & GW_SUB_OUT)
        (void)gw_home_send_kind(l, a, e->jid, GW_SUB_SUBSCRIBE);
    if ((e->flags & GW_SUB_IN) != 0 && f->session != 0)
        give_request(l, f, e);
}

static void tell(struct gw_lcore *l, const struct gw_fanout *f, const struct gw_home_account *a,
                 const struct gw_roster_entry *e)
{
    if (a->blocks && gw_roster_blocks(gw_home_roster(l, a), e->jid, e->jid))
        return;
    if (f->initial_left > 0)
        ask(l, f, a, e);
    if (f->left > 0 && (e->flags & GW_SUB_FROM) != 0)
        (void)gw_home_send_presence(l, gw_bytes(f->jid, f->jid_len), f->bare_len, e->jid,
                                    xml_of(l, f->xml));
}

/* Its roster is another than before: from its start. */
static void begin_again(struct gw_lcore *l, struct gw_fanout *f, const struct gw_home_account *a)
{
    uint32_t n = entries_of(gw_home_roster(l, a));
    f->version = version_of(l, a);
    f->at = 0;
    f->left = f->left > 0 ? n : 0;
    f->initial_left = f->initial_left > 0 ? n : 0;
}

/* Returns entries looked at; fewer than a turn: it is done. */
static unsigned take_turn(struct gw_lcore *l, struct gw_fanout *f)
{
    const struct gw_home_account *a = gw_home_account(l, f->account);
    struct gw_roster_entry e;
    unsigned n = 0;
    if (f->version != version_of(l, a))
        begin_again(l, f, a);
    for (; n < GW_FANOUT_TURN && (f->left > 0 || f->initial_left > 0); n++) {
        struct gw_bytes roster = gw_home_roster(l, a);
        if (!gw_roster_next(roster, &f->at, &e)) { /* round, as its presence has changed meanwhile */
            f->at = 0;
            if (!gw_roster_next(roster, &f->at, &e))
                break;
        }
        tell(l, f, a, &e);
        f->left -= f->left > 0;
        f->initial_left -= f->initial_left > 0;
    }
    return n;
}

static void end(struct gw_lcore *l, gw_block b)
{
    struct gw_fanout *f = at(l, b);
    uint32_t account = f->account;
    if (f->session != 0)
        gw_home_session(l, f->session)->fanout = 0;
    gw_arena_put(l->arena, f->xml);
    gw_arena_put(l->arena, b);
    gw_home_account(l, account)->pending--;
    gw_home_account_relax(l, account);
}

unsigned gw_home_fan_out(struct gw_lcore *l)
{
    struct gw_home *h = l->home;
    unsigned n = 0;
    if (h->fanout.head != 0 && h->outbox.count > GW_FANOUT_BACKLOG_MAX)
        GW_COUNT(l->home_count.fanouts_paced);
    while (h->fanout.head != 0 && n < GW_FANOUT_ENTRIES_MAX &&
           h->outbox.count <= GW_FANOUT_BACKLOG_MAX) {
        gw_block b = dequeue(l);
        n += 1 + take_turn(l, at(l, b));
        if (at(l, b)->left > 0 || at(l, b)->initial_left > 0)
            enqueue(l, b);
        else
            end(l, b);
    }
    return n;
}

/* ---- directed presence ---- */

/* In the block behind its head: a run of u16 length and JID. */
#define DIRECTED_BYTES_MAX 4096u

static size_t find_directed(const struct gw_home_text *d, struct gw_bytes jid, unsigned *count)
{
    size_t found = SIZE_MAX;
    uint16_t len;
    *count = 0;
    for (size_t i = 0; i < d->len; i += sizeof(len) + len, ++*count) {
        memcpy(&len, d->text + i, sizeof(len));
        if (gw_bytes_eq(gw_bytes(d->text + i + sizeof(len), len), jid))
            found = i;
    }
    return found;
}

/* The bytes that are there, without this JID, and with it behind them when it is to be remembered. */
static void rewrite(struct gw_lcore *l, struct gw_home_session *s, struct gw_bytes jid, bool remember)
{
    static const struct gw_home_text none;
    const struct gw_home_text *d =
        s->directed != 0 ? gw_arena_ptr(l->arena, s->directed) : &none;
    unsigned count;
    uint16_t len = (uint16_t)jid.len;
    size_t entry = sizeof(len) + jid.len, at = find_directed(d, jid, &count);
    if ((at != SIZE_MAX) == remember)
        return;
    size_t need = remember ? d->len + entry : d->len - entry;
    gw_block b = need == 0 || need > DIRECTED_BYTES_MAX || (remember && count >= GW_DIRECTED_MAX)
                     ? 0
                     : gw_arena_get(l->arena, sizeof(*d) + need);
    if (b == 0 && need > 0) {
        GW_COUNT(l->home_count.directed_dropped);
        return;
    }
    if (b != 0) {
        struct gw_home_text *out = gw_arena_ptr(l->arena, b);
        *out = (struct gw_home_text){.len = (uint32_t)need};
        struct gw_text t = gw_text(out->text, need);
        size_t skip = remember ? d->len : at;
        gw_text_put(&t, gw_bytes(d->text, skip));
        if (remember) {
            gw_text_put(&t, gw_bytes(&len, sizeof(len)));
            gw_text_put(&t, jid);
        } else {
            gw_text_put(&t, gw_bytes(d->text + at + entry, d->len - at - entry));
        }
        check(!t.full);
    }
    gw_arena_put(l->arena, s->directed);
    s->directed = b;
}

void gw_home_directed(struct gw_lcore *l, struct gw_post *p)
{
    uint32_t i = gw_home_session_find(l, p->session);
    const struct gw_home_text *t = gw_arena_ptr(l->arenas[p->owner], p->block);
    if (i != 0)
        rewrite(l, gw_home_session(l, i), gw_bytes(t->text, t->len), p->n != 0);
    struct gw_post answer = {.op = GW_POST_DONE, .block = p->block, .owner = p->owner};
    gw_post_answer(l, p->from, &answer);
}

void gw_home_directed_end(struct gw_lcore *l, uint32_t i, struct gw_bytes xml)
{
    struct gw_home_session *s = gw_home_session(l, i);
    if (s->directed == 0)
        return;
    const struct gw_home_text *d = gw_arena_ptr(l->arena, s->directed);
    uint16_t len;
    for (size_t k = 0; k < d->len; k += sizeof(len) + len) {
        memcpy(&len, d->text + k, sizeof(len));
        (void)gw_home_send_presence(l, gw_session_jid(l, s), s->bare_len,
                                    gw_bytes(d->text + k + sizeof(len), len), xml);
    }
    gw_arena_put(l->arena, s->directed);
    s->directed = 0;
}
