/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "store_int.h"

_Static_assert(GW_SPACE_COUNT <= sizeof(((struct gw_store_stats *)0)->spaces) /
                                     sizeof(struct gw_store_space),
               "every space has its place");

void store_stats(struct gw_store *s, const struct gw_store_request *r,
                 struct gw_store_completion *done)
{
    struct gw_store_stats *out = r->data;
    struct gw_engine_stats e;
    check(r->data_len == sizeof(*out));
    s->ops->stats(s->engine, &e);
    *out = (struct gw_store_stats){.window_bytes = window_bytes(&s->window),
                                   .window_messages = s->window.message_count,
                                   .window_mailboxes = s->window.mailbox_count,
                                   .segment_oldest = s->state.segment_oldest,
                                   .segment_next = atomic_load(&s->segment_next),
                                   .log_files = e.log_files,
                                   .log_free_files = e.log_free_files,
                                   .log_file_bytes = e.log_file_bytes,
                                   .space_count = GW_SPACE_COUNT,
                                   .write_stopped = e.write_stopped,
                                   .write_rate_max = e.write_rate_max,
                                   .writes_waiting = writer_waiting(s),
                                   .write_waits_us = writer_waits_us(s)};
    for (unsigned i = 0; i < GW_SPACE_COUNT; i++) {
        struct gw_store_space *space = &out->spaces[i];
        snprintf(space->name, sizeof(space->name), "%s", gw_space_name((enum gw_space)i));
        space->keys = e.spaces[i].keys;
        space->disk_bytes = e.spaces[i].disk_bytes;
        space->memory_bytes = e.spaces[i].memory_bytes;
        space->pending_bytes = e.spaces[i].pending_bytes;
    }
    done->len = sizeof(*out);
}
