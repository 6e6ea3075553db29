/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session that ends has not confirmed, or not even been handed, of what is for its full JID goes
 * to those of its account that stay: by then it is as if it were for the bare JID (RFC 6121 section
 * 8.5.3.2.1, XEP-0198 section 5).
 *
 * The others have passed it by, their cursors are behind it. Each of them so keeps the positions that are
 * to be looked at once more, with the resource that they were for, and does that before it goes on: what
 * was sent to that resource arrives in its order. A session claims only what comes while it is available
 * (claims_from), and what it claims no other has been handed: so nobody is handed anything twice.
 */
#include "home.h"

#include "../../storage/mutant.h"

static struct gw_inherited *at(const struct gw_lcore *l, gw_block b)
{
    return gw_arena_ptr(l->arena, b);
}

struct gw_inherited *gw_home_inherited(const struct gw_lcore *l, const struct gw_home_session *s)
{
    return at(l, s->inherited);
}

static void drop_first(struct gw_lcore *l, struct gw_home_session *s)
{
    gw_block b = s->inherited;
    s->inherited = at(l, b)->next;
    s->inherited_count--;
    gw_arena_put(l->arena, b);
}

void gw_home_inherited_drop_done(struct gw_lcore *l, struct gw_home_session *s)
{
    while (s->inherited != 0 && at(l, s->inherited)->from >= at(l, s->inherited)->to)
        drop_first(l, s);
}

void gw_home_inherited_rewind(struct gw_lcore *l, struct gw_home_session *s, uint64_t position)
{
    struct gw_inherited *n = gw_home_inherited(l, s);
    if (position < n->from)
        n->from = position;
}

void gw_home_inherited_free(struct gw_lcore *l, struct gw_home_session *s)
{
    while (s->inherited != 0)
        drop_first(l, s);
}

void gw_home_inherited_clip(struct gw_lcore *l, struct gw_home_session *s)
{
    for (gw_block b = s->inherited; b != 0; b = at(l, b)->next)
        if (at(l, b)->to > s->cursor)
            at(l, b)->to = s->cursor;
}

/* Behind what it has inherited before. False: that is too much, or there is no memory. */
static bool remember(struct gw_lcore *l, struct gw_home_session *heir, const struct gw_home_session *s)
{
    struct gw_bytes resource = gw_session_resource(l, s);
    gw_block b = heir->inherited_count < GW_INHERITED_MAX
                     ? gw_arena_get(l->arena, sizeof(struct gw_inherited) + resource.len)
                     : 0;
    if (b == 0)
        return false;
    *at(l, b) = (struct gw_inherited){.from = s->claims_from, .to = heir->cursor,
                                      .len = (uint16_t)resource.len};
    memcpy(at(l, b)->resource, resource.p, resource.len);
    gw_block *link = &heir->inherited;
    while (*link != 0)
        link = &at(l, *link)->next;
    *link = b;
    heir->inherited_count++;
    return true;
}

static void inherit(struct gw_lcore *l, uint32_t i, const struct gw_home_session *s)
{
    struct gw_home_session *heir = gw_home_session(l, i);
    if (s->claims_from < heir->cursor) {
        if (remember(l, heir, s))
            GW_COUNT(l->home_count.inherited);
        else
            GW_COUNT(l->home_count.inherited_dropped);
    }
    if (!gw_session_reads(heir))
        return;
    heir->behind = true;
    heir->read_after = gw_home_last_number(l); /* what it has confirmed is to be gone by then */
    gw_home_read_on(l, i);
}

void gw_home_claims_end(struct gw_lcore *l, uint32_t i)
{
    const struct gw_home_session *s = gw_home_session(l, i);
    const struct gw_home_account *a = gw_home_account(l, s->account);
    bool leaves = s->available && (s->in_flight > 0 || s->behind) && s->claims_from < a->next_position;
    if (GW_IS_MUTANT(forget_heirs))
        return;
    for (uint32_t k = leaves ? a->sessions : 0; k != 0; k = gw_home_session(l, k)->next)
        if (k != i)
            inherit(l, k, s);
}
