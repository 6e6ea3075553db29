/* SPDX-License-Identifier: Apache-2.0 */
/* The auditor's book: good accounts of messages, and each way in which they can be bad. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "../audit/book.h"

static const struct gw_mailbox_id box = {{7}};

static struct book *begin(const char *log)
{
    struct book *b = book_new("u%@h", stderr, 0);
    FILE *f = fmemopen((void *)(uintptr_t)log, strlen(log), "r");
    cr_assert_not_null(f);
    cr_assert_eq(book_read_log(b, f), 0);
    fclose(f);
    return b;
}

static void stored(struct book *b, uint64_t position, const char *id)
{
    struct gw_event e = {.kind = GW_EVENT_STORED,
                         .mailbox = box,
                         .position = position,
                         .from = GW_LIT("u1@h"),
                         .to = GW_LIT("u2@h"),
                         .id = gw_bytes_str(id)};
    book_add_event(b, &e);
}

static void delivered(struct book *b, uint64_t position)
{
    book_add_event(
        b, &(struct gw_event){.kind = GW_EVENT_DELIVERED, .mailbox = box, .position = position});
}

static void expired(struct book *b, uint64_t position)
{
    book_add_event(
        b, &(struct gw_event){.kind = GW_EVENT_EXPIRED, .mailbox = box, .position = position});
}

static void waiting(struct book *b, uint64_t position)
{
    book_add_waiting(b, &box, position);
}

/* Exactly this is wrong. */
#define ASSERT_FAULTS(b, total, name, count)       \
    do {                                           \
        cr_assert_eq(book_judge(b), total);        \
        cr_assert_eq(book_faults(b)->name, count); \
        book_free(&b);                             \
    } while (0)

#define TWO_SENT               \
    "1 sent 1 2 1 m-1\n"       \
    "2 acknowledged 1 2 1 -\n" \
    "3 sent 1 2 2 m-2\n"       \
    "4 acknowledged 1 2 2 -\n"
#define FIRST_RECEIVED "5 received 1 2 1 abc\n"

/* One delivered, one waiting. */
static struct book *good(const char *log)
{
    struct book *b = begin(log);
    stored(b, 1, "m-1");
    stored(b, 2, "m-2");
    delivered(b, 1);
    return b;
}

Test(audit, a_good_account)
{
    struct book *b = good("1 online 2 -\n" TWO_SENT FIRST_RECEIVED "6 settled 1 2 1 -\n7 rec");
    waiting(b, 2);
    cr_assert_eq(book_counts(b)->sent, 2);
    cr_assert_eq(book_counts(b)->waiting, 1);
    ASSERT_FAULTS(b, 0, lost, 0);
}

Test(audit, what_expired_is_not_lost)
{
    struct book *b = good(TWO_SENT FIRST_RECEIVED);
    expired(b, 2);
    cr_assert_eq(book_counts(b)->expired, 1);
    ASSERT_FAULTS(b, 0, lost, 0);
}

Test(audit, what_expired_does_not_wait)
{
    struct book *b = good(TWO_SENT FIRST_RECEIVED);
    expired(b, 2);
    waiting(b, 2);
    ASSERT_FAULTS(b, 1, risen, 1);
}

Test(audit, lost_and_vanished)
{
    struct book *b = good(TWO_SENT FIRST_RECEIVED);
    cr_assert_eq(book_judge(b), 2);
    cr_assert_eq(book_faults(b)->lost, 1);
    cr_assert_eq(book_faults(b)->vanished, 1);
    book_free(&b);
}

Test(audit, unrecorded)
{
    struct book *b = begin(TWO_SENT FIRST_RECEIVED "6 received 1 2 2 abd\n");
    stored(b, 1, "m-1");
    delivered(b, 1);
    ASSERT_FAULTS(b, 1, unrecorded, 1);
}

Test(audit, risen)
{
    struct book *b = good(TWO_SENT FIRST_RECEIVED);
    waiting(b, 1);
    waiting(b, 2);
    ASSERT_FAULTS(b, 1, risen, 1);
}

Test(audit, unknown)
{
    struct book *b = good(TWO_SENT FIRST_RECEIVED);
    waiting(b, 2);
    waiting(b, 9);
    ASSERT_FAULTS(b, 1, unknown, 1);
}

Test(audit, refused_and_yet_there)
{
    struct book *b = good(TWO_SENT FIRST_RECEIVED "6 refused 1 2 2 -\n");
    waiting(b, 2);
    ASSERT_FAULTS(b, 1, refused, 1);
}

Test(audit, stored_twice)
{
    struct book *b = good(TWO_SENT FIRST_RECEIVED);
    waiting(b, 2);
    stored(b, 3, "m-2");
    waiting(b, 3);
    ASSERT_FAULTS(b, 1, twice, 1);
}

Test(audit, sent_again_and_stored_twice)
{
    struct book *b = good(TWO_SENT FIRST_RECEIVED "6 resent 1 2 2 m-2\n");
    waiting(b, 2);
    stored(b, 3, "m-2");
    waiting(b, 3);
    ASSERT_FAULTS(b, 0, twice, 0);
}

Test(audit, received_twice)
{
    struct book *b = good(TWO_SENT FIRST_RECEIVED FIRST_RECEIVED);
    waiting(b, 2);
    ASSERT_FAULTS(b, 1, twice, 1);
}

Test(audit, received_in_disorder)
{
    struct book *b = good(TWO_SENT "5 received 1 2 2 abd\n" FIRST_RECEIVED);
    delivered(b, 2);
    ASSERT_FAULTS(b, 1, disorder, 1);
}

Test(audit, stored_in_disorder)
{
    struct book *b = begin(TWO_SENT FIRST_RECEIVED);
    stored(b, 1, "m-2");
    stored(b, 2, "m-1");
    waiting(b, 1);
    delivered(b, 2);
    ASSERT_FAULTS(b, 1, disorder, 1);
}

Test(audit, a_later_one_was_received_before_what_waits)
{
    struct book *b = begin(TWO_SENT "5 received 1 2 2 abd\n");
    stored(b, 1, "m-1");
    stored(b, 2, "m-2");
    waiting(b, 1);
    delivered(b, 2);
    ASSERT_FAULTS(b, 1, disorder, 1);
}

Test(audit, never_sent)
{
    struct book *b = good(TWO_SENT FIRST_RECEIVED);
    waiting(b, 2);
    stored(b, 3, "m-3");
    delivered(b, 3);
    stored(b, 4, "another program's");
    delivered(b, 4);
    ASSERT_FAULTS(b, 1, unsent, 1);
}

Test(audit, complaints_and_what_cannot_be_read)
{
    struct book *b = good(TWO_SENT FIRST_RECEIVED "6 duplicated 1 2 1 abc\n7 altered 2 -\nhm\n");
    waiting(b, 2);
    cr_assert_eq(book_judge(b), 3);
    cr_assert_eq(book_faults(b)->complained, 2);
    cr_assert_eq(book_faults(b)->malformed, 1);
    book_free(&b);
}
