/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A marker "displayed" (XEP-0333 section 4) is about a message and about all before it in the same
 * conversation: clients send one for the last that is on the screen. The ledger keeps what it was told,
 * at the message named; what else that covers is found out when somebody asks, by a walk from the newest
 * message to the oldest. So a marker costs the same however many messages it covers.
 */
#ifndef GW_CONTROL_LEDGER_COVER_H
#define GW_CONTROL_LEDGER_COVER_H

#include "ledger_table.h"

struct ledger_cover;

/* One for each walk; a leaf, for one thread. Grows with the conversations in which something was
 * displayed. */
struct ledger_cover *ledger_cover_new(void);
void ledger_cover_free(struct ledger_cover **c);

/* The next older message. When it was displayed by a marker about a later one from the same sender to the
 * same recipient, us of wall clock; 0: by none. Covered is what was delivered before the marker came; one
 * with a marker of its own is not. */
uint64_t ledger_cover_look(struct ledger_cover *c, const struct receipt *r);

#endif
