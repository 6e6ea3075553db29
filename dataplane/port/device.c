/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "../base/check.h"

/* AF_PACKET keeps its own header, an address and padding before each frame (tpacket_v2). */
#define AF_PACKET_HEADER_BYTES 80u
#define ETHERNET_BYTES         18u /* header and one VLAN tag */
#define ETHERNET_HEADER_BYTES  14u
#define FRAME_BYTES_MIN        2048u
/* Towards us the ring has to last while the core does something else: 4,096 frames are 40 ms at 100,000
 * a second. Away from us it never fills as long as the driver passes the kernel's queue by: what the
 * interface below does not take at once is dropped there, and TCP repairs it. With that queue the ring
 * fills behind a slow interface, and the driver waits in poll until there is room. */
#define AF_PACKET_FRAMES     4096u
#define AF_PACKET_QUEUES_MAX 16u
/* net_tap cuts in software, from a pool of 128 buffers of which a piece needs two and each boundary
 * of our buffers one; it gives up for good on a packet for which they do not suffice. It measures the
 * frames that it makes, with their Ethernet header, by the MTU (which it lets be 1504 at most), and does
 * not know IPv6. */
#define TAP_TSO_BYTES 32768u

bool device_is_pci(const char *device)
{
    size_t len = strcspn(device, ",");
    size_t colons = 0, dots = 0;
    for (size_t i = 0; i < len; i++) {
        if (device[i] == ':')
            colons++;
        else if (device[i] == '.')
            dots++;
        else if (!isxdigit((unsigned char)device[i]))
            return false;
    }
    return (colons == 1 || colons == 2) && dots == 1;
}

void device_name(char out[DEVICE_NAME_BYTES_MAX + 1], const char *device)
{
    size_t len = strcspn(device, ",");
    check(len <= DEVICE_NAME_BYTES_MAX);
    memcpy(out, device, len);
    out[len] = '\0';
}

uint32_t device_frame_bytes(uint16_t mtu)
{
    uint32_t need = mtu + ETHERNET_BYTES + AF_PACKET_HEADER_BYTES;
    uint32_t bytes = FRAME_BYTES_MIN;
    while (bytes < need)
        bytes *= 2;
    return bytes;
}

static void complete(char *out, const char *key, unsigned value)
{
    char with_equals[32];
    snprintf(with_equals, sizeof(with_equals), ",%s=", key);
    if (strstr(out, with_equals) != NULL)
        return;
    size_t len = strlen(out);
    int n = snprintf(out + len, DEVICE_ARGS_BYTES - len, "%s%u", with_equals, value);
    check(n > 0 && (size_t)n < DEVICE_ARGS_BYTES - len);
}

static bool is_driver(const char *device, const char *driver)
{
    return strncmp(device, driver, strlen(driver)) == 0;
}

static bool is_af_packet(const char *device)
{
    return is_driver(device, "net_af_packet") || is_driver(device, "eth_af_packet");
}

bool device_may_wait(const char *device)
{
    return is_af_packet(device) && strstr(device, ",qdisc_bypass=0") != NULL;
}

void device_complete(char out[DEVICE_ARGS_BYTES], const char *device, unsigned queue_count,
                     uint16_t mtu)
{
    check(strlen(device) <= DEVICE_NAME_BYTES_MAX);
    strcpy(out, device);
    if (is_af_packet(device)) {
        complete(out, "qpairs",
                 queue_count < AF_PACKET_QUEUES_MAX ? queue_count : AF_PACKET_QUEUES_MAX);
        complete(out, "framesz", device_frame_bytes(mtu));
        complete(out, "blocksz", 64 * 1024);
        complete(out, "framecnt", AF_PACKET_FRAMES);
        complete(out, "qdisc_bypass", 1);
    } else if (is_driver(device, "net_af_xdp")) {
        complete(out, "queue_count", queue_count);
    }
}

/* ---- quirks ---- */

static bool is_tap(const char *driver)
{
    return strcmp(driver, "net_tap") == 0;
}

uint32_t device_tso_bytes_max(const char *driver, uint32_t bytes)
{
    return is_tap(driver) && bytes > TAP_TSO_BYTES ? TAP_TSO_BYTES : bytes;
}

bool device_tso_v6(const char *driver)
{
    return !is_tap(driver);
}

uint16_t device_mtu_extra(const char *driver)
{
    return is_tap(driver) ? ETHERNET_HEADER_BYTES : 0;
}
