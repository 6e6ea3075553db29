/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What strangers and hostile peers send, beside the connection of somebody else that carries text
 * both ways all the while: frames through the real IP and TCP. Memory stays bounded, every frame is
 * counted by what became of it, and the bystander loses nothing: not one of its segments is sent
 * twice.
 *
 * Strangers know every sequence number: what none may guess costs no more than this.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "../../dataplane/net/checksum.h"
#include "../../dataplane/net/counters.h"
#include "../../dataplane/net/net.h"
#include "../../dataplane/tcp/stack.h"

enum {
    START_US = 5000000,
    PASS_US = 100,
    PASSES_MAX = 5000,
    TEXT_BYTES = 300000, /* of the bystander, each way */
    HALF_OPEN = 16,
    HOSTILES = 256, /* connections of hostile peers */
    HOSTILE_PORT = 20000,
    CONNS = HALF_OPEN + HOSTILES + 1,
    FRAMES_MAX = 512,
    FRAME_BYTES = 1600,
    ETH_BYTES = 14,
    MTU = 1500,
    SERVICE = 5222,
};

struct frame {
    uint8_t b[FRAME_BYTES];
    uint32_t len;
};

/* One host: the broker, or the bystander. */
struct end {
    struct gw_port port;
    struct gw_net *net;
    struct gw_tcp *tcp;
    struct gw_arena *arena;
    struct frame out[FRAMES_MAX];
    unsigned out_count;
    gw_conn conn; /* the bystander's, as this end has it */
    uint32_t sent, got;
    unsigned closed;
};

static struct end broker, bystander;
static uint64_t now_us;
static bool v6;
/* What the broker does for hostile peers. */
static struct {
    bool reads;
    uint32_t sends; /* bytes at once, whenever the queue has room */
} service;

static uint8_t text_at(uint32_t position)
{
    return (uint8_t)(position * 7 + (position >> 8));
}

static struct gw_ip address_of(bool six, uint8_t last)
{
    if (!six)
        return gw_ip_from_v4((const uint8_t[]){10, 77, 0, last});
    return (struct gw_ip){{0xfd, 0, 0, 0x77, [15] = last}};
}

static struct gw_ip address(uint8_t last)
{
    return address_of(v6, last);
}

/* Off the link: answers go to the router, which the bystander is, and which drops them. */
static struct gw_ip stranger(uint32_t n)
{
    uint8_t high = (uint8_t)(n >> 8), low = (uint8_t)n;
    if (!v6)
        return gw_ip_from_v4((const uint8_t[]){198, 18, high, low});
    return (struct gw_ip){{0x20, 1, 0xd, 0xb8, [14] = high, [15] = low}};
}

/* ---- the two hosts ---- */

static bool port_tx(struct gw_port *p, const void *header, uint32_t header_len,
                    const struct gw_bytes *payload, unsigned payload_count, uint32_t gso_bytes)
{
    struct end *e = (struct end *)((char *)p - offsetof(struct end, port));
    cr_assert_eq(gso_bytes, 0);
    if (e->out_count == FRAMES_MAX)
        return false;
    struct frame *f = &e->out[e->out_count++];
    memcpy(f->b, header, header_len);
    f->len = header_len;
    for (unsigned i = 0; i < payload_count; i++) {
        cr_assert_leq(f->len + payload[i].len, FRAME_BYTES);
        memcpy(f->b + f->len, payload[i].p, payload[i].len);
        f->len += (uint32_t)payload[i].len;
    }
    return true;
}

static const struct gw_port_ops port_ops = {.tx = port_tx};

static bool on_established(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    struct end *e = ctx;
    if (e->conn == 0) /* the bystander is the first */
        e->conn = c;
    return true;
}

static size_t on_data(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    struct end *e = ctx;
    if (c != e->conn)
        return service.reads ? len : 0;
    for (size_t i = 0; i < len; i++)
        cr_assert_eq(p[i], text_at(e->got + (uint32_t)i));
    e->got += (uint32_t)len;
    return len;
}

static void on_peer_closed(void *ctx, gw_conn c)
{
}

static void on_acked(void *ctx, gw_conn c, uint64_t acked)
{
}

static void on_closed(void *ctx, gw_conn c, enum gw_tcp_close_reason why)
{
    struct end *e = ctx;
    e->closed += c == e->conn;
}

static const struct gw_tcp_upcalls upcalls = {.established = on_established,
                                              .data = on_data,
                                              .peer_closed = on_peer_closed,
                                              .acked = on_acked,
                                              .closed = on_closed,
                                              .deadline = on_peer_closed};

static void open_end(struct end *e, uint8_t last)
{
    uint8_t other = last == 1 ? 2 : 1;
    memset(e, 0, sizeof(*e));
    e->port = (struct gw_port){.ops = &port_ops, .mtu = MTU, .mac = {2, [5] = last}};
    const struct gw_ip_prefix addresses[] = {{address_of(false, last), GW_IP_V4_BITS + 24},
                                             {address_of(true, last), 64}};
    const struct gw_ip_route routes[] = {
        {{address_of(false, 0), GW_IP_V4_BITS}, address_of(false, other)},
        {{{{0}}, 0}, address_of(true, other)},
    };
    struct gw_net_config net = {.addresses = addresses,
                                .address_count = 2,
                                .routes = routes,
                                .route_count = 2,
                                .neighbour_limit = 8,
                                .key = {last, 3}};
    cr_assert_eq(gw_net_open(&e->net, &net, &e->port, now_us), 0);
    cr_assert_eq(gw_arena_open(&e->arena, "overload", 16 << 20, GW_PAGES_SMALL), 0);
    struct gw_tcp_config tcp = {.conn_limit = CONNS,
                                .half_open_limit = HALF_OPEN,
                                .time_wait_limit = 4,
                                .recv_window_bytes = 65535,
                                .send_buffer_bytes = 65535,
                                .send_node_limit = 4096,
                                .recv_piece_limit = 32768, /* the arena is what runs out */
                                .mss_v4 = MTU - 40,
                                .mss_v6 = MTU - 60,
                                .key = {last, 4},
                                .arena = e->arena,
                                .pages = GW_PAGES_SMALL,
                                .name = "overload"};
    cr_assert_eq(gw_tcp_open(&e->tcp, &tcp, &upcalls, e, gw_net_emit, e->net, now_us), 0);
    gw_net_attach(e->net, e->tcp);
}

static void close_all(void)
{
    struct end *ends[] = {&broker, &bystander};
    for (unsigned i = 0; i < 2; i++) {
        gw_tcp_free(&ends[i]->tcp);
        gw_net_free(&ends[i]->net);
        gw_arena_free(&ends[i]->arena);
    }
}

/* Each frame ends where its bytes end, so that a read beyond them shows in sanitizer builds. */
static void receive(struct end *e, const struct frame *frames, unsigned count)
{
    struct gw_frame burst[GW_PORT_BURST_MAX];
    while (count > 0) {
        unsigned n = count < GW_PORT_BURST_MAX ? count : GW_PORT_BURST_MAX;
        for (unsigned i = 0; i < n; i++) {
            burst[i] = (struct gw_frame){.data = malloc(frames[i].len), .len = frames[i].len};
            memcpy(burst[i].data, frames[i].b, frames[i].len);
        }
        gw_net_input(e->net, now_us, burst, n);
        for (unsigned i = 0; i < n; i++)
            free(burst[i].data);
        frames += n;
        count -= n;
    }
}

/* What one end has sent comes to the other. */
static void carry(struct end *from, struct end *to)
{
    static struct frame frames[FRAMES_MAX];
    unsigned count = from->out_count;
    memcpy(frames, from->out, count * sizeof(frames[0]));
    from->out_count = 0;
    receive(to, frames, count);
}

static void finish_pass(struct end *e)
{
    gw_tcp_advance(e->tcp, now_us);
    gw_net_advance(e->net, now_us);
    gw_tcp_flush(e->tcp, now_us);
}

static void send_text(struct end *e)
{
    uint8_t text[1000];
    while (e->conn != 0 && e->sent < TEXT_BYTES &&
           gw_tcp_queue(e->tcp, e->conn).sent_end - gw_tcp_queue(e->tcp, e->conn).acked < 4000) {
        for (uint32_t i = 0; i < sizeof(text); i++)
            text[i] = text_at(e->sent + i);
        cr_assert_eq(gw_tcp_send_copy(e->tcp, e->conn, text, sizeof(text)), 0,
                     "nobody may use up what the bystander needs");
        e->sent += sizeof(text);
    }
}

/* ---- frames of strangers ---- */

struct raw {
    struct gw_ip from;
    uint16_t port;
    uint8_t flags;
    uint32_t seq, ack;
    uint16_t window;
    uint32_t len;   /* of text */
    uint32_t stamp; /* 0: without a timestamp */
};

/* Protocol and payload to an IP packet from there to the broker. */
static void put_ip(struct frame *f, const struct gw_ip *from, uint8_t protocol, const uint8_t *p,
                   uint32_t len)
{
    struct gw_ip to = address(1);
    uint8_t *ip = f->b + ETH_BYTES;
    uint32_t header = v6 ? 40 : 20;
    memcpy(f->b, broker.port.mac, 6);
    memcpy(f->b + 6, bystander.port.mac, 6);
    gw_put_be16(f->b + 12, v6 ? 0x86dd : 0x0800);
    memset(ip, 0, header);
    if (v6) {
        ip[0] = 0x60;
        gw_put_be16(ip + 4, (uint16_t)len);
        ip[6] = protocol;
        ip[7] = 64;
        memcpy(ip + 8, from->b, 16);
        memcpy(ip + 24, to.b, 16);
    } else {
        ip[0] = 0x45;
        gw_put_be16(ip + 2, (uint16_t)(20 + len));
        ip[8] = 64;
        ip[9] = protocol;
        memcpy(ip + 12, from->b + 12, 4);
        memcpy(ip + 16, to.b + 12, 4);
        uint16_t sum = checksum_finish(checksum_add(0, ip, 20));
        memcpy(ip + 10, &sum, 2);
    }
    memcpy(ip + header, p, len);
    f->len = ETH_BYTES + header + len;
}

static uint64_t pseudo_sum(const struct gw_ip *from, uint8_t protocol, uint32_t len)
{
    struct gw_ip to = address(1);
    uint8_t tail[8] = {0};
    gw_put_be32(tail, len);
    tail[7] = protocol;
    unsigned skip = v6 ? 0 : 12;
    uint64_t sum = checksum_add(0, from->b + skip, 16 - skip);
    return checksum_add(checksum_add(sum, to.b + skip, 16 - skip), tail, sizeof(tail));
}

static void put_tcp(struct frame *f, const struct raw *r)
{
    uint32_t header = r->stamp != 0 ? 32 : 20, len = header + r->len;
    uint8_t segment[32 + 1400] = {
        [12] = (uint8_t)(header << 2), [13] = r->flags, 0, [20] = 1, 1, 8, 10};
    cr_assert_leq(r->len, 1400);
    if (r->stamp != 0)
        gw_put_be32(segment + 24, r->stamp);
    else
        memset(segment + 20, 0, 4);
    gw_put_be16(segment, r->port);
    gw_put_be16(segment + 2, SERVICE);
    gw_put_be32(segment + 4, r->seq);
    gw_put_be32(segment + 8, r->ack);
    gw_put_be16(segment + 14, r->window);
    uint16_t sum = checksum_finish(checksum_add(pseudo_sum(&r->from, 6, len), segment, len));
    memcpy(segment + 16, &sum, 2);
    put_ip(f, &r->from, 6, segment, len);
}

static void put_icmp(struct frame *f, uint8_t *message, uint32_t len)
{
    struct gw_ip from = stranger(1);
    uint8_t protocol = v6 ? 58 : 1;
    uint64_t sum = v6 ? pseudo_sum(&from, protocol, len) : 0;
    uint16_t field = checksum_finish(checksum_add(sum, message, len));
    memcpy(message + 2, &field, 2);
    put_ip(f, &from, protocol, message, len);
}

/* An error about a segment of the broker's to the bystander. */
static void put_icmp_error(struct frame *f, uint8_t type, uint8_t code, uint32_t seq)
{
    struct gw_ip from = address(1), to = address(2);
    uint32_t header = v6 ? 40 : 20;
    uint8_t m[8 + 40 + 8] = {type, code};
    uint8_t *ip = m + 8, *tcp = ip + header;
    ip[0] = v6 ? 0x60 : 0x45;
    ip[v6 ? 6 : 9] = 6;
    memcpy(ip + (v6 ? 8 : 12), v6 ? from.b : from.b + 12, v6 ? 16 : 4);
    memcpy(ip + (v6 ? 24 : 16), v6 ? to.b : to.b + 12, v6 ? 16 : 4);
    gw_put_be16(tcp, SERVICE);
    gw_put_be16(tcp + 2, gw_tcp_tuple(broker.tcp, broker.conn).remote_port);
    gw_put_be32(tcp + 4, seq);
    put_icmp(f, m, 8 + header + 8);
}

static const struct conn *bystander_conn(void)
{
    return conn_at(broker.tcp, broker.conn);
}

/* What somebody sends who poses as the bystander. */
static struct raw posed(uint8_t flags)
{
    return (struct raw){.from = address(2),
                        .port = gw_tcp_tuple(broker.tcp, broker.conn).remote_port,
                        .flags = flags,
                        .seq = bystander_conn()->rcv_nxt,
                        .ack = bystander_conn()->snd_una,
                        .window = 1,
                        .stamp = bystander_conn()->ts_recent};
}

/* ---- hostile peers ---- */

static const struct conn *hostile_conn(uint32_t i)
{
    struct gw_tcp_tuple t = {address(1), stranger(1), SERVICE, (uint16_t)(HOSTILE_PORT + i)};
    uint32_t ref = tcp_table_find(broker.tcp, &t);
    return ref == 0 || (ref & TCP_REF_TIME_WAIT) ? NULL : conn_at(broker.tcp, ref);
}

/* A segment of hostile peer i that acknowledges everything and has this many bytes of text `ahead`
 * of what is expected. */
static struct raw hostile(uint32_t i, uint16_t window, uint32_t ahead, uint32_t len)
{
    const struct conn *c = hostile_conn(i);
    cr_assert_not_null(c);
    return (struct raw){.from = stranger(1),
                        .port = (uint16_t)(HOSTILE_PORT + i),
                        .flags = TCP_ACK,
                        .seq = c->rcv_nxt + ahead,
                        .ack = c->snd_nxt,
                        .window = window,
                        .len = len};
}

static void serve_hostiles(void)
{
    static const uint8_t text[4000];
    for (uint32_t i = 0; service.sends > 0 && i < HOSTILES; i++) {
        const struct conn *c = hostile_conn(i);
        int err = 0;
        while (c != NULL && c->state == STATE_ESTABLISHED && err == 0)
            err = gw_tcp_send_copy(broker.tcp, conn_index(broker.tcp, c), text, service.sends);
    }
}

static void open_hostiles(void)
{
    for (uint32_t i = 0; i < HOSTILES; i++) {
        struct frame f;
        put_tcp(&f, &(struct raw){.from = stranger(1),
                                  .port = (uint16_t)(HOSTILE_PORT + i),
                                  .flags = TCP_SYN,
                                  .seq = 1000,
                                  .window = 60000});
        receive(&broker, &f, 1);
        finish_pass(&broker);
        struct raw r = hostile(i, 60000, 0, 0);
        put_tcp(&f, &r);
        receive(&broker, &f, 1);
        cr_assert_eq(hostile_conn(i)->state, STATE_ESTABLISHED);
        carry(&broker, &bystander);
    }
}

/* ---- a storm beside the bystander's transfer ---- */

struct storm {
    bool hostiles;     /* their connections are opened first */
    unsigned per_pass; /* frames that come before the bystander's in each pass */
    void (*frame)(struct frame *f, uint32_t n);
};

#define TCP_COUNT(name) (gw_tcp_counters(broker.tcp)->name)
#define NET_COUNT(name) (gw_net_counters(broker.net)->name)

static void run_pass(const struct storm *s, uint32_t *n)
{
    static struct frame stormed;
    now_us += PASS_US;
    for (unsigned i = 0; i < s->per_pass; i++) {
        s->frame(&stormed, (*n)++);
        receive(&broker, &stormed, 1);
    }
    carry(&bystander, &broker);
    carry(&broker, &bystander);
    send_text(&broker);
    send_text(&bystander);
    serve_hostiles();
    finish_pass(&broker);
    finish_pass(&bystander);
    cr_assert_leq(gw_tcp_totals(broker.tcp).half_open, HALF_OPEN);
    cr_assert_leq(gw_arena_used_bytes(broker.arena), gw_arena_limit_bytes(broker.arena));
}

static void begin(const struct storm *s)
{
    static const struct storm calm;
    now_us = START_US;
    open_end(&broker, 1);
    open_end(&bystander, 2);
    cr_assert_eq(gw_tcp_listen(broker.tcp, SERVICE), 0);
    struct gw_tcp_tuple t = {
        .local = address(2), .remote = address(1), .local_port = 40000, .remote_port = SERVICE};
    gw_conn c;
    cr_assert_eq(gw_tcp_connect(bystander.tcp, now_us, &t, &c), 0);
    uint32_t n = 0;
    for (unsigned i = 0; broker.conn == 0 || bystander.conn == 0; i++) {
        cr_assert_lt(i, 100);
        run_pass(&calm, &n);
    }
    if (s->hostiles)
        open_hostiles();
}

/* Returns how many frames the storm had, once the bystander's text has arrived, both ways. */
static uint32_t endure(const struct storm *s)
{
    begin(s);
    uint32_t n = 0;
    for (unsigned i = 0; broker.got < TEXT_BYTES || bystander.got < TEXT_BYTES; i++) {
        cr_assert_lt(i, PASSES_MAX, "%u and %u bytes of text arrived", broker.got, bystander.got);
        run_pass(s, &n);
    }
    cr_assert_eq(broker.closed + bystander.closed, 0);
    cr_assert_eq(cold_of(broker.tcp, bystander_conn())->resent, 0);
    cr_assert_eq(gw_tcp_counters(bystander.tcp)->retransmits, 0);
    cr_assert_eq(gw_tcp_counters(bystander.tcp)->rst_in, 0);
    return n;
}

#define STORM_TEST(suite, name)               \
    static void name(void);                   \
    Test(suite, name##_v4, .fini = close_all) \
    {                                         \
        v6 = false;                           \
        name();                               \
    }                                         \
    Test(suite, name##_v6, .fini = close_all) \
    {                                         \
        v6 = true;                            \
        name();                               \
    }                                         \
    static void name(void)

/* ---- from strangers ---- */

static void syn_of_anybody(struct frame *f, uint32_t n)
{
    put_tcp(f, &(struct raw){.from = stranger(n % 60000),
                             .port = (uint16_t)(1024 + n % 50000),
                             .flags = TCP_SYN,
                             .seq = n,
                             .window = 60000});
}

STORM_TEST(tcp_overload, syn_flood)
{
    uint32_t n = endure(&(struct storm){.per_pass = 700, .frame = syn_of_anybody});
    cr_assert_eq(TCP_COUNT(opened_passive), 1 + HALF_OPEN);
    cr_assert_eq(TCP_COUNT(cookies_sent), n - HALF_OPEN);
    cr_assert_eq(gw_tcp_totals(broker.tcp).connections, 1 + HALF_OPEN);
    cr_assert_gt(TCP_COUNT(drop_reply_full), 0, "more than may wait came in one pass");
    /* And those that are half open are forgotten within a minute. */
    for (unsigned i = 0; i < 640; i++) {
        now_us += 100000;
        carry(&broker, &bystander);
        carry(&bystander, &broker);
        finish_pass(&broker);
        finish_pass(&bystander);
    }
    cr_assert_eq(TCP_COUNT(half_open_expired), HALF_OPEN);
    cr_assert_eq(gw_tcp_totals(broker.tcp).connections, 1);
}

static void rst_in_the_window(struct frame *f, uint32_t n)
{
    struct raw r = posed(TCP_RST);
    r.seq += 1 + n % 1000;
    put_tcp(f, &r);
}

STORM_TEST(tcp_overload, rst_storm_against_the_bystander)
{
    uint32_t n = endure(&(struct storm){.per_pass = 100, .frame = rst_in_the_window});
    cr_assert_eq(TCP_COUNT(drop_rst_sequence), n);
    cr_assert_eq(TCP_COUNT(challenge_acks) + TCP_COUNT(challenge_acks_held), n);
    cr_assert_lt(TCP_COUNT(challenge_acks), 10);
    cr_assert_eq(TCP_COUNT(closed_reset), 0);
}

static void rst_before_the_window(struct frame *f, uint32_t n)
{
    struct raw r = posed(TCP_RST | TCP_ACK);
    r.seq -= 1 + n % 1000;
    put_tcp(f, &r);
}

STORM_TEST(tcp_overload, rst_storm_beside_the_window)
{
    uint32_t n = endure(&(struct storm){.per_pass = 100, .frame = rst_before_the_window});
    cr_assert_eq(TCP_COUNT(drop_sequence), n);
    cr_assert_eq(TCP_COUNT(challenge_acks), 0);
}

static void rst_of_anybody(struct frame *f, uint32_t n)
{
    put_tcp(f, &(struct raw){.from = stranger(n % 60000), .port = 9, .flags = TCP_RST, .seq = n});
}

STORM_TEST(tcp_overload, rst_storm_about_nothing)
{
    uint32_t n = endure(&(struct storm){.per_pass = 100, .frame = rst_of_anybody});
    cr_assert_eq(TCP_COUNT(drop_no_connection), n);
    cr_assert_eq(TCP_COUNT(rst_out), 0);
}

static void ack_of_anybody(struct frame *f, uint32_t n)
{
    put_tcp(f, &(struct raw){
                   .from = stranger(n % 60000), .port = 9, .flags = TCP_ACK, .seq = n, .ack = n});
}

STORM_TEST(tcp_overload, ack_storm_about_nothing)
{
    uint32_t n = endure(&(struct storm){.per_pass = 600, .frame = ack_of_anybody});
    cr_assert_eq(TCP_COUNT(drop_no_connection), n);
    cr_assert_gt(TCP_COUNT(drop_reply_full), 0);
    cr_assert_leq(TCP_COUNT(rst_out) + TCP_COUNT(drop_reply_full), n);
}

static void syn_in_the_window(struct frame *f, uint32_t n)
{
    struct raw r = posed(TCP_SYN);
    r.seq += n % 1000;
    put_tcp(f, &r);
}

STORM_TEST(tcp_overload, syn_storm_against_the_bystander)
{
    uint32_t n = endure(&(struct storm){.per_pass = 100, .frame = syn_in_the_window});
    cr_assert_eq(TCP_COUNT(drop_syn), n);
    cr_assert_lt(TCP_COUNT(challenge_acks), 10);
}

/* ---- ICMP ---- */

static const struct storm_error {
    uint8_t type, code;
} hard[] = {{3, 3}, {1, 4}}, too_big[] = {{3, 4}, {2, 0}}, soft[] = {{3, 1}, {1, 0}};

static void icmp_about_text_under_way(struct frame *f, struct storm_error e, uint32_t n)
{
    const struct conn *c = bystander_conn();
    put_icmp_error(f, e.type, e.code, c->snd_una + n % 20000);
}

static void unreachable_port(struct frame *f, uint32_t n)
{
    icmp_about_text_under_way(f, hard[v6], n);
}

static void unreachable_host(struct frame *f, uint32_t n)
{
    icmp_about_text_under_way(f, soft[v6], n);
}

static void fragmentation_needed(struct frame *f, uint32_t n)
{
    icmp_about_text_under_way(f, too_big[v6], n);
}

/* Each is counted once on its way up, and by what TCP makes of it. */
static void assert_icmp_errors_counted(uint32_t n)
{
    cr_assert_eq(NET_COUNT(icmp_errors_in) + NET_COUNT(drop_icmp_error_rate), n);
    cr_assert_gt(NET_COUNT(drop_icmp_error_rate), n / 2);
    cr_assert_eq(TCP_COUNT(icmp_ignored) + TCP_COUNT(icmp_too_big) + TCP_COUNT(drop_icmp_sequence),
                 NET_COUNT(icmp_errors_in));
    cr_assert_eq(bystander_conn()->mss, v6 ? 1440 - 12 : 1460 - 12);
    cr_assert_eq(cold_of(broker.tcp, bystander_conn())->ssthresh, UINT32_MAX, "not slowed down");
}

STORM_TEST(tcp_overload, icmp_unreachable_port)
{
    assert_icmp_errors_counted(endure(&(struct storm){.per_pass = 100, .frame = unreachable_port}));
    cr_assert_gt(TCP_COUNT(icmp_ignored), 0);
}

STORM_TEST(tcp_overload, icmp_unreachable_host)
{
    assert_icmp_errors_counted(endure(&(struct storm){.per_pass = 100, .frame = unreachable_host}));
    cr_assert_gt(TCP_COUNT(icmp_ignored), 0);
}

STORM_TEST(tcp_overload, icmp_too_big)
{
    assert_icmp_errors_counted(
        endure(&(struct storm){.per_pass = 100, .frame = fragmentation_needed}));
    cr_assert_gt(TCP_COUNT(icmp_too_big), 0);
}

static void icmp_about_nothing(struct frame *f, uint32_t n)
{
    uint8_t m[8 + 40] = {v6 ? 1 : 3, 3, [20] = (uint8_t)n};
    put_icmp(f, m, sizeof(m));
}

STORM_TEST(tcp_overload, icmp_about_nothing_of_ours)
{
    uint32_t n = endure(&(struct storm){.per_pass = 100, .frame = icmp_about_nothing});
    cr_assert_eq(NET_COUNT(drop_icmp_quoted), n);
}

static void echo(struct frame *f, uint32_t n)
{
    uint8_t m[8 + 500] = {v6 ? 128 : 8, 0, [6] = (uint8_t)(n >> 8), [7] = (uint8_t)n};
    put_icmp(f, m, sizeof(m));
}

STORM_TEST(tcp_overload, echo_flood)
{
    uint32_t n = endure(&(struct storm){.per_pass = 100, .frame = echo});
    cr_assert_eq(NET_COUNT(icmp_echo_replies) + NET_COUNT(drop_icmp_rate), n);
    cr_assert_gt(NET_COUNT(drop_icmp_rate), n / 2);
}

/* ---- from peers with a connection ---- */

static void text_behind_a_gap(struct frame *f, uint32_t n)
{
    struct raw r = hostile(n % HOSTILES, 60000, 1 + n / HOSTILES % 46 * 1400, 1400);
    put_tcp(f, &r);
}

STORM_TEST(tcp_overload, text_behind_gaps_uses_up_memory)
{
    uint32_t n =
        endure(&(struct storm){.hostiles = true, .per_pass = 300, .frame = text_behind_a_gap});
    cr_assert_gt(n, 10000);
    cr_assert_gt(TCP_COUNT(drop_text_memory), 0);
    cr_assert_leq(gw_arena_used_bytes(broker.arena),
                  gw_arena_limit_bytes(broker.arena) / 4 * 3 + 8192);
}

static void window_closed(struct frame *f, uint32_t n)
{
    struct raw r = hostile(n % HOSTILES, 0, 0, 0);
    put_tcp(f, &r);
}

STORM_TEST(tcp_overload, peers_that_never_read)
{
    service.sends = 4000;
    endure(&(struct storm){.hostiles = true, .per_pass = 10, .frame = window_closed});
    cr_assert_gt(broker.tcp->nodes.used_count, 0);
    cr_assert_leq(broker.tcp->nodes.used_count, broker.tcp->nodes.limit);
}

static void one_byte_acknowledged(struct frame *f, uint32_t n)
{
    struct raw r = hostile(n % HOSTILES, 60000, 0, 0);
    const struct conn *c = hostile_conn(n % HOSTILES);
    r.ack = c->snd_una + (c->snd_nxt != c->snd_una);
    put_tcp(f, &r);
}

STORM_TEST(tcp_overload, peers_that_acknowledge_byte_by_byte)
{
    service.sends = 100;
    endure(&(struct storm){.hostiles = true, .per_pass = 50, .frame = one_byte_acknowledged});
    cr_assert_leq(TCP_COUNT(segments_out), TCP_COUNT(segments_in) + 10 * HOSTILES + 1000,
                  "an acknowledged byte lets no segment out");
}

static void window_of_a_few_bytes(struct frame *f, uint32_t n)
{
    struct raw r = hostile(n % HOSTILES, (uint16_t)(1 + n % 9), 0, 0);
    put_tcp(f, &r);
}

STORM_TEST(tcp_overload, silly_windows)
{
    service.sends = 1000;
    endure(&(struct storm){.hostiles = true, .per_pass = 50, .frame = window_of_a_few_bytes});
    for (uint32_t i = 0; i < HOSTILES; i++)
        cr_assert_leq(hostile_conn(i)->snd_nxt - hostile_conn(i)->snd_una, 14600);
}

static void one_byte_of_text(struct frame *f, uint32_t n)
{
    struct raw r = hostile(n % 16, 60000, 2 * (1 + n / 16), 1);
    put_tcp(f, &r);
}

STORM_TEST(tcp_overload, text_byte_by_byte_behind_gaps)
{
    endure(&(struct storm){.hostiles = true, .per_pass = 400, .frame = one_byte_of_text});
    cr_assert_gt(TCP_COUNT(drop_text_pieces), 0);
    cr_assert_leq(broker.tcp->pieces.used_count, HOSTILES * broker.tcp->kept_count_max);
}
