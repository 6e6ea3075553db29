/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receipt events: the steps of a message's life, packed by a home lcore into one sealed EVENTS
 * record a segment, so that the ledger is exactly as durable, and as ordered, as the messages.
 *
 * stored carries the sender's and recipient's bare JIDs, the message id and when it was accepted;
 * delivered, and expired (it was too old), name the message by mailbox and position; received
 * (XEP-0184) and displayed (XEP-0333) name it by the recipient that answers, the original sender and the
 * original id; repeated names, as stored does, a message that came again from its sender and was not
 * stored again.
 *
 * Two more kinds travel in the same records and are no receipts: what a session's inbound count is
 * (XEP-0198), and behind which segment no count matters any more. See dataplane/xmpp/counts.h.
 */
#ifndef GW_STORAGE_EVENT_H
#define GW_STORAGE_EVENT_H

#include "../dataplane/base/bytes.h"
#include "segment.h"

/* Each step once. The ledger also shows "accepted", whose time the stored event carries. */
#define GW_EVENTS(X)                                                                               \
    X(STORED, stored)                                                                              \
    X(DELIVERED, delivered)                                                                        \
    X(RECEIVED, received)                                                                          \
    X(DISPLAYED, displayed)                                                                        \
    X(EXPIRED, expired)                                                                            \
    X(REPEATED, repeated)

enum gw_event_kind {
#define X(upper, lower) GW_EVENT_##upper,
    GW_EVENTS(X)
#undef X
    GW_EVENT_COUNTED, /* mailbox: the session's name, position: its count h */
    GW_EVENT_FLOOR,   /* position: counts of segments below are in their sessions' records */
    GW_EVENT_COUNT
};

/* Whether the ledger joins it. */
static inline bool gw_event_is_receipt(enum gw_event_kind k)
{
    return k < GW_EVENT_COUNTED;
}

/* By which a message is known when its sender repeats it: keyed hashes of who sent it to whom under
 * which id, and of that and what it says. All zero: none. See dataplane/xmpp/repeats.h. */
struct gw_fingerprint {
    uint64_t name, content;
};

static inline bool gw_fingerprint_is_set(const struct gw_fingerprint *f)
{
    return (f->name | f->content) != 0;
}

struct gw_event {
    enum gw_event_kind kind;
    uint64_t time_us; /* wall clock; STORED: when accepted (stored is the segment's durable time) */
    /* STORED, DELIVERED, EXPIRED: the message; COUNTED, FLOOR (position only): see above. Others: zero. */
    struct gw_mailbox_id mailbox;
    uint64_t position;
    struct gw_fingerprint fingerprint; /* STORED */
    /* STORED, REPEATED: sender, recipient, id. RECEIVED, DISPLAYED: from = original sender, to = who
     * answers, id = the original message's. Others: empty. */
    struct gw_bytes from, to, id; /* each at most 65,535 bytes */
};

/* What an event of a record is told apart from: the one before it. All zero before the first. */
struct gw_event_before {
    uint64_t time_us, position;
    struct gw_mailbox_id mailbox;
};

/* A record that fills, in the caller's memory. len 0: it is empty. */
struct gw_event_writer {
    uint8_t *buf;
    size_t cap, len;
    struct gw_event_before before;
};

/* A record that is read. */
struct gw_event_reader {
    const uint8_t *buf;
    size_t len, off;
    struct gw_event_before before;
};

static inline struct gw_event_writer gw_event_writer(uint8_t *buf, size_t cap)
{
    return (struct gw_event_writer){.buf = buf, .cap = cap};
}

static inline struct gw_event_reader gw_event_reader(const uint8_t *buf, size_t len)
{
    return (struct gw_event_reader){.buf = buf, .len = len};
}

/* Bytes that gw_event_pack will write at most, whatever stands before it. */
size_t gw_event_bytes_max(const struct gw_event *e);
/* Append; false when it may not fit (nothing written). */
bool gw_event_pack(struct gw_event_writer *w, const struct gw_event *e);
/* 1 and *out (strings point into the record), 0 at the end, -EBADMSG on anything malformed: then nothing
 * that follows in this record can be read. */
int gw_event_unpack(struct gw_event_reader *r, struct gw_event *out);

/* Whether a message leaves its mailbox with it. */
static inline bool gw_event_ends(enum gw_event_kind k)
{
    return k == GW_EVENT_DELIVERED || k == GW_EVENT_EXPIRED;
}

const char *gw_event_name(enum gw_event_kind k);

#endif
