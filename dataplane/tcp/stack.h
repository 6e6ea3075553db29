/* SPDX-License-Identifier: Apache-2.0 */
/* The stack of one core, and what its files offer each other. */
#ifndef GW_TCP_STACK_H
#define GW_TCP_STACK_H

#include "../base/check.h"
#include "../base/slab.h"
#include "cc.h"
#include "conn.h"
#include "counters.h"
#include "segment.h"
#include "seq.h"

/* ---- limits and constants ---- */

#define TCP_RTO_MIN_US        UINT32_C(200000) /* RFC 6298 says 1 s; 200 ms is what the field does */
#define TCP_RTO_MAX_US        UINT32_C(60000000)
#define TCP_RTO_FIRST_US      UINT32_C(1000000)
#define TCP_RTO_AFTER_SYN_US  UINT32_C(3000000) /* RFC 6298 (5.7) */
#define TCP_DELAYED_ACK_US    UINT32_C(40000)
#define TCP_TIME_WAIT_US      UINT64_C(60000000)
/* Least time between two challenge ACKs of one connection: about 131 ms, in units of 2^9 ticks. */
#define TCP_CHALLENGE_SHIFT   9u
#define TCP_CHALLENGE_UNITS   4u
/* RFC 7323 section 5.5, in the units of now_coarse. */
#define TCP_TIMESTAMP_AGE_MAX ((uint32_t)(UINT64_C(24) * 86400 * 1000000 >> 20))
#define TCP_EMIT_RETRY_US     UINT64_C(1000)
#define TCP_FIN_WAIT_2_US     UINT64_C(60000000)
/* Timeouts in a row that end a connection: R2 of RFC 9293 section 3.8.3. With a doubling from
 * 200 ms at least 100 s pass; SYNs are repeated for three minutes, answers to a SYN for one. */
#define TCP_TIMEOUTS_MAX      10u
#define TCP_SYN_TIMEOUTS_MAX  7u
#define TCP_SYNACK_TIMEOUTS_MAX 5u
#define TCP_UNANSWERED_MAX    15u
#define TCP_KEEPALIVE_US      UINT64_C(7200000000) /* RFC 9293 section 3.8.4: at least two hours */
#define TCP_KEEPALIVE_NEXT_US UINT64_C(75000000)
#define TCP_KEEPALIVES        9u
#define TCP_DUP_ACKS          3u
#define TCP_RANGES_MAX        256u /* in flight, of one connection */
#define TCP_RANGES_FEW        8u   /* more are made only while nodes are not short */
#define TCP_PIECES_FEW        4u   /* likewise kept pieces */
#define TCP_PEER_DELAY_US     UINT32_C(200000) /* how long a peer may delay the ACK of one segment */
#define TCP_ACKS_OWED_MAX     64u
#define TCP_BURST_SEGMENTS    16u /* of one connection in one turn of flush */
#define TCP_REFUSALS_MAX      32u /* in a row, then flush gives up until the next call */
#define TCP_ADVANCE_WORK      4096u
#define TCP_ADVANCE_AHEAD     4u /* timers whose connections are fetched before the first fires */
#define TCP_MSS_DEFAULT_V4    536u /* RFC 9293 section 3.7.1 */
#define TCP_MSS_DEFAULT_V6    1220u
/* A peer that asks for less gets this: it bounds our work for a byte. */
#define TCP_MSS_MIN           64u

/* ---- small parts ---- */

/* Elements of the two node slabs. All begin with the next of their ring. */
struct tcp_slice {
    uint32_t next;
    gw_block block;
    uint32_t off, len;
};

enum range_flag { RANGE_LOST = 1, RANGE_SACKED = 2, RANGE_RESENT = 4 };

struct tcp_range {
    uint32_t next;
    uint32_t start, end;
    uint32_t sent_us;
    uint32_t flags;
};

struct tcp_piece {
    uint32_t next;
    uint32_t seq;
    gw_block block;
    uint32_t off, len;
};

union tcp_node {
    uint32_t next;
    struct tcp_slice slice;
    struct tcp_range range;
    struct tcp_piece piece;
};
_Static_assert(sizeof(union tcp_node) == 20, "see the budget in docs/TCP.md");

/* Lookup of a connection or TIME-WAIT entry by its addresses and ports. */
struct tcp_table {
    struct gw_region region;
    uint64_t *slots; /* tag in the upper half, reference in the lower; 0: free */
    uint32_t slot_count;
};

/* What a table slot refers to: an index, with this bit for TIME-WAIT entries. */
#define TCP_REF_TIME_WAIT UINT32_C(0x80000000)

struct tcp_time_wait {
    struct gw_tcp_tuple tuple;
    uint32_t snd_nxt, rcv_nxt, ts_recent;
    uint32_t newer, older; /* list in the order of expiry */
    uint16_t window;
    uint8_t has_timestamp;
    uint64_t until_us;
};

/* An answer that belongs to no connection, waiting for the next flush. */
struct tcp_reply {
    struct gw_tcp_tuple tuple;
    uint32_t seq, ack, ts_ecr;
    uint32_t ts_val; /* 0: the time at which it leaves */
    uint16_t window;
    uint16_t mss; /* with SYN */
    uint8_t flags;
    bool has_timestamp, has_scale, sack_permitted;
};
#define TCP_REPLIES_MAX 512u
/* So many leave before what connections have to send, the rest behind it: strangers who ask for many
 * answers must not take the port from those who are connected, nor these from them. */
#define TCP_REPLIES_FIRST 32u

struct gw_tcp {
    struct gw_tcp_config cfg;
    struct gw_tcp_upcalls up;
    void *up_ctx;
    gw_tcp_emit_fn emit;
    void *emit_ctx;
    const struct tcp_cc *cc;

    uint64_t now_us;
    uint32_t now_tick;
    uint32_t now_ts;     /* clock of the timestamp option, about a millisecond */
    uint32_t now_coarse; /* about a second */
    uint32_t ts_offset;

    struct gw_slab conns, colds, nodes, pieces, time_waits;
    struct tcp_table table;
    struct gw_wheel wheel;
    uint32_t time_wait_oldest, time_wait_newest;
    uint32_t half_open_count;
    uint32_t dirty_head, dirty_tail, dirty_count;
    bool dirty_refused; /* the last flush left connections dirty because the port refused */
    uint8_t rcv_scale;
    uint32_t kept_count_max;
    struct gw_sipkey iss_key, cookie_key, port_key;
    uint32_t ports_drawn; /* modulo GW_TCP_DRAWN_PORTS */
    uint64_t cookie_last_us; /* when a SYN cookie was last sent */
    bool cookies_used;

    struct tcp_reply replies[TCP_REPLIES_MAX];
    uint32_t reply_head, reply_count;

    struct gw_tcp_counters counters;
    uint8_t listening[65536 / 8]; /* ports, on every local address */
    struct gw_ip_port listening_at[GW_TCP_LISTEN_AT_MAX];
    unsigned listening_at_count;
};

#define COUNT(t, name) GW_COUNT((t)->counters.name)

static inline struct conn *conn_at(const struct gw_tcp *t, gw_conn i)
{
    return (struct conn *)(void *)(t->conns.base + (size_t)i * sizeof(struct conn));
}

static inline gw_conn conn_index(const struct gw_tcp *t, const struct conn *c)
{
    return (gw_conn)(((const uint8_t *)c - t->conns.base) / sizeof(struct conn));
}

static inline struct cold *cold_of(const struct gw_tcp *t, const struct conn *c)
{
    return (struct cold *)(void *)(t->colds.base + (size_t)conn_index(t, c) * sizeof(struct cold));
}

static inline union tcp_node *node_at(const struct gw_tcp *t, uint32_t i)
{
    return (union tcp_node *)(void *)(t->nodes.base + (size_t)i * sizeof(union tcp_node));
}

static inline struct tcp_piece *piece_at(const struct gw_tcp *t, uint32_t i)
{
    return &((union tcp_node *)(void *)(t->pieces.base + (size_t)i * sizeof(union tcp_node)))->piece;
}

static inline bool conn_is_dead(const struct conn *c)
{
    return c->state == STATE_CLOSED;
}

/* Both directions have numbers: everything from SYN-RECEIVED on. */
static inline bool conn_is_synchronized(const struct conn *c)
{
    return c->state != STATE_CLOSED && c->state != STATE_SYN_SENT;
}

static inline uint16_t tcp_our_mss(const struct gw_tcp *t, const struct gw_tcp_tuple *tuple)
{
    return gw_ip_is_v4(&tuple->remote) ? t->cfg.mss_v4 : t->cfg.mss_v6;
}

static inline bool tcp_listens(const struct gw_tcp *t, const struct gw_tcp_tuple *tuple)
{
    uint16_t port = tuple->local_port;
    bool listens = t->listening[port / 8] >> (port % 8) & 1;
    for (unsigned i = 0; !listens && i < t->listening_at_count; i++)
        listens = t->listening_at[i].port == port &&
                  gw_ip_eq(&t->listening_at[i].ip, &tuple->local);
    return listens;
}

/* Asks for what of a connection most segments touch: cold state is not aligned to lines. */
static inline void tcp_conn_expect(const struct gw_tcp *t, uint32_t i)
{
    const uint8_t *c = gw_slab_at(&t->conns, i), *k = gw_slab_at(&t->colds, i);
    __builtin_prefetch(c);
    __builtin_prefetch(c + 64);
    __builtin_prefetch(k);
    __builtin_prefetch(k + offsetof(struct cold, ssthresh) - 1);
}

static inline void tcp_set_now(struct gw_tcp *t, uint64_t now_us)
{
    t->now_us = now_us;
    t->now_tick = gw_tick_now(now_us);
    t->now_ts = (uint32_t)(now_us >> 10) + t->ts_offset;
    t->now_coarse = (uint32_t)(now_us >> 20);
}

/* ---- table.c ---- */

int tcp_table_open(struct tcp_table *tb, const char *name, uint32_t entry_limit,
                   enum gw_region_pages pages);
void tcp_table_close(struct tcp_table *tb);
/* A lookup in steps, for bursts: the tag of addresses and ports; then its place is prefetched, then
 * what is there. Hints, so that the last step waits for no memory. */
uint32_t tcp_table_tag(const struct gw_tcp *t, const struct gw_tcp_tuple *tuple);
void tcp_table_prefetch(const struct gw_tcp *t, uint32_t tag);
/* The first reference whose tag fits, or 0: not compared with any addresses. */
uint32_t tcp_table_peek(const struct gw_tcp *t, uint32_t tag);
/* The reference stored for these addresses and ports, whose tag this is; or 0. */
uint32_t tcp_table_find_tagged(const struct gw_tcp *t, const struct gw_tcp_tuple *tuple,
                               uint32_t tag);
uint32_t tcp_table_find(const struct gw_tcp *t, const struct gw_tcp_tuple *tuple);
/* Precondition: not in it, and no more than entry_limit entries. */
void tcp_table_insert(struct gw_tcp *t, const struct gw_tcp_tuple *tuple, uint32_t ref);
void tcp_table_remove(struct gw_tcp *t, const struct gw_tcp_tuple *tuple, uint32_t ref);
/* RFC 6528: a clock of 4 microseconds plus a keyed hash of the connection's addresses and ports. */
/* Fills in local_port; false, counted, when there is none. */
bool tcp_draw_port(struct gw_tcp *t, struct gw_tcp_tuple *tuple);
uint32_t tcp_initial_sequence(const struct gw_tcp *t, const struct gw_tcp_tuple *tuple);

/* ---- state.c: birth, state changes and death ---- */

void tcp_state_set(struct gw_tcp *t, struct conn *c, enum tcp_state to);
/* A connection in SYN-SENT or SYN-RECEIVED; NULL when the slab is full. */
struct conn *tcp_conn_begin(struct gw_tcp *t, const struct gw_tcp_tuple *tuple,
                            enum tcp_state state, uint32_t iss);
/* What the peer's SYN says: its sequence number, window and options. */
void tcp_conn_negotiate(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s);
/* The connection is gone from the net at once; the next flush tells the user and frees it. */
void tcp_conn_end(struct gw_tcp *t, struct conn *c, enum gw_tcp_close_reason why);
/* RST to the peer, then as above. */
void tcp_conn_abort(struct gw_tcp *t, struct conn *c, enum gw_tcp_close_reason why);
/* Called by flush for a connection that has ended. */
void tcp_conn_bury(struct gw_tcp *t, struct conn *c);
/* Ends the connection when both directions are closed and everything is read. */
void tcp_conn_end_if_done(struct gw_tcp *t, struct conn *c);
void tcp_dirty(struct gw_tcp *t, struct conn *c);

/* ---- timers.c ---- */

void tcp_timer_set(struct gw_tcp *t, struct conn *c, enum tcp_timer timer, uint32_t tick);
void tcp_timer_clear(struct conn *c, enum tcp_timer timer);
void tcp_rexmit_set(struct gw_tcp *t, struct conn *c, enum tcp_rexmit what, uint32_t after_us);
void tcp_rexmit_clear(struct conn *c);
/* Begin to watch for the peer's silence. */
void tcp_keepalive_start(struct gw_tcp *t, struct conn *c);
/* In FIN-WAIT-2: begin anew to wait for the peer's text or FIN. */
void tcp_fin_wait_start(struct gw_tcp *t, struct conn *c);
/* The peer has acknowledged everything and says no more: when nothing else has a deadline either, the
 * node is taken out. Where many connections speak seldom, a node that fires for nothing would bring
 * each of them into the cache once more. */
void tcp_timer_rest(struct gw_tcp *t, struct conn *c);
/* Look at this connection in the current or next advance. */
void tcp_timer_soon(struct gw_tcp *t, struct conn *c);
/* The connection's wheel node has fired. */
void tcp_timer_fire(struct gw_tcp *t, struct conn *c);

/* ---- rtt.c: RFC 6298 ---- */

void tcp_rtt_init(struct conn *c);
void tcp_rtt_sample(struct conn *c, uint32_t rtt_us);
/* The timeout to arm now, back-off included. */
uint32_t tcp_rto_us(const struct conn *c);

/* ---- sendq.c: bytes to send and not yet acknowledged ---- */

/* 0, or -ENOBUFS without a node. */
int tcp_sendq_append(struct gw_tcp *t, struct conn *c, struct gw_slice s);
int tcp_sendq_copy(struct gw_tcp *t, struct conn *c, const uint8_t *p, size_t len);
/* Drop bytes from the front: acknowledged. */
void tcp_sendq_release(struct gw_tcp *t, struct conn *c, uint32_t bytes);
/* The bytes at sequence number seq, at most len; returns how many are in the *count pieces. */
uint32_t tcp_sendq_gather(struct gw_tcp *t, struct conn *c, uint32_t seq, uint32_t len,
                          struct gw_bytes pieces[GW_TCP_PAYLOAD_PIECES_MAX], uint32_t *count);
void tcp_sendq_clear(struct gw_tcp *t, struct conn *c);

/* ---- flight.c: what is under way, by ranges with the time they were sent ---- */

/* With nothing under way and a node free: what leaves now is the range that the connection has itself. */
static inline void tcp_flight_own_begin(struct gw_tcp *t, struct conn *c)
{
    gw_slab_promise(&t->nodes);
    cold_of(t, c)->range_count = 1;
    c->flight_tail = TCP_OWN;
    c->sent_us = (uint32_t)t->now_us;
}
/* All of that has arrived. */
static inline void tcp_flight_own_end(struct gw_tcp *t, struct conn *c)
{
    gw_slab_release(&t->nodes);
    cold_of(t, c)->range_count = 0;
    c->flight_tail = 0;
}
/* Whether a segment may be added now. */
bool tcp_flight_has_room(const struct gw_tcp *t, const struct conn *c);
/* [snd_nxt, snd_nxt + len) leaves now for the first time. */
void tcp_flight_sent(struct gw_tcp *t, struct conn *c, uint32_t len);
/* Length of the first lost range and where it starts; 0: none. */
uint32_t tcp_flight_first_lost(const struct gw_tcp *t, const struct conn *c, uint32_t *seq);
/* The first len of the first lost range leave again. */
void tcp_flight_resent(struct gw_tcp *t, struct conn *c, uint32_t len);
/* What one acknowledgement says has arrived. */
struct tcp_delivered {
    uint32_t bytes;   /* newly */
    uint32_t rtt_us;  /* round-trip time of something sent once, 0: none */
    uint32_t highest; /* what had arrived before, to recognise reordering */
    /* Of what arrived, that which was sent last. */
    uint32_t sent_us, end;
    bool any, newest_resent;
    bool resent;    /* something was sent more than once: Karn's rule */
    bool reordered; /* something sent once arrived after what was sent later */
    bool duplicate; /* the peer reports a duplicate (RFC 2883) */
};

/* Everything before ack has arrived. */
void tcp_flight_acked(struct gw_tcp *t, struct conn *c, uint32_t ack, struct tcp_delivered *d);
/* And this, inside of what is under way. */
void tcp_flight_sack(struct gw_tcp *t, struct conn *c, struct tcp_sack block,
                     struct tcp_delivered *d);
/* End of the last SACKed range; snd_una when there is none. */
uint32_t tcp_flight_highest_sacked(const struct gw_tcp *t, const struct conn *c);
uint32_t tcp_flight_sacked_bytes(const struct gw_tcp *t, const struct conn *c);
/* What was sent before (sent_us, end) and at least patience_us ago is lost. Returns how long to wait
 * for the rest of it, 0 when there is none. */
uint32_t tcp_flight_lose_older(struct gw_tcp *t, struct conn *c, uint32_t sent_us, uint32_t end,
                               uint32_t patience_us);
/* The last len leave again. */
void tcp_flight_resend_last(struct gw_tcp *t, struct conn *c, uint32_t len);
/* When the first range was last sent. Something is in flight. */
uint32_t tcp_flight_oldest_us(const struct gw_tcp *t, const struct conn *c);
/* The first len of what is under way is lost, unless known to be. */
void tcp_flight_lose_first(struct gw_tcp *t, struct conn *c, uint32_t len);
void tcp_flight_lose_all(struct gw_tcp *t, struct conn *c);
void tcp_flight_clear(struct gw_tcp *t, struct conn *c);

/* ---- sack.c: RFC 2018, 2883 ---- */

/* The SACK blocks of an acceptable acknowledgement, before snd_una moves. */
void tcp_sack_input(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s,
                    struct tcp_delivered *d);
/* [start, end) has come a second time. */
void tcp_sack_note_duplicate(struct gw_tcp *t, struct conn *c, uint32_t start, uint32_t end);
/* The blocks for an acknowledgement of ours. */
void tcp_sack_write(struct gw_tcp *t, struct conn *c, struct tcp_options *o);

/* ---- rack.c: RFC 8985, for connections with SACK ---- */

void tcp_rack_input(struct gw_tcp *t, struct conn *c, const struct tcp_delivered *d);
/* What could only be late has had its time. */
void tcp_rack_fire(struct gw_tcp *t, struct conn *c);
void tcp_rack_recovered(struct gw_tcp *t, struct conn *c);

/* ---- tail.c: the same RFC's tail loss probe ---- */

/* An acknowledgement has moved snd_una: the deadline of what is under way begins again, as a probe
 * or a timeout. */
void tcp_tail_arm(struct gw_tcp *t, struct conn *c);
void tcp_tail_after_sending(struct gw_tcp *t, struct conn *c);
void tcp_tail_fire(struct gw_tcp *t, struct conn *c);
void tcp_tail_sent(struct gw_tcp *t, struct conn *c, bool resent);
/* After an acknowledgement: whether a probe has repaired a loss. */
void tcp_tail_input(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s, bool moved,
                    const struct tcp_delivered *d);

/* ---- recovery.c: what acknowledgements and timeouts say about loss ---- */

/* bytes of text are newly acknowledged; snd_una has moved. */
void tcp_recovery_new_ack(struct gw_tcp *t, struct conn *c, uint32_t bytes);
void tcp_recovery_duplicate_ack(struct gw_tcp *t, struct conn *c);
/* Ranges were marked lost: the congestion control hears of it once a round. */
void tcp_recovery_begin(struct gw_tcp *t, struct conn *c);
void tcp_recovery_timeout(struct gw_tcp *t, struct conn *c);
/* Bytes under way as the congestion window counts them. */
uint32_t tcp_recovery_pipe(const struct gw_tcp *t, const struct conn *c);

/* ---- kept.c: received bytes that wait, for a gap to fill or for the user ---- */

/* Text at seq, inside of the window, seq not before rcv_nxt. Moves rcv_nxt. */
void tcp_kept_receive(struct gw_tcp *t, struct conn *c, uint32_t seq, const uint8_t *p,
                      uint32_t len);
/* Hand over what is in order, until the user pauses. */
void tcp_kept_deliver(struct gw_tcp *t, struct conn *c);
void tcp_kept_clear(struct gw_tcp *t, struct conn *c);
uint32_t tcp_kept_unread_bytes(const struct gw_tcp *t, const struct conn *c);
/* In order, but not yet taken by the user. */
static inline uint32_t tcp_kept_unread(const struct gw_tcp *t, const struct conn *c)
{
    return c->flags & CONN_KEPT ? tcp_kept_unread_bytes(t, c) : 0;
}
/* Whether something is kept that cannot be delivered yet. */
bool tcp_kept_behind_gap(const struct gw_tcp *t, const struct conn *c);
/* Contiguous runs behind the gap for SACK: first the one that holds `recent`, then from the highest
 * down, which are likely to be the next most recent (RFC 2018 section 4). Returns how many. */
unsigned tcp_kept_blocks(const struct gw_tcp *t, const struct conn *c, uint32_t recent,
                         struct tcp_sack *blocks, unsigned room);
uint32_t tcp_kept_bytes(const struct gw_tcp *t, const struct conn *c);
/* Bytes that the receive window may be open for. */
static inline uint32_t tcp_kept_space(const struct gw_tcp *t, const struct conn *c)
{
    uint32_t unread = tcp_kept_unread(t, c);
    return unread < t->cfg.recv_window_bytes ? t->cfg.recv_window_bytes - unread : 0;
}

/* ---- in.c and what it is made of ---- */

void tcp_conn_input(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s);
/* A SYN for a listening port. */
void tcp_listen_input(struct gw_tcp *t, const struct tcp_segment *s, uint32_t iss);
/* An acceptable acknowledgement (ack.c); false when the segment must not be looked at further. */
bool tcp_ack_input(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s);
static inline void tcp_note_largest_window(struct gw_tcp *t, struct conn *c)
{
    struct cold *k = cold_of(t, c);
    while (k->window_log2 < 30 && c->snd_wnd >> (k->window_log2 + 1) != 0)
        k->window_log2++;
}
/* Text and FIN inside of the window (text.c). */
void tcp_text_input(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s);
/* Text before the FIN may now have become complete (text.c). */
void tcp_text_check_fin(struct gw_tcp *t, struct conn *c);
/* The user has been given everything: tell about the peer's FIN, reopen the window (text.c). */
void tcp_text_consumed(struct gw_tcp *t, struct conn *c);
void tcp_ack_now(struct gw_tcp *t, struct conn *c);
/* Text came in order: an ACK that may be delayed, unless two full segments are owed one. */
void tcp_ack_later(struct gw_tcp *t, struct conn *c);
/* Takes a segment of the usual kind on a connection in the usual state (usual.c); false: it is not one, and
 * nothing was done. */
bool tcp_usual_input(struct gw_tcp *t, struct conn *c, const struct tcp_segment *s);
/* RFC 5961: an ACK that lets an honest peer correct itself, at a limited rate. */
void tcp_challenge_ack(struct gw_tcp *t, struct conn *c);
void tcp_established(struct gw_tcp *t, struct conn *c);
/* RFC 6928, or one segment when the SYN had to be repeated (RFC 5681 section 3.1). */
uint32_t tcp_initial_window(const struct conn *c);

/* ---- out.c ---- */

enum tcp_flushed { TCP_FLUSHED_DONE, TCP_FLUSHED_MORE, TCP_FLUSHED_REFUSED };
enum tcp_flushed tcp_conn_flush(struct gw_tcp *t, struct conn *c, unsigned *sent);
/* Hand text to the port, *len of it in segments of at most `mss`; *len comes back smaller when only
 * the first of them had room. False: none had. */
bool tcp_emit(struct gw_tcp *t, const struct gw_tcp_tuple *tuple, const struct tcp_header *h,
              const struct gw_bytes *pieces, uint32_t piece_count, uint32_t mss, uint32_t *len);

/* ---- reply.c ---- */

/* RST in answer to a segment for which there is no connection (RFC 9293 section 3.10.7.1). */
void tcp_reply_reset(struct gw_tcp *t, const struct tcp_segment *s);
void tcp_reply_add(struct gw_tcp *t, const struct tcp_reply *r);
/* At most so many of them. False when the port refused. */
bool tcp_reply_flush(struct gw_tcp *t, unsigned most, unsigned *sent);

/* ---- cookie.c ---- */

/* Answer a SYN without keeping anything. */
void tcp_cookie_answer(struct gw_tcp *t, const struct tcp_segment *s);
/* Cookies were given out lately, and this segment could belong to one. */
bool tcp_cookie_may_be(const struct gw_tcp *t, const struct tcp_segment *s);
bool tcp_cookie_is_valid(const struct gw_tcp *t, const struct tcp_segment *s);
/* The connection, in SYN-RECEIVED, that a segment for none may complete; NULL: it is none of ours. */
struct conn *tcp_cookie_redeem(struct gw_tcp *t, const struct tcp_segment *s);

/* ---- timewait.c ---- */

/* Remember the connection's end; the caller has taken it out of the table. */
void tcp_time_wait_add(struct gw_tcp *t, const struct conn *c);
void tcp_time_wait_input(struct gw_tcp *t, uint32_t i, const struct tcp_segment *s);
/* Whether a connect may take the place of this entry (RFC 6191); and takes it: the entry is gone, and
 * the result is the new connection's initial sequence number. */
bool tcp_time_wait_may_end(const struct gw_tcp *t, uint32_t i);
uint32_t tcp_time_wait_end(struct gw_tcp *t, uint32_t i);
void tcp_time_wait_advance(struct gw_tcp *t);
uint64_t tcp_time_wait_next_us(const struct gw_tcp *t);

#endif
