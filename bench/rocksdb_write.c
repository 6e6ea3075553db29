/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the same records cost as keys of their own: RocksDB with a random mailbox for each, in batches,
 * without compression. The broker's commit log is held against it.
 *
 * rocksdb_write [DIR [SECONDS [MAILBOXES [sync]]]]: records a second. Without `sync` the writes are
 * not even durable.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rocksdb/c.h>

#include "../dataplane/base/bytes.h"
#include "../dataplane/base/check.h"
#include "measure.h"

#define BATCH       256
#define VALUE_BYTES 316
#define KEY_BYTES   24

/* Accounts are random, positions rise. */
static void make_key(uint8_t key[KEY_BYTES], uint64_t mailbox, uint64_t position)
{
    uint64_t id = mailbox * 0x9e3779b97f4a7c15u;
    memcpy(key, &id, 8);
    memcpy(key + 8, &id, 8);
    gw_put_be64(key + 16, position);
}

static double write_records(rocksdb_t *db, bool sync, uint32_t mailboxes, double seconds)
{
    char *err = NULL, value[VALUE_BYTES];
    uint64_t random = 1, written = 0;
    uint64_t *next = calloc(mailboxes, sizeof(*next));
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    check(next != NULL);
    rocksdb_writeoptions_set_sync(options, sync);
    memset(value, 7, sizeof(value));
    double begin = now_s(), now = begin;
    for (; now - begin < seconds; now = now_s()) {
        rocksdb_writebatch_clear(batch);
        for (unsigned i = 0; i < BATCH; i++) {
            uint8_t key[KEY_BYTES];
            uint32_t mailbox = below(&random, mailboxes);
            make_key(key, mailbox, next[mailbox]++);
            rocksdb_writebatch_put(batch, (char *)key, KEY_BYTES, value, VALUE_BYTES);
        }
        rocksdb_write(db, options, batch, &err);
        check(err == NULL);
        written += BATCH;
    }
    rocksdb_writebatch_destroy(batch);
    rocksdb_writeoptions_destroy(options);
    free(next);
    return (double)written / (now - begin);
}

int main(int argc, char **argv)
{
    const char *base = argc > 1 ? argv[1] : "/var/tmp";
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 10;
    uint32_t mailboxes = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 100000;
    bool sync = argc > 4 && strcmp(argv[4], "sync") == 0;
    char dir[200], *err = NULL;
    snprintf(dir, sizeof(dir), "%s/gw-rocksdb-write-XXXXXX", base);
    if (mailboxes == 0 || mkdtemp(dir) == NULL) {
        fprintf(stderr, "rocksdb_write: %s: no directory, or no mailboxes\n", dir);
        return 1;
    }
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_t *db = rocksdb_open(options, dir, &err);
    check(db != NULL && err == NULL);
    printf("%.0f\n", write_records(db, sync, mailboxes, seconds));
    rocksdb_close(db);
    rocksdb_destroy_db(options, dir, &err);
    check(err == NULL);
    rocksdb_options_destroy(options);
    return 0;
}
