/* SPDX-License-Identifier: Apache-2.0 */
/* The hash of receive side scaling against the published test vectors, and where frames go. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "../../dataplane/base/bytes.h"
#include "../../dataplane/port/steer.h"
#include "../../dataplane/port/steer_int.h"

#define FRAME_BYTES 256

/* The key and the vectors by which implementations of RSS are verified. */
static const uint8_t verification_key[GW_STEER_KEY_BYTES] = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

static const struct vector {
    const char *to, *from;
    uint16_t to_port, from_port;
    uint32_t addresses_hash, tcp_hash;
} vectors[] = {
    {"161.142.100.80", "66.9.149.187", 1766, 2794, 0x323e8fc2, 0x51ccc178},
    {"65.69.140.83", "199.92.111.2", 4739, 14230, 0xd718262a, 0xc626b0ea},
    {"12.22.207.184", "24.19.198.95", 38024, 12898, 0xd2d0a5de, 0x5c2b394a},
    {"209.142.163.6", "38.27.205.30", 2217, 48228, 0x82989176, 0xafc7327f},
    {"202.188.127.2", "153.39.163.191", 1303, 44251, 0x5d1809c5, 0x10e828a2},
    {"3ffe:2501:200:3::1", "3ffe:2501:200:1fff::7", 1766, 2794, 0x2cc18cd5, 0x40207d3d},
    {"ff02::1", "3ffe:501:8::260:97ff:fe40:efab", 4739, 14230, 0x0f0c461c, 0xdde51bbf},
    {"fe80::200:f8ff:fe21:67cf", "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 38024, 44251, 0x4b61e985,
     0x02d1feef},
};

#define VECTORS (sizeof(vectors) / sizeof(vectors[0]))

static struct gw_ip ip_of(const char *text)
{
    struct gw_ip ip;
    cr_assert(gw_ip_parse(text, &ip));
    return ip;
}

enum between { NOTHING, OPTIONS, FRAGMENT };

/* A frame from and to what the vector names; returns its length. */
static uint32_t frame_of(const struct vector *v, uint8_t protocol, enum between between,
                         uint8_t f[FRAME_BYTES])
{
    struct gw_ip from = ip_of(v->from), to = ip_of(v->to);
    uint8_t *ip = f + 14, *ports;
    memset(f, 0xa5, FRAME_BYTES);
    if (gw_ip_is_v4(&to)) {
        gw_put_be16(f + 12, 0x0800);
        ip[0] = between == OPTIONS ? 0x47 : 0x45;
        gw_put_be16(ip + 6, between == FRAGMENT ? 0x2000 : 0x4000);
        ip[9] = protocol;
        memcpy(ip + 12, from.b + 12, 4);
        memcpy(ip + 16, to.b + 12, 4);
        ports = ip + (between == OPTIONS ? 28 : 20);
    } else {
        gw_put_be16(f + 12, 0x86dd);
        ip[6] = between == NOTHING ? protocol : between == OPTIONS ? 60 : 44;
        memcpy(ip + 8, from.b, 16);
        memcpy(ip + 24, to.b, 16);
        ip[40] = between == OPTIONS ? 43 : protocol; /* destination options, routing, TCP */
        ip[41] = 1;
        ip[56] = protocol;
        ip[57] = 0;
        ports = ip + (between == OPTIONS ? 64 : between == FRAGMENT ? 48 : 40);
        if (between == NOTHING)
            ports = ip + 40;
    }
    gw_put_be16(ports, v->from_port);
    gw_put_be16(ports + 2, v->to_port);
    return (uint32_t)(ports + 20 - f);
}

static struct gw_steer steer_with(bool gfni, unsigned lcores)
{
    struct gw_steer s;
    gw_steer_init(&s, verification_key, lcores, GW_STEER_SLOTS_MAX);
    s.gfni = gfni && s.gfni;
    return s;
}

static void cr_assert_hash(const struct gw_steer *s, const uint8_t *f, uint32_t len,
                           uint32_t expected)
{
    uint32_t hash;
    cr_assert(gw_steer_hash_frame(s, f, len, &hash));
    cr_assert_eq(hash, expected, "%08x instead of %08x", hash, expected);
}

static void cr_assert_vectors(bool gfni)
{
    struct gw_steer s = steer_with(gfni, 2);
    for (unsigned i = 0; i < VECTORS; i++) {
        const struct vector *v = &vectors[i];
        struct gw_ip from = ip_of(v->from), to = ip_of(v->to);
        cr_assert_eq(gw_steer_hash_tcp(&s, &from, &to, v->from_port, v->to_port), v->tcp_hash,
                     "vector %u", i);
        uint8_t f[FRAME_BYTES];
        uint32_t len = frame_of(v, 6, NOTHING, f);
        cr_assert_hash(&s, f, len, v->tcp_hash);
        len = frame_of(v, 6, OPTIONS, f);
        cr_assert_hash(&s, f, len, v->tcp_hash);
        len = frame_of(v, 17, NOTHING, f);
        cr_assert_hash(&s, f, len, v->addresses_hash);
        len = frame_of(v, 6, FRAGMENT, f);
        cr_assert_hash(&s, f, len, v->addresses_hash);
    }
}

Test(steer, agrees_with_the_published_vectors)
{
    cr_assert_vectors(false);
}

/* On a CPU without GFNI this is the test above once more. */
Test(steer, agrees_with_the_published_vectors_by_gfni)
{
    cr_assert_vectors(true);
}

Test(steer, both_forms_of_the_hash_agree)
{
    uint8_t key[GW_STEER_KEY_BYTES], bytes[STEER_TUPLE_BYTES_MAX];
    struct gw_steer s;
    srand(7);
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < sizeof(key); i++)
            key[i] = (uint8_t)rand();
        gw_steer_init(&s, key, 3, 128);
        for (unsigned len = 8; len <= sizeof(bytes); len += 4) {
            for (unsigned i = 0; i < len; i++)
                bytes[i] = (uint8_t)rand();
            uint32_t plain = steer_hash_plain(&s, bytes, len);
            cr_assert_eq(s.gfni ? steer_hash_gfni(&s, bytes, len) : plain, plain);
        }
    }
}

Test(steer, frames_that_are_nobodys)
{
    struct gw_steer s = steer_with(true, 2);
    uint8_t f[FRAME_BYTES] = {0};
    uint32_t hash;
    gw_put_be16(f + 12, 0x0806);
    cr_assert_not(gw_steer_hash_frame(&s, f, 60, &hash), "ARP");
    frame_of(&vectors[0], 6, NOTHING, f);
    for (uint32_t len = 0; len < 34; len++)
        cr_assert_not(gw_steer_hash_frame(&s, f, len, &hash), "IPv4 cut to %u", len);
    cr_assert(gw_steer_hash_frame(&s, f, 34, &hash));
    frame_of(&vectors[5], 6, NOTHING, f);
    for (uint32_t len = 0; len < 54; len++)
        cr_assert_not(gw_steer_hash_frame(&s, f, len, &hash), "IPv6 cut to %u", len);
    cr_assert(gw_steer_hash_frame(&s, f, 54, &hash));
}

/* Nothing is read beyond the end, whatever the headers say: by addresses alone then. */
Test(steer, headers_that_promise_more_than_there_is)
{
    struct gw_steer s = steer_with(true, 2);
    uint8_t whole[FRAME_BYTES];
    for (unsigned i = 0; i < VECTORS; i++) {
        uint32_t end = frame_of(&vectors[i], 6, OPTIONS, whole) - 16; /* after the ports */
        cr_assert_gt(end, i < 5 ? 34 : 54);
        for (uint32_t len = i < 5 ? 34 : 54; len < end; len++) { /* the first five are IPv4 */
            uint8_t *f = malloc(len); /* the sanitizer knows where it ends */
            memcpy(f, whole, len);
            uint32_t hash;
            bool hashed = gw_steer_hash_frame(&s, f, len, &hash);
            free(f);
            cr_assert(hashed);
            cr_assert_eq(hash, vectors[i].addresses_hash, "cut to %u", len);
        }
    }
    frame_of(&vectors[0], 6, NOTHING, whole);
    whole[14] = 0x44;
    cr_assert_hash(&s, whole, 60, vectors[0].addresses_hash);
}

Test(steer, an_endless_chain_of_headers_ends)
{
    struct gw_steer s = steer_with(true, 2);
    uint8_t f[2048];
    frame_of(&vectors[5], 60, NOTHING, f);
    memset(f + 54, 0, sizeof(f) - 54);
    for (unsigned at = 54; at + 8 <= sizeof(f); at += 8)
        f[at] = 60;
    cr_assert_hash(&s, f, sizeof(f), vectors[5].addresses_hash);
}

Test(steer, every_lcore_gets_its_share)
{
    for (unsigned lcores = 1; lcores <= GW_STEER_LCORES_MAX; lcores++) {
        struct gw_steer s = steer_with(true, lcores);
        unsigned count[GW_STEER_LCORES_MAX] = {0};
        struct gw_ip from = ip_of("10.0.0.2"), to = ip_of("10.0.0.1");
        for (uint32_t port = 1024; port < 65536; port++) {
            unsigned lcore = gw_steer_lcore_of_tcp(&s, &from, &to, (uint16_t)port, 5222);
            cr_assert_lt(lcore, lcores);
            count[lcore]++;
        }
        for (unsigned i = 0; i < lcores; i++)
            cr_assert_gt(count[i], 64512 / lcores / 2, "lcore %u of %u: %u", i, lcores, count[i]);
    }
}
