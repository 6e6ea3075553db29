/* SPDX-License-Identifier: Apache-2.0 */
/* What no single setting can tell: CPUs that exist, addresses and limits that fit together. */
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>

#include "../dataplane/base/check.h"
#include "../dataplane/xmpp/jid.h"
#include "config_reader.h"

unsigned setting_line(const struct config_reader *r, const char *name)
{
    const struct setting *s = setting_find(NULL, name);
    check(s != NULL);
    return r->lines[s - config_settings];
}

static int last_cpu(const cpu_set_t *set)
{
    int last = 0;
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, set))
            last = i;
    return last;
}

static void list_cpus(const cpu_set_t *set, char *out, size_t cap)
{
    size_t off = 0;
    out[0] = '\0';
    for (int i = 0; i < CPU_SETSIZE && off < cap; i++)
        if (CPU_ISSET(i, set))
            off += (size_t)snprintf(out + off, cap - off, "%s%d", off > 0 ? ", " : "", i);
}

static void check_cpu(struct config_reader *r, const cpu_set_t *set, const char *name, int *cpu)
{
    char usable[256];
    if (*cpu == -1)
        *cpu = last_cpu(set);
    if (*cpu < CPU_SETSIZE && CPU_ISSET(*cpu, set))
        return;
    list_cpus(set, usable, sizeof(usable));
    config_report_add(&r->report, setting_line(r, name),
                      "dataplane.%s names CPU %d, which this process cannot use, accepted: %s", name,
                      *cpu, usable);
}

static void choose_lcore_cpus(struct config_reader *r, const cpu_set_t *set)
{
    struct gw_config *c = r->config;
    for (int i = 0; i < CPU_SETSIZE && c->lcore_cpu_count < c->lcore_count; i++)
        if (CPU_ISSET(i, set))
            c->lcore_cpus[c->lcore_cpu_count++] = i;
    if (c->lcore_cpu_count < c->lcore_count)
        config_report_add(&r->report, setting_line(r, "lcore_count"),
                          "dataplane.lcore_count is %u, more than the CPUs that this process may "
                          "use, accepted: at most %d", c->lcore_count, CPU_COUNT(set));
}

static void check_lcore_cpus(struct config_reader *r, const cpu_set_t *set)
{
    struct gw_config *c = r->config;
    unsigned line = setting_line(r, "lcore_cpus");
    if (c->lcore_cpu_count != c->lcore_count) {
        config_report_add(&r->report, line,
                          "dataplane.lcore_cpus has %u CPUs, accepted: as many as "
                          "dataplane.lcore_count, %u", c->lcore_cpu_count, c->lcore_count);
        return;
    }
    for (unsigned i = 0; i < c->lcore_cpu_count; i++) {
        check_cpu(r, set, "lcore_cpus", &c->lcore_cpus[i]);
        for (unsigned j = 0; j < i; j++)
            if (c->lcore_cpus[i] == c->lcore_cpus[j])
                config_report_add(&r->report, line,
                                  "dataplane.lcore_cpus names CPU %d twice, accepted: a CPU of its "
                                  "own for each", c->lcore_cpus[i]);
    }
}

static void check_cpus(struct config_reader *r)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    check(sched_getaffinity(0, sizeof(set), &set) == 0);
    check_cpu(r, &set, "commit_cpu", &r->config->commit_cpu);
    check_cpu(r, &set, "storage_cpu", &r->config->storage_cpu);
    check_cpu(r, &set, "control_cpu", &r->config->control_cpu);
    if (r->config->lcore_cpu_count == 0)
        choose_lcore_cpus(r, &set);
    else
        check_lcore_cpus(r, &set);
}

static void check_queues(struct config_reader *r)
{
    const struct gw_config *c = r->config;
    if (c->port_queues > c->lcore_count)
        config_report_add(&r->report, setting_line(r, "port_queues"),
                          "port.port_queues is %u, accepted: at most dataplane.lcore_count, %u",
                          c->port_queues, c->lcore_count);
    else if (c->dispatch == GW_DISPATCH_PORT && c->port_queues != 0 &&
             c->port_queues < c->lcore_count)
        config_report_add(&r->report, setting_line(r, "port_queues"),
                          "port.port_queues is %u, accepted with port.dispatch \"port\": 0, or "
                          "dataplane.lcore_count, %u", c->port_queues, c->lcore_count);
}

/* In its prepared form, or reported. False: it is none. */
static bool prepare_domain(struct config_reader *r, const char *setting, const char *verb, char **domain)
{
    struct gw_jid_text jid;
    if (gw_jid_prep(gw_bytes_str(*domain), &jid) != 0 || jid.len != jid.domain_len) {
        config_report_add(&r->report, setting_line(r, setting),
                          "xmpp.%s %s \"%.80s\", accepted: a domain name, as example.org", setting,
                          verb, *domain);
        return false;
    }
    free(*domain);
    *domain = strdup(jid.text);
    check(*domain != NULL);
    return true;
}

static bool is_named_before(const struct gw_config *c, unsigned i)
{
    bool named = strcmp(c->domain, c->further_domains[i]) == 0;
    for (unsigned k = 0; k < i; k++)
        named |= strcmp(c->further_domains[k], c->further_domains[i]) == 0;
    return named;
}

static void check_domains(struct config_reader *r)
{
    struct gw_config *c = r->config;
    if (c->domain == NULL || !prepare_domain(r, "domain", "is", &c->domain))
        return;
    /* One that could not be read is reported already. */
    for (unsigned i = 0; i < c->further_domain_count && c->further_domains[i] != NULL; i++)
        if (prepare_domain(r, "further_domains", "has", &c->further_domains[i]) &&
            is_named_before(c, i))
            config_report_add(&r->report, setting_line(r, "further_domains"),
                              "xmpp.further_domains has \"%.80s\", which is named already, accepted: "
                              "each domain once", c->further_domains[i]);
}

static bool is_contact(const char *text)
{
    static const char *const kinds[] = {"abuse", "admin", "feedback", "sales", "security", "status",
                                        "support"};
    const char *address = strchr(text, '=');
    bool known = false;
    for (size_t i = 0; address != NULL && i < sizeof(kinds) / sizeof(kinds[0]); i++)
        known |= strlen(kinds[i]) == (size_t)(address - text) &&
                 strncmp(kinds[i], text, strlen(kinds[i])) == 0;
    if (!known || strchr(address, ':') == NULL)
        return false;
    for (const char *p = address; *p != '\0'; p++)
        if (*p <= ' ' || *p > '~' || *p == '<' || *p == '>')
            return false;
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted: so the dataplane announces them by kind. */
static void check_contacts(struct config_reader *r)
{
    struct gw_config *c = r->config;
    unsigned n = 0;
    for (; n < c->contact_count && c->contacts[n] != NULL; n++)
        if (!is_contact(c->contacts[n]))
            config_report_add(&r->report, setting_line(r, "contacts"),
                              "xmpp.contacts has \"%.80s\", accepted: as "
                              "abuse=mailto:abuse@example.org", c->contacts[n]);
    qsort(c->contacts, n, sizeof(c->contacts[0]), by_text);
}

static void check_master_key(struct config_reader *r)
{
    static const char credential[] = "credential:";
    const char *path = r->config->master_key_path;
    if (path == NULL || path[0] == '/')
        return;
    bool named = strncmp(path, credential, sizeof(credential) - 1) == 0;
    const char *name = named ? path + sizeof(credential) - 1 : "";
    if (name[0] == '\0' || strchr(name, '/') != NULL)
        config_report_add(&r->report, setting_line(r, "master_key_path"),
                          "store.master_key_path is \"%.80s\", accepted: an absolute path, or "
                          "credential:NAME", path);
}

static void check_limits(struct config_reader *r)
{
    const struct gw_config *c = r->config;
    if (c->auth_stanza_bytes_max > c->stanza_bytes_max)
        config_report_add(&r->report, setting_line(r, "auth_stanza_bytes_max"),
                          "xmpp.auth_stanza_bytes_max is %" PRIu32 ", accepted: at most "
                          "xmpp.stanza_bytes_max, %" PRIu32,
                          c->auth_stanza_bytes_max, c->stanza_bytes_max);
    if (c->mailbox_bytes_max < c->stanza_bytes_max)
        config_report_add(&r->report, setting_line(r, "mailbox_bytes_max"),
                          "store.mailbox_bytes_max is %" PRIu64 ", accepted: at least "
                          "xmpp.stanza_bytes_max, %" PRIu32,
                          c->mailbox_bytes_max, c->stanza_bytes_max);
}

void config_check(struct config_reader *r)
{
    check_cpus(r);
    check_queues(r);
    config_check_net(r);
    check_domains(r);
    check_contacts(r);
    check_master_key(r);
    check_limits(r);
}
