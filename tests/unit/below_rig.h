/* SPDX-License-Identifier: Apache-2.0 */
/* The engine itself, below the store, on the same files: what somebody who can write to the disk can do. */
#ifndef GW_TEST_BELOW_RIG_H
#define GW_TEST_BELOW_RIG_H

#include "../../storage/engine.h"
#include "keys_rig.h"

/* The store is closed. */
static inline struct gw_engine *open_below(struct rig *rig, const struct gw_engine_ops **ops)
{
    *ops = gw_engine_by_name(rig->engine);
    struct gw_engine_options o = {.path = rig->path,
                                  .disk = rig->disk,
                                  .sync = true,
                                  .window_bytes_max = rig->cfg.window_bytes_max,
                                  .report = rig_report,
                                  .report_arg = rig};
    struct gw_engine *e;
    char err[256] = "";
    cr_assert_eq((*ops)->open(&e, &o, err), 0, "%s", err);
    return e;
}

static inline void put_below(struct rig *rig, enum gw_space space, struct gw_bytes key,
                             struct gw_bytes value)
{
    const struct gw_engine_ops *ops;
    struct gw_engine *e = open_below(rig, &ops);
    struct gw_batch *b = ops->batch_new(e);
    ops->put(b, space, key, value);
    cr_assert_eq(ops->write(e, b, true), 0);
    ops->batch_free(&b);
    ops->free(&e);
}

/* ---- messages in their mailboxes, of a store with keys ---- */

struct spilled {
    uint8_t key[24], value[1024];
    size_t len;
};

static inline void spilled_key(struct spilled *m, unsigned n, uint64_t position)
{
    struct gw_mailbox_id id = keys_mailbox(n);
    memcpy(m->key, &id, sizeof(id));
    gw_put_be64(m->key + 16, position);
}

static inline void get_spilled(struct keys_rig *rig, unsigned n, uint64_t position,
                               struct spilled *m)
{
    const struct gw_engine_ops *ops;
    struct gw_engine *e = open_below(&rig->store, &ops);
    spilled_key(m, n, position);
    cr_assert_eq(ops->get(e, GW_SPACE_MAILBOX, gw_bytes(m->key, sizeof(m->key)), m->value,
                          sizeof(m->value), &m->len),
                 0);
    ops->free(&e);
}

static inline void put_spilled(struct keys_rig *rig, const struct spilled *m)
{
    put_below(&rig->store, GW_SPACE_MAILBOX, gw_bytes(m->key, sizeof(m->key)),
              gw_bytes(m->value, m->len));
}

/* A process with the same key ring opens the store again after its files were changed. */
static inline void close_store(struct keys_rig *rig)
{
    gw_store_free(&rig->store.store);
    gw_keyring_free(&rig->store.cfg.keys);
}

static inline void open_store(struct keys_rig *rig)
{
    keys_open_ring(rig);
    rig_open(&rig->store);
}

#endif
