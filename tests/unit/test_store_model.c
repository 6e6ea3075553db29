/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store against a reference of a few arrays: random histories with spills, clean ends, kills
 * and, where the disk is in memory, power losses, torn and refused writes. A seed names a history.
 */
#include "store_rig.h"

#define MAILBOXES     12
#define POSITIONS_MAX 4096
#define KEYS          6
#define EVENTS_MAX    4096

enum truth { ABSENT, PRESENT, PERHAPS_PRESENT, PERHAPS_REMOVED };

struct model {
    struct rig rig;
    uint64_t random;
    uint8_t state[MAILBOXES][POSITIONS_MAX];
    uint64_t next[MAILBOXES];    /* above every position used */
    uint64_t highest[MAILBOXES]; /* that was ever durable */
    struct {
        uint64_t version; /* 0: absent */
        char value[16];
    } small[KEYS];
    /* Durable events by segment, in order; perhaps: an append that failed. */
    struct {
        uint64_t segment;
        bool perhaps;
    } events[EVENTS_MAX];
    unsigned event_count;
    uint64_t trimmed; /* events below are forgotten */
    uint64_t last_segment;
    unsigned values;
    bool broken_for_good; /* its writes fail until it crashes */
};

static uint32_t below(struct model *m, uint32_t limit)
{
    m->random = m->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((m->random >> 33) % limit);
}

/* ---- what a segment will do, once it is durable ---- */

struct action {
    uint8_t mailbox;
    bool remove;
    uint64_t first, last;
};

struct plan {
    struct rig_segment g;
    struct action actions[64];
    unsigned count;
    bool events;
};

static void text_of(char out[32], unsigned mailbox, uint64_t position)
{
    /* Bodies of all lengths around the alignment. */
    snprintf(out, 32, "%u-%" PRIu64 "-%.*s", mailbox, position, (int)(position % 9), "abcdefghi");
}

static void plan_message(struct model *m, struct plan *p, unsigned mailbox)
{
    uint64_t position = m->next[mailbox] + (below(m, 8) == 0 ? below(m, 3) : 0);
    if (position >= POSITIONS_MAX)
        return;
    char text[32];
    text_of(text, mailbox, position);
    rig_message(&p->g, mailbox, position, text);
    m->next[mailbox] = position + 1;
    p->actions[p->count++] =
        (struct action){.mailbox = (uint8_t)mailbox, .first = position, .last = position};
}

static void plan_remove(struct model *m, struct plan *p, unsigned mailbox)
{
    if (m->next[mailbox] < 2)
        return;
    uint64_t top = m->next[mailbox] < POSITIONS_MAX ? m->next[mailbox] : POSITIONS_MAX - 1;
    uint64_t first = 1 + below(m, (uint32_t)top);
    /* Mostly a few; at times everything from there on, and beyond. */
    uint64_t last = below(m, 10) == 0 ? POSITIONS_MAX - 1 : first + below(m, 6);
    rig_remove(&p->g, mailbox, first, last);
    p->actions[p->count++] = (struct action){(uint8_t)mailbox, true, first, last};
}

static void plan_segment(struct model *m, struct plan *p)
{
    *p = (struct plan){.count = 0};
    rig_segment_begin(&p->g);
    for (unsigned n = 1 + below(m, 20); n > 0; n--) {
        unsigned mailbox = below(m, MAILBOXES);
        if (below(m, 3) > 0)
            plan_message(m, p, mailbox);
        else
            plan_remove(m, p, mailbox);
    }
    p->events = below(m, 2) == 0;
    if (p->events)
        rig_events(&p->g, "e");
}

static void apply_action(struct model *m, const struct action *a, bool durable)
{
    if (durable && !a->remove)
        m->highest[a->mailbox] = a->last;
    for (uint64_t p = a->first; p <= a->last && p < POSITIONS_MAX; p++) {
        uint8_t *s = &m->state[a->mailbox][p];
        if (!a->remove)
            *s = durable ? PRESENT : PERHAPS_PRESENT;
        else if (durable)
            *s = ABSENT;
        else if (*s == PRESENT)
            *s = PERHAPS_REMOVED;
    }
}

static void apply(struct model *m, const struct plan *p, const struct gw_store_completion *done)
{
    bool durable = done->status == 0;
    cr_assert(durable || done->status == -EIO);
    for (unsigned i = 0; i < p->count; i++)
        apply_action(m, &p->actions[i], durable);
    if (durable) {
        cr_assert_gt(done->seq, m->last_segment);
        m->last_segment = done->seq;
    }
    if (p->events && m->event_count < EVENTS_MAX) {
        m->events[m->event_count].segment = done->seq;
        m->events[m->event_count++].perhaps = !durable;
    }
}

/* ---- steps ---- */

#define PLANS_MAX 8

/* What the store holds, because it cannot be opened, is in doubt once the process has ended. */
static void give_up(struct model *m, const struct plan *plans, unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++)
        apply(m, &plans[i], &(struct gw_store_completion){.status = -EIO});
}

/* Several segments in flight at once, with passes of both threads between them in any order. False:
 * the disk takes nothing more, and the process is to end. */
static bool step_append(struct model *m)
{
    static struct plan plans[PLANS_MAX];
    unsigned n = 1 + below(m, PLANS_MAX), submitted = 0, completed = 0;
    struct gw_store_client *c = m->rig.client[0];
    while (completed < n) {
        if (submitted < n && below(m, 2) == 0) {
            plan_segment(m, &plans[submitted]);
            struct gw_store_request r = {
                .op = GW_STORE_APPEND, .tag = submitted, .data = plans[submitted].g.buf};
            r.data_len = gw_segment_end(&plans[submitted].g.w, m->rig.now_us);
            cr_assert_eq(gw_store_submit(c, &r), 0);
            submitted++;
        }
        if (below(m, 2) == 0)
            gw_store_commit_poll(m->rig.store);
        if (below(m, 2) == 0)
            gw_store_storage_poll(m->rig.store);
        struct gw_store_completion done;
        if (gw_store_poll(c, &done, 1) == 1) {
            cr_assert_eq(done.tag, completed);
            apply(m, &plans[completed++], &done);
        } else if (gw_store_state(m->rig.store).condition == GW_STORE_BROKEN) {
            if (m->broken_for_good) {
                give_up(m, plans, completed, submitted);
                return false;
            }
            m->rig.now_us += 50000;
        }
    }
    return true;
}

static void step_time(struct model *m)
{
    m->rig.now_us += below(m, 400000);
    for (unsigned n = below(m, 4); n > 0; n--)
        gw_store_storage_poll(m->rig.store);
}

/* After a failure what was in doubt is settled by what is there. */
static void settle(struct model *m, unsigned mailbox, const uint8_t *seen)
{
    for (uint64_t p = 1; p < POSITIONS_MAX; p++) {
        uint8_t *s = &m->state[mailbox][p];
        if (*s == PRESENT)
            cr_assert(seen[p], "mailbox %u lost %" PRIu64, mailbox, p);
        else if (*s == ABSENT)
            cr_assert(!seen[p], "mailbox %u still has %" PRIu64, mailbox, p);
        *s = seen[p] ? PRESENT : ABSENT;
    }
}

static void check_mailbox(struct model *m, unsigned mailbox)
{
    static uint8_t buf[8192];
    uint8_t seen[POSITIONS_MAX] = {0};
    uint64_t from = 0, last = 0;
    struct gw_mailbox_count found = {0};
    struct gw_store_completion done;
    do {
        struct gw_store_request r = {.op = GW_STORE_READ,
                                     .mailbox = rig_mailbox(mailbox),
                                     .from = from,
                                     .data = buf,
                                     .data_len = 128 + below(m, sizeof(buf) - 128)};
        cr_assert_eq(rig_call(&m->rig, &r, &done), 0);
        size_t off = 0;
        const struct gw_record_head *rec;
        while ((rec = gw_record_next(buf, done.len, &off)) != NULL) {
            cr_assert_gt(rec->position, last);
            last = rec->position;
            char text[32];
            text_of(text, mailbox, last);
            cr_assert_eq(gw_record_body_len(rec), strlen(text));
            cr_assert_arr_eq(gw_record_body(rec), text, strlen(text));
            seen[last] = 1;
            found.messages++;
            found.bytes += rec->len;
        }
        from = done.next;
    } while (done.more);
    settle(m, mailbox, seen);
    struct gw_mailbox_count count = rig_count(&m->rig, mailbox);
    cr_assert_eq(count.messages, found.messages);
    cr_assert_eq(count.bytes, found.bytes);

    uint64_t lowest = 0, next;
    rig_state(&m->rig, mailbox, &lowest, &next);
    uint64_t expected = next;
    for (uint64_t p = POSITIONS_MAX - 1; p > 0; p--)
        if (seen[p])
            expected = p;
    cr_assert_eq(lowest, expected);
    cr_assert_gt(next, last);
    cr_assert_gt(next, m->highest[mailbox], "a position of mailbox %u may be given twice", mailbox);
}

static void step_small(struct model *m)
{
    unsigned k = below(m, KEYS);
    char key[8], value[16];
    snprintf(key, sizeof(key), "k%u", k);
    snprintf(value, sizeof(value), "v%u", ++m->values);
    if (below(m, 5) == 0)
        value[0] = '\0';
    uint64_t expect = m->small[k].version + (below(m, 4) == 0), version;
    int status = rig_cas(&m->rig, GW_NS_SESSION, key, expect, value, &version);
    if (expect != m->small[k].version) {
        cr_assert_eq(status, expect == 0 ? -EEXIST : -ESTALE);
        return;
    }
    cr_assert_eq(status, 0);
    m->small[k].version = version;
    memcpy(m->small[k].value, value, sizeof(value));
}

static void check_small(struct model *m)
{
    for (unsigned k = 0; k < KEYS; k++) {
        char key[8], value[16];
        uint64_t version;
        snprintf(key, sizeof(key), "k%u", k);
        int status = rig_get(&m->rig, GW_NS_SESSION, key, value, sizeof(value), &version);
        if (m->small[k].version == 0) {
            cr_assert_eq(status, -ENOENT);
            continue;
        }
        cr_assert_eq(status, 0);
        cr_assert_eq(version, m->small[k].version);
        cr_assert_str_eq(value, m->small[k].value);
    }
}

static void check_events(struct model *m)
{
    static uint8_t buf[4096];
    unsigned i = 0;
    while (i < m->event_count && m->events[i].segment < m->trimmed && !m->events[i].perhaps)
        i++;
    uint64_t from = 0;
    struct gw_store_completion done;
    unsigned kept = i;
    do {
        struct gw_store_request r = {.op = GW_STORE_SCAN_EVENTS,
                                     .from = from,
                                     .data = buf,
                                     .data_len = 128 + below(m, sizeof(buf) - 128)};
        cr_assert_eq(rig_call(&m->rig, &r, &done), 0);
        for (uint32_t off = 0; off < done.len;) {
            struct gw_events_entry e;
            memcpy(&e, buf + off, sizeof(e));
            off += (uint32_t)gw_record_padded(e.len);
            if (e.segment < m->trimmed)
                continue; /* of a trim that a power loss undid */
            /* One that failed is there or is not; it has no number yet. */
            while (i < m->event_count && m->events[i].perhaps &&
                   m->events[i].segment != e.segment && i + 1 < m->event_count &&
                   m->events[i + 1].segment == e.segment && !m->events[i + 1].perhaps)
                i++;
            cr_assert_lt(i, m->event_count);
            cr_assert(m->events[i].perhaps || m->events[i].segment == e.segment);
            m->events[kept].segment = e.segment;
            m->events[kept++].perhaps = false;
            i++;
        }
        from = done.next;
    } while (done.more);
    for (; i < m->event_count; i++)
        cr_assert(m->events[i].perhaps, "events of segment %" PRIu64 " lost", m->events[i].segment);
    m->event_count = kept;
    if (done.next > m->last_segment + 1)
        m->last_segment = done.next - 1;
}

static void step_trim(struct model *m)
{
    struct gw_store_request r = {.op = GW_STORE_TRIM_EVENTS, .from = m->trimmed + below(m, 10)};
    struct gw_store_completion done;
    cr_assert_eq(rig_call(&m->rig, &r, &done), 0);
    if (r.from > m->last_segment + 1)
        r.from = m->last_segment + 1;
    if (r.from > m->trimmed)
        m->trimmed = r.from;
}

static void check_all(struct model *m)
{
    check_events(m);
    check_small(m);
    for (unsigned i = 0; i < MAILBOXES; i++)
        check_mailbox(m, i);
}

/* Positions go on where the store says, as a home lcore does it after a start. */
static void resume(struct model *m)
{
    check_all(m);
    for (unsigned i = 0; i < MAILBOXES; i++) {
        uint64_t next = rig_next(&m->rig, i);
        for (uint64_t p = next; p < POSITIONS_MAX; p++)
            cr_assert_eq(m->state[i][p], ABSENT);
        m->next[i] = next;
    }
    cr_assert_eq(m->rig.reports, 0, "%s", m->rig.last_report);
}

/* Writes are refused from some moment on; then the process is killed or the power goes. */
static void step_power_loss(struct model *m)
{
    bool refused = below(m, 2) == 0;
    if (refused) {
        gw_mem_set_faults(m->rig.disk, &(struct gw_mem_faults){.fail_at = 1 + below(m, 6)});
        m->broken_for_good = true;
        for (unsigned n = below(m, 4); n > 0 && step_append(m); n--)
            step_time(m);
        m->broken_for_good = false;
    }
    static const enum gw_mem_crash how[] = {GW_MEM_KILL, GW_MEM_POWER_LOSS, GW_MEM_TORN};
    gw_mem_crash(m->rig.disk, how[below(m, 3)]);
    gw_store_free(&m->rig.store);
    m->rig.reports = 0;
    rig_open(&m->rig);
    resume(m);
}

/* Some writes fail, and the store goes on by itself. */
static void step_fault(struct model *m)
{
    gw_mem_set_faults(m->rig.disk, &(struct gw_mem_faults){.fail_at = 1 + below(m, 6),
                                                           .fail_count = 1 + below(m, 4)});
    for (unsigned n = 1 + below(m, 3); n > 0; n--) {
        cr_assert(step_append(m));
        step_time(m);
    }
    gw_mem_set_faults(m->rig.disk, &(struct gw_mem_faults){0});
    for (unsigned n = 0; gw_store_state(m->rig.store).condition != GW_STORE_OPEN; n++) {
        cr_assert_lt(n, 1000);
        m->rig.now_us += 50000;
        rig_step(&m->rig);
    }
    m->rig.reports = 0;
    check_all(m);
}

static void step(struct model *m, bool on_disk)
{
    switch (below(m, 25)) {
    case 24:
        if (!on_disk)
            step_fault(m);
        break;
    case 0:
        rig_reopen(&m->rig);
        resume(m);
        break;
    case 1:
        if (on_disk)
            rig_kill(&m->rig);
        else
            step_power_loss(m);
        if (on_disk)
            resume(m);
        break;
    case 2:
    case 3:
        step_small(m);
        break;
    case 4:
        step_trim(m);
        break;
    case 5:
        check_events(m);
        break;
    case 6:
    case 7:
    case 8:
        check_mailbox(m, below(m, MAILBOXES));
        break;
    case 9:
    case 10:
    case 11:
        step_time(m);
        break;
    default:
        step_append(m);
    }
}

static void history(const char *engine, uint64_t seed, unsigned steps)
{
    struct model *m = calloc(1, sizeof(*m));
    rig_begin(&m->rig, engine);
    m->rig.cfg.window_bytes_max = 1 << 20;
    m->rig.cfg.spill_file_min = 1 + (uint32_t)(seed % 3) * 10;
    m->rig.cfg.spill_events_min = 1 + (uint32_t)(seed % 4) * 200;
    m->random = seed;
    m->trimmed = 0;
    for (unsigned i = 0; i < MAILBOXES; i++)
        m->next[i] = 1;
    rig_open(&m->rig);
    bool on_disk = strcmp(engine, "mem") != 0;
    for (unsigned i = 0; i < steps; i++)
        step(m, on_disk);
    check_all(m);
    rig_end(&m->rig);
    free(m);
}

/* Named when its history fails. */
static uint64_t running_seed;

static void name_seed(void)
{
    if (running_seed != 0)
        fprintf(stderr, "store_model: failed in the history GW_TEST_SEED=%" PRIu64 "\n",
                running_seed);
}

/* GW_TEST_SEED=n runs that history alone. */
static void histories(const char *engine, unsigned count, unsigned steps)
{
    const char *one = getenv("GW_TEST_SEED");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1;
    uint64_t end = first + (one != NULL ? 1 : count);
    for (running_seed = first; running_seed < end; running_seed++)
        history(engine, running_seed, steps);
    running_seed = 0;
}

Test(store_model, mem, .fini = name_seed)
{
    histories("mem", 150, 150);
}

Test(store_model, rocksdb, .fini = name_seed)
{
    histories("rocksdb", 6, 100);
}
