/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-2-4 (Aumasson and Bernstein, 2012): the keyed hash of every table that peers can fill. */
#ifndef GW_BASE_SIPHASH_H
#define GW_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct gw_sipkey {
    uint64_t k0, k1;
};

uint64_t gw_siphash(const struct gw_sipkey *key, const void *data, size_t len);
/* SipHash-1-3: for tables whose hashes no peer ever sees, on a path where each packet or message pays
 * for it. To make entries collide somebody would have to learn the key from timing alone. */
uint64_t gw_siphash_1_3(const struct gw_sipkey *key, const void *data, size_t len);
/* The same of 12 bytes, a little quicker. */
uint64_t gw_siphash_1_3_of_12(const struct gw_sipkey *key, const uint8_t data[12]);

#endif
