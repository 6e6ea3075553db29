/* SPDX-License-Identifier: Apache-2.0 */
/* What the benchmarks of the store share: its commit thread, and mailboxes by number. */
#ifndef GW_BENCH_STORE_DRIVE_H
#define GW_BENCH_STORE_DRIVE_H

#include <stdatomic.h>
#include <string.h>

#include "../dataplane/base/check.h"
#include "../storage/store.h"

static atomic_bool stop;

static inline void *commit_main(void *arg)
{
    struct gw_store *s = arg;
    while (!atomic_load(&stop))
        if (gw_store_commit_poll(s) == 0)
            gw_store_commit_wait(s, 100000);
    return NULL;
}

/* How many messages wait in a mailbox, asked of a store whose own thread runs. */
static inline uint64_t count_waiting(struct gw_store_client *c, const struct gw_mailbox_id *id)
{
    struct gw_mailbox_count count = {0};
    struct gw_store_completion done;
    struct gw_store_request r = {
        .op = GW_STORE_COUNT, .mailbox = *id, .data = &count, .data_len = sizeof(count)};
    do {
        check(gw_store_call(c, &r, &done) == 0);
        r.from = done.next;
    } while (done.more);
    return count.messages;
}

/* A store as the broker has it, with one client. */
static inline struct gw_store_config store_config(const char *path)
{
    return (struct gw_store_config){.engine = "rocksdb",
                                    .path = path,
                                    .durability = GW_DURABILITY_SYNC,
                                    .client_count = 1,
                                    .requests_max = 64,
                                    .window_bytes_max = 256 << 20,
                                    .spill_after_us = 5000000,
                                    .own_thread = true,
                                    .storage_cpu = -1};
}

/* Spread as real ones, which are hashes. */
static inline struct gw_mailbox_id mailbox_id(uint32_t m)
{
    struct gw_mailbox_id id = {{0}};
    uint64_t h = (m + 1) * 0x9e3779b97f4a7c15u;
    memcpy(id.b, &h, sizeof(h));
    memcpy(id.b + 8, &m, sizeof(m));
    return id;
}

#endif
