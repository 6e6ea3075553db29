/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscription states and their transitions: RFC 6121 appendix A, as two tables.
 *
 * A state is four bits, of which the RFC has nine combinations. "Outbound" is what the user sends,
 * decided at the user's home; "inbound" what a contact has sent, decided at the recipient's. Pure.
 */
#ifndef GW_XMPP_SUBSCRIPTION_H
#define GW_XMPP_SUBSCRIPTION_H

#include <stdbool.h>
#include <stdint.h>

enum {
    GW_SUB_TO = 1,   /* the user gets the contact's presence */
    GW_SUB_FROM = 2, /* the contact gets the user's */
    GW_SUB_OUT = 4,  /* the user has asked, and the contact has not answered (ask='subscribe') */
    GW_SUB_IN = 8,   /* the contact has asked, and the user has not answered */
    GW_SUB_BITS = 15,
};

/* X(upper, name): RFC 6121 section A.1 */
#define GW_SUB_STATES(X)                                                                           \
    X(NONE, 0)                                                                                     \
    X(NONE_OUT, GW_SUB_OUT)                                                                        \
    X(NONE_IN, GW_SUB_IN)                                                                          \
    X(NONE_OUT_IN, GW_SUB_OUT | GW_SUB_IN)                                                         \
    X(TO_, GW_SUB_TO)                                                                              \
    X(TO_IN, GW_SUB_TO | GW_SUB_IN)                                                                \
    X(FROM_, GW_SUB_FROM)                                                                          \
    X(FROM_OUT, GW_SUB_FROM | GW_SUB_OUT)                                                          \
    X(BOTH, GW_SUB_TO | GW_SUB_FROM)

/* X(upper, type attribute) */
#define GW_SUB_KINDS(X)                                                                            \
    X(SUBSCRIBE, "subscribe")                                                                      \
    X(SUBSCRIBED, "subscribed")                                                                    \
    X(UNSUBSCRIBE, "unsubscribe")                                                                  \
    X(UNSUBSCRIBED, "unsubscribed")

enum gw_sub_kind {
#define X(upper, name) GW_SUB_##upper,
    GW_SUB_KINDS(X)
#undef X
    GW_SUB_KIND_COUNT
};

const char *gw_sub_kind_name(enum gw_sub_kind k);

struct gw_sub_step {
    uint8_t state;    /* afterwards */
    bool goes_on;     /* outbound: it is routed to the contact; inbound: delivered to the user */
    bool auto_reply;  /* inbound subscribe of a contact that is subscribed: answered for the user */
};

/* The state must be one of the nine. */
struct gw_sub_step gw_sub_outbound(uint8_t state, enum gw_sub_kind k);
struct gw_sub_step gw_sub_inbound(uint8_t state, enum gw_sub_kind k);
/* Whether these bits are one of the nine. */
bool gw_sub_is_state(uint8_t bits);
/* The value of a roster item's `subscription` (RFC 6121 section 2.1.2.5). */
const char *gw_sub_name(uint8_t state);

#endif
