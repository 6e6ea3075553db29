/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wakes a thread that may sleep, at no cost while it does not.
 *
 * The sleeper arms, looks at its rings once more, and only then sleeps; a waker pushes first and
 * then looks whether the sleeper is armed. Both looks are read-modify-writes of one variable, so
 * one of the two is later and sees what the other did: no wake-up is lost, and no fence is needed.
 */
#ifndef GW_STORAGE_WAKE_H
#define GW_STORAGE_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct wake {
    int fd; /* eventfd */
    atomic_uint armed;
};

int wake_open(struct wake *w);
void wake_close(struct wake *w);

/* Sleeper: from now on the next wake_up writes the eventfd. Look at the rings after this. */
void wake_arm(struct wake *w);
/* Sleeper: found something to do after all, or woke. Empties the eventfd if it was written. */
void wake_disarm(struct wake *w);
/* Sleeper, armed: until woken or timeout_us has passed. */
void wake_sleep(struct wake *w, uint64_t timeout_us);

/* Any thread, after its push. A system call only when the sleeper is armed. */
void wake_up(struct wake *w);

#endif
