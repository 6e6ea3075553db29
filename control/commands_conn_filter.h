/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CONTROL_COMMANDS_CONN_FILTER_H
#define GW_CONTROL_COMMANDS_CONN_FILTER_H

#include <stdbool.h>

#include "../dataplane/command.h"

/* The other end as an operator writes it: 10.1.2.3, 10.0.0.0/8, 10.1.2.3:4567, fd00::1, fd00::/16 or
 * [fd00::1]:4567. False when it is none of these; *f may have changed then. */
bool conn_filter_parse_remote(const char *text, struct gw_tcp_filter *f);
/* A connection's own name, as conn.list gives it: LCORE:POSITION. */
bool conn_parse_id(const char *text, unsigned *lcore, uint32_t *position);

#endif
