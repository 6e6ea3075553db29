/* SPDX-License-Identifier: Apache-2.0 */
/* Accounts through the control socket: one by one, many from a file, and what deleting leaves. */
#include "control_rig.h"

#include "../../control/accounts.h"
#include "../../control/import_line.h"
#include "../../control/schema.h"

#define KEY_1                                                                                      \
    "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE="
#define KEY_256                                                                                    \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"   \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

/* ---- lines ---- */

static char domain[] = "example.org", further[] = "example.net";
static const struct gw_config config = {
    .domain = domain, .further_domains = {further}, .further_domain_count = 1};

static int parse(const char *text, struct import_line *out, char err[160])
{
    return import_line_parse(gw_bytes_str(text), &config, out, err);
}

Test(import_line, accepts_what_the_format_says)
{
    struct import_line l;
    char err[160];
    cr_assert_eq(parse("", &l, err), 0);
    cr_assert_eq(parse("  \t", &l, err), 0);
    cr_assert_eq(parse("# alice " KEY_1, &l, err), 0);
    cr_assert_eq(parse("Alice " KEY_1, &l, err), 1);
    cr_assert_str_eq(l.jid.text, "alice@example.org");
    cr_assert_not(l.has_password);
    cr_assert_eq(l.scram[GW_SCRAM_SHA_1].iterations, 4096);
    cr_assert_eq(l.scram[GW_SCRAM_SHA_256].iterations, 0);
    cr_assert_eq(parse("bob@example.org\t" KEY_256 "  " KEY_1 " ", &l, err), 1, "%s", err);
    cr_assert_eq(l.scram[GW_SCRAM_SHA_256].salt_len, 16);
    cr_assert_eq(parse("bob@Example.NET " KEY_256, &l, err), 1, "%s", err);
    cr_assert_str_eq(l.jid.text, "bob@example.net");
    cr_assert_eq(parse("carol password:two words # all of it ", &l, err), 1);
    cr_assert(l.has_password);
    cr_assert_str_eq(l.password.text, "two words # all of it ");
}

Test(import_line, refuses_everything_else_with_a_reason)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"alice", "neither keys nor a password"},
        {"@example.org " KEY_1, "not an address"},
        {"a/b@c " KEY_1, "not an address"},
        {"alice@example.org/home " KEY_1, "not an address"},
        {"alice@elsewhere.org " KEY_1, "another domain"},
        {"alice " KEY_1 " " KEY_1, "key 2 is a second one for SCRAM-SHA-1"},
        {"alice " KEY_1 " x", "key 2 is not"},
        {"alice secret", "key 1 is not"},
        {"alice password:", "empty"},
        {"alice password:a\x01", "SASLprep"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct import_line l;
        char err[160] = "";
        cr_assert_eq(parse(cases[i].text, &l, err), -EINVAL, "%s", cases[i].text);
        cr_assert_not_null(strstr(err, cases[i].why), "%s: %s", cases[i].text, err);
    }
}

Test(password, is_prepared_as_clients_prepare_it)
{
    struct password p;
    const char *err;
    /* RFC 4013 section 3 */
    cr_assert_eq(password_prepare(GW_LIT("I\xc2\xadX"), &p, &err), 0);
    cr_assert_str_eq(p.text, "IX");
    cr_assert_eq(password_prepare(GW_LIT("USER"), &p, &err), 0);
    cr_assert_str_eq(p.text, "USER");
    cr_assert_eq(password_prepare(GW_LIT("\xc2\xaa"), &p, &err), 0);
    cr_assert_str_eq(p.text, "a");
    cr_assert_eq(password_prepare(GW_LIT("\x07"), &p, &err), -EINVAL);
    cr_assert_eq(password_prepare(GW_LIT("\xd8\xa7\x31"), &p, &err), -EINVAL);
    cr_assert_eq(password_prepare(GW_LIT("\xff"), &p, &err), -EINVAL);
    cr_assert_eq(password_prepare(GW_LIT("\xc2\xad"), &p, &err), -EINVAL, "nothing is left");
}

/* ---- one by one ---- */

static size_t list_count(int fd, const char *prefix)
{
    json_t *r = rig_call(fd, "user.list", json_pack("{s:s}", "prefix", prefix));
    size_t n = json_array_size(json_object_get(r, "accounts"));
    json_decref(r);
    return n;
}

CONTROL_TEST(accounts, are_created_listed_and_deleted)
{
    int fd = rig_connect(rig);
    cr_assert_eq(list_count(fd, ""), 0);
    rig_add_user(fd, "Alice");
    rig_add_user(fd, "bob@example.org");
    rig_expect_error(fd, "user.add", json_pack("{s:s,s:s}", "account", "alice", "password", "x"),
                     RPC_EXISTS);
    rig_expect_error(fd, "user.add", json_pack("{s:s,s:s}", "account", "a@b.c", "password", "x"),
                     RPC_PARAMS);
    rig_expect_error(fd, "user.add", json_pack("{s:s,s:s}", "account", "a b", "password", "x"),
                     RPC_PARAMS);
    rig_expect_error(fd, "user.add", json_pack("{s:s,s:s}", "account", "carol", "password", "\x07"),
                     RPC_PARAMS);
    json_t *r = rig_call(fd, "user.list", NULL);
    json_t *all = json_object_get(r, "accounts"), *first = json_array_get(all, 0);
    cr_assert_eq(json_array_size(all), 2);
    cr_assert_str_eq(json_string_value(json_object_get(first, "account")), "alice@example.org");
    cr_assert_eq(json_array_size(json_object_get(first, "mechanisms")), 2);
    json_decref(r);

    rig_add_session(rig, "alice@example.org/x", 1);
    r = rig_call(fd, "user.del", rig_account("alice"));
    cr_assert_eq(json_integer_value(json_object_get(r, "sessions_ended")), 1);
    json_decref(r);
    cr_assert_eq(atomic_load(&rig->account_gone), RIG_LCORES);
    cr_assert_eq(list_count(fd, ""), 1);
    rig_expect_error(fd, "user.del", rig_account("alice"), RPC_NOT_FOUND);
    rig_expect_error(fd, "user.passwd",
                     json_pack("{s:s,s:s}", "account", "alice", "password", "x"), RPC_NOT_FOUND);
    rig_add_user(fd, "alice");
    close(fd);
}

CONTROL_TEST(accounts, are_listed_in_pages_and_by_prefix)
{
    int fd = rig_connect(rig);
    char name[32], *cursor = NULL;
    for (int i = 0; i < 25; i++) {
        snprintf(name, sizeof(name), "u%02d", i);
        rig_add_user(fd, name);
    }
    rig_add_user(fd, "v");
    rig_add_user(fd, "t");
    cr_assert_eq(list_count(fd, "u"), 25);
    cr_assert_eq(list_count(fd, "u1"), 10);
    cr_assert_eq(list_count(fd, "u24@example.org"), 1);
    cr_assert_eq(list_count(fd, "w"), 0);
    size_t seen = 0, pages = 0;
    do {
        json_t *r = rig_call(fd, "user.list", json_pack("{s:i, s:s, s:s*}", "limit", 10, "prefix",
                                                        "u", "cursor", cursor));
        const char *next = json_string_value(json_object_get(r, "next"));
        seen += json_array_size(json_object_get(r, "accounts"));
        pages++;
        free(cursor);
        cursor = next != NULL ? strdup(next) : NULL;
        json_decref(r);
    } while (cursor != NULL);
    cr_assert_eq(seen, 25);
    cr_assert_eq(pages, 3);
    close(fd);
}

/* ---- what is in the store ---- */

struct peek {
    struct store_ops ops;
    struct accounts accounts;
};

/* Through the store client that only start-up uses. */
static struct peek *peek_new(struct rig *rig)
{
    struct peek *p = malloc(sizeof(*p));
    store_ops_init(&p->ops, gw_store_client(rig->store, 0));
    accounts_init(&p->accounts, &p->ops, rig->keys, rig->sealers[0], 4096);
    return p;
}

static struct gw_account peek_account(struct rig *rig, const char *jid)
{
    struct peek *p = peek_new(rig);
    struct gw_account a;
    uint64_t version;
    cr_assert_eq(accounts_read(&p->accounts, gw_bytes_str(jid), &a, &version), 0, "%s", jid);
    free(p);
    return a;
}

CONTROL_TEST(accounts, a_new_password_leaves_the_identity)
{
    int fd = rig_connect(rig);
    rig_add_user(fd, "alice");
    struct gw_account before = peek_account(rig, "alice@example.org");
    json_decref(rig_call(fd, "user.passwd",
                         json_pack("{s:s,s:s}", "account", "alice", "password", "pencil")));
    struct gw_account after = peek_account(rig, "alice@example.org");
    cr_assert_eq(memcmp(before.identity_key, after.identity_key, 32), 0);
    cr_assert_eq(before.created_us, after.created_us);
    for (unsigned h = 0; h < GW_SCRAM_HASH_COUNT; h++) {
        struct gw_scram_keys want = after.scram[h];
        cr_assert_eq(gw_scram_keys_derive(h, GW_LIT("pencil"), &want), 0);
        cr_assert_eq(memcmp(&want, &after.scram[h], sizeof(want)), 0);
        cr_assert_neq(memcmp(before.scram[h].salt, after.scram[h].salt, 16), 0);
    }
    close(fd);
}

static int small_get(struct rig *rig, enum gw_store_ns ns, const char *key)
{
    struct peek *p = peek_new(rig);
    uint8_t buf[64];
    struct store_op op = {.rq = {.op = GW_STORE_GET, .ns = (uint8_t)ns, .key = key,
                                 .key_len = (uint16_t)strlen(key), .data = buf,
                                 .data_len = sizeof(buf)}};
    int rc = store_ops_call(&p->ops, &op);
    free(p);
    return rc;
}

static void small_put(struct rig *rig, enum gw_store_ns ns, const char *key)
{
    struct peek *p = peek_new(rig);
    char value[] = "x";
    struct store_op op = {.rq = {.op = GW_STORE_CAS, .ns = (uint8_t)ns, .key = key,
                                 .key_len = (uint16_t)strlen(key), .data = value, .data_len = 1}};
    cr_assert_eq(store_ops_call(&p->ops, &op), 0);
    free(p);
}

/* The note of a deletion, as the broker seals it. */
static void small_put_sealed(struct rig *rig, const char *key)
{
    struct peek *p = peek_new(rig);
    uint8_t value = 1, sealed[1 + GW_SMALL_OVERHEAD_BYTES];
    gw_small_seal(rig->keys, rig->sealers[0], GW_NS_META, gw_bytes_str(key), gw_bytes(&value, 1),
                  sealed);
    struct store_op op = {.rq = {.op = GW_STORE_CAS, .ns = GW_NS_META, .key = key,
                                 .key_len = (uint16_t)strlen(key), .data = sealed,
                                 .data_len = sizeof(sealed)}};
    cr_assert_eq(store_ops_call(&p->ops, &op), 0);
    free(p);
}

/* Where an account's deletion is noted. */
static void tombstone_of(const struct gw_account *a, const char *jid, char out[128])
{
    struct gw_identity identity = gw_identity_of(a->identity_key);
    struct gw_mailbox_id mailbox = gw_identity_mailbox(&identity);
    strcpy(out, "delete/");
    for (int i = 0; i < 16; i++)
        sprintf(out + strlen(out), "%02x", mailbox.b[i]);
    sprintf(out + strlen(out), "/%s", jid);
}

static struct gw_store_completion mailbox_state(struct rig *rig, const struct gw_account *a)
{
    struct peek *p = peek_new(rig);
    struct gw_identity identity = gw_identity_of(a->identity_key);
    struct store_op op = {.rq = {.op = GW_STORE_MAILBOX, .mailbox = gw_identity_mailbox(&identity)}};
    cr_assert_eq(store_ops_call(&p->ops, &op), 0);
    struct gw_store_completion done = op.done;
    free(p);
    return done;
}

static void append_message(struct rig *rig, const struct gw_account *a)
{
    static uint64_t buf[128];
    struct peek *p = peek_new(rig);
    struct gw_identity identity = gw_identity_of(a->identity_key);
    struct gw_mailbox_id mailbox = gw_identity_mailbox(&identity);
    struct gw_segment_writer w;
    gw_segment_begin(&w, buf, sizeof(buf), 0);
    cr_assert_not_null(gw_segment_add(&w, GW_RECORD_MESSAGE, &mailbox, 1, 64));
    struct store_op op = {.rq = {.op = GW_STORE_APPEND, .data = buf,
                                 .data_len = gw_segment_end(&w, 1)}};
    cr_assert_eq(store_ops_call(&p->ops, &op), 0);
    free(p);
}

CONTROL_TEST(accounts, deleting_leaves_nothing)
{
    int fd = rig_connect(rig);
    rig_add_user(fd, "alice");
    struct gw_account a = peek_account(rig, "alice@example.org");
    append_message(rig, &a);
    small_put(rig, GW_NS_ROSTER, "alice@example.org");
    small_put(rig, GW_NS_VCARD, "alice@example.org");
    small_put(rig, GW_NS_PRIVATE, "alice@example.org");
    cr_assert_eq(mailbox_state(rig, &a).seq, 1);
    cr_assert_eq(mailbox_state(rig, &a).next, 2);
    json_decref(rig_call(fd, "user.del", rig_account("alice")));
    struct gw_store_completion after = mailbox_state(rig, &a);
    cr_assert_eq(after.seq, after.next, "the mailbox is empty");
    cr_assert_eq(small_get(rig, GW_NS_ROSTER, "alice@example.org"), -ENOENT);
    cr_assert_eq(small_get(rig, GW_NS_VCARD, "alice@example.org"), -ENOENT);
    cr_assert_eq(small_get(rig, GW_NS_PRIVATE, "alice@example.org"), -ENOENT);
    cr_assert_eq(small_get(rig, GW_NS_ACCOUNT, "alice@example.org"), -ENOENT);
    rig_add_user(fd, "alice");
    struct gw_account again = peek_account(rig, "alice@example.org");
    cr_assert_neq(memcmp(a.identity_key, again.identity_key, 32), 0);
    close(fd);
}

/* As a process that dies leaves it: the record is gone, roster, mailbox and tombstone are there. */
CONTROL_TEST(accounts, a_deletion_that_was_cut_short_is_finished)
{
    int fd = rig_connect(rig);
    rig_add_user(fd, "alice");
    rig_add_user(fd, "bob");
    struct gw_account alice = peek_account(rig, "alice@example.org");
    append_message(rig, &alice);
    small_put(rig, GW_NS_ROSTER, "alice@example.org");
    small_put(rig, GW_NS_VCARD, "alice@example.org");
    small_put(rig, GW_NS_PRIVATE, "alice@example.org");
    struct peek *p = peek_new(rig);
    struct account_deletion d[2] = {0};
    cr_assert_eq(gw_jid_prep(GW_LIT("alice@example.org"), &d[0].jid), 0);
    cr_assert_eq(accounts_delete_begin(&p->accounts, &d[0]), 0);
    /* And one that died between tombstone and record: the account is there, and stays. */
    struct gw_account bob = peek_account(rig, "bob@example.org");
    char tombstone[128];
    tombstone_of(&bob, "bob@example.org", tombstone);
    small_put_sealed(rig, tombstone);

    cr_assert_eq(accounts_delete_resume(&p->accounts), 2);
    cr_assert_eq(accounts_delete_resume(&p->accounts), 0);
    free(p);
    cr_assert_eq(small_get(rig, GW_NS_ROSTER, "alice@example.org"), -ENOENT);
    cr_assert_eq(small_get(rig, GW_NS_VCARD, "alice@example.org"), -ENOENT);
    cr_assert_eq(small_get(rig, GW_NS_PRIVATE, "alice@example.org"), -ENOENT);
    struct gw_store_completion after = mailbox_state(rig, &alice);
    cr_assert_eq(after.seq, after.next);
    peek_account(rig, "bob@example.org");
    close(fd);
}

/* Whoever can only write to the disk has nothing deleted; and what is ours is done all the same. */
CONTROL_TEST(accounts, a_forged_deletion_deletes_nothing)
{
    int fd = rig_connect(rig);
    rig_add_user(fd, "alice");
    rig_add_user(fd, "bob");
    struct gw_account alice = peek_account(rig, "alice@example.org");
    struct gw_account bob = peek_account(rig, "bob@example.org");
    append_message(rig, &alice);
    append_message(rig, &bob);
    char forged[128], ours[128];
    tombstone_of(&alice, "nobody@example.org", forged);
    tombstone_of(&bob, "nobody@example.org", ours);
    small_put(rig, GW_NS_META, forged);
    small_put_sealed(rig, ours);
    struct peek *p = peek_new(rig);
    cr_assert_eq(accounts_delete_resume(&p->accounts), 1);
    free(p);
    cr_assert_eq(mailbox_state(rig, &alice).seq, 1);
    cr_assert_eq(mailbox_state(rig, &bob).seq, mailbox_state(rig, &bob).next);
    cr_assert_eq(small_get(rig, GW_NS_META, forged), 0);
    cr_assert_eq(small_get(rig, GW_NS_META, ours), -ENOENT);
    close(fd);
}

/* ---- files ---- */

/* Sends the file along, waits for the job's end; the job. */
static json_t *import_fd(int fd, int file, bool replace)
{
    char text[] = "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"user.import\","
                  "\"params\":{\"file\":true,\"replace\":false}}\n";
    if (replace)
        memcpy(strstr(text, "false"), " true", 5);
    rig_send_with_file(fd, text, file);
    json_t *a = rig_receive(fd);
    json_t *result = json_incref(json_object_get(a, "result"));
    json_decref(a);
    return result;
}

static json_t *follow_job(int fd, json_int_t job)
{
    json_decref(rig_call(fd, "job.follow", json_pack("{s:I}", "job", job)));
    for (;;) {
        json_t *m = rig_receive(fd);
        cr_assert_str_eq(json_string_value(json_object_get(m, "method")), "job.progress");
        json_t *d = json_incref(json_object_get(m, "params"));
        json_decref(m);
        if (json_is_true(json_object_get(d, "ended")))
            return d;
        json_decref(d);
    }
}

static json_t *import_text(struct rig *rig, int fd, const char *text, bool replace)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/accounts.txt", rig->dir);
    rig_write_file(path, text, strlen(text), 0600);
    int file = open(path, O_RDONLY);
    json_t *started = import_fd(fd, file, replace);
    close(file);
    cr_assert_not_null(started);
    json_int_t job = json_integer_value(json_object_get(started, "job"));
    json_decref(started);
    json_decref(follow_job(fd, job));
    return rig_call(fd, "job.show", json_pack("{s:I}", "job", job));
}

static int64_t field(const json_t *d, const char *name)
{
    return json_integer_value(json_object_get(d, name));
}

CONTROL_TEST(import, tells_every_bad_line_and_takes_the_others)
{
    int fd = rig_connect(rig);
    rig_add_user(fd, "dave");
    json_t *d = import_text(rig, fd,
                            "# a comment\n"
                            "alice " KEY_1 " " KEY_256 "\n"
                            "\n"
                            "broken line\r\n"
                            "bob\tpassword:secret\r\n"
                            "dave " KEY_1 "\n"
                            "alice " KEY_1 "\n"
                            "carol@elsewhere " KEY_1 "\n"
                            "erin " KEY_256,
                            false);
    cr_assert_str_eq(json_string_value(json_object_get(d, "state")), "done");
    cr_assert_eq(field(d, "created"), 3);
    cr_assert_eq(field(d, "skipped"), 2);
    cr_assert_eq(field(d, "errors"), 2);
    json_t *complaints = json_object_get(d, "complaints");
    cr_assert_eq(json_array_size(complaints), 2);
    cr_assert_eq(field(json_array_get(complaints, 0), "line"), 4);
    cr_assert_eq(field(json_array_get(complaints, 1), "line"), 8);
    cr_assert_eq(field(d, "done"), field(d, "total"));
    cr_assert_not_null(strstr(json_string_value(json_object_get(d, "note")), "password's keys"));
    json_decref(d);
    struct gw_account a = peek_account(rig, "alice@example.org");
    cr_assert_eq(a.scram[GW_SCRAM_SHA_256].iterations, 4096);
    cr_assert_eq(list_count(fd, ""), 4);
    close(fd);
}

CONTROL_TEST(import, replaces_keys_but_not_who_it_is)
{
    int fd = rig_connect(rig);
    rig_add_user(fd, "alice");
    struct gw_account before = peek_account(rig, "alice@example.org");
    json_t *d = import_text(rig, fd, "alice " KEY_1 "\nbob " KEY_1 "\n", true);
    cr_assert_eq(field(d, "created"), 1);
    cr_assert_eq(field(d, "replaced"), 1);
    json_decref(d);
    struct gw_account after = peek_account(rig, "alice@example.org");
    cr_assert_eq(memcmp(before.identity_key, after.identity_key, 32), 0);
    cr_assert_eq(after.scram[GW_SCRAM_SHA_256].iterations, 0);
    cr_assert_neq(memcmp(&before.scram[0], &after.scram[0], sizeof(after.scram[0])), 0);
    close(fd);
}

CONTROL_TEST(import, takes_many_accounts_and_long_lines)
{
    int fd = rig_connect(rig);
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    for (int i = 0; i < 5000; i++) {
        if (i == 2500)
            for (int k = 0; k < 200000; k++)
                fputc('x', f);
        fprintf(f, "user%d " KEY_1 " " KEY_256 "\n", i);
    }
    fclose(f);
    json_t *d = import_text(rig, fd, text, false);
    cr_assert_eq(field(d, "created"), 4999);
    cr_assert_eq(field(d, "errors"), 1);
    json_t *complaint = json_array_get(json_object_get(d, "complaints"), 0);
    cr_assert_eq(field(complaint, "line"), 2501);
    json_decref(d);
    free(text);
    close(fd);
}

CONTROL_TEST(import, can_be_cancelled_and_does_not_hold_up_others)
{
    int fd = rig_connect(rig);
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    for (int i = 0; i < 20000; i++)
        fprintf(f, "user%d password:secret\n", i);
    fclose(f);
    char path[96];
    snprintf(path, sizeof(path), "%s/accounts.txt", rig->dir);
    rig_write_file(path, text, len, 0600);
    free(text);
    int file = open(path, O_RDONLY);
    json_t *started = import_fd(fd, file, false);
    json_int_t job = field(started, "job");
    json_decref(started);
    close(file);
    rig_add_user(fd, "alice");
    json_t *d = rig_call(fd, "job.show", json_pack("{s:I}", "job", job));
    cr_assert_not(json_is_true(json_object_get(d, "ended")), "alice came in between");
    json_decref(d);
    json_decref(rig_call(fd, "job.cancel", json_pack("{s:I}", "job", job)));
    d = follow_job(fd, job);
    cr_assert_str_eq(json_string_value(json_object_get(d, "state")), "cancelled");
    json_decref(d);
    json_t *all = rig_call(fd, "job.list", NULL);
    cr_assert_eq(json_array_size(json_object_get(all, "jobs")), 1);
    json_decref(all);
    close(fd);
}

CONTROL_TEST(import, wants_a_regular_file)
{
    int fd = rig_connect(rig), pipes[2];
    cr_assert_eq(pipe(pipes), 0);
    cr_assert_null(import_fd(fd, pipes[0], false));
    close(pipes[0]);
    close(pipes[1]);
    close(fd);
}

CONTROL_TEST(import, stops_with_the_broker)
{
    int fd = rig_connect(rig);
    char path[96];
    snprintf(path, sizeof(path), "%s/accounts.txt", rig->dir);
    FILE *f = fopen(path, "w");
    for (int i = 0; i < 50000; i++)
        fprintf(f, "user%d password:secret\n", i);
    fclose(f);
    int file = open(path, O_RDONLY);
    json_decref(import_fd(fd, file, false));
    close(file);
    close(fd);
}
