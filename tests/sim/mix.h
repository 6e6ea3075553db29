/* SPDX-License-Identifier: Apache-2.0 */
/* Digests of runs, and random numbers that do not touch the world's. */
#ifndef SIM_MIX_H
#define SIM_MIX_H

#include <stdint.h>

/* One more value into a digest. */
static inline uint64_t mix(uint64_t digest, uint64_t value)
{
    uint64_t z = (digest ^ value) + UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

#endif
