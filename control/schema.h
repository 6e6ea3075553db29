/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every command of the control socket, once: what the broker checks requests against, what
 * godwitctl takes its subcommands, options and help from, and what rpc.discover prints.
 *
 * A command's implementation registers itself by method name beside the code that it serves.
 */
#ifndef GW_CONTROL_SCHEMA_H
#define GW_CONTROL_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum schema_type {
    SCHEMA_STRING,   /* of min to max bytes */
    SCHEMA_NUMBER,   /* from min to max */
    SCHEMA_DURATION, /* seconds; on the command line also 90s, 15m, 1h, 7d */
    SCHEMA_FLAG,     /* true or false */
    SCHEMA_CHOICE,   /* one of `choices` */
    SCHEMA_SECRET,   /* a string that is never an argument: asked for, or read from standard input */
    SCHEMA_FILE,     /* true, and a descriptor comes with the request: godwitctl opens the file */
    SCHEMA_OUTPUT,   /* the same, of a file that godwitctl makes, for the broker to write to */
};

struct schema_param {
    const char *name; /* in JSON; as an option with - for _ */
    enum schema_type type;
    bool required;
    bool positional; /* on the command line: not an option but an argument, in this order */
    int64_t min, max;
    const char *const *choices;
    const char *help;
};

#define SCHEMA_PARAMS_MAX 10
/* Of one answer: what the control thread can put together in a slice. godwitctl asks again. */
#define SCHEMA_PAGE_ROWS_MAX 200

struct schema_command {
    const char *method;
    const char *cli;     /* "user add"; NULL: not a subcommand */
    const char *summary; /* one line */
    const char *detail;
    const char *example; /* of the command line */
    bool streams;        /* answers, then sends notifications until either side ends it */
    bool job;            /* answers with the number of a job, which godwitctl follows to its end */
    bool pages;          /* answers hold `next` while there is more; it goes back as `cursor` */
    struct schema_param params[SCHEMA_PARAMS_MAX];
};

static inline bool schema_is_file(const struct schema_param *p)
{
    return p->type == SCHEMA_FILE || p->type == SCHEMA_OUTPUT;
}

extern const struct schema_command schema_commands[];
extern const unsigned schema_command_count;

unsigned schema_param_count(const struct schema_command *c);
const struct schema_command *schema_find(const char *method);
const struct schema_param *schema_find_param(const struct schema_command *c, const char *name);
/* "a number from 1 to 64"... */
void schema_describe_accepted(const struct schema_param *p, char *out, size_t cap);
/* The value is acceptable; otherwise false and what is wrong in err. */
bool schema_check_value(const struct schema_param *p, const json_t *value, char *err, size_t cap);
/* All of it, as rpc.discover answers. New reference. */
json_t *schema_describe_all(void);

/* ---- error codes: JSON-RPC 2.0 section 5.1, and ours ---- */

#define RPC_ERRORS(X)                                                                              \
    X(PARSE, -32700, "not JSON")                                                                   \
    X(INVALID, -32600, "not a JSON-RPC 2.0 request")                                               \
    X(NO_METHOD, -32601, "no such method")                                                         \
    X(PARAMS, -32602, "wrong parameters")                                                          \
    X(INTERNAL, -32603, "the broker failed")                                                       \
    X(NOT_FOUND, -32001, "no such account, session or job")                                        \
    X(EXISTS, -32002, "it exists already")                                                         \
    X(BUSY, -32003, "not now: a limit is reached or something else is under way")                  \
    X(STORE, -32004, "the store failed")                                                           \
    X(DENIED, -32005, "this user may not control the broker")                                      \
    X(TIMEOUT, -32006, "a part of the broker did not answer in time")

enum rpc_error {
#define X(upper, code, meaning) RPC_##upper = code,
    RPC_ERRORS(X)
#undef X
};

#endif
