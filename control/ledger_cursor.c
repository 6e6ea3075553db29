/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_cursor.h"

#include <errno.h>

#include "../dataplane/base/check.h"

static const struct gw_bytes name = {(const uint8_t *)"ledger", 6};

void ledger_cursor_init(struct ledger_cursor *c, struct store_ops *ops, const struct gw_keyring *keys,
                        struct gw_sealer *sealer)
{
    *c = (struct ledger_cursor){.ops = ops, .keys = keys, .sealer = sealer};
}

int ledger_cursor_load(struct ledger_cursor *c, uint64_t *segment)
{
    struct gw_store_completion done;
    struct gw_bytes plain;
    check(!c->busy);
    int rc = store_ops_get(c->ops, GW_NS_META, name, c->sealed, sizeof(c->sealed), &done);
    if (rc != 0)
        return rc;
    rc = gw_small_open(c->keys, c->sealer, GW_NS_META, name, c->sealed, done.len, &plain);
    if (rc == 0 && plain.len != sizeof(*segment))
        rc = -EBADMSG;
    if (rc == 0)
        memcpy(segment, plain.p, sizeof(*segment));
    return rc;
}

static void start(struct ledger_cursor *c, enum gw_store_op op, uint64_t expect,
                  void (*finished)(struct store_op *))
{
    c->op.rq = (struct gw_store_request){.op = (uint8_t)op, .ns = GW_NS_META, .key = name.p,
                                         .key_len = (uint16_t)name.len, .data = c->sealed,
                                         .data_len = sizeof(c->sealed), .from = expect};
    c->op.finished = finished;
    store_ops_start(c->ops, &c->op);
}

static void written(struct store_op *op)
{
    struct ledger_cursor *c = (struct ledger_cursor *)op;
    c->busy = false;
    if (op->done.status == 0)
        c->saved = c->segment;
    else
        c->errors++;
}

static void version_known(struct store_op *op)
{
    struct ledger_cursor *c = (struct ledger_cursor *)op;
    int rc = op->done.status;
    if (rc != 0 && rc != -ENOENT) {
        c->busy = false;
        c->errors++;
        return;
    }
    gw_small_seal(c->keys, c->sealer, GW_NS_META, name, gw_bytes(&c->segment, sizeof(c->segment)),
                  c->sealed);
    start(c, GW_STORE_CAS, rc == 0 ? op->done.seq : 0, written);
}

void ledger_cursor_save(struct ledger_cursor *c, uint64_t segment)
{
    if (c->busy || segment == c->saved)
        return;
    c->busy = true;
    c->segment = segment;
    start(c, GW_STORE_GET, 0, version_known);
}
