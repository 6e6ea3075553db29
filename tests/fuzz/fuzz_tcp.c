/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments that are nearly right, into one stack: hostile peers who know every number of their
 * connections send each flag, number, option and length beside the right one, while the user reads,
 * stops reading, sends, closes and aborts as it likes. In the end all is closed and waited for.
 *
 * What must hold, whatever comes: text is handed over byte by byte as its sequence numbers say, and
 * sent as the user gave it; what is sent has the form of a segment; tables and arena keep within
 * their limits; and in the end no index, block or timer is left. Reads beyond a segment show under
 * AddressSanitizer: each is in a block of exactly its length.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../dataplane/tcp/stack.h"
#include "../sim/mix.h"

enum {
    PEERS = 12,
    SERVICE = 5222,
    STEPS = 1500,
    CONNS = 8,
    HALF_OPEN = 3,
    TIME_WAITS = 3,
    ARENA_BYTES = 4 << 20,
    BURST_MAX = 4,
    TEXT_MAX = 1460,
    SEEDS_DEEP = 200, /* so many reach everything */
};

/* What the stack has last said to a peer, which is what the peer knows. */
struct peer {
    struct gw_tcp_tuple tuple; /* as the stack has it */
    uint32_t next, edge;       /* expected of the peer, and the end of the window */
    uint32_t una, sent;        /* first and last number that the stack has sent lately */
    uint32_t ts, ts_echo;
    bool stamped;
};

struct fuzz {
    struct gw_tcp *tcp;
    struct gw_arena *arena;
    uint64_t now_us;
    uint64_t random;
    struct peer peers[PEERS];
    /* By index of connection. */
    bool known[CONNS + 1];
    uint32_t in_base[CONNS + 1]; /* sequence number of the first byte that comes in */
    uint64_t got[CONNS + 1], given[CONNS + 1];
    bool closing; /* no more mischief */
};

static uint64_t seed;

static void say_seed(int number)
{
    char line[80];
    int len = snprintf(line, sizeof(line), "fuzz_tcp: again with --seed %llu\n",
                       (unsigned long long)seed);
    if (write(STDERR_FILENO, line, (size_t)len) < 0)
        _exit(1);
    signal(number, SIG_DFL);
    raise(number);
}

static uint32_t below(struct fuzz *f, uint32_t n)
{
    f->random = mix(f->random, 1);
    return (uint32_t)(f->random >> 32) % n;
}

static bool one_in(struct fuzz *f, uint32_t n)
{
    return below(f, n) == 0;
}

/* Of a peer's text by sequence number, and of ours by position. */
static uint8_t peers_byte(uint32_t seq)
{
    return (uint8_t)(seq * 7 + (seq >> 8) + (seq >> 16));
}

static uint8_t our_byte(uint64_t position)
{
    return (uint8_t)(position * 11 + (position >> 8));
}

/* ---- the user ---- */

static void give_text(struct fuzz *f, gw_conn c)
{
    static uint8_t text[20000];
    uint32_t len = 1 + below(f, one_in(f, 4) ? sizeof(text) : 300);
    for (uint32_t i = 0; i < len; i++)
        text[i] = our_byte(f->given[c] + i);
    int err = 0;
    if (one_in(f, 2)) {
        err = gw_tcp_send_copy(f->tcp, c, text, len);
    } else {
        gw_block b = gw_arena_get(f->arena, len + 3);
        if (b == 0)
            return;
        memcpy((uint8_t *)gw_arena_ptr(f->arena, b) + 3, text, len);
        err = gw_tcp_send(f->tcp, c, (struct gw_slice){b, 3, len});
        if (err != 0)
            gw_arena_put(f->arena, b);
    }
    if (err == 0)
        f->given[c] += len;
}

static void act(struct fuzz *f, gw_conn c)
{
    switch (below(f, 12)) {
    case 0:
        if (one_in(f, 4))
            gw_tcp_shutdown(f->tcp, c);
        break;
    case 1:
        if (one_in(f, 30))
            gw_tcp_abort(f->tcp, c);
        break;
    case 2:
    case 3:
        gw_tcp_read_resume(f->tcp, c);
        break;
    case 4:
        gw_tcp_set_deadline(f->tcp, c, one_in(f, 3) ? 0 : f->now_us + below(f, 5000000));
        break;
    case 5:
        gw_tcp_set_nodelay(f->tcp, c, one_in(f, 2));
        break;
    case 6:
        gw_tcp_set_keepalive(f->tcp, c, one_in(f, 2));
        break;
    default:
        give_text(f, c);
    }
}

static bool on_established(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    struct fuzz *f = ctx;
    check(c <= CONNS);
    f->in_base[c] = conn_at(f->tcp, c)->rcv_nxt;
    f->got[c] = 0;
    bool ours = f->known[c]; /* by connect */
    f->known[c] = ours || !one_in(f, 10);
    return f->known[c];
}

static size_t on_data(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    struct fuzz *f = ctx;
    check(f->known[c] && len > 0);
    size_t taken = f->closing || !one_in(f, 4) ? len : below(f, (uint32_t)len + 1);
    for (size_t i = 0; i < taken; i++)
        check(p[i] == peers_byte(f->in_base[c] + (uint32_t)f->got[c] + (uint32_t)i));
    f->got[c] += taken;
    if (!f->closing && one_in(f, 6))
        act(f, c);
    return taken;
}

static void on_peer_closed(void *ctx, gw_conn c)
{
    struct fuzz *f = ctx;
    check(f->known[c]);
    if (one_in(f, 2))
        gw_tcp_shutdown(f->tcp, c);
}

static void on_acked(void *ctx, gw_conn c, uint64_t acked)
{
    struct fuzz *f = ctx;
    check(f->known[c] && acked <= f->given[c]);
    if (!f->closing && one_in(f, 6))
        act(f, c);
}

static void on_closed(void *ctx, gw_conn c, enum gw_tcp_close_reason why)
{
    struct fuzz *f = ctx;
    check(f->known[c]);
    f->known[c] = false;
    f->given[c] = 0;
}

static void on_deadline(void *ctx, gw_conn c)
{
    struct fuzz *f = ctx;
    check(f->known[c]);
    if (!f->closing)
        act(f, c);
}

static const struct gw_tcp_upcalls upcalls = {.established = on_established,
                                              .data = on_data,
                                              .peer_closed = on_peer_closed,
                                              .acked = on_acked,
                                              .closed = on_closed,
                                              .deadline = on_deadline};

/* ---- what the stack sends ---- */

static struct peer *peer_of(struct fuzz *f, const struct gw_tcp_tuple *t)
{
    for (unsigned i = 0; i < PEERS; i++)
        if (memcmp(&f->peers[i].tuple, t, sizeof(*t)) == 0)
            return &f->peers[i];
    check(false);
    return NULL;
}

/* Its text is what the user gave for that place of the stream. */
static void check_text(struct fuzz *f, const struct tcp_segment *s, const struct gw_tcp_segment *seg)
{
    uint32_t ref = tcp_table_find(f->tcp, seg->tuple);
    check(ref != 0 && (ref & TCP_REF_TIME_WAIT) == 0 && f->known[ref]);
    const struct conn *c = conn_at(f->tcp, ref);
    uint64_t at = c->acked + (uint32_t)(s->seq - c->snd_una);
    check(at + seg->payload_len <= f->given[ref]);
    for (uint32_t i = 0; i < seg->payload_count; i++)
        for (size_t j = 0; j < seg->payload[i].len; j++)
            check(seg->payload[i].p[j] == our_byte(at++));
}

static bool on_emit(void *ctx, const struct gw_tcp_segment *seg)
{
    struct fuzz *f = ctx;
    struct tcp_segment s;
    if (!f->closing && one_in(f, 40))
        return false;
    check(tcp_segment_parse(&s, &seg->tuple->remote, &seg->tuple->local, seg->header,
                            seg->header_len) == TCP_PARSE_OK);
    check(s.len == 0 && seg->header_len % 4 == 0);
    check(s.tuple.remote_port == seg->tuple->local_port);
    if (seg->payload_len > 0)
        check_text(f, &s, seg);
    struct peer *p = peer_of(f, seg->tuple);
    const bool syn = (s.flags & TCP_SYN) != 0, fin = (s.flags & TCP_FIN) != 0;
    p->una = s.seq;
    p->sent = s.seq + seg->payload_len + syn + fin;
    if (s.flags & TCP_ACK) {
        p->next = s.ack;
        p->edge = s.ack + s.window;
    }
    p->stamped = s.opt.has_timestamp;
    p->ts_echo = s.opt.ts_val;
    return true;
}

/* ---- what peers send ---- */

static uint32_t near(struct fuzz *f, uint32_t number)
{
    switch (below(f, 8)) {
    case 0:
        return number + below(f, 3000);
    case 1:
        return number - below(f, 3000);
    case 2:
        return number + (one_in(f, 2) ? 1 : -1u);
    case 3:
        return one_in(f, 4) ? (uint32_t)f->random : number;
    default:
        return number;
    }
}

/* Of what is under way: mostly its beginning, or its end. */
static uint32_t some_ack(struct fuzz *f, const struct peer *p)
{
    if (one_in(f, 3))
        return near(f, p->una);
    return one_in(f, 3) ? near(f, p->sent) : p->una;
}

static uint8_t some_flags(struct fuzz *f)
{
    static const uint8_t usual[] = {TCP_SYN, TCP_ACK, TCP_ACK, TCP_ACK, TCP_ACK, TCP_ACK, TCP_ACK,
                                    TCP_ACK | TCP_PSH, TCP_ACK | TCP_PSH, TCP_SYN | TCP_ACK};
    static const uint8_t last[] = {TCP_ACK | TCP_FIN, TCP_RST, TCP_RST | TCP_ACK};
    if (one_in(f, 60))
        return (uint8_t)below(f, 256);
    return one_in(f, 40) ? last[below(f, sizeof(last))] : usual[below(f, sizeof(usual))];
}

static uint8_t *put_stamp(struct fuzz *f, const struct peer *p, uint8_t *o)
{
    *o++ = 8;
    *o++ = 10;
    gw_put_be32(o, one_in(f, 10) ? near(f, p->ts) : p->ts);
    gw_put_be32(o + 4, near(f, p->ts_echo));
    return o + 8;
}

static uint8_t *put_blocks(struct fuzz *f, const struct peer *p, uint8_t *o, const uint8_t *end)
{
    uint32_t n = 1 + below(f, 3);
    if (end - o < (ptrdiff_t)(2 + 8 * n))
        return o;
    *o++ = 5;
    *o++ = (uint8_t)(2 + 8 * n);
    for (uint32_t i = 0; i < n; i++, o += 8) {
        uint32_t start = p->una + below(f, 4000);
        gw_put_be32(o, near(f, start));
        gw_put_be32(o + 4, start + 1 + below(f, one_in(f, 2) ? 3 : 3000));
    }
    return o;
}

static uint8_t *put_syn_options(struct fuzz *f, uint8_t *o)
{
    static const uint16_t sizes[] = {0, 1, 64, 536, 1460, 65535};
    *o++ = 2;
    *o++ = 4;
    gw_put_be16(o, sizes[below(f, 6)]);
    o += 2;
    if (one_in(f, 2)) {
        *o++ = 3;
        *o++ = 3;
        *o++ = (uint8_t)below(f, 16);
    }
    if (one_in(f, 2)) {
        *o++ = 4;
        *o++ = 2;
    }
    return o;
}

/* Options behind the header; returns their length, a multiple of four. */
static uint32_t put_options(struct fuzz *f, const struct peer *p, uint8_t flags, uint8_t o[40])
{
    uint8_t *at = o, *end = o + 40;
    if (flags & TCP_SYN)
        at = put_syn_options(f, at);
    if (flags & TCP_SYN ? one_in(f, 2) : p->stamped != one_in(f, 30))
        at = put_stamp(f, p, at);
    if ((flags & TCP_SYN) == 0 && one_in(f, 3))
        at = put_blocks(f, p, at, end);
    while ((at - o) % 4 != 0)
        *at++ = 1;
    if (one_in(f, 25) && at > o) /* one byte of them is wrong */
        o[below(f, (uint32_t)(at - o))] = (uint8_t)below(f, 256);
    return (uint32_t)(at - o);
}

/* Whoever collects all that the stack sends knows what is under way. */
static void learn(const struct fuzz *f, struct peer *p)
{
    uint32_t ref = tcp_table_find(f->tcp, &p->tuple);
    if (ref == 0 || (ref & TCP_REF_TIME_WAIT))
        return;
    p->una = conn_at(f->tcp, ref)->snd_una;
    p->sent = conn_at(f->tcp, ref)->snd_nxt;
}

/* Writes a segment of this peer; returns its length. */
static uint32_t put_segment(struct fuzz *f, struct peer *p, uint8_t *out)
{
    learn(f, p);
    uint8_t flags = some_flags(f);
    uint32_t seq = near(f, one_in(f, 12) ? p->edge : p->next);
    uint32_t ack = p->una == p->sent || one_in(f, 4) ? near(f, p->sent) : some_ack(f, p);
    uint32_t len = flags & TCP_SYN || one_in(f, 2) ? 0 : below(f, one_in(f, 3) ? 3 : TEXT_MAX);
    p->ts += below(f, 3);
    memset(out, 0, TCP_HEADER_BYTES);
    gw_put_be16(out, p->tuple.remote_port);
    gw_put_be16(out + 2, p->tuple.local_port);
    gw_put_be32(out + 4, seq);
    gw_put_be32(out + 8, ack);
    out[13] = flags;
    gw_put_be16(out + 14, (uint16_t)(one_in(f, 6) ? below(f, 3) : below(f, 65536)));
    uint32_t header = TCP_HEADER_BYTES + put_options(f, p, flags, out + TCP_HEADER_BYTES);
    /* Now and then its text begins where it does not, but never among the options. */
    uint32_t text = one_in(f, 60) ? 4 * below(f, 16) : header;
    if (text >= TCP_HEADER_BYTES && text < header)
        text = header;
    out[12] = (uint8_t)(text << 2);
    for (uint32_t i = 0; i < len; i++)
        out[header + i] = peers_byte(seq + ((flags & TCP_SYN) != 0) + header - text + i);
    len += header;
    return one_in(f, 100) ? below(f, len + 1) : len;
}

static void send_burst(struct fuzz *f)
{
    struct gw_tcp_arrival burst[BURST_MAX];
    uint8_t *blocks[BURST_MAX];
    unsigned count = 1 + below(f, BURST_MAX);
    for (unsigned i = 0; i < count; i++) {
        uint8_t bytes[TCP_HEADER_BYTES_MAX + TEXT_MAX];
        struct peer *p = &f->peers[below(f, PEERS)];
        uint32_t len = put_segment(f, p, bytes);
        blocks[i] = malloc(len + (len == 0));
        check(blocks[i] != NULL);
        memcpy(blocks[i], bytes, len);
        burst[i] = (struct gw_tcp_arrival){p->tuple.remote, p->tuple.local, blocks[i], len};
    }
    gw_tcp_input_burst(f->tcp, f->now_us, burst, count);
    for (unsigned i = 0; i < count; i++)
        free(blocks[i]);
}

/* ---- one seed ---- */

static struct gw_ip address(bool six, uint8_t last)
{
    if (!six)
        return gw_ip_from_v4((const uint8_t[]){10, 0, 0, last});
    return (struct gw_ip){{0xfd, [15] = last}};
}

static void open_all(struct fuzz *f)
{
    struct gw_tcp_config cfg = {
        .conn_limit = CONNS,
        .half_open_limit = HALF_OPEN,
        .time_wait_limit = TIME_WAITS,
        .recv_window_bytes = one_in(f, 2) ? 5000 : 200000,
        .send_buffer_bytes = one_in(f, 2) ? 20000 : 1 << 20,
        .send_node_limit = one_in(f, 2) ? 32 : 4096,
        .recv_piece_limit = one_in(f, 2) ? 16 : 512,
        .gso_bytes_max = one_in(f, 2) ? 0 : GW_TCP_GSO_BYTES_MAX,
        .mss_v4 = 1460,
        .mss_v6 = 1440,
        .key = {seed, 1},
        .arena = f->arena,
        .pages = GW_PAGES_SMALL,
        .name = "fuzz",
        .congestion_control = one_in(f, 2) ? GW_TCP_CC_CUBIC : GW_TCP_CC_NEWRENO,
        .nagle = one_in(f, 3),
        .keepalive = one_in(f, 3),
    };
    check(gw_tcp_open(&f->tcp, &cfg, &upcalls, f, on_emit, f, f->now_us) == 0);
    check(gw_tcp_listen(f->tcp, SERVICE) == 0);
    for (unsigned i = 0; i < PEERS; i++) {
        bool six = i % 2 != 0;
        f->peers[i] = (struct peer){
            .tuple = {.local = address(six, 1),
                      .remote = address(six, (uint8_t)(2 + i)),
                      .local_port = i < PEERS - 3 ? SERVICE : (uint16_t)(30000 + i),
                      .remote_port = (uint16_t)(40000 + i)},
            .next = one_in(f, 2) ? -below(f, 5000) : (uint32_t)f->random,
            .ts = one_in(f, 2) ? -below(f, 100) : (uint32_t)f->random,
        };
        f->peers[i].edge = f->peers[i].next + 1000;
    }
}

static void connect_one(struct fuzz *f)
{
    gw_conn c;
    const struct peer *p = &f->peers[PEERS - 1 - below(f, 3)];
    if (gw_tcp_connect(f->tcp, f->now_us, &p->tuple, &c) == 0)
        f->known[c] = true;
}

static void check_limits(const struct fuzz *f)
{
    struct gw_tcp_totals n = gw_tcp_totals(f->tcp);
    check(n.connections <= CONNS && n.time_wait <= TIME_WAITS);
    check(f->tcp->nodes.used_count <= f->tcp->nodes.limit);
    check(f->tcp->pieces.used_count <= f->tcp->pieces.limit);
    check(gw_arena_used_bytes(f->arena) <= gw_arena_limit_bytes(f->arena));
    check(f->tcp->reply_count <= TCP_REPLIES_MAX);
}

static void pass(struct fuzz *f, uint64_t after_us)
{
    f->now_us += after_us;
    gw_tcp_advance(f->tcp, f->now_us);
    gw_tcp_flush(f->tcp, f->now_us);
    check_limits(f);
}

static void quote(struct fuzz *f)
{
    struct peer *p = &f->peers[below(f, PEERS)];
    gw_tcp_icmp(f->tcp, f->now_us, (enum gw_tcp_icmp)below(f, 3), &p->tuple, near(f, p->una));
}

static uint32_t pause_us(struct fuzz *f)
{
    static const uint32_t most_us[] = {100, 1000, 50000, 500000, 5000000, 100000000};
    return one_in(f, 3) ? below(f, most_us[below(f, 1 + below(f, 6))]) : 0;
}

static void make_mischief(struct fuzz *f)
{
    for (unsigned i = 0; i < STEPS; i++) {
        gw_conn c = 1 + below(f, CONNS);
        if (!one_in(f, 4))
            send_burst(f);
        else if (one_in(f, 6))
            connect_one(f);
        else if (one_in(f, 8))
            quote(f);
        else if (f->known[c])
            act(f, c);
        pass(f, pause_us(f));
    }
}

static bool table_is_empty(const struct tcp_table *tb)
{
    for (uint32_t i = 0; i < tb->slot_count; i++)
        if (tb->slots[i] != 0)
            return false;
    return true;
}

/* The user aborts what it knows; the rest must end by itself. */
static void end_all(struct fuzz *f)
{
    f->closing = true;
    for (gw_conn c = 1; c <= CONNS; c++)
        if (f->known[c])
            gw_tcp_abort(f->tcp, c);
    pass(f, 0);
    uint64_t next;
    for (unsigned i = 0; (next = gw_tcp_next_deadline_us(f->tcp)) != UINT64_MAX; i++) {
        check(i < 2000);
        pass(f, next > f->now_us ? next - f->now_us : 0);
    }
    const struct gw_tcp *t = f->tcp;
    check(t->conns.used_count == 0 && t->nodes.used_count == 0 && t->pieces.used_count == 0);
    check(t->time_waits.used_count == 0 && t->half_open_count == 0 && t->dirty_count == 0);
    check(t->reply_count == 0 && t->wheel.armed_count == 0 && table_is_empty(&t->table));
    check(gw_arena_used_bytes(f->arena) == 0);
}

/* Of all seeds. */
static uint64_t totals[sizeof(struct gw_tcp_counters) / sizeof(uint64_t)];

static void add_counters(const struct fuzz *f)
{
    const uint64_t *values = (const uint64_t *)gw_tcp_counters(f->tcp);
    for (unsigned i = 0; i < gw_tcp_counter_count; i++)
        totals[i] += values[i];
}

static void print_counters(void)
{
    for (unsigned i = 0; i < gw_tcp_counter_count; i++)
        printf("%12llu %s\n", (unsigned long long)totals[i], gw_tcp_counter_descs[i].name);
}

/* What segments are refused early for finds nothing: enough of them must get far. */
static void require_depth(void)
{
    static const char *const reached[] = {
        "established", "closed_done", "closed_timeout", "cookies_redeemed", "time_wait_reused",
        "retransmits", "recoveries", "tail_probes_sent", "probes_sent", "fin_wait_2_expired",
        "duplicates_reported", "out_of_order_in", "drop_text_memory", "drop_text_pieces", "drop_paws"};
    unsigned found = 0;
    for (unsigned i = 0; i < gw_tcp_counter_count; i++)
        for (unsigned j = 0; j < sizeof(reached) / sizeof(reached[0]); j++)
            if (strcmp(gw_tcp_counter_descs[i].name, reached[j]) == 0) {
                check(totals[i] > 0);
                found++;
            }
    check(found == sizeof(reached) / sizeof(reached[0]));
}

static void run(struct gw_arena *arena)
{
    static struct fuzz f;
    f = (struct fuzz){.arena = arena, .random = mix(seed, 0), .now_us = 1000000};
    f.now_us += (uint64_t)below(&f, UINT32_MAX) << below(&f, 12);
    open_all(&f);
    make_mischief(&f);
    end_all(&f);
    add_counters(&f);
    gw_tcp_free(&f.tcp);
}

int main(int argc, char **argv)
{
    uint64_t count = 1;
    seed = 1;
    for (int i = 1; i < argc; i += 2) {
        uint64_t *to = strcmp(argv[i], "--seed") == 0 ? &seed : &count;
        if (i + 1 == argc || (to == &count && strcmp(argv[i], "--seeds") != 0)) {
            fprintf(stderr, "usage: fuzz_tcp [--seed N] [--seeds COUNT]\n");
            return 2;
        }
        *to = strtoull(argv[i + 1], NULL, 10);
    }
    signal(SIGABRT, say_seed);
    struct gw_arena *arena;
    check(gw_arena_open(&arena, "fuzz", ARENA_BYTES, GW_PAGES_SMALL) == 0);
    for (uint64_t end = seed + count; seed < end; seed++)
        run(arena);
    gw_arena_free(&arena);
    print_counters();
    if (count >= SEEDS_DEEP)
        require_depth();
    return 0;
}
