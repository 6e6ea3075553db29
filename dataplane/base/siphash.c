/* SPDX-License-Identifier: Apache-2.0 */
#include "siphash.h"

#include <stdbool.h>
#include <string.h>

#include "bytes.h"

struct state {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, int b)
{
    return x << b | x >> (64 - b);
}

static inline void round1(struct state *s)
{
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

static inline __attribute__((always_inline)) uint64_t
hash(const struct gw_sipkey *key, const void *data, size_t len, int rounds, int last_rounds)
{
    const uint8_t *p = data;
    struct state s = {
        key->k0 ^ 0x736f6d6570736575ull,
        key->k1 ^ 0x646f72616e646f6dull,
        key->k0 ^ 0x6c7967656e657261ull,
        key->k1 ^ 0x7465646279746573ull,
    };
    uint64_t end = (uint64_t)len << 56;
    for (bool more = true; more; len -= 8, p += 8) {
        uint64_t m;
        more = len >= 8;
        if (more)
            memcpy(&m, p, 8); /* little-endian host: see meson.build */
        else
            m = end | gw_load_tail(p, len);
        s.v3 ^= m;
        for (int i = 0; i < rounds; i++)
            round1(&s);
        s.v0 ^= m;
    }
    s.v2 ^= 0xff;
    for (int i = 0; i < last_rounds; i++)
        round1(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t gw_siphash(const struct gw_sipkey *key, const void *data, size_t len)
{
    return hash(key, data, len, 2, 4);
}

uint64_t gw_siphash_1_3_of_12(const struct gw_sipkey *key, const uint8_t data[12])
{
    return hash(key, data, 12, 1, 3);
}

uint64_t gw_siphash_1_3(const struct gw_sipkey *key, const void *data, size_t len)
{
    return hash(key, data, len, 1, 3);
}
