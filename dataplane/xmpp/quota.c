/* SPDX-License-Identifier: Apache-2.0 */
#include "quota.h"

static bool may_have_room(const struct gw_quota *q, uint32_t now_s)
{
    return (q->left > 0 && q->left >= q->counted / GW_QUOTA_RECOUNT_SHARE) ||
           now_s - q->counted_s >= GW_QUOTA_RECOUNT_S;
}

enum gw_quota_verdict gw_quota_ask(const struct gw_quota *q, const struct gw_quota_limits *max,
                                   uint32_t bytes, uint32_t now_s)
{
    bool many = q->messages >= max->messages;
    if (!many && q->bytes + bytes <= max->bytes)
        return GW_QUOTA_ROOM;
    if (may_have_room(q, now_s))
        return GW_QUOTA_UNSURE;
    return many ? GW_QUOTA_MESSAGES : GW_QUOTA_BYTES;
}

void gw_quota_added(struct gw_quota *q, uint32_t bytes)
{
    q->messages++;
    q->bytes += bytes;
}

void gw_quota_removed(struct gw_quota *q, uint32_t positions)
{
    q->left = positions < UINT32_MAX - q->left ? q->left + positions : UINT32_MAX;
}

void gw_quota_count_begins(struct gw_quota *q, uint32_t now_s)
{
    q->left = 0;
    q->counted_s = now_s;
}

void gw_quota_counted(struct gw_quota *q, uint64_t messages, uint64_t bytes)
{
    q->messages = q->counted = messages < UINT32_MAX ? (uint32_t)messages : UINT32_MAX;
    q->bytes = bytes;
}

void gw_quota_doubt(struct gw_quota *q)
{
    q->left = UINT32_MAX;
}
