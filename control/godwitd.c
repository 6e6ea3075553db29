/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker: configuration, EAL, port, store, keys, lcores, in this order; then the control loop in
 * this thread, until a signal; then all of it in reverse.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "../dataplane/core.h"
#include "../dataplane/port/eal.h"
#include "../dataplane/port/ports.h"
#include "../dataplane/xmpp/jid.h"
#include "clock.h"
#include "control.h"
#include "offline.h"

#define STORE_REQUESTS    4096u
#define COMMIT_IDLE_US    1000u
#define CONTROL_SEALER    1001u /* nonce threads: lcores have 1 to 64 */
#define JOB_SEALER        1002u
#define NEIGHBOURS        4096u

/* All that main puts together and takes apart. */
struct broker {
    struct gw_config *config;
    struct gw_eal *eal;
    struct gw_ports *ports;
    struct gw_store *store;
    struct gw_keyring *keys;
    struct gw_deriver *deriver;
    struct gw_cores *cores;
    struct gw_sealer *sealer, *job_sealer;
    struct gw_store_client *clients[GW_LCORES_MAX];
    struct gw_port *port[GW_LCORES_MAX];
    struct gw_lcore_view views[GW_LCORES_MAX];
    unsigned launched;
    bool committing;
    atomic_bool stop_commit;
    _Atomic uint64_t expire_before_us; /* written by control */
};

static atomic_bool stop;

static void on_signal(int sig)
{
    (void)sig;
    atomic_store(&stop, true);
}

static int fail(const char *what)
{
    fprintf(stderr, "godwitd: %s\n", what);
    return -EINVAL;
}

/* ---- the parts, in the order of their making ---- */

static int open_port(struct broker *b)
{
    const struct gw_config *c = b->config;
    struct gw_ports_config ports = {
        .device = c->port_device,
        .mtu = c->port_mtu,
        .lcore_count = c->lcore_count,
        .queue_count = c->port_queues,
        .mode = c->dispatch,
    };
    if (getrandom(ports.key, sizeof(ports.key), 0) != sizeof(ports.key))
        return -EIO;
    struct gw_eal_config eal = {
        .name = "godwit",
        .lcore_cpus = c->lcore_cpus,
        .lcore_count = c->lcore_count,
        .commit_cpu = c->commit_cpu,
        .main_cpu = c->control_cpu,
        .huge_pages = c->huge_pages,
        .memory_mib = gw_ports_memory_mib(&ports),
        .device = c->port_device,
        .queue_count = gw_ports_queues_wanted(&ports),
        .mtu = c->port_mtu,
        .extra_args = c->eal_args,
        .extra_arg_count = c->eal_arg_count,
    };
    int err = gw_eal_init(&b->eal, &eal);
    if (err == 0)
        err = gw_ports_open(&b->ports, &ports);
    for (unsigned i = 0; err == 0 && i < c->lcore_count; i++)
        b->port[i] = gw_ports_at(b->ports, i);
    return err;
}

static int open_store(struct broker *b)
{
    const struct gw_config *c = b->config;
    char err[256] = "";
    int rc = gw_keyring_open(&b->keys, c->master_key_path, err);
    if (rc != 0)
        return fail(err);
    struct gw_store_config store = {
        .engine = c->store_engine,
        .path = c->store_path,
        .durability = c->durability,
        .client_count = c->lcore_count + 2,
        .requests_max = STORE_REQUESTS,
        .window_bytes_max = (uint64_t)c->window_mib << 20,
        .spill_after_us = (uint64_t)c->spill_after_ms * 1000,
        .own_thread = true,
        .storage_cpu = c->storage_cpu,
        .keys = b->keys,
        .backup_path = c->backup_path,
        .reserve_bytes = (uint64_t)c->reserve_mib << 20,
    };
    rc = gw_store_open(&b->store, &store, err);
    if (rc != 0)
        return fail(err);
    for (unsigned i = 0; i < c->lcore_count; i++) {
        b->clients[i] = gw_store_client(b->store, i);
        gw_store_be_patient(b->clients[i]);
    }
    return 0;
}

static uint32_t limit_of_lcore(const struct gw_config *c, uint32_t all)
{
    /* RSS does not share out evenly: each gets an eighth more than its part. */
    uint32_t part = all / c->lcore_count;
    return c->lcore_count == 1 ? part : part + part / 8 + 64;
}

static void fill_xmpp(struct broker *b, struct gw_xmpp_config *x)
{
    const struct gw_config *c = b->config;
    uint8_t key[32];
    uint32_t limit = limit_of_lcore(c, c->connection_limit);
    *x = (struct gw_xmpp_config){
        .domains = {gw_bytes_str(c->domain)},
        .domain_count = c->further_domain_count + 1,
        .allow_plain = c->allow_plain,
        .delivered_when_handed_over = c->delivered_when_handed_over,
        .stanza_bytes_max = c->stanza_bytes_max,
        .auth_stanza_bytes_max = c->auth_stanza_bytes_max,
        .auth_timeout_us = (uint64_t)c->auth_timeout_s * 1000000,
        .ping_after_us = (uint64_t)c->ping_after_s * 1000000,
        .ping_timeout_us = (uint64_t)c->ping_timeout_s * 1000000,
        .resume_timeout_us = (uint64_t)c->resume_timeout_s * 1000000,
        .conn_limit = limit,
        .account_limit = limit + limit_of_lcore(c, c->offline_accounts_max),
        .session_limit = limit,
        .mailbox_messages_max = c->mailbox_messages_max,
        .mailbox_bytes_max = c->mailbox_bytes_max,
        .mailbox_share_percent = c->mailbox_share_percent,
        .mailbox_age_us = (uint64_t)c->mailbox_age_s * 1000000,
        .expire_before_us = &b->expire_before_us,
        .roster_contacts_max = c->roster_contacts_max,
        .roster_bytes_max = c->roster_bytes_max,
        .repeats_limit = c->repeats_max > 0 ? limit_of_lcore(c, c->repeats_max) : 0,
        .repeat_window_us = (uint64_t)c->repeat_window_s * 1000000,
        .scram_iterations = c->scram_iterations,
    };
    for (unsigned i = 0; i < c->further_domain_count; i++)
        x->domains[i + 1] = gw_bytes_str(c->further_domains[i]);
    for (; x->contact_count < c->contact_count; x->contact_count++)
        x->contacts[x->contact_count] = gw_bytes_str(c->contacts[x->contact_count]);
    gw_keyring_derive(b->keys, "home of an account", key);
    memcpy(&x->home_key, key, sizeof(x->home_key));
    gw_keyring_derive(b->keys, "mark of a sender", key);
    memcpy(&x->mark_key, key, sizeof(x->mark_key));
    gw_keyring_derive(b->keys, "salt of an unknown user", key);
    memcpy(&x->salt_key, key, sizeof(x->salt_key));
    gw_keyring_derive(b->keys, "fingerprint of a message", key);
    memcpy(&x->name_key, key, sizeof(x->name_key));
    memcpy(&x->content_key, key + sizeof(x->name_key), sizeof(x->content_key));
    explicit_bzero(key, sizeof(key));
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static int open_cores(struct broker *b)
{
    const struct gw_config *c = b->config;
    char err[256] = "";
    struct gw_core_config cores = {
        .count = c->lcore_count,
        .now_us = now_us(),
        .arena_bytes = (size_t)c->memory_mib << 20,
        .pages = c->huge_pages ? GW_PAGES_HUGE_OR_SMALL : GW_PAGES_SMALL,
        .poll = c->idle == GW_IDLE_POLL,
        .net = {.addresses = c->addresses, .address_count = c->address_count, .ranges = c->ranges,
                .range_count = c->range_count, .routes = c->routes, .route_count = c->route_count,
                .neighbour_limit = NEIGHBOURS},
        .mtu = c->port_mtu,
        .listen = c->listen,
        .listen_count = c->listen_count,
        .keepalive = c->keepalive,
        .keepalive_us = (uint64_t)c->keepalive_idle_s * 1000000,
        .keepalive_next_us = (uint64_t)c->keepalive_interval_s * 1000000,
        .keepalive_probes = c->keepalive_probes,
        .keys = b->keys,
        .deriver = b->deriver,
        .ports = b->port,
        .clients = b->clients,
    };
    fill_xmpp(b, &cores.xmpp);
    int rc = gw_cores_open(&b->cores, &cores, err);
    if (rc != 0)
        return fail(err);
    for (unsigned i = 0; i < c->lcore_count; i++) {
        struct gw_lcore_view *v = &b->views[i];
        gw_core_view(gw_cores_at(b->cores, i), v);
        v->set_count += gw_ports_counter_sets(b->ports, i, v->sets + v->set_count);
    }
    return 0;
}

/* Without it some of what senders repeat may come twice: no reason to refuse all the rest. */
static void recall(struct broker *b)
{
    struct gw_store_client *client = gw_store_client(b->store, b->config->lcore_count);
    uint64_t segment_next = gw_store_state(b->store).segment_next;
    int err = gw_cores_recall(b->cores, client, b->sealer, segment_next, clock_wall_us());
    if (err != 0)
        fprintf(stderr, "godwitd: not all of what was stored lately is remembered: %s\n",
                strerror(-err));
}

/* ---- running ---- */

static int run_core(void *arg)
{
    return gw_core_run(arg, &stop);
}

static int run_commit(void *arg)
{
    struct broker *b = arg;
    while (!atomic_load_explicit(&b->stop_commit, memory_order_relaxed))
        if (gw_store_commit_poll(b->store) == 0)
            gw_store_commit_wait(b->store, COMMIT_IDLE_US);
    return 0;
}

static int launch(struct broker *b)
{
    unsigned count = b->config->lcore_count;
    int err = gw_eal_launch(b->eal, count, run_commit, b);
    b->committing = err == 0;
    for (unsigned i = 0; err == 0 && i < count; i++) {
        err = gw_eal_launch(b->eal, i, run_core, gw_cores_at(b->cores, i));
        b->launched += err == 0;
    }
    return err;
}

static int run_control(struct broker *b)
{
    unsigned count = b->config->lcore_count;
    struct gw_control_env env = {
        .expire_before_us = &b->expire_before_us,
        .config = b->config,
        .store = b->store,
        .client = gw_store_client(b->store, count),
        .job_client = gw_store_client(b->store, count + 1),
        .keys = b->keys,
        .sealer = b->sealer,
        .job_sealer = b->job_sealer,
        .lcores = b->views,
        .lcore_count = count,
        .huge_pages = gw_eal_has_huge_pages(b->eal),
        .port_queues = gw_ports_queue_count(b->ports),
        .software_dispatch = gw_ports_dispatches(b->ports),
        .stop = &stop,
    };
    if (!env.huge_pages)
        fprintf(stderr, "godwitd: running without huge pages: slower; see docs/OPERATING.md\n");
    return gw_control_run(&env);
}

static int start(struct broker *b)
{
    int err = open_port(b);
    if (err == 0)
        err = open_store(b);
    if (err == 0)
        err = gw_deriver_open(&b->deriver, b->config->lcore_count);
    if (err == 0)
        err = gw_sealer_open(&b->sealer, GW_SEAL_IPSEC_MB, CONTROL_SEALER);
    if (err == 0)
        err = gw_sealer_open(&b->job_sealer, GW_SEAL_IPSEC_MB, JOB_SEALER);
    if (err == 0)
        err = open_cores(b);
    if (err == 0)
        recall(b);
    return err == 0 ? launch(b) : err;
}

static void finish(struct broker *b)
{
    atomic_store(&stop, true);
    for (unsigned i = 0; i < b->launched; i++)
        gw_eal_wait(b->eal, i);
    atomic_store(&b->stop_commit, true);
    if (b->committing)
        gw_eal_wait(b->eal, b->config->lcore_count);
    gw_cores_free(&b->cores);
    gw_sealer_free(&b->sealer);
    gw_sealer_free(&b->job_sealer);
    gw_deriver_free(&b->deriver);
    gw_store_free(&b->store);
    gw_keyring_free(&b->keys);
    gw_ports_free(&b->ports);
    gw_eal_free(&b->eal);
    gw_config_free(&b->config);
}

/* ---- the command line ---- */

static void usage(FILE *out)
{
    fputs("usage: godwitd --config FILE [--check-config | --list-backups | --restore[=N] |\n"
          "                               --verify-store | --verify-backup[=N]]\n"
          "\n"
          "  --config FILE        read this configuration and run\n"
          "  --check-config       only report its mistakes: status 0 when there are none\n"
          "while no broker runs on the store:\n"
          "  --list-backups       number, time and bytes of each\n"
          "  --restore[=N]        make the store from backup N, or from the newest\n"
          "  --verify-store       open every record: status 4 when some do not open\n"
          "  --verify-backup[=N]  the same of a backup\n"
          "  --help-config        describe every setting\n"
          "  --version\n"
          "  --help\n",
          out);
}

static void catch_signals(void)
{
    struct sigaction act = {.sa_handler = on_signal};
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int run(const char *config_path)
{
    static struct broker b;
    if (gw_config_read(&b.config, config_path, stderr) != 0)
        return 2;
    catch_signals();
    int err = start(&b);
    if (err == 0)
        err = run_control(&b);
    if (err != 0)
        fprintf(stderr, "godwitd: stopped: %s\n", strerror(-err));
    finish(&b);
    return err == 0 ? 0 : 1;
}

static int check_config(const char *config_path)
{
    struct gw_config *c;
    if (gw_config_read(&c, config_path, stderr) != 0)
        return 2;
    gw_config_free(&c);
    printf("%s: no mistakes\n", config_path);
    return 0;
}

/* One thing and its end. `what` is the option's letter. */
static int run_offline(const char *config_path, char what, uint32_t id)
{
    struct gw_config *c;
    if (gw_config_read(&c, config_path, stderr) != 0)
        return 2;
    int status = what == 'l'   ? offline_list_backups(c)
                 : what == 'R' ? offline_restore(c, id)
                 : what == 'V' ? offline_verify_store(c)
                               : offline_verify_backup(c, id);
    gw_config_free(&c);
    return status;
}

static bool parse_id(const char *text, uint32_t *id)
{
    char *end;
    if (text == NULL)
        return true;
    unsigned long n = strtoul(text, &end, 10);
    *id = (uint32_t)n;
    return end != text && *end == '\0' && n > 0 && n <= UINT32_MAX;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"list-backups", no_argument, NULL, 'l'},  {"restore", optional_argument, NULL, 'R'},
        {"verify-store", no_argument, NULL, 'V'},  {"verify-backup", optional_argument, NULL, 'B'},
        {"config", required_argument, NULL, 'c'},  {"check-config", no_argument, NULL, 'k'},
        {"help-config", no_argument, NULL, 'r'},   {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},          {0},
    };
    const char *config = NULL;
    bool check_only = false;
    char offline = 0;
    uint32_t id = 0;
    int o;
    while ((o = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
        switch (o) {
        case 'c':
            config = optarg;
            break;
        case 'k':
            check_only = true;
            break;
        case 'l':
        case 'R':
        case 'V':
        case 'B':
            if (offline != 0 || !parse_id(optarg, &id)) {
                usage(stderr);
                return 2;
            }
            offline = (char)o;
            break;
        case 'r':
            gw_config_print_reference(stdout);
            return 0;
        case 'v':
            puts("godwitd " GW_VERSION);
            return 0;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (config == NULL || optind != argc) {
        usage(stderr);
        return 2;
    }
    if (offline != 0)
        return run_offline(config, offline, id);
    return check_only ? check_config(config) : run(config);
}
