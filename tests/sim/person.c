/* SPDX-License-Identifier: Apache-2.0 */
#include "person.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/base/check.h"
#include "../../dataplane/tcp/stack.h"
#include "../../dataplane/xmpp/xml.h"
#include "login.h"
#include "mix.h"
#include "trace.h"

#define SECOND_US      UINT64_C(1000000)
#define LOGIN_US_MAX   (20 * SECOND_US) /* then it is tried anew */
#define SILENCE_US_MAX (10 * SECOND_US) /* then an answer is asked for */
#define ANSWER_US_MAX  (40 * SECOND_US) /* and then the connection is given up */
#define LINGER_US_MAX  (10 * SECOND_US) /* of those who leave for good */
#define NO_MESSAGE     UINT32_MAX

enum { CONNS_MAX = 64, PORT_FIRST = 10000, SENT_MAX = 400, RESENT_MAX = 20, ASK_EVERY = 20, FULL_EVERY = 5, TEXT_BYTES = 33000 };

/* X(state): of one client */
#define STATES(X) \
    X(OFFLINE) X(CONNECTING) X(GREETING) X(PROVING) X(PROVED) X(GREETING_AGAIN) X(BINDING) \
    X(RESUMING) X(ENABLING) X(ONLINE) X(LEAVING)

enum state {
#define X(state) state,
    STATES(X)
#undef X
};

static const char *const state_names[] = {
#define X(state) #state,
    STATES(X)
#undef X
};

static const char *const resources[CLIENTS_MAX] = {"r", "s"};

/* A stanza that was sent and is not known to be handled. */
struct sent {
    uint32_t message; /* or NO_MESSAGE */
    uint32_t count;   /* of the stanzas of this stream, itself among them */
    bool refused;
};

struct person {
    struct people *all;
    unsigned number; /* of the account */
    unsigned client; /* of that account */
    enum state state;
    gw_conn conn;
    uint16_t port;
    bool in_stream;
    uint8_t *in; /* what came of a unit that is not whole */
    size_t in_len, in_cap;
    struct login login;
    uint8_t identity_key[32];
    bool uses_sm, sm, ack_due, asked, reads, has_said_last;
    uint64_t next_us, heard_us, since_us, ack_us, reads_us;
    struct sent *sent;
    uint32_t sent_first, sent_count, sent_cap;
    uint32_t out_count, in_count;
    uint32_t acked_max; /* the highest h of an ack in this stream */
    char resume_id[128];
    uint32_t session;
    uint64_t session_us; /* wall clock */
    uint64_t asked_us;   /* the same: when <resume/> left, from when on its mailbox may be read */
};

struct people {
    struct world *world;
    struct nic *nic;
    struct promises *promises;
    struct people_config cfg;
    struct gw_net *net;
    struct gw_tcp *tcp;
    struct gw_arena *arena;
    struct gw_hasher *hasher;
    struct gw_xml *xml;
    struct person persons[PERSONS_MAX];
    struct person *of[CONNS_MAX + 1]; /* by connection */
    uint64_t random;
    uint16_t port_next;
    uint32_t sessions;
    bool calm, going;
    uint64_t wall_ahead_us;
    struct people_counts counts;
    void (*found)(void *arg, const char *what);
    void *found_arg;
};

static uint64_t draw(struct people *all, uint64_t below)
{
    all->random = mix(all->random, below);
    return below == 0 ? 0 : all->random % below;
}

static bool chance(struct people *all, uint32_t ppm)
{
    return draw(all, 1000000) < ppm;
}

static void found(const struct person *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void found(const struct person *p, const char *format, ...)
{
    char what[300], line[360];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    snprintf(line, sizeof(line), "client of u%u: %s", p->number, what);
    p->all->found(p->all->found_arg, line);
}

static uint64_t now(const struct person *p)
{
    return world_now_us(p->all->world);
}

static void enter(struct person *p, enum state state)
{
    p->state = state;
    p->since_us = now(p);
    trace(now(p), "u%u/%s: %s", p->number, resources[p->client], state_names[state]);
}

/* ---- bytes out ---- */

static void say(struct person *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct person *p, const char *format, ...)
{
    char text[TEXT_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    check(n > 0 && (size_t)n < sizeof(text));
    if (p->conn != 0)
        check(gw_tcp_send_copy(p->all->tcp, p->conn, text, (size_t)n) != -ENOBUFS);
}

static void open_stream(struct person *p)
{
    p->in_stream = false;
    say(p, "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
           "to='" BROKER_DOMAIN "' version='1.0'>");
}

/* ---- stanzas out, and their acknowledgements ---- */

static struct sent *sent_at(struct person *p, uint32_t i)
{
    return &p->sent[(p->sent_first + i) % p->sent_cap];
}

static void grow_sent(struct person *p)
{
    uint32_t cap = p->sent_cap > 0 ? 2 * p->sent_cap : SENT_MAX;
    struct sent *v = calloc(cap, sizeof(*v));
    check(v != NULL);
    for (uint32_t i = 0; i < p->sent_count; i++)
        v[i] = *sent_at(p, i);
    free(p->sent);
    p->sent = v;
    p->sent_cap = cap;
    p->sent_first = 0;
}

static void remember(struct person *p, uint32_t message)
{
    if (p->sent_count == p->sent_cap)
        grow_sent(p);
    *sent_at(p, p->sent_count++) = (struct sent){.message = message, .count = ++p->out_count};
}

static void send_message(struct person *p, uint32_t m)
{
    static const char filler[] = "the bar-tailed godwit flies without a stop ";
    char id[PROMISES_ID_BYTES], body[TEXT_BYTES - 512];
    uint32_t len = promises_body_len(p->all->promises, m);
    for (uint32_t i = 0; i < len; i++)
        body[i] = filler[i % (sizeof(filler) - 1)];
    promises_id(p->all->promises, m, id);
    trace(now(p), "u%u: sends %s", p->number, id);
    static const char *const addresses[] = {"", "/r", "/s"};
    say(p, "<message to='u%u@" BROKER_DOMAIN "%s' type='chat' id='%s'><body>%.*s</body></message>",
        promises_to(p->all->promises, m), addresses[promises_address(p->all->promises, m)], id, (int)len,
        body);
}

/* That somebody writes (XEP-0085): not stored, and behind all that was sent before. */
static void send_fleeting(struct person *p, unsigned to)
{
    char id[PROMISES_ID_BYTES];
    promises_fleeting_id(p->all->promises, p->number, to, id);
    trace(now(p), "u%u: sends %s", p->number, id);
    say(p, "<message to='u%u@" BROKER_DOMAIN "' type='chat' id='%s'>"
           "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>", to, id);
    remember(p, NO_MESSAGE);
}

static void send_presence(struct person *p)
{
    say(p, "<presence/>");
    remember(p, NO_MESSAGE);
}

/* Whatever answers it acknowledges all before it. */
static void ask(struct person *p)
{
    p->asked = true;
    if (p->sm) {
        say(p, "<r xmlns='urn:xmpp:sm:3'/>");
        return;
    }
    remember(p, NO_MESSAGE);
    say(p, "<iq type='get' id='k-%" PRIu32 "' to='" BROKER_DOMAIN
           "'><ping xmlns='urn:xmpp:ping'/></iq>", p->out_count);
}

/* One more message, and now and then a question, so that a slow link does not make all of a long row
 * wait for its end. */
static void send_new(struct person *p, uint32_t m)
{
    promises_sent(p->all->promises, m);
    send_message(p, m);
    remember(p, m);
    if (p->out_count % ASK_EVERY == 0)
        ask(p);
}

/* Counts wrap at 2^32. */
static bool is_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static void acknowledged(struct person *p, uint32_t count)
{
    while (p->sent_count > 0 && !is_before(count, sent_at(p, 0)->count)) {
        const struct sent *s = sent_at(p, 0);
        if (s->message != NO_MESSAGE && !s->refused)
            promises_acked(p->all->promises, s->message);
        p->sent_first = (p->sent_first + 1) % p->sent_cap;
        p->sent_count--;
    }
}

static void send_ack(struct person *p)
{
    p->ack_due = false;
    trace(now(p), "u%u: acknowledges %" PRIu32, p->number, p->in_count);
    say(p, "<a xmlns='urn:xmpp:sm:3' h='%" PRIu32 "'/>", p->in_count);
}

/* ---- a session begins ---- */

static void begin_session(struct person *p)
{
    p->session = ++p->all->sessions;
    p->session_us = now(p) + p->all->wall_ahead_us;
    p->asked = p->ack_due = false;
    p->heard_us = now(p);
    enter(p, ONLINE);
    p->all->counts.logins++;
}

/* What was not acknowledged is sent again, in its order. */
static void send_again(struct person *p)
{
    uint32_t n = p->sent_count;
    struct sent *old = malloc((n + 1) * sizeof(*old));
    check(old != NULL);
    for (uint32_t i = 0; i < n; i++)
        old[i] = *sent_at(p, i);
    p->sent_count = 0;
    for (uint32_t i = 0; i < n; i++)
        if (old[i].message != NO_MESSAGE && !old[i].refused)
            send_new(p, old[i].message);
    free(old);
}

static void come_online(struct person *p)
{
    begin_session(p);
    send_again(p);
    send_presence(p);
    ask(p);
}

/* The stream goes on: the stanzas behind h are repeated, and counted as they were. */
static void resumed(struct person *p, uint32_t h)
{
    if (is_before(h, p->acked_max))
        found(p, "resumed with h %" PRIu32 " after an ack of %" PRIu32, h, p->acked_max);
    if (is_before(p->out_count, h))
        found(p, "resumed with h %" PRIu32 " of %" PRIu32 " stanzas sent", h, p->out_count);
    begin_session(p);
    p->session_us = p->asked_us;
    acknowledged(p, h);
    p->all->counts.resumed++;
    p->sm = true;
    for (uint32_t i = 0; i < p->sent_count; i++) {
        struct sent *s = sent_at(p, i);
        s->refused = false; /* what was refused is tried again as well: it is not counted yet */
        if (s->message == NO_MESSAGE) {
            say(p, "<presence/>");
            continue;
        }
        promises_sent(p->all->promises, s->message);
        send_message(p, s->message);
    }
    ask(p);
}

static void bind(struct person *p)
{
    p->sm = false;
    p->out_count = p->in_count = p->acked_max = p->all->cfg.count_first;
    p->resume_id[0] = '\0';
    enter(p, BINDING);
    say(p, "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
           "<resource>%s</resource></bind></iq>", resources[p->client]);
}

static void bound(struct person *p)
{
    /* What waits was counted by the stream before. */
    for (uint32_t i = 0; i < p->sent_count; i++)
        sent_at(p, i)->count = p->out_count;
    if (!p->uses_sm) {
        come_online(p);
        return;
    }
    enter(p, ENABLING);
    say(p, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
}

/* ---- what comes in ---- */

static uint32_t number_of(const struct person *p, const char *attribute)
{
    char text[16];
    int n = gw_xml_attr_text(p->all->xml, 0, gw_bytes_str(attribute), text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    return (uint32_t)strtoul(text, NULL, 10);
}

static void text_of(const struct person *p, gw_xml_node n, const char *attribute, char *out,
                    size_t cap)
{
    int len = gw_xml_attr_text(p->all->xml, n, gw_bytes_str(attribute), out, cap - 1);
    out[len > 0 ? len : 0] = '\0';
}

static bool is(const struct person *p, const char *name)
{
    return gw_bytes_eq(p->all->xml->nodes[0].name, gw_bytes_str(name));
}

static void give_up(struct person *p)
{
    gw_tcp_abort(p->all->tcp, p->conn);
}

static void take_refusal(struct person *p, const char *id)
{
    uint32_t m = promises_find(p->all->promises, id);
    trace(now(p), "u%u: %s is refused", p->number, id);
    for (uint32_t i = 0; i < p->sent_count; i++) {
        struct sent *s = sent_at(p, i);
        if (s->message != m || s->refused)
            continue;
        s->refused = true;
        promises_refused(p->all->promises, m);
        return;
    }
    found(p, "an error for \"%.40s\", which does not wait for an answer", id);
}

static void take_message(struct person *p)
{
    const struct gw_xml *x = p->all->xml;
    char type[16], id[PROMISES_ID_BYTES], from[64], stanza_id[64] = "";
    text_of(p, 0, "type", type, sizeof(type));
    text_of(p, 0, "id", id, sizeof(id));
    text_of(p, 0, "from", from, sizeof(from));
    bool fleeting = strncmp(id, "t-", 2) == 0;
    if (strcmp(type, "error") == 0) {
        if (!fleeting)
            take_refusal(p, id);
        return;
    }
    if (fleeting) {
        trace(now(p), "u%u: session %" PRIu32 " got %s", p->number, p->session, id);
        promises_fleeting_arrived(p->all->promises, p->number, p->client, id);
        return;
    }
    gw_xml_node sid = gw_xml_find(x, 0, GW_LIT("stanza-id"), GW_LIT("urn:xmpp:sid:0"));
    gw_xml_node body = gw_xml_find(x, 0, GW_LIT("body"), GW_LIT("jabber:client"));
    if (sid == GW_XML_NONE || body == GW_XML_NONE || strncmp(from, "u", 1) != 0) {
        found(p, "a message without stanza-id, body or sender: %.*s", (int)x->nodes[0].raw.len,
              (const char *)x->nodes[0].raw.p);
        return;
    }
    text_of(p, sid, "id", stanza_id, sizeof(stanza_id));
    struct promises_arrival a = {.by = p->number,
                                 .client = p->client,
                                 .from = (unsigned)strtoul(from + 1, NULL, 10),
                                 .session = p->session,
                                 .session_us = p->session_us,
                                 .body_len = (uint32_t)x->nodes[body].content.len,
                                 .id = id,
                                 .stanza_id = stanza_id};
    trace(now(p), "u%u: session %" PRIu32 " got %s as %s, stanza %" PRIu32, p->number, p->session,
          id, stanza_id, p->in_count);
    promises_arrived(p->all->promises, &a);
}

static void take_iq(struct person *p)
{
    char type[16], id[64];
    text_of(p, 0, "type", type, sizeof(type));
    text_of(p, 0, "id", id, sizeof(id));
    if (strcmp(type, "get") == 0) {
        say(p, "<iq type='result' id='%s' to='" BROKER_DOMAIN "'/>", id);
        remember(p, NO_MESSAGE);
    } else if (strncmp(id, "k-", 2) == 0) {
        p->asked = false;
        acknowledged(p, (uint32_t)strtoul(id + 2, NULL, 10));
    }
}

static void take_ack(struct person *p)
{
    uint32_t h = number_of(p, "h");
    if (is_before(p->out_count, h) || is_before(h, p->acked_max))
        found(p, "an ack of %" PRIu32 " after one of %" PRIu32 ", of %" PRIu32 " stanzas sent", h,
              p->acked_max, p->out_count);
    trace(now(p), "u%u: %" PRIu32 " of %" PRIu32 " are acknowledged", p->number, h, p->out_count);
    p->asked = false;
    p->all->counts.wrapped += h < p->acked_max;
    p->acked_max = h;
    acknowledged(p, h);
}

/* An answer that may wait a little, as a busy client's does. */
static void asked_for_ack(struct person *p)
{
    if (draw(p->all, 3) == 0) {
        p->ack_due = true;
        p->ack_us = now(p) + draw(p->all, 2 * SECOND_US);
    } else {
        send_ack(p);
    }
}

/* Online: the stream's everyday life. */
static void take_stanza(struct person *p)
{
    if (is(p, "message") || is(p, "iq") || is(p, "presence"))
        p->in_count++;
    if (is(p, "message"))
        take_message(p);
    else if (is(p, "iq"))
        take_iq(p);
    else if (is(p, "r"))
        asked_for_ack(p);
    else if (is(p, "a"))
        take_ack(p);
}

static void greet(struct person *p)
{
    char first[128];
    login_first(&p->login, p->number, draw(p->all, UINT64_MAX), first);
    enter(p, PROVING);
    say(p, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>%s</auth>",
        first);
}

static void prove(struct person *p)
{
    char text[1024], final[1024];
    int n = gw_xml_text(p->all->xml, 0, text, sizeof(text));
    if (!is(p, "challenge") || n < 0 ||
        !login_final(&p->login, p->all->hasher, gw_bytes(text, (size_t)n), final)) {
        p->all->counts.logins_failed++;
        give_up(p);
        return;
    }
    enter(p, PROVED);
    say(p, "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%s</response>", final);
}

static void proved(struct person *p)
{
    if (!is(p, "success")) {
        found(p, "the proof was refused");
        give_up(p);
        return;
    }
    enter(p, GREETING_AGAIN);
    open_stream(p);
}

static void greeted_again(struct person *p)
{
    if (p->resume_id[0] == '\0') {
        bind(p);
        return;
    }
    enter(p, RESUMING);
    p->asked_us = now(p) + p->all->wall_ahead_us;
    say(p, "<resume xmlns='urn:xmpp:sm:3' previd='%s' h='%" PRIu32 "'/>", p->resume_id,
        p->in_count);
}

static void resume_answered(struct person *p)
{
    if (is(p, "resumed")) {
        resumed(p, number_of(p, "h"));
        return;
    }
    if (gw_xml_attr(p->all->xml, 0, GW_LIT("h")) != NULL)
        acknowledged(p, number_of(p, "h"));
    bind(p);
}

static void enabled(struct person *p)
{
    p->sm = is(p, "enabled");
    if (p->sm && gw_xml_attr(p->all->xml, 0, GW_LIT("resume")) != NULL)
        text_of(p, 0, "id", p->resume_id, sizeof(p->resume_id));
    p->out_count = p->in_count = p->all->cfg.count_first;
    come_online(p);
}

static void bind_answered(struct person *p)
{
    char type[16];
    text_of(p, 0, "type", type, sizeof(type));
    if (strcmp(type, "result") == 0) {
        bound(p);
        return;
    }
    p->all->counts.logins_failed++;
    give_up(p);
}

static void take_element(struct person *p)
{
    if (is(p, "error")) { /* of the stream: its end follows */
        p->all->counts.stream_errors++;
        gw_tcp_shutdown(p->all->tcp, p->conn);
        enter(p, LEAVING);
        return;
    }
    switch (p->state) {
    case GREETING:
        greet(p);
        break;
    case PROVING:
        prove(p);
        break;
    case PROVED:
        proved(p);
        break;
    case GREETING_AGAIN:
        greeted_again(p);
        break;
    case BINDING:
        bind_answered(p);
        break;
    case RESUMING:
        resume_answered(p);
        break;
    case ENABLING:
        enabled(p);
        break;
    case ONLINE:
    case LEAVING:
        take_stanza(p);
        break;
    case OFFLINE:
    case CONNECTING:
        break;
    }
}

static void take_unit(struct person *p)
{
    switch (p->all->xml->unit) {
    case GW_XML_STREAM_OPEN:
        p->in_stream = true;
        break;
    case GW_XML_STREAM_CLOSE:
        gw_tcp_shutdown(p->all->tcp, p->conn);
        enter(p, LEAVING);
        break;
    case GW_XML_STANZA:
        take_element(p);
        break;
    case GW_XML_SPACE:
        break;
    }
}

/* ---- upcalls ---- */

static bool established(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    struct people *all = ctx;
    struct person *p = all->of[c];
    enter(p, GREETING);
    p->heard_us = now(p);
    open_stream(p);
    return true;
}

static void keep(struct person *p, const uint8_t *bytes, size_t len)
{
    if (p->in_len + len > p->in_cap) {
        p->in_cap = 2 * (p->in_len + len);
        p->in = realloc(p->in, p->in_cap);
        check(p->in != NULL);
    }
    memcpy(p->in + p->in_len, bytes, len);
    p->in_len += len;
}

static size_t data(void *ctx, gw_conn c, const uint8_t *bytes, size_t len)
{
    struct people *all = ctx;
    struct person *p = all->of[c];
    if (!p->reads)
        return 0;
    keep(p, bytes, len);
    p->heard_us = now(p);
    size_t used = 0;
    int rc = 0;
    while (used < p->in_len && p->conn == c &&
           (rc = gw_xml_parse(all->xml, p->in + used, p->in_len - used, p->in_stream)) > 0) {
        used += all->xml->consumed;
        take_unit(p);
    }
    if (p->conn != c)
        return len;
    if (rc < 0) {
        found(p, "this is no XML: %.60s", (const char *)p->in + used);
        used = p->in_len;
    }
    memmove(p->in, p->in + used, p->in_len - used);
    p->in_len -= used;
    return len;
}

static void peer_closed(void *ctx, gw_conn c)
{
    struct people *all = ctx;
    gw_tcp_shutdown(all->tcp, c);
}

static void acked(void *ctx, gw_conn c, uint64_t upto)
{
}

static void closed(void *ctx, gw_conn c, enum gw_tcp_close_reason why)
{
    struct people *all = ctx;
    struct person *p = all->of[c];
    all->of[c] = NULL;
    if (p == NULL || p->conn != c)
        return;
    if (p->state == ONLINE)
        all->counts.conns_lost++;
    p->conn = 0;
    p->in_len = 0;
    p->next_us = now(p) + draw(all, all->cfg.pause_us_max);
    enter(p, OFFLINE);
}

static void deadline(void *ctx, gw_conn c)
{
}

static const struct gw_tcp_upcalls upcalls = {
    .established = established,
    .data = data,
    .peer_closed = peer_closed,
    .acked = acked,
    .closed = closed,
    .deadline = deadline,
};

/* ---- what they do ---- */

static void connect(struct person *p)
{
    struct people *all = p->all;
    struct gw_tcp_tuple t = {.local = gw_ip_from_v4((const uint8_t[]){10, 0, 0, 2}),
                             .remote = gw_ip_from_v4((const uint8_t[]){10, 0, 0, 1}),
                             .local_port = all->port_next++,
                             .remote_port = BROKER_PORT};
    if (gw_tcp_connect(all->tcp, now(p), &t, &p->conn) != 0) {
        p->conn = 0;
        return;
    }
    p->port = t.local_port;
    p->reads = true;
    all->of[p->conn] = p;
    enter(p, CONNECTING);
}

/* Its host is gone: no frame of this connection passes any more. */
static void vanish(struct person *p)
{
    p->all->counts.vanished++;
    nic_cut(p->all->nic, p->port);
    give_up(p);
}

static void leave(struct person *p)
{
    say(p, "</stream:stream>");
    p->resume_id[0] = '\0';
    enter(p, LEAVING);
}

static enum promises_address draw_address(struct people *all)
{
    if (draw(all, FULL_EVERY) != 0)
        return TO_ACCOUNT;
    bool second = all->cfg.count > all->cfg.accounts && draw(all, 3) != 0;
    return second ? TO_CLIENT_1 : TO_CLIENT_0;
}

static void send_burst(struct person *p)
{
    struct people *all = p->all;
    uint64_t n = 1 + draw(all, all->cfg.burst_max);
    unsigned to = (unsigned)draw(all, all->cfg.accounts);
    for (; n > 0 && p->sent_count < SENT_MAX; n--) {
        if (promises_counts(all->promises).messages >= all->cfg.messages_max)
            break;
        uint32_t len = 1 + (uint32_t)draw(all, chance(all, all->cfg.long_ppm) ? all->cfg.body_bytes_max : 60);
        send_new(p, promises_add(all->promises, p->number, to, draw_address(all), len));
        if (chance(all, all->cfg.fleeting_ppm))
            send_fleeting(p, to);
    }
    ask(p);
}

static void stop_reading(struct person *p)
{
    p->reads = false;
    p->reads_us = now(p) + draw(p->all, 8 * SECOND_US);
}

/* Who has sent the same so often stays until it is acknowledged. */
static bool is_tired(struct person *p)
{
    for (uint32_t i = 0; i < p->sent_count; i++) {
        const struct sent *s = sent_at(p, i);
        if (s->message != NO_MESSAGE)
            return promises_times_sent(p->all->promises, s->message) >= RESENT_MAX;
    }
    return false;
}

/* For good, one way or another. What it has not read is for the other client of its account. */
static void desert(struct person *p)
{
    uint64_t how = draw(p->all, 3);
    if (how == 0 && p->reads)
        leave(p);
    else if (how == 1)
        vanish(p);
    else
        give_up(p);
}

/* Nothing new is sent, but for one more word each to those who are about to leave. */
static void do_something_calm(struct person *p)
{
    if (p->client > 0) {
        desert(p);
    } else if (!p->has_said_last && p->all->cfg.count > p->all->cfg.accounts) {
        p->has_said_last = true;
        send_burst(p);
    }
}

static void do_something(struct person *p)
{
    struct people *all = p->all;
    p->next_us = now(p) + 1 + draw(all, all->cfg.pause_us_max);
    if (p->state == OFFLINE && !all->going && !(all->calm && p->client > 0))
        connect(p);
    if (p->state == ONLINE && all->calm)
        do_something_calm(p);
    if (p->state != ONLINE || all->calm || is_tired(p))
        return;
    uint64_t what = draw(all, 1000000), upto = all->cfg.vanish_ppm;
    if (what < upto)
        vanish(p);
    else if (what < (upto += all->cfg.abort_ppm))
        give_up(p);
    else if (what < (upto += all->cfg.leave_ppm))
        leave(p);
    else if (what < (upto += all->cfg.stop_reading_ppm))
        stop_reading(p);
    else if (p->client == 0)
        send_burst(p);
}

/* What a client does by itself: answers that are due, and patience that ends. */
static unsigned look_after(struct person *p)
{
    uint64_t t = now(p);
    if (!p->reads && t >= p->reads_us) {
        p->reads = true;
        if (p->conn != 0)
            gw_tcp_read_resume(p->all->tcp, p->conn);
        return 1;
    }
    if (p->state == ONLINE && p->ack_due && t >= p->ack_us) {
        send_ack(p);
        return 1;
    }
    if (p->state == OFFLINE || !p->reads)
        return 0;
    if (p->state != ONLINE && t - p->since_us > LOGIN_US_MAX) {
        give_up(p);
        return 1;
    }
    if (p->state == ONLINE && t - p->heard_us > ANSWER_US_MAX) {
        give_up(p);
        return 1;
    }
    if (p->state == ONLINE && !p->asked && t - p->heard_us > SILENCE_US_MAX &&
        p->sent_count < SENT_MAX) {
        ask(p);
        return 1;
    }
    return 0;
}

static uint64_t person_next_us(const struct person *p)
{
    uint64_t next = p->all->going ? UINT64_MAX : p->next_us;
    uint64_t due = UINT64_MAX;
    if (!p->reads && p->conn != 0)
        due = p->reads_us;
    else if (p->state == ONLINE)
        due = p->ack_due ? p->ack_us : p->heard_us + (p->asked ? ANSWER_US_MAX : SILENCE_US_MAX) + 1;
    else if (p->state != OFFLINE)
        due = p->since_us + LOGIN_US_MAX + 1;
    return due < next ? due : next;
}

/* ---- the pass ---- */

static unsigned receive(struct people *all)
{
    struct gw_port *port = nic_port(all->nic, 0);
    struct gw_frame frames[GW_PORT_BURST_MAX];
    unsigned n = port->ops->rx(port, frames, GW_PORT_BURST_MAX);
    if (n == 0)
        return 0;
    gw_net_input(all->net, world_now_us(all->world), frames, n);
    port->ops->rx_release(port, frames, n);
    return n;
}

unsigned people_pass(struct people *all)
{
    uint64_t t = world_now_us(all->world);
    unsigned n = receive(all);
    for (unsigned i = 0; i < all->cfg.count; i++) {
        struct person *p = &all->persons[i];
        n += look_after(p);
        if (!all->going && t >= p->next_us) {
            do_something(p);
            n++;
        }
    }
    gw_net_advance(all->net, t);
    n += gw_tcp_flush(all->tcp, t);
    gw_tcp_advance(all->tcp, t);
    return n;
}

uint64_t people_next_us(const struct people *all)
{
    uint64_t next = gw_tcp_next_deadline_us(all->tcp), net = gw_net_next_deadline_us(all->net);
    next = net < next ? net : next;
    for (unsigned i = 0; i < all->cfg.count; i++) {
        uint64_t due = person_next_us(&all->persons[i]);
        next = due < next ? due : next;
    }
    return next;
}

/* ---- the end of a run ---- */

void people_calm(struct people *all)
{
    all->calm = true;
    nic_set_refusal(all->nic, 0);
    for (unsigned i = 0; i < all->cfg.count; i++) {
        struct person *p = &all->persons[i];
        p->next_us = world_now_us(all->world);
        if (p->client > 0) {
            p->next_us += draw(all, LINGER_US_MAX);
            if (p->state == ONLINE && draw(all, 2) == 0) {
                p->reads = false;
                p->reads_us = UINT64_MAX;
            }
        }
    }
}

/* One that was refused and is sent again with its stream is stored perhaps, as late as now. */
static bool awaits_answer(struct person *p)
{
    for (uint32_t i = 0; i < p->sent_count; i++)
        if (sent_at(p, i)->message != NO_MESSAGE && !sent_at(p, i)->refused)
            return true;
    return false;
}

static bool is_settled(struct person *p)
{
    if (p->client > 0)
        return p->state == OFFLINE;
    return p->state == ONLINE && p->reads && !awaits_answer(p);
}

bool people_are_settled(struct people *all)
{
    for (unsigned i = 0; i < all->cfg.count; i++)
        if (!is_settled(&all->persons[i]))
            return false;
    return true;
}

void people_go(struct people *all)
{
    all->going = true;
    for (unsigned i = 0; i < all->cfg.count; i++)
        if (all->persons[i].state == ONLINE)
            leave(&all->persons[i]);
}

bool people_are_gone(const struct people *all)
{
    for (unsigned i = 0; i < all->cfg.count; i++)
        if (all->persons[i].state != OFFLINE)
            return false;
    return true;
}

void people_explain(const struct people *all)
{
    for (unsigned i = 0; i < all->cfg.count; i++) {
        const struct person *p = &all->persons[i];
        fprintf(stderr, "u%u/%s: %s since %.6f, port %u, %" PRIu32 " unacknowledged, session %" PRIu32
                        ", in %" PRIu32 ", out %" PRIu32 "%s%s%s\n",
                p->number, resources[p->client], state_names[p->state], (double)p->since_us / 1e6, p->port, p->sent_count, p->session,
                p->in_count, p->out_count, p->sm ? ", sm" : "", p->asked ? ", has asked" : "",
                p->reads ? "" : ", does not read");
    }
}

struct people_counts people_counts(const struct people *all)
{
    return all->counts;
}

void people_on_fault(struct people *all, void (*fn)(void *arg, const char *what), void *arg)
{
    all->found = fn;
    all->found_arg = arg;
}

/* ---- life ---- */

static void open_stack(struct people *all)
{
    uint64_t t = world_now_us(all->world);
    struct gw_ip_prefix address = {gw_ip_from_v4((const uint8_t[]){10, 0, 0, 2}), 96 + 24};
    struct gw_net_config net = {.addresses = &address,
                                .address_count = 1,
                                .neighbour_limit = 16,
                                .key = {all->cfg.seed, 1}};
    check(gw_arena_open(&all->arena, "people", (size_t)384 << 20, GW_PAGES_SMALL) == 0);
    check(gw_net_open(&all->net, &net, nic_port(all->nic, 0), t) == 0);
    struct gw_tcp_config tcp = {.conn_limit = CONNS_MAX,
                                .half_open_limit = CONNS_MAX,
                                .time_wait_limit = CONNS_MAX,
                                .recv_window_bytes = 9216u << draw(all, 5),
                                .send_buffer_bytes = 32u << 20,
                                .mss_v4 = (uint16_t)(all->cfg.mtu - 40),
                                .mss_v6 = (uint16_t)(all->cfg.mtu - 60),
                                .key = {all->cfg.seed, 2},
                                .arena = all->arena,
                                .pages = GW_PAGES_SMALL,
                                .name = "people"};
    check(gw_tcp_open(&all->tcp, &tcp, &upcalls, all, gw_net_emit, all->net, t) == 0);
    gw_net_attach(all->net, all->tcp);
}

static void make_person(struct people *all, unsigned i)
{
    struct person *p = &all->persons[i];
    uint8_t client_key[32];
    *p = (struct person){.all = all, .number = i, .uses_sm = !chance(all, all->cfg.plain_ppm)};
    p->next_us = now(p) + draw(all, all->cfg.pause_us_max);
    if (i >= all->cfg.accounts) {
        p->number = (i - all->cfg.accounts) % all->cfg.accounts;
        p->client = 1;
        p->login = all->persons[p->number].login;
        promises_add_client(all->promises, p->number);
        return;
    }
    for (unsigned k = 0; k < 32; k++) {
        client_key[k] = (uint8_t)draw(all, 256);
        p->identity_key[k] = (uint8_t)draw(all, 256);
    }
    login_init(&p->login, all->hasher, client_key);
    struct gw_identity id = gw_identity_of(p->identity_key);
    struct gw_mailbox_id mailbox = gw_identity_mailbox(&id);
    promises_mailbox(all->promises, i, &mailbox);
}

struct people *people_new(struct world *w, struct nic *nic, struct promises *promises,
                          const struct people_config *cfg)
{
    struct people *all = calloc(1, sizeof(*all));
    check(all != NULL && cfg->count <= PERSONS_MAX && cfg->count <= 2 * cfg->accounts);
    all->world = w;
    all->nic = nic;
    all->promises = promises;
    all->cfg = *cfg;
    all->random = cfg->seed;
    all->port_next = PORT_FIRST;
    all->xml = malloc(sizeof(*all->xml));
    check(all->xml != NULL && gw_hasher_open(&all->hasher) == 0);
    open_stack(all);
    for (unsigned i = 0; i < cfg->count; i++)
        make_person(all, i);
    return all;
}

void people_register(struct people *all, struct broker *b)
{
    all->wall_ahead_us = broker_wall_us(b) - world_now_us(all->world);
    for (unsigned i = 0; i < all->cfg.accounts; i++)
        broker_add_account(b, i, all->persons[i].identity_key, all->persons[i].login.stored_key);
}

void people_free(struct people **pp)
{
    struct people *all = *pp;
    for (unsigned i = 0; i < all->cfg.count; i++) {
        free(all->persons[i].in);
        free(all->persons[i].sent);
    }
    gw_tcp_free(&all->tcp);
    gw_net_free(&all->net);
    gw_arena_free(&all->arena);
    gw_hasher_free(&all->hasher);
    free(all->xml);
    free(all);
    *pp = NULL;
}
