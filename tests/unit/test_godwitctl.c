/* SPDX-License-Identifier: Apache-2.0 */
/* godwitctl as a program, against a control plane that runs; and the metrics beside it. */
#include "control_rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pty.h>
#include <stdarg.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <utmp.h>

#include "../../control/schema.h"
#include "../../storage/account.h"

#define WORDS_MAX 12

struct outcome {
    int status;
    char *out, *err;
};

static char *read_file(int fd)
{
    char *text = NULL, piece[4096];
    size_t len;
    ssize_t n;
    FILE *f = open_memstream(&text, &len);
    cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
    while ((n = read(fd, piece, sizeof(piece))) > 0)
        fwrite(piece, 1, (size_t)n, f);
    fclose(f);
    close(fd);
    return text;
}

static int temporary(void)
{
    char path[] = "/tmp/godwitctl-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    unlink(path);
    return fd;
}

static int exit_status(pid_t pid)
{
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Without a terminal, in UTC; words after the socket's option, up to NULL. */
static struct outcome ctl_in(const char *socket, const char *input, const char *const *words)
{
    char *argv[WORDS_MAX + 4] = {(char *)(uintptr_t)"godwitctl"};
    int n = 1, in = temporary(), out = temporary(), err = temporary();
    for (; *words != NULL; words++)
        argv[n++] = (char *)(uintptr_t)*words;
    cr_assert_eq(write(in, input, strlen(input)), (ssize_t)strlen(input));
    lseek(in, 0, SEEK_SET);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(in, 0);
        dup2(out, 1);
        dup2(err, 2);
        setsid();
        setenv("GODWIT_SOCKET", socket, 1);
        setenv("TZ", "UTC", 1);
        execv(GW_CTL, argv);
        _exit(127);
    }
    close(in);
    struct outcome o = {.status = exit_status(pid)};
    o.out = read_file(out);
    o.err = read_file(err);
    return o;
}

static struct outcome ctl(const struct rig *rig, const char *input, ...)
{
    const char *words[WORDS_MAX + 1];
    unsigned n = 0;
    va_list ap;
    va_start(ap, input);
    while (n < WORDS_MAX && (words[n] = va_arg(ap, const char *)) != NULL)
        n++;
    words[n] = NULL;
    va_end(ap);
    return ctl_in(rig != NULL ? rig->socket : "/nowhere/control.sock", input, words);
}

static void done(struct outcome *o)
{
    free(o->out);
    free(o->err);
}

static void expect(struct outcome o, int status, const char *in_out, const char *in_err)
{
    cr_assert_eq(o.status, status, "status %d\n%s\n%s", o.status, o.out, o.err);
    cr_assert_not_null(strstr(o.out, in_out), "no '%s' in:\n%s", in_out, o.out);
    cr_assert_not_null(strstr(o.err, in_err), "no '%s' in:\n%s", in_err, o.err);
    done(&o);
}

Test(godwitctl, explains_itself)
{
    expect(ctl(NULL, "", "--help", NULL), 0, "user import", "");
    expect(ctl(NULL, "", "--version", NULL), 0, "godwitctl ", "");
    expect(ctl(NULL, "", NULL), 2, "", "usage: godwitctl");
    expect(ctl(NULL, "", "user", "--help", NULL), 0, "user passwd", "");
    expect(ctl(NULL, "", "user", NULL), 2, "", "user passwd");
    for (unsigned i = 0; i < schema_command_count; i++) {
        const struct schema_command *c = &schema_commands[i];
        if (c->cli == NULL)
            continue;
        char words[64], *second;
        snprintf(words, sizeof(words), "%s", c->cli);
        second = strchr(words, ' ');
        if (second != NULL)
            *second++ = '\0';
        struct outcome o = second != NULL ? ctl(NULL, "", words, second, "--help", NULL)
                                          : ctl(NULL, "", words, "--help", NULL);
        cr_assert_eq(o.status, 0);
        cr_assert_not_null(strstr(o.out, c->example), "%s", o.out);
        done(&o);
    }
}

Test(godwitctl, says_what_is_wrong_with_the_command_line)
{
    expect(ctl(NULL, "", "user", "ad", NULL), 2, "", "did you mean user add?");
    expect(ctl(NULL, "", "nonsense", NULL), 2, "", "there is no command nonsense");
    expect(ctl(NULL, "", "--nonsense", NULL), 2, "", "there is no option --nonsense");
    expect(ctl(NULL, "", "user", "add", NULL), 2, "", "needs the argument account");
    expect(ctl(NULL, "", "user", "add", "a", "secret", NULL), 2, "", "takes no argument secret");
    expect(ctl(NULL, "", "user", "add", "a", "--password=x", NULL), 2, "", "no option --password");
    expect(ctl(NULL, "", "user", "list", "--limit", "0", NULL), 2, "",
           "--limit is 0, accepted: a number from 1 to 10000000");
    expect(ctl(NULL, "", "user", "list", "--limit", NULL), 2, "", "takes a value");
    expect(ctl(NULL, "", "receipts", "--state", "lost", NULL), 2, "", "--state is lost, accepted");
    expect(ctl(NULL, "", "receipts", "--age", "1w", NULL), 2, "", "or as 15m, 1h, 7d");
    expect(ctl(NULL, "", "receipts", "--since", "1:0", NULL), 2, "", "no option --since");
    expect(ctl(NULL, "", "receipts", "--follow", "--state", "stored", NULL), 2, "",
           "no option --state");
}

Test(godwitctl, says_why_no_broker_answers)
{
    expect(ctl(NULL, "", "status", NULL), 3, "", "/nowhere/control.sock: No such file");
    expect(ctl(NULL, "", "status", "--socket", "/tmp", NULL), 3, "", "no broker answers at /tmp");
}

CONTROL_TEST(godwitctl, manages_accounts)
{
    expect(ctl(rig, "pencil\n", "user", "add", "Alice", "--password-stdin", NULL), 0,
           "alice@example.org created", "");
    expect(ctl(rig, "pencil\n", "user", "add", "alice", "--password-stdin", NULL), 1, "",
           "godwitctl user passwd");
    expect(ctl(rig, "", "user", "add", "bob", "--password-stdin", NULL), 2, "", "no password");
    expect(ctl(rig, "x\n", "user", "add", "bob", NULL), 2, "", "no terminal");
    expect(ctl(rig, "\xff\n", "user", "add", "bob", "--password-stdin", NULL), 2, "", "not UTF-8");
    expect(ctl(rig, "x\n", "user", "passwd", "alice", "--password-stdin", NULL), 0,
           "alice@example.org has a new password", "");
    expect(ctl(rig, "", "user", "list", NULL), 0, "SCRAM-SHA-1 (4096), SCRAM-SHA-256 (4096)", "");
    struct outcome o = ctl(rig, "", "--json", "user", "list", NULL);
    json_t *r = json_loads(o.out, 0, NULL);
    cr_assert_eq(json_array_size(json_object_get(r, "accounts")), 1, "%s", o.out);
    json_decref(r);
    done(&o);
    expect(ctl(rig, "", "user", "del", "--", "alice", NULL), 0, "alice@example.org deleted", "");
    expect(ctl(rig, "", "user", "del", "alice", "--json", NULL), 1, "\"code\": -32001",
           "there is no account");
}

CONTROL_TEST(godwitctl, asks_for_a_password_without_echo)
{
    int terminal;
    pid_t pid = forkpty(&terminal, NULL, NULL, NULL);
    if (pid == 0) {
        setenv("GODWIT_SOCKET", rig->socket, 1);
        execl(GW_CTL, "godwitctl", "user", "add", "carol", (char *)NULL);
        _exit(127);
    }
    char seen[4096];
    size_t len = 0;
    ssize_t n;
    unsigned answered = 0;
    /* Answers each question when it stands there; the terminal fails once the program is gone. */
    while ((n = read(terminal, seen + len, sizeof(seen) - 1 - len)) > 0) {
        len += (size_t)n;
        seen[len] = '\0';
        if ((answered == 0 && strstr(seen, "Password: ") != NULL) ||
            (answered == 1 && strstr(seen, "Again: ") != NULL)) {
            cr_assert_eq(write(terminal, "very-secret\n", 12), 12);
            answered++;
        }
    }
    close(terminal);
    cr_assert_eq(exit_status(pid), 0, "%s", seen);
    cr_assert_eq(answered, 2);
    cr_assert_null(strstr(seen, "very-secret"));
    cr_assert_not_null(strstr(seen, "carol@example.org created"));
}

/* ^C at the question ends it, and the terminal echoes as before. */
CONTROL_TEST(godwitctl, leaves_the_terminal_as_it_was)
{
    int terminal, other;
    struct termios mode;
    char seen[256], name[64];
    ssize_t n;
    size_t len = 0;
    cr_assert_eq(openpty(&terminal, &other, name, NULL, NULL), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(terminal);
        login_tty(other);
        execl(GW_CTL, "godwitctl", "--socket", rig->socket, "user", "add", "carol", (char *)NULL);
        _exit(127);
    }
    do {
        n = read(terminal, seen + len, sizeof(seen) - 1 - len);
        cr_assert_gt(n, 0);
        len += (size_t)n;
        seen[len] = '\0';
    } while (strstr(seen, "Password: ") == NULL);
    cr_assert_eq(tcgetattr(other, &mode), 0);
    cr_assert_eq(mode.c_lflag & ECHO, 0);
    cr_assert_eq(write(terminal, "\x03", 1), 1);
    cr_assert_eq(exit_status(pid), 128 + SIGINT);
    cr_assert_eq(tcgetattr(other, &mode), 0);
    cr_assert_neq(mode.c_lflag & ECHO, 0);
    close(terminal);
    close(other);
}

CONTROL_TEST(godwitctl, imports_a_file_and_standard_input)
{
    static const char text[] = "a password:x\nbroken\nb password:y\n";
    char path[96];
    snprintf(path, sizeof(path), "%s/list", rig->dir);
    rig_write_file(path, text, sizeof(text) - 1, 0600);
    expect(ctl(rig, "", "user", "import", path, NULL), 4, "done: 2 created", "line 2: neither keys");
    expect(ctl(rig, "c password:z\n", "user", "import", "-", NULL), 0, "done: 1 created", "");
    expect(ctl(rig, "", "user", "import", path, "--replace", "--json", NULL), 4, "\"replaced\": 2",
           "line 2");
    expect(ctl(rig, "", "user", "import", "/nowhere", NULL), 2, "", "/nowhere: No such file");
    expect(ctl(rig, "", "job", "list", NULL), 0, "user.import  done", "");
    expect(ctl(rig, "", "job", "show", "1", NULL), 0, "line 2: neither keys", "");
    expect(ctl(rig, "", "job", "show", "9", NULL), 1, "", "there is no job 9");
    expect(ctl(rig, "", "job", "cancel", "1", NULL), 0, "done", "");
}

/* ---- keys and the store ---- */

static void put_next_master(struct rig *rig, uint8_t fill)
{
    char next[128];
    uint8_t key[32];
    memset(key, fill, sizeof(key));
    snprintf(next, sizeof(next), "%s.next", rig->key);
    rig_write_file(next, key, sizeof(key), 0600);
}

/* Of an account that is there. */
static struct gw_mailbox_id mailbox_of(struct rig *rig, const char *jid)
{
    static uint8_t sealed[GW_ACCOUNT_PACKED_BYTES_MAX + GW_SMALL_OVERHEAD_BYTES];
    struct gw_store_request r = {.op = GW_STORE_GET, .ns = GW_NS_ACCOUNT, .key = jid,
                                 .key_len = (uint16_t)strlen(jid), .data = sealed,
                                 .data_len = sizeof(sealed)};
    struct gw_store_completion got;
    struct gw_bytes plain;
    struct gw_account account;
    cr_assert_eq(gw_store_call(gw_store_client(rig->store, 0), &r, &got), 0);
    cr_assert_eq(gw_small_open(rig->keys, rig->sealers[0], GW_NS_ACCOUNT, gw_bytes_str(jid), sealed,
                               got.len, &plain),
                 0);
    cr_assert_eq(gw_account_unpack(plain.p, plain.len, &account), 0);
    struct gw_identity identity = gw_identity_of(account.identity_key);
    return gw_identity_mailbox(&identity);
}

CONTROL_TEST(godwitctl, rotates_keys)
{
    expect(ctl(rig, "x\n", "user", "add", "alice", "--password-stdin", NULL), 0, "created", "");
    expect(ctl(rig, "", "key", "status", NULL), 0, "incarnation   1, 1 keys kept", "");
    expect(ctl(rig, "", "key", "rotate", "master", NULL), 1, "failed: no next master key", "");
    put_next_master(rig, 9);
    /* alice's, the root and the incarnation's. */
    expect(ctl(rig, "", "key", "rotate", "master", NULL), 0, "done: 3 keys or records changed", "");
    expect(ctl(rig, "", "key", "rotate", "master", NULL), 0, "done: 0 keys or records changed", "");
    expect(ctl(rig, "", "key", "rotate", "accounts", NULL), 0, "done: 1 keys or records", "");
    expect(ctl(rig, "", "key", "rotate", "incarnation", NULL), 0, "done: 1 keys or records", "");
    expect(ctl(rig, "", "key", "status", NULL), 0, "incarnation   2, 1 keys kept", "");
    expect(ctl(rig, "", "key", "rotate", "everything", NULL), 2, "",
           "what is everything, accepted: master, accounts or incarnation");
    expect(ctl(rig, "", "user", "list", NULL), 0, "alice@example.org", "");
    expect(ctl(rig, "y\n", "user", "passwd", "alice", "--password-stdin", NULL), 0, "password", "");
}

CONTROL_TEST(godwitctl, verifies_and_names_what_is_damaged)
{
    expect(ctl(rig, "x\n", "user", "add", "alice", "--password-stdin", NULL), 0, "created", "");
    expect(ctl(rig, "", "store", "verify", NULL), 0, "0 do not open", "");
    /* A message that nobody sealed. */
    static uint64_t buf[64];
    struct gw_segment_writer w;
    struct gw_mailbox_id mailbox = mailbox_of(rig, "alice@example.org");
    gw_segment_begin(&w, buf, sizeof(buf), 0);
    cr_assert_not_null(gw_segment_add(&w, GW_RECORD_MESSAGE, &mailbox, 7, 64));
    struct gw_store_request r = {.op = GW_STORE_APPEND, .data = buf,
                                 .data_len = gw_segment_end(&w, 1)};
    struct gw_store_completion appended;
    cr_assert_eq(gw_store_call(gw_store_client(rig->store, 0), &r, &appended), 0);
    expect(ctl(rig, "", "store", "verify", NULL), 4, "1 do not open",
           "(alice@example.org), position 7: the message does not open");
    expect(ctl(rig, "", "job", "show", "2", NULL), 0, "(alice@example.org), position 7", "");
    expect(ctl(rig, "", "store", "stats", NULL), 0, "KIND", "");
}

CONTROL_TEST(godwitctl, says_that_this_engine_has_no_backups)
{
    expect(ctl(rig, "", "store", "backup", NULL), 1, "failed: this store has none", "");
}

/* The note in the store asks for it until it is done. */
CONTROL_TEST(godwitctl, erases_what_a_deleted_account_leaves)
{
    expect(ctl(rig, "x\n", "user", "add", "alice", "--password-stdin", NULL), 0, "created", "");
    expect(ctl(rig, "", "key", "status", NULL), 0, "nothing is left of deleted accounts", "");
    expect(ctl(rig, "", "user", "del", "alice", NULL), 0, "deleted", "");
    bool erased = false;
    for (unsigned looks = 0; !erased && looks < 2000; looks++) {
        struct outcome o = ctl(rig, "", "key", "status", NULL);
        erased = strstr(o.out, "nothing is left of deleted accounts") != NULL;
        done(&o);
        usleep(10000); /* between two looks */
    }
    cr_assert(erased);
    expect(ctl(rig, "", "job", "list", NULL), 0, "account.erase  done", "");
}

CONTROL_TEST(godwitctl, shows_what_there_is)
{
    rig_add_session(rig, "alice@example.org/a\x1b[31mred", 1);
    expect(ctl(rig, "", "status", NULL), 0, "domain       example.org", "");
    expect(ctl(rig, "", "session", "list", NULL), 0, "alice@example.org/a?[31mred  10.0.0.1:1000",
           "");
    expect(ctl(rig, "", "session", "end", "alice", NULL), 0, "is logged out, sessions ended: 1", "");
    expect(ctl(rig, "", "session", "end", "alice", NULL), 1, "", "has no sessions");
    expect(ctl(rig, "", "neighbour", "list", NULL), 0, "fd00::1    -                  resolving", "");
    expect(ctl(rig, "", "neighbour", "list", "--json", NULL), 0, "\"ethernet\": \"02:00:00:00:00:07\"", "");
    expect(ctl(rig, "", "lcore", "stat", NULL), 0, "STAGE", "");
    expect(ctl(rig, "", "counters", "--all", "--each", NULL), 0, "net@1", "");
    expect(ctl(rig, "", "config", NULL), 0, "xmpp.domain = \"example.org\"", "");
    expect(ctl(rig, "", "receipts", NULL), 0, "DELIVERED", "");
    expect(ctl(rig, "", "receipts", "--undelivered-for", "1h", "--json", NULL), 0, "\"receipts\": []",
           "");
}

CONTROL_TEST(godwitctl, shows_connections)
{
    rig_add_connection(rig, "alice@example.org/a\x1b[31mred", 1, 3);
    rig_add_connection(rig, "", 0, 9);
    expect(ctl(rig, "", "conn", "list", NULL), 0,
           "1:1   established  10.0.0.9:5222  [fd00::1]:1001     24      26    15.0    19      23  "
           "alice@example.org/a?[31mred", "");
    expect(ctl(rig, "", "conn", "list", "--state", "time-wait", NULL), 0, "[fd00::1]:1002", "");
    expect(ctl(rig, "", "conn", "list", "--remote", "10.0.0", NULL), 1, "", "remote is no address");
    expect(ctl(rig, "", "conn", "list", "--state", "open", NULL), 2, "", "accepted: syn-sent, ");
    expect(ctl(rig, "", "conn", "show", "1:1", NULL), 0, "session     alice@example.org/a?[31mred", "");
    expect(ctl(rig, "", "conn", "show", "1:1", NULL), 0,
           "congestion  cubic, recovery, window 19, threshold 20\n"
           "timers      retransmit in 30 ms, user in 31 ms\n", "");
    expect(ctl(rig, "", "conn", "show", "0:2", NULL), 0, "timers      time-wait in 31 ms\n", "");
    expect(ctl(rig, "", "conn", "show", "0:1", NULL), 1, "", "there is no connection 0:1");
    expect(ctl(rig, "", "conn", "list", "--json", "--limit", "1", NULL), 0, "\"next\"", "");
}

/* More than one answer holds, all of it or some. */
CONTROL_TEST(godwitctl, puts_pages_together)
{
    static const struct {
        const char *limit;
        size_t rows;
        bool next;
    } cases[] = {{"1000", 450, false}, {"450", 450, false}, {"201", 201, true}, {"7", 7, true}};
    char jid[64];
    for (int i = 0; i < 450; i++) {
        snprintf(jid, sizeof(jid), "u%d@example.org/x", i);
        rig_add_session(rig, jid, 1);
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct outcome o = ctl(rig, "", "session", "list", "--json", "--limit", cases[i].limit, NULL);
        json_t *r = json_loads(o.out, 0, NULL), *rows = json_object_get(r, "sessions");
        cr_assert_eq(json_array_size(rows), cases[i].rows);
        cr_assert_eq(json_object_get(r, "next") != NULL, cases[i].next, "%s", cases[i].limit);
        json_t *last = json_array_get(rows, cases[i].rows - 1);
        snprintf(jid, sizeof(jid), "u%zu@example.org/x", cases[i].rows - 1);
        cr_assert_str_eq(json_string_value(json_object_get(last, "jid")), jid);
        json_decref(r);
        done(&o);
    }
}

CONTROL_TEST(godwitctl, follows_until_the_broker_ends)
{
    int out[2];
    cr_assert_eq(pipe(out), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], 1);
        dup2(out[1], 2);
        close(out[0]);
        execl(GW_CTL, "godwitctl", "--socket", rig->socket, "receipts", "--follow", (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    int fd = rig_connect(rig);
    json_int_t followers = 0;
    while (followers == 0) {
        json_t *s = rig_call(fd, "status", NULL);
        followers = json_integer_value(json_object_get(json_object_get(s, "ledger"), "followers"));
        json_decref(s);
    }
    close(fd);
    atomic_store(&rig->stop, true);
    cr_assert_eq(exit_status(pid), 3);
    close(out[0]);
}

/* ---- captures ---- */

static void capture_rig(struct rig *rig)
{
    rig_init(rig);
    rig->config.capture = true;
    rig_start(rig);
}

static void capture_done(struct rig *rig)
{
    rig_stop(rig);
    rig_remove(rig);
    free(rig);
}

static pid_t ctl_begin(const struct rig *rig, int out, const char *const *words)
{
    char *argv[WORDS_MAX + 4] = {(char *)(uintptr_t)"godwitctl"};
    for (int n = 1; *words != NULL; words++)
        argv[n++] = (char *)(uintptr_t)*words;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out, 1);
        setenv("GODWIT_SOCKET", rig->socket, 1);
        execv(GW_CTL, argv);
        _exit(127);
    }
    return pid;
}

static void wait_until_captured(struct rig *rig, json_int_t frames)
{
    int fd = rig_connect(rig);
    json_int_t now = -1;
    while (now < frames) {
        json_t *s = rig_call(fd, "pcap.status", NULL);
        const json_t *c = json_object_get(s, "capture");
        now = c != NULL ? json_integer_value(json_object_get(c, "frames")) : -1;
        json_decref(s);
    }
    close(fd);
}

/* The file is its user's alone; an interrupt ends the capture, not the program before it. */
Test(godwitctl, captures_into_a_file_of_its_own, .timeout = 60)
{
    struct rig *rig = malloc(sizeof(*rig));
    char path[128], link[128];
    struct stat st;
    int out = temporary();
    capture_rig(rig);
    snprintf(path, sizeof(path), "%s/file", rig->dir);
    snprintf(link, sizeof(link), "%s/link", rig->dir);
    umask(0);
    pid_t pid = ctl_begin(rig, out, (const char *const[]){"pcap", "start", path, "--filter",
                                                          "tcp dst port 5222", NULL});
    atomic_store(&rig->ports[0].waiting, 100);
    wait_until_captured(rig, 100);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600);
    expect(ctl(rig, "", "pcap", "status", NULL), 0, "capturing yes", "");
    expect(ctl(rig, "", "pcap", "start", "/tmp", NULL), 2, "", "/tmp: File exists");
    expect(ctl(rig, "", "job", "list", NULL), 0, "100 frames, ", "");
    kill(pid, SIGINT);
    cr_assert_eq(exit_status(pid), 0);
    char *text = read_file(out);
    cr_assert_not_null(strstr(text, "cancelled: 100 frames, "), "%s", text);
    free(text);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_gt(st.st_size, 100 * 256);
    expect(ctl(rig, "", "pcap", "start", path, NULL), 2, "", "File exists");
    cr_assert_eq(symlink("/tmp/godwit-nowhere", link), 0);
    expect(ctl(rig, "", "pcap", "start", link, NULL), 2, "", "File exists");
    expect(ctl(rig, "", "pcap", "status", NULL), 0, "filter    tcp dst port 5222", "");
    expect(ctl(rig, "", "pcap", "stop", NULL), 1, "", "no capture is under way");
    capture_done(rig);
}

/* A capture that is refused leaves no file. */
Test(godwitctl, leaves_no_file_of_a_refused_capture, .timeout = 60)
{
    struct rig *rig = malloc(sizeof(*rig));
    char path[128];
    capture_rig(rig);
    snprintf(path, sizeof(path), "%s/file", rig->dir);
    expect(ctl(rig, "", "pcap", "start", path, "--filter", "host nowhere", NULL), 1, "",
           "names are not looked up");
    cr_assert_eq(access(path, F_OK), -1);
    expect(ctl(rig, "", "pcap", "start", path, "--seconds", "1", NULL), 0, "done: 0 frames", "");
    cr_assert_eq(access(path, F_OK), 0);
    capture_done(rig);
}

/* To standard output comes the same, and pcap stop from elsewhere ends it. */
Test(godwitctl, captures_to_standard_output, .timeout = 60)
{
    struct rig *rig = malloc(sizeof(*rig));
    int out[2];
    char head[4], rest[4096];
    size_t len = 0;
    ssize_t n;
    capture_rig(rig);
    cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
    pid_t pid = ctl_begin(rig, out[1], (const char *const[]){"pcap", "start", "-", NULL});
    close(out[1]);
    atomic_store(&rig->ports[1].waiting, 50);
    wait_until_captured(rig, 100);
    expect(ctl(rig, "", "pcap", "stop", NULL), 0, "cancelled", "");
    cr_assert_eq(read(out[0], head, 4), 4);
    cr_assert_eq(memcmp(head, "\x0a\x0d\x0d\x0a", 4), 0);
    while ((n = read(out[0], rest, sizeof(rest))) > 0)
        len += (size_t)n;
    cr_assert_gt(len, 100 * 256);
    cr_assert_eq(exit_status(pid), 0);
    close(out[0]);
    capture_done(rig);
}

/* Whoever read it has gone (head -c): the program and the capture end. */
Test(godwitctl, ends_when_nobody_reads, .timeout = 60)
{
    struct rig *rig = malloc(sizeof(*rig));
    int out[2];
    capture_rig(rig);
    cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
    pid_t pid = ctl_begin(rig, out[1], (const char *const[]){"pcap", "start", "-", NULL});
    close(out[1]);
    close(out[0]);
    atomic_store(&rig->ports[1].waiting, 50);
    cr_assert_eq(exit_status(pid), 1);
    capture_done(rig);
}

/* ---- metrics ---- */

static char *http_get(uint16_t port, const char *what)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0, "%s", strerror(errno));
    rig_send_text(fd, what);
    char *text = NULL, piece[4096];
    size_t len;
    ssize_t n;
    FILE *f = open_memstream(&text, &len);
    while ((n = recv(fd, piece, sizeof(piece), 0)) > 0)
        fwrite(piece, 1, (size_t)n, f);
    fclose(f);
    close(fd);
    return text;
}

static uint16_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

/* Every sample of a metric stands behind its own # TYPE, and each # TYPE comes once. */
static void assert_grouped(const char *text)
{
    char *copy = strdup(strstr(text, "\r\n\r\n") + 4), *save = NULL, current[128] = "";
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char head[160];
        if (strncmp(line, "# TYPE ", 7) == 0) {
            cr_assert_eq(sscanf(line + 7, "%127s", current), 1);
            snprintf(head, sizeof(head), "\n# TYPE %s ", current);
            char *first = strstr(text, head);
            cr_assert_null(strstr(first + 1, head), "%s twice", current);
        } else if (line[0] != '#') {
            size_t len = strcspn(line, "{ ");
            cr_assert(strlen(current) == len && strncmp(line, current, len) == 0, "%s", line);
        }
    }
    free(copy);
}

Test(metrics, are_served_on_loopback, .timeout = 60)
{
    struct rig *rig = malloc(sizeof(*rig));
    rig_init(rig);
    rig->config.metrics_port = free_port();
    rig_start(rig);
    int fd = rig_connect(rig);
    json_decref(rig_call(fd, "status", NULL)); /* the control loop runs: all is open */
    rig->counts[1] = 7;
    char *text = http_get(rig->config.metrics_port, "GET /metrics HTTP/1.0\r\n\r\n");
    cr_assert_not_null(strstr(text, " 200 OK"));
    cr_assert_not_null(strstr(text, "\ngodwit_net_frames_total{lcore=\"1\"} 7\n"));
    cr_assert_not_null(strstr(text, "\ngodwit_store_failed 0\n"));
    cr_assert_not_null(strstr(text, "\ngodwit_lcore_stage_cycles_total{lcore=\"0\",stage=\"seal\"} 0\n"));
    assert_grouped(text);
    free(text);
    text = http_get(rig->config.metrics_port, "GET / HTTP/1.0\r\n\r\n");
    cr_assert_not_null(strstr(text, " 404 "));
    free(text);
    text = http_get(rig->config.metrics_port, "POST /metrics HTTP/1.0\r\nContent-Length: 0\r\n\r\n");
    cr_assert_not_null(strstr(text, " 405 "));
    free(text);
    close(fd);
    rig_stop(rig);
    rig_remove(rig);
    free(rig);
}
