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

#define GUESS_BYTES_MAX 63

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Levenshtein's distance, one row at a time. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[GUESS_BYTES_MAX + 1];
    size_t width = strlen(b);
    for (unsigned j = 0; j <= width; j++)
        row[j] = j;
    for (unsigned i = 1; a[i - 1] != '\0'; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= width; j++) {
            unsigned above = row[j];
            row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[width];
}

const char *config_report_guess(const char *wrong, const char *(*name)(unsigned i), unsigned count)
{
    const char *best = NULL;
    unsigned best_distance = 4;
    if (strlen(wrong) > GUESS_BYTES_MAX)
        return NULL;
    for (unsigned i = 0; i < count; i++) {
        unsigned d = distance(wrong, name(i));
        if (d < best_distance && d < strlen(name(i))) {
            best_distance = d;
            best = name(i);
        }
    }
    return best;
}
