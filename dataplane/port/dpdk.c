/* SPDX-License-Identifier: Apache-2.0 */
#include "dpdk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_mbuf.h>

#include "../base/check.h"
#include "device.h"

/* Buffers of one queue: what the largest rings below hold, what is queued, and a burst in hand. */
#define BUFFERS_PER_QUEUE  8191u
#define BUFFER_CACHE       256u
#define RING_FRAMES        1024u
#define TX_QUEUE_FRAMES    256u
#define ETHERNET_BYTES     14u
#define EAL_OWN_MIB        32u
#define BUFFER_EXTRA_BYTES 512u /* mbuf, mempool header, padding */

struct queue_counters {
    GW_DPDK_COUNTERS(GW_COUNTER_FIELD)
};

struct queue {
    struct gw_port port; /* first: the port handed out is the queue */
    uint16_t device;
    uint16_t index;
    uint16_t room; /* data bytes of a buffer */
    uint64_t tx_csum_flags;
    struct rte_mempool *pool;
    struct queue_counters counters;
    unsigned tx_count;
    struct rte_mbuf *tx[TX_QUEUE_FRAMES];
} __attribute__((aligned(64))); /* no two lcores in one cache line */

struct gw_dpdk {
    uint16_t device;
    unsigned queue_count;
    const char *driver;
    struct queue *queues;
};

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
            .rss_hash = m->ol_flags & RTE_MBUF_F_RX_RSS_HASH ? m->hash.rss : 0,
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

static void ask_for_checksums(const struct queue *q, struct rte_mbuf *m)
{
    const uint8_t *f = rte_pktmbuf_mtod(m, const uint8_t *);
    if (gw_be16(f + 12) != RTE_ETHER_TYPE_IPV4)
        return;
    m->l2_len = ETHERNET_BYTES;
    m->l3_len = sizeof(struct rte_ipv4_hdr);
    m->ol_flags |= RTE_MBUF_F_TX_IPV4 | (q->tx_csum_flags & RTE_MBUF_F_TX_IP_CKSUM);
    if (f[ETHERNET_BYTES + 9] == IPPROTO_TCP)
        m->ol_flags |= q->tx_csum_flags & RTE_MBUF_F_TX_TCP_CKSUM;
}

static bool tx(struct gw_port *port, const void *header, uint32_t header_len,
               const struct gw_bytes *payload, unsigned payload_count, uint32_t gso_bytes)
{
    struct queue *q = (struct queue *)port;
    check(gso_bytes == 0); /* tso_bytes_max is 0 */
    if (q->tx_count == TX_QUEUE_FRAMES && tx_flush(port) == 0) {
        GW_COUNT(q->counters.tx_queue_full);
        return false;
    }
    struct rte_mbuf *m = rte_pktmbuf_alloc(q->pool);
    if (m == NULL) {
        GW_COUNT(q->counters.tx_no_buffer);
        return false;
    }
    uint8_t *p = rte_pktmbuf_mtod(m, uint8_t *);
    uint32_t len = header_len;
    check(len <= q->room);
    memcpy(p, header, header_len);
    for (unsigned i = 0; i < payload_count; i++) {
        check(payload[i].len <= q->room - len);
        memcpy(p + len, payload[i].p, payload[i].len);
        len += (uint32_t)payload[i].len;
    }
    m->data_len = (uint16_t)len;
    m->pkt_len = len;
    if (q->tx_csum_flags != 0)
        ask_for_checksums(q, m);
    q->tx[q->tx_count++] = m;
    return true;
}

static const struct gw_port_ops ops = {
    .rx = rx,
    .rx_release = rx_release,
    .tx = tx,
    .tx_flush = tx_flush,
};

/* ---- start ---- */

uint32_t gw_dpdk_memory_mib(const struct gw_dpdk_config *cfg)
{
    uint64_t buffer = device_frame_bytes(cfg->mtu) + RTE_PKTMBUF_HEADROOM + BUFFER_EXTRA_BYTES;
    uint64_t buffers = buffer * (BUFFERS_PER_QUEUE + 1) * cfg->queue_count;
    return EAL_OWN_MIB + (uint32_t)((buffers + (1 << 20) - 1) >> 20);
}

static int complain(const struct gw_dpdk_config *cfg, const char *what, int err)
{
    fprintf(stderr, "port: %s: %s: %s\n", cfg->device, what, strerror(-err));
    return err;
}

static int find_device(const struct gw_dpdk_config *cfg, struct rte_eth_dev_info *info,
                       uint16_t *device)
{
    char name[DEVICE_NAME_BYTES_MAX + 1];
    device_name(name, cfg->device);
    if (rte_eth_dev_get_port_by_name(name, device) != 0)
        return complain(cfg, "DPDK has no such device", -ENODEV);
    int err = rte_eth_dev_info_get(*device, info);
    if (err != 0)
        return complain(cfg, "the device tells nothing", err);
    unsigned queues = RTE_MIN(info->max_rx_queues, info->max_tx_queues);
    if (queues < cfg->queue_count) {
        fprintf(stderr, "port: %s has %u queues, %u dataplane lcores need one each\n", cfg->device,
                queues, cfg->queue_count);
        return -ENOTSUP;
    }
    return 0;
}

/* All or nothing of a set of offloads: half of the checks saves nothing. */
static uint64_t all_of(uint64_t offered, uint64_t wanted)
{
    return (offered & wanted) == wanted ? wanted : 0;
}

static int configure(struct gw_dpdk *d, const struct gw_dpdk_config *cfg,
                     const struct rte_eth_dev_info *info)
{
    uint64_t csum_rx = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
    uint64_t csum_tx = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
    struct rte_eth_conf conf = {
        .rxmode.offloads = all_of(info->rx_offload_capa, csum_rx),
        .txmode.offloads = all_of(info->tx_offload_capa, csum_tx) |
                           (info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE),
    };
    uint64_t rss = info->flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP);
    if (cfg->queue_count > 1 && rss != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = rss;
    }
    int err = rte_eth_dev_configure(d->device, (uint16_t)cfg->queue_count,
                                    (uint16_t)cfg->queue_count, &conf);
    if (err != 0)
        return complain(cfg, "cannot be configured", err);
    if (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM)
        for (unsigned i = 0; i < d->queue_count; i++)
            d->queues[i].tx_csum_flags = RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_CKSUM;
    uint16_t mtu;
    err = rte_eth_dev_get_mtu(d->device, &mtu);
    if (err == 0 && mtu != cfg->mtu)
        err = rte_eth_dev_set_mtu(d->device, cfg->mtu);
    if (err != 0)
        return complain(cfg, "cannot carry the configured MTU", err);
    return 0;
}

static int make_pool(struct queue *q, const struct gw_dpdk_config *cfg, int socket)
{
    char name[RTE_MEMPOOL_NAMESIZE];
    snprintf(name, sizeof(name), "godwit_%u_%u", q->device, q->index);
    q->room = (uint16_t)device_frame_bytes(cfg->mtu);
    q->pool = rte_pktmbuf_pool_create_by_ops(name, BUFFERS_PER_QUEUE, BUFFER_CACHE, 0,
                                             q->room + RTE_PKTMBUF_HEADROOM, socket, "ring_sp_sc");
    if (q->pool == NULL)
        return complain(cfg, "no memory for packet buffers", -ENOMEM);
    return 0;
}

static int open_queue(struct queue *q, const struct gw_dpdk_config *cfg, uint16_t rx_frames,
                      uint16_t tx_frames)
{
    int socket = rte_eth_dev_socket_id(q->device);
    int err = make_pool(q, cfg, socket);
    if (err != 0)
        return err;
    unsigned node = socket < 0 ? 0 : (unsigned)socket;
    err = rte_eth_rx_queue_setup(q->device, q->index, rx_frames, node, NULL, q->pool);
    if (err != 0)
        return complain(cfg, "a receive queue cannot be set up", err);
    err = rte_eth_tx_queue_setup(q->device, q->index, tx_frames, node, NULL);
    if (err != 0)
        return complain(cfg, "a transmit queue cannot be set up", err);
    struct rte_ether_addr mac;
    err = rte_eth_macaddr_get(q->device, &mac);
    if (err != 0)
        return complain(cfg, "has no Ethernet address", err);
    q->port.ops = &ops;
    q->port.mtu = cfg->mtu;
    q->port.tx_csum_ip = q->tx_csum_flags != 0;
    q->port.tx_csum_tcp = q->tx_csum_flags != 0;
    memcpy(q->port.mac, mac.addr_bytes, sizeof(q->port.mac));
    return 0;
}

static int open_queues(struct gw_dpdk *d, const struct gw_dpdk_config *cfg)
{
    uint16_t rx_frames = RING_FRAMES, tx_frames = RING_FRAMES;
    int err = rte_eth_dev_adjust_nb_rx_tx_desc(d->device, &rx_frames, &tx_frames);
    if (err != 0)
        return complain(cfg, "no fitting length of its rings", err);
    for (unsigned i = 0; i < d->queue_count && err == 0; i++)
        err = open_queue(&d->queues[i], cfg, rx_frames, tx_frames);
    return err;
}

int gw_dpdk_open(struct gw_dpdk **out, const struct gw_dpdk_config *cfg)
{
    struct rte_eth_dev_info info;
    uint16_t device;
    int err = find_device(cfg, &info, &device);
    if (err != 0)
        return err;
    struct gw_dpdk *d = calloc(1, sizeof(*d));
    struct queue *queues =
        aligned_alloc(_Alignof(struct queue), cfg->queue_count * sizeof(*queues));
    if (d == NULL || queues == NULL) {
        free(d);
        free(queues);
        return -ENOMEM;
    }
    *d = (struct gw_dpdk){device, cfg->queue_count, info.driver_name, queues};
    for (unsigned i = 0; i < cfg->queue_count; i++)
        queues[i] = (struct queue){.device = device, .index = (uint16_t)i};
    err = configure(d, cfg, &info);
    if (err == 0)
        err = open_queues(d, cfg);
    if (err == 0 && (err = rte_eth_dev_start(device)) != 0)
        complain(cfg, "does not start", err);
    if (err != 0) {
        gw_dpdk_free(&d);
        return err;
    }
    *out = d;
    return 0;
}

void gw_dpdk_free(struct gw_dpdk **dpdk)
{
    struct gw_dpdk *d = *dpdk;
    if (d == NULL)
        return;
    for (unsigned i = 0; i < d->queue_count; i++)
        rte_pktmbuf_free_bulk(d->queues[i].tx, d->queues[i].tx_count);
    rte_eth_dev_stop(d->device);
    rte_eth_dev_close(d->device);
    for (unsigned i = 0; i < d->queue_count; i++)
        rte_mempool_free(d->queues[i].pool);
    free(d->queues);
    free(d);
    *dpdk = NULL;
}

struct gw_port *gw_dpdk_port(struct gw_dpdk *d, unsigned queue)
{
    check(queue < d->queue_count);
    return &d->queues[queue].port;
}

const char *gw_dpdk_driver(const struct gw_dpdk *d)
{
    return d->driver;
}

struct gw_counter_set gw_dpdk_counter_set(const struct gw_dpdk *d, unsigned queue)
{
    static const struct gw_counter_desc descs[] = {GW_DPDK_COUNTERS(GW_COUNTER_DESC)};
    check(queue < d->queue_count);
    return (struct gw_counter_set){
        .prefix = "port",
        .descs = descs,
        .values = (const uint64_t *)&d->queues[queue].counters,
        .count = sizeof(descs) / sizeof(descs[0]),
    };
}
