/* SPDX-License-Identifier: Apache-2.0 */
#include "pcapng.h"

#include <string.h>

/* In the order of this machine: the section's magic number says so to readers. */

enum block { INTERFACE = 1, STATISTICS = 5, FRAME = 6, SECTION = 0x0a0d0d0a };
enum option {
    OPTION_END = 0,
    SECTION_APPLICATION = 4,
    INTERFACE_NAME = 2,
    INTERFACE_RESOLUTION = 9,
    INTERFACE_FILTER = 11,
    FRAME_FLAGS = 2,
    STATISTICS_BEGUN = 2,
    STATISTICS_ENDED = 3,
    STATISTICS_RECEIVED = 4,
    STATISTICS_DROPPED = 5,
    STATISTICS_ACCEPTED = 6,
};

#define MAGIC          0x1a2b3c4du
#define LINK_ETHERNET  1u
#define MICROSECONDS   6 /* ten to the power of minus this */
#define FILTER_IS_TEXT 0

struct writer {
    uint8_t *start, *at;
};

static void put(struct writer *w, const void *p, size_t len)
{
    memcpy(w->at, p, len);
    w->at += len;
}

static void put16(struct writer *w, uint16_t v)
{
    put(w, &v, sizeof(v));
}

static void put32(struct writer *w, uint32_t v)
{
    put(w, &v, sizeof(v));
}

/* Blocks and options end on four bytes. */
static void pad(struct writer *w)
{
    while ((w->at - w->start) % 4 != 0)
        *w->at++ = 0;
}

static struct writer begin(uint8_t *out, enum block type)
{
    struct writer w = {out, out};
    put32(&w, type);
    put32(&w, 0); /* its length, at the end */
    return w;
}

static size_t end(struct writer *w)
{
    pad(w);
    uint32_t len = (uint32_t)(w->at - w->start) + 4;
    put32(w, len);
    memcpy(w->start + 4, &len, sizeof(len));
    return len;
}

static void put_option(struct writer *w, enum option code, const void *p, size_t len)
{
    put16(w, (uint16_t)code);
    put16(w, (uint16_t)len);
    if (len > 0)
        put(w, p, len);
    pad(w);
}

/* High half first, whatever the machine's order. */
static void put_time(struct writer *w, uint64_t us)
{
    put32(w, (uint32_t)(us >> 32));
    put32(w, (uint32_t)us);
}

size_t pcapng_section(uint8_t *out, const char *application)
{
    struct writer w = begin(out, SECTION);
    const int64_t unknown = -1;
    put32(&w, MAGIC);
    put16(&w, 1); /* version 1.0 */
    put16(&w, 0);
    put(&w, &unknown, sizeof(unknown));
    put_option(&w, SECTION_APPLICATION, application, strnlen(application, PCAPNG_TEXT_BYTES_MAX));
    put_option(&w, OPTION_END, NULL, 0);
    return end(&w);
}

size_t pcapng_block_bytes(const uint8_t *block)
{
    uint32_t len;
    memcpy(&len, block + 4, sizeof(len));
    return len;
}

bool pcapng_is_frame(const uint8_t *block)
{
    uint32_t type;
    memcpy(&type, block, sizeof(type));
    return type == FRAME;
}

static void put_filter(struct writer *w, const char *filter)
{
    uint8_t value[1 + PCAPNG_TEXT_BYTES_MAX] = {FILTER_IS_TEXT};
    size_t len = strnlen(filter, PCAPNG_TEXT_BYTES_MAX);
    memcpy(value + 1, filter, len);
    if (len > 0)
        put_option(w, INTERFACE_FILTER, value, 1 + len);
}

size_t pcapng_interface(uint8_t *out, const char *name, const char *filter, uint32_t snap_bytes)
{
    const uint8_t resolution = MICROSECONDS;
    struct writer w = begin(out, INTERFACE);
    put16(&w, LINK_ETHERNET);
    put16(&w, 0);
    put32(&w, snap_bytes);
    put_option(&w, INTERFACE_NAME, name, strnlen(name, 32));
    put_option(&w, INTERFACE_RESOLUTION, &resolution, sizeof(resolution));
    put_filter(&w, filter);
    put_option(&w, OPTION_END, NULL, 0);
    return end(&w);
}

size_t pcapng_frame(uint8_t *out, uint32_t interface, const struct gw_captured *f)
{
    uint32_t flags = f->direction; /* 1 inbound, 2 outbound: as in the format */
    struct writer w = begin(out, FRAME);
    put32(&w, interface);
    put_time(&w, f->wall_us);
    put32(&w, f->kept_bytes);
    put32(&w, f->frame_bytes);
    put(&w, f->data, f->kept_bytes);
    pad(&w);
    put_option(&w, FRAME_FLAGS, &flags, sizeof(flags));
    put_option(&w, OPTION_END, NULL, 0);
    return end(&w);
}

static void put_option_time(struct writer *w, enum option code, uint64_t us)
{
    uint32_t halves[2] = {(uint32_t)(us >> 32), (uint32_t)us};
    put_option(w, code, halves, sizeof(halves));
}

size_t pcapng_statistics(uint8_t *out, uint32_t interface, const struct pcapng_statistics *s)
{
    struct writer w = begin(out, STATISTICS);
    put32(&w, interface);
    put_time(&w, s->ended_us);
    put_option_time(&w, STATISTICS_BEGUN, s->begun_us);
    put_option_time(&w, STATISTICS_ENDED, s->ended_us);
    put_option(&w, STATISTICS_RECEIVED, &s->counts.frames, sizeof(uint64_t));
    put_option(&w, STATISTICS_DROPPED, &s->counts.dropped, sizeof(uint64_t));
    put_option(&w, STATISTICS_ACCEPTED, &s->counts.matched, sizeof(uint64_t));
    put_option(&w, OPTION_END, NULL, 0);
    return end(&w);
}
