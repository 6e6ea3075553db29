/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Presence to contacts: RFC 6121 section 4, at the user's home.
 *
 * What is queued is not stanzas but sessions whose presence contacts have still to hear of: each is at
 * most once in the queue, with its latest presence, however often that changes; a round over its roster
 * is done in small parts, in turn with the others, and only while what was sent before finds credits. So
 * a client that flaps costs one place, and a thousand that log in with a thousand contacts each are
 * served one after the other without any pass being long.
 */
#ifndef GW_XMPP_FANOUT_H
#define GW_XMPP_FANOUT_H

#include "post.h"

#define GW_FANOUT_ENTRIES_MAX 64u  /* roster entries looked at in a pass */
#define GW_FANOUT_TURN        16u  /* of one session, before the next has its turn */
#define GW_FANOUT_BACKLOG_MAX 512u /* stanzas in the outbox above which a pass adds none */
#define GW_DIRECTED_MAX       32u  /* who has had directed presence of a session, and is to hear of its end */

struct gw_fanout_queue {
    gw_block head, tail; /* struct gw_fanout */
};

/* A session's presence has changed to these bytes ("<presence" and more): its contacts will hear of it.
 * initial: it was not available before; contacts are asked for theirs, what waits for an answer is asked
 * again, and the session is given the requests that wait for its user. */
void gw_home_announce(struct gw_lcore *l, uint32_t session, struct gw_bytes xml, bool initial);
/* It ends; what was announced goes on. */
void gw_home_announce_ended(struct gw_lcore *l, uint32_t session);
/* A part of what is queued. */
unsigned gw_home_fan_out(struct gw_lcore *l);

/* Directed presence (section 4.6): GW_POST_DIRECTED. */
void gw_home_directed(struct gw_lcore *l, struct gw_post *p);
/* The session is unavailable: those who had directed presence hear of it. */
void gw_home_directed_end(struct gw_lcore *l, uint32_t session, struct gw_bytes xml);

#endif
