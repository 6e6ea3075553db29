/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes a store that nobody has open, below everything that would notice:
 *
 * tamper STORE format NUMBER   gives it another format, and prints the one before
 * tamper STORE remove          takes the newest message of a mailbox in which many lie, and prints its
 *                               position. Where few lie all may have been delivered, and older ones
 *                               anywhere: their removal is still in the log
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../storage/engine.h"

#define KEY_BYTES     24u /* of a message: mailbox, position */
#define MAILBOX_BYTES 16u
#define MANY          5u

static void report(void *arg, const char *line)
{
    fprintf(stderr, "tamper: %s\n", line);
}

static bool set_format(const struct gw_engine_ops *ops, struct gw_engine *e, struct gw_batch *b,
                       uint32_t after)
{
    uint32_t before = 0;
    size_t len = 0;
    if (ops->get(e, GW_SPACE_META, GW_LIT("format"), &before, sizeof(before), &len) != 0 ||
        len != sizeof(before))
        return false;
    ops->put(b, GW_SPACE_META, GW_LIT("format"), gw_bytes(&after, sizeof(after)));
    printf("%" PRIu32 "\n", before);
    return true;
}

static bool remove_one(const struct gw_engine_ops *ops, struct gw_engine *e, struct gw_batch *b)
{
    struct gw_iter *it = ops->iter_new(e, GW_SPACE_MAILBOX, gw_bytes(NULL, 0));
    uint8_t newest[KEY_BYTES] = {0};
    unsigned n = 0; /* of its mailbox */
    for (ops->seek(it, gw_bytes(NULL, 0)); ops->valid(it); ops->next(it)) {
        struct gw_bytes key = ops->key(it);
        bool same = key.len == KEY_BYTES && memcmp(key.p, newest, MAILBOX_BYTES) == 0;
        if (!same && n >= MANY)
            break;
        n = same ? n + 1 : 1;
        memcpy(newest, key.p, key.len < KEY_BYTES ? key.len : KEY_BYTES);
    }
    ops->iter_free(&it);
    if (n < MANY)
        return false;
    ops->del(b, GW_SPACE_MAILBOX, gw_bytes(newest, KEY_BYTES));
    printf("%" PRIu64 "\n", gw_be64(newest + MAILBOX_BYTES));
    return true;
}

int main(int argc, char **argv)
{
    char err[256] = "";
    struct gw_engine *e;
    const struct gw_engine_ops *ops = gw_engine_by_name("rocksdb");
    if (argc < 3 || (strcmp(argv[2], "format") == 0) != (argc == 4))
        return 2;
    struct gw_engine_options o = {
        .path = argv[1], .sync = true, .window_bytes_max = 8 << 20, .report = report};
    if (ops->open(&e, &o, err) != 0) {
        report(NULL, err);
        return 1;
    }
    struct gw_batch *b = ops->batch_new(e);
    bool ok = argc == 4 ? set_format(ops, e, b, (uint32_t)strtoul(argv[3], NULL, 10))
                        : remove_one(ops, e, b);
    ok = ok && ops->write(e, b, true) == 0;
    ops->batch_free(&b);
    ops->free(&e);
    return ok ? 0 : 1;
}
