/* SPDX-License-Identifier: Apache-2.0 */
/* Backups as files: what there is, and a store made from one. */
#include <errno.h>
#include <stdio.h>

#include "store_int.h"

#define BACKUPS_MAX 1024u

static const struct gw_engine_ops *find(const char *engine, char err[256])
{
    const struct gw_engine_ops *ops = gw_engine_by_name(engine);
    if (ops != NULL && ops->backup != NULL)
        return ops;
    snprintf(err, 256, "the engine \"%.60s\" has no backups", engine);
    return NULL;
}

int gw_store_backups(const char *engine, const char *dir, struct gw_store_backup *out,
                     unsigned max, char err[256])
{
    static struct gw_engine_backup found[BACKUPS_MAX];
    const struct gw_engine_ops *ops = find(engine, err);
    if (ops == NULL)
        return -ENOTSUP;
    int n = ops->backups(dir, found, max < BACKUPS_MAX ? max : BACKUPS_MAX, err);
    for (int i = 0; i < n; i++)
        out[i] = (struct gw_store_backup){found[i].id, found[i].bytes, found[i].made_at};
    return n;
}

static void to_stderr(void *arg, const char *line)
{
    fprintf(stderr, "store: %s\n", line);
}

/* So that the first who opens it steps over what was given out since the backup. */
static int mark(const struct gw_engine_ops *ops, const char *path, char err[256])
{
    struct gw_engine_options o = {.path = path, .sync = true, .report = to_stderr};
    struct gw_engine *e;
    int status = ops->open(&e, &o, err);
    if (status)
        return status;
    struct gw_batch *b = ops->batch_new(e);
    meta_put_restored(ops, b);
    status = ops->write(e, b, true);
    if (status)
        snprintf(err, 256, "cannot write to the restored store: %s", strerror(-status));
    ops->batch_free(&b);
    ops->free(&e);
    return status;
}

int gw_store_restore(const char *engine, const char *dir, uint32_t id, const char *path,
                     char err[256])
{
    const struct gw_engine_ops *ops = find(engine, err);
    if (ops == NULL)
        return -ENOTSUP;
    int status = ops->restore(dir, id, path, err);
    return status ? status : mark(ops, path, err);
}
