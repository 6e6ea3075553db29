/* SPDX-License-Identifier: Apache-2.0 */
/* Captures through the control socket: who may, what stands in the file, and how they end. */
#include "control_rig.h"

#include <pcap/pcap.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "../../control/capture_filter.h"
#include "../../control/rpc.h"

/* ---- filters ---- */

Test(capture_filter, the_language_without_names)
{
    static const char *const good[] = {
        "", " ", "tcp port 5222", "host 10.77.0.2 and not port 22", "net 10.77", "net 10.0.0.0/8",
        "net 10.0.0.0 mask 255.0.0.0", "ip6 host fd00::1", "net fd00::/16", "src host ::1",
        "ether host 02:00:00:00:00:01", "ether proto 0x0806", "arp or icmp or icmp6",
        "portrange 5222-5230", "tcp dst portrange 1-2", "tcp[tcpflags] & (tcp-syn|tcp-rst) != 0",
        "tcp[12:1] & 0xf0 != 0", "ip[2:2] - 20 > 100", "len <= 60", "less 100", "greater 1000",
        "vlan 5", "(udp)&&!(port 53)", "ether multicast", "ip proto 6", "tcp[13] = 2"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct bpf_program p;
        char err[256] = "";
        cr_assert_eq(capture_filter_compile(good[i], &p, err), 0, "%s: %s", good[i], err);
        pcap_freecode(&p);
    }
}

/* What libpcap would ask the resolver for, and what it does not understand either. */
Test(capture_filter, names_and_nonsense_are_refused)
{
    static const struct {
        const char *text, *why;
    } bad[] = {{"host www.example.org", "www.example.org is no word"},
               {"host a", "a is no word"},
               {"port http", "http is no word"},
               {"net loopback", "loopback is no word"},
               {"host 1.2.3.4.5", "1.2.3.4.5 is no word"},
               {"host 1-2", "1-2 is no word"},
               {"host 12.", "12. is no word"},
               {"host ab:cd", "ab:cd is no word"},
               {"gateway 10.0.0.1", "gateway is no word"},
               {"ip protochain 6", "protochain is no word"},
               {"host \\tcp", "\\ is no character"},
               {"host 'x'", "' is no character"},
               {"host \xc3\xa4", "is no character"},
               {"host 02:00:00:00:00:01:02", "is no word"},
               {"tcp port", "syntax error"},
               {"tcp and", "syntax error"},
               {"port 99999", "illegal port"},
               {"ip6 host 10.0.0.1", "modifier applied"},
               {"tcp[", "syntax error"},
               {"inbound", "inbound is no word"}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct bpf_program p;
        char err[256] = "";
        cr_assert_eq(capture_filter_compile(bad[i].text, &p, err), -EINVAL, "%s", bad[i].text);
        cr_assert_not_null(strstr(err, bad[i].why), "%s: %s", bad[i].text, err);
    }
}

Test(capture_filter, what_takes_too_long_for_a_frame_is_refused)
{
    char text[1001] = "", err[256] = "";
    struct bpf_program p;
    for (unsigned i = 1; strlen(text) < 980; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%shost ::%u",
                 i > 1 ? " or " : "", i);
    cr_assert_eq(capture_filter_compile(text, &p, err), -EINVAL);
    cr_assert_not_null(strstr(err, "instructions, at most 512"), "%s", err);
    text[strlen("host ::1 or host ::2")] = '\0';
    cr_assert_eq(capture_filter_compile(text, &p, err), 0, "%s", err);
    pcap_freecode(&p);
}

/* ---- a client ---- */

static json_t *start(int fd, int file, const char *more)
{
    char text[2048];
    snprintf(text, sizeof(text),
             "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pcap.start\",\"params\":{\"file\":true%s}}\n",
             more);
    rig_send_with_file(fd, text, file);
    json_t *a = rig_receive(fd);
    cr_assert_not_null(a);
    return a;
}

static void expect_started(json_t *a)
{
    cr_assert_not_null(json_object_get(a, "result"), "%s", json_dumps(a, 0));
    json_decref(a);
}

static void expect_refused(json_t *a, int code, const char *why)
{
    json_t *e = json_object_get(a, "error");
    cr_assert_eq(json_integer_value(json_object_get(e, "code")), code, "%s", json_dumps(a, 0));
    const char *message = json_string_value(json_object_get(e, "message"));
    cr_assert_not_null(strstr(message, why), "%s", message);
    json_decref(a);
}

static json_int_t number(const json_t *o, const char *name)
{
    return json_integer_value(json_object_get(o, name));
}

static const char *text(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

/* The last progress. */
static json_t *until_end(int fd)
{
    for (;;) {
        json_t *m = rig_receive(fd);
        cr_assert_not_null(m);
        json_t *d = json_incref(json_object_get(m, "params"));
        cr_assert_str_eq(text(m, "method"), "job.progress");
        json_decref(m);
        if (json_is_true(json_object_get(d, "ended")))
            return d;
        json_decref(d);
    }
}

static json_t *status(int fd)
{
    return rig_call(fd, "pcap.status", NULL);
}

static bool is_running(int fd)
{
    json_t *s = status(fd);
    bool running = json_is_true(json_object_get(s, "running"));
    json_decref(s);
    return running;
}

static void wait_for_frames(int fd, json_int_t count)
{
    json_int_t now;
    do {
        json_t *s = status(fd);
        now = number(json_object_get(s, "capture"), "frames");
        json_decref(s);
    } while (now < count);
}

static void frames_come(struct rig *rig, unsigned each)
{
    for (unsigned i = 0; i < RIG_LCORES; i++)
        atomic_fetch_add(&rig->ports[i].waiting, each);
}

static int new_file(const struct rig *rig, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    cr_assert_geq(fd, 0);
    return fd;
}

static void allow(struct rig *rig)
{
    rig->config.capture = true;
}

/* With a configuration that allows captures. */
#define PCAP_TEST(name)                                                                            \
    static void name(struct rig *rig);                                                             \
    Test(pcap, name, .timeout = 120)                                                               \
    {                                                                                              \
        struct rig *rig = malloc(sizeof(*rig));                                                    \
        rig_init(rig);                                                                             \
        allow(rig);                                                                                \
        rig_start(rig);                                                                            \
        name(rig);                                                                                 \
        rig_stop(rig);                                                                             \
        cr_assert_eq(rig->control_rc, 0);                                                          \
        rig_remove(rig);                                                                           \
        free(rig);                                                                                 \
    }                                                                                              \
    static void name(struct rig *rig)

/* ---- what stands in a file ---- */

struct content {
    unsigned interfaces, frames, in, out, statistics;
    unsigned to_5222;
    uint64_t received, dropped;
    uint32_t longest;
};

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static uint64_t option64(const uint8_t *at, const uint8_t *end, uint16_t wanted)
{
    while (at + 4 <= end) {
        uint16_t code, len;
        uint64_t v = 0;
        memcpy(&code, at, 2);
        memcpy(&len, at + 2, 2);
        cr_assert_leq(at + 4 + len, end);
        memcpy(&v, at + 4, len < 8 ? len : 8);
        if (code == wanted)
            return v;
        if (code == 0)
            break;
        at += 4 + ((len + 3) & ~3);
    }
    cr_assert_fail("no option %u", wanted);
    return 0;
}

static void count_frame(struct content *c, const uint8_t *b, uint32_t len)
{
    uint32_t kept = get32(b + 20);
    uint64_t flags = option64(b + 28 + ((kept + 3) & ~3u), b + len - 4, 2);
    cr_assert_lt(get32(b + 8), c->interfaces);
    c->frames++;
    c->in += flags == 1;
    c->out += flags == 2;
    c->to_5222 += gw_be16(b + 28 + 36) == 5222;
    c->longest = kept > c->longest ? kept : c->longest;
}

/* Block by block: each is whole, and there is nothing behind the last. */
static struct content read_blocks(const uint8_t *p, size_t len)
{
    struct content c = {0};
    for (size_t at = 0; at < len;) {
        const uint8_t *b = p + at;
        uint32_t n = get32(b + 4), type = get32(b);
        cr_assert(n >= 12 && n % 4 == 0 && n <= len - at && get32(b + n - 4) == n);
        cr_assert_eq(at == 0, type == 0x0a0d0d0a);
        c.interfaces += type == 1;
        if (type == 6)
            count_frame(&c, b, n);
        if (type == 5) {
            c.statistics++;
            c.received += option64(b + 20, b + n - 4, 4);
            c.dropped += option64(b + 20, b + n - 4, 5);
        }
        at += n;
    }
    return c;
}

/* libpcap must find the same. */
static void assert_readable(int fd, const struct content *c)
{
    char path[64], err[PCAP_ERRBUF_SIZE];
    struct pcap_pkthdr *head;
    const u_char *data;
    unsigned n = 0;
    int rc;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    pcap_t *p = pcap_open_offline(path, err);
    cr_assert_not_null(p, "%s", err);
    cr_assert_eq(pcap_datalink(p), DLT_EN10MB);
    while ((rc = pcap_next_ex(p, &head, &data)) == 1) {
        cr_assert(head->ts.tv_sec > 1000000000 && head->len == 256);
        n++;
    }
    cr_assert_eq(rc, PCAP_ERROR_BREAK, "%s", pcap_geterr(p));
    cr_assert_eq(n, c->frames);
    pcap_close(p);
}

static struct content read_file(int fd)
{
    static uint8_t all[8 << 20];
    cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
    ssize_t len = read(fd, all, sizeof(all));
    cr_assert(len > 0 && len < (ssize_t)sizeof(all));
    struct content c = read_blocks(all, (size_t)len);
    assert_readable(fd, &c);
    return c;
}

/* ---- the tests ---- */

PCAP_TEST(both_directions_of_all_cores_until_stopped)
{
    int fd = rig_connect(rig), other = rig_connect(rig), file = new_file(rig, "a");
    expect_started(start(fd, file, ",\"seconds\":600"));
    frames_come(rig, 500);
    wait_for_frames(other, 2000);
    json_t *stopped = rig_call(other, "pcap.stop", NULL), *last = until_end(fd);
    /* The file is complete when stop is answered. */
    struct content c = read_file(file);
    cr_assert_eq(c.interfaces, RIG_LCORES);
    cr_assert_eq(c.statistics, RIG_LCORES);
    cr_assert(c.frames == 2000 && c.in == 1000 && c.out == 1000, "%u %u %u", c.frames, c.in, c.out);
    cr_assert_eq(c.to_5222, 1000);
    cr_assert(c.received == 2000 && c.dropped == 0);
    cr_assert_eq(c.longest, 256);
    cr_assert_str_eq(text(stopped, "state"), "cancelled");
    cr_assert_not_null(strstr(text(last, "note"), "it was stopped"), "%s", text(last, "note"));
    cr_assert_eq(number(last, "frames"), 2000);
    cr_assert_eq(number(last, "bytes"), lseek(file, 0, SEEK_END));
    cr_assert_not(is_running(other));
    for (unsigned i = 0; i < RIG_LCORES; i++)
        cr_assert_null(rig->ports[i].port.tap);
    rig_expect_error(other, "pcap.stop", NULL, RPC_NOT_FOUND);
    json_decref(stopped);
    json_decref(last);
    close(fd);
    close(other);
    close(file);
}

PCAP_TEST(a_filter_and_a_snap_length)
{
    int fd = rig_connect(rig), other = rig_connect(rig), file = new_file(rig, "a");
    expect_started(start(fd, file, ",\"filter\":\"tcp dst port 5222\",\"snaplen\":64"));
    frames_come(rig, 100);
    wait_for_frames(other, 200);
    json_decref(rig_call(other, "pcap.stop", NULL));
    struct content c = read_file(file);
    cr_assert(c.frames == 200 && c.to_5222 == 200);
    cr_assert_eq(c.longest, 64);
    json_t *s = status(other), *last = json_object_get(s, "capture");
    cr_assert_str_eq(text(last, "filter"), "tcp dst port 5222");
    cr_assert_eq(number(last, "snaplen"), 64);
    json_decref(s);
    close(fd);
    close(other);
    close(file);
}

PCAP_TEST(ends_when_its_time_is_over)
{
    int fd = rig_connect(rig), file = new_file(rig, "a");
    expect_started(start(fd, file, ",\"seconds\":1"));
    json_t *last = until_end(fd);
    cr_assert_str_eq(text(last, "state"), "done");
    cr_assert_not_null(strstr(text(last, "note"), "its time is over"));
    cr_assert_eq(read_file(file).statistics, RIG_LCORES);
    json_decref(last);
    close(fd);
    close(file);
}

PCAP_TEST(ends_before_its_size_is_exceeded)
{
    int fd = rig_connect(rig), file = new_file(rig, "a");
    expect_started(start(fd, file, ",\"bytes\":65536"));
    frames_come(rig, 500);
    json_t *last = until_end(fd);
    cr_assert_str_eq(text(last, "state"), "done");
    cr_assert_not_null(strstr(text(last, "note"), "its size is reached"));
    struct content c = read_file(file);
    cr_assert_eq(c.statistics, RIG_LCORES);
    off_t len = lseek(file, 0, SEEK_END);
    cr_assert(len <= 65536 && len > 65000, "%ld", (long)len);
    cr_assert_gt(c.frames, 200);
    json_decref(last);
    close(fd);
    close(file);
}

PCAP_TEST(one_at_a_time)
{
    int fd = rig_connect(rig), other = rig_connect(rig), file = new_file(rig, "a");
    int second = new_file(rig, "b");
    expect_started(start(fd, file, ""));
    expect_refused(start(other, second, ""), RPC_BUSY, "a capture is under way");
    json_decref(rig_call(other, "pcap.stop", NULL));
    expect_started(start(other, second, ""));
    close(fd);
    close(other);
    close(file);
    close(second);
}

PCAP_TEST(ends_with_its_client)
{
    int fd = rig_connect(rig), other = rig_connect(rig), file = new_file(rig, "a");
    expect_started(start(fd, file, ",\"seconds\":600"));
    frames_come(rig, 10);
    wait_for_frames(other, 40);
    close(fd);
    while (is_running(other))
        usleep(1000);
    struct content c = read_file(file);
    cr_assert(c.frames == 40 && c.statistics == RIG_LCORES);
    close(other);
    close(file);
}

PCAP_TEST(job_cancel_ends_it_too)
{
    int fd = rig_connect(rig), other = rig_connect(rig), file = new_file(rig, "a");
    expect_started(start(fd, file, ""));
    json_t *s = status(other);
    json_decref(rig_call(other, "job.cancel", json_pack("{s:I}", "job",
                                                        number(json_object_get(s, "capture"), "job"))));
    json_decref(until_end(fd));
    json_decref(s);
    close(fd);
    close(other);
    close(file);
}

PCAP_TEST(what_is_wrong_is_said)
{
    int fd = rig_connect(rig), file = new_file(rig, "a"), pipe_ends[2];
    char path[128];
    expect_refused(start(fd, file, ",\"filter\":\"host example.org\""), RPC_PARAMS, "example.org");
    expect_refused(start(fd, file, ",\"filter\":\"tcp port\""), RPC_PARAMS, "syntax error");
    expect_refused(start(fd, file, ",\"bytes\":1"), RPC_PARAMS, "bytes");
    expect_refused(start(fd, file, ",\"seconds\":0"), RPC_PARAMS, "seconds");
    expect_refused(start(fd, file, ",\"snaplen\":65536"), RPC_PARAMS, "snaplen");
    snprintf(path, sizeof(path), "%s/a", rig->dir);
    int reading = open(path, O_RDONLY);
    expect_refused(start(fd, reading, ""), RPC_PARAMS, "not open for writing");
    cr_assert_eq(write(file, "x", 1), 1);
    expect_refused(start(fd, file, ""), RPC_PARAMS, "not empty");
    cr_assert_eq(pipe(pipe_ends), 0);
    expect_refused(start(fd, pipe_ends[1], ""), RPC_PARAMS, "neither a regular file nor a socket");
    int datagrams = socket(AF_UNIX, SOCK_DGRAM, 0);
    expect_refused(start(fd, datagrams, ""), RPC_PARAMS, "no stream");
    rig_expect_error(fd, "pcap.start", json_pack("{s:b}", "file", 1), RPC_PARAMS);
    cr_assert_not(is_running(fd));
    close(reading);
    close(datagrams);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    close(fd);
    close(file);
}

/* The disk takes no more: the file ends behind a whole frame. */
PCAP_TEST(a_full_disk)
{
    int fd = rig_connect(rig), file = new_file(rig, "a");
    struct rlimit limit = {100001, 100001};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    expect_started(start(fd, file, ""));
    frames_come(rig, 1000);
    json_t *last = until_end(fd);
    cr_assert_str_eq(text(last, "state"), "failed");
    cr_assert_not_null(strstr(text(last, "note"), "File too large"), "%s", text(last, "note"));
    struct content c = read_file(file);
    cr_assert_gt(c.frames, 250);
    cr_assert_eq(number(last, "bytes"), lseek(file, 0, SEEK_END));
    cr_assert_eq(number(last, "frames"), c.frames);
    cr_assert_not(is_running(fd));
    json_decref(last);
    close(fd);
    close(file);
}

/* ---- to a socket ---- */

struct reader {
    int fd;
    uint8_t *all;
    size_t len;
};

static void *read_to_end(void *arg)
{
    struct reader *r = arg;
    ssize_t n;
    r->all = malloc(16 << 20);
    while ((n = read(r->fd, r->all + r->len, (16 << 20) - r->len)) > 0)
        r->len += (size_t)n;
    return NULL;
}

/* A reader that comes late: what does not fit into the rings meanwhile is counted. */
PCAP_TEST(a_reader_that_does_not_read_costs_frames_and_nothing_else)
{
    int fd = rig_connect(rig), other = rig_connect(rig), ends[2];
    pthread_t thread;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    expect_started(start(fd, ends[1], ",\"seconds\":600"));
    close(ends[1]);
    frames_come(rig, 20000); /* twice 10 MiB */
    while (atomic_load(&rig->ports[0].waiting) + atomic_load(&rig->ports[1].waiting) > 0)
        usleep(1000);
    struct reader r = {.fd = ends[0]};
    cr_assert_eq(pthread_create(&thread, NULL, read_to_end, &r), 0);
    json_decref(rig_call(other, "pcap.stop", NULL));
    json_t *last = until_end(fd);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    struct content c = read_blocks(r.all, r.len);
    cr_assert_eq(c.received, 80000);
    cr_assert_gt(c.dropped, 0);
    cr_assert_gt(c.frames, 0);
    cr_assert_eq(number(last, "dropped"), (json_int_t)c.dropped);
    json_t *counters = rig_call(other, "counters", NULL);
    const json_t *group = json_object_get(json_object_get(counters, "counters"), "capture");
    cr_assert_eq(number(group, "dropped"), (json_int_t)c.dropped);
    cr_assert_eq(number(group, "frames"), c.frames);
    cr_assert_eq(number(group, "bytes"), (json_int_t)r.len);
    cr_assert_eq(number(group, "started"), 1);
    json_decref(counters);
    json_decref(last);
    free(r.all);
    close(ends[0]);
    close(fd);
    close(other);
}

PCAP_TEST(a_reader_that_goes_ends_it)
{
    int fd = rig_connect(rig), ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    expect_started(start(fd, ends[1], ",\"seconds\":600"));
    close(ends[1]);
    close(ends[0]);
    frames_come(rig, 10);
    json_t *last = until_end(fd);
    cr_assert_str_eq(text(last, "state"), "failed");
    cr_assert_not_null(strstr(text(last, "note"), "Broken pipe"));
    json_decref(last);
    close(fd);
}

/* ---- cores that do not answer, and the broker's end ---- */

/* What a core may still touch is not freed, and nothing else begins before it has let go. */
PCAP_TEST(a_core_that_does_not_answer)
{
    int fd = rig_connect(rig), file = new_file(rig, "a"), second = new_file(rig, "b");
    atomic_store(&rig->mute, true);
    expect_refused(start(fd, file, ""), RPC_TIMEOUT, "did not begin to capture");
    atomic_store(&rig->mute, false);
    while (is_running(fd))
        usleep(1000);
    expect_started(start(fd, second, ""));
    close(fd);
    close(file);
    close(second);
}

/* The file is whole in either case; what a mute core holds is left to it. */
static void stop_in_the_middle(bool mute)
{
    struct rig *rig = malloc(sizeof(*rig));
    rig_init(rig);
    allow(rig);
    rig_start(rig);
    int fd = rig_connect(rig), other = rig_connect(rig), file = new_file(rig, "a");
    expect_started(start(fd, file, ",\"seconds\":600"));
    frames_come(rig, 100);
    wait_for_frames(other, 400);
    atomic_store(&rig->mute, mute);
    rig_stop(rig);
    cr_assert_eq(rig->control_rc, 0);
    struct content c = read_file(file);
    cr_assert(c.frames == 400 && c.statistics == RIG_LCORES);
    for (unsigned i = 0; i < RIG_LCORES; i++)
        cr_assert_eq(rig->ports[i].port.tap != NULL, mute);
    close(fd);
    close(other);
    close(file);
    rig_remove(rig);
    free(rig);
}

Test(pcap, the_broker_ends, .timeout = 60)
{
    stop_in_the_middle(false);
}

Test(pcap, the_broker_ends_while_a_core_does_not_answer, .timeout = 60)
{
    stop_in_the_middle(true);
}

/* ---- who may ---- */

/* Another user, with this group alone; root can become one, for this thread. */
static int connect_as(uid_t uid, gid_t gid, const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    gid_t before[64], own = getegid();
    int count = getgroups(64, before);
    cr_assert_geq(count, 0);
    if (geteuid() == 0) {
        cr_assert_eq(syscall(SYS_setgroups, 1, &gid), 0);
        cr_assert_eq(syscall(SYS_setresgid, -1, own + 4000, -1), 0);
        cr_assert_eq(syscall(SYS_setresuid, -1, uid, -1), 0);
    }
    cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0, "%s", strerror(errno));
    if (geteuid() != getuid()) {
        cr_assert_eq(syscall(SYS_setresuid, -1, 0, -1), 0);
        cr_assert_eq(syscall(SYS_setresgid, -1, own, -1), 0);
        cr_assert_eq(syscall(SYS_setgroups, count, before), 0);
    }
    return fd;
}

/* A user who may control the broker captures when his group is named, be it his first or another. */
Test(pcap, the_acting_group_decides, .timeout = 60)
{
    struct rig *rig = malloc(sizeof(*rig));
    rig_init(rig);
    allow(rig);
    bool root = geteuid() == 0;
    uid_t uid = root ? 4711 : geteuid();
    gid_t group = root ? 4712 : getegid();
    rig->config.control_uids[0] = uid;
    rig->config.control_uid_count = 1;
    cr_assert_eq(chmod(rig->dir, 0755), 0);
    for (int named = 0; named <= 1; named++) {
        rig->config.capture_gids[0] = group + !named;
        rig->config.capture_gid_count = 1;
        rig_start(rig);
        int fd = connect_as(uid, group, rig->socket), file = new_file(rig, named ? "b" : "a");
        json_t *a = start(fd, file, "");
        /* Who is not root cannot become somebody else: the broker's own user may always. */
        if (named || !root)
            expect_started(a);
        else
            expect_refused(a, RPC_DENIED, "this user may not capture");
        close(fd);
        close(file);
        rig_stop(rig);
        cr_assert_eq(rig->control_rc, 0);
    }
    rig_remove(rig);
    free(rig);
}

CONTROL_TEST(pcap, only_where_the_configuration_allows_it)
{
    int fd = rig_connect(rig), file = new_file(rig, "a");
    expect_refused(start(fd, file, ""), RPC_DENIED, "allows no captures");
    json_t *s = status(fd);
    cr_assert(json_is_false(json_object_get(s, "enabled")));
    cr_assert(json_is_false(json_object_get(s, "allowed")));
    cr_assert_null(json_object_get(s, "capture"));
    json_decref(s);
    json_t *counters = rig_call(fd, "counters", NULL);
    cr_assert_eq(number(json_object_get(json_object_get(counters, "counters"), "capture"), "denied"), 1);
    json_decref(counters);
    close(fd);
    close(file);
}
