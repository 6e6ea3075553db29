/* SPDX-License-Identifier: Apache-2.0 */
#include "net.h"

#include <errno.h>
#include <stdlib.h>

#include "internal.h"

int gw_net_open(struct gw_net **out, const struct gw_net_config *cfg, struct gw_port *port,
                uint64_t now_us)
{
    static const struct gw_ip none;
    if (!gw_ip_is_v4(&cfg->address) || cfg->prefix_len > 32)
        return -EINVAL;
    if (!gw_ip_is_v4(&cfg->gateway) && !gw_ip_eq(&cfg->gateway, &none))
        return -EINVAL;
    struct gw_net *n = calloc(1, sizeof(*n));
    if (n == NULL)
        return -ENOMEM;
    n->port = port;
    n->now_us = now_us;
    n->address = cfg->address;
    n->echo = rate_full(ICMP_ECHO_PER_SECOND, ICMP_ECHO_BURST, now_us);
    ip4_open(n, cfg);
    int err = neighbours_open(&n->neighbours, cfg->neighbour_limit, &cfg->key,
                              ETH_HEADER_BYTES + port->mtu, now_us);
    if (err != 0) {
        free(n);
        return err;
    }
    arp_announce(n);
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

static bool source_mac_is_bad(const uint8_t *frame)
{
    static const uint8_t zero[6];
    return (frame[6] & 1) || memcmp(frame + 6, zero, 6) == 0;
}

static void frame_input(struct gw_net *n, const struct gw_frame *f)
{
    GW_COUNT(n->counters.rx_frames);
    GW_COUNT_ADD(n->counters.rx_bytes, f->len);
    if (f->len < ETH_HEADER_BYTES) {
        GW_COUNT(n->counters.drop_eth_short);
        return;
    }
    if (source_mac_is_bad(f->data)) {
        GW_COUNT(n->counters.drop_eth_source);
        return;
    }
    uint16_t type = gw_be16(f->data + 12);
    bool to_us = memcmp(f->data, n->port->mac, 6) == 0;
    bool to_many = f->data[0] & 1;
    /* A packet for our IP address alone has no business in a multicast frame (RFC 1122 section
     * 3.3.6); only ARP asks everybody. */
    if (!to_us && !(to_many && type == ETH_TYPE_ARP))
        GW_COUNT(n->counters.drop_eth_not_for_us);
    else if (type == ETH_TYPE_IP4)
        ip4_input(n, f);
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
    arp_input(n, frame, len, true);
}

/* ---- out ---- */

bool net_transmit(struct gw_net *n, const void *header, uint32_t header_len,
                  const struct gw_bytes *payload, unsigned payload_count, uint32_t gso_bytes)
{
    if (!n->port->ops->tx(n->port, header, header_len, payload, payload_count, gso_bytes))
        return false;
    uint64_t bytes = header_len;
    for (unsigned i = 0; i < payload_count; i++)
        bytes += payload[i].len;
    GW_COUNT(n->counters.tx_frames);
    GW_COUNT_ADD(n->counters.tx_bytes, bytes);
    return true;
}

bool net_answer(struct gw_net *n, const void *frame, uint32_t len)
{
    if (net_transmit(n, frame, len, NULL, 0, 0))
        return true;
    GW_COUNT(n->counters.drop_tx_no_room);
    return false;
}

static bool port_cuts(const struct gw_net *n, const struct gw_tcp_segment *s)
{
    return IP4_HEADER_BYTES + s->header_len + s->payload_len <= n->port->tso_bytes_max &&
           s->payload_len <= GW_PORT_PIECES_MAX * s->segment_bytes;
}

bool gw_net_emit(void *net, const struct gw_tcp_segment *s)
{
    struct gw_net *n = net;
    /* TCP answers only what came in through us, and only IPv4 does yet. */
    check(gw_ip_is_v4(&s->tuple->remote));
    if (net_is_to_be_cut(s) && !port_cuts(n, s))
        return gso_emit(n, s, ip4_emit);
    return ip4_emit(n, s);
}

/* ---- time and figures ---- */

void gw_net_advance(struct gw_net *n, uint64_t now_us)
{
    n->now_us = now_us;
    neighbours_advance(n, now_us);
}

uint64_t gw_net_next_deadline_us(const struct gw_net *n)
{
    return neighbours_next_deadline_us(&n->neighbours);
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
