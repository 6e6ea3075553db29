/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commit log in files: the fastest durable append that a file system gives.
 *
 * A few files of fixed size are written in turn and reused, so that after a while an append only
 * overwrites blocks that exist: fdatasync then writes data and no metadata. Every append starts on
 * a block of its own; a block that holds something acknowledged is never written again. Direct I/O
 * where the file system has it.
 */
#ifndef GW_STORAGE_LOG_FILE_H
#define GW_STORAGE_LOG_FILE_H

#include "engine.h"

struct log_file;

/* dir is made when absent. */
int log_file_open(struct log_file **out, const char *dir, const struct gw_engine_options *o,
                  char err[256]);
void log_file_free(struct log_file **l);

/* See struct gw_engine_ops. */
int log_file_read(struct log_file *l, uint64_t from,
                  int (*each)(void *arg, uint64_t number, struct gw_bytes segment), void *arg);
bool log_file_room(struct log_file *l);
bool log_file_wants_one(const struct log_file *l);
bool log_file_prepare(struct log_file *l);
int log_file_append(struct log_file *l, const struct gw_log_entry *v, unsigned n, bool sync);
bool log_file_pressed(struct log_file *l);
bool log_file_trim_frees(struct log_file *l, uint64_t below);
void log_file_trim(struct log_file *l, uint64_t below);
int log_file_roll(struct log_file *l, uint64_t number);
void log_file_scrub(struct log_file *l, uint64_t below);

struct log_file_counts {
    unsigned used, free;
    uint64_t file_bytes;
};
struct log_file_counts log_file_counts(const struct log_file *l);

#endif
