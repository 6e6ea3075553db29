/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The home part of a lcore: accounts whose bare JID hashes here, their sessions and mailboxes.
 *
 * It alone assigns an account's mailbox positions, seals, appends, decides who gets what, and reads
 * the mailbox for sessions whose cursor is behind its end. Everything that it does for a stanza waits
 * in one queue until the segment with all that came before is durable: that is the order promise.
 */
#ifndef GW_XMPP_HOME_H
#define GW_XMPP_HOME_H

#include "../../storage/event.h"
#include "../base/slab.h"
#include "bind.h"
#include "contacts.h"
#include "expiry.h"
#include "fanout.h"
#include "post.h"
#include "quota.h"
#include "repeats.h"
#include "resume.h"
#include "share.h"
#include "stanza.h"

#define GW_SEGMENT_BYTES       (512u << 10) /* the largest stanza fits with room to spare */
#define GW_SEGMENTS_UNDER_WAY  4u /* appended and not yet durable; meanwhile the next one fills */
#define GW_EVENTS_BYTES        (96u << 10)  /* of one segment */
#define GW_SEAL_BURST          512u
#define GW_READS_UNDER_WAY     16u
#define GW_READ_BYTES          (64u << 10)
#define GW_TRANSIENTS_MAX      32u /* unstored stanzas that wait for a session that is behind */

/* ---- accounts ---- */

/* X(upper): states of an account */
#define GW_HOME_ACCOUNT_STATES(X)                                                                  \
    X(LOADING) /* its record is being read */                                                      \
    X(LISTING) /* its roster is being read, for the first time or again */                         \
    X(WRITING) /* its roster is being written: what changes it, or comes after, waits */           \
    X(FINDING) /* its mailbox's bounds are being read */                                           \
    X(COUNTING) /* what is in its mailbox is being counted, for the first time or again */         \
    X(READY)                                                                                       \
    X(MISSING) /* there is none of this name (or it was deleted): dropped when nothing refers to it */

enum gw_home_account_state {
#define X(upper) GW_ACCOUNT_##upper,
    GW_HOME_ACCOUNT_STATES(X)
#undef X
};

/* Longer ones get a block of the arena. */
#define GW_HOME_JID_BYTES 44u

struct gw_home_account {
    uint32_t chain; /* next in its bucket; first: the slab's free link */
    uint32_t idle_prev, idle_next; /* list of those that may be forgotten, oldest first */
    uint16_t jid_len;
    uint8_t state;
    bool idle : 1;
    bool load_due : 1; /* the store had no room for the request, or it must wait */
    bool copies : 1;   /* counted in the table of carbons.h */
    bool stale : 1;    /* its record has changed since it was asked for */
    bool found : 1;    /* its mailbox's bounds are known */
    bool blocks : 1;   /* its block list names somebody */
    bool damaged : 1;  /* its own record does not open, or its roster: who is its contact is not known */
    uint32_t load_next;
    uint32_t pending; /* entries of the queue that name it */
    uint32_t sessions;    /* first */
    uint32_t wait_head, wait_tail;
    gw_block load_block;
    gw_block roster_block; /* struct gw_home_roster, or 0: it has none */
    gw_block share_block; /* struct gw_share, or 0 while less waits than one sender's share */
    struct gw_quota_limits limits; /* its own or the configured ones */
    struct gw_quota quota;
    uint64_t last_segment; /* the last that anything of it was added to */
    struct gw_identity identity;
    uint64_t next_position;
    uint64_t durable_end; /* all positions below are durable (or failed) */
    union { /* its bare JID: most are short, and so an account at rest has nothing else anywhere */
        char jid[GW_HOME_JID_BYTES];
        gw_block jid_block;
    };
};
_Static_assert(sizeof(struct gw_home_account) == 192, "three cache lines");

/* ---- sessions ---- */

/* What a session follows. It turns to another only when all that it was handed has been taken or refused:
 * so what is refused is of what it follows. */
enum gw_follows {
    GW_FOLLOWS_MAILBOX,   /* by `cursor` */
    GW_FOLLOWS_OWN,       /* by `own_cursor`: its priority is negative */
    GW_FOLLOWS_INHERITED, /* what is first in `inherited` */
};

/* Positions to be looked at once more, for what was for the full JID of a session that has ended. */
struct gw_inherited {
    gw_block next;
    uint16_t len;
    uint64_t from, to;
    char resource[];
};
/* Of one session; what more would be waits for the account's next log-in. */
#define GW_INHERITED_MAX 8u

struct gw_home_session {
    uint32_t next; /* of the account; first: the slab's free link */
    uint32_t account; /* 0: unused */
    struct gw_ref conn;
    uint16_t generation;
    uint16_t epoch; /* of deliveries: raised when they start again after a refusal */
    int8_t priority;
    bool available : 1;
    bool behind : 1;  /* the cursor is not at the end: the mailbox is read for it */
    bool reading : 1; /* a read is under way */
    bool queued : 1;  /* on the list of reads to start */
    bool stalled : 1; /* its send queue is full; ROOM will come */
    bool sm : 1;
    bool wants_blocks : 1; /* has asked for the block list */
    bool interested : 1; /* has asked for the roster: gets its changes (RFC 6121 section 2.1.6) */
    bool carbons : 1; /* it gets copies: carbons.h */
    uint8_t transient_count;
    uint8_t follows; /* enum gw_follows */
    uint8_t inherited_count;
    uint16_t in_flight; /* stored messages handed over, not delivered */
    uint16_t untaken;   /* of these, and before: posts that its edge has still to answer */
    uint32_t read_next;
    uint64_t read_after; /* segment that must be durable before its mailbox is read */
    uint64_t cursor;     /* next position to hand over, when it reads the mailbox */
    /* The same when its priority is negative: of what is for its full JID, from own_from on. */
    uint64_t own_cursor, own_from;
    uint64_t claims_from; /* while it is available, what comes for its full JID is nobody else's */
    uint64_t available_wall_us;
    uint64_t since_wall_us;
    gw_block jid_block; /* full JID */
    uint16_t jid_len, bare_len;
    gw_block presence; /* struct gw_home_text: its last available presence */
    gw_block fanout;   /* struct gw_fanout while contacts have still to hear of it */
    gw_block directed; /* struct gw_home_text: who has had directed presence */
    gw_block transient_head, transient_tail;
    gw_block inherited; /* first struct gw_inherited, oldest first */
    gw_block resume_block; /* struct gw_resumption, or 0: its stream cannot be resumed */
    struct gw_tcp_tuple tuple;
};

/* A mailbox read: its block starts with this, the run of records follows. */
struct gw_home_read {
    uint32_t lent; /* deliveries not yet taken */
    bool done;     /* nothing more will be lent */
    struct gw_identity identity; /* whose mailbox: the store opens records with it */
    uint8_t run[] __attribute__((aligned(64)));
};


/* ---- the queue ---- */

struct gw_pending {
    struct gw_post post; /* STANZA, PRESENCE, COUNT or RESUME */
    uint32_t account;
    bool stored;
    bool repeated;    /* of one that came before: to be settled, and nothing else */
    uint64_t segment; /* dealt with when this one is durable */
};

struct gw_home_wait { /* a post that waits for its account */
    uint32_t next;
    struct gw_post post;
};

struct gw_read_slot {
    uint32_t session;
    uint16_t generation;
    bool used;
    gw_block block;
    uint32_t cap;
    /* when it was submitted: */
    uint64_t from;  /* the session's cursor */
    uint64_t after; /* its read_after */
    uint64_t end;   /* the account's durable_end */
};

struct gw_home {
    struct gw_slab accounts, sessions, waits;
    uint32_t *buckets;
    uint32_t bucket_mask;
    struct gw_region bucket_region;
    uint32_t idle_head, idle_tail;
    uint32_t load_due_head;

    struct gw_pending *pending;
    uint32_t pending_mask, pending_head, pending_count;
    struct gw_post *backlog; /* posts that need a segment when there is no room for one */
    uint32_t backlog_mask, backlog_head, backlog_count;

    /* the segment that fills */
    struct gw_segment_writer writer;
    gw_block segment_block;
    bool segment_closed; /* finished, waiting for room in the store's ring */
    uint32_t segment_len;
    uint64_t open_number;    /* of the segment that fills, from 1 */
    uint64_t durable_number; /* all up to this one are durable or failed */
    gw_block under_way[GW_SEGMENTS_UNDER_WAY];
    unsigned under_way_count;
    bool failed; /* the last append failed */
    struct gw_event_writer events; /* of the segment that fills */
    struct gw_seal_op *seals;
    uint8_t (*aads)[GW_RECORD_AAD_BYTES];
    unsigned seal_count;

    struct gw_repeats repeats;
    struct gw_home_resume resume;

    struct gw_read_slot reads[GW_READS_UNDER_WAY];
    uint32_t read_head, read_tail; /* sessions whose mailbox is to be read */
    struct gw_home_expiry expiry;  /* the first lcore's */
    struct gw_outbox outbox;
    struct gw_fanout_queue fanout;
    uint64_t push_number;
    size_t idle_roster_bytes; /* of accounts that may be forgotten */
};

int gw_home_open(struct gw_lcore *l, enum gw_region_pages pages);
void gw_home_free(struct gw_lcore *l);

/* ---- driven by the pass ---- */

void gw_home_post(struct gw_lcore *l, struct gw_post *p);
/* The post will be dealt with soon: brings what it touches into the cache, in steps from 0 of which
 * each needs what the one before has brought. Hints; nothing changes. */
#define GW_EXPECT_STEPS 3u
void gw_home_expect(const struct gw_lcore *l, const struct gw_post *p, unsigned step);
void gw_home_store_done(struct gw_lcore *l, const struct gw_store_completion *c);
/* Posts that waited for room, loads and reads to start. */
unsigned gw_home_work(struct gw_lcore *l);
/* Seal what this pass added to the segment, in one burst. */
unsigned gw_home_seal(struct gw_lcore *l);
/* Hand the segment to the store when few enough are under way. */
unsigned gw_home_append(struct gw_lcore *l);
/* Whether anything is queued, appended or being read: the lcore must not stop yet. */
bool gw_home_is_busy(const struct gw_lcore *l);
/* End the sessions of an account. account_gone: forget it too. Number ended or -ENOENT. */
int gw_home_end_sessions(struct gw_lcore *l, struct gw_bytes bare, bool account_gone);
/* The mailbox limits in the account's record have changed; 0: the configured ones. -ENOENT: it is not
 * known here. */
int gw_home_set_limits(struct gw_lcore *l, struct gw_bytes bare, uint32_t messages, uint64_t bytes);

/* ---- inside the home ---- */

/* Tags of store requests: what, and an index. */
enum gw_home_tag {
    GW_HOME_TAG_APPEND = 1,
    GW_HOME_TAG_LOAD,
    GW_HOME_TAG_FIND,
    GW_HOME_TAG_COUNT,
    GW_HOME_TAG_READ,
    GW_HOME_TAG_EXPIRED,
    GW_HOME_TAG_KEEP,   /* index: block of a struct gw_resumption */
    GW_HOME_TAG_RESUME, /* index: block of a struct gw_resume_read */
    GW_HOME_TAG_SWEEP,
    GW_HOME_TAG_LIST,  /* index: account */
    GW_HOME_TAG_WRITE, /* index: account */
};

static inline uint64_t gw_home_tag(enum gw_home_tag what, uint32_t index)
{
    return (uint64_t)what << 32 | index;
}

static inline struct gw_home_account *gw_home_account(const struct gw_lcore *l, uint32_t i)
{
    return gw_slab_at(&l->home->accounts, i);
}

static inline struct gw_home_session *gw_home_session(const struct gw_lcore *l, uint32_t i)
{
    return gw_slab_at(&l->home->sessions, i);
}

static inline struct gw_stanza *gw_post_stanza(const struct gw_lcore *l, const struct gw_post *p)
{
    return gw_arena_ptr(l->arenas[p->owner], p->block);
}

static inline struct gw_bytes gw_session_jid(const struct gw_lcore *l, const struct gw_home_session *s)
{
    return gw_bytes(gw_arena_ptr(l->arena, s->jid_block), s->jid_len);
}

static inline struct gw_bytes gw_session_resource(const struct gw_lcore *l,
                                                  const struct gw_home_session *s)
{
    struct gw_bytes j = gw_session_jid(l, s);
    return gw_bytes(j.p + s->bare_len + 1, (size_t)(s->jid_len - s->bare_len - 1));
}

/* Whether it reads the mailbox: available with non-negative priority (RFC 6121 section 8.5.2.1). */
static inline bool gw_session_reads(const struct gw_home_session *s)
{
    return s->available && s->priority >= 0;
}

/* Whether what is stored at this position for its full JID is its, and nobody else's: what came since it
 * is available (RFC 6121 section 8.5.3.1). One that is not claims nothing: what it gets before it reads
 * could overtake what waits. */
static inline bool gw_session_claims(const struct gw_home_session *s, uint64_t position)
{
    return s->available && position >= s->claims_from;
}

static inline struct gw_bytes gw_home_account_jid(const struct gw_lcore *l,
                                                  const struct gw_home_account *a)
{
    bool inside = a->jid_len <= GW_HOME_JID_BYTES;
    return gw_bytes(inside ? a->jid : gw_arena_ptr(l->arena, a->jid_block), a->jid_len);
}

/* Whether posts for it can be dealt with now. */
static inline bool gw_home_account_is_ready(const struct gw_home_account *a)
{
    return a->state == GW_ACCOUNT_READY || a->state == GW_ACCOUNT_MISSING;
}

/* Whether all is known of it, even if something is being counted or written now. */
static inline bool gw_home_account_is_known(const struct gw_home_account *a)
{
    return a->state != GW_ACCOUNT_MISSING && a->found;
}

/* What quotas go by. */
static inline uint32_t gw_home_now_s(const struct gw_lcore *l)
{
    return (uint32_t)(l->now_us / 1000000);
}

/* account.c */
/* The account of this bare JID, whose gw_home_hash is `hash`, known or being loaded; 0: no room. */
uint32_t gw_home_account_get(struct gw_lcore *l, struct gw_bytes bare, uint64_t hash);
uint32_t gw_home_account_find(struct gw_lcore *l, struct gw_bytes bare);
/* What gw_home_account_get will look at, brought into the cache: first this.. */
void gw_home_account_expect(const struct gw_lcore *l, uint64_t hash);
/* ..and when that has come, what it names. */
void gw_home_account_expect_first(const struct gw_lcore *l, uint64_t hash);
void gw_home_account_wait(struct gw_lcore *l, uint32_t account, const struct gw_post *p);
void gw_home_account_loaded(struct gw_lcore *l, uint32_t account, const struct gw_store_completion *c);
void gw_home_account_found(struct gw_lcore *l, uint32_t account, const struct gw_store_completion *c);
void gw_home_account_counted(struct gw_lcore *l, uint32_t account,
                             const struct gw_store_completion *c);
/* Its roster was read, or written. */
void gw_home_account_listed(struct gw_lcore *l, uint32_t account, const struct gw_store_completion *c);
void gw_home_account_written(struct gw_lcore *l, uint32_t account,
                             const struct gw_store_completion *c);
/* Write the change that its load_block holds: until that is done it is WRITING. */
void gw_home_account_write(struct gw_lcore *l, uint32_t account);
/* Have the store count its mailbox, and what this sender has there, because of a record of that many
 * bytes; until then it is not READY. False: no memory. */
bool gw_home_account_recount(struct gw_lcore *l, uint32_t account, uint16_t mark, uint32_t bytes);
/* Its record is deleted: nothing goes to it any more, also when it is just being loaded. */
void gw_home_account_gone(struct gw_lcore *l, uint32_t account);
unsigned gw_home_account_retry(struct gw_lcore *l);
/* Something that held it is gone: it may be forgotten now. */
void gw_home_account_relax(struct gw_lcore *l, uint32_t account);
void gw_home_account_hold(struct gw_lcore *l, uint32_t account);

/* route.c */
/* A post whose account is ready (or missing). False: there is no room in a segment now, or the account
 * is no longer ready: its mailbox must be counted first. */
bool gw_home_accept(struct gw_lcore *l, uint32_t account, struct gw_post *p);
/* Deal with what the queue holds up to durable_number. */
unsigned gw_home_drain(struct gw_lcore *l);
/* The stanza's block goes back; with `settle` also its sender's count, refused if why is set. */
void gw_home_return(struct gw_lcore *l, struct gw_post *p, bool settle, enum gw_condition why);

/* Into the queue: dealt with when all that was added to segments so far is durable. */
struct gw_pending *gw_home_enqueue(struct gw_lcore *l, uint32_t account, const struct gw_post *p);

/* resume.c */
struct gw_resumption *gw_home_resumption(const struct gw_lcore *l, const struct gw_home_session *s);
/* Its block, or 0: no memory. The session has none yet. */
gw_block gw_home_resumption_make(struct gw_lcore *l, uint32_t session);
/* The session ends; its record follows. */
void gw_home_resumption_gone(struct gw_lcore *l, uint32_t session);
/* Whether a stream of this name is gone while its record is still to be removed. */
bool gw_home_resumption_ended(struct gw_lcore *l, const struct gw_stream_name *name);
/* Its record is gone as well. */
void gw_home_resumption_free(struct gw_lcore *l, gw_block resumption);
/* Its record is on disk as it is now. */
void gw_home_resumption_kept(struct gw_lcore *l, gw_block b);
void gw_home_resumption_restore(struct gw_lcore *l, uint32_t session,
                                const struct gw_stream_name *name, uint32_t h, uint32_t out_count,
                                uint64_t version);
void gw_home_sm(struct gw_lcore *l, struct gw_post *p);
/* False: there is no room in a segment now. */
bool gw_home_count(struct gw_lcore *l, struct gw_post *p);
bool gw_home_resume(struct gw_lcore *l, uint32_t account, struct gw_post *p);
/* What they appended is durable. */
void gw_home_counted(struct gw_lcore *l, const struct gw_post *p);
void gw_home_resume_durable(struct gw_lcore *l, struct gw_post *p);
void gw_home_resume_refuse(struct gw_lcore *l, const struct gw_post *p, int err);
/* Who has come back and waits: perhaps the old connection has let go now. */
void gw_home_resume_waiting(struct gw_lcore *l, uint32_t session);
/* An edge has lost the connection of a session. */
void gw_home_leave(struct gw_lcore *l, struct gw_post *p);
/* Ends the session that has waited longest for its client. False: none waits. */
bool gw_home_expire_detached(struct gw_lcore *l);
bool gw_home_is_resumable(struct gw_lcore *l, const struct gw_home_account *a,
                          const struct gw_stream_name *name);
void gw_home_count_unlink(struct gw_lcore *l, gw_block b);
unsigned gw_home_resume_work(struct gw_lcore *l);

/* kept.c */
/* The record of a session is to be written as it is now, or removed when the session is gone. */
void gw_home_keep_later(struct gw_lcore *l, gw_block b);
unsigned gw_home_keep_some(struct gw_lcore *l);
void gw_home_kept(struct gw_lcore *l, gw_block b, const struct gw_store_completion *c);
/* Read the record of the stream that a RESUME names. False: no memory. */
bool gw_home_read_record(struct gw_lcore *l, uint32_t account, const struct gw_post *p);
unsigned gw_home_read_records(struct gw_lcore *l);
void gw_home_record_read(struct gw_lcore *l, gw_block b, const struct gw_store_completion *c);
unsigned gw_home_sweep(struct gw_lcore *l);
void gw_home_swept(struct gw_lcore *l, const struct gw_store_completion *c);

/* session.c */
/* How present a session was. xml may be empty. */
struct gw_presence_form {
    bool available;
    bool carbons;
    int8_t priority;
    uint64_t available_us;
    struct gw_bytes xml;
};
/* A session without a connection, with an empty resumption. 0: no memory. */
uint32_t gw_home_session_restore(struct gw_lcore *l, uint32_t account, struct gw_bytes jid,
                                 uint16_t bare_len, uint64_t since_us,
                                 const struct gw_presence_form *f);
bool gw_home_has_session(const struct gw_lcore *l, const struct gw_home_account *a,
                         struct gw_bytes full);
/* Its connection is to end. False: no credit to say so. */
bool gw_home_end_connection(struct gw_lcore *l, uint32_t session, enum gw_stream_error why);
void gw_home_bind(struct gw_lcore *l, uint32_t account, struct gw_post *p);
void gw_home_unbind(struct gw_lcore *l, uint32_t session);
/* The live session that a reference names, or 0. */
uint32_t gw_home_session_find(struct gw_lcore *l, struct gw_ref ref);
void gw_home_presence(struct gw_lcore *l, struct gw_post *p);
/* Whether it gets carbon copies from now on. */
void gw_home_session_carbons(struct gw_lcore *l, uint32_t session, bool on);
/* A stanza that is not stored, to one session: now, or behind what it still has to read. */
void gw_home_transient(struct gw_lcore *l, uint32_t session, struct gw_bytes xml);
/* The same in parts. */
void gw_home_transient_parts(struct gw_lcore *l, uint32_t session, const struct gw_bytes *parts,
                             unsigned n);
void gw_home_flush_transients(struct gw_lcore *l, uint32_t session);
/* Of those that wait what came before the message at this position, as far as there are credits. */
void gw_home_transients_before(struct gw_lcore *l, uint32_t session, uint64_t position);
void gw_home_taken(struct gw_lcore *l, struct gw_post *p);

/* mailbox.c */
/* A message at this position that was handed over has not arrived; own: it is for the full JID. */
void gw_home_rewind(struct gw_lcore *l, struct gw_home_session *s, uint64_t position, bool own);
/* Its presence has changed: it begins to take all that is stored, or only what is for its full JID. */
void gw_home_begin_reading(struct gw_lcore *l, uint32_t session);
void gw_home_begin_own(struct gw_lcore *l, uint32_t session, bool was_reading);
/* Hand a durable message to the sessions whose cursor stands at it. */
void gw_home_push(struct gw_lcore *l, uint32_t account, struct gw_post *p);
void gw_home_read_later(struct gw_lcore *l, uint32_t session, uint64_t after_segment);
/* Its mailbox is read for it when it is behind and takes more. */
void gw_home_read_on(struct gw_lcore *l, uint32_t session);
unsigned gw_home_start_reads(struct gw_lcore *l);
void gw_home_read_done(struct gw_lcore *l, uint32_t slot, const struct gw_store_completion *c);
void gw_home_refused(struct gw_lcore *l, uint32_t session, const struct gw_post *p);
void gw_home_room(struct gw_lcore *l, struct gw_post *p);

/* inherit.c */
/* The session ends, or is not available any more: what it has claimed is the others'. */
void gw_home_claims_end(struct gw_lcore *l, uint32_t session);
/* The first; there is one. */
struct gw_inherited *gw_home_inherited(const struct gw_lcore *l, const struct gw_home_session *s);
void gw_home_inherited_drop_done(struct gw_lcore *l, struct gw_home_session *s);
/* What it follows is of the first, and one at this position was refused. */
void gw_home_inherited_rewind(struct gw_lcore *l, struct gw_home_session *s, uint64_t position);
/* Its cursor has gone back: from there on it sees all by that. */
void gw_home_inherited_clip(struct gw_lcore *l, struct gw_home_session *s);
void gw_home_inherited_free(struct gw_lcore *l, struct gw_home_session *s);

/* The mark of a stanza's sender in its recipient's mailbox. */
uint16_t gw_home_sender_mark(const struct gw_lcore *l, const struct gw_mailbox_id *mailbox,
                             const struct gw_stanza *s);
static inline struct gw_share *gw_home_share(const struct gw_lcore *l,
                                             const struct gw_home_account *a)
{
    return a->share_block != 0 ? gw_arena_ptr(l->arena, a->share_block) : NULL;
}

/* append.c */
/* Whether a record of this body and an event of these bytes can be added now. */
bool gw_home_can_append(struct gw_lcore *l, size_t body_len, size_t event_len);
/* Add a message: assigns its position. The caller has asked gw_home_can_append. */
void gw_home_append_message(struct gw_lcore *l, uint32_t account, struct gw_stanza *s);
#define GW_REMOVAL_POSITIONS_MAX 64u
/* Whether the removal of so many positions can be added now. */
bool gw_home_can_append_removal(struct gw_lcore *l, unsigned n);
/* Add the removal of positions, with the event (DELIVERED or EXPIRED) that says why. */
void gw_home_append_removal(struct gw_lcore *l, const struct gw_mailbox_id *mailbox,
                            enum gw_event_kind why, const uint64_t *positions, unsigned n);
/* The same of an account that is known here. */
void gw_home_append_account_removal(struct gw_lcore *l, uint32_t account, enum gw_event_kind why,
                                    const uint64_t *positions, unsigned n);
void gw_home_appended(struct gw_lcore *l, const struct gw_store_completion *c);
/* Add an event. The caller has asked gw_home_can_append. */
void gw_home_append_event(struct gw_lcore *l, const struct gw_event *e);
/* Add the event that a message has come again. The caller has asked gw_home_can_append. */
void gw_home_append_repeated(struct gw_lcore *l, const struct gw_stanza *s);
size_t gw_home_repeated_event_len(const struct gw_stanza *s);
/* What its record counts for in the mailbox. */
static inline uint32_t gw_home_record_bytes(const struct gw_stanza *s)
{
    return (uint32_t)sizeof(struct gw_record_head) + s->sealed_len;
}
size_t gw_home_message_event_len(const struct gw_stanza *s);
/* Bytes that the event of a receipt or marker takes at most; 0: it is none. */
size_t gw_home_answer_event_len(const struct gw_stanza *s);
/* For the ledger, what a receipt or marker says. There must be room; does nothing for what is none. */
void gw_home_append_answer(struct gw_lcore *l, const struct gw_stanza *s);
/* The number of the last segment that anything was added to. */
uint64_t gw_home_last_number(const struct gw_lcore *l);

/* mailbox.c */
/* Whether a stored message for `resource` (empty: the bare JID) is for this session, when its cursor
 * comes to it. */
bool gw_home_wants(const struct gw_lcore *l, const struct gw_home_session *s, struct gw_bytes resource,
                   uint64_t position);

#endif
