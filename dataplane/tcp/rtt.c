/* SPDX-License-Identifier: Apache-2.0 */
/* Round-trip time and retransmission timeout (RFC 6298). */
#include "stack.h"

void tcp_rtt_init(struct conn *c)
{
    c->srtt_us = 0;
    c->rttvar_us = TCP_RTO_FIRST_US / 4;
}

void tcp_rtt_sample(struct conn *c, uint32_t rtt_us)
{
    if (rtt_us > TCP_RTO_MAX_US)
        rtt_us = TCP_RTO_MAX_US;
    if (c->srtt_us == 0) {
        c->srtt_us = rtt_us > 0 ? rtt_us : 1;
        c->rttvar_us = rtt_us / 2;
        return;
    }
    int32_t err = (int32_t)(rtt_us - c->srtt_us);
    uint32_t magnitude = (uint32_t)(err < 0 ? -err : err);
    c->rttvar_us = (uint32_t)((int32_t)c->rttvar_us + (int32_t)(magnitude - c->rttvar_us) / 4);
    c->srtt_us = (uint32_t)((int32_t)c->srtt_us + err / 8);
    if (c->srtt_us == 0)
        c->srtt_us = 1;
}

uint32_t tcp_rto_us(const struct conn *c)
{
    uint64_t rto = c->srtt_us + UINT64_C(4) * c->rttvar_us;
    if (rto < TCP_RTO_MIN_US)
        rto = TCP_RTO_MIN_US;
    rto <<= c->backoff;
    return rto > TCP_RTO_MAX_US ? TCP_RTO_MAX_US : (uint32_t)rto;
}
