/* SPDX-License-Identifier: Apache-2.0 */
#include "dpdk_int.h"

#include <netinet/in.h>

#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_tcp.h>

#include "../base/check.h"

/* Buffers of one frame: 64 KiB in buffers of at least 2 KiB, and one for the headers. */
#define CHAIN_MAX 33u

/* ---- frames in ---- */

static bool csum_is_good(const struct rte_mbuf *m)
{
    const uint64_t good = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
    return (m->ol_flags & (RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK)) == good;
}

static bool make_contiguous(struct queue *q, struct rte_mbuf *m)
{
    if (rte_pktmbuf_linearize(m) == 0) {
        GW_COUNT(q->counters.rx_linearised);
        return true;
    }
    rte_pktmbuf_free(m);
    GW_COUNT(q->counters.drop_rx_pieces);
    return false;
}

static unsigned rx(struct gw_port *port, struct gw_frame *frames, unsigned max)
{
    struct queue *q = (struct queue *)port;
    struct rte_mbuf *mbufs[GW_PORT_BURST_MAX];
    check(max <= GW_PORT_BURST_MAX);
    unsigned got = rte_eth_rx_burst(q->device, q->index, mbufs, (uint16_t)max);
    unsigned n = 0;
    for (unsigned i = 0; i < got; i++) {
        struct rte_mbuf *m = mbufs[i];
        rte_prefetch0(rte_pktmbuf_mtod(m, void *));
        if (m->nb_segs > 1 && !make_contiguous(q, m))
            continue;
        frames[n++] = (struct gw_frame){
            .data = rte_pktmbuf_mtod(m, uint8_t *),
            .len = m->data_len,
            .rss_hash = q->hash_is_ours && m->ol_flags & RTE_MBUF_F_RX_RSS_HASH ? m->hash.rss : 0,
            .csum_ok = csum_is_good(m),
            .owner = m,
        };
    }
    GW_COUNT_ADD(q->counters.rx_frames, got);
    return n;
}

static void rx_release(struct gw_port *port, struct gw_frame *frames, unsigned n)
{
    struct rte_mbuf *mbufs[GW_PORT_BURST_MAX];
    check(n <= GW_PORT_BURST_MAX);
    for (unsigned i = 0; i < n; i++)
        mbufs[i] = frames[i].owner;
    rte_pktmbuf_free_bulk(mbufs, n);
}

/* ---- frames out ---- */

static unsigned tx_flush(struct gw_port *port)
{
    struct queue *q = (struct queue *)port;
    unsigned sent = 0;
    while (sent < q->tx_count) {
        unsigned burst = RTE_MIN(q->tx_count - sent, (unsigned)GW_PORT_BURST_MAX);
        unsigned took = rte_eth_tx_burst(q->device, q->index, q->tx + sent, (uint16_t)burst);
        sent += took;
        if (took < burst) {
            GW_COUNT(q->counters.tx_refused);
            break;
        }
    }
    q->tx_count -= sent;
    memmove(q->tx, q->tx + sent, q->tx_count * sizeof(q->tx[0]));
    GW_COUNT_ADD(q->counters.tx_frames, sent);
    return sent;
}

/* TSO wants the pseudo header's sum without the length, which will be each piece's own. */
static void ask_for_cutting(struct rte_mbuf *m, uint8_t *frame, uint32_t header_len,
                            uint32_t gso_bytes)
{
    uint8_t *ip = frame + ETHERNET_BYTES;
    struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(ip + m->l3_len);
    m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
    m->l4_len = header_len - ETHERNET_BYTES - m->l3_len;
    m->tso_segsz = (uint16_t)gso_bytes;
    if (m->ol_flags & RTE_MBUF_F_TX_IPV4)
        tcp->cksum = rte_ipv4_phdr_cksum((const struct rte_ipv4_hdr *)ip, m->ol_flags);
    else
        tcp->cksum = rte_ipv6_phdr_cksum((const struct rte_ipv6_hdr *)ip, m->ol_flags);
}

/* Our own packets: neither IPv4 options nor IPv6 extension headers. */
static void ask_for_offloads(const struct queue *q, struct rte_mbuf *m, uint32_t header_len,
                             uint32_t gso_bytes)
{
    uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
    const uint8_t *ip = frame + ETHERNET_BYTES;
    uint8_t protocol;
    m->l2_len = ETHERNET_BYTES;
    switch (gw_be16(frame + 12)) {
    case RTE_ETHER_TYPE_IPV4:
        m->l3_len = sizeof(struct rte_ipv4_hdr);
        m->ol_flags |= RTE_MBUF_F_TX_IPV4 | (q->tx_csum_flags & RTE_MBUF_F_TX_IP_CKSUM);
        protocol = ip[9];
        break;
    case RTE_ETHER_TYPE_IPV6:
        m->l3_len = sizeof(struct rte_ipv6_hdr);
        m->ol_flags |= RTE_MBUF_F_TX_IPV6;
        protocol = ip[6];
        break;
    default:
        return;
    }
    if (protocol == IPPROTO_TCP)
        m->ol_flags |= q->tx_csum_flags & RTE_MBUF_F_TX_TCP_CKSUM;
    if (gso_bytes != 0)
        ask_for_cutting(m, frame, header_len, gso_bytes);
}

/* Most frames need one: these are taken from the pool together. NULL: it is empty. */
static struct rte_mbuf *take_buffer(struct queue *q)
{
    if (q->spare_count == 0) {
        if (rte_pktmbuf_alloc_bulk(q->pool, q->spare, SPARE_BUFFERS) != 0)
            return rte_pktmbuf_alloc(q->pool);
        q->spare_count = SPARE_BUFFERS;
    }
    return q->spare[--q->spare_count];
}

/* A row of empty buffers for len bytes, or NULL. */
static struct rte_mbuf *take_buffers(struct queue *q, uint32_t len)
{
    struct rte_mbuf *m[CHAIN_MAX];
    unsigned count = (len + q->room - 1) / q->room;
    check(count >= 1 && count <= CHAIN_MAX);
    if (rte_pktmbuf_alloc_bulk(q->pool, m, count) != 0)
        return NULL;
    for (unsigned i = 1; i < count; i++)
        m[i - 1]->next = m[i];
    m[0]->nb_segs = (uint16_t)count;
    return m[0];
}

/* Fills the row from *at on, which moves to the buffer that has room left. */
static void append(const struct queue *q, struct rte_mbuf **at, const uint8_t *p, size_t len)
{
    while (len > 0) {
        struct rte_mbuf *m = *at;
        size_t n = RTE_MIN(len, (size_t)(q->room - m->data_len));
        memcpy(rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len), p, n);
        m->data_len += (uint16_t)n;
        p += n;
        len -= n;
        if (m->data_len == q->room)
            *at = m->next;
    }
}

static bool tx(struct gw_port *port, const void *header, uint32_t header_len,
               const struct gw_bytes *payload, unsigned payload_count, uint32_t gso_bytes)
{
    struct queue *q = (struct queue *)port;
    size_t len = header_len;
    for (unsigned i = 0; i < payload_count; i++)
        len += payload[i].len;
    check(header_len <= q->room);
    check(len <= ETHERNET_BYTES + (gso_bytes != 0 ? port->tso_bytes_max : port->mtu));
    if (q->tx_count == TX_QUEUE_FRAMES && tx_flush(port) == 0) {
        GW_COUNT(q->counters.tx_queue_full);
        return false;
    }
    struct rte_mbuf *m = len <= q->room ? take_buffer(q) : take_buffers(q, (uint32_t)len);
    if (m == NULL) {
        GW_COUNT(q->counters.tx_no_buffer);
        return false;
    }
    struct rte_mbuf *at = m;
    m->pkt_len = (uint32_t)len;
    append(q, &at, header, header_len);
    for (unsigned i = 0; i < payload_count; i++)
        append(q, &at, payload[i].p, payload[i].len);
    if (q->tx_csum_flags != 0)
        ask_for_offloads(q, m, header_len, gso_bytes);
    if (gso_bytes != 0)
        GW_COUNT(q->counters.tx_cut);
    q->tx[q->tx_count++] = m;
    return true;
}

const struct gw_port_ops dpdk_ops = {
    .rx = rx,
    .rx_release = rx_release,
    .tx = tx,
    .tx_flush = tx_flush,
};
