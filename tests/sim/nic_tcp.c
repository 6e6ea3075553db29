/* SPDX-License-Identifier: Apache-2.0 */
#include "nic_tcp.h"

#include <string.h>

#include "../../dataplane/base/check.h"

enum { PACKET_MAX = 70000, FLAGS_AT = 13, FIN_AND_PSH = 0x09 };

static const struct gw_sipkey sum_key = {1, 2};

static void put_text(uint8_t *p, const struct gw_tcp_segment *seg)
{
    uint32_t len = 0;
    for (uint32_t i = 0; i < seg->payload_count; i++) {
        memcpy(p + len, seg->payload[i].p, seg->payload[i].len);
        len += (uint32_t)seg->payload[i].len;
    }
    check(len == seg->payload_len);
}

/* The part [from, from + len) of a segment's text, with its headers. */
static void send_part(struct nic_tcp *n, const struct gw_tcp_segment *seg, const uint8_t *text,
                      uint32_t from, uint32_t len)
{
    static uint8_t packet[PACKET_MAX];
    uint8_t *p = packet;
    memcpy(p, &seg->tuple->local, sizeof(struct gw_ip));
    memcpy(p + sizeof(struct gw_ip), &seg->tuple->remote, sizeof(struct gw_ip));
    p += 2 * sizeof(struct gw_ip);
    memcpy(p, seg->header, seg->header_len);
    gw_put_be32(p + 4, gw_be32(p + 4) + from);
    if (from + len < seg->payload_len)
        p[FLAGS_AT] &= (uint8_t)~FIN_AND_PSH;
    p += seg->header_len;
    memcpy(p, text + from, len);
    p += len;
    size_t summed = (size_t)(p - packet);
    uint64_t sum = gw_siphash(&sum_key, packet, summed);
    memcpy(p, &sum, sizeof(sum));
    if (n->capture != NULL)
        capture_segment(n->capture, world_now_us(n->world), packet, summed);
    world_send(n->world, n->link_out, packet, summed + sizeof(sum));
}

bool nic_tcp_emit(void *ctx, const struct gw_tcp_segment *seg)
{
    static uint8_t text[GW_TCP_GSO_BYTES_MAX];
    struct nic_tcp *n = ctx;
    uint32_t done = 0;
    put_text(text, seg);
    do {
        if (world_chance(n->world, n->refuse_ppm)) {
            if (done > 0)
                *seg->payload_taken = done;
            return done > 0;
        }
        uint32_t len = seg->payload_len - done;
        if (len > seg->segment_bytes)
            len = seg->segment_bytes;
        send_part(n, seg, text, done, len);
        done += len;
    } while (done < seg->payload_len);
    return true;
}

void nic_tcp_deliver(void *ctx, const uint8_t *packet, size_t len)
{
    struct nic_tcp *n = ctx;
    uint64_t sum;
    len -= sizeof(sum);
    memcpy(&sum, packet + len, sizeof(sum));
    if (gw_siphash(&sum_key, packet, len) != sum)
        return;
    struct gw_ip src, dst;
    memcpy(&src, packet, sizeof(src));
    memcpy(&dst, packet + sizeof(src), sizeof(dst));
    gw_tcp_input(n->tcp, world_now_us(n->world), &src, &dst, packet + 2 * sizeof(src),
                 len - 2 * sizeof(src));
}
