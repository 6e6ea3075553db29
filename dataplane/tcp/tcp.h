/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP (RFC 9293) as a library without I/O: one `struct gw_tcp` is one core's stack.
 *
 * Segments go in by gw_tcp_input, come out through the emit callback of gw_tcp_flush, time is
 * passed in, and the next moment at which gw_tcp_advance must be called can be asked. The same code
 * runs over a DPDK port, a pcap file and the simulated world. It knows no DPDK type, no Ethernet and
 * no XMPP. IPv4 and IPv6 are alike (base/ip.h).
 *
 * Threads: every call on one gw_tcp comes from the thread that owns it. No call blocks, allocates
 * from the heap (after open) or makes a system call. No upcall may call gw_tcp_input,
 * gw_tcp_advance or gw_tcp_flush; all other calls are allowed inside upcalls. A connection that ends
 * is reported by `closed` and its index is reused only after the current input, advance or flush
 * call has returned.
 *
 * Units: `now_us` is a monotonic clock in microseconds. Stream positions are 64-bit byte counts from
 * the start of each direction of a connection.
 */
#ifndef GW_TCP_TCP_H
#define GW_TCP_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/arena.h"
#include "../base/bytes.h"
#include "../base/ip.h"
#include "../base/siphash.h"

struct gw_tcp;

/* Index of a connection; 0 is none. Users keep their own state in arrays with the same index. */
typedef uint32_t gw_conn;

struct gw_tcp_tuple {
    struct gw_ip local, remote;
    uint16_t local_port, remote_port; /* host order */
};

/* ---- configuration ---- */

enum gw_tcp_congestion_control {
    GW_TCP_CC_CUBIC,   /* RFC 9438 */
    GW_TCP_CC_NEWRENO, /* RFC 5681 */
};

/* With the largest headers of IPv6 and TCP it is still one IP packet. */
#define GW_TCP_GSO_BYTES_MAX (65535u - 40u - 60u)

struct gw_tcp_config {
    uint32_t conn_limit;         /* established, opening and closing connections */
    uint32_t half_open_limit;    /* SYN-RECEIVED among them; beyond: SYN cookies */
    uint32_t time_wait_limit;    /* oldest is forgotten when full */
    uint32_t recv_window_bytes;  /* most bytes kept for one connection, in order and out of order */
    uint32_t send_buffer_bytes;  /* most bytes queued by gw_tcp_send on one connection */
    uint32_t send_node_limit;    /* slices queued and ranges under way, of all connections; 0: chosen */
    uint32_t recv_piece_limit;   /* kept pieces of received bytes, of all connections; 0: chosen */
    uint16_t mss_v4, mss_v6;     /* what we can receive: MTU less headers */
    struct gw_sipkey key;        /* table and initial sequence numbers (RFC 6528); random at start */
    struct gw_arena *arena;      /* send queue and kept receive bytes; the caller's, outlives us */
    enum gw_region_pages pages;
    const char *name;            /* prefix of the named memory regions */
    enum gw_tcp_congestion_control congestion_control;
    /* Most text that `emit` takes at once (at most GW_TCP_GSO_BYTES_MAX), to be cut into
     * segments below (GSO, TSO); 0: one segment. */
    uint32_t gso_bytes_max;
    bool nagle;            /* connections begin with Nagle's algorithm: gw_tcp_set_nodelay */
    bool keepalive;             /* accepted connections begin with keepalive: gw_tcp_set_keepalive */
    uint64_t keepalive_us;      /* silence before the first probe, where asked for; 0: two hours */
    uint64_t keepalive_next_us; /* from one probe to the next; 0: 75 s */
    uint32_t keepalive_probes;  /* without an answer end the connection, at most 15; 0: nine */
    /* FIN-WAIT-2: how long the peer may say nothing before the connection ends; 0: one minute. */
    uint64_t fin_wait_2_us;
    /* Of several stacks on one port: whether the segments of such a connection come to this one. Asked
     * when a local port is drawn. NULL: all do. */
    bool (*lands_here)(void *ctx, const struct gw_tcp_tuple *t);
    void *lands_here_ctx;
};

/* ---- upcalls ---- */

enum gw_tcp_close_reason {
    GW_TCP_CLOSED_DONE,        /* both FINs sent and acknowledged */
    GW_TCP_CLOSED_RESET,       /* the peer's RST */
    GW_TCP_CLOSED_TIMEOUT,     /* retransmission limit, RFC 9293 section 3.8.3 (R2), keepalive, or
                                * FIN-WAIT-2 */
    GW_TCP_CLOSED_ABORTED,     /* gw_tcp_abort */
    GW_TCP_CLOSED_REFUSED,     /* connect: RST in answer to our SYN */
    GW_TCP_CLOSED_UNREACHABLE, /* connect: hard ICMP error */
};

struct gw_tcp_upcalls {
    /* A connection is established: accepted on a listening port, or connect has succeeded.
     * False refuses an accepted one (it is reset, and `closed` is not called). */
    bool (*established)(void *ctx, gw_conn c, const struct gw_tcp_tuple *t);
    /* In-order bytes. Returns how many were consumed; the rest is kept (copied to an arena block),
     * the window shrinks, and `data` is not called for this connection until gw_tcp_read_resume.
     * The bytes are valid during the call only. */
    size_t (*data)(void *ctx, gw_conn c, const uint8_t *p, size_t len);
    /* The peer sent FIN and everything before it has been consumed. */
    void (*peer_closed)(void *ctx, gw_conn c);
    /* Everything up to stream position `acked` (bytes of ours, FIN not counted) is acknowledged. */
    void (*acked)(void *ctx, gw_conn c, uint64_t acked);
    /* The connection is gone. Last upcall for this index. */
    void (*closed)(void *ctx, gw_conn c, enum gw_tcp_close_reason why);
    /* The time set by gw_tcp_set_deadline has come. */
    void (*deadline)(void *ctx, gw_conn c);
    /* May be NULL. Upcalls for this connection are likely in the same gw_tcp_input_burst: prefetch
     * what they touch. A hint; the connection may be gone or be another one by then. */
    void (*expect)(void *ctx, gw_conn c);
};

/* ---- segments out ---- */

#define GW_TCP_PAYLOAD_PIECES_MAX 16

struct gw_tcp_segment {
    const struct gw_tcp_tuple *tuple;
    const uint8_t *header; /* TCP header with options, checksum field zero */
    uint32_t header_len;
    const struct gw_bytes *payload;
    uint32_t payload_count;
    uint32_t payload_len;
    /* Text of each segment on the wire, 0: all is one. When payload_len is more, `emit` cuts it:
     * sequence numbers go on, FIN and PSH belong to the last. It may queue only the first segments of it, and says
     * how many bytes of text those hold in *payload_taken. */
    uint32_t segment_bytes;
    uint32_t *payload_taken;
};

/* Frame and queue one segment. False when the port has no room: the segment counts as not sent and
 * is offered again by a later flush. */
typedef bool (*gw_tcp_emit_fn)(void *ctx, const struct gw_tcp_segment *s);

/* ---- life ---- */

int gw_tcp_open(struct gw_tcp **out, const struct gw_tcp_config *cfg,
                const struct gw_tcp_upcalls *up, void *up_ctx, gw_tcp_emit_fn emit, void *emit_ctx,
                uint64_t now_us);
void gw_tcp_free(struct gw_tcp **t);

/* Accept connections to this port on every local address that the layer below lets through. */
int gw_tcp_listen(struct gw_tcp *t, uint16_t port);
/* The same on one local address only. -ENOSPC beyond GW_TCP_LISTEN_AT_MAX of them. */
#define GW_TCP_LISTEN_AT_MAX 16
int gw_tcp_listen_at(struct gw_tcp *t, const struct gw_ip *local, uint16_t port);

/* ---- driven from below ---- */

/* One received segment: TCP header and payload, checksum already verified by the layer below.
 * Answers (ACK, RST) are only noted; they leave at the next flush. */
void gw_tcp_input(struct gw_tcp *t, uint64_t now_us, const struct gw_ip *src,
                  const struct gw_ip *dst, const uint8_t *segment, size_t len);
/* The same for segments that arrived together, in their order. What they touch is prefetched: with
 * many connections open a segment's cost is mostly that of the memory it waits for. */
#define GW_TCP_INPUT_BURST_MAX 64
struct gw_tcp_arrival {
    struct gw_ip src, dst;
    const uint8_t *segment;
    uint32_t len;
};
void gw_tcp_input_burst(struct gw_tcp *t, uint64_t now_us, const struct gw_tcp_arrival *a,
                        unsigned count);
/* An ICMP error quotes a segment of ours, whose addresses and ports are `tuple` and whose sequence
 * number is `seq`. Only a hard one about a SYN of gw_tcp_connect has an effect: closed with
 * GW_TCP_CLOSED_UNREACHABLE. The others are counted. */
enum gw_tcp_icmp {
    GW_TCP_ICMP_SOFT,    /* may pass: network or host unreachable, hop limit exceeded.. */
    GW_TCP_ICMP_HARD,    /* protocol or port unreachable, prohibited */
    GW_TCP_ICMP_TOO_BIG, /* for the path's MTU */
};
void gw_tcp_icmp(struct gw_tcp *t, uint64_t now_us, enum gw_tcp_icmp what,
                 const struct gw_tcp_tuple *tuple, uint32_t seq);
/* Run timers that are due, bounded per call. */
void gw_tcp_advance(struct gw_tcp *t, uint64_t now_us);
/* When gw_tcp_advance has to be called next; UINT64_MAX when nothing is pending. */
uint64_t gw_tcp_next_deadline_us(const struct gw_tcp *t);
/* Emit what may be sent: data within windows, ACKs, FINs, RSTs. Cost grows with what is to be
 * sent, not with the number of connections. Returns segments emitted. */
unsigned gw_tcp_flush(struct gw_tcp *t, uint64_t now_us);

/* ---- driven from above ---- */

/* The ports that are drawn from. */
#define GW_TCP_DRAWN_PORT_FIRST 1024u
#define GW_TCP_DRAWN_PORTS      (65536u - GW_TCP_DRAWN_PORT_FIRST)
/* Active open. What is in TIME-WAIT between these addresses and ports makes room when timestamps tell the
 * old connection's segments from the new one's (RFC 6191): one second after its last. With local_port 0 a
 * port is drawn (RFC 6056, algorithm 3) that is free between these addresses, or else makes room like
 * that, and `lands_here`; -EADDRNOTAVAIL, counted, when none was found among the next few hundred.
 * 0 and *out, or -EADDRINUSE, -ENOBUFS, -EINVAL (the remote address is no host's). */
int gw_tcp_connect(struct gw_tcp *t, uint64_t now_us, const struct gw_tcp_tuple *tuple,
                   gw_conn *out);
/* Append bytes to the stream. On success the block belongs to the stack and goes back to the arena
 * when acknowledged. -ENOBUFS: over send_buffer_bytes, or over the connection's share of an arena of
 * which half is used (a sixteenth of what is free, but an empty queue may always try); -EPIPE: our side
 * is closed. On error the caller keeps the block. */
int gw_tcp_send(struct gw_tcp *t, gw_conn c, struct gw_slice s);
/* Copying variant for short answers; all or nothing. Fills up the last block where there is room. */
int gw_tcp_send_copy(struct gw_tcp *t, gw_conn c, const void *p, size_t len);
/* Fetches into the cache what sending on a connection touches: for who knows some hundred
 * nanoseconds before. */
void gw_tcp_expect_send(const struct gw_tcp *t, gw_conn c);
/* FIN after what is queued. Bytes that still arrive are delivered until the peer's FIN. */
void gw_tcp_shutdown(struct gw_tcp *t, gw_conn c);
/* RST now; `closed` follows with GW_TCP_CLOSED_ABORTED. */
void gw_tcp_abort(struct gw_tcp *t, gw_conn c);
/* Deliver kept bytes again, before the current or next advance returns. */
void gw_tcp_read_resume(struct gw_tcp *t, gw_conn c);
/* One deadline a connection for its user (0 clears): shares the connection's one timer. One that is
 * more than 19 hours ahead comes then. */
void gw_tcp_set_deadline(struct gw_tcp *t, gw_conn c, uint64_t at_us);

/* False: text that does not fill a segment waits while other text is under way (Nagle's algorithm,
 * RFC 9293 section 3.7.4). Connections begin as the configuration says: without it, since users that
 * hand over whole messages have nothing to gain. */
void gw_tcp_set_nodelay(struct gw_tcp *t, gw_conn c, bool on);
/* Probe a peer that says nothing (RFC 9293 section 3.8.4): after keepalive_us of silence every
 * keepalive_next_us, and end the connection, with GW_TCP_CLOSED_TIMEOUT, when keepalive_probes were not
 * answered. Connections begin as the configuration says, those of gw_tcp_connect without. */
void gw_tcp_set_keepalive(struct gw_tcp *t, gw_conn c, bool on);

struct gw_tcp_queue {
    uint64_t sent_end; /* stream position after the last byte given to gw_tcp_send */
    uint64_t acked;
    uint32_t kept_bytes; /* received, not consumed */
};
struct gw_tcp_queue gw_tcp_queue(const struct gw_tcp *t, gw_conn c);
struct gw_tcp_tuple gw_tcp_tuple(const struct gw_tcp *t, gw_conn c);

/* ---- counters: see tcp/counters.h for the list (X-macro GW_TCP_COUNTERS) ---- */

struct gw_tcp_counters;
const struct gw_tcp_counters *gw_tcp_counters(const struct gw_tcp *t);

#endif
