/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An account is deleted while its home is finding out about it, at each point of that: it must not be
 * known afterwards, or what comes for it is stored for nobody.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/base/check.h"
#include "../../dataplane/core_int.h"
#include "broker.h"

#define POINTS     24u  /* of a load, each a turn of the lcore or of the store */
#define TURNS_MAX  200u /* of what it takes to come to rest */
#define JID_BYTES  64u
#define BODY_BYTES 16u
#define MESSAGES   1100u /* more than are counted where its next position is found */

struct scene {
    struct world *world;
    struct nic *nic;
    uint64_t digest;
    struct broker broker;
};

static struct gw_lcore *lcore(const struct scene *s)
{
    return &broker_core(&s->broker, 0)->l;
}

static void no_wait(void *arg, uint64_t us)
{
}

static void open_scene(struct scene *s)
{
    static const struct broker_config cfg = {.seed = 1,
                                             .lcores = 1,
                                             .mtu = 1500,
                                             .arena_bytes = 32u << 20,
                                             .spill_after_us = 1000000,
                                             .window_bytes_max = 8u << 20,
                                             .ping_after_us = 5000000,
                                             .ping_timeout_us = 5000000,
                                             .mailbox_messages_max = 1000,
                                             .mailbox_bytes_max = 1u << 20};
    memset(s, 0, sizeof(*s));
    s->world = world_open(1, 1000000);
    s->nic = nic_new(s->world, 1, 1, cfg.mtu, &s->digest);
    broker_init(&s->broker, &cfg, s->world, s->nic, no_wait, NULL);
    broker_start(&s->broker);
}

static void close_scene(struct scene *s)
{
    broker_free(&s->broker);
    nic_free(&s->nic);
    world_close(&s->world);
}

static void call(struct scene *s, struct gw_store_request *rq, struct gw_store_completion *done)
{
    unsigned own = s->broker.cfg.lcores + BROKER_OWN_CLIENT;
    check(gw_store_call(gw_store_client(s->broker.store, own), rq, done) == 0);
}

/* So much waits for it that its home has its mailbox counted as well. */
static void put_messages(struct scene *s, const uint8_t identity_key[32])
{
    static uint8_t buf[MESSAGES * 128];
    struct gw_segment_writer w;
    struct gw_identity id = gw_identity_of(identity_key);
    struct gw_mailbox_id mailbox = gw_identity_mailbox(&id);
    gw_segment_begin(&w, buf, sizeof(buf), 0);
    for (unsigned position = 1; position <= MESSAGES; position++) {
        struct gw_record_head *r =
            gw_segment_add(&w, GW_RECORD_MESSAGE, &mailbox, position, BODY_BYTES);
        check(r != NULL);
        memset(r + 1, 0, BODY_BYTES);
    }
    struct gw_store_request rq = {.op = GW_STORE_APPEND, .data = buf};
    rq.data_len = gw_segment_end(&w, broker_wall_us(&s->broker));
    struct gw_store_completion done;
    call(s, &rq, &done);
}

static struct gw_bytes add_account(struct scene *s, unsigned number, char jid[JID_BYTES])
{
    uint8_t identity_key[32] = {1, (uint8_t)number}, stored_key[32] = {2};
    broker_add_account(&s->broker, number, identity_key, stored_key);
    put_messages(s, identity_key);
    return gw_bytes(jid, (size_t)snprintf(jid, JID_BYTES, "u%u@" BROKER_DOMAIN, number));
}

static void delete_record(struct scene *s, struct gw_bytes jid)
{
    uint8_t record[4096];
    struct gw_store_request rq = {.op = GW_STORE_GET,
                                  .ns = GW_NS_ACCOUNT,
                                  .key = jid.p,
                                  .key_len = (uint16_t)jid.len,
                                  .data = record,
                                  .data_len = sizeof(record)};
    struct gw_store_completion done;
    call(s, &rq, &done);
    rq.op = GW_STORE_CAS;
    rq.from = done.seq;
    rq.data = NULL;
    rq.data_len = 0;
    call(s, &rq, &done);
}

/* The lcore and the store in turn. */
static void turn(struct scene *s, unsigned n)
{
    world_run_to(s->world, world_now_us(s->world) + 1);
    if (n % 2 == 1) {
        gw_core_pass(broker_core(&s->broker, 0), world_now_us(s->world),
                     broker_wall_us(&s->broker));
        return;
    }
    gw_store_commit_poll(s->broker.store);
    gw_store_storage_poll(s->broker.store);
}

/* Deleted after so many turns of its load. Returns in which state it was. */
static unsigned delete_at(struct scene *s, unsigned point)
{
    char text[JID_BYTES];
    struct gw_bytes jid = add_account(s, point, text);
    uint32_t i = gw_home_account_get(lcore(s), jid, gw_home_hash(lcore(s), jid));
    check(i != 0);
    for (unsigned n = 0; n < point; n++)
        turn(s, n);
    unsigned state = gw_home_account(lcore(s), i)->state;
    delete_record(s, jid);
    (void)gw_home_end_sessions(lcore(s), jid, true);
    for (unsigned n = 0; n < TURNS_MAX && gw_home_account_find(lcore(s), jid) != 0; n++)
        turn(s, n);
    if (gw_home_account_find(lcore(s), jid) != 0) {
        fprintf(stderr, "deleted in state %u after %u turns, and still known, in state %u\n", state,
                point, gw_home_account(lcore(s), i)->state);
        exit(1);
    }
    return state;
}

int main(void)
{
    struct scene s;
    unsigned seen[GW_ACCOUNT_MISSING + 1] = {0};
    open_scene(&s);
    for (unsigned point = 0; point < POINTS; point++)
        seen[delete_at(&s, point)]++;
    close_scene(&s);
    for (unsigned state = GW_ACCOUNT_LOADING; state <= GW_ACCOUNT_READY; state++)
        if (seen[state] == 0 && state != GW_ACCOUNT_WRITING) { /* which is no part of a load */
            fprintf(stderr, "no account was deleted in state %u\n", state);
            return 1;
        }
    printf("%u accounts deleted while they were loaded, and none of them known afterwards\n", POINTS);
    return 0;
}
