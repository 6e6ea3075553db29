/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network cards of the simulated world: each has a queue a lcore, and two of them are joined by a
 * link each way. A frame carries a checksum, as on Ethernet, so that damage is seen by the card.
 */
#ifndef SIM_NIC_H
#define SIM_NIC_H

#include "../../dataplane/port/port.h"
#include "world.h"

#define NIC_QUEUES_MAX 4

struct nic;

/* The MAC address ends in `number`. Frames of a TCP connection over IPv4 come to the queue that the
 * remote port chooses, all others to the first. `digest` takes in every frame sent. */
struct nic *nic_new(struct world *w, uint8_t number, unsigned queues, uint16_t mtu,
                    uint64_t *digest);
void nic_free(struct nic **n);
/* Joins two; the numbers of the links, a's way out first, for world_heal. */
void nic_join(struct nic *a, struct nic *b, const struct world_link cfg[2], unsigned links[2]);

struct gw_port *nic_port(struct nic *n, unsigned queue);
/* Whether frames wait to be received. */
bool nic_has_frames(const struct nic *n, unsigned queue);
/* Off: what waits and what comes is lost. */
void nic_power(struct nic *n, bool on);
/* Chance that there is no room for a frame that is to be sent. */
void nic_set_refusal(struct nic *n, uint32_t ppm);
/* Frames whose TCP source or destination is this port are lost from now on, both ways: a client that
 * has gone without a word. */
void nic_cut(struct nic *n, uint16_t port);

#endif
