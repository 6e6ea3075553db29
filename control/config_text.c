/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../dataplane/base/check.h"
#include "config_text.h"

#define FILE_BYTES_MAX (1u << 20)

struct scan {
    const char *at;
    unsigned line;
    FILE *out;
    struct config_report *report;
};

static void copy(struct scan *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        s->line += s->at[i] == '\n';
    fwrite(s->at, 1, len, s->out);
    s->at += len;
}

static size_t comment_len(const char *at)
{
    if (at[0] == '#' || (at[0] == '/' && at[1] == '/'))
        return strcspn(at, "\n");
    if (at[0] != '/' || at[1] != '*')
        return 0;
    const char *end = strstr(at + 2, "*/");
    return end != NULL ? (size_t)(end + 2 - at) : strlen(at);
}

static size_t string_len(const char *at)
{
    size_t len = 1;
    if (at[0] != '"')
        return 0;
    while (at[len] != '\0' && at[len] != '"')
        len += at[len] == '\\' && at[len + 1] != '\0' ? 2 : 1;
    return at[len] == '"' ? len + 1 : len;
}

static size_t word_len(const char *at)
{
    size_t len = 0;
    while (isalnum((unsigned char)at[len]) || (at[len] != '\0' && strchr("_.*+-", at[len]) != NULL))
        len++;
    return len;
}

/* Digits, or 0x and hex digits: without the sign and without a mark of its own. */
static bool is_integer(const char *word, size_t len)
{
    bool hex = len > 2 && word[0] == '0' && (word[1] == 'x' || word[1] == 'X');
    size_t i = hex ? 2 : (word[0] == '-' || word[0] == '+') && len > 1;
    for (; i < len; i++)
        if (hex ? !isxdigit((unsigned char)word[i]) : !isdigit((unsigned char)word[i]))
            return false;
    return len > 0 && isxdigit((unsigned char)word[len - 1]);
}

static bool fits_64_bits(const char *word)
{
    errno = 0;
    strtoll(word, NULL, word[0] == '0' ? 16 : 10);
    return errno == 0;
}

static void copy_word(struct scan *s, size_t len)
{
    bool mark = is_integer(s->at, len);
    if (mark && !fits_64_bits(s->at))
        config_report_add(s->report, s->line, "%.*s is too large a number", (int)(len > 80 ? 80 : len),
                          s->at);
    copy(s, len);
    if (mark)
        fputc('L', s->out);
}

static void copy_marked(struct scan *s)
{
    while (*s->at != '\0') {
        size_t len = comment_len(s->at);
        if (len == 0)
            len = string_len(s->at);
        if (len > 0) {
            copy(s, len);
        } else if ((len = word_len(s->at)) > 0) {
            copy_word(s, len);
        } else {
            if (*s->at == '@')
                config_report_add(s->report, s->line,
                                  "@include is not supported: the configuration is one file");
            copy(s, 1);
        }
    }
}

char *config_text_read(FILE *f, struct config_report *report)
{
    char *raw = malloc(FILE_BYTES_MAX + 1), *marked = NULL;
    check(raw != NULL);
    size_t len = fread(raw, 1, FILE_BYTES_MAX + 1, f), marked_len;
    if (ferror(f)) {
        config_report_add(report, 0, "cannot be read: %s", strerror(errno));
    } else if (len > FILE_BYTES_MAX || memchr(raw, '\0', len) != NULL) {
        config_report_add(report, 0, "is no configuration, accepted: text of at most 1 MiB");
    } else {
        raw[len] = '\0';
        FILE *out = open_memstream(&marked, &marked_len);
        check(out != NULL);
        struct scan s = {.at = raw, .line = 1, .out = out, .report = report};
        copy_marked(&s);
        check(fclose(out) == 0);
    }
    free(raw);
    return marked;
}
