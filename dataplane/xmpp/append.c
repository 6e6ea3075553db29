/* SPDX-License-Identifier: Apache-2.0 */
/* The segment that fills: messages, removals and receipt events of a pass, sealed in one burst. */
#include "counts.h"
#include "home.h"

#include "../../storage/event.h"
#include "../base/check.h"

static const struct gw_mailbox_id no_mailbox;

/* The last event of each segment: behind which one no count matters (counts.h). */
static struct gw_event floor_event(const struct gw_lcore *l)
{
    return (struct gw_event){.kind = GW_EVENT_FLOOR, .position = gw_counts_floor(l->counts)};
}

/* Bytes of events with `more`, and the floor. */
static size_t events_bytes(const struct gw_home *h, size_t more)
{
    static const struct gw_event floor = {.kind = GW_EVENT_FLOOR};
    return h->events.len + more + gw_event_bytes_max(&floor);
}

/* Room that the EVENTS record will need at the end. */
static size_t events_room(const struct gw_home *h, size_t more)
{
    return gw_record_padded(sizeof(struct gw_record_head) + events_bytes(h, more));
}

static bool begin(struct gw_lcore *l)
{
    struct gw_home *h = l->home;
    h->segment_block = gw_arena_get(l->arena, GW_SEGMENT_BYTES);
    if (h->segment_block == 0)
        return false;
    gw_segment_begin(&h->writer, gw_arena_ptr(l->arena, h->segment_block), GW_SEGMENT_BYTES,
                     (uint16_t)l->index);
    h->events = gw_event_writer(h->events.buf, h->events.cap);
    return true;
}

/* The associated data of what seal_later is given next, to be filled before. */
static uint8_t *next_aad(struct gw_lcore *l)
{
    if (l->home->seal_count == GW_SEAL_BURST)
        gw_home_seal(l);
    return l->home->aads[l->home->seal_count];
}

static void seal_later(struct gw_lcore *l, struct gw_record_head *r, const uint8_t *aad,
                       const uint8_t *plain)
{
    struct gw_home *h = l->home;
    struct gw_seal_op *op = &h->seals[h->seal_count++];
    gw_record_seal_op(op, l->keys, l->sealer, r, aad);
    op->in = plain;
}

unsigned gw_home_seal(struct gw_lcore *l)
{
    struct gw_home *h = l->home;
    unsigned n = h->seal_count;
    if (n > 0)
        gw_seal_burst(l->sealer, h->seals, n);
    h->seal_count = 0;
    return n;
}

/* ---- closing and handing over ---- */

static void finish_segment(struct gw_lcore *l)
{
    struct gw_home *h = l->home;
    if (h->events.len > 0) {
        struct gw_event e = floor_event(l);
        gw_home_append_event(l, &e);
        h->resume.events_bytes += h->events.len;
        struct gw_record_head *r = gw_segment_add(&h->writer, GW_RECORD_EVENTS, &no_mailbox, 0,
                                                  (uint32_t)h->events.len);
        check(r != NULL); /* events_room has kept it free */
        uint8_t *aad = next_aad(l);
        gw_record_aad(aad, NULL, r->position, GW_RECORD_EVENTS, false);
        seal_later(l, r, aad, h->events.buf);
    }
    gw_home_seal(l);
    h->segment_len = gw_segment_end(&h->writer, l->wall_us);
    h->segment_closed = true;
}

static bool submit(struct gw_lcore *l)
{
    struct gw_home *h = l->home;
    if (h->under_way_count == GW_SEGMENTS_UNDER_WAY)
        return false;
    struct gw_store_request rq = {
        .op = GW_STORE_APPEND,
        .data = gw_arena_ptr(l->arena, h->segment_block),
        .data_len = h->segment_len,
        .tag = gw_home_tag(GW_HOME_TAG_APPEND, 0),
    };
    if (gw_store_submit(l->store, &rq) != 0)
        return false;
    h->under_way[h->under_way_count++] = h->segment_block;
    h->segment_block = 0;
    h->segment_closed = false;
    h->open_number++;
    GW_COUNT(l->home_count.segments);
    return true;
}

unsigned gw_home_append(struct gw_lcore *l)
{
    struct gw_home *h = l->home;
    if (h->segment_block == 0 || h->under_way_count == GW_SEGMENTS_UNDER_WAY)
        return 0;
    if (!h->segment_closed)
        finish_segment(l);
    return submit(l);
}

void gw_home_appended(struct gw_lcore *l, const struct gw_store_completion *c)
{
    struct gw_home *h = l->home;
    check(h->under_way_count > 0);
    gw_arena_put(l->arena, h->under_way[0]);
    h->under_way_count--;
    memmove(&h->under_way[0], &h->under_way[1], h->under_way_count * sizeof(h->under_way[0]));
    h->failed = c->status != 0;
    h->resume.last_number = c->seq;
    h->durable_number++;
    gw_home_drain(l);
}

uint64_t gw_home_last_number(const struct gw_lcore *l)
{
    return l->home->segment_block != 0 ? l->home->open_number : l->home->open_number - 1;
}

bool gw_home_can_append(struct gw_lcore *l, size_t body_len, size_t event_len)
{
    struct gw_home *h = l->home;
    for (int try = 0; try < 2; try++) {
        if (h->segment_block == 0 && !begin(l))
            return false;
        if (!h->segment_closed && events_bytes(h, event_len) <= GW_EVENTS_BYTES &&
            gw_segment_fits(&h->writer, gw_record_padded(body_len) + events_room(h, event_len)))
            return true;
        /* An empty one does not hold it: nothing ever will. */
        if (h->writer.record_count == 0 && h->events.len == 0)
            return false;
        if (gw_home_append(l) == 0)
            return false;
    }
    return false;
}

/* ---- what is added ---- */

void gw_home_append_event(struct gw_lcore *l, const struct gw_event *e)
{
    check(gw_event_pack(&l->home->events, e));
}

static void stored_event(struct gw_event *e, const struct gw_stanza *s)
{
    *e = (struct gw_event){
        .kind = GW_EVENT_STORED,
        .time_us = s->accepted_us,
        .position = s->position,
        .fingerprint = s->fingerprint,
        .from = gw_stanza_from_bare(s),
        .to = gw_stanza_to_bare(s),
        .id = gw_stanza_id(s),
    };
}

/* The stanza answers an earlier one: its sender was the recipient there. */
static void answer_event(struct gw_event *e, const struct gw_stanza *s)
{
    *e = (struct gw_event){
        .kind = s->flags & GW_STANZA_RECEIVED ? GW_EVENT_RECEIVED : GW_EVENT_DISPLAYED,
        .time_us = s->accepted_us,
        .from = gw_stanza_to_bare(s),
        .to = gw_stanza_from_bare(s),
        .id = gw_stanza_ref(s),
    };
}

static void repeated_event(struct gw_event *e, const struct gw_stanza *s)
{
    *e = (struct gw_event){
        .kind = GW_EVENT_REPEATED,
        .time_us = s->accepted_us,
        .from = gw_stanza_from_bare(s),
        .to = gw_stanza_to_bare(s),
        .id = gw_stanza_id(s),
    };
}

static bool is_answer(const struct gw_stanza *s)
{
    return (s->flags & (GW_STANZA_RECEIVED | GW_STANZA_DISPLAYED)) != 0;
}

size_t gw_home_answer_event_len(const struct gw_stanza *s)
{
    struct gw_event e;
    if (!is_answer(s))
        return 0;
    answer_event(&e, s);
    return gw_event_bytes_max(&e);
}

void gw_home_append_answer(struct gw_lcore *l, const struct gw_stanza *s)
{
    struct gw_event e;
    if (!is_answer(s))
        return;
    answer_event(&e, s);
    gw_home_append_event(l, &e);
}

size_t gw_home_message_event_len(const struct gw_stanza *s)
{
    struct gw_event e;
    stored_event(&e, s);
    return gw_event_bytes_max(&e) + gw_home_answer_event_len(s);
}

size_t gw_home_repeated_event_len(const struct gw_stanza *s)
{
    struct gw_event e;
    repeated_event(&e, s);
    return gw_event_bytes_max(&e);
}

void gw_home_append_repeated(struct gw_lcore *l, const struct gw_stanza *s)
{
    struct gw_event e;
    repeated_event(&e, s);
    gw_home_append_event(l, &e);
}

bool gw_home_can_append_removal(struct gw_lcore *l, unsigned n)
{
    struct gw_event e = {.kind = GW_EVENT_DELIVERED};
    return gw_home_can_append(l, n * sizeof(struct gw_position_range),
                              n * gw_event_bytes_max(&e));
}

static void count_in(struct gw_lcore *l, struct gw_home_account *a, const struct gw_stanza *s,
                     uint16_t mark)
{
    uint32_t bytes = gw_home_record_bytes(s);
    struct gw_share *share = gw_home_share(l, a);
    gw_quota_added(&a->quota, bytes);
    if (share == NULL)
        return;
    struct gw_share_limit max = gw_share_limit(&a->limits, l->cfg->mailbox_share_percent);
    gw_share_added(share, &max, mark, bytes);
}

void gw_home_append_message(struct gw_lcore *l, uint32_t account, struct gw_stanza *s)
{
    struct gw_home *h = l->home;
    struct gw_home_account *a = gw_home_account(l, account);
    struct gw_mailbox_id mailbox = gw_identity_mailbox(&a->identity);
    uint16_t mark = gw_home_sender_mark(l, &mailbox, s);
    s->position = a->next_position++;
    a->last_segment = h->open_number;
    count_in(l, a, s, mark);
    gw_stanza_set_id(l, s, &mailbox);
    struct gw_record_head *r =
        gw_segment_add(&h->writer, GW_RECORD_MESSAGE, &mailbox, s->position, s->sealed_len);
    check(r != NULL);
    r->aux = mark;
    uint8_t *aad = next_aad(l);
    gw_record_aad(aad, &a->identity, r->position, GW_RECORD_MESSAGE, false);
    seal_later(l, r, aad, (const uint8_t *)s + s->sealed_off);
    struct gw_event e;
    stored_event(&e, s);
    e.mailbox = mailbox;
    gw_home_append_event(l, &e);
    gw_home_append_answer(l, s);
}

void gw_home_append_removal(struct gw_lcore *l, const struct gw_mailbox_id *mailbox,
                            enum gw_event_kind why, const uint64_t *positions, unsigned n)
{
    struct gw_home *h = l->home;
    struct gw_position_range ranges[GW_REMOVAL_POSITIONS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < n; i++) {
        if (count > 0 && ranges[count - 1].last + 1 == positions[i])
            ranges[count - 1].last = positions[i];
        else
            ranges[count++] = (struct gw_position_range){positions[i], positions[i]};
        struct gw_event e = {.kind = why, .time_us = l->wall_us, .mailbox = *mailbox,
                             .position = positions[i]};
        gw_home_append_event(l, &e);
    }
    struct gw_record_head *r = gw_segment_add(&h->writer, GW_RECORD_REMOVE, mailbox, positions[0],
                                              (uint32_t)(count * sizeof(ranges[0])));
    check(r != NULL);
    r->aux = (uint16_t)count;
    memcpy(r + 1, ranges, count * sizeof(ranges[0]));
    uint8_t *aad = next_aad(l);
    gw_removal_aad(aad, mailbox, r->position);
    seal_later(l, r, aad, (const uint8_t *)(r + 1));
}

void gw_home_append_account_removal(struct gw_lcore *l, uint32_t account, enum gw_event_kind why,
                                    const uint64_t *positions, unsigned n)
{
    struct gw_home_account *a = gw_home_account(l, account);
    struct gw_mailbox_id mailbox = gw_identity_mailbox(&a->identity);
    gw_home_append_removal(l, &mailbox, why, positions, n);
    a->last_segment = l->home->open_number;
    gw_quota_removed(&a->quota, n);
    if (a->share_block != 0)
        gw_home_share(l, a)->left += n;
}
