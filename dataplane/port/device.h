/* SPDX-License-Identifier: Apache-2.0 */
/* The device string of the configuration: what kind it is, and the arguments that its user left
 * out and that its driver needs. Pure text; knows no DPDK. */
#ifndef GW_PORT_DEVICE_H
#define GW_PORT_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#define DEVICE_NAME_BYTES_MAX 512
#define DEVICE_ARGS_BYTES     (DEVICE_NAME_BYTES_MAX + 128)

/* "0000:03:00.0" or "03:00.0", arguments after a comma allowed. */
bool device_is_pci(const char *device);
/* The name by which the device is found again: all before the first comma. */
void device_name(char out[DEVICE_NAME_BYTES_MAX + 1], const char *device);
/* Adds queues, frame size and ring length for drivers whose defaults do not fit. */
void device_complete(char out[DEVICE_ARGS_BYTES], const char *device, unsigned queue_count,
                     uint16_t mtu);
/* Its arguments make the driver wait inside of a send: not for a polled core. */
bool device_may_wait(const char *device);
/* Bytes that one received frame may take in the driver's own buffers. */
uint32_t device_frame_bytes(uint16_t mtu);

/* ---- what drivers say of themselves that is not so; by the driver's name ---- */

/* The largest IP packet that it can be given to cut, of those that it should take. */
uint32_t device_tso_bytes_max(const char *driver, uint32_t bytes);
/* Whether it cuts IPv6, too. */
bool device_tso_v6(const char *driver);
/* What its MTU has to be beyond the largest IP packet, so that it cuts to that. */
uint16_t device_mtu_extra(const char *driver);

#endif
