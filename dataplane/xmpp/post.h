/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posts: what edge and home lcores tell each other, by one ring for each ordered pair of lcores.
 *
 * Requests take a credit before they are sent and every request is answered by exactly one post that
 * returns it; so each ring has room for all that can be under way, a push never fails, and two lcores
 * can never wait for each other. An edge has GW_CREDITS requests outstanding at each home (`up`), and
 * a home has as many at each edge (`down`).
 */
#ifndef GW_XMPP_POST_H
#define GW_XMPP_POST_H

#include "../base/ring.h"
#include "lcore.h"

#define GW_CREDITS 4096u
/* Stored messages handed to a session and not yet delivered; more wait in the mailbox. */
#define GW_DELIVERY_WINDOW 256u

/* What a stream can be resumed by (XEP-0198 section 5): random, and nobody's to guess. */
struct gw_stream_name {
    uint8_t b[16];
};

enum gw_post_op {
    /* ---- edge to home, one `up` credit each; answered by the op behind the arrow ---- */
    GW_POST_BIND = 1,  /* block: struct gw_bind; conn -> BOUND */
    GW_POST_STANZA,    /* block: struct gw_stanza, lent; conn, seq -> RETURN (after SETTLED) */
    GW_POST_PRESENCE,  /* session; block: struct gw_stanza of the user's own presence -> RETURN */
    GW_POST_ASK,       /* session; block: struct gw_stanza of what the user asks of its own account
                          (enum gw_ask); conn, seq -> RETURN, and an answer before it as DELIVER */
    GW_POST_DIRECTED,  /* session; block: struct gw_home_text of a JID that gets directed presence; n: or,
                          when 0, that it is unavailable -> DONE */
    GW_POST_DELIVERED, /* session, n, positions[] -> DONE */
    GW_POST_ROOM,      /* session: its send queue has room again -> DONE */
    GW_POST_SM,        /* session enables stream management; n: resumable, if it can be; seq: its count h
                          begins there -> ENABLED */
    GW_POST_COUNT,     /* session, seq: its count h is to be durable -> COUNTED */
    GW_POST_RESUME,    /* block: struct gw_bind with the stream's name; conn -> RESUMED */
    GW_POST_CARBONS,   /* session, n: it wants copies (XEP-0280), or none; conn, seq -> RETURN */
    GW_POST_COPY,      /* block: struct gw_stanza, sent and settled: for the sender's other sessions
                          -> RETURN */
    GW_POST_UNBIND,    /* session: its connection is gone. n: it may come back; then seq is its count
                          h, and block, if any, a ring of struct gw_handed (leave) -> DONE */
    /* ---- answers to an edge ---- */
    GW_POST_BOUND,   /* conn, session, status, block back */
    GW_POST_ENABLED, /* conn, name: of the stream; n: it can be resumed */
    GW_POST_COUNTED, /* conn, seq: durable */
    GW_POST_RESUMED, /* conn, session, seq: h; status: enum gw_resumed; block back, filled in */
    GW_POST_SETTLED, /* conn, seq: stanza durable; its block, lent still. No credit: RETURN brings it */
    GW_POST_RETURN,  /* conn, seq, status, settle: the block comes back; settle: also settles seq; n: with
                        an empty result. Without a conn: of a stanza that a home has sent */
    GW_POST_DONE,    /* the block of an UNBIND back */
    /* ---- home to edge, one `down` credit each -> TAKEN ---- */
    GW_POST_DELIVER, /* conn, session, epoch; block lent, off, len; position (0: not stored) */
    GW_POST_END,     /* conn, session, status: stream error to send */
    /* ---- answer to a home ---- */
    GW_POST_TAKEN, /* session, epoch, block back, deliver; n: enum gw_taken */
};

/* What became of a RESUME. */
enum gw_resumed {
    GW_RESUMED_OK,
    GW_RESUMED_NOT_FOUND,
    GW_RESUMED_TOO_HIGH, /* more is acknowledged than was sent; the block says how much was */
    GW_RESUMED_BUSY,     /* no room for it now */
};

enum gw_taken {
    GW_TAKEN_OK,
    GW_TAKEN_NO_ROOM, /* not taken: its send queue is full; ROOM will follow */
    GW_TAKEN_GONE,    /* not taken: the connection has ended */
};

/* What a DELIVER's block is, so that its TAKEN can be put to rest. In deliver.lent. */
enum gw_lent {
    GW_LENT_STANZA,
    GW_LENT_READ,
    GW_LENT_TEXT,
    GW_LENT_BLOCKS, /* not text: whom the user blocks (a roster, or nothing), for the edge to know */
    GW_LENT_ANSWER, /* text too: the answer to the stanza seq of the client, never refused */
};

/* Index and generation of a connection or session on a lcore: a stale one is recognised. */
struct gw_ref {
    uint32_t index;
    uint16_t generation;
    uint16_t lcore;
};

/* Some bytes of the home's own: presences, transients. */
struct gw_home_text {
    uint64_t behind; /* of one that waits: the stored messages below this position came before it */
    gw_block next;
    uint32_t len;
    char text[];
};

#define GW_POST_POSITIONS_MAX 4

struct gw_post {
    uint8_t op;
    uint8_t from;     /* lcore */
    uint8_t n;
    uint8_t status;   /* enum gw_condition */
    uint32_t seq;
    struct gw_ref conn;
    struct gw_ref session;
    gw_block block;
    uint16_t epoch;
    uint8_t settle;
    uint8_t owner; /* lcore whose arena holds the block */
    union {
        uint64_t positions[GW_POST_POSITIONS_MAX];
        struct {
            uint64_t position;
            uint32_t off, len;
            uint32_t delay_off; /* 0: no delay element */
            uint16_t lent; /* enum gw_lent */
            uint16_t own;  /* it is for the session's full JID */
            uint64_t delay_us;
        } deliver;
        struct {
            uint32_t out_count; /* stanzas sent in the stream */
            uint16_t handed_head, handed_count, handed_cap;
        } leave;
        struct gw_stream_name name;
    };
};
_Static_assert(sizeof(struct gw_post) == 64, "one cache line");

/* Rings of all pairs; made at start, then each lcore uses its own ends only. */
struct gw_mesh {
    struct gw_ring *in[GW_LCORES_MAX];  /* from each lcore */
    struct gw_ring *out[GW_LCORES_MAX]; /* to each lcore */
    uint32_t up_used[GW_LCORES_MAX];    /* credits taken at each home */
    uint32_t down_used[GW_LCORES_MAX];  /* credits taken at each edge */
};

/* One mesh a lcore. Start only. */
int gw_mesh_open(struct gw_mesh *meshes, unsigned count);
void gw_mesh_free(struct gw_mesh *meshes, unsigned count);

static inline uint32_t gw_post_up_room(const struct gw_lcore *l, unsigned home)
{
    return GW_CREDITS - l->mesh->up_used[home];
}

static inline uint32_t gw_post_down_room(const struct gw_lcore *l, unsigned edge)
{
    return GW_CREDITS - l->mesh->down_used[edge];
}

/* A request: the caller has checked that there is room. */
void gw_post_up(struct gw_lcore *l, unsigned home, struct gw_post *p);
void gw_post_down(struct gw_lcore *l, unsigned edge, struct gw_post *p);
/* An answer: needs no credit. */
void gw_post_answer(struct gw_lcore *l, unsigned to, struct gw_post *p);

/* Take up to max posts that `from` has sent here and settle their credits. */
unsigned gw_post_take(struct gw_lcore *l, unsigned from, struct gw_post *out, unsigned max);

#endif
