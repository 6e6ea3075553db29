/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segmentation in software (GSO), the one place for it: TCP decides once about up to 64 KiB, and here
 * they become packets. IPv4 and IPv6 alike, for what differs lies in the header that emit_one writes.
 */
#include "internal.h"

/* The pieces of [from, from + len) of the text. Returns their number. */
static uint32_t cut(const struct gw_tcp_segment *s, uint32_t from, uint32_t len,
                    struct gw_bytes out[GW_TCP_PAYLOAD_PIECES_MAX])
{
    uint32_t count = 0;
    for (uint32_t i = 0; len > 0; i++) {
        check(i < s->payload_count);
        struct gw_bytes p = s->payload[i];
        if (from >= p.len) {
            from -= (uint32_t)p.len;
            continue;
        }
        uint32_t n = (uint32_t)p.len - from < len ? (uint32_t)p.len - from : len;
        out[count++] = gw_bytes(p.p + from, n);
        from = 0;
        len -= n;
    }
    return count;
}

bool gso_emit(struct gw_net *n, const struct gw_tcp_segment *s, gso_emit_fn emit_one)
{
    uint8_t header[TCP_HEADER_BYTES_MAX];
    struct gw_bytes pieces[GW_TCP_PAYLOAD_PIECES_MAX];
    uint32_t seq = gw_be32(s->header + TCP_SEQUENCE_OFFSET);
    struct gw_tcp_segment one = *s;
    one.header = header;
    one.payload = pieces;
    memcpy(header, s->header, s->header_len);
    for (uint32_t done = 0; done < s->payload_len; done += one.payload_len) {
        bool last = s->payload_len - done <= s->segment_bytes;
        one.payload_len = last ? s->payload_len - done : s->segment_bytes;
        one.payload_count = cut(s, done, one.payload_len, pieces);
        gw_put_be32(header + TCP_SEQUENCE_OFFSET, seq + done);
        header[TCP_FLAGS_OFFSET] = s->header[TCP_FLAGS_OFFSET];
        if (!last)
            header[TCP_FLAGS_OFFSET] &= (uint8_t)~TCP_FIN_AND_PSH;
        if (!emit_one(n, &one)) {
            *s->payload_taken = done;
            return done > 0;
        }
    }
    return true;
}
