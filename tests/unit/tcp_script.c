/* SPDX-License-Identifier: Apache-2.0 */
#include "tcp_script.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { OUT_MAX = 4096, EVENTS_MAX = 4096, TEXT_MAX = 65536, OUR_PORT = 5222, PEER_PORT = 40000 };
/* Wraps soon: both sides' numbers pass zero in most scripts. */
#define PEER_ISN UINT32_C(0xfffffff0)
#define START_US UINT64_C(5000000000)

struct out {
    struct tcp_segment seg;
    bool text_ok;
};

struct script {
    struct gw_tcp *tcp;
    struct gw_arena *arena;
    uint64_t now_us;
    bool v6, hold, keep, port_full, refuse;
    uint16_t port;
    size_t take;
    gw_conn c;
    bool open;
    uint32_t our_iss;
    bool iss_known;
    uint32_t our_ts; /* last timestamp the stack sent */
    uint64_t sent, received;
    struct out outs[OUT_MAX];
    unsigned out_head, out_count;
    char events[EVENTS_MAX][40];
    unsigned event_head, event_count;
    const char *file;
    int line;
    const char *text;
    char result[512];
};

#define fail(s, ...)                                                                               \
    do {                                                                                           \
        char msg_[512];                                                                            \
        snprintf(msg_, sizeof(msg_), __VA_ARGS__);                                                 \
        cr_assert_fail("%s, script that ends at line %d: \"%s\": %s", (s)->file, (s)->line, (s)->text, msg_);                \
    } while (0)

static uint8_t pattern(bool ours, uint64_t pos)
{
    return (uint8_t)((pos * 7 + (pos >> 8)) ^ (ours ? 0x5a : 0));
}

/* ---- the stack's surroundings ---- */

__attribute__((format(printf, 2, 3))) static void event(struct script *s, const char *fmt, ...)
{
    if (s->event_count == EVENTS_MAX)
        fail(s, "too many events");
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s->events[s->event_count++], sizeof(s->events[0]), fmt, ap);
    va_end(ap);
}

static bool on_established(void *ctx, gw_conn c, const struct gw_tcp_tuple *t)
{
    struct script *s = ctx;
    event(s, "established");
    s->c = c;
    s->open = !s->refuse;
    return !s->refuse;
}

static size_t on_data(void *ctx, gw_conn c, const uint8_t *p, size_t len)
{
    struct script *s = ctx;
    size_t n = len < s->take ? len : s->take;
    s->take = s->take == SIZE_MAX ? SIZE_MAX : s->take - n;
    for (size_t i = 0; i < n; i++)
        if (p[i] != pattern(false, s->received + i))
            fail(s, "byte %" PRIu64 " given to the user is wrong", s->received + i);
    s->received += n;
    event(s, "data %zu", n);
    return n;
}

static void on_peer_closed(void *ctx, gw_conn c)
{
    event(ctx, "peer-closed");
}

static void on_acked(void *ctx, gw_conn c, uint64_t acked)
{
    event(ctx, "acked %" PRIu64, acked);
}

static void on_closed(void *ctx, gw_conn c, enum gw_tcp_close_reason why)
{
    static const char *const names[] = {"done", "reset", "timeout", "aborted", "refused",
                                        "unreachable"};
    struct script *s = ctx;
    event(s, "closed %s", names[why]);
    s->open = false;
}

static void on_deadline(void *ctx, gw_conn c)
{
    event(ctx, "deadline");
}

static bool on_emit(void *ctx, const struct gw_tcp_segment *g)
{
    static uint8_t flat[TEXT_MAX];
    struct script *s = ctx;
    if (s->port_full)
        return false;
    if (s->out_count == OUT_MAX)
        fail(s, "too many segments");
    memcpy(flat, g->header, g->header_len);
    size_t len = g->header_len;
    for (uint32_t i = 0; i < g->payload_count; i++) {
        memcpy(flat + len, g->payload[i].p, g->payload[i].len);
        len += g->payload[i].len;
    }
    cr_assert_eq(len, g->header_len + g->payload_len);
    cr_assert_eq(gw_be16(flat), g->tuple->local_port);
    cr_assert_eq(gw_be32(flat + 16), 0, "checksum and urgent pointer are zero");
    struct out *o = &s->outs[s->out_count++];
    /* Read as its receiver reads it: addresses change places. */
    cr_assert_eq(tcp_segment_parse(&o->seg, &g->tuple->local, &g->tuple->remote, flat, len),
                 TCP_PARSE_OK);
    if ((o->seg.flags & TCP_SYN) && !s->iss_known) {
        s->our_iss = o->seg.seq;
        s->iss_known = true;
    }
    if (o->seg.opt.has_timestamp)
        s->our_ts = o->seg.opt.ts_val;
    o->text_ok = true;
    uint32_t pos = o->seg.seq - s->our_iss - 1;
    for (uint32_t i = 0; i < o->seg.len; i++)
        o->text_ok = o->text_ok && o->seg.text[i] == pattern(true, pos + i);
    return true;
}

/* ---- life ---- */

static void set_default(uint32_t *field, uint32_t value)
{
    if (*field == 0)
        *field = value;
}

struct script *script_open(const struct script_config *cfg)
{
    static const struct gw_tcp_upcalls up = {on_established, on_data,   on_peer_closed,
                                             on_acked,       on_closed, on_deadline};
    struct script *s = calloc(1, sizeof(*s));
    cr_assert_not_null(s);
    s->now_us = START_US;
    s->take = SIZE_MAX;
    s->port = OUR_PORT;
    s->v6 = cfg != NULL && cfg->v6;
    cr_assert_eq(gw_arena_open(&s->arena, "script", 256 << 20, GW_PAGES_SMALL), 0);
    struct gw_tcp_config c = cfg != NULL ? cfg->tcp : (struct gw_tcp_config){0};
    set_default(&c.conn_limit, 64);
    set_default(&c.half_open_limit, 32);
    set_default(&c.time_wait_limit, 16);
    set_default(&c.recv_window_bytes, 65535);
    set_default(&c.send_buffer_bytes, 1 << 20);
    c.mss_v4 = c.mss_v4 != 0 ? c.mss_v4 : 1460;
    c.mss_v6 = c.mss_v6 != 0 ? c.mss_v6 : 1440;
    c.key = (struct gw_sipkey){1, 2};
    c.arena = s->arena;
    c.pages = GW_PAGES_SMALL;
    c.name = "script";
    cr_assert_eq(gw_tcp_open(&s->tcp, &c, &up, s, on_emit, s, s->now_us), 0);
    cr_assert_eq(gw_tcp_listen(s->tcp, OUR_PORT), 0);
    return s;
}

void script_drop(struct script **s)
{
    gw_tcp_free(&(*s)->tcp);
    gw_arena_free(&(*s)->arena);
    free(*s);
    *s = NULL;
}

void script_close(struct script **s)
{
    struct gw_tcp *t = (*s)->tcp;
    cr_assert_eq(t->conns.used_count, 0);
    cr_assert_eq(t->nodes.used_count, 0);
    cr_assert_eq(t->pieces.used_count, 0);
    cr_assert_eq(t->half_open_count, 0);
    cr_assert_eq(t->wheel.armed_count, 0);
    cr_assert_eq(gw_arena_used_bytes((*s)->arena), 0);
    script_drop(s);
}

struct gw_tcp *script_tcp(struct script *s)
{
    return s->tcp;
}

struct gw_arena *script_arena(struct script *s)
{
    return s->arena;
}

struct conn *script_conn(struct script *s)
{
    for (gw_conn i = 1; i < s->tcp->conns.fresh; i++)
        if (!conn_is_dead(conn_at(s->tcp, i)))
            return conn_at(s->tcp, i);
    return NULL;
}

void script_new_peer(struct script *s)
{
    s->iss_known = false;
}

struct conn *script_peer_conn(struct script *s)
{
    for (gw_conn i = 1; i < s->tcp->conns.fresh; i++) {
        struct conn *c = conn_at(s->tcp, i);
        if (!conn_is_dead(c) && c->tuple.remote_port == PEER_PORT)
            return c;
    }
    return NULL;
}

uint64_t script_now_us(const struct script *s)
{
    return s->now_us;
}

uint32_t script_our_iss(const struct script *s)
{
    return s->our_iss;
}

/* ---- fields of a line ---- */

struct fields {
    uint32_t flags, seq, ack, len, win, mss, ws, ts, port;
    struct tcp_sack blocks[TCP_SACKS_MAX];
    unsigned block_count;
    bool has_win, has_mss, has_ws, has_ts, sackok, junk, has_port;
};

static uint32_t flag_of(char c)
{
    switch (c) {
    case 'S':
        return TCP_SYN;
    case 'F':
        return TCP_FIN;
    case 'R':
        return TCP_RST;
    case 'P':
        return TCP_PSH;
    case 'A':
        return TCP_ACK;
    default:
        return 0;
    }
}

static uint32_t number(struct script *s, char **rest)
{
    char *word = strtok_r(NULL, " ", rest), *end;
    if (word == NULL)
        fail(s, "a number is missing");
    long long v = strtoll(word, &end, 10);
    if (*end != '\0')
        fail(s, "%s is no number", word);
    return (uint32_t)v;
}

static void read_field(struct script *s, struct fields *f, const char *word, char **rest)
{
    const struct {
        const char *name;
        uint32_t *value;
        bool *has;
    } known[] = {
        {"seq", &f->seq, NULL},       {"ack", &f->ack, NULL},      {"len", &f->len, NULL},
        {"win", &f->win, &f->has_win}, {"mss", &f->mss, &f->has_mss}, {"ws", &f->ws, &f->has_ws},
        {"ts", &f->ts, &f->has_ts},   {"port", &f->port, &f->has_port},
    };
    if (strcmp(word, "sackok") == 0) {
        f->sackok = true;
        return;
    }
    if (strcmp(word, "junk") == 0) {
        f->junk = true;
        return;
    }
    if (strcmp(word, "block") == 0) {
        uint32_t start = number(s, rest);
        f->blocks[f->block_count++] = (struct tcp_sack){start, number(s, rest)};
        return;
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(word, known[i].name) == 0) {
            *known[i].value = number(s, rest);
            if (known[i].has != NULL)
                *known[i].has = true;
            return;
        }
    fail(s, "unknown field %s", word);
}

static struct fields read_fields(struct script *s, char **rest)
{
    struct fields f = {.win = 65535};
    const char *word = strtok_r(NULL, " ", rest);
    if (word == NULL)
        fail(s, "flags are missing");
    for (; *word != '\0'; word++)
        f.flags |= flag_of(*word);
    while ((word = strtok_r(NULL, " ", rest)) != NULL)
        read_field(s, &f, word, rest);
    return f;
}

/* ---- the kinds of lines ---- */

static void nothing_waits(struct script *s)
{
    if (s->out_head < s->out_count) {
        const struct tcp_segment *g = &s->outs[s->out_head].seg;
        fail(s, "not in the script before: sent flags %x seq %d ack %d len %u", g->flags,
             (int)(g->seq - s->our_iss), (int)(g->ack - PEER_ISN), g->len);
    }
    if (s->event_head < s->event_count)
        fail(s, "not in the script before: event %s", s->events[s->event_head]);
    s->out_head = s->out_count = s->event_head = s->event_count = 0;
}

static void flush(struct script *s)
{
    if (s->hold)
        return;
    gw_tcp_advance(s->tcp, s->now_us);
    gw_tcp_flush(s->tcp, s->now_us);
}

static void addresses(const struct script *s, struct gw_ip *us, struct gw_ip *peer)
{
    *us = gw_ip_from_v4((const uint8_t[]){10, 0, 0, 1});
    *peer = gw_ip_from_v4((const uint8_t[]){10, 0, 0, 2});
    if (s->v6) {
        *us = (struct gw_ip){{0xfd, [15] = 1}};
        *peer = (struct gw_ip){{0xfd, [15] = 2}};
    }
}

static void peer_sends(struct script *s, char **rest)
{
    static uint8_t flat[TEXT_MAX + TCP_HEADER_BYTES_MAX];
    nothing_waits(s);
    struct fields f = read_fields(s, rest);
    struct tcp_header h = {
        .local_port = (uint16_t)(f.has_port ? f.port : PEER_PORT),
        .remote_port = s->port,
        .seq = PEER_ISN + f.seq,
        .ack = s->our_iss + f.ack,
        .flags = (uint8_t)f.flags,
        .window = (uint16_t)f.win,
        .opt = {.has_mss = f.has_mss,
                .mss = (uint16_t)f.mss,
                .has_scale = f.has_ws,
                .scale = (uint8_t)f.ws,
                .sack_permitted = f.sackok,
                .has_timestamp = f.has_ts,
                .ts_val = f.ts,
                .ts_ecr = s->our_ts,
                .sack_count = (uint8_t)f.block_count},
    };
    for (unsigned i = 0; i < f.block_count; i++)
        h.opt.sacks[i] = (struct tcp_sack){s->our_iss + f.blocks[i].start,
                                           s->our_iss + f.blocks[i].end};
    if ((f.flags & TCP_ACK) == 0)
        h.ack = f.ack;
    uint32_t len = tcp_header_write(flat, &h);
    if (f.junk) {
        memcpy(flat + len, (const uint8_t[]){8, 10, 0, 0}, 4);
        len += 4;
        flat[12] = (uint8_t)(len / 4 << 4);
    }
    for (uint32_t i = 0; i < f.len; i++)
        flat[len + i] = pattern(false, f.seq - 1 + i);
    struct gw_ip us, peer;
    addresses(s, &us, &peer);
    gw_tcp_input(s->tcp, s->now_us, &peer, &us, flat, len + f.len);
    flush(s);
}

static void compare_options(struct script *s, const struct fields *f, const struct tcp_options *o)
{
    if (f->has_mss && (!o->has_mss || o->mss != f->mss))
        fail(s, "mss is %u", o->has_mss ? o->mss : 0);
    if (f->has_ws && (!o->has_scale || o->scale != f->ws))
        fail(s, "scale is %d", o->has_scale ? o->scale : -1);
    if (f->sackok && !o->sack_permitted)
        fail(s, "SACK is not offered");
    if (f->has_ts && (!o->has_timestamp || o->ts_ecr != f->ts))
        fail(s, "echoed timestamp is %" PRId64, o->has_timestamp ? (int64_t)o->ts_ecr : -1);
    if (f->block_count > 0 && o->sack_count != f->block_count)
        fail(s, "%u SACK blocks", o->sack_count);
    for (unsigned i = 0; i < f->block_count; i++)
        if (o->sacks[i].start != PEER_ISN + f->blocks[i].start ||
            o->sacks[i].end != PEER_ISN + f->blocks[i].end)
            fail(s, "SACK block %u is %d %d", i, (int)(o->sacks[i].start - PEER_ISN),
                 (int)(o->sacks[i].end - PEER_ISN));
}

static void stack_sent(struct script *s, char **rest)
{
    struct fields f = read_fields(s, rest);
    if (s->out_head == s->out_count)
        fail(s, "nothing was sent");
    const struct out *o = &s->outs[s->out_head++];
    const struct tcp_segment *g = &o->seg;
    uint32_t ack = g->flags & TCP_ACK ? PEER_ISN + f.ack : 0;
    if (g->flags != f.flags || g->seq != s->our_iss + f.seq || g->ack != ack || g->len != f.len)
        fail(s, "sent flags %x seq %d ack %d len %u win %u", g->flags, (int)(g->seq - s->our_iss),
             (int)(g->ack - PEER_ISN), g->len, g->window);
    if (f.has_win && g->window != f.win)
        fail(s, "window is %u", g->window);
    if (!o->text_ok)
        fail(s, "the text is wrong");
    compare_options(s, &f, &g->opt);
}

static void user_was_told(struct script *s, const char *rest)
{
    if (s->event_head == s->event_count)
        fail(s, "nothing was told");
    const char *got = s->events[s->event_head++];
    if (strcmp(got, rest) != 0)
        fail(s, "told %s", got);
}

static uint64_t read_time(struct script *s, const char *word)
{
    char *unit;
    uint64_t v = strtoull(word, &unit, 10);
    if (strcmp(unit, "us") == 0)
        return v;
    if (strcmp(unit, "ms") == 0)
        return v * 1000;
    if (strcmp(unit, "s") == 0)
        return v * 1000000;
    fail(s, "%s is no time", word);
    return 0;
}

static void pass_time(struct script *s, const char *word)
{
    nothing_waits(s);
    uint64_t until = s->now_us + read_time(s, word);
    for (uint64_t next; (next = gw_tcp_next_deadline_us(s->tcp)) <= until;) {
        if (next > s->now_us)
            s->now_us = next;
        flush(s);
        if (s->port_full)
            s->now_us += 1000;
    }
    s->now_us = until;
    flush(s);
}

static void user_sends(struct script *s, uint32_t len, bool slice)
{
    gw_block b = gw_arena_get(s->arena, len + 8);
    uint8_t *p = gw_arena_ptr(s->arena, b);
    for (uint32_t i = 0; i < len; i++)
        p[8 + i] = pattern(true, s->sent + i);
    if (slice) {
        cr_assert_eq(gw_tcp_send(s->tcp, s->c, (struct gw_slice){b, 8, len}), 0);
    } else {
        cr_assert_eq(gw_tcp_send_copy(s->tcp, s->c, p + 8, len), 0);
        gw_arena_put(s->arena, b);
    }
    s->sent += len;
}

static void connect_peer(struct script *s)
{
    struct gw_tcp_tuple t = {.local_port = s->port = 50000, .remote_port = PEER_PORT};
    addresses(s, &t.local, &t.remote);
    cr_assert_eq(gw_tcp_connect(s->tcp, s->now_us, &t, &s->c), 0);
    s->open = true;
}

static void set_port(struct script *s, const char *arg)
{
    s->port_full = strcmp(arg, "full") == 0;
}

static void user_calls(struct script *s, char **rest)
{
    nothing_waits(s);
    const char *what = strtok_r(NULL, " ", rest);
    const char *arg = strtok_r(NULL, " ", rest);
    if (strcmp(what, "connect") == 0)
        connect_peer(s);
    else if (strcmp(what, "send") == 0)
        user_sends(s, (uint32_t)atoi(arg), false);
    else if (strcmp(what, "slice") == 0)
        user_sends(s, (uint32_t)atoi(arg), true);
    else if (strcmp(what, "shutdown") == 0)
        gw_tcp_shutdown(s->tcp, s->c);
    else if (strcmp(what, "abort") == 0)
        gw_tcp_abort(s->tcp, s->c);
    else if (strcmp(what, "resume") == 0)
        gw_tcp_read_resume(s->tcp, s->c);
    else if (strcmp(what, "take") == 0)
        s->take = strcmp(arg, "all") == 0 ? SIZE_MAX : (size_t)atoi(arg);
    else if (strcmp(what, "refuse") == 0)
        s->refuse = true;
    else if (strcmp(what, "deadline") == 0)
        gw_tcp_set_deadline(s->tcp, s->c, s->now_us + read_time(s, arg));
    else if (strcmp(what, "port") == 0)
        set_port(s, arg);
    else if (strcmp(what, "hold") == 0)
        s->hold = true;
    else if (strcmp(what, "flush") == 0)
        s->hold = false;
    else
        fail(s, "unknown command");
    flush(s);
}

static void forget(struct script *s)
{
    s->out_head = s->out_count = s->event_head = s->event_count = 0;
}

static void run_line(struct script *s, const char *line)
{
    char copy[256], *rest;
    snprintf(copy, sizeof(copy), "%s", line);
    s->text = line;
    const char *kind = strtok_r(copy, " ", &rest);
    if (strcmp(kind, "<") == 0)
        peer_sends(s, &rest);
    else if (strcmp(kind, ">") == 0)
        stack_sent(s, &rest);
    else if (strcmp(kind, "=") == 0)
        user_was_told(s, rest);
    else if (strcmp(kind, "+") == 0)
        pass_time(s, rest);
    else if (strcmp(line, "! forget") == 0)
        forget(s);
    else if (strcmp(line, "! keep") == 0)
        s->keep = true;
    else if (strcmp(kind, "!") == 0)
        user_calls(s, &rest);
    else
        fail(s, "unknown kind of line");
}

void script_run_lines(struct script *s, const char *file, int line, const char *const *lines)
{
    s->file = file;
    s->line = line;
    for (unsigned i = 0; lines[i] != NULL; i++)
        run_line(s, lines[i]);
    s->text = "end of the script";
    if (!s->keep)
        nothing_waits(s);
}

const char *script_result(struct script *s)
{
    size_t len = 0;
    s->result[0] = '\0';
    for (; s->out_head < s->out_count; s->out_head++) {
        uint8_t flags = s->outs[s->out_head].seg.flags;
        len += (size_t)snprintf(s->result + len, sizeof(s->result) - len, "%s%s%s%s%s",
                                len > 0 ? " " : "", flags & TCP_SYN ? "S" : "",
                                flags & TCP_FIN ? "F" : "", flags & TCP_RST ? "R" : "",
                                flags & TCP_ACK ? "A" : "");
    }
    for (; s->event_head < s->event_count; s->event_head++)
        len += (size_t)snprintf(s->result + len, sizeof(s->result) - len, "%s=%s",
                                len > 0 ? " " : "", s->events[s->event_head]);
    forget(s);
    return s->result;
}
