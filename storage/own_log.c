/* SPDX-License-Identifier: Apache-2.0 */
#include "own_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../dataplane/base/siphash.h"

#define PLACE      "/dev/shm"
#define PREFIX     "godwit-"
#define HEX_DIGITS 16u
#define TRIES      16u

static void name_of(const char *path, char dir[OWN_LOG_BYTES])
{
    struct gw_sipkey key = {0};
    snprintf(dir, OWN_LOG_BYTES, PLACE "/" PREFIX "%016" PRIx64, gw_siphash(&key, path, strlen(path)));
}

/* Others can write next to it: it must be ours, and no link. */
static int open_ours(const char *dir)
{
    struct stat s;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ELOOP || errno == ENOTDIR || errno == EACCES ? -EPERM : -errno;
    if (fstat(fd, &s) == 0 && s.st_uid == geteuid() && (s.st_mode & 077) == 0)
        return fd;
    close(fd);
    return -EPERM;
}

/* Whether that name still leads to it: it may have been removed before it was locked. */
static bool still_there(int fd, const char *dir)
{
    struct stat held, named;
    return fstat(fd, &held) == 0 && lstat(dir, &named) == 0 && held.st_ino == named.st_ino &&
           held.st_dev == named.st_dev;
}

int own_log_open(const char *path, char dir[OWN_LOG_BYTES])
{
    name_of(path, dir);
    for (unsigned i = 0; i < TRIES; i++) {
        if (mkdir(dir, 0700) != 0 && errno != EEXIST)
            return -errno;
        int fd = open_ours(dir);
        if (fd == -ENOENT)
            continue;
        if (fd < 0)
            return fd;
        /* Waits only while somebody removes it. */
        if (flock(fd, LOCK_SH) == 0 && still_there(fd, dir))
            return fd;
        close(fd);
    }
    return -EAGAIN;
}

/* Everything in it and itself, when nobody else has it locked. */
static bool remove_unused(int fd, const char *dir)
{
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 || !still_there(fd, dir))
        return false;
    int copy = dup(fd);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (d == NULL) {
        if (copy >= 0)
            close(copy);
        return false;
    }
    for (struct dirent *f; (f = readdir(d)) != NULL;)
        (void)unlinkat(fd, f->d_name, 0);
    closedir(d);
    return rmdir(dir) == 0;
}

void own_log_close(int *lock, const char *path)
{
    char dir[OWN_LOG_BYTES];
    if (*lock < 0)
        return;
    name_of(path, dir);
    (void)remove_unused(*lock, dir);
    close(*lock);
    *lock = -1;
}

/* Of the form that name_of makes. */
static bool is_ours_by_name(const char *name)
{
    size_t n = strlen(PREFIX);
    return strncmp(name, PREFIX, n) == 0 && strlen(name) == n + HEX_DIGITS &&
           strspn(name + n, "0123456789abcdef") == HEX_DIGITS;
}

unsigned own_log_sweep(void)
{
    unsigned removed = 0;
    DIR *all = opendir(PLACE);
    if (all == NULL)
        return 0;
    for (struct dirent *f; (f = readdir(all)) != NULL;) {
        char dir[OWN_LOG_BYTES];
        if (!is_ours_by_name(f->d_name))
            continue;
        snprintf(dir, sizeof(dir), PLACE "/%.40s", f->d_name);
        int fd = open_ours(dir);
        if (fd < 0)
            continue;
        removed += remove_unused(fd, dir);
        close(fd);
    }
    closedir(all);
    return removed;
}
