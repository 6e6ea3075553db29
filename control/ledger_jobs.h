/* SPDX-License-Identifier: Apache-2.0 */
/* What the job thread does for the ledger: questions that go further back than memory, retention. */
#ifndef GW_CONTROL_LEDGER_JOBS_H
#define GW_CONTROL_LEDGER_JOBS_H

#include "jobs.h"
#include "ledger_filter.h"

/* A question on its way through the whole ledger. */
struct ledger_search {
    struct ledger_reader reader;
    struct ledger_filter filter;
    struct ledger_table *table; /* of what matches by name; the newest ones when there are too many */
    int rc;
};

struct ledger_search *ledger_search_new(struct store_ops *ops, const struct gw_keyring *keys,
                                        struct gw_sealer *sealer);
void ledger_search_free(struct ledger_search **s);
enum job_step ledger_search_step(struct job *job, struct ledger_search *s);

/* Forget events of segments durable before older_than_us. Blocks. 0 or the store's error; *trimmed_below: the first segment kept. */
int ledger_trim(struct store_ops *ops, uint64_t segment_next, uint64_t older_than_us,
                uint64_t *trimmed_below);

#endif
