/* SPDX-License-Identifier: Apache-2.0 */
#include "quick.h"

#include <stdbool.h>
#include <string.h>

#define ELEMENTS_MAX   64
#define ATTRIBUTES_MAX 128
#define DEPTH_MAX      16
#define NS_CLIENT      "jabber:client"

struct quick {
    char *at, *end; /* *end is NUL, which is nowhere else in XML */
    unsigned element_count, attribute_count;
    struct element elements[ELEMENTS_MAX];
    struct attribute attributes[ATTRIBUTES_MAX];
};

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

/* What stops us at *at: the end of what there is so far, or something unknown. */
static int stopped(const struct quick *q)
{
    return q->at >= q->end ? 0 : -1;
}

static void skip_space(struct quick *q)
{
    while (is_space(*q->at))
        q->at++;
}

static char *skip_name(struct quick *q)
{
    char *name = q->at;
    while (is_name(*q->at))
        q->at++;
    return name;
}

/* ---- character data ---- */

static const struct {
    const char *text;
    size_t len;
    char is;
} entities[] = {
    {"&amp;", 5, '&'}, {"&lt;", 4, '<'}, {"&gt;", 4, '>'}, {"&apos;", 6, '\''}, {"&quot;", 6, '"'},
};

/* Replaces the entities of text[len], which becomes a string. False: one is unknown. */
static bool unescape(char *text, size_t len)
{
    char *from = memchr(text, '&', len), *end = text + len, *to = from;
    *end = '\0';
    while (from != NULL && from < end) {
        size_t e = 0, n = sizeof(entities) / sizeof(*entities);
        while (e < n && strncmp(from, entities[e].text, entities[e].len) != 0)
            e++;
        if (e == n)
            return false;
        *to++ = entities[e].is;
        from += entities[e].len;
        char *next = memchr(from, '&', (size_t)(end - from));
        size_t plain = (size_t)((next != NULL ? next : end) - from);
        memmove(to, from, plain);
        to += plain;
        from += plain;
        *to = '\0';
    }
    return true;
}

/* ---- tags ---- */

static int read_attribute(struct quick *q, struct element *e)
{
    char *name = skip_name(q), *name_end = q->at;
    if (name == name_end || *q->at != '=')
        return stopped(q);
    char quote = *++q->at;
    if (quote != '\'' && quote != '"')
        return stopped(q);
    char *value = ++q->at;
    char *value_end = memchr(value, quote, (size_t)(q->end - value));
    if (value_end == NULL)
        return 0;
    q->at = value_end + 1;
    *name_end = '\0';
    if (!unescape(value, (size_t)(value_end - value)))
        return -1;
    if (strcmp(name, "xmlns") == 0) {
        e->space = value;
        return 1;
    }
    if (q->attribute_count == ATTRIBUTES_MAX)
        return -1;
    q->attributes[q->attribute_count++] = (struct attribute){name, value};
    e->attribute_count++;
    return 1;
}

/* A start tag from behind its '<' on. 1, or 2 when it is an end tag as well. */
static int read_start(struct quick *q, struct element *e, const char *space)
{
    *e = (struct element){
        .space = space, .text = "", .attributes = q->attributes + q->attribute_count};
    e->name = skip_name(q);
    char *name_end = q->at;
    if (e->name == name_end)
        return stopped(q);
    for (;;) {
        skip_space(q);
        if (*q->at == '>' || *q->at == '/')
            break;
        int read = read_attribute(q, e);
        if (read <= 0)
            return read;
    }
    bool empty = *q->at++ == '/';
    if (empty && *q->at++ != '>') {
        q->at--;
        return stopped(q);
    }
    *name_end = '\0';
    return empty ? 2 : 1;
}

/* From behind "</" on. */
static int read_end(struct quick *q, const struct element *e)
{
    size_t len = strlen(e->name);
    char *name = skip_name(q);
    bool same = (size_t)(q->at - name) == len && memcmp(name, e->name, len) == 0;
    skip_space(q);
    if (*q->at != '>')
        return stopped(q);
    q->at++;
    return same ? 1 : -1;
}

/* Character data up to the next '<', which q->at is behind of then. */
static int read_text(struct quick *q, struct element *e)
{
    char *text = q->at, *end = memchr(text, '<', (size_t)(q->end - text));
    if (end == NULL)
        return 0;
    q->at = end + 1;
    if (end == text)
        return 1;
    if (*e->text != '\0' || !unescape(text, (size_t)(end - text)))
        return -1; /* in pieces */
    e->text = text;
    return 1;
}

static int read_element(struct quick *q, struct element **out, const char *space, int depth)
{
    if (q->element_count == ELEMENTS_MAX || depth == DEPTH_MAX)
        return -1;
    struct element *e = *out = &q->elements[q->element_count++], **link = NULL;
    int read = read_start(q, e, space);
    if (read != 1)
        return read == 2 ? 1 : read;
    link = (struct element **)&e->first_child;
    for (;;) {
        read = read_text(q, e);
        if (read <= 0)
            return read;
        if (*q->at == '/') {
            q->at++;
            return read_end(q, e);
        }
        struct element *child;
        read = read_element(q, &child, e->space, depth + 1);
        if (read <= 0)
            return read;
        *link = child;
        link = (struct element **)&child->next;
    }
}

int quick_parse(char *text, size_t len, struct element **stanza, size_t *used)
{
    static struct quick q;
    q.at = text;
    q.end = text + len;
    q.element_count = q.attribute_count = 0;
    *stanza = NULL;
    skip_space(&q);
    *used = (size_t)(q.at - text);
    if (q.at == q.end)
        return 1;
    if (*q.at++ != '<')
        return -1;
    int read = read_element(&q, stanza, NS_CLIENT, 0);
    *used = (size_t)(q.at - text);
    return read;
}

/* ---- one form of all stanzas ---- */

struct span {
    const char *at, *end;
    bool cut; /* it ended where more was needed */
};

/* Exactly these bytes. */
static bool take(struct span *s, struct gw_bytes what)
{
    size_t there = (size_t)(s->end - s->at), n = there < what.len ? there : what.len;
    if (memcmp(s->at, what.p, n) != 0)
        return false;
    s->cut = n < what.len;
    s->at += n;
    return !s->cut;
}

/* Whatever comes up to `stop`, which is left behind, unless it has to be unescaped. */
static bool take_until(struct span *s, char stop, struct gw_bytes *out)
{
    const char *end = memchr(s->at, stop, (size_t)(s->end - s->at));
    s->cut = end == NULL;
    if (s->cut)
        return false;
    *out = gw_bytes(s->at, (size_t)(end - s->at));
    s->at = end + 1;
    return memchr(out->p, '&', out->len) == NULL;
}

static bool take_value(struct span *s, struct gw_bytes before, struct gw_bytes *out)
{
    return take(s, before) && take_until(s, '\'', out);
}

static bool take_chat(struct span *s, struct quick_chat *c)
{
    struct gw_bytes unused;
    return take_value(s, GW_LIT("<message from='"), &c->from) &&
           take_value(s, GW_LIT(" to='"), &unused) &&
           take_value(s, GW_LIT(" type='chat' id='"), &unused) && take(s, GW_LIT("><body>")) &&
           take_until(s, '<', &c->body) &&
           take_value(s, GW_LIT("/body><stanza-id xmlns='urn:xmpp:sid:0' by='"), &unused) &&
           take_value(s, GW_LIT(" id='"), &c->stanza_id) && take(s, GW_LIT("/>"));
}

static bool take_delay(struct span *s)
{
    struct gw_bytes stamp;
    return take_value(s, GW_LIT("<delay xmlns='urn:xmpp:delay' stamp='"), &stamp) &&
           take(s, GW_LIT("/>"));
}

int quick_chat(const char *text, size_t len, struct quick_chat *chat, size_t *used)
{
    struct span s = {.at = text, .end = text + len};
    bool whole = take_chat(&s, chat);
    if (whole && s.end - s.at > 1 && s.at[1] == 'd')
        whole = take_delay(&s);
    whole = whole && take(&s, GW_LIT("</message>"));
    *used = (size_t)(s.at - text);
    return whole ? 1 : s.cut ? 0 : -1;
}
