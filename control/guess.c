/* SPDX-License-Identifier: Apache-2.0 */
#include "guess.h"

#include <string.h>

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

const char *guess_name(const char *wrong, const char *(*name)(unsigned i), unsigned count)
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
