/* SPDX-License-Identifier: Apache-2.0 */
/* The device string of the configuration: no EAL, no device. */
#include <criterion/criterion.h>

#include "../../dataplane/port/device.h"

Test(device, tells_pci_addresses_from_virtual_devices)
{
    cr_assert(device_is_pci("0000:03:00.0"));
    cr_assert(device_is_pci("03:00.0"));
    cr_assert(device_is_pci("0000:af:00.1,rxq_cqe_comp_en=1"));
    cr_assert_not(device_is_pci("net_af_packet0,iface=gw1"));
    cr_assert_not(device_is_pci("net_memif0,role=client"));
    cr_assert_not(device_is_pci("bad:cafe"));
    cr_assert_not(device_is_pci(""));
}

Test(device, is_found_by_what_is_before_the_comma)
{
    char name[DEVICE_NAME_BYTES_MAX + 1];
    device_name(name, "net_tap0,iface=gwtap");
    cr_assert_str_eq(name, "net_tap0");
    device_name(name, "0000:03:00.0");
    cr_assert_str_eq(name, "0000:03:00.0");
}

Test(device, gets_the_arguments_that_its_user_left_out)
{
    static const struct {
        const char *given;
        unsigned queues;
        uint16_t mtu;
        const char *completed;
    } cases[] = {
        {"net_af_packet0,iface=gw1", 2, 1500,
         "net_af_packet0,iface=gw1,qpairs=2,framesz=2048,blocksz=65536,framecnt=4096,"
         "qdisc_bypass=1"},
        {"net_af_packet0,iface=gw1,framecnt=512,qpairs=1", 2, 9000,
         "net_af_packet0,iface=gw1,framecnt=512,qpairs=1,framesz=16384,blocksz=65536,qdisc_bypass=1"},
        {"net_af_packet0,iface=gw1", 20, 1500, /* the driver knows 16 */
         "net_af_packet0,iface=gw1,qpairs=16,framesz=2048,blocksz=65536,framecnt=4096,"
         "qdisc_bypass=1"},
        {"net_af_xdp0,iface=gw1", 1, 1500, "net_af_xdp0,iface=gw1,queue_count=1"},
        {"net_tap0,iface=gwtap", 1, 1500, "net_tap0,iface=gwtap"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[DEVICE_ARGS_BYTES];
        device_complete(out, cases[i].given, cases[i].queues, cases[i].mtu);
        cr_assert_str_eq(out, cases[i].completed);
    }
}

Test(device, a_frame_holds_the_mtu_and_the_drivers_own_header)
{
    cr_assert_eq(device_frame_bytes(576), 2048);
    cr_assert_eq(device_frame_bytes(1500), 2048);
    cr_assert_eq(device_frame_bytes(1950), 2048);
    cr_assert_eq(device_frame_bytes(1951), 4096);
    cr_assert_eq(device_frame_bytes(9000), 16384);
}

Test(device, drivers_that_cannot_what_they_say)
{
    cr_assert_eq(device_tso_bytes_max("net_tap", 65535), 32768);
    cr_assert_eq(device_tso_bytes_max("net_tap", 9000), 9000);
    cr_assert_eq(device_tso_bytes_max("net_ice", 65535), 65535);
    cr_assert_not(device_tso_v6("net_tap"));
    cr_assert(device_tso_v6("net_ice"));
    cr_assert_eq(device_mtu_extra("net_tap"), 14);
    cr_assert_eq(device_mtu_extra("net_ice"), 0);
}

Test(device, may_not_be_asked_to_wait)
{
    cr_assert(device_may_wait("net_af_packet0,iface=gw1,qdisc_bypass=0"));
    cr_assert_not(device_may_wait("net_af_packet0,iface=gw1,qdisc_bypass=1"));
    cr_assert_not(device_may_wait("net_af_packet0,iface=gw1"));
    cr_assert_not(device_may_wait("net_tap0,qdisc_bypass=0"));
}
