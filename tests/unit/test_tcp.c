/* SPDX-License-Identifier: Apache-2.0 */
/* TCP by scripted segments: see tcp_script.h for the language. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "tcp_script.h"

#define SYN  "< S seq 0 win 65535 mss 1460"
#define OPEN SYN, "> SA seq 0 ack 1", "< A seq 1 ack 1", "= established"
/* With timestamps and SACK, as every kernel offers them. */
#define OPEN_TS                                                                                    \
    "< S seq 0 win 65535 mss 1460 sackok ts 100", "> SA seq 0 ack 1 ts 100",                       \
        "< A seq 1 ack 1 ts 101", "= established"

static const struct gw_tcp_counters *counters(struct script *s)
{
    return gw_tcp_counters(script_tcp(s));
}

/* ---- opening ---- */

Test(tcp_open, passive_with_all_options)
{
    struct script *s = script_open(&(struct script_config){.tcp = {.recv_window_bytes = 1 << 20}});
    script_run(s, "< S seq 0 win 1000 mss 1400 ws 7 sackok ts 100",
               "> SA seq 0 ack 1 win 65535 mss 1460 ws 5 sackok ts 100",
               "< A seq 1 ack 1 win 500 ts 101", "= established");
    const struct conn *c = script_conn(s);
    cr_assert_eq(c->snd_wnd, 500 << 7);
    cr_assert_eq(c->mss, 1400 - 12);
    cr_assert_eq(c->state, STATE_ESTABLISHED);
    cr_assert_eq(script_tcp(s)->half_open_count, 0);
    script_drop(&s);
}

Test(tcp_open, options_that_were_not_offered_are_not_answered)
{
    struct script *s = script_open(NULL);
    script_run(s, "< S seq 0 win 1000", "> SA seq 0 ack 1 win 65535 mss 1460");
    const struct conn *c = script_conn(s);
    cr_assert_eq(c->mss, 536, "without the option the default is used");
    cr_assert_eq(c->flags & (CONN_TIMESTAMPS | CONN_SACK | CONN_SCALE), 0);
    script_drop(&s);
}

Test(tcp_open, a_tiny_mss_is_raised)
{
    struct script *s = script_open(NULL);
    script_run(s, "< S seq 0 mss 1", "> SA seq 0 ack 1");
    cr_assert_eq(script_conn(s)->mss, TCP_MSS_MIN);
    script_drop(&s);
}

Test(tcp_open, v6_has_its_own_mss)
{
    struct script *s = script_open(&(struct script_config){.v6 = true});
    script_run(s, "< S seq 0 win 1000", "> SA seq 0 ack 1 mss 1440");
    cr_assert_eq(script_conn(s)->mss, 1220);
    script_drop(&s);
}

Test(tcp_open, active)
{
    struct script *s = script_open(NULL);
    script_run(s, "! connect", "> S seq 0 ack 0 win 65535 mss 1460 ws 0 sackok",
               "< SA seq 0 ack 1 win 2000 mss 1000", "> A seq 1 ack 1", "= established");
    script_drop(&s);
}

Test(tcp_open, active_with_text_waiting)
{
    struct script *s = script_open(NULL);
    script_run(s, "! hold", "! connect", "! send 10", "! flush", "> S seq 0",
               "< SA seq 0 ack 1 win 2000", "> PA seq 1 ack 1 len 10", "= established",
               "< A seq 1 ack 11", "= acked 10");
    script_drop(&s);
}

Test(tcp_open, simultaneous)
{
    struct script *s = script_open(NULL);
    script_run(s, "! connect", "> S seq 0", "< S seq 0 win 3000 mss 1000", "> SA seq 0 ack 1",
               "< SA seq 0 ack 1 win 3000", "= established", "! send 5",
               "> PA seq 1 ack 1 len 5");
    script_drop(&s);
}

Test(tcp_open, connect_refused)
{
    struct script *s = script_open(NULL);
    script_run(s, "! connect", "> S seq 0", "< R seq 0", "< RA seq 0 ack 1", "= closed refused");
    script_close(&s);
}

Test(tcp_open, connect_answered_with_nonsense)
{
    struct script *s = script_open(NULL);
    script_run(s, "! connect", "> S seq 0", "< SA seq 0 ack 100", "> R seq 100", "< RA seq 0 ack 7",
               "< A seq 0 ack 1", "< SA seq 0 ack 1", "> A seq 1 ack 1", "= established");
    script_drop(&s);
}

Test(tcp_open, syn_is_repeated_for_three_minutes)
{
    struct script *s = script_open(NULL);
    script_run(s, "! connect", "> S seq 0", "+ 999ms", "+ 2ms", "> S seq 0", "+ 1998ms", "+ 3ms",
               "> S seq 0", "+ 4s", "> S seq 0", "+ 8s", "> S seq 0", "+ 16s", "> S seq 0", "+ 32s",
               "> S seq 0", "+ 60s", "> S seq 0", "+ 59s", "+ 1s", "= closed timeout");
    script_close(&s);
}

Test(tcp_open, answer_to_a_syn_is_repeated_and_given_up)
{
    struct script *s = script_open(NULL);
    script_run(s, SYN, "> SA seq 0 ack 1", "+ 1001ms", "> SA seq 0 ack 1", "+ 2s",
               "> SA seq 0 ack 1", "+ 4s", "> SA seq 0 ack 1", "+ 8s", "> SA seq 0 ack 1", "+ 16s",
               "> SA seq 0 ack 1", "+ 33s");
    cr_assert_eq(counters(s)->half_open_expired, 1);
    script_close(&s);
}

Test(tcp_open, a_repeated_syn_is_answered_again)
{
    struct script *s = script_open(NULL);
    script_run(s, SYN, "> SA seq 0 ack 1", SYN, "> SA seq 0 ack 1", "< A seq 1 ack 1",
               "= established");
    script_drop(&s);
}

Test(tcp_open, rto_after_a_lost_syn_is_three_seconds)
{
    struct script *s = script_open(NULL);
    script_run(s, "! connect", "> S seq 0", "+ 1001ms", "> S seq 0", "< SA seq 0 ack 1 mss 1000",
               "> A seq 1 ack 1", "= established", "! send 3000", "> A seq 1 ack 1 len 1000",
               "+ 2990ms", "+ 11ms", "> A seq 1 ack 1 len 1000");
    script_drop(&s);
}

Test(tcp_open, text_in_the_third_segment)
{
    struct script *s = script_open(NULL);
    script_run(s, SYN, "> SA seq 0 ack 1", "< A seq 1 ack 1 len 30", "= established", "= data 30",
               "+ 41ms", "> A seq 1 ack 31");
    script_drop(&s);
}

Test(tcp_open, refused_by_the_user)
{
    struct script *s = script_open(NULL);
    script_run(s, "! refuse", SYN, "> SA seq 0 ack 1", "< A seq 1 ack 1", "> RA seq 1 ack 1",
               "= established");
    cr_assert_eq(counters(s)->refused_by_user, 1);
    script_close(&s);
}

Test(tcp_open, half_open_connections_are_limited)
{
    struct script *s = script_open(&(struct script_config){.tcp = {.half_open_limit = 2}});
    script_run(s, SYN, "> SA seq 0 ack 1", "< S seq 0 port 40001", "! forget",
               "< S seq 0 port 40002", "! forget");
    cr_assert_eq(counters(s)->cookies_sent, 1);
    cr_assert_eq(script_tcp(s)->conns.used_count, 2);
    script_run(s, "< A seq 1 ack 1", "= established", "< S seq 0 port 40003", "! forget");
    cr_assert_eq(counters(s)->cookies_sent, 1, "completing one makes room");
    script_drop(&s);
}

Test(tcp_open, connections_are_limited)
{
    struct script *s = script_open(&(struct script_config){.tcp = {.conn_limit = 1}});
    script_run(s, OPEN, "< S seq 0 port 40001");
    cr_assert_eq(counters(s)->drop_conn_full, 1);
    script_run(s, "! send 5", "> PA seq 1 ack 1 len 5");
    script_drop(&s);
}

/* RFC 6528: unpredictable from one connection to the next, rising for the same one. */
Test(tcp_open, initial_sequence_numbers_are_keyed)
{
    struct script *s = script_open(NULL);
    struct gw_tcp *t = script_tcp(s);
    struct gw_tcp_tuple a = {.local_port = 1, .remote_port = 2}, b = {.local_port = 1,
                                                                      .remote_port = 3};
    uint32_t first = tcp_initial_sequence(t, &a);
    cr_assert_neq(first, tcp_initial_sequence(t, &b));
    tcp_set_now(t, t->now_us + 4000);
    cr_assert_eq(tcp_initial_sequence(t, &a), first + 1000, "a tick each four microseconds");
    t->iss_key.k0++;
    cr_assert_neq(tcp_initial_sequence(t, &a), first + 1000);
    script_drop(&s);
}

/* ---- nobody there ---- */

Test(tcp_nobody, rst_as_the_rfc_says)
{
    struct script *s = script_open(NULL);
    struct gw_tcp *t = script_tcp(s);
    t->listening[5222 / 8] = 0;
    script_run(s, "< S seq 0", "> RA seq 0 ack 1", "< A seq 5 ack 77", "> R seq 77",
               "< - seq 5 len 10", "> RA seq 0 ack 15", "< FA seq 5 ack 9 len 3", "> R seq 9",
               "< R seq 5", "< RA seq 5 ack 9");
    cr_assert_eq(counters(s)->drop_no_connection, 6);
    cr_assert_eq(counters(s)->rst_out, 4);
    script_close(&s);
}

Test(tcp_nobody, ack_to_a_listening_port_is_reset)
{
    struct script *s = script_open(NULL);
    script_run(s, "< A seq 5 ack 77", "> R seq 77", "< SA seq 5 ack 78", "> R seq 78");
    script_close(&s);
}

Test(tcp_nobody, answers_that_wait_are_limited)
{
    struct script *s = script_open(NULL);
    script_run(s, "! hold");
    for (unsigned i = 0; i < TCP_REPLIES_MAX + 10; i++)
        script_run(s, "< A seq 5 ack 77");
    cr_assert_eq(counters(s)->drop_reply_full, 10);
    script_run(s, "! flush", "! forget");
    script_close(&s);
}

/* ---- malformed ---- */

Test(tcp_malformed, each_is_dropped_and_counted)
{
    struct script *s = script_open(NULL);
    struct gw_tcp *t = script_tcp(s);
    struct gw_ip a = gw_ip_from_v4((const uint8_t[]){10, 0, 0, 2});
    uint8_t p[64] = {0};
    for (size_t len = 0; len < 20; len++)
        gw_tcp_input(t, script_now_us(s), &a, &a, p, len);
    cr_assert_eq(t->counters.drop_header_short, 20);
    for (unsigned off = 0; off < 5; off++) {
        p[12] = (uint8_t)(off << 4);
        gw_tcp_input(t, script_now_us(s), &a, &a, p, sizeof(p));
    }
    p[12] = 0xf0;
    gw_tcp_input(t, script_now_us(s), &a, &a, p, 59);
    cr_assert_eq(t->counters.drop_header_offset, 6);
    script_run(s, "< S seq 0 junk", "< SF seq 0", "< SR seq 0");
    cr_assert_eq(t->counters.drop_options, 1);
    cr_assert_eq(t->counters.drop_flags, 2);
    script_close(&s);
}

/* Every length of every option, cut off at every place: read within the header or refused. */
Test(tcp_malformed, options_of_any_length)
{
    struct gw_ip a = {{0}};
    for (unsigned kind = 0; kind < 256; kind++) {
        for (unsigned claimed = 0; claimed < 256; claimed++) {
            for (unsigned words = 1; words <= 10; words++) {
                size_t len = 20 + words * 4;
                uint8_t *p = malloc(len); /* exact, so that a sanitizer sees an overrun */
                memset(p, 1, len);
                p[12] = (uint8_t)(len / 4 << 4);
                p[len - 4] = (uint8_t)kind;
                p[len - 3] = (uint8_t)claimed;
                struct tcp_segment g;
                enum tcp_parse r = tcp_segment_parse(&g, &a, &a, p, len);
                /* After a NOP the second byte is a kind, and the filling its length: 1. */
                bool overruns = kind == 1 ? claimed > 1 : kind > 1 && (claimed < 2 || claimed > 4);
                if ((p[13] & (TCP_SYN | TCP_FIN)) == (TCP_SYN | TCP_FIN))
                    cr_assert_eq(r, TCP_PARSE_FLAGS);
                else
                    cr_assert_eq(r, overruns ? TCP_PARSE_OPTIONS : TCP_PARSE_OK);
                free(p);
            }
        }
    }
}

/* Random segments at a connection in the middle of things: no check trips, no byte is read outside
 * (under a sanitizer), nothing leaks. */
Test(tcp_malformed, random_segments_harm_nothing)
{
    struct script *s = script_open(NULL);
    struct gw_tcp *t = script_tcp(s);
    struct gw_ip us = gw_ip_from_v4((const uint8_t[]){10, 0, 0, 1});
    struct gw_ip peer = gw_ip_from_v4((const uint8_t[]){10, 0, 0, 2});
    unsigned seed = 1;
    for (int round = 0; round < 200; round++) {
        script_run(s, "! forget", "! hold", SYN);
        struct conn *c = script_conn(s);
        for (int i = 0; i < 300; i++) {
            size_t len = 20 + (size_t)rand_r(&seed) % 200;
            uint8_t *p = malloc(len);
            for (size_t k = 0; k < len; k++)
                p[k] = (uint8_t)rand_r(&seed);
            gw_put_be16(p, 40000);
            gw_put_be16(p + 2, 5222);
            if (c->state != STATE_CLOSED && rand_r(&seed) % 4 != 0) {
                gw_put_be32(p + 4, c->rcv_nxt + (uint32_t)rand_r(&seed) % 200 - 20);
                gw_put_be32(p + 8, c->snd_una + (uint32_t)rand_r(&seed) % 3);
            }
            p[12] = (uint8_t)((5 + rand_r(&seed) % 3) << 4);
            if (rand_r(&seed) % 8 != 0)
                p[13] = TCP_ACK;
            gw_tcp_input(t, script_now_us(s), &peer, &us, p, len);
            free(p);
        }
        script_run(s, "! flush", "! forget");
        if (script_conn(s) != NULL && (script_conn(s)->flags & CONN_KNOWN))
            gw_tcp_abort(t, conn_index(t, script_conn(s)));
        script_run(s, "+ 300s", "! forget");
    }
    script_close(&s);
}

/* ---- text in ---- */

Test(tcp_receive, in_order)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "< PA seq 1 ack 1 len 10", "= data 10", "< PA seq 11 ack 1 len 20",
               "= data 20", "+ 39ms", "+ 2ms", "> A seq 1 ack 31 win 65505");
    script_drop(&s);
}

Test(tcp_receive, every_second_full_segment_is_acknowledged_at_once)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "< A seq 1 ack 1 len 1460", "= data 1460", "< A seq 1461 ack 1 len 1460",
               "> A seq 1 ack 2921", "= data 1460");
    script_drop(&s);
}

Test(tcp_receive, the_acknowledgement_rides_on_an_answer)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! hold", "< PA seq 1 ack 1 len 10", "= data 10", "! send 7", "! flush",
               "> PA seq 1 ack 11 len 7", "+ 60ms", "< A seq 11 ack 8", "= acked 7", "+ 10s");
    script_drop(&s);
}

Test(tcp_receive, out_of_order_is_kept)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "< A seq 11 ack 1 len 10", "> A seq 1 ack 1", "< A seq 31 ack 1 len 10",
               "> A seq 1 ack 1", "< A seq 21 ack 1 len 10", "> A seq 1 ack 1",
               "< A seq 1 ack 1 len 10", "= data 10", "= data 20", "= data 10", "> A seq 1 ack 41");
    cr_assert_eq(gw_arena_used_bytes(script_arena(s)), 0);
    cr_assert_eq(counters(s)->out_of_order_in, 3);
    script_drop(&s);
}

Test(tcp_receive, each_gap_gets_an_acknowledgement_of_its_own_in_one_pass)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! hold", "< A seq 11 ack 1 len 10", "< A seq 21 ack 1 len 10",
               "< A seq 31 ack 1 len 10", "! flush", "> A seq 1 ack 1", "> A seq 1 ack 1",
               "> A seq 1 ack 1");
    script_drop(&s);
}

Test(tcp_receive, overlaps_are_taken_once)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "< A seq 11 ack 1 len 10", "> A seq 1 ack 1", "< A seq 5 ack 1 len 30",
               "> A seq 1 ack 1", "< A seq 1 ack 1 len 12", "= data 12", "= data 22",
               "> A seq 1 ack 35", "< A seq 20 ack 1 len 20", "= data 5", "> A seq 1 ack 40");
    script_drop(&s);
}

Test(tcp_receive, old_text_is_answered_by_an_ack)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "< A seq 1 ack 1 len 10", "= data 10", "< A seq 1 ack 1 len 10",
               "> A seq 1 ack 11");
    cr_assert_eq(counters(s)->drop_sequence, 1);
    script_drop(&s);
}

Test(tcp_receive, text_beyond_the_window_is_cut_off)
{
    struct script *s = script_open(&(struct script_config){.tcp = {.recv_window_bytes = 2000}});
    script_run(s, OPEN, "< A seq 2000 ack 1 len 10", "> A seq 1 ack 1", "< A seq 2001 ack 1 len 10",
               "> A seq 1 ack 1", "< A seq 1 ack 1 len 1999", "= data 1999", "= data 1",
               "> A seq 1 ack 2001");
    cr_assert_eq(counters(s)->drop_text_window, 1);
    cr_assert_eq(counters(s)->drop_sequence, 1);
    script_drop(&s);
}

Test(tcp_receive, a_slow_user_closes_the_window_and_opens_it_again)
{
    struct script *s = script_open(&(struct script_config){.tcp = {.recv_window_bytes = 4000}});
    script_run(s, OPEN, "! take 100", "< A seq 1 ack 1 len 1000", "= data 100", "+ 41ms",
               "> A seq 1 ack 1001 win 3000", "< A seq 1001 ack 1 len 1460",
               "< A seq 2461 ack 1 len 1460", "> A seq 1 ack 3921 win 80",
               "< A seq 3921 ack 1 len 80", "+ 41ms", "> A seq 1 ack 4001 win 0",
               /* What comes now does not fit, but what it acknowledges counts. */
               "! send 5", "> PA seq 1 ack 4001 len 5 win 0", "< A seq 4001 ack 6 len 10",
               "= acked 5", "> A seq 6 ack 4001 win 0",
               /* A probe as kernels send it. */
               "< A seq 4000 ack 6", "> A seq 6 ack 4001 win 0", "! take all", "! resume",
               "= data 1024", "= data 2048", "= data 828", "> A seq 6 ack 4001 win 4000");
    script_drop(&s);
}

Test(tcp_receive, the_window_opens_in_steps_worth_a_segment)
{
    struct script *s = script_open(&(struct script_config){.tcp = {.recv_window_bytes = 8000}});
    script_run(s, OPEN, "! take 0", "< A seq 1 ack 1 len 1460", "= data 0",
               "< A seq 1461 ack 1 len 1460", "> A seq 1 ack 2921 win 5080",
               "< A seq 2921 ack 1 len 1460", "< A seq 4381 ack 1 len 1460", "> A seq 1 ack 5841",
               "< A seq 5841 ack 1 len 1460", "< A seq 7301 ack 1 len 700", "+ 41ms",
               "> A seq 1 ack 8001 win 0", "! take 500", "! resume", "= data 500", "! take 3000",
               "! resume", "= data 1548", "= data 1024", "= data 428", "> A seq 1 ack 8001 win 3500");
    script_drop(&s);
}

Test(tcp_receive, kept_pieces_are_limited_and_the_gap_still_closes)
{
    struct script *s = script_open(&(struct script_config){
        .tcp = {.recv_window_bytes = 4000, .recv_piece_limit = 3}});
    script_run(s, OPEN, "< A seq 11 ack 1 len 1", "! forget", "< A seq 21 ack 1 len 1",
               "! forget", "< A seq 31 ack 1 len 1", "! forget", "< A seq 41 ack 1 len 1",
               "! forget");
    cr_assert_eq(counters(s)->drop_text_memory, 1);
    script_run(s, "< A seq 1 ack 1 len 50", "> A seq 1 ack 51", "= data 50");
    cr_assert_eq(gw_arena_used_bytes(script_arena(s)), 0);
    script_drop(&s);
}

/* Who keeps few pieces finds some when others have many. */
Test(tcp_receive, many_gaps_leave_pieces_to_others)
{
    struct script *s = script_open(&(struct script_config){.tcp = {.recv_piece_limit = 40}});
    script_run(s, OPEN);
    for (int i = 0; i < 60; i++) {
        char line[64];
        snprintf(line, sizeof(line), "< A seq %d ack 1 len 1", 11 + 2 * i);
        script_run(s, line, "! forget");
    }
    cr_assert_eq(script_tcp(s)->pieces.used_count, 30);
    cr_assert_eq(counters(s)->drop_text_pieces, 30);
    script_drop(&s);
}

Test(tcp_receive, resume_inside_of_a_pause_that_was_not_needed)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! resume", "< A seq 1 ack 1 len 10", "= data 10", "+ 41ms",
               "> A seq 1 ack 11");
    script_drop(&s);
}

/* ---- text out ---- */

Test(tcp_send, is_cut_into_segments_within_both_windows)
{
    struct script *s = script_open(NULL);
    script_run(s, "< S seq 0 win 3500 mss 1000", "> SA seq 0 ack 1", "< A seq 1 ack 1 win 3500",
               "= established", "! slice 5000", "> A seq 1 ack 1 len 1000",
               "> A seq 1001 ack 1 len 1000", "> A seq 2001 ack 1 len 1000",
               /* 500 more would fit the window: too little to be worth a segment. */
               "< A seq 1 ack 2001 win 3500", "= acked 2000", "> A seq 3001 ack 1 len 1000",
               "> PA seq 4001 ack 1 len 1000", "< A seq 1 ack 5001 win 3500", "= acked 5000");
    cr_assert_eq(gw_arena_used_bytes(script_arena(s)), 0);
    script_drop(&s);
}

Test(tcp_send, initial_window_is_ten_segments)
{
    struct script *s = script_open(NULL);
    script_run(s, "< S seq 0 win 65535 mss 1000", "> SA seq 0 ack 1", "< A seq 1 ack 1",
               "= established", "! slice 20000", "> A seq 1 ack 1 len 1000",
               "> A seq 1001 ack 1 len 1000", "> A seq 2001 ack 1 len 1000",
               "> A seq 3001 ack 1 len 1000", "> A seq 4001 ack 1 len 1000",
               "> A seq 5001 ack 1 len 1000", "> A seq 6001 ack 1 len 1000",
               "> A seq 7001 ack 1 len 1000", "> A seq 8001 ack 1 len 1000",
               "> A seq 9001 ack 1 len 1000",
               /* slow start: two more for each acknowledged */
               "< A seq 1 ack 2001", "= acked 2000", "> A seq 10001 ack 1 len 1000",
               "> A seq 11001 ack 1 len 1000", "> A seq 12001 ack 1 len 1000",
               "> A seq 13001 ack 1 len 1000");
    script_drop(&s);
}

Test(tcp_send, copies_share_a_block)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! hold", "! send 10", "! send 20", "! send 30", "! flush",
               "> PA seq 1 ack 1 len 60");
    cr_assert_eq(script_tcp(s)->nodes.used_count, 2, "one slice, one range");
    script_run(s, "< A seq 1 ack 31", "= acked 30", "! send 200", "> PA seq 61 ack 1 len 200",
               "< A seq 1 ack 261", "= acked 260");
    cr_assert_eq(gw_arena_used_bytes(script_arena(s)), 0);
    script_drop(&s);
}

Test(tcp_send, many_slices_in_one_segment)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! hold");
    for (int i = 0; i < 20; i++)
        script_run(s, "! slice 10");
    script_run(s, "! flush", "> A seq 1 ack 1 len 160", "> PA seq 161 ack 1 len 40");
    script_drop(&s);
}

Test(tcp_send, limits_and_errors)
{
    struct script *s = script_open(&(struct script_config){.tcp = {.send_buffer_bytes = 100}});
    script_run(s, OPEN, "! send 60", "> PA seq 1 ack 1 len 60");
    struct gw_tcp *t = script_tcp(s);
    gw_conn c = conn_index(t, script_conn(s));
    uint8_t bytes[100] = {0};
    cr_assert_eq(gw_tcp_send_copy(t, c, bytes, 41), -ENOBUFS);
    cr_assert_eq(gw_tcp_queue(t, c).sent_end, 60, "all or nothing");
    gw_block b = gw_arena_get(script_arena(s), 64);
    cr_assert_eq(gw_tcp_send(t, c, (struct gw_slice){b, 0, 41}), -ENOBUFS);
    cr_assert_eq(gw_tcp_send(t, c, (struct gw_slice){b, 0, 0}), 0, "nothing to send: block taken");
    script_run(s, "< A seq 1 ack 61", "= acked 60", "! shutdown", "> FA seq 61 ack 1");
    cr_assert_eq(gw_tcp_send_copy(t, c, bytes, 1), -EPIPE);
    script_drop(&s);
}

/* Once half of the arena is used a queue may grow to a sixteenth of what is free, and one that is empty
 * may always begin. */
Test(tcp_send, a_connection_has_its_share_of_the_arena)
{
    struct script *s = script_open(&(struct script_config){.tcp = {.send_buffer_bytes = 1 << 30}});
    script_run(s, OPEN);
    struct gw_tcp *t = script_tcp(s);
    struct gw_arena *a = script_arena(s);
    gw_conn c = conn_index(t, script_conn(s));
    size_t limit = gw_arena_limit_bytes(a);
    for (size_t used = 0; used < limit / 4 * 3; used += 1 << 20)
        cr_assert_neq(gw_arena_get(a, 1 << 20), 0); /* of others; ends with the arena */
    size_t share = limit / 4 / 16, sent = 0;
    int err = 0;
    for (; sent < limit; sent += 65536) {
        gw_block b = gw_arena_get(a, 65536);
        err = gw_tcp_send(t, c, (struct gw_slice){b, 0, 65536});
        if (err != 0)
            break;
    }
    cr_assert_eq(err, -ENOBUFS);
    cr_assert_leq(sent, share);
    cr_assert_geq(sent, share / 4 * 3);
    cr_assert_eq(gw_tcp_queue(t, c).sent_end, sent, "what was refused is not queued");
    static uint8_t copy[65536];
    cr_assert_eq(gw_tcp_send_copy(t, c, copy, sizeof(copy)), -ENOBUFS);
    script_run(s, "! forget");
    script_drop(&s);
}

Test(tcp_send, a_full_port_loses_nothing)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! port full", "! send 10", "+ 50ms", "! port free",
               "> PA seq 1 ack 1 len 10", "< A seq 1 ack 11", "= acked 10");
    cr_assert_gt(counters(s)->emit_refused, 0);
    cr_assert_eq(counters(s)->retransmits, 0);
    script_drop(&s);
}

/* ---- repetition ---- */

/* A million connections that speak seldom would each be looked at once more for nothing. */
Test(tcp_rto, a_connection_at_rest_is_in_no_wheel)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! send 100", "> PA seq 1 ack 1 len 100");
    cr_assert_neq(gw_tcp_next_deadline_us(script_tcp(s)), UINT64_MAX);
    script_run(s, "+ 10ms", "< A seq 1 ack 101", "= acked 100");
    cr_assert_eq(gw_tcp_next_deadline_us(script_tcp(s)), UINT64_MAX);
    /* With a deadline of its own it stays in, and is looked at early. */
    script_run(s, "! deadline 10s", "! send 100", "> PA seq 101 ack 1 len 100", "+ 10ms",
               "< A seq 1 ack 201", "= acked 200");
    cr_assert_lt(gw_tcp_next_deadline_us(script_tcp(s)), script_now_us(s) + 2000000);
    script_run(s, "+ 9s", "+ 2s", "= deadline");
    script_drop(&s);
}

Test(tcp_rto, first_measured_then_doubled)
{
    struct script *s = script_open(NULL);
    /* The handshake took 100 ms: SRTT 100, RTTVAR 50, RTO 300. */
    script_run(s, SYN, "> SA seq 0 ack 1", "+ 100ms", "< A seq 1 ack 1", "= established",
               "! send 10", "> PA seq 1 ack 1 len 10", "+ 299ms", "+ 2ms",
               "> PA seq 1 ack 1 len 10", "+ 598ms", "+ 3ms", "> PA seq 1 ack 1 len 10", "+ 1197ms",
               "+ 4ms", "> PA seq 1 ack 1 len 10",
               /* Karn: what was repeated gives no sample, and the back-off ends. */
               "< A seq 1 ack 11", "= acked 10");
    cr_assert_eq(script_conn(s)->srtt_us, 100000);
    cr_assert_eq(script_conn(s)->backoff, 0);
    script_drop(&s);
}

Test(tcp_rto, smoothing)
{
    struct script *s = script_open(NULL);
    script_run(s, SYN, "> SA seq 0 ack 1", "+ 100ms", "< A seq 1 ack 1", "= established",
               "! send 10", "> PA seq 1 ack 1 len 10", "+ 180ms", "< A seq 1 ack 11", "= acked 10");
    cr_assert_eq(script_conn(s)->srtt_us, 110000);
    cr_assert_eq(script_conn(s)->rttvar_us, 57500);
    script_drop(&s);
}

Test(tcp_rto, timestamps_measure_repeated_segments)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN_TS, "! send 10", "> PA seq 1 ack 1 len 10", "+ 201ms",
               "> PA seq 1 ack 1 len 10", "+ 50ms", "< A seq 1 ack 11 ts 200", "= acked 10");
    cr_assert_gt(script_conn(s)->srtt_us, 5000, "the echo is of the second copy: about 50 ms");
    cr_assert_lt(script_conn(s)->srtt_us, 10000, "an eighth of it");
    script_drop(&s);
}

Test(tcp_rto, never_below_the_least_and_ends_after_the_limit)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! send 10", "> PA seq 1 ack 1 len 10", "+ 199ms", "+ 2ms", "! forget",
               "+ 100s", "! forget");
    cr_assert_not_null(script_conn(s), "RFC 9293 section 3.8.3: at least 100 s");
    script_run(s, "+ 60s", "! forget", "+ 64s", "> PA seq 1 ack 1 len 10", "= closed timeout");
    script_close(&s);
}

Test(tcp_rto, after_a_timeout_slow_start_repeats_everything_in_order)
{
    struct script *s = script_open(NULL);
    script_run(s, "< S seq 0 win 65535 mss 1000", "> SA seq 0 ack 1", "< A seq 1 ack 1",
               "= established", "! slice 4000", "! forget", "+ 201ms", "> A seq 1 ack 1 len 1000",
               "< A seq 1 ack 1001", "= acked 1000", "> A seq 1001 ack 1 len 1000",
               "> A seq 2001 ack 1 len 1000", "< A seq 1 ack 3001", "= acked 3000",
               "> PA seq 3001 ack 1 len 1000", "< A seq 1 ack 4001", "= acked 4000", "+ 100s");
    cr_assert_eq(counters(s)->rto_fired, 1);
    script_drop(&s);
}

#define TEN_SEGMENTS                                                                               \
    "< S seq 0 win 65535 mss 1000", "> SA seq 0 ack 1", "< A seq 1 ack 1", "= established",        \
        "! slice 10000", "! forget"

Test(tcp_fast_retransmit, on_the_third_duplicate)
{
    struct script *s = script_open(
        &(struct script_config){.tcp = {.congestion_control = GW_TCP_CC_NEWRENO}});
    script_run(s, TEN_SEGMENTS, "< A seq 1 ack 1", "< A seq 1 ack 1", "< A seq 1 ack 1",
               "> A seq 1 ack 1 len 1000", "< A seq 1 ack 10001", "= acked 10000");
    cr_assert_eq(counters(s)->recoveries, 1);
    cr_assert_eq(counters(s)->rto_fired, 0);
    cr_assert_eq(cold_of(script_tcp(s), script_conn(s))->ssthresh, 5000);
    script_drop(&s);
}

Test(tcp_fast_retransmit, the_first_two_duplicates_let_new_text_out)
{
    struct script *s = script_open(NULL);
    script_run(s, TEN_SEGMENTS, "! slice 3000", "< A seq 1 ack 1", "> A seq 10001 ack 1 len 1000",
               "< A seq 1 ack 1", "> A seq 11001 ack 1 len 1000", "< A seq 1 ack 1",
               "> A seq 1 ack 1 len 1000");
    script_drop(&s);
}

Test(tcp_fast_retransmit, partial_acknowledgements_repair_one_hole_each)
{
    struct script *s = script_open(NULL);
    script_run(s, TEN_SEGMENTS, "< A seq 1 ack 1", "< A seq 1 ack 1", "< A seq 1 ack 1",
               "> A seq 1 ack 1 len 1000", "< A seq 1 ack 4001", "= acked 4000",
               "> A seq 4001 ack 1 len 1000", "< A seq 1 ack 8001", "= acked 8000",
               "> A seq 8001 ack 1 len 1000", "< A seq 1 ack 10001", "= acked 10000", "+ 10s");
    cr_assert_eq(counters(s)->retransmits, 3);
    cr_assert_eq(counters(s)->recoveries, 1);
    cr_assert_eq(counters(s)->rto_fired, 0);
    cr_assert_eq(script_conn(s)->flags & (CONN_RECOVERY | CONN_LOSS | CONN_LOST), 0);
    script_drop(&s);
}

Test(tcp_fast_retransmit, not_by_segments_with_text_or_another_window)
{
    struct script *s = script_open(NULL);
    script_run(s, TEN_SEGMENTS, "< A seq 1 ack 1 win 60000", "< A seq 1 ack 1 win 59000",
               "< A seq 1 ack 1 win 58000", "< A seq 1 ack 1 len 1 win 58000", "= data 1",
               "< A seq 2 ack 1 len 1 win 58000", "= data 1", "< A seq 3 ack 1 len 1 win 58000",
               "= data 1");
    cr_assert_eq(counters(s)->duplicate_acks_in, 0);
    script_drop(&s);
}

/* ---- the peer's window ---- */

Test(tcp_window, closed_is_probed_for_ever_while_answered)
{
    struct script *s = script_open(NULL);
    script_run(s, "< S seq 0 win 1000", "> SA seq 0 ack 1", "< A seq 1 ack 1 win 0",
               "= established", "! send 10");
    for (int i = 0; i < 40; i++) {
        script_run(s, "+ 61s", "! forget", "< A seq 1 ack 1 win 0");
        cr_assert_not_null(script_conn(s));
    }
    cr_assert_geq(counters(s)->probes_sent, 40);
    script_run(s, "< A seq 1 ack 1 win 1000", "> PA seq 1 ack 1 len 10");
    script_drop(&s);
}

Test(tcp_window, a_probe_is_an_unacceptable_segment)
{
    struct script *s = script_open(NULL);
    script_run(s, "< S seq 0 win 1000", "> SA seq 0 ack 1", "< A seq 1 ack 1 win 0",
               "= established", "! send 10", "+ 201ms", "> A seq 0 ack 1", "+ 401ms",
               "> A seq 0 ack 1", "+ 801ms", "> A seq 0 ack 1", "< A seq 1 ack 1 win 0", "+ 1s",
               "+ 602ms", "> A seq 0 ack 1");
    script_drop(&s);
}

Test(tcp_window, unanswered_probes_end_the_connection)
{
    struct script *s = script_open(NULL);
    script_run(s, "< S seq 0 win 1000", "> SA seq 0 ack 1", "< A seq 1 ack 1 win 0",
               "= established", "! send 10", "+ 900s", "! forget");
    script_close(&s);
}

Test(tcp_window, taken_back_with_text_under_way)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! send 100", "> PA seq 1 ack 1 len 100", "< A seq 1 ack 1 win 0",
               "+ 201ms", "> A seq 0 ack 1", "< A seq 1 ack 1 win 0", "< A seq 1 ack 1 win 500",
               "> PA seq 1 ack 1 len 100", "< A seq 1 ack 101", "= acked 100");
    script_drop(&s);
}

Test(tcp_window, a_peer_whose_window_is_always_small_is_served)
{
    struct script *s = script_open(NULL);
    script_run(s, "< S seq 0 win 200 mss 1460", "> SA seq 0 ack 1", "< A seq 1 ack 1 win 200",
               "= established", "! send 500", "> A seq 1 ack 1 len 200", "< A seq 1 ack 201 win 200",
               "= acked 200", "> A seq 201 ack 1 len 200", "< A seq 1 ack 401 win 50",
               "= acked 400", "+ 201ms", "> A seq 401 ack 1 len 50");
    script_drop(&s);
}

/* ---- keepalive by configuration; what it does is in tests/segments/keepalive.pkt ---- */

static struct script *probing(void)
{
    return script_open(&(struct script_config){.tcp = {.keepalive = true,
                                                       .keepalive_us = 10000000,
                                                       .keepalive_next_us = 2000000,
                                                       .keepalive_probes = 2}});
}

Test(tcp_keepalive, interval_and_number_are_configured)
{
    struct script *s = probing();
    script_run(s, OPEN, "+ 9900ms", "+ 1200ms", "> A seq 0 ack 1", "+ 2010ms", "> A seq 0 ack 1");
    cr_assert_eq(counters(s)->keepalives_expired, 0);
    script_run(s, "+ 2010ms", "= closed timeout");
    cr_assert_eq(counters(s)->keepalives_sent, 2);
    cr_assert_eq(counters(s)->keepalives_expired, 1);
    cr_assert_eq(counters(s)->closed_timeout, 1);
    script_close(&s);
}

Test(tcp_keepalive, an_answer_is_enough)
{
    struct script *s = probing();
    script_run(s, OPEN, "+ 9900ms", "+ 1200ms", "> A seq 0 ack 1", "+ 2010ms", "> A seq 0 ack 1",
               "< A seq 1 ack 1", "+ 9s");
    cr_assert_eq(script_conn(s)->state, STATE_ESTABLISHED);
    cr_assert_eq(script_conn(s)->unanswered, 0);
    script_drop(&s);
}

Test(tcp_keepalive, connects_begin_without)
{
    struct script *s = probing();
    script_run(s, "! connect", "> S seq 0", "< SA seq 0 ack 1 win 2000", "> A seq 1 ack 1",
               "= established", "+ 60s");
    cr_assert_eq(counters(s)->keepalives_sent, 0);
    script_drop(&s);
}

/* ---- closing ---- */

Test(tcp_close, we_close_first)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! shutdown", "> FA seq 1 ack 1", "< A seq 1 ack 2",
               "< PA seq 1 ack 2 len 9", "= data 9", "+ 41ms", "> A seq 2 ack 10",
               "< FA seq 10 ack 2", "> A seq 2 ack 11", "= peer-closed", "= closed done",
               /* TIME-WAIT */
               "< FA seq 10 ack 2", "> A seq 2 ack 11", "< R seq 11", "< A seq 11 ack 2", "+ 59s",
               "< FA seq 10 ack 2", "> A seq 2 ack 11", "+ 59s", "< FA seq 10 ack 2",
               "> A seq 2 ack 11", "+ 61s", "< FA seq 10 ack 2", "> R seq 2");
    script_close(&s);
}

Test(tcp_close, the_peer_closes_first)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "< FA seq 1 ack 1", "> A seq 1 ack 2", "= peer-closed", "! send 20",
               "> PA seq 1 ack 2 len 20", "! shutdown", "> FA seq 21 ack 2", "< A seq 2 ack 22",
               "= acked 20", "= closed done");
    script_close(&s);
}

Test(tcp_close, the_answer_to_fin_carries_ours)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! hold", "< FA seq 1 ack 1 len 5", "= data 5", "= peer-closed",
               "! send 4", "! shutdown", "! flush", "> FPA seq 1 ack 7 len 4", "< A seq 7 ack 6",
               "= acked 4", "= closed done");
    script_close(&s);
}

Test(tcp_close, both_at_once)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! shutdown", "> FA seq 1 ack 1", "< FA seq 1 ack 1", "> A seq 2 ack 2",
               "= peer-closed", "< A seq 2 ack 2", "= closed done");
    cr_assert_eq(script_tcp(s)->time_waits.used_count, 1);
    script_close(&s);
}

Test(tcp_close, fin_and_acknowledgement_of_ours_in_one)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! shutdown", "> FA seq 1 ack 1", "< FA seq 1 ack 2", "> A seq 2 ack 2",
               "= peer-closed", "= closed done");
    script_close(&s);
}

Test(tcp_close, fin_waits_for_what_is_queued)
{
    struct script *s = script_open(NULL);
    script_run(s, "< S seq 0 win 1000 mss 1000", "> SA seq 0 ack 1", "< A seq 1 ack 1 win 1000",
               "= established", "! send 1500", "> A seq 1 ack 1 len 1000", "! shutdown",
               "< A seq 1 ack 1001 win 1000", "= acked 1000", "> FPA seq 1001 ack 1 len 500",
               "< A seq 1 ack 1502", "= acked 1500");
    script_drop(&s);
}

Test(tcp_close, a_lost_fin_is_repeated)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! send 10", "> PA seq 1 ack 1 len 10", "! shutdown", "> FA seq 11 ack 1",
               "+ 201ms", "> FPA seq 1 ack 1 len 10", "< A seq 1 ack 11", "= acked 10", "+ 201ms",
               "> FA seq 11 ack 1", "< A seq 1 ack 12");
    cr_assert_eq(script_conn(s)->state, STATE_FIN_WAIT_2);
    script_drop(&s);
}

Test(tcp_close, fin_ahead_of_missing_text)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "< FA seq 11 ack 1 len 5", "> A seq 1 ack 1", "< FA seq 16 ack 1",
               "> A seq 1 ack 1", "< A seq 1 ack 1 len 10", "= data 10", "= data 5",
               "> A seq 1 ack 17", "= peer-closed");
    cr_assert_eq(script_conn(s)->state, STATE_CLOSE_WAIT);
    script_drop(&s);
}

Test(tcp_close, everything_is_read_before_the_end_is_told)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! take 3", "< FA seq 1 ack 1 len 10", "= data 3", "> A seq 1 ack 12",
               "! shutdown", "> FA seq 1 ack 12", "< A seq 12 ack 2", "! take all", "! resume",
               "= data 7", "= peer-closed", "= closed done");
    script_close(&s);
}

Test(tcp_close, unread_text_outlives_time_wait_and_its_rst)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! take 3", "! shutdown", "> FA seq 1 ack 1", "< FA seq 1 ack 2 len 10",
               "= data 3", "> A seq 2 ack 12", "< R seq 12", "! take all", "! resume", "= data 7",
               "= peer-closed", "= closed done");
    script_close(&s);
}

/* Its text puts the end off, and acknowledgements do not. */
Test(tcp_close, a_peer_that_never_closes_is_given_up)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! shutdown", "> FA seq 1 ack 1", "< A seq 1 ack 2", "+ 59s",
               "< A seq 1 ack 2 len 1", "= data 1", "+ 41ms", "> A seq 2 ack 2", "+ 58s",
               "< A seq 2 ack 2", "+ 1900ms", "+ 100ms", "= closed timeout");
    cr_assert_eq(counters(s)->fin_wait_2_expired, 1);
    script_close(&s);
}

Test(tcp_close, how_long_a_peer_may_not_close_is_configured)
{
    struct script *s =
        script_open(&(struct script_config){.tcp = {.fin_wait_2_us = UINT64_C(5000000)}});
    script_run(s, OPEN, "! shutdown", "> FA seq 1 ack 1", "< A seq 1 ack 2", "+ 4999ms", "+ 2ms",
               "= closed timeout");
    cr_assert_eq(counters(s)->fin_wait_2_expired, 1);
    script_close(&s);
}

/* A peer that waits for our user to read is not to blame for its silence. */
Test(tcp_close, a_peer_whose_text_is_not_read_is_not_given_up)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! shutdown", "> FA seq 1 ack 1", "! take 4", "< A seq 1 ack 2 len 10",
               "= data 4", "+ 41ms", "> A seq 2 ack 11", "+ 300s", "! take 6", "! resume", "= data 6", "+ 61s",
               "= closed timeout");
    script_close(&s);
}

Test(tcp_close, aborted)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! send 10", "> PA seq 1 ack 1 len 10", "! abort", "> RA seq 11 ack 1",
               "= closed aborted");
    script_close(&s);
}

Test(tcp_close, connect_given_up)
{
    struct script *s = script_open(NULL);
    script_run(s, "! connect", "> S seq 0", "! shutdown", "= closed done");
    script_close(&s);
    s = script_open(NULL);
    script_run(s, "! connect", "> S seq 0", "! abort", "= closed aborted");
    script_close(&s);
}

Test(tcp_close, time_wait_is_bounded)
{
    struct script *s = script_open(&(struct script_config){.tcp = {.time_wait_limit = 1}});
    script_run(s, OPEN, "! shutdown", "> FA seq 1 ack 1", "< FA seq 1 ack 2", "! forget",
               "< S seq 0 port 40001", "! forget");
    struct gw_tcp *t = script_tcp(s);
    tcp_time_wait_add(t, script_conn(s));
    cr_assert_eq(t->time_waits.used_count, 1);
    cr_assert_eq(t->counters.time_wait_forgotten, 1);
    script_drop(&s);
}

Test(tcp_close, a_new_connection_takes_the_place_of_time_wait)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN_TS, "! shutdown", "> FA seq 1 ack 1", "< FA seq 1 ack 2 ts 150",
               "> A seq 2 ack 2", "= peer-closed", "= closed done",
               /* older than what was seen: no new connection */
               "< S seq 500 mss 1000 ts 120", "> A seq 2 ack 2");
    uint32_t old_end = script_our_iss(s) + 2;
    script_run(s, "< S seq 500 mss 1000 ts 151", "! forget");
    cr_assert_eq(script_conn(s)->state, STATE_SYN_RECEIVED);
    cr_assert(seq_lt(old_end, script_conn(s)->snd_una), "beyond the old connection's numbers");
    cr_assert_eq(counters(s)->time_wait_reused, 1);
    script_drop(&s);
}

#define CONNECT_AND_CLOSE(ts)                                                                      \
    "! connect", "> S seq 0", "< SA seq 0 ack 1 win 5000 mss 1460" ts, "> A seq 1 ack 1",          \
        "= established", "! shutdown", "> FA seq 1 ack 1"

static int connect_again(struct script *s, const struct gw_tcp_tuple *t)
{
    gw_conn c;
    return gw_tcp_connect(script_tcp(s), script_now_us(s), t, &c);
}

/* RFC 6191 from our side: not before our timestamps have moved on, not while the old one lives. */
Test(tcp_close, we_connect_again_over_time_wait)
{
    struct script *s = script_open(NULL);
    script_run(s, CONNECT_AND_CLOSE(" ts 100"));
    struct gw_tcp_tuple t = script_conn(s)->tuple;
    cr_assert_eq(connect_again(s, &t), -EADDRINUSE, "FIN-WAIT-1");
    script_run(s, "< FA seq 1 ack 2 ts 150", "> A seq 2 ack 2", "= peer-closed", "= closed done",
               "+ 900ms");
    cr_assert_eq(connect_again(s, &t), -EADDRINUSE, "too early");
    uint32_t old_end = script_our_iss(s) + 2;
    script_new_peer(s);
    script_run(s, "+ 101ms", "! connect", "> S seq 0", "< SA seq 0 ack 1 win 5000 mss 1460 ts 1200",
               "> A seq 1 ack 1", "= established");
    cr_assert(seq_lt(old_end + 60000, script_our_iss(s)), "beyond the old connection's numbers");
    cr_assert_eq(counters(s)->time_wait_reused, 1);
    cr_assert_eq(script_tcp(s)->time_waits.used_count, 0);
    script_run(s, "! send 5", "> PA seq 1 ack 1 len 5", "< A seq 1 ack 6 ts 1201", "= acked 5",
               /* a late segment of the old connection */
               "< A seq 1 ack 6 ts 149 len 4", "> A seq 6 ack 1");
    cr_assert_eq(counters(s)->drop_paws, 1);
    script_drop(&s);
}

Test(tcp_close, time_wait_without_timestamps_is_waited_for)
{
    struct script *s = script_open(NULL);
    script_run(s, CONNECT_AND_CLOSE(""));
    struct gw_tcp_tuple t = script_conn(s)->tuple;
    script_run(s, "< FA seq 1 ack 2", "> A seq 2 ack 2", "= peer-closed", "= closed done", "+ 59s");
    cr_assert_eq(connect_again(s, &t), -EADDRINUSE);
    script_run(s, "+ 1001ms");
    cr_assert_eq(connect_again(s, &t), 0);
    cr_assert_eq(counters(s)->time_wait_reused, 0);
    script_run(s, "! forget");
    script_drop(&s);
}

static bool lands_on(void *port, const struct gw_tcp_tuple *t)
{
    return t->local_port == *(const uint16_t *)port;
}

/* Until every port that may be drawn was asked for. */
static int connect_drawn(struct script *s, struct gw_tcp_tuple t, gw_conn *c)
{
    int err = -EADDRNOTAVAIL;
    for (unsigned n = 0; n < GW_TCP_DRAWN_PORTS / 512 && err == -EADDRNOTAVAIL; n++) {
        t.local_port = 0;
        err = gw_tcp_connect(script_tcp(s), script_now_us(s), &t, c);
    }
    return err;
}

/* When no port is free, one is drawn whose TIME-WAIT may be ended, and not before it may. */
Test(tcp_close, a_drawn_port_may_come_out_of_time_wait)
{
    static uint16_t only;
    struct script *s = script_open(
        &(struct script_config){.tcp = {.lands_here = lands_on, .lands_here_ctx = &only}});
    script_run(s, CONNECT_AND_CLOSE(" ts 100"));
    struct gw_tcp_tuple t = script_conn(s)->tuple;
    only = t.local_port;
    gw_conn c;
    cr_assert_eq(connect_drawn(s, t, &c), -EADDRNOTAVAIL, "FIN-WAIT-1");
    script_run(s, "< FA seq 1 ack 2 ts 150", "> A seq 2 ack 2", "= peer-closed", "= closed done",
               "+ 900ms");
    cr_assert_eq(connect_drawn(s, t, &c), -EADDRNOTAVAIL, "too early");
    script_run(s, "+ 101ms");
    cr_assert_eq(connect_drawn(s, t, &c), 0);
    cr_assert_eq(gw_tcp_tuple(script_tcp(s), c).local_port, only);
    cr_assert_eq(counters(s)->time_wait_reused, 1);
    cr_assert_eq(script_tcp(s)->time_waits.used_count, 0);
    cr_assert_eq(connect_drawn(s, t, &c), -EADDRNOTAVAIL, "SYN-SENT");
    script_drop(&s);
}

/* ---- blind attacks (RFC 5961) and old segments (RFC 7323) ---- */

Test(tcp_attack, rst_has_to_be_exact)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "< R seq 2", "> A seq 1 ack 1", "< R seq 70000", "< R seq 0",
               "+ 200ms", "< R seq 100", "> A seq 1 ack 1", "< R seq 1", "= closed reset");
    cr_assert_eq(counters(s)->drop_rst_sequence, 2);
    cr_assert_eq(counters(s)->drop_sequence, 2);
    script_close(&s);
}

Test(tcp_attack, syn_is_challenged)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "< S seq 1", "> A seq 1 ack 1", "+ 200ms", "< S seq 1000000",
               "> A seq 1 ack 1", "+ 200ms", "< SA seq 1 ack 1", "> A seq 1 ack 1");
    cr_assert_eq(script_conn(s)->state, STATE_ESTABLISHED);
    script_drop(&s);
}

Test(tcp_attack, challenges_are_limited)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "< S seq 1", "> A seq 1 ack 1", "< S seq 1", "< S seq 1", "< R seq 5",
               "+ 140ms", "< S seq 1", "> A seq 1 ack 1");
    cr_assert_eq(counters(s)->challenge_acks, 2);
    cr_assert_eq(counters(s)->challenge_acks_held, 3);
    script_drop(&s);
}

Test(tcp_attack, acknowledgements_of_what_was_never_sent)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "< A seq 1 ack 2 len 10", "> A seq 1 ack 1", "+ 200ms",
               "< A seq 1 ack -70000 len 10", "> A seq 1 ack 1", "< - seq 1 len 10");
    cr_assert_eq(counters(s)->drop_ack, 2);
    cr_assert_eq(counters(s)->drop_no_ack, 1);
    script_drop(&s);
}

Test(tcp_attack, old_segments_are_known_by_their_timestamp)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN_TS, "< A seq 1 ack 1 len 10 ts 90", "> A seq 1 ack 1 ts 101",
               "< A seq 1 ack 1 len 10", "< A seq 1 ack 1 len 10 ts 105", "= data 10", "+ 41ms",
               "> A seq 1 ack 11 ts 105");
    cr_assert_eq(counters(s)->drop_paws, 1);
    cr_assert_eq(counters(s)->drop_no_timestamp, 1);
    script_drop(&s);
}

/* Two ends each of which finds the other's acknowledgements old must not answer each other for ever; what
 * carries something is answered each time. */
Test(tcp_attack, acknowledgements_with_an_old_timestamp_are_answered_at_a_limited_rate)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN_TS, "< A seq 1 ack 1 ts 90", "> A seq 1 ack 1 ts 101", "< A seq 1 ack 1 ts 90",
               "< A seq 1 ack 1 ts 91", "< A seq 1 ack 1 len 1 ts 91", "> A seq 1 ack 1 ts 101",
               "< A seq 1 ack 1 len 1 ts 91", "> A seq 1 ack 1 ts 101", "+ 200ms",
               "< A seq 1 ack 1 ts 92", "> A seq 1 ack 1 ts 101");
    cr_assert_eq(counters(s)->drop_paws, 6);
    cr_assert_eq(counters(s)->challenge_acks, 2);
    cr_assert_eq(counters(s)->challenge_acks_held, 2);
    script_drop(&s);
}

/* RFC 7323 section 5.5. A clock of milliseconds looks like an earlier one after 24.9 days: a client that
 * was silent for so long is heard, and all that it says from then on. */
static void heard_after(const char *silence, const char *ts, const char *next_ts)
{
    struct script *s = script_open(NULL);
    char text[2][80];
    snprintf(text[0], sizeof(text[0]), "< A seq 1 ack 1 len 10 ts %s", ts);
    snprintf(text[1], sizeof(text[1]), "< A seq 11 ack 1 len 10 ts %s", next_ts);
    script_run(s, OPEN_TS, silence, text[0], "= data 10", "+ 41ms", "! forget", text[1], "= data 10",
               "+ 41ms", "! forget");
    cr_assert_eq(counters(s)->drop_paws, 0);
    script_drop(&s);
}

Test(tcp_attack, a_client_that_was_silent_for_weeks_is_heard)
{
    heard_after("+ 2073700s", "2073700101", "2073700142"); /* 24 days, and not yet half round */
    heard_after("+ 2160000s", "2160000101", "2160000142"); /* 25 days: more than half round */
    heard_after("+ 4000000s", "4000000101", "4000000142"); /* 46 days */
}

/* ---- the user's deadline ---- */

Test(tcp_deadline, comes_once_and_can_be_moved)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! deadline 5s", "+ 4s", "! deadline 3s", "+ 2s", "+ 1s", "= deadline",
               "+ 100s");
    struct gw_tcp *t = script_tcp(s);
    gw_tcp_set_deadline(t, conn_index(t, script_conn(s)), script_now_us(s) + 1000);
    gw_tcp_set_deadline(t, conn_index(t, script_conn(s)), 0);
    script_run(s, "+ 1s");
    script_drop(&s);
}

Test(tcp_deadline, an_idle_connection_needs_no_timer)
{
    struct script *s = script_open(NULL);
    script_run(s, OPEN, "! send 10", "> PA seq 1 ack 1 len 10", "< A seq 1 ack 11", "= acked 10",
               "+ 2s");
    cr_assert_eq(gw_tcp_next_deadline_us(script_tcp(s)), UINT64_MAX);
    script_drop(&s);
}

/* ---- fairness ---- */

Test(tcp_flush, a_turn_is_bounded)
{
    struct script *s = script_open(NULL);
    script_run(s, "< S seq 0 win 65535 mss 536", "> SA seq 0 ack 1", "< A seq 1 ack 1",
               "= established");
    struct gw_tcp *t = script_tcp(s);
    script_conn(s)->cwnd = 1 << 20;
    script_run(s, "! hold", "! slice 30000");
    cr_assert_eq(gw_tcp_flush(t, script_now_us(s)), TCP_BURST_SEGMENTS);
    cr_assert_eq(gw_tcp_next_deadline_us(t), script_now_us(s), "the rest is due at once");
    cr_assert_eq(gw_tcp_flush(t, script_now_us(s)), TCP_BURST_SEGMENTS);
    script_run(s, "! forget");
    script_drop(&s);
}

/* ---- SYN cookies (RFC 4987) ---- */

static struct script *flooded(uint32_t window)
{
    struct script *s = script_open(&(struct script_config){
        .tcp = {.half_open_limit = 1, .recv_window_bytes = window}});
    script_run(s, "! hold", "< S seq 0 port 39999", "! flush", "! forget");
    script_new_peer(s);
    return s;
}

Test(tcp_cookie, keeps_every_option_of_a_peer_with_timestamps)
{
    struct script *s = flooded(1 << 20);
    script_run(s, "< S seq 0 win 1000 mss 1450 ws 7 sackok ts 100",
               "> SA seq 0 ack 1 win 65535 mss 1460 ws 5 sackok ts 100");
    cr_assert_eq(script_tcp(s)->conns.used_count, 1, "nothing was kept");
    script_run(s, "+ 100ms", "< A seq 1 ack 1 win 500 ts 101 len 10", "= established", "= data 10",
               /* now that it may be scaled, the window opens */
               "> A seq 1 ack 11 win 32768",
               "! send 5", "> PA seq 1 ack 11 len 5");
    const struct conn *c = script_peer_conn(s);
    cr_assert_eq(c->snd_wnd, 500 << 7);
    cr_assert_eq(c->mss, 1440 - 12, "the next lower of eight");
    cr_assert_eq(c->flags & (CONN_SACK | CONN_TIMESTAMPS), CONN_SACK | CONN_TIMESTAMPS);
    script_drop(&s);
}

Test(tcp_cookie, without_timestamps_only_the_mss)
{
    struct script *s = flooded(65535);
    script_run(s, "< S seq 0 win 1000 mss 1300 ws 7 sackok", "> SA seq 0 ack 1 mss 1460",
               "< A seq 1 ack 1 win 500", "= established");
    cr_assert_eq(script_peer_conn(s)->snd_wnd, 500);
    cr_assert_eq(script_peer_conn(s)->mss, 1300);
    cr_assert_eq(script_peer_conn(s)->flags & (CONN_SACK | CONN_SCALE), 0);
    script_drop(&s);
}

Test(tcp_cookie, is_not_guessed_changed_or_kept_for_long)
{
    struct script *s = flooded(65535);
    script_run(s, "< S seq 0 win 1000 mss 1300", "> SA seq 0 ack 1", "< A seq 1 ack 2",
               "< A seq 2 ack 1", "< A seq 1 ack 1 port 40009", "< A seq 1 ack 1 ts 5", "+ 200s",
               "! forget", "< A seq 1 ack 1", "> R seq 1");
    cr_assert_eq(counters(s)->cookies_bad, 4);
    cr_assert_eq(counters(s)->cookies_redeemed, 0);
    script_drop(&s);
}

/* Also while cookies are given out all the time, and when the two bits that tell the minute come again. */
Test(tcp_cookie, is_too_old_after_three_minutes)
{
    struct script *s = flooded(65535);
    script_run(s, "< S seq 0 win 1000 mss 1300", "> SA seq 0 ack 1", "+ 190s", "! forget", "! hold",
               "< S seq 9 win 1000 port 39998", "< S seq 9 win 1000 port 39997", "! flush", "! forget",
               "+ 5s", "! forget", "< A seq 1 ack 1", "+ 61s", "! forget", "< A seq 1 ack 1", "+ 64s", "! forget", "< A seq 1 ack 1");
    cr_assert_eq(counters(s)->cookies_redeemed, 0);
    cr_assert_eq(counters(s)->cookies_bad, 3);
    script_drop(&s);
}

/* Its first text may be lost for a while: the peer is established, and repeats it as often as any. */
Test(tcp_cookie, is_redeemed_two_minutes_later)
{
    struct script *s = flooded(65535);
    script_run(s, "< S seq 0 win 1000 mss 1300", "> SA seq 0 ack 1", "+ 125s", "! forget",
               "< A seq 1 ack 1 len 10", "= established", "= data 10", "! forget");
    cr_assert_eq(counters(s)->cookies_redeemed, 1);
    cr_assert_eq(counters(s)->cookies_bad, 0);
    script_drop(&s);
}

/* The first SYN was answered by a cookie, the repeated one by a connection in SYN-RECEIVED: a segment
 * that overtakes the one which redeems the cookie does not end the connection. */
Test(tcp_cookie, a_segment_that_overtakes_the_redeeming_one_is_not_reset)
{
    struct script *s = flooded(65535);
    script_run(s, "< S seq 0 win 1000 mss 1300", "> SA seq 0 ack 1", "< R seq 1 port 39999",
               "< S seq 0 win 1000 mss 1300", "! forget", "< A seq 11 ack 1", "< A seq 1 ack 1 len 10",
               "= established", "= data 10", "! forget");
    cr_assert_eq(counters(s)->cookies_redeemed, 1);
    cr_assert_eq(counters(s)->rst_out, 0);
    script_drop(&s);
}
