/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_STORAGE_ROCKSDB_TUNING_H
#define GW_STORAGE_ROCKSDB_TUNING_H

#include <rocksdb/c.h>

#include "engine.h"

/* How the write-ahead log is read at open. */
enum tuning_recovery {
    TUNING_STRICT,  /* an incomplete record at the very end is dropped, anything else is an error */
    TUNING_SALVAGE, /* what cannot be read is skipped, what follows it is used */
};

/* Of the database, and of the column family of a space; the caller destroys them. own_log: directory
 * for the log of RocksDB itself; NULL: the directory of the database. */
rocksdb_options_t *tuning_db(enum tuning_recovery recovery, const char *own_log);
rocksdb_options_t *tuning_space(enum gw_space space, rocksdb_cache_t *cache);
/* Of the sorted files that spills make for it. */
rocksdb_options_t *tuning_spilled(enum gw_space space, rocksdb_cache_t *cache);
rocksdb_cache_t *tuning_cache(void);

#endif
