/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP for IPv4: echo (RFC 792, RFC 1122 section 3.2.2.6). Errors are not acted upon here. */
#include "internal.h"

#define ICMP_HEADER_BYTES 8u
#define ICMP_ECHO_REPLY   0
#define ICMP_ECHO         8

static bool is_echo(struct gw_net *n, const uint8_t *message, uint32_t len)
{
    if (len < ICMP_HEADER_BYTES) {
        GW_COUNT(n->counters.drop_icmp_short);
        return false;
    }
    if (checksum_finish(checksum_add(0, message, len)) != 0) {
        GW_COUNT(n->counters.drop_icmp_checksum);
        return false;
    }
    if (message[0] != ICMP_ECHO || message[1] != 0) {
        GW_COUNT(n->counters.drop_icmp_type);
        return false;
    }
    return true;
}

void icmp4_input(struct gw_net *n, uint8_t *frame, uint8_t *message, uint32_t len)
{
    if (!is_echo(n, message, len))
        return;
    if (IP4_HEADER_BYTES + len > n->port->mtu) {
        GW_COUNT(n->counters.drop_icmp_size);
        return;
    }
    if (!rate_take(&n->echo, n->now_us)) {
        GW_COUNT(n->counters.drop_icmp_rate);
        return;
    }
    /* The answer goes back in the frame, to where it came from. Options of the request are left
     * out, so its headers may start later in the frame. */
    uint8_t back_to[6];
    memcpy(back_to, frame + 6, 6);
    uint32_t source = load_raw32(frame + ETH_HEADER_BYTES + 12);
    uint8_t *ip = message - IP4_HEADER_BYTES;
    uint8_t *eth = ip - ETH_HEADER_BYTES;
    message[0] = ICMP_ECHO_REPLY;
    gw_put_be16(message + 2, 0);
    uint16_t sum = checksum_finish(checksum_add(0, message, len));
    memcpy(message + 2, &sum, 2);
    ip4_write_header(n, ip, IP4_HEADER_BYTES + len, IP_PROTOCOL_ICMP, source);
    memcpy(eth, back_to, 6);
    memcpy(eth + 6, n->port->mac, 6);
    gw_put_be16(eth + 12, ETH_TYPE_IP4);
    if (net_answer(n, eth, ETH_HEADER_BYTES + IP4_HEADER_BYTES + len))
        GW_COUNT(n->counters.icmp_echo_replies);
}
