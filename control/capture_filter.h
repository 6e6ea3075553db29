/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcpdump's filter expressions, compiled by libpcap for Ethernet.
 *
 * Names of hosts, networks, ports and protocols are refused: libpcap would ask the resolver for them,
 * and wait. So an expression may hold numbers, addresses and the words of the language only.
 */
#ifndef GW_CONTROL_CAPTURE_FILTER_H
#define GW_CONTROL_CAPTURE_FILTER_H

#include <pcap/pcap.h>

/* Any thread. 0: *out is to be freed by pcap_freecode; else -EINVAL and why in err. "" lets all pass:
 * *out is empty. */
int capture_filter_compile(const char *expression, struct bpf_program *out, char err[256]);

#endif
