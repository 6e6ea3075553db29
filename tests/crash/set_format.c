/* SPDX-License-Identifier: Apache-2.0 */
/* set-format STORE NUMBER: gives a store that nobody has open another format, and prints the one before. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../storage/engine.h"

static void report(void *arg, const char *line)
{
    fprintf(stderr, "set-format: %s\n", line);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    uint32_t before = 0, after = (uint32_t)strtoul(argv[2], NULL, 10);
    size_t len = 0;
    char err[256] = "";
    struct gw_engine *e;
    const struct gw_engine_ops *ops = gw_engine_by_name("rocksdb");
    struct gw_engine_options o = {
        .path = argv[1], .sync = true, .window_bytes_max = 8 << 20, .report = report};
    if (ops->open(&e, &o, err) != 0) {
        report(NULL, err);
        return 1;
    }
    struct gw_batch *b = ops->batch_new(e);
    int status = ops->get(e, GW_SPACE_META, GW_LIT("format"), &before, sizeof(before), &len);
    ops->put(b, GW_SPACE_META, GW_LIT("format"), gw_bytes(&after, sizeof(after)));
    if (status == 0)
        status = ops->write(e, b, true);
    ops->batch_free(&b);
    ops->free(&e);
    printf("%" PRIu32 "\n", before);
    return status == 0 && len == sizeof(before) ? 0 : 1;
}
