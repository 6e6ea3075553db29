/* SPDX-License-Identifier: Apache-2.0 */
#include "log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../dataplane/base/check.h"
#include "log_format.h"
#include "mutant.h"
#include "segment.h"

/* Enough for eight windows: spill hurries long before. */
#define SLOTS_MAX     16
#define SLOTS_PRESSED 12

#define APPEND_BYTES_MAX                                                               \
    (GW_LOG_APPEND_BYTES_MAX + GW_LOG_APPEND_SEGMENTS_MAX * sizeof(struct log_frame) + \
     LOG_BLOCK_BYTES)
/* A header block before an append. */
#define STAGING_BYTES  (LOG_BLOCK_BYTES + ((APPEND_BYTES_MAX + LOG_BLOCK_BYTES - 1) & ~4095ul))
#define FILE_BYTES_MIN ((uint64_t)4 << 20)
#define FILE_BYTES_MAX ((uint64_t)64 << 20)

enum slot_state {
    SLOT_NONE,   /* no such file */
    SLOT_MAKING, /* somebody is making it */
    SLOT_FREE,
    SLOT_USED,
};

struct slot {
    atomic_int state;
    int fd;
    uint64_t generation;
    uint64_t first_number;
    /* First number of the file after this one: from then on this one is not written any more. */
    _Atomic uint64_t end_number;
    bool damaged; /* kept for the operator, not reused */
    bool suspect; /* a write to it may have failed: not reused */
    struct log_header header;
};

struct log_file {
    char dir[200];
    int dir_fd;
    bool direct;
    uint64_t file_bytes;
    struct gw_engine_options options;
    struct slot slots[SLOTS_MAX];

    /* commit thread */
    struct slot *current; /* NULL before the first append */
    struct slot *newest;  /* of those found at open */
    uint64_t generation;  /* of current or newest */
    uint64_t end;         /* where the next append goes, and what counts of current or newest */
    uint64_t append;      /* the last one's count */
    uint8_t *staging;     /* aligned for direct I/O */
};

static void report(const struct log_file *l, const char *line)
{
    l->options.report(l->options.report_arg, line);
}

static enum slot_state state_of(const struct slot *s)
{
    return (enum slot_state)atomic_load_explicit(&s->state, memory_order_acquire);
}

/* ---- making and taking files ---- */

static void slot_name(char name[16], const struct log_file *l, const struct slot *s)
{
    snprintf(name, 16, "%u", (unsigned)(s - l->slots));
}

static void set_direct(const struct log_file *l, int fd)
{
    /* Where the file system has no direct I/O, the page cache does as well, only dearer. */
    if (l->direct)
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_DIRECT);
}

/* A file of its full size, durable in its directory, so that appends never change metadata. */
static int make_file(struct log_file *l, struct slot *s)
{
    char name[16];
    slot_name(name, l, s);
    int fd = openat(l->dir_fd, name, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int err = -posix_fallocate(fd, 0, (off_t)l->file_bytes);
    if (!err && (fsync(fd) != 0 || fsync(l->dir_fd) != 0))
        err = -errno;
    if (err) {
        close(fd);
        unlinkat(l->dir_fd, name, 0);
        return err;
    }
    set_direct(l, fd);
    s->fd = fd;
    s->damaged = s->suspect = false;
    return 0;
}

/* The first slot in `from` becomes `to`; NULL when there is none. Both threads take slots. */
static struct slot *take(struct log_file *l, enum slot_state from, enum slot_state to)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        int expected = (int)from;
        if (atomic_compare_exchange_strong(&l->slots[i].state, &expected, (int)to))
            return &l->slots[i];
    }
    return NULL;
}

static unsigned count_slots(const struct log_file *l, enum slot_state state)
{
    unsigned n = 0;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        n += state_of(&l->slots[i]) == state;
    return n;
}

bool log_file_wants_one(const struct log_file *l)
{
    return count_slots(l, SLOT_FREE) == 0 && count_slots(l, SLOT_NONE) > 0;
}

bool log_file_prepare(struct log_file *l)
{
    struct slot *s = log_file_wants_one(l) ? take(l, SLOT_NONE, SLOT_MAKING) : NULL;
    if (s == NULL)
        return false;
    int err = make_file(l, s); /* when it fails, appends find no room, and it is tried again */
    atomic_store_explicit(&s->state, err ? SLOT_NONE : SLOT_FREE, memory_order_release);
    return !err;
}

/* ---- append ---- */

bool log_file_room(struct log_file *l)
{
    if (l->current != NULL && l->end + APPEND_BYTES_MAX <= l->file_bytes)
        return true;
    return count_slots(l, SLOT_FREE) > 0;
}

bool log_file_pressed(struct log_file *l)
{
    return count_slots(l, SLOT_USED) >= SLOTS_PRESSED;
}

/* Puts a header into the staging block; the file's first append is written together with it. */
static void rotate(struct log_file *l, uint64_t number)
{
    struct slot *s = take(l, SLOT_FREE, SLOT_USED);
    check(s != NULL);
    struct slot *old = l->current != NULL ? l->current : l->newest;
    struct log_header h = {.generation = l->generation + 1,
                           .first_number = number,
                           .first_append = l->append + 1,
                           .previous_end = l->end};
    log_header_seal(&h);
    memset(l->staging, 0, LOG_BLOCK_BYTES);
    memcpy(l->staging, &h, sizeof(h));
    s->generation = l->generation = h.generation;
    s->first_number = number;
    atomic_store_explicit(&s->end_number, 0, memory_order_relaxed);
    if (old != NULL)
        atomic_store_explicit(&old->end_number, number, memory_order_release);
    l->current = s;
    l->end = 0;
}

/* Frames and segments into the staging area; returns the bytes up to the next block. */
static size_t stage(struct log_file *l, const struct gw_log_entry *v, unsigned n, uint8_t *at)
{
    uint8_t *p = at;
    for (unsigned i = 0; i < n; i++) {
        struct gw_segment_head head;
        memcpy(&head, v[i].segment.p, sizeof(head));
        struct log_frame f = {.generation = l->generation,
                              .number = v[i].number,
                              .append = l->append,
                              .len = (uint32_t)v[i].segment.len,
                              .index = (uint16_t)i,
                              .count = (uint16_t)n,
                              .segment_crc = head.crc32c};
        log_frame_seal(&f);
        memcpy(p, &f, sizeof(f));
        memcpy(p + sizeof(f), v[i].segment.p, v[i].segment.len);
        p += sizeof(f) + v[i].segment.len;
    }
    size_t used = (size_t)(p - at), padded = log_padded(used);
    memset(p, 0, padded - used);
    return padded;
}

static int write_at(int fd, const uint8_t *p, size_t len, uint64_t off)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, p, len, (off_t)off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        p += n;
        len -= (size_t)n;
        off += (uint64_t)n;
    }
    return 0;
}

static size_t bytes_of(const struct gw_log_entry *v, unsigned n)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < n; i++)
        bytes += sizeof(struct log_frame) + v[i].segment.len;
    return log_padded(bytes);
}

int log_file_append(struct log_file *l, const struct gw_log_entry *v, unsigned n, bool sync)
{
    size_t bytes = bytes_of(v, n);
    check(n > 0 && n <= GW_LOG_APPEND_SEGMENTS_MAX && bytes <= APPEND_BYTES_MAX);
    bool fresh = l->current == NULL || l->end + bytes > l->file_bytes;
    if (fresh)
        rotate(l, v[0].number);
    l->append++;
    uint8_t *start = fresh ? l->staging : l->staging + LOG_BLOCK_BYTES;
    size_t len = stage(l, v, n, l->staging + LOG_BLOCK_BYTES) + (fresh ? LOG_BLOCK_BYTES : 0);
    int err = write_at(l->current->fd, start, len, l->end);
    if (!err && sync && !GW_IS_MUTANT(skip_sync) && fdatasync(l->current->fd) != 0)
        err = -errno;
    if (!err)
        l->end += len;
    return err;
}

int log_file_roll(struct log_file *l, uint64_t number)
{
    bool empty = l->current != NULL ? l->end <= LOG_BLOCK_BYTES : l->newest == NULL;
    if (empty)
        return 0;
    if (count_slots(l, SLOT_FREE) == 0)
        return -ENOSPC;
    rotate(l, number);
    int err = write_at(l->current->fd, l->staging, LOG_BLOCK_BYTES, 0);
    if (!err && fdatasync(l->current->fd) != 0)
        err = -errno;
    if (err)
        return -EIO;
    l->end = LOG_BLOCK_BYTES;
    return 0;
}

/* ---- trim ---- */

static bool is_over(const struct slot *s, uint64_t below)
{
    if (state_of(s) != SLOT_USED)
        return false;
    uint64_t end = atomic_load_explicit(&s->end_number, memory_order_acquire);
    return end != 0 && end <= below;
}

bool log_file_trim_frees(struct log_file *l, uint64_t below)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (is_over(&l->slots[i], below))
            return true;
    return false;
}

static void unlink_file(struct log_file *l, struct slot *s)
{
    char name[16];
    slot_name(name, l, s);
    (void)unlinkat(l->dir_fd, name, 0); /* the slot's next file would only be this one again */
    close(s->fd);
    s->fd = -1;
    atomic_store_explicit(&s->state, SLOT_NONE, memory_order_release);
}

/* Out of the rotation, into the directory of damaged files. */
static void put_aside(struct log_file *l, struct slot *s)
{
    char name[16], kept[300], line[400];
    slot_name(name, l, s);
    snprintf(kept, sizeof(kept), "%s-damaged-%" PRIu64, l->dir, s->generation);
    int err = renameat(l->dir_fd, name, AT_FDCWD, kept) == 0 ? 0 : -errno;
    snprintf(line, sizeof(line), "the damaged log file of generation %" PRIu64 " is kept as %s%s%s",
             s->generation, kept, err ? ": " : "", err ? strerror(-err) : "");
    report(l, line);
    close(s->fd);
    s->fd = -1;
    atomic_store_explicit(&s->state, SLOT_NONE, memory_order_release);
}

void log_file_trim(struct log_file *l, uint64_t below)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        struct slot *s = &l->slots[i];
        if (!is_over(s, below))
            continue;
        if (s->damaged)
            put_aside(l, s);
        else if (s->suspect)
            unlink_file(l, s);
        else
            atomic_store_explicit(&s->state, SLOT_FREE, memory_order_release);
    }
}

/* A file that is free still holds what was written to it: it goes, and another takes its place. */
void log_file_scrub(struct log_file *l, uint64_t below)
{
    struct slot *s;
    log_file_trim(l, below);
    while ((s = take(l, SLOT_FREE, SLOT_MAKING)) != NULL)
        unlink_file(l, s);
    (void)log_file_prepare(l);
}

struct log_file_counts log_file_counts(const struct log_file *l)
{
    return (struct log_file_counts){.used = count_slots(l, SLOT_USED),
                                    .free = count_slots(l, SLOT_FREE),
                                    .file_bytes = l->file_bytes};
}

/* ---- read ---- */

/* Blocks that the device cannot read are zero: they show as damage. */
static size_t read_whole(const struct log_file *l, int fd, uint8_t *buf, size_t len)
{
    size_t got = 0;
    bool bad = false;
    while (got < len) {
        size_t step = bad ? LOG_BLOCK_BYTES : len - got;
        ssize_t n = pread(fd, buf + got, step, (off_t)got);
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && !bad) {
            bad = true; /* from here on block by block */
            report(l, "a log file has blocks that cannot be read");
            continue;
        }
        if (n < 0) {
            memset(buf + got, 0, LOG_BLOCK_BYTES);
            n = LOG_BLOCK_BYTES;
        }
        got += (size_t)n;
    }
    return got & ~(size_t)(LOG_BLOCK_BYTES - 1);
}

static bool all_zero(const uint8_t *p, size_t len)
{
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* The first frame of a file whose header is damaged: block by block, this is rare. */
static bool find_frame(const struct slot *s, struct log_frame *f)
{
    for (off_t off = LOG_BLOCK_BYTES; pread(s->fd, f, sizeof(*f), off) == (ssize_t)sizeof(*f);
         off += LOG_BLOCK_BYTES)
        if (log_frame_ok(f) && f->index == 0)
            return true;
    return false;
}

/* What generation a file is of: its header says so, or its first frame when the header is damaged.
 * False when it holds nothing. */
static bool identify(struct log_file *l, struct slot *s)
{
    uint8_t block[LOG_BLOCK_BYTES];
    struct log_frame f;
    if (pread(s->fd, block, sizeof(block), 0) != (ssize_t)sizeof(block))
        return false;
    memcpy(&s->header, block, sizeof(s->header));
    if (log_header_ok(&s->header)) {
        s->generation = s->header.generation;
        s->first_number = s->header.first_number;
        return true;
    }
    s->header = (struct log_header){0};
    if (all_zero(block, sizeof(block)) || !find_frame(s, &f))
        return false;
    report(l, "a log file has a damaged header; it is known by what it holds");
    s->generation = f.generation;
    s->first_number = f.number;
    s->damaged = true;
    return true;
}

static int by_generation(const void *a, const void *b)
{
    const struct slot *x = *(struct slot *const *)a, *y = *(struct slot *const *)b;
    return (x->generation > y->generation) - (x->generation < y->generation);
}

struct giving {
    uint64_t from;
    int (*each)(void *arg, uint64_t number, struct gw_bytes segment);
    void *arg;
};

static int give(void *arg, uint64_t number, const void *segment, size_t len)
{
    const struct giving *g = arg;
    return number < g->from ? 0 : g->each(g->arg, number, gw_bytes(segment, len));
}

static void report_scan(const struct log_file *l, const struct slot *s, const struct log_scan *scan)
{
    char line[200];
    if (scan->damaged_bytes > 0) {
        snprintf(line, sizeof(line),
                 "log generation %" PRIu64 ": %" PRIu64 " bytes in the middle cannot be read; what "
                 "follows them is used",
                 s->generation, scan->damaged_bytes);
        report(l, line);
    }
    if (scan->torn_count > 0) {
        snprintf(line, sizeof(line),
                 "the log ends in an append that was cut short: segments %" PRIu64 " to %" PRIu64
                 ", never acknowledged, are dropped",
                 scan->torn_first, scan->torn_first + scan->torn_count - 1);
        report(l, line);
    }
}

/* `next` is the file of the following generation, or NULL. */
static int read_slot(struct log_file *l, struct slot *s, const struct slot *next, uint8_t *buf,
                     struct giving *g)
{
    size_t len = read_whole(l, s->fd, buf, l->file_bytes);
    bool limited = next != NULL && next->header.generation == s->generation + 1;
    if (limited && next->header.previous_end < len)
        len = next->header.previous_end;
    struct log_scan scan = {.buf = buf,
                            .len = len,
                            .generation = s->generation,
                            .last_append =
                                s->header.generation != 0 ? s->header.first_append - 1 : l->append,
                            .newest = next == NULL};
    int err = log_scan_file(&scan, give, g);
    if (err && err != -ECANCELED)
        return err;
    if (!err)
        report_scan(l, s, &scan);
    s->damaged |= scan.damaged_bytes > 0;
    l->append = scan.last_append;
    l->end = scan.end;
    return err;
}

int log_file_read(struct log_file *l, uint64_t from,
                  int (*each)(void *arg, uint64_t number, struct gw_bytes segment), void *arg)
{
    struct slot *used[SLOTS_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (state_of(&l->slots[i]) == SLOT_USED)
            used[n++] = &l->slots[i];
    qsort(used, n, sizeof(used[0]), by_generation);
    struct giving g = {from, each, arg};
    uint8_t *buf = aligned_alloc(LOG_BLOCK_BYTES, l->file_bytes);
    check(buf != NULL);
    int err = 0;
    for (unsigned i = 0; i < n && !err; i++) {
        struct slot *next = i + 1 < n ? used[i + 1] : NULL;
        if (next != NULL) {
            atomic_store(&used[i]->end_number, next->first_number);
            if (next->first_number <= from)
                continue;
        }
        err = read_slot(l, used[i], next, buf, &g);
    }
    free(buf);
    l->newest = n > 0 ? used[n - 1] : NULL;
    l->generation = n > 0 ? l->newest->generation : 0;
    for (unsigned i = 0; i < n; i++) {
        /* All of them: which one failed an earlier time is not remembered. */
        used[i]->suspect = l->options.again;
        set_direct(l, used[i]->fd);
    }
    (void)log_file_prepare(l);
    return err;
}

/* ---- open ---- */

static int open_slot(struct log_file *l, struct slot *s)
{
    char name[16];
    slot_name(name, l, s);
    s->fd = openat(l->dir_fd, name, O_RDWR | O_CLOEXEC);
    if (s->fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (identify(l, s)) {
        if (s->header.generation != 0 && s->header.version != LOG_VERSION)
            return -ENOTSUP;
        atomic_init(&s->state, SLOT_USED);
        return 0;
    }
    atomic_init(&s->state, SLOT_FREE);
    if (l->options.again) {
        unlink_file(l, s); /* perhaps it was to begin with the write that failed */
        return 0;
    }
    set_direct(l, s->fd);
    /* Its maker may have died before it had its size. */
    return -posix_fallocate(s->fd, 0, (off_t)l->file_bytes);
}

/* Half a window, so that a few files hold it. */
static uint64_t choose_file_bytes(uint64_t window_bytes_max)
{
    uint64_t bytes = window_bytes_max / 2;
    bytes = bytes < FILE_BYTES_MIN   ? FILE_BYTES_MIN
            : bytes > FILE_BYTES_MAX ? FILE_BYTES_MAX
                                     : bytes;
    return log_padded(bytes);
}

/* Files that are there keep their size: the largest of them is what all are taken to have. */
static void adopt_file_bytes(struct log_file *l)
{
    for (unsigned i = 0; i < SLOTS_MAX; i++) {
        struct stat st;
        char name[16];
        slot_name(name, l, &l->slots[i]);
        if (fstatat(l->dir_fd, name, &st, 0) == 0 && (uint64_t)st.st_size > l->file_bytes)
            l->file_bytes = log_padded((uint64_t)st.st_size);
    }
}

static int open_all(struct log_file *l, char err[256])
{
    int status = 0;
    if (mkdir(l->dir, 0700) != 0 && errno != EEXIST)
        status = -errno;
    if (!status && (l->dir_fd = open(l->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        status = -errno;
    if (!status) {
        adopt_file_bytes(l);
        for (unsigned i = 0; i < SLOTS_MAX && !status; i++)
            status = open_slot(l, &l->slots[i]);
    }
    if (status == -ENOTSUP)
        snprintf(err, 256, "the commit log in %.150s has a format that this program does not know",
                 l->dir);
    else if (status)
        snprintf(err, 256, "cannot open the commit log in %.150s: %s", l->dir, strerror(-status));
    return status;
}

int log_file_open(struct log_file **out, const char *dir, const struct gw_engine_options *o,
                  char err[256])
{
    struct log_file *l = calloc(1, sizeof(*l));
    check(l != NULL);
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        l->slots[i].fd = -1;
    l->dir_fd = -1;
    l->options = *o;
    l->direct = o->sync;
    l->file_bytes = choose_file_bytes(o->window_bytes_max);
    /* Touched now: a page fault later would be the commit thread's. */
    l->staging = mmap(NULL, STAGING_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    check(l->staging != MAP_FAILED);
    int status = snprintf(l->dir, sizeof(l->dir), "%s", dir) < (int)sizeof(l->dir)
                     ? open_all(l, err)
                     : -ENAMETOOLONG;
    if (status)
        log_file_free(&l);
    else
        *out = l;
    return status;
}

void log_file_free(struct log_file **lp)
{
    struct log_file *l = *lp;
    if (l == NULL)
        return;
    for (unsigned i = 0; i < SLOTS_MAX; i++)
        if (l->slots[i].fd >= 0)
            close(l->slots[i].fd);
    if (l->dir_fd >= 0)
        close(l->dir_fd);
    munmap(l->staging, STAGING_BYTES);
    free(l);
    *lp = NULL;
}
