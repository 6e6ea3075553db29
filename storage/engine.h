/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store needs of an engine: ordered spaces of keys, atomic write batches, reads.
 *
 * An engine knows nothing of mailboxes or segments. The commit thread and the storage thread call
 * it at the same time, each with batches and iterators of its own; calls may block. A batch is all
 * or nothing, also after a crash, and batches survive a crash as a prefix of those written: when
 * one of them is there, so is every earlier one (unless the engine reported damage at open).
 *
 * To add one: fill a struct gw_engine_ops, list it in engine.c, add its name to the parameters of
 * tests/unit/test_store.c. Nothing else changes.
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

struct gw_engine_options {
    const char *path;
    struct gw_mem_disk *disk;
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

    struct gw_batch *(*batch_new)(struct gw_engine *e);
    void (*batch_free)(struct gw_batch **b);
    void (*batch_clear)(struct gw_batch *b);
    /* Later operations of a batch win over earlier ones. Bytes are copied. */
    void (*put)(struct gw_batch *b, enum gw_space space, struct gw_bytes key,
                struct gw_bytes value);
    void (*del)(struct gw_batch *b, enum gw_space space, struct gw_bytes key);
    /* The same for a key that was put exactly once: an engine may forget both without a trace. */
    void (*del_once)(struct gw_batch *b, enum gw_space space, struct gw_bytes key);
    /* Keys in [first, end). */
    void (*del_range)(struct gw_batch *b, enum gw_space space, struct gw_bytes first,
                      struct gw_bytes end);
    /* Atomic; with sync it and everything written before is on disk when this returns 0. After an
     * error the outcome is unknown and the engine must be opened anew. -EIO, -ENOSPC. */
    int (*write)(struct gw_engine *e, struct gw_batch *b, bool sync);

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
