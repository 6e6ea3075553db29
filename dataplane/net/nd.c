/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Neighbour discovery for IPv6 (RFC 4861): who has this address, for a host whose addresses and
 * routes are configured. So nothing is asked of routers, and what they say is not followed.
 *
 * Duplicate addresses (RFC 4862 section 5.4, RFC 4429): at start each address is asked for, and used
 * at once, without overriding what neighbours know, for the second that an answer may take. When
 * there is one, the address is contested: it stays ours, for an operator has said so and a forged
 * message must not silence a broker; but it is never announced, and no neighbour's entry is
 * overridden, so that the other station keeps what it has. It is counted for the operator to see.
 */
#include "internal.h"

#define ND_BYTES        24u /* of a solicitation or advertisement, without options */
#define ND_OPTION_BYTES 8u
#define ND_FLAGS        4
#define ND_TARGET       8
#define ND_HOP_LIMIT    255 /* no router has passed it on (section 7.1) */
#define ND_SOLICITATION  135
#define ND_ADVERTISEMENT 136

#define FLAG_SOLICITED 0x40
#define FLAG_OVERRIDE  0x20

#define OPTION_SOURCE_MAC 1
#define OPTION_TARGET_MAC 2

/* At start: addresses are asked for, then announced this often, RetransTimer apart. */
#define ANNOUNCEMENTS      3
#define RETRANS_TIMER_US   1000000ull

static const uint8_t none[16];
static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};

void nd_group_of(uint8_t group[16], const uint8_t ip[16])
{
    static const uint8_t solicited[16] = {0xff, 0x02, [11] = 1, [12] = 0xff};
    memcpy(group, solicited, 13);
    memcpy(group + 13, ip + 13, 3);
}

/* Ours by configuration, not one of a range. */
static struct link6 *own_address(struct gw_net *n, const uint8_t ip[16])
{
    for (unsigned i = 0; i < n->link6_count; i++)
        if (memcmp(n->links6[i].ip.b, ip, 16) == 0)
            return &n->links6[i];
    return NULL;
}

/* Before the first announcement nobody may have said yet that an address is taken. */
static bool is_tentative(const struct gw_net *n)
{
    return n->greeting == 0;
}

static bool may_override(struct gw_net *n, const uint8_t ip[16])
{
    const struct link6 *own = own_address(n, ip);
    return !is_tentative(n) && (own == NULL || !own->contested);
}

/* ---- out ---- */

static void group_mac(uint8_t mac[6], const uint8_t group[16])
{
    mac[0] = mac[1] = 0x33; /* RFC 2464 section 7 */
    memcpy(mac + 2, group + 12, 4);
}

/* Writes the message at `p`; returns its length. */
static uint32_t write_message(const struct gw_net *n, uint8_t *p, uint8_t type, uint8_t flags,
                              const uint8_t target[16], uint8_t option)
{
    memset(p, 0, ND_BYTES);
    p[0] = type;
    p[ND_FLAGS] = flags;
    memcpy(p + ND_TARGET, target, 16);
    if (option == 0)
        return ND_BYTES;
    p[ND_BYTES] = option;
    p[ND_BYTES + 1] = 1; /* in units of 8 bytes */
    memcpy(p + ND_BYTES + 2, n->port->mac, 6);
    return ND_BYTES + ND_OPTION_BYTES;
}

/* False: the port had no room. */
static bool solicit(struct gw_net *n, const uint8_t from[16], const uint8_t target[16],
                    const uint8_t *mac, uint8_t option)
{
    uint8_t f[ETH_HEADER_BYTES + IP6_HEADER_BYTES + ND_BYTES + ND_OPTION_BYTES];
    uint8_t to[16], to_mac[6];
    if (mac != NULL) {
        memcpy(to, target, 16);
        memcpy(to_mac, mac, 6);
    } else {
        nd_group_of(to, target);
        group_mac(to_mac, to);
    }
    uint32_t len = write_message(n, f + ETH_HEADER_BYTES + IP6_HEADER_BYTES, ND_SOLICITATION, 0,
                                 target, option);
    if (!icmp6_send(n, f, len, ND_HOP_LIMIT, from, to, to_mac))
        return false;
    GW_COUNT(n->counters.nd_solicitations_out);
    return true;
}

bool nd_solicit(struct gw_net *n, const struct gw_ip *ip, const uint8_t *mac)
{
    const struct link6 *l = link6_of(n, ip->b);
    check(l != NULL); /* only what is on the link is a neighbour */
    /* Naming our Ethernet address would override what neighbours know of the other station. */
    return solicit(n, l->ip.b, ip->b, mac, may_override(n, l->ip.b) ? OPTION_SOURCE_MAC : 0);
}

static void advertise(struct gw_net *n, const uint8_t target[16], uint8_t flags,
                      const uint8_t to[16], const uint8_t to_mac[6])
{
    uint8_t f[ETH_HEADER_BYTES + IP6_HEADER_BYTES + ND_BYTES + ND_OPTION_BYTES];
    if (may_override(n, target))
        flags |= FLAG_OVERRIDE;
    uint32_t len = write_message(n, f + ETH_HEADER_BYTES + IP6_HEADER_BYTES, ND_ADVERTISEMENT,
                                 flags, target, OPTION_TARGET_MAC);
    if (icmp6_send(n, f, len, ND_HOP_LIMIT, target, to, to_mac))
        GW_COUNT(n->counters.nd_advertisements_out);
}

static void advertise_to_all(struct gw_net *n, const uint8_t target[16])
{
    uint8_t mac[6];
    group_mac(mac, all_nodes);
    advertise(n, target, 0, all_nodes, mac);
}

/* ---- at start ---- */

void nd_open(struct gw_net *n, const struct gw_net_config *cfg)
{
    n->announce = cfg->announce;
    n->greet_us = n->mld_us = UINT64_MAX;
    if (n->link6_count == 0)
        return;
    n->greet_us = n->now_us + RETRANS_TIMER_US;
    if (!n->announce)
        return;
    mld_report(n, true);
    for (unsigned i = 0; i < n->link6_count; i++)
        solicit(n, none, n->links6[i].ip.b, NULL, 0);
}

void nd_advance(struct gw_net *n)
{
    n->greeting++;
    n->greet_us = n->greeting == ANNOUNCEMENTS ? UINT64_MAX : n->now_us + RETRANS_TIMER_US;
    if (!n->announce)
        return;
    if (n->greeting == 1)
        mld_report(n, true); /* the first may have been lost (RFC 9777 section 6.1) */
    for (unsigned i = 0; i < n->link6_count; i++)
        if (!n->links6[i].contested)
            advertise_to_all(n, n->links6[i].ip.b);
}

/* ---- in ---- */

/* Checks all options; *mac is where the one of this type has its Ethernet address, or NULL. */
static bool read_options(const uint8_t *p, uint32_t len, uint8_t type, const uint8_t **mac)
{
    *mac = NULL;
    while (len > 0) {
        uint32_t bytes = len < ND_OPTION_BYTES ? 0 : p[1] * ND_OPTION_BYTES;
        if (bytes == 0 || bytes > len)
            return false;
        if (p[0] == type) {
            if (bytes != ND_OPTION_BYTES || !mac_is_possible(p + 2))
                return false;
            *mac = p + 2;
        }
        p += bytes;
        len -= bytes;
    }
    return true;
}

/* RFC 4861 sections 7.1.1 and 7.1.2. */
static bool is_valid(const struct icmp6 *m, const uint8_t **mac)
{
    const uint8_t *p = m->message;
    bool solicitation = p[0] == ND_SOLICITATION;
    if (m->ip[IP6_HOP_LIMIT] != ND_HOP_LIMIT || p[1] != 0 || m->len < ND_BYTES ||
        p[ND_TARGET] == 0xff)
        return false;
    if (!read_options(p + ND_BYTES, m->len - ND_BYTES,
                      solicitation ? OPTION_SOURCE_MAC : OPTION_TARGET_MAC, mac))
        return false;
    bool to_group = m->ip[IP6_DESTINATION] == 0xff;
    if (!solicitation)
        return !(to_group && (p[ND_FLAGS] & FLAG_SOLICITED));
    bool no_source = memcmp(m->ip + IP6_SOURCE, none, 16) == 0;
    /* Groups that we get packets of are solicited-node ones, or of all nodes, which has 0 here. */
    return !no_source || (to_group && m->ip[IP6_DESTINATION + 11] == 1 && *mac == NULL);
}

/* A packet of ours that a switch or driver has sent back speaks against nothing (RFC 4862 section
 * 5.4.3). Elsewhere the source of the frame means little: both ends of a TAP have the same. */
static bool is_own_echo(struct gw_net *n, const struct icmp6 *m)
{
    if (memcmp(m->frame + 6, n->port->mac, 6) != 0)
        return false;
    GW_COUNT(n->counters.drop_nd_own);
    return true;
}

static void contest(struct gw_net *n, const uint8_t ip[16])
{
    struct link6 *own = own_address(n, ip);
    if (is_tentative(n) && own != NULL)
        own->contested = true;
    GW_COUNT(n->counters.drop_nd_conflict);
}

static void share(struct gw_net *n, const struct icmp6 *m)
{
    if (n->share != NULL && !m->shared && m->frame_len <= GW_NET_SHARED_BYTES_MAX)
        n->share(n->share_ctx, m->frame, m->frame_len);
}

/* Another station wants the address: it learns that it is taken, or that we both want it. */
static void heard_probe(struct gw_net *n, const struct icmp6 *m)
{
    const uint8_t *target = m->message + ND_TARGET;
    if (is_own_echo(n, m))
        return;
    share(n, m);
    if (is_tentative(n))
        contest(n, target);
    else if (!m->shared)
        advertise_to_all(n, target);
}

/* Another station says that it has the address. */
static void heard_claim(struct gw_net *n, const struct icmp6 *m, const uint8_t ip[16])
{
    if (is_own_echo(n, m))
        return;
    share(n, m);
    contest(n, ip);
}

static void heard_solicitation(struct gw_net *n, const struct icmp6 *m, const uint8_t *mac)
{
    const uint8_t *source = m->ip + IP6_SOURCE, *target = m->message + ND_TARGET;
    if (!is_ours6(n, target)) {
        GW_COUNT(n->counters.drop_nd_not_for_us);
        return;
    }
    if (!m->shared)
        GW_COUNT(n->counters.nd_solicitations_in);
    if (memcmp(source, none, 16) == 0) {
        heard_probe(n, m);
        return;
    }
    if (is_ours6(n, source)) {
        heard_claim(n, m, source);
        return;
    }
    if (link6_of(n, source) == NULL) {
        GW_COUNT(n->counters.drop_nd_source);
        return;
    }
    share(n, m);
    struct gw_ip asker = ip_from_v6(source);
    if (mac != NULL)
        neighbour_heard(n, n->now_us, &asker, mac);
    if (!m->shared)
        advertise(n, target, FLAG_SOLICITED, source, mac != NULL ? mac : m->frame + 6);
}

static void heard_advertisement(struct gw_net *n, const struct icmp6 *m, const uint8_t *mac)
{
    const uint8_t *target = m->message + ND_TARGET;
    uint8_t flags = m->message[ND_FLAGS];
    if (is_ours6(n, target)) {
        heard_claim(n, m, target);
        return;
    }
    if (link6_of(n, target) == NULL || ip6_source_is_bad(n, target)) {
        GW_COUNT(n->counters.drop_nd_source);
        return;
    }
    share(n, m);
    struct gw_ip ip = ip_from_v6(target);
    if ((flags & FLAG_SOLICITED) &&
        neighbour_answered(n, n->now_us, &ip, mac, (flags & FLAG_OVERRIDE) != 0)) {
        GW_COUNT(n->counters.nd_advertisements_in);
        return;
    }
    if (m->shared)
        return;
    if (mac != NULL)
        neighbour_doubt(n, n->now_us, &ip, mac);
    GW_COUNT(n->counters.drop_nd_unsolicited);
}

void nd_input(struct gw_net *n, const struct icmp6 *m)
{
    const uint8_t *mac;
    if (!is_valid(m, &mac)) {
        GW_COUNT(n->counters.drop_nd_format);
        return;
    }
    if (m->message[0] == ND_SOLICITATION)
        heard_solicitation(n, m, mac);
    else
        heard_advertisement(n, m, mac);
}
