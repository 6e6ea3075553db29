/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures in the Prometheus text format, over HTTP on the kernel's loopback, by a thread of
 * libmicrohttpd's own that only reads: neither the control thread nor a lcore is asked.
 */
#ifndef GW_CONTROL_METRICS_H
#define GW_CONTROL_METRICS_H

#include "control_int.h"

/* 0 or negative errno with a message in err. Port 0 takes any free one. */
int metrics_open(struct metrics **out, const struct control *c, uint16_t port, char err[256]);
void metrics_free(struct metrics **m);
uint16_t metrics_port(const struct metrics *m);

/* The whole text; the caller frees it. */
char *metrics_text(const struct control *c);

#endif
