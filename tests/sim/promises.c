/* SPDX-License-Identifier: Apache-2.0 */
#include "promises.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/base/check.h"

enum { COPIES_MAX = 64, STANZA_ID_BYTES = 40 };

/* A copy as its recipient knows it. */
struct arrived {
    char stanza_id[STANZA_ID_BYTES];
    uint32_t session[CLIENTS_MAX]; /* the last that it came in, of each client */
};

/* A copy as the ledger knows it. */
struct stored {
    uint64_t position, accepted_us;
    uint64_t ended_us; /* its removal was durable; 0: it waits */
};

struct message {
    uint8_t from, to, address;
    uint32_t number, body_len;
    uint32_t sent;
    bool acked, refused;
    bool expired;
    bool overtaken; /* by a stanza that is not stored */
    unsigned arrived_count, stored_count;
    struct arrived arrived[COPIES_MAX];
    struct stored stored[COPIES_MAX];
    uint64_t last_session_us; /* when the last session that it came in began */
};

/* What keeps its order among its like, as one client gets it: what is for the account or that client, and
 * what is for the other one. */
struct lane {
    uint32_t session, session_max; /* highest in this session, of those sent once */
};

/* From one person to another. */
struct flow {
    uint32_t numbers;                   /* given */
    uint32_t arrived_max[1 + CLIENTS_MAX]; /* highest that has arrived, by address */
    struct lane lanes[CLIENTS_MAX][2];
    uint32_t stored_max;
    uint32_t waiting; /* stored and not ended */
};

struct promises {
    unsigned persons;
    bool may_refuse;
    struct promises_limits limits;
    struct gw_mailbox_id mailboxes[PERSONS_MAX];
    bool has_two[PERSONS_MAX]; /* clients */
    struct message *messages;
    uint32_t count, cap;
    struct flow flows[PERSONS_MAX][PERSONS_MAX];
    struct promises_counts counts;
    void (*found)(void *arg, const char *what);
    void *found_arg;
};

/* ---- words ---- */

static void found(const struct promises *p, const struct message *m, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void found(const struct promises *p, const struct message *m, const char *format, ...)
{
    char what[256], line[400];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    snprintf(line, sizeof(line), "message %u from u%u to u%u: %s", m->number, m->from, m->to, what);
    p->found(p->found_arg, line);
}

/* ---- messages ---- */

void promises_add_client(struct promises *p, unsigned account)
{
    p->has_two[account] = true;
}

uint32_t promises_add(struct promises *p, unsigned from, unsigned to, enum promises_address address,
                      uint32_t body_len)
{
    check(from < p->persons && to < p->persons);
    if (p->count == p->cap) {
        p->cap = p->cap == 0 ? 64 : 2 * p->cap;
        p->messages = realloc(p->messages, p->cap * sizeof(*p->messages));
        check(p->messages != NULL);
    }
    p->messages[p->count] = (struct message){.from = (uint8_t)from,
                                             .to = (uint8_t)to,
                                             .address = (uint8_t)address,
                                             .number = ++p->flows[from][to].numbers,
                                             .body_len = body_len};
    p->counts.messages++;
    return p->count++;
}

void promises_id(const struct promises *p, uint32_t m, char out[PROMISES_ID_BYTES])
{
    const struct message *x = &p->messages[m];
    snprintf(out, PROMISES_ID_BYTES, "m-%u-%u-%" PRIu32, x->from, x->to, x->number);
}

static struct message *find(const struct promises *p, const char *id)
{
    unsigned from, to;
    uint32_t number;
    if (sscanf(id, "m-%u-%u-%" SCNu32, &from, &to, &number) != 3)
        return NULL;
    for (uint32_t i = 0; i < p->count; i++) {
        struct message *m = &p->messages[i];
        if (m->from == from && m->to == to && m->number == number)
            return m;
    }
    return NULL;
}

uint32_t promises_find(const struct promises *p, const char *id)
{
    const struct message *m = find(p, id);
    return m == NULL ? UINT32_MAX : (uint32_t)(m - p->messages);
}

unsigned promises_to(const struct promises *p, uint32_t m)
{
    return p->messages[m].to;
}

enum promises_address promises_address(const struct promises *p, uint32_t m)
{
    return p->messages[m].address;
}

uint32_t promises_body_len(const struct promises *p, uint32_t m)
{
    return p->messages[m].body_len;
}

/* ---- the sender's side ---- */

void promises_sent(struct promises *p, uint32_t m)
{
    p->messages[m].sent++;
    p->counts.sent++;
}

uint32_t promises_times_sent(const struct promises *p, uint32_t m)
{
    return p->messages[m].sent;
}

void promises_acked(struct promises *p, uint32_t m)
{
    if (!p->messages[m].acked)
        p->counts.acked++;
    p->messages[m].acked = true;
}

void promises_refused(struct promises *p, uint32_t m)
{
    struct message *x = &p->messages[m];
    if (x->acked)
        found(p, x, "refused after it was acknowledged");
    if (!x->refused)
        p->counts.refused++;
    x->refused = true;
}

/* ---- the recipient's side ---- */

/* True: this copy has come before. */
static bool came_again(struct promises *p, struct message *m, const struct promises_arrival *a)
{
    for (unsigned i = 0; i < m->arrived_count; i++) {
        struct arrived *copy = &m->arrived[i];
        if (strcmp(copy->stanza_id, a->stanza_id) != 0)
            continue;
        uint32_t *session = &copy->session[a->client];
        if (*session == a->session)
            found(p, m, "came twice in one session, with stanza-id %s", a->stanza_id);
        p->counts.redelivered += *session != 0;
        *session = a->session;
        return true;
    }
    return false;
}

static void new_copy(struct promises *p, struct message *m, const struct promises_arrival *a)
{
    if (m->arrived_count == COPIES_MAX || strlen(a->stanza_id) >= STANZA_ID_BYTES) {
        found(p, m, "came in too many copies");
        return;
    }
    struct arrived *copy = &m->arrived[m->arrived_count++];
    *copy = (struct arrived){0};
    copy->session[a->client] = a->session;
    memcpy(copy->stanza_id, a->stanza_id, strlen(a->stanza_id) + 1);
    if (m->arrived_count > 1)
        found(p, m, "came in %u copies, sent %u times", m->arrived_count, m->sent);
    p->counts.received += m->arrived_count == 1;
}

/* Whether it must keep its place behind those that were sent before it for the first time. */
static bool is_in_order(const struct promises *p, const struct message *m)
{
    return m->sent == 1 || !p->may_refuse;
}

/* Whether it is for the other client alone. */
static bool is_others(const struct promises *p, const struct message *m, unsigned client)
{
    return p->has_two[m->to] && m->address != TO_ACCOUNT && m->address != TO_CLIENT_0 + client;
}

static void check_order(struct promises *p, struct message *m, const struct promises_arrival *a,
                        bool first)
{
    struct flow *f = &p->flows[m->from][m->to];
    uint32_t *arrived_max = &f->arrived_max[p->has_two[m->to] ? m->address : TO_ACCOUNT];
    struct lane *lane = &f->lanes[a->client][is_others(p, m, a->client)];
    /* Of two clients one may get at last what has become too old for the other. */
    bool may_be_late = p->has_two[m->to] && p->limits.age_us > 0;
    if (first && is_in_order(p, m) && !may_be_late && m->number < *arrived_max)
        found(p, m, "came for the first time after number %u", *arrived_max);
    if (m->number > *arrived_max)
        *arrived_max = m->number;
    if (lane->session != a->session)
        lane->session_max = 0;
    lane->session = a->session;
    if (m->sent > 1)
        return;
    if (m->number < lane->session_max)
        found(p, m, "came after number %u of the same session", lane->session_max);
    lane->session_max = m->number;
}

void promises_arrived(struct promises *p, const struct promises_arrival *a)
{
    struct message *m = find(p, a->id);
    if (m == NULL || m->sent == 0 || m->from != a->from || m->to != a->by) {
        char what[200];
        snprintf(what, sizeof(what), "u%u got a message \"%.40s\" of u%u that nobody sent", a->by,
                 a->id, a->from);
        p->found(p->found_arg, what);
        return;
    }
    if (a->body_len != m->body_len)
        found(p, m, "came with %u bytes instead of %u", a->body_len, m->body_len);
    bool first = m->arrived_count == 0;
    if (!came_again(p, m, a))
        new_copy(p, m, a);
    check_order(p, m, a, first);
    if (a->session_us > m->last_session_us)
        m->last_session_us = a->session_us;
}

void promises_fleeting_id(const struct promises *p, unsigned from, unsigned to,
                          char out[PROMISES_ID_BYTES])
{
    snprintf(out, PROMISES_ID_BYTES, "t-%u-%u-%" PRIu32, from, to, p->flows[from][to].numbers);
}

void promises_fleeting_arrived(struct promises *p, unsigned by, unsigned client, const char *id)
{
    unsigned from, to;
    uint32_t number;
    if (sscanf(id, "t-%u-%u-%" SCNu32, &from, &to, &number) != 3 || to != by) {
        p->found(p->found_arg, "a stanza that is not stored came to somebody else");
        return;
    }
    p->counts.fleeting++;
    for (uint32_t i = 0; i < p->count; i++) {
        struct message *m = &p->messages[i];
        if (m->from == from && m->to == to && m->number <= number && m->arrived_count == 0 &&
            !is_others(p, m, client))
            m->overtaken = true;
    }
}

/* ---- the ledger's side ---- */

static void text(struct gw_bytes b, char *out, size_t cap)
{
    snprintf(out, cap, "%.*s", (int)b.len, (const char *)b.p);
}

static void check_room(const struct promises *p, const struct message *m)
{
    uint32_t waiting = 0, of_sender = p->flows[m->from][m->to].waiting;
    for (unsigned i = 0; i < p->persons; i++)
        waiting += p->flows[i][m->to].waiting;
    if (waiting > p->limits.messages_max)
        found(p, m, "is the %uth in its mailbox, which may hold %u", waiting, p->limits.messages_max);
    if (m->from != m->to && of_sender > p->limits.share_max)
        found(p, m, "is the %uth of its sender in the mailbox, whose share is %u", of_sender,
              p->limits.share_max);
}

static void stored(struct promises *p, const struct gw_event *e)
{
    char id[PROMISES_ID_BYTES];
    text(e->id, id, sizeof(id));
    struct message *m = find(p, id);
    if (m == NULL) {
        p->found(p->found_arg, "the ledger has a message that nobody sent");
        return;
    }
    for (unsigned i = 0; i < m->stored_count; i++)
        if (m->stored[i].position == e->position)
            found(p, m, "is in the ledger twice at position %" PRIu64, e->position);
    if (m->stored_count > 0) {
        found(p, m, "was stored once more, and sent %u times", m->sent);
        return;
    }
    struct flow *f = &p->flows[m->from][m->to];
    if (is_in_order(p, m) && m->number < f->stored_max)
        found(p, m, "was stored after number %u", f->stored_max);
    if (m->number > f->stored_max)
        f->stored_max = m->number;
    m->stored[m->stored_count++] =
        (struct stored){.position = e->position, .accepted_us = e->time_us};
    p->counts.stored++;
    f->waiting++;
    check_room(p, m);
}

/* Positions of different mailboxes may be equal: the recipient decides. */
static struct stored *copy_at(struct promises *p, unsigned to, uint64_t position,
                              struct message **of)
{
    for (uint32_t i = p->count; i-- > 0;)
        for (unsigned k = 0; p->messages[i].to == to && k < p->messages[i].stored_count; k++)
            if (p->messages[i].stored[k].position == position) {
                *of = &p->messages[i];
                return &p->messages[i].stored[k];
            }
    return NULL;
}

static void expired(struct promises *p, struct message *m, const struct stored *copy, uint64_t now_us)
{
    if (p->limits.age_us == 0 || now_us < copy->accepted_us + p->limits.age_us)
        found(p, m, "expired when it was not too old");
    p->counts.expired += !m->expired;
    m->expired = true;
}

/* Delivered, or too old. */
static void ended(struct promises *p, const struct gw_event *e, uint64_t durable_us)
{
    struct message *m;
    unsigned to = 0;
    while (to < p->persons && memcmp(&p->mailboxes[to], &e->mailbox, sizeof(e->mailbox)) != 0)
        to++;
    struct stored *copy = to < p->persons ? copy_at(p, to, e->position, &m) : NULL;
    if (copy == NULL) {
        p->found(p->found_arg, "the ledger has an end of what was not stored");
        return;
    }
    bool again = copy->ended_us != 0, aged = e->kind == GW_EVENT_EXPIRED;
    if (aged)
        expired(p, m, copy, e->time_us);
    /* It may become too old while it is under way: then both are true. */
    if (again && !aged && !m->expired && !p->has_two[to])
        found(p, m, "was delivered twice from position %" PRIu64, e->position);
    if (again)
        return;
    copy->ended_us = durable_us;
    p->flows[m->from][m->to].waiting--;
    p->counts.delivered += !aged;
}

void promises_event(struct promises *p, const struct gw_event *e, uint64_t durable_us)
{
    if (e->kind == GW_EVENT_STORED)
        stored(p, e);
    else if (gw_event_ends(e->kind))
        ended(p, e, durable_us);
    else if (e->kind == GW_EVENT_REPEATED)
        p->counts.repeated++;
}

void promises_mailbox(struct promises *p, unsigned person, const struct gw_mailbox_id *id)
{
    p->mailboxes[person] = *id;
}

/* ---- the verdict ---- */

static const char *missing(const struct message *m)
{
    if (m->sent > 0 && !m->acked && !m->refused)
        return "it is neither acknowledged nor refused";
    if (m->acked && !m->refused && m->arrived_count == 0 && !m->expired)
        return m->stored_count > 0 ? "it is stored and acknowledged, and has not come"
                                   : "it is acknowledged, and has neither come nor is in the ledger";
    if (m->acked && !m->refused && m->stored_count == 0)
        return "it is acknowledged, and not in the ledger";
    for (unsigned i = 0; i < m->stored_count; i++)
        if (m->stored[i].ended_us == 0)
            return "the ledger has it stored and not delivered";
    return NULL;
}

bool promises_are_settled(const struct promises *p)
{
    for (uint32_t i = 0; i < p->count; i++)
        if (missing(&p->messages[i]) != NULL)
            return false;
    return true;
}

void promises_explain(const struct promises *p, char *out, size_t cap)
{
    const struct message *first = NULL;
    unsigned n = 0;
    for (uint32_t i = 0; i < p->count; i++)
        if (missing(&p->messages[i]) != NULL && n++ == 0)
            first = &p->messages[i];
    if (first != NULL)
        snprintf(out, cap, "of %u messages first number %u from u%u to u%u: %s", n, first->number,
                 first->from, first->to, missing(first));
    else
        snprintf(out, cap, "all promises are kept");
}

static void judge_message(const struct promises *p, const struct message *m)
{
    const char *what = missing(m);
    if (what != NULL)
        found(p, m, "%s", what);
    if (m->refused && m->sent == 1 && (m->stored_count > 0 || m->arrived_count > 0))
        found(p, m, "was refused and stored all the same");
    /* Refused ones never come, as their sender may not have known yet. */
    if (m->overtaken && !m->refused && !m->expired && is_in_order(p, m))
        found(p, m, "came behind a stanza that is not stored and was sent after it");
    if (m->arrived_count > m->stored_count || (m->arrived_count < m->stored_count && !m->expired))
        found(p, m, "came in %u copies and was stored in %u", m->arrived_count, m->stored_count);
    if (m->stored_count == 1 && m->stored[0].ended_us != 0 &&
        m->stored[0].ended_us < m->last_session_us)
        found(p, m, "came in a session that began after its removal was durable");
}

void promises_judge(struct promises *p)
{
    for (uint32_t i = 0; i < p->count; i++)
        judge_message(p, &p->messages[i]);
}

struct promises_counts promises_counts(const struct promises *p)
{
    return p->counts;
}

/* ---- life ---- */

struct promises *promises_new(unsigned persons, bool may_refuse,
                              void (*found_fn)(void *arg, const char *what), void *arg)
{
    struct promises *p = calloc(1, sizeof(*p));
    check(p != NULL && persons <= PERSONS_MAX);
    p->persons = persons;
    p->may_refuse = may_refuse;
    p->found = found_fn;
    p->found_arg = arg;
    p->limits = (struct promises_limits){.messages_max = UINT32_MAX, .share_max = UINT32_MAX};
    return p;
}

void promises_limits(struct promises *p, const struct promises_limits *limits)
{
    p->limits = *limits;
}

void promises_free(struct promises **p)
{
    free((*p)->messages);
    free(*p);
    *p = NULL;
}
