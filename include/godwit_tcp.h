/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Godwit's TCP as a shared object whose time and packets are driven from outside: for test suites,
 * simulators and fuzzers that want to see what the production code does. libgodwit-tcp.so needs
 * nothing but the C library, opens no socket, reads no clock and starts no thread.
 *
 *   struct gw_stack_config cfg = {.bytes = sizeof(cfg), .seed = 1};
 *   struct gw_stack_upcalls up = {.bytes = sizeof(up), .emit = my_emit, .established = my_accept, ..};
 *   gw_stack_open(&s, &cfg, &up, ctx, now_us);
 *   gw_stack_add_address(s, "10.0.0.1");
 *   gw_stack_listen(s, 5222);
 *   for (;;) {
 *       gw_stack_set_time(s, now_us);            // your clock, microseconds, never backwards
 *       gw_stack_push(s, packet, len);           // IP packets, as many as have come
 *       gw_stack_run(s);                         // timers, then my_emit for each packet that leaves
 *       now_us = min(gw_stack_next_us(s), when your next packet comes);
 *   }
 *
 * The same calls with the same seed give the same packets, to the byte.
 *
 * Threads: all calls on one stack come from one thread at a time; stacks know nothing of each other.
 * Upcalls are made inside of gw_stack_push, gw_stack_run and gw_stack_recv. Inside of an upcall all
 * calls are allowed but these three, gw_stack_set_time and gw_stack_close. What an upcall causes
 * leaves with the current or next gw_stack_run.
 *
 * Units: time in microseconds of a monotonic clock of yours that may begin anywhere; ports in host
 * order; sizes in bytes. Errors are negative errno values. Misuse is answered by an error, never by
 * the process's end. A connection's number is used again after its `closed` upcall.
 *
 * Structures begin with their own size, set by the caller: later versions add fields at the end, and
 * what a caller's version did not have counts as zero.
 */
#ifndef GODWIT_TCP_H
#define GODWIT_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gw_stack;

/* Raised when a call or a meaning changes; adding fields or calls does not raise it. */
#define GW_STACK_INTERFACE 1
unsigned gw_stack_interface(void);

/* ---- set-up ---- */

enum gw_stack_flags {
    GW_STACK_NEWRENO = 1 << 0, /* congestion control by RFC 5681 and 6582; else CUBIC, RFC 9438 */
    GW_STACK_NAGLE = 1 << 1,   /* connections begin with Nagle's algorithm; gw_stack_set_nodelay */
};

/* Zero fields are chosen, as said. */
struct gw_stack_config {
    size_t bytes;                   /* sizeof(struct gw_stack_config) */
    uint64_t seed;                  /* of the keys behind initial sequence numbers and hashes */
    uint32_t flags;                 /* enum gw_stack_flags */
    uint32_t connections_max;       /* 1,024 */
    uint32_t half_open_max;         /* SYN-RECEIVED among them; beyond: SYN cookies. 256 */
    uint32_t time_wait_max;         /* 1,024 */
    uint32_t recv_window_bytes;     /* at least the MTU, at most 2^29. 65,535 */
    uint32_t send_buffer_bytes;     /* of one connection, at most 2^30. 1 MiB */
    uint32_t memory_bytes;          /* for what is queued and kept, of all connections. 16 MiB */
    uint32_t mtu_bytes;             /* IP packets both ways; 1,280 to 9,216. 1,500 */
    uint32_t send_nodes_max;        /* slices queued and ranges under way, of all connections */
    uint32_t recv_pieces_max;       /* runs of bytes kept, of all connections */
    uint64_t keepalive_us;          /* idle time before the first probe, where asked for. 2 hours */
};

struct gw_stack_endpoint {
    char address[46]; /* "10.0.0.1", "fd00::1" */
    uint16_t port;
};

enum gw_stack_end {
    GW_STACK_END_DONE,        /* both FINs sent and acknowledged */
    GW_STACK_END_RESET,       /* the peer's RST */
    GW_STACK_END_TIMEOUT,     /* no answer to repetitions, probes or keepalives */
    GW_STACK_END_ABORTED,     /* gw_stack_abort */
    GW_STACK_END_REFUSED,     /* connect: RST */
    GW_STACK_END_UNREACHABLE, /* connect: ICMP says so */
};

/* A NULL upcall does what is said in brackets. */
struct gw_stack_upcalls {
    size_t bytes; /* sizeof(struct gw_stack_upcalls) */
    /* One whole IP packet leaves, valid during the call only. False: no room, it counts as not sent
     * and is offered again. [it is sent into nothing] */
    bool (*emit)(void *ctx, const uint8_t *packet, size_t len);
    /* A connection is established: one accepted, or one connected by us (`active`). False refuses an
     * accepted one: it is reset, without `closed`. [true] */
    bool (*established)(void *ctx, uint32_t conn, const struct gw_stack_endpoint *local,
                        const struct gw_stack_endpoint *remote, bool active);
    /* Bytes in order, valid during the call only. Returns how many are taken; when not all are, the
     * rest waits for gw_stack_recv and `data` is silent until that has taken everything. [none] */
    size_t (*data)(void *ctx, uint32_t conn, const uint8_t *p, size_t len);
    /* The peer has sent FIN, and everything before it is taken. */
    void (*peer_closed)(void *ctx, uint32_t conn);
    /* The first `acked` bytes given to gw_stack_send are acknowledged: there is room for more. */
    void (*acked)(void *ctx, uint32_t conn, uint64_t acked);
    /* The connection is gone. Last upcall for it. */
    void (*closed)(void *ctx, uint32_t conn, enum gw_stack_end why);
};

/* 0; -EINVAL for a value outside of its limits, -ENOMEM. */
int gw_stack_open(struct gw_stack **out, const struct gw_stack_config *cfg,
                  const struct gw_stack_upcalls *up, void *ctx, uint64_t now_us);
/* Sets *s to NULL. Nothing is sent and nobody told. */
void gw_stack_close(struct gw_stack **s);
/* An address of ours: packets to others are dropped. At most 16. -EINVAL, -ENOSPC. */
int gw_stack_add_address(struct gw_stack *s, const char *address);

/* ---- time and packets ---- */

/* -EINVAL when time would go backwards. Runs nothing by itself. */
int gw_stack_set_time(struct gw_stack *s, uint64_t now_us);
/* One received IP packet: 0 when it was given to TCP (which may have dropped it: see the counters),
 * -EBADMSG when it is malformed or a checksum is wrong, -EADDRNOTAVAIL when it is not for us,
 * -EPROTONOSUPPORT for a fragment or something else than TCP. */
int gw_stack_push(struct gw_stack *s, const uint8_t *packet, size_t len);
/* Runs the timers that are due and emits what may leave now. Returns packets emitted. */
unsigned gw_stack_run(struct gw_stack *s);
/* When gw_stack_run has to be called next; UINT64_MAX: only after something else has happened. */
uint64_t gw_stack_next_us(const struct gw_stack *s);

/* ---- connections ---- */

/* Accept connections to this port of every address of ours. -EINVAL for port 0. */
int gw_stack_listen(struct gw_stack *s, uint16_t port);
/* The SYN leaves with the next gw_stack_run. -EINVAL for an address that is none, is not ours (local)
 * or is no host's (remote: multicast, broadcast, unspecified); -EADDRINUSE, -ENOBUFS. */
int gw_stack_connect(struct gw_stack *s, const struct gw_stack_endpoint *local,
                     const struct gw_stack_endpoint *remote, uint32_t *conn);
/* Queues all of it or nothing. 0; -ENOBUFS: no room now; -EPIPE: our side is closed; -EBADF. */
int gw_stack_send(struct gw_stack *s, uint32_t conn, const void *p, size_t len);
/* Takes bytes that wait: how many; 0 at the peer's FIN; -EAGAIN: none yet; -EBADF. */
long gw_stack_recv(struct gw_stack *s, uint32_t conn, void *p, size_t len);
/* FIN after what is queued; a connect that has not succeeded yet is given up. 0 or -EBADF, also below. */
int gw_stack_shutdown(struct gw_stack *s, uint32_t conn);
/* RST now; `closed` follows. */
int gw_stack_abort(struct gw_stack *s, uint32_t conn);
/* True: no small segment waits for an acknowledgement (Nagle's algorithm off, TCP_NODELAY). */
int gw_stack_set_nodelay(struct gw_stack *s, uint32_t conn, bool on);
/* Probes a peer that is silent (RFC 9293 section 3.8.4). Off unless asked for. */
int gw_stack_set_keepalive(struct gw_stack *s, uint32_t conn, bool on);

/* ---- questions ---- */

enum gw_stack_state {
    GW_STACK_CLOSED,
    GW_STACK_LISTEN,
    GW_STACK_SYN_SENT,
    GW_STACK_SYN_RECEIVED,
    GW_STACK_ESTABLISHED,
    GW_STACK_FIN_WAIT_1,
    GW_STACK_FIN_WAIT_2,
    GW_STACK_CLOSE_WAIT,
    GW_STACK_CLOSING,
    GW_STACK_LAST_ACK,
    GW_STACK_TIME_WAIT,
};
/* "SYN-SENT"; "?" for a number that is none. */
const char *gw_stack_state_name(enum gw_stack_state state);

enum gw_stack_option {
    GW_STACK_OPTION_TIMESTAMPS = 1 << 0,
    GW_STACK_OPTION_SACK = 1 << 1,
    GW_STACK_OPTION_SCALE = 1 << 2,
};

/* Sequence numbers are those of the wire. For LISTEN and CLOSED only the state says something, for
 * TIME-WAIT the state, snd_nxt and rcv_nxt. */
struct gw_stack_info {
    size_t bytes; /* sizeof(struct gw_stack_info), set by the caller */
    enum gw_stack_state state;
    uint32_t options; /* enum gw_stack_option, negotiated */
    uint32_t snd_una, snd_nxt, snd_wnd;
    uint32_t rcv_nxt, rcv_wnd; /* the window as it was offered last */
    uint32_t mss;              /* most text in a segment of ours */
    uint32_t cwnd, ssthresh;   /* ssthresh UINT32_MAX: none yet */
    uint32_t srtt_us, rttvar_us, rto_us;
    uint32_t queued_bytes; /* given to send, not acknowledged */
    uint32_t unread_bytes; /* received in order, not taken */
    uint32_t kept_bytes;   /* received behind a gap */
    uint8_t snd_scale, rcv_scale;
};
/* -EBADF, or -EINVAL when info->bytes is none. */
int gw_stack_info(const struct gw_stack *s, uint32_t conn, struct gw_stack_info *info);
/* By addresses and ports: also of connections that are not established, of TIME-WAIT, of a port that
 * is listened on, and of nothing (CLOSED). */
int gw_stack_lookup(const struct gw_stack *s, const struct gw_stack_endpoint *local,
                    const struct gw_stack_endpoint *remote, struct gw_stack_info *info);

/* What is held. All zero when every connection has ended: a test for leaks. */
struct gw_stack_usage {
    size_t bytes; /* sizeof(struct gw_stack_usage), set by the caller */
    uint32_t connections, half_open, time_waits, timers;
    uint32_t nodes, pieces; /* of send_nodes_max, recv_pieces_max */
    size_t memory_bytes;    /* of config memory_bytes */
};
int gw_stack_usage(const struct gw_stack *s, struct gw_stack_usage *usage);

/* Counters by name ("retransmits", "drop_paws"): 0 or -ENOENT. */
int gw_stack_counter(const struct gw_stack *s, const char *name, uint64_t *value);
/* Name of counter i and what it counts; NULL behind the last. */
const char *gw_stack_counter_name(unsigned i, const char **help);

#ifdef __cplusplus
}
#endif

#endif
