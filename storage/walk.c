/* SPDX-License-Identifier: Apache-2.0 */
#include "walk.h"

#include <stdarg.h>
#include <stdio.h>

#include "store_int.h"

struct gw_iter *walk_seek(struct gw_store *s, const struct gw_walk *w, uint8_t space,
                          struct gw_bytes prefix)
{
    struct gw_iter *it = s->ops->iter_new(s->engine, (enum gw_space)space, prefix);
    struct gw_bytes at = gw_bytes(w->key, w->key_len);
    s->ops->seek(it, w->key_len > 0 ? at : prefix);
    if (w->key_len > 0 && s->ops->valid(it) && gw_bytes_eq(s->ops->key(it), at))
        s->ops->next(it);
    return it;
}

void walk_stand(struct gw_walk *w, struct gw_bytes key)
{
    size_t len = key.len < sizeof(w->key) ? key.len : sizeof(w->key);
    w->key_len = (uint16_t)len;
    memcpy(w->key, key.p, len);
}

void walk_next_stage(struct gw_walk *w, uint8_t stage_count)
{
    w->key_len = 0;
    w->ended = ++w->stage == stage_count;
}

void walk_damage(struct gw_walk *w, const struct gw_mailbox_id *mailbox, uint64_t position,
                 const char *format, ...)
{
    w->damaged++;
    if (w->damage_count == GW_WALK_DAMAGES_MAX)
        return;
    struct gw_damage *d = &w->damages[w->damage_count++];
    *d = (struct gw_damage){.position = position};
    if (mailbox != NULL)
        d->mailbox = *mailbox;
    va_list args;
    va_start(args, format);
    vsnprintf(d->what, sizeof(d->what), format, args);
    va_end(args);
}
