/* SPDX-License-Identifier: Apache-2.0 */
/* key.status, key.rotate. */
#include <stdio.h>
#include <string.h>

#include "../dataplane/base/check.h"
#include "control_int.h"

static void key_status(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    uint8_t id[GW_MASTER_ID_BYTES];
    char text[2 * GW_MASTER_ID_BYTES + 1];
    unsigned masters = gw_keyring_masters(c->env->keys, id);
    for (unsigned i = 0; i < GW_MASTER_ID_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", id[i]);
    bool rotating = c->store_jobs[STORE_JOB_MASTER].running ||
                    c->store_jobs[STORE_JOB_ACCOUNTS].running ||
                    c->store_jobs[STORE_JOB_INCARNATION].running;
    json_t *r = json_pack("{s:s, s:i, s:I, s:I, s:b, s:b}", "master_id", text, "masters", (int)masters,
                          "incarnation", (json_int_t)gw_keyring_current(c->env->keys), "incarnations",
                          (json_int_t)gw_keyring_incarnations(c->env->keys), "rotating", rotating,
                          "erasing", c->erase_at_us != UINT64_MAX);
    check(r != NULL);
    rpc_reply(&rq, r);
}

static void key_rotate(struct rpc_request *rq, void *ctx)
{
    struct control *c = ctx;
    const char *what = rpc_string(rq, "what");
    control_start_store_job(c, rq,
                            strcmp(what, "master") == 0     ? STORE_JOB_MASTER
                            : strcmp(what, "accounts") == 0 ? STORE_JOB_ACCOUNTS
                                                            : STORE_JOB_INCARNATION);
}

void commands_key_register(struct control *c)
{
    rpc_register(c->rpc, "key.status", key_status, c);
    rpc_register(c->rpc, "key.rotate", key_rotate, c);
}
