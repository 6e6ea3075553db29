/* SPDX-License-Identifier: Apache-2.0 */
/* Writes that take time, in the engine `mem`: what the other threads see and do meanwhile. */
#include "store_rig.h"

#define SLOW_US 1000

static struct slow {
    struct rig rig;
    struct rig_segment segment;
    void (*meanwhile)(void);
    unsigned waits;
} slow;

static void wait_us(void *arg, uint64_t us)
{
    slow.waits++;
    slow.rig.now_us += us;
    cr_assert(us > 0 && us <= SLOW_US);
    void (*meanwhile)(void) = slow.meanwhile;
    slow.meanwhile = NULL;
    if (meanwhile != NULL)
        meanwhile();
}

static void slow_begin(void)
{
    rig_begin(&slow.rig, "mem");
    gw_mem_set_wait(slow.rig.disk, wait_us, NULL);
    rig_open(&slow.rig);
    gw_mem_set_faults(slow.rig.disk, &(struct gw_mem_faults){.slow_us_max = SLOW_US});
    slow.waits = 0;
}

static void slow_end(void)
{
    rig_end(&slow.rig);
}

TestSuite(store_slow, .init = slow_begin, .fini = slow_end);

static void submit_message(const char *text)
{
    rig_segment_begin(&slow.segment);
    rig_message(&slow.segment, 0, 1, text);
    struct gw_store_request r = {.op = GW_STORE_APPEND, .data = slow.segment.buf};
    r.data_len = gw_segment_end(&slow.segment.w, slow.rig.now_us);
    cr_assert_eq(gw_store_submit(slow.rig.client[0], &r), 0);
}

static unsigned completions(int32_t *status)
{
    struct gw_store_completion done;
    unsigned n = gw_store_poll(slow.rig.client[0], &done, 1);
    *status = n > 0 ? done.status : 0;
    return n;
}

static void expect_nothing_complete(void)
{
    int32_t status;
    gw_store_storage_poll(slow.rig.store);
    cr_assert_eq(completions(&status), 0);
}

Test(store_slow, an_append_completes_after_its_write)
{
    int32_t status;
    submit_message("one");
    slow.meanwhile = expect_nothing_complete;
    cr_assert_eq(gw_store_commit_poll(slow.rig.store), 1);
    cr_assert_eq(slow.waits, 1);
    cr_assert_eq(completions(&status), 1);
    rig_assert_mailbox(&slow.rig, 0, 1, "1:one ");
}

static void lose_power(void)
{
    gw_mem_crash(slow.rig.disk, GW_MEM_POWER_LOSS);
}

Test(store_slow, an_append_that_the_power_overtakes_is_neither_there_nor_complete)
{
    int32_t status;
    submit_message("one");
    slow.meanwhile = lose_power;
    cr_assert_eq(gw_store_commit_poll(slow.rig.store), 0);
    cr_assert_eq(completions(&status), 0);
    rig_reopen(&slow.rig);
    rig_assert_mailbox(&slow.rig, 0, 1, "");
}

/* A write of the storage thread's fails while a commit is under way. */
static void fail_a_cas(void)
{
    struct rig *rig = &slow.rig;
    char value[] = "v";
    struct gw_store_request r = {.op = GW_STORE_CAS, .ns = GW_NS_ROSTER, .key = "k", .key_len = 1,
                                 .data = value, .data_len = 1};
    int32_t status;
    gw_mem_set_faults(rig->disk, &(struct gw_mem_faults){.fail_at = 1, .fail_count = 1});
    cr_assert_eq(gw_store_submit(rig->client[0], &r), 0);
    while (completions(&status) == 0)
        gw_store_storage_poll(rig->store);
    cr_assert_eq(status, -EIO);
    for (int i = 0; i < 10; i++, rig->now_us += 1000000)
        gw_store_storage_poll(rig->store);
    cr_assert_eq(gw_store_state(rig->store).condition, GW_STORE_CLOSED,
                 "the engine must not be closed under a commit");
}

Test(store_slow, the_engine_is_opened_anew_when_the_commit_has_left_it)
{
    struct rig *rig = &slow.rig;
    int32_t status;
    submit_message("one");
    slow.meanwhile = fail_a_cas;
    gw_store_commit_poll(rig->store);
    for (int i = 0; i < 10; i++, rig->now_us += 1000000)
        rig_step(rig);
    cr_assert_eq(gw_store_state(rig->store).condition, GW_STORE_OPEN);
    cr_assert_eq(completions(&status), 1);
    cr_assert_eq(status, 0);
    rig_assert_mailbox(rig, 0, 1, "1:one ");
}

Test(store_slow, keys_take_their_time_too)
{
    rig_put(&slow.rig, 0, 1, "one");
    unsigned before = slow.waits;
    slow.rig.now_us += 10000000;
    rig_settle(&slow.rig);
    cr_assert_gt(slow.waits, before);
    cr_assert_eq(gw_store_state(slow.rig.store).window_messages, 0);
    rig_assert_mailbox(&slow.rig, 0, 1, "1:one ");
}
