/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts a byte stream into JSON objects and arrays, however it is framed: newline-delimited, run
 * together, in pieces. Looks at every byte once and only at what nesting needs: quotes, escapes and
 * brackets. What is inside is the JSON parser's business.
 */
#ifndef GW_CONTROL_RPC_FRAME_H
#define GW_CONTROL_RPC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rpc_frame {
    size_t scanned; /* bytes of the buffer already looked at */
    uint32_t depth;
    bool in_string, escaped;
    bool skipping; /* something else stood where a value should: up to the line's end */
};

/*
 * Continue over buf[0 .. len), which begins where the last frame ended. 1: *end bytes are a whole value
 * (blanks before it included); the caller takes them off the buffer. 0: more is needed; *end leading
 * bytes may be taken off, they are blanks. -EBADMSG: *end bytes are rubbish, to be taken off; reading
 * goes on at the next line.
 */
int rpc_frame_next(struct rpc_frame *f, const char *buf, size_t len, size_t *end);

#endif
