/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_filter.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void ledger_filter_free(struct ledger_filter *f)
{
    free(f->id);
    f->id = NULL;
}

static bool is_between(const struct ledger_filter *f, struct gw_bytes from, struct gw_bytes to)
{
    struct gw_bytes account = gw_jid_bare(&f->account), peer = gw_jid_bare(&f->peer);
    if (account.len == 0)
        return peer.len == 0 || gw_bytes_eq(from, peer) || gw_bytes_eq(to, peer);
    if (peer.len == 0)
        return gw_bytes_eq(from, account) || gw_bytes_eq(to, account);
    return (gw_bytes_eq(from, account) && gw_bytes_eq(to, peer)) ||
           (gw_bytes_eq(from, peer) && gw_bytes_eq(to, account));
}

bool ledger_filter_names(const struct ledger_filter *f, struct gw_bytes from, struct gw_bytes to,
                         struct gw_bytes id)
{
    return is_between(f, from, to) && (f->id == NULL || gw_bytes_eq(id, gw_bytes_str(f->id)));
}

static enum receipt_step state_of(const struct receipt *r, uint64_t covered_us)
{
    return covered_us != 0 ? RECEIPT_displayed : receipt_state(r);
}

bool ledger_filter_receipt(const struct ledger_filter *f, const struct receipt *r,
                           uint64_t covered_us)
{
    if (f->before.segment != 0 && ledger_place_cmp(&r->place, &f->before) >= 0)
        return false;
    if (f->state >= 0 && state_of(r, covered_us) != (enum receipt_step)f->state)
        return false;
    if (f->undelivered_before_us != 0 &&
        (r->time_us[RECEIPT_delivered] != 0 || r->time_us[RECEIPT_expired] != 0 ||
         r->time_us[RECEIPT_stored] >= f->undelivered_before_us))
        return false;
    return r->time_us[RECEIPT_accepted] >= f->accepted_after_us &&
           ledger_filter_names(f, receipt_from(r), receipt_to(r), receipt_id(r));
}

/* ---- places ---- */

void ledger_place_format(const struct ledger_place *p, char out[LEDGER_PLACE_TEXT_BYTES])
{
    snprintf(out, LEDGER_PLACE_TEXT_BYTES, "%" PRIu64 ":%" PRIu32, p->segment, p->ordinal);
}

bool ledger_place_parse(const char *text, struct ledger_place *out)
{
    uint64_t segment, ordinal = 0;
    int end = 0;
    if (text[0] < '0' || text[0] > '9' || strlen(text) > 30)
        return false;
    int n = sscanf(text, "%19" SCNu64 "%n:%10" SCNu64 "%n", &segment, &end, &ordinal, &end);
    *out = (struct ledger_place){.segment = segment, .ordinal = (uint32_t)ordinal};
    return n >= 1 && text[end] == '\0' && ordinal <= UINT32_MAX;
}

/* ---- JSON ---- */

/* Clients choose ids; the parser lets only UTF-8 through, the file format does not promise it. */
static json_t *text_json(struct gw_bytes s)
{
    json_t *t = json_stringn((const char *)s.p, s.len);
    return t != NULL ? t : json_string("(not UTF-8)");
}

static json_t *mailbox_json(const struct gw_mailbox_id *m)
{
    static const char digits[] = "0123456789abcdef";
    char hex[32];
    for (int i = 0; i < 16; i++) {
        hex[2 * i] = digits[m->b[i] >> 4];
        hex[2 * i + 1] = digits[m->b[i] & 15];
    }
    return json_stringn(hex, sizeof(hex));
}

static void set_place(json_t *o, const struct ledger_place *p)
{
    char text[LEDGER_PLACE_TEXT_BYTES];
    ledger_place_format(p, text);
    json_object_set_new(o, "cursor", json_string(text));
}

static void set_names(json_t *o, struct gw_bytes from, struct gw_bytes to, struct gw_bytes id)
{
    json_object_set_new(o, "from", text_json(from));
    json_object_set_new(o, "to", text_json(to));
    json_object_set_new(o, "id", text_json(id));
}

static void set_message(json_t *o, const struct gw_mailbox_id *mailbox, uint64_t position)
{
    json_object_set_new(o, "mailbox", mailbox_json(mailbox));
    json_object_set_new(o, "position", json_integer((json_int_t)position));
}

json_t *receipt_json(const struct receipt *r, uint64_t covered_us)
{
    json_t *o = json_object();
    set_names(o, receipt_from(r), receipt_to(r), receipt_id(r));
    json_object_set_new(o, "state", json_string(receipt_step_name(state_of(r, covered_us))));
    for (unsigned s = 0; s < RECEIPT_STEP_COUNT; s++) {
        char name[32];
        snprintf(name, sizeof(name), "%s_us", receipt_step_name(s));
        if (r->time_us[s] != 0)
            json_object_set_new(o, name, json_integer((json_int_t)r->time_us[s]));
    }
    if (covered_us != 0) {
        json_object_set_new(o, "displayed_us", json_integer((json_int_t)covered_us));
        json_object_set_new(o, "displayed_by_later", json_true());
    }
    set_message(o, &r->mailbox, r->position);
    set_place(o, &r->place);
    return o;
}

json_t *ledger_gap_json(const char *why, const struct ledger_place *from,
                        const struct ledger_place *cursor)
{
    char text[LEDGER_PLACE_TEXT_BYTES];
    ledger_place_format(from, text);
    json_t *o = json_pack("{s:s, s:s, s:s}", "event", "gap", "why", why, "from", text);
    set_place(o, cursor);
    return o;
}

json_t *ledger_event_json(const struct ledger_event *e, const struct receipt *r)
{
    json_t *o = json_object();
    struct ledger_place behind = {e->place.segment, e->place.ordinal + 1};
    bool stored = e->event.kind == GW_EVENT_STORED;
    json_object_set_new(o, "event", json_string(gw_event_name(e->event.kind)));
    json_object_set_new(o, "time_us", json_integer((json_int_t)(stored ? e->durable_us
                                                                      : e->event.time_us)));
    if (stored)
        json_object_set_new(o, "accepted_us", json_integer((json_int_t)e->event.time_us));
    if (r != NULL) {
        set_names(o, receipt_from(r), receipt_to(r), receipt_id(r));
        set_message(o, &r->mailbox, r->position);
    } else if (gw_event_ends(e->event.kind)) {
        set_message(o, &e->event.mailbox, e->event.position);
    } else {
        set_names(o, e->event.from, e->event.to, e->event.id);
    }
    set_place(o, &behind);
    return o;
}
