/* SPDX-License-Identifier: Apache-2.0 */
/* Presence in: the user's own goes to the user's home, directed presence to the other's. */
#include "edge.h"

#include "../base/text.h"

/* RFC 6121 section 4.7.2.3. */
static bool read_priority(const struct gw_lcore *l, int8_t *out)
{
    char text[8];
    gw_xml_node n = gw_xml_find(l->xml, 0, GW_LIT("priority"), GW_LIT("jabber:client"));
    *out = 0;
    if (n == GW_XML_NONE)
        return true;
    int len = gw_xml_text(l->xml, n, text, sizeof(text));
    int v = 0, i = len > 0 && (text[0] == '-' || text[0] == '+');
    if (len <= i)
        return false;
    for (; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        v = v * 10 + (text[i] - '0');
    }
    if (text[0] == '-')
        v = -v;
    *out = (int8_t)v;
    return v >= -128 && v <= 127;
}

/* Without `to`: who is available is decided at home. */
static enum gw_handled own_presence(struct gw_lcore *l, gw_conn c, enum gw_stanza_type type)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    int8_t priority;
    if (l->xml->nodes[0].raw.len > GW_PRESENCE_BYTES_MAX)
        return gw_edge_settle_here(l, c, GW_CONDITION_POLICY_VIOLATION);
    if (!read_priority(l, &priority))
        return gw_edge_settle_here(l, c, GW_CONDITION_BAD_REQUEST);
    unsigned home = gw_home_of(l, gw_edge_bare(l, c));
    if (!gw_edge_has_credit(l, c, home) || !gw_edge_number(l, c))
        return GW_HANDLE_LATER;
    struct gw_stanza_form f = {
        .kind = GW_STANZA_PRESENCE,
        .type = type,
        .from = gw_edge_full(l, c),
        .from_bare = gw_edge_bare(l, c),
        .lang = gw_edge_lang(l, c),
        .conn = gw_edge_ref(l, c),
        .seq = e->seq,
    };
    gw_block b = gw_stanza_build(l, &f);
    if (b == 0) {
        /* Taken in silence it would leave a client waiting for messages that are kept from it. */
        GW_COUNT(l->edge_count.out_of_memory);
        gw_edge_stream_error(l, c, GW_STREAM_RESOURCE_CONSTRAINT, NULL);
        return GW_HANDLED;
    }
    struct gw_post p = {
        .op = GW_POST_PRESENCE,
        .conn = f.conn,
        .session = e->session,
        .seq = f.seq,
        .block = b,
        .owner = (uint8_t)l->index,
        .status = (uint8_t)priority,
    };
    gw_post_up(l, home, &p);
    return GW_HANDLED;
}

/* The user's home tells who has had it when the session ends (RFC 6121 section 4.6.3). The caller has seen
 * to the credit. False: no memory. */
static bool remember_directed(struct gw_lcore *l, gw_conn c, bool available,
                              const struct gw_jid_text *to)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    struct gw_bytes jid = gw_jid_full(to);
    gw_block b = gw_arena_get(l->arena, sizeof(struct gw_home_text) + jid.len);
    if (b == 0)
        return false;
    struct gw_home_text *t = gw_arena_ptr(l->arena, b);
    *t = (struct gw_home_text){.len = (uint32_t)jid.len};
    memcpy(t->text, jid.p, jid.len);
    struct gw_post p = {.op = GW_POST_DIRECTED, .n = available, .session = e->session, .block = b,
                        .owner = (uint8_t)l->index};
    gw_post_up(l, e->session.lcore, &p);
    return true;
}

/* To somebody else, for whom there may have to be two credits. */
static enum gw_handled send_directed(struct gw_lcore *l, gw_conn c, enum gw_stanza_type type,
                                     const struct gw_jid_text *to)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    unsigned home = e->session.lcore;
    struct gw_stanza_form f = {.kind = GW_STANZA_PRESENCE, .type = type};
    bool shows = type == GW_TYPE_AVAILABLE || type == GW_TYPE_UNAVAILABLE;
    if (!shows || gw_bytes_eq(gw_jid_bare(to), gw_edge_bare(l, c)))
        return gw_edge_route(l, c, to, &f);
    if (!gw_edge_has_credit(l, c, gw_home_of(l, gw_jid_bare(to))))
        return GW_HANDLE_LATER;
    if (gw_post_up_room(l, home) < 2) {
        gw_edge_pause(l, c, GW_PAUSE_CREDIT);
        return GW_HANDLE_LATER;
    }
    enum gw_handled handled = gw_edge_route(l, c, to, &f); /* or it is refused, and told its end in vain */
    if (handled == GW_HANDLED && !remember_directed(l, c, type == GW_TYPE_AVAILABLE, to))
        GW_COUNT(l->edge_count.out_of_memory);
    return handled;
}

static enum gw_handled directed_presence(struct gw_lcore *l, gw_conn c, enum gw_stanza_type type,
                                         const struct gw_jid_text *to)
{
    if (!gw_domain_is_served(l->cfg, gw_jid_domain(to)))
        return gw_edge_settle_here(l, c, GW_CONDITION_REMOTE_SERVER_NOT_FOUND);
    bool subscribes = type >= GW_TYPE_SUBSCRIBE && type <= GW_TYPE_UNSUBSCRIBED;
    if (to->local_len == 0) /* the server has no use for it: RFC 6121 section 4.6 */
        return gw_edge_settle_here(l, c, GW_CONDITION_NONE);
    if (subscribes)
        return gw_edge_ask_subscription(l, c, type, to);
    if (type == GW_TYPE_PROBE) /* the server's to send: section 4.3 */
        return gw_edge_settle_here(l, c, GW_CONDITION_NONE);
    return send_directed(l, c, type, to);
}

enum gw_handled gw_edge_presence(struct gw_lcore *l, gw_conn c)
{
    struct gw_jid_text to;
    if (!gw_edge_check_stanza(l, c))
        return GW_HANDLED;
    enum gw_stanza_type type = gw_edge_type(l, GW_STANZA_PRESENCE);
    int has_to = gw_edge_read_to(l, c, &to);
    if (has_to < 0)
        return gw_edge_settle_here(l, c, GW_CONDITION_JID_MALFORMED);
    if (type == GW_TYPE_UNKNOWN)
        return gw_edge_settle_here(l, c, GW_CONDITION_BAD_REQUEST);
    if (has_to > 0)
        return directed_presence(l, c, type, &to);
    if (type == GW_TYPE_AVAILABLE || type == GW_TYPE_UNAVAILABLE)
        return own_presence(l, c, type);
    return gw_edge_settle_here(l, c, GW_CONDITION_BAD_REQUEST);
}
