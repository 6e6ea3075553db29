/* SPDX-License-Identifier: Apache-2.0 */
#include "buffer.h"

#include <emmintrin.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/base/check.h"

/* Moves the content to the front first, when that helps. */
void buffer_reserve(struct buffer *b, size_t len)
{
    if (b->start > 0 && b->capacity - b->end < len) {
        memmove(b->data, b->data + b->start, buffer_len(b));
        b->end -= b->start;
        b->start = 0;
    }
    if (b->capacity - b->end >= len)
        return;
    size_t capacity = b->capacity ? b->capacity : 512;
    while (capacity - b->end < len)
        capacity *= 2;
    b->data = realloc(b->data, capacity);
    check(b->data != NULL);
    b->capacity = capacity;
}

void buffer_printf(struct buffer *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    check(len >= 0);
    buffer_reserve(b, (size_t)len + 1);
    va_start(args, format);
    vsnprintf(b->data + b->end, (size_t)len + 1, format, args);
    va_end(args);
    b->end += (size_t)len;
}

void buffer_uint(struct buffer *b, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    buffer_append(b, digits + at, sizeof(digits) - at);
}

void buffer_hex(struct buffer *b, uint64_t number, unsigned digits)
{
    static const char hex[] = "0123456789abcdef";
    char text[16];
    check(digits <= sizeof(text));
    for (unsigned i = digits; i > 0; i--, number >>= 4)
        text[i - 1] = hex[number & 15];
    buffer_append(b, text, digits);
}

static const bool is_escaped[256] = {
    ['&'] = true, ['<'] = true, ['>'] = true, ['\''] = true, ['"'] = true};

/* How many bytes at the start need no escape. */
static size_t plain_len(const char *text, size_t len)
{
    const __m128i amp = _mm_set1_epi8('&'), lt = _mm_set1_epi8('<'), gt = _mm_set1_epi8('>'),
                  apos = _mm_set1_epi8('\''), quot = _mm_set1_epi8('"');
    size_t i = 0;
    for (; i + 16 <= len; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(text + i));
        __m128i angle = _mm_or_si128(_mm_cmpeq_epi8(v, lt), _mm_cmpeq_epi8(v, gt));
        __m128i quote = _mm_or_si128(_mm_cmpeq_epi8(v, apos), _mm_cmpeq_epi8(v, quot));
        __m128i any = _mm_or_si128(_mm_or_si128(angle, quote), _mm_cmpeq_epi8(v, amp));
        int mask = _mm_movemask_epi8(any);
        if (mask != 0)
            return i + (size_t)__builtin_ctz((unsigned)mask);
    }
    while (i < len && !is_escaped[(unsigned char)text[i]])
        i++;
    return i;
}

void buffer_escape(struct buffer *b, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t plain = plain_len(text + i, len - i);
        buffer_append(b, text + i, plain);
        i += plain;
        if (i == len)
            return;
        switch (text[i++]) {
        case '&':
            buffer_text(b, "&amp;");
            break;
        case '<':
            buffer_text(b, "&lt;");
            break;
        case '>':
            buffer_text(b, "&gt;");
            break;
        case '\'':
            buffer_text(b, "&apos;");
            break;
        default:
            buffer_text(b, "&quot;");
        }
    }
}

void buffer_base64(struct buffer *b, const void *bytes, size_t len)
{
    size_t room = (len + 2) / 3 * 4 + 1;
    buffer_reserve(b, room);
    int written = EVP_EncodeBlock((unsigned char *)b->data + b->end, bytes, (int)len);
    check(written >= 0 && (size_t)written < room);
    b->end += (size_t)written;
}

const char *buffer_cstr(struct buffer *b)
{
    buffer_reserve(b, 1);
    b->data[b->end] = '\0';
    return buffer_head(b);
}

void buffer_consume(struct buffer *b, size_t len)
{
    check(len <= buffer_len(b));
    b->start += len;
    if (b->start == b->end)
        buffer_reset(b);
}

void buffer_reset(struct buffer *b)
{
    b->start = b->end = 0;
}

void buffer_free(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){0};
}
