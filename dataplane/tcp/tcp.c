/* SPDX-License-Identifier: Apache-2.0 */
/* The stack as its users see it: life, the calls from below and from above. */
#include "tcp.h"

#include <errno.h>
#include <stdio.h>

#include "stack.h"

/* ---- life ---- */

static int slab_open(struct gw_slab *s, const struct gw_tcp_config *cfg, const char *what,
                     size_t elem_bytes, uint32_t limit)
{
    char name[64];
    snprintf(name, sizeof(name), "%s-%s", cfg->name, what);
    return gw_slab_open(s, name, (uint32_t)elem_bytes, limit, cfg->pages);
}

/* Nodes for sending are needed by busy connections only, pieces by those with a gap or a slow user. */
static uint32_t node_limit(const struct gw_tcp_config *cfg)
{
    return cfg->send_node_limit != 0 ? cfg->send_node_limit : cfg->conn_limit / 4 + 65536;
}

static uint32_t piece_limit(const struct gw_tcp_config *cfg)
{
    return cfg->recv_piece_limit != 0 ? cfg->recv_piece_limit : cfg->conn_limit / 16 + 8192;
}

static int open_memory(struct gw_tcp *t)
{
    const struct gw_tcp_config *cfg = &t->cfg;
    char name[64];
    snprintf(name, sizeof(name), "%s-table", cfg->name);
    int err = slab_open(&t->conns, cfg, "conns", sizeof(struct conn), cfg->conn_limit);
    if (err == 0)
        err = slab_open(&t->colds, cfg, "colds", sizeof(struct cold), cfg->conn_limit);
    if (err == 0)
        err = slab_open(&t->nodes, cfg, "nodes", sizeof(union tcp_node), node_limit(cfg));
    if (err == 0)
        err = slab_open(&t->pieces, cfg, "pieces", sizeof(union tcp_node), piece_limit(cfg));
    if (err == 0)
        err = slab_open(&t->time_waits, cfg, "timewait", sizeof(struct tcp_time_wait),
                        cfg->time_wait_limit);
    if (err == 0)
        err = tcp_table_open(&t->table, name, cfg->conn_limit + cfg->time_wait_limit, cfg->pages);
    return err;
}

static uint8_t scale_for(uint32_t window_bytes)
{
    uint8_t scale = 0;
    while (scale < TCP_SCALE_MAX && window_bytes >> scale > UINT16_MAX)
        scale++;
    return scale;
}

/* Independent keys from the one secret, by hashing different labels. */
static uint64_t derive(const struct gw_sipkey *key, const char *label)
{
    return gw_siphash(key, label, strlen(label));
}

int gw_tcp_open(struct gw_tcp **out, const struct gw_tcp_config *cfg,
                const struct gw_tcp_upcalls *up, void *up_ctx, gw_tcp_emit_fn emit, void *emit_ctx,
                uint64_t now_us)
{
    check(cfg->conn_limit > 0 && cfg->time_wait_limit > 0 && cfg->conn_limit < TCP_REF_TIME_WAIT);
    check(cfg->mss_v4 >= TCP_MSS_MIN && cfg->mss_v6 >= TCP_MSS_MIN);
    check(cfg->recv_window_bytes >= cfg->mss_v4 && cfg->recv_window_bytes >= cfg->mss_v6);
    check(cfg->gso_bytes_max <= GW_TCP_GSO_BYTES_MAX);
    check(cfg->recv_window_bytes <= UINT32_C(1) << 29 && cfg->send_buffer_bytes <= 1u << 30);
    check(cfg->keepalive_us < GW_WHEEL_AHEAD_US && cfg->keepalive_next_us < GW_WHEEL_AHEAD_US);
    check(cfg->fin_wait_2_us < GW_WHEEL_AHEAD_US);
    check(cfg->keepalive_probes <= TCP_UNANSWERED_MAX);
    /* Every block's index, of which the lowest are left out, is below TCP_OWN. */
    check(gw_arena_limit_bytes(cfg->arena) / GW_ARENA_BLOCK_BYTES_MIN < TCP_OWN - (UINT32_C(1) << 16));
    struct gw_tcp *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return -ENOMEM;
    t->cfg = *cfg;
    t->up = *up;
    t->up_ctx = up_ctx;
    t->emit = emit;
    t->emit_ctx = emit_ctx;
    t->cc = cfg->congestion_control == GW_TCP_CC_NEWRENO ? &tcp_cc_newreno : &tcp_cc_cubic;
    if (t->cfg.keepalive_us == 0)
        t->cfg.keepalive_us = TCP_KEEPALIVE_US;
    if (t->cfg.keepalive_next_us == 0)
        t->cfg.keepalive_next_us = TCP_KEEPALIVE_NEXT_US;
    if (t->cfg.keepalive_probes == 0)
        t->cfg.keepalive_probes = TCP_KEEPALIVES;
    if (t->cfg.fin_wait_2_us == 0)
        t->cfg.fin_wait_2_us = TCP_FIN_WAIT_2_US;
    t->rcv_scale = scale_for(cfg->recv_window_bytes);
    t->kept_count_max = cfg->recv_window_bytes / 1024 + 16;
    t->iss_key = (struct gw_sipkey){derive(&cfg->key, "iss 0"), derive(&cfg->key, "iss 1")};
    t->cookie_key = (struct gw_sipkey){derive(&cfg->key, "cookie 0"), derive(&cfg->key, "cookie 1")};
    t->port_key = (struct gw_sipkey){derive(&cfg->key, "port 0"), derive(&cfg->key, "port 1")};
    t->ts_offset = (uint32_t)derive(&cfg->key, "timestamp");
    tcp_set_now(t, now_us);
    int err = open_memory(t);
    if (err) {
        gw_tcp_free(&t);
        return err;
    }
    gw_wheel_init(&t->wheel, t->colds.base, sizeof(struct cold), now_us);
    *out = t;
    return 0;
}

void gw_tcp_free(struct gw_tcp **t)
{
    if (*t == NULL)
        return;
    tcp_table_close(&(*t)->table);
    gw_slab_close(&(*t)->time_waits);
    gw_slab_close(&(*t)->pieces);
    gw_slab_close(&(*t)->nodes);
    gw_slab_close(&(*t)->colds);
    gw_slab_close(&(*t)->conns);
    free(*t);
    *t = NULL;
}

int gw_tcp_listen(struct gw_tcp *t, uint16_t port)
{
    t->listening[port / 8] |= (uint8_t)(1u << (port % 8));
    return 0;
}

int gw_tcp_listen_at(struct gw_tcp *t, const struct gw_ip *local, uint16_t port)
{
    if (t->listening_at_count == GW_TCP_LISTEN_AT_MAX)
        return -ENOSPC;
    t->listening_at[t->listening_at_count++] = (struct gw_ip_port){*local, port};
    return 0;
}

/* ---- driven from below ---- */

void gw_tcp_advance(struct gw_tcp *t, uint64_t now_us)
{
    tcp_set_now(t, now_us);
    /* Between a node's leaving the wheel and its firing others leave it, so that their connections are
     * in the cache by then. Firing one may end another: a dead one stays until the next flush. */
    gw_conn due[TCP_ADVANCE_AHEAD];
    unsigned work = TCP_ADVANCE_WORK, first = 0, count = 0;
    for (;;) {
        gw_conn i = gw_wheel_pop(&t->wheel, now_us, &work);
        if (i == 0 && count == 0)
            break;
        if (i != 0) {
            tcp_conn_expect(t, i);
            due[(first + count++) % TCP_ADVANCE_AHEAD] = i;
        }
        if (i == 0 || count == TCP_ADVANCE_AHEAD) {
            tcp_timer_fire(t, conn_at(t, due[first++ % TCP_ADVANCE_AHEAD]));
            count--;
        }
    }
    tcp_time_wait_advance(t);
}

uint64_t gw_tcp_next_deadline_us(const struct gw_tcp *t)
{
    uint64_t next = gw_wheel_next_us(&t->wheel);
    uint64_t time_wait = tcp_time_wait_next_us(t);
    if (time_wait < next)
        next = time_wait;
    if (t->dirty_count > 0 || t->reply_count > 0) {
        uint64_t flush = t->dirty_refused ? t->now_us + TCP_EMIT_RETRY_US : t->now_us;
        if (flush < next)
            next = flush;
    }
    return next;
}

static struct conn *dirty_pop(struct gw_tcp *t)
{
    struct conn *c = conn_at(t, t->dirty_head);
    check(c->flags & CONN_DIRTY);
    t->dirty_head = c->dirty_next;
    if (t->dirty_head == 0)
        t->dirty_tail = 0;
    t->dirty_count--;
    c->flags &= ~(uint32_t)CONN_DIRTY;
    return c;
}

unsigned gw_tcp_flush(struct gw_tcp *t, uint64_t now_us)
{
    tcp_set_now(t, now_us);
    unsigned sent = 0, refused = 0;
    bool more = false;
    bool any_refused = !tcp_reply_flush(t, TCP_REPLIES_FIRST, &sent);
    for (uint32_t n = t->dirty_count; n > 0 && refused < TCP_REFUSALS_MAX; n--) {
        struct conn *c = dirty_pop(t);
        if (conn_is_dead(c)) {
            tcp_conn_bury(t, c);
            continue;
        }
        enum tcp_flushed f = tcp_conn_flush(t, c, &sent);
        refused = f == TCP_FLUSHED_REFUSED ? refused + 1 : 0;
        any_refused |= f == TCP_FLUSHED_REFUSED;
        more |= f == TCP_FLUSHED_MORE;
        if (f != TCP_FLUSHED_DONE)
            tcp_dirty(t, c);
    }
    any_refused |= !tcp_reply_flush(t, TCP_REPLIES_MAX, &sent);
    t->dirty_refused = any_refused && !more;
    return sent;
}

/* ---- driven from above ---- */

/* A connection that the user knows and has not been told the end of. */
static struct conn *known(const struct gw_tcp *t, gw_conn i)
{
    struct conn *c = gw_slab_at(&t->conns, i);
    check(c->flags & CONN_KNOWN);
    return c;
}

/* A connection has one other end: no multicast, broadcast or unspecified address (RFC 9293, MUST-46). */
static bool is_host(const struct gw_ip *ip)
{
    static const struct gw_ip none;
    if (gw_ip_is_v4(ip))
        return ip->b[12] != 0 && ip->b[12] < 224;
    return ip->b[0] != 0xff && !gw_ip_eq(ip, &none);
}

int gw_tcp_connect(struct gw_tcp *t, uint64_t now_us, const struct gw_tcp_tuple *tuple,
                   gw_conn *out)
{
    struct gw_tcp_tuple own = *tuple;
    tcp_set_now(t, now_us);
    if (!is_host(&own.remote))
        return -EINVAL;
    if (own.local_port == 0 && !tcp_draw_port(t, &own))
        return -EADDRNOTAVAIL;
    uint32_t ref = tcp_table_find(t, &own), waits = ref & ~TCP_REF_TIME_WAIT;
    if (ref != 0 && (waits == ref || !tcp_time_wait_may_end(t, waits)))
        return -EADDRINUSE;
    if (t->conns.used_count == t->conns.limit)
        return -ENOBUFS;
    uint32_t iss = ref != 0 ? tcp_time_wait_end(t, waits) : tcp_initial_sequence(t, &own);
    struct conn *c = tcp_conn_begin(t, &own, STATE_SYN_SENT, iss);
    check(c != NULL);
    COUNT(t, opened_active);
    c->flags |= CONN_ACTIVE | CONN_KNOWN;
    *out = conn_index(t, c);
    return 0;
}

static int may_send(const struct gw_tcp *t, const struct conn *c, size_t len)
{
    if (conn_is_dead(c) || (c->flags & CONN_FIN_WANTED))
        return -EPIPE;
    if (len > t->cfg.send_buffer_bytes || c->queue_bytes > t->cfg.send_buffer_bytes - len)
        return -ENOBUFS;
    return 0;
}

int gw_tcp_send(struct gw_tcp *t, gw_conn i, struct gw_slice s)
{
    struct conn *c = known(t, i);
    int err = may_send(t, c, s.len);
    if (err)
        return err;
    if (s.len == 0) {
        gw_arena_put(t->cfg.arena, s.block);
        return 0;
    }
    err = tcp_sendq_append(t, c, s);
    if (err == 0)
        tcp_dirty(t, c);
    return err;
}

int gw_tcp_send_copy(struct gw_tcp *t, gw_conn i, const void *p, size_t len)
{
    struct conn *c = known(t, i);
    int err = may_send(t, c, len);
    if (err == 0)
        err = tcp_sendq_copy(t, c, p, len);
    if (err == 0)
        tcp_dirty(t, c);
    return err;
}

void gw_tcp_expect_send(const struct gw_tcp *t, gw_conn i)
{
    tcp_conn_expect(t, i);
}

void gw_tcp_shutdown(struct gw_tcp *t, gw_conn i)
{
    struct conn *c = known(t, i);
    if (conn_is_dead(c) || (c->flags & CONN_FIN_WANTED))
        return;
    c->flags |= CONN_FIN_WANTED;
    switch (c->state) {
    case STATE_SYN_SENT:
        /* Nothing was ever said to the peer (RFC 9293 section 3.10.4). */
        tcp_conn_end(t, c, GW_TCP_CLOSED_DONE);
        return;
    case STATE_ESTABLISHED:
        tcp_state_set(t, c, STATE_FIN_WAIT_1);
        break;
    case STATE_CLOSE_WAIT:
        tcp_state_set(t, c, STATE_LAST_ACK);
        break;
    default:
        /* SYN-RECEIVED: the state changes when the connection is established. */
        break;
    }
    tcp_dirty(t, c);
}

void gw_tcp_abort(struct gw_tcp *t, gw_conn i)
{
    struct conn *c = known(t, i);
    if (!conn_is_dead(c))
        tcp_conn_abort(t, c, GW_TCP_CLOSED_ABORTED);
}

void gw_tcp_read_resume(struct gw_tcp *t, gw_conn i)
{
    struct conn *c = known(t, i);
    if (conn_is_dead(c))
        return;
    c->flags |= CONN_RESUME;
    tcp_timer_soon(t, c);
}

void gw_tcp_set_deadline(struct gw_tcp *t, gw_conn i, uint64_t at_us)
{
    struct conn *c = known(t, i);
    if (conn_is_dead(c))
        return;
    if (at_us == 0) {
        tcp_timer_clear(c, TIMER_USER);
        return;
    }
    uint64_t last = t->now_us + GW_WHEEL_AHEAD_US;
    tcp_timer_set(t, c, TIMER_USER, gw_tick_at(at_us < last ? at_us : last));
}

void gw_tcp_set_nodelay(struct gw_tcp *t, gw_conn i, bool on)
{
    struct conn *c = known(t, i);
    if (!on) {
        c->flags |= CONN_NAGLE;
        return;
    }
    c->flags &= ~(uint32_t)CONN_NAGLE;
    if (!conn_is_dead(c))
        tcp_dirty(t, c);
}

void gw_tcp_set_keepalive(struct gw_tcp *t, gw_conn i, bool on)
{
    struct conn *c = known(t, i);
    /* There the timer is for the FIN that the peer owes. */
    if (conn_is_dead(c) || c->state == STATE_FIN_WAIT_2)
        return;
    if (on)
        tcp_keepalive_start(t, c);
    else
        tcp_timer_clear(c, TIMER_KEEP);
}

struct gw_tcp_queue gw_tcp_queue(const struct gw_tcp *t, gw_conn i)
{
    const struct conn *c = known(t, i);
    return (struct gw_tcp_queue){
        .sent_end = c->acked + c->queue_bytes,
        .acked = c->acked,
        .kept_bytes = tcp_kept_bytes(t, c),
    };
}

struct gw_tcp_tuple gw_tcp_tuple(const struct gw_tcp *t, gw_conn i)
{
    return known(t, i)->tuple;
}

const struct gw_tcp_counters *gw_tcp_counters(const struct gw_tcp *t)
{
    return &t->counters;
}
