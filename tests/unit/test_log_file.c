/* SPDX-License-Identifier: Apache-2.0 */
/* The commit log's files: reuse, torn ends, damage in every block. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../storage/log_file.h"
#include "../../storage/log_format.h"
#include "../../storage/segment.h"

#define SEEN_MAX 4096

struct world {
    char dir[64], path[96];
    struct gw_engine_options options;
    struct log_file *log;
    char last_report[512];
    unsigned reports;
    uint64_t next; /* number */
    uint64_t random;
    /* of the last read */
    uint64_t seen[SEEN_MAX];
    unsigned seen_count;
};

static void take_report(void *arg, const char *line)
{
    struct world *w = arg;
    snprintf(w->last_report, sizeof(w->last_report), "%s", line);
    w->reports++;
}

static uint32_t below(struct world *w, uint32_t limit)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((w->random >> 33) % limit);
}

static uint64_t text_number(struct gw_bytes segment)
{
    size_t off = gw_segment_first_off();
    const struct gw_record_head *r = gw_record_next(segment.p, segment.len, &off);
    cr_assert_not_null(r);
    return r->position;
}

static int see(void *arg, uint64_t number, struct gw_bytes segment)
{
    struct world *w = arg;
    cr_assert_eq(gw_segment_check(segment.p, segment.len), 0);
    cr_assert_eq(text_number(segment), number);
    cr_assert(w->seen_count == 0 || w->seen[w->seen_count - 1] < number);
    cr_assert_lt(w->seen_count, SEEN_MAX);
    w->seen[w->seen_count++] = number;
    return 0;
}

static void open_log(struct world *w, uint64_t from)
{
    char err[256] = "";
    cr_assert_eq(log_file_open(&w->log, w->path, &w->options, err), 0, "%s", err);
    w->seen_count = 0;
    cr_assert_eq(log_file_read(w->log, from, see, w), 0);
}

static void begin(struct world *w)
{
    *w = (struct world){.dir = "/tmp/gw-log-file-XXXXXX", .next = 1, .random = 1};
    cr_assert_not_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof(w->path), "%s/log", w->dir);
    w->options = (struct gw_engine_options){
        .sync = true, .window_bytes_max = 1, .report = take_report, .report_arg = w};
    open_log(w, 1);
}

static void end(struct world *w)
{
    log_file_free(&w->log);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", w->dir);
    cr_assert_eq(system(command), 0);
}

static void reopen(struct world *w, uint64_t from)
{
    log_file_free(&w->log);
    open_log(w, from);
}

#define COUNT_MAX 8

/* One append of `count` segments with about `bytes` each. */
static void append(struct world *w, unsigned count, uint32_t bytes)
{
    static _Alignas(8) uint8_t buf[COUNT_MAX][GW_SEGMENT_BYTES_MAX / 4];
    struct gw_log_entry v[COUNT_MAX];
    for (unsigned i = 0; i < count; i++) {
        struct gw_segment_writer g;
        gw_segment_begin(&g, buf[i], sizeof(buf[i]), 0);
        struct gw_mailbox_id id = {{1}};
        struct gw_record_head *r =
            gw_segment_add(&g, GW_RECORD_MESSAGE, &id, w->next, 1 + below(w, bytes));
        cr_assert_not_null(r);
        memset(r + 1, (int)w->next | 1, gw_record_body_len(r));
        uint32_t len = gw_segment_end(&g, 1);
        v[i] = (struct gw_log_entry){w->next++, gw_bytes(buf[i], len)};
    }
    cr_assert(log_file_room(w->log));
    cr_assert_eq(log_file_append(w->log, v, count, true), 0);
    (void)log_file_prepare(w->log); /* as the storage thread does it */
}

static void assert_seen(const struct world *w, uint64_t first, uint64_t last)
{
    cr_assert_eq(w->seen_count, last + 1 - first, "%u seen, expected %" PRIu64 " to %" PRIu64,
                 w->seen_count, first, last);
    for (unsigned i = 0; i < w->seen_count; i++)
        cr_assert_eq(w->seen[i], first + i);
}

static int open_file(const struct world *w, unsigned slot)
{
    char name[128];
    snprintf(name, sizeof(name), "%s/%u", w->path, slot);
    return open(name, O_RDWR);
}

/* The slot with the highest generation. */
static unsigned newest_slot(const struct world *w)
{
    uint64_t best = 0;
    unsigned at = 0;
    for (unsigned i = 0; i < 16; i++) {
        struct log_header h;
        int fd = open_file(w, i);
        if (fd < 0)
            continue;
        cr_assert_eq(pread(fd, &h, sizeof(h), 0), (ssize_t)sizeof(h));
        close(fd);
        if (log_header_ok(&h) && h.generation > best) {
            best = h.generation;
            at = i;
        }
    }
    return at;
}

static void flip(const struct world *w, unsigned slot, off_t off)
{
    int fd = open_file(w, slot);
    uint8_t byte;
    cr_assert_eq(pread(fd, &byte, 1, off), 1);
    byte ^= 0x10;
    cr_assert_eq(pwrite(fd, &byte, 1, off), 1);
    close(fd);
}

Test(log_file, a_fresh_one_is_empty)
{
    struct world w;
    begin(&w);
    assert_seen(&w, 1, 0);
    reopen(&w, 1);
    assert_seen(&w, 1, 0);
    cr_assert_eq(w.reports, 0, "%s", w.last_report);
    end(&w);
}

Test(log_file, gives_back_what_was_appended)
{
    struct world w;
    begin(&w);
    for (unsigned i = 0; i < 30; i++)
        append(&w, 1 + i % COUNT_MAX, 6000);
    reopen(&w, 1);
    assert_seen(&w, 1, w.next - 1);
    reopen(&w, 17);
    assert_seen(&w, 17, w.next - 1);
    /* And goes on in a file of its own. */
    append(&w, 2, 100);
    reopen(&w, 1);
    assert_seen(&w, 1, w.next - 1);
    cr_assert_eq(w.reports, 0, "%s", w.last_report);
    end(&w);
}

Test(log_file, reuses_its_files)
{
    struct world w;
    begin(&w);
    uint64_t kept = 1;
    for (unsigned i = 0; i < 600; i++) {
        append(&w, 2, 200000);
        if (w.next > kept + 20)
            kept = w.next - 20;
        if (log_file_trim_frees(w.log, kept))
            log_file_trim(w.log, kept);
        cr_assert_not(log_file_pressed(w.log));
        if (i % 150 == 149) {
            reopen(&w, kept);
            assert_seen(&w, kept, w.next - 1);
        }
    }
    int fd = open_file(&w, 6);
    cr_assert_lt(fd, 0, "some 120 MB went through more files than it needs");
    cr_assert_eq(w.reports, 0, "%s", w.last_report);
    end(&w);
}

Test(log_file, says_when_it_is_full)
{
    struct world w;
    begin(&w);
    while (log_file_room(w.log))
        append(&w, COUNT_MAX, 200000);
    cr_assert(log_file_pressed(w.log));
    uint64_t last = w.next - 1;
    cr_assert(log_file_trim_frees(w.log, w.next));
    log_file_trim(w.log, w.next);
    cr_assert(log_file_room(w.log));
    cr_assert_not(log_file_pressed(w.log));
    append(&w, 1, 10);
    reopen(&w, last + 1);
    assert_seen(&w, last + 1, last + 1);
    end(&w);
}

/* The last append loses some of its blocks, as when the power fails while it is written. */
static void tear(struct world *w, unsigned slot, off_t start, unsigned blocks, uint32_t lost)
{
    int fd = open_file(w, slot);
    static const uint8_t zero[LOG_BLOCK_BYTES];
    for (unsigned i = 0; i < blocks; i++)
        if (lost & 1u << i)
            cr_assert_eq(pwrite(fd, zero, sizeof(zero), start + i * (off_t)sizeof(zero)),
                         (ssize_t)sizeof(zero));
    close(fd);
}

/* Where the last append of the file begins and how many blocks it has. */
static off_t last_append(const struct world *w, unsigned slot, unsigned *blocks)
{
    int fd = open_file(w, slot);
    off_t at = 0;
    uint8_t block[LOG_BLOCK_BYTES];
    off_t last_used = 0;
    for (off_t off = LOG_BLOCK_BYTES; pread(fd, block, sizeof(block), off) == sizeof(block);
         off += (off_t)sizeof(block)) {
        struct log_frame f;
        memcpy(&f, block, sizeof(f));
        if (log_frame_ok(&f) && f.index == 0)
            at = off;
        for (size_t i = 0; i < sizeof(block); i++)
            if (block[i] != 0)
                last_used = off;
    }
    close(fd);
    *blocks = (unsigned)((last_used - at) / (off_t)LOG_BLOCK_BYTES + 1);
    return at;
}

Test(log_file, a_torn_append_is_left_out_whole)
{
    for (uint32_t lost = 1; lost < 32; lost++) {
        struct world w;
        begin(&w);
        append(&w, 3, 3000);
        append(&w, 1, 10);
        uint64_t good = w.next - 1;
        append(&w, 5, 6000);
        unsigned blocks, slot = newest_slot(&w);
        off_t start = last_append(&w, slot, &blocks);
        cr_assert_geq(blocks, 2);
        uint32_t mask = blocks > 5 ? lost : lost & ((1u << blocks) - 1);
        tear(&w, slot, start, blocks, mask);
        reopen(&w, 1);
        if (mask != 0)
            assert_seen(&w, 1, good);
        /* Without its first block nothing says that there was anything. */
        cr_assert_eq(w.reports, (mask & 1) == 0 && mask != 0, "%s", w.last_report);
        w.reports = 0;
        /* Its numbers are free again, and it is never taken for damage. */
        w.next = mask != 0 ? good + 1 : w.next;
        append(&w, 2, 100);
        append(&w, 2, 100);
        reopen(&w, 1);
        assert_seen(&w, 1, w.next - 1);
        cr_assert_eq(w.reports, 0, "%s", w.last_report);
        end(&w);
    }
}

Test(log_file, torn_again_and_again)
{
    struct world w;
    begin(&w);
    for (unsigned i = 0; i < 12; i++) {
        append(&w, 2, 5000);
        uint64_t good = w.next - 1;
        append(&w, 4, 9000);
        unsigned blocks, slot = newest_slot(&w);
        off_t start = last_append(&w, slot, &blocks);
        tear(&w, slot, start, blocks, 1u << below(&w, blocks));
        w.next = good + 1;
        reopen(&w, 1);
        assert_seen(&w, 1, good);
    }
    end(&w);
}

Test(log_file, damage_in_any_block_costs_only_what_lies_there)
{
    struct world w;
    begin(&w);
    for (unsigned i = 0; i < 12; i++)
        append(&w, 1 + i % 3, 5000);
    unsigned blocks, slot = newest_slot(&w);
    off_t end_off = last_append(&w, slot, &blocks); /* damage there is a torn end */
    uint64_t last = w.next - 1;
    for (off_t off = LOG_BLOCK_BYTES; off < end_off; off += 1021) {
        flip(&w, slot, off);
        w.reports = 0;
        reopen(&w, 1);
        unsigned missing = (unsigned)last - w.seen_count;
        cr_assert_leq(missing, 3, "%u segments lost by one flipped bit", missing);
        /* Bits in the padding between appends are nobody's. */
        cr_assert_eq(w.reports > 0, missing > 0, "at %ld: %u missing, %u reports: %s", (long)off, missing, w.reports, w.last_report);
        cr_assert_eq(w.seen[w.seen_count - 1], last);
        flip(&w, slot, off);
    }
    w.reports = 0;
    reopen(&w, 1);
    assert_seen(&w, 1, last);
    cr_assert_eq(w.reports, 0, "%s", w.last_report);
    end(&w);
}

Test(log_file, a_damaged_file_is_kept_for_the_operator)
{
    struct world w;
    begin(&w);
    append(&w, 3, 5000);
    append(&w, 3, 5000);
    flip(&w, newest_slot(&w), LOG_BLOCK_BYTES + 100);
    reopen(&w, 1);
    cr_assert_gt(w.reports, 0);
    append(&w, 1, 10);
    cr_assert(log_file_trim_frees(w.log, w.next));
    log_file_trim(w.log, w.next);
    cr_assert_not_null(strstr(w.last_report, "-damaged-1"), "%s", w.last_report);
    char command[160];
    snprintf(command, sizeof(command), "test -s %s-damaged-1", w.path);
    cr_assert_eq(system(command), 0);
    w.reports = 0;
    append(&w, 1, 10);
    reopen(&w, w.next - 1);
    assert_seen(&w, w.next - 1, w.next - 1);
    cr_assert_eq(w.reports, 0, "%s", w.last_report);
    end(&w);
}

Test(log_file, a_file_is_known_without_its_header)
{
    struct world w;
    begin(&w);
    append(&w, 3, 5000);
    reopen(&w, 1);
    append(&w, 2, 50);
    reopen(&w, 1);
    append(&w, 2, 50);
    uint64_t last = w.next - 1;
    for (unsigned slot = 0; slot < 3; slot++) {
        flip(&w, slot, 20);
        reopen(&w, 1);
        assert_seen(&w, 1, last);
        cr_assert_gt(w.reports, 0);
        flip(&w, slot, 20);
    }
    end(&w);
}

Test(log_file, a_foreign_version_is_refused)
{
    struct world w;
    begin(&w);
    append(&w, 1, 50);
    int fd = open_file(&w, newest_slot(&w));
    struct log_header h;
    cr_assert_eq(pread(fd, &h, sizeof(h), 0), (ssize_t)sizeof(h));
    h.version = LOG_VERSION + 1;
    h.crc = log_header_crc(&h);
    cr_assert_eq(pwrite(fd, &h, sizeof(h), 0), (ssize_t)sizeof(h));
    close(fd);
    log_file_free(&w.log);
    char err[256] = "";
    cr_assert_eq(log_file_open(&w.log, w.path, &w.options, err), -ENOTSUP);
    cr_assert_not_null(strstr(err, "format"));
    end(&w);
}
