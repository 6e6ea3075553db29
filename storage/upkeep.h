/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upkeep: what takes long and must not hold up the storage thread, one thing at a time.
 *
 * A request goes through phases: the commit thread begins a new log file, what the old ones hold is
 * spilled and given up, and the upkeep thread does what blocks in the engine.
 * Which of them depends on the request.
 */
#ifndef GW_STORAGE_UPKEEP_H
#define GW_STORAGE_UPKEEP_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine.h"
#include "store.h"
#include "wake.h"

enum upkeep_phase {
    UPKEEP_IDLE,
    UPKEEP_ROLL,  /* the commit thread begins a new log file */
    UPKEEP_SPILL, /* what lies before it is spilled */
    UPKEEP_SYNC,  /* the writer makes that durable, and the log gives it up */
    UPKEEP_WORK,  /* the upkeep thread is in the engine */
};

struct upkeep {
    /* storage thread */
    enum upkeep_phase phase;
    struct gw_store_client *client;
    struct gw_store_request request;
    uint64_t until; /* segments below leave the log */

    /* commit thread, between asked and done */
    atomic_bool roll_asked, roll_done;
    int roll_err;
    uint64_t roll_number; /* first segment of the new file */

    /* upkeep thread, between asked and done */
    pthread_t thread;
    bool thread_runs;
    atomic_bool stop, asked, done;
    struct wake wake;
    int err;
    struct gw_engine_backup backup;
};

int upkeep_open(struct gw_store *s);
int upkeep_start(struct gw_store *s);
/* Waits for what is under way in the engine. */
void upkeep_close(struct gw_store *s);
/* A request of this kind; -EBUSY is its completion when another one is under way. */
void upkeep_begin(struct gw_store *s, struct gw_store_client *client,
                  const struct gw_store_request *r);
unsigned upkeep_pass(struct gw_store *s);
/* After a failed write, before the engine is closed: what is under way fails with -EIO. False: the
 * upkeep thread is still in the engine. The commit thread is parked. */
bool upkeep_forget(struct gw_store *s);
/* Whether another thread has done its part. */
bool upkeep_has_work(const struct gw_store *s);
/* Segments below this number shall be spilled now; 0: none. */
uint64_t upkeep_spill_below(const struct gw_store *s);
/* Commit thread: does its part when asked. Whether it was. */
bool upkeep_roll(struct gw_store *s);

#endif
