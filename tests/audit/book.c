/* SPDX-License-Identifier: Apache-2.0 */
#include "book.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/base/bytes.h"
#include "../../dataplane/base/check.h"
#include "../../dataplane/base/siphash.h"

enum {
    SENT = 1,
    RESENT = 2,
    ACKED = 4,
    REFUSED = 8,
    RECEIVED = 16,
};

struct flow {
    char *from, *to; /* bare JIDs */
    uint64_t received_max, waiting_max, stored_max;
    struct flow *next;
};

struct message {
    struct flow *flow;
    uint64_t number;
    char *id; /* NULL: not known to be sent */
    unsigned state;
    unsigned stored, waiting, expired; /* copies */
    struct message *next_by_number, *next_by_id;
};

/* A copy of a message in a mailbox, as the ledger has it. */
struct copy {
    struct gw_mailbox_id mailbox;
    uint64_t position;
    struct message *message; /* NULL: of nobody's logs */
    bool delivered, expired, waiting;
    struct copy *next;
};

#define BUCKETS (1u << 18)

struct book {
    char *before, *after; /* of a user's name */
    FILE *report;
    unsigned lines;
    struct gw_sipkey key;
    struct flow *flows[BUCKETS];
    struct message *by_number[BUCKETS], *by_id[BUCKETS];
    struct copy *copies[BUCKETS];
    struct gw_mailbox_id *mailboxes;
    size_t mailbox_count;
    struct book_faults faults;
    struct book_counts counts;
};

/* ---- faults ---- */

static void complain(struct book *b, uint64_t *fault, const char *what, const struct message *m)
{
    (*fault)++;
    if (b->lines == 0)
        return;
    b->lines--;
    if (m != NULL)
        fprintf(b->report, "%s: %s to %s, number %" PRIu64 ", id %s\n", what, m->flow->from,
                m->flow->to, m->number, m->id != NULL ? m->id : "-");
    else
        fprintf(b->report, "%s\n", what);
}

#define COMPLAIN(b, name, m) complain(b, &(b)->faults.name, #name, m)

static void complain_copy(struct book *b, uint64_t *fault, const char *what, const struct copy *c)
{
    char text[160], *p = text;
    p += snprintf(p, 32, "%s: mailbox ", what);
    for (size_t i = 0; i < sizeof(c->mailbox.b); i++)
        p += sprintf(p, "%02x", c->mailbox.b[i]);
    snprintf(p, 40, ", position %" PRIu64, c->position);
    if (c->message != NULL)
        complain(b, fault, text, c->message);
    else
        complain(b, fault, text, NULL);
}

/* ---- tables ---- */

static void *make(size_t size)
{
    void *p = calloc(1, size);
    check(p != NULL);
    return p;
}

static uint32_t bucket_of(const struct book *b, const char *x, const char *y, uint64_t n)
{
    uint64_t h = gw_siphash(&b->key, x, strlen(x));
    struct gw_sipkey next = {h, n};
    return (uint32_t)gw_siphash(&next, y, strlen(y)) & (BUCKETS - 1);
}

static struct flow *flow_of(struct book *b, const char *from, const char *to)
{
    struct flow **at = &b->flows[bucket_of(b, from, to, 0)];
    for (struct flow *f = *at; f != NULL; f = f->next)
        if (strcmp(f->from, from) == 0 && strcmp(f->to, to) == 0)
            return f;
    struct flow *f = make(sizeof(*f));
    f->from = strdup(from);
    f->to = strdup(to);
    check(f->from != NULL && f->to != NULL);
    f->next = *at;
    return *at = f;
}

static struct message *message_of(struct book *b, struct flow *f, uint64_t number)
{
    struct message **at = &b->by_number[bucket_of(b, f->from, f->to, number)];
    for (struct message *m = *at; m != NULL; m = m->next_by_number)
        if (m->flow == f && m->number == number)
            return m;
    struct message *m = make(sizeof(*m));
    m->flow = f;
    m->number = number;
    m->next_by_number = *at;
    return *at = m;
}

static void name(struct book *b, struct message *m, const char *id)
{
    if (m->id != NULL)
        return;
    m->id = strdup(id);
    check(m->id != NULL);
    struct message **at = &b->by_id[bucket_of(b, m->flow->to, id, 1)];
    m->next_by_id = *at;
    *at = m;
}

static struct message *find_id(const struct book *b, const char *from, const char *to,
                               const char *id)
{
    struct message *m = b->by_id[bucket_of(b, to, id, 1)];
    while (m != NULL && (strcmp(m->id, id) != 0 || strcmp(m->flow->from, from) != 0 ||
                         strcmp(m->flow->to, to) != 0))
        m = m->next_by_id;
    return m;
}

static struct copy **copy_at(struct book *b, const struct gw_mailbox_id *mailbox, uint64_t position)
{
    struct gw_sipkey key = {b->key.k0, position};
    struct copy **at = &b->copies[gw_siphash(&key, mailbox, sizeof(*mailbox)) & (BUCKETS - 1)];
    while (*at != NULL &&
           ((*at)->position != position || memcmp(&(*at)->mailbox, mailbox, sizeof(*mailbox)) != 0))
        at = &(*at)->next;
    return at;
}

static int by_mailbox(const void *x, const void *y)
{
    return memcmp(x, y, sizeof(struct gw_mailbox_id));
}

/* ---- the clients' side ---- */

static void first_in_order(struct book *b, struct message *m, uint64_t *max)
{
    if (m->number < *max && !(m->state & RESENT))
        COMPLAIN(b, disorder, m);
    if (m->number > *max)
        *max = m->number;
}

static void client_says(struct book *b, const char *what, struct message *m, const char *detail)
{
    unsigned before = m->state;
    if (strcmp(what, "sent") == 0) {
        m->state |= SENT;
        name(b, m, detail);
    } else if (strcmp(what, "resent") == 0) {
        m->state |= RESENT;
        name(b, m, detail);
    } else if (strcmp(what, "acknowledged") == 0) {
        m->state |= ACKED;
    } else if (strcmp(what, "refused") == 0) {
        m->state |= REFUSED;
    } else if (strcmp(what, "received") == 0) {
        if (before & RECEIVED)
            COMPLAIN(b, twice, m);
        else
            first_in_order(b, m, &m->flow->received_max);
        m->state |= RECEIVED;
    } else if (strcmp(what, "duplicated") == 0 || strcmp(what, "reordered") == 0 ||
               strcmp(what, "altered") == 0 || strcmp(what, "forged") == 0 ||
               strcmp(what, "misdelivered") == 0) {
        COMPLAIN(b, complained, m);
    }
    unsigned news = m->state & ~before;
    b->counts.sent += (news & SENT) != 0;
    b->counts.acknowledged += (news & ACKED) != 0;
    b->counts.refused += (news & REFUSED) != 0;
    b->counts.received += (news & RECEIVED) != 0;
}

static void full_name(const struct book *b, const char *user, char *out, size_t cap)
{
    snprintf(out, cap, "%s%s%s", b->before, user, b->after);
}

static void take_line(struct book *b, const char *line)
{
    char what[32], from[1024], to[1024], detail[1100], a[2200], z[2200];
    uint64_t time, number;
    int n = sscanf(line, "%" SCNu64 " %31s %1023s %1023s %" SCNu64 " %1099s", &time, what, from, to,
                   &number, detail);
    if (n < 2) {
        COMPLAIN(b, malformed, NULL);
        return;
    }
    if (n < 6) {
        /* About a session, or about bytes that are nobody's message. */
        if (strcmp(what, "altered") == 0)
            COMPLAIN(b, complained, NULL);
        return;
    }
    full_name(b, from, a, sizeof(a));
    full_name(b, to, z, sizeof(z));
    client_says(b, what, message_of(b, flow_of(b, a, z), number), detail);
}

int book_read_log(struct book *b, FILE *log)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    errno = 0;
    while ((len = getline(&line, &cap, log)) > 0)
        if (line[len - 1] == '\n')
            take_line(b, line);
    free(line);
    return ferror(log) ? -errno : 0;
}

/* ---- the ledger's side ---- */

static char *text_of(struct gw_bytes s)
{
    char *t = strndup((const char *)s.p, s.len);
    check(t != NULL);
    return t;
}

/* Whether somebody of the logs sends from one to the other at all. */
static bool is_flow(const struct book *b, const char *from, const char *to)
{
    const struct flow *f = b->flows[bucket_of(b, from, to, 0)];
    while (f != NULL && (strcmp(f->from, from) != 0 || strcmp(f->to, to) != 0))
        f = f->next;
    return f != NULL;
}

static void note_mailbox(struct book *b, const struct gw_mailbox_id *id)
{
    size_t at = 0;
    while (at < b->mailbox_count && by_mailbox(&b->mailboxes[at], id) < 0)
        at++;
    if (at < b->mailbox_count && by_mailbox(&b->mailboxes[at], id) == 0)
        return;
    b->mailboxes = realloc(b->mailboxes, (b->mailbox_count + 1) * sizeof(*id));
    check(b->mailboxes != NULL);
    memmove(b->mailboxes + at + 1, b->mailboxes + at, (b->mailbox_count - at) * sizeof(*id));
    b->mailboxes[at] = *id;
    b->mailbox_count++;
}

static void stored(struct book *b, const struct gw_event *e)
{
    struct copy **at = copy_at(b, &e->mailbox, e->position);
    if (*at != NULL) {
        complain_copy(b, &b->faults.twice, "twice", *at);
        return;
    }
    char *from = text_of(e->from), *to = text_of(e->to), *id = text_of(e->id);
    struct copy *c = *at = make(sizeof(*c));
    c->mailbox = e->mailbox;
    c->position = e->position;
    c->message = find_id(b, from, to, id);
    b->counts.stored++;
    note_mailbox(b, &e->mailbox);
    struct message *m = c->message;
    if (m == NULL && is_flow(b, from, to) && strncmp(id, "m-", 2) == 0)
        complain_copy(b, &b->faults.unsent, "unsent", c);
    if (m != NULL) {
        if (m->stored++ > 0 && !(m->state & RESENT))
            COMPLAIN(b, twice, m);
        else if (m->stored == 1)
            first_in_order(b, m, &m->flow->stored_max);
    }
    free(from);
    free(to);
    free(id);
}

void book_add_event(struct book *b, const struct gw_event *e)
{
    if (e->kind == GW_EVENT_STORED)
        stored(b, e);
    if (!gw_event_ends(e->kind))
        return;
    struct copy *c = *copy_at(b, &e->mailbox, e->position);
    bool expired = e->kind == GW_EVENT_EXPIRED;
    *(expired ? &b->counts.expired : &b->counts.delivered) += 1;
    if (c == NULL)
        return;
    *(expired ? &c->expired : &c->delivered) = true;
    if (expired && c->message != NULL)
        c->message->expired++;
}

const struct gw_mailbox_id *book_mailbox(const struct book *b, size_t i)
{
    return i < b->mailbox_count ? &b->mailboxes[i] : NULL;
}

/* ---- the store's side ---- */

void book_add_waiting(struct book *b, const struct gw_mailbox_id *mailbox, uint64_t position)
{
    struct copy *c = *copy_at(b, mailbox, position);
    b->counts.waiting++;
    if (c == NULL) {
        struct copy stranger = {.mailbox = *mailbox, .position = position};
        complain_copy(b, &b->faults.unknown, "unknown", &stranger);
        return;
    }
    c->waiting = true;
    if (c->delivered || c->expired)
        complain_copy(b, &b->faults.risen, "risen", c);
    if (c->message == NULL)
        return;
    if (c->message->waiting++ == 0)
        first_in_order(b, c->message, &c->message->flow->waiting_max);
}

/* ---- the verdict ---- */

static void judge_message(struct book *b, const struct message *m)
{
    bool kept = (m->state & RECEIVED) || m->waiting > 0 || m->expired > 0;
    bool taken = (m->state & ACKED) && !(m->state & REFUSED);
    if (taken && !kept)
        COMPLAIN(b, lost, m);
    if (taken && m->stored == 0)
        COMPLAIN(b, unrecorded, m);
    if ((m->state & REFUSED) && (kept || m->stored > 0))
        COMPLAIN(b, refused, m);
    if ((m->state & RECEIVED) && !(m->state & SENT))
        COMPLAIN(b, unsent, m);
    /* It would come after one that was sent behind it. */
    if (m->waiting > 0 && !(m->state & (RECEIVED | RESENT)) && m->number < m->flow->received_max)
        COMPLAIN(b, disorder, m);
}

uint64_t book_judge(struct book *b)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (const struct message *m = b->by_number[i]; m != NULL; m = m->next_by_number)
            judge_message(b, m);
        for (const struct copy *c = b->copies[i]; c != NULL; c = c->next)
            if (!c->delivered && !c->expired && !c->waiting)
                complain_copy(b, &b->faults.vanished, "vanished", c);
    }
    uint64_t all = 0;
#define X(name, meaning) all += b->faults.name;
    BOOK_FAULTS(X)
#undef X
    return all;
}

const struct book_faults *book_faults(const struct book *b)
{
    return &b->faults;
}

const struct book_counts *book_counts(const struct book *b)
{
    return &b->counts;
}

/* ---- life ---- */

struct book *book_new(const char *users, FILE *report, unsigned lines)
{
    struct book *b = make(sizeof(*b));
    const char *mark = strchr(users, '%');
    b->before = strndup(users, mark != NULL ? (size_t)(mark - users) : 0);
    b->after = strdup(mark != NULL ? mark + 1 : "");
    check(b->before != NULL && b->after != NULL);
    b->report = report;
    b->lines = lines;
    b->key = (struct gw_sipkey){1, 2}; /* nobody chooses these names to annoy an auditor */
    return b;
}

void book_free(struct book **bp)
{
    struct book *b = *bp;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct message *m = b->by_number[i], *next; m != NULL; m = next) {
            next = m->next_by_number;
            free(m->id);
            free(m);
        }
        for (struct copy *c = b->copies[i], *next; c != NULL; c = next) {
            next = c->next;
            free(c);
        }
        for (struct flow *f = b->flows[i], *next; f != NULL; f = next) {
            next = f->next;
            free(f->from);
            free(f->to);
            free(f);
        }
    }
    free(b->before);
    free(b->after);
    free(b->mailboxes);
    free(b);
    *bp = NULL;
}
