/* SPDX-License-Identifier: Apache-2.0 */
/* Frames between lcores: the handover by itself, and the dispatch over queues made of arrays. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "../../dataplane/port/dispatch.h"
#include "../../dataplane/port/handover.h"

/* ---- the handover ---- */

#define HANDOVER_BYTES (128u << 10)

static struct handover *handover;

static void open_handover(void)
{
    cr_assert_eq(handover_open(&handover, HANDOVER_BYTES), 0);
}

static void free_handover(void)
{
    handover_free(&handover);
    cr_assert_null(handover);
}

/* Of any length, its bytes known from its number. */
static uint32_t length_of(uint32_t number)
{
    uint32_t r = number * 2654435761u >> 8;
    return r % 8 == 0 ? r % 9001 : r % 200;
}

static bool put_numbered(uint32_t number)
{
    struct handover_frame *f = handover_put(handover, length_of(number) + 4);
    if (f == NULL)
        return false;
    memcpy(f->data, &number, 4);
    memset(f->data + 4, (int)number, length_of(number));
    f->rss_hash = ~number;
    return true;
}

static void cr_assert_numbered(const struct handover_frame *f, uint32_t number)
{
    uint32_t found;
    cr_assert_not_null(f);
    memcpy(&found, f->data, 4);
    cr_assert_eq(found, number);
    cr_assert_eq(f->len, length_of(number) + 4);
    cr_assert_eq(f->rss_hash, ~number);
    for (uint32_t i = 0; i < length_of(number); i++)
        cr_assert_eq(f->data[4 + i], (uint8_t)number);
}

Test(handover, shows_what_was_published, .init = open_handover, .fini = free_handover)
{
    cr_assert_null(handover_next(handover));
    cr_assert(put_numbered(1));
    cr_assert_null(handover_next(handover), "not published yet");
    handover_publish(handover);
    cr_assert_numbered(handover_next(handover), 1);
    cr_assert_numbered(handover_next(handover), 1);
    handover_take(handover);
    cr_assert_null(handover_next(handover));
}

Test(handover, room_comes_back_with_the_release, .init = open_handover, .fini = free_handover)
{
    uint32_t put = 0, taken = 0;
    for (int round = 0; round < 50; round++) {
        while (put_numbered(put))
            put++;
        cr_assert_gt(put, taken);
        handover_publish(handover);
        uint32_t before = put;
        while (handover_next(handover) != NULL) {
            cr_assert_numbered(handover_next(handover), taken++);
            handover_take(handover);
        }
        cr_assert_eq(taken, put, "all of them, in order");
        cr_assert_not(put_numbered(put), "taken is not released");
        cr_assert_eq(put, before);
        handover_release(handover);
    }
}

Test(handover, the_largest_frame_fits_wherever_the_last_one_ended, .init = open_handover,
     .fini = free_handover)
{
    for (uint32_t small = 0; small < 3000; small += 7) {
        for (uint32_t len = small;; len = 65600) {
            struct handover_frame *f = handover_put(handover, len);
            cr_assert_not_null(f, "%u after %u", len, small);
            memset(f->data, 1, len);
            handover_publish(handover);
            cr_assert_eq(handover_next(handover)->len, len);
            handover_take(handover);
            handover_release(handover);
            if (len == 65600)
                break;
        }
    }
}

#define THREAD_FRAMES 300000u

static void *produce(void *arg)
{
    (void)arg;
    for (uint32_t n = 0; n < THREAD_FRAMES;) {
        for (unsigned burst = 0; burst < 32 && n < THREAD_FRAMES && put_numbered(n); burst++)
            n++;
        handover_publish(handover);
        if (n < THREAD_FRAMES)
            sched_yield();
    }
    return NULL;
}

Test(handover, between_two_threads, .init = open_handover, .fini = free_handover, .timeout = 120)
{
    pthread_t producer;
    cr_assert_eq(pthread_create(&producer, NULL, produce, NULL), 0);
    for (uint32_t n = 0; n < THREAD_FRAMES;) {
        if (handover_next(handover) == NULL) {
            handover_release(handover);
            sched_yield();
            continue;
        }
        cr_assert_numbered(handover_next(handover), n++);
        handover_take(handover);
        if (n % 16 == 0)
            handover_release(handover);
    }
    pthread_join(producer, NULL);
    cr_assert_null(handover_next(handover));
}

/* ---- a device of arrays ---- */

#define QUEUES_MAX  4
#define FRAMES_MAX  16384
#define FRAME_BYTES 80
#define CONNECTIONS 300

struct queue {
    struct gw_port port; /* first */
    uint8_t in[FRAMES_MAX][FRAME_BYTES];
    bool released[FRAMES_MAX], flushed;
    uint32_t hash[FRAMES_MAX]; /* what the device says; 0 nothing */
    unsigned in_count, in_next;
    uint8_t out[FRAMES_MAX][FRAME_BYTES];
    uint32_t out_header_len[FRAMES_MAX], out_gso[FRAMES_MAX];
    unsigned out_count, out_room;
};

static struct queue queues[QUEUES_MAX];
static struct gw_steer steer;
static struct gw_dispatch *dispatch;

static unsigned queue_rx(struct gw_port *p, struct gw_frame *frames, unsigned max)
{
    struct queue *q = (struct queue *)p;
    unsigned n = 0;
    for (; n < max && q->in_next < q->in_count; n++, q->in_next++)
        frames[n] = (struct gw_frame){.data = q->in[q->in_next],
                                      .len = FRAME_BYTES,
                                      .rss_hash = q->hash[q->in_next],
                                      .csum_ok = q->in_next % 3 == 0,
                                      .owner = &q->released[q->in_next]};
    return n;
}

static void queue_rx_release(struct gw_port *p, struct gw_frame *frames, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        bool *released = frames[i].owner;
        cr_assert_not(*released, "twice");
        *released = true;
    }
}

static bool queue_tx(struct gw_port *p, const void *header, uint32_t header_len,
                     const struct gw_bytes *payload, unsigned payload_count, uint32_t gso_bytes)
{
    struct queue *q = (struct queue *)p;
    if (q->out_count == q->out_room)
        return false;
    uint8_t *out = q->out[q->out_count];
    q->out_header_len[q->out_count] = header_len;
    q->out_gso[q->out_count++] = gso_bytes;
    memcpy(out, header, header_len);
    out += header_len;
    for (unsigned i = 0; i < payload_count; out += payload[i++].len)
        memcpy(out, payload[i].p, payload[i].len);
    return true;
}

static unsigned queue_tx_flush(struct gw_port *p)
{
    ((struct queue *)p)->flushed = true;
    return 0;
}

static const struct gw_port_ops queue_ops = {
    .rx = queue_rx, .rx_release = queue_rx_release, .tx = queue_tx, .tx_flush = queue_tx_flush};

static void open_dispatch(unsigned lcore_count, unsigned queue_count)
{
    static const uint8_t key[GW_STEER_KEY_BYTES] = "a key of fifty-two bytes, whatever they may be: 1234";
    struct gw_port *ports[QUEUES_MAX];
    gw_steer_init(&steer, key, lcore_count, GW_STEER_SLOTS_MAX);
    memset(queues, 0, sizeof(queues));
    for (unsigned i = 0; i < queue_count; i++) {
        queues[i].port =
            (struct gw_port){.ops = &queue_ops, .mac = {2, 3}, .mtu = 1400, .tx_csum_ip = true};
        queues[i].out_room = FRAMES_MAX;
        ports[i] = &queues[i].port;
    }
    struct gw_dispatch_config cfg = {lcore_count, queue_count, ports, &steer};
    cr_assert_eq(gw_dispatch_open(&dispatch, &cfg), 0);
}

static void free_dispatch(void)
{
    gw_dispatch_free(&dispatch);
    cr_assert_null(dispatch);
}

static uint64_t count(unsigned lcore, const char *name)
{
    struct gw_counter_set s = gw_dispatch_counter_set(dispatch, lcore);
    for (unsigned i = 0; i < s.count; i++)
        if (strcmp(s.descs[i].name, name) == 0)
            return s.values[i];
    cr_assert_fail("no counter %s", name);
    return 0;
}

/* ---- its frames: of connection c, number n within it ---- */

static uint16_t port_of(unsigned c)
{
    return (uint16_t)(20000 + c);
}

static const uint8_t remote[4] = {192, 0, 2, 1}, local[4] = {192, 0, 2, 9};

static unsigned lcore_of(unsigned c)
{
    struct gw_ip from = gw_ip_from_v4(remote), to = gw_ip_from_v4(local);
    return gw_steer_lcore_of_tcp(&steer, &from, &to, port_of(c), 5222);
}

static void bring(struct queue *q, unsigned c, uint32_t number)
{
    cr_assert_lt(q->in_count, FRAMES_MAX);
    uint8_t *f = q->in[q->in_count++];
    gw_put_be16(f + 12, 0x0800);
    f[14] = 0x45;
    f[23] = 6;
    memcpy(f + 26, remote, 4);
    memcpy(f + 30, local, 4);
    gw_put_be16(f + 34, port_of(c));
    gw_put_be16(f + 36, 5222);
    gw_put_be32(f + 60, c);
    gw_put_be32(f + 64, number);
}

static uint32_t numbers[CONNECTIONS]; /* the next of each */

/* A pass of a lcore: what it gets must be its own, and each connection's in order. */
static unsigned pass(unsigned lcore)
{
    struct gw_port *p = gw_dispatch_port(dispatch, lcore);
    struct gw_frame frames[GW_PORT_BURST_MAX];
    unsigned n = p->ops->rx(p, frames, GW_PORT_BURST_MAX);
    cr_assert_leq(n, GW_PORT_BURST_MAX);
    for (unsigned i = 0; i < n; i++) {
        uint32_t c = gw_be32(frames[i].data + 60);
        cr_assert_eq(frames[i].len, FRAME_BYTES);
        cr_assert_lt(c, CONNECTIONS);
        cr_assert_eq(lcore_of(c), lcore);
        cr_assert_eq(gw_be32(frames[i].data + 64), numbers[c], "connection %u", c);
        cr_assert_neq(frames[i].rss_hash, 0);
        numbers[c]++;
    }
    p->ops->rx_release(p, frames, n);
    p->ops->tx_flush(p);
    return n;
}

static void cr_assert_all_released(void)
{
    for (unsigned q = 0; q < QUEUES_MAX; q++)
        for (unsigned i = 0; i < queues[q].in_count; i++)
            cr_assert(queues[q].released[i], "frame %u of queue %u", i, q);
}

static void everything_arrives_in_order(unsigned lcore_count, unsigned queue_count)
{
    enum { ROUNDS = 20 };
    open_dispatch(lcore_count, queue_count);
    memset(numbers, 0, sizeof(numbers));
    for (uint32_t round = 0; round < ROUNDS; round++)
        for (unsigned c = 0; c < CONNECTIONS; c++)
            bring(&queues[c % queue_count], c, round); /* whoever's it is */
    unsigned got = 0;
    for (unsigned idle = 0; idle < 2;) {
        unsigned n = 0;
        for (unsigned l = 0; l < lcore_count; l++)
            n += pass(l);
        got += n;
        idle = n > 0 ? 0 : idle + 1;
    }
    cr_assert_eq(got, ROUNDS * CONNECTIONS);
    cr_assert_all_released();
    uint64_t given = 0, taken = 0, kept = 0;
    for (unsigned l = 0; l < lcore_count; l++) {
        given += count(l, "rx_handed_over");
        taken += count(l, "rx_taken");
        kept += count(l, "rx_kept");
        cr_assert_eq(count(l, "drop_rx_full"), 0);
    }
    cr_assert_eq(given, taken);
    cr_assert_eq(given + kept, ROUNDS * CONNECTIONS);
    cr_assert(lcore_count == 1 ? given == 0 : given > 0);
}

Test(dispatch, one_queue_two_lcores, .fini = free_dispatch)
{
    everything_arrives_in_order(2, 1);
}

Test(dispatch, one_queue_many_lcores, .fini = free_dispatch)
{
    everything_arrives_in_order(7, 1);
}

Test(dispatch, two_queues_that_know_nothing_of_us, .fini = free_dispatch)
{
    everything_arrives_in_order(2, 2);
}

Test(dispatch, three_queues_five_lcores, .fini = free_dispatch)
{
    everything_arrives_in_order(5, 3);
}

Test(dispatch, one_lcore, .fini = free_dispatch)
{
    everything_arrives_in_order(1, 1);
}

Test(dispatch, every_lcore_sees_the_same_device, .fini = free_dispatch)
{
    open_dispatch(3, 2);
    for (unsigned l = 0; l < 3; l++) {
        struct gw_port *p = gw_dispatch_port(dispatch, l);
        cr_assert_arr_eq(p->mac, queues[0].port.mac, 6);
        cr_assert_eq(p->mtu, 1400);
        cr_assert(p->tx_csum_ip);
        cr_assert_not(p->tx_csum_tcp);
    }
}

Test(dispatch, what_is_nobodys_stays, .fini = free_dispatch)
{
    open_dispatch(2, 2);
    for (unsigned q = 0; q < 2; q++) {
        bring(&queues[q], 0, 0);
        gw_put_be16(queues[q].in[0] + 12, 0x0806);
    }
    for (unsigned l = 0; l < 2; l++) {
        struct gw_port *p = gw_dispatch_port(dispatch, l);
        struct gw_frame f[GW_PORT_BURST_MAX];
        cr_assert_eq(p->ops->rx(p, f, GW_PORT_BURST_MAX), 1);
        cr_assert_eq(f[0].data, queues[l].in[0]);
        p->ops->rx_release(p, f, 1);
    }
    cr_assert_all_released();
}

static unsigned connection_of(unsigned lcore)
{
    unsigned c = 0;
    while (lcore_of(c) != lcore)
        c++;
    return c;
}

Test(dispatch, checksum_and_hash_of_the_device_go_along, .fini = free_dispatch)
{
    open_dispatch(2, 1);
    unsigned c = connection_of(0);
    for (unsigned i = 0; i < 6; i++) {
        bring(&queues[0], c, i);
        queues[0].hash[i] = 1; /* the card's hash is the rule: slot 1 is lcore 1's */
    }
    struct gw_port *a = gw_dispatch_port(dispatch, 0), *b = gw_dispatch_port(dispatch, 1);
    struct gw_frame f[GW_PORT_BURST_MAX];
    cr_assert_eq(a->ops->rx(a, f, GW_PORT_BURST_MAX), 0);
    cr_assert_all_released();
    cr_assert_eq(b->ops->rx(b, f, GW_PORT_BURST_MAX), 6);
    for (unsigned i = 0; i < 6; i++) {
        cr_assert_eq(f[i].rss_hash, 1);
        cr_assert_eq(f[i].csum_ok, i % 3 == 0);
    }
    b->ops->rx_release(b, f, 6);
}

/* A lcore that does not come costs the others nothing, and gets on when it comes. */
Test(dispatch, a_full_handover_drops_and_recovers, .fini = free_dispatch)
{
    enum { FRAMES = 6000 };
    open_dispatch(2, 1);
    memset(numbers, 0, sizeof(numbers));
    unsigned mine = connection_of(0), other = connection_of(1);
    for (uint32_t i = 0; i < FRAMES; i++) {
        bring(&queues[0], mine, i);
        bring(&queues[0], other, i);
    }
    unsigned got = 0;
    while (queues[0].in_next < queues[0].in_count)
        got += pass(0);
    cr_assert_eq(got, FRAMES);
    cr_assert_all_released();
    uint64_t given = count(0, "rx_handed_over");
    cr_assert_geq(given, GW_DISPATCH_BYTES / 128 - 1);
    cr_assert_lt(given, FRAMES);
    cr_assert_eq(count(0, "drop_rx_full"), FRAMES - given);
    got = 0;
    for (unsigned n; (n = pass(1)) > 0;)
        got += n;
    cr_assert_eq(got, given, "all that was not dropped, in order");
    bring(&queues[0], other, (uint32_t)given);
    pass(0);
    cr_assert_eq(pass(1), 1);
}

Test(dispatch, a_busy_queue_does_not_starve_what_others_bring, .fini = free_dispatch)
{
    open_dispatch(2, 2);
    memset(numbers, 0, sizeof(numbers));
    unsigned one = connection_of(0), two = one + 1;
    while (lcore_of(two) != 0)
        two++;
    for (uint32_t i = 0; i < 1000; i++) {
        bring(&queues[0], one, i);
        bring(&queues[1], two, i);
    }
    while (queues[1].in_next < queues[1].in_count)
        pass(1);
    for (int i = 0; i < 10; i++)
        pass(0);
    cr_assert_geq(numbers[one], 10 * GW_PORT_BURST_MAX / 2);
    cr_assert_geq(numbers[two], 10 * GW_PORT_BURST_MAX / 2);
}

/* ---- out ---- */

static bool send_number(unsigned lcore, uint32_t number, uint32_t gso_bytes)
{
    struct gw_port *p = gw_dispatch_port(dispatch, lcore);
    uint8_t bytes[8];
    gw_put_be32(bytes, lcore);
    gw_put_be32(bytes + 4, number);
    struct gw_bytes pieces[] = {gw_bytes(bytes + 4, 1), gw_bytes(bytes + 5, 3)};
    return p->ops->tx(p, bytes, 4, pieces, 2, gso_bytes);
}

static unsigned flush(unsigned lcore)
{
    struct gw_port *p = gw_dispatch_port(dispatch, lcore);
    return p->ops->tx_flush(p);
}

Test(dispatch, frames_leave_by_the_queue_of_another, .fini = free_dispatch)
{
    open_dispatch(5, 2);
    for (uint32_t i = 0; i < 100; i++)
        for (unsigned l = 0; l < 5; l++)
            cr_assert(send_number(l, i, l * 100));
    for (unsigned l = 2; l < 5; l++) {
        cr_assert_eq(flush(l), 100);
        cr_assert_eq(flush(l), 0);
    }
    cr_assert_eq(queues[0].out_count, 100, "its own went at once, nobody has sent the others yet");
    flush(0);
    flush(1);
    cr_assert(queues[0].flushed && queues[1].flushed);
    cr_assert_eq(queues[0].out_count, 300);
    cr_assert_eq(queues[1].out_count, 200);
    for (unsigned q = 0; q < 2; q++) {
        uint32_t next[5] = {0};
        for (unsigned i = 0; i < queues[q].out_count; i++) {
            uint32_t l = gw_be32(queues[q].out[i]);
            cr_assert_eq(l % 2, q);
            cr_assert_eq(gw_be32(queues[q].out[i] + 4), next[l]++);
            cr_assert_eq(queues[q].out_header_len[i], 4);
            cr_assert_eq(queues[q].out_gso[i], l * 100);
        }
    }
    cr_assert_eq(count(4, "tx_handed_over"), 100);
    cr_assert_eq(count(0, "tx_taken"), 200);
    cr_assert_eq(count(1, "tx_taken"), 100);
}

Test(dispatch, a_device_without_room_pushes_back_and_loses_nothing, .fini = free_dispatch)
{
    open_dispatch(2, 1);
    queues[0].out_room = 10;
    uint32_t sent = 0;
    for (unsigned round = 0; count(1, "tx_full") == 0; round++) {
        cr_assert_lt(round, FRAMES_MAX);
        for (int i = 0; i < 100 && send_number(1, sent, 0); i++)
            sent++;
        flush(1);
        flush(0);
        cr_assert_eq(queues[0].out_count, 10);
    }
    queues[0].out_room = FRAMES_MAX;
    cr_assert_lt(sent, FRAMES_MAX - 20);
    for (int i = 0; i < 100; i++)
        flush(0);
    cr_assert_eq(queues[0].out_count, sent);
    cr_assert(send_number(1, sent++, 0));
    flush(1);
    flush(0);
    cr_assert_eq(queues[0].out_count, sent);
    for (uint32_t i = 0; i < sent; i++)
        cr_assert_eq(gw_be32(queues[0].out[i] + 4), i);
}
