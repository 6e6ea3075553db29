/* SPDX-License-Identifier: Apache-2.0 */
#include "removals.h"

#include <stdlib.h>

#include "store_int.h"

/* A range of more positions is one tombstone, so that a reader who comes by later need not step over
 * each. */
#define DELETE_EACH_MAX 4u

#define SLOTS (2 * REMOVALS_MAX)
_Static_assert((SLOTS & (SLOTS - 1)) == 0 && REMOVALS_MAX < UINT16_MAX, "slots are found by a mask");

/* A mailbox id is a part of a SHA-256 of a secret: uniform, and nobody's to choose. */
static uint32_t slot_of(const struct gw_mailbox_id *id)
{
    uint32_t h;
    memcpy(&h, id->b, sizeof(h));
    return h & (SLOTS - 1);
}

static bool is_of(const struct removals *x, uint32_t slot, const struct gw_mailbox_id *id)
{
    return memcmp(&x->all[x->slots[slot] - 1].mailbox, id, sizeof(*id)) == 0;
}

bool removals_has(const struct removals *x, const struct gw_mailbox_id *mailbox)
{
    uint32_t i = slot_of(mailbox);
    while (x->slots[i] != 0 && !is_of(x, i, mailbox))
        i = (i + 1) & (SLOTS - 1);
    return x->slots[i] != 0;
}

bool removals_add(struct removals *x, const struct gw_mailbox_id *mailbox, uint64_t first,
                  uint64_t last)
{
    check(last != UINT64_MAX && first <= last);
    uint32_t i = slot_of(mailbox);
    for (; x->slots[i] != 0; i = (i + 1) & (SLOTS - 1)) {
        struct removal *r = &x->all[x->slots[i] - 1];
        if (is_of(x, i, mailbox) && r->last + 1 == first) {
            r->last = last;
            return true;
        }
    }
    if (x->count == REMOVALS_MAX)
        return false;
    x->all[x->count++] = (struct removal){.mailbox = *mailbox, .first = first, .last = last};
    x->slots[i] = (uint16_t)x->count;
    return true;
}

void removals_forget(struct removals *x)
{
    x->count = 0;
    memset(x->slots, 0, sizeof(x->slots));
}

static int by_mailbox(const void *a, const void *b)
{
    const struct removal *x = a, *y = b;
    int order = memcmp(&x->mailbox, &y->mailbox, sizeof(x->mailbox));
    return order != 0 ? order : (x->first > y->first) - (x->first < y->first);
}

void removals_put_range(struct gw_store *s, const struct gw_mailbox_id *mailbox, uint64_t first,
                        uint64_t last)
{
    uint8_t key[MAILBOX_KEY_BYTES], end[MAILBOX_KEY_BYTES];
    mailbox_key(key, mailbox, first);
    mailbox_key(end, mailbox, last + 1);
    s->ops->del_range(s->batch, GW_SPACE_MAILBOX, gw_bytes(key, sizeof(key)),
                      gw_bytes(end, sizeof(end)));
}

static void put_one(struct gw_store *s, const struct removal *r)
{
    if (r->last - r->first >= DELETE_EACH_MAX) {
        removals_put_range(s, &r->mailbox, r->first, r->last);
        return;
    }
    uint8_t key[MAILBOX_KEY_BYTES];
    for (uint64_t position = r->first; position <= r->last; position++) {
        mailbox_key(key, &r->mailbox, position);
        s->ops->del(s->batch, GW_SPACE_MAILBOX, gw_bytes(key, sizeof(key)));
    }
}

static void put_all(struct gw_store *s)
{
    struct removals *x = s->removals;
    qsort(x->all, x->count, sizeof(x->all[0]), by_mailbox);
    for (unsigned i = 0; i < x->count; i++)
        put_one(s, &x->all[i]);
    removals_forget(x);
}

void removals_flush(struct gw_store *s)
{
    if (s->removals->count == 0 || atomic_load(&s->failed))
        return;
    index_flush(s); /* it may have begun the batch */
    s->ops->batch_clear(s->batch);
    put_all(s);
    meta_put_state(s, s->batch);
    /* Not synced: when it is lost, the REMOVEs are still in the log and are done again. */
    int err = s->ops->write(s->engine, s->batch, false);
    if (err)
        store_fail(s, "removing spilled messages", err);
}
