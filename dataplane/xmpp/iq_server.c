/* SPDX-License-Identifier: Apache-2.0 */
/* Questions with one answer: software version (XEP-0092), ping (XEP-0199), time (XEP-0202), how long it
 * runs (XEP-0012), and the like. */
#include "iq.h"

#include <time.h>

#include "../base/text.h"

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

/* In UTC: where its clients are the server does not know, and where it is is nobody's affair. */
void gw_iq_time(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    char buf[160], stamp[32];
    struct gw_text t = gw_text(buf, sizeof(buf));
    time_t s = (time_t)(l->wall_us / 1000000);
    struct tm tm;
    (void)q;
    gmtime_r(&s, &tm);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
    gw_text_str(&t, "<time xmlns='urn:xmpp:time'><tzo>+00:00</tzo><utc>");
    gw_text_str(&t, stamp);
    gw_text_str(&t, "</utc></time>");
    gw_edge_result(l, c, gw_text_bytes(&t));
}

/* XEP-0012 sections 3 and 5: for how long the server runs; the own account is not away, it asks. */
void gw_iq_last(struct gw_lcore *l, gw_conn c, const struct gw_iq *q)
{
    char buf[96];
    struct gw_text t = gw_text(buf, sizeof(buf));
    bool server = (q->whom & GW_IQ_OWN) == 0;
    gw_text_str(&t, "<query xmlns='jabber:iq:last' seconds='");
    gw_text_uint(&t, server ? (l->now_us - l->started_us) / 1000000 : 0);
    gw_text_str(&t, "'/>");
    gw_edge_result(l, c, gw_text_bytes(&t));
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
