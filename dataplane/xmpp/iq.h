/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IQs that the broker answers itself (RFC 6120 section 8.2.3): the table in iq.c says by namespace and
 * element name which handler takes what is asked of whom; one file a family of XEPs, iq_*.c.
 *
 * There are two kinds of handlers. An *answer* has all it needs at the edge: the stanza has its number,
 * the handler writes one result or refusal, and the stanza is settled behind it. A *begin* hands the
 * request on, to a home or to the store, and takes a number itself, when it can go; its completion
 * answers and settles it.
 */
#ifndef GW_XMPP_IQ_H
#define GW_XMPP_IQ_H

#include "edge.h"

/* Whom it asks; one bit each. */
enum {
    GW_IQ_OWN = 1,    /* the user's own account; also meant by an absent `to` */
    GW_IQ_SERVER = 2, /* the server; an absent `to` may mean it too */
    GW_IQ_OTHER = 4,  /* another account, by its bare JID: the server answers on its behalf */
};

/* A question in l->xml. */
struct gw_iq {
    enum gw_stanza_type type; /* get or set */
    uint8_t whom;
    gw_xml_node child;            /* its payload */
    const struct gw_jid_text *to; /* prepared; the user's bare JID when absent */
};

struct gw_iq_handler {
    uint8_t whom; /* those that it answers for */
    enum gw_stanza_type type;
    struct gw_bytes name, ns;
    void (*answer)(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);
    /* Instead: takes a number (gw_edge_number), and settles it in the end; or GW_HANDLE_LATER. */
    enum gw_handled (*begin)(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);
};

/* iq_carbons.c: XEP-0280 */
enum gw_handled gw_iq_carbons(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);

/* iq_disco.c: XEP-0030 */
void gw_iq_disco_info(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);
void gw_iq_disco_items(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);

/* iq_personal.c: XEP-0054, XEP-0049 */
enum gw_handled gw_iq_vcard(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);
enum gw_handled gw_iq_private(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);

/* iq_server.c: XEP-0092, XEP-0199, and what has one answer */
void gw_iq_empty(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);
void gw_iq_not_allowed(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);
/* XEP-0202, and XEP-0012 of the server and the own account. */
void gw_iq_time(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);
void gw_iq_last(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);
void gw_iq_version(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);
void gw_iq_forbidden(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);

/* iq_roster.c: RFC 6121 section 2 */
enum gw_handled gw_iq_roster_get(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);
enum gw_handled gw_iq_roster_set(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);
/* The IQ in l->xml on its way to the user's own home, with these bytes in the place of its own. */
enum gw_handled gw_iq_ask(struct gw_lcore *l, gw_conn c, const struct gw_iq *q, enum gw_ask what,
                          struct gw_bytes payload);

/* iq_block.c: XEP-0191 */
enum gw_handled gw_iq_block_get(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);
enum gw_handled gw_iq_block(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);
enum gw_handled gw_iq_unblock(struct gw_lcore *l, gw_conn c, const struct gw_iq *q);

#endif
