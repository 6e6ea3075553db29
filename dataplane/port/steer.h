/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which lcore a packet belongs to: the Toeplitz hash of receive side scaling, and a table from its
 * low bits to lcores. Network cards compute the same, so hardware and software agree.
 *
 * The hash goes over source address, destination address and, for TCP that is not a fragment, the
 * ports, in network order as they lie in a packet to us. The key is the broker's own choice, random
 * at start: with a public one a client could choose its port so that all its connections meet on
 * one core.
 *
 * Any thread; nothing changes after gw_steer_init.
 */
#ifndef GW_PORT_STEER_H
#define GW_PORT_STEER_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/ip.h"

#define GW_STEER_KEY_BYTES 52 /* as many as any card takes; the hash of an IPv6 tuple uses 40 */
#define GW_STEER_SLOTS_MAX 512
#define GW_STEER_LCORES_MAX 64

struct gw_steer {
    uint64_t matrices[GW_STEER_KEY_BYTES]; /* the key as GF(2) matrices, for GFNI */
    uint32_t words[GW_STEER_KEY_BYTES / 4]; /* the key in the machine's order */
    uint8_t key[GW_STEER_KEY_BYTES];
    bool gfni;
    uint8_t lcore_count;
    uint32_t slot_mask;
    uint8_t lcores[GW_STEER_SLOTS_MAX]; /* by the hash's low bits */
};

/* `slots`, a power of two of at most GW_STEER_SLOTS_MAX, is the length of the table: a card's own
 * where a card spreads, else GW_STEER_SLOTS_MAX. */
void gw_steer_init(struct gw_steer *s, const uint8_t key[GW_STEER_KEY_BYTES], unsigned lcore_count,
                   unsigned slots);

/* Of packets that come from `remote` to `local`; ports in host order. */
uint32_t gw_steer_hash_tcp(const struct gw_steer *s, const struct gw_ip *remote,
                           const struct gw_ip *local, uint16_t remote_port, uint16_t local_port);
/* The lcore on which segments of this connection arrive. Who opens a connection draws its port until
 * this is the lcore that it runs on. */
unsigned gw_steer_lcore_of_tcp(const struct gw_steer *s, const struct gw_ip *remote,
                               const struct gw_ip *local, uint16_t remote_port,
                               uint16_t local_port);

/* Of a frame, from its Ethernet header on. False when no lcore has more to do with it than any other:
 * not IP, or cut short. IPv6 extension headers are stepped over within a bound. */
bool gw_steer_hash_frame(const struct gw_steer *s, const uint8_t *frame, uint32_t len,
                         uint32_t *hash);

static inline unsigned gw_steer_lcore_of_hash(const struct gw_steer *s, uint32_t hash)
{
    return s->lcores[hash & s->slot_mask];
}

#endif
