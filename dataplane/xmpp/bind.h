/* SPDX-License-Identifier: Apache-2.0 */
/* What an edge asks a home to bind, or to resume, and what it leaves it when the connection is gone. */
#ifndef GW_XMPP_BIND_H
#define GW_XMPP_BIND_H

#include "../../storage/keys.h"
#include "../tcp/tcp.h"
#include "post.h"

/* A block lent with GW_POST_BIND or GW_POST_RESUME, back with GW_POST_BOUND or GW_POST_RESUMED. To
 * resume, `text` has room for the longest resource behind the bare JID: the home fills it in, and `len`. */
struct gw_bind {
    struct gw_identity identity;
    uint64_t since_wall_us;
    struct gw_tcp_tuple tuple;
    uint16_t bare_len, len; /* of the full JID in text */
    uint16_t id_len;        /* of the IQ's id behind it */
    uint32_t out_count;     /* RESUME: stanzas that the client has handled; back: that were sent */
    struct gw_stream_name name; /* RESUME */
    char text[];
};

/* One stored message handed to the client, until it is delivered. */
struct gw_handed {
    uint64_t position;
    uint32_t stanza_number; /* our outbound count (stream management) after it */
    uint32_t stream_end;    /* low half of the stream position after it */
};

#endif
