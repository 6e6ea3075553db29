/* SPDX-License-Identifier: Apache-2.0 */
/* The DPDK port over drivers that need neither hardware nor privileges: pcap files, and a memif
 * whose other end never comes. Each test is a process, so each may start EAL. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../dataplane/port/dpdk.h"
#include "../../dataplane/port/eal.h"
#include "../../dataplane/port/ports.h"

#define DEVICE_BYTES 256
#define FRAME_BYTES  60

static struct gw_eal *eal;
static struct gw_dpdk *dpdk;
static struct gw_ports *ports;
static char folder[] = "/tmp/godwit-port-XXXXXX";
static char device[DEVICE_BYTES];

static int open_port(unsigned queues)
{
    static const int cpus[] = {0, 0};
    struct gw_dpdk_config port = {
        .device = device, .queue_count = queues, .mtu = 1500, .lcore_count = 1};
    struct gw_eal_config cfg = {
        .name = "godwit-test",
        .lcore_cpus = cpus,
        .lcore_count = queues,
        .huge_pages = false,
        .memory_mib = gw_dpdk_memory_mib(&port),
        .device = device,
        .queue_count = queues,
        .mtu = 1500,
    };
    int err = gw_eal_init(&eal, &cfg);
    return err != 0 ? err : gw_dpdk_open(&dpdk, &port);
}

static void setup(void)
{
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_file(const char *name)
{
    char path[DEVICE_BYTES];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    unlink(path);
}

static void teardown(void)
{
    gw_ports_free(&ports);
    gw_dpdk_free(&dpdk);
    gw_eal_free(&eal);
    remove_file("in");
    remove_file("out");
    remove_file("memif");
    cr_assert_eq(rmdir(folder), 0);
}

static uint64_t counter(const char *name)
{
    struct gw_counter_set s = gw_dpdk_counter_set(dpdk, 0);
    for (unsigned i = 0; i < s.count; i++)
        if (strcmp(s.descs[i].name, name) == 0)
            return s.values[i];
    cr_assert_fail("no counter %s", name);
    return 0;
}

/* ---- pcap files: microsecond format, host order ---- */

struct pcap_header {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t zone, accuracy, snap_bytes, link_type;
};

struct pcap_record {
    uint32_t seconds, microseconds, kept_bytes, frame_bytes;
};

static void frame_of(unsigned number, uint8_t out[FRAME_BYTES])
{
    memset(out, (int)number, FRAME_BYTES);
    gw_put_be16(out + 12, 0x88b5); /* local experimental */
}

static void write_capture(unsigned frames)
{
    char path[DEVICE_BYTES];
    snprintf(path, sizeof(path), "%s/in", folder);
    FILE *f = fopen(path, "wb");
    cr_assert_not_null(f);
    struct pcap_header h = {0xa1b2c3d4, 2, 4, 0, 0, 65535, 1};
    cr_assert_eq(fwrite(&h, sizeof(h), 1, f), 1);
    for (unsigned i = 0; i < frames; i++) {
        struct pcap_record r = {0, i, FRAME_BYTES, FRAME_BYTES};
        uint8_t frame[FRAME_BYTES];
        frame_of(i, frame);
        cr_assert_eq(fwrite(&r, sizeof(r), 1, f), 1);
        cr_assert_eq(fwrite(frame, sizeof(frame), 1, f), 1);
    }
    cr_assert_eq(fclose(f), 0);
}

static void use_pcap(unsigned frames)
{
    write_capture(frames);
    snprintf(device, sizeof(device), "net_pcap0,rx_pcap=%s/in,tx_pcap=%s/out", folder, folder);
}

Test(port, receives_bursts_and_gives_them_back, .init = setup, .fini = teardown)
{
    enum { FRAMES = 200 };
    use_pcap(FRAMES);
    cr_assert_eq(open_port(1), 0);
    cr_assert_str_eq(gw_dpdk_driver(dpdk), "net_pcap");
    cr_assert_not(gw_eal_has_huge_pages(eal));
    struct gw_port *p = gw_dpdk_port(dpdk, 0);
    cr_assert_eq(p->mtu, 1500);
    unsigned got = 0;
    for (unsigned n; got < FRAMES; got += n) {
        struct gw_frame frames[GW_PORT_BURST_MAX];
        n = p->ops->rx(p, frames, GW_PORT_BURST_MAX);
        cr_assert_gt(n, 0);
        for (unsigned i = 0; i < n; i++) {
            uint8_t expected[FRAME_BYTES];
            frame_of(got + i, expected);
            cr_assert_eq(frames[i].len, FRAME_BYTES);
            cr_assert_arr_eq(frames[i].data, expected, FRAME_BYTES);
            cr_assert_not(frames[i].csum_ok);
        }
        p->ops->rx_release(p, frames, n);
    }
    cr_assert_eq(got, FRAMES);
    cr_assert_eq(counter("rx_frames"), FRAMES);
}

/* What the file must hold: header and pieces, one after the other, in the order queued. */
static void cr_assert_captured(unsigned frames)
{
    char path[DEVICE_BYTES];
    snprintf(path, sizeof(path), "%s/out", folder);
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f);
    struct pcap_header h;
    cr_assert_eq(fread(&h, sizeof(h), 1, f), 1);
    for (unsigned i = 0; i < frames; i++) {
        struct pcap_record r;
        uint8_t bytes[FRAME_BYTES], expected[FRAME_BYTES];
        frame_of(i, expected);
        cr_assert_eq(fread(&r, sizeof(r), 1, f), 1);
        cr_assert_eq(r.kept_bytes, FRAME_BYTES);
        cr_assert_eq(fread(bytes, sizeof(bytes), 1, f), 1);
        cr_assert_arr_eq(bytes, expected, FRAME_BYTES);
    }
    cr_assert_eq(fgetc(f), EOF);
    fclose(f);
}

static bool send_in_pieces(struct gw_port *p, unsigned number)
{
    uint8_t frame[FRAME_BYTES];
    frame_of(number, frame);
    struct gw_bytes pieces[] = {gw_bytes(frame + 14, 1), gw_bytes(frame + 15, 0),
                                gw_bytes(frame + 15, FRAME_BYTES - 15)};
    return p->ops->tx(p, frame, 14, pieces, 3, 0);
}

Test(port, sends_what_was_queued_in_order, .init = setup, .fini = teardown)
{
    enum { FRAMES = 100 };
    use_pcap(1);
    cr_assert_eq(open_port(1), 0);
    struct gw_port *p = gw_dpdk_port(dpdk, 0);
    cr_assert_eq(p->ops->tx_flush(p), 0, "nothing yet");
    for (unsigned i = 0; i < FRAMES; i++)
        cr_assert(send_in_pieces(p, i));
    cr_assert_eq(counter("tx_frames"), 0, "waits for the flush");
    cr_assert_eq(p->ops->tx_flush(p), FRAMES);
    cr_assert_eq(counter("tx_frames"), FRAMES);
    gw_dpdk_free(&dpdk); /* closes the file */
    cr_assert_captured(FRAMES);
}

Test(port, refuses_when_the_device_takes_nothing, .init = setup, .fini = teardown)
{
    snprintf(device, sizeof(device), "net_memif0,role=server,socket-abstract=no,socket=%s/memif",
             folder);
    cr_assert_eq(open_port(1), 0);
    struct gw_port *p = gw_dpdk_port(dpdk, 0);
    unsigned queued = 0;
    while (send_in_pieces(p, queued))
        cr_assert_lt(++queued, 100000);
    cr_assert_geq(queued, GW_PORT_BURST_MAX);
    cr_assert_eq(counter("tx_queue_full"), 1);
    cr_assert_eq(p->ops->tx_flush(p), 0);
    cr_assert_geq(counter("tx_refused"), 1);
    cr_assert_eq(counter("tx_frames"), 0);
}

Test(port, says_when_the_device_has_too_few_queues, .init = setup, .fini = teardown)
{
    use_pcap(1);
    cr_assert_eq(open_port(2), -ENOTSUP);
    cr_assert_null(dpdk);
}

Test(port, says_when_there_is_no_such_device, .init = setup, .fini = teardown)
{
    snprintf(device, sizeof(device), "net_nothing0,iface=none");
    cr_assert_lt(open_port(1), 0);
    cr_assert_null(dpdk);
}

Test(port, refuses_a_driver_that_would_wait, .init = setup, .fini = teardown)
{
    snprintf(device, sizeof(device), "net_af_packet0,iface=none,qdisc_bypass=0");
    cr_assert_eq(open_port(1), -EINVAL);
    cr_assert_null(eal);
}

static int note(void *arg)
{
    *(int *)arg = 42;
    return 7;
}

Test(port, lcores_run_what_they_are_given, .init = setup, .fini = teardown)
{
    use_pcap(1);
    cr_assert_eq(open_port(1), 0);
    for (unsigned lcore = 0; lcore < 2; lcore++) { /* the dataplane's and the commit lcore */
        int seen = 0;
        cr_assert_eq(gw_eal_launch(eal, lcore, note, &seen), 0);
        cr_assert_eq(gw_eal_wait(eal, lcore), 7);
        cr_assert_eq(seen, 42);
    }
}

/* ---- a device as ports of lcores ---- */

static int open_ports(unsigned lcores, unsigned queues, enum gw_dispatch_mode mode)
{
    static const int cpus[] = {0, 0};
    struct gw_ports_config cfg = {.device = device,
                                  .mtu = 1500,
                                  .lcore_count = lcores,
                                  .queue_count = queues,
                                  .mode = mode,
                                  .key = {1, 2, 3}};
    struct gw_eal_config eal_cfg = {
        .name = "godwit-test",
        .lcore_cpus = cpus,
        .lcore_count = lcores,
        .memory_mib = gw_ports_memory_mib(&cfg),
        .device = device,
        .queue_count = gw_ports_queues_wanted(&cfg),
        .mtu = 1500,
    };
    cr_assert_eq(gw_eal_init(&eal, &eal_cfg), 0);
    return gw_ports_open(&ports, &cfg);
}

static void use_memif(void)
{
    snprintf(device, sizeof(device), "net_memif0,role=server,socket-abstract=no,socket=%s/memif",
             folder);
}

static unsigned sets_of(unsigned lcore)
{
    struct gw_counter_set sets[GW_PORTS_COUNTER_SETS];
    return gw_ports_counter_sets(ports, lcore, sets);
}

Test(ports, a_device_with_too_few_queues_is_dispatched, .init = setup, .fini = teardown)
{
    enum { FRAMES = 100 };
    use_pcap(FRAMES);
    cr_assert_eq(open_ports(2, 0, GW_DISPATCH_AUTO), 0);
    cr_assert_eq(gw_ports_queue_count(ports), 1);
    cr_assert(gw_ports_dispatches(ports));
    cr_assert_not_null(gw_ports_steer(ports));
    cr_assert_eq(sets_of(0), 2);
    cr_assert_eq(sets_of(1), 1, "it has no queue");
    struct gw_port *p = gw_ports_at(ports, 0);
    unsigned got = 0;
    for (unsigned n; got < FRAMES; got += n) { /* which are not IP: they stay */
        struct gw_frame frames[GW_PORT_BURST_MAX];
        n = p->ops->rx(p, frames, GW_PORT_BURST_MAX);
        cr_assert_gt(n, 0);
        p->ops->rx_release(p, frames, n);
    }
    cr_assert_eq(got, FRAMES);
}

Test(ports, nobody_dispatches_where_the_port_shall, .init = setup, .fini = teardown)
{
    use_pcap(1);
    cr_assert_eq(open_ports(2, 0, GW_DISPATCH_PORT), -ENOTSUP);
    cr_assert_null(ports);
}

Test(ports, as_many_queues_as_were_asked_for, .init = setup, .fini = teardown)
{
    use_memif();
    cr_assert_eq(open_ports(2, 1, GW_DISPATCH_AUTO), 0);
    cr_assert_eq(gw_ports_queue_count(ports), 1);
    cr_assert(gw_ports_dispatches(ports));
}

Test(ports, queues_that_know_nothing_of_us_are_dispatched, .init = setup, .fini = teardown)
{
    use_memif();
    cr_assert_eq(open_ports(2, 0, GW_DISPATCH_AUTO), 0);
    cr_assert_eq(gw_ports_queue_count(ports), 2);
    cr_assert(gw_ports_dispatches(ports));
    cr_assert_eq(sets_of(1), 2);
}

Test(ports, or_trusted_when_asked_to, .init = setup, .fini = teardown)
{
    use_memif();
    cr_assert_eq(open_ports(2, 0, GW_DISPATCH_PORT), 0);
    cr_assert_eq(gw_ports_queue_count(ports), 2);
    cr_assert_not(gw_ports_dispatches(ports));
    cr_assert_null(gw_ports_steer(ports), "only the device knows");
    cr_assert_eq(sets_of(1), 1);
}

Test(ports, one_lcore_needs_no_dispatch, .init = setup, .fini = teardown)
{
    use_pcap(1);
    cr_assert_eq(open_ports(1, 0, GW_DISPATCH_SOFTWARE), 0);
    cr_assert_not(gw_ports_dispatches(ports));
    cr_assert_not_null(gw_ports_steer(ports));
}
