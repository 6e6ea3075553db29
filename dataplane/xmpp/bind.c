/* SPDX-License-Identifier: Apache-2.0 */
/* Resource binding (RFC 6120 section 7): asked of the account's home, which keeps the sessions. */
#include "bind.h"

#include "../base/check.h"
#include "../base/text.h"
#include "edge.h"

#define RESOURCE_RANDOM_BYTES 8

/* The resource asked for, or one of our own making. Length or -EINVAL. */
static int read_resource(struct gw_lcore *l, gw_xml_node bind, char *out)
{
    gw_xml_node n =
        gw_xml_find(l->xml, bind, GW_LIT("resource"), GW_LIT("urn:ietf:params:xml:ns:xmpp-bind"));
    if (n != GW_XML_NONE) {
        char raw[GW_JID_PART_BYTES_MAX];
        int len = gw_xml_text(l->xml, n, raw, sizeof(raw));
        if (len != 0)
            return len < 0 ? len : gw_jid_prep_resource(gw_bytes(raw, (size_t)len), out);
    }
    uint8_t random[RESOURCE_RANDOM_BYTES];
    struct gw_text t = gw_text(out, GW_JID_PART_BYTES_MAX);
    l->random(l->random_ctx, random, sizeof(random));
    gw_text_hex(&t, random, sizeof(random));
    return (int)t.len;
}

/* Resource and language may be views into the block that this replaces. */
static bool pack_jid(struct gw_lcore *l, gw_conn c, struct gw_bytes resource, struct gw_bytes lang)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    struct gw_edge_jid *old = gw_arena_ptr(l->arena, e->jid_block);
    size_t len = old->bare_len + (resource.len > 0 ? 1 + resource.len : 0);
    gw_block b = gw_arena_get(l->arena, sizeof(*old) + len + lang.len);
    if (b == 0)
        return false;
    struct gw_edge_jid *j = gw_arena_ptr(l->arena, b);
    memcpy(j, old, sizeof(*old));
    struct gw_text t = gw_text(j->text, len + lang.len);
    gw_text_put(&t, gw_bytes(old->text, old->bare_len));
    if (resource.len > 0) {
        gw_text_put(&t, GW_LIT("/"));
        gw_text_put(&t, resource);
    }
    gw_text_put(&t, lang);
    check(!t.full);
    j->len = (uint16_t)len;
    j->lang_len = (uint8_t)lang.len;
    gw_arena_put(l->arena, e->jid_block);
    e->jid_block = b;
    return true;
}

bool gw_edge_extend_jid(struct gw_lcore *l, gw_conn c, struct gw_bytes resource)
{
    return pack_jid(l, c, resource, gw_edge_lang(l, c));
}

bool gw_edge_set_lang(struct gw_lcore *l, gw_conn c, struct gw_bytes lang)
{
    check(lang.len <= UINT8_MAX);
    return pack_jid(l, c, gw_bytes(NULL, 0), lang);
}

gw_block gw_edge_bind_request(struct gw_lcore *l, gw_conn c, size_t room)
{
    const struct gw_edge_jid *j = gw_arena_ptr(l->arena, gw_edge_conn(l, c)->jid_block);
    gw_block b = l->edge->bound_count < l->cfg->conn_limit
                     ? gw_arena_get(l->arena, sizeof(struct gw_bind) + j->len + room)
                     : 0;
    if (b == 0)
        return 0;
    struct gw_bind *r = gw_arena_ptr(l->arena, b);
    *r = (struct gw_bind){.bare_len = j->bare_len, .len = j->len, .since_wall_us = l->wall_us,
                          .tuple = gw_tcp_tuple(l->tcp, c)};
    memcpy(r->identity.hash, j->identity, sizeof(j->identity));
    memcpy(r->text, j->text, j->len);
    return b;
}

void gw_edge_bind_ask(struct gw_lcore *l, gw_conn c, unsigned home, enum gw_post_op op, gw_block b)
{
    struct gw_post p = {.op = (uint8_t)op, .conn = gw_edge_ref(l, c), .block = b,
                        .owner = (uint8_t)l->index};
    l->edge->bound_count++;
    gw_edge_pause(l, c, GW_PAUSE_BIND);
    gw_post_up(l, home, &p);
}

enum gw_handled gw_edge_bind(struct gw_lcore *l, gw_conn c, gw_xml_node bind)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    char resource[GW_JID_PART_BYTES_MAX + 1], id[GW_STANZA_ID_BYTES_MAX];
    unsigned home = gw_home_of(l, gw_edge_bare(l, c));
    if (!gw_edge_has_credit(l, c, home))
        return GW_HANDLE_LATER;
    e->seq++;
    gw_edge_settle(l, c, e->seq);
    int len = read_resource(l, bind, resource);
    if (len < 0) {
        gw_edge_refuse(l, c, GW_CONDITION_BAD_REQUEST);
        return GW_HANDLED;
    }
    int id_len = gw_xml_attr_text(l->xml, 0, GW_LIT("id"), id, sizeof(id));
    id_len = id_len > 0 ? id_len : 0;
    gw_block b = 0;
    if (gw_edge_extend_jid(l, c, gw_bytes(resource, (size_t)len)))
        b = gw_edge_bind_request(l, c, (size_t)id_len);
    if (b == 0) {
        gw_edge_refuse(l, c, GW_CONDITION_RESOURCE_CONSTRAINT);
        return GW_HANDLED;
    }
    struct gw_bind *r = gw_arena_ptr(l->arena, b);
    r->id_len = (uint16_t)id_len;
    memcpy(r->text + r->len, id, (size_t)id_len);
    gw_edge_bind_ask(l, c, home, GW_POST_BIND, b);
    return GW_HANDLED;
}

static void answer(struct gw_lcore *l, gw_conn c, const struct gw_bind *r, uint8_t status)
{
    struct gw_text t = gw_text(l->scratch, GW_SCRATCH_BYTES);
    gw_text_str(&t, status ? "<iq type='error' id='" : "<iq type='result' id='");
    gw_text_escaped(&t, gw_bytes(r->text + r->len, r->id_len));
    if (status != GW_CONDITION_NONE) {
        gw_text_str(&t, "'>");
        gw_edge_put_error(&t, status);
        gw_text_str(&t, "</iq>");
    } else {
        gw_text_str(&t, "'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>");
        gw_text_escaped(&t, gw_bytes(r->text, r->len));
        gw_text_str(&t, "</jid></bind></iq>");
    }
    check(!t.full);
    gw_edge_answer(l, c, gw_text_bytes(&t));
}

void gw_edge_bound(struct gw_lcore *l, struct gw_post *p)
{
    gw_conn c = p->conn.index;
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    bool here = e->generation == p->conn.generation && e->state == GW_EDGE_READY;
    if (p->status != GW_CONDITION_NONE) {
        l->edge->bound_count--;
    } else if (here) {
        e->session = p->session;
        e->state = GW_EDGE_BOUND;
        GW_COUNT(l->edge_count.sessions);
    } else { /* gone meanwhile */
        gw_edge_unbind(l, &(struct gw_edge_leave){.session = p->session});
    }
    if (here) {
        answer(l, c, gw_arena_ptr(l->arena, p->block), p->status);
        e->waits_us = l->now_us;
        gw_edge_set_deadline(l, c);
        gw_edge_resume(l, c, GW_PAUSE_BIND);
    }
    gw_arena_put(l->arena, p->block);
}
