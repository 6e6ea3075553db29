/* SPDX-License-Identifier: Apache-2.0 */
/* The hash itself, in both of its forms: for steer.c, and for the test that compares them. */
#ifndef GW_PORT_STEER_INT_H
#define GW_PORT_STEER_INT_H

#include "steer.h"

#define STEER_TUPLE_BYTES_MAX 36

/* `len`: a multiple of 4, at most STEER_TUPLE_BYTES_MAX. */
uint32_t steer_hash_plain(const struct gw_steer *s, const uint8_t *bytes, unsigned len);
/* Only where steer_gfni_is_there. */
uint32_t steer_hash_gfni(const struct gw_steer *s, const uint8_t *bytes, unsigned len);
bool steer_gfni_is_there(void);

#endif
