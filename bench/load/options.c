/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/base/check.h"

enum kind { TEXT, NUMBER, LARGE, ON, OFF, PREFIX, SPECIAL };

struct option_line {
    const char *name;
    enum kind kind;
    size_t at; /* in struct options */
    const char *argument, *help;
};

#define AT(field) offsetof(struct options, field)

static const struct option_line lines[] = {
    {"sandbox", SPECIAL, 0, "FILE", "host, port and domain from what `scripts/sandbox up` printed"},
    {"host", TEXT, AT(host), "HOST", "of the server (127.0.0.1)"},
    {"port", TEXT, AT(port), "PORT", "(5222)"},
    {"domain", TEXT, AT(domain), "NAME", "XMPP domain (localhost)"},
    {"device", TEXT, AT(device), "DEVICE", "a DPDK device and our own stack, not kernel sockets"},
    {"address", PREFIX, AT(address), "ADDR/BITS", "its address and the link's (10.77.0.2/24)"},
    {"range", PREFIX, AT(range), "ADDR/BITS", "to connect from, when one address is not enough"},
    {"mtu", NUMBER, AT(mtu), "N", "IP packet bytes on it (1500)"},
    {"arena", NUMBER, AT(arena_mib), "MIB", "for what is on its way there (256)"},
    {"no-huge", OFF, AT(huge_pages), NULL, "on 4 KiB pages"},
    {"prefix", TEXT, AT(prefix), "NAME", "users are NAME0, NAME1, .. (u)"},
    {"first", NUMBER, AT(first), "N", "number of the first user (0)"},
    {"password", TEXT, AT(password), "TEXT", "of all users (secret)"},
    {"resource", TEXT, AT(resource), "TEXT", "asked for when binding (none: the server's choice)"},
    {"mechanism", SPECIAL, 0, "NAME", "scram-sha-256, scram-sha-1 or plain (the best SCRAM)"},
    {"no-sm", OFF, AT(stream_management), NULL,
     "no XEP-0198: pings instead of acknowledgement requests"},
    {"clients", NUMBER, AT(clients), "N", "logged in at once (2 for each pair)"},
    {"connecting", NUMBER, AT(connecting), "N", "logins at the same time (100)"},
    {"pairs", NUMBER, AT(pairs), "N", "of clients that talk (1)"},
    {"fan", NUMBER, AT(fan), "N", "mode offline: recipients of each sender (1)"},
    {"wave", NUMBER, AT(wave), "N",
     "mode offline: recipients drain so many at a time, once (0: all, twice)"},
    {"hold", NUMBER, AT(hold), "N",
     "mode offline: so many log in before a wave of them drains; logins do not count (0)"},
    {"phases", ON, AT(phases), NULL, "say on standard error when one begins"},
    {"messages", LARGE, AT(messages), "N", "in all; 0: until SIGTERM or SIGINT (1000)"},
    {"window", NUMBER, AT(window), "N", "messages on their way from each sender (16)"},
    {"rate", NUMBER, AT(rate), "N", "messages a second in all (0: as the window allows)"},
    {"bytes", NUMBER, AT(bytes), "N", "of text in each message (128)"},
    {"plain-text", ON, AT(plain_text), NULL, "of letters only (also what XML must escape)"},
    {"expat-every", NUMBER, AT(expat_every), "N",
     "only each Nth stanza is read by expat, the others by less (1)"},
    {"receipts", ON, AT(receipts), NULL, "ask for and send XEP-0184 receipts"},
    {"reconnect", ON, AT(reconnect), NULL,
     "survive lost connections: log in again, send again what was not acknowledged"},
    {"keepalive-ms", NUMBER, AT(keepalive_ms), "N",
     "silence after which to ask the server for a sign of life (1000)"},
    {"churn-ms", NUMBER, AT(churn_ms), "N",
     "disconnect a random client every N ms on average, half of them by RST (0: never)"},
    {"seconds", NUMBER, AT(seconds), "N", "to stay idle in mode idle (10)"},
    {"deadline", NUMBER, AT(deadline_s), "S", "for the whole run (600)"},
    {"stall", NUMBER, AT(stall_s), "S", "without progress ends the run (30)"},
    {"seed", LARGE, AT(seed), "N", "of contents and random choices (from the clock)"},
    {"json", TEXT, AT(json), "FILE", "result as JSON, - for standard output"},
    {"log", TEXT, AT(log), "FILE", "a line for each message sent, acknowledged, received"},
    {"help", SPECIAL, 0, NULL, "this text"},
};

#define CLIENTS_MAX 4000000u
#define LINE_COUNT  (sizeof(lines) / sizeof(*lines))

static const char *const mode_names[] = {"chat", "offline", "login", "idle"};
static const char *const mechanism_names[] = {"best", "scram-sha-256", "scram-sha-1", "plain"};

static void print_help(void)
{
    printf("usage: godwit-load MODE [OPTION..]\n\n"
           "  chat     pairs of clients talk, both ways\n"
           "  offline  messages for absent clients, who then log in and must get them in order\n"
           "  login    how fast clients log in\n"
           "  idle     clients log in and stay\n"
           "  echo, connect, bulk    TCP alone, over our own stack: godwit-load echo --help\n\n");
    for (size_t i = 0; i < LINE_COUNT; i++) {
        int width = printf("  --%s %s", lines[i].name, lines[i].argument ? lines[i].argument : "");
        printf("%*s%s\n", 24 - width > 1 ? 24 - width : 1, "", lines[i].help);
    }
    printf("\nStatus 0 when nothing was lost, duplicated, reordered or altered and all ended in "
           "time.\n");
}

static void set_text(char **field, const char *text)
{
    free(*field);
    *field = strdup(text);
    check(*field != NULL);
}

static int read_number(const char *name, const char *text, uint64_t max, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || end == text || *text == '-' || value > max) {
        fprintf(stderr, "godwit-load: --%s %s: a number up to %llu is accepted\n", name, text,
                (unsigned long long)max);
        return -EINVAL;
    }
    *out = value;
    return 0;
}

static int find_name(const char *const *names, int count, const char *what, const char *text)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    fprintf(stderr, "godwit-load: unknown %s '%s', accepted:", what, text);
    for (int i = 0; i < count; i++)
        fprintf(stderr, " %s", names[i]);
    fprintf(stderr, "\n");
    return -EINVAL;
}

static int read_sandbox(struct options *o, const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    const char *host, *domain;
    int port;
    int err = 0;
    if (!root || json_unpack_ex(root, &error, 0, "{s:s, s:i, s:s}", "host", &host, "port", &port,
                                "domain", &domain) < 0) {
        fprintf(stderr, "godwit-load: --sandbox %s:%d: %s\n", path, error.line, error.text);
        err = -EINVAL;
    } else {
        char text[16];
        snprintf(text, sizeof(text), "%d", port);
        set_text(&o->host, host);
        set_text(&o->port, text);
        set_text(&o->domain, domain);
    }
    json_decref(root);
    return err;
}

static int read_special(struct options *o, const char *name, const char *argument)
{
    if (strcmp(name, "sandbox") == 0)
        return read_sandbox(o, argument);
    if (strcmp(name, "mechanism") == 0) {
        int found = find_name(mechanism_names, 4, "mechanism", argument);
        if (found >= 0)
            o->mechanism = (enum client_mechanism)found;
        return found < 0 ? found : 0;
    }
    print_help();
    return 1;
}

static int read_line(struct options *o, const struct option_line *line, const char *argument)
{
    void *field = (char *)o + line->at;
    uint64_t value;
    int err;
    switch (line->kind) {
    case TEXT:
        set_text(field, argument);
        return 0;
    case NUMBER:
        err = read_number(line->name, argument, UINT32_MAX / 2, &value);
        if (!err)
            *(uint32_t *)field = (uint32_t)value;
        return err;
    case LARGE:
        return read_number(line->name, argument, UINT64_MAX / 2, field);
    case PREFIX:
        if (gw_ip_parse_prefix(argument, field))
            return 0;
        fprintf(stderr, "godwit-load: --%s takes ADDR/BITS\n", line->name);
        return -EINVAL;
    case ON:
    case OFF:
        *(bool *)field = line->kind == ON;
        return 0;
    default:
        return read_special(o, line->name, argument);
    }
}

static int check_options(const struct options *o)
{
    const char *wrong = NULL;
    if (o->pairs == 0 || o->fan == 0 || (uint64_t)o->pairs * (1 + (uint64_t)o->fan) > o->clients)
        wrong = "--pairs and --fan must be at least 1, and --clients enough for them";
    else if (o->fan > 1 && o->mode != MODE_OFFLINE)
        wrong = "--fan is for mode offline";
    else if (o->hold > 0 && (o->mode != MODE_OFFLINE || o->wave == 0))
        wrong = "--hold is for mode offline with --wave";
    else if (o->clients > CLIENTS_MAX || (!o->device && o->clients > 60000))
        wrong = "--clients: at most 4000000; 60000 over kernel sockets (ports of one address)";
    else if (o->mtu < 576 || o->mtu > 9000 || o->arena_mib == 0 || o->arena_mib > 65536)
        wrong = "--mtu is from 576 to 9000, --arena from 1 to 65536";
    else if (o->window == 0 || o->connecting == 0 || o->keepalive_ms == 0 || o->expat_every == 0)
        wrong = "--window, --connecting, --keepalive-ms and --expat-every must be at least 1";
    else if (o->churn_ms && !o->reconnect)
        wrong = "--churn-ms needs --reconnect";
    else if (o->bytes > 32000)
        wrong = "--bytes: at most 32000";
    else if (o->mode == MODE_OFFLINE && o->messages < (uint64_t)o->pairs * o->fan)
        wrong = "mode offline: at least one message for each recipient";
    if (!wrong)
        return 0;
    fprintf(stderr, "godwit-load: %s\n", wrong);
    return -EINVAL;
}

static int read_lines(struct options *o, int argc, char **argv)
{
    struct option longs[LINE_COUNT + 1] = {0};
    for (size_t i = 0; i < LINE_COUNT; i++)
        longs[i] = (struct option){.name = lines[i].name,
                                   .has_arg = lines[i].argument ? required_argument : no_argument,
                                   .val = (int)i + 256};
    int found;
    while ((found = getopt_long(argc, argv, "", longs, NULL)) >= 256) {
        int result = read_line(o, &lines[found - 256], optarg);
        if (result)
            return result;
    }
    if (found != -1)
        return -EINVAL;
    if (optind != argc - 1) {
        fprintf(stderr, "godwit-load: one mode is needed: chat, offline, login or idle (--help)\n");
        return -EINVAL;
    }
    int mode = find_name(mode_names, 4, "mode", argv[optind]);
    if (mode >= 0)
        o->mode = (enum mode_name)mode;
    return mode < 0 ? mode : 0;
}

int options_read(struct options *o, int argc, char **argv)
{
    *o = (struct options){
        .pairs = 1,
        .fan = 1,
        .messages = 1000,
        .window = 16,
        .bytes = 128,
        .connecting = 100,
        .deadline_s = 600,
        .stall_s = 30,
        .seconds = 10,
        .keepalive_ms = 1000,
        .stream_management = true,
        .address = {gw_ip_from_v4((const uint8_t[]){10, 77, 0, 2}), GW_IP_V4_BITS + 24},
        .mtu = 1500,
        .expat_every = 1,
        .arena_mib = 256,
        .huge_pages = true,
    };
    set_text(&o->host, "127.0.0.1");
    set_text(&o->port, "5222");
    set_text(&o->domain, "localhost");
    set_text(&o->prefix, "u");
    set_text(&o->password, "secret");
    int result = read_lines(o, argc, argv);
    if (result)
        return result;
    if (o->clients == 0)
        o->clients = o->pairs * (1 + o->fan);
    return check_options(o);
}

void options_free(struct options *o)
{
    free(o->device);
    free(o->host);
    free(o->port);
    free(o->domain);
    free(o->prefix);
    free(o->password);
    free(o->resource);
    free(o->json);
    free(o->log);
}
