/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/base/check.h"

#define NS_STREAM  "http://etherx.jabber.org/streams"
#define NS_CLIENT  "jabber:client"
#define NS_SASL    "urn:ietf:params:xml:ns:xmpp-sasl"
#define NS_BIND    "urn:ietf:params:xml:ns:xmpp-bind"
#define NS_STANZAS "urn:ietf:params:xml:ns:xmpp-stanzas"
#define NS_TLS     "urn:ietf:params:xml:ns:xmpp-tls"
#define NS_SM      "urn:xmpp:sm:3"
#define NS_PING    "urn:xmpp:ping"

#define NONCE_BYTES 18

static void open_stream(struct client *c, enum client_state state)
{
    buffer_printf(&c->out,
                  "<?xml version='1.0'?><stream:stream xmlns='" NS_CLIENT
                  "' xmlns:stream='" NS_STREAM "' version='1.0' to='%s'>",
                  c->profile->domain);
    c->state = state;
}

/* Ends the session on our side; the connection's owner closes it. */
__attribute__((format(printf, 2, 3))) static void fail(struct client *c, const char *format, ...)
{
    if (c->state == CLIENT_ENDED)
        return;
    va_list args;
    va_start(args, format);
    free(c->failure);
    check(vasprintf(&c->failure, format, args) >= 0);
    va_end(args);
    c->state = CLIENT_ENDED;
}

static void drop_scram(struct client *c)
{
    if (!c->scram)
        return;
    scram_end(c->scram);
    free(c->scram);
    c->scram = NULL;
}

/* Remembers a stanza that was just written. */
static void sent_stanza(struct client *c, uint64_t tag)
{
    c->sent++;
    c->ack_wanted = c->ack_wanted || tag;
    tags_push(&c->pending, tag);
}

/* ---- login ---- */

static bool offers(const struct element *mechanisms, const char *name)
{
    for (const struct element *m = mechanisms->first_child; m; m = m->next)
        if (strcmp(m->text, name) == 0)
            return true;
    return false;
}

static void begin_scram(struct client *c, enum scram_hash hash, const char *mechanism)
{
    unsigned char random[NONCE_BYTES];
    struct buffer nonce = {0}, message = {0};
    check(RAND_bytes(random, sizeof(random)) == 1);
    buffer_base64(&nonce, random, sizeof(random));
    c->scram = malloc(sizeof(*c->scram));
    check(c->scram != NULL);
    scram_begin(c->scram, hash, c->user, buffer_cstr(&nonce));
    scram_first(c->scram, &message);
    buffer_printf(&c->out, "<auth xmlns='" NS_SASL "' mechanism='%s'>", mechanism);
    buffer_base64(&c->out, buffer_head(&message), buffer_len(&message));
    buffer_text(&c->out, "</auth>");
    buffer_free(&nonce);
    buffer_free(&message);
    c->state = CLIENT_CHALLENGE;
}

static void begin_plain(struct client *c)
{
    struct buffer message = {0};
    buffer_append(&message, "", 1);
    buffer_text(&message, c->user);
    buffer_append(&message, "", 1);
    buffer_text(&message, c->password);
    buffer_text(&c->out, "<auth xmlns='" NS_SASL "' mechanism='PLAIN'>");
    buffer_base64(&c->out, buffer_head(&message), buffer_len(&message));
    buffer_text(&c->out, "</auth>");
    buffer_free(&message);
    c->state = CLIENT_PROOF;
}

static void begin_auth(struct client *c, const struct element *features)
{
    const struct element *tls = element_child(features, NS_TLS, "starttls");
    if (tls && element_child(tls, NS_TLS, "required")) {
        fail(c, "the server requires STARTTLS, which this client does not speak");
        return;
    }
    const struct element *mechanisms = element_child(features, NS_SASL, "mechanisms");
    enum client_mechanism wanted = c->profile->mechanism;
    bool best = wanted == MECHANISM_BEST;
    if (!mechanisms)
        fail(c, "the server offers no SASL");
    else if ((best || wanted == MECHANISM_SHA_256) && offers(mechanisms, "SCRAM-SHA-256"))
        begin_scram(c, SCRAM_SHA_256, "SCRAM-SHA-256");
    else if ((best || wanted == MECHANISM_SHA_1) && offers(mechanisms, "SCRAM-SHA-1"))
        begin_scram(c, SCRAM_SHA_1, "SCRAM-SHA-1");
    else if (wanted == MECHANISM_PLAIN && offers(mechanisms, "PLAIN"))
        begin_plain(c);
    else
        fail(c, "the server offers no SASL mechanism that is wanted");
}

/* Base64 text of a SASL element as a NUL-terminated string, or NULL. */
static char *decode(const char *text)
{
    size_t len = strlen(text);
    unsigned char *out = malloc(len / 4 * 3 + 1);
    check(out != NULL);
    int decoded = len % 4 == 0 ? EVP_DecodeBlock(out, (const unsigned char *)text, (int)len) : -1;
    if (decoded < 0) {
        free(out);
        return NULL;
    }
    for (size_t i = len; i > 0 && text[i - 1] == '='; i--)
        decoded--;
    out[decoded < 0 ? 0 : decoded] = '\0';
    return (char *)out;
}

static void on_challenge(struct client *c, const struct element *e)
{
    struct buffer answer = {0};
    char *server_first = decode(e->text);
    int err = c->scram && server_first ? scram_final(c->scram, server_first, c->password, &answer)
                                       : -EPROTO;
    if (err) {
        fail(c, "bad SCRAM challenge");
    } else {
        buffer_text(&c->out, "<response xmlns='" NS_SASL "'>");
        buffer_base64(&c->out, buffer_head(&answer), buffer_len(&answer));
        buffer_text(&c->out, "</response>");
        c->state = CLIENT_PROOF;
    }
    buffer_free(&answer);
    free(server_first);
}

static void on_success(struct client *c, const struct element *e)
{
    if (c->scram) {
        char *server_final = decode(e->text);
        int err = server_final ? scram_verify(c->scram, server_final) : -EPROTO;
        free(server_final);
        drop_scram(c);
        if (err) {
            fail(c, "the server did not prove that it knows the account");
            return;
        }
    }
    reader_restart(c->reader);
    open_stream(c, CLIENT_STREAM_AGAIN);
}

static void on_sasl(struct client *c, const struct element *e)
{
    if (element_is(e, NS_SASL, "challenge") && c->state == CLIENT_CHALLENGE) {
        on_challenge(c, e);
    } else if (element_is(e, NS_SASL, "success") && c->state == CLIENT_PROOF) {
        on_success(c, e);
    } else if (element_is(e, NS_SASL, "failure")) {
        const char *condition = e->first_child ? e->first_child->name : "no condition";
        fail(c, "authentication failed: %s", condition);
        c->refused_login = strcmp(condition, "temporary-auth-failure") != 0;
    } else {
        fail(c, "<%s/> of SASL in state %s", e->name, client_state_name(c->state));
    }
}

static void ask_bind(struct client *c, const struct element *features)
{
    if (!element_child(features, NS_BIND, "bind")) {
        fail(c, "the server offers no resource binding");
        return;
    }
    buffer_text(&c->out, "<iq type='set' id='bind'><bind xmlns='" NS_BIND "'>");
    if (c->profile->resource) {
        buffer_text(&c->out, "<resource>");
        buffer_escape(&c->out, c->profile->resource, strlen(c->profile->resource));
        buffer_text(&c->out, "</resource>");
    }
    buffer_text(&c->out, "</bind></iq>");
    c->state = CLIENT_BIND;
}

static void send_ping(struct client *c, const char *id)
{
    buffer_printf(&c->out, "<iq type='get' id='%s' to='%s'><ping xmlns='" NS_PING "'/></iq>", id,
                  c->profile->domain);
    sent_stanza(c, 0);
}

static void send_presence(struct client *c)
{
    buffer_text(&c->out, "<presence/>");
    sent_stanza(c, 0);
}

static void send_barrier(struct client *c)
{
    if (c->profile->presence && !c->silent)
        send_presence(c);
    send_ping(c, "barrier");
    c->state = CLIENT_BARRIER;
}

static void on_bound(struct client *c, const struct element *iq)
{
    const struct element *bind = element_child(iq, NS_BIND, "bind");
    const struct element *jid = bind ? element_child(bind, NS_BIND, "jid") : NULL;
    const char *type = element_attribute(iq, "type");
    if (!jid || !type || strcmp(type, "result") != 0) {
        fail(c, "resource binding failed");
        return;
    }
    free(c->bound_jid);
    c->bound_jid = strdup(jid->text);
    check(c->bound_jid != NULL);
    if (!c->profile->stream_management) {
        send_barrier(c);
        return;
    }
    buffer_text(&c->out, "<enable xmlns='" NS_SM "'/>");
    c->state = CLIENT_ENABLE;
}

/* ---- acknowledgements ---- */

static void server_has(struct client *c, uint32_t total)
{
    if (total - c->acked > c->sent - c->acked) {
        fail(c, "the server acknowledges %u stanzas of %u", total, c->sent);
        return;
    }
    while (c->acked != total) {
        c->acked++;
        uint64_t tag = tags_pop(&c->pending);
        if (tag)
            c->events->acked(c, tag);
    }
    if (c->mark_set && (int32_t)(total - c->mark_sent) > 0) {
        c->mark_set = false;
        while (c->settled != c->mark_received) {
            c->settled++;
            uint64_t tag = tags_pop(&c->unsettled);
            if (tag)
                c->events->settled(c, tag);
        }
    }
}

static void on_stream_management(struct client *c, const struct element *e)
{
    if (element_is(e, NS_SM, "enabled") && c->state == CLIENT_ENABLE) {
        c->received = 0;
        send_barrier(c);
    } else if (element_is(e, NS_SM, "failed") && c->state == CLIENT_ENABLE) {
        fail(c, "the server refuses stream management");
    } else if (element_is(e, NS_SM, "r")) {
        client_ack(c);
    } else if (element_is(e, NS_SM, "a")) {
        const char *h = element_attribute(e, "h");
        if (h)
            server_has(c, (uint32_t)strtoul(h, NULL, 10));
        else
            fail(c, "<a/> without h");
    } else {
        fail(c, "<%s/> of stream management in state %s", e->name, client_state_name(c->state));
    }
}

void client_ack(struct client *c)
{
    if (!c->profile->stream_management || !client_may_send(c))
        return;
    buffer_text(&c->out, "<a xmlns='" NS_SM "' h='");
    buffer_uint(&c->out, c->received);
    buffer_text(&c->out, "'/>");
    if (!c->mark_set && c->received != c->settled) {
        c->mark_set = true;
        c->mark_received = c->received;
        c->mark_sent = c->sent;
    }
}

void client_ask_ack(struct client *c)
{
    if (c->ack_wanted)
        client_poke(c);
}

void client_poke(struct client *c)
{
    check(c->state == CLIENT_READY);
    c->ack_wanted = false;
    if (c->profile->stream_management) {
        buffer_text(&c->out, "<r xmlns='" NS_SM "'/>");
    } else {
        char id[24];
        snprintf(id, sizeof(id), "ack%u", c->next_iq++);
        send_ping(c, id);
        tags_push(&c->ping_marks, c->sent);
    }
}

/* ---- stanzas ---- */

static void answer_iq(struct client *c, const struct element *iq)
{
    const char *id = element_attribute(iq, "id");
    const char *from = element_attribute(iq, "from");
    bool ping = element_child(iq, NS_PING, "ping") != NULL;
    buffer_printf(&c->out, "<iq type='%s' id='", ping ? "result" : "error");
    buffer_escape(&c->out, id ? id : "", id ? strlen(id) : 0);
    if (from) {
        buffer_text(&c->out, "' to='");
        buffer_escape(&c->out, from, strlen(from));
    }
    if (ping)
        buffer_text(&c->out, "'/>");
    else
        buffer_text(&c->out, "'><error type='cancel'><service-unavailable xmlns='" NS_STANZAS
                             "'/></error></iq>");
    sent_stanza(c, 0);
}

static void on_iq(struct client *c, const struct element *iq)
{
    const char *type = element_attribute(iq, "type");
    const char *id = element_attribute(iq, "id");
    if (!type || !id) {
        fail(c, "<iq/> without type or id");
    } else if (strcmp(type, "get") == 0 || strcmp(type, "set") == 0) {
        answer_iq(c, iq);
    } else if (c->state == CLIENT_BIND && strcmp(id, "bind") == 0) {
        on_bound(c, iq);
    } else if (c->state == CLIENT_BARRIER && strcmp(id, "barrier") == 0) {
        if (!c->profile->stream_management)
            server_has(c, c->sent);
        c->state = CLIENT_READY;
        c->events->ready(c);
    } else if (strncmp(id, "ack", 3) == 0 && tags_count(&c->ping_marks) > 0) {
        server_has(c, (uint32_t)tags_pop(&c->ping_marks));
    }
}

static void on_features(struct client *c, const struct element *features)
{
    if (c->state == CLIENT_STREAM)
        begin_auth(c, features);
    else if (c->state == CLIENT_STREAM_AGAIN)
        ask_bind(c, features);
    else
        fail(c, "stream features in state %s", client_state_name(c->state));
}

static void settle_later(struct client *c, uint64_t tag)
{
    if (c->profile->stream_management && c->state > CLIENT_ENABLE)
        tags_push(&c->unsettled, tag);
}

static void on_stanza_proper(struct client *c, const struct element *e)
{
    uint64_t tag = 0;
    c->received++;
    if (strcmp(e->name, "message") == 0)
        tag = c->events->message(c, e);
    else if (strcmp(e->name, "iq") == 0)
        on_iq(c, e);
    else if (strcmp(e->name, "presence") != 0)
        fail(c, "unknown stanza <%s/>", e->name);
    settle_later(c, tag);
}

static void on_stanza(void *ctx, const struct element *e)
{
    struct client *c = ctx;
    if (c->state == CLIENT_ENDED)
        return;
    if (strcmp(e->space, NS_CLIENT) == 0)
        on_stanza_proper(c, e);
    else if (strcmp(e->space, NS_SM) == 0)
        on_stream_management(c, e);
    else if (strcmp(e->space, NS_SASL) == 0)
        on_sasl(c, e);
    else if (element_is(e, NS_STREAM, "features"))
        on_features(c, e);
    else if (element_is(e, NS_STREAM, "error"))
        fail(c, "stream error: %s", e->first_child ? e->first_child->name : "no condition");
    else
        fail(c, "unknown element <%s xmlns='%s'/>", e->name, e->space);
}

static void on_chat(void *ctx, const struct quick_chat *chat)
{
    struct client *c = ctx;
    if (c->state == CLIENT_ENDED)
        return;
    c->received++;
    settle_later(c, c->events->chat(c, chat));
}

static void on_stream(void *ctx, const struct element *header)
{
    struct client *c = ctx;
    if (!element_is(header, NS_STREAM, "stream"))
        fail(c, "the server did not answer with a stream");
}

static void on_stream_end(void *ctx)
{
    struct client *c = ctx;
    c->peer_ended = true;
    if (c->state != CLIENT_ENDING)
        fail(c, "the server closed the stream");
    else
        c->state = CLIENT_ENDED;
}

/* ---- its owner ---- */

void client_init(struct client *c, const struct client_profile *profile,
                 const struct client_events *events, const char *user, const char *password)
{
    *c = (struct client){.profile = profile, .events = events, .user = user, .password = password};
}

void client_free(struct client *c)
{
    drop_scram(c);
    reader_free(&c->reader);
    buffer_free(&c->out);
    tags_free(&c->pending);
    tags_free(&c->ping_marks);
    tags_free(&c->unsettled);
    free(c->bound_jid);
    free(c->failure);
}

void client_connected(struct client *c)
{
    static const struct reader_events plain = {on_stream, on_stanza, on_stream_end, NULL};
    static const struct reader_events with_chat = {on_stream, on_stanza, on_stream_end, on_chat};
    check(c->state == CLIENT_CLOSED && tags_count(&c->pending) == 0);
    c->reader = reader_new(c->events->chat ? &with_chat : &plain, c, c->profile->expat_every);
    c->peer_ended = c->refused_login = c->mark_set = c->ack_wanted = false;
    c->sent = c->acked = c->received = c->settled = 0;
    free(c->failure);
    c->failure = NULL;
    open_stream(c, CLIENT_STREAM);
}

void client_input(struct client *c, const void *bytes, size_t len)
{
    if (c->state == CLIENT_ENDED || c->state == CLIENT_CLOSED)
        return;
    if (reader_input(c->reader, bytes, len) < 0)
        fail(c, "the server's XML: %s", reader_error(c->reader));
}

void client_lost(struct client *c, struct tags *unacked)
{
    drop_scram(c);
    reader_free(&c->reader);
    buffer_free(&c->out);
    while (tags_count(&c->pending) > 0) {
        uint64_t tag = tags_pop(&c->pending);
        if (tag)
            tags_push(unacked, tag);
    }
    tags_free(&c->ping_marks);
    tags_free(&c->unsettled);
    c->state = CLIENT_CLOSED;
}

void client_send_message(struct client *c, uint64_t tag, const char *to, const char *id,
                         const char *body, size_t body_len, const char *extra)
{
    check(client_may_send(c));
    buffer_text(&c->out, "<message type='chat' to='");
    buffer_text(&c->out, to);
    buffer_text(&c->out, "@");
    buffer_text(&c->out, c->profile->domain);
    buffer_text(&c->out, "' id='");
    buffer_text(&c->out, id);
    buffer_text(&c->out, "'>");
    if (body) {
        buffer_text(&c->out, "<body>");
        buffer_escape(&c->out, body, body_len);
        buffer_text(&c->out, "</body>");
    }
    if (extra)
        buffer_text(&c->out, extra);
    buffer_text(&c->out, "</message>");
    sent_stanza(c, tag);
}

void client_announce(struct client *c)
{
    check(c->state == CLIENT_READY);
    c->silent = false;
    send_presence(c);
}

void client_end(struct client *c)
{
    if (c->state == CLIENT_READY) {
        client_ack(c);
        buffer_text(&c->out, "<presence type='unavailable'/>");
        sent_stanza(c, 0);
    }
    buffer_text(&c->out, "</stream:stream>");
    c->state = CLIENT_ENDING;
}

const char *client_state_name(enum client_state state)
{
    static const char *const names[] = {
#define X(name, when) #name,
        CLIENT_STATES(X)
#undef X
    };
    return names[state];
}
