/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Internet checksum (RFC 1071).
 *
 * Sums are of 16-bit words in the machine's own order: the ones' complement sum does not care, as
 * long as the result is stored in that order too. A sum is unfolded until checksum_finish.
 */
#ifndef GW_NET_CHECKSUM_H
#define GW_NET_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#include "../base/bytes.h"

/* Adds bytes that start at an even offset of what is summed. An odd last byte counts as padded. */
uint64_t checksum_add(uint64_t sum, const void *p, size_t len);
/* Adds pieces that follow each other without padding between them, from an even offset on. */
uint64_t checksum_add_pieces(uint64_t sum, const struct gw_bytes *pieces, unsigned count);

static inline uint64_t checksum_add64(uint64_t sum, uint64_t word)
{
    sum += word;
    return sum + (sum < word);
}

/* Of 20 bytes: an IPv4 header without options. */
static inline uint64_t checksum_of_20(const void *p)
{
    uint32_t w[5];
    memcpy(w, p, sizeof(w));
    return (uint64_t)w[0] + w[1] + w[2] + w[3] + w[4];
}

/* To 16 bits; 0xffff and 0 both mean zero. */
static inline uint16_t checksum_fold(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* What goes into the checksum field (as it lies in memory). */
static inline uint16_t checksum_finish(uint64_t sum)
{
    return (uint16_t)~checksum_fold(sum);
}

#endif
