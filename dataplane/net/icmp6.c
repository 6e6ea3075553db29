/* SPDX-License-Identifier: Apache-2.0 */
/* ICMPv6 (RFC 4443): which message goes where, echo, and sending. */
#include "internal.h"

#define ICMP6_HEADER_BYTES 8u

enum {
    ICMP6_UNREACHABLE = 1,
    ICMP6_TOO_BIG = 2,
    ICMP6_TIME_EXCEEDED = 3,
    ICMP6_PARAMETER = 4,
    ICMP6_ECHO = 128,
    ICMP6_ECHO_REPLY = 129,
    ICMP6_MLD_QUERY = 130,
    ICMP6_SOLICITATION = 135,
    ICMP6_ADVERTISEMENT = 136,
};

bool icmp6_send(struct gw_net *n, uint8_t *frame, uint32_t len, uint8_t hop_limit,
                const uint8_t from[16], const uint8_t to[16], const uint8_t to_mac[6])
{
    uint8_t *ip = frame + ETH_HEADER_BYTES, *message = ip + IP6_HEADER_BYTES;
    memcpy(frame, to_mac, 6);
    memcpy(frame + 6, n->port->mac, 6);
    gw_put_be16(frame + 12, ETH_TYPE_IP6);
    ip6_write_header(ip, len, IP_PROTOCOL_ICMP6, hop_limit, 0, from, to);
    gw_put_be16(message + 2, 0);
    uint16_t sum = checksum_finish(
        checksum_add(ip6_pseudo_sum(ip, IP_PROTOCOL_ICMP6, len), message, len));
    memcpy(message + 2, &sum, 2);
    return net_answer(n, frame, ETH_HEADER_BYTES + IP6_HEADER_BYTES + len);
}

/* The answer goes back in the frame, without the extension headers of the request. */
static void answer_echo(struct gw_net *n, const struct icmp6 *m)
{
    uint8_t from[16], to[16], back_to[6];
    memcpy(from, m->ip + IP6_DESTINATION, 16);
    memcpy(to, m->ip + IP6_SOURCE, 16);
    memcpy(back_to, m->frame + 6, 6);
    m->message[0] = ICMP6_ECHO_REPLY;
    if (icmp6_send(n, m->message - IP6_HEADER_BYTES - ETH_HEADER_BYTES, m->len, IP_HOP_LIMIT, from,
                   to, back_to))
        GW_COUNT(n->counters.icmp_echo_replies);
}

/* Asked by multicast we stay silent, as RFC 4443 section 4.2 allows: nobody shall reach many of us by
 * one packet. */
static void echo_input(struct gw_net *n, const struct icmp6 *m)
{
    struct gw_net_counters *c = &n->counters;
    if (m->message[1] != 0 || (m->frame[0] & 1))
        GW_COUNT(c->drop_icmp_type);
    else if (IP6_HEADER_BYTES + m->len > n->port->mtu)
        GW_COUNT(c->drop_icmp_size);
    else if (!rate_take(&n->echo, n->now_us))
        GW_COUNT(c->drop_icmp_rate);
    else
        answer_echo(n, m);
}

void icmp6_input(struct gw_net *n, const struct icmp6 *m)
{
    struct gw_net_counters *c = &n->counters;
    if (m->len < ICMP6_HEADER_BYTES) {
        GW_COUNT(c->drop_icmp_short);
        return;
    }
    uint64_t sum = ip6_pseudo_sum(m->ip, IP_PROTOCOL_ICMP6, m->len);
    if (checksum_finish(checksum_add(sum, m->message, m->len)) != 0) {
        GW_COUNT(c->drop_icmp_checksum);
        return;
    }
    switch (m->message[0]) {
    case ICMP6_UNREACHABLE:
    case ICMP6_TOO_BIG:
    case ICMP6_TIME_EXCEEDED:
    case ICMP6_PARAMETER:
        icmp6_error_input(n, m->message[0], m->message[1], m->message + ICMP6_HEADER_BYTES,
                          m->len - ICMP6_HEADER_BYTES, m->ip + IP6_DESTINATION);
        break;
    case ICMP6_ECHO:
        echo_input(n, m);
        break;
    case ICMP6_MLD_QUERY:
        mld_query_input(n, m);
        break;
    case ICMP6_SOLICITATION:
    case ICMP6_ADVERTISEMENT:
        nd_input(n, m);
        break;
    default:
        /* Router advertisements and redirects among them: our routes are configured. */
        GW_COUNT(c->drop_icmp_type);
    }
}
