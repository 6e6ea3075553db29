/* SPDX-License-Identifier: Apache-2.0 */
#include "schema.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../dataplane/tcp/info.h"

static const char *const conn_states[] = {
#define X(upper, text, word) word,
    GW_TCP_STATES(X)
#undef X
    NULL};
static const char *const key_kinds[] = {"master", "accounts", "incarnation", NULL};
static const char *const receipt_states[] = {"stored", "expired", "delivered", "received", "displayed", NULL};

/* An account as an operator writes it. */
#define ACCOUNT(help_)                                                                             \
    {.name = "account", .type = SCHEMA_STRING, .required = true, .positional = true, .min = 1,     \
     .max = 2047, .help = help_}
#define ACCOUNT_FILTER(help_)                                                                      \
    {.name = "account", .type = SCHEMA_STRING, .min = 1, .max = 2047, .help = help_}
#define LIMIT(help_)                                                                               \
    {.name = "limit", .type = SCHEMA_NUMBER, .min = 1, .max = SCHEMA_PAGE_ROWS_MAX, .help = help_}
#define CURSOR(help_)                                                                              \
    {.name = "cursor", .type = SCHEMA_STRING, .min = 0, .max = 4096, .help = help_}
#define JOB_ID                                                                                     \
    {.name = "job", .type = SCHEMA_NUMBER, .required = true, .positional = true, .min = 1,         \
     .max = UINT32_MAX, .help = "its number, as user import or job list shows it"}
#define RECEIPT_FILTERS                                                                            \
    ACCOUNT_FILTER("only messages from or to this account"),                                       \
        {.name = "peer", .type = SCHEMA_STRING, .min = 1, .max = 2047,                             \
         .help = "and of these only with this other account"},                                     \
        {.name = "id", .type = SCHEMA_STRING, .min = 1, .max = 65535,                              \
         .help = "only messages with this id"}

const struct schema_command schema_commands[] = {
    {.method = "status", .cli = "status", .summary = "show how the broker is",
     .detail = "Version, addresses, uptime, sessions, the store's log and the ledger.",
     .example = "godwitctl status"},

    {.method = "user.add", .cli = "user add", .summary = "create an account",
     .detail = "The password is asked for on the terminal, without echo, or read from standard "
               "input. The broker keeps keys derived from it, never the password.",
     .example = "godwitctl user add alice",
     .params = {ACCOUNT("its address, or the part before the @"),
                {.name = "password", .type = SCHEMA_SECRET, .required = true, .min = 1, .max = 1024,
                 .help = "read the password from standard input, one line"}}},
    {.method = "user.del", .cli = "user del", .summary = "delete an account with all that waits for it",
     .detail = "Its sessions end, messages that wait for it are dropped. A later account of the same "
               "name inherits nothing.",
     .example = "godwitctl user del alice",
     .params = {ACCOUNT("its address, or the part before the @")}},
    {.method = "user.list", .cli = "user list", .summary = "list accounts", .pages = true,
     .detail = "In the order of addresses, with their login mechanisms.",
     .example = "godwitctl user list --prefix u1",
     .params = {{.name = "prefix", .type = SCHEMA_STRING, .min = 0, .max = 1023,
                 .help = "only addresses that begin so"},
                LIMIT("only so many"), CURSOR("go on behind this address")}},
    {.method = "user.show", .cli = "user show", .summary = "show what waits for an account",
     .detail = "Messages and bytes are counted as they lie in its mailbox, with the limit of each: its "
               "own, or the configured one.",
     .example = "godwitctl user show alice",
     .params = {ACCOUNT("its address, or the part before the @")}},
    {.method = "user.set_limit", .cli = "user set-limit", .summary = "limit an account's mailbox",
     .detail = "Instead of store.mailbox_messages_max and store.mailbox_bytes_max. What waits already "
               "stays, whatever the limit; new messages are refused above it.",
     .example = "godwitctl user set-limit alice --messages 500",
     .params = {ACCOUNT("its address, or the part before the @"),
                {.name = "messages", .type = SCHEMA_NUMBER, .min = 0, .max = 1000000000,
                 .help = "messages that may wait; 0: as configured"},
                {.name = "bytes", .type = SCHEMA_NUMBER, .min = 0, .max = INT64_C(1) << 40,
                 .help = "bytes that may wait; 0: as configured"}}},
    {.method = "user.passwd", .cli = "user passwd", .summary = "change an account's password",
     .detail = "Sessions that are open stay open; see session end.",
     .example = "godwitctl user passwd alice",
     .params = {ACCOUNT("its address, or the part before the @"),
                {.name = "password", .type = SCHEMA_SECRET, .required = true, .min = 1, .max = 1024,
                 .help = "read the password from standard input, one line"}}},
    {.method = "user.import", .cli = "user import", .summary = "create many accounts from a file",
     .detail = "One account a line: its address or the part before the @, blanks, and either keys as "
               "RFC 5803 writes them (SCRAM-SHA-256$4096:SALT$STOREDKEY:SERVERKEY, one or more, with "
               "blanks between) or password:THE REST OF THE LINE. Lines that begin with # and empty "
               "lines are skipped. godwitctl opens the file (- is standard input); the broker works "
               "on it as a job, whose progress is shown until it ends; interrupting godwitctl does not "
               "stop it, job cancel does.",
     .example = "godwitctl user import accounts.txt",
     .params = {{.name = "file", .type = SCHEMA_FILE, .required = true, .positional = true,
                 .help = "the file, or - for standard input"},
                {.name = "replace", .type = SCHEMA_FLAG,
                 .help = "give accounts that exist the new keys instead of leaving them as they are"}}},

    {.method = "session.list", .cli = "session list", .summary = "list sessions", .pages = true,
     .detail = "Every bound resource with its address, and how many messages are on the way to it.",
     .example = "godwitctl session list --account alice",
     .params = {ACCOUNT_FILTER("only this account's"), LIMIT("only so many"), CURSOR("where to go on")}},
    {.method = "session.end", .cli = "session end", .summary = "end the sessions of an account",
     .detail = "The client gets the stream error policy-violation and may log in again.",
     .example = "godwitctl session end alice",
     .params = {ACCOUNT("whose sessions")}},

    {.method = "neighbour.list", .cli = "neighbour list", .summary = "list neighbours on the link",
     .pages = true,
     .detail = "What ARP and NDP have found, as each core knows it: the Ethernet address, whether it "
               "is confirmed, and how long ago it was heard of.",
     .example = "godwitctl neighbour list",
     .params = {LIMIT("only so many"), CURSOR("where to go on")}},

    {.method = "conn.list", .cli = "conn list", .summary = "list TCP connections", .pages = true,
     .detail = "As TCP sees them, half-open ones and those in TIME-WAIT too, in no order. What comes "
               "or goes while they are listed may be missing or be there still. The first column is "
               "what conn show takes.",
     .example = "godwitctl conn list --state established --queued 65536",
     .params = {{.name = "state", .type = SCHEMA_CHOICE, .choices = conn_states + 1,
                 .help = "only those in this state"},
                {.name = "remote", .type = SCHEMA_STRING, .min = 2, .max = 60,
                 .help = "only with this other end: an address, one with a port, or a prefix, as "
                         "10.1.2.3, 10.1.2.3:4567, [fd00::1]:4567, 10.0.0.0/8"},
                {.name = "local_port", .type = SCHEMA_NUMBER, .min = 1, .max = 65535,
                 .help = "only to this port of ours"},
                ACCOUNT_FILTER("only this account's"),
                {.name = "retransmitting", .type = SCHEMA_FLAG,
                 .help = "only those that are repeating something, or wait for a late answer"},
                {.name = "queued", .type = SCHEMA_NUMBER, .min = 1, .max = UINT32_MAX,
                 .help = "only with at least so many bytes to send, or received and not read"},
                LIMIT("only so many"), CURSOR("where to go on")}},
    {.method = "conn.show", .cli = "conn show", .summary = "show all about a TCP connection",
     .detail = "Windows, round-trip times, congestion control, queues and timers.",
     .example = "godwitctl conn show 0:17",
     .params = {{.name = "conn", .type = SCHEMA_STRING, .required = true, .positional = true,
                 .min = 3, .max = 60,
                 .help = "its id, as conn list shows it, or its other end, as 10.1.2.3:4567"}}},

    {.method = "receipts.list", .cli = "receipts", .summary = "show what became of messages",
     .pages = true,
     .detail = "From the ledger: when each message was accepted, stored, delivered, received and "
               "displayed. The newest are shown, oldest first. With --follow every further event is "
               "printed as one line of JSON; its cursor, given to --since, continues there.",
     .example = "godwitctl receipts --account bob --undelivered-for 1h",
     .params = {RECEIPT_FILTERS,
                {.name = "state", .type = SCHEMA_CHOICE, .choices = receipt_states,
                 .help = "only messages that have come exactly so far"},
                {.name = "undelivered_for", .type = SCHEMA_DURATION, .min = 0, .max = 315360000,
                 .help = "only messages stored for longer than this and not delivered"},
                {.name = "age", .type = SCHEMA_DURATION, .min = 1, .max = 315360000,
                 .help = "only messages accepted within this time"},
                LIMIT("the newest so many (default 200)"), CURSOR("only messages before this one")}},
    {.method = "receipts.follow", .summary = "send every further event", .streams = true,
     .detail = "The answer holds the cursor at which the stream starts; each notification "
               "receipts.event holds the event and the cursor behind it.",
     .params = {RECEIPT_FILTERS,
                {.name = "since", .type = SCHEMA_STRING, .min = 1, .max = 64,
                 .help = "start at this cursor instead of now; 0 is the oldest event kept"}}},

    {.method = "key.status", .cli = "key status", .summary = "show the keys in use",
     .detail = "Which master key wraps all others (a digest of it, which tells two apart), whether "
               "another is still in memory, the incarnation key in use and how many are kept, and "
               "whether a rotation or the erasing of deleted accounts' keys is under way.",
     .example = "godwitctl key status"},
    {.method = "key.rotate", .cli = "key rotate", .summary = "replace keys while the broker runs",
     .job = true,
     .detail = "master: every key is wrapped by the next master key, which lies beside the one in use "
               "with .next behind its name; the old one opens nothing afterwards. accounts: each "
               "account gets a new key, and the messages in its mailbox are sealed under it. "
               "incarnation: a new key seals the log and small records, old ones that nothing needs "
               "any more are destroyed.",
     .example = "godwitctl key rotate master",
     .params = {{.name = "what", .type = SCHEMA_CHOICE, .required = true, .positional = true,
                 .choices = key_kinds, .help = "master, accounts or incarnation"}}},

    {.method = "store.stats", .cli = "store stats", .summary = "show the sizes of what is stored",
     .detail = "The commit log, what of it is not yet spilled to mailboxes, and the keys by kind: "
               "their number is an estimate. PENDING is what compaction is still to rewrite.",
     .example = "godwitctl store stats"},
    {.method = "store.verify", .cli = "store verify", .summary = "open every record", .job = true,
     .detail = "All messages, events, small records and keys are opened, a few at a time beside the "
               "usual work. Those that do not open are named by mailbox and account; exit status 4 "
               "tells that there are some. Nothing is changed.",
     .example = "godwitctl store verify"},
    {.method = "store.backup", .cli = "store backup", .summary = "back the store up", .job = true,
     .detail = "All that is durable now goes into the configured backup_path; only what has changed "
               "since the last backup is copied. The backup does not hold the master key. godwitd "
               "--restore makes a store of it.",
     .example = "godwitctl store backup"},

    {.method = "job.list", .cli = "job list", .summary = "list long-running jobs",
     .detail = "Those under way and the last ones that ended.",
     .example = "godwitctl job list"},
    {.method = "job.show", .cli = "job show", .summary = "show a job and what it complained about",
     .detail = "", .example = "godwitctl job show 3",
     .params = {JOB_ID,
                {.name = "errors_from", .type = SCHEMA_NUMBER, .min = 0, .max = UINT32_MAX,
                 .help = "of its complaints, start with this one (the first is 0)"}}},
    {.method = "job.cancel", .cli = "job cancel", .summary = "stop a job",
     .detail = "What it has done already stays done.", .example = "godwitctl job cancel 3",
     .params = {JOB_ID}},
    {.method = "job.follow", .summary = "send a job's progress until it ends", .streams = true,
     .detail = "Notifications job.progress hold the job; the one whose `ended` is true is the last.",
     .params = {JOB_ID}},

    {.method = "pcap.start", .cli = "pcap start", .summary = "write frames of the port to a file",
     .streams = true,
     .detail = "As pcapng, which Wireshark and tcpdump read, of all cores, both directions. godwitctl "
               "makes the file, which must not exist, or gives the capture to standard output (-), "
               "and waits; the capture ends with it, at the first limit, or by pcap stop. One at a "
               "time; only where the configuration has capture = true. A capture holds whatever "
               "clients and server say that is not encrypted: passwords by SASL PLAIN, messages.",
     .example = "godwitctl pcap start --filter 'tcp port 5222 and host 10.1.2.3' --seconds 5m "
                "fault.pcapng",
     .params = {{.name = "file", .type = SCHEMA_OUTPUT, .required = true, .positional = true,
                 .help = "the file to make, or - for standard output"},
                {.name = "filter", .type = SCHEMA_STRING, .min = 0, .max = 1000,
                 .help = "only frames that match: as tcpdump has it, with numbers and addresses in "
                         "place of names"},
                {.name = "bytes", .type = SCHEMA_NUMBER, .min = 65536, .max = INT64_C(1) << 40,
                 .help = "end before the file becomes larger (default 100000000)"},
                {.name = "seconds", .type = SCHEMA_DURATION, .min = 1, .max = 86400,
                 .help = "end after this time (default 60)"},
                {.name = "snaplen", .type = SCHEMA_NUMBER, .min = 64, .max = 65535,
                 .help = "keep only the first so many bytes of each frame (default 65535)"}}},
    {.method = "pcap.stop", .cli = "pcap stop", .summary = "end the capture that is under way",
     .detail = "Answers when its file is complete.", .example = "godwitctl pcap stop"},
    {.method = "pcap.status", .cli = "pcap status", .summary = "show the capture, or the last one",
     .detail = "Also whether this user may capture.", .example = "godwitctl pcap status"},

    {.method = "lcore.stat", .cli = "lcore stat", .summary = "show what the polled cores do",
     .detail = "Passes, connections, memory, frames handed to other cores and dropped because those did "
               "not take them, and the share of CPU cycles that each stage of the pass took since "
               "start.",
     .example = "godwitctl lcore stat"},
    {.method = "counters", .cli = "counters", .summary = "show all counters",
     .detail = "Added up over the cores. Those that are zero are left out.",
     .example = "godwitctl counters --all",
     .params = {{.name = "all", .type = SCHEMA_FLAG, .help = "show those that are zero, too"},
                {.name = "each", .type = SCHEMA_FLAG, .help = "show each core's, not the sums"}}},
    {.method = "config.show", .cli = "config", .summary = "show the settings in effect",
     .detail = "As the broker runs with them, defaults included.", .example = "godwitctl config"},
    {.method = "rpc.discover", .summary = "describe every method",
     .detail = "The schema that the broker checks requests against."},
};

const unsigned schema_command_count = sizeof(schema_commands) / sizeof(schema_commands[0]);

unsigned schema_param_count(const struct schema_command *c)
{
    unsigned n = 0;
    while (n < SCHEMA_PARAMS_MAX && c->params[n].name != NULL)
        n++;
    return n;
}

const struct schema_command *schema_find(const char *method)
{
    for (unsigned i = 0; i < schema_command_count; i++)
        if (strcmp(schema_commands[i].method, method) == 0)
            return &schema_commands[i];
    return NULL;
}

const struct schema_param *schema_find_param(const struct schema_command *c, const char *name)
{
    for (unsigned i = 0; i < schema_param_count(c); i++)
        if (strcmp(c->params[i].name, name) == 0)
            return &c->params[i];
    return NULL;
}

static void describe_choices(const struct schema_param *p, char *out, size_t cap)
{
    size_t off = 0;
    for (unsigned i = 0; p->choices[i] != NULL && off < cap; i++)
        off += (size_t)snprintf(out + off, cap - off, "%s%s",
                                i == 0 ? "" : p->choices[i + 1] == NULL ? " or " : ", ",
                                p->choices[i]);
}

void schema_describe_accepted(const struct schema_param *p, char *out, size_t cap)
{
    switch (p->type) {
    case SCHEMA_STRING:
    case SCHEMA_SECRET:
        snprintf(out, cap, "a string of %" PRId64 " to %" PRId64 " bytes", p->min, p->max);
        break;
    case SCHEMA_NUMBER:
        snprintf(out, cap, "a number from %" PRId64 " to %" PRId64, p->min, p->max);
        break;
    case SCHEMA_DURATION:
        snprintf(out, cap, "seconds from %" PRId64 " to %" PRId64, p->min, p->max);
        break;
    case SCHEMA_FLAG:
        snprintf(out, cap, "true or false");
        break;
    case SCHEMA_CHOICE:
        describe_choices(p, out, cap);
        break;
    case SCHEMA_FILE:
    case SCHEMA_OUTPUT:
        snprintf(out, cap, "true, with a file descriptor sent along (SCM_RIGHTS)");
        break;
    }
}

static bool is_acceptable(const struct schema_param *p, const json_t *value)
{
    switch (p->type) {
    case SCHEMA_STRING:
    case SCHEMA_SECRET:
        return json_is_string(value) && json_string_length(value) >= (size_t)p->min &&
               json_string_length(value) <= (size_t)p->max;
    case SCHEMA_NUMBER:
    case SCHEMA_DURATION:
        return json_is_integer(value) && json_integer_value(value) >= p->min &&
               json_integer_value(value) <= p->max;
    case SCHEMA_FLAG:
        return json_is_boolean(value);
    case SCHEMA_CHOICE:
        for (unsigned i = 0; p->choices[i] != NULL; i++)
            if (json_is_string(value) && strcmp(json_string_value(value), p->choices[i]) == 0)
                return true;
        return false;
    case SCHEMA_FILE:
    case SCHEMA_OUTPUT:
        return json_is_true(value);
    }
    return false;
}

bool schema_check_value(const struct schema_param *p, const json_t *value, char *err, size_t cap)
{
    char accepted[256];
    if (is_acceptable(p, value))
        return true;
    schema_describe_accepted(p, accepted, sizeof(accepted));
    snprintf(err, cap, "%s is not %s", p->name, accepted);
    return false;
}

static const char *type_name(const struct schema_param *p)
{
    static const char *const names[] = {
        [SCHEMA_STRING] = "string",  [SCHEMA_NUMBER] = "integer",  [SCHEMA_DURATION] = "integer",
        [SCHEMA_FLAG] = "boolean",   [SCHEMA_CHOICE] = "string",   [SCHEMA_SECRET] = "string",
        [SCHEMA_FILE] = "boolean",   [SCHEMA_OUTPUT] = "boolean",
    };
    return names[p->type];
}

static json_t *describe_param(const struct schema_param *p)
{
    char accepted[256];
    schema_describe_accepted(p, accepted, sizeof(accepted));
    return json_pack("{s:s, s:s, s:b, s:s, s:s}", "name", p->name, "type", type_name(p), "required",
                     p->required, "accepted", accepted, "help", p->help);
}

static json_t *describe_command(const struct schema_command *c)
{
    json_t *params = json_array();
    for (unsigned i = 0; i < schema_param_count(c); i++)
        json_array_append_new(params, describe_param(&c->params[i]));
    return json_pack("{s:s, s:s, s:s, s:b, s:b, s:o}", "name", c->method, "summary", c->summary,
                     "description", c->detail, "streams", c->streams, "pages", c->pages, "params",
                     params);
}

json_t *schema_describe_all(void)
{
    json_t *methods = json_array(), *errors = json_array();
    for (unsigned i = 0; i < schema_command_count; i++)
        json_array_append_new(methods, describe_command(&schema_commands[i]));
#define X(upper, code, meaning)                                                                    \
    json_array_append_new(errors, json_pack("{s:i, s:s}", "code", code, "meaning", meaning));
    RPC_ERRORS(X)
#undef X
    return json_pack("{s:o, s:o}", "methods", methods, "errors", errors);
}
