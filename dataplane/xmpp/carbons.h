/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Message carbons (XEP-0280 version 1.0.1): what one session of an account sends or gets, the others see.
 *
 * A copy of what comes is made by the recipient's home when the message is durable, a copy of what is
 * sent by the sender's home, which the edge tells of it when the message is settled: a message that was
 * refused, or that came again, has none. Copies are transient: the durable one is the mailbox's. They go
 * to available sessions only, behind what is stored before them, and are counted when they are dropped.
 *
 * So that a message costs nothing for accounts that want no copies of what they send, lcores share a
 * table of counts, by hash of the bare JID: an edge reads it, each account's home writes it.
 */
#ifndef GW_XMPP_CARBONS_H
#define GW_XMPP_CARBONS_H

#include <stdatomic.h>

#include "stanza.h"

#define GW_CARBON_SLOTS (1u << 19)
/* Sent copies that an edge keeps for want of credits; more are dropped. */
#define GW_CARBONS_WAITING_MAX 4096u

/* Of all lcores. */
struct gw_carbons {
    _Atomic uint32_t sessions; /* that have enabled it */
    struct gw_region region;
    _Atomic uint32_t *slots; /* accounts of that hash which want copies of what they send */
};

/* Start only. 0 or negative errno. */
int gw_carbons_open(struct gw_carbons *c, enum gw_region_pages pages);
void gw_carbons_close(struct gw_carbons *c);

/* ---- at the edge: iq_carbons.c ---- */

/* Whether the message in l->xml is one that is copied (section 6.1), and anybody wants copies. */
bool gw_edge_is_copied(const struct gw_lcore *l, enum gw_stanza_type type);
/* It is settled, and was not refused: its sender's other sessions are to get a copy. */
void gw_edge_copy_sent(struct gw_lcore *l, const struct gw_stanza *s);
/* Copies that waited for a credit, as far as these go. Returns how many went. */
unsigned gw_edge_send_copies(struct gw_lcore *l);

/* ---- at home: carbons.c ---- */

/* Which sessions of the account there are, or want copies, has changed. */
void gw_home_carbons_changed(struct gw_lcore *l, uint32_t account);
/* What a POST of these ops has brought, in its turn. */
void gw_home_carbons_set(struct gw_lcore *l, struct gw_post *p);
void gw_home_carbons_sent(struct gw_lcore *l, struct gw_post *p);
/* A stored message, before it is pushed: a copy for each session that does not get it itself. */
void gw_home_copy_stored(struct gw_lcore *l, uint32_t account, const struct gw_stanza *s);
/* One that is not stored and goes to another session: a copy for this one, if it is for it. */
void gw_home_copy_received(struct gw_lcore *l, uint32_t session, const struct gw_stanza *s);

#endif
