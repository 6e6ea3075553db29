/* SPDX-License-Identifier: Apache-2.0 */
/* Answers as people read them: lines of names and values, or tables. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "ctl.h"
#include "ctl_values.h"

/* ---- units ---- */

/* Local time, to the second or the millisecond. */
static const char *when(json_int_t us, bool fine, char out[40])
{
    time_t seconds = (time_t)(us / 1000000);
    struct tm t;
    if (us == 0 || localtime_r(&seconds, &t) == NULL)
        return "-";
    size_t len = strftime(out, 40, "%Y-%m-%d %H:%M:%S", &t);
    if (fine)
        snprintf(out + len, 40 - len, ".%03d", (int)(us / 1000 % 1000));
    return out;
}

static const char *span(json_int_t us, char out[40])
{
    json_int_t s = us / 1000000;
    if (us < 10000)
        snprintf(out, 40, "%.2f ms", (double)us / 1e3);
    else if (s < 10)
        snprintf(out, 40, "%d ms", (int)(us / 1000));
    else if (s < 120)
        snprintf(out, 40, "%d s", (int)s);
    else if (s < 7200)
        snprintf(out, 40, "%d min", (int)(s / 60));
    else if (s < 172800)
        snprintf(out, 40, "%d h %02d min", (int)(s / 3600), (int)(s / 60 % 60));
    else
        snprintf(out, 40, "%d d %02d h", (int)(s / 86400), (int)(s / 3600 % 24));
    return out;
}

const char *ctl_bytes(json_int_t n, char out[40])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)n;
    unsigned u = 0;
    for (; value >= 1024 && u < 4; u++)
        value /= 1024;
    snprintf(out, 40, u == 0 ? "%.0f %s" : "%.1f %s", value, units[u]);
    return out;
}

/* ---- status ---- */

static const char *condition_text(const char *condition)
{
    static const struct {
        const char *name, *text;
    } texts[] = {
        {"open", "healthy"},
        {"reserve", "DISK FULL: new messages are refused"},
        {"closed", "FAILED a write: being opened anew, new messages are refused"},
        {"broken", "BROKEN: cannot be opened, new messages are refused; see the broker's log"},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (strcmp(condition, texts[i].name) == 0)
            return texts[i].text;
    return condition;
}

static void show_store(const json_t *store)
{
    char a[40], b[40];
    const char *error = text(store, "last_error");
    printf("store        %s, %s, %s\n", text(store, "engine"), text(store, "durability"),
           condition_text(text(store, "condition")));
    printf("disk         %s free, reserve %s%s%s\n", ctl_bytes(number(store, "free_bytes"), a),
           ctl_bytes(number(store, "reserve_bytes"), b), error[0] != '\0' ? ", last error: " : "", error);
}

static void show_log(const json_t *store)
{
    json_int_t oldest = number(store, "segment_oldest"), next = number(store, "segment_next");
    char buf[40];
    if (oldest == next)
        printf("commit log   empty, next segment %" JSON_INTEGER_FORMAT "\n", next);
    else
        printf("commit log   %s in memory, segments %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT
               ", %" JSON_INTEGER_FORMAT " messages wait in it\n",
               ctl_bytes(number(store, "window_bytes"), buf), oldest, next - 1,
               number(store, "window_messages"));
}

/* A line of them, unless there are none. */
static void show_texts(const char *label, const json_t *texts)
{
    size_t n = json_array_size(texts);
    for (size_t i = 0; i < n; i++)
        printf("%s %s%s", i == 0 ? label : ",", json_string_value(json_array_get(texts, i)),
               i + 1 == n ? "\n" : "");
}

static void show_status(const json_t *s)
{
    const json_t *port = json_object_get(s, "port"), *store = json_object_get(s, "store");
    const json_t *ledger = json_object_get(s, "ledger");
    char a[40], b[40];
    printf("version      %s, pid %" JSON_INTEGER_FORMAT "\n", text(s, "version"), number(s, "pid"));
    printf("started      %s, %s ago\n", when(number(s, "started_us"), false, a),
           span(number(s, "uptime_s") * 1000000, b));
    printf("domain       %s\n", text(s, "domain"));
    show_texts("further     ", json_object_get(s, "further_domains"));
    printf("port         %s\n", text(port, "device"));
    printf("queues       %" JSON_INTEGER_FORMAT ", dispatch by %s\n", number(port, "queues"),
           text(port, "dispatch"));
    show_texts("addresses   ", json_object_get(port, "addresses"));
    show_texts("ranges      ", json_object_get(port, "ranges"));
    show_texts("routes      ", json_object_get(port, "routes"));
    show_texts("listens on  ", json_object_get(port, "listen"));
    printf("cores        %" JSON_INTEGER_FORMAT ", %s\n", number(s, "lcores"),
           flag(s, "huge_pages") ? "on huge pages" : "without huge pages");
    printf("connections  %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT "\n",
           number(s, "connections"), number(s, "connection_limit"));
    printf("sessions     %" JSON_INTEGER_FORMAT "\n", number(s, "sessions"));
    printf("accounts     %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " known in memory, %s\n",
           number(s, "accounts_known"), number(s, "accounts_known_limit"),
           ctl_bytes(number(s, "accounts_known_bytes"), a));
    show_store(store);
    show_log(store);
    printf("ledger       at %s, %" JSON_INTEGER_FORMAT " messages in memory, %" JSON_INTEGER_FORMAT
           " followers\n", text(ledger, "cursor"), number(ledger, "in_memory"),
           number(ledger, "followers"));
    if (number(ledger, "start_percent") < 100)
        printf("             catching up after the start: %" JSON_INTEGER_FORMAT " %%\n",
               number(ledger, "start_percent"));
}

/* ---- accounts and sessions ---- */

static void show_changed(const json_t *r, const char *what)
{
    printf("%s %s", text(r, "account"), what);
    if (json_object_get(r, "sessions_ended") != NULL)
        printf(", sessions ended: %" JSON_INTEGER_FORMAT, number(r, "sessions_ended"));
    fputc('\n', stdout);
}

static void add_mechanisms(struct ctl_table *t, const json_t *account)
{
    const json_t *all = json_object_get(account, "mechanisms");
    char line[128] = "";
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *m = json_array_get(all, i);
        size_t len = strlen(line);
        snprintf(line + len, sizeof(line) - len, "%s%s (%d)", i > 0 ? ", " : "", text(m, "name"),
                 (int)number(m, "iterations"));
    }
    ctl_table_add(t, flag(account, "unreadable") ? "its record cannot be opened" : line);
}

static void show_accounts(const json_t *rows)
{
    struct ctl_table t = {.columns = 3, .heads = {"ACCOUNT", "CREATED", "MECHANISMS"}};
    char buf[40];
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *a = json_array_get(rows, i);
        ctl_table_add(&t, text(a, "account"));
        ctl_table_add(&t, when(number(a, "created_us"), false, buf));
        add_mechanisms(&t, a);
    }
    ctl_table_print(&t, stdout);
}

static void show_limit(const json_t *r, const char *what)
{
    const json_t *l = json_object_get(r, what);
    printf("%s waiting: %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " (%s limit)\n", what,
           number(l, "waiting"), number(l, "max"),
           json_is_true(json_object_get(l, "own")) ? "its own" : "the configured");
}

static void show_account(const json_t *r)
{
    char buf[40];
    printf("%s, created %s\n", text(r, "account"), when(number(r, "created_us"), false, buf));
    show_limit(r, "messages");
    show_limit(r, "bytes");
}

static const char *session_state(const json_t *s)
{
    if (flag(s, "detached"))
        return "detached";
    if (!flag(s, "available"))
        return "no presence";
    return flag(s, "catching_up") ? "catching up" : "available";
}

static void show_sessions(const json_t *rows)
{
    struct ctl_table t = {.columns = 8,
                          .heads = {"SESSION", "ADDRESS", "SINCE", "STATE", "PRIORITY", "SM",
                                    "UNACKED", "CORE"},
                          .right = {[4] = true, [6] = true, [7] = true}};
    char buf[40];
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *s = json_array_get(rows, i);
        bool v6 = strchr(text(s, "address"), ':') != NULL;
        ctl_table_add(&t, text(s, "jid"));
        ctl_table_addf(&t, v6 ? "[%s]:%d" : "%s:%d", text(s, "address"), (int)number(s, "port"));
        ctl_table_add(&t, when(number(s, "since_us"), false, buf));
        ctl_table_add(&t, session_state(s));
        ctl_table_addf(&t, "%d", (int)number(s, "priority"));
        ctl_table_add(&t, flag(s, "stream_management") ? "yes" : "no");
        ctl_table_addf(&t, "%d", (int)number(s, "unacked"));
        ctl_table_addf(&t, "%d", (int)number(s, "lcore"));
    }
    ctl_table_print(&t, stdout);
}

static void show_neighbours(const json_t *rows)
{
    struct ctl_table t = {.columns = 5,
                          .heads = {"ADDRESS", "ETHERNET", "STATE", "HEARD", "CORE"},
                          .right = {[3] = true, [4] = true}};
    char buf[40];
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *n = json_array_get(rows, i);
        bool known = json_is_string(json_object_get(n, "ethernet"));
        ctl_table_add(&t, text(n, "address"));
        ctl_table_add(&t, known ? text(n, "ethernet") : "-");
        ctl_table_add(&t, text(n, "state"));
        ctl_table_add(&t, known ? span(number(n, "heard_ms") * 1000, buf) : "-");
        ctl_table_addf(&t, "%d", (int)number(n, "lcore"));
    }
    ctl_table_print(&t, stdout);
}

/* ---- receipts ---- */

/* How long after it was accepted a message came to a step. */
static void add_step(struct ctl_table *t, const json_t *r, const char *step)
{
    char name[32], buf[40];
    snprintf(name, sizeof(name), "%s_us", step);
    json_int_t at = number(r, name), accepted = number(r, "accepted_us");
    if (at == 0)
        ctl_table_add(t, "-");
    else
        ctl_table_addf(t, "+%s", span(at > accepted ? at - accepted : 0, buf));
}

static void show_receipts(const json_t *result, const json_t *rows)
{
    struct ctl_table t = {.columns = 9,
                          .heads = {"ACCEPTED", "FROM", "TO", "ID", "STATE", "STORED", "DELIVERED",
                                    "RECEIVED", "DISPLAYED"},
                          .right = {[5] = true, [6] = true, [7] = true, [8] = true}};
    char buf[40];
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *r = json_array_get(rows, i);
        ctl_table_add(&t, when(number(r, "accepted_us"), true, buf));
        ctl_table_add(&t, text(r, "from"));
        ctl_table_add(&t, text(r, "to"));
        ctl_table_add(&t, text(r, "id"));
        ctl_table_add(&t, text(r, "state"));
        add_step(&t, r, "stored");
        add_step(&t, r, "delivered");
        add_step(&t, r, "received");
        add_step(&t, r, "displayed");
    }
    ctl_table_print(&t, stdout);
    fflush(stdout);
    if (json_object_get(result, "next") != NULL)
        fprintf(stderr, "older ones: --cursor %s\n", text(result, "next"));
    if (number(result, "left_out") > 0)
        fprintf(stderr, "%" JSON_INTEGER_FORMAT " older ones do not fit into memory: narrow it down by "
                "--account, --peer or --id\n", number(result, "left_out"));
}

/* ---- jobs ---- */

static void show_job(const json_t *j)
{
    static const char *const counts[] = {"created", "replaced", "skipped", "looked_at", "changed",
                                         "backup", "bytes", "errors"};
    char buf[40];
    printf("job       %" JSON_INTEGER_FORMAT ", %s, %s\n", number(j, "job"), text(j, "kind"),
           text(j, "state"));
    printf("started   %s\n", when(number(j, "started_us"), false, buf));
    if (flag(j, "ended"))
        printf("took      %s\n", span(number(j, "ended_us") - number(j, "started_us"), buf));
    printf("note      %s\n", text(j, "note"));
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        if (json_object_get(j, counts[i]) != NULL)
            printf("%-9s %" JSON_INTEGER_FORMAT "\n", counts[i], number(j, counts[i]));
    const json_t *complaints = json_object_get(j, "complaints");
    for (size_t i = 0; i < json_array_size(complaints); i++)
        ctl_show_complaint(stdout, json_array_get(complaints, i));
}

static void show_capture_status(const json_t *s)
{
    const json_t *capture = json_object_get(s, "capture");
    printf("capturing %s\n", flag(s, "running")    ? "yes"
                             : !flag(s, "enabled") ? "no, and the configuration allows none"
                             : flag(s, "allowed")  ? "no"
                                                   : "no, and this user may not");
    if (capture == NULL)
        return;
    show_job(capture);
    printf("filter    %s\n", text(capture, "filter")[0] != '\0' ? text(capture, "filter") : "none");
    printf("limits    %" JSON_INTEGER_FORMAT " s, %" JSON_INTEGER_FORMAT " bytes, %" JSON_INTEGER_FORMAT
           " of each frame\n", number(capture, "seconds"), number(capture, "bytes_max"),
           number(capture, "snaplen"));
}

static void show_jobs(const json_t *rows)
{
    struct ctl_table t = {.columns = 6,
                          .heads = {"JOB", "KIND", "STATE", "STARTED", "DONE", "NOTE"},
                          .right = {[0] = true, [4] = true}};
    char buf[40];
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *j = json_array_get(rows, i);
        json_int_t total = number(j, "total");
        ctl_table_addf(&t, "%d", (int)number(j, "job"));
        ctl_table_add(&t, text(j, "kind"));
        ctl_table_add(&t, text(j, "state"));
        ctl_table_add(&t, when(number(j, "started_us"), false, buf));
        ctl_table_addf(&t, "%d%%", total > 0 ? (int)(100 * number(j, "done") / total) : 0);
        ctl_table_add(&t, text(j, "note"));
    }
    ctl_table_print(&t, stdout);
}

/* ---- cores and counters ---- */

static void show_lcores(const json_t *rows)
{
    struct ctl_table t = {.columns = 10,
                          .heads = {"CORE", "PASSES", "BUSY", "CONNECTIONS", "HALF-OPEN",
                                    "TIME-WAIT", "SESSIONS", "HANDED", "DROPPED", "MEMORY"},
                          .right = {true, true, true, true, true, true, true, true, true, true}};
    char used[40], limit[40];
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *l = json_array_get(rows, i);
        json_int_t passes = number(l, "passes");
        ctl_table_addf(&t, "%d", (int)number(l, "lcore"));
        ctl_table_addf(&t, "%" JSON_INTEGER_FORMAT, passes);
        ctl_table_addf(&t, "%.1f%%",
                       passes > 0 ? 100.0 * (double)number(l, "busy_passes") / (double)passes : 0);
        ctl_table_addf(&t, "%" JSON_INTEGER_FORMAT, number(l, "connections"));
        ctl_table_addf(&t, "%" JSON_INTEGER_FORMAT, number(l, "half_open"));
        ctl_table_addf(&t, "%" JSON_INTEGER_FORMAT, number(l, "time_wait"));
        ctl_table_addf(&t, "%" JSON_INTEGER_FORMAT, number(l, "sessions"));
        const json_t *frames = json_object_get(l, "frames_handed_over");
        ctl_table_addf(&t, "%" JSON_INTEGER_FORMAT, number(frames, "given"));
        ctl_table_addf(&t, "%" JSON_INTEGER_FORMAT, number(frames, "dropped"));
        ctl_table_addf(&t, "%s of %s", ctl_bytes(number(l, "arena_used_bytes"), used),
                       ctl_bytes(number(l, "arena_limit_bytes"), limit));
    }
    ctl_table_print(&t, stdout);
}

static void show_stages(const json_t *rows)
{
    struct ctl_table t = {.columns = 4, .heads = {"CORE", "STAGE", "CYCLES", "SHARE"},
                          .right = {true, false, true, true}};
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *l = json_array_get(rows, i), *stages = json_object_get(l, "stage_cycles"), *value;
        const char *name;
        double total = 0;
        json_object_foreach(stages, name, value)
            total += (double)json_integer_value(value);
        json_object_foreach(stages, name, value) {
            ctl_table_addf(&t, "%d", (int)number(l, "lcore"));
            ctl_table_add(&t, name);
            ctl_table_addf(&t, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
            ctl_table_addf(&t, "%.1f%%",
                           total > 0 ? 100.0 * (double)json_integer_value(value) / total : 0);
        }
    }
    fputc('\n', stdout);
    ctl_table_print(&t, stdout);
}

static void show_counters(json_t *groups)
{
    struct ctl_table t = {.columns = 3, .heads = {"PART", "COUNTER", "COUNT"},
                          .right = {[2] = true}};
    const char *group, *name;
    json_t *counters, *value;
    json_object_foreach(groups, group, counters) {
        json_object_foreach(counters, name, value) {
            ctl_table_add(&t, group);
            ctl_table_add(&t, name);
            ctl_table_addf(&t, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        }
    }
    ctl_table_print(&t, stdout);
}

static void show_config(json_t *groups)
{
    const char *group, *name;
    json_t *settings, *value;
    json_object_foreach(groups, group, settings) {
        json_object_foreach(settings, name, value) {
            printf("%s.%s = ", group, name);
            json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT);
            fputc('\n', stdout);
        }
    }
}

/* ---- by method ---- */

void ctl_show(const struct schema_command *c, const json_t *r)
{
    const char *m = c->method;
    if (strcmp(m, "status") == 0) {
        show_status(r);
    } else if (strcmp(m, "user.add") == 0) {
        show_changed(r, "created");
    } else if (strcmp(m, "user.del") == 0) {
        show_changed(r, "deleted");
    } else if (strcmp(m, "user.passwd") == 0) {
        show_changed(r, "has a new password");
    } else if (strcmp(m, "user.show") == 0) {
        show_account(r);
    } else if (strcmp(m, "user.set_limit") == 0) {
        show_changed(r, "has new limits");
    } else if (strcmp(m, "user.list") == 0) {
        show_accounts(json_object_get(r, "accounts"));
    } else if (strcmp(m, "session.list") == 0) {
        show_sessions(json_object_get(r, "sessions"));
    } else if (strcmp(m, "neighbour.list") == 0) {
        show_neighbours(json_object_get(r, "neighbours"));
    } else if (strcmp(m, "session.end") == 0) {
        show_changed(r, "is logged out");
    } else if (strcmp(m, "conn.list") == 0) {
        ctl_show_connections(json_object_get(r, "connections"));
    } else if (strcmp(m, "conn.show") == 0) {
        ctl_show_connection(r);
    } else if (strcmp(m, "receipts.list") == 0) {
        show_receipts(r, json_object_get(r, "receipts"));
    } else if (strcmp(m, "key.status") == 0) {
        ctl_show_keys(r);
    } else if (strcmp(m, "store.stats") == 0) {
        ctl_show_store_stats(r);
    } else if (strcmp(m, "job.list") == 0) {
        show_jobs(json_object_get(r, "jobs"));
    } else if (strcmp(m, "pcap.status") == 0) {
        show_capture_status(r);
    } else if (strcmp(m, "lcore.stat") == 0) {
        show_lcores(json_object_get(r, "lcores"));
        show_stages(json_object_get(r, "lcores"));
    } else if (strcmp(m, "counters") == 0) {
        show_counters(json_object_get(r, "counters"));
    } else if (strcmp(m, "config.show") == 0) {
        show_config(json_object_get(r, "config"));
    } else {
        show_job(r);
    }
}
