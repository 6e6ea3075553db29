/* SPDX-License-Identifier: Apache-2.0 */
/* Small records: a version before the value, compare-and-set, many in one durable write. */
#include <errno.h>

#include "store_int.h"

#define VERSION_BYTES sizeof(uint64_t)

static struct gw_bytes small_key(uint8_t buf[SMALL_KEY_BYTES_MAX], const struct gw_store_request *r)
{
    buf[0] = r->ns;
    if (r->key_len > 0)
        memcpy(buf + 1, r->key, r->key_len);
    return gw_bytes(buf, 1 + (size_t)r->key_len);
}

enum gw_space small_space(uint8_t ns)
{
    return ns == GW_NS_KEY || ns == GW_NS_ACCOUNT_KEY ? GW_SPACE_KEYS : GW_SPACE_SMALL;
}

/* The whole record into scratch: 0, *value; or -ENOENT, -EIO, -EBADMSG. */
static int load(struct gw_store *s, struct gw_bytes key, struct gw_bytes *value)
{
    size_t len = 0;
    uint8_t *buf = store_scratch(s, 4096);
    enum gw_space space = small_space(key.p[0]);
    int err = s->ops->get(s->engine, space, key, buf, s->scratch_cap, &len);
    if (!err && len > s->scratch_cap) {
        buf = store_scratch(s, len);
        err = s->ops->get(s->engine, space, key, buf, s->scratch_cap, &len);
    }
    *value = gw_bytes(buf, len);
    return err ? err : len < VERSION_BYTES ? -EBADMSG : 0;
}

void small_get(struct gw_store *s, const struct gw_store_request *r,
               struct gw_store_completion *done)
{
    uint8_t key[SMALL_KEY_BYTES_MAX];
    struct gw_bytes value;
    done->status = load(s, small_key(key, r), &value);
    GW_COUNT(s->storage_counters.small_reads);
    if (done->status) {
        if (done->status != -ENOENT)
            GW_COUNT(s->storage_counters.errors);
        return;
    }
    memcpy(&done->seq, value.p, VERSION_BYTES);
    done->len = (uint32_t)(value.len - VERSION_BYTES);
    if (done->len > r->data_len)
        done->status = -EMSGSIZE;
    else if (done->len > 0)
        memcpy(r->data, value.p + VERSION_BYTES, done->len);
}

/* False when it does not fit: *needed says how much it would take. */
static bool scan_add(const struct gw_store_request *r, uint32_t *used, struct gw_bytes key,
                     struct gw_bytes value, size_t *needed)
{
    struct gw_scan_entry e = {.key_len = (uint16_t)(key.len - 1)};
    size_t value_len = value.len - VERSION_BYTES;
    e.len = (uint32_t)(sizeof(e) + e.key_len + value_len);
    memcpy(&e.version, value.p, VERSION_BYTES);
    size_t padded = gw_record_padded(e.len);
    if (*used + padded > r->data_len) {
        *needed = padded;
        return false;
    }
    uint8_t *p = (uint8_t *)r->data + *used;
    memcpy(p, &e, sizeof(e));
    memcpy(p + sizeof(e), key.p + 1, e.key_len);
    memcpy(p + sizeof(e) + e.key_len, value.p + VERSION_BYTES, value_len);
    memset(p + e.len, 0, padded - e.len);
    *used += (uint32_t)padded;
    return true;
}

void small_scan(struct gw_store *s, const struct gw_store_request *r,
                struct gw_store_completion *done)
{
    uint8_t buf[SMALL_KEY_BYTES_MAX];
    struct gw_bytes after = small_key(buf, r);
    struct gw_iter *it = s->ops->iter_new(s->engine, small_space(r->ns), gw_bytes(&r->ns, 1));
    size_t needed = 0;
    for (s->ops->seek(it, after); s->ops->valid(it); s->ops->next(it)) {
        struct gw_bytes key = s->ops->key(it), value = s->ops->value(it);
        if (r->key_len > 0 && gw_bytes_eq(key, after))
            continue;
        if (value.len < VERSION_BYTES || key.len > SMALL_KEY_BYTES_MAX) {
            GW_COUNT(s->storage_counters.damaged);
            store_report(s, "a small record is damaged and left out");
            continue;
        }
        if (!scan_add(r, &done->len, key, value, &needed)) {
            done->more = true;
            break;
        }
    }
    if (!done->more)
        done->status = s->ops->status(it);
    if (done->more && done->len == 0) {
        done->status = -EMSGSIZE;
        done->len = (uint32_t)needed;
    }
    s->ops->iter_free(&it);
    if (done->status == -EIO)
        GW_COUNT(s->storage_counters.errors);
    GW_COUNT(s->storage_counters.small_reads);
}

/* ---- compare-and-set ---- */

static unsigned bucket_of(const struct gw_store *s, const struct gw_store_request *r)
{
    return (gw_siphash(&s->cas_key, r->key, r->key_len) + r->ns) % CAS_BUCKETS;
}

static const struct cas_pending *find_pending(const struct gw_store *s, unsigned bucket,
                                              const struct gw_store_request *r)
{
    /* The newest of a key comes first. */
    for (unsigned i = s->cas_buckets[bucket]; i != 0; i = s->cas[i - 1].next) {
        const struct gw_store_request *p = s->cas[i - 1].r;
        if (p->ns == r->ns &&
            gw_bytes_eq(gw_bytes(p->key, p->key_len), gw_bytes(r->key, r->key_len)))
            return &s->cas[i - 1];
    }
    return NULL;
}

/* *version is 0 when there is no such record. */
static int current_version(struct gw_store *s, unsigned bucket, const struct gw_store_request *r,
                           struct gw_bytes key, uint64_t *version)
{
    *version = 0;
    const struct cas_pending *p = find_pending(s, bucket, r);
    if (p != NULL) {
        *version = p->version;
        return 0;
    }
    size_t len;
    int err =
        s->ops->get(s->engine, small_space(r->ns), key, version, sizeof(*version), &len);
    return err == -ENOENT ? 0 : err ? err : len < VERSION_BYTES ? -EBADMSG : 0;
}

uint64_t small_put(struct gw_store *s, struct gw_batch *b, struct gw_bytes key,
                   struct gw_bytes value)
{
    uint64_t version = s->version_next++;
    if (version >= s->version_reserved)
        meta_put_version(s, b);
    uint8_t *with_version = store_scratch(s, VERSION_BYTES + value.len);
    memcpy(with_version, &version, VERSION_BYTES);
    memcpy(with_version + VERSION_BYTES, value.p, value.len);
    s->ops->put(b, small_space(key.p[0]), key,
                gw_bytes(with_version, VERSION_BYTES + value.len));
    return version;
}

/* An account that did not exist gets a key along with its record. */
static int put_account_key(struct gw_store *s, struct gw_batch *b, const struct gw_store_request *r)
{
    bool made = r->identity != NULL && r->from == 0 && s->cfg.keys != NULL;
    return made ? vault_put_fresh(s, b, r->identity) : 0;
}

/* Decides one CAS and adds what it writes to the batch. */
static void decide(struct gw_store *s, struct gw_batch *b, const struct gw_store_request *r,
                   struct gw_store_completion *done)
{
    uint8_t buf[SMALL_KEY_BYTES_MAX];
    struct gw_bytes key = small_key(buf, r);
    unsigned bucket = bucket_of(s, r);
    uint64_t version;
    done->status = current_version(s, bucket, r, key, &version);
    if (!done->status && version != r->from)
        done->status = r->from == 0 ? -EEXIST : -ESTALE;
    if (!done->status && r->data_len > 0)
        done->status = put_account_key(s, b, r);
    if (done->status)
        return;
    uint64_t fresh = 0;
    if (r->data_len == 0)
        s->ops->del(b, small_space(r->ns), key);
    else
        fresh = small_put(s, b, key, gw_bytes(r->data, r->data_len));
    done->seq = fresh;
    s->cas[s->cas_count] =
        (struct cas_pending){.r = r, .version = fresh, .next = s->cas_buckets[bucket]};
    s->cas_buckets[bucket] = (uint16_t)++s->cas_count;
}

/* When the write fails, refusals count for nothing either: they may rest on what failed. */
static void complete_all(struct gw_store *s, int err)
{
    struct cas_group *g = &s->cas_group;
    for (unsigned i = 0; i < g->count; i++) {
        if (err) {
            g->done[i].status = -EIO;
            g->done[i].seq = 0;
        }
        store_complete(g->asked[i].client, &g->done[i]);
    }
    g->count = 0;
}

static void written(struct gw_store *s, const struct write *w)
{
    complete_all(s, w->err);
}

bool small_may_begin(const struct gw_store *s)
{
    return s->cas_group.count == 0 && writer_room(s) > 0;
}

void small_begin(struct gw_store *s)
{
    struct cas_group *g = &s->cas_group;
    struct write *w = writer_begin(s, "writing small records");
    s->cas_count = 0;
    memset(s->cas_buckets, 0, sizeof(s->cas_buckets));
    for (unsigned i = 0; i < g->count; i++) {
        g->done[i] = (struct gw_store_completion){.op = GW_STORE_CAS, .tag = g->asked[i].r.tag};
        decide(s, w->batch, &g->asked[i].r, &g->done[i]);
    }
    if (s->cas_count == 0) {
        complete_all(s, 0);
        return;
    }
    GW_COUNT_ADD(s->storage_counters.small_writes, s->cas_count);
    w->sync = s->cfg.durability == GW_DURABILITY_SYNC;
    w->done = written;
    writer_submit(s, w);
}
