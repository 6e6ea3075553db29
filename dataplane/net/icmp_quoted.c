/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ICMP errors about segments of ours (RFC 1122 section 3.2.2.1, RFC 4443 section 3). Anybody can send
 * one: TCP is told only what it may have sent (RFC 5927), at a bounded rate, and decides.
 */
#include "internal.h"

#define QUOTED_TCP_BYTES 8u /* ports and sequence number: what a quotation surely holds */

enum { V4_UNREACHABLE_PROTOCOL = 2, V4_UNREACHABLE_PORT = 3, V4_FRAGMENTATION_NEEDED = 4 };
enum { V6_UNREACHABLE = 1, V6_TOO_BIG = 2, V6_PARAMETER = 4 };
enum { V6_PROHIBITED = 1, V6_UNREACHABLE_PORT = 4, V6_UNKNOWN_NEXT_HEADER = 1 };

static void tell_tcp(struct gw_net *n, enum gw_tcp_icmp what, const struct gw_ip *local,
                     const struct gw_ip *remote, const uint8_t *tcp)
{
    if (!rate_take(&n->errors, n->now_us)) {
        GW_COUNT(n->counters.drop_icmp_error_rate);
        return;
    }
    struct gw_tcp_tuple tuple = {*local, *remote, gw_be16(tcp), gw_be16(tcp + 2)};
    GW_COUNT(n->counters.icmp_errors_in);
    gw_tcp_icmp(n->tcp, n->now_us, what, &tuple, gw_be32(tcp + 4));
}

static enum gw_tcp_icmp meaning4(uint8_t code)
{
    if (code == V4_UNREACHABLE_PROTOCOL || code == V4_UNREACHABLE_PORT)
        return GW_TCP_ICMP_HARD;
    return code == V4_FRAGMENTATION_NEEDED ? GW_TCP_ICMP_TOO_BIG : GW_TCP_ICMP_SOFT;
}

void icmp4_error_input(struct gw_net *n, uint8_t code, const uint8_t *quoted, uint32_t len,
                       const uint8_t to[4])
{
    uint32_t header_len = len > 0 ? (quoted[0] & 15u) * 4 : 0;
    if (header_len < IP4_HEADER_BYTES || len < header_len + QUOTED_TCP_BYTES ||
        quoted[0] >> 4 != 4 || quoted[IP4_PROTOCOL] != IP_PROTOCOL_TCP ||
        (gw_be16(quoted + IP4_FRAGMENT) & IP4_FRAGMENT_OFFSET) != 0 ||
        memcmp(quoted + IP4_SOURCE, to, 4) != 0) {
        GW_COUNT(n->counters.drop_icmp_quoted);
        return;
    }
    struct gw_ip local = gw_ip_from_v4(quoted + IP4_SOURCE);
    struct gw_ip remote = gw_ip_from_v4(quoted + IP4_DESTINATION);
    tell_tcp(n, meaning4(code), &local, &remote, quoted + header_len);
}

static enum gw_tcp_icmp meaning6(uint8_t type, uint8_t code)
{
    if (type == V6_TOO_BIG)
        return GW_TCP_ICMP_TOO_BIG;
    if (type == V6_UNREACHABLE && (code == V6_PROHIBITED || code == V6_UNREACHABLE_PORT))
        return GW_TCP_ICMP_HARD;
    return type == V6_PARAMETER && code == V6_UNKNOWN_NEXT_HEADER ? GW_TCP_ICMP_HARD
                                                                  : GW_TCP_ICMP_SOFT;
}

/* We send no extension headers, so none is quoted. */
void icmp6_error_input(struct gw_net *n, uint8_t type, uint8_t code, const uint8_t *quoted,
                       uint32_t len, const uint8_t to[16])
{
    if (len < IP6_HEADER_BYTES + QUOTED_TCP_BYTES || quoted[0] >> 4 != 6 ||
        quoted[IP6_NEXT_HEADER] != IP_PROTOCOL_TCP ||
        memcmp(quoted + IP6_SOURCE, to, 16) != 0) {
        GW_COUNT(n->counters.drop_icmp_quoted);
        return;
    }
    struct gw_ip local = ip_from_v6(quoted + IP6_SOURCE);
    struct gw_ip remote = ip_from_v6(quoted + IP6_DESTINATION);
    if (gw_ip_is_v4(&remote)) {
        GW_COUNT(n->counters.drop_icmp_quoted);
        return;
    }
    tell_tcp(n, meaning6(type, code), &local, &remote, quoted + IP6_HEADER_BYTES);
}
