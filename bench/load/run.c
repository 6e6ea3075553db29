/* SPDX-License-Identifier: Apache-2.0 */
#include "../wire/wire.h"
#include "quick.h"
#include "run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../dataplane/base/check.h"

#define NS_STANZA_ID "urn:xmpp:sid:0"
#define TURN_US      10000u
#define RECEIPT_TAG  ((uint64_t)1 << 63) /* the tag is of the receipt for that message */

static volatile sig_atomic_t signalled;

static void on_signal(int number)
{
    signalled = number;
}

uint64_t run_random(struct run *run)
{
    run->random ^= run->random << 13;
    run->random ^= run->random >> 7;
    run->random ^= run->random << 17;
    return run->random;
}

/* ---- sending ---- */

static uint64_t tag_of(uint32_t flow, uint32_t number)
{
    return (uint64_t)flow << 32 | number;
}

static void format_id(const struct run *run, char id[AUDIT_ID_BYTES], uint32_t flow,
                      uint32_t number)
{
    audit_id(run->audit, flow, number, id);
}

static void send_message(struct run *run, uint32_t flow, uint32_t number)
{
    static struct buffer body;
    struct user *from = &run->fleet.users[audit_flow_from(run->audit, flow)];
    struct user *to = &run->fleet.users[audit_flow_to(run->audit, flow)];
    char id[AUDIT_ID_BYTES];
    format_id(run, id, flow, number);
    buffer_reset(&body);
    audit_body(run->audit, flow, number, &body);
    client_send_message(
        &from->client, tag_of(flow, number), to->name, id, buffer_head(&body), buffer_len(&body),
        run->options->receipts ? "<request xmlns='" CLIENT_NS_RECEIPTS "'/>" : NULL);
    fleet_touch(&run->fleet, audit_flow_from(run->audit, flow));
}

static void send_receipt(struct run *run, uint32_t flow, uint32_t number)
{
    uint32_t recipient = audit_flow_to(run->audit, flow);
    struct user *from = &run->fleet.users[recipient];
    struct user *to = &run->fleet.users[audit_flow_from(run->audit, flow)];
    char id[AUDIT_ID_BYTES], own_id[AUDIT_ID_BYTES + 2], extra[AUDIT_ID_BYTES + 64];
    if (!client_may_send(&from->client))
        return; /* it is leaving: the message comes again, and then has its receipt */
    format_id(run, id, flow, number);
    snprintf(own_id, sizeof(own_id), "r-%s", id);
    snprintf(extra, sizeof(extra), "<received xmlns='" CLIENT_NS_RECEIPTS "' id='%s'/>", id);
    client_send_message(&from->client, RECEIPT_TAG | tag_of(flow, number), to->name, own_id, NULL,
                        0, extra);
    fleet_touch(&run->fleet, recipient);
}

/* What the user's ended sessions left unacknowledged, again and in order, under the same ids. */
static void send_again(struct run *run, struct user *u)
{
    while (tags_count(&u->unacked) > 0) {
        uint64_t tag = tags_pop(&u->unacked);
        uint32_t flow = (uint32_t)((tag & ~RECEIPT_TAG) >> 32), number = (uint32_t)tag;
        if (tag & RECEIPT_TAG) {
            send_receipt(run, flow, number);
            continue;
        }
        if (audit_resend(run->audit, flow, number, run->fleet.now_us))
            send_message(run, flow, number);
    }
}

/* Messages that the rate allows by now. */
static uint64_t rate_allows(struct run *run)
{
    uint64_t sent = audit_totals(run->audit)->sent;
    if (run->options->rate == 0)
        return UINT64_MAX;
    if (run->send_start_us == 0)
        return 1;
    uint64_t due = (run->fleet.now_us - run->send_start_us) * run->options->rate / 1000000 + 1;
    return due > sent ? due - sent : 0;
}

/* What the window counts: messages of the flow that are not complete; when recipients are away, all
 * of the sender that are not acknowledged. */
static uint32_t outstanding(const struct run *run, uint32_t flow)
{
    uint32_t from = audit_flow_from(run->audit, flow);
    return run->mode->recipients_away ? tags_count(&run->fleet.users[from].client.pending)
                                      : audit_outstanding(run->audit, flow);
}

static bool may_send(const struct run *run, uint32_t flow)
{
    return outstanding(run, flow) < run->options->window &&
           audit_sent(run->audit, flow) < run->quota[flow];
}

/* Sends at most `limit` new messages of the user; how many it were. */
static uint64_t send_new(struct run *run, uint32_t user, uint64_t limit)
{
    struct sender *s = &run->senders[user];
    uint64_t count = 0;
    for (uint32_t passed = 0; count < limit && passed < s->count;) {
        uint32_t flow = s->first + s->next;
        s->next = s->next + 1 == s->count ? 0 : s->next + 1;
        passed++;
        if (!may_send(run, flow))
            continue;
        if (run->send_start_us == 0)
            run->send_start_us = run->fleet.now_us;
        send_message(run, flow, audit_send(run->audit, flow, run->fleet.now_us));
        passed = 0;
        count++;
    }
    return count;
}

/* Something has changed that may let the user send. */
static void wake(struct run *run, uint32_t user)
{
    if (run->is_ready[user])
        return;
    run->is_ready[user] = true;
    tags_push(&run->ready, user);
}

void run_send(struct run *run)
{
    if (!run->sending || run->stopped)
        return;
    uint64_t allowed = rate_allows(run);
    while (allowed > 0 && tags_count(&run->ready) > 0) {
        uint32_t user = (uint32_t)tags_pop(&run->ready);
        uint64_t limit = run->options->rate ? 1 : allowed, sent = 0;
        run->is_ready[user] = false;
        if (run->fleet.users[user].client.state == CLIENT_READY)
            sent = send_new(run, user, limit);
        allowed -= sent;
        if (sent == limit)
            wake(run, user); /* behind the others */
    }
}

void run_add_flow(struct run *run, uint32_t from, uint32_t to, uint64_t quota)
{
    uint32_t flow = audit_add_flow(run->audit, from, to);
    struct sender *s = &run->senders[from];
    if (s->count++ == 0)
        s->first = flow;
    check(flow < run->flow_limit && s->first + s->count - 1 == flow);
    run_add_quota(run, flow, quota);
}

void run_add_quota(struct run *run, uint32_t flow, uint64_t quota)
{
    run->quota[flow] += quota;
    wake(run, audit_flow_from(run->audit, flow));
}

void run_say(const struct run *run, const char *phase)
{
    if (!run->options->phases)
        return;
    fprintf(stderr, "%s\n", phase);
}

bool run_complete(const struct run *run)
{
    if (audit_incomplete(run->audit) > 0)
        return false;
    if (run->stopped)
        return true;
    for (uint32_t flow = 0; flow < audit_flow_count(run->audit); flow++)
        if (audit_sent(run->audit, flow) < run->quota[flow])
            return false;
    return true;
}

/* The audit's: the window of the flow may have room. */
static void on_moved(void *ctx, uint32_t flow)
{
    struct run *run = ctx;
    wake(run, audit_flow_from(run->audit, flow));
}

/* ---- events of the fleet ---- */

static void on_online(void *ctx, uint32_t user)
{
    struct run *run = ctx;
    audit_note(run->audit, run->fleet.now_us, "online", user,
               run->fleet.users[user].client.bound_jid);
    send_again(run, &run->fleet.users[user]);
    wake(run, user);
}

static void on_offline(void *ctx, uint32_t user, const char *why)
{
    struct run *run = ctx;
    audit_note(run->audit, run->fleet.now_us, "offline", user, why);
}

/* The number of one of our users by the bare JID of a stanza's sender. */
static uint32_t user_of(const struct run *run, struct gw_bytes jid)
{
    const struct options *o = run->options;
    struct gw_bytes prefix = gw_bytes_str(o->prefix), domain = gw_bytes_str(o->domain);
    uint32_t number = 0;
    size_t at = prefix.len;
    if (jid.len < at || !gw_bytes_eq(gw_bytes(jid.p, at), prefix))
        return UINT32_MAX;
    for (; at < jid.len && jid.p[at] >= '0' && jid.p[at] <= '9'; at++)
        number = number * 10 + (uint32_t)(jid.p[at] - '0');
    size_t end = at + 1 + domain.len;
    if (at == prefix.len || jid.len < end || jid.p[at] != '@' ||
        !gw_bytes_eq(gw_bytes(jid.p + at + 1, domain.len), domain) ||
        (jid.len > end && jid.p[end] != '/'))
        return UINT32_MAX;
    return number - o->first;
}

/* The message that an id names, when it is one of this run's. */
static bool parse_id(const struct run *run, const char *id, uint32_t *flow, uint32_t *number)
{
    unsigned seed;
    int end = 0;
    return id && sscanf(id, "m-%8x-%u-%u%n", &seed, flow, number, &end) == 3 && id[end] == '\0' &&
           seed == (uint32_t)run->options->seed;
}

static void on_error_message(struct run *run, const struct element *message)
{
    uint32_t flow, number;
    if (parse_id(run, element_attribute(message, "id"), &flow, &number))
        audit_refused(run->audit, flow, number, run->fleet.now_us);
}

static struct gw_bytes attribute(const struct element *e, const char *name)
{
    const char *value = e ? element_attribute(e, name) : NULL;
    return value ? gw_bytes_str(value) : gw_bytes(NULL, 0);
}

static uint64_t on_text(struct run *run, uint32_t user, const struct element *message,
                        const char *body)
{
    const struct element *id = element_child(message, NS_STANZA_ID, "stanza-id");
    uint32_t flow, number;
    if (!audit_receive(run->audit, user, run->fleet.users[user].session,
                       user_of(run, attribute(message, "from")), gw_bytes_str(body),
                       attribute(id, "id"), run->fleet.now_us, &flow, &number))
        return 0;
    if (element_child(message, CLIENT_NS_RECEIPTS, "request"))
        send_receipt(run, flow, number);
    return tag_of(flow, number);
}

static uint64_t on_chat(void *ctx, uint32_t user, const struct quick_chat *chat)
{
    struct run *run = ctx;
    uint32_t flow, number;
    if (!audit_receive(run->audit, user, run->fleet.users[user].session, user_of(run, chat->from),
                       chat->body, chat->stanza_id, run->fleet.now_us, &flow, &number))
        return 0;
    return tag_of(flow, number);
}

static uint64_t on_message(void *ctx, uint32_t user, const struct element *message)
{
    struct run *run = ctx;
    const char *type = element_attribute(message, "type");
    const struct element *body = element_child(message, NULL, "body");
    const struct element *receipt = element_child(message, CLIENT_NS_RECEIPTS, "received");
    uint32_t flow, number;
    if (type && strcmp(type, "error") == 0)
        on_error_message(run, message);
    else if (receipt && parse_id(run, element_attribute(receipt, "id"), &flow, &number))
        audit_receipt(run->audit, flow, number, run->fleet.now_us);
    else if (body)
        return on_text(run, user, message, body->text);
    return 0;
}

static void on_acked(void *ctx, uint32_t user, uint64_t tag)
{
    struct run *run = ctx;
    (void)user;
    if (!(tag & RECEIPT_TAG))
        audit_acked(run->audit, (uint32_t)(tag >> 32), (uint32_t)tag, run->fleet.now_us);
}

static void on_settled(void *ctx, uint32_t user, uint64_t tag)
{
    struct run *run = ctx;
    (void)user;
    audit_settled(run->audit, (uint32_t)(tag >> 32), (uint32_t)tag, run->fleet.now_us);
}

static const struct fleet_events fleet_events = {on_online, on_offline, on_message,
                                                 on_chat,   on_acked,   on_settled};

/* ---- result ---- */

static json_t *times(const struct histogram *h)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "count", (json_int_t)h->count, "p50_us",
                     (json_int_t)histogram_at(h, 0.50), "p99_us", (json_int_t)histogram_at(h, 0.99),
                     "p999_us", (json_int_t)histogram_at(h, 0.999), "max_us", (json_int_t)h->max);
}

static bool promises_kept(const struct run *run)
{
    const struct audit_counts *c = audit_totals(run->audit);
    bool twice = c->duplicated || (!run->options->reconnect &&
                                   (c->redelivered || c->late_redelivered || c->repeated));
    return !run->fleet.failure[0] && audit_lost(run->audit) == 0 && !twice && !c->reordered &&
           !c->altered && !c->misdelivered && !c->refused;
}

static json_t *result_of(const struct run *run, bool finished, bool passed)
{
    const struct options *o = run->options;
    const struct audit_counts *c = audit_totals(run->audit);
    double seconds = run->send_start_us ? (double)(run->done_us - run->send_start_us) / 1e6 : 0;
    json_t *result = json_object();
    json_object_set_new(result, "mode", json_string(run->mode->name));
    json_object_set_new(result, "passed", json_boolean(passed));
    json_object_set_new(result, "finished", json_boolean(finished));
    json_object_set_new(result, "failure", json_string(run->fleet.failure));
    json_object_set_new(result, "seed", json_integer((json_int_t)o->seed));
    json_object_set_new(result, "clients", json_integer(o->clients));
    json_object_set_new(result, "pairs", json_integer(o->pairs));
    json_object_set_new(result, "window", json_integer(o->window));
    json_object_set_new(result, "bytes", json_integer(o->bytes));
    json_object_set_new(result, "online", json_integer(run->fleet.online));
    json_object_set_new(result, "reconnects", json_integer((json_int_t)run->fleet.reconnects));
#define X(name, meaning) json_object_set_new(result, #name, json_integer((json_int_t)c->name));
    AUDIT_COUNTS(X)
#undef X
    json_object_set_new(result, "lost", json_integer((json_int_t)audit_lost(run->audit)));
    json_object_set_new(result, "incomplete",
                        json_integer((json_int_t)audit_incomplete(run->audit)));
    json_object_set_new(result, "seconds", json_real(seconds));
    json_object_set_new(result, "messages_per_second",
                        json_real(seconds > 0 ? (double)c->received / seconds : 0));
    json_object_set_new(result, "login", times(&run->fleet.login_times));
    json_object_set_new(result, "acknowledged_after", times(audit_ack_times(run->audit)));
    json_object_set_new(result, "received_after", times(audit_way_times(run->audit)));
    if (run->mode->report)
        run->mode->report(run, result);
    return result;
}

static void print_text(const struct run *run, json_t *result)
{
    const struct audit_counts *c = audit_totals(run->audit);
    const char *name;
    json_t *value;
    printf("godwit-load %s: %s%s%s\n", run->mode->name,
           json_is_true(json_object_get(result, "passed")) ? "passed" : "FAILED",
           run->fleet.failure[0] ? ": " : "", run->fleet.failure);
    json_object_foreach(result, name, value)
    {
        if (json_is_integer(value) && json_integer_value(value) != 0)
            printf("  %-22s %lld\n", name, (long long)json_integer_value(value));
        else if (json_is_real(value))
            printf("  %-22s %.3f\n", name, json_real_value(value));
        else if (json_is_object(value) && json_integer_value(json_object_get(value, "count")) > 0)
            printf("  %-22s p50 %lld, p99 %lld, max %lld us\n", name,
                   (long long)json_integer_value(json_object_get(value, "p50_us")),
                   (long long)json_integer_value(json_object_get(value, "p99_us")),
                   (long long)json_integer_value(json_object_get(value, "max_us")));
    }
    printf("%llu lost, %llu duplicated, %llu reordered, %llu altered\n",
           (unsigned long long)audit_lost(run->audit), (unsigned long long)c->duplicated,
           (unsigned long long)c->reordered, (unsigned long long)c->altered);
}

/* 0 or -1 with a message. */
static int write_result(const struct run *run, json_t *result)
{
    const char *path = run->options->json;
    if (!path || strcmp(path, "-") != 0)
        print_text(run, result);
    if (!path)
        return 0;
    int err = strcmp(path, "-") == 0 ? json_dumpf(result, stdout, JSON_INDENT(2))
                                     : json_dump_file(result, path, JSON_INDENT(2));
    if (strcmp(path, "-") == 0)
        putchar('\n');
    if (err)
        fprintf(stderr, "godwit-load: cannot write %s: %m\n", path);
    return err;
}

/* ---- the run ---- */

/* A number that rises with whatever the run achieves. */
static uint64_t progress_of(const struct run *run)
{
    const struct audit_counts *c = audit_totals(run->audit);
    return c->acknowledged + c->received + c->receipts + c->refused + run->fleet.login_times.count +
           run->phase;
}

static void churn(struct run *run)
{
    uint32_t mean_ms = run->options->churn_ms;
    if (mean_ms == 0 || !run->sending || run->stopped || run->fleet.now_us < run->next_churn_us)
        return;
    run->next_churn_us = run->fleet.now_us + run_random(run) % (2000u * mean_ms);
    fleet_disconnect(&run->fleet, (uint32_t)(run_random(run) % (2 * run->options->pairs)),
                     run_random(run) & 1);
}

/* How long a turn may wait: at a set rate until the next message is due. */
static uint32_t turn_us(const struct options *o)
{
    uint32_t apart_us = o->rate ? 1000000 / o->rate + 1 : TURN_US;
    return apart_us < TURN_US ? apart_us : TURN_US;
}

/* Turns until the mode is done. False when it was not in time, or could not. */
static bool turn(struct run *run)
{
    const struct options *o = run->options;
    uint32_t wait_us = turn_us(o);
    for (;;) {
        int err = fleet_turn(&run->fleet, wait_us);
        if (err < 0)
            snprintf(run->fleet.failure, sizeof(run->fleet.failure), "%s", strerror(-err));
        if (run->fleet.failure[0])
            return false;
        run->stopped = run->stopped || signalled;
        if (run->mode->step(run))
            return true;
        churn(run);
        run_send(run);
        if (run->log)
            fflush(run->log);
        uint64_t now = run->fleet.now_us;
        if (progress_of(run) != run->progress) {
            run->progress = progress_of(run);
            run->done_us = now;
        }
        if (now - run->start_us > o->deadline_s * 1000000ull)
            snprintf(run->fleet.failure, sizeof(run->fleet.failure), "deadline of %u s",
                     o->deadline_s);
        else if (now - run->done_us > o->stall_s * 1000000ull && !run->options->rate)
            snprintf(run->fleet.failure, sizeof(run->fleet.failure), "no progress for %u s",
                     o->stall_s);
    }
}

static int open_run(struct run *run)
{
    const struct options *o = run->options;
    if (o->log && !(run->log = fopen(o->log, "w"))) {
        fprintf(stderr, "godwit-load: %s: %m\n", o->log);
        return -1;
    }
    run->audit = audit_new(&(struct audit_config){.run = (uint32_t)o->seed,
                                                  .body_bytes = o->bytes,
                                                  .plain = o->plain_text,
                                                  .receipts = o->receipts,
                                                  .first_user = o->first,
                                                  .log = run->log,
                                                  .moved = on_moved,
                                                  .ctx = run});
    run->flow_limit = o->clients; /* each has a sender or a recipient of its own */
    run->senders = calloc(o->clients, sizeof(*run->senders));
    run->quota = calloc(run->flow_limit, sizeof(*run->quota));
    run->is_ready = calloc(o->clients, sizeof(*run->is_ready));
    check(run->senders && run->quota && run->is_ready);
    struct fleet_config config = {
        .transport = {.host = o->host,
                      .port = o->port,
                      .device = o->device,
                      .address = o->address,
                      .range = o->range,
                      .mtu = (uint16_t)o->mtu,
                      .arena_mib = o->arena_mib,
                      .huge_pages = o->huge_pages},
        .prefix = o->prefix,
        .password = o->password,
        .first = o->first,
        .count = o->clients,
        .connecting_max = o->connecting,
        .keepalive_ms = o->keepalive_ms,
        .reconnect = o->reconnect,
        .profile = {.domain = o->domain,
                    .resource = o->resource,
                    .mechanism = o->mechanism,
                    .stream_management = o->stream_management,
                    .expat_every = o->expat_every,
                    .presence = true},
    };
    int err = fleet_open(&run->fleet, &config, &fleet_events, run);
    if (err)
        fprintf(stderr, "godwit-load: %s\n", strerror(-err));
    return err;
}

static void close_run(struct run *run)
{
    fleet_close(&run->fleet);
    audit_free(&run->audit);
    free(run->senders);
    tags_free(&run->visiting);
    free(run->quota);
    free(run->is_ready);
    tags_free(&run->ready);
    if (run->log && fclose(run->log) != 0)
        fprintf(stderr, "godwit-load: %s: %m\n", run->options->log);
}

static const struct mode *const modes[] = {&mode_chat, &mode_offline, &mode_login, &mode_idle};

int main(int argc, char **argv)
{
    /* The modes below XMPP have a stack and options of their own. */
    if (argc > 1 && wire_is_mode(argv[1]))
        return wire_main(argc - 1, argv + 1);
    struct options options;
    int err = options_read(&options, argc, argv);
    if (err) {
        options_free(&options);
        return err < 0 ? 2 : 0;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (options.seed == 0)
        options.seed =
            (uint64_t)now.tv_sec << 20 ^ (uint64_t)now.tv_nsec ^ (uint64_t)getpid() << 12;
    srand((unsigned)options.seed);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);

    struct run run = {.options = &options, .mode = modes[options.mode], .random = options.seed | 1};
    int status = 2;
    if (open_run(&run) == 0) {
        run.start_us = run.done_us = run.fleet.now_us;
        run.mode->start(&run);
        bool finished = turn(&run);
        bool passed = finished && promises_kept(&run) && audit_incomplete(run.audit) == 0 &&
                      (!run.mode->passed || run.mode->passed(&run));
        json_t *result = result_of(&run, finished, passed);
        status = write_result(&run, result) == 0 && passed ? 0 : 1;
        json_decref(result);
    }
    close_run(&run);
    options_free(&options);
    return status;
}
