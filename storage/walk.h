/* SPDX-License-Identifier: Apache-2.0 */
/* What rotation and verification share: a walk over all keys of a space in slices. Storage thread. */
#ifndef GW_STORAGE_WALK_H
#define GW_STORAGE_WALK_H

#include "store.h"

/* What one slice may do: a read that arrives meanwhile waits for it. */
#define WALK_SLICE_RECORDS 128u
#define WALK_SLICE_BYTES   (256u << 10)

struct gw_engine_ops;

/* Behind the key at which the walk stands, within a prefix. The caller frees the iterator. */
struct gw_iter *walk_seek(struct gw_store *s, const struct gw_walk *w, uint8_t space,
                          struct gw_bytes prefix);
/* It stands at this key now. */
void walk_stand(struct gw_walk *w, struct gw_bytes key);
/* The next stage, or the end behind the last. */
void walk_next_stage(struct gw_walk *w, uint8_t stage_count);
/* Something that does not open. `mailbox` may be NULL. */
void walk_damage(struct gw_walk *w, const struct gw_mailbox_id *mailbox, uint64_t position,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

/* rotate.c */
bool rotate_must_wait(const struct gw_store *s);
void rotate_some(struct gw_store *s, const struct gw_store_request *r,
                 struct gw_store_completion *done);

/* verify.c */
void verify_some(struct gw_store *s, const struct gw_store_request *r,
                 struct gw_store_completion *done);

#endif
