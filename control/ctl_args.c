/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, checked against the schema before anything is sent. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "../dataplane/base/check.h"
#include "ctl.h"
#include "guess.h"

struct words {
    char **at;
    int left;
};

__attribute__((format(printf, 1, 2))) static bool complain(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("godwitctl: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return false;
}

static const char *cli_at(unsigned i)
{
    return schema_commands[i].cli != NULL ? schema_commands[i].cli : "";
}

static const struct schema_command *find_cli(const char *first, const char *second)
{
    char both[128];
    snprintf(both, sizeof(both), second != NULL ? "%s %s" : "%s", first, second);
    for (unsigned i = 0; i < schema_command_count; i++)
        if (strcmp(cli_at(i), both) == 0)
            return &schema_commands[i];
    return NULL;
}

static bool unknown_command(const char *first, const char *second)
{
    char both[128];
    snprintf(both, sizeof(both), second != NULL ? "%s %s" : "%s", first, second);
    const char *guess = guess_name(both, cli_at, schema_command_count);
    if (guess != NULL && guess[0] != '\0')
        return complain("there is no command %s; did you mean %s?", both, guess);
    return complain("there is no command %s; godwitctl --help lists all", both);
}

/* Takes one or two words. */
static bool take_command(struct words *w, struct ctl_args *out)
{
    const char *first = w->at[0], *second = w->left > 1 && w->at[1][0] != '-' ? w->at[1] : NULL;
    bool group = ctl_is_group(first);
    int words = group ? 2 : 1;
    if (group && second == NULL) {
        ctl_help_group(out->help ? stdout : stderr, first);
        return false;
    }
    out->command = find_cli(first, group ? second : NULL);
    if (out->command == NULL)
        return unknown_command(first, group ? second : NULL);
    w->at += words;
    w->left -= words;
    return true;
}

/* ---- values ---- */

static bool parse_number(const char *text, json_int_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return errno == 0 && end != text && *end == '\0';
}

/* Seconds, or with a unit. */
static bool parse_duration(const char *text, json_int_t *out)
{
    static const struct {
        char unit;
        int seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    int factor = *end == '\0' ? 1 : 0;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (end[0] == units[i].unit && end[1] == '\0')
            factor = units[i].seconds;
    *out = n * factor;
    return errno == 0 && end != text && factor != 0 && n >= 0 && n <= INT32_MAX;
}

static json_t *parse_value(const struct schema_param *p, const char *text)
{
    json_int_t n;
    switch (p->type) {
    case SCHEMA_NUMBER:
        return parse_number(text, &n) ? json_integer(n) : NULL;
    case SCHEMA_DURATION:
        return parse_duration(text, &n) ? json_integer(n) : NULL;
    case SCHEMA_FLAG:
    case SCHEMA_FILE:
    case SCHEMA_OUTPUT:
        return json_true();
    case SCHEMA_STRING:
    case SCHEMA_CHOICE:
    case SCHEMA_SECRET:
        break;
    }
    return json_string(text);
}

/* How many rows in all: they are asked for in pages, so that it may be more than one answer holds. */
static bool is_row_limit(const struct ctl_args *a, const struct schema_param *p)
{
    return a->command->pages && strcmp(p->name, "limit") == 0;
}

static bool set_value(struct ctl_args *a, const struct schema_param *sp, const char *text)
{
    struct schema_param own = *sp;
    const struct schema_param *p = &own;
    char err[512], accepted[256], option[64];
    if (is_row_limit(a, sp))
        own.max = CTL_ROWS_MAX;
    json_t *value = parse_value(p, text);
    if (value == NULL || !schema_check_value(p, value, err, sizeof(err))) {
        json_decref(value);
        ctl_option_name(p, option);
        schema_describe_accepted(p, accepted, sizeof(accepted));
        return complain("%s is %.100s, accepted: %s%s", p->positional ? p->name : option, text,
                        accepted, p->type == SCHEMA_DURATION ? ", or as 15m, 1h, 7d" : "");
    }
    if (schema_is_file(p))
        a->file = text;
    json_object_set_new(a->params, p->name, value);
    return true;
}

/* ---- options and arguments ---- */

static const char *name_of(const struct schema_command *c)
{
    return c->cli != NULL ? c->cli : "receipts --follow";
}

static const struct schema_param *find_option(const struct schema_command *c, const char *word,
                                              size_t len)
{
    char option[64];
    for (unsigned i = 0; i < schema_param_count(c); i++) {
        const struct schema_param *p = &c->params[i];
        ctl_option_name(p, option);
        if (!p->positional && strlen(option) == len && strncmp(option, word, len) == 0)
            return p;
    }
    return NULL;
}

/* --name VALUE, --name=VALUE, or --flag. */
static bool take_option(struct words *w, struct ctl_args *a)
{
    const char *word = *w->at++, *equals = strchr(word, '='), *value = NULL;
    size_t len = equals != NULL ? (size_t)(equals - word) : strlen(word);
    const struct schema_param *p = find_option(a->command, word, len);
    w->left--;
    if (p == NULL)
        return complain("%s has no option %.*s; see its --help", name_of(a->command), (int)len, word);
    if (p->type == SCHEMA_FLAG || p->type == SCHEMA_SECRET) {
        if (equals != NULL)
            return complain("%.*s takes no value", (int)len, word);
        a->password_stdin |= p->type == SCHEMA_SECRET;
        return p->type == SCHEMA_SECRET || set_value(a, p, "");
    }
    if (equals != NULL) {
        value = equals + 1;
    } else if (w->left > 0) {
        value = *w->at++;
        w->left--;
    } else {
        return complain("%s takes a value", word);
    }
    return set_value(a, p, value);
}

static bool take_argument(struct words *w, struct ctl_args *a)
{
    const char *word = *w->at++;
    w->left--;
    for (unsigned i = 0; i < schema_param_count(a->command); i++) {
        const struct schema_param *p = &a->command->params[i];
        if (p->positional && json_object_get(a->params, p->name) == NULL)
            return set_value(a, p, word);
    }
    return complain("%s takes no argument %.100s; see its --help", name_of(a->command), word);
}

static bool check_required(const struct ctl_args *a)
{
    for (unsigned i = 0; i < schema_param_count(a->command); i++) {
        const struct schema_param *p = &a->command->params[i];
        if (p->required && p->positional && json_object_get(a->params, p->name) == NULL)
            return complain("%s needs the argument %s (%s)", a->command->cli, p->name, p->help);
    }
    return true;
}

static bool take_rest(struct words *w, struct ctl_args *a)
{
    bool options = true;
    while (w->left > 0) {
        bool dash = options && w->at[0][0] == '-' && w->at[0][1] != '\0';
        if (dash && strcmp(w->at[0], "--") == 0) {
            options = false;
            w->at++;
            w->left--;
        } else if (!(dash ? take_option(w, a) : take_argument(w, a))) {
            return false;
        }
    }
    return check_required(a);
}

/* ---- options of every command, wherever they stand ---- */

static void remove_words(struct words *w, int at, int count)
{
    memmove(w->at + at, w->at + at + count, (size_t)(w->left - at - count) * sizeof(*w->at));
    w->left -= count;
}

static bool take_flag(struct words *w, const char *flag)
{
    for (int i = 0; i < w->left && strcmp(w->at[i], "--") != 0; i++) {
        if (strcmp(w->at[i], flag) != 0)
            continue;
        remove_words(w, i, 1);
        return true;
    }
    return false;
}

static bool take_socket(struct words *w, struct ctl_args *a)
{
    for (int i = 0; i < w->left && strcmp(w->at[i], "--") != 0; i++) {
        bool joined = strncmp(w->at[i], "--socket=", 9) == 0;
        if (!joined && strcmp(w->at[i], "--socket") != 0)
            continue;
        if (!joined && i + 1 == w->left)
            return complain("--socket takes a path");
        a->socket = joined ? w->at[i] + 9 : w->at[i + 1];
        remove_words(w, i, joined ? 1 : 2);
        return true;
    }
    return true;
}

bool ctl_args_parse(int argc, char **argv, struct ctl_args *out)
{
    struct words w = {.at = argv, .left = argc};
    const char *from_env = getenv("GODWIT_SOCKET");
    *out = (struct ctl_args){.socket = from_env != NULL && from_env[0] != '\0' ? from_env
                                                                              : CTL_SOCKET_DEFAULT,
                             .params = json_object()};
    if (!take_socket(&w, out))
        return false;
    out->json = take_flag(&w, "--json");
    out->help = take_flag(&w, "--help");
    if (w.left == 0)
        return true;
    if (w.at[0][0] == '-')
        return complain("there is no option %s; godwitctl --help lists all", w.at[0]);
    if (!take_command(&w, out))
        return false;
    if (strcmp(out->command->method, "receipts.list") == 0 && take_flag(&w, "--follow"))
        out->command = schema_find("receipts.follow");
    return out->help || take_rest(&w, out);
}

void ctl_args_free(struct ctl_args *a)
{
    json_decref(a->params);
    a->params = NULL;
}
