/* SPDX-License-Identifier: Apache-2.0 */
#include "segment.h"

#include <errno.h>

#include "../dataplane/base/check.h"
#include "crc32c.h"

/* Of a whole segment, its own crc field taken as zero. */
static uint32_t segment_crc(const void *segment, size_t len)
{
    struct gw_segment_head head;
    memcpy(&head, segment, sizeof(head));
    head.crc32c = 0;
    uint32_t crc = crc32c_add(CRC32C_START, &head, sizeof(head));
    return ~crc32c_add(crc, (const uint8_t *)segment + sizeof(head), len - sizeof(head));
}

const struct gw_record_head *gw_record_next(const void *base, size_t len, size_t *off)
{
    if (*off > len || len - *off < sizeof(struct gw_record_head))
        return NULL;
    const struct gw_record_head *r =
        (const struct gw_record_head *)(const void *)((const uint8_t *)base + *off);
    if (r->len < sizeof(*r) || gw_record_padded(r->len) > len - *off)
        return NULL;
    *off += gw_record_padded(r->len);
    return r;
}

bool gw_removal_ok(const uint8_t *ranges, unsigned count)
{
    for (unsigned i = 0; i < count; i++, ranges += sizeof(struct gw_position_range)) {
        struct gw_position_range range;
        memcpy(&range, ranges, sizeof(range));
        if (range.first == 0 || range.first > range.last)
            return false;
    }
    return true;
}

static bool remove_body_ok(const struct gw_record_head *r)
{
    if (r->aux == 0 || gw_record_body_len(r) != r->aux * sizeof(struct gw_position_range))
        return false;
    return r->incarnation != 0 || gw_removal_ok(gw_record_body(r), r->aux);
}

static bool record_ok(const struct gw_record_head *r)
{
    switch (r->kind) {
    case GW_RECORD_MESSAGE:
        return r->position != 0;
    case GW_RECORD_REMOVE:
        return remove_body_ok(r);
    case GW_RECORD_EVENTS:
        return true;
    default:
        return false;
    }
}

int gw_segment_check(const void *segment, size_t len)
{
    struct gw_segment_head head;
    if (len < sizeof(head) || len > GW_SEGMENT_BYTES_MAX)
        return -EBADMSG;
    memcpy(&head, segment, sizeof(head));
    if (head.magic != GW_SEGMENT_MAGIC || head.version != GW_SEGMENT_VERSION || head.len != len ||
        head.crc32c != segment_crc(segment, len))
        return -EBADMSG;

    size_t off = gw_segment_first_off();
    uint32_t count = 0;
    const struct gw_record_head *r;
    while ((r = gw_record_next(segment, len, &off)) != NULL) {
        if (!record_ok(r))
            return -EBADMSG;
        count++;
    }
    return off == len && count == head.record_count ? 0 : -EBADMSG;
}

void gw_segment_begin(struct gw_segment_writer *w, void *buf, uint32_t cap, uint16_t lcore)
{
    check(cap >= sizeof(struct gw_segment_head) && cap <= GW_SEGMENT_BYTES_MAX);
    check((uintptr_t)buf % 8 == 0);
    *w = (struct gw_segment_writer){.base = buf, .cap = cap, .len = sizeof(struct gw_segment_head)};
    struct gw_segment_head head = {
        .magic = GW_SEGMENT_MAGIC, .version = GW_SEGMENT_VERSION, .lcore = lcore};
    memcpy(buf, &head, sizeof(head));
}

struct gw_record_head *gw_segment_add(struct gw_segment_writer *w, enum gw_record_kind kind,
                                      const struct gw_mailbox_id *mailbox, uint64_t position,
                                      uint32_t body_len)
{
    if (!gw_segment_fits(w, body_len))
        return NULL;
    uint32_t len = (uint32_t)sizeof(struct gw_record_head) + body_len;
    uint32_t padded = (uint32_t)gw_record_padded(len);
    struct gw_record_head *r = (struct gw_record_head *)(void *)(w->base + w->len);
    *r = (struct gw_record_head){
        .len = len, .kind = (uint8_t)kind, .position = position, .mailbox = *mailbox};
    if (kind == GW_RECORD_REMOVE) {
        check(body_len % sizeof(struct gw_position_range) == 0);
        check(body_len / sizeof(struct gw_position_range) <= UINT16_MAX);
        r->aux = (uint16_t)(body_len / sizeof(struct gw_position_range));
    }
    /* The padding is part of the checksum: never what the buffer held before. */
    memset((uint8_t *)r + len, 0, padded - len);
    w->len += padded;
    w->record_count++;
    __builtin_prefetch(w->base + w->len, 1); /* the next one's head: a body apart, so never foreseen */
    return r;
}

uint32_t gw_segment_end(struct gw_segment_writer *w, uint64_t created_us)
{
    struct gw_segment_head head;
    memcpy(&head, w->base, sizeof(head));
    check(head.magic == GW_SEGMENT_MAGIC);
    head.record_count = w->record_count;
    head.len = w->len;
    head.created_us = created_us;
    head.crc32c = 0;
    memcpy(w->base, &head, sizeof(head));
    head.crc32c = segment_crc(w->base, w->len);
    memcpy(w->base, &head, sizeof(head));
    return w->len;
}
