/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The modes of godwit-load that run on our own stack, over any DPDK port: echo, connect and bulk.
 * They measure TCP and what is below it; the other side is godwit-echo.
 *
 * One lcore does everything. What a mode counts it counts from the end of its warm-up on.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include "stack.h"

enum wire_mode_name { WIRE_ECHO, WIRE_CONNECT, WIRE_BULK };

struct wire_options {
    enum wire_mode_name mode;
    struct stack_config stack;
    struct gw_ip server;
    uint16_t port, port_count; /* of the server */
    uint32_t connections;      /* open at once; in mode connect: opening or closing at once */
    uint32_t busy;             /* of them, that have requests under way */
    uint32_t outstanding;      /* requests under way in all */
    bool uniform;              /* each request on a connection drawn from all of them */
    bool server_closes;        /* mode connect: wait for the server's FIN */
    uint32_t bytes;            /* of a request; of one write in mode bulk */
    uint32_t total;            /* mode connect: all that are opened; 0: until the time is over */
    uint32_t warmup_ms, measure_ms;
    uint32_t deadline_s; /* for everything */
    const char *json;    /* file, "-" for standard output */
};

/* What was measured. */
struct wire_result {
    uint64_t measured_us;
    uint64_t done;      /* requests answered, or connections ended in order */
    uint64_t bytes;     /* of text acknowledged, in mode bulk */
    uint64_t busy_us;   /* CPU time of the lcore, apart from turns without work */
    uint64_t altered;   /* bytes that came back other than they left */
    uint64_t lost;      /* connections that ended before their time */
    uint64_t opened;    /* connections */
    uint64_t opened_us; /* how long it took until all were open */
};

/* How many requests ahead of time their connections are drawn, so that they are in the cache. */
#define WIRE_DRAWN 32u

struct wire {
    struct stack stack; /* first: upcalls that need no more get it */
    struct wire_options o;
    struct wire_result result;
    uint64_t random;
    uint32_t opening, open;
    uint32_t begun; /* connections of mode connect, since the start */
    uint64_t start_us, measure_from_us, measure_until_us;
    bool measuring, failed;
    /* of the mode echo, by connection: messages sent (low half) and bytes received (high half) */
    struct gw_region peers;
    gw_conn drawn[WIRE_DRAWN]; /* the connections of the next requests, when they are drawn */
    unsigned drawn_count;      /* so far */
    gw_conn *conns; /* those that are open, in the order they came */
};

static inline uint64_t wire_random(struct wire *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    return w->random ^= w->random << 17;
}

struct wire_mode {
    struct gw_tcp_upcalls upcalls;
    bool (*turn)(struct wire *w); /* before each pass; false when nothing is left to do */
};

extern const struct wire_mode wire_echo, wire_connect, wire_bulk;

/* Opens one more connection, from the next address and port of ours that is free. 0, or -ENOBUFS:
 * not now. */
int wire_open_next(struct wire *w, gw_conn *out);
/* Opens what is missing of o.connections, a few hundred at a time. True when all are open. */
bool wire_open_all(struct wire *w);
/* An opened connection is established: keeps wire.opening and wire.conns. */
void wire_opened(struct wire *w, gw_conn c);

/* Upcall of modes whose connections stay: one has ended. */
void wire_lost(void *ctx, gw_conn c, enum gw_tcp_close_reason why);

/* Whether a word of the command line is one of the modes here. */
bool wire_is_mode(const char *word);
/* What the mode's word on the command line is followed by; the exit status. */
int wire_main(int argc, char **argv);

#endif
