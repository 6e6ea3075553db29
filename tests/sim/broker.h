/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole broker of the production's code in one thread: key ring, store with the engine `mem`, and
 * dataplane lcores on the queues of a simulated card. It can lose its process at any moment, and
 * another one starts on what its disk still holds.
 */
#ifndef SIM_BROKER_H
#define SIM_BROKER_H

#include <stdatomic.h>

#include "../../dataplane/core.h"
#include "../../storage/mem.h"
#include "nic.h"

#define BROKER_LCORES_MAX 2
#define BROKER_DOMAIN     "sim.test"
#define BROKER_PORT       5222

/* Of the store's clients: lcores first, then these. */
enum { BROKER_LEDGER_CLIENT, BROKER_JOB_CLIENT, BROKER_OWN_CLIENT, BROKER_EXTRA_CLIENTS };

struct broker_config {
    uint64_t seed;
    unsigned lcores;
    uint16_t mtu;
    size_t arena_bytes; /* of each lcore */
    uint64_t spill_after_us, window_bytes_max;
    uint32_t spill_file_min;
    uint64_t ping_after_us, ping_timeout_us;
    uint32_t count_first; /* of stream management, both ways */
    uint32_t mailbox_messages_max;
    uint64_t mailbox_bytes_max;
    uint64_t mailbox_age_us; /* 0: messages live for ever */
    unsigned mailbox_share_percent; /* of one sender; 0: all of it */
    uint64_t reserve_bytes;
};

struct broker {
    struct broker_config cfg;
    struct world *world;
    struct nic *nic;
    struct gw_mem_disk *disk;
    uint64_t random; /* state of the lcores' random source */
    _Atomic uint64_t expire_before_us; /* as broker_tell_age left it */
    char last_report[256]; /* what the store told its operator last */

    /* of the process that runs now; NULL: none does */
    struct gw_keyring *keys;
    struct gw_sealer *sealer; /* of whoever steps it */
    struct gw_store *store;
    struct gw_cores *cores;
};

/* No process runs yet. nic has a queue for each lcore. `wait` is how a slow write passes its time. */
void broker_init(struct broker *b, const struct broker_config *cfg, struct world *w,
                 struct nic *nic, void (*wait)(void *arg, uint64_t us), void *wait_arg);
void broker_free(struct broker *b);

/* A process starts. */
void broker_start(struct broker *b);
/* The process, or its machine, ends now. */
void broker_crash(struct broker *b, enum gw_mem_crash how);
/* What the disk did when its process was still running, below the call that noticed: the rest of a
 * crash. */
void broker_bury(struct broker *b);

/* What is too old now, as the control thread would say it. */
void broker_tell_age(struct broker *b);

/* The wall clock that belongs to the world's. */
uint64_t broker_wall_us(const struct broker *b);

/* An account of user u<number>, whose SCRAM-SHA-256 keys are these. */
void broker_add_account(struct broker *b, unsigned number, const uint8_t identity_key[32],
                        const uint8_t stored_key[32]);

/* The lcore's insides, for who looks for what was left behind. */
struct gw_core *broker_core(const struct broker *b, unsigned lcore);

#endif
