/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's seam: asynchronous, requests in by ring, completions back by ring.
 *
 * Every thread that uses the store has a client of its own (SPSC rings inside). Submitting never
 * blocks: it returns -EAGAIN when the client's ring is full, and the caller tries again later.
 * Nothing here assumes that the store is local or fast; completions of different operations may
 * come in any order, those of APPENDs of one client come in the order submitted.
 *
 * What the engine sees is sealed. The store itself holds the key ring: it opens REMOVE records, seals
 * what it spills under the account's key instead of the incarnation's, and opens that again for who
 * reads it; small records and events stay opaque to it. See storage/segment.h and storage/keys.h.
 *
 * Visibility: an APPEND that has completed is seen by every READ, and by every SCAN_EVENTS,
 * submitted after its completion was polled. A record whose removal has completed is not.
 */
#ifndef GW_STORAGE_STORE_H
#define GW_STORAGE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "../dataplane/base/counters.h"
#include "keys.h"
#include "marks.h"

struct gw_store;
struct gw_store_client;
struct gw_mem_disk; /* storage/mem.h */

enum gw_durability {
    GW_DURABILITY_SYNC,  /* a completed APPEND survives power loss */
    GW_DURABILITY_ASYNC, /* it survives the death of the process */
};

struct gw_store_config {
    const char *engine; /* "rocksdb" or "mem" */
    const char *path;   /* rocksdb: directory, made when absent */
    enum gw_durability durability;
    unsigned client_count;     /* gw_store_client(s, 0 .. client_count - 1) */
    uint32_t requests_max;     /* slots of each ring, each way */
    uint64_t window_bytes_max; /* commit log kept in memory, not yet spilled; above it spill
                                  hurries, at twice it commits wait (back-pressure, not loss) */
    uint64_t spill_after_us;   /* how long a message may wait before it becomes a key of its own */
    bool own_thread;           /* the storage thread runs; false: driven by gw_store_storage_poll */
    int storage_cpu;           /* affinity of the storage thread and of all that the engine starts;
                                  -1 inherits */
    const char *backup_path;   /* where GW_STORE_BACKUP puts what it makes; NULL: nowhere */
    struct gw_keyring *keys;   /* outlives the store; opening it loads the store's keys into the
                                  ring and draws a fresh incarnation. NULL: nothing is sealed nor
                                  opened here, and REMOVE records are clear (tests, benchmarks) */
    uint64_t reserve_bytes;    /* with less free space than this gw_store_accepts says no */

    /* What follows may be left zero. */
    uint32_t spill_file_min;  /* messages from which on a spill becomes a sorted file; 0: chosen */
    uint32_t spill_events_min; /* bytes from which on its events become one of their own; 0: chosen */
    struct gw_mem_disk *disk; /* mem: outlives the store; NULL: a fresh one that ends with it */
    uint64_t (*clock_us)(
        void *arg); /* NULL: the wall clock. Called once a pass, by every thread. */
    void *clock_arg;
    /* One line for the operator: damage found, what was done. NULL: standard error. Any thread. */
    void (*report)(void *arg, const char *line);
    void *report_arg;
};

/* ---- small records: namespaces (one byte, part of the key on disk) ---- */
enum gw_store_ns {
    GW_NS_ACCOUNT = 1, /* key: bare JID; value: sealed account record (control/account.h) */
    GW_NS_KEY = 2,     /* key: incarnation, big-endian u32 (0: root); value: struct gw_wrapped_key */
    GW_NS_META = 3,    /* key: a name */
    GW_NS_ROSTER = 4,  /* key: bare JID */
    GW_NS_SESSION = 5,
    GW_NS_ACCOUNT_KEY = 6, /* key: mailbox; value: struct account_key_record. Comes with the CAS that
                              makes an account, goes with GW_STORE_DROP_MAILBOX */
    GW_NS_VCARD = 16,   /* key: bare JID; xmpp/personal.h */
    GW_NS_PRIVATE = 17, /* likewise */
};
#define GW_STORE_KEY_BYTES_MAX GW_SMALL_KEY_BYTES_MAX

/* ---- requests ---- */

enum gw_store_op {
    /* Append one segment (data, data_len; complete as gw_segment_end left it, the caller's memory
     * until completion). Done when durable. seq in the completion: the segment's number. */
    GW_STORE_APPEND = 1,
    /* Records of a mailbox with position >= from, in order, removed ones left out, as many as fit
     * into (data, data_len): a run for gw_record_next, offset 0. Completion: len bytes used;
     * next: where to go on reading; more: whether anything is known to be there. A record that
     * alone exceeds data_len: -EMSGSIZE, len says how much is needed. With `identity` those that are
     * under the account's key come opened (GW_RECORD_OPENED), and what does not open for this
     * identity is counted, reported and left out; the others are as they were appended. */
    GW_STORE_READ,
    /* next_position in the completion's `next`: higher than any position ever appended to this
     * mailbox (removed or not), at least 1. Positions of a mailbox rise but need not be dense: the
     * store keeps nothing of a mailbox that is empty, only one floor above all that was ever
     * removed. `seq`: the lowest position still there, or `next` when it is empty. With data, a struct
     * gw_mailbox_count, what is there is counted as by COUNT from 0 on, on the same way; more: that was
     * too much for one slice, and the count is worth nothing. */
    GW_STORE_MAILBOX,
    /* How much is in a mailbox, from position `from` on: added to data, a struct gw_mailbox_count.
     * A slice; next: where to go on; more: there is more to count. Nothing else counts messages, so
     * no crash can make a count wrong. */
    GW_STORE_COUNT,
    /* A slice of a walk that finds spilled messages accepted before `from` (wall clock): data is a
     * struct gw_expiry. What has been found and not yet removed is found again. */
    GW_STORE_EXPIRED,
    /* Forget a mailbox whole (account deleted) and its key: what was appended to it by segments that
     * are complete. Durable when complete. */
    GW_STORE_DROP_MAILBOX,
    /* One small record: value into (data, data_len), version in `seq`. -ENOENT, -EMSGSIZE. */
    GW_STORE_GET,
    /* Write one small record if its version is `expect` (0: must not exist). Durable when complete;
     * the new version in `seq`. -EEXIST (expect was 0), -ESTALE. data_len == 0 deletes. With
     * `identity` and expect 0 a key for this account is drawn and kept by the same write. */
    GW_STORE_CAS,
    /* Small records with key > key in namespace, in key order, as many as fit: a run of
     * struct gw_scan_entry. more: whether there are further ones. key_len 0 starts. */
    GW_STORE_SCAN,
    /* EVENTS records of segments with number >= from, in order, as many as fit: a run of
     * struct gw_events_entry. seq: the first segment looked for, later than `from` when those before it
     * were forgotten. next: where to go on; more. -EMSGSIZE as for READ. */
    GW_STORE_SCAN_EVENTS,
    /* Forget events of segments below from (ledger retention). */
    GW_STORE_TRIM_EVENTS,

    /* ---- for operators' jobs: one of SPILL, ERASE and BACKUP at a time, others get -EBUSY ---- */

    /* What is durable now leaves the log for mailbox keys, without waiting for its age; the log
     * goes on in a new file and the old ones are destroyed. next: segments below have left. */
    GW_STORE_SPILL,
    /* The same; then the bytes of keys that were deleted or replaced leave the disk, which takes as
     * long as rewriting all wrapped keys. */
    GW_STORE_ERASE,
    /* What is durable now, at least, into the configured backup_path, beside earlier backups; the
     * newest `from` of them stay. seq: its number; len: how many there are; durable_us: its bytes.
     * -ENOTSUP: the engine or the configuration has none. */
    GW_STORE_BACKUP,
    /* struct gw_store_stats into data. */
    GW_STORE_STATS,
    /* A slice of a key rotation: `from` is an enum gw_rotate, data a struct gw_walk. */
    GW_STORE_ROTATE,
    /* A slice of a walk over all records: data is a struct gw_walk. */
    GW_STORE_VERIFY,
    /* Only as a completion, to a client that asked for it by gw_store_follow: segment `seq` is
     * durable. A wake-up: may be left out when the ring is full. */
    GW_STORE_NOTE,
};

struct gw_store_request {
    uint8_t op;
    uint8_t ns;
    uint16_t key_len;
    uint32_t data_len;
    uint64_t tag;    /* comes back in the completion */
    const void *key; /* valid until completion */
    void *data;      /* valid until completion */
    uint64_t from;   /* READ: position; SCAN_EVENTS, TRIM_EVENTS: segment; CAS: expected version */
    struct gw_mailbox_id mailbox;
    const struct gw_identity *identity; /* READ, CAS; or NULL. Valid until completion */
};
_Static_assert(sizeof(struct gw_store_request) == 64, "one cache line");

struct gw_store_completion {
    uint8_t op;
    bool more;
    uint16_t reserved;
    int32_t status; /* 0 or negative errno; -EIO: the engine failed, nothing is promised. An APPEND
                       never fails: see gw_store_state */
    uint64_t tag;
    uint64_t seq;
    uint64_t next;
    uint64_t durable_us; /* APPEND: wall clock when durable */
    uint32_t len;
    uint32_t reserved2;
};

/* Zero begins a count; the caller may ask for more by setting what comes first. */
struct gw_mailbox_count {
    uint64_t cost_min; /* what a message costs its sender at least, in bytes */
    uint16_t mark;     /* of a sender of whom it is to be said exactly */
    uint16_t reserved[3];

    uint64_t messages;
    uint64_t bytes;   /* of their records: head and sealed body */
    uint64_t of_mark; /* the cost of that sender's */
    struct gw_marks marks; /* the senders with most */
};

#define GW_EXPIRED_MAX 128

struct gw_expired {
    struct gw_mailbox_id mailbox;
    uint64_t position;
};

/* Where such a walk stands, and what a slice has found. Zero begins a round. */
struct gw_expiry {
    struct gw_mailbox_id mailbox; /* the next to look at, */
    uint64_t position;            /* from here on */
    bool ended;                   /* the round is through */
    uint32_t count;
    struct gw_expired found[GW_EXPIRED_MAX];
};

struct gw_scan_entry {
    uint32_t len; /* of the whole entry without padding to 8: this head, key, value */
    uint16_t key_len;
    uint16_t reserved;
    uint64_t version;
    /* key bytes, value bytes */
};

struct gw_events_entry {
    uint32_t len; /* of this head and the record behind it, without padding to 8 */
    uint32_t reserved;
    uint64_t segment;
    uint64_t durable_us; /* wall clock; after a crash the segment's created_us */
    /* struct gw_record_head and body */
};

/* ---- for jobs that walk over everything ---- */

/* What operators see of the store's sizes. */
struct gw_store_stats {
    uint64_t window_bytes, window_messages, window_mailboxes;
    uint64_t segment_oldest, segment_next;
    uint64_t log_files, log_free_files, log_file_bytes;
    struct gw_store_space {
        char name[12];
        uint64_t keys; /* an estimate */
        uint64_t disk_bytes, memory_bytes, pending_bytes;
    } spaces[8];
    unsigned space_count;
    /* What the engine makes writes wait for, and what waits for it. No reader does. */
    bool write_stopped;        /* it takes no write at all for now */
    uint64_t write_rate_max;   /* bytes a second that it lets through; 0: no limit */
    uint64_t writes_waiting;   /* batches of keys handed to the writer and not yet written */
    uint64_t write_waits_us;   /* how long the one under way has taken so far; 0: none is */
};

enum gw_rotate {
    GW_ROTATE_INCARNATION, /* draw a new one, in use from now on: one slice */
    GW_ROTATE_SMALL,       /* small records under it */
    GW_ROTATE_RETIRE,      /* destroy incarnations that walk->used does not name: one slice */
    GW_ROTATE_MASTER,      /* wrap every key by the master key that wraps now */
    GW_ROTATE_ACCOUNTS,    /* draw new account keys, messages under them; not while one spills */
};

#define GW_WALK_DAMAGES_MAX 64

/* Something that does not open. */
struct gw_damage {
    struct gw_mailbox_id mailbox; /* zero: of none */
    uint64_t position;            /* of a message */
    char what[96];
};

/* Where a walk stands and what it has found; all zero begins one. The caller's. */
struct gw_walk {
    /* where it goes on */
    uint8_t stage;
    bool ended;
    uint16_t key_len;
    uint8_t key[1 + GW_STORE_KEY_BYTES_MAX];

    bool heads_only; /* VERIFY: only see which incarnations are in use */
    uint64_t looked_at, changed, damaged;
    uint64_t messages, mailboxes, events, small, keys, bytes; /* VERIFY: of what was looked at */
    uint32_t incarnation; /* INCARNATION: the new one; RETIRE: of those below it */
    unsigned damage_count; /* in this slice */
    struct gw_damage damages[GW_WALK_DAMAGES_MAX];
    uint8_t used[(GW_INCARNATION_MAX + 1) / 8]; /* VERIFY: a bit for each incarnation in use */
};

/* ---- life ---- */

/* Open and recover; blocks; before any other thread uses it. On error a message for the operator is
 * in err. -EBADMSG: the files hold something that cannot be read; -ENOTSUP: unknown format. */
int gw_store_open(struct gw_store **out, const struct gw_store_config *cfg, char err[256]);
/* Stops the storage thread after what was submitted is done. Nobody may use clients any more. */
void gw_store_free(struct gw_store **s);

/* ---- backups, offline ---- */

struct gw_store_backup {
    uint32_t id;
    uint64_t bytes;
    int64_t made_at; /* seconds since 1970 */
};
/* Those in a directory, oldest first, at most max: how many, or -ENOENT, -ENOTSUP, with a message
 * in err. */
int gw_store_backups(const char *engine, const char *dir, struct gw_store_backup *out,
                     unsigned max, char err[256]);
/* A backup, its checksums verified, becomes a store at `path`, which must be absent or empty.
 * Positions and segment numbers of the new store are above all that were given after the backup was
 * made. Blocks. 0 or negative errno with a message in err. */
int gw_store_restore(const char *engine, const char *dir, uint32_t id, const char *path,
                     char err[256]);

/* ---- for clients ---- */

struct gw_store_client *gw_store_client(struct gw_store *s, unsigned index);
/* 0, -EAGAIN. Never blocks. Client's thread. */
int gw_store_submit(struct gw_store_client *c, const struct gw_store_request *r);
/* Up to max completions. Client's thread. */
unsigned gw_store_poll(struct gw_store_client *c, struct gw_store_completion *out, unsigned max);
/* Submit and wait: for start-up and job threads only. Returns the completion's status. */
int gw_store_call(struct gw_store_client *c, struct gw_store_request *r,
                  struct gw_store_completion *out);
/* An eventfd that becomes readable when completions wait: for threads that sleep. Clients that poll
 * never ask for it, and then the store makes no system call for them. */
int gw_store_client_fd(struct gw_store_client *c);
/* Deliver NOTE completions to this client from now on. */
void gw_store_follow(struct gw_store_client *c);
/* From now on what this client asks for waits while the engine cannot be opened, as its APPENDs do
 * always; else it fails with -EIO. Before its first request. */
void gw_store_be_patient(struct gw_store_client *c);
/* No APPEND submitted from now on gets a lower number. One relaxed load; any thread. */
uint64_t gw_store_number_floor(const struct gw_store_client *c);
/* Whether new messages may be appended. False when the engine has failed, and below the reserve of
 * free space: then only what makes less of what is stored is to be appended, and it finds room. Two
 * relaxed loads; any thread. */
bool gw_store_accepts(const struct gw_store_client *c);

/* ---- for the threads that drive it ---- */

/* One pass of group commit: everything appended by all clients becomes one durable write. The
 * commit lcore's body. Returns segments committed. */
unsigned gw_store_commit_poll(struct gw_store *s);
/* Sleep until something is appended, or there is room again after back-pressure, or timeout_us has
 * passed. Commit thread, after a poll that returned 0. Clients make a system call only while it
 * sleeps. */
void gw_store_commit_wait(struct gw_store *s, uint64_t timeout_us);
/* One pass of reads, small records and spill, as the storage thread makes them, and the writer's, the
 * spill and the upkeep thread's work within it; only when own_thread is false. Returns work done.
 *
 * So one thread can step a whole store. An engine whose writes take time may call back meanwhile
 * (gw_mem_set_wait), and what it calls may make the other poll, of the two that is not under way:
 * that is how the simulation has commits and storage passes overlap. */
unsigned gw_store_storage_poll(struct gw_store *s);

/* ---- state for operators (any thread) ---- */

/* X(name, help): monotonic counters */
#define GW_STORE_COUNTERS(X)                                           \
    X(commits, "group commits made durable")                           \
    X(segments, "segments appended")                                   \
    X(segment_bytes, "bytes of segments appended")                     \
    X(records, "message records appended")                             \
    X(removed, "message positions removed; of a long range all that it names") \
    X(spilled, "messages spilled to mailbox keys")                     \
    X(expiry_looks, "mailboxes and messages looked at for what is too old") \
    X(reads, "mailbox reads")                                          \
    X(read_records, "message records read")                            \
    X(small_reads, "small records read")                               \
    X(small_writes, "small records written")                           \
    X(spilled_segments, "segments dropped from the commit log")        \
    X(key_writes, "batches of keys written")                           \
    X(key_write_us, "microseconds that writing them took")             \
    X(key_write_wait_us, "microseconds that they waited for the writer") \
    X(event_files, "sorted files that events were spilled to")         \
    X(damaged, "segments and records that could not be read")          \
    X(resealed, "messages sealed anew under their account's key")     \
    X(unkeyed, "messages spilled as they were: no key, or they did not open") \
    X(waits, "commit passes that waited for room in the window")       \
    X(errors, "operations that the engine failed")                     \
    X(failures, "times that a write failed and the engine was closed") \
    X(reopens, "times that it was opened again")                       \
    X(reopen_errors, "attempts to open it again that failed")          \
    X(reserve_reached, "times that free space fell below the reserve")

struct gw_store_counters {
    GW_STORE_COUNTERS(GW_COUNTER_FIELD)
};

/* X(upper, name): how the store is. A failed write, be it of the log or of a key, ends in CLOSED:
 * what was being appended is held, the engine is opened anew, what it should hold is read back, and
 * what was held is appended once more, to a file of its own. Nothing that failed is ever written
 * again in the same place. */
#define GW_STORE_CONDITIONS(X)                                            \
    X(OPEN, open)                                                         \
    X(RESERVE, reserve) /* open, with less free space than the reserve */ \
    X(CLOSED, closed)   /* a write failed; it is being opened anew */     \
    X(BROKEN, broken)   /* that failed too, and is tried again and again */

enum gw_store_condition {
#define X(upper, lower) GW_STORE_##upper,
    GW_STORE_CONDITIONS(X)
#undef X
};

const char *gw_store_condition_name(enum gw_store_condition c);

struct gw_store_state {
    uint64_t window_bytes;    /* commit log in memory, not yet spilled */
    uint64_t window_messages; /* of these, messages still waiting */
    uint64_t segment_next;    /* number of the next segment */
    uint64_t segment_oldest;  /* oldest segment still in the log */
    uint64_t writes_waiting;  /* batches of keys that are not yet written */
    uint64_t write_waits_us;  /* how long the one under way has taken so far; 0: none is */
    uint64_t free_bytes;      /* of the file system, as last looked */
    uint64_t reserve_bytes;
    enum gw_store_condition condition;
    int error; /* negative errno of the last failure; 0: none since start */
};

struct gw_counter_set gw_store_counters_commit(const struct gw_store *s);
struct gw_counter_set gw_store_counters_storage(const struct gw_store *s);
struct gw_store_state gw_store_state(const struct gw_store *s);

#endif
