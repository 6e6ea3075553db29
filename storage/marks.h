/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who fills a mailbox: the senders with most in it, by mark, in fixed room (space saving, Metwally et
 * al., 2005). What is said of a sender is never too low, and too high by at most a 32nd of the whole.
 */
#ifndef GW_STORAGE_MARKS_H
#define GW_STORAGE_MARKS_H

#include <stdint.h>

#define GW_MARKS_MAX 32u

/* All zero: nobody. */
struct gw_marks {
    struct gw_mark {
        uint64_t cost; /* bytes */
        uint16_t mark; /* 0: the slot is free */
        uint16_t reserved[3];
    } most[GW_MARKS_MAX];
};

/* Of mark 0, a message whose sender is not known, nothing is kept. */
void gw_marks_add(struct gw_marks *m, uint16_t mark, uint64_t cost);
/* At most so much is this sender's. */
uint64_t gw_marks_of(const struct gw_marks *m, uint16_t mark);
/* So much exactly, as long as it is among the most. */
void gw_marks_set(struct gw_marks *m, uint16_t mark, uint64_t cost);

#endif
