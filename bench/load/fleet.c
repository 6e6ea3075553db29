/* SPDX-License-Identifier: Apache-2.0 */
#include "fleet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../dataplane/base/check.h"

#define SCAN_US        10000 /* between looks at all users, and 1 us more for each: they are cold */
#define BACKOFF_MS_MIN 20
#define BACKOFF_MS_MAX 1000
#define CONNECT_US_MAX 1500000 /* a broker that was killed does not even refuse */
#define LOGIN_US_MAX   20000000
#define LEAVING_US_MAX 5000000
/* Keepalives without an answer that end a session: early where it can come back. */
#define SILENT_TURNS          5
#define SILENT_TURNS_FOR_GOOD 30

static uint64_t clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint32_t index_of(const struct fleet *f, const struct user *u)
{
    return (uint32_t)(u - f->users);
}

/* What a client needs to find its fleet. There is one fleet a process, and clients carry no
 * pointer for it. */
static struct fleet *the_fleet;

static void enqueue(struct fleet *f, uint32_t user)
{
    f->users[user].state = USER_QUEUED;
    tags_push(&f->queue, user);
}

static void give_up(struct fleet *f, const struct user *u, const char *why)
{
    if (!f->failure[0])
        snprintf(f->failure, sizeof(f->failure), "%s: %s", u->name, why);
}

/* The connection is gone: what that means for the user. */
static void ended(struct fleet *f, struct user *u, const char *why)
{
    uint32_t user = index_of(f, u);
    bool was_online = u->state == USER_ONLINE || u->state == USER_LEAVING;
    bool on_purpose = u->state == USER_LEAVING;
    bool refused = u->client.refused_login;
    if (u->state == USER_LOGIN)
        f->connecting--;
    if (was_online)
        f->online--;
    u->state = USER_AWAY;

    struct tags unacked = {0};
    client_lost(&u->client, &unacked);
    tags_move(&unacked, &u->unacked); /* what waited to be repeated was sent later */
    tags_free(&u->unacked);
    u->unacked = unacked;
    f->events->offline(f->ctx, user, why);

    if (!u->wanted)
        return;
    if (on_purpose) {
        enqueue(f, user);
        return;
    }
    if (!f->config.reconnect || refused) {
        give_up(f, u, why);
        return;
    }
    f->reconnects++;
    uint32_t backoff = u->backoff_ms ? u->backoff_ms * 2 : BACKOFF_MS_MIN;
    u->backoff_ms = backoff < BACKOFF_MS_MAX ? backoff : BACKOFF_MS_MAX;
    u->retry_us = f->now_us + u->backoff_ms * (500u + (uint32_t)rand() % 1000u);
}

static void hang_up(struct fleet *f, struct user *u, bool reset, const char *why)
{
    char reason[200];
    snprintf(reason, sizeof(reason), "%s", why); /* the client may own it */
    transport_hang_up(f->transport, index_of(f, u), reset);
    ended(f, u, reason);
}

void fleet_touch(struct fleet *f, uint32_t user)
{
    if (f->users[user].dirty)
        return;
    f->users[user].dirty = true;
    tags_push(&f->dirty, user);
}

/* ---- events of the transport ---- */

static void on_connected(void *ctx, uint32_t conn)
{
    struct fleet *f = ctx;
    f->users[conn].heard_us = f->now_us;
    f->users[conn].session++;
    client_connected(&f->users[conn].client);
    fleet_touch(f, conn);
}

static void on_input(void *ctx, uint32_t conn, const void *bytes, size_t len)
{
    struct fleet *f = ctx;
    f->users[conn].heard_us = f->now_us;
    client_input(&f->users[conn].client, bytes, len);
    fleet_touch(f, conn);
}

static void on_writable(void *ctx, uint32_t conn)
{
    fleet_touch(ctx, conn);
}

static void on_closed(void *ctx, uint32_t conn, int error)
{
    struct fleet *f = ctx;
    struct user *u = &f->users[conn];
    char why[200];
    snprintf(why, sizeof(why), "%s",
             u->client.failure ? u->client.failure
             : error           ? strerror(error)
                               : "connection closed");
    ended(f, u, why);
}

/* ---- events of the clients ---- */

static void on_ready(struct client *c)
{
    struct user *u = (struct user *)c;
    struct fleet *f = the_fleet;
    check(u->state == USER_LOGIN);
    u->state = USER_ONLINE;
    u->backoff_ms = 0;
    f->connecting--;
    f->online++;
    histogram_add(&f->login_times, f->now_us - u->began_us);
    f->events->online(f->ctx, index_of(f, u));
}

static uint64_t on_message(struct client *c, const struct element *message)
{
    return the_fleet->events->message(the_fleet->ctx, index_of(the_fleet, (struct user *)c),
                                      message);
}

static uint64_t on_chat(struct client *c, const struct quick_chat *chat)
{
    return the_fleet->events->chat(the_fleet->ctx, index_of(the_fleet, (struct user *)c), chat);
}

static void on_acked(struct client *c, uint64_t tag)
{
    the_fleet->events->acked(the_fleet->ctx, index_of(the_fleet, (struct user *)c), tag);
}

static void on_settled(struct client *c, uint64_t tag)
{
    the_fleet->events->settled(the_fleet->ctx, index_of(the_fleet, (struct user *)c), tag);
}

static const struct client_events client_events = {on_ready, on_message, on_chat, on_acked,
                                                   on_settled};
static const struct transport_events transport_events = {on_connected, on_input, on_writable,
                                                         on_closed};

/* ---- turns ---- */

static void start_logins(struct fleet *f)
{
    while (f->connecting < f->config.connecting_max && tags_count(&f->queue) > 0) {
        uint32_t user = (uint32_t)tags_pop(&f->queue);
        struct user *u = &f->users[user];
        check(u->state == USER_QUEUED);
        u->state = USER_AWAY;
        if (!u->wanted)
            continue;
        u->state = USER_LOGIN;
        u->began_us = u->heard_us = u->poked_us = f->now_us;
        f->connecting++;
        int err = transport_connect(f->transport, user);
        if (err)
            ended(f, u, strerror(-err));
    }
}

static void flush(struct fleet *f)
{
    while (tags_count(&f->dirty) > 0) {
        uint32_t user = (uint32_t)tags_pop(&f->dirty);
        struct user *u = &f->users[user];
        struct client *c = &u->client;
        u->dirty = false;
        if (u->state < USER_LOGIN || c->state == CLIENT_CLOSED)
            continue;
        if (c->state == CLIENT_READY)
            client_ask_ack(c);
        if (c->state != CLIENT_ENDED)
            transport_send(f->transport, user, &c->out);
        if (c->state == CLIENT_ENDED)
            hang_up(f, u, false, c->failure ? c->failure : "stream closed");
    }
}

static void watch_online(struct fleet *f, struct user *u)
{
    uint64_t keepalive_us = (uint64_t)f->config.keepalive_ms * 1000;
    uint64_t silent_us = f->now_us - u->heard_us;
    uint32_t turns = f->config.reconnect ? SILENT_TURNS : SILENT_TURNS_FOR_GOOD;
    if (silent_us > turns * keepalive_us) {
        hang_up(f, u, true, "the server is silent");
    } else if (silent_us > keepalive_us && f->now_us - u->poked_us > keepalive_us) {
        u->poked_us = f->now_us;
        client_poke(&u->client);
        fleet_touch(f, index_of(f, u));
    }
}

static void watch(struct fleet *f, struct user *u)
{
    uint64_t age_us = f->now_us - u->began_us;
    switch (u->state) {
    case USER_AWAY:
        if (u->wanted && u->retry_us <= f->now_us && !f->failure[0])
            enqueue(f, index_of(f, u));
        break;
    case USER_LOGIN:
        if (age_us > LOGIN_US_MAX || (u->client.state == CLIENT_CLOSED && age_us > CONNECT_US_MAX))
            hang_up(f, u, true, "login takes too long");
        break;
    case USER_ONLINE:
        watch_online(f, u);
        break;
    case USER_LEAVING:
        if (age_us > LEAVING_US_MAX)
            hang_up(f, u, true, "the server does not close the stream");
        break;
    case USER_QUEUED:
        break;
    }
}

int fleet_turn(struct fleet *f, uint32_t wait_us)
{
    f->now_us = clock_us();
    if (f->now_us - f->scanned_us >= SCAN_US + f->config.count) {
        f->scanned_us = f->now_us;
        for (uint32_t i = 0; i < f->config.count; i++)
            watch(f, &f->users[i]);
    }
    start_logins(f);
    flush(f);
    int err = transport_poll(f->transport, wait_us);
    flush(f);
    return err;
}

/* ---- its owner ---- */

void fleet_want(struct fleet *f, uint32_t user, bool online)
{
    struct user *u = &f->users[user];
    u->wanted = online;
    if (online && u->state == USER_AWAY)
        enqueue(f, user);
    else if (!online && u->state == USER_ONLINE)
        fleet_disconnect(f, user, false);
    else if (!online && u->state == USER_LOGIN)
        hang_up(f, u, true, "not wanted any more");
}

void fleet_silence(struct fleet *f, uint32_t user)
{
    f->users[user].client.silent = true;
}

void fleet_announce(struct fleet *f, uint32_t user)
{
    client_announce(&f->users[user].client);
    fleet_touch(f, user);
}

void fleet_disconnect(struct fleet *f, uint32_t user, bool reset)
{
    struct user *u = &f->users[user];
    if (u->state != USER_ONLINE)
        return;
    u->state = USER_LEAVING;
    u->began_us = f->now_us;
    if (reset) {
        hang_up(f, u, true, "reset by us");
        return;
    }
    client_end(&u->client);
    fleet_touch(f, user);
}

int fleet_open(struct fleet *f, const struct fleet_config *config,
               const struct fleet_events *events, void *ctx)
{
    check(the_fleet == NULL);
    *f = (struct fleet){.config = *config, .events = events, .ctx = ctx, .now_us = clock_us()};
    the_fleet = f;
    f->users = calloc(config->count, sizeof(*f->users));
    check(f->users != NULL);
    for (uint32_t i = 0; i < config->count; i++) {
        struct user *u = &f->users[i];
        snprintf(u->name, sizeof(u->name), "%s%u", config->prefix, config->first + i);
        client_init(&u->client, &f->config.profile, &client_events, u->name, config->password);
    }
    f->config.transport.connection_limit = config->count;
    int err = transport_open(&f->transport, &f->config.transport, &transport_events, f);
    if (err)
        fleet_close(f);
    return err;
}

void fleet_close(struct fleet *f)
{
    transport_close(&f->transport);
    for (uint32_t i = 0; f->users && i < f->config.count; i++) {
        client_free(&f->users[i].client);
        tags_free(&f->users[i].unacked);
    }
    free(f->users);
    f->users = NULL;
    tags_free(&f->queue);
    tags_free(&f->dirty);
    scram_cache_free();
    the_fleet = NULL;
}
