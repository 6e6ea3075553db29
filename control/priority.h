/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CONTROL_PRIORITY_H
#define GW_CONTROL_PRIORITY_H

#include <errno.h>
#include <unistd.h>

#include "../dataplane/base/check.h"

/* The calling thread (on Linux it is one thread's) and those that it makes stand back by so much, for
 * commit and storage, where they share a CPU. */
static inline void lower_priority(int by)
{
    errno = 0;
    check(nice(by) != -1 || errno == 0);
}

#endif
