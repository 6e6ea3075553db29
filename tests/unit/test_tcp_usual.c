/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The short way of usual segments against the long one. Two stacks hear the same segments and have users
 * that do the same; one may take the short way (usual.c, flush_usual in out.c), the other is made not to.
 * After each step their connections, what they have sent, told and counted must be equal to the byte.
 */
#include <criterion/criterion.h>

#include "../../dataplane/base/arena.h"
#include "../../dataplane/tcp/stack.h"

#define SEEDS      400u
#define STEPS      300u
#define LOG_BYTES  65536u
#define ISS        1000u
#define PEER_PORT  40000u
#define OUR_PORT   7u
#define TEXT_MAX   3000u

struct log {
    size_t len;
    uint8_t bytes[LOG_BYTES];
};

struct side {
    struct gw_tcp *tcp;
    struct gw_arena *arena;
    struct log sent, told;
    uint64_t random; /* of its user: drawn alike on both sides */
    bool refuses;    /* its port, in this step */
};

static struct side sides[2]; /* the second never takes the short way */
static uint64_t now_us, world;
static uint8_t text[TEXT_MAX];

static uint32_t draw(uint64_t *state, uint32_t below)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)((*state >> 32) * below >> 32);
}

static void note(struct log *l, const void *p, size_t len)
{
    cr_assert_leq(l->len + len, LOG_BYTES);
    memcpy(l->bytes + l->len, p, len);
    l->len += len;
}

static void note_told(struct side *s, char what, uint64_t value)
{
    note(&s->told, &what, 1);
    note(&s->told, &value, sizeof(value));
}

/* ---- users ---- */

static bool established(void *ctx, gw_conn c, const struct gw_tcp_tuple *tuple)
{
    note_told(ctx, 'e', c);
    return true;
}

/* Answers, takes a part, closes or goes away, now and then. */
static size_t data(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    struct side *s = ctx;
    note_told(s, 'd', len);
    note(&s->told, p, len);
    uint32_t does = draw(&s->random, 1000), answer = 1 + draw(&s->random, 1800);
    if (does < 850)
        (void)gw_tcp_send_copy(s->tcp, c, text, does < 600 ? 64 : answer);
    else if (does == 998)
        gw_tcp_shutdown(s->tcp, c);
    else if (does == 999)
        gw_tcp_abort(s->tcp, c);
    return does < 960 ? len : draw(&s->random, (uint32_t)len + 1);
}

static void acked(void *ctx, gw_conn c, uint64_t position)
{
    struct side *s = ctx;
    note_told(s, 'a', position);
    if (gw_tcp_queue(s->tcp, c).kept_bytes != 0)
        gw_tcp_read_resume(s->tcp, c);
    else if (draw(&s->random, 10) == 0)
        (void)gw_tcp_send_copy(s->tcp, c, text, 100);
}

static void peer_closed(void *ctx, gw_conn c)
{
    note_told(ctx, 'p', c);
}

static void closed(void *ctx, gw_conn c, enum gw_tcp_close_reason why)
{
    note_told(ctx, 'c', why);
}

static void deadline(void *ctx, gw_conn c)
{
    note_told(ctx, 't', c);
}

static bool emit(void *ctx, const struct gw_tcp_segment *s)
{
    struct side *side = ctx;
    if (side->refuses)
        return false;
    note(&side->sent, s->header, s->header_len);
    for (uint32_t i = 0; i < s->payload_count; i++)
        note(&side->sent, s->payload[i].p, s->payload[i].len);
    return true;
}

/* ---- two stacks ---- */

static void open_side(struct side *s, bool small_window, const char *name)
{
    static const struct gw_tcp_upcalls up = {.established = established,
                                             .data = data,
                                             .peer_closed = peer_closed,
                                             .acked = acked,
                                             .closed = closed,
                                             .deadline = deadline};
    s->tcp = NULL;
    s->arena = NULL;
    s->sent.len = s->told.len = 0;
    s->random = world | 1;
    cr_assert_eq(gw_arena_open(&s->arena, name, 4 << 20, GW_PAGES_SMALL), 0);
    struct gw_tcp_config cfg = {.conn_limit = 4,
                                .half_open_limit = 4,
                                .time_wait_limit = 4,
                                .recv_window_bytes = small_window ? 4096 : 65536,
                                .send_buffer_bytes = 65536,
                                .keepalive = !small_window,
                                .keepalive_us = 2500000,
                                .keepalive_next_us = 400000,
                                .mss_v4 = 1460,
                                .mss_v6 = 1440,
                                .key = {3, 4},
                                .arena = s->arena,
                                .pages = GW_PAGES_SMALL,
                                .name = name};
    cr_assert_eq(gw_tcp_open(&s->tcp, &cfg, &up, s, emit, s, now_us), 0);
    cr_assert_eq(gw_tcp_listen(s->tcp, OUR_PORT), 0);
}

static void close_side(struct side *s)
{
    gw_tcp_free(&s->tcp);
    gw_arena_free(&s->arena);
}

static struct gw_ip address(uint8_t last)
{
    return gw_ip_from_v4((const uint8_t[]){10, 0, 0, last});
}

/* The connection, or NULL. */
static struct conn *conn_of(const struct side *s)
{
    struct gw_tcp_tuple t = {address(1), address(2), OUR_PORT, PEER_PORT};
    uint32_t ref = tcp_table_find(s->tcp, &t);
    return ref != 0 && (ref & TCP_REF_TIME_WAIT) == 0 ? conn_at(s->tcp, ref) : NULL;
}

static void hear(struct side *s, bool long_way, const uint8_t *p, size_t len)
{
    struct gw_ip from = address(2), to = address(1);
    struct tcp_segment segment;
    struct conn *c = conn_of(s);
    if (!long_way || c == NULL) {
        gw_tcp_input(s->tcp, now_us, &from, &to, p, len);
        return;
    }
    tcp_set_now(s->tcp, now_us);
    GW_COUNT(s->tcp->counters.segments_in);
    cr_assert_eq(tcp_segment_parse(&segment, &from, &to, p, len), TCP_PARSE_OK);
    tcp_conn_input(s->tcp, c, &segment);
}

/* What is queued fits the window: then the end of the silly-window wait changes nothing, but is unusual. */
static void make_unusual(struct side *s)
{
    struct conn *c = conn_of(s);
    if (c != NULL && c->state == STATE_ESTABLISHED && c->queue_bytes <= c->snd_wnd)
        c->flags |= CONN_FORCE;
}

static void flush(struct side *s, bool long_way)
{
    gw_tcp_advance(s->tcp, now_us);
    if (long_way)
        make_unusual(s);
    gw_tcp_flush(s->tcp, now_us);
    struct conn *c = conn_of(s);
    if (c != NULL)
        c->flags &= ~(uint32_t)CONN_FORCE;
}

static void compare(uint64_t seed, unsigned step)
{
    struct side *a = &sides[0], *b = &sides[1];
    struct conn *c = conn_of(a), *d = conn_of(b);
    cr_assert_eq(c != NULL, d != NULL, "seed %lu step %u: one is gone", seed, step);
    if (c != NULL) {
        cr_assert_arr_eq(c, d, sizeof(*c), "seed %lu step %u: hot state", seed, step);
        cr_assert_arr_eq(cold_of(a->tcp, c), cold_of(b->tcp, d), sizeof(struct cold),
                         "seed %lu step %u: cold state", seed, step);
    }
    cr_assert(a->sent.len == b->sent.len && memcmp(a->sent.bytes, b->sent.bytes, a->sent.len) == 0,
              "seed %lu step %u: sent", seed, step);
    cr_assert(a->told.len == b->told.len && memcmp(a->told.bytes, b->told.bytes, a->told.len) == 0,
              "seed %lu step %u: told", seed, step);
    cr_assert_arr_eq(&a->tcp->counters, &b->tcp->counters, sizeof(a->tcp->counters),
                     "seed %lu step %u: counters", seed, step);
    cr_assert_eq(a->tcp->nodes.used_count, b->tcp->nodes.used_count);
    cr_assert_eq(gw_arena_used_bytes(a->arena), gw_arena_used_bytes(b->arena));
    cr_assert_eq(gw_tcp_next_deadline_us(a->tcp), gw_tcp_next_deadline_us(b->tcp));
    a->sent.len = b->sent.len = a->told.len = b->told.len = 0;
}

/* ---- the peer ---- */

struct peer {
    bool timestamps, sack;
    uint32_t ts;
};

static void say(const struct peer *p, const struct tcp_header *h, uint32_t len)
{
    uint8_t segment[TCP_HEADER_BYTES_MAX + TEXT_MAX];
    uint32_t header_len = tcp_header_write(segment, h);
    memcpy(segment + header_len, text, len);
    for (unsigned i = 0; i < 2; i++)
        hear(&sides[i], i == 1, segment, header_len + len);
}

static struct tcp_header header_of(const struct peer *p, uint32_t seq, uint32_t ack, uint8_t flags)
{
    struct tcp_header h = {.local_port = PEER_PORT,
                           .remote_port = OUR_PORT,
                           .seq = seq,
                           .ack = ack,
                           .flags = flags,
                           .window = 30000};
    h.opt.has_timestamp = p->timestamps;
    h.opt.ts_val = p->ts;
    h.opt.ts_ecr = sides[0].tcp->now_ts;
    return h;
}

static void step_all(unsigned long seed, unsigned step)
{
    sides[0].refuses = sides[1].refuses = draw(&world, 50) == 0;
    bool resumes = draw(&world, 4) == 0;
    for (unsigned i = 0; i < 2; i++) {
        const struct conn *c = conn_of(&sides[i]);
        if (resumes && c != NULL && (c->flags & CONN_PAUSED))
            gw_tcp_read_resume(sides[i].tcp, conn_index(sides[i].tcp, c));
        flush(&sides[i], i == 1);
    }
    compare(seed, step);
}

static void open_connection(const struct peer *p, unsigned long seed)
{
    struct tcp_header syn = header_of(p, ISS, 0, TCP_SYN);
    syn.opt.has_mss = true;
    syn.opt.mss = 1460;
    syn.opt.sack_permitted = p->sack;
    syn.opt.has_scale = true;
    say(p, &syn, 0);
    for (unsigned i = 0; i < 2; i++)
        flush(&sides[i], i == 1);
    compare(seed, 0);
    struct tcp_header ack = header_of(p, ISS + 1, conn_of(&sides[0])->snd_nxt, TCP_ACK);
    say(p, &ack, 0);
    step_all(seed, 0);
}

/* Mostly what is usual; the rest is wrong in one way or another. */
static void say_something(struct peer *p, const struct conn *c)
{
    struct tcp_header h = header_of(p, c->rcv_nxt, c->snd_nxt, TCP_ACK);
    uint32_t len = draw(&world, 4) == 0 ? 0 : 1 + draw(&world, 1448), under_way = c->snd_nxt - c->snd_una;
    switch (draw(&world, 24)) {
    case 0:
        h.ack -= under_way > 0 ? draw(&world, under_way + 1) : 0;
        break;
    case 1:
        h.ack += 1;
        break;
    case 2:
        h.seq += draw(&world, 3000);
        break;
    case 3:
        h.seq -= draw(&world, 3000);
        break;
    case 4:
        h.window = (uint16_t)draw(&world, 3000);
        break;
    case 5:
        h.window = 0;
        break;
    case 6:
        h.opt.ts_val -= 1 + draw(&world, 100);
        break;
    case 7:
        h.opt.has_timestamp = !h.opt.has_timestamp;
        break;
    case 8:
        h.opt.sacks[0] = (struct tcp_sack){c->snd_nxt - under_way / 2, c->snd_nxt};
        h.opt.sack_count = 1;
        h.ack = c->snd_una;
        break;
    case 9:
        h.flags |= draw(&world, 20) == 0 ? TCP_FIN : TCP_PSH;
        break;
    case 10:
        h.flags |= draw(&world, 40) == 0 ? TCP_RST : TCP_PSH;
        break;
    case 11:
        h.window = UINT16_MAX;
        break;
    default:
        break;
    }
    say(p, &h, len);
}

/* The steps that it took. */
static unsigned run(unsigned long seed)
{
    world = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    now_us = 1000000000;
    for (unsigned i = 0; i < 2; i++)
        open_side(&sides[i], seed % 3 == 0, i == 0 ? "usual-a" : "usual-b");
    struct peer p = {.timestamps = seed % 2 == 0, .sack = seed % 4 < 2, .ts = 5000};
    open_connection(&p, seed);
    unsigned step = 1;
    for (; step < STEPS; step++) {
        const struct conn *c = conn_of(&sides[0]);
        if (c == NULL || c->state < STATE_ESTABLISHED)
            break;
        for (uint32_t n = draw(&world, 4); n > 0 && c != NULL; n -= n < 2 ? n : 1 + draw(&world, 2)) {
            say_something(&p, c);
            c = conn_of(&sides[0]);
        }
        step_all(seed, step);
        uint32_t pause = draw(&world, 40);
        now_us += pause == 0 ? 300000 + draw(&world, 3000000) : draw(&world, 50000);
        p.ts += draw(&world, 3);
    }
    for (unsigned i = 0; i < 2; i++)
        close_side(&sides[i]);
    return step;
}

Test(tcp_usual, does_what_the_long_way_does)
{
    for (uint32_t i = 0; i < TEXT_MAX; i++)
        text[i] = (uint8_t)(i * 7 + i / 256);
    unsigned steps = 0;
    for (unsigned long seed = 1; seed <= SEEDS; seed++)
        steps += run(seed);
    cr_assert_gt(steps, SEEDS * STEPS / 2); /* most of them are about something */
}
