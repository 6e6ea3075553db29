/* SPDX-License-Identifier: Apache-2.0 */
/* A device at start: which queues, offloads and spreading it has, and its end. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_ethdev.h>

#include "../base/check.h"
#include "device.h"
#include "dpdk_int.h"

/* Buffers of one queue: what the largest rings below hold, what is queued, and a burst in hand. */
#define BUFFERS_PER_QUEUE  8191u
#define BUFFER_CACHE       256u
#define RING_FRAMES        1024u
#define EAL_OWN_MIB        32u
#define BUFFER_EXTRA_BYTES 512u /* mbuf, mempool header, padding */
#define IP_PACKET_MAX      65535u
#define ETHERNET_OVERHEAD  18u /* header and checksum */

/* What steer.h hashes. Not the hashes of IPv6 with extension headers, which take other addresses. */
#define HASH_TCP (RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP)
#define HASHES                                                                                     \
    (HASH_TCP | RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_OTHER |        \
     RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_FRAG_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_OTHER)

struct gw_dpdk {
    uint16_t device;
    unsigned queue_count;
    unsigned rss_slots; /* 0: it does not spread as we say */
    bool hash_is_asked_for;
    uint32_t tso_bytes_max;
    bool tso_v6;
    const char *driver;
    struct queue *queues;
};

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
    return 0;
}

static int choose_queues(struct gw_dpdk *d, const struct gw_dpdk_config *cfg,
                         const struct rte_eth_dev_info *info)
{
    unsigned queues = RTE_MIN(info->max_rx_queues, info->max_tx_queues);
    if (queues == 0 || (queues < cfg->queue_count && !cfg->fewer_queues)) {
        fprintf(stderr, "port: %s has %u queues, %u are needed\n", cfg->device, queues,
                cfg->queue_count);
        return -ENOTSUP;
    }
    d->queue_count = RTE_MIN(queues, cfg->queue_count);
    return 0;
}

/* All or nothing of a set of offloads: half of the checks saves nothing. */
static uint64_t all_of(uint64_t offered, uint64_t wanted)
{
    return (offered & wanted) == wanted ? wanted : 0;
}

/* Its queues follow the hash with our key, or, with one queue, tell it. */
static bool ask_for_hash(struct rte_eth_conf *conf, const struct gw_dpdk_config *cfg,
                         const struct rte_eth_dev_info *info)
{
    uint64_t hashes = info->flow_type_rss_offloads & HASHES;
    if (cfg->lcore_count == 1 || hashes == 0)
        return false;
    conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf->rx_adv_conf.rss_conf.rss_hf = hashes;
    conf->rxmode.offloads |= info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_RSS_HASH;
    if (info->hash_key_size == 0 || info->hash_key_size > GW_STEER_KEY_BYTES)
        return false;
    /* The driver copies it. */
    conf->rx_adv_conf.rss_conf.rss_key = (uint8_t *)cfg->rss_key;
    conf->rx_adv_conf.rss_conf.rss_key_len = info->hash_key_size;
    return (hashes & HASH_TCP) == HASH_TCP;
}

/* The MTU that makes the device cut to the one that we are to have, where it can be set. */
static bool can_cut_to(uint16_t mtu, const struct rte_eth_dev_info *info)
{
    return mtu + device_mtu_extra(info->driver_name) + ETHERNET_OVERHEAD <= info->max_rx_pktlen;
}

static uint64_t choose_tx_offloads(struct gw_dpdk *d, const struct gw_dpdk_config *cfg,
                                   const struct rte_eth_dev_info *info)
{
    const uint64_t csum = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
    const uint64_t tso = csum | RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    if (all_of(info->tx_offload_capa, tso) != 0 && can_cut_to(cfg->mtu, info)) {
        uint32_t limit = device_tso_bytes_max(info->driver_name, IP_PACKET_MAX);
        uint32_t chain = info->tx_desc_lim.nb_seg_max * d->queues[0].room;
        d->tso_bytes_max = RTE_MIN(limit, chain - RTE_MIN(chain, ETHERNET_BYTES));
        d->tso_v6 = device_tso_v6(info->driver_name);
        return tso; /* without FAST_FREE: not every driver does both */
    }
    return all_of(info->tx_offload_capa, csum) |
           (info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE);
}

static int set_mtu(const struct gw_dpdk *d, const struct gw_dpdk_config *cfg)
{
    uint16_t mtu, wanted = cfg->mtu;
    if (d->tso_bytes_max != 0)
        wanted = (uint16_t)(wanted + device_mtu_extra(d->driver));
    int err = rte_eth_dev_get_mtu(d->device, &mtu);
    if (err == 0 && mtu != wanted)
        err = rte_eth_dev_set_mtu(d->device, wanted);
    return err != 0 ? complain(cfg, "cannot carry the configured MTU", err) : 0;
}

static int configure(struct gw_dpdk *d, const struct gw_dpdk_config *cfg,
                     const struct rte_eth_dev_info *info)
{
    struct rte_eth_conf conf = {
        .rxmode.offloads = all_of(info->rx_offload_capa, RTE_ETH_RX_OFFLOAD_IPV4_CKSUM |
                                                             RTE_ETH_RX_OFFLOAD_TCP_CKSUM),
        .txmode.offloads = choose_tx_offloads(d, cfg, info),
    };
    d->hash_is_asked_for = ask_for_hash(&conf, cfg, info);
    int err = rte_eth_dev_configure(d->device, (uint16_t)d->queue_count, (uint16_t)d->queue_count,
                                    &conf);
    if (err != 0)
        return complain(cfg, "cannot be configured", err);
    if (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM)
        for (unsigned i = 0; i < d->queue_count; i++)
            d->queues[i].tx_csum_flags = RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_CKSUM;
    return set_mtu(d, cfg);
}

static int make_pool(struct queue *q, const struct gw_dpdk_config *cfg, int socket)
{
    char name[RTE_MEMPOOL_NAMESIZE];
    snprintf(name, sizeof(name), "godwit_%u_%u", q->device, q->index);
    q->pool = rte_pktmbuf_pool_create_by_ops(name, BUFFERS_PER_QUEUE, BUFFER_CACHE, 0,
                                             q->room + RTE_PKTMBUF_HEADROOM, socket, "ring_sp_sc");
    if (q->pool == NULL)
        return complain(cfg, "no memory for packet buffers", -ENOMEM);
    return 0;
}

static int open_queue(const struct gw_dpdk *d, struct queue *q, const struct gw_dpdk_config *cfg,
                      uint16_t rx_frames, uint16_t tx_frames)
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
    q->port.ops = &dpdk_ops;
    q->port.mtu = cfg->mtu;
    q->port.tx_csum_ip = q->tx_csum_flags != 0;
    q->port.tx_csum_tcp = q->tx_csum_flags != 0;
    q->port.tso_bytes_max = d->tso_bytes_max;
    q->port.tso_v6 = d->tso_v6;
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
        err = open_queue(d, &d->queues[i], cfg, rx_frames, tx_frames);
    return err;
}

/* ---- spreading ---- */

static bool key_is_ours(const struct gw_dpdk *d, const struct gw_dpdk_config *cfg,
                        const struct rte_eth_dev_info *info)
{
    uint8_t key[GW_STEER_KEY_BYTES] = {0};
    struct rte_eth_rss_conf conf = {.rss_key = key, .rss_key_len = info->hash_key_size};
    return rte_eth_dev_rss_hash_conf_get(d->device, &conf) == 0 &&
           (conf.rss_hf & HASH_TCP) == HASH_TCP &&
           memcmp(key, cfg->rss_key, info->hash_key_size) == 0;
}

/* Each slot's queue is that of the lcore that steer.h names for it. */
static bool set_table(const struct gw_dpdk *d, const struct gw_dpdk_config *cfg, unsigned slots)
{
    struct rte_eth_rss_reta_entry64 table[GW_STEER_SLOTS_MAX / RTE_ETH_RETA_GROUP_SIZE];
    for (unsigned i = 0; i < slots; i++) {
        struct rte_eth_rss_reta_entry64 *group = &table[i / RTE_ETH_RETA_GROUP_SIZE];
        group->mask = UINT64_MAX;
        group->reta[i % RTE_ETH_RETA_GROUP_SIZE] =
            (uint16_t)(i % cfg->lcore_count % d->queue_count);
    }
    return rte_eth_dev_rss_reta_update(d->device, table, (uint16_t)slots) == 0;
}

/* Only what was set and read back counts: some drivers take a key and do not use it. */
static void spread(struct gw_dpdk *d, const struct gw_dpdk_config *cfg,
                   const struct rte_eth_dev_info *info)
{
    unsigned slots = info->reta_size;
    bool table_fits = slots >= RTE_ETH_RETA_GROUP_SIZE && slots <= GW_STEER_SLOTS_MAX &&
                      (slots & (slots - 1)) == 0;
    if (!d->hash_is_asked_for || !table_fits || !key_is_ours(d, cfg, info) ||
        !set_table(d, cfg, slots))
        return;
    d->rss_slots = slots;
    for (unsigned i = 0; i < d->queue_count; i++)
        d->queues[i].hash_is_ours = true;
}

/* ---- all of it ---- */

static int open_device(struct gw_dpdk *d, const struct gw_dpdk_config *cfg,
                       const struct rte_eth_dev_info *info)
{
    d->queues = aligned_alloc(_Alignof(struct queue), d->queue_count * sizeof(*d->queues));
    if (d->queues == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < d->queue_count; i++)
        d->queues[i] = (struct queue){.device = d->device,
                                      .index = (uint16_t)i,
                                      .room = (uint16_t)device_frame_bytes(cfg->mtu)};
    int err = configure(d, cfg, info);
    if (err == 0)
        err = open_queues(d, cfg);
    if (err == 0 && (err = rte_eth_dev_start(d->device)) != 0)
        complain(cfg, "does not start", err);
    /* IPv6 neighbours ask by multicast. A driver that cannot choose passes on what its device gets. */
    if (err == 0)
        (void)rte_eth_allmulticast_enable(d->device);
    if (err == 0)
        spread(d, cfg, info);
    return err;
}

int gw_dpdk_open(struct gw_dpdk **out, const struct gw_dpdk_config *cfg)
{
    struct rte_eth_dev_info info;
    struct gw_dpdk *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return -ENOMEM;
    int err = find_device(cfg, &info, &d->device);
    if (err == 0)
        err = choose_queues(d, cfg, &info);
    if (err != 0) {
        free(d);
        return err;
    }
    d->driver = info.driver_name;
    err = open_device(d, cfg, &info);
    if (err != 0)
        gw_dpdk_free(&d);
    else
        *out = d;
    return err;
}

void gw_dpdk_free(struct gw_dpdk **dpdk)
{
    struct gw_dpdk *d = *dpdk;
    if (d == NULL)
        return;
    for (unsigned i = 0; d->queues != NULL && i < d->queue_count; i++) {
        rte_pktmbuf_free_bulk(d->queues[i].tx, d->queues[i].tx_count);
        rte_pktmbuf_free_bulk(d->queues[i].spare, d->queues[i].spare_count);
    }
    rte_eth_dev_stop(d->device);
    rte_eth_dev_close(d->device);
    for (unsigned i = 0; d->queues != NULL && i < d->queue_count; i++)
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

unsigned gw_dpdk_queue_count(const struct gw_dpdk *d)
{
    return d->queue_count;
}

unsigned gw_dpdk_rss_slots(const struct gw_dpdk *d)
{
    return d->rss_slots;
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
