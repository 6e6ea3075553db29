/* SPDX-License-Identifier: Apache-2.0 */
#include "expiry.h"

#include <stdatomic.h>

#include "../../storage/event.h"
#include "home.h"

uint64_t gw_expire_before_us(const struct gw_lcore *l)
{
    const _Atomic uint64_t *before_us = l->cfg->expire_before_us;
    return before_us != NULL ? atomic_load_explicit(before_us, memory_order_relaxed) : 0;
}

static uint64_t round_us(const struct gw_lcore *l)
{
    uint64_t us = l->cfg->mailbox_age_us / GW_EXPIRY_ROUNDS_AN_AGE;
    if (us < GW_EXPIRY_ROUND_US_MIN)
        return GW_EXPIRY_ROUND_US_MIN;
    return us < GW_EXPIRY_ROUND_US ? us : GW_EXPIRY_ROUND_US;
}

static void rest(struct gw_lcore *l)
{
    struct gw_home_expiry *x = &l->home->expiry;
    x->phase = GW_EXPIRY_IDLE;
    x->next_us = l->now_us + (x->slice.ended ? round_us(l) : GW_EXPIRY_SLICE_US);
    if (x->slice.ended)
        x->slice = (struct gw_expiry){0};
}

static unsigned ask(struct gw_lcore *l)
{
    struct gw_home_expiry *x = &l->home->expiry;
    uint64_t before_us = gw_expire_before_us(l);
    if (before_us == 0 || l->now_us < x->next_us)
        return 0;
    struct gw_store_request rq = {
        .op = GW_STORE_EXPIRED,
        .from = before_us,
        .data = &x->slice,
        .data_len = sizeof(x->slice),
        .tag = gw_home_tag(GW_HOME_TAG_EXPIRED, 0),
    };
    if (gw_store_submit(l->store, &rq) != 0)
        return 0;
    x->phase = GW_EXPIRY_ASKED;
    return 1;
}

void gw_home_expiry_found(struct gw_lcore *l, const struct gw_store_completion *c)
{
    struct gw_home_expiry *x = &l->home->expiry;
    x->at = 0;
    x->phase = GW_EXPIRY_REMOVING;
    if (c->status != 0) {
        /* A table that cannot be read to its end: the next round tries again. */
        GW_COUNT(l->home_count.expiry_failed);
        x->slice.ended = true;
    }
}

/* As many of one mailbox as one removal takes. */
static unsigned run_length(const struct gw_home_expiry *x, uint64_t positions[GW_REMOVAL_POSITIONS_MAX])
{
    const struct gw_expired *first = &x->slice.found[x->at];
    unsigned n = 0;
    while (n < GW_REMOVAL_POSITIONS_MAX && x->at + n < x->slice.count &&
           memcmp(&first[n].mailbox, &first->mailbox, sizeof(first->mailbox)) == 0) {
        positions[n] = first[n].position;
        n++;
    }
    return n;
}

static unsigned remove_some(struct gw_lcore *l)
{
    struct gw_home_expiry *x = &l->home->expiry;
    uint64_t positions[GW_REMOVAL_POSITIONS_MAX];
    unsigned done = 0;
    while (x->at < x->slice.count) {
        unsigned n = run_length(x, positions);
        if (!gw_home_can_append_removal(l, n))
            return done;
        gw_home_append_removal(l, &x->slice.found[x->at].mailbox, GW_EVENT_EXPIRED, positions, n);
        GW_COUNT_ADD(l->home_count.expired, n);
        x->at += n;
        x->segment = gw_home_last_number(l);
        done += n;
    }
    x->phase = GW_EXPIRY_SETTLING;
    return done + 1;
}

unsigned gw_home_expire(struct gw_lcore *l)
{
    struct gw_home_expiry *x = &l->home->expiry;
    if (l->index != 0)
        return 0;
    switch ((enum gw_expiry_phase)x->phase) {
    case GW_EXPIRY_IDLE:
        return ask(l);
    case GW_EXPIRY_ASKED:
        return 0;
    case GW_EXPIRY_REMOVING:
        return remove_some(l);
    case GW_EXPIRY_SETTLING:
        if (x->segment <= l->home->durable_number)
            rest(l);
        return 0;
    }
    return 0;
}
