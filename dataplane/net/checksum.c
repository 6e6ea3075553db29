/* SPDX-License-Identifier: Apache-2.0 */
#include "checksum.h"

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof(w));
    return w;
}

/* 32 bytes by one chain of carries, which compilers do not make of C. */
static inline uint64_t add32(uint64_t sum, const uint8_t *p)
{
    const uint64_t(*w)[4] = (const void *)p; /* read by the chain alone: it need not be aligned */
    __asm__("addq (%1), %0\n\t"
            "adcq 8(%1), %0\n\t"
            "adcq 16(%1), %0\n\t"
            "adcq 24(%1), %0\n\t"
            "adcq $0, %0"
            : "+r"(sum)
            : "r"(p), "m"(*w)
            : "cc");
    return sum;
}

/* 2^64 is 1 modulo 2^16 - 1, so a carry out of 64 bits comes back in at the bottom. */
uint64_t checksum_add(uint64_t sum, const void *data, size_t len)
{
    const uint8_t *p = data;
    for (; len >= 32; len -= 32, p += 32)
        sum = add32(sum, p);
    for (; len >= 8; len -= 8, p += 8)
        sum = checksum_add64(sum, load64(p));
    return checksum_add64(sum, gw_load_tail(p, len));
}

uint64_t checksum_add_pieces(uint64_t sum, const struct gw_bytes *pieces, unsigned count)
{
    size_t off = 0;
    if (count == 1)
        return checksum_add(sum, pieces[0].p, pieces[0].len);
    for (unsigned i = 0; i < count; i++) {
        uint64_t piece = checksum_add(0, pieces[i].p, pieces[i].len);
        if (off & 1) /* its even bytes are odd ones of the whole */
            piece = __builtin_bswap16(checksum_fold(piece));
        sum = checksum_add64(sum, piece);
        off += pieces[i].len;
    }
    return sum;
}
