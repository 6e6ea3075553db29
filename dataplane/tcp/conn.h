/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection. What every segment touches is in `struct conn`, exactly two cache lines; the rest
 * is in `struct cold`, a parallel slab with the same index. Neither holds a pointer.
 */
#ifndef GW_TCP_CONN_H
#define GW_TCP_CONN_H

#include "../base/wheel.h"
#include "info.h"

enum tcp_state {
#define X(name, text, word) STATE_##name,
    GW_TCP_STATES(X)
#undef X
        STATE_COUNT
};

enum tcp_rexmit {
#define X(name, text) REXMIT_##name,
    GW_TCP_REXMITS(X)
#undef X
        REXMIT_COUNT
};

enum tcp_timer {
#define X(name, text) TIMER_##name,
    GW_TCP_TIMERS(X)
#undef X
        TIMER_COUNT
};

enum conn_flag {
    CONN_DIRTY = 1 << 0,         /* on the list that flush works through */
    CONN_ARMED = 1 << 1,         /* its wheel node is armed */
    CONN_KNOWN = 1 << 2,         /* the user knows it: `closed` is owed */
    CONN_ACTIVE = 1 << 3,        /* opened by connect */
    CONN_TIMESTAMPS = 1 << 4,    /* RFC 7323 negotiated */
    CONN_SACK = 1 << 5,          /* RFC 2018 negotiated */
    CONN_FIN_WANTED = 1 << 6,    /* the user has shut down */
    CONN_FIN_SENT = 1 << 7,
    CONN_FIN_ACKED = 1 << 8,
    CONN_ACK_OWED = 1 << 9,      /* may be delayed */
    CONN_PAUSED = 1 << 10,       /* the user left bytes unread */
    CONN_RESUME = 1 << 11,       /* and asks for them again */
    CONN_KEPT = 1 << 12,         /* pieces are kept */
    CONN_PEER_FIN = 1 << 13,     /* the peer's FIN came, in order */
    CONN_FIN_KEPT = 1 << 14,     /* or is known, with text before it missing: cold fin_seq */
    CONN_EOF_TOLD = 1 << 15,     /* peer_closed was called */
    CONN_LOST = 1 << 16,         /* some range in flight is marked lost and not sent again */
    CONN_RECOVERY = 1 << 17,     /* fast recovery, until cold recover is acknowledged */
    CONN_LOSS = 1 << 18,         /* after a retransmission timeout, likewise */
    CONN_SEND_LOST = 1 << 19,    /* one lost segment leaves whatever the congestion window says */
    CONN_CWND_LIMITED = 1 << 20, /* the congestion window held data back */
    CONN_PROBE = 1 << 21,        /* send a probe that the peer has to answer */
    CONN_FORCE = 1 << 22,        /* the sender's silly-window wait is over */
    CONN_SCALE = 1 << 23,        /* window scaling negotiated (a scale may be 0) */
    CONN_SACKED = 1 << 24,       /* some range in flight is SACKed */
    CONN_REORDERED = 1 << 25,    /* the network was seen to change the order */
    CONN_DUPLICATE = 1 << 26,    /* cold dsack_start, dsack_len are to be reported (RFC 2883) */
    CONN_TAIL_PROBE = 1 << 27,   /* a tail loss probe is to be sent */
    CONN_TAIL_SENT = 1 << 28,    /* and was: cold tail_end */
    CONN_TAIL_RESENT = 1 << 29,  /* it repeated something */
    CONN_NAGLE = 1 << 30,        /* small segments wait */
};

/*
 * Most connections have one slice queued and one range in flight, or nothing. These are held in the
 * connection itself, and the nodes for them only promised: flight_tail is then TCP_OWN (the range is all
 * from snd_una to snd_nxt, sent once, at sent_us), queue_tail is TCP_OWN with the slice's block (the
 * slice is all that is queued).
 */
#define TCP_OWN UINT32_C(0x80000000)

struct conn {
    struct gw_tcp_tuple tuple;
    uint32_t rcv_nxt;
    uint32_t rcv_acked; /* the last acknowledgement that left */
    uint32_t rcv_edge;  /* end of the window that was offered: never moves back */
    uint32_t snd_una;
    uint32_t snd_nxt;
    uint32_t snd_wnd; /* bytes after snd_una that the peer takes */
    uint32_t flags;

    uint64_t acked; /* stream position of snd_una */
    uint32_t ts_recent;
    uint32_t heard;       /* coarse time of the peer's last segment */
    uint32_t queue_tail;  /* ring of slices to send: the last, which points to the first; or TCP_OWN */
    uint32_t queue_bytes; /* from snd_una on */
    uint32_t flight_tail; /* ring of ranges in flight, likewise */
    uint32_t pipe;        /* of them neither lost nor SACKed, in sequence space */
    uint32_t cwnd;
    uint32_t dirty_next;
    uint32_t srtt_us; /* 0: never measured */
    uint32_t rttvar_us;
    uint32_t rexmit_at;
    uint32_t sent_us; /* of the range in flight, with TCP_OWN */
    uint16_t mss; /* text bytes a segment, options already taken off */
    uint8_t snd_scale : 4, rcv_scale : 4;
    uint8_t backoff : 4, unanswered : 4; /* timeouts in a row, probes without an answer */
    uint8_t rexmit : 4, timers : 4;      /* enum tcp_rexmit, set of enum tcp_timer */
    uint8_t state;                       /* changed by tcp_state_set alone */
    uint8_t dup_acks;
    uint8_t acks_owed; /* to be sent at once */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct conn) == 128, "the hot state is two cache lines");

struct cold {
    /* What a segment that brings nothing unusual touches. */
    struct gw_wheel_node node;
    uint32_t at[TIMER_COUNT]; /* ticks */
    uint32_t range_count : 9; /* in flight */
    uint32_t resent : 15;     /* segments sent again, up to GW_TCP_RESENT_MAX */
    uint32_t close_reason : 3;
    uint32_t window_log2 : 5; /* the largest window the peer offered was at least 2^this */
    union {
        uint32_t dup_bytes;    /* without SACK: what duplicate ACKs say has left the network */
        uint32_t rack_sent_us; /* with: when the latest of what has arrived was sent */
    };
    uint32_t rack_end;     /* where that ended */
    uint32_t rack_rtt_us;  /* and how long it took; 0: nothing known of this flight */
    uint32_t rtt_us_min;   /* of this connection, 0: not measured */
    uint32_t tail_end;     /* snd_nxt when the tail loss probe left */
    union {
        uint32_t cursor;    /* a slice of the queue where sending goes on, 0: none */
        uint32_t queue_off; /* with TCP_OWN: where the slice begins in its block */
    };
    uint16_t kept_count;
    uint8_t rack_quarters; /* reordering window, in quarters of the least round-trip time, less one */
    uint8_t rack_keep;     /* recoveries until that shrinks again */
    /* The rest. */
    uint32_t ssthresh;
    uint32_t cc[4];       /* of the congestion control */
    uint32_t recover;     /* snd_nxt when recovery began */
    uint32_t rack_round;  /* snd_nxt when the reordering window last grew */
    uint32_t cursor_seq;  /* of the first byte at the cursor */
    uint32_t kept_tail;   /* ring of pieces received and kept, by sequence number */
    uint32_t fin_seq;     /* with CONN_FIN_KEPT */
    uint32_t sack_recent; /* in the piece that came last */
    uint32_t dsack_start;
    uint16_t dsack_len;
    uint16_t challenge_at; /* in units of TCP_CHALLENGE_SHIFT */
};
_Static_assert(sizeof(struct cold) <= 108, "see the budget in docs/TCP.md");

#endif
