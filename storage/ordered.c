/* SPDX-License-Identifier: Apache-2.0 */
#include "ordered.h"

#include <stdlib.h>

#include "../dataplane/base/check.h"

struct ordered_blob *ordered_blob_new(struct gw_bytes value)
{
    struct ordered_blob *b = malloc(sizeof(*b) + value.len);
    check(b != NULL);
    b->refs = 1;
    b->len = value.len;
    if (value.len > 0)
        memcpy(b->data, value.p, value.len);
    return b;
}

void ordered_blob_put(struct ordered_blob *b)
{
    check(b->refs > 0);
    if (--b->refs == 0)
        free(b);
}

void ordered_init(struct ordered *o)
{
    memset(o, 0, sizeof(*o));
    o->random = 0x9e3779b97f4a7c15u;
}

struct gw_bytes ordered_key(const struct ordered_node *n)
{
    return gw_bytes(&n->next[n->level_count], n->key_len);
}

static int compare(struct gw_bytes a, struct gw_bytes b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int c = common == 0 ? 0 : memcmp(a.p, b.p, common);
    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

/* The links that lead to the first node with key >= (or >, when after). */
static void find(struct ordered *o, struct gw_bytes key, bool after,
                 struct ordered_node **links[ORDERED_LEVELS_MAX])
{
    struct ordered_node **row = o->head;
    for (int level = ORDERED_LEVELS_MAX - 1; level >= 0; level--) {
        struct ordered_node *n;
        while ((n = row[level]) != NULL && compare(ordered_key(n), key) < (after ? 1 : 0))
            row = n->next;
        links[level] = &row[level];
    }
}

/* One in four nodes is one level higher: xorshift, the shape need not be unpredictable. */
static uint8_t random_level_count(struct ordered *o)
{
    o->random ^= o->random << 13;
    o->random ^= o->random >> 7;
    o->random ^= o->random << 17;
    uint8_t n = 1;
    for (uint64_t r = o->random; (r & 3) == 0 && n < ORDERED_LEVELS_MAX; r >>= 2)
        n++;
    return n;
}

void ordered_set(struct ordered *o, struct gw_bytes key, struct ordered_blob *value)
{
    check(key.len <= UINT16_MAX);
    value->refs++;
    struct ordered_node **links[ORDERED_LEVELS_MAX];
    find(o, key, false, links);
    struct ordered_node *n = *links[0];
    if (n != NULL && compare(ordered_key(n), key) == 0) {
        ordered_blob_put(n->value);
        n->value = value;
        return;
    }
    uint8_t level_count = random_level_count(o);
    n = malloc(sizeof(*n) + level_count * sizeof(n->next[0]) + key.len);
    check(n != NULL);
    n->value = value;
    n->key_len = (uint16_t)key.len;
    n->level_count = level_count;
    if (key.len > 0)
        memcpy(&n->next[level_count], key.p, key.len);
    for (unsigned level = 0; level < level_count; level++) {
        n->next[level] = *links[level];
        *links[level] = n;
    }
}

void ordered_unset(struct ordered *o, struct gw_bytes key)
{
    struct ordered_node **links[ORDERED_LEVELS_MAX];
    find(o, key, false, links);
    struct ordered_node *n = *links[0];
    if (n == NULL || compare(ordered_key(n), key) != 0)
        return;
    for (unsigned level = 0; level < n->level_count; level++)
        *links[level] = n->next[level];
    ordered_blob_put(n->value);
    free(n);
}

struct ordered_node *ordered_get(struct ordered *o, struct gw_bytes key)
{
    struct ordered_node *n = ordered_from(o, key, false);
    return n != NULL && compare(ordered_key(n), key) == 0 ? n : NULL;
}

struct ordered_node *ordered_from(struct ordered *o, struct gw_bytes key, bool after)
{
    struct ordered_node **links[ORDERED_LEVELS_MAX];
    find(o, key, after, links);
    return *links[0];
}

struct ordered_node *ordered_until(struct ordered *o, struct gw_bytes key)
{
    struct ordered_node **row = o->head;
    struct ordered_node *last = NULL;
    for (int level = ORDERED_LEVELS_MAX - 1; level >= 0; level--) {
        struct ordered_node *n;
        while ((n = row[level]) != NULL && compare(ordered_key(n), key) <= 0) {
            last = n;
            row = n->next;
        }
    }
    return last;
}

void ordered_clear(struct ordered *o)
{
    struct ordered_node *n = o->head[0];
    while (n != NULL) {
        struct ordered_node *next = n->next[0];
        ordered_blob_put(n->value);
        free(n);
        n = next;
    }
    ordered_init(o);
}
