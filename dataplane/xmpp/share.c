/* SPDX-License-Identifier: Apache-2.0 */
#include "share.h"

#include <string.h>

struct gw_share_limit gw_share_limit(const struct gw_quota_limits *max, unsigned percent)
{
    return (struct gw_share_limit){.bytes = max->bytes * percent / 100,
                                   .cost_min = max->messages > 0 ? max->bytes / max->messages : 0};
}

static uint64_t cost_of(const struct gw_share_limit *max, uint32_t record_bytes)
{
    return record_bytes > max->cost_min ? record_bytes : max->cost_min;
}

bool gw_share_is_idle(const struct gw_share_limit *max, uint64_t messages, uint64_t bytes)
{
    return messages * max->cost_min + bytes < max->bytes;
}

static bool is_over(const struct gw_share *s, uint16_t mark)
{
    for (unsigned i = 0; i < s->over_count; i++)
        if (s->over[i] == mark)
            return true;
    return false;
}

/* Enough has left, or time has passed: who was over may not be. */
static void renew(struct gw_share *s, uint32_t now_s)
{
    bool left = s->left > 0 && s->left >= s->count.messages / GW_QUOTA_RECOUNT_SHARE;
    if (!left && now_s - s->since_s < GW_QUOTA_RECOUNT_S)
        return;
    s->over_count = 0;
    s->left = 0;
    s->since_s = now_s;
    s->count.mark = 0; /* what it had is known no longer */
}

static uint64_t most_of(const struct gw_share *s, uint16_t mark)
{
    return mark == s->count.mark ? s->count.of_mark : gw_marks_of(&s->count.marks, mark);
}

void gw_share_added(struct gw_share *s, const struct gw_share_limit *max, uint16_t mark,
                    uint32_t record_bytes)
{
    uint64_t cost = cost_of(max, record_bytes);
    s->count.of_mark += mark == s->count.mark ? cost : 0;
    gw_marks_add(&s->count.marks, mark, cost);
}

enum gw_share_verdict gw_share_ask(struct gw_share *s, const struct gw_share_limit *max,
                                   uint16_t mark, uint32_t record_bytes, uint32_t now_s)
{
    uint64_t cost = cost_of(max, record_bytes);
    if (cost > max->bytes)
        return GW_SHARE_OVER;
    if (s == NULL)
        return GW_SHARE_UNSURE;
    if (most_of(s, mark) + cost <= max->bytes)
        return GW_SHARE_ROOM;
    renew(s, now_s);
    /* More than that cannot hold a share each: some have tried messages too large for what was left of
     * theirs. Then the bound decides, so that nobody makes us count for every message. */
    if (is_over(s, mark) || s->over_count == GW_SHARE_OVER_MAX)
        return GW_SHARE_OVER;
    if (s->count.mark != mark)
        return GW_SHARE_UNSURE;
    s->over[s->over_count++] = mark;
    return GW_SHARE_OVER;
}

void gw_share_counted(struct gw_share *s, const struct gw_share *before, uint32_t now_s)
{
    gw_marks_set(&s->count.marks, s->count.mark, s->count.of_mark);
    s->left = before != NULL ? before->left : 0;
    s->since_s = before != NULL ? before->since_s : now_s;
    s->over_count = before != NULL ? before->over_count : 0;
    if (before != NULL)
        memcpy(s->over, before->over, sizeof(s->over));
}
