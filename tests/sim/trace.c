/* SPDX-License-Identifier: Apache-2.0 */
#include "trace.h"

#include <stdarg.h>
#include <stdio.h>

bool trace_on;

void trace(uint64_t now_us, const char *format, ...)
{
    va_list args;
    if (!trace_on)
        return;
    fprintf(stderr, "%12.6f ", (double)now_us / 1e6);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}
