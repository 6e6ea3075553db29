/* SPDX-License-Identifier: Apache-2.0 */
#include "broker.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../dataplane/base/check.h"
#include "../../storage/account.h"
#include "mix.h"
#include "trace.h"

#define WALL_AHEAD_US UINT64_C(1700000000000000) /* of the world's clock */
#define OWN_SEALER    1001u /* a nonce thread that no lcore has */

#define REPEAT_WINDOW_US UINT64_C(600000000)
#define RESUME_TIMEOUT_US UINT64_C(3000000)

enum { REPEATS_MAX = 1 << 16, CONNS_MAX = 64, ACCOUNTS_MAX = 64, REQUESTS_MAX = 256, NEIGHBOURS_MAX = 16 };

/* ---- what all runs of this program share ---- */

static char master_key_path[] = "/tmp/gw-sim-XXXXXX";

static void remove_master_key(void)
{
    unlink(master_key_path);
}

static const char *master_key(void)
{
    static bool made;
    if (made)
        return master_key_path;
    uint8_t key[32] = {7};
    int fd = mkstemp(master_key_path); /* of mode 0600 */
    check(fd >= 0 && write(fd, key, sizeof(key)) == sizeof(key) && close(fd) == 0);
    check(atexit(remove_master_key) == 0);
    made = true;
    return master_key_path;
}

/* The worker for SASL PLAIN, which nobody uses here: it sleeps. */
static struct gw_deriver *idle_deriver;

static void free_deriver(void)
{
    gw_deriver_free(&idle_deriver);
}

static struct gw_deriver *deriver(void)
{
    if (idle_deriver == NULL) {
        check(gw_deriver_open(&idle_deriver, BROKER_LCORES_MAX) == 0);
        check(atexit(free_deriver) == 0);
    }
    return idle_deriver;
}

/* ---- what it is given ---- */

uint64_t broker_wall_us(const struct broker *b)
{
    return world_now_us(b->world) + WALL_AHEAD_US;
}

void broker_tell_age(struct broker *b)
{
    if (b->cfg.mailbox_age_us > 0)
        atomic_store(&b->expire_before_us, broker_wall_us(b) - b->cfg.mailbox_age_us);
}

static uint64_t store_clock(void *arg)
{
    return broker_wall_us(arg);
}

static void seeded_random(void *ctx, void *out, size_t len)
{
    struct broker *b = ctx;
    uint8_t *p = out;
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(b->random = mix(b->random, i));
}

static void on_report(void *arg, const char *line)
{
    struct broker *b = arg;
    snprintf(b->last_report, sizeof(b->last_report), "%s", line);
    trace(world_now_us(b->world), "store: %s", line);
}

/* ---- a process ---- */

static void open_store(struct broker *b)
{
    char err[256] = "";
    check(gw_keyring_open(&b->keys, master_key(), err) == 0);
    struct gw_store_config cfg = {
        .engine = "mem",
        .durability = GW_DURABILITY_SYNC,
        .client_count = b->cfg.lcores + BROKER_EXTRA_CLIENTS,
        .requests_max = REQUESTS_MAX,
        .window_bytes_max = b->cfg.window_bytes_max,
        .spill_after_us = b->cfg.spill_after_us,
        .storage_cpu = -1,
        .keys = b->keys,
        .reserve_bytes = b->cfg.reserve_bytes,
        .spill_file_min = b->cfg.spill_file_min,
        .spill_events_min = b->cfg.spill_file_min * 256,
        .disk = b->disk,
        .clock_us = store_clock,
        .clock_arg = b,
        .report = on_report,
        .report_arg = b,
    };
    if (gw_store_open(&b->store, &cfg, err) != 0) {
        fprintf(stderr, "the store does not open: %s\n", err);
        abort();
    }
    for (unsigned i = 0; i < b->cfg.lcores; i++)
        gw_store_be_patient(gw_store_client(b->store, i));
}

static void open_cores(struct broker *b)
{
    char err[256] = "";
    struct gw_ip_prefix address = {gw_ip_from_v4((const uint8_t[]){10, 0, 0, 1}), 96 + 24};
    struct gw_ip_port listen = {.port = BROKER_PORT};
    struct gw_port *ports[BROKER_LCORES_MAX];
    struct gw_store_client *clients[BROKER_LCORES_MAX];
    for (unsigned i = 0; i < b->cfg.lcores; i++) {
        ports[i] = nic_port(b->nic, i);
        clients[i] = gw_store_client(b->store, i);
    }
    struct gw_core_config cfg = {
        .count = b->cfg.lcores,
        .now_us = world_now_us(b->world),
        .arena_bytes = b->cfg.arena_bytes,
        .pages = GW_PAGES_SMALL,
        .net = {.addresses = &address, .address_count = 1, .neighbour_limit = NEIGHBOURS_MAX},
        .mtu = b->cfg.mtu,
        .listen = &listen,
        .listen_count = 1,
        .xmpp = {.domains = {GW_LIT(BROKER_DOMAIN)},
                 .domain_count = 1,
                 .stanza_bytes_max = 65536,
                 .auth_stanza_bytes_max = 65536,
                 .auth_timeout_us = 30000000,
                 .ping_after_us = b->cfg.ping_after_us,
                 .ping_timeout_us = b->cfg.ping_timeout_us,
                 .resume_timeout_us = RESUME_TIMEOUT_US,
                 .count_first = b->cfg.count_first,
                 .conn_limit = CONNS_MAX,
                 .account_limit = ACCOUNTS_MAX,
                 .session_limit = CONNS_MAX,
                 .mailbox_messages_max = b->cfg.mailbox_messages_max,
                 .mailbox_bytes_max = b->cfg.mailbox_bytes_max,
                 .mailbox_age_us = b->cfg.mailbox_age_us,
                 .expire_before_us = &b->expire_before_us,
                 .mailbox_share_percent = b->cfg.mailbox_share_percent,
                 .roster_contacts_max = 16,
                 .roster_bytes_max = 4096,
                 .repeats_limit = REPEATS_MAX,
                 .repeat_window_us = REPEAT_WINDOW_US,
                 .scram_iterations = GW_SCRAM_ITERATIONS_MIN,
                 .name_key = {1, 2},
                 .content_key = {3, 4}},
        .keys = b->keys,
        .deriver = deriver(),
        .ports = ports,
        .clients = clients,
        .random = seeded_random,
        .random_ctx = b,
    };
    if (gw_cores_open(&b->cores, &cfg, err) != 0) {
        fprintf(stderr, "%s\n", err);
        abort();
    }
}

void broker_start(struct broker *b)
{
    check(b->store == NULL);
    open_store(b);
    open_cores(b);
    check(gw_sealer_open(&b->sealer, GW_SEAL_IPSEC_MB, OWN_SEALER) == 0);
    check(gw_cores_recall(b->cores, gw_store_client(b->store, b->cfg.lcores + BROKER_OWN_CLIENT),
                          b->sealer, gw_store_state(b->store).segment_next,
                          broker_wall_us(b)) == 0);
    nic_power(b->nic, true);
}

/* The store first: what it was given to write lies in the lcores' memory. */
void broker_bury(struct broker *b)
{
    nic_power(b->nic, false);
    gw_store_free(&b->store);
    gw_cores_free(&b->cores);
    gw_sealer_free(&b->sealer);
    gw_keyring_free(&b->keys);
}

void broker_crash(struct broker *b, enum gw_mem_crash how)
{
    gw_mem_crash(b->disk, how);
    broker_bury(b);
}

struct gw_core *broker_core(const struct broker *b, unsigned lcore)
{
    return gw_cores_at(b->cores, lcore);
}

/* ---- accounts ---- */

void broker_add_account(struct broker *b, unsigned number, const uint8_t identity_key[32],
                        const uint8_t stored_key[32])
{
    char jid[64];
    int jid_len = snprintf(jid, sizeof(jid), "u%u@" BROKER_DOMAIN, number);
    struct gw_account a = {.created_us = broker_wall_us(b)};
    struct gw_scram_keys *k = &a.scram[GW_SCRAM_SHA_256];
    memcpy(a.identity_key, identity_key, 32);
    *k = (struct gw_scram_keys){.iterations = GW_SCRAM_ITERATIONS_MIN, .salt_len = 16};
    memcpy(k->stored_key, stored_key, 32);
    uint8_t plain[GW_ACCOUNT_PACKED_BYTES_MAX];
    uint8_t sealed[GW_ACCOUNT_PACKED_BYTES_MAX + GW_SMALL_OVERHEAD_BYTES];
    size_t len = gw_account_pack(&a, plain);
    struct gw_bytes key = gw_bytes(jid, (size_t)jid_len);
    gw_small_seal(b->keys, b->sealer, GW_NS_ACCOUNT, key, gw_bytes(plain, len), sealed);
    struct gw_identity id = gw_identity_of(identity_key);
    struct gw_store_request rq = {.op = GW_STORE_CAS,
                                  .ns = GW_NS_ACCOUNT,
                                  .key = jid,
                                  .key_len = (uint16_t)jid_len,
                                  .data = sealed,
                                  .data_len = (uint32_t)(len + GW_SMALL_OVERHEAD_BYTES),
                                  .mailbox = gw_identity_mailbox(&id),
                                  .identity = &id};
    struct gw_store_completion done;
    check(gw_store_call(gw_store_client(b->store, b->cfg.lcores + BROKER_OWN_CLIENT), &rq, &done) ==
          0);
}

/* ---- life ---- */

void broker_init(struct broker *b, const struct broker_config *cfg, struct world *w,
                 struct nic *nic, void (*wait)(void *arg, uint64_t us), void *wait_arg)
{
    *b = (struct broker){.cfg = *cfg, .world = w, .nic = nic, .random = cfg->seed};
    b->disk = gw_mem_disk_new(cfg->seed);
    gw_mem_set_wait(b->disk, wait, wait_arg);
    nic_power(nic, false);
}

void broker_free(struct broker *b)
{
    if (b->store != NULL)
        broker_bury(b);
    gw_mem_disk_free(&b->disk);
}
