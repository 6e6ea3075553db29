/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "../dataplane/base/check.h"
#include "config_report.h"

void config_report_add(struct config_report *r, unsigned line, const char *fmt, ...)
{
    va_list ap;
    char *text;
    va_start(ap, fmt);
    check(vasprintf(&text, fmt, ap) >= 0);
    va_end(ap);
    struct config_mistake *grown = realloc(r->mistakes, (r->count + 1) * sizeof(*grown));
    check(grown != NULL);
    r->mistakes = grown;
    r->mistakes[r->count++] = (struct config_mistake){.line = line, .text = text};
}

static int by_line(const void *a, const void *b)
{
    const struct config_mistake *x = a, *y = b;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return strcmp(x->text, y->text);
}

void config_report_print(struct config_report *r, FILE *out)
{
    if (r->count > 0)
        qsort(r->mistakes, r->count, sizeof(*r->mistakes), by_line);
    for (unsigned i = 0; i < r->count; i++) {
        const struct config_mistake *m = &r->mistakes[i];
        if (m->line > 0)
            fprintf(out, "%s:%u: %s\n", r->path, m->line, m->text);
        else
            fprintf(out, "%s: %s\n", r->path, m->text);
        free(m->text);
    }
    free(r->mistakes);
    r->mistakes = NULL;
    r->count = 0;
}
