/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory in memory for RocksDB's own log (docs/ARCHITECTURE.md says why there) and for sorted files
 * until they go to disk (staging.h), the same one for
 * each process that opens the same store. Who uses it holds a lock on it, which the kernel takes back
 * when the process dies, however it dies: so what dead ones have left can be told from what is in use,
 * also from another PID namespace.
 *
 * Any thread that may block.
 */
#ifndef GW_STORAGE_OWN_LOG_H
#define GW_STORAGE_OWN_LOG_H

#define OWN_LOG_BYTES 64

/* Makes or finds that of the store at `path`, and locks it. Returns what own_log_close takes and the
 * directory's name, or negative errno (-EPERM: what has that name is another user's, or no directory). */
int own_log_open(const char *path, char dir[OWN_LOG_BYTES]);
/* The last one of its users takes it along. *lock becomes -1; nothing happens when it is negative. */
void own_log_close(int *lock, const char *path);
/* Removes those of this user whose processes have died. Returns how many. */
unsigned own_log_sweep(void);

#endif
