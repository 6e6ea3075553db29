/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client state indication (XEP-0352 version 1.0): what can wait while nobody looks at the client.
 *
 * To an inactive client presence is held back, the latest of each sender, and so are messages with
 * nothing but a chat state (XEP-0085), of each conversation the latest. Everything else is sent at once,
 * with all that is held back before it: nothing overtakes anything, and no answer leaves before what was
 * held back. A new stream is active, and so is one that is resumed (section 5.1): what was held back of
 * the old connection is lost with it, like any other stanza that is not stored.
 */
#ifndef GW_XMPP_CSI_H
#define GW_XMPP_CSI_H

#include "edge.h"

/* Of one connection; one more and all are sent. */
#define GW_HELD_BACK_MAX       128u
#define GW_HELD_BACK_BYTES_MAX 32768u

/* An <active/> or <inactive/>. */
enum gw_handled gw_edge_csi(struct gw_lcore *l, gw_conn c);
/* A stanza that is not stored, for a client that is inactive: whether it can wait, and was copied. */
bool gw_edge_hold_back(struct gw_lcore *l, gw_conn c, struct gw_bytes stanza);
/* Before another stanza is written: what is held back, as if it came now. */
void gw_edge_send_held_back(struct gw_lcore *l, gw_conn c);
/* The connection is gone. */
void gw_edge_drop_held_back(struct gw_lcore *l, gw_conn c);

#endif
