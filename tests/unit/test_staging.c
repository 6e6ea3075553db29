/* SPDX-License-Identifier: Apache-2.0 */
/* Files that go from memory to the disk. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../storage/staging.h"

#define ODD_BYTES ((2u << 20) + 4097) /* two pieces and some */

static char dir[64], from[96], to[96];

static void begin(void)
{
    snprintf(dir, sizeof(dir), "/tmp/gw-staging-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    snprintf(from, sizeof(from), "%s/from", dir);
    snprintf(to, sizeof(to), "%s/to", dir);
}

static void end(void)
{
    unlink(from);
    unlink(to);
    cr_assert_eq(rmdir(dir), 0);
}

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 7 + (i >> 12));
}

static void write_file(const char *path, size_t len)
{
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    for (size_t i = 0; i < len; i++)
        cr_assert_neq(putc(byte_at(i), f), EOF);
    cr_assert_eq(fclose(f), 0);
}

static void assert_file(const char *path, size_t len)
{
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    size_t same = 0;
    while (same < len && getc(f) == byte_at(same))
        same++;
    cr_assert_eq(same, len);
    cr_assert_eq(getc(f), EOF);
    fclose(f);
}

static void assert_copied(size_t len)
{
    begin();
    write_file(from, len);
    cr_assert_eq(staging_copy(from, to), 0);
    assert_file(to, len);
    end();
}

Test(staging, a_copy_has_every_byte)
{
    assert_copied(ODD_BYTES);
    assert_copied(1);
    assert_copied(0);
}

/* Of a spill that was killed. */
Test(staging, what_was_there_before_is_gone)
{
    begin();
    write_file(to, ODD_BYTES);
    write_file(from, 100);
    cr_assert_eq(staging_copy(from, to), 0);
    assert_file(to, 100);
    end();
}

Test(staging, what_cannot_be_read_or_written_is_said)
{
    begin();
    cr_assert_eq(staging_copy(from, to), -ENOENT);
    write_file(from, 1);
    cr_assert_eq(staging_copy(from, "/dev/full"), -ENOSPC);
    cr_assert_eq(staging_copy(from, dir), -EISDIR);
    end();
}

Test(staging, there_is_room_where_there_is_any)
{
    cr_assert_not(staging_has_room("/nowhere"));
    cr_assert_not(staging_has_room("/proc"));
}
