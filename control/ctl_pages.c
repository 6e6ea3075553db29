/* SPDX-License-Identifier: Apache-2.0 */
/* Lists come in pages of what one answer holds; here they become one again. */
#include <string.h>

#include "ctl.h"

struct pages {
    const char *rows_name;
    bool newest_first; /* a later page stands before an earlier one */
    json_int_t left;   /* rows still wanted */
    json_t *params, *rows, *last;
};

static const char *rows_name_of(const char *method)
{
    static const char *const names[][2] = {
        {"user.list", "accounts"}, {"session.list", "sessions"}, {"conn.list", "connections"},
        {"neighbour.list", "neighbours"}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(method, names[i][0]) == 0)
            return names[i][1];
    return "receipts";
}

static void add_rows(struct pages *p, json_t *more)
{
    p->left -= (json_int_t)json_array_size(more);
    if (!p->newest_first) {
        json_array_extend(p->rows, more);
        return;
    }
    json_t *joined = json_copy(more);
    json_array_extend(joined, p->rows);
    json_decref(p->rows);
    p->rows = joined;
}

static int next_page(struct ctl_client *c, const struct ctl_args *a, struct pages *p)
{
    json_t *page = NULL;
    json_int_t limit = p->left < SCHEMA_PAGE_ROWS_MAX ? p->left : SCHEMA_PAGE_ROWS_MAX;
    json_object_set_new(p->params, "limit", json_integer(limit));
    int status = ctl_call(c, a->command->method, p->params, -1, &page);
    if (status != CTL_OK)
        return status;
    add_rows(p, json_object_get(page, p->rows_name));
    json_decref(p->last);
    p->last = page;
    if (json_object_get(page, "next") != NULL)
        json_object_set(p->params, "cursor", json_object_get(page, "next"));
    return CTL_OK;
}

int ctl_pages(struct ctl_client *c, const struct ctl_args *a, json_t **whole)
{
    const json_t *limit = json_object_get(a->params, "limit");
    bool receipts = strcmp(a->command->method, "receipts.list") == 0;
    struct pages p = {.rows_name = rows_name_of(a->command->method), .newest_first = receipts,
                      .left = receipts ? SCHEMA_PAGE_ROWS_MAX : CTL_ROWS_MAX,
                      .params = json_copy(a->params), .rows = json_array()};
    if (limit != NULL)
        p.left = json_integer_value(limit);
    int status;
    do
        status = next_page(c, a, &p);
    while (status == CTL_OK && p.left > 0 && json_object_get(p.last, "next") != NULL);
    if (status == CTL_OK) {
        json_object_set(p.last, p.rows_name, p.rows);
        *whole = json_incref(p.last);
    }
    json_decref(p.last);
    json_decref(p.rows);
    json_decref(p.params);
    return status;
}
