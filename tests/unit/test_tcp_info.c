/* SPDX-License-Identifier: Apache-2.0 */
/* What operators see of a connection: gw_tcp_info in the states that a script makes. */
#include <criterion/criterion.h>
#include <string.h>

#include "tcp_script.h"

/* A round trip of 10 ms. */
#define OPEN                                                                                       \
    "< S seq 0 win 65535 mss 1000 ws 7 sackok ts 100", "> SA seq 0 ack 1", "+ 10ms",               \
        "< A seq 1 ack 1 win 512 ts 101", "= established"

static struct gw_tcp_info info_of(struct script *s)
{
    struct gw_tcp_info info;
    gw_conn c = conn_index(script_tcp(s), script_conn(s));
    cr_assert(gw_tcp_info(script_tcp(s), c, NULL, &info));
    return info;
}

/* All that the filter lets through. */
static unsigned count(struct script *s, struct gw_tcp_filter f)
{
    struct gw_tcp_info info;
    unsigned n = 0;
    for (uint32_t at = 0; (at = gw_tcp_info_next(script_tcp(s), at)) != 0;)
        n += gw_tcp_info(script_tcp(s), at, &f, &info);
    return n;
}

Test(tcp_info, of_an_idle_connection)
{
    struct script *s = script_open(&(struct script_config){.tcp = {.recv_window_bytes = 1 << 20}});
    script_run(s, OPEN);
    struct gw_tcp_info i = info_of(s);
    cr_assert_eq(i.state, STATE_ESTABLISHED);
    cr_assert_eq(i.mode, GW_TCP_MODE_OPEN);
    cr_assert(i.sack && i.timestamps && i.scale && !i.active && !i.paused);
    cr_assert_eq(i.snd_scale, 7);
    cr_assert_eq(i.rcv_scale, 5);
    cr_assert_eq(i.snd_wnd, 512 << 7);
    cr_assert_eq(i.rcv_wnd, 65535);
    cr_assert_eq(i.mss, 988);
    cr_assert(i.srtt_us >= 9000 && i.srtt_us <= 11000, "%u", i.srtt_us);
    cr_assert_eq(i.rto_us, 200000);
    cr_assert_eq(i.cwnd, 9880);
    cr_assert_eq(i.ssthresh, 0);
    cr_assert_str_eq(i.congestion_control, "cubic");
    cr_assert_eq(i.in_flight + i.send_bytes + i.unsent + i.unread + i.ahead + i.resent, 0);
    cr_assert_eq(i.rexmit_in_us, GW_TCP_TIMER_OFF);
    script_drop(&s);
}

Test(tcp_info, of_queues_and_timers)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! deadline 3s", "! slice 20000", "! forget");
    struct gw_tcp_info i = info_of(s);
    cr_assert_eq(i.send_bytes, 20000);
    cr_assert_eq(i.in_flight, 9880);
    cr_assert_eq(i.pipe, 9880);
    cr_assert_eq(i.unsent, 20000 - 9880);
    cr_assert(i.cwnd_limited);
    cr_assert_eq(i.rexmit, REXMIT_TAIL);
    cr_assert(i.rexmit_in_us > 0 && i.rexmit_in_us <= 200000);
    cr_assert(i.timer_in_us[TIMER_USER] > 2900000 && i.timer_in_us[TIMER_USER] <= 3000064);
    cr_assert_eq(i.timer_in_us[TIMER_ACK], GW_TCP_TIMER_OFF);
    cr_assert_eq(count(s, (struct gw_tcp_filter){.queued_min = 20000}), 1);
    cr_assert_eq(count(s, (struct gw_tcp_filter){.queued_min = 20001}), 0);
    cr_assert_eq(count(s, (struct gw_tcp_filter){.retransmitting = true}), 0);
    script_drop(&s);
}

Test(tcp_info, of_what_was_received_and_waits)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! take 3", "< A seq 1 ack 1 len 10 ts 102", "= data 3",
               "< A seq 21 ack 1 len 5 ts 102", "! forget");
    struct gw_tcp_info i = info_of(s);
    cr_assert(i.paused);
    cr_assert_eq(i.unread, 7);
    cr_assert_eq(i.pieces, 2);
    cr_assert_eq(i.ahead, 15); /* the gap begins at 11, the last byte ends at 26 */
    cr_assert_eq(count(s, (struct gw_tcp_filter){.queued_min = 7}), 1);
    cr_assert_eq(count(s, (struct gw_tcp_filter){.queued_min = 8}), 0);
    script_drop(&s);
}

Test(tcp_info, of_losses)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! slice 500", "> PA seq 1 ack 1 len 500", "+ 500ms", "! forget");
    struct gw_tcp_info i = info_of(s);
    cr_assert_eq(i.mode, GW_TCP_MODE_LOSS);
    cr_assert_gt(i.resent, 0);
    cr_assert_gt(i.backoff, 0);
    cr_assert_gt(i.ssthresh, 0);
    cr_assert_eq(i.rexmit, REXMIT_RTO);
    cr_assert_eq(count(s, (struct gw_tcp_filter){.retransmitting = true}), 1);
    script_drop(&s);
}

/* The count of repetitions ends where its bits end. */
Test(tcp_info, the_count_of_losses_does_not_wrap)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN);
    cold_of(script_tcp(s), script_conn(s))->resent = GW_TCP_RESENT_MAX;
    script_run(s, "! slice 500", "> PA seq 1 ack 1 len 500", "+ 500ms", "! forget");
    cr_assert_eq(info_of(s).resent, GW_TCP_RESENT_MAX);
    script_drop(&s);
}

Test(tcp_info, half_open_and_time_wait_are_counted_and_found)
{
    struct script *s = script_open(NULL);
    struct gw_tcp_filter half = {.states = 1u << STATE_SYN_RECEIVED};
    struct gw_tcp_filter wait = {.states = 1u << STATE_TIME_WAIT};
    script_run(s, "< S seq 0 win 65535 mss 1000", "> SA seq 0 ack 1");
    cr_assert_eq(gw_tcp_totals(script_tcp(s)).half_open, 1);
    cr_assert_eq(count(s, half), 1);
    cr_assert_eq(count(s, wait), 0);
    script_run(s, "< A seq 1 ack 1", "= established", "! shutdown", "> FA seq 1 ack 1",
               "< FA seq 1 ack 2", "= peer-closed", "= closed done", "> A seq 2 ack 2");
    cr_assert_eq(gw_tcp_totals(script_tcp(s)).connections, 0);
    cr_assert_eq(gw_tcp_totals(script_tcp(s)).time_wait, 1);
    cr_assert_eq(count(s, half), 0);
    cr_assert_eq(count(s, wait), 1);
    cr_assert_eq(count(s, (struct gw_tcp_filter){0}), 1);
    struct gw_tcp_info i;
    uint32_t at = gw_tcp_info_next(script_tcp(s), 0);
    while (!gw_tcp_info(script_tcp(s), at, &wait, &i))
        at = gw_tcp_info_next(script_tcp(s), at);
    cr_assert(i.timer_in_us[TIMER_USER] > 59000000 && i.timer_in_us[TIMER_USER] <= 60000064);
    script_run(s, "+ 61s");
    cr_assert_eq(gw_tcp_totals(script_tcp(s)).time_wait, 0);
    cr_assert_eq(count(s, (struct gw_tcp_filter){0}), 0);
    script_close(&s);
}

Test(tcp_info, filters_by_addresses_and_ports)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN);
    struct gw_tcp_tuple t = script_conn(s)->tuple;
    struct gw_tcp_filter f = {.remote = {t.remote, 128},
                              .local_port = t.local_port, .remote_port = t.remote_port};
    cr_assert_eq(count(s, f), 1);
    f.remote.ip.b[15] ^= 1;
    cr_assert_eq(count(s, f), 0);
    f.remote.bits = 127;
    cr_assert_eq(count(s, f), 1);
    f.remote.ip.b[15] ^= 2;
    cr_assert_eq(count(s, f), 0);
    f.remote.bits = 120;
    cr_assert_eq(count(s, f), 1);
    f.local_port++;
    cr_assert_eq(count(s, f), 0);
    f.local_port--;
    f.remote_port++;
    cr_assert_eq(count(s, f), 0);
    script_drop(&s);
}

/* Positions that no connection has had are passed over, those behind the end are none. */
Test(tcp_info, positions)
{
    struct script *s = script_open(NULL);
    struct gw_tcp_info i;
    cr_assert_eq(gw_tcp_info_next(script_tcp(s), 0), 0);
    cr_assert_not(gw_tcp_info(script_tcp(s), 0, NULL, &i));
    cr_assert_not(gw_tcp_info(script_tcp(s), 1, NULL, &i));
    cr_assert_not(gw_tcp_info(script_tcp(s), UINT32_MAX, NULL, &i));
    cr_assert_eq(gw_tcp_info_next(script_tcp(s), UINT32_MAX - 1), 0);
    script_run(s, OPEN);
    cr_assert_eq(gw_tcp_info_next(script_tcp(s), 0), 1);
    cr_assert_eq(gw_tcp_info_next(script_tcp(s), 1), 0);
    script_run(s, "< R seq 1 ts 102", "= closed reset");
    cr_assert_not(gw_tcp_info(script_tcp(s), 1, NULL, &i));
    script_close(&s);
}
