/* SPDX-License-Identifier: Apache-2.0 */
/* What a core is made of, put together at start. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "core_int.h"
#include "tcp/counters.h"
#include "xmpp/carbons.h"
#include "xmpp/counts.h"

#define COMMANDS_MAX    64u
#define ARP_RING_SLOTS  256u
#define TCP_HEADERS_V4  40u
#define TCP_HEADERS_V6  60u
#define STREAM_ID_LABEL "stanza-id permutation"

struct gw_cores {
    unsigned count;
    struct gw_xmpp_config xmpp;
    struct gw_arena *arenas[GW_LCORES_MAX];
    struct gw_mesh meshes[GW_LCORES_MAX];
    struct gw_core *cores;
    atomic_uint leaving;
    struct gw_counts counts;
    struct gw_carbons carbons;
};

/* A pool, so that a nonce does not cost a system call; never blocks once the system is up. */
static void core_random(void *ctx, void *out, size_t len)
{
    struct gw_core *c = ctx;
    uint8_t *p = out;
    while (len > 0) {
        if (c->random_left == 0) {
            check(getrandom(c->random, sizeof(c->random), GRND_NONBLOCK) == sizeof(c->random));
            c->random_left = sizeof(c->random);
        }
        size_t n = len < c->random_left ? len : c->random_left;
        uint8_t *from = c->random + sizeof(c->random) - c->random_left;
        memcpy(p, from, n);
        explicit_bzero(from, n);
        c->random_left -= n;
        p += n;
        len -= n;
    }
}

static int open_crypto(struct gw_core *c, const struct gw_core_config *cfg)
{
    uint8_t key[32];
    int err = gw_sealer_open(&c->l.sealer, GW_SEAL_IPSEC_MB, c->l.index + 1);
    if (err == 0)
        err = gw_hasher_open(&c->l.hasher);
    gw_keyring_derive(cfg->keys, STREAM_ID_LABEL, key);
    if (err == 0)
        err = gw_permuter_open(&c->l.permuter, key);
    explicit_bzero(key, sizeof(key));
    c->l.keys = cfg->keys;
    return err;
}

static int listen_on(struct gw_tcp *t, const struct gw_ip_port *at)
{
    static const struct gw_ip every;
    return gw_ip_eq(&at->ip, &every) ? gw_tcp_listen(t, at->port)
                                     : gw_tcp_listen_at(t, &at->ip, at->port);
}

static int open_tcp(struct gw_core *c, const struct gw_core_config *cfg)
{
    uint32_t limit = cfg->xmpp.conn_limit;
    struct gw_tcp_config tcp = {
        .conn_limit = limit,
        .half_open_limit = limit < 65536 ? limit : 65536,
        .time_wait_limit = limit < 65536 ? limit : 65536,
        .recv_window_bytes = 65535,
        .send_buffer_bytes = 2 * GW_EDGE_OUTPUT_BYTES_MAX + cfg->xmpp.stanza_bytes_max * 2,
        .gso_bytes_max = GW_TCP_GSO_BYTES_MAX,
        .mss_v4 = (uint16_t)(cfg->mtu - TCP_HEADERS_V4),
        .mss_v6 = (uint16_t)(cfg->mtu - TCP_HEADERS_V6),
        .arena = c->l.arena,
        .pages = cfg->pages,
        .name = "tcp",
        .keepalive = cfg->keepalive,
        .keepalive_us = cfg->keepalive_us,
        .keepalive_next_us = cfg->keepalive_next_us,
        .keepalive_probes = cfg->keepalive_probes,
    };
    c->l.random(c->l.random_ctx, &tcp.key, sizeof(tcp.key));
    int err = gw_tcp_open(&c->l.tcp, &tcp, &gw_edge_upcalls, &c->l, gw_net_emit, c->net, cfg->now_us);
    for (unsigned i = 0; err == 0 && i < cfg->listen_count; i++)
        err = listen_on(c->l.tcp, &cfg->listen[i]);
    return err;
}

static void share_arp(void *ctx, const uint8_t *frame, uint32_t len)
{
    struct gw_core *c = ctx;
    struct core_arp a = {.len = len};
    memcpy(a.frame, frame, len);
    for (unsigned i = 0; i < c->l.count; i++)
        if (c->arp_out[i] != NULL)
            (void)gw_ring_push(c->arp_out[i], &a); /* a lost one is asked for again */
}

static int open_net(struct gw_core *c, const struct gw_core_config *cfg)
{
    struct gw_net_config net = cfg->net;
    c->l.random(c->l.random_ctx, &net.key, sizeof(net.key));
    net.announce = c->l.index == 0;
    int err = gw_net_open(&c->net, &net, c->port, cfg->now_us);
    if (err == 0 && cfg->count > 1)
        gw_net_set_share(c->net, share_arp, c);
    return err;
}

static int open_core(struct gw_cores *all, unsigned i, const struct gw_core_config *cfg)
{
    struct gw_core *c = &all->cores[i];
    char name[32];
    snprintf(name, sizeof(name), "arena%u", i);
    c->l.index = i;
    c->l.count = cfg->count;
    c->l.cfg = &all->xmpp;
    c->l.started_us = cfg->now_us;
    c->l.arenas = all->arenas;
    c->l.mesh = &all->meshes[i];
    c->l.counts = &all->counts;
    c->l.carbons = &all->carbons;
    c->l.store = cfg->clients[i];
    c->l.random = cfg->random != NULL ? cfg->random : core_random;
    c->l.random_ctx = cfg->random != NULL ? cfg->random_ctx : c;
    c->l.deriver = gw_deriver_port(cfg->deriver, i);
    c->l.xml = malloc(sizeof(*c->l.xml));
    c->l.scratch = malloc(GW_SCRATCH_BYTES);
    c->port = cfg->ports[i];
    c->poll = cfg->poll;
    c->leaving = &all->leaving;
    if (c->l.xml == NULL || c->l.scratch == NULL)
        return -ENOMEM;
    int err = gw_arena_open(&all->arenas[i], name, cfg->arena_bytes, cfg->pages);
    c->l.arena = all->arenas[i];
    if (err == 0)
        err = open_crypto(c, cfg);
    if (err == 0)
        err = open_net(c, cfg);
    if (err == 0)
        err = open_tcp(c, cfg);
    if (err == 0) {
        gw_net_attach(c->net, c->l.tcp);
        c->state.arena_limit_bytes = gw_arena_limit_bytes(c->l.arena);
        err = gw_edge_open(&c->l, cfg->pages);
    }
    if (err == 0)
        err = gw_home_open(&c->l, cfg->pages);
    if (err == 0) {
        c->state.account_limit = c->l.home->accounts.limit;
        c->state.account_bytes = c->l.home->accounts.region.bytes + c->l.home->bucket_region.bytes;
    }
    if (err == 0)
        err = gw_ring_open(&c->command.requests, "command", sizeof(struct gw_command), COMMANDS_MAX);
    if (err == 0)
        err = gw_ring_open(&c->command.replies, "reply", sizeof(struct gw_command_reply), COMMANDS_MAX);
    return err;
}

static int open_arp_rings(struct gw_cores *all)
{
    for (unsigned a = 0; a < all->count; a++)
        for (unsigned b = 0; b < all->count; b++) {
            if (a == b)
                continue;
            struct gw_ring *r;
            int err = gw_ring_open(&r, "arp", sizeof(struct core_arp), ARP_RING_SLOTS);
            if (err)
                return err;
            all->cores[a].arp_out[b] = all->cores[b].arp_in[a] = r;
        }
    return 0;
}

int gw_cores_open(struct gw_cores **out, const struct gw_core_config *cfg, char err[256])
{
    struct gw_cores *all = calloc(1, sizeof(*all));
    if (all == NULL)
        return -ENOMEM;
    all->count = cfg->count;
    all->xmpp = cfg->xmpp;
    all->counts.lcores = cfg->count;
    atomic_init(&all->leaving, cfg->count);
    all->cores = calloc(cfg->count, sizeof(*all->cores));
    int rc = all->cores == NULL ? -ENOMEM : gw_mesh_open(all->meshes, cfg->count);
    if (rc == 0)
        rc = gw_carbons_open(&all->carbons, cfg->pages);
    for (unsigned i = 0; rc == 0 && i < cfg->count; i++)
        rc = open_core(all, i, cfg);
    if (rc == 0)
        rc = open_arp_rings(all);
    if (rc != 0) {
        snprintf(err, 256, "cannot reserve what %u lcore(s) with %u connections each need: %s",
                 cfg->count, cfg->xmpp.conn_limit, strerror(-rc));
        gw_cores_free(&all);
    } else {
        *out = all;
    }
    return rc;
}

static void free_core(struct gw_core *c)
{
    gw_home_free(&c->l);
    gw_edge_free(&c->l);
    gw_tcp_free(&c->l.tcp);
    gw_net_free(&c->net);
    gw_sealer_free(&c->l.sealer);
    gw_hasher_free(&c->l.hasher);
    gw_permuter_free(&c->l.permuter);
    gw_ring_free(&c->command.requests);
    gw_ring_free(&c->command.replies);
    for (unsigned i = 0; i < c->l.count; i++)
        gw_ring_free(&c->arp_out[i]);
    free(c->l.xml);
    free(c->l.scratch);
}

void gw_cores_free(struct gw_cores **out)
{
    struct gw_cores *all = *out;
    if (all == NULL)
        return;
    for (unsigned i = 0; all->cores != NULL && i < all->count; i++)
        free_core(&all->cores[i]);
    for (unsigned i = 0; i < all->count; i++)
        gw_arena_free(&all->arenas[i]);
    gw_mesh_free(all->meshes, all->count);
    free(all->cores);
    gw_carbons_close(&all->carbons);
    free(all->counts.found);
    free(all);
    *out = NULL;
}

struct gw_core *gw_cores_at(struct gw_cores *c, unsigned index)
{
    check(index < c->count);
    return &c->cores[index];
}

/* ---- what control sees ---- */

static const struct gw_counter_desc edge_descs[] = {GW_EDGE_COUNTERS(GW_COUNTER_DESC)};
static const struct gw_counter_desc home_descs[] = {GW_HOME_COUNTERS(GW_COUNTER_DESC)};

void gw_core_view(struct gw_core *c, struct gw_lcore_view *out)
{
    *out = (struct gw_lcore_view){
        .index = c->l.index, .command = c->command, .state = &c->state};
    out->sets[out->set_count++] = (struct gw_counter_set){
        "edge", edge_descs, (const uint64_t *)&c->l.edge_count,
        sizeof(edge_descs) / sizeof(edge_descs[0])};
    out->sets[out->set_count++] = (struct gw_counter_set){
        "home", home_descs, (const uint64_t *)&c->l.home_count,
        sizeof(home_descs) / sizeof(home_descs[0])};
    out->sets[out->set_count++] =
        (struct gw_counter_set){"tcp", gw_tcp_counter_descs,
                                (const uint64_t *)gw_tcp_counters(c->l.tcp), gw_tcp_counter_count};
    out->sets[out->set_count++] = gw_net_counter_set(c->net);
}
