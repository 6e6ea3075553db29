/* SPDX-License-Identifier: Apache-2.0 */
#include "net.h"

#include <errno.h>
#include <stdlib.h>

#include "internal.h"

/* Independent secrets from the one key. */
static void derive_flow_key(struct gw_net *n, const struct gw_sipkey *key)
{
    for (uint8_t i = 0; i < 4; i++) {
        const uint8_t label[] = {'f', 'l', 'o', 'w', i};
        n->flow_key[i] = gw_siphash(key, label, sizeof(label));
    }
}

int gw_net_open(struct gw_net **out, const struct gw_net_config *cfg, struct gw_port *port,
                uint64_t now_us)
{
    struct gw_net *n = calloc(1, sizeof(*n));
    if (n == NULL)
        return -ENOMEM;
    n->port = port;
    n->now_us = now_us;
    n->echo = rate_full(ICMP_ECHO_PER_SECOND, ICMP_ECHO_BURST, now_us);
    n->errors = rate_full(ICMP_ERRORS_PER_SECOND, ICMP_ERRORS_BURST, now_us);
    derive_flow_key(n, &cfg->key);
    int err = addresses_open(n, cfg);
    if (err == 0)
        err = neighbours_open(&n->neighbours, cfg->neighbour_limit, &cfg->key,
                              ETH_HEADER_BYTES + port->mtu, now_us);
    if (err != 0) {
        free(n);
        return err;
    }
    if (cfg->announce)
        arp_announce(n);
    nd_open(n, cfg);
    *out = n;
    return 0;
}

void gw_net_free(struct gw_net **n)
{
    if (*n == NULL)
        return;
    neighbours_close(&(*n)->neighbours);
    free(*n);
    *n = NULL;
}

void gw_net_attach(struct gw_net *n, struct gw_tcp *tcp)
{
    n->tcp = tcp;
}

void gw_net_set_share(struct gw_net *n, gw_net_share_fn share, void *ctx)
{
    n->share = share;
    n->share_ctx = ctx;
}

/* ---- in ---- */

void net_segment(struct gw_net *n, const struct gw_ip *src, const struct gw_ip *dst,
                 const uint8_t *segment, uint32_t len, uint64_t pseudo_sum, bool csum_ok)
{
    if (len < TCP_HEADER_BYTES) {
        GW_COUNT(n->counters.drop_tcp_short);
        return;
    }
    if (!csum_ok && checksum_finish(checksum_add(pseudo_sum, segment, len)) != 0) {
        GW_COUNT(n->counters.drop_tcp_checksum);
        return;
    }
    GW_COUNT(n->counters.rx_tcp);
    n->arrivals[n->arrival_count++] =
        (struct gw_tcp_arrival){.src = *src, .dst = *dst, .segment = segment, .len = len};
}

static void frame_input(struct gw_net *n, const struct gw_frame *f)
{
    GW_COUNT(n->counters.rx_frames);
    GW_COUNT_ADD(n->counters.rx_bytes, f->len);
    if (f->len < ETH_HEADER_BYTES) {
        GW_COUNT(n->counters.drop_eth_short);
        return;
    }
    if (!mac_is_possible(f->data + 6)) {
        GW_COUNT(n->counters.drop_eth_source);
        return;
    }
    uint16_t type = gw_be16(f->data + 12);
    bool to_us = memcmp(f->data, n->port->mac, 6) == 0;
    bool to_many = f->data[0] & 1;
    /* A packet for our IPv4 address alone has no business in a multicast frame (RFC 1122 section
     * 3.3.6); ARP asks everybody, and neighbour discovery asks groups. */
    if (!to_us && !(to_many && (type == ETH_TYPE_ARP || type == ETH_TYPE_IP6)))
        GW_COUNT(n->counters.drop_eth_not_for_us);
    else if (type == ETH_TYPE_IP4)
        ip4_input(n, f);
    else if (type == ETH_TYPE_IP6)
        ip6_input(n, f, false);
    else if (type == ETH_TYPE_ARP)
        arp_input(n, f->data, f->len, false);
    else
        GW_COUNT(n->counters.drop_eth_type);
}

void gw_net_input(struct gw_net *n, uint64_t now_us, const struct gw_frame *frames, unsigned count)
{
    check(count <= GW_PORT_BURST_MAX);
    n->now_us = now_us;
    n->arrival_count = 0;
    for (unsigned i = 0; i < count; i++)
        frame_input(n, &frames[i]);
    if (n->arrival_count > 0)
        gw_tcp_input_burst(n->tcp, now_us, n->arrivals, n->arrival_count);
}

void gw_net_input_shared(struct gw_net *n, uint64_t now_us, const uint8_t *frame, uint32_t len)
{
    n->now_us = now_us;
    if (gw_be16(frame + 12) == ETH_TYPE_ARP) {
        arp_input(n, frame, len, true);
        return;
    }
    uint8_t copy[GW_NET_SHARED_BYTES_MAX];
    check(len <= sizeof(copy));
    memcpy(copy, frame, len);
    ip6_input(n, &(struct gw_frame){.data = copy, .len = len}, true);
}

/* ---- out ---- */

bool net_transmit(struct gw_net *n, const void *header, uint32_t header_len,
                  const struct gw_bytes *payload, unsigned payload_count, uint32_t payload_len,
                  uint32_t gso_bytes)
{
    if (!n->port->ops->tx(n->port, header, header_len, payload, payload_count, gso_bytes))
        return false;
    GW_COUNT(n->counters.tx_frames);
    GW_COUNT_ADD(n->counters.tx_bytes, header_len + payload_len);
    return true;
}

bool net_answer(struct gw_net *n, const void *frame, uint32_t len)
{
    if (net_transmit(n, frame, len, NULL, 0, 0, 0))
        return true;
    GW_COUNT(n->counters.drop_tx_no_room);
    return false;
}

/* ---- time and figures ---- */

void gw_net_advance(struct gw_net *n, uint64_t now_us)
{
    n->now_us = now_us;
    neighbours_advance(n, now_us);
    if (now_us >= n->greet_us)
        nd_advance(n);
    if (now_us >= n->mld_us)
        mld_advance(n);
}

uint64_t gw_net_next_deadline_us(const struct gw_net *n)
{
    uint64_t next = neighbours_next_deadline_us(&n->neighbours);
    if (n->greet_us < next)
        next = n->greet_us;
    return n->mld_us < next ? n->mld_us : next;
}

const struct gw_net_counters *gw_net_counters(const struct gw_net *n)
{
    return &n->counters;
}

struct gw_counter_set gw_net_counter_set(const struct gw_net *n)
{
    static const struct gw_counter_desc descs[] = {GW_NET_COUNTERS(GW_COUNTER_DESC)};
    return (struct gw_counter_set){
        .prefix = "net",
        .descs = descs,
        .values = (const uint64_t *)&n->counters,
        .count = sizeof(descs) / sizeof(descs[0]),
    };
}
