/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CONTROL_PASSWORD_H
#define GW_CONTROL_PASSWORD_H

#include "../dataplane/base/bytes.h"

#define PASSWORD_BYTES_MAX 1024

struct password {
    size_t len;
    char text[4 * PASSWORD_BYTES_MAX + 1];
};

/* SASLprep (RFC 4013), as SCRAM asks for: what a client sends is prepared the same way. 0, or -EINVAL
 * with a constant message. */
int password_prepare(struct gw_bytes in, struct password *out, const char **err);
void password_wipe(struct password *p);

#endif
