/* SPDX-License-Identifier: Apache-2.0 */
/* The receipt ledger: joining events, asking, following without gaps, damage, retention. */
#include "control_rig.h"

#include "../../control/ledger.h"
#include "../../control/ledger_cursor.h"
#include "../../control/ledger_filter.h"
#include "../../control/ledger_jobs.h"
#include "../../control/schema.h"

static struct gw_event stored_event(unsigned mailbox, uint64_t position, const char *id)
{
    struct gw_event e = {.kind = GW_EVENT_STORED, .time_us = 1000 + position, .position = position,
                         .from = GW_LIT("alice@example.org"), .to = GW_LIT("bob@example.org"),
                         .id = gw_bytes_str(id)};
    memset(e.mailbox.b, (int)mailbox, sizeof(e.mailbox.b));
    return e;
}

static struct gw_event delivered_event(unsigned mailbox, uint64_t position)
{
    struct gw_event e = {.kind = GW_EVENT_DELIVERED, .time_us = 5000, .position = position};
    memset(e.mailbox.b, (int)mailbox, sizeof(e.mailbox.b));
    return e;
}

static struct gw_event answer_event(enum gw_event_kind kind, const char *id)
{
    return (struct gw_event){.kind = kind, .time_us = 6000 + kind, .from = GW_LIT("alice@example.org"),
                             .to = GW_LIT("bob@example.org"), .id = gw_bytes_str(id)};
}

/* ---- the table ---- */

static const struct receipt *apply(struct ledger_table *t, struct gw_event e, uint64_t segment)
{
    return ledger_table_apply(t, &e, (struct ledger_place){segment, 0}, 2000 + segment);
}

Test(ledger_table, joins_the_steps_of_a_message)
{
    struct ledger_table *t = ledger_table_new(100, 1 << 20);
    const struct receipt *r = apply(t, stored_event(1, 1, "m1"), 7);
    cr_assert_eq(receipt_state(r), RECEIPT_stored);
    cr_assert_eq(r->time_us[RECEIPT_accepted], 1001);
    cr_assert_eq(r->time_us[RECEIPT_stored], 2007);
    cr_assert_eq(apply(t, answer_event(GW_EVENT_RECEIVED, "m1"), 8), r);
    cr_assert_eq(receipt_state(r), RECEIPT_received);
    cr_assert_eq(apply(t, delivered_event(1, 1), 9), r);
    cr_assert_eq(r->time_us[RECEIPT_delivered], 5000);
    cr_assert_eq(apply(t, answer_event(GW_EVENT_DISPLAYED, "m1"), 9), r);
    cr_assert_eq(receipt_state(r), RECEIPT_displayed);
    cr_assert_null(apply(t, delivered_event(1, 2), 9));
    cr_assert_null(apply(t, delivered_event(2, 1), 9));
    cr_assert_null(apply(t, answer_event(GW_EVENT_RECEIVED, "m2"), 9));
    cr_assert_eq(apply(t, stored_event(1, 1, "m1"), 7), r, "again: it is the same");
    cr_assert_eq(r->time_us[RECEIPT_stored], 2007);
    cr_assert_eq(ledger_table_count(t), 1);
    ledger_table_free(&t);
    cr_assert_null(t);
}

Test(ledger_table, one_that_expired_may_have_been_delivered_all_the_same)
{
    struct ledger_table *t = ledger_table_new(100, 1 << 20);
    const struct receipt *r = apply(t, stored_event(1, 1, "m1"), 7);
    struct gw_event e = delivered_event(1, 1);
    e.kind = GW_EVENT_EXPIRED;
    cr_assert_eq(apply(t, e, 8), r);
    cr_assert_eq(receipt_state(r), RECEIPT_expired);
    cr_assert_eq(apply(t, delivered_event(1, 1), 9), r);
    cr_assert_eq(receipt_state(r), RECEIPT_delivered);
    ledger_table_free(&t);
}

Test(ledger_table, an_id_used_twice_means_the_later_message)
{
    struct ledger_table *t = ledger_table_new(100, 1 << 20);
    apply(t, stored_event(1, 1, "same"), 1);
    const struct receipt *second = apply(t, stored_event(1, 2, "same"), 2);
    cr_assert_eq(apply(t, answer_event(GW_EVENT_RECEIVED, "same"), 3), second);
    ledger_table_free(&t);
}

Test(ledger_table, drops_the_oldest_and_stays_within_its_bounds)
{
    struct ledger_table *t = ledger_table_new(50, 1 << 20);
    char id[32];
    for (unsigned i = 1; i <= 1000; i++) {
        snprintf(id, sizeof(id), "m%u", i);
        apply(t, stored_event(i % 7, i, id), i);
        cr_assert_leq(ledger_table_count(t), 50);
        unsigned oldest = i > 50 ? i - 49 : 1;
        cr_assert_eq(ledger_table_oldest(t)->position, oldest);
        cr_assert_eq(ledger_table_newest(t)->position, i);
    }
    cr_assert_eq(ledger_table_dropped(t), 950);
    cr_assert_eq(ledger_table_dropped_until_us(t), 2950);
    cr_assert_null(apply(t, delivered_event(950 % 7, 950), 1001));
    cr_assert_not_null(apply(t, delivered_event(951 % 7, 951), 1001));
    cr_assert_null(apply(t, answer_event(GW_EVENT_RECEIVED, "m950"), 1001));
    ledger_table_free(&t);

    t = ledger_table_new(1000, 4096);
    for (unsigned i = 1; i <= 200; i++)
        apply(t, stored_event(1, i, "an id of some length"), i);
    cr_assert_lt(ledger_table_count(t), 30);
    ledger_table_free(&t);
}

static void assert_same_receipts(const struct ledger_table *a, const struct ledger_table *b)
{
    const struct receipt *x = ledger_table_newest(a), *y = ledger_table_newest(b);
    cr_assert_eq(ledger_table_count(a), ledger_table_count(b));
    for (; x != NULL; x = ledger_table_older(a, x), y = ledger_table_older(b, y)) {
        cr_assert_eq(x->position, y->position);
        cr_assert_eq(memcmp(&x->mailbox, &y->mailbox, sizeof(x->mailbox)), 0);
        cr_assert_eq(memcmp(x->time_us, y->time_us, sizeof(x->time_us)), 0);
        cr_assert_eq(ledger_place_cmp(&x->place, &y->place), 0);
        cr_assert(gw_bytes_eq(receipt_id(x), receipt_id(y)));
    }
    cr_assert_null(y);
}

/* What is in memory follows from the events since its oldest message: the ground of the cursor. Ids come
 * again, names are of all lengths, and the ring of bytes goes round many times. */
Test(ledger_table, is_made_again_of_the_events_since_its_oldest)
{
    enum { EVENTS = 60000, LOOKS = 12 };
    static struct gw_event events[EVENTS];
    static char ids[EVENTS][300];
    struct ledger_table *t = ledger_table_new(300, 1 << 20);
    unsigned seed = 11, stored = 0;
    for (unsigned i = 0; i < EVENTS; i++) {
        unsigned what = (unsigned)rand_r(&seed) % 4, back = (unsigned)rand_r(&seed) % 500;
        unsigned position = stored > back ? stored - back : 1;
        snprintf(ids[i], sizeof(ids[i]), "%*u", 1 + rand_r(&seed) % 280, what == 0 ? stored % 97 : 3);
        if (what < 2)
            events[i] = stored_event(stored % 5, stored + 1, ids[i]), stored++;
        else if (what == 2)
            events[i] = delivered_event((position - 1) % 5, position);
        else
            events[i] = answer_event(GW_EVENT_RECEIVED, ids[(unsigned)rand_r(&seed) % (i + 1)]);
        events[i].time_us += i;
        apply(t, events[i], i);
        if (i % (EVENTS / LOOKS) != EVENTS / LOOKS - 1)
            continue;
        struct ledger_table *again = ledger_table_new(300, 1 << 20);
        for (uint64_t k = ledger_table_oldest(t)->place.segment; k <= i; k++)
            apply(again, events[k], k);
        assert_same_receipts(t, again);
        ledger_table_free(&again);
    }
    cr_assert_gt(ledger_table_dropped(t), 10000);
    ledger_table_free(&t);
}

Test(ledger_place, text_goes_both_ways)
{
    struct ledger_place p;
    char text[LEDGER_PLACE_TEXT_BYTES];
    cr_assert(ledger_place_parse("0", &p));
    cr_assert(p.segment == 0 && p.ordinal == 0);
    cr_assert(ledger_place_parse("123456789012:42", &p));
    ledger_place_format(&p, text);
    cr_assert_str_eq(text, "123456789012:42");
    static const char *const bad[] = {"", "x", "-1", "1:", "1:-2", "1:2:3", "1 2", " 1",
                                      "99999999999999999999999", "1:99999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_not(ledger_place_parse(bad[i], &p), "%s", bad[i]);
}

/* ---- as a home lcore writes it ---- */

struct writer {
    struct rig *rig;
    struct store_ops ops;
};

static struct writer *writer_new(struct rig *rig)
{
    struct writer *w = malloc(sizeof(*w));
    w->rig = rig;
    store_ops_init(&w->ops, gw_store_client(rig->store, 0));
    return w;
}

/* One segment with these events in one sealed record; its number. */
static uint64_t append(struct writer *w, const struct gw_event *events, unsigned n, bool damage)
{
    static uint64_t buf[(1 << 20) / 8];
    static uint8_t plain[1 << 19];
    struct rig *rig = w->rig;
    struct gw_segment_writer sw;
    struct gw_mailbox_id none = {{0}};
    uint8_t aad[GW_RECORD_AAD_BYTES];
    struct gw_event_writer packed = gw_event_writer(plain, sizeof(plain));
    for (unsigned i = 0; i < n; i++)
        cr_assert(gw_event_pack(&packed, &events[i]));
    size_t len = packed.len;
    gw_segment_begin(&sw, buf, sizeof(buf), 0);
    struct gw_record_head *h = gw_segment_add(&sw, GW_RECORD_EVENTS, &none, 0, (uint32_t)len);
    cr_assert_not_null(h);
    struct gw_nonce nonce = gw_sealer_nonce(rig->sealers[0]);
    h->incarnation = gw_keyring_current(rig->keys);
    h->nonce_thread = nonce.thread;
    h->nonce_counter = nonce.counter;
    gw_record_aad(aad, NULL, h->position, GW_RECORD_EVENTS, false);
    struct gw_seal_op op = {.key = gw_keyring_key(rig->keys, h->incarnation), .nonce = nonce,
                            .aad = aad, .aad_len = sizeof(aad), .len = (uint32_t)len, .in = plain,
                            .out = (uint8_t *)(h + 1), .tag = h->tag};
    gw_seal_burst(rig->sealers[0], &op, 1);
    h->tag[3] ^= damage;
    struct store_op a = {.rq = {.op = GW_STORE_APPEND, .data = buf,
                                .data_len = gw_segment_end(&sw, 1)}};
    cr_assert_eq(store_ops_call(&w->ops, &a), 0);
    return a.done.seq;
}

static uint64_t segment_next(struct rig *rig)
{
    return gw_store_state(rig->store).segment_next;
}

static uint64_t append_one(struct writer *w, struct gw_event e)
{
    return append(w, &e, 1, false);
}

static json_t *list(int fd, json_t *params)
{
    json_t *r = rig_call(fd, "receipts.list", params);
    json_t *all = json_incref(json_object_get(r, "receipts"));
    json_decref(r);
    return all;
}

static const char *text_of(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s != NULL ? s : "";
}

/* Asks until the answer has n rows: what has just been written is read by another thread. */
static json_t *list_until(int fd, const char *params, size_t n)
{
    for (;;) {
        json_t *all = list(fd, json_loads(params, 0, NULL));
        if (json_array_size(all) == n)
            return all;
        cr_assert_lt(json_array_size(all), n);
        json_decref(all);
    }
}

CONTROL_TEST(ledger, shows_what_became_of_messages)
{
    struct writer *w = writer_new(rig);
    int fd = rig_connect(rig);
    struct gw_event all[] = {stored_event(1, 1, "m1"), stored_event(1, 2, "m2"),
                             stored_event(1, 3, "m3")};
    append(w, all, 3, false);
    append_one(w, delivered_event(1, 1));
    append_one(w, answer_event(GW_EVENT_DISPLAYED, "m1"));
    append_one(w, delivered_event(1, 2));
    json_decref(list_until(fd, "{\"state\": \"delivered\"}", 1));
    json_t *rows = list_until(fd, "{}", 3);
    json_t *first = json_array_get(rows, 0);
    cr_assert_str_eq(text_of(first, "id"), "m1");
    cr_assert_str_eq(text_of(first, "state"), "displayed");
    cr_assert_str_eq(text_of(first, "from"), "alice@example.org");
    cr_assert_eq(json_integer_value(json_object_get(first, "accepted_us")), 1001);
    cr_assert_eq(json_integer_value(json_object_get(first, "delivered_us")), 5000);
    cr_assert_null(json_object_get(first, "received_us"));
    cr_assert_str_eq(text_of(json_array_get(rows, 2), "state"), "stored");
    json_decref(rows);
    json_decref(list_until(fd, "{\"account\": \"alice\"}", 3));
    json_decref(list_until(fd, "{\"account\": \"bob\", \"peer\": \"alice\"}", 3));
    json_decref(list_until(fd, "{\"account\": \"carol\"}", 0));
    json_decref(list_until(fd, "{\"id\": \"m2\"}", 1));
    json_decref(list_until(fd, "{\"undelivered_for\": 0}", 1));
    json_decref(list_until(fd, "{\"undelivered_for\": 3600}", 0));
    json_decref(list_until(fd, "{\"age\": 3600}", 0));
    rig_expect_error(fd, "receipts.list", json_pack("{s:s}", "state", "lost"), RPC_PARAMS);
    rig_expect_error(fd, "receipts.list", json_pack("{s:s}", "account", "a@b"), RPC_PARAMS);
    close(fd);
    free(w);
}

CONTROL_TEST(ledger, is_shown_in_pages)
{
    struct writer *w = writer_new(rig);
    int fd = rig_connect(rig);
    char id[32], *cursor = NULL;
    for (unsigned i = 1; i <= 25; i++) {
        snprintf(id, sizeof(id), "m%u", i);
        append_one(w, stored_event(1, i, id));
    }
    json_decref(list_until(fd, "{}", 25));
    unsigned seen = 0;
    do {
        json_t *r = rig_call(fd, "receipts.list", json_pack("{s:i, s:s*}", "limit", 10, "cursor",
                                                            cursor));
        json_t *rows = json_object_get(r, "receipts");
        size_t n = json_array_size(rows);
        for (size_t i = 0; i < n; i++) {
            snprintf(id, sizeof(id), "m%zu", 25 - seen - n + i + 1);
            cr_assert_str_eq(text_of(json_array_get(rows, i), "id"), id);
        }
        seen += (unsigned)n;
        free(cursor);
        cursor = json_object_get(r, "next") != NULL ? strdup(text_of(r, "next")) : NULL;
        json_decref(r);
    } while (cursor != NULL);
    cr_assert_eq(seen, 25);
    close(fd);
    free(w);
}

/* ---- following ---- */

static char *follow(int fd, const char *since)
{
    json_t *r = rig_call(fd, "receipts.follow", json_pack("{s:s*}", "since", since));
    char *cursor = strdup(text_of(r, "cursor"));
    json_decref(r);
    return cursor;
}

static json_t *next_event(int fd)
{
    json_t *m = rig_receive(fd);
    cr_assert_str_eq(text_of(m, "method"), "receipts.event");
    json_t *e = json_incref(json_object_get(m, "params"));
    json_decref(m);
    return e;
}

CONTROL_TEST(ledger, is_followed_live)
{
    struct writer *w = writer_new(rig);
    int fd = rig_connect(rig);
    append_one(w, stored_event(1, 1, "before"));
    json_decref(list_until(fd, "{}", 1));
    free(follow(fd, NULL));
    append_one(w, stored_event(1, 2, "m2"));
    json_t *e = next_event(fd);
    cr_assert_str_eq(text_of(e, "event"), "stored");
    cr_assert_str_eq(text_of(e, "id"), "m2");
    json_decref(e);
    append_one(w, delivered_event(1, 1));
    e = next_event(fd);
    cr_assert_str_eq(text_of(e, "event"), "delivered");
    cr_assert_str_eq(text_of(e, "id"), "before");
    json_decref(e);
    close(fd);
    free(w);
}

/* From any cursor, every event behind it comes once and in order, whatever the split. */
CONTROL_TEST(ledger, is_followed_from_any_cursor_without_gaps)
{
    struct writer *w = writer_new(rig);
    struct gw_event events[5];
    char ids[100][16];
    for (unsigned i = 0; i < 20; i++) {
        for (unsigned k = 0; k < 5; k++) {
            snprintf(ids[i * 5 + k], 16, "m%u", i * 5 + k);
            events[k] = stored_event(1, i * 5 + k + 1, ids[i * 5 + k]);
        }
        append(w, events, 5, false);
    }
    int fd = rig_connect(rig);
    char *cursors[101];
    cursors[0] = follow(fd, "0");
    cr_assert_str_eq(cursors[0], "0:0");
    for (unsigned i = 0; i < 100; i++) {
        json_t *e = next_event(fd);
        cr_assert_str_eq(text_of(e, "id"), ids[i]);
        cursors[i + 1] = strdup(text_of(e, "cursor"));
        json_decref(e);
    }
    close(fd);
    for (unsigned i = 0; i <= 100; i += 7) {
        fd = rig_connect(rig);
        free(follow(fd, cursors[i]));
        append_one(w, stored_event(2, i + 1, "last"));
        for (unsigned k = i; k < 100; k++) {
            json_t *e = next_event(fd);
            cr_assert_str_eq(text_of(e, "id"), ids[k]);
            json_decref(e);
        }
        json_t *e = next_event(fd);
        cr_assert_str_eq(text_of(e, "id"), "last");
        json_decref(e);
        close(fd);
    }
    for (unsigned i = 0; i <= 100; i++)
        free(cursors[i]);
    free(w);
}

/* A follower that does not read costs the broker no memory and misses nothing. */
CONTROL_TEST(ledger, a_slow_follower_gets_everything_in_the_end)
{
    struct writer *w = writer_new(rig);
    int fd = rig_connect(rig), other = rig_connect(rig);
    enum { SEGMENTS = 100, EACH = 200 };
    static struct gw_event events[EACH];
    static char ids[EACH][64];
    free(follow(fd, NULL));
    for (unsigned i = 0; i < SEGMENTS; i++) {
        for (unsigned k = 0; k < EACH; k++) {
            snprintf(ids[k], sizeof(ids[k]), "message number %u", i * EACH + k);
            events[k] = stored_event(1, i * EACH + k + 1, ids[k]);
        }
        append(w, events, EACH, false);
    }
    json_decref(list_until(other, "{\"id\": \"message number 19999\"}", 1));
    for (unsigned i = 0; i < SEGMENTS * EACH; i++) {
        char id[64];
        snprintf(id, sizeof(id), "message number %u", i);
        json_t *e = next_event(fd);
        cr_assert_str_eq(text_of(e, "id"), id);
        json_decref(e);
    }
    close(fd);
    close(other);
    free(w);
}

/* What a message has said already is not said again: confirmed by a second device, or expired after all. */
CONTROL_TEST(ledger, each_step_of_a_message_is_followed_once)
{
    struct writer *w = writer_new(rig);
    int live = rig_connect(rig), late = rig_connect(rig);
    free(follow(live, NULL));
    struct gw_event again = delivered_event(1, 1), too_old = delivered_event(1, 1);
    struct gw_event received_again = answer_event(GW_EVENT_RECEIVED, "m1");
    again.time_us++;
    received_again.time_us++;
    too_old.time_us += 2;
    too_old.kind = GW_EVENT_EXPIRED;
    append_one(w, stored_event(1, 1, "m1"));
    append_one(w, delivered_event(1, 1));
    append_one(w, answer_event(GW_EVENT_RECEIVED, "m1"));
    append_one(w, again);
    append_one(w, received_again);
    append_one(w, too_old);
    append_one(w, stored_event(1, 2, "m2"));
    too_old.position = 2;
    append_one(w, too_old);
    again.position = 2;
    again.time_us = too_old.time_us + 1;
    append_one(w, again);
    static const char *const expected[][2] = {{"stored", "m1"}, {"delivered", "m1"},
                                              {"received", "m1"}, {"stored", "m2"},
                                              {"expired", "m2"}, {"delivered", "m2"}};
    enum { EVENTS = sizeof(expected) / sizeof(expected[0]) };
    char *cursors[EVENTS];
    for (unsigned i = 0; i < EVENTS; i++) {
        json_t *e = next_event(live);
        cr_assert_str_eq(text_of(e, "event"), expected[i][0]);
        cr_assert_str_eq(text_of(e, "id"), expected[i][1]);
        cursors[i] = strdup(text_of(e, "cursor"));
        json_decref(e);
    }
    /* Whoever comes later, from wherever, is told the same. */
    for (unsigned from = 0; from < EVENTS; from++) {
        free(follow(late, cursors[from]));
        for (unsigned i = from + 1; i < EVENTS; i++) {
            json_t *e = next_event(late);
            cr_assert_str_eq(text_of(e, "event"), expected[i][0]);
            cr_assert_str_eq(text_of(e, "id"), expected[i][1]);
            cr_assert_str_eq(text_of(e, "cursor"), cursors[i]);
            json_decref(e);
        }
        close(late);
        late = rig_connect(rig);
        free(cursors[from]);
    }
    close(late);
    close(live);
    free(w);
}

/* Carol never got it; Alice wrote it: neither has received it. */
CONTROL_TEST(ledger, a_receipt_counts_only_from_the_recipient)
{
    struct writer *w = writer_new(rig);
    int fd = rig_connect(rig);
    struct gw_event stranger = answer_event(GW_EVENT_RECEIVED, "m1");
    struct gw_event sender = answer_event(GW_EVENT_DISPLAYED, "m1");
    stranger.to = GW_LIT("carol@example.org");
    sender.to = GW_LIT("alice@example.org");
    append_one(w, stored_event(1, 1, "m1"));
    append_one(w, stranger);
    append_one(w, sender);
    append_one(w, stored_event(1, 2, "m2"));
    append_one(w, answer_event(GW_EVENT_RECEIVED, "m2"));
    json_decref(list_until(fd, "{\"state\": \"received\"}", 1));
    json_t *rows = list_until(fd, "{\"state\": \"stored\"}", 1);
    cr_assert_str_eq(text_of(json_array_get(rows, 0), "id"), "m1");
    json_decref(rows);
    close(fd);
    free(w);
}

/* Clients mark the last message on the screen. */
CONTROL_TEST(ledger, a_marker_covers_what_was_delivered_before)
{
    struct writer *w = writer_new(rig);
    int fd = rig_connect(rig);
    struct gw_event other = stored_event(2, 1, "other");
    other.from = GW_LIT("carol@example.org");
    struct gw_event late = delivered_event(1, 2);
    late.time_us = 9000; /* after the marker */
    append_one(w, stored_event(1, 1, "m1"));
    append_one(w, stored_event(1, 2, "late"));
    append_one(w, other);
    append_one(w, stored_event(1, 3, "m3"));
    append_one(w, stored_event(1, 4, "m4"));
    for (unsigned i = 1; i <= 4; i++)
        if (i != 2)
            append_one(w, delivered_event(1, i));
    append_one(w, delivered_event(2, 1));
    append_one(w, answer_event(GW_EVENT_DISPLAYED, "m3"));
    append_one(w, late);
    json_decref(list_until(fd, "{\"id\": \"late\", \"state\": \"delivered\"}", 1));
    json_t *rows = list_until(fd, "{\"state\": \"displayed\"}", 2);
    json_t *m1 = json_array_get(rows, 0), *m3 = json_array_get(rows, 1);
    cr_assert_str_eq(text_of(m1, "id"), "m1");
    cr_assert_eq(json_integer_value(json_object_get(m1, "displayed_us")), 6000 + GW_EVENT_DISPLAYED);
    cr_assert(json_is_true(json_object_get(m1, "displayed_by_later")));
    cr_assert_str_eq(text_of(m3, "id"), "m3");
    cr_assert_null(json_object_get(m3, "displayed_by_later"));
    json_decref(rows);
    rows = list_until(fd, "{\"state\": \"delivered\"}", 3);
    cr_assert_str_eq(text_of(json_array_get(rows, 0), "id"), "late");
    cr_assert_str_eq(text_of(json_array_get(rows, 1), "id"), "other");
    cr_assert_str_eq(text_of(json_array_get(rows, 2), "id"), "m4");
    json_decref(rows);
    json_decref(list_until(fd, "{\"id\": \"m1\", \"state\": \"displayed\"}", 1));
    close(fd);
    free(w);
}

/* Whoever was away for longer than events are kept is told so, once, and where it goes on. */
CONTROL_TEST(ledger, what_was_forgotten_before_it_was_read_is_a_gap)
{
    struct writer *w = writer_new(rig);
    struct timespec t;
    uint64_t below;
    append_one(w, stored_event(1, 1, "m1"));
    int fd = rig_connect(rig);
    free(follow(fd, "0"));
    json_t *e = next_event(fd);
    char *cursor = strdup(text_of(e, "cursor"));
    json_decref(e);
    close(fd);
    for (unsigned i = 2; i <= 20; i++)
        append_one(w, stored_event(1, i, "lost"));
    clock_gettime(CLOCK_REALTIME, &t);
    cr_assert_eq(ledger_trim(&w->ops, segment_next(rig), ((uint64_t)t.tv_sec + 1) * 1000000, &below), 0);
    append_one(w, stored_event(1, 21, "kept"));
    fd = rig_connect(rig);
    free(follow(fd, cursor));
    e = next_event(fd);
    cr_assert_str_eq(text_of(e, "event"), "gap");
    cr_assert_str_eq(text_of(e, "why"), "trimmed");
    cr_assert_str_eq(text_of(e, "from"), cursor);
    free(cursor);
    cursor = strdup(text_of(e, "cursor"));
    json_decref(e);
    e = next_event(fd);
    cr_assert_str_eq(text_of(e, "id"), "kept");
    json_decref(e);
    close(fd);
    /* From where the gap ended there is none, and 0 asks for what there is. */
    for (unsigned i = 0; i < 2; i++) {
        fd = rig_connect(rig);
        free(follow(fd, i == 0 ? cursor : "0"));
        e = next_event(fd);
        cr_assert_str_eq(text_of(e, "id"), "kept");
        json_decref(e);
        close(fd);
    }
    free(cursor);
    free(w);
}

CONTROL_TEST(ledger, a_damaged_record_is_counted_and_left_out)
{
    struct writer *w = writer_new(rig);
    int fd = rig_connect(rig);
    free(follow(fd, "0"));
    struct gw_event m1 = stored_event(1, 1, "m1"), lost = stored_event(1, 2, "lost");
    append(w, &m1, 1, false);
    uint64_t damaged = append(w, &lost, 1, true);
    append_one(w, stored_event(1, 3, "m3"));
    json_t *e = next_event(fd);
    cr_assert_str_eq(text_of(e, "id"), "m1");
    json_decref(e);
    /* Events that are read together come before what is said of the gap between them. */
    unsigned gaps = 0, others = 0;
    while (gaps + others < 2) {
        struct ledger_place from = {0};
        e = next_event(fd);
        bool gap = strcmp(text_of(e, "event"), "gap") == 0;
        gaps += gap;
        others += !gap && strcmp(text_of(e, "id"), "m3") == 0;
        cr_assert(!gap || (ledger_place_parse(text_of(e, "from"), &from) && from.segment == damaged));
        json_decref(e);
    }
    cr_assert(gaps == 1 && others == 1);
    close(fd);
    fd = rig_connect(rig);
    json_decref(list_until(fd, "{}", 2));
    json_t *c = rig_call(fd, "counters", NULL);
    json_t *ledger = json_object_get(json_object_get(c, "counters"), "ledger");
    cr_assert_eq(json_integer_value(json_object_get(ledger, "damaged")), 1);
    json_decref(c);
    close(fd);
    free(w);
}

/* ---- after a start ---- */

static void work_until_read(struct ledger *l, struct store_ops *ops)
{
    while (ledger_start_percent(l) < 100) {
        store_ops_poll(ops);
        ledger_work(l);
    }
}

CONTROL_TEST(ledger, is_there_again_from_its_cursor)
{
    const struct ledger_config cfg = {.receipts_max = 20, .bytes_max = 1 << 20,
                                      .lookback_segments = 1000};
    struct writer *w = writer_new(rig);
    struct ledger_cursor cursor;
    uint64_t kept = 0;
    char id[32];
    ledger_cursor_init(&cursor, &w->ops, rig->keys, rig->sealers[0]);
    cr_assert_eq(ledger_cursor_load(&cursor, &kept), -ENOENT);
    for (unsigned i = 1; i <= 100; i++) {
        snprintf(id, sizeof(id), "m%u", i);
        append_one(w, stored_event(1, i, id));
    }
    append_one(w, delivered_event(1, 95));
    uint64_t next = gw_store_state(rig->store).segment_next;
    struct ledger *l = ledger_new(&cfg, &w->ops, rig->keys, rig->sealers[0], next, 0);
    work_until_read(l, &w->ops);
    const struct receipt *oldest = ledger_table_oldest(ledger_memory(l));
    uint64_t first = oldest->place.segment;
    cr_assert_eq(oldest->position, 81);
    do {
        ledger_work(l);
        store_ops_drain(&w->ops);
        cr_assert_eq(ledger_cursor_load(&cursor, &kept), 0);
    } while (kept != first);

    struct ledger *again = ledger_new(&cfg, &w->ops, rig->keys, rig->sealers[0], next, kept);
    cr_assert_eq(ledger_start_percent(again), 0);
    work_until_read(again, &w->ops);
    cr_assert_eq(ledger_table_dropped(ledger_memory(again)), 0, "nothing was read in vain");
    assert_same_receipts(ledger_memory(l), ledger_memory(again));
    store_ops_drain(&w->ops);
    ledger_free(&l);
    ledger_free(&again);

    /* One that cannot be is none. */
    l = ledger_new(&cfg, &w->ops, rig->keys, rig->sealers[0], next, next + 1);
    work_until_read(l, &w->ops);
    cr_assert_eq(ledger_table_oldest(ledger_memory(l))->position, 81);
    store_ops_drain(&w->ops);
    ledger_free(&l);
    free(w);
}

/* ---- further back than memory ---- */

CONTROL_TEST(ledger, a_search_reads_the_whole_ledger)
{
    struct writer *w = writer_new(rig);
    char id[32];
    for (unsigned i = 1; i <= 300; i++) {
        snprintf(id, sizeof(id), "m%u", i);
        append_one(w, stored_event(1, i, id));
    }
    append_one(w, delivered_event(1, 7));
    struct ledger_search *s = ledger_search_new(&w->ops, rig->keys, rig->sealers[0]);
    s->filter.id = strdup("m7");
    struct job job = {.ctx = NULL};
    enum job_step step;
    while ((step = ledger_search_step(&job, s)) != JOB_DONE)
        if (step == JOB_WAIT)
            store_ops_wait(&w->ops, &s->reader.op);
    cr_assert_eq(s->rc, 0);
    cr_assert_eq(ledger_table_count(s->table), 1);
    cr_assert_eq(receipt_state(ledger_table_newest(s->table)), RECEIPT_delivered);
    ledger_search_free(&s);
    free(w);
}

static unsigned count_entries(struct writer *w)
{
    static uint64_t buf[1 << 17];
    struct store_op op = {.rq = {.op = GW_STORE_SCAN_EVENTS, .data = buf, .data_len = sizeof(buf)}};
    cr_assert_eq(store_ops_call(&w->ops, &op), 0);
    unsigned n = 0;
    for (uint32_t off = 0; off < op.done.len; n++)
        off += (uint32_t)gw_record_padded(((struct gw_events_entry *)((char *)buf + off))->len);
    return n;
}

CONTROL_TEST(ledger, old_events_are_trimmed)
{
    struct writer *w = writer_new(rig);
    uint64_t below, cut_us = 0;
    cr_assert_eq(ledger_trim(&w->ops, segment_next(rig), 1, &below), 0);
    cr_assert_eq(below, 0);
    for (unsigned i = 1; i <= 40; i++)
        append_one(w, stored_event(1, i, "m"));
    cr_assert_eq(count_entries(w), 40);
    cr_assert_eq(ledger_trim(&w->ops, segment_next(rig), 1, &below), 0);
    cr_assert_eq(count_entries(w), 40, "all are younger");

    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    cut_us = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000 + 1000000;
    cr_assert_eq(ledger_trim(&w->ops, segment_next(rig), cut_us, &below), 0);
    cr_assert_eq(below, segment_next(rig));
    cr_assert_eq(count_entries(w), 0);
    append_one(w, stored_event(1, 41, "m"));
    cr_assert_eq(count_entries(w), 1);
    free(w);
}
