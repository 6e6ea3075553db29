/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The language of segment scripts (*.pkt), one statement a line, much like packetdrill's:
 *
 *   # comment
 *   config NAME [VALUE]      of every stack of this file: window N, mtu N, sndbuf N, memory N, newreno,
 *                            nagle, half_open N, time_wait N, connections N, pieces N, nodes N,
 *                            keepalive SECONDS, family v4|v6 (else each case runs with both)
 *   setup                    what follows is run at the beginning of each case
 *   case TITLE               what follows is run on a new stack, whose time and packets are the script's
 *
 *   +T < SEGMENT             T seconds after the line before, the peer sends this
 *   +T > SEGMENT             T seconds after the line before, the stack has sent this
 *   +T = EVENT               and told its user: established, data N, acked N, peer-closed,
 *                            closed done|reset|timeout|aborted|refused|unreachable
 *   +T ! COMMAND             the user calls: listen PORT, connect, send N, shutdown, abort, nodelay on|off,
 *                            keepalive on|off, take N|all (of the data told next), recv N gets N|EAGAIN,
 *                            refuse (the next connection); send N fails ERROR.
 *                            The rig: port full|free, hold (nothing runs) and run, new-peer (the next
 *                            SYN of ours begins new numbers), repeat N STATEMENT (each next port one
 *                            higher, where one is named, and each text behind the last)
 *   +T ? NAME [OP] VALUE     what the stack says of itself: state NAME, counter NAME, or a number by
 *                            name (see rig.c); OP is <, <=, >, >=
 *
 * "+T" may be left out: at once. SEGMENT is as in packetdrill:
 *
 *   FLAGS START:END(LENGTH) [ack N] [win N] [urg N] [port N] [badsum] [<OPTION, ..>]
 *
 * FLAGS of S F R P U and . for ACK, or - for none. Numbers count from each side's SYN; a start of * is
 * any number. Options: mss N (`our`: what the MTU leaves), wscale N, sackOK, TS val N ecr N (`*` any;
 * left out in what the peer sends: its echo of our last), sack A:B .., raw HEX, nop. Of what the stack
 * sends window and options are compared when they are given; the options then are all there are.
 *
 * Whatever the stack sends or tells must be in the script, in its order: anything else fails.
 */
#ifndef SEGMENTS_LINE_H
#define SEGMENTS_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LINE_OPTION_BYTES_MAX = 40, LINE_WORDS_MAX = 12 };

struct segment {
    uint8_t flags;
    bool any_seq, has_ack, has_win, has_options, bad_sum, echoes_ts, any_ts_val, our_mss;
    uint32_t seq, ack, len, win, urg, port; /* port 0: the peer's own */
    uint8_t options[LINE_OPTION_BYTES_MAX]; /* as on the wire, SACK edges still relative */
    uint32_t options_len;
    uint32_t ts_at, mss_at; /* where in the options the values lie; 0: nowhere */
};

enum line_kind { LINE_IN, LINE_OUT, LINE_EVENT, LINE_COMMAND, LINE_QUESTION };

struct line {
    unsigned number;
    const char *text; /* the whole line */
    uint64_t after_us;
    unsigned repeat;
    enum line_kind kind;
    struct segment segment;         /* LINE_IN, LINE_OUT */
    char buffer[200];               /* what words points into */
    char *words[LINE_WORDS_MAX + 1]; /* the others; NULL behind the last */
};

/* NULL, or what is wrong with the text. */
const char *line_parse(struct line *out, const char *text, unsigned number);
/* Seconds as "1", "0.25", ".001" to microseconds. False when it is none. */
bool line_read_seconds(const char *text, uint64_t *us);
bool line_read_number(const char *text, int64_t *v);

#endif
