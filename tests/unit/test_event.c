/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "../../storage/event.h"

static struct gw_event stored(void)
{
    struct gw_event e = {.kind = GW_EVENT_STORED,
                         .time_us = 1700000000123456,
                         .position = 77,
                         .from = GW_LIT("alice@example.org"),
                         .to = GW_LIT("bob@example.org"),
                         .id = GW_LIT("m-1")};
    memset(e.mailbox.b, 0xa5, sizeof(e.mailbox.b));
    e.fingerprint = (struct gw_fingerprint){UINT64_MAX, 5};
    return e;
}

static void assert_same(const struct gw_event *a, const struct gw_event *b)
{
    cr_assert_eq(a->kind, b->kind);
    cr_assert_eq(a->time_us, b->time_us);
    cr_assert_eq(a->position, b->position);
    cr_assert_eq(a->fingerprint.name, b->fingerprint.name);
    cr_assert_eq(a->fingerprint.content, b->fingerprint.content);
    cr_assert_eq(memcmp(a->mailbox.b, b->mailbox.b, sizeof(a->mailbox.b)), 0);
    cr_assert(gw_bytes_eq(a->from, b->from));
    cr_assert(gw_bytes_eq(a->to, b->to));
    cr_assert(gw_bytes_eq(a->id, b->id));
}

/* One of each kind, then messages that are delivered together. */
#define EVENTS_MAX (GW_EVENT_COUNT + 5)

static void make_events(struct gw_event events[EVENTS_MAX])
{
    events[0] = stored();
    events[1] = (struct gw_event){.kind = GW_EVENT_DELIVERED, .time_us = 2, .position = UINT64_MAX};
    events[2] = (struct gw_event){.kind = GW_EVENT_RECEIVED, .time_us = 3,
                                  .from = GW_LIT("a@b"), .to = GW_LIT("c@d")};
    events[3] = (struct gw_event){.kind = GW_EVENT_DISPLAYED, .id = GW_LIT("only an id")};
    events[4] = (struct gw_event){.kind = GW_EVENT_EXPIRED, .time_us = UINT64_MAX};
    events[5] = (struct gw_event){.kind = GW_EVENT_REPEATED, .time_us = 5, .from = GW_LIT("a@b"),
                                  .to = GW_LIT("c@d"), .id = GW_LIT("m-1")};
    events[6] = (struct gw_event){.kind = GW_EVENT_COUNTED, .mailbox = {{6}}, .position = 41};
    events[7] = (struct gw_event){.kind = GW_EVENT_FLOOR, .position = 7};
    for (int i = 0; i < 5; i++)
        events[GW_EVENT_COUNT + i] = (struct gw_event){
            .kind = GW_EVENT_DELIVERED, .time_us = 1700000000123457, .mailbox = {{9}},
            .position = 300 + (uint64_t)i};
}

static size_t pack_all(uint8_t *buf, size_t cap, struct gw_event events[EVENTS_MAX],
                       size_t ends[EVENTS_MAX])
{
    struct gw_event_writer w = gw_event_writer(buf, cap);
    make_events(events);
    for (int i = 0; i < EVENTS_MAX; i++) {
        size_t before = w.len;
        cr_assert(gw_event_pack(&w, &events[i]));
        cr_assert_leq(w.len - before, gw_event_bytes_max(&events[i]));
        ends[i] = w.len;
    }
    return w.len;
}

Test(event, every_kind_comes_back_as_it_went)
{
    uint8_t buf[1024];
    size_t ends[EVENTS_MAX];
    struct gw_event in[EVENTS_MAX], out;
    struct gw_event_reader r = gw_event_reader(buf, pack_all(buf, sizeof(buf), in, ends));
    for (int i = 0; i < EVENTS_MAX; i++) {
        cr_assert_eq(gw_event_unpack(&r, &out), 1);
        assert_same(&in[i], &out);
        cr_assert_eq(r.off, ends[i]);
    }
    cr_assert_eq(gw_event_unpack(&r, &out), 0);
}

Test(event, what_is_delivered_together_takes_a_byte_each)
{
    uint8_t buf[1024];
    size_t ends[EVENTS_MAX];
    struct gw_event in[EVENTS_MAX];
    pack_all(buf, sizeof(buf), in, ends);
    for (int i = GW_EVENT_COUNT + 1; i < EVENTS_MAX; i++)
        cr_assert_eq(ends[i] - ends[i - 1], 1);
}

/* Whatever stands before it: kinds, times, places and names in any order come back. */
Test(event, any_row_of_events_comes_back)
{
    static uint8_t buf[1 << 20];
    static struct gw_event in[2000];
    static char names[300];
    memset(names, 'n', sizeof(names));
    unsigned seed = 5;
    for (int round = 0; round < 50; round++) {
        struct gw_event_writer w = gw_event_writer(buf, sizeof(buf));
        for (int i = 0; i < 2000; i++) {
            enum gw_event_kind kind = (enum gw_event_kind)(rand_r(&seed) % GW_EVENT_COUNT);
            bool named = gw_event_is_receipt(kind) && !gw_event_ends(kind);
            bool placed = !named || kind == GW_EVENT_STORED;
            uint64_t step = (uint64_t)rand_r(&seed) % 3;
            in[i] = (struct gw_event){.kind = kind, .time_us = step << rand_r(&seed) % 63};
            if (placed)
                in[i].position = i > 0 ? in[i - 1].position + step : UINT64_MAX;
            if (placed && kind != GW_EVENT_FLOOR)
                in[i].mailbox.b[15] = (uint8_t)(rand_r(&seed) % 2);
            if (kind == GW_EVENT_STORED)
                in[i].fingerprint.content = (uint64_t)rand_r(&seed) % 2;
            in[i].from = gw_bytes(names, named ? (size_t)rand_r(&seed) % 300 : 0);
            in[i].id = gw_bytes(names, named ? (size_t)rand_r(&seed) % 20 : 0);
            cr_assert(gw_event_pack(&w, &in[i]));
        }
        struct gw_event_reader r = gw_event_reader(buf, w.len);
        struct gw_event out;
        for (int i = 0; i < 2000; i++) {
            cr_assert_eq(gw_event_unpack(&r, &out), 1);
            assert_same(&in[i], &out);
        }
        cr_assert_eq(gw_event_unpack(&r, &out), 0);
    }
}

Test(event, names_are_the_ledgers)
{
    cr_assert_str_eq(gw_event_name(GW_EVENT_STORED), "stored");
    cr_assert_str_eq(gw_event_name(GW_EVENT_DISPLAYED), "displayed");
}

Test(event, pack_writes_nothing_when_it_does_not_fit)
{
    struct gw_event e = stored();
    size_t need = gw_event_bytes_max(&e);
    for (size_t cap = 0; cap <= need; cap++) {
        uint8_t *buf = malloc(cap + 1);
        memset(buf, 0x5a, cap + 1);
        struct gw_event_writer w = gw_event_writer(buf, cap);
        bool fits = gw_event_pack(&w, &e);
        cr_assert_eq(fits, cap == need);
        cr_assert(fits ? w.len > 0 && w.len <= need : w.len == 0);
        for (size_t i = w.len; i <= cap; i++)
            cr_assert_eq(buf[i], 0x5a);
        free(buf);
    }
}

/* A cut at an event's end is an end; anywhere else it is damage. */
Test(event, a_cut_anywhere_is_noticed)
{
    uint8_t buf[1024];
    size_t ends[EVENTS_MAX];
    struct gw_event in[EVENTS_MAX], out;
    size_t len = pack_all(buf, sizeof(buf), in, ends);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *copy = malloc(cut > 0 ? cut : 1);
        memcpy(copy, buf, cut);
        struct gw_event_reader r = gw_event_reader(copy, cut);
        int rc, whole = 0;
        while ((rc = gw_event_unpack(&r, &out)) == 1)
            assert_same(&in[whole++], &out);
        cr_assert_eq(rc, cut == (whole > 0 ? ends[whole - 1] : 0) ? 0 : -EBADMSG);
        free(copy);
    }
}

Test(event, unknown_kinds_and_formats_are_refused)
{
    uint8_t buf[256];
    struct gw_event e = stored(), out;
    struct gw_event_writer w = gw_event_writer(buf, sizeof(buf));
    cr_assert(gw_event_pack(&w, &e));
    uint8_t format = buf[0], kind = buf[1];
    for (unsigned k = GW_EVENT_COUNT; k < 16; k++) {
        buf[1] = (uint8_t)((kind & 0xf0) | k);
        struct gw_event_reader r = gw_event_reader(buf, w.len);
        cr_assert_eq(gw_event_unpack(&r, &out), -EBADMSG);
    }
    buf[1] = kind;
    for (unsigned f = 0; f < 256; f++) {
        buf[0] = (uint8_t)f;
        struct gw_event_reader r = gw_event_reader(buf, w.len);
        cr_assert_eq(gw_event_unpack(&r, &out), f == format ? 1 : -EBADMSG);
    }
}

Test(event, any_bytes_are_read_within_bounds)
{
    unsigned seed = 7;
    for (int round = 0; round < 20000; round++) {
        size_t len = (size_t)rand_r(&seed) % 200;
        uint8_t *buf = malloc(len + 1);
        for (size_t i = 0; i < len; i++)
            buf[i] = (uint8_t)(i == 0 ? 3 : rand_r(&seed) % (i < 8 ? 32 : 256));
        struct gw_event out;
        struct gw_event_reader r = gw_event_reader(buf, len);
        while (gw_event_unpack(&r, &out) == 1)
            cr_assert(r.off <= len);
        free(buf);
    }
}
