/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses are ours, which are on the link, and which way the others go. */
#include <arpa/inet.h>
#include <errno.h>

#include "internal.h"

#define V4_BITS 96u /* of the prefix under which IPv4 addresses lie */

static const struct gw_ip none;

/* ---- prefixes ---- */

static uint64_t mask64(unsigned bits)
{
    uint8_t b[8];
    gw_put_be64(b, bits == 0 ? 0 : UINT64_MAX << (64 - bits));
    return load_raw64(b);
}

static struct prefix4 prefix4_of(const struct gw_ip_prefix *p)
{
    unsigned bits = p->bits - V4_BITS;
    struct prefix4 q = {.mask = bits == 0 ? 0 : htonl(UINT32_MAX << (32 - bits))};
    q.ip = load_raw32(p->ip.b + 12) & q.mask;
    return q;
}

static struct prefix6 prefix6_of(const struct gw_ip_prefix *p)
{
    unsigned bits = p->bits;
    struct prefix6 q = {.mask = {mask64(bits < 64 ? bits : 64), mask64(bits > 64 ? bits - 64 : 0)}};
    q.ip[0] = load_raw64(p->ip.b) & q.mask[0];
    q.ip[1] = load_raw64(p->ip.b + 8) & q.mask[1];
    return q;
}

static bool is_v4(const struct gw_ip_prefix *p)
{
    return gw_ip_is_v4(&p->ip) && p->bits >= V4_BITS;
}

static bool is_possible(const struct gw_ip_prefix *p)
{
    return p->bits <= 128 && (p->bits >= V4_BITS || !gw_ip_is_v4(&p->ip));
}

/* A packet of IPv6 to such an address would be taken for one of IPv4. */
static bool holds_mapped(const struct gw_ip_prefix *p)
{
    static const struct gw_ip v4 = {{[10] = 0xff, [11] = 0xff}};
    return !is_v4(p) && gw_ip_in(p, &v4);
}

static bool is_unicast(const struct gw_ip *ip)
{
    if (gw_ip_is_v4(ip))
        return ip->b[12] != 0 && ip->b[12] != 127 && ip->b[12] < 224;
    static const struct gw_ip loopback = {{[15] = 1}};
    return ip->b[0] != 0xff && !gw_ip_eq(ip, &none) && !gw_ip_eq(ip, &loopback);
}

/* ---- open ---- */

static void add_local(struct gw_net *n, const struct gw_ip_prefix *p)
{
    if (is_v4(p))
        n->locals4[n->local4_count++] = prefix4_of(p);
    else
        n->locals6[n->local6_count++] = prefix6_of(p);
}

/* Longer prefixes first; of equal ones the earlier stays first, so a link before a route. */
static void add_hop(struct gw_net *n, const struct gw_ip_prefix *to, const struct gw_ip *via)
{
    struct gw_ip hop = via != NULL ? *via : none;
    if (is_v4(to)) {
        struct prefix4 p = prefix4_of(to);
        unsigned at = n->hop4_count++;
        for (; at > 0 && ntohl(n->hops4[at - 1].to.mask) < ntohl(p.mask); at--)
            n->hops4[at] = n->hops4[at - 1];
        n->hops4[at] = (struct hop4){p, via == NULL, hop};
        return;
    }
    struct prefix6 p = prefix6_of(to);
    unsigned at = n->hop6_count++;
    for (; at > 0 && memcmp(n->hops6[at - 1].to.mask, p.mask, sizeof(p.mask)) < 0; at--)
        n->hops6[at] = n->hops6[at - 1];
    n->hops6[at] = (struct hop6){p, via == NULL, hop};
}

static void add_address(struct gw_net *n, const struct gw_ip_prefix *a)
{
    struct gw_ip_prefix host = {a->ip, 128};
    add_local(n, &host);
    add_hop(n, a, NULL);
    if (is_v4(a))
        n->links4[n->link4_count++] = (struct link4){prefix4_of(a), load_raw32(a->ip.b + 12)};
    else
        n->links6[n->link6_count++] = (struct link6){prefix6_of(a), a->ip, false};
}

/* fe80::/64 with an interface identifier that is always the same for an Ethernet address, and not the
 * one that the kernel makes of it (RFC 2464): both ends of a TAP have the same Ethernet address. */
static struct gw_ip_prefix link_local(const uint8_t mac[6])
{
    static const struct gw_sipkey fixed;
    struct gw_ip_prefix p = {{{0xfe, 0x80}}, 64};
    gw_put_be64(p.ip.b + 8, gw_siphash(&fixed, mac, 6));
    return p;
}

/* True when a network of ours has its network or broadcast address in the range. */
static bool holds_a_broadcast(const struct gw_net *n, const struct gw_ip_prefix *range)
{
    if (!is_v4(range))
        return false;
    struct prefix4 r = prefix4_of(range);
    for (unsigned i = 0; i < n->link4_count; i++) {
        const struct prefix4 *net = &n->links4[i].net;
        if (ntohl(~net->mask) > 1 &&
            (in_prefix4(&r, net->ip) || in_prefix4(&r, net->ip | ~net->mask)))
            return true;
    }
    return false;
}

static bool is_ours(const struct gw_net *n, const struct gw_ip *ip)
{
    return gw_ip_is_v4(ip) ? is_ours4(n, load_raw32(ip->b + 12)) : is_ours6(n, ip->b);
}

static bool is_on_link(struct gw_net *n, const struct gw_ip *ip)
{
    return gw_ip_is_v4(ip) ? link4_of(n, load_raw32(ip->b + 12)) != NULL
                           : link6_of(n, ip->b) != NULL;
}

static bool route_is_possible(struct gw_net *n, const struct gw_ip_route *r)
{
    return is_possible(&r->to) && is_unicast(&r->via) && is_v4(&r->to) == gw_ip_is_v4(&r->via) &&
           is_on_link(n, &r->via) && !is_ours(n, &r->via);
}

static int open_addresses(struct gw_net *n, const struct gw_net_config *cfg)
{
    if (cfg->address_count == 0 || cfg->address_count > GW_NET_ADDRESSES_MAX)
        return -EINVAL;
    bool v6 = false;
    for (unsigned i = 0; i < cfg->address_count; i++) {
        const struct gw_ip_prefix *a = &cfg->addresses[i];
        if (!is_possible(a) || !is_unicast(&a->ip))
            return -EINVAL;
        v6 |= !is_v4(a);
    }
    if (v6) {
        if (n->port->mtu < IP6_MTU_MIN)
            return -EINVAL;
        struct gw_ip_prefix own = link_local(n->port->mac);
        add_address(n, &own);
    }
    for (unsigned i = 0; i < cfg->address_count; i++)
        add_address(n, &cfg->addresses[i]);
    return 0;
}

int addresses_open(struct gw_net *n, const struct gw_net_config *cfg)
{
    int err = open_addresses(n, cfg);
    if (err != 0)
        return err;
    if (cfg->range_count > GW_NET_RANGES_MAX || cfg->route_count > GW_NET_ROUTES_MAX)
        return -EINVAL;
    for (unsigned i = 0; i < cfg->range_count; i++) {
        const struct gw_ip_prefix *r = &cfg->ranges[i];
        bool family = is_v4(r) ? n->link4_count > 0 : n->link6_count > 0;
        if (!is_possible(r) || !is_unicast(&r->ip) || !family || holds_mapped(r) ||
            holds_a_broadcast(n, r))
            return -EINVAL;
        add_local(n, r);
    }
    for (unsigned i = 0; i < cfg->route_count; i++) {
        if (!route_is_possible(n, &cfg->routes[i]))
            return -EINVAL;
        add_hop(n, &cfg->routes[i].to, &cfg->routes[i].via);
    }
    return 0;
}

/* ---- looking up ---- */

const struct link4 *link4_of(const struct gw_net *n, uint32_t ip)
{
    for (unsigned i = 0; i < n->link4_count; i++)
        if (in_prefix4(&n->links4[i].net, ip))
            return &n->links4[i];
    return NULL;
}

struct link6 *link6_of(struct gw_net *n, const uint8_t ip[16])
{
    uint64_t ip0 = load_raw64(ip), ip1 = load_raw64(ip + 8);
    for (unsigned i = 0; i < n->link6_count; i++)
        if (in_prefix6(&n->links6[i].net, ip0, ip1))
            return &n->links6[i];
    return NULL;
}

const struct gw_ip *net_hop(const struct gw_net *n, const struct gw_ip *to)
{
    if (gw_ip_is_v4(to)) {
        uint32_t ip = load_raw32(to->b + 12);
        for (unsigned i = 0; i < n->hop4_count; i++)
            if (in_prefix4(&n->hops4[i].to, ip))
                return n->hops4[i].on_link ? to : &n->hops4[i].via;
        return NULL;
    }
    uint64_t ip0 = load_raw64(to->b), ip1 = load_raw64(to->b + 8);
    for (unsigned i = 0; i < n->hop6_count; i++)
        if (in_prefix6(&n->hops6[i].to, ip0, ip1))
            return n->hops6[i].on_link ? to : &n->hops6[i].via;
    return NULL;
}
