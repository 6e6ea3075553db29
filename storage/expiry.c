/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which spilled messages are too old: a walk from mailbox to mailbox, in slices.
 *
 * Of a mailbox it opens the oldest message, whose time is sealed in it, and goes on only as long as
 * messages are too old: one that has nothing to expire costs a seek. An index of mailboxes by day
 * would save these, and cost a further key for every mailbox of every spill. What the log still holds
 * is not looked at: it is young, or will be spilled before the next round.
 */
#include "expiry.h"

#include <errno.h>

#include "reseal.h"
#include "store_int.h"

/* Records looked at in one slice: a read that arrives meanwhile waits for it. */
#define LOOKS_MAX GW_EXPIRED_MAX

struct slice {
    struct gw_store *s;
    struct gw_expiry *x;
    uint64_t before_us;
    struct gw_iter *it;
    bool known; /* the keys are of x->mailbox */
    struct account_keys keys;
};

static void stand_at(struct slice *y, const struct gw_mailbox_id *mailbox, uint64_t position)
{
    if (memcmp(&y->x->mailbox, mailbox, sizeof(*mailbox)) != 0)
        y->known = false;
    y->x->mailbox = *mailbox;
    y->x->position = position;
}

/* NULL: they do not open, or nothing is sealed here. */
static const struct account_keys *keys_of(struct slice *y)
{
    if (!y->known) {
        account_keys_wipe(&y->keys);
        if (vault_fetch(y->s, &y->s->hand, &y->x->mailbox, &y->keys) != 0)
            y->keys.count = 0;
        y->known = true;
    }
    return y->keys.count > 0 ? &y->keys : NULL;
}

/* When it was accepted; -EBADMSG: it does not open. */
static int time_of(struct slice *y, struct gw_bytes value, uint64_t *accepted_us)
{
    struct gw_store *s = y->s;
    struct gw_record_head *r = (void *)store_scratch(s, value.len);
    memcpy(r, value.p, value.len);
    if (gw_record_body_len(r) < sizeof(*accepted_us))
        return -EBADMSG;
    bool opened = s->cfg.keys == NULL;
    if (!opened) {
        const struct account_keys *keys = keys_of(y);
        opened = keys != NULL && reseal_open(s, &s->hand, &keys->identity, keys, r);
    }
    memcpy(accepted_us, r + 1, sizeof(*accepted_us));
    explicit_bzero(r + 1, gw_record_body_len(r));
    return opened ? 0 : -EBADMSG;
}

/* Behind the mailbox at which it stands. False: there is none. */
static bool next_mailbox(struct slice *y)
{
    struct gw_mailbox_id next = y->x->mailbox;
    int i = sizeof(next.b) - 1;
    while (i >= 0 && ++next.b[i] == 0)
        i--;
    if (i < 0)
        return false;
    stand_at(y, &next, 0);
    uint8_t key[MAILBOX_KEY_BYTES];
    mailbox_key(key, &next, 0);
    y->s->ops->seek(y->it, gw_bytes(key, sizeof(key)));
    return true;
}

/* The message at which the iterator stands. False: nothing further of its mailbox is too old. */
static bool look(struct slice *y, struct gw_bytes key, struct gw_bytes value)
{
    struct gw_expiry *x = y->x;
    struct gw_mailbox_id mailbox;
    memcpy(&mailbox, key.p, sizeof(mailbox));
    uint64_t position = gw_be64(key.p + sizeof(mailbox)), accepted_us;
    stand_at(y, &mailbox, position + 1);
    const struct window_mailbox *m = window_find(&y->s->window, &mailbox);
    if (removals_have(y->s, &mailbox, position) || (m != NULL && window_decides(m, position)))
        return true; /* it is being removed */
    /* What is damaged stays for `store verify` to name. */
    if (!mailbox_value_ok(&mailbox, key, value) || time_of(y, value, &accepted_us) != 0)
        return true;
    if (accepted_us >= y->before_us)
        return false;
    x->found[x->count++] = (struct gw_expired){mailbox, position};
    return true;
}

void expiry_some(struct gw_store *s, const struct gw_store_request *r,
                 struct gw_store_completion *done)
{
    struct slice y = {.s = s, .x = r->data, .before_us = r->from};
    uint8_t key[MAILBOX_KEY_BYTES];
    check(r->data_len == sizeof(*y.x));
    y.x->count = 0;
    y.it = s->ops->iter_new(s->engine, GW_SPACE_MAILBOX, gw_bytes(NULL, 0));
    mailbox_key(key, &y.x->mailbox, y.x->position);
    s->ops->seek(y.it, gw_bytes(key, sizeof(key)));
    unsigned n = 0;
    bool more = true;
    for (; n < LOOKS_MAX && more && s->ops->valid(y.it); n++) {
        struct gw_bytes at = s->ops->key(y.it);
        if (at.len != MAILBOX_KEY_BYTES || look(&y, at, s->ops->value(y.it)))
            s->ops->next(y.it);
        else
            more = next_mailbox(&y);
    }
    y.x->ended = !more || !s->ops->valid(y.it);
    done->status = y.x->ended && more ? s->ops->status(y.it) : 0;
    s->ops->iter_free(&y.it);
    account_keys_wipe(&y.keys);
    GW_COUNT_ADD(s->storage_counters.expiry_looks, n);
}
