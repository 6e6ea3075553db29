/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the control thread may ask a lcore, and its answers: one ring each way for each lcore.
 *
 * A command's memory is the control thread's and valid until the reply. A lcore answers within a
 * few passes and does a bounded part of a command in each, so that an operator never stalls it.
 */
#ifndef GW_DATAPLANE_COMMAND_H
#define GW_DATAPLANE_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/counters.h"
#include "base/ip.h"
#include "base/ring.h"
#include "tcp/info.h"

enum gw_command_op {
    /* Sessions homed here, from `cursor` (0 starts), as many as fit into data: a run of
     * struct gw_session_row. next, more. */
    GW_COMMAND_SESSIONS = 1,
    /* End sessions of the account whose bare JID is in (data, data_len): stream error
     * `not-authorized` when account_gone, else `policy-violation`. Sent to all lcores; its home acts.
     * reply.count: sessions ended; -ENOENT when it is homed elsewhere or has none. */
    GW_COMMAND_END_SESSIONS,
    /* The account whose bare JID is behind a struct gw_limits_command in data has other mailbox limits.
     * Sent to all lcores; -ENOENT: it is not known here, and is read when it will be. */
    GW_COMMAND_LIMITS,
    /* Connections and TIME-WAIT entries here, behind the position `cursor` (0 starts): data holds a
     * struct gw_connection_query, and then a run of struct gw_connection_row. next, more. */
    GW_COMMAND_CONNECTIONS,
    /* Neighbours on the link, as this lcore knows them, behind the position `cursor` (0 starts): a run
     * of struct gw_net_neighbour (net/net.h). next, more. */
    GW_COMMAND_NEIGHBOURS,
    /* Attach the tap (struct gw_capture *) that data is to this lcore's port; -EBUSY: there is one. */
    GW_COMMAND_CAPTURE_START,
    /* Let go of it: after the reply the lcore does not touch it any more, attached before or not. */
    GW_COMMAND_CAPTURE_STOP,
};

struct gw_command {
    uint8_t op;
    bool account_gone;
    uint16_t reserved;
    uint32_t data_len;
    uint64_t tag;
    void *data;
    uint64_t cursor;
};

struct gw_command_reply {
    uint64_t tag;
    int32_t status;
    uint32_t len;
    uint64_t next;
    uint32_t count;
    bool more;
    uint8_t reserved[3];
};

struct gw_session_row {
    uint32_t len; /* of the row with the JID, without padding to 8 */
    uint16_t jid_len;
    uint16_t port;
    struct gw_ip ip;
    uint64_t since_us; /* wall clock */
    uint32_t unacked;  /* stored messages handed to it, not yet delivered */
    int8_t priority;
    bool available;    /* has sent presence */
    bool sm;           /* stream management on */
    bool behind;       /* its mailbox is still being read */
    bool resumable;
    bool detached;     /* resumable, and its connection is gone */
    /* full JID */
};

#define GW_BARE_JID_BYTES_MAX 2047

struct gw_limits_command {
    uint64_t bytes_max; /* 0: as configured */
    uint32_t messages_max;
    uint32_t account_len;
    char account[GW_BARE_JID_BYTES_MAX];
};

struct gw_connection_query {
    struct gw_tcp_filter filter;
    uint32_t rows_max; /* at least 1 */
    uint32_t scan_max; /* positions looked at; more than a pass bears count as that */
    uint16_t account_len; /* 0: any, and those that are nobody's yet */
    char account[GW_BARE_JID_BYTES_MAX];
};

struct gw_connection_row {
    uint32_t len; /* of the row with the JID, without padding to 8 */
    uint32_t position; /* see gw_tcp_info */
    struct gw_tcp_info info;
    uint16_t jid_len; /* 0: not logged in */
    /* JID: bare until a resource is bound */
};

struct gw_command_port {
    struct gw_ring *requests; /* struct gw_command, control to lcore */
    struct gw_ring *replies;  /* struct gw_command_reply */
};

/* ---- what control may read of a lcore at any time ---- */

/* parse: what the edge does with bytes that came in, up to a post to a home, wherever in the pass: with
 * the frames, or when a connection that was paused is read on. */
#define GW_STAGES(X)                                                                               \
    X(receive) X(tcp) X(parse) X(route) X(seal) X(append) X(deliver) X(send) X(timers) X(idle)

enum gw_stage {
#define X(name) GW_STAGE_##name,
    GW_STAGES(X)
#undef X
        GW_STAGE_COUNT
};

struct gw_lcore_state {
    uint64_t passes;       /* of the loop */
    uint64_t busy_passes;  /* that did something */
    uint64_t stage_cycles[GW_STAGE_COUNT];
    uint64_t connections;
    uint64_t half_open;    /* TCP connections that are not established yet */
    uint64_t time_wait;
    uint64_t sessions;
    uint64_t accounts;       /* known in memory, with a session or without */
    uint64_t account_limit;
    uint64_t account_bytes;  /* reserved for them */
    uint64_t arena_used_bytes;
    uint64_t arena_limit_bytes;
};

#define GW_LCORE_COUNTER_SETS_MAX 8

/* One lcore as the control thread knows it. */
struct gw_lcore_view {
    unsigned index;                     /* dataplane index, 0 .. count - 1 */
    struct gw_command_port command;
    const struct gw_lcore_state *state; /* read field by field, relaxed */
    struct gw_counter_set sets[GW_LCORE_COUNTER_SETS_MAX];
    unsigned set_count;
};

#endif
