/* SPDX-License-Identifier: Apache-2.0 */
/* Carbon copies at home: who wants them, and what they look like (XEP-0280, XEP-0297). */
#include "carbons.h"

#include "../base/check.h"
#include "../base/text.h"
#include "home.h"

int gw_carbons_open(struct gw_carbons *c, enum gw_region_pages pages)
{
    int err = gw_region_open(&c->region, "carbons", GW_CARBON_SLOTS * sizeof(*c->slots), pages);
    c->slots = c->region.base;
    return err;
}

void gw_carbons_close(struct gw_carbons *c)
{
    gw_region_close(&c->region);
}

/* ---- who wants copies ---- */

/* Of what it sends there is somebody else to tell only in a second session. */
static bool wants_sent(const struct gw_lcore *l, const struct gw_home_account *a)
{
    unsigned sessions = 0, with = 0;
    for (uint32_t i = a->sessions; i != 0; i = gw_home_session(l, i)->next) {
        sessions++;
        with += gw_home_session(l, i)->carbons;
    }
    return with > 0 && sessions > 1;
}

void gw_home_carbons_changed(struct gw_lcore *l, uint32_t account)
{
    struct gw_home_account *a = gw_home_account(l, account);
    bool wants = wants_sent(l, a);
    if (wants == a->copies)
        return;
    a->copies = wants;
    struct gw_bytes bare = gw_home_account_jid(l, a);
    uint64_t hash = gw_home_hash(l, bare);
    _Atomic uint32_t *slot = &l->carbons->slots[hash % GW_CARBON_SLOTS];
    if (wants)
        atomic_fetch_add_explicit(slot, 1, memory_order_relaxed);
    else
        check(atomic_fetch_sub_explicit(slot, 1, memory_order_relaxed) > 0);
}

void gw_home_carbons_set(struct gw_lcore *l, struct gw_post *p)
{
    uint32_t i = gw_home_session_find(l, p->session);
    if (i != 0)
        gw_home_session_carbons(l, i, p->n != 0);
    gw_home_return(l, p, true, GW_CONDITION_NONE);
}

/* ---- copies ---- */

/* Its sender knows it. Before its presence a session gets no messages: it would have them twice. */
static bool takes_copies(const struct gw_lcore *l, const struct gw_home_session *t,
                         const struct gw_stanza *s)
{
    return t->carbons && t->available && !gw_bytes_eq(gw_session_jid(l, t), gw_stanza_from(s));
}

static void copy_to(struct gw_lcore *l, uint32_t i, const char *direction, const struct gw_stanza *s)
{
    static const size_t skip = sizeof("<message") - 1;
    const struct gw_home_session *t = gw_home_session(l, i);
    struct gw_bytes jid = gw_session_jid(l, t);
    char head[256 + 12 * GW_JID_BYTES_MAX], tail[64];
    struct gw_text h = gw_text(head, sizeof(head)), e = gw_text(tail, sizeof(tail));
    gw_text_str(&h, "<message from='");
    gw_text_escaped(&h, gw_bytes(jid.p, t->bare_len));
    gw_text_str(&h, "' to='");
    gw_text_escaped(&h, jid);
    gw_text_str(&h, s->type == GW_TYPE_CHAT ? "' type='chat'><" : "'><");
    gw_text_str(&h, direction);
    gw_text_str(&h, " xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"
                    "<message xmlns='jabber:client'");
    gw_text_str(&e, "</forwarded></");
    gw_text_str(&e, direction);
    gw_text_str(&e, "></message>");
    const struct gw_bytes parts[] = {
        gw_text_bytes(&h),
        gw_bytes((const char *)s + s->xml_off + skip, s->xml_len - skip),
        gw_text_bytes(&e),
    };
    GW_COUNT(l->home_count.copies);
    gw_home_transient_parts(l, i, parts, 3);
}

void gw_home_copy_received(struct gw_lcore *l, uint32_t i, const struct gw_stanza *s)
{
    if (takes_copies(l, gw_home_session(l, i), s))
        copy_to(l, i, "received", s);
}

void gw_home_copy_stored(struct gw_lcore *l, uint32_t account, const struct gw_stanza *s)
{
    struct gw_bytes resource = gw_stanza_to_resource(s);
    for (uint32_t i = gw_home_account(l, account)->sessions; i != 0;
         i = gw_home_session(l, i)->next)
        if (!gw_home_wants(l, gw_home_session(l, i), resource, s->position))
            gw_home_copy_received(l, i, s);
}

void gw_home_carbons_sent(struct gw_lcore *l, struct gw_post *p)
{
    const struct gw_stanza *s = gw_post_stanza(l, p);
    uint32_t account = gw_home_account_find(l, gw_stanza_from_bare(s));
    uint32_t i = account != 0 ? gw_home_account(l, account)->sessions : 0;
    for (; i != 0; i = gw_home_session(l, i)->next)
        if (takes_copies(l, gw_home_session(l, i), s))
            copy_to(l, i, "sent", s);
    gw_home_return(l, p, false, GW_CONDITION_NONE);
}
