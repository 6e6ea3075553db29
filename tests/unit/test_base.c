/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>

#include "../../dataplane/base/arena.h"
#include "../../dataplane/base/ring.h"
#include "../../dataplane/base/siphash.h"
#include "../../dataplane/base/slab.h"

Test(region, is_aligned_and_zeroed)
{
    struct gw_region r;
    cr_assert_eq(gw_region_open(&r, "test", 5 << 20, GW_PAGES_SMALL), 0);
    cr_assert_eq((uintptr_t)r.base % (2 << 20), 0);
    cr_assert_eq(r.bytes, 6 << 20);
    for (size_t i = 0; i < r.bytes; i += 4096)
        cr_assert_eq(((char *)r.base)[i], 0);
    gw_region_close(&r);
    cr_assert_null(r.base);
}

Test(slab, hands_out_each_index_once_until_full)
{
    struct gw_slab s;
    cr_assert_eq(gw_slab_open(&s, "test", 64, 100, GW_PAGES_SMALL), 0);
    bool seen[101] = {false};
    for (int i = 0; i < 100; i++) {
        uint32_t n = gw_slab_alloc(&s);
        cr_assert(n >= 1 && n <= 100);
        cr_assert_not(seen[n]);
        seen[n] = true;
    }
    cr_assert_eq(gw_slab_alloc(&s), 0);
    gw_slab_free(&s, 42);
    gw_slab_free(&s, 7);
    cr_assert_eq(gw_slab_alloc(&s), 7);
    cr_assert_eq(gw_slab_alloc(&s), 42);
    cr_assert_eq(gw_slab_alloc(&s), 0);
    cr_assert_eq(s.used_count, 100);
    gw_slab_close(&s);
}

Test(slab, keeps_what_it_has_promised)
{
    struct gw_slab s;
    cr_assert_eq(gw_slab_open(&s, "test", 64, 3, GW_PAGES_SMALL), 0);
    gw_slab_promise(&s);
    gw_slab_promise(&s);
    cr_assert_eq(gw_slab_alloc(&s), 1);
    cr_assert_eq(s.used_count, 3, "what is promised counts");
    cr_assert_eq(gw_slab_redeem(&s), 2);
    gw_slab_release(&s);
    cr_assert_eq(s.used_count, 2);
    cr_assert_eq(gw_slab_alloc(&s), 3);
    cr_assert_eq(gw_slab_alloc(&s), 0);
    gw_slab_close(&s);
}

Test(arena, a_chunk_that_is_mostly_free_is_not_refilled)
{
    enum { BLOCKS = (2 << 20) / 65536 };
    struct gw_arena *a;
    gw_block old[BLOCKS], young[BLOCKS];
    cr_assert_eq(gw_arena_open(&a, "test", 4 << 20, GW_PAGES_SMALL), 0);
    for (unsigned i = 0; i < BLOCKS; i++)
        old[i] = gw_arena_get(a, 65536);
    for (unsigned i = 0; i < BLOCKS; i++)
        young[i] = gw_arena_get(a, 65536);
    gw_arena_put(a, old[0]);
    gw_arena_put(a, young[0]);
    gw_arena_put(a, old[1]);
    cr_assert_eq(gw_arena_get(a, 65536), old[1], "the last that came back");
    for (unsigned i = 1; i < BLOCKS - 2; i++)
        gw_arena_put(a, old[i]);
    gw_arena_put(a, young[1]);
    gw_arena_put(a, old[BLOCKS - 2]);
    cr_assert_eq(gw_arena_get(a, 65536), young[1], "not where most is free");
    gw_arena_put(a, old[BLOCKS - 1]);
    cr_assert_neq(gw_arena_get(a, 1 << 20), 0, "the chunk serves another size");
    gw_arena_free(&a);
}

Test(arena, class_sizes)
{
    struct gw_arena *a;
    cr_assert_eq(gw_arena_open(&a, "test", 64 << 20, GW_PAGES_SMALL), 0);
    static const struct {
        size_t ask, get;
    } cases[] = {{0, 64},      {1, 64},       {64, 64},         {65, 128},
                 {128, 128},   {129, 256},    {4096, 4096},     {4097, 8192},
                 {65536, 65536}, {65537, 131072}, {1 << 20, 1 << 20}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        gw_block b = gw_arena_get(a, cases[i].ask);
        cr_assert_neq(b, 0);
        cr_assert_eq(gw_arena_block_bytes(a, b), cases[i].get, "%zu", cases[i].ask);
        gw_arena_put(a, b);
    }
    cr_assert_eq(gw_arena_used_bytes(a), 0);
    gw_arena_free(&a);
    cr_assert_null(a);
}

/* Random gets and puts against a shadow: no two live blocks overlap, all memory comes back. */
Test(arena, random_use_never_overlaps_and_returns_everything)
{
    struct gw_arena *a;
    cr_assert_eq(gw_arena_open(&a, "test", 16 << 20, GW_PAGES_SMALL), 0);
    enum { LIVE = 2000, STEPS = 200000 };
    static struct {
        gw_block b;
        uint32_t len;
        uint8_t fill;
    } live[LIVE];
    unsigned seed = 1;
    unsigned refused = 0;
    for (int step = 0; step < STEPS; step++) {
        int i = rand_r(&seed) % LIVE;
        if (live[i].b) {
            uint8_t *p = gw_arena_ptr(a, live[i].b);
            cr_assert_eq(p[0], live[i].fill);
            cr_assert_eq(p[live[i].len - 1], live[i].fill);
            gw_arena_put(a, live[i].b);
            live[i].b = 0;
            continue;
        }
        live[i].len = 1 + (uint32_t)rand_r(&seed) % (1u << (6 + rand_r(&seed) % 11));
        live[i].b = gw_arena_get(a, live[i].len);
        if (live[i].b == 0) {
            refused++;
            continue;
        }
        live[i].fill = (uint8_t)rand_r(&seed);
        memset(gw_arena_ptr(a, live[i].b), live[i].fill, live[i].len);
    }
    for (int i = 0; i < LIVE; i++)
        gw_arena_put(a, live[i].b);
    cr_assert_eq(gw_arena_used_bytes(a), 0);
    /* Everything came back to the pool: each class can use all of it again. */
    unsigned n = 0;
    static gw_block big[16];
    while (n < 16 && (big[n] = gw_arena_get(a, 1 << 20)) != 0)
        n++;
    cr_assert_eq(n, 16);
    cr_assert_eq(gw_arena_get(a, 64), 0, "full");
    gw_arena_free(&a);
    cr_assert_gt(refused, 0, "the test must also have filled the arena");
}

/* All that there is of one size, and a block in each chunk of it kept: the others are served still, and
 * what they give back is lent to nobody. */
Test(arena, who_takes_all_of_one_size_starves_no_other)
{
    struct gw_arena *a;
    static gw_block small[1 << 20];
    uint32_t n = 0;
    cr_assert_eq(gw_arena_open(&a, "test", GW_ARENA_FAIR_BYTES + (4 << 20), GW_PAGES_SMALL), 0);
    while ((small[n] = gw_arena_get(a, 64)) != 0)
        n++;
    cr_assert_eq(n, (6 << 20) / 64, "its own chunk, and those that are owed to none");
    for (uint32_t i = 0; i < n; i++)
        if (i % 1000 != 0)
            gw_arena_put(a, small[i]);
    for (unsigned round = 0; round < 2; round++)
        for (size_t bytes = 128; bytes <= GW_ARENA_BLOCK_BYTES_MAX; bytes *= 2) {
            gw_block b = gw_arena_get(a, bytes), other = gw_arena_get(a, bytes);
            cr_assert_neq(b, 0, "%zu", bytes);
            cr_assert_neq(other, 0, "%zu", bytes);
            gw_arena_put(a, b);
            gw_arena_put(a, other);
        }
    for (uint32_t i = 0; i < n; i += 1000)
        gw_arena_put(a, small[i]);
    cr_assert_eq(gw_arena_used_bytes(a), 0);
    gw_arena_free(&a);
}

Test(arena, double_free_stops_the_process, .signal = SIGABRT)
{
    struct gw_arena *a;
    cr_assert_eq(gw_arena_open(&a, "test", 4 << 20, GW_PAGES_SMALL), 0);
    gw_block keep = gw_arena_get(a, 64);
    gw_block b = gw_arena_get(a, 64);
    (void)keep;
    gw_arena_put(a, b);
    gw_arena_put(a, b);
}

Test(ring, keeps_order_and_says_when_full)
{
    struct gw_ring *r;
    cr_assert_eq(gw_ring_open(&r, "test", 64, 8), 0);
    uint64_t m[8] = {0};
    uint64_t pushed = 0, popped = 0;
    while (gw_ring_room(r) > 0) {
        m[0] = pushed++;
        cr_assert(gw_ring_push(r, m));
    }
    cr_assert_geq(pushed, 8);
    cr_assert_not(gw_ring_push(r, m));
    uint64_t out[4][8];
    unsigned n;
    while ((n = gw_ring_pop(r, out, 4)) > 0)
        for (unsigned i = 0; i < n; i++)
            cr_assert_eq(out[i][0], popped++);
    cr_assert_eq(popped, pushed);
    gw_ring_free(&r);
}

/* Vectors from the reference implementation of the authors: key 00..0f, message 00..len-1. */
Test(siphash, reference_vectors)
{
    struct gw_sipkey k = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};
    uint8_t m[64];
    for (int i = 0; i < 64; i++)
        m[i] = (uint8_t)i;
    cr_assert_eq(gw_siphash(&k, m, 0), 0x726fdb47dd0e0e31ull);
    cr_assert_eq(gw_siphash(&k, m, 1), 0x74f839c593dc67fdull);
    cr_assert_eq(gw_siphash(&k, m, 8), 0x93f5f5799a932462ull);
    cr_assert_eq(gw_siphash(&k, m, 15), 0xa129ca6149be45e5ull);
    cr_assert_eq(gw_siphash_1_3(&k, m, 0), 0xabac0158050fc4dcull);
}
