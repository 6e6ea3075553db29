/* SPDX-License-Identifier: Apache-2.0 */
/* TCP connections for people: one a row, or all about one in the manner of ss -ti. */
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "ctl_values.h"

#define INT JSON_INTEGER_FORMAT

static const char *end_of(const json_t *c, const char *address, const char *port, char out[80])
{
    const char *a = text(c, address);
    snprintf(out, 80, strchr(a, ':') != NULL ? "[%s]:%d" : "%s:%d", a, (int)number(c, port));
    return out;
}

/* Milliseconds with a digit behind the point; - when nothing was measured. */
static const char *ms(json_int_t us, char out[32])
{
    if (us == 0)
        return "-";
    snprintf(out, 32, "%.1f", (double)us / 1000);
    return out;
}

static void add_row(struct ctl_table *t, const json_t *c)
{
    const json_t *send = json_object_get(c, "send"), *rtt = json_object_get(c, "rtt");
    char buf[80];
    ctl_table_add(t, text(c, "conn"));
    ctl_table_add(t, text(c, "state"));
    ctl_table_add(t, end_of(c, "local", "local_port", buf));
    ctl_table_add(t, end_of(c, "remote", "remote_port", buf));
    ctl_table_addf(t, "%" INT, number(send, "queued"));
    ctl_table_addf(t, "%" INT, number(json_object_get(c, "receive"), "unread"));
    ctl_table_add(t, ms(number(rtt, "smoothed_us"), buf));
    ctl_table_addf(t, "%" INT, number(json_object_get(c, "congestion"), "window"));
    ctl_table_addf(t, "%" INT, number(send, "resent"));
    ctl_table_add(t, text(c, "jid"));
}

void ctl_show_connections(const json_t *rows)
{
    struct ctl_table t = {.columns = 10,
                          .heads = {"CONN", "STATE", "LOCAL", "REMOTE", "SENDQ", "UNREAD", "RTT ms",
                                    "CWND", "RESENT", "SESSION"},
                          .right = {[4] = true, [5] = true, [6] = true, [7] = true, [8] = true}};
    for (size_t i = 0; i < json_array_size(rows); i++)
        add_row(&t, json_array_get(rows, i));
    ctl_table_print(&t, stdout);
}

static void show_timers(const json_t *timers)
{
    printf("timers      ");
    for (size_t i = 0; i < json_array_size(timers); i++)
        printf("%s%s in %" INT " ms", i > 0 ? ", " : "", text(json_array_get(timers, i), "timer"),
               number(json_array_get(timers, i), "in_ms"));
    puts(json_array_size(timers) == 0 ? "none" : "");
}

static void show_options(const json_t *c)
{
    const json_t *options = json_object_get(c, "options");
    printf("options     mss %" INT, number(c, "mss"));
    for (size_t i = 0; i < json_array_size(options); i++)
        printf(", %s", json_string_value(json_array_get(options, i)));
    fputc('\n', stdout);
}

static void show_send(const json_t *s)
{
    printf("send        window %" INT " (scale %" INT "), queued %" INT ", not sent %" INT
           ", in flight %" INT ", pipe %" INT "\n",
           number(s, "window"), number(s, "scale"), number(s, "queued"), number(s, "unsent"),
           number(s, "in_flight"), number(s, "pipe"));
    printf("            acknowledged %" INT ", segments sent again %" INT ", backoff %" INT "\n",
           number(s, "acked"), number(s, "resent"), number(s, "backoff"));
}

static void show_receive(const json_t *r)
{
    printf("receive     window %" INT " (scale %" INT "), unread %" INT "%s, out of order up to %" INT
           " ahead, pieces %" INT "\n",
           number(r, "window"), number(r, "scale"), number(r, "unread"),
           flag(r, "paused") ? " (reading paused)" : "", number(r, "ahead"), number(r, "pieces"));
}

static void show_rtt(const json_t *r)
{
    char smoothed[32], variation[32], least[32], timeout[32];
    printf("round trip  %s ms, variation %s, least %s, timeout %s\n",
           ms(number(r, "smoothed_us"), smoothed), ms(number(r, "variation_us"), variation),
           ms(number(r, "least_us"), least), ms(number(r, "timeout_us"), timeout));
}

static void show_congestion(const json_t *c)
{
    printf("congestion  %s, %s, window %" INT "%s", text(c, "control"), text(c, "state"),
           number(c, "window"), flag(c, "limits") ? " (holds data back)" : "");
    if (number(c, "threshold") > 0)
        printf(", threshold %" INT, number(c, "threshold"));
    fputc('\n', stdout);
}

void ctl_show_connection(const json_t *c)
{
    char local[80], remote[80];
    printf("connection  %s on core %" INT ", %s\n", text(c, "conn"), number(c, "lcore"),
           text(c, "state"));
    printf("ends        %s, %s\n", end_of(c, "local", "local_port", local),
           end_of(c, "remote", "remote_port", remote));
    if (json_object_get(c, "jid") != NULL) {
        char *jid = ctl_clean(text(c, "jid"));
        printf("session     %s\n", jid);
        free(jid);
    }
    if (json_object_get(c, "send") != NULL) {
        printf("silent for  %" INT " s, opened by %s\n", number(c, "silent_s"),
               flag(c, "opened_by_us") ? "us" : "the peer");
        show_options(c);
        show_send(json_object_get(c, "send"));
        show_receive(json_object_get(c, "receive"));
        show_rtt(json_object_get(c, "rtt"));
        show_congestion(json_object_get(c, "congestion"));
    }
    show_timers(json_object_get(c, "timers"));
}
