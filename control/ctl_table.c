/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include "../dataplane/base/check.h"
#include "ctl.h"

/* The next character of a text: its bytes, and its columns, or -1 when it is nothing to print: a
 * control character (clients choose ids and resources), or no character of this locale. */
static size_t next_char(const char *s, int *width)
{
    wchar_t c;
    mbstate_t state = {0};
    size_t n = mbrtowc(&c, s, strlen(s), &state);
    if (n == (size_t)-1 || n == (size_t)-2 || n == 0) {
        *width = -1;
        return 1;
    }
    *width = iswprint((wint_t)c) ? wcwidth(c) : -1;
    return n;
}

char *ctl_clean(const char *text)
{
    char *copy = strdup(text);
    check(copy != NULL);
    for (char *at = copy; *at != '\0';) {
        int width;
        size_t n = next_char(at, &width);
        if (width < 0)
            memset(at, '?', n);
        at += n;
    }
    return copy;
}

static int columns_of(const char *text)
{
    int total = 0, width;
    while (*text != '\0') {
        text += next_char(text, &width);
        total += width;
    }
    return total;
}

void ctl_table_add(struct ctl_table *t, const char *text)
{
    char **grown = realloc(t->cells, (t->count + 1) * sizeof(*grown));
    check(grown != NULL);
    t->cells = grown;
    t->cells[t->count++] = ctl_clean(text);
}

void ctl_table_addf(struct ctl_table *t, const char *fmt, ...)
{
    char *text;
    va_list ap;
    va_start(ap, fmt);
    check(vasprintf(&text, fmt, ap) >= 0);
    va_end(ap);
    ctl_table_add(t, text);
    free(text);
}

static void print_row(const struct ctl_table *t, FILE *out, const char *const *cells,
                      const int *widths)
{
    for (unsigned i = 0; i < t->columns; i++) {
        int pad = widths[i] - columns_of(cells[i]);
        bool last = i + 1 == t->columns;
        fprintf(out, "%*s%s%*s", t->right[i] ? pad : 0, "", cells[i],
                t->right[i] || last ? 0 : pad, "");
        fputs(last ? "\n" : "  ", out);
    }
}

void ctl_table_print(struct ctl_table *t, FILE *out)
{
    int widths[CTL_COLUMNS_MAX];
    check(t->columns > 0 && t->count % t->columns == 0);
    for (unsigned i = 0; i < t->columns; i++)
        widths[i] = columns_of(t->heads[i]);
    for (unsigned i = 0; i < t->count; i++) {
        int width = columns_of(t->cells[i]);
        if (width > widths[i % t->columns])
            widths[i % t->columns] = width;
    }
    print_row(t, out, t->heads, widths);
    for (unsigned i = 0; i < t->count; i += t->columns)
        print_row(t, out, (const char *const *)t->cells + i, widths);
    for (unsigned i = 0; i < t->count; i++)
        free(t->cells[i]);
    free(t->cells);
    t->cells = NULL;
    t->count = 0;
}
