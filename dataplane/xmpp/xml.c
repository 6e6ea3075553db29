/* SPDX-License-Identifier: Apache-2.0 */
#include "xml.h"

#include "../base/check.h"
#include "xml_chars.h"
#include "xml_scan.h"

#define XMLNS_URI GW_LIT("http://www.w3.org/2000/xmlns/")
#define XML_URI   GW_LIT("http://www.w3.org/XML/1998/namespace")
#define STREAMS_URI GW_LIT("http://etherx.jabber.org/streams")

const char *gw_xml_error_condition(enum gw_xml_error e)
{
    switch (e) {
#define X(upper, condition)                                                                        \
    case GW_XML_##upper:                                                                           \
        return condition;
        GW_XML_ERRORS(X)
#undef X
    case GW_XML_OK:
        break;
    }
    return "undefined-condition";
}

/* What is read, and why it did not go on. Functions take where they begin and return where they have come
 * to, or NULL: then rc is 0 when the input ended, -1 when x->error says what is wrong. */
struct cursor {
    struct gw_xml_input in;
    struct gw_xml *x;
    int rc;
};

__attribute__((cold)) static const uint8_t *fail(struct cursor *c, enum gw_xml_error e)
{
    c->x->error = e;
    c->rc = -1;
    return NULL;
}

static const uint8_t *more(struct cursor *c)
{
    c->rc = 0;
    return NULL;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static const uint8_t *skip_space(const struct cursor *c, const uint8_t *p)
{
    while (p < c->in.end && is_space(*p))
        p++;
    return p;
}

/* ---- characters ---- */

/* Characters that are not ASCII, as many as follow each other. Two and three bytes are most of all that is
 * written; what is rare or wrong is left to gw_utf8_take. */
static const uint8_t *take_wide(struct cursor *c, const uint8_t *p)
{
    while (p < c->in.end && *p >= 0x80) {
        uint32_t code = 0;
        int n;
        if (c->in.end - p >= 3 && p[0] >= 0xc2 && p[0] < 0xe0 && (p[1] & 0xc0) == 0x80) {
            p += 2;
            continue;
        }
        /* E1 to EC: every second byte is right, and all are characters of XML. */
        if (c->in.end - p >= 3 && p[0] > 0xe0 && p[0] < 0xed && (p[1] & 0xc0) == 0x80 &&
            (p[2] & 0xc0) == 0x80) {
            p += 3;
            continue;
        }
        n = gw_utf8_take(p, (size_t)(c->in.end - p), &code);
        if (n == 0)
            return more(c);
        if (n < 0 || !gw_xml_is_char(code))
            return fail(c, GW_XML_NOT_WELL_FORMED);
        p += n;
    }
    return p;
}

/* What is not plain: white space, or characters of several bytes. */
static const uint8_t *take_chars(struct cursor *c, const uint8_t *p)
{
    if (*p >= 0x80)
        return take_wide(c, p);
    return is_space(*p) || *p >= 0x20 ? p + 1 : fail(c, GW_XML_NOT_WELL_FORMED);
}

/* A reference: one of the predefined five, or a character. Everything else needs a DTD. */
static const uint8_t *take_reference(struct cursor *c, const uint8_t *p)
{
    uint32_t code;
    int n = gw_xml_reference(p, (size_t)(c->in.end - p), &code);
    if (n == 0)
        return more(c);
    if (n < 0)
        return fail(c, n == GW_XML_REFERENCE_UNKNOWN ? GW_XML_RESTRICTED : GW_XML_NOT_WELL_FORMED);
    return p + n;
}

/* ---- names ---- */

/* A name of any length and script. */
__attribute__((noinline)) static const uint8_t *take_any_ncname(struct cursor *c, const uint8_t *p,
                                                                struct gw_bytes *out)
{
    const uint8_t *start = p;
    while (p < c->in.end) {
        uint32_t code = *p;
        int n = 1;
        if (code >= 0x80) {
            n = gw_utf8_take(p, (size_t)(c->in.end - p), &code);
            if (n == 0)
                return more(c);
            if (n < 0)
                return fail(c, GW_XML_NOT_WELL_FORMED);
        }
        if (!(p == start ? gw_xml_is_name_start(code) : gw_xml_is_name(code)))
            break;
        p += n;
        if (p - start > GW_XML_NAME_BYTES_MAX)
            return fail(c, GW_XML_LIMIT);
    }
    if (p == c->in.end)
        return more(c);
    if (p == start)
        return fail(c, GW_XML_NOT_WELL_FORMED);
    *out = gw_bytes(start, (size_t)(p - start));
    return p;
}

static inline const uint8_t *take_ncname(struct cursor *c, const uint8_t *p, struct gw_bytes *out)
{
    if (p == c->in.end)
        return more(c);
    unsigned n = gw_xml_name_run(&c->in, p);
    /* Of these bytes letters and '_' may stand first, and they are those from 'A' on. */
    if (n - 1 >= 15 || *p < 'A' || p[n] >= 0x80)
        return take_any_ncname(c, p, out);
    *out = gw_bytes(p, n);
    return p + n;
}

static inline const uint8_t *take_qname(struct cursor *c, const uint8_t *p, struct gw_bytes *prefix,
                                        struct gw_bytes *name)
{
    *prefix = gw_bytes(NULL, 0);
    p = take_ncname(c, p, name);
    if (p == NULL || __builtin_expect(*p != ':', 1))
        return p;
    *prefix = *name;
    return take_ncname(c, p + 1, name);
}

/* ---- namespaces ---- */

/* Equal names: short ones that mostly differ in their first byte. */
static bool same(struct gw_bytes a, struct gw_bytes b)
{
    return a.len == b.len && (a.len == 0 || (*a.p == *b.p && memcmp(a.p, b.p, a.len) == 0));
}

static const struct gw_xml_binding *lookup(const struct gw_xml *x, struct gw_bytes prefix)
{
    for (unsigned i = x->binding_count; i-- > 0;)
        if (same(x->bindings[i].prefix, prefix))
            return &x->bindings[i];
    return NULL;
}

static bool bind(struct cursor *c, struct gw_bytes prefix, struct gw_bytes uri, uint16_t depth)
{
    struct gw_xml *x = c->x;
    if (gw_bytes_eq(prefix, GW_LIT("xmlns")) || gw_bytes_eq(uri, XMLNS_URI) ||
        gw_bytes_eq(prefix, GW_LIT("xml")) != gw_bytes_eq(uri, XML_URI) ||
        (prefix.len != 0 && uri.len == 0)) /* Namespaces in XML 1.0 cannot undeclare a prefix */
        return fail(c, GW_XML_NOT_WELL_FORMED) != NULL;
    if (x->binding_count == GW_XML_BINDINGS_MAX)
        return fail(c, GW_XML_LIMIT) != NULL;
    x->bindings[x->binding_count++] = (struct gw_xml_binding){prefix, uri, depth};
    return true;
}

static bool resolve_prefix(struct cursor *c, struct gw_bytes prefix, struct gw_bytes *ns)
{
    if (gw_bytes_eq(prefix, GW_LIT("xml"))) {
        *ns = XML_URI;
        return true;
    }
    const struct gw_xml_binding *b = lookup(c->x, prefix);
    if (b == NULL && prefix.len != 0)
        return fail(c, GW_XML_NOT_WELL_FORMED) != NULL;
    *ns = b ? b->uri : gw_bytes(NULL, 0);
    return true;
}

static bool declares(const struct gw_xml_attr *a)
{
    return a->prefix.len == 0 ? gw_bytes_eq(a->name, GW_LIT("xmlns"))
                              : gw_bytes_eq(a->prefix, GW_LIT("xmlns"));
}

static bool bind_declared(struct cursor *c, struct gw_xml_attr *attrs, unsigned n, uint16_t depth)
{
    for (struct gw_xml_attr *a = attrs; a < attrs + n; a++) {
        if (!declares(a))
            continue;
        /* A namespace name with references would have to be kept unescaped somewhere. */
        if (a->escaped)
            return fail(c, GW_XML_LIMIT) != NULL;
        a->ns = XMLNS_URI;
        if (!bind(c, a->prefix.len == 0 ? a->prefix : a->name, a->value, depth))
            return false;
    }
    return true;
}

/* Declarations of a start tag first, then its own and its attributes' names. */
static bool resolve(struct cursor *c, struct gw_xml_elem *e, uint16_t depth, bool has_declaration)
{
    struct gw_xml_attr *attrs = &c->x->attrs[e->attr_first];
    if (has_declaration && !bind_declared(c, attrs, e->attr_count, depth))
        return false;
    for (unsigned i = 0; i < e->attr_count; i++) {
        struct gw_xml_attr *a = &attrs[i];
        if (a->prefix.len != 0 && a->ns.len == 0 && !resolve_prefix(c, a->prefix, &a->ns))
            return false;
        for (unsigned k = 0; k < i; k++)
            if (same(a->name, attrs[k].name) && same(a->ns, attrs[k].ns))
                return fail(c, GW_XML_NOT_WELL_FORMED) != NULL;
    }
    return resolve_prefix(c, e->prefix, &e->ns);
}

/* ---- tags ---- */

static inline const uint8_t *take_attr_value(struct cursor *c, const uint8_t *p, struct gw_xml_attr *a)
{
    if (p == c->in.end)
        return more(c);
    uint8_t quote = *p;
    if (quote != '\'' && quote != '"')
        return fail(c, GW_XML_NOT_WELL_FORMED);
    const uint8_t *start = ++p;
    for (;;) {
        p = gw_xml_skip_plain(&c->in, p, (char)quote, '<', '&');
        if (p == c->in.end)
            return more(c);
        if (__builtin_expect(*p == quote, 1))
            break;
        if (*p == '<')
            return fail(c, GW_XML_NOT_WELL_FORMED);
        a->escaped |= *p == '&' || is_space(*p);
        p = *p == '&' ? take_reference(c, p) : take_chars(c, p);
        if (p == NULL)
            return NULL;
    }
    a->value = gw_bytes(start, (size_t)(p - start));
    return p + 1;
}

static inline const uint8_t *take_attr(struct cursor *c, const uint8_t *p, struct gw_xml_elem *e,
                                       bool *has_declaration)
{
    if (e->attr_count == GW_XML_NODE_ATTRS_MAX || c->x->attr_count == GW_XML_ATTRS_MAX)
        return fail(c, GW_XML_LIMIT);
    struct gw_xml_attr *a = &c->x->attrs[c->x->attr_count];
    *a = (struct gw_xml_attr){0};
    p = take_qname(c, p, &a->prefix, &a->name);
    if (p == NULL)
        return NULL;
    p = skip_space(c, p);
    if (p == c->in.end)
        return more(c);
    if (*p != '=')
        return fail(c, GW_XML_NOT_WELL_FORMED);
    p = take_attr_value(c, skip_space(c, p + 1), a);
    if (p == NULL)
        return NULL;
    *has_declaration |= declares(a);
    c->x->attr_count++;
    e->attr_count++;
    return p;
}

/* From behind '<' to behind '>'. *empty: it was an empty-element tag. */
static inline const uint8_t *take_start_tag(struct cursor *c, const uint8_t *p, struct gw_xml_elem *e,
                                            uint16_t depth, bool *empty)
{
    bool has_declaration = false;
    e->attr_first = (uint16_t)c->x->attr_count;
    e->attr_count = 0;
    p = take_qname(c, p, &e->prefix, &e->name);
    if (p == NULL)
        return NULL;
    for (;;) {
        const uint8_t *before = p;
        p = skip_space(c, p);
        if (p == c->in.end)
            return more(c);
        if (*p == '>')
            break;
        if (*p == '/') {
            if (p + 1 == c->in.end)
                return more(c);
            if (*++p != '>')
                return fail(c, GW_XML_NOT_WELL_FORMED);
            *empty = true;
            break;
        }
        if (p == before)
            return fail(c, GW_XML_NOT_WELL_FORMED);
        p = take_attr(c, p, e, &has_declaration);
        if (p == NULL)
            return NULL;
    }
    return resolve(c, e, depth, has_declaration) ? p + 1 : NULL;
}

/* From behind "</", any spelling of it. */
static const uint8_t *take_any_end_tag(struct cursor *c, const uint8_t *p, const struct gw_xml_elem *e)
{
    struct gw_bytes prefix, name;
    p = take_qname(c, p, &prefix, &name);
    if (p == NULL)
        return NULL;
    p = skip_space(c, p);
    if (p == c->in.end)
        return more(c);
    if (*p != '>' || !gw_bytes_eq(name, e->name) || !gw_bytes_eq(prefix, e->prefix))
        return fail(c, GW_XML_NOT_WELL_FORMED);
    return p + 1;
}

/* The same; mostly it is the start tag's name, byte by byte, and '>'. */
static inline const uint8_t *take_end_tag(struct cursor *c, const uint8_t *p, const struct gw_xml_elem *e)
{
    size_t n = e->name.len;
    if (e->prefix.len != 0 || n > 15 || c->in.end - p < 16)
        return take_any_end_tag(c, p, e);
    /* Both lie in front of the end, so sixteen bytes of each may be read. */
    __m128i differ = _mm_xor_si128(_mm_loadu_si128((const __m128i *)p),
                                   _mm_loadu_si128((const __m128i *)e->name.p));
    unsigned equal = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(differ, _mm_setzero_si128()));
    unsigned wanted = (1u << n) - 1;
    if ((equal & wanted) != wanted || p[n] != '>')
        return take_any_end_tag(c, p, e);
    return p + n + 1;
}

/* ---- content ---- */

/* Behind "<![CDATA[": to behind "]]>". */
static const uint8_t *take_cdata(struct cursor *c, const uint8_t *p)
{
    for (;;) {
        p = gw_xml_skip_plain(&c->in, p, ']', ']', ']');
        if (p == c->in.end)
            return more(c);
        if (*p == ']') {
            if (c->in.end - p < 3)
                return more(c);
            if (p[1] == ']' && p[2] == '>')
                return p + 3;
            p++;
            continue;
        }
        p = take_chars(c, p);
        if (p == NULL)
            return NULL;
    }
}

/* "<!" or "<?": CDATA is the only one that XMPP allows. */
static const uint8_t *take_declaration(struct cursor *c, const uint8_t *p)
{
    static const char open[] = "<![CDATA[";
    size_t have = (size_t)(c->in.end - p), want = sizeof(open) - 1;
    size_t n = have < want ? have : want;
    if (memcmp(p, open, n) != 0)
        return fail(c, GW_XML_RESTRICTED);
    if (n < want)
        return more(c);
    return take_cdata(c, p + want);
}

/* Character data up to the next '<'. */
static inline const uint8_t *take_text(struct cursor *c, const uint8_t *p, struct gw_xml_elem *e)
{
    for (;;) {
        p = gw_xml_skip_plain(&c->in, p, '<', '&', '>');
        if (p == c->in.end)
            return more(c);
        if (__builtin_expect(*p == '<', 1))
            return p;
        if (*p == '>') {
            /* "]]>" must not stand in character data: XML 1.0 section 2.4. */
            if (p - e->content.p >= 2 && p[-1] == ']' && p[-2] == ']')
                return fail(c, GW_XML_NOT_WELL_FORMED);
            p++;
            continue;
        }
        if (*p == '&' || *p == '\r')
            e->plain_text = false;
        p = *p == '&' ? take_reference(c, p) : take_chars(c, p);
        if (p == NULL)
            return NULL;
    }
}

static struct gw_xml_elem *add_node(struct cursor *c, const uint8_t *p, gw_xml_node parent)
{
    if (c->x->node_count == GW_XML_NODES_MAX) {
        fail(c, GW_XML_LIMIT);
        return NULL;
    }
    struct gw_xml_elem *e = &c->x->nodes[c->x->node_count++];
    *e = (struct gw_xml_elem){.parent = parent, .plain_text = true};
    e->raw.p = p;
    return e;
}

static void drop_bindings(struct gw_xml *x, uint16_t depth)
{
    while (x->binding_count > 0 && x->bindings[x->binding_count - 1].depth >= depth)
        x->binding_count--;
}

static void close_node(struct cursor *c, struct gw_xml_elem *e, const uint8_t *content_end,
                       const uint8_t *end)
{
    e->content.len = (size_t)(content_end - e->content.p);
    e->raw.len = (size_t)(end - e->raw.p);
    e->after = (gw_xml_node)c->x->node_count;
}

/* A stream inside a stream, or inside a stanza, for somebody else's parser to take for one. */
static inline bool is_nested_stream(const struct gw_xml_elem *e)
{
    return same(e->name, GW_LIT("stream")) && gw_bytes_eq(e->ns, STREAMS_URI);
}

/* A start tag inside the unit: *open becomes the new node, unless the tag was an empty one. */
static inline const uint8_t *open_node(struct cursor *c, const uint8_t *p, gw_xml_node *open,
                                       uint16_t *depth)
{
    struct gw_xml_elem *e = add_node(c, p, *open);
    bool empty = false;
    if (e == NULL)
        return NULL;
    if (*depth == GW_XML_DEPTH_MAX)
        return fail(c, GW_XML_LIMIT);
    p = take_start_tag(c, p + 1, e, (uint16_t)(*depth + 1), &empty);
    if (p == NULL)
        return NULL;
    if (is_nested_stream(e))
        return fail(c, GW_XML_BAD_FORMAT);
    e->content.p = p;
    if (empty) {
        close_node(c, e, p, p);
        drop_bindings(c->x, (uint16_t)(*depth + 1));
        return p;
    }
    *open = (gw_xml_node)(e - c->x->nodes);
    (*depth)++;
    return p;
}

static inline const uint8_t *shut_node(struct cursor *c, const uint8_t *p, gw_xml_node *open,
                                       uint16_t *depth)
{
    struct gw_xml_elem *e = &c->x->nodes[*open];
    const uint8_t *content_end = p;
    p = take_end_tag(c, p + 2, e);
    if (p == NULL)
        return NULL;
    close_node(c, e, content_end, p);
    drop_bindings(c->x, *depth);
    *open = e->parent;
    (*depth)--;
    return p;
}

/* At '<' of a first-level element: the whole of it. */
static const uint8_t *take_element(struct cursor *c, const uint8_t *p)
{
    gw_xml_node open = GW_XML_NONE;
    uint16_t depth = 0;
    do {
        if (c->in.end - p < 2)
            return more(c);
        if (p[1] == '/' && open != GW_XML_NONE) {
            p = shut_node(c, p, &open, &depth);
        } else if (p[1] == '!' || p[1] == '?') {
            if (open == GW_XML_NONE)
                return fail(c, GW_XML_RESTRICTED);
            c->x->nodes[open].plain_text = false;
            p = take_declaration(c, p);
        } else {
            if (open != GW_XML_NONE)
                c->x->nodes[open].plain_text = false;
            p = open_node(c, p, &open, &depth);
        }
        if (p != NULL && open != GW_XML_NONE)
            p = take_text(c, p, &c->x->nodes[open]);
        if (p == NULL)
            return NULL;
    } while (open != GW_XML_NONE);
    return p;
}

/* ---- units ---- */

/* <?xml ...?> before the header: version 1.x, and no encoding but UTF-8 (RFC 6120 section 11.6). */
static const uint8_t *take_xml_declaration(struct cursor *c, const uint8_t *p)
{
    static const char open[] = "<?xml";
    size_t have = (size_t)(c->in.end - p);
    if (have < sizeof(open) - 1)
        return memcmp(p, open, have) == 0 ? more(c) : p;
    if (memcmp(p, open, sizeof(open) - 1) != 0)
        return p;
    const uint8_t *stop = memchr(p, '>', have);
    if (stop == NULL)
        return have > 256 ? fail(c, GW_XML_NOT_WELL_FORMED) : more(c);
    enum gw_xml_error error;
    if (!gw_xml_declaration_ok(gw_bytes(p, (size_t)(stop - p)), &error))
        return fail(c, error);
    return skip_space(c, stop + 1);
}

static const uint8_t *take_header(struct cursor *c, const uint8_t *p)
{
    p = take_xml_declaration(c, p);
    if (p == NULL)
        return NULL;
    if (c->in.end - p < 2)
        return p < c->in.end && *p != '<' ? fail(c, GW_XML_NOT_WELL_FORMED) : more(c);
    if (*p != '<' || p[1] == '/')
        return fail(c, GW_XML_NOT_WELL_FORMED);
    if (p[1] == '!' || p[1] == '?')
        return fail(c, GW_XML_RESTRICTED);
    struct gw_xml_elem *e = add_node(c, p, GW_XML_NONE);
    bool empty = false;
    p = take_start_tag(c, p + 1, e, 1, &empty);
    if (p == NULL)
        return NULL;
    if (empty)
        return fail(c, GW_XML_NOT_WELL_FORMED);
    e->content.p = p;
    close_node(c, e, p, p);
    c->x->unit = GW_XML_STREAM_OPEN;
    return p;
}

static const uint8_t *take_stream_close(struct cursor *c, const uint8_t *p)
{
    static const struct gw_xml_elem stream = {.name = {(const uint8_t *)"stream", 6},
                                              .prefix = {(const uint8_t *)"stream", 6}};
    c->x->unit = GW_XML_STREAM_CLOSE;
    return take_any_end_tag(c, p + 2, &stream);
}

/* What the header bound: Godwit's streams have these two (RFC 6120 section 4.8). */
static void bind_stream(struct gw_xml *x)
{
    x->bindings[0] = (struct gw_xml_binding){gw_bytes(NULL, 0), GW_LIT("jabber:client"), 0};
    x->bindings[1] = (struct gw_xml_binding){GW_LIT("stream"),
                                             GW_LIT("http://etherx.jabber.org/streams"), 0};
    x->binding_count = 2;
}

static const uint8_t *take_unit(struct cursor *c, const uint8_t *p, bool in_stream)
{
    if (!in_stream)
        return take_header(c, p);
    if (*p != '<')
        return fail(c, GW_XML_BAD_FORMAT);
    if (c->in.end - p >= 2 && p[1] == '/')
        return take_stream_close(c, p);
    bind_stream(c->x);
    c->x->unit = GW_XML_STANZA;
    return take_element(c, p);
}

int gw_xml_parse(struct gw_xml *x, const uint8_t *buf, size_t len, bool in_stream)
{
    struct cursor c = {.in = {buf, buf + len}, .x = x};
    x->error = GW_XML_OK;
    x->node_count = x->attr_count = x->binding_count = 0;
    const uint8_t *p = skip_space(&c, buf);
    if (p == c.in.end)
        x->unit = GW_XML_SPACE;
    else
        p = take_unit(&c, p, in_stream);
    if (p == NULL)
        return c.rc;
    x->consumed = (size_t)(p - buf);
    return len > 0;
}

/* ---- reading the tree ---- */

gw_xml_node gw_xml_child(const struct gw_xml *x, gw_xml_node n)
{
    gw_xml_node next = (gw_xml_node)(n + 1);
    return next < x->nodes[n].after ? next : GW_XML_NONE;
}

gw_xml_node gw_xml_next(const struct gw_xml *x, gw_xml_node n)
{
    gw_xml_node parent = x->nodes[n].parent, after = x->nodes[n].after;
    return parent != GW_XML_NONE && after < x->nodes[parent].after ? after : GW_XML_NONE;
}

gw_xml_node gw_xml_find(const struct gw_xml *x, gw_xml_node parent, struct gw_bytes name,
                        struct gw_bytes ns)
{
    gw_xml_node n = gw_xml_child(x, parent);
    while (n != GW_XML_NONE && !gw_xml_is(x, n, name, ns))
        n = gw_xml_next(x, n);
    return n;
}

const struct gw_xml_attr *gw_xml_attr(const struct gw_xml *x, gw_xml_node n, struct gw_bytes name)
{
    const struct gw_xml_elem *e = &x->nodes[n];
    for (unsigned i = 0; i < e->attr_count; i++) {
        const struct gw_xml_attr *a = &x->attrs[e->attr_first + i];
        if (a->prefix.len == 0 && gw_bytes_eq(a->name, name))
            return a;
    }
    return NULL;
}

static int copy(struct gw_bytes b, char *out, size_t cap)
{
    if (b.len > cap)
        return -1;
    memcpy(out, b.p, b.len);
    return (int)b.len;
}

int gw_xml_attr_text(const struct gw_xml *x, gw_xml_node n, struct gw_bytes name, char *out,
                     size_t cap)
{
    const struct gw_xml_attr *a = gw_xml_attr(x, n, name);
    if (a == NULL)
        return -1;
    return a->escaped ? gw_xml_unescape(a->value, true, out, cap) : copy(a->value, out, cap);
}

int gw_xml_text(const struct gw_xml *x, gw_xml_node n, char *out, size_t cap)
{
    if (gw_xml_child(x, n) != GW_XML_NONE)
        return -1;
    return gw_xml_unescape(x->nodes[n].content, false, out, cap);
}
