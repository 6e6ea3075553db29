/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scripted segments at virtual time: one stack of ours, one connection, and a peer that says exactly
 * what the script says. Whatever the stack sends or tells its user must be in the script too, in
 * order; anything else fails the test with the line's number.
 *
 *   < FLAGS [fields]   the peer sends a segment          flags: S F R P A, or - for none
 *   > FLAGS [fields]   the stack has sent this
 *   = EVENT            the stack has told its user
 *   ! COMMAND          the user calls the stack
 *   + TIME             time passes: 64us, 200ms, 3s
 *
 * Fields: seq N, ack N, len N (text bytes; 0 unless given), win N, mss N, ws N, sackok, ts V (the
 * peer's clock; in what the stack sends: the echoed value), block A B (a SACK block), port N, junk
 * (an option that overruns the header). Sequence numbers count from each side's SYN. In what the
 * stack sends flags, seq, ack and len are always compared, the others when they are given.
 *
 * Events: established, data N, acked N, peer-closed, closed REASON, deadline.
 * Commands: connect, send N, slice N, shutdown, abort, resume, take N (of the next data),
 * refuse (the next connection), deadline TIME, port full, port free, hold (no flush), flush,
 * forget (do not compare what is waiting), keep (what waits at the end is for script_result).
 */
#ifndef UNIT_TCP_SCRIPT_H
#define UNIT_TCP_SCRIPT_H

#include "../../dataplane/tcp/stack.h"

struct script;

struct script_config {
    struct gw_tcp_config tcp; /* zero fields are filled in */
    bool v6;
};

struct script *script_open(const struct script_config *cfg);
/* Also proves that nothing is left behind: connections, nodes, pieces, blocks, timers. The script
 * must have ended its connection; TIME-WAIT may be left. */
void script_close(struct script **s);
/* For a script that leaves its connection open. */
void script_drop(struct script **s);

void script_run_lines(struct script *s, const char *file, int line, const char *const *lines);
#define script_run(s, ...)                                                                         \
    script_run_lines(s, __FILE__, __LINE__, (const char *const[]){__VA_ARGS__, NULL})

/* What the last line made the stack send and tell, instead of lines that compare it: "A R =data 5". */
const char *script_result(struct script *s);

struct gw_tcp *script_tcp(struct script *s);
struct gw_arena *script_arena(struct script *s);
/* The connection, or NULL when it is gone. */
struct conn *script_conn(struct script *s);
/* Learn the stack's initial number anew, from the next SYN it sends. */
void script_new_peer(struct script *s);
/* The connection with the peer's own port. */
struct conn *script_peer_conn(struct script *s);
uint64_t script_now_us(const struct script *s);
uint32_t script_our_iss(const struct script *s);

#endif
