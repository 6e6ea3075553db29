/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rosters at their accounts' home: RFC 6121 sections 2 and 3.
 *
 * An account's roster is read with the account and lies in one block beside it (roster.h says how). Who
 * changes it makes another, which is sealed and written by compare-and-set; only when that is durable is
 * the change made, answered, pushed to the sessions that have asked for the roster, and passed on. While
 * it is being written the account is WRITING, and what comes for it waits in order: so a change never
 * races with another, and what a contact is told rests on what is on disk.
 *
 * Of a subscription each side's home keeps its own half. A crash between the two writes leaves them
 * apart, as two servers would be; they meet again when the user comes next: what waits for an answer is
 * asked again, and a probe that finds no subscription is answered with `unsubscribed` (section 4.3.2).
 * Every step is idempotent.
 */
#ifndef GW_XMPP_CONTACTS_H
#define GW_XMPP_CONTACTS_H

#include "../../storage/store.h"
#include "post.h"
#include "stanza.h"
#include "subscription.h"

/* ---- rosters ---- */

struct gw_home_roster {
    uint64_t version; /* of its record; 0: there is none */
    uint32_t len;     /* 0: of no use; its record is of an earlier account of this name */
    uint8_t bytes[];
};

struct gw_home_account;
struct gw_home_session;

/* Empty when it has none. */
struct gw_bytes gw_home_roster(const struct gw_lcore *l, const struct gw_home_account *a);
void gw_home_roster_free(struct gw_lcore *l, struct gw_home_account *a);
/* Read it into the account's load_block; the account is LISTING. 0, -EAGAIN. */
int gw_home_list(struct gw_lcore *l, uint32_t account);
/* What was read. 1: it is to be read again, into a larger block; else it is known now, or damaged. */
int gw_home_listed(struct gw_lcore *l, uint32_t account, const struct gw_store_completion *c);
/* Write what the account's load_block (struct gw_roster_change) says. 0, -EAGAIN. */
int gw_home_write(struct gw_lcore *l, uint32_t account);
/* Returns -ESTALE when the roster must be read again, and the post tried once more; the post is in *again.
 * Else the change is made or refused, and the post answered. */
int gw_home_written(struct gw_lcore *l, uint32_t account, const struct gw_store_completion *c,
                    struct gw_post *again);

/* ---- posts, when the account is READY or MISSING ---- */

/* A user asks of its own account. */
void gw_home_ask(struct gw_lcore *l, uint32_t account, struct gw_post *p);
/* A subscription or a probe from somebody else's home. */
void gw_home_asked(struct gw_lcore *l, uint32_t account, struct gw_post *p);

/* A subscription stanza of the account's own making. False: dropped, counted. */
bool gw_home_send_kind(struct gw_lcore *l, const struct gw_home_account *a, struct gw_bytes contact,
                       enum gw_sub_kind k);
/* The presence in xml ("<presence" and more) of a full JID, with `to` stamped. False: dropped, counted. */
bool gw_home_send_presence(struct gw_lcore *l, struct gw_bytes from, size_t from_bare_len,
                           struct gw_bytes to, struct gw_bytes xml);

/* Its edge is told whom the account blocks. False: no credit or no memory to say so. */
bool gw_home_tell_blocks(struct gw_lcore *l, const struct gw_home_account *a, struct gw_ref conn);
/* Whether the account blocks this sender: never itself. */
bool gw_home_blocks(const struct gw_lcore *l, const struct gw_home_account *a,
                    const struct gw_stanza *s);

/* ---- outbox.c: what a home sends to another's accounts ---- */

#define GW_OUTBOX_MAX 4096u /* stanzas that wait for a credit; more are dropped and counted */

struct gw_outbox {
    gw_block head[GW_LCORES_MAX], tail[GW_LCORES_MAX]; /* struct gw_stanza, by the recipient's home */
    uint32_t count;
};

/* A stanza of these two pieces. f: kind, type, to, to_bare, from, from_bare. False: dropped, counted. */
bool gw_home_send(struct gw_lcore *l, const struct gw_stanza_form *f, struct gw_bytes a,
                  struct gw_bytes b);
/* As far as credits go that edges do not need. */
unsigned gw_home_send_out(struct gw_lcore *l);

#endif
