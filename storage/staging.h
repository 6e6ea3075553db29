/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a sorted file is built before it goes to disk.
 *
 * RocksDB's writer of such files throws each out of the page cache at its end: the first who reads a
 * message, and the first merge, would fetch from the disk what was in memory a moment ago. So it is built
 * in memory, next to RocksDB's own log, and copied to the disk from there; where there is no room for it in
 * memory it is built on the disk.
 *
 * Any thread that may block.
 */
#ifndef GW_STORAGE_STAGING_H
#define GW_STORAGE_STAGING_H

#include <stdbool.h>

/* The largest file that a spill makes, with room to spare. */
#define STAGING_BYTES (192u << 20)

/* Whether a directory has room for one. */
bool staging_has_room(const char *dir);
/* `to` becomes a copy of `from`, synced. 0 or negative errno. */
int staging_copy(const char *from, const char *to);

#endif
