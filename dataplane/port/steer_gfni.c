/* SPDX-License-Identifier: Apache-2.0 */
/* The one file that is compiled for GFNI and AVX-512; steer.c asks the CPU before it comes here. */
#define ALLOW_EXPERIMENTAL_API
#include <rte_thash.h>

#include "steer_int.h"

#ifndef RTE_THASH_GFNI_DEFINED
#error "meson.build compiles this file with GFNI and AVX-512"
#endif

bool steer_gfni_is_there(void)
{
    return __builtin_cpu_supports("gfni") && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi");
}

uint32_t steer_hash_gfni(const struct gw_steer *s, const uint8_t *bytes, unsigned len)
{
    return rte_thash_gfni(s->matrices, bytes, (int)len);
}
