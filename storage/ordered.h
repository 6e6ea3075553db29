/* SPDX-License-Identifier: Apache-2.0 */
/* A sorted map of byte strings: a skip list. What the engine `mem` keeps its spaces in. */
#ifndef GW_STORAGE_ORDERED_H
#define GW_STORAGE_ORDERED_H

#include <stdatomic.h>
#include <stdint.h>

#include "../dataplane/base/bytes.h"

/* An immutable value that several maps may share. */
struct ordered_blob {
    uint32_t refs; /* under its owner's lock */
    size_t len;
    uint8_t data[];
};

struct ordered_blob *ordered_blob_new(struct gw_bytes value);
void ordered_blob_put(struct ordered_blob *b);

struct ordered_node {
    struct ordered_blob *value;
    uint16_t key_len;
    uint8_t level_count;
    struct ordered_node *next[]; /* level_count links, then the key's bytes */
};

#define ORDERED_LEVELS_MAX 20

struct ordered {
    struct ordered_node *head[ORDERED_LEVELS_MAX];
    uint64_t random;
};

void ordered_init(struct ordered *o);
void ordered_clear(struct ordered *o);
struct gw_bytes ordered_key(const struct ordered_node *n);
/* Takes a reference of its own. */
void ordered_set(struct ordered *o, struct gw_bytes key, struct ordered_blob *value);
void ordered_unset(struct ordered *o, struct gw_bytes key);
struct ordered_node *ordered_get(struct ordered *o, struct gw_bytes key);
/* The first with key >= (after == false) or > (after == true); the last with key <=. */
struct ordered_node *ordered_from(struct ordered *o, struct gw_bytes key, bool after);
struct ordered_node *ordered_until(struct ordered *o, struct gw_bytes key);

#endif
