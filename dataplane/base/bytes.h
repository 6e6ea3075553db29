/* SPDX-License-Identifier: Apache-2.0 */
/* A borrowed run of bytes: never owned, valid as long as what it points into. */
#ifndef GW_BASE_BYTES_H
#define GW_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct gw_bytes {
    const uint8_t *p;
    size_t len;
};

/* The bytes of a string literal, without its terminator. */
#define GW_LIT(s) ((struct gw_bytes){(const uint8_t *)(s), sizeof(s) - 1})

static inline struct gw_bytes gw_bytes(const void *p, size_t len)
{
    return (struct gw_bytes){p, len};
}

static inline struct gw_bytes gw_bytes_str(const char *s)
{
    return (struct gw_bytes){(const uint8_t *)s, strlen(s)};
}

static inline bool gw_bytes_eq(struct gw_bytes a, struct gw_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

static inline uint16_t gw_be16(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)(b[0] << 8 | b[1]);
}

static inline uint32_t gw_be32(const void *p)
{
    const uint8_t *b = p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static inline uint64_t gw_be64(const void *p)
{
    return (uint64_t)gw_be32(p) << 32 | gw_be32((const uint8_t *)p + 4);
}

static inline void gw_put_be16(void *p, uint16_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)(v >> 8);
    b[1] = (uint8_t)v;
}

static inline void gw_put_be32(void *p, uint32_t v)
{
    gw_put_be16(p, (uint16_t)(v >> 16));
    gw_put_be16((uint8_t *)p + 2, (uint16_t)v);
}

static inline void gw_put_be64(void *p, uint64_t v)
{
    gw_put_be32(p, (uint32_t)(v >> 32));
    gw_put_be32((uint8_t *)p + 4, (uint32_t)v);
}

/* Loads the byte there and does nothing with it: fetches its cache line, and where its page lies. */
static inline void gw_touch(const void *p)
{
    (void)*(const volatile uint8_t *)p;
}

/* Fewer than eight bytes, the lowest first, zeros behind them. A memcpy of a length that varies would be a
 * call, and headers end in such a piece. */
static inline uint64_t gw_load_tail(const uint8_t *p, size_t len)
{
    uint64_t tail = 0;
    unsigned shift = 0;
    if (len & 4) {
        uint32_t w;
        memcpy(&w, p, 4);
        tail = w;
        p += 4;
        shift = 32;
    }
    if (len & 2) {
        uint16_t w;
        memcpy(&w, p, 2);
        tail |= (uint64_t)w << shift;
        p += 2;
        shift += 16;
    }
    if (len & 1)
        tail |= (uint64_t)*p << shift;
    return tail;
}

#endif
