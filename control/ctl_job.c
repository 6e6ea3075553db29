/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl_values.h"

void ctl_job_show_progress(const json_t *job)
{
    json_int_t done = number(job, "done"), total = number(job, "total");
    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r\033[K%3d%%  %s", total > 0 ? (int)(100 * done / total) : 0,
            text(job, "note"));
    fflush(stderr);
}

void ctl_job_end_progress(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

static void show_complaints(const json_t *complaints)
{
    for (size_t i = 0; i < json_array_size(complaints); i++)
        ctl_show_complaint(stderr, json_array_get(complaints, i));
}

/* All of them, however many; the job as it is at last, with all complaints, in *job. */
static int fetch_complaints(struct ctl_client *c, json_int_t id, json_t **job)
{
    json_t *all = json_array(), *last = NULL;
    int status;
    for (;;) {
        json_t *params = json_pack("{s:I, s:I}", "job", id, "errors_from",
                                   (json_int_t)json_array_size(all));
        json_t *shown = NULL;
        status = ctl_call(c, "job.show", params, -1, &shown);
        json_decref(params);
        if (status != CTL_OK)
            break;
        json_t *some = json_object_get(shown, "complaints");
        size_t n = json_array_size(some);
        show_complaints(some);
        json_array_extend(all, some);
        json_decref(last);
        last = shown;
        if (n == 0)
            break;
    }
    if (last != NULL)
        json_object_set(last, "complaints", all);
    json_decref(all);
    *job = last;
    return status;
}

static int follow(struct ctl_client *c, json_int_t id)
{
    json_t *params = json_pack("{s:I}", "job", id), *answer = NULL;
    int status = ctl_call(c, "job.follow", params, -1, &answer);
    bool ended = false;
    json_decref(params);
    json_decref(answer);
    while (status == CTL_OK && !ended) {
        json_t *job = NULL;
        status = ctl_next(c, &job);
        ended = json_is_true(json_object_get(job, "ended"));
        if (job != NULL && !ended)
            ctl_job_show_progress(job);
        json_decref(job);
    }
    ctl_job_end_progress();
    return status;
}

static int status_of(const json_t *job)
{
    if (strcmp(text(job, "state"), "done") != 0)
        return CTL_REFUSED;
    return number(job, "errors") > 0 ? CTL_INCOMPLETE : CTL_OK;
}

static void show_end(const json_t *job)
{
    if (json_object_get(job, "created") != NULL)
        printf("%s: %" JSON_INTEGER_FORMAT " created, %" JSON_INTEGER_FORMAT
               " replaced, %" JSON_INTEGER_FORMAT " skipped because they exist, %" JSON_INTEGER_FORMAT
               " bad lines\n%s\n", text(job, "state"), number(job, "created"),
               number(job, "replaced"), number(job, "skipped"), number(job, "errors"),
               text(job, "note"));
    else
        printf("%s: %s\n", text(job, "state"), text(job, "note"));
}

int ctl_job_watch(struct ctl_client *c, json_int_t id)
{
    json_t *job = NULL;
    int status = follow(c, id);
    if (status == CTL_OK)
        status = fetch_complaints(c, id, &job);
    if (status != CTL_OK) {
        json_decref(job);
        return status;
    }
    if (c->json) {
        json_dumpf(job, stdout, JSON_INDENT(2));
        fputc('\n', stdout);
    } else {
        show_end(job);
    }
    status = status_of(job);
    json_decref(job);
    return status;
}
