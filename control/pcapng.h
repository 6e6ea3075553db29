/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of a pcapng file (draft-ietf-opsawg-pcapng), put one behind the other into a buffer.
 *
 * Written here because DPDK's librte_pcapng takes frames only as mbufs with the block built inside of
 * them: the copies would come from a packet pool that a preemptible thread must not share.
 */
#ifndef GW_CONTROL_PCAPNG_H
#define GW_CONTROL_PCAPNG_H

#include <stddef.h>
#include <stdint.h>

#include "../dataplane/capture.h"

/* Of one interface: what the tap counted, between these times of the wall clock. */
struct pcapng_statistics {
    uint64_t begun_us, ended_us;
    struct gw_capture_counts counts;
};

#define PCAPNG_TEXT_BYTES_MAX       1024u /* of an option; what is longer is cut */
#define PCAPNG_SECTION_BYTES_MAX    (64u + PCAPNG_TEXT_BYTES_MAX)
#define PCAPNG_INTERFACE_BYTES_MAX  (128u + PCAPNG_TEXT_BYTES_MAX)
#define PCAPNG_STATISTICS_BYTES_MAX 128u
/* Of the block that one frame becomes. */
static inline size_t pcapng_frame_bytes(const struct gw_captured *f)
{
    return 44 + ((f->kept_bytes + 3u) & ~(size_t)3);
}

/* Each writes one block, of at most the bytes above, and returns its length. */
size_t pcapng_section(uint8_t *out, const char *application);
/* Ethernet, times in microseconds; filter "" is left out. Interfaces are numbered from 0. */
size_t pcapng_interface(uint8_t *out, const char *name, const char *filter, uint32_t snap_bytes);
size_t pcapng_frame(uint8_t *out, uint32_t interface, const struct gw_captured *f);
size_t pcapng_statistics(uint8_t *out, uint32_t interface, const struct pcapng_statistics *s);

/* Of a block that was written so. */
size_t pcapng_block_bytes(const uint8_t *block);
bool pcapng_is_frame(const uint8_t *block);

#endif
