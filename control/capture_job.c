/* SPDX-License-Identifier: Apache-2.0 */
#include "capture_job.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../dataplane/base/check.h"
#include "capture_filter.h"
#include "clock.h"
#include "pcapng.h"

#define OUT_BYTES       (512u << 10)
#define STEP_FRAMES_MAX 2048u
#define READER_WAIT_US  5000000u /* for the end of a capture, of a reader that does not read */

/* ---- making ---- */

bool capture_can_write(int fd, bool *is_socket, const char **why)
{
    struct stat st;
    int type = 0, flags = fcntl(fd, F_GETFL);
    socklen_t len = sizeof(type);
    *is_socket = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
    *why = NULL;
    if (*is_socket)
        *why = type == SOCK_STREAM ? NULL : "the socket is no stream";
    else if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        *why = "it is neither a regular file nor a socket";
    else if (st.st_size != 0)
        *why = "the file is not empty";
    else if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
        *why = "the file is not open for writing";
    return *why == NULL;
}

struct capture *capture_new(const struct capture_request *rq, int fd, bool is_socket, unsigned taps)
{
    struct capture *c = calloc(1, sizeof(*c));
    check(c != NULL && taps <= GW_CONFIG_LCORES_MAX);
    c->asked = *rq;
    c->fd = fd;
    c->is_socket = is_socket;
    c->tap_count = taps;
    c->until_us = UINT64_MAX;
    return c;
}

void capture_free(struct capture *c)
{
    for (unsigned i = 0; i < c->tap_count; i++)
        gw_capture_free(&c->taps[i]);
    if (c->fd >= 0)
        close(c->fd);
    free(c->out);
    free(c);
}

static void put_head(struct capture *c)
{
    c->out_len = pcapng_section(c->out, "godwitd " GW_VERSION);
    for (unsigned i = 0; i < c->tap_count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "lcore%u", i);
        c->out_len += pcapng_interface(c->out + c->out_len, name, c->asked.filter,
                                       c->asked.snap_bytes);
    }
    atomic_store(&c->bytes, c->out_len);
}

static size_t tail_bytes(const struct capture *c)
{
    return c->tap_count * (size_t)PCAPNG_STATISTICS_BYTES_MAX;
}

int capture_prepare(struct capture *c, char err[256])
{
    struct bpf_program program;
    int rc = capture_filter_compile(c->asked.filter, &program, err);
    if (rc != 0)
        return rc;
    struct gw_capture_config cfg = {.program = program.bf_insns,
                                    .program_count = program.bf_len,
                                    .snap_bytes = c->asked.snap_bytes,
                                    .ring_bytes = CAPTURE_RING_BYTES};
    for (unsigned i = 0; rc == 0 && i < c->tap_count; i++)
        rc = gw_capture_open(&c->taps[i], &cfg);
    pcap_freecode(&program);
    c->out = rc == 0 ? malloc(OUT_BYTES) : NULL;
    if (rc == 0 && c->out == NULL)
        rc = -ENOMEM;
    if (rc != 0) {
        snprintf(err, 256, "the capture could not be prepared: %s", strerror(-rc));
        return rc;
    }
    put_head(c);
    if (c->out_len + tail_bytes(c) <= c->asked.bytes_max)
        return 0;
    snprintf(err, 256, "the capture's head alone is larger than that");
    return -EINVAL;
}

/* ---- writing ---- */

static void end_because(struct capture *c, const char *why)
{
    int running = CAPTURE_RUNNING;
    if (c->why != NULL)
        return;
    c->why = why;
    c->until_us = clock_wall_us();
    atomic_compare_exchange_strong(&c->phase, &running, CAPTURE_ENDING);
}

/* A file ends with a whole block, also when the disk did not take all of them. */
static void cut_off(struct capture *c, size_t taken)
{
    size_t whole = 0, lost_frames = 0, len;
    for (size_t at = 0; at < c->out_len; at += len) {
        len = pcapng_block_bytes(c->out + at);
        if (at + len <= taken)
            whole = at + len;
        else
            lost_frames += pcapng_is_frame(c->out + at);
    }
    if (ftruncate(c->fd, (off_t)(c->written + whole)) != 0)
        return;
    atomic_store(&c->bytes, c->written + whole);
    atomic_fetch_sub(&c->frames, lost_frames);
}

static void write_failed(struct capture *c, int err, size_t taken)
{
    c->error = -err;
    if (!c->is_socket)
        cut_off(c, taken);
    c->out_len = 0;
    end_because(c, strerror(err));
}

static ssize_t write_some(const struct capture *c, size_t from)
{
    if (c->is_socket)
        return send(c->fd, c->out + from, c->out_len - from, MSG_DONTWAIT | MSG_NOSIGNAL);
    return write(c->fd, c->out + from, c->out_len - from);
}

/* As much as a socket takes now, or all. */
static void flush(struct capture *c)
{
    size_t taken = 0;
    while (taken < c->out_len && c->error == 0) {
        ssize_t n = write_some(c, taken);
        if (n >= 0)
            taken += (size_t)n;
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            write_failed(c, errno, taken);
    }
    if (c->error != 0)
        return;
    c->written += taken;
    c->out_len -= taken;
    memmove(c->out, c->out + taken, c->out_len);
    GW_COUNT_ADD(c->counters->bytes, taken);
}

static bool make_room(struct capture *c, size_t bytes)
{
    if (OUT_BYTES - c->out_len < bytes)
        flush(c);
    return c->error == 0 && OUT_BYTES - c->out_len >= bytes;
}

/* ---- frames ---- */

static struct gw_capture *oldest(const struct capture *c, unsigned *which)
{
    const struct gw_captured *best = NULL;
    for (unsigned i = 0; i < c->tap_count; i++) {
        const struct gw_captured *f = gw_capture_peek(c->taps[i]);
        if (f == NULL || (best != NULL && f->wall_us >= best->wall_us))
            continue;
        best = f;
        *which = i;
    }
    return best != NULL ? c->taps[*which] : NULL;
}

/* False when it has to be tried again: the reader takes nothing now. */
static bool put_frame(struct capture *c, unsigned which, const struct gw_captured *f)
{
    size_t len = pcapng_frame_bytes(f);
    if (c->full || c->error != 0 || f->wall_us > c->until_us)
        return true;
    if (atomic_load(&c->bytes) + len + tail_bytes(c) > c->asked.bytes_max) {
        c->full = true;
        end_because(c, "its size is reached");
        return true;
    }
    if (!make_room(c, len))
        return c->error != 0;
    size_t put = pcapng_frame(c->out + c->out_len, which, f);
    check(put == len);
    c->out_len += len;
    atomic_fetch_add(&c->bytes, len);
    atomic_fetch_add(&c->frames, 1);
    GW_COUNT(c->counters->frames);
    return true;
}

/* Whether there is more that can be dealt with at once. */
static bool drain(struct capture *c)
{
    unsigned n = 0, which = 0;
    struct gw_capture *tap;
    for (; n < STEP_FRAMES_MAX && (tap = oldest(c, &which)) != NULL; n++) {
        if (!put_frame(c, which, gw_capture_peek(tap)))
            return false;
        gw_capture_take(tap);
    }
    return n == STEP_FRAMES_MAX;
}

static void count_dropped(struct capture *c)
{
    for (unsigned i = 0; i < c->tap_count; i++) {
        uint64_t now = gw_capture_counts(c->taps[i]).dropped, more = now - c->dropped_told[i];
        c->dropped_told[i] = now;
        atomic_fetch_add(&c->dropped, more);
        GW_COUNT_ADD(c->counters->dropped, more);
    }
}

/* ---- the job ---- */

static void begin(struct capture *c, struct job *job)
{
    c->begun_us = clock_wall_us();
    c->begun_steady_us = clock_steady_us();
    atomic_store(&job->total, (uint64_t)c->asked.seconds * 1000);
}

/* Progress is of the time, or of the size when that is nearer to its end. */
static void look_at_limits(struct capture *c, struct job *job)
{
    uint64_t elapsed_us = clock_steady_us() - c->begun_steady_us, total = atomic_load(&job->total);
    if (job_is_cancelled(job))
        end_because(c, "it was stopped");
    else if (elapsed_us >= (uint64_t)c->asked.seconds * 1000000)
        end_because(c, "its time is over");
    uint64_t by_time = elapsed_us / 1000;
    uint64_t by_size = (uint64_t)((double)atomic_load(&c->bytes) / (double)c->asked.bytes_max *
                                  (double)total);
    uint64_t done = by_time > by_size ? by_time : by_size;
    atomic_store(&job->done, done < total ? done : total);
}

static void put_tail(struct capture *c)
{
    for (unsigned i = 0; i < c->tap_count; i++) {
        struct pcapng_statistics s = {c->begun_us, c->until_us, gw_capture_counts(c->taps[i])};
        size_t len = pcapng_statistics(c->out + c->out_len, i, &s);
        c->out_len += len;
        atomic_fetch_add(&c->bytes, len);
    }
    c->closed = true;
}

/* Whether all is written, or never will be. */
static bool close_file(struct capture *c)
{
    if (c->give_up_us == 0)
        c->give_up_us = clock_steady_us() + READER_WAIT_US;
    if (c->error == 0 && !c->closed && make_room(c, tail_bytes(c)))
        put_tail(c);
    flush(c);
    if (c->error == 0 && c->out_len > 0 && clock_steady_us() >= c->give_up_us)
        write_failed(c, ETIMEDOUT, 0);
    return c->error != 0 || (c->closed && c->out_len == 0);
}

static void tell(struct capture *c, struct job *job)
{
    job_note(c->jobs, job, "%" PRIu64 " frames, %" PRIu64 " bytes, %" PRIu64 " dropped%s%s",
             atomic_load(&c->frames), atomic_load(&c->bytes), atomic_load(&c->dropped),
             c->why != NULL ? "; " : "", c->why != NULL ? c->why : "");
}

static enum job_step capture_step(struct job *job, void *ctx)
{
    struct capture *c = ctx;
    int phase = atomic_load(&c->phase); /* before the rings: nothing comes after LET_GO */
    if (c->begun_us == 0)
        begin(c, job);
    look_at_limits(c, job);
    bool more = drain(c);
    count_dropped(c);
    flush(c);
    tell(c, job);
    if (phase == CAPTURE_RUNNING || phase == CAPTURE_ENDING || (phase == CAPTURE_LET_GO && more))
        return more ? JOB_MORE : JOB_PAUSE;
    if (!close_file(c))
        return JOB_PAUSE;
    tell(c, job);
    if (c->error != 0) {
        GW_COUNT(c->counters->failed);
        job_fail(c->jobs, job, "could not be written: %s; %" PRIu64 " frames are there",
                 strerror(-c->error), atomic_load(&c->frames));
    }
    return JOB_DONE;
}

static void capture_finished(struct job *job, void *ctx)
{
    struct capture *c = ctx;
    c->finished(c, job);
}

static void capture_describe(struct job *job, void *ctx, json_t *into)
{
    const struct capture *c = ctx;
    json_t *d = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "frames",
                          (json_int_t)atomic_load(&c->frames), "bytes",
                          (json_int_t)atomic_load(&c->bytes), "dropped",
                          (json_int_t)atomic_load(&c->dropped), "bytes_max",
                          (json_int_t)c->asked.bytes_max, "seconds", (json_int_t)c->asked.seconds,
                          "snaplen", (json_int_t)c->asked.snap_bytes, "filter", c->asked.filter);
    check(d != NULL);
    json_object_update(into, d);
    json_decref(d);
}

static void capture_job_free(void *ctx)
{
    capture_free(ctx);
}

const struct job_type capture_job_type = {
    .name = "pcap",
    .step = capture_step,
    .finished = capture_finished,
    .describe = capture_describe,
    .free = capture_job_free,
};
