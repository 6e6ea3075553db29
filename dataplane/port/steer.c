/* SPDX-License-Identifier: Apache-2.0 */
#define ALLOW_EXPERIMENTAL_API /* rte_thash_complete_matrix */
#include "steer.h"

#include <rte_ether.h>
#include <rte_thash.h>

#include "../base/bytes.h"
#include "../base/check.h"
#include "steer_int.h"

#define ETHERNET_BYTES   14u
#define IP4_HEADER_BYTES 20u
#define IP6_HEADER_BYTES 40u
#define IP4_ADDRESSES    12u /* offsets */
#define IP6_ADDRESSES    8u
#define PORTS_BYTES      4u
#define PROTOCOL_TCP     6u
#define IP4_FRAGMENT_MASK 0x3fff /* more fragments, and the offset */
/* More than these are no packet of an honest host. */
#define EXTENSION_HEADERS_MAX 8

void gw_steer_init(struct gw_steer *s, const uint8_t key[GW_STEER_KEY_BYTES], unsigned lcore_count,
                   unsigned slots)
{
    check(lcore_count >= 1 && lcore_count <= GW_STEER_LCORES_MAX);
    check(slots >= 1 && slots <= GW_STEER_SLOTS_MAX && (slots & (slots - 1)) == 0);
    memcpy(s->key, key, sizeof(s->key));
    for (unsigned i = 0; i < GW_STEER_KEY_BYTES / 4; i++)
        s->words[i] = gw_be32(key + 4 * i);
    s->gfni = steer_gfni_is_there();
    rte_thash_complete_matrix(s->matrices, key, GW_STEER_KEY_BYTES);
    s->lcore_count = (uint8_t)lcore_count;
    s->slot_mask = slots - 1;
    for (unsigned i = 0; i < slots; i++)
        s->lcores[i] = (uint8_t)(i % lcore_count);
}

uint32_t steer_hash_plain(const struct gw_steer *s, const uint8_t *bytes, unsigned len)
{
    uint32_t words[STEER_TUPLE_BYTES_MAX / 4];
    for (unsigned i = 0; i < len / 4; i++)
        words[i] = gw_be32(bytes + 4 * i);
    return rte_softrss_be(words, len / 4, (const uint8_t *)s->words);
}

static uint32_t hash(const struct gw_steer *s, const uint8_t *bytes, unsigned len)
{
    return s->gfni ? steer_hash_gfni(s, bytes, len) : steer_hash_plain(s, bytes, len);
}

/* ---- a tuple ---- */

uint32_t gw_steer_hash_tcp(const struct gw_steer *s, const struct gw_ip *remote,
                           const struct gw_ip *local, uint16_t remote_port, uint16_t local_port)
{
    uint8_t bytes[STEER_TUPLE_BYTES_MAX];
    bool v4 = gw_ip_is_v4(remote);
    unsigned from = v4 ? 12 : 0, each = v4 ? 4 : 16;
    memcpy(bytes, remote->b + from, each);
    memcpy(bytes + each, local->b + from, each);
    gw_put_be16(bytes + 2 * each, remote_port);
    gw_put_be16(bytes + 2 * each + 2, local_port);
    return hash(s, bytes, 2 * each + PORTS_BYTES);
}

unsigned gw_steer_lcore_of_tcp(const struct gw_steer *s, const struct gw_ip *remote,
                               const struct gw_ip *local, uint16_t remote_port, uint16_t local_port)
{
    return gw_steer_lcore_of_hash(s,
                                  gw_steer_hash_tcp(s, remote, local, remote_port, local_port));
}

/* ---- a frame ---- */

/* Addresses and ports of a packet with nothing between them lie there as the hash wants them. */
static uint32_t hash_apart(const struct gw_steer *s, const uint8_t *addresses,
                           unsigned addresses_len, const uint8_t *ports)
{
    uint8_t bytes[STEER_TUPLE_BYTES_MAX];
    memcpy(bytes, addresses, addresses_len);
    memcpy(bytes + addresses_len, ports, PORTS_BYTES);
    return hash(s, bytes, addresses_len + PORTS_BYTES);
}

static bool hash_ip4(const struct gw_steer *s, const uint8_t *ip, uint32_t len, uint32_t *out)
{
    if (len < IP4_HEADER_BYTES)
        return false;
    const uint8_t *addresses = ip + IP4_ADDRESSES;
    uint32_t header_len = (ip[0] & 15u) * 4;
    bool whole = (gw_be16(ip + 6) & IP4_FRAGMENT_MASK) == 0;
    if (ip[9] != PROTOCOL_TCP || !whole || header_len < IP4_HEADER_BYTES ||
        len < header_len + PORTS_BYTES)
        *out = hash(s, addresses, 8);
    else if (header_len == IP4_HEADER_BYTES)
        *out = hash(s, addresses, 8 + PORTS_BYTES);
    else
        *out = hash_apart(s, addresses, 8, ip + header_len);
    return true;
}

/* Where TCP begins in an IPv6 packet, or 0 when it has none or is a fragment (RFC 8200 section 4). */
static uint32_t tcp_in_ip6(const uint8_t *ip, uint32_t len)
{
    uint8_t next = ip[6];
    uint32_t at = IP6_HEADER_BYTES;
    for (int i = 0; next != PROTOCOL_TCP; i++) {
        bool can_be_skipped = next == 0 || next == 43 || next == 60; /* hop by hop, routing, dest. */
        if (!can_be_skipped || i == EXTENSION_HEADERS_MAX || len < at + 8)
            return 0;
        next = ip[at];
        at += (ip[at + 1] + 1u) * 8;
    }
    return len >= at + PORTS_BYTES ? at : 0;
}

static bool hash_ip6(const struct gw_steer *s, const uint8_t *ip, uint32_t len, uint32_t *out)
{
    if (len < IP6_HEADER_BYTES)
        return false;
    const uint8_t *addresses = ip + IP6_ADDRESSES;
    uint32_t tcp = tcp_in_ip6(ip, len);
    if (tcp == 0)
        *out = hash(s, addresses, 32);
    else if (tcp == IP6_HEADER_BYTES)
        *out = hash(s, addresses, 32 + PORTS_BYTES);
    else
        *out = hash_apart(s, addresses, 32, ip + tcp);
    return true;
}

bool gw_steer_hash_frame(const struct gw_steer *s, const uint8_t *frame, uint32_t len,
                         uint32_t *out)
{
    if (len < ETHERNET_BYTES)
        return false;
    switch (gw_be16(frame + 12)) {
    case RTE_ETHER_TYPE_IPV4:
        return hash_ip4(s, frame + ETHERNET_BYTES, len - ETHERNET_BYTES, out);
    case RTE_ETHER_TYPE_IPV6:
        return hash_ip6(s, frame + ETHERNET_BYTES, len - ETHERNET_BYTES, out);
    default:
        return false;
    }
}
