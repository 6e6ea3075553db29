/* SPDX-License-Identifier: Apache-2.0 */
/* Writing text into a fixed buffer: what does not fit sets `full`, and is checked once at the end. */
#ifndef GW_BASE_TEXT_H
#define GW_BASE_TEXT_H

#include "bytes.h"

struct gw_text {
    char *p;
    size_t len, cap;
    bool full;
};

static inline struct gw_text gw_text(void *buf, size_t cap)
{
    return (struct gw_text){(char *)buf, 0, cap, false};
}

static inline void gw_text_put(struct gw_text *t, struct gw_bytes b)
{
    if (t->full || b.len > t->cap - t->len) {
        t->full = true;
        return;
    }
    if (b.len)
        memcpy(t->p + t->len, b.p, b.len);
    t->len += b.len;
}

static inline void gw_text_str(struct gw_text *t, const char *s)
{
    gw_text_put(t, gw_bytes_str(s));
}

static inline void gw_text_uint(struct gw_text *t, uint64_t v)
{
    char digits[20];
    int n = 20;
    do {
        digits[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    gw_text_put(t, gw_bytes(digits + n, (size_t)(20 - n)));
}

static inline void gw_text_hex(struct gw_text *t, const uint8_t *p, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        char two[2] = {hex[p[i] >> 4], hex[p[i] & 15]};
        gw_text_put(t, gw_bytes(two, 2));
    }
}

static inline struct gw_bytes gw_text_bytes(const struct gw_text *t)
{
    return gw_bytes(t->p, t->len);
}

#endif
