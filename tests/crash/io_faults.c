/* SPDX-License-Identifier: Apache-2.0 */
/* Both names of a call are defined here, so neither may stand for the other. */
#undef _FILE_OFFSET_BITS
#include "io_faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SPOILT_MAX 256

static struct io_faults own;
struct io_faults *io_faults = &own;

/* Files that a failed call was for. A number alone may come again with another file. */
struct file_id {
    uint64_t dev, ino, born_ns;
};

static struct file_id spoilt[SPOILT_MAX];
static atomic_uint spoilt_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void obey_file(void)
{
    const char *path = getenv("GODWIT_IO_FAULTS");
    if (path == NULL)
        return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *p =
        fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(own), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "io_faults: %s: %s\n", path, strerror(errno));
        abort();
    }
    close(fd);
    io_faults = p;
}

static bool lies_under(int fd, const char *prefix)
{
    char link[64], path[512];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    return n > 0 && prefix[0] != '\0' && (size_t)n >= strlen(prefix) &&
           memcmp(path, prefix, strlen(prefix)) == 0;
}

static struct file_id id_of(int fd)
{
    struct statx s;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &s) != 0)
        return (struct file_id){0};
    return (struct file_id){((uint64_t)s.stx_dev_major << 32) | s.stx_dev_minor, s.stx_ino,
                            (uint64_t)s.stx_btime.tv_sec * 1000000000u + s.stx_btime.tv_nsec};
}

static bool is_spoilt(const struct file_id *id)
{
    for (unsigned i = 0; i < atomic_load(&spoilt_count); i++)
        if (memcmp(&spoilt[i], id, sizeof(*id)) == 0)
            return true;
    return false;
}

static void spoil(int fd)
{
    struct file_id id = id_of(fd);
    pthread_mutex_lock(&lock);
    unsigned n = atomic_load(&spoilt_count);
    if (n < SPOILT_MAX && !is_spoilt(&id)) {
        spoilt[n] = id;
        atomic_store(&spoilt_count, n + 1);
    }
    pthread_mutex_unlock(&lock);
}

static void note_repetition(int fd)
{
    if (atomic_load(&spoilt_count) == 0)
        return;
    struct file_id id = id_of(fd);
    if (is_spoilt(&id))
        atomic_fetch_add(&io_faults->repeated, 1);
}

/* Takes one from a counter that stays at its ends. */
static bool take_one(atomic_uint *counter)
{
    unsigned n = atomic_load(counter);
    while (n != 0 && n != UINT32_MAX)
        if (atomic_compare_exchange_weak(counter, &n, n - 1))
            return true;
    return n != 0;
}

/* Whether this call is to go wrong; it was slow already. */
static bool meet(int fd, uint32_t call)
{
    struct io_faults *f = io_faults;
    int before = errno;
    if (call != IO_FAULTS_ALLOCATE)
        note_repetition(fd);
    bool wrong = false;
    if (atomic_load(&f->on) && (f->calls & call) && lies_under(fd, f->under) &&
        !take_one(&f->after) && take_one(&f->left)) {
        atomic_fetch_add(&f->hits, 1);
        if (f->delay_us > 0)
            nanosleep(&(struct timespec){.tv_sec = f->delay_us / 1000000,
                                         .tv_nsec = f->delay_us % 1000000 * 1000L},
                      NULL);
        wrong = f->error != 0;
        if (wrong && lies_under(fd, f->once))
            spoil(fd);
    }
    errno = before;
    return wrong;
}

/* A short write is an answer like any other: the rest is written by the next call. */
static size_t shorten(int fd, size_t len)
{
    struct io_faults *f = io_faults;
    static atomic_uint in_a_row;
    if (!atomic_load(&f->on) || f->shorten == 0 || len < 8192 || !lies_under(fd, f->under))
        return len;
    if (atomic_fetch_add(&in_a_row, 1) >= f->shorten) {
        atomic_store(&in_a_row, 0);
        return len;
    }
    atomic_fetch_add(&f->hits, 1);
    return len / 2 & ~(size_t)4095;
}

static int fail(void)
{
    errno = io_faults->error;
    return -1;
}

/* dlsym's object pointer is a function's, which C does not say and POSIX does. */
#define REAL(name)                 \
    static __typeof__(name) *real; \
    if (real == NULL)              \
    *(void **)&real = dlsym(RTLD_NEXT, #name)

#define PUBLIC __attribute__((visibility("default")))

PUBLIC ssize_t write(int fd, const void *p, size_t len)
{
    REAL(write);
    return meet(fd, IO_FAULTS_WRITE) ? fail() : real(fd, p, shorten(fd, len));
}

PUBLIC ssize_t pwrite(int fd, const void *p, size_t len, off_t off)
{
    REAL(pwrite);
    return meet(fd, IO_FAULTS_WRITE) ? fail() : real(fd, p, shorten(fd, len), off);
}

PUBLIC ssize_t pwrite64(int fd, const void *p, size_t len, off64_t off)
{
    REAL(pwrite64);
    return meet(fd, IO_FAULTS_WRITE) ? fail() : real(fd, p, shorten(fd, len), off);
}

PUBLIC int fsync(int fd)
{
    REAL(fsync);
    return meet(fd, IO_FAULTS_SYNC) ? fail() : real(fd);
}

PUBLIC int fdatasync(int fd)
{
    REAL(fdatasync);
    return meet(fd, IO_FAULTS_SYNC) ? fail() : real(fd);
}

PUBLIC int sync_file_range(int fd, off64_t off, off64_t len, unsigned flags)
{
    REAL(sync_file_range);
    /* Without flags it only asks whether there is such a call. */
    return flags != 0 && meet(fd, IO_FAULTS_SYNC) ? fail() : real(fd, off, len, flags);
}

PUBLIC int fallocate(int fd, int mode, off_t off, off_t len)
{
    REAL(fallocate);
    return meet(fd, IO_FAULTS_ALLOCATE) ? fail() : real(fd, mode, off, len);
}

PUBLIC int fallocate64(int fd, int mode, off64_t off, off64_t len)
{
    REAL(fallocate64);
    return meet(fd, IO_FAULTS_ALLOCATE) ? fail() : real(fd, mode, off, len);
}

PUBLIC int posix_fallocate(int fd, off_t off, off_t len)
{
    REAL(posix_fallocate);
    return meet(fd, IO_FAULTS_ALLOCATE) ? io_faults->error : real(fd, off, len);
}

PUBLIC int posix_fallocate64(int fd, off64_t off, off64_t len)
{
    REAL(posix_fallocate64);
    return meet(fd, IO_FAULTS_ALLOCATE) ? io_faults->error : real(fd, off, len);
}
