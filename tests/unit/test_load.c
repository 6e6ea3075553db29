/* SPDX-License-Identifier: Apache-2.0 */
/* The load generator judges the broker: this judges the load generator. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "../../bench/load/audit.h"
#include "../../bench/load/client.h"
#include "../../bench/load/histogram.h"
#include "../../bench/load/quick.h"
#include "../../bench/load/scram.h"

/* ---- SCRAM ---- */

struct exchange {
    enum scram_hash hash;
    const char *nonce, *server_first, *client_final, *server_final;
};

static void run_exchange(const struct exchange *x)
{
    struct scram s;
    struct buffer first = {0}, final = {0};
    scram_begin(&s, x->hash, "user", x->nonce);
    scram_first(&s, &first);
    cr_assert_eq(strncmp(buffer_cstr(&first), "n,,n=user,r=", 12), 0);
    cr_assert_eq(scram_verify(&s, x->server_final), -EACCES, "nothing was proved yet");
    cr_assert_eq(scram_final(&s, x->server_first, "pencil", &final), 0);
    cr_assert_str_eq(buffer_cstr(&final), x->client_final);
    cr_assert_eq(scram_verify(&s, x->server_final), 0);
    cr_assert_eq(scram_verify(&s, "v=AAAA"), -EACCES);
    cr_assert_eq(scram_verify(&s, "e=other-error"), -EACCES);
    scram_end(&s);
    buffer_free(&first);
    buffer_free(&final);
}

Test(load_scram, example_of_rfc_5802)
{
    run_exchange(&(struct exchange){
        SCRAM_SHA_1, "fyko+d2lbbFgONRv9qkxdawL",
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="});
    scram_cache_free();
}

Test(load_scram, example_of_rfc_7677)
{
    struct exchange x = {
        SCRAM_SHA_256, "rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="};
    run_exchange(&x);
    run_exchange(&x); /* by the keys that are kept now */
    scram_cache_free();
}

Test(load_scram, bad_server_messages)
{
    static const struct {
        const char *text;
        int err;
    } cases[] = {
        {"", -EPROTO},
        {"r=abc", -EPROTO},
        {"r=abcdef,s=QSXCR+Q6sek8bf92", -EPROTO},
        {"r=abcdef,s=,i=4096", -EPROTO},
        {"r=abcdef,s=!!!!,i=4096", -EPROTO},
        {"r=abcdef,s=QSXCR+Q6sek8bf92,i=0", -EPROTO},
        {"r=abcdef,s=QSXCR+Q6sek8bf92,i=999999999", -EPROTO},
        {"m=ext,r=abcdef,s=QSXCR+Q6sek8bf92,i=4096", -EPROTO},
        {"r=abc,s=QSXCR+Q6sek8bf92,i=4096", -EACCES},    /* nothing of the server's in it */
        {"r=xyzdef,s=QSXCR+Q6sek8bf92,i=4096", -EACCES}, /* not ours */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct scram s;
        struct buffer out = {0};
        scram_begin(&s, SCRAM_SHA_256, "user", "abc");
        cr_assert_eq(scram_final(&s, cases[i].text, "pencil", &out), cases[i].err, "%s",
                     cases[i].text);
        cr_assert_eq(buffer_len(&out), 0);
        scram_end(&s);
        buffer_free(&out);
    }
    scram_cache_free();
}

Test(load_scram, names_are_escaped)
{
    struct scram s;
    struct buffer first = {0};
    scram_begin(&s, SCRAM_SHA_1, "a=b,c", "n");
    scram_first(&s, &first);
    cr_assert_str_eq(buffer_cstr(&first), "n,,n=a=3Db=2Cc,r=n");
    scram_end(&s);
    buffer_free(&first);
}

/* ---- the client ---- */

static struct seen {
    unsigned ready, messages;
    uint64_t acked[16], settled[16];
    unsigned acked_count, settled_count;
} seen;

static void on_ready(struct client *c)
{
    seen.ready++;
}

static uint64_t on_message(struct client *c, const struct element *message)
{
    const struct element *body = element_child(message, "jabber:client", "body");
    cr_assert_not_null(body);
    cr_assert_str_eq(body->text, "a <b> \xc3\xa9");
    return ++seen.messages;
}

static void on_acked(struct client *c, uint64_t tag)
{
    seen.acked[seen.acked_count++] = tag;
}

static void on_settled(struct client *c, uint64_t tag)
{
    seen.settled[seen.settled_count++] = tag;
}

static const struct client_events events = {on_ready, on_message, NULL, on_acked, on_settled};

#define HEADER                                                   \
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' " \
    "xmlns:stream='http://etherx.jabber.org/streams' from='d' id='1' version='1.0'>"
#define LOGIN_1                                                                          \
    HEADER "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"      \
           "<mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism></mechanisms>" \
           "</stream:features>"
#define LOGIN_2 "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
#define LOGIN_3                                                                \
    HEADER "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>" \
           "<sm xmlns='urn:xmpp:sm:3'/></stream:features>"
#define LOGIN_4                                                                   \
    "<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>" \
    "<jid>u@d/r</jid></bind></iq>"
#define LOGIN_5 "<enabled xmlns='urn:xmpp:sm:3'/>"
#define LOGIN_6 "<iq type='result' id='barrier' from='d'/>"

static const char *const login[] = {LOGIN_1, LOGIN_2, LOGIN_3, LOGIN_4, LOGIN_5, LOGIN_6};

static void feed(struct client *c, const char *text, size_t piece)
{
    size_t len = strlen(text);
    for (size_t at = 0; at < len; at += piece)
        client_input(c, text + at, len - at < piece ? len - at : piece);
}

static const char *said(struct client *c)
{
    return buffer_cstr(&c->out);
}

static void log_in(struct client *c, const struct client_profile *profile, size_t piece)
{
    memset(&seen, 0, sizeof(seen));
    client_init(c, profile, &events, "u", "p");
    client_connected(c);
    for (size_t i = 0; i < sizeof(login) / sizeof(*login); i++)
        if (i != 4 || profile->stream_management)
            feed(c, login[i], piece);
    cr_assert_eq(c->state, CLIENT_READY, "%s: %s", client_state_name(c->state), c->failure);
    cr_assert_eq(seen.ready, 1);
    cr_assert_str_eq(c->bound_jid, "u@d/r");
    buffer_reset(&c->out);
}

static const struct client_profile with_sm = {
    .domain = "d", .mechanism = MECHANISM_PLAIN, .stream_management = true, .presence = true};
static const struct client_profile quick_sm = {.domain = "d",
                                               .mechanism = MECHANISM_PLAIN,
                                               .stream_management = true,
                                               .presence = true,
                                               .expat_every = 3};
static const struct client_profile without_sm = {
    .domain = "d", .mechanism = MECHANISM_PLAIN, .presence = true};

Test(load_client, logs_in_by_pieces_of_every_size)
{
    for (size_t piece = 1; piece < 200; piece++) {
        struct client c;
        log_in(&c, &with_sm, piece);
        client_free(&c);
        log_in(&c, &quick_sm, piece);
        client_free(&c);
    }
}

/* ---- the reader that is in a hurry ---- */

static void dump(struct buffer *b, const struct element *e)
{
    buffer_printf(b, "{%s|%s", e->space, e->name);
    for (unsigned i = 0; i < e->attribute_count; i++)
        buffer_printf(b, " %s=[%s]", e->attributes[i].name, e->attributes[i].value);
    buffer_printf(b, " (%s)", e->text);
    for (const struct element *c = e->first_child; c; c = c->next)
        dump(b, c);
    buffer_text(b, "}\n");
}

static void dump_stanza(void *ctx, const struct element *e)
{
    dump(ctx, e);
}

static void dump_nothing(void *ctx)
{
}

static unsigned chats;

/* As the tree of the same message. */
static void dump_chat(void *ctx, const struct quick_chat *c)
{
    chats++;
    buffer_printf(ctx, "%.*s: %.*s, %.*s\n", (int)c->from.len, c->from.p, (int)c->body.len,
                  c->body.p, (int)c->stanza_id.len, c->stanza_id.p);
}

static void dump_as_chat(void *ctx, const struct element *e)
{
    const struct element *body = element_child(e, NULL, "body");
    const struct element *id = element_child(e, "urn:xmpp:sid:0", "stanza-id");
    if (body && id)
        buffer_printf(ctx, "%s: %s, %s\n", element_attribute(e, "from"), body->text,
                      element_attribute(id, "id"));
    else
        dump(ctx, e);
}

static const struct reader_events dump_events = {dump_stanza, dump_stanza, dump_nothing, NULL};
static const struct reader_events chat_events = {dump_stanza, dump_as_chat, dump_nothing,
                                                 dump_chat};

/* All that a reader makes of the text in pieces of that size. */
static char *read_by(const struct reader_events *reader_events, const char *text, size_t piece,
                     uint32_t expat_every)
{
    struct buffer out = {0};
    struct reader *r = reader_new(reader_events, &out, expat_every);
    for (size_t at = 0, len = strlen(text); at < len; at += piece)
        if (reader_input(r, text + at, at + piece < len ? piece : len - at) < 0) {
            buffer_printf(&out, "error");
            break;
        }
    char *all = strdup(buffer_cstr(&out));
    reader_free(&r);
    buffer_free(&out);
    return all;
}

static char *read_in_pieces(const char *text, size_t piece, uint32_t expat_every)
{
    return read_by(&dump_events, text, piece, expat_every);
}

Test(load_reader, in_a_hurry_reads_what_expat_reads)
{
    static const char head[] = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
                               "xmlns:stream='http://etherx.jabber.org/streams' from='d'>";
    static const char *const stanzas[] = {
        "<a xmlns='urn:xmpp:sm:3' h='7'/>",
        "<message from='a@d/r' to=\"b@d\" id='x&apos;&lt;'><body>1 &amp; 2 &gt; 1</body>"
        "<stanza-id xmlns='urn:xmpp:sid:0' id='9' by='d'/></message> \n ",
        "<message><body></body><x xmlns='y'><z>deep &quot;</z></x ></message >",
        "<iq type='result' id='1'/><presence/>",
        "<message xml:lang='en'><body>]]&gt;<!-- c --><![CDATA[<&>]]></body></message>",
        "<message><body>&#65;</body></message><message><body>after</body></message>",
        "<stream:features><x xmlns='y'/></stream:features>",
        "<message>text<body>b</body>more</message>",
    };
    struct buffer all = {0};
    buffer_text(&all, head);
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof(stanzas) / sizeof(*stanzas); i++)
            buffer_text(&all, stanzas[i]);
    const char *text = buffer_cstr(&all);
    char *wanted = read_in_pieces(text, strlen(text), 1);
    cr_assert(strstr(wanted, "after") != NULL && strstr(wanted, "error") == NULL);
    for (size_t piece = 1; piece < 300; piece++) {
        char *got = read_in_pieces(text, piece, 1 + (uint32_t)piece % 7);
        cr_assert_str_eq(got, wanted, "pieces of %zu", piece);
        free(got);
    }
    free(wanted);
    buffer_free(&all);
}

#define CHAT(body, end)                                                         \
    "<message from='a@d/r' to='b@d' type='chat' id='m-1'><body>" body "</body>" \
    "<stanza-id xmlns='urn:xmpp:sid:0' by='b@d' id='00112233445566778899aabbccddeeff'/>" end

Test(load_reader, in_a_hurry_knows_the_form_of_a_chat_message)
{
    static const char text[] = "<s xmlns='jabber:client'>" CHAT(
        "one",
        "</message>") CHAT("2 &lt; 3",
                           "</message>") CHAT("late", "<delay xmlns='urn:xmpp:delay' "
                                                      "stamp='2024-01-01T00:00:00.000Z'/></"
                                                      "message>") "<a xmlns='urn:xmpp:sm:3' "
                                                                  "h='7'/>" CHAT("", "</message>")
                                                                      CHAT("asks",
                                                                           "<request "
                                                                           "xmlns='urn:xmpp:"
                                                                           "receipts'/></message>")
                                                                          CHAT("four",
                                                                               "</message>") "<mess"
                                                                                             "age "
                                                                                             "from="
                                                                                             "'a@d/"
                                                                                             "r' "
                                                                                             "to='"
                                                                                             "b@d' "
                                                                                             "type="
                                                                                             "'chat"
                                                                                             "'/>";
    const size_t header_len = strlen("<s xmlns='jabber:client'>");
    char *wanted = read_by(&chat_events, text, strlen(text), 1);
    cr_assert_eq(chats, 0);
    cr_assert_not_null(strstr(wanted, "a@d/r: four, 00112233445566778899aabbccddeeff"));
    for (size_t piece = 1; piece < 400; piece++) {
        chats = 0;
        char *got = read_by(&chat_events, text, piece, 1000);
        cr_assert_str_eq(got, wanted, "pieces of %zu", piece);
        /* When a piece ends with the header, none is left to expat. */
        cr_assert(chats == 4 || (header_len % piece != 0 && chats < 4), "pieces of %zu", piece);
        free(got);
        got = read_by(&chat_events, text, piece, 1 + (uint32_t)piece % 7);
        cr_assert_str_eq(got, wanted, "pieces of %zu", piece);
        free(got);
    }
    free(wanted);
}

Test(load_reader, in_a_hurry_sees_what_is_not_well_formed)
{
    static const char *const bad[] = {"<a></b>", "<a b></a>", "<a b='c>'", "<a>&bad;</a>",
                                      "</x>",    "text",      "<a/ >"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char text[200];
        snprintf(text, sizeof(text), "<s xmlns='jabber:client'>%s<c/><d/>", bad[i]);
        char *wanted = read_in_pieces(text, strlen(text), 1);
        char *got = read_in_pieces(text, 5, 1000);
        cr_assert_str_eq(got, wanted, "%s", bad[i]);
        free(got);
        free(wanted);
    }
}

Test(load_client, acknowledged_in_order)
{
    struct client c;
    struct tags unacked = {0};
    log_in(&c, &with_sm, 1000);
    for (uint64_t tag = 1; tag <= 3; tag++)
        client_send_message(&c, tag, "v", "id", "x<y", 3, NULL);
    client_ask_ack(&c);
    client_ask_ack(&c); /* nothing new: not asked again */
    cr_assert_not_null(strstr(said(&c), "<body>x&lt;y</body>"));
    cr_assert_str_eq(strstr(said(&c), "<r "), "<r xmlns='urn:xmpp:sm:3'/>");
    feed(&c, "<a xmlns='urn:xmpp:sm:3' h='2'/>", 1000); /* presence and ping of the login */
    cr_assert_eq(seen.acked_count, 0);
    feed(&c, "<a xmlns='urn:xmpp:sm:3' h='4'/>", 1000);
    cr_assert_eq(seen.acked_count, 2);
    cr_assert_eq(seen.acked[0], 1);
    cr_assert_eq(seen.acked[1], 2);
    client_lost(&c, &unacked);
    cr_assert_eq(tags_count(&unacked), 1);
    cr_assert_eq(tags_pop(&unacked), 3);
    tags_free(&unacked);
    client_free(&c);
}

Test(load_client, impossible_acknowledgements_end_it)
{
    static const char *const bad[] = {"<a xmlns='urn:xmpp:sm:3' h='3'/>",
                                      "<a xmlns='urn:xmpp:sm:3' h='4294967295'/>",
                                      "<a xmlns='urn:xmpp:sm:3'/>"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct client c;
        log_in(&c, &with_sm, 1000);
        feed(&c, bad[i], 1000);
        cr_assert_eq(c.state, CLIENT_ENDED);
        client_free(&c);
    }
}

Test(load_client, pings_stand_for_acknowledgements)
{
    struct client c;
    log_in(&c, &without_sm, 1000);
    client_send_message(&c, 7, "v", "id", "x", 1, NULL);
    client_ask_ack(&c);
    cr_assert_not_null(strstr(said(&c), "id='ack0'"));
    client_send_message(&c, 8, "v", "id", "x", 1, NULL);
    feed(&c, "<iq type='result' id='ack0' from='d'/>", 1000);
    cr_assert_eq(seen.acked_count, 1);
    cr_assert_eq(seen.acked[0], 7);
    client_free(&c);
}

Test(load_client, settled_when_answered_after_our_acknowledgement)
{
    static const char message[] = "<message from='v@d/r' to='u@d/r'><body>a &lt;b&gt; \xc3\xa9"
                                  "</body></message>";
    struct client c;
    log_in(&c, &with_sm, 1000);
    feed(&c, message, 1);
    feed(&c, message, 1000);
    feed(&c, "<r xmlns='urn:xmpp:sm:3'/>", 1000);
    /* The login's answer to the ping counts too. */
    cr_assert_not_null(strstr(said(&c), "<a xmlns='urn:xmpp:sm:3' h='3'/>"));
    feed(&c, "<a xmlns='urn:xmpp:sm:3' h='2'/>", 1000); /* of what we sent before */
    cr_assert_eq(seen.settled_count, 0);
    client_send_message(&c, 1, "v", "id", "x", 1, NULL);
    feed(&c, "<a xmlns='urn:xmpp:sm:3' h='3'/>", 1000);
    cr_assert_eq(seen.settled_count, 2);
    cr_assert_eq(seen.settled[0], 1);
    cr_assert_eq(seen.settled[1], 2);
    client_free(&c);
}

Test(load_client, answers_pings_and_refuses_the_rest)
{
    struct client c;
    log_in(&c, &with_sm, 1000);
    feed(&c, "<iq type='get' id='p&amp;1' from='d'><ping xmlns='urn:xmpp:ping'/></iq>", 1000);
    cr_assert_str_eq(said(&c), "<iq type='result' id='p&amp;1' to='d'/>");
    buffer_reset(&c.out);
    feed(&c, "<iq type='get' id='q'><query xmlns='x'/></iq>", 1000);
    cr_assert_not_null(strstr(said(&c), "service-unavailable"));
    client_free(&c);
}

Test(load_client, what_ends_it)
{
    static const char *const bad[] = {
        "</stream:stream>",
        "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
        "<telegram/>",
        "<message xmlns='other'/>",
        "\xff",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct client c;
        log_in(&c, &with_sm, 1000);
        feed(&c, bad[i], 1);
        cr_assert_eq(c.state, CLIENT_ENDED, "%s", bad[i]);
        cr_assert_not_null(c.failure);
        client_free(&c);
    }
}

Test(load_client, refused_login)
{
    struct client c;
    client_init(&c, &with_sm, &events, "u", "p");
    client_connected(&c);
    feed(&c,
         LOGIN_1 "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>",
         1000);
    cr_assert_eq(c.state, CLIENT_ENDED);
    cr_assert(c.refused_login);
    cr_assert_str_eq(c.failure, "authentication failed: not-authorized");
    client_free(&c);
}

/* ---- the audit ---- */

static struct audit *new_audit(void)
{
    struct audit *a = audit_new(&(struct audit_config){.run = 5, .body_bytes = 50});
    cr_assert_eq(audit_add_flow(a, 0, 1), 0);
    cr_assert_eq(audit_add_flow(a, 1, 0), 1);
    return a;
}

/* That message of flow 0 in that session of its recipient. */
static int arrive(struct audit *a, uint32_t number, uint32_t session, const char *stanza_id)
{
    struct buffer body = {0};
    uint32_t flow, got;
    audit_body(a, 0, number, &body);
    struct gw_bytes id = stanza_id ? gw_bytes_str(stanza_id) : gw_bytes(NULL, 0);
    int result = audit_receive(a, 1, session, 0, gw_bytes(buffer_head(&body), buffer_len(&body)),
                               id, 10, &flow, &got);
    cr_assert(!result || (flow == 0 && got == number));
    buffer_free(&body);
    return result;
}

/* Whether that text from one user to another counts as a message that was sent. */
static int arrives(struct audit *a, uint32_t to, uint32_t from, const char *text)
{
    uint32_t flow, number;
    return audit_receive(a, to, 1, from, gw_bytes_str(text), gw_bytes(NULL, 0), 2, &flow, &number);
}

static void send_some(struct audit *a, uint32_t count)
{
    for (uint32_t i = 1; i <= count; i++)
        cr_assert_eq(audit_send(a, 0, 1), i);
}

Test(load_audit, complete_when_acknowledged_and_received)
{
    struct audit *a = new_audit();
    send_some(a, 3);
    cr_assert_eq(audit_outstanding(a, 0), 3);
    audit_acked(a, 0, 1, 2);
    audit_acked(a, 0, 1, 2);
    arrive(a, 1, 1, "s1");
    arrive(a, 2, 1, "s2");
    cr_assert_eq(audit_outstanding(a, 0), 2);
    audit_acked(a, 0, 2, 2);
    audit_refused(a, 0, 3, 2);
    cr_assert_eq(audit_incomplete(a), 0);
    cr_assert_eq(audit_lost(a), 0);
    const struct audit_counts *c = audit_totals(a);
    cr_assert_eq(c->acknowledged, 2);
    cr_assert_eq(c->received, 2);
    cr_assert_eq(c->refused, 1);
    cr_assert_eq(c->duplicated + c->reordered + c->altered + c->redelivered + c->repeated, 0);
    audit_free(&a);
}

Test(load_audit, lost)
{
    struct audit *a = new_audit();
    send_some(a, 2);
    audit_acked(a, 0, 1, 2);
    cr_assert_eq(audit_lost(a), 1);
    cr_assert_eq(audit_incomplete(a), 2);
    audit_free(&a);
}

Test(load_audit, late_is_reordered)
{
    struct audit *a = new_audit();
    send_some(a, 3);
    arrive(a, 1, 1, "s1");
    arrive(a, 3, 1, "s3");
    cr_assert_eq(audit_totals(a)->reordered, 0);
    arrive(a, 2, 2, "s2");
    cr_assert_eq(audit_totals(a)->reordered, 1);
    audit_free(&a);
}

Test(load_audit, twice_in_a_session_is_duplicated)
{
    struct audit *a = new_audit();
    send_some(a, 1);
    arrive(a, 1, 1, "s1");
    arrive(a, 1, 1, "s1");
    cr_assert_eq(audit_totals(a)->duplicated, 1);
    audit_free(&a);
}

Test(load_audit, twice_under_two_stanza_ids_is_duplicated)
{
    struct audit *a = new_audit();
    send_some(a, 1);
    arrive(a, 1, 1, "s1");
    arrive(a, 1, 2, "other");
    cr_assert_eq(audit_totals(a)->duplicated, 1);
    audit_free(&a);
}

Test(load_audit, again_in_a_later_session_is_redelivered)
{
    struct audit *a = new_audit();
    send_some(a, 3);
    for (uint32_t i = 1; i <= 3; i++)
        arrive(a, i, 1, i == 1 ? "s1" : i == 2 ? "s2" : "s3");
    audit_settled(a, 0, 1, 3);
    arrive(a, 2, 2, "s2");
    arrive(a, 3, 2, "s3");
    cr_assert_eq(audit_totals(a)->redelivered, 2);
    arrive(a, 1, 3, "s1");
    cr_assert_eq(audit_totals(a)->late_redelivered, 1);
    cr_assert_eq(audit_totals(a)->reordered, 0);
    arrive(a, 3, 4, "s3");
    arrive(a, 2, 4, "s2");
    cr_assert_eq(audit_totals(a)->reordered, 1, "in order within a session, also when it is again");
    cr_assert_eq(audit_totals(a)->duplicated, 0);
    audit_free(&a);
}

Test(load_audit, sent_again_may_come_again)
{
    struct audit *a = new_audit();
    send_some(a, 2);
    arrive(a, 1, 1, "s1");
    arrive(a, 2, 1, "s2");
    cr_assert(audit_resend(a, 0, 1, 3));
    cr_assert(audit_resend(a, 0, 2, 3));
    arrive(a, 1, 1, "s3");
    arrive(a, 2, 1, "s4");
    cr_assert_eq(audit_totals(a)->repeated, 2);
    cr_assert_eq(audit_totals(a)->duplicated + audit_totals(a)->reordered, 0);
    arrive(a, 2, 1, "s2");
    cr_assert_eq(audit_totals(a)->duplicated, 1, "the same copy twice in a session");
    audit_free(&a);
}

Test(load_audit, refused_is_not_sent_again)
{
    struct audit *a = new_audit();
    send_some(a, 1);
    audit_refused(a, 0, 1, 2);
    cr_assert_not(audit_resend(a, 0, 1, 3), "it may be stored now, and was refused");
    cr_assert_eq(audit_totals(a)->resent, 0);
    audit_free(&a);
}

Test(load_audit, altered_forged_foreign_misdelivered)
{
    struct audit *a = new_audit();
    struct audit *other = audit_new(&(struct audit_config){.run = 6, .body_bytes = 50});
    struct buffer body = {0};
    send_some(a, 1);
    audit_add_flow(other, 0, 1);
    audit_send(other, 0, 1);
    audit_body(a, 0, 1, &body);
    char *text = strdup(buffer_cstr(&body));
    cr_assert_eq(arrives(a, 1, 1, text), 0, "not from user 1");
    cr_assert_eq(arrives(a, 0, 0, text), 0, "not for user 0");
    cr_assert_eq(audit_totals(a)->altered, 1);
    for (size_t i = strlen("godwit-load 00000005"); i < strlen(text); i++) {
        text[i] ^= 1;
        cr_assert_eq(arrives(a, 1, 0, text), 0, "byte %zu", i);
        cr_assert_eq(audit_totals(a)->altered, 2 + i - strlen("godwit-load 00000005"));
        text[i] ^= 1;
    }
    cr_assert_eq(arrives(a, 1, 0, "godwit-load 00000005 0 1 "), 0, "cut off");
    cr_assert_eq(audit_totals(a)->misdelivered, 1);
    buffer_reset(&body);
    audit_body(other, 0, 1, &body);
    cr_assert_eq(arrives(a, 1, 0, buffer_cstr(&body)), 0);
    cr_assert_eq(arrives(a, 1, 0, "hello"), 0);
    cr_assert_eq(audit_totals(a)->foreign, 2);
    cr_assert_eq(audit_totals(a)->received, 0);
    free(text);
    buffer_free(&body);
    audit_free(&a);
    audit_free(&other);
}

Test(load_histogram, within_a_thirty_second)
{
    static struct histogram h;
    cr_assert_eq(histogram_at(&h, 0.5), 0);
    for (uint64_t v = 1; v <= 100000; v++)
        histogram_add(&h, v);
    static const double shares[] = {0.01, 0.25, 0.5, 0.9, 0.99, 0.999};
    for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++) {
        double got = (double)histogram_at(&h, shares[i]), wanted = shares[i] * 100000;
        cr_assert(got >= wanted && got <= wanted * (1 + 1.0 / 32) + 1, "%f: %f", shares[i], got);
    }
    cr_assert_eq(histogram_at(&h, 1), 100000);
    cr_assert_eq(h.max, 100000);
}
