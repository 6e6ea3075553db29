/* SPDX-License-Identifier: Apache-2.0 */
#include "audit.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/base/check.h"
#include "../../dataplane/base/text.h"

#define MAGIC               "godwit-load"
#define FILLER_BYTES        65536
#define RUN_DIGITS          8
#define SUM_DIGITS          16
#define STANZA_ID_BYTES_MAX 1024 /* in the log */

enum {
    ACKED = 1,
    RECEIVED = 2,
    RECEIPTED = 4,
    REFUSED = 8,
    SETTLED = 16,
    RESENT = 32,
};

/* One message of a flow. */
struct record {
    uint64_t sent_us;
    uint64_t stanza_id; /* hash of it at the first reception, 0 without one */
    uint32_t session;   /* of the recipient, at the last reception */
    uint8_t state;
};

struct flow {
    uint32_t from, to;
    uint32_t sent; /* messages; numbers are 1 .. sent */
    uint32_t outstanding;
    uint32_t received_max; /* highest number that came */
    uint32_t session;      /* of the recipient, at the last reception */
    uint32_t session_max;  /* highest number that came in it */
    uint32_t capacity;
    struct record *records;
};

struct audit {
    struct audit_config config;
    struct flow *flows;
    uint32_t flow_count, flow_capacity;
    uint64_t incomplete;
    struct audit_counts counts;
    struct histogram ack_times, way_times;
    char id_start[AUDIT_ID_BYTES]; /* of the ids of all messages */
    char filler[FILLER_BYTES];
};

/* ---- bodies ---- */

/* Characters of one to four bytes, and those that XML must escape. */
static void make_filler(struct audit *a)
{
    if (a->config.plain) {
        for (size_t i = 0; i < FILLER_BYTES; i++)
            a->filler[i] = (char)('a' + i * i % 23);
        return;
    }
    static const char *const pieces[] = {"a",
                                         "b",
                                         "&",
                                         "<",
                                         "z",
                                         " ",
                                         "\xc3\xa9",
                                         ">",
                                         "\"",
                                         "'",
                                         "\xe6\x97\xa5",
                                         "]]>",
                                         "0",
                                         "\xf0\x9f\x90\xa6",
                                         "Q"};
    uint64_t random = 0x9e3779b97f4a7c15u ^ a->config.run;
    size_t used = 0;
    for (;;) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        const char *piece = pieces[(random >> 32) % (sizeof(pieces) / sizeof(*pieces))];
        if (used + strlen(piece) > FILLER_BYTES)
            break;
        memcpy(a->filler + used, piece, strlen(piece));
        used += strlen(piece);
    }
    memset(a->filler + used, '.', FILLER_BYTES - used);
}

static bool begins_character(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

/* About body_bytes of filler, cut between characters, different for each message. */
static const char *filler_of(const struct audit *a, uint32_t flow, uint32_t number, size_t *len)
{
    size_t wanted =
        a->config.body_bytes < FILLER_BYTES / 2 ? a->config.body_bytes : FILLER_BYTES / 2;
    size_t from = (flow * 7919u + number * 104729u) % (FILLER_BYTES / 2);
    size_t to = from + wanted;
    while (!begins_character(a->filler[from]))
        from++;
    while (to < FILLER_BYTES && !begins_character(a->filler[to]))
        to++;
    *len = to - from;
    return a->filler + from;
}

/* As FNV-1a, but of eight bytes at a time, with the high bits brought down. */
static uint64_t hash(const void *bytes, size_t len, uint64_t seed)
{
    const unsigned char *p = bytes;
    uint64_t h = 0xcbf29ce484222325u ^ seed ^ len;
    for (; len > 0; p += sizeof(uint64_t)) {
        uint64_t word = 0;
        size_t n = len < sizeof(word) ? len : sizeof(word);
        memcpy(&word, p, n);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
        len -= n;
    }
    return h;
}

/* Of what a body says of itself; its filler follows from that. */
static uint64_t checksum(uint32_t run, uint32_t flow, uint32_t number)
{
    uint32_t head[3] = {run, flow, number};
    return hash(head, sizeof(head), 0);
}

void audit_body(const struct audit *a, uint32_t flow, uint32_t number, struct buffer *out)
{
    size_t len;
    const char *filler = filler_of(a, flow, number, &len);
    buffer_text(out, MAGIC " ");
    buffer_hex(out, a->config.run, RUN_DIGITS);
    buffer_text(out, " ");
    buffer_uint(out, flow);
    buffer_text(out, " ");
    buffer_uint(out, number);
    buffer_text(out, " ");
    buffer_hex(out, checksum(a->config.run, flow, number), SUM_DIGITS);
    buffer_text(out, " ");
    buffer_append(out, filler, len);
}

/* ---- flows ---- */

struct audit *audit_new(const struct audit_config *config)
{
    struct audit *a = calloc(1, sizeof(*a));
    check(a != NULL);
    a->config = *config;
    snprintf(a->id_start, sizeof(a->id_start), "m-%08x-", a->config.run);
    make_filler(a);
    return a;
}

void audit_free(struct audit **audit)
{
    struct audit *a = *audit;
    if (!a)
        return;
    for (uint32_t i = 0; i < a->flow_count; i++)
        free(a->flows[i].records);
    free(a->flows);
    free(a);
    *audit = NULL;
}

uint32_t audit_add_flow(struct audit *a, uint32_t from, uint32_t to)
{
    if (a->flow_count == a->flow_capacity) {
        a->flow_capacity = a->flow_capacity ? a->flow_capacity * 2 : 64;
        a->flows = realloc(a->flows, a->flow_capacity * sizeof(*a->flows));
        check(a->flows != NULL);
    }
    a->flows[a->flow_count] = (struct flow){.from = from, .to = to};
    return a->flow_count++;
}

static struct record *record_of(struct audit *a, uint32_t flow, uint32_t number)
{
    check(flow < a->flow_count && number > 0 && number <= a->flows[flow].sent);
    return &a->flows[flow].records[number - 1];
}

uint32_t audit_flow_count(const struct audit *a)
{
    return a->flow_count;
}

uint32_t audit_flow_from(const struct audit *a, uint32_t flow)
{
    return a->flows[flow].from;
}

uint32_t audit_flow_to(const struct audit *a, uint32_t flow)
{
    return a->flows[flow].to;
}

uint32_t audit_outstanding(const struct audit *a, uint32_t flow)
{
    return a->flows[flow].outstanding;
}

uint32_t audit_sent(const struct audit *a, uint32_t flow)
{
    return a->flows[flow].sent;
}

uint64_t audit_incomplete(const struct audit *a)
{
    return a->incomplete;
}

uint64_t audit_lost(const struct audit *a)
{
    uint64_t lost = 0;
    for (uint32_t f = 0; f < a->flow_count; f++)
        for (uint32_t i = 0; i < a->flows[f].sent; i++)
            lost += (a->flows[f].records[i].state & (ACKED | RECEIVED | REFUSED)) == ACKED;
    return lost;
}

static void log_message(struct audit *a, uint64_t now_us, const char *what, uint32_t flow,
                        uint32_t number, const char *detail)
{
    if (a->config.log)
        fprintf(a->config.log, "%" PRIu64 " %s %u %u %u %s\n", now_us, what,
                a->config.first_user + a->flows[flow].from,
                a->config.first_user + a->flows[flow].to, number, detail);
}

/* By this the ledger knows the message. */
void audit_id(const struct audit *a, uint32_t flow, uint32_t number, char out[AUDIT_ID_BYTES])
{
    struct gw_text t = gw_text(out, AUDIT_ID_BYTES - 1);
    gw_text_str(&t, a->id_start);
    gw_text_uint(&t, flow);
    gw_text_str(&t, "-");
    gw_text_uint(&t, number);
    check(!t.full);
    out[t.len] = '\0';
}

static void log_id(struct audit *a, uint64_t now_us, const char *what, uint32_t flow,
                   uint32_t number)
{
    char id[AUDIT_ID_BYTES];
    if (!a->config.log)
        return;
    audit_id(a, flow, number, id);
    log_message(a, now_us, what, flow, number, id);
}

void audit_note(struct audit *a, uint64_t now_us, const char *what, uint32_t user,
                const char *detail)
{
    if (a->config.log)
        fprintf(a->config.log, "%" PRIu64 " %s %u %s\n", now_us, what, a->config.first_user + user,
                detail);
}

static bool complete(const struct audit *a, uint8_t state)
{
    uint8_t wanted = ACKED | RECEIVED | (a->config.receipts ? RECEIPTED : 0);
    return state & REFUSED || (state & wanted) == wanted;
}

/* Adds to a message's state; true when that was news. */
static bool advance(struct audit *a, uint32_t flow, uint32_t number, uint8_t state)
{
    struct record *r = record_of(a, flow, number);
    if (r->state & state)
        return false;
    bool before = complete(a, r->state);
    r->state |= state;
    if (!before && complete(a, r->state)) {
        check(a->flows[flow].outstanding > 0 && a->incomplete > 0);
        a->flows[flow].outstanding--;
        a->incomplete--;
    }
    if (a->config.moved && state != SETTLED)
        a->config.moved(a->config.ctx, flow);
    return true;
}

/* ---- the sender's side ---- */

uint32_t audit_send(struct audit *a, uint32_t flow, uint64_t now_us)
{
    struct flow *f = &a->flows[flow];
    if (f->sent == f->capacity) {
        f->capacity = f->capacity ? f->capacity * 2 : 64;
        f->records = realloc(f->records, f->capacity * sizeof(*f->records));
        check(f->records != NULL);
    }
    f->records[f->sent++] = (struct record){.sent_us = now_us};
    f->outstanding++;
    a->incomplete++;
    a->counts.sent++;
    log_id(a, now_us, "sent", flow, f->sent);
    return f->sent;
}

bool audit_resend(struct audit *a, uint32_t flow, uint32_t number, uint64_t now_us)
{
    struct record *r = record_of(a, flow, number);
    if (r->state & REFUSED)
        return false;
    r->state |= RESENT;
    a->counts.resent++;
    log_id(a, now_us, "resent", flow, number);
    return true;
}

void audit_acked(struct audit *a, uint32_t flow, uint32_t number, uint64_t now_us)
{
    if (!advance(a, flow, number, ACKED))
        return;
    struct record *r = record_of(a, flow, number);
    a->counts.acknowledged++;
    if (!(r->state & RESENT))
        histogram_add(&a->ack_times, now_us - r->sent_us);
    log_message(a, now_us, "acknowledged", flow, number, "-");
}

/* What the peer sends may name a message of an earlier run with the same seed. */
static bool is_ours(struct audit *a, uint32_t flow, uint32_t number)
{
    bool ours = flow < a->flow_count && number > 0 && number <= a->flows[flow].sent;
    a->counts.foreign += !ours;
    return ours;
}

void audit_refused(struct audit *a, uint32_t flow, uint32_t number, uint64_t now_us)
{
    if (!is_ours(a, flow, number) || !advance(a, flow, number, REFUSED))
        return;
    a->counts.refused++;
    log_message(a, now_us, "refused", flow, number, "-");
}

void audit_receipt(struct audit *a, uint32_t flow, uint32_t number, uint64_t now_us)
{
    if (!is_ours(a, flow, number) || !advance(a, flow, number, RECEIPTED))
        return;
    a->counts.receipts++;
    log_message(a, now_us, "receipt", flow, number, "-");
}

/* ---- the recipient's side ---- */

void audit_settled(struct audit *a, uint32_t flow, uint32_t number, uint64_t now_us)
{
    if (advance(a, flow, number, SETTLED))
        log_message(a, now_us, "settled", flow, number, "-");
}

static unsigned digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : UINT_MAX;
}

/* A number of at most so many digits at the start, and a space behind it, which are taken off. */
static bool read_number(struct gw_bytes *text, unsigned base, unsigned digits_max, uint64_t *out)
{
    unsigned digits = 0;
    *out = 0;
    for (unsigned d; digits < text->len && (d = digit_of(text->p[digits])) < base; digits++)
        *out = *out * base + d;
    if (digits == 0 || digits > digits_max || digits == text->len || text->p[digits] != ' ')
        return false;
    *text = gw_bytes(text->p + digits + 1, text->len - digits - 1);
    return true;
}

static bool is_filler_of(const struct audit *a, uint32_t flow, uint32_t number,
                         struct gw_bytes text)
{
    size_t len;
    const char *filler = filler_of(a, flow, number, &len);
    return gw_bytes_eq(text, gw_bytes(filler, len));
}

/* 1 with flow and number of a body that is one of ours and unharmed, 0 when it is not ours, -1
 * when it is altered. */
static int read_body(const struct audit *a, struct gw_bytes body, uint32_t *flow, uint32_t *number)
{
    static const struct gw_bytes magic = {(const uint8_t *)MAGIC " ", sizeof(MAGIC)};
    uint64_t run, flow_read, number_read, sum;
    if (body.len < magic.len || !gw_bytes_eq(gw_bytes(body.p, magic.len), magic))
        return 0;
    struct gw_bytes text = gw_bytes(body.p + magic.len, body.len - magic.len);
    if (!read_number(&text, 16, RUN_DIGITS, &run) || !read_number(&text, 10, 10, &flow_read) ||
        flow_read > UINT32_MAX || !read_number(&text, 10, 10, &number_read) ||
        number_read > UINT32_MAX || !read_number(&text, 16, SUM_DIGITS, &sum))
        return -1;
    *flow = (uint32_t)flow_read;
    *number = (uint32_t)number_read;
    if (run != a->config.run)
        return 0;
    bool unharmed = sum == checksum(a->config.run, *flow, *number) &&
                    *flow<a->flow_count && * number> 0 && *number <= a->flows[*flow].sent &&
                    is_filler_of(a, *flow, *number, text);
    return unharmed ? 1 : -1;
}

static const char *receive_again(struct audit *a, const struct record *r, uint32_t session,
                                 uint64_t stanza_id)
{
    bool same_copy = stanza_id == r->stanza_id;
    if (!same_copy && r->state & RESENT) {
        a->counts.repeated++;
        return "repeated";
    }
    if (!same_copy || session == r->session) {
        /* Without stanza-ids a repeated message cannot be told from a redelivered one. */
        if (stanza_id == 0 && r->state & RESENT) {
            a->counts.repeated++;
            return "repeated";
        }
        a->counts.duplicated++;
        return "duplicated";
    }
    if (r->state & SETTLED) {
        a->counts.late_redelivered++;
        return "late-redelivered";
    }
    a->counts.redelivered++;
    return "redelivered";
}

/* Whether it came behind one that was sent after it: for the first time, or, of those that come
 * again, within the session, where a repeated one may. */
static bool out_of_order(struct flow *f, const struct record *r, bool first, uint32_t session,
                         uint32_t number)
{
    if (f->session != session) {
        f->session = session;
        f->session_max = 0;
    }
    bool late = first ? number < f->received_max : number < f->session_max && !(r->state & RESENT);
    if (number > f->session_max)
        f->session_max = number;
    if (number > f->received_max)
        f->received_max = number;
    return late;
}

static void log_received(struct audit *a, uint64_t now_us, const char *how, uint32_t flow,
                         uint32_t number, struct gw_bytes stanza_id)
{
    char detail[STANZA_ID_BYTES_MAX + 1];
    if (!a->config.log)
        return;
    snprintf(detail, sizeof(detail), "%.*s", (int)stanza_id.len, (const char *)stanza_id.p);
    log_message(a, now_us, how, flow, number, stanza_id.len > 0 ? detail : "-");
}

int audit_receive(struct audit *a, uint32_t to, uint32_t session, uint32_t from,
                  struct gw_bytes body, struct gw_bytes stanza_id, uint64_t now_us, uint32_t *flow,
                  uint32_t *number)
{
    int ours = read_body(a, body, flow, number);
    if (ours <= 0) {
        if (ours == 0)
            a->counts.foreign++;
        else
            a->counts.altered++;
        audit_note(a, now_us, ours == 0 ? "foreign" : "altered", to, "-");
        return 0;
    }
    struct flow *f = &a->flows[*flow];
    if (f->to != to) {
        a->counts.misdelivered++;
        log_message(a, now_us, "misdelivered", *flow, *number, "-");
        return 0;
    }
    if (f->from != from) {
        a->counts.altered++;
        log_message(a, now_us, "forged", *flow, *number, "-");
        return 0;
    }

    struct record *r = record_of(a, *flow, *number);
    uint64_t id = stanza_id.len > 0 ? hash(stanza_id.p, stanza_id.len, 0) : 0;
    bool first = advance(a, *flow, *number, RECEIVED);
    const char *how = "received";
    if (first) {
        r->stanza_id = id;
        a->counts.received++;
        if (!(r->state & RESENT))
            histogram_add(&a->way_times, now_us - r->sent_us);
    } else {
        how = receive_again(a, r, session, id);
    }
    if (out_of_order(f, r, first, session, *number)) {
        a->counts.reordered++;
        log_message(a, now_us, "reordered", *flow, *number, "-");
    }
    r->session = session;
    log_received(a, now_us, how, *flow, *number, stanza_id);
    return 1;
}

const struct audit_counts *audit_totals(const struct audit *a)
{
    return &a->counts;
}

const struct histogram *audit_ack_times(const struct audit *a)
{
    return &a->ack_times;
}

const struct histogram *audit_way_times(const struct audit *a)
{
    return &a->way_times;
}
