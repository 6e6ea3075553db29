/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JIDs: splitting and preparing, so that equal addresses are equal bytes.
 *
 * The profiles are RFC 6122's (nodeprep, nameprep, resourceprep), by libidn: every server and
 * client library in a distribution of today prepares so, and a JID must mean the same account on
 * both sides; RFC 7622's PRECIS has no packaged C library. ASCII takes a path of its own. Characters that
 * Unicode 3.2 does not know are let through: resources are full of emoji.
 */
#ifndef GW_XMPP_JID_H
#define GW_XMPP_JID_H

#include "../base/bytes.h"

#define GW_JID_PART_BYTES_MAX 1023 /* RFC 6122 section 2.1 */
#define GW_JID_BYTES_MAX      (3 * GW_JID_PART_BYTES_MAX + 2)

/* The parts of a JID: views into the text that was split. Empty means absent. */
struct gw_jid {
    struct gw_bytes local, domain, resource;
};

/* A prepared JID, "local@domain/resource" in text; the lengths say where the parts are. */
struct gw_jid_text {
    uint16_t local_len, domain_len, resource_len;
    uint16_t bare_len; /* local@domain, or domain alone */
    uint16_t len;
    char text[GW_JID_BYTES_MAX + 1]; /* NUL-terminated */
};

/* RFC 7622 section 3.2: the domain starts after the first '@' that no '/' precedes. 0, or -EINVAL
 * when a part is empty where its separator stands, or too long. Checks no characters. */
int gw_jid_split(struct gw_bytes text, struct gw_jid *out);

/* Split and prepare. 0 or -EINVAL. */
int gw_jid_prep(struct gw_bytes text, struct gw_jid_text *out);
/* A bare JID from what an operator wrote: a JID without resource, or a localpart of `domain`. */
int gw_jid_prep_bare(struct gw_bytes text, const char *domain, struct gw_jid_text *out);
/* One resource; `out` holds GW_JID_PART_BYTES_MAX + 1 bytes. Returns its length or -EINVAL. */
int gw_jid_prep_resource(struct gw_bytes text, char *out);
/* One localpart, likewise. */
int gw_jid_prep_local(struct gw_bytes text, char *out);

static inline struct gw_bytes gw_jid_bare(const struct gw_jid_text *j)
{
    return gw_bytes(j->text, j->bare_len);
}

static inline struct gw_bytes gw_jid_full(const struct gw_jid_text *j)
{
    return gw_bytes(j->text, j->len);
}

static inline struct gw_bytes gw_jid_local(const struct gw_jid_text *j)
{
    return gw_bytes(j->text, j->local_len);
}

static inline struct gw_bytes gw_jid_domain(const struct gw_jid_text *j)
{
    return gw_bytes(j->text + j->bare_len - j->domain_len, j->domain_len);
}

static inline struct gw_bytes gw_jid_resource(const struct gw_jid_text *j)
{
    return gw_bytes(j->text + j->len - j->resource_len, j->resource_len);
}

#endif
