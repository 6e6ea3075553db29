/* SPDX-License-Identifier: Apache-2.0 */
/* ARP for IPv4 over Ethernet: RFC 826, with the checks of RFC 5227. */
#include "internal.h"

#define ARP_BYTES       28u
#define ARP_FRAME_BYTES (ETH_HEADER_BYTES + ARP_BYTES)
#define ARP_REQUEST     1
#define ARP_REPLY       2

/* Offsets in the packet */
#define ARP_OPERATION  6
#define ARP_SENDER_MAC 8
#define ARP_SENDER_IP  14
#define ARP_TARGET_MAC 18
#define ARP_TARGET_IP  24

static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t nobody[6];

/* False: the port had no room. */
static bool arp_send(struct gw_net *n, uint16_t operation, const uint8_t to_mac[6],
                     const uint8_t sender_ip[4], const uint8_t target_mac[6],
                     const uint8_t target_ip[4])
{
    /* Hardware type 1 of 6 bytes, protocol 0x0800 of 4 bytes. */
    static const uint8_t fixed[6] = {0, 1, 8, 0, 6, 4};
    uint8_t f[ARP_FRAME_BYTES];
    memcpy(f, to_mac, 6);
    memcpy(f + 6, n->port->mac, 6);
    gw_put_be16(f + 12, ETH_TYPE_ARP);
    uint8_t *p = f + ETH_HEADER_BYTES;
    memcpy(p, fixed, sizeof(fixed));
    gw_put_be16(p + ARP_OPERATION, operation);
    memcpy(p + ARP_SENDER_MAC, n->port->mac, 6);
    memcpy(p + ARP_SENDER_IP, sender_ip, 4);
    memcpy(p + ARP_TARGET_MAC, target_mac, 6);
    memcpy(p + ARP_TARGET_IP, target_ip, 4);
    if (!net_answer(n, f, sizeof(f)))
        return false;
    if (operation == ARP_REQUEST)
        GW_COUNT(n->counters.arp_requests_out);
    else
        GW_COUNT(n->counters.arp_replies_out);
    return true;
}

bool arp_request(struct gw_net *n, const struct gw_ip *ip, const uint8_t *mac)
{
    const struct link4 *l = link4_of(n, load_raw32(ip->b + 12));
    check(l != NULL); /* only what is on the link is a neighbour */
    return arp_send(n, ARP_REQUEST, mac != NULL ? mac : everybody, (const uint8_t *)&l->ip, nobody,
                    ip->b + 12);
}

void arp_announce(struct gw_net *n)
{
    for (unsigned i = 0; i < n->link4_count; i++) {
        const uint8_t *ip = (const uint8_t *)&n->links4[i].ip;
        arp_send(n, ARP_REQUEST, everybody, ip, nobody, ip);
    }
}

static bool format_is_ours(const uint8_t *p)
{
    uint16_t operation = gw_be16(p + ARP_OPERATION);
    return gw_be16(p) == 1 && gw_be16(p + 2) == ETH_TYPE_IP4 && p[4] == 6 && p[5] == 4 &&
           (operation == ARP_REQUEST || operation == ARP_REPLY);
}

static void answer(struct gw_net *n, const uint8_t *request)
{
    GW_COUNT(n->counters.arp_requests_in);
    arp_send(n, ARP_REPLY, request + ARP_SENDER_MAC, request + ARP_TARGET_IP,
             request + ARP_SENDER_MAC, request + ARP_SENDER_IP);
}

static void heard_request(struct gw_net *n, const uint8_t *p, const struct gw_ip *sender,
                          bool shared)
{
    neighbour_heard(n, n->now_us, sender, p + ARP_SENDER_MAC);
    if (!shared)
        answer(n, p);
}

static void heard_reply(struct gw_net *n, const uint8_t *p, const struct gw_ip *sender, bool shared)
{
    if (neighbour_answered(n, n->now_us, sender, p + ARP_SENDER_MAC, true))
        GW_COUNT(n->counters.arp_replies_in);
    else if (!shared) {
        neighbour_doubt(n, n->now_us, sender, p + ARP_SENDER_MAC);
        GW_COUNT(n->counters.drop_arp_unsolicited);
    }
}

void arp_input(struct gw_net *n, const uint8_t *frame, uint32_t len, bool shared)
{
    const uint8_t *p = frame + ETH_HEADER_BYTES;
    if (len < ARP_FRAME_BYTES) {
        GW_COUNT(n->counters.drop_arp_short);
        return;
    }
    if (!format_is_ours(p)) {
        GW_COUNT(n->counters.drop_arp_format);
        return;
    }
    if (!mac_is_possible(p + ARP_SENDER_MAC)) {
        GW_COUNT(n->counters.drop_arp_sender);
        return;
    }
    bool is_request = gw_be16(p + ARP_OPERATION) == ARP_REQUEST;
    bool for_us = is_ours4(n, load_raw32(p + ARP_TARGET_IP));
    uint32_t sender_ip = load_raw32(p + ARP_SENDER_IP);
    /* A probe (RFC 5227 section 2.1.1) has no sender address yet: nothing is learned from it. */
    if (is_request && for_us && sender_ip == 0) {
        answer(n, p);
        return;
    }
    if (is_ours4(n, sender_ip)) {
        GW_COUNT(n->counters.drop_arp_conflict);
        return;
    }
    if (link4_of(n, sender_ip) == NULL || ip4_source_is_bad(n, sender_ip)) {
        GW_COUNT(n->counters.drop_arp_sender);
        return;
    }
    struct gw_ip sender = gw_ip_from_v4(p + ARP_SENDER_IP);
    if (for_us && n->share != NULL && !shared)
        n->share(n->share_ctx, frame, ARP_FRAME_BYTES);
    if (for_us && is_request)
        heard_request(n, p, &sender, shared);
    else if (!is_request)
        heard_reply(n, p, &sender, shared);
    else {
        neighbour_doubt(n, n->now_us, &sender, p + ARP_SENDER_MAC);
        GW_COUNT(n->counters.drop_arp_not_for_us);
    }
}
