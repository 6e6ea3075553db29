/* SPDX-License-Identifier: Apache-2.0 */
/* Streams (RFC 6120 section 4): header, features, errors, close; and what each unit is handed to. */
#include "edge.h"

#include <ctype.h>

#include "../base/text.h"
#include "csi.h"

#define NS_STREAMS GW_LIT("http://etherx.jabber.org/streams")
#define NS_CLIENT  GW_LIT("jabber:client")
#define NS_SASL    GW_LIT("urn:ietf:params:xml:ns:xmpp-sasl")
#define NS_SM      GW_LIT("urn:xmpp:sm:3")
#define NS_CSI     GW_LIT("urn:xmpp:csi:0")

/* Of a language tag; RFC 5646 section 4.4.1 asks for 35. */
#define LANG_BYTES_MAX 35

/* ---- our header and features ---- */

/* `to`: who the client has said it is, or empty (RFC 6120 section 4.7.2). */
static void send_header(struct gw_lcore *l, gw_conn c, struct gw_bytes to)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    uint8_t id[16];
    struct gw_text t = gw_text(l->scratch, GW_SCRATCH_BYTES);
    l->random(l->random_ctx, id, sizeof(id));
    gw_text_str(&t, "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
                    "xmlns:stream='http://etherx.jabber.org/streams' version='1.0' xml:lang='en' id='");
    gw_text_hex(&t, id, sizeof(id));
    gw_text_str(&t, "' from='");
    gw_text_escaped(&t, gw_edge_domain(l, c));
    if (to.len > 0) {
        gw_text_str(&t, "' to='");
        gw_text_escaped(&t, to);
    }
    gw_text_str(&t, "'>");
    e->header_sent = true;
    gw_edge_write(l, c, gw_text_bytes(&t));
}

static void put_limits(const struct gw_lcore *l, struct gw_text *t, uint32_t bytes_max,
                       uint64_t idle_us)
{
    gw_text_str(t, "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>");
    gw_text_uint(t, bytes_max);
    gw_text_str(t, "</max-bytes><idle-seconds>");
    gw_text_uint(t, idle_us / 1000000);
    gw_text_str(t, "</idle-seconds></limits>");
}

static void put_mechanisms(const struct gw_lcore *l, struct gw_text *t)
{
    gw_text_str(t, "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
                   "<mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism>");
    if (l->cfg->allow_plain)
        gw_text_str(t, "<mechanism>PLAIN</mechanism>");
    gw_text_str(t, "</mechanisms>");
    put_limits(l, t, l->cfg->auth_stanza_bytes_max, l->cfg->auth_timeout_us);
}

static void put_session_features(const struct gw_lcore *l, struct gw_text *t)
{
    gw_text_str(t, "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
                   "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>"
                   "<sm xmlns='urn:xmpp:sm:3'/><csi xmlns='urn:xmpp:csi:0'/>"
                   "<ver xmlns='urn:xmpp:features:rosterver'/>");
    gw_edge_put_caps(l, t);
    put_limits(l, t, l->cfg->stanza_bytes_max, l->cfg->ping_after_us + l->cfg->ping_timeout_us);
}

static void send_features(struct gw_lcore *l, gw_conn c)
{
    char buf[2048];
    struct gw_text t = gw_text(buf, sizeof(buf));
    gw_text_str(&t, "<stream:features>");
    if (gw_edge_conn(l, c)->authenticated)
        put_session_features(l, &t);
    else
        put_mechanisms(l, &t);
    gw_text_str(&t, "</stream:features>");
    gw_edge_write(l, c, gw_text_bytes(&t));
}

/* ---- the client's header ---- */

/* RFC 6120 section 4.7.2. Without `to` the first of our domains is meant; one that is logged in stays
 * where it is. */
static enum gw_stream_error check_to(const struct gw_lcore *l, struct gw_edge_conn *e)
{
    char raw[GW_JID_BYTES_MAX];
    struct gw_jid_text to;
    int n = gw_xml_attr_text(l->xml, 0, GW_LIT("to"), raw, sizeof(raw));
    if (n < 0)
        return gw_xml_attr(l->xml, 0, GW_LIT("to")) ? GW_STREAM_HOST_UNKNOWN : GW_STREAM_ERROR_NONE;
    if (gw_jid_prep(gw_bytes(raw, (size_t)n), &to) != 0)
        return GW_STREAM_HOST_UNKNOWN;
    int domain = gw_domain_find(l->cfg, gw_jid_full(&to));
    if (domain < 0 || (e->authenticated && domain != e->domain))
        return GW_STREAM_HOST_UNKNOWN;
    e->domain = (uint8_t)domain & 15;
    return GW_STREAM_ERROR_NONE;
}

/* Who the client says it is, *from as a bare JID: of this domain, and once it has logged in itself.
 * Empty when it does not say. */
static enum gw_stream_error check_from(const struct gw_lcore *l, gw_conn c, struct gw_jid_text *from)
{
    char raw[GW_JID_BYTES_MAX];
    from->bare_len = 0;
    if (gw_xml_attr(l->xml, 0, GW_LIT("from")) == NULL)
        return GW_STREAM_ERROR_NONE;
    int n = gw_xml_attr_text(l->xml, 0, GW_LIT("from"), raw, sizeof(raw));
    if (n < 0 || gw_jid_prep(gw_bytes(raw, (size_t)n), from) != 0 ||
        !gw_bytes_eq(gw_jid_domain(from), gw_edge_domain(l, c)) ||
        (gw_edge_conn(l, c)->authenticated && !gw_bytes_eq(gw_jid_bare(from), gw_edge_bare(l, c)))) {
        from->bare_len = 0;
        return GW_STREAM_INVALID_FROM;
    }
    return GW_STREAM_ERROR_NONE;
}

static enum gw_stream_error check_header(const struct gw_lcore *l, gw_conn c, struct gw_jid_text *from)
{
    const struct gw_xml *x = l->xml;
    const struct gw_xml_attr *content = gw_xml_attr(x, 0, GW_LIT("xmlns"));
    const struct gw_xml_attr *version = gw_xml_attr(x, 0, GW_LIT("version"));
    if (!gw_xml_is(x, 0, GW_LIT("stream"), NS_STREAMS) || content == NULL ||
        !gw_bytes_eq(content->value, NS_CLIENT))
        return GW_STREAM_INVALID_NAMESPACE;
    if (!gw_bytes_eq(x->nodes[0].prefix, GW_LIT("stream")))
        return GW_STREAM_BAD_NAMESPACE_PREFIX;
    if (version == NULL || version->value.len < 3 || version->value.p[0] < '1' ||
        version->value.p[0] > '9')
        return GW_STREAM_UNSUPPORTED_VERSION;
    enum gw_stream_error err = check_to(l, gw_edge_conn(l, c));
    return err != GW_STREAM_ERROR_NONE ? err : check_from(l, c, from);
}

/* A language tag (BCP 47) of the header is what all stanzas inherit (RFC 6120 section 4.7.4). What does
 * not look like one is left out. */
static void take_lang(struct gw_lcore *l, gw_conn c)
{
    const struct gw_xml_elem *root = &l->xml->nodes[0];
    for (unsigned i = 0; i < root->attr_count; i++) {
        const struct gw_xml_attr *a = &l->xml->attrs[root->attr_first + i];
        bool is_tag = a->value.len > 0 && a->value.len <= LANG_BYTES_MAX;
        if (!gw_bytes_eq(a->prefix, GW_LIT("xml")) || !gw_bytes_eq(a->name, GW_LIT("lang")))
            continue;
        for (size_t k = 0; k < a->value.len; k++)
            is_tag = is_tag && (isalnum(a->value.p[k]) || a->value.p[k] == '-');
        if (is_tag && !gw_edge_set_lang(l, c, a->value))
            GW_COUNT(l->edge_count.out_of_memory);
        return;
    }
}

enum gw_handled gw_edge_stream_open(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (l->xml->unit == GW_XML_SPACE)
        return GW_HANDLED;
    struct gw_jid_text from = {0};
    enum gw_stream_error err = check_header(l, c, &from);
    e->header_seen = true;
    if (err != GW_STREAM_ERROR_NONE) {
        gw_edge_stream_error(l, c, err, NULL);
        return GW_HANDLED;
    }
    GW_COUNT(l->edge_count.streams);
    e->state = e->authenticated ? GW_EDGE_READY : GW_EDGE_FEATURES;
    if (e->authenticated)
        take_lang(l, c);
    send_header(l, c, gw_jid_bare(&from));
    send_features(l, c);
    return GW_HANDLED;
}

/* ---- first-level elements ---- */

static enum gw_handled stanza(struct gw_lcore *l, gw_conn c, struct gw_bytes name)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    bool is_iq = gw_bytes_eq(name, GW_LIT("iq"));
    if (e->state != GW_EDGE_BOUND && !(e->state == GW_EDGE_READY && is_iq)) {
        gw_edge_stream_error(l, c, GW_STREAM_NOT_AUTHORIZED, NULL);
        return GW_HANDLED;
    }
    bool is_message = gw_bytes_eq(name, GW_LIT("message"));
    enum gw_handled done = is_iq        ? gw_edge_iq(l, c)
                           : is_message ? gw_edge_message(l, c)
                                        : gw_edge_presence(l, c);
    if (done == GW_HANDLED) { /* else it comes here again */
        GW_COUNT(l->edge_count.stanzas_in);
        GW_COUNT_ADD(l->edge_count.iqs_in, is_iq);
        GW_COUNT_ADD(l->edge_count.messages_in, is_message);
        GW_COUNT_ADD(l->edge_count.presences_in, !is_iq && !is_message);
    }
    return done;
}

static bool is_stanza_name(struct gw_bytes n)
{
    return gw_bytes_eq(n, GW_LIT("message")) || gw_bytes_eq(n, GW_LIT("iq")) ||
           gw_bytes_eq(n, GW_LIT("presence"));
}

static enum gw_handled element(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    const struct gw_xml_elem *root = &l->xml->nodes[0];
    if (gw_bytes_eq(root->ns, NS_CLIENT) && is_stanza_name(root->name)) {
        if (root->prefix.len == 0)
            return stanza(l, c, root->name);
        gw_edge_stream_error(l, c, GW_STREAM_BAD_NAMESPACE_PREFIX, NULL);
    } else if (gw_bytes_eq(root->ns, NS_SASL) && e->state == GW_EDGE_FEATURES) {
        return gw_edge_sasl(l, c);
    } else if (gw_bytes_eq(root->ns, NS_SM) && e->authenticated) {
        return gw_edge_sm(l, c);
    } else if (gw_bytes_eq(root->ns, NS_CSI) && e->authenticated) {
        return gw_edge_csi(l, c);
    } else if (gw_bytes_eq(root->ns, NS_STREAMS) && gw_bytes_eq(root->name, GW_LIT("error"))) {
        gw_edge_stream_close(l, c);
    } else if (is_stanza_name(root->name)) {
        gw_edge_stream_error(l, c, GW_STREAM_INVALID_NAMESPACE, NULL);
    } else {
        gw_edge_stream_error(l, c,
                             e->authenticated ? GW_STREAM_UNSUPPORTED_STANZA_TYPE
                                              : GW_STREAM_NOT_AUTHORIZED,
                             NULL);
    }
    return GW_HANDLED;
}

enum gw_handled gw_edge_unit(struct gw_lcore *l, gw_conn c)
{
    switch (l->xml->unit) {
    case GW_XML_STANZA:
        return element(l, c);
    case GW_XML_STREAM_CLOSE:
        gw_edge_stream_close(l, c);
        break;
    case GW_XML_SPACE:
    case GW_XML_STREAM_OPEN:
        break;
    }
    return GW_HANDLED;
}

/* ---- the end ---- */

static void count_error(struct gw_lcore *l, enum gw_stream_error e)
{
    switch (e) {
    case GW_STREAM_NOT_WELL_FORMED:
    case GW_STREAM_RESTRICTED_XML:
    case GW_STREAM_BAD_NAMESPACE_PREFIX:
    case GW_STREAM_BAD_FORMAT:
    case GW_STREAM_UNSUPPORTED_ENCODING:
    case GW_STREAM_INVALID_XML:
        GW_COUNT(l->edge_count.stream_errors_xml);
        break;
    case GW_STREAM_POLICY_VIOLATION:
    case GW_STREAM_NOT_AUTHORIZED:
        GW_COUNT(l->edge_count.stream_errors_policy);
        break;
    case GW_STREAM_CONNECTION_TIMEOUT:
        GW_COUNT(l->edge_count.stream_errors_timeout);
        break;
    default:
        GW_COUNT(l->edge_count.stream_errors_other);
        break;
    }
}

static void enter_closing(struct gw_lcore *l, gw_conn c, bool keep)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    gw_edge_detach(l, c, keep);
    e->state = GW_EDGE_CLOSING;
    e->waits_us = l->now_us;
    gw_edge_set_deadline(l, c);
    if (e->paused) { /* what still comes in is to be dropped, not kept */
        e->paused = 0;
        gw_edge_mark_dirty(l, c);
    }
}

/* What is nobody's fault, or ends only the connection, leaves a stream that can be resumed. */
static bool is_resumable_after(enum gw_stream_error err)
{
    return err == GW_STREAM_CONNECTION_TIMEOUT || err == GW_STREAM_SYSTEM_SHUTDOWN ||
           err == GW_STREAM_CONFLICT || err == GW_STREAM_RESOURCE_CONSTRAINT;
}

void gw_edge_stream_error(struct gw_lcore *l, gw_conn c, enum gw_stream_error err, const char *text)
{
    gw_edge_stream_error_with(l, c, err, text, NULL);
}

void gw_edge_stream_error_with(struct gw_lcore *l, gw_conn c, enum gw_stream_error err,
                               const char *text, const char *own_condition)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    char buf[512];
    if (e->state == GW_EDGE_CLOSING)
        return;
    count_error(l, err);
    if (!e->header_sent)
        send_header(l, c, gw_bytes(NULL, 0));
    struct gw_text t = gw_text(buf, sizeof(buf));
    gw_text_str(&t, "<stream:error><");
    gw_text_str(&t, gw_stream_error_name(err));
    gw_text_str(&t, " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>");
    if (text != NULL) {
        gw_text_str(&t, "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>");
        gw_text_str(&t, text);
        gw_text_str(&t, "</text>");
    }
    if (own_condition != NULL)
        gw_text_str(&t, own_condition);
    gw_text_str(&t, "</stream:error></stream:stream>");
    gw_edge_write(l, c, gw_text_bytes(&t));
    enter_closing(l, c, is_resumable_after(err));
    gw_edge_drop_held(l, c);
    gw_tcp_shutdown(l->tcp, c);
}

void gw_edge_stream_close(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (e->state == GW_EDGE_CLOSING)
        return;
    struct gw_bytes bye = e->header_sent ? GW_LIT("</stream:stream>") : gw_bytes(NULL, 0);
    enter_closing(l, c, false);
    gw_edge_answer_nonza(l, c, GW_ANSWER_LAST, bye);
}

void gw_edge_stream_lost(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (!e->resumable) {
        gw_edge_stream_close(l, c);
        return;
    }
    enter_closing(l, c, true);
    gw_edge_drop_held(l, c);
    gw_edge_answer_nonza(l, c, GW_ANSWER_LAST, GW_LIT("</stream:stream>"));
}
