/* SPDX-License-Identifier: Apache-2.0 */
/* The tap in front of a port: what it keeps, what it lets through, and that it leaves no trace. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <pthread.h>
#include <stdlib.h>

#include "../../dataplane/capture.h"

/* ---- a port that gives and takes frames of the test ---- */

struct wire {
    struct gw_port port; /* first */
    uint8_t in[8][2048];
    uint32_t in_len[8];
    unsigned in_count, released, sent, flushed;
    bool full;
};

static unsigned wire_rx(struct gw_port *p, struct gw_frame *frames, unsigned max)
{
    struct wire *w = (struct wire *)p;
    unsigned n = w->in_count < max ? w->in_count : max;
    for (unsigned i = 0; i < n; i++)
        frames[i] = (struct gw_frame){.data = w->in[i], .len = w->in_len[i]};
    w->in_count = 0;
    return n;
}

static void wire_rx_release(struct gw_port *p, struct gw_frame *frames, unsigned n)
{
    ((struct wire *)p)->released += n;
}

static bool wire_tx(struct gw_port *p, const void *header, uint32_t header_len,
                    const struct gw_bytes *payload, unsigned payload_count, uint32_t gso_bytes)
{
    struct wire *w = (struct wire *)p;
    w->sent += !w->full;
    return !w->full;
}

static unsigned wire_tx_flush(struct gw_port *p)
{
    ((struct wire *)p)->flushed++;
    return 3;
}

static const struct gw_port_ops wire_ops = {wire_rx, wire_rx_release, wire_tx, wire_tx_flush};

struct rig {
    struct wire wire;
    struct gw_capture *tap;
    uint64_t wall_us;
};

static struct rig *rig_open(const char *filter, uint32_t snap_bytes, uint32_t ring_bytes)
{
    struct rig *r = calloc(1, sizeof(*r));
    struct bpf_program program = {0};
    r->wire.port.ops = &wire_ops;
    r->wall_us = 1700000000000000;
    if (filter != NULL) {
        pcap_t *p = pcap_open_dead(DLT_EN10MB, 65535);
        cr_assert_eq(pcap_compile(p, &program, filter, 1, PCAP_NETMASK_UNKNOWN), 0);
        pcap_close(p);
    }
    struct gw_capture_config cfg = {.program = program.bf_insns,
                                    .program_count = program.bf_len,
                                    .snap_bytes = snap_bytes,
                                    .ring_bytes = ring_bytes};
    cr_assert_eq(gw_capture_open(&r->tap, &cfg), 0);
    if (filter != NULL)
        pcap_freecode(&program);
    gw_capture_attach(r->tap, &r->wire.port, &r->wall_us);
    return r;
}

static void rig_close(struct rig *r)
{
    gw_capture_detach(r->tap);
    cr_assert_eq(r->wire.port.ops, &wire_ops);
    cr_assert_null(r->wire.port.tap);
    gw_capture_free(&r->tap);
    free(r);
}

/* An Ethernet frame that says it is TCP over IPv4 to this port, of len bytes in all. */
static void make_frame(uint8_t *f, uint32_t len, uint16_t to_port)
{
    memset(f, 0x5a, len);
    gw_put_be16(f + 12, 0x0800);
    memset(f + 14, 0, 40);
    f[14] = 0x45;
    gw_put_be16(f + 16, (uint16_t)(len - 14));
    f[23] = 6;
    gw_put_be16(f + 36, to_port);
    f[46] = 0x50;
}

static void receive(struct rig *r, uint32_t len, uint16_t to_port)
{
    struct gw_frame frames[GW_PORT_BURST_MAX];
    make_frame(r->wire.in[0], len, to_port);
    r->wire.in_len[0] = len;
    r->wire.in_count = 1;
    cr_assert_eq(r->wire.port.ops->rx(&r->wire.port, frames, GW_PORT_BURST_MAX), 1);
    cr_assert_eq(frames[0].data, r->wire.in[0]);
    r->wire.port.ops->rx_release(&r->wire.port, frames, 1);
}

/* In a header and two pieces. */
static bool transmit(struct rig *r, uint32_t len, uint16_t to_port)
{
    uint8_t f[2048];
    make_frame(f, len, to_port);
    struct gw_bytes payload[2] = {gw_bytes(f + 54, 10), gw_bytes(f + 64, len - 64)};
    return r->wire.port.ops->tx(&r->wire.port, f, 54, payload, 2, 0);
}

/* Takes the oldest frame, which must be this one. */
static void expect(struct rig *r, enum gw_capture_direction direction, uint32_t kept, uint32_t len,
                   uint16_t to_port)
{
    uint8_t f[2048];
    make_frame(f, len, to_port);
    const struct gw_captured *c = gw_capture_peek(r->tap);
    cr_assert_not_null(c);
    cr_assert_eq(c->direction, direction);
    cr_assert_eq(c->kept_bytes, kept);
    cr_assert_eq(c->frame_bytes, len);
    cr_assert_eq(c->wall_us, r->wall_us);
    cr_assert_eq(memcmp(c->data, f, kept), 0);
    gw_capture_take(r->tap);
}

static void expect_counts(struct rig *r, uint64_t frames, uint64_t matched, uint64_t dropped)
{
    struct gw_capture_counts n = gw_capture_counts(r->tap);
    cr_assert(n.frames == frames && n.matched == matched && n.dropped == dropped,
              "%lu frames, %lu matched, %lu dropped", n.frames, n.matched, n.dropped);
}

/* ---- tests ---- */

Test(capture, both_directions_and_nothing_is_changed)
{
    struct rig *r = rig_open(NULL, 65535, 1 << 16);
    receive(r, 100, 5222);
    r->wall_us++;
    cr_assert(transmit(r, 200, 4000));
    cr_assert_eq(r->wire.port.ops->tx_flush(&r->wire.port), 3);
    cr_assert_eq(r->wire.flushed, 1);
    cr_assert_eq(r->wire.released, 1);
    cr_assert_eq(r->wire.sent, 1);
    r->wall_us--;
    expect(r, GW_CAPTURE_IN, 100, 100, 5222);
    r->wall_us++;
    expect(r, GW_CAPTURE_OUT, 200, 200, 4000);
    cr_assert_null(gw_capture_peek(r->tap));
    expect_counts(r, 2, 2, 0);
    rig_close(r);
}

Test(capture, what_the_port_refused_was_not_sent)
{
    struct rig *r = rig_open(NULL, 65535, 1 << 16);
    r->wire.full = true;
    cr_assert_not(transmit(r, 200, 4000));
    expect_counts(r, 0, 0, 0);
    rig_close(r);
}

Test(capture, snap_length)
{
    struct rig *r = rig_open(NULL, 60, 1 << 16);
    receive(r, 1500, 1);
    transmit(r, 1400, 2); /* the cut is in the second piece */
    transmit(r, 64, 3);
    expect(r, GW_CAPTURE_IN, 60, 1500, 1);
    expect(r, GW_CAPTURE_OUT, 60, 1400, 2);
    expect(r, GW_CAPTURE_OUT, 60, 64, 3);
    rig_close(r);
}

Test(capture, filter)
{
    struct rig *r = rig_open("tcp dst port 5222", 65535, 1 << 16);
    receive(r, 100, 5222);
    receive(r, 100, 5223);
    transmit(r, 100, 5222);
    transmit(r, 100, 5223);
    expect(r, GW_CAPTURE_IN, 100, 100, 5222);
    expect(r, GW_CAPTURE_OUT, 100, 100, 5222);
    cr_assert_null(gw_capture_peek(r->tap));
    expect_counts(r, 4, 2, 0);
    rig_close(r);
}

/* The filter sees all of a frame, whatever is kept of it and in how many pieces it is sent. */
Test(capture, filter_looks_behind_the_snap_length)
{
    struct rig *r = rig_open("ether[500] = 0x5a and len > 1000", 40, 1 << 16);
    receive(r, 1200, 1);
    transmit(r, 1200, 2);
    transmit(r, 300, 3);
    expect(r, GW_CAPTURE_IN, 40, 1200, 1);
    expect(r, GW_CAPTURE_OUT, 40, 1200, 2);
    cr_assert_null(gw_capture_peek(r->tap));
    rig_close(r);
}

Test(capture, a_filter_that_is_none_is_refused)
{
    struct bpf_insn loop[] = {{BPF_JMP | BPF_JA, 0, 0, UINT32_MAX}, {BPF_RET | BPF_K, 0, 0, 1}};
    struct gw_capture *tap = NULL;
    struct gw_capture_config cfg = {.program = loop, .program_count = 2, .snap_bytes = 100};
    cr_assert_eq(gw_capture_open(&tap, &cfg), -EINVAL);
    cfg.program = loop + 1;
    cfg.program_count = 0;
    cr_assert_eq(gw_capture_open(&tap, &cfg), -EINVAL);
    struct bpf_insn *longest = calloc(GW_CAPTURE_PROGRAM_MAX + 1, sizeof(*longest));
    for (unsigned i = 0; i <= GW_CAPTURE_PROGRAM_MAX; i++)
        longest[i] = loop[1];
    cfg.program = longest;
    cfg.program_count = GW_CAPTURE_PROGRAM_MAX + 1;
    cr_assert_eq(gw_capture_open(&tap, &cfg), -EINVAL);
    cfg.program_count = GW_CAPTURE_PROGRAM_MAX;
    cr_assert_eq(gw_capture_open(&tap, &cfg), 0);
    gw_capture_free(&tap);
    free(longest);
}

Test(capture, a_full_ring_drops_and_counts)
{
    struct rig *r = rig_open(NULL, 1000, 1 << 12);
    unsigned fit = 0;
    for (unsigned i = 0; i < 10; i++) {
        receive(r, 1000, (uint16_t)i);
        fit = (unsigned)(i + 1 - gw_capture_counts(r->tap).dropped);
    }
    cr_assert_eq(fit, 4, "%u", fit); /* of 1,024 bytes with their head, in 4 KiB */
    expect_counts(r, 10, 10, 6);
    cr_assert_eq(r->wire.released, 10);
    for (unsigned i = 0; i < fit; i++)
        expect(r, GW_CAPTURE_IN, 1000, 1000, (uint16_t)i);
    cr_assert_null(gw_capture_peek(r->tap));
    receive(r, 1000, 77);
    expect(r, GW_CAPTURE_IN, 1000, 1000, 77);
    rig_close(r);
}

/* Frames of every length, taken at random: each comes as it was, in order. */
Test(capture, frames_survive_the_end_of_the_ring)
{
    struct rig *r = rig_open(NULL, 2000, 1 << 13);
    uint32_t lens[64];
    unsigned head = 0, tail = 0;
    uint32_t seed = 1;
    for (unsigned i = 0; i < 20000; i++) {
        seed = seed * 1664525 + 1013904223;
        uint32_t len = 70 + (seed >> 16) % 1900;
        uint64_t before = gw_capture_counts(r->tap).dropped;
        if (seed >> 12 & 1)
            transmit(r, len, (uint16_t)tail);
        else
            receive(r, len, (uint16_t)tail);
        if (gw_capture_counts(r->tap).dropped == before)
            lens[tail++ % 64] = len | (seed >> 12 & 1) << 16;
        for (unsigned n = (seed >> 8) % 4; n > 0 && head != tail; n--, head++)
            expect(r, lens[head % 64] >> 16 ? GW_CAPTURE_OUT : GW_CAPTURE_IN,
                   lens[head % 64] & 0xffff, lens[head % 64] & 0xffff, (uint16_t)head);
    }
    cr_assert_gt(tail, 10000);
    cr_assert_gt(gw_capture_counts(r->tap).dropped, 0);
    rig_close(r);
}

/* ---- a reader on another thread ---- */

#define PASSED 200000u

static void *read_all(void *arg)
{
    struct rig *r = arg;
    uint64_t expected = 0, seen = 0;
    for (bool last = false; !last;) {
        const struct gw_captured *c = gw_capture_peek(r->tap);
        if (c == NULL)
            continue;
        /* Numbers rise, and each frame is filled with its own. */
        uint64_t number;
        memcpy(&number, c->data + 60, sizeof(number));
        if (number < expected || c->data[c->kept_bytes - 1] != (uint8_t)number)
            return (void *)"a frame is not as it was";
        expected = number + 1;
        seen++;
        last = number == PASSED;
        gw_capture_take(r->tap);
    }
    return seen > 0 ? NULL : (void *)"nothing came";
}

Test(capture, reader_on_another_thread, .timeout = 60)
{
    struct rig *r = rig_open(NULL, 2000, 1 << 13);
    pthread_t reader;
    void *wrong;
    cr_assert_eq(pthread_create(&reader, NULL, read_all, r), 0);
    uint8_t f[2048];
    for (uint64_t i = 0; i <= PASSED; i++) {
        uint32_t len = 100 + (uint32_t)(i % 1500);
        memset(f, (uint8_t)i, len);
        memcpy(f + 60, &i, sizeof(i));
        uint64_t before;
        do { /* the last one must come through */
            before = gw_capture_counts(r->tap).dropped;
            r->wire.port.ops->tx(&r->wire.port, f, len, NULL, 0, 0);
        } while (i == PASSED && gw_capture_counts(r->tap).dropped != before);
    }
    cr_assert_eq(pthread_join(reader, &wrong), 0);
    cr_assert_null(wrong, "%s", (const char *)wrong);
    rig_close(r);
}
