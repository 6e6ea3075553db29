/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stanza on its way: one arena block of its edge lcore, lent to the recipient's home.
 *
 * The edge has parsed, checked and rewritten it; what the recipient will see lies in it as bytes,
 * behind what is sealed and stored with them. The home only fills in position and stanza-id.
 *
 *   struct gw_stanza | to | from | id | ref id | (8) struct gw_stored_meta | resource | xml
 *                                                \------------ sealed part -------------/
 */
#ifndef GW_XMPP_STANZA_H
#define GW_XMPP_STANZA_H

#include "../../storage/event.h"
#include "condition.h"
#include "jid.h"
#include "post.h"

enum gw_stanza_kind { GW_STANZA_MESSAGE, GW_STANZA_PRESENCE, GW_STANZA_IQ };

enum gw_stanza_type {
    /* message */
    GW_TYPE_NORMAL,
    GW_TYPE_CHAT,
    GW_TYPE_HEADLINE,
    GW_TYPE_GROUPCHAT,
    /* presence */
    GW_TYPE_AVAILABLE,
    GW_TYPE_UNAVAILABLE,
    GW_TYPE_SUBSCRIBE, /* and in the order of enum gw_sub_kind: */
    GW_TYPE_SUBSCRIBED,
    GW_TYPE_UNSUBSCRIBE,
    GW_TYPE_UNSUBSCRIBED,
    GW_TYPE_PROBE,
    /* iq */
    GW_TYPE_GET,
    GW_TYPE_SET,
    GW_TYPE_RESULT,
    /* all */
    GW_TYPE_ERROR,
    GW_TYPE_UNKNOWN,
};

#define GW_STANZA_STORE     0x01 /* goes through the mailbox */
#define GW_STANZA_RECEIVED  0x02 /* carries a XEP-0184 receipt for ref id */
#define GW_STANZA_DISPLAYED 0x04 /* carries a XEP-0333 displayed marker for ref id */
#define GW_STANZA_NOT_KEPT  0x08 /* would be stored, but its sender does not want that (XEP-0334) */

/* What a user asks of its own account: the flags of a stanza in GW_POST_ASK. */
enum gw_ask {
    GW_ASK_SUBSCRIPTION = 0x10, /* apart from GW_STANZA_*: a presence of the type that says which, for the contact in `to` */
    GW_ASK_ROSTER_GET,  /* xml: "=" and the version that the client has, if it has one */
    GW_ASK_ROSTER_SET,  /* xml: a roster (roster.h) of one item */
    GW_ASK_ROSTER_REMOVE,
    GW_ASK_BLOCK_GET,
    GW_ASK_BLOCK,   /* xml: a roster of those to be blocked */
    GW_ASK_UNBLOCK, /* likewise; empty: all */
};

#define GW_PRESENCE_BYTES_MAX  16384 /* of the user's own, which goes to all contacts */
#define GW_STANZA_ID_BYTES_MAX 1024 /* of a stanza's id attribute, unescaped */

/* A flag of a message: other sessions of both sides get copies (carbons.h). */
#define GW_STANZA_COPIED 0x80

struct gw_stanza {
    gw_block next; /* link in a list of its home */
    uint8_t kind, type, flags;
    uint8_t lcore; /* whose arena this block is in */
    struct gw_ref conn;
    uint32_t seq;
    uint32_t lent; /* home only: deliveries not yet taken */
    uint64_t accepted_us;
    uint64_t position;
    uint64_t to_hash; /* gw_home_hash of the bare JID it is for */
    struct gw_fingerprint fingerprint;
    uint16_t to_len, to_bare_len, from_len, from_bare_len, id_len, ref_len;
    uint32_t sealed_off, sealed_len;
    uint32_t xml_off, xml_len;
    uint32_t stanza_id_off; /* in the block, of 32 hex digits; 0: none */
    char text[];
};
_Static_assert(sizeof(struct gw_stanza) == offsetof(struct gw_stanza, text), "text follows at once");

/* First bytes of the sealed part; little-endian, on disk. */
struct gw_stored_meta {
    uint64_t accepted_us;
    uint32_t delay_off; /* in the xml: where a delay element goes */
    uint16_t resource_len; /* of the resource it was addressed to; 0: bare JID */
    uint8_t version;
    uint8_t reserved;
};
_Static_assert(sizeof(struct gw_stored_meta) == 16, "on disk");
_Static_assert(offsetof(struct gw_stored_meta, accepted_us) == 0, "storage/segment.h says so");
#define GW_STORED_VERSION 1

static inline struct gw_bytes gw_stanza_to(const struct gw_stanza *s)
{
    return gw_bytes(s->text, s->to_len);
}

static inline struct gw_bytes gw_stanza_to_bare(const struct gw_stanza *s)
{
    return gw_bytes(s->text, s->to_bare_len);
}

static inline struct gw_bytes gw_stanza_to_resource(const struct gw_stanza *s)
{
    uint16_t skip = (uint16_t)(s->to_bare_len + (s->to_len > s->to_bare_len));
    return gw_bytes(s->text + skip, (size_t)(s->to_len - skip));
}

static inline struct gw_bytes gw_stanza_from(const struct gw_stanza *s)
{
    return gw_bytes(s->text + s->to_len, s->from_len);
}

static inline struct gw_bytes gw_stanza_from_bare(const struct gw_stanza *s)
{
    return gw_bytes(s->text + s->to_len, s->from_bare_len);
}

static inline struct gw_bytes gw_stanza_id(const struct gw_stanza *s)
{
    return gw_bytes(s->text + s->to_len + s->from_len, s->id_len);
}

static inline struct gw_bytes gw_stanza_ref(const struct gw_stanza *s)
{
    return gw_bytes(s->text + s->to_len + s->from_len + s->id_len, s->ref_len);
}

/* What the edge knows when it builds one. */
struct gw_stanza_form {
    enum gw_stanza_kind kind;
    enum gw_stanza_type type;
    uint8_t flags;
    struct gw_bytes to, to_bare, from, from_bare; /* prepared; `to` may be empty for presence */
    struct gw_bytes lang; /* where its sender has not said; may be empty */
    struct gw_bytes id;  /* unescaped */
    struct gw_bytes ref; /* unescaped */
    uint64_t to_hash;
    struct gw_fingerprint fingerprint; /* of a message that a repeat can be told by */
    struct gw_ref conn;
    uint32_t seq;
};

/* Rewrite the parsed stanza in l->xml into a new block: from and to stamped, elements that only the
 * server may add stripped, room for the stanza-id left. 0 when the arena is full. */
gw_block gw_stanza_build(struct gw_lcore *l, const struct gw_stanza_form *f);

/* A stanza whose bytes are given, in two pieces: as it leaves, or for a home alone. 0 when the arena is
 * full. */
gw_block gw_stanza_build_text(struct gw_lcore *l, const struct gw_stanza_form *f, struct gw_bytes a,
                              struct gw_bytes b);

/* Writes the 32 hex digits of XEP-0359's id for (mailbox, position) where the edge left room. */
void gw_stanza_set_id(struct gw_lcore *l, struct gw_stanza *s, const struct gw_mailbox_id *mailbox);

#endif
