/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients over a transport: who should be online is, a few logins at a time; with back-off when a
 * connection was lost and reconnecting is allowed. Reads the clock once a turn.
 */
#ifndef LOAD_FLEET_H
#define LOAD_FLEET_H

#include <stdbool.h>
#include <stdint.h>

#include "client.h"
#include "histogram.h"
#include "tags.h"
#include "transport.h"

#define FLEET_NAME_BYTES 32

enum user_state {
    USER_AWAY,   /* no connection */
    USER_QUEUED, /* waits for a turn to log in */
    USER_LOGIN,  /* connects and logs in */
    USER_ONLINE,
    USER_LEAVING, /* ends its stream in order */
};

struct user {
    struct client client; /* first: a client is its user */
    char name[FLEET_NAME_BYTES];
    enum user_state state;
    bool wanted;      /* online */
    bool dirty;       /* something may have to be sent, or the connection closed */
    uint32_t session; /* connections that stood, this one included */
    uint32_t backoff_ms;
    uint64_t retry_us; /* AWAY and wanted: when to queue */
    uint64_t began_us; /* LOGIN, LEAVING: when that began */
    uint64_t heard_us; /* last byte of the server */
    uint64_t poked_us;
    struct tags unacked; /* of ended sessions, to be sent again */
};

struct fleet;

struct fleet_events {
    void (*online)(void *ctx, uint32_t user);
    void (*offline)(void *ctx, uint32_t user, const char *why);
    uint64_t (*message)(void *ctx, uint32_t user, const struct element *message);
    uint64_t (*chat)(void *ctx, uint32_t user, const struct quick_chat *chat);
    void (*acked)(void *ctx, uint32_t user, uint64_t tag);
    void (*settled)(void *ctx, uint32_t user, uint64_t tag);
};

struct fleet_config {
    struct transport_config transport; /* connection_limit is set here */
    const char *prefix, *password;
    uint32_t first, count;
    uint32_t connecting_max;
    uint32_t keepalive_ms;
    bool reconnect;
    struct client_profile profile;
};

struct fleet {
    struct fleet_config config;
    const struct fleet_events *events;
    void *ctx;
    struct transport *transport;
    struct user *users;
    uint64_t now_us;
    uint64_t scanned_us;
    uint32_t online;
    uint32_t connecting;
    uint64_t reconnects;
    struct tags queue; /* users that wait to log in */
    struct tags dirty;
    struct histogram login_times;
    char failure[256]; /* what ended the run: a lost connection without --reconnect, a refused login
                        */
};

/* 0 or negative errno. The config's strings must outlive it. */
int fleet_open(struct fleet *f, const struct fleet_config *config,
               const struct fleet_events *events, void *ctx);
void fleet_close(struct fleet *f);
/* These two not from an event. Whether the user should be online. Logging out ends the stream in
 * order. */
void fleet_want(struct fleet *f, uint32_t user, bool online);
/* The user's next session says nothing of itself when it has logged in, until it is announced. */
void fleet_silence(struct fleet *f, uint32_t user);
/* It is online and silent. */
void fleet_announce(struct fleet *f, uint32_t user);
/* Ends the user's connection at once, by RST, or in order; it comes back when it is wanted. */
void fleet_disconnect(struct fleet *f, uint32_t user, bool reset);
/* The user's client has something to send. */
void fleet_touch(struct fleet *f, uint32_t user);
/* One turn: waits at most wait_us for something to happen and handles it. 0 or negative errno. */
int fleet_turn(struct fleet *f, uint32_t wait_us);

#endif
