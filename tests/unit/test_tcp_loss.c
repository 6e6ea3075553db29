/* SPDX-License-Identifier: Apache-2.0 */
/* SACK (RFC 2018, 2883), RACK and the tail loss probe (RFC 8985), by script. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "tcp_script.h"

/* A round trip of 10 ms, so that RTO is 200 ms and a quarter of a round trip is 2.5 ms. */
#define OPEN                                                                                       \
    "< S seq 0 win 65535 mss 1000 sackok", "> SA seq 0 ack 1 sackok", "+ 10ms", "< A seq 1 ack 1",  \
        "= established"

#define SEGMENT(seq) "> A seq " #seq " ack 1 len 1000"
#define TEN_SEGMENTS                                                                               \
    "! slice 10000", SEGMENT(1), SEGMENT(1001), SEGMENT(2001), SEGMENT(3001), SEGMENT(4001),       \
        SEGMENT(5001), SEGMENT(6001), SEGMENT(7001), SEGMENT(8001), "> PA seq 9001 ack 1 len 1000"

static const struct gw_tcp_counters *counters(struct script *s)
{
    return gw_tcp_counters(script_tcp(s));
}

/* ---- what we report ---- */

Test(tcp_sack, blocks_begin_with_the_most_recent)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "< A seq 11 ack 1 len 10", "> A seq 1 ack 1 block 11 21",
               "< A seq 31 ack 1 len 10", "> A seq 1 ack 1 block 31 41 block 11 21",
               "< A seq 51 ack 1 len 10", "> A seq 1 ack 1 block 51 61 block 31 41 block 11 21",
               "< A seq 21 ack 1 len 10", "> A seq 1 ack 1 block 11 41 block 51 61",
               "< A seq 1 ack 1 len 10", "= data 10", "= data 20", "= data 10",
               "> A seq 1 ack 41 block 51 61", "< A seq 41 ack 1 len 10", "= data 10", "= data 10",
               "> A seq 1 ack 61");
    script_drop(&s);
}

Test(tcp_sack, three_blocks_fit_beside_a_timestamp)
{
    struct script *s = script_open(NULL);
    script_run(s, "< S seq 0 win 65535 mss 1000 sackok ts 10", "> SA seq 0 ack 1",
               "< A seq 1 ack 1 ts 11", "= established", "! hold", "< A seq 11 ack 1 len 1 ts 12",
               "< A seq 21 ack 1 len 1 ts 12", "< A seq 31 ack 1 len 1 ts 12",
               "< A seq 41 ack 1 len 1 ts 12", "! flush",
               "> A seq 1 ack 1 ts 11 block 41 42 block 31 32 block 21 22");
    script_drop(&s);
}

Test(tcp_sack, of_many_gaps_the_recent_ones_are_reported)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! hold", "< A seq 11 ack 1 len 1", "< A seq 21 ack 1 len 1",
               "< A seq 31 ack 1 len 1", "< A seq 41 ack 1 len 1", "< A seq 51 ack 1 len 1",
               "< A seq 21 ack 1 len 1", "! flush",
               /* the duplicate, the block it is in, then from the top */
               "> A seq 1 ack 1 block 21 22 block 21 22 block 51 52 block 41 42");
    script_drop(&s);
}

Test(tcp_sack, one_acknowledgement_says_all_of_a_pass)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! hold", "< A seq 11 ack 1 len 10", "< A seq 31 ack 1 len 10", "! flush",
               "> A seq 1 ack 1 block 31 41 block 11 21");
    script_drop(&s);
}

Test(tcp_sack, duplicates_are_reported_once)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "< A seq 1 ack 1 len 20", "= data 20", "< A seq 1 ack 1 len 10",
               "> A seq 1 ack 21 block 1 11", "< A seq 15 ack 1 len 16", "= data 10",
               "> A seq 1 ack 31 block 15 21", "< A seq 31 ack 1 len 10", "= data 10", "+ 41ms",
               "> A seq 1 ack 41");
    script_drop(&s);
}

Test(tcp_sack, blocks_do_not_ride_on_text)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! hold", "< A seq 11 ack 1 len 10", "! send 10", "! flush",
               "> PA seq 1 ack 1 len 10", "> A seq 11 ack 1 block 11 21");
    script_drop(&s);
}

/* ---- what we learn ---- */

Test(tcp_rack, the_first_of_ten_is_lost)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, TEN_SEGMENTS, "+ 10ms", "< A seq 1 ack 1 block 1001 4001", SEGMENT(1),
               "< A seq 1 ack 1 block 1001 10001", "+ 10ms", "< A seq 1 ack 10001", "= acked 10000",
               "+ 10s");
    cr_assert_eq(counters(s)->recoveries, 1);
    cr_assert_eq(counters(s)->retransmits, 1);
    cr_assert_eq(counters(s)->rto_fired, 0);
    cr_assert_eq(script_tcp(s)->nodes.used_count, 0);
    script_drop(&s);
}

Test(tcp_rack, several_holes_are_repaired_in_one_round_trip)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, TEN_SEGMENTS, "+ 10ms",
               /* 1, 3 and 4 are missing; 8 to 10 are still under way */
               "< A seq 1 ack 1 block 4001 7001 block 1001 2001", SEGMENT(1), SEGMENT(2001),
               SEGMENT(3001), "+ 1ms", "< A seq 1 ack 1 block 4001 10001 block 1001 2001", "+ 10ms",
               "< A seq 1 ack 10001", "= acked 10000");
    cr_assert_eq(counters(s)->retransmits, 3);
    script_drop(&s);
}

/* The congestion window holds for repetitions too: half of ten segments, less what is under way. */
Test(tcp_rack, repetitions_obey_the_congestion_window)
{
    struct script *s = script_open(
        &(struct script_config){.tcp = {.congestion_control = GW_TCP_CC_NEWRENO}});
    script_run(s, OPEN, TEN_SEGMENTS, "+ 10ms", "< A seq 1 ack 1 block 9001 10001", "+ 13ms",
               SEGMENT(1), SEGMENT(1001), SEGMENT(2001), SEGMENT(3001), SEGMENT(4001), "+ 10ms",
               "< A seq 1 ack 2001 block 9001 10001", "= acked 2000", SEGMENT(5001), SEGMENT(6001),
               "< A seq 1 ack 10001", "= acked 10000");
    script_drop(&s);
}

Test(tcp_rack, what_may_only_be_late_is_given_time)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, TEN_SEGMENTS, "+ 10ms", "< A seq 1 ack 1 block 1001 2001", "+ 2ms",
               "< A seq 1 ack 2001", "= acked 2000", "+ 3ms", "< A seq 1 ack 10001", "= acked 10000",
               "+ 10s");
    cr_assert_eq(counters(s)->retransmits, 0);
    cr_assert(script_conn(s)->flags & CONN_REORDERED);
    script_drop(&s);
}

Test(tcp_rack, and_no_longer)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, TEN_SEGMENTS, "+ 10ms", "< A seq 1 ack 1 block 1001 2001", "+ 2ms",
               "+ 600us", SEGMENT(1));
    script_drop(&s);
}

Test(tcp_rack, a_lost_repetition_is_found)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! slice 20000", "! forget", "+ 10ms", "< A seq 1 ack 1 block 1001 4001",
               SEGMENT(1), "< A seq 1 ack 1 block 1001 10001", "! forget", "+ 10ms",
               /* what left after the repetition has arrived, the repetition has not */
               "< A seq 1 ack 1 block 1001 11001", SEGMENT(1), "! forget");
    cr_assert_eq(counters(s)->rto_fired, 0);
    script_drop(&s);
}

Test(tcp_rack, reported_duplicates_make_it_more_patient)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, TEN_SEGMENTS, "+ 10ms", "< A seq 1 ack 1 block 1001 4001", SEGMENT(1),
               "< A seq 1 ack 4001 block 1 1001", "= acked 4000");
    cr_assert_eq(cold_of(script_tcp(s), script_conn(s))->rack_quarters, 1);
    script_run(s, "< A seq 1 ack 5001 block 1 1001", "= acked 5000");
    cr_assert_eq(cold_of(script_tcp(s), script_conn(s))->rack_quarters, 1, "once a round");
    cr_assert_eq(counters(s)->duplicates_reported, 2);
    script_drop(&s);
}

Test(tcp_rack, a_peer_that_forgets_what_it_reported)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, TEN_SEGMENTS, "+ 10ms", "< A seq 1 ack 1 block 1001 4001", SEGMENT(1),
               "+ 1ms", "< A seq 1 ack 1001", "= acked 1000", "+ 250ms", SEGMENT(1001),
               "< A seq 1 ack 2001", "= acked 2000", SEGMENT(2001), SEGMENT(3001),
               "< A seq 1 ack 4001", "= acked 4000", "! forget");
    cr_assert_eq(counters(s)->rto_fired, 1);
    script_drop(&s);
}

Test(tcp_rack, nonsense_in_blocks_is_ignored)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, TEN_SEGMENTS, "+ 1ms", "< A seq 1 ack 1 block 3001 2001 block 5 5",
               "< A seq 1 ack 1 block 9001 10002 block 10001 20001",
               "< A seq 1 ack 1 block -100000 10001 block 0 2001");
    cr_assert_eq(tcp_flight_sacked_bytes(script_tcp(s), script_conn(s)), 0);
    cr_assert_eq(script_conn(s)->pipe, 10000);
    script_drop(&s);
}

static void report_every_second_byte(struct script *s, int end)
{
    for (int i = 2; i < end; i += 4) {
        char line[100];
        snprintf(line, sizeof(line), "< A seq 1 ack 1 block %d %d block %d %d", i, i + 1, i + 2,
                 i + 3);
        script_run(s, line, "! forget");
    }
}

/* A hostile peer reports every second byte: what that costs us is limited, and it all ends well. */
Test(tcp_rack, a_peer_cannot_make_us_keep_many_ranges)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, TEN_SEGMENTS);
    report_every_second_byte(s, 2000);
    cr_assert_leq(cold_of(script_tcp(s), script_conn(s))->range_count, TCP_RANGES_MAX);
    script_run(s, "< A seq 1 ack 10001", "= acked 10000");
    cr_assert_eq(script_tcp(s)->nodes.used_count, 0);
    script_drop(&s);
}

/* Nor what others need for sending. */
Test(tcp_rack, reports_in_small_parts_leave_nodes_to_others)
{
    struct script *s = script_open(&(struct script_config){.tcp = {.send_node_limit = 64}});
    script_run(s, OPEN, TEN_SEGMENTS);
    report_every_second_byte(s, 400);
    cr_assert_eq(script_tcp(s)->nodes.used_count, 64 - 8);
    cr_assert_gt(gw_tcp_counters(script_tcp(s))->ranges_not_split, 0);
    script_run(s, "< A seq 1 ack 10001", "= acked 10000");
    cr_assert_eq(script_tcp(s)->nodes.used_count, 0);
    script_drop(&s);
}

/* ---- the tail ---- */

Test(tcp_tail, the_last_segment_is_repeated_after_two_round_trips)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! slice 3000", SEGMENT(1), SEGMENT(1001), "> PA seq 2001 ack 1 len 1000",
               "+ 21ms", "+ 2ms", "> PA seq 2001 ack 1 len 1000",
               /* It arrives, and shows that the two before are missing. */
               "+ 10ms", "< A seq 1 ack 1 block 2001 3001", SEGMENT(1), SEGMENT(1001),
               "+ 10ms", "< A seq 1 ack 3001", "= acked 3000", "+ 10s");
    cr_assert_eq(counters(s)->tail_probes_sent, 1);
    cr_assert_eq(counters(s)->rto_fired, 0);
    script_drop(&s);
}

Test(tcp_tail, new_text_is_the_better_probe)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! slice 11000", "! forget", "+ 21ms", "+ 2ms",
               "> PA seq 10001 ack 1 len 1000", "+ 10s", "! forget");
    cr_assert_eq(counters(s)->tail_probes_sent, 1);
    script_drop(&s);
}

Test(tcp_tail, a_repaired_loss_is_heard_of)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! slice 3000", "! forget", "+ 10ms", "< A seq 1 ack 2001", "= acked 2000",
               "+ 199ms");
    uint32_t cwnd = script_conn(s)->cwnd;
    script_drop(&s);
    s = script_open(NULL);
    script_run(s, OPEN, "! slice 3000", "! forget", "+ 23ms", "! forget", "+ 10ms",
               "< A seq 1 ack 3001", "= acked 3000", "! send 100", "! forget", "+ 10ms",
               "< A seq 1 ack 3101", "= acked 3100");
    cr_assert_lt(script_conn(s)->cwnd, cwnd);
    script_drop(&s);
}

Test(tcp_tail, a_needless_probe_costs_nothing)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! slice 3000", "! forget", "+ 23ms", "! forget", "< A seq 1 ack 3001",
               "= acked 3000", "< A seq 1 ack 3001 block 2001 3001");
    uint32_t cwnd = script_conn(s)->cwnd;
    cr_assert_eq(script_conn(s)->flags & CONN_TAIL_SENT, 0);
    script_run(s, "! send 100", "! forget", "+ 10ms", "< A seq 1 ack 3101", "= acked 3100");
    cr_assert_geq(script_conn(s)->cwnd, cwnd);
    script_drop(&s);
}

Test(tcp_tail, one_segment_waits_for_the_peers_delayed_acknowledgement)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! send 100", "> PA seq 1 ack 1 len 100", "+ 150ms", "< A seq 1 ack 101",
               "= acked 100", "+ 10s");
    cr_assert_eq(counters(s)->tail_probes_sent, 0);
    script_drop(&s);
}

Test(tcp_tail, a_fin_is_probed_for)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! hold", "! slice 2000", "! shutdown", "! flush", SEGMENT(1),
               "> FPA seq 1001 ack 1 len 1000", "+ 21ms", "+ 2ms", "> FPA seq 1002 ack 1 len 999",
               "! forget");
    script_drop(&s);
}
