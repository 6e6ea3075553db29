/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store needs of an engine: a log of segments, and ordered spaces of keys.
 *
 * An engine knows nothing of mailboxes. The commit thread appends to the log, the storage thread
 * reads, the writer writes, the spill thread hands over sorted files, and the upkeep thread does what
 * takes long, all at the same time; calls may block, and what reads should not wait for what writes.
 * Where a thread is named, no other makes that call; at open and at the end one makes all. Log and
 * keys may differ in how soon they are durable: the log as soon as an append returns, the keys when a
 * synced write returns, and the store keeps what the log holds until the keys that follow from it are.
 *
 * To add one: fill a struct gw_engine_ops, list it in engine.c, add its name to STORE_TEST in
 * tests/unit/store_rig.h. Nothing else changes.
 */
#ifndef GW_STORAGE_ENGINE_H
#define GW_STORAGE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../dataplane/base/bytes.h"

/* X(upper, name on disk): each space has an order and a fate of its own. */
#define GW_SPACES(X)                                                         \
    X(META, meta)       /* format, state, floors: few, tiny, rewritten */    \
    X(LOG, log)         /* segments by number: written once, dropped soon */ \
    X(MAILBOX, mailbox) /* spilled messages: mailbox, position */            \
    X(EVENTS, events)   /* spilled EVENTS records: segment, index */         \
    X(SMALL, small)     /* small records: namespace, key */                  \
    X(KEYS, keys)       /* wrapped keys: namespace, key; compacted when one is destroyed */ \
    X(ASIDE, aside)     /* segments that could not be read, kept for the operator */

enum gw_space {
#define X(upper, lower) GW_SPACE_##upper,
    GW_SPACES(X)
#undef X
        GW_SPACE_COUNT
};

struct gw_engine;
struct gw_batch;
struct gw_iter;
struct gw_mem_disk;

/* The most that one append to the log may hold, whatever an engine adds to it. */
#define GW_LOG_APPEND_BYTES_MAX    (3u << 20)
#define GW_LOG_APPEND_SEGMENTS_MAX 256

struct gw_log_entry {
    uint64_t number;
    struct gw_bytes segment;
};

struct gw_pair {
    struct gw_bytes key, value;
};

/* Pairs in the order of their keys, no key twice. */
struct gw_pair_source {
    /* 1 and the next pair, valid until the next call; 0 at the end; or negative errno. */
    int (*next)(struct gw_pair_source *from, struct gw_pair *out);
};

struct gw_engine_backup {
    uint32_t id, count; /* count: of backups there are now */
    uint64_t bytes;     /* of this one, with what it shares */
    int64_t made_at;    /* seconds since 1970 */
};

struct gw_engine_stats {
    struct {
        uint64_t keys;         /* an estimate */
        uint64_t disk_bytes;   /* in files */
        uint64_t memory_bytes; /* not yet in files */
        uint64_t pending_bytes; /* that compaction is to rewrite */
    } spaces[GW_SPACE_COUNT];
    uint64_t log_files, log_file_bytes; /* in use; of each */
    uint64_t log_free_files;
    bool write_stopped;      /* writes of keys wait for its own work */
    uint64_t write_rate_max; /* bytes a second that it lets through; 0: no limit */
};

struct gw_engine_options {
    const char *path;
    struct gw_mem_disk *disk;
    bool sync;  /* log appends will be synced */
    bool again; /* a write has failed and the engine was closed: no file that may have
                   seen that write is written again */
    uint64_t window_bytes_max; /* how much the log holds in the usual case */
    /* One line for the operator: damage found, what was done about it. Never NULL. */
    void (*report)(void *arg, const char *line);
    void *report_arg;
};

struct gw_engine_ops {
    const char *name;

    /* 0 or negative errno with a message in err: -EBUSY when another process holds it, -EBADMSG
     * when the files cannot be read, -ENOTSUP when they are of a foreign format. */
    int (*open)(struct gw_engine **out, const struct gw_engine_options *o, char err[256]);
    void (*free)(struct gw_engine **e);

    /* ---- the log ---- */

    /* Once, after open and before any append: each segment with number >= from, in order. What is
     * damaged is reported and left out, which shows as a gap in the numbers, or given as it is; an
     * append that was torn is left out whole. Stops when each returns non-zero, and returns that;
     * -ECANCELED says that the log ends here: this append and what follows was never acknowledged,
     * and is not to be seen by later reads once another append was made. */
    int (*log_read)(struct gw_engine *e, uint64_t from,
                    int (*each)(void *arg, uint64_t number, struct gw_bytes segment), void *arg);
    /* Room for one more append. Commit thread. */
    bool (*log_room)(struct gw_engine *e);
    /* Whether log_prepare would make some. Storage thread. */
    bool (*log_wants_file)(struct gw_engine *e);
    /* Makes room ahead of need, as far as space allows; whether it has made some. Writer. */
    bool (*log_prepare)(struct gw_engine *e);
    /* Segments with rising numbers, all of them or none, durable with sync; there is log_room.
     * After an error the outcome is unknown and the engine must be opened anew. Commit thread. */
    int (*log_append)(struct gw_engine *e, const struct gw_log_entry *v, unsigned n, bool sync);
    /* Whether the log is larger than it ought to be, and segments should leave it soon. */
    bool (*log_pressed)(struct gw_engine *e);
    /* Whether giving up what is below a number frees anything: then the store makes the keys
     * durable and calls log_trim. */
    bool (*log_trim_frees)(struct gw_engine *e, uint64_t below);
    void (*log_trim)(struct gw_engine *e, uint64_t below);

    /* Appends from `number` on go to a new place, so that what lies before can be given up whole.
     * 0; -ENOSPC: nothing has changed; anything else is a failed append. Commit thread. */
    int (*log_roll)(struct gw_engine *e, uint64_t number);
    /* Gives up what is below a number, as log_trim does, and destroys the bytes of all that was
     * ever given up. Writer. */
    void (*log_scrub)(struct gw_engine *e, uint64_t below);

    /* ---- keys ---- */

    /* How much more the file system takes; UINT64_MAX when nobody knows. Storage thread. */
    uint64_t (*free_bytes)(struct gw_engine *e);

    /* Damage was found at open and passed over: batches may be missing from the middle, and the log
     * should be read from its beginning. */
    bool (*damaged)(const struct gw_engine *e);

    struct gw_batch *(*batch_new)(struct gw_engine *e);
    void (*batch_free)(struct gw_batch **b);
    void (*batch_clear)(struct gw_batch *b);
    /* Later operations of a batch win over earlier ones. Bytes are copied. */
    void (*put)(struct gw_batch *b, enum gw_space space, struct gw_bytes key,
                struct gw_bytes value);
    void (*del)(struct gw_batch *b, enum gw_space space, struct gw_bytes key);
    /* Keys in [first, end). */
    void (*del_range)(struct gw_batch *b, enum gw_space space, struct gw_bytes first,
                      struct gw_bytes end);
    /* All or nothing, also after a crash, which leaves a prefix of the batches written; with sync
     * this one and all before it are on disk when it returns 0. After an error the outcome is
     * unknown and the engine must be opened anew. -EIO, -ENOSPC. */
    int (*write)(struct gw_engine *e, struct gw_batch *b, bool sync);

    /* Puts all pairs of a source (one at least) at once; all or nothing and durable when it returns
     * 0. An error of the source's is returned. The source may read from the engine. For many: an
     * engine may write a sorted file instead of logging each. Spill thread. */
    int (*ingest)(struct gw_engine *e, enum gw_space space, struct gw_pair_source *from);
    /* Destroys the bytes of what was deleted from or replaced in a space, wherever the engine has
     * them; as far as the file system goes. May take long. Upkeep thread. */
    int (*erase)(struct gw_engine *e, enum gw_space space);
    /* All keys as they are now, into a directory that holds earlier backups as well: what has not
     * changed since is shared with them. Only the newest `keep` stay. May take long. Upkeep thread.
     * NULL: it has none. */
    int (*backup)(struct gw_engine *e, const char *dir, unsigned keep,
                  struct gw_engine_backup *out);
    /* The backups in a directory, oldest first, at most max; how many, or negative errno with a
     * message in err. No engine need be open. NULL with backup. */
    int (*backups)(const char *dir, struct gw_engine_backup *out, unsigned max, char err[256]);
    /* Backup `id`, checked, becomes a store at `path`, which must be absent or empty. */
    int (*restore)(const char *dir, uint32_t id, const char *path, char err[256]);
    void (*stats)(struct gw_engine *e, struct gw_engine_stats *out);
    /* So far behind with its own work that nothing should be added for now: the window fills, and
     * then commits wait. */
    bool (*busy)(struct gw_engine *e);

    /* Copies at most cap bytes of the value, *len is its whole length. -ENOENT, -EIO. */
    int (*get)(struct gw_engine *e, enum gw_space space, struct gw_bytes key, void *buf, size_t cap,
               size_t *len);

    /* Over the keys that start with prefix (empty: all). The prefix's bytes are copied; in MAILBOX
     * it is a whole mailbox id or empty. Not valid before the first seek. */
    struct gw_iter *(*iter_new)(struct gw_engine *e, enum gw_space space, struct gw_bytes prefix);
    void (*iter_free)(struct gw_iter **it);
    void (*seek)(struct gw_iter *it, struct gw_bytes key);          /* first key >= */
    void (*seek_for_prev)(struct gw_iter *it, struct gw_bytes key); /* last key <= */
    void (*next)(struct gw_iter *it);
    bool (*valid)(const struct gw_iter *it);
    /* Valid until the iterator moves. */
    struct gw_bytes (*key)(const struct gw_iter *it);
    struct gw_bytes (*value)(const struct gw_iter *it);
    /* When it is no longer valid: 0 at the end, -EIO or -EBADMSG when it could not go on. */
    int (*status)(const struct gw_iter *it);
};

extern const struct gw_engine_ops gw_engine_mem;
extern const struct gw_engine_ops gw_engine_rocksdb;

/* NULL when there is none of this name. */
const struct gw_engine_ops *gw_engine_by_name(const char *name);

const char *gw_space_name(enum gw_space space);

#endif
