/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of the frames that pass one lcore's port, for somebody who looks: a tap.
 *
 * While it is attached, the port's functions are the tap's own, which call the port's; while none is,
 * nothing is different and nothing costs. Frames go through a filter (a BPF program, run by libpcap's
 * bpf_filter: only jumps forward are taken, so its length bounds its time), and copied up to a limit
 * into a ring of bytes for one reader. A full ring drops the copy, counted: the frame itself goes its way.
 *
 * Made and freed by a control thread, attached and detached by the lcore, read by one other thread.
 */
#ifndef GW_DATAPLANE_CAPTURE_H
#define GW_DATAPLANE_CAPTURE_H

#include <stdint.h>

#include "port/port.h"

struct gw_capture;
struct bpf_insn;

/* Of a filter: at most about a microsecond a frame. */
#define GW_CAPTURE_PROGRAM_MAX 512u
/* The largest frame there can be: an IP packet that the device cuts, and its Ethernet header. */
#define GW_CAPTURE_FRAME_BYTES_MAX (65535u + 14u)

struct gw_capture_config {
    const struct bpf_insn *program; /* copied; NULL: every frame */
    uint32_t program_count;
    uint32_t snap_bytes; /* kept of a frame at most */
    uint32_t ring_bytes; /* rounded up to a power of two */
};

enum gw_capture_direction { GW_CAPTURE_IN = 1, GW_CAPTURE_OUT = 2 };

/* A frame as it was kept; sent ones as they were given to the port, so without the checksums and the
 * cuts that the device makes. */
struct gw_captured {
    uint32_t record_bytes; /* the ring's own */
    uint32_t kept_bytes;
    uint32_t frame_bytes;
    uint32_t direction;    /* enum gw_capture_direction */
    uint64_t wall_us;      /* of the pass */
    uint8_t data[];
};

struct gw_capture_counts {
    uint64_t frames;  /* that passed the port */
    uint64_t matched; /* of them those that the filter let through */
    uint64_t dropped; /* of these those for which the ring had no room */
};

/* 0, -EINVAL (the program is not valid or too long) or -ENOMEM. Touches all of its memory. */
int gw_capture_open(struct gw_capture **out, const struct gw_capture_config *cfg);
/* Detached, or never attached. */
void gw_capture_free(struct gw_capture **c);

/* The lcore's: *wall_us is the wall clock of its pass, and the port's `tap` is NULL. */
void gw_capture_attach(struct gw_capture *c, struct gw_port *port, const uint64_t *wall_us);
/* Does nothing when it is not attached. */
void gw_capture_detach(struct gw_capture *c);

/* The reader's: the oldest frame, valid until it is taken; NULL when there is none. */
const struct gw_captured *gw_capture_peek(struct gw_capture *c);
void gw_capture_take(struct gw_capture *c);
/* Any thread; a moment old. */
struct gw_capture_counts gw_capture_counts(const struct gw_capture *c);

#endif
