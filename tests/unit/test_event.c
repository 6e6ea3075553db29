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

static size_t pack_one_of_each(uint8_t *buf, size_t cap, struct gw_event events[GW_EVENT_COUNT])
{
    events[0] = stored();
    events[1] = (struct gw_event){.kind = GW_EVENT_DELIVERED, .time_us = 2, .position = UINT64_MAX};
    events[2] = (struct gw_event){.kind = GW_EVENT_RECEIVED, .time_us = 3,
                                  .from = GW_LIT("a@b"), .to = GW_LIT("c@d")};
    events[4] = (struct gw_event){.kind = GW_EVENT_EXPIRED, .time_us = 4, .position = 17};
    events[3] = (struct gw_event){.kind = GW_EVENT_DISPLAYED, .id = GW_LIT("only an id")};
    events[5] = (struct gw_event){.kind = GW_EVENT_REPEATED, .time_us = 5, .from = GW_LIT("a@b"),
                                  .to = GW_LIT("c@d"), .id = GW_LIT("m-1")};
    events[6] = (struct gw_event){.kind = GW_EVENT_COUNTED, .mailbox = {{6}}, .position = 41};
    events[7] = (struct gw_event){.kind = GW_EVENT_FLOOR, .position = 7};
    size_t off = 0;
    for (int i = 0; i < GW_EVENT_COUNT; i++) {
        size_t before = off;
        cr_assert(gw_event_pack(buf, cap, &off, &events[i]));
        cr_assert_eq(off - before, gw_event_packed_len(&events[i]));
    }
    return off;
}

Test(event, every_kind_comes_back_as_it_went)
{
    uint8_t buf[1024];
    struct gw_event in[GW_EVENT_COUNT], out;
    size_t len = pack_one_of_each(buf, sizeof(buf), in), off = 0;
    for (int i = 0; i < GW_EVENT_COUNT; i++) {
        cr_assert_eq(gw_event_unpack(buf, len, &off, &out), 1);
        assert_same(&in[i], &out);
    }
    cr_assert_eq(gw_event_unpack(buf, len, &off, &out), 0);
}

Test(event, names_are_the_ledgers)
{
    cr_assert_str_eq(gw_event_name(GW_EVENT_STORED), "stored");
    cr_assert_str_eq(gw_event_name(GW_EVENT_DISPLAYED), "displayed");
}

Test(event, pack_writes_nothing_when_it_does_not_fit)
{
    struct gw_event e = stored();
    size_t need = gw_event_packed_len(&e);
    for (size_t cap = 0; cap <= need; cap++) {
        uint8_t *buf = malloc(cap + 1);
        memset(buf, 0x5a, cap + 1);
        size_t off = 0;
        bool fits = gw_event_pack(buf, cap, &off, &e);
        cr_assert_eq(fits, cap == need);
        cr_assert_eq(off, fits ? need : 0);
        for (size_t i = off; i <= cap; i++)
            cr_assert_eq(buf[i], 0x5a);
        free(buf);
    }
}

/* A cut at an event's end is an end; anywhere else it is damage. */
Test(event, a_cut_anywhere_is_noticed)
{
    uint8_t buf[1024];
    struct gw_event in[GW_EVENT_COUNT], out;
    size_t len = pack_one_of_each(buf, sizeof(buf), in);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *copy = malloc(cut > 0 ? cut : 1);
        memcpy(copy, buf, cut);
        size_t off = 0, ends = 0;
        int rc, whole = 0;
        while ((rc = gw_event_unpack(copy, cut, &off, &out)) == 1) {
            ends += gw_event_packed_len(&in[whole]);
            assert_same(&in[whole++], &out);
        }
        cr_assert_eq(rc, cut == ends ? 0 : -EBADMSG);
        free(copy);
    }
}

Test(event, unknown_kinds_and_versions_are_refused)
{
    uint8_t buf[256];
    struct gw_event e = stored(), out;
    size_t len = 0, off = 0;
    cr_assert(gw_event_pack(buf, sizeof(buf), &len, &e));
    buf[0] = GW_EVENT_COUNT;
    cr_assert_eq(gw_event_unpack(buf, len, &off, &out), -EBADMSG);
    buf[0] = GW_EVENT_STORED;
    buf[1] = 3;
    cr_assert_eq(gw_event_unpack(buf, len, &off, &out), -EBADMSG);
    off = len + 1;
    cr_assert_eq(gw_event_unpack(buf, len, &off, &out), -EBADMSG);
}

Test(event, any_bytes_are_read_within_bounds)
{
    unsigned seed = 7;
    for (int round = 0; round < 20000; round++) {
        size_t len = (size_t)rand_r(&seed) % 200;
        uint8_t *buf = malloc(len + 1);
        for (size_t i = 0; i < len; i++)
            buf[i] = (uint8_t)(rand_r(&seed) % (i < 8 ? 5 : 256));
        struct gw_event out;
        size_t off = 0;
        while (gw_event_unpack(buf, len, &off, &out) == 1)
            cr_assert(off <= len);
        free(buf);
    }
}
