/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that grow at the end and leave at the front. Memory that runs out ends the program. */
#ifndef LOAD_BUFFER_H
#define LOAD_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buffer {
    char *data;
    size_t start; /* of what has not left yet */
    size_t end;
    size_t capacity;
};

static inline size_t buffer_len(const struct buffer *b)
{
    return b->end - b->start;
}

static inline const char *buffer_head(const struct buffer *b)
{
    return b->data + b->start;
}

/* Makes room for len bytes at the end. */
void buffer_reserve(struct buffer *b, size_t len);

static inline void buffer_append(struct buffer *b, const void *bytes, size_t len)
{
    if (len == 0)
        return;
    if (b->capacity - b->end < len)
        buffer_reserve(b, len);
    memcpy(b->data + b->end, bytes, len);
    b->end += len;
}

static inline void buffer_text(struct buffer *b, const char *text)
{
    buffer_append(b, text, strlen(text));
}

void buffer_printf(struct buffer *b, const char *format, ...)
    __attribute__((format(printf, 2, 3), nonnull(2)));
void buffer_uint(struct buffer *b, uint64_t number);
/* As hexadecimal digits, `digits` of them. */
void buffer_hex(struct buffer *b, uint64_t number, unsigned digits);
/* The text as XML character data or attribute value. */
void buffer_escape(struct buffer *b, const char *text, size_t len);
void buffer_base64(struct buffer *b, const void *bytes, size_t len);
/* Terminates the content by a NUL that is not part of it, and returns it. */
const char *buffer_cstr(struct buffer *b);
/* Drops the first len bytes. */
void buffer_consume(struct buffer *b, size_t len);
void buffer_reset(struct buffer *b);
/* Gives the memory back. */
void buffer_free(struct buffer *b);

#endif
