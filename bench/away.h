/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store as absent recipients need it: many mailboxes that take messages at random, and are read
 * and emptied later. Records are sealed as the broker does it: the store seals them anew under their
 * accounts' keys, and opens them for the reader.
 */
#ifndef GW_BENCH_AWAY_H
#define GW_BENCH_AWAY_H

#include <stdbool.h>
#include <stdint.h>

#define AWAY_RECORD_BYTES 316 /* in the log, a body of some 200 bytes */

struct away;

/* Opens or makes DIR/store and, unless it is plain, DIR/master.key. Says what the store reports; ends
 * the program when it cannot be opened. One in a process. */
struct away *away_open(const char *dir, uint32_t mailbox_count, bool sealed);
void away_close(struct away *b);
/* Accounts with keys for all mailboxes; once. */
void away_make_accounts(struct away *b);
/* Stores until the time or the number of messages is reached, at a rate (0: as fast as it goes).
 * Returns how many are durable. */
uint64_t away_store(struct away *b, double seconds, double rate, uint64_t limit);
/* One line: how much is stored after t seconds, how much of it not spilled. */
void away_print(struct away *b, double t, uint64_t stored);
/* Reads every mailbox, in random order, in order, and empties it. Returns how many were read. */
uint64_t away_read(struct away *b);
/* Counts what the store says to be in all mailboxes together. */
uint64_t away_waiting(struct away *b);
/* Ends the process by SIGKILL while it stores. */
void away_die(struct away *b);

#endif
