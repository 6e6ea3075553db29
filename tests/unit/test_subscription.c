/* SPDX-License-Identifier: Apache-2.0 */
/* Every cell of RFC 6121 appendix A against its rules in words: what each kind of stanza does to the four
 * bits of a state. */
#include <criterion/criterion.h>

#include "../../dataplane/xmpp/subscription.h"

enum { TO = GW_SUB_TO, FROM = GW_SUB_FROM, OUT = GW_SUB_OUT, IN = GW_SUB_IN };

static const uint8_t states[] = {0, OUT, IN, OUT | IN, TO, TO | IN, FROM, FROM | OUT, TO | FROM};
#define STATES (sizeof(states) / sizeof(states[0]))

struct rule {
    uint8_t state;
    bool goes_on;
};

/* What the user sends. */
static struct rule outbound(uint8_t s, enum gw_sub_kind k)
{
    switch (k) {
    case GW_SUB_SUBSCRIBE: /* always routed; pending unless there is a subscription */
        return (struct rule){(uint8_t)(s & TO ? s : s | OUT), true};
    case GW_SUB_SUBSCRIBED: /* only answers a request */
        return s & IN ? (struct rule){(uint8_t)((s & ~IN) | FROM), true} : (struct rule){s, false};
    case GW_SUB_UNSUBSCRIBE:
        return (struct rule){(uint8_t)(s & ~(TO | OUT)), true};
    default: /* declines a request or cancels a subscription */
        return (struct rule){(uint8_t)(s & ~(FROM | IN)), (s & (FROM | IN)) != 0};
    }
}

/* What the contact has sent. */
static struct rule inbound(uint8_t s, enum gw_sub_kind k)
{
    switch (k) {
    case GW_SUB_SUBSCRIBE: /* delivered once */
        return s & (FROM | IN) ? (struct rule){s, false} : (struct rule){s | IN, true};
    case GW_SUB_SUBSCRIBED: /* only when it was asked for */
        return s & OUT ? (struct rule){(uint8_t)((s & ~OUT) | TO), true} : (struct rule){s, false};
    case GW_SUB_UNSUBSCRIBE:
        return (struct rule){(uint8_t)(s & ~(FROM | IN)), (s & (FROM | IN)) != 0};
    default:
        return (struct rule){(uint8_t)(s & ~(TO | OUT)), (s & (TO | OUT)) != 0};
    }
}

Test(subscription, every_cell_outbound)
{
    for (size_t i = 0; i < STATES; i++)
        for (enum gw_sub_kind k = 0; k < GW_SUB_KIND_COUNT; k++) {
            struct rule r = outbound(states[i], k);
            struct gw_sub_step s = gw_sub_outbound(states[i], k);
            cr_expect_eq(s.state, r.state, "state %u, %s", states[i], gw_sub_kind_name(k));
            cr_expect_eq(s.goes_on, r.goes_on, "state %u, %s", states[i], gw_sub_kind_name(k));
            cr_expect(!s.auto_reply);
        }
}

Test(subscription, every_cell_inbound)
{
    for (size_t i = 0; i < STATES; i++)
        for (enum gw_sub_kind k = 0; k < GW_SUB_KIND_COUNT; k++) {
            struct rule r = inbound(states[i], k);
            struct gw_sub_step s = gw_sub_inbound(states[i], k);
            cr_expect_eq(s.state, r.state, "state %u, %s", states[i], gw_sub_kind_name(k));
            cr_expect_eq(s.goes_on, r.goes_on, "state %u, %s", states[i], gw_sub_kind_name(k));
            cr_expect_eq(s.auto_reply, k == GW_SUB_SUBSCRIBE && (states[i] & FROM) != 0);
        }
}

Test(subscription, the_nine_states_are_closed_and_no_other_is_one)
{
    unsigned n = 0;
    for (uint8_t bits = 0; bits < 16; bits++)
        n += gw_sub_is_state(bits);
    cr_assert_eq(n, STATES);
    for (size_t i = 0; i < STATES; i++) {
        cr_assert(gw_sub_is_state(states[i]));
        for (enum gw_sub_kind k = 0; k < GW_SUB_KIND_COUNT; k++) {
            cr_assert(gw_sub_is_state(gw_sub_outbound(states[i], k).state));
            cr_assert(gw_sub_is_state(gw_sub_inbound(states[i], k).state));
        }
    }
}

/* What was lost between two homes is sent again: a second time it changes nothing. */
Test(subscription, every_step_is_idempotent)
{
    for (size_t i = 0; i < STATES; i++)
        for (enum gw_sub_kind k = 0; k < GW_SUB_KIND_COUNT; k++) {
            uint8_t out = gw_sub_outbound(states[i], k).state;
            uint8_t in = gw_sub_inbound(states[i], k).state;
            cr_assert_eq(gw_sub_outbound(out, k).state, out);
            cr_assert_eq(gw_sub_inbound(in, k).state, in);
            cr_assert(!gw_sub_inbound(in, k).goes_on, "nobody hears of it twice");
        }
}

Test(subscription, names)
{
    cr_assert_str_eq(gw_sub_name(OUT | IN), "none");
    cr_assert_str_eq(gw_sub_name(TO | IN), "to");
    cr_assert_str_eq(gw_sub_name(FROM | OUT), "from");
    cr_assert_str_eq(gw_sub_name(TO | FROM), "both");
}
