/* SPDX-License-Identifier: Apache-2.0 */
#include "stanza.h"

#include "../base/check.h"
#include "../base/text.h"

#define NS_SID   GW_LIT("urn:xmpp:sid:0")
#define NS_DELAY GW_LIT("urn:xmpp:delay")
#define NS_OLD_DELAY GW_LIT("jabber:x:delay")
#define NS_ADDRESS   GW_LIT("http://jabber.org/protocol/address")
#define NS_CARBONS   GW_LIT("urn:xmpp:carbons:2")

static const char *const kind_names[] = {"message", "presence", "iq"};

/* id, type, xml:lang, and the prefixes that children may use; everything else is ours to set. */
static bool keeps_attr(const struct gw_xml_attr *a)
{
    if (a->prefix.len == 0)
        return gw_bytes_eq(a->name, GW_LIT("id")) || gw_bytes_eq(a->name, GW_LIT("type"));
    return gw_bytes_eq(a->prefix, GW_LIT("xmlns")) ||
           (gw_bytes_eq(a->prefix, GW_LIT("xml")) && gw_bytes_eq(a->name, GW_LIT("lang")));
}

/* Whether the address in this attribute is of one of our domains, in whatever spelling, or is none. */
static bool attr_is_ours(const struct gw_lcore *l, gw_xml_node n, struct gw_bytes name)
{
    char value[GW_JID_BYTES_MAX];
    struct gw_jid_text j;
    int len = gw_xml_attr_text(l->xml, n, name, value, sizeof(value));
    return len < 0 || gw_jid_prep(gw_bytes(value, (size_t)len), &j) != 0 ||
           gw_domain_is_served(l->cfg, gw_jid_domain(&j));
}

/* XEP-0033 section 4.4: that somebody else has written it is only for a multicast service to say. */
static bool names_origin(const struct gw_lcore *l, gw_xml_node addresses)
{
    gw_xml_node n = gw_xml_child(l->xml, addresses);
    for (; n != GW_XML_NONE; n = gw_xml_next(l->xml, n)) {
        char type[8];
        int len = gw_xml_attr_text(l->xml, n, GW_LIT("type"), type, sizeof(type));
        if (len > 0 && gw_bytes_eq(gw_bytes(type, (size_t)len), GW_LIT("ofrom")))
            return true;
    }
    return false;
}

/* Elements that only this server adds: a client's are forgeries (XEP-0359 section 5, XEP-0203; XEP-0280
 * section 11: a client might take them for what its own server says). */
static bool is_forged(const struct gw_lcore *l, gw_xml_node n)
{
    if (gw_xml_is(l->xml, n, GW_LIT("stanza-id"), NS_SID))
        return attr_is_ours(l, n, GW_LIT("by"));
    if (gw_xml_is(l->xml, n, GW_LIT("delay"), NS_DELAY))
        return attr_is_ours(l, n, GW_LIT("from"));
    if (gw_xml_is(l->xml, n, GW_LIT("x"), NS_OLD_DELAY))
        return attr_is_ours(l, n, GW_LIT("from"));
    if (gw_xml_is(l->xml, n, GW_LIT("addresses"), NS_ADDRESS))
        return names_origin(l, n);
    return gw_xml_is(l->xml, n, GW_LIT("received"), NS_CARBONS) ||
           gw_xml_is(l->xml, n, GW_LIT("sent"), NS_CARBONS);
}

static void put_children(const struct gw_lcore *l, struct gw_text *t)
{
    const struct gw_xml *x = l->xml;
    for (gw_xml_node n = gw_xml_child(x, 0); n != GW_XML_NONE; n = gw_xml_next(x, n))
        if (!is_forged(l, n))
            gw_text_put(t, x->nodes[n].raw);
}

static void put_open_tag(const struct gw_lcore *l, struct gw_text *t, const struct gw_stanza_form *f)
{
    const struct gw_xml_elem *root = &l->xml->nodes[0];
    bool has_lang = false;
    gw_text_put(t, GW_LIT("<"));
    gw_text_str(t, kind_names[f->kind]);
    gw_text_attr(t, " from='", f->from);
    gw_text_attr(t, " to='", f->to);
    for (unsigned i = 0; i < root->attr_count; i++) {
        const struct gw_xml_attr *a = &l->xml->attrs[root->attr_first + i];
        if (keeps_attr(a))
            gw_text_raw_attr(t, a);
        has_lang |= gw_bytes_eq(a->prefix, GW_LIT("xml")) && gw_bytes_eq(a->name, GW_LIT("lang"));
    }
    if (!has_lang && f->lang.len > 0) { /* RFC 6120 section 8.1.5 */
        gw_text_put(t, GW_LIT(" xml:lang='"));
        gw_text_put(t, f->lang);
        gw_text_put(t, GW_LIT("'"));
    }
    gw_text_put(t, GW_LIT(">"));
}

/* XEP-0359 section 3; the id itself is known when the home has given a position. */
static uint32_t put_stanza_id(struct gw_text *t, const struct gw_stanza_form *f)
{
    gw_text_put(t, GW_LIT("<stanza-id xmlns='urn:xmpp:sid:0' by='"));
    gw_text_escaped(t, f->to_bare);
    gw_text_put(t, GW_LIT("' id='"));
    uint32_t at = (uint32_t)t->len;
    gw_text_put(t, GW_LIT("00000000000000000000000000000000'/>"));
    return at;
}

/* When each byte of an address becomes `escaped` bytes: "&quot;" is the longest, and few have any. */
#define ESCAPED_MOST  6
#define ESCAPED_NEVER 1

static size_t bytes_needed(const struct gw_lcore *l, const struct gw_stanza_form *f,
                           unsigned escaped)
{
    const size_t fixed = sizeof(struct gw_stanza) + sizeof(struct gw_stored_meta) + 256;
    const size_t lang = f->lang.len > 0 ? sizeof(" xml:lang=''") + f->lang.len : 0;
    return fixed + lang + (1 + escaped) * (f->to.len + f->from.len) + escaped * f->to_bare.len +
           f->to.len + f->id.len + f->ref.len + l->xml->nodes[0].raw.len;
}

static struct gw_bytes resource_of(const struct gw_stanza_form *f)
{
    size_t skip = f->to_bare.len + (f->to.len > f->to_bare.len);
    return f->to.len > skip ? gw_bytes(f->to.p + skip, f->to.len - skip) : gw_bytes(NULL, 0);
}

static void put_strings(struct gw_text *t, struct gw_stanza *s, const struct gw_stanza_form *f)
{
    gw_text_put(t, f->to);
    gw_text_put(t, f->from);
    gw_text_put(t, f->id);
    gw_text_put(t, f->ref);
    s->to_len = (uint16_t)f->to.len;
    s->to_bare_len = (uint16_t)f->to_bare.len;
    s->from_len = (uint16_t)f->from.len;
    s->from_bare_len = (uint16_t)f->from_bare.len;
    s->id_len = (uint16_t)f->id.len;
    s->ref_len = (uint16_t)f->ref.len;
    while (t->len % 8 != 0)
        gw_text_put(t, gw_bytes("", 1));
}

/* All but what is sealed: *t goes on there. */
static struct gw_stanza *begin(struct gw_lcore *l, const struct gw_stanza_form *f, gw_block b,
                               struct gw_text *t)
{
    struct gw_stanza *s = gw_arena_ptr(l->arena, b);
    *s = (struct gw_stanza){
        .kind = (uint8_t)f->kind,
        .type = (uint8_t)f->type,
        .flags = f->flags,
        .lcore = (uint8_t)l->index,
        .conn = f->conn,
        .seq = f->seq,
        .accepted_us = l->wall_us,
        .to_hash = f->to_hash,
        .fingerprint = f->fingerprint,
    };
    *t = gw_text(s, gw_arena_block_bytes(l->arena, b));
    t->len = sizeof(*s);
    put_strings(t, s, f);
    return s;
}

gw_block gw_stanza_build_text(struct gw_lcore *l, const struct gw_stanza_form *f, struct gw_bytes a,
                              struct gw_bytes b)
{
    size_t need = sizeof(struct gw_stanza) + 8 + f->to.len + f->from.len + f->id.len + a.len + b.len;
    gw_block block = need <= GW_ARENA_BLOCK_BYTES_MAX ? gw_arena_get(l->arena, need) : 0;
    struct gw_text t;
    if (block == 0)
        return 0;
    struct gw_stanza *s = begin(l, f, block, &t);
    s->xml_off = (uint32_t)t.len;
    gw_text_put(&t, a);
    gw_text_put(&t, b);
    check(!t.full);
    s->xml_len = (uint32_t)t.len - s->xml_off;
    return block;
}

/* False: the block is too small. */
static bool build_into(struct gw_lcore *l, const struct gw_stanza_form *f, gw_block b)
{
    struct gw_text t;
    struct gw_stanza *s = begin(l, f, b, &t);
    struct gw_bytes resource = resource_of(f);
    s->sealed_off = (uint32_t)t.len;
    struct gw_stored_meta meta = {.accepted_us = l->wall_us,
                                  .resource_len = (uint16_t)resource.len,
                                  .version = GW_STORED_VERSION};
    t.len += sizeof(meta);
    gw_text_put(&t, resource);
    s->xml_off = (uint32_t)t.len;
    put_open_tag(l, &t, f);
    put_children(l, &t);
    if (f->flags & GW_STANZA_STORE)
        s->stanza_id_off = put_stanza_id(&t, f);
    meta.delay_off = (uint32_t)t.len - s->xml_off;
    gw_text_put(&t, GW_LIT("</"));
    gw_text_str(&t, kind_names[f->kind]);
    gw_text_put(&t, GW_LIT(">"));
    memcpy((char *)s + s->sealed_off, &meta, sizeof(meta));
    s->xml_len = (uint32_t)t.len - s->xml_off;
    s->sealed_len = (uint32_t)t.len - s->sealed_off;
    return !t.full;
}

static gw_block try_build(struct gw_lcore *l, const struct gw_stanza_form *f, unsigned escaped,
                          bool *too_small)
{
    size_t need = bytes_needed(l, f, escaped);
    gw_block b = need <= GW_ARENA_BLOCK_BYTES_MAX ? gw_arena_get(l->arena, need) : 0;
    *too_small = b != 0 && !build_into(l, f, b);
    if (!*too_small)
        return b;
    gw_arena_put(l->arena, b);
    return 0;
}

gw_block gw_stanza_build(struct gw_lcore *l, const struct gw_stanza_form *f)
{
    bool too_small;
    gw_block b = try_build(l, f, ESCAPED_NEVER, &too_small);
    if (too_small) {
        b = try_build(l, f, ESCAPED_MOST, &too_small);
        check(!too_small);
    }
    return b;
}

void gw_stanza_set_id(struct gw_lcore *l, struct gw_stanza *s, const struct gw_mailbox_id *mailbox)
{
    uint8_t in[16], id[16];
    memcpy(in, mailbox->b, 8);
    memcpy(in + 8, &s->position, 8);
    gw_permute(l->permuter, in, id);
    struct gw_text t = gw_text((char *)s + s->stanza_id_off, 32);
    gw_text_hex(&t, id, sizeof(id));
}
