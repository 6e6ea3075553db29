/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli), by ISA-L, which chooses the instruction set at run time. */
#ifndef GW_STORAGE_CRC32C_H
#define GW_STORAGE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

#include <isa-l/crc.h>

/* Goes on from an earlier result; start with CRC32C_START, end with ~. */
#define CRC32C_START UINT32_MAX

static inline uint32_t crc32c_add(uint32_t crc, const void *p, size_t len)
{
    return crc32_iscsi((unsigned char *)(uintptr_t)p, (int)len, crc);
}

static inline uint32_t crc32c(const void *p, size_t len)
{
    return ~crc32c_add(CRC32C_START, p, len);
}

#endif
