/* SPDX-License-Identifier: Apache-2.0 */
/* Questions with one answer: software version (XEP-0092), ping (XEP-0199), and the like. */
#include "iq.h"

void gw_iq_empty(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    (void)q;
    gw_edge_result(l, c, gw_bytes(NULL, 0));
}

void gw_iq_not_allowed(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    (void)q;
    gw_edge_refuse(l, c, GW_CONDITION_NOT_ALLOWED);
}

void gw_iq_version(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    (void)q;
    gw_edge_result(l, c,
                   GW_LIT("<query xmlns='jabber:iq:version'><name>Godwit</name>"
                          "<version>" GW_VERSION "</version></query>"));
}

void gw_iq_forbidden(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    (void)q;
    gw_edge_refuse(l, c, GW_CONDITION_FORBIDDEN);
}
