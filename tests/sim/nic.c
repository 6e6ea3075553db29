/* SPDX-License-Identifier: Apache-2.0 */
#include "nic.h"

#include <stdlib.h>
#include <string.h>

#include "../../dataplane/base/check.h"
#include "../../dataplane/base/siphash.h"
#include "mix.h"

enum {
    FRAME_BYTES_MAX = 9216,
    FRAMES_MAX = 256, /* of a queue; more are lost */
    PORT_AT = 14 + 20, /* Ethernet and IPv4 without options */
};

struct kept_frame {
    uint32_t len;
    uint8_t *bytes;
};

struct queue {
    struct gw_port port; /* first */
    struct nic *nic;
    struct kept_frame frames[FRAMES_MAX];
    unsigned head, count;
    unsigned taken; /* by the last rx, at the head */
};

struct nic {
    struct world *world;
    unsigned link_out;
    struct queue queues[NIC_QUEUES_MAX];
    unsigned queue_count;
    bool on;
    uint32_t refusal_ppm;
    uint8_t cut[65536 / 8];
    uint64_t *digest;
};

static const struct gw_sipkey frame_key = {0x6e6963, 1};

/* ---- looking at frames ---- */

static bool is_tcp_v4(const uint8_t *f, uint32_t len)
{
    return len >= PORT_AT + 4 && gw_be16(f + 12) == 0x0800 && f[14] == 0x45 && f[23] == 6;
}

static bool port_is_cut(const struct nic *n, uint16_t port)
{
    return (n->cut[port / 8] & 1u << port % 8) != 0;
}

static bool is_cut(const struct nic *n, const uint8_t *f, uint32_t len)
{
    return is_tcp_v4(f, len) &&
           (port_is_cut(n, gw_be16(f + PORT_AT)) || port_is_cut(n, gw_be16(f + PORT_AT + 2)));
}

/* ---- the port ---- */

static unsigned rx(struct gw_port *p, struct gw_frame *frames, unsigned max)
{
    struct queue *q = (struct queue *)p;
    check(q->taken == 0);
    while (q->taken < max && q->taken < q->count) {
        struct kept_frame *k = &q->frames[(q->head + q->taken) % FRAMES_MAX];
        frames[q->taken++] = (struct gw_frame){.data = k->bytes, .len = k->len, .owner = k};
    }
    return q->taken;
}

static void drop_first(struct queue *q)
{
    free(q->frames[q->head].bytes);
    q->head = (q->head + 1) % FRAMES_MAX;
    q->count--;
}

static void rx_release(struct gw_port *p, struct gw_frame *frames, unsigned n)
{
    struct queue *q = (struct queue *)p;
    check(n <= q->taken);
    q->taken -= n;
    while (n-- > 0)
        drop_first(q);
}

static bool tx(struct gw_port *p, const void *header, uint32_t header_len,
               const struct gw_bytes *payload, unsigned payload_count, uint32_t gso_bytes)
{
    struct nic *n = ((struct queue *)p)->nic;
    uint8_t f[FRAME_BYTES_MAX];
    uint32_t len = header_len;
    check(gso_bytes == 0);
    if (world_chance(n->world, n->refusal_ppm))
        return false;
    memcpy(f, header, header_len);
    for (unsigned i = 0; i < payload_count; len += (uint32_t)payload[i++].len) {
        check(len + payload[i].len + sizeof(uint64_t) <= sizeof(f));
        memcpy(f + len, payload[i].p, payload[i].len);
    }
    *n->digest = mix(mix(*n->digest, world_now_us(n->world)), (uint64_t)n->link_out << 32 | len);
    if (!n->on || is_cut(n, f, len))
        return true;
    uint64_t sum = gw_siphash(&frame_key, f, len);
    memcpy(f + len, &sum, sizeof(sum));
    world_send(n->world, n->link_out, f, len + sizeof(sum));
    return true;
}

static unsigned tx_flush(struct gw_port *p)
{
    return 0;
}

static const struct gw_port_ops port_ops = {rx, rx_release, tx, tx_flush};

static void on_frame(void *ctx, const uint8_t *f, size_t bytes)
{
    struct nic *n = ctx;
    uint64_t sum;
    uint32_t len = (uint32_t)(bytes - sizeof(sum));
    memcpy(&sum, f + len, sizeof(sum));
    if (!n->on || gw_siphash(&frame_key, f, len) != sum || is_cut(n, f, len))
        return;
    struct queue *q = &n->queues[is_tcp_v4(f, len) ? gw_be16(f + PORT_AT) % n->queue_count : 0];
    if (q->count == FRAMES_MAX)
        return;
    uint8_t *copy = malloc(len);
    check(copy != NULL);
    memcpy(copy, f, len);
    q->frames[(q->head + q->count++) % FRAMES_MAX] = (struct kept_frame){len, copy};
}

/* ---- life and faults ---- */

struct nic *nic_new(struct world *w, uint8_t number, unsigned queues, uint16_t mtu,
                    uint64_t *digest)
{
    struct nic *n = calloc(1, sizeof(*n));
    check(n != NULL && queues >= 1 && queues <= NIC_QUEUES_MAX);
    n->world = w;
    n->queue_count = queues;
    n->on = true;
    n->digest = digest;
    for (unsigned i = 0; i < queues; i++) {
        n->queues[i].nic = n;
        n->queues[i].port = (struct gw_port){.ops = &port_ops, .mac = {2, 0, 0, 0, 0, number},
                                             .mtu = mtu};
    }
    return n;
}

static void forget_frames(struct nic *n)
{
    for (unsigned i = 0; i < n->queue_count; i++)
        while (n->queues[i].count > 0)
            drop_first(&n->queues[i]);
}

void nic_free(struct nic **n)
{
    if (*n == NULL)
        return;
    forget_frames(*n);
    free(*n);
    *n = NULL;
}

void nic_join(struct nic *a, struct nic *b, const struct world_link cfg[2], unsigned links[2])
{
    links[0] = a->link_out = world_add_link(a->world, &cfg[0], on_frame, b);
    links[1] = b->link_out = world_add_link(b->world, &cfg[1], on_frame, a);
}

struct gw_port *nic_port(struct nic *n, unsigned queue)
{
    check(queue < n->queue_count);
    return &n->queues[queue].port;
}

bool nic_has_frames(const struct nic *n, unsigned queue)
{
    return n->queues[queue].count > 0;
}

void nic_power(struct nic *n, bool on)
{
    forget_frames(n);
    n->on = on;
}

void nic_set_refusal(struct nic *n, uint32_t ppm)
{
    n->refusal_ppm = ppm;
}

void nic_cut(struct nic *n, uint16_t port)
{
    n->cut[port / 8] |= (uint8_t)(1u << port % 8);
}
