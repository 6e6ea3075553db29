/* SPDX-License-Identifier: Apache-2.0 */
/* What operators see of keys and of the store's sizes. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "ctl_values.h"

void ctl_show_keys(const json_t *r)
{
    printf("master key    %s%s\n", text(r, "master_id"),
           number(r, "masters") > 1 ? ", and another one in memory" : "");
    printf("incarnation   %" JSON_INTEGER_FORMAT ", %" JSON_INTEGER_FORMAT " keys kept\n",
           number(r, "incarnation"), number(r, "incarnations"));
    printf("rotation      %s\n", flag(r, "rotating") ? "under way: see job list" : "none");
    printf("erasing       %s\n", flag(r, "erasing")
                                     ? "keys of deleted accounts are still on the disk"
                                     : "nothing is left of deleted accounts");
}

static void show_expiry(const json_t *x)
{
    json_int_t age_s = number(x, "age_s"), behind_s = number(x, "clock_behind_us") / 1000000;
    if (age_s == 0)
        printf("expiry       never\n\n");
    else
        printf("expiry       after %" JSON_INTEGER_FORMAT " s, by a clock %" JSON_INTEGER_FORMAT
               " s behind the wall clock\n\n", age_s, behind_s);
}

static void show_writes(const json_t *w)
{
    printf("keys         %" JSON_INTEGER_FORMAT " batches wait to be written", number(w, "waiting"));
    if (number(w, "waits_us") > 0)
        printf(", one for %" JSON_INTEGER_FORMAT " us", number(w, "waits_us"));
    if (json_is_true(json_object_get(w, "stopped")))
        printf("; the engine has stopped writes");
    else if (number(w, "rate_max") > 0)
        printf("; the engine lets %" JSON_INTEGER_FORMAT " bytes a second through",
               number(w, "rate_max"));
    printf("\n");
}

void ctl_show_store_stats(const json_t *r)
{
    const json_t *log = json_object_get(r, "log"), *held = json_object_get(r, "unspilled");
    const json_t *spaces = json_object_get(r, "spaces");
    struct ctl_table t = {.columns = 5, .heads = {"KIND", "KEYS", "ON DISK", "IN MEMORY", "PENDING"},
                          .right = {[1] = true, [2] = true, [3] = true, [4] = true}};
    char buf[40];
    printf("commit log   %" JSON_INTEGER_FORMAT " files in use, %" JSON_INTEGER_FORMAT
           " free, %s each; next segment %" JSON_INTEGER_FORMAT "\n",
           number(log, "files"), number(log, "free_files"), ctl_bytes(number(log, "file_bytes"), buf),
           number(log, "segment_next"));
    printf("unspilled    %s from segment %" JSON_INTEGER_FORMAT " on, %" JSON_INTEGER_FORMAT
           " messages of %" JSON_INTEGER_FORMAT " mailboxes\n",
           ctl_bytes(number(held, "bytes"), buf), number(log, "segment_oldest"),
           number(held, "messages"), number(held, "mailboxes"));
    show_writes(json_object_get(r, "writes"));
    show_expiry(json_object_get(r, "expiry"));
    for (size_t i = 0; i < json_array_size(spaces); i++) {
        const json_t *s = json_array_get(spaces, i);
        ctl_table_add(&t, text(s, "name"));
        ctl_table_addf(&t, "%" JSON_INTEGER_FORMAT, number(s, "keys"));
        ctl_table_add(&t, ctl_bytes(number(s, "disk_bytes"), buf));
        ctl_table_add(&t, ctl_bytes(number(s, "memory_bytes"), buf));
        ctl_table_add(&t, ctl_bytes(number(s, "pending_bytes"), buf));
    }
    ctl_table_print(&t, stdout);
}

void ctl_show_complaint(FILE *out, const json_t *c)
{
    const char *account = text(c, "account"), *mailbox = text(c, "mailbox");
    if (json_object_get(c, "line") != NULL)
        fprintf(out, "line %" JSON_INTEGER_FORMAT ": %s\n", number(c, "line"), text(c, "error"));
    else if (mailbox[0] != '\0')
        fprintf(out, "mailbox %s%s%s%s, position %" JSON_INTEGER_FORMAT ": %s\n", mailbox,
                account[0] != '\0' ? " (" : "", account, account[0] != '\0' ? ")" : "",
                number(c, "position"), text(c, "error"));
    else
        fprintf(out, "%s\n", text(c, "error"));
}
