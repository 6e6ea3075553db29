/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of connections for the control thread: TCP's state, and whose session it is. */
#include "../storage/segment.h"
#include "core_int.h"

/* Positions looked at in one command: at most some 100 us, when each has to be compared by its
 * session's name. The caller pages. */
#define CONNECTIONS_SCANNED_MAX 512u

/* Who has logged in on it; empty: nobody, or it is a TIME-WAIT entry. */
static struct gw_bytes jid_at(const struct gw_core *c, uint32_t position)
{
    if (position > c->l.cfg->conn_limit)
        return gw_bytes(NULL, 0);
    const struct gw_edge_conn *e = gw_edge_conn(&c->l, position);
    bool in_use = e->generation & 1;
    return in_use && e->jid_block != 0 ? gw_edge_full(&c->l, position) : gw_bytes(NULL, 0);
}

static bool is_of(const struct gw_core *c, uint32_t position, const struct gw_connection_query *q)
{
    if (q->account_len == 0)
        return true;
    struct gw_bytes jid = jid_at(c, position);
    return jid.len >= q->account_len && memcmp(jid.p, q->account, q->account_len) == 0 &&
           (jid.len == q->account_len || jid.p[q->account_len] == '/');
}

/* False when there is no room for it. */
static bool put_row(struct gw_connection_row *row, struct gw_bytes jid, const struct gw_command *q,
                    uint32_t *used)
{
    row->len = (uint32_t)(sizeof(*row) + jid.len);
    row->jid_len = (uint16_t)jid.len;
    size_t padded = gw_record_padded(row->len);
    if (padded > q->data_len - *used)
        return false;
    uint8_t *out = (uint8_t *)q->data + *used;
    memcpy(out, row, sizeof(*row));
    if (jid.len > 0)
        memcpy(out + sizeof(*row), jid.p, jid.len);
    *used += (uint32_t)padded;
    return true;
}

void core_connections(struct gw_core *c, const struct gw_command *command,
                      struct gw_command_reply *r)
{
    struct gw_connection_query q;
    uint32_t at = (uint32_t)command->cursor, left, next;
    memcpy(&q, command->data, sizeof(q)); /* the rows take its place */
    left = q.scan_max < CONNECTIONS_SCANNED_MAX ? q.scan_max : CONNECTIONS_SCANNED_MAX;
    while ((next = gw_tcp_info_next(c->l.tcp, at)) != 0 && left-- > 0 && r->count < q.rows_max) {
        struct gw_connection_row row = {.position = next};
        bool wanted = is_of(c, next, &q) && gw_tcp_info(c->l.tcp, next, &q.filter, &row.info);
        if (wanted && !put_row(&row, jid_at(c, next), command, &r->len))
            break;
        r->count += wanted;
        at = next;
    }
    r->next = at;
    r->more = next != 0;
}
