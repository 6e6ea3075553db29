/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer: batches of keys are written by a thread of its own, one after another.
 *
 * An engine may make a write wait: behind a file that is being taken over, a full memtable, a slow
 * disk. The storage thread, which answers who reads, fills batches and never waits for one. They are
 * written in the order in which they were filled, so that a crash leaves a prefix of them; what depends
 * on one being written is done when it comes back. Files are built and handed to the engine by the
 * spill thread, at the same time.
 *
 * The writer also makes and gives up files of the log, which takes syncs of their own.
 */
#ifndef GW_STORAGE_WRITER_H
#define GW_STORAGE_WRITER_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine.h"
#include "store.h"
#include "wake.h"

/* Under way at a time. Who finds no room waits: removals gather, requests are kept. */
#define WRITES_MAX 8
/* What requests of clients leave for the store's own. */
#define WRITES_OWN 4

struct write {
    struct gw_batch *batch;
    bool sync;
    const char *what; /* for the report when it fails */
    /* Once it is on disk the log gives up what is below this; 0: nothing. */
    uint64_t log_below;
    bool scrub; /* and destroys it */
    /* Storage thread: it is written, or err says why not and the store has failed. NULL: nothing. */
    void (*done)(struct gw_store *s, const struct write *w);
    /* Whose request it was, which is then complete; client NULL: nobody's. */
    struct gw_store_client *client;
    struct gw_store_request request;
    uint64_t asked_us;

    /* the writer, before it is back */
    uint64_t begun_us, ended_us;
    int err;
};

struct writer {
    struct write writes[WRITES_MAX];
    uint64_t finished;       /* storage thread: so many came back */
    _Atomic uint64_t asked;  /* storage thread: so many were handed over */
    _Atomic uint64_t written; /* writer */
    _Atomic uint64_t begun_us; /* writer: when the one under way began; 0: none is */
    atomic_bool prepare_asked;

    pthread_t thread;
    bool thread_runs;
    atomic_bool stop;
    struct wake wake;
};

int writer_open(struct gw_store *s);
int writer_start(struct gw_store *s);
/* Writes what was handed over. */
void writer_close(struct gw_store *s);
/* With the engine: the batches are its. */
void writer_open_batches(struct gw_store *s);
void writer_close_batches(struct gw_store *s);

/* ---- storage thread ---- */

/* How many more can be handed over. */
unsigned writer_room(const struct gw_store *s);
/* An empty one to fill; there is room. Nothing else is begun before it is handed over or left. */
struct write *writer_begin(struct gw_store *s, const char *what);
void writer_submit(struct gw_store *s, struct write *w);
/* Deals with those that came back. How many. */
unsigned writer_finish(struct gw_store *s);
bool writer_has_work(const struct gw_store *s);
/* No write is under way. A file of the log may be: on a full disk it is tried again and again. */
bool writer_is_idle(const struct gw_store *s);
/* The writer has nothing to do, though some may not have been dealt with. */
bool writer_is_back(const struct gw_store *s);
/* After a failure: all have come back, those not written with -EIO. False: not yet. */
bool writer_forget(struct gw_store *s);
/* The log's next file is to be made. */
void writer_prepare_log(struct gw_store *s);
/* Without a thread of its own: those handed over before there were `asked`. Returns the work done. */
unsigned writer_write_until(struct gw_store *s, uint64_t asked);
/* How many are not yet written; for how long the one under way has been; 0: none is. */
unsigned writer_waiting(const struct gw_store *s);
uint64_t writer_waits_us(const struct gw_store *s);

#endif
