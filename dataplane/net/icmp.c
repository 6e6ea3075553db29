/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP for IPv4 in: echo (RFC 792, RFC 1122 section 3.2.2.6); errors go to icmp_quoted.c. */
#include "internal.h"

#define ICMP_HEADER_BYTES 8u
#define ICMP_ECHO_REPLY   0
#define ICMP_UNREACHABLE  3
#define ICMP_ECHO         8

/* The answer goes back in the frame, from the address that was asked to where the question came from.
 * Options of the request are left out, so its headers may start later in the frame. */
static void answer_echo(struct gw_net *n, uint8_t *frame, uint8_t *message, uint32_t len)
{
    uint8_t back_to[6], from[4], to[4];
    memcpy(back_to, frame + 6, 6);
    memcpy(to, frame + ETH_HEADER_BYTES + IP4_SOURCE, 4);
    memcpy(from, frame + ETH_HEADER_BYTES + IP4_DESTINATION, 4);
    uint8_t *ip = message - IP4_HEADER_BYTES;
    uint8_t *eth = ip - ETH_HEADER_BYTES;
    message[0] = ICMP_ECHO_REPLY;
    gw_put_be16(message + 2, 0);
    uint16_t sum = checksum_finish(checksum_add(0, message, len));
    memcpy(message + 2, &sum, 2);
    ip4_write_header(n, ip, IP4_HEADER_BYTES + len, IP_PROTOCOL_ICMP, from, to);
    memcpy(eth, back_to, 6);
    memcpy(eth + 6, n->port->mac, 6);
    gw_put_be16(eth + 12, ETH_TYPE_IP4);
    if (net_answer(n, eth, ETH_HEADER_BYTES + IP4_HEADER_BYTES + len))
        GW_COUNT(n->counters.icmp_echo_replies);
}

void icmp4_input(struct gw_net *n, uint8_t *frame, uint8_t *message, uint32_t len)
{
    struct gw_net_counters *c = &n->counters;
    if (len < ICMP_HEADER_BYTES)
        GW_COUNT(c->drop_icmp_short);
    else if (checksum_finish(checksum_add(0, message, len)) != 0)
        GW_COUNT(c->drop_icmp_checksum);
    else if (message[0] == ICMP_UNREACHABLE)
        icmp4_error_input(n, message[1], message + ICMP_HEADER_BYTES, len - ICMP_HEADER_BYTES,
                          frame + ETH_HEADER_BYTES + IP4_DESTINATION);
    else if (message[0] != ICMP_ECHO || message[1] != 0)
        GW_COUNT(c->drop_icmp_type);
    else if (IP4_HEADER_BYTES + len > n->port->mtu)
        GW_COUNT(c->drop_icmp_size);
    else if (!rate_take(&n->echo, n->now_us))
        GW_COUNT(c->drop_icmp_rate);
    else
        answer_echo(n, frame, message, len);
}
