/* SPDX-License-Identifier: Apache-2.0 */
/* Every option of RocksDB that is not its default, with the reason. */
#include "rocksdb_tuning.h"

#include "segment.h"

#define MIB ((size_t)1 << 20)

rocksdb_cache_t *tuning_cache(void)
{
    /* Messages are read once, in order, soon after they were written or long after: a cache pays
     * for filters, indexes and accounts, not for bodies. */
    rocksdb_lru_cache_options_t *o = rocksdb_lru_cache_options_create();
    rocksdb_lru_cache_options_set_capacity(o, 64 * MIB);
    /* Two parts, for a few threads. By default there are 64 of 1 MiB, and the index of one spill fills
     * such a part: it goes, and is read again, each time that another block needs the room. */
    rocksdb_lru_cache_options_set_num_shard_bits(o, 1);
    rocksdb_cache_t *cache = rocksdb_cache_create_lru_opts(o);
    rocksdb_lru_cache_options_destroy(o);
    return cache;
}

rocksdb_options_t *tuning_db(enum tuning_recovery recovery, const char *own_log)
{
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_create_missing_column_families(o, 1);

    /* The default, point-in-time, drops all that follows a bad record without a word. Tolerating a
     * torn tail only: the tail was never synced, so what was in it is still in the commit log;
     * anything else makes the open fail, and rocksdb.c decides. */
    rocksdb_options_set_wal_recovery_mode(o, recovery == TUNING_STRICT
                                                 ? rocksdb_tolerate_corrupted_tail_records_recovery
                                                 : rocksdb_skip_any_corrupted_records_recovery);

    /* A column family that is seldom written keeps whole log files alive: bounds both disk space
     * and what a start after a crash has to read. */
    rocksdb_options_set_max_total_wal_size(o, 256 * MIB);

    /* One flush and one compaction at a time: they share cores with everything else. */
    rocksdb_options_set_max_background_jobs(o, 2);

    /* Let written data trickle to disk, so that no fdatasync, ours least of all, waits for a burst
     * of it: tables, and the write-ahead log, which spills write without syncing. */
    rocksdb_options_set_bytes_per_sync(o, MIB);
    rocksdb_options_set_wal_bytes_per_sync(o, MIB);

    /* Whoever drops the last reference to a memtable or file must not pay for freeing it. */
    rocksdb_options_set_avoid_unnecessary_blocking_io(o, 1);

    /* The process may open some 20,000 files, most of them are sockets elsewhere. */
    rocksdb_options_set_max_open_files(o, 1000);

    /* Opening must not read every table for statistics. */
    rocksdb_options_set_skip_stats_update_on_db_open(o, 1);
    rocksdb_options_set_skip_checking_sst_file_sizes_on_db_open(o, 1);

    /* RocksDB's own log: warnings only, bounded, no periodic dumps. In memory, not on the disk that
     * is full or fails: the library as Debian builds it aborts the process when a line of this log
     * comes after one that could not be written. */
    if (own_log != NULL)
        rocksdb_options_set_db_log_dir(o, own_log);
    rocksdb_options_set_info_log_level(o, 2);
    rocksdb_options_set_max_log_file_size(o, 4 * MIB);
    rocksdb_options_set_keep_log_file_num(o, 4);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_stats_persist_period_sec(o, 0);
    return o;
}

/* The index of a merged file is many times what is read of it for one mailbox, and there is no limit to
 * how large: it comes in pieces. That of a spill is of bounded size, and pinned as long as it is young. */
static void index_in_pieces(rocksdb_block_based_table_options_t *t)
{
    rocksdb_block_based_options_set_index_type(
        t, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(t, 1);
    rocksdb_block_based_options_set_pin_top_level_index_and_filter(t, 1);
}

static void tables(rocksdb_options_t *o, rocksdb_cache_t *cache, enum gw_space space, bool merged)
{
    bool whole_keys = space != GW_SPACE_MAILBOX;
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(t, cache);
    /* Of a mailbox a sorted run has some records of 300 bytes each, and accounts and keys are read one by
     * one: in a larger block most is somebody else's. Events are some kilobytes a segment, and read in
     * their order. */
    rocksdb_block_based_options_set_block_size(t, space == GW_SPACE_EVENTS ? 65536 : 4096);
    if (space == GW_SPACE_MAILBOX && merged)
        index_in_pieces(t);
    /* Indexes and filters are charged to the cache too: memory stays within its limit. */
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(t, 1);
    /* Most mailboxes are empty when their owner connects: the filter answers without a read. Nobody asks
     * for the events of one segment. */
    if (space != GW_SPACE_EVENTS)
        rocksdb_block_based_options_set_filter_policy(t, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_whole_key_filtering(t, whole_keys);
    /* XXH3 is the cheapest that finds flipped bits. */
    rocksdb_block_based_options_set_checksum(t, 4);
    rocksdb_block_based_options_set_format_version(t, 5);
    rocksdb_options_set_block_based_table_factory(o, t);
    rocksdb_block_based_options_destroy(t);
}

/* Messages are written once, read once, and then deleted, and new ones fall into all mailboxes
 * alike. Levels would rewrite most of the keys again and again for that; runs of similar size are
 * merged seldom, several at a time. */
static void merge_by_size(rocksdb_options_t *o)
{
    rocksdb_options_set_compaction_style(o, rocksdb_universal_compaction);
    rocksdb_universal_compaction_options_t *u = rocksdb_universal_compaction_options_create();
    /* Runs within a fifth of each other count as similar. */
    rocksdb_universal_compaction_options_set_size_ratio(u, 20);
    rocksdb_universal_compaction_options_set_min_merge_width(u, 4);
    /* Deleted messages go at the latest when they are as many as twice those that stay. */
    rocksdb_universal_compaction_options_set_max_size_amplification_percent(u, 200);
    rocksdb_options_set_universal_compaction_options(o, u);
    rocksdb_universal_compaction_options_destroy(u);
    rocksdb_options_set_level0_file_num_compaction_trigger(o, 8);
    /* RocksDB must never slow down or stop the storage thread on its own: the engine says that it
     * is busy, spills wait, the window fills, and then commits wait. */
    rocksdb_options_set_level0_slowdown_writes_trigger(o, 1000);
    rocksdb_options_set_level0_stop_writes_trigger(o, 2000);
    rocksdb_options_set_soft_pending_compaction_bytes_limit(o, 0);
    rocksdb_options_set_hard_pending_compaction_bytes_limit(o, 0);
}

static void tune_mailbox(rocksdb_options_t *o)
{
    merge_by_size(o);
    /* Spills of many messages come as files; this holds deletes and small spills. */
    rocksdb_options_set_write_buffer_size(o, 16 * MIB);
    rocksdb_options_set_max_write_buffer_number(o, 4);
    /* A read concerns one mailbox: filters by mailbox, in tables and in the memtable. */
    rocksdb_options_set_prefix_extractor(
        o, rocksdb_slicetransform_create_fixed_prefix(sizeof(struct gw_mailbox_id)));
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, 0.05);
}

static rocksdb_options_t *space_options(enum gw_space space, rocksdb_cache_t *cache, bool merged)
{
    rocksdb_options_t *o = rocksdb_options_create();
    /* What is stored is sealed, so it does not compress. */
    rocksdb_options_set_compression(o, rocksdb_no_compression);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_write_buffer_size(o, 8 * MIB);
    if (space == GW_SPACE_MAILBOX)
        tune_mailbox(o);
    tables(o, cache, space, merged);
    return o;
}

rocksdb_options_t *tuning_space(enum gw_space space, rocksdb_cache_t *cache)
{
    return space_options(space, cache, true);
}

rocksdb_options_t *tuning_spilled(enum gw_space space, rocksdb_cache_t *cache)
{
    return space_options(space, cache, false);
}
