/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../control/config.h"
#include "../../control/config_net.h"

#define REQUIRED                                                                                   \
    "port: { port_device = \"net_tap0,iface=t\"; addresses = (\"10.77.0.1/24\"); };\n"             \
    "xmpp: { domain = \"example.org\"; };\n"                                                       \
    "store: { store_path = \"/s\"; master_key_path = \"/k\"; };\n"

static char *read_all(FILE *f)
{
    char *text = NULL;
    size_t len = 0;
    FILE *mem = open_memstream(&text, &len);
    int c;
    while ((c = fgetc(f)) != EOF)
        fputc(c, mem);
    fclose(mem);
    return text;
}

/* The configuration in `text`; NULL and what was reported, without the path, in *errors. */
static struct gw_config *read_text(const char *text, char **errors)
{
    char path[] = "/tmp/godwit-config-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);

    struct gw_config *c = NULL;
    FILE *f = tmpfile();
    int rc = gw_config_read(&c, path, f);
    rewind(f);
    *errors = read_all(f);
    fclose(f);
    unlink(path);
    cr_assert_eq(rc, c != NULL ? 0 : -EINVAL);

    for (char *at; (at = strstr(*errors, path)) != NULL;)
        memmove(at, at + strlen(path), strlen(at + strlen(path)) + 1);
    return c;
}

static void assert_mistakes(const char *text, const char *expected)
{
    char *errors;
    struct gw_config *c = read_text(text, &errors);
    cr_assert_null(c, "accepted: %s", text);
    cr_assert_str_eq(errors, expected);
    free(errors);
}

static struct gw_config *assert_good(const char *text)
{
    char *errors;
    struct gw_config *c = read_text(text, &errors);
    cr_assert_not_null(c, "%s", errors);
    cr_assert_str_eq(errors, "");
    free(errors);
    return c;
}

Test(config, defaults_are_as_documented)
{
    struct gw_config *c = assert_good(REQUIRED);
    cr_assert_eq(c->lcore_count, 1);
    cr_assert_eq(c->lcore_cpu_count, 1);
    cr_assert_geq(c->commit_cpu, 0);
    cr_assert_eq(c->idle, GW_IDLE_ADAPTIVE);
    cr_assert(c->huge_pages);
    cr_assert_eq(c->eal_arg_count, 0);
    cr_assert_eq(c->port_mtu, 1500);
    cr_assert_eq(c->address_count, 1);
    cr_assert_eq(c->addresses[0].bits, 96 + 24);
    cr_assert(gw_ip_is_v4(&c->addresses[0].ip));
    cr_assert_eq(memcmp(c->addresses[0].ip.b + 12, "\x0a\x4d\x00\x01", 4), 0);
    cr_assert_eq(c->range_count, 0);
    cr_assert_eq(c->route_count, 0);
    cr_assert_eq(c->listen_count, 1);
    cr_assert_eq(c->listen[0].port, 5222);
    cr_assert_eq(c->listen[0].ip.b[10], 0, "every address");
    cr_assert_str_eq(c->domain, "example.org");
    cr_assert_not(c->allow_plain);
    cr_assert(c->delivered_when_handed_over);
    cr_assert_eq(c->stanza_bytes_max, 262144);
    cr_assert_str_eq(c->store_engine, "rocksdb");
    cr_assert_eq(c->durability, GW_DURABILITY_SYNC);
    cr_assert_eq(c->mailbox_bytes_max, 64 << 20);
    cr_assert_str_eq(c->control_socket, "/run/godwit/control.sock");
    cr_assert_eq(c->metrics_port, 9522);
    cr_assert_eq(c->ledger_age_s, 30 * 24 * 3600);
    cr_assert_str_eq(c->backup_path, "/var/lib/godwit/backup");
    cr_assert_eq(c->backup_keep, 7);
    cr_assert_eq(c->incarnation_age_s, 7 * 24 * 3600);
    gw_config_free(&c);
    cr_assert_null(c);
}

Test(config, every_kind_of_value_is_read)
{
    struct gw_config *c = assert_good(
        "dataplane: { eal_args = (\"--no-pci\", \"--in-memory\"); lcore_cpus = [0]; idle = \"poll\";\n"
        "  huge_pages = false; memory_mib = 64; commit_cpu = 0; };\n"
        "port: { port_device = \"net_tap0\"; addresses = (\"fd00::1/64\", \"10.77.0.1/24\");\n"
        "  ranges = [\"fd00:0:0:1::/64\", \"10.77.0.9\"];\n"
        "  routes = (\"default via fd00::2\", \"default via 10.77.0.2\", \"fd00:9::/32 via fe80::1\");\n"
        "  listen = (\"*:5222\", \"[fd00:0:0:1::7]:15222\", \"10.77.0.9:5223\"); };\n"
        "xmpp: { domain = \"Example.ORG\"; allow_plain = true; };\n"
        "store: { store_path = \"/s\"; master_key_path = \"/k\"; durability = \"async\";\n"
        "  store_engine = \"mem\"; mailbox_bytes_max = 1000000000000; };\n"
        "control: { control_uids = [1000, 4294967294]; metrics_port = 0; };\n");
    cr_assert_eq(c->eal_arg_count, 2);
    cr_assert_str_eq(c->eal_args[1], "--in-memory");
    cr_assert_eq(c->lcore_cpus[0], 0);
    cr_assert_eq(c->idle, GW_IDLE_POLL);
    cr_assert_not(c->huge_pages);
    cr_assert_eq(c->address_count, 2);
    cr_assert_not(gw_ip_is_v4(&c->addresses[0].ip));
    cr_assert_eq(c->addresses[0].bits, 64);
    cr_assert_eq(c->addresses[0].ip.b[15], 1, "which host of it is kept");
    cr_assert_eq(c->range_count, 2);
    cr_assert_eq(c->ranges[1].bits, 128);
    cr_assert_eq(c->route_count, 3);
    cr_assert_eq(c->routes[0].to.bits, 0);
    cr_assert_eq(c->routes[0].via.b[15], 2);
    cr_assert_eq(c->routes[1].to.bits, 96);
    cr_assert_eq(c->routes[2].to.bits, 32);
    cr_assert_eq(c->listen_count, 3);
    cr_assert_eq(c->listen[1].port, 15222);
    cr_assert_eq(c->listen[1].ip.b[15], 7);
    cr_assert_eq(c->listen[2].ip.b[15], 9);
    cr_assert_str_eq(c->domain, "example.org", "prepared");
    cr_assert_eq(c->durability, GW_DURABILITY_ASYNC);
    cr_assert_str_eq(c->store_engine, "mem");
    cr_assert_eq(c->mailbox_bytes_max, 1000000000000);
    cr_assert_eq(c->control_uids[1], 4294967294u);
    cr_assert_eq(c->metrics_port, 0);
    gw_config_free(&c);
}

Test(config, all_mistakes_are_reported_in_the_order_of_lines)
{
    assert_mistakes(
        "dataplane: {\n"
        "  lcore_count = \"two\";\n"
        "  idle = \"asleep\";\n"
        "  lcore_cuont = 1;\n"
        "  domain = \"example.org\";\n"
        "};\n"
        "port: { addresses = (\"10.77.0.1\"); port_mtu = 99999;\n"
        "  listen = (\"*:5222\", \"*:70000\"); };\n"
        "xmmp: { };\n"
        "domain = \"x\";\n"
        "store: { store_path = \"relative\"; master_key_path = 1.5; };\n"
        "control: { metrics_port = -1; allow_plain = 1; control_uids = 7; };\n",
        ": port.port_device is missing, accepted: a string of 1 to 1024 bytes (as "
        "\"net_af_packet0,iface=gw0\")\n"
        ": xmpp.domain is missing, accepted: a string of 1 to 1023 bytes (as \"example.org\")\n"
        ":2: dataplane.lcore_count is a string, accepted: a number from 1 to 64\n"
        ":3: dataplane.idle is \"asleep\", accepted: \"poll\" or \"adaptive\"\n"
        ":4: dataplane.lcore_cuont is unknown, did you mean dataplane.lcore_count?\n"
        ":5: dataplane.domain is unknown: domain belongs into the group \"xmpp\"\n"
        ":7: port.addresses has \"10.77.0.1\", accepted: a list of at most 8 addresses, each with its "
        "network's prefix length, as \"10.77.0.1/24\" or \"fd00::1/64\"\n"
        ":7: port.port_mtu is 99999, accepted: a number from 576 to 9000\n"
        ":8: port.listen has \"*:70000\", accepted: a list of at most 16 addresses with TCP ports, as "
        "\"*:5222\", \"10.77.0.1:5222\" or \"[fd00::1]:5222\"\n"
        ":9: the group \"xmmp\" is unknown, did you mean \"xmpp\"?, accepted: dataplane, port, tcp, xmpp, "
        "store, control\n"
        ":10: domain stands outside its group \"xmpp\"\n"
        ":11: store.master_key_path is a number with a fraction, accepted: a string of 1 to 4095 "
        "bytes\n"
        ":11: store.store_path is \"relative\", accepted: an absolute path of at most 4095 bytes\n"
        ":12: control.allow_plain is unknown: allow_plain belongs into the group \"xmpp\"\n"
        ":12: control.control_uids is a number, accepted: an array of at most 16 numbers from 0 to "
        "4294967294\n"
        ":12: control.metrics_port is -1, accepted: a number from 0 to 65535\n");
}

Test(config, settings_that_do_not_fit_together_are_mistakes)
{
    assert_mistakes(
        "dataplane: { lcore_count = 2; lcore_cpus = [0, 0]; };\n"
        "port: { port_device = \"x\"; addresses = (\"fd00::1/64\"); port_mtu = 1000;\n"
        "  routes = (\"default via 10.0.0.1\"); listen = (); };\n"
        "xmpp: { domain = \"a@b\"; stanza_bytes_max = 10000;\n"
        "  auth_stanza_bytes_max = 20000; };\n"
        "store: { store_path = \"/s\"; master_key_path = \"/k\"; };\n"
        "control: 3;\n",
        ":1: dataplane.lcore_cpus names CPU 0 twice, accepted: a CPU of its own for each\n"
        ":2: port.port_mtu is 1000, accepted with an IPv6 address: at least 1280\n"
        ":3: port.listen is empty, accepted: 1 to 16 addresses with ports\n"
        ":3: port.routes has \"default via 10.0.0.1\", whose router is in no network of "
        "port.addresses, accepted: routers there\n"
        ":4: xmpp.domain is \"a@b\", accepted: a domain name, as example.org\n"
        ":5: xmpp.auth_stanza_bytes_max is 20000, accepted: at most xmpp.stanza_bytes_max, 10000\n"
        ":7: control is a number, accepted: a group, control: { ... };\n");
}

#define DOMAINS_OF(lines)                                                                          \
    "port: { port_device = \"x\"; addresses = (\"10.77.0.1/24\"); };\n"                               \
    "store: { store_path = \"/s\"; master_key_path = \"/k\"; };\n"                                  \
    "xmpp: { domain = \"example.org\";\n" lines "};\n"

Test(config, several_domains_are_prepared_and_differ)
{
    char *errors;
    struct gw_config *c =
        read_text(DOMAINS_OF("further_domains = (\"Example.NET\", \"example.com.\");\n"), &errors);
    cr_assert_not_null(c, "%s", errors);
    cr_assert_eq(c->further_domain_count, 2);
    cr_assert_str_eq(c->further_domains[0], "example.net");
    cr_assert(gw_config_serves(c, GW_LIT("example.org")));
    cr_assert(gw_config_serves(c, GW_LIT("example.com")));
    cr_assert_not(gw_config_serves(c, GW_LIT("example")));
    gw_config_free(&c);
    assert_mistakes(
        DOMAINS_OF("further_domains = (\"a@b\", \"EXAMPLE.org\", \"c\", \"C\", \"\");\n"),
        ":4: xmpp.further_domains has \"a@b\", accepted: a domain name, as example.org\n"
        ":4: xmpp.further_domains has \"c\", which is named already, accepted: each domain once\n"
        ":4: xmpp.further_domains has \"example.org\", which is named already, accepted: each domain "
        "once\n"
        ":4: xmpp.further_domains has 0 bytes, accepted: a list of at most 15 strings\n");
}

Test(config, contacts_are_sorted_and_have_a_kind_and_an_address)
{
    char *errors;
    struct gw_config *c = read_text(
        DOMAINS_OF("contacts = (\"support=xmpp:help@example.org\", \"abuse=mailto:a@example.org\");\n"),
        &errors);
    cr_assert_not_null(c, "%s", errors);
    cr_assert_eq(c->contact_count, 2);
    cr_assert_str_eq(c->contacts[0], "abuse=mailto:a@example.org");
    cr_assert_str_eq(c->contacts[1], "support=xmpp:help@example.org");
    gw_config_free(&c);
    assert_mistakes(DOMAINS_OF("contacts = (\"nobody=mailto:a@b\", \"abuse\", \"admin=no address\");\n"),
                    ":4: xmpp.contacts has \"abuse\", accepted: as abuse=mailto:abuse@example.org\n"
                    ":4: xmpp.contacts has \"admin=no address\", accepted: as "
                    "abuse=mailto:abuse@example.org\n"
                    ":4: xmpp.contacts has \"nobody=mailto:a@b\", accepted: as "
                    "abuse=mailto:abuse@example.org\n");
}

Test(config, queues_that_do_not_fit_the_cores_are_a_mistake)
{
    char *errors;
    cr_assert_null(read_text("port: { port_device = \"x\"; addresses = (\"10.77.0.1/24\");\n"
                             "  port_queues = 2;\n"
                             "  dispatch = \"hardware\"; };\n"
                             "xmpp: { domain = \"example.org\"; };\n"
                             "store: { store_path = \"/s\"; master_key_path = \"/k\"; };\n",
                             &errors));
    cr_assert_str_eq(errors, ":2: port.port_queues is 2, accepted: at most dataplane.lcore_count, 1\n"
                             ":3: port.dispatch is \"hardware\", accepted: \"auto\" or \"port\" or "
                             "\"software\"\n");
    free(errors);
    cr_assert_null(read_text("dataplane: { lcore_count = 2; };\n"
                             "port: { port_device = \"x\"; addresses = (\"10.77.0.1/24\");\n"
                             "  port_queues = 1; dispatch = \"port\"; };\n"
                             "xmpp: { domain = \"example.org\"; };\n"
                             "store: { store_path = \"/s\"; master_key_path = \"/k\"; };\n",
                             &errors));
    cr_assert_str_eq(errors, ":3: port.port_queues is 1, accepted with port.dispatch \"port\": 0, or "
                             "dataplane.lcore_count, 2\n");
    free(errors);
}

#define NETWORK_OF(lines)                                                                          \
    "xmpp: { domain = \"example.org\"; };\n"                                                        \
    "store: { store_path = \"/s\"; master_key_path = \"/k\"; };\n"                                  \
    "port: { port_device = \"x\";\n" lines "};\n"

Test(config, addresses_that_do_not_fit_together_are_mistakes)
{
    assert_mistakes(
        NETWORK_OF("addresses = (\"10.77.0.255/24\", \"10.77.0.1/24\", \"10.77.0.1/16\", "
                   "\"224.0.0.1/24\", \"ff02::1/64\");\n"),
        ":4: port.addresses has \"10.77.0.1/16\", twice, accepted: each address once\n"
        ":4: port.addresses has \"10.77.0.255/24\", which is the network or its broadcast, accepted: a "
        "host's address\n"
        ":4: port.addresses has \"224.0.0.1/24\", which is not the address of one host, accepted: "
        "unicast addresses\n"
        ":4: port.addresses has \"ff02::1/64\", which is not the address of one host, accepted: "
        "unicast addresses\n");
    assert_mistakes(
        NETWORK_OF("addresses = (\"10.77.0.1/24\");\n"
                   "ranges = (\"10.77.0.128/25\", \"fd00::/64\", \"10.78.0.0/24\");\n"
                   "routes = (\"10.9.0.0/16 via 10.77.0.1\", \"10.9.0.0/16 via 10.78.0.1\");\n"
                   "listen = (\"*:1\", \"10.78.0.200:1\", \"10.77.0.2:1\", \"*:1\");\n"),
        ":5: port.ranges has \"10.77.0.128/25\", in which is 10.77.0.255, the network or broadcast "
        "address of one of port.addresses, accepted: ranges without it\n"
        ":5: port.ranges has \"fd00::/64\", accepted: ranges of a family that is in port.addresses\n"
        ":6: port.routes has \"10.9.0.0/16 via 10.77.0.1\", whose router is the broker itself, "
        "accepted: another station\n"
        ":6: port.routes has \"10.9.0.0/16 via 10.78.0.1\", whose router is in no network of "
        "port.addresses, accepted: routers there\n"
        ":7: port.listen has \"*:1\", twice, accepted: each once\n"
        ":7: port.listen has \"10.77.0.2:1\", accepted: an address of port.addresses or port.ranges, "
        "or *\n");
    assert_mistakes(NETWORK_OF("addresses = ();\n"),
                    ":4: port.addresses is empty, accepted: 1 to 8 addresses\n");
}

/* What is written wrongly is never taken for something else. */
Test(config, network_texts_are_read_strictly)
{
    static const struct {
        const char *name, *text;
    } bad[] = {
        {"addresses", "10.77.0.1/33"},      {"addresses", "fd00::1/129"},
        {"addresses", "10.77.0.1/"},        {"addresses", "10.77.0.1/+24"},
        {"addresses", "10.77.0.1/24 "},     {"addresses", "10.77.1/24"},
        {"addresses", "::ffff:10.0.0.1/120"}, {"addresses", "fd00::1%eth0/64"},
        {"ranges", "10.77.1.1/24"},         {"ranges", "fd00::1/64"},
        {"ranges", "10.77.1.0-9"},          {"routes", "default via"},
        {"routes", "default via fe80::1%eth0"}, {"routes", "10.0.0.0/8 via fd00::1"},
        {"routes", "10.0.0.1/8 via 10.77.0.2"}, {"routes", "10.0.0.0/8"},
        {"routes", "default  via 10.77.0.2"}, {"listen", "*"},
        {"listen", "*:0"},                  {"listen", "5222"},
        {"listen", ":5222"},                {"listen", "fd00::1:5222"},
        {"listen", "[10.77.0.1]:5222"},     {"listen", "[fd00::1]5222"},
        {"listen", "[*]:5222"},             {"listen", "10.77.0.1:65536"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[512], expected[256], *errors;
        snprintf(text, sizeof(text), NETWORK_OF("%s = (\"%s\");\n"), bad[i].name, bad[i].text);
        snprintf(expected, sizeof(expected), ":4: port.%s has \"%s\", accepted: ", bad[i].name,
                 bad[i].text);
        cr_assert_null(read_text(text, &errors), "%s", bad[i].text);
        cr_assert_not_null(strstr(errors, expected), "%s: %s", bad[i].text, errors);
        free(errors);
    }
}

/* What is shown can be written into the file again. */
Test(config, network_texts_are_shown_as_written)
{
    static const struct {
        const struct setting_form *form;
        const char *text;
    } good[] = {
        {&config_form_network, "10.77.0.1/24"},
        {&config_form_network, "fd00::1/64"},
        {&config_form_range, "10.77.1.0/24"},
        {&config_form_range, "fd00:0:0:1::/64"},
        {&config_form_route, "default via 10.77.0.254"},
        {&config_form_route, "default via fe80::1"},
        {&config_form_route, "10.0.0.0/8 via 10.77.0.254"},
        {&config_form_route, "fd00:9::/32 via fd00::2"},
        {&config_form_listen, "*:5222"},
        {&config_form_listen, "10.77.0.1:5222"},
        {&config_form_listen, "[fd00::1]:5222"},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        union {
            struct gw_ip_prefix prefix;
            struct gw_ip_route route;
            struct gw_ip_port port;
        } element;
        char text[CONFIG_NET_TEXT_BYTES];
        memset(&element, 0xa5, sizeof(element));
        cr_assert(good[i].form->parse(good[i].text, &element), "%s", good[i].text);
        good[i].form->format(&element, text, sizeof(text));
        cr_assert_str_eq(text, good[i].text);
    }
}

Test(config, a_cpu_that_does_not_exist_is_a_mistake)
{
    char *errors;
    cr_assert_null(read_text(REQUIRED "dataplane: { commit_cpu = 1000; };\n", &errors));
    cr_assert(strstr(errors, ":4: dataplane.commit_cpu names CPU 1000") == errors, "%s", errors);
    free(errors);
    cr_assert_null(read_text(REQUIRED "dataplane: { lcore_count = 2; lcore_cpus = [0]; };\n",
                             &errors));
    cr_assert_str_eq(errors, ":4: dataplane.lcore_cpus has 1 CPUs, accepted: as many as "
                             "dataplane.lcore_count, 2\n");
    free(errors);
}

/* libconfig alone would make 1 of 4294967297. */
Test(config, large_numbers_are_not_cut)
{
    assert_mistakes(REQUIRED "control: { metrics_port = 4294967297; };\n",
                    ":4: control.metrics_port is 4294967297, accepted: a number from 0 to 65535\n");
    assert_mistakes("# 99999999999999999999999\n/* \n 1 */ port: { port_mtu =\n"
                    "99999999999999999999999; domain = \"9999999999999999999999\"; };\n",
                    ":4: 99999999999999999999999 is too large a number\n");
    assert_mistakes("xmpp: {\n@include \"other.conf\"\n};\n",
                    ":2: @include is not supported: the configuration is one file\n");
    struct gw_config *c = assert_good(REQUIRED "control: { metrics_port = 0x50; };\n");
    cr_assert_eq(c->metrics_port, 0x50);
    gw_config_free(&c);
}

Test(config, syntax_errors_name_the_line)
{
    char *errors;
    cr_assert_null(read_text("xmpp: {\n  domain = ;\n};\n", &errors));
    cr_assert(strstr(errors, ":2: syntax error") == errors, "%s", errors);
    free(errors);
}

Test(config, a_file_that_cannot_be_read_is_a_mistake)
{
    struct gw_config *c = NULL;
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    cr_assert_eq(gw_config_read(&c, "/nowhere/at/all", f), -EINVAL);
    cr_assert_eq(gw_config_read(&c, "/tmp", f), -EINVAL);
    fclose(f);
    cr_assert_str_eq(text, "/nowhere/at/all: cannot be read: No such file or directory\n"
                           "/tmp: cannot be read: Is a directory\n");
    free(text);
}

Test(config, the_packaged_file_is_the_printed_reference)
{
    char *printed = NULL;
    size_t len;
    FILE *f = open_memstream(&printed, &len);
    gw_config_print_reference(f);
    fclose(f);
    f = fopen(GW_SOURCE_ROOT "/packaging/godwitd.conf", "r");
    cr_assert_not_null(f);
    char *packaged = read_all(f);
    fclose(f);
    cr_assert_str_eq(packaged, printed, "refresh it: godwitd --help-config > packaging/godwitd.conf");
    struct gw_config *c = assert_good(printed);
    gw_config_free(&c);
    free(packaged);
    free(printed);
}

/* What the reference shows as a default is what leaving it out gives. */
Test(config, defaults_written_out_change_nothing)
{
    char *text = NULL, *at, *next;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    gw_config_print_reference(f);
    fclose(f);
    struct gw_config *left_out = assert_good(text), *written;

    for (at = text; *at != '\0'; at = next) {
        next = strchr(at, '\n') + 1;
        if (strncmp(at, "    #", 5) == 0 && at[5] != ' ')
            at[4] = ' ';
    }
    written = assert_good(text);
    cr_assert_eq(left_out->lcore_cpus[0], written->lcore_cpus[0]);
    cr_assert_str_eq(left_out->store_engine, written->store_engine);
    cr_assert_str_eq(left_out->control_socket, written->control_socket);
    /* All the rest is plain memory: make the pointers equal, then compare whole. */
    struct gw_config a = *left_out, b = *written;
    b.port_device = a.port_device;
    b.domain = a.domain;
    b.store_engine = a.store_engine;
    b.store_path = a.store_path;
    b.master_key_path = a.master_key_path;
    b.backup_path = a.backup_path;
    b.control_socket = a.control_socket;
    cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0);
    gw_config_free(&left_out);
    gw_config_free(&written);
    free(text);
}

Test(config, the_master_key_is_a_file_or_a_credential)
{
    static const struct {
        const char *where;
        bool good;
    } cases[] = {{"/k", true},         {"credential:master", true}, {"credential:", false},
                 {"credential:a/b", false}, {"k", false},            {"./k", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char config[1024], *errors;
        static const char required[] = REQUIRED;
        const char *at = strstr(required, "\"/k\"");
        cr_assert_not_null(at);
        snprintf(config, sizeof(config), "%.*s\"%s\"%s", (int)(at - required), required,
                 cases[i].where, at + 4);
        struct gw_config *c = read_text(config, &errors);
        cr_assert_eq(c != NULL, cases[i].good, "%s: %s", cases[i].where, errors);
        cr_assert(cases[i].good || strstr(errors, "credential:NAME") != NULL, "%s", errors);
        gw_config_free(&c);
        free(errors);
    }
}
