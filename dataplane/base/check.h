/* SPDX-License-Identifier: Apache-2.0 */
/* Assertions on our own invariants. Never on what a peer sends: that is dropped and counted. */
#ifndef GW_BASE_CHECK_H
#define GW_BASE_CHECK_H

#include <stdio.h>
#include <stdlib.h>

/* Stays on in release: a broken invariant must stop the process before it spreads to disk. */
#define check(cond)                                                                                \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            gw_check_failed(#cond, __FILE__, __LINE__);                                            \
    } while (0)

/* For checks too dear for the hot path: on in debug and simulation builds only. */
#ifdef GW_CHECK_SLOW
#define check_slow(cond) check(cond)
#else
#define check_slow(cond) ((void)sizeof(cond))
#endif

_Noreturn static inline void gw_check_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "%s:%d: check failed: %s\n", file, line, cond);
    abort();
}

#endif
