/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one connection is like at this moment, for operators and tests: a copy of its state, taken
 * without walking anything, so that one look costs a few cache lines however much is queued.
 *
 * Connections are looked at by position: 1 to conn_limit are those of gw_conn, TIME-WAIT entries come
 * behind them. A position is a place, not a connection: another one may stand there later. Thread:
 * the stack's own.
 */
#ifndef GW_TCP_INFO_H
#define GW_TCP_INFO_H

#include "tcp.h"

/* X(upper, text, word). RFC 9293 section 3.3.2. LISTEN is no connection here but a port's bit. */
#define GW_TCP_STATES(X)                                                                           \
    X(CLOSED, "CLOSED", "closed")                                                                  \
    X(SYN_SENT, "SYN-SENT", "syn-sent")                                                            \
    X(SYN_RECEIVED, "SYN-RECEIVED", "syn-received")                                                \
    X(ESTABLISHED, "ESTABLISHED", "established")                                                   \
    X(FIN_WAIT_1, "FIN-WAIT-1", "fin-wait-1")                                                      \
    X(FIN_WAIT_2, "FIN-WAIT-2", "fin-wait-2")                                                      \
    X(CLOSE_WAIT, "CLOSE-WAIT", "close-wait")                                                      \
    X(CLOSING, "CLOSING", "closing")                                                               \
    X(LAST_ACK, "LAST-ACK", "last-ack")                                                            \
    X(TIME_WAIT, "TIME-WAIT", "time-wait")

/* X(upper, text). What the retransmission deadline is for: one deadline, tagged. */
#define GW_TCP_REXMITS(X)                                                                          \
    X(OFF, "off")                                                                                  \
    X(RTO, "retransmit")                                                                           \
    X(PERSIST, "persist")                                                                          \
    X(REORDER, "reorder") /* RFC 8985: what may only be late is given this long */                 \
    X(TAIL, "tail-probe") /* RFC 8985: nothing may follow that would show a loss */

/* X(upper, text). The other deadlines of a connection; all share its one wheel node. */
#define GW_TCP_TIMERS(X)                                                                           \
    X(ACK, "delayed-ack")                                                                          \
    X(KEEP, "keepalive") /* how long the peer may stay silent, in FIN-WAIT-2 always */             \
    X(USER, "user")

/* X(upper, text). What the congestion control makes of the last round. */
#define GW_TCP_MODES(X)                                                                            \
    X(OPEN, "open")                                                                                \
    X(RECOVERY, "recovery") /* losses found by acknowledgements are being repaired */              \
    X(LOSS, "loss")         /* a retransmission timeout is being repaired */

enum gw_tcp_mode {
#define X(upper, text) GW_TCP_MODE_##upper,
    GW_TCP_MODES(X)
#undef X
};

enum {
#define X(upper, text) GW_TCP_TIMER_##upper,
    GW_TCP_TIMERS(X)
#undef X
        GW_TCP_TIMER_COUNT
};

/* A timer that is not armed. */
#define GW_TCP_TIMER_OFF INT32_MIN

struct gw_tcp_info {
    struct gw_tcp_tuple tuple;
    uint8_t state;  /* index into GW_TCP_STATES */
    uint8_t mode;   /* enum gw_tcp_mode */
    uint8_t rexmit; /* index into GW_TCP_REXMITS */
    uint8_t backoff;
    uint8_t snd_scale, rcv_scale;
    bool sack, timestamps, scale; /* negotiated */
    bool active;                  /* opened by connect */
    bool paused;                  /* its user leaves bytes unread */
    bool cwnd_limited;            /* the congestion window held data back */
    char congestion_control[8];

    uint64_t acked_bytes; /* of ours, from the start */
    uint32_t snd_wnd;     /* that the peer offers */
    uint32_t rcv_wnd;     /* that we offer */
    uint32_t mss;
    uint32_t srtt_us, rttvar_us, rto_us;
    uint32_t rtt_us_min;  /* 0: not measured; srtt_us alike */
    uint32_t cwnd;
    uint32_t ssthresh;    /* 0: no loss yet */
    uint32_t in_flight;   /* bytes sent, not acknowledged */
    uint32_t pipe;        /* of them neither lost nor reported as arrived */
    uint32_t resent;      /* segments sent again, up to GW_TCP_RESENT_MAX */
    uint32_t send_bytes;  /* queued, acknowledged ones not counted */
    uint32_t unsent;      /* of them not sent yet */
    uint32_t unread;      /* received in order, not taken by the user */
    uint32_t pieces;      /* of received bytes kept */
    uint32_t ahead;       /* the last byte kept out of order lies so far behind the gap's start */
    uint32_t heard_s;     /* since the peer's last segment, about */

    /* Microseconds from now, negative when due; GW_TCP_TIMER_OFF when not armed. */
    int32_t rexmit_in_us;
    int32_t timer_in_us[GW_TCP_TIMER_COUNT]; /* in TIME-WAIT `user` is its end */
};
#define GW_TCP_RESENT_MAX 32767u

/* Which connections are meant; zero fields mean any. */
struct gw_tcp_filter {
    uint32_t states;      /* a bit for each index into GW_TCP_STATES */
    struct gw_ip_prefix remote;
    bool retransmitting;  /* something is lost, or a timeout has not been answered */
    uint16_t local_port, remote_port;
    uint32_t queued_min;  /* bytes to send, or unread ones, at least */
};

/* The next position from `position` on at which something may stand; 0 when there is none. */
uint32_t gw_tcp_info_next(const struct gw_tcp *t, uint32_t position);
/* Whether a connection stands there that the filter (NULL: any) lets through; fills *out then. */
bool gw_tcp_info(const struct gw_tcp *t, uint32_t position, const struct gw_tcp_filter *filter,
                 struct gw_tcp_info *out);

struct gw_tcp_totals {
    uint32_t connections; /* the half-open ones among them */
    uint32_t half_open;
    uint32_t time_wait;
};
struct gw_tcp_totals gw_tcp_totals(const struct gw_tcp *t);

#endif
