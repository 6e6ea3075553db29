/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the control thread, answered on the lcore that owns what is asked about. */
#include <errno.h>

#include "../storage/segment.h"
#include "capture.h"
#include "core_int.h"

/* Sessions looked at in one command: the caller pages. */
#define SESSIONS_SCANNED_MAX 512u

static bool put_row(struct gw_core *c, uint32_t i, const struct gw_command *q, uint32_t *used)
{
    const struct gw_home_session *s = gw_home_session(&c->l, i);
    const struct gw_resumption *resume = gw_home_resumption(&c->l, s);
    struct gw_bytes jid = gw_session_jid(&c->l, s);
    struct gw_session_row row = {
        .len = (uint32_t)(sizeof(row) + jid.len),
        .jid_len = (uint16_t)jid.len,
        .port = s->tuple.remote_port,
        .ip = s->tuple.remote,
        .since_us = s->since_wall_us,
        .unacked = s->in_flight,
        .priority = s->priority,
        .available = s->available,
        .sm = s->sm,
        .behind = s->behind,
        .resumable = resume != NULL,
        .detached = resume != NULL && resume->detached,
    };
    size_t padded = gw_record_padded(row.len);
    if (padded > q->data_len - *used)
        return false;
    uint8_t *out = (uint8_t *)q->data + *used;
    memcpy(out, &row, sizeof(row));
    memcpy(out + sizeof(row), jid.p, jid.len);
    *used += (uint32_t)padded;
    return true;
}

static void list_sessions(struct gw_core *c, const struct gw_command *q, struct gw_command_reply *r)
{
    const struct gw_slab *slab = &c->l.home->sessions;
    uint64_t i = q->cursor;
    uint64_t end = i + SESSIONS_SCANNED_MAX < slab->fresh - 1u ? i + SESSIONS_SCANNED_MAX
                                                               : slab->fresh - 1u;
    for (; i < end; i++) {
        if (gw_home_session(&c->l, (uint32_t)i + 1)->account == 0)
            continue;
        if (!put_row(c, (uint32_t)i + 1, q, &r->len))
            break;
        r->count++;
    }
    r->next = i;
    r->more = i < slab->fresh - 1u;
}

static void end_sessions(struct gw_core *c, const struct gw_command *q, struct gw_command_reply *r)
{
    int n = gw_home_end_sessions(&c->l, gw_bytes(q->data, q->data_len), q->account_gone);
    r->status = n < 0 ? n : 0;
    r->count = n < 0 ? 0 : (uint32_t)n;
}

static void set_limits(struct gw_core *c, const struct gw_command *q, struct gw_command_reply *r)
{
    const struct gw_limits_command *limits = q->data;
    r->status = gw_home_set_limits(&c->l, gw_bytes(limits->account, limits->account_len),
                                   limits->messages_max, limits->bytes_max);
}

static void list_neighbours(struct gw_core *c, const struct gw_command *q, struct gw_command_reply *r)
{
    uint32_t at = (uint32_t)q->cursor;
    r->count = gw_net_neighbours(c->net, &at, q->data, q->data_len / sizeof(struct gw_net_neighbour));
    r->len = r->count * (uint32_t)sizeof(struct gw_net_neighbour);
    r->next = at;
    r->more = at != 0;
}

unsigned core_commands(struct gw_core *c)
{
    struct gw_command q;
    if (gw_ring_count(c->command.requests) == 0 || gw_ring_room(c->command.replies) == 0 ||
        gw_ring_pop(c->command.requests, &q, 1) == 0)
        return 0;
    struct gw_command_reply r = {.tag = q.tag};
    switch ((enum gw_command_op)q.op) {
    case GW_COMMAND_SESSIONS:
        list_sessions(c, &q, &r);
        break;
    case GW_COMMAND_END_SESSIONS:
        end_sessions(c, &q, &r);
        break;
    case GW_COMMAND_LIMITS:
        set_limits(c, &q, &r);
        break;
    case GW_COMMAND_CONNECTIONS:
        core_connections(c, &q, &r);
        break;
    case GW_COMMAND_NEIGHBOURS:
        list_neighbours(c, &q, &r);
        break;
    case GW_COMMAND_CAPTURE_START:
        if (c->port->tap == NULL)
            gw_capture_attach(q.data, c->port, &c->l.wall_us);
        else
            r.status = -EBUSY;
        break;
    case GW_COMMAND_CAPTURE_STOP:
        gw_capture_detach(q.data);
        break;
    default:
        r.status = -ENOSYS;
        break;
    }
    (void)gw_ring_push(c->command.replies, &r);
    return 1;
}
