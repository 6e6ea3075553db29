/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packet.h"

enum {
    OUR_PORT = 5222,
    OUR_ACTIVE_PORT = 50000,
    PEER_PORT = 40000,
    HAPPENINGS_MAX = 4096,
    TEXT_BYTES_MAX = 256,
    RUNS_MAX = 100000,
};
/* Wraps soon: the peer's numbers pass zero in most scripts. */
#define PEER_ISS UINT32_C(0xfffffff0)
#define START_US UINT64_C(5000000000)
/* Timers fire on ticks of 64 us, never early. */
#define LATE_US UINT64_C(128)
/* Longer than TIME-WAIT, and than the answer to a SYN is repeated. */
#define AFTER_US UINT64_C(400000000)

/* Something that the stack did, in the words of the script. */
struct happening {
    uint64_t at_us;
    enum line_kind kind;
    struct packet_view packet; /* LINE_OUT; its options are in `options` */
    uint8_t options[LINE_OPTION_BYTES_MAX];
    bool text_ok, sum_ok;
    char event[40]; /* LINE_EVENT */
};

struct rig {
    const struct rig_calls *so;
    struct gw_stack *stack;
    bool v6, hold, port_full, refuse, ending;
    uint64_t now_us, line_us; /* the clock; when the last line happened */
    struct gw_stack_endpoint us, peer;
    uint16_t our_port;
    uint32_t mtu;
    uint32_t conn;
    bool open;
    uint32_t our_iss, our_ts;
    bool iss_known;
    size_t take;
    uint64_t sent, received;
    struct happening happened[HAPPENINGS_MAX];
    unsigned head, count;
    char failure[1200];
};

__attribute__((format(printf, 2, 3))) static bool fail(struct rig *r, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->failure, sizeof(r->failure), fmt, ap);
    va_end(ap);
    return false;
}

const char *rig_failure(const struct rig *r)
{
    return r->failure;
}

static uint8_t pattern(bool ours, uint64_t pos)
{
    return (uint8_t)((pos * 7 + (pos >> 8)) ^ (ours ? 0x5a : 0));
}

/* ---- what happens ---- */

static struct happening *happens(struct rig *r, enum line_kind kind)
{
    static struct happening nowhere;
    if (r->ending)
        return &nowhere;
    if (r->count == HAPPENINGS_MAX) {
        fail(r, "too much has happened at once");
        return &nowhere;
    }
    struct happening *h = &r->happened[r->count++];
    *h = (struct happening){.at_us = r->now_us, .kind = kind};
    return h;
}

__attribute__((format(printf, 2, 3))) static void event(struct rig *r, const char *fmt, ...)
{
    struct happening *h = happens(r, LINE_EVENT);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(h->event, sizeof(h->event), fmt, ap);
    va_end(ap);
}

static bool on_emit(void *ctx, const uint8_t *packet, size_t len)
{
    struct rig *r = ctx;
    if (r->port_full)
        return false;
    struct packet_view v;
    bool sum_ok = packet_view(&v, packet, len);
    if (v.options_len > LINE_OPTION_BYTES_MAX)
        sum_ok = false;
    struct happening *h = happens(r, LINE_OUT);
    if ((v.flags & PACKET_SYN) && !r->iss_known && v.dst_port == PEER_PORT) {
        r->our_iss = v.seq;
        r->iss_known = true;
    }
    packet_timestamp(&v, &r->our_ts);
    h->packet = v;
    h->sum_ok = sum_ok;
    memcpy(h->options, v.options, v.options_len);
    h->text_ok = true;
    for (size_t i = 0; i < v.text_len; i++)
        h->text_ok &= v.text[i] == pattern(true, v.seq - r->our_iss - 1 + (uint32_t)i);
    return true;
}

static bool on_established(void *ctx, uint32_t conn, const struct gw_stack_endpoint *local,
                           const struct gw_stack_endpoint *remote, bool active)
{
    struct rig *r = ctx;
    event(r, "established");
    if (remote->port == PEER_PORT) {
        r->conn = conn;
        r->open = !r->refuse;
    }
    return !r->refuse;
}

static bool is_pattern(struct rig *r, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i] != pattern(false, r->received + i))
            return false;
    r->received += len;
    return true;
}

static size_t on_data(void *ctx, uint32_t conn, const uint8_t *p, size_t len)
{
    struct rig *r = ctx;
    size_t n = len < r->take ? len : r->take;
    if (r->take != SIZE_MAX)
        r->take -= n;
    if (r->ending)
        return n;
    event(r, is_pattern(r, p, n) ? "data %zu" : "data %zu, but other bytes", n);
    return n;
}

static void on_peer_closed(void *ctx, uint32_t conn)
{
    event(ctx, "peer-closed");
}

static void on_acked(void *ctx, uint32_t conn, uint64_t acked)
{
    event(ctx, "acked %" PRIu64, acked);
}

static void on_closed(void *ctx, uint32_t conn, enum gw_stack_end why)
{
    static const char *const names[] = {"done",    "reset",   "timeout",
                                        "aborted", "refused", "unreachable"};
    struct rig *r = ctx;
    event(r, "closed %s", names[why]);
    if (conn == r->conn)
        r->open = false;
}

/* ---- life ---- */

struct rig *rig_open(const struct rig_calls *calls, const struct gw_stack_config *cfg, bool v6)
{
    static const struct gw_stack_upcalls up = {.bytes = sizeof(up),
                                               .emit = on_emit,
                                               .established = on_established,
                                               .data = on_data,
                                               .peer_closed = on_peer_closed,
                                               .acked = on_acked,
                                               .closed = on_closed};
    struct rig *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return NULL;
    r->so = calls;
    r->v6 = v6;
    r->now_us = r->line_us = START_US;
    r->take = SIZE_MAX;
    r->our_port = OUR_PORT;
    r->mtu = cfg->mtu_bytes != 0 ? cfg->mtu_bytes : 1500;
    strcpy(r->us.address, v6 ? "fd00::1" : "10.0.0.1");
    strcpy(r->peer.address, v6 ? "fd00::2" : "10.0.0.2");
    r->peer.port = PEER_PORT;
    if (calls->open(&r->stack, cfg, &up, r, r->now_us) != 0 ||
        calls->add_address(r->stack, r->us.address) != 0)
        rig_close(&r);
    return r;
}

void rig_close(struct rig **r)
{
    (*r)->so->close(&(*r)->stack);
    free(*r);
    *r = NULL;
}

/* ---- telling what happened ---- */

static void describe_options(const struct rig *r, const struct happening *h, char *out, size_t room)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < h->packet.options_len && len < room;) {
        const uint8_t *o = h->options + i;
        const char *comma = len > 0 ? ", " : "";
        i += o[0] <= 1 ? 1 : o[1];
        if (o[0] == 2)
            len += (size_t)snprintf(out + len, room - len, "%smss %u", comma, gw_be16(o + 2));
        else if (o[0] == 3)
            len += (size_t)snprintf(out + len, room - len, "%swscale %u", comma, o[2]);
        else if (o[0] == 4)
            len += (size_t)snprintf(out + len, room - len, "%ssackOK", comma);
        else if (o[0] == 8)
            len += (size_t)snprintf(out + len, room - len, "%sTS val %u ecr %u", comma,
                                    gw_be32(o + 2), gw_be32(o + 6));
        else if (o[0] == 5) {
            len += (size_t)snprintf(out + len, room - len, "%ssack", comma);
            for (unsigned k = 2; k < o[1] && len < room; k += 8)
                len += (size_t)snprintf(out + len, room - len, " %d:%d",
                                        (int)(gw_be32(o + k) - PEER_ISS),
                                        (int)(gw_be32(o + k + 4) - PEER_ISS));
        }
    }
}

static void describe_flags(uint8_t flags, char out[8])
{
    static const char letters[] = "FSRP.U";
    size_t n = 0;
    for (unsigned i = 0; letters[i] != '\0'; i++)
        if (flags >> i & 1)
            out[n++] = letters[i];
    if (n == 0)
        out[n++] = '-';
    out[n] = '\0';
}

/* In the script's own words, so that a line can be put right by copying it. */
static void describe(const struct rig *r, const struct happening *h, char *out, size_t room)
{
    char flags[8], options[200];
    double at = (double)(int64_t)(h->at_us - r->line_us) / 1e6;
    if (h->kind == LINE_EVENT) {
        snprintf(out, room, "+%.6f = %s", at, h->event);
        return;
    }
    const struct packet_view *v = &h->packet;
    describe_flags(v->flags, flags);
    describe_options(r, h, options, sizeof(options));
    int seq = (int)(v->seq - r->our_iss);
    size_t n = (size_t)snprintf(out, room, "+%.6f > %s %d:%d(%u)", at, flags, seq,
                                seq + (int)v->text_len, (unsigned)v->text_len);
    if (v->flags & PACKET_ACK)
        n += (size_t)snprintf(out + n, room - n, " ack %d", (int)(v->ack - PEER_ISS));
    n += (size_t)snprintf(out + n, room - n, " win %u", v->window);
    if (v->dst_port != PEER_PORT)
        n += (size_t)snprintf(out + n, room - n, " port %u", v->dst_port);
    if (options[0] != '\0')
        n += (size_t)snprintf(out + n, room - n, " <%s>", options);
    if (!h->sum_ok || !h->text_ok)
        snprintf(out + n, room - n, ", with a wrong %s", h->sum_ok ? "text" : "checksum");
}

static bool nothing_waits(struct rig *r)
{
    if (r->failure[0] != '\0')
        return false;
    if (r->head == r->count) {
        r->head = r->count = 0;
        return true;
    }
    char got[TEXT_BYTES_MAX];
    describe(r, &r->happened[r->head], got, sizeof(got));
    return fail(r, "expected nothing more\n     got: %s", got);
}

bool rig_finish(struct rig *r)
{
    return nothing_waits(r);
}

/* ---- time ---- */

static void run(struct rig *r)
{
    if (!r->hold)
        r->so->run(r->stack);
}

static void set_time(struct rig *r, uint64_t at_us)
{
    r->now_us = at_us;
    r->so->set_time(r->stack, at_us);
}

/* Until then, or until something has happened. */
static bool run_until(struct rig *r, uint64_t until_us, bool stop)
{
    for (unsigned runs = 0; !r->hold && runs < RUNS_MAX; runs++) {
        uint64_t next = r->so->next_us(r->stack);
        if ((stop && r->head < r->count) || next > until_us)
            break;
        /* What the port has no room for is tried again a little later. */
        set_time(r, next > r->now_us ? next : r->now_us + (r->port_full ? 1000 : 0));
        run(r);
        if (runs + 1 == RUNS_MAX)
            return fail(r, "time stands still");
    }
    if (!stop || r->head == r->count)
        if (until_us > r->now_us)
            set_time(r, until_us);
    return true;
}

bool rig_is_clean(struct rig *r)
{
    r->ending = true;
    r->hold = r->port_full = false;
    r->take = SIZE_MAX;
    if (r->open)
        r->so->abort(r->stack, r->conn);
    run(r);
    if (!run_until(r, r->now_us + AFTER_US, false))
        return false;
    run(r);
    struct gw_stack_usage u = {.bytes = sizeof(u)};
    r->so->usage(r->stack, &u);
    if (u.connections + u.half_open + u.time_waits + u.timers + u.nodes + u.pieces == 0 &&
        u.memory_bytes == 0)
        return true;
    return fail(
        r,
        "expected nothing left behind\n     got: %u connections, %u half open, %u in TIME-WAIT, "
        "%u timers, %u nodes, %u pieces, %zu bytes",
        u.connections, u.half_open, u.time_waits, u.timers, u.nodes, u.pieces, u.memory_bytes);
}

/* ---- the peer ---- */

/* The numbers that only the rig knows. */
static void complete_options(const struct rig *r, const struct segment *s, uint8_t *o)
{
    memcpy(o, s->options, s->options_len);
    if (s->echoes_ts)
        gw_put_be32(o + s->ts_at + 4, r->our_ts);
    for (uint32_t i = 0; i < s->options_len && o[i] == 5; i += o[i + 1])
        for (uint32_t k = i + 2; k < i + o[i + 1]; k += 4)
            gw_put_be32(o + k, gw_be32(o + k) + r->our_iss);
}

static bool peer_sends(struct rig *r, const struct line *l, unsigned turn)
{
    static uint8_t text[65536], packet[PACKET_BYTES_MAX];
    const struct segment *s = &l->segment;
    if (s->len > sizeof(text) - 1 || s->any_seq)
        return fail(r, "the peer cannot send that");
    uint8_t options[LINE_OPTION_BYTES_MAX] = {0};
    complete_options(r, s, options);
    uint32_t seq = s->seq + turn * s->len;
    for (uint32_t i = 0; i < s->len; i++)
        text[i] = pattern(false, seq - 1 + i);
    struct packet_view v = {
        .v6 = r->v6,
        .src = r->peer.address,
        .dst = r->us.address,
        .src_port = (uint16_t)(s->port != 0 ? s->port + turn : PEER_PORT),
        .dst_port = r->our_port,
        .seq = PEER_ISS + seq,
        .ack = s->has_ack ? r->our_iss + s->ack : 0,
        .flags = s->flags,
        .window = (uint16_t)s->win,
        .urgent = (uint16_t)s->urg,
        .options = options,
        .options_len = s->options_len,
        .text = text,
        .text_len = s->len,
    };
    size_t len = packet_make(packet, &v);
    if (s->bad_sum)
        packet[len - 1] ^= 1;
    int err = r->so->push(r->stack, packet, len);
    if (err != (s->bad_sum ? -EBADMSG : 0))
        return fail(r, "expected that the packet is taken\n     got: error %d", err);
    run(r);
    return true;
}

/* ---- what the stack sent and told ---- */

static bool same_options(const struct rig *r, const struct segment *s, const struct happening *h)
{
    uint8_t want[LINE_OPTION_BYTES_MAX], got[LINE_OPTION_BYTES_MAX];
    uint32_t len = 0;
    for (uint32_t i = 0; i < h->packet.options_len; i++) {
        const uint8_t *o = h->options + i;
        if (o[0] <= 1)
            continue;
        memcpy(got + len, o, o[1]);
        for (unsigned k = 2; o[0] == 5 && k < o[1]; k += 4)
            gw_put_be32(got + len + k, gw_be32(o + k) - PEER_ISS);
        len += o[1];
        i += o[1] - 1u;
    }
    memcpy(want, s->options, s->options_len);
    if (len != s->options_len)
        return false;
    if (s->our_mss)
        gw_put_be16(want + s->mss_at, (uint16_t)(r->mtu - (r->v6 ? 60 : 40)));
    if (s->ts_at != 0 && s->any_ts_val)
        memcpy(want + s->ts_at, got + s->ts_at, 4);
    if (s->ts_at != 0 && s->echoes_ts)
        memcpy(want + s->ts_at + 4, got + s->ts_at + 4, 4);
    return memcmp(want, got, len) == 0;
}

static bool is_that(const struct rig *r, const struct line *l, unsigned turn,
                    const struct happening *h)
{
    if (h->kind != l->kind)
        return false;
    if (l->kind == LINE_EVENT) {
        char want[200] = "";
        for (unsigned i = 0; l->words[i] != NULL; i++)
            snprintf(want + strlen(want), sizeof(want) - strlen(want), "%s%s", i > 0 ? " " : "",
                     l->words[i]);
        return strcmp(want, h->event) == 0;
    }
    const struct segment *s = &l->segment;
    const struct packet_view *v = &h->packet;
    uint32_t ack = s->has_ack ? PEER_ISS + s->ack : 0;
    return h->sum_ok && h->text_ok && v->flags == s->flags && v->ack == ack &&
           (s->any_seq || v->seq == r->our_iss + s->seq) && v->text_len == s->len &&
           (!s->has_win || v->window == s->win) && v->urgent == s->urg &&
           v->src_port == r->our_port &&
           v->dst_port == (s->port != 0 ? s->port + turn : PEER_PORT) &&
           (!s->has_options || same_options(r, s, h));
}

static bool stack_did(struct rig *r, const struct line *l, unsigned turn)
{
    uint64_t at = r->line_us + l->after_us;
    if (!run_until(r, at + LATE_US, true))
        return false;
    if (r->head == r->count)
        return fail(r, "expected: %s\n     got: nothing by then", l->text);
    const struct happening *h = &r->happened[r->head];
    if (is_that(r, l, turn, h) && h->at_us >= at && h->at_us <= at + LATE_US) {
        r->head++;
        r->line_us = h->at_us;
        return true;
    }
    char got[TEXT_BYTES_MAX];
    describe(r, h, got, sizeof(got));
    return fail(r, "expected: %s\n     got: %s", l->text, got);
}

/* ---- the user ---- */

static bool user_sends(struct rig *r, uint32_t len, const char *error)
{
    static const struct {
        const char *name;
        int value;
    } errors[] = {{"EPIPE", -EPIPE}, {"ENOBUFS", -ENOBUFS}, {"EBADF", -EBADF}};
    int want = 0;
    for (size_t i = 0; error != NULL && i < sizeof(errors) / sizeof(errors[0]); i++)
        if (strcmp(error, errors[i].name) == 0)
            want = errors[i].value;
    uint8_t *p = malloc(len + 1);
    if (p == NULL)
        return fail(r, "no memory");
    for (uint32_t i = 0; i < len; i++)
        p[i] = pattern(true, r->sent + i);
    int got = r->so->send(r->stack, r->conn, p, len);
    free(p);
    if (got == 0)
        r->sent += len;
    return got == want || fail(r, "expected: send returns %d\n     got: %d", want, got);
}

static bool user_receives(struct rig *r, uint32_t room, const char *what)
{
    static uint8_t bytes[65536];
    int64_t want = -EAGAIN;
    if (room > sizeof(bytes) || (strcmp(what, "EAGAIN") != 0 && !line_read_number(what, &want)))
        return fail(r, "recv N gets N or EAGAIN");
    long got = r->so->recv(r->stack, r->conn, bytes, room);
    if (got > 0 && !is_pattern(r, bytes, (size_t)got))
        return fail(r, "expected: what was sent\n     got: other bytes");
    return got == want || fail(r, "expected: recv returns %" PRId64 "\n     got: %ld", want, got);
}

static bool user_connects(struct rig *r)
{
    struct gw_stack_endpoint us = r->us;
    us.port = r->our_port = OUR_ACTIVE_PORT;
    int err = r->so->connect(r->stack, &us, &r->peer, &r->conn);
    r->open = err == 0;
    return err == 0 || fail(r, "expected: connect returns 0\n     got: %d", err);
}

static bool is(const char *word, const char *what)
{
    return word != NULL && strcmp(word, what) == 0;
}

/* Commands to the rig itself. */
static bool move_rig(struct rig *r, char *const *w, bool *known)
{
    int64_t n = 0;
    *known = true;
    if (is(w[0], "hold"))
        r->hold = true;
    else if (is(w[0], "run"))
        r->hold = false;
    else if (is(w[0], "port") && (is(w[1], "full") || is(w[1], "free")))
        r->port_full = is(w[1], "full");
    else if (is(w[0], "new-peer"))
        r->iss_known = false;
    else if (is(w[0], "refuse"))
        r->refuse = true;
    else if (is(w[0], "take") && (is(w[1], "all") || line_read_number(w[1], &n)))
        r->take = is(w[1], "all") ? SIZE_MAX : (size_t)n;
    else
        *known = false;
    return true;
}

static bool user_calls(struct rig *r, const struct line *l)
{
    char *const *w = l->words;
    int64_t n = 0;
    bool known, on = is(w[1], "on");
    int err = 0;
    if (!move_rig(r, w, &known))
        return false;
    if (known)
        return run(r), true;
    if (is(w[0], "listen") && line_read_number(w[1], &n))
        err = r->so->listen(r->stack, (uint16_t)n);
    else if (is(w[0], "connect")) {
        if (!user_connects(r))
            return false;
    } else if (is(w[0], "send") && line_read_number(w[1], &n)) {
        if (!user_sends(r, (uint32_t)n, is(w[2], "fails") ? w[3] : NULL))
            return false;
    } else if (is(w[0], "recv") && line_read_number(w[1], &n) && is(w[2], "gets") && w[3] != NULL) {
        if (!user_receives(r, (uint32_t)n, w[3]))
            return false;
    } else if (is(w[0], "shutdown"))
        err = r->so->shutdown(r->stack, r->conn);
    else if (is(w[0], "abort"))
        err = r->so->abort(r->stack, r->conn);
    else if (is(w[0], "nodelay") && (on || is(w[1], "off")))
        err = r->so->set_nodelay(r->stack, r->conn, on);
    else if (is(w[0], "keepalive") && (on || is(w[1], "off")))
        err = r->so->set_keepalive(r->stack, r->conn, on);
    else
        return fail(r, "unknown command");
    if (err != 0)
        return fail(r, "expected: the call succeeds\n     got: %d", err);
    run(r);
    return true;
}

/* ---- questions ---- */

static bool find_number(struct rig *r, const char *name, int64_t *v)
{
    struct gw_stack_endpoint us = r->us;
    us.port = r->our_port;
    struct gw_stack_info i = {.bytes = sizeof(i)};
    struct gw_stack_usage u = {.bytes = sizeof(u)};
    if (r->so->lookup(r->stack, &us, &r->peer, &i) != 0 || r->so->usage(r->stack, &u) != 0)
        return false;
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"snd_una", (int32_t)(i.snd_una - r->our_iss)},
        {"snd_nxt", (int32_t)(i.snd_nxt - r->our_iss)},
        {"rcv_nxt", (int32_t)(i.rcv_nxt - PEER_ISS)},
        {"snd_wnd", i.snd_wnd},
        {"rcv_wnd", i.rcv_wnd},
        {"mss", i.mss},
        {"cwnd", i.cwnd},
        {"ssthresh", i.ssthresh},
        {"srtt_us", i.srtt_us},
        {"rttvar_us", i.rttvar_us},
        {"rto_us", i.rto_us},
        {"queued", i.queued_bytes},
        {"unread", i.unread_bytes},
        {"kept", i.kept_bytes},
        {"timestamps", (i.options & GW_STACK_OPTION_TIMESTAMPS) != 0},
        {"sack", (i.options & GW_STACK_OPTION_SACK) != 0},
        {"scale", (i.options & GW_STACK_OPTION_SCALE) != 0},
        {"snd_scale", i.snd_scale},
        {"rcv_scale", i.rcv_scale},
        {"connections", u.connections},
        {"half_open", u.half_open},
        {"time_waits", u.time_waits},
        {"timers", u.timers},
        {"nodes", u.nodes},
        {"pieces", u.pieces},
        {"memory", (int64_t)u.memory_bytes},
    };
    for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++)
        if (strcmp(numbers[k].name, name) == 0) {
            *v = numbers[k].value;
            return true;
        }
    return false;
}

static bool compare(int64_t got, const char *op, int64_t want)
{
    if (op[0] == '<')
        return op[1] == '=' ? got <= want : got < want;
    if (op[0] == '>')
        return op[1] == '=' ? got >= want : got > want;
    return got == want;
}

static bool answer_state(struct rig *r, const char *want)
{
    struct gw_stack_endpoint us = r->us;
    us.port = r->our_port;
    struct gw_stack_info i = {.bytes = sizeof(i)};
    if (r->so->lookup(r->stack, &us, &r->peer, &i) != 0)
        return fail(r, "no such addresses");
    const char *got = r->so->state_name(i.state);
    return is(want, got) || fail(r, "expected: state %s\n     got: state %s", want, got);
}

static bool answer(struct rig *r, const struct line *l)
{
    char *const *w = l->words;
    if (is(w[0], "state"))
        return answer_state(r, w[1]);
    const char *name = w[0];
    int64_t got, want;
    if (is(w[0], "counter")) {
        uint64_t v;
        name = *++w;
        if (name == NULL || r->so->counter(r->stack, name, &v) != 0)
            return fail(r, "there is no such counter");
        got = (int64_t)v;
    } else if (!find_number(r, name, &got)) {
        return fail(r, "there is no number of that name");
    }
    static const char *const ops[] = {"<", "<=", ">", ">="};
    const char *op = "=";
    for (unsigned i = 0; i < 4; i++)
        if (is(w[1], ops[i])) {
            op = ops[i];
            w++;
            break;
        }
    if (!line_read_number(w[1], &want) || w[2] != NULL)
        return fail(r, "one number is wanted");
    return compare(got, op, want) ||
           fail(r, "expected: %s %s %" PRId64 "\n     got: %" PRId64, name, op, want, got);
}

static bool run_once(struct rig *r, const struct line *l, unsigned turn)
{
    if (l->kind == LINE_OUT || l->kind == LINE_EVENT)
        return stack_did(r, l, turn);
    uint64_t at = r->line_us + l->after_us;
    /* A question at once is about what is: what happened may be told behind it. */
    if (l->kind == LINE_QUESTION && l->after_us == 0)
        return answer(r, l);
    if (!nothing_waits(r) || !run_until(r, at, false) || !nothing_waits(r))
        return false;
    r->line_us = at;
    switch (l->kind) {
    case LINE_IN:
        return peer_sends(r, l, turn);
    case LINE_COMMAND:
        return user_calls(r, l);
    default:
        return answer(r, l);
    }
}

bool rig_run(struct rig *r, const struct line *l)
{
    bool batch = l->repeat > 1 && l->kind == LINE_IN;
    for (unsigned i = 0; i < l->repeat; i++) {
        /* What the first of a repetition causes may be told behind the last. */
        bool ok = batch && i > 0 ? peer_sends(r, l, i) : run_once(r, l, i);
        if (!ok)
            return false;
    }
    return r->failure[0] == '\0';
}
