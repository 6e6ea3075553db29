/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts known to their home: looked up by bare JID, loaded from the store, forgotten when idle. */
#include "home.h"

#include <errno.h>

#include "../../storage/account.h"
#include "../base/check.h"

#define LOAD_BYTES (GW_ACCOUNT_PACKED_BYTES_MAX + GW_SMALL_OVERHEAD_BYTES)

/* Rosters of accounts without sessions may take this part of the arena. */
#define IDLE_ROSTERS_PART 8u

static struct gw_bytes jid_of(const struct gw_lcore *l, const struct gw_home_account *a)
{
    return gw_home_account_jid(l, a);
}

static size_t roster_bytes(const struct gw_lcore *l, const struct gw_home_account *a)
{
    return a->roster_block != 0 ? gw_arena_block_bytes(l->arena, a->roster_block) : 0;
}

static uint32_t *bucket_of(const struct gw_lcore *l, uint64_t hash)
{
    return &l->home->buckets[hash & l->home->bucket_mask];
}

void gw_home_account_expect(const struct gw_lcore *l, uint64_t hash)
{
    __builtin_prefetch(bucket_of(l, hash));
}

void gw_home_account_expect_first(const struct gw_lcore *l, uint64_t hash)
{
    uint32_t i = *bucket_of(l, hash);
    if (i == 0)
        return;
    const char *a = (const char *)gw_home_account(l, i);
    for (size_t at = 0; at < sizeof(struct gw_home_account); at += 64)
        __builtin_prefetch(a + at, 1);
}

/* ---- the list of idle accounts, oldest first ---- */

static void idle_remove(struct gw_lcore *l, uint32_t i)
{
    struct gw_home *h = l->home;
    struct gw_home_account *a = gw_home_account(l, i);
    if (!a->idle)
        return;
    if (a->idle_prev)
        gw_home_account(l, a->idle_prev)->idle_next = a->idle_next;
    else
        h->idle_head = a->idle_next;
    if (a->idle_next)
        gw_home_account(l, a->idle_next)->idle_prev = a->idle_prev;
    else
        h->idle_tail = a->idle_prev;
    h->idle_roster_bytes -= roster_bytes(l, a);
    a->idle = false;
}

static void idle_append(struct gw_lcore *l, uint32_t i)
{
    struct gw_home *h = l->home;
    struct gw_home_account *a = gw_home_account(l, i);
    a->idle_prev = h->idle_tail;
    a->idle_next = 0;
    if (h->idle_tail)
        gw_home_account(l, h->idle_tail)->idle_next = i;
    else
        h->idle_head = i;
    h->idle_tail = i;
    h->idle_roster_bytes += roster_bytes(l, a);
    a->idle = true;
}

static void forget(struct gw_lcore *l, uint32_t i)
{
    struct gw_home_account *a = gw_home_account(l, i);
    check(a->pending == 0 && a->sessions == 0 && a->wait_head == 0 && a->load_block == 0);
    idle_remove(l, i);
    uint32_t *at = bucket_of(l, gw_home_hash(l, jid_of(l, a)));
    while (*at != i)
        at = &gw_home_account(l, *at)->chain;
    *at = a->chain;
    if (a->jid_len > GW_HOME_JID_BYTES)
        gw_arena_put(l->arena, a->jid_block);
    gw_arena_put(l->arena, a->share_block);
    gw_home_roster_free(l, a);
    gw_slab_free(&l->home->accounts, i);
}

void gw_home_account_hold(struct gw_lcore *l, uint32_t i)
{
    gw_home_account(l, i)->pending++;
    idle_remove(l, i);
}

static void forget_rosters(struct gw_lcore *l, uint32_t newest)
{
    struct gw_home *h = l->home;
    while (h->idle_roster_bytes > gw_arena_limit_bytes(l->arena) / IDLE_ROSTERS_PART &&
           h->idle_head != newest) {
        forget(l, h->idle_head);
        GW_COUNT(l->home_count.accounts_evicted);
    }
}

void gw_home_account_relax(struct gw_lcore *l, uint32_t i)
{
    struct gw_home_account *a = gw_home_account(l, i);
    if (a->pending > 0 || a->sessions != 0 || a->wait_head != 0 || a->load_block != 0)
        return;
    if (a->state == GW_ACCOUNT_MISSING)
        forget(l, i);
    else if (!a->idle) {
        idle_append(l, i);
        forget_rosters(l, i);
    }
}

/* ---- loading ---- */

static void load_retry(struct gw_lcore *l, uint32_t i)
{
    struct gw_home_account *a = gw_home_account(l, i);
    if (a->load_due)
        return;
    a->load_due = true;
    a->load_next = l->home->load_due_head;
    l->home->load_due_head = i;
}

static void submit_load(struct gw_lcore *l, uint32_t i)
{
    struct gw_home_account *a = gw_home_account(l, i);
    struct gw_store_request rq = {
        .op = GW_STORE_GET,
        .ns = GW_NS_ACCOUNT,
        .key = jid_of(l, a).p,
        .key_len = a->jid_len,
        .data = gw_arena_ptr(l->arena, a->load_block),
        .data_len = LOAD_BYTES,
        .tag = gw_home_tag(GW_HOME_TAG_LOAD, i),
    };
    if (gw_store_submit(l->store, &rq) != 0)
        load_retry(l, i);
}

static void submit_list(struct gw_lcore *l, uint32_t i)
{
    if (gw_home_list(l, i) != 0)
        load_retry(l, i);
}

static void submit_write(struct gw_lcore *l, uint32_t i)
{
    if (gw_home_write(l, i) != 0)
        load_retry(l, i);
}

/* A load_block holds either. */
_Static_assert(sizeof(struct gw_share) <= LOAD_BYTES, "a mailbox is counted where its account was read");

static struct gw_share *prepare_count(struct gw_lcore *l, const struct gw_home_account *a,
                                      uint16_t mark, uint32_t bytes)
{
    struct gw_share_limit max = gw_share_limit(&a->limits, l->cfg->mailbox_share_percent);
    struct gw_share *c = gw_arena_ptr(l->arena, a->load_block);
    *c = (struct gw_share){.count = {.cost_min = max.cost_min, .mark = mark}, .asked_bytes = bytes};
    return c;
}

static void submit_find(struct gw_lcore *l, uint32_t i)
{
    struct gw_home_account *a = gw_home_account(l, i);
    struct gw_share *c = prepare_count(l, a, 0, 0);
    struct gw_store_request rq = {
        .op = GW_STORE_MAILBOX,
        .mailbox = gw_identity_mailbox(&a->identity),
        .data = &c->count,
        .data_len = sizeof(c->count),
        .tag = gw_home_tag(GW_HOME_TAG_FIND, i),
    };
    if (gw_store_submit(l->store, &rq) != 0)
        load_retry(l, i);
    else
        gw_quota_count_begins(&a->quota, gw_home_now_s(l));
}

static void submit_count(struct gw_lcore *l, uint32_t i)
{
    struct gw_home_account *a = gw_home_account(l, i);
    struct gw_share *c = gw_arena_ptr(l->arena, a->load_block);
    /* All that it appended and removed is to be seen. */
    bool durable = a->last_segment <= l->home->durable_number;
    struct gw_store_request rq = {
        .op = GW_STORE_COUNT,
        .mailbox = gw_identity_mailbox(&a->identity),
        .from = c->from,
        .data = &c->count,
        .data_len = sizeof(c->count),
        .tag = gw_home_tag(GW_HOME_TAG_COUNT, i),
    };
    if (!durable || gw_store_submit(l->store, &rq) != 0)
        load_retry(l, i);
    else if (c->from == 0)
        gw_quota_count_begins(&a->quota, gw_home_now_s(l));
}

static void begin_count(struct gw_lcore *l, uint32_t i, uint16_t mark, uint32_t bytes)
{
    struct gw_home_account *a = gw_home_account(l, i);
    a->state = GW_ACCOUNT_COUNTING;
    prepare_count(l, a, mark, bytes);
    submit_count(l, i);
}

bool gw_home_account_recount(struct gw_lcore *l, uint32_t i, uint16_t mark, uint32_t bytes)
{
    struct gw_home_account *a = gw_home_account(l, i);
    check(a->state == GW_ACCOUNT_READY && a->load_block == 0);
    a->load_block = gw_arena_get(l->arena, sizeof(struct gw_share));
    if (a->load_block == 0)
        return false;
    idle_remove(l, i);
    GW_COUNT(l->home_count.recounts);
    begin_count(l, i, mark, bytes);
    return true;
}

/* Deal with the posts that waited, in order; what finds no room in a segment is tried again, and what
 * must be counted for goes on when it was. Newer posts for the account queue up behind them. */
static void drain_waits(struct gw_lcore *l, uint32_t i)
{
    struct gw_home *h = l->home;
    struct gw_home_account *a = gw_home_account(l, i);
    a->pending++; /* held meanwhile */
    while (a->wait_head != 0) {
        uint32_t w = a->wait_head;
        struct gw_home_wait *wait = gw_slab_at(&h->waits, w);
        if (!gw_home_accept(l, i, &wait->post)) {
            if (a->state != GW_ACCOUNT_COUNTING)
                load_retry(l, i);
            break;
        }
        a->wait_head = wait->next;
        if (a->wait_head == 0)
            a->wait_tail = 0;
        gw_slab_free(&h->waits, w);
        if (!gw_home_account_is_ready(a)) /* its roster is being written */
            break;
    }
    a->pending--;
    gw_home_account_relax(l, i);
}

static void wake(struct gw_lcore *l, uint32_t i, enum gw_home_account_state state)
{
    struct gw_home_account *a = gw_home_account(l, i);
    gw_arena_put(l->arena, a->load_block);
    a->load_block = 0;
    a->state = (uint8_t)state;
    drain_waits(l, i);
}

unsigned gw_home_account_retry(struct gw_lcore *l)
{
    unsigned n = 0;
    uint32_t i = l->home->load_due_head;
    l->home->load_due_head = 0;
    for (uint32_t next; i != 0; i = next, n++) {
        struct gw_home_account *a = gw_home_account(l, i);
        next = a->load_next;
        a->load_due = false;
        if (a->state == GW_ACCOUNT_LOADING)
            submit_load(l, i);
        else if (a->state == GW_ACCOUNT_LISTING)
            submit_list(l, i);
        else if (a->state == GW_ACCOUNT_WRITING)
            submit_write(l, i);
        else if (a->state == GW_ACCOUNT_FINDING)
            submit_find(l, i);
        else if (a->state == GW_ACCOUNT_COUNTING)
            submit_count(l, i);
        else if (a->load_block != 0) /* deleted meanwhile */
            wake(l, i, GW_ACCOUNT_MISSING);
        else
            drain_waits(l, i);
    }
    return n;
}

/* ---- finding and making ---- */

static uint32_t find(struct gw_lcore *l, struct gw_bytes bare, uint64_t hash)
{
    uint32_t i = *bucket_of(l, hash);
    while (i != 0 && !gw_bytes_eq(jid_of(l, gw_home_account(l, i)), bare))
        i = gw_home_account(l, i)->chain;
    return i;
}

uint32_t gw_home_account_find(struct gw_lcore *l, struct gw_bytes bare)
{
    return find(l, bare, gw_home_hash(l, bare));
}

static uint32_t make(struct gw_lcore *l, struct gw_bytes bare, uint64_t hash)
{
    struct gw_home *h = l->home;
    uint32_t i = gw_slab_alloc(&h->accounts);
    if (i == 0 && h->idle_head != 0) {
        forget(l, h->idle_head);
        GW_COUNT(l->home_count.accounts_evicted);
        i = gw_slab_alloc(&h->accounts);
    }
    if (i == 0)
        return 0;
    bool inside = bare.len <= GW_HOME_JID_BYTES;
    gw_block jid = inside ? 0 : gw_arena_get(l->arena, bare.len);
    gw_block load = gw_arena_get(l->arena, LOAD_BYTES);
    if ((!inside && jid == 0) || load == 0) {
        gw_arena_put(l->arena, jid);
        gw_arena_put(l->arena, load);
        gw_slab_free(&h->accounts, i);
        return 0;
    }
    struct gw_home_account *a = gw_home_account(l, i);
    *a = (struct gw_home_account){
        .state = GW_ACCOUNT_LOADING, .jid_len = (uint16_t)bare.len, .load_block = load};
    if (!inside)
        a->jid_block = jid;
    memcpy(inside ? a->jid : gw_arena_ptr(l->arena, jid), bare.p, bare.len);
    uint32_t *bucket = bucket_of(l, hash);
    a->chain = *bucket;
    *bucket = i;
    submit_load(l, i);
    return i;
}

uint32_t gw_home_account_get(struct gw_lcore *l, struct gw_bytes bare, uint64_t hash)
{
    uint32_t i = find(l, bare, hash);
    return i != 0 ? i : make(l, bare, hash);
}

void gw_home_account_wait(struct gw_lcore *l, uint32_t i, const struct gw_post *p)
{
    struct gw_home *h = l->home;
    struct gw_home_account *a = gw_home_account(l, i);
    uint32_t w = gw_slab_alloc(&h->waits);
    check(w != 0); /* as many as there are credits */
    struct gw_home_wait *wait = gw_slab_at(&h->waits, w);
    *wait = (struct gw_home_wait){.post = *p};
    if (a->wait_tail != 0)
        ((struct gw_home_wait *)gw_slab_at(&h->waits, a->wait_tail))->next = w;
    else
        a->wait_head = w;
    a->wait_tail = w;
}

/* ---- what the store said ---- */

static void set_limits(struct gw_lcore *l, struct gw_home_account *a, uint32_t messages,
                       uint64_t bytes)
{
    a->limits.messages = messages != 0 ? messages : l->cfg->mailbox_messages_max;
    a->limits.bytes = bytes != 0 ? bytes : l->cfg->mailbox_bytes_max;
}

int gw_home_set_limits(struct gw_lcore *l, struct gw_bytes bare, uint32_t messages, uint64_t bytes)
{
    uint32_t i = gw_home_account_find(l, bare);
    if (i == 0)
        return -ENOENT;
    struct gw_home_account *a = gw_home_account(l, i);
    a->stale = a->state == GW_ACCOUNT_LOADING;
    set_limits(l, a, messages, bytes);
    gw_quota_doubt(&a->quota);
    gw_arena_put(l->arena, a->share_block); /* costs of the old limits */
    a->share_block = 0;
    return 0;
}

void gw_home_account_gone(struct gw_lcore *l, uint32_t i)
{
    struct gw_home_account *a = gw_home_account(l, i);
    if (a->state == GW_ACCOUNT_LOADING)
        a->stale = true; /* its record may have been read before it went, or be that of a later account */
    else
        a->state = GW_ACCOUNT_MISSING;
}

void gw_home_account_loaded(struct gw_lcore *l, uint32_t i, const struct gw_store_completion *c)
{
    struct gw_home_account *a = gw_home_account(l, i);
    struct gw_account record;
    struct gw_bytes plain;
    int rc = c->status;
    if (a->stale) {
        a->stale = false;
        submit_load(l, i);
        return;
    }
    if (rc == 0)
        rc = gw_small_open(l->keys, l->sealer, GW_NS_ACCOUNT, jid_of(l, a),
                           gw_arena_ptr(l->arena, a->load_block), c->len, &plain);
    if (rc == 0)
        rc = gw_account_unpack(plain.p, plain.len, &record);
    if (rc != 0) {
        a->damaged = rc != -ENOENT;
        if (a->damaged)
            GW_COUNT(l->edge_count.accounts_damaged);
        wake(l, i, GW_ACCOUNT_MISSING);
        return;
    }
    gw_hash(l->hasher, GW_HASH_SHA_256, gw_bytes(record.identity_key, 32), a->identity.hash);
    set_limits(l, a, record.messages_max, record.bytes_max);
    explicit_bzero(&record, sizeof(record));
    explicit_bzero(gw_arena_ptr(l->arena, a->load_block), LOAD_BYTES);
    a->state = GW_ACCOUNT_LISTING;
    submit_list(l, i);
}

void gw_home_account_listed(struct gw_lcore *l, uint32_t i, const struct gw_store_completion *c)
{
    struct gw_home_account *a = gw_home_account(l, i);
    if (a->state == GW_ACCOUNT_MISSING) {
        wake(l, i, GW_ACCOUNT_MISSING);
    } else if (gw_home_listed(l, i, c) != 0) {
        submit_list(l, i);
    } else if (a->found) {
        wake(l, i, GW_ACCOUNT_READY);
    } else {
        a->state = GW_ACCOUNT_FINDING;
        submit_find(l, i);
    }
}

void gw_home_account_write(struct gw_lcore *l, uint32_t i)
{
    struct gw_home_account *a = gw_home_account(l, i);
    check(a->state == GW_ACCOUNT_READY && a->load_block != 0);
    idle_remove(l, i);
    a->state = GW_ACCOUNT_WRITING;
    submit_write(l, i);
}

/* Somebody else has written it, a rotation of keys: it is read, and the post comes first again. */
static void list_again(struct gw_lcore *l, uint32_t i, const struct gw_post *p)
{
    struct gw_home_account *a = gw_home_account(l, i);
    uint32_t w = gw_slab_alloc(&l->home->waits);
    check(w != 0); /* as many as there are credits */
    struct gw_home_wait *wait = gw_slab_at(&l->home->waits, w);
    *wait = (struct gw_home_wait){.post = *p, .next = a->wait_head};
    a->wait_head = w;
    if (a->wait_tail == 0)
        a->wait_tail = w;
    a->state = GW_ACCOUNT_LISTING;
    submit_list(l, i);
}

void gw_home_account_written(struct gw_lcore *l, uint32_t i, const struct gw_store_completion *c)
{
    struct gw_home_account *a = gw_home_account(l, i);
    struct gw_post again;
    bool gone = a->state == GW_ACCOUNT_MISSING;
    if (gw_home_written(l, i, c, &again) == -ESTALE && !gone)
        list_again(l, i, &again);
    else
        wake(l, i, gone ? GW_ACCOUNT_MISSING : GW_ACCOUNT_READY);
}

/* What was counted goes on being kept up where a sender could have more than its share. */
static void keep_shares(struct gw_lcore *l, struct gw_home_account *a)
{
    struct gw_share_limit max = gw_share_limit(&a->limits, l->cfg->mailbox_share_percent);
    struct gw_share *counted = gw_arena_ptr(l->arena, a->load_block);
    gw_block before = a->share_block;
    a->share_block = 0;
    if (gw_share_is_limited(l->cfg->mailbox_share_percent) &&
        !gw_share_is_idle(&max, counted->count.messages + 1,
                          counted->count.bytes + counted->asked_bytes)) {
        gw_share_counted(counted, before != 0 ? gw_arena_ptr(l->arena, before) : NULL,
                         gw_home_now_s(l));
        a->share_block = a->load_block;
        a->load_block = 0;
    }
    gw_arena_put(l->arena, before);
}

/* All of its mailbox has been counted, into its load_block. */
static void end_count(struct gw_lcore *l, uint32_t i)
{
    struct gw_home_account *a = gw_home_account(l, i);
    const struct gw_share *counted = gw_arena_ptr(l->arena, a->load_block);
    gw_quota_counted(&a->quota, counted->count.messages, counted->count.bytes);
    keep_shares(l, a);
    wake(l, i, GW_ACCOUNT_READY);
}

void gw_home_account_found(struct gw_lcore *l, uint32_t i, const struct gw_store_completion *c)
{
    struct gw_home_account *a = gw_home_account(l, i);
    if (c->status != 0 || a->state == GW_ACCOUNT_MISSING) {
        wake(l, i, GW_ACCOUNT_MISSING);
        return;
    }
    a->next_position = c->next;
    a->durable_end = c->next;
    a->found = true;
    if (c->seq == c->next)
        wake(l, i, GW_ACCOUNT_READY);
    else if (c->more)
        begin_count(l, i, 0, 0);
    else
        end_count(l, i);
}

void gw_home_account_counted(struct gw_lcore *l, uint32_t i, const struct gw_store_completion *c)
{
    struct gw_home_account *a = gw_home_account(l, i);
    struct gw_share *counting = gw_arena_ptr(l->arena, a->load_block);
    if (a->state == GW_ACCOUNT_MISSING) {
        wake(l, i, GW_ACCOUNT_MISSING);
        return;
    }
    counting->from = c->next;
    if (c->status == 0 && c->more) {
        submit_count(l, i);
        return;
    }
    /* A table that cannot be read to its end: what is behind the damage is not counted. */
    end_count(l, i);
}
