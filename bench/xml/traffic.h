/* SPDX-License-Identifier: Apache-2.0 */
/* What clients in common use send behind their login: messages with bodies of 20 to 2,000 bytes in the
 * elements that those clients put around them, receipts, markers, chat states, acknowledgements, presence
 * and pings. Made from forms by a seed, the same at every run. */
#ifndef GODWIT_BENCH_XML_TRAFFIC_H
#define GODWIT_BENCH_XML_TRAFFIC_H

#include <stddef.h>
#include <stdint.h>

#define TRAFFIC_STANZA_BYTES_MAX 16384

/* Writes one stanza, returns its length; *random is the seed, and moves on. */
size_t traffic_stanza(uint64_t *random, char out[TRAFFIC_STANZA_BYTES_MAX]);

#endif
