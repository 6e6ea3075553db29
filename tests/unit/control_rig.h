/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole control plane to test with: the real control thread on a real socket, the mem engine with
 * its own thread, and a thread that stands in for the dataplane: it commits, and answers commands
 * from a table of sessions.
 */
#ifndef GW_TEST_CONTROL_RIG_H
#define GW_TEST_CONTROL_RIG_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../control/control.h"
#include "../../dataplane/capture.h"
#include "../../storage/event.h"

#define RIG_SESSIONS_MAX 2000
#define RIG_LCORES       2

struct rig_session {
    char jid[128];
    unsigned lcore;
    bool live;
};

struct rig_connection {
    struct gw_tcp_info info;
    char jid[128];
    unsigned lcore;
};

/* A lcore's port: every frame that comes in is answered by one that goes out. */
struct rig_port {
    struct gw_port port; /* first */
    atomic_uint waiting; /* frames that come in while a tap is attached */
    unsigned came;
    uint64_t wall_us;
    uint8_t frame[256];
};

struct rig {
    char dir[64], socket[96], key[96], store_path[96];
    struct gw_config config;
    struct gw_store *store;
    struct gw_keyring *keys;
    struct gw_sealer *sealers[3];
    struct gw_lcore_view lcores[RIG_LCORES];
    struct gw_lcore_state states[RIG_LCORES];
    struct gw_counter_desc descs[1];
    uint64_t counts[RIG_LCORES];
    struct gw_control_env env;
    atomic_bool stop, dataplane_stop;
    atomic_bool mute; /* lcores do not answer */
    pthread_t control, dataplane;
    int control_rc;
    pthread_mutex_t lock;
    struct rig_session sessions[RIG_SESSIONS_MAX];
    unsigned session_count;
    struct rig_connection connections[RIG_SESSIONS_MAX];
    unsigned connection_count;
    struct rig_port ports[RIG_LCORES];
    unsigned scan_max; /* positions looked at in one command */
    struct gw_connection_query query; /* the last that came */
    atomic_uint account_gone; /* END_SESSIONS with it, counted */
};

/* ---- the stand-in for the dataplane ---- */

static inline void rig_sessions(struct rig *rig, unsigned lcore, const struct gw_command *c,
                                struct gw_command_reply *reply)
{
    uint64_t i = c->cursor;
    for (; i < rig->session_count; i++) {
        const struct rig_session *s = &rig->sessions[i];
        if (!s->live || s->lcore != lcore)
            continue;
        size_t jid_len = strlen(s->jid);
        struct gw_session_row row = {.len = (uint32_t)(sizeof(row) + jid_len),
                                     .jid_len = (uint16_t)jid_len,
                                     .port = (uint16_t)(1000 + i),
                                     .ip = gw_ip_from_v4((const uint8_t[4]){10, 0, 0, 1}),
                                     .since_us = 1, .available = true, .priority = -3};
        if (reply->len + ((row.len + 7) & ~7u) > c->data_len)
            break;
        memcpy((char *)c->data + reply->len, &row, sizeof(row));
        memcpy((char *)c->data + reply->len + sizeof(row), s->jid, jid_len);
        reply->len += (row.len + 7) & ~7u;
    }
    reply->next = i;
    reply->more = i < rig->session_count;
}

/* Of the filter only the states count. */
static inline void rig_connections(struct rig *rig, unsigned lcore, const struct gw_command *c,
                                   struct gw_command_reply *reply)
{
    struct gw_connection_query q;
    memcpy(&q, c->data, sizeof(q));
    rig->query = q;
    uint64_t i = c->cursor, end = i + (q.scan_max < rig->scan_max ? q.scan_max : rig->scan_max);
    for (; i < rig->connection_count && i < end && reply->count < q.rows_max; i++) {
        const struct rig_connection *k = &rig->connections[i];
        if (k->lcore != lcore || (q.filter.states != 0 && !(q.filter.states >> k->info.state & 1)))
            continue;
        struct gw_connection_row row = {.len = (uint32_t)(sizeof(row) + strlen(k->jid)),
                                        .position = (uint32_t)i + 1,
                                        .info = k->info,
                                        .jid_len = (uint16_t)strlen(k->jid)};
        uint8_t *out = (uint8_t *)c->data + reply->len;
        cr_assert_leq(reply->len + row.len, c->data_len);
        memcpy(out, &row, sizeof(row));
        memcpy(out + sizeof(row), k->jid, row.jid_len);
        reply->len += (row.len + 7) & ~7u;
        reply->count++;
    }
    reply->next = i;
    reply->more = i < rig->connection_count;
}

static inline unsigned rig_port_rx(struct gw_port *p, struct gw_frame *frames, unsigned max)
{
    struct rig_port *r = (struct rig_port *)p;
    if (atomic_load(&r->waiting) == 0)
        return 0;
    atomic_fetch_sub(&r->waiting, 1);
    /* IPv4 and TCP, to port 5222 and 5223 in turn, numbered behind the headers. */
    memset(r->frame, 0, sizeof(r->frame));
    gw_put_be16(r->frame + 12, 0x0800);
    r->frame[14] = 0x45;
    gw_put_be16(r->frame + 16, sizeof(r->frame) - 14);
    r->frame[23] = 6;
    gw_put_be16(r->frame + 36, (uint16_t)(5222 + r->came % 2));
    r->frame[46] = 0x50;
    memcpy(r->frame + 60, &r->came, sizeof(r->came));
    r->came++;
    frames[0] = (struct gw_frame){.data = r->frame, .len = sizeof(r->frame)};
    return 1;
}

static inline void rig_port_release(struct gw_port *p, struct gw_frame *frames, unsigned n)
{
}

static inline bool rig_port_tx(struct gw_port *p, const void *header, uint32_t header_len,
                               const struct gw_bytes *payload, unsigned count, uint32_t gso_bytes)
{
    return true;
}

static inline unsigned rig_port_flush(struct gw_port *p)
{
    return 0;
}

/* A pass of a lcore that captures. */
static inline unsigned rig_pass(struct rig_port *r)
{
    static const struct gw_port_ops ops = {rig_port_rx, rig_port_release, rig_port_tx,
                                           rig_port_flush};
    struct gw_frame f[GW_PORT_BURST_MAX];
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    r->wall_us = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
    if (r->port.ops == NULL)
        r->port.ops = &ops;
    if (r->port.tap == NULL)
        return 0;
    unsigned n = r->port.ops->rx(&r->port, f, GW_PORT_BURST_MAX);
    for (unsigned i = 0; i < n; i++) {
        struct gw_bytes payload = gw_bytes(f[i].data + 54, f[i].len - 54);
        cr_assert(r->port.ops->tx(&r->port, f[i].data, 54, &payload, 1, 0));
    }
    return n;
}

static inline void rig_end_sessions(struct rig *rig, unsigned lcore, const struct gw_command *c,
                                    struct gw_command_reply *reply)
{
    for (unsigned i = 0; i < rig->session_count; i++) {
        struct rig_session *s = &rig->sessions[i];
        if (s->live && s->lcore == lcore && strncmp(s->jid, c->data, c->data_len) == 0 &&
            s->jid[c->data_len] == '/') {
            s->live = false;
            reply->count++;
        }
    }
    reply->status = reply->count > 0 ? 0 : -ENOENT;
    if (c->account_gone)
        atomic_fetch_add(&rig->account_gone, 1);
}

/* RIG_NEIGHBOURS a core, one position each, three an answer: the address ends in core and position. */
#define RIG_NEIGHBOURS 8u
static inline void rig_neighbours(unsigned lcore, const struct gw_command *c,
                                  struct gw_command_reply *reply)
{
    struct gw_net_neighbour *rows = c->data;
    uint64_t at = c->cursor;
    for (; reply->count < 3 && at < RIG_NEIGHBOURS; at++, reply->count++)
        rows[reply->count] = (struct gw_net_neighbour){
            .ip = {.b = {0xfd, [14] = (uint8_t)lcore, [15] = (uint8_t)(at + 1)}},
            .mac = {at == 0 ? 0 : 2, 0, 0, 0, 0, (uint8_t)at}, /* the first is not found yet */
            .state = at == 0 ? 1 : 2,
            .heard_us = at * 1000000};
    reply->len = reply->count * (uint32_t)sizeof(*rows);
    reply->more = at < RIG_NEIGHBOURS;
    reply->next = at;
}

static inline unsigned rig_answer(struct rig *rig, unsigned lcore)
{
    struct gw_command c;
    if (atomic_load(&rig->mute) || gw_ring_pop(rig->lcores[lcore].command.requests, &c, 1) == 0)
        return 0;
    struct gw_command_reply reply = {.tag = c.tag};
    pthread_mutex_lock(&rig->lock);
    if (c.op == GW_COMMAND_SESSIONS)
        rig_sessions(rig, lcore, &c, &reply);
    else if (c.op == GW_COMMAND_CONNECTIONS)
        rig_connections(rig, lcore, &c, &reply);
    else if (c.op == GW_COMMAND_NEIGHBOURS)
        rig_neighbours(lcore, &c, &reply);
    else if (c.op == GW_COMMAND_CAPTURE_START)
        gw_capture_attach(c.data, &rig->ports[lcore].port, &rig->ports[lcore].wall_us);
    else if (c.op == GW_COMMAND_CAPTURE_STOP)
        gw_capture_detach(c.data);
    else
        rig_end_sessions(rig, lcore, &c, &reply);
    pthread_mutex_unlock(&rig->lock);
    cr_assert(gw_ring_push(rig->lcores[lcore].command.replies, &reply));
    return 1;
}

static inline void *rig_dataplane(void *arg)
{
    struct rig *rig = arg;
    while (!atomic_load(&rig->dataplane_stop)) {
        unsigned work = gw_store_commit_poll(rig->store);
        for (unsigned i = 0; i < RIG_LCORES; i++)
            work += rig_answer(rig, i) + rig_pass(&rig->ports[i]);
        if (work == 0)
            usleep(100);
    }
    return NULL;
}

static inline void rig_add_session(struct rig *rig, const char *jid, unsigned lcore)
{
    pthread_mutex_lock(&rig->lock);
    cr_assert_lt(rig->session_count, RIG_SESSIONS_MAX);
    struct rig_session *s = &rig->sessions[rig->session_count++];
    snprintf(s->jid, sizeof(s->jid), "%s", jid);
    s->lcore = lcore;
    s->live = true;
    pthread_mutex_unlock(&rig->lock);
}

/* One whose fields all differ, in this state (an index into GW_TCP_STATES). */
static inline void rig_add_connection(struct rig *rig, const char *jid, unsigned lcore, uint8_t state)
{
    pthread_mutex_lock(&rig->lock);
    cr_assert_lt(rig->connection_count, RIG_SESSIONS_MAX);
    struct rig_connection *k = &rig->connections[rig->connection_count++];
    snprintf(k->jid, sizeof(k->jid), "%s", jid);
    k->lcore = lcore;
    k->info = (struct gw_tcp_info){
        .tuple = {.local = gw_ip_from_v4((const uint8_t[4]){10, 0, 0, 9}),
                  .remote = {.b = {0xfd, [15] = 1}},
                  .local_port = 5222,
                  .remote_port = (uint16_t)(1000 + rig->connection_count)},
        .state = state, .mode = GW_TCP_MODE_RECOVERY, .rexmit = 1, .backoff = 2, .snd_scale = 7,
        .rcv_scale = 5, .sack = true, .timestamps = true, .congestion_control = "cubic",
        .acked_bytes = 11, .snd_wnd = 12, .rcv_wnd = 13, .mss = 14, .srtt_us = 15000,
        .rttvar_us = 16000, .rto_us = 217000, .rtt_us_min = 18000, .cwnd = 19, .ssthresh = 20,
        .in_flight = 21, .pipe = 22, .resent = 23, .send_bytes = 24, .unsent = 25, .unread = 26,
        .pieces = 27, .ahead = 28, .heard_s = 29, .rexmit_in_us = 30000,
        .timer_in_us = {GW_TCP_TIMER_OFF, GW_TCP_TIMER_OFF, 31000}};
    pthread_mutex_unlock(&rig->lock);
}

/* ---- life ---- */

static inline void *rig_control(void *arg)
{
    struct rig *rig = arg;
    rig->control_rc = gw_control_run(&rig->env);
    return NULL;
}

static inline void rig_write_file(const char *path, const void *data, size_t len, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, data, len), (ssize_t)len);
    close(fd);
}

static inline void rig_open_store(struct rig *rig)
{
    char err[256] = "";
    struct gw_store_config cfg = {.engine = rig->config.store_engine,
                                  .path = rig->store_path,
                                  .client_count = 3,
                                  .requests_max = 1024,
                                  .window_bytes_max = 64 << 20,
                                  .spill_after_us = 100000,
                                  .own_thread = true,
                                  .storage_cpu = -1};
    cr_assert_eq(gw_keyring_open(&rig->keys, rig->key, err), 0, "%s", err);
    cfg.keys = rig->keys;
    cr_assert_eq(gw_store_open(&rig->store, &cfg, err), 0, "%s", err);
}

static inline void rig_open_lcores(struct rig *rig)
{
    rig->descs[0] = (struct gw_counter_desc){"frames", "frames of the test"};
    for (unsigned i = 0; i < RIG_LCORES; i++) {
        struct gw_lcore_view *l = &rig->lcores[i];
        *l = (struct gw_lcore_view){.index = i, .state = &rig->states[i], .set_count = 1};
        l->sets[0] = (struct gw_counter_set){"net", rig->descs, &rig->counts[i], 1};
        cr_assert_eq(gw_ring_open(&l->command.requests, "rq", sizeof(struct gw_command), 64), 0);
        cr_assert_eq(gw_ring_open(&l->command.replies, "rp", sizeof(struct gw_command_reply), 64), 0);
    }
}

static inline bool rig_socket_is_there(const struct rig *rig)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, rig->socket, strlen(rig->socket) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bool there = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
    close(fd);
    return there;
}

/* Store, keys and the control thread; rig->config may have been changed before. */
static inline void rig_start(struct rig *rig)
{
    rig_open_store(rig);
    rig_open_lcores(rig);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(gw_sealer_open(&rig->sealers[i], GW_SEAL_IPSEC_MB, 100 + i), 0);
    rig->env = (struct gw_control_env){.config = &rig->config,
                                       .store = rig->store,
                                       .client = gw_store_client(rig->store, 1),
                                       .job_client = gw_store_client(rig->store, 2),
                                       .keys = rig->keys,
                                       .sealer = rig->sealers[1],
                                       .job_sealer = rig->sealers[2],
                                       .lcores = rig->lcores,
                                       .lcore_count = RIG_LCORES,
                                       .stop = &rig->stop};
    atomic_store(&rig->stop, false);
    atomic_store(&rig->dataplane_stop, false);
    rig->control_rc = 1;
    cr_assert_eq(pthread_create(&rig->dataplane, NULL, rig_dataplane, rig), 0);
    cr_assert_eq(pthread_create(&rig->control, NULL, rig_control, rig), 0);
    while (!rig_socket_is_there(rig) && *(volatile int *)&rig->control_rc == 1)
        usleep(1000);
}

static inline void rig_stop(struct rig *rig)
{
    atomic_store(&rig->stop, true);
    cr_assert_eq(pthread_join(rig->control, NULL), 0);
    atomic_store(&rig->dataplane_stop, true);
    cr_assert_eq(pthread_join(rig->dataplane, NULL), 0);
    for (unsigned i = 0; i < 3; i++)
        gw_sealer_free(&rig->sealers[i]);
    for (unsigned i = 0; i < RIG_LCORES; i++) {
        gw_ring_free(&rig->lcores[i].command.requests);
        gw_ring_free(&rig->lcores[i].command.replies);
    }
    gw_store_free(&rig->store);
    gw_keyring_free(&rig->keys);
}

static inline void rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    pthread_mutex_init(&rig->lock, NULL);
    rig->scan_max = 100;
    snprintf(rig->dir, sizeof(rig->dir), "/tmp/godwit-control-XXXXXX");
    cr_assert_not_null(mkdtemp(rig->dir));
    snprintf(rig->socket, sizeof(rig->socket), "%s/control.sock", rig->dir);
    snprintf(rig->key, sizeof(rig->key), "%s/master.key", rig->dir);
    snprintf(rig->store_path, sizeof(rig->store_path), "%s/store", rig->dir);
    uint8_t key[32] = {7};
    rig_write_file(rig->key, key, sizeof(key), 0600);
    static char domain[] = "example.org", device[] = "none", engine[] = "mem";
    rig->config = (struct gw_config){.domain = domain,
                                     .port_device = device,
                                     .store_engine = engine,
                                     .store_path = rig->store_path,
                                     .master_key_path = rig->key,
                                     .control_socket = rig->socket,
                                     .scram_iterations = 4096,
                                     .ledger_age_s = 86400,
                                     .backup_keep = 3,
                                     .incarnation_age_s = 604800,
                                     .addresses = {{gw_ip_from_v4((const uint8_t[4]){10, 0, 0, 9}),
                                                    96 + 24}},
                                     .address_count = 1};
}

static inline void rig_remove(struct rig *rig)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", rig->dir);
    cr_assert_eq(system(command), 0);
}

/* A Criterion test with a control plane that runs. */
#define CONTROL_TEST(suite, name)                                                                  \
    static void suite##_##name(struct rig *rig);                                                   \
    Test(suite, name, .timeout = 120)                                                              \
    {                                                                                              \
        struct rig *rig = malloc(sizeof(*rig));                                                    \
        rig_init(rig);                                                                             \
        rig_start(rig);                                                                            \
        suite##_##name(rig);                                                                       \
        rig_stop(rig);                                                                             \
        cr_assert_eq(rig->control_rc, 0);                                                          \
        rig_remove(rig);                                                                           \
        free(rig);                                                                                 \
    }                                                                                              \
    static void suite##_##name(struct rig *rig)

/* ---- a client ---- */

static inline int rig_connect(const struct rig *rig)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, rig->socket, strlen(rig->socket) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0, "%s", strerror(errno));
    return fd;
}

static inline void rig_send_text(int fd, const char *text)
{
    size_t len = strlen(text);
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        cr_assert_gt(n, 0);
        text += n;
        len -= (size_t)n;
    }
}

/* The file's descriptor goes along. */
static inline void rig_send_with_file(int fd, char *text, int file)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec v = {.iov_base = text, .iov_len = strlen(text)};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.bytes,
                       .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &file, sizeof(int));
    cr_assert_eq(sendmsg(fd, &m, 0), (ssize_t)strlen(text));
}

/* The next line as JSON; NULL when the broker has closed. */
static inline json_t *rig_receive(int fd)
{
    char *line = NULL, piece[16384];
    size_t len;
    FILE *f = open_memstream(&line, &len);
    const char *newline = NULL;
    ssize_t n;
    while (newline == NULL && (n = recv(fd, piece, sizeof(piece), MSG_PEEK)) > 0) {
        newline = memchr(piece, '\n', (size_t)n);
        n = newline != NULL ? newline + 1 - piece : n;
        cr_assert_eq(recv(fd, piece, (size_t)n, 0), n);
        fwrite(piece, 1, (size_t)n, f);
    }
    fclose(f);
    json_t *m = newline != NULL ? json_loads(line, 0, NULL) : NULL;
    cr_assert(newline == NULL || m != NULL, "no JSON: %s", line);
    free(line);
    return m;
}

/* The broker's thread has given jansson an allocator of its own. */
static inline void rig_free_text(char *text)
{
    json_malloc_t m;
    json_free_t f;
    json_get_alloc_funcs(&m, &f);
    f(text);
}

/* Steals params. The whole answer. */
static inline json_t *rig_ask(int fd, const char *method, json_t *params)
{
    static int id;
    json_t *rq = json_pack("{s:s, s:i, s:s, s:o*}", "jsonrpc", "2.0", "id", ++id, "method", method,
                           "params", params);
    char *text = json_dumps(rq, 0);
    rig_send_text(fd, text);
    rig_send_text(fd, "\n");
    rig_free_text(text);
    json_decref(rq);
    json_t *answer = rig_receive(fd);
    cr_assert_not_null(answer);
    cr_assert_eq(json_integer_value(json_object_get(answer, "id")), id);
    return answer;
}

/* The result, of which the caller gets a reference. */
static inline json_t *rig_call(int fd, const char *method, json_t *params)
{
    json_t *answer = rig_ask(fd, method, params);
    json_t *result = json_incref(json_object_get(answer, "result"));
    cr_assert_not_null(result, "%s: %s", method, json_dumps(answer, 0));
    json_decref(answer);
    return result;
}

static inline void rig_expect_error(int fd, const char *method, json_t *params, int code)
{
    json_t *answer = rig_ask(fd, method, params);
    json_t *error = json_object_get(answer, "error");
    cr_assert_not_null(error, "%s: %s", method, json_dumps(answer, 0));
    cr_assert_eq(json_integer_value(json_object_get(error, "code")), code, "%s",
                 json_dumps(error, 0));
    cr_assert(json_is_string(json_object_get(error, "message")));
    json_decref(answer);
}

static inline json_t *rig_account(const char *name)
{
    return json_pack("{s:s}", "account", name);
}

static inline void rig_add_user(int fd, const char *name)
{
    json_decref(rig_call(fd, "user.add", json_pack("{s:s, s:s}", "account", name, "password",
                                                   "correct horse")));
}

#endif
