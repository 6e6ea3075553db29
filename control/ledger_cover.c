/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_cover.h"

#include <stdlib.h>
#include <sys/random.h>

#include "../dataplane/base/check.h"

#define SLOTS_FIRST 64

/* A conversation in one direction, by a keyed hash of 64 bits. */
struct slot {
    uint64_t hash; /* 0: free */
    uint64_t displayed_us;
};

struct ledger_cover {
    struct gw_sipkey key;
    struct slot *slots;
    size_t mask, count;
};

struct ledger_cover *ledger_cover_new(void)
{
    struct ledger_cover *c = calloc(1, sizeof(*c));
    check(c != NULL);
    c->mask = SLOTS_FIRST - 1;
    c->slots = calloc(SLOTS_FIRST, sizeof(*c->slots));
    check(c->slots != NULL && getrandom(&c->key, sizeof(c->key), 0) == sizeof(c->key));
    return c;
}

void ledger_cover_free(struct ledger_cover **cp)
{
    if (*cp == NULL)
        return;
    free((*cp)->slots);
    free(*cp);
    *cp = NULL;
}

static struct slot *slot_of(const struct ledger_cover *c, uint64_t hash)
{
    size_t i = hash & c->mask;
    while (c->slots[i].hash != 0 && c->slots[i].hash != hash)
        i = (i + 1) & c->mask;
    return &c->slots[i];
}

/* Never more than half full. */
static void make_room(struct ledger_cover *c)
{
    struct slot *old = c->slots;
    size_t old_mask = c->mask;
    if (2 * (c->count + 1) <= c->mask + 1)
        return;
    c->mask = 2 * old_mask + 1;
    c->slots = calloc(c->mask + 1, sizeof(*c->slots));
    check(c->slots != NULL);
    for (size_t i = 0; i <= old_mask; i++)
        if (old[i].hash != 0)
            *slot_of(c, old[i].hash) = old[i];
    free(old);
}

/* The sender's name is as long as the bare JID is: where it ends is a part of the hash. */
static uint64_t conversation(const struct ledger_cover *c, const struct receipt *r)
{
    struct gw_sipkey key = {c->key.k0 ^ r->from_len, c->key.k1};
    uint64_t hash = gw_siphash(&key, r->text, (size_t)r->from_len + r->to_len);
    return hash != 0 ? hash : 1;
}

static void note(struct ledger_cover *c, uint64_t hash, uint64_t displayed_us)
{
    make_room(c);
    struct slot *s = slot_of(c, hash);
    c->count += s->hash == 0;
    /* Of several markers the first that came told of it. */
    if (s->hash == 0 || displayed_us < s->displayed_us)
        *s = (struct slot){hash, displayed_us};
}

uint64_t ledger_cover_look(struct ledger_cover *c, const struct receipt *r)
{
    uint64_t hash = conversation(c, r), own_us = r->time_us[RECEIPT_displayed];
    if (own_us != 0) {
        note(c, hash, own_us);
        return 0;
    }
    const struct slot *s = slot_of(c, hash);
    uint64_t delivered_us = r->time_us[RECEIPT_delivered];
    return s->hash != 0 && delivered_us != 0 && delivered_us <= s->displayed_us ? s->displayed_us : 0;
}
