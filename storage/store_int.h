/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the store: who owns which field, and what its files call of each other. */
#ifndef GW_STORAGE_STORE_INT_H
#define GW_STORAGE_STORE_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "../dataplane/base/check.h"
#include "../dataplane/base/ring.h"
#include "../dataplane/base/siphash.h"
#include "engine.h"
#include "removals.h"
#include "spill_events.h"
#include "store.h"
#include "upkeep.h"
#include "vault.h"
#include "wake.h"
#include "window.h"
#include "writer.h"

/* One group commit: bounded, so that the first of many does not wait for the last. It stops when
 * this is exceeded, so it may be larger by one segment. */
#define COMMIT_SEGMENTS_MAX GW_LOG_APPEND_SEGMENTS_MAX
#define COMMIT_BYTES_MAX    (GW_LOG_APPEND_BYTES_MAX - GW_SEGMENT_BYTES_MAX)
/* Segments between the commit thread and the storage thread. */
#define HANDOVER_SLOTS 4096
/* The largest group of CAS, which share a sync. */
#define PASS_REQUESTS_MAX 1024
/* Of a client at a time, and how many to be answered at once end a pass. */
#define PASS_TURN      16
#define PASS_READS_MAX 128
/* What one pass may do for a spill: a read that arrives meanwhile waits for it. */
#define PASS_GATHER_BYTES_MAX (2u << 20)
#define PASS_SETTLE_MAX       4096
/* One spill: large, so that what is sorted once stays in few pieces. */
#define SPILL_BYTES_MAX    (128u << 20)
#define SPILL_MESSAGES_MAX (1u << 19)
/* By the first two bytes of a mailbox. */
#define SPILL_BUCKETS (1u << 16)
/* From how many messages on a sorted file is cheaper than a batch. */
#define SPILL_FILE_MIN 2048
/* The same of events, in bytes. Such files are never merged, so they must not be many: with less than
 * this in a spill there are too few events for their cost to matter. */
#define SPILL_EVENTS_MIN (4u << 20)

#define MAILBOX_KEY_BYTES   (sizeof(struct gw_mailbox_id) + 8)
#define EVENTS_KEY_BYTES    12
#define SMALL_KEY_BYTES_MAX (1 + GW_STORE_KEY_BYTES_MAX)

/* Of the sealers of the store's threads; lcores and the control plane have lower ones. */
#define STORAGE_NONCE_THREAD 2001u
#define SPILL_NONCE_THREAD   2002u

struct gw_store_client {
    struct gw_store *store;
    unsigned index;

    /* the client's thread */
    uint32_t appends_out, requests_out; /* submitted, completion not yet polled */
    uint64_t note_seen;
    bool sleeps; /* it has asked for the fd */

    struct gw_ring *append_requests, *append_done;   /* with the commit thread */
    struct gw_ring *storage_requests, *storage_done; /* with the storage thread */
    struct wake wake;
    atomic_bool follows;
    atomic_bool patient;
    _Atomic uint64_t note; /* commit: number of the last durable segment */

    /* the commit thread */
    struct gw_store_request held; /* popped, but there was no room for it */
    bool holds;
    bool append_completed; /* in this pass */

    /* the storage thread */
    bool completed; /* in this pass */
};

/* What must survive, beside records: one value in META, written with every batch that changes it.
 */
struct store_state {
    uint64_t segment_oldest; /* segments below have left the window for keys */
    uint64_t segment_next;   /* no number below was ever given twice */
    uint64_t position_floor; /* above every position that was ever removed */
    uint64_t events_trim;    /* events of segments below are forgotten */
};

/* A mailbox that was dropped while its messages lay in the log: those before `segment` are dead. */
struct dropped {
    struct gw_mailbox_id mailbox;
    uint64_t segment;
};

struct popped {
    struct gw_store_client *client;
    struct gw_store_request r;
};

struct append {
    struct gw_store_client *client;
    struct gw_store_request r;
    struct window_segment segment;
};

/* A CAS of this group that was accepted: later ones of the group see it. */
struct cas_pending {
    const struct gw_store_request *r;
    uint64_t version; /* 0: deleted */
    uint16_t next;    /* in its bucket, index + 1 */
};

/* Those that are written together, in one durable write; one group at a time. */
struct cas_group {
    struct popped asked[PASS_REQUESTS_MAX];
    struct gw_store_completion done[PASS_REQUESTS_MAX];
    unsigned count; /* 0: none is under way */
};

enum spill_phase {
    SPILL_IDLE,
    SPILL_REMOVE,   /* what was removed is to be handed to the writer */
    SPILL_GATHER,   /* segments are walked, some each pass */
    SPILL_PREPARE,  /* the spill thread sorts, seals, and writes files */
    SPILL_PUT,      /* what it has put into a batch is to be handed to the writer */
    SPILL_SETTLE,   /* messages leave the window, some each pass */
    SPILL_PROGRESS, /* that they have is to be handed to the writer */
    SPILL_AWAIT,    /* the writer has it */
};

struct spill_message {
    uint8_t key[MAILBOX_KEY_BYTES];
    uint64_t off; /* of the record in the window */
};

/* One spill at a time: the oldest segments of the window. */
struct spill {
    enum spill_phase phase;
    uint64_t until;       /* number of the first segment that is not part of it */
    size_t segment_count; /* gathered */
    uint64_t bytes;
    struct spill_message *messages; /* SPILL_MESSAGES_MAX and one segment's more */
    size_t message_count;
    size_t settled;
    bool filed; /* its messages go into a file, or are there */
    bool trims; /* the log is about to give up what was spilled before */
    struct spill_events events;

    /* the spill thread */
    pthread_t thread;
    bool thread_runs;
    atomic_bool stop;
    struct wake wake;
    atomic_bool asked, done; /* handed over, and back */
    int err;
    struct gw_batch *batch; /* for what does not go into files */
    struct gw_pair *pairs; /* of whichever thread writes this spill, as is what follows */
    size_t *bucket_ends;   /* SPILL_BUCKETS, while they are sorted */
    uint8_t *reseal_buf;
    struct vault_hand hand;
    uint64_t resealed, unkeyed; /* of this spill */
};

/* From a failed write until the engine is open again. */
struct reopen {
    bool begun;
    uint64_t began_us, next_us, wait_us; /* wall clock; next attempt; between attempts */
    unsigned attempts;                   /* that failed */
    uint64_t space_checked_us;
    char said[256]; /* why the last attempt failed, as reported */
};

#define CAS_BUCKETS (2 * PASS_REQUESTS_MAX)

struct gw_store {
    struct gw_store_config cfg;
    const struct gw_engine_ops *ops;
    struct gw_engine *engine;
    struct gw_store_client *clients;
    struct window window;
    struct gw_ring *handover; /* struct window_segment, commit to storage */
    atomic_bool failed;       /* the engine as it is open now: nothing more is written to it */
    atomic_bool closed;       /* from then until it was opened anew: no commits */
    atomic_bool parked;       /* commit: it has seen that, and touches neither engine nor window */
    atomic_bool broken;       /* storage: an attempt to open it anew has failed */
    atomic_bool low;          /* storage: below the reserve */
    atomic_int error;
    _Atomic uint64_t free_bytes;

    /* commit thread */
    struct wake commit_wake;
    struct append appends[COMMIT_SEGMENTS_MAX];
    struct gw_log_entry log_entries[COMMIT_SEGMENTS_MAX];
    struct popped again[COMMIT_SEGMENTS_MAX]; /* of a commit that failed: the first of the next */
    unsigned again_first, again_count;
    unsigned next_client; /* who is served first in the next pass */
    bool committing;      /* it is in the engine: for who steps all threads' parts from one */
    _Atomic uint64_t segment_next;
    struct gw_store_counters commit_counters;

    /* storage thread */
    _Alignas(64) pthread_t thread;
    bool thread_runs;
    atomic_bool stop;
    struct wake storage_wake;
    struct gw_batch *batch; /* for who is alone with the engine: at start, and a rotation of keys */
    struct vault_hand hand;
    struct store_state state;
    uint64_t segment_indexed; /* the highest that this thread knows */
    struct removals removals;
    struct writer writer;
    uint64_t recovered_end;   /* window: up to here it came from the log at start */
    struct spill spill;
    struct upkeep upkeep;
    struct reopen reopen;
    _Atomic uint64_t segment_oldest;
    _Atomic uint64_t window_messages;
    struct dropped *dropped;
    size_t dropped_count;
    uint64_t version_next, version_reserved;
    struct popped popped[PASS_REQUESTS_MAX];
    unsigned popped_count;
    struct popped *changes;    /* requests that are to be written, each client's credit has room */
    unsigned changes_count;
    struct popped rotate_held; /* waits for its turn; client NULL: none */
    struct cas_group cas_group;
    struct cas_pending cas[PASS_REQUESTS_MAX];
    unsigned cas_count;
    uint16_t cas_buckets[CAS_BUCKETS];
    struct gw_sipkey cas_key;
    uint8_t *scratch;
    size_t scratch_cap;
    struct gw_store_counters storage_counters;
};

/* store.c */
uint64_t store_now_us(const struct gw_store *s);
void store_report(const struct gw_store *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The engine failed a write: nothing is written from here on until it was opened anew. Any of the
 * store's threads. */
void store_fail(struct gw_store *s, const char *what, int err);
/* Opens the engine and recovers. After an error it is closed, with the reason in err. */
int store_open_engine(struct gw_store *s, char err[256]);
/* At least len bytes of scratch. */
uint8_t *store_scratch(struct gw_store *s, size_t len);
void store_complete(struct gw_store_client *c, const struct gw_store_completion *done);
/* Those whose requests completed in this pass, if they sleep. */
void store_wake_completed(struct gw_store *s);
unsigned store_storage_pass(struct gw_store *s);
/* While the store is broken: requests to change something, of those who do not wait, fail. How many. */
unsigned store_refuse_changes(struct gw_store *s);
/* A rotation of keys waits until the writer and the spill thread have nothing to do. */
bool rotate_waits(const struct gw_store *s);

/* meta.c: what META holds */
#define STORE_FORMAT 3
void meta_put_state(struct gw_store *s, struct gw_batch *b);
void meta_put_version(struct gw_store *s, struct gw_batch *b);
void meta_put_dropped(struct gw_store *s, struct gw_batch *b, const struct dropped *d);
void meta_del_dropped(struct gw_store *s, struct gw_batch *b, const struct dropped *d);
int meta_load(struct gw_store *s, char err[256]);
/* Marks a store that was restored, before it is opened for the first time. */
void meta_put_restored(const struct gw_engine_ops *ops, struct gw_batch *b);

/* indexing.c: segments become known to the storage thread */
unsigned index_handover(struct gw_store *s, uint64_t now_us);
/* Adds s to the window; what it removes of spilled messages is gathered. */
void index_segment(struct gw_store *s, const struct window_segment *seg, uint64_t now_us);
/* The ranges of a REMOVE, opened, in scratch; NULL when they are not what somebody with our keys
 * sealed. */
const uint8_t *index_open_removal(struct gw_store *s, const struct gw_record_head *r);

/* mailbox.c */
#define MAILBOX_TEXT_BYTES (2 * sizeof(struct gw_mailbox_id) + 1)
/* As operators see it: hexadecimal. */
void mailbox_text(const struct gw_mailbox_id *id, char out[MAILBOX_TEXT_BYTES]);
void mailbox_key(uint8_t key[MAILBOX_KEY_BYTES], const struct gw_mailbox_id *id, uint64_t position);
/* Whether a spilled value is what was appended under this key, but for its seal. */
bool mailbox_value_ok(const struct gw_mailbox_id *id, struct gw_bytes key, struct gw_bytes value);
void mailbox_read(struct gw_store *s, const struct gw_store_request *r,
                  struct gw_store_completion *done);
void mailbox_state(struct gw_store *s, const struct gw_store_request *r,
                   struct gw_store_completion *done);
void mailbox_count(struct gw_store *s, const struct gw_store_request *r,
                   struct gw_store_completion *done);
/* What w->request asks for, into its batch. 1, or negative errno. */
int mailbox_drop(struct gw_store *s, struct write *w);
/* Into the batch: all keys of a mailbox go. */
void mailbox_delete_all(struct gw_store *s, struct gw_batch *b, const struct gw_mailbox_id *id);
/* The highest position that was spilled and is still there; 0 when there is none. 0 or negative
 * errno. */
int mailbox_last_spilled(struct gw_store *s, const struct gw_mailbox_id *id, uint64_t *position);

/* events.c */
void events_key(uint8_t key[EVENTS_KEY_BYTES], uint64_t segment, uint32_t index);
void events_scan(struct gw_store *s, const struct gw_store_request *r,
                 struct gw_store_completion *done);
/* Segments whose events are read from their keys. */
uint64_t events_spilled_below(const struct gw_store *s);
/* The first held segment with number >= from. */
size_t events_held_from(const struct gw_store *s, uint64_t from);
/* What w->request asks for, into its batch. 1; 0: there is nothing to do. */
int events_trim(struct gw_store *s, struct write *w);

/* small.c */
void small_get(struct gw_store *s, const struct gw_store_request *r,
               struct gw_store_completion *done);
void small_scan(struct gw_store *s, const struct gw_store_request *r,
                struct gw_store_completion *done);
/* Whether a group of CAS may be filled: none is under way. */
bool small_may_begin(const struct gw_store *s);
/* Those in the group as one durable write; their completions come with it. */
void small_begin(struct gw_store *s);
/* The space that a namespace lies in. */
enum gw_space small_space(uint8_t ns);
/* Into the batch, with a version of its own: `key` begins with the namespace. The version. */
uint64_t small_put(struct gw_store *s, struct gw_batch *b, struct gw_bytes key,
                   struct gw_bytes value);

/* stats.c */
void store_stats(struct gw_store *s, const struct gw_store_request *r,
                 struct gw_store_completion *done);

/* spill.c */
int spill_open(struct gw_store *s);
/* Starts its thread. */
int spill_start(struct gw_store *s);
/* Waits for what is under way. */
void spill_close(struct gw_store *s);
unsigned spill_pass(struct gw_store *s, uint64_t now_us);
/* Until when the oldest segment may stay, in us from now; UINT64_MAX when there is nothing to wait
 * for, or somebody else will wake us. */
uint64_t spill_due_us(const struct gw_store *s, uint64_t now_us);
/* Who is alone with the engine: the oldest segment, now. False when there is none or it failed. */
bool spill_oldest(struct gw_store *s);
/* The same: the log gives up what is in the keys, once those are on disk. 0 or negative errno. */
int spill_trim_now(struct gw_store *s);

/* Nothing is under way any more, and its thread leaves the engine alone. False: not yet. */
bool spill_forget(struct gw_store *s);

/* recover.c */
/* Segments with number >= until do not count, if it is not 0: their append failed. */
int store_recover(struct gw_store *s, uint64_t until, char err[256]);

/* reopen.c */
/* Instead of a storage pass, after a failure. Returns the work done. */
unsigned reopen_pass(struct gw_store *s, uint64_t now_us);
/* Whether a pass would do something now, and else in how many us at the latest. */
bool reopen_has_work(const struct gw_store *s);
uint64_t reopen_due_us(const struct gw_store *s, uint64_t now_us);
/* Looks now and then at how much space is free. */
void reserve_check(struct gw_store *s, uint64_t now_us);

#endif
