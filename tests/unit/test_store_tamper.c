/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each way to change a stored message, in its mailbox and in the log: it is not given out as what it is
 * not, the rest is, and verification names the mailbox. The framing is made to fit each time, as by
 * somebody who knows the format: what stands in the way is the seal alone.
 */
#include "below_rig.h"

#define BOX    1u /* that is changed: one, two, three */
#define OTHER  2u
#define TARGET 2u /* the position */

/* Every record opens but one of BOX at that position. */
static void assert_verify_names(struct keys_rig *rig, uint64_t position)
{
    static struct gw_walk w;
    struct gw_mailbox_id id = keys_mailbox(BOX);
    memset(&w, 0, sizeof(w));
    do {
        cr_assert_eq(keys_slice(rig, GW_STORE_VERIFY, 0, &w), 0);
        for (unsigned i = 0; i < w.damage_count; i++) {
            cr_assert_eq(memcmp(&w.damages[i].mailbox, &id, sizeof(id)), 0);
            cr_assert_eq(w.damages[i].position, position);
            cr_assert_str_not_empty(w.damages[i].what);
        }
    } while (!w.ended);
    cr_assert_eq(w.damaged, 1);
}

/* ---- in its mailbox ---- */

static void put_mail(struct keys_rig *rig)
{
    static const char *const texts[] = {"one", "two", "three"};
    keys_add_account(rig, BOX);
    keys_add_account(rig, OTHER);
    for (uint64_t p = 1; p <= 3; p++)
        keys_put(rig, BOX, p, texts[p - 1]);
    keys_put(rig, OTHER, 1, "other");
}

static void head_says(struct spilled *m, unsigned n, uint64_t position)
{
    struct gw_mailbox_id id = keys_mailbox(n);
    struct gw_record_head *head = (void *)m->value;
    head->position = position;
    head->mailbox = id;
    head->len = (uint32_t)m->len;
    spilled_key(m, n, position);
}

static void flip(struct keys_rig *rig)
{
    struct spilled m;
    get_spilled(rig, BOX, TARGET, &m);
    m.value[m.len - 1] ^= 1;
    put_spilled(rig, &m);
}

static void shorten(struct keys_rig *rig)
{
    struct spilled m;
    get_spilled(rig, BOX, TARGET, &m);
    m.len--;
    head_says(&m, BOX, TARGET);
    put_spilled(rig, &m);
}

/* The head says more than there is. */
static void cut(struct keys_rig *rig)
{
    struct spilled m;
    get_spilled(rig, BOX, TARGET, &m);
    m.len--;
    put_spilled(rig, &m);
}

/* That of another position in its place: repeated, as half of a swap. */
static void repeat(struct keys_rig *rig)
{
    struct spilled m;
    get_spilled(rig, BOX, 1, &m);
    head_says(&m, BOX, TARGET);
    put_spilled(rig, &m);
}

static void move(struct keys_rig *rig)
{
    struct spilled m;
    get_spilled(rig, OTHER, 1, &m);
    head_says(&m, BOX, TARGET);
    put_spilled(rig, &m);
}

static void forge(struct keys_rig *rig)
{
    struct spilled m;
    get_spilled(rig, BOX, TARGET, &m);
    memset(m.value + sizeof(struct gw_record_head), 'x', m.len - sizeof(struct gw_record_head));
    put_spilled(rig, &m);
}

KEYS_TEST(a_changed_message_in_a_mailbox_is_named_and_the_rest_is_read)
{
    void (*const ways[])(struct keys_rig *) = {flip, shorten, cut, repeat, move, forge};
    struct spilled kept;
    put_mail(rig);
    rig_spill(&rig->store);
    close_store(rig);
    get_spilled(rig, BOX, TARGET, &kept);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        ways[i](rig);
        open_store(rig);
        assert_verify_names(rig, TARGET);
        keys_assert_mailbox(rig, BOX, 2, "1:one 3:three ");
        keys_assert_mailbox(rig, OTHER, 1, "1:other ");
        close_store(rig);
        put_spilled(rig, &kept);
    }
    open_store(rig);
    keys_assert_mailbox(rig, BOX, 3, "1:one 2:two 3:three ");
}

KEYS_TEST(two_messages_that_change_places_are_both_named)
{
    static struct gw_walk w;
    struct spilled a, b;
    put_mail(rig);
    rig_spill(&rig->store);
    close_store(rig);
    get_spilled(rig, BOX, 1, &a);
    get_spilled(rig, BOX, TARGET, &b);
    head_says(&a, BOX, TARGET);
    head_says(&b, BOX, 1);
    put_spilled(rig, &a);
    put_spilled(rig, &b);
    open_store(rig);
    memset(&w, 0, sizeof(w));
    struct gw_mailbox_id id = keys_mailbox(BOX);
    unsigned seen = 0;
    do {
        cr_assert_eq(keys_slice(rig, GW_STORE_VERIFY, 0, &w), 0);
        for (unsigned i = 0; i < w.damage_count; i++) {
            cr_assert_eq(memcmp(&w.damages[i].mailbox, &id, sizeof(id)), 0);
            cr_assert_eq(w.damages[i].position, ++seen);
        }
    } while (!w.ended);
    cr_assert_eq(seen, 2);
    keys_assert_mailbox(rig, BOX, 1, "3:three ");
}

/* ---- in the log ---- */

/* Each makes the message of TARGET in a segment that also has others. */
static void add_flipped(struct keys_rig *rig, struct rig_segment *g)
{
    struct gw_record_head *r = keys_message(rig, g, BOX, TARGET, "two");
    ((uint8_t *)(r + 1))[0] ^= 1;
}

static void add_shortened(struct keys_rig *rig, struct rig_segment *g)
{
    keys_message(rig, g, BOX, TARGET, "two")->len--;
}

static void add_moved_in_its_mailbox(struct keys_rig *rig, struct rig_segment *g)
{
    keys_message(rig, g, BOX, TARGET + 40, "two")->position = TARGET;
}

static void add_moved_from_another(struct keys_rig *rig, struct rig_segment *g)
{
    keys_message(rig, g, OTHER, TARGET, "two")->mailbox = keys_mailbox(BOX);
}

static void add_of_an_unknown_key(struct keys_rig *rig, struct rig_segment *g)
{
    keys_message(rig, g, BOX, TARGET, "two")->incarnation = 4711;
}

static void add_opened(struct keys_rig *rig, struct rig_segment *g)
{
    struct gw_record_head *r = keys_message(rig, g, BOX, TARGET, "two");
    memcpy(r + 1, "two", 3);
    r->flags |= GW_RECORD_OPENED;
}

static void try_in_log(struct keys_rig *rig, void (*add)(struct keys_rig *, struct rig_segment *))
{
    static struct rig_segment g;
    keys_add_account(rig, BOX);
    keys_add_account(rig, OTHER);
    rig_segment_begin(&g);
    keys_message(rig, &g, BOX, 1, "one");
    add(rig, &g);
    keys_message(rig, &g, BOX, 3, "three");
    keys_message(rig, &g, OTHER, 1, "other");
    cr_assert_eq(rig_append(&rig->store, &g, NULL), 0);
    /* As it lies in memory, as recovery has read it, and where the spill has left it. */
    assert_verify_names(rig, TARGET);
    keys_assert_mailbox(rig, BOX, 0, "1:one 2:? 3:three ");
    keys_kill(rig);
    assert_verify_names(rig, TARGET);
    keys_assert_mailbox(rig, BOX, 0, "1:one 2:? 3:three ");
    rig_spill(&rig->store);
    assert_verify_names(rig, TARGET);
    keys_assert_mailbox(rig, BOX, 2, "1:one 2:? 3:three ");
    keys_assert_mailbox(rig, OTHER, 1, "1:other ");
}

#define LOG_TEST(add)                  \
    KEYS_TEST(in_the_log_##add)        \
    {                                  \
        try_in_log(rig, add);          \
    }

LOG_TEST(add_flipped)
LOG_TEST(add_shortened)
LOG_TEST(add_moved_in_its_mailbox)
LOG_TEST(add_moved_from_another)
LOG_TEST(add_of_an_unknown_key)
LOG_TEST(add_opened)
