/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an account keeps with the server for itself: its vCard (XEP-0054), its private data (XEP-0049).
 *
 * One small record an account and kind, sealed, under the bare JID; with it the account's identity, so
 * that what an earlier account of that name has left is nobody's. The edge of the session that asks
 * reads it, and writes it by compare-and-set: the result leaves when the record is durable. Reading of
 * the connection pauses meanwhile, so that it has one such request under way.
 */
#ifndef GW_XMPP_PERSONAL_H
#define GW_XMPP_PERSONAL_H

#include "../../storage/store.h"
#include "iq.h"

/* Of a record, before it is sealed. */
#define GW_PERSONAL_BYTES_MAX 65536u
/* Times that a record is read again because somebody else has written it meanwhile. */
#define GW_PERSONAL_TRIES_MAX 4u

struct gw_personal_kind {
    enum gw_store_ns ns;
    /* The body of a record after `payload` was set, into *out; `old` is empty when there was none. */
    enum gw_condition (*change)(struct gw_bytes old, struct gw_bytes payload, struct gw_text *out);
    /* The child of the result of a get, into *out. */
    enum gw_condition (*show)(struct gw_bytes body, struct gw_bytes payload, struct gw_text *out);
};

/* Begin a request (a handler's `begin`): set, or get. `of` whom; `payload` is copied. */
enum gw_handled gw_personal_begin(struct gw_lcore *l, gw_conn c, const struct gw_iq *q,
                                  const struct gw_personal_kind *kind, struct gw_bytes payload);

#define GW_TAG_PERSONAL (1ull << 62) /* beside GW_TAG_EDGE; low half: the request's block */
/* A store request of one has ended. */
void gw_personal_store_done(struct gw_lcore *l, const struct gw_store_completion *done);

/* An element of l->xml as it can stand elsewhere: with the prefixes that were bound outside of it. */
void gw_personal_put_element(const struct gw_lcore *l, gw_xml_node n, struct gw_text *t);

#endif
