/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, ranges, routes and listening addresses that fit together: what gw_net_open would refuse
 * without a word of why. */
#include "../dataplane/base/check.h"
#include "config_reader.h"

#define V4_BITS 96u
#define IP6_MTU_MIN 1280u /* RFC 8200 section 5 */

static const struct gw_ip every;

/* Reports about one element of a list. */
__attribute__((format(printf, 4, 5))) static void refuse(struct config_reader *r, const char *name,
                                                         const void *element, const char *fmt, ...)
{
    const struct setting *s = setting_find("port", name);
    char text[CONFIG_NET_TEXT_BYTES], what[256];
    va_list ap;
    check(s != NULL);
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    s->form->format(element, text, sizeof(text));
    config_report_add(&r->report, setting_line(r, name), "port.%s has \"%s\", %s", name, text, what);
}

static bool is_v4(const struct gw_ip_prefix *p)
{
    return gw_ip_is_v4(&p->ip);
}

/* 0xff begins an IPv6 group; 224 to 255 are IPv4's groups and broadcast. */
static bool is_one_host(const struct gw_ip *ip)
{
    static const struct gw_ip loopback = {{[15] = 1}};
    if (gw_ip_is_v4(ip))
        return ip->b[12] != 0 && ip->b[12] != 127 && ip->b[12] < 224;
    return ip->b[0] != 0xff && !gw_ip_eq(ip, &every) && !gw_ip_eq(ip, &loopback);
}

/* The network's own address with all bits of the host set or cleared; only IPv4 keeps them free, and
 * only where there are more than two (RFC 3021). */
static struct gw_ip edge_of(const struct gw_ip_prefix *p, bool set)
{
    struct gw_ip ip = p->ip;
    for (unsigned bit = p->bits; bit < 128; bit++) {
        ip.b[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
        if (set)
            ip.b[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
    }
    return ip;
}

static bool has_edges(const struct gw_ip_prefix *p)
{
    return is_v4(p) && p->bits <= 126;
}

static bool has_family(const struct gw_config *c, bool v4)
{
    for (unsigned i = 0; i < c->address_count; i++)
        if (is_v4(&c->addresses[i]) == v4)
            return true;
    return false;
}

static bool is_ours(const struct gw_config *c, const struct gw_ip *ip)
{
    for (unsigned i = 0; i < c->address_count; i++)
        if (gw_ip_eq(&c->addresses[i].ip, ip))
            return true;
    for (unsigned i = 0; i < c->range_count; i++)
        if (gw_ip_in(&c->ranges[i], ip))
            return true;
    return false;
}

static bool is_on_link(const struct gw_config *c, const struct gw_ip *ip)
{
    static const struct gw_ip_prefix link_local = {{{0xfe, 0x80}}, 64};
    for (unsigned i = 0; i < c->address_count; i++)
        if (is_v4(&c->addresses[i]) == gw_ip_is_v4(ip) && gw_ip_in(&c->addresses[i], ip))
            return true;
    return has_family(c, false) && gw_ip_in(&link_local, ip);
}

static void check_address(struct config_reader *r, unsigned i)
{
    const struct gw_config *c = r->config;
    const struct gw_ip_prefix *a = &c->addresses[i];
    struct gw_ip first = edge_of(a, false), last = edge_of(a, true);
    if (!is_one_host(&a->ip))
        refuse(r, "addresses", a, "which is not the address of one host, accepted: unicast addresses");
    else if (has_edges(a) && (gw_ip_eq(&a->ip, &first) || gw_ip_eq(&a->ip, &last)))
        refuse(r, "addresses", a, "which is the network or its broadcast, accepted: a host's address");
    for (unsigned j = 0; j < i; j++)
        if (gw_ip_eq(&a->ip, &c->addresses[j].ip))
            refuse(r, "addresses", a, "twice, accepted: each address once");
}

static void check_range(struct config_reader *r, const struct gw_ip_prefix *range)
{
    static const struct gw_ip mapped = {{[10] = 0xff, [11] = 0xff}};
    const struct gw_config *c = r->config;
    bool v4 = is_v4(range);
    if (!is_one_host(&range->ip) || (!v4 && gw_ip_in(range, &mapped)))
        refuse(r, "ranges", range, "which are not hosts' addresses, accepted: unicast addresses");
    else if (!has_family(c, v4))
        refuse(r, "ranges", range, "accepted: ranges of a family that is in port.addresses");
    for (unsigned i = 0; i < c->address_count; i++) {
        const struct gw_ip_prefix *net = &c->addresses[i];
        struct gw_ip first = edge_of(net, false), last = edge_of(net, true);
        if (v4 && has_edges(net) && (gw_ip_in(range, &first) || gw_ip_in(range, &last))) {
            char text[GW_IP_TEXT_BYTES];
            gw_ip_format(gw_ip_in(range, &first) ? &first : &last, text);
            refuse(r, "ranges", range, "in which is %s, the network or broadcast address of one of "
                   "port.addresses, accepted: ranges without it", text);
        }
    }
}

static void check_route(struct config_reader *r, const struct gw_ip_route *route)
{
    const struct gw_config *c = r->config;
    if (!is_one_host(&route->via) || !is_on_link(c, &route->via))
        refuse(r, "routes", route, "whose router is in no network of port.addresses, accepted: "
                                   "routers there");
    else if (is_ours(c, &route->via))
        refuse(r, "routes", route, "whose router is the broker itself, accepted: another station");
}

static void check_listen(struct config_reader *r, unsigned i)
{
    const struct gw_config *c = r->config;
    const struct gw_ip_port *l = &c->listen[i];
    if (!gw_ip_eq(&l->ip, &every) && !is_ours(c, &l->ip))
        refuse(r, "listen", l, "accepted: an address of port.addresses or port.ranges, or *");
    for (unsigned j = 0; j < i; j++)
        if (l->port == c->listen[j].port && gw_ip_eq(&l->ip, &c->listen[j].ip))
            refuse(r, "listen", l, "twice, accepted: each once");
}

void config_check_net(struct config_reader *r)
{
    const struct gw_config *c = r->config;
    if (c->address_count == 0 && setting_line(r, "addresses") != 0)
        config_report_add(&r->report, setting_line(r, "addresses"),
                          "port.addresses is empty, accepted: 1 to %u addresses",
                          GW_NET_ADDRESSES_MAX);
    if (c->listen_count == 0)
        config_report_add(&r->report, setting_line(r, "listen"),
                          "port.listen is empty, accepted: 1 to %u addresses with ports",
                          GW_CONFIG_LISTEN_MAX);
    if (has_family(c, false) && c->port_mtu < IP6_MTU_MIN)
        config_report_add(&r->report, setting_line(r, "port_mtu"),
                          "port.port_mtu is %u, accepted with an IPv6 address: at least %u",
                          c->port_mtu, IP6_MTU_MIN);
    if (r->port_unread || c->address_count == 0)
        return; /* what could not be read is reported, and would lead to more than is wrong */
    for (unsigned i = 0; i < c->address_count; i++)
        check_address(r, i);
    for (unsigned i = 0; i < c->range_count; i++)
        check_range(r, &c->ranges[i]);
    for (unsigned i = 0; i < c->route_count; i++)
        check_route(r, &c->routes[i]);
    for (unsigned i = 0; i < c->listen_count; i++)
        check_listen(r, i);
}
