/* SPDX-License-Identifier: Apache-2.0 */
#include "siphash.h"

#include <string.h>

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

static inline void absorb(struct state *s, uint64_t m)
{
    s->v3 ^= m;
    round1(s);
    round1(s);
    s->v0 ^= m;
}

uint64_t gw_siphash(const struct gw_sipkey *key, const void *data, size_t len)
{
    const uint8_t *p = data;
    struct state s = {
        key->k0 ^ 0x736f6d6570736575ull,
        key->k1 ^ 0x646f72616e646f6dull,
        key->k0 ^ 0x6c7967656e657261ull,
        key->k1 ^ 0x7465646279746573ull,
    };
    uint64_t last = (uint64_t)len << 56;
    for (; len >= 8; len -= 8, p += 8) {
        uint64_t m;
        memcpy(&m, p, 8); /* little-endian host: see meson.build */
        absorb(&s, m);
    }
    uint64_t tail = 0;
    memcpy(&tail, p, len);
    absorb(&s, last | tail);
    s.v2 ^= 0xff;
    for (int i = 0; i < 4; i++)
        round1(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
