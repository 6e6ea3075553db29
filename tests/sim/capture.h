/* SPDX-License-Identifier: Apache-2.0 */
/* A pcap file of simulated TCP segments, with IP headers made up around them. */
#ifndef SIM_CAPTURE_H
#define SIM_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

struct capture;

/* NULL with errno when the file cannot be made. */
struct capture *capture_open(const char *path);
void capture_close(struct capture **c);
/* Source and destination (two struct gw_ip), then the segment. Flushed at once: a check that fails
 * later must not lose it. */
void capture_segment(struct capture *c, uint64_t now_us, const uint8_t *p, size_t len);

#endif
