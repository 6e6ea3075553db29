/* SPDX-License-Identifier: Apache-2.0 */
#include "contacts.h"

#include <errno.h>

#include "../base/check.h"
#include "../base/text.h"
#include "home.h"
#include "roster.h"

/* Of an account's sessions those whose presence one answer may bring: more than anybody has. */
#define PRESENCES_MAX 64u

/* A change that is being written: the account's load_block. */
struct gw_roster_change {
    struct gw_post post; /* who has asked for it */
    gw_block next;       /* struct gw_home_roster: what it becomes */
    uint32_t sealed_len; /* 0: nothing is left, and its record goes */
    uint8_t before;      /* flags of the entry */
    uint8_t sealed[];
};

static struct gw_home_roster *roster_at(const struct gw_lcore *l, gw_block b)
{
    return gw_arena_ptr(l->arena, b);
}

struct gw_bytes gw_home_roster(const struct gw_lcore *l, const struct gw_home_account *a)
{
    if (a->roster_block == 0)
        return gw_bytes(NULL, 0);
    const struct gw_home_roster *r = roster_at(l, a->roster_block);
    return gw_bytes(r->bytes, r->len);
}

void gw_home_roster_free(struct gw_lcore *l, struct gw_home_account *a)
{
    gw_arena_put(l->arena, a->roster_block);
    a->roster_block = 0;
}

/* ---- read ---- */

int gw_home_list(struct gw_lcore *l, uint32_t i)
{
    const struct gw_home_account *a = gw_home_account(l, i);
    struct gw_bytes jid = gw_home_account_jid(l, a);
    struct gw_store_request rq = {
        .op = GW_STORE_GET,
        .ns = GW_NS_ROSTER,
        .key = jid.p,
        .key_len = (uint16_t)jid.len,
        .data = gw_arena_ptr(l->arena, a->load_block),
        .data_len = (uint32_t)gw_arena_block_bytes(l->arena, a->load_block),
        .tag = gw_home_tag(GW_HOME_TAG_LIST, i),
    };
    return gw_store_submit(l->store, &rq);
}

/* Those that are blocked come first. */
static void roster_changed(const struct gw_lcore *l, struct gw_home_account *a)
{
    struct gw_roster_entry e;
    size_t at = 0;
    a->blocks = gw_roster_next(gw_home_roster(l, a), &at, &e) && (e.flags & GW_ROSTER_BLOCKED) != 0;
}

/* The roster that these bytes are, beside its account. 0, or negative errno. */
static int keep(struct gw_lcore *l, struct gw_home_account *a, struct gw_bytes plain,
                uint64_t version)
{
    struct gw_roster_head h;
    if (gw_roster_check(plain) != 0 || plain.len == 0)
        return -EBADMSG;
    memcpy(&h, plain.p, sizeof(h));
    bool own = memcmp(h.identity, a->identity.hash, sizeof(h.identity)) == 0;
    size_t len = own ? plain.len : 0;
    a->roster_block = gw_arena_get(l->arena, sizeof(struct gw_home_roster) + len);
    if (a->roster_block == 0)
        return -ENOMEM;
    struct gw_home_roster *r = roster_at(l, a->roster_block);
    *r = (struct gw_home_roster){.version = version, .len = (uint32_t)len};
    memcpy(r->bytes, plain.p, len);
    return 0;
}

int gw_home_listed(struct gw_lcore *l, uint32_t i, const struct gw_store_completion *c)
{
    struct gw_home_account *a = gw_home_account(l, i);
    struct gw_bytes plain;
    int rc = c->status;
    if (rc == -EMSGSIZE) {
        gw_block larger =
            c->len <= GW_ARENA_BLOCK_BYTES_MAX ? gw_arena_get(l->arena, c->len) : 0;
        if (larger != 0) {
            gw_arena_put(l->arena, a->load_block);
            a->load_block = larger;
            return 1;
        }
    }
    gw_home_roster_free(l, a);
    if (rc == 0)
        rc = gw_small_open(l->keys, l->sealer, GW_NS_ROSTER, gw_home_account_jid(l, a),
                           gw_arena_ptr(l->arena, a->load_block), c->len, &plain);
    if (rc == 0)
        rc = keep(l, a, plain, c->seq);
    roster_changed(l, a);
    a->damaged = rc != 0 && rc != -ENOENT;
    if (a->damaged)
        GW_COUNT(l->home_count.rosters_damaged);
    return 0;
}

/* ---- what sessions are told ---- */

static struct gw_bytes text_of(const struct gw_lcore *l, gw_block b)
{
    const struct gw_home_text *t = gw_arena_ptr(l->arena, b);
    return gw_bytes(t->text, t->len);
}

/* RFC 6121 section 2.1.6. */
static void push(struct gw_lcore *l, const struct gw_home_account *a,
                 const struct gw_roster_entry *e)
{
    char ver[GW_ROSTER_VER_DIGITS];
    gw_roster_ver(gw_home_roster(l, a), &l->cfg->name_key, ver);
    for (uint32_t i = a->sessions, next; i != 0; i = next) {
        const struct gw_home_session *s = gw_home_session(l, i);
        next = s->next;
        if (!s->interested)
            continue;
        struct gw_text t = gw_text(l->scratch, GW_SCRATCH_BYTES);
        gw_text_str(&t, "<iq type='set' id='push-");
        gw_text_uint(&t, ++l->home->push_number);
        gw_text_str(&t, "' to='");
        gw_text_escaped(&t, gw_session_jid(l, s));
        gw_text_str(&t, "'><query xmlns='jabber:iq:roster' ver='");
        gw_text_put(&t, gw_bytes(ver, sizeof(ver)));
        gw_text_str(&t, "'>");
        gw_roster_put_item(&t, e);
        gw_text_str(&t, "</query></iq>");
        check(!t.full);
        gw_home_transient(l, i, gw_text_bytes(&t));
    }
}

/* A request to those that are available, an answer to those that know the roster: RFC 6121 section 3. */
static void tell(struct gw_lcore *l, const struct gw_home_account *a, struct gw_bytes xml)
{
    for (uint32_t i = a->sessions, next; i != 0; i = next) {
        const struct gw_home_session *s = gw_home_session(l, i);
        next = s->next;
        if (s->available || s->interested)
            gw_home_transient(l, i, xml);
    }
}

/* ---- blocking: XEP-0191 ---- */

bool gw_home_blocks(const struct gw_lcore *l, const struct gw_home_account *a,
                    const struct gw_stanza *s)
{
    return !gw_bytes_eq(gw_stanza_from_bare(s), gw_stanza_to_bare(s)) &&
           gw_roster_blocks(gw_home_roster(l, a), gw_stanza_from(s), gw_stanza_from_bare(s));
}

/* Those that are blocked, which come first: as a roster of their own. */
static struct gw_bytes blocked_part(struct gw_bytes roster)
{
    struct gw_roster_entry e;
    size_t at = 0, end = 0;
    while (gw_roster_next(roster, &at, &e) && (e.flags & GW_ROSTER_BLOCKED) != 0)
        end = at;
    return gw_bytes(roster.p, end);
}

bool gw_home_tell_blocks(struct gw_lcore *l, const struct gw_home_account *a, struct gw_ref conn)
{
    struct gw_bytes list = blocked_part(gw_home_roster(l, a));
    gw_block b = gw_post_down_room(l, conn.lcore) > 0
                     ? gw_arena_get(l->arena, sizeof(struct gw_home_text) + list.len)
                     : 0;
    if (b == 0)
        return false;
    struct gw_home_text *t = gw_arena_ptr(l->arena, b);
    *t = (struct gw_home_text){.len = (uint32_t)list.len};
    if (list.len > 0)
        memcpy(t->text, list.p, list.len);
    struct gw_post p = {.op = GW_POST_DELIVER, .conn = conn, .block = b,
                        .owner = (uint8_t)l->index,
                        .deliver = {.off = offsetof(struct gw_home_text, text), .len = t->len,
                                    .lent = GW_LENT_BLOCKS}};
    gw_post_down(l, conn.lcore, &p);
    return true;
}

static void put_blocked(struct gw_text *t, struct gw_bytes list)
{
    struct gw_roster_entry e;
    for (size_t at = 0; gw_roster_next(list, &at, &e) && (e.flags & GW_ROSTER_BLOCKED) != 0;) {
        gw_text_str(t, "<item jid='");
        gw_text_escaped(t, e.jid);
        gw_text_str(t, "'/>");
    }
}

static void push_blocks(struct gw_lcore *l, uint32_t i, const char *element, struct gw_bytes list)
{
    struct gw_text t = gw_text(l->scratch, GW_SCRATCH_BYTES);
    gw_text_str(&t, "<iq type='set' id='push-");
    gw_text_uint(&t, ++l->home->push_number);
    gw_text_str(&t, "' to='");
    gw_text_escaped(&t, gw_session_jid(l, gw_home_session(l, i)));
    gw_text_str(&t, "'><");
    gw_text_str(&t, element);
    gw_text_str(&t, " xmlns='urn:xmpp:blocking'>");
    put_blocked(&t, list);
    gw_text_str(&t, "</");
    gw_text_str(&t, element);
    gw_text_str(&t, "></iq>");
    check(!t.full);
    gw_home_transient(l, i, gw_text_bytes(&t));
}

/* ---- what contacts are told ---- */

bool gw_home_send_kind(struct gw_lcore *l, const struct gw_home_account *a, struct gw_bytes contact,
                       enum gw_sub_kind k)
{
    char buf[64 + 12 * GW_JID_BYTES_MAX];
    struct gw_text t = gw_text(buf, sizeof(buf));
    struct gw_bytes bare = gw_home_account_jid(l, a);
    struct gw_stanza_form f = {
        .kind = GW_STANZA_PRESENCE,
        .type = (enum gw_stanza_type)(GW_TYPE_SUBSCRIBE + k),
        .to = contact, .to_bare = contact, .from = bare, .from_bare = bare,
    };
    gw_text_str(&t, "<presence type='");
    gw_text_str(&t, gw_sub_kind_name(k));
    gw_text_str(&t, "' from='");
    gw_text_escaped(&t, bare);
    gw_text_str(&t, "' to='");
    gw_text_escaped(&t, contact);
    gw_text_str(&t, "'/>");
    return gw_home_send(l, &f, gw_text_bytes(&t), gw_bytes(NULL, 0));
}

bool gw_home_send_presence(struct gw_lcore *l, struct gw_bytes from, size_t from_bare_len,
                           struct gw_bytes to, struct gw_bytes xml)
{
    static const size_t skip = sizeof("<presence") - 1;
    char head[16 + 6 * GW_JID_BYTES_MAX];
    struct gw_text t = gw_text(head, sizeof(head));
    const uint8_t *slash = memchr(to.p, '/', to.len);
    struct gw_stanza_form f = {
        .kind = GW_STANZA_PRESENCE,
        .type = GW_TYPE_AVAILABLE, /* or the other: their way is the same */
        .to = to,
        .to_bare = gw_bytes(to.p, slash != NULL ? (size_t)(slash - to.p) : to.len),
        .from = from,
        .from_bare = gw_bytes(from.p, from_bare_len),
    };
    gw_text_str(&t, "<presence to='");
    gw_text_escaped(&t, to);
    gw_text_str(&t, "'");
    return gw_home_send(l, &f, gw_text_bytes(&t), gw_bytes(xml.p + skip, xml.len - skip));
}

/* Of each available session: its presence, or that it is unavailable. */
static void send_presences(struct gw_lcore *l, const struct gw_home_account *a, struct gw_bytes to,
                           bool available)
{
    char buf[64 + 6 * GW_JID_BYTES_MAX];
    unsigned n = 0;
    for (uint32_t i = a->sessions; i != 0 && n < PRESENCES_MAX; i = gw_home_session(l, i)->next) {
        const struct gw_home_session *s = gw_home_session(l, i);
        if (!s->available || s->presence == 0)
            continue;
        struct gw_bytes jid = gw_session_jid(l, s);
        struct gw_text t = gw_text(buf, sizeof(buf));
        gw_text_str(&t, "<presence type='unavailable' from='");
        gw_text_escaped(&t, jid);
        gw_text_str(&t, "'/>");
        (void)gw_home_send_presence(l, jid, s->bare_len, to,
                                    available ? text_of(l, s->presence) : gw_text_bytes(&t));
        n++;
    }
}

/* ---- effects of a change, when it is durable ---- */

static void return_result(struct gw_lcore *l, struct gw_post *p)
{
    struct gw_post answer = {.op = GW_POST_RETURN, .conn = p->conn, .seq = p->seq,
                             .block = p->block, .owner = p->owner, .settle = true, .n = 1};
    gw_post_answer(l, p->owner, &answer);
}

static struct gw_roster_entry asked_item(const struct gw_stanza *s)
{
    struct gw_roster_entry e = {0};
    size_t at = 0;
    check(gw_roster_next(gw_bytes((const char *)s + s->xml_off, s->xml_len), &at, &e));
    return e;
}

/* RFC 6121 section 2.5.2; a request that waits is declined. */
static void cancel(struct gw_lcore *l, const struct gw_home_account *a, struct gw_bytes contact,
                   uint8_t before)
{
    if (before & (GW_SUB_TO | GW_SUB_OUT))
        (void)gw_home_send_kind(l, a, contact, GW_SUB_UNSUBSCRIBE);
    if (before & (GW_SUB_FROM | GW_SUB_IN))
        (void)gw_home_send_kind(l, a, contact, GW_SUB_UNSUBSCRIBED);
    if (before & GW_SUB_FROM)
        send_presences(l, a, contact, false);
}

static void item_changed(struct gw_lcore *l, struct gw_home_account *a, struct gw_post *p,
                         uint8_t before)
{
    struct gw_roster_entry e, asked = asked_item(gw_post_stanza(l, p));
    if (!gw_roster_find(gw_home_roster(l, a), asked.jid, false, &e))
        cancel(l, a, asked.jid, before);
    push(l, a, &e);
    return_result(l, p);
}

/* Contacts who see the user go; a list that names more of them than this is heard of later. */
#define BLOCKED_TOLD_MAX 64u

static void go_from(struct gw_lcore *l, const struct gw_home_account *a, struct gw_bytes list)
{
    struct gw_roster_entry e;
    unsigned n = 0;
    for (size_t at = 0; n < BLOCKED_TOLD_MAX && gw_roster_next(gw_home_roster(l, a), &at, &e);)
        if ((e.flags & GW_SUB_FROM) != 0 && gw_roster_blocks(list, e.jid, e.jid)) {
            send_presences(l, a, e.jid, false);
            n++;
        }
}

/* Edges know it before the user does. Who is blocked no longer hears of the user again, with the others. */
static void blocks_changed(struct gw_lcore *l, struct gw_home_account *a, struct gw_post *p)
{
    const struct gw_stanza *s = gw_post_stanza(l, p);
    bool block = s->flags == GW_ASK_BLOCK;
    struct gw_bytes list = gw_bytes((const char *)s + s->xml_off, s->xml_len);
    for (uint32_t i = a->sessions, next; i != 0; i = next) {
        struct gw_home_session *t = gw_home_session(l, i);
        next = t->next;
        if (!gw_home_tell_blocks(l, a, t->conn))
            GW_COUNT(l->home_count.transient_dropped);
        if (t->wants_blocks)
            push_blocks(l, i, block ? "block" : "unblock", list);
        if (!block && t->available && t->presence != 0)
            gw_home_announce(l, i, text_of(l, t->presence), false);
    }
    if (block)
        go_from(l, a, list);
    return_result(l, p);
}

#define VISIBLE (GW_SUB_TO | GW_SUB_FROM | GW_SUB_OUT | GW_ROSTER_LISTED)

/* Pushed when a client sees the difference. The entry as it is now. */
static struct gw_roster_entry state_changed(struct gw_lcore *l, struct gw_home_account *a,
                                            struct gw_bytes contact, uint8_t before)
{
    struct gw_roster_entry e;
    (void)gw_roster_find(gw_home_roster(l, a), contact, false, &e);
    if ((e.flags & GW_ROSTER_LISTED) != 0 && ((e.flags ^ before) & VISIBLE) != 0)
        push(l, a, &e);
    return e;
}

static struct gw_bytes xml_of(const struct gw_stanza *s)
{
    return gw_bytes((const char *)s + s->xml_off, s->xml_len);
}

static enum gw_sub_kind kind_of(const struct gw_stanza *s)
{
    return (enum gw_sub_kind)(s->type - GW_TYPE_SUBSCRIBE);
}

static void pass_on(struct gw_lcore *l, const struct gw_stanza *s)
{
    struct gw_stanza_form f = {
        .kind = GW_STANZA_PRESENCE,
        .type = (enum gw_stanza_type)s->type,
        .to = gw_stanza_to(s), .to_bare = gw_stanza_to_bare(s),
        .from = gw_stanza_from(s), .from_bare = gw_stanza_from_bare(s),
    };
    (void)gw_home_send(l, &f, xml_of(s), gw_bytes(NULL, 0));
}

static void sent(struct gw_lcore *l, struct gw_home_account *a, struct gw_post *p, uint8_t before)
{
    const struct gw_stanza *s = gw_post_stanza(l, p);
    struct gw_bytes contact = gw_stanza_to_bare(s);
    struct gw_roster_entry e = state_changed(l, a, contact, before);
    if (gw_sub_outbound(before & GW_SUB_BITS, kind_of(s)).goes_on)
        pass_on(l, s);
    if ((e.flags ^ before) & GW_SUB_FROM)
        send_presences(l, a, contact, (e.flags & GW_SUB_FROM) != 0);
    gw_home_return(l, p, true, GW_CONDITION_NONE);
}

static void received(struct gw_lcore *l, struct gw_home_account *a, struct gw_post *p,
                     uint8_t before)
{
    const struct gw_stanza *s = gw_post_stanza(l, p);
    struct gw_bytes contact = gw_stanza_from_bare(s);
    struct gw_sub_step step = gw_sub_inbound(before & GW_SUB_BITS, kind_of(s));
    struct gw_roster_entry e = state_changed(l, a, contact, before);
    if (step.goes_on)
        tell(l, a, xml_of(s));
    if (step.auto_reply)
        (void)gw_home_send_kind(l, a, contact, GW_SUB_SUBSCRIBED);
    if (step.auto_reply || ((e.flags ^ before) & GW_SUB_FROM) != 0)
        send_presences(l, a, contact, (e.flags & GW_SUB_FROM) != 0);
    gw_home_return(l, p, true, GW_CONDITION_NONE);
}

static void changed(struct gw_lcore *l, struct gw_home_account *a, struct gw_post *p, uint8_t before)
{
    const struct gw_stanza *s = gw_post_stanza(l, p);
    if (p->op != GW_POST_ASK)
        received(l, a, p, before);
    else if (s->flags == GW_ASK_SUBSCRIPTION)
        sent(l, a, p, before);
    else if (s->flags == GW_ASK_BLOCK || s->flags == GW_ASK_UNBLOCK)
        blocks_changed(l, a, p);
    else
        item_changed(l, a, p, before);
}

/* ---- written ---- */

/* Who asks is told; who is asked by others stays silent. */
static void refuse(struct gw_lcore *l, struct gw_post *p, enum gw_condition why)
{
    gw_home_return(l, p, true, p->op == GW_POST_ASK ? why : GW_CONDITION_NONE);
}

static void too_much(struct gw_lcore *l, struct gw_post *p)
{
    GW_COUNT(l->home_count.roster_refused);
    refuse(l, p, GW_CONDITION_RESOURCE_CONSTRAINT);
}

static uint64_t version_of(const struct gw_lcore *l, const struct gw_home_account *a)
{
    return a->roster_block != 0 ? roster_at(l, a->roster_block)->version : 0;
}

int gw_home_write(struct gw_lcore *l, uint32_t i)
{
    const struct gw_home_account *a = gw_home_account(l, i);
    struct gw_roster_change *w = gw_arena_ptr(l->arena, a->load_block);
    struct gw_bytes jid = gw_home_account_jid(l, a);
    struct gw_store_request rq = {
        .op = GW_STORE_CAS,
        .ns = GW_NS_ROSTER,
        .key = jid.p,
        .key_len = (uint16_t)jid.len,
        .data = w->sealed,
        .data_len = w->sealed_len,
        .from = version_of(l, a),
        .tag = gw_home_tag(GW_HOME_TAG_WRITE, i),
    };
    return gw_store_submit(l->store, &rq);
}

/* A roster that may become the account's: with `e` in the place of what is there. 0: no memory. */
static gw_block next_with(struct gw_lcore *l, const struct gw_home_account *a, struct gw_bytes now,
                          const struct gw_roster_entry *e)
{
    gw_block b = gw_arena_get(l->arena, sizeof(struct gw_home_roster) + gw_roster_size_with(now, e));
    if (b == 0)
        return 0;
    struct gw_home_roster *r = roster_at(l, b);
    *r = (struct gw_home_roster){0};
    r->len = (uint32_t)gw_roster_with(now, a->identity.hash, e, r->bytes);
    return b;
}

/* The same sealed, in the account's load_block. False: no memory. */
static bool prepare(struct gw_lcore *l, uint32_t i, const struct gw_post *p, gw_block next,
                    uint8_t before)
{
    struct gw_home_account *a = gw_home_account(l, i);
    const struct gw_home_roster *r = roster_at(l, next);
    gw_block b = gw_arena_get(l->arena, sizeof(struct gw_roster_change) + r->len +
                                            GW_SMALL_OVERHEAD_BYTES);
    if (b == 0)
        return false;
    struct gw_roster_change *w = gw_arena_ptr(l->arena, b);
    *w = (struct gw_roster_change){.post = *p, .next = next, .before = before};
    if (r->len > 0) {
        gw_small_seal(l->keys, l->sealer, GW_NS_ROSTER, gw_home_account_jid(l, a),
                      gw_bytes(r->bytes, r->len), w->sealed);
        w->sealed_len = r->len + GW_SMALL_OVERHEAD_BYTES;
    }
    a->load_block = b;
    return true;
}

/* It becomes the account's when it is durable, and the rest follows. next 0: there was no memory for it. */
static void make_durable(struct gw_lcore *l, uint32_t i, struct gw_post *p, gw_block next,
                         uint8_t before)
{
    if (next != 0 && gw_store_accepts(l->store) && prepare(l, i, p, next, before)) {
        gw_home_account_write(l, i);
        return;
    }
    gw_arena_put(l->arena, next);
    GW_COUNT(l->home_count.refused_memory);
    refuse(l, p, GW_CONDITION_RESOURCE_CONSTRAINT);
}

/* Make `e` of what was `before`. */
static void change(struct gw_lcore *l, uint32_t i, struct gw_post *p,
                   const struct gw_roster_entry *e, const struct gw_roster_entry *before)
{
    struct gw_home_account *a = gw_home_account(l, i);
    bool same = e->flags == before->flags && gw_bytes_eq(e->name, before->name) &&
                gw_bytes_eq(e->groups, before->groups) && gw_bytes_eq(e->request, before->request);
    if (same)
        changed(l, a, p, before->flags);
    else
        make_durable(l, i, p, next_with(l, a, gw_home_roster(l, a), e), before->flags);
}

static void take_next(struct gw_lcore *l, struct gw_home_account *a, gw_block next, uint64_t version)
{
    gw_home_roster_free(l, a);
    if (version == 0) {
        gw_arena_put(l->arena, next);
    } else {
        roster_at(l, next)->version = version;
        a->roster_block = next;
    }
    roster_changed(l, a);
}

int gw_home_written(struct gw_lcore *l, uint32_t i, const struct gw_store_completion *c,
                    struct gw_post *again)
{
    struct gw_home_account *a = gw_home_account(l, i);
    struct gw_roster_change *w = gw_arena_ptr(l->arena, a->load_block);
    if (c->status == 0 && a->state == GW_ACCOUNT_WRITING) {
        GW_COUNT(l->home_count.roster_writes);
        take_next(l, a, w->next, c->seq);
        changed(l, a, &w->post, w->before);
        return 0;
    }
    gw_arena_put(l->arena, w->next);
    *again = w->post;
    bool stale = c->status == -ESTALE || c->status == -EEXIST;
    if (stale && a->state == GW_ACCOUNT_WRITING)
        return -ESTALE;
    GW_COUNT(l->home_count.roster_write_errors);
    refuse(l, again, GW_CONDITION_INTERNAL_SERVER_ERROR);
    return c->status;
}

/* ---- asked by the user ---- */

static bool is_full(const struct gw_lcore *l, struct gw_bytes roster,
                    const struct gw_roster_entry *e, const struct gw_roster_entry *before)
{
    bool is_new = (e->flags & ~before->flags & GW_ROSTER_LISTED) != 0;
    return (is_new && gw_roster_count(roster).listed >= l->cfg->roster_contacts_max) ||
           gw_roster_size_with(roster, e) > l->cfg->roster_bytes_max;
}

static void set_item(struct gw_lcore *l, uint32_t i, struct gw_post *p)
{
    struct gw_bytes roster = gw_home_roster(l, gw_home_account(l, i));
    struct gw_roster_entry before, e = asked_item(gw_post_stanza(l, p));
    (void)gw_roster_find(roster, e.jid, false, &before);
    e.flags = before.flags | GW_ROSTER_LISTED;
    e.request = before.request;
    if (is_full(l, roster, &e, &before))
        too_much(l, p);
    else
        change(l, i, p, &e, &before);
}

static void remove_item(struct gw_lcore *l, uint32_t i, struct gw_post *p)
{
    struct gw_bytes roster = gw_home_roster(l, gw_home_account(l, i));
    struct gw_roster_entry before, asked = asked_item(gw_post_stanza(l, p));
    if (!gw_roster_find(roster, asked.jid, false, &before) ||
        (before.flags & GW_ROSTER_LISTED) == 0) {
        gw_home_return(l, p, true, GW_CONDITION_ITEM_NOT_FOUND);
        return;
    }
    change(l, i, p, &(struct gw_roster_entry){.jid = asked.jid}, &before);
}

/* The roster with those of the list blocked, or not; 0: no memory. */
static gw_block next_blocking(struct gw_lcore *l, const struct gw_home_account *a,
                              struct gw_bytes list, bool block)
{
    struct gw_bytes now = gw_home_roster(l, a);
    struct gw_roster_entry e;
    gw_block b = 0;
    for (size_t at = 0; gw_roster_next(list, &at, &e);) {
        gw_block next = next_with(l, a, now, &e);
        if (next != 0 && !block)
            roster_at(l, next)->len =
                (uint32_t)gw_roster_unblock(now, e.jid, roster_at(l, next)->bytes);
        gw_arena_put(l->arena, b);
        b = next;
        if (b == 0)
            return 0;
        now = gw_bytes(roster_at(l, b)->bytes, roster_at(l, b)->len);
    }
    return b;
}

static gw_block next_unblocked(struct gw_lcore *l, const struct gw_home_account *a)
{
    struct gw_bytes now = gw_home_roster(l, a);
    gw_block b = gw_arena_get(l->arena, sizeof(struct gw_home_roster) + now.len);
    if (b == 0)
        return 0;
    struct gw_home_roster *r = roster_at(l, b);
    *r = (struct gw_home_roster){0};
    r->len = (uint32_t)gw_roster_unblocked(now, r->bytes);
    return b;
}

static void change_blocks(struct gw_lcore *l, uint32_t i, struct gw_post *p, bool block)
{
    struct gw_home_account *a = gw_home_account(l, i);
    const struct gw_stanza *s = gw_post_stanza(l, p);
    struct gw_bytes list = gw_bytes((const char *)s + s->xml_off, s->xml_len);
    if (!block && !a->blocks) {
        changed(l, a, p, 0);
        return;
    }
    gw_block next = list.len > 0 ? next_blocking(l, a, list, block) : next_unblocked(l, a);
    if (next != 0 && block && roster_at(l, next)->len > l->cfg->roster_bytes_max) {
        gw_arena_put(l->arena, next);
        too_much(l, p);
        return;
    }
    make_durable(l, i, p, next, 0);
}

static void set_state(struct gw_roster_entry *e, uint8_t state)
{
    e->flags = (uint8_t)((e->flags & ~GW_SUB_BITS) | state);
    if ((state & GW_SUB_IN) == 0)
        e->request = gw_bytes(NULL, 0);
}

static void send_subscription(struct gw_lcore *l, uint32_t i, struct gw_post *p)
{
    const struct gw_stanza *s = gw_post_stanza(l, p);
    struct gw_bytes roster = gw_home_roster(l, gw_home_account(l, i));
    struct gw_roster_entry before;
    (void)gw_roster_find(roster, gw_stanza_to_bare(s), false, &before);
    struct gw_roster_entry e = before;
    set_state(&e, gw_sub_outbound(before.flags & GW_SUB_BITS, kind_of(s)).state);
    if (e.flags & (GW_SUB_TO | GW_SUB_FROM | GW_SUB_OUT))
        e.flags |= GW_ROSTER_LISTED;
    if (gw_roster_blocks(roster, gw_stanza_to(s), gw_stanza_to_bare(s)))
        gw_home_return(l, p, true, GW_CONDITION_BLOCKED);
    else if (is_full(l, roster, &e, &before))
        too_much(l, p);
    else
        change(l, i, p, &e, &before);
}

static size_t items_bytes(struct gw_bytes roster)
{
    struct gw_roster_entry e;
    size_t n = 0;
    for (size_t at = 0; gw_roster_next(roster, &at, &e);)
        n += e.flags & GW_ROSTER_LISTED ? gw_roster_item_bytes(&e) : 0;
    return n;
}

/* asked: a version is to be said. */
static void put_roster(struct gw_text *t, struct gw_bytes roster, struct gw_bytes ver, bool asked)
{
    struct gw_roster_entry e;
    gw_text_str(t, "<query xmlns='jabber:iq:roster'");
    if (asked)
        gw_text_attr(t, " ver='", ver);
    gw_text_str(t, ">");
    for (size_t at = 0; gw_roster_next(roster, &at, &e);)
        if (e.flags & GW_ROSTER_LISTED)
            gw_roster_put_item(t, &e);
    gw_text_str(t, "</query>");
}

/* An answer as a block to lend, its IQ begun, with room for so many bytes more. 0: no memory. */
static gw_block begin_answer(struct gw_lcore *l, const struct gw_stanza *s, size_t bytes,
                             struct gw_text *t)
{
    size_t need = sizeof(struct gw_home_text) + 256 + bytes +
                  6 * (size_t)(s->id_len + s->from_len + s->to_len);
    gw_block b = need <= GW_ARENA_BLOCK_BYTES_MAX ? gw_arena_get(l->arena, need) : 0;
    if (b == 0)
        return 0;
    struct gw_home_text *h = gw_arena_ptr(l->arena, b);
    *h = (struct gw_home_text){0};
    *t = gw_text(h->text, gw_arena_block_bytes(l->arena, b) - sizeof(*h));
    gw_text_str(t, "<iq type='result'");
    gw_text_attr(t, " id='", gw_stanza_id(s));
    gw_text_attr(t, " from='", gw_stanza_to(s));
    gw_text_attr(t, " to='", gw_stanza_from(s));
    gw_text_str(t, ">");
    return b;
}

static void send_answer(struct gw_lcore *l, struct gw_post *p, gw_block b, struct gw_text *t)
{
    struct gw_home_text *h = gw_arena_ptr(l->arena, b);
    gw_text_str(t, "</iq>");
    check(!t->full);
    h->len = (uint32_t)t->len;
    struct gw_post answer = {
        .op = GW_POST_DELIVER,
        .conn = p->conn,
        .session = p->session,
        .seq = p->seq,
        .block = b,
        .owner = (uint8_t)l->index,
        .deliver = {.off = offsetof(struct gw_home_text, text), .len = h->len,
                    .lent = GW_LENT_ANSWER},
    };
    gw_post_down(l, p->conn.lcore, &answer);
    gw_home_return(l, p, true, GW_CONDITION_NONE);
}

/* RFC 6121 section 2.6.2: nothing is said to who has the version that it is. */
static gw_block roster_answer(struct gw_lcore *l, const struct gw_stanza *s, struct gw_bytes roster,
                              struct gw_text *t)
{
    char digits[GW_ROSTER_VER_DIGITS];
    struct gw_bytes had = xml_of(s), ver = gw_bytes(digits, sizeof(digits));
    gw_roster_ver(roster, &l->cfg->name_key, digits);
    bool asked = had.len > 0, same = asked && gw_bytes_eq(gw_bytes(had.p + 1, had.len - 1), ver);
    gw_block b = begin_answer(l, s, items_bytes(roster), t);
    if (b != 0 && !same)
        put_roster(t, roster, ver, asked);
    return b;
}

static gw_block blocks_answer(struct gw_lcore *l, const struct gw_stanza *s, struct gw_bytes roster,
                              struct gw_text *t)
{
    gw_block b = begin_answer(l, s, 6 * blocked_part(roster).len, t);
    if (b == 0)
        return 0;
    gw_text_str(t, "<blocklist xmlns='urn:xmpp:blocking'>");
    put_blocked(t, roster);
    gw_text_str(t, "</blocklist>");
    return b;
}

static void get(struct gw_lcore *l, const struct gw_home_account *a, uint32_t session,
                struct gw_post *p)
{
    const struct gw_stanza *s = gw_post_stanza(l, p);
    bool blocks = s->flags == GW_ASK_BLOCK_GET;
    struct gw_bytes roster = gw_home_roster(l, a);
    struct gw_text t;
    gw_block b = gw_post_down_room(l, p->conn.lcore) == 0 ? 0
                 : blocks                                 ? blocks_answer(l, s, roster, &t)
                                                          : roster_answer(l, s, roster, &t);
    if (b == 0) {
        gw_home_return(l, p, true, GW_CONDITION_RESOURCE_CONSTRAINT);
        return;
    }
    if (blocks)
        gw_home_session(l, session)->wants_blocks = true;
    else
        gw_home_session(l, session)->interested = true;
    send_answer(l, p, b, &t);
}

void gw_home_ask(struct gw_lcore *l, uint32_t i, struct gw_post *p)
{
    const struct gw_home_account *a = gw_home_account(l, i);
    uint32_t session = gw_home_session_find(l, p->session);
    if (session == 0 || a->state == GW_ACCOUNT_MISSING) { /* it has ended */
        gw_home_return(l, p, true, GW_CONDITION_NONE);
        return;
    }
    if (a->damaged) {
        gw_home_return(l, p, true, GW_CONDITION_INTERNAL_SERVER_ERROR);
        return;
    }
    switch ((enum gw_ask)gw_post_stanza(l, p)->flags) {
    case GW_ASK_SUBSCRIPTION:
        send_subscription(l, i, p);
        break;
    case GW_ASK_ROSTER_GET:
    case GW_ASK_BLOCK_GET:
        get(l, a, session, p);
        break;
    case GW_ASK_BLOCK:
    case GW_ASK_UNBLOCK:
        change_blocks(l, i, p, gw_post_stanza(l, p)->flags == GW_ASK_BLOCK);
        break;
    case GW_ASK_ROSTER_SET:
        set_item(l, i, p);
        break;
    case GW_ASK_ROSTER_REMOVE:
        remove_item(l, i, p);
        break;
    }
}

/* ---- asked by others ---- */

/* RFC 6121 section 4.3.2. A name without an account answers as who is not subscribed to does. */
static void probed(struct gw_lcore *l, const struct gw_home_account *a, const struct gw_stanza *s)
{
    struct gw_roster_entry e;
    struct gw_bytes from = gw_stanza_from(s), bare = gw_stanza_from_bare(s);
    (void)gw_roster_find(gw_home_roster(l, a), bare, false, &e);
    if (e.flags & GW_SUB_FROM)
        send_presences(l, a, from, true);
    else
        (void)gw_home_send_kind(l, a, bare, GW_SUB_UNSUBSCRIBED);
}

static bool takes_request(const struct gw_lcore *l, struct gw_bytes roster,
                          const struct gw_roster_entry *e, const struct gw_roster_entry *before)
{
    bool is_new = before->flags == 0 && (e->flags & GW_SUB_IN) != 0;
    return !is_new || (gw_roster_count(roster).pending < GW_ROSTER_PENDING_MAX &&
                       gw_roster_size_with(roster, e) <= l->cfg->roster_bytes_max);
}

static void receive_subscription(struct gw_lcore *l, uint32_t i, struct gw_post *p)
{
    const struct gw_stanza *s = gw_post_stanza(l, p);
    struct gw_bytes roster = gw_home_roster(l, gw_home_account(l, i));
    struct gw_roster_entry before;
    (void)gw_roster_find(roster, gw_stanza_from_bare(s), false, &before);
    struct gw_roster_entry e = before;
    struct gw_sub_step step = gw_sub_inbound(before.flags & GW_SUB_BITS, kind_of(s));
    set_state(&e, step.state);
    if (kind_of(s) == GW_SUB_SUBSCRIBE && step.goes_on && s->xml_len <= GW_ROSTER_REQUEST_BYTES_MAX)
        e.request = xml_of(s);
    if (takes_request(l, roster, &e, &before)) {
        change(l, i, p, &e, &before);
    } else {
        GW_COUNT(l->home_count.requests_dropped);
        refuse(l, p, GW_CONDITION_NONE);
    }
}

void gw_home_asked(struct gw_lcore *l, uint32_t i, struct gw_post *p)
{
    const struct gw_home_account *a = gw_home_account(l, i);
    const struct gw_stanza *s = gw_post_stanza(l, p);
    if (s->type != GW_TYPE_PROBE && !a->damaged && a->state == GW_ACCOUNT_READY) {
        receive_subscription(l, i, p);
        return;
    }
    if (s->type == GW_TYPE_PROBE && !a->damaged)
        probed(l, a, s);
    gw_home_return(l, p, true, GW_CONDITION_NONE);
}
