/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two TCP stacks of ours joined by bad links. First faults, then healing. Whatever happened, every
 * byte arrives once and in order, every connection ends, and nothing is left behind.
 *
 *   sim_tcp [--seed N] [--seeds COUNT] [--pcap FILE] [--verbose]
 *
 * A failure prints the command that runs the same again, into a capture.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../dataplane/tcp/stack.h"
#include "nic_tcp.h"

enum { FLOWS_MAX = 24, CHUNK_MAX = 20000, PORT = 5222, SPINS_MAX = 200000 };

#define SECOND_US     UINT64_C(1000000)
#define HEALING_US    (400 * SECOND_US) /* every transfer has ended this long after the faults */

struct host;

/* One end of a flow, as the user of the stack sees it. */
struct end {
    gw_conn c;
    bool open, closed, eof, shut;
    bool shut_after_eof; /* answers a close instead of closing by itself */
    enum gw_tcp_close_reason why;
    uint64_t sent, total, acked, received;
};

struct flow {
    struct end ends[2]; /* by host number: 0 the client's, 1 the server's */
    uint64_t start_us;
    uint64_t abort_at;   /* stream position at which a side aborts; 0: never */
    unsigned abort_host;
    bool started, aborted;
};

struct sim;

struct host {
    struct sim *sim;
    unsigned number;
    struct gw_tcp *tcp;
    struct gw_arena *arena;
    struct nic_tcp nic;
    uint16_t flow_of[FLOWS_MAX * 4 + 1]; /* by connection, plus one */
};

struct sim {
    uint64_t seed;
    struct world *world;
    struct host hosts[2];
    struct flow flows[FLOWS_MAX];
    unsigned flow_count;
    uint32_t pause_ppm;   /* a user takes only a part */
    uint32_t forge_ppm;   /* somebody who cannot see the traffic forges a segment */
    uint64_t heal_us;
    bool v6;
    struct capture *capture;
};

static bool flow_is_over(const struct flow *f)
{
    if (!f->started || !f->ends[0].closed)
        return false;
    return f->ends[1].closed || !f->ends[1].open;
}

static void print_counters(const struct sim *s)
{
    for (unsigned h = 0; h < 2; h++) {
        const uint64_t *values = (const uint64_t *)gw_tcp_counters(s->hosts[h].tcp);
        for (unsigned i = 0; i < gw_tcp_counter_count; i++)
            if (values[i] != 0)
                fprintf(stderr, "host %u %-24s %" PRIu64 "\n", h, gw_tcp_counter_descs[i].name, values[i]);
    }
}

static struct sim *current; /* for what a failure prints */

#define expect(cond, ...)                                                                          \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "seed %" PRIu64 ": %s:%d: %s: ", current->seed, __FILE__, __LINE__,    \
                    #cond);                                                                        \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "\nagain: sim_tcp --seed %" PRIu64 " --verbose --pcap seed.pcap\n",     \
                    current->seed);                                                                \
            dump();                                                                                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void dump_host(const struct host *h)
{
    static const char *const states[] = {
#define X(name, text, word) text,
        GW_TCP_STATES(X)
#undef X
    };
    const struct gw_tcp *t = h->tcp;
    fprintf(stderr, "host %u: window %u, send buffer %u, mss %u, dirty %u\n", h->number,
            t->cfg.recv_window_bytes, t->cfg.send_buffer_bytes, t->cfg.mss_v4, t->dirty_count);
    for (gw_conn i = 1; i < t->conns.fresh; i++) {
        const struct conn *c = conn_at(t, i);
        if (c->flags == 0)
            continue;
        fprintf(stderr,
                "  flow %d %s flags %x una %u nxt +%u wnd %u queue %u pipe %u cwnd %u "
                "rexmit %u timers %x backoff %u unanswered %u | nxt %u edge +%u kept %u unread %u\n",
                h->flow_of[i] - 1, states[c->state], c->flags, c->snd_una,
                c->snd_nxt - c->snd_una, c->snd_wnd, c->queue_bytes, c->pipe, c->cwnd,
                c->rexmit, c->timers, c->backoff, c->unanswered, c->rcv_nxt,
                c->rcv_edge - c->rcv_nxt, tcp_kept_bytes(t, c), tcp_kept_unread(t, c));
    }
}

static void dump(void)
{
    fprintf(stderr, "at %.6f s\n", (double)world_now_us(current->world) / 1e6);
    for (unsigned i = 0; i < current->flow_count; i++) {
        const struct flow *f = &current->flows[i];
        for (unsigned n = 0; n < 2; n++)
            if (f->started && !flow_is_over(f))
                fprintf(stderr, "flow %u end %u: sent %" PRIu64 " of %" PRIu64 ", received %" PRIu64
                        ", open %d eof %d shut %d closed %d (%d)\n", i, n, f->ends[n].sent,
                        f->ends[n].total, f->ends[n].received, f->ends[n].open, f->ends[n].eof,
                        f->ends[n].shut, f->ends[n].closed, f->ends[n].why);
    }
    for (unsigned i = 0; i < 2; i++)
        dump_host(&current->hosts[i]);
    print_counters(current);
}

/* ---- what the streams contain ---- */

/* Eight bytes at a time: made and compared for every byte of every run. */
static uint64_t word_at(unsigned flow, unsigned from_host, uint64_t pos)
{
    uint64_t x = (pos / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15) + flow * 2 + from_host;
    return (x ^ x >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
}

/* How many of len bytes at pos lie in the word of pos. */
static size_t in_word(uint64_t pos, size_t len)
{
    size_t rest = 8 - pos % 8;
    return len < rest ? len : rest;
}

static void fill(uint8_t *p, unsigned flow, unsigned from_host, uint64_t pos, size_t len)
{
    for (size_t n; len > 0; p += n, pos += n, len -= n) {
        uint64_t word = word_at(flow, from_host, pos) >> (pos % 8 * 8);
        n = in_word(pos, len);
        memcpy(p, &word, n);
    }
}

/* The position of the first byte that is not what was sent; the end when all are. */
static uint64_t first_wrong(const uint8_t *p, unsigned flow, unsigned from_host, uint64_t pos,
                            size_t len)
{
    for (size_t n; len > 0; p += n, pos += n, len -= n) {
        uint64_t word = word_at(flow, from_host, pos) >> (pos % 8 * 8);
        n = in_word(pos, len);
        const uint8_t *want = (const uint8_t *)&word;
        for (size_t i = 0; memcmp(p, want, n) != 0 && i < n; i++)
            if (p[i] != want[i])
                return pos + i;
    }
    return pos;
}

/* ---- the users ---- */

static unsigned flow_number(const struct host *h, gw_conn c)
{
    expect(h->flow_of[c] != 0, "connection %u belongs to no flow", c);
    return h->flow_of[c] - 1u;
}

static struct end *end_of(struct host *h, gw_conn c)
{
    return &h->sim->flows[flow_number(h, c)].ends[h->number];
}

static bool send_chunk(struct host *h, struct end *e, unsigned flow)
{
    struct world *w = h->sim->world;
    uint64_t left = e->total - e->sent;
    uint32_t len = 1 + (uint32_t)world_random(w, world_random(w, 2) ? 300 : CHUNK_MAX);
    if (len > left)
        len = (uint32_t)left;
    int err;
    if (world_random(w, 2)) {
        static uint8_t buf[CHUNK_MAX];
        fill(buf, flow, h->number, e->sent, len);
        err = gw_tcp_send_copy(h->tcp, e->c, buf, len);
    } else {
        uint32_t off = (uint32_t)world_random(w, 50);
        gw_block b = gw_arena_get(h->arena, len + off + world_random(w, 50));
        if (b == 0)
            return false;
        fill((uint8_t *)gw_arena_ptr(h->arena, b) + off, flow, h->number, e->sent, len);
        err = gw_tcp_send(h->tcp, e->c, (struct gw_slice){b, off, len});
        if (err)
            gw_arena_put(h->arena, b);
    }
    if (err)
        return false;
    e->sent += len;
    expect(gw_tcp_queue(h->tcp, e->c).sent_end == e->sent, "flow %u", flow);
    return true;
}

static void look_again(struct host *h, struct end *e)
{
    struct world *w = h->sim->world;
    gw_tcp_set_deadline(h->tcp, e->c, world_now_us(w) + 1 + world_random(w, 200000));
}

static void push(struct host *h, struct end *e, unsigned flow)
{
    if (e->shut)
        return;
    while (e->sent < e->total)
        if (!send_chunk(h, e, flow)) {
            look_again(h, e);
            return;
        }
    if (e->shut_after_eof && !e->eof)
        return;
    e->shut = true;
    gw_tcp_shutdown(h->tcp, e->c);
}

static bool on_established(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    struct host *h = ctx;
    unsigned flow = (h->number == 0 ? t->local_port : t->remote_port) - 10000u;
    expect(flow < h->sim->flow_count, "port %u", t->remote_port);
    struct end *e = &h->sim->flows[flow].ends[h->number];
    /* A SYN cookie is good for a minute, even when the connection it made is over: a late copy of
     * the segment that redeemed it does so again. */
    bool over = e->closed || h->sim->flows[flow].aborted;
    if (over && gw_tcp_counters(h->tcp)->cookies_redeemed > 0)
        return false;
    expect(!e->open, "flow %u opened twice", flow);
    h->flow_of[c] = (uint16_t)(flow + 1);
    e->c = c;
    e->open = true;
    push(h, e, flow);
    return true;
}

static size_t on_data(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    struct host *h = ctx;
    struct sim *s = h->sim;
    unsigned flow = flow_number(h, c);
    struct flow *f = &s->flows[flow];
    struct end *e = &f->ends[h->number];
    expect(e->open && !e->closed && !e->eof, "flow %u", flow);
    size_t take = world_chance(s->world, s->pause_ppm) ? world_random(s->world, len) : len;
    uint64_t good = first_wrong(p, flow, 1 - h->number, e->received, take);
    expect(good == e->received + take, "flow %u: byte %" PRIu64 " is wrong", flow, good);
    e->received += take;
    if (f->abort_at != 0 && f->abort_host == h->number && e->received >= f->abort_at) {
        f->aborted = true;
        f->abort_at = 0;
        gw_tcp_abort(h->tcp, c);
    } else if (take < len) {
        look_again(h, e);
    }
    return take;
}

static void on_peer_closed(void *ctx, gw_conn c)
{
    struct host *h = ctx;
    struct end *e = end_of(h, c);
    unsigned flow = flow_number(h, c);
    expect(!e->eof, "flow %u: told twice", flow);
    expect(e->received == h->sim->flows[flow].ends[1 - h->number].total, "flow %u: %" PRIu64, flow,
           e->received);
    e->eof = true;
    push(h, e, flow);
}

static void on_acked(void *ctx, gw_conn c, uint64_t acked)
{
    struct host *h = ctx;
    struct end *e = end_of(h, c);
    expect(acked > e->acked && acked <= e->sent, "flow %u", flow_number(h, c));
    e->acked = acked;
    push(h, e, flow_number(h, c));
}

static void on_closed(void *ctx, gw_conn c, enum gw_tcp_close_reason why)
{
    struct host *h = ctx;
    struct end *e = end_of(h, c);
    expect(!e->closed, "flow %u", flow_number(h, c));
    e->closed = true;
    e->why = why;
    h->flow_of[c] = 0;
}

static void on_deadline(void *ctx, gw_conn c)
{
    struct host *h = ctx;
    gw_tcp_read_resume(h->tcp, c);
    push(h, end_of(h, c), flow_number(h, c));
}

static const struct gw_tcp_upcalls upcalls = {
    .established = on_established,
    .data = on_data,
    .peer_closed = on_peer_closed,
    .acked = on_acked,
    .closed = on_closed,
    .deadline = on_deadline,
};

/* ---- the wire ---- */

static struct gw_ip address(const struct sim *s, unsigned host)
{
    if (!s->v6)
        return gw_ip_from_v4((const uint8_t[]){10, 0, 0, (uint8_t)(1 + host)});
    return (struct gw_ip){{0xfd, [15] = (uint8_t)(1 + host)}};
}

static struct gw_tcp_tuple flow_tuple(const struct sim *s, unsigned flow)
{
    return (struct gw_tcp_tuple){.local = address(s, 0),
                                 .remote = address(s, 1),
                                 .local_port = (uint16_t)(10000 + flow),
                                 .remote_port = PORT};
}

/* A segment with the right addresses and ports, all else invented. */
static void forge(struct sim *s)
{
    struct world *w = s->world;
    unsigned to = (unsigned)world_random(w, 2);
    struct gw_tcp_tuple t = flow_tuple(s, (unsigned)world_random(w, s->flow_count));
    uint8_t p[200];
    size_t len = 20 + world_random(w, sizeof(p) - 20);
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)world_random(w, 256);
    gw_put_be16(p, to == 1 ? t.local_port : t.remote_port);
    gw_put_be16(p + 2, to == 1 ? t.remote_port : t.local_port);
    p[12] = (uint8_t)((5 + world_random(w, 6)) << 4);
    /* A forged SYN may rightly open a connection: not of interest here. */
    p[13] &= (uint8_t)~TCP_SYN;
    gw_tcp_input(s->hosts[to].tcp, world_now_us(w), to == 1 ? &t.local : &t.remote,
                 to == 1 ? &t.remote : &t.local, p, len);
}

/* ---- making a world from a seed ---- */

static uint64_t pick(struct world *w, const uint64_t *from, size_t count)
{
    return from[world_random(w, count)];
}
#define PICK(w, ...)                                                                               \
    pick(w, (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / 8)

static struct world_link random_link(struct world *w)
{
    struct world_link l = {
        .delay_us = PICK(w, 20, 500, 5000, 30000, 120000),
        .rate_bytes_per_s = PICK(w, 0, 0, 50000, 1000000, 20000000),
        .queue_bytes = (uint32_t)PICK(w, 30000, 60000, 1000000),
        .faults =
            {
                .loss_ppm = (uint32_t)PICK(w, 0, 0, 1000, 20000, 100000, 250000),
                .burst_ppm = (uint32_t)PICK(w, 0, 0, 1000, 10000),
                .burst_packets = (uint32_t)PICK(w, 3, 10, 30),
                .duplicate_ppm = (uint32_t)PICK(w, 0, 0, 10000, 200000),
                .corrupt_ppm = (uint32_t)PICK(w, 0, 0, 10000, 100000),
                .reorder_ppm = (uint32_t)PICK(w, 0, 0, 10000, 300000),
                .small_loss_ppm = (uint32_t)PICK(w, 0, 0, 0, 100000, 500000),
                .reorder_us_max = PICK(w, 100, 10000, 300000),
                .jitter_us_max = PICK(w, 0, 50, 2000, 30000),
            },
    };
    return l;
}

static void open_host(struct sim *s, unsigned number, uint32_t refuse_ppm)
{
    struct world *w = s->world;
    struct host *h = &s->hosts[number];
    *h = (struct host){.sim = s,
                       .number = number,
                       .nic = {.world = w, .capture = s->capture, .refuse_ppm = refuse_ppm}};
    expect(gw_arena_open(&h->arena, "sim-arena", PICK(w, 16, 64) << 20, GW_PAGES_SMALL) == 0, "-");
    uint16_t mss = (uint16_t)PICK(w, 536, 1200, 1460, 1460, 8960);
    struct gw_tcp_config cfg = {
        .conn_limit = FLOWS_MAX * 4,
        .half_open_limit = (uint32_t)PICK(w, FLOWS_MAX, FLOWS_MAX, 1),
        .time_wait_limit = FLOWS_MAX * 2,
        .recv_window_bytes = (uint32_t)PICK(w, 9000, 20000, 65535, 262144, 1048576, 8388608),
        .send_buffer_bytes = (uint32_t)PICK(w, 20000, 65536, 1048576, 4194304),
        .send_node_limit = (uint32_t)PICK(w, 0, 0, 0, 64),
        .recv_piece_limit = (uint32_t)PICK(w, 0, 0, 0, 16),
        .gso_bytes_max = (uint32_t)PICK(w, 0, GW_TCP_GSO_BYTES_MAX),
        .mss_v4 = mss,
        .mss_v6 = mss,
        /* Longer than cookies keep text for nobody from being answered by RST: every transfer has to
         * end, and what holds a peer up that long must not cost it its other connections. */
        .fin_wait_2_us = UINT64_C(300000000),
        .key = {s->seed, number},
        .arena = h->arena,
        .pages = GW_PAGES_SMALL,
        .name = "sim",
        .congestion_control = PICK(w, GW_TCP_CC_CUBIC, GW_TCP_CC_NEWRENO),
    };
    expect(gw_tcp_open(&h->tcp, &cfg, &upcalls, h, nic_tcp_emit, &h->nic, world_now_us(w)) == 0,
           "-");
    h->nic.tcp = h->tcp;
    expect(gw_tcp_listen(h->tcp, PORT) == 0, "-");
}

static uint64_t random_total(struct world *w)
{
    return world_random(w, PICK(w, 1, 100, 5000, 20000, 100000, 1000000) + 1);
}

static void make_flow(struct sim *s, struct flow *f)
{
    struct world *w = s->world;
    *f = (struct flow){.start_us = world_now_us(w) + world_random(w, 5 * SECOND_US)};
    /* Not nothing: after a SYN cookie only what the client sends makes the connection known. */
    f->ends[0].total = 1 + random_total(w);
    f->ends[1].total = random_total(w);
    unsigned waits = (unsigned)world_random(w, 3); /* who closes second: client, server, nobody */
    if (waits < 2)
        f->ends[waits].shut_after_eof = true;
    if (world_chance(w, 50000)) {
        f->abort_host = (unsigned)world_random(w, 2);
        f->abort_at = 1 + world_random(w, f->ends[1 - f->abort_host].total);
    }
}

static void open_sim(struct sim *s, uint64_t seed, struct capture *capture)
{
    uint64_t start_us = seed % 3 == 0 ? (UINT64_C(1) << 32) - 3 * SECOND_US : seed * 1000003;
    *s = (struct sim){.seed = seed, .world = world_open(seed, start_us), .capture = capture};
    struct world *w = s->world;
    s->v6 = world_random(w, 2);
    uint32_t refuse_ppm = (uint32_t)PICK(w, 0, 0, 10000, 300000);
    s->pause_ppm = (uint32_t)PICK(w, 0, 1000, 50000, 500000);
    s->forge_ppm = (uint32_t)PICK(w, 0, 100000);
    s->heal_us = start_us + SECOND_US + world_random(w, 20 * SECOND_US);
    for (unsigned i = 0; i < 2; i++)
        open_host(s, i, refuse_ppm);
    for (unsigned i = 0; i < 2; i++) {
        struct world_link l = random_link(w);
        s->hosts[i].nic.link_out =
            world_add_link(w, &l, nic_tcp_deliver, &s->hosts[1 - i].nic);
    }
    s->flow_count = 1 + (unsigned)world_random(w, FLOWS_MAX);
    for (unsigned i = 0; i < s->flow_count; i++)
        make_flow(s, &s->flows[i]);
}

/* ---- running it ---- */

static uint64_t start_flows(struct sim *s)
{
    uint64_t now = world_now_us(s->world), next = UINT64_MAX;
    for (unsigned i = 0; i < s->flow_count; i++) {
        struct flow *f = &s->flows[i];
        if (f->started)
            continue;
        if (f->start_us > now) {
            next = f->start_us < next ? f->start_us : next;
            continue;
        }
        struct gw_tcp_tuple t = flow_tuple(s, i);
        gw_conn c;
        expect(gw_tcp_connect(s->hosts[0].tcp, now, &t, &c) == 0, "flow %u", i);
        s->hosts[0].flow_of[c] = (uint16_t)(i + 1);
        f->ends[0].c = c;
        f->started = true;
    }
    return next;
}

static void heal(struct sim *s)
{
    for (unsigned i = 0; i < 2; i++) {
        world_heal(s->world, s->hosts[i].nic.link_out);
        s->hosts[i].nic.refuse_ppm = 0;
    }
    s->pause_ppm = 0;
    s->forge_ppm = 0;
    s->heal_us = UINT64_MAX;
}

static bool all_over(const struct sim *s)
{
    for (unsigned i = 0; i < s->flow_count; i++)
        if (!flow_is_over(&s->flows[i]))
            return false;
    for (unsigned i = 0; i < 2; i++)
        if (s->hosts[i].tcp->conns.used_count > 0)
            return false;
    return true;
}

static uint64_t next_event(struct sim *s)
{
    uint64_t next = start_flows(s);
    uint64_t times[] = {world_next_us(s->world), gw_tcp_next_deadline_us(s->hosts[0].tcp),
                        gw_tcp_next_deadline_us(s->hosts[1].tcp), s->heal_us};
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        next = times[i] < next ? times[i] : next;
    uint64_t now = world_now_us(s->world);
    return next > now ? next : now;
}

static void pass(struct sim *s)
{
    uint64_t now = world_now_us(s->world);
    for (unsigned i = 0; i < 2; i++) {
        struct gw_tcp *t = s->hosts[i].tcp;
        gw_tcp_advance(t, now);
        gw_tcp_flush(t, now);
        expect(gw_wheel_next_us(&t->wheel) > now - (now & 63), "a deadline in the past");
    }
    if (world_chance(s->world, s->forge_ppm))
        forge(s);
}

/* An abort's RST may be lost: its peer then waits for ever, as TCP without keepalive does. */
static bool abandon_orphans(struct sim *s)
{
    bool any = false;
    for (unsigned i = 0; i < s->flow_count; i++) {
        const struct flow *f = &s->flows[i];
        for (unsigned n = 0; f->aborted && n < 2; n++) {
            const struct end *e = &f->ends[n];
            if (!e->open || e->closed)
                continue;
            gw_tcp_abort(s->hosts[n].tcp, e->c);
            any = true;
        }
    }
    return any;
}

static void run_until(struct sim *s, bool (*over)(const struct sim *), uint64_t limit_us)
{
    unsigned spins = 0;
    while (!over(s)) {
        uint64_t now = world_now_us(s->world), next = next_event(s);
        if (next == UINT64_MAX && abandon_orphans(s))
            continue;
        expect(next != UINT64_MAX, "nothing will ever happen again");
        expect(next <= limit_us, "not over in time");
        spins = next == now ? spins + 1 : 0;
        expect(spins < SPINS_MAX, "time stands still");
        if (next >= s->heal_us)
            heal(s);
        world_run_to(s->world, next);
        pass(s);
    }
}

static bool all_forgotten(const struct sim *s)
{
    for (unsigned i = 0; i < 2; i++)
        if (s->hosts[i].tcp->time_waits.used_count > 0 || s->hosts[i].tcp->conns.used_count > 0)
            return false;
    return world_in_flight(s->world) == 0;
}

/* All has arrived, and the other side has told its user so; but every acknowledgement of it was lost
 * for longer than TIME-WAIT lasts. TCP cannot do better. */
static bool outlived_time_wait(const struct end *e, const struct end *other)
{
    return e->why == GW_TCP_CLOSED_RESET && e->eof && other->closed &&
           other->why == GW_TCP_CLOSED_DONE && other->received == e->total && e->shut;
}

static void check_flow(const struct sim *s, unsigned i)
{
    const struct flow *f = &s->flows[i];
    if (f->aborted)
        return;
    for (unsigned n = 0; n < 2; n++) {
        const struct end *e = &f->ends[n], *other = &f->ends[1 - n];
        expect(e->closed, "flow %u end %u", i, n);
        expect(e->sent == e->total && e->received == other->total, "flow %u end %u", i, n);
        if (outlived_time_wait(e, other))
            continue;
        expect(e->why == GW_TCP_CLOSED_DONE, "flow %u end %u: ended by %d", i, n, e->why);
        expect(e->acked == e->total, "flow %u end %u", i, n);
    }
}

/* Nothing is used, and every index that was ever handed out can be again: each stands once in the
 * list of free ones. */
static void check_slab(const struct host *h, const struct gw_slab *slab, const char *what)
{
    expect(slab->used_count == 0, "host %u: %s", h->number, what);
    uint32_t free_count = 0;
    for (uint32_t i = slab->free_head; i != 0 && free_count < slab->fresh; free_count++) {
        expect(i < slab->fresh, "host %u: %s", h->number, what);
        memcpy(&i, gw_slab_at(slab, i), sizeof(i));
    }
    expect(free_count == slab->fresh - 1, "host %u: %s: index lost", h->number, what);
}

static void check_host(const struct host *h)
{
    const struct gw_tcp *t = h->tcp;
    check_slab(h, &t->conns, "connections");
    check_slab(h, &t->nodes, "nodes");
    check_slab(h, &t->pieces, "pieces");
    check_slab(h, &t->time_waits, "TIME-WAIT");
    expect(t->dirty_count == 0 && t->reply_count == 0, "host %u: something to send", h->number);
    expect(gw_arena_used_bytes(h->arena) == 0, "host %u: arena", h->number);
    expect(t->half_open_count == 0, "host %u: half open", h->number);
    expect(t->wheel.armed_count == 0, "host %u: timers", h->number);
    for (uint32_t i = 0; i < t->table.slot_count; i++)
        expect(t->table.slots[i] == 0, "host %u: table", h->number);
}

static void run_seed(uint64_t seed, struct capture *capture, bool verbose)
{
    struct sim s;
    current = &s;
    open_sim(&s, seed, capture);
    uint64_t start_us = world_now_us(s.world);
    run_until(&s, all_over, s.heal_us + HEALING_US);
    for (unsigned i = 0; i < s.flow_count; i++)
        check_flow(&s, i);
    uint64_t end_us = world_now_us(s.world);
    run_until(&s, all_forgotten, end_us + HEALING_US);
    if (verbose) {
        printf("seed %" PRIu64 ": %u flows, %.3f s of virtual time\n", seed, s.flow_count,
               (double)(end_us - start_us) / 1e6);
        print_counters(&s);
    }
    for (unsigned i = 0; i < 2; i++) {
        check_host(&s.hosts[i]);
        gw_tcp_free(&s.hosts[i].tcp);
        gw_arena_free(&s.hosts[i].arena);
    }
    world_close(&s.world);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"seeds", required_argument, NULL, 'n'},
                                            {"pcap", required_argument, NULL, 'p'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    uint64_t seed = 1, seeds = 1;
    const char *pcap = NULL;
    bool verbose = false;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 's')
            seed = strtoull(optarg, NULL, 0);
        else if (o == 'n')
            seeds = strtoull(optarg, NULL, 0);
        else if (o == 'p')
            pcap = optarg;
        else if (o == 'v')
            verbose = true;
        else
            return 2;
    }
    struct capture *capture = NULL;
    if (pcap != NULL && (capture = capture_open(pcap)) == NULL) {
        perror(pcap);
        return 1;
    }
    for (uint64_t i = 0; i < seeds; i++)
        run_seed(seed + i, capture, verbose);
    capture_close(&capture);
    printf("%" PRIu64 " seeds from %" PRIu64 ": every byte arrived once, nothing left behind\n",
           seeds, seed);
    return 0;
}
