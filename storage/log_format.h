/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log file: a header block, then appends, each from a block boundary on: frames with their
 * segments, zeros up to the next block. Little-endian.
 *
 * Files are reused, so what lies behind the last append may be an older generation's: a frame
 * counts only in the generation of its file. An append that was cut short by a crash is known by
 * its frame count; where it begins, the next file's header says that this one ends: after a crash a
 * new file is begun always.
 */
#ifndef GW_STORAGE_LOG_FORMAT_H
#define GW_STORAGE_LOG_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_BLOCK_BYTES  4096u
#define LOG_HEADER_MAGIC 0x31676f6c74697764u
#define LOG_FRAME_MAGIC  0x31656d617266676cu
#define LOG_VERSION      1

struct log_header {
    uint64_t magic;
    uint32_t version;
    uint32_t crc; /* crc32c of the header with this field zero */
    uint64_t generation;
    uint64_t first_number; /* of the first segment that is written to it */
    uint64_t first_append;
    uint64_t previous_end; /* bytes of the file of the generation before that count */
};

struct log_frame {
    uint64_t magic;
    uint64_t generation;
    uint64_t number;      /* of the segment */
    uint64_t append;      /* counts appends */
    uint32_t len;         /* of the segment behind it */
    uint16_t index;       /* of this frame in its append */
    uint16_t count;       /* frames of the append */
    uint32_t segment_crc; /* the segment's own: binds it to this frame */
    uint32_t crc;         /* crc32c of the frame with this field zero */
};

_Static_assert(sizeof(struct log_header) == 48, "log header");
_Static_assert(sizeof(struct log_frame) == 48, "log frame");

static inline size_t log_padded(size_t len)
{
    return (len + LOG_BLOCK_BYTES - 1) & ~(size_t)(LOG_BLOCK_BYTES - 1);
}

uint32_t log_header_crc(const struct log_header *h);
void log_header_seal(struct log_header *h);
bool log_header_ok(const struct log_header *h);
void log_frame_seal(struct log_frame *f);
bool log_frame_ok(const struct log_frame *f);

/* ---- reading one file whole ---- */

struct log_scan {
    const uint8_t *buf; /* 8-byte aligned */
    size_t len;         /* at most what the next header says */
    uint64_t generation;
    uint64_t last_append; /* the one before the first of this file */
    bool newest;          /* no later generation follows: its end may be torn */

    /* results */
    size_t end;          /* where the last append that counts ends */
    uint64_t torn_first; /* a torn append at the end: its segments; 0: none */
    unsigned torn_count;
    uint64_t damaged_bytes; /* passed over in the middle */
};

/* Calls each for every segment that is whole; returns what each returned if not 0. */
int log_scan_file(struct log_scan *s,
                  int (*each)(void *arg, uint64_t number, const void *segment, size_t len),
                  void *arg);

#endif
