/* SPDX-License-Identifier: Apache-2.0 */
/* godwitctl's parts: the command line by the schema, the socket, what is shown. */
#ifndef GW_CONTROL_CTL_H
#define GW_CONTROL_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "schema.h"

#define CTL_SOCKET_DEFAULT "/run/godwit/control.sock"
#define CTL_ROWS_MAX       10000000

/* Exit statuses; docs/godwitctl.1 lists them. */
enum ctl_status {
    CTL_OK = 0,
    CTL_REFUSED = 1, /* the broker answered with an error */
    CTL_USAGE = 2,
    CTL_UNREACHABLE = 3, /* no broker, or it has gone while we waited */
    CTL_INCOMPLETE = 4,  /* an import ended, but not all lines were good */
};

struct ctl_args {
    const char *socket;
    bool json, help;
    bool password_stdin;
    const struct schema_command *command;
    json_t *params;   /* without secrets and files */
    const char *file; /* of a SCHEMA_FILE or SCHEMA_OUTPUT parameter */
};

/* ---- ctl_args.c ---- */

/* False after saying on standard error what is wrong. argv without the program's name. */
bool ctl_args_parse(int argc, char **argv, struct ctl_args *out);
void ctl_args_free(struct ctl_args *a);

/* ---- ctl_help.c ---- */

void ctl_help_all(FILE *out);
void ctl_help_group(FILE *out, const char *group);
void ctl_help_command(FILE *out, const struct schema_command *c);
/* --undelivered-for; out holds 64 bytes. */
void ctl_option_name(const struct schema_param *p, char *out);
bool ctl_is_group(const char *word);

/* ---- ctl_client.c ---- */

struct ctl_client {
    int fd;
    char *buf;
    size_t len, cap;
    int id;
    bool json; /* how errors are shown */
};

/* CTL_OK, or CTL_UNREACHABLE after saying what to do about it. */
int ctl_connect(struct ctl_client *c, const char *path);
void ctl_disconnect(struct ctl_client *c);
/* Sends a request (params stay the caller's) with a descriptor when fd >= 0, waits for its answer.
 * CTL_OK and *result, a new reference; else it has been shown why not. */
int ctl_call(struct ctl_client *c, const char *method, const json_t *params, int fd,
             json_t **result);
/* The parameters of the next notification. The same. */
int ctl_next(struct ctl_client *c, json_t **params);
/* Whether one has come and lies in the buffer: then nothing may be left to read. */
bool ctl_has_next(const struct ctl_client *c);

/* ---- ctl_secret.c ---- */

/* Asks twice on the terminal without echo, or reads a line of standard input. The caller wipes and
 * frees it; NULL after saying why. */
char *ctl_secret_read(bool from_stdin);
void ctl_secret_free(char *secret);
/* A descriptor of a regular file with the contents of `path`, - being standard input; or -1 after
 * saying why. */
int ctl_file_open(const char *path);

/* ---- ctl_job.c ---- */

/* One line that is written over, when somebody looks at it; and its end. */
void ctl_job_show_progress(const json_t *job);
void ctl_job_end_progress(void);
/* Shows the progress of a job until it ends, then what it complained about. An exit status. */
int ctl_job_watch(struct ctl_client *c, json_int_t job);

/* ---- ctl_capture.c ---- */

/* pcap.start: makes the file, or passes on to standard output what comes, and waits for the end, which
 * an interrupt brings about. An exit status. */
int ctl_capture(struct ctl_client *c, const struct ctl_args *a);

/* ---- ctl_pages.c ---- */

/* Asks for page after page, up to --limit; all of it, or CTL_ of what went wrong. */
int ctl_pages(struct ctl_client *c, const struct ctl_args *a, json_t **whole);

/* ---- ctl_show.c ---- */

/* For people, on standard output. */
void ctl_show(const struct schema_command *c, const json_t *result);
/* "1.5 MiB", in `out`. */
const char *ctl_bytes(json_int_t n, char out[40]);

/* ---- ctl_show_conn.c ---- */

void ctl_show_connections(const json_t *rows);
void ctl_show_connection(const json_t *connection);

/* ---- ctl_show_store.c ---- */

void ctl_show_keys(const json_t *r);
void ctl_show_store_stats(const json_t *r);
/* One line: what a job has found wrong. */
void ctl_show_complaint(FILE *out, const json_t *complaint);

/* ---- ctl_table.c ---- */

#define CTL_COLUMNS_MAX 10

struct ctl_table {
    unsigned columns;
    const char *heads[CTL_COLUMNS_MAX];
    bool right[CTL_COLUMNS_MAX]; /* numbers: aligned right */
    char **cells;
    unsigned count; /* of cells */
};

/* A copy of the text without what could command a terminal; the caller frees it. */
char *ctl_clean(const char *text);
/* A clean copy of the text. Row by row. */
void ctl_table_add(struct ctl_table *t, const char *text);
void ctl_table_addf(struct ctl_table *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Prints and empties it. */
void ctl_table_print(struct ctl_table *t, FILE *out);

#endif
