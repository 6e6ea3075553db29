/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatch.h"

#include <errno.h>
#include <stdlib.h>

#include "../base/check.h"
#include "handover.h"

/* Sent in one flush for one lcore; more waits for the next pass. */
#define TX_BURST 256u

struct counters {
    GW_DISPATCH_COUNTERS(GW_COUNTER_FIELD)
};

/* One lcore's port. */
struct lane {
    struct gw_port port; /* first: the port handed out is the lane */
    struct gw_dispatch *all;
    struct gw_port *queue; /* its own, or NULL */
    unsigned index;
    unsigned first;        /* whose frames are taken first this time */
    unsigned from_others;  /* of the frames in hand: so many were taken, the rest is the queue's */
    unsigned given;        /* frames handed over since the last flush */
    struct handover *tx;   /* without a queue: to the lcore that sends */
    struct counters counters;
} __attribute__((aligned(64))); /* no two lcores in one cache line */

struct gw_dispatch {
    unsigned lcore_count, queue_count;
    const struct gw_steer *steer;
    struct lane *lanes;
    /* By lcore that has received, and lcore that it belongs to; NULL on the diagonal. */
    struct handover *rx[GW_STEER_LCORES_MAX][GW_STEER_LCORES_MAX];
};

/* ---- frames in ---- */

static unsigned take_from(struct lane *l, unsigned from, struct gw_frame *frames, unsigned max)
{
    struct handover *h = l->all->rx[from][l->index];
    const struct handover_frame *f;
    unsigned n = 0;
    if (h == NULL)
        return 0;
    while (n < max && (f = handover_next(h)) != NULL) {
        frames[n++] = (struct gw_frame){
            .data = (uint8_t *)f->data, /* the consumer's until it is released */
            .len = f->len,
            .rss_hash = f->rss_hash,
            .csum_ok = f->csum_ok,
        };
        handover_take(h);
    }
    return n;
}

/* From each in turn, so that none is served only when the others are silent. */
static unsigned take(struct lane *l, struct gw_frame *frames, unsigned max)
{
    unsigned queues = l->all->queue_count, n = 0;
    for (unsigned i = 0; i < queues && n < max; i++)
        n += take_from(l, (l->first + i) % queues, frames + n, max - n);
    l->first = (l->first + 1) % queues;
    GW_COUNT_ADD(l->counters.rx_taken, n);
    return n;
}

/* The lcore that a frame belongs to; where it is, when it is nobody's. */
static unsigned owner_of(const struct lane *l, struct gw_frame *f)
{
    const struct gw_steer *s = l->all->steer;
    if (f->rss_hash == 0 && !gw_steer_hash_frame(s, f->data, f->len, &f->rss_hash))
        return l->index;
    return gw_steer_lcore_of_hash(s, f->rss_hash);
}

static void hand_over(struct lane *l, unsigned to, const struct gw_frame *f)
{
    struct handover_frame *out = handover_put(l->all->rx[l->index][to], f->len);
    if (out == NULL) {
        GW_COUNT(l->counters.drop_rx_full);
        return;
    }
    out->rss_hash = f->rss_hash;
    out->csum_ok = f->csum_ok;
    memcpy(out->data, f->data, f->len);
    l->given++;
    GW_COUNT(l->counters.rx_handed_over);
}

/* Of what the queue brought, the frames that are this lcore's; the others are handed over. */
static unsigned sort(struct lane *l, const struct gw_frame *in, unsigned count,
                     struct gw_frame *kept)
{
    struct gw_frame foreign[GW_PORT_BURST_MAX];
    unsigned kept_count = 0, foreign_count = 0;
    for (unsigned i = 0; i < count; i++) {
        struct gw_frame f = in[i];
        unsigned owner = owner_of(l, &f);
        if (owner == l->index) {
            kept[kept_count++] = f;
        } else {
            hand_over(l, owner, &f);
            foreign[foreign_count++] = f;
        }
    }
    if (foreign_count > 0)
        l->queue->ops->rx_release(l->queue, foreign, foreign_count);
    GW_COUNT_ADD(l->counters.rx_kept, kept_count);
    return kept_count;
}

static void publish_rx(struct lane *l)
{
    for (unsigned i = 0; i < l->all->lcore_count; i++)
        if (l->all->rx[l->index][i] != NULL)
            handover_publish(l->all->rx[l->index][i]);
}

static unsigned rx(struct gw_port *port, struct gw_frame *frames, unsigned max)
{
    struct lane *l = (struct lane *)port;
    check(max >= 2 && max <= GW_PORT_BURST_MAX);
    if (l->queue == NULL) {
        l->from_others = take(l, frames, max);
        return l->from_others;
    }
    /* Half of the burst at most for what others bring: neither side starves the other. */
    struct gw_frame in[GW_PORT_BURST_MAX];
    l->from_others = take(l, frames, max / 2);
    unsigned n = l->queue->ops->rx(l->queue, in, max - l->from_others);
    if (n == 0)
        return l->from_others;
    n = sort(l, in, n, frames + l->from_others);
    publish_rx(l);
    return l->from_others + n;
}

static void rx_release(struct gw_port *port, struct gw_frame *frames, unsigned n)
{
    struct lane *l = (struct lane *)port;
    check(n >= l->from_others);
    for (unsigned i = 0; l->from_others > 0 && i < l->all->queue_count; i++)
        if (l->all->rx[i][l->index] != NULL)
            handover_release(l->all->rx[i][l->index]);
    if (n > l->from_others)
        l->queue->ops->rx_release(l->queue, frames + l->from_others, n - l->from_others);
    l->from_others = 0;
}

/* ---- frames out ---- */

static bool tx_by_queue(struct gw_port *port, const void *header, uint32_t header_len,
                        const struct gw_bytes *payload, unsigned payload_count, uint32_t gso_bytes)
{
    struct gw_port *queue = ((struct lane *)port)->queue;
    return queue->ops->tx(queue, header, header_len, payload, payload_count, gso_bytes);
}

static bool tx_by_other(struct gw_port *port, const void *header, uint32_t header_len,
                        const struct gw_bytes *payload, unsigned payload_count, uint32_t gso_bytes)
{
    struct lane *l = (struct lane *)port;
    size_t len = header_len;
    for (unsigned i = 0; i < payload_count; i++)
        len += payload[i].len;
    struct handover_frame *f = handover_put(l->tx, (uint32_t)len);
    if (f == NULL) {
        GW_COUNT(l->counters.tx_full);
        return false;
    }
    f->header_len = (uint16_t)header_len;
    f->gso_bytes = (uint16_t)gso_bytes;
    uint8_t *p = f->data;
    memcpy(p, header, header_len);
    p += header_len;
    for (unsigned i = 0; i < payload_count; p += payload[i++].len)
        memcpy(p, payload[i].p, payload[i].len);
    l->given++;
    GW_COUNT(l->counters.tx_handed_over);
    return true;
}

/* What the device has no room for stays where it is: its sender sees the handover fill up. */
static void send_for(struct lane *l, struct lane *other)
{
    const struct handover_frame *f;
    unsigned n = 0;
    while (n < TX_BURST && (f = handover_next(other->tx)) != NULL) {
        struct gw_bytes payload = {f->data + f->header_len, f->len - f->header_len};
        if (!l->queue->ops->tx(l->queue, f->data, f->header_len, &payload, payload.len > 0,
                               f->gso_bytes))
            break;
        handover_take(other->tx);
        n++;
    }
    handover_release(other->tx);
    GW_COUNT_ADD(l->counters.tx_taken, n);
}

/* Handing over is work, too: who does it all day is not idle. */
static unsigned given(struct lane *l)
{
    unsigned n = l->given;
    l->given = 0;
    return n;
}

static unsigned flush_queue(struct gw_port *port)
{
    struct lane *l = (struct lane *)port;
    struct gw_dispatch *d = l->all;
    for (unsigned i = l->index + d->queue_count; i < d->lcore_count; i += d->queue_count)
        send_for(l, &d->lanes[i]);
    return l->queue->ops->tx_flush(l->queue) + given(l);
}

static unsigned flush_handover(struct gw_port *port)
{
    struct lane *l = (struct lane *)port;
    handover_publish(l->tx);
    return given(l);
}

static const struct gw_port_ops with_queue = {
    .rx = rx,
    .rx_release = rx_release,
    .tx = tx_by_queue,
    .tx_flush = flush_queue,
};

static const struct gw_port_ops without_queue = {
    .rx = rx,
    .rx_release = rx_release,
    .tx = tx_by_other,
    .tx_flush = flush_handover,
};

/* ---- start ---- */

static int open_lane(struct gw_dispatch *d, unsigned index, struct gw_port *const *queues)
{
    struct lane *l = &d->lanes[index];
    bool owns = index < d->queue_count;
    *l = (struct lane){.port = *queues[index % d->queue_count],
                       .all = d,
                       .queue = owns ? queues[index] : NULL,
                       .index = index};
    l->port.ops = owns ? &with_queue : &without_queue;
    if (!owns)
        return handover_open(&l->tx, GW_DISPATCH_BYTES);
    int err = 0;
    for (unsigned to = 0; err == 0 && to < d->lcore_count; to++)
        if (to != index)
            err = handover_open(&d->rx[index][to], GW_DISPATCH_BYTES);
    return err;
}

int gw_dispatch_open(struct gw_dispatch **out, const struct gw_dispatch_config *cfg)
{
    check(cfg->queue_count >= 1 && cfg->queue_count <= cfg->lcore_count);
    check(cfg->lcore_count <= GW_STEER_LCORES_MAX && cfg->lcore_count == cfg->steer->lcore_count);
    struct gw_dispatch *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return -ENOMEM;
    d->steer = cfg->steer;
    d->queue_count = cfg->queue_count;
    d->lanes = aligned_alloc(_Alignof(struct lane), cfg->lcore_count * sizeof(*d->lanes));
    int err = -ENOMEM;
    if (d->lanes != NULL) {
        memset(d->lanes, 0, cfg->lcore_count * sizeof(*d->lanes));
        d->lcore_count = cfg->lcore_count;
        err = 0;
    }
    for (unsigned i = 0; err == 0 && i < d->lcore_count; i++)
        err = open_lane(d, i, cfg->queues);
    if (err != 0) {
        gw_dispatch_free(&d);
        return err;
    }
    *out = d;
    return 0;
}

void gw_dispatch_free(struct gw_dispatch **dispatch)
{
    struct gw_dispatch *d = *dispatch;
    if (d == NULL)
        return;
    for (unsigned i = 0; i < d->lcore_count; i++) {
        handover_free(&d->lanes[i].tx);
        for (unsigned k = 0; k < GW_STEER_LCORES_MAX; k++)
            handover_free(&d->rx[i][k]);
    }
    free(d->lanes);
    free(d);
    *dispatch = NULL;
}

struct gw_port *gw_dispatch_port(struct gw_dispatch *d, unsigned lcore)
{
    check(lcore < d->lcore_count);
    return &d->lanes[lcore].port;
}

struct gw_counter_set gw_dispatch_counter_set(const struct gw_dispatch *d, unsigned lcore)
{
    static const struct gw_counter_desc descs[] = {GW_DISPATCH_COUNTERS(GW_COUNTER_DESC)};
    check(lcore < d->lcore_count);
    return (struct gw_counter_set){
        .prefix = "dispatch",
        .descs = descs,
        .values = (const uint64_t *)&d->lanes[lcore].counters,
        .count = sizeof(descs) / sizeof(descs[0]),
    };
}
