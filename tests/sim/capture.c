/* SPDX-License-Identifier: Apache-2.0 */
#include "capture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/base/bytes.h"
#include "../../dataplane/base/check.h"
#include "../../dataplane/base/ip.h"

#define LINKTYPE_RAW 101

struct capture {
    FILE *f;
};

struct file_header {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t zone, accuracy, snap_bytes, link_type;
};

struct record_header {
    uint32_t seconds, microseconds, kept_bytes, bytes;
};

static void put(struct capture *c, const void *p, size_t len)
{
    check(fwrite(p, 1, len, c->f) == len);
}

struct capture *capture_open(const char *path)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL)
        return NULL;
    struct capture *c = malloc(sizeof(*c));
    check(c != NULL);
    c->f = f;
    put(c, &(struct file_header){0xa1b2c3d4, 2, 4, 0, 0, 65535, LINKTYPE_RAW},
        sizeof(struct file_header));
    return c;
}

void capture_close(struct capture **c)
{
    if (*c == NULL)
        return;
    check(fclose((*c)->f) == 0);
    free(*c);
    *c = NULL;
}

static size_t ip_header(uint8_t out[40], const struct gw_ip *src, const struct gw_ip *dst,
                        size_t len)
{
    memset(out, 0, 40);
    if (gw_ip_is_v4(src)) {
        out[0] = 0x45;
        gw_put_be16(out + 2, (uint16_t)(20 + len));
        out[8] = 64;
        out[9] = 6;
        memcpy(out + 12, src->b + 12, 4);
        memcpy(out + 16, dst->b + 12, 4);
        return 20;
    }
    out[0] = 0x60;
    gw_put_be16(out + 4, (uint16_t)len);
    out[6] = 6;
    out[7] = 64;
    memcpy(out + 8, src->b, 16);
    memcpy(out + 24, dst->b, 16);
    return 40;
}

void capture_segment(struct capture *c, uint64_t now_us, const uint8_t *p, size_t len)
{
    struct gw_ip src, dst;
    memcpy(&src, p, sizeof(src));
    memcpy(&dst, p + sizeof(src), sizeof(dst));
    p += sizeof(src) + sizeof(dst);
    len -= sizeof(src) + sizeof(dst);
    uint8_t header[40];
    size_t header_len = ip_header(header, &src, &dst, len);
    uint32_t total = (uint32_t)(header_len + len);
    put(c, &(struct record_header){(uint32_t)(now_us / 1000000), (uint32_t)(now_us % 1000000),
                                   total, total},
        sizeof(struct record_header));
    put(c, header, header_len);
    put(c, p, len);
    check(fflush(c->f) == 0);
}
