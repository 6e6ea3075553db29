/* SPDX-License-Identifier: Apache-2.0 */
#include "log_format.h"

#include <string.h>

#include "crc32c.h"
#include "segment.h"

uint32_t log_header_crc(const struct log_header *h)
{
    struct log_header copy = *h;
    copy.crc = 0;
    return crc32c(&copy, sizeof(copy));
}

static uint32_t frame_crc(const struct log_frame *f)
{
    struct log_frame copy = *f;
    copy.crc = 0;
    return crc32c(&copy, sizeof(copy));
}

void log_header_seal(struct log_header *h)
{
    h->magic = LOG_HEADER_MAGIC;
    h->version = LOG_VERSION;
    h->crc = log_header_crc(h);
}

bool log_header_ok(const struct log_header *h)
{
    return h->magic == LOG_HEADER_MAGIC && h->crc == log_header_crc(h);
}

void log_frame_seal(struct log_frame *f)
{
    f->magic = LOG_FRAME_MAGIC;
    f->crc = frame_crc(f);
}

bool log_frame_ok(const struct log_frame *f)
{
    return f->magic == LOG_FRAME_MAGIC && f->crc == frame_crc(f) && f->index < f->count &&
           f->len % 8 == 0 && f->len <= GW_SEGMENT_BYTES_MAX;
}

/* ---- reading ---- */

/* A frame of this file at off, its segment within the file. */
static bool frame_at(const struct log_scan *s, size_t off, struct log_frame *f)
{
    if (off + sizeof(*f) > s->len)
        return false;
    memcpy(f, s->buf + off, sizeof(*f));
    return log_frame_ok(f) && f->generation == s->generation && f->len <= s->len - off - sizeof(*f);
}

static bool segment_ok(const struct log_scan *s, size_t off, const struct log_frame *f)
{
    const uint8_t *segment = s->buf + off + sizeof(*f);
    struct gw_segment_head head;
    if (f->len < sizeof(head) || gw_segment_check(segment, f->len) != 0)
        return false;
    memcpy(&head, segment, sizeof(head));
    return head.crc32c == f->segment_crc;
}

/* The append that begins at off. */
struct extent {
    struct log_frame first;
    size_t end;     /* of its last frame that could be read */
    bool complete;  /* all its frames are there and their segments whole */
    unsigned found; /* frames */
};

static bool append_at(const struct log_scan *s, size_t off, struct extent *x)
{
    struct log_frame f;
    if (!frame_at(s, off, &x->first) || x->first.index != 0 || x->first.append <= s->last_append)
        return false;
    x->complete = true;
    x->found = 0;
    for (unsigned i = 0; i < x->first.count; i++) {
        if (!frame_at(s, off, &f) || f.index != i || f.append != x->first.append ||
            f.number != x->first.number + i) {
            x->complete = false;
            break;
        }
        x->complete &= segment_ok(s, off, &f);
        off += sizeof(f) + f.len;
        x->found++;
    }
    x->end = off;
    return true;
}

static int give_append(struct log_scan *s, size_t off, const struct extent *x,
                       int (*each)(void *arg, uint64_t number, const void *segment, size_t len),
                       void *arg)
{
    for (unsigned i = 0; i < x->found; i++) {
        struct log_frame f;
        memcpy(&f, s->buf + off, sizeof(f));
        if (segment_ok(s, off, &f)) {
            int err = each(arg, f.number, s->buf + off + sizeof(f), f.len);
            if (err)
                return err;
        } else {
            s->damaged_bytes += f.len;
        }
        off += sizeof(f) + f.len;
    }
    s->last_append = x->first.append;
    return 0;
}

/* The next block from off on where an append begins; len when there is none. */
static size_t find_append(const struct log_scan *s, size_t off)
{
    struct extent x;
    while (off < s->len && !append_at(s, off, &x))
        off += LOG_BLOCK_BYTES;
    return off < s->len ? off : s->len;
}

/* What begins at off, if anything, is not whole, and another append follows at `next`. */
static int pass_over(struct log_scan *s, size_t off, const struct extent *x, size_t next,
                     int (*each)(void *arg, uint64_t number, const void *segment, size_t len),
                     void *arg)
{
    if (x == NULL) {
        s->damaged_bytes += next - off;
        return 0;
    }
    if (x->found < x->first.count)
        s->damaged_bytes += next - x->end;
    return give_append(s, off, x, each, arg);
}

int log_scan_file(struct log_scan *s,
                  int (*each)(void *arg, uint64_t number, const void *segment, size_t len),
                  void *arg)
{
    int err = 0;
    s->end = LOG_BLOCK_BYTES;
    while (!err && s->end < s->len) {
        size_t off = s->end;
        struct extent x;
        bool begins = append_at(s, off, &x);
        if (begins && x.complete) {
            err = give_append(s, off, &x, each, arg);
            s->end = err ? off : log_padded(x.end);
            continue;
        }
        size_t next = find_append(s, begins ? log_padded(x.end) : off + LOG_BLOCK_BYTES);
        if (next == s->len && s->newest) {
            /* Nothing follows: the end, or an append that never became whole. */
            s->torn_first = begins ? x.first.number : 0;
            s->torn_count = begins ? x.first.count : 0;
            break;
        }
        err = pass_over(s, off, begins ? &x : NULL, next, each, arg);
        s->end = next;
    }
    return err;
}
