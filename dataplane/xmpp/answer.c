/* SPDX-License-Identifier: Apache-2.0 */
/* Answers to stanzas: results, and the errors of RFC 6120 section 8.3. */
#include "edge.h"

#include "../base/check.h"
#include "../base/text.h"

void gw_edge_put_error(struct gw_text *t, enum gw_condition why)
{
    gw_text_str(t, "<error type='");
    gw_text_str(t, gw_condition_type(why));
    gw_text_str(t, "'><");
    gw_text_str(t, gw_condition_name(why));
    gw_text_str(t, " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>");
    if (why == GW_CONDITION_BLOCKED)
        gw_text_str(t, "<blocked xmlns='urn:xmpp:blocking:errors'/>");
    gw_text_str(t, "</error>");
}

/* An attribute of the stanza in l->xml, unescaped into the scratch buffer's end part. */
static struct gw_bytes attr_of(struct gw_lcore *l, struct gw_bytes name, char *buf, size_t cap)
{
    int n = gw_xml_attr_text(l->xml, 0, name, buf, cap);
    return gw_bytes(buf, n > 0 ? (size_t)n : 0);
}

static void send_result(struct gw_lcore *l, gw_conn c, uint32_t after, enum gw_answer what,
                        struct gw_bytes payload)
{
    char id[GW_STANZA_ID_BYTES_MAX], to[GW_JID_BYTES_MAX];
    struct gw_text t = gw_text(l->scratch, GW_SCRATCH_BYTES);
    gw_text_str(&t, "<iq type='result'");
    gw_text_attr(&t, " id='", attr_of(l, GW_LIT("id"), id, sizeof(id)));
    gw_text_attr(&t, " from='", attr_of(l, GW_LIT("to"), to, sizeof(to)));
    gw_text_attr(&t, " to='", gw_edge_full(l, c));
    gw_text_str(&t, ">");
    gw_text_put(&t, payload);
    gw_text_str(&t, "</iq>");
    check(!t.full);
    gw_edge_answer_after(l, c, after, what, gw_text_bytes(&t));
}

void gw_edge_result(struct gw_lcore *l, gw_conn c, struct gw_bytes payload)
{
    send_result(l, c, gw_edge_conn(l, c)->seq - 1, GW_ANSWER_STANZA, payload);
}

void gw_edge_result_when_settled(struct gw_lcore *l, gw_conn c, struct gw_bytes payload)
{
    send_result(l, c, gw_edge_conn(l, c)->seq, GW_ANSWER_RESULT, payload);
}

/* The stanza `name` with this id, from `from` to `to`, refused: into the scratch buffer. */
static struct gw_bytes write_refusal(struct gw_lcore *l, struct gw_bytes name, struct gw_bytes id,
                                     struct gw_bytes from, struct gw_bytes to, enum gw_condition why)
{
    struct gw_text t = gw_text(l->scratch, GW_SCRATCH_BYTES);
    GW_COUNT(l->edge_count.refused);
    gw_text_str(&t, "<");
    gw_text_put(&t, name);
    gw_text_str(&t, " type='error'");
    gw_text_attr(&t, " id='", id);
    gw_text_attr(&t, " from='", to);
    gw_text_attr(&t, " to='", from);
    gw_text_str(&t, ">");
    gw_edge_put_error(&t, why);
    gw_text_str(&t, "</");
    gw_text_put(&t, name);
    gw_text_str(&t, ">");
    return gw_text_bytes(&t);
}

void gw_edge_refuse(struct gw_lcore *l, gw_conn c, enum gw_condition why)
{
    char id[GW_STANZA_ID_BYTES_MAX], to[GW_JID_BYTES_MAX], type[16];
    struct gw_bytes is = attr_of(l, GW_LIT("type"), type, sizeof(type));
    if (gw_bytes_eq(is, GW_LIT("error")) || gw_bytes_eq(is, GW_LIT("result")))
        return;
    gw_edge_answer_after(
        l, c, gw_edge_conn(l, c)->seq - 1, GW_ANSWER_REFUSAL,
        write_refusal(l, l->xml->nodes[0].name, attr_of(l, GW_LIT("id"), id, sizeof(id)),
                      gw_edge_full(l, c), attr_of(l, GW_LIT("to"), to, sizeof(to)), why));
}

void gw_edge_refuse_block(struct gw_lcore *l, gw_conn c, const struct gw_stanza *s,
                          enum gw_condition why)
{
    static const char *const names[] = {"message", "presence", "iq"};
    if (s->type == GW_TYPE_ERROR || s->type == GW_TYPE_RESULT)
        return;
    gw_edge_answer_after(l, c, s->seq - 1, GW_ANSWER_REFUSAL,
                         write_refusal(l, gw_bytes_str(names[s->kind]), gw_stanza_id(s),
                                       gw_stanza_from(s), gw_stanza_to(s), why));
}

void gw_edge_result_block(struct gw_lcore *l, gw_conn c, const struct gw_stanza *s)
{
    struct gw_text t = gw_text(l->scratch, GW_SCRATCH_BYTES);
    gw_text_str(&t, "<iq type='result'");
    gw_text_attr(&t, " id='", gw_stanza_id(s));
    gw_text_attr(&t, " from='", gw_stanza_to(s));
    gw_text_attr(&t, " to='", gw_stanza_from(s));
    gw_text_str(&t, "/>");
    gw_edge_answer_after(l, c, s->seq - 1, GW_ANSWER_STANZA, gw_text_bytes(&t));
}
