/* SPDX-License-Identifier: Apache-2.0 */
#include "counters.h"

const struct gw_counter_desc gw_tcp_counter_descs[] = {GW_TCP_COUNTERS(GW_COUNTER_DESC)};
const unsigned gw_tcp_counter_count =
    sizeof(gw_tcp_counter_descs) / sizeof(gw_tcp_counter_descs[0]);
