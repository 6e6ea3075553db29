/* SPDX-License-Identifier: Apache-2.0 */
#include "roster.h"

#include <errno.h>

#include "xml.h"

/* ---- reading ---- */

bool gw_roster_next(struct gw_bytes roster, size_t *at, struct gw_roster_entry *e)
{
    struct gw_roster_entry_head h;
    if (*at == 0)
        *at = sizeof(struct gw_roster_head);
    if (*at + sizeof(h) > roster.len)
        return false;
    memcpy(&h, roster.p + *at, sizeof(h));
    const uint8_t *p = roster.p + *at + sizeof(h);
    size_t len = (size_t)h.jid_len + h.name_len + h.groups_len + h.request_len;
    if (len > roster.len - *at - sizeof(h))
        return false;
    *e = (struct gw_roster_entry){.flags = h.flags, .group_count = h.group_count};
    e->jid = gw_bytes(p, h.jid_len);
    e->name = gw_bytes(p + h.jid_len, h.name_len);
    e->groups = gw_bytes(e->name.p + h.name_len, h.groups_len);
    e->request = gw_bytes(e->groups.p + h.groups_len, h.request_len);
    *at += sizeof(h) + len;
    return true;
}

static bool next_group(struct gw_bytes groups, size_t *at, struct gw_bytes *out)
{
    uint16_t len;
    if (*at + sizeof(len) > groups.len)
        return false;
    memcpy(&len, groups.p + *at, sizeof(len));
    *at += sizeof(len);
    if (len > groups.len - *at)
        return false;
    *out = gw_bytes(groups.p + *at, len);
    *at += len;
    return true;
}

static bool are_groups(const struct gw_roster_entry *e)
{
    struct gw_bytes group;
    size_t at = 0;
    unsigned n = 0;
    while (next_group(e->groups, &at, &group))
        n++;
    return at == e->groups.len && n == e->group_count;
}

int gw_roster_check(struct gw_bytes roster)
{
    struct gw_roster_head h;
    struct gw_roster_entry e;
    size_t at = 0;
    uint32_t n = 0;
    if (roster.len == 0)
        return 0;
    if (roster.len < sizeof(h))
        return -EBADMSG;
    memcpy(&h, roster.p, sizeof(h));
    if (h.format != GW_ROSTER_FORMAT)
        return -EBADMSG;
    for (; gw_roster_next(roster, &at, &e); n++)
        if (e.jid.len == 0 || !are_groups(&e) || !gw_sub_is_state(e.flags & GW_SUB_BITS))
            return -EBADMSG;
    return at == roster.len && n == h.entries ? 0 : -EBADMSG;
}

struct gw_roster_counts gw_roster_count(struct gw_bytes roster)
{
    struct gw_roster_counts c = {0};
    struct gw_roster_entry e;
    for (size_t at = 0; gw_roster_next(roster, &at, &e);) {
        c.listed += (e.flags & GW_ROSTER_LISTED) != 0;
        c.blocked += (e.flags & GW_ROSTER_BLOCKED) != 0;
        c.pending += (e.flags & (GW_ROSTER_LISTED | GW_SUB_IN)) == GW_SUB_IN;
    }
    return c;
}

static bool is_same(const struct gw_roster_entry *a, struct gw_bytes jid, bool blocked)
{
    return ((a->flags & GW_ROSTER_BLOCKED) != 0) == blocked && gw_bytes_eq(a->jid, jid);
}

bool gw_roster_find(struct gw_bytes roster, struct gw_bytes jid, bool blocked,
                    struct gw_roster_entry *e)
{
    for (size_t at = 0; gw_roster_next(roster, &at, e);)
        if (is_same(e, jid, blocked))
            return true;
    *e = (struct gw_roster_entry){.jid = jid};
    return false;
}

bool gw_roster_blocks(struct gw_bytes roster, struct gw_bytes full, struct gw_bytes bare)
{
    struct gw_roster_entry e;
    const uint8_t *at_sign = memchr(bare.p, '@', bare.len);
    size_t local = at_sign != NULL ? (size_t)(at_sign - bare.p) + 1 : 0;
    for (size_t at = 0; gw_roster_next(roster, &at, &e) && (e.flags & GW_ROSTER_BLOCKED) != 0;)
        if (gw_bytes_eq(e.jid, full) || gw_bytes_eq(e.jid, bare) ||
            gw_bytes_eq(e.jid, gw_bytes(full.p + local, full.len - local)) ||
            gw_bytes_eq(e.jid, gw_bytes(bare.p + local, bare.len - local)))
            return true;
    return false;
}

/* ---- changing ---- */

static size_t entry_bytes(const struct gw_roster_entry *e)
{
    return sizeof(struct gw_roster_entry_head) + e->jid.len + e->name.len + e->groups.len +
           e->request.len;
}

size_t gw_roster_size_with(struct gw_bytes roster, const struct gw_roster_entry *e)
{
    struct gw_roster_entry before;
    size_t len = roster.len > 0 ? roster.len : sizeof(struct gw_roster_head);
    if (gw_roster_find(roster, e->jid, (e->flags & GW_ROSTER_BLOCKED) != 0, &before))
        len -= entry_bytes(&before);
    return len + entry_bytes(e);
}

static uint8_t *put(uint8_t *p, struct gw_bytes b)
{
    if (b.len > 0)
        memcpy(p, b.p, b.len);
    return p + b.len;
}

static size_t put_entry(uint8_t *out, const struct gw_roster_entry *e)
{
    struct gw_roster_entry_head h = {
        .flags = e->flags,
        .group_count = e->group_count,
        .jid_len = (uint16_t)e->jid.len,
        .name_len = (uint16_t)e->name.len,
        .groups_len = (uint16_t)e->groups.len,
        .request_len = (uint16_t)e->request.len,
    };
    uint8_t *p = put(out, gw_bytes(&h, sizeof(h)));
    p = put(p, e->jid);
    p = put(p, e->name);
    p = put(p, e->groups);
    return (size_t)(put(p, e->request) - out);
}

static bool says_something(const struct gw_roster_entry *e)
{
    return (e->flags & (GW_SUB_BITS | GW_ROSTER_LISTED | GW_ROSTER_BLOCKED)) != 0;
}

static size_t finish(uint8_t *out, struct gw_roster_head *h, size_t len)
{
    h->format = GW_ROSTER_FORMAT;
    memcpy(out, h, sizeof(*h));
    return h->entries > 0 ? len : 0;
}

size_t gw_roster_with(struct gw_bytes roster, const uint8_t identity[32],
                      const struct gw_roster_entry *e, uint8_t *out)
{
    struct gw_roster_head h = {0};
    struct gw_roster_entry old;
    bool blocked = (e->flags & GW_ROSTER_BLOCKED) != 0, placed = !says_something(e);
    size_t len = sizeof(h);
    memcpy(h.identity, identity, sizeof(h.identity));
    if (blocked && !gw_roster_find(roster, e->jid, true, &old)) {
        len += put_entry(out + len, e);
        h.entries++;
        placed = true;
    }
    for (size_t at = 0; gw_roster_next(roster, &at, &old);) {
        bool same = is_same(&old, e->jid, blocked);
        if (same && placed)
            continue;
        len += put_entry(out + len, same ? e : &old);
        placed = placed || same;
        h.entries++;
    }
    if (!placed) {
        len += put_entry(out + len, e);
        h.entries++;
    }
    return finish(out, &h, len);
}

/* Those that are blocked, or only the one of this jid, left out. */
static size_t without(struct gw_bytes roster, const struct gw_bytes *jid, uint8_t *out)
{
    struct gw_roster_head h;
    struct gw_roster_entry e;
    size_t len = sizeof(h);
    if (roster.len == 0)
        return 0;
    memcpy(&h, roster.p, sizeof(h));
    h.entries = 0;
    for (size_t at = 0; gw_roster_next(roster, &at, &e);) {
        if ((e.flags & GW_ROSTER_BLOCKED) != 0 && (jid == NULL || gw_bytes_eq(e.jid, *jid)))
            continue;
        len += put_entry(out + len, &e);
        h.entries++;
    }
    return finish(out, &h, len);
}

size_t gw_roster_unblock(struct gw_bytes roster, struct gw_bytes jid, uint8_t *out)
{
    return without(roster, &jid, out);
}

size_t gw_roster_unblocked(struct gw_bytes roster, uint8_t *out)
{
    return without(roster, NULL, out);
}

/* ---- as a client sees it ---- */

/* What is not for its eyes: a request that waits, and how it was worded. */
static uint64_t hash_item(const struct gw_sipkey *key, uint64_t before,
                          const struct gw_roster_entry *e)
{
    const uint8_t seen = GW_SUB_TO | GW_SUB_FROM | GW_SUB_OUT;
    struct gw_sipkey k = {key->k0 ^ before, key->k1 ^ (e->flags & seen)};
    k.k0 = gw_siphash(&k, e->jid.p, e->jid.len);
    k.k0 = gw_siphash(&k, e->name.p, e->name.len);
    return gw_siphash(&k, e->groups.p, e->groups.len);
}

void gw_roster_ver(struct gw_bytes roster, const struct gw_sipkey *key,
                   char out[GW_ROSTER_VER_DIGITS])
{
    struct gw_roster_entry e;
    uint64_t hash = 0;
    uint8_t bytes[8];
    for (size_t at = 0; gw_roster_next(roster, &at, &e);)
        if (e.flags & GW_ROSTER_LISTED)
            hash = hash_item(key, hash, &e);
    gw_put_be64(bytes, hash);
    struct gw_text t = gw_text(out, GW_ROSTER_VER_DIGITS);
    gw_text_hex(&t, bytes, sizeof(bytes));
}

size_t gw_roster_item_bytes(const struct gw_roster_entry *e)
{
    static const char fixed[] = "<item jid='' name='' subscription='remove' ask='subscribe'></item>";
    return sizeof(fixed) + 6 * e->jid.len + e->name.len + e->groups.len +
           e->group_count * sizeof("<group></group>");
}

void gw_roster_put_item(struct gw_text *t, const struct gw_roster_entry *e)
{
    struct gw_bytes group;
    gw_text_str(t, "<item jid='");
    gw_text_escaped(t, e->jid);
    if (!(e->flags & GW_ROSTER_LISTED)) {
        gw_text_str(t, "' subscription='remove'/>");
        return;
    }
    if (e->name.len > 0) {
        gw_text_str(t, "' name='");
        gw_text_put(t, e->name);
    }
    gw_text_str(t, "' subscription='");
    gw_text_str(t, gw_sub_name(e->flags));
    gw_text_str(t, e->flags & GW_SUB_OUT ? "' ask='subscribe'>" : "'>");
    for (size_t at = 0; next_group(e->groups, &at, &group);) {
        gw_text_str(t, "<group>");
        gw_text_put(t, group);
        gw_text_str(t, "</group>");
    }
    gw_text_str(t, "</item>");
}
