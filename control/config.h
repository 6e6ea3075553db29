/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file (libconfig syntax), read once at start and again by --check-config.
 *
 * packaging/godwitd.conf lists every setting (godwitd --help-config prints it); all are in one table,
 * config_table.c, with type, range, default and help, from which errors and that reference come.
 */
#ifndef GW_CONTROL_CONFIG_H
#define GW_CONTROL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "../dataplane/net/net.h"
#include "../dataplane/port/ports.h"
#include "../storage/store.h"

#define GW_CONFIG_EAL_ARGS_MAX 64
#define GW_CONFIG_LISTEN_MAX   GW_TCP_LISTEN_AT_MAX
#define GW_CONFIG_LCORES_MAX   64
#define GW_CONFIG_FURTHER_DOMAINS_MAX 15
#define GW_CONFIG_CONTACTS_MAX 16

enum gw_idle { GW_IDLE_POLL, GW_IDLE_ADAPTIVE };

struct gw_config {
    /* dataplane */
    char *eal_args[GW_CONFIG_EAL_ARGS_MAX]; /* passed to EAL as they are, after ours */
    unsigned eal_arg_count;
    unsigned lcore_count;                   /* dataplane lcores, 1 .. 64 */
    int lcore_cpus[GW_CONFIG_LCORES_MAX];   /* CPU of each; default 0 for the first, 1 for the next.. */
    unsigned lcore_cpu_count;               /* lcore_count, once read */
    int commit_cpu;                         /* CPU of the commit lcore; default: the last CPU */
    int storage_cpu, control_cpu;           /* default: the last CPU */
    enum gw_idle idle;                      /* default adaptive */
    bool huge_pages;                        /* use them when there are any; default true */
    uint32_t memory_mib;                    /* arena of each dataplane lcore */
    uint32_t connection_limit;              /* of the whole broker */

    /* port */
    char *port_device; /* "net_af_packet0,iface=gw1", "net_tap0,iface=gwtap", "net_af_xdp0,iface=..",
                          a PCI address, "net_memif0,..": an EAL --vdev or device */
    uint16_t port_mtu;
    unsigned port_queues; /* 0: one for each lcore where the device can */
    enum gw_dispatch_mode dispatch;
    struct gw_ip_prefix addresses[GW_NET_ADDRESSES_MAX]; /* ours, each with its network's length */
    unsigned address_count;
    struct gw_ip_prefix ranges[GW_NET_RANGES_MAX]; /* all in them is ours, too */
    unsigned range_count;
    struct gw_ip_route routes[GW_NET_ROUTES_MAX];
    unsigned route_count;
    struct gw_ip_port listen[GW_CONFIG_LISTEN_MAX]; /* default *:5222 */
    unsigned listen_count;

    /* tcp */
    bool keepalive;                /* of every client's connection; default false */
    uint32_t keepalive_idle_s;     /* silence before the first probe; default 7200 */
    uint32_t keepalive_interval_s; /* from one probe to the next; default 75 */
    uint32_t keepalive_probes;     /* without an answer end the connection; default 9 */

    /* xmpp */
    char *domain; /* that of a name without one; prepared, as the further ones are */
    char *further_domains[GW_CONFIG_FURTHER_DOMAINS_MAX];
    unsigned further_domain_count;
    char *contacts[GW_CONFIG_CONTACTS_MAX]; /* "abuse=mailto:.." (XEP-0157), sorted */
    unsigned contact_count;
    bool allow_plain;               /* SASL PLAIN without TLS; default false */
    uint32_t stanza_bytes_max;      /* authenticated; default 262144 */
    uint32_t auth_stanza_bytes_max; /* before authentication; default 8192 */
    uint32_t auth_timeout_s;        /* default 30 */
    uint32_t ping_after_s;          /* silence after which the server pings; default 120 */
    uint32_t ping_timeout_s;        /* and ends the session without an answer; default 60 */
    uint32_t resume_timeout_s;      /* default 300; 0: streams cannot be resumed */
    uint32_t offline_accounts_max;  /* of the whole broker; default 262144 */
    uint32_t roster_contacts_max; /* of one account; default 1000 */
    uint32_t roster_bytes_max;    /* likewise; default 64 KiB */
    uint32_t repeats_max;           /* of the whole broker; default 1048576; 0: none are known */
    uint32_t repeat_window_s;       /* default 600 */
    bool delivered_when_handed_over; /* a client that answers neither SM nor ping: default true */

    /* store */
    char *store_engine; /* "rocksdb" */
    char *store_path;
    char *master_key_path;
    char *backup_path;
    uint32_t backup_keep;       /* default 7 */
    uint32_t incarnation_age_s; /* default 7 days */
    enum gw_durability durability;
    uint32_t window_mib;     /* commit log in memory; default 256 */
    uint32_t spill_after_ms; /* default 5000 */
    uint32_t reserve_mib;    /* free space below which new messages are refused; default 1024 */
    uint32_t mailbox_messages_max; /* default 10000 */
    uint64_t mailbox_bytes_max;    /* default 64 MiB */
    uint32_t mailbox_share_percent; /* default 50 */
    uint32_t mailbox_age_s;        /* default 30 days; 0: for ever */

    /* control */
    char *control_socket;
    uint32_t control_uids[16]; /* besides root and the broker's own uid */
    unsigned control_uid_count;
    bool capture;             /* frames may be captured; default false */
    uint32_t capture_gids[16]; /* by members of these groups, besides root and the broker's own uid */
    unsigned capture_gid_count;
    uint16_t metrics_port;    /* HTTP on loopback; 0 off; default 9522 */
    uint32_t scram_iterations; /* of keys that we derive; default 4096 */
    uint32_t ledger_age_s;     /* default 30 days */
};

/* 0, or -EINVAL after printing every mistake to `errors` as "file:line: what, accepted: ...". */
int gw_config_read(struct gw_config **out, const char *path, FILE *errors);
void gw_config_free(struct gw_config **c);
/* Whether a prepared domain is one of those that are served. */
bool gw_config_serves(const struct gw_config *c, struct gw_bytes domain);
/* Every setting with help, accepted values and default, as a configuration file in which whatever is
 * required has an example and the rest is commented out: --help-config, packaging/godwitd.conf. */
void gw_config_print_reference(FILE *out);

#endif
