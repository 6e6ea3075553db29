/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lcore with a port, the network layer and TCP, and nothing above: what the programs here that
 * measure the stack itself run on. The program gives TCP's upcalls.
 */
#ifndef BENCH_STACK_H
#define BENCH_STACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

#include "../../dataplane/base/arena.h"
#include "../../dataplane/net/net.h"
#include "../../dataplane/port/dpdk.h"
#include "../../dataplane/port/eal.h"
#include "../../dataplane/tcp/counters.h"
#include "../../dataplane/tcp/tcp.h"

struct stack_config {
    const char *name;   /* of DPDK's run-time directory and the memory regions */
    const char *device; /* as in the broker's configuration */
    struct gw_ip_prefix network; /* our address, and what is on the link */
    struct gw_ip_prefix range;   /* more addresses of ours; bits 0: none */
    uint16_t mtu; /* IP packet bytes */
    int cpu;      /* of the lcore; all else runs on the last one */
    bool huge_pages;
    uint32_t conn_limit;
    uint32_t time_wait_limit;
    uint32_t window_bytes; /* each way, of one connection */
    uint32_t arena_mib;
};

struct stack {
    struct gw_eal *eal;
    struct gw_dpdk *dpdk;
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

/* 0, or negative errno after a message on standard error. Once in the life of a process. */
int stack_open(struct stack *s, const struct stack_config *cfg, const struct gw_tcp_upcalls *up,
               void *ctx);
void stack_close(struct stack *s);

/* Connects to one of the server's ports, from an address of ours, of the range when there is one. When
 * the ports between the two are used up, from the next address to the next port. 0, or as
 * gw_tcp_connect. */
int stack_connect(struct stack *s, const struct gw_ip *server, uint16_t port, uint16_t port_count,
                  gw_conn *out);

/* On the lcore: receive, time, send. Returns how much there was to do. */
unsigned stack_pass(struct stack *s);
/* Runs `turn` on the lcore until it returns false, gives the CPU away after turns without work.
 * `turn` calls stack_pass and returns its work through *work. 0 or negative errno. */
typedef bool (*stack_turn_fn)(void *ctx, unsigned *work);
int stack_run(struct stack *s, stack_turn_fn turn, void *ctx);

/* All counters that are not zero, and what the lcore cost. */
void stack_print(const struct stack *s);

#endif
