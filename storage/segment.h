/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form of what a home lcore appends: a segment of records, each bound to a mailbox.
 *
 * A record stands alone: its head names the key incarnation and nonce that sealed it, so it can be
 * copied as it is from the commit log to its mailbox's own key (spill) and be opened from either.
 * All integers are little-endian; records start on 8-byte boundaries. Pure functions, no I/O.
 */
#ifndef GW_STORAGE_SEGMENT_H
#define GW_STORAGE_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define GW_SEGMENT_MAGIC     0x47534557444f4721ull
#define GW_SEGMENT_VERSION   2
#define GW_SEGMENT_BYTES_MAX (1u << 20)

/* First 16 bytes of the SHA-256 of the account's identity key. */
struct gw_mailbox_id {
    uint8_t b[16];
};

struct gw_segment_head {
    uint64_t magic;
    uint16_t version;
    uint16_t lcore;
    uint32_t record_count;
    uint32_t len; /* of the whole segment, this head included */
    uint32_t crc32c; /* of the whole segment with this field zero: tells a torn write from tampering */
    uint64_t created_us; /* wall clock, when it was handed to the store */
};

enum gw_record_kind {
    GW_RECORD_MESSAGE = 1, /* sealed: struct gw_stored_meta and the stanza. The first eight bytes are
                              the wall clock when it was accepted: expiry reads no more of it */
    GW_RECORD_REMOVE = 2,  /* sealed: aux ranges of positions of the mailbox that are delivered or
                              expired; clear (incarnation 0) only in a store without keys */
    GW_RECORD_EVENTS = 3,  /* sealed: packed receipt events, see storage/event.h; mailbox is zero */
};

/* Flags of a record. */
#define GW_RECORD_ACCOUNT_KEY 1u /* spilled: under the account's key; incarnation: its generation */
#define GW_RECORD_OPENED      2u /* the store has opened it for its reader; never on disk */

struct gw_record_head {
    uint32_t len; /* head and body, without the padding to 8 */
    uint8_t kind;
    uint8_t flags;
    uint16_t aux; /* REMOVE: number of ranges; MESSAGE: the sender's mark in this mailbox, or 0 */
    uint64_t position;
    struct gw_mailbox_id mailbox;
    uint32_t incarnation;  /* which key; 0 for clear records */
    uint32_t nonce_thread; /* nonce = nonce_thread (LE 4) || nonce_counter (LE 8); under an
                              account's key 12 random bytes */
    uint64_t nonce_counter;
    uint8_t tag[16]; /* AES-256-GCM tag */
};

struct gw_position_range {
    uint64_t first, last; /* inclusive */
};

_Static_assert(sizeof(struct gw_segment_head) == 32, "segment head");
_Static_assert(sizeof(struct gw_record_head) == 64, "record head");

static inline size_t gw_record_padded(size_t len)
{
    return (len + 7) & ~(size_t)7;
}

static inline const uint8_t *gw_record_body(const struct gw_record_head *r)
{
    return (const uint8_t *)(r + 1);
}

static inline size_t gw_record_body_len(const struct gw_record_head *r)
{
    return r->len - sizeof(*r);
}

/* ---- reading ---- */

/* 0, or -EBADMSG with nothing else promised: wrong magic, version, length, checksum or records. */
int gw_segment_check(const void *segment, size_t len);

/* Walks records in [*off, len): returns the next and moves *off behind it, or NULL at the end or
 * when what follows is not a whole record. Start with gw_segment_first_off() for a segment, 0 for a
 * run of records as gw_store reads return it. */
const struct gw_record_head *gw_record_next(const void *base, size_t len, size_t *off);

/* Whether the ranges of a REMOVE, opened, make sense. */
bool gw_removal_ok(const uint8_t *ranges, unsigned count);

static inline size_t gw_segment_first_off(void)
{
    return sizeof(struct gw_segment_head);
}

/* ---- writing: a segment grows in a buffer of the caller's ---- */

struct gw_segment_writer {
    uint8_t *base;
    uint32_t cap;
    uint32_t len;
    uint32_t record_count;
};

void gw_segment_begin(struct gw_segment_writer *w, void *buf, uint32_t cap, uint16_t lcore);
/* Room for a record with body_len bytes: its head, filled except nonce and tag, with the body behind
 * it, or NULL when it does not fit. */
struct gw_record_head *gw_segment_add(struct gw_segment_writer *w, enum gw_record_kind kind,
                                      const struct gw_mailbox_id *mailbox, uint64_t position,
                                      uint32_t body_len);
/* Whether a further record with this body would fit. */
static inline bool gw_segment_fits(const struct gw_segment_writer *w, size_t body_len)
{
    return w->len + gw_record_padded(sizeof(struct gw_record_head) + body_len) <= w->cap;
}
/* Finish: head and checksum. Returns the segment's length. */
uint32_t gw_segment_end(struct gw_segment_writer *w, uint64_t created_us);

#endif
