/* SPDX-License-Identifier: Apache-2.0 */
/* Congestion control: decides cwnd and ssthresh, nothing else. Loss is found by recovery.c. */
#ifndef GW_TCP_CC_H
#define GW_TCP_CC_H

#include <stdint.h>

struct gw_tcp;
struct conn;

struct tcp_cc {
    const char *name;
    /* The connection is established; cwnd has its initial value. */
    void (*begin)(struct gw_tcp *t, struct conn *c);
    /* `bytes` more are acknowledged, outside of fast recovery. */
    void (*acked)(struct gw_tcp *t, struct conn *c, uint32_t bytes);
    /* Loss found by acknowledgements: sets ssthresh; cwnd follows it. */
    void (*lost)(struct gw_tcp *t, struct conn *c);
    /* The first timeout in a row: sets ssthresh. */
    void (*timed_out)(struct gw_tcp *t, struct conn *c);
    /* Nothing was sent for a timeout or longer: cwnd has been set back (RFC 5681 section 4.1). */
    void (*idle)(struct gw_tcp *t, struct conn *c);
};

extern const struct tcp_cc tcp_cc_cubic;
extern const struct tcp_cc tcp_cc_newreno;

#endif
