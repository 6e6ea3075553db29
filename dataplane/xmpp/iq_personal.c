/* SPDX-License-Identifier: Apache-2.0 */
/* vCards (XEP-0054 version 1.3) and private data (XEP-0049 version 1.2): see personal.h. */
#include "personal.h"

#include "../base/check.h"
#include "../base/text.h"

#define NS_PRIVATE         GW_LIT("jabber:iq:private")
#define PRIVATE_ITEMS_MAX  64u

/* ---- the vCard: the record's body is the element ---- */

static enum gw_condition change_vcard(struct gw_bytes old, struct gw_bytes payload,
                                      struct gw_text *out)
{
    (void)old;
    gw_text_put(out, payload);
    return GW_CONDITION_NONE;
}

static enum gw_condition show_vcard(struct gw_bytes body, struct gw_bytes payload,
                                    struct gw_text *out)
{
    (void)payload;
    gw_text_put(out, body);
    return body.len > 0 ? GW_CONDITION_NONE : GW_CONDITION_ITEM_NOT_FOUND;
}

static const struct gw_personal_kind vcard = {GW_NS_VCARD, change_vcard, show_vcard};

enum gw_handled gw_iq_vcard(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    struct gw_text t = gw_text(l->scratch, GW_PERSONAL_BYTES_MAX);
    if (q->type == GW_TYPE_SET)
        gw_personal_put_element(l, q->child, &t);
    if (t.full)
        return gw_edge_settle_here(l, c, GW_CONDITION_POLICY_VIOLATION);
    return gw_personal_begin(l, c, q, &vcard, gw_text_bytes(&t));
}

/* ---- private data: items by name and namespace of an element ---- */

/* In a record's body, and in a request, one behind the other; unaligned. */
struct item {
    uint16_t name_len, ns_len;
    uint32_t xml_len; /* 0: it is asked for */
    /* name, namespace, xml */
};
_Static_assert(sizeof(struct item) == 8, "on disk");

struct view {
    struct gw_bytes key, name, ns, xml; /* key: name and namespace in a row */
    struct gw_bytes whole;
};

/* The first item; the others are behind whole. False: there is none, or it is none. */
static bool first(struct gw_bytes items, struct view *v)
{
    struct item head;
    if (items.len < sizeof(head))
        return false;
    memcpy(&head, items.p, sizeof(head));
    size_t key_len = (size_t)head.name_len + head.ns_len;
    size_t len = sizeof(head) + key_len + head.xml_len;
    if (len > items.len)
        return false;
    const uint8_t *p = items.p + sizeof(head);
    *v = (struct view){.key = gw_bytes(p, key_len), .name = gw_bytes(p, head.name_len),
                       .ns = gw_bytes(p + head.name_len, head.ns_len),
                       .xml = gw_bytes(p + key_len, head.xml_len),
                       .whole = gw_bytes(items.p, len)};
    return true;
}

static struct gw_bytes behind(struct gw_bytes items, const struct view *v)
{
    return gw_bytes(items.p + v->whole.len, items.len - v->whole.len);
}

static bool is_same(const struct view *a, const struct view *b)
{
    return gw_bytes_eq(a->name, b->name) && gw_bytes_eq(a->ns, b->ns);
}

static bool find(struct gw_bytes items, const struct view *wanted, struct view *v)
{
    while (first(items, v)) {
        if (is_same(v, wanted))
            return true;
        items = behind(items, v);
    }
    return false;
}

/* What is set anew goes to the end. */
static enum gw_condition change_private(struct gw_bytes old, struct gw_bytes payload,
                                        struct gw_text *out)
{
    struct view v, other;
    unsigned n = 0;
    for (struct gw_bytes items = old; first(items, &v); items = behind(items, &v))
        if (!find(payload, &v, &other)) {
            gw_text_put(out, v.whole);
            n++;
        }
    for (struct gw_bytes items = payload; first(items, &v); items = behind(items, &v)) {
        if (find(behind(items, &v), &v, &other)) /* the last one counts */
            continue;
        gw_text_put(out, v.whole);
        n++;
    }
    return n <= PRIVATE_ITEMS_MAX ? GW_CONDITION_NONE : GW_CONDITION_POLICY_VIOLATION;
}

/* Section 3: what there is not is an empty element. */
static enum gw_condition show_private(struct gw_bytes body, struct gw_bytes payload,
                                      struct gw_text *out)
{
    struct view wanted, v;
    check(first(payload, &wanted));
    gw_text_str(out, "<query xmlns='jabber:iq:private'>");
    if (find(body, &wanted, &v)) {
        gw_text_put(out, v.xml);
    } else {
        gw_text_str(out, "<");
        gw_text_put(out, wanted.name);
        gw_text_str(out, " xmlns='");
        gw_text_escaped(out, wanted.ns);
        gw_text_str(out, "'/>");
    }
    gw_text_str(out, "</query>");
    return GW_CONDITION_NONE;
}

static const struct gw_personal_kind private_data = {GW_NS_PRIVATE, change_private, show_private};

/* The namespace without references; false: too long to be one. */
static bool put_item(struct gw_lcore *l, const struct gw_iq *q, gw_xml_node n, struct gw_text *t)
{
    const struct gw_xml_elem *e = &l->xml->nodes[n];
    char ns[1024];
    int ns_len = gw_xml_unescape(e->ns, true, ns, sizeof(ns));
    if (ns_len <= 0)
        return false;
    size_t head_at = t->len;
    struct item head = {.name_len = (uint16_t)e->name.len, .ns_len = (uint16_t)ns_len};
    gw_text_put(t, gw_bytes(&head, sizeof(head)));
    gw_text_put(t, e->name);
    gw_text_put(t, gw_bytes(ns, (size_t)ns_len));
    size_t xml_at = t->len;
    if (q->type == GW_TYPE_SET)
        gw_personal_put_element(l, n, t);
    if (t->full)
        return false;
    head.xml_len = (uint32_t)(t->len - xml_at);
    memcpy(t->p + head_at, &head, sizeof(head));
    return true;
}

/* Section 4: elements of namespaces of their own; a get asks for one. */
enum gw_handled gw_iq_private(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    struct gw_text t = gw_text(l->scratch, GW_PERSONAL_BYTES_MAX);
    unsigned count = 0;
    for (gw_xml_node n = gw_xml_child(l->xml, q->child); n != GW_XML_NONE;
         n = gw_xml_next(l->xml, n), count++) {
        if (gw_bytes_eq(l->xml->nodes[n].ns, NS_PRIVATE))
            return gw_edge_settle_here(l, c, GW_CONDITION_BAD_REQUEST);
        if (!put_item(l, q, n, &t))
            return gw_edge_settle_here(l, c, GW_CONDITION_POLICY_VIOLATION);
    }
    if (count == 0 || (count > 1 && q->type == GW_TYPE_GET))
        return gw_edge_settle_here(l, c, GW_CONDITION_BAD_REQUEST);
    return gw_personal_begin(l, c, q, &private_data, gw_text_bytes(&t));
}
