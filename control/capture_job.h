/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A capture of the port's frames into a file, as a job: taps at the lcores' ports fill rings, and the
 * job thread writes what it finds there, oldest first, until a limit is reached or it is cancelled.
 *
 * Its end takes two: the job thread says ENDING; the control thread, which alone talks to lcores, has
 * them let go of the taps and says LET_GO; then the last frames are written and the job is done.
 */
#ifndef GW_CONTROL_CAPTURE_JOB_H
#define GW_CONTROL_CAPTURE_JOB_H

#include "../dataplane/base/counters.h"
#include "../dataplane/capture.h"
#include "config.h"
#include "jobs.h"

#define CAPTURE_FILTER_BYTES_MAX 1000u
#define CAPTURE_RING_BYTES       (4u << 20) /* of each lcore */
#define CAPTURE_BYTES_DEFAULT    100000000
#define CAPTURE_SECONDS_DEFAULT  60
#define CAPTURE_SNAP_BYTES       65535

/* Each is counted by one thread: the first two by control, the others by the job. */
#define CAPTURE_COUNTERS(X)                                                                        \
    X(started, "captures started")                                                                 \
    X(denied, "captures refused for who asked, or because the configuration allows none")          \
    X(frames, "frames written to captures")                                                        \
    X(bytes, "bytes written to captures")                                                          \
    X(dropped, "frames missing in captures because a ring was full")                               \
    X(failed, "captures that could not be written")

struct capture_counters {
    CAPTURE_COUNTERS(GW_COUNTER_FIELD)
};

enum capture_phase {
    CAPTURE_RUNNING,
    CAPTURE_ENDING,    /* job thread: lcores are to let go */
    CAPTURE_LET_GO,    /* control thread: they have */
    CAPTURE_ABANDONED, /* control thread: they cannot be waited for; the rings are left to them */
};

struct capture_request {
    char filter[CAPTURE_FILTER_BYTES_MAX + 1];
    uint64_t bytes_max;
    uint32_t seconds;
    uint32_t snap_bytes;
};

struct capture {
    struct capture_request asked;
    struct jobs *jobs;
    struct capture_counters *counters;
    int fd;
    bool is_socket;
    unsigned tap_count;
    struct gw_capture *taps[GW_CONFIG_LCORES_MAX];
    _Atomic int phase;
    /* Control thread, after the last step; the capture lives on, for those who ask about the job. */
    void (*finished)(struct capture *c, struct job *job);
    void *owner;
    /* For those who look: bytes of the file, frames in it, and those missing. */
    _Atomic uint64_t bytes, frames, dropped;

    /* the job thread's */
    uint64_t begun_us, until_us; /* wall clock: frames of this time are written */
    uint64_t begun_steady_us;
    uint64_t give_up_us;         /* steady clock: a reader may take so long for the end; 0: not yet */
    uint64_t dropped_told[GW_CONFIG_LCORES_MAX];
    const char *why;             /* it ends; NULL: it does not */
    int error;                   /* of writing, negative errno */
    bool full, closed;           /* nothing more fits; the last blocks are in `out` */
    uint8_t *out;                /* whole blocks, but for the start of the first */
    size_t out_len;
    uint64_t written;
};

/* Whether a capture can be written there: an empty regular file open for writing, or a connected
 * stream socket. False with the reason. */
bool capture_can_write(int fd, bool *is_socket, const char **why);

/* The capture owns fd. */
struct capture *capture_new(const struct capture_request *rq, int fd, bool is_socket, unsigned taps);
/* Compiles the filter and makes the taps: some milliseconds. Any thread. 0 or negative errno with a
 * message in err. */
int capture_prepare(struct capture *c, char err[256]);
/* The taps are let go of, or taken over (NULL). */
void capture_free(struct capture *c);

/* Its context is the capture, prepared and attached. */
extern const struct job_type capture_job_type;

#endif
