/* SPDX-License-Identifier: Apache-2.0 */
#include "checksum.h"

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof(w));
    return w;
}

/* 2^64 is 1 modulo 2^16 - 1, so a carry out of 64 bits comes back in at the bottom. */
uint64_t checksum_add(uint64_t sum, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (; len >= 32; len -= 32, p += 32) {
        uint64_t a = load64(p), b = load64(p + 8), c = load64(p + 16), d = load64(p + 24);
        unsigned long long s;
        unsigned carry = __builtin_uaddll_overflow(a, b, &s);
        carry += __builtin_uaddll_overflow(s, c, &s);
        carry += __builtin_uaddll_overflow(s, d, &s);
        carry += __builtin_uaddll_overflow(s, sum, &s);
        sum = checksum_add64(s, carry);
    }
    for (; len >= 8; len -= 8, p += 8)
        sum = checksum_add64(sum, load64(p));
    return checksum_add64(sum, gw_load_tail(p, len));
}

uint64_t checksum_add_pieces(uint64_t sum, const struct gw_bytes *pieces, unsigned count)
{
    size_t off = 0;
    for (unsigned i = 0; i < count; i++) {
        uint64_t piece = checksum_add(0, pieces[i].p, pieces[i].len);
        if (off & 1) /* its even bytes are odd ones of the whole */
            piece = __builtin_bswap16(checksum_fold(piece));
        sum = checksum_add64(sum, piece);
        off += pieces[i].len;
    }
    return sum;
}
