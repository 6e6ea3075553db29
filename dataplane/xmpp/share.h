/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sender's share of a mailbox, so that one cannot fill it for all others.
 *
 * A message costs its record's bytes, and at least what a message may take on average when as many
 * wait as may: so one limit, a share of the bytes, serves for messages and bytes. A sender is known by
 * a mark of 16 bits in the record's head, a keyed hash of sender and mailbox; two that share a mark
 * share its allowance, and nobody can choose to.
 *
 * As with quotas (quota.h) an upper bound is kept, and an exact count, of this one sender's messages,
 * refuses. While all that waits is less than one share nothing is kept at all, so that only mailboxes
 * that fill take memory. A sender found over its share stays so until a sixteenth of the mailbox has
 * left, or ten minutes have passed: however many send, each is counted for once in that time.
 *
 * Pure functions, of the account's home lcore.
 */
#ifndef GW_XMPP_SHARE_H
#define GW_XMPP_SHARE_H

#include <stdbool.h>

#include "../../storage/store.h"
#include "quota.h"

#define GW_SHARE_PERCENT_MIN 10u
#define GW_SHARE_OVER_MAX    (100u / GW_SHARE_PERCENT_MIN) /* so many can hold a whole share at most */

struct gw_share {
    struct gw_mailbox_count count; /* as it was counted; its marks are kept up since */
    uint64_t from;                 /* while it is being counted: where that goes on */
    uint32_t asked_bytes;          /* of the record for which it is counted */
    uint32_t left;                 /* positions removed since `since_s` */
    uint32_t since_s;
    uint16_t over_count;
    uint16_t over[GW_SHARE_OVER_MAX]; /* marks that were found over their share since then */
};

struct gw_share_limit {
    uint64_t bytes;    /* a sender's share */
    uint64_t cost_min; /* of a message */
};

enum gw_share_verdict {
    GW_SHARE_ROOM,
    GW_SHARE_UNSURE, /* count what this sender has there first */
    GW_SHARE_OVER,
};

/* Whether one sender may not have all of a mailbox. */
static inline bool gw_share_is_limited(unsigned percent)
{
    return percent > 0 && percent < 100;
}
/* percent of a mailbox with these limits. */
struct gw_share_limit gw_share_limit(const struct gw_quota_limits *max, unsigned percent);
/* Whether nobody can have more than a share of so much. */
bool gw_share_is_idle(const struct gw_share_limit *max, uint64_t messages, uint64_t bytes);
/* s NULL: nothing is known. */
enum gw_share_verdict gw_share_ask(struct gw_share *s, const struct gw_share_limit *max,
                                   uint16_t mark, uint32_t record_bytes, uint32_t now_s);
/* A message was appended. */
void gw_share_added(struct gw_share *s, const struct gw_share_limit *max, uint16_t mark,
                    uint32_t record_bytes);
/* It was counted; before: what was known until then, or NULL. */
void gw_share_counted(struct gw_share *s, const struct gw_share *before, uint32_t now_s);

#endif
