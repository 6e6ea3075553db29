/* SPDX-License-Identifier: Apache-2.0 */
#include "line.h"

#include <stdlib.h>
#include <string.h>

#include "../../dataplane/base/bytes.h"

bool line_read_number(const char *text, int64_t *v)
{
    char *end;
    if (text == NULL || *text == '\0')
        return false;
    *v = strtoll(text, &end, 10);
    return *end == '\0';
}

bool line_read_seconds(const char *text, uint64_t *us)
{
    uint64_t v = 0, scale = 1000000;
    bool digits = false;
    for (; *text >= '0' && *text <= '9'; text++, digits = true)
        v = v * 10 + (uint64_t)(*text - '0') * 1000000;
    if (*text == '.')
        for (text++; *text >= '0' && *text <= '9' && scale > 1; text++, digits = true) {
            scale /= 10;
            v += (uint64_t)(*text - '0') * scale;
        }
    *us = v;
    return digits && *text == '\0';
}

static bool read_u32(const char *text, uint32_t *v)
{
    int64_t n;
    if (!line_read_number(text, &n))
        return false;
    *v = (uint32_t)n;
    return true;
}

/* The next word, cut off; NULL at the end. */
static char *next_word(char **rest)
{
    return strtok_r(NULL, " \t", rest);
}

/* ---- options ---- */

static bool put(struct segment *s, const uint8_t *p, uint32_t len)
{
    if (len > sizeof(s->options) - s->options_len)
        return false;
    memcpy(s->options + s->options_len, p, len);
    s->options_len += len;
    return true;
}

static const char *read_mss(struct segment *s, char **rest)
{
    const char *word = next_word(rest);
    uint32_t v = 0;
    s->our_mss = word != NULL && strcmp(word, "our") == 0;
    if (!s->our_mss && !read_u32(word, &v))
        return "mss wants a number";
    s->mss_at = s->options_len + 2;
    return put(s, (const uint8_t[]){2, 4, (uint8_t)(v >> 8), (uint8_t)v}, 4) ? NULL : "too long";
}

static const char *read_timestamp(struct segment *s, char **rest)
{
    uint8_t option[10] = {8, 10};
    s->ts_at = s->options_len + 2;
    s->echoes_ts = true;
    s->any_ts_val = true;
    for (char *word; (word = next_word(rest)) != NULL;) {
        const char *value = next_word(rest);
        uint32_t v = 0;
        bool any = value != NULL && strcmp(value, "*") == 0;
        if (!any && !read_u32(value, &v))
            return "TS wants numbers";
        if (strcmp(word, "val") == 0) {
            s->any_ts_val = any;
            gw_put_be32(option + 2, v);
        } else if (strcmp(word, "ecr") == 0) {
            s->echoes_ts = any;
            gw_put_be32(option + 6, v);
        } else {
            return "TS wants val and ecr";
        }
    }
    return put(s, option, sizeof(option)) ? NULL : "too long";
}

static const char *read_sack(struct segment *s, char **rest)
{
    uint8_t option[2 + 4 * 8] = {5, 2};
    for (char *word; (word = next_word(rest)) != NULL; option[1] = (uint8_t)(option[1] + 8)) {
        char *colon = strchr(word, ':');
        uint32_t start, end;
        if (colon == NULL || option[1] + 8u > sizeof(option))
            return "sack wants up to four blocks START:END";
        *colon = '\0';
        if (!read_u32(word, &start) || !read_u32(colon + 1, &end))
            return "sack wants numbers";
        gw_put_be32(option + option[1], start);
        gw_put_be32(option + option[1] + 4, end);
    }
    return put(s, option, option[1]) ? NULL : "too long";
}

static const char *read_raw(struct segment *s, char **rest)
{
    for (char *word; (word = next_word(rest)) != NULL;) {
        char *end;
        unsigned long v = strtoul(word, &end, 16);
        if (*end != '\0' || v > 255 || !put(s, (const uint8_t[]){(uint8_t)v}, 1))
            return "raw wants bytes in hexadecimal";
    }
    return NULL;
}

static const char *read_option(struct segment *s, char *text)
{
    char *rest, *name = strtok_r(text, " \t", &rest);
    uint32_t v;
    if (name == NULL)
        return "an option is empty";
    if (strcmp(name, "mss") == 0)
        return read_mss(s, &rest);
    if (strcmp(name, "TS") == 0)
        return read_timestamp(s, &rest);
    if (strcmp(name, "sack") == 0)
        return read_sack(s, &rest);
    if (strcmp(name, "raw") == 0)
        return read_raw(s, &rest);
    if (strcmp(name, "nop") == 0)
        return put(s, (const uint8_t[]){1}, 1) ? NULL : "too long";
    if (strcmp(name, "sackOK") == 0)
        return put(s, (const uint8_t[]){4, 2}, 2) ? NULL : "too long";
    if (strcmp(name, "wscale") == 0 && read_u32(next_word(&rest), &v) && v < 256)
        return put(s, (const uint8_t[]){3, 3, (uint8_t)v}, 3) ? NULL : "too long";
    return "unknown option";
}

/* Cuts "<..>" off the end of the text. */
static const char *read_options(struct segment *s, char *text)
{
    char *open = strchr(text, '<'), *close = open != NULL ? strchr(open, '>') : NULL, *rest;
    if (open == NULL)
        return NULL;
    if (close == NULL || close[strspn(close + 1, " \t") + 1] != '\0')
        return "options want to end in >, and the line with them";
    *open = *close = '\0';
    s->has_options = true;
    for (char *o = strtok_r(open + 1, ",", &rest); o != NULL; o = strtok_r(NULL, ",", &rest)) {
        const char *err = read_option(s, o);
        if (err != NULL)
            return err;
    }
    return NULL;
}

/* ---- segments ---- */

static const char *read_flags(struct segment *s, const char *word)
{
    static const char letters[] = "FSRP.U";
    if (word == NULL)
        return "flags are missing";
    if (strcmp(word, "-") == 0)
        return NULL;
    for (; *word != '\0'; word++) {
        const char *at = strchr(letters, *word);
        if (at == NULL)
            return "flags are of F S R P U and .";
        s->flags |= (uint8_t)(1u << (at - letters));
    }
    return NULL;
}

static const char *read_place(struct segment *s, char *word)
{
    char *colon = word != NULL ? strchr(word, ':') : NULL;
    char *bracket = colon != NULL ? strchr(colon, '(') : NULL;
    char *last = bracket != NULL ? bracket + strlen(bracket) - 1 : NULL;
    if (last == NULL || *last != ')')
        return "START:END(LENGTH) is missing";
    *last = *bracket = *colon = '\0';
    uint32_t end;
    if (!read_u32(bracket + 1, &s->len))
        return "the length is no number";
    s->any_seq = strcmp(word, "*") == 0;
    if (s->any_seq)
        return strcmp(colon + 1, "*") == 0 ? NULL : "* wants *:*(LENGTH)";
    if (!read_u32(word, &s->seq) || !read_u32(colon + 1, &end))
        return "START or END is no number";
    return end - s->seq == s->len ? NULL : "END less START is not the length";
}

static const char *read_field(struct segment *s, const char *word, char **rest)
{
    const struct {
        const char *name;
        uint32_t *value;
        bool *has;
    } fields[] = {{"ack", &s->ack, &s->has_ack},
                  {"win", &s->win, &s->has_win},
                  {"urg", &s->urg, NULL},
                  {"port", &s->port, NULL}};
    if (strcmp(word, "badsum") == 0) {
        s->bad_sum = true;
        return NULL;
    }
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (strcmp(word, fields[i].name) != 0)
            continue;
        if (!read_u32(next_word(rest), fields[i].value))
            return "a number is missing";
        if (fields[i].has != NULL)
            *fields[i].has = true;
        return NULL;
    }
    return "unknown field";
}

static const char *read_segment(struct segment *s, char *text)
{
    *s = (struct segment){.win = 65535};
    const char *err = read_options(s, text);
    char *rest, *word = strtok_r(text, " \t", &rest);
    if (err == NULL)
        err = read_flags(s, word);
    if (err == NULL)
        err = read_place(s, next_word(&rest));
    while (err == NULL && (word = next_word(&rest)) != NULL)
        err = read_field(s, word, &rest);
    if (err == NULL && s->has_ack != ((s->flags & 0x10) != 0))
        err = "ack goes with the flag .";
    return err;
}

/* ---- lines ---- */

static const char *read_words(struct line *l, char *text)
{
    unsigned n = 0;
    char *rest = NULL;
    for (char *w = strtok_r(text, " \t", &rest); w != NULL; w = next_word(&rest)) {
        if (n == LINE_WORDS_MAX)
            return "too many words";
        l->words[n++] = w;
    }
    return n > 0 ? NULL : "nothing follows";
}

/* "repeat N" before the statement itself. */
static const char *read_repeat(struct line *l, char **at)
{
    uint32_t n = 0;
    char *p = *at;
    if (strncmp(p, "! repeat ", 9) != 0)
        return NULL;
    for (p += 9; *p >= '0' && *p <= '9' && n < 1000000; p++)
        n = n * 10 + (uint32_t)(*p - '0');
    if (n == 0 || *p != ' ')
        return "repeat wants a number";
    l->repeat = n;
    *at = p + strspn(p, " \t");
    return NULL;
}

const char *line_parse(struct line *l, const char *text, unsigned number)
{
    *l = (struct line){.number = number, .text = text, .repeat = 1};
    if (strlen(text) >= sizeof(l->buffer))
        return "the line is too long";
    strcpy(l->buffer, text);
    char *at = l->buffer + strspn(l->buffer, " \t");
    if (*at == '+') {
        char *end = at + strcspn(at, " \t");
        if (*end == '\0')
            return "a statement is missing";
        *end = '\0';
        if (!line_read_seconds(at + 1, &l->after_us))
            return "the time is no number of seconds";
        at = end + 1 + strspn(end + 1, " \t");
    }
    const char *err = read_repeat(l, &at);
    if (err != NULL)
        return err;
    static const char kinds[] = "<>=!?";
    const char *kind = *at != '\0' ? strchr(kinds, *at) : NULL;
    if (kind == NULL || at[1] != ' ')
        return "a line begins with < > = ! or ?";
    l->kind = (enum line_kind)(kind - kinds);
    if (l->kind == LINE_IN || l->kind == LINE_OUT)
        return read_segment(&l->segment, at + 2);
    return read_words(l, at + 2);
}
