/* SPDX-License-Identifier: Apache-2.0 */
#include "staging.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../dataplane/base/check.h"

#define PIECE_BYTES (1u << 20)

bool staging_has_room(const char *dir)
{
    struct statvfs v;
    return statvfs(dir, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize >= STAGING_BYTES;
}

static int write_all(int fd, const uint8_t *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* Each piece is on its way to the disk before the next: no sync, ours of the log least of all, waits for
 * all of them at once. */
static int copy_pieces(int in, int out, uint8_t *piece)
{
    off_t at = 0;
    ssize_t n;
    while ((n = read(in, piece, PIECE_BYTES)) > 0) {
        int err = write_all(out, piece, (size_t)n);
        if (err)
            return err;
        (void)sync_file_range(out, at, n, SYNC_FILE_RANGE_WRITE);
        at += n;
    }
    if (n < 0)
        return -errno;
    return fdatasync(out) == 0 ? 0 : -errno;
}

int staging_copy(const char *from, const char *to)
{
    uint8_t *piece = malloc(PIECE_BYTES);
    check(piece != NULL);
    int in = open(from, O_RDONLY | O_CLOEXEC), err = in < 0 ? -errno : 0;
    int out = err ? -1 : open(to, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (!err && out < 0)
        err = -errno;
    if (!err)
        err = copy_pieces(in, out, piece);
    if (out >= 0 && close(out) != 0 && !err)
        err = -errno;
    if (in >= 0)
        close(in);
    free(piece);
    return err;
}
