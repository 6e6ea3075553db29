/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lcores with a port each, the network layer and TCP, and nothing above: what the programs here that
 * measure the stack itself run on. The program gives TCP's upcalls.
 *
 * A `struct stack` is one lcore's. The first one opens the device for all and frees it; segments of a
 * connection come to the lcore that opened it, which draws its port for that.
 */
#ifndef BENCH_STACK_H
#define BENCH_STACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

#include "../../dataplane/base/arena.h"
#include "../../dataplane/net/net.h"
#include "../../dataplane/base/ring.h"
#include "../../dataplane/port/eal.h"
#include "../../dataplane/port/ports.h"
#include "../../dataplane/tcp/counters.h"
#include "../../dataplane/tcp/tcp.h"

#define STACK_LCORES_MAX 8u

struct stack_config {
    const char *name;   /* of DPDK's run-time directory and the memory regions */
    const char *device; /* as in the broker's configuration */
    struct gw_ip_prefix network; /* our address, and what is on the link */
    struct gw_ip_prefix range;   /* more addresses of ours; bits 0: none */
    uint16_t mtu; /* IP packet bytes */
    int cpu;      /* of the first lcore, the others follow; all else runs on the last one */
    unsigned lcore_count; /* up to STACK_LCORES_MAX; 0: one */
    unsigned queue_count; /* 0: one for each lcore where the device can */
    bool huge_pages;
    uint32_t conn_limit;
    uint32_t time_wait_limit;
    uint32_t window_bytes; /* each way, of one connection */
    uint32_t arena_mib;
};

struct stack {
    struct gw_eal *eal;     /* the first one's */
    struct gw_ports *ports; /* the same for all */
    unsigned lcore, lcore_count;
    struct stack **all;     /* by lcore */
    struct gw_ring *heard[STACK_LCORES_MAX]; /* packets of ARP and NDP, by the lcore that got them */
    struct gw_port *port;
    struct gw_net *net;
    struct gw_tcp *tcp;
    struct gw_arena *arena;
    struct gw_ip_prefix network, range; /* as configured */
    uint32_t place;    /* from which address of ours to which port of the server */
    uint32_t at_place; /* connections that have been opened there */
    uint64_t now_us; /* of the pass */
    uint64_t passes, busy_passes;
    uint64_t busy_us; /* spent in passes that found work, and in what was done between them */
    unsigned last_work;
    struct rusage usage; /* of the lcore, when it has ended */
};

uint64_t stack_clock_us(void);

/* The number that an option of this program has, or the program ends. */
uint32_t stack_number(const char *program, const char *option, const char *text, uint32_t min,
                      uint32_t max);

/* Upcalls of programs that have nothing to do then, or only to answer a FIN with ours: ctx is the
 * stack, or begins with it. */
void stack_ignore_acked(void *ctx, gw_conn c, uint64_t position);
void stack_ignore_deadline(void *ctx, gw_conn c);
void stack_close_too(void *ctx, gw_conn c);

/* The first lcore's, with the device. 0, or negative errno after a message on standard error. Once in
 * the life of a process. */
int stack_open(struct stack *s, const struct stack_config *cfg, const struct gw_tcp_upcalls *up,
               void *ctx);
/* The next lcore's, of those that the first was configured for. */
int stack_open_next(struct stack *s, struct stack *first, const struct stack_config *cfg,
                    const struct gw_tcp_upcalls *up, void *ctx);
/* The first one's last. */
void stack_close(struct stack *s);

/* Connects to one of the server's ports, from an address of ours, of the range when there is one. When
 * the ports between the two are used up, from the next address to the next port. 0, or as
 * gw_tcp_connect. */
int stack_connect(struct stack *s, const struct gw_ip *server, uint16_t port, uint16_t port_count,
                  gw_conn *out);

/* On the lcore: receive, time, send. Returns how much there was to do. */
unsigned stack_pass(struct stack *s);
/* Runs `turn` on each lcore, with its ctx, until it has returned false on all of them; gives the CPU
 * away after turns without work. `turn` calls stack_pass and returns its work through *work. 0 or
 * negative errno. */
typedef bool (*stack_turn_fn)(void *ctx, unsigned *work);
int stack_run(struct stack *first, stack_turn_fn turn, void *const *ctxs);

/* Frames that came to another lcore than the one they belong to, over all lcores. */
uint64_t stack_handed_over(const struct stack *first);

/* All counters that are not zero, and what the lcore cost. */
void stack_print(const struct stack *s);

#endif
