/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one dataplane lcore has, as the XMPP code above TCP sees it.
 *
 * A lcore plays two parts. As *edge* it owns the connections that RSS brought to it: streams, SASL,
 * stanzas in, bytes out. As *home* it owns the accounts whose bare JID hashes to it: sessions,
 * mailbox positions, sealing, appending. The two parts talk only through posts (post.h), also when
 * they are the same lcore, so that one core and many behave alike.
 */
#ifndef GW_XMPP_LCORE_H
#define GW_XMPP_LCORE_H

#include "../../storage/keys.h"
#include "../../storage/store.h"
#include "../base/arena.h"
#include "../base/counters.h"
#include "../crypto/hash.h"
#include "../crypto/permute.h"
#include "../crypto/seal.h"
#include "../tcp/tcp.h"
#include "xml.h"

#define GW_LCORES_MAX    64
#define GW_DOMAINS_MAX   16 /* an index fits into four bits */
#define GW_SCRATCH_BYTES 131072u
#define GW_CONTACTS_MAX  16u
#define GW_CONTACT_BYTES_MAX  256u
#define GW_CONTACTS_BYTES_MAX (GW_CONTACTS_MAX * (6 * GW_CONTACT_BYTES_MAX + 64)) /* as XML */

/* Limits and identities, the same on every lcore; constant after start. */
struct gw_xmpp_config {
    /* Those that this broker serves, prepared; an account's is in its JID. A client that names none
     * means the first. */
    struct gw_bytes domains[GW_DOMAINS_MAX];
    unsigned domain_count;
    struct gw_bytes contacts[GW_CONTACTS_MAX]; /* "KIND=ADDRESS" (XEP-0157), sorted */
    unsigned contact_count;
    bool allow_plain;
    bool delivered_when_handed_over;
    uint32_t stanza_bytes_max, auth_stanza_bytes_max;
    uint64_t auth_timeout_us, ping_after_us, ping_timeout_us;
    uint64_t resume_timeout_us; /* how long a session waits for its client to come back; 0: not */
    uint32_t count_first; /* stream management counts from here: 0, but for who tests where that wraps */
    uint32_t conn_limit;    /* of this lcore */
    uint32_t account_limit; /* accounts known at once on this lcore, online or lately active */
    uint32_t session_limit; /* sessions homed on this lcore */
    uint32_t mailbox_messages_max; /* of accounts without limits of their own */
    uint64_t mailbox_bytes_max;
    unsigned mailbox_share_percent; /* of one sender; 0, 100: all of it */
    uint64_t mailbox_age_us;
    const _Atomic uint64_t *expire_before_us; /* see expiry.h; NULL: nothing ever expires */
    uint32_t roster_contacts_max, roster_bytes_max; /* of one account */
    uint32_t repeats_limit;    /* messages that this lcore remembers, to know repeated ones; 0: none */
    uint64_t repeat_window_us; /* for so long */
    uint32_t scram_iterations; /* announced for unknown users */
    struct gw_sipkey home_key;    /* bare JID -> home lcore, and its place there; the same on all lcores */
    struct gw_sipkey salt_key;    /* fake salts of unknown users; the same after a restart */
    struct gw_sipkey name_key, content_key; /* of fingerprints: on all lcores and after a restart */
    struct gw_sipkey mark_key;    /* senders' marks in mailboxes; the same after a restart */
};

/* X(name, help): counted by the edge. */
#define GW_EDGE_COUNTERS(X)                                                                        \
    X(connections, "TCP connections accepted")                                                     \
    X(connections_ended, "TCP connections ended")                                                  \
    X(streams, "XMPP streams opened")                                                              \
    X(auth_ok, "successful authentications")                                                       \
    X(auth_failed, "failed authentications")                                                       \
    X(sessions, "resources bound")                                                                 \
    X(resumed, "streams resumed over a new connection")                                            \
    X(resumes_failed, "attempts to resume a stream that failed")                                   \
    X(stanzas_in, "stanzas received")                                                              \
    X(messages_in, "messages received")                                                            \
    X(presences_in, "presences received")                                                          \
    X(iqs_in, "IQs received")                                                                      \
    X(stanzas_out, "stanzas sent")                                                                 \
    X(acks_in, "stream management acks received")                                                  \
    X(acks_out, "stream management acks sent")                                                     \
    X(pings_out, "pings sent")                                                                     \
    X(delivered, "messages that clients confirmed")                                                \
    X(refused, "stanzas answered with an error")                                                   \
    X(paused_credit, "reads paused: a home lcore had no credit")                                   \
    X(paused_window, "reads paused: too many stanzas not yet durable")                             \
    X(paused_output, "reads paused: the client does not read its answers")                         \
    X(deliveries_deferred, "deliveries put off: the client's send queue was full")                 \
    X(stream_errors_xml, "streams ended: XML not well-formed, restricted or over a limit")         \
    X(stream_errors_policy, "streams ended: stanza or stream against a limit or rule")             \
    X(stream_errors_timeout, "streams ended: no authentication or no answer in time")              \
    X(stream_errors_other, "streams ended with another stream error")                              \
    X(out_of_memory, "connections ended: arena exhausted")                                         \
    X(held_back, "stanzas held back from inactive clients")                                        \
    X(held_back_replaced, "stanzas held back whose place a later one took")                        \
    X(copies_dropped, "copies of sent messages dropped: no memory or no credit for them")         \
    X(personal_writes, "vCards and private data written")                                          \
    X(personal_damaged, "vCards and private data that did not open")                               \
    X(accounts_damaged, "account records that did not open")

struct gw_edge_counters {
    GW_EDGE_COUNTERS(GW_COUNTER_FIELD)
};

/* X(name, help): counted by the home. */
#define GW_HOME_COUNTERS(X)                                                                        \
    X(stored, "messages made durable")                                                             \
    X(pushed, "messages handed to a session as they came")                                         \
    X(read_back, "messages read from the mailbox for a session")                                   \
    X(removed, "positions removed: delivered")                                                     \
    X(transient, "stanzas routed without being stored")                                            \
    X(inherited, "sessions that others look after: they ended with messages for their full JID")   \
    X(inherited_dropped, "of these not now: the messages wait for the next log-in")                \
    X(transient_dropped, "stanzas without storage dropped: no session, or its queue full")         \
    X(copies, "carbon copies handed to sessions")                                                  \
    X(expired, "messages removed in the background: too old")                                      \
    X(expired_unread, "messages left out and removed when they were read: too old")                \
    X(expiry_failed, "searches for what is too old that the store failed")                         \
    X(refused_unknown, "stanzas refused: no such account")                                         \
    X(refused_resource, "messages refused: no such resource, and not of type chat")                \
    X(refused_full, "messages refused: as many wait in the mailbox as may")                        \
    X(refused_full_bytes, "messages refused: no room for their bytes in the mailbox")              \
    X(repeated, "messages that came again from their sender, acknowledged and not stored again")   \
    X(refused_share, "messages refused: as much of this sender waits in the mailbox as may")       \
    X(recounts, "mailboxes counted again, which seemed full")                                      \
    X(refused_store, "messages refused: the store failed while they were appended")                \
    X(refused_closed, "messages refused: the store has failed, or its disk is full")               \
    X(refused_memory, "stanzas refused: no memory, or too many accounts at once")                  \
    X(records_damaged, "stored messages that did not open")                                        \
    X(reads_failed, "mailbox reads that the store failed; tried again")                            \
    X(segments, "segments appended")                                                               \
    X(detached, "sessions that lost their connection and wait to be resumed")                      \
    X(detached_expired, "sessions that nobody has resumed in time, or for which there was no room") \
    X(restored, "sessions made anew from their records, to be resumed")                            \
    X(counts, "inbound counts of sessions made durable")                                           \
    X(session_writes, "session records written")                                                   \
    X(session_write_errors, "session records that the store did not take at once")                 \
    X(sessions_swept, "session records of a start before removed: nobody has come back")           \
    X(conflicts, "sessions replaced by a newer one with the same resource")                        \
    X(accounts_evicted, "idle accounts forgotten to make room")                                   \
    X(roster_writes, "rosters made durable")                                                       \
    X(roster_write_errors, "roster changes refused: the store failed")                             \
    X(roster_refused, "roster changes refused: against a limit")                                   \
    X(rosters_damaged, "rosters that did not open")                                                \
    X(fanouts, "sessions whose presence goes to their contacts")                                   \
    X(fanouts_replaced, "of these, presences that changed while they went")                        \
    X(fanouts_paced, "passes in which none went on: too many stanzas wait for credits")            \
    X(fanouts_dropped, "presences not told to contacts: no memory")                                \
    X(directed_dropped, "directed presences whose end is not told: no room to remember them")      \
    X(probes, "presence probes sent")                                                              \
    X(refused_blocked, "stanzas refused or dropped: their recipient blocks the sender")            \
    X(requests_dropped, "subscription requests dropped: too many wait for an answer")              \
    X(outbox_dropped, "presence and subscriptions to others dropped: no memory, or too many wait")

struct gw_home_counters {
    GW_HOME_COUNTERS(GW_COUNTER_FIELD)
};

struct gw_edge;
struct gw_home;
struct gw_mesh;
struct gw_deriver_port;
struct gw_counts;
struct gw_carbons;

struct gw_lcore {
    unsigned index, count;
    const struct gw_xmpp_config *cfg;
    uint64_t now_us;  /* monotonic, read once a pass */
    uint64_t wall_us; /* wall clock, derived from it */
    uint64_t started_us; /* now_us when it was opened */
    uint64_t parse_cycles; /* since the last stage of the pass ended: they are not that stage's */

    struct gw_arena *arena;
    struct gw_arena *const *arenas; /* of every lcore, for reading blocks that were lent */
    struct gw_tcp *tcp;
    struct gw_store_client *store;
    struct gw_sealer *sealer;
    struct gw_hasher *hasher;
    struct gw_permuter *permuter;
    const struct gw_keyring *keys;
    struct gw_deriver_port *deriver;
    struct gw_xml *xml; /* scratch: the unit that is being handled */
    char *scratch;      /* GW_SCRATCH_BYTES: for writing one answer */
    void (*random)(void *ctx, void *out, size_t len); /* unpredictable; the simulation's is seeded */
    void *random_ctx;

    struct gw_counts *counts; /* of all lcores: counts.h */
    struct gw_carbons *carbons; /* of all lcores: carbons.h */
    struct gw_mesh *mesh; /* this lcore's ends of the rings */
    struct gw_edge *edge;
    struct gw_home *home;
    struct gw_edge_counters edge_count;
    struct gw_home_counters home_count;
};

/* Which of the domains served this prepared one is, or -1. */
static inline int gw_domain_find(const struct gw_xmpp_config *cfg, struct gw_bytes domain)
{
    for (unsigned i = 0; i < cfg->domain_count; i++)
        if (gw_bytes_eq(cfg->domains[i], domain))
            return (int)i;
    return -1;
}

static inline bool gw_domain_is_served(const struct gw_xmpp_config *cfg, struct gw_bytes domain)
{
    return gw_domain_find(cfg, domain) >= 0;
}

/* What a bare JID is found by: the lcore that is its home, and its place there. */
uint64_t gw_home_hash(const struct gw_lcore *l, struct gw_bytes bare_jid);
unsigned gw_home_of_hash(const struct gw_lcore *l, uint64_t hash);
unsigned gw_home_of(const struct gw_lcore *l, struct gw_bytes bare_jid);

#endif
