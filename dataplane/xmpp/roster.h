/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A roster as bytes: an account's contacts, who has asked to become one, and whom it blocks.
 *
 * One run of bytes, what is blocked in front, the same on disk (sealed, GW_NS_ROSTER, key: the bare JID) and in memory (one arena
 * block of the account's home): read in a row, and changed by making another. Names and groups are kept
 * escaped, as they are written into XML. An account without any has no record and no block.
 *
 * Pure functions of bytes; what they return points into what they were given.
 */
#ifndef GW_XMPP_ROSTER_H
#define GW_XMPP_ROSTER_H

#include "../base/text.h"
#include "../base/siphash.h"
#include "subscription.h"

#define GW_ROSTER_NAME_BYTES_MAX  1023u /* of a name or a group, before it is escaped */
#define GW_ROSTER_GROUPS_MAX      32u   /* of one contact */
#define GW_ROSTER_PENDING_MAX     100u  /* requests of strangers that wait for an answer */
#define GW_ROSTER_REQUEST_BYTES_MAX 1024u /* what is kept of such a request's own elements */

/* On disk; little-endian. The entries follow, not aligned. */
struct gw_roster_head {
    uint8_t format; /* GW_ROSTER_FORMAT */
    uint8_t reserved[3];
    uint32_t entries;
    uint8_t identity[32]; /* of the account: a later one of the same name does not get it */
};
_Static_assert(sizeof(struct gw_roster_head) == 40, "on disk");
#define GW_ROSTER_FORMAT 1

enum {
    GW_ROSTER_LISTED = 0x10,  /* an item of the roster; else known only by its request */
    GW_ROSTER_BLOCKED = 0x20, /* of the block list: a JID of any form, and nothing else */
};

struct gw_roster_entry_head {
    uint8_t flags; /* GW_SUB_* and GW_ROSTER_* */
    uint8_t group_count;
    uint16_t jid_len, name_len, groups_len, request_len;
};
_Static_assert(sizeof(struct gw_roster_entry_head) == 10, "on disk");

struct gw_roster_entry {
    uint8_t flags;
    uint8_t group_count;
    struct gw_bytes jid;
    struct gw_bytes name;    /* escaped */
    struct gw_bytes groups;  /* a run of u16 length and escaped text */
    struct gw_bytes request; /* of a pending `subscribe`: its children, as XML */
};

struct gw_roster_counts {
    uint32_t listed, pending, blocked;
};

/* The next entry: *at is moved on. False: there is none. *at 0 begins. An empty roster is a roster. */
bool gw_roster_next(struct gw_bytes roster, size_t *at, struct gw_roster_entry *e);
/* 0; -EBADMSG: these bytes are no roster. */
int gw_roster_check(struct gw_bytes roster);
struct gw_roster_counts gw_roster_count(struct gw_bytes roster);
/* The contact of this bare JID, listed or not; or, in the block list, this JID. False: none; then *e is an
 * empty one with that jid. */
bool gw_roster_find(struct gw_bytes roster, struct gw_bytes jid, bool blocked,
                    struct gw_roster_entry *e);

/* Whether the block list names a full JID, its bare one, its domain with its resource, or its domain:
 * XEP-0191 section 3. */
bool gw_roster_blocks(struct gw_bytes roster, struct gw_bytes full, struct gw_bytes bare);

/* The bytes that a roster takes with `e` in the place of the entry of the same jid and kind, or behind the
 * others; at most. */
size_t gw_roster_size_with(struct gw_bytes roster, const struct gw_roster_entry *e);
/* That roster; one that is blocked anew comes first; an entry that says nothing is left out: neither listed, blocked nor with a state. `out`
 * must not overlap `roster`. Returns its length, 0 when it is empty. */
size_t gw_roster_with(struct gw_bytes roster, const uint8_t identity[32],
                      const struct gw_roster_entry *e, uint8_t *out);
/* That roster without this JID in the block list. */
size_t gw_roster_unblock(struct gw_bytes roster, struct gw_bytes jid, uint8_t *out);
/* The same without any blocked JID. */
size_t gw_roster_unblocked(struct gw_bytes roster, uint8_t *out);

/* A value for `ver` (RFC 6121 section 2.6): of the items as a client sees them. */
#define GW_ROSTER_VER_DIGITS 16
void gw_roster_ver(struct gw_bytes roster, const struct gw_sipkey *key,
                   char out[GW_ROSTER_VER_DIGITS]);

/* The longest item that an entry is written as. */
size_t gw_roster_item_bytes(const struct gw_roster_entry *e);
/* <item/>; one that is not listed is one that was removed. */
void gw_roster_put_item(struct gw_text *t, const struct gw_roster_entry *e);

#endif
