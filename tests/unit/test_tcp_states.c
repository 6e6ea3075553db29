/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every state of RFC 9293 meets every kind of segment, in and out of window. The table says what the
 * RFC (with RFC 5961, RFC 1337 and the delayed acknowledgement) wants sent, told and become.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "tcp_script.h"

#define OPEN                                                                                       \
    "< S seq 0 win 65535 mss 1460", "> SA seq 0 ack 1", "< A seq 1 ack 1", "= established"

/* A state, how to get there, and the numbers that are then next. */
static const struct way {
    const char *name;
    uint32_t rcv_nxt, snd_una, snd_nxt;
    const char *lines[12];
} ways[] = {
    {"CLOSED", 1, 0, 1, {"+ 1ms"}},
    {"LISTEN", 1, 0, 1, {"+ 1ms"}},
    {"SYN-SENT", 0, 0, 1, {"! connect", "> S seq 0"}},
    {"SYN-RECEIVED", 1, 0, 1, {"< S seq 0", "> SA seq 0 ack 1"}},
    {"ESTABLISHED", 1, 1, 11, {OPEN, "! send 10", "> PA seq 1 ack 1 len 10"}},
    {"FIN-WAIT-1", 1, 1, 2, {OPEN, "! shutdown", "> FA seq 1 ack 1"}},
    {"FIN-WAIT-2", 1, 2, 2, {OPEN, "! shutdown", "> FA seq 1 ack 1", "< A seq 1 ack 2"}},
    {"CLOSE-WAIT", 2, 1, 1, {OPEN, "< FA seq 1 ack 1", "> A seq 1 ack 2", "= peer-closed"}},
    {"CLOSING",
     2,
     1,
     2,
     {OPEN, "! shutdown", "> FA seq 1 ack 1", "< FA seq 1 ack 1", "> A seq 2 ack 2",
      "= peer-closed"}},
    {"LAST-ACK",
     2,
     1,
     2,
     {OPEN, "< FA seq 1 ack 1", "> A seq 1 ack 2", "= peer-closed", "! shutdown",
      "> FA seq 1 ack 2"}},
    {"TIME-WAIT",
     2,
     2,
     2,
     {OPEN, "! shutdown", "> FA seq 1 ack 1", "< FA seq 1 ack 2", "> A seq 2 ack 2",
      "= peer-closed", "= closed done"}},
};
enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

/* Segments, with numbers counted from what is next in the state. */
static const struct kind {
    const char *name, *flags;
    int seq, ack; /* seq from rcv_nxt, ack from snd_nxt */
    uint32_t len;
} kinds[] = {
    {"the next ACK", "A", 0, 0, 0},
    {"an ACK from before", "A", -100, 0, 0},
    {"text in order", "A", 0, 0, 5},
    {"text behind a gap", "A", 50, 0, 5},
    {"text received before", "A", -5, 0, 5},
    {"text beyond the window", "A", 70000, 0, 5},
    {"text without ACK", "-", 0, 0, 5},
    {"ACK of what was not sent", "A", 0, 1, 0},
    {"ACK of long ago", "A", 0, -100000, 0},
    {"FIN", "FA", 0, 0, 0},
    {"RST, exact", "R", 0, 0, 0},
    {"RST in the window", "R", 10, 0, 0},
    {"RST outside", "R", -1, 0, 0},
    {"SYN in the window", "S", 10, 0, 0},
    {"SYN outside", "S", -100, 0, 0},
    {"SYN and ACK", "SA", 10, 0, 0},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* "what is sent and told > the state after", when it changes. */
static const char *const wanted[WAYS][KINDS] = {
    {/* CLOSED: nobody listens */
     "R", "R", "R", "R", "R", "R", "RA", "R", "R", "R", "", "", "", "RA", "RA", "R"},
    {/* LISTEN */
     "R", "R", "R", "R", "R", "R", "RA", "R", "R", "R", "", "", "", "SA>SYN-RECEIVED",
     "SA>SYN-RECEIVED", "R"},
    {/* SYN-SENT: an acceptable ACK alone says nothing; any SYN is the peer's first number */
     "", "", "", "", "", "", "", "R", "R", "", "", "", "", "SA>SYN-RECEIVED", "SA>SYN-RECEIVED",
     "A =established>ESTABLISHED"},
    {/* SYN-RECEIVED */
     "=established>ESTABLISHED", "A", "=established =data 5>ESTABLISHED",
     "A =established>ESTABLISHED", "A", "A", "", "R", "R",
     "A =established =peer-closed>CLOSE-WAIT", ">CLOSED", "A", "", "A", "A", "A"},
    {/* ESTABLISHED, 10 bytes under way */
     "=acked 10", "A", "=acked 10 =data 5", "A =acked 10", "A", "A", "", "A", "A",
     "A =acked 10 =peer-closed>CLOSE-WAIT", "=closed reset>CLOSED", "A", "", "A", "A", "A"},
    {/* FIN-WAIT-1 */
     ">FIN-WAIT-2", "A", "=data 5>FIN-WAIT-2", "A>FIN-WAIT-2", "A", "A", "", "A", "A",
     "A =peer-closed =closed done>TIME-WAIT", "=closed reset>CLOSED", "A", "", "A", "A", "A"},
    {/* FIN-WAIT-2 */
     "", "A", "=data 5", "A", "A", "A", "", "A", "A", "A =peer-closed =closed done>TIME-WAIT",
     "=closed reset>CLOSED", "A", "", "A", "A", "A"},
    {/* CLOSE-WAIT: the peer has said its last */
     "", "A", "A", "A", "A", "A", "", "A", "A", "A", "=closed reset>CLOSED", "A", "", "A", "A",
     "A"},
    {/* CLOSING: what acknowledges our FIN ends it, whatever else it carries */
     "=closed done>TIME-WAIT", "A", "=closed done>TIME-WAIT", "=closed done>TIME-WAIT", "A", "A",
     "", "A", "A", "=closed done>TIME-WAIT", "=closed reset>CLOSED", "A", "", "A", "A", "A"},
    {/* LAST-ACK */
     "=closed done>CLOSED", "A", "=closed done>CLOSED", "=closed done>CLOSED", "A", "A", "", "A",
     "A", "=closed done>CLOSED", "=closed reset>CLOSED", "A", "", "A", "A", "A"},
    {/* TIME-WAIT: RST is ignored, a SYN from beyond begins a new connection */
     "", "", "A", "A", "A", "A", "A", "", "", "A", "", "", "", "SA>SYN-RECEIVED", "A", "A"},
};

static const char *state_name(struct script *s, unsigned start)
{
    static const char *const names[] = {
#define X(name, text, word) text,
        GW_TCP_STATES(X)
#undef X
    };
    const struct conn *c = script_conn(s);
    if (c != NULL)
        return names[c->state];
    if (script_tcp(s)->time_waits.used_count > 0)
        return "TIME-WAIT";
    return start == 1 ? "LISTEN" : "CLOSED";
}

static void meet(unsigned w, unsigned k)
{
    const struct way *way = &ways[w];
    const struct kind *kind = &kinds[k];
    struct script *s = script_open(NULL);
    script_run_lines(s, __FILE__, __LINE__, way->lines);
    if (w == 0)
        script_tcp(s)->listening[5222 / 8] = 0;
    char line[100], got[600], want[600];
    snprintf(line, sizeof(line), "< %s seq %d ack %d len %u", kind->flags,
             (int)way->rcv_nxt + kind->seq, (int)way->snd_nxt + kind->ack, kind->len);
    script_run(s, "! keep", "! forget", line);
    const char *result = script_result(s), *after = state_name(s, w);
    snprintf(got, sizeof(got), "%s>%s", result, after);
    const char *cell = wanted[w][k];
    snprintf(want, sizeof(want), strchr(cell, '>') != NULL ? "%s" : "%s>%s", cell, way->name);
    cr_expect_str_eq(got, want, "%s meets %s: got \"%s\", wanted \"%s\"", way->name, kind->name, got,
                     want);
    script_drop(&s);
}

Test(tcp_states, each_meets_each_kind_of_segment, .timeout = 120)
{
    for (unsigned w = 0; w < WAYS; w++)
        for (unsigned k = 0; k < KINDS; k++)
            meet(w, k);
}
