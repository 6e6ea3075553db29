/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "../../storage/segment.h"

static const struct gw_mailbox_id alice = {.b = "alice's mailbox"};

static _Alignas(8) uint8_t buf[GW_SEGMENT_BYTES_MAX];

/* One of each kind. */
static uint32_t build(void)
{
    struct gw_segment_writer w;
    gw_segment_begin(&w, buf, sizeof(buf), 3);
    struct gw_record_head *r = gw_segment_add(&w, GW_RECORD_MESSAGE, &alice, 17, 5);
    memcpy(r + 1, "hello", 5);
    r = gw_segment_add(&w, GW_RECORD_REMOVE, &alice, 0, 2 * sizeof(struct gw_position_range));
    struct gw_position_range ranges[2] = {{1, 4}, {7, 7}};
    memcpy(r + 1, ranges, sizeof(ranges));
    struct gw_mailbox_id none = {{0}};
    r = gw_segment_add(&w, GW_RECORD_EVENTS, &none, 0, 0);
    cr_assert_not_null(r);
    return gw_segment_end(&w, 1234567);
}

Test(segment, says_what_was_written)
{
    uint32_t len = build();
    cr_assert_eq(gw_segment_check(buf, len), 0);
    struct gw_segment_head head;
    memcpy(&head, buf, sizeof(head));
    cr_assert_eq(head.lcore, 3);
    cr_assert_eq(head.record_count, 3);
    cr_assert_eq(head.created_us, 1234567);

    size_t off = gw_segment_first_off();
    const struct gw_record_head *r = gw_record_next(buf, len, &off);
    cr_assert_eq(r->kind, GW_RECORD_MESSAGE);
    cr_assert_eq(r->position, 17);
    cr_assert_eq(gw_record_body_len(r), 5);
    cr_assert_arr_eq(gw_record_body(r), "hello", 5);
    r = gw_record_next(buf, len, &off);
    cr_assert_eq(r->kind, GW_RECORD_REMOVE);
    cr_assert_eq(r->aux, 2);
    r = gw_record_next(buf, len, &off);
    cr_assert_eq(r->kind, GW_RECORD_EVENTS);
    cr_assert_null(gw_record_next(buf, len, &off));
    cr_assert_eq(off, len);
}

Test(segment, every_flipped_bit_is_noticed)
{
    uint32_t len = build();
    for (uint32_t i = 0; i < len * 8; i++) {
        buf[i / 8] ^= (uint8_t)(1 << i % 8);
        cr_assert_eq(gw_segment_check(buf, len), -EBADMSG, "bit %u", i);
        buf[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    cr_assert_eq(gw_segment_check(buf, len), 0);
}

Test(segment, every_shorter_or_longer_one_is_noticed)
{
    uint32_t len = build();
    for (uint32_t n = 0; n < len; n++)
        cr_assert_eq(gw_segment_check(buf, n), -EBADMSG, "%u bytes", n);
    cr_assert_eq(gw_segment_check(buf, len + 8), -EBADMSG);
}

Test(segment, holds_what_fits_and_no_more)
{
    struct gw_segment_writer w;
    gw_segment_begin(&w, buf, sizeof(struct gw_segment_head) + 2 * 72, 0);
    cr_assert_not_null(gw_segment_add(&w, GW_RECORD_MESSAGE, &alice, 1, 8));
    cr_assert_null(gw_segment_add(&w, GW_RECORD_MESSAGE, &alice, 2, 9));
    cr_assert_not_null(gw_segment_add(&w, GW_RECORD_MESSAGE, &alice, 2, 8));
    cr_assert_not(gw_segment_fits(&w, 0));
    uint32_t len = gw_segment_end(&w, 1);
    cr_assert_eq(gw_segment_check(buf, len), 0);
}

Test(segment, an_empty_one_is_good)
{
    struct gw_segment_writer w;
    gw_segment_begin(&w, buf, sizeof(buf), 0);
    uint32_t len = gw_segment_end(&w, 1);
    cr_assert_eq(len, sizeof(struct gw_segment_head));
    cr_assert_eq(gw_segment_check(buf, len), 0);
}

/* A forger who makes the checksum right still cannot make a reader run astray. */
static void seal_again(uint32_t len)
{
    struct gw_segment_head head;
    memcpy(&head, buf, sizeof(head));
    struct gw_segment_writer w = {
        .base = buf, .cap = sizeof(buf), .len = len, .record_count = head.record_count};
    gw_segment_end(&w, head.created_us);
}

Test(segment, records_that_make_no_sense_are_refused)
{
    uint32_t len = build();
    struct gw_record_head *r = (void *)(buf + gw_segment_first_off());
    struct gw_record_head good = *r;
    const uint32_t lens[] = {0, 1, 63, 70, len, UINT32_MAX, UINT32_MAX - 6};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        r->len = lens[i];
        seal_again(len);
        /* 70 pads to the same length as 69: the one change that is no harm. */
        cr_assert_eq(gw_segment_check(buf, len), lens[i] == 70 ? 0 : -EBADMSG, "%u", lens[i]);
    }
    *r = good;
    r->kind = 9;
    seal_again(len);
    cr_assert_eq(gw_segment_check(buf, len), -EBADMSG);
    *r = good;
    r->position = 0;
    seal_again(len);
    cr_assert_eq(gw_segment_check(buf, len), -EBADMSG);
    *r = good;
    seal_again(len);
    cr_assert_eq(gw_segment_check(buf, len), 0);
}

Test(segment, ranges_that_make_no_sense_are_refused)
{
    uint32_t len = build();
    size_t off = gw_segment_first_off();
    gw_record_next(buf, len, &off);
    struct gw_record_head *r = (void *)(buf + off);
    const struct gw_position_range bad[] = {{0, 4}, {5, 4}};
    for (size_t i = 0; i < 2; i++) {
        memcpy(r + 1, &bad[i], sizeof(bad[i]));
        seal_again(len);
        cr_assert_eq(gw_segment_check(buf, len), -EBADMSG);
    }
    len = build();
    r->aux = 3;
    seal_again(len);
    cr_assert_eq(gw_segment_check(buf, len), -EBADMSG);
}
