/* SPDX-License-Identifier: Apache-2.0 */
/* What happens in a run, a line each, for who replays a seed. */
#ifndef SIM_TRACE_H
#define SIM_TRACE_H

#include <stdbool.h>
#include <stdint.h>

extern bool trace_on;

/* At this time of the world. */
void trace(uint64_t now_us, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
