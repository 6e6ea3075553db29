/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages that a home has stored lately, by fingerprint: so that one which its sender repeats,
 * because it does not know that the first was stored, is acknowledged and not stored again.
 *
 * A repeat has the sender's and the recipient's address, an id (its attribute, or an origin-id,
 * XEP-0359) and all of its content in common with one that is not older than the window, and comes by
 * another stream: nobody repeats what they have sent by the same one. A message without an id has no
 * fingerprint. What a client adds when it repeats, a delay (XEP-0203), is not part of it.
 *
 * The oldest leaves when there is no room, and counts as new when it comes again after that. Each
 * stored event carries its fingerprint, so after a start gw_cores_recall makes the same table of the
 * ledger. One of a home lcore; never blocks.
 */
#ifndef GW_XMPP_REPEATS_H
#define GW_XMPP_REPEATS_H

#include "../../storage/event.h"
#include "../base/region.h"

struct gw_repeat {
    struct gw_fingerprint fingerprint;
    uint32_t stream; /* by which it came; 0: of an earlier process */
    uint32_t time_s; /* wall clock */
    uint32_t next;   /* number of the one before it in its bucket */
    uint32_t reserved;
};
_Static_assert(sizeof(struct gw_repeat) == 32, "two a cache line");

/* Each has a number, one more than the one before. What has been written over is told by that, and is
 * never looked for to be taken out of its bucket: a bucket's are in order, so they end with it. */
struct gw_repeats {
    struct gw_repeat *ring;
    uint32_t *buckets; /* number of the newest */
    uint32_t limit;    /* 0: nothing is remembered */
    uint32_t bucket_mask;
    uint32_t newest; /* its number */
    uint32_t head;   /* where the next is written */
    uint32_t count;
    struct gw_region region;
};

/* Room for `limit` messages. 0 or -ENOMEM. */
int gw_repeats_open(struct gw_repeats *r, uint32_t limit, enum gw_region_pages pages);
void gw_repeats_close(struct gw_repeats *r);

/* Whether such a message came by another stream since since_us. */
bool gw_repeats_has(const struct gw_repeats *r, const struct gw_fingerprint *f, uint32_t stream,
                    uint64_t since_us);
/* What gw_repeats_has will look at, brought into the cache: first this.. */
static inline void gw_repeats_expect(const struct gw_repeats *r, const struct gw_fingerprint *f)
{
    if (r->limit != 0)
        __builtin_prefetch(&r->buckets[f->name & r->bucket_mask], 1);
}
/* ..and when that has come, what it names. */
void gw_repeats_expect_newest(const struct gw_repeats *r, const struct gw_fingerprint *f);
void gw_repeats_add(struct gw_repeats *r, const struct gw_fingerprint *f, uint32_t stream,
                    uint64_t time_us);

#endif
