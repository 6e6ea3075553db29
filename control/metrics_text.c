/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "../dataplane/base/check.h"
#include "counter_sets.h"
#include "metrics.h"

#define SETS_MAX (GW_CONFIG_LCORES_MAX * GW_LCORE_COUNTER_SETS_MAX + 8)

struct sets {
    unsigned count;
    struct gw_counter_set set[SETS_MAX];
    int lcore[SETS_MAX];
};

static uint64_t load(const uint64_t *field)
{
    return __atomic_load_n(field, __ATOMIC_RELAXED);
}

static void collect(void *ctx, const struct gw_counter_set *set, int lcore)
{
    struct sets *s = ctx;
    check(s->count < SETS_MAX);
    s->set[s->count] = *set;
    s->lcore[s->count++] = lcore;
}

static void print_head(FILE *out, const char *name, const char *suffix, const char *type,
                       const char *help)
{
    fprintf(out, "# HELP godwit_%s%s %s\n# TYPE godwit_%s%s %s\n", name, suffix, help, name, suffix,
            type);
}

/* A metric's samples stand together: the same counter of every set with this prefix. */
static void print_counter(FILE *out, const struct sets *s, unsigned first, unsigned which)
{
    const struct gw_counter_set *set = &s->set[first];
    char name[128];
    snprintf(name, sizeof(name), "%s_%s", set->prefix, set->descs[which].name);
    print_head(out, name, "_total", "counter", set->descs[which].help);
    for (unsigned i = first; i < s->count; i++) {
        if (strcmp(s->set[i].prefix, set->prefix) != 0)
            continue;
        fprintf(out, "godwit_%s_total", name);
        if (s->lcore[i] >= 0)
            fprintf(out, "{lcore=\"%d\"}", s->lcore[i]);
        fprintf(out, " %" PRIu64 "\n", load(&s->set[i].values[which]));
    }
}

static bool is_first(const struct sets *s, unsigned i)
{
    for (unsigned k = 0; k < i; k++)
        if (strcmp(s->set[k].prefix, s->set[i].prefix) == 0)
            return false;
    return true;
}

static void print_counters(FILE *out, const struct control *c)
{
    struct sets *s = calloc(1, sizeof(*s));
    check(s != NULL);
    counter_sets_walk(c, collect, s);
    for (unsigned i = 0; i < s->count; i++)
        for (unsigned which = 0; is_first(s, i) && which < s->set[i].count; which++)
            print_counter(out, s, i, which);
    free(s);
}

static void print_lcore_field(FILE *out, const struct control *c, const char *name, const char *type,
                              const char *help, size_t offset)
{
    const char *suffix = type[0] == 'c' ? "_total" : "";
    print_head(out, name, suffix, type, help);
    for (unsigned i = 0; i < c->env->lcore_count; i++) {
        const struct gw_lcore_view *l = &c->env->lcores[i];
        const uint64_t *field = (const void *)((const char *)l->state + offset);
        fprintf(out, "godwit_%s%s{lcore=\"%u\"} %" PRIu64 "\n", name, suffix, l->index, load(field));
    }
}

static void print_stages(FILE *out, const struct control *c)
{
    static const char *const stages[] = {
#define X(name) #name,
        GW_STAGES(X)
#undef X
    };
    print_head(out, "lcore_stage_cycles", "_total", "counter", "CPU cycles by stage of the pass");
    for (unsigned i = 0; i < c->env->lcore_count; i++)
        for (unsigned s = 0; s < GW_STAGE_COUNT; s++)
            fprintf(out, "godwit_lcore_stage_cycles_total{lcore=\"%u\",stage=\"%s\"} %" PRIu64 "\n",
                    c->env->lcores[i].index, stages[s],
                    load(&c->env->lcores[i].state->stage_cycles[s]));
}

static void print_lcores(FILE *out, const struct control *c)
{
#define FIELD(name, type, help)                                                                    \
    print_lcore_field(out, c, "lcore_" #name, type, help, offsetof(struct gw_lcore_state, name))
    FIELD(passes, "counter", "passes of the loop");
    FIELD(busy_passes, "counter", "passes that did something");
    FIELD(connections, "gauge", "TCP connections");
    FIELD(half_open, "gauge", "TCP connections that are not established yet");
    FIELD(time_wait, "gauge", "TCP connections in TIME-WAIT");
    FIELD(sessions, "gauge", "bound sessions");
    FIELD(arena_used_bytes, "gauge", "bytes of the arena in use");
    FIELD(arena_limit_bytes, "gauge", "bytes of the arena");
    FIELD(accounts, "gauge", "accounts known in memory, with a session or without");
    FIELD(account_limit, "gauge", "accounts that may be known in memory");
    FIELD(account_bytes, "gauge", "bytes reserved for accounts known in memory");
#undef FIELD
    print_stages(out, c);
}

static void print_gauge(FILE *out, const char *name, const char *help, uint64_t value)
{
    print_head(out, name, "", "gauge", help);
    fprintf(out, "godwit_%s %" PRIu64 "\n", name, value);
}

static void print_gauges(FILE *out, const struct control *c)
{
    struct gw_store_state s = gw_store_state(c->env->store);
    print_gauge(out, "store_window_bytes", "commit log in memory, not yet spilled", s.window_bytes);
    print_gauge(out, "store_window_messages", "messages that wait in it", s.window_messages);
    print_gauge(out, "store_segment_next", "number of the next segment", s.segment_next);
    print_gauge(out, "store_segment_oldest", "oldest segment in the log", s.segment_oldest);
    print_gauge(out, "store_writes_waiting", "batches of keys that are not yet written",
                s.writes_waiting);
    print_gauge(out, "store_write_waits_us", "how long the one under way has taken so far",
                s.write_waits_us);
    print_gauge(out, "store_failed", "1 while a failed write keeps the store closed",
                s.condition == GW_STORE_CLOSED || s.condition == GW_STORE_BROKEN);
    print_gauge(out, "store_accepting", "0 while new messages are refused",
                s.condition == GW_STORE_OPEN);
    print_gauge(out, "store_free_bytes", "free space of its file system", s.free_bytes);
    print_gauge(out, "store_reserve_bytes", "free space below which new messages are refused",
                s.reserve_bytes);
#define X(name, help) print_gauge(out, #name, help, load(&c->gauges.name));
    CONTROL_GAUGES(X)
#undef X
    print_gauge(out, "start_time_seconds", "when the broker started, Unix time",
                c->started_us / 1000000);
}

char *metrics_text(const struct control *c)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    check(out != NULL);
    fprintf(out, "# HELP godwit_build_info The version that runs\n# TYPE godwit_build_info gauge\n"
                 "godwit_build_info{version=\"%s\"} 1\n", GW_VERSION);
    print_gauges(out, c);
    print_lcores(out, c);
    print_counters(out, c);
    check(fclose(out) == 0);
    return text;
}
