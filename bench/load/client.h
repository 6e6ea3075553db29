/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One XMPP client as a state machine without I/O: bytes of the server in, bytes for the server in
 * `out`, events to its owner. It logs in (RFC 6120: SASL, resource binding), enables XEP-0198
 * acknowledgements, sends presence and then moves messages.
 *
 * Every stanza that it sends carries a tag (0: nobody asks for it). Tags come back in order by
 * `acked` when the server has taken responsibility: by its <a h=''/>, or, without stream
 * management, by the answer to a ping sent after them (the broker promises that no answer leaves
 * before what came earlier is durable).
 */
#ifndef LOAD_CLIENT_H
#define LOAD_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "buffer.h"
#include "reader.h"
#include "scram.h"
#include "tags.h"

#define CLIENT_NS_RECEIPTS "urn:xmpp:receipts"

/* name, when */
#define CLIENT_STATES(X)                                          \
    X(CLOSED, "no connection")                                    \
    X(STREAM, "our stream header is out, no features yet")        \
    X(CHALLENGE, "SASL began")                                    \
    X(PROOF, "our SCRAM proof is out")                            \
    X(STREAM_AGAIN, "authenticated, second stream header is out") \
    X(BIND, "resource binding asked for")                         \
    X(ENABLE, "stream management asked for")                      \
    X(BARRIER, "presence is out, and a ping behind it")           \
    X(READY, "may send and receive")                              \
    X(ENDING, "our </stream:stream> is out")                      \
    X(ENDED, "the server closed the stream, or it failed")

enum client_state {
#define X(name, when) CLIENT_##name,
    CLIENT_STATES(X)
#undef X
};

enum client_mechanism { MECHANISM_BEST, MECHANISM_SHA_256, MECHANISM_SHA_1, MECHANISM_PLAIN };

/* What many clients share. */
struct client_profile {
    const char *domain;
    const char *resource; /* NULL: the server makes one */
    enum client_mechanism mechanism;
    bool stream_management;
    bool presence;
    uint32_t expat_every; /* as reader_new; 0 is 1 */
};

struct client;

struct client_events {
    void (*ready)(struct client *c);
    /* A <message/>; alive during the call. Returns a tag for it, 0 for none. */
    uint64_t (*message)(struct client *c, const struct element *message);
    /* The same of one that was read by its form alone (quick.h); NULL: none is. */
    uint64_t (*chat)(struct client *c, const struct quick_chat *chat);
    /* A stanza that was sent with a tag is the server's now. */
    void (*acked)(struct client *c, uint64_t tag);
    /* We have acknowledged a message that got this tag, and the server has since acknowledged
     * something that we sent after that. Only with stream management. */
    void (*settled)(struct client *c, uint64_t tag);
};

struct client {
    const struct client_profile *profile;
    const struct client_events *events;
    const char *user;
    const char *password;
    enum client_state state;
    struct reader *reader;
    struct buffer out;
    struct scram *scram; /* while authenticating */
    bool silent;         /* it sends no presence until client_announce */
    bool peer_ended;     /* the server sent </stream:stream> */
    char *bound_jid;     /* full JID, once bound */
    char *failure;       /* why the state is ENDED */
    bool refused_login;  /* the failure is an answer to our credentials: trying again is useless */

    struct tags pending;    /* sent and not acknowledged */
    uint32_t sent;          /* stanzas, since <enable/> */
    uint32_t acked;         /* of them by the server */
    bool ack_wanted;        /* tagged stanzas went out since we last asked */
    struct tags ping_marks; /* for each acknowledging ping on its way the stanzas sent up to it */
    uint32_t received;      /* stanzas of the server, since <enabled/> */
    uint32_t settled;       /* of them settled, see the event */
    struct tags unsettled;  /* tags of the others */
    uint32_t mark_received; /* what our acknowledgement on the way to be settled said */
    uint32_t mark_sent;     /* stanzas sent before it */
    bool mark_set;
    uint32_t next_iq;
};

void client_init(struct client *c, const struct client_profile *profile,
                 const struct client_events *events, const char *user, const char *password);
void client_free(struct client *c);

/* The connection stands: begins a new stream. Nothing of an earlier one is left but tags that
 * client_lost has not handed out. */
void client_connected(struct client *c);
/* Bytes of the server. Afterwards look at out and state. */
void client_input(struct client *c, const void *bytes, size_t len);
/* The connection is gone: tags that were not acknowledged move to `unacked`, in order. */
void client_lost(struct client *c, struct tags *unacked);

/* Logged in: READY, or all but that. */
static inline bool client_may_send(const struct client *c)
{
    return c->state == CLIENT_BARRIER || c->state == CLIENT_READY;
}

/* Only when client_may_send. `to` is a user of the same domain; body and extra (XML, may be NULL)
 * as they are. */
void client_send_message(struct client *c, uint64_t tag, const char *to, const char *id,
                         const char *body, size_t body_len, const char *extra);
/* Asks for an acknowledgement of all tagged stanzas, unless that was done already. */
void client_ask_ack(struct client *c);
/* The presence that a silent client has kept back. READY only. */
void client_announce(struct client *c);
/* Sends something that the server must answer. READY only. */
void client_poke(struct client *c);
/* Sends an acknowledgement of all that was received, with stream management. */
void client_ack(struct client *c);
/* Ends the stream in order: the last acknowledgement, unavailable presence, </stream:stream>. */
void client_end(struct client *c);

const char *client_state_name(enum client_state state);

#endif
