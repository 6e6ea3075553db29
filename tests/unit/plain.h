/* SPDX-License-Identifier: Apache-2.0 */
/* The assertions of Criterion for a test that is a program of its own: the first that fails ends
 * it. */
#ifndef GW_TEST_PLAIN_H
#define GW_TEST_PLAIN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A condition may be followed by a message as for printf. */
#define plain_assert(cond, what, ...)                                         \
    do {                                                                      \
        if (!(cond)) {                                                        \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, what); \
            fprintf(stderr, " " __VA_ARGS__);                                 \
            fputc('\n', stderr);                                              \
            abort();                                                          \
        }                                                                     \
    } while (0)

#define cr_assert(cond, ...)           plain_assert(cond, #cond, __VA_ARGS__)
#define cr_assert_eq(a, b, ...)        plain_assert((a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...)       plain_assert((a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)        plain_assert((a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)       plain_assert((a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)        plain_assert((a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)       plain_assert((a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_assert_null(a, ...)         plain_assert((a) == NULL, #a " is NULL", __VA_ARGS__)
#define cr_assert_not_null(a, ...)     plain_assert((a) != NULL, #a " is not NULL", __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)    plain_assert(strcmp(a, b) == 0, #a " is " #b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...) plain_assert(memcmp(a, b, n) == 0, #a " is " #b, __VA_ARGS__)
#define cr_assert_fail(...)            plain_assert(0, "", __VA_ARGS__)

#endif
