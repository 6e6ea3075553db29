/* SPDX-License-Identifier: Apache-2.0 */
/* Mistakes in a configuration file: collected while reading, printed in the order of lines. */
#ifndef GW_CONTROL_CONFIG_REPORT_H
#define GW_CONTROL_CONFIG_REPORT_H

#include <stdarg.h>
#include <stdio.h>

struct config_mistake {
    unsigned line; /* 0: of the file as a whole */
    char *text;
};

struct config_report {
    const char *path;
    struct config_mistake *mistakes;
    unsigned count;
};

__attribute__((format(printf, 3, 4))) void config_report_add(struct config_report *r, unsigned line,
                                                             const char *fmt, ...);
/* Prints "path:line: text" each, and frees them. */
void config_report_print(struct config_report *r, FILE *out);

#endif
