/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "../dataplane/base/check.h"
#include "../storage/account.h"
#include "config_table.h"

static const char *const idle_names[] = {
    [GW_IDLE_POLL] = "poll", [GW_IDLE_ADAPTIVE] = "adaptive", NULL};
static const char *const dispatch_names[] = {[GW_DISPATCH_AUTO] = "auto",
                                             [GW_DISPATCH_PORT] = "port",
                                             [GW_DISPATCH_SOFTWARE] = "software",
                                             NULL};
static const char *const durability_names[] = {
    [GW_DURABILITY_SYNC] = "sync", [GW_DURABILITY_ASYNC] = "async", NULL};
static const char *const engine_names[] = {"rocksdb", "mem", NULL};

#define AT(field) .offset = offsetof(struct gw_config, field)
#define WIDE(field)                                                                                \
    AT(field), .width = sizeof(((struct gw_config *)0)->field)
#define LIST_AT(field, counter)                                                                    \
    AT(field), .width = sizeof(((struct gw_config *)0)->field[0]),                                 \
        .count_max = sizeof(((struct gw_config *)0)->field) /                                      \
                     sizeof(((struct gw_config *)0)->field[0]),                                    \
        .count_offset = offsetof(struct gw_config, counter)

#define NUMBER(group_, field, preset, low, high, help_)                                            \
    {.group = group_, .name = #field, .type = SETTING_NUMBER, WIDE(field), .preset_text = preset,  \
     .min = (low), .max = (high), .help = help_}
#define FLAG(group_, field, preset, help_)                                                         \
    {.group = group_, .name = #field, .type = SETTING_BOOL, WIDE(field), .preset_text = preset,    \
     .help = help_}
#define CHOICE(group_, field, preset, names, help_)                                                \
    {.group = group_, .name = #field, .type = SETTING_CHOICE, WIDE(field), .preset_text = preset,  \
     .choices = names, .help = help_}
#define TEXT(group_, field, type_, needed, preset, high, names, help_)                             \
    {.group = group_, .name = #field, .type = type_, AT(field), .required = needed,                \
     .preset_text = preset, .min = 1, .max = (high), .choices = names, .help = help_}

#define FORMED(field, counter, form_, needed, preset, help_)                                       \
    {.group = "port", .name = #field, .type = SETTING_FORMED, LIST_AT(field, counter),             \
     .preset_text = preset, .required = needed, .form = &config_form_##form_, .help = help_}

const struct setting config_settings[] = {
    {.group = "dataplane", .name = "eal_args", .type = SETTING_STRINGS,
     LIST_AT(eal_args, eal_arg_count), .preset_text = "()", .min = 1, .max = 1024,
     .help = "Further arguments for DPDK's EAL, passed as they are, after the broker's own."},
    NUMBER("dataplane", lcore_count, "1", 1, GW_CONFIG_LCORES_MAX,
           "Polled cores that serve connections. Each takes a CPU of its own."),
    {.group = "dataplane", .name = "lcore_cpus", .type = SETTING_NUMBERS,
     LIST_AT(lcore_cpus, lcore_cpu_count), .preset_text = "[]", .min = 0, .max = 1023,
     .help = "The CPU of each of them; empty: the first ones that this process may use."},
    NUMBER("dataplane", commit_cpu, "-1", -1, 1023,
           "The CPU of the commit core, which makes messages durable; -1: the last one."),
    NUMBER("dataplane", storage_cpu, "-1", -1, 1023,
           "The CPU of the storage thread; -1: the last one."),
    NUMBER("dataplane", control_cpu, "-1", -1, 1023,
           "The CPU of the control threads; -1: the last one."),
    CHOICE("dataplane", idle, "adaptive", idle_names,
           "What a core does that has nothing to do: poll on (lowest latency, a CPU always busy) or "
           "pause longer and longer up to a bound (laptops, CI)."),
    FLAG("dataplane", huge_pages, "true",
         "Use 2 MiB pages when the system has any free. Without them everything works, slower."),
    NUMBER("dataplane", memory_mib, "256", 32, 1048576,
           "Memory of each polled core for data on its way, in MiB, reserved at start."),
    NUMBER("dataplane", connection_limit, "20000", 1, 16000000,
           "Connections of the whole broker; memory for all of them is reserved at start."),

    TEXT("port", port_device, SETTING_STRING, true, "net_af_packet0,iface=gw0", 1024, NULL,
         "The network port: a DPDK virtual device with its arguments (net_af_packet0,iface=..., "
         "net_af_xdp0,iface=..., net_tap0,iface=..., net_memif0,...) or a PCI address."),
    NUMBER("port", port_mtu, "1500", 576, 9000, "The largest IP packet on this port, in bytes."),
    NUMBER("port", port_queues, "0", 0, GW_CONFIG_LCORES_MAX,
           "Receive and transmit queues of the port; 0: one for each polled core where the device "
           "has so many. With fewer than cores, those with a queue work for the others."),
    CHOICE("port", dispatch, "auto", dispatch_names,
           "How a connection finds its core: port, the device's queues decide, one for each core; "
           "software, a hash that the cores compute, and hand frames to each other; auto, port "
           "where the device computes that very hash, else software."),
    FORMED(addresses, address_count, network, true, "(\"10.77.0.1/24\")",
           "The broker's own addresses, IPv4 or IPv6 or both, each with the length of its network's "
           "prefix. No kernel interface may have them."),
    FORMED(ranges, range_count, range, false, "()",
           "Further addresses, whole prefixes of them, that the broker answers for on its link and "
           "accepts connections to. Not the network or broadcast address of its own IPv4 networks."),
    FORMED(routes, route_count, route, false, "()",
           "Where what is in no network of the addresses goes: prefixes and their routers, of which "
           "the longest prefix counts. \"default\" is everything of the router's family."),
    FORMED(listen, listen_count, listen, false, "(\"*:5222\")",
           "Where XMPP clients connect: an address of the above (* is all of them) and a TCP port."),

    FLAG("tcp", keepalive, "false",
         "Probe clients that say nothing, and end the connections of those that are gone: what was "
         "not delivered there returns to its mailbox. See also xmpp.ping_after_s."),
    NUMBER("tcp", keepalive_idle_s, "7200", 1, 64800,
           "Seconds of silence after which a client is probed, known to about a second."),
    NUMBER("tcp", keepalive_interval_s, "75", 1, 3600,
           "Seconds from one probe to the next while none is answered."),
    NUMBER("tcp", keepalive_probes, "9", 1, 15,
           "Probes without an answer after which a connection ends, an interval behind the last."),

    TEXT("xmpp", domain, SETTING_STRING, true, "example.org", 1023, NULL,
         "The domain that this broker serves: the part of its users' addresses behind the @."),
    {.group = "xmpp", .name = "further_domains", .type = SETTING_STRINGS,
     LIST_AT(further_domains, further_domain_count), .preset_text = "()", .min = 1, .max = 1023,
     .help = "Further domains that it serves, each with accounts of its own; they reach each other. An "
             "account without @, where an operator names one, is of xmpp.domain."},
    {.group = "xmpp", .name = "contacts", .type = SETTING_STRINGS, LIST_AT(contacts, contact_count),
     .preset_text = "()", .min = 1, .max = 256,
     .help = "Where the operator can be reached, for everybody to see (XEP-0157), as "
             "abuse=mailto:abuse@example.org: abuse, admin, feedback, sales, security, status or "
             "support, and an address."},
    FLAG("xmpp", allow_plain, "false",
         "Offer SASL PLAIN on connections without TLS: the password can be read on the way."),
    NUMBER("xmpp", stanza_bytes_max, "262144", 10000, 524288,
           "The largest stanza of a logged-in client, in bytes (RFC 6120 asks for 10000)."),
    NUMBER("xmpp", auth_stanza_bytes_max, "8192", 4096, 65536,
           "The largest element of a client that has not logged in yet, in bytes."),
    NUMBER("xmpp", auth_timeout_s, "30", 1, 3600,
           "Seconds that a client may take from connecting to being logged in."),
    NUMBER("xmpp", ping_after_s, "120", 1, 86400,
           "Seconds of silence after which the server asks a client whether it is there."),
    NUMBER("xmpp", ping_timeout_s, "60", 1, 3600,
           "Seconds without an answer after which such a session ends."),
    NUMBER("xmpp", resume_timeout_s, "300", 0, 86400,
           "Seconds for which a session that has lost its connection waits for its client to resume it "
           "(XEP-0198). 0: it ends at once."),
    FLAG("xmpp", delivered_when_handed_over, "true",
         "A client that offers neither stream management nor answers to pings: count a message as "
         "delivered once TCP has acknowledged it. False: keep it until a better client comes."),
    NUMBER("xmpp", offline_accounts_max, "262144", 1024, 268435456,
           "Accounts that are known in memory besides those with a session, the latest that got "
           "messages; 200 bytes each, reserved at start. A message for any other waits until the store "
           "has been asked."),
    NUMBER("xmpp", repeats_max, "1048576", 0, 268435456,
           "Messages that are remembered, the newest, to know those that their senders repeat because "
           "no acknowledgement came: they are acknowledged and not delivered again. 0: none."),
    NUMBER("xmpp", repeat_window_s, "600", 1, 86400, "Seconds for which they are."),
    NUMBER("xmpp", roster_contacts_max, "1000", 0, 10000,
           "Contacts that an account may have in its roster; more are refused."),
    NUMBER("xmpp", roster_bytes_max, "65536", 1024, 131072,
           "Bytes that an account's roster, the requests to it and its block list may take in all."),

    TEXT("store", store_engine, SETTING_STRING, false, "rocksdb", 32, engine_names,
         "Where messages and accounts are kept; mem is lost at the end of the process."),
    TEXT("store", store_path, SETTING_PATH, true, "/var/lib/godwit/store", 4095, NULL,
         "Directory of the store, made when absent."),
    TEXT("store", master_key_path, SETTING_STRING, true, "/etc/godwit/master.key", 4095, NULL,
         "File of the master key: 32 bytes or 64 hex digits, mode 0600 or stricter; an absolute "
         "path, or credential:NAME for a credential of systemd. Without it nothing in the store can "
         "be read; keep a copy apart from the backups."),
    TEXT("store", backup_path, SETTING_PATH, false, "/var/lib/godwit/backup", 300, NULL,
         "Directory for backups, made when the first one is. Better on another disk."),
    NUMBER("store", backup_keep, "7", 1, 1000, "Backups that are kept; older ones go."),
    NUMBER("store", incarnation_age_s, "604800", 3600, 31536000,
           "Seconds after which the key that seals the log and small records is replaced."),
    CHOICE("store", durability, "sync", durability_names,
           "When a message counts as stored: sync, on the disk, it survives a power loss; async, "
           "with the kernel, it survives the end of the process only."),
    NUMBER("store", window_mib, "256", 16, 65536,
           "Log of recent messages kept in memory, in MiB. Above it the spill to mailboxes hurries; "
           "at twice it, commits wait."),
    NUMBER("store", spill_after_ms, "5000", 100, 3600000,
           "Milliseconds after which a message that still waits moves from the log to its mailbox."),
    NUMBER("store", reserve_mib, "1024", 0, 16777216,
           "Free space of the store's file system, in MiB, below which new messages are refused; "
           "what is delivered is still removed. The log and the spill of what waits live on it."),
    NUMBER("store", mailbox_messages_max, "10000", 1, 1000000000,
           "Messages that may wait for one account; more are refused."),
    NUMBER("store", mailbox_bytes_max, "67108864", 65536, INT64_C(1) << 40,
           "Bytes that may wait for one account; more are refused."),
    NUMBER("store", mailbox_share_percent, "50", 10, 100,
           "Percent of a mailbox that messages of one sender may take; more of them are refused, while "
           "others' are taken. 100: all of it."),
    NUMBER("store", mailbox_age_s, "2592000", 0, 315360000,
           "Seconds that a message may wait; then it is never delivered, and removed. 0: for ever."),

    TEXT("control", control_socket, SETTING_PATH, false, "/run/godwit/control.sock", 107, NULL,
         "The Unix socket of godwitctl."),
    {.group = "control", .name = "control_uids", .type = SETTING_NUMBERS,
     LIST_AT(control_uids, control_uid_count), .preset_text = "[]", .min = 0, .max = 4294967294,
     .help = "Numeric ids of users who may use it, besides root and the broker's own user."},
    FLAG("control", capture, "false",
         "Allow captures of the port's frames (godwitctl pcap start). They hold what clients say: "
         "without TLS also their messages, and passwords with SASL PLAIN."),
    {.group = "control", .name = "capture_gids", .type = SETTING_NUMBERS,
     LIST_AT(capture_gids, capture_gid_count), .preset_text = "[]", .min = 0, .max = 4294967294,
     .help = "Numeric ids of groups whose members may capture, besides root and the broker's own "
             "user; they have to be let in by control_uids, too."},
    NUMBER("control", metrics_port, "9522", 0, 65535,
           "TCP port on the kernel's loopback for Prometheus (http://127.0.0.1:PORT/metrics); 0: off."),
    NUMBER("control", scram_iterations, "4096", GW_SCRAM_ITERATIONS_MIN, GW_SCRAM_ITERATIONS_MAX,
           "Iterations of password hashes that the broker derives; each client pays them too."),
    NUMBER("control", ledger_age_s, "2592000", 600, 315360000,
           "Seconds that the ledger of receipts reaches back."),
};

const unsigned config_setting_count = sizeof(config_settings) / sizeof(config_settings[0]);

int64_t setting_get_number(const void *field, uint8_t width)
{
    uint64_t v = 0;
    check(width <= sizeof(v));
    memcpy(&v, field, width);
    return width == 4 && v == UINT32_MAX ? -1 : (int64_t)v;
}

void setting_set_number(void *field, uint8_t width, int64_t value)
{
    check(width <= sizeof(value));
    memcpy(field, &value, width);
}

static void describe_choices(const struct setting *s, char *out, size_t cap)
{
    size_t off = 0;
    for (unsigned i = 0; s->choices[i] != NULL && off < cap; i++)
        off += (size_t)snprintf(out + off, cap - off, "%s\"%s\"", i == 0 ? "" : " or ",
                                s->choices[i]);
}

void setting_describe_accepted(const struct setting *s, char *out, size_t cap)
{
    if (s->choices != NULL) {
        describe_choices(s, out, cap);
        return;
    }
    switch (s->type) {
    case SETTING_NUMBER:
        snprintf(out, cap, "a number from %" PRId64 " to %" PRId64, s->min, s->max);
        break;
    case SETTING_BOOL:
        snprintf(out, cap, "true or false");
        break;
    case SETTING_CHOICE:
        check(s->choices != NULL);
        break;
    case SETTING_STRING:
        snprintf(out, cap, "a string of %" PRId64 " to %" PRId64 " bytes", s->min, s->max);
        break;
    case SETTING_PATH:
        snprintf(out, cap, "an absolute path of at most %" PRId64 " bytes", s->max);
        break;
    case SETTING_NUMBERS:
        snprintf(out, cap, "an array of at most %u numbers from %" PRId64 " to %" PRId64,
                 (unsigned)s->count_max, s->min, s->max);
        break;
    case SETTING_STRINGS:
        snprintf(out, cap, "a list of at most %u strings", (unsigned)s->count_max);
        break;
    case SETTING_FORMED:
        snprintf(out, cap, "a list of at most %u %s", (unsigned)s->count_max, s->form->accepted);
        break;
    }
}
