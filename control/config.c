/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <libconfig.h>
#include <stdlib.h>

#include "../dataplane/base/check.h"
#include "config_reader.h"
#include "config_text.h"
#include "guess.h"

#define ACCEPTED_BYTES 512

/* ---- one value ---- */

__attribute__((format(printf, 4, 5))) static bool refuse(struct config_reader *r, const struct setting *s,
                                                         const config_setting_t *v,
                                                         const char *fmt, ...)
{
    char what[256], accepted[ACCEPTED_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    setting_describe_accepted(s, accepted, sizeof(accepted));
    config_report_add(&r->report, config_setting_source_line(v), "%s.%s %s, accepted: %s", s->group,
                      s->name, what, accepted);
    return false;
}

static const char *type_name(const config_setting_t *v)
{
    switch (config_setting_type(v)) {
    case CONFIG_TYPE_GROUP:
        return "a group";
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        return "a number";
    case CONFIG_TYPE_FLOAT:
        return "a number with a fraction";
    case CONFIG_TYPE_STRING:
        return "a string";
    case CONFIG_TYPE_BOOL:
        return "true or false";
    case CONFIG_TYPE_ARRAY:
        return "an array";
    default:
        return "a list";
    }
}

static bool wrong_type(struct config_reader *r, const struct setting *s, const config_setting_t *v)
{
    return refuse(r, s, v, "is %s", type_name(v));
}

static bool is_whole_number(const config_setting_t *v)
{
    return config_setting_type(v) == CONFIG_TYPE_INT || config_setting_type(v) == CONFIG_TYPE_INT64;
}

static bool read_number(struct config_reader *r, const struct setting *s, const config_setting_t *v,
                        void *field)
{
    if (!is_whole_number(v))
        return wrong_type(r, s, v);
    int64_t n = config_setting_get_int64(v);
    if (n < s->min || n > s->max)
        return refuse(r, s, v, "is %" PRId64, n);
    setting_set_number(field, s->width, n);
    return true;
}

static bool read_bool(struct config_reader *r, const struct setting *s, const config_setting_t *v)
{
    if (config_setting_type(v) != CONFIG_TYPE_BOOL)
        return wrong_type(r, s, v);
    *(bool *)setting_field(s, r->config) = config_setting_get_bool(v);
    return true;
}

static int choice_of(const struct setting *s, const char *text)
{
    for (int i = 0; s->choices[i] != NULL; i++)
        if (strcmp(s->choices[i], text) == 0)
            return i;
    return -1;
}

static const char *string_of(struct config_reader *r, const struct setting *s, const config_setting_t *v)
{
    if (config_setting_type(v) == CONFIG_TYPE_STRING)
        return config_setting_get_string(v);
    wrong_type(r, s, v);
    return NULL;
}

static bool read_choice(struct config_reader *r, const struct setting *s, const config_setting_t *v)
{
    const char *text = string_of(r, s, v);
    if (text == NULL)
        return false;
    int i = choice_of(s, text);
    if (i < 0)
        return refuse(r, s, v, "is \"%.80s\"", text);
    setting_set_number(setting_field(s, r->config), s->width, i);
    return true;
}

static bool read_string(struct config_reader *r, const struct setting *s, const config_setting_t *v,
                        char **field)
{
    const char *text = string_of(r, s, v);
    if (text == NULL)
        return false;
    size_t len = strlen(text);
    if (len < (size_t)s->min || len > (size_t)s->max)
        return refuse(r, s, v, "has %zu bytes", len);
    if (s->type == SETTING_PATH && text[0] != '/')
        return refuse(r, s, v, "is \"%.80s\"", text);
    if (s->choices != NULL && choice_of(s, text) < 0)
        return refuse(r, s, v, "is \"%.80s\"", text);
    free(*field);
    *field = strdup(text);
    check(*field != NULL);
    return true;
}

static bool read_formed(struct config_reader *r, const struct setting *s, const config_setting_t *v,
                        void *field)
{
    const char *text = string_of(r, s, v);
    if (text == NULL)
        return false;
    return s->form->parse(text, field) || refuse(r, s, v, "has \"%.80s\"", text);
}

static bool read_element(struct config_reader *r, const struct setting *s, const config_setting_t *v,
                         void *field)
{
    if (s->type == SETTING_NUMBERS)
        return read_number(r, s, v, field);
    return s->type == SETTING_FORMED ? read_formed(r, s, v, field) : read_string(r, s, v, field);
}

static bool read_elements(struct config_reader *r, const struct setting *s, const config_setting_t *v)
{
    if (!config_setting_is_array(v) && !config_setting_is_list(v))
        return wrong_type(r, s, v);
    unsigned n = (unsigned)config_setting_length(v);
    if (n > s->count_max)
        return refuse(r, s, v, "has %u elements", n);
    char *at = setting_field(s, r->config);
    bool ok = true;
    for (unsigned i = 0; i < n; i++, at += s->width)
        ok = read_element(r, s, config_setting_get_elem(v, i), at) && ok;
    *setting_count(s, r->config) = n;
    return ok;
}

static bool read_value(struct config_reader *r, const struct setting *s, const config_setting_t *v)
{
    void *field = setting_field(s, r->config);
    switch (s->type) {
    case SETTING_NUMBER:
        return read_number(r, s, v, field);
    case SETTING_BOOL:
        return read_bool(r, s, v);
    case SETTING_CHOICE:
        return read_choice(r, s, v);
    case SETTING_STRING:
    case SETTING_PATH:
        return read_string(r, s, v, field);
    case SETTING_NUMBERS:
    case SETTING_STRINGS:
    case SETTING_FORMED:
        return read_elements(r, s, v);
    }
    check(!"a setting of a type that is not read");
    return false;
}

/* ---- names ---- */

static const char *name_at(unsigned i)
{
    return config_settings[i].name;
}

static const char *group_at(unsigned i)
{
    return config_settings[i].group;
}

static bool is_group(const char *name)
{
    for (unsigned i = 0; i < config_setting_count; i++)
        if (strcmp(config_settings[i].group, name) == 0)
            return true;
    return false;
}

const struct setting *setting_find(const char *group, const char *name)
{
    for (unsigned i = 0; i < config_setting_count; i++) {
        const struct setting *s = &config_settings[i];
        if (strcmp(s->name, name) == 0 && (group == NULL || strcmp(s->group, group) == 0))
            return s;
    }
    return NULL;
}

static void unknown_setting(struct config_reader *r, const char *group, const config_setting_t *v)
{
    const char *name = config_setting_name(v);
    unsigned line = config_setting_source_line(v);
    const struct setting *elsewhere = setting_find(NULL, name);
    const char *guess = guess_name(name, name_at, config_setting_count);
    if (elsewhere != NULL)
        config_report_add(&r->report, line, "%s.%s is unknown: %s belongs into the group \"%s\"",
                          group, name, name, elsewhere->group);
    else if (guess != NULL)
        config_report_add(&r->report, line, "%s.%.80s is unknown, did you mean %s.%s?", group, name,
                          setting_find(NULL, guess)->group, guess);
    else
        config_report_add(&r->report, line,
                          "%s.%.80s is unknown (godwitd --help-config lists all settings)", group,
                          name);
}

static void unknown_group(struct config_reader *r, const config_setting_t *v)
{
    const char *name = config_setting_name(v);
    unsigned line = config_setting_source_line(v);
    const struct setting *inside = setting_find(NULL, name);
    const char *guess = guess_name(name, group_at, config_setting_count);
    if (inside != NULL)
        config_report_add(&r->report, line, "%s stands outside its group \"%s\"", name,
                          inside->group);
    else
        config_report_add(&r->report, line,
                          "the group \"%.80s\" is unknown%s%s%s, accepted: dataplane, port, tcp, xmpp, "
                          "store, control", name, guess ? ", did you mean \"" : "",
                          guess ? guess : "", guess ? "\"?" : "");
}

/* ---- the file ---- */

static void read_group(struct config_reader *r, const config_setting_t *group)
{
    const char *group_name = config_setting_name(group);
    for (unsigned i = 0; i < (unsigned)config_setting_length(group); i++) {
        const config_setting_t *v = config_setting_get_elem(group, i);
        const struct setting *s = setting_find(group_name, config_setting_name(v));
        if (s == NULL) {
            unknown_setting(r, group_name, v);
            continue;
        }
        r->lines[s - config_settings] = config_setting_source_line(v);
        if (!read_value(r, s, v) && strcmp(s->group, "port") == 0)
            r->port_unread = true;
    }
}

static void read_root(struct config_reader *r, const config_setting_t *root)
{
    for (unsigned i = 0; i < (unsigned)config_setting_length(root); i++) {
        const config_setting_t *group = config_setting_get_elem(root, i);
        if (!is_group(config_setting_name(group)))
            unknown_group(r, group);
        else if (!config_setting_is_group(group))
            config_report_add(&r->report, config_setting_source_line(group),
                              "%s is %s, accepted: a group, %s: { ... };",
                              config_setting_name(group), type_name(group),
                              config_setting_name(group));
        else
            read_group(r, group);
    }
}

static bool is_text(const struct setting *s)
{
    return s->type == SETTING_CHOICE || s->type == SETTING_STRING || s->type == SETTING_PATH;
}

static void find_missing(struct config_reader *r)
{
    char accepted[ACCEPTED_BYTES];
    for (unsigned i = 0; i < config_setting_count; i++) {
        const struct setting *s = &config_settings[i];
        if (!s->required || r->lines[i] != 0)
            continue;
        setting_describe_accepted(s, accepted, sizeof(accepted));
        const char *quote = is_text(s) ? "\"" : "";
        config_report_add(&r->report, 0, "%s.%s is missing, accepted: %s (as %s%s%s)", s->group,
                          s->name, accepted, quote, s->preset_text, quote);
    }
}

/* ---- defaults and the reference ---- */

static void format_preset(const struct setting *s, char *out, size_t cap)
{
    const char *quote = is_text(s) ? "\"" : "";
    int len = snprintf(out, cap, "%s = %s%s%s;", s->name, quote, s->preset_text, quote);
    check(len > 0 && (size_t)len < cap);
}

/* A default goes the way of a written value: what the reference shows is what one gets. */
static void set_default(struct config_reader *r, const struct setting *s)
{
    char text[ACCEPTED_BYTES];
    config_t parsed;
    format_preset(s, text, sizeof(text));
    config_init(&parsed);
    check(config_read_string(&parsed, text) == CONFIG_TRUE);
    check(read_value(r, s, config_lookup(&parsed, s->name)));
    config_destroy(&parsed);
}

static void print_wrapped(FILE *out, const char *text)
{
    while (*text != '\0') {
        size_t len = strlen(text);
        if (len > 90) {
            for (len = 90; text[len] != ' ';)
                len--;
        }
        fprintf(out, "    # %.*s\n", (int)len, text);
        text += len;
        text += *text == ' ';
    }
}

void gw_config_print_reference(FILE *out)
{
    const char *group = NULL;
    char text[ACCEPTED_BYTES];
    fprintf(out, "# Configuration of godwitd: every setting, with its default behind a # or, where "
                 "there\n# is none, an example. Check a changed file with godwitd --check-config "
                 "--config FILE.\n");
    for (unsigned i = 0; i < config_setting_count; i++) {
        const struct setting *s = &config_settings[i];
        if (group == NULL || strcmp(group, s->group) != 0) {
            fprintf(out, "%s\n%s: {\n", group == NULL ? "" : "};\n", s->group);
            group = s->group;
        } else {
            fprintf(out, "\n");
        }
        print_wrapped(out, s->help);
        setting_describe_accepted(s, text, sizeof(text));
        fprintf(out, "    # Accepted: %s.\n", text);
        format_preset(s, text, sizeof(text));
        fprintf(out, "    %s%s\n", s->required ? "" : "#", text);
    }
    fprintf(out, "};\n");
}

/* ---- whole ---- */

static void parse_text(struct config_reader *r, const char *text)
{
    config_t parsed;
    config_init(&parsed);
    if (config_read_string(&parsed, text) != CONFIG_TRUE) {
        config_report_add(&r->report, (unsigned)config_error_line(&parsed),
                          "%s, accepted: group: { name = value; ... };", config_error_text(&parsed));
    } else {
        read_root(r, config_root_setting(&parsed));
        find_missing(r);
        config_check(r);
    }
    config_destroy(&parsed);
}

static void read_file(struct config_reader *r, const char *path)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        config_report_add(&r->report, 0, "cannot be read: %s", strerror(errno));
        return;
    }
    char *text = config_text_read(f, &r->report);
    fclose(f);
    if (text != NULL && r->report.count == 0)
        parse_text(r, text);
    free(text);
}

int gw_config_read(struct gw_config **out, const char *path, FILE *errors)
{
    unsigned *lines = calloc(config_setting_count, sizeof(*lines));
    struct gw_config *c = calloc(1, sizeof(*c));
    check(c != NULL && lines != NULL);
    struct config_reader r = {.config = c, .report = {.path = path}, .lines = lines};

    for (unsigned i = 0; i < config_setting_count; i++)
        if (!config_settings[i].required)
            set_default(&r, &config_settings[i]);
    read_file(&r, path);
    free(lines);

    if (r.report.count > 0) {
        config_report_print(&r.report, errors);
        gw_config_free(&c);
        return -EINVAL;
    }
    *out = c;
    return 0;
}

bool gw_config_serves(const struct gw_config *c, struct gw_bytes domain)
{
    bool served = gw_bytes_eq(gw_bytes_str(c->domain), domain);
    for (unsigned i = 0; i < c->further_domain_count; i++)
        served |= gw_bytes_eq(gw_bytes_str(c->further_domains[i]), domain);
    return served;
}

/* Elements that were not read are NULL. */
static void free_texts(const struct setting *s, const struct gw_config *c)
{
    bool many = s->type == SETTING_STRINGS;
    if (s->type != SETTING_STRING && s->type != SETTING_PATH && !many)
        return;
    char **texts = setting_field(s, c);
    for (unsigned i = 0; i < (many ? s->count_max : 1u); i++)
        free(texts[i]);
}

void gw_config_free(struct gw_config **c)
{
    if (*c == NULL)
        return;
    for (unsigned i = 0; i < config_setting_count; i++)
        free_texts(&config_settings[i], *c);
    free(*c);
    *c = NULL;
}
