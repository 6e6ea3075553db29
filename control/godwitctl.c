/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's command: one request to the broker, shown as a table or as JSON. */
#include <locale.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "json_wipe.h"

static void print_json(const json_t *value, size_t how)
{
    json_dumpf(value, stdout, how);
    fputc('\n', stdout);
}

static void show(const struct ctl_args *a, const json_t *result)
{
    if (a->json)
        print_json(result, JSON_INDENT(2));
    else
        ctl_show(a->command, result);
}

/* ---- one answer, or all pages of it ---- */

static int run_once(struct ctl_client *c, const struct ctl_args *a)
{
    json_t *result = NULL;
    int status = a->command->pages ? ctl_pages(c, a, &result)
                                   : ctl_call(c, a->command->method, a->params, -1, &result);
    if (status == CTL_OK)
        show(a, result);
    json_decref(result);
    return status;
}

/* ---- what is more than one question ---- */

static int run_with_secret(struct ctl_client *c, const struct ctl_args *a)
{
    char *secret = ctl_secret_read(a->password_stdin);
    if (secret == NULL)
        return CTL_USAGE;
    json_t *value = json_string(secret);
    ctl_secret_free(secret);
    if (value == NULL) {
        fprintf(stderr, "godwitctl: the password is not UTF-8\n");
        return CTL_USAGE;
    }
    json_object_set_new(a->params, "password", value);
    return run_once(c, a);
}

static int run_with_file(struct ctl_client *c, const struct ctl_args *a)
{
    json_t *result = NULL;
    int fd = ctl_file_open(a->file);
    if (fd < 0)
        return CTL_USAGE;
    int status = ctl_call(c, a->command->method, a->params, fd, &result);
    close(fd);
    json_int_t job = json_integer_value(json_object_get(result, "job"));
    json_decref(result);
    return status == CTL_OK ? ctl_job_watch(c, job) : status;
}

static int run_job(struct ctl_client *c, const struct ctl_args *a)
{
    json_t *result = NULL;
    int status = ctl_call(c, a->command->method, a->params, -1, &result);
    json_int_t job = json_integer_value(json_object_get(result, "job"));
    json_decref(result);
    return status == CTL_OK ? ctl_job_watch(c, job) : status;
}

static int run_follow(struct ctl_client *c, const struct ctl_args *a)
{
    json_t *answer = NULL;
    int status = ctl_call(c, a->command->method, a->params, -1, &answer);
    json_decref(answer);
    while (status == CTL_OK) {
        json_t *event = NULL;
        status = ctl_next(c, &event);
        if (event != NULL) {
            json_object_del(event, "stream");
            print_json(event, JSON_COMPACT);
            fflush(stdout);
        }
        json_decref(event);
    }
    return status;
}

static bool has_secret(const struct schema_command *c)
{
    for (unsigned i = 0; i < schema_param_count(c); i++)
        if (c->params[i].type == SCHEMA_SECRET)
            return true;
    return false;
}

static int run(struct ctl_client *c, const struct ctl_args *a)
{
    if (strcmp(a->command->method, "pcap.start") == 0)
        return ctl_capture(c, a);
    if (a->command->streams)
        return run_follow(c, a);
    if (has_secret(a->command))
        return run_with_secret(c, a);
    if (a->file != NULL)
        return run_with_file(c, a);
    if (a->command->job)
        return run_job(c, a);
    return run_once(c, a);
}

static int connect_and_run(const struct ctl_args *a)
{
    struct ctl_client c;
    int status = ctl_connect(&c, a->socket);
    c.json = a->json;
    if (status == CTL_OK)
        status = run(&c, a);
    ctl_disconnect(&c);
    return status;
}

int main(int argc, char **argv)
{
    struct ctl_args a;
    int status;
    setlocale(LC_ALL, "");
    json_wipe_on_free();
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("godwitctl " GW_VERSION);
        return CTL_OK;
    }
    if (!ctl_args_parse(argc - 1, argv + 1, &a)) {
        status = a.help ? CTL_OK : CTL_USAGE;
    } else if (a.command == NULL) {
        ctl_help_all(a.help ? stdout : stderr);
        status = a.help ? CTL_OK : CTL_USAGE;
    } else if (a.help) {
        ctl_help_command(stdout, a.command);
        status = CTL_OK;
    } else {
        status = connect_and_run(&a);
    }
    ctl_args_free(&a);
    return status;
}
