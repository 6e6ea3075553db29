/* SPDX-License-Identifier: Apache-2.0 */
/* Which receipts and events a question is about, and how they are shown. */
#ifndef GW_CONTROL_LEDGER_FILTER_H
#define GW_CONTROL_LEDGER_FILTER_H

#include <jansson.h>

#include "../dataplane/xmpp/jid.h"
#include "ledger_reader.h"

#define LEDGER_PLACE_TEXT_BYTES 40

struct ledger_filter {
    struct gw_jid_text account, peer; /* len 0: any */
    char *id;                         /* NULL: any */
    int state;                        /* enum receipt_step; -1: any */
    uint64_t undelivered_before_us;   /* 0: any; else stored before this and not delivered */
    uint64_t accepted_after_us;       /* 0: any */
    struct ledger_place before;       /* segment 0: any */
};

void ledger_filter_free(struct ledger_filter *f);

/* By sender, recipient and id alone: what never changes. */
bool ledger_filter_names(const struct ledger_filter *f, struct gw_bytes from, struct gw_bytes to,
                         struct gw_bytes id);
/* covered_us: what ledger_cover_look said of it. */
bool ledger_filter_receipt(const struct ledger_filter *f, const struct receipt *r,
                           uint64_t covered_us);

/* "SEGMENT:ORDINAL", or "SEGMENT" for its first event. */
void ledger_place_format(const struct ledger_place *p, char out[LEDGER_PLACE_TEXT_BYTES]);
bool ledger_place_parse(const char *text, struct ledger_place *out);

json_t *receipt_json(const struct receipt *r, uint64_t covered_us);
/* What of the ledger cannot be shown: why ("trimmed", "damaged"), from where on, and where it goes on. */
json_t *ledger_gap_json(const char *why, const struct ledger_place *from,
                        const struct ledger_place *cursor);
/* r: the receipt that the event belongs to; NULL when it is not known. Holds the cursor behind it. */
json_t *ledger_event_json(const struct ledger_event *e, const struct receipt *r);

#endif
