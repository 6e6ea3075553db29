/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "../dataplane/base/check.h"
#include "event.h"

/*
 * One event: kind u8, version u8, lengths of from, to and id (3 x u16), time u64; for events that
 * name a place the mailbox (16) and position u64; in version 2 the fingerprint (16); then the
 * strings. Little-endian, unpadded.
 */
#define EVENT_VERSION      1
#define EVENT_FINGERPRINT  2 /* the version of those that carry one */
#define HEAD_BYTES         16
#define PLACE_BYTES        24

const char *gw_event_name(enum gw_event_kind k)
{
    static const char *const names[] = {
#define X(upper, lower) #lower,
        GW_EVENTS(X)
#undef X
            "counted", "floor",
    };
    check((unsigned)k < GW_EVENT_COUNT);
    return names[k];
}

static bool names_place(enum gw_event_kind k)
{
    return k == GW_EVENT_STORED || gw_event_ends(k) || !gw_event_is_receipt(k);
}

static uint8_t version_of(const struct gw_event *e)
{
    return gw_fingerprint_is_set(&e->fingerprint) ? EVENT_FINGERPRINT : EVENT_VERSION;
}

static size_t head_bytes(enum gw_event_kind k, uint8_t version)
{
    return HEAD_BYTES + (names_place(k) ? PLACE_BYTES : 0) +
           (version == EVENT_FINGERPRINT ? sizeof(struct gw_fingerprint) : 0);
}

size_t gw_event_packed_len(const struct gw_event *e)
{
    return head_bytes(e->kind, version_of(e)) + e->from.len + e->to.len + e->id.len;
}

static void put_string(uint8_t **p, struct gw_bytes s)
{
    if (s.len > 0)
        memcpy(*p, s.p, s.len);
    *p += s.len;
}

bool gw_event_pack(uint8_t *buf, size_t cap, size_t *off, const struct gw_event *e)
{
    check((unsigned)e->kind < GW_EVENT_COUNT);
    check(e->from.len <= UINT16_MAX && e->to.len <= UINT16_MAX && e->id.len <= UINT16_MAX);
    check(*off <= cap);
    if (gw_event_packed_len(e) > cap - *off)
        return false;

    uint8_t *p = buf + *off;
    uint16_t lengths[3] = {(uint16_t)e->from.len, (uint16_t)e->to.len, (uint16_t)e->id.len};
    p[0] = (uint8_t)e->kind;
    p[1] = version_of(e);
    memcpy(p + 2, lengths, sizeof(lengths));
    memcpy(p + 8, &e->time_us, 8);
    if (names_place(e->kind)) {
        memcpy(p + HEAD_BYTES, e->mailbox.b, 16);
        memcpy(p + HEAD_BYTES + 16, &e->position, 8);
    }
    p += head_bytes(e->kind, EVENT_VERSION);
    if (version_of(e) == EVENT_FINGERPRINT)
        put_string(&p, gw_bytes(&e->fingerprint, sizeof(e->fingerprint)));
    put_string(&p, e->from);
    put_string(&p, e->to);
    put_string(&p, e->id);
    *off = (size_t)(p - buf);
    return true;
}

static struct gw_bytes take_string(const uint8_t **p, uint16_t len)
{
    struct gw_bytes s = gw_bytes(*p, len);
    *p += len;
    return s;
}

int gw_event_unpack(const uint8_t *buf, size_t len, size_t *off, struct gw_event *out)
{
    if (*off == len)
        return 0;
    if (*off > len || len - *off < HEAD_BYTES)
        return -EBADMSG;

    const uint8_t *p = buf + *off;
    size_t left = len - *off;
    uint8_t version = p[1];
    if (p[0] >= GW_EVENT_COUNT || (version != EVENT_VERSION && version != EVENT_FINGERPRINT))
        return -EBADMSG;

    *out = (struct gw_event){.kind = p[0]};
    uint16_t lengths[3];
    memcpy(lengths, p + 2, sizeof(lengths));
    size_t head = head_bytes(out->kind, version);
    if (left < head + lengths[0] + lengths[1] + lengths[2])
        return -EBADMSG;

    memcpy(&out->time_us, p + 8, 8);
    if (names_place(out->kind)) {
        memcpy(out->mailbox.b, p + HEAD_BYTES, 16);
        memcpy(&out->position, p + HEAD_BYTES + 16, 8);
    }
    if (version == EVENT_FINGERPRINT)
        memcpy(&out->fingerprint, p + head - sizeof(out->fingerprint), sizeof(out->fingerprint));
    p += head;
    out->from = take_string(&p, lengths[0]);
    out->to = take_string(&p, lengths[1]);
    out->id = take_string(&p, lengths[2]);
    *off = (size_t)(p - buf);
    return 1;
}
