/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc_frame.h"

#include <errno.h>
#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int restart(struct rpc_frame *f, size_t *end, size_t at, int rc)
{
    f->scanned = 0;
    *end = at;
    return rc;
}

/* Up to and with the end of a line that began with no value. Reported when it has come. */
static int skip_line(struct rpc_frame *f, const char *buf, size_t len, size_t *end)
{
    const char *newline = memchr(buf, '\n', len);
    f->skipping = newline == NULL;
    return restart(f, end, newline != NULL ? (size_t)(newline - buf) + 1 : len,
                   newline != NULL ? -EBADMSG : 0);
}

static void step_in_string(struct rpc_frame *f, char c)
{
    if (f->escaped)
        f->escaped = false;
    else if (c == '\\')
        f->escaped = true;
    else if (c == '"')
        f->in_string = false;
}

/* One byte inside a value; true when it was the value's last. */
static bool step(struct rpc_frame *f, char c)
{
    if (f->in_string) {
        step_in_string(f, c);
        return false;
    }
    if (c == '"')
        f->in_string = true;
    else if (c == '{' || c == '[')
        f->depth++;
    else if (c == '}' || c == ']')
        return --f->depth == 0;
    return false;
}

int rpc_frame_next(struct rpc_frame *f, const char *buf, size_t len, size_t *end)
{
    if (f->skipping)
        return skip_line(f, buf, len, end);
    if (f->depth == 0) {
        while (f->scanned < len && is_blank(buf[f->scanned]))
            f->scanned++;
        if (f->scanned == len)
            return restart(f, end, len, 0);
        if (buf[f->scanned] != '{' && buf[f->scanned] != '[')
            return skip_line(f, buf, len, end);
    }
    while (f->scanned < len)
        if (step(f, buf[f->scanned++]))
            return restart(f, end, f->scanned, 1);
    *end = 0;
    return 0;
}
