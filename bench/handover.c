/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs to hand a frame to another core: the hash that says so, and the two ways to do it,
 * copied into a run of bytes (port/handover.h) or as a pointer with a second ring that brings it back.
 * In both the producer reads the headers, as who dispatches does, and the consumer reads every byte.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "../dataplane/base/ring.h"
#include "../dataplane/port/handover.h"
#include "../dataplane/port/steer_int.h"
#include "measure.h"

#define FRAMES        4000000u
#define BURST         32u
#define BUFFERS       4096u
#define BUFFER_BYTES  2176u
#define HANDOVER_SIZE (512u << 10)
#define HASHES        20000000u

struct run {
    uint32_t len;
    bool copy;
    struct handover *handover;
    struct gw_ring *there, *back;
    uint8_t *buffers;
    uint64_t sum;
};

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    check(sched_setaffinity(0, sizeof(set), &set) == 0);
}

static uint64_t read_all(const uint8_t *p, uint32_t len)
{
    uint64_t sum = 0, word;
    for (uint32_t i = 0; i + 8 <= len; i += 8) {
        memcpy(&word, p + i, 8);
        sum += word;
    }
    return sum;
}

/* ---- copied ---- */

static void produce_copies(struct run *r)
{
    uint32_t buffer = 0;
    for (uint32_t n = 0; n < FRAMES;) {
        for (unsigned i = 0; i < BURST && n < FRAMES; i++) {
            struct handover_frame *f = handover_put(r->handover, r->len);
            if (f == NULL)
                break;
            memcpy(f->data, r->buffers + (size_t)buffer * BUFFER_BYTES, r->len);
            buffer = (buffer + 1) % BUFFERS;
            n++;
        }
        handover_publish(r->handover);
    }
}

static void consume_copies(struct run *r)
{
    for (uint32_t n = 0; n < FRAMES;) {
        const struct handover_frame *f;
        for (unsigned i = 0; i < BURST && (f = handover_next(r->handover)) != NULL; i++, n++) {
            r->sum += read_all(f->data, f->len);
            handover_take(r->handover);
        }
        handover_release(r->handover);
    }
}

/* ---- pointers ---- */

static void produce_pointers(struct run *r)
{
    uint8_t *returned[BURST];
    uint64_t headers = 0;
    for (uint32_t i = 0; i < BUFFERS / 2; i++) {
        uint8_t *p = r->buffers + (size_t)i * BUFFER_BYTES;
        check(gw_ring_push(r->back, &p));
    }
    for (uint32_t n = 0; n < FRAMES;) {
        unsigned got = gw_ring_pop(r->back, returned, BURST);
        for (unsigned i = 0; i < got; i++) {
            headers += read_all(returned[i], 54);
            check(gw_ring_push(r->there, &returned[i]));
        }
        n += got;
    }
    r->sum += headers;
}

static void consume_pointers(struct run *r)
{
    uint8_t *taken[BURST];
    for (uint32_t n = 0; n < FRAMES;) {
        unsigned got = gw_ring_pop(r->there, taken, BURST);
        for (unsigned i = 0; i < got; i++) {
            r->sum += read_all(taken[i], r->len);
            check(gw_ring_push(r->back, &taken[i]));
        }
        n += got;
    }
}

/* ---- both ---- */

static void *consumer(void *arg)
{
    struct run *r = arg;
    pin(1);
    if (r->copy)
        consume_copies(r);
    else
        consume_pointers(r);
    return NULL;
}

static double measure(uint32_t len, bool copy)
{
    struct run r = {.len = len, .copy = copy};
    pthread_t thread;
    r.buffers = aligned_alloc(64, (size_t)BUFFERS * BUFFER_BYTES);
    check(r.buffers != NULL);
    memset(r.buffers, 1, (size_t)BUFFERS * BUFFER_BYTES);
    check(handover_open(&r.handover, HANDOVER_SIZE) == 0);
    check(gw_ring_open(&r.there, "there", sizeof(void *), BUFFERS) == 0);
    check(gw_ring_open(&r.back, "back", sizeof(void *), BUFFERS) == 0);
    double began = now_s();
    check(pthread_create(&thread, NULL, consumer, &r) == 0);
    if (copy)
        produce_copies(&r);
    else
        produce_pointers(&r);
    pthread_join(thread, NULL);
    double took = now_s() - began;
    check(r.sum != 0);
    handover_free(&r.handover);
    gw_ring_free(&r.there);
    gw_ring_free(&r.back);
    free(r.buffers);
    return took / FRAMES * 1e9;
}

static void measure_hash(unsigned len)
{
    static const uint8_t key[GW_STEER_KEY_BYTES] = "a key of fifty-two bytes, whatever they may be: 123";
    static struct gw_steer s;
    uint8_t tuple[STEER_TUPLE_BYTES_MAX] = {10, 77, 0, 1, 10, 77, 0, 2};
    gw_steer_init(&s, key, 2, GW_STEER_SLOTS_MAX);
    for (int gfni = 0; gfni <= s.gfni; gfni++) {
        uint32_t sum = 0;
        double began = now_s();
        for (uint32_t i = 0; i < HASHES; i++) {
            memcpy(tuple + len - 4, &i, 4);
            sum += gfni ? steer_hash_gfni(&s, tuple, len) : steer_hash_plain(&s, tuple, len);
        }
        printf("hash of %u bytes, %-5s  %6.1f ns   (%08x)\n", len, gfni ? "GFNI" : "plain",
               (now_s() - began) / HASHES * 1e9, sum);
    }
}

int main(void)
{
    static const uint32_t lens[] = {66, 256, 600, 1514};
    pin(0);
    measure_hash(12);
    measure_hash(36);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        double copied = measure(lens[i], true), pointed = measure(lens[i], false);
        printf("frame of %4u bytes      copied %6.1f ns   by pointer and back %6.1f ns\n", lens[i],
               copied, pointed);
    }
    return 0;
}
