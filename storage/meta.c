/* SPDX-License-Identifier: Apache-2.0 */
/* META: the format's version, the store's state, how far CAS versions are reserved, dropped
 * mailboxes. Values are little-endian, as everything in the segments. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "store_int.h"

#define DROPPED_PREFIX "dropped/"
/* A version given out must never be given again, also when nothing remembers the first. */
#define VERSIONS_RESERVED_AT_ONCE (1u << 20)

static struct gw_bytes state_bytes(const struct store_state *state)
{
    return gw_bytes(state, sizeof(*state));
}

void meta_put_state(struct gw_store *s, struct gw_batch *b)
{
    s->ops->put(b, GW_SPACE_META, GW_LIT("state"), state_bytes(&s->state));
}

void meta_put_version(struct gw_store *s, struct gw_batch *b)
{
    s->version_reserved = s->version_next + VERSIONS_RESERVED_AT_ONCE;
    s->ops->put(b, GW_SPACE_META, GW_LIT("version"),
                gw_bytes(&s->version_reserved, sizeof(s->version_reserved)));
}

struct dropped_key {
    char prefix[sizeof(DROPPED_PREFIX) - 1];
    struct gw_mailbox_id mailbox;
};

static struct dropped_key dropped_key(const struct dropped *d)
{
    struct dropped_key k = {.mailbox = d->mailbox};
    memcpy(k.prefix, DROPPED_PREFIX, sizeof(k.prefix));
    return k;
}

void meta_put_dropped(struct gw_store *s, struct gw_batch *b, const struct dropped *d)
{
    struct dropped_key k = dropped_key(d);
    s->ops->put(b, GW_SPACE_META, gw_bytes(&k, sizeof(k)),
                gw_bytes(&d->segment, sizeof(d->segment)));
}

void meta_del_dropped(struct gw_store *s, struct gw_batch *b, const struct dropped *d)
{
    struct dropped_key k = dropped_key(d);
    s->ops->del(b, GW_SPACE_META, gw_bytes(&k, sizeof(k)));
}

/* 0 and the value, or -ENOENT, -EBADMSG, -EIO. */
static int get_exact(struct gw_store *s, struct gw_bytes key, void *out, size_t size)
{
    size_t len;
    int err = s->ops->get(s->engine, GW_SPACE_META, key, out, size, &len);
    return err ? err : len == size ? 0 : -EBADMSG;
}

static int make_fresh(struct gw_store *s)
{
    uint32_t format = STORE_FORMAT;
    s->state = (struct store_state){.segment_oldest = 1, .segment_next = 1, .position_floor = 1};
    s->version_next = 1;
    s->ops->batch_clear(s->batch);
    s->ops->put(s->batch, GW_SPACE_META, GW_LIT("format"), gw_bytes(&format, sizeof(format)));
    meta_put_state(s, s->batch);
    meta_put_version(s, s->batch);
    return s->ops->write(s->engine, s->batch, true);
}

/* Since the backup was made positions and segment numbers were given out that it knows nothing of:
 * go on where none of them can be. */
#define RESTORED_STEP (UINT64_C(1) << 32)

void meta_put_restored(const struct gw_engine_ops *ops, struct gw_batch *b)
{
    uint32_t yes = 1;
    ops->put(b, GW_SPACE_META, GW_LIT("restored"), gw_bytes(&yes, sizeof(yes)));
}

static int step_if_restored(struct gw_store *s)
{
    uint32_t yes;
    int status = get_exact(s, GW_LIT("restored"), &yes, sizeof(yes));
    if (status)
        return status == -ENOENT ? 0 : status;
    s->state.position_floor += RESTORED_STEP;
    s->state.segment_next += RESTORED_STEP;
    s->state.segment_oldest = s->state.segment_next;
    s->ops->batch_clear(s->batch);
    meta_put_state(s, s->batch);
    s->ops->del(s->batch, GW_SPACE_META, GW_LIT("restored"));
    return s->ops->write(s->engine, s->batch, true);
}

static int load_dropped(struct gw_store *s)
{
    struct gw_iter *it = s->ops->iter_new(s->engine, GW_SPACE_META, GW_LIT(DROPPED_PREFIX));
    for (s->ops->seek(it, GW_LIT(DROPPED_PREFIX)); s->ops->valid(it); s->ops->next(it)) {
        struct gw_bytes key = s->ops->key(it), value = s->ops->value(it);
        struct dropped d;
        if (key.len != sizeof(struct dropped_key) || value.len != sizeof(d.segment))
            continue;
        memcpy(&d.mailbox, key.p + sizeof(DROPPED_PREFIX) - 1, sizeof(d.mailbox));
        memcpy(&d.segment, value.p, sizeof(d.segment));
        s->dropped = realloc(s->dropped, (s->dropped_count + 1) * sizeof(d));
        check(s->dropped != NULL);
        s->dropped[s->dropped_count++] = d;
    }
    int err = s->ops->status(it);
    s->ops->iter_free(&it);
    return err;
}

int meta_load(struct gw_store *s, char err[256])
{
    uint32_t format;
    int status = get_exact(s, GW_LIT("format"), &format, sizeof(format));
    if (status == -ENOENT) {
        status = make_fresh(s);
        if (status)
            snprintf(err, 256, "cannot write to a fresh store: %s", strerror(-status));
        return status;
    }
    if (!status && format != STORE_FORMAT) {
        snprintf(err, 256, "the store has format %u, this program reads format %u", format,
                 STORE_FORMAT);
        return -ENOTSUP;
    }
    if (!status)
        status = get_exact(s, GW_LIT("state"), &s->state, sizeof(s->state));
    if (!status)
        status = get_exact(s, GW_LIT("version"), &s->version_next, sizeof(s->version_next));
    s->version_reserved = s->version_next;
    if (!status)
        status = step_if_restored(s);
    if (!status)
        status = load_dropped(s);
    if (status)
        snprintf(err, 256, "the store's own state cannot be read: %s", strerror(-status));
    return status == -ENOENT ? -EBADMSG : status;
}
