/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of godwit-load. */
#ifndef LOAD_OPTIONS_H
#define LOAD_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "client.h"
#include "transport.h"

enum mode_name { MODE_CHAT, MODE_OFFLINE, MODE_LOGIN, MODE_IDLE };

struct options {
    enum mode_name mode;
    char *host, *port, *domain;
    char *device; /* of our own stack; NULL: kernel sockets */
    struct gw_ip_prefix address, range;
    uint32_t mtu, arena_mib;
    bool huge_pages;
    char *prefix;   /* of user names: prefix0, prefix1 .. */
    char *password; /* of all users */
    char *resource; /* NULL: the server's choice */
    uint32_t first; /* number of the first user */
    uint32_t clients;
    uint32_t pairs;
    uint32_t fan;  /* offline: recipients of each sender */
    uint32_t wave; /* offline: recipients online at a time; 0: all */
    uint32_t hold; /* offline: so many log in before the first of them drains; 0: each as it comes */
    uint64_t messages;   /* in all; 0: until SIGTERM or SIGINT */
    uint32_t window;     /* outstanding messages of each flow */
    uint32_t bytes;      /* of filler in each body */
    bool plain_text;
    uint32_t expat_every;
    uint32_t rate;       /* messages a second in all; 0: as fast as the window allows */
    uint32_t connecting; /* logins at the same time */
    uint32_t deadline_s; /* of the whole run */
    uint32_t stall_s;    /* without any progress */
    uint32_t seconds;    /* to stay idle */
    uint32_t keepalive_ms;
    uint32_t churn_ms; /* mean time between two disconnections; 0: none */
    uint64_t seed;
    enum client_mechanism mechanism;
    bool stream_management;
    bool receipts;
    bool reconnect;
    bool phases; /* say on standard error when one begins */
    char *json; /* file for the result, "-" for standard output; NULL: none */
    char *log;  /* file for a line for each message sent, acknowledged, received; NULL: none */
};

/* 0, 1 when --help was printed, or -EINVAL after saying what is wrong. */
int options_read(struct options *o, int argc, char **argv);
void options_free(struct options *o);

#endif
