/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: framing, JSON-RPC, who may use it, limits. */
#include "../../dataplane/port/dispatch.h"
#include "control_rig.h"

#include <ctype.h>
#include <sys/syscall.h>

#include "../../control/json_wipe.h"
#include "../../control/rpc.h"
#include "../../control/rpc_frame.h"
#include "../../control/schema.h"

/* ---- frames ---- */

static unsigned feed(struct rpc_frame *f, char *buf, size_t *len, char c, unsigned *bad)
{
    unsigned whole = 0;
    buf[(*len)++] = c;
    for (;;) {
        size_t end;
        int rc = rpc_frame_next(f, buf, *len, &end);
        cr_assert_leq(end, *len);
        memmove(buf, buf + end, *len - end);
        *len -= end;
        if (rc == 0)
            return whole;
        whole += rc == 1;
        *bad += rc < 0;
    }
}

Test(rpc_frame, values_are_found_however_they_come)
{
    static const struct {
        const char *text;
        unsigned whole, bad;
    } cases[] = {
        {"{}", 1, 0},
        {" \r\n{}\n{}{}[1,2] ", 4, 0},
        {"{\"a\":\"}]\\\"{[\"}{\"b\":[{}]}", 2, 0},
        {"{\"a\":\"\\\\\"}{}", 2, 0},
        {"{", 0, 0},
        {"17\n{}", 1, 1},
        {"hello {}\n{}", 1, 1},
        {"}{}\n{}", 1, 1},
        {"\"x\"", 0, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rpc_frame f = {0};
        char buf[256];
        size_t len = 0;
        unsigned whole = 0, bad = 0;
        for (const char *c = cases[i].text; *c != '\0'; c++)
            whole += feed(&f, buf, &len, *c, &bad);
        cr_assert_eq(whole, cases[i].whole, "%s", cases[i].text);
        cr_assert_eq(bad, cases[i].bad, "%s", cases[i].text);
    }
}

/* ---- the schema ---- */

Test(schema, every_command_is_described)
{
    for (unsigned i = 0; i < schema_command_count; i++) {
        const struct schema_command *c = &schema_commands[i];
        cr_assert_eq(schema_find(c->method), c, "%s twice", c->method);
        cr_assert(strlen(c->summary) > 5);
        cr_assert(c->cli == NULL || strncmp(c->example, "godwitctl ", 10) == 0, "%s", c->method);
        for (unsigned p = 0; p < schema_param_count(c); p++)
            cr_assert_eq(schema_find_param(c, c->params[p].name), &c->params[p]);
    }
    cr_assert_null(schema_find("user"));
    json_t *all = schema_describe_all();
    cr_assert_eq(json_array_size(json_object_get(all, "methods")), schema_command_count);
    json_decref(all);
}

static char *read_document(const char *path)
{
    static char text[1 << 16];
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f, "%s", path);
    size_t len = fread(text, 1, sizeof(text) - 1, f), kept = 0;
    cr_assert(len > 0 && feof(f));
    fclose(f);
    /* Without roff's backslashes and fonts, so that names read as they are typed. */
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\\' && text[i + 1] == 'f')
            i += 2;
        else if (text[i] != '\\')
            text[kept++] = text[i];
    }
    text[kept] = '\0';
    return text;
}

static void assert_man_page_has(const char *page, const struct schema_command *c)
{
    char tag[96];
    snprintf(tag, sizeof(tag), "\n.TP\n%s", c->cli != NULL ? c->cli : "receipts --follow");
    const char *entry = strstr(page, tag);
    cr_assert_not_null(entry, "no entry %s", tag + 5);
    size_t end = strcspn(entry + 5, "\n");
    for (unsigned i = 0; i < schema_param_count(c); i++) {
        char name[64];
        const struct schema_param *p = &c->params[i];
        snprintf(name, sizeof(name), p->positional ? "%s" : "--%s", p->name);
        for (char *at = name; *at != '\0'; at++)
            *at = *at == '_' ? '-' : p->positional ? (char)toupper(*at) : *at;
        const char *found = strstr(entry, name);
        cr_assert(found != NULL && found < entry + 5 + end, "%s lacks %s", tag + 5, name);
    }
}

Test(schema, every_command_and_option_is_in_the_man_page)
{
    const char *page = read_document(GW_SOURCE_ROOT "/docs/godwitctl.1");
    for (unsigned i = 0; i < schema_command_count; i++)
        if (schema_commands[i].cli != NULL ||
            strcmp(schema_commands[i].method, "receipts.follow") == 0)
            assert_man_page_has(page, &schema_commands[i]);
}

Test(schema, every_method_is_in_the_operators_guide)
{
    const char *guide = read_document(GW_SOURCE_ROOT "/docs/OPERATING.md");
    for (unsigned i = 0; i < schema_command_count; i++) {
        char quoted[64];
        snprintf(quoted, sizeof(quoted), "`%s`", schema_commands[i].method);
        cr_assert_not_null(strstr(guide, quoted), "%s", quoted);
    }
}

/* ---- the socket ---- */

CONTROL_TEST(control, tells_its_status)
{
    int fd = rig_connect(rig);
    json_t *s = rig_call(fd, "status", NULL);
    cr_assert_str_eq(json_string_value(json_object_get(s, "domain")), "example.org");
    cr_assert_eq(json_integer_value(json_object_get(s, "pid")), getpid());
    cr_assert_eq(json_integer_value(json_object_get(s, "lcores")), RIG_LCORES);
    json_t *store = json_object_get(s, "store");
    cr_assert_str_eq(json_string_value(json_object_get(store, "engine")), "mem");
    json_decref(s);
    close(fd);
}

static void assert_answer(json_t *a, int id)
{
    cr_assert_not_null(a);
    cr_assert_eq(json_integer_value(json_object_get(a, "id")), id, "%s", json_dumps(a, 0));
    cr_assert_not_null(json_object_get(a, "result"), "%s", json_dumps(a, 0));
    json_decref(a);
}

CONTROL_TEST(control, requests_may_come_in_any_pieces)
{
    int fd = rig_connect(rig);
    static const char text[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"job.list\"}"
                               "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"job.list\"}\n\n"
                               "  {\"jsonrpc\":\"2.0\",\n\"id\":3,\n\"method\":\"job.list\"}";
    rig_send_text(fd, text);
    for (int id = 1; id <= 3; id++)
        assert_answer(rig_receive(fd), id);
    for (size_t i = 0; i < sizeof(text) - 1; i++)
        cr_assert_eq(send(fd, text + i, 1, MSG_NOSIGNAL), 1);
    for (int id = 1; id <= 3; id++)
        assert_answer(rig_receive(fd), id);
    close(fd);
}

CONTROL_TEST(control, answers_after_the_client_has_said_all)
{
    int fd = rig_connect(rig);
    for (int i = 0; i < 40; i++)
        rig_send_text(fd, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"status\"}");
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 40; i++)
        assert_answer(rig_receive(fd), 7);
    cr_assert_null(rig_receive(fd));
    close(fd);
}

static void assert_error(json_t *a, int code)
{
    cr_assert_not_null(a);
    json_t *e = json_object_get(a, "error");
    cr_assert_eq(json_integer_value(json_object_get(e, "code")), code, "%s", json_dumps(a, 0));
    json_decref(a);
}

CONTROL_TEST(control, what_is_wrong_is_said_and_the_connection_lives)
{
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        {"{\"jsonrpc\":\"2.0\",\"id\":1,}\n", RPC_PARSE},
        {"hello\n", RPC_PARSE},
        {"{\"a\":1,\"a\":2}\n", RPC_PARSE},
        {"{\"id\":1,\"method\":\"status\"}\n", RPC_INVALID},
        {"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"status\"}\n", RPC_INVALID},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\",\"params\":3}\n", RPC_INVALID},
        {"[]\n", RPC_INVALID},
        {"[1]\n", 0},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats\"}\n", RPC_NO_METHOD},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\",\"params\":{\"x\":1}}\n", RPC_PARAMS},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\",\"params\":[1]}\n", RPC_PARAMS},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"user.del\"}\n", RPC_PARAMS},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"user.del\",\"params\":[\"\"]}\n", RPC_PARAMS},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"job.show\",\"params\":[0]}\n", RPC_PARAMS},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"job.show\",\"params\":[1]}\n", RPC_NOT_FOUND},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"user.import\",\"params\":{\"file\":true}}\n",
         RPC_PARAMS},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"receipts.list\",\"params\":{\"cursor\":\"x\"}}\n",
         RPC_PARAMS},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"receipts.follow\",\"params\":{\"since\":\"99:0\"}}",
         RPC_PARAMS},
    };
    int fd = rig_connect(rig);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        rig_send_text(fd, cases[i].text);
        json_t *a = rig_receive(fd);
        if (json_is_array(a)) {
            cr_assert_eq(cases[i].code, 0);
            assert_error(json_incref(json_array_get(a, 0)), RPC_INVALID);
            json_decref(a);
        } else {
            assert_error(a, cases[i].code);
        }
    }
    json_decref(rig_call(fd, "status", NULL));
    close(fd);
}

CONTROL_TEST(control, a_batch_is_answered_together)
{
    int fd = rig_connect(rig);
    rig_send_text(fd, "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"},"
                      "{\"jsonrpc\":\"2.0\",\"method\":\"status\"},"
                      "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"user.list\"}, 4]");
    json_t *a = rig_receive(fd);
    cr_assert_eq(json_array_size(a), 3, "one of them was a notification");
    json_decref(a);
    rig_send_text(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"status\"}");
    json_decref(rig_call(fd, "status", NULL));
    close(fd);
}

CONTROL_TEST(control, a_request_over_the_limit_ends_the_client_alone)
{
    int fd = rig_connect(rig), other = rig_connect(rig);
    char *big = malloc(300000);
    memset(big, ' ', 300000);
    memcpy(big, "{\"x\":\"", 6);
    for (size_t off = 0; off < 300000;) {
        ssize_t n = send(fd, big + off, 300000 - off, MSG_NOSIGNAL);
        if (n < 0)
            break;
        off += (size_t)n;
    }
    assert_error(rig_receive(fd), RPC_INVALID);
    cr_assert_null(rig_receive(fd));
    json_decref(rig_call(other, "status", NULL));
    free(big);
    close(fd);
    close(other);
}

CONTROL_TEST(control, too_many_clients_are_told_so)
{
    int fds[65];
    for (int i = 0; i < 65; i++)
        fds[i] = rig_connect(rig);
    assert_error(rig_receive(fds[64]), RPC_BUSY);
    cr_assert_null(rig_receive(fds[64]));
    json_decref(rig_call(fds[63], "status", NULL));
    for (int i = 0; i < 65; i++)
        close(fds[i]);
}

/* What is asked for without being read stops being answered; it does not fill the broker's memory. */
CONTROL_TEST(control, a_client_that_does_not_read_is_not_read_from)
{
    int fd = rig_connect(rig), other = rig_connect(rig);
    static const char rq[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rpc.discover\"}";
    size_t sent = 0;
    cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    for (int i = 0; i < 1000000; i++) {
        if (send(fd, rq, sizeof(rq) - 1, MSG_NOSIGNAL) != sizeof(rq) - 1)
            break;
        sent++;
        if (i % 100 == 0)
            json_decref(rig_call(other, "job.list", NULL));
    }
    cr_assert_lt(sent, 1000000, "the broker has stopped reading");
    json_decref(rig_call(other, "status", NULL));
    cr_assert_eq(fcntl(fd, F_SETFL, 0), 0);
    for (size_t i = 0; i < sent; i++)
        assert_answer(rig_receive(fd), 1);
    close(fd);
    close(other);
}

CONTROL_TEST(control, only_its_user_reaches_the_socket)
{
    struct stat st;
    cr_assert_eq(stat(rig->socket, &st), 0);
    cr_assert_eq(st.st_mode & 0777, 0600);
}

/* Connect as a user who is not root: root becomes one, for this thread alone. */
static int connect_as(uid_t uid, const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bool root = geteuid() == 0;
    cr_assert(!root || syscall(SYS_setresuid, -1, uid, -1) == 0);
    cr_assert_eq(connect(fd, (const struct sockaddr *)a, sizeof(*a)), 0, "%s", strerror(errno));
    cr_assert(!root || syscall(SYS_setresuid, -1, 0, -1) == 0);
    return fd;
}

/* The server believes to be somebody else's, and allows one user by the configuration. */
Test(rpc_socket, a_foreign_user_is_refused)
{
    char dir[] = "/tmp/godwit-socket-XXXXXX", path[64], err[256] = "";
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chmod(dir, 0755), 0);
    snprintf(path, sizeof(path), "%s/s", dir);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, path, strlen(path) + 1);
    json_wipe_on_free();
    uid_t me = geteuid() == 0 ? 4711 : geteuid();
    for (int allowed = 0; allowed <= 1; allowed++) {
        uint32_t uids[1] = {allowed ? me : me + 1};
        struct rpc_server_config cfg = {.path = path, .own_uid = me + 2, .uids = uids, .uid_count = 1};
        struct poller poller;
        struct rpc_server *s;
        cr_assert_eq(poller_open(&poller), 0);
        cr_assert_eq(rpc_server_open(&s, &cfg, &poller, err), 0, "%s", err);
        int fd = connect_as(me, &a);
        rig_send_text(fd, "x\n");
        for (int i = 0; i < 3; i++) {
            poller_wait(&poller, 0);
            rpc_server_work(s);
        }
        assert_error(rig_receive(fd), allowed ? RPC_PARSE : RPC_DENIED);
        close(fd);
        rpc_server_free(&s);
        poller_close(&poller);
    }
    cr_assert_eq(rmdir(dir), 0);
}

CONTROL_TEST(control, a_second_broker_does_not_take_the_socket)
{
    atomic_bool stop = false;
    struct gw_control_env env = rig->env;
    struct gw_store_config cfg = {.engine = "mem", .client_count = 3, .requests_max = 16,
                                  .window_bytes_max = 1 << 20, .own_thread = true,
                                  .storage_cpu = -1, .path = rig->dir};
    char err[256];
    cr_assert_eq(gw_store_open(&env.store, &cfg, err), 0, "%s", err);
    env.client = gw_store_client(env.store, 1);
    env.job_client = gw_store_client(env.store, 2);
    env.stop = &stop;
    cr_assert_eq(gw_control_run(&env), -EADDRINUSE);
    gw_store_free(&env.store);
    int fd = rig_connect(rig);
    json_decref(rig_call(fd, "status", NULL));
    close(fd);
}

CONTROL_TEST(control, what_a_killed_broker_left_is_not_in_the_way)
{
    rig_stop(rig);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, rig->socket, strlen(rig->socket) + 1);
    cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    close(fd);
    rig_start(rig);
    fd = rig_connect(rig);
    json_decref(rig_call(fd, "status", NULL));
    close(fd);
}

/* ---- what it shows of the rest ---- */

CONTROL_TEST(control, counters_are_summed_or_each)
{
    int fd = rig_connect(rig);
    rig->counts[0] = 5;
    rig->counts[1] = 7;
    json_t *r = rig_call(fd, "counters", NULL);
    json_t *net = json_object_get(json_object_get(r, "counters"), "net");
    cr_assert_eq(json_integer_value(json_object_get(net, "frames")), 12);
    json_decref(r);
    r = rig_call(fd, "counters", json_pack("{s:b}", "each", 1));
    net = json_object_get(json_object_get(r, "counters"), "net@1");
    cr_assert_eq(json_integer_value(json_object_get(net, "frames")), 7);
    json_decref(r);
    close(fd);
}

CONTROL_TEST(control, lcore_stat_and_config_show_what_there_is)
{
    int fd = rig_connect(rig);
    rig->states[1].passes = 42;
    rig->states[1].stage_cycles[GW_STAGE_seal] = 9;
    static const struct gw_counter_desc descs[] = {GW_DISPATCH_COUNTERS(GW_COUNTER_DESC)};
    static const uint64_t counts[sizeof(descs) / sizeof(descs[0])] = {1, 20, 300, 4, 50, 600, 7};
    rig->lcores[1].sets[rig->lcores[1].set_count++] = (struct gw_counter_set){
        "dispatch", descs, counts, sizeof(descs) / sizeof(descs[0])};
    json_t *r = rig_call(fd, "lcore.stat", NULL);
    json_t *lcore = json_array_get(json_object_get(r, "lcores"), 1);
    cr_assert_eq(json_integer_value(json_object_get(lcore, "passes")), 42);
    json_t *cycles = json_object_get(lcore, "stage_cycles");
    cr_assert_eq(json_integer_value(json_object_get(cycles, "seal")), 9);
    json_t *frames = json_object_get(lcore, "frames_handed_over");
    cr_assert_eq(json_integer_value(json_object_get(frames, "given")), 20 + 50);
    cr_assert_eq(json_integer_value(json_object_get(frames, "taken")), 300 + 600);
    cr_assert_eq(json_integer_value(json_object_get(frames, "dropped")), 4);
    frames = json_object_get(json_array_get(json_object_get(r, "lcores"), 0), "frames_handed_over");
    cr_assert_eq(json_integer_value(json_object_get(frames, "given")), 0, "it has no dispatch");
    json_decref(r);
    r = rig_call(fd, "config.show", NULL);
    json_t *xmpp = json_object_get(json_object_get(r, "config"), "xmpp");
    cr_assert_str_eq(json_string_value(json_object_get(xmpp, "domain")), "example.org");
    json_decref(r);
    close(fd);
}

/* ---- sessions ---- */

CONTROL_TEST(control, sessions_are_listed_in_pages)
{
    char jid[64], *cursor = NULL;
    unsigned seen = 0, pages = 0;
    for (int i = 0; i < 1500; i++) {
        snprintf(jid, sizeof(jid), "u%d@example.org/phone", i);
        rig_add_session(rig, jid, (unsigned)i % RIG_LCORES);
    }
    int fd = rig_connect(rig);
    do {
        json_t *params = json_pack("{s:i, s:s*}", "limit", 150, "cursor", cursor);
        json_t *r = rig_call(fd, "session.list", params);
        size_t n = json_array_size(json_object_get(r, "sessions"));
        const char *next = json_string_value(json_object_get(r, "next"));
        cr_assert(n <= 150 && (next == NULL || n == 150));
        seen += (unsigned)n;
        pages++;
        free(cursor);
        cursor = next != NULL ? strdup(next) : NULL;
        json_decref(r);
    } while (cursor != NULL);
    cr_assert_eq(seen, 1500);
    cr_assert_eq(pages, 10);
    close(fd);
}

CONTROL_TEST(control, sessions_of_one_account_are_listed_and_ended)
{
    rig_add_session(rig, "alice@example.org/phone", 0);
    rig_add_session(rig, "alice@example.org/desk", 0);
    rig_add_session(rig, "alicex@example.org/desk", 1);
    int fd = rig_connect(rig);
    json_t *r = rig_call(fd, "session.list", rig_account("Alice"));
    json_t *all = json_object_get(r, "sessions");
    cr_assert_eq(json_array_size(all), 2);
    json_t *first = json_array_get(all, 0);
    cr_assert_str_eq(json_string_value(json_object_get(first, "address")), "10.0.0.1");
    cr_assert_eq(json_integer_value(json_object_get(first, "priority")), -3);
    json_decref(r);
    r = rig_call(fd, "session.end", rig_account("alice@example.org"));
    cr_assert_eq(json_integer_value(json_object_get(r, "sessions_ended")), 2);
    json_decref(r);
    rig_expect_error(fd, "session.end", rig_account("alice"), RPC_NOT_FOUND);
    cr_assert_eq(atomic_load(&rig->account_gone), 0);
    close(fd);
}

CONTROL_TEST(control, neighbours_are_listed_in_pages)
{
    int fd = rig_connect(rig);
    char *cursor = NULL;
    unsigned seen = 0;
    do {
        json_t *r = rig_call(fd, "neighbour.list", json_pack("{s:i, s:s*}", "limit", 4, "cursor", cursor));
        json_t *rows = json_object_get(r, "neighbours"), *row;
        size_t i;
        json_array_foreach(rows, i, row) {
            char address[64];
            unsigned lcore = seen / RIG_NEIGHBOURS, at = seen % RIG_NEIGHBOURS;
            snprintf(address, sizeof(address), "fd00::%x", lcore << 8 | (at + 1));
            cr_assert_str_eq(json_string_value(json_object_get(row, "address")), address);
            cr_assert_eq(json_integer_value(json_object_get(row, "lcore")), lcore);
            cr_assert_eq(json_integer_value(json_object_get(row, "heard_ms")), 1000 * at);
            cr_assert_str_eq(json_string_value(json_object_get(row, "state")),
                             at == 0 ? "resolving" : "reachable");
            cr_assert_eq(json_is_null(json_object_get(row, "ethernet")), at == 0);
            seen++;
        }
        cr_assert_leq(json_array_size(rows), 4);
        free(cursor);
        const char *next = json_string_value(json_object_get(r, "next"));
        cursor = next != NULL ? strdup(next) : NULL;
        json_decref(r);
    } while (cursor != NULL);
    cr_assert_eq(seen, RIG_NEIGHBOURS * RIG_LCORES);
    rig_expect_error(fd, "neighbour.list", json_pack("{s:s}", "cursor", "9:0:0"), RPC_PARAMS);
    close(fd);
}

CONTROL_TEST(control, stops_while_a_core_does_not_answer)
{
    int fd = rig_connect(rig);
    rig_add_user(fd, "bob");
    atomic_store(&rig->mute, true);
    rig_send_text(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"user.del\",\"params\":[\"bob\"]}"
                      "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"session.list\"}"
                      "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"status\"}");
    assert_answer(rig_receive(fd), 3);
    atomic_store(&rig->stop, true);
    json_t *a = rig_receive(fd), *b = rig_receive(fd);
    cr_assert(json_object_get(a, "error") != NULL && json_object_get(b, "error") != NULL);
    json_decref(a);
    json_decref(b);
    cr_assert_null(rig_receive(fd));
    close(fd);
}
