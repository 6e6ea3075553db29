/* SPDX-License-Identifier: Apache-2.0 */
/* Stanzas that a home sends to accounts of its own and of others: subscriptions, presence, probes. */
#include "home.h"

/* Of the credits these are for edges alone: what users send comes first. */
#define CREDITS_KEPT (GW_CREDITS / 4)
/* In one pass, to each home. */
#define BURST 64u

bool gw_home_send(struct gw_lcore *l, const struct gw_stanza_form *f, struct gw_bytes a,
                  struct gw_bytes b)
{
    struct gw_outbox *o = &l->home->outbox;
    struct gw_stanza_form hashed = *f;
    hashed.to_hash = gw_home_hash(l, f->to_bare);
    gw_block block = o->count < GW_OUTBOX_MAX ? gw_stanza_build_text(l, &hashed, a, b) : 0;
    if (block == 0) {
        GW_COUNT(l->home_count.outbox_dropped);
        return false;
    }
    unsigned home = gw_home_of_hash(l, hashed.to_hash);
    if (o->tail[home] != 0)
        ((struct gw_stanza *)gw_arena_ptr(l->arena, o->tail[home]))->next = block;
    else
        o->head[home] = block;
    o->tail[home] = block;
    o->count++;
    return true;
}

static unsigned send_to(struct gw_lcore *l, unsigned home)
{
    struct gw_outbox *o = &l->home->outbox;
    unsigned n = 0;
    for (; n < BURST && o->head[home] != 0 && gw_post_up_room(l, home) > CREDITS_KEPT; n++) {
        struct gw_post p = {.op = GW_POST_STANZA, .block = o->head[home],
                            .owner = (uint8_t)l->index};
        struct gw_stanza *s = gw_arena_ptr(l->arena, p.block);
        o->head[home] = s->next;
        if (o->head[home] == 0)
            o->tail[home] = 0;
        s->next = 0;
        o->count--;
        gw_post_up(l, home, &p);
    }
    return n;
}

unsigned gw_home_send_out(struct gw_lcore *l)
{
    unsigned n = 0;
    for (unsigned home = 0; home < l->count && l->home->outbox.count > 0; home++)
        n += send_to(l, home);
    return n;
}
