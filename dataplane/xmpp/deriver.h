/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker that derives SCRAM keys from passwords (for SASL PLAIN), so that no lcore spends
 * milliseconds on PBKDF2. One thread, lowest priority, a pair of rings for each lcore.
 */
#ifndef GW_XMPP_DERIVER_H
#define GW_XMPP_DERIVER_H

#include "../../storage/account.h"

#define GW_DERIVER_PASSWORD_BYTES_MAX 1024

/* Lent to the worker until it comes back; the lcore's memory. */
struct gw_derive_job {
    uint64_t tag;
    enum gw_scram_hash hash;
    struct gw_scram_keys keys; /* salt and iterations in, stored and server key out */
    int status;
    uint32_t password_len;
    char password[GW_DERIVER_PASSWORD_BYTES_MAX]; /* wiped by the worker */
};

struct gw_deriver;
struct gw_deriver_port;

int gw_deriver_open(struct gw_deriver **out, unsigned lcore_count);
/* Joins the thread; jobs not begun are dropped. */
void gw_deriver_free(struct gw_deriver **d);
struct gw_deriver_port *gw_deriver_port(struct gw_deriver *d, unsigned lcore);

/* Lcore's thread. False when too many are under way. */
bool gw_deriver_submit(struct gw_deriver_port *p, struct gw_derive_job *job);
/* Jobs done, up to max. */
unsigned gw_deriver_poll(struct gw_deriver_port *p, struct gw_derive_job **out, unsigned max);

#endif
