/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs segment scripts (line.h says how they are written) against libgodwit-tcp.so.
 *
 *   run LIBRARY SCRIPT.. [--case TEXT]
 *
 * Each case runs on a stack of its own, over IPv4 and IPv6. A case that fails says file, line, what
 * was expected and what came; --case runs those only whose title has that text in it.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

enum { LINES_MAX = 4000, LINE_BYTES_MAX = 200, CASE_LINES_MAX = 400 };

struct script {
    const char *path;
    char text[LINES_MAX][LINE_BYTES_MAX];
    unsigned line_count;
    struct gw_stack_config config;
    bool v4, v6;
    unsigned setup_from, setup_to; /* line numbers, from 0 */
};

struct tally {
    unsigned passed, failed;
};

static void fail_at(const struct script *s, unsigned line, const char *title, const char *family,
                    const char *why)
{
    printf("%s:%u: case \"%s\"%s\n     %s\n", s->path, line + 1, title, family, why);
}

/* ---- reading ---- */

static bool read_script(struct script *s, const char *path)
{
    *s = (struct script){
        .path = path, .v4 = true, .v6 = true, .config.bytes = sizeof(s->config), .config.seed = 1};
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        perror(path);
        return false;
    }
    bool good = true;
    while (good && s->line_count < LINES_MAX &&
           fgets(s->text[s->line_count], LINE_BYTES_MAX, f) != NULL) {
        char *end = strchr(s->text[s->line_count], '\n');
        good = end != NULL;
        if (good)
            *end = '\0';
        s->line_count++;
    }
    good = good && feof(f) && s->line_count > 0;
    fclose(f);
    if (!good)
        printf("%s:%u: the line or the file is too long, or its end is missing\n", path,
               s->line_count);
    return good;
}

static bool set_number(struct gw_stack_config *c, const char *name, const char *value)
{
    const struct {
        const char *name;
        uint32_t *field;
    } fields[] = {
        {"window", &c->recv_window_bytes},    {"mtu", &c->mtu_bytes},
        {"sndbuf", &c->send_buffer_bytes},    {"memory", &c->memory_bytes},
        {"half_open", &c->half_open_max},     {"time_wait", &c->time_wait_max},
        {"connections", &c->connections_max}, {"pieces", &c->recv_pieces_max},
        {"nodes", &c->send_nodes_max},
    };
    int64_t v;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (strcmp(name, fields[i].name) == 0 && line_read_number(value, &v)) {
            *fields[i].field = (uint32_t)v;
            return true;
        }
    return false;
}

static bool configure(struct script *s, const char *text)
{
    char copy[LINE_BYTES_MAX], *rest;
    strcpy(copy, text);
    strtok_r(copy, " ", &rest);
    const char *name = strtok_r(NULL, " ", &rest), *value = strtok_r(NULL, " ", &rest);
    if (name == NULL)
        return false;
    if (strcmp(name, "newreno") == 0 || strcmp(name, "nagle") == 0) {
        s->config.flags |= name[1] == 'e' ? GW_STACK_NEWRENO : GW_STACK_NAGLE;
        return value == NULL;
    }
    if (value == NULL)
        return false;
    if (strcmp(name, "keepalive") == 0)
        return line_read_seconds(value, &s->config.keepalive_us);
    if (strcmp(name, "family") == 0) {
        s->v4 = strcmp(value, "v4") == 0;
        s->v6 = strcmp(value, "v6") == 0;
        return s->v4 || s->v6;
    }
    return set_number(&s->config, name, value);
}

static bool is_statement(const char *text)
{
    text += strspn(text, " \t");
    return *text != '\0' && *text != '#';
}

static bool begins(const char *text, const char *word)
{
    size_t len = strlen(word);
    return strncmp(text, word, len) == 0 && (text[len] == ' ' || text[len] == '\0');
}

/* ---- running ---- */

static bool run_lines(const struct script *s, struct rig *r, unsigned from, unsigned to,
                      const char *title, const char *family)
{
    for (unsigned i = from; i < to; i++) {
        if (!is_statement(s->text[i]))
            continue;
        struct line l;
        const char *err = line_parse(&l, s->text[i], i);
        if (err == NULL && !rig_run(r, &l))
            err = rig_failure(r);
        if (err != NULL) {
            fail_at(s, i, title, family, err);
            return false;
        }
    }
    return true;
}

static bool run_case(const struct rig_calls *so, const struct script *s, unsigned from, unsigned to,
                     bool v6)
{
    const char *title = s->text[from - 1] + 5, *family = v6 ? ", over IPv6" : ", over IPv4";
    struct rig *r = rig_open(so, &s->config, v6);
    if (r == NULL) {
        fail_at(s, from - 1, title, family, "a stack of this configuration does not open");
        return false;
    }
    bool good = run_lines(s, r, s->setup_from, s->setup_to, title, family) &&
                run_lines(s, r, from, to, title, family);
    if (good && (!rig_finish(r) || !rig_is_clean(r))) {
        fail_at(s, to - 1, title, family, rig_failure(r));
        good = false;
    }
    rig_close(&r);
    return good;
}

static unsigned section_end(const struct script *s, unsigned from)
{
    while (from < s->line_count && !begins(s->text[from], "case"))
        from++;
    return from;
}

static void run_cases(const struct rig_calls *so, const struct script *s, unsigned from,
                      const char *only, struct tally *t)
{
    while (from < s->line_count) {
        unsigned to = section_end(s, from + 1);
        if (only == NULL || strstr(s->text[from], only) != NULL) {
            bool good = (!s->v4 || run_case(so, s, from + 1, to, false)) &&
                        (!s->v6 || run_case(so, s, from + 1, to, true));
            t->passed += good;
            t->failed += !good;
        }
        from = to;
    }
}

static void run_script(const struct rig_calls *so, const char *path, const char *only,
                       struct tally *t)
{
    static struct script s;
    if (!read_script(&s, path)) {
        t->failed++;
        return;
    }
    unsigned i = 0;
    for (; i < s.line_count && !begins(s.text[i], "case") && !begins(s.text[i], "setup"); i++)
        if (is_statement(s.text[i]) &&
            (!begins(s.text[i], "config") || !configure(&s, s.text[i]))) {
            printf("%s:%u: this is no configuration: %s\n", path, i + 1, s.text[i]);
            t->failed++;
            return;
        }
    if (i < s.line_count && begins(s.text[i], "setup")) {
        s.setup_from = i + 1;
        i = s.setup_to = section_end(&s, i);
    }
    if (i == s.line_count) {
        printf("%s: there is no case\n", path);
        t->failed++;
    }
    run_cases(so, &s, i, only, t);
}

static bool load(struct rig_calls *so, const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return false;
    }
#define X(name)                                              \
    *(void **)&so->name = dlsym(library, "gw_stack_" #name); \
    if (so->name == NULL) {                                  \
        fprintf(stderr, "%s\n", dlerror());                  \
        return false;                                        \
    }
    RIG_CALLS(X)
#undef X
    return so->interface() == GW_STACK_INTERFACE;
}

int main(int argc, char **argv)
{
    struct rig_calls so;
    struct tally t = {0, 0};
    const char *only = NULL;
    if (argc < 3 || !load(&so, argv[1])) {
        fprintf(stderr, "usage: run LIBRARY SCRIPT.. [--case TEXT]\n");
        return 2;
    }
    if (argc > 4 && strcmp(argv[argc - 2], "--case") == 0) {
        only = argv[argc - 1];
        argc -= 2;
    }
    for (int i = 2; i < argc; i++)
        run_script(&so, argv[i], only, &t);
    /* In the form that counts the cases of the other tests, too. */
    printf("[====] Synthesis: Tested: %u | Passing: %u | Failing: %u | Crashing: 0\n",
           t.passed + t.failed, t.passed, t.failed);
    return t.failed > 0 || t.passed == 0;
}
