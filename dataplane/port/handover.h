/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames from one lcore to another: single producer, single consumer.
 *
 * Frames are copied in, one behind the other in one run of bytes, and read where they lie. So what
 * belongs to the producer's port (packet buffers) never leaves the producer, small frames take
 * little room, and a lcore that does not come to read costs a bounded piece of memory. What is
 * written is seen by the consumer after handover_publish, once a burst; room is seen by the producer
 * after handover_release.
 *
 * (gw_ring copies fixed-size messages twice; frames are anything from 60 bytes to 64 KiB.)
 */
#ifndef GW_PORT_HANDOVER_H
#define GW_PORT_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

struct handover;

/* Before each frame's bytes. */
struct handover_frame {
    uint32_t len;
    uint32_t rss_hash;
    uint16_t header_len; /* of a frame to be sent: where its payload begins */
    uint16_t gso_bytes;  /* as in port.h */
    bool csum_ok;
    bool is_filler;      /* nothing: the rest of the bytes before they begin anew */
    uint8_t reserved[2];
    uint8_t data[];
};

/* `bytes`: a power of two, at least 128 KiB, so that a frame of 64 KiB always fits into an empty one.
 * 0 or -ENOMEM. Start only. */
int handover_open(struct handover **out, uint32_t bytes);
void handover_free(struct handover **h);

/* ---- producer ---- */

/* Room for a frame of len (<= 65600) bytes: its data and fields are the caller's to fill before the
 * next call. NULL when there is no room. */
struct handover_frame *handover_put(struct handover *h, uint32_t len);
/* Shows the consumer what was put since the last time. */
void handover_publish(struct handover *h);

/* ---- consumer ---- */

/* The next frame, or NULL. It stays the next one until handover_take. */
const struct handover_frame *handover_next(struct handover *h);
/* Goes on behind the frame that handover_next has given. Its bytes stay until the release. */
void handover_take(struct handover *h);
/* Gives the room of all taken frames back. */
void handover_release(struct handover *h);

#endif
