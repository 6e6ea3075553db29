/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XML as XMPP restricts it (RFC 6120 section 11): one stream header, stanza or stream end at a time.
 *
 * The parser works on a contiguous buffer, in place, and builds a tree of offsets into it in scratch
 * memory of the core: nothing is copied, nothing is kept. When a unit is not whole yet, the framer
 * remembers in a few bytes how far it has looked, so that a stanza that trickles in byte by byte is
 * scanned once and parsed once.
 *
 * Strict: UTF-8 (RFC 3629), no DTD, comment, processing instruction (but the XML declaration before
 * the header) or entity besides the predefined five, namespaces well-formed.
 */
#ifndef GW_XMPP_XML_H
#define GW_XMPP_XML_H

#include "../base/bytes.h"
#include "../base/text.h"

#define GW_XML_NODES_MAX     2048
#define GW_XML_ATTRS_MAX     4096
#define GW_XML_DEPTH_MAX     64 /* of the stanza's own tree */
#define GW_XML_NODE_ATTRS_MAX 64
#define GW_XML_NAME_BYTES_MAX 256
#define GW_XML_BINDINGS_MAX  64

/* X(upper, the stream error that answers it: RFC 6120 section 4.9.3) */
#define GW_XML_ERRORS(X)                                                                           \
    X(NOT_WELL_FORMED, "not-well-formed")                                                          \
    X(RESTRICTED, "restricted-xml")                                                                \
    X(BAD_PREFIX, "bad-namespace-prefix")                                                          \
    X(LIMIT, "policy-violation")                                                                   \
    X(BAD_FORMAT, "bad-format")                                                                    \
    X(ENCODING, "unsupported-encoding")

enum gw_xml_error {
    GW_XML_OK,
#define X(upper, condition) GW_XML_##upper,
    GW_XML_ERRORS(X)
#undef X
};

const char *gw_xml_error_condition(enum gw_xml_error e);

struct gw_xml_attr {
    struct gw_bytes name;   /* local part */
    struct gw_bytes prefix;
    struct gw_bytes ns;     /* of a prefixed attribute; empty otherwise */
    struct gw_bytes value;  /* raw: references not replaced; see gw_xml_unescape */
    bool escaped;           /* whether value holds references or characters to be normalised */
};

/* Index of a node; preorder. The stanza itself is node 0. */
typedef uint16_t gw_xml_node;
#define GW_XML_NONE 0xffff

struct gw_xml_elem {
    struct gw_bytes name, prefix, ns;
    struct gw_bytes raw;     /* from '<' of the start tag to '>' of the end tag */
    struct gw_bytes content; /* between the tags; empty for an empty-element tag */
    uint16_t attr_first, attr_count; /* xmlns declarations included */
    gw_xml_node after;       /* the first node that is not inside this one */
    gw_xml_node parent;
    bool plain_text;         /* content has no child, reference or CDATA: may be used as it is */
};

enum gw_xml_unit {
    GW_XML_SPACE,        /* only white space: a keepalive */
    GW_XML_STREAM_OPEN,  /* header: node 0 is <stream:stream>, without content */
    GW_XML_STANZA,       /* a whole first-level element */
    GW_XML_STREAM_CLOSE, /* </stream:stream> */
};

struct gw_xml_binding {
    struct gw_bytes prefix, uri;
    uint16_t depth;
};

/* Scratch of one core; about 600 KiB. Views inside point into the parsed buffer. */
struct gw_xml {
    enum gw_xml_unit unit;
    enum gw_xml_error error;
    size_t consumed; /* bytes of the unit, leading white space included */
    unsigned node_count, attr_count, binding_count;
    struct gw_xml_elem nodes[GW_XML_NODES_MAX];
    struct gw_xml_attr attrs[GW_XML_ATTRS_MAX];
    struct gw_xml_binding bindings[GW_XML_BINDINGS_MAX];
};

/* Parse the next unit at the start of buf. in_stream: the header has been seen.
 * 1: a unit is in *x, x->consumed bytes; 0: not whole yet (x undefined); -1: x->error. */
int gw_xml_parse(struct gw_xml *x, const uint8_t *buf, size_t len, bool in_stream);

/* ---- framing of a unit that arrives in pieces ---- */

struct gw_xml_frame {
    uint16_t depth;
    uint8_t state;
    uint8_t run; /* characters of "]]>" seen */
};

/* Look at the next bytes of the unit. Returns how many belong to it; *whole: gw_xml_parse is worth
 * calling on all of it, which is complete or certainly wrong. Set *f to zero for a new unit. */
size_t gw_xml_frame_feed(struct gw_xml_frame *f, const uint8_t *p, size_t len, bool in_stream,
                         bool *whole);

/* ---- reading the tree ---- */

static inline bool gw_xml_is(const struct gw_xml *x, gw_xml_node n, struct gw_bytes name,
                             struct gw_bytes ns)
{
    return gw_bytes_eq(x->nodes[n].name, name) && gw_bytes_eq(x->nodes[n].ns, ns);
}

/* First child, next sibling: GW_XML_NONE at the end. */
gw_xml_node gw_xml_child(const struct gw_xml *x, gw_xml_node n);
gw_xml_node gw_xml_next(const struct gw_xml *x, gw_xml_node n);
gw_xml_node gw_xml_find(const struct gw_xml *x, gw_xml_node parent, struct gw_bytes name,
                        struct gw_bytes ns);
/* An attribute without prefix, or NULL. */
const struct gw_xml_attr *gw_xml_attr(const struct gw_xml *x, gw_xml_node n, struct gw_bytes name);
/* Replace references, and line ends as XML 1.0 section 2.11 (attribute: 3.3.3) says. Returns the
 * length written to out (at most raw.len), or -1 when it exceeds cap. */
int gw_xml_unescape(struct gw_bytes raw, bool attribute, char *out, size_t cap);
/* Value of attribute `name`, unescaped into out. Its length; -1 absent or too long. */
int gw_xml_attr_text(const struct gw_xml *x, gw_xml_node n, struct gw_bytes name, char *out,
                     size_t cap);
/* Character data of an element without children, unescaped. Its length; -1: has children, too long. */
int gw_xml_text(const struct gw_xml *x, gw_xml_node n, char *out, size_t cap);

/* ---- writing ---- */

/* Escape for attribute values in single quotes and for text. Returns bytes written, 0 when it does
 * not fit and in is not empty. */
size_t gw_xml_escape(struct gw_bytes in, char *out, size_t cap);
/* The same into a text; what does not fit sets `full`. */
void gw_text_escaped(struct gw_text *t, struct gw_bytes in);
/* An attribute, when it has a value: `opening` is " name='". */
void gw_text_attr(struct gw_text *t, const char *opening, struct gw_bytes value);
/* An attribute as its sender wrote it. */
void gw_text_raw_attr(struct gw_text *t, const struct gw_xml_attr *a);

#endif
