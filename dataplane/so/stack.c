/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C interface of libgodwit-tcp.so (include/godwit_tcp.h) over the TCP of one core. Everything a
 * caller can get wrong is looked at here, since below a broken rule is the end of the process.
 */
#include "godwit_tcp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "../tcp/info.h"
#include "../tcp/stack.h"
#include "packet.h"

#define EXPORT __attribute__((visibility("default")))

enum { ADDRESSES_MAX = 16, MTU_MIN = 1280, MTU_MAX = 9216 };

/* What the caller knows of a connection, by its index. */
struct user {
    bool known, eof, active;
};

struct gw_stack {
    struct gw_tcp *tcp;
    struct gw_arena *arena;
    struct gw_stack_upcalls up;
    void *ctx;
    uint64_t now_us;
    uint32_t connections_max;
    struct gw_ip addresses[ADDRESSES_MAX];
    unsigned address_count;
    struct user *users;
    /* gw_stack_recv in progress: the next bytes of this connection go there. */
    uint32_t reader;
    uint8_t *into;
    size_t into_room, into_len;
    uint8_t packet[PACKET_BYTES_MAX];
};

/* ---- versions of the caller's structures ---- */

/* A structure of ours from one of the caller's that may be shorter, or longer with zeros behind. */
static int take(void *ours, size_t ours_bytes, const void *theirs, size_t theirs_bytes)
{
    if (theirs_bytes < sizeof(size_t))
        return -EINVAL;
    const uint8_t *p = theirs;
    for (size_t i = ours_bytes; i < theirs_bytes; i++)
        if (p[i] != 0)
            return -EINVAL;
    memset(ours, 0, ours_bytes);
    memcpy(ours, theirs, theirs_bytes < ours_bytes ? theirs_bytes : ours_bytes);
    return 0;
}

/* The other way; the caller's size stays as it is. */
static int give(void *theirs, size_t theirs_bytes, const void *ours, size_t ours_bytes)
{
    if (theirs_bytes < sizeof(size_t))
        return -EINVAL;
    uint8_t *p = theirs;
    size_t n = theirs_bytes < ours_bytes ? theirs_bytes : ours_bytes;
    memcpy(p + sizeof(size_t), (const uint8_t *)ours + sizeof(size_t), n - sizeof(size_t));
    memset(p + n, 0, theirs_bytes - n);
    return 0;
}

/* ---- addresses ---- */

static bool read_address(const char *text, struct gw_ip *out)
{
    uint8_t v4[4];
    if (inet_pton(AF_INET, text, v4) == 1) {
        *out = gw_ip_from_v4(v4);
        return true;
    }
    return inet_pton(AF_INET6, text, out->b) == 1 && !gw_ip_is_v4(out);
}

static bool read_endpoint(const struct gw_stack_endpoint *e, struct gw_ip *ip)
{
    return e->port != 0 && memchr(e->address, '\0', sizeof(e->address)) != NULL &&
           read_address(e->address, ip);
}

static bool read_tuple(const struct gw_stack_endpoint *local,
                       const struct gw_stack_endpoint *remote, struct gw_tcp_tuple *t)
{
    t->local_port = local->port;
    t->remote_port = remote->port;
    return read_endpoint(local, &t->local) && read_endpoint(remote, &t->remote) &&
           gw_ip_is_v4(&t->local) == gw_ip_is_v4(&t->remote);
}

static struct gw_stack_endpoint write_endpoint(const struct gw_ip *ip, uint16_t port)
{
    struct gw_stack_endpoint e = {.port = port};
    bool v4 = gw_ip_is_v4(ip);
    check(inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? ip->b + 12 : ip->b, e.address,
                    sizeof(e.address)) != NULL);
    return e;
}

static bool is_ours(const struct gw_stack *s, const struct gw_ip *ip)
{
    for (unsigned i = 0; i < s->address_count; i++)
        if (gw_ip_eq(&s->addresses[i], ip))
            return true;
    return false;
}

/* ---- what the stack tells ---- */

static bool on_established(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    struct gw_stack *s = ctx;
    struct user *u = &s->users[c];
    *u = (struct user){.known = true, .active = u->known && u->active};
    if (s->up.established == NULL)
        return true;
    struct gw_stack_endpoint local = write_endpoint(&t->local, t->local_port);
    struct gw_stack_endpoint remote = write_endpoint(&t->remote, t->remote_port);
    bool wanted = s->up.established(s->ctx, c, &local, &remote, u->active);
    u->known = wanted || u->active;
    return wanted;
}

static size_t read_into(struct gw_stack *s, const uint8_t *p, size_t len)
{
    size_t room = s->into_room - s->into_len, n = len < room ? len : room;
    memcpy(s->into + s->into_len, p, n);
    s->into_len += n;
    return n;
}

static size_t on_data(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    struct gw_stack *s = ctx;
    if (s->reader == c)
        return read_into(s, p, len);
    if (s->up.data == NULL)
        return 0;
    size_t n = s->up.data(s->ctx, c, p, len);
    return n < len ? n : len;
}

static void on_peer_closed(void *ctx, gw_conn c)
{
    struct gw_stack *s = ctx;
    s->users[c].eof = true;
    if (s->up.peer_closed != NULL)
        s->up.peer_closed(s->ctx, c);
}

static void on_acked(void *ctx, gw_conn c, uint64_t acked)
{
    struct gw_stack *s = ctx;
    if (s->up.acked != NULL)
        s->up.acked(s->ctx, c, acked);
}

static void on_closed(void *ctx, gw_conn c, enum gw_tcp_close_reason why)
{
    struct gw_stack *s = ctx;
    _Static_assert((int)GW_TCP_CLOSED_DONE == (int)GW_STACK_END_DONE &&
                       (int)GW_TCP_CLOSED_UNREACHABLE == (int)GW_STACK_END_UNREACHABLE,
                   "the same list");
    s->users[c] = (struct user){.known = false};
    if (s->up.closed != NULL)
        s->up.closed(s->ctx, c, (enum gw_stack_end)why);
}

static void on_deadline(void *ctx, gw_conn c)
{
    (void)ctx;
    (void)c;
}

static bool on_emit(void *ctx, const struct gw_tcp_segment *g)
{
    struct gw_stack *s = ctx;
    if (s->up.emit == NULL)
        return true;
    return s->up.emit(s->ctx, s->packet, packet_write(s->packet, g));
}

/* ---- set-up ---- */

EXPORT unsigned gw_stack_interface(void)
{
    return GW_STACK_INTERFACE;
}

static void set_default(uint32_t *field, uint32_t value)
{
    if (*field == 0)
        *field = value;
}

static void fill_in(struct gw_stack_config *c)
{
    set_default(&c->connections_max, 1024);
    set_default(&c->half_open_max, 256);
    set_default(&c->time_wait_max, 1024);
    set_default(&c->recv_window_bytes, 65535);
    set_default(&c->send_buffer_bytes, 1 << 20);
    set_default(&c->memory_bytes, 16 << 20);
    set_default(&c->mtu_bytes, 1500);
}

static bool is_legal(const struct gw_stack_config *c)
{
    uint32_t most = 1 << 24;
    return c->flags <= (GW_STACK_NEWRENO | GW_STACK_NAGLE) && c->connections_max <= most &&
           c->time_wait_max <= most && c->mtu_bytes >= MTU_MIN && c->mtu_bytes <= MTU_MAX &&
           c->recv_window_bytes >= c->mtu_bytes && c->recv_window_bytes <= UINT32_C(1) << 29 &&
           c->send_buffer_bytes <= UINT32_C(1) << 30 && c->memory_bytes <= UINT32_C(1) << 30 &&
           c->send_nodes_max <= most && c->recv_pieces_max <= most &&
           c->keepalive_us < GW_WHEEL_AHEAD_US;
}

static int open_tcp(struct gw_stack *s, const struct gw_stack_config *c)
{
    static const struct gw_tcp_upcalls up = {.established = on_established,
                                             .data = on_data,
                                             .peer_closed = on_peer_closed,
                                             .acked = on_acked,
                                             .closed = on_closed,
                                             .deadline = on_deadline};
    struct gw_tcp_config cfg = {
        .conn_limit = c->connections_max,
        .half_open_limit = c->half_open_max,
        .time_wait_limit = c->time_wait_max,
        .recv_window_bytes = c->recv_window_bytes,
        .send_buffer_bytes = c->send_buffer_bytes,
        .send_node_limit = c->send_nodes_max,
        .recv_piece_limit = c->recv_pieces_max,
        .mss_v4 = (uint16_t)(c->mtu_bytes - PACKET_HEADER_BYTES_V4 - TCP_HEADER_BYTES),
        .mss_v6 = (uint16_t)(c->mtu_bytes - PACKET_HEADER_BYTES_V6 - TCP_HEADER_BYTES),
        .key = {c->seed, UINT64_C(0x676f64776974)},
        .arena = s->arena,
        .pages = GW_PAGES_SMALL,
        .name = "godwit-so",
        .congestion_control = c->flags & GW_STACK_NEWRENO ? GW_TCP_CC_NEWRENO : GW_TCP_CC_CUBIC,
        .nagle = (c->flags & GW_STACK_NAGLE) != 0,
        .keepalive_us = c->keepalive_us,
    };
    return gw_tcp_open(&s->tcp, &cfg, &up, s, on_emit, s, s->now_us);
}

EXPORT int gw_stack_open(struct gw_stack **out, const struct gw_stack_config *cfg,
                         const struct gw_stack_upcalls *up, void *ctx, uint64_t now_us)
{
    struct gw_stack_config c;
    struct gw_stack *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    s->ctx = ctx;
    s->now_us = now_us;
    int err = take(&c, sizeof(c), cfg, cfg->bytes);
    if (err == 0)
        err = take(&s->up, sizeof(s->up), up, up->bytes);
    if (err == 0) {
        fill_in(&c);
        err = is_legal(&c) ? 0 : -EINVAL;
    }
    if (err)
        goto fail;
    s->connections_max = c.connections_max;
    s->users = calloc(c.connections_max + 1, sizeof(*s->users));
    err = s->users != NULL ? 0 : -ENOMEM;
    if (err == 0)
        err = gw_arena_open(&s->arena, "godwit-so-arena", c.memory_bytes, GW_PAGES_SMALL);
    if (err == 0)
        err = open_tcp(s, &c);
    if (err)
        goto fail;
    *out = s;
    return 0;
fail:
    gw_stack_close(&s);
    return err;
}

EXPORT void gw_stack_close(struct gw_stack **s)
{
    if (*s == NULL)
        return;
    gw_tcp_free(&(*s)->tcp);
    gw_arena_free(&(*s)->arena);
    free((*s)->users);
    free(*s);
    *s = NULL;
}

EXPORT int gw_stack_add_address(struct gw_stack *s, const char *address)
{
    struct gw_ip ip;
    if (!read_address(address, &ip))
        return -EINVAL;
    if (is_ours(s, &ip))
        return 0;
    if (s->address_count == ADDRESSES_MAX)
        return -ENOSPC;
    s->addresses[s->address_count++] = ip;
    return 0;
}

/* ---- time and packets ---- */

EXPORT int gw_stack_set_time(struct gw_stack *s, uint64_t now_us)
{
    if (now_us < s->now_us)
        return -EINVAL;
    s->now_us = now_us;
    return 0;
}

EXPORT int gw_stack_push(struct gw_stack *s, const uint8_t *packet, size_t len)
{
    struct packet k;
    int err = packet_read(&k, packet, len);
    if (err)
        return err;
    if (!is_ours(s, &k.dst))
        return -EADDRNOTAVAIL;
    gw_tcp_input(s->tcp, s->now_us, &k.src, &k.dst, k.segment, k.len);
    return 0;
}

EXPORT unsigned gw_stack_run(struct gw_stack *s)
{
    gw_tcp_advance(s->tcp, s->now_us);
    return gw_tcp_flush(s->tcp, s->now_us);
}

EXPORT uint64_t gw_stack_next_us(const struct gw_stack *s)
{
    return gw_tcp_next_deadline_us(s->tcp);
}

/* ---- connections ---- */

EXPORT int gw_stack_listen(struct gw_stack *s, uint16_t port)
{
    return port == 0 ? -EINVAL : gw_tcp_listen(s->tcp, port);
}

EXPORT int gw_stack_connect(struct gw_stack *s, const struct gw_stack_endpoint *local,
                            const struct gw_stack_endpoint *remote, uint32_t *conn)
{
    struct gw_tcp_tuple t;
    if (!read_tuple(local, remote, &t) || !is_ours(s, &t.local))
        return -EINVAL;
    gw_conn c;
    int err = gw_tcp_connect(s->tcp, s->now_us, &t, &c);
    if (err)
        return err;
    s->users[c] = (struct user){.known = true, .active = true};
    *conn = c;
    return 0;
}

static bool is_known(const struct gw_stack *s, uint32_t conn)
{
    return conn != 0 && conn <= s->connections_max && s->users[conn].known;
}

EXPORT int gw_stack_send(struct gw_stack *s, uint32_t conn, const void *p, size_t len)
{
    return is_known(s, conn) ? gw_tcp_send_copy(s->tcp, conn, p, len) : -EBADF;
}

EXPORT long gw_stack_recv(struct gw_stack *s, uint32_t conn, void *p, size_t len)
{
    if (!is_known(s, conn))
        return -EBADF;
    if (s->users[conn].eof)
        return 0;
    s->reader = conn;
    s->into = p;
    s->into_room = len;
    s->into_len = 0;
    gw_tcp_read_resume(s->tcp, conn);
    gw_tcp_advance(s->tcp, s->now_us);
    s->reader = 0;
    if (s->into_len == 0 && len > 0)
        return s->users[conn].eof ? 0 : -EAGAIN;
    return (long)s->into_len;
}

EXPORT int gw_stack_shutdown(struct gw_stack *s, uint32_t conn)
{
    if (!is_known(s, conn))
        return -EBADF;
    gw_tcp_shutdown(s->tcp, conn);
    return 0;
}

EXPORT int gw_stack_abort(struct gw_stack *s, uint32_t conn)
{
    if (!is_known(s, conn))
        return -EBADF;
    gw_tcp_abort(s->tcp, conn);
    return 0;
}

EXPORT int gw_stack_set_nodelay(struct gw_stack *s, uint32_t conn, bool on)
{
    if (!is_known(s, conn))
        return -EBADF;
    gw_tcp_set_nodelay(s->tcp, conn, on);
    return 0;
}

EXPORT int gw_stack_set_keepalive(struct gw_stack *s, uint32_t conn, bool on)
{
    if (!is_known(s, conn))
        return -EBADF;
    gw_tcp_set_keepalive(s->tcp, conn, on);
    return 0;
}

/* ---- questions ---- */

static enum gw_stack_state state_of(enum tcp_state state)
{
    switch (state) {
#define X(upper, text, word) \
    case STATE_##upper:      \
        return GW_STACK_##upper;
        GW_TCP_STATES(X)
#undef X
    case STATE_COUNT:
        break;
    }
    return GW_STACK_CLOSED;
}

EXPORT const char *gw_stack_state_name(enum gw_stack_state state)
{
    switch (state) {
#define X(upper, text, word) \
    case GW_STACK_##upper:   \
        return text;
        GW_TCP_STATES(X)
#undef X
    case GW_STACK_LISTEN:
        return "LISTEN";
    }
    return "?";
}

static struct gw_stack_info conn_info(const struct gw_tcp *t, gw_conn i)
{
    const struct conn *c = conn_at(t, i);
    uint32_t options = (c->flags & CONN_TIMESTAMPS ? GW_STACK_OPTION_TIMESTAMPS : 0) |
                       (c->flags & CONN_SACK ? GW_STACK_OPTION_SACK : 0) |
                       (c->flags & CONN_SCALE ? GW_STACK_OPTION_SCALE : 0);
    uint32_t unread = tcp_kept_unread(t, c);
    return (struct gw_stack_info){
        .state = state_of(c->state),
        .options = options,
        .snd_una = c->snd_una,
        .snd_nxt = c->snd_nxt,
        .snd_wnd = c->snd_wnd,
        .rcv_nxt = c->rcv_nxt,
        .rcv_wnd = c->rcv_edge - c->rcv_nxt,
        .mss = c->mss,
        .cwnd = c->cwnd,
        .ssthresh = cold_of(t, c)->ssthresh,
        .srtt_us = c->srtt_us,
        .rttvar_us = c->rttvar_us,
        .rto_us = tcp_rto_us(c),
        .queued_bytes = c->queue_bytes,
        .unread_bytes = unread,
        .kept_bytes = tcp_kept_bytes(t, c) - unread,
        .snd_scale = c->snd_scale,
        .rcv_scale = c->rcv_scale,
    };
}

static struct gw_stack_info time_wait_info(const struct gw_tcp *t, uint32_t i)
{
    const struct tcp_time_wait *w = gw_slab_at(&t->time_waits, i);
    return (struct gw_stack_info){.state = GW_STACK_TIME_WAIT,
                                  .snd_una = w->snd_nxt,
                                  .snd_nxt = w->snd_nxt,
                                  .rcv_nxt = w->rcv_nxt};
}

EXPORT int gw_stack_info(const struct gw_stack *s, uint32_t conn, struct gw_stack_info *info)
{
    if (!is_known(s, conn))
        return -EBADF;
    struct gw_stack_info ours = conn_info(s->tcp, conn);
    return give(info, info->bytes, &ours, sizeof(ours));
}

EXPORT int gw_stack_lookup(const struct gw_stack *s, const struct gw_stack_endpoint *local,
                           const struct gw_stack_endpoint *remote, struct gw_stack_info *info)
{
    struct gw_tcp_tuple t;
    if (!read_tuple(local, remote, &t))
        return -EINVAL;
    struct gw_stack_info ours = {.state = GW_STACK_CLOSED};
    uint32_t ref = tcp_table_find(s->tcp, &t);
    if (ref & TCP_REF_TIME_WAIT)
        ours = time_wait_info(s->tcp, ref & ~TCP_REF_TIME_WAIT);
    else if (ref != 0)
        ours = conn_info(s->tcp, ref);
    else if (is_ours(s, &t.local) && tcp_listens(s->tcp, &t))
        ours.state = GW_STACK_LISTEN;
    return give(info, info->bytes, &ours, sizeof(ours));
}

EXPORT int gw_stack_usage(const struct gw_stack *s, struct gw_stack_usage *usage)
{
    const struct gw_tcp *t = s->tcp;
    struct gw_stack_usage ours = {.connections = t->conns.used_count,
                                  .half_open = t->half_open_count,
                                  .time_waits = t->time_waits.used_count,
                                  .timers = t->wheel.armed_count,
                                  .nodes = t->nodes.used_count,
                                  .pieces = t->pieces.used_count,
                                  .memory_bytes = gw_arena_used_bytes(s->arena)};
    return give(usage, usage->bytes, &ours, sizeof(ours));
}

EXPORT int gw_stack_counter(const struct gw_stack *s, const char *name, uint64_t *value)
{
    const uint64_t *values = (const uint64_t *)gw_tcp_counters(s->tcp);
    for (unsigned i = 0; i < gw_tcp_counter_count; i++)
        if (strcmp(gw_tcp_counter_descs[i].name, name) == 0) {
            *value = values[i];
            return 0;
        }
    return -ENOENT;
}

EXPORT const char *gw_stack_counter_name(unsigned i, const char **help)
{
    if (i >= gw_tcp_counter_count)
        return NULL;
    *help = gw_tcp_counter_descs[i].help;
    return gw_tcp_counter_descs[i].name;
}
