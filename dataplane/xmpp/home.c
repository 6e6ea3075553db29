/* SPDX-License-Identifier: Apache-2.0 */
#include "home.h"

#include <errno.h>
#include <stdlib.h>

#include "../base/check.h"

static uint32_t power_of_two(uint32_t at_least)
{
    uint32_t n = 1;
    while (n < at_least)
        n <<= 1;
    return n;
}

static int open_tables(struct gw_lcore *l, enum gw_region_pages pages)
{
    struct gw_home *h = l->home;
    const struct gw_xmpp_config *cfg = l->cfg;
    uint32_t posts = power_of_two(l->count * GW_CREDITS + 1);
    uint32_t buckets = power_of_two(cfg->account_limit);
    int err = gw_slab_open(&h->accounts, "accounts", sizeof(struct gw_home_account),
                           cfg->account_limit, pages);
    if (err == 0)
        err = gw_slab_open(&h->sessions, "sessions", sizeof(struct gw_home_session),
                           cfg->session_limit, pages);
    if (err == 0)
        err = gw_slab_open(&h->waits, "waits", sizeof(struct gw_home_wait), posts, pages);
    if (err == 0)
        err = gw_region_open(&h->bucket_region, "buckets", buckets * sizeof(uint32_t), pages);
    if (err == 0)
        err = gw_repeats_open(&h->repeats, cfg->repeats_limit, pages);
    h->buckets = h->bucket_region.base;
    h->bucket_mask = buckets - 1;
    h->pending = calloc(posts, sizeof(*h->pending));
    h->backlog = calloc(posts, sizeof(*h->backlog));
    h->pending_mask = h->backlog_mask = posts - 1;
    return err;
}

int gw_home_open(struct gw_lcore *l, enum gw_region_pages pages)
{
    struct gw_home *h = calloc(1, sizeof(*h));
    if (h == NULL)
        return -ENOMEM;
    l->home = h;
    h->open_number = 1;
    uint64_t floor = gw_store_number_floor(l->store);
    h->resume.last_number = floor > 0 ? floor - 1 : 0;
    h->events = gw_event_writer(malloc(GW_EVENTS_BYTES), GW_EVENTS_BYTES);
    h->seals = calloc(GW_SEAL_BURST, sizeof(*h->seals));
    h->aads = calloc(GW_SEAL_BURST, sizeof(*h->aads));
    int err = open_tables(l, pages);
    if (err == 0 && (!h->events.buf || !h->seals || !h->aads || !h->pending || !h->backlog))
        err = -ENOMEM;
    if (err)
        gw_home_free(l);
    return err;
}

void gw_home_free(struct gw_lcore *l)
{
    struct gw_home *h = l->home;
    if (h == NULL)
        return;
    gw_slab_close(&h->accounts);
    gw_slab_close(&h->sessions);
    gw_slab_close(&h->waits);
    gw_region_close(&h->bucket_region);
    gw_repeats_close(&h->repeats);
    free(h->pending);
    free(h->backlog);
    free(h->events.buf);
    free(h->seals);
    free(h->aads);
    free(h);
    l->home = NULL;
}

void gw_home_store_done(struct gw_lcore *l, const struct gw_store_completion *c)
{
    uint32_t index = (uint32_t)c->tag;
    switch ((enum gw_home_tag)(c->tag >> 32)) {
    case GW_HOME_TAG_APPEND:
        gw_home_appended(l, c);
        break;
    case GW_HOME_TAG_LOAD:
        gw_home_account_loaded(l, index, c);
        break;
    case GW_HOME_TAG_FIND:
        gw_home_account_found(l, index, c);
        break;
    case GW_HOME_TAG_COUNT:
        gw_home_account_counted(l, index, c);
        break;
    case GW_HOME_TAG_READ:
        gw_home_read_done(l, index, c);
        break;
    case GW_HOME_TAG_EXPIRED:
        gw_home_expiry_found(l, c);
        break;
    case GW_HOME_TAG_KEEP:
        gw_home_kept(l, index, c);
        break;
    case GW_HOME_TAG_RESUME:
        gw_home_record_read(l, index, c);
        break;
    case GW_HOME_TAG_LIST:
        gw_home_account_listed(l, index, c);
        break;
    case GW_HOME_TAG_WRITE:
        gw_home_account_written(l, index, c);
        break;
    case GW_HOME_TAG_SWEEP:
        gw_home_swept(l, c);
        break;
    }
}

bool gw_home_is_busy(const struct gw_lcore *l)
{
    const struct gw_home *h = l->home;
    return h->pending_count > 0 || h->backlog_count > 0 || h->segment_block != 0 ||
           h->under_way_count > 0 || h->expiry.phase == GW_EXPIRY_ASKED ||
           h->resume.keeping > 0 || h->resume.due_head != 0 ||
           h->resume.sweep.phase == GW_SWEEP_READS || h->resume.sweep.phase == GW_SWEEP_REMOVES;
}
