/* SPDX-License-Identifier: Apache-2.0 */
#include "capture.h"

#include <errno.h>
#include <stdlib.h>

#include <pcap/pcap.h>

#include "base/check.h"
#include "base/counters.h"

#define RECORD_ALIGN 8u

struct gw_capture {
    /* constant while it is attached */
    struct gw_port *port; /* NULL: detached */
    const struct gw_port_ops *inner;
    const uint64_t *wall_us;
    struct bpf_insn *program;
    uint32_t program_count;
    uint32_t snap_bytes;
    uint32_t ring_bytes; /* a power of two */
    uint8_t *ring;
    uint8_t *scratch; /* a frame in one piece, for the filter */

    /* the lcore's: bytes put, ever; what it last saw of `taken` */
    uint64_t put __attribute__((aligned(64)));
    uint64_t taken_seen;
    struct gw_capture_counts counts;

    /* the reader's */
    uint64_t taken __attribute__((aligned(64)));
};

/* ---- the lcore: keeping frames ---- */

static uint32_t record_bytes(uint32_t kept)
{
    return (uint32_t)((sizeof(struct gw_captured) + kept + RECORD_ALIGN - 1) & ~(RECORD_ALIGN - 1));
}

static bool has_room(struct gw_capture *c, uint32_t bytes)
{
    if (c->ring_bytes - (c->put - c->taken_seen) >= bytes)
        return true;
    c->taken_seen = __atomic_load_n(&c->taken, __ATOMIC_ACQUIRE);
    return c->ring_bytes - (c->put - c->taken_seen) >= bytes;
}

/* Room for one record in one piece, or NULL. A record that does not fit before the ring's end begins
 * at its start; the *skipped bytes that are left there are marked by a length of zero. Nothing is
 * published yet. */
static struct gw_captured *reserve(struct gw_capture *c, uint32_t bytes, uint32_t *skipped)
{
    uint32_t at = (uint32_t)(c->put & (c->ring_bytes - 1)), tail = c->ring_bytes - at;
    *skipped = bytes <= tail ? 0 : tail;
    if (!has_room(c, *skipped + bytes))
        return NULL;
    if (*skipped > 0) {
        const uint32_t zero = 0;
        memcpy(c->ring + at, &zero, sizeof(zero));
        at = 0;
    }
    return (struct gw_captured *)(void *)(c->ring + at);
}

/* At most max bytes of the pieces, in one. Returns how many. */
static uint32_t gather(uint8_t *out, uint32_t max, const struct gw_bytes *pieces, unsigned count)
{
    uint32_t len = 0;
    for (unsigned i = 0; i < count && len < max; i++) {
        uint32_t n = pieces[i].len < max - len ? (uint32_t)pieces[i].len : max - len;
        memcpy(out + len, pieces[i].p, n);
        len += n;
    }
    return len;
}

static bool matches(struct gw_capture *c, const struct gw_bytes *pieces, unsigned count,
                    uint32_t frame_bytes)
{
    if (c->program == NULL)
        return true;
    const uint8_t *frame = pieces[0].p;
    uint32_t len = frame_bytes;
    if (count > 1) {
        len = gather(c->scratch, GW_CAPTURE_FRAME_BYTES_MAX, pieces, count);
        frame = c->scratch;
    }
    return bpf_filter(c->program, frame, frame_bytes, len) != 0;
}

static void look_at(struct gw_capture *c, enum gw_capture_direction direction,
                    const struct gw_bytes *pieces, unsigned count)
{
    size_t frame_bytes = 0;
    for (unsigned i = 0; i < count; i++)
        frame_bytes += pieces[i].len;
    GW_COUNT(c->counts.frames);
    if (!matches(c, pieces, count, (uint32_t)frame_bytes))
        return;
    GW_COUNT(c->counts.matched);
    uint32_t kept = frame_bytes < c->snap_bytes ? (uint32_t)frame_bytes : c->snap_bytes, skipped;
    struct gw_captured *r = reserve(c, record_bytes(kept), &skipped);
    if (r == NULL) {
        GW_COUNT(c->counts.dropped);
        return;
    }
    r->record_bytes = record_bytes(kept);
    r->kept_bytes = gather(r->data, kept, pieces, count);
    r->frame_bytes = (uint32_t)frame_bytes;
    r->direction = direction;
    r->wall_us = *c->wall_us;
    check(r->kept_bytes == kept);
    __atomic_store_n(&c->put, c->put + skipped + r->record_bytes, __ATOMIC_RELEASE);
}

/* ---- the lcore: in front of the port ---- */

static unsigned tap_rx(struct gw_port *p, struct gw_frame *frames, unsigned max)
{
    struct gw_capture *c = p->tap;
    unsigned n = c->inner->rx(p, frames, max);
    for (unsigned i = 0; i < n; i++) {
        struct gw_bytes frame = gw_bytes(frames[i].data, frames[i].len);
        look_at(c, GW_CAPTURE_IN, &frame, 1);
    }
    return n;
}

static void tap_rx_release(struct gw_port *p, struct gw_frame *frames, unsigned n)
{
    const struct gw_capture *c = p->tap;
    c->inner->rx_release(p, frames, n);
}

#define TAP_PIECES_MAX 64u

/* A frame is one piece more than its payload: the header. */
static bool tap_tx(struct gw_port *p, const void *header, uint32_t header_len,
                   const struct gw_bytes *payload, unsigned payload_count, uint32_t gso_bytes)
{
    struct gw_capture *c = p->tap;
    struct gw_bytes pieces[TAP_PIECES_MAX];
    if (!c->inner->tx(p, header, header_len, payload, payload_count, gso_bytes))
        return false;
    check(payload_count < TAP_PIECES_MAX);
    pieces[0] = gw_bytes(header, header_len);
    for (unsigned i = 0; i < payload_count; i++)
        pieces[1 + i] = payload[i];
    look_at(c, GW_CAPTURE_OUT, pieces, 1 + payload_count);
    return true;
}

static unsigned tap_tx_flush(struct gw_port *p)
{
    const struct gw_capture *c = p->tap;
    return c->inner->tx_flush(p);
}

static const struct gw_port_ops tap_ops = {
    .rx = tap_rx,
    .rx_release = tap_rx_release,
    .tx = tap_tx,
    .tx_flush = tap_tx_flush,
};

void gw_capture_attach(struct gw_capture *c, struct gw_port *port, const uint64_t *wall_us)
{
    check(c->port == NULL && port->tap == NULL);
    c->port = port;
    c->inner = port->ops;
    c->wall_us = wall_us;
    port->tap = c;
    port->ops = &tap_ops;
}

void gw_capture_detach(struct gw_capture *c)
{
    if (c->port == NULL)
        return;
    check(c->port->tap == c && c->port->ops == &tap_ops);
    c->port->ops = c->inner;
    c->port->tap = NULL;
    c->port = NULL;
}

/* ---- the reader ---- */

const struct gw_captured *gw_capture_peek(struct gw_capture *c)
{
    uint64_t put = __atomic_load_n(&c->put, __ATOMIC_ACQUIRE);
    if (put == c->taken)
        return NULL;
    uint32_t at = (uint32_t)(c->taken & (c->ring_bytes - 1)), first;
    memcpy(&first, c->ring + at, sizeof(first));
    if (first == 0) {
        __atomic_store_n(&c->taken, c->taken + c->ring_bytes - at, __ATOMIC_RELEASE);
        at = 0;
    }
    check(c->taken != put);
    return (const struct gw_captured *)(const void *)(c->ring + at);
}

void gw_capture_take(struct gw_capture *c)
{
    const struct gw_captured *r = gw_capture_peek(c);
    check(r != NULL);
    __atomic_store_n(&c->taken, c->taken + r->record_bytes, __ATOMIC_RELEASE);
}

struct gw_capture_counts gw_capture_counts(const struct gw_capture *c)
{
    return (struct gw_capture_counts){
        .frames = __atomic_load_n(&c->counts.frames, __ATOMIC_RELAXED),
        .matched = __atomic_load_n(&c->counts.matched, __ATOMIC_RELAXED),
        .dropped = __atomic_load_n(&c->counts.dropped, __ATOMIC_RELAXED),
    };
}

/* ---- life ---- */

/* libpcap's own check lets jumps go back, as it compiles `protochain`: then nothing bounds its time. */
static bool only_goes_forward(const struct gw_capture_config *cfg)
{
    for (uint32_t i = 0; i < cfg->program_count; i++)
        if (cfg->program[i].code == (BPF_JMP | BPF_JA) && cfg->program[i].k >= cfg->program_count)
            return false;
    return true;
}

static int copy_program(struct gw_capture *c, const struct gw_capture_config *cfg)
{
    if (cfg->program == NULL)
        return 0;
    if (cfg->program_count > GW_CAPTURE_PROGRAM_MAX ||
        !only_goes_forward(cfg) || !bpf_validate(cfg->program, (int)cfg->program_count))
        return -EINVAL;
    c->program = calloc(cfg->program_count, sizeof(*c->program));
    if (c->program == NULL)
        return -ENOMEM;
    memcpy(c->program, cfg->program, cfg->program_count * sizeof(*c->program));
    c->program_count = cfg->program_count;
    return 0;
}

/* The lcore shall meet no page for the first time. */
static uint8_t *touched(size_t bytes)
{
    uint8_t *p = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    if (p != NULL)
        memset(p, 0xff, bytes);
    return p;
}

int gw_capture_open(struct gw_capture **out, const struct gw_capture_config *cfg)
{
    check(cfg->snap_bytes > 0);
    struct gw_capture *c = aligned_alloc(64, sizeof(*c));
    if (c == NULL)
        return -ENOMEM;
    *c = (struct gw_capture){.snap_bytes = cfg->snap_bytes, .ring_bytes = 1u << 12};
    /* Wherever a record begins, it fits once the ring is empty. */
    while (c->ring_bytes < cfg->ring_bytes || c->ring_bytes < 2 * record_bytes(cfg->snap_bytes))
        c->ring_bytes <<= 1;
    int err = copy_program(c, cfg);
    c->ring = touched(c->ring_bytes);
    c->scratch = touched(GW_CAPTURE_FRAME_BYTES_MAX);
    if (err == 0 && (c->ring == NULL || c->scratch == NULL))
        err = -ENOMEM;
    if (err != 0) {
        gw_capture_free(&c);
        return err;
    }
    *out = c;
    return 0;
}

void gw_capture_free(struct gw_capture **c)
{
    if (*c == NULL)
        return;
    check((*c)->port == NULL);
    free((*c)->program);
    free((*c)->ring);
    free((*c)->scratch);
    free(*c);
    *c = NULL;
}
