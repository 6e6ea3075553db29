/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much waits in a mailbox, as its home knows it, and whether another message may.
 *
 * No count is kept on disk, so none can be wrong: the store counts what is there when an account is
 * loaded. From then on the home adds what it appends and takes nothing off, since it cannot know
 * which of the positions that clients confirm are still there. So what it knows is never too low, and
 * a limit is never passed. When it says that a mailbox may be full, and enough has been removed since
 * it was counted, the store counts again; only an exact count refuses anybody.
 *
 * Counting costs a step for each message, and is paid for by as many appends or removals: a mailbox
 * that was found full is counted again when a sixteenth of it has left, or after ten minutes, since what
 * expires leaves without its home being told.
 *
 * Pure functions, of the account's home lcore.
 */
#ifndef GW_XMPP_QUOTA_H
#define GW_XMPP_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

#define GW_QUOTA_RECOUNT_SHARE 16u
#define GW_QUOTA_RECOUNT_S     600u

struct gw_quota_limits {
    uint32_t messages;
    uint64_t bytes; /* of records: head and sealed body */
};

/* All zero: an empty mailbox. */
struct gw_quota {
    uint64_t bytes; /* at most so many are there */
    uint32_t messages;
    uint32_t counted; /* messages when they were counted last */
    uint32_t left;    /* positions removed since, some perhaps twice */
    uint32_t counted_s; /* when: seconds of the monotonic clock */
};

enum gw_quota_verdict {
    GW_QUOTA_ROOM,
    GW_QUOTA_UNSURE, /* perhaps full: count first */
    GW_QUOTA_MESSAGES, /* full: as many as may be */
    GW_QUOTA_BYTES,  /* full: no room for a record of this size */
};

/* Whether a record of `bytes` may be added. */
enum gw_quota_verdict gw_quota_ask(const struct gw_quota *q, const struct gw_quota_limits *max,
                                   uint32_t bytes, uint32_t now_s);
void gw_quota_added(struct gw_quota *q, uint32_t bytes);
void gw_quota_removed(struct gw_quota *q, uint32_t positions);
/* What will be counted is what is there now: removals from here on come on top of it. */
void gw_quota_count_begins(struct gw_quota *q, uint32_t now_s);
/* Nothing was added since the count began. */
void gw_quota_counted(struct gw_quota *q, uint64_t messages, uint64_t bytes);
/* The limits have changed: whatever was found before, count when in doubt. */
void gw_quota_doubt(struct gw_quota *q);

#endif
