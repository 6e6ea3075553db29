/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ctl.h"

#define WIDTH 78

void ctl_option_name(const struct schema_param *p, char *out)
{
    const char *suffix = p->type == SCHEMA_SECRET ? "-stdin" : "";
    snprintf(out, 64, "--%.40s%s", p->name, suffix);
    for (char *c = out; *c != '\0'; c++)
        if (*c == '_')
            *c = '-';
}

bool ctl_is_group(const char *word)
{
    size_t len = strlen(word);
    for (unsigned i = 0; i < schema_command_count; i++) {
        const char *cli = schema_commands[i].cli;
        if (cli != NULL && strncmp(cli, word, len) == 0 && cli[len] == ' ')
            return true;
    }
    return false;
}

static void print_wrapped(FILE *out, const char *text, const char *indent)
{
    size_t room = WIDTH - strlen(indent);
    while (*text != '\0') {
        size_t len = strlen(text);
        if (len > room)
            for (len = room; len > 0 && text[len] != ' ';)
                len--;
        if (len == 0)
            len = strlen(text);
        fprintf(out, "%s%.*s\n", indent, (int)len, text);
        text += len;
        text += strspn(text, " ");
    }
}

static void print_commands(FILE *out, const char *group)
{
    for (unsigned i = 0; i < schema_command_count; i++) {
        const struct schema_command *c = &schema_commands[i];
        if (c->cli != NULL && (group == NULL || strncmp(c->cli, group, strlen(group)) == 0))
            fprintf(out, "  %-14s %s\n", c->cli, c->summary);
    }
}

static void print_globals(FILE *out)
{
    fputs("  --socket PATH  the broker's control socket (default: $GODWIT_SOCKET,\n"
          "                 or " CTL_SOCKET_DEFAULT ")\n"
          "  --json         print the answer as JSON\n"
          "  --help         of a command: its options and an example\n",
          out);
}

void ctl_help_all(FILE *out)
{
    fputs("usage: godwitctl [--socket PATH] [--json] COMMAND [ARGUMENT...]\n\n", out);
    print_commands(out, NULL);
    fputs("\n", out);
    print_globals(out);
    fputs("  --version\n", out);
}

void ctl_help_group(FILE *out, const char *group)
{
    fprintf(out, "usage: godwitctl %s COMMAND [ARGUMENT...]\n\n", group);
    print_commands(out, group);
}

static const char *placeholder(const struct schema_param *p)
{
    switch (p->type) {
    case SCHEMA_NUMBER:
        return "N";
    case SCHEMA_DURATION:
        return "TIME";
    case SCHEMA_CHOICE:
        return "NAME";
    case SCHEMA_STRING:
    case SCHEMA_FILE:
    case SCHEMA_OUTPUT:
        return "TEXT";
    case SCHEMA_FLAG:
    case SCHEMA_SECRET:
        break;
    }
    return NULL;
}

static void print_usage(FILE *out, const struct schema_command *c)
{
    fprintf(out, "usage: godwitctl %s", c->cli);
    for (unsigned i = 0; i < schema_param_count(c); i++) {
        if (!c->params[i].positional)
            continue;
        fputc(' ', out);
        for (const char *n = c->params[i].name; *n != '\0'; n++)
            fputc(*n >= 'a' && *n <= 'z' ? *n - 'a' + 'A' : *n, out);
    }
    fputs(" [OPTION...]\n", out);
}

static void print_param(FILE *out, const struct schema_param *p)
{
    char name[96], option[64], accepted[256];
    ctl_option_name(p, option);
    if (p->positional)
        snprintf(name, sizeof(name), "%s", p->name);
    else if (placeholder(p) != NULL)
        snprintf(name, sizeof(name), "%s %s", option, placeholder(p));
    else
        snprintf(name, sizeof(name), "%s", option);
    fprintf(out, "  %s\n", name);
    print_wrapped(out, p->help, "      ");
    schema_describe_accepted(p, accepted, sizeof(accepted));
    if (p->type == SCHEMA_CHOICE)
        fprintf(out, "      %s\n", accepted);
    if (p->type == SCHEMA_DURATION)
        fprintf(out, "      as 90s, 15m, 1h or 7d\n");
}

static void print_params(FILE *out, const struct schema_command *c, const struct schema_command *not_of)
{
    for (unsigned i = 0; i < schema_param_count(c); i++)
        if (not_of == NULL || schema_find_param(not_of, c->params[i].name) == NULL)
            print_param(out, &c->params[i]);
}

void ctl_help_command(FILE *out, const struct schema_command *c)
{
    const struct schema_command *follow = schema_find("receipts.follow");
    if (c == follow)
        c = schema_find("receipts.list");
    print_usage(out, c);
    fputs("\n", out);
    print_wrapped(out, c->detail[0] != '\0' ? c->detail : c->summary, "  ");
    fputs("\n", out);
    print_params(out, c, NULL);
    if (strcmp(c->method, "receipts.list") == 0) {
        fputs("  --follow\n      print every further event as a line of JSON, until interrupted\n", out);
        print_params(out, follow, c);
    }
    print_globals(out);
    fprintf(out, "\nexample: %s\n", c->example);
}
