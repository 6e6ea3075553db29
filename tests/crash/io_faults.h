/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the writes of a process fail, be short or slow, on command: preloaded into a broker, where
 * the file that the environment variable GODWIT_IO_FAULTS names is the command (this structure,
 * mapped and shared), or linked into a test, which fills in the structure itself.
 *
 * Concerned are write, pwrite, fsync, fdatasync, sync_file_range and the fallocates, on files below
 * one path.
 */
#ifndef GW_TEST_IO_FAULTS_H
#define GW_TEST_IO_FAULTS_H

#include <stdatomic.h>
#include <stdint.h>

#define IO_FAULTS_WRITE    1u
#define IO_FAULTS_SYNC     2u
#define IO_FAULTS_ALLOCATE 4u

/* tests/crash/rig.py knows the layout. Everything is set before `on`, which makes it count. */
struct io_faults {
    atomic_uint on;
    uint32_t calls; /* which: IO_FAULTS_WRITE .. */
    int32_t error;  /* errno of those that fail; 0: none do */
    uint32_t
        shorten; /* writes do a half of what was asked, no more than this many times in a row */
    uint32_t delay_us; /* before each call */
    atomic_uint after; /* calls that are spared first */
    atomic_uint left;  /* calls that fail from then on; UINT32_MAX: all */
    atomic_uint hits;  /* calls that failed, were short or slow */
    /* Writes and syncs, later, of a file that a failed call was for, if it lies below `once`. */
    atomic_uint repeated;
    char under[256];
    char once[256];
};

/* The structure that is obeyed. */
extern struct io_faults *io_faults;

#endif
