/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded engine: the log in files of its own, the keys in RocksDB, a column family a space.
 */
#include <rocksdb/c.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "../dataplane/base/check.h"
#include "engine.h"
#include "log_file.h"
#include "own_log.h"
#include "rocksdb_tuning.h"
#include "segment.h"
#include "staging.h"

struct gw_engine {
    struct log_file *log;
    rocksdb_t *db;
    int own_log; /* the lock of own_log_path, or negative */
    char own_log_path[OWN_LOG_BYTES];
    bool damaged;
    char path[256], keys_path[256];
    char ingest_path[256]; /* the file that the spill thread is writing, */
    char staging_path[OWN_LOG_BYTES + 16]; /* and where it is built first; empty: nowhere else */
    rocksdb_options_t *ingest_options[GW_SPACE_COUNT];
    rocksdb_envoptions_t *env_options;
    rocksdb_ingestexternalfileoptions_t *ingest_how;
    rocksdb_flushoptions_t *flush_options;
    rocksdb_column_family_handle_t *cf[GW_SPACE_COUNT];
    rocksdb_cache_t *cache;
    rocksdb_writeoptions_t *write_sync, *write_async;
    rocksdb_readoptions_t *read_any;     /* in the order of all keys */
};

struct gw_batch {
    struct gw_engine *engine;
    rocksdb_writebatch_t *b;
};

#define PREFIX_BYTES_MAX 64

struct gw_iter {
    rocksdb_iterator_t *it;
    rocksdb_readoptions_t *own; /* of who reads one mailbox, or NULL */
    uint8_t prefix[PREFIX_BYTES_MAX];
    size_t prefix_len;
    uint8_t end[PREFIX_BYTES_MAX]; /* own refers to it */
};

/* The name of META's column family must be "default": RocksDB has one of that name always. */
static const char *cf_name(enum gw_space space)
{
    return space == GW_SPACE_META ? "default" : gw_space_name(space);
}

/* The C API gives a status as text only. */
static int status_of(const char *text)
{
    if (strncmp(text, "Corruption", 10) == 0)
        return -EBADMSG;
    if (strstr(text, "No space left") != NULL || strstr(text, "Disk quota") != NULL)
        return -ENOSPC;
    if (strstr(text, "lock") != NULL && strncmp(text, "IO error", 8) == 0)
        return -EBUSY;
    return -EIO;
}

static int take_status(char *text)
{
    if (text == NULL)
        return 0;
    int err = status_of(text);
    rocksdb_free(text);
    return err;
}

/* ---- open ---- */

static char *open_db(struct gw_engine *e, const char *path, enum tuning_recovery recovery)
{
    const char *names[GW_SPACE_COUNT];
    const rocksdb_options_t *options[GW_SPACE_COUNT];
    rocksdb_options_t *owned[GW_SPACE_COUNT];
    for (int i = 0; i < GW_SPACE_COUNT; i++) {
        names[i] = cf_name((enum gw_space)i);
        options[i] = owned[i] = tuning_space((enum gw_space)i, e->cache);
    }
    if (e->own_log < 0)
        e->own_log = own_log_open(path, e->own_log_path);
    rocksdb_options_t *db = tuning_db(recovery, e->own_log >= 0 ? e->own_log_path : NULL);
    char *text = NULL;
    e->db = rocksdb_open_column_families(db, path, GW_SPACE_COUNT, names, options, e->cf, &text);
    rocksdb_options_destroy(db);
    for (int i = 0; i < GW_SPACE_COUNT; i++)
        rocksdb_options_destroy(owned[i]);
    return text;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

/* Links the write-ahead logs into a directory of their own before RocksDB replaces them. */
static int keep_logs(const char *path, char kept[256])
{
    snprintf(kept, 256, "%.200s/damaged-%lld", path, (long long)time(NULL));
    if (mkdir(kept, 0700) != 0 && errno != EEXIST)
        return -errno;
    DIR *d = opendir(path);
    if (d == NULL)
        return -errno;
    int err = 0;
    struct dirent *f;
    while (!err && (f = readdir(d)) != NULL) {
        if (!ends_with(f->d_name, ".log"))
            continue;
        char from[512], to[512];
        snprintf(from, sizeof(from), "%.220s/%.255s", path, f->d_name);
        snprintf(to, sizeof(to), "%.220s/%.255s", kept, f->d_name);
        if (link(from, to) != 0 && errno != EEXIST)
            err = -errno;
    }
    closedir(d);
    return err;
}

/* RocksDB's own log is damaged before its end. Nothing that can still be read is given up: the
 * files are kept for the operator, and the log is read again with its bad records skipped. What
 * spills went with them is done again from the commit log, as far as that reaches back. */
static char *salvage(struct gw_engine *e, const struct gw_engine_options *o, const char *path,
                     char *text)
{
    char kept[256], line[1024];
    int err = keep_logs(path, kept);
    if (err)
        return text;
    snprintf(
        line, sizeof(line),
        "the write-ahead log is damaged (%.300s); its files are kept in %s, all of it that can "
        "be read is used",
        text, kept);
    o->report(o->report_arg, line);
    rocksdb_free(text);
    e->damaged = true;
    return open_db(e, path, TUNING_SALVAGE);
}

/* A column family that this program does not know was written by a later one. */
static int refuse_unknown(const char *path, char err[256])
{
    rocksdb_options_t *o = rocksdb_options_create();
    size_t count = 0;
    char *text = NULL;
    char **names = rocksdb_list_column_families(o, path, &count, &text);
    rocksdb_options_destroy(o);
    if (text != NULL)
        rocksdb_free(text); /* a fresh directory; anything worse is seen again at open */
    int status = 0;
    for (size_t i = 0; i < count; i++) {
        bool known = false;
        for (int k = 0; k < GW_SPACE_COUNT; k++)
            known |= strcmp(names[i], cf_name((enum gw_space)k)) == 0;
        if (!known) {
            snprintf(err, 256, "%.120s holds \"%.60s\", which this program does not know", path,
                     names[i]);
            status = -ENOTSUP;
        }
    }
    rocksdb_list_column_families_destroy(names, count);
    return status;
}

static void start_threads(void)
{
    /* Now, by the thread that opens: they inherit its affinity and priority, which must not be
     * those of the commit thread that would otherwise start them at its first full memtable. */
    rocksdb_env_t *env = rocksdb_create_default_env();
    rocksdb_env_set_background_threads(env, 1);
    rocksdb_env_set_high_priority_background_threads(env, 1);
    rocksdb_env_destroy(env);
}

/* Memtables come and go by the megabyte. Left alone, malloc gives each back to the kernel and takes
 * it again page by page; so it keeps what it has. For the whole process. */
static void keep_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, 8 << 20);
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
}

static void rocks_free(struct gw_engine **ep)
{
    struct gw_engine *e = *ep;
    log_file_free(&e->log);
    for (int i = 0; i < GW_SPACE_COUNT; i++)
        if (e->cf[i] != NULL)
            rocksdb_column_family_handle_destroy(e->cf[i]);
    if (e->db != NULL)
        rocksdb_close(e->db);
    own_log_close(&e->own_log, e->keys_path);
    rocksdb_writeoptions_destroy(e->write_sync);
    rocksdb_writeoptions_destroy(e->write_async);
    rocksdb_readoptions_destroy(e->read_any);
    for (int i = 0; i < GW_SPACE_COUNT; i++)
        rocksdb_options_destroy(e->ingest_options[i]);
    rocksdb_envoptions_destroy(e->env_options);
    rocksdb_ingestexternalfileoptions_destroy(e->ingest_how);
    rocksdb_flushoptions_destroy(e->flush_options);
    rocksdb_cache_destroy(e->cache);
    free(e);
    *ep = NULL;
}

static struct gw_engine *engine_new(void)
{
    struct gw_engine *e = calloc(1, sizeof(*e));
    check(e != NULL);
    e->own_log = -1;
    e->cache = tuning_cache();
    e->write_sync = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(e->write_sync, 1);
    e->write_async = rocksdb_writeoptions_create();
    e->read_any = rocksdb_readoptions_create();
    rocksdb_readoptions_set_total_order_seek(e->read_any, 1);
    for (int i = 0; i < GW_SPACE_COUNT; i++)
        e->ingest_options[i] = tuning_spilled((enum gw_space)i, e->cache);
    e->env_options = rocksdb_envoptions_create();
    e->ingest_how = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(e->ingest_how, 1);
    e->flush_options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(e->flush_options, 1);
    return e;
}

static int make_dir(const char *path, char err[256])
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    int status = -errno;
    snprintf(err, 256, "cannot make %.150s: %s", path, strerror(-status));
    return status;
}

static int open_keys(struct gw_engine *e, const struct gw_engine_options *o, const char *path,
                     char err[256])
{
    char *text = open_db(e, path, TUNING_STRICT);
    if (text != NULL && status_of(text) == -EBADMSG)
        text = salvage(e, o, path, text);
    if (text == NULL)
        return 0;
    snprintf(err, 256, "%.250s", text);
    int status = take_status(text);
    if (status == -EBUSY)
        snprintf(err, 256, "%.200s is in use by another process", o->path);
    return status;
}

/* Whether the disk takes writes again. RocksDB finds out as well, but some of its assertions do not
 * expect an error, and end the process. */
static int probe(const char *path, char err[256])
{
    static const uint8_t block[4096];
    char file[256];
    snprintf(file, sizeof(file), "%s/probe", path);
    int fd = open(file, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    int status = fd < 0 ? -errno : 0;
    if (!status) {
        ssize_t n = write(fd, block, sizeof(block));
        status = n < 0 ? -errno : n < (ssize_t)sizeof(block) ? -ENOSPC : fsync(fd) ? -errno : 0;
        close(fd);
        unlink(file);
    }
    if (status)
        snprintf(err, 256, "%.150s cannot be written to: %s", path, strerror(-status));
    return status;
}

/* Sorted files of a spill that was killed go. */
static void choose_staging(struct gw_engine *e)
{
    unlink(e->ingest_path);
    if (e->own_log < 0)
        return;
    snprintf(e->staging_path, sizeof(e->staging_path), "%s/spill.sst", e->own_log_path);
    unlink(e->staging_path);
}

static int rocks_open(struct gw_engine **out, const struct gw_engine_options *o, char err[256])
{
    char keys[256], log[256];
    if (strlen(o->path) > 180) {
        snprintf(err, 256, "the path of the store is too long");
        return -ENAMETOOLONG;
    }
    snprintf(keys, sizeof(keys), "%s/keys", o->path);
    snprintf(log, sizeof(log), "%s/log", o->path);
    int status = make_dir(o->path, err);
    if (!status)
        status = make_dir(keys, err);
    if (!status && o->again)
        status = probe(o->path, err);
    if (!status)
        status = refuse_unknown(keys, err);
    if (status)
        return status;
    start_threads();
    keep_memory();
    own_log_sweep();
    struct gw_engine *e = engine_new();
    snprintf(e->path, sizeof(e->path), "%s", o->path);
    snprintf(e->keys_path, sizeof(e->keys_path), "%s", keys);
    snprintf(e->ingest_path, sizeof(e->ingest_path), "%s/spill.sst", o->path);
    /* The keys first: their lock keeps a second process from both. */
    status = open_keys(e, o, keys, err);
    if (!status)
        choose_staging(e);
    if (!status)
        status = log_file_open(&e->log, log, o, err);
    if (status)
        rocks_free(&e);
    else
        *out = e;
    return status;
}

/* ---- log ---- */

static int rocks_log_read(struct gw_engine *e, uint64_t from,
                          int (*each)(void *arg, uint64_t number, struct gw_bytes segment),
                          void *arg)
{
    return log_file_read(e->log, from, each, arg);
}

static bool rocks_log_room(struct gw_engine *e)
{
    return log_file_room(e->log);
}

static bool rocks_log_wants_file(struct gw_engine *e)
{
    return log_file_wants_one(e->log);
}

static bool rocks_log_prepare(struct gw_engine *e)
{
    return log_file_prepare(e->log);
}

static int rocks_log_append(struct gw_engine *e, const struct gw_log_entry *v, unsigned n,
                            bool sync)
{
    return log_file_append(e->log, v, n, sync);
}

static bool rocks_log_pressed(struct gw_engine *e)
{
    return log_file_pressed(e->log);
}

static bool rocks_log_trim_frees(struct gw_engine *e, uint64_t below)
{
    return log_file_trim_frees(e->log, below);
}

static void rocks_log_trim(struct gw_engine *e, uint64_t below)
{
    log_file_trim(e->log, below);
}

static int rocks_log_roll(struct gw_engine *e, uint64_t number)
{
    return log_file_roll(e->log, number);
}

static void rocks_log_scrub(struct gw_engine *e, uint64_t below)
{
    log_file_scrub(e->log, below);
}

static uint64_t rocks_free_bytes(struct gw_engine *e)
{
    struct statvfs v;
    return statvfs(e->path, &v) == 0 ? (uint64_t)v.f_bavail * v.f_frsize : UINT64_MAX;
}

static bool rocks_damaged(const struct gw_engine *e)
{
    return e->damaged;
}

/* ---- batches ---- */

static struct gw_batch *rocks_batch_new(struct gw_engine *e)
{
    struct gw_batch *b = calloc(1, sizeof(*b));
    check(b != NULL);
    b->engine = e;
    b->b = rocksdb_writebatch_create();
    return b;
}

static void rocks_batch_free(struct gw_batch **b)
{
    rocksdb_writebatch_destroy((*b)->b);
    free(*b);
    *b = NULL;
}

static void rocks_batch_clear(struct gw_batch *b)
{
    rocksdb_writebatch_clear(b->b);
}

static void rocks_put(struct gw_batch *b, enum gw_space space, struct gw_bytes key,
                      struct gw_bytes value)
{
    rocksdb_writebatch_put_cf(b->b, b->engine->cf[space], (const char *)key.p, key.len,
                              (const char *)value.p, value.len);
}

static void rocks_del(struct gw_batch *b, enum gw_space space, struct gw_bytes key)
{
    rocksdb_writebatch_delete_cf(b->b, b->engine->cf[space], (const char *)key.p, key.len);
}

static void rocks_del_range(struct gw_batch *b, enum gw_space space, struct gw_bytes first,
                            struct gw_bytes end)
{
    rocksdb_writebatch_delete_range_cf(b->b, b->engine->cf[space], (const char *)first.p, first.len,
                                       (const char *)end.p, end.len);
}

static int rocks_write(struct gw_engine *e, struct gw_batch *b, bool sync)
{
    char *text = NULL;
    rocksdb_write(e->db, sync ? e->write_sync : e->write_async, b->b, &text);
    return take_status(text);
}

/* ---- sorted files ---- */

static int write_sorted(struct gw_engine *e, enum gw_space space, struct gw_pair_source *from,
                        const char *path)
{
    char *text = NULL;
    struct gw_pair pair;
    int more = 0;
    rocksdb_sstfilewriter_t *w =
        rocksdb_sstfilewriter_create(e->env_options, e->ingest_options[space]);
    rocksdb_sstfilewriter_open(w, path, &text);
    while (text == NULL && (more = from->next(from, &pair)) > 0)
        rocksdb_sstfilewriter_put(w, (const char *)pair.key.p, pair.key.len,
                                  (const char *)pair.value.p, pair.value.len, &text);
    if (text == NULL && more == 0)
        rocksdb_sstfilewriter_finish(w, &text); /* synced */
    rocksdb_sstfilewriter_destroy(w);
    return more < 0 ? more : take_status(text);
}

/* While a file is taken over RocksDB stops other writers, and first flushes a memtable that
 * overlaps it: so this is done before, when nobody waits for it. */
static int take_over(struct gw_engine *e, enum gw_space space)
{
    const char *files[] = {e->ingest_path};
    char *text = NULL;
    rocksdb_flush_cf(e->db, e->flush_options, e->cf[space], &text);
    if (text == NULL)
        rocksdb_ingest_external_file_cf(e->db, e->cf[space], files, 1, e->ingest_how, &text);
    return take_status(text);
}

static int rocks_ingest(struct gw_engine *e, enum gw_space space, struct gw_pair_source *from)
{
    bool staged = e->staging_path[0] != '\0' && staging_has_room(e->own_log_path);
    int err = write_sorted(e, space, from, staged ? e->staging_path : e->ingest_path);
    if (!err && staged)
        err = staging_copy(e->staging_path, e->ingest_path);
    if (staged)
        unlink(e->staging_path);
    if (!err)
        err = take_over(e, space);
    unlink(e->ingest_path);
    return err;
}

/* ---- upkeep ---- */

/* Every space's memtable goes to a file, so that RocksDB's log so far is needed no more. */
static char *flush_all(struct gw_engine *e)
{
    char *text = NULL;
    for (int i = 0; i < GW_SPACE_COUNT && text == NULL; i++)
        rocksdb_flush_cf(e->db, e->flush_options, e->cf[i], &text);
    return text;
}

/* Files that nothing refers to go at some time; this makes it now, in this thread. */
static char *purge_files(struct gw_engine *e)
{
    char *text = NULL;
    rocksdb_disable_file_deletions(e->db, &text);
    if (text == NULL)
        rocksdb_enable_file_deletions(e->db, 1, &text);
    return text;
}

static void compact(struct gw_engine *e, enum gw_space space)
{
    rocksdb_compactoptions_t *o = rocksdb_compactoptions_create();
    /* Other compactions go on; the files of the last level are rewritten, too, each once. */
    rocksdb_compactoptions_set_exclusive_manual_compaction(o, 0);
    rocksdb_compactoptions_set_bottommost_level_compaction(o, 3);
    rocksdb_compact_range_cf_opt(e->db, e->cf[space], o, NULL, 0, NULL, 0);
    rocksdb_compactoptions_destroy(o);
}

static int rocks_erase(struct gw_engine *e, enum gw_space space)
{
    char *text = flush_all(e);
    if (text == NULL) {
        compact(e, space);
        text = purge_files(e);
    }
    return take_status(text);
}

static rocksdb_backup_engine_t *open_backups(const char *dir, char **text)
{
    rocksdb_backup_engine_options_t *o = rocksdb_backup_engine_options_create(dir);
    rocksdb_env_t *env = rocksdb_create_default_env();
    /* Table files are shared between backups, under names that hold their checksums. */
    rocksdb_backup_engine_options_set_share_table_files(o, 1);
    rocksdb_backup_engine_options_set_sync(o, 1);
    rocksdb_backup_engine_t *b = rocksdb_backup_engine_open_opts(o, env, text);
    rocksdb_env_destroy(env);
    rocksdb_backup_engine_options_destroy(o);
    return b;
}

/* The newest `max`, oldest first. How many. */
static unsigned describe_backups(rocksdb_backup_engine_t *b, struct gw_engine_backup *out,
                                 unsigned max)
{
    const rocksdb_backup_engine_info_t *info = rocksdb_backup_engine_get_backup_info(b);
    unsigned count = (unsigned)rocksdb_backup_engine_info_count(info), n = 0;
    for (unsigned i = count > max ? count - max : 0; i < count; i++)
        out[n++] = (struct gw_engine_backup){
            .id = rocksdb_backup_engine_info_backup_id(info, (int)i),
            .count = count,
            .bytes = rocksdb_backup_engine_info_size(info, (int)i),
            .made_at = rocksdb_backup_engine_info_timestamp(info, (int)i)};
    rocksdb_backup_engine_info_destroy(info);
    return n;
}

static int rocks_backup(struct gw_engine *e, const char *dir, unsigned keep,
                        struct gw_engine_backup *out)
{
    char *text = NULL;
    rocksdb_backup_engine_t *b = open_backups(dir, &text);
    if (text != NULL)
        return take_status(text);
    rocksdb_backup_engine_create_new_backup_flush(b, e->db, 1, &text);
    if (text == NULL)
        rocksdb_backup_engine_purge_old_backups(b, keep, &text);
    bool made = text == NULL && describe_backups(b, out, 1) == 1;
    rocksdb_backup_engine_close(b);
    return text != NULL ? take_status(text) : made ? 0 : -EIO;
}

/* Opening a directory for backups makes it: so one that is absent is refused before. */
static rocksdb_backup_engine_t *open_existing(const char *dir, char err[256])
{
    char meta[320], *text = NULL;
    struct stat st;
    snprintf(meta, sizeof(meta), "%.300s/meta", dir);
    if (stat(meta, &st) != 0) {
        snprintf(err, 256, "there are no backups in %.180s", dir);
        return NULL;
    }
    rocksdb_backup_engine_t *b = open_backups(dir, &text);
    if (text == NULL)
        return b;
    snprintf(err, 256, "%.250s", text);
    rocksdb_free(text);
    return NULL;
}

static int rocks_backups(const char *dir, struct gw_engine_backup *out, unsigned max, char err[256])
{
    rocksdb_backup_engine_t *b = open_existing(dir, err);
    if (b == NULL)
        return -ENOENT;
    int n = (int)describe_backups(b, out, max);
    rocksdb_backup_engine_close(b);
    return n;
}

static int check_empty(const char *path, char err[256])
{
    DIR *d = opendir(path);
    if (d == NULL && errno == ENOENT)
        return 0;
    bool empty = d != NULL;
    struct dirent *f;
    while (empty && (f = readdir(d)) != NULL)
        empty = strcmp(f->d_name, ".") == 0 || strcmp(f->d_name, "..") == 0;
    if (d != NULL)
        closedir(d);
    if (!empty)
        snprintf(err, 256, "%.180s is not empty: nothing is restored over it", path);
    return empty ? 0 : -ENOTEMPTY;
}

static int rocks_restore(const char *dir, uint32_t id, const char *path, char err[256])
{
    char keys[256], *text = NULL;
    int status = strlen(path) > 180 ? -ENAMETOOLONG : check_empty(path, err);
    if (!status)
        status = make_dir(path, err);
    if (status)
        return status;
    rocksdb_backup_engine_t *b = open_existing(dir, err);
    if (b == NULL)
        return -ENOENT;
    snprintf(keys, sizeof(keys), "%s/keys", path);
    rocksdb_restore_options_t *o = rocksdb_restore_options_create();
    rocksdb_backup_engine_verify_backup(b, id, &text);
    if (text == NULL)
        rocksdb_backup_engine_restore_db_from_backup(b, keys, keys, o, id, &text);
    rocksdb_restore_options_destroy(o);
    rocksdb_backup_engine_close(b);
    if (text != NULL)
        snprintf(err, 256, "%.250s", text);
    return take_status(text);
}

static uint64_t property(struct gw_engine *e, enum gw_space space, const char *name)
{
    uint64_t value = 0;
    return rocksdb_property_int_cf(e->db, e->cf[space], name, &value) == 0 ? value : 0;
}

static void rocks_stats(struct gw_engine *e, struct gw_engine_stats *out)
{
    struct log_file_counts log = log_file_counts(e->log);
    *out = (struct gw_engine_stats){
        .log_files = log.used, .log_free_files = log.free, .log_file_bytes = log.file_bytes};
    out->write_stopped = property(e, GW_SPACE_META, "rocksdb.is-write-stopped") != 0;
    out->write_rate_max = property(e, GW_SPACE_META, "rocksdb.actual-delayed-write-rate");
    for (int i = 0; i < GW_SPACE_COUNT; i++) {
        enum gw_space space = (enum gw_space)i;
        out->spaces[i].keys = property(e, space, "rocksdb.estimate-num-keys");
        out->spaces[i].disk_bytes = property(e, space, "rocksdb.total-sst-files-size");
        out->spaces[i].memory_bytes = property(e, space, "rocksdb.cur-size-all-mem-tables");
        out->spaces[i].pending_bytes =
            property(e, space, "rocksdb.estimate-pending-compaction-bytes");
    }
}

/* Sorted runs that a read of a mailbox has to look into. */
#define RUNS_BUSY 40

static bool rocks_busy(struct gw_engine *e)
{
    return property(e, GW_SPACE_MAILBOX, "rocksdb.num-files-at-level0") > RUNS_BUSY;
}

/* ---- reads ---- */

static int rocks_get(struct gw_engine *e, enum gw_space space, struct gw_bytes key, void *buf,
                     size_t cap, size_t *len)
{
    char *text = NULL;
    rocksdb_pinnableslice_t *slice = rocksdb_get_pinned_cf(e->db, e->read_any, e->cf[space],
                                                           (const char *)key.p, key.len, &text);
    if (text != NULL)
        return take_status(text);
    if (slice == NULL)
        return -ENOENT;
    const char *value = rocksdb_pinnableslice_value(slice, len);
    if (cap > 0)
        memcpy(buf, value, *len < cap ? *len : cap);
    rocksdb_pinnableslice_destroy(slice);
    return 0;
}

/* The first key behind all that begin with the prefix. False: there is none. */
static bool end_of_prefix(const struct gw_iter *it, uint8_t *end)
{
    memcpy(end, it->prefix, it->prefix_len);
    for (size_t i = it->prefix_len; i > 0; i--)
        if (++end[i - 1] != 0)
            return true;
    return false;
}

/* Within one mailbox: filters apply, and nothing behind its end is looked at. Without the bound RocksDB
 * steps over neighbours that were removed, block by block in every sorted run, before it finds that the
 * next key is another mailbox's. */
static rocksdb_readoptions_t *read_one_mailbox(struct gw_iter *it)
{
    rocksdb_readoptions_t *o = rocksdb_readoptions_create();
    rocksdb_readoptions_set_prefix_same_as_start(o, 1);
    if (end_of_prefix(it, it->end))
        rocksdb_readoptions_set_iterate_upper_bound(o, (const char *)it->end, it->prefix_len);
    return o;
}

static struct gw_iter *rocks_iter_new(struct gw_engine *e, enum gw_space space,
                                      struct gw_bytes prefix)
{
    check(prefix.len <= PREFIX_BYTES_MAX);
    struct gw_iter *it = calloc(1, sizeof(*it));
    check(it != NULL);
    it->prefix_len = prefix.len;
    if (prefix.len > 0)
        memcpy(it->prefix, prefix.p, prefix.len);
    if (space == GW_SPACE_MAILBOX && prefix.len == sizeof(struct gw_mailbox_id))
        it->own = read_one_mailbox(it);
    it->it = rocksdb_create_iterator_cf(e->db, it->own != NULL ? it->own : e->read_any, e->cf[space]);
    return it;
}

static void rocks_iter_free(struct gw_iter **it)
{
    rocksdb_iter_destroy((*it)->it);
    if ((*it)->own != NULL)
        rocksdb_readoptions_destroy((*it)->own);
    free(*it);
    *it = NULL;
}

static void rocks_seek(struct gw_iter *it, struct gw_bytes key)
{
    rocksdb_iter_seek(it->it, (const char *)key.p, key.len);
}

static void rocks_seek_for_prev(struct gw_iter *it, struct gw_bytes key)
{
    rocksdb_iter_seek_for_prev(it->it, (const char *)key.p, key.len);
}

static void rocks_next(struct gw_iter *it)
{
    rocksdb_iter_next(it->it);
}

static struct gw_bytes rocks_key(const struct gw_iter *it)
{
    size_t len;
    const char *p = rocksdb_iter_key(it->it, &len);
    return gw_bytes(p, len);
}

static bool rocks_valid(const struct gw_iter *it)
{
    if (!rocksdb_iter_valid(it->it))
        return false;
    struct gw_bytes key = rocks_key(it);
    return key.len >= it->prefix_len && memcmp(key.p, it->prefix, it->prefix_len) == 0;
}

static struct gw_bytes rocks_value(const struct gw_iter *it)
{
    size_t len;
    const char *p = rocksdb_iter_value(it->it, &len);
    return gw_bytes(p, len);
}

static int rocks_status(const struct gw_iter *it)
{
    char *text = NULL;
    rocksdb_iter_get_error(it->it, &text);
    return take_status(text);
}

const struct gw_engine_ops gw_engine_rocksdb = {
    .name = "rocksdb",
    .open = rocks_open,
    .free = rocks_free,
    .log_read = rocks_log_read,
    .log_room = rocks_log_room,
    .log_wants_file = rocks_log_wants_file,
    .log_prepare = rocks_log_prepare,
    .log_append = rocks_log_append,
    .log_pressed = rocks_log_pressed,
    .log_trim_frees = rocks_log_trim_frees,
    .log_trim = rocks_log_trim,
    .log_roll = rocks_log_roll,
    .log_scrub = rocks_log_scrub,
    .free_bytes = rocks_free_bytes,
    .damaged = rocks_damaged,
    .batch_new = rocks_batch_new,
    .batch_free = rocks_batch_free,
    .batch_clear = rocks_batch_clear,
    .put = rocks_put,
    .del = rocks_del,
    .del_range = rocks_del_range,
    .write = rocks_write,
    .ingest = rocks_ingest,
    .erase = rocks_erase,
    .backup = rocks_backup,
    .backups = rocks_backups,
    .restore = rocks_restore,
    .stats = rocks_stats,
    .busy = rocks_busy,
    .get = rocks_get,
    .iter_new = rocks_iter_new,
    .iter_free = rocks_iter_free,
    .seek = rocks_seek,
    .seek_for_prev = rocks_seek_for_prev,
    .next = rocks_next,
    .valid = rocks_valid,
    .key = rocks_key,
    .value = rocks_value,
    .status = rocks_status,
};
