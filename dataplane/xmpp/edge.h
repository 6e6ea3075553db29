/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge part of a lcore: XMPP streams over its TCP connections.
 *
 * One state a connection, in an array beside TCP's with the same index. Input is parsed where it
 * lies; answers to a client's own stanzas leave in order and never before its earlier stanzas are
 * settled (durable, refused or routed), so that any answer acknowledges what came before it.
 */
#ifndef GW_XMPP_EDGE_H
#define GW_XMPP_EDGE_H

#include "../base/slab.h"
#include "../base/text.h"
#include "bind.h"
#include "post.h"
#include "stanza.h"

/* X(upper, name): states of a stream */
#define GW_EDGE_STATES(X)                                                                          \
    X(HEADER, "header")           /* waiting for the client's stream header */                     \
    X(FEATURES, "authenticating") /* features sent, not authenticated */                           \
    X(READY, "authenticated")     /* authenticated, no resource yet */                             \
    X(BOUND, "bound")                                                                              \
    X(CLOSING, "closing")         /* our </stream:stream> is queued; what comes in is dropped */

enum gw_edge_state {
#define X(upper, name) GW_EDGE_##upper,
    GW_EDGE_STATES(X)
#undef X
};

/* Unsettled stanzas a connection may have: more pauses reading. One bit each. */
#define GW_EDGE_WINDOW 256u
/* Elements of a client that has not authenticated, in all: a login has three, and children none. */
#define GW_EDGE_AUTH_ELEMENTS_MAX 32u
/* Bytes of answers that wait for earlier stanzas, and of the send queue: more pauses reading. */
#define GW_EDGE_HELD_BYTES_MAX   65536u
#define GW_EDGE_OUTPUT_BYTES_MAX 262144u

/* Why reading is paused; several may hold at once. */
enum {
    GW_PAUSE_STORE = 1,  /* a read of the account, or a key derivation, is under way */
    GW_PAUSE_BIND = 2,   /* the home has not answered yet */
    GW_PAUSE_CREDIT = 4, /* the home of a recipient has no credit left */
    GW_PAUSE_WINDOW = 8, /* GW_EDGE_WINDOW stanzas are unsettled, or too much is held */
    GW_PAUSE_OUTPUT = 16,
};

/* Refusals on their way to the client of a stream that can be resumed. Until it has acknowledged them no
 * count covers what they refuse: if they were lost with the connection, nobody would know of them. */
struct gw_edge_refusals {
    bool out;
    uint32_t first_seq; /* the first stanza refused */
    uint32_t number;    /* our outbound count after the last refusal */
};

struct gw_edge_conn {
    uint16_t generation;
    uint8_t state;
    uint8_t paused;
    uint8_t domain : 4;    /* of the stream: an index of cfg->domains */
    uint8_t auth_failures : 2;
    uint8_t elements : 6;  /* read before authentication */
    bool header_seen : 1;  /* in this stream: parsing stanzas */
    bool header_sent : 1;
    bool authenticated : 1;
    bool sm_in : 1;        /* stream management asked for: inbound stanzas count from sm_base */
    bool sm : 1;           /* and <enabled/> sent: outbound ones count */
    bool enabling : 1;     /* the home makes it resumable: <enabled/> follows */
    bool resumable : 1;    /* its count is durable before an ack states it */
    bool counting : 1;     /* the home makes a count durable */
    bool ack_due : 1;      /* the client has asked, and what it asked about is settled */
    bool ack_short : 1;    /* the last one left something out, because of refusals */
    bool r_outstanding : 1;
    bool ping_outstanding : 1;
    bool inactive : 1;     /* what can wait is held back: csi.h */
    bool no_ping : 1;      /* it has not answered one: delivered means handed over */
    bool refusing : 1;     /* deliveries of refused_epoch are put off */
    bool want_room : 1;    /* the home waits to be told of room */
    bool in_whole : 1;     /* in_block holds a whole unit that could not be handled yet */
    bool abort_due : 1;    /* reset it at the end of the pass: not in the middle of a unit of its own */
    /* Membership of lists: they outlive the connection's end and its index's next use. */
    bool dirty : 1;
    bool waiting : 1;

    gw_block in_block; /* start of a unit that is not whole yet */
    uint32_t in_len;
    struct gw_xml_frame frame;

    gw_block sasl_block; /* struct gw_sasl, until authenticated */
    gw_block jid_block;  /* struct gw_edge_jid, from authentication on */
    gw_block blocks_block; /* struct gw_home_text: whom the user blocks (roster.h); 0: nobody */

    struct gw_ref session; /* index 0: none */
    uint16_t refused_epoch;

    /* stanzas in */
    uint32_t seq;     /* number of the last stanza accepted; wraps */
    uint32_t settled; /* all up to this one are settled */
    uint32_t sm_base; /* seq when stream management was enabled: h = settled - sm_base */
    uint32_t h_durable; /* resumable: what acks may state */
    struct gw_edge_refusals refusals[2]; /* the older ones first */
    uint64_t settled_ahead[GW_EDGE_WINDOW / 64]; /* bit seq % 256 of those settled out of order */
    gw_block held_head, held_tail;
    uint32_t held_bytes;

    /* stanzas out */
    uint32_t out_count;
    gw_block held_back;    /* csi.h */
    gw_block handed_block; /* ring of struct gw_handed */
    uint16_t handed_head, handed_count, handed_cap;
    uint16_t handed_asked;     /* how many the ping under way will confirm */
    uint16_t handed_confirmed; /* confirmed, the home not told yet */
    uint32_t ping_number;

    uint64_t heard_us; /* last byte from the client */
    uint64_t waits_us; /* since when the state, or the answer under way, is waited for */
    uint32_t next_waiting; /* list of those that wait for a credit */
    uint32_t next_dirty;
    uint32_t drains; /* of earlier connections of this index: they outlive it */
};

/* Who is at the other end, packed: an idle session keeps this and nothing larger. */
struct gw_edge_jid {
    uint8_t identity[32];
    uint16_t bare_len, len; /* equal until a resource is bound */
    uint8_t lang_len;       /* of xml:lang in the stream's header, behind the JID */
    char text[];
};

/* A session whose connection is gone, and that may come back: what its home is told. */
struct gw_edge_leave {
    struct gw_ref session;
    bool keep;
    uint32_t h, out_count;
    gw_block handed_block;
    uint16_t handed_head, handed_count, handed_cap;
};

/* The same while stanzas of that connection are still being dealt with: its count grows by them. Each has
 * a credit, so there are never more of these than credits. */
struct gw_edge_drain {
    uint32_t next; /* of its connection's index; first: the slab's free link */
    uint16_t generation;
    uint32_t seq, settled, sm_base;
    uint32_t stop; /* behind it the client is to send all again: something was refused */
    uint64_t settled_ahead[GW_EDGE_WINDOW / 64];
    struct gw_edge_leave leave;
};

/* Why an answer waits, and its bytes behind it. */
struct gw_held {
    gw_block next;
    uint32_t seq;  /* leaves when settled has reached this */
    uint32_t len;
    uint8_t what; /* enum gw_answer */
    char text[];
};

enum gw_answer {
    GW_ANSWER_NONZA,   /* does not count as a stanza */
    GW_ANSWER_STANZA,
    GW_ANSWER_RESULT,  /* of the stanza `seq` itself */
    GW_ANSWER_REFUSAL, /* of the stanza behind `seq` */
    GW_ANSWER_ACK,     /* an <a/>, whose h is written when it leaves */
    GW_ANSWER_ENABLED, /* outbound stanzas count from behind it */
    GW_ANSWER_LAST,    /* end of the stream: FIN behind it */
};

#define GW_CAPS_VER_BYTES 40

struct gw_edge {
    struct gw_edge_conn *conns; /* index as TCP's */
    struct gw_region region;
    uint32_t dirty_head;   /* connections to look at when the pass ends */
    uint32_t waiting_head, waiting_tail; /* connections that wait for a credit, longest first */
    /* Sessions whose connection is gone, until their homes are told: a ring, one slot for each that
     * can be bound. */
    struct gw_edge_leave *unbind;
    struct gw_slab drains;
    struct gw_region unbind_region;
    uint32_t unbind_head, unbind_count;
    uint32_t bound_count; /* bound or about to be, and those in `unbind` and `drains` */
    uint32_t shutdown_next;
    gw_block copies_head, copies_tail; /* struct gw_stanza: sent copies that wait for a credit */
    uint32_t copies_count;
    char caps_ver[GW_CAPS_VER_BYTES]; /* iq_disco.c: what the server can do, hashed (XEP-0115) */
    uint8_t caps_ver_len;
};

int gw_edge_open(struct gw_lcore *l, enum gw_region_pages pages);
void gw_edge_free(struct gw_lcore *l);

/* Upcalls for gw_tcp_open, with ctx = struct gw_lcore *. */
extern const struct gw_tcp_upcalls gw_edge_upcalls;

/* Posts addressed to the edge. */
void gw_edge_post(struct gw_lcore *l, struct gw_post *p);
/* The post will be dealt with soon: brings what it touches into the cache. A hint. */
void gw_edge_expect(const struct gw_lcore *l, const struct gw_post *p);
/* Completion of a store request that the edge made. */
void gw_edge_store_done(struct gw_lcore *l, const struct gw_store_completion *c);
/* Derivations done by the worker. Returns how many. */
unsigned gw_edge_poll_deriver(struct gw_lcore *l);
/* End of the pass: credits for those that wait, acks and requests for acks, resumed reads. */
unsigned gw_edge_finish(struct gw_lcore *l);
/* Say goodbye on every stream (system-shutdown); bounded work a call, 0 when all are closed. */
unsigned gw_edge_shutdown(struct gw_lcore *l);

/* Tags of store requests: the top bit says which part of the lcore made it. */
#define GW_TAG_EDGE (1ull << 63)

/* ---- inside the edge ---- */

static inline struct gw_edge_conn *gw_edge_conn(const struct gw_lcore *l, gw_conn c)
{
    return &l->edge->conns[c];
}

/* The domain that this stream is to, and whose user may log in on it. */
static inline struct gw_bytes gw_edge_domain(const struct gw_lcore *l, gw_conn c)
{
    return l->cfg->domains[gw_edge_conn(l, c)->domain];
}

static inline struct gw_ref gw_edge_ref(const struct gw_lcore *l, gw_conn c)
{
    return (struct gw_ref){c, gw_edge_conn(l, c)->generation, (uint16_t)l->index};
}

static inline struct gw_bytes gw_edge_bare(const struct gw_lcore *l, gw_conn c)
{
    const struct gw_edge_jid *j = gw_arena_ptr(l->arena, gw_edge_conn(l, c)->jid_block);
    return gw_bytes(j->text, j->bare_len);
}

static inline struct gw_bytes gw_edge_full(const struct gw_lcore *l, gw_conn c)
{
    const struct gw_edge_jid *j = gw_arena_ptr(l->arena, gw_edge_conn(l, c)->jid_block);
    return gw_bytes(j->text, j->len);
}

/* The language of what the client sends, where it does not say another. Empty: it has not said. */
static inline struct gw_bytes gw_edge_lang(const struct gw_lcore *l, gw_conn c)
{
    const struct gw_edge_jid *j = gw_arena_ptr(l->arena, gw_edge_conn(l, c)->jid_block);
    return gw_bytes(j->text + j->len, j->lang_len);
}

/* What became of a unit. */
enum gw_handled {
    GW_HANDLED,      /* consumed */
    GW_HANDLE_LATER, /* not consumed: conn->paused says why */
};

/* input.c */
/* Whether a request can go to this home now; otherwise reading pauses until it can. */
bool gw_edge_has_credit(struct gw_lcore *l, gw_conn c, unsigned home);
size_t gw_edge_data(void *ctx, gw_conn c, const uint8_t *p, size_t len);
void gw_edge_pause(struct gw_lcore *l, gw_conn c, uint8_t why);
void gw_edge_resume(struct gw_lcore *l, gw_conn c, uint8_t why);
void gw_edge_read_on(struct gw_lcore *l, gw_conn c);
void gw_edge_mark_dirty(struct gw_lcore *l, gw_conn c);

/* stream.c */
enum gw_handled gw_edge_stream_open(struct gw_lcore *l, gw_conn c);
enum gw_handled gw_edge_unit(struct gw_lcore *l, gw_conn c);
/* Send a stream error and close. Further input is dropped. */
void gw_edge_stream_error(struct gw_lcore *l, gw_conn c, enum gw_stream_error e, const char *text);
/* The same with an application's own condition (RFC 6120 section 4.9.4), an element or NULL. */
void gw_edge_stream_error_with(struct gw_lcore *l, gw_conn c, enum gw_stream_error e,
                               const char *text, const char *own_condition);
/* Close after what is queued, answering or sending </stream:stream>. */
void gw_edge_stream_close(struct gw_lcore *l, gw_conn c);
/* The client has closed the connection, and not the stream: it may come back and resume it. */
void gw_edge_stream_lost(struct gw_lcore *l, gw_conn c);

/* leave.c */
int gw_edge_leave_open(struct gw_lcore *l, enum gw_region_pages pages);
void gw_edge_leave_free(struct gw_lcore *l);
/* The connection leaves its session: the home is told when there is a credit. keep: the session may be
 * resumed, if it can be; else it ends. */
void gw_edge_detach(struct gw_lcore *l, gw_conn c, bool keep);
void gw_edge_unbind(struct gw_lcore *l, const struct gw_edge_leave *leave);
/* Tell homes, as far as credits go. */
unsigned gw_edge_send_unbinds(struct gw_lcore *l);
/* A stanza of a connection that is gone is settled. */
void gw_edge_drain_settle(struct gw_lcore *l, struct gw_ref conn, uint32_t seq, bool refused);

/* output.c */
/* There is no memory to go on with this connection: it is reset when the pass ends. */
void gw_edge_give_up(struct gw_lcore *l, gw_conn c);
/* Bytes to the client now. Without room or memory for them the connection is reset when the pass
 * ends: it is a client that asks and does not read. */
void gw_edge_write(struct gw_lcore *l, gw_conn c, struct gw_bytes b);
/* An answer that leaves when all stanzas up to seq are settled, behind those that wait already. */
void gw_edge_answer_after(struct gw_lcore *l, gw_conn c, uint32_t seq, enum gw_answer what,
                          struct gw_bytes b);
/* A stanza in answer to the one numbered conn->seq: waits for all before that. */
void gw_edge_answer(struct gw_lcore *l, gw_conn c, struct gw_bytes b);
/* Anything else: waits for all stanzas so far. */
void gw_edge_answer_nonza(struct gw_lcore *l, gw_conn c, enum gw_answer what, struct gw_bytes b);
/* Let go what need not wait any more. */
void gw_edge_release(struct gw_lcore *l, gw_conn c);
/* What is settled, but nothing whose answer is still to be written: a stanza's refusal must not come
 * after what acknowledges it. */
uint32_t gw_edge_acknowledged(struct gw_lcore *l, const struct gw_edge_conn *e);
/* Counting begins anew: whoever acknowledges anything from now on has what was handed over by now. */
void gw_edge_handed_before(struct gw_lcore *l, gw_conn c);
/* The client has handled our first out_count stanzas, refusals among them. */
void gw_edge_confirm_refusals(struct gw_lcore *l, gw_conn c, uint32_t out_count);
void gw_edge_write_ack(struct gw_lcore *l, gw_conn c, uint32_t h);
/* Acks that are due and may leave, or what they state made durable first. */
void gw_edge_ack_on(struct gw_lcore *l, gw_conn c);
/* Stanza seq is settled: *settled moves on over all that are, one bit each in ahead_bits. */
void gw_settle_in(uint64_t ahead_bits[GW_EDGE_WINDOW / 64], uint32_t *settled, uint32_t seq);
/* Stanza seq is settled; release what waited for it. */
void gw_edge_settle(struct gw_lcore *l, gw_conn c, uint32_t seq);
/* Give the number of the stanza being handled; false when the window is full (paused). */
bool gw_edge_number(struct gw_lcore *l, gw_conn c);
void gw_edge_drop_held(struct gw_lcore *l, gw_conn c);

/* sasl.c */
enum gw_handled gw_edge_sasl(struct gw_lcore *l, gw_conn c);
void gw_edge_sasl_free(struct gw_lcore *l, gw_conn c);

/* answer.c */
/* <error/> with its condition. */
void gw_edge_put_error(struct gw_text *t, enum gw_condition why);
/* <iq type='result'/> for the IQ in l->xml, with this payload. */
void gw_edge_result(struct gw_lcore *l, gw_conn c, struct gw_bytes payload);
/* The same when a home has the request under way: it leaves when that has settled the stanza. */
void gw_edge_result_when_settled(struct gw_lcore *l, gw_conn c, struct gw_bytes payload);
/* Refuse the stanza in l->xml with an error (RFC 6120 section 8.3); errors and results are dropped
 * instead. The stanza has its number. */
void gw_edge_refuse(struct gw_lcore *l, gw_conn c, enum gw_condition why);
/* The same for a stanza that a home sent back: the answer waits for those before `seq`. */
void gw_edge_refuse_block(struct gw_lcore *l, gw_conn c, const struct gw_stanza *s,
                          enum gw_condition why);

/* An empty result for an IQ that its home has dealt with. */
void gw_edge_result_block(struct gw_lcore *l, gw_conn c, const struct gw_stanza *s);

/* iq_roster.c */
/* The presence in l->xml, a subscription, on its way to the user's own home. */
enum gw_handled gw_edge_ask_subscription(struct gw_lcore *l, gw_conn c, enum gw_stanza_type type,
                                         const struct gw_jid_text *to);

/* iq_disco.c */
/* The server's capabilities (XEP-0115 section 6) for its stream features. Uses l->scratch. */
void gw_edge_open_caps(struct gw_lcore *l);
void gw_edge_put_caps(const struct gw_lcore *l, struct gw_text *t);

/* iq.c */
enum gw_handled gw_edge_iq(struct gw_lcore *l, gw_conn c);

/* bind.c */
/* The JID with its resource, packed anew. False: no memory. */
bool gw_edge_extend_jid(struct gw_lcore *l, gw_conn c, struct gw_bytes resource);
/* The language of the stream's header, kept with it: at most 255 bytes. False: no memory. */
bool gw_edge_set_lang(struct gw_lcore *l, gw_conn c, struct gw_bytes lang);
/* A request to the account's home: who it is, with so much room behind its JID. 0: no memory, or too many
 * are bound. */
gw_block gw_edge_bind_request(struct gw_lcore *l, gw_conn c, size_t room);
/* Asks for it; the connection is not read until the answer is here. The caller has a credit. */
void gw_edge_bind_ask(struct gw_lcore *l, gw_conn c, unsigned home, enum gw_post_op op, gw_block request);
enum gw_handled gw_edge_bind(struct gw_lcore *l, gw_conn c, gw_xml_node bind);
void gw_edge_bound(struct gw_lcore *l, struct gw_post *p);

/* message.c */
enum gw_handled gw_edge_message(struct gw_lcore *l, gw_conn c);
/* Number the stanza in l->xml, refuse it if why is set, and settle it: it ends here. */
enum gw_handled gw_edge_settle_here(struct gw_lcore *l, gw_conn c, enum gw_condition why);
/* Number the stanza in l->xml and route it to the home of `to`. The caller sets kind, type, flags and
 * ref in *f; the rest is filled in. */
enum gw_handled gw_edge_route(struct gw_lcore *l, gw_conn c, const struct gw_jid_text *to,
                              struct gw_stanza_form *f);
/* The stanza's `to` prepared into *to; 1: present, 0: absent (*to is the user's bare JID), -EINVAL. */
int gw_edge_read_to(struct gw_lcore *l, gw_conn c, struct gw_jid_text *to);
/* What all stanzas must keep: `from` ours or absent, id not too long. False: the stream has ended. */
bool gw_edge_check_stanza(struct gw_lcore *l, gw_conn c);
/* Type attribute of the stanza in l->xml. */
enum gw_stanza_type gw_edge_type(const struct gw_lcore *l, enum gw_stanza_kind kind);

/* presence.c */
enum gw_handled gw_edge_presence(struct gw_lcore *l, gw_conn c);

/* sm.c: XEP-0198 */
enum gw_handled gw_edge_sm(struct gw_lcore *l, gw_conn c);
void gw_edge_enabled(struct gw_lcore *l, struct gw_post *p);
void gw_edge_counted(struct gw_lcore *l, struct gw_post *p);
void gw_edge_resumed(struct gw_lcore *l, struct gw_post *p);

/* delivery.c */
void gw_edge_deliver(struct gw_lcore *l, struct gw_post *p);
/* Counting begins anew: whoever acknowledges anything from now on has what was handed over by now. */
void gw_edge_handed_before(struct gw_lcore *l, gw_conn c);
/* The client has handled our first out_count stanzas (stream management); false: more than we sent. */
bool gw_edge_confirm_stanzas(struct gw_lcore *l, gw_conn c, uint32_t out_count);
/* The client has answered the ping with this number. */
void gw_edge_confirm_ping(struct gw_lcore *l, gw_conn c, uint32_t number);
/* The client answers no pings: what TCP has handed over counts as delivered from now on. */
void gw_edge_confirm_handed_over(struct gw_lcore *l, gw_conn c);
/* Tell the home what is confirmed, as far as credits go. False: some is left. */
bool gw_edge_flush_confirmed(struct gw_lcore *l, gw_conn c);
/* Ask for confirmation of what has been handed over, if nothing is asked yet. */
void gw_edge_ask(struct gw_lcore *l, gw_conn c);
void gw_edge_send_ping(struct gw_lcore *l, gw_conn c);
void gw_edge_send_r(struct gw_lcore *l, gw_conn c);
void gw_edge_acked(void *ctx, gw_conn c, uint64_t acked);

/* timers.c */
void gw_edge_set_deadline(struct gw_lcore *l, gw_conn c);
void gw_edge_deadline(void *ctx, gw_conn c);

#endif
