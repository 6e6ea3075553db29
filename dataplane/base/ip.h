/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses: IPv6, with IPv4 mapped into it (RFC 4291 section 2.5.5.2), so that all above IP has one form. */
#ifndef GW_BASE_IP_H
#define GW_BASE_IP_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct gw_ip {
    uint8_t b[16]; /* network order */
};

static inline struct gw_ip gw_ip_from_v4(const uint8_t v4[4])
{
    struct gw_ip ip = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3]}};
    return ip;
}

static inline bool gw_ip_is_v4(const struct gw_ip *ip)
{
    static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(ip->b, prefix, sizeof(prefix)) == 0;
}

/* Bits of that prefix: an IPv4 prefix length of ours is this much more than the one people write. */
#define GW_IP_V4_BITS 96u

/* A literal address of either family ("10.77.0.1", "fd00::1"); false when it is none. */
bool gw_ip_parse(const char *text, struct gw_ip *out);
/* The same the other way. */
#define GW_IP_TEXT_BYTES 46u
void gw_ip_format(const struct gw_ip *ip, char out[GW_IP_TEXT_BYTES]);

static inline bool gw_ip_eq(const struct gw_ip *a, const struct gw_ip *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

/* The addresses that begin with the first `bits` bits of `ip`, counted in the whole of it: an IPv4
 * prefix length is 96 less. The other bits of `ip` may name one host in it. */
struct gw_ip_prefix {
    struct gw_ip ip;
    uint8_t bits;
};

static inline bool gw_ip_in(const struct gw_ip_prefix *p, const struct gw_ip *ip)
{
    unsigned whole = p->bits / 8, rest = p->bits % 8;
    return memcmp(p->ip.b, ip->b, whole) == 0 &&
           (rest == 0 || ((p->ip.b[whole] ^ ip->b[whole]) & (0xff00 >> rest)) == 0);
}

/* "10.77.0.1/24", "fd00::1/64"; false when it is none. */
bool gw_ip_parse_prefix(const char *text, struct gw_ip_prefix *out);

/* What goes to addresses in `to` is given to the router `via`. */
struct gw_ip_route {
    struct gw_ip_prefix to;
    struct gw_ip via;
};

/* An address (all zero: every one) and a port in host order. */
struct gw_ip_port {
    struct gw_ip ip;
    uint16_t port;
};

#endif
