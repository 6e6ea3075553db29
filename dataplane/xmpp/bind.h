/* SPDX-License-Identifier: Apache-2.0 */
/* What an edge asks a home to bind: a block lent with GW_POST_BIND, back with GW_POST_BOUND. */
#ifndef GW_XMPP_BIND_H
#define GW_XMPP_BIND_H

#include "../../storage/keys.h"
#include "../tcp/tcp.h"

struct gw_bind {
    struct gw_identity identity;
    uint64_t since_wall_us;
    struct gw_tcp_tuple tuple;
    uint16_t bare_len, len; /* of the full JID in text */
    uint16_t id_len;        /* of the IQ's id behind it */
    char text[];
};

#endif
