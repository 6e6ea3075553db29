/* SPDX-License-Identifier: Apache-2.0 */
#include "csi.h"

#include "../base/check.h"

#define NS_CLIENT     GW_LIT("jabber:client")
#define NS_CARBONS    GW_LIT("urn:xmpp:carbons:2")
#define NS_FORWARD    GW_LIT("urn:xmpp:forward:0")
#define NS_CHATSTATES GW_LIT("http://jabber.org/protocol/chatstates")

/* Oldest first; a block each. */
struct item {
    gw_block next;
    uint32_t len;
    uint64_t key; /* a later one with the same takes its place */
    char text[];
};

struct list {
    gw_block head, tail;
    uint32_t count, bytes;
};

static struct item *item_at(const struct gw_lcore *l, gw_block b)
{
    return gw_arena_ptr(l->arena, b);
}

static struct list *list_of(const struct gw_lcore *l, gw_conn c)
{
    gw_block b = gw_edge_conn(l, c)->held_back;
    return b != 0 ? gw_arena_ptr(l->arena, b) : NULL;
}

/* ---- what can wait ---- */

static struct gw_bytes attr(const struct gw_lcore *l, gw_xml_node n, struct gw_bytes name)
{
    const struct gw_xml_attr *a = gw_xml_attr(l->xml, n, name);
    return a != NULL ? a->value : gw_bytes(NULL, 0);
}

static bool is_availability(const struct gw_lcore *l, gw_conn c)
{
    struct gw_bytes type = attr(l, 0, GW_LIT("type"));
    char from[GW_JID_BYTES_MAX];
    int n = gw_xml_attr_text(l->xml, 0, GW_LIT("from"), from, sizeof(from));
    /* Its own answers what it has just said. */
    bool own = n > 0 && gw_bytes_eq(gw_bytes(from, (size_t)n), gw_edge_full(l, c));
    return gw_xml_is(l->xml, 0, GW_LIT("presence"), NS_CLIENT) && !own &&
           (type.len == 0 || gw_bytes_eq(type, GW_LIT("unavailable")));
}

/* A chat state, perhaps with its thread, and nothing else. */
static bool is_chat_state(const struct gw_lcore *l, gw_xml_node message)
{
    bool state = false;
    if (!gw_xml_is(l->xml, message, GW_LIT("message"), NS_CLIENT))
        return false;
    for (gw_xml_node n = gw_xml_child(l->xml, message); n != GW_XML_NONE; n = gw_xml_next(l->xml, n)) {
        if (gw_bytes_eq(l->xml->nodes[n].ns, NS_CHATSTATES))
            state = true;
        else if (!gw_xml_is(l->xml, n, GW_LIT("thread"), NS_CLIENT))
            return false;
    }
    return state;
}

/* The message that a carbon copy wraps, or the stanza itself. */
static gw_xml_node unwrap(const struct gw_lcore *l)
{
    gw_xml_node n = gw_xml_child(l->xml, 0);
    if (n == GW_XML_NONE || !gw_bytes_eq(l->xml->nodes[n].ns, NS_CARBONS))
        return 0;
    n = gw_xml_find(l->xml, n, GW_LIT("forwarded"), NS_FORWARD);
    if (n != GW_XML_NONE)
        n = gw_xml_find(l->xml, n, GW_LIT("message"), NS_CLIENT);
    return n != GW_XML_NONE ? n : 0;
}

/* What it is the latest of: kind, sender and recipient. False: it cannot wait. */
static bool read_key(const struct gw_lcore *l, gw_conn c, uint64_t *key)
{
    gw_xml_node n = unwrap(l);
    if (!is_availability(l, c) && !is_chat_state(l, n))
        return false;
    struct gw_bytes parts[] = {l->xml->nodes[0].name, attr(l, n, GW_LIT("from")),
                               attr(l, n, GW_LIT("to"))};
    struct gw_sipkey k = l->cfg->home_key;
    for (unsigned i = 0; i < 3; i++)
        k.k0 ^= *key = gw_siphash(&k, parts[i].p, parts[i].len);
    return true;
}

/* ---- held back ---- */

static void remove_key(struct gw_lcore *l, struct list *list, uint64_t key)
{
    gw_block before = 0, b = list->head;
    for (; b != 0 && item_at(l, b)->key != key; b = item_at(l, b)->next)
        before = b;
    if (b == 0)
        return;
    *(before != 0 ? &item_at(l, before)->next : &list->head) = item_at(l, b)->next;
    if (list->tail == b)
        list->tail = before;
    list->count--;
    list->bytes -= item_at(l, b)->len;
    gw_arena_put(l->arena, b);
    GW_COUNT(l->edge_count.held_back_replaced);
}

static struct list *make_list(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    if (e->held_back == 0) {
        e->held_back = gw_arena_get(l->arena, sizeof(struct list));
        if (e->held_back != 0)
            *list_of(l, c) = (struct list){0};
    }
    return list_of(l, c);
}

static bool append(struct gw_lcore *l, struct list *list, uint64_t key, struct gw_bytes stanza)
{
    gw_block b = gw_arena_get(l->arena, sizeof(struct item) + stanza.len);
    if (b == 0)
        return false;
    struct item *i = item_at(l, b);
    *i = (struct item){.len = (uint32_t)stanza.len, .key = key};
    memcpy(i->text, stanza.p, stanza.len);
    *(list->tail != 0 ? &item_at(l, list->tail)->next : &list->head) = b;
    list->tail = b;
    list->count++;
    list->bytes += i->len;
    GW_COUNT(l->edge_count.held_back);
    return true;
}

bool gw_edge_hold_back(struct gw_lcore *l, gw_conn c, struct gw_bytes stanza)
{
    uint64_t key;
    if (stanza.len > GW_HELD_BACK_BYTES_MAX ||
        gw_xml_parse(l->xml, stanza.p, stanza.len, true) != 1 || !read_key(l, c, &key))
        return false;
    struct list *list = make_list(l, c);
    if (list == NULL)
        return false;
    remove_key(l, list, key);
    if (list->count == GW_HELD_BACK_MAX || list->bytes + stanza.len > GW_HELD_BACK_BYTES_MAX) {
        gw_edge_send_held_back(l, c);
        list = make_list(l, c);
    }
    return list != NULL && append(l, list, key, stanza);
}

/* ---- sent, or not ---- */

static gw_block take_first(struct gw_lcore *l, struct list *list)
{
    gw_block b = list->head;
    list->head = item_at(l, b)->next;
    return b;
}

void gw_edge_send_held_back(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    struct list *list = list_of(l, c);
    if (list == NULL)
        return;
    while (list->head != 0) {
        gw_block b = take_first(l, list);
        gw_edge_write(l, c, gw_bytes(item_at(l, b)->text, item_at(l, b)->len));
        gw_arena_put(l->arena, b);
        e->out_count++;
        GW_COUNT(l->edge_count.stanzas_out);
    }
    gw_edge_drop_held_back(l, c);
}

void gw_edge_drop_held_back(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    struct list *list = list_of(l, c);
    while (list != NULL && list->head != 0)
        gw_arena_put(l->arena, take_first(l, list));
    gw_arena_put(l->arena, e->held_back);
    e->held_back = 0;
}

enum gw_handled gw_edge_csi(struct gw_lcore *l, gw_conn c)
{
    struct gw_edge_conn *e = gw_edge_conn(l, c);
    struct gw_bytes name = l->xml->nodes[0].name;
    bool inactive = gw_bytes_eq(name, GW_LIT("inactive"));
    if (!inactive && !gw_bytes_eq(name, GW_LIT("active"))) {
        gw_edge_stream_error(l, c, GW_STREAM_UNSUPPORTED_STANZA_TYPE, NULL);
        return GW_HANDLED;
    }
    e->inactive = inactive;
    if (!inactive)
        gw_edge_send_held_back(l, c);
    return GW_HANDLED;
}
