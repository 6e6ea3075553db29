/* SPDX-License-Identifier: Apache-2.0 */
/* The store and its keys: what is sealed under which, and what a changed byte does. */
#include "below_rig.h"

/* ---- the usual ---- */

KEYS_TEST(messages_change_their_key_when_they_are_spilled)
{
    keys_add_account(rig, 1);
    keys_add_account(rig, 2);
    keys_put(rig, 1, 1, "one");
    keys_put(rig, 2, 1, "other");
    keys_assert_mailbox(rig, 1, 0, "1:one ");
    rig_spill(&rig->store);
    cr_assert_eq(keys_counter(rig, "resealed"), 2);
    keys_assert_mailbox(rig, 1, 1, "1:one ");
    keys_put(rig, 1, 2, "two");
    keys_assert_mailbox(rig, 1, 1, "1:one 2:two ");
    keys_restart(rig);
    keys_assert_mailbox(rig, 1, 1, "1:one 2:two ");
    keys_assert_mailbox(rig, 2, 1, "1:other ");
    keys_kill(rig);
    rig_spill(&rig->store);
    keys_assert_mailbox(rig, 1, 2, "1:one 2:two ");
    cr_assert_eq(keys_counter(rig, "unkeyed"), 0);
    cr_assert_eq(keys_counter(rig, "damaged"), 0);
}

/* More than a burst, of more mailboxes than the walk along the keys steps over. */
KEYS_TEST(many_mailboxes_are_spilled_each_under_its_own_key)
{
    static struct rig_segment g;
    const unsigned accounts = 150, each = 3;
    for (unsigned n = 0; n < accounts; n++)
        if (n % 20 != 19 || n < 20)
            keys_add_account(rig, n);
        else
            keys_add_account(rig, 1000 + n); /* a key that no message needs */
    for (uint64_t p = 1; p <= each; p++) {
        rig_segment_begin(&g);
        for (unsigned n = 0; n < accounts; n++)
            if (n % 20 != 19)
                keys_message(rig, &g, n, p, "message");
        cr_assert_eq(rig_append(&rig->store, &g, NULL), 0);
    }
    rig_spill(&rig->store);
    keys_restart(rig);
    for (unsigned n = 0; n < accounts; n++)
        if (n % 20 != 19)
            keys_assert_mailbox(rig, n, each, "1:message 2:message 3:message ");
    cr_assert_eq(keys_counter(rig, "damaged"), 0);
}

KEYS_TEST(a_long_message_is_spilled_whole)
{
    static char text[40001];
    static struct rig_segment g;
    keys_add_account(rig, 1);
    memset(text, 'x', sizeof(text) - 1);
    rig_segment_begin(&g);
    keys_message(rig, &g, 1, 1, text);
    cr_assert_eq(rig_append(&rig->store, &g, NULL), 0);
    keys_put(rig, 1, 2, "short");
    rig_spill(&rig->store);
    static char got[65536];
    unsigned spilled;
    struct gw_identity reader = keys_identity(1);
    keys_read_as(rig, 1, &reader, 65536, got, sizeof(got), &spilled);
    cr_assert_eq(spilled, 2);
    cr_assert_eq(strlen(got), strlen("1: 2:short ") + 40000);
}

KEYS_TEST(removed_before_or_after_the_spill_is_gone)
{
    keys_add_account(rig, 1);
    for (uint64_t p = 1; p <= 6; p++)
        keys_put(rig, 1, p, "m");
    keys_take(rig, 1, 2, 3);
    rig_spill(&rig->store);
    keys_take(rig, 1, 5, 5);
    keys_assert_mailbox(rig, 1, 3, "1:m 4:m 6:m ");
    keys_kill(rig);
    keys_assert_mailbox(rig, 1, 3, "1:m 4:m 6:m ");
    cr_assert_eq(keys_counter(rig, "damaged"), 0);
}

/* Without a key nothing is lost: it stays under the incarnation's. */
KEYS_TEST(without_a_key_a_message_is_spilled_as_it_was)
{
    keys_put(rig, 1, 1, "one");
    keys_add_account(rig, 2);
    keys_put(rig, 2, 1, "other");
    rig_spill(&rig->store);
    cr_assert_eq(keys_counter(rig, "unkeyed"), 1);
    cr_assert_eq(keys_counter(rig, "resealed"), 1);
    cr_assert_gt(rig->store.reports, 0);
    keys_assert_mailbox(rig, 1, 0, "1:one ");
    keys_restart(rig);
    keys_assert_mailbox(rig, 1, 0, "1:one ");
    keys_assert_mailbox(rig, 2, 1, "1:other ");
}

KEYS_TEST(an_account_has_its_key_from_its_first_write_on)
{
    uint8_t a[256], b[256];
    cr_assert_eq(keys_get_record(rig, 1, a), -ENOENT);
    keys_add_account(rig, 1);
    int len = keys_get_record(rig, 1, a);
    cr_assert_gt(len, 32);
    keys_restart(rig);
    cr_assert_eq(keys_get_record(rig, 1, b), len);
    cr_assert_eq(memcmp(a, b, (size_t)len), 0);
    keys_drop_account(rig, 1);
    cr_assert_eq(keys_get_record(rig, 1, a), -ENOENT);
    keys_kill(rig);
    cr_assert_eq(keys_get_record(rig, 1, a), -ENOENT);
}

/* A write that is refused makes no key, or the key would be another's than the account's. */
KEYS_TEST(a_refused_account_changes_no_key)
{
    uint8_t a[256], b[256];
    keys_add_account(rig, 1);
    int len = keys_get_record(rig, 1, a);
    struct gw_identity id = keys_identity(1);
    struct gw_store_request r = {.op = GW_STORE_CAS, .ns = GW_NS_ACCOUNT,
                                 .key = "u1@example.org", .key_len = 14, .data = a, .data_len = 1,
                                 .identity = &id};
    struct gw_store_completion done;
    cr_assert_eq(rig_call(&rig->store, &r, &done), -EEXIST);
    cr_assert_eq(keys_get_record(rig, 1, b), len);
    cr_assert_eq(memcmp(a, b, (size_t)len), 0);
}

/* ---- what was changed ---- */

KEYS_TEST(a_changed_message_is_left_out_and_the_rest_read)
{
    keys_add_account(rig, 1);
    for (uint64_t p = 1; p <= 3; p++)
        keys_put(rig, 1, p, "message");
    rig_spill(&rig->store);
    close_store(rig);
    struct spilled m;
    get_spilled(rig, 1, 2, &m);
    struct gw_record_head head;
    /* Of the body, of the tag, of the nonce, of the generation. */
    const size_t at[] = {sizeof(head) + 3, offsetof(struct gw_record_head, tag),
                         offsetof(struct gw_record_head, nonce_counter),
                         offsetof(struct gw_record_head, incarnation)};
    for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        m.value[at[i]] ^= 1;
        put_spilled(rig, &m);
        m.value[at[i]] ^= 1;
        open_store(rig);
        keys_assert_mailbox(rig, 1, 2, "1:message 3:message ");
        cr_assert_gt(keys_counter(rig, "damaged"), 0);
        cr_assert_not_null(strstr(rig->store.last_report, "left out"), "%s",
                           rig->store.last_report);
        close_store(rig);
    }
    put_spilled(rig, &m);
    open_store(rig);
    keys_assert_mailbox(rig, 1, 3, "1:message 2:message 3:message ");
}

/* Swapped within a mailbox, or moved to another, with its head made to fit. */
KEYS_TEST(a_moved_message_does_not_open)
{
    keys_add_account(rig, 1);
    keys_add_account(rig, 2);
    keys_put(rig, 1, 1, "one");
    keys_put(rig, 1, 2, "two");
    keys_put(rig, 2, 1, "other");
    rig_spill(&rig->store);
    close_store(rig);
    struct spilled m;
    struct gw_record_head *head = (void *)m.value;
    get_spilled(rig, 1, 1, &m);
    spilled_key(&m, 1, 2);
    uint64_t position = 2;
    memcpy(&head->position, &position, sizeof(position));
    put_spilled(rig, &m);
    get_spilled(rig, 2, 1, &m);
    spilled_key(&m, 1, 3);
    position = 3;
    struct gw_mailbox_id id = keys_mailbox(1);
    memcpy(&head->position, &position, sizeof(position));
    memcpy(&head->mailbox, &id, sizeof(id));
    put_spilled(rig, &m);
    open_store(rig);
    keys_assert_mailbox(rig, 1, 1, "1:one ");
    keys_assert_mailbox(rig, 2, 1, "1:other ");
}

/* A record that says of itself that it is open already. */
KEYS_TEST(nobody_on_the_disk_can_say_that_a_message_is_open)
{
    keys_add_account(rig, 1);
    keys_put(rig, 1, 1, "one");
    rig_spill(&rig->store);
    close_store(rig);
    struct spilled m = {.len = sizeof(struct gw_record_head) + 5};
    struct gw_record_head head = {.len = (uint32_t)m.len, .kind = GW_RECORD_MESSAGE,
                                  .position = 2, .mailbox = keys_mailbox(1),
                                  .flags = GW_RECORD_OPENED};
    spilled_key(&m, 1, 2);
    memcpy(m.value, &head, sizeof(head));
    memcpy(m.value + sizeof(head), "money", 5);
    put_spilled(rig, &m);
    open_store(rig);
    keys_assert_mailbox(rig, 1, 1, "1:one 2:? ");
    close_store(rig);
    head.flags = GW_RECORD_OPENED | GW_RECORD_ACCOUNT_KEY;
    memcpy(m.value, &head, sizeof(head));
    put_spilled(rig, &m);
    open_store(rig);
    keys_assert_mailbox(rig, 1, 1, "1:one ");
}

KEYS_TEST(another_account_cannot_read_what_it_is_given)
{
    keys_add_account(rig, 1);
    keys_add_account(rig, 2);
    keys_put(rig, 1, 1, "one");
    rig_spill(&rig->store);
    char got[256];
    unsigned spilled;
    struct gw_identity other = keys_identity(2);
    keys_read_as(rig, 1, &other, 4096, got, sizeof(got), &spilled);
    cr_assert_str_eq(got, "");
    cr_assert_gt(keys_counter(rig, "damaged"), 0);
}

/* The key of one account under the name of another. */
KEYS_TEST(a_moved_key_opens_nothing)
{
    keys_add_account(rig, 1);
    keys_add_account(rig, 2);
    keys_put(rig, 1, 1, "one");
    rig_spill(&rig->store);
    close_store(rig);
    const struct gw_engine_ops *ops;
    struct gw_engine *e = open_below(&rig->store, &ops);
    uint8_t key[17] = {GW_NS_ACCOUNT_KEY}, value[512];
    struct gw_mailbox_id id = keys_mailbox(2);
    memcpy(key + 1, &id, sizeof(id));
    size_t len;
    cr_assert_eq(ops->get(e, GW_SPACE_KEYS, gw_bytes(key, 17), value, sizeof(value), &len), 0);
    ops->free(&e);
    id = keys_mailbox(1);
    memcpy(key + 1, &id, sizeof(id));
    /* With the identity as it was, and made to fit. */
    for (int i = 0; i < 2; i++) {
        put_below(&rig->store, GW_SPACE_KEYS, gw_bytes(key, 17), gw_bytes(value, len));
        open_store(rig);
        keys_assert_mailbox(rig, 1, 0, "");
        cr_assert_gt(keys_counter(rig, "damaged"), 0);
        close_store(rig);
        struct gw_identity identity = keys_identity(1);
        memcpy(value + 8 + 4, identity.hash, sizeof(identity.hash));
    }
    open_store(rig);
}

/* ---- removals ---- */

static void append_removal(struct keys_rig *rig, void (*change)(struct gw_record_head *))
{
    static struct rig_segment g;
    rig_segment_begin(&g);
    change(keys_removal(rig, &g, 1, 1, 2));
    cr_assert_eq(rig_append(&rig->store, &g, NULL), 0);
}

static void change_body(struct gw_record_head *r)
{
    ((uint8_t *)(r + 1))[9] ^= 1;
}

static void change_mailbox(struct gw_record_head *r)
{
    r->mailbox = keys_mailbox(2);
}

static void change_position(struct gw_record_head *r)
{
    r->position++;
}

static void make_clear(struct gw_record_head *r)
{
    struct gw_position_range range = {1, 2};
    memcpy(r + 1, &range, sizeof(range));
    r->incarnation = 0;
}

static void change_incarnation(struct gw_record_head *r)
{
    r->incarnation = 4711;
}

KEYS_TEST(a_removal_that_does_not_open_removes_nothing)
{
    void (*const changes[])(struct gw_record_head *) = {change_body, change_mailbox,
                                                        change_position, make_clear,
                                                        change_incarnation};
    keys_add_account(rig, 1);
    keys_add_account(rig, 2);
    for (uint64_t p = 1; p <= 3; p++) {
        keys_put(rig, 1, p, "m");
        keys_put(rig, 2, p, "n");
    }
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        append_removal(rig, changes[i]);
        rig_settle(&rig->store);
        cr_assert_eq(keys_counter(rig, "damaged"), i + 1);
        cr_assert_not_null(strstr(rig->store.last_report, "removal"));
    }
    keys_assert_mailbox(rig, 1, 0, "1:m 2:m 3:m ");
    keys_assert_mailbox(rig, 2, 0, "1:n 2:n 3:n ");
    keys_kill(rig);
    keys_assert_mailbox(rig, 1, 0, "1:m 2:m 3:m ");
    keys_take(rig, 1, 1, 2);
    keys_assert_mailbox(rig, 1, 0, "3:m ");
}

/* ---- the master key ---- */

KEYS_TEST(another_master_key_opens_nothing)
{
    keys_add_account(rig, 1);
    close_store(rig);
    keys_write_file(rig->master, 8, 0600);
    keys_open_ring(rig);
    char err[256] = "";
    cr_assert_eq(rig_try_open(&rig->store, err), -EKEYREJECTED);
    cr_assert_not_null(strstr(err, "another master key"), "%s", err);
    gw_keyring_free(&rig->store.cfg.keys);
    keys_write_file(rig->master, 7, 0600);
    open_store(rig);
}

KEYS_TEST(a_damaged_key_of_the_ring_is_refused)
{
    close_store(rig);
    const struct gw_engine_ops *ops;
    struct gw_engine *e = open_below(&rig->store, &ops);
    uint8_t key[5] = {GW_NS_KEY, 0, 0, 0, 1}, value[256];
    size_t len;
    cr_assert_eq(ops->get(e, GW_SPACE_KEYS, gw_bytes(key, 5), value, sizeof(value), &len), 0);
    ops->free(&e);
    value[len - 1] ^= 1;
    put_below(&rig->store, GW_SPACE_KEYS, gw_bytes(key, 5), gw_bytes(value, len));
    keys_open_ring(rig);
    char err[256] = "";
    cr_assert_eq(rig_try_open(&rig->store, err), -EBADMSG);
    cr_assert_not_null(strstr(err, "damaged"), "%s", err);
    gw_keyring_free(&rig->store.cfg.keys);
    value[len - 1] ^= 1;
    put_below(&rig->store, GW_SPACE_KEYS, gw_bytes(key, 5), gw_bytes(value, len));
    open_store(rig);
}

/* Each start draws an incarnation of its own; what hangs on the root key stays. */
KEYS_TEST(each_start_has_an_incarnation_and_all_have_one_root)
{
    uint8_t before[32], after[32], key[32];
    gw_keyring_derive(keys_of(rig), "a label", before);
    uint32_t first = gw_keyring_current(keys_of(rig));
    memcpy(key, gw_keyring_key(keys_of(rig), first), sizeof(key));
    keys_restart(rig);
    gw_keyring_derive(keys_of(rig), "a label", after);
    cr_assert_eq(memcmp(before, after, sizeof(before)), 0);
    gw_keyring_derive(keys_of(rig), "another", after);
    cr_assert_neq(memcmp(before, after, sizeof(before)), 0);
    cr_assert_eq(gw_keyring_current(keys_of(rig)), first + 1);
    cr_assert_eq(memcmp(gw_keyring_key(keys_of(rig), first), key, sizeof(key)), 0);
    cr_assert_neq(memcmp(gw_keyring_key(keys_of(rig), first + 1), key, sizeof(key)), 0);
}

/* ---- the file ---- */

static int try_ring(const char *where, char err[256])
{
    struct gw_keyring *k = NULL;
    int rc = gw_keyring_open(&k, where, err);
    cr_assert((rc == 0) == (k != NULL));
    gw_keyring_free(&k);
    return rc;
}

Test(keyring, a_file_that_others_may_read_is_refused)
{
    char dir[] = "/tmp/gw-keyring-XXXXXX", path[96], err[256] = "";
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/key", dir);
    cr_assert_eq(try_ring(path, err), -ENOENT);
    keys_write_file(path, 1, 0600);
    cr_assert_eq(try_ring(path, err), 0, "%s", err);
    const mode_t bad[] = {0640, 0604, 0660, 0601};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(chmod(path, bad[i]), 0);
        cr_assert_eq(try_ring(path, err), -EPERM);
        cr_assert_not_null(strstr(err, "owner alone"), "%s", err);
    }
    cr_assert_eq(chmod(path, 0400), 0);
    cr_assert_eq(try_ring(path, err), 0, "%s", err);
    rig_shell("rm -rf", dir, "");
}

Test(keyring, a_file_of_the_wrong_length_is_refused)
{
    char dir[] = "/tmp/gw-keyring-XXXXXX", path[96], err[256] = "";
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/key", dir);
    const size_t lens[] = {0, 31, 33, 63, 64, 65, 66, 100};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        for (size_t n = 0; n < lens[i]; n++)
            cr_assert_eq(write(fd, "z", 1), 1); /* no hex digit */
        close(fd);
        cr_assert_eq(try_ring(path, err), -EINVAL, "%zu", lens[i]);
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (size_t n = 0; n < 64; n++)
        cr_assert_eq(write(fd, n % 2 ? "a" : "F", 1), 1);
    cr_assert_eq(write(fd, "\n", 1), 1);
    close(fd);
    cr_assert_eq(try_ring(path, err), 0, "%s", err);
    rig_shell("rm -rf", dir, "");
}

Test(keyring, a_credential_is_found_where_systemd_puts_it)
{
    char dir[] = "/tmp/gw-keyring-XXXXXX", path[96], err[256] = "";
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/godwit.master", dir);
    keys_write_file(path, 1, 0600);
    unsetenv("CREDENTIALS_DIRECTORY");
    cr_assert_eq(try_ring("credential:godwit.master", err), -ENOENT);
    cr_assert_not_null(strstr(err, "CREDENTIALS_DIRECTORY"), "%s", err);
    setenv("CREDENTIALS_DIRECTORY", dir, 1);
    cr_assert_eq(try_ring("credential:godwit.master", err), 0, "%s", err);
    cr_assert_eq(try_ring("credential:other", err), -ENOENT);
    /* An access list for the service's user shows as the group's rights. */
    cr_assert_eq(chmod(path, 0440), 0);
    cr_assert_eq(try_ring("credential:godwit.master", err), 0, "%s", err);
    cr_assert_eq(chmod(path, 0444), 0);
    cr_assert_eq(try_ring("credential:godwit.master", err), -EPERM);
    rig_shell("rm -rf", dir, "");
}
