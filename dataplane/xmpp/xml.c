/* SPDX-License-Identifier: Apache-2.0 */
#include "xml.h"

#include <emmintrin.h>

#include "../base/check.h"
#include "xml_chars.h"

#define XMLNS_URI GW_LIT("http://www.w3.org/2000/xmlns/")
#define XML_URI   GW_LIT("http://www.w3.org/XML/1998/namespace")

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

/* Where the parser stands. Functions return 1 done, 0 input ended, -1 error noted. */
struct cursor {
    struct gw_xml *x;
    const uint8_t *p, *end;
};

static int fail(struct cursor *c, enum gw_xml_error e)
{
    c->x->error = e;
    return -1;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void skip_space(struct cursor *c)
{
    while (c->p < c->end && is_space(*c->p))
        c->p++;
}

/* First byte that is a control, not ASCII, or one of a, b, d. Signed comparison catches both ends. */
static const uint8_t *skip_plain(const uint8_t *p, const uint8_t *end, char a, char b, char d)
{
    const __m128i low = _mm_set1_epi8(0x20), va = _mm_set1_epi8(a), vb = _mm_set1_epi8(b),
                  vd = _mm_set1_epi8(d);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)p);
        __m128i stop = _mm_or_si128(_mm_or_si128(_mm_cmplt_epi8(v, low), _mm_cmpeq_epi8(v, va)),
                                    _mm_or_si128(_mm_cmpeq_epi8(v, vb), _mm_cmpeq_epi8(v, vd)));
        int mask = _mm_movemask_epi8(stop);
        if (mask != 0)
            return p + __builtin_ctz((unsigned)mask);
        p += 16;
    }
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != (uint8_t)a && *p != (uint8_t)b &&
           *p != (uint8_t)d)
        p++;
    return p;
}

/* One character that is not plain: white space or a multi-byte one. */
static int take_char(struct cursor *c)
{
    uint32_t code;
    if (*c->p < 0x80) {
        if (!gw_xml_is_char(*c->p))
            return fail(c, GW_XML_NOT_WELL_FORMED);
        c->p++;
        return 1;
    }
    int n = gw_utf8_take(c->p, (size_t)(c->end - c->p), &code);
    if (n == 0)
        return 0;
    if (n < 0 || !gw_xml_is_char(code))
        return fail(c, GW_XML_NOT_WELL_FORMED);
    c->p += n;
    return 1;
}

/* A reference: one of the predefined five, or a character. Everything else needs a DTD. */
static int take_reference(struct cursor *c)
{
    uint32_t code;
    int n = gw_xml_reference(c->p, (size_t)(c->end - c->p), &code);
    if (n == 0)
        return 0;
    if (n == GW_XML_REFERENCE_UNKNOWN)
        return fail(c, GW_XML_RESTRICTED);
    if (n < 0)
        return fail(c, GW_XML_NOT_WELL_FORMED);
    c->p += n;
    return 1;
}

/* ---- names ---- */

static int take_ncname(struct cursor *c, struct gw_bytes *out)
{
    const uint8_t *start = c->p;
    while (c->p < c->end) {
        uint32_t code = *c->p;
        int n = 1;
        if (code >= 0x80) {
            n = gw_utf8_take(c->p, (size_t)(c->end - c->p), &code);
            if (n == 0)
                return 0;
            if (n < 0)
                return fail(c, GW_XML_NOT_WELL_FORMED);
        }
        if (!(c->p == start ? gw_xml_is_name_start(code) : gw_xml_is_name(code)))
            break;
        c->p += n;
        if (c->p - start > GW_XML_NAME_BYTES_MAX)
            return fail(c, GW_XML_LIMIT);
    }
    if (c->p == c->end)
        return 0;
    if (c->p == start)
        return fail(c, GW_XML_NOT_WELL_FORMED);
    *out = gw_bytes(start, (size_t)(c->p - start));
    return 1;
}

static int take_qname(struct cursor *c, struct gw_bytes *prefix, struct gw_bytes *name)
{
    *prefix = gw_bytes(NULL, 0);
    int rc = take_ncname(c, name);
    if (rc <= 0 || *c->p != ':')
        return rc;
    c->p++;
    *prefix = *name;
    return take_ncname(c, name);
}

/* ---- namespaces ---- */

static const struct gw_xml_binding *lookup(const struct gw_xml *x, struct gw_bytes prefix)
{
    for (unsigned i = x->binding_count; i-- > 0;)
        if (gw_bytes_eq(x->bindings[i].prefix, prefix))
            return &x->bindings[i];
    return NULL;
}

static int bind(struct cursor *c, struct gw_bytes prefix, struct gw_bytes uri, uint16_t depth)
{
    struct gw_xml *x = c->x;
    if (gw_bytes_eq(prefix, GW_LIT("xmlns")) || gw_bytes_eq(uri, XMLNS_URI) ||
        gw_bytes_eq(prefix, GW_LIT("xml")) != gw_bytes_eq(uri, XML_URI) ||
        (prefix.len != 0 && uri.len == 0)) /* Namespaces in XML 1.0 cannot undeclare a prefix */
        return fail(c, GW_XML_NOT_WELL_FORMED);
    if (x->binding_count == GW_XML_BINDINGS_MAX)
        return fail(c, GW_XML_LIMIT);
    x->bindings[x->binding_count++] = (struct gw_xml_binding){prefix, uri, depth};
    return 1;
}

static int resolve_prefix(struct cursor *c, struct gw_bytes prefix, struct gw_bytes *ns)
{
    if (gw_bytes_eq(prefix, GW_LIT("xml"))) {
        *ns = XML_URI;
        return 1;
    }
    const struct gw_xml_binding *b = lookup(c->x, prefix);
    if (b == NULL && prefix.len != 0)
        return fail(c, GW_XML_NOT_WELL_FORMED);
    *ns = b ? b->uri : gw_bytes(NULL, 0);
    return 1;
}

/* Declarations of a start tag first, then its own and its attributes' names. */
static int resolve(struct cursor *c, struct gw_xml_elem *e, uint16_t depth)
{
    struct gw_xml_attr *attrs = &c->x->attrs[e->attr_first];
    for (unsigned i = 0; i < e->attr_count; i++) {
        struct gw_xml_attr *a = &attrs[i];
        bool is_default = a->prefix.len == 0 && gw_bytes_eq(a->name, GW_LIT("xmlns"));
        if (!is_default && !gw_bytes_eq(a->prefix, GW_LIT("xmlns")))
            continue;
        /* A namespace name with references would have to be kept unescaped somewhere. */
        if (a->escaped)
            return fail(c, GW_XML_LIMIT);
        a->ns = XMLNS_URI;
        if (bind(c, is_default ? gw_bytes(NULL, 0) : a->name, a->value, depth) < 0)
            return -1;
    }
    for (unsigned i = 0; i < e->attr_count; i++) {
        struct gw_xml_attr *a = &attrs[i];
        if (a->prefix.len != 0 && a->ns.len == 0 && resolve_prefix(c, a->prefix, &a->ns) < 0)
            return -1;
        for (unsigned k = 0; k < i; k++)
            if (gw_bytes_eq(a->name, attrs[k].name) && gw_bytes_eq(a->ns, attrs[k].ns))
                return fail(c, GW_XML_NOT_WELL_FORMED);
    }
    return resolve_prefix(c, e->prefix, &e->ns);
}

/* ---- tags ---- */

static int take_attr_value(struct cursor *c, struct gw_xml_attr *a)
{
    if (c->p == c->end)
        return 0;
    uint8_t quote = *c->p;
    if (quote != '\'' && quote != '"')
        return fail(c, GW_XML_NOT_WELL_FORMED);
    const uint8_t *start = ++c->p;
    for (;;) {
        c->p = skip_plain(c->p, c->end, (char)quote, '<', '&');
        if (c->p == c->end)
            return 0;
        if (*c->p == quote)
            break;
        if (*c->p == '<')
            return fail(c, GW_XML_NOT_WELL_FORMED);
        a->escaped |= *c->p == '&' || is_space(*c->p);
        int rc = *c->p == '&' ? take_reference(c) : take_char(c);
        if (rc <= 0)
            return rc;
    }
    a->value = gw_bytes(start, (size_t)(c->p - start));
    c->p++;
    return 1;
}

static int take_attr(struct cursor *c, struct gw_xml_elem *e)
{
    if (e->attr_count == GW_XML_NODE_ATTRS_MAX || c->x->attr_count == GW_XML_ATTRS_MAX)
        return fail(c, GW_XML_LIMIT);
    struct gw_xml_attr *a = &c->x->attrs[c->x->attr_count];
    *a = (struct gw_xml_attr){0};
    int rc = take_qname(c, &a->prefix, &a->name);
    if (rc <= 0)
        return rc;
    skip_space(c);
    if (c->p == c->end)
        return 0;
    if (*c->p++ != '=')
        return fail(c, GW_XML_NOT_WELL_FORMED);
    skip_space(c);
    rc = take_attr_value(c, a);
    if (rc > 0) {
        c->x->attr_count++;
        e->attr_count++;
    }
    return rc;
}

/* From behind '<' to behind '>'. *empty: it was an empty-element tag. */
static int take_start_tag(struct cursor *c, struct gw_xml_elem *e, uint16_t depth, bool *empty)
{
    e->attr_first = (uint16_t)c->x->attr_count;
    e->attr_count = 0;
    int rc = take_qname(c, &e->prefix, &e->name);
    if (rc <= 0)
        return rc;
    for (;;) {
        const uint8_t *before = c->p;
        skip_space(c);
        if (c->p == c->end)
            return 0;
        if (*c->p == '>')
            break;
        if (*c->p == '/') {
            if (c->p + 1 == c->end)
                return 0;
            if (*++c->p != '>')
                return fail(c, GW_XML_NOT_WELL_FORMED);
            *empty = true;
            break;
        }
        if (c->p == before)
            return fail(c, GW_XML_NOT_WELL_FORMED);
        if ((rc = take_attr(c, e)) <= 0)
            return rc;
    }
    c->p++;
    return resolve(c, e, depth);
}

static int take_end_tag(struct cursor *c, const struct gw_xml_elem *e)
{
    struct gw_bytes prefix, name;
    int rc = take_qname(c, &prefix, &name);
    if (rc <= 0)
        return rc;
    skip_space(c);
    if (c->p == c->end)
        return 0;
    if (*c->p != '>' || !gw_bytes_eq(name, e->name) || !gw_bytes_eq(prefix, e->prefix))
        return fail(c, GW_XML_NOT_WELL_FORMED);
    c->p++;
    return 1;
}

/* ---- content ---- */

/* Behind "<![CDATA[": to behind "]]>". */
static int take_cdata(struct cursor *c)
{
    for (;;) {
        c->p = skip_plain(c->p, c->end, ']', ']', ']');
        if (c->p == c->end)
            return 0;
        if (*c->p == ']') {
            if (c->end - c->p < 3)
                return 0;
            if (c->p[1] == ']' && c->p[2] == '>') {
                c->p += 3;
                return 1;
            }
            c->p++;
            continue;
        }
        int rc = take_char(c);
        if (rc <= 0)
            return rc;
    }
}

/* "<!" or "<?": CDATA is the only one that XMPP allows. */
static int take_declaration(struct cursor *c)
{
    static const char open[] = "<![CDATA[";
    size_t have = (size_t)(c->end - c->p), want = sizeof(open) - 1;
    size_t n = have < want ? have : want;
    if (memcmp(c->p, open, n) != 0)
        return fail(c, GW_XML_RESTRICTED);
    if (n < want)
        return 0;
    c->p += want;
    return take_cdata(c);
}

/* Character data up to the next '<'. */
static int take_text(struct cursor *c, struct gw_xml_elem *e)
{
    for (;;) {
        c->p = skip_plain(c->p, c->end, '<', '&', '>');
        if (c->p == c->end)
            return 0;
        if (*c->p == '<')
            return 1;
        if (*c->p == '>') {
            /* "]]>" must not stand in character data: XML 1.0 section 2.4. */
            if (c->p - e->content.p >= 2 && c->p[-1] == ']' && c->p[-2] == ']')
                return fail(c, GW_XML_NOT_WELL_FORMED);
            c->p++;
            continue;
        }
        if (*c->p == '&' || *c->p == '\r')
            e->plain_text = false;
        int rc = *c->p == '&' ? take_reference(c) : take_char(c);
        if (rc <= 0)
            return rc;
    }
}

static struct gw_xml_elem *add_node(struct cursor *c, gw_xml_node parent)
{
    if (c->x->node_count == GW_XML_NODES_MAX) {
        fail(c, GW_XML_LIMIT);
        return NULL;
    }
    struct gw_xml_elem *e = &c->x->nodes[c->x->node_count++];
    *e = (struct gw_xml_elem){.parent = parent, .plain_text = true};
    e->raw.p = c->p;
    return e;
}

static void drop_bindings(struct gw_xml *x, uint16_t depth)
{
    while (x->binding_count > 0 && x->bindings[x->binding_count - 1].depth >= depth)
        x->binding_count--;
}

static void close_node(struct cursor *c, struct gw_xml_elem *e, const uint8_t *content_end)
{
    e->content.len = (size_t)(content_end - e->content.p);
    e->raw.len = (size_t)(c->p - e->raw.p);
    e->after = (gw_xml_node)c->x->node_count;
}

/* A start tag inside the unit: *open becomes the new node, unless the tag was an empty one. */
static int open_node(struct cursor *c, gw_xml_node *open, uint16_t *depth)
{
    struct gw_xml_elem *e = add_node(c, *open);
    bool empty = false;
    if (e == NULL)
        return -1;
    if (*depth == GW_XML_DEPTH_MAX)
        return fail(c, GW_XML_LIMIT);
    c->p++;
    int rc = take_start_tag(c, e, (uint16_t)(*depth + 1), &empty);
    if (rc <= 0)
        return rc;
    e->content.p = c->p;
    if (empty) {
        close_node(c, e, c->p);
        drop_bindings(c->x, (uint16_t)(*depth + 1));
        return 1;
    }
    *open = (gw_xml_node)(e - c->x->nodes);
    (*depth)++;
    return 1;
}

static int shut_node(struct cursor *c, gw_xml_node *open, uint16_t *depth)
{
    struct gw_xml_elem *e = &c->x->nodes[*open];
    const uint8_t *content_end = c->p;
    c->p += 2;
    int rc = take_end_tag(c, e);
    if (rc <= 0)
        return rc;
    close_node(c, e, content_end);
    drop_bindings(c->x, *depth);
    *open = e->parent;
    (*depth)--;
    return 1;
}

/* At '<' of a first-level element: the whole of it. */
static int take_element(struct cursor *c)
{
    gw_xml_node open = GW_XML_NONE;
    uint16_t depth = 0;
    do {
        int rc;
        if (c->end - c->p < 2)
            return 0;
        if (c->p[1] == '/' && open != GW_XML_NONE) {
            rc = shut_node(c, &open, &depth);
        } else if (c->p[1] == '!' || c->p[1] == '?') {
            if (open == GW_XML_NONE)
                return fail(c, GW_XML_RESTRICTED);
            c->x->nodes[open].plain_text = false;
            rc = take_declaration(c);
        } else {
            if (open != GW_XML_NONE)
                c->x->nodes[open].plain_text = false;
            rc = open_node(c, &open, &depth);
        }
        if (rc > 0 && open != GW_XML_NONE)
            rc = take_text(c, &c->x->nodes[open]);
        if (rc <= 0)
            return rc;
    } while (open != GW_XML_NONE);
    return 1;
}

/* ---- units ---- */

/* <?xml ...?> before the header: version 1.x, and no encoding but UTF-8 (RFC 6120 section 11.6). */
static int take_xml_declaration(struct cursor *c)
{
    static const char open[] = "<?xml";
    size_t have = (size_t)(c->end - c->p);
    if (have < sizeof(open) - 1)
        return memcmp(c->p, open, have) == 0 ? 0 : 1;
    if (memcmp(c->p, open, sizeof(open) - 1) != 0)
        return 1;
    const uint8_t *stop = memchr(c->p, '>', have);
    if (stop == NULL)
        return have > 256 ? fail(c, GW_XML_NOT_WELL_FORMED) : 0;
    struct gw_bytes d = gw_bytes(c->p, (size_t)(stop - c->p));
    if (!gw_xml_declaration_ok(d, &c->x->error))
        return -1;
    c->p = stop + 1;
    skip_space(c);
    return 1;
}

static int take_header(struct cursor *c)
{
    int rc = take_xml_declaration(c);
    if (rc <= 0)
        return rc;
    if (c->end - c->p < 2)
        return c->p < c->end && *c->p != '<' ? fail(c, GW_XML_NOT_WELL_FORMED) : 0;
    if (*c->p != '<' || c->p[1] == '/')
        return fail(c, GW_XML_NOT_WELL_FORMED);
    if (c->p[1] == '!' || c->p[1] == '?')
        return fail(c, GW_XML_RESTRICTED);
    struct gw_xml_elem *e = add_node(c, GW_XML_NONE);
    bool empty = false;
    c->p++;
    rc = take_start_tag(c, e, 1, &empty);
    if (rc <= 0)
        return rc;
    if (empty)
        return fail(c, GW_XML_NOT_WELL_FORMED);
    e->content.p = c->p;
    close_node(c, e, c->p);
    c->x->unit = GW_XML_STREAM_OPEN;
    return 1;
}

static int take_stream_close(struct cursor *c)
{
    static const struct gw_xml_elem stream = {.name = {(const uint8_t *)"stream", 6},
                                              .prefix = {(const uint8_t *)"stream", 6}};
    c->p += 2;
    int rc = take_end_tag(c, &stream);
    c->x->unit = GW_XML_STREAM_CLOSE;
    return rc;
}

/* What the header bound: Godwit's streams have these two (RFC 6120 section 4.8). */
static void bind_stream(struct gw_xml *x)
{
    x->bindings[0] = (struct gw_xml_binding){gw_bytes(NULL, 0), GW_LIT("jabber:client"), 0};
    x->bindings[1] = (struct gw_xml_binding){GW_LIT("stream"),
                                             GW_LIT("http://etherx.jabber.org/streams"), 0};
    x->binding_count = 2;
}

int gw_xml_parse(struct gw_xml *x, const uint8_t *buf, size_t len, bool in_stream)
{
    struct cursor c = {x, buf, buf + len};
    x->error = GW_XML_OK;
    x->node_count = x->attr_count = x->binding_count = 0;
    skip_space(&c);
    int rc;
    if (c.p == c.end) {
        x->unit = GW_XML_SPACE;
        rc = len > 0;
    } else if (!in_stream) {
        rc = take_header(&c);
    } else if (*c.p != '<') {
        rc = fail(&c, GW_XML_BAD_FORMAT);
    } else if (c.end - c.p >= 2 && c.p[1] == '/') {
        rc = take_stream_close(&c);
    } else {
        bind_stream(x);
        x->unit = GW_XML_STANZA;
        rc = take_element(&c);
    }
    x->consumed = (size_t)(c.p - buf);
    return rc;
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

int gw_xml_attr_text(const struct gw_xml *x, gw_xml_node n, struct gw_bytes name, char *out,
                     size_t cap)
{
    const struct gw_xml_attr *a = gw_xml_attr(x, n, name);
    return a ? gw_xml_unescape(a->value, true, out, cap) : -1;
}

int gw_xml_text(const struct gw_xml *x, gw_xml_node n, char *out, size_t cap)
{
    if (gw_xml_child(x, n) != GW_XML_NONE)
        return -1;
    return gw_xml_unescape(x->nodes[n].content, false, out, cap);
}
