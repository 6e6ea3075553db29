/* SPDX-License-Identifier: Apache-2.0 */
/* What concerns the broker as a whole: status, counters, lcore.stat, config.show, rpc.discover. */
#include <string.h>
#include <unistd.h>

#include "../dataplane/base/check.h"
#include "clock.h"
#include "config_table.h"
#include "control_int.h"
#include "counter_sets.h"
#include "ledger.h"

static uint64_t load(const uint64_t *field)
{
    return __atomic_load_n(field, __ATOMIC_RELAXED);
}

static json_t *count_json(uint64_t n)
{
    return json_integer((json_int_t)n);
}

/* ---- status ---- */

static json_t *formed_json(const struct setting *s, const struct gw_config *cfg)
{
    json_t *all = json_array();
    const char *at = setting_field(s, cfg);
    char text[CONFIG_NET_TEXT_BYTES];
    for (unsigned i = 0; i < *setting_count(s, cfg); i++, at += s->width) {
        s->form->format(at, text, sizeof(text));
        json_array_append_new(all, json_string(text));
    }
    return all;
}

static json_t *port_json(const struct gw_config *cfg, const char *name)
{
    const struct setting *s = setting_find("port", name);
    check(s != NULL);
    return formed_json(s, cfg);
}

static json_t *describe_port(const struct gw_control_env *env)
{
    const struct gw_config *cfg = env->config;
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:i, s:s}", "device", cfg->port_device, "addresses",
                     port_json(cfg, "addresses"), "ranges", port_json(cfg, "ranges"), "routes",
                     port_json(cfg, "routes"), "listen", port_json(cfg, "listen"), "queues",
                     (int)env->port_queues, "dispatch", env->software_dispatch ? "software" : "port");
}

static json_t *describe_store(const struct gw_control_env *env)
{
    struct gw_store_state s = gw_store_state(env->store);
    bool sync = env->config->durability == GW_DURABILITY_SYNC;
    return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:I, s:I, s:I, s:I, s:I, s:I}", "engine",
                     env->config->store_engine, "path", env->config->store_path, "durability",
                     sync ? "sync" : "async", "condition", gw_store_condition_name(s.condition),
                     "last_error", s.error != 0 ? strerror(-s.error) : NULL, "free_bytes",
                     (json_int_t)(s.free_bytes > INT64_MAX ? INT64_MAX : s.free_bytes),
                     "reserve_bytes", (json_int_t)s.reserve_bytes, "window_bytes",
                     (json_int_t)s.window_bytes, "window_messages", (json_int_t)s.window_messages,
                     "segment_oldest", (json_int_t)s.segment_oldest, "segment_next",
                     (json_int_t)s.segment_next);
}

static json_t *describe_ledger(const struct ledger *l)
{
    char cursor[LEDGER_PLACE_TEXT_BYTES];
    struct ledger_place now = ledger_place_now(l);
    ledger_place_format(&now, cursor);
    return json_pack("{s:s, s:I, s:i, s:i}", "cursor", cursor, "in_memory",
                     (json_int_t)ledger_table_count(ledger_memory(l)), "followers",
                     (int)ledger_follower_count(l), "start_percent", (int)ledger_start_percent(l));
}

static void add_lcores(const struct gw_control_env *env, json_t *into)
{
    uint64_t connections = 0, sessions = 0, accounts = 0, limit = 0, bytes = 0;
    for (unsigned i = 0; i < env->lcore_count; i++) {
        accounts += load(&env->lcores[i].state->accounts);
        limit += load(&env->lcores[i].state->account_limit);
        bytes += load(&env->lcores[i].state->account_bytes);
        connections += load(&env->lcores[i].state->connections);
        sessions += load(&env->lcores[i].state->sessions);
    }
    json_object_set_new(into, "lcores", json_integer(env->lcore_count));
    json_object_set_new(into, "connections", count_json(connections));
    json_object_set_new(into, "sessions", count_json(sessions));
    json_object_set_new(into, "accounts_known", count_json(accounts));
    json_object_set_new(into, "accounts_known_limit", count_json(limit));
    json_object_set_new(into, "accounts_known_bytes", count_json(bytes));
}

static void status(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    const struct gw_control_env *env = c->env;
    json_t *s = json_pack("{s:s, s:i, s:s, s:I, s:I, s:b, s:I, s:i}", "version", GW_VERSION, "pid",
                          (int)getpid(), "domain", env->config->domain, "started_us",
                          (json_int_t)c->started_us, "uptime_s",
                          (json_int_t)((clock_wall_us() - c->started_us) / 1000000), "huge_pages",
                          env->huge_pages, "connection_limit",
                          (json_int_t)env->config->connection_limit, "incarnation",
                          (int)gw_keyring_current(env->keys));
    check(s != NULL);
    json_t *further = json_array();
    for (unsigned i = 0; i < env->config->further_domain_count; i++)
        json_array_append_new(further, json_string(env->config->further_domains[i]));
    json_object_set_new(s, "further_domains", further);
    add_lcores(env, s);
    json_object_set_new(s, "port", describe_port(env));
    json_object_set_new(s, "store", describe_store(env));
    json_object_set_new(s, "ledger", describe_ledger(c->ledger));
    rpc_reply(&rq, s);
}

/* ---- counters ---- */

struct counters_walk {
    json_t *into;
    bool all, each;
};

static void add_counter(struct counters_walk *w, const char *group, const char *name, uint64_t value)
{
    json_t *counters = json_object_get(w->into, group);
    if (counters == NULL) {
        counters = json_object();
        json_object_set_new(w->into, group, counters);
    }
    json_int_t before = json_integer_value(json_object_get(counters, name));
    if (value > 0 || w->all)
        json_object_set_new(counters, name, json_integer(before + (json_int_t)value));
}

static void walk_set(void *ctx, const struct gw_counter_set *set, int lcore)
{
    struct counters_walk *w = ctx;
    char group[80];
    if (w->each && lcore >= 0)
        snprintf(group, sizeof(group), "%s@%d", set->prefix, lcore);
    else
        snprintf(group, sizeof(group), "%s", set->prefix);
    for (unsigned i = 0; i < set->count; i++)
        add_counter(w, group, set->descs[i].name, load(&set->values[i]));
}

static void counters(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    struct counters_walk w = {.into = json_object(), .all = rpc_flag(rq, "all"),
                              .each = rpc_flag(rq, "each")};
    counter_sets_walk(c, walk_set, &w);
    rpc_reply(&rq, json_pack("{s:o}", "counters", w.into));
}

/* ---- lcore.stat ---- */

/* 0 when the lcore has no such set. */
static uint64_t counter_of(const struct gw_lcore_view *l, const char *prefix, const char *name)
{
    for (unsigned i = 0; i < l->set_count; i++)
        for (unsigned k = 0; k < l->sets[i].count; k++)
            if (strcmp(l->sets[i].prefix, prefix) == 0 &&
                strcmp(l->sets[i].descs[k].name, name) == 0)
                return load(&l->sets[i].values[k]);
    return 0;
}

/* What it has given to other lcores and taken from them, both ways, and what was lost so. */
static json_t *describe_handover(const struct gw_lcore_view *l)
{
    uint64_t given = counter_of(l, "dispatch", "rx_handed_over") +
                     counter_of(l, "dispatch", "tx_handed_over");
    uint64_t taken =
        counter_of(l, "dispatch", "rx_taken") + counter_of(l, "dispatch", "tx_taken");
    return json_pack("{s:o, s:o, s:o}", "given", count_json(given), "taken", count_json(taken),
                     "dropped", count_json(counter_of(l, "dispatch", "drop_rx_full")));
}

static json_t *describe_lcore(const struct gw_lcore_view *l)
{
    static const char *const stages[] = {
#define X(name) #name,
        GW_STAGES(X)
#undef X
    };
    const struct gw_lcore_state *s = l->state;
    json_t *cycles = json_object();
    for (unsigned i = 0; i < GW_STAGE_COUNT; i++)
        json_object_set_new(cycles, stages[i], count_json(load(&s->stage_cycles[i])));
    return json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "lcore", (int)l->index,
                     "passes",
                     count_json(load(&s->passes)), "busy_passes", count_json(load(&s->busy_passes)),
                     "connections", count_json(load(&s->connections)), "half_open",
                     count_json(load(&s->half_open)), "time_wait",
                     count_json(load(&s->time_wait)), "sessions",
                     count_json(load(&s->sessions)), "arena_used_bytes",
                     count_json(load(&s->arena_used_bytes)), "arena_limit_bytes",
                     count_json(load(&s->arena_limit_bytes)), "frames_handed_over",
                     describe_handover(l), "stage_cycles", cycles);
}

static void lcore_stat(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    json_t *all = json_array();
    for (unsigned i = 0; i < c->env->lcore_count; i++)
        json_array_append_new(all, describe_lcore(&c->env->lcores[i]));
    rpc_reply(&rq, json_pack("{s:o}", "lcores", all));
}

/* ---- config.show ---- */

static json_t *numbers_json(const struct setting *s, const struct gw_config *cfg)
{
    json_t *all = json_array();
    const char *at = setting_field(s, cfg);
    for (unsigned i = 0; i < *setting_count(s, cfg); i++)
        json_array_append_new(all, json_integer(setting_get_number(at + i * s->width, s->width)));
    return all;
}

static json_t *strings_json(const struct setting *s, const struct gw_config *cfg)
{
    json_t *all = json_array();
    char *const *at = setting_field(s, cfg);
    for (unsigned i = 0; i < *setting_count(s, cfg); i++)
        json_array_append_new(all, json_string(at[i]));
    return all;
}

static json_t *setting_json(const struct setting *s, const struct gw_config *cfg)
{
    const void *field = setting_field(s, cfg);
    switch (s->type) {
    case SETTING_NUMBER:
        return json_integer(setting_get_number(field, s->width));
    case SETTING_BOOL:
        return json_boolean(*(const bool *)field);
    case SETTING_CHOICE:
        return json_string(s->choices[setting_get_number(field, s->width)]);
    case SETTING_STRING:
    case SETTING_PATH:
        return json_string(*(char *const *)field);
    case SETTING_NUMBERS:
        return numbers_json(s, cfg);
    case SETTING_STRINGS:
        return strings_json(s, cfg);
    case SETTING_FORMED:
        return formed_json(s, cfg);
    }
    return NULL;
}

static void config_show(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    json_t *all = json_object();
    for (unsigned i = 0; i < config_setting_count; i++) {
        const struct setting *s = &config_settings[i];
        json_t *group = json_object_get(all, s->group);
        if (group == NULL) {
            group = json_object();
            json_object_set_new(all, s->group, group);
        }
        json_object_set_new(group, s->name, setting_json(s, c->env->config));
    }
    rpc_reply(&rq, json_pack("{s:o}", "config", all));
}

static void discover(struct rpc_request *rq, void *ctx)
{
    rpc_reply(&rq, schema_describe_all());
}

void commands_broker_register(struct control *c)
{
    rpc_register(c->rpc, "status", status, c);
    rpc_register(c->rpc, "counters", counters, c);
    rpc_register(c->rpc, "lcore.stat", lcore_stat, c);
    rpc_register(c->rpc, "config.show", config_show, c);
    rpc_register(c->rpc, "rpc.discover", discover, c);
}
