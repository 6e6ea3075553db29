/* SPDX-License-Identifier: Apache-2.0 */
/* A client that asks for much without end, and one that asks for something once. */
#include "store_rig.h"

#define FLOOD 4096 /* as many requests as a lcore of the broker may have out */

static struct flood {
    struct rig rig;
    uint8_t data[4096];
} flood;

static void submit_read(unsigned n)
{
    struct gw_store_request r = {.op = GW_STORE_READ, .mailbox = rig_mailbox(n), .from = 1,
                                 .data = flood.data, .data_len = sizeof(flood.data)};
    cr_assert_eq(gw_store_submit(flood.rig.client[0], &r), 0);
}

/* Asks again for each that was answered. */
static void go_on(void)
{
    struct gw_store_completion done[64];
    unsigned n;
    while ((n = gw_store_poll(flood.rig.client[0], done, 64)) > 0)
        for (unsigned i = 0; i < n; i++) {
            cr_assert_eq(done[i].status, 0);
            submit_read(i);
        }
}

STORE_TEST(who_asks_for_much_does_not_keep_others_waiting)
{
    struct rig *f = &flood.rig;
    struct gw_store_stats stats;
    struct gw_store_completion done;
    gw_store_free(&rig->store);
    *f = *rig;
    f->cfg.requests_max = FLOOD;
    rig_open(f);
    for (unsigned i = 0; i < FLOOD; i++)
        submit_read(i);
    for (unsigned pass = 0; pass < 4; pass++) {
        struct gw_store_client *last = f->client[RIG_CLIENTS - 1];
        struct gw_store_request r = {.op = GW_STORE_STATS, .data = &stats,
                                     .data_len = sizeof(stats)};
        cr_assert_eq(gw_store_submit(last, &r), 0);
        gw_store_storage_poll(f->store);
        cr_assert_eq(gw_store_poll(last, &done, 1), 1, "it is answered in the next pass");
        cr_assert_eq(done.op, GW_STORE_STATS);
        cr_assert_eq(done.status, 0);
        go_on();
    }
    gw_store_free(&f->store);
    rig_open(rig);
}
