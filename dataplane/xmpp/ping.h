/* SPDX-License-Identifier: Apache-2.0 */
/* The ids of the server's own pings (XEP-0199): "gw-ping-" and a number. */
#ifndef GW_XMPP_PING_H
#define GW_XMPP_PING_H

#include "../base/bytes.h"

#define GW_PING_ID_PREFIX    "gw-ping-"
#define GW_PING_ID_BYTES_MAX 18

static inline bool gw_ping_number(struct gw_bytes id, uint32_t *number)
{
    size_t skip = sizeof(GW_PING_ID_PREFIX) - 1;
    if (id.len <= skip || id.len > GW_PING_ID_BYTES_MAX ||
        memcmp(id.p, GW_PING_ID_PREFIX, skip) != 0)
        return false;
    uint64_t v = 0;
    for (size_t i = skip; i < id.len; i++) {
        if (id.p[i] < '0' || id.p[i] > '9')
            return false;
        v = v * 10 + (id.p[i] - '0');
    }
    *number = (uint32_t)v;
    return v <= UINT32_MAX;
}

#endif
