/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams that can be resumed (XEP-0198 section 5), at their sessions' home.
 *
 * Such a session has a record in the store from before its client hears of it: who and where it is, its
 * presence, and a count that is seldom written anew (see counts.h). While its connection is gone it is
 * detached: it stays in its account, as present as it was, and reads nothing; what it was handed and did
 * not confirm is known by position. A resumption brings it a new connection, and the cursor goes back to
 * the first of those. After a crash it is made anew from its record and its count.
 *
 * Kept in an arena block of its own, so that other sessions cost nothing. The block outlives the session
 * until its record is gone.
 */
#ifndef GW_XMPP_RESUME_H
#define GW_XMPP_RESUME_H

#include "bind.h"
#include "post.h"

#define GW_KEEPS_UNDER_WAY 64u /* writes and deletions of session records */
/* Presences that are larger are not in the record: the session then has a plain one. */
#define GW_RECORD_PRESENCE_MAX 2048u
/* How far back a count may lie in one lcore's events, in bytes, and in time, before it is kept. */
#define GW_COUNTS_BEHIND_BYTES (UINT64_C(512) << 20)
#define GW_COUNTS_BEHIND_US    (UINT64_C(120) * 1000000)

struct gw_resumption {
    struct gw_stream_name name;
    uint32_t session; /* 0: gone; only its record is still to be removed */
    uint32_t h;       /* its count: of the last COUNT, or when it was detached */
    uint32_t h_kept;  /* as the record states it, or will */

    /* its record */
    uint64_t version; /* 0: there is none */
    gw_block record;  /* being written, sealed */
    gw_block due_next;
    bool due : 1;        /* on the list of those to be written or removed */
    bool keeping : 1;    /* that is under way */
    bool again : 1;      /* and out of date already */
    bool unsure : 1;     /* which version it has must be asked for first */
    bool removing : 1;   /* what is under way removes it */
    bool counted : 1;    /* on the list of counts */
    bool detached : 1;
    bool resuming : 1;   /* detached, and its count is being made durable for who has come back */
    uint32_t kept_wait;   /* ENABLE or COUNT that waits for the record, in `waits`; 0: none */
    uint32_t resume_wait; /* RESUME that waits for the old connection to go */

    /* its count in the log, while its record states another */
    gw_block count_prev, count_next; /* oldest first */
    uint64_t count_floor;            /* no segment below has it */
    uint64_t count_bytes, count_us;  /* when, by the lcore's events and clock */

    /* detached */
    gw_block detached_prev, detached_next; /* oldest first; when it is gone: the next of its bucket */
    uint64_t detached_us;
    uint32_t out_count;                /* stanzas sent */
    gw_block handed_block;             /* a run of struct gw_handed */
    uint16_t handed_first, handed_count;
};

/* A stream that is being made anew from its record. */
struct gw_resume_read {
    struct gw_post post; /* the RESUME */
    uint32_t account;
    gw_block due_next;
    uint8_t value[]; /* what was read */
};

/* The removal of records that a start before has left and nobody has come back for: once a start. */
enum gw_sweep_phase {
    GW_SWEEP_WAITS,
    GW_SWEEP_READS,   /* a slice of all records */
    GW_SWEEP_LOOKS,   /* goes on in the slice */
    GW_SWEEP_REMOVES, /* one of it */
    GW_SWEEP_ENDED,
};

struct gw_sweep {
    uint8_t phase;
    bool more;
    uint64_t due_us; /* 0: not yet known */
    gw_block block;
    uint32_t off, len;
    struct gw_stream_name after; /* the last of the slice before; zero begins */
};

#define GW_ENDED_BUCKETS 1024u

struct gw_home_resume {
    gw_block due_head, due_tail;
    /* Those that are gone while their record is not, by name: the record must not bring them back, its
     * count is out of date. A name is random. */
    gw_block ended[GW_ENDED_BUCKETS];
    gw_block count_head, count_tail;
    gw_block detached_head, detached_tail;
    unsigned keeping;
    gw_block read_due;     /* struct gw_resume_read that the store had no room for */
    uint64_t events_bytes; /* written by this lcore */
    uint64_t last_number;  /* the segment that was durable last, by the store's count */

    struct gw_sweep sweep;
};

#endif
